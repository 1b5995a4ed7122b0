//! Products of activations, indices of maxima, comparisons, masks and trees: exactness and error bounds of the integers.

use crate::common::onnx::{floats, info, ints};
use prost::Message;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use zkinfer::graph::{Activation, BinaryOp, Graph, GraphNode, Op, ScalarFn};
use zkinfer::onnx::ImportOptions;
use zkinfer::{QuantizeOptions, QuantizedModel};
use zkinfer_circuits::program::{Axis, ProgramLimits, View};

fn uniform(rng: &mut ChaCha20Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * (rng.next_u32() as f32 / u32::MAX as f32)
}

/// A graph of inputs of these lengths and further operations; the last one is the output.
fn graph(inputs: &[usize], rest: Vec<(Op, Vec<usize>, Vec<usize>)>) -> Graph {
    let mut nodes = Vec::new();
    for (i, &len) in inputs.iter().enumerate() {
        nodes.push(GraphNode {
            name: format!("x{i}"),
            op: Op::Input,
            inputs: Vec::new(),
            shape: vec![len],
            tie: None,
        });
    }
    for (op, inputs, shape) in rest {
        nodes.push(GraphNode {
            name: format!("n{}", nodes.len()),
            op,
            inputs,
            shape,
            tie: None,
        });
    }
    Graph {
        inputs: (0..inputs.len()).collect(),
        outputs: vec![nodes.len() - 1],
        nodes,
        ..Graph::default()
    }
}

/// The integer run's first output.
fn run(model: &QuantizedModel, sample: &[Vec<f32>]) -> Vec<f32> {
    let expanded = model.program.expand(&ProgramLimits::default()).unwrap();
    let integers = model.quantize_inputs(sample, false).unwrap();
    let trace = model.run(&expanded, &integers).unwrap();
    let mut outputs = model.dequantize_outputs(&expanded, &trace).unwrap();
    outputs.remove(0)
}

fn read(extent: usize, loops: &[usize], strides: &[i64]) -> View {
    View {
        loops: loops.iter().map(|&l| l as u32).collect(),
        axes: vec![Axis {
            extent: extent as u32,
            offset: 0,
            strides: strides.to_vec(),
        }],
    }
}

#[test]
fn products_keep_their_bound() {
    const N: usize = 64;
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    for (low, high) in [(-1.0, 1.0), (0.0, 5.0), (-3.0, -2.5)] {
        let product = Op::Product {
            left: View::identity(N),
            right: View::identity(N),
            group: 1,
        };
        let graph = graph(&[N, N], vec![(product, vec![0, 1], vec![N])]);
        let mut draw = |low, high| (0..N).map(|_| uniform(&mut rng, low, high)).collect();
        let mut samples: Vec<Vec<Vec<f32>>> = (0..20)
            .map(|_| vec![draw(low, high), draw(-2.0, 2.0)])
            .collect();
        // Corners.
        samples.push(vec![vec![high; N], vec![2.0; N]]);
        samples.push(vec![vec![low; N], vec![-2.0; N]]);
        let options = QuantizeOptions::default();
        let model = graph.quantize(&samples, &options).unwrap();
        let range = f64::from(1u32 << options.bits());
        let (half_x, half_y) = (f64::from(high - low).max(0.5) * 0.8, 2.0 * 1.7);
        let largest = f64::from(low.abs().max(high.abs()));
        // Inputs are off by half a step, products by the bound of the construction, the output by half a step of its range.
        let steps =
            0.5 * (2.0 * model.inputs[0].scale_at(0) + largest * model.inputs[1].scale_at(0));
        let bound =
            1.25 * 4.0 * half_x * half_y * 1.3 / range + steps + 0.5 * model.outputs[0].scale_at(0);
        for sample in &samples {
            let got = run(&model, sample);
            for i in 0..N {
                let want = f64::from(sample[0][i]) * f64::from(sample[1][i]);
                let error = (f64::from(got[i]) - want).abs();
                assert!(
                    error <= bound,
                    "{low} {high}: {got:?} {want} {error} {bound}"
                );
            }
        }
    }
}

#[test]
fn matrix_products_of_activations() {
    // [3,8] · [8,4]: each element is used several times, so squares of elements are shared.
    let (m, k, n) = (3, 8, 4);
    let product = Op::Product {
        left: read(m * k, &[m, n, k], &[k as i64, 0, 1]),
        right: read(k * n, &[m, n, k], &[0, 1, n as i64]),
        group: k,
    };
    let graph = graph(&[m * k, k * n], vec![(product, vec![0, 1], vec![m, n])]);
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let mut draw = |len: usize| (0..len).map(|_| uniform(&mut rng, -1.0, 1.0)).collect();
    let samples: Vec<Vec<Vec<f32>>> = (0..50).map(|_| vec![draw(m * k), draw(k * n)]).collect();
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    for sample in &samples {
        let want = graph.outputs_of(&graph.run(sample).unwrap()).remove(0);
        for (g, w) in run(&model, sample).iter().zip(&want) {
            assert!((g - w).abs() < 0.03, "{g} {w}");
        }
    }
}

#[test]
fn first_of_the_largest() {
    let graph = graph(&[6], vec![(Op::ArgMax { len: 3 }, vec![0], vec![2])]);
    let samples: Vec<Vec<Vec<f32>>> = vec![
        vec![vec![1.0, 1.0, 1.0, -5.0, 3.0, 3.0]],
        vec![vec![0.0, 0.0, 2.0, 7.0, -7.0, 7.0]],
        vec![vec![-7.0, 7.0, -7.0, 0.5, 0.5, 0.25]],
    ];
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    let got: Vec<Vec<f32>> = samples.iter().map(|s| run(&model, s)).collect();
    assert_eq!(got, [vec![0.0, 1.0], vec![2.0, 0.0], vec![1.0, 0.0]]);
}

#[test]
fn comparisons_are_exact_on_integers() {
    // x > 3 on whole numbers: the boundary is hit exactly.
    let condition = ScalarFn::Combine(
        BinaryOp::Sub,
        Box::new(ScalarFn::X),
        Box::new(ScalarFn::Const(3.0)),
    );
    let step = ScalarFn::Select(
        Box::new(condition),
        Box::new(ScalarFn::Const(2.0)),
        Box::new(ScalarFn::Const(-1.0)),
    );
    let op = Op::Activation(Activation::Scalar(step));
    let graph = graph(&[8], vec![(op, vec![0], vec![8])]);
    let sample = vec![vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 100.0, 1000.0]];
    let samples = vec![sample.clone(); 30];
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    let got = run(&model, &sample);
    for (g, w) in got.iter().zip([-1.0, -1.0, -1.0, -1.0, 2.0, 2.0, 2.0, 2.0]) {
        assert!((g - w).abs() < 2e-3, "{got:?}");
    }
}

#[test]
fn masked_logits_take_no_range() {
    let mask = Op::Affine {
        scale: vec![1.0],
        shift: vec![0.0, -1e9, 0.0, 0.0],
    };
    let graph = graph(
        &[4],
        vec![
            (mask, vec![0], vec![4]),
            (Op::Softmax { len: 4 }, vec![1], vec![4]),
        ],
    );
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let samples: Vec<Vec<Vec<f32>>> = (0..50)
        .map(|_| vec![(0..4).map(|_| uniform(&mut rng, -3.0, 3.0)).collect()])
        .collect();
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    for sample in &samples {
        let want = graph.outputs_of(&graph.run(sample).unwrap()).remove(0);
        for (g, w) in run(&model, sample).iter().zip(&want) {
            assert!((g - w).abs() < 5e-3, "{g} {w}");
        }
    }
}

/// Two trees over two features: `x0 <= 1 ? (x1 <= -2 ? A : B) : C` and `x1 <= 0.5 ? A : C`.
fn forest(strings: bool) -> Vec<u8> {
    let modes = ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"];
    let modes = modes.iter().chain(&["BRANCH_LEQ", "LEAF", "LEAF"]);
    let text = |values: Vec<Vec<u8>>, name: &str| AttributeProto {
        name: name.into(),
        r#type: 8,
        strings: values,
        ..AttributeProto::default()
    };
    let labels = if strings {
        text(
            vec![b"a".into(), b"b".into(), b"c".into()],
            "classlabels_strings",
        )
    } else {
        ints("classlabels_int64s", &[0, 1, 2])
    };
    let node = NodeProto {
        name: "forest".into(),
        op_type: "TreeEnsembleClassifier".into(),
        domain: "ai.onnx.ml".into(),
        input: vec!["x".into()],
        output: vec!["label".into(), "scores".into()],
        attribute: vec![
            ints("nodes_treeids", &[0, 0, 0, 0, 0, 1, 1, 1]),
            ints("nodes_nodeids", &[0, 1, 2, 3, 4, 0, 1, 2]),
            ints("nodes_featureids", &[0, 1, 0, 0, 0, 1, 0, 0]),
            floats("nodes_values", &[1.0, -2.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0]),
            ints("nodes_truenodeids", &[1, 2, 0, 0, 0, 1, 0, 0]),
            ints("nodes_falsenodeids", &[4, 3, 0, 0, 0, 2, 0, 0]),
            text(
                modes.map(|m| m.as_bytes().to_vec()).collect(),
                "nodes_modes",
            ),
            ints("class_treeids", &[0, 0, 0, 1, 1]),
            ints("class_nodeids", &[2, 3, 4, 1, 2]),
            ints("class_ids", &[0, 1, 2, 0, 2]),
            floats("class_weights", &[0.5, 0.5, 0.5, 0.5, 0.25]),
            labels,
        ],
        ..NodeProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: "ai.onnx.ml".into(),
            version: 1,
        }],
        graph: Some(GraphProto {
            name: "g".into(),
            node: vec![node],
            input: vec![info("x", Some(&["1", "2"]))],
            output: vec![
                info("label", Some(&["1"])),
                info("scores", Some(&["1", "3"])),
            ],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

#[test]
fn trees_are_comparisons() {
    let graph = Graph::from_onnx(&forest(false)).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(10);
    let mut samples: Vec<Vec<Vec<f32>>> = (0..200)
        .map(|_| vec![(0..2).map(|_| uniform(&mut rng, -4.0, 4.0)).collect()])
        .collect();
    samples.push(vec![vec![1.0, 0.5]]);
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    for sample in &samples {
        let (x, y) = (sample[0][0], sample[0][1]);
        let mut want = [0.0f32; 3];
        match (x <= 1.0, y <= -2.0) {
            (true, true) => want[0] += 0.5,
            (true, false) => want[1] += 0.5,
            (false, _) => want[2] += 0.5,
        }
        if y <= 0.5 {
            want[0] += 0.5;
        } else {
            want[2] += 0.25;
        }
        let outputs = graph.outputs_of(&graph.run(sample).unwrap());
        assert_eq!(outputs[1], want);
        let first = (0..3).fold(0, |b, i| if want[i] > want[b] { i } else { b });
        assert_eq!(outputs[0], [first as f32]);
        // Samples next to a threshold may go the other way after their own rounding.
        let near = [(x, 1.0), (y, -2.0), (y, 0.5)];
        if near.iter().all(|(v, t)| (v - t).abs() > 0.01) {
            assert_eq!(run(&model, sample), [first as f32], "{sample:?}");
        }
    }
}

#[test]
fn labels_that_are_texts_are_places_in_a_list() {
    let graph = Graph::from_onnx(&forest(true)).unwrap();
    let names: Vec<&str> = graph
        .output_tensors
        .iter()
        .map(|t| t.name.as_str())
        .collect();
    assert_eq!(names, ["label", "scores"]);
    assert_eq!(graph.output_tensors[0].labels.len(), 3);
    assert!(graph.output_tensors[0].integers && !graph.output_tensors[1].integers);
    let options = ImportOptions {
        outputs: vec!["scores".into()],
        ..ImportOptions::default()
    };
    let chosen = Graph::import(&forest(true), &options).unwrap();
    assert_eq!(
        (chosen.graph.outputs.len(), chosen.left_out),
        (1, vec!["label".to_owned()])
    );
}

/// A linear classifier of the classes 3 and 7: the labels and scores of `[1, 0]` and `[-1, 0]`.
fn classified(rows: &[f32], transform: &str) -> Vec<(f32, Vec<f32>)> {
    let transform = AttributeProto {
        name: "post_transform".into(),
        r#type: 3,
        s: transform.as_bytes().to_vec(),
        ..AttributeProto::default()
    };
    let node = NodeProto {
        name: "classes".into(),
        op_type: "LinearClassifier".into(),
        domain: "ai.onnx.ml".into(),
        input: vec!["x".into()],
        output: vec!["label".into(), "scores".into()],
        attribute: vec![
            floats("coefficients", rows),
            floats("intercepts", &vec![0.0; rows.len() / 2]),
            ints("classlabels_ints", &[3, 7]),
            transform,
        ],
        ..NodeProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: "ai.onnx.ml".into(),
            version: 1,
        }],
        graph: Some(GraphProto {
            name: "g".into(),
            node: vec![node],
            input: vec![info("x", Some(&["1", "2"]))],
            output: vec![
                info("label", Some(&["1"])),
                info("scores", Some(&["1", "2"])),
            ],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    };
    let graph = Graph::from_onnx(&model.encode_to_vec()).unwrap();
    assert!(graph.output_tensors[0].integers);
    let answer = |x: [f32; 2]| {
        let mut outputs = graph.outputs_of(&graph.run(&[x.to_vec()]).unwrap());
        (outputs[0][0], outputs.remove(1))
    };
    vec![answer([1.0, 0.0]), answer([-1.0, 0.0])]
}

/// What ONNX Runtime 1.32 says.
#[test]
fn linear_classifiers_are_those_of_onnx_runtime() {
    let (one, two) = ([0.5, 0.1], [0.5, 0.1, -0.5, -0.1]);
    let cases: [(&[f32], &str, [f32; 2], [[f32; 2]; 2]); 6] = [
        (&one, "NONE", [7.0, 3.0], [[0.5, 0.5], [1.5, -0.5]]),
        (&one, "SOFTMAX", [7.0, 3.0], [[0.5, 0.5], [1.5, -0.5]]),
        (
            &one,
            "LOGISTIC",
            [7.0, 3.0],
            [[0.377_54, 0.622_46], [0.622_46, 0.377_54]],
        ),
        (&two, "NONE", [3.0, 7.0], [[0.5, -0.5], [-0.5, 0.5]]),
        (
            &two,
            "LOGISTIC",
            [3.0, 7.0],
            [[0.622_46, 0.377_54], [0.377_54, 0.622_46]],
        ),
        (
            &two,
            "SOFTMAX",
            [3.0, 7.0],
            [[0.731_06, 0.268_94], [0.268_94, 0.731_06]],
        ),
    ];
    for (rows, transform, labels, scores) in cases {
        let got = classified(rows, transform);
        for ((label, score), (want, wanted)) in got.iter().zip(labels.iter().zip(&scores)) {
            assert_eq!(label, want, "{transform}");
            let close = score.iter().zip(wanted).all(|(g, w)| (g - w).abs() < 1e-4);
            assert!(close, "{transform}: {score:?}, wanted {wanted:?}");
        }
    }
}
