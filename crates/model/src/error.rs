//! Why a model cannot be run.

use crate::model::{InterfaceError, QuantizedModel};
use crate::run::RunError;
use thiserror::Error;

/// Why a model cannot be run on an input.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InferError {
    /// The input does not fit the model's interface.
    #[error(transparent)]
    Input(#[from] InterfaceError),
    /// A value inside the model left its range.
    #[error(
        "layer {layer:?}: {source}. The input leads outside the calibrated range: calibrate with inputs like this one, or \
         compile with more headroom"
    )]
    Run {
        /// Name of the layer.
        layer: String,
        /// What happened.
        source: RunError,
    },
}

impl InferError {
    /// Adds the name of the layer.
    pub fn new(model: &QuantizedModel, source: RunError) -> Self {
        let layer = match &source {
            RunError::Range { node, .. } | RunError::Key { node, .. } => {
                model.layer_name(*node).to_owned()
            }
            _ => String::new(),
        };
        InferError::Run { layer, source }
    }
}
