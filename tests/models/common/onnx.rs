//! ONNX models made on the spot.

use prost::Message;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use zkinfer::graph::Graph;
use zkinfer::onnx::{ImportOptions, ReferenceModel};

/// A model under construction; its input is `x`, its output the last node's result `y`.
pub struct Builder {
    graph: GraphProto,
    opset: i64,
}

fn dims(shape: &[&str]) -> Vec<Dimension> {
    let value = |s: &&str| {
        s.parse()
            .map_or_else(|_| Dim::DimParam(s.to_string()), Dim::DimValue)
    };
    shape
        .iter()
        .map(|s| Dimension {
            value: Some(value(s)),
            ..Dimension::default()
        })
        .collect()
}

/// A tensor of floats at the model's boundary; a dimension that is no number is a symbol.
pub fn info(name: &str, shape: Option<&[&str]>) -> ValueInfoProto {
    let shape = shape.map(|s| TensorShapeProto { dim: dims(s) });
    let tensor = type_proto::Tensor {
        elem_type: 1,
        shape,
    };
    let r#type = Some(TypeProto {
        value: Some(type_proto::Value::TensorType(tensor)),
        ..TypeProto::default()
    });
    ValueInfoProto {
        name: name.into(),
        r#type,
        ..ValueInfoProto::default()
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

pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 3,
        s: value.into(),
        ..AttributeProto::default()
    }
}

pub fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 6,
        floats: values.to_vec(),
        ..AttributeProto::default()
    }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 7,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

impl Builder {
    pub fn new(shape: &[&str]) -> Builder {
        let graph = GraphProto {
            name: "g".into(),
            input: vec![info("x", Some(shape))],
            output: vec![info("y", None)],
            ..GraphProto::default()
        };
        Builder { graph, opset: 17 }
    }

    pub fn floats(mut self, name: &str, shape: &[i64], values: &[f32]) -> Builder {
        let tensor = TensorProto {
            name: name.into(),
            dims: shape.to_vec(),
            data_type: 1,
            float_data: values.to_vec(),
            ..TensorProto::default()
        };
        self.graph.initializer.push(tensor);
        self
    }

    pub fn ints(mut self, name: &str, values: &[i64]) -> Builder {
        let dims = vec![values.len() as i64];
        let tensor = TensorProto {
            name: name.into(),
            dims,
            data_type: 7,
            int64_data: values.to_vec(),
            ..TensorProto::default()
        };
        self.graph.initializer.push(tensor);
        self
    }

    pub fn node(
        mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<AttributeProto>,
    ) -> Builder {
        let input = inputs.iter().map(|s| s.to_string()).collect();
        let name = format!("{op}_{output}");
        let node = NodeProto {
            name,
            op_type: op.into(),
            input,
            output: vec![output.into()],
            attribute,
            ..NodeProto::default()
        };
        self.graph.node.push(node);
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        let opset_import = vec![OperatorSetIdProto {
            domain: String::new(),
            version: self.opset,
        }];
        ModelProto {
            ir_version: 8,
            opset_import,
            graph: Some(self.graph),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }

    /// Imports, compares with tract on a fixed input, and returns the graph.
    pub fn check(self) -> Graph {
        let bytes = self.bytes();
        let graph = Graph::from_onnx(&bytes).expect("an import");
        let reference =
            ReferenceModel::from_onnx(&bytes, &ImportOptions::default()).expect("a reference");
        let ramp = |len: usize| {
            (0..len)
                .map(|i| ((i * 37 % 23) as f32 - 11.0) / 4.0)
                .collect::<Vec<_>>()
        };
        let inputs: Vec<Vec<f32>> = graph.input_lens().into_iter().map(ramp).collect();
        let got = graph.outputs_of(&graph.run(&inputs).expect("a run"));
        let want = reference.run(&inputs).expect("a reference run");
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().flatten().zip(want.iter().flatten()) {
            assert!((g - w).abs() <= 1e-4 * w.abs().max(1.0), "{got:?} {want:?}");
        }
        graph
    }
}
