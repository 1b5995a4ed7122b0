//! Calibration: what values the float model takes.

use super::QuantizeError;
use crate::graph::{Activation, Graph, NodeId, Op};

/// Extremes of every element of every tensor over all samples.
pub(super) struct Stats {
    pub low: Vec<Vec<f32>>,
    pub high: Vec<Vec<f32>>,
    /// For every maximum, per result: the largest difference of a window's result and its candidates (clamped at zero first
    /// or not), measured before a ReLU that directly precedes the maximum.
    pub spread: Vec<Vec<(f32, f32)>>,
}

impl Stats {
    pub fn collect(graph: &Graph, samples: &[Vec<Vec<f32>>]) -> Result<Stats, QuantizeError> {
        if samples.is_empty() {
            return Err(QuantizeError::NoCalibration);
        }
        let n = graph.nodes.len();
        let mut stats = Stats { low: vec![Vec::new(); n], high: vec![Vec::new(); n], spread: vec![Vec::new(); n] };
        let windows = graph.nodes.iter().map(|node| match &node.op {
            Op::Max { windows, window } => {
                let len = graph.nodes.get(*node.inputs.first()?)?.len();
                Some((windows.indices(len).ok()?, *window))
            }
            _ => None,
        });
        let windows: Vec<_> = windows.collect();
        for (number, sample) in samples.iter().enumerate() {
            let values = graph.run(sample).map_err(|e| QuantizeError::Calibration { sample: number, reason: e.to_string() })?;
            for (id, v) in values.iter().enumerate() {
                if let Some(index) = v.iter().position(|x| !x.is_finite()) {
                    let layer = graph.nodes[id].name.clone();
                    return Err(QuantizeError::NotFinite { layer, index, value: f64::from(v[index]) });
                }
                merge(&mut stats.low[id], v, f32::min);
                merge(&mut stats.high[id], v, f32::max);
                if let Some((indices, window)) = &windows[id] {
                    spread(&mut stats.spread[id], &values[before_relu(graph, id)], indices, *window);
                }
            }
        }
        Ok(stats)
    }

    /// Range of one element.
    pub fn element(&self, id: NodeId, element: usize) -> (f64, f64) {
        let at = |v: &[Vec<f32>]| v.get(id).and_then(|v| v.get(element)).map_or(0.0, |&v| f64::from(v));
        (at(&self.low), at(&self.high))
    }

    /// Range of the whole tensor.
    pub fn tensor(&self, id: NodeId) -> (f64, f64) {
        let low = self.low.get(id).map_or(0.0, |v| v.iter().fold(f64::INFINITY, |a, &b| a.min(f64::from(b))));
        let high = self.high.get(id).map_or(0.0, |v| v.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(f64::from(b))));
        (low, high)
    }
}

/// The tensor that the windows of a maximum read, before a ReLU that directly precedes it.
fn before_relu(graph: &Graph, max: NodeId) -> NodeId {
    let source = graph.nodes[max].inputs[0];
    match (&graph.nodes[source].op, graph.nodes[source].inputs.first()) {
        (Op::Activation(Activation::Relu), Some(&input)) => input,
        _ => source,
    }
}

fn merge(into: &mut Vec<f32>, values: &[f32], pick: fn(f32, f32) -> f32) {
    if into.is_empty() {
        into.extend_from_slice(values);
    } else {
        into.iter_mut().zip(values).for_each(|(a, &b)| *a = pick(*a, b));
    }
}

fn spread(into: &mut Vec<(f32, f32)>, values: &[f32], indices: &[Option<usize>], window: usize) {
    let results = indices.chunks(window.max(1));
    into.resize(results.len(), (0.0, 0.0));
    for (slot, candidates) in into.iter_mut().zip(results) {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for v in candidates.iter().flatten().filter_map(|&i| values.get(i)) {
            low = low.min(*v);
            high = high.max(*v);
        }
        if low <= high {
            *slot = (slot.0.max(high - low), slot.1.max(high.max(0.0) - low));
        }
    }
}
