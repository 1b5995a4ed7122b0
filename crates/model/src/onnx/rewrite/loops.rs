//! `Loop`s whose number of rounds is known and whose states keep their shapes, as `Scan`s over the numbers of the rounds: their
//! steps share weights, which those of a loop that is written out ([`super::inline`]) do not.

use std::collections::HashMap;

use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

use super::recurrent::{body, ints};
use super::writer::{Writer, attribute, int};

/// Whole numbers and truth values that are constants of a graph, by name.
pub(super) type Scalars = HashMap<String, i64>;

pub(super) fn scalars(graph: &GraphProto) -> Scalars {
    let named = graph.initializer.iter().map(|t| (&t.name, t));
    let constants = graph
        .node
        .iter()
        .filter(|n| n.op_type == "Constant")
        .filter_map(|n| {
            let tensor = attribute(n, "value")?.t.as_ref()?;
            Some((n.output.first()?, tensor))
        });
    named
        .chain(constants)
        .filter_map(|(name, t)| Some((name.clone(), scalar(t)?)))
        .collect()
}

pub(super) fn scalar(t: &TensorProto) -> Option<i64> {
    if t.dims.iter().any(|&d| d != 1) {
        return None;
    }
    match t.data_type {
        7 => {
            let raw = || Some(i64::from_le_bytes(t.raw_data.get(..8)?.try_into().ok()?));
            t.int64_data.first().copied().or_else(raw)
        }
        9 => {
            let raw = t.raw_data.first().map(|&b| i64::from(b));
            t.int32_data.first().map(|&v| i64::from(v)).or(raw)
        }
        _ => None,
    }
}

/// Most rounds.
pub(super) const ROUNDS: i64 = 1024;

/// Whether a value is always true in the body, given that the condition that comes in is.
fn always(graph: &GraphProto, name: &str, condition: &str) -> bool {
    let known = scalars(graph);
    let results = graph
        .node
        .iter()
        .filter_map(|n| Some((n.output.first()?.as_str(), n)));
    let producers: HashMap<&str, &NodeProto> = results.collect();
    let mut name = name;
    for _ in 0..=graph.node.len() {
        if name == condition || known.get(name) == Some(&1) {
            return true;
        }
        match producers.get(name) {
            Some(n) if matches!(n.op_type.as_str(), "Identity" | "Cast") && n.input.len() == 1 => {
                name = &n.input[0];
            }
            _ => return false,
        }
    }
    false
}

/// The lengths of a tensor, if all are declared.
fn shape(value: &ValueInfoProto) -> Option<Vec<i64>> {
    let type_proto::Value::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
    let dims = tensor.shape.as_ref()?.dim.iter();
    dims.map(|d| match d.value {
        Some(dimension::Value::DimValue(len)) => Some(len),
        _ => None,
    })
    .collect()
}

pub(super) fn rewrite(node: &NodeProto, w: &mut Writer, scalars: &Scalars) -> Option<()> {
    let mut graph = attribute(node, "body")?.g.clone()?;
    let known = |at: usize| {
        let name = node.input.get(at).filter(|n| !n.is_empty());
        name.map(|n| scalars.get(n).copied())
    };
    let rounds = known(0)??;
    if !(1..=ROUNDS).contains(&rounds) || !matches!(known(1), None | Some(Some(1))) {
        return None;
    }
    let states = node.input.len().checked_sub(2)?;
    if graph.input.len() != states + 2 || graph.output.len() < states + 1 {
        return None;
    }
    // Functions and graphs in the body have to be written out first, and so do states that grow.
    let plain = |n: &NodeProto| n.domain.is_empty() && n.attribute.iter().all(|a| a.g.is_none());
    let keeps = |i: usize| {
        let (before, after) = (shape(&graph.input[2 + i]), shape(&graph.output[1 + i]));
        before.is_some() && before == after
    };
    if !graph.node.iter().all(plain) || !(0..states).all(keeps) {
        return None;
    }
    let condition = graph.input.remove(1);
    let number = graph.input.remove(0);
    let result = graph.output.remove(0);
    if !always(&graph, &result.name, &condition.name) {
        return None;
    }
    // What the body may still read of the condition.
    graph.initializer.push(TensorProto {
        name: condition.name,
        data_type: 9,
        int32_data: vec![1],
        ..TensorProto::default()
    });
    graph.input.push(number);
    // A state that is passed on as it is needs a node of its own, and so does what is a result twice.
    for (i, output) in graph.output.iter_mut().enumerate() {
        let name = format!("{}.result.{i}", w.name);
        graph.node.push(NodeProto {
            name: name.clone(),
            op_type: "Identity".into(),
            input: vec![std::mem::replace(&mut output.name, name.clone())],
            output: vec![name],
            ..NodeProto::default()
        });
    }
    let numbers = w.indices((0..rounds).collect());
    let mut input: Vec<String> = node.input[2..].to_vec();
    input.push(numbers);
    let scanned = graph.output.len() - states;
    let name = w.fresh();
    let mut output = node.output.clone();
    for o in output.iter_mut().filter(|o| o.is_empty()) {
        *o = w.fresh();
    }
    w.nodes.push(NodeProto {
        name,
        op_type: "Scan".into(),
        input,
        output,
        attribute: vec![
            body(graph),
            int("num_scan_inputs", 1),
            ints("scan_input_axes", vec![0]),
            ints("scan_output_axes", vec![0; scanned]),
        ],
        ..NodeProto::default()
    });
    Some(())
}
