//! Rows of tables by numbers that are activations: exact rows, also those that calibration did not see; numbers that are computed,
//! negative, or of more bits than a cell has; a proof.

use crate::common::proof;
use crate::quantize::builder::{Builder, Numbers};
use zkinfer::graph::{Gather, Graph, Op};
use zkinfer::model::QuantizedModel;
use zkinfer::quantize::QuantizeOptions;
use zkinfer_circuits::program::{Node, ProgramLimits, Weights};

const WIDTH: usize = 3;

fn table(rows: usize) -> Vec<f32> {
    let mut numbers = Numbers(5);
    let mut table = numbers.vec(WIDTH * rows, 2.0);
    // A row that calibration does not see, larger than all that it does.
    table[rows - 2] = 9.0;
    table
}

/// `[WIDTH][words]` rows of a table of so many.
pub fn embedding(words: usize, rows: usize) -> Graph {
    let mut b = Builder::default();
    let x = b.input(&[words]);
    let gather = Gather {
        outputs: WIDTH,
        rows,
        weights: table(rows),
    };
    let y = b.add(Op::Gather(gather), &[x], &[WIDTH, words]);
    b.finish(&[y])
}

pub fn words(count: usize, rows: usize, samples: usize) -> Vec<Vec<Vec<f32>>> {
    let number = |i: usize| ((i * 7919 + 13) % (rows - 4)) as f32;
    let sample = |s: usize| (0..count).map(|i| number(s * count + i)).collect();
    (0..samples).map(|s| vec![sample(s)]).collect()
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

fn gathers(model: &QuantizedModel) -> usize {
    let neurons = model.program.nodes.iter().filter_map(|n| match n {
        Node::Neurons(n) => Some(n),
        _ => None,
    });
    let terms = neurons.flat_map(|n| &n.terms);
    terms.filter(|t| t.weights == Weights::Gathered).count()
}

/// Every row, within half a step and what the correction of biases moves.
#[track_caller]
fn assert_rows(graph: &Graph, model: &QuantizedModel, sample: &[Vec<f32>]) {
    let values = graph.run(sample).unwrap();
    let wanted = &graph.outputs_of(&values)[0];
    let found = run(model, sample).unwrap();
    for (i, (w, f)) in wanted.iter().zip(&found).enumerate() {
        let step = model.outputs[0].scale_at(i) as f32;
        assert!(
            (w - f).abs() <= 0.75 * step,
            "element {i}: {w}, {f}, step {step}"
        );
    }
}

#[test]
fn all_rows_are_exact_also_those_that_calibration_did_not_see() {
    for rows in [600, 5000] {
        let graph = embedding(4, rows);
        let options = QuantizeOptions::default();
        let model = graph.quantize(&words(4, rows, 8), &options).unwrap();
        assert_eq!(
            (gathers(&model), model.program.input_len()),
            (1, if rows > 4096 { 8 } else { 4 })
        );
        for first in (0..rows).step_by(97) {
            let number = |i: usize| ((first + i) % rows) as f32;
            assert_rows(&graph, &model, &[(0..4).map(number).collect()]);
        }
        let last = rows as f32 - 1.0;
        assert_rows(&graph, &model, &[vec![last, last - 1.0, 0.0, 1.0]]);
        let beyond = run(&model, &[vec![rows as f32, 0.0, 0.0, 0.0]]).unwrap_err();
        assert!(
            beyond.contains(&format!("row {rows} is looked up, of rows 0..{rows}")),
            "{beyond}"
        );
    }
}

#[test]
fn negative_numbers_count_from_the_end() {
    let graph = embedding(2, 700);
    let mut samples = words(2, 700, 8);
    samples[3][0][1] = -1.0;
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    for number in [-700.0, -699.0, -1.0, 0.0, 1.0, 350.0, 699.0] {
        assert_rows(&graph, &model, &[vec![number, -number.abs().min(700.0)]]);
    }
    assert!(run(&model, &[vec![700.0, 0.0]]).is_err());
}

/// The number of the largest element, and the row of that number; twice the same table.
#[test]
fn numbers_may_be_computed() {
    let (runs, len) = (2, 40);
    let mut b = Builder::default();
    let x = b.input(&[runs, len]);
    let number = b.add(Op::ArgMax { len }, &[x], &[runs]);
    let gather = || {
        Op::Gather(Gather {
            outputs: WIDTH,
            rows: len,
            weights: table(len),
        })
    };
    let first = b.add(gather(), &[number], &[WIDTH, runs]);
    let second = b.add(gather(), &[number], &[WIDTH, runs]);
    let sum = b.add(Op::Add, &[first, second], &[WIDTH, runs]);
    let graph = b.finish(&[sum]);
    let mut numbers = Numbers(9);
    let samples: Vec<Vec<Vec<f32>>> = (0..16)
        .map(|_| vec![numbers.vec(runs * len, 1.0)])
        .collect();
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    assert_eq!(gathers(&model), 2);
    samples.iter().for_each(|s| assert_rows(&graph, &model, s));
}

#[test]
fn words_of_a_large_vocabulary_are_proven() {
    let graph = embedding(3, 20_000);
    let samples = words(3, 20_000, 4);
    let model = graph
        .quantize(&samples, &QuantizeOptions::default())
        .unwrap();
    assert_eq!(model.inputs[0].low_bits, 12);
    assert_rows(&graph, &model, &samples[1]);
    proof::prove_and_verify(model, "words", &samples[1]).unwrap();
}
