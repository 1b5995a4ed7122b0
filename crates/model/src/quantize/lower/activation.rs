//! Element-wise activations.

use zkinfer_circuits::program::{Unit, ValueRef};

use super::knee::Precision;
use super::staircase::{self, Jumps};
use super::{Acc, AccTerm, Act, Lowering, Value, common, ends, knee, wide};
use crate::disclosure;
use crate::graph::{Activation, GraphNode, NodeId, Op, ScalarFn};
use crate::quantize::QuantizeError;
use crate::quantize::network::Level;
use crate::quantize::step::{Step, step};

impl Lowering<'_> {
    /// The operand as an accumulator without clamp or window.
    fn plain(&mut self, input: NodeId) -> Result<Acc, QuantizeError> {
        if let Value::Acc(acc) = self.value(input)?
            && acc.is_plain()
        {
            return Ok(acc);
        }
        let act = self.act(input)?;
        self.elementwise(input, &act)
    }

    pub(super) fn activation(
        &mut self,
        id: NodeId,
        input: NodeId,
        activation: &Activation,
    ) -> Result<Value, QuantizeError> {
        match activation {
            Activation::Relu => self.lazy_relu(input),
            Activation::LeakyRelu(slopes) => {
                let acc = self.plain(input)?;
                let (x, node, scales) = self.relu(&acc, false, self.origin(id))?;
                let mut negated = acc.clone();
                let below = if self.network.saturate && negated.affine(&[-1.0], &[0.0]) {
                    // What a ReLU cuts off is not clamped, so it is a result of its own.
                    self.relu(&negated, false, self.helper(id))?.0
                } else {
                    let zero = vec![0.0; scales.len()];
                    let port = (ValueRef { node, port: 1 }, scales);
                    self.network.results(&acc, &[port], &zero)?
                };
                let slopes: Vec<f64> = wide(slopes).into_iter().map(|s| -s).collect();
                if slopes.len() != 1 && slopes.len() != below.len() {
                    return Err(self.shape_error(id, "the slopes have the wrong size"));
                }
                let act = x.add(below.affine(&slopes, &[0.0]));
                self.network.decode(&act);
                Ok(Value::Act(act))
            }
            Activation::Clip { low, high } => {
                self.clip(id, input, f64::from(*low), f64::from(*high))
            }
            Activation::Scalar(f) => match step(f) {
                Some(step) => self.step(id, input, step),
                None => self.table(id, input, f),
            },
        }
    }

    fn lazy_relu(&mut self, input: NodeId) -> Result<Value, QuantizeError> {
        match self.value(input)? {
            Value::Acc(mut acc) => {
                acc.low = true;
                Ok(Value::Acc(acc))
            }
            // By what computes it, not by what weights make of it: a card shows whether there are neurons.
            Value::Act(act) if self.positive[input] => Ok(Value::Act(act)),
            Value::Act(act) => {
                let mut acc = self.elementwise(input, &act)?;
                acc.low = true;
                Ok(Value::Acc(acc))
            }
        }
    }

    /// Bounds that no integer of the operand's range comes near are none: exporters write the largest floats.
    fn within_reach(&self, input: NodeId, low: f64, high: f64) -> (f64, f64) {
        let likely = self.stats.channels(input, 1, |_| 0);
        let (a, b) = likely.first().copied().unwrap_or((low, high));
        let reach =
            1e3 * (b - a).max(a.abs()).max(b.abs()).max(1e-6) * (1.0 + self.network.headroom);
        (
            if low < -reach { f64::NEG_INFINITY } else { low },
            if high > reach { f64::INFINITY } else { high },
        )
    }

    fn clip(
        &mut self,
        id: NodeId,
        input: NodeId,
        low: f64,
        high: f64,
    ) -> Result<Value, QuantizeError> {
        if low.is_nan() || high.is_nan() || low > high {
            return Err(self.shape_error(id, "clip bounds are not in order"));
        }
        let (low, high) = self.within_reach(input, low, high);
        if low == f64::NEG_INFINITY && high == f64::INFINITY {
            return self.value(input);
        }
        if low == 0.0 && high == f64::INFINITY {
            return self.lazy_relu(input);
        }
        if low == high {
            let len = self.graph.nodes[id].len();
            return Ok(Value::Act(Act {
                planes: Vec::new(),
                offset: vec![low; len],
            }));
        }
        let acc = self.plain(input)?;
        let (min, max) = acc.total_range();
        let margin = (high - low) / (1.0 + self.network.headroom);
        if low.is_finite() && high.is_finite() && low - min <= margin && max - high <= margin {
            let scales = vec![(high - low) / self.network.top(); acc.channels()];
            let zero = vec![0.0; scales.len()];
            let unit = Unit {
                window: 1,
                low: true,
                high: true,
                tables: Vec::new(),
                deep: false,
            };
            let node = self
                .network
                .emit(&acc, unit, &scales, low, &zero, self.origin(id))?;
            let act = self.network.results(
                &acc,
                &[(ValueRef { node, port: 0 }, scales)],
                &vec![low; zero.len()],
            )?;
            self.network.decode(&act);
            return Ok(Value::Act(act));
        }
        // What is cut off can exceed the result's range: max(x, low) first, then high − max(high − x, 0), with scales that
        // fit what is cut off.
        let mut acc = acc;
        if low.is_finite() {
            acc.affine(&[1.0], &[-low]);
            let last = max + self.network.headroom * (max - low).max(0.0) <= high;
            let origin = if last {
                self.origin(id)
            } else {
                self.helper(id)
            };
            let (act, _, scales) = self.relu(&acc, false, origin)?;
            let act = act.affine(&[1.0], &[low]);
            let reach = scales
                .iter()
                .fold(0.0f64, |m, s| m.max(s * self.network.top()));
            if low + reach <= high * (1.0 + 1e-9) || !high.is_finite() {
                self.network.decode(&act);
                return Ok(Value::Act(act));
            }
            acc = self.elementwise(input, &act)?;
            acc.range
                .iter_mut()
                .for_each(|r| *r = (r.0.max(low), r.1.max(low)));
        }
        acc.affine(&[-1.0], &[high]);
        let (act, ..) = self.relu(&acc, false, self.origin(id))?;
        let act = act.affine(&[-1.0], &[high]);
        self.network.decode(&act);
        Ok(Value::Act(act))
    }

    /// A range that is not so narrow that the rounding of what an accumulator reads would leave it (a sum of probabilities is
    /// always one in floats).
    pub(in crate::quantize) fn beyond_noise(&self, acc: &Acc, range: (f64, f64)) -> (f64, f64) {
        let noise = self.noise(acc);
        if noise.is_finite() && range.1 - range.0 < noise {
            (range.0 - 8.0 * noise, range.1 + 8.0 * noise)
        } else {
            range
        }
    }

    /// The ranges that all uses of a function have together, if there are many (steps of a recurrence): they share a table.
    fn shared(&mut self, f: &ScalarFn) -> Option<Shared> {
        if let Some((_, known)) = self.functions.iter().find(|(g, _)| g == f) {
            return known.clone();
        }
        let table = |n: &&GraphNode| matches!(n.op, Op::Activation(Activation::Scalar(_)));
        let crowded = self.graph.nodes.iter().filter(table).count() > CROWDED;
        let same = |op: &Op| matches!(op, Op::Activation(Activation::Scalar(g)) if g == f);
        let uses = self.graph.nodes.iter().enumerate();
        let uses: Vec<(NodeId, NodeId)> = uses
            .filter(|(_, n)| same(&n.op))
            .filter_map(|(id, n)| Some((id, *n.inputs.first()?)))
            .collect();
        let join = |ranges: &mut dyn Iterator<Item = (f64, f64)>| {
            ranges.fold((f64::INFINITY, f64::NEG_INFINITY), |a, r| {
                (a.0.min(r.0), a.1.max(r.1))
            })
        };
        let stats = self.stats;
        let likely = |id: NodeId| stats.channels(id, 1, |_| 0)[0];
        let shared = (crowded && uses.len() >= MANY).then(|| Shared {
            likely: join(&mut uses.iter().map(|u| likely(u.1))),
            seen: join(&mut uses.iter().map(|u| stats.tensor(u.1))),
            results: join(&mut uses.iter().map(|u| stats.tensor(u.0))),
        });
        self.functions.push((f.clone(), shared.clone()));
        shared
    }

    /// One value where `k·x + d > 0`, another elsewhere. The argument is not rounded: `x = max(0, ⌊(y − 1)/2^T⌋ + 1)` is positive
    /// exactly where the accumulator `y` is, so the comparison is as exact as the integers it compares.
    fn step(&mut self, id: NodeId, input: NodeId, step: Step) -> Result<Value, QuantizeError> {
        let mut acc = self.plain(input)?;
        acc.affine(&[step.slope], &[step.shift]);
        self.keep_sides(id, input, &mut acc);
        let (top, range) = (self.network.top(), self.network.range());
        let room = f64::from(i32::MAX) - 2.0 * range * range;
        // Every channel has a scale of its own: only its sign matters.
        let scale: Vec<f64> = acc
            .range
            .iter()
            .enumerate()
            .map(|(c, (low, high))| {
                let seen = low.abs().max(high.abs()) * (1.0 + self.network.headroom);
                let weights = || {
                    let row = |t: &'_ AccTerm| c * t.inputs..(c + 1) * t.inputs;
                    acc.terms.iter().flat_map(move |t| &t.weights[row(t)])
                };
                let largest = weights().fold(acc.bias[c].abs(), |m, w| m.max(w.abs()));
                // No integers that are in range lead beyond these; where few are summed that is the tighter bound.
                let bounds = |t: &AccTerm| -> (f64, f64) {
                    let row = t.row(c).iter();
                    match t.is_gathered {
                        true => row.fold((f64::INFINITY, f64::NEG_INFINITY), |r, &w| {
                            (r.0.min(w), r.1.max(w))
                        }),
                        false => row.fold((0.0, 0.0), |(a, b), w| {
                            (a + (w * top).min(0.0), b + (w * top).max(0.0))
                        }),
                    }
                };
                let (low, high) = acc
                    .terms
                    .iter()
                    .map(bounds)
                    .fold((acc.bias[c], acc.bias[c]), |(a, b), (low, high)| {
                        (a + low, b + high)
                    });
                let reach = seen.min(low.abs().max(high.abs()));
                // Every coefficient is rounded by half of what one step of its input is.
                let rounded = acc.sums().flat_map(|t| t.row(c)).filter(|w| **w != 0.0);
                let rounded = rounded.count() as f64 / 2.0;
                let scale = (reach / (top - 2.0 - rounded).max(top / 2.0))
                    .max(largest * range / room)
                    .max(1e-30);
                // Where all coefficients are multiples of one, a scale that makes it whole: equal values stay equal.
                let least = weights()
                    .map(|w| w.abs())
                    .filter(|w| *w > 0.0)
                    .fold(f64::INFINITY, f64::min);
                let multiple = |w: &f64| (w / least - (w / least).round()).abs() < 1e-9;
                let whole = (least * range / scale).floor();
                if whole >= 1.0 && least.is_finite() && weights().all(multiple) {
                    least * range / whole
                } else {
                    scale
                }
            })
            .collect();
        let table = disclosure::comparison(self.network.bits);
        let table = self.network.table(table);
        let unit = Unit {
            tables: vec![table],
            high: self.network.saturate,
            ..Unit::RELU
        };
        let half = self.network.range() / 2.0;
        let zero = vec![(half - 1.0) / self.network.range(); scale.len()];
        let node = self
            .network
            .emit(&acc, unit, &scale, 0.0, &zero, self.origin(id))?;
        let out = vec![(step.above - step.below) / top; scale.len()];
        let offset = vec![step.below; scale.len()];
        let value = ValueRef { node, port: 2 };
        let act = self.network.results(&acc, &[(value, out)], &offset)?;
        self.network.decode(&act);
        Ok(Value::Act(act))
    }

    /// Moves thresholds off the calibration values: an input that equals one exactly, or nearly, is on the other side once it is
    /// rounded. Trees take their thresholds from the data, so that this is common. By no more than inputs are rounded by.
    fn keep_sides(&self, id: NodeId, input: NodeId, acc: &mut Acc) {
        let tied = |n: NodeId| self.graph.nodes[n].tie.is_some();
        let Some(sides) = self
            .stats
            .sides
            .get(&id)
            .filter(|_| !tied(id) && !tied(input))
        else {
            return;
        };
        let mut near = vec![(f64::NEG_INFINITY, f64::INFINITY); acc.channels()];
        for (e, &(below, above)) in sides.iter().enumerate() {
            let channel = &mut near[acc.source(e) / acc.positions.max(1)];
            channel.0 = channel.0.max(f64::from(below));
            channel.1 = channel.1.min(f64::from(above));
        }
        for (c, (below, above)) in near.into_iter().enumerate() {
            let rounded: f64 = acc
                .sums()
                .flat_map(|t| t.row(c))
                .map(|w| w.abs() / 2.0)
                .sum();
            let (low, high) = (below + rounded, above - rounded);
            let threshold = if low > high {
                (low + high) / 2.0
            } else {
                0f64.clamp(low, high)
            };
            if threshold.is_finite() {
                acc.bias[c] -= threshold.clamp(-rounded, rounded);
            }
        }
    }

    /// A function by table: the argument is requantized over its calibrated range. On a side where the function is flat it
    /// saturates; elsewhere an argument beyond the range is an error of the run. Between calibrated arguments the table is
    /// only as good as the function is smooth: near a pole inside the range entries saturate.
    fn table(&mut self, id: NodeId, input: NodeId, f: &ScalarFn) -> Result<Value, QuantizeError> {
        let acc = self.plain(input)?;
        let shared = self.shared(f);
        let many = shared.is_some();
        let (min, max) = shared.as_ref().map_or(acc.total_range(), |s| s.likely);
        let seen = self.stats.tensor(input);
        let (width, size) = (seen.1 - seen.0, seen.0.abs().max(seen.1.abs()));
        let (min, max) = match self.beyond_noise(&acc, (min, max)) {
            // Constants, and sums that are always one, do not matter.
            // Nor do ranges of single steps of a loop, whose integers are those of all steps.
            range
                if range.1 - range.0 > 32.0 * width
                    && width > 0.01 * size
                    && self.graph.nodes[id].tie.is_none() =>
            {
                return Err(QuantizeError::Unsupported {
                    layer: self.graph.nodes[id].name.clone(),
                    reason: "its argument varies less than the integers that it is computed from can tell; subtract what is common before the model, scale its inputs, or use more bits",
                });
            }
            range => range,
        };
        let mut span = max - min;
        if span <= 0.0 {
            span = (max.abs() * 1e-3).max(1e-6);
        }
        let top = self.network.top();
        let reach = span * (1.0 + self.network.headroom) / 2.0;
        let domain = ((min + max) / 2.0 - reach, (min + max) / 2.0 + reach);
        // What calibration saw, without margins, decides how large results may become: their range may grow as much as the
        // argument's. Functions that grow faster (exponentials, powers, poles) would otherwise spend their integers on
        // values that never occur.
        let (seen, results) = shared.map_or_else(
            || (self.stats.tensor(input), self.stats.tensor(id)),
            |s| (s.seen, s.results),
        );
        let growth = (2.0 * reach / (seen.1 - seen.0).max(span * 1e-3)).max(1.0);
        let least = results.0.abs().max(results.1.abs()).max(1e-6) * 1e-3;
        let room = growth * (results.1 - results.0).max(least);
        let bounds = (results.0 - room, results.1 + room);
        let domain = narrowed(f, domain, seen, bounds);
        let eval = |x: f64| f.eval(x);
        // Too coarse in places, for an argument that is known better than that.
        let precision = match self.network.levels.get(&id) {
            _ if self.is_factor(id) && knee::is_monotone(&eval, seen) => Precision::relative(),
            _ if self.is_of_norm(input) && knee::is_monotone(&eval, seen) => {
                Precision::beside(results.1 - results.0)
            }
            Some(Level::Wide) => Precision::absolute(knee::COARSE / FINER),
            _ => Precision::absolute(knee::COARSE),
        };
        // Nothing that is positive and monotone above zero is asked for below.
        let domain = match precision.relative {
            Some(_) if seen.0 >= 0.0 => {
                // Weights of the argument must not blur what is left of it behind a cut.
                self.network.levels.entry(id).or_insert(Level::Deep);
                (domain.0.max(0.0), domain.1)
            }
            _ => domain,
        };
        let jumps = Jumps::of(f);
        if !many
            && jumps.is_none()
            && self.network.tables.len() < TABLES
            && NOISE * self.noise(&acc) < (domain.1 - domain.0) / top / 2.0
            && f.points().is_empty()
            && jumps_at(f, (domain.1 - domain.0) / top, room).is_empty()
            && let Some(knee) =
                knee::find(&eval, domain, seen, results.1 - results.0, top, precision)
            && let Some(act) = self.two_tables(id, &acc, &eval, knee, (bounds, seen), precision)?
        {
            return Ok(Value::Act(act));
        }
        let inside = match jumps {
            None if self.network.levels.contains_key(&id) => {
                let tolerance = (results.1 - results.0) / top / 4.0;
                let steep = ends::steep(&eval, domain, tolerance);
                self.inside(id, &acc, domain, steep)?
            }
            _ => None,
        };
        let (acc, domain, whole) = match inside {
            Some(inside) => (inside.acc, inside.domain, Some(inside.coarse)),
            None => (acc, domain, None),
        };
        let mut scale = vec![(domain.1 - domain.0) / top; acc.channels()];
        self.network.settle(&acc, &mut scale, true);
        if jumps.is_none() && whole.is_none() {
            self.network.deepen(&acc, &mut scale, self.origin(id));
        }
        if let Some(coarse) = whole {
            // What was cut off is a whole number of steps.
            let parts = (coarse / scale[0]).floor().max(1.0);
            scale.fill(coarse / parts);
        }
        let mut step = scale[0];
        let middle = (domain.0 + domain.1) / 2.0;
        let mut start = middle - step * top / 2.0;
        let jumps = jumps.and_then(|jumps| {
            let aligned = |step: f64| jumps.align(middle - step * top / 2.0, step);
            let finest = aligned(step)?;
            // Weights of twice the bits have room beside coarse arguments only, and these are exact beside jumps, too.
            let coarser = std::iter::successors(Some(finest), |a| aligned(2.0 * a.1));
            let deep = |a: &(f64, f64)| {
                let scale = vec![a.1; acc.channels()];
                self.network.fits_deep(&acc, 1, &scale, self.origin(id))
            };
            Some(coarser.into_iter().find(deep).unwrap_or(finest))
        });
        if let Some(aligned) = jumps {
            (start, step) = aligned;
            scale.fill(step);
        }
        let argument = |q: f64| start + step * q;
        let points: Vec<(f64, f64)> = f
            .points()
            .into_iter()
            .chain(jumps_at(f, step, room))
            .map(|point| {
                (
                    point,
                    (step + blur(&acc, point).min(step)) / 2.0 * (1.0 + 1e-9),
                )
            })
            .collect();
        let value = |q: u32| {
            let x = argument(f64::from(q));
            let at = points.iter().find(|(p, near)| (x - p).abs() <= *near);
            f.eval(at.map_or(x, |(point, _)| *point))
        };
        let values: Vec<f64> = (0..=top as u32).map(value).collect();
        let (all_low, all_high) = extremes(values.iter().copied()).ok_or_else(|| {
            self.shape_error(
                id,
                "the function has no finite value on the calibrated range",
            )
        })?;
        let (mut low, mut high) = (all_low.max(bounds.0), all_high.min(bounds.1));
        let tolerance = FLAT_STEPS * (high - low).max(0.0) / top;
        if let Some(level) = jumps.and_then(|_| staircase::level(&values)) {
            // Every level has its integer.
            (low, high) = (all_low, all_low + level * top);
        }
        if high <= low {
            high = low + low.abs().max(1.0) * 1e-6;
        }
        let mut last = low;
        let entry = |&v: &f64| {
            // Where the function is not defined, the nearest defined value before.
            last = if v.is_nan() { last } else { v };
            ((last.clamp(low, high) - low) / (high - low) * top).round() as u16
        };
        let entries: Vec<u16> = values.iter().map(entry).collect();
        let table = self.network.table(entries);
        let saturate = self.network.saturate;
        let is_flat = (
            flat(&eval, argument(0.0), -span, tolerance),
            flat(&eval, argument(top), span, tolerance),
        );
        let unit = Unit {
            window: 1,
            low: saturate || is_flat.0,
            high: saturate || is_flat.1,
            tables: vec![table],
            deep: false,
        };
        let port = 1 + u32::from(unit.exposes_below());
        let zero = vec![0.0; scale.len()];
        let node = self
            .network
            .emit(&acc, unit, &scale, start, &zero, self.origin(id))?;
        self.network
            .saturates(saturate && !is_flat.0, saturate && !is_flat.1);
        let out = vec![(high - low) / top; scale.len()];
        let act = self.network.results(
            &acc,
            &[(ValueRef { node, port }, out)],
            &vec![low; zero.len()],
        )?;
        self.network.decode(&act);
        debug_assert!(act.planes.iter().all(|p| common(&p.scale).is_some()));
        Ok(Value::Act(act))
    }
}

/// Thresholds at which a function jumps by much of the range of its results: exactly there, where calibration values often are,
/// it has to be on its own side.
fn jumps_at(f: &ScalarFn, step: f64, range: f64) -> Vec<f64> {
    let mut thresholds = f.thresholds();
    thresholds.retain(|&p| {
        let far = |x: f64| {
            let distance = (f.eval(x) - f.eval(p)).abs();
            distance.is_nan() || distance > JUMP * range
        };
        far(p - step) || far(p + step)
    });
    thresholds
}

/// See [`jumps_at`].
const JUMP: f64 = 0.5;

/// By how much a value may be from `point` because of the integers that it is made of: nothing where they can be exactly there.
fn blur(acc: &Acc, point: f64) -> f64 {
    let weights = || acc.sums().flat_map(|t| &t.weights);
    let coarsest = weights().fold(0.0f64, |m, w| m.max(w.abs()));
    let whole = |bias: &f64| {
        let integer = (point - bias) / coarsest;
        (integer - integer.round()).abs() < 1e-6
    };
    if coarsest > 0.0 && weights().all(|w| w.abs() == coarsest) && acc.bias.iter().all(whole) {
        0.0
    } else {
        coarsest
    }
}

/// From this many uses on a function has one table for all of them.
const MANY: usize = 6;
/// Up to this many functions every use has a table of its own, which is more precise.
const CROWDED: usize = 48;

impl Lowering<'_> {
    /// Whether a tensor is the sums of squares that functions read, with all their bits.
    fn is_of_norm(&self, id: NodeId) -> bool {
        match &self.graph.nodes[id].op {
            Op::MatMul(product) => self.is_norm(id, product),
            Op::View(_) | Op::Affine { .. } => self.is_of_norm(self.graph.nodes[id].inputs[0]),
            _ => false,
        }
    }

    /// Whether all that reads a tensor multiplies rows by it.
    fn is_factor(&self, id: NodeId) -> bool {
        let mut open = self.readers[id].clone();
        let mut only = !self.graph.outputs.contains(&id) && !open.is_empty();
        while let Some(reader) = open.pop() {
            match &self.graph.nodes[reader].op {
                Op::View(_) => open.extend(&self.readers[reader]),
                Op::MatMul(product) => only &= product.inputs == 1,
                _ => only = false,
            }
        }
        only
    }
}

/// By how much finer than others the tables are of functions that are computed more exactly.
const FINER: f64 = 32.0;

/// Standard deviation of a rounding, in steps.
const NOISE: f64 = 0.29;
/// From this many tables on every function has one.
const TABLES: usize = 40;

/// Ranges of all arguments and results of a function.
#[derive(Clone)]
pub(in crate::quantize) struct Shared {
    likely: (f64, f64),
    seen: (f64, f64),
    results: (f64, f64),
}

/// Points at which a table's margins are examined, per side.
const POINTS: u32 = 256;

/// How much of the seen range a table covers beyond it at least, whatever the function does there: arguments are rounded.
const MARGIN: f64 = 0.05;

/// The part of `domain` around what was seen on which `f` stays within `bounds`. Arguments beyond are an error of the run.
/// Where `f` is not defined nothing is cut off: rounding leads there from arguments at the edge.
fn narrowed(f: &ScalarFn, domain: (f64, f64), seen: (f64, f64), bounds: (f64, f64)) -> (f64, f64) {
    let margin = MARGIN * (seen.1 - seen.0).max(0.0);
    let end = |from: f64, to: f64| {
        let at = |j: u32| from + (to - from) * f64::from(j) / f64::from(POINTS);
        let outside = |x: f64| {
            let v = f.eval(x);
            v < bounds.0 || v > bounds.1
        };
        (0..=POINTS)
            .find(|&j| outside(at(j)))
            .map_or(to, |j| at(j.saturating_sub(1)))
    };
    let (from, to) = (seen.0 - margin, seen.1 + margin);
    (
        if domain.0 < from {
            end(from, domain.0)
        } else {
            domain.0
        },
        if domain.1 > to {
            end(to, domain.1)
        } else {
            domain.1
        },
    )
}

/// By how many steps of its output a function may move beyond its table and still count as flat there.
const FLAT_STEPS: f64 = 2.0;

/// Whether `f` stays within `tolerance` of its value at `end` on eight times the calibrated span behind it.
pub(super) fn flat(f: &dyn Fn(f64) -> f64, end: f64, span: f64, tolerance: f64) -> bool {
    let value = f(end);
    (1..=64).all(|j| (f(end + span * f64::from(j) / 8.0) - value).abs() <= tolerance)
}

fn extremes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut found: Option<(f64, f64)> = None;
    for v in values.filter(|v| v.is_finite()) {
        found = Some(found.map_or((v, v), |(a, b)| (a.min(v), b.max(v))));
    }
    found
}
