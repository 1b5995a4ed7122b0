//! ONNX models made on the spot.

use prost::Message;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

const FLOAT: i32 = 1;
const INT64: i32 = 7;
/// `Gelu` is an operator from here on.
const OPSET: i64 = 20;

/// A model under construction: every node has one result, and its name is that result's.
pub(crate) struct Builder {
    graph: GraphProto,
}

/// An attribute that is one whole number.
pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 2,
        i: value,
        ..AttributeProto::default()
    }
}

/// An attribute that is a list of whole numbers.
pub(crate) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 7,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

fn info(name: &str, shape: &[usize]) -> ValueInfoProto {
    let dim = |&d: &usize| Dimension {
        value: Some(Dim::DimValue(d as i64)),
        ..Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: FLOAT,
        shape: Some(TensorShapeProto {
            dim: shape.iter().map(dim).collect(),
        }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

impl Builder {
    /// A model with the input `x`.
    pub fn new(input: &[usize]) -> Builder {
        Builder {
            graph: GraphProto {
                name: "generated".into(),
                input: vec![info("x", input)],
                ..GraphProto::default()
            },
        }
    }

    /// A tensor of the model.
    pub fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(name, shape, FLOAT, bytes)
    }

    /// A list of whole numbers, for shapes and axes.
    pub fn whole(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(name, &[values.len()], INT64, bytes)
    }

    fn initializer(
        &mut self,
        name: &str,
        shape: &[usize],
        data_type: i32,
        bytes: Vec<u8>,
    ) -> String {
        self.graph.initializer.push(TensorProto {
            name: name.into(),
            dims: shape.iter().map(|&d| d as i64).collect(),
            data_type,
            raw_data: bytes,
            ..TensorProto::default()
        });
        name.into()
    }

    /// An operation; the name of its result.
    pub fn node(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> String {
        self.graph.node.push(NodeProto {
            name: name.into(),
            op_type: op.into(),
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: vec![name.into()],
            attribute,
            ..NodeProto::default()
        });
        name.into()
    }

    /// The file, with this result as its output.
    pub fn finish(mut self, output: &str, shape: &[usize]) -> Vec<u8> {
        self.graph.output = vec![info(output, shape)];
        ModelProto {
            ir_version: 9,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPSET,
            }],
            graph: Some(self.graph),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }
}
