//! How linear maps that wait for their unit become neurons, and how quantized tensors become linear maps again.

use zkinfer_circuits::program::{Axis, Unit, ValueRef, View};

use super::{Acc, AccTerm, Act, Lowering, Plane, Post, Value, same};
use crate::graph::NodeId;
use crate::quantize::QuantizeError;
use crate::quantize::network::{Level, Origin};

/// Most elements of wiring for shifts that differ from position to position.
const WIRES: usize = 1 << 17;

/// See [`steady`].
const STEADY: f64 = 1.0 / 16.0;

impl Lowering<'_> {
    /// The quantized value of an operand.
    pub fn act(&mut self, id: NodeId) -> Result<Act, QuantizeError> {
        match self.value(id)? {
            Value::Act(act) => Ok(act),
            Value::Acc(acc) => {
                let tied = self.is_tied(id, &acc);
                let act = self.materialize(acc, tied, id)?;
                self.values[id] = Some(Value::Act(act.clone()));
                Ok(act)
            }
        }
    }

    /// Whether all channels of a tensor have one step: where they are multiplied with each other, unless that would leave most of
    /// them few bits. Rows of such channels may be far smaller than others, too: then all bits are read.
    pub fn is_tied(&mut self, id: NodeId, acc: &Acc) -> bool {
        let uneven = !self.network.saturate && is_uneven(acc.range.iter().copied());
        if self.mixed[id] && uneven {
            self.network.levels.insert(id, Level::Wide);
        }
        self.mixed[id] && !uneven
    }

    /// Puts a better representation of a tensor in place of its value, for later readers.
    pub fn replace(&mut self, id: NodeId, act: &Act) {
        if let Some(value) = self.values.get_mut(id) {
            *value = Some(Value::Act(act.clone()));
        }
    }

    /// An operand as one program value times one positive scale plus one offset, and that as a tensor.
    pub fn uniform(&mut self, id: NodeId) -> Result<(ValueRef, f64, f64), QuantizeError> {
        let act = match self.value(id)? {
            Value::Acc(acc) => self.materialize(acc, true, id)?,
            Value::Act(act) => match act.uniform() {
                Some(u) => return Ok(u),
                None => {
                    let acc = self.elementwise(id, &act)?;
                    self.materialize(acc, true, id)?
                }
            },
        };
        act.uniform()
            .ok_or_else(|| self.shape_error(id, "has no element"))
    }

    /// Turns an accumulator that stands for tensor `id` into neurons; `tied`: with one scale for the whole tensor.
    pub fn materialize(
        &mut self,
        mut acc: Acc,
        tied: bool,
        id: NodeId,
    ) -> Result<Act, QuantizeError> {
        let origin = self.origin(id);
        if self.multiplied[id] {
            let zero = |r: &mut (f64, f64)| *r = (r.0.min(0.0), r.1.max(0.0));
            acc.range.iter_mut().for_each(zero);
        }
        let (acc, tied) = match self.shortened(id, &acc)? {
            Some(short) => (short, true),
            None => (acc, tied),
        };
        let act = if acc.low {
            self.relu(&acc, tied, origin)?.0
        } else {
            self.requantize(&acc, tied, origin)?
        };
        self.network.decode(&act);
        Ok(act)
    }

    /// An accumulator without what lies further out than clamps of its range reach, where calibration saw such and what lies
    /// beyond is clamped: `z − s·t` with `t = max(0, ⌊(z − end)/s + ½⌋)`, a coarse step `s`, for either end.
    fn shortened(&mut self, id: NodeId, acc: &Acc) -> Result<Option<Acc>, QuantizeError> {
        let Some(seen) = self.stats.seen(id).filter(|_| acc.window == 1) else {
            return Ok(None);
        };
        let (low, high) = acc.total_range();
        let margin = (high - low) * self.network.headroom / 2.0;
        let (low, high) = (low - margin, high + margin);
        let reach = high - low;
        let mut short = acc.clone();
        short.low = false;
        let ends = [(1.0, high, seen.1, seen.0), (-1.0, low, seen.0, seen.1)];
        let mut is_changed = false;
        for (sign, end, far, opposite) in ends {
            if sign * (far - end) <= reach {
                continue;
            }
            let mut beyond = short.clone();
            let probe = Act::one(ValueRef::new(0), 1.0, 0.0, acc.result_len());
            let folds = acc.covers() && self.fold(&short, &probe).is_some();
            if !folds || !beyond.affine(&[sign], &[-sign * end]) {
                return Ok(None);
            }
            let range = ((sign * (opposite - end)).min(-reach), sign * (far - end));
            beyond.range = vec![range; beyond.channels()];
            let origin = self.helper(id);
            let (cut, ..) = self.relu(&beyond, true, origin)?;
            let Some(mut sum) = self.fold(&short, &cut.affine(&[-sign], &[0.0])) else {
                return Ok(None);
            };
            sum.range = short.range;
            short = sum;
            is_changed = true;
        }
        short.low = acc.low;
        Ok(is_changed.then_some(short))
    }

    /// Neurons without a clamp (a maximum where the accumulator has a window).
    pub fn requantize(
        &mut self,
        acc: &Acc,
        tied: bool,
        origin: Origin<'_>,
    ) -> Result<Act, QuantizeError> {
        let net = &mut self.network;
        let mut ranges = acc.range.clone();
        if tied || !net.per_channel {
            let total = |a: (f64, f64), r: &(f64, f64)| (a.0.min(r.0), a.1.max(r.1));
            let total = ranges
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), total);
            ranges.fill(total);
        }
        let mut scales: Vec<f64> = ranges
            .iter()
            .map(|(a, b)| (b - a) * (1.0 + net.headroom) / net.top())
            .collect();
        net.settle(acc, &mut scales, tied);
        net.deepen(acc, &mut scales, origin);
        // The calibrated range sits in the middle.
        let zero: Vec<f64> = ranges
            .iter()
            .zip(&scales)
            .map(|((a, b), s)| ((net.top() - (a + b) / s) / 2.0).round())
            .collect();
        let clamps = net.saturate && acc.window == 1;
        let unit = Unit {
            window: acc.window as u32,
            low: clamps,
            high: clamps,
            ..Unit::LINEAR
        };
        let node = net.emit(acc, unit, &scales, 0.0, &zero, origin)?;
        net.saturates(clamps, clamps);
        let (ports, offset) = net.parts(node, scales, &zero, origin);
        net.results(acc, &ports, &offset)
    }

    /// ReLU neurons; also the node and its scales.
    pub fn relu(
        &mut self,
        acc: &Acc,
        tied: bool,
        origin: Origin<'_>,
    ) -> Result<(Act, u32, Vec<f64>), QuantizeError> {
        let net = &mut self.network;
        let mut scales = Vec::with_capacity(acc.range.len());
        for (c, &(low, high)) in acc.range.iter().enumerate() {
            let below = match &acc.spread {
                Some(spread) if acc.window > 1 => spread[c].1,
                None if acc.window > 1 => high.max(0.0) - low,
                _ => -low,
            };
            scales.push(high.max(below).max(0.0) * (1.0 + net.headroom) / net.top());
        }
        net.settle(acc, &mut scales, tied);
        net.deepen(acc, &mut scales, origin);
        let clamps = net.saturate && acc.window == 1;
        let unit = Unit {
            window: acc.window as u32,
            high: clamps,
            ..Unit::RELU
        };
        let zero = vec![0.0; scales.len()];
        let node = net.emit(acc, unit, &scales, 0.0, &zero, origin)?;
        net.saturates(false, clamps);
        let act = net.results(acc, &[(ValueRef { node, port: 0 }, scales.clone())], &zero)?;
        Ok((act, node, scales))
    }

    /// Adds a number of its own to every element of a plain accumulator: weights `[outputs][positions]` on a one that is read
    /// at one position each. `false`, and nothing is changed, where that takes too much wiring.
    pub fn shift_positions(&mut self, acc: &mut Acc, shift: &[f64]) -> bool {
        let positions = acc.positions;
        let largest = shift.iter().fold(0.0f64, |m, s| m.max(s.abs()));
        let (low, high) = acc.total_range();
        if !acc.is_plain()
            || !acc.covers()
            || shift.len() != acc.len()
            || acc.groups * positions * positions > WIRES
            || acc.terms.len() >= 60
            || largest > 100.0 * (high - low) + 1e-6
        {
            return false;
        }
        let mut weights = vec![0.0; acc.len()];
        for (i, s) in shift.iter().enumerate() {
            weights[acc.source(i)] = *s;
        }
        let axis = Axis {
            extent: 1,
            offset: 0,
            strides: vec![0, -1, 1],
        };
        let loops = [acc.groups, positions, positions].map(|l| l as u32);
        acc.terms.push(AccTerm {
            source: self.network.constant(1),
            view: View {
                loops: loops.to_vec(),
                axes: vec![axis],
            },
            inputs: positions,
            weights,
            is_gathered: false,
        });
        acc.spread = None;
        true
    }

    /// A quantized tensor `id` as an accumulator, one input per plane: for what cannot be absorbed. Elements of equal scales
    /// and offsets share weights.
    pub fn elementwise(&mut self, id: NodeId, act: &Act) -> Result<Acc, QuantizeError> {
        let mut acc = self.rescaling(id, act)?;
        self.measure(id, &mut acc);
        Ok(acc)
    }

    /// [`Self::elementwise`] without ranges; `id` is for errors.
    pub fn rescaling(&self, id: NodeId, act: &Act) -> Result<Acc, QuantizeError> {
        self.in_channels(id, act, None)
    }

    /// [`Self::rescaling`], in channels of a number of columns that is given or found.
    pub fn in_channels(
        &self,
        id: NodeId,
        act: &Act,
        columns: Option<usize>,
    ) -> Result<Acc, QuantizeError> {
        let len = act.len();
        if len == 0 {
            return Err(self.shape_error(id, "is empty"));
        }
        let mut planes = act.planes.clone();
        for plane in &mut planes {
            let mut last = plane
                .scale
                .iter()
                .copied()
                .find(|s| !s.is_nan())
                .unwrap_or(0.0);
            for s in &mut plane.scale {
                if s.is_nan() { *s = last } else { last = *s }
            }
        }
        let alike = |a: usize, b: usize| {
            same(act.offset[a], act.offset[b])
                && planes.iter().all(|p| same(p.scale[a], p.scale[b]))
        };
        let changes: Vec<usize> = (1..len).filter(|&i| !alike(i - 1, i)).collect();
        let block = changes.iter().fold(len, |g, &c| gcd(g, c));
        // Channels in blocks, channels last, or every element for itself.
        let fits = |c: &usize| len.is_multiple_of(*c) && (*c..len).all(|i| alike(i - c, i));
        let period = if columns.is_some() {
            columns.filter(fits)
        } else if block > 1 {
            None
        } else {
            (2..=len / 2).find(|&c| len.is_multiple_of(c) && (c..len).all(|i| alike(i - c, i)))
        };
        if columns.is_some() && period.is_none() {
            return Err(self.shape_error(id, "columns are not alike in all rows"));
        }
        let (groups, positions) = period.map_or((len / block, block), |c| (c, len / c));
        let (order, post) = match period {
            None => (None, None),
            Some(c) => {
                let transpose = |a: usize, b: usize| View {
                    loops: vec![a as u32, b as u32],
                    axes: vec![Axis {
                        extent: len as u32,
                        offset: 0,
                        strides: vec![1, a as i64],
                    }],
                };
                let map = (0..len).map(|i| (i % c) * positions + i / c).collect();
                (
                    Some(transpose(c, positions)),
                    Some(Post {
                        map,
                        views: vec![transpose(positions, c)],
                    }),
                )
            }
        };
        let first = |channel: usize| {
            if period.is_some() {
                channel
            } else {
                channel * positions
            }
        };
        let term = |p: &Plane| AccTerm {
            source: p.value,
            view: order.clone().unwrap_or_else(|| View::identity(len)),
            inputs: 1,
            weights: (0..groups).map(|c| p.scale[first(c)]).collect(),
            is_gathered: false,
        };
        Ok(Acc {
            groups,
            outputs: 1,
            positions,
            window: 1,
            terms: planes.iter().map(term).collect(),
            bias: (0..groups).map(|c| act.offset[first(c)]).collect(),
            range: Vec::new(),
            spread: None,
            low: false,
            post,
        })
    }

    /// Sets an accumulator's ranges to what calibration saw of tensor `id`, whose elements it holds.
    pub fn measure(&self, id: NodeId, acc: &mut Acc) {
        acc.range = self
            .stats
            .channels(id, acc.channels(), |i| acc.source(i) / acc.positions);
        acc.range.iter_mut().for_each(|r| *r = steady(*r));
    }
}

/// Ranges are uneven if the largest reaches so many times as far as half of them.
pub(super) const UNEVEN: f64 = 8.0;

/// See [`UNEVEN`].
pub(super) fn is_uneven(ranges: impl Iterator<Item = (f64, f64)>) -> bool {
    let mut reach: Vec<f64> = ranges.map(|(a, b)| a.abs().max(b.abs())).collect();
    reach.sort_by(f64::total_cmp);
    let middle = reach.get(reach.len() / 2).copied().unwrap_or(0.0);
    reach.len() > 1 && middle > 0.0 && reach[reach.len() - 1] >= UNEVEN * middle
}

/// A range at least as wide as a fraction of its values: what calibration saw of them may be next to constant, and the steps of
/// what they are computed from move them by more.
pub(super) fn steady((low, high): (f64, f64)) -> (f64, f64) {
    let missing = low.abs().max(high.abs()) * STEADY - (high - low);
    if missing > 0.0 {
        (low - missing / 2.0, high + missing / 2.0)
    } else {
        (low, high)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
