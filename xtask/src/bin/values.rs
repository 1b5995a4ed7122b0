//! What is made of a folder of models: the outputs of the imported graph and of the integers, for whoever has a second opinion.
//!
//! ```text
//! cargo xtask values -- FOLDER
//! ```
//!
//! Reads `FOLDER/cases.json`, a list of `{"name", "samples": [[[…] per input] per sample]}` (and "calibration" of the same form) with the model of each in
//! `FOLDER/NAME.onnx`, and writes `FOLDER/values.json`: one [`Answer`] per case. `tests/sweep` compares them with ONNX Runtime.
#[path = "../moved.rs"]
mod moved;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use zkinfer::QuantizeOptions;
use zkinfer::graph::Graph;
use zkinfer::onnx::ImportOptions;
use zkinfer_circuits::program::ProgramLimits;

use moved::{Sample, moved};

type Failure = Box<dyn std::error::Error>;

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
