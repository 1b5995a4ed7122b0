//! Masks. A logit that must not count has −10⁹, the least number of 32 bits or the like added to it, or put in its place. Next
//! to such numbers no integer would tell the other logits apart, and only their place below all others matters: so they are made
//! as large as they have to be, where nothing but a softmax, a maximum or the index of one sees them. A maximum shows its mask
//! where all that it compares is masked: only masks of which calibration never saw that are changed, and the integers refuse it.

use std::collections::{HashMap, HashSet};

use crate::graph::{Activation, Graph, NodeId, Op, ScalarFn};

/// From this size on a constant is meant as "not at all".
const FILL: f64 = 1e4;
/// How far below the least logit a masked one is at least: its probability is less than any integer tells.
const DEPTH: f64 = 64.0;

/// A graph whose masks are as large as they have to be.
pub(super) struct Tamed {
    pub graph: Graph,
    /// Of every softmax, maximum and index of a maximum that sees masks.
    pub fills: HashMap<NodeId, Fill>,
}

/// The masks that an operation sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fill {
    pub size: f64,
    /// Whether they are the same in every run.
    pub fixed: bool,
}

/// `None` where there is nothing to do.
pub(super) fn tame(graph: &Graph, samples: &[Vec<Vec<f32>>]) -> Option<Tamed> {
    let (heads, sources) = masks(graph)?;
    let mut reach = vec![(f64::INFINITY, f64::NEG_INFINITY); heads.len()];
    let mut sources: Vec<NodeId> = sources.into_iter().collect();
    sources.sort_unstable();
    for sample in samples {
        let values = graph.run(sample).ok()?;
        sources.retain(|&s| is_choice(&graph.nodes[s].op, &values[s]));
        for (reach, &head) in reach.iter_mut().zip(&heads) {
            let &input = graph.nodes[head].inputs.first()?;
            let is_masked = |v: &f32| f64::from(v.abs()) >= FILL / 2.0;
            if matches!(graph.nodes[head].op, Op::Max { .. }) && values[head].iter().any(is_masked)
            {
                let shown = behind(graph, input);
                sources.retain(|s| !shown.contains(s));
            }
            for v in values.get(input)?.iter().map(|&v| f64::from(v)) {
                if v.abs() < FILL / 2.0 {
                    *reach = (reach.0.min(v), reach.1.max(v));
                }
            }
        }
    }
    if sources.is_empty() {
        return None;
    }
    // Every source is as large as the most demanding of those that see it asks for.
    let mut sizes: HashMap<NodeId, f64> = HashMap::new();
    let mut seen: Vec<(NodeId, Vec<NodeId>)> = Vec::new();
    for (&head, reach) in heads.iter().zip(&reach) {
        let &input = graph.nodes[head].inputs.first()?;
        let mut of_head: Vec<NodeId> = behind(graph, input).into_iter().collect();
        of_head.retain(|n| sources.contains(n));
        let size = size(&graph.nodes[head].op, (reach.1 - reach.0).max(0.0));
        for source in &of_head {
            let largest = sizes.entry(*source).or_default();
            *largest = size.max(*largest);
        }
        seen.push((head, of_head));
    }
    let mut tamed = graph.clone();
    for (&source, &size) in &sizes {
        resize(&mut tamed.nodes[source].op, size);
    }
    let fill = |sources: Vec<NodeId>| {
        let size = sources.iter().map(|s| sizes[s]).reduce(f64::max)?;
        let fixed = sources.iter().all(|&s| is_fixed(&graph.nodes[s].op));
        Some(Fill { size, fixed })
    };
    let fills = seen
        .into_iter()
        .filter_map(|(head, s)| Some((head, fill(s)?)));
    Some(Tamed {
        fills: fills.collect(),
        graph: tamed,
    })
}

/// How large a mask has to be for an operation whose unmasked operands are `width` apart, as a power of two.
fn size(op: &Op, width: f64) -> f64 {
    let size = match op {
        Op::Softmax { .. } => 2.0 * width + DEPTH,
        // Only the order matters; equal numbers say nothing of a unit.
        _ if width > 0.0 => 4.0 * width,
        _ => DEPTH,
    };
    size.log2().ceil().exp2()
}

/// Operations that a mask goes through.
fn passes(op: &Op) -> bool {
    match op {
        Op::View(_) | Op::Add | Op::Concat => true,
        // A bias.
        Op::Affine { scale, .. } => largest(op) < FILL && scale.iter().all(|s| *s == 1.0),
        _ => false,
    }
}

fn ends(op: &Op) -> bool {
    matches!(op, Op::Softmax { .. } | Op::ArgMax { .. } | Op::Max { .. })
}

/// What a node's value is a sum or an arrangement of.
fn behind(graph: &Graph, node: NodeId) -> HashSet<NodeId> {
    let (mut found, mut open) = (HashSet::new(), vec![node]);
    while let Some(id) = open.pop() {
        if found.insert(id) && passes(&graph.nodes[id].op) {
            open.extend(&graph.nodes[id].inputs);
        }
    }
    found
}

/// Softmaxes, maxima and indices of maxima that see masks, and where the masks come from.
fn masks(graph: &Graph) -> Option<(Vec<NodeId>, HashSet<NodeId>)> {
    let large = |id: &NodeId| largest(&graph.nodes[*id].op) >= FILL;
    if !(0..graph.nodes.len()).any(|id| large(&id)) {
        return None;
    }
    let ending = (0..graph.nodes.len()).filter(|&id| ends(&graph.nodes[id].op));
    let ending: Vec<NodeId> = ending.collect();
    let mut sources = HashSet::new();
    for &head in &ending {
        let input = *graph.nodes[head].inputs.first()?;
        sources.extend(behind(graph, input).into_iter().filter(large));
    }
    // Nodes of which every reader ends in one.
    let mut hidden = vec![true; graph.nodes.len()];
    graph.outputs.iter().for_each(|&o| hidden[o] = false);
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        let keeps = ends(&node.op) || (passes(&node.op) && hidden[id]);
        if !keeps {
            node.inputs.iter().for_each(|&i| hidden[i] = false);
        }
    }
    sources.retain(|&s| hidden[s]);
    (!sources.is_empty()).then_some((ending, sources))
}

/// The largest constant of a result, if the operation is one that makes masks.
fn largest(op: &Op) -> f64 {
    let most = |v: &[f32]| v.iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
    match op {
        Op::Constant(v) => most(v),
        Op::Affine { scale, shift } => most(scale).max(most(shift)),
        Op::Activation(Activation::Scalar(f)) => branches(f),
        _ => 0.0,
    }
}

/// The largest constant that a choice takes.
fn branches(f: &ScalarFn) -> f64 {
    match f {
        ScalarFn::Select(_, a, b) => {
            let value = |f: &ScalarFn| match f {
                ScalarFn::Const(c) => c.abs(),
                f => branches(f),
            };
            value(a).max(value(b))
        }
        _ => 0.0,
    }
}

/// Whether what an operation masks is the same in every run.
fn is_fixed(op: &Op) -> bool {
    match op {
        Op::Constant(_) => true,
        Op::Affine { scale, .. } => scale.iter().all(|s| f64::from(s.abs()) < FILL / 2.0),
        _ => false,
    }
}

/// Whether values are masks: nothing, or a fill. A constant that is added may be anything besides.
fn is_choice(op: &Op, values: &[f32]) -> bool {
    let added = match op {
        Op::Constant(_) => true,
        Op::Affine { scale, .. } => scale.iter().all(|s| f64::from(s.abs()) < FILL),
        _ => false,
    };
    added
        || values
            .iter()
            .all(|v| *v == 0.0 || f64::from(v.abs()) >= FILL / 2.0)
}

/// Makes the largest constant of a mask this large, and others of its kind in proportion.
fn resize(op: &mut Op, fill: f64) {
    let factor = fill / largest(op);
    let shrink = |v: &mut Vec<f32>| {
        for v in v.iter_mut().filter(|v| f64::from(v.abs()) >= FILL / 2.0) {
            *v = (f64::from(*v) * factor) as f32;
        }
    };
    match op {
        Op::Constant(v) => shrink(v),
        Op::Affine { scale, shift } => {
            shrink(scale);
            shrink(shift);
        }
        Op::Activation(Activation::Scalar(f)) => shrink_branches(f, factor),
        _ => {}
    }
}

fn shrink_branches(f: &mut ScalarFn, factor: f64) {
    if let ScalarFn::Select(_, a, b) = f {
        for branch in [a, b] {
            match &mut **branch {
                ScalarFn::Const(c) if c.abs() >= FILL / 2.0 => *c *= factor,
                ScalarFn::Const(_) => {}
                inner => shrink_branches(inner, factor),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphNode;

    fn node(op: Op, inputs: &[NodeId], len: usize) -> GraphNode {
        GraphNode {
            name: String::new(),
            op,
            inputs: inputs.to_vec(),
            shape: vec![len],
            tie: None,
        }
    }

    fn masked(outputs: Vec<NodeId>) -> Graph {
        let fill = Op::Affine {
            scale: vec![f32::MAX],
            shift: vec![-f32::MAX],
        };
        Graph {
            nodes: vec![
                node(Op::Input, &[], 3),
                node(Op::Input, &[], 3),
                node(fill, &[1], 3),
                node(Op::Add, &[0, 2], 3),
                node(Op::Softmax { len: 3 }, &[3], 3),
            ],
            inputs: vec![0, 1],
            outputs,
            output_tensors: Vec::new(),
        }
    }

    #[test]
    fn a_mask_is_as_large_as_it_has_to_be_and_changes_nothing() {
        let graph = masked(vec![4]);
        let sample = vec![vec![-2.0, 0.5, 3.0], vec![1.0, 1.0, 0.0]];
        let tamed = tame(&graph, std::slice::from_ref(&sample)).expect("a mask");
        let fill = Fill {
            size: 128.0,
            fixed: false,
        };
        assert_eq!(tamed.fills[&4], fill);
        let (a, b) = (
            graph.run(&sample).unwrap(),
            tamed.graph.run(&sample).unwrap(),
        );
        assert_eq!(a[4], b[4]);
        assert_eq!(b[4][2], 0.0);
        assert_eq!(b[2], vec![0.0, 0.0, -128.0]);
    }

    #[test]
    fn a_mask_of_constants_is_fixed() {
        let mut graph = masked(vec![4]);
        graph.nodes[2].op = Op::Constant(vec![0.0, 0.0, -f32::MAX]);
        let sample = vec![vec![-2.0, 0.5, 3.0], vec![1.0, 1.0, 0.0]];
        let tamed = tame(&graph, &[sample]).expect("a mask");
        assert!(tamed.fills[&4].fixed);
    }

    #[test]
    fn a_mask_that_somebody_sees_stays() {
        let sample = vec![vec![-2.0, 0.5, 3.0], vec![1.0, 1.0, 0.0]];
        assert!(tame(&masked(vec![4, 3]), &[sample]).is_none());
    }

    #[test]
    fn a_large_factor_of_reals_is_no_mask() {
        let sample = vec![vec![-2.0, 0.5, 3.0], vec![0.3, 1.0, 0.0]];
        let mut graph = masked(vec![4]);
        graph.nodes[2].op = Op::Affine {
            scale: vec![1.5e4],
            shift: vec![0.0],
        };
        assert!(tame(&graph, &[sample]).is_none());
    }
}
