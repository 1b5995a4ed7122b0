//! Reasons to refuse, as they cross to JavaScript.

use serde::Serialize;
use zkinfer_circuits::error::{CardError, DecodeError};
use zkinfer_circuits::receipt::Refusal;
use zkinfer_interface::InterfaceError;

/// Why something was refused: class and code as in receipts, and two classes more: `invalid_argument`, what the caller
/// gave besides files, and `internal`, a mistake in this package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The class.
    pub class: String,
    /// The code, stable.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl Failure {
    /// A failure that is no [`Refusal`].
    pub fn new(class: &str, code: &'static str, message: String) -> Failure {
        Failure {
            class: class.into(),
            code,
            message,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        // A class is a unit variant, so it serializes as a string.
        let class = match serde_json::to_value(refusal.class()) {
            Ok(serde_json::Value::String(name)) => name,
            _ => "malformed".into(),
        };
        Failure {
            class,
            code: refusal.code(),
            message: refusal.to_string(),
        }
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Failure {
        Refusal::from(error).into()
    }
}

impl From<CardError> for Failure {
    fn from(error: CardError) -> Failure {
        Refusal::from(error).into()
    }
}

impl From<InterfaceError> for Failure {
    fn from(error: InterfaceError) -> Failure {
        let code = match error {
            InterfaceError::Count { .. } | InterfaceError::Length { .. } => "tensor_length",
            InterfaceError::Coarse { .. } | InterfaceError::Rounding { .. } => "tensor_step",
            InterfaceError::Range { .. } | InterfaceError::NotFinite { .. } => "tensor_range",
            _ => "tensor_scales",
        };
        Failure::new("invalid_argument", code, error.to_string())
    }
}

#[cfg(target_arch = "wasm32")]
impl From<Failure> for wasm_bindgen::JsValue {
    fn from(failure: Failure) -> Self {
        let text = serde_json::to_string(&failure).unwrap_or_default();
        Self::from_str(&text)
    }
}
