//! Damaged ONNX files: bytes changed, or fields of the protobuf.

use prost::Message;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, type_proto};

/// Numbers that programs get wrong.
const INTEGERS: &[i64] = &[
    0,
    1,
    -1,
    2,
    -2,
    3,
    7,
    63,
    255,
    65_537,
    1 << 20,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 32,
    i64::MAX,
    i64::MIN,
];
const REALS: &[f32] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-30,
    1e30,
    f32::MAX,
    f32::MIN_POSITIVE,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];
/// Operators that are put in another's place, many of them with several operands, sizes in operands, or graphs.
const OPERATORS: &[&str] = &[
    "Add",
    "ArgMax",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Einsum",
    "Expand",
    "EyeLike",
    "Flatten",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gemm",
    "GridSample",
    "Hardmax",
    "Identity",
    "If",
    "InstanceNormalization",
    "LSTM",
    "LayerNormalization",
    "Loop",
    "LpPool",
    "MatMul",
    "Max",
    "MaxPool",
    "Mod",
    "NonZero",
    "OneHot",
    "Pad",
    "Pow",
    "QLinearConv",
    "QuantizeLinear",
    "RNN",
    "Range",
    "ReduceProd",
    "ReduceSum",
    "Reshape",
    "Resize",
    "ReverseSequence",
    "Scan",
    "ScatterElements",
    "ScatterND",
    "Shape",
    "Size",
    "Slice",
    "Softmax",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "TopK",
    "Transpose",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
    "Tile",
    "Unsqueeze",
    "Upsample",
    "Where",
    "SVMClassifier",
    "SVMRegressor",
    "LabelEncoder",
    "OneHotEncoder",
    "Normalizer",
    "Scaler",
    "LinearClassifier",
    "Imputer",
];

fn below(rng: &mut ChaCha20Rng, n: usize) -> usize {
    (rng.next_u64() % n.max(1) as u64) as usize
}

fn pick<'a, T>(rng: &mut ChaCha20Rng, from: &'a [T]) -> &'a T {
    &from[below(rng, from.len())]
}

/// A place in a list that is not empty.
fn any<'a, T>(rng: &mut ChaCha20Rng, from: &'a mut [T]) -> Option<&'a mut T> {
    let at = below(rng, from.len());
    from.get_mut(at)
}

/// A damaged copy of a file, in one to four places.
pub fn mutate(rng: &mut ChaCha20Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let raw = below(rng, 4) == 0;
    let decoded = if raw {
        None
    } else {
        ModelProto::decode(bytes).ok()
    };
    let Some(mut model) = decoded else {
        let mut bytes = bytes.to_vec();
        for _ in 0..=below(rng, 4) {
            scramble(rng, &mut bytes, other);
        }
        return bytes;
    };
    for _ in 0..=below(rng, 4) {
        match below(rng, 12) {
            0 => {
                if let Some(opset) = any(rng, &mut model.opset_import) {
                    opset.version =
                        *pick(rng, &[0, 1, 6, 7, 9, 11, 13, 17, 18, 21, 22, i64::MAX, -1]);
                }
            }
            1 => {
                if let Some(graph) = &mut model.graph {
                    interface(rng, graph);
                }
            }
            _ => {
                if let Some(graph) = &mut model.graph {
                    change(rng, graph);
                }
            }
        }
    }
    model.encode_to_vec()
}

/// Changes bytes without regard to what they mean.
fn scramble(rng: &mut ChaCha20Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let (at, len) = (below(rng, bytes.len()), below(rng, 64));
    let end = (at + len).min(bytes.len());
    match below(rng, 7) {
        0 => {
            if let Some(b) = bytes.get_mut(at) {
                *b ^= 1 << below(rng, 8);
            }
        }
        1 => {
            if let Some(b) = bytes.get_mut(at) {
                *b = *pick(rng, &[0, 1, 0x7f, 0x80, 0xff]);
            }
        }
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        5 => {
            let from = below(rng, other.len());
            let part = other[from..(from + len).min(other.len())].to_vec();
            bytes.splice(at..end, part);
        }
        _ => drop(bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f])),
    }
}

/// Changes an input's or output's declaration.
fn interface(rng: &mut ChaCha20Rng, graph: &mut GraphProto) {
    let outputs = below(rng, 4) == 0;
    let list = if outputs {
        &mut graph.output
    } else {
        &mut graph.input
    };
    let Some(value) = any(rng, list) else { return };
    let tensor = value.r#type.as_mut().and_then(|t| t.value.as_mut());
    let Some(type_proto::Value::TensorType(tensor)) = tensor else {
        return;
    };
    match below(rng, 4) {
        0 => tensor.elem_type = below(rng, 24) as i32,
        1 => tensor.shape = None,
        2 => {
            if let Some(shape) = &mut tensor.shape {
                let at = below(rng, shape.dim.len());
                if below(rng, 2) == 0 && at < shape.dim.len() {
                    shape.dim.remove(at);
                } else {
                    shape.dim.push(Default::default());
                }
            }
        }
        _ => {
            let dim = tensor.shape.as_mut().and_then(|s| any(rng, &mut s.dim));
            if let Some(dim) = dim {
                dim.value = Some(match below(rng, 4) {
                    0 => dimension::Value::DimParam("n".into()),
                    _ => dimension::Value::DimValue(*pick(rng, INTEGERS)),
                });
            }
        }
    }
}

/// All names of values.
fn names(graph: &GraphProto) -> Vec<String> {
    let nodes = graph.node.iter().flat_map(|n| n.output.iter().cloned());
    let inputs = graph.input.iter().map(|i| i.name.clone());
    let constants = graph.initializer.iter().map(|t| t.name.clone());
    inputs.chain(constants).chain(nodes).collect()
}

/// Changes a node, a weight, an attribute or the wiring.
fn change(rng: &mut ChaCha20Rng, graph: &mut GraphProto) {
    let all = names(graph);
    let at = below(rng, graph.node.len());
    match below(rng, 12) {
        0 if !graph.node.is_empty() => drop(graph.node.remove(at)),
        1 if !graph.node.is_empty() => {
            let copy = graph.node[at].clone();
            graph.node.push(copy);
        }
        2 => {
            if let Some(weights) = any(rng, &mut graph.initializer) {
                tensor(rng, weights);
            }
        }
        3 => {
            // A constant in place of an input, an input in place of a constant.
            let at = below(rng, graph.initializer.len());
            if at < graph.initializer.len() {
                graph.initializer.remove(at);
            }
        }
        4 => {
            if let Some(node) = any(rng, &mut graph.node) {
                node.op_type = (*pick(rng, OPERATORS)).into();
            }
        }
        5 | 6 => {
            if let Some(node) = any(rng, &mut graph.node) {
                wiring(rng, node, &all);
            }
        }
        7 if graph.node.len() > 1 => {
            let other = below(rng, graph.node.len());
            graph.node.swap(at, other);
        }
        8 => {
            let inner = graph.clone();
            if let Some(node) = any(rng, &mut graph.node) {
                nested(rng, node, inner);
            }
        }
        _ => {
            if let Some(node) = any(rng, &mut graph.node) {
                attribute(rng, node);
            }
        }
    }
}

fn wiring(rng: &mut ChaCha20Rng, node: &mut NodeProto, all: &[String]) {
    let outputs = below(rng, 4) == 0;
    let list = if outputs {
        &mut node.output
    } else {
        &mut node.input
    };
    let at = below(rng, list.len());
    let name = if all.is_empty() || below(rng, 6) == 0 {
        String::new()
    } else {
        pick(rng, all).clone()
    };
    match below(rng, 4) {
        0 if at < list.len() => drop(list.remove(at)),
        1 => list.push(name),
        2 => list.insert(at, name),
        _ => {
            if let Some(slot) = list.get_mut(at) {
                *slot = name;
            }
        }
    }
}

/// A graph inside a node: bodies of conditions and loops.
fn nested(rng: &mut ChaCha20Rng, node: &mut NodeProto, mut inner: GraphProto) {
    let inside = node.attribute.iter_mut().find_map(|a| a.g.as_mut());
    if let Some(body) = inside
        && below(rng, 4) > 0
    {
        change(rng, body);
        return;
    }
    inner.node.truncate(4);
    inner.initializer.truncate(4);
    let graph = |name: &str| AttributeProto {
        name: name.into(),
        r#type: 5,
        g: Some(inner.clone()),
        ..AttributeProto::default()
    };
    let (op, bodies): (&str, &[&str]) = match below(rng, 3) {
        0 => ("If", &["then_branch", "else_branch"]),
        1 => ("Loop", &["body"]),
        _ => ("Scan", &["body"]),
    };
    node.op_type = op.into();
    node.attribute.extend(bodies.iter().map(|b| graph(b)));
}

fn tensor(rng: &mut ChaCha20Rng, tensor: &mut TensorProto) {
    match below(rng, 7) {
        0 => {
            if let Some(dim) = any(rng, &mut tensor.dims) {
                *dim = *pick(rng, INTEGERS);
            }
        }
        1 => tensor.dims.push(*pick(rng, INTEGERS)),
        2 => drop(tensor.dims.pop()),
        3 => tensor.data_type = below(rng, 24) as i32,
        4 => {
            let value = pick(rng, REALS).to_le_bytes();
            let at = below(rng, tensor.raw_data.len() / 4) * 4;
            if at + 4 <= tensor.raw_data.len() {
                tensor.raw_data[at..at + 4].copy_from_slice(&value);
            }
            if let Some(v) = any(rng, &mut tensor.float_data) {
                *v = f32::from_le_bytes(value);
            }
        }
        5 => {
            let value = *pick(rng, INTEGERS);
            let at = below(rng, tensor.raw_data.len() / 8) * 8;
            if at + 8 <= tensor.raw_data.len() {
                tensor.raw_data[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            if let Some(v) = any(rng, &mut tensor.int64_data) {
                *v = value;
            }
        }
        _ => {
            let len = below(rng, tensor.raw_data.len() + 1);
            tensor.raw_data.truncate(len);
        }
    }
}

fn attribute(rng: &mut ChaCha20Rng, node: &mut NodeProto) {
    let at = below(rng, node.attribute.len());
    let Some(attribute) = node.attribute.get_mut(at) else {
        let name = *pick(
            rng,
            &["axis", "axes", "keepdims", "to", "group", "perm", "k"],
        );
        node.attribute.push(AttributeProto {
            name: name.into(),
            r#type: 2,
            i: *pick(rng, INTEGERS),
            ..AttributeProto::default()
        });
        return;
    };
    match below(rng, 8) {
        0 => drop(node.attribute.remove(at)),
        1 => attribute.r#type = below(rng, 12) as i32,
        2 => attribute.name.push('x'),
        3 => attribute.i = *pick(rng, INTEGERS),
        4 => attribute.f = *pick(rng, REALS),
        5 => {
            if let Some(v) = any(rng, &mut attribute.ints) {
                *v = *pick(rng, INTEGERS);
            } else if let Some(v) = any(rng, &mut attribute.floats) {
                *v = *pick(rng, REALS);
            } else {
                attribute.s = b"x".to_vec();
            }
        }
        6 => {
            if below(rng, 2) == 0 {
                attribute.ints.push(*pick(rng, INTEGERS));
                attribute.floats.pop();
            } else {
                attribute.ints.pop();
            }
        }
        _ => {
            if let Some(t) = &mut attribute.t {
                tensor(rng, t);
            }
        }
    }
}
