//! Choices by activations: elements kept or dropped by a truth, the largest elements of a list.

use tract_onnx::prelude::Tensor;
use tract_onnx::tract_core::ops::array::Topk;
use tract_onnx::tract_core::ops::logic::Iff;

use super::ImportError;
use super::lower::Call;
use super::pointwise::{saturated, spread};
use super::tensor::{Lazy, Lowering, MAX_EXPRESSION, Value};
use crate::graph::view::Builder;
use crate::graph::{Activation, BinaryOp, Op, ScalarFn};

/// Most elements that [`Topk`] picks, and most that it picks from.
const MAX_PICKED: usize = 32;
const MAX_LIST: usize = 1024;

impl Lowering<'_> {
    /// `condition ? then : otherwise`, all functions of one tensor.
    pub(super) fn select(&mut self, _: &Iff, call: &Call) -> Result<Lazy, ImportError> {
        let [condition, then, otherwise] = call.inputs.as_slice() else {
            return Err(self.unsupported("needs three operands"));
        };
        let x = match condition {
            Value::Tensor(x) => x,
            Value::Constant(mask) => return self.masked(&mask.clone(), then, otherwise, call),
            Value::Failed(error) => return Err((**error).clone()),
        };
        let x = self.broadcast(x, &call.shape)?;
        // Undo the 0-or-1 form of a comparison.
        let (c, then, otherwise) = match &x.f {
            ScalarFn::Select(c, one, zero)
                if **one == ScalarFn::Const(1.0) && **zero == ScalarFn::Const(0.0) =>
            {
                ((**c).clone(), then, otherwise)
            }
            ScalarFn::Select(c, zero, one)
                if **one == ScalarFn::Const(1.0) && **zero == ScalarFn::Const(0.0) =>
            {
                ((**c).clone(), otherwise, then)
            }
            f => {
                let half = ScalarFn::Const(0.5);
                (f.clone().combine(BinaryOp::Sub, half), then, otherwise)
            }
        };
        if let (Value::Tensor(a), Value::Tensor(b)) = (then, otherwise)
            && let Some(leaky) = self.prelu(&x, &c, a, b)?
        {
            return Ok(leaky);
        }
        let (yes, no) = (then, otherwise);
        let (Some(then), Some(otherwise)) = (
            self.branch(&x, then, call)?,
            self.branch(&x, otherwise, call)?,
        ) else {
            return self.chosen(&x, c, yes, no, call);
        };
        if c.size() + then.size() + otherwise.size() > 2 * MAX_EXPRESSION {
            return Err(self.unsupported("the expression is too large"));
        }
        Ok(x.with(ScalarFn::select(c, then, otherwise)))
    }

    /// A branch of a choice as a function of the condition's tensor, if it is one.
    fn branch(
        &mut self,
        x: &Lazy,
        value: &Value,
        call: &Call,
    ) -> Result<Option<ScalarFn>, ImportError> {
        match value {
            Value::Constant(t) => {
                let values = self.saturated(t)?;
                let same = values.first().filter(|f| values.iter().all(|v| v == *f));
                Ok(same.map(|&v| ScalarFn::Const(f64::from(v))))
            }
            Value::Tensor(y) => {
                let y = self.broadcast(y, &call.shape)?;
                Ok(y.same_source(x).then_some(y.f))
            }
            Value::Failed(error) => Err((**error).clone()),
        }
    }

    /// A constant's elements; infinities are large numbers instead (masks).
    fn saturated(&self, tensor: &Tensor) -> Result<Vec<f32>, ImportError> {
        let values = self.any_floats(tensor)?;
        if values.iter().any(|v| v.is_nan()) {
            return Err(self.unsupported("a constant holds NaN"));
        }
        Ok(values.iter().map(|v| saturated(*v)).collect())
    }

    /// A value as a tensor of the result's shape.
    fn full(&mut self, value: &Value, call: &Call) -> Result<Lazy, ImportError> {
        let x = match value {
            Value::Constant(t) => {
                let values = self.saturated(t)?;
                self.emit_lazy(Op::Constant(values), Vec::new(), t.shape().to_vec())?
            }
            value => self.tensor(value)?,
        };
        self.broadcast(&x, &call.shape)
    }

    /// A choice by a constant mask: each branch times its part of the mask.
    fn masked(
        &mut self,
        mask: &Tensor,
        then: &Value,
        otherwise: &Value,
        call: &Call,
    ) -> Result<Lazy, ImportError> {
        let given = self.any_floats(mask)?;
        let mask = spread(&given, mask.shape(), &call.shape)
            .ok_or_else(|| self.unsupported("a mask that does not fit"))?;
        let inverse: Vec<f32> = mask.iter().map(|m| 1.0 - m).collect();
        let mut parts = Vec::new();
        let mut shift = vec![0.0f32; mask.len()];
        for (value, mask) in [(then, mask), (otherwise, inverse)] {
            match value {
                Value::Constant(t) => {
                    let values = spread(&self.saturated(t)?, t.shape(), &call.shape)
                        .ok_or_else(|| self.unsupported("a constant that does not fit"))?;
                    for (s, (v, m)) in shift.iter_mut().zip(values.iter().zip(&mask)) {
                        *s += v * m;
                    }
                }
                value => {
                    let x = self.full(value, call)?;
                    parts.push(self.affine_elements(&x, mask, vec![0.0])?);
                }
            }
        }
        let sum = match parts.as_slice() {
            [one] => one.clone(),
            [a, b] => self.sum(a, b)?,
            _ => return Err(self.unsupported("constants that were not folded")),
        };
        if shift.iter().all(|&s| s == 0.0) {
            return Ok(sum);
        }
        self.affine_elements(&sum, vec![1.0], shift)
    }

    /// A choice between any tensors: `otherwise + truth·(then − otherwise)`.
    fn chosen(
        &mut self,
        x: &Lazy,
        condition: ScalarFn,
        then: &Value,
        otherwise: &Value,
        call: &Call,
    ) -> Result<Lazy, ImportError> {
        let (one, zero) = (ScalarFn::Const(1.0), ScalarFn::Const(0.0));
        let truth = x.clone().with(ScalarFn::select(condition, one, zero));
        if let (Value::Constant(a), Value::Constant(b)) = (then, otherwise) {
            let fit = |v: Vec<f32>, t: &Tensor| spread(&v, t.shape(), &call.shape);
            let (a, b) = (fit(self.saturated(a)?, a), fit(self.saturated(b)?, b));
            let (Some(a), Some(b)) = (a, b) else {
                return Err(self.unsupported("a constant that does not fit"));
            };
            let difference = a.iter().zip(&b).map(|(a, b)| a - b).collect();
            return self.affine_elements(&truth, difference, b);
        }
        // Each branch where it is taken; a constant times the truth is a linear map.
        let inverse = self.mapped(&truth, -1.0, 1.0);
        let mut parts = Vec::with_capacity(2);
        for (value, truth) in [(then, truth), (otherwise, inverse)] {
            parts.push(match value {
                Value::Constant(t) => {
                    let values = spread(&self.saturated(t)?, t.shape(), &call.shape)
                        .ok_or_else(|| self.unsupported("a constant that does not fit"))?;
                    self.affine_elements(&truth, values, vec![0.0])?
                }
                value => {
                    let x = self.full(value, call)?;
                    self.gated(&truth, &x)?
                }
            });
        }
        self.sum(&parts[0], &parts[1])
    }

    /// `0 > x ? slopes · x : x`, which is how tract writes a PRelu with a slope per channel.
    fn prelu(
        &mut self,
        x: &Lazy,
        c: &ScalarFn,
        then: &Lazy,
        otherwise: &Lazy,
    ) -> Result<Option<Lazy>, ImportError> {
        let negative = ScalarFn::Const(0.0).combine(BinaryOp::Sub, otherwise.f.clone());
        if !otherwise.same_source(x) || *c != negative || then.f != ScalarFn::X {
            return Ok(None);
        }
        let operand = self.resolve(otherwise)?;
        let node = &self.graph.nodes[then.node];
        let (Op::Affine { scale, shift }, &[source]) = (&node.op, node.inputs.as_slice()) else {
            return Ok(None);
        };
        if shift.iter().any(|&s| s != 0.0) || source != operand.node || then.view != operand.view {
            return Ok(None);
        }
        let (op, shape) = (
            Op::Activation(Activation::LeakyRelu(scale.clone())),
            node.shape.clone(),
        );
        let node = self.emit(op, vec![source], shape)?;
        Ok(Some(Lazy { node, ..operand }))
    }

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
