//! What exporters leave for a runtime to work out although every number is stored: casts of stored integers, and lists of
//! tensors that are read by position.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::writer::{Writer, attribute, each_node, ints, name_of};

/// Stored 64-bit integers of the graph, by name, and whether each is a single number without a dimension.
fn integers(graph: &GraphProto) -> HashMap<String, (Vec<i64>, bool)> {
    let whole = |tensor| {
        let known = super::writer::known(tensor).filter(|k| k.data_type == 7)?;
        let values = known.values.iter().map(|&v| v as i64).collect();
        Some((values, known.dims.is_empty()))
    };
    let initial = graph.initializer.iter();
    let mut found: HashMap<_, _> = initial
        .filter_map(|t| Some((t.name.clone(), whole(t)?)))
        .collect();
    for node in graph.node.iter().filter(|n| n.op_type == "Constant") {
        let tensor = attribute(node, "value").and_then(|a| a.t.as_ref());
        let several = attribute(node, "value_ints").map(|a| (a.ints.clone(), false));
        let single = attribute(node, "value_int").map(|a| (vec![a.i], true));
        let value = tensor.and_then(whole).or(several).or(single);
        if let (Some(value), Some(name)) = (value, node.output.first()) {
            found.insert(name.clone(), value);
        }
    }
    found
}

/// A cast of 64-bit integers to themselves is nothing; tract makes symbolic dimensions of them, and then no longer knows the
/// largest integer for "up to the end".
pub(in crate::onnx) fn drop_casts(graph: &mut GraphProto) {
    let stored = integers(graph);
    for node in &mut graph.node {
        let same = node.op_type == "Cast" && attribute(node, "to").is_some_and(|a| a.i == 7);
        if same && node.input.len() == 1 && stored.contains_key(&node.input[0]) {
            node.op_type = "Identity".into();
            node.attribute.clear();
        }
    }
}

/// tract makes dimensions of what is cast to 64-bit integers, and divides those like real numbers. A cast to the type of
/// another integer is one to integers.
pub(in crate::onnx) fn whole_casts(graph: &mut GraphProto) {
    for node in &mut graph.node {
        for body in node.attribute.iter_mut().filter_map(|a| a.g.as_mut()) {
            whole_casts(body);
        }
        let whole = node.op_type == "Cast" && attribute(node, "to").is_some_and(|a| a.i == 7);
        if whole && node.input.len() == 1 {
            let like = format!("{}.~like", name_of(node));
            node.op_type = "CastLike".into();
            node.attribute.clear();
            node.input.push(like.clone());
            graph.initializer.push(TensorProto {
                name: like,
                data_type: 7,
                int64_data: vec![0],
                ..TensorProto::default()
            });
        }
    }
}

/// `SplitToSequence` that is read by `SequenceAt` with stored positions: slices. Others stay, and are refused.
pub(in crate::onnx) fn sequences(graph: &mut GraphProto, opset: i64) {
    let stored = integers(graph);
    let lists: HashMap<String, NodeProto> = graph
        .node
        .iter()
        .filter(|n| n.op_type == "SplitToSequence" && n.output.len() == 1)
        .map(|n| (n.output[0].clone(), n.clone()))
        .collect();
    if lists.is_empty() {
        return;
    }
    each_node(graph, opset, |node, writer| {
        let list = node.input.first().and_then(|i| lists.get(i));
        let list = list.filter(|_| node.op_type == "SequenceAt")?;
        slice(list, node, &stored, writer)
    });
    let read: Vec<&str> = graph
        .node
        .iter()
        .flat_map(|n| n.input.iter().map(String::as_str))
        .collect();
    let unread: Vec<String> = lists
        .keys()
        .filter(|l| !read.contains(&l.as_str()) && graph.output.iter().all(|o| o.name != **l))
        .cloned()
        .collect();
    let unread = |n: &NodeProto| n.op_type == "SplitToSequence" && unread.contains(&n.output[0]);
    graph.node.retain(|n| !unread(n));
}

/// One tensor of the list.
fn slice(
    list: &NodeProto,
    at: &NodeProto,
    stored: &HashMap<String, (Vec<i64>, bool)>,
    w: &mut Writer,
) -> Option<()> {
    let position = stored.get(at.input.get(1)?)?.0.first().copied()?;
    let split = list.input.get(1).filter(|s| !s.is_empty());
    let axis = attribute(list, "axis").map_or(0, |a| a.i);
    let (first, last) = match split.map(|s| stored.get(s)) {
        // One by one, or by pieces of one size.
        None => (position, position.checked_add(1)?),
        Some(Some((sizes, true))) => {
            let size = sizes.first().copied().filter(|&s| s > 0)?;
            let first = position.checked_mul(size)?;
            (first, first.checked_add(size)?)
        }
        Some(Some((sizes, false))) => {
            let len = i64::try_from(sizes.len()).ok()?;
            let position = if position < 0 {
                position + len
            } else {
                position
            };
            let position = usize::try_from(position).ok()?;
            let sum = |s: &[i64]| {
                let mut all = s.iter().map(|&b| (b >= 0).then_some(b));
                all.try_fold(0i64, |a, b| a.checked_add(b?))
            };
            (
                sum(&sizes[..position.min(sizes.len())])?,
                sum(sizes.get(..=position)?)?,
            )
        }
        Some(None) => return None,
    };
    // From the end only where the size of a list is known.
    if first < 0 {
        return None;
    }
    let y = at.output.first()?;
    let bounds = [vec![first], vec![last], vec![axis]].map(|v| w.indices(v));
    let mut operands = vec![list.input.first()?.as_str()];
    operands.extend(bounds.iter().map(String::as_str));
    let keep = split.is_some() || attribute(list, "keepdims").is_none_or(|a| a.i != 0);
    if keep {
        w.node("Slice", &operands, y, Vec::new());
        return Some(());
    }
    let part = w.op("Slice", &operands);
    if w.opset < 13 {
        w.node("Squeeze", &[&part], y, vec![ints("axes", vec![axis])]);
    } else {
        let axes = w.indices(vec![axis]);
        w.node("Squeeze", &[&part, &axes], y, Vec::new());
    }
    Some(())
}
