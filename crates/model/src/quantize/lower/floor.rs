//! Values that are cut off far below: what is masked or cannot win.
//!
//! With a coarse step `s`, `t = max(0, ⌊(low − z)/s + ½⌋)` is how far a value `z` lies below `low`, and `z + s·t` is `z` above and within
//! half a coarse step of `low` below. So the result has a short range and a fine step, wherever `z` strayed to: two neurons, both
//! of them linear maps with a clamp at zero or none. What is cut off counts as `low`, and nothing else changes.
//!
//! `low` lies below the largest element of every run that calibration saw. Of a run that is below it as a whole nothing would be
//! left, so what is compared is at least [`Cut::least`]: one more neuron is the distance to it, which is in range or refused.

use zkinfer_circuits::program::{Unit, ValueRef};

use super::{Acc, Act, Lowering, Value};
use crate::graph::NodeId;
use crate::quantize::QuantizeError;
use crate::quantize::network::Origin;

/// A tensor without what lies far below the largest element of every run.
pub(super) struct Cut {
    pub act: Act,
    /// Above all that was cut off, and below the largest element of every run.
    pub least: f64,
    /// Whether every run has an element that is not masked.
    pub whole: bool,
}

impl Lowering<'_> {
    /// An operand as an accumulator of its own elements, in order.
    pub(in crate::quantize) fn linear_of(&mut self, input: NodeId) -> Result<Acc, QuantizeError> {
        if let Value::Acc(acc) = self.value(input)?
            && acc.is_plain()
            && acc.covers()
        {
            return Ok(acc);
        }
        let act = self.act(input)?;
        self.elementwise(input, &act)
    }

    /// `acc + act`, as an accumulator.
    pub(in crate::quantize) fn sum_of(
        &mut self,
        input: NodeId,
        acc: &Acc,
        act: &Act,
    ) -> Result<Acc, QuantizeError> {
        if let Some(sum) = self.fold(acc, act) {
            return Ok(sum);
        }
        let origin = self.helper(input);
        let whole = self.requantize(acc, true, origin)?;
        let mut sum = self.rescaling(input, &whole.add(act.clone()))?;
        sum.range = vec![(0.0, 0.0); sum.channels()];
        Ok(sum)
    }

    /// An operand of which masked elements are cut off below all that can be the largest of a run of `id`, so that the others
    /// keep a fine step; `None` if nothing is masked.
    pub(super) fn cut_masked(
        &mut self,
        id: NodeId,
        input: NodeId,
    ) -> Result<Option<Cut>, QuantizeError> {
        let reach = self.stats.reach(id, self.network.headroom, None);
        let Some(reach) = reach.filter(|r| r.fill > 0.0) else {
            return Ok(None);
        };
        let acc = self.linear_of(input)?;
        let width = reach.high - reach.low;
        let depth = width + 2.0 * reach.fill;
        let step = depth * (1.0 + self.network.headroom) / self.network.top();
        // What is cut off stays below, rounding included.
        let gap = (0.05 * width).max(2.0 * step);
        let low = reach.low - gap;
        let (act, step) = self.floored(input, &acc, (low - depth, low, reach.high))?;
        if step > gap {
            return Err(QuantizeError::Unsupported {
                layer: self.graph.nodes[id].name.clone(),
                reason: "masked elements that roundings do not keep apart from the others; use more bits",
            });
        }
        Ok(Some(Cut {
            act,
            least: reach.low - gap / 4.0,
            whole: reach.whole,
        }))
    }

    /// Whether every reader of a tensor cuts its masked elements off.
    pub(super) fn is_cut_everywhere(&self, id: NodeId) -> bool {
        let cuts = |&reader: &NodeId| self.stats.fill(reader) > 0.0;
        !self.graph.outputs.contains(&id) && self.readers[id].iter().all(cuts)
    }

    /// The largest elements of runs, of one scale: their distance from `least`, which no proof has negative.
    pub(super) fn at_least(
        &mut self,
        id: NodeId,
        largest: &Act,
        least: f64,
        origin: Origin<'_>,
    ) -> Result<Act, QuantizeError> {
        let mut acc = self.rescaling(id, largest)?;
        let (_, scale, offset) = largest
            .uniform()
            .ok_or_else(|| self.shape_error(id, "has no element"))?;
        let top = self.network.top();
        // Whatever integers there are; a coefficient of one or more is whole.
        let step = ((offset + scale * top - least) / (top - 1.0)).max(scale);
        acc.range = vec![(least, offset + scale * top); acc.channels()];
        let (scales, zero) = (vec![step; acc.channels()], vec![0.0; acc.channels()]);
        let node = (self.network).emit(&acc, Unit::LINEAR, &scales, least, &zero, origin)?;
        let offset = vec![least; acc.channels()];
        let port = (ValueRef { node, port: 0 }, scales);
        self.network.results(&acc, &[port], &offset)
    }

    /// `max(z, low)` for a value `z` in `[deepest, high]`, up to half a step of what lies below `low`, and that step; one scale for
    /// all.
    pub(in crate::quantize) fn floored(
        &mut self,
        input: NodeId,
        acc: &Acc,
        (deepest, low, high): (f64, f64, f64),
    ) -> Result<(Act, f64), QuantizeError> {
        let mut below = acc.clone();
        if !below.affine(&[-1.0], &[low]) {
            let act = self.act(input)?;
            below = self.rescaling(input, &act.affine(&[-1.0], &[low]))?;
        }
        let count = below.channels();
        below.range = vec![(low - high, (low - deepest).max(high - low)); count];
        below.spread = None;
        let origin = self.helper(input);
        let (depth, _, scales) = self.relu(&below, true, origin)?;
        let step = scales.iter().fold(0.0f64, |m, s| m.max(*s));
        let mut rest = self.sum_of(input, acc, &depth)?;
        rest.range = vec![(low - step, high); rest.channels()];
        rest.spread = None;
        let origin = self.helper(input);
        Ok((self.requantize(&rest, true, origin)?, step))
    }
}
