//! Functions with equal steps: rounding, and what int8 models put around it.
//!
//! A float that lies near a jump of `x ↦ round(x/s)·s` goes the other way after the smallest error, and the next layer's floats
//! with it: errors of a small part of a level become levels. Three things keep integers on the float model's side of a jump:
//! the argument's cells end where the function jumps, results are whole numbers of levels (not levels times sixteen), and with
//! these small numbers the next map's coefficients, which are rounded to integers, are as large as they can be.

use crate::graph::{BinaryOp, ScalarFn, ScalarOp};

/// Most different values that are looked at as levels.
const LEVELS: usize = 1024;

/// Jumps at `first + n · spacing`, whole `n`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Jumps {
    first: f64,
    spacing: f64,
}

impl Jumps {
    /// Where `f` jumps, if all its jumps come from one rounding: the innermost, as what is between two of its jumps is one number
    /// to whatever is done with it, rounding it again included.
    pub fn of(f: &ScalarFn) -> Option<Jumps> {
        let jumps = |g: &ScalarFn, first: f64| {
            let (scale, shift) = slope(g).filter(|s| s.0 != 0.0 && s.0.is_finite())?;
            Some(Jumps {
                first: (first - shift) / scale,
                spacing: 1.0 / scale.abs(),
            })
        };
        match f {
            ScalarFn::Apply(ScalarOp::Round, g) => jumps(g, 0.5).or_else(|| Jumps::of(g)),
            ScalarFn::Apply(ScalarOp::Floor | ScalarOp::Ceil, g) => {
                jumps(g, 0.0).or_else(|| Jumps::of(g))
            }
            ScalarFn::Apply(_, g) => Jumps::of(g),
            ScalarFn::Combine(_, g, h) => match (g.constant(), h.constant()) {
                (Some(_), None) => Jumps::of(h),
                (None, Some(_)) => Jumps::of(g),
                _ => None,
            },
            _ => None,
        }
    }

    /// The largest whole part of the spacing that is no less than `step`, and a start near `start` for which jumps lie halfway
    /// between two arguments `start + q · step`. `None` if arguments are further apart than jumps.
    pub fn align(&self, start: f64, step: f64) -> Option<(f64, f64)> {
        let parts = (self.spacing / step * (1.0 + 1e-12)).floor();
        if !(1.0..1e9).contains(&parts) {
            return None;
        }
        let step = self.spacing / parts;
        let between = ((self.first - start) / step - 0.5).round();
        Some((self.first - step * (between + 0.5), step))
    }
}

/// The affine function that an expression is where no bound cuts it off.
fn slope(f: &ScalarFn) -> Option<(f64, f64)> {
    if let Some(affine) = f.affine() {
        return Some(affine);
    }
    match f {
        ScalarFn::Apply(ScalarOp::Relu, g) => slope(g),
        ScalarFn::Apply(ScalarOp::Neg, g) => slope(g).map(|(s, t)| (-s, -t)),
        ScalarFn::Combine(op, g, h) => {
            let (inner, c, swapped) = match (g.constant(), h.constant()) {
                (None, Some(c)) => (slope(g)?, c, false),
                (Some(c), None) => (slope(h)?, c, true),
                _ => return None,
            };
            let (s, t) = inner;
            match (op, swapped) {
                (BinaryOp::Min | BinaryOp::Max, _) => Some(inner),
                (BinaryOp::Add, _) => Some((s, t + c)),
                (BinaryOp::Sub, false) => Some((s, t - c)),
                (BinaryOp::Sub, true) => Some((-s, c - t)),
                (BinaryOp::Mul, _) => Some((s * c, t * c)),
                (BinaryOp::Div, false) if c != 0.0 => Some((s / c, t / c)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The distance of levels, if all values are a few levels at whole distances.
pub(super) fn level(values: &[f64]) -> Option<f64> {
    let mut distinct: Vec<f64> = values.to_vec();
    if distinct.iter().any(|v| !v.is_finite()) {
        return None;
    }
    distinct.sort_by(f64::total_cmp);
    let range = distinct.last()? - distinct.first()?;
    distinct.dedup_by(|a, b| (*a - *b).abs() <= 1e-9 * range);
    if !(2..=LEVELS).contains(&distinct.len()) {
        return None;
    }
    let gaps = || distinct.windows(2).map(|w| w[1] - w[0]);
    let least = gaps().fold(f64::INFINITY, f64::min);
    let whole = |gap: f64| (gap / least - (gap / least).round()).abs() < 1e-4;
    (range / least <= LEVELS as f64 && gaps().all(whole)).then_some(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(scale: f64, clip: f64) -> ScalarFn {
        let c = ScalarFn::Const;
        ScalarFn::X
            .apply(ScalarOp::Relu)
            .combine(BinaryOp::Div, c(scale))
            .apply(ScalarOp::Round)
            .combine(BinaryOp::Min, c(clip))
            .combine(BinaryOp::Mul, c(scale))
    }

    #[test]
    fn jumps_lie_between_arguments() {
        let f = rounded(0.25, 100.0);
        let jumps = Jumps::of(&f).unwrap();
        assert_eq!((jumps.first, jumps.spacing), (0.125, 0.25));
        let (start, step) = jumps.align(-3.3, 0.03).unwrap();
        assert_eq!(step, 0.03125);
        assert!((start + 3.3).abs() <= step / 2.0);
        // No cell (half a step to both sides) has a jump inside.
        for q in 0..400 {
            let x = start + step * f64::from(q);
            assert_eq!(f.eval(x - 0.49 * step), f.eval(x + 0.49 * step), "{q}");
        }
        assert_eq!(jumps.align(0.0, 0.3), None);
        assert_eq!(Jumps::of(&ScalarFn::X.apply(ScalarOp::Tanh)), None);
    }

    #[test]
    fn roundings_of_levels_jump_where_the_first_does() {
        let c = ScalarFn::Const;
        let twice = |inner: f64, outer: f64| {
            rounded(inner, 100.0)
                .combine(BinaryOp::Div, c(outer))
                .apply(ScalarOp::Round)
                .combine(BinaryOp::Mul, c(outer))
        };
        for outer in [0.25, 0.4] {
            let f = twice(0.25, outer);
            let jumps = Jumps::of(&f).unwrap();
            assert_eq!((jumps.first, jumps.spacing), (0.125, 0.25));
            // Between two of them it is constant.
            for n in 0..100 {
                let at = |part: f64| f.eval(0.125 + (f64::from(n) + part) * 0.25);
                assert_eq!(at(0.01), at(0.99), "{n}");
            }
        }
    }

    #[test]
    fn levels_are_equal_steps() {
        let f = rounded(0.25, 10.0);
        let values: Vec<f64> = (0..400).map(|i| f.eval(f64::from(i) * 0.01)).collect();
        assert_eq!(level(&values), Some(0.25));
        assert_eq!(level(&[0.0, 1.0, 2.5]), None);
        assert_eq!(level(&[1.0, 1.0]), None);
    }
}
