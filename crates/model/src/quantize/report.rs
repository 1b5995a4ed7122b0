//! How close a quantized model is to its float original.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zkinfer_circuits::error::ProgramError;
use zkinfer_circuits::program::{Expanded, Node, Program, ProgramLimits, ValueRef};

mod tally;

use super::floats::FloatRuns;
use crate::graph::{Graph, GraphError};
use crate::model::{Decoding, InterfaceError, QuantizedModel};
use crate::progress::{self, Progress, Stage, Stopped, tell};
use crate::run::{RunError, Trace};
pub(super) use tally::size;
use tally::{Sums, Tally};

/// Why a sample could not be evaluated.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The float model.
    #[error("sample {sample}: {source}")]
    Float {
        /// Number of the sample.
        sample: usize,
        /// What the float run says.
        source: GraphError,
    },
    /// The graph is not the one that was quantized.
    #[error("the graph has other outputs than the quantized model")]
    Graph,
    /// Input or output integers.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The integer run, for another reason than a value out of range.
    #[error("sample {sample}, layer {layer:?}: {source}")]
    Run {
        /// Number of the sample.
        sample: usize,
        /// Name of the layer.
        layer: String,
        /// What the integer run says.
        source: RunError,
    },
    /// Stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Float against integers, over all samples that could be run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Samples given.
    pub samples: usize,
    /// Samples that left the calibrated ranges, with the first reason for each (sample, reason).
    pub out_of_range: Vec<(usize, String)>,
    /// How many of these left them in an input.
    #[serde(default)]
    pub inputs_out_of_range: usize,
    /// Layers where values beyond the range were clamped, with how many in all samples:
    /// [`QuantizeOptions::saturate`](super::QuantizeOptions::saturate).
    #[serde(default)]
    pub saturated: Vec<(String, usize)>,
    /// One entry per output.
    pub outputs: Vec<OutputReport>,
    /// One entry per layer that stands for a tensor of the float model.
    pub layers: Vec<LayerReport>,
    /// Fraction of samples whose first output names the same class in floats and in integers: the largest element, or for
    /// a single element whether it exceeds one half. Means nothing for models that are no classifiers.
    pub top_class_agreement: f64,
    /// Fraction of samples whose class is the label: floats, where labels were given.
    pub float_accuracy: Option<f64>,
    /// The same for the integers.
    pub integer_accuracy: Option<f64>,
}

/// Errors of one output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputReport {
    /// Name of the output.
    pub name: String,
    /// Mean absolute error, of the samples that are not far from all others: one that is would be the scale of all.
    pub mean_error: f64,
    /// Largest absolute error of all samples.
    pub max_error: f64,
    /// 99th percentile of the float output's magnitude, or its mean where that is more, of the same samples as the mean error.
    pub range: f64,
    /// `mean_error / range`.
    pub relative_error: f64,
    /// What an error is judged by: the largest magnitude of the float output, or its spread where that is less.
    #[serde(default)]
    pub scale: f64,
    /// Samples whose largest element is another one, or whose whole numbers are; ties aside.
    #[serde(default)]
    pub changed: usize,
    /// The column of the output that is most wrong, among those whose unit is another than the output's.
    #[serde(default)]
    pub column: Option<ColumnReport>,
}

/// A column of an output, which is small beside the output: a target of another unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnReport {
    /// Its place on the last axis.
    pub index: usize,
    /// Mean absolute error.
    pub mean_error: f64,
    /// Largest magnitude of the float output.
    pub scale: f64,
}

/// One layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// Index of the program node.
    pub node: u32,
    /// Name of the operation.
    pub name: String,
    /// Its unit, in words.
    pub unit: String,
    /// Number of neurons.
    pub neurons: usize,
    /// Accumulators that compete in each.
    pub window: u32,
    /// The program node whose weights it uses: the first step of a loop.
    pub weights_of: Option<u32>,
    /// Smallest real step.
    pub scale_min: f64,
    /// Largest real step.
    pub scale_max: f64,
    /// Calibrated range of the accumulators.
    pub calibrated: (f64, f64),
    /// Largest integer result over all samples, as a fraction of `2^T − 1`.
    pub fill: f64,
    /// Mean absolute error against the float tensor.
    pub mean_error: f64,
    /// Largest absolute error.
    pub max_error: f64,
    /// Mean absolute error over the largest magnitude of the float tensor.
    pub relative_error: f64,
}

/// Runs float and integer model on samples `[sample][input][element]` and compares; `labels` are class indices or empty.
///
/// Inputs are not clamped: samples that leave the calibrated ranges are counted in [`Report::out_of_range`].
///
/// # Errors
/// If graph, model and samples do not belong together.
pub fn evaluate(
    graph: &Graph,
    model: &QuantizedModel,
    samples: &[Vec<Vec<f32>>],
    labels: &[usize],
) -> Result<Report, EvaluateError> {
    evaluate_with_progress(graph, model, samples, labels, &mut progress::silent)
}

/// [`evaluate`], with [progress] after every sample.
///
/// # Errors
/// As [`evaluate`], and [`EvaluateError::Stopped`].
pub fn evaluate_with_progress(
    graph: &Graph,
    model: &QuantizedModel,
    samples: &[Vec<Vec<f32>>],
    labels: &[usize],
    progress: &mut Progress<'_>,
) -> Result<Report, EvaluateError> {
    compare(&FloatRuns::once(graph, samples), model, labels, progress)
}

/// What a sample's run in integers came to.
enum Outcome {
    /// Everything, and the outputs as real numbers.
    Ran(Trace, Vec<Vec<f32>>),
    /// It left the calibrated ranges, in an input or not.
    OutOfRange(String, bool),
}

/// The outcome of one sample.
fn outcome(
    model: &QuantizedModel,
    expanded: &Expanded,
    (sample, x): (usize, &[Vec<f32>]),
) -> Result<Outcome, EvaluateError> {
    let integers = match model.quantize_inputs(x, false) {
        Ok(q) => q,
        Err(e @ (InterfaceError::Range { .. } | InterfaceError::NotFinite { .. })) => {
            return Ok(Outcome::OutOfRange(e.to_string(), true));
        }
        Err(e) => return Err(e.into()),
    };
    let trace = match model.run(expanded, &integers) {
        Ok(trace) => trace,
        Err(e @ (RunError::Range { node, .. } | RunError::Key { node, .. })) => {
            let reason = format!("layer {:?}: {e}", model.layer_name(node));
            return Ok(Outcome::OutOfRange(reason, false));
        }
        Err(source) => {
            return Err(EvaluateError::Run {
                sample,
                layer: String::new(),
                source,
            });
        }
    };
    let outputs = model.dequantize_outputs(expanded, &trace)?;
    Ok(Outcome::Ran(trace, outputs))
}

/// [`evaluate_with_progress`], of samples whose float runs may be known.
pub(super) fn compare(
    runs: &FloatRuns<'_>,
    model: &QuantizedModel,
    labels: &[usize],
    progress: &mut Progress<'_>,
) -> Result<Report, EvaluateError> {
    let (graph, samples) = (runs.graph(), runs.samples());
    let expanded = model.program.expand(&ProgramLimits::owner())?;
    let mut report = Report {
        samples: samples.len(),
        ..Report::default()
    };
    let mut outputs: Vec<Tally> = (0..model.outputs.len())
        .map(|at| Tally::new(graph, at))
        .collect();
    let mut layers = vec![(Sums::default(), 0u32); model.decodings.len()];
    let mut clamped = vec![0usize; model.layers.len()];
    let (mut ran, mut agree, mut float_hits, mut integer_hits) = (0usize, 0usize, 0usize, 0usize);
    let both = |sample: usize| {
        let values = runs.values(sample);
        let values = values.map_err(|source| EvaluateError::Float { sample, source })?;
        let outcome = outcome(model, &expanded, (sample, &samples[sample]))?;
        Ok((values, outcome))
    };
    runs.each(both, |sample, found: Result<_, EvaluateError>| {
        let done = sample as f64 / samples.len() as f64;
        tell(progress, Stage::Evaluate, done)?;
        let (values, outcome) = found?;
        let (trace, got) = match outcome {
            Outcome::Ran(trace, got) => (trace, got),
            Outcome::OutOfRange(reason, in_input) => {
                report.out_of_range.push((sample, reason));
                report.inputs_out_of_range += usize::from(in_input);
                return Ok(());
            }
        };
        let want = graph.outputs_of(&values);
        if got.len() != want.len() || got.iter().zip(&want).any(|(a, b)| a.len() != b.len()) {
            return Err(EvaluateError::Graph);
        }
        ran += 1;
        for (layer, count) in model.saturated(&trace) {
            clamped[layer] += count;
        }
        for (tally, (g, w)) in outputs.iter_mut().zip(got.iter().zip(&want)) {
            tally.add(g, w, &values);
        }
        if let (Some(g), Some(w)) = (got.first(), want.first()) {
            let (g, w) = (class(g), class(w));
            agree += usize::from(g == w);
            if let Some(&label) = labels.get(sample) {
                integer_hits += usize::from(g == Some(label));
                float_hits += usize::from(w == Some(label));
            }
        }
        for ((sums, peak), (layer, decoding)) in layers.iter_mut().zip(&model.decodings) {
            let Some(layer) = model.layers.get(*layer) else {
                continue;
            };
            if let Some(float) = layer.graph_node.and_then(|id| values.get(id)) {
                let own = (&model.program, &expanded);
                sums.add(decode(decoding, own, &trace, float.len()), float);
            }
            let slots = expanded.slots_of(ValueRef::new(layer.node as usize));
            let slots = trace.slots.get(slots).unwrap_or(&[]);
            *peak = (*peak).max(slots.iter().copied().max().unwrap_or(0));
        }
        Ok(())
    })?;
    let fraction = |hits: usize| {
        if ran == 0 {
            0.0
        } else {
            hits as f64 / ran as f64
        }
    };
    let clamped = model.layers.iter().zip(clamped).filter(|(_, n)| *n > 0);
    report.saturated = clamped.map(|(l, n)| (l.name.clone(), n)).collect();
    report.top_class_agreement = fraction(agree);
    if !labels.is_empty() {
        report.float_accuracy = Some(fraction(float_hits));
        report.integer_accuracy = Some(fraction(integer_hits));
    }
    for (mut tally, tensor) in outputs.into_iter().zip(&model.outputs) {
        tally.finish();
        let (range, mean_error) = (tally.range(), tally.all.mean());
        let column = tally.apart();
        let column = column.map(|(index, mean_error, scale)| ColumnReport {
            index,
            mean_error,
            scale,
        });
        report.outputs.push(OutputReport {
            name: tensor.name.clone(),
            mean_error,
            max_error: tally.max,
            range,
            relative_error: ratio(mean_error, range),
            scale: tally.scale(range),
            changed: tally.changed(range),
            column,
        });
    }
    for ((sums, peak), (layer, _)) in layers.into_iter().zip(&model.decodings) {
        let Some(layer) = model.layers.get(*layer) else {
            continue;
        };
        let Some(Node::Neurons(n)) = model.program.nodes.get(layer.node as usize) else {
            continue;
        };
        report.layers.push(LayerReport {
            node: layer.node,
            name: layer.name.clone(),
            unit: describe(&n.unit),
            neurons: n.len(),
            window: n.unit.window,
            weights_of: n.leader(),
            scale_min: layer.scale_min,
            scale_max: layer.scale_max,
            calibrated: (layer.low, layer.high),
            fill: f64::from(peak) / (model.program.range() - 1) as f64,
            mean_error: sums.mean(),
            max_error: sums.max,
            relative_error: ratio(sums.mean(), sums.magnitude),
        });
    }
    tell(progress, Stage::Done, 1.0)?;
    Ok(report)
}

/// What a unit does, in words.
fn describe(unit: &zkinfer_circuits::program::Unit) -> String {
    let mut words = vec![match (unit.low, unit.high) {
        (false, false) => "linear".to_owned(),
        (true, false) => "relu".to_owned(),
        (true, true) => "clip".to_owned(),
        (false, true) => "upper clip".to_owned(),
    }];
    if unit.window > 1 {
        words.push(format!("max {}", unit.window));
    }
    if !unit.tables.is_empty() {
        words.push("table".to_owned());
    }
    if unit.deep {
        words.push("deep".to_owned());
    }
    words.join(" + ")
}

fn ratio(a: f64, b: f64) -> f64 {
    if a == 0.0 { 0.0 } else { a / b }
}

/// The class that an output names: its largest element; a single element is taken as the probability of class 1.
fn class(values: &[f32]) -> Option<usize> {
    match values {
        [p] => Some(usize::from(*p > 0.5)),
        _ => largest(values),
    }
}

/// The first largest element.
fn largest(values: &[f32]) -> Option<usize> {
    (0..values.len()).reduce(|a, b| if values[b] > values[a] { b } else { a })
}

pub(super) fn decode(
    decoding: &Decoding,
    (program, expanded): (&Program, &Expanded),
    trace: &Trace,
    len: usize,
) -> Vec<f64> {
    let at = |v: &[f64], i: usize| {
        if v.len() == 1 {
            v[0]
        } else {
            v.get(i).copied().unwrap_or(0.0)
        }
    };
    let mut out: Vec<f64> = (0..len).map(|i| at(&decoding.offset, i)).collect();
    for (value, scale) in &decoding.planes {
        if let Some(integers) = trace.value(program, expanded, *value) {
            out.iter_mut()
                .zip(integers)
                .enumerate()
                .for_each(|(i, (o, q))| *o += at(scale, i) * q as f64);
        }
    }
    out
}
