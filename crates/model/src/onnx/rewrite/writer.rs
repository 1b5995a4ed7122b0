//! What rewrites write with, and what they know of the graph.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::texts::Texts;
use super::types::Types;

/// A constant's elements and shape.
#[derive(Clone, Debug)]
pub struct Known {
    pub values: Vec<f64>,
    pub dims: Vec<i64>,
    pub data_type: i32,
}

/// The elements of a tensor of a type that quantized models and indices use.
pub fn decode(tensor: &TensorProto) -> Option<Known> {
    let raw = tensor.raw_data.as_slice();
    let ints = || {
        tensor
            .int32_data
            .iter()
            .map(|&v| f64::from(v))
            .collect::<Vec<_>>()
    };
    let values: Vec<f64> = match (tensor.data_type, raw.is_empty()) {
        (1, false) => raw
            .chunks_exact(4)
            .map(|c| f64::from(f32::from_le_bytes(c.try_into().unwrap_or_default())))
            .collect(),
        (1, true) => tensor.float_data.iter().map(|&v| f64::from(v)).collect(),
        (2, false) => raw.iter().map(|&v| f64::from(v)).collect(),
        (3, false) => raw.iter().map(|&v| f64::from(v as i8)).collect(),
        (6, false) => raw
            .chunks_exact(4)
            .map(|c| f64::from(i32::from_le_bytes(c.try_into().unwrap_or_default())))
            .collect(),
        (7, false) => raw
            .chunks_exact(8)
            .map(|c| i64::from_le_bytes(c.try_into().unwrap_or_default()) as f64)
            .collect(),
        (7, true) => tensor.int64_data.iter().map(|&v| v as f64).collect(),
        (9, false) => raw.iter().map(|&v| f64::from(u8::from(v != 0))).collect(),
        (11, false) => raw
            .chunks_exact(8)
            .map(|c| f64::from_le_bytes(c.try_into().unwrap_or_default()))
            .collect(),
        (11, true) => tensor.double_data.clone(),
        (4, false) => raw
            .chunks_exact(2)
            .map(|c| f64::from(u16::from_le_bytes(c.try_into().unwrap_or_default())))
            .collect(),
        (5, false) => raw
            .chunks_exact(2)
            .map(|c| f64::from(i16::from_le_bytes(c.try_into().unwrap_or_default())))
            .collect(),
        (2..=6 | 9, true) => ints(),
        _ => return None,
    };
    let len = tensor.dims.iter().fold(1i64, |p, &d| p.saturating_mul(d));
    (values.len() as i64 == len).then(|| Known {
        values,
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
    })
}

/// Most elements of a tensor of which more than the shape is looked at.
pub const LOOKED_AT: i64 = 1 << 16;

/// What is known of a stored tensor; of a large one its shape.
pub fn known(tensor: &TensorProto) -> Option<Known> {
    let len = tensor.dims.iter().fold(1i64, |p, &d| p.saturating_mul(d));
    if len <= LOOKED_AT {
        return decode(tensor);
    }
    Some(Known {
        values: Vec::new(),
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
    })
}

/// New nodes and constants in place of one node.
pub struct Writer<'a> {
    pub name: String,
    pub count: usize,
    /// Version of the ONNX operator set.
    pub opset: i64,
    pub nodes: Vec<NodeProto>,
    pub constants: &'a mut Vec<TensorProto>,
}

impl Writer<'_> {
    pub fn fresh(&mut self) -> String {
        self.count += 1;
        // tract appends `.part` in the same way; errors strip it. No exporter writes a tilde.
        format!("{}.~{}", self.name, self.count)
    }

    /// A constant of floats.
    pub fn floats(&mut self, values: Vec<f32>, dims: &[usize]) -> String {
        let name = self.fresh();
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: 1,
            dims: dims.iter().map(|&d| d as i64).collect(),
            float_data: values,
            ..TensorProto::default()
        });
        name
    }

    /// A constant of whole numbers.
    pub fn indices(&mut self, values: Vec<i64>) -> String {
        let name = self.fresh();
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: 7,
            dims: vec![values.len() as i64],
            int64_data: values,
            ..TensorProto::default()
        });
        name
    }

    /// A whole number.
    pub fn index(&mut self, value: i64) -> String {
        let name = self.indices(vec![value]);
        if let Some(tensor) = self.constants.last_mut() {
            tensor.dims.clear();
        }
        name
    }

    pub fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<AttributeProto>,
    ) {
        let name = self.fresh();
        self.nodes.push(NodeProto {
            name,
            op_type: op.into(),
            input: inputs.iter().map(|s| (*s).to_string()).collect(),
            output: vec![output.to_string()],
            attribute,
            ..NodeProto::default()
        });
    }

    /// The node itself with other attributes: errors go on to name it.
    pub fn instead(&mut self, node: &NodeProto, attribute: Vec<AttributeProto>) {
        self.nodes.push(NodeProto {
            attribute,
            ..node.clone()
        });
    }

    pub fn op(&mut self, op: &str, inputs: &[&str]) -> String {
        self.op_with(op, inputs, Vec::new())
    }

    pub fn op_with(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let output = self.fresh();
        self.node(op, inputs, &output, attribute);
        output
    }

    pub fn cast(&mut self, x: &str) -> String {
        self.op_with("Cast", &[x], vec![int("to", 1)])
    }

    /// `Unsqueeze` or `Squeeze` of the last axis.
    pub fn last_axis(&mut self, op: &str, x: &str) -> String {
        if self.opset < 13 {
            return self.op_with(op, &[x], vec![ints("axes", vec![-1])]);
        }
        let last = self.indices(vec![-1]);
        self.op(op, &[x, &last])
    }

    pub fn identity(&mut self, x: &str, y: &str) -> Option<()> {
        self.node("Identity", &[x], y, Vec::new());
        Some(())
    }

    /// The class with the largest score, by its number; where classes have names, by the place of the name.
    pub fn label(
        &mut self,
        scores: &str,
        ids: &[i64],
        label: &str,
        texts: &mut Texts,
    ) -> Option<()> {
        if ids.is_empty() {
            texts.push(label.into());
        }
        let settings = vec![int("axis", 1), int("keepdims", 0)];
        // Also where there are none.
        if ids.iter().zip(0..).all(|(a, b)| *a == b) {
            self.node("ArgMax", &[scores], label, settings);
            return Some(());
        }
        let index = self.op_with("ArgMax", &[scores], settings);
        let ids = self.indices(ids.to_vec());
        self.node("Gather", &[&ids, &index], label, vec![int("axis", 0)]);
        Some(())
    }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 2,
        i: value,
        ..AttributeProto::default()
    }
}

pub fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 7,
        ints: values,
        ..AttributeProto::default()
    }
}

/// The name that a node's parts are named after.
pub fn name_of(node: &NodeProto) -> String {
    let first = node.output.iter().find(|o| !o.is_empty());
    if node.name.is_empty() {
        first.cloned().unwrap_or_default()
    } else {
        node.name.clone()
    }
}

pub fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

pub fn text(node: &NodeProto, name: &str) -> String {
    attribute(node, name)
        .map(|a| String::from_utf8_lossy(&a.s).into_owned())
        .unwrap_or_default()
}

/// Takes the graph's nodes one after another: where `write` answers `Some`, what it wrote stands in the node's place,
/// elsewhere the node stays. The constants that it wrote join the graph's.
pub fn each_node(
    graph: &mut GraphProto,
    opset: i64,
    mut write: impl FnMut(&mut NodeProto, &mut Writer) -> Option<()>,
) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        let mut writer = Writer {
            name: name_of(&node),
            count: 0,
            opset,
            nodes: Vec::new(),
            constants: &mut graph.initializer,
        };
        match write(&mut node, &mut writer) {
            Some(()) => nodes.append(&mut writer.nodes),
            None => nodes.push(node),
        }
    }
    graph.node = nodes;
}

/// What is known of the graph whose nodes are written out.
#[derive(Default)]
pub struct Facts {
    /// Constants by name.
    pub known: HashMap<String, Known>,
    /// `DynamicQuantizeLinear`s that can be left out, by the names of their integers.
    pub left_out: HashSet<String>,
    pub texts: Texts,
    /// Truths and numbers of axes.
    pub types: Types,
}
