//! Choices by activations: elements kept or dropped by a truth, the largest elements of a list.

use tract_onnx::tract_core::ops::array::Topk;

use super::ImportError;
use super::lower::Call;
use super::tensor::{Lazy, Lowering, Value};
use super::view::Builder;
use crate::graph::Op;

/// Most elements that [`Topk`] picks, and most that it picks from.
const MAX_PICKED: usize = 32;
const MAX_LIST: usize = 1024;

impl Lowering<'_> {
    /// `truth · x`, exactly.
    pub(super) fn gated(&mut self, truth: &Lazy, x: &Lazy) -> Result<Lazy, ImportError> {
        let operands = vec![self.plain(truth)?, self.plain(x)?];
        self.emit_lazy(Op::Gate, operands, x.shape.clone())
    }

    /// Values and indices of the largest (or least) elements along an axis.
    pub(super) fn top_k(&mut self, op: &Topk, call: &Call) -> Result<Vec<Value>, ImportError> {
        let x = self.first(call)?;
        let dims = x.dims();
        let count = call.shape.get(op.axis).copied();
        let (Some(&len), Some(count)) = (dims.get(op.axis), count) else {
            return Err(self.unsupported("the axis does not exist"));
        };
        if count > MAX_PICKED || len > MAX_LIST || count > len {
            return Err(self.unsupported(format!(
                "the {count} largest of {len} elements; limits are {MAX_PICKED} and {MAX_LIST}"
            )));
        }
        let mut order: Vec<usize> = (0..dims.len()).filter(|d| *d != op.axis).collect();
        order.push(op.axis);
        let moved = self.permuted(&x, &order)?;
        let moved = self.resolve(&moved)?;
        let runs = x.len() / len;
        let list = if op.largest {
            moved.clone()
        } else {
            self.mapped(&moved, -1.0, 0.0)
        };
        let node = self.plain(&list)?;
        let hot = self.emit_lazy(Op::TopK { len, count }, vec![node], vec![runs, count, len])?;
        let view = Builder::new(&[runs, len])
            .walk(runs, &[(0, 1)])
            .walk(count, &[])
            .walk(len, &[(1, 1)])
            .build();
        let spread = self.map(&moved.reshaped(&[runs, len]), &view, &[runs, count, len])?;
        let kept = self.gated(&hot, &spread)?;
        let node = self.plain(&kept)?;
        let values = self.emit_lazy(Op::Sum { group: len }, vec![node], vec![runs, count])?;
        // The place of the one.
        let node = self.plain(&hot)?;
        let indices = self.emit_lazy(Op::ArgMax { len }, vec![node], vec![runs, count])?;
        // The axis back to its place.
        let mut shape: Vec<usize> = order.iter().map(|&d| dims[d]).collect();
        if let Some(last) = shape.last_mut() {
            *last = count;
        }
        let back: Vec<usize> = (0..dims.len())
            .filter_map(|d| order.iter().position(|&o| o == d))
            .collect();
        let mut results = Vec::with_capacity(2);
        for y in [values, indices] {
            let y = self.permuted(&y.reshaped(&shape), &back)?;
            results.push(Value::Tensor(y.reshaped(&call.shape)));
        }
        Ok(results)
    }
}
