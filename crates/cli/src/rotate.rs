//! `zkinfer rotate`.

use crate::host::{key, key_list, read_key};
use crate::{files, ui};
use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use zkinfer_slip::KeyList;

/// Hand over from a host's key to a new one.
///
/// Both keys sign that, and buyers who pinned one of the host's keys follow to the newest. The host is started with the
/// new key, and with the old one for the proofs of what it signed.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer rotate --key-file host.key --to host-2.key --keys keys.json
  zkinfer host digits.model --key-file host-2.key --earlier-key-file host.key --keys keys.json
  curl -s http://127.0.0.1:8081/v1/keys > keys.json
  zkinfer ask http://127.0.0.1:8081 --card digits.card --host-key HEX --keys keys.json ...

Whoever has an old key can hand over, too: after a theft, give buyers a new key on another way.")]
pub struct Rotate {
    /// The host's key, the newest of the list
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The next key. Made if there is none
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The host's key list, which the handover is appended to. Made if there is none
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
}

impl Rotate {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let from = read_key(&self.key_file)?;
        let mut list = match self.keys.symlink_metadata() {
            Ok(_) => key_list(&self.keys)?,
            Err(_) => KeyList::default(),
        };
        let to = key(&self.to)?;
        let handed = list.hand_over(&from, &to, zkinfer_slip::now());
        handed.with_context(|| self.keys.display().to_string())?;
        let mut text = serde_json::to_vec_pretty(&list)?;
        text.push(b'\n');
        // Whole or not at all.
        files::write_secret(&self.keys, &text, true)?;
        let (from, to) = (from.public(), to.public());
        if as_json {
            ui::json(&json!({ "status": "rotated", "from": from, "to": to }))?;
        } else {
            ui::line(&format!("{from} handed over to {to}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
