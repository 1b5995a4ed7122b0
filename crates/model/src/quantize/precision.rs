//! The choice of `T`: as few bits as the model's outputs allow.
//!
//! A proof's cost hardly depends on `T` where tables are small next to the neurons, but its columns of tables double with every
//! bit. So the default is tried first, and more bits only where the outputs on the calibration samples are too far off.

use zkinfer_circuits::program::MAX_RANGE_BITS;

use super::correction::correct;
use super::floats::FloatRuns;
use super::lower::lower;
use super::network::Levels;
use super::refine::refine;
use super::report::{OutputReport, compare};
use super::stats::Stats;
use super::{QuantizeError, QuantizeOptions};
use crate::graph::Graph;
use crate::model::QuantizedModel;
use crate::progress;

/// The default, and the least that is tried.
pub(super) const DEFAULT_BITS: u32 = 12;
/// Mean error of an output, over its range, that is good enough: a fifth of what is commonly tolerated.
const TARGET: f64 = 0.001;
/// Mean error beyond which operations are computed with more bits.
const GOAL: f64 = 0.002;
/// More bits are taken only if they leave at most this fraction of the error.
const GAIN: f64 = 0.8;
/// Calibration samples that are run in integers.
const SAMPLES: usize = 16;

/// The model at the least `T` for which its outputs on calibration samples are close to the float model's, or at the best.
pub(super) fn automatic(
    graph: &Graph,
    stats: &Stats,
    calibration: &[Vec<Vec<f32>>],
    options: &QuantizeOptions,
) -> Result<QuantizedModel, QuantizeError> {
    let samples = some_of(calibration);
    let runs = FloatRuns::new(graph, &samples);
    let mut best: Option<(f64, QuantizedModel)> = None;
    let mut last: Option<(f64, QuantizedModel)> = None;
    let mut failure = None;
    for bits in DEFAULT_BITS..=MAX_RANGE_BITS {
        let mut model = match lower(graph, stats, options, bits, &Levels::new()) {
            Ok(model) => model,
            // Some operators need room for counts: more bits may do. If none do, what most of them fail by is the reason.
            Err(e) => {
                failure = Some(e);
                continue;
            }
        };
        correct(&runs, &mut model);
        let error = error(&runs, stats, &model);
        tracing::debug!(bits, error, "quantized");
        last = Some((error, model));
        if best.as_ref().is_none_or(|b| error < b.0 * GAIN) {
            best = last.take();
        }
        let target = options.max_error.map_or(TARGET, |e| (e / 2.0).min(TARGET));
        if best.as_ref().is_some_and(|b| b.0 <= target) {
            break;
        }
    }
    let goal = options.max_error.unwrap_or(GOAL);
    match (best, failure) {
        (Some(best), _) => {
            let least = refine(&runs, stats, options, best, goal);
            // What few bits cannot do, many that were no better at first may.
            let most = last.filter(|_| least.0 > goal);
            let most = most.map(|m| refine(&runs, stats, options, m, goal));
            Ok(match most {
                Some(most) if most.0 < least.0 * GAIN => most.1,
                _ => least.1,
            })
        }
        (None, Some(e)) => Err(e),
        (None, None) => Err(QuantizeError::NoCalibration),
    }
}

/// The model at a given `T`.
pub(super) fn fixed(
    graph: &Graph,
    stats: &Stats,
    calibration: &[Vec<Vec<f32>>],
    options: &QuantizeOptions,
    bits: u32,
) -> Result<QuantizedModel, QuantizeError> {
    let samples = some_of(calibration);
    let runs = FloatRuns::new(graph, &samples);
    let mut model = lower(graph, stats, options, bits, &Levels::new())?;
    correct(&runs, &mut model);
    let Some(goal) = options.max_error else {
        return Ok(model);
    };
    let first = error(&runs, stats, &model);
    let refined = refine(&runs, stats, options, (first, model), goal);
    Ok(refined.1)
}

/// Samples from all over the calibration, no more than are run in integers.
pub(super) fn some_of(calibration: &[Vec<Vec<f32>>]) -> Vec<Vec<Vec<f32>>> {
    let step = calibration.len().div_ceil(SAMPLES).max(1);
    calibration.iter().step_by(step).cloned().collect()
}

/// Largest mean error of an output, over its magnitude or its spread, whichever is less: prices around a thousand that differ by
/// ten are told apart. A sample that cannot be run is wrong altogether.
pub(super) fn error(runs: &FloatRuns<'_>, stats: &Stats, model: &QuantizedModel) -> f64 {
    let Ok(report) = compare(runs, model, &[], &mut progress::silent) else {
        return f64::INFINITY;
    };
    if let Some((sample, reason)) = report.out_of_range.first() {
        let samples = report.out_of_range.len();
        tracing::debug!(samples, sample, %reason, "out of range");
    }
    let missing = report.out_of_range.len() as f64 / runs.samples().len().max(1) as f64;
    let ratio = |error: f64, scale: f64| match error / scale {
        _ if error == 0.0 => 0.0,
        e if e.is_nan() => f64::INFINITY,
        e => e,
    };
    let relative = |(o, &id): (&OutputReport, &usize)| {
        let (low, high) = stats.tensor(id);
        // An output that hardly varies is no scale.
        let spread = (high - low).max(0.1 * o.range);
        let all = ratio(o.mean_error, spread.min(o.range));
        let column = o
            .column
            .as_ref()
            .map_or(0.0, |c| ratio(c.mean_error, c.scale));
        all.max(column)
    };
    let errors = report
        .outputs
        .iter()
        .zip(&runs.graph().outputs)
        .map(relative);
    missing + errors.fold(0.0, f64::max)
}
