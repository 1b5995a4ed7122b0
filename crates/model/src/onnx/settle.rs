//! Conditions and counts that follow from shapes. Exporters that do not know a length ask for it in the graph: whether to
//! squeeze an axis, how often to repeat a body. Once the lengths are chosen, the answers are constants.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use tract_onnx::prelude::{DatumType, TypedModel};

/// Most answers that are worked out, and most rounds: a choice may depend on another.
const MOST: usize = 64;
pub(super) const ROUNDS: usize = 4;

/// The inputs of a node that decide what is computed, not with which values.
fn deciding(node: &NodeProto) -> impl Iterator<Item = &String> {
    let count = match node.op_type.as_str() {
        "If" => 1,
        "Loop" => 2,
        _ => 0,
    };
    node.input.iter().take(count).filter(|i| !i.is_empty())
}

fn nested(node: &NodeProto) -> bool {
    node.attribute.iter().any(|a| a.g.is_some())
}

/// What decides, and the part of the model that it follows from.
pub(super) struct Question {
    names: Vec<String>,
    pub(super) part: ModelProto,
}

impl Question {
    /// What can be worked out now, if there is anything.
    pub(super) fn of(proto: &ModelProto) -> Option<Question> {
        let graph = proto.graph.as_ref()?;
        let producers: HashMap<&str, usize> = (graph.node.iter().enumerate())
            .flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i)))
            .collect();
        let asked = graph.node.iter().filter(|n| nested(n)).flat_map(deciding);
        let mut open = HashSet::new();
        let mut names: Vec<String> = Vec::new();
        for name in asked {
            let made = producers.get(name.as_str());
            let made = made.map(|&i| graph.node[i].op_type.as_str());
            if made.is_none_or(|op| op == "Constant") || names.contains(name) {
                continue;
            }
            if let Some(nodes) = ancestors(graph, &producers, name)
                && names.len() < MOST
            {
                open.extend(nodes);
                names.push(name.clone());
            }
        }
        if names.is_empty() {
            return None;
        }
        let nodes = graph.node.iter().enumerate();
        let nodes = nodes.filter(|(i, _)| open.contains(i));
        let outputs = names.iter().map(|n| ValueInfoProto {
            name: n.clone(),
            ..ValueInfoProto::default()
        });
        let part = GraphProto {
            node: nodes.map(|(_, n)| n.clone()).collect(),
            output: outputs.collect(),
            ..graph.clone()
        };
        let part = ModelProto {
            graph: Some(part),
            ..proto.clone()
        };
        Some(Question { names, part })
    }

    /// What the typed part says, by name.
    pub(super) fn answers(&self, typed: &TypedModel) -> Vec<(String, TensorProto)> {
        let constant = |i: usize| {
            let fact = typed.outlet_fact(*typed.outputs.get(i)?).ok()?;
            stored(fact.konst.as_ref()?)
        };
        let answers = self.names.iter().enumerate();
        answers
            .filter_map(|(i, n)| Some((n.clone(), constant(i)?)))
            .collect()
    }
}

/// Makes constants of what decides.
pub(super) fn settle(graph: &mut GraphProto, answers: Vec<(String, TensorProto)>) {
    for (name, mut tensor) in answers {
        tensor.name = format!("{name}.settled");
        for node in graph.node.iter_mut().filter(|n| nested(n)) {
            let count = deciding(node).count();
            for input in node.input.iter_mut().take(count).filter(|i| **i == name) {
                input.clone_from(&tensor.name);
            }
        }
        graph.initializer.push(tensor);
    }
}

/// The nodes behind a value, unless there is a choice or a loop among them.
fn ancestors(
    graph: &GraphProto,
    producers: &HashMap<&str, usize>,
    name: &str,
) -> Option<HashSet<usize>> {
    let (mut found, mut open) = (HashSet::new(), vec![name]);
    while let Some(name) = open.pop() {
        let Some(&number) = producers.get(name) else {
            continue;
        };
        if nested(&graph.node[number]) {
            return None;
        }
        if found.insert(number) {
            open.extend(graph.node[number].input.iter().map(String::as_str));
        }
    }
    Some(found)
}

/// A single truth or whole number as ONNX stores it.
fn stored(tensor: &tract_onnx::prelude::Tensor) -> Option<TensorProto> {
    if tensor.len() != 1 {
        return None;
    }
    let truth = tensor.datum_type() == DatumType::Bool;
    let whole = tensor.cast_to::<i64>().ok()?;
    let value = *whole
        .try_as_plain_ram()
        .ok()?
        .as_slice::<i64>()
        .ok()?
        .first()?;
    let mut stored = TensorProto {
        data_type: if truth { 9 } else { 7 },
        dims: tensor.shape().iter().map(|&d| d as i64).collect(),
        ..TensorProto::default()
    };
    if truth {
        stored.int32_data = vec![i32::from(value != 0)];
    } else {
        stored.int64_data = vec![value];
    }
    Some(stored)
}
