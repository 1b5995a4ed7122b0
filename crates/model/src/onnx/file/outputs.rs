//! The outputs that are to be proven, where that are not all of them.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

use crate::onnx::ImportError;

/// What was chosen.
#[derive(Default)]
pub struct Choice {
    /// Places of the chosen outputs among all; empty if all were.
    pub positions: Vec<usize>,
    /// Names of the others.
    pub left_out: Vec<String>,
}

/// Leaves the outputs of these names, and what they need, in a graph; no names are all.
pub fn choose(graph: &mut GraphProto, names: &[String]) -> Result<Choice, ImportError> {
    let mut known = HashSet::new();
    if let Some(twice) = graph.output.iter().find(|o| !known.insert(o.name.as_str())) {
        return Err(ImportError::Malformed {
            reason: format!("two outputs have the name \"{}\"", twice.name),
        });
    }
    if names.is_empty() {
        return Ok(Choice::default());
    }
    if let Some(name) = names.iter().find(|n| !known.contains(n.as_str())) {
        return Err(ImportError::NoOutput {
            name: name.clone(),
            known: graph.output.iter().map(|o| o.name.clone()).collect(),
        });
    }
    let mut choice = Choice::default();
    for (position, output) in std::mem::take(&mut graph.output).into_iter().enumerate() {
        if names.contains(&output.name) {
            choice.positions.push(position);
            graph.output.push(output);
        } else {
            choice.left_out.push(output.name);
        }
    }
    prune(graph);
    Ok(choice)
}

/// Behind the name of an output that is an input or a stored tensor.
const COPY: &str = ".~output";

/// Gives outputs that are inputs or stored tensors a node of their own: tract forgets what it knows of an output's source.
pub fn separate(graph: &mut GraphProto) {
    let computed: HashSet<String> = (graph.node.iter())
        .flat_map(|n| n.output.iter().cloned())
        .collect();
    for output in &mut graph.output {
        if computed.contains(&output.name) {
            continue;
        }
        let copy = format!("{}{COPY}", output.name);
        graph.node.push(NodeProto {
            name: copy.clone(),
            op_type: "Identity".into(),
            input: vec![std::mem::replace(&mut output.name, copy.clone())],
            output: vec![copy],
            ..NodeProto::default()
        });
    }
}

/// What an output is called in the file.
pub fn original(name: &str) -> &str {
    name.strip_suffix(COPY).unwrap_or(name)
}

/// Removes the nodes that no output needs.
fn prune(graph: &mut GraphProto) {
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (number, node) in graph.node.iter().enumerate() {
        producers.extend(node.output.iter().map(|o| (o.as_str(), number)));
    }
    let mut open: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    let mut needed = HashSet::new();
    while let Some(name) = open.pop() {
        if let Some(&number) = producers.get(name)
            && needed.insert(number)
        {
            reads(&graph.node[number], &mut open);
        }
    }
    let mut number = 0..;
    graph
        .node
        .retain(|_| number.next().is_some_and(|n| needed.contains(&n)));
}

/// All names that a node reads, also those that its bodies take from around them.
fn reads<'n>(node: &'n NodeProto, into: &mut Vec<&'n str>) {
    into.extend(node.input.iter().map(String::as_str));
    for attribute in &node.attribute {
        for body in attribute.g.iter().chain(&attribute.graphs) {
            into.extend(body.output.iter().map(|o| o.name.as_str()));
            for node in &body.node {
                reads(node, into);
            }
        }
    }
}
