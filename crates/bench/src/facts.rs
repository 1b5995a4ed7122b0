//! What decides the costs of a model, counted.

use crate::report::Facts;
use std::collections::HashSet;
use zkinfer::Secret;
use zkinfer::graph::{Graph, Op};
use zkinfer_circuits::program::Node;

/// Counts a graph and the plan of its commitment.
///
/// Multiply-adds are those of dense execution, padding included, as the field counts them. Parameters are weights and
/// biases of linear maps; what several steps of a loop share counts once. Factors that are not matrices (normalisation)
/// are not counted: quantization absorbs them.
pub fn facts(graph: &Graph, secret: &Secret) -> Facts {
    let mut facts = Facts::default();
    let mut tied = HashSet::new();
    for node in &graph.nodes {
        let len = node.len() as u64;
        match &node.op {
            Op::Linear(l) => {
                facts.multiply_adds += (l.groups * l.outputs * l.positions * l.inputs) as u64;
                if node.tie.is_none_or(|tie| tied.insert(tie)) {
                    facts.parameters += (l.weights.len() + l.bias.len()) as u64;
                }
            }
            Op::Product { group, .. } => facts.multiply_adds += len * *group as u64,
            Op::MatMul(m) => {
                facts.multiply_adds += (m.groups * m.outputs * m.positions * m.inputs) as u64;
            }
            Op::Activation(_) | Op::Max { .. } | Op::Softmax { .. } | Op::Gate => {
                facts.activations += len;
            }
            Op::ArgMax { len: run } => facts.activations += len * *run as u64,
            Op::TopK { .. } => facts.activations += len,
            _ => {}
        }
    }
    let length = |nodes: &[usize]| nodes.iter().map(|&n| graph.nodes[n].len() as u64).sum();
    facts.inputs = length(&graph.inputs);
    facts.outputs = length(&graph.outputs);

    for segment in secret.segments() {
        let plan = segment.plan();
        let neurons = plan.program.nodes.iter().map(|n| match n {
            Node::Neurons(n) => n.len() as u64,
            _ => 0,
        });
        facts.neurons += neurons.sum::<u64>();
        facts.columns += plan.layout.columns.advice() as u64;
    }
    let card = secret.card();
    facts.k = card.k;
    facts.points = card.points() as u64;
    facts.range_bits = card.range_bits();
    facts
}
