//! Models that ask for more than they are worth: sizes, what follows from constants, rounds of loops.

use super::models::{BOOL, FLOAT, I64, Model, body, floats, int, node, value, whole};
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use zkinfer::graph::Graph;
use zkinfer::onnx::{ImportError, ImportOptions};

#[test]
fn sizes_that_are_computed_are_bounded() {
    let model = |nodes: Vec<NodeProto>, constants: Vec<TensorProto>| {
        let mut all = nodes;
        all.push(node("ReduceSum", "large", "sum", vec![int("keepdims", 0)]));
        all.push(node("Add", "x sum", "y", vec![]));
        Model::new(FLOAT, &[1, 4], all, constants)
    };
    let size = |count: i64, v: i64| {
        vec![
            whole("a", I64, &[count], &vec![v; count as usize]),
            floats("one", &[1], &[1.0]),
        ]
    };
    let squared = || node("Mul", "a a", "size", vec![]);
    for (op, inputs, count) in [
        ("ConstantOfShape", "size", 2),
        ("Expand", "one size", 2),
        ("Tile", "one size", 1),
        ("Pad", "one size", 2),
    ] {
        let v = 20_000;
        let (at, reason) = model(
            vec![squared(), node(op, inputs, "large", vec![])],
            size(count, v),
        )
        .refused();
        assert!(
            at == format!("{op}_large") && reason.contains("elements"),
            "{at}: {reason}"
        );
    }
    // A product of a column and a row.
    let nodes = vec![
        node("Reshape", "ones row", "r", vec![]),
        node("Reshape", "ones column", "c", vec![]),
        node("Mul", "r c", "large", vec![]),
    ];
    let constants = vec![
        floats("ones", &[10_000], &[1.0; 10_000]),
        whole("row", I64, &[2], &[1, -1]),
        whole("column", I64, &[2], &[-1, 1]),
    ];
    let (at, reason) = model(nodes, constants).refused();
    assert!(
        at == "Mul_large" && reason.contains("elements"),
        "{at}: {reason}"
    );
    // A choice by what is that large is not made.
    let branch = GraphProto {
        name: "branch".into(),
        node: vec![node("Relu", "x", "t", vec![])],
        output: vec![value("t", FLOAT, None)],
        ..GraphProto::default()
    };
    let nodes = vec![
        squared(),
        node("ConstantOfShape", "size", "large", vec![]),
        node("ReduceSum", "large", "sum", vec![int("keepdims", 0)]),
        node("Cast", "sum", "yes", vec![int("to", BOOL.into())]),
        node(
            "If",
            "yes",
            "y",
            vec![
                body("then_branch", branch.clone()),
                body("else_branch", branch),
            ],
        ),
    ];
    Model::new(FLOAT, &[1, 4], nodes, size(2, 20_000)).refused_at("If_y");
}

#[test]
fn sizes_do_not_wrap_around() {
    let half = 1i64 << 31;
    let model = |op: &str, inputs: &str, dims: &[i64], first: &[i64]| {
        let nodes = vec![
            node("Add", "a b", "size", vec![]),
            node(op, inputs, "large", vec![]),
            node("ReduceSum", "large", "sum", vec![int("keepdims", 0)]),
            node("Cast", "sum", "f", vec![int("to", 1)]),
            node("Add", "x f", "y", vec![]),
        ];
        let second: Vec<i64> = first
            .iter()
            .map(|&v| if v == 0 { 0 } else { half + 5 })
            .collect();
        let constants = vec![
            whole("a", I64, dims, first),
            whole("b", I64, dims, &second),
            floats("one", &[1], &[1.0]),
            whole("zero", I64, &[], &[0]),
            whole("down", I64, &[], &[-1]),
            whole("by", I64, &[], &[1]),
        ];
        Model::new(FLOAT, &[1, 4], nodes, constants)
    };
    for (op, inputs) in [
        ("ConstantOfShape", "size"),
        ("Expand", "one size"),
        ("Tile", "one size"),
    ] {
        model(op, inputs, &[1], &[half]).refused_at(&format!("{op}_large"));
    }
    model("Pad", "one size", &[2], &[0, half]).refused_at("Pad_large");
    model("Range", "zero size by", &[], &[half]).refused_at("Range_large");
    model("Range", "zero size down", &[], &[half - 1_000_000_000]).refused_at("Range_large");
    model("Range", "size zero down", &[], &[-half + 1_000_000_000]).refused_at("Range_large");
}

#[test]
fn what_follows_from_constants_is_bounded_together() {
    let mut nodes: Vec<NodeProto> = (0..24)
        .flat_map(|i| {
            let (large, sum) = (format!("large{i}"), format!("sum{i}"));
            [
                node("Expand", "one size", &large, vec![]),
                node("ReduceSum", &large, &sum, vec![int("keepdims", 0)]),
            ]
        })
        .collect();
    let sums: Vec<String> = (0..24).map(|i| format!("sum{i}")).collect();
    nodes.push(node("Sum", &sums.join(" "), "sum", vec![]));
    nodes.push(node("Add", "x sum", "y", vec![]));
    let size = 1 << 24;
    let constants = vec![
        floats("one", &[1], &[1.0]),
        whole("size", I64, &[1], &[size]),
    ];
    let bytes = Model::new(FLOAT, &[1, 4], nodes, constants).bytes();
    let options = ImportOptions {
        max_elements: 1 << 24,
        ..ImportOptions::default()
    };
    let result = Graph::import(&bytes, &options).map(|i| i.graph.nodes.len());
    let bounded = |r: &str| r.contains("follow from constants");
    assert!(
        matches!(&result, Err(ImportError::Unsupported { reason, .. }) if bounded(reason)),
        "{result:?}"
    );
}

/// `loops` of 1,024 rounds, one after the other; shapes of their states are declared or not.
fn rounds(loops: usize, nodes: Vec<NodeProto>, result: &str, dims: Option<&[i64]>) -> Model {
    let inner = GraphProto {
        name: "body".into(),
        node: nodes,
        input: vec![
            value("round", I64, Some(&[])),
            value("going", BOOL, Some(&[])),
            value("a", FLOAT, dims),
        ],
        output: vec![value("going", BOOL, Some(&[])), value(result, FLOAT, dims)],
        ..GraphProto::default()
    };
    let name = |i: usize| match i {
        0 => "x".to_string(),
        i if i == loops => "y".to_string(),
        i => format!("v{i}"),
    };
    let one = |i: usize| {
        let inputs = format!("count _ {}", name(i));
        node(
            "Loop",
            &inputs,
            &name(i + 1),
            vec![body("body", inner.clone())],
        )
    };
    let constants = vec![whole("count", I64, &[], &[1024])];
    Model::new(FLOAT, &[1, 4], (0..loops).map(one).collect(), constants)
}

#[test]
fn loops_are_bounded_together() {
    // Without a node in them.
    let (_, reason) = rounds(2000, vec![], "a", None).refused();
    assert!(reason.contains("steps"), "{reason}");
    // Each as large as one may be.
    let mut steps: Vec<NodeProto> = vec![node("Relu", "a", "r0", vec![])];
    steps.extend((1..40).map(|i| node("Neg", &format!("r{}", i - 1), &format!("r{i}"), vec![])));
    let (_, reason) = rounds(8, steps, "r39", Some(&[1, 4])).refused();
    assert!(reason.contains("together"), "{reason}");
}

#[test]
fn a_chain_of_copies_is_followed_once() {
    let copies = 20_000;
    let name = |i: usize| {
        if i == 0 {
            "going".to_string()
        } else {
            format!("c{i}")
        }
    };
    let mut nodes: Vec<NodeProto> = (0..copies)
        .map(|i| node("Identity", &name(i), &name(i + 1), vec![]))
        .collect();
    nodes.push(node("Identity", "a", "b", vec![]));
    let mut model = rounds(1, nodes, "b", Some(&[1, 4]));
    let inner = model.graph.node[0].attribute[0].g.as_mut().expect("a body");
    inner.output[0].name = name(copies);
    assert!(Graph::from_onnx(&model.bytes()).is_err());
}
