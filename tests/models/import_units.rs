//! Small models built here: what they are lowered to, and (`refusals`) how errors read, and damaged files.

mod refusals;

use crate::common::onnx::{Builder, int, ints};
use zkinfer::graph::{Activation, Graph, Op};
use zkinfer::onnx::{ImportError, ImportOptions};

fn weights(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 29 % 17) as f32 - 8.0) / 8.0).collect()
}

/// Operations after the input.
fn ops(graph: &Graph) -> Vec<&Op> {
    graph
        .nodes
        .iter()
        .map(|n| &n.op)
        .filter(|op| !matches!(op, Op::Input))
        .collect()
}

#[test]
fn gelu_chain_is_one_activation() {
    let graph = Builder::new(&["1", "6"])
        .floats("sqrt2", &[], &[std::f32::consts::SQRT_2])
        .floats("one", &[], &[1.0])
        .floats("half", &[1], &[0.5])
        .node("Div", &["x", "sqrt2"], "a", vec![])
        .node("Erf", &["a"], "b", vec![])
        .node("Add", &["b", "one"], "c", vec![])
        .node("Mul", &["x", "c"], "d", vec![])
        .node("Mul", &["d", "half"], "y", vec![])
        .check();
    assert!(
        matches!(
            ops(&graph).as_slice(),
            [Op::Activation(Activation::Scalar(_))]
        ),
        "{graph:?}"
    );
}

#[test]
fn swish_and_clip_are_recognised() {
    let graph = Builder::new(&["1", "6"])
        .node("Sigmoid", &["x"], "s", vec![])
        .node("Mul", &["x", "s"], "y", vec![])
        .check();
    assert!(matches!(
        ops(&graph).as_slice(),
        [Op::Activation(Activation::Scalar(_))]
    ));
    let graph = Builder::new(&["1", "6"])
        .floats("low", &[], &[0.0])
        .floats("high", &[], &[2.0])
        .node("Clip", &["x", "low", "high"], "y", vec![])
        .check();
    assert!(matches!(
        ops(&graph).as_slice(),
        [Op::Activation(Activation::Clip {
            low: 0.0,
            high: 2.0
        })]
    ));
    let graph = Builder::new(&["1", "6"])
        .node("Relu", &["x"], "y", vec![])
        .check();
    assert!(matches!(
        ops(&graph).as_slice(),
        [Op::Activation(Activation::Relu)]
    ));
}

#[test]
fn convolution_and_batch_normalisation_are_one_layer() {
    let graph = Builder::new(&["1", "4", "5", "5"])
        .floats("w", &[6, 2, 3, 3], &weights(108))
        .floats("s", &[6], &weights(6))
        .floats("b", &[6], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        .floats("m", &[6], &weights(6))
        .floats("v", &[6], &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
        .node(
            "Conv",
            &["x", "w"],
            "c",
            vec![
                int("group", 2),
                ints("pads", &[1, 1, 1, 1]),
                ints("strides", &[2, 1]),
            ],
        )
        .node(
            "BatchNormalization",
            &["c", "s", "b", "m", "v"],
            "y",
            vec![],
        )
        .check();
    let [Op::Linear(l)] = ops(&graph)[..] else {
        panic!("{graph:?}")
    };
    assert_eq!((l.groups, l.outputs, l.positions, l.inputs), (2, 3, 15, 18));
}

#[test]
fn transposes_disappear_into_the_layers() {
    // Channels last around a convolution, as TensorFlow exports it, then a dense layer on the flattened result.
    let graph = Builder::new(&["1", "4", "4", "2"])
        .floats("w", &[3, 2, 3, 3], &weights(54))
        .floats("d", &[27, 5], &weights(135))
        .ints("flat", &[1, 27])
        .node("Transpose", &["x"], "t", vec![ints("perm", &[0, 3, 1, 2])])
        .node("Conv", &["t", "w"], "c", vec![ints("pads", &[1, 1, 0, 0])])
        .node("Relu", &["c"], "r", vec![])
        .node("Transpose", &["r"], "u", vec![ints("perm", &[0, 2, 3, 1])])
        .node("Reshape", &["u", "flat"], "f", vec![])
        .node("MatMul", &["f", "d"], "y", vec![])
        .check();
    assert!(
        matches!(
            ops(&graph).as_slice(),
            [
                Op::Linear(_),
                Op::Activation(Activation::Relu),
                Op::Linear(_)
            ]
        ),
        "{graph:?}"
    );
}

#[test]
fn sequences_share_weights() {
    let graph = Builder::new(&["1", "5", "6"])
        .floats("w", &[6, 4], &weights(24))
        .floats("b", &[4], &weights(4))
        .floats("v", &[4, 3], &weights(12))
        .node("MatMul", &["x", "w"], "m", vec![])
        .node("Add", &["m", "b"], "a", vec![])
        .node("Relu", &["a"], "r", vec![])
        .node("MatMul", &["r", "v"], "n", vec![])
        .node("Softmax", &["n"], "y", vec![])
        .check();
    let all = ops(&graph);
    let [
        Op::Linear(l),
        Op::Activation(_),
        Op::Linear(_),
        Op::View(_),
        Op::Softmax { len: 3 },
    ] = all[..]
    else {
        panic!("{graph:?}")
    };
    assert_eq!(
        (l.positions, l.outputs, l.inputs, l.bias.len()),
        (5, 4, 6, 4)
    );
}

#[test]
fn layout_operators_match_the_reference() {
    Builder::new(&["2", "3", "4"])
        .ints("pads", &[0, 1, 2, 0, 0, 1])
        .floats("fill", &[], &[0.5])
        .ints("from", &[5, 0])
        .ints("to", &[-100, 2])
        .ints("axes", &[2, 1])
        .ints("steps", &[-2, 1])
        .node("Pad", &["x", "pads", "fill"], "p", vec![])
        .node("Slice", &["p", "from", "to", "axes", "steps"], "s", vec![])
        .node("Transpose", &["s"], "t", vec![ints("perm", &[2, 0, 1])])
        .node("Concat", &["t", "t"], "y", vec![int("axis", 1)])
        .check();
    Builder::new(&["1", "2", "6"])
        .floats("slope", &[2, 1], &[0.1, 0.3])
        .node("PRelu", &["x", "slope"], "p", vec![])
        .node(
            "MaxPool",
            &["p"],
            "q",
            vec![
                ints("kernel_shape", &[3]),
                ints("strides", &[2]),
                ints("pads", &[1, 1]),
            ],
        )
        .node(
            "AveragePool",
            &["q"],
            "y",
            vec![ints("kernel_shape", &[2]), ints("pads", &[1, 0])],
        )
        .check();
}

#[test]
fn per_channel_prelu_is_one_activation() {
    let graph = Builder::new(&["1", "2", "3"])
        .floats("s", &[2, 1], &[0.1, 0.3])
        .node("PRelu", &["x", "s"], "y", vec![])
        .check();
    let [Op::Activation(Activation::LeakyRelu(slopes))] = ops(&graph)[..] else {
        panic!("{graph:?}")
    };
    assert_eq!(slopes, &[0.1, 0.1, 0.1, 0.3, 0.3, 0.3]);
}

#[test]
fn transposed_convolution_with_odd_sizes() {
    for (kernel, stride, pad, dilation) in [
        (3, 2, 1, 1),
        (4, 2, 1, 1),
        (2, 3, 0, 1),
        (3, 2, 0, 2),
        (5, 3, 2, 1),
    ] {
        let w = weights(2 * 3 * kernel * kernel);
        let (k, s, p, d) = (kernel as i64, stride, pad, dilation);
        let graph = Builder::new(&["1", "2", "4", "3"])
            .floats("w", &[2, 3, k, k], &w)
            .floats("b", &[3], &[0.1, 0.2, 0.3])
            .node(
                "ConvTranspose",
                &["x", "w", "b"],
                "y",
                vec![
                    ints("strides", &[s, s]),
                    ints("pads", &[p, p, p, p]),
                    ints("dilations", &[d, d]),
                ],
            )
            .check();
        assert!(
            ops(&graph)
                .iter()
                .filter(|o| matches!(o, Op::Linear(_)))
                .count()
                == 1
        );
    }
}

#[test]
fn dropout_is_the_identity() {
    let graph = Builder::new(&["1", "4"])
        .floats("ratio", &[], &[0.3])
        .node("Relu", &["x"], "r", vec![])
        .node("Dropout", &["r", "ratio"], "y", vec![])
        .check();
    assert!(matches!(
        ops(&graph).as_slice(),
        [Op::Activation(Activation::Relu)]
    ));
}

#[test]
fn free_dimensions() {
    let model = |shape: &[&str]| {
        Builder::new(shape)
            .node("Relu", &["x"], "y", vec![])
            .bytes()
    };
    assert_eq!(
        Graph::from_onnx(&model(&["N", "3"]))
            .expect("batch 1")
            .input_lens(),
        [3]
    );
    let options = ImportOptions {
        batch: Some(4),
        ..ImportOptions::default()
    };
    assert_eq!(
        Graph::from_onnx_with(&model(&["N", "3"]), &options)
            .expect("batch 4")
            .input_lens(),
        [12]
    );
    let error = Graph::from_onnx(&model(&["N", "time"])).expect_err("a free dimension");
    assert_eq!(
        error,
        ImportError::DynamicDimension {
            input: "x".into(),
            axis: 1,
            symbol: "time".into()
        }
    );
    let symbols = [("time".to_string(), 7)].into();
    let options = ImportOptions {
        symbols,
        ..ImportOptions::default()
    };
    assert_eq!(
        Graph::from_onnx_with(&model(&["N", "time"]), &options)
            .expect("named")
            .input_lens(),
        [7]
    );
}
