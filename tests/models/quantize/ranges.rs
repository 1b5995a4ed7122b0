//! Ranges, domains and margins: what is refused, and what stays exact at their ends.

use super::builder::{Builder, Numbers};
use zkinfer::graph::{Activation, Graph, Op, ScalarFn, ScalarOp};
use zkinfer::model::QuantizedModel;
use zkinfer::quantize::{QuantizeError, QuantizeOptions, evaluate, quantize};
use zkinfer_circuits::program::ProgramLimits;

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
