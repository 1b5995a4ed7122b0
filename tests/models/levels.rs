//! Models whose activations are on a grid: int8 ones, in floats.

use crate::common::proof;
use crate::quantize::builder::{Builder, Numbers};
use zkinfer::graph::{Activation, BinaryOp, Graph, Linear, NodeId, Op, ScalarFn, ScalarOp};
use zkinfer::quantize::{QuantizeOptions, evaluate};
use zkinfer_circuits::program::{Node, View};

fn constant(value: f64) -> Box<ScalarFn> {
    Box::new(ScalarFn::Const(value))
}

fn with(op: BinaryOp, f: ScalarFn, value: f64) -> ScalarFn {
    ScalarFn::Combine(op, Box::new(f), constant(value))
}

/// `QuantizeLinear` and `DequantizeLinear` to 8 bits.
fn on_grid(f: ScalarFn, step: f64) -> ScalarFn {
    let levels = with(BinaryOp::Div, f, step);
    let levels = ScalarFn::Apply(ScalarOp::Round, Box::new(levels));
    let levels = with(BinaryOp::Max, levels, -128.0);
    let levels = with(BinaryOp::Min, levels, 127.0);
    with(BinaryOp::Mul, levels, step)
}

fn linear(
    b: &mut Builder,
    numbers: &mut Numbers,
    x: NodeId,
    [inputs, outputs]: [usize; 2],
) -> NodeId {
    // Weights on a grid, too.
    let weights = numbers.vec(inputs * outputs, 1.0).into_iter();
    let layer = Linear {
        groups: 1,
        outputs,
        positions: 1,
        inputs,
        patches: View::identity(inputs),
        weights: weights.map(|w| (w * 127.0).round() * 0.0031).collect(),
        bias: numbers.vec(outputs, 0.3),
    };
    b.add(Op::Linear(layer), &[x], &[outputs])
}

fn scalar(b: &mut Builder, x: NodeId, f: ScalarFn, len: usize) -> NodeId {
    b.add(Op::Activation(Activation::Scalar(f)), &[x], &[len])
}

const INPUTS: usize = 48;
const CLASSES: usize = 6;

/// Two layers, clipped between two roundings as in models of the "quantize, dequantize" kind, and the probabilities, in 8 bits each.
fn network() -> Graph {
    let mut numbers = Numbers(17);
    let mut b = Builder::default();
    let x = b.input(&[INPUTS]);
    let x = scalar(&mut b, x, on_grid(ScalarFn::X, 1.0 / 128.0), INPUTS);
    let y = linear(&mut b, &mut numbers, x, [INPUTS, 32]);
    let first = on_grid(ScalarFn::X, 0.031);
    let clipped = with(BinaryOp::Min, with(BinaryOp::Max, first, 0.0), 2.0);
    let y = scalar(&mut b, y, on_grid(clipped, 0.031), 32);
    let z = linear(&mut b, &mut numbers, y, [32, CLASSES]);
    // Logits of a coarse step: the integers of a cell would be far more than they need.
    let z = scalar(&mut b, z, on_grid(ScalarFn::X, 0.17), CLASSES);
    let p = b.add(Op::Softmax { len: CLASSES }, &[z], &[CLASSES]);
    let p = scalar(&mut b, p, on_grid(ScalarFn::X, 1.0 / 127.0), CLASSES);
    b.finish(&[p])
}

fn samples(count: usize) -> Vec<Vec<Vec<f32>>> {
    let mut numbers = Numbers(23);
    (0..count).map(|_| vec![numbers.vec(INPUTS, 1.0)]).collect()
}

/// With one table for both roundings, weights of twice the bits, and logits in as many integers as they have, hardly a number is on
/// another level: some in a hundred were.
#[test]
fn levels_are_those_of_the_model() {
    let (graph, samples) = (network(), samples(96));
    let options = QuantizeOptions::default().with_max_error(2e-4);
    let model = graph.quantize(&samples, &options).unwrap();
    let report = evaluate(&graph, &model, &samples, &[]).unwrap();
    assert_eq!(report.out_of_range, []);
    let level = 1.0 / 127.0;
    let output = &report.outputs[0];
    assert!(output.mean_error < 0.02 * level, "{output:?}");
    assert!(output.max_error < 1.5 * level, "{output:?}");
    proof::prove_and_verify(model, "levels", &samples[0]).unwrap();
}

/// Two roundings and what is between them are one table.
#[test]
fn roundings_of_levels_are_one_table() {
    let (graph, samples) = (network(), samples(32));
    let options = QuantizeOptions::default().with_range_bits(14);
    let model = graph.quantize(&samples, &options).unwrap();
    let tables = |n: &Node| match n {
        Node::Neurons(n) => n.unit.tables.len(),
        _ => 0,
    };
    // Four roundings, and the two of the softmax.
    let tables: Vec<usize> = model.program.nodes.iter().map(tables).collect();
    let looked_up: Vec<usize> = tables.into_iter().filter(|t| *t > 0).collect();
    assert_eq!(looked_up, [1, 1, 1, 2, 1]);
}

const WIDTH: usize = 8;

/// A sigmoid of arguments of which most are far beyond where it moves.
fn wide_sigmoid(numbers: &mut Numbers) -> Graph {
    let mut b = Builder::default();
    let x = b.input(&[WIDTH]);
    let layer = Linear {
        groups: 1,
        outputs: WIDTH,
        positions: 1,
        inputs: WIDTH,
        patches: View::identity(WIDTH),
        weights: numbers.vec(WIDTH * WIDTH, 300.0),
        bias: numbers.vec(WIDTH, 1.0),
    };
    let y = b.add(Op::Linear(layer), &[x], &[WIDTH]);
    let sigmoid = ScalarFn::Apply(ScalarOp::Sigmoid, Box::new(ScalarFn::X));
    let y = scalar(&mut b, y, sigmoid, WIDTH);
    b.finish(&[y])
}

/// One table in 14 bits is off by 0.8 %.
#[test]
fn what_is_flat_is_cut_off() {
    let mut numbers = Numbers(29);
    let graph = wide_sigmoid(&mut numbers);
    // Of all sizes, so that some are where it moves and some where it does not.
    let mut sample = |i: usize| vec![numbers.vec(WIDTH, 10f32.powi(-(i as i32 % 5).min(3)))];
    let samples: Vec<Vec<Vec<f32>>> = (0..64).map(&mut sample).collect();
    let coarse = QuantizeOptions::default().with_range_bits(14);
    let coarse = graph.quantize(&samples, &coarse).unwrap();
    let coarse = evaluate(&graph, &coarse, &samples, &[]).unwrap();
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    let report = evaluate(&graph, &model, &samples, &[]).unwrap();
    assert_eq!(report.out_of_range, []);
    let (before, after) = (&coarse.outputs[0], &report.outputs[0]);
    assert!(after.relative_error < 0.005, "{after:?}");
    assert!(
        after.relative_error < before.relative_error / 4.0,
        "{before:?}, {after:?}"
    );
    // Far beyond both ends, and inside.
    for at in [0, 4] {
        proof::prove_and_verify(model.clone(), "ends", &samples[at]).unwrap();
    }
}

/// Every fourth sample is far beyond both ends, and these are what a model is judged by at first: one of 64 samples in four.
#[test]
fn more_samples_say_what_few_do_not() {
    let mut numbers = Numbers(29);
    let graph = wide_sigmoid(&mut numbers);
    let mut sample = |i: usize| {
        let size = if i.is_multiple_of(4) { 1.0 } else { 0.003 };
        vec![numbers.vec(WIDTH, size)]
    };
    let samples: Vec<Vec<Vec<f32>>> = (0..64).map(&mut sample).collect();
    let error = |options: QuantizeOptions| {
        let model = graph.quantize(&samples, &options).unwrap();
        let report = evaluate(&graph, &model, &samples, &[]).unwrap();
        report.outputs[0].relative_error
    };
    let fixed = error(QuantizeOptions::default().with_range_bits(12));
    let confirmed = error(QuantizeOptions::default());
    assert!(fixed > 0.02, "{fixed}");
    assert!(confirmed < 0.002, "{confirmed}");
}
