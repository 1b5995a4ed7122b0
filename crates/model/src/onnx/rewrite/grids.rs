//! Grids of positions to sample at.

use tract_onnx::pb::NodeProto;

use super::writer::{Facts, Writer, attribute, ints};

/// Most positions of a grid.
const MOST: usize = 1 << 20;

/// Positions along an axis of `len`, from −1 to 1: of the first and last elements, or of the outer edges.
fn positions(len: usize, align_corners: bool) -> Option<Vec<f32>> {
    let (first, step) = match (align_corners, len) {
        (_, 0) | (true, 1) => return None,
        (true, len) => (-1.0, 2.0 / (len - 1) as f64),
        (false, len) => (-1.0 + 1.0 / len as f64, 2.0 / len as f64),
    };
    let at = |i: usize| (first + step * i as f64) as f32;
    Some((0..len).map(at).collect())
}

/// Every position of a grid of this size times `theta`: a matrix product with a constant, also where `theta` is computed.
pub(in crate::onnx) fn affine(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let ([theta, size], y) = (node.input.as_slice(), node.output.first()?) else {
        return None;
    };
    let size = facts.known.get(size)?.values.iter();
    let size: Vec<usize> = size.map(|&d| d as usize).collect();
    // [samples, channels, (depth,) height, width]
    let [samples, _, lengths @ ..] = size.as_slice() else {
        return None;
    };
    let count = lengths.iter().try_fold(1usize, |p, &d| p.checked_mul(d))?;
    if !(2..=3).contains(&lengths.len()) || count > MOST {
        return None;
    }
    let align_corners = attribute(node, "align_corners").is_some_and(|a| a.i != 0);
    let axes = lengths.iter().map(|&len| positions(len, align_corners));
    let axes: Vec<Vec<f32>> = axes.collect::<Option<_>>()?;
    // Width comes first in a position and last in the size; the last coordinate is one.
    let mut points = Vec::with_capacity(count * (lengths.len() + 1));
    for mut place in 0..count {
        for (axis, &len) in axes.iter().zip(lengths).rev() {
            points.push(axis[place % len]);
            place /= len;
        }
        points.push(1.0);
    }
    let points = w.floats(points, &[count, lengths.len() + 1]);
    let turned = w.op_with("Transpose", &[theta], vec![ints("perm", vec![0, 2, 1])]);
    let product = w.op("MatMul", &[&points, &turned]);
    let mut dims = vec![i64::try_from(*samples).ok()?];
    dims.extend(lengths.iter().map(|&d| d as i64));
    dims.push(lengths.len() as i64);
    let dims = w.indices(dims);
    w.node("Reshape", &[&product, &dims], y, Vec::new());
    Some(())
}
