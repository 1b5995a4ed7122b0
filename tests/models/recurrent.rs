//! Recurrent operators and loops against ONNX Runtime (`fixtures/recurrent/generate.py`): in floats, quantized, and how their
//! steps share weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zkinfer::graph::{Graph, Tie};
use zkinfer::quantize::evaluate;
use zkinfer::{Expected, Limits, QuantizeOptions, QuantizedModel, Secret, Visibility};
use zkinfer::{public_input, verifier};
use zkinfer_circuits::program::{Neurons, Node};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recurrent")
}

pub struct Case {
    pub name: String,
    pub graph: Graph,
    /// `[sample][input or output][element]`
    pub inputs: Vec<Vec<Vec<f32>>>,
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

pub fn cases() -> Vec<Case> {
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
                    assert!(
                        (f - e).abs() < 2e-6 * e.abs().max(1.0),
                        "{}: {f} is not {e}",
                        case.name
                    );
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

fn neurons(model: &QuantizedModel) -> impl Iterator<Item = (u32, &Neurons)> {
    let nodes = model.program.nodes.iter().enumerate();
    nodes.filter_map(|(at, node)| match node {
        Node::Neurons(n) => Some((at as u32, n)),
        _ => None,
    })
}

/// Members of every family, the leader included.
fn families(model: &QuantizedModel) -> BTreeMap<u32, usize> {
    let mut families = BTreeMap::new();
    for leader in neurons(model).filter_map(|(_, n)| n.leader()) {
        *families.entry(leader).or_insert(1) += 1;
    }
    families
}

#[test]
fn integers_are_near_the_floats() {
    // Mean error over the range. The head of `two_layers` is a sum of four values of 0.01 that cancel.
    let tolerance = |name: &str| if name == "two_layers" { 2.0 } else { 0.6 };
    for case in cases() {
        let model = quantized(&case);
        let report = evaluate(&case.graph, &model, &case.inputs, &[]).unwrap();
        assert_eq!(report.out_of_range, Vec::new(), "{}", case.name);
        for output in report.outputs {
            let error = 100.0 * output.relative_error;
            assert!(error < tolerance(&case.name), "{}: {error} %", case.name);
        }
    }
}

#[test]
fn steps_use_the_same_weights() {
    // Steps, and maps of several inputs: gates, candidates, states.
    let expected = [("lstm", 8, 4), ("gru", 8, 3), ("rnn", 8, 1), ("scan", 6, 1)];
    for (name, steps, maps) in expected {
        let model = quantized(&case(name));
        let families = families(&model);
        let wide = neurons(&model).filter(|(_, n)| n.terms[0].inputs > 1 && n.leader().is_none());
        let found: Vec<usize> = wide
            .map(|(node, _)| families.get(&node).copied().unwrap_or(1))
            .collect();
        // All of them in every step, the first included, and none with weights of its own.
        assert_eq!(found, vec![steps; maps], "{name}: {families:?}");
        assert!(model.weights.iter().all(|w| {
            let Some(Node::Neurons(n)) = model.program.nodes.get(w.node as usize) else {
                return false;
            };
            n.leader().is_none()
        }));
    }
}

#[test]
fn layers_have_weights_of_their_own() {
    let model = quantized(&case("two_layers"));
    let families = families(&model);
    // Six steps: both directions of the lower layer with four gates each, the upper one with three maps.
    let maps = |&(leader, n): &(u32, &Neurons)| {
        n.terms.first().is_some_and(|t| t.inputs > 1) && families.get(&leader) == Some(&6)
    };
    assert_eq!(neurons(&model).filter(maps).count(), 11);
}

#[test]
fn other_weights_are_no_steps() {
    // Whoever ties what is not alike loses the sharing, and nothing else.
    let mut tied = case("two_layers");
    let honest = quantized(&tied);
    let count = tied.graph.nodes.len() as u32;
    for (i, node) in tied.graph.nodes.iter_mut().enumerate() {
        node.tie = Some(Tie(i as u32 % (count / 2)));
    }
    let report = |graph: &Graph, model| evaluate(graph, model, &tied.inputs, &[]).unwrap();
    let wrong = quantized(&tied);
    assert!(families(&wrong).len() < families(&honest).len());
    let error = report(&tied.graph, &wrong).outputs[0].relative_error;
    assert!(error < 0.2, "{error}");
}

#[test]
fn recurrences_are_proven() {
    for name in ["rnn", "gru_lengths_bidirectional", "loop"] {
        let case = case(name);
        let model = quantized(&case);
        assert!(!families(&model).is_empty());
        let secret = Secret::commit(model, &mut zkinfer::rng()).unwrap();
        let run = secret.infer(&case.inputs[0]).unwrap();
        let proven = secret
            .prove(&run, &Visibility::default(), b"steps", &mut zkinfer::rng())
            .unwrap();
        let verifier = verifier(secret.card().clone(), &Limits::default()).unwrap();
        let expected = |sample: usize| Expected {
            input: Some(public_input(verifier.card(), &case.inputs[sample]).unwrap()),
            output: None,
            context: b"steps".to_vec(),
        };
        verifier.verify(&expected(0), &proven.proof).unwrap();
        assert!(verifier.verify(&expected(1), &proven.proof).is_err());
    }
}
