//! Precision where one table, or the default number of bits, is too coarse.

use crate::common::proof;
use zkinfer::graph::{Activation, BinaryOp, Graph, GraphNode, MatMul, Op, ScalarFn, ScalarOp};
use zkinfer::quantize::{QuantizeOptions, evaluate};
use zkinfer_circuits::program::{Axis, View};

/// Reproducible numbers in [-1, 1).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1u64 << 24) as f32) * 2.0 - 1.0
    }
}

fn node(name: &str, op: Op, inputs: &[usize], shape: &[usize]) -> GraphNode {
    GraphNode {
        name: name.into(),
        op,
        inputs: inputs.to_vec(),
        shape: shape.to_vec(),
        tie: None,
    }
}

fn scalar(f: ScalarFn) -> Op {
    Op::Activation(Activation::Scalar(f))
}

fn of_x(op: ScalarOp) -> ScalarFn {
    ScalarFn::Apply(op, Box::new(ScalarFn::X))
}

const FEATURES: usize = 16;

/// `exp(−2·Σ x²)` of sixteen features.
fn kernel() -> Graph {
    let doubled = ScalarFn::Combine(
        BinaryOp::Mul,
        Box::new(ScalarFn::X),
        Box::new(ScalarFn::Const(-2.0)),
    );
    let decay = ScalarFn::Apply(ScalarOp::Exp, Box::new(doubled));
    let nodes = vec![
        node("x", Op::Input, &[], &[1, FEATURES]),
        node(
            "squares",
            scalar(of_x(ScalarOp::Square)),
            &[0],
            &[1, FEATURES],
        ),
        node("sum", Op::Sum { group: FEATURES }, &[1], &[1, 1]),
        node("kernel", scalar(decay), &[2], &[1, 1]),
    ];
    Graph {
        nodes,
        inputs: vec![0],
        outputs: vec![3],
        ..Graph::default()
    }
}

/// Samples of very different norms.
fn spread_samples() -> Vec<Vec<Vec<f32>>> {
    let mut numbers = Numbers(7);
    let sample = |i: usize| {
        let size = 0.15f32 * 1.05f32.powi(i as i32);
        vec![(0..FEATURES).map(|_| numbers.next() * size).collect()]
    };
    (0..48).map(sample).collect()
}

#[test]
fn steep_functions_have_two_tables() {
    let (graph, samples) = (kernel(), spread_samples());
    let options = QuantizeOptions::default().with_range_bits(12);
    let model = graph.quantize(&samples, &options).unwrap();
    // Squares, and the exponential below and above its knee.
    assert_eq!(model.program.tables.len(), 3);
    let report = evaluate(&graph, &model, &samples, &[]).unwrap();
    assert_eq!(report.out_of_range, []);
    assert!(
        report.outputs[0].relative_error < 0.002,
        "{:?}",
        report.outputs
    );
    // Where the function is steepest, too.
    assert!(
        report.outputs[0].max_error < 0.015 * report.outputs[0].range,
        "{:?}",
        report.outputs
    );
    let cost = proof::prove_and_verify(model, "kernel", &samples[0]).unwrap();
    assert!(cost.proof_bytes > 0);
}

/// `tanh(x + d) − tanh(x)`: its values are much smaller than what they are the difference of.
fn difference(d: f64) -> Graph {
    let sum = ScalarFn::Combine(
        BinaryOp::Add,
        Box::new(ScalarFn::X),
        Box::new(ScalarFn::Const(d)),
    );
    let shifted = ScalarFn::Apply(ScalarOp::Tanh, Box::new(sum));
    let negated = Op::Affine {
        scale: vec![-1.0],
        shift: vec![0.0],
    };
    let nodes = vec![
        node("x", Op::Input, &[], &[1, 8]),
        node("first", scalar(shifted), &[0], &[1, 8]),
        node("second", scalar(of_x(ScalarOp::Tanh)), &[0], &[1, 8]),
        node("negated", negated, &[2], &[1, 8]),
        node("difference", Op::Add, &[1, 3], &[1, 8]),
    ];
    Graph {
        nodes,
        inputs: vec![0],
        outputs: vec![4],
        ..Graph::default()
    }
}

#[test]
fn bits_follow_the_error_of_the_outputs() {
    let mut numbers = Numbers(3);
    let mut sample = || vec![(0..8).map(|_| 1.5 * numbers.next()).collect::<Vec<f32>>()];
    let samples: Vec<_> = (0..32).map(|_| sample()).collect();
    let quantized = |graph: &Graph, options: &QuantizeOptions| {
        let model = graph.quantize(&samples, options).unwrap();
        let report = evaluate(graph, &model, &samples, &[]).unwrap();
        assert_eq!(report.out_of_range, []);
        (model.program.range_bits, report.outputs[0].relative_error)
    };
    let automatic = QuantizeOptions::default();
    let (bits, error) = quantized(&difference(2.0), &automatic);
    assert_eq!(bits, 12);
    assert!(error < 0.002, "{error}");
    let (bits, error) = quantized(&difference(0.05), &automatic);
    let (_, coarse) = quantized(&difference(0.05), &automatic.clone().with_range_bits(12));
    assert!(bits > 12);
    assert!(error < 0.6 * coarse, "{error} against {coarse}");
    // What is asked for is what is taken.
    let (bits, _) = quantized(&difference(0.05), &automatic.with_range_bits(11));
    assert_eq!(bits, 11);
}

const BINS: usize = 24;

/// Magnitudes `√(a² + b²)` of complex numbers, their parts one after the other.
fn magnitudes() -> Graph {
    let pairs = View {
        loops: vec![BINS as u32, 2],
        axes: vec![Axis {
            extent: 2 * BINS as u32,
            offset: 0,
            strides: vec![1, BINS as i64],
        }],
    };
    let squares = Op::MatMul(MatMul {
        groups: BINS,
        outputs: 1,
        positions: 1,
        inputs: 2,
        left: pairs.clone(),
        right: pairs,
    });
    let root = scalar(of_x(ScalarOp::Sqrt));
    let twice = Op::Affine {
        scale: vec![2.0],
        shift: vec![0.0],
    };
    Graph {
        nodes: vec![
            node("x", Op::Input, &[], &[1, 2 * BINS]),
            node("squares", squares, &[0, 0], &[1, BINS]),
            node("magnitude", root, &[1], &[1, BINS]),
            node("twice", twice, &[2], &[1, BINS]),
        ],
        inputs: vec![0],
        outputs: vec![3],
        ..Graph::default()
    }
}

/// One table of the sums in 12 bits is off by 0.7 % where magnitudes are small, in 14 by 0.35 %.
#[test]
fn small_magnitudes_keep_their_bits_beside_large_ones() {
    let (graph, mut numbers) = (magnitudes(), Numbers(5));
    let mut sample = |i: usize| {
        let size = 0.02f32 * 1.08f32.powi(i as i32);
        vec![(0..2 * BINS).map(|_| numbers.next() * size).collect()]
    };
    let samples: Vec<Vec<Vec<f32>>> = (0..48).map(&mut sample).collect();
    for bits in [12, 14] {
        let options = QuantizeOptions::default().with_range_bits(bits);
        let model = graph.quantize(&samples, &options).unwrap();
        let report = evaluate(&graph, &model, &samples, &[]).unwrap();
        assert_eq!(report.out_of_range, []);
        // Little more than what the rounding of the operands makes of it.
        let output = &report.outputs[0];
        let step = 2.5 / f64::from(1u32 << bits);
        assert!(output.relative_error < step, "{bits} bits: {output:?}");
        // Quiet samples alone, the first twelve: no worse than loud ones.
        let quiet = evaluate(&graph, &model, &samples[..12], &[]).unwrap();
        let quiet = quiet.outputs[0].mean_error / output.range;
        assert!(quiet < step, "{bits} bits: {quiet}");
        proof::prove_and_verify(model, "magnitudes", &samples[5]).unwrap();
    }
}

/// Where it is the rounding of an input that limits the outputs, its numbers take two cells each, and their squares read both.
#[test]
fn inputs_take_two_cells_where_their_rounding_is_too_much() {
    let (graph, mut numbers) = (magnitudes(), Numbers(5));
    let mut sample = |i: usize| {
        let size = 0.02f32 * 1.08f32.powi(i as i32);
        vec![(0..2 * BINS).map(|_| numbers.next() * size).collect()]
    };
    let samples: Vec<Vec<Vec<f32>>> = (0..48).map(&mut sample).collect();
    let narrow = QuantizeOptions::default().with_range_bits(12);
    let quantized = |options: &QuantizeOptions| {
        let model = graph.quantize(&samples, options).unwrap();
        let report = evaluate(&graph, &model, &samples, &[]).unwrap();
        assert_eq!(report.out_of_range, []);
        // Quiet samples alone, over their own size.
        let quiet = evaluate(&graph, &model, &samples[..12], &[]).unwrap();
        (model, quiet.outputs[0].relative_error)
    };
    let (one, coarse) = quantized(&narrow);
    assert_eq!(one.inputs[0].low_bits, 0);
    let (two, fine) = quantized(&narrow.with_max_error(2e-5));
    assert_eq!(two.inputs[0].low_bits, 12);
    // What is left is of tables and outputs.
    assert!(fine < 0.7 * coarse, "{fine}, {coarse} with one cell each");

    // By the definition, in double precision, for what the cells hold.
    let integers = two.quantize_inputs(&samples[0], false).unwrap();
    let parts = two.inputs[0].dequantize(&integers[0]).unwrap();
    let given = samples[0][0].iter().zip(&parts);
    let step = two.inputs[0].scale_at(0) as f32;
    given.for_each(|(x, p)| assert!((x - p).abs() <= 0.51 * step, "{x}, {p}, step {step}"));
    proof::prove_and_verify(two, "magnitudes", &samples[0]).unwrap();
}
