//! Element-wise activations.

use zkinfer_circuits::program::{Unit, ValueRef};

use super::{Acc, Act, Lowering, Value, common, wide};
use crate::graph::{Activation, NodeId, ScalarFn};
use crate::quantize::QuantizeError;

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

    pub(super) fn activation(&mut self, id: NodeId, input: NodeId, activation: &Activation) -> Result<Value, QuantizeError> {
        match activation {
            Activation::Relu => self.lazy_relu(input),
            Activation::LeakyRelu(slopes) => {
                if slopes.iter().all(|s| *s == 0.0) {
                    return self.lazy_relu(input);
                }
                let acc = self.plain(input)?;
                let (x, node, scales) = self.relu(&acc, false, self.origin(id))?;
                let zero = vec![0.0; scales.len()];
                let below = self.network.results(&acc, &[(ValueRef { node, port: 1 }, scales)], &zero)?;
                let slopes: Vec<f64> = wide(slopes).into_iter().map(|s| -s).collect();
                if slopes.len() != 1 && slopes.len() != below.len() {
                    return Err(self.shape_error(id, "the slopes have the wrong size"));
                }
                let act = x.add(below.affine(&slopes, &[0.0]));
                self.network.decode(&act);
                Ok(Value::Act(act))
            }
            Activation::Clip { low, high } => self.clip(id, input, f64::from(*low), f64::from(*high)),
            Activation::Scalar(f) => self.table(id, input, f),
        }
    }

    fn lazy_relu(&mut self, input: NodeId) -> Result<Value, QuantizeError> {
        match self.value(input)? {
            Value::Acc(mut acc) => {
                acc.low = true;
                Ok(Value::Acc(acc))
            }
            Value::Act(act) => {
                let positive = |act: &Act| act.planes.iter().all(|p| p.scale.iter().all(|s| s.is_nan() || *s >= 0.0));
                if positive(&act) && act.offset.iter().all(|o| *o >= 0.0) {
                    return Ok(Value::Act(act));
                }
                let mut acc = self.elementwise(input, &act)?;
                acc.low = true;
                Ok(Value::Acc(acc))
            }
        }
    }

    fn clip(&mut self, id: NodeId, input: NodeId, low: f64, high: f64) -> Result<Value, QuantizeError> {
        if low.is_nan() || high.is_nan() || low > high {
            return Err(self.shape_error(id, "clip bounds are not in order"));
        }
        if low == f64::NEG_INFINITY && high == f64::INFINITY {
            return self.value(input);
        }
        if low == 0.0 && high == f64::INFINITY {
            return self.lazy_relu(input);
        }
        if low == high {
            let len = self.graph.nodes[id].len();
            return Ok(Value::Act(Act { planes: Vec::new(), offset: vec![low; len] }));
        }
        let acc = self.plain(input)?;
        let (min, max) = acc.total_range();
        let margin = (high - low) / (1.0 + self.network.headroom);
        if low.is_finite() && high.is_finite() && low - min <= margin && max - high <= margin {
            let scales = vec![(high - low) / self.network.top(); acc.channels()];
            let zero = vec![0.0; scales.len()];
            let unit = Unit { window: 1, low: true, high: true, tables: Vec::new() };
            let node = self.network.emit(&acc, unit, &scales, low, &zero, self.origin(id))?;
            let act = self.network.results(&acc, &[(ValueRef { node, port: 0 }, scales)], &vec![low; zero.len()])?;
            self.network.decode(&act);
            return Ok(Value::Act(act));
        }
        // What is cut off can exceed the result's range: max(x, low) first, then high − max(high − x, 0), with scales that
        // fit what is cut off.
        let mut acc = acc;
        if low.is_finite() {
            acc.affine(&[1.0], &[-low]);
            let last = max + self.network.headroom * (max - low).max(0.0) <= high;
            let origin = if last { self.origin(id) } else { self.helper(id) };
            let (act, _, scales) = self.relu(&acc, false, origin)?;
            let act = act.affine(&[1.0], &[low]);
            let reach = scales.iter().fold(0.0f64, |m, s| m.max(s * self.network.top()));
            if low + reach <= high * (1.0 + 1e-9) || !high.is_finite() {
                self.network.decode(&act);
                return Ok(Value::Act(act));
            }
            acc = self.elementwise(input, &act)?;
            acc.range.iter_mut().for_each(|r| *r = (r.0.max(low), r.1.max(low)));
        }
        acc.affine(&[-1.0], &[high]);
        let (act, ..) = self.relu(&acc, false, self.origin(id))?;
        let act = act.affine(&[-1.0], &[high]);
        self.network.decode(&act);
        Ok(Value::Act(act))
    }

    /// A function by table: the argument is requantized over its calibrated range and saturates outside.
    fn table(&mut self, id: NodeId, input: NodeId, f: &ScalarFn) -> Result<Value, QuantizeError> {
        let acc = self.plain(input)?;
        let (min, max) = acc.total_range();
        let mut span = max - min;
        if span <= 0.0 {
            span = (max.abs() * 1e-3).max(1e-6);
        }
        let top = self.network.top();
        let mut scale = vec![span * (1.0 + self.network.headroom) / top; acc.channels()];
        self.network.settle(&acc, &mut scale, true);
        let step = scale[0];
        let start = (min + max) / 2.0 - step * top / 2.0;
        let argument = |q: f64| start + step * q;
        let values: Vec<f64> = (0..=top as u32).map(|q| f.eval(argument(f64::from(q)))).collect();
        // The range that calibration saw decides the output's scale unless the margins hardly widen it (poles do).
        let inside = |q: usize| (min - step..=max + step).contains(&argument(q as f64));
        let (mut low, mut high) = extremes(values.iter().enumerate().filter(|(q, _)| inside(*q)).map(|(_, v)| *v))
            .ok_or_else(|| self.shape_error(id, "the function has no finite value on the calibrated range"))?;
        let (all_low, all_high) = extremes(values.iter().copied()).unwrap_or((low, high));
        let margin = (high - low) * self.network.headroom.max(0.1);
        if all_high - all_low <= 3.0 * (high - low) {
            (low, high) = (all_low, all_high);
        } else {
            (low, high) = ((low - margin).max(all_low), (high + margin).min(all_high));
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
        let unit = Unit { window: 1, low: true, high: true, tables: vec![table] };
        let zero = vec![0.0; scale.len()];
        let node = self.network.emit(&acc, unit, &scale, start, &zero, self.origin(id))?;
        let out = vec![(high - low) / top; scale.len()];
        let act = self.network.results(&acc, &[(ValueRef { node, port: 2 }, out)], &vec![low; zero.len()])?;
        self.network.decode(&act);
        debug_assert!(act.planes.iter().all(|p| common(&p.scale).is_some()));
        Ok(Value::Act(act))
    }
}

fn extremes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut found: Option<(f64, f64)> = None;
    for v in values.filter(|v| v.is_finite()) {
        found = Some(found.map_or((v, v), |(a, b)| (a.min(v), b.max(v))));
    }
    found
}
