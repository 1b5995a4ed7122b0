//! Answers that differ because an input is as close to a threshold as its integer is coarse: a rounding, a comparison or a
//! class jumps there. An integer stands for all reals that round to it, so what the float model makes of these is right. So is
//! the place of a number that is as large as the largest, as far as errors that are accepted can tell: what compilation counts as
//! a tie.

use std::path::Path;

use zkinfer::data::Arrays;
use zkinfer::graph::Graph;
use zkinfer::onnx::ImportOptions;
use zkinfer::quantize::evaluate;
use zkinfer::{QuantizedModel, Secret};

use crate::Failure;
use crate::compare::{Output, reals};
use crate::moved::{Sample, moved};

/// Largest error of an output beyond its range, over its largest magnitude.
const TOLERANCE: f64 = 0.03;

/// A case's float and integer model, and its samples.
pub struct Ties {
    graph: Graph,
    model: QuantizedModel,
    samples: Vec<Sample>,
    /// See [`tied`].
    tied: Vec<bool>,
}

impl Ties {
    /// The models of a case that was compiled to a file.
    pub fn of(folder: &Path, compiled: &Path) -> Result<Ties, Failure> {
        let shapes = Arrays::load(folder.join("data.npz"))?.shapes();
        let options = ImportOptions {
            samples: shapes,
            ..ImportOptions::default()
        };
        let graph = Graph::import_file(folder.join("model.onnx"), &options)?.graph;
        let tests = Arrays::load(folder.join("test.npz"))?;
        let samples = tests.samples(&graph.input_forms(), &graph.output_forms())?;
        let bytes = std::fs::read(compiled)?;
        let secret = Secret::from_bytes(&bytes, bytes.len())?;
        let model = secret.segments()[0].model().clone();
        Ok(Ties {
            tied: tied(&graph, &model, &samples.inputs),
            graph,
            model,
            samples: samples.inputs,
        })
    }

    /// Whether the float model says what is expected, and an answer is what it says of some inputs that round to the same
    /// integers.
    pub fn explain(&self, expected: &[Output], sample: usize, answer: &serde_json::Value) -> bool {
        let Some(inputs) = self.samples.get(sample) else {
            return false;
        };
        let Ok(values) = self.graph.run(inputs) else {
            return false;
        };
        let floats = self.graph.outputs_of(&values);
        if !expected
            .iter()
            .zip(&floats)
            .all(|(want, got)| close(want, sample, got))
        {
            return false;
        }
        let (least, largest) = moved(&self.graph, &self.model, inputs, &floats);
        least
            .iter()
            .zip(&largest)
            .enumerate()
            .all(|(k, (least, largest))| {
                let got = reals(&answer["output"][k]);
                let size = least
                    .iter()
                    .chain(largest)
                    .fold(0.0f32, |m, v| m.max(v.abs()));
                let room = TOLERANCE * f64::from(size);
                let within = |(g, (low, high)): (&f64, (&f32, &f32))| {
                    (f64::from(*low) - room..=f64::from(*high) + room).contains(g)
                };
                self.tied[k]
                    || got.len() == least.len()
                        && got.iter().zip(least.iter().zip(largest)).all(within)
            })
    }
}

/// For every output, whether it names something, and every sample for which that is something else could as well be named so.
fn tied(graph: &Graph, model: &QuantizedModel, samples: &[Sample]) -> Vec<bool> {
    let report = evaluate(graph, model, samples, &[]);
    let changed = |at: usize| Some(report.as_ref().ok()?.outputs.get(at)?.changed);
    let tied = |at: usize| graph.output_tensor(at).integers && changed(at) == Some(0);
    (0..graph.outputs.len()).map(tied).collect()
}

/// Whether a float output of a sample is the expected one; texts have no number to compare.
fn close(want: &Output, sample: usize, got: &[f32]) -> bool {
    let Output::Numbers(want) = want else {
        return true;
    };
    let size = want.values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let own = want.values.iter().skip(sample * got.len()).take(got.len());
    let near = |(w, g): (&f32, &f32)| f64::from((w - g).abs()) <= TOLERANCE * f64::from(size);
    own.len() == got.len() && own.zip(got).all(near)
}
