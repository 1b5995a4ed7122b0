//! Float runs of samples, which integer models are compared with.

use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use crate::graph::{Graph, GraphError};

/// Bytes of values that are kept for the next model that is compared.
const KEPT: usize = 512 << 20;

/// Samples, and what the float model makes of them: kept as long as there is room, because one model after the other is compared
/// with them.
pub(super) struct FloatRuns<'a> {
    graph: &'a Graph,
    samples: &'a [Vec<Vec<f32>>],
    /// Of the first samples.
    kept: Vec<OnceLock<Vec<Vec<f32>>>>,
}

impl<'a> FloatRuns<'a> {
    /// For several comparisons.
    pub fn new(graph: &'a Graph, samples: &'a [Vec<Vec<f32>>]) -> Self {
        let each: usize = graph.nodes.iter().map(|n| size_of::<f32>() * n.len()).sum();
        let kept = samples.len().min(KEPT / each.max(1));
        FloatRuns {
            kept: (0..kept).map(|_| OnceLock::new()).collect(),
            ..FloatRuns::once(graph, samples)
        }
    }

    /// For one comparison.
    pub fn once(graph: &'a Graph, samples: &'a [Vec<Vec<f32>>]) -> Self {
        FloatRuns {
            graph,
            samples,
            kept: Vec::new(),
        }
    }

    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    pub fn samples(&self) -> &'a [Vec<Vec<f32>>] {
        self.samples
    }

    /// The values of all nodes for a sample.
    pub fn values(&self, sample: usize) -> Result<Cow<'_, [Vec<f32>]>, GraphError> {
        let run = || self.graph.run(&self.samples[sample]);
        let Some(kept) = self.kept.get(sample) else {
            return Ok(Cow::Owned(run()?));
        };
        if let Some(values) = kept.get() {
            return Ok(Cow::Borrowed(values));
        }
        let values = run()?;
        Ok(Cow::Borrowed(kept.get_or_init(|| values)))
    }

    /// What `of` says of every sample, in order: some at a time, side by side.
    pub fn each<T: Send, E>(
        &self,
        of: impl Fn(usize) -> T + Sync,
        mut visit: impl FnMut(usize, T) -> Result<(), E>,
    ) -> Result<(), E> {
        side_by_side(0..self.samples.len(), of, &mut visit)
    }
}

/// What `of` says of every number, in order; as many at a time as there are threads.
pub(super) fn side_by_side<T: Send, E>(
    numbers: Range<usize>,
    of: impl Fn(usize) -> T + Sync,
    visit: &mut impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = rayon::current_num_threads().max(1);
    for first in numbers.clone().step_by(threads) {
        let some = first..numbers.end.min(first + threads);
        let found: Vec<T> = some.clone().into_par_iter().map(&of).collect();
        for (number, found) in some.zip(found) {
            visit(number, found)?;
        }
    }
    Ok(())
}
