//! Texts, as the names of classes are. A proof knows numbers only, so a text is the number of its place in a list; the list
//! goes along with the value, up to the model's interface.

use std::collections::HashMap;

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::writer::{attribute, int, ints, name_of};

/// `TensorProto.DataType.STRING`
const STRING: i32 = 8;
/// Operators that move elements of their first operand, whatever these are.
const MOVES: &[&str] = &[
    "ArrayFeatureExtractor",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
    "Reshape",
    "Slice",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// Which values stand for texts, and for which.
#[derive(Default)]
pub struct Texts {
    lists: HashMap<String, Vec<String>>,
    /// The classes of the node that is written out.
    classes: Vec<String>,
    /// The first node that computes with texts.
    misused: Option<String>,
}

impl Texts {
    /// The texts that a value stands for; none if it is a number.
    pub fn labels(&self, value: &str) -> Vec<String> {
        self.lists.get(value).cloned().unwrap_or_default()
    }

    /// The node that asks for what cannot be done with the numbers of texts.
    pub fn misused(&self) -> Option<&str> {
        self.misused.as_deref()
    }

    pub fn of(&self, value: &str) -> Option<&[String]> {
        self.lists.get(value).map(Vec::as_slice)
    }

    pub fn set(&mut self, value: &str, list: Vec<String>) {
        self.lists.insert(value.to_owned(), list);
    }

    /// A value is the number of one of the node's classes.
    pub fn push(&mut self, value: String) {
        self.lists.insert(value, self.classes.clone());
    }

    /// Makes numbers of the graph's stored texts.
    pub fn stored(&mut self, graph: &mut GraphProto) {
        for tensor in &mut graph.initializer {
            if let Some(list) = numbered(tensor) {
                self.set(&tensor.name.clone(), list);
            }
        }
        for node in graph.node.iter_mut().filter(|n| n.op_type == "Constant") {
            let Some(name) = node.output.first().cloned() else {
                continue;
            };
            if let Some(list) = node.attribute.iter_mut().find_map(numbered_constant) {
                self.set(&name, list);
            }
        }
    }

    /// What is known of a node's results before the node is written out.
    pub fn enter(&mut self, node: &mut NodeProto) {
        self.classes = strings(node, "classlabels_strings");
        let reads = |i: &String| self.lists.contains_key(i);
        if !node.input.iter().any(reads) {
            return;
        }
        let list = node.input.first().and_then(|i| self.lists.get(i)).cloned();
        let others = node.input.iter().skip(1).any(reads);
        let to_text = node.op_type == "Cast"
            && attribute(node, "to").is_some_and(|a| a.i == i64::from(STRING));
        match list {
            Some(list) if !others && (to_text || MOVES.contains(&node.op_type.as_str())) => {
                if to_text {
                    node.op_type = "Identity".into();
                    node.attribute.clear();
                }
                if let Some(y) = node.output.first() {
                    self.lists.insert(y.clone(), list);
                }
            }
            Some(_) if !others && node.op_type == "LabelEncoder" => {}
            _ => {
                self.misused.get_or_insert_with(|| name_of(node));
            }
        }
    }
}

/// The texts of an attribute.
pub fn strings(node: &NodeProto, name: &str) -> Vec<String> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    attribute(node, name).map_or(Vec::new(), |a| a.strings.iter().map(text).collect())
}

fn numbered(tensor: &mut TensorProto) -> Option<Vec<String>> {
    if tensor.data_type != STRING {
        return None;
    }
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let list: Vec<String> = tensor.string_data.iter().map(text).collect();
    tensor.data_type = 7;
    tensor.int64_data = (0..).take(list.len()).collect();
    tensor.string_data.clear();
    Some(list)
}

fn numbered_constant(attribute: &mut AttributeProto) -> Option<Vec<String>> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    match attribute.name.as_str() {
        "value" => numbered(attribute.t.as_mut()?),
        "value_string" => {
            let list = vec![text(&attribute.s)];
            *attribute = int("value_int", 0);
            Some(list)
        }
        "value_strings" => {
            let list: Vec<String> = attribute.strings.iter().map(text).collect();
            *attribute = ints("value_ints", (0..).take(list.len()).collect());
            Some(list)
        }
        _ => None,
    }
}
