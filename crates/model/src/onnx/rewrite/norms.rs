//! Normalization over channels, and activations that tract computes otherwise.

use tract_onnx::pb::NodeProto;

use super::writer::{Facts, Writer, attribute, int, ints};

/// Most channels that one channel is normalized by.
const WIDEST: i64 = 1 << 16;

/// `x · (bias + alpha · mean)^−beta`, where the mean of the squares is over `size` channels around each one, zeros beyond the
/// first and the last: an average over windows with the channels as the axis that they move along.
pub(in crate::onnx) fn lrn(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let (x, y) = (node.input.first()?, node.output.first()?);
    let size = attribute(node, "size")?.i;
    // Runtimes differ in which side an even number of channels is longer on.
    if !(1..=WIDEST).contains(&size) || size % 2 == 0 {
        return None;
    }
    let number = |name: &str, default: f32| attribute(node, name).map_or(default, |a| a.f);
    let (alpha, beta) = (number("alpha", 1e-4), number("beta", 0.75));
    let bias = number("bias", 1.0);
    let shape = w.op("Shape", &[x]);
    let squares = w.op("Mul", &[x, x]);
    let flat = w.indices(vec![0, 0, -1]);
    let flat = w.op("Reshape", &[&squares, &flat]);
    let turned = vec![ints("perm", vec![0, 2, 1])];
    let channels_last = w.op_with("Transpose", &[&flat], turned.clone());
    let windows = vec![
        ints("kernel_shape", vec![size]),
        ints("pads", vec![size / 2; 2]),
        int("count_include_pad", 1),
    ];
    let mean = w.op_with("AveragePool", &[&channels_last], windows);
    let mean = w.op_with("Transpose", &[&mean], turned);
    let mean = w.op("Reshape", &[&mean, &shape]);
    let (alpha, bias) = (w.floats(vec![alpha], &[]), w.floats(vec![bias], &[]));
    let scaled = w.op("Mul", &[&mean, &alpha]);
    let base = w.op("Add", &[&scaled, &bias]);
    let exponent = w.floats(vec![-beta], &[]);
    let factor = w.op("Pow", &[&base, &exponent]);
    w.node("Mul", &[x, &factor], y, Vec::new());
    Some(())
}

/// `alpha · elu(x / alpha)`: the Celu of tract 0.23 forgets to multiply by alpha.
pub(in crate::onnx) fn celu(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let alpha = attribute(node, "alpha").map_or(1.0, |a| a.f);
    let (x, y) = (node.input.first()?, node.output.first()?);
    if alpha == 1.0 {
        return None;
    }
    let negative = alpha < 0.0;
    let alpha = w.floats(vec![alpha], &[]);
    let small = w.op("Div", &[x, &alpha]);
    if negative {
        // max(0, x) + min(0, alpha · (exp(x / alpha) − 1))
        let (zero, one) = (w.floats(vec![0.0], &[]), w.floats(vec![1.0], &[]));
        let exponential = w.op("Exp", &[&small]);
        let less = w.op("Sub", &[&exponential, &one]);
        let scaled = w.op("Mul", &[&less, &alpha]);
        let (above, below) = (w.op("Max", &[x, &zero]), w.op("Min", &[&scaled, &zero]));
        w.node("Add", &[&above, &below], y, Vec::new());
        return Some(());
    }
    let elu = w.op("Elu", &[&small]);
    w.node("Mul", &[&elu, &alpha], y, Vec::new());
    Some(())
}
