//! Values that are cut off far below: what is masked or cannot win.
//!
//! With a coarse step `s`, `t = max(0, ⌊(low − z)/s + ½⌋)` is how far a value `z` lies below `low`, and `z + s·t` is `z` above and within
//! half a coarse step of `low` below. So the result has a short range and a fine step, wherever `z` strayed to: two neurons, both
//! of them linear maps with a clamp at zero or none. What is cut off counts as `low`, and nothing else changes.

use super::{Acc, Act, Lowering, Value};
use crate::graph::NodeId;
use crate::quantize::QuantizeError;

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

    /// `max(z, low)` for a value `z` in `[deepest, high]`, up to half a step of what lies below `low`; one scale for all.
    pub(in crate::quantize) fn floored(
        &mut self,
        input: NodeId,
        acc: &Acc,
        (deepest, low, high): (f64, f64, f64),
    ) -> Result<Act, QuantizeError> {
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
        self.requantize(&rest, true, origin)
    }
}
