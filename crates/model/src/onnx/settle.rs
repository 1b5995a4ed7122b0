//! Conditions and counts that follow from shapes. Exporters that do not know a length ask for it in the graph: whether to
//! squeeze an axis, how often to repeat a body. Once the lengths are chosen, the answers are constants.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use tract_onnx::prelude::DatumType;

use super::proto::{Model, Purpose};
use super::{ImportError, ImportOptions};

/// Most answers that are worked out, and most rounds: a choice may depend on another.
const MOST: usize = 64;
const ROUNDS: usize = 4;

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

/// Makes constants of what decides, and calls `inline`, which writes out what is decided, until nothing changes.
pub(super) fn settle(
    proto: &mut ModelProto,
    options: &ImportOptions,
    inline: impl Fn(&mut ModelProto),
) {
    inline(proto);
    for _ in 0..ROUNDS {
        let answers = proto
            .graph
            .as_ref()
            .and_then(|graph| answers(proto, graph, options).ok())
            .unwrap_or_default();
        let Some(graph) = proto.graph.as_mut().filter(|_| !answers.is_empty()) else {
            return;
        };
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
        inline(proto);
    }
}

/// What can be worked out now, by name.
fn answers(
    proto: &ModelProto,
    graph: &GraphProto,
    options: &ImportOptions,
) -> Result<Vec<(String, TensorProto)>, ImportError> {
    let producers: HashMap<&str, usize> = (graph.node.iter().enumerate())
        .flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i)))
        .collect();
    let asked = graph.node.iter().filter(|n| nested(n)).flat_map(deciding);
    let asked: Vec<&str> = asked.map(String::as_str).collect();
    let mut open = HashSet::new();
    let mut names = Vec::new();
    for name in asked {
        let made = producers.get(name).map(|&i| graph.node[i].op_type.as_str());
        if made.is_none_or(|op| op == "Constant") || names.contains(&name) {
            continue;
        }
        if let Some(nodes) = ancestors(graph, &producers, name)
            && names.len() < MOST
        {
            open.extend(nodes);
            names.push(name);
        }
    }
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let nodes = graph.node.iter().enumerate();
    let part = ModelProto {
        graph: Some(GraphProto {
            node: nodes
                .filter(|(i, _)| open.contains(i))
                .map(|(_, n)| n.clone())
                .collect(),
            output: (names.iter())
                .map(|n| ValueInfoProto {
                    name: (*n).into(),
                    ..ValueInfoProto::default()
                })
                .collect(),
            ..graph.clone()
        }),
        ..proto.clone()
    };
    let typed = Model::prepare(part, options, Purpose::Run)?.typed()?;
    let constant = |i: usize| {
        let fact = typed.outlet_fact(*typed.outputs.get(i)?).ok()?;
        stored(fact.konst.as_ref()?)
    };
    let answers = names.iter().enumerate();
    Ok(answers
        .filter_map(|(i, n)| Some(((*n).to_string(), constant(i)?)))
        .collect())
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
