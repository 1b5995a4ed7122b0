//! Quantization: from a float [`Graph`] to integers.
//!
//! The graph is executed symbolically. Every tensor is either already quantized (real numbers are program values times
//! known scales) or a linear map that still waits for its unit. Scales are free: batch norms, averages, residual sums and
//! channel-wise ranges are absorbed by the next linear map's weights `W = round(w · s_in · 2^T / s_out)`, so a layer costs
//! one requantization and nothing else. The zero point and rounding half up are part of the bias.
//!
//! Scales `s_out` come from the values that the float model takes on the calibration samples, widened by
//! [`QuantizeOptions::headroom`]. Values beyond that cannot be proven and are reported by the integer run.

use crate::graph::Graph;
use crate::model::{QuantizedModel, TensorInterface};
use crate::progress::{self, Progress, Stage, tell};

mod checked;
mod correction;
mod error;
mod floats;
mod lower;
mod masks;
mod network;
mod precision;
mod refine;
mod report;
mod softmax;
mod stats;
mod step;
mod strays;
mod value;

pub use checked::{CompileError, Compiled, Doubt};
pub use error::QuantizeError;
pub use report::{
    ColumnReport, EvaluateError, LayerReport, OutputReport, Report, evaluate,
    evaluate_with_progress,
};

use zkinfer_circuits::program::{MAX_RANGE_BITS, MIN_RANGE_BITS};

/// Choices for [`quantize`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QuantizeOptions {
    /// Bits of an activation `T`, 4 to 14. `None` for 12, or as many more as bring the outputs on the calibration samples close
    /// to the float model's (mean error of 0.1 % of an output's range, or of half of [`max_error`](Self::max_error));
    /// `program.range_bits` of the result tells.
    pub range_bits: Option<u32>,
    /// By how much ranges exceed what calibration saw: 0.3 leaves 30 % above the largest magnitude.
    pub headroom: f64,
    /// Scales of their own for every output channel of a linear map.
    pub per_channel: bool,
    /// Largest mean error of every output on the calibration samples, over its scale (of a column that has a unit of its own, over
    /// the column's): 0.002 is 0.2 %. Where cells of [`range_bits`](Self::range_bits) do not meet it, the operations that limit it are
    /// computed with twice the bits, those first that matter most. [`Graph::compile`] refuses what does not meet it. `None`: 0.2 %
    /// where that can be met, and refused beyond 1 %.
    pub max_error: Option<f64>,
    /// Interfaces of the inputs, instead of calibrated ones: the outputs of the model whose committed output is this
    /// model's input. Empty for a model of its own. Both models need the same `T`: set [`range_bits`](Self::range_bits) to
    /// the first one's.
    pub inputs: Vec<TensorInterface>,
    /// Whether [`Graph::compile`] takes a model that it has [doubts](Doubt) about.
    pub allow_error: bool,
    /// Whether intermediate values beyond their range are clamped to it, as other integer runtimes do, instead of refused: a proof
    /// shows that they were. A range then is that of the typical calibration samples, so that a single one that strays does not cost the
    /// others their precision. A clamp reaches one width of its range to either side, or as far as calibration went; inputs are
    /// never clamped. [`QuantizedModel::saturated`] counts.
    pub saturate: bool,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        QuantizeOptions {
            range_bits: None,
            headroom: 0.3,
            per_channel: true,
            max_error: None,
            inputs: Vec::new(),
            allow_error: false,
            saturate: false,
        }
    }
}

impl QuantizeOptions {
    /// Sets [`range_bits`](Self::range_bits).
    #[must_use]
    pub fn with_range_bits(mut self, bits: u32) -> Self {
        self.range_bits = Some(bits);
        self
    }

    /// Sets [`headroom`](Self::headroom).
    #[must_use]
    pub fn with_headroom(mut self, headroom: f64) -> Self {
        self.headroom = headroom;
        self
    }

    /// Sets [`per_channel`](Self::per_channel).
    #[must_use]
    pub fn with_per_channel(mut self, per_channel: bool) -> Self {
        self.per_channel = per_channel;
        self
    }

    /// Sets [`max_error`](Self::max_error).
    #[must_use]
    pub fn with_max_error(mut self, error: f64) -> Self {
        self.max_error = Some(error);
        self
    }

    /// Sets [`inputs`](Self::inputs).
    #[must_use]
    pub fn with_inputs(mut self, inputs: Vec<TensorInterface>) -> Self {
        self.inputs = inputs;
        self
    }

    /// Sets [`allow_error`](Self::allow_error).
    #[must_use]
    pub fn with_allow_error(mut self, allow: bool) -> Self {
        self.allow_error = allow;
        self
    }

    /// Sets [`saturate`](Self::saturate).
    #[must_use]
    pub fn with_saturate(mut self, saturate: bool) -> Self {
        self.saturate = saturate;
        self
    }

    /// The number of bits, or the least that is tried.
    pub fn bits(&self) -> u32 {
        self.range_bits.unwrap_or(precision::DEFAULT_BITS)
    }
}

impl Graph {
    /// Quantizes the model; see [`quantize`].
    ///
    /// # Errors
    /// See [`QuantizeError`].
    pub fn quantize(
        &self,
        calibration: &[Vec<Vec<f32>>],
        options: &QuantizeOptions,
    ) -> Result<QuantizedModel, QuantizeError> {
        quantize(self, calibration, options)
    }
}

/// Quantizes a float model, with ranges from calibration samples `[sample][input][element]`.
///
/// # Errors
/// Options out of bounds, no samples, numbers that are not finite, coefficients out of range, operations that the program
/// cannot express; see [`QuantizeError`].
pub fn quantize(
    graph: &Graph,
    calibration: &[Vec<Vec<f32>>],
    options: &QuantizeOptions,
) -> Result<QuantizedModel, QuantizeError> {
    quantize_with_progress(graph, calibration, options, &mut progress::silent)
}

/// [`quantize`], with [progress] after every calibration sample.
///
/// # Errors
/// As [`quantize`], and [`QuantizeError::Stopped`].
pub fn quantize_with_progress(
    graph: &Graph,
    calibration: &[Vec<Vec<f32>>],
    options: &QuantizeOptions,
    progress: &mut Progress<'_>,
) -> Result<QuantizedModel, QuantizeError> {
    let bits = options.bits();
    if !(MIN_RANGE_BITS..=MAX_RANGE_BITS).contains(&bits) {
        return Err(QuantizeError::Option {
            option: "range_bits",
            value: f64::from(bits),
            allowed: "4 to 14",
        });
    }
    if !(0.0..=16.0).contains(&options.headroom) {
        return Err(QuantizeError::Option {
            option: "headroom",
            value: options.headroom,
            allowed: "0 to 16",
        });
    }
    if let Some(error) = options.max_error.filter(|e| !(1e-6..=1.0).contains(e)) {
        return Err(QuantizeError::Option {
            option: "max_error",
            value: error,
            allowed: "0.000001 to 1",
        });
    }
    let tamed = masks::tame(graph, calibration);
    let (graph, fills) = match tamed {
        Some(ref tamed) => (&tamed.graph, tamed.fills.clone()),
        None => (graph, Default::default()),
    };
    let (ranges, clamped) = match options.saturate {
        true => strays::ranges(graph, calibration)?,
        false => (Vec::new(), Vec::new()),
    };
    let calibration = if options.saturate {
        &clamped
    } else {
        calibration
    };
    let stats = stats::Stats::collect(graph, calibration, fills, ranges, progress)?;
    tell(progress, Stage::Lower, stats::SHARE)?;
    // Chained models need the same `T`, which an interface does not tell.
    let model = if options.range_bits.is_none() && options.inputs.is_empty() {
        precision::automatic(graph, &stats, calibration, options)?
    } else {
        precision::fixed(graph, &stats, calibration, options, bits)?
    };
    tell(progress, Stage::Done, 1.0)?;
    Ok(model)
}
