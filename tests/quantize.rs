//! Quantization: hand-made graphs of every operation, and whole models of the corpus.

use std::collections::BTreeMap;
use std::path::Path;

use zkinfer::data::Samples;
use zkinfer::graph::{Activation, Graph, GraphNode, Linear, Op, ScalarFn, ScalarOp};
use zkinfer::model::QuantizedModel;
use zkinfer::quantize::{QuantizeError, QuantizeOptions, Report, evaluate, quantize};
use zkinfer_circuits::program::{Axis, Node, ProgramLimits, Unit, View};

#[path = "common/corpus.rs"]
#[allow(dead_code)]
mod corpus;

/// Reproducible numbers in [-1, 1).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 40) as f32 / (1u64 << 24) as f32) * 2.0 - 1.0
    }

    fn vec(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| self.next() * scale).collect()
    }
}

#[derive(Default)]
struct Builder {
    nodes: Vec<GraphNode>,
    inputs: Vec<usize>,
}

/// Geometry of a convolution.
struct Conv {
    outputs: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    groups: usize,
}

fn conv(outputs: usize, kernel: usize, pad: usize) -> Conv {
    Conv {
        outputs,
        kernel,
        stride: 1,
        pad,
        groups: 1,
    }
}

impl Builder {
    fn add(&mut self, op: Op, inputs: &[usize], shape: &[usize]) -> usize {
        let id = self.nodes.len();
        if matches!(op, Op::Input) {
            self.inputs.push(id);
        }
        self.nodes.push(GraphNode {
            name: format!("n{id}"),
            op,
            inputs: inputs.to_vec(),
            shape: shape.to_vec(),
            tie: None,
        });
        id
    }

    fn input(&mut self, shape: &[usize]) -> usize {
        self.add(Op::Input, &[], shape)
    }

    fn dense(&mut self, numbers: &mut Numbers, input: usize, outputs: usize) -> usize {
        let inputs = self.nodes[input].len();
        let linear = Linear {
            groups: 1,
            outputs,
            positions: 1,
            inputs,
            patches: View::identity(inputs),
            weights: numbers.vec(outputs * inputs, 1.5 / (inputs as f32).sqrt()),
            bias: numbers.vec(outputs, 0.3),
        };
        self.add(Op::Linear(linear), &[input], &[1, outputs])
    }

    /// Square convolution on `[1, c, h, h]`.
    fn conv(&mut self, numbers: &mut Numbers, input: usize, conv: Conv) -> usize {
        let Conv {
            outputs,
            kernel,
            stride,
            pad,
            groups,
        } = conv;
        let (c, h) = (self.nodes[input].shape[1], self.nodes[input].shape[2]);
        let (per, o) = (c / groups, (h + 2 * pad - kernel) / stride + 1);
        let spatial = |strides: Vec<i64>| Axis {
            extent: h as u32,
            offset: -(pad as i64),
            strides,
        };
        let s = stride as i64;
        let patches = View {
            loops: [groups, o, o, per, kernel, kernel]
                .map(|l| l as u32)
                .to_vec(),
            axes: vec![
                Axis {
                    extent: c as u32,
                    offset: 0,
                    strides: vec![per as i64, 0, 0, 1, 0, 0],
                },
                spatial(vec![0, s, 0, 0, 1, 0]),
                spatial(vec![0, 0, s, 0, 0, 1]),
            ],
        };
        let inputs = per * kernel * kernel;
        let linear = Linear {
            groups,
            outputs: outputs / groups,
            positions: o * o,
            inputs,
            patches,
            weights: numbers.vec(outputs * inputs, 1.5 / (inputs as f32).sqrt()),
            bias: numbers.vec(outputs, 0.2),
        };
        self.add(Op::Linear(linear), &[input], &[1, outputs, o, o])
    }

    fn windows(
        &self,
        input: usize,
        kernel: usize,
        stride: usize,
        pad: usize,
    ) -> (View, usize, usize) {
        let (c, h) = (self.nodes[input].shape[1], self.nodes[input].shape[2]);
        let o = (h + 2 * pad - kernel) / stride + 1;
        let s = stride as i64;
        let spatial = |strides: Vec<i64>| Axis {
            extent: h as u32,
            offset: -(pad as i64),
            strides,
        };
        let view = View {
            loops: [c, o, o, kernel, kernel].map(|l| l as u32).to_vec(),
            axes: vec![
                Axis {
                    extent: c as u32,
                    offset: 0,
                    strides: vec![1, 0, 0, 0, 0],
                },
                spatial(vec![0, s, 0, 1, 0]),
                spatial(vec![0, 0, s, 0, 1]),
            ],
        };
        (view, c, o)
    }

    fn maxpool(&mut self, input: usize, kernel: usize, stride: usize, pad: usize) -> usize {
        let (windows, c, o) = self.windows(input, kernel, stride, pad);
        self.add(
            Op::Max {
                windows,
                window: kernel * kernel,
            },
            &[input],
            &[1, c, o, o],
        )
    }

    fn avgpool(&mut self, input: usize, kernel: usize) -> usize {
        let (view, c, o) = self.windows(input, kernel, kernel, 0);
        let k = kernel * kernel;
        let view = self.add(Op::View(view), &[input], &[c, o, o, k]);
        let sum = self.add(Op::Sum { group: k }, &[view], &[1, c, o, o]);
        self.add(
            Op::Affine {
                scale: vec![1.0 / k as f32],
                shift: vec![0.0],
            },
            &[sum],
            &[1, c, o, o],
        )
    }

    fn activation(&mut self, activation: Activation, input: usize) -> usize {
        self.op(Op::Activation(activation), &[input])
    }

    fn relu(&mut self, input: usize) -> usize {
        self.activation(Activation::Relu, input)
    }

    /// An operation that keeps the shape of its first operand.
    fn op(&mut self, op: Op, inputs: &[usize]) -> usize {
        let shape = self.nodes[inputs[0]].shape.clone();
        self.add(op, inputs, &shape)
    }

    fn finish(self, outputs: &[usize]) -> Graph {
        Graph {
            nodes: self.nodes,
            inputs: self.inputs,
            outputs: outputs.to_vec(),
        }
    }
}

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
        zkinfer_circuits::hints::check(&model.program, &expanded).unwrap();
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

#[test]
fn bad_arguments_are_typed_errors() {
    let build = |weight: f32| {
        let (mut b, mut r) = (Builder::default(), Numbers(21));
        let x = b.input(&[1, 4]);
        let y = b.dense(&mut r, x, 3);
        if let Op::Linear(l) = &mut b.nodes[y].op {
            l.weights[5] = weight;
        }
        b.finish(&[y])
    };
    let options = QuantizeOptions::default();
    let sample = vec![vec![vec![0.1, 0.2, 0.3, 0.4]]];
    assert!(quantize(&build(0.5), &sample, &options).is_ok());
    assert_eq!(
        quantize(&build(0.5), &[], &options).unwrap_err(),
        QuantizeError::NoCalibration
    );
    assert!(matches!(
        quantize(&build(f32::NAN), &sample, &options),
        Err(QuantizeError::NotFinite { .. })
    ));
    assert!(matches!(
        quantize(&build(0.5), &[vec![vec![0.1]]], &options),
        Err(QuantizeError::Calibration { sample: 0, .. })
    ));
    let wide = options.clone().with_range_bits(15);
    assert!(matches!(
        quantize(&build(0.5), &sample, &wide),
        Err(QuantizeError::Option { .. })
    ));
    let negative = options.with_headroom(-1.0);
    assert!(matches!(
        quantize(&build(0.5), &sample, &negative),
        Err(QuantizeError::Option { .. })
    ));
}

#[test]
fn inputs_are_checked() {
    let (mut b, mut r) = (Builder::default(), Numbers(22));
    let x = b.input(&[1, 4]);
    let y = b.dense(&mut r, x, 3);
    let graph = b.finish(&[y]);
    // One is reached often: a bound of the domain, so the largest integer.
    let samples = vec![
        vec![vec![0.0, 0.2, 0.5, 1.0]],
        vec![vec![0.0, 1.0, 0.4, 0.9]],
    ];
    let model = quantize(&graph, &samples, &QuantizeOptions::default()).unwrap();
    assert!(
        model
            .quantize_inputs(&[vec![0.0, 0.0, 0.0, 2.0]], false)
            .is_err()
    );
    assert_eq!(
        model
            .quantize_inputs(&[vec![0.0, 0.0, 0.0, 2.0]], true)
            .unwrap()[0][3],
        4095
    );
    assert!(
        model
            .quantize_inputs(&[vec![f32::NAN, 0.0, 0.0, 0.0]], true)
            .is_err()
    );
    assert!(model.quantize_inputs(&[vec![0.0; 3]], true).is_err());
    assert!(model.quantize_inputs(&[], true).is_err());
}

/// Input → one table, calibrated with a single sample, so with wide margins.
fn one_table(op: ScalarOp, sample: &[f32]) -> (Graph, QuantizedModel, Vec<Vec<Vec<f32>>>) {
    let mut b = Builder::default();
    let x = b.input(&[1, sample.len()]);
    let y = b.activation(
        Activation::Scalar(ScalarFn::Apply(op, Box::new(ScalarFn::X))),
        x,
    );
    let (graph, samples) = (b.finish(&[y]), vec![vec![sample.to_vec()]]);
    let model = quantize(&graph, &samples, &QuantizeOptions::default()).unwrap();
    (graph, model, samples)
}

#[test]
fn margins_do_not_blow_up_steep_functions() {
    for op in [
        ScalarOp::Exp,
        ScalarOp::Sinh,
        ScalarOp::Cosh,
        ScalarOp::Square,
        ScalarOp::Recip,
    ] {
        let (graph, model, samples) = one_table(op, &[0.5, 1.0, 1.5, 2.0, 2.5]);
        let report = evaluate(&graph, &model, &samples, &[]).unwrap();
        assert_eq!(report.out_of_range, vec![], "{op:?}");
        assert!(
            report.outputs[0].relative_error < 0.003,
            "{op:?} {report:#?}"
        );
    }
    // What the table leaves out is refused by the run, not answered wrongly.
    let (_, model, _) = one_table(ScalarOp::Exp, &[0.5, 1.0, 1.5, 2.0, 2.5]);
    let expanded = model.program.expand(&ProgramLimits::default()).unwrap();
    let top = vec![vec![4095; 5]];
    assert!(f64::from(model.inputs[0].dequantize(&top[0]).unwrap()[0]) > 6.0);
    assert!(model.run(&expanded, &top).is_err());
}

#[test]
fn hard_bounds_far_from_zero_stay_inside() {
    for (low, high) in [
        (5.0, 8.0),
        (-8.0, -5.0),
        (-0.42, 2.8),
        (0.4236548, 0.7152),
        (0.0, 1.0),
        (-1.0, 1.0),
        (900.0, 1000.0),
    ] {
        let mut b = Builder::default();
        let x = b.input(&[1, 3]);
        let graph = b.finish(&[x]);
        let samples = vec![vec![vec![low, (low + high) / 2.0, high]]; 10];
        let model = quantize(&graph, &samples, &QuantizeOptions::default()).unwrap();
        let integers = model.quantize_inputs(&samples[0], false).unwrap();
        let reals = model.inputs[0].dequantize(&integers[0]).unwrap();
        for (got, want) in reals.iter().zip(&samples[0][0]) {
            assert!(
                (got - want).abs() <= (high - low) / 4000.0,
                "{low} {high}: {reals:?}"
            );
        }
    }
}

#[test]
fn narrow_range_far_from_zero() {
    // A mean that does not vary in calibration.
    let mut b = Builder::default();
    let x = b.input(&[1, 12]);
    let sum = b.add(Op::Sum { group: 12 }, &[x], &[1, 1]);
    let graph = b.finish(&[sum]);
    let samples = vec![vec![Numbers(5).vec(12, 9.0)]];
    let model = quantize(&graph, &samples, &QuantizeOptions::default()).unwrap();
    let report = evaluate(&graph, &model, &samples, &[]).unwrap();
    assert!(
        report.out_of_range.is_empty() && report.outputs[0].relative_error < 0.01,
        "{report:#?}"
    );
}

/// The models that quantization must take with 12 bits: mean output error at most 0.3 % of the output range, the same top
/// class for at least 99 % of the samples.
const MODELS: &[&str] = &[
    "ladder/mlp_ladder_1k",
    "ladder/mlp_ladder_10k",
    "ladder/mlp_ladder_100k",
    "ladder/mlp_ladder_1m",
    "ladder/mlp_ladder_4m",
    "ladder/deepprove_cnn_62k",
    "ladder/deepprove_cnn_264k",
    "ladder/deepprove_mlp_d5_w100",
    "ladder/deepprove_mlp_d5_w1000_4m",
    "ladder/cnn_2_4_8_mnist",
    "ladder/vgg_cifar_300k",
    "ladder/resnet8_cifar",
    "trained/lenet5_mnist",
    "trained/cnn_bn_digits8",
    "trained/dscnn_relu6_mnist",
    "trained/mlp_digits_64_32_10",
    "trained/mlp_wine_bn_gelu",
    "trained/logreg_torch_breast_cancer",
    "trained/ae_anomaly_breast_cancer",
    "trained/conv_ae_mnist",
    "pretrained/zkml_mnist_cnn",
    "pretrained/cntk_mnist",
    "pretrained/mlperf_tiny_ad_autoencoder_fp32",
];

/// Quantizes with the first half of the stored samples and evaluates on all.
fn corpus_report(path: &Path, bits: u32) -> Result<(QuantizedModel, Report), String> {
    let bytes = std::fs::read(path.join("network.onnx")).map_err(|e| e.to_string())?;
    let graph = Graph::from_onnx(&bytes).map_err(|e| e.to_string())?;
    let samples = Samples::load(path.join("samples.npz"), &graph.input_lens())
        .map_err(|e| e.to_string())?
        .inputs;
    let calibration = &samples[..samples.len().div_ceil(2)];
    let options = QuantizeOptions::default().with_range_bits(bits);
    let model = quantize(&graph, calibration, &options).map_err(|e| e.to_string())?;
    let report = evaluate(&graph, &model, &samples, &[]).map_err(|e| e.to_string())?;
    Ok((model, report))
}

#[test]
fn corpus_models() {
    let Some(models) = corpus::corpus("models") else {
        return;
    };
    let chosen = std::env::var("ZKINFER_MODELS").ok();
    let names: Vec<&str> = chosen
        .as_deref()
        .map_or_else(|| MODELS.to_vec(), |c| c.split(',').collect());
    let all_bits = std::env::var("ZKINFER_BITS").map_or(vec![12], |b| {
        b.split(',').map(|b| b.parse().expect("bits")).collect()
    });
    let detail = std::env::var("ZKINFER_DETAIL").is_ok();
    let mut failures = Vec::new();
    for name in names {
        for &bits in &all_bits {
            let start = std::time::Instant::now();
            let (model, report) = match corpus_report(&models.join(name), bits) {
                Ok(done) => done,
                Err(e) => {
                    eprintln!("{name:42} T={bits} {e}");
                    failures.push(name.to_owned());
                    continue;
                }
            };
            let error = report
                .outputs
                .iter()
                .map(|o| o.relative_error)
                .fold(0.0, f64::max);
            let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
            for node in &model.program.nodes {
                if let Node::Neurons(n) = node {
                    let u = &n.unit;
                    let kind = format!(
                        "{}{}{}{}",
                        ["", "low "][usize::from(u.low)],
                        ["", "high "][usize::from(u.high)],
                        u.window,
                        ["", " table"][usize::from(!u.tables.is_empty())]
                    );
                    *kinds.entry(kind).or_default() += n.len();
                }
            }
            eprintln!(
                "{name:42} T={bits} samples {:3} out of range {:2} error {:.3} % (max {:.4} of {:.3}) agree {:.1} % neurons {kinds:?} {:.1} s",
                report.samples,
                report.out_of_range.len(),
                error * 100.0,
                report
                    .outputs
                    .iter()
                    .map(|o| o.max_error)
                    .fold(0.0, f64::max),
                report.outputs.iter().map(|o| o.range).fold(0.0, f64::max),
                report.top_class_agreement * 100.0,
                start.elapsed().as_secs_f64(),
            );
            for (sample, reason) in report.out_of_range.iter().take(3) {
                eprintln!("    sample {sample}: {reason}");
            }
            if detail {
                for l in &report.layers {
                    eprintln!(
                        "    {:30} {:12} {:6} step {:.2e}..{:.2e} range {:.3?} fill {:.2} error {:.3} %",
                        l.name,
                        l.unit,
                        l.neurons,
                        l.scale_min,
                        l.scale_max,
                        l.calibrated,
                        l.fill,
                        l.relative_error * 100.0
                    );
                }
            }
            // Autoencoders have no classes.
            let classes = !name.contains("ae_") && !name.contains("autoencoder");
            let agrees = !classes || report.top_class_agreement >= 0.99;
            // Known gap: two of this model's samples are anomalies, up to 9 standard deviations out, that half of the data
            // does not prepare for. They are refused with an error.
            let refused = if *name == *"trained/ae_anomaly_breast_cancer" {
                2
            } else {
                0
            };
            let good = report.out_of_range.len() <= refused && error <= 0.003 && agrees;
            if bits == 12 && !good {
                failures.push(name.to_owned());
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}
