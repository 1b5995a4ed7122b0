//! Sums: of quantized tensors for free, of linear maps by joining their terms.

use zkinfer_circuits::program::{Axis, View};

use super::{Acc, AccTerm, Act, Lowering, Value, common};
use crate::graph::NodeId;
use crate::graph::view::fit_view;
use crate::quantize::QuantizeError;

/// Beyond this many outputs per group a residual is requantized instead of joined with a diagonal matrix.
const DIAGONAL: usize = 1024;

impl Lowering<'_> {
    pub(super) fn add(&mut self, id: NodeId, inputs: &[NodeId]) -> Result<Value, QuantizeError> {
        let mut total: Option<Act> = None;
        // The linear map that the sum becomes part of, and how many were joined into it.
        let mut kept: Option<(NodeId, Acc, usize)> = None;
        for &input in inputs {
            let mut act = None;
            match self.value(input)? {
                Value::Act(a) => act = Some(a),
                Value::Acc(acc) if !acc.is_plain() || !acc.covers() => act = Some(self.act(input)?),
                Value::Acc(acc) => match &mut kept {
                    None => kept = Some((input, acc, 1)),
                    Some((_, k, joined)) if joinable(k, &acc) => {
                        *joined += 1;
                        k.terms.extend(acc.terms);
                        k.bias.iter_mut().zip(&acc.bias).for_each(|(a, b)| *a += b);
                    }
                    Some(_) => act = Some(self.act(input)?),
                },
            }
            if let Some(act) = act {
                if total.as_ref().is_some_and(|t| t.len() != act.len()) {
                    return Err(self.shape_error(id, "operands differ in length"));
                }
                total = Some(match total {
                    Some(t) => t.add(act),
                    None => act,
                });
            }
        }
        match (kept, total) {
            (None, Some(total)) => Ok(Value::Act(total)),
            (None, None) => Err(self.shape_error(id, "has no operand")),
            (Some((_, mut acc, _)), None) => {
                self.measure(id, &mut acc);
                Ok(Value::Acc(acc))
            }
            (Some((first, acc, joined)), Some(total)) => {
                if let Some(mut sum) = self.fold(&acc, &total) {
                    self.measure(id, &mut sum);
                    if acc.is_gathered() && joined == 1 {
                        widen_by_rows(&mut sum, &acc, &total);
                    }
                    return Ok(Value::Acc(sum));
                }
                if joined == 1 {
                    return Ok(Value::Act(total.add(self.act(first)?)));
                }
                // The sum of the joined maps is what is quantized; the ranges of the whole sum and of the rest bound it.
                let mut acc = acc;
                let rest = bounds(&total, self.network.range());
                for (i, rest) in rest.iter().enumerate() {
                    let (a, b) = self.stats.element(id, i);
                    let (low, high) = (a - rest.1, b - rest.0);
                    let channel = acc.source(i) / acc.positions;
                    let r = &mut acc.range[channel];
                    *r = (r.0.min(low), r.1.max(high));
                }
                let origin = self.helper(id);
                let act = self.requantize(&acc, false, origin)?;
                Ok(Value::Act(total.add(act)))
            }
        }
    }
}

/// Rows that calibration did not see are looked up, too: what is added to them is as it was, if it is constant.
fn widen_by_rows(sum: &mut Acc, rows: &Acc, added: &Act) {
    if !added.planes.is_empty() {
        return;
    }
    for (i, offset) in added.offset.iter().enumerate() {
        let channel = rows.source(i) / rows.positions;
        let (low, high) = rows.range[channel];
        let range = &mut sum.range[channel];
        *range = (range.0.min(low + offset), range.1.max(high + offset));
    }
}

fn joinable(a: &Acc, b: &Acc) -> bool {
    let post = |x: &Acc| x.post.as_ref().map(|p| p.map.clone());
    (a.groups, a.outputs, a.positions) == (b.groups, b.outputs, b.positions)
        && post(a) == post(b)
        && a.terms.len() + b.terms.len() < 60
}

/// Crude range of every element.
fn bounds(act: &Act, range: f64) -> Vec<(f64, f64)> {
    let one = |i: usize| {
        let mut r = (act.offset[i], act.offset[i]);
        for s in act
            .planes
            .iter()
            .map(|p| p.scale[i])
            .filter(|s| !s.is_nan())
        {
            r = (r.0 + (s * range).min(0.0), r.1 + (s * range).max(0.0));
        }
        r
    };
    (0..act.len()).map(one).collect()
}

impl Lowering<'_> {
    /// The accumulator plus a quantized tensor, by terms with diagonal weights, if scales and offsets are the same over every channel.
    pub(super) fn fold(&mut self, acc: &Acc, act: &Act) -> Option<Acc> {
        if act.len() != acc.result_len()
            || (acc.outputs > DIAGONAL && !act.planes.is_empty())
            || acc.terms.len() + act.planes.len() > 60
        {
            return None;
        }
        let mut out = acc.clone();
        match acc.per_channel(&act.offset) {
            Some(offsets) => {
                let offsets = offsets.iter().map(|o| if o.is_nan() { 0.0 } else { *o });
                out.bias.iter_mut().zip(offsets).for_each(|(b, o)| *b += o);
            }
            None if self.shift_positions(&mut out, &act.offset) => {}
            None => return None,
        }
        // Element of the tensor behind every element of the accumulator.
        let mut inverse: Vec<usize> = (0..acc.len()).collect();
        if let Some(post) = &acc.post {
            post.map
                .iter()
                .enumerate()
                .for_each(|(i, &j)| inverse[j] = i);
        }
        let (groups, outputs, positions) = (acc.groups, acc.outputs, acc.positions);
        let view = if acc.post.is_none() {
            let strides = vec![(outputs * positions) as i64, 1, positions as i64];
            View {
                loops: vec![groups as u32, positions as u32, outputs as u32],
                axes: vec![Axis {
                    extent: acc.len() as u32,
                    offset: 0,
                    strides,
                }],
            }
        } else {
            let mut order = Vec::with_capacity(acc.len());
            for g in 0..groups {
                for p in 0..positions {
                    order.extend((0..outputs).map(|o| inverse[(g * outputs + o) * positions + p]));
                }
            }
            fit_view(&order, acc.len())?
        };
        for plane in &act.planes {
            let mut weights = vec![0.0; groups * outputs * outputs];
            for c in 0..groups * outputs {
                let channel: Vec<f64> = inverse[c * positions..][..positions]
                    .iter()
                    .map(|&i| plane.scale[i])
                    .collect();
                weights[c * outputs + c % outputs] = common(&channel)?;
            }
            out.terms.push(AccTerm {
                source: plane.value,
                view: view.clone(),
                inputs: outputs,
                weights,
                is_gathered: false,
            });
        }
        Some(out)
    }
}
