//! Functions that are steep on a small part of what their argument may be: sigmoids of wide arguments.
//!
//! A table over all of the argument's range has few entries where the function moves. Where it is flat beyond `[a, b]` it does not
//! matter how far beyond an argument is. So that is cut off first, in coarse steps `S`,
//!
//! ```text
//! x = max(0, ⌊(v − b)/S + ½⌋),      w = v − S·x,      f(v) = f(w)
//! ```
//!
//! and the same at the lower end: `w` is `v` inside, and within half a coarse step of the end outside. `S` is a whole number of the
//! steps of `w`, so that cutting rounds nothing. It costs a neuron more for every end, and is done where more bits are
//! [asked for](super::super::network::Level).

use zkinfer_circuits::program::{Unit, ValueRef};

use super::{Acc, Act, Lowering};
use crate::graph::NodeId;
use crate::quantize::QuantizeError;

/// The argument's range has to be so many times as wide as what is left of it.
const WIDE: f64 = 3.0;
/// Points at which a function is examined, and how often the ends are halved.
const POINTS: u32 = 256;
const HALVINGS: u32 = 40;

/// Where `f` moves by more than `tolerance` from what it is at the ends of a domain.
pub(super) fn steep(f: &dyn Fn(f64) -> f64, domain: (f64, f64), tolerance: f64) -> (f64, f64) {
    let flat = |from: f64, end: f64| {
        let value = f(end);
        let at = |j: u32| end + (from - end) * f64::from(j) / f64::from(POINTS);
        (0..=POINTS).all(|j| (f(at(j)) - value).abs() <= tolerance)
    };
    let bound = |end: f64, other: f64| {
        let (mut inside, mut outside) = (other, end);
        for _ in 0..HALVINGS {
            let middle = (inside + outside) / 2.0;
            match flat(middle, end) {
                true => outside = middle,
                false => inside = middle,
            }
        }
        outside
    };
    (bound(domain.0, domain.1), bound(domain.1, domain.0))
}

/// An argument without what lies beyond where a function is flat.
pub(super) struct Inside {
    pub acc: Acc,
    /// What is left of the domain.
    pub domain: (f64, f64),
    /// The step of what was cut off.
    pub coarse: f64,
}

impl Lowering<'_> {
    /// An argument in `domain` of a function that is steep between two ends, cut off beyond these; `None` where little would be
    /// gained, or nothing can be folded into the argument.
    pub(super) fn inside(
        &mut self,
        id: NodeId,
        acc: &Acc,
        domain: (f64, f64),
        (low, high): (f64, f64),
    ) -> Result<Option<Inside>, QuantizeError> {
        let width = domain.1 - domain.0;
        let probe = Act::one(ValueRef::new(0), 1.0, 0.0, acc.result_len());
        let folds = acc.is_plain() && acc.covers() && self.fold(acc, &probe).is_some();
        if !folds || high <= low {
            return Ok(None);
        }
        // As far again as the domain reaches: tables clamp there, too.
        let mut coarse = vec![2.0 * width / self.network.top(); acc.channels()];
        self.network.settle(acc, &mut coarse, true);
        let coarse = coarse[0];
        let ends = [(1.0, high, domain.1), (-1.0, low, domain.0)];
        let cut = ends.map(|(sign, end, far)| sign * (far - end) > coarse);
        let inside = (
            if cut[1] { low - coarse } else { domain.0 },
            if cut[0] { high + coarse } else { domain.1 },
        );
        if (inside.1 - inside.0) * WIDE > width {
            return Ok(None);
        }
        let mut short = acc.clone();
        short.spread = None;
        for ((sign, end, _), _) in ends.into_iter().zip(cut).filter(|(_, cut)| *cut) {
            let mut beyond = acc.clone();
            if !beyond.affine(&[sign], &[-sign * end]) {
                return Ok(None);
            }
            let scales = vec![coarse; acc.channels()];
            let zero = vec![0.0; acc.channels()];
            let unit = Unit {
                high: self.network.saturate,
                ..Unit::RELU
            };
            let origin = self.helper(id);
            let node = self
                .network
                .emit(&beyond, unit, &scales, 0.0, &zero, origin)?;
            let port = (
                ValueRef { node, port: 0 },
                vec![-sign * coarse; acc.channels()],
            );
            let part = self.network.results(acc, &[port], &zero)?;
            // What is taken off is what was found: its rounding is no error.
            self.network.exact.insert(ValueRef { node, port: 0 });
            let Some(sum) = self.fold(&short, &part) else {
                return Err(self.shape_error(id, "its argument cannot be cut off"));
            };
            short = sum;
        }
        short.range = vec![inside; short.channels()];
        Ok(Some(Inside {
            acc: short,
            domain: inside,
            coarse,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::steep;

    #[test]
    fn functions_are_steep_where_they_move() {
        let (a, b) = steep(&f64::tanh, (-1e4, 2e4), 1e-4);
        assert!((-6.0..-4.5).contains(&a) && (4.5..6.0).contains(&b));
        let relu = |x: f64| x.max(0.0);
        let (a, b) = steep(&relu, (-10.0, 10.0), 1e-3);
        assert!((0.0..0.01).contains(&a) && b > 9.99);
        let sine = |x: f64| x.sin();
        let (a, b) = steep(&sine, (-10.0, 10.0), 1e-3);
        assert!(a < -9.9 && b > 9.9);
    }
}
