//! Quantization whose result may be relied on: what the samples show of it is judged.

use thiserror::Error;

use super::report::{EvaluateError, OutputReport, Report, evaluate_with_progress};
use super::{QuantizeError, QuantizeOptions, quantize_with_progress, strays};
use crate::data::Samples;
use crate::graph::Graph;
use crate::model::QuantizedModel;
use crate::progress::{self, Progress, Stage, part, tell};

/// Largest mean error of an output, over its scale.
const ERROR: f64 = 0.01;
/// Largest part of the samples whose class may be another.
const CHANGED: f64 = 0.01;
/// Stored outputs: largest mean difference over the scale, and the largest part of the elements that may be further off than
/// twice that.
const STORED: f64 = 0.01;

/// How far compilation is when stored outputs were compared, and when the model is quantized.
const COMPARED: f64 = 0.15;
const QUANTIZED: f64 = 0.6;

/// A quantized model, and how close it is to the float model on the samples that it was made from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compiled {
    /// The model.
    pub model: QuantizedModel,
    /// Float against integers on all samples.
    pub report: Report,
    /// What speaks against the model; empty unless [`QuantizeOptions::allow_error`] is set.
    pub doubts: Vec<Doubt>,
}

/// Why a quantized model should not be relied on.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Doubt {
    /// The imported float model does not compute the outputs that are stored with the samples.
    #[error(
        "output {output:?} of the imported model is not what is stored with the samples: it differs by {difference:.3e} on \
         average, its scale is {scale:.3e}, the limit is 1 % of that. The stored outputs are another model's, or an operator \
         is computed in another way than the model means"
    )]
    Stored {
        /// The output.
        output: String,
        /// Mean absolute difference.
        difference: f64,
        /// Largest magnitude, or spread.
        scale: f64,
    },
    /// Stored outputs of another length than the model's.
    #[error("output {output:?} has {expected} elements, {found} are stored with the samples")]
    StoredLength {
        /// The output.
        output: String,
        /// Elements of the model's output.
        expected: usize,
        /// Elements that are stored.
        found: usize,
    },
    /// An output is too far from the float model's.
    #[error(
        "output {output:?}{}: the mean error is {error:.3e}, which is {} % of its scale {scale:.3e}; the limit is {} %. It \
         arises in layer {layer:?}, with {} % of that layer's scale",
        of_column(*column), percent(error / scale), percent(*limit), percent(*layer_error)
    )]
    Error {
        /// The output.
        output: String,
        /// Its column, where that has a unit of its own.
        column: Option<usize>,
        /// Mean absolute error.
        error: f64,
        /// Largest magnitude, or spread.
        scale: f64,
        /// The layer where the error arises.
        layer: String,
        /// Error of that layer over its largest magnitude.
        layer_error: f64,
        /// Largest error over the scale.
        limit: f64,
    },
    /// The class is another one.
    #[error(
        "output {output:?} names another class (or other whole numbers) than the float model on {changed} of {samples} \
         samples, ties aside; the limit is 1 %. The error arises in layer {layer:?}, with {:.1} % of that layer's scale",
        100.0 * layer_error
    )]
    Class {
        /// The output.
        output: String,
        /// Samples whose class is another.
        changed: usize,
        /// All samples.
        samples: usize,
        /// The layer where the error arises.
        layer: String,
        /// Error of that layer over its largest magnitude.
        layer_error: f64,
    },
    /// Samples that the model was made from cannot be proven.
    #[error(
        "{count} of {samples} calibration samples cannot be proven; the first is {first}: {reason}"
    )]
    Unprovable {
        /// How many.
        count: usize,
        /// All samples.
        samples: usize,
        /// The first of them.
        first: usize,
        /// Why not.
        reason: String,
    },
    /// One calibration sample takes the range of a tensor for itself, which may be why outputs are too far off.
    #[error(
        "calibration sample {sample} makes the range of layer {layer:?} {factor:.0} times as wide as all others do, which costs \
         them their precision"
    )]
    Stray {
        /// The sample.
        sample: usize,
        /// The first layer, or input, that it is far out of range in.
        layer: String,
        /// How many times as wide it makes the range.
        factor: f64,
    },
}

/// A part in per cent, with as many digits as it takes.
fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    match percent {
        p if p >= 0.95 || p == 0.0 => format!("{:.1}", p).trim_end_matches(".0").to_owned(),
        p => format!("{p:.2}"),
    }
}

fn of_column(column: Option<usize>) -> String {
    column.map_or(String::new(), |c| format!(", column {c}"))
}

/// Why a model cannot be compiled.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// It cannot be compared with the float model.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// It should not be relied on.
    #[error("{}", list(.0))]
    Doubtful(Vec<Doubt>),
}

fn list(doubts: &[Doubt]) -> String {
    let doubts: Vec<String> = doubts.iter().map(ToString::to_string).collect();
    doubts.join("; ")
}

impl Graph {
    /// Quantizes the model, runs all samples in integers, and refuses what nobody would accept: outputs that are too far from
    /// the float model's, other classes, samples that cannot be proven, and a float model that does not compute the outputs
    /// that are stored with the samples. See [`Doubt`]; [`QuantizeOptions::allow_error`] takes it anyway.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub fn compile(
        &self,
        samples: &Samples,
        options: &QuantizeOptions,
    ) -> Result<Compiled, CompileError> {
        self.compile_with_progress(samples, options, &mut progress::silent)
    }

    /// [`Graph::compile`], with [progress] after every sample.
    ///
    /// # Errors
    /// As [`Graph::compile`], and if it is stopped.
    pub fn compile_with_progress(
        &self,
        samples: &Samples,
        options: &QuantizeOptions,
        progress: &mut Progress<'_>,
    ) -> Result<Compiled, CompileError> {
        let compared = samples.outputs.as_ref().map_or(0.0, |_| COMPARED);
        let mut doubts = self.compare_stored(samples, &mut part(progress, 0.0, compared))?;
        if !doubts.is_empty() && !options.allow_error {
            // Before the time that the rest takes.
            return Err(CompileError::Doubtful(doubts));
        }
        let inputs = &samples.inputs;
        let model = quantize_with_progress(
            self,
            inputs,
            options,
            &mut part(progress, compared, QUANTIZED),
        )?;
        let labels = samples.labels.iter().flatten();
        let labels: Option<Vec<usize>> = labels.map(|&v| usize::try_from(v).ok()).collect();
        let labels = labels.unwrap_or_default();
        let rest = &mut part(progress, QUANTIZED, 1.0);
        let report = evaluate_with_progress(self, &model, inputs, &labels, rest)?;
        doubts.extend(report.doubts_beyond(options.max_error.unwrap_or(ERROR)));
        match options.saturate {
            true if report.strays_in_inputs() => {
                doubts.retain(|d| !matches!(d, Doubt::Unprovable { .. }));
            }
            true => {}
            false => doubts.extend(self.stray(inputs, &doubts)),
        }
        match doubts.is_empty() || options.allow_error {
            true => Ok(Compiled {
                model,
                report,
                doubts,
            }),
            false => Err(CompileError::Doubtful(doubts)),
        }
    }

    /// The sample that may be why outputs are too far off.
    fn stray(&self, inputs: &[Vec<Vec<f32>>], doubts: &[Doubt]) -> Option<Doubt> {
        let far = |d: &Doubt| matches!(d, Doubt::Error { .. } | Doubt::Class { .. });
        doubts.iter().find(|d| far(d))?;
        let stray = strays::furthest(self, inputs)?;
        Some(Doubt::Stray {
            sample: stray.sample,
            layer: self.nodes[stray.node].name.clone(),
            factor: stray.factor,
        })
    }

    /// The float model against stored outputs.
    fn compare_stored(
        &self,
        samples: &Samples,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Doubt>, CompileError> {
        let Some(stored) = &samples.outputs else {
            return Ok(Vec::new());
        };
        let mut seen = vec![Seen::default(); self.outputs.len()];
        for (sample, (x, wanted)) in samples.inputs.iter().zip(stored).enumerate() {
            let done = sample as f64 / samples.inputs.len() as f64;
            tell(progress, Stage::Calibrate, done).map_err(EvaluateError::from)?;
            let values = self
                .run(x)
                .map_err(|source| EvaluateError::Float { sample, source })?;
            let given = self.outputs_of(&values);
            for (at, (want, got)) in wanted.iter().zip(&given).enumerate() {
                if want.is_empty() {
                    continue;
                }
                if want.len() != got.len() {
                    return Ok(vec![Doubt::StoredLength {
                        output: self.output_tensor(at).name,
                        expected: got.len(),
                        found: want.len(),
                    }]);
                }
                seen[at].add(got, want);
            }
        }
        let wrong = seen.iter().enumerate().filter(|(at, s)| {
            let integers = self.output_tensor(*at).integers;
            s.is_wrong(integers)
        });
        let doubt = |(at, seen): (usize, &Seen)| Doubt::Stored {
            output: self.output_tensor(at).name,
            difference: seen.mean(),
            scale: seen.scale(),
        };
        Ok(wrong.map(doubt).collect())
    }
}

/// An output against what is stored.
#[derive(Clone, Debug, Default)]
struct Seen {
    pairs: Vec<(f32, f32)>,
}

impl Seen {
    fn add(&mut self, got: &[f32], want: &[f32]) {
        let finite = got.iter().copied().zip(want.iter().copied());
        self.pairs.extend(finite);
    }

    fn mean(&self) -> f64 {
        let off = self.pairs.iter().map(|(g, w)| difference(*g, *w));
        off.sum::<f64>() / self.pairs.len().max(1) as f64
    }

    fn scale(&self) -> f64 {
        let finite = self.pairs.iter().map(|p| f64::from(p.1));
        let finite = finite.filter(|w| w.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |r, w| {
            (r.0.min(w), r.1.max(w))
        });
        let magnitude = low.abs().max(high.abs());
        (high - low).max(0.1 * magnitude).min(magnitude)
    }

    fn is_wrong(&self, integers: bool) -> bool {
        let scale = self.scale();
        let limit = if integers { 0.5 } else { 2.0 * STORED * scale };
        let far = self.pairs.iter().filter(|p| difference(p.0, p.1) > limit);
        let far = far.count() as f64 > CHANGED * self.pairs.len() as f64;
        far || !integers && self.mean() > STORED * scale
    }
}

/// How far apart two numbers are; equal infinities are not.
fn difference(a: f32, b: f32) -> f64 {
    match a == b || a.is_nan() && b.is_nan() {
        true => 0.0,
        false => (f64::from(a) - f64::from(b)).abs(),
    }
}

impl Report {
    /// Whether all samples that cannot be proven are few that stray in an input: inputs are not clamped.
    fn strays_in_inputs(&self) -> bool {
        let count = self.out_of_range.len();
        count == self.inputs_out_of_range && count <= strays::allowed(self.samples)
    }

    /// What speaks against the model: mean errors beyond 1 %, and what else there is.
    pub fn doubts(&self) -> Vec<Doubt> {
        self.doubts_beyond(ERROR)
    }

    /// What speaks against the model, where mean errors may be at most `limit` of an output's scale.
    pub fn doubts_beyond(&self, limit: f64) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        if let Some((first, reason)) = self.out_of_range.first() {
            doubts.push(Doubt::Unprovable {
                count: self.out_of_range.len(),
                samples: self.samples,
                first: *first,
                reason: reason.clone(),
            });
        }
        let ran = self.samples.saturating_sub(self.out_of_range.len());
        if ran == 0 {
            return doubts;
        }
        let (layer, layer_error) = self.origin(limit);
        for output in &self.outputs {
            if let Some((column, error, scale)) = too_far(output, limit) {
                doubts.push(Doubt::Error {
                    output: output.name.clone(),
                    column,
                    error,
                    scale,
                    layer: layer.clone(),
                    layer_error,
                    limit,
                });
            } else if output.changed as f64 > CHANGED * ran as f64 {
                doubts.push(Doubt::Class {
                    output: output.name.clone(),
                    changed: output.changed,
                    samples: ran,
                    layer: layer.clone(),
                    layer_error,
                });
            }
        }
        doubts
    }

    /// The layer where an error arises: the first that is off by as much as an output may be, or else the one that is off
    /// most.
    fn origin(&self, limit: f64) -> (String, f64) {
        let first = self.layers.iter().find(|l| l.relative_error > limit);
        let most = || {
            let layers = self.layers.iter();
            layers.max_by(|a, b| a.relative_error.total_cmp(&b.relative_error))
        };
        first
            .or_else(most)
            .map_or((String::new(), 0.0), |l| (l.name.clone(), l.relative_error))
    }
}

/// The error of an output that is too far off, and its scale.
fn too_far(output: &OutputReport, limit: f64) -> Option<(Option<usize>, f64, f64)> {
    if output.mean_error > limit * output.scale {
        return Some((None, output.mean_error, output.scale));
    }
    let column = output.column.as_ref()?;
    let far = column.mean_error > limit * column.scale;
    far.then_some((Some(column.index), column.mean_error, column.scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever asks for clamps is told of samples that are refused all the same, unless they are few that stray in an input.
    #[test]
    fn clamps_excuse_inputs_that_stray_and_nothing_else() {
        let excused = |inside: usize, inputs: usize| {
            let refused = (0..inside + inputs).map(|sample| (sample, String::new()));
            let report = Report {
                samples: 100,
                out_of_range: refused.collect(),
                inputs_out_of_range: inputs,
                ..Report::default()
            };
            report.strays_in_inputs()
        };
        assert!(excused(0, 1));
        assert!(!excused(1, 0));
        assert!(!excused(1, 1));
        assert!(!excused(0, 50));
    }
}
