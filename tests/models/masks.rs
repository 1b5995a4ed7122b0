//! Masks that are inputs, into softmaxes, maxima and indices of maxima: right where some element counts, refused where calibration
//! never saw none.

use crate::quantize::builder::{Builder, Numbers};
use zkinfer::graph::{Graph, Op};
use zkinfer::model::QuantizedModel;
use zkinfer::quantize::QuantizeOptions;
use zkinfer_circuits::program::{Axis, ProgramLimits, View};

const ROWS: usize = 3;
const LEN: usize = 6;
const FILL: f32 = -1e9;

/// `x + (1 − mask)·(−10⁹)`, then an operation over rows.
fn masked(op: Op, results: usize) -> Graph {
    let mut b = Builder::default();
    let x = b.input(&[ROWS, LEN]);
    let mask = b.input(&[LEN]);
    let invert = Op::Affine {
        scale: vec![-FILL],
        shift: vec![FILL],
    };
    let fill = b.add(invert, &[mask], &[LEN]);
    let spread = View {
        loops: vec![ROWS as u32, LEN as u32],
        axes: vec![Axis {
            extent: LEN as u32,
            offset: 0,
            strides: vec![0, 1],
        }],
    };
    let fill = b.add(Op::View(spread), &[fill], &[ROWS, LEN]);
    let sum = b.add(Op::Add, &[x, fill], &[ROWS, LEN]);
    let y = b.add(op, &[sum], &[results]);
    b.finish(&[y])
}

fn maximum() -> Op {
    Op::Max {
        windows: View::identity(ROWS * LEN),
        window: LEN,
    }
}

/// Samples around `centre`, and masks of which at least one element counts.
fn samples(scale: f32, centre: f32, count: usize) -> Vec<Vec<Vec<f32>>> {
    let mut numbers = Numbers(77);
    let mut sample = |i: usize| {
        let x = numbers.vec(ROWS * LEN, scale);
        let x = x.into_iter().map(|v| v + centre).collect();
        let mask = (0..LEN).map(|j| f32::from(u8::from((i >> j).is_multiple_of(2))));
        let mut mask: Vec<f32> = mask.collect();
        mask[i % LEN] = 1.0;
        vec![x, mask]
    };
    (0..count).map(|i| sample(i * 5 + 1)).collect()
}

fn run(model: &QuantizedModel, sample: &[Vec<f32>]) -> Result<Vec<f32>, String> {
    let expanded = model.program.expand(&ProgramLimits::default()).unwrap();
    let integers = model
        .quantize_inputs(sample, false)
        .map_err(|e| e.to_string())?;
    let trace = model.run(&expanded, &integers).map_err(|e| e.to_string())?;
    Ok(model
        .dequantize_outputs(&expanded, &trace)
        .unwrap()
        .remove(0))
}

/// Largest difference over all samples, and of which size results are.
fn error(graph: &Graph, model: &QuantizedModel, samples: &[Vec<Vec<f32>>]) -> (f32, f32) {
    let (mut worst, mut size) = (0f32, 0f32);
    for sample in samples {
        let want = graph.outputs_of(&graph.run(sample).unwrap()).remove(0);
        let got = run(model, sample).expect("in range");
        for (g, w) in got.iter().zip(&want) {
            worst = worst.max((g - w).abs());
            size = size.max(w.abs());
        }
    }
    (worst, size)
}

#[test]
fn masked_maxima_keep_their_precision() {
    let graph = masked(maximum(), ROWS);
    for (scale, centre) in [(1.0, 0.0), (1e-3, 0.0), (1.0, -20.0), (500.0, 300.0)] {
        let samples = samples(scale, centre, 40);
        let model = graph
            .quantize(&samples, &QuantizeOptions::default())
            .unwrap();
        let (worst, _) = error(&graph, &model, &samples);
        assert!(worst < 0.006 * scale, "{scale} {centre}: {worst}");
    }
}

#[test]
fn masked_indices_are_right() {
    let graph = masked(Op::ArgMax { len: LEN }, ROWS);
    for (scale, centre) in [(1.0, 0.0), (1e-3, 0.0), (500.0, 300.0)] {
        let samples = samples(scale, centre, 40);
        let model = graph
            .quantize(&samples, &QuantizeOptions::default())
            .unwrap();
        assert_eq!(error(&graph, &model, &samples).0, 0.0, "{scale} {centre}");
    }
}

/// What is masked as a whole has no answer if calibration never saw it, and rows below all that calibration saw have none either:
/// what was cut off would stand for them.
#[test]
fn rows_of_which_nothing_is_left_are_refused() {
    for (op, results) in [
        (maximum(), ROWS),
        (Op::ArgMax { len: LEN }, ROWS),
        (Op::Softmax { len: LEN }, ROWS * LEN),
    ] {
        let graph = masked(op, results);
        let samples = samples(1.0, 0.0, 40);
        let model = graph
            .quantize(&samples, &QuantizeOptions::default())
            .unwrap();
        let all = vec![samples[0][0].clone(), vec![0.0; LEN]];
        let refused = run(&model, &all).unwrap_err();
        assert!(refused.contains("result is -"), "{refused}");
    }
    // Logits that may be far below: one row is, masked or not.
    let graph = masked(Op::Softmax { len: LEN }, ROWS * LEN);
    let mut seen = samples(1.0, 0.0, 40);
    for sample in &mut seen {
        // A first element that keeps every row's maximum near zero, whatever the others are.
        sample[1][0] = 1.0;
        for row in sample[0].chunks_mut(LEN) {
            row[0] = row[0].abs();
            row[1] -= 40.0;
        }
    }
    let model = graph.quantize(&seen, &QuantizeOptions::default()).unwrap();
    assert!(error(&graph, &model, &seen).0 < 0.01);
    let mut low = seen[0].clone();
    low[0][..LEN].fill(-35.0);
    let refused = run(&model, &low).unwrap_err();
    assert!(refused.contains("result is -"), "{refused}");
}

/// Where calibration saw rows that are masked as a whole, they are what the float model makes of them.
#[test]
fn rows_that_are_masked_as_a_whole_in_calibration_are_answered() {
    let mut samples = samples(1.0, 0.0, 40);
    samples[7][1] = vec![0.0; LEN];
    let graph = masked(Op::ArgMax { len: LEN }, ROWS);
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    assert_eq!(run(&model, &samples[7]).unwrap().len(), ROWS);
    let graph = masked(Op::Softmax { len: LEN }, ROWS * LEN);
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    for p in run(&model, &samples[7]).unwrap() {
        assert!((p - 1.0 / LEN as f32).abs() < 0.2, "{p}");
    }
}

/// One mask that a softmax and a maximum see, and a maximum and an index that read one tensor.
#[test]
fn one_mask_of_several_operations() {
    let mut b = Builder::default();
    let x = b.input(&[LEN]);
    let mask = b.input(&[LEN]);
    let invert = Op::Affine {
        scale: vec![-FILL],
        shift: vec![FILL],
    };
    let fill = b.add(invert, &[mask], &[LEN]);
    let sum = b.add(Op::Add, &[x, fill], &[LEN]);
    let softmax = b.add(Op::Softmax { len: LEN }, &[sum], &[LEN]);
    let max = Op::Max {
        windows: View::identity(LEN),
        window: LEN,
    };
    let max = b.add(max, &[sum], &[1]);
    let index = b.add(Op::ArgMax { len: LEN }, &[sum], &[1]);
    let graph = b.finish(&[softmax, max, index]);
    let samples: Vec<Vec<Vec<f32>>> = samples(2.0, 1.0, 40)
        .into_iter()
        .map(|s| vec![s[0][..LEN].to_vec(), s[1].clone()])
        .collect();
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    let expanded = model.program.expand(&ProgramLimits::default()).unwrap();
    for sample in &samples {
        let want = graph.outputs_of(&graph.run(sample).unwrap());
        let integers = model.quantize_inputs(sample, false).unwrap();
        let trace = model.run(&expanded, &integers).unwrap();
        let got = model.dequantize_outputs(&expanded, &trace).unwrap();
        let mut chances = want[0].clone();
        chances.sort_by(|a, b| b.total_cmp(a));
        let tied = chances[0] - chances[1] < 0.01;
        for ((g, w), bound) in got.iter().zip(&want).zip([0.005, 0.1, 0.0]) {
            for (g, w) in g.iter().zip(w) {
                let off = (g - w).abs();
                assert!(off <= bound || (bound == 0.0 && tied), "{got:?} {want:?}");
            }
        }
    }
}
