//! Quantization: hand-made graphs of every operation (here), ranges and their ends, and whole models of the corpus.

pub mod builder;
mod models;
mod ranges;
mod saturation;

use builder::{Builder, Conv, Numbers, conv};
use zkinfer::graph::{Activation, Graph, Linear, Op, ScalarFn, ScalarOp};
use zkinfer::model::QuantizedModel;
use zkinfer::quantize::{QuantizeOptions, Report, evaluate, quantize};
use zkinfer_circuits::program::{Axis, Node, ProgramLimits, Unit, View};

/// Quantizes with random inputs, half of them for calibration, and checks the errors.
fn check(graph: &Graph, low: f32, tolerance: f64) -> (QuantizedModel, Report) {
    let mut numbers = Numbers(7);
    let mut input = |len: usize| {
        (0..len)
            .map(|_| {
                if low < 0.0 {
                    numbers.next()
                } else {
                    numbers.next().abs()
                }
            })
            .collect::<Vec<f32>>()
    };
    let mut sample = |_| {
        graph
            .inputs
            .iter()
            .map(|&i| input(graph.nodes[i].len()))
            .collect()
    };
    let samples: Vec<Vec<Vec<f32>>> = (0..40).map(&mut sample).collect();
    let model = quantize(graph, &samples[..20], &QuantizeOptions::default()).unwrap();
    let report = evaluate(graph, &model, &samples, &[]).unwrap();
    assert_eq!(report.out_of_range, vec![]);
    for output in &report.outputs {
        assert!(output.relative_error <= tolerance, "{report:#?}");
        assert!(
            output.max_error <= 12.0 * tolerance * output.range.max(1e-3),
            "{report:#?}"
        );
    }
    (model, report)
}

fn units(model: &QuantizedModel) -> Vec<Unit> {
    model
        .program
        .nodes
        .iter()
        .filter_map(|n| {
            if let Node::Neurons(n) = n {
                Some(n.unit.clone())
            } else {
                None
            }
        })
        .collect()
}

#[test]
fn dense_relu() {
    let (mut b, mut r) = (Builder::default(), Numbers(1));
    let x = b.input(&[1, 20]);
    let h = b.dense(&mut r, x, 30);
    let h = b.relu(h);
    let y = b.dense(&mut r, h, 5);
    let (model, _) = check(&b.finish(&[y]), -1.0, 0.002);
    assert_eq!(units(&model), [Unit::RELU, Unit::LINEAR]);
}

#[test]
fn convolutions_with_fused_pooling() {
    let (mut b, mut r) = (Builder::default(), Numbers(2));
    let x = b.input(&[1, 2, 11, 11]);
    let h = b.conv(&mut r, x, conv(4, 3, 1));
    let h = b.relu(h);
    // Eleven is odd: the last row and column are read by no window, and cost nothing.
    let h = b.maxpool(h, 2, 2, 0);
    let h = b.conv(
        &mut r,
        h,
        Conv {
            stride: 2,
            groups: 2,
            ..conv(8, 3, 1)
        },
    );
    let h = b.relu(h);
    let h = b.add(Op::View(View::identity(8 * 9)), &[h], &[1, 72]);
    let y = b.dense(&mut r, h, 5);
    let (model, _) = check(&b.finish(&[y]), 0.0, 0.002);
    let fused = Unit {
        window: 4,
        ..Unit::RELU
    };
    assert_eq!(units(&model), [fused, Unit::RELU, Unit::LINEAR]);
    assert!(
        model
            .program
            .nodes
            .iter()
            .any(|n| matches!(n, Node::Neurons(n) if n.unit.window == 4 && n.len() == 4 * 25))
    );
}

#[test]
fn maximum_before_relu_is_the_same_unit() {
    let (mut b, mut r) = (Builder::default(), Numbers(3));
    let x = b.input(&[1, 1, 8, 8]);
    let h = b.conv(&mut r, x, conv(3, 3, 1));
    let h = b.maxpool(h, 2, 2, 0);
    let y = b.relu(h);
    let (model, _) = check(&b.finish(&[y]), -1.0, 0.002);
    assert_eq!(
        units(&model),
        [Unit {
            window: 4,
            ..Unit::RELU
        }]
    );
}

#[test]
fn maximum_without_relu() {
    let (mut b, mut r) = (Builder::default(), Numbers(4));
    let x = b.input(&[1, 1, 8, 8]);
    let h = b.conv(&mut r, x, conv(3, 3, 0));
    let y = b.maxpool(h, 2, 2, 0);
    let (model, _) = check(&b.finish(&[y]), -1.0, 0.002);
    assert_eq!(
        units(&model),
        [Unit {
            window: 4,
            ..Unit::LINEAR
        }]
    );
}

#[test]
fn overlapping_and_padded_maximum() {
    let (mut b, mut r) = (Builder::default(), Numbers(5));
    let x = b.input(&[1, 2, 8, 8]);
    let h = b.conv(&mut r, x, conv(3, 3, 1));
    let h = b.maxpool(h, 3, 2, 1);
    let y = b.dense(&mut r, h, 4);
    let (model, _) = check(&b.finish(&[y]), -1.0, 0.002);
    assert_eq!(
        units(&model),
        [
            Unit::LINEAR,
            Unit {
                window: 9,
                ..Unit::LINEAR
            },
            Unit::LINEAR
        ]
    );
}

#[test]
fn global_maximum_of_a_large_window() {
    let (mut b, mut r) = (Builder::default(), Numbers(6));
    let x = b.input(&[1, 1, 12, 12]);
    let h = b.conv(&mut r, x, conv(3, 3, 1));
    let h = b.relu(h);
    let y = b.maxpool(h, 12, 12, 0);
    check(&b.finish(&[y]), -1.0, 0.002);
}

#[test]
fn residual_sum_joins_the_linear_map() {
    let (mut b, mut r) = (Builder::default(), Numbers(8));
    let x = b.input(&[1, 2, 6, 6]);
    let a = b.conv(&mut r, x, conv(4, 3, 1));
    let a = b.relu(a);
    let h = b.conv(&mut r, a, conv(4, 3, 1));
    let h = b.op(Op::Add, &[h, a]);
    let h = b.relu(h);
    let skip = b.conv(&mut r, x, conv(4, 1, 0));
    let main = b.conv(
        &mut r,
        h,
        Conv {
            groups: 4,
            ..conv(4, 3, 1)
        },
    );
    let s = b.op(Op::Add, &[skip, main]);
    let y = b.relu(s);
    let (model, _) = check(&b.finish(&[y]), -1.0, 0.002);
    // The skip convolution has another grouping than the main one, so one of them is quantized by itself.
    assert_eq!(
        units(&model),
        [Unit::RELU, Unit::RELU, Unit::LINEAR, Unit::RELU]
    );
}

#[test]
fn sum_of_two_maps_is_one_layer() {
    let (mut b, mut r) = (Builder::default(), Numbers(9));
    let x = b.input(&[1, 12]);
    let z = b.input(&[1, 7]);
    let (p, q) = (b.dense(&mut r, x, 9), b.dense(&mut r, z, 9));
    let s = b.op(Op::Add, &[p, q]);
    let y = b.relu(s);
    let (model, _) = check(&b.finish(&[y]), -1.0, 0.002);
    assert_eq!(units(&model), [Unit::RELU]);
}

#[test]
fn relu_of_a_sum_of_quantized_tensors() {
    let (mut b, mut r) = (Builder::default(), Numbers(10));
    let x = b.input(&[1, 12]);
    let p = b.dense(&mut r, x, 9);
    let p = b.activation(Activation::LeakyRelu(vec![0.1]), p);
    let q = b.dense(&mut r, x, 9);
    let q = b.activation(Activation::LeakyRelu(vec![0.3]), q);
    let s = b.op(Op::Add, &[p, q]);
    let y = b.relu(s);
    check(&b.finish(&[y]), -1.0, 0.002);
}

#[test]
fn leaky_relu_is_two_planes() {
    let (mut b, mut r) = (Builder::default(), Numbers(11));
    let x = b.input(&[1, 2, 6, 6]);
    let h = b.conv(&mut r, x, conv(3, 3, 1));
    let slopes = (0..3 * 36).map(|i| 0.1 + 0.2 * (i / 36) as f32).collect();
    let h = b.activation(Activation::LeakyRelu(slopes), h);
    let y = b.conv(&mut r, h, conv(2, 3, 1));
    let (model, _) = check(&b.finish(&[y]), -1.0, 0.002);
    assert_eq!(units(&model), [Unit::RELU, Unit::LINEAR]);
}

#[test]
fn average_pooling_is_free() {
    let (mut b, mut r) = (Builder::default(), Numbers(12));
    let x = b.input(&[1, 2, 8, 8]);
    let h = b.conv(&mut r, x, conv(4, 3, 1));
    let h = b.relu(h);
    let h = b.avgpool(h, 2);
    let y = b.dense(&mut r, h, 6);
    let (model, _) = check(&b.finish(&[y]), -1.0, 0.002);
    assert_eq!(units(&model), [Unit::RELU, Unit::LINEAR]);
}

#[test]
fn average_pooling_as_output() {
    let (mut b, mut r) = (Builder::default(), Numbers(13));
    let x = b.input(&[1, 2, 8, 8]);
    let h = b.conv(&mut r, x, conv(4, 3, 1));
    let h = b.relu(h);
    let y = b.avgpool(h, 2);
    check(&b.finish(&[y]), -1.0, 0.002);
}

#[test]
fn clips() {
    let infinite = f32::INFINITY;
    for (low, high, gain) in [
        (0.0, 6.0, 3.0),
        (0.0, 1.0, 5.0),
        (-0.5, 0.7, 1.0),
        (-0.2, infinite, 1.0),
        (-infinite, 0.1, 1.0),
    ] {
        let (mut b, mut r) = (Builder::default(), Numbers(14));
        let x = b.input(&[1, 20]);
        let h = b.dense(&mut r, x, 30);
        let h = b.op(
            Op::Affine {
                scale: vec![gain],
                shift: vec![0.1],
            },
            &[h],
        );
        let h = b.activation(Activation::Clip { low, high }, h);
        let y = b.dense(&mut r, h, 5);
        check(&b.finish(&[y]), -1.0, 0.003);
    }
}

#[test]
fn function_tables() {
    for op in [
        ScalarOp::Sigmoid,
        ScalarOp::Tanh,
        ScalarOp::Gelu,
        ScalarOp::Exp,
        ScalarOp::Square,
        ScalarOp::Abs,
    ] {
        let (mut b, mut r) = (Builder::default(), Numbers(15));
        let x = b.input(&[1, 20]);
        let h = b.dense(&mut r, x, 30);
        let h = b.activation(
            Activation::Scalar(ScalarFn::Apply(op, Box::new(ScalarFn::X))),
            h,
        );
        let y = b.dense(&mut r, h, 5);
        let (model, _) = check(&b.finish(&[y]), -1.0, 0.003);
        assert_eq!(model.program.tables.len(), 1);
    }
}

#[test]
fn softmax() {
    for gain in [0.1, 1.0, 10.0, 100.0] {
        let (mut b, mut r) = (Builder::default(), Numbers(16));
        let x = b.input(&[1, 20]);
        let h = b.dense(&mut r, x, 30);
        let h = b.op(
            Op::Affine {
                scale: vec![gain],
                shift: vec![0.0],
            },
            &[h],
        );
        let y = b.op(Op::Softmax { len: 10 }, &[h]);
        let (model, report) = check(
            &b.finish(&[y]),
            -1.0,
            if gain > 50.0 { 0.02 } else { 0.004 },
        );
        let expanded = model.program.expand(&ProgramLimits::default()).unwrap();
        zkinfer_circuits::hints::check(&model.program, &expanded, u64::MAX).unwrap();
        assert!(
            report.outputs[0].max_error < 0.05 + gain as f64 / 1000.0,
            "{report:#?}"
        );
    }
}

#[test]
fn concatenation() {
    let (mut b, mut r) = (Builder::default(), Numbers(17));
    let x = b.input(&[1, 20]);
    let p = b.dense(&mut r, x, 9);
    let p = b.activation(Activation::LeakyRelu(vec![0.1]), p);
    let q = b.dense(&mut r, x, 8);
    let q = b.relu(q);
    let c = b.add(Op::Concat, &[p, q, x], &[1, 37]);
    let y = b.dense(&mut r, c, 5);
    check(&b.finish(&[y, c]), -1.0, 0.003);
}

#[test]
fn padding_after_an_offset() {
    // Zero padding is a real zero, which a signed input does not represent by the integer zero.
    let (mut b, mut r) = (Builder::default(), Numbers(18));
    let x = b.input(&[1, 2, 6, 6]);
    let shift = (0..72).map(|i| if i < 36 { 0.7 } else { -0.4 }).collect();
    let h = b.op(
        Op::Affine {
            scale: vec![0.5],
            shift,
        },
        &[x],
    );
    let axis = |extent: u32, offset: i64, at: usize| Axis {
        extent,
        offset,
        strides: (0..3).map(|i| i64::from(i == at)).collect(),
    };
    let pad = View {
        loops: vec![2, 8, 8],
        axes: vec![axis(2, 0, 0), axis(6, -1, 1), axis(6, -1, 2)],
    };
    let h = b.add(Op::View(pad), &[h], &[1, 2, 8, 8]);
    let h = b.conv(&mut r, h, conv(3, 3, 1));
    let y = b.conv(&mut r, h, conv(3, 3, 1));
    let (model, _) = check(&b.finish(&[y]), -1.0, 0.002);
    assert_eq!(units(&model), [Unit::LINEAR, Unit::LINEAR]);
}

#[test]
fn transposed_maps_and_scales_along_positions() {
    let (mut b, mut r) = (Builder::default(), Numbers(19));
    let x = b.input(&[1, 2, 6, 6]);
    let h = b.conv(&mut r, x, conv(4, 3, 1));
    // Channels last, then a matrix over the positions: the channels' scales lie along its positions.
    let transpose = View {
        loops: vec![36, 4],
        axes: vec![Axis {
            extent: 144,
            offset: 0,
            strides: vec![1, 36],
        }],
    };
    let h = b.add(Op::View(transpose), &[h], &[36, 4]);
    let h = b.relu(h);
    let mix = Linear {
        groups: 1,
        outputs: 5,
        positions: 4,
        inputs: 36,
        patches: View {
            loops: vec![4, 36],
            axes: vec![Axis {
                extent: 144,
                offset: 0,
                strides: vec![1, 4],
            }],
        },
        weights: r.vec(180, 0.2),
        bias: vec![],
    };
    let h = b.add(Op::Linear(mix), &[h], &[5, 4]);
    let y = b.op(
        Op::Affine {
            scale: vec![2.0],
            shift: r.vec(20, 1.0),
        },
        &[h],
    );
    check(&b.finish(&[y]), -1.0, 0.002);
}

#[test]
fn outputs_of_every_kind() {
    let (mut b, mut r) = (Builder::default(), Numbers(20));
    let x = b.input(&[1, 10]);
    let h = b.dense(&mut r, x, 8);
    let h = b.relu(h);
    let c = b.add(Op::Constant(vec![1.0, -2.0, 3.0]), &[], &[3]);
    let reversed = View {
        loops: vec![8],
        axes: vec![Axis {
            extent: 8,
            offset: 7,
            strides: vec![-1],
        }],
    };
    let v = b.add(Op::View(reversed), &[h], &[8]);
    check(&b.finish(&[x, h, h, v, c]), -1.0, 0.002);
}
