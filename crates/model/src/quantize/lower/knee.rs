//! Functions by two tables: a fine one where the function is steep, a coarse one for the rest.
//!
//! A table over a wide range is coarse: `1/√x` on `[0.01, 1]` moves by more than a per cent per step at the lower end if its
//! argument has 12 bits. So the argument `v` is cut at a knee `c`. With the coarse step `s`,
//!
//! ```text
//! x = max(0, ⌊(v − c)/s + ½⌋),      w = v − s·x,      f(v) ≈ f(w) + (f(c + s·x) − f(c))
//! ```
//!
//! Below the knee `x = 0` and `w = v`; above, `w` stays within half a coarse step of `c`. So `w` has a short range and a fine step,
//! and both functions are tables. It costs two neurons instead of one. Error beyond the tables' own: above the knee `f(w) − f(c)`
//! stands for `f(v) − f(c + s·x)`, which is off by at most half a coarse step times the difference of slopes. The result is a
//! tensor of two planes. Functions that are steep at the upper end are mirrored.
//!
//! **Many orders of magnitude.** What multiplies whole rows (`1/√v` of a normalisation, `v` the variance) has to be right for its own
//! size, however small beside others: rows may be of very different size. A positive monotone function is cut so at several knees,
//! from the coarsest on, the rest each time by one cut more, and the parts are such that those of other knees add exactly nothing:
//! where `f` falls, `f(w) ≈ (f(w) − f(c)) + f(c + s·x)`, where it rises, `f(w) + (f(c + s·x) − f(c))`; a part ends, or begins, with the
//! integer zero. Units are powers of two, so that the sum is a whole number of the finest. An argument of two parts has `2T` bits, so
//! `v` may span as many. Error of each part: half a unit, `2⁻ᵀ` of the largest value of its own segment, and what half a step of its
//! argument moves it by.

use zkinfer_circuits::program::{Unit, ValueRef};

use super::activation::flat;
use super::{Acc, AccTerm, Act, Lowering, Plane};
use crate::graph::NodeId;
use crate::quantize::QuantizeError;

/// Largest change of a result from one argument to the next, over the range of results, that one table may have.
pub(super) const COARSE: f64 = 1.0 / 250.0;
/// A knee has to bring that down to this fraction.
const GAIN: f64 = 0.4;
/// Points at which a function is examined.
const POINTS: u32 = 512;

/// Largest change from one argument to the next, over the function's own value, where that is what matters.
pub(super) const RELATIVE: f64 = 1.0 / 1000.0;
/// The part of the range of results that small results need not be more precise than.
const BESIDE: f64 = 1.0 / 16.0;
/// Most cuts of one function.
const CUTS: usize = 3;

/// How a function is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Precision {
    /// Largest change that is good enough.
    pub coarsest: f64,
    /// Whether changes count over the function's own value, plus this, instead of over the range of results.
    pub relative: Option<f64>,
    /// How often the rest may be cut again.
    pub cuts: usize,
}

impl Precision {
    /// Changes over the range of results.
    pub fn absolute(coarsest: f64) -> Precision {
        Precision {
            coarsest,
            relative: None,
            cuts: 0,
        }
    }

    /// Changes over the function's own value, or over a part of the range of results where that is more.
    pub fn beside(results: f64) -> Precision {
        Precision {
            coarsest: RELATIVE,
            relative: Some(BESIDE * results),
            cuts: CUTS,
        }
    }

    /// Changes over the function's own value.
    pub fn relative() -> Precision {
        Precision {
            coarsest: RELATIVE,
            relative: Some(0.0),
            cuts: CUTS,
        }
    }
}

/// Whether a function is positive and monotone between two arguments.
pub(super) fn is_monotone(f: &dyn Fn(f64) -> f64, (from, to): (f64, f64)) -> bool {
    let at = |j: u32| f(from + (to - from) * f64::from(j) / f64::from(POINTS));
    let values: Vec<f64> = (0..=POINTS).map(at).collect();
    let falls = values.windows(2).all(|v| v[1] <= v[0]);
    let rises = values.windows(2).all(|v| v[1] >= v[0]);
    values.iter().all(|v| *v >= 0.0 && v.is_finite()) && (falls || rises)
}

/// Where a function is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Knee {
    /// The argument is negated first: steep at the upper end.
    mirrored: bool,
    /// Range of the (negated) argument.
    domain: (f64, f64),
    /// Where it is cut.
    at: f64,
}

/// Largest change of `f` from one argument to the next on `[from, to]`.
fn roughness(f: &dyn Fn(f64) -> f64, from: f64, to: f64, step: f64) -> f64 {
    let at = |j: u32| from + (to - from) * f64::from(j) / f64::from(POINTS);
    let change = |x: f64| (f(x + step / 2.0) - f(x - step / 2.0)).abs();
    let worst = |m: f64, c: f64| if c.is_nan() { f64::INFINITY } else { m.max(c) };
    (0..=POINTS).map(|j| change(at(j))).fold(0.0, worst)
}

/// The same over the function's own value plus `base`; all orders of magnitude between the ends count.
fn relative_roughness(f: &dyn Fn(f64) -> f64, (from, to): (f64, f64), step: f64, base: f64) -> f64 {
    let ratio = (to / from).max(1.0);
    let at = |j: u32| from * ratio.powf(f64::from(j) / f64::from(POINTS));
    let change = |x: f64| {
        let before = (x - step / 2.0).max(from / 2.0);
        (f(x + step / 2.0) - f(before)).abs() / (f(x).abs() + base)
    };
    let worst = |m: f64, c: f64| if c.is_nan() { f64::INFINITY } else { m.max(c) };
    (0..=POINTS).map(|j| change(at(j))).fold(0.0, worst)
}

/// The best knee, if one table over `domain` is too coarse for the arguments that were `seen` and two are much better.
/// `results` is the range of results, `top` the number of steps.
pub(super) fn find(
    f: &dyn Fn(f64) -> f64,
    domain: (f64, f64),
    seen: (f64, f64),
    results: f64,
    top: f64,
    precision: Precision,
) -> Option<Knee> {
    if let Some(base) = precision.relative {
        return find_relative(f, domain, seen, top, (precision, base));
    }
    let coarsest = precision.coarsest;
    let whole = (domain.1 - domain.0) / top;
    // Right at the ends a step leads beyond what was seen, where the function may be undefined.
    let seen = (seen.0.max(domain.0) + whole, seen.1.min(domain.1) - whole);
    let one = roughness(f, seen.0, seen.1, whole);
    if !one.is_finite() || one <= coarsest * results || seen.1 <= seen.0 {
        return None;
    }
    let mut best: Option<(f64, Knee)> = None;
    for mirrored in [false, true] {
        let g = |x: f64| f(if mirrored { -x } else { x });
        let flip = |r: (f64, f64)| if mirrored { (-r.1, -r.0) } else { r };
        let (domain, seen) = (flip(domain), flip(seen));
        for halvings in 1..=8 {
            let width = (domain.1 - domain.0) * 0.5f64.powi(halvings);
            let at = domain.0 + width;
            if at <= seen.0 || at >= seen.1 {
                continue;
            }
            let coarse = (domain.1 - at) / top;
            let fine = (width + coarse) / top;
            let above = roughness(&g, at, seen.1, coarse);
            let worst = roughness(&g, seen.0, at, fine).max(above);
            if worst < best.as_ref().map_or(one * GAIN, |b| b.0) {
                let knee = Knee {
                    mirrored,
                    domain,
                    at,
                };
                best = Some((worst, knee));
            }
        }
    }
    best.map(|b| b.1)
}

/// The same over the function's own value.
fn find_relative(
    f: &dyn Fn(f64) -> f64,
    domain: (f64, f64),
    seen: (f64, f64),
    top: f64,
    (precision, base): (Precision, f64),
) -> Option<Knee> {
    let seen = (seen.0.max(domain.0), seen.1.min(domain.1));
    // Near zero the function's own value does not matter beside the base.
    let least = if base > 0.0 {
        seen.1 / (top * top)
    } else {
        0.0
    };
    let seen = (seen.0.max(least), seen.1);
    if seen.0 <= 0.0 || seen.1 <= seen.0 {
        return None;
    }
    let one = relative_roughness(f, seen, (domain.1 - domain.0) / top, base);
    if !one.is_finite() || one <= precision.coarsest {
        return None;
    }
    // As good as all segments can be: each spans as many orders of magnitude as the others, of those that are more than the base.
    let segments = precision.cuts as f64 + 1.0;
    let ratio = seen.1 / seen.0;
    let at = |j: u32| seen.0 * ratio.powf(f64::from(j) / f64::from(POINTS));
    let matters = (0..POINTS).map(at).find(|&x| f(x).abs() > base);
    let even = (seen.1 / matters.unwrap_or(seen.1)).powf(1.0 / segments) / (2.0 * top);
    let enough = precision.coarsest.max(1.5 * even);
    let mut best: Option<(f64, Knee)> = None;
    for halvings in 1..=24 {
        let width = (domain.1 - domain.0) * 0.5f64.powi(halvings);
        let at = domain.0 + width;
        if at <= seen.0 || at >= seen.1 {
            continue;
        }
        let coarse = (domain.1 - at) / top;
        // What is left is at least nothing, whichever way the coarse part was rounded.
        if width < coarse {
            break;
        }
        // The rest may be cut again: the least width at which what is above is good enough, or else the best of both.
        let above = relative_roughness(f, (at, seen.1), coarse, base);
        let below = relative_roughness(f, (seen.0, at), (width + coarse) / top, base);
        let worst = match above <= enough {
            true => below,
            false => above.max(below),
        };
        let knee = Knee {
            mirrored: false,
            domain,
            at,
        };
        if worst < best.as_ref().map_or(one * GAIN, |b| b.0) {
            best = Some((worst, knee));
        }
    }
    best.map(|b| b.1)
}

/// A table's entries, and the real value of its integers: `low + unit · q`.
struct Entries {
    entries: Vec<u16>,
    low: f64,
    unit: f64,
}

/// `f` at `top + 1` arguments from `start` on, within `bounds`.
fn entries(f: &dyn Fn(f64) -> f64, start: f64, step: f64, top: f64, bounds: (f64, f64)) -> Entries {
    let mut last = bounds.0;
    let value = |q: u32| {
        let v = f(start + step * f64::from(q));
        last = if v.is_nan() {
            last
        } else {
            v.clamp(bounds.0, bounds.1)
        };
        last
    };
    let values: Vec<f64> = (0..=top as u32).map(value).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let unit = ((high - low) / top).max(low.abs().max(1.0) * 1e-9);
    let entry = |v: &f64| ((v - low) / unit).round().clamp(0.0, top) as u16;
    Entries {
        entries: values.iter().map(entry).collect(),
        low,
        unit,
    }
}

/// The same of what is zero or more, from zero on, in units of a power of two.
fn from_zero(f: &dyn Fn(f64) -> f64, start: f64, step: f64, top: f64, most: f64) -> Entries {
    let value = |q: u32| match f(start + step * f64::from(q)) {
        v if v.is_nan() => most,
        v => v.clamp(0.0, most),
    };
    let values: Vec<f64> = (0..=top as u32).map(value).collect();
    let high = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let unit = (high / top).log2().ceil().exp2();
    let entry = |v: &f64| (v / unit).round().min(top) as u16;
    Entries {
        entries: values.iter().map(entry).collect(),
        low: 0.0,
        unit,
    }
}

impl Lowering<'_> {
    /// Root of the sum of squares of what one step of everything that an accumulator reads makes of it.
    pub(super) fn noise(&self, acc: &Acc) -> f64 {
        let channel = |c: usize| {
            let term = |t: &AccTerm| {
                let row = &t.weights[c * t.inputs..(c + 1) * t.inputs];
                row.iter().map(|w| w * w).sum::<f64>() * self.network.roundings(acc, t)
            };
            acc.sums().map(term).sum::<f64>().sqrt()
        };
        (0..acc.channels()).map(channel).fold(0.0, f64::max)
    }

    /// `f` of an accumulator by two tables; `None` if the accumulator does not allow it.
    pub(super) fn two_tables(
        &mut self,
        id: NodeId,
        acc: &Acc,
        f: &dyn Fn(f64) -> f64,
        knee: Knee,
        (bounds, seen): ((f64, f64), (f64, f64)),
        precision: Precision,
    ) -> Result<Option<Act>, QuantizeError> {
        let sign = if knee.mirrored { -1.0 } else { 1.0 };
        let g = |x: f64| f(sign * x);
        let (top, count) = (self.network.top(), acc.channels());
        let mut acc = acc.clone();
        if knee.mirrored && !acc.affine(&[-1.0], &[0.0]) {
            return Ok(None);
        }
        // Only if the rest fits is anything added to the program.
        let len = acc.result_len();
        let probe = Act {
            planes: vec![Plane {
                value: ValueRef::new(0),
                scale: vec![1.0; len],
            }],
            offset: vec![0.0; len],
        };
        if !acc.covers() || self.fold(&acc, &probe).is_none() {
            return Ok(None);
        }
        let mut coarse = vec![(knee.domain.1 - knee.at) / top; count];
        self.network.settle(&acc, &mut coarse, true);
        self.network.deepen(&acc, &mut coarse, self.helper(id));
        let step = coarse[0];
        let at_knee = g(knee.at);
        let range = bounds.1 - bounds.0;
        let rest = |x: f64| g(x) - at_knee;
        let falls = g(knee.domain.1) < at_knee;
        let above = match precision.relative {
            None => entries(&rest, knee.at, step, top, (-range, range)),
            Some(_) if falls => from_zero(&g, knee.at, step, top, bounds.1),
            Some(_) => from_zero(&rest, knee.at, step, top, bounds.1),
        };
        let zero = vec![0.0; count];
        // Below the knee nothing is added: the first entry stands for zero.
        let nothing = match precision.relative {
            None => above.unit * above.entries.first().map_or(0.0, |&q| f64::from(q)),
            Some(_) => 0.0,
        };
        let tolerance = 2.0 * range / top;
        let saturate = self.network.saturate;
        let is_flat = flat(
            &g,
            knee.at + step * top,
            knee.domain.1 - knee.domain.0,
            tolerance,
        );
        let unit = Unit {
            window: 1,
            low: true,
            high: saturate || is_flat,
            tables: vec![self.network.table(above.entries)],
            deep: false,
        };
        let port = 1 + u32::from(unit.exposes_below());
        let origin = self.helper(id);
        let node = self
            .network
            .emit(&acc, unit, &coarse, knee.at, &zero, origin)?;
        self.network.saturates(false, saturate && !is_flat);
        let cut = (ValueRef { node, port: 0 }, vec![-step; count]);
        let cut = self.network.results(&acc, &[cut], &zero)?;
        if precision.relative.is_some() {
            self.network.exact.insert(ValueRef { node, port: 0 });
        }
        let Some(mut short) = self.fold(&acc, &cut) else {
            return Err(self.shape_error(id, "its argument cannot be cut in two"));
        };
        let reach = (knee.domain.0, knee.at + step);
        short.range.fill(reach);
        // What the part above the knee does not say: where the function falls, it says `f(c)`.
        let below_knee = |x: f64| match precision.relative {
            Some(_) if falls => (g(x) - at_knee).max(0.0),
            _ => g(x),
        };
        if let (Some(base), 1..) = (precision.relative, precision.cuts) {
            let again = Precision {
                relative: Some(if falls { base + at_knee } else { base }),
                cuts: precision.cuts - 1,
                ..precision
            };
            let inside = (seen.0, seen.1.min(knee.at));
            let next = find(&below_knee, reach, inside, range, top, again);
            let next = match next {
                Some(next) => {
                    self.two_tables(id, &short, &below_knee, next, (bounds, inside), again)?
                }
                None => None,
            };
            if let Some(act) = next {
                let port = (ValueRef { node, port }, vec![above.unit; count]);
                let above = self.network.results(&acc, &[port], &zero)?;
                let act = act.add(above);
                if precision.cuts == CUTS {
                    self.network.decode(&act);
                }
                return Ok(Some(act));
            }
        }
        let mut fine = vec![(reach.1 - reach.0) / top; count];
        self.network.settle(&short, &mut fine, true);
        self.network.deepen(&short, &mut fine, self.origin(id));
        let below = match precision.relative {
            None => entries(&g, reach.0, fine[0], top, bounds),
            Some(_) => from_zero(&below_knee, reach.0, fine[0], top, bounds.1),
        };
        let is_flat = flat(&g, reach.0, -(knee.domain.1 - knee.domain.0), tolerance);
        let unit = Unit {
            window: 1,
            low: saturate || is_flat,
            // What lies beyond was cut off; where that was clamped, too, something is left.
            high: saturate,
            tables: vec![self.network.table(below.entries)],
            deep: false,
        };
        let fine_port = 1 + u32::from(unit.exposes_below());
        let origin = self.origin(id);
        let fine_node = self
            .network
            .emit(&short, unit, &fine, reach.0, &zero, origin)?;
        self.network.saturates(saturate && !is_flat, saturate);
        let ports = [
            (
                ValueRef {
                    node: fine_node,
                    port: fine_port,
                },
                vec![below.unit; count],
            ),
            (ValueRef { node, port }, vec![above.unit; count]),
        ];
        let act = self
            .network
            .results(&acc, &ports, &vec![below.low - nothing; count])?;
        // A part of what was cut before stands for no tensor.
        if precision.relative.is_none() || precision.cuts == CUTS {
            self.network.decode(&act);
        }
        Ok(Some(act))
    }
}
