//! Pooling, reductions and normalization written out in averages, sums and maxima.

use tract_onnx::pb::NodeProto;

use super::writer::{Facts, Writer, attribute, int};

/// `m + ln Σ exp(x − m)` with the maximum `m`: exponentials of any size then share one scale.
pub(in crate::onnx) fn log_sum_exp(
    node: &NodeProto,
    w: &mut Writer,
    facts: &mut Facts,
) -> Option<()> {
    // Of whole numbers it is rounded.
    if facts.types.whole.contains(node.input.first()?) {
        return None;
    }
    let (x, y) = (w.cast(node.input.first()?), node.output.first()?);
    let operands = |x: &str| -> Vec<String> {
        let rest = node.input.iter().skip(1).cloned();
        std::iter::once(x.to_string()).chain(rest).collect()
    };
    let reduce = |w: &mut Writer, op: &str, x: &str, keep: Option<i64>| {
        let mut attributes = node.attribute.clone();
        if let Some(keep) = keep {
            attributes.retain(|a| a.name != "keepdims");
            attributes.push(int("keepdims", keep));
        }
        let operands = operands(x);
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        w.op_with(op, &operands, attributes)
    };
    let largest = reduce(w, "ReduceMax", &x, Some(1));
    let distance = w.op("Sub", &[&x, &largest]);
    let exponential = w.op("Exp", &[&distance]);
    let log = reduce(w, "ReduceLogSum", &exponential, None);
    let largest = reduce(w, "ReduceMax", &x, None);
    w.node("Add", &[&log, &largest], y, Vec::new());
    Some(())
}

/// `(Σ |x|^p)^(1/p)` over windows: an average times the window's size.
pub(in crate::onnx) fn lp_pool(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let (x, y) = (node.input.first()?, node.output.first()?);
    let kernel = &attribute(node, "kernel_shape")?.ints;
    let size = kernel.iter().try_fold(1i64, |p, &k| p.checked_mul(k));
    let size = size.filter(|s| (1..1 << 20).contains(s))?;
    let p = attribute(node, "p").map_or(2, |a| a.i);
    // Windows over the edge are averages of fewer.
    if attribute(node, "ceil_mode").is_some_and(|a| a.i != 0) {
        return None;
    }
    // Of higher powers, what is small is lost in one step of what is large: a window of small values would be far off.
    if !(1..=2).contains(&p) {
        return None;
    }
    let powers = match p {
        1 => w.op("Abs", &[x]),
        _ => w.op("Mul", &[x, x]),
    };
    let mut attributes = node.attribute.clone();
    attributes.retain(|a| a.name != "p" && a.name != "count_include_pad");
    attributes.push(int("count_include_pad", 1));
    let mean = w.op_with("AveragePool", &[&powers], attributes);
    let size = w.floats(vec![size as f32], &[]);
    if p == 1 {
        w.node("Mul", &[&mean, &size], y, Vec::new());
        return Some(());
    }
    let sum = w.op("Mul", &[&mean, &size]);
    w.node("Sqrt", &[&sum], y, Vec::new());
    Some(())
}
