//! Recurrent operators and loops against ONNX Runtime (`fixtures/recurrent/generate.py`): in floats, quantized, and how their
//! steps share weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zkinfer::graph::Graph;
use zkinfer::import::ImportError;
use zkinfer::{QuantizeOptions, QuantizedModel};
use zkinfer_circuits::program::ProgramLimits;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recurrent")
}

struct Case {
    name: String,
    graph: Graph,
    /// `[sample][input or output][element]`
    inputs: Vec<Vec<Vec<f32>>>,
    outputs: Vec<Vec<Vec<f32>>>,
}

fn case(name: &str) -> Case {
    let bytes = std::fs::read(folder().join(format!("{name}.onnx"))).expect("a model");
    let graph = Graph::from_onnx(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let text = std::fs::read_to_string(folder().join(format!("{name}.txt"))).expect("its values");
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (key, values) = line.split_once(' ').expect("a key");
        let values: Vec<f32> = values.split(' ').map(|v| v.parse().unwrap()).collect();
        let mut key = key.split('.');
        let sample: usize = key.next().unwrap().parse().unwrap();
        let side: &mut Vec<Vec<Vec<f32>>> = match key.next() {
            Some("in") => &mut inputs,
            _ => &mut outputs,
        };
        side.resize(side.len().max(sample + 1), Vec::new());
        side[sample].push(values);
    }
    Case {
        name: name.into(),
        graph,
        inputs,
        outputs,
    }
}

fn cases() -> Vec<Case> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .expect("the fixtures")
        .filter_map(|f| Some(f.ok()?.path().file_stem()?.to_str()?.to_string()))
        .filter(|n| n != "generate")
        .collect();
    names.sort();
    names.dedup();
    names.iter().map(|n| case(n)).collect()
}

#[test]
fn floats_agree_with_onnx_runtime() {
    let cases = cases();
    assert!(cases.len() >= 17);
    for case in cases {
        for (x, expected) in case.inputs.iter().zip(&case.outputs) {
            let values = case.graph.run(x).unwrap();
            let found: Vec<_> = case.graph.outputs.iter().map(|&o| &values[o]).collect();
            assert_eq!(found.len(), expected.len(), "{}", case.name);
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found.len(), expected.len(), "{}", case.name);
                for (f, e) in found.iter().zip(expected) {
                    assert!((f - e).abs() < 2e-6, "{}: {f} is not {e}", case.name);
                }
            }
        }
    }
}

fn quantized(case: &Case) -> QuantizedModel {
    case.graph
        .quantize(&case.inputs, &QuantizeOptions::default())
        .unwrap_or_else(|e| panic!("{}: {e}", case.name))
}
