//! Pooling, reductions and softmax.

use tract_onnx::tract_core::ops::cnn::{MaxPool, SumPool};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, Softmax, SoftmaxKind};
use zkinfer_circuits::program::View;

use super::ImportError;
use super::linear::Windows;
use super::lower::Call;
use super::tensor::{Lazy, Lowering, Value};
use crate::graph::view::Builder;
use crate::graph::{Linear, NodeId, Op, ScalarFn, ScalarOp};

/// Most factors of a product along axes.
const MAX_FACTORS: usize = 32;

/// `[result…][window]` over an operand with these dimensions.
fn pool_view(dims: &[usize], w: &Windows) -> View {
    let mut view = Builder::new(dims);
    for (d, &len) in dims.iter().enumerate() {
        let space = d.checked_sub(w.h_axis).filter(|&s| s < w.input.len());
        view = match space {
            Some(s) => view
                .offset(d, -(w.before[s] as i64))
                .walk(w.output[s], &[(d, w.stride[s] as i64)]),
            None => view.walk(len, &[(d, 1)]),
        };
    }
    for (s, &len) in w.kernel.iter().enumerate() {
        view = view.walk(len, &[(w.h_axis + s, w.dilation[s] as i64)]);
    }
    view.build()
}

/// How many elements of each window along one axis lie in `[low, high)`.
fn covered(w: &Windows, axis: usize, low: i64, high: i64) -> Vec<usize> {
    let position = |p: usize, k: usize| {
        (p * w.stride[axis] + k * w.dilation[axis]) as i64 - w.before[axis] as i64
    };
    let inside = |p: usize| {
        (0..w.kernel[axis])
            .filter(|&k| (low..high).contains(&position(p, k)))
            .count()
    };
    (0..w.output[axis]).map(inside).collect()
}

impl Lowering<'_> {
    pub(super) fn max_pool(&mut self, op: &MaxPool, call: &Call) -> Result<Lazy, ImportError> {
        let x = self.first(call)?;
        let w = self.windows(&op.pool_spec, &x.shape)?;
        let view = pool_view(&x.dims(), &w);
        self.max_over(&x, &view, w.kernel.iter().product(), &call.shape)
    }

    /// Maxima, and where in the whole operand each is: the first largest element of its window.
    pub(super) fn max_pool_places(
        &mut self,
        op: &MaxPool,
        call: &Call,
    ) -> Result<Vec<Value>, ImportError> {
        let largest = self.max_pool(op, call)?;
        let places = match self.places(op, call) {
            Err(error @ ImportError::Unsupported { .. }) => Value::Failed(error.into()),
            places => Value::Tensor(places?),
        };
        Ok(vec![Value::Tensor(largest), places])
    }

    /// The pool yields the places already as ONNX has them.
    pub(super) fn max_pool_indices(&mut self, call: &Call) -> Result<Lazy, ImportError> {
        // The type is tract's own.
        match format!("{:?}", call.node.op).contains("column_major: true") {
            true => Err(self.unsupported("places in column-major order")),
            false => self.first(call),
        }
    }

    fn places(&mut self, op: &MaxPool, call: &Call) -> Result<Lazy, ImportError> {
        let x = self.first(call)?;
        let w = self.windows(&op.pool_spec, &x.shape)?;
        let view = pool_view(&x.dims(), &w);
        let (results, window) = (call.shape.iter().product(), w.kernel.iter().product());
        self.bound("the number of window elements", &[results, window])?;
        let padded = || self.unsupported("where the largest elements of padded windows are");
        let indices = view.indices(x.len()).map_err(|_| padded())?;
        let indices: Option<Vec<usize>> = indices.into_iter().collect();
        let indices = indices.ok_or_else(padded)?;
        let offsets: Vec<f32> = (indices.iter().take(window))
            .map(|&i| i as f32 - indices[0] as f32)
            .collect();
        let first = indices.iter().step_by(window.max(1));
        let first: Vec<f32> = first.map(|&i| i as f32).collect();
        let windows = self.map(&x, &view, &[results, window])?;
        let node = self.plain(&windows)?;
        let len = window;
        let hot = self.emit_lazy(
            Op::TopK { len, count: 1 },
            vec![node],
            vec![results, 1, len],
        )?;
        // The place in the window, from the window's first element on.
        let offset = Linear {
            groups: 1,
            outputs: 1,
            positions: results,
            inputs: window,
            patches: View::identity(results * window),
            weights: offsets,
            bias: Vec::new(),
        };
        let shape = call.shape.clone();
        let offset = self.emit_lazy(Op::Linear(offset), vec![hot.node], shape.clone())?;
        let whole = Op::Affine {
            scale: vec![1.0],
            shift: first,
        };
        self.emit_lazy(whole, vec![offset.node], shape)
    }

    /// Maximum over the innermost `window` elements of a view.
    fn max_over(
        &mut self,
        x: &Lazy,
        view: &View,
        window: usize,
        shape: &[usize],
    ) -> Result<Lazy, ImportError> {
        self.bound(
            "the number of window elements",
            &[shape.iter().product(), window],
        )?;
        let (node, windows) = self.read(x, view, true)?;
        self.emit_lazy(Op::Max { windows, window }, vec![node], shape.to_vec())
    }

    /// Sum over the innermost `group` elements of a view.
    fn sum_over(
        &mut self,
        x: &Lazy,
        view: &View,
        group: usize,
        shape: &[usize],
    ) -> Result<Lazy, ImportError> {
        if group == 1 {
            return self.map(x, view, shape);
        }
        let mut long = shape.to_vec();
        long.push(group);
        let y = self.map(x, view, &long)?;
        let node = self.plain(&y)?;
        self.emit_lazy(Op::Sum { group }, vec![node], shape.to_vec())
    }

    pub(super) fn sum_pool(&mut self, op: &SumPool, call: &Call) -> Result<Lazy, ImportError> {
        self.reals(call)?;
        let x = self.first(call)?;
        let w = self.windows(&op.pool_spec, &x.shape)?;
        let view = pool_view(&x.dims(), &w);
        let sum = self.sum_over(&x, &view, w.kernel.iter().product(), &call.shape)?;
        if !op.normalize {
            return Ok(sum);
        }
        let counts: Vec<Vec<usize>> = (0..w.input.len())
            .map(|s| {
                let (before, len, after) =
                    (w.before[s] as i64, w.input[s] as i64, w.after[s] as i64);
                if op.count_include_pad {
                    covered(&w, s, -before, len + after)
                } else {
                    covered(&w, s, 0, len)
                }
            })
            .collect();
        // The number of elements per window, laid out like the result.
        let mut scale = vec![1.0f64];
        for (d, &len) in call.shape.iter().enumerate() {
            let space = d.checked_sub(w.h_axis).and_then(|s| counts.get(s));
            let count = |i: usize| space.map_or(1.0, |c| c[i] as f64);
            scale = scale
                .iter()
                .flat_map(|s| (0..len).map(move |i| s * count(i)).collect::<Vec<_>>())
                .collect();
        }
        let scale: Vec<f32> = scale
            .iter()
            .map(|s| if *s > 0.0 { (1.0 / s) as f32 } else { 0.0 })
            .collect();
        self.scaled(&sum, scale)
    }

    pub(super) fn reduce(&mut self, op: &Reduce, call: &Call) -> Result<Lazy, ImportError> {
        let rounded = ["ReduceL2", "ReduceLogSum", "ReduceLogSumExp"];
        if rounded.contains(&self.origin.op.as_str()) && call.types.iter().any(|t| t.is_integer()) {
            return Err(self.unsupported("of integers it is rounded; cast to floats before"));
        }
        let x = self.first(call)?;
        let dims = x.dims();
        let mut view = Builder::new(&dims);
        for (d, &len) in dims.iter().enumerate() {
            if !op.axes.contains(&d) {
                view = view.walk(len, &[(d, 1)]);
            }
        }
        let mut group = 1;
        for (d, &len) in dims.iter().enumerate() {
            if op.axes.contains(&d) {
                view = view.walk(len, &[(d, 1)]);
                group *= len;
            }
        }
        let view = view.build();
        let function = |x: Lazy, op| {
            let f = x.f.clone().apply(op);
            x.with(f)
        };
        match op.reducer {
            Reducer::Sum => self.sum_over(&x, &view, group, &call.shape),
            Reducer::MeanOfSquares => {
                let sum =
                    self.sum_over(&function(x, ScalarOp::Square), &view, group, &call.shape)?;
                self.scaled(&sum, vec![1.0 / group as f32])
            }
            Reducer::ArgMax(last) => self.arg_max(x, &view, group, last, &call.shape),
            Reducer::ArgMin(last) => {
                let negated = function(x, ScalarOp::Neg);
                self.arg_max(negated, &view, group, last, &call.shape)
            }
            Reducer::Prod if group <= MAX_FACTORS => {
                let mut long = call.shape.clone();
                long.push(group);
                let factors = self.map(&x, &view, &long)?;
                let mut product = self.window(&factors, long.len() - 1, 0, 1, 1)?;
                for at in 1..group as i64 {
                    let factor = self.window(&factors, long.len() - 1, at, 1, 1)?;
                    let shape = product.shape.clone();
                    product = self.times(&product, &factor, &shape)?;
                }
                Ok(product.reshaped(&call.shape))
            }
            Reducer::Any => self.max_over(&x, &view, group, &call.shape),
            Reducer::All => {
                let max = self.max_over(&function(x, ScalarOp::Neg), &view, group, &call.shape)?;
                Ok(function(max, ScalarOp::Neg))
            }
            Reducer::Max => self.max_over(&x, &view, group, &call.shape),
            Reducer::Min => {
                let max = self.max_over(&function(x, ScalarOp::Neg), &view, group, &call.shape)?;
                Ok(function(max, ScalarOp::Neg))
            }
            _ => Err(self.origin.refused()),
        }
    }

    /// Index of the first (or last) largest element of every window.
    fn arg_max(
        &mut self,
        x: Lazy,
        view: &View,
        len: usize,
        last: bool,
        shape: &[usize],
    ) -> Result<Lazy, ImportError> {
        let mut long = shape.to_vec();
        long.push(len);
        let mut y = self.map(&x, view, &long)?;
        if last {
            y = self.window(&y, shape.len(), len as i64 - 1, -1, len)?;
        }
        let node = self.plain(&y)?;
        let index = self.emit_lazy(Op::ArgMax { len }, vec![node], shape.to_vec())?;
        if !last {
            return Ok(index);
        }
        let f =
            ScalarFn::Const(len as f64 - 1.0).combine(crate::graph::BinaryOp::Sub, index.f.clone());
        Ok(index.with(f))
    }

    pub(super) fn softmax(&mut self, op: &Softmax, call: &Call) -> Result<Lazy, ImportError> {
        self.reals(call)?;
        if op.quant_output_dt.is_some() {
            return Err(self.unsupported("a softmax of quantized numbers"));
        }
        let x = self.first(call)?;
        let rank = x.dims().len();
        let mut order: Vec<usize> = (0..rank).filter(|d| !op.axes.contains(d)).collect();
        order.extend((0..rank).filter(|d| op.axes.contains(d)));
        let len = op
            .axes
            .iter()
            .map(|&a| x.dims().get(a).copied().unwrap_or(1))
            .product();
        let moved = self.permuted(&x, &order)?;
        let shape = moved.shape.clone();
        let node = self.plain(&moved)?;
        let y = match op.kind {
            SoftmaxKind::Softmax => self.emit_lazy(Op::Softmax { len }, vec![node], shape)?,
            SoftmaxKind::LogSoftmax => self.log_softmax(node, len, shape)?,
        };
        let back: Vec<usize> = (0..rank)
            .filter_map(|d| order.iter().position(|&o| o == d))
            .collect();
        Ok(self.permuted(&y, &back)?.reshaped(&call.shape))
    }

    /// `x − m − ln Σ exp(x − m)` over consecutive runs of `len` elements with maximum `m`: probabilities that are too small
    /// for a number have logarithms nevertheless.
    fn log_softmax(
        &mut self,
        node: NodeId,
        len: usize,
        shape: Vec<usize>,
    ) -> Result<Lazy, ImportError> {
        let total = self.graph.nodes[node].len();
        let runs = total / len.max(1);
        let all = View::identity(total);
        let windows = Op::Max {
            windows: all,
            window: len,
        };
        let largest = self.emit_lazy(windows, vec![node], vec![runs, 1])?;
        let largest = self.broadcast(&largest, &[runs, len])?;
        let negated = self.mapped(&largest, -1.0, 0.0);
        let x = Lazy {
            node,
            view: None,
            f: ScalarFn::X,
            shape: vec![runs, len],
        };
        let distance = self.sum(&x, &negated)?;
        let exponential = distance.f.clone().apply(ScalarOp::Exp);
        let exponential = self.plain(&distance.clone().with(exponential))?;
        let sum = self.emit_lazy(Op::Sum { group: len }, vec![exponential], vec![runs, 1])?;
        let log = sum.f.clone().apply(ScalarOp::Ln).apply(ScalarOp::Neg);
        let log = self.broadcast(&sum.with(log), &[runs, len])?;
        Ok(self.sum(&distance, &log)?.reshaped(&shape))
    }

    /// The logarithm of a softmax, if this is a softmax as it is (possibly through an index map).
    pub(super) fn log_of_softmax(&mut self, x: &Lazy) -> Result<Option<Lazy>, ImportError> {
        let node = &self.graph.nodes[x.node];
        let (Op::Softmax { len }, &[logits], true) =
            (&node.op, &node.inputs[..], x.f == ScalarFn::X)
        else {
            return Ok(None);
        };
        let (len, shape) = (*len, node.shape.clone());
        let y = self.log_softmax(logits, len, shape)?;
        let node = self.plain(&y)?;
        Ok(Some(Lazy { node, ..x.clone() }))
    }

    /// The tensor times constants (one, or one per element).
    fn scaled(&mut self, x: &Lazy, scale: Vec<f32>) -> Result<Lazy, ImportError> {
        if let Some(&first) = scale.first().filter(|f| scale.iter().all(|s| s == *f)) {
            let f = x.f.clone().combine(
                crate::graph::BinaryOp::Mul,
                ScalarFn::Const(f64::from(first)),
            );
            return Ok(x.clone().with(f));
        }
        self.affine_elements(x, scale, vec![0.0])
    }
}
