//! `zkinfer infer`.

use crate::{files, ui};
use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use zkinfer::interface::Interface;
use zkinfer::secret::Run;

/// Run a compiled model, exactly as it is proven.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer infer digits.model --input samples.npz --sample 3
  zkinfer infer digits.model --input samples.npz --all --json > outputs.jsonl

--json prints one object per sample and line: `output` has the real numbers, one flat list per output of
the model, `output_int` the integers that a proof is about.")]
pub struct Infer {
    /// The compiled model
    #[arg(value_name = "NAME.model")]
    model: PathBuf,
    /// Inputs: .npz, .npy or .json
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Which sample, counting from 0 [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "all")]
    sample: Option<usize>,
    /// All samples
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    sample: usize,
    output: &'a [Vec<f32>],
    output_int: Vec<Vec<u32>>,
}

impl Infer {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let secret = files::secret(&self.model)?;
        let interface = Interface::from_card(secret.card())?;
        let lens = interface.input_lens();
        let samples: Vec<(usize, Vec<Vec<f32>>)> = if self.all {
            files::samples(&self.input, &lens)?
                .inputs
                .into_iter()
                .enumerate()
                .collect()
        } else {
            let number = self.sample.unwrap_or(0);
            vec![(number, files::sample(&self.input, &lens, number)?)]
        };
        let bar = ui::bar("running", samples.len());
        for (sample, inputs) in samples {
            let run = secret
                .infer(&inputs)
                .with_context(|| format!("sample {sample}"))?;
            bar.suspend(|| print(as_json, sample, &run, &interface))?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(ExitCode::SUCCESS)
    }
}

fn print(as_json: bool, sample: usize, run: &Run, interface: &Interface) -> Result<()> {
    if as_json {
        return ui::json(&Line {
            sample,
            output: run.outputs(),
            output_int: interface.split_outputs(run.output())?,
        });
    }
    for (tensor, values) in interface.outputs.iter().zip(run.outputs()) {
        ui::line(&format!(
            "sample {sample}, {}: {}",
            ui::plain(&tensor.name),
            list(values)
        ))?;
    }
    Ok(())
}

/// The beginning of a list, with its largest element.
pub fn list(values: &[f32]) -> String {
    let shown: Vec<String> = values
        .iter()
        .take(16)
        .map(|&v| ui::real(f64::from(v)))
        .collect();
    let more = if values.len() > 16 {
        format!(", ... ({} values)", values.len())
    } else {
        String::new()
    };
    match largest(values) {
        Some(at) if values.len() > 1 => format!("[{}{more}], largest at {at}", shown.join(", ")),
        _ => format!("[{}{more}]", shown.join(", ")),
    }
}

/// Index of the first largest element.
pub fn largest(values: &[f32]) -> Option<usize> {
    (0..values.len()).reduce(|a, b| if values[b] > values[a] { b } else { a })
}
