//! Clean-up after lowering: constants fold into the linear layers before them, and dead nodes go.

use std::collections::HashMap;

use super::{Activation, Graph, GraphNode, Linear, MatMul, NodeId, Op, Tie};
use zkinfer_circuits::program::{Axis, View};

/// Folds affine maps into the linear (or affine) node they follow, then removes what no output needs.
pub(crate) fn simplify(graph: &mut Graph) {
    // Dead nodes first: they would count as consumers.
    remove_dead(graph);
    fold_affine(graph);
    sum_squares(graph);
    remove_dead(graph);
}

/// Fewer squares are cheaper by table.
const SQUARES: usize = 8;
/// Most sums of squares of one operation.
const SUMS: usize = 1 << 15;

/// Sums of squares (norms, variances) are products of rows with themselves: whole numbers, without a table's rounding.
fn sum_squares(graph: &mut Graph) {
    let mut readers = vec![0usize; graph.nodes.len()];
    let read = graph.nodes.iter().flat_map(|n| &n.inputs);
    read.chain(&graph.outputs).for_each(|&i| readers[i] += 1);
    for id in 0..graph.nodes.len() {
        add_squares(graph, id, &readers);
        let node = &graph.nodes[id];
        let (&Op::Sum { group }, &[source]) = (&node.op, node.inputs.as_slice()) else {
            continue;
        };
        let (mut view, mut squares) = (View::identity(graph.nodes[source].len()), source);
        if let (Op::View(of_squares), &[before]) = (
            &graph.nodes[source].op,
            graph.nodes[source].inputs.as_slice(),
        ) && readers[source] == 1
        {
            (view, squares) = (of_squares.clone(), before);
        }
        let (Op::Activation(Activation::Scalar(f)), &[x]) = (
            &graph.nodes[squares].op,
            graph.nodes[squares].inputs.as_slice(),
        ) else {
            continue;
        };
        let sums = node.len();
        let few = !(1..=SUMS).contains(&sums) || group < SQUARES;
        if few || readers[squares] != 1 || !f.is_square() || node.tie.is_some() {
            continue;
        }
        graph.nodes[id].op = Op::MatMul(MatMul {
            groups: sums,
            outputs: 1,
            positions: 1,
            inputs: group,
            left: view.clone(),
            right: view,
        });
        graph.nodes[id].inputs = vec![x, x];
    }
}

/// `a² + b²` that a function alone reads, as the magnitude of a complex number does: sums of two products, for the same reason.
fn add_squares(graph: &mut Graph, id: NodeId, readers: &[usize]) {
    let node = &graph.nodes[id];
    let (Op::Add, &[a, b], None) = (&node.op, node.inputs.as_slice(), node.tie) else {
        return;
    };
    let square = |at: NodeId| match (&graph.nodes[at].op, graph.nodes[at].inputs.as_slice()) {
        (Op::Activation(Activation::Scalar(f)), &[x]) if f.is_square() && readers[at] == 1 => {
            Some(x)
        }
        _ => None,
    };
    let by_function = |n: &GraphNode| {
        matches!(n.op, Op::Activation(Activation::Scalar(_))) || !n.inputs.contains(&id)
    };
    let read = !graph.outputs.contains(&id) && graph.nodes.iter().all(by_function);
    let (Some(x), Some(y), true) = (square(a), square(b), read) else {
        return;
    };
    let len = node.len();
    if !(1..=SUMS).contains(&len) || graph.nodes[x].len() != len || graph.nodes[y].len() != len {
        return;
    }
    let (source, pairs) = match one_source(graph, [x, y]) {
        Some(one) => one,
        None => {
            // In place of the later of both squares, behind which both operands are known.
            let later = a.max(b);
            let both = &mut graph.nodes[later];
            both.op = Op::Concat;
            both.inputs = vec![x, y];
            both.shape = vec![2 * len];
            let pairs = View {
                loops: vec![len as u32, 2],
                axes: vec![Axis {
                    extent: 2 * len as u32,
                    offset: 0,
                    strides: vec![1, len as i64],
                }],
            };
            (later, pairs)
        }
    };
    graph.nodes[id].op = Op::MatMul(MatMul {
        groups: len,
        outputs: 1,
        positions: 1,
        inputs: 2,
        left: pairs.clone(),
        right: pairs,
    });
    graph.nodes[id].inputs = vec![source; 2];
}

/// Two nodes that are the same view of one source but for where it begins: that source, and the view of pairs of elements.
fn one_source(graph: &Graph, [x, y]: [NodeId; 2]) -> Option<(NodeId, View)> {
    let view = |at: NodeId| match (&graph.nodes[at].op, graph.nodes[at].inputs.as_slice()) {
        (Op::View(view), &[source]) => Some((source, view)),
        _ => None,
    };
    let ((source, first), (other, second)) = (view(x)?, view(y)?);
    let mut pairs = first.clone();
    pairs.loops.push(2);
    if source != other || first.loops != second.loops || first.axes.len() != second.axes.len() {
        return None;
    }
    for (pair, axis) in pairs.axes.iter_mut().zip(&second.axes) {
        if (pair.extent, &pair.strides) != (axis.extent, &axis.strides) {
            return None;
        }
        pair.strides.push(axis.offset - pair.offset);
    }
    Some((source, pairs))
}

/// `Affine(Linear(x))` is a linear layer with other weights when the map is the same at all positions, and
/// `Affine(Affine(x))` is one affine map. Only where nobody else reads the intermediate.
fn fold_affine(graph: &mut Graph) {
    let mut count = vec![0usize; graph.nodes.len()];
    for &i in graph
        .nodes
        .iter()
        .flat_map(|n| &n.inputs)
        .chain(&graph.outputs)
    {
        count[i] += 1;
    }
    // Steps of a loop stay alike, also the last one, which has fewer readers.
    let mut most: HashMap<Tie, usize> = HashMap::new();
    for (node, &count) in graph.nodes.iter().zip(&count) {
        if let Some(tie) = node.tie {
            let most = most.entry(tie).or_default();
            *most = count.max(*most);
        }
    }
    for (node, count) in graph.nodes.iter().zip(&mut count) {
        if let Some(tie) = node.tie {
            *count = most[&tie];
        }
    }
    // Where a folded node's value is now computed.
    let mut moved: Vec<NodeId> = (0..graph.nodes.len()).collect();
    for id in 0..graph.nodes.len() {
        let (before, rest) = graph.nodes.split_at_mut(id);
        let Some(node) = rest.first_mut() else { break };
        for input in &mut node.inputs {
            *input = moved[*input];
        }
        let (Op::Affine { scale, shift }, &[source]) = (&node.op, node.inputs.as_slice()) else {
            continue;
        };
        if count[source] != 1 {
            continue;
        }
        let producer = &mut before[source];
        let folded = match &producer.op {
            Op::Linear(linear) => fold_into_linear(linear, scale, shift),
            Op::Affine { scale: s, shift: t } => Some(compose_affine((s, t), (scale, shift))),
            _ => None,
        };
        if let Some(op) = folded {
            producer.op = op;
            producer.shape.clone_from(&node.shape);
            // The producer's value is now what this node's value was; this node is dead.
            moved[id] = source;
            count[source] = count[id];
            node.inputs.clear();
        }
    }
    for output in &mut graph.outputs {
        *output = moved[*output];
    }
}

fn at(values: &[f32], i: usize) -> f64 {
    f64::from(if values.len() == 1 {
        values[0]
    } else {
        values[i]
    })
}

/// `outer(inner(x))`.
fn compose_affine(inner: (&[f32], &[f32]), outer: (&[f32], &[f32])) -> Op {
    let all = [inner.0, inner.1, outer.0, outer.1];
    let len = all.iter().map(|v| v.len()).max().unwrap_or(1);
    let scale = (0..inner.0.len().max(outer.0.len()))
        .map(|i| (at(inner.0, i) * at(outer.0, i)) as f32)
        .collect();
    let shift_len = if inner.1.iter().all(|&t| t == 0.0) {
        outer.1.len()
    } else {
        len
    };
    let inner_shift = |i| {
        if shift_len == len {
            at(inner.1, i) * at(outer.0, i)
        } else {
            0.0
        }
    };
    let shift = (0..shift_len)
        .map(|i| (inner_shift(i) + at(outer.1, i)) as f32)
        .collect();
    Op::Affine { scale, shift }
}

fn fold_into_linear(linear: &Linear, scale: &[f32], shift: &[f32]) -> Option<Op> {
    let outputs = linear.groups * linear.outputs;
    let per_output = |values: &[f32]| -> Option<Vec<f64>> {
        if values.len() == 1 {
            return Some(vec![f64::from(values[0]); outputs]);
        }
        if values.len() != outputs * linear.positions {
            return None;
        }
        let rows = values.chunks_exact(linear.positions);
        rows.map(|row| row.iter().all(|v| v == &row[0]).then(|| f64::from(row[0])))
            .collect()
    };
    let (scale, shift) = (per_output(scale)?, per_output(shift)?);
    let mut linear = linear.clone();
    for (row, s) in linear.weights.chunks_exact_mut(linear.inputs).zip(&scale) {
        row.iter_mut().for_each(|w| *w = (f64::from(*w) * s) as f32);
    }
    let bias = |o: usize| linear.bias.get(o).map_or(0.0, |&b| f64::from(b));
    let bias: Vec<f32> = (0..outputs)
        .map(|o| (bias(o) * scale[o] + shift[o]) as f32)
        .collect();
    linear.bias = if bias.iter().all(|&b| b == 0.0) {
        Vec::new()
    } else {
        bias
    };
    Some(Op::Linear(linear))
}

/// Keeps inputs and what outputs depend on; renumbers.
fn remove_dead(graph: &mut Graph) {
    let mut live = vec![false; graph.nodes.len()];
    for &i in graph.outputs.iter().chain(&graph.inputs) {
        live[i] = true;
    }
    for id in (0..graph.nodes.len()).rev() {
        if live[id] {
            for i in 0..graph.nodes[id].inputs.len() {
                live[graph.nodes[id].inputs[i]] = true;
            }
        }
    }
    let mut number = vec![0; graph.nodes.len()];
    let mut next = 0;
    for (id, &l) in live.iter().enumerate() {
        number[id] = next;
        next += usize::from(l);
    }
    let mut keep = live.iter();
    graph.nodes.retain(|_| keep.next() == Some(&true));
    let renumber = |ids: &mut Vec<NodeId>| ids.iter_mut().for_each(|i| *i = number[*i]);
    graph.nodes.iter_mut().for_each(|n| renumber(&mut n.inputs));
    renumber(&mut graph.inputs);
    renumber(&mut graph.outputs);
}

#[cfg(test)]
mod tests;
