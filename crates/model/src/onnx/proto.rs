//! The ONNX file: bounds, repairs, names.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, type_proto,
};
use tract_onnx::prelude::{Framework, InferenceModelExt, TypedModel};

use super::operators;
use super::{ImportError, ImportOptions};

/// Where in the file a node came from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) node: String,
    pub(super) op: String,
    pub(super) opset: i64,
}

impl Origin {
    fn of(node: &NodeProto, opsets: &HashMap<String, i64>) -> Origin {
        let domain = domain(node);
        let version = if domain.is_empty() {
            opsets.get("").or(opsets.get("ai.onnx"))
        } else {
            opsets.get(domain)
        };
        let op = if domain.is_empty() {
            node.op_type.clone()
        } else {
            format!("{domain}.{}", node.op_type)
        };
        Origin {
            node: tract_name(node),
            op,
            opset: version.copied().unwrap_or(0),
        }
    }

    /// The refusal of an operator, with what to do instead.
    pub(super) fn refused(&self) -> ImportError {
        let (domain, name) = self.op.rsplit_once('.').unwrap_or(("", &self.op));
        self.unsupported(operators::advice(domain, name))
    }

    pub(super) fn unsupported(&self, reason: impl Into<String>) -> ImportError {
        let Origin { node, op, opset } = self.clone();
        ImportError::Unsupported {
            node,
            op,
            opset,
            reason: reason.into(),
        }
    }
}

/// What a model is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be lowered: operators that cannot be are refused early.
    Lower,
    /// To be run by tract.
    Run,
}

/// A checked and repaired model.
pub(super) struct Model {
    proto: ModelProto,
    /// By the name that tract gives to the node.
    origins: HashMap<String, Origin>,
    /// Most elements of a tensor.
    most: usize,
    /// Outputs that were removed because they are texts.
    pub(super) texts: Vec<String>,
}

/// Runs tract code, which may panic on malformed models.
pub(super) fn guarded<T>(
    f: impl FnOnce() -> tract_onnx::prelude::TractResult<T>,
) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or(panic.downcast_ref::<&str>().copied());
            Err(format!(
                "internal error of the ONNX reader: {}",
                text.unwrap_or("unknown")
            ))
        }
    }
}

impl Model {
    /// Decodes, bounds and repairs a model: free dimensions of inputs get their lengths.
    pub(super) fn read(
        bytes: &[u8],
        options: &ImportOptions,
        purpose: Purpose,
    ) -> Result<Model, ImportError> {
        if bytes.len() > options.max_bytes {
            return Err(ImportError::FileTooLarge {
                bytes: bytes.len(),
                limit: options.max_bytes,
            });
        }
        let decoded = guarded(|| super::guard::onnx().proto_model_for_read(&mut &*bytes));
        let proto = decoded.map_err(|reason| ImportError::Malformed { reason })?;
        Model::prepare(proto, options, purpose)
    }

    /// Checks a decoded model, and writes out what tract does not do as ONNX says.
    pub(super) fn prepare(
        mut proto: ModelProto,
        options: &ImportOptions,
        purpose: Purpose,
    ) -> Result<Model, ImportError> {
        let mut opsets: HashMap<String, i64> = proto
            .opset_import
            .iter()
            .map(|o| (o.domain.clone(), o.version))
            .collect();
        let version = opsets.get("").or(opsets.get("ai.onnx")).copied();
        if let Some(graph) = proto.graph.as_mut() {
            // What is written out only adds nodes.
            limit_nodes(graph, options)?;
            distinct_nodes(graph);
        }
        super::settle::settle(&mut proto, options, |proto| {
            super::rewrite::inline(proto, version.unwrap_or(13), options.max_nodes);
        });
        let Some(graph) = proto.graph.as_mut() else {
            return Err(ImportError::Malformed {
                reason: "no graph".into(),
            });
        };
        if graph.output.is_empty() {
            return Err(ImportError::Malformed {
                reason: "the graph has no output".into(),
            });
        }
        check_operators(graph, &opsets)?;
        super::rewrite::repair(graph, version.unwrap_or(13));
        let mut texts = Vec::new();
        if purpose == Purpose::Lower {
            texts = super::rewrite::rewrite(graph, version.unwrap_or(13));
            if !opsets.contains_key("") && !opsets.contains_key("ai.onnx") {
                // A model of nothing but machine-learning operators; they are others now.
                proto.opset_import.push(OperatorSetIdProto {
                    domain: String::new(),
                    version: 13,
                });
                opsets.insert(String::new(), 13);
            }
        }
        let origins = check(graph, &opsets, options, purpose)?;
        fix_inputs(graph, options)?;
        if !opsets.contains_key("") && !opsets.contains_key("ai.onnx") {
            return Err(ImportError::Malformed {
                reason: "no version of the ONNX operator set".into(),
            });
        }
        Ok(Model {
            proto,
            origins,
            most: options.max_elements,
            texts,
        })
    }

    /// Shape inference and constant folding.
    pub(super) fn typed(&self) -> Result<TypedModel, ImportError> {
        // Declared intermediate shapes may contradict the lengths chosen for free dimensions.
        let onnx = super::guard::onnx()
            .with_ignore_value_info(true)
            .with_ignore_output_types(true);
        let mut parsed =
            guarded(|| onnx.model_for_proto_model(&self.proto)).map_err(|e| self.blame(e))?;
        super::guard::bound(&mut parsed, self.most);
        guarded(|| parsed.into_typed()).map_err(|e| self.blame(e))
    }

    /// The ONNX node that a tract node came from: tract appends `.part` to the names of what it expands.
    pub(super) fn origin(&self, name: &str) -> Option<&Origin> {
        let mut name = name;
        loop {
            if let Some(origin) = self.origins.get(name) {
                return Some(origin);
            }
            name = name.rsplit_once('.')?.0;
        }
    }

    /// Ties an error text of tract to the node it talks about.
    fn blame(&self, reason: String) -> ImportError {
        let quoted = reason
            .split('"')
            .skip(1)
            .step_by(2)
            .find_map(|name| self.origins.get(name));
        let building = || {
            let name = reason.split("Building node ").nth(1)?.split(" (").next()?;
            self.origins.get(name)
        };
        let unnamed = || {
            let op = reason.split("Building node  (").nth(1)?.split(')').next()?;
            self.origins.values().find(|o| o.op == op)
        };
        match quoted.or_else(building).or_else(unnamed) {
            Some(origin) => origin.unsupported(shorten(&reason)),
            None => ImportError::Inference {
                reason: shorten(&reason),
            },
        }
    }
}

/// tract's errors can print whole nodes.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(400).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn tract_name(node: &NodeProto) -> String {
    let output = node.output.first().filter(|o| !o.is_empty());
    if node.name.is_empty() {
        output.cloned().unwrap_or_default()
    } else {
        node.name.clone()
    }
}

fn limit(name: &str, what: &'static str, found: u64, limit: usize) -> Result<(), ImportError> {
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

/// The operator set of a node; empty for ONNX's own.
fn domain(node: &NodeProto) -> &str {
    match node.domain.as_str() {
        "ai.onnx" => "",
        domain => domain,
    }
}

fn limit_nodes(graph: &GraphProto, options: &ImportOptions) -> Result<(), ImportError> {
    limit(
        &graph.name,
        "the number of nodes",
        graph.node.len() as u64,
        options.max_nodes,
    )
}

/// Nodes that share a name lose it, and are called by their results: what a node is written out in is named after it.
fn distinct_nodes(graph: &mut GraphProto) {
    let mut seen = HashSet::new();
    for node in &mut graph.node {
        if !seen.insert(node.name.clone()) {
            node.name.clear();
        }
    }
}

/// Refuses operators that are not known. The rewrites and tract go by an operator's name alone: another domain's operator
/// of the same name may be anything.
fn check_operators(graph: &GraphProto, opsets: &HashMap<String, i64>) -> Result<(), ImportError> {
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

/// Refuses graphs in which a name stands for two values: whoever reads it would get either.
fn check_names(graph: &GraphProto) -> Result<(), ImportError> {
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

/// Bounds everything in the file that decides about allocations, and lists the nodes.
fn check(
    graph: &GraphProto,
    opsets: &HashMap<String, i64>,
    options: &ImportOptions,
    purpose: Purpose,
) -> Result<HashMap<String, Origin>, ImportError> {
    limit_nodes(graph, options)?;
    check_names(graph)?;
    let known = super::guard::onnx().op_register;
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
        if (refused && purpose == Purpose::Lower && !stored) || unknown {
            return Err(origin.unsupported(operators::advice(domain(node), &node.op_type)));
        }
        for attribute in &node.attribute {
            let foreign = attribute.g.is_some() && node.op_type != "Scan";
            if (foreign || !attribute.graphs.is_empty()) && purpose == Purpose::Lower {
                return Err(origin.unsupported("graphs inside nodes are not supported"));
            }
            if let Some(body) = &attribute.g {
                // Messages name the loop.
                let inner = check(body, opsets, options, purpose)?.into_keys();
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
    if tensor.data_location == Some(1) || !tensor.external_data.is_empty() {
        let reason = format!(
            "tensor \"{}\" is in another file; save the model with its weights inside",
            tensor.name
        );
        return Err(ImportError::Malformed { reason });
    }
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

/// Gives every free dimension of an input a length.
fn fix_inputs(graph: &mut GraphProto, options: &ImportOptions) -> Result<(), ImportError> {
    let weights: Vec<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    let mut batch_symbols: Vec<String> = Vec::new();
    for input in &mut graph.input {
        if weights.contains(&input.name) {
            continue;
        }
        let value = input.r#type.as_mut().and_then(|t| t.value.as_mut());
        let Some(type_proto::Value::TensorType(tensor)) = value else {
            return Err(ImportError::Malformed {
                reason: format!("input \"{}\" is not a tensor", input.name),
            });
        };
        let Some(shape) = tensor.shape.as_mut() else {
            return Err(ImportError::DynamicDimension {
                input: input.name.clone(),
                axis: 0,
                symbol: "no shape".into(),
            });
        };
        let mut elements = 1u64;
        for (axis, dim) in shape.dim.iter_mut().enumerate() {
            let length = length(dim, axis, options, &mut batch_symbols).map_err(|symbol| {
                ImportError::DynamicDimension {
                    input: input.name.clone(),
                    axis,
                    symbol,
                }
            })?;
            elements = elements.saturating_mul(length as u64);
            dim.value = Some(dimension::Value::DimValue(length as i64));
        }
        if elements == 0 {
            return Err(ImportError::Malformed {
                reason: format!("input \"{}\" has no elements", input.name),
            });
        }
        limit(
            &input.name,
            "the number of elements",
            elements,
            options.max_elements,
        )?;
    }
    Ok(())
}

fn length(
    dim: &Dimension,
    axis: usize,
    options: &ImportOptions,
    batch: &mut Vec<String>,
) -> Result<usize, String> {
    match &dim.value {
        Some(dimension::Value::DimValue(v)) if *v > 0 => {
            usize::try_from(*v).map_err(|_| "too large".into())
        }
        Some(dimension::Value::DimParam(name)) => {
            if let Some(&length) = options.symbols.get(name) {
                return Ok(length);
            }
            if axis == 0 && !batch.contains(name) {
                batch.push(name.clone());
            }
            if batch.contains(name) {
                Ok(options.batch)
            } else {
                Err(name.clone())
            }
        }
        // Some exporters write 0 or -1 for a free batch dimension.
        _ if axis == 0 => Ok(options.batch),
        _ => Err("unnamed".into()),
    }
}
