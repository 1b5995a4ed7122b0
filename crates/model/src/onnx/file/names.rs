//! Names of nodes and values.

use std::collections::HashSet;

use tract_onnx::pb::{GraphProto, NodeProto};

use crate::onnx::ImportError;

/// The name that tract gives to the node.
pub fn tract_name(node: &NodeProto) -> String {
    let output = node.output.first().filter(|o| !o.is_empty());
    if node.name.is_empty() {
        output.cloned().unwrap_or_default()
    } else {
        node.name.clone()
    }
}

/// The operator set of a node; empty for ONNX's own.
pub fn domain(node: &NodeProto) -> &str {
    match node.domain.as_str() {
        "ai.onnx" => "",
        domain => domain,
    }
}

/// Nodes that share a name lose it, and are called by their results: what a node is written out in is named after it.
pub fn distinct_nodes(graph: &mut GraphProto) {
    let mut seen = HashSet::new();
    for node in &mut graph.node {
        if !seen.insert(node.name.clone()) {
            node.name.clear();
        }
    }
}

/// Refuses graphs in which a name stands for two values: whoever reads it would get either.
pub fn check_names(graph: &GraphProto) -> Result<(), ImportError> {
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let initial = graph.initializer.iter().map(|t| t.name.as_str());
    let inputs = graph.input.iter().map(|i| i.name.as_str());
    let results = graph.node.iter().flat_map(|n| &n.output);
    let mut seen = HashSet::new();
    let twice = initial
        // An initializer may be the default of an input.
        .chain(inputs.filter(|i| !stored.contains(i)))
        .chain(results.map(String::as_str))
        .find(|name| !name.is_empty() && !seen.insert(*name));
    match twice {
        Some(name) => Err(ImportError::Malformed {
            reason: format!("two values have the name \"{name}\""),
        }),
        None => Ok(()),
    }
}
