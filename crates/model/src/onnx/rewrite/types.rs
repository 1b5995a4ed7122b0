//! What is known of a graph's values before it is typed.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, ValueInfoProto, type_proto};

use super::writer::attribute;

/// What is known of a graph's values besides what is stored: which are truths, and how many axes the model's inputs have.
#[derive(Default)]
pub struct Types {
    pub truths: HashSet<String>,
    pub ranks: HashMap<String, usize>,
    /// Values of integer types.
    pub whole: HashSet<String>,
}

impl Types {
    pub fn of(graph: &GraphProto) -> Types {
        let mut types = Types::default();
        let values = graph.input.iter().chain(&graph.value_info);
        values.for_each(|value| types.declared(value));
        for tensor in &graph.initializer {
            types.ranks.insert(tensor.name.clone(), tensor.dims.len());
            if tensor.data_type == 9 {
                types.truths.insert(tensor.name.clone());
            }
            if is_whole(tensor.data_type) {
                types.whole.insert(tensor.name.clone());
            }
        }
        for node in &graph.node {
            let from = |at: usize| node.input.get(at).is_some_and(|n| types.truths.contains(n));
            let truth = match node.op_type.as_str() {
                "And" | "Or" | "Xor" | "Not" | "Less" | "LessOrEqual" | "Greater" | "IsNaN"
                | "GreaterOrEqual" | "Equal" | "IsInf" => true,
                "Cast" => attribute(node, "to").is_some_and(|a| a.i == 9),
                "Constant" => {
                    let tensor = attribute(node, "value").and_then(|a| a.t.as_ref());
                    tensor.is_some_and(|t| t.data_type == 9)
                }
                "Where" => from(1),
                "Identity" | "Unsqueeze" | "Squeeze" | "Reshape" | "Expand" | "Slice"
                | "Transpose" | "Gather" | "Concat" | "Tile" | "Flatten" | "Split" | "Trilu" => {
                    from(0)
                }
                _ => false,
            };
            let same = matches!(
                node.op_type.as_str(),
                "Identity"
                    | "Cast"
                    | "QuantizeLinear"
                    | "DequantizeLinear"
                    | "Relu"
                    | "Softmax"
                    | "Conv"
                    | "Transpose"
                    | "Sigmoid"
                    | "Tanh"
                    | "Clip"
                    | "LayerNormalization"
            );
            let rank = node.input.first().and_then(|n| types.ranks.get(n)).copied();
            if let (Some(rank), Some(output), true) = (rank, node.output.first(), same) {
                types.ranks.insert(output.clone(), rank);
            }
            let whole = match node.op_type.as_str() {
                "Cast" => attribute(node, "to").is_some_and(|a| is_whole(a.i as i32)),
                "ArgMax" | "ArgMin" | "Shape" | "Size" => true,
                "Identity" | "Unsqueeze" | "Squeeze" | "Reshape" | "Slice" | "Transpose"
                | "Abs" | "Add" | "Sub" | "Mul" | "Neg" | "Gather" | "Concat" => {
                    let first = node.input.first();
                    first.is_some_and(|n| types.whole.contains(n))
                }
                _ => false,
            };
            if whole {
                types.whole.extend(node.output.iter().cloned());
            }
            if truth {
                types.truths.extend(node.output.iter().cloned());
            }
        }
        types
    }

    /// The number of axes of a value, and which of them this one is.
    pub fn axis(&self, name: &str, axis: i64) -> Option<(usize, usize)> {
        let rank = *self.ranks.get(name)?;
        let axis = if axis < 0 { axis + rank as i64 } else { axis };
        Some((rank, usize::try_from(axis).ok()?))
    }

    fn declared(&mut self, value: &ValueInfoProto) {
        let of = value.r#type.as_ref().and_then(|t| t.value.as_ref());
        if let Some(type_proto::Value::TensorType(tensor)) = of {
            if tensor.elem_type == 9 {
                self.truths.insert(value.name.clone());
            }
            if is_whole(tensor.elem_type) {
                self.whole.insert(value.name.clone());
            }
            let rank = tensor.shape.as_ref().map(|s| s.dim.len());
            self.ranks.extend(rank.map(|r| (value.name.clone(), r)));
        }
    }
}

fn is_whole(data_type: i32) -> bool {
    matches!(data_type, 2..=7 | 12 | 13)
}
