//! Matrix products of two activations, by coefficients that are activations.
//!
//! With `a = s_a·(A − z_a)` and `b = s_b·(B − z_b)`, whole zero points, and `s = s_a·s_b·2^T/M` the step of the result for a whole
//! number `M ≥ 1`, the accumulators are whole numbers without any rounding:
//!
//! ```text
//! Σ a·b / s · 2^T  =  M·Σ A·B − M·z_b·Σ A − M·z_a·Σ B + M·K·z_a·z_b
//! ```
//!
//! `Σ A` is a row of the left matrix summed up, a coefficient of the constant one. The cost is that of the operands and of the
//! result, not of the `K` products of every element: see [`Weights::Value`] and `zkinfer_circuits::fold`.
//!
//! Factors of activations are public, and what calibration saw of hidden activations must not be read from them. So `M` is one
//! constant ([`base`]) where that costs less than two bits, and the operands' steps are what is fitted to the result's range.
//! Where results are smaller than their operands would allow, `M` grows by powers of four ([`factor`]), which a card shows
//! ([`Disclosed::Products`](crate::disclosure::Disclosed)). Zero points are the results of hidden
//! neurons that read the constant one: what multiplies an activation by them, and `z_a·z_b`, are products of activations, too.
//! Ranges of operands and results include zero, so that every zero point fits a cell. Which zero points are known to be zero and
//! which operands get neurons of their own follows from the operations, never from numbers.
//!
//! Error: half a step of the result, and of every product what half a step of its operands makes of it. The result's range is at
//! most `1/M` of the product of the operands' ranges. If it needs more, the operands are given coarser steps first; if it needs
//! less, its integers fill at least a quarter of their cells.

use zkinfer_circuits::program::{Axis, Neurons, Node, Term, Unit, ValueRef, View, Weights};

use super::neurons::steady;
use super::{Acc, Act, Lowering, Plane, Value, common};
use crate::graph::{MatMul, NodeId};
use crate::quantize::QuantizeError;
use crate::quantize::network::Level;

/// Least `M` of a product whose elements are sums of `inputs` products: signs that differ make a sum's range less than its
/// summands' extremes ask for, one product's range is that of its operands.
pub(super) fn base(inputs: usize) -> i64 {
    if inputs == 1 { 1 } else { 2 }
}

/// Most parts of an operand, and the largest factor of one.
const PARTS: usize = 5;
const MOST: f64 = 16_777_216.0;

/// Largest power of four in `M`: beyond, results are as coarse as their operands.
const POWERS: f64 = 12.0;

/// `M` of a product whose results would have steps of `finest` with the least one and should have steps of `wanted`.
pub(super) fn factor(inputs: usize, finest: f64, wanted: f64) -> i64 {
    let powers = (finest / wanted).log2() / 2.0;
    base(inputs) << (2 * powers.floor().clamp(0.0, POWERS) as u32)
}

/// An operand before it is read.
pub(super) enum Source {
    /// One value with a whole zero point.
    Whole(Act),
    /// Neurons whose step is free.
    Free(Acc),
}

impl Source {
    /// Neurons whose ranges include zero.
    fn around_zero(mut acc: Acc) -> Source {
        let zero = |r: &mut (f64, f64)| *r = (r.0.min(0.0), r.1.max(0.0));
        acc.range.iter_mut().for_each(zero);
        Source::Free(acc)
    }
}

/// An operand: `real = scale·(integer − zero)`, the integer a sum of parts times whole factors.
#[derive(Clone)]
pub(super) struct Whole {
    pub value: ValueRef,
    /// Further parts and their factors.
    pub more: Vec<(ValueRef, i64)>,
    pub scale: f64,
    /// `None` if it is zero for any weights.
    pub zero: Option<i64>,
}

impl Whole {
    pub(super) fn parts(&self) -> impl Iterator<Item = (ValueRef, i64)> + '_ {
        [(self.value, 1)]
            .into_iter()
            .chain(self.more.iter().copied())
    }
}

impl Lowering<'_> {
    pub(super) fn matmul(&mut self, id: NodeId, product: &MatMul) -> Result<Act, QuantizeError> {
        let [a, b] = self.graph.nodes[id].inputs[..] else {
            return Err(self.shape_error(id, "needs two operands"));
        };
        if let Some(act) = self.scaled_columns(id, [a, b], product)? {
            return Ok(act);
        }
        if let Some(act) = self.norm_of_columns(id, [a, b], product)? {
            return Ok(act);
        }
        if let Some(act) = self.norm_of_wide(id, a, product)? {
            return Ok(act);
        }
        let likely = self.range_of(id);
        let (low, high) = (likely.0.min(0.0), likely.1.max(0.0));
        let (top, range) = (self.network.top(), self.network.range());
        let wanted = (high - low).max(1e-9) * (1.0 + self.network.headroom) / top;
        let operands = self.operands(id, [a, b], product, wanted)?;
        let finest = operands[0].scale * operands[1].scale * range / base(product.inputs) as f64;
        let m = factor(product.inputs, finest, wanted);
        let scale = operands[0].scale * operands[1].scale * range / m as f64;
        // Sums of squares are never negative.
        let zero = match self.is_norm(id, product) {
            true => 0.0,
            false => ((top - (low + high) / scale) / 2.0).round().clamp(0.0, top),
        };
        let value = self.product_neurons(id, product, operands, m, zero as i64)?;
        let origin = self.origin(id);
        self.network.record(value.node, &[scale], likely, origin);
        let saturate = self.network.saturate;
        self.network.saturates(saturate, saturate);
        let len = product.groups * product.outputs * product.positions;
        let plane = |value: ValueRef, scale: f64| Plane {
            value,
            scale: vec![scale; len],
        };
        // Accumulators are whole numbers: what lies below the result is exact, too.
        let wide = self.network.levels.get(&id) == Some(&Level::Wide) || self.is_norm(id, product);
        let act = if wide && !saturate {
            let rest = ValueRef { port: 1, ..value };
            Act {
                planes: vec![plane(value, scale), plane(rest, scale / range)],
                offset: vec![-scale * (zero + 0.5); len],
            }
        } else {
            Act {
                planes: vec![plane(value, scale)],
                offset: vec![-scale * zero; len],
            }
        };
        self.network.decode(&act);
        Ok(act)
    }

    /// Both operands, with steps coarse enough for a result with steps of `wanted`.
    fn operands(
        &mut self,
        id: NodeId,
        [a, b]: [NodeId; 2],
        product: &MatMul,
        wanted: f64,
    ) -> Result<[Whole; 2], QuantizeError> {
        let mut first = self.source(a)?;
        let mut second = self.source(b)?;
        if let (Source::Whole(_), Source::Whole(act)) = (&first, &second) {
            // One of them has to give way.
            second = self.free(b, act)?;
        }
        if a == b && product.left == product.right {
            first = match &second {
                Source::Free(acc) => Source::Free(acc.clone()),
                Source::Whole(act) => self.free(b, act)?,
            };
        }
        let steps = [self.natural(&first), self.natural(&second)];
        // How much coarser the operands have to be, shared so that roundings of both matter alike: one that hardly varies has
        // steps that are far finer than its size asks for.
        let finest = steps[0] * steps[1] * self.network.range() / base(product.inputs) as f64;
        let missing = (wanted / finest).max(1.0);
        if a == b && product.left == product.right {
            let whole = self.whole(id, b, &product.right, first, missing.sqrt())?;
            return Ok([whole.clone(), whole]);
        }
        let widen = match (&first, &second) {
            (Source::Whole(_), _) => [1.0, missing],
            (_, Source::Whole(_)) => [missing, 1.0],
            _ => {
                let ratio = self.relative(a, steps[0]) / self.relative(b, steps[1]);
                let first = (missing / ratio).sqrt().clamp(1.0, missing);
                [first, missing / first]
            }
        };
        Ok([
            self.whole(id, a, &product.left, first, widen[0])?,
            self.whole(id, b, &product.right, second, widen[1])?,
        ])
    }

    /// The neurons of a product with factor `m` whose result has this zero point.
    pub(super) fn product_neurons(
        &mut self,
        id: NodeId,
        product: &MatMul,
        [left, right]: [Whole; 2],
        m: i64,
        zero: i64,
    ) -> Result<ValueRef, QuantizeError> {
        let (rows, columns) = (
            product.groups * product.outputs,
            product.groups * product.positions,
        );
        let zeros = [left.zero, right.zero, Some(zero)];
        let hidden: Vec<i32> = zeros.iter().flatten().map(|&z| z as i32).collect();
        let all = self.committed_integers(id, &hidden, hidden.len())?;
        let mut taken = 0..hidden.len();
        let [of_left, of_right, of_result] = zeros.map(|zero| zero.and_then(|_| taken.next()));
        let repeat = |at: usize, times: usize| View {
            loops: vec![times as u32],
            axes: vec![Axis {
                extent: hidden.len() as u32,
                offset: at as i64,
                strides: vec![0],
            }],
        };
        let ones = self.network.constant(columns);
        let term = |patches: ValueRef, inputs: usize, weights: Weights| Term {
            patches,
            inputs: inputs as u32,
            weights,
        };
        let times = |value: ValueRef, factor: i64| Weights::Value { value, factor };
        let mut terms = Vec::new();
        for (l, by_left) in left.parts() {
            for (r, by_right) in right.parts() {
                terms.push(term(r, product.inputs, times(l, m * by_left * by_right)));
            }
        }
        if let Some(at) = of_right {
            let z = self.network.view(all, repeat(at, columns));
            for (l, by_left) in left.parts() {
                let sums = self.sums(l, product.inputs);
                terms.push(term(z, 1, times(sums, -m * by_left)));
            }
        }
        if let Some(at) = of_left {
            let z = self.network.view(all, repeat(at, rows));
            for (r, by_right) in right.parts() {
                let sums = self.sums(r, product.inputs);
                terms.push(term(sums, 1, times(z, -m * by_right)));
            }
            if let Some(other) = of_right {
                let other = self.network.view(all, repeat(other, columns));
                let factor = m * product.inputs as i64;
                terms.push(term(other, 1, times(z, factor)));
            }
        }
        let one = 1i64 << self.network.bits;
        if let Some(at) = of_result {
            let z = self.network.view(all, repeat(at, columns));
            terms.push(term(z, 1, Weights::Public(vec![one; rows])));
        }
        let half = Weights::Public(vec![one / 2; rows]);
        terms.push(term(ones, 1, half));
        Ok(self.network.push(Node::Neurons(Neurons {
            groups: product.groups as u32,
            outputs: product.outputs as u32,
            positions: product.positions as u32,
            unit: Unit {
                low: self.network.saturate,
                high: self.network.saturate,
                ..Unit::LINEAR
            },
            terms,
        })))
    }

    fn sums(&mut self, value: ValueRef, inputs: usize) -> ValueRef {
        self.network.push(Node::Sum {
            source: value,
            group: inputs as u32,
        })
    }

    /// The range that a tensor is likely to have.
    fn range_of(&self, id: NodeId) -> (f64, f64) {
        let likely = self.stats.channels(id, 1, |_| 0);
        let seen = likely.first().copied();
        steady(seen.unwrap_or_else(|| self.stats.tensor(id)))
    }

    /// An operand's step over its size.
    fn relative(&self, id: NodeId, step: f64) -> f64 {
        let (low, high) = self.stats.tensor(id);
        step / low.abs().max(high.abs()).max(step)
    }

    pub(super) fn as_whole(&self, act: &Act) -> Option<Whole> {
        let step = |p: &Plane| common(&p.scale).filter(|s| *s > 0.0 && self.width(p.value) == 1);
        let steps: Vec<f64> = act.planes.iter().map(step).collect::<Option<_>>()?;
        let finest = (0..steps.len()).min_by(|&a, &b| steps[a].total_cmp(&steps[b]))?;
        let scale = steps[finest];
        let zero = -common(&act.offset)? / scale;
        let is_whole = |v: f64| (v - v.round()).abs() <= 1e-6;
        if !is_whole(zero) || !(0.0..=self.network.top()).contains(&zero.round()) {
            return None;
        }
        let others = (0..steps.len()).filter(|&p| p != finest);
        let part = |p: usize| {
            let factor = steps[p] / scale;
            let fits = is_whole(factor) && factor <= MOST && steps.len() <= PARTS;
            fits.then_some((act.planes[p].value, factor.round() as i64))
        };
        Some(Whole {
            value: act.planes[finest].value,
            more: others.map(part).collect::<Option<_>>()?,
            scale,
            zero: Some(zero.round() as i64),
        })
    }

    /// What an operand is before this product reads it.
    pub(super) fn source(&mut self, operand: NodeId) -> Result<Source, QuantizeError> {
        match self.value(operand)? {
            Value::Acc(acc) => Ok(Source::around_zero(acc)),
            Value::Act(act) if self.as_whole(&act).is_some() => Ok(Source::Whole(act)),
            Value::Act(act) => self.free(operand, &act),
        }
    }

    /// An operand in neurons of its own.
    fn free(&mut self, operand: NodeId, act: &Act) -> Result<Source, QuantizeError> {
        Ok(Source::around_zero(self.elementwise(operand, act)?))
    }

    /// The step that an operand has, or would be given.
    fn natural(&self, source: &Source) -> f64 {
        let acc = match source {
            Source::Whole(act) => return self.as_whole(act).map_or(1e-9, |w| w.scale),
            Source::Free(acc) => acc,
        };
        let (low, high) = acc.total_range();
        let width = if acc.low {
            high.max(-low).max(0.0)
        } else {
            high - low
        };
        width.max(1e-9) * (1.0 + self.network.headroom) / self.network.top()
    }

    /// An operand of product `id`, read by a view; neurons of its own have steps `widen` times as large as they would be.
    pub(super) fn whole(
        &mut self,
        id: NodeId,
        operand: NodeId,
        view: &View,
        source: Source,
        widen: f64,
    ) -> Result<Whole, QuantizeError> {
        // Other readers may want the bits below: an operand with a zero point has none.
        let level = self.network.levels.get(&operand).copied();
        if level == Some(Level::Wide) {
            self.network.levels.insert(operand, Level::Deep);
        }
        let act = match source {
            Source::Whole(act) => act,
            Source::Free(mut acc) => {
                let spread = acc.spread.iter_mut().flatten();
                let ranges = acc.range.iter_mut().chain(spread);
                ranges.for_each(|r| *r = (r.0 * widen, r.1 * widen));
                let act = self.materialize(acc, true, operand)?;
                if level != Some(Level::Wide) {
                    self.replace(operand, &act);
                }
                act
            }
        };
        let indices = self.indices(id, view, act.len())?;
        let step = act.uniform().map_or(0.0, |(_, scale, _)| scale);
        let mut seen = self.view_act(act, view, &indices);
        let mut unsigned = self.unsigned[operand];
        if self.as_whole(&seen).is_none() {
            // Padding is a real zero, another integer than the value's own zeros.
            let mut acc = self.rescaling(operand, &seen)?;
            let range = self.range_of(operand);
            let (low, high) = (range.0.min(0.0), range.1.max(0.0));
            // No finer than what the result's step was fitted to.
            let steps = self.network.top() / (1.0 + self.network.headroom);
            let widen = widen.max(step * steps / (high - low).max(1e-9));
            acc.range = vec![(low * widen, high * widen); acc.channels()];
            let origin = self.helper(operand);
            seen = self.requantize(&acc, true, origin)?;
            unsigned = false;
        }
        if let Some(level) = level {
            self.network.levels.insert(operand, level);
        }
        let whole = self
            .as_whole(&seen)
            .ok_or_else(|| self.shape_error(id, "an operand has no scale of its own"))?;
        // Of several parts, tables that begin at zero.
        unsigned |= !whole.more.is_empty();
        let zero = whole.zero.filter(|&zero| !unsigned || zero != 0);
        Ok(Whole { zero, ..whole })
    }
}
