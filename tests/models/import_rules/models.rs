//! Models in a few lines.

use prost::Message;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use zkinfer::graph::Graph;
use zkinfer::onnx::ImportError;

pub const FLOAT: i32 = 1;
pub const U8: i32 = 2;
pub const I8: i32 = 3;
pub const I32: i32 = 6;
pub const I64: i32 = 7;
pub const BOOL: i32 = 9;

pub fn value(name: &str, kind: i32, dims: Option<&[i64]>) -> ValueInfoProto {
    let dim = |&d: &i64| Dimension {
        value: Some(Dim::DimValue(d)),
        ..Dimension::default()
    };
    let shape = dims.map(|d| TensorShapeProto {
        dim: d.iter().map(dim).collect(),
    });
    let tensor = type_proto::Tensor {
        elem_type: kind,
        shape,
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

pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type: FLOAT,
        dims: dims.to_vec(),
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// Whole numbers or truths.
pub fn whole(name: &str, kind: i32, dims: &[i64], values: &[i64]) -> TensorProto {
    let mut tensor = TensorProto {
        name: name.into(),
        data_type: kind,
        dims: dims.to_vec(),
        ..TensorProto::default()
    };
    if kind == I64 {
        tensor.int64_data = values.to_vec();
    } else {
        tensor.int32_data = values.iter().map(|&v| v as i32).collect();
    }
    tensor
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 2,
        i,
        ..AttributeProto::default()
    }
}

pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 7,
        ints: ints.to_vec(),
        ..AttributeProto::default()
    }
}

pub fn body(name: &str, g: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 5,
        g: Some(g),
        ..AttributeProto::default()
    }
}

/// `domain:Operator` or `Operator`; names of operands and results with spaces between them, `_` for none.
pub fn node(op: &str, inputs: &str, outputs: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    let names = |text: &str| -> Vec<String> {
        let name = |n: &str| if n == "_" { String::new() } else { n.into() };
        text.split_whitespace().map(name).collect()
    };
    let (domain, op) = op.split_once(':').unwrap_or(("", op));
    let output = names(outputs);
    NodeProto {
        name: format!("{op}_{}", output[0]),
        op_type: op.into(),
        domain: domain.into(),
        input: names(inputs),
        output,
        attribute,
        ..NodeProto::default()
    }
}

pub fn named(mut node: NodeProto, name: &str) -> NodeProto {
    node.name = name.into();
    node
}

pub struct Model {
    pub graph: GraphProto,
    opset: i64,
}

impl Model {
    /// With one input `x` and one output `y`.
    pub fn new(
        kind: i32,
        dims: &[i64],
        nodes: Vec<NodeProto>,
        constants: Vec<TensorProto>,
    ) -> Model {
        let graph = GraphProto {
            name: "g".into(),
            node: nodes,
            input: vec![value("x", kind, Some(dims))],
            output: vec![value("y", FLOAT, None)],
            initializer: constants,
            ..GraphProto::default()
        };
        Model { graph, opset: 17 }
    }

    pub fn opset(mut self, opset: i64) -> Model {
        self.opset = opset;
        self
    }

    pub fn output(mut self, name: &str, kind: i32) -> Model {
        self.graph.output.push(value(name, kind, None));
        self
    }

    pub fn input(mut self, name: &str, kind: i32, dims: &[i64]) -> Model {
        self.graph.input.push(value(name, kind, Some(dims)));
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        let set = |(domain, version): (&str, i64)| OperatorSetIdProto {
            domain: domain.into(),
            version,
        };
        let sets = [("", self.opset), ("com.microsoft", 1), ("my.ops", 1)];
        let model = ModelProto {
            ir_version: 8,
            opset_import: sets.map(set).to_vec(),
            graph: Some(self.graph),
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }

    pub fn graph(self) -> Graph {
        Graph::from_onnx(&self.bytes()).expect("an import")
    }

    /// The results for a sample, as floats.
    pub fn run(self, x: &[f32]) -> Vec<Vec<f32>> {
        let graph = self.graph();
        graph.outputs_of(&graph.run(&[x.to_vec()]).expect("a run"))
    }

    #[track_caller]
    pub fn yields(self, x: &[f32], want: &[f32]) {
        let got = self.run(x);
        let close = |(g, w): (&f32, &f32)| (g - w).abs() <= 1e-4 * w.abs().max(1.0);
        let same = got[0].len() == want.len() && got[0].iter().zip(want).all(close);
        assert!(same, "{got:?}, not {want:?}");
    }

    /// The node that is refused, and why.
    #[track_caller]
    pub fn refused(self) -> (String, String) {
        match Graph::from_onnx(&self.bytes()) {
            Err(ImportError::Unsupported { node, reason, .. }) => (node, reason),
            other => panic!("{:?}", other.map(|g| g.nodes.len())),
        }
    }

    #[track_caller]
    pub fn refused_at(self, node: &str) {
        assert_eq!(self.refused().0, node);
    }
}

pub fn tensor(name: &str, t: TensorProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 4,
        t: Some(t),
        ..AttributeProto::default()
    }
}
