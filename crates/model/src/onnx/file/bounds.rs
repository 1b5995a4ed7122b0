//! What a file may ask for: operators that are known, and sizes within the options.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, TensorProto};

use super::names::{check_names, domain};
use super::origin::Origin;
use crate::onnx::{ImportError, ImportOptions};
use crate::onnx::{guard, operators};

/// An error where more is found than is allowed.
pub fn limit(name: &str, what: &'static str, found: u64, limit: usize) -> Result<(), ImportError> {
    let limit = limit as u64;
    if found > limit {
        Err(ImportError::Limit {
            name: name.into(),
            what,
            found,
            limit,
        })
    } else {
        Ok(())
    }
}

/// Bounds the number of nodes.
pub fn limit_nodes(graph: &GraphProto, options: &ImportOptions) -> Result<(), ImportError> {
    limit(
        &graph.name,
        "the number of nodes",
        graph.node.len() as u64,
        options.max_nodes,
    )
}

/// Refuses operators that are not known. The rewrites and tract go by an operator's name alone: another domain's operator
/// of the same name may be anything.
pub fn check_operators(
    graph: &GraphProto,
    opsets: &HashMap<String, i64>,
) -> Result<(), ImportError> {
    for node in &graph.node {
        // What ONNX refuses may follow from constants, and is refused later if it does not.
        let known = |o: &operators::Operator| o.is_built() || o.domain.is_empty();
        if !operators::of(node).is_some_and(known) {
            let advice = operators::advice(domain(node), &node.op_type);
            return Err(Origin::of(node, opsets).unsupported(advice));
        }
        for body in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
            check_operators(body, opsets)?;
        }
    }
    Ok(())
}

/// Bounds everything in the file that decides about allocations, and lists the nodes by the names that tract gives them. What is to
/// be `lowered` has no operators left that a pass should have written out.
pub fn check(
    graph: &GraphProto,
    opsets: &HashMap<String, i64>,
    options: &ImportOptions,
    lowered: bool,
) -> Result<HashMap<String, Origin>, ImportError> {
    limit_nodes(graph, options)?;
    check_names(graph)?;
    let known = guard::onnx().op_register;
    let mut values: HashMap<&str, &TensorProto> = HashMap::new();
    for tensor in &graph.initializer {
        check_tensor(tensor, options)?;
        values.insert(&tensor.name, tensor);
    }
    let mut origins: HashMap<String, Origin> = HashMap::new();
    for node in &graph.node {
        let origin = Origin::of(node, opsets);
        let operator = operators::of(node);
        let refused = operator.is_some_and(|o| !o.route.is_left_to_tract());
        // Weights that are stored as integers fold to floats; not those with scales by blocks, which tract does not know.
        let blocks = node
            .attribute
            .iter()
            .any(|a| a.name == "block_size" && a.i != 0);
        let stored = node.op_type == "DequantizeLinear"
            && !blocks
            && node.input.iter().all(|i| values.contains_key(i.as_str()));
        let unknown = !known.0.contains_key(&node.op_type);
        if (refused && lowered && !stored) || unknown {
            return Err(origin.unsupported(operators::advice(domain(node), &node.op_type)));
        }
        for attribute in &node.attribute {
            let foreign = attribute.g.is_some() && node.op_type != "Scan";
            if (foreign || !attribute.graphs.is_empty()) && lowered {
                return Err(origin.unsupported("graphs inside nodes are not supported"));
            }
            if let Some(body) = &attribute.g {
                // Messages name the loop.
                let inner = check(body, opsets, options, lowered)?.into_keys();
                origins.extend(inner.map(|name| (name, origin.clone())));
            }
            for tensor in attribute.t.iter().chain(&attribute.tensors) {
                check_tensor(tensor, options)?;
                if node.op_type == "Constant" {
                    values.extend(node.output.first().map(|name| (name.as_str(), tensor)));
                }
            }
        }
        if let Some(first) = operator.and_then(|o| o.sized_by) {
            for tensor in node
                .input
                .iter()
                .skip(first)
                .filter_map(|i| values.get(i.as_str()))
            {
                limit(
                    &origin.node,
                    "the size that an operand asks for",
                    asked_size(tensor),
                    options.max_elements,
                )?;
            }
        }
        origins.insert(origin.node.clone(), origin);
    }
    Ok(origins)
}

/// Product of the absolute values of a short integer tensor.
fn asked_size(tensor: &TensorProto) -> u64 {
    if tensor.data_type != 7 || tensor.dims.iter().fold(1i64, |p, &d| p.saturating_mul(d)) > 64 {
        return 0;
    }
    let raw = tensor
        .raw_data
        .chunks_exact(8)
        .map(|c| i64::from_le_bytes(c.try_into().unwrap_or_default()));
    let values = raw.chain(tensor.int64_data.iter().copied());
    // End markers of slices and "the rest" of shapes are no sizes.
    values
        .map(i64::unsigned_abs)
        .filter(|&v| v > 1)
        .fold(1, u64::saturating_mul)
}

fn check_tensor(tensor: &TensorProto, options: &ImportOptions) -> Result<(), ImportError> {
    let mut elements = 1u64;
    for &d in &tensor.dims {
        let d = u64::try_from(d).map_err(|_| ImportError::Malformed {
            reason: format!("tensor \"{}\" has a negative dimension", tensor.name),
        })?;
        elements = elements.saturating_mul(d);
    }
    limit(
        &tensor.name,
        "the number of elements",
        elements,
        options.max_elements,
    )
}
