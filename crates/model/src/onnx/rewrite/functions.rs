//! Operators that tract computes differently from ONNX, or not at all, in ones that it computes as ONNX Runtime does.

use std::collections::HashMap;

use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::types::Types;
use super::writer::{Facts, Known, Writer, attribute, int, ints, known, text};

/// What is stored in a graph, by name; of large tensors the shape alone.
fn stored(graph: &GraphProto) -> HashMap<String, Known> {
    let mut found: HashMap<String, Known> = HashMap::new();
    for tensor in &graph.initializer {
        found.extend(known(tensor).map(|k| (tensor.name.clone(), k)));
    }
    for node in graph.node.iter().filter(|n| n.op_type == "Constant") {
        let Some(name) = node.output.first() else {
            continue;
        };
        let tensor = attribute(node, "value").and_then(|a| a.t.as_ref());
        let list = |values: Vec<f64>, data_type, scalar: bool| Known {
            dims: (!scalar)
                .then_some(values.len() as i64)
                .into_iter()
                .collect(),
            values,
            data_type,
        };
        let wide = |v: &[i64]| v.iter().map(|&v| v as f64).collect::<Vec<_>>();
        let real = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let value = tensor
            .and_then(known)
            .or_else(|| attribute(node, "value_ints").map(|a| list(wide(&a.ints), 7, false)))
            .or_else(|| attribute(node, "value_int").map(|a| list(wide(&[a.i]), 7, true)))
            .or_else(|| attribute(node, "value_floats").map(|a| list(real(&a.floats), 1, false)))
            .or_else(|| attribute(node, "value_float").map(|a| list(real(&[a.f]), 1, true)));
        found.extend(value.map(|v| (name.clone(), v)));
    }
    found
}

impl Facts {
    /// What is known of a graph.
    pub fn of(graph: &GraphProto) -> Facts {
        Facts {
            known: stored(graph),
            types: Types::of(graph),
            ..Facts::default()
        }
    }
}

fn name(node: &NodeProto, i: usize) -> Option<&String> {
    node.input.get(i).filter(|n| !n.is_empty())
}

pub(super) fn number(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 1,
        f: value,
        ..AttributeProto::default()
    }
}

fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 3,
        s: value.as_bytes().to_vec(),
        ..AttributeProto::default()
    }
}

/// Whole numbers of a stored operand.
fn whole(stored: &HashMap<String, Known>, name: Option<&String>) -> Option<Vec<i64>> {
    let known = stored.get(name?)?;
    let len = known.dims.iter().fold(1i64, |p, &d| p.saturating_mul(d));
    (known.values.len() as i64 == len)
        .then(|| known.values.iter().map(|&v| v as i64).collect::<Vec<_>>())
}

/// A reduction that keeps its axes, which are an attribute up to some version and an operand from then on.
pub(super) fn reduced(w: &mut Writer, op: &str, x: &str, axes: &[i64], keep: bool) -> String {
    let operand_since = if op == "ReduceSum" { 13 } else { 18 };
    let keep = int("keepdims", i64::from(keep));
    if w.opset < operand_since {
        return w.op_with(op, &[x], vec![ints("axes", axes.to_vec()), keep]);
    }
    let axes = w.indices(axes.to_vec());
    w.op_with(op, &[x, &axes], vec![keep])
}

/// `x · σ(alpha · x)`
pub(in crate::onnx) fn swish(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let (x, y) = (name(node, 0)?, node.output.first()?);
    let alpha = attribute(node, "alpha").map_or(1.0, |a| a.f);
    let alpha = w.floats(vec![alpha], &[]);
    let scaled = w.op("Mul", &[x, &alpha]);
    let gate = w.op("Sigmoid", &[&scaled]);
    w.node("Mul", &[x, &gate], y, Vec::new());
    Some(())
}

/// Without a value it is zeros of 32 bits; tract makes ones of 64.
pub(in crate::onnx) fn zeros(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    if attribute(node, "value").is_some() {
        return None;
    }
    let zero = AttributeProto {
        name: "value".into(),
        r#type: 4,
        t: Some(TensorProto {
            data_type: 1,
            dims: vec![1],
            float_data: vec![0.0],
            ..TensorProto::default()
        }),
        ..AttributeProto::default()
    };
    w.instead(node, vec![zero]);
    Some(())
}

/// `(Σ |x|^p)^(1/p)` over all of a channel; tract leaves out the root, and the absolute value where `p` is 1.
pub(in crate::onnx) fn global_lp_pool(
    node: &NodeProto,
    w: &mut Writer,
    _: &mut Facts,
) -> Option<()> {
    let (x, y) = (name(node, 0)?, node.output.first()?);
    let p = attribute(node, "p").map_or(2, |a| a.i);
    if p < 1 {
        return None;
    }
    let flat = w.indices(vec![0, 0, -1]);
    let flat = w.op("Reshape", &[x, &flat]);
    let pooled = match p {
        1 => reduced(w, "ReduceL1", &flat, &[2], true),
        2 => reduced(w, "ReduceL2", &flat, &[2], true),
        _ => {
            let size = w.op("Abs", &[&flat]);
            let (power, root) = (
                w.floats(vec![p as f32], &[]),
                w.floats(vec![1.0 / p as f32], &[]),
            );
            let powers = w.op("Pow", &[&size, &power]);
            let sum = reduced(w, "ReduceSum", &powers, &[2], true);
            w.op("Pow", &[&sum, &root])
        }
    };
    // The number of axes is known once the model is typed.
    let like = w.op("GlobalAveragePool", &[x]);
    let shape = w.op("Shape", &[&like]);
    w.node("Reshape", &[&pooled, &shape], y, Vec::new());
    Some(())
}

/// The name of the operator that `guard` registers for a `Resize` as version 10 had it, whatever the model's version.
pub(in crate::onnx) const RESIZE_10: &str = "Resize10";

/// `Resize` of version 10: coordinates are `i / scale`. The nearest element is the one before where an axis grows, and the one
/// behind where it shrinks; linear is as later.
fn resize_10(node: &NodeProto, w: &mut Writer, x: &str, scales: &[f32]) -> Option<()> {
    let y = node.output.first()?;
    let mode = text(node, "mode");
    if !matches!(mode.as_str(), "" | "nearest") {
        let scales = w.floats(scales.to_vec(), &[scales.len()]);
        w.node(RESIZE_10, &[x, &scales], y, vec![string("mode", "linear")]);
        return Some(());
    }
    let mut at = x.to_string();
    for (grows, rounding) in [(true, "floor"), (false, "ceil")] {
        let part = |s: &f32| if (*s >= 1.0) == grows { *s } else { 1.0 };
        let part: Vec<f32> = scales.iter().map(part).collect();
        if part.iter().any(|s| *s != 1.0) {
            let part = w.floats(part, &[scales.len()]);
            let attributes = vec![string("mode", "nearest"), string("nearest_mode", rounding)];
            at = w.op_with(RESIZE_10, &[&at, &part], attributes);
        }
    }
    w.identity(&at, y)
}

fn scales(stored: &HashMap<String, Known>, name: Option<&String>) -> Option<Vec<f32>> {
    let known = stored.get(name?)?;
    let values: Vec<f32> = known.values.iter().map(|&v| v as f32).collect();
    let sane = |s: &f32| s.is_finite() && *s > 0.0;
    (!values.is_empty() && values.iter().all(sane)).then_some(values)
}

pub(in crate::onnx) fn upsample(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let stored = &facts.known;
    let x = name(node, 0)?.clone();
    let given = attribute(node, "scales").map(|a| a.floats.clone());
    let scales = given.or_else(|| scales(stored, name(node, 1)))?;
    resize_10(node, w, &x, &scales)
}

/// Version 10, and corners that are aligned: those of the result are as many elements apart as it has, which is a whole number
/// (PyTorch and ONNX Runtime), not the operand's length times the scale (ONNX's reference).
pub(in crate::onnx) fn resize(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let stored = &facts.known;
    let x = name(node, 0)?.clone();
    if w.opset < 11 {
        let scales = scales(stored, name(node, 1))?;
        return resize_10(node, w, &x, &scales);
    }
    // Both measure by the last element of the result.
    let mode = text(node, "coordinate_transformation_mode");
    let aligned = matches!(mode.as_str(), "align_corners" | "tf_crop_and_resize");
    let factors = scales(stored, name(node, 2))?;
    if !aligned || name(node, 3).is_some() || factors.iter().all(|s| s.fract() == 0.0) {
        return None;
    }
    let mut shape = w.op("Shape", &[&x]);
    if let Some(axes) = attribute(node, "axes") {
        let axes = w.indices(axes.ints.clone());
        shape = w.op("Gather", &[&shape, &axes]);
    }
    let lengths = w.cast(&shape);
    let factors = w.floats(factors.clone(), &[factors.len()]);
    let sizes = w.op("Mul", &[&lengths, &factors]);
    let sizes = w.op("Floor", &[&sizes]);
    let like = w.index(0);
    let sizes = w.op("CastLike", &[&sizes, &like]);
    let roi = name(node, 1).map_or("", String::as_str);
    let operands = [&x, roi, "", &sizes];
    w.node(
        "Resize",
        &operands,
        node.output.first()?,
        node.attribute.clone(),
    );
    Some(())
}

/// Negative amounts cut, before the rest is padded; `wrap` continues with the other end.
pub(in crate::onnx) fn pad(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let stored = &facts.known;
    let attribute_form = w.opset < 11;
    let amounts = if attribute_form {
        let given = attribute(node, "pads").or(attribute(node, "paddings"))?;
        given.ints.clone()
    } else {
        whole(stored, name(node, 1))?
    };
    let count = amounts.len() / 2;
    let axes = match name(node, 3) {
        Some(axes) => whole(stored, Some(axes))?,
        None => (0..count as i64).collect(),
    };
    let mode = text(node, "mode");
    let wraps = mode == "wrap";
    // A value to pad with is only meant in one mode; tract takes it in all.
    let idle = name(node, 2).is_some() && !matches!(mode.as_str(), "" | "constant");
    let cuts = amounts.iter().any(|a| *a < 0);
    let fits = |a: &i64| a.unsigned_abs() < 1 << 24;
    if amounts.len() != 2 * axes.len() || !(cuts || wraps || idle) || !amounts.iter().all(fits) {
        return None;
    }
    let y = node.output.first()?;
    let mut at = name(node, 0)?.clone();
    for (i, &axis) in axes.iter().enumerate() {
        let (before, after) = (amounts[i], amounts[i + count]);
        if before < 0 || after < 0 {
            let end = if after < 0 { after } else { i64::MAX };
            at = sliced(w, &at, axis, (-before).max(0), end, 1);
        }
        let (before, after) = (before.max(0), after.max(0));
        if wraps && before + after > 0 {
            at = wrapped(w, &at, axis, before, after);
        }
    }
    if wraps {
        return w.identity(&at, y);
    }
    let positive: Vec<i64> = amounts.iter().map(|a| (*a).max(0)).collect();
    if positive.iter().all(|a| *a == 0) {
        return w.identity(&at, y);
    }
    if attribute_form {
        let mut attributes = node.attribute.clone();
        attributes.retain(|a| !matches!(a.name.as_str(), "pads" | "paddings"));
        attributes.push(ints("pads", positive));
        w.node("Pad", &[&at], y, attributes);
        return Some(());
    }
    let positive = w.indices(positive);
    let mut operands = node.input.clone();
    (operands[0], operands[1]) = (at, positive);
    if idle && !attribute_form {
        operands[2].clear();
    }
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    w.node("Pad", &operands, y, node.attribute.clone());
    Some(())
}

/// The type in which ONNX lets norms be computed is left out, as ONNX Runtime does: tract rounds to it.
pub(in crate::onnx) fn stash(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    attribute(node, "stash_type").filter(|a| a.i != 1)?;
    let mut attributes = node.attribute.clone();
    attributes.retain(|a| a.name != "stash_type");
    let operands: Vec<&str> = node.input.iter().map(String::as_str).collect();
    w.node(&node.op_type, &operands, node.output.first()?, attributes);
    Some(())
}

/// Of whole numbers it is computed with reals, and cut to whole numbers again.
pub(in crate::onnx) fn shrink(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let x = name(node, 0).filter(|x| facts.types.whole.contains(*x))?;
    let real = w.cast(x);
    let y = w.op_with("Shrink", &[&real], node.attribute.clone());
    w.node("CastLike", &[&y, x], node.output.first()?, Vec::new());
    Some(())
}

/// A transposed convolution of a given size: all of it, with nothing around, and of that what is asked for.
pub(in crate::onnx) fn conv_transpose(
    node: &NodeProto,
    w: &mut Writer,
    _: &mut Facts,
) -> Option<()> {
    let sizes = attribute(node, "output_shape")?.ints.clone();
    let fits = |s: &i64| (1..1 << 24).contains(s);
    if sizes.is_empty() || sizes.len() > 8 || !sizes.iter().all(fits) {
        return None;
    }
    let more = attribute(node, "output_padding").map_or(Vec::new(), |a| a.ints.clone());
    let mut attributes = node.attribute.clone();
    let own = ["output_shape", "output_padding", "pads", "auto_pad"];
    attributes.retain(|a| !own.contains(&a.name.as_str()));
    let mut y = w.op_with(
        "ConvTranspose",
        &[name(node, 0)?, name(node, 1)?],
        attributes,
    );
    let first = text(node, "auto_pad") == "SAME_UPPER";
    for (i, &size) in sizes.iter().enumerate() {
        let (axis, more) = (i as i64 + 2, more.get(i).copied().unwrap_or(0));
        // What is too much is cut on both sides; what is missing is zero, behind.
        let len = length(w, &y, axis);
        let mut amounts = vec![0; 2 * (sizes.len() + 2)];
        (amounts[i + 2], amounts[sizes.len() + 4 + i]) = (size, size + more.max(0));
        y = if w.opset < 11 {
            w.op_with("Pad", &[&y], vec![ints("pads", amounts)])
        } else {
            let amounts = w.indices(amounts);
            w.op("Pad", &[&y, &amounts])
        };
        let shift = w.index(more - size);
        let total = w.op("Add", &[&len, &shift]);
        let (two, one, zero) = (w.index(2), w.index(1), w.index(0));
        let total = w.op("Max", &[&total, &zero]);
        let mut half = w.op("Div", &[&total, &two]);
        if !first {
            half = w.op("Sub", &[&total, &half]);
        }
        let (count, before) = (w.index(size), w.index(size));
        let places = w.op("Range", &[&zero, &count, &one]);
        let start = w.op("Add", &[&half, &before]);
        let places = w.op("Add", &[&places, &start]);
        y = w.op_with("Gather", &[&y, &places], vec![int("axis", axis)]);
    }
    let output = node.output.first()?;
    let Some(bias) = name(node, 2) else {
        return w.identity(&y, output);
    };
    let mut column = vec![1; sizes.len() + 1];
    column[0] = -1;
    let column = w.indices(column);
    let bias = w.op("Reshape", &[bias, &column]);
    w.node("Add", &[&y, &bias], output, Vec::new());
    Some(())
}

/// A `Slice` of one axis.
pub(super) fn sliced(
    w: &mut Writer,
    x: &str,
    axis: i64,
    start: i64,
    end: i64,
    step: i64,
) -> String {
    if w.opset < 10 && step == 1 {
        let attributes = vec![
            ints("axes", vec![axis]),
            ints("starts", vec![start]),
            ints("ends", vec![end]),
        ];
        return w.op_with("Slice", &[x], attributes);
    }
    let bounds = [start, end, axis, step].map(|v| w.indices(vec![v]));
    w.op(
        "Slice",
        &[x, &bounds[0], &bounds[1], &bounds[2], &bounds[3]],
    )
}

/// The length of an axis, a number without a dimension.
fn length(w: &mut Writer, x: &str, axis: i64) -> String {
    let shape = w.op("Shape", &[x]);
    let at = w.index(axis);
    w.op("Gather", &[&shape, &at])
}

/// Positions `−before, …, len + after − 1` of an axis, counted round and round.
fn wrapped(w: &mut Writer, x: &str, axis: i64, before: i64, after: i64) -> String {
    let len = length(w, x, axis);
    let (zero, one) = (w.index(0), w.index(1));
    let (more, turns) = (w.index(before + after), w.index(before));
    // Enough whole turns to be positive: an axis has one element or more.
    let count = w.op("Add", &[&len, &more]);
    let places = w.op("Range", &[&zero, &count, &one]);
    let turned = w.op("Mul", &[&len, &turns]);
    let places = w.op("Add", &[&places, &turned]);
    let places = w.op("Sub", &[&places, &turns]);
    let places = w.op("Mod", &[&places, &len]);
    w.op_with("Gather", &[x, &places], vec![int("axis", axis)])
}

/// Slices that a stored condition keeps.
pub(in crate::onnx) fn compress(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let stored = &facts.known;
    let condition = whole(stored, name(node, 1))?;
    let kept = condition.iter().zip(0..).filter(|(c, _)| **c != 0);
    let kept: Vec<i64> = kept.map(|(_, i)| i).collect();
    if kept.is_empty() {
        return None;
    }
    let kept = w.indices(kept);
    let mut x = name(node, 0)?.clone();
    let axis = match attribute(node, "axis") {
        Some(axis) => axis.i,
        None => {
            let flat = w.indices(vec![-1]);
            x = w.op("Reshape", &[&x, &flat]);
            0
        }
    };
    let axis = vec![int("axis", axis)];
    w.node("Gather", &[&x, &kept], node.output.first()?, axis);
    Some(())
}

/// Of one operand by transposing and summing, of three and more by taking two at a time.
pub(in crate::onnx) fn einsum(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let equation: String = text(node, "equation").split_whitespace().collect();
    let (left, given) = match equation.split_once("->") {
        Some((left, right)) => (left.to_string(), Some(right.to_string())),
        None => (equation.clone(), None),
    };
    let operands: Vec<&str> = left.split(',').collect();
    if operands.len() == 2 || operands.len() != node.input.len() || left.contains('.') {
        return None;
    }
    let result = given.unwrap_or_else(|| {
        let all: Vec<char> = operands.iter().flat_map(|o| o.chars()).collect();
        let mut once: Vec<char> = all.clone();
        once.retain(|c| all.iter().filter(|d| *d == c).count() == 1);
        once.sort_unstable();
        once.into_iter().collect()
    });
    let y = node.output.first()?;
    if let [letters] = operands[..] {
        let letters: Vec<char> = letters.chars().collect();
        let place = |c: char| letters.iter().position(|l| *l == c);
        let twice = (letters.iter().enumerate()).any(|(i, c)| place(*c) != Some(i));
        let kept: Option<Vec<usize>> = result.chars().map(place).collect();
        let kept = kept.filter(|_| !twice)?;
        let summed: Vec<i64> = (0..letters.len())
            .filter(|i| !kept.contains(i))
            .map(|i| i as i64)
            .collect();
        let mut x = node.input[0].clone();
        if !summed.is_empty() {
            x = reduced(w, "ReduceSum", &x, &summed, false);
        }
        if kept.len() < 2 {
            return w.identity(&x, y);
        }
        let mut rest = kept.clone();
        rest.sort_unstable();
        let order = kept.iter().filter_map(|k| rest.iter().position(|r| r == k));
        let order = ints("perm", order.map(|p| p as i64).collect());
        w.node("Transpose", &[&x], y, vec![order]);
        return Some(());
    }
    let (mut at, mut letters) = (node.input[0].clone(), operands[0].to_string());
    for i in 1..operands.len() {
        let last = i + 1 == operands.len();
        let wanted =
            |c: &char| operands[i + 1..].iter().any(|o| o.contains(*c)) || result.contains(*c);
        let mut next: Vec<char> = letters.chars().chain(operands[i].chars()).collect();
        let all = next.clone();
        let mut position = 0;
        next.retain(|c| {
            position += 1;
            wanted(c) && all[..position - 1].iter().all(|d| d != c)
        });
        let next: String = if last {
            result.clone()
        } else {
            next.into_iter().collect()
        };
        let equation = string("equation", &format!("{letters},{}->{next}", operands[i]));
        if last {
            w.node("Einsum", &[&at, &node.input[i]], y, vec![equation]);
        } else {
            at = w.op_with("Einsum", &[&at, &node.input[i]], vec![equation]);
        }
        letters = next;
    }
    Some(())
}

/// Stored indices that count from the end: the lengths that they count from are added.
pub(in crate::onnx) fn from_the_end(
    node: &NodeProto,
    w: &mut Writer,
    facts: &mut Facts,
) -> Option<()> {
    let stored = &facts.known;
    let indices = name(node, 1)?;
    let known = stored.get(indices)?;
    if !known.values.iter().any(|v| *v < 0.0) {
        return None;
    }
    let depth = usize::try_from(*known.dims.last()?).ok()?;
    let batch = attribute(node, "batch_dims").map_or(0, |a| a.i);
    let axes = w.indices((0..depth as i64).map(|i| i.saturating_add(batch)).collect());
    let shape = w.op("Shape", &[name(node, 0)?]);
    let lengths = w.op("Gather", &[&shape, &axes]);
    let negative = known.values.iter().map(|v| i64::from(*v < 0.0)).collect();
    let negative = w.indices(negative);
    if let Some(tensor) = w.constants.last_mut() {
        tensor.dims.clone_from(&known.dims);
    }
    let shift = w.op("Mul", &[&negative, &lengths]);
    let indices = w.op("Add", &[indices, &shift]);
    let mut operands = node.input.clone();
    operands[1] = indices;
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    w.node(
        &node.op_type,
        &operands,
        node.output.first()?,
        node.attribute.clone(),
    );
    Some(())
}

/// Most samples of which the steps are reversed.
const SAMPLES: usize = 64;

/// The first steps of every sample, as many as are stored, backwards.
pub(in crate::onnx) fn reverse_sequence(
    node: &NodeProto,
    w: &mut Writer,
    facts: &mut Facts,
) -> Option<()> {
    let stored = &facts.known;
    let lengths = whole(stored, name(node, 1))?;
    let time = attribute(node, "time_axis").map_or(0, |a| a.i);
    let batch = attribute(node, "batch_axis").map_or(1, |a| a.i);
    if lengths.is_empty() || lengths.len() > SAMPLES || !matches!((time, batch), (0, 1) | (1, 0)) {
        return None;
    }
    let x = name(node, 0)?;
    let steps = length(w, x, time);
    let (zero, one) = (w.index(0), w.index(1));
    let places = w.op("Range", &[&zero, &steps, &one]);
    let mut parts = Vec::with_capacity(lengths.len());
    for (sample, &len) in lengths.iter().enumerate() {
        let sample = sample as i64;
        let part = sliced(w, x, batch, sample, sample + 1, 1);
        let (last, len) = (w.index(len - 1), w.index(len));
        let turned = w.op("Sub", &[&last, &places]);
        let within = w.op("Less", &[&places, &len]);
        let places = w.op("Where", &[&within, &turned, &places]);
        parts.push(w.op_with("Gather", &[&part, &places], vec![int("axis", time)]));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    w.node(
        "Concat",
        &parts,
        node.output.first()?,
        vec![int("axis", batch)],
    );
    Some(())
}
