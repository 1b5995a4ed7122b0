//! Operators that only move elements.

use tract_onnx::prelude::{DatumType, Tensor};
use tract_onnx::tract_core::internal::AxisOp;
use tract_onnx::tract_core::ops::array::{
    Gather, MultiBroadcastTo, Pad, PadMode, Slice, StridedSlice, Tile, TypedConcat,
};
use tract_onnx::tract_core::ops::downsample::Downsample;

use super::ImportError;
use super::guard::guarded;
use super::linear::volume;
use super::lower::Call;
use super::tensor::{Lazy, Lowering};
use crate::graph::view::Builder;
use crate::graph::{BinaryOp, Op, ScalarFn};

/// Most pieces an irregular gather is cut into.
const MAX_PIECES: usize = 1024;

impl Lowering<'_> {
    /// `len` elements along a dimension, from `first` in steps of `step`; zeros where that leaves the tensor.
    pub(super) fn window(
        &mut self,
        x: &Lazy,
        axis: usize,
        first: i64,
        step: i64,
        len: usize,
    ) -> Result<Lazy, ImportError> {
        let mut shape = x.dims();
        let mut view = Builder::new(&shape);
        for (d, &l) in x.dims().iter().enumerate() {
            view = if d == axis {
                view.offset(d, first).walk(len, &[(d, step)])
            } else {
                view.walk(l, &[(d, 1)])
            };
        }
        match shape.get_mut(axis) {
            Some(l) => *l = len,
            None => return Err(self.unsupported("the axis does not exist")),
        }
        self.map(x, &view.build(), &shape)
    }

    pub(super) fn axis_op(&mut self, op: &AxisOp, call: &Call) -> Result<Lazy, ImportError> {
        let x = self.first(call)?;
        let &AxisOp::Move(from, to) = op else {
            if x.len() != call.shape.iter().product::<usize>() {
                return Err(self.unsupported("a reshape to another number of elements"));
            }
            return Ok(x.reshaped(&call.shape));
        };
        let mut order: Vec<usize> = (0..x.dims().len()).collect();
        if from >= order.len() || to >= order.len() {
            return Err(self.unsupported("the axis does not exist"));
        }
        let axis = order.remove(from);
        order.insert(to, axis);
        self.permuted(&x, &order)
    }

    pub(super) fn slice(&mut self, op: &Slice, call: &Call) -> Result<Lazy, ImportError> {
        let x = self.first(call)?;
        let start = guarded(|| Ok(op.start.to_i64()?)).map_err(|e| self.unsupported(e))?;
        let len = call.shape.get(op.axis).copied().unwrap_or(0);
        let inside = start >= 0
            && x.dims()
                .get(op.axis)
                .is_some_and(|&l| start.saturating_add(len as i64) <= l as i64);
        if !inside {
            return Err(self.unsupported("a slice beyond the end of the tensor"));
        }
        self.window(&x, op.axis, start, 1, len)
    }

    /// A constant's elements as integers.
    fn integers(&self, tensor: &Tensor) -> Result<Vec<i64>, ImportError> {
        let cast = guarded(|| {
            let cast = tensor.cast_to_dt(DatumType::I64)?;
            Ok(cast.try_as_plain_ram()?.as_slice::<i64>()?.to_vec())
        });
        cast.map_err(|e| self.unsupported(e))
    }

    pub(super) fn strided_slice(
        &mut self,
        op: &StridedSlice,
        call: &Call,
    ) -> Result<Lazy, ImportError> {
        let Some(mut x) = call
            .tensor(0)
            .cloned()
            .filter(|_| op.begin_mask | op.end_mask | op.shrink_axis_mask == 0)
        else {
            return Err(self.unsupported("slices that drop axes are not supported"));
        };
        let fixed = |at: usize| match call.constant(at) {
            Some(t) => self.integers(t),
            None => Err(self.unsupported("bounds that are not constant are not supported")),
        };
        let (starts, ends) = (fixed(1)?, fixed(2)?);
        let axes = op.optional_axes_input.map(fixed).transpose()?;
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = op
            .optional_steps_input
            .map(fixed)
            .transpose()?
            .unwrap_or_else(|| vec![1; starts.len()]);
        let rank = x.shape.len() as i64;
        if starts.len() != ends.len() || starts.len() != axes.len() || starts.len() != steps.len() {
            return Err(self.unsupported("bounds of different lengths"));
        }
        for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let axis = if axis < 0 {
                axis.saturating_add(rank)
            } else {
                axis
            };
            let Some(len) = usize::try_from(axis)
                .ok()
                .and_then(|a| x.shape.get(a))
                .map(|&l| l as i64)
            else {
                return Err(self.unsupported("the axis does not exist"));
            };
            let from_end = |v: i64| if v < 0 { v.saturating_add(len) } else { v };
            // ONNX: bounds are clamped to the tensor, for negative steps to one before its start.
            let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
            let (start, end) = (
                from_end(start).clamp(low.max(0), high),
                from_end(end).clamp(low, high),
            );
            let distance = if step > 0 { end - start } else { start - end };
            let count = if step == 0 || distance <= 0 {
                0
            } else {
                (distance as u64).div_ceil(step.unsigned_abs())
            };
            if count == 0 {
                return Err(self.unsupported("an empty slice"));
            }
            // A single element needs no step, however large the file says it is.
            let step = if count == 1 { 1 } else { step };
            x = self.window(&x, axis as usize, start, step, count as usize)?;
        }
        Ok(x)
    }

    pub(super) fn downsample(&mut self, op: &Downsample, call: &Call) -> Result<Lazy, ImportError> {
        let x = self.first(call)?;
        let (Some(&from), Some(&len)) = (x.shape.get(op.axis), call.shape.get(op.axis)) else {
            return Err(self.unsupported("the axis does not exist"));
        };
        let first = if op.stride < 0 {
            from as i64 - 1
        } else {
            op.modulo as i64
        };
        self.window(&x, op.axis, first, op.stride as i64, len)
    }

    pub(super) fn pad(&mut self, op: &Pad, call: &Call) -> Result<Lazy, ImportError> {
        let mut x = self.first(call)?;
        let value = match &op.mode {
            PadMode::Constant(value) if volume(value) == 1 => {
                Some(f64::from(self.floats(value)?[0]))
            }
            PadMode::Constant(_) => {
                return Err(self.unsupported("padding with more than one value"));
            }
            _ => None,
        };
        if let Some(value) = value.filter(|&v| v != 0.0) {
            let f = x.f.clone().combine(BinaryOp::Sub, ScalarFn::Const(value));
            x = x.with(f);
        }
        for (axis, &(before, after)) in op.pads.iter().enumerate() {
            if before == 0 && after == 0 {
                continue;
            }
            self.bound("the padding", &[before.max(1)])?;
            self.bound("the padding", &[after.max(1)])?;
            let len = x.dims().get(axis).copied().unwrap_or(0);
            let (b, l) = (before as i64, len as i64);
            x = match op.mode {
                PadMode::Constant(_) => self.window(&x, axis, -b, 1, before + len + after)?,
                PadMode::Reflect if before < len && after < len => {
                    self.bordered(&x, axis, (b, -1, before), (l - 2, -1, after))?
                }
                PadMode::Reflect => {
                    return Err(self.unsupported("a reflection wider than the tensor"));
                }
                PadMode::Edge => self.bordered(&x, axis, (0, 0, before), (l - 1, 0, after))?,
            };
        }
        match value.filter(|&v| v != 0.0) {
            Some(value) => {
                let f = x.f.clone().combine(BinaryOp::Add, ScalarFn::Const(value));
                Ok(x.with(f))
            }
            None => Ok(x),
        }
    }

    /// The tensor between two windows of itself, given as (first, step, length).
    fn bordered(
        &mut self,
        x: &Lazy,
        axis: usize,
        low: (i64, i64, usize),
        high: (i64, i64, usize),
    ) -> Result<Lazy, ImportError> {
        let x = self.resolve(x)?;
        let mut parts = Vec::new();
        if low.2 > 0 {
            parts.push(self.window(&x, axis, low.0, low.1, low.2)?);
        }
        parts.push(x.clone());
        if high.2 > 0 {
            parts.push(self.window(&x, axis, high.0, high.1, high.2)?);
        }
        self.concat_axis(&parts, axis)
    }

    pub(super) fn concat(&mut self, op: &TypedConcat, call: &Call) -> Result<Lazy, ImportError> {
        let parts = call
            .inputs
            .iter()
            .map(|v| self.tensor(v))
            .collect::<Result<Vec<_>, _>>()?;
        self.concat_axis(&parts, op.axis)
    }

    /// Concatenation along a dimension: flat if nothing varies outside of it, otherwise with that dimension moved to the
    /// front and back.
    pub(super) fn concat_axis(&mut self, parts: &[Lazy], axis: usize) -> Result<Lazy, ImportError> {
        let Some(dims) = parts.first().map(Lazy::dims).filter(|d| axis < d.len()) else {
            return Err(self.unsupported("the axis does not exist"));
        };
        let others = |d: &[usize]| {
            d.iter()
                .enumerate()
                .filter(|(i, _)| *i != axis)
                .map(|(_, l)| *l)
                .collect::<Vec<_>>()
        };
        if parts
            .iter()
            .any(|p| p.dims().len() != dims.len() || others(&p.dims()) != others(&dims))
        {
            return Err(self.unsupported("parts of different shapes"));
        }
        if let [one] = parts {
            return Ok(one.clone());
        }
        let total: usize = parts.iter().map(|p| p.dims()[axis]).sum();
        let mut shape = dims.clone();
        shape[axis] = total;
        let flat = dims[..axis].iter().all(|&l| l == 1);
        let mut front: Vec<usize> = (0..dims.len()).collect();
        if !flat {
            front.remove(axis);
            front.insert(0, axis);
        }
        let mut nodes = Vec::new();
        for part in parts {
            let moved = self.permuted(part, &front)?;
            nodes.push(self.plain(&moved)?);
        }
        let y = self.emit_lazy(Op::Concat, nodes, front.iter().map(|&d| shape[d]).collect())?;
        if flat {
            return Ok(y);
        }
        let back: Vec<usize> = (0..dims.len())
            .filter_map(|d| front.iter().position(|&f| f == d))
            .collect();
        self.permuted(&y, &back)
    }

    pub(super) fn broadcast_to(
        &mut self,
        _: &MultiBroadcastTo,
        call: &Call,
    ) -> Result<Lazy, ImportError> {
        let x = self.first(call)?;
        let mut shape = vec![1; call.shape.len().saturating_sub(x.shape.len())];
        shape.extend(&x.shape);
        self.broadcast(&x.reshaped(&shape), &call.shape)
    }

    pub(super) fn tile(&mut self, _: &Tile, call: &Call) -> Result<Lazy, ImportError> {
        let x = self.first(call)?;
        let dims = x.dims();
        if dims.len() != call.shape.len() || dims.iter().zip(&call.shape).any(|(d, s)| s % d != 0) {
            return Err(self.unsupported("the repeats do not fit the shape"));
        }
        let mut view = Builder::new(&dims);
        for (d, (&len, &to)) in dims.iter().zip(&call.shape).enumerate() {
            view = view.walk(to / len, &[]).walk(len, &[(d, 1)]);
        }
        self.map(&x, &view.build(), &call.shape)
    }

    pub(super) fn gather(&mut self, op: &Gather, call: &Call) -> Result<Lazy, ImportError> {
        if let (Some(table), Some(x)) = (call.constant(0), call.tensor(1).cloned()) {
            return self.lookup(&table.clone(), op.axis, &x, &call.shape);
        }
        let (Some(x), Some(indices)) = (call.tensor(0).cloned(), call.constant(1)) else {
            return Err(self.unsupported("indices that are not constant are not supported"));
        };
        let len = x.shape.get(op.axis).copied().unwrap_or(0) as i64;
        let mut indices = self.integers(indices)?;
        indices
            .iter_mut()
            .filter(|i| **i < 0)
            .for_each(|i| *i += len);
        if indices.is_empty() || indices.iter().any(|i| !(0..len).contains(i)) {
            return Err(self.unsupported("an index is out of range"));
        }
        // Cut into arithmetic progressions.
        let mut parts = Vec::new();
        let mut rest = indices.as_slice();
        while let Some(&first) = rest.first() {
            let step = rest.get(1).map_or(1, |second| second - first);
            let run = rest
                .iter()
                .zip(0i64..)
                .take_while(|(i, n)| **i == first + n * step)
                .count();
            parts.push(self.window(&x, op.axis, first, step, run)?);
            rest = &rest[run..];
            if parts.len() > MAX_PIECES {
                return Err(self.unsupported("too many irregular indices"));
            }
        }
        Ok(self.concat_axis(&parts, op.axis)?.reshaped(&call.shape))
    }
}
