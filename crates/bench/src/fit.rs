//! How a cost grows: power laws with an interval for the exponent.
//!
//! A cost of a proof has a fixed part (a smallest circuit, a hash of the card, an opening) that small models do not get under, and a part that
//! grows with the model. A power law `y = a·xᵇ` through both would show an exponent that is too small, and smaller the more small models
//! were measured. So two curves are fitted:
//!
//! 1. `y = a·xᵇ`, by least squares on logarithms, that is, on relative errors: a straight line in a log-log plot. The interval of `b` is
//!    `b ± t·s/√Sxx` with Student's t of `n − 2` degrees of freedom (N. R. Draper, H. Smith, *Applied Regression Analysis*, 3rd ed., Wiley 1998,
//!    chapter 1).
//! 2. `y = c + a·xᵇ` with a floor `c ≥ 0` and `b > 0`, by least squares on the same relative errors `ln y − ln(c + a·xᵇ)`. It is not linear in
//!    its parameters, so the interval of `b` is the profile's: all `b` for which the best curve has a sum of squares of at most
//!    `S·(1 + t²/(n − 3))`, with Student's t of `n − 3` degrees of freedom (D. M. Bates, D. G. Watts, *Nonlinear Regression Analysis and Its
//!    Applications*, Wiley 1988, chapter 6).
//!
//! The first is the second with `c = 0`. The second is chosen where the extra sum of squares says that a floor is there:
//! `(S₁ − S₂)·(n − 3)/S₂ > t²`, an F test of one degree of freedom (Draper and Smith, chapter 6). What is then reported is the
//! exponent of the part that grows, which is what decides about models larger than those measured.
//!
//! All intervals are for a confidence of 95 %. They suppose errors that are independent and alike in relative size. Costs of circuits grow in
//! steps (rows are powers of two), so that neighbouring points err together, and intervals are an indication rather than a guarantee. They
//! say nothing at all about models outside of the range measured.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};
use thiserror::Error;

/// Points that a power law needs, with an interval for its exponent.
pub const FEWEST_POINTS: usize = 4;
/// Points that a power law with a floor needs, with an interval for its exponent.
pub const FEWEST_POINTS_WITH_FLOOR: usize = 5;
/// The largest `x` must be at least this many times the smallest.
pub const SMALLEST_SPAN: f64 = 4.0;

/// Exponents of the part above a floor that are searched.
const EXPONENTS: (f64, f64) = (0.05, 6.0);
/// Logarithms of `c / (a·xᵇ)` that are searched: from the first, at the smallest x, where the floor is not seen, to the second, at the
/// largest x, where the growth is not.
const FLOORS: (f64, f64) = (-14.0, 7.0);

/// Why no curve was fitted.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum FitError {
    /// An interval takes more points.
    #[error("too few points: {points}, and a fit with an interval takes {needed}")]
    TooFewPoints {
        /// Points given, those at the same `x` counted once.
        points: usize,
        /// Points needed.
        needed: usize,
    },
    /// All points are at nearly the same `x`.
    #[error(
        "the largest size is only {span:.3} times the smallest; a fit takes {SMALLEST_SPAN} times"
    )]
    NarrowRange {
        /// Largest `x` over smallest `x`.
        span: f64,
    },
    /// Logarithms are of positive numbers.
    #[error("({x}, {y}) is not a point of a power law: both must be positive and finite")]
    NotPositive {
        /// As given.
        x: f64,
        /// As given.
        y: f64,
    },
}

/// A number with an interval of 95 %. A bound is infinite where the data does not bound it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Best estimate.
    pub value: f64,
    /// Lower end; `None` in JSON when there is none.
    #[serde(with = "unbounded::low")]
    pub low: f64,
    /// Upper end; `None` in JSON when there is none.
    #[serde(with = "unbounded::high")]
    pub high: f64,
}

impl Interval {
    /// Both ends are finite.
    pub fn is_bounded(&self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }

    /// `value` lies in the interval.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// JSON has no infinities: an end that is not there is `null`.
mod unbounded {
    macro_rules! end {
        ($name:ident, $infinity:expr) => {
            pub mod $name {
                use serde::{Deserialize, Deserializer, Serialize, Serializer};

                pub fn serialize<S: Serializer>(
                    value: &f64,
                    serializer: S,
                ) -> Result<S::Ok, S::Error> {
                    value.is_finite().then_some(*value).serialize(serializer)
                }

                pub fn deserialize<'de, D: Deserializer<'de>>(
                    deserializer: D,
                ) -> Result<f64, D::Error> {
                    Ok(Option::deserialize(deserializer)?.unwrap_or($infinity))
                }
            }
        };
    }
    end!(low, f64::NEG_INFINITY);
    end!(high, f64::INFINITY);
}

/// The curve `y = floor + factor·x^exponent`, and how well it fits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// What `y` does not fall under, in the unit of `y`; 0 for a power law without a floor.
    pub floor: f64,
    /// In the unit of `y`, at `x = 1`.
    pub factor: f64,
    /// Of the part that grows.
    pub exponent: Interval,
    /// Share of the variance of `ln y` that the curve explains, at most 1.
    pub r_squared: f64,
    /// Points used.
    pub points: usize,
    /// Smallest and largest `x` used. Elsewhere the curve is a guess.
    pub range: (f64, f64),
}

impl Fit {
    /// The curve at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.floor + self.factor * x.powf(self.exponent.value)
    }

    /// The slope of the curve in a log-log plot at `x`: the exponent that somebody sees who measures around there.
    pub fn local_exponent(&self, x: f64) -> f64 {
        let grown = self.factor * x.powf(self.exponent.value);
        self.exponent.value * grown / (self.floor + grown)
    }
}

/// Fits a power law, with a floor where the points ask for one (the module says when). Points are `(x, y)`, in any order.
pub fn fit(points: &[(f64, f64)]) -> Result<Fit, FitError> {
    let logs = Logs::new(points, FEWEST_POINTS)?;
    let plain = logs.power_law();
    if logs.len() < FEWEST_POINTS_WITH_FLOOR || plain.fit.exponent.value <= 0.0 {
        return Ok(plain.fit);
    }
    let floored = logs.floored();
    let freedom = logs.len() as f64 - 3.0;
    let extra = (plain.squares - floored.squares) * freedom;
    let t = student(freedom);
    // Data without any error at all: a difference of squares that only rounding makes is no floor.
    let seen = plain.squares > logs.rounding();
    Ok(if seen && extra > t * t * floored.squares {
        floored.fit
    } else {
        plain.fit
    })
}

/// Fits `y = a·xᵇ`.
pub fn power_law(points: &[(f64, f64)]) -> Result<Fit, FitError> {
    Ok(Logs::new(points, FEWEST_POINTS)?.power_law().fit)
}

/// Fits `y = c + a·xᵇ` with `c ≥ 0` and `b > 0`.
pub fn floored(points: &[(f64, f64)]) -> Result<Fit, FitError> {
    Ok(Logs::new(points, FEWEST_POINTS_WITH_FLOOR)?.floored().fit)
}

/// The `x` from which on `falling_behind` is above `other`: where two curves cross, between `low` and `high`. `None` if they do not, or if
/// `falling_behind` is above from the beginning (then `low` itself is the answer, `Some(low)`).
pub fn crossing(falling_behind: &Fit, other: &Fit, low: f64, high: f64) -> Option<f64> {
    const STEPS: u32 = 400;
    let above = |log: f64| falling_behind.at(log.exp()) > other.at(log.exp());
    let (low, high) = (low.ln(), high.ln());
    if !low.is_finite() || !high.is_finite() || high < low || !above(high) {
        return None;
    }
    // The last change: curves with floors may cross twice.
    let step = (high - low) / f64::from(STEPS);
    let Some(last_below) = (0..=STEPS)
        .rev()
        .map(|i| low + step * f64::from(i))
        .find(|x| !above(*x))
    else {
        return Some(low.exp());
    };
    let (mut below, mut over) = (last_below, last_below + step);
    for _ in 0..60 {
        let middle = (below + over) / 2.0;
        if above(middle) {
            over = middle
        } else {
            below = middle
        }
    }
    Some(over.exp())
}

/// Student's t that 2.5 % lie above.
fn student(freedom: f64) -> f64 {
    let distribution =
        StudentsT::new(0.0, 1.0, freedom).expect("there is at least one degree of freedom");
    distribution.inverse_cdf(0.975)
}

/// A curve and its sum of squared relative errors.
struct Candidate {
    fit: Fit,
    squares: f64,
}

/// Logarithms of the points.
struct Logs {
    x: Vec<f64>,
    y: Vec<f64>,
    range: (f64, f64),
}

impl Logs {
    fn new(points: &[(f64, f64)], needed: usize) -> Result<Logs, FitError> {
        let good = |v: f64| v.is_finite() && v > 0.0;
        if let Some(&(x, y)) = points.iter().find(|(x, y)| !good(*x) || !good(*y)) {
            return Err(FitError::NotPositive { x, y });
        }
        let mut places: Vec<f64> = points.iter().map(|p| p.0).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        if places.len() < needed {
            return Err(FitError::TooFewPoints {
                points: places.len(),
                needed,
            });
        }
        let range = (places[0], places[places.len() - 1]);
        if range.1 / range.0 < SMALLEST_SPAN {
            return Err(FitError::NarrowRange {
                span: range.1 / range.0,
            });
        }
        Ok(Logs {
            x: points.iter().map(|p| p.0.ln()).collect(),
            y: points.iter().map(|p| p.1.ln()).collect(),
            range,
        })
    }

    fn len(&self) -> usize {
        self.x.len()
    }

    /// A sum of squares that rounding of the logarithms alone may leave.
    fn rounding(&self) -> f64 {
        let largest = self.y.iter().fold(1.0f64, |m, y| m.max(y.abs()));
        self.len() as f64 * (largest * 1e-12).powi(2)
    }

    fn power_law(&self) -> Candidate {
        let n = self.len() as f64;
        let (mx, my) = (mean(&self.x), mean(&self.y));
        let sxx: f64 = self.x.iter().map(|x| (x - mx).powi(2)).sum();
        let sxy: f64 = self
            .x
            .iter()
            .zip(&self.y)
            .map(|(x, y)| (x - mx) * (y - my))
            .sum();
        let slope = sxy / sxx;
        let intercept = my - slope * mx;
        let squares: f64 = self
            .x
            .iter()
            .zip(&self.y)
            .map(|(x, y)| (y - intercept - slope * x).powi(2))
            .sum();
        let half = student(n - 2.0) * (squares / (n - 2.0) / sxx).sqrt();
        let exponent = Interval {
            value: slope,
            low: slope - half,
            high: slope + half,
        };
        self.candidate(0.0, intercept.exp(), exponent, squares)
    }

    fn floored(&self) -> Candidate {
        const GRID: u32 = 60;
        let (low, high) = EXPONENTS;
        // Even steps of the logarithm: the difference between 0.1 and 0.2 matters as much as that between 2 and 4.
        let at = |i: f64| low * (high / low).powf(i / f64::from(GRID));
        let squares_at = |i: f64| self.best_floor(at(i)).1;
        let best = minimum(0.0, f64::from(GRID), GRID, &squares_at);
        let exponent = at(best);
        let (kappa, squares, log_factor) = self.best_floor(exponent);
        let freedom = self.len() as f64 - 3.0;
        let t = student(freedom);
        // Data without any error: the interval is what rounding leaves.
        let limit = squares.max(self.rounding()) * (1.0 + t * t / freedom);
        let interval = Interval {
            value: exponent,
            low: boundary(best, 0.0, limit, &squares_at).map_or(f64::NEG_INFINITY, at),
            high: boundary(best, f64::from(GRID), limit, &squares_at).map_or(f64::INFINITY, at),
        };
        let factor = log_factor.exp();
        self.candidate(factor * kappa, factor, interval, squares)
    }

    /// For `y = a·(κ + xᵇ)` with this `b`: the best `κ ≥ 0`, its sum of squares and `ln a`. For given `κ`, the best `ln a` is a mean.
    fn best_floor(&self, b: f64) -> (f64, f64, f64) {
        let powers: Vec<f64> = self.x.iter().map(|x| (b * x).exp()).collect();
        let residuals = |kappa: f64| {
            let of = |(power, y): (&f64, &f64)| y - (kappa + power).ln();
            let logs = || powers.iter().zip(&self.y).map(of);
            let log_factor = logs().sum::<f64>() / self.len() as f64;
            let squares = logs().map(|r| (r - log_factor).powi(2)).sum::<f64>();
            (squares, log_factor)
        };
        let low = b * self.range.0.ln() + FLOORS.0;
        let high = b * self.range.1.ln() + FLOORS.1;
        let best = minimum(low, high, 48, &|log| residuals(log.exp()).0);
        let (squares, log_factor) = residuals(best.exp());
        let (without, log_without) = residuals(0.0);
        if without <= squares {
            (0.0, without, log_without)
        } else {
            (best.exp(), squares, log_factor)
        }
    }

    fn candidate(&self, floor: f64, factor: f64, exponent: Interval, squares: f64) -> Candidate {
        let my = mean(&self.y);
        let total: f64 = self.y.iter().map(|y| (y - my).powi(2)).sum();
        let r_squared = if total > self.rounding() {
            1.0 - squares / total
        } else {
            0.0
        };
        Candidate {
            fit: Fit {
                floor,
                factor,
                exponent,
                r_squared,
                points: self.len(),
                range: self.range,
            },
            squares,
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Where a function of one hill at most between grid points is smallest: the best of a grid, refined by golden sections.
fn minimum(low: f64, high: f64, grid: u32, function: &dyn Fn(f64) -> f64) -> f64 {
    let step = (high - low) / f64::from(grid);
    let values: Vec<f64> = (0..=grid)
        .map(|i| function(low + step * f64::from(i)))
        .collect();
    let best = (0..values.len())
        .min_by(|i, j| values[*i].total_cmp(&values[*j]))
        .unwrap_or(0);
    let centre = low + step * best as f64;
    let (mut left, mut right) = ((centre - step).max(low), (centre + step).min(high));
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let (mut a, mut b) = (
        right - GOLDEN * (right - left),
        left + GOLDEN * (right - left),
    );
    let (mut fa, mut fb) = (function(a), function(b));
    for _ in 0..40 {
        if fa < fb {
            (right, b, fb) = (b, a, fa);
            a = right - GOLDEN * (right - left);
            fa = function(a);
        } else {
            (left, a, fa) = (a, b, fb);
            b = left + GOLDEN * (right - left);
            fb = function(b);
        }
    }
    if fa < fb { a } else { b }
}

/// The first place between `from` and `end` where the function exceeds `limit`; `None` if it does not.
fn boundary(from: f64, end: f64, limit: f64, function: &dyn Fn(f64) -> f64) -> Option<f64> {
    const STEPS: u32 = 40;
    let step = (end - from) / f64::from(STEPS);
    let first = (1..=STEPS)
        .map(|i| from + step * f64::from(i))
        .find(|x| function(*x) > limit)?;
    let (mut inside, mut outside) = (first - step, first);
    for _ in 0..40 {
        let middle = (inside + outside) / 2.0;
        if function(middle) > limit {
            outside = middle
        } else {
            inside = middle
        }
    }
    Some(inside)
}

#[cfg(test)]
mod tests;
