//! The choice of `T`: as few bits as the model's outputs allow.
//!
//! A proof's cost hardly depends on `T` where tables are small next to the neurons, but its columns of tables double with every
//! bit. So the default is tried first, and more bits only where the outputs on the calibration samples are too far off.

use zkinfer_circuits::program::MAX_RANGE_BITS;

use super::floats::FloatRuns;
use super::network::Levels;
use super::refine::{Candidate, refine};
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
/// Elements of the tensors of more samples that a model which meets the bound is judged by.
const ELEMENTS: usize = 1 << 21;

/// The model at the least `T` for which its outputs on calibration samples are close to the float model's, or at the best.
pub(super) fn automatic(
    graph: &Graph,
    stats: &Stats,
    calibration: &[Vec<Vec<f32>>],
    options: &QuantizeOptions,
) -> Result<QuantizedModel, QuantizeError> {
    let samples = some_of(calibration);
    let runs = FloatRuns::new(graph, &samples);
    let mut best: Option<Candidate> = None;
    let mut last: Option<Candidate> = None;
    let mut failure = None;
    for bits in DEFAULT_BITS..=MAX_RANGE_BITS {
        let candidate = match Candidate::new(&runs, stats, options, bits, Levels::new()) {
            Ok(candidate) => candidate,
            // Some operators need room for counts: more bits may do. If none do, what most of them fail by is the reason.
            Err(e) => {
                failure = Some(e);
                continue;
            }
        };
        let error = candidate.error;
        tracing::debug!(bits, error, "quantized");
        last = Some(candidate);
        if best.as_ref().is_none_or(|b| error < b.error * GAIN) {
            best = last.take();
        }
        let target = options.max_error.map_or(TARGET, |e| (e / 2.0).min(TARGET));
        if best.as_ref().is_some_and(|b| b.error <= target) {
            break;
        }
    }
    let goal = options.max_error.unwrap_or(GOAL);
    match (best, failure) {
        (Some(best), _) => {
            let least = refine(&runs, stats, options, best, goal);
            // What few bits cannot do, many that were no better at first may.
            let most = last.filter(|_| least.error > goal);
            let most = most.map(|m| refine(&runs, stats, options, m, goal));
            let found = match most {
                Some(most) if most.error < least.error * GAIN => most,
                _ => least,
            };
            Ok(confirmed(found, graph, stats, calibration, options, goal).model)
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
    let first = Candidate::new(&runs, stats, options, bits, Levels::new())?;
    let Some(goal) = options.max_error else {
        return Ok(first.model);
    };
    let refined = refine(&runs, stats, options, first, goal);
    Ok(confirmed(refined, graph, stats, calibration, options, goal).model)
}

/// A model that meets the bound on some samples, judged by more where those are cheap to run, and refined by them where they say
/// something else.
fn confirmed(
    found: Candidate,
    graph: &Graph,
    stats: &Stats,
    calibration: &[Vec<Vec<f32>>],
    options: &QuantizeOptions,
    goal: f64,
) -> Candidate {
    let elements: usize = graph.nodes.iter().map(|n| n.len()).sum();
    let count = (ELEMENTS / elements.max(1)).min(calibration.len());
    if found.error > goal || count <= SAMPLES || calibration.len() <= SAMPLES {
        return found;
    }
    let step = calibration.len().div_ceil(count);
    // Those that the model was not judged by first: they are what is measured if it has to be refined.
    let known = step_of(calibration);
    let chosen = (0..calibration.len()).step_by(step);
    let (known, new): (Vec<usize>, Vec<usize>) = chosen.partition(|i| i.is_multiple_of(known));
    let order = new.into_iter().chain(known);
    let samples: Vec<_> = order.map(|i| calibration[i].clone()).collect();
    let runs = FloatRuns::new(graph, &samples);
    let error = error(&runs, stats, &found.model);
    tracing::debug!(samples = samples.len(), error, "confirmed");
    let found = Candidate { error, ..found };
    refine(&runs, stats, options, found, goal)
}

/// Samples from all over the calibration, no more than are run in integers.
pub(super) fn some_of(calibration: &[Vec<Vec<f32>>]) -> Vec<Vec<Vec<f32>>> {
    calibration
        .iter()
        .step_by(step_of(calibration))
        .cloned()
        .collect()
}

/// Every which sample of a calibration is among [`some_of`] it.
fn step_of(calibration: &[Vec<Vec<f32>>]) -> usize {
    calibration.len().div_ceil(SAMPLES).max(1)
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
        let all = ratio(o.mean_error, scale(stats.tensor(id), o.range));
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

/// What the error of an output of this size is judged by, if its elements are in a range: an output that hardly varies is no scale.
pub(super) fn scale((low, high): (f64, f64), size: f64) -> f64 {
    (high - low).max(0.1 * size).min(size)
}
