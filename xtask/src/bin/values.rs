//! What is made of a folder of models: the outputs of the imported graph and of the integers, for whoever has a second opinion.
//!
//! ```text
//! cargo xtask values -- FOLDER
//! ```
//!
//! Reads `FOLDER/cases.json`, a list of `{"name", "samples": [[[…] per input] per sample]}` (and "calibration" of the same form) with the model of each in
//! `FOLDER/NAME.onnx`, and writes `FOLDER/values.json`: one [`Answer`] per case. `tests/sweep` compares them with ONNX Runtime.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use zkinfer::graph::Graph;
use zkinfer::onnx::ImportOptions;
use zkinfer::{QuantizeOptions, QuantizedModel};
use zkinfer_circuits::program::ProgramLimits;

type Failure = Box<dyn std::error::Error>;

/// One sample: per tensor its elements, row-major.
type Sample = Vec<Vec<f32>>;

/// How often the samples are given for calibration: they are also those that are run, so that ranges need no margins.
const CALIBRATION: usize = 64;

#[derive(Deserialize)]
struct Case {
    name: String,
    samples: Vec<Sample>,
    /// What ranges are chosen by; the samples themselves, over and over, if nothing is given.
    #[serde(default)]
    calibration: Vec<Sample>,
}

/// What became of a case; an error where it ended.
#[derive(Default, Serialize)]
struct Answer {
    name: String,
    /// Why there is no graph or no result of it.
    import: Option<String>,
    /// Outputs that were left out.
    dropped: Vec<String>,
    /// Per output, the texts that its values are places of.
    labels: Vec<Vec<String>>,
    /// `[sample][output][element]` of the graph in floats; not a number and infinities are `null`.
    floats: Vec<Sample>,
    /// Why there are no integers.
    quantize: Option<String>,
    /// `[sample][output][element]` of the integers.
    integers: Vec<Sample>,
    /// Least and largest values that the floats take while inputs move by a step of theirs.
    least: Vec<Sample>,
    largest: Vec<Sample>,
    /// The text of a panic, which is a defect wherever it is.
    panic: Option<String>,
}

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("which folder of cases?")?;
    let folder = Path::new(&folder);
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(folder.join("cases.json"))?)?;
    std::panic::set_hook(Box::new(|_| {}));
    let answers: Vec<Answer> = cases.par_iter().map(|c| guarded(folder, c)).collect();
    std::fs::write(folder.join("values.json"), serde_json::to_vec(&answers)?)?;
    Ok(())
}

fn guarded(folder: &Path, case: &Case) -> Answer {
    let mut answer = Answer {
        name: case.name.clone(),
        ..Answer::default()
    };
    let run = catch_unwind(AssertUnwindSafe(|| values(folder, case, &mut answer)));
    if let Err(panic) = run {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        answer.panic = Some(text.unwrap_or("no text").to_owned());
    }
    answer
}

fn values(folder: &Path, case: &Case, answer: &mut Answer) {
    let graph = match imported(&folder.join(format!("{}.onnx", case.name)), answer) {
        Ok(graph) => graph,
        Err(e) => {
            answer.import = Some(e.to_string());
            return;
        }
    };
    let labels = graph.output_tensors.iter().map(|t| t.labels.clone());
    answer.labels = labels.collect();
    for sample in &case.samples {
        match graph.run(sample) {
            Ok(values) => answer.floats.push(graph.outputs_of(&values)),
            Err(e) => {
                answer.import = Some(e.to_string());
                return;
            }
        }
    }
    if let Err(e) = integers(&graph, case, answer) {
        answer.quantize = Some(e.to_string());
    }
}

fn imported(path: &Path, answer: &mut Answer) -> Result<Graph, Failure> {
    let import = Graph::import(&std::fs::read(path)?, &ImportOptions::default())?;
    answer.dropped = import.left_out;
    Ok(import.graph)
}

fn integers(graph: &Graph, case: &Case, answer: &mut Answer) -> Result<(), Failure> {
    let again = case.samples.iter().cycle();
    let calibration: Vec<Sample> = match case.calibration.as_slice() {
        [] => again
            .take(CALIBRATION.max(case.samples.len()))
            .cloned()
            .collect(),
        given => given.to_vec(),
    };
    let model = graph.quantize(&calibration, &QuantizeOptions::default())?;
    let expanded = model.program.expand(&ProgramLimits::default())?;
    for sample in &case.samples {
        let integers = model.quantize_inputs(sample, false)?;
        let trace = model.run(&expanded, &integers).map_err(|e| {
            let layer = model.layers.iter().find(|l| {
                let place = format!("node {}, ", l.node);
                e.to_string().contains(&place)
            });
            format!("{}: {e}", layer.map_or("", |l| l.name.as_str()))
        })?;
        let outputs = model.dequantize_outputs(&expanded, &trace)?;
        let (least, largest) = moved(graph, &model, sample, &outputs);
        answer.integers.push(outputs);
        answer.least.push(least);
        answer.largest.push(largest);
    }
    Ok(())
}

/// The range of every output element while inputs move by up to a step: an integer input stands for all reals that round
/// to it, and a steep function makes much of half a step.
fn moved(
    graph: &Graph,
    model: &QuantizedModel,
    sample: &Sample,
    like: &Sample,
) -> (Sample, Sample) {
    let fill = |v: f32| like.iter().map(|o| vec![v; o.len()]).collect::<Sample>();
    let (mut least, mut largest) = (fill(f32::INFINITY), fill(f32::NEG_INFINITY));
    for (part, against) in (-4..=4).flat_map(|p| [(f64::from(p), 1.0), (f64::from(p), -1.0)]) {
        let shift = |(k, values): (usize, &Vec<f32>)| {
            let sign = if k % 2 == 1 { against } else { 1.0 };
            let step = |i: usize| model.inputs.get(k).map_or(0.0, |t| t.scale_at(i));
            let by = |i: usize| sign * part / 4.0 * step(i);
            let one = |(i, v): (usize, &f32)| (f64::from(*v) + by(i)) as f32;
            values.iter().enumerate().map(one).collect::<Vec<f32>>()
        };
        let inputs: Sample = sample.iter().enumerate().map(shift).collect();
        let Ok(values) = graph.run(&inputs) else {
            continue;
        };
        let outputs = graph.outputs_of(&values);
        for (k, output) in outputs.iter().enumerate().take(least.len()) {
            for (i, v) in output.iter().enumerate().filter(|(_, v)| v.is_finite()) {
                if let (Some(a), Some(b)) = (least[k].get_mut(i), largest[k].get_mut(i)) {
                    (*a, *b) = (a.min(*v), b.max(*v));
                }
            }
        }
    }
    (least, largest)
}
