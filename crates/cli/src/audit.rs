//! `zkinfer audit` and `zkinfer evidence`.

use crate::ask::settle;
use crate::pin::{Known, Pin};
use crate::{REJECTED, files, ui};
use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use zkinfer_client::{Client, Evidence as Claimed, Options, Rate, audit};
use zkinfer_slip::Finding;
use zkinfer_slip::evidence::MAX_EVIDENCE;

/// Say what an audit log shows of a host.
///
/// Nothing in it is believed: every slip, promise, proof and piece of evidence is checked again, against the card and
/// the host's key. A log shows what is in it; what its author left out, nobody sees. With --fetch, promised proofs that
/// nobody has looked for yet are fetched first, and what comes of them is written into the log.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer audit audit.jsonl --card digits.card --host-key HEX
  zkinfer audit audit.jsonl --card digits.card --host-key HEX --evidence evidence
  zkinfer audit audit.jsonl --card digits.card --host-key HEX --fetch http://127.0.0.1:8081

Exit codes: 0 the host did what it signed, 1 it did not, 2 the log cannot be used, or says what is not so.")]
pub struct Audit {
    /// The log, as `zkinfer ask --log` and the client libraries write it
    #[arg(value_name = "LOG.jsonl")]
    log: PathBuf,
    #[command(flatten)]
    pin: Pin,
    /// Write evidence into this folder, one file for each finding; made if there is none
    #[arg(long, value_name = "FOLDER")]
    evidence: Option<PathBuf>,
    /// Look for pending proofs at this host first
    #[arg(long, value_name = "URL")]
    fetch: Option<String>,
    /// How long to wait for them
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "fetch")]
    wait: u64,
    #[command(flatten)]
    known: Known,
}

impl Audit {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let mut pinned = self.pin.load()?;
        if let Some(url) = &self.fetch {
            let exists = self.log.metadata();
            exists.with_context(|| format!("cannot open {}", self.log.display()))?;
            // Nothing is asked but what was promised.
            let mut options = Options::new(Rate::new(0.0)?);
            options.token = self.known.token()?;
            let rng = zkinfer_client::rng();
            let client = Client::resume(url, "", pinned, options, &self.log, rng)?;
            settle(&client, self.wait)?;
            pinned = client.into_pinned();
        }
        let file = File::open(&self.log);
        let file = file.with_context(|| format!("cannot open {}", self.log.display()))?;
        let summary = audit(BufReader::new(file), &pinned, zkinfer_slip::now());
        let summary = summary.with_context(|| self.log.display().to_string())?;
        if let Some(folder) = &self.evidence {
            let make = || format!("cannot make the folder {}", folder.display());
            std::fs::create_dir_all(folder).with_context(make)?;
            for found in &summary.confirmed {
                let path = folder.join(format!("line-{}.json", found.line));
                files::write(&path, &serde_json::to_vec(&found.evidence)?)?;
            }
        }
        if as_json {
            ui::json(&summary)?;
        } else {
            let s = &summary;
            ui::line(&format!(
                "{} answers signed by the host, {} not accepted",
                s.answers, s.unbound
            ))?;
            ui::line(&format!(
                "{} asked about: {} proven, {} pending, {} due and not looked for, {} overdue, {} refused, {} false",
                s.asked, s.proven, s.pending, s.unfetched, s.overdue, s.refused, s.failed
            ))?;
            for found in &s.confirmed {
                ui::line(&format!("line {}: {}", found.line, words(&found.finding)))?;
            }
        }
        Ok(code(summary.is_clean()))
    }
}

/// Judge evidence against a host, offline.
///
/// Neither the client nor the host is believed: what is confirmed follows from the host's own signatures and from
/// proofs.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer evidence evidence/line-7.json --card digits.card --host-key HEX
  zkinfer evidence evidence/line-7.json --card digits.card --host-key HEX --shown run.proof

A host against which somebody claims that a proof is overdue shows the proof: with it as --shown nothing is confirmed.
Evidence of false outputs and of overdue proofs holds the input.

Exit codes: 0 the claim is confirmed, 1 it is not, 2 something given here cannot be used.")]
pub struct Evidence {
    /// The evidence, as `zkinfer audit --evidence` and the client libraries write it
    #[arg(value_name = "EVIDENCE.json")]
    evidence: PathBuf,
    #[command(flatten)]
    pin: Pin,
    /// A proof that the host shows against it
    #[arg(long, value_name = "RUN.proof")]
    shown: Option<PathBuf>,
}

impl Evidence {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let pinned = self.pin.load()?;
        let bytes = files::read(&self.evidence, MAX_EVIDENCE)?;
        let claimed: Claimed = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is no evidence", self.evidence.display()))?;
        let limit = pinned.verifier().limits().proof_bytes;
        let shown = match &self.shown {
            Some(path) => Some(files::read(path, limit)?),
            None => None,
        };
        let now = zkinfer_slip::now();
        let verdict = pinned.judge(&claimed, now, shown.as_deref());
        match &verdict {
            Ok(finding) if as_json => {
                ui::json(
                    &json!({ "status": "confirmed", "host": pinned.host(), "found": finding }),
                )?;
            }
            Ok(finding) => ui::line(&format!("confirmed: {}", words(finding)))?,
            Err(error) if as_json => {
                ui::json(&json!({ "status": "not_confirmed", "reason": error.to_string() }))?;
            }
            Err(error) => ui::line(&format!("not confirmed: {error}"))?,
        }
        Ok(code(verdict.is_ok()))
    }
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(REJECTED)
    }
}

/// A finding for people.
fn words(finding: &Finding) -> String {
    match finding {
        Finding::FalseOutput { signed, proven } => format!(
            "the host signed the output {signed}, and the model's is {proven}, as a proof shows"
        ),
        Finding::Contradiction {
            sequences: (one, other),
        } => format!("the host signed slips {one} and {other}, which cannot both be honest"),
        Finding::Overdue { due } => {
            format!(
                "the host promised a proof by {due} (milliseconds since 1970), and has not shown it"
            )
        }
        _ => "the host did not do what it signed".to_owned(),
    }
}
