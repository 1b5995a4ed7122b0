//! Small models built here: what they are lowered to, how errors read, and damaged files.

#[path = "common/corpus.rs"]
#[allow(dead_code)]
mod corpus;

use corpus::corpus;
use prost::Message;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use zkinfer::graph::{Activation, Graph, GraphError, Op};
use zkinfer::import::{ImportError, ImportOptions, ReferenceModel};

/// A model under construction; its input is `x`, its output the last node's result `y`.
struct Builder {
    graph: GraphProto,
    opset: i64,
}

fn dims(shape: &[&str]) -> Vec<Dimension> {
    let value = |s: &&str| {
        s.parse()
            .map_or_else(|_| Dim::DimParam(s.to_string()), Dim::DimValue)
    };
    shape
        .iter()
        .map(|s| Dimension {
            value: Some(value(s)),
            ..Dimension::default()
        })
        .collect()
}

fn info(name: &str, shape: Option<&[&str]>) -> ValueInfoProto {
    let shape = shape.map(|s| TensorShapeProto { dim: dims(s) });
    let tensor = type_proto::Tensor {
        elem_type: 1,
        shape,
    };
    let r#type = Some(TypeProto {
        value: Some(type_proto::Value::TensorType(tensor)),
        ..TypeProto::default()
    });
    ValueInfoProto {
        name: name.into(),
        r#type,
        ..ValueInfoProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 2,
        i: value,
        ..AttributeProto::default()
    }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 3,
        s: value.into(),
        ..AttributeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 7,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

impl Builder {
    fn new(shape: &[&str]) -> Builder {
        let graph = GraphProto {
            name: "g".into(),
            input: vec![info("x", Some(shape))],
            output: vec![info("y", None)],
            ..GraphProto::default()
        };
        Builder { graph, opset: 17 }
    }

    fn floats(mut self, name: &str, shape: &[i64], values: &[f32]) -> Builder {
        let tensor = TensorProto {
            name: name.into(),
            dims: shape.to_vec(),
            data_type: 1,
            float_data: values.to_vec(),
            ..TensorProto::default()
        };
        self.graph.initializer.push(tensor);
        self
    }

    fn ints(mut self, name: &str, values: &[i64]) -> Builder {
        let dims = vec![values.len() as i64];
        let tensor = TensorProto {
            name: name.into(),
            dims,
            data_type: 7,
            int64_data: values.to_vec(),
            ..TensorProto::default()
        };
        self.graph.initializer.push(tensor);
        self
    }

    fn node(
        mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<AttributeProto>,
    ) -> Builder {
        let input = inputs.iter().map(|s| s.to_string()).collect();
        let name = format!("{op}_{output}");
        let node = NodeProto {
            name,
            op_type: op.into(),
            input,
            output: vec![output.into()],
            attribute,
            ..NodeProto::default()
        };
        self.graph.node.push(node);
        self
    }

    fn bytes(self) -> Vec<u8> {
        let opset_import = vec![OperatorSetIdProto {
            domain: String::new(),
            version: self.opset,
        }];
        ModelProto {
            ir_version: 8,
            opset_import,
            graph: Some(self.graph),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }

    /// Imports, compares with tract on a fixed input, and returns the graph.
    fn check(self) -> Graph {
        let bytes = self.bytes();
        let graph = Graph::from_onnx(&bytes).expect("an import");
        let reference =
            ReferenceModel::from_onnx(&bytes, &ImportOptions::default()).expect("a reference");
        let ramp = |len: usize| {
            (0..len)
                .map(|i| ((i * 37 % 23) as f32 - 11.0) / 4.0)
                .collect::<Vec<_>>()
        };
        let inputs: Vec<Vec<f32>> = graph.input_lens().into_iter().map(ramp).collect();
        let got = graph.outputs_of(&graph.run(&inputs).expect("a run"));
        let want = reference.run(&inputs).expect("a reference run");
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().flatten().zip(want.iter().flatten()) {
            assert!((g - w).abs() <= 1e-4 * w.abs().max(1.0), "{got:?} {want:?}");
        }
        graph
    }
}

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
                AttributeProto {
                    name: "group".into(),
                    r#type: 2,
                    i: 2,
                    ..AttributeProto::default()
                },
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
        .node(
            "Concat",
            &["t", "t"],
            "y",
            vec![AttributeProto {
                name: "axis".into(),
                r#type: 2,
                i: 1,
                ..AttributeProto::default()
            }],
        )
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
        batch: 4,
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

#[test]
fn errors_name_node_operator_and_opset() {
    let bytes = Builder::new(&["1", "6"])
        .node("Sigmoid", &["x"], "s", vec![])
        .node("CumSum", &["x", "s"], "y", vec![])
        .bytes();
    let Err(ImportError::Unsupported {
        node, op, opset, ..
    }) = Graph::from_onnx(&bytes)
    else {
        panic!("imported")
    };
    assert_eq!(
        (node.as_str(), op.as_str(), opset),
        ("CumSum_y", "CumSum", 17)
    );
    let bytes = Builder::new(&["1", "6"])
        .node("Frobnicate", &["x"], "y", vec![])
        .bytes();
    let error = Graph::from_onnx(&bytes).expect_err("unknown").to_string();
    assert!(
        error.contains("Frobnicate_y") && error.contains("opset 17"),
        "{error}"
    );
    // A convolution whose kernel is an activation.
    let bytes = Builder::new(&["1", "1", "2", "2"])
        .node("Conv", &["x", "x"], "y", vec![])
        .bytes();
    let error = Graph::from_onnx(&bytes).expect_err("kernel").to_string();
    assert!(error.contains("Conv_y"), "{error}");
    assert!(matches!(
        Graph::from_onnx(b"not a model"),
        Err(ImportError::Malformed { .. })
    ));
    assert!(matches!(
        Graph::from_onnx(b""),
        Err(ImportError::Malformed { .. })
    ));
}

#[test]
fn sizes_are_bounded_before_anything_is_built() {
    let options = ImportOptions {
        max_bytes: 10,
        ..ImportOptions::default()
    };
    let bytes = Builder::new(&["1", "6"])
        .node("Relu", &["x"], "y", vec![])
        .bytes();
    assert!(matches!(
        Graph::from_onnx_with(&bytes, &options),
        Err(ImportError::FileTooLarge { .. })
    ));
    let bytes = Builder::new(&["100000", "100000"])
        .node("Relu", &["x"], "y", vec![])
        .bytes();
    assert!(matches!(
        Graph::from_onnx(&bytes),
        Err(ImportError::Limit { .. })
    ));
    let bytes = Builder::new(&["1", "1"])
        .ints("to", &[1 << 20, 1 << 20])
        .node("Expand", &["x", "to"], "y", vec![])
        .bytes();
    assert!(matches!(
        Graph::from_onnx(&bytes),
        Err(ImportError::Limit { .. })
    ));
    let bytes = Builder::new(&["1", "1", "4"])
        .floats("w", &[1, 1, 1], &[1.0])
        .node(
            "Conv",
            &["x", "w"],
            "y",
            vec![ints("pads", &[1 << 30, 1 << 30])],
        )
        .bytes();
    assert!(Graph::from_onnx(&bytes).is_err());
    // Doubling chains: the expression is cut, not exponential.
    let mut builder = Builder::new(&["1", "2"]);
    for i in 0..40 {
        let (from, to) = (
            if i == 0 { "x".into() } else { format!("v{i}") },
            if i == 39 {
                "y".into()
            } else {
                format!("v{}", i + 1)
            },
        );
        let s = format!("s{i}");
        builder = builder
            .node("Tanh", &[&from], &s, vec![])
            .node("Add", &[&from, &s], &to, vec![]);
    }
    let graph = Graph::from_onnx(&builder.bytes()).expect("a chain");
    assert!(graph.nodes.len() < 100);
}

#[test]
fn wrong_inputs_are_typed_errors() {
    let graph = Builder::new(&["1", "6"])
        .node("Relu", &["x"], "y", vec![])
        .check();
    assert_eq!(
        graph.run::<Vec<f32>>(&[]),
        Err(GraphError::InputCount {
            expected: 1,
            found: 0
        })
    );
    let wrong = graph.run(&[vec![0.0; 5]]);
    assert_eq!(
        wrong,
        Err(GraphError::InputLength {
            index: 0,
            name: "x".into(),
            expected: 6,
            found: 5
        })
    );
}

/// Shapes and axes that tract would use unchecked: for memory that is not the shape's, or for 2^64 steps.
#[test]
fn operands_that_lack_dimensions_are_refused() {
    let refused = |what: &str, builder: Builder| {
        let result = Graph::from_onnx(&builder.bytes());
        assert!(result.is_err(), "{what} was imported");
    };
    let list = Builder::new(&["3"]);
    let four: Vec<&str> = vec!["x", "a", "a", "a", "a"];
    refused(
        "a batch normalization of a list",
        list.floats("a", &[3], &[1.0; 3])
            .node("BatchNormalization", &four, "y", vec![]),
    );
    for axis in [-4, 3, 1 << 40] {
        refused(
            "a normalization over no axis",
            Builder::new(&["1", "2", "3"])
                .floats("s", &[3], &[1.0; 3])
                .node(
                    "LayerNormalization",
                    &["x", "s"],
                    "y",
                    vec![int("axis", axis)],
                ),
        );
    }
    for perm in [&[0, 0][..], &[1, 1], &[-1, 0], &[0, 2]] {
        refused(
            "a transposition that is none",
            Builder::new(&["2", "2"]).node("Transpose", &["x"], "y", vec![ints("perm", perm)]),
        );
    }
    for axis in [-4, 3] {
        refused(
            "an encoding along no axis",
            Builder::new(&["1", "3"])
                .ints("depth", &[4])
                .floats("values", &[2], &[0.0, 1.0])
                .node(
                    "OneHot",
                    &["x", "depth", "values"],
                    "y",
                    vec![int("axis", axis)],
                ),
        );
    }
    refused(
        "a product of lists of other lengths",
        Builder::new(&["1", "3"])
            .floats("w", &[4, 2], &[1.0; 8])
            .node(
                "Einsum",
                &["x", "w"],
                "y",
                vec![text("equation", "ij,jk->ik")],
            ),
    );
}

/// A small linear congruential generator: reproducible damage.
fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    *state >> 33
}

fn damage(bytes: &[u8], rounds: usize) -> usize {
    let options = ImportOptions {
        max_elements: 1 << 20,
        ..ImportOptions::default()
    };
    let mut state = 1;
    let mut imported = 0;
    for round in 0..rounds {
        let mut bad = bytes.to_vec();
        if round % 4 == 0 {
            bad.truncate(next(&mut state) as usize % bytes.len());
        } else {
            for _ in 0..=round % 3 {
                let at = next(&mut state) as usize % bad.len();
                bad[at] = next(&mut state) as u8;
            }
        }
        if let Ok(graph) = Graph::from_onnx_with(&bad, &options) {
            imported += 1;
            let inputs: Vec<Vec<f32>> = graph
                .input_lens()
                .into_iter()
                .map(|l| vec![0.5; l])
                .collect();
            let _ = graph.run(&inputs);
        }
    }
    imported
}

#[test]
fn damaged_files_never_panic() {
    let small = Builder::new(&["1", "2", "4", "4"])
        .floats("w", &[3, 2, 3, 3], &weights(54))
        .ints("flat", &[1, -1])
        .floats("d", &[12, 5], &weights(60))
        .node(
            "Conv",
            &["x", "w"],
            "c",
            vec![
                ints("pads", &[1, 1, 0, 0]),
                ints("strides", &[1, 2]),
                ints("dilations", &[1, 1]),
            ],
        )
        .node("MaxPool", &["c"], "m", vec![ints("kernel_shape", &[2, 1])])
        .node("Reshape", &["m", "flat"], "f", vec![])
        .node("Gemm", &["f", "d"], "y", vec![])
        .bytes();
    let imported = damage(&small, 4000);
    println!("of 4000 damaged copies of a small model {imported} were still imported");
    if let Some(root) = corpus("models") {
        for name in ["trained/cnn_bn_digits8", "trained/mlp_wine_bn_gelu"] {
            let bytes = std::fs::read(root.join(name).join("network.onnx")).expect("a model");
            println!(
                "of 1500 damaged copies of {name} {} were still imported",
                damage(&bytes, 1500)
            );
        }
    }
}
