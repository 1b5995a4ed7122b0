//! Why a model cannot be quantized.

use thiserror::Error;
use zkinfer_circuits::error::ProgramError;

/// Why a model cannot be quantized. `layer` is the name of the operation in the float model.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// No calibration samples.
    #[error("no calibration samples; give at least one, better a few dozen typical inputs")]
    NoCalibration,
    /// A calibration sample that the float model cannot take.
    #[error("calibration sample {sample}: {reason}")]
    Calibration {
        /// Number of the sample.
        sample: usize,
        /// What is wrong.
        reason: String,
    },
    /// A weight, constant or calibration value that is infinite or not a number.
    #[error("layer {layer:?}: element {index} is {value}; only finite numbers can be quantized")]
    NotFinite {
        /// Name of the layer.
        layer: String,
        /// Flat index.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A coefficient that is too large even at the coarsest scale.
    #[error(
        "layer {layer:?}: coefficient {value} exceeds {limit}; normalise the weights or use fewer range bits"
    )]
    Coefficient {
        /// Name of the layer.
        layer: String,
        /// The value.
        value: f64,
        /// Largest magnitude.
        limit: f64,
    },
    /// Tensors that do not fit together.
    #[error("layer {layer:?}: {reason}")]
    Shape {
        /// Name of the layer.
        layer: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A combination that the program format cannot express.
    #[error("layer {layer:?} is not supported: {reason}")]
    Unsupported {
        /// Name of the layer.
        layer: String,
        /// What is not possible, and what would be.
        reason: &'static str,
    },
    /// An option outside its bounds.
    #[error("option {option} is {value}, allowed is {allowed}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// An interface given for an input does not fit it.
    #[error(transparent)]
    Interface(#[from] crate::model::InterfaceError),
    /// The program that came out does not fit the limits.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Stopped.
    #[error(transparent)]
    Stopped(#[from] crate::progress::Stopped),
}
