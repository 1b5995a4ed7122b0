//! Numbers of hidden activations that were made secret: zero points as results of hidden neurons, the factor of softmax logits
//! as a committed weight. An honest run of a quantized attention verifies; runs with another such number are refused.

use super::families::{Lie, tell};
use super::zoo::secret_of;
use crate::secret::Secret;
use zkinfer_circuits::error::Rejection;
use zkinfer_circuits::program::{Axis, Neurons, Node, View, Weights};
use zkinfer_model::graph::{Graph, GraphNode, Linear, MatMul, Op};
use zkinfer_model::model::QuantizedModel;
use zkinfer_model::quantize::{QuantizeOptions, quantize};
use zkinfer_model::run::HintSolver;

const BITS: u32 = 8;
const TOKENS: usize = 3;
const WIDTH: usize = 4;

fn view(loops: [usize; 2], strides: [i64; 2]) -> View {
    View {
        loops: loops.map(|l| l as u32).to_vec(),
        axes: vec![Axis {
            extent: (TOKENS * WIDTH) as u32,
            offset: 0,
            strides: strides.to_vec(),
        }],
    }
}

/// `softmax(q·kᵀ)` of two projections, `[WIDTH][TOKENS]` each.
fn attention() -> QuantizedModel {
    let node = |op, inputs: &[usize], shape: &[usize]| GraphNode {
        name: format!("{inputs:?}"),
        op,
        inputs: inputs.to_vec(),
        shape: shape.to_vec(),
        tie: None,
    };
    let step = TOKENS as i64;
    let projection = |first: usize| {
        let weight = |i: usize| ((i * 7 + first) % 11) as f32 / 11.0 - 0.4;
        Op::Linear(Linear {
            groups: 1,
            outputs: WIDTH,
            positions: TOKENS,
            inputs: WIDTH,
            patches: view([TOKENS, WIDTH], [1, step]),
            weights: (0..WIDTH * WIDTH).map(weight).collect(),
            bias: vec![0.5, -0.3, 0.2, 0.6],
        })
    };
    let product = MatMul {
        groups: 1,
        outputs: TOKENS,
        positions: TOKENS,
        inputs: WIDTH,
        left: view([TOKENS, WIDTH], [1, step]),
        right: view([TOKENS, WIDTH], [1, step]),
    };
    let nodes = vec![
        node(Op::Input, &[], &[WIDTH, TOKENS]),
        node(projection(1), &[0], &[WIDTH, TOKENS]),
        node(projection(4), &[0], &[WIDTH, TOKENS]),
        node(Op::MatMul(product), &[1, 2], &[TOKENS, TOKENS]),
        node(Op::Softmax { len: TOKENS }, &[3], &[TOKENS, TOKENS]),
    ];
    let graph = Graph {
        nodes,
        inputs: vec![0],
        outputs: vec![4],
        output_tensors: Vec::new(),
    };
    let sample = |s: usize| {
        vec![
            (0..12)
                .map(|i| ((i * 5 + s * 3) % 13) as f32 / 6.0 - 1.0)
                .collect(),
        ]
    };
    let samples: Vec<Vec<Vec<f32>>> = (0..13).map(sample).collect();
    quantize(
        &graph,
        &samples,
        &QuantizeOptions::default().with_range_bits(BITS),
    )
    .unwrap()
}

fn committed(model: &QuantizedModel, is: fn(&Neurons) -> bool) -> usize {
    let node = model.program.nodes.iter().position(|n| match n {
        Node::Neurons(n) => is(n),
        _ => false,
    });
    let node = node.unwrap() as u32;
    model.weights.iter().position(|w| w.node == node).unwrap()
}

fn told(secret: &Secret, other: QuantizedModel) -> (Result<(), Rejection>, Vec<String>) {
    let other = secret_of(other, 9, 5);
    let input = vec![(0..12).map(|i| (i * 37 + 20) % 200).collect()];
    let run = other.infer_integers(&input).unwrap();
    let mut lie = Lie::default();
    let verdict = tell(secret, &run, &mut lie).map(|_| ());
    (verdict, lie.violated)
}

#[test]
fn hidden_numbers_of_activations_are_bound() {
    let model = attention();
    let secret = secret_of(model.clone(), 9, 5);
    assert_eq!(told(&secret, model.clone()), (Ok(()), Vec::new()));
    // Every zero point: of both operands, of the result.
    let zeros = committed(&model, |n| {
        n.positions == 1 && matches!(&n.terms[..], [t] if t.weights == Weights::Committed)
    });
    assert_eq!(model.weights[zeros].data.len(), 3);
    for at in 0..3 {
        let mut other = model.clone();
        other.weights[zeros].data[at] += 1 << BITS;
        let (verdict, violated) = told(&secret, other);
        assert_eq!(verdict, Err(Rejection::Circuit), "zero point {at}");
        assert_eq!(violated, ["fold: sums agree"]);
    }
    // The logits' factor.
    let factor = committed(&model, |n| n.unit.tables.len() == 2);
    let mut other = model.clone();
    other.weights[factor].data[0] -= 9;
    for HintSolver::Softmax { factor, .. } in &mut other.hints {
        *factor += 9;
    }
    let (verdict, violated) = told(&secret, other);
    assert_eq!(verdict, Err(Rejection::Circuit));
    assert_eq!(violated, ["fold: sums agree"]);
}
