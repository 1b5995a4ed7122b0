//! What a buyer, or whoever judges, knows beforehand.

use crate::files;
use crate::host::key_list;
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;
use zkinfer::Limits;
use zkinfer_circuits::card::FileKind;
use zkinfer_circuits::layout::{MAX_K, MIN_K};
use zkinfer_client::{HostKey, Pinned, Token};

/// A card, and a host's key.
#[derive(Args)]
pub struct Pin {
    /// The model's card
    #[arg(long, value_name = "NAME.card")]
    card: PathBuf,
    /// The host's key, 64 hexadecimal digits, as `zkinfer host` prints it; have it from somebody whom you believe
    #[arg(long, value_name = "HEX")]
    host_key: HostKey,
    /// The host's key list, by which it has handed over from this key to newer ones
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Largest card that you are ready to check, as the logarithm of its number of rows
    #[arg(long, value_name = "K", default_value_t = Limits::default().k, value_parser = clap::value_parser!(u32).range(i64::from(MIN_K)..=i64::from(MAX_K)))]
    max_k: u32,
    /// Most elements of the model's inputs and outputs that you are ready to hash and to weigh
    #[arg(long, value_name = "N", default_value_t = Limits::default().program.values)]
    max_values: usize,
}

/// How a host knows a client.
#[derive(Args)]
pub struct Known {
    /// File with a token, for a host that asks for one; scopes infer, prove, read
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Longest file with a token.
const TOKEN_BYTES: usize = 1 << 13;

impl Known {
    pub fn token(&self) -> Result<Option<Token>> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let text = String::from_utf8(files::read(path, TOKEN_BYTES)?);
        let text = text.with_context(|| format!("{} is not text", path.display()))?;
        let token = Token::new(&text).with_context(|| path.display().to_string())?;
        Ok(Some(token))
    }
}

impl Pin {
    pub fn load(&self) -> Result<Pinned> {
        let mut limits = Limits::default();
        limits.k = self.max_k;
        limits.program.values = self.max_values;
        let bytes = files::read(&self.card, limits.card_bytes)?;
        let card = files::card(&bytes, &limits)
            .map_err(|e| files::explain(&self.card, &bytes, FileKind::Card, e))?;
        let mut pinned = Pinned::new(&card.to_bytes(), self.host_key, &limits)
            .with_context(|| self.card.display().to_string())?;
        if let Some(path) = &self.keys {
            let followed = pinned.follow(&key_list(path)?);
            followed.with_context(|| path.display().to_string())?;
        }
        Ok(pinned)
    }
}
