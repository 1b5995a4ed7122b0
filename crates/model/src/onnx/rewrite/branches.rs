//! Choices of which one branch is not a number where it is not taken: `b > 0 ? a / b : 0`. No integer stands for what it would
//! be, so what leads there is chosen as well: `a / (b > 0 ? b : 1)`, which is the same wherever it is taken.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::writer::{attribute, known};

/// How many operators behind a choice are looked at.
const DEPTH: usize = 6;
/// Most operands that are chosen for one graph.
const MOST: usize = 4096;

/// Operators that are looked through, and which of their operands.
fn through(op: &str) -> bool {
    matches!(
        op,
        "Add"
            | "Sub"
            | "Mul"
            | "Div"
            | "Neg"
            | "Abs"
            | "Exp"
            | "Log"
            | "Sqrt"
            | "Tanh"
            | "Sigmoid"
            | "Erf"
            | "Relu"
            | "Identity"
            | "Reciprocal"
            | "Pow"
            | "Cast"
    )
}

/// The operand for which an operator may have no value.
fn risky(op: &str) -> Option<usize> {
    match op {
        "Div" => Some(1),
        "Log" | "Sqrt" | "Reciprocal" | "Pow" => Some(0),
        _ => None,
    }
}

/// What a graph's values are made of and who reads them.
struct Values<'g> {
    made: HashMap<&'g str, usize>,
    read: HashMap<&'g str, usize>,
    stored: HashSet<&'g str>,
    /// Stored whole numbers that are not negative: such a power always has a value.
    whole: HashSet<&'g str>,
}

/// One operand of one node that becomes a choice.
struct Choice {
    node: usize,
    operand: usize,
    condition: String,
    /// Whether the operand counts where the condition holds.
    holds: bool,
}

/// Puts choices before operators whose values are only wanted where they have some.
pub(in crate::onnx) fn rewrite(graph: &mut GraphProto) {
    for node in &mut graph.node {
        let bodies = node.attribute.iter_mut().filter_map(|a| a.g.as_mut());
        bodies.for_each(rewrite);
    }
    let choices = choices(graph);
    if choices.is_empty() {
        return;
    }
    let mut before: HashMap<usize, Vec<NodeProto>> = HashMap::new();
    for (number, choice) in choices.into_iter().enumerate() {
        let node = &mut graph.node[choice.node];
        let Some(operand) = node.input.get_mut(choice.operand) else {
            continue;
        };
        let name = node.output.first().cloned().unwrap_or_default();
        let [one, like, safe] = ["one", "like", "safe"].map(|s| format!("{name}.~{s}{number}"));
        graph.initializer.push(TensorProto {
            name: one.clone(),
            data_type: 1,
            float_data: vec![1.0],
            ..TensorProto::default()
        });
        let (yes, no) = if choice.holds {
            (operand.clone(), like.clone())
        } else {
            (like.clone(), operand.clone())
        };
        let new = before.entry(choice.node).or_default();
        new.push(made("CastLike", vec![one, operand.clone()], &like));
        new.push(made("Where", vec![choice.condition, yes, no], &safe));
        *operand = safe;
    }
    let nodes = std::mem::take(&mut graph.node);
    for (number, node) in nodes.into_iter().enumerate() {
        graph
            .node
            .extend(before.remove(&number).unwrap_or_default());
        graph.node.push(node);
    }
}

fn made(op: &str, input: Vec<String>, output: &str) -> NodeProto {
    NodeProto {
        name: output.into(),
        op_type: op.into(),
        input,
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

fn choices(graph: &GraphProto) -> Vec<Choice> {
    if !graph.node.iter().any(|n| n.op_type == "Where") {
        return Vec::new();
    }
    let mut values = Values {
        made: HashMap::new(),
        read: HashMap::new(),
        stored: graph.initializer.iter().map(|t| t.name.as_str()).collect(),
        whole: graph
            .initializer
            .iter()
            .filter(|t| is_whole(t))
            .map(|t| t.name.as_str())
            .collect(),
    };
    for (number, node) in graph.node.iter().enumerate() {
        if node.op_type == "Constant" {
            values.stored.extend(node.output.iter().map(String::as_str));
            let tensor = attribute(node, "value").and_then(|a| a.t.as_ref());
            if tensor.is_some_and(is_whole) {
                values.whole.extend(node.output.iter().map(String::as_str));
            }
        }
        for output in &node.output {
            values.made.insert(output, number);
        }
        for input in &node.input {
            *values.read.entry(input).or_default() += 1;
        }
        // What a graph inside a node reads may be anything.
        for name in node
            .attribute
            .iter()
            .filter_map(|a| a.g.as_ref())
            .flat_map(inside)
        {
            *values.read.entry(name).or_default() += 2;
        }
    }
    for output in &graph.output {
        *values.read.entry(&output.name).or_default() += 1;
    }
    let mut found = Vec::new();
    for (number, node) in graph.node.iter().enumerate() {
        let [condition, yes, no] = node.input.as_slice() else {
            continue;
        };
        if node.op_type != "Where" || values.stored.contains(condition.as_str()) {
            continue;
        }
        for (branch, holds) in [(yes, true), (no, false)] {
            let places = found_in(graph, &values, branch, DEPTH, number).unwrap_or_default();
            found.extend(places.into_iter().map(|(node, operand)| Choice {
                node,
                operand,
                condition: condition.clone(),
                holds,
            }));
        }
        if found.len() > MOST {
            break;
        }
    }
    // The condition has to be there before the operand is used.
    let position = |name: &str| values.made.get(name).copied();
    found.retain(|c| position(&c.condition).is_none_or(|at| at < c.node));
    found
}

fn is_whole(tensor: &TensorProto) -> bool {
    known(tensor).is_some_and(|k| {
        let mut values = k.values.iter();
        !k.values.is_empty() && values.all(|v| *v >= 0.0 && v.fract() == 0.0)
    })
}

fn inside(body: &GraphProto) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for node in &body.node {
        names.extend(node.input.iter().map(String::as_str));
        names.extend(
            node.attribute
                .iter()
                .filter_map(|a| a.g.as_ref())
                .flat_map(inside),
        );
    }
    names
}

/// Operands behind a value that nobody else reads for which it may have no value.
fn found_in(
    graph: &GraphProto,
    values: &Values,
    name: &str,
    depth: usize,
    before: usize,
) -> Option<Vec<(usize, usize)>> {
    let number = *values.made.get(name)?;
    let node = &graph.node[number];
    let domain = matches!(node.domain.as_str(), "" | "ai.onnx");
    if depth == 0 || number >= before || !domain || !through(&node.op_type) {
        return None;
    }
    if values.read.get(name) != Some(&1) {
        return None;
    }
    let mut found = Vec::new();
    let power = node.op_type == "Pow"
        && node
            .input
            .get(1)
            .is_some_and(|p| values.whole.contains(p.as_str()));
    let risk = risky(&node.op_type).filter(|_| !power);
    for (operand, input) in node.input.iter().enumerate() {
        if values.stored.contains(input.as_str()) || input.is_empty() {
            continue;
        }
        if risk == Some(operand) {
            found.push((number, operand));
        }
        found.extend(found_in(graph, values, input, depth - 1, number).unwrap_or_default());
    }
    Some(found)
}
