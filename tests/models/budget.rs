//! An error that the user names, and values of very different size.

use crate::common::proof;
use crate::quantize::builder::{Builder, Numbers};
use zkinfer::graph::{Activation, BinaryOp, Graph, Linear, MatMul, Op, ScalarFn, ScalarOp};
use zkinfer::model::QuantizedModel;
use zkinfer::quantize::{CompileError, Compiled, Doubt, QuantizeOptions};
use zkinfer::{QuantizeError, Samples};
use zkinfer_circuits::program::{Axis, Node, View};

const ROWS: usize = 3;
const COLUMNS: usize = 16;

fn samples(inputs: Vec<Vec<Vec<f32>>>) -> Samples {
    Samples {
        inputs,
        ..Samples::default()
    }
}

fn compile(
    graph: &Graph,
    inputs: &[Vec<Vec<f32>>],
    options: &QuantizeOptions,
) -> Result<Compiled, CompileError> {
    graph.compile(&samples(inputs.to_vec()), options)
}

fn relative(compiled: &Compiled) -> f64 {
    let output = &compiled.report.outputs[0];
    output.mean_error / output.scale
}

fn deep(model: &QuantizedModel) -> usize {
    let nodes = model.program.nodes.iter();
    nodes
        .filter(|n| matches!(n, Node::Neurons(n) if n.unit.deep))
        .count()
}

fn random(count: usize, len: usize, scale: f32) -> Vec<Vec<Vec<f32>>> {
    let mut numbers = Numbers(3);
    (0..count).map(|_| vec![numbers.vec(len, scale)]).collect()
}

/// Layers without a nonlinearity that would hide their errors.
fn chain(layers: usize) -> Graph {
    let mut numbers = Numbers(11);
    let mut b = Builder::default();
    let mut x = b.input(&[32]);
    for _ in 0..layers {
        let linear = Linear {
            groups: 1,
            outputs: 32,
            positions: 1,
            inputs: 32,
            patches: View::identity(32),
            weights: numbers.vec(32 * 32, 0.3),
            bias: numbers.vec(32, 0.1),
        };
        let y = b.add(Op::Linear(linear), &[x], &[32]);
        x = b.add(
            Op::Activation(Activation::Scalar(ScalarFn::Apply(
                ScalarOp::Asinh,
                Box::new(ScalarFn::X),
            ))),
            &[y],
            &[32],
        );
    }
    b.finish(&[x])
}

#[test]
fn a_bound_is_met_by_more_bits_where_they_matter() {
    let (graph, inputs) = (chain(3), random(24, 32, 1.0));
    let fixed = QuantizeOptions::default().with_range_bits(10);
    let coarse = compile(&graph, &inputs, &fixed.clone().with_allow_error(true)).unwrap();
    assert_eq!(deep(&coarse.model), 0);
    let bound = 0.6 * relative(&coarse);
    let fine = compile(&graph, &inputs, &fixed.clone().with_max_error(bound)).unwrap();
    assert!(relative(&fine) <= bound, "{} > {bound}", relative(&fine));
    assert!(deep(&fine.model) > 0);
    assert_eq!(fine.model.program.range_bits, 10);
    proof::prove_and_verify(fine.model, "deep", &inputs[0]).unwrap();
    // What cannot be met is refused, with the bound that was asked for.
    let impossible = fixed.with_max_error(1e-5);
    let error = compile(&graph, &inputs, &impossible).unwrap_err();
    let CompileError::Doubtful(doubts) = &error else {
        panic!("{error}");
    };
    assert!(matches!(&doubts[0], Doubt::Error { limit, .. } if *limit == 1e-5));
    for error in [0.0, -1.0, f64::NAN, 2.0] {
        let options = QuantizeOptions::default().with_max_error(error);
        let refused = graph.quantize(&inputs, &options).unwrap_err();
        assert!(matches!(
            refused,
            QuantizeError::Option {
                option: "max_error",
                ..
            }
        ));
    }
}

/// `(h − mean)/√(variance + ε)` of rows of which one column is eighty times as large as the others, and rows of very different size.
fn outlier(columns: usize) -> Graph {
    let len = ROWS * columns;
    let mut b = Builder::default();
    let x = b.input(&[ROWS, columns]);
    let scale = (0..len).map(|i| if i % columns == 3 { 80.0 } else { 1.0 });
    let h = b.add(
        Op::Affine {
            scale: scale.collect(),
            shift: vec![0.0],
        },
        &[x],
        &[ROWS, columns],
    );
    let sum = b.add(Op::Sum { group: columns }, &[h], &[ROWS]);
    let mean = b.add(
        Op::Affine {
            scale: vec![-1.0 / columns as f32],
            shift: vec![0.0],
        },
        &[sum],
        &[ROWS],
    );
    let spread = View {
        loops: vec![ROWS as u32, columns as u32],
        axes: vec![Axis {
            extent: ROWS as u32,
            offset: 0,
            strides: vec![1, 0],
        }],
    };
    let mean = b.add(Op::View(spread), &[mean], &[ROWS, columns]);
    let d = b.add(Op::Add, &[h, mean], &[ROWS, columns]);
    let product = |positions, inputs, left| MatMul {
        groups: ROWS,
        outputs: 1,
        positions,
        inputs,
        left: View::identity(left),
        right: View::identity(len),
    };
    let squares = b.add(Op::MatMul(product(1, columns, len)), &[d, d], &[ROWS]);
    let combine = |op, a: ScalarFn, b: ScalarFn| ScalarFn::Combine(op, Box::new(a), Box::new(b));
    let mean = combine(
        BinaryOp::Mul,
        ScalarFn::X,
        ScalarFn::Const(1.0 / columns as f64),
    );
    let variance = combine(BinaryOp::Add, mean, ScalarFn::Const(1e-5));
    let root = ScalarFn::Apply(ScalarOp::Rsqrt, Box::new(variance));
    let r = b.add(
        Op::Activation(Activation::Scalar(root)),
        &[squares],
        &[ROWS],
    );
    let y = b.add(
        Op::MatMul(product(columns, 1, ROWS)),
        &[r, d],
        &[ROWS, columns],
    );
    b.finish(&[y])
}

#[test]
fn large_columns_leave_the_others_their_bits() {
    let graph = outlier(COLUMNS);
    let mut inputs = random(48, ROWS * COLUMNS, 1.0);
    for (i, sample) in inputs.iter_mut().enumerate() {
        // Rows without an outlier are a hundred times as small as those with one.
        let small = (i % 4) as f32 * 0.33 + 0.003;
        (0..ROWS).for_each(|row| sample[0][row * COLUMNS + 3] *= small);
    }
    let compiled = compile(&graph, &inputs, &QuantizeOptions::default()).unwrap();
    assert!(relative(&compiled) < 0.005, "{}", relative(&compiled));
    proof::prove_and_verify(compiled.model, "outlier", &inputs[1]).unwrap();
}

#[test]
fn squares_of_many_columns_beside_a_large_one_fit() {
    let columns = 384;
    let graph = outlier(columns);
    let inputs = random(8, ROWS * columns, 1.0);
    let compiled = compile(&graph, &inputs, &QuantizeOptions::default()).unwrap();
    assert!(relative(&compiled) < 0.01, "{}", relative(&compiled));
}
