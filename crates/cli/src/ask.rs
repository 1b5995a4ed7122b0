//! `zkinfer ask`.

use crate::pin::{Known, Pin};
use crate::{REJECTED, files, infer, ui};
use anyhow::{Context, Result, bail};
use clap::Args;
use rand_core::CryptoRng;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use zkinfer_bench::economics::{Inputs, break_even_rate};
use zkinfer_client::{Client, Log, Options, Outcome, Rate};

/// Ask a host, and audit it.
///
/// The slip of every answer is checked against the card and the host's key. Of a random share of the answers the proof
/// is asked for after they were signed, and verified against your input and the answer that you got.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer ask http://127.0.0.1:8081 --card digits.card --host-key HEX --input samples.npz --sample 3 --rate 1
  zkinfer ask http://host --card digits.card --host-key HEX --input samples.npz --all --gain 1 --stake 100 --log audit.jsonl

Proofs that the log has as pending, from an earlier call, are looked for as well.

--rate says how many answers are asked about; --reward, --gain and --stake say it by what a false answer is worth to the
host and what it loses (docs/bench.md): the rate is --margin times the one at which lying stops to pay.

Exit codes: 0 all answers are accepted, and what was asked about is proven; 1 a lie was found, or a proof is not there;
2 something given here cannot be used, or the host does not answer.")]
pub struct Ask {
    /// Where the host is
    #[arg(value_name = "URL")]
    url: String,
    /// Name of the model there [default: the name in the card]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    #[command(flatten)]
    pin: Pin,
    /// Inputs: .npz, .npy or .json
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Which sample, counting from 0
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "all")]
    sample: usize,
    /// All samples
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    known: Known,
    #[command(flatten)]
    policy: Policy,
    /// Append what was seen to this file, and go on with what is pending in it
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How long to wait for proofs that were asked for; then they stay in the log as pending
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
}

/// How many answers are asked about.
#[derive(Args)]
struct Policy {
    /// Share of answers whose proof is asked for, from 0 to 1
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["gain", "stake"], required_unless_present_all = ["gain", "stake"])]
    rate: Option<f64>,
    /// What a false answer that is accepted is worth to the host
    #[arg(long, value_name = "MONEY", requires = "stake")]
    gain: Option<f64>,
    /// What the host loses when it is caught, besides the reward
    #[arg(long, value_name = "MONEY", requires = "gain")]
    stake: Option<f64>,
    /// What the host is paid for an answer
    #[arg(long, value_name = "MONEY", default_value_t = 0.0)]
    reward: f64,
    /// What a run costs the host, which a false answer saves
    #[arg(long, value_name = "MONEY", default_value_t = 0.0)]
    run_cost: f64,
    /// How many times the rate at which lying stops to pay
    #[arg(long, value_name = "TIMES", default_value_t = 2.0)]
    margin: f64,
}

impl Policy {
    fn rate(&self) -> Result<Rate> {
        let (Some(gain), Some(stake)) = (self.gain, self.stake) else {
            return Ok(Rate::new(self.rate.unwrap_or_default())?);
        };
        let mut inputs = Inputs::default();
        (inputs.gain, inputs.stake, inputs.reward) = (gain, stake, self.reward);
        inputs.sampling_margin = self.margin;
        let Some(rate) = break_even_rate(&inputs, self.run_cost, 0.0)? else {
            bail!(
                "no rate of audits deters a host that gains {gain} and loses {stake}: it has to have more at stake"
            );
        };
        Ok(Rate::new((rate * self.margin).min(1.0))?)
    }
}

impl Ask {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let pinned = self.pin.load()?;
        let rate = self.policy.rate()?;
        let interface = pinned.interface().clone();
        let samples = match self.all {
            true => files::samples(&self.input, &interface.inputs)?.inputs,
            false => vec![files::sample(&self.input, &interface.inputs, self.sample)?],
        };
        let model = self.model.clone().unwrap_or_else(|| interface.name.clone());
        let mut options = Options::new(rate);
        options.token = self.known.token()?;
        let rng = zkinfer_client::rng();
        let client = match &self.log {
            Some(path) => Client::resume(&self.url, &model, pinned, options, path, rng)?,
            None => Client::new(&self.url, &model, pinned, options, Log::none(), rng),
        };
        let earlier = client.pending();
        if earlier > 0 && !as_json {
            ui::line(&format!("{earlier} proofs of earlier answers are pending"))?;
        }
        let first = if self.all { 0 } else { self.sample };
        let mut refused = 0;
        for (number, sample) in samples.iter().enumerate() {
            let number = first + number;
            let answer = client
                .infer(sample)
                .with_context(|| format!("sample {number}"))?;
            refused += usize::from(matches!(answer.audit, Some(Outcome::Refused(_))));
            if as_json {
                ui::json(&json!({
                    "sample": number,
                    "output": answer.outputs,
                    "slip": answer.slip,
                    "asked": answer.audit.is_some(),
                }))?;
                continue;
            }
            for (tensor, values) in interface.outputs.iter().zip(&answer.outputs) {
                let list = infer::list(values, tensor.integers);
                let asked = if answer.audit.is_some() {
                    ", asked about"
                } else {
                    ""
                };
                ui::line(&format!(
                    "sample {number}, {}: {list}{asked}",
                    ui::plain(&tensor.name)
                ))?;
            }
        }
        let Settled { proven, bad } = settle(&client, self.wait)?;
        let (answers, pending, bad) = (samples.len(), client.pending(), bad + refused);
        if as_json {
            ui::json(
                &json!({ "status": "done", "answers": answers, "earlier": earlier, "proven": proven, "pending": pending, "bad": bad }),
            )?;
        } else {
            ui::line(&format!(
                "{answers} answers accepted; of those that were asked about, {proven} proven, {pending} pending, {bad} not proven"
            ))?;
        }
        Ok(if bad > 0 {
            ExitCode::from(REJECTED)
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// What has come of promised proofs.
pub struct Settled {
    /// Proofs that are there, and valid.
    pub proven: usize,
    /// Proofs that are not there in time, and lies.
    pub bad: usize,
}

/// Looks for promised proofs, for some seconds at most.
pub fn settle(client: &Client<impl CryptoRng>, wait: u64) -> Result<Settled> {
    let end = Instant::now() + Duration::from_secs(wait);
    let (mut proven, mut bad) = (0, 0);
    loop {
        for (run, outcome) in client.settle()? {
            if outcome == Outcome::Proven {
                proven += 1;
            } else {
                bad += 1;
                tracing::warn!(%run, ?outcome, "this answer is not proven");
            }
        }
        if client.pending() == 0 || Instant::now() >= end {
            return Ok(Settled { proven, bad });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
