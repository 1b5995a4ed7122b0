//! `zkinfer verify`.

mod several;

use crate::infer::list;
use crate::{Context, REJECTED, files, ui, words};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use zkinfer::files::FileError;
use zkinfer::interface::Interface;
use zkinfer::model::TensorInterface;
use zkinfer_circuits::card::{Card, FileKind, Proof};
use zkinfer_circuits::error::{DecodeError, Rejection};
use zkinfer_circuits::layout::{MAX_K, MIN_K};
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::verify::{Expected, Limits};

/// Check a proof against a model's card and what you know.
///
/// The input, output and context that you state are what the proof is checked against. What you do not state is taken
/// from the proof and reported.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer verify digits.card run.proof --input samples.npz --sample 3
  zkinfer verify digits.card run.proof --input samples.npz --output expected.json --context request-17
  zkinfer verify digits.card three.runs --input samples.npz --sample 3       # samples 3, 4, 5

--output takes JSON: what `zkinfer infer --json` prints, {\"output_data\": [[...]]} with real numbers, or
{\"output_int\": [[...]]}.

Exit codes: 0 the proof is valid, 1 it is rejected, 2 something given here cannot be used.")]
pub struct Verify {
    /// The model's card, binary or JSON
    #[arg(value_name = "NAME.card")]
    card: PathBuf,
    /// The proof, binary or JSON; also one of several runs
    #[arg(value_name = "RUN.proof")]
    proof: PathBuf,
    /// The input that you expect: .npz, .npy or .json
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Which sample, counting from 0; of several runs, the first one's
    #[arg(long, value_name = "N", default_value_t = 0, requires = "input")]
    sample: usize,
    /// The output that you expect: .json
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Largest step between neighbouring real numbers that you put up with: a card rounds what you state to its steps
    #[arg(long, value_name = "STEP")]
    tolerance: Option<f64>,
    /// Largest card that you are ready to check, as the logarithm of its number of rows: each step takes twice as long
    #[arg(long, value_name = "K", default_value_t = Limits::default().k, value_parser = clap::value_parser!(u32).range(i64::from(MIN_K)..=i64::from(MAX_K)))]
    max_k: u32,
    /// Most elements of the model's inputs and outputs that you are ready to hash and to weigh
    #[arg(long, value_name = "N", default_value_t = Limits::default().program.values)]
    max_values: usize,
    #[command(flatten)]
    context: Context,
}

/// An output file. Integers are exact and go first.
#[derive(Deserialize)]
struct OutputFile {
    output_int: Option<Vec<Vec<u16>>>,
    #[serde(alias = "output_data")]
    output: Option<Vec<Vec<f32>>>,
}

/// Longest output file.
const OUTPUT_BYTES: usize = 1 << 26;

impl Verify {
    /// What this verifier is willing to spend.
    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        limits.k = self.max_k;
        limits.program.values = self.max_values;
        limits
    }

    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        if self.tolerance.is_some() && self.input.is_none() && self.output.is_none() {
            bail!("--tolerance is about what --input or --output states: give one of them");
        }
        let start = Instant::now();
        let limits = self.limits();
        let card_bytes = files::read(&self.card, limits.card_bytes)?;
        let card = files::card(&card_bytes, &limits)
            .map_err(|e| files::explain(&self.card, &card_bytes, FileKind::Card, words::card(e)))?;
        let proof_bytes = files::read(&self.proof, limits.proof_bytes)?;
        let proof = match files::proof(&proof_bytes, &limits) {
            Ok(proof) => proof,
            Err(error) if is_judged(&error) => {
                return self.reject(as_json, &format!("malformed proof: {error}"), start);
            }
            Err(error) => {
                return Err(files::explain(
                    &self.proof,
                    &proof_bytes,
                    FileKind::Proof,
                    error,
                ));
            }
        };
        if proof.runs.len() != 1 {
            return several::run(self, as_json, card, &proof, start);
        }
        let expected = self.expected(&card)?;

        let unusable = || format!("{} cannot be used", self.card.display());
        let (verifier, t_card) = ui::step("checking the card", || zkinfer::verifier(card, &limits));
        let verifier = verifier.map_err(words::load).with_context(unusable)?;
        let (verdict, t_proof) =
            ui::step("checking the proof", || verifier.verify(&expected, &proof));
        let verdict = match verdict {
            Ok(verdict) => verdict,
            // Nobody lied: there is nothing to check the proof against.
            Err(Rejection::Needed { which }) => {
                bail!(
                    "the proof does not carry its {which}: state the one that you expect with --{which} FILE"
                )
            }
            Err(rejection) => {
                let hint = self.hint(&rejection, &proof);
                return self.reject(as_json, &format!("{rejection}{hint}"), start);
            }
        };

        let interface = Interface::from_card(verifier.card()).ok();
        let outputs = match (&verdict.output, &interface) {
            (Side::Public(values), Some(interface)) => Some((
                interface.dequantize_outputs(values)?,
                interface.split_outputs(values)?,
            )),
            _ => None,
        };
        if as_json {
            ui::json(&json!({
                "status": "valid",
                "valid": true,
                "card": verdict.card.to_string(),
                "input": side(&verdict.input),
                "input_expected": self.input.is_some(),
                "output_visibility": side(&verdict.output),
                "output_expected": self.output.is_some(),
                "output": outputs.as_ref().map(|o| &o.0),
                "output_int": outputs.as_ref().map(|o| &o.1),
                "context_hex": ui::hex(&verdict.context),
                "seconds": { "card": t_card.as_secs_f64(), "proof": t_proof.as_secs_f64(), "total": start.elapsed().as_secs_f64() },
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let paint = ui::stdout();
        let name = interface
            .as_ref()
            .map_or(String::new(), |i| format!("{:?} ", ui::plain(&i.name)));
        ui::line(&format!(
            "{} model {name}{}",
            paint.green("VALID"),
            verdict.card
        ))?;
        ui::line(&match &verdict.input {
            Side::Public(values) => format!(
                "  input: {} values, {}",
                values.len(),
                source(self.input.is_some())
            ),
            Side::Committed(_) => "  input: hidden behind a commitment".to_owned(),
        })?;
        match (&verdict.output, &outputs, &interface) {
            (Side::Committed(_), ..) => ui::line("  output: hidden behind a commitment")?,
            (_, Some((reals, _)), Some(interface)) => {
                for (tensor, values) in interface.outputs.iter().zip(reals) {
                    ui::line(&format!(
                        "  output {}, {}:\n    {}",
                        ui::plain(&tensor.name),
                        source(self.output.is_some()),
                        list(values, tensor.integers)
                    ))?;
                }
            }
            (Side::Public(values), ..) => ui::line(&format!("  output: {values:?}"))?,
        }
        if !verdict.context.is_empty() {
            ui::line(&format!(
                "  context: {}",
                ui::plain(&String::from_utf8_lossy(&verdict.context))
            ))?;
        }
        let times = format!(
            "  card {}, proof {}, all {}",
            ui::time(t_card),
            ui::time(t_proof),
            ui::time(start.elapsed())
        );
        ui::line(&paint.dim(&times))?;
        Ok(ExitCode::SUCCESS)
    }

    /// What the caller states, as integers, of the run of one sample.
    fn expected(&self, card: &Card) -> Result<Expected> {
        self.expected_of(card, self.sample)
    }

    fn expected_of(&self, card: &Card, sample: usize) -> Result<Expected> {
        let mut expected = Expected {
            context: self.context.bytes()?,
            ..Expected::default()
        };
        if self.input.is_none() && self.output.is_none() {
            return Ok(expected);
        }
        let interface =
            Interface::from_card(card).with_context(|| self.card.display().to_string())?;
        let bits = card.range_bits();
        if let Some(path) = &self.input {
            let input = files::sample(path, &interface.inputs, sample)?;
            let integers = interface
                .state_inputs(&input, bits, self.tolerance)
                .with_context(|| path.display().to_string())?;
            expected.input = Some(Side::Public(integers));
        }
        if let Some(path) = &self.output {
            let bytes = files::read(path, OUTPUT_BYTES)?;
            let integers = output_integers(&bytes, &interface, bits, self.tolerance)
                .with_context(|| path.display().to_string())?;
            expected.output = Some(Side::Public(integers));
        }
        Ok(expected)
    }

    fn reject(&self, as_json: bool, reason: &str, start: Instant) -> Result<ExitCode> {
        if as_json {
            ui::json(&json!({
                "status": "rejected",
                "valid": false,
                "reason": reason,
                "seconds": { "total": start.elapsed().as_secs_f64() },
            }))?;
        } else {
            ui::line(&format!("{} {reason}", ui::stdout().red("REJECTED")))?;
        }
        Ok(ExitCode::from(REJECTED))
    }

    /// What an honest user may have overlooked.
    fn hint(&self, rejection: &Rejection, proof: &Proof) -> String {
        use zkinfer_circuits::statement::Claim;
        match rejection {
            Rejection::Context if proof.context.is_empty() => {
                " (it was made without one)".to_owned()
            }
            Rejection::Context => match std::str::from_utf8(&proof.context) {
                Ok(text) => format!(
                    " ({:?}; if that is what you expect, pass --context)",
                    ui::plain(text)
                ),
                Err(_) => format!(
                    " (hex {}; if that is what you expect, pass --context-hex)",
                    ui::hex(&proof.context)
                ),
            },
            Rejection::Statement { which: "input" }
                if matches!(proof.runs[..], [(Claim::Committed(_), _)]) =>
            {
                " (its input is hidden behind a commitment)".to_owned()
            }
            Rejection::Statement { which: "output" }
                if matches!(proof.runs[..], [(_, Claim::Committed(_))]) =>
            {
                " (its output is hidden behind a commitment)".to_owned()
            }
            _ => String::new(),
        }
    }
}

fn side(side: &Side) -> &'static str {
    if matches!(side, Side::Public(_)) {
        "public"
    } else {
        "committed"
    }
}

fn source(stated: bool) -> &'static str {
    if stated {
        "as you stated"
    } else {
        "as the proof claims"
    }
}

/// Whether a file that cannot be read is a bad proof, rather than something else given by mistake.
fn is_judged(error: &FileError) -> bool {
    match error {
        FileError::Decode(e) => !matches!(
            e,
            DecodeError::Magic | DecodeError::Kind { .. } | DecodeError::Version { .. }
        ),
        _ => true,
    }
}

/// The integers of an output file.
fn output_integers(
    bytes: &[u8],
    interface: &Interface,
    bits: u32,
    tolerance: Option<f64>,
) -> Result<Vec<u16>> {
    let file: OutputFile = serde_json::from_slice(bytes)
        .map_err(|e| anyhow!("expected {{\"output\": [[...]]}} or {{\"output_int\": [[...]]}}, one list per output: {e}"))?;
    if let Some(integers) = file.output_int {
        let lens: Vec<usize> = integers.iter().map(Vec::len).collect();
        if lens != interface.output_lens() {
            bail!(
                "output_int has lists of {lens:?} values, the model has {:?}",
                interface.output_lens()
            );
        }
        return Ok(integers.concat());
    }
    let Some(reals) = file.output else {
        bail!("there is neither \"output\" nor \"output_int\" in it");
    };
    let stated = interface.state_outputs(&reals, bits, tolerance);
    stated.map_err(|e| {
        let names: Vec<&str> = interface
            .outputs
            .iter()
            .map(|t: &TensorInterface| t.name.as_str())
            .collect();
        anyhow!(e).context(format!(
            "the model cannot give this output ({})",
            ui::plain(&names.join(", "))
        ))
    })
}
