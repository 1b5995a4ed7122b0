//! Operators that are linear in their one operand that is not constant, lowered by trying them out.
//!
//! Gathers and scatters with constant indices, triangles, cumulative sums, resizing, depth to space: tract computes them for
//! chosen operands, and what they do is read off. `f(x) = M·x + c`: `c = f(0)`; if every element of `f(1, 2, 3, …) − c` is an
//! element of the operand or zero it is an index map, which costs nothing; otherwise the columns of `M` are `f(e_j) − c`.
//! Random operands confirm what was read off.

use tract_onnx::prelude::{DatumType, TValue, Tensor, tvec};
use tract_onnx::tract_core::internal::{IntoTValue, bail};
use tract_onnx::tract_core::ops::array::{GatherElements, OneHot};

use super::ImportError;
use super::guard::guarded;
use super::lower::Call;
use super::names::LINEAR;
use super::tensor::{Lazy, Lowering, Value};
use crate::graph::view::{Builder, fit_view};
use crate::graph::{BinaryOp, Gather, Linear, Op, ScalarFn, ScalarOp};
use zkinfer_circuits::program::{Axis, View};

/// Most rows among which a computed number chooses: about as many as integers of 12 bits tell apart.
const MAX_ROWS: usize = 4200;
/// Most indicators by which rows of a table are chosen; more rows, or more choices, are looked up.
const INDICATORS: usize = 512;
/// Most rows that are looked up: what verifiers allow by default.
const MOST_ROWS: usize = 2_000_000;
/// Largest operand whose elements are counted exactly in floats.
const MAX_ELEMENTS: usize = 1 << 20;
/// Largest matrix that is read off column by column, in elements.
const MAX_MATRIX: usize = 1 << 22;
/// Most pieces an irregular index map is cut into.
const MAX_PIECES: usize = 2048;

/// An operator that is tried out, and its results for zeros and for random elements.
struct Tried<'a> {
    call: &'a Call<'a>,
    at: usize,
    x: &'a Lazy,
    zero: &'a [f32],
    test: &'a [f32],
    tested: &'a [f32],
}

impl Lowering<'_> {
    /// The result of an operator that is linear in its one free operand, if this is one.
    pub(super) fn probe(&mut self, call: &Call) -> Result<Option<Lazy>, ImportError> {
        let name = call.node.op.name();
        let free: Vec<usize> = (0..call.inputs.len())
            .filter(|&i| call.tensor(i).is_some())
            .collect();
        let &[at] = free.as_slice() else {
            return Ok(None);
        };
        if !LINEAR.iter().any(|(n, i)| name == *n && at == *i) {
            return Ok(None);
        }
        let Some(x) = call.tensor(at).cloned() else {
            return Ok(None);
        };
        let len = x.len();
        if len > MAX_ELEMENTS {
            return Err(self.unsupported("an irregular operator on so large a tensor"));
        }
        let zero = self.tried(call, at, &x.shape, &vec![0.0; len])?;
        let outputs: usize = call.shape.iter().product();
        if zero.len() != outputs {
            return Err(self.unsupported("a result of another size than announced"));
        }
        let counted: Vec<f32> = (0..len).map(|i| (i + 1) as f32).collect();
        let counted = self.tried(call, at, &x.shape, &counted)?;
        let mut state = 1u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 48) as f32 - 32768.0
        };
        let test: Vec<f32> = (0..len).map(|_| random()).collect();
        let tested = self.tried(call, at, &x.shape, &test)?;
        let picked = |i: usize| {
            let v = counted[i] - zero[i];
            if v == 0.0 && tested[i] == zero[i] {
                return Some(None);
            }
            let j = (v as usize).checked_sub(1).filter(|j| *j < len)?;
            (v.fract() == 0.0 && zero[i] == 0.0 && tested[i] == test[j]).then_some(Some(j))
        };
        let constant = |y: Lazy, lowering: &mut Self| {
            if zero.iter().all(|&z| z == 0.0) {
                return Ok(y);
            }
            if zero.iter().any(|z| !z.is_finite()) {
                return Err(lowering.unsupported("a constant that is not finite"));
            }
            lowering.affine_elements(&y, vec![1.0], zero.clone())
        };
        if let Some(map) = (0..outputs).map(picked).collect::<Option<Vec<_>>>()
            && let Some(y) = self.picked(&x, &map, &call.shape)?
        {
            return constant(y, self).map(Some);
        }
        let tried = Tried {
            call,
            at,
            x: &x,
            zero: &zero,
            test: &test,
            tested: &tested,
        };
        let Some((planes, weights)) = self.block(&tried)? else {
            return Err(self.unsupported("the operator is not linear with these operands"));
        };
        let layer = Linear {
            groups: 1,
            outputs: outputs / planes,
            positions: planes,
            inputs: len / planes,
            patches: View::identity(len),
            weights,
            bias: Vec::new(),
        };
        let node = self.plain(&x)?;
        let y = self.emit_lazy(
            Op::Linear(layer),
            vec![node],
            vec![outputs / planes, planes],
        )?;
        let y = self.permuted(&y, &[1, 0])?.reshaped(&call.shape);
        constant(y, self).map(Some)
    }

    /// How many planes of the operand are treated alike and apart from each other (channels of an image), and the matrix of
    /// one, `[output][input]`; `None` if the operator is not linear.
    fn block(&self, tried: &Tried) -> Result<Option<(usize, Vec<f32>)>, ImportError> {
        let (from, to) = (&tried.x.shape, &tried.call.shape);
        let (len, outputs) = (tried.test.len(), tried.tested.len());
        let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        let mut largest = None;
        for depth in (0..=common).rev() {
            let planes: usize = from[..depth].iter().product();
            if planes == 0 {
                continue;
            }
            let size = (len / planes).saturating_mul(outputs / planes);
            if size > MAX_MATRIX {
                largest.get_or_insert((len / planes, outputs / planes));
                break;
            }
            if let Some(weights) = self.matrix(tried, planes)? {
                return Ok(Some((planes, weights)));
            }
        }
        match largest {
            None => Ok(None),
            Some((inputs, outputs)) => Err(self.unsupported(format!(
                "a linear map of {inputs} to {outputs} elements without a shape that could be used"
            ))),
        }
    }

    /// The matrix of the first plane, if it is that of all.
    fn matrix(&self, tried: &Tried, planes: usize) -> Result<Option<Vec<f32>>, ImportError> {
        let (len, zero) = (tried.test.len(), tried.zero);
        let (inputs, outputs) = (len / planes, zero.len() / planes);
        let mut weights = vec![0.0f32; inputs * outputs];
        let mut unit = vec![0.0f32; len];
        for j in 0..inputs {
            unit[j] = 1.0;
            let column = self.tried(tried.call, tried.at, &tried.x.shape, &unit)?;
            unit[j] = 0.0;
            let (own, others) = column.split_at(outputs);
            if others != &zero[outputs..] {
                return Ok(None);
            }
            for (o, (c, z)) in own.iter().zip(zero).enumerate() {
                weights[o * inputs + j] = c - z;
            }
        }
        let matches = (0..zero.len()).all(|at| {
            let (plane, o) = (at / outputs, at % outputs);
            let values = &tried.test[plane * inputs..(plane + 1) * inputs];
            let row = weights[o * inputs..(o + 1) * inputs].iter().zip(values);
            let sum: f64 = row.map(|(w, t)| f64::from(*w) * f64::from(*t)).sum();
            let tested = tried.tested[at];
            (sum + f64::from(zero[at] - tested)).abs() <= 1.0 + 1e-3 * f64::from(tested.abs())
        });
        Ok((matches && weights.iter().all(|w| w.is_finite())).then_some(weights))
    }

    /// The operator's first result for these values of its free operand.
    fn tried(
        &self,
        call: &Call,
        at: usize,
        shape: &[usize],
        values: &[f32],
    ) -> Result<Vec<f32>, ImportError> {
        let datum_type = call.types.get(at).copied().unwrap_or(DatumType::F32);
        let result = guarded(|| {
            let mut operands: tract_onnx::prelude::TVec<TValue> = tvec!();
            for (i, value) in call.inputs.iter().enumerate() {
                operands.push(match value {
                    Value::Constant(t) => t.clone().into_tvalue(),
                    _ if i == at => {
                        let tensor = Tensor::from_shape(shape, values)?;
                        tensor.cast_to_dt(datum_type)?.into_owned().into()
                    }
                    _ => bail!("an operand is not constant"),
                });
            }
            let results = call.node.op.eval_out_of_plan(operands)?;
            let Some(result) = results.as_ref().and_then(|r| r.first()) else {
                bail!("depends on run-time state");
            };
            let floats = result.cast_to::<f32>()?;
            Ok(floats.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        });
        result.map_err(|e| self.unsupported(e))
    }

    /// A tensor of elements of another one (or zeros), in any order; `None` if that takes too many pieces.
    fn picked(
        &mut self,
        x: &Lazy,
        map: &[Option<usize>],
        shape: &[usize],
    ) -> Result<Option<Lazy>, ImportError> {
        let len = x.len();
        let flat = x.clone().reshaped(&[len]);
        if let Some(all) = map.iter().copied().collect::<Option<Vec<usize>>>()
            && let Some(view) = fit_view(&all, len)
        {
            return self.map(&flat, &view, shape).map(Some);
        }
        // Arithmetic progressions and runs of zeros.
        let mut runs: Vec<(i64, i64, usize)> = Vec::new();
        let mut at = 0;
        while at < map.len() {
            let run = match map[at] {
                None => {
                    let zeros = map[at..].iter().take_while(|m| m.is_none()).count();
                    (-1, 0, zeros)
                }
                Some(first) => {
                    let next = map.get(at + 1).copied().flatten();
                    let step = next.map_or(0, |n| n as i64 - first as i64);
                    let place = |n: usize| first as i64 + n as i64 * step;
                    let run = map[at..].iter().enumerate();
                    let run = run.take_while(|(n, m)| m.is_some_and(|m| m as i64 == place(*n)));
                    (first as i64, step, run.count())
                }
            };
            at += run.2;
            runs.push(run);
            if runs.len() > MAX_PIECES {
                return Ok(None);
            }
        }
        let x = self.resolve(&flat)?;
        let mut parts = Vec::new();
        for (first, step, count) in runs {
            let axis = Axis {
                extent: len as u32,
                offset: first,
                strides: vec![step],
            };
            let view = View {
                loops: vec![count as u32],
                axes: vec![axis],
            };
            parts.push(self.map(&x, &view, &[count])?);
        }
        Ok(Some(self.concat_axis(&parts, 0)?.reshaped(shape)))
    }

    /// One where the operand is this whole number, else zero: `[operand…][count]` of them.
    pub(super) fn indicators(&mut self, x: &Lazy, count: usize) -> Result<Lazy, ImportError> {
        let len = x.len();
        if count > MAX_ROWS {
            return Err(self.unsupported(format!(
                "a choice among {count} rows by a computed number; the limit is {MAX_ROWS}, beyond which their numbers are \
                 not told apart. Look the rows up outside of the model and give them as its input"
            )));
        }
        self.bound("the number of indicators", &[len, count])?;
        let layer = Linear {
            groups: 1,
            outputs: count,
            positions: len,
            inputs: 1,
            patches: View::identity(len),
            weights: vec![1.0; count],
            bias: (0..count).map(|v| -(v as f32)).collect(),
        };
        let node = self.plain(x)?;
        let y = self.emit_lazy(Op::Linear(layer), vec![node], vec![count, len])?;
        // A negative index counts from the end.
        let near = |by: usize| {
            let distance = ScalarFn::X.combine(BinaryOp::Add, ScalarFn::Const(by as f64));
            ScalarFn::Const(0.5).combine(BinaryOp::Sub, distance.apply(ScalarOp::Abs))
        };
        let (one, zero) = (ScalarFn::Const(1.0), ScalarFn::Const(0.0));
        let turned = ScalarFn::select(near(count), one.clone(), zero);
        let y = y.with(ScalarFn::select(near(0), one, turned));
        let mut shape = x.shape.clone();
        shape.push(count);
        Ok(self.permuted(&y, &[1, 0])?.reshaped(&shape))
    }

    pub(super) fn one_hot(&mut self, op: &OneHot, call: &Call) -> Result<Lazy, ImportError> {
        let x = self.first(call)?;
        let (off, on) = (self.floats(&op.off)?, self.floats(&op.on)?);
        let (&[off], &[on]) = (off.as_slice(), on.as_slice()) else {
            return Err(self.unsupported("more than one value"));
        };
        let hot = self.indicators(&x, op.dim)?;
        let scaled = hot
            .f
            .clone()
            .combine(
                BinaryOp::Mul,
                ScalarFn::Const(f64::from(on) - f64::from(off)),
            )
            .combine(BinaryOp::Add, ScalarFn::Const(f64::from(off)));
        let hot = hot.with(scaled);
        let rank = x.shape.len();
        let mut order: Vec<usize> = (0..rank).collect();
        order.insert(op.axis.min(rank), rank);
        Ok(self.permuted(&hot, &order)?.reshaped(&call.shape))
    }

    /// Elements along an axis chosen by an activation, for every place by its own index: `Σ_r [index = r]·data_r`.
    pub(super) fn gather_elements(
        &mut self,
        op: &GatherElements,
        call: &Call,
    ) -> Result<Option<Lazy>, ImportError> {
        let axis = op.axis;
        let Some(index) = call.tensor(1).cloned() else {
            return Ok(None);
        };
        let dims = match call.inputs.first() {
            Some(Value::Constant(t)) => t.shape().to_vec(),
            Some(Value::Tensor(x)) => x.shape.clone(),
            _ => return Ok(None),
        };
        if axis >= dims.len() || dims.len() != index.shape.len() {
            return Err(self.unsupported("the axis does not exist"));
        }
        let rows = dims[axis];
        let hot = self.indicators(&index, rows)?;
        let mut view = Builder::new(&dims);
        for (d, &len) in index.shape.iter().enumerate() {
            view = view.walk(len, &[(d, i64::from(d != axis))]);
        }
        let view = view.walk(rows, &[(axis, 1)]).build();
        let products = match call.inputs.first() {
            Some(Value::Constant(t)) => {
                let values = self.floats(t)?;
                let places = view
                    .indices(values.len())
                    .map_err(|e| self.unsupported(e.to_string()))?;
                let factors = places
                    .iter()
                    .map(|i| i.map_or(0.0, |i| values[i]))
                    .collect();
                self.affine_elements(&hot, factors, vec![0.0])?
            }
            Some(Value::Tensor(x)) => {
                let shape = hot.shape.clone();
                let data = self.map(&x.clone(), &view, &shape)?;
                self.gated(&hot, &data)?
            }
            _ => return Ok(None),
        };
        let node = self.plain(&products)?;
        self.emit_lazy(Op::Sum { group: rows }, vec![node], call.shape.clone())
            .map(Some)
    }

    /// Rows of a constant table chosen by an activation: indicators times the table where those are few, or else a look-up.
    pub(super) fn lookup(
        &mut self,
        table: &Tensor,
        axis: usize,
        x: &Lazy,
        shape_of: &[usize],
    ) -> Result<Lazy, ImportError> {
        let dims = table.shape().to_vec();
        let values = self.floats(table)?;
        let Some(&rows) = dims.get(axis) else {
            return Err(self.unsupported("the axis does not exist"));
        };
        let before: usize = dims[..axis].iter().product();
        let after: usize = dims[axis + 1..].iter().product();
        let len = x.len();
        let mut weights = Vec::with_capacity(values.len());
        for b in 0..before {
            for a in 0..after {
                weights.extend((0..rows).map(|r| values[(b * rows + r) * after + a]));
            }
        }
        let looked_up = rows.saturating_mul(len);
        if looked_up > INDICATORS {
            if rows > MOST_ROWS {
                return Err(self.unsupported(format!(
                    "a choice among {rows} rows; the limit is {MOST_ROWS}"
                )));
            }
            let gather = Gather {
                outputs: before * after,
                rows,
                weights,
            };
            let node = self.plain(x)?;
            let shape = vec![before, after, len];
            let y = self.emit_lazy(Op::Gather(gather), vec![node], shape)?;
            return Ok(self.permuted(&y, &[0, 2, 1])?.reshaped(shape_of));
        }
        let flat = self.indicators(x, rows)?.reshaped(&[len, rows]);
        let view = Builder::new(&[len, rows])
            .walk(len, &[(0, 1)])
            .walk(rows, &[(1, 1)])
            .build();
        let (node, patches) = self.read(&flat, &view, false)?;
        let layer = Linear {
            groups: 1,
            outputs: before * after,
            positions: len,
            inputs: rows,
            patches,
            weights,
            bias: Vec::new(),
        };
        let y = self.emit_lazy(Op::Linear(layer), vec![node], vec![before, after, len])?;
        Ok(self.permuted(&y, &[0, 2, 1])?.reshaped(shape_of))
    }
}
