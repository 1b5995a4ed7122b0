//! What cannot be imported: errors name the place, sizes are bounded first, and damaged files never panic.

use super::weights;
use crate::common::corpus::corpus;
use crate::common::onnx::{Builder, int, ints, text};
use zkinfer::graph::{Graph, GraphError};
use zkinfer::onnx::{ImportError, ImportOptions};

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
    // A transposed convolution whose kernel is an activation.
    let bytes = Builder::new(&["1", "1", "2", "2"])
        .node("ConvTranspose", &["x", "x"], "y", vec![])
        .bytes();
    let error = Graph::from_onnx(&bytes).expect_err("kernel").to_string();
    assert!(error.contains("ConvTranspose_y"), "{error}");
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

/// A sum of operands that contradict each other has a length that is a formula; simplifying those of the convolution behind it
/// took tract longer than anybody waits.
#[test]
fn lengths_that_are_not_known_are_refused() {
    let same = || vec![text("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])];
    let halved = || vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let bytes = Builder::new(&["1", "1", "28", "28"])
        .floats("five", &[1, 1, 5, 5], &[1.0; 25])
        .floats("kernel", &[1, 1, 3, 3], &[1.0; 9])
        .node("Add", &["x", "five"], "sum", vec![])
        .node("MaxPool", &["sum"], "half", halved())
        .node("Conv", &["half", "kernel"], "quarter", same())
        .node("Conv", &["quarter", "kernel"], "y", same())
        .bytes();
    let error = Graph::from_onnx(&bytes).expect_err("lengths").to_string();
    assert!(error.contains("the length of an axis"), "{error}");
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
}

#[test]
#[ignore = "reads the corpus, see docs/corpus.md"]
fn damaged_models_of_the_corpus_never_panic() {
    let Some(root) = corpus("models") else {
        return;
    };
    for name in ["trained/cnn_bn_digits8", "trained/mlp_wine_bn_gelu"] {
        let bytes = std::fs::read(root.join(name).join("network.onnx")).expect("a model");
        println!(
            "of 1500 damaged copies of {name} {} were still imported",
            damage(&bytes, 1500)
        );
    }
}
