//! Models that are easily imported as something else than they are: each is a small one for one rule of ONNX.

mod bounds;
mod models;

use models::{
    BOOL, FLOAT, I8, I32, I64, Model, U8, body, floats, int, ints, named, node, tensor, value,
    whole,
};
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};
use zkinfer::graph::Graph;
use zkinfer::onnx::{ImportError, ImportOptions};
use zkinfer::quantize::{QuantizeError, QuantizeOptions};

const X: &[f32] = &[0.5, -1.0, 2.0, 1.5];

#[test]
fn operators_of_other_domains_are_not_onnxs() {
    for op in ["Relu", "Scaler", "Softmax"] {
        let nodes = vec![node(&format!("my.ops:{op}"), "x", "y", vec![])];
        let (at, reason) = Model::new(FLOAT, &[1, 4], nodes, vec![]).refused();
        assert_eq!(at, format!("{op}_y"));
        assert!(reason.contains("not known"), "{reason}");
    }
}

#[test]
fn parts_of_nodes_have_names_of_their_own() {
    // A value has the name that a part of the node "input" would have.
    for taken in ["input.1", "input.2"] {
        let nodes = vec![
            named(node("Mul", "x two", taken, vec![]), "n0"),
            named(node("QuantizeLinear", "x s z", "q", vec![]), "input"),
            node("DequantizeLinear", "q s z", "d", vec![]),
            node("Add", &format!("d {taken}"), "y", vec![]),
        ];
        let constants = vec![
            floats("two", &[], &[2.0]),
            floats("s", &[], &[0.25]),
            whole("z", I8, &[], &[0]),
        ];
        Model::new(FLOAT, &[1, 4], nodes, constants).yields(X, &[1.5, -3.0, 6.0, 4.5]);
    }
}

#[test]
fn nodes_may_share_a_name_and_values_may_not() {
    let nodes = |second: &str| {
        vec![
            named(node("DequantizeLinear", "w a", "u", vec![]), "same"),
            named(node("DequantizeLinear", "w b", second, vec![]), "same"),
            node("Mul", "x u", "v", vec![]),
            node("Mul", &format!("v {second}"), "y", vec![]),
        ]
    };
    let constants = || {
        vec![
            whole("w", I8, &[4], &[1, 2, 3, 4]),
            floats("a", &[], &[0.5]),
            floats("b", &[], &[2.0]),
        ]
    };
    Model::new(FLOAT, &[1, 4], nodes("t"), constants()).yields(X, &[0.5, -4.0, 18.0, 24.0]);
    let twice = Graph::from_onnx(&Model::new(FLOAT, &[1, 4], nodes("u"), constants()).bytes());
    assert!(matches!(twice, Err(ImportError::Malformed { reason }) if reason.contains("\"u\"")));
}

#[test]
fn the_type_of_a_quantization_is_an_attribute_too() {
    let model = |kind: i64| {
        let nodes = vec![
            node(
                "QuantizeLinear",
                "x s",
                "q",
                vec![int("output_dtype", kind)],
            ),
            node("DequantizeLinear", "q s", "y", vec![]),
        ];
        Model::new(FLOAT, &[1, 4], nodes, vec![floats("s", &[], &[0.5])]).opset(21)
    };
    model(I8.into()).yields(X, X);
    // Sixteen bits.
    model(5).yields(X, X);
}

#[test]
fn scales_by_blocks_are_those_of_their_rows() {
    let nodes = vec![
        node(
            "DequantizeLinear",
            "w s",
            "d",
            vec![int("block_size", 2), int("axis", 0)],
        ),
        node("MatMul", "x d", "y", vec![]),
    ];
    let constants = vec![
        whole("w", I8, &[2, 2], &[10, 20, 30, 40]),
        floats("s", &[1, 2], &[0.5, 2.0]),
    ];
    Model::new(FLOAT, &[1, 2], nodes, constants)
        .opset(21)
        .yields(&[1.0, -1.0], &[-10.0, -40.0]);
}

#[test]
fn dynamic_quantization_is_left_out_only_where_the_scale_comes_back() {
    let model = |product: &str, rest: Vec<NodeProto>| {
        let mut nodes = vec![
            node("DynamicQuantizeLinear", "x", "q s z", vec![]),
            node("MatMulInteger", product, "i", vec![]),
            node("Cast", "i", "f", vec![int("to", 1)]),
        ];
        nodes.extend(rest);
        let constants = vec![
            whole("w", I8, &[4, 1], &[1, 2, 3, 4]),
            floats("t", &[], &[0.5]),
        ];
        Model::new(FLOAT, &[1, 4], nodes, constants)
    };
    let mul = |a: &str, y: &str| node("Mul", a, y, vec![]);
    // (0.5 − 2 + 6 + 6) / 2
    model("q w z", vec![mul("s t", "st"), mul("f st", "y")]).yields(X, &[5.25]);
    model("q w z", vec![mul("f s", "y")]).yields(X, &[10.5]);
    let at = "DynamicQuantizeLinear_q";
    model("q w z", vec![mul("f t", "y")]).refused_at(at);
    model("q w", vec![mul("f s", "y")]).refused_at(at);
    model("q w z", vec![mul("s s", "ss"), mul("f ss", "y")]).refused_at(at);
    model("q w z", vec![mul("f s", "fs"), mul("fs s", "y")]).refused_at(at);
    let cast = node("Cast", "z", "zf", vec![int("to", 1)]);
    let add = node("Add", "fs zf", "y", vec![]);
    model("q w z", vec![mul("f s", "fs"), cast, add]).refused_at(at);
    model("q w z", vec![mul("f s", "y")])
        .output("z", U8)
        .refused_at(at);
}

#[test]
fn defaults_of_onnx_runtimes_operators_are_its_own() {
    let op = "com.microsoft:SkipLayerNormalization";
    let nodes = vec![node(op, "x zeros ones", "y", vec![])];
    let constants = vec![
        floats("zeros", &[1, 1, 4], &[0.0; 4]),
        floats("ones", &[4], &[1.0; 4]),
    ];
    // A variance far below 10⁻⁵.
    let small = [1e-3f32, -1e-3, 1e-3, -1e-3];
    Model::new(FLOAT, &[1, 1, 4], nodes, constants).yields(&small, &[1.0, -1.0, 1.0, -1.0]);

    let softmax = |attributes: Vec<AttributeProto>, opset: i64| {
        let nodes = vec![
            node("QuantizeLinear", "x s z", "q", vec![]),
            node("com.microsoft:QLinearSoftmax", "q s z t z", "p", attributes),
            node("DequantizeLinear", "p t z", "r", vec![]),
            node(
                "ReduceSum",
                "r",
                "y",
                vec![ints("axes", &[2]), int("keepdims", 0)],
            ),
        ];
        let constants = vec![
            floats("s", &[], &[0.125]),
            floats("t", &[], &[1.0 / 256.0]),
            whole("z", U8, &[], &[0]),
        ];
        Model::new(FLOAT, &[1, 3, 4], nodes, constants).opset(opset)
    };
    let x: Vec<f32> = (0..12).map(|i| i as f32 / 4.0).collect();
    // Over the last axis by default, also in models in which a softmax is over all but the first.
    let sums = softmax(vec![int("opset", 11)], 11).run(&x);
    assert!(sums[0].iter().all(|s| (s - 1.0).abs() < 0.02), "{sums:?}");
    softmax(vec![int("opset", 13), int("axis", 1)], 11).refused_at("QLinearSoftmax_p");
}

#[test]
fn biases_of_integers_keep_their_shape() {
    let model = |scales: &[f32], dims: &[i64]| {
        let nodes = vec![
            node("QuantizeLinear", "x s z", "q", vec![]),
            node("com.microsoft:QGemm", "q s z w ws wz b", "y", vec![]),
        ];
        let constants = vec![
            floats("s", &[], &[0.5]),
            whole("z", U8, &[], &[10]),
            whole("w", I8, &[2, 2], &[1, 0, 0, 1]),
            floats("ws", &[scales.len() as i64], scales),
            whole("wz", I8, &[scales.len() as i64], &vec![0; scales.len()]),
            whole("b", I32, dims, &[2, 20]),
        ];
        Model::new(FLOAT, &[2, 2], nodes, constants)
    };
    model(&[1.0], &[2, 1]).yields(X, &[1.5, 0.0, 12.0, 11.5]);
    model(&[1.0], &[2]).yields(X, &[1.5, 9.0, 3.0, 11.5]);
    model(&[1.0, 2.0], &[1, 2]).yields(X, &[1.5, 18.0, 3.0, 23.0]);
    // One of two scales for a row of both columns.
    model(&[1.0, 2.0], &[2, 1]).refused_at("QGemm_y");
}

#[test]
fn a_fused_product_is_broadcast_like_any() {
    let nodes = vec![node("com.microsoft:FusedMatMul", "x w", "y", vec![])];
    let w = floats("w", &[3, 2, 1], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    let want = [0.5, 2.0, -1.0, 1.5, -0.5, 3.5];
    Model::new(FLOAT, &[1, 2, 2], nodes, vec![w]).yields(X, &want);
}

/// A loop over `i` and `a = 2·a`, where `steps` compute `i2` and `going`.
fn counting(steps: Vec<NodeProto>, constants: Vec<TensorProto>) -> Model {
    let state = |name: &str, kind: i32, dims: &[i64]| value(name, kind, Some(dims));
    let mut nodes = steps;
    nodes.push(node("Mul", "a two", "a2", vec![]));
    let inner = GraphProto {
        name: "body".into(),
        node: nodes,
        input: vec![
            state("round", I64, &[]),
            state("before", BOOL, &[]),
            state("i", I64, &[]),
            state("a", FLOAT, &[1, 4]),
        ],
        output: vec![
            state("going", BOOL, &[]),
            state("i2", I64, &[]),
            state("a2", FLOAT, &[1, 4]),
        ],
        initializer: constants,
        ..GraphProto::default()
    };
    let nodes = vec![
        node(
            "Loop",
            "_ true first x",
            "last y",
            vec![body("body", inner)],
        ),
        node("Cast", "last", "count", vec![int("to", 1)]),
    ];
    let constants = vec![
        whole("true", BOOL, &[], &[1]),
        whole("first", I64, &[], &[5]),
        floats("two", &[], &[2.0]),
    ];
    Model::new(FLOAT, &[1, 4], nodes, constants).output("count", FLOAT)
}

#[test]
fn loops_that_count_are_followed_as_their_types_do() {
    let add = |what: &str| node("Add", &format!("i {what}"), "i2", vec![]);
    let less = |of: &str| node("Less", &format!("{of} end"), "going", vec![]);
    let end = |v: i64| whole("end", I64, &[], &[v]);
    let one = || whole("one", I64, &[], &[1]);
    let got = counting(vec![add("one"), less("i2")], vec![one(), end(8)]).run(X);
    assert_eq!(got, [vec![4.0, -8.0, 16.0, 12.0], vec![8.0]]);
    let cast = |x: &str, y: &str, to: i32| node("Cast", x, y, vec![int("to", to.into())]);
    // A truth is not the number that it was.
    let steps = vec![cast("i", "t", BOOL), cast("t", "i2", I64), less("round")];
    counting(steps, vec![end(3)]).refused_at("Loop_last");
    // Fractions are cut off, and floats are not the numbers that they stand for.
    let tenth = || floats("tenth", &[], &[0.1]);
    let steps = || {
        vec![
            add("one"),
            cast("i2", "f", FLOAT),
            node("Mul", "f tenth", "g", vec![]),
        ]
    };
    let mut cut = steps();
    cut.extend([cast("g", "h", I64), less("h")]);
    counting(cut, vec![one(), tenth(), end(1)]).refused_at("Loop_last");
    let mut fractions = steps();
    fractions.push(less("g"));
    let constants = vec![one(), tenth(), floats("end", &[], &[0.7])];
    counting(fractions, constants).refused_at("Loop_last");
    // Any operator may have an attribute `value`.
    let steps = vec![
        node(
            "ConstantOfShape",
            "length",
            "by",
            vec![tensor("value", whole("", I64, &[1], &[1]))],
        ),
        add("by"),
        less("round"),
    ];
    let constants = vec![whole("length", I64, &[1], &[1]), end(3)];
    counting(steps, constants).refused_at("Loop_last");
}

#[test]
fn trees_are_walked_along_the_axis_that_they_say() {
    // Two thresholds, and two samples in the last axis: either could be meant.
    let nodes = vec![
        node("Gather", "features place", "f", vec![]),
        node("Gather", "thresholds place", "t", vec![]),
        node("GatherElements", "x f", "v", vec![int("axis", 1)]),
        node("Less", "v t", "c", vec![]),
        node("Cast", "c", "y", vec![int("to", 1)]),
    ];
    let constants = vec![
        whole("features", I64, &[2], &[0, 1]),
        floats("thresholds", &[2], &[1.0, -1.5]),
        whole("place", I64, &[1, 2, 2], &[0, 0, 1, 1]),
    ];
    let x = [0.5, 2.0, -2.0, 0.0];
    Model::new(FLOAT, &[1, 2, 2], nodes, constants).yields(&x, &[1.0, 0.0, 1.0, 0.0]);
}

#[test]
fn what_is_cast_to_integers_is_divided_as_integers() {
    let model = |kind: i32, op: &str, by: i64| {
        let nodes = vec![
            node("Cast", "x", "i", vec![int("to", I64.into())]),
            node(op, "i by", "q", vec![]),
            node("Cast", "q", "y", vec![int("to", 1)]),
        ];
        Model::new(kind, &[1, 4], nodes, vec![whole("by", I64, &[], &[by])])
    };
    let x = [7.9, -7.9, 3.0, -4.0];
    model(FLOAT, "Div", 3).yields(&x, &[2.0, -2.0, 1.0, -1.0]);
    model(FLOAT, "Mod", 3).yields(&x, &[1.0, 2.0, 0.0, 2.0]);
    let x = [7.0, -7.0, 3.0, -4.0];
    model(I32, "Div", 2).yields(&x, &[3.0, -3.0, 1.0, -2.0]);
    model(I32, "Mod", 2).yields(&x, &[1.0, 1.0, 1.0, 0.0]);
    model(BOOL, "Div", 2).yields(&[1.0, 0.0, 1.0, 0.0], &[0.0; 4]);
}

#[test]
fn narrow_integers_do_not_become_wide() {
    let model = |kind: i32, op: &str, k: i64, attributes: Vec<AttributeProto>| {
        let nodes = vec![
            node(op, "x k", "d", attributes),
            node("Cast", "d", "y", vec![int("to", 1)]),
        ];
        Model::new(kind, &[1, 4], nodes, vec![whole("k", kind, &[], &[k])])
    };
    for (kind, op) in [(U8, "Sub"), (U8, "Add"), (I8, "Mul"), (I8, "Sub")] {
        let (at, reason) = model(kind, op, 100, vec![]).refused();
        assert!(
            at == format!("{op}_d") && reason.contains("cast to 32-bit"),
            "{reason}"
        );
    }
    let left = AttributeProto {
        s: b"LEFT".to_vec(),
        ..AttributeProto::clone(&int("direction", 0))
    };
    let left = AttributeProto { r#type: 3, ..left };
    let x = [1.0, 63.0, 64.0, 200.0];
    model(U8, "BitShift", 2, vec![left]).yields(&x, &[4.0, 252.0, 0.0, 32.0]);
    model(I64, "Pow", -1, vec![]).refused_at("Pow_d");
    model(I32, "Sub", 100, vec![]).yields(&x, &[-99.0, -37.0, -36.0, 100.0]);
    // Truths stay in range.
    let nodes = vec![
        node("Greater", "x zero", "t", vec![]),
        node("Cast", "t", "u", vec![int("to", U8.into())]),
        node("Sub", "one u", "d", vec![]),
        node("Cast", "d", "y", vec![int("to", 1)]),
    ];
    let constants = vec![floats("zero", &[], &[0.0]), whole("one", U8, &[], &[1])];
    Model::new(FLOAT, &[1, 4], nodes, constants).yields(X, &[0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn norms_of_integers_are_refused() {
    let nodes = vec![
        node("ReduceL2", "x", "n", vec![ints("axes", &[1])]),
        node("Cast", "n", "y", vec![int("to", 1)]),
    ];
    Model::new(I64, &[1, 4], nodes, vec![]).refused_at("ReduceL2_n");
}

#[test]
fn large_constants_are_what_they_are() {
    let nodes = vec![
        node("Greater", "x zero", "t", vec![]),
        node("Where", "t a b", "y", vec![]),
    ];
    let constants = vec![
        floats("zero", &[], &[0.0]),
        floats("a", &[], &[5e9]),
        floats("b", &[], &[-2e9]),
    ];
    Model::new(FLOAT, &[1, 4], nodes, constants).yields(X, &[5e9, -2e9, 5e9, 5e9]);
    let nodes = vec![node("Add", "x b", "y", vec![])];
    let model = Model::new(FLOAT, &[1, 4], nodes, vec![floats("b", &[], &[-1.7e9])]);
    model.yields(&[1.7e9, 2e9, 3e9, 1.7e9], &[0.0, 3e8, 1.3e9, 0.0]);
}

#[test]
fn windows_over_the_edge_are_not_averages() {
    let attributes = vec![
        ints("kernel_shape", &[3]),
        ints("strides", &[2]),
        int("ceil_mode", 1),
        int("p", 1),
    ];
    let nodes = vec![node("LpPool", "x", "y", attributes)];
    Model::new(FLOAT, &[1, 1, 4], nodes, vec![])
        .opset(18)
        .refused_at("LpPool_y");
}

#[test]
fn choices_have_several_results() {
    let branch = |op: &str| GraphProto {
        name: op.into(),
        node: vec![
            node(op, "x k", "t", vec![]),
            node("Sub", "x k", "u", vec![]),
        ],
        output: vec![value("t", FLOAT, None), value("u", FLOAT, None)],
        ..GraphProto::default()
    };
    let branches = vec![
        body("then_branch", branch("Mul")),
        body("else_branch", branch("Add")),
    ];
    let nodes = vec![node("If", "no", "y z", branches)];
    let constants = vec![whole("no", BOOL, &[], &[0]), floats("k", &[], &[2.0])];
    let got = Model::new(FLOAT, &[1, 4], nodes, constants)
        .output("z", FLOAT)
        .run(X);
    assert_eq!(got, [vec![2.5, 1.0, 4.0, 3.5], vec![-1.5, -3.0, 0.0, -0.5]]);
}

#[test]
fn a_given_input_decides_between_branches() {
    let branch = |op: &str| GraphProto {
        name: op.into(),
        node: vec![node(op, "x k", "t", vec![])],
        output: vec![value("t", FLOAT, None)],
        ..GraphProto::default()
    };
    let model = || {
        let branches = vec![
            body("then_branch", branch("Mul")),
            body("else_branch", branch("Add")),
        ];
        let nodes = vec![node("If", "training", "y", branches)];
        let model = Model::new(FLOAT, &[1, 4], nodes, vec![floats("k", &[], &[2.0])]);
        model.input("training", BOOL, &[]).bytes()
    };
    let import = |given: &[(&str, f64)]| {
        let mut options = ImportOptions::default();
        let given = given.iter().map(|&(name, value)| (name.to_owned(), value));
        options.given.extend(given);
        let described = options.described("net");
        Graph::import(&model(), &options).map(|import| (import.graph, described))
    };
    for (value, expected) in [(0.0, [2.5, 1.0, 4.0, 3.5]), (1.0, [1.0, -2.0, 4.0, 3.0])] {
        let (graph, name) = import(&[("training", value)]).expect("an import");
        assert_eq!(graph.inputs.len(), 1);
        let values = graph.run(&[X.to_vec()]).expect("a run");
        assert_eq!(graph.outputs_of(&values), [expected]);
        assert_eq!(name, format!("net with training={value}"));
    }
    // Without a value, of no input, of values that it cannot have.
    assert!(matches!(import(&[]), Err(ImportError::Unsupported { op, .. }) if op == "If"));
    for given in [
        ("trainin", 1.0),
        ("k", 1.0),
        ("training", 0.5),
        ("training", 2.0),
    ] {
        let error = import(&[given]).map(|_| ()).expect_err("no import");
        assert!(matches!(error, ImportError::Given { .. }), "{error}");
    }
}

#[test]
fn a_given_value_is_a_finite_number() {
    let import = |value: f64| {
        let nodes = vec![node("Add", "x k", "y", vec![])];
        let model = Model::new(FLOAT, &[1, 4], nodes, vec![]);
        let mut options = ImportOptions::default();
        options.given.insert("k".into(), value);
        Graph::import(&model.input("k", FLOAT, &[1]).bytes(), &options)
    };
    assert!(import(0.5).is_ok());
    for value in [f64::NAN, f64::INFINITY, -1e300] {
        let error = import(value).map(|_| ()).expect_err("no import");
        assert!(matches!(error, ImportError::Given { .. }), "{error}");
    }
}

/// The condition is computed: what it follows from is worked out with the value.
#[test]
fn a_given_input_decides_through_a_comparison() {
    let branch = |op: &str| GraphProto {
        name: op.into(),
        node: vec![node(op, "x k", "t", vec![])],
        output: vec![value("t", FLOAT, None)],
        ..GraphProto::default()
    };
    let branches = vec![
        body("then_branch", branch("Mul")),
        body("else_branch", branch("Add")),
    ];
    let nodes = vec![
        node("Equal", "rate high", "c", vec![]),
        node("If", "c", "y", branches),
    ];
    let constants = vec![floats("k", &[], &[2.0]), whole("high", I64, &[], &[16000])];
    let model = Model::new(FLOAT, &[1, 4], nodes, constants);
    let bytes = model.input("rate", I64, &[]).bytes();
    for (rate, expected) in [
        (16000.0, [1.0, -2.0, 4.0, 3.0]),
        (8000.0, [2.5, 1.0, 4.0, 3.5]),
    ] {
        let mut options = ImportOptions::default();
        options.given.insert("rate".into(), rate);
        let graph = Graph::import(&bytes, &options).expect("an import").graph;
        let values = graph.run(&[X.to_vec()]).expect("a run");
        assert_eq!(graph.outputs_of(&values), [expected]);
    }
}

/// Quantizes with these samples and runs them in integers.
fn integers(model: Model, samples: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, QuantizeError> {
    let samples: Vec<Vec<Vec<f32>>> = samples.iter().map(|x| vec![x.clone()]).collect();
    let model = model
        .graph()
        .quantize(&samples, &QuantizeOptions::default())?;
    let expanded = model
        .program
        .expand(&Default::default())
        .expect("a program");
    let run = |x: &Vec<Vec<f32>>| {
        let x = model.quantize_inputs(x, false).expect("integers");
        let trace = model.run(&expanded, &x).expect("a run");
        let y = model.dequantize_outputs(&expanded, &trace).expect("floats");
        y[0].clone()
    };
    Ok(samples.iter().map(run).collect())
}

#[test]
fn what_is_zero_is_zero_in_integers() {
    let samples = vec![vec![0.0, 0.25, -0.5, 1.0], vec![1.0, 0.0, -1.0, 0.75]];
    let truth = |v: f32| f32::from(u8::from(v != 0.0));
    let want: Vec<Vec<f32>> = samples
        .iter()
        .map(|x: &Vec<f32>| x.iter().map(|&v| truth(v)).collect())
        .collect();
    let cast = vec![
        node("Cast", "x", "t", vec![int("to", BOOL.into())]),
        node("Cast", "t", "y", vec![int("to", 1)]),
    ];
    let equal = vec![
        node("Equal", "x zero", "t", vec![]),
        node("Not", "t", "n", vec![]),
        node("Cast", "n", "y", vec![int("to", 1)]),
    ];
    for nodes in [cast, equal] {
        let model = Model::new(FLOAT, &[1, 4], nodes, vec![floats("zero", &[], &[0.0])]);
        let got = integers(model, &samples).expect("a model");
        let close = |(g, w): (&f32, &f32)| (g - w).abs() < 1e-3;
        assert!(
            got.iter().flatten().zip(want.iter().flatten()).all(close),
            "{got:?}"
        );
    }
}

#[test]
fn a_first_state_that_later_ones_do_not_reach_is_an_error() {
    // Two states that change places; one begins as a constant that is larger than any input.
    let state = |name: &str, kind: i32, dims: &[i64]| value(name, kind, Some(dims));
    let inner = GraphProto {
        name: "body".into(),
        input: vec![
            state("round", I64, &[]),
            state("going", BOOL, &[]),
            state("a", FLOAT, &[1, 4]),
            state("b", FLOAT, &[1, 4]),
        ],
        output: vec![
            state("going", BOOL, &[]),
            state("b", FLOAT, &[1, 4]),
            state("a", FLOAT, &[1, 4]),
        ],
        ..GraphProto::default()
    };
    let nodes = vec![node(
        "Loop",
        "count _ x far",
        "z y",
        vec![body("body", inner)],
    )];
    let constants = vec![
        whole("count", I64, &[], &[3]),
        floats("far", &[1, 4], &[1.0, 2.0, 3.0, 40.0]),
    ];
    let model = Model::new(FLOAT, &[1, 4], nodes, constants).output("z", FLOAT);
    let samples: Vec<Vec<f32>> = (0..8).map(|i| vec![0.5 + i as f32 / 8.0; 4]).collect();
    let result = integers(model, &samples);
    assert!(
        matches!(&result, Err(QuantizeError::Unsupported { reason, .. }) if reason.contains("first state")),
        "{result:?}"
    );
}
