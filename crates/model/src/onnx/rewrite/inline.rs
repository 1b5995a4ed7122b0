//! Graphs inside nodes, written out where that is possible before shapes are known: functions of the model's own, `If` with a
//! constant condition, `Loop` with a constant number of steps.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto,
};

use super::writer::{Known, Writer, attribute, decode, int};
use super::{counters, loops};

/// How deep functions and bodies may be nested.
const DEPTH: usize = 16;
/// Most bytes of constants in bodies, copies included.
const BYTES: usize = 1 << 28;
/// Most scalars that are computed to find the lengths of loops.
const SCALARS: usize = 1 << 22;
/// What a name costs of [`BYTES`].
const NAME: usize = 256;
/// Most steps of a loop.
const STEPS: i64 = 1024;

/// What is written out, and what is left to do it with.
struct Inliner<'a> {
    functions: &'a [FunctionProto],
    constants: Vec<TensorProto>,
    /// Version of the ONNX operator set.
    opset: i64,
    /// Nodes and bytes of constants that may still be added.
    room: usize,
    bytes: usize,
    /// How many bodies were written out, which makes their names different.
    count: usize,
}

/// Writes out what can be, as long as that makes no more than `limit` nodes. What cannot stays, and is refused later.
pub(in crate::onnx) fn inline(model: &mut ModelProto, opset: i64, limit: usize) {
    let functions = std::mem::take(&mut model.functions);
    let Some(graph) = model.graph.as_mut() else {
        return;
    };
    let nested = |n: &NodeProto| n.attribute.iter().any(|a| a.g.is_some());
    if functions.is_empty() && !graph.node.iter().any(nested) {
        return;
    }
    let mut known: HashMap<String, Known> = HashMap::new();
    for tensor in &graph.initializer {
        known.extend(super::writer::known(tensor).map(|k| (tensor.name.clone(), k)));
    }
    let mut inliner = Inliner {
        functions: &functions,
        constants: Vec::new(),
        opset,
        room: limit,
        bytes: BYTES,
        count: 0,
    };
    let mut out = Vec::with_capacity(graph.node.len());
    let mut scalars = loops::scalars(graph);
    let mut room = SCALARS;
    for mut node in std::mem::take(&mut graph.node) {
        if node.op_type == "Loop" && node.domain.is_empty() {
            let mut counted = Vec::new();
            if counters::rewrite(&mut node, &known, &mut counted, &mut room).is_some() {
                for tensor in counted {
                    known.extend(decode(&tensor).map(|k| (tensor.name.clone(), k)));
                    scalars.extend(loops::scalar(&tensor).map(|v| (tensor.name.clone(), v)));
                    inliner.constants.push(tensor);
                }
            }
            let mut writer = Writer {
                name: super::writer::name_of(&node),
                count: 0,
                opset,
                nodes: Vec::new(),
                constants: &mut inliner.constants,
            };
            if loops::rewrite(&node, &mut writer, &scalars).is_some() {
                out.append(&mut writer.nodes);
                continue;
            }
        }
        inliner.node(node, &mut known, &mut out, 0);
    }
    graph.node = out;
    graph.initializer.append(&mut inliner.constants);
}

fn identity(x: &str, y: &str, name: String) -> NodeProto {
    NodeProto {
        name,
        op_type: "Identity".into(),
        input: vec![x.into()],
        output: vec![y.into()],
        ..NodeProto::default()
    }
}

impl Inliner<'_> {
    /// Appends a node, or what stands for it.
    fn node(
        &mut self,
        node: NodeProto,
        known: &mut HashMap<String, Known>,
        out: &mut Vec<NodeProto>,
        depth: usize,
    ) {
        let written = (depth < DEPTH)
            .then(|| match node.op_type.as_str() {
                "If" if node.domain.is_empty() => self.choice(&node, known),
                "Loop" if node.domain.is_empty() => self.repeated(&node, known),
                _ => self.call(&node),
            })
            .flatten();
        let Some(nodes) = written else {
            if node.op_type == "Constant"
                && let Some(k) = attribute(&node, "value")
                    .and_then(|a| a.t.as_ref())
                    .and_then(super::writer::known)
                && let Some(name) = node.output.first()
            {
                known.insert(name.clone(), k);
            }
            if let ("Identity", [x], [y]) =
                (node.op_type.as_str(), &node.input[..], &node.output[..])
                && let Some(k) = known.get(x).cloned()
            {
                known.insert(y.clone(), k);
            }
            out.push(node);
            return;
        };
        for node in nodes {
            self.node(node, known, out, depth + 1);
        }
    }

    /// A copy of a body's nodes with names of their own. `names` has what inner names stand for outside.
    fn copy(
        &mut self,
        prefix: &str,
        nodes: &[NodeProto],
        names: &mut HashMap<String, String>,
    ) -> Option<Vec<NodeProto>> {
        self.room = self.room.checked_sub(nodes.len())?;
        self.count += 1;
        // tract appends `.part` in the same way; errors strip it.
        let prefix = format!("{prefix}.{}", self.count);
        for output in nodes
            .iter()
            .flat_map(|n| &n.output)
            .filter(|o| !o.is_empty())
        {
            let inner = format!("{prefix}.{output}");
            names.entry(output.clone()).or_insert(inner);
        }
        let copied = nodes.iter().enumerate().map(|(i, node)| {
            let mut node = node.clone();
            rename(&mut node, names, 0)?;
            node.name = format!("{prefix}.{i}");
            Some(node)
        });
        copied.collect()
    }

    /// A copy of a graph with its constants.
    fn body(
        &mut self,
        prefix: &str,
        graph: &GraphProto,
        names: &mut HashMap<String, String>,
    ) -> Option<Vec<NodeProto>> {
        for tensor in &graph.initializer {
            if names.contains_key(&tensor.name) {
                continue;
            }
            self.count += 1;
            let name = format!("{prefix}.{}.{}", self.count, tensor.name);
            names.insert(tensor.name.clone(), name.clone());
            let size = tensor.raw_data.len()
                + 4 * (tensor.float_data.len() + tensor.int32_data.len())
                + 8 * (tensor.int64_data.len() + tensor.double_data.len());
            self.bytes = self.bytes.checked_sub(size)?;
            let mut tensor = tensor.clone();
            tensor.name = name;
            self.constants.push(tensor);
        }
        self.copy(prefix, &graph.node, names)
    }

    /// A call of a function of the model's own.
    fn call(&mut self, node: &NodeProto) -> Option<Vec<NodeProto>> {
        let functions = self.functions;
        let function = functions.iter().find(|f| {
            f.name.as_deref() == Some(&node.op_type)
                && f.domain.as_deref().unwrap_or_default() == node.domain
        })?;
        let mut names = HashMap::new();
        for (i, formal) in function.input.iter().enumerate() {
            names.insert(
                formal.clone(),
                node.input.get(i).cloned().unwrap_or_default(),
            );
        }
        for (formal, actual) in function.output.iter().zip(&node.output) {
            // A function may hand through an operand; then it is not a result of a node.
            if !actual.is_empty() && function.node.iter().any(|n| n.output.contains(formal)) {
                names.insert(formal.clone(), actual.clone());
            }
        }
        let prefix = super::writer::name_of(node);
        let mut nodes = self.copy(&prefix, &function.node, &mut names)?;
        for inner in &mut nodes {
            for attribute in &mut inner.attribute {
                let reference = std::mem::take(&mut attribute.ref_attr_name);
                if reference.is_empty() {
                    continue;
                }
                let given = node.attribute.iter().find(|a| a.name == reference);
                let name = std::mem::take(&mut attribute.name);
                match given {
                    Some(given) => {
                        *attribute = AttributeProto {
                            name,
                            ..given.clone()
                        }
                    }
                    // Left out: the operator's own default. Defaults of the function's own are not read.
                    None if function.attribute.contains(&reference) => {
                        attribute.name = String::new();
                    }
                    None => return None,
                }
            }
            inner.attribute.retain(|a| !a.name.is_empty());
        }
        for (i, (formal, actual)) in function.output.iter().zip(&node.output).enumerate() {
            if names.get(formal) != Some(actual) && !actual.is_empty() {
                nodes.push(identity(
                    names.get(formal)?,
                    actual,
                    format!("{prefix}.out{i}"),
                ));
            }
        }
        Some(nodes)
    }

    /// The branch that a constant condition takes.
    fn choice(
        &mut self,
        node: &NodeProto,
        known: &HashMap<String, Known>,
    ) -> Option<Vec<NodeProto>> {
        let condition = known.get(node.input.first()?)?.values.first()?;
        let branch = if *condition != 0.0 {
            "then_branch"
        } else {
            "else_branch"
        };
        let graph = attribute(node, branch)?.g.as_ref()?;
        let prefix = super::writer::name_of(node);
        let mut names = HashMap::new();
        let mut nodes = self.body(&prefix, graph, &mut names)?;
        let results = graph.output.iter().zip(&node.output).enumerate();
        for (i, (result, y)) in results.filter(|(_, (_, y))| !y.is_empty()) {
            let x = names.get(&result.name).unwrap_or(&result.name);
            nodes.push(identity(x, y, format!("{prefix}.out{i}")));
        }
        Some(nodes)
    }

    /// All steps of a loop whose number of steps is constant and whose condition is never false.
    fn repeated(
        &mut self,
        node: &NodeProto,
        known: &HashMap<String, Known>,
    ) -> Option<Vec<NodeProto>> {
        let graph = attribute(node, "body")?.g.as_ref()?;
        let value = |i: usize| match node.input.get(i).filter(|n| !n.is_empty()) {
            None => Some(None),
            Some(name) => known
                .get(name)
                .and_then(|k| k.values.first())
                .map(|v| Some(*v)),
        };
        let (steps, condition) = (value(0)??, value(1)?.unwrap_or(1.0));
        if !(0.0..=STEPS as f64).contains(&steps) || graph.input.len() < 2 {
            return None;
        }
        if condition == 0.0 {
            return None;
        }
        let states = graph.input.len() - 2;
        if node.input.len() != 2 + states || graph.output.len() < 1 + states || steps < 1.0 {
            return None;
        }
        if !lasting(graph) {
            return None;
        }
        let prefix = super::writer::name_of(node);
        let mut current: Vec<String> = node.input[2..].to_vec();
        let mut scanned: Vec<Vec<String>> = vec![Vec::new(); graph.output.len() - 1 - states];
        let mut nodes = Vec::new();
        let truth = format!("{prefix}.true");
        self.constants
            .push(constant(&truth, 9, Vec::new(), vec![1]));
        let mut shared: HashMap<String, String> = HashMap::new();
        for step in 0..steps as i64 {
            let number = format!("{prefix}.step{step}");
            self.constants
                .push(constant(&number, 7, vec![step], Vec::new()));
            self.room = self.room.checked_sub(1)?;
            self.bytes = self.bytes.checked_sub(NAME * shared.len())?;
            // Constants of the body are the same in all steps.
            let mut names = shared.clone();
            let inputs = graph.input.iter().map(|i| i.name.clone());
            let outside = [number, truth.clone()].into_iter().chain(current.clone());
            names.extend(inputs.zip(outside));
            nodes.append(&mut self.body(&prefix, graph, &mut names)?);
            for tensor in &graph.initializer {
                shared.insert(tensor.name.clone(), names.get(&tensor.name)?.clone());
            }
            let result = |i: usize| {
                let name = &graph.output[i].name;
                names.get(name).unwrap_or(name).clone()
            };
            current = (0..states).map(|i| result(1 + i)).collect();
            for (at, all) in scanned.iter_mut().enumerate() {
                all.push(result(1 + states + at));
            }
        }
        let results = node
            .output
            .iter()
            .enumerate()
            .filter(|(_, y)| !y.is_empty());
        for (i, y) in results {
            if let Some(x) = current.get(i) {
                nodes.push(identity(x, y, format!("{prefix}.out{i}")));
                continue;
            }
            self.stacked(&prefix, i, scanned.get(i - states)?, y, &mut nodes)?;
        }
        Some(nodes)
    }

    /// What result `i` of a loop is made of, step by step, as one tensor `[step][…]`.
    fn stacked(
        &mut self,
        prefix: &str,
        i: usize,
        parts: &[String],
        y: &str,
        nodes: &mut Vec<NodeProto>,
    ) -> Option<()> {
        let mut stacked = Vec::with_capacity(parts.len());
        let axes = format!("{prefix}.axes");
        if !self.constants.iter().any(|t| t.name == axes) {
            let tensor = constant(&axes, 7, vec![0], Vec::new());
            self.constants.push(TensorProto {
                dims: vec![1],
                ..tensor
            });
        }
        for part in parts {
            self.room = self.room.checked_sub(1)?;
            self.count += 1;
            let name = format!("{prefix}.{}", self.count);
            stacked.push(name.clone());
            let mut node = NodeProto {
                name: name.clone(),
                op_type: "Unsqueeze".into(),
                input: vec![part.clone()],
                output: vec![name],
                ..NodeProto::default()
            };
            if self.opset < 13 {
                node.attribute = vec![super::writer::ints("axes", vec![0])];
            } else {
                node.input.push(axes.clone());
            }
            nodes.push(node);
        }
        nodes.push(NodeProto {
            name: format!("{prefix}.stack{i}"),
            op_type: "Concat".into(),
            input: stacked,
            output: vec![y.into()],
            attribute: vec![int("axis", 0)],
            ..NodeProto::default()
        });
        Some(())
    }
}

/// A stored tensor of one type's numbers.
fn constant(name: &str, data_type: i32, int64_data: Vec<i64>, int32_data: Vec<i32>) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type,
        int64_data,
        int32_data,
        ..TensorProto::default()
    }
}

/// Whether a loop's condition is the one it was given, or true, after every step.
fn lasting(graph: &GraphProto) -> bool {
    let Some(result) = graph.output.first() else {
        return false;
    };
    let mut name = &result.name;
    for _ in 0..DEPTH {
        if graph.input.get(1).is_some_and(|i| i.name == *name) {
            return true;
        }
        let truth = |t: &TensorProto| {
            decode(t).is_some_and(|k| k.values.iter().all(|&v| v != 0.0) && !k.values.is_empty())
        };
        if let Some(tensor) = graph.initializer.iter().find(|t| t.name == *name) {
            return truth(tensor);
        }
        let Some(node) = graph.node.iter().find(|n| n.output.contains(name)) else {
            return false;
        };
        match (node.op_type.as_str(), node.input.first()) {
            ("Identity" | "Cast", Some(input)) => name = input,
            ("Constant", _) => {
                let value = attribute(node, "value").and_then(|a| a.t.as_ref());
                return value.is_some_and(truth);
            }
            _ => return false,
        }
    }
    false
}

/// Replaces names in a node, those that graphs inside it read from outside included.
fn rename(node: &mut NodeProto, names: &HashMap<String, String>, depth: usize) -> Option<()> {
    if depth > DEPTH {
        return None;
    }
    for name in node.input.iter_mut().chain(&mut node.output) {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    }
    for graph in node.attribute.iter_mut().filter_map(|a| a.g.as_mut()) {
        // Names that the inner graph defines hide those outside.
        let own: HashSet<&String> = graph
            .input
            .iter()
            .map(|i| &i.name)
            .chain(graph.initializer.iter().map(|t| &t.name))
            .chain(graph.node.iter().flat_map(|n| &n.output))
            .collect();
        let mut outer = names.clone();
        outer.retain(|name, _| !own.contains(name));
        for node in &mut graph.node {
            rename(node, &outer, depth + 1)?;
        }
        for output in &mut graph.output {
            if let Some(new) = outer.get(&output.name) {
                output.name.clone_from(new);
            }
        }
    }
    Some(())
}
