//! Calibration samples that stray: one value far from all others would take the range of a tensor for itself.
//!
//! With [`QuantizeOptions::saturate`](super::QuantizeOptions::saturate) ranges are those of the other samples, and what lies beyond
//! is clamped. Without, compilation names the sample if outputs are too far off.

use super::QuantizeError;
use crate::graph::{Graph, NodeId, Op};

/// A sample strays if it makes a tensor's range more than so many times as wide as all others do: a clamp reaches one width of the
/// range to either side.
const FAR: f64 = 3.0;
/// One in so many samples may stray, or one at least.
const ONE_IN: usize = 32;
/// Of fewer samples none is unlike the others.
const LEAST: usize = 4;

/// How many of so many samples may stray.
pub(super) fn allowed(samples: usize) -> usize {
    match samples {
        ..LEAST => 0,
        n => (n / ONE_IN).max(1),
    }
}

/// What a tensor's values are without those that stray, and as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub typical: (f32, f32),
    pub seen: (f32, f32),
}

/// A sample and a tensor in which it strays.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stray {
    pub sample: usize,
    pub node: NodeId,
    /// How many times as wide it makes the range.
    pub factor: f64,
}

/// Least and greatest value of every tensor, sample by sample: `[node][sample]`.
type Extremes = Vec<Vec<(f32, f32)>>;

/// Ranges of all tensors, where inputs are no further out than the samples that do not stray; and the samples with these inputs.
pub(super) fn ranges(
    graph: &Graph,
    samples: &[Vec<Vec<f32>>],
) -> Result<(Vec<Range>, Vec<Vec<Vec<f32>>>), QuantizeError> {
    let mut clamped = samples.to_vec();
    let mut of_inputs = Vec::new();
    for input in 0..graph.inputs.len() {
        let values = |s: &Vec<Vec<f32>>| s.get(input).map_or((0.0, 0.0), |v| extremes(v));
        let seen: Vec<(f32, f32)> = samples.iter().map(values).collect();
        let range = range(&seen).0;
        let tensors = clamped.iter_mut().filter_map(|s| s.get_mut(input));
        tensors.for_each(|tensor| clamp(tensor, range.typical));
        of_inputs.push(range);
    }
    let mut ranges: Vec<Range> = run(graph, &clamped)?.iter().map(|e| range(e).0).collect();
    for (&node, &range) in graph.inputs.iter().zip(&of_inputs) {
        ranges[node] = range;
    }
    Ok((ranges, clamped))
}

/// The sample that strays furthest, in the first tensor where it does.
pub(super) fn furthest(graph: &Graph, samples: &[Vec<Vec<f32>>]) -> Option<Stray> {
    let extremes = run(graph, samples).ok()?;
    let strays = extremes.iter().enumerate().flat_map(|(node, extremes)| {
        let found = range(extremes).1.into_iter();
        found.map(move |(sample, factor)| Stray {
            sample,
            node,
            factor,
        })
    });
    // Constants and what is far off only because an input is say less than the input.
    let mut strays: Vec<Stray> = strays.collect();
    if let Some(first) = strays.iter().position(|s| is_input(graph, s.node)) {
        strays.swap(0, first);
        strays.truncate(1);
    }
    let furthest = strays.iter().max_by(|a, b| a.factor.total_cmp(&b.factor))?;
    let of_sample = |s: &&Stray| s.sample == furthest.sample;
    strays.iter().find(of_sample).cloned()
}

fn is_input(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.nodes[node].op, Op::Input)
}

fn run(graph: &Graph, samples: &[Vec<Vec<f32>>]) -> Result<Extremes, QuantizeError> {
    let mut all: Extremes = vec![Vec::with_capacity(samples.len()); graph.nodes.len()];
    for (sample, inputs) in samples.iter().enumerate() {
        let values = graph.run(inputs).map_err(|e| QuantizeError::Calibration {
            sample,
            reason: e.to_string(),
        })?;
        for (all, values) in all.iter_mut().zip(&values) {
            all.push(extremes(values));
        }
    }
    Ok(all)
}

fn extremes(values: &[f32]) -> (f32, f32) {
    let join = |(low, high): (f32, f32), &v: &f32| (low.min(v), high.max(v));
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), join)
}

/// Clamps what is a number; others are told by what reads them.
pub(super) fn clamp(values: &mut [f32], (low, high): (f32, f32)) {
    if low <= high {
        values.iter_mut().for_each(|v| *v = v.clamp(low, high));
    }
}

/// The samples that stray, by the least and the greatest value of each.
pub(super) fn of(extremes: &[(f32, f32)]) -> Vec<usize> {
    range(extremes).1.into_iter().map(|s| s.0).collect()
}

/// A tensor's range, and the samples that stray with how many times as wide they make it.
fn range(extremes: &[(f32, f32)]) -> (Range, Vec<(usize, f64)>) {
    let union = |skip: &dyn Fn(usize) -> bool| {
        let kept = extremes.iter().enumerate().filter(|(i, _)| !skip(*i));
        kept.fold((f32::INFINITY, f32::NEG_INFINITY), |r, (_, e)| {
            (r.0.min(e.0), r.1.max(e.1))
        })
    };
    let width = |r: (f32, f32)| f64::from(r.1) - f64::from(r.0);
    let seen = union(&|_| false);
    let mut typical = seen;
    let mut strays: Vec<(usize, f64)> = Vec::new();
    for _ in 0..allowed(extremes.len()) {
        let gone = |i: usize| strays.iter().any(|s| s.0 == i);
        let kept = || (0..extremes.len()).filter(|&i| !gone(i));
        let ends = [
            kept().min_by(|&a, &b| extremes[a].0.total_cmp(&extremes[b].0)),
            kept().max_by(|&a, &b| extremes[a].1.total_cmp(&extremes[b].1)),
        ];
        let without = |i: usize| (i, union(&|j| j == i || gone(j)));
        let least = ends.into_iter().flatten().map(without);
        let Some((sample, rest)) = least.min_by(|a, b| width(a.1).total_cmp(&width(b.1))) else {
            break;
        };
        let factor = width(typical) / width(rest);
        // What is always the same but once is not known to stray.
        if !(width(rest) > 0.0 && factor > FAR && factor.is_finite()) {
            break;
        }
        strays.push((sample, factor));
        typical = rest;
    }
    (Range { typical, seen }, strays)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typical(extremes: &[(f32, f32)]) -> ((f32, f32), Vec<usize>) {
        let (range, strays) = range(extremes);
        (range.typical, strays.into_iter().map(|s| s.0).collect())
    }

    #[test]
    fn one_sample_that_is_far_off_is_left_out() {
        let mut samples = vec![(-1.0, 1.0); 10];
        samples[3] = (-0.5, 1.2);
        assert_eq!(typical(&samples), ((-1.0, 1.2), vec![]));
        samples[7] = (-1.0, 90.0);
        assert_eq!(typical(&samples), ((-1.0, 1.2), vec![7]));
        samples[7] = (-90.0, -0.5);
        assert_eq!(typical(&samples), ((-1.0, 1.2), vec![7]));
        // A second one is how they are.
        samples[2] = (-70.0, 0.0);
        assert_eq!(typical(&samples), ((-90.0, 1.2), vec![]));
    }

    #[test]
    fn few_samples_and_silent_tensors_say_nothing() {
        assert!(typical(&[(0.0, 1.0), (0.0, 1.0), (0.0, 9.0)]).1.is_empty());
        let mut silent = vec![(0.0, 0.0); 10];
        silent[4] = (0.0, 1.0);
        assert_eq!(typical(&silent), ((0.0, 1.0), vec![]));
    }

    #[test]
    fn as_many_as_are_allowed_are_left_out() {
        let mut samples = vec![(0.0, 1.0); 64];
        samples[5] = (0.0, 1000.0);
        samples[6] = (-50.0, 1.0);
        assert_eq!(typical(&samples), ((0.0, 1.0), vec![5, 6]));
        samples[7] = (0.0, 20.0);
        assert_eq!(typical(&samples).1, vec![5, 6]);
        assert_eq!((allowed(3), allowed(8), allowed(64)), (0, 1, 2));
    }
}
