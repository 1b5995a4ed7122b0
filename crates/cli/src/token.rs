//! `zkinfer token`.

use crate::{files, ui};
use anyhow::{Result, bail};
use clap::Args;
use rand_core::Rng;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use zkinfer_http::access::{Entry, Scope, TokenFile, hash, is_name};

/// Make and revoke tokens for `zkinfer host` and `zkinfer serve`.
///
/// The token is printed once; the file has its hash. Running services read the file again within seconds.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer token alice --file tokens.json --scope infer --scope prove --scope read --per-minute 600 > alice.token
  zkinfer token alice --file tokens.json --revoke
  zkinfer host digits.model --tokens tokens.json
  zkinfer ask http://127.0.0.1:8081 --token-file alice.token ...

Limits are those of each host or server; several of them count by themselves.")]
pub struct Token {
    /// Whose it is: letters, digits, `-`, `_`, `.`
    #[arg(value_name = "NAME")]
    name: String,
    /// File of tokens. Made if there is none
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// What it allows, repeated: infer, prove, read (of a host), verify, read, cards (of a server)
    #[arg(
        long = "scope",
        value_name = "SCOPE",
        required_unless_present = "revoke",
        conflicts_with = "revoke"
    )]
    scopes: Vec<Scope>,
    /// Most requests in a minute, which may come at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "revoke")]
    per_minute: Option<u32>,
    /// Most requests in a day of UTC
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "revoke")]
    per_day: Option<u64>,
    /// Days until it is not valid any more
    #[arg(long, value_name = "DAYS", conflicts_with = "revoke")]
    expires: Option<u32>,
    /// Take the token of this name out of the file
    #[arg(long)]
    revoke: bool,
}

impl Token {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let path = &self.file;
        if !is_name(&self.name) {
            bail!(
                "{:?} is no name of a token: 1 to 64 letters, digits, `-`, `_`, `.`",
                self.name
            );
        }
        let exists = path.symlink_metadata().is_ok();
        let mut file = match exists || self.revoke {
            true => TokenFile::read(path)?,
            false => TokenFile::default(),
        };
        let known = file.tokens.iter().position(|t| t.name == self.name);
        if self.revoke {
            let Some(at) = known else {
                bail!("there is no token {:?} in {}", self.name, path.display());
            };
            file.tokens.remove(at);
            self.write(&file)?;
            if as_json {
                ui::json(&json!({ "status": "revoked", "name": self.name }))?;
            } else {
                ui::line(&format!("revoked {}", self.name))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        if known.is_some() {
            bail!(
                "there is a token {:?} in {}: revoke it first, or choose another name",
                self.name,
                path.display()
            );
        }
        let mut bytes = [0; 32];
        zkinfer::rng().fill_bytes(&mut bytes);
        let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let day = 86_400_000;
        file.tokens.push(Entry {
            name: self.name.clone(),
            hash: hash(&token),
            scopes: self.scopes.clone(),
            per_minute: self.per_minute,
            per_day: self.per_day,
            expires: self
                .expires
                .map(|days| zkinfer_slip::now().saturating_add(u64::from(days) * day)),
        });
        self.write(&file)?;
        if as_json {
            ui::json(&json!({ "status": "made", "name": self.name, "token": token }))?;
        } else {
            ui::line(&token)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Whole or not at all, so that nobody reads a part of it.
    fn write(&self, file: &TokenFile) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(file)?;
        text.push(b'\n');
        files::write_secret(&self.file, &text, true)
    }
}
