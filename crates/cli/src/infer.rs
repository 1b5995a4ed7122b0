//! `zkinfer infer`.

use crate::{files, ui};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use zkinfer::interface::{Interface, TensorInterface};
use zkinfer::secret::Run;

/// Run a compiled model, exactly as it is proven.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer infer digits.model --input samples.npz --sample 3
  zkinfer infer digits.model --input samples.npz --all --json > outputs.jsonl

--json prints one object per sample and line: `output` has the numbers, one flat list per output of the
model, `names` and `shapes` what these are, `output_text` the texts where numbers stand for texts,
`output_int` the integers that a proof is about, `saturated` how many values of which layers were
clamped (compile --saturate). With --all a sample that cannot be proven has an
`error` instead; the others follow, and the exit code is 2.")]
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
    names: Vec<&'a str>,
    shapes: Vec<&'a [usize]>,
    output: Vec<Vec<serde_json::Number>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    output_text: Vec<Option<Vec<&'a str>>>,
    output_int: Vec<Vec<u32>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    saturated: BTreeMap<&'a str, usize>,
}

impl Infer {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let secret = files::secret(&self.model)?;
        let interface = Interface::from_card(secret.card())?;
        let samples: Vec<(usize, Vec<Vec<f32>>)> = if self.all {
            files::samples(&self.input, &interface.inputs)?
                .inputs
                .into_iter()
                .enumerate()
                .collect()
        } else {
            let number = self.sample.unwrap_or(0);
            let sample = files::sample(&self.input, &interface.inputs, number)?;
            vec![(number, sample)]
        };
        let count = samples.len();
        let mut refused = 0;
        let bar = ui::bar("running", count);
        for (sample, inputs) in samples {
            match secret.infer(&inputs) {
                Ok(run) => bar.suspend(|| print(as_json, sample, &run, &interface))?,
                Err(error) if self.all => {
                    refused += 1;
                    bar.suspend(|| print_refusal(as_json, sample, &error))?;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("sample {sample}"));
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        if refused > 0 {
            bail!("{refused} of {count} samples cannot be proven");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A sample that has no answer, among others that may have one.
fn print_refusal(as_json: bool, sample: usize, error: &zkinfer::InferError) -> Result<()> {
    let error = error.to_string();
    eprintln!(
        "{} sample {sample}: {}",
        ui::stderr().red("error:"),
        ui::plain(&error)
    );
    match as_json {
        true => ui::json(&serde_json::json!({ "sample": sample, "error": error })),
        false => Ok(()),
    }
}

/// The numbers of an output: whole ones as such.
fn numbers(values: &[f32], tensor: &TensorInterface) -> Result<Vec<serde_json::Number>> {
    let number = |&v: &f32| match tensor.integers {
        true => Some(serde_json::Number::from(v as i64)),
        // As short as a 32-bit float is.
        false => v.to_string().parse().ok(),
    };
    let numbers = values.iter().map(number);
    numbers
        .collect::<Option<_>>()
        .context("an output is not a number")
}

fn print(as_json: bool, sample: usize, run: &Run, interface: &Interface) -> Result<()> {
    let outputs = || interface.outputs.iter().zip(run.outputs());
    let saturated = run.saturated().iter().map(|(l, n)| (l.as_str(), *n));
    if as_json {
        let mut texts: Vec<_> = outputs().map(|(t, v)| t.texts(v)).collect();
        if texts.iter().all(Option::is_none) {
            texts.clear();
        }
        return ui::json(&Line {
            sample,
            names: interface.outputs.iter().map(|t| t.name.as_str()).collect(),
            shapes: (interface.outputs.iter())
                .map(|t| t.shape.as_slice())
                .collect(),
            output: outputs()
                .map(|(t, v)| numbers(v, t))
                .collect::<Result<_>>()?,
            output_text: texts,
            output_int: interface.split_outputs(run.output())?,
            saturated: saturated.collect(),
        });
    }
    for (tensor, values) in outputs() {
        let text = match tensor.texts(values) {
            Some(texts) => texts
                .iter()
                .map(|t| ui::plain(t))
                .collect::<Vec<_>>()
                .join(", "),
            None => list(values, tensor.integers),
        };
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        ui::line(&format!(
            "sample {sample}, {} [{}]: {text}",
            ui::plain(&tensor.name),
            shape.join(", ")
        ))?;
    }
    for (layer, count) in saturated {
        ui::line(&format!(
            "sample {sample}: {count} values of layer {} are beyond the range and clamped",
            ui::plain(layer)
        ))?;
    }
    Ok(())
}

/// The beginning of a list, with its largest element.
pub fn list(values: &[f32], integers: bool) -> String {
    let number = |&v: &f32| match integers {
        true => format!("{v:.0}"),
        false => ui::real(f64::from(v)),
    };
    let shown: Vec<String> = values.iter().take(16).map(number).collect();
    let more = if values.len() > 16 {
        format!(", ... ({} values)", values.len())
    } else {
        String::new()
    };
    match largest(values) {
        Some(at) if values.len() > 1 && !integers => {
            format!("[{}{more}], largest at {at}", shown.join(", "))
        }
        _ => format!("[{}{more}]", shown.join(", ")),
    }
}

/// Index of the first largest element.
pub fn largest(values: &[f32]) -> Option<usize> {
    (0..values.len()).reduce(|a, b| if values[b] > values[a] { b } else { a })
}
