//! Models with weights in `bfloat16`: their numbers are the upper halves of 32-bit floats, and are widened to those. tract
//! does not know the type.

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

/// `TensorProto.DataType`
const FLOAT: i32 = 1;
const BFLOAT16: i32 = 16;
/// Attributes that name an element type.
const TYPES: &[&str] = &[
    "to",
    "dtype",
    "output_dtype",
    "stash_type",
    "softmax_precision",
];

/// Makes 32-bit floats of everything that is `bfloat16`.
pub fn widen(proto: &mut ModelProto) {
    if let Some(graph) = proto.graph.as_mut() {
        widen_graph(graph);
    }
    for function in &mut proto.functions {
        widen_nodes(&mut function.node);
    }
}

fn widen_graph(graph: &mut GraphProto) {
    graph.initializer.iter_mut().for_each(widen_tensor);
    let values = graph.input.iter_mut().chain(&mut graph.output);
    values.chain(&mut graph.value_info).for_each(widen_info);
    widen_nodes(&mut graph.node);
}

fn widen_nodes(nodes: &mut [NodeProto]) {
    for attribute in nodes.iter_mut().flat_map(|n| &mut n.attribute) {
        let names_type = TYPES.contains(&attribute.name.as_str());
        if names_type && attribute.i == i64::from(BFLOAT16) {
            attribute.i = i64::from(FLOAT);
        }
        let tensors = attribute.t.iter_mut().chain(&mut attribute.tensors);
        tensors.for_each(widen_tensor);
        let graphs = attribute.g.iter_mut().chain(&mut attribute.graphs);
        graphs.for_each(widen_graph);
    }
}

fn widen_info(info: &mut ValueInfoProto) {
    let value = info.r#type.as_mut().and_then(|t| t.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = value
        && tensor.elem_type == BFLOAT16
    {
        tensor.elem_type = FLOAT;
    }
}

fn widen_tensor(tensor: &mut TensorProto) {
    if tensor.data_type != BFLOAT16 {
        return;
    }
    tensor.data_type = FLOAT;
    if tensor.raw_data.is_empty() {
        // Two bytes in the lower half of each.
        let wide = |&bits: &i32| f32::from_bits((bits as u32) << 16);
        tensor.float_data = tensor.int32_data.iter().map(wide).collect();
        tensor.int32_data.clear();
    } else {
        let wide = |half: &[u8]| [0, 0, half[0], half[1]];
        tensor.raw_data = tensor.raw_data.chunks_exact(2).flat_map(wide).collect();
    }
}
