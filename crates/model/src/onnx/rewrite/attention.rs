//! Attention as one operator, of ONNX (from version 23 on) and of ONNX Runtime, written out in products, masks and a softmax.
//!
//! Heads are an axis of their own everywhere, in groups that share keys and values: `[batch][key heads][group][steps][size]`.

use tract_onnx::pb::NodeProto;

use super::types::Types;
use super::writer::{Facts, Writer, attribute, int, ints};

pub(in crate::onnx) mod contrib;

/// What masked logits are: the importer saturates larger ones.
const MASKED: f32 = -1e9;

/// Queries, keys and values with heads, and how they are compared.
struct Heads {
    /// `[batch][key heads][group][steps][size]`
    query: String,
    /// `[batch][key heads][1][steps][size]`
    key: String,
    value: String,
    /// What products are multiplied by; one over the root of a query's size if nothing is said.
    scale: Option<f32>,
    softcap: f32,
    /// Added to the logits, of a shape that broadcasts.
    biases: Vec<String>,
    /// Whether a step sees later ones; `Some(last)`: it does not, counted from the last step of both instead of from the first.
    causal: Option<bool>,
    /// How many steps back a step sees, if not all.
    window: Option<i64>,
}

fn name(node: &NodeProto, i: usize) -> Option<&String> {
    node.input.get(i).filter(|n| !n.is_empty())
}

fn shaped(w: &mut Writer, x: &str, dims: Vec<i64>) -> String {
    let dims = w.indices(dims);
    w.op("Reshape", &[x, &dims])
}

fn turned(w: &mut Writer, x: &str, order: &[i64]) -> String {
    w.op_with("Transpose", &[x], vec![ints("perm", order.to_vec())])
}

fn axes(w: &mut Writer, op: &str, x: &str, axes: Vec<i64>) -> String {
    if w.opset < 13 {
        return w.op_with(op, &[x], vec![ints("axes", axes)]);
    }
    let axes = w.indices(axes);
    w.op(op, &[x, &axes])
}

/// One element of a shape, with or without a dimension.
fn length(w: &mut Writer, x: &str, axis: i64, scalar: bool) -> String {
    let shape = w.op("Shape", &[x]);
    let at = if scalar {
        w.index(axis)
    } else {
        w.indices(vec![axis])
    };
    w.op("Gather", &[&shape, &at])
}

/// `[batch][steps][heads · size]` as `[batch][outer][inner][steps][size]`.
fn split(w: &mut Writer, x: &str, outer: i64, inner: i64) -> String {
    let x = shaped(w, x, vec![0, 0, outer, inner, -1]);
    turned(w, &x, &[0, 2, 3, 1, 4])
}

/// `[batch][outer][inner][steps][size]` as `[batch][steps][heads · size]`.
fn joined(w: &mut Writer, x: &str) -> String {
    let x = turned(w, x, &[0, 3, 1, 2, 4]);
    shaped(w, &x, vec![0, 0, -1])
}

/// Zero where a step is seen, far below elsewhere: `[steps][steps of keys]`.
fn causal_mask(w: &mut Writer, heads: &Heads, last: bool) -> String {
    let queries = length(w, &heads.query, 3, true);
    let keys = length(w, &heads.key, 3, true);
    let (zero, one) = (w.index(0), w.index(1));
    let rows = w.op("Range", &[&zero, &queries, &one]);
    let columns = w.op("Range", &[&zero, &keys, &one]);
    let mut rows = axes(w, "Unsqueeze", &rows, vec![1]);
    let columns = axes(w, "Unsqueeze", &columns, vec![0]);
    if last {
        let shift = w.op("Sub", &[&keys, &queries]);
        rows = w.op("Add", &[&rows, &shift]);
    }
    let (none, far) = (w.floats(vec![0.0], &[]), w.floats(vec![MASKED], &[]));
    let later = w.op("Greater", &[&columns, &rows]);
    let mut mask = w.op("Where", &[&later, &far, &none]);
    if let Some(window) = heads.window {
        let window = w.index(window);
        let first = w.op("Sub", &[&rows, &window]);
        let after = w.op("Greater", &[&columns, &first]);
        mask = w.op("Where", &[&after, &mask, &far]);
    }
    mask
}

/// `softmax(scale · q·kᵀ + …)·v`, with heads.
fn attend(w: &mut Writer, heads: &Heads) -> String {
    let keys = turned(w, &heads.key, &[0, 1, 2, 4, 3]);
    let logits = w.op("MatMul", &[&heads.query, &keys]);
    let scale = match heads.scale {
        Some(scale) => w.floats(vec![scale], &[]),
        None => {
            let size = length(w, &heads.query, 4, true);
            let size = w.cast(&size);
            let root = w.op("Sqrt", &[&size]);
            w.op("Reciprocal", &[&root])
        }
    };
    let mut logits = w.op("Mul", &[&logits, &scale]);
    if heads.softcap > 0.0 {
        let cap = w.floats(vec![heads.softcap], &[]);
        let inside = w.op("Div", &[&logits, &cap]);
        let bent = w.op("Tanh", &[&inside]);
        logits = w.op("Mul", &[&bent, &cap]);
    }
    for bias in &heads.biases {
        logits = w.op("Add", &[&logits, bias]);
    }
    if let Some(last) = heads.causal {
        let mask = causal_mask(w, heads, last);
        logits = w.op("Add", &[&logits, &mask]);
    }
    // Version 13 made the last axis the default; what it does to that axis is the same in all.
    let weights = w.op_with("Softmax", &[&logits], vec![int("axis", -1)]);
    w.op("MatMul", &[&weights, &heads.value])
}

/// A mask of this rank or its default as something to add: `[batch or 1][heads or 1][1][steps][steps of keys]`.
fn mask(w: &mut Writer, x: &str, types: &Types, grouped: bool) -> Option<String> {
    let rank = *types.ranks.get(x)?;
    let mut at = x.to_string();
    if types.truths.contains(x) {
        let (none, far) = (w.floats(vec![0.0], &[]), w.floats(vec![MASKED], &[]));
        at = w.op("Where", &[&at, &none, &far]);
    }
    Some(match rank {
        0..=2 => at,
        // [heads][…] or [batch][heads][…]: a mask for each of several heads that share keys has to be split.
        3 | 4 if !grouped => axes(w, "Unsqueeze", &at, vec![-3]),
        _ => return None,
    })
}

/// Keys or values with those of earlier steps before them, and the result with three axes of heads.
fn continued(w: &mut Writer, x: &str, past: Option<&String>) -> (String, String) {
    let whole = match past {
        Some(past) => w.op_with("Concat", &[past, x], vec![int("axis", 2)]),
        None => x.to_string(),
    };
    let heads = axes(w, "Unsqueeze", &whole, vec![2]);
    (whole, heads)
}

/// `Attention` of ONNX.
pub(in crate::onnx) fn onnx(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let types = &facts.types;
    let (q, k, v) = (name(node, 0)?, name(node, 1)?, name(node, 2)?);
    let count = |name: &str| attribute(node, name).map(|a| a.i);
    let causal = match count("is_causal") {
        None | Some(0) => false,
        Some(1) => true,
        // Neither ONNX nor its runtimes say what other numbers mean.
        Some(_) => return None,
    };
    let past = (name(node, 4), name(node, 5));
    let asked = |i: usize| node.output.get(i).filter(|o| !o.is_empty());
    // How earlier steps count for the causal mask changed between versions.
    let unclear = causal && past.0.is_some();
    if name(node, 6).is_some()
        || asked(3).is_some()
        || unclear
        || past.0.is_some() != past.1.is_some()
    {
        return None;
    }
    let sizes = (count("q_num_heads"), count("kv_num_heads"));
    let (query, k, v, flat, grouped) = match sizes {
        (Some(all), Some(shared)) => {
            if shared <= 0 || all <= 0 || all % shared != 0 {
                return None;
            }
            let query = split(w, q, shared, all / shared);
            let heads = |w: &mut Writer, x: &str| {
                let x = shaped(w, x, vec![0, 0, shared, -1]);
                turned(w, &x, &[0, 2, 1, 3])
            };
            (query, heads(w, k), heads(w, v), true, all != shared)
        }
        (None, None) => {
            // [batch][heads][steps][size]: how many heads share keys is known once the model is typed.
            let zero = w.indices(vec![0]);
            let any = w.indices(vec![-1]);
            let shared = length(w, k, 1, false);
            let (steps, size) = (length(w, q, 2, false), length(w, q, 3, false));
            let dims = [&zero, &shared, &any, &steps, &size].map(String::as_str);
            let dims = w.op_with("Concat", &dims, vec![int("axis", 0)]);
            (
                w.op("Reshape", &[q, &dims]),
                k.clone(),
                v.clone(),
                false,
                false,
            )
        }
        _ => return None,
    };
    let (present_key, key) = continued(w, &k, past.0);
    let (present_value, value) = continued(w, &v, past.1);
    let mut biases = Vec::new();
    if let Some(bias) = name(node, 3) {
        biases.push(mask(w, bias, types, grouped)?);
    }
    let heads = Heads {
        query,
        key,
        value,
        scale: attribute(node, "scale").map(|a| a.f),
        softcap: attribute(node, "softcap").map_or(0.0, |a| a.f),
        biases,
        causal: causal.then_some(false),
        window: None,
    };
    let y = attend(w, &heads);
    let y = if flat {
        joined(w, &y)
    } else {
        let zero = w.indices(vec![0]);
        let (all, steps) = (length(w, q, 1, false), length(w, q, 2, false));
        let size = length(w, &v, 3, false);
        let dims = [&zero, &all, &steps, &size].map(String::as_str);
        let dims = w.op_with("Concat", &dims, vec![int("axis", 0)]);
        w.op("Reshape", &[&y, &dims])
    };
    w.identity(&y, asked(0)?)?;
    for (at, present) in [(1, present_key), (2, present_value)] {
        if let Some(output) = asked(at) {
            w.identity(&present, output)?;
        }
    }
    Some(())
}
