//! `zkinfer prove`.

use crate::infer::list;
use crate::{Context, files, ui};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use zkinfer::files::proof_to_json;
use zkinfer::interface::Interface;
use zkinfer::plan::Candidate;
use zkinfer::secret::{Segment, SideVisibility, Visibility};
use zkinfer_circuits::statement::MAX_CONTEXT;

/// Prove a run.
///
/// The proof says: the model behind this card maps this input to this output. By default both are public; the output
/// travels with the proof and the verifier brings the input.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer prove digits.model --input samples.npz --sample 3 -o run.proof
  zkinfer prove digits.model --input samples.npz -o run.proof --commit-input --context request-17

A name that ends in .json gives the proof's JSON form.")]
pub struct Prove {
    /// The compiled model
    #[arg(value_name = "NAME.model")]
    model: PathBuf,
    /// Inputs: .npz, .npy or .json
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Which sample, counting from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    sample: usize,
    /// Where the proof goes
    #[arg(short, long, value_name = "RUN.proof")]
    output: PathBuf,
    /// Hide the input behind a commitment
    #[arg(long)]
    commit_input: bool,
    /// Hide the output behind a commitment
    #[arg(long)]
    commit_output: bool,
    /// Which prover: auto, portable, ifma (AVX-512) or upstream (halo2's own, the reference); all make the same proofs
    #[arg(long, value_name = "NAME", default_value = "auto")]
    engine: zkinfer::Engine,
    /// Let the input travel with the proof
    #[arg(long, conflicts_with = "commit_input")]
    attach_input: bool,
    #[command(flatten)]
    context: Context,
}

impl Prove {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let context = self.context.bytes()?;
        if context.len() > MAX_CONTEXT {
            anyhow::bail!(
                "the context has {} bytes, at most {MAX_CONTEXT} are allowed; pass a hash of it instead",
                context.len()
            );
        }
        let (secret, t_load) = ui::step("loading", || files::secret(&self.model));
        let secret = secret?.with_engine(self.engine);
        let interface = Interface::from_card(secret.card())?;
        let input = files::sample(&self.input, &interface.inputs, self.sample)?;
        let (run, t_run) = ui::step("running", || secret.infer(&input));
        let run = run?;
        let (key, t_key) = ui::step("deriving the proving key", || secret.prepare());
        key?;
        let side = |committed| {
            if committed {
                SideVisibility::Committed
            } else {
                SideVisibility::Public
            }
        };
        let visibility = Visibility {
            input: side(self.commit_input),
            output: side(self.commit_output),
            attach_input: self.attach_input,
        };
        let (proven, t_prove) = ui::watched("proving", |progress| {
            let rng = &mut zkinfer::rng();
            secret.prove_with_progress(&run, &visibility, &context, rng, progress)
        });
        let proven = proven?;
        let bytes = match self.output.extension() {
            Some(e) if e == "json" => proof_to_json(&proven.proof)?.into_bytes(),
            _ => proven.proof.to_bytes(),
        };
        files::write(&self.output, &bytes)?;

        if as_json {
            ui::json(&json!({
                "status": "done",
                "proof": { "path": self.output.to_string_lossy(), "bytes": bytes.len() },
                "card": proven.proof.card.to_string(),
                "sample": self.sample,
                "output": run.outputs(),
                "output_int": interface.split_outputs(run.output())?,
                "seconds": {
                    "load": t_load.as_secs_f64(),
                    "run": t_run.as_secs_f64(),
                    "key": t_key.as_secs_f64(),
                    "prove": t_prove.as_secs_f64(),
                    "parts": proven.timings,
                },
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        for (tensor, values) in interface.outputs.iter().zip(run.outputs()) {
            ui::line(&format!(
                "{}: {}",
                ui::plain(&tensor.name),
                list(values, tensor.integers)
            ))?;
        }
        ui::line(&format!(
            "{}  {}, proven in {}",
            self.output.display(),
            ui::size(bytes.len()),
            ui::time(t_prove)
        ))?;
        let times = format!(
            "load {}, run {}, key {}",
            ui::time(t_load),
            ui::time(t_run),
            ui::time(t_key)
        );
        ui::line(&ui::stdout().dim(&times))?;
        let timings = &proven.timings;
        let part = |name: &str, time: Duration| format!("{name} {}", ui::time(time));
        let parts = [
            part("witness", timings.witness),
            part("phase 1", timings.phase1),
            part("fold", timings.fold),
            part("phase 2", timings.phase2),
            part("sums", timings.phase3),
            part("halo2", timings.halo2),
            part("link", timings.link),
        ];
        ui::line(&ui::stdout().dim(&parts.join(", ")))?;
        let segments = secret.segments();
        let plan = Candidate::of_all(segments.iter().map(Segment::plan));
        let predicted = format!(
            "k = {}: {}{} rows, {} columns; the plan predicted {:.0} ms of CPU time, {} of memory and {} bytes, claims aside",
            plan.k,
            match segments.len() {
                1 => String::new(),
                count => format!("{count} segments of "),
            },
            1u64 << plan.k,
            plan.columns.advice(),
            plan.prove_ms,
            ui::size(plan.memory as usize),
            plan.proof_bytes
        );
        ui::line(&ui::stdout().dim(&predicted))?;
        Ok(ExitCode::SUCCESS)
    }
}
