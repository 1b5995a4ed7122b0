//! Clamping what lies beyond a range, and ranges of typical samples.

use super::builder::{Builder, Numbers};
use crate::common::proof::prove_and_verify;
use zkinfer::data::Samples;
use zkinfer::graph::{Activation, Graph, Op};
use zkinfer::model::QuantizedModel;
use zkinfer::quantize::{CompileError, Doubt, QuantizeOptions, quantize};
use zkinfer_circuits::program::{ProgramLimits, View};

/// Two dense layers, a maximum and a table, of four inputs.
fn graph() -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(5));
    let x = b.input(&[1, 4]);
    let y = b.dense(&mut r, x, 8);
    let y = b.activation(Activation::Relu, y);
    let y = b.dense(&mut r, y, 6);
    let square = Op::Product {
        left: View::identity(6),
        right: View::identity(6),
        group: 1,
    };
    let y = b.add(square, &[y, y], &[1, 6]);
    let y = b.dense(&mut r, y, 4);
    let windows = Op::Max {
        windows: View::identity(4),
        window: 2,
    };
    let y = b.add(windows, &[y], &[1, 2]);
    let z = b.dense(&mut r, y, 3);
    b.finish(&[z])
}

/// A LeakyRelu between dense layers, of four inputs.
fn leaky() -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(15));
    let x = b.input(&[1, 4]);
    let y = b.dense(&mut r, x, 8);
    let y = b.activation(Activation::LeakyRelu(vec![0.1]), y);
    let z = b.dense(&mut r, y, 3);
    b.finish(&[z])
}

fn samples(count: usize) -> Vec<Vec<Vec<f32>>> {
    let mut numbers = Numbers(6);
    (0..count).map(|_| vec![numbers.vec(4, 1.0)]).collect()
}

fn saturating() -> QuantizeOptions {
    QuantizeOptions::default().with_saturate(true)
}

fn outputs(model: &QuantizedModel, sample: &[Vec<f32>]) -> (Vec<f32>, usize) {
    let expanded = model.program.expand(&ProgramLimits::default()).unwrap();
    let integers = model.quantize_inputs(sample, true).unwrap();
    let trace = model.run(&expanded, &integers).unwrap();
    let clamped = model.saturated(&trace).iter().map(|s| s.1).sum();
    let mut outputs = model.dequantize_outputs(&expanded, &trace).unwrap();
    (outputs.remove(0), clamped)
}

/// Mean error over the mean magnitude of results.
fn error(graph: &Graph, model: &QuantizedModel, samples: &[Vec<Vec<f32>>]) -> f64 {
    let (mut off, mut size) = (0.0, 0.0);
    for sample in samples {
        let want = graph.outputs_of(&graph.run(sample).unwrap()).remove(0);
        for (g, w) in outputs(model, sample).0.iter().zip(&want) {
            off += f64::from((g - w).abs());
            size += f64::from(w.abs());
        }
    }
    off / size
}

#[test]
fn nothing_is_clamped_in_range() {
    let (graph, samples) = (graph(), samples(32));
    let plain = quantize(&graph, &samples, &QuantizeOptions::default()).unwrap();
    let model = quantize(&graph, &samples, &saturating()).unwrap();
    for sample in &samples {
        assert_eq!(outputs(&plain, sample).1, 0);
        assert_eq!(outputs(&model, sample).1, 0);
    }
    assert!(error(&graph, &plain, &samples) < 0.005);
    assert!(error(&graph, &model, &samples) < 0.005);
}

#[test]
fn what_lies_beyond_is_clamped_and_counted() {
    let mut samples = samples(32);
    for sample in &mut samples {
        sample[0].iter_mut().for_each(|v| *v *= 0.6);
    }
    samples.push(vec![vec![1.0, 0.0, 0.0, 0.0]]);
    samples.push(vec![vec![-1.0, 0.0, 0.0, 0.0]]);
    // Inputs that fit, and lead where no sample was, but not further than clamps reach.
    let corner = |signs: u32, size: f32| -> Vec<Vec<f32>> {
        let sign = |i: u32| if signs >> i & 1 == 0 { size } else { -size };
        vec![(0..4).map(sign).collect()]
    };
    let some = [0b1010, 0b0001].map(|c| corner(c, 1.0)).to_vec();
    let all = (0..16).map(|c| corner(c, 0.8)).collect();
    let tight = |saturate| {
        QuantizeOptions::default()
            .with_headroom(0.0)
            .with_saturate(saturate)
    };
    let cases: [(_, _, Vec<_>); 2] = [("graph", graph(), some), ("leaky", leaky(), all)];
    for (name, graph, far) in cases {
        let plain = quantize(&graph, &samples, &tight(false)).unwrap();
        let model = quantize(&graph, &samples, &tight(true)).unwrap();
        let expanded = plain.program.expand(&ProgramLimits::default()).unwrap();
        let mut clamped = Vec::new();
        for sample in &far {
            let integers = plain.quantize_inputs(sample, true).unwrap();
            let refused = plain.run(&expanded, &integers).is_err();
            let counted = outputs(&model, sample).1;
            assert_eq!(refused, counted > 0, "{name}: {sample:?}");
            if refused {
                clamped.push(sample);
            }
        }
        // Of such an answer there is a proof like of any other.
        let last = clamped.pop().expect("some are out of range");
        prove_and_verify(model, name, last).unwrap();
    }
}

/// One sample with an input a thousand times as large as all others.
#[test]
fn a_sample_that_strays_in_an_input_costs_the_others_nothing() {
    let (graph, mut all) = (graph(), samples(32));
    let typical = all.clone();
    all[11][0][2] = 1000.0;
    let plain = quantize(&graph, &all, &QuantizeOptions::default()).unwrap();
    let model = quantize(&graph, &all, &saturating()).unwrap();
    assert!(error(&graph, &plain, &typical) > 0.05);
    assert!(error(&graph, &model, &typical) < 0.005);

    let data = Samples {
        inputs: all,
        ..Samples::default()
    };
    let refused = graph.compile(&data, &QuantizeOptions::default());
    let Err(CompileError::Doubtful(doubts)) = refused else {
        panic!("it was taken");
    };
    let stray = doubts.iter().find_map(|d| match d {
        Doubt::Stray { sample, layer, .. } => Some((*sample, layer.as_str())),
        _ => None,
    });
    assert_eq!(stray, Some((11, "n0")));
    let compiled = graph.compile(&data, &saturating()).unwrap();
    assert_eq!(compiled.report.out_of_range.len(), 1);
    assert_eq!(compiled.report.out_of_range[0].0, 11);
    assert_eq!(compiled.report.inputs_out_of_range, 1);
}

/// A product that is forty times as large in one sample as in all others, of inputs that are not.
#[test]
fn a_sample_that_strays_inside_is_clamped() {
    let mut b = Builder::default();
    let (x, y) = (b.input(&[1, 4]), b.input(&[1, 4]));
    let product = Op::Product {
        left: View::identity(4),
        right: View::identity(4),
        group: 4,
    };
    let dot = b.add(product, &[x, y], &[1, 1]);
    let mut r = Numbers(9);
    let z = b.dense(&mut r, dot, 3);
    let graph = b.finish(&[z]);
    let mut numbers = Numbers(10);
    let mut all: Vec<Vec<Vec<f32>>> = (0..32)
        .map(|_| {
            let x = numbers.vec(4, 1.0);
            // Nearly orthogonal.
            let y = vec![x[1] + 0.05 * numbers.next(), -x[0], x[3], -x[2]];
            vec![x, y]
        })
        .collect();
    let typical = all.clone();
    all[20] = vec![vec![1.0; 4], vec![1.0; 4]];
    let plain = quantize(&graph, &all, &QuantizeOptions::default()).unwrap();
    let model = quantize(&graph, &all, &saturating()).unwrap();
    let (before, after) = (
        error(&graph, &plain, &typical),
        error(&graph, &model, &typical),
    );
    assert!(after < before, "{before} {after}");
    // It has an answer all the same, at the end of the range.
    let (got, clamped) = outputs(&model, &all[20]);
    assert!(clamped > 0 && got.iter().all(|v| v.is_finite()));
}
