//! Trees that are walked down by indices, as Hummingbird writes them: at each level the node's number picks a feature and a
//! threshold, and both are compared. Numbers that were picked share one scale, however different the features are; so all
//! nodes are compared first, each feature at its own scale, and the node's number picks the answer.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto};

use super::writer::{Writer, attribute, decode, int, name_of};

const COMPARISONS: &[&str] = &["Less", "LessOrEqual", "Greater", "GreaterOrEqual"];

/// A table that is read at an index, and the reshape of what was read.
struct Picked<'g> {
    table: &'g str,
    index: &'g str,
    shape: Option<&'g str>,
}

struct Graph<'g> {
    producers: HashMap<&'g str, &'g NodeProto>,
    /// Lengths of stored lists.
    lists: HashMap<&'g str, i64>,
    /// Stored shapes of two dimensions.
    shapes: HashMap<&'g str, Vec<f64>>,
}

impl<'g> Graph<'g> {
    fn of(graph: &'g GraphProto) -> Self {
        let outputs = |n: &'g NodeProto| n.output.iter().map(move |o| (o.as_str(), n));
        let floats = |t: &'g tract_onnx::pb::TensorProto| t.data_type == 1;
        let lists = graph
            .initializer
            .iter()
            .filter(|t| t.dims.len() == 1)
            .filter(|t| floats(t) || t.data_type == 7)
            .map(|t| (t.name.as_str(), t.dims[0]))
            .collect();
        let initial = graph.initializer.iter().map(|t| (t.name.as_str(), t));
        let constants = graph.node.iter().filter(|n| n.op_type == "Constant");
        let constants = constants.filter_map(|n| {
            let tensor = attribute(n, "value")?.t.as_ref()?;
            Some((n.output.first()?.as_str(), tensor))
        });
        let flat = |tensor: &tract_onnx::pb::TensorProto| {
            let two = tensor.dims == [2] && tensor.data_type == 7;
            Some(two.then(|| decode(tensor))??.values)
        };
        let shapes = initial.chain(constants);
        Graph {
            shapes: shapes
                .filter_map(|(name, t)| Some((name, flat(t)?)))
                .collect(),
            producers: graph.node.iter().flat_map(outputs).collect(),
            lists,
        }
    }

    fn producer(&self, name: &str, op: &str) -> Option<&'g NodeProto> {
        let node = *self.producers.get(name)?;
        (node.op_type == op).then_some(node)
    }

    fn picked(&self, name: &'g str) -> Option<Picked<'g>> {
        let reshape = self.producer(name, "Reshape");
        let (name, shape) = match reshape.map(|n| n.input.as_slice()) {
            Some([x, shape]) => (x.as_str(), Some(shape.as_str())),
            _ => (name, None),
        };
        let gather = self.producer(name, "Gather")?;
        let [table, index] = gather.input.as_slice() else {
            return None;
        };
        (axis(gather) == 0).then_some(Picked {
            table,
            index,
            shape,
        })
    }

    /// The values, the numbers of their features, the thresholds: of a comparison of this kind.
    fn level(&self, node: &'g NodeProto) -> Option<(&'g str, Picked<'g>, Picked<'g>)> {
        let [value, threshold] = node.input.as_slice() else {
            return None;
        };
        let chosen = self.producer(value, "GatherElements")?;
        let [x, feature] = chosen.input.as_slice() else {
            return None;
        };
        let (feature, threshold) = (self.picked(feature)?, self.picked(threshold)?);
        // One row per sample: what is picked of other shapes is compared along other axes.
        let flat = |picked: &Picked| self.shapes.get(picked.shape?);
        if flat(&feature)? != flat(&threshold)? {
            return None;
        }
        let len = self.lists.get(feature.table)?;
        let same = feature.index == threshold.index && self.lists.get(threshold.table) == Some(len);
        (same && axis(chosen) == 1).then_some((x, feature, threshold))
    }
}

fn axis(node: &NodeProto) -> i64 {
    attribute(node, "axis").map_or(0, |a| a.i)
}

/// Rewrites the levels of trees in a graph and in the graphs inside its nodes.
pub(in crate::onnx) fn rewrite(graph: &mut GraphProto, opset: i64) {
    levels(graph, opset);
    for attribute in graph.node.iter_mut().flat_map(|n| &mut n.attribute) {
        if let Some(body) = &mut attribute.g {
            rewrite(body, opset);
        }
    }
}

fn levels(graph: &mut GraphProto, opset: i64) {
    let mut levels: HashMap<usize, (Vec<NodeProto>, Vec<tract_onnx::pb::TensorProto>)> =
        HashMap::new();
    // All levels of a forest ask the same.
    let mut answers: HashMap<[&str; 4], String> = HashMap::new();
    let known = Graph::of(graph);
    for (number, node) in graph.node.iter().enumerate() {
        if !COMPARISONS.contains(&node.op_type.as_str()) {
            continue;
        }
        let (Some((x, feature, threshold)), Some(y)) = (known.level(node), node.output.first())
        else {
            continue;
        };
        let mut constants = Vec::new();
        let mut w = Writer {
            name: name_of(node),
            count: 0,
            opset,
            nodes: Vec::new(),
            constants: &mut constants,
        };
        let asked = [x, feature.table, threshold.table, node.op_type.as_str()];
        let all = answers.entry(asked).or_insert_with(|| {
            let all = w.op_with("Gather", &[x, feature.table], vec![int("axis", 1)]);
            let all = w.op(&node.op_type, &[&all, threshold.table]);
            w.cast(&all)
        });
        let index = match feature.shape {
            Some(shape) => w.op("Reshape", &[feature.index, shape]),
            None => feature.index.to_string(),
        };
        let chosen = w.op_with("GatherElements", &[all, &index], vec![int("axis", 1)]);
        let half = w.floats(vec![0.5], &[]);
        w.node("Greater", &[&chosen, &half], y, Vec::new());
        levels.insert(number, (w.nodes, constants));
    }
    if levels.is_empty() {
        return;
    }
    let nodes = std::mem::take(&mut graph.node).into_iter().enumerate();
    for (number, node) in nodes {
        match levels.remove(&number) {
            Some((written, constants)) => {
                graph.node.extend(written);
                graph.initializer.extend(constants);
            }
            None => graph.node.push(node),
        }
    }
}
