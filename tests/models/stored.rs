//! Small models in `tests/fixtures/onnx`, each with inputs and the outputs of ONNX Runtime 1.32: operators of ONNX-ML, control
//! flow, functions, choices. Floats, integers, and a proof of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::proof;
use rayon::prelude::*;
use serde::Deserialize;
use zkinfer::onnx::ImportOptions;
use zkinfer::onnx::operators::{self, OPERATORS, Support};
use zkinfer::{Graph, QuantizeOptions};
use zkinfer_circuits::program::ProgramLimits;

/// Inputs and outputs, `[tensor][element]`.
#[derive(Deserialize)]
struct Sample {
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx")
}

fn stored() -> BTreeMap<String, Vec<Sample>> {
    let files = std::fs::read_dir(folder()).expect("the folder");
    let paths = files.map(|f| f.expect("a file").path());
    let texts = paths.filter(|p| p.extension().is_some_and(|e| e == "json"));
    let read = |path| std::fs::read_to_string(path).expect("stored outputs");
    let models = |text: String| -> BTreeMap<String, Vec<Sample>> {
        serde_json::from_str(&text).expect("JSON")
    };
    texts.map(read).flat_map(models).collect()
}

/// Largest distance of two lists of tensors, over the largest magnitude of each tensor.
fn distance(got: &[Vec<f32>], want: &[Vec<f32>]) -> f32 {
    if got.len() != want.len() {
        return f32::INFINITY;
    }
    let one = |(g, w): (&Vec<f32>, &Vec<f32>)| {
        if g.len() != w.len() {
            return f32::INFINITY;
        }
        let size = w.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
        let far = g.iter().zip(w).map(|(g, w)| (g - w).abs() / size);
        far.fold(0.0, f32::max)
    };
    got.iter().zip(want).map(one).fold(0.0, f32::max)
}

#[test]
fn floats_are_those_of_onnx_runtime() {
    let mut failures = Vec::new();
    for (name, samples) in stored() {
        let bytes = std::fs::read(folder().join(format!("{name}.onnx"))).expect("a model");
        let import = match Graph::import(&bytes, &ImportOptions::default()) {
            Ok(import) => import,
            Err(e) => {
                failures.push(format!("{name}: {e}"));
                continue;
            }
        };
        for sample in samples {
            let values = import.graph.run(&sample.inputs).unwrap();
            let mut got = import.graph.outputs_of(&values);
            // Texts are not stored.
            let mut tensors = import.graph.output_tensors.iter();
            got.retain(|_| tensors.next().is_none_or(|t| t.labels.is_empty()));
            let far = distance(&got, &sample.outputs);
            // ONNX Runtime couples the probabilities of two classes by an iteration. Not a number is far as well.
            if !matches!(far, d if d < 1e-3) {
                let want = &sample.outputs;
                failures.push(format!("{name}: {far}: {got:?}, wanted {want:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Nearest neighbours at the same distance may change places.
const TOLERANCE: f32 = 0.02;

/// Levels of what rounds to integers of eight bits inside: a value as close to the middle between two as our own steps are fine
/// goes to either.
const LEVELS: [(&str, f32); 2] = [("qlinear", 1.0 / 128.0), ("qlinear_plain", 1.0 / 128.0)];

/// Whether all outputs are within one level.
fn within_a_level(name: &str, got: &[Vec<f32>], want: &[Vec<f32>]) -> bool {
    LEVELS.iter().any(|(n, level)| {
        let close = |(g, w): (&f32, &f32)| (g - w).abs() <= level * 1.001;
        let all = |(g, w): (&Vec<f32>, &Vec<f32>)| g.len() == w.len() && g.iter().zip(w).all(close);
        *n == name && got.len() == want.len() && got.iter().zip(want).all(all)
    })
}

#[test]
fn integers_follow_and_are_proven() {
    let all: Vec<(String, Vec<Sample>)> = stored().into_iter().collect();
    let failures: Vec<String> = all
        .par_iter()
        .filter_map(|(name, samples)| {
            let bytes = std::fs::read(folder().join(format!("{name}.onnx"))).ok()?;
            let graph = Graph::from_onnx(&bytes).ok()?;
            let calibration: Vec<Vec<Vec<f32>>> = samples
                .iter()
                .cycle()
                .take(100)
                .map(|s| s.inputs.clone())
                .collect();
            let model = match graph.quantize(&calibration, &QuantizeOptions::default()) {
                Ok(model) => model,
                Err(e) => return Some(format!("{name}: {e}")),
            };
            let expanded = model.program.expand(&ProgramLimits::default()).unwrap();
            for (i, sample) in samples.iter().enumerate() {
                let integers = model.quantize_inputs(&sample.inputs, true).unwrap();
                let trace = match model.run(&expanded, &integers) {
                    Ok(trace) => trace,
                    Err(e) => return Some(format!("{name}, sample {i}: {e}")),
                };
                let got = model.dequantize_outputs(&expanded, &trace).unwrap();
                let far = distance(&got, &sample.outputs);
                if far > TOLERANCE && !within_a_level(name, &got, &sample.outputs) {
                    let (got, want) = (got.last(), sample.outputs.last());
                    return Some(format!(
                        "{name}, sample {i}: {far}: {got:?}, wanted {want:?}"
                    ));
                }
            }
            let proven = proof::prove_and_verify(model, name, &samples[0].inputs);
            proven.err().map(|e| format!("{name}: {e}"))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_page_of_operators_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operators.md");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed == operators::page(),
        "docs/operators.md is not current: cargo xtask operators"
    );
    let names: Vec<_> = OPERATORS.iter().map(|o| (o.domain, o.name)).collect();
    assert!(names.is_sorted(), "sorted, each once");
    for o in OPERATORS {
        if let Support::Refused { instead } = o.support {
            assert!(!instead.is_empty(), "{} needs advice", o.name);
        }
    }
}
