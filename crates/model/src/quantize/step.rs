//! Functions of one activation that take two values: comparisons with a constant, and functions of those.

use crate::graph::ScalarFn;

/// `above` where `slope·x + shift > 0`, else `below`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub slope: f64,
    pub shift: f64,
    pub above: f64,
    pub below: f64,
}

impl Step {
    /// What is compared with zero.
    pub fn argument(&self, x: f32) -> f64 {
        self.slope * f64::from(x) + self.shift
    }
}

/// A function with one value or two.
#[derive(Clone)]
enum Flat {
    Constant(f64),
    Step(Step),
}

impl Flat {
    /// A function of two such values, if both change at the same place.
    fn with(self, other: Flat, f: impl Fn(f64, f64) -> f64) -> Option<Flat> {
        Some(match (self, other) {
            (Flat::Constant(a), Flat::Constant(b)) => Flat::Constant(f(a, b)),
            (Flat::Step(s), Flat::Constant(c)) => Flat::Step(Step {
                above: f(s.above, c),
                below: f(s.below, c),
                ..s
            }),
            (Flat::Constant(c), Flat::Step(s)) => Flat::Step(Step {
                above: f(c, s.above),
                below: f(c, s.below),
                ..s
            }),
            (Flat::Step(a), Flat::Step(b)) if (a.slope, a.shift) == (b.slope, b.shift) => {
                Flat::Step(Step {
                    above: f(a.above, b.above),
                    below: f(a.below, b.below),
                    ..a
                })
            }
            _ => return None,
        })
    }
}

fn flat_function(f: &ScalarFn) -> Option<Flat> {
    match f {
        ScalarFn::X => None,
        ScalarFn::Const(c) => Some(Flat::Constant(*c)),
        ScalarFn::Apply(op, g) => flat_function(g)?.with(Flat::Constant(0.0), |v, _| op.eval(v)),
        ScalarFn::Combine(op, g, h) => {
            flat_function(g)?.with(flat_function(h)?, |a, b| op.eval(a, b))
        }
        ScalarFn::Select(condition, g, h) => {
            let (g, h) = (flat_function(g)?, flat_function(h)?);
            let condition = match flat_function(condition) {
                Some(c) => c,
                None => {
                    let (slope, shift) = condition.affine()?;
                    Flat::Step(Step {
                        slope,
                        shift,
                        above: 1.0,
                        below: -1.0,
                    })
                }
            };
            // Both branches where the condition is what it is.
            let yes = condition
                .clone()
                .with(g, |c, v| if c > 0.0 { v } else { f64::NAN })?;
            let no = condition.with(h, |c, v| if c > 0.0 { f64::NAN } else { v })?;
            yes.with(no, |a, b| if a.is_nan() { b } else { a })
        }
    }
}

/// Whether a function is a comparison with a constant, or a function of one.
pub(super) fn step(f: &ScalarFn) -> Option<Step> {
    let Some(Flat::Step(step)) = flat_function(f) else {
        return None;
    };
    let finite = step.above.is_finite() && step.below.is_finite();
    (step.slope != 0.0 && step.above != step.below && finite).then_some(step)
}
