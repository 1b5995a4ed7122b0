//! Attention as ONNX Runtime has it (domain `com.microsoft`), and what stands around it in its models.

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;

use super::super::functions::{number, reduced, sliced};
use super::super::types::Types;
use super::super::writer::{Facts, Known, Writer, attribute, decode, int};
use super::{Heads, attend, axes, joined, length, name, shaped, split};

/// What ONNX Runtime adds to the logits where its integers of a mask are zero.
fn padding(w: &mut Writer, node: &NodeProto, x: &str, types: &Types) -> Option<String> {
    if *types.ranks.get(x)? != 2 {
        return None;
    }
    let filter = attribute(node, "mask_filter_value").map_or(-10_000.0, |a| a.f);
    let x = w.cast(x);
    let (one, filter) = (w.floats(vec![1.0], &[]), w.floats(vec![filter], &[]));
    let out = w.op("Sub", &[&one, &x]);
    let fill = w.op("Mul", &[&out, &filter]);
    Some(axes(w, "Unsqueeze", &fill, vec![1, 2, 3]))
}

fn scale(node: &NodeProto) -> Option<f32> {
    attribute(node, "scale").map(|a| a.f).filter(|s| *s != 0.0)
}

fn flag(node: &NodeProto, name: &str) -> bool {
    attribute(node, name).is_some_and(|a| a.i != 0)
}

fn heads_of(node: &NodeProto) -> Option<i64> {
    Some(attribute(node, "num_heads")?.i).filter(|h| *h > 0)
}

/// Earlier steps as ONNX Runtime has them, a buffer of its own layout, and other results than the first are left to it.
fn only_first(node: &NodeProto) -> Option<&String> {
    let others = node.output.iter().skip(1);
    (others.filter(|o| !o.is_empty()).count() == 0).then_some(())?;
    node.output.first()
}

/// `com.microsoft.MultiHeadAttention` of separate queries, keys and values.
pub(in crate::onnx) fn multi_head(
    node: &NodeProto,
    w: &mut Writer,
    facts: &mut Facts,
) -> Option<()> {
    let Facts { known, types, .. } = facts;
    let y = only_first(node)?;
    let heads = heads_of(node)?;
    if (6..10).any(|i| name(node, i).is_some()) {
        return None;
    }
    let mut parts = [name(node, 0)?, name(node, 1)?, name(node, 2)?].map(String::clone);
    if let Some(bias) = name(node, 3) {
        let len = *known.get(bias)?.dims.first()?;
        // Of queries, keys and values one after the other, of one size.
        for (i, part) in parts.iter_mut().enumerate() {
            let (third, i) = (len / 3, i as i64);
            let bias = sliced(w, bias, 0, i * third, (i + 1) * third, 1);
            *part = w.op("Add", &[part, &bias]);
        }
    }
    let mut biases = Vec::new();
    if let Some(mask) = name(node, 4) {
        biases.push(padding(w, node, mask, types)?);
    }
    if let Some(bias) = name(node, 5) {
        biases.push(axes(w, "Unsqueeze", bias, vec![2]));
    }
    let [query, key, value] = parts.map(|x| split(w, &x, heads, 1));
    let causal = flag(node, "unidirectional").then_some(true);
    let all = Heads {
        query,
        key,
        value,
        scale: scale(node),
        softcap: 0.0,
        biases,
        causal,
        window: None,
    };
    let result = attend(w, &all);
    let result = joined(w, &result);
    w.identity(&result, y)
}

/// `com.microsoft.Attention`: one linear map makes queries, keys and values.
pub(in crate::onnx) fn packed(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let Facts { known, types, .. } = facts;
    let y = only_first(node)?;
    let heads = heads_of(node)?;
    if name(node, 4).is_some() || name(node, 6).is_some() || flag(node, "do_rotary") {
        return None;
    }
    let (x, weights) = (name(node, 0)?, name(node, 1)?);
    let total = *known.get(weights)?.dims.get(1)?;
    let sizes = match attribute(node, "qkv_hidden_sizes") {
        Some(sizes) => sizes.ints.clone(),
        None => vec![total / 3; 3],
    };
    if sizes.len() != 3 || sizes.iter().any(|s| !(1..=total).contains(s)) {
        return None;
    }
    let mut all = w.op("MatMul", &[x, weights]);
    if let Some(bias) = name(node, 2) {
        all = w.op("Add", &[&all, bias]);
    }
    let mut biases = Vec::new();
    if let Some(mask) = name(node, 3) {
        biases.push(padding(w, node, mask, types)?);
    }
    if let Some(bias) = name(node, 5) {
        biases.push(axes(w, "Unsqueeze", bias, vec![2]));
    }
    let mut from = 0;
    let mut part = |w: &mut Writer, size: i64| {
        let part = sliced(w, &all, 2, from, from + size, 1);
        from += size;
        split(w, &part, heads, 1)
    };
    let (query, key, value) = (part(w, sizes[0]), part(w, sizes[1]), part(w, sizes[2]));
    let causal = flag(node, "unidirectional").then_some(true);
    let all = Heads {
        query,
        key,
        value,
        scale: scale(node),
        softcap: 0.0,
        biases,
        causal,
        window: None,
    };
    let result = attend(w, &all);
    let result = joined(w, &result);
    w.identity(&result, y)
}

/// Positions as rotations of pairs: of the first and second half of a head, or of neighbours.
fn rotated(
    w: &mut Writer,
    x: &str,
    node: &NodeProto,
    known: &HashMap<String, Known>,
) -> Option<String> {
    let (cosine, sine) = (name(node, 7)?, name(node, 8)?);
    let half = *known.get(cosine)?.dims.get(1)?;
    let steps = length(w, x, 3, false);
    let (zero, first) = (w.indices(vec![0]), w.indices(vec![0]));
    let mut tables = [cosine, sine].map(|t| w.op("Slice", &[t, &zero, &steps, &first]));
    if flag(node, "rotary_interleaved") {
        for table in &mut tables {
            *table = axes(w, "Unsqueeze", table, vec![2]);
        }
        let pairs = shaped(w, x, vec![0, 0, 0, 0, -1, 2]);
        let one = sliced(w, &pairs, 5, 0, 1, 1);
        let other = sliced(w, &pairs, 5, 1, 2, 1);
        let (a, b) = turn(w, [&one, &other], &tables);
        let both = w.op_with("Concat", &[&a, &b], vec![int("axis", 5)]);
        return Some(shaped(w, &both, vec![0, 0, 0, 0, -1]));
    }
    let one = sliced(w, x, 4, 0, half, 1);
    let other = sliced(w, x, 4, half, 2 * half, 1);
    let (a, b) = turn(w, [&one, &other], &tables);
    Some(w.op_with("Concat", &[&a, &b], vec![int("axis", 4)]))
}

fn turn(w: &mut Writer, [a, b]: [&str; 2], [cosine, sine]: &[String; 2]) -> (String, String) {
    let mut product = |x: &str, y: &str| w.op("Mul", &[x, y]);
    let (ac, bs) = (product(a, cosine), product(b, sine));
    let (as_, bc) = (product(a, sine), product(b, cosine));
    (w.op("Sub", &[&ac, &bs]), w.op("Add", &[&as_, &bc]))
}

/// `com.microsoft.GroupQueryAttention` of a whole text: no steps came before, and all of its steps count.
pub(in crate::onnx) fn grouped(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let known = &facts.known;
    let y = only_first(node)?;
    let (heads, shared) = (heads_of(node)?, attribute(node, "kv_num_heads")?.i);
    let plain = !flag(node, "smooth_softmax") && !flag(node, "qk_output");
    let past = [3, 4].into_iter().any(|i| name(node, i).is_some());
    let others = (9..16).any(|i| name(node, i).is_some());
    // Lengths that are stored, and are those of whole texts.
    let last = known.get(name(node, 5)?)?;
    let total = *known.get(name(node, 6)?)?.values.first()?;
    let whole = last.values.iter().all(|l| l + 1.0 == total);
    if shared <= 0 || heads % shared != 0 || past || others || !plain || !whole {
        return None;
    }
    let mut query = split(w, name(node, 0)?, shared, heads / shared);
    let mut key = split(w, name(node, 1)?, shared, 1);
    let value = split(w, name(node, 2)?, shared, 1);
    if flag(node, "do_rotary") {
        query = rotated(w, &query, node, known)?;
        key = rotated(w, &key, node, known)?;
    }
    let all = Heads {
        query,
        key,
        value,
        scale: scale(node),
        softcap: attribute(node, "softcap").map_or(0.0, |a| a.f),
        biases: Vec::new(),
        causal: Some(true),
        window: attribute(node, "local_window_size")
            .map(|a| a.i)
            .filter(|v| *v > 0),
    };
    let result = attend(w, &all);
    let result = joined(w, &result);
    w.identity(&result, y)
}

/// `com.microsoft.EmbedLayerNormalization`: sums of rows of three tables, normalized.
pub(in crate::onnx) fn embedded(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let ids = name(node, 0)?;
    let words = w.op("Gather", &[name(node, 2)?, ids]);
    let positions = match name(node, 8) {
        Some(positions) => w.op("Gather", &[name(node, 3)?, positions]),
        None => {
            let steps = length(w, ids, 1, false);
            let (zero, first) = (w.indices(vec![0]), w.indices(vec![0]));
            w.op("Slice", &[name(node, 3)?, &zero, &steps, &first])
        }
    };
    let mut sum = w.op("Add", &[&words, &positions]);
    if let (Some(segments), Some(table)) = (name(node, 1), name(node, 4)) {
        let rows = w.op("Gather", &[table, segments]);
        sum = w.op("Add", &[&sum, &rows]);
    }
    let epsilon = attribute(node, "epsilon").map_or(1e-12, |a| a.f);
    let settings = vec![int("axis", -1), number("epsilon", epsilon)];
    let operands = [&sum, name(node, 5)?, name(node, 6)?].map(String::as_str);
    w.node(
        "LayerNormalization",
        &operands,
        node.output.first()?,
        settings,
    );
    let asked = |i: usize| node.output.get(i).filter(|o| !o.is_empty());
    if let Some(lengths) = asked(1) {
        // How many steps of every sample count.
        let total = match name(node, 7) {
            Some(mask) => {
                let mask = w.cast(mask);
                reduced(w, "ReduceSum", &mask, &[1], false)
            }
            None => {
                let batch = length(w, ids, 0, false);
                w.op("ConstantOfShape", &[&batch])
            }
        };
        w.node("Cast", &[&total], lengths, vec![int("to", 6)]);
    }
    match asked(2) {
        Some(shown) => w.identity(&sum, shown),
        None => Some(()),
    }
}

/// `com.microsoft.MatMulNBits`: weights of a few bits by blocks along the inner axis, as floats.
pub(in crate::onnx) fn few_bits(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let number = |name: &str| attribute(node, name).map(|a| a.i);
    let size = |name: &str| usize::try_from(number(name)?).ok().filter(|n| *n > 0);
    let (inner, outer, block) = (size("K")?, size("N")?, size("block_size")?);
    let bits = number("bits").unwrap_or(4);
    if !matches!(bits, 2 | 4 | 8) || name(node, 4).is_some() || inner.checked_mul(outer)? > 1 << 28
    {
        return None;
    }
    let stored = |w: &Writer, i: usize| -> Option<Known> {
        let name = name(node, i)?;
        decode(w.constants.iter().find(|t| t.name == *name)?)
    };
    let (packed, scales) = (stored(w, 1)?, stored(w, 2)?);
    let zeros = match name(node, 3) {
        Some(_) => Some(stored(w, 3)?),
        None => None,
    };
    let per_byte = 8 / bits as usize;
    let blocks = inner.div_ceil(block);
    let row = blocks * block.div_ceil(per_byte);
    let zero_row = blocks.div_ceil(per_byte);
    if packed.values.len() != outer * row || scales.values.len() != outer * blocks {
        return None;
    }
    let packed_zeros = zeros.as_ref().is_none_or(|z| z.data_type == 2);
    let expected = if packed_zeros {
        outer * zero_row
    } else {
        outer * blocks
    };
    if zeros.as_ref().is_some_and(|z| z.values.len() != expected) {
        return None;
    }
    let part = |byte: f64, at: usize| {
        let byte = byte as u32 >> (bits as usize * (at % per_byte));
        f64::from(byte & ((1 << bits) - 1))
    };
    let mut matrix = vec![0.0f32; inner * outer];
    for o in 0..outer {
        for i in 0..inner {
            let (b, at) = (i / block, i % block);
            let byte = packed.values[o * row + b * block.div_ceil(per_byte) + at / per_byte];
            let zero = match &zeros {
                None => f64::from(1 << (bits - 1)),
                Some(z) if packed_zeros => part(z.values[o * zero_row + b / per_byte], b),
                Some(z) => z.values[o * blocks + b],
            };
            matrix[i * outer + o] =
                ((part(byte, at) - zero) * scales.values[o * blocks + b]) as f32;
        }
    }
    let matrix = w.floats(matrix, &[inner, outer]);
    let y = node.output.first()?;
    match name(node, 5) {
        Some(bias) => {
            let product = w.op("MatMul", &[name(node, 0)?, &matrix]);
            w.node("Add", &[&product, bias], y, Vec::new());
        }
        None => w.node("MatMul", &[name(node, 0)?, &matrix], y, Vec::new()),
    }
    Some(())
}
