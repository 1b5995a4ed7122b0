//! Rust errors as exceptions of `zkinfer.errors`.

use crate::evidence::Evidence;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use std::fmt::Display;
use zkinfer::InferError;
use zkinfer::LoadError;
use zkinfer::files::{FileError, ModelFileError};
use zkinfer::quantize::{CompileError, Doubt, EvaluateError};
use zkinfer::{CardError, Class, CommitError, ImportError, ProveError, QuantizeError, Refusal};
use zkinfer_client::WireError;

/// An exception of `zkinfer.errors` by name.
fn raise(
    py: Python<'_>,
    name: &str,
    message: impl Display,
    fill: impl FnOnce(&Bound<'_, PyDict>) -> PyResult<()>,
) -> PyErr {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let build = || {
        let module = MODULE.get_or_try_init(py, || {
            PyModule::import(py, "zkinfer.errors").map(Bound::unbind)
        })?;
        let fields = PyDict::new(py);
        fill(&fields)?;
        let class = module.bind(py).getattr(name)?;
        class.call((message.to_string(),), Some(&fields))
    };
    match build() {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

fn plain(py: Python<'_>, name: &str, message: impl Display) -> PyErr {
    raise(py, name, message, |_| Ok(()))
}

/// A defect.
pub fn internal(py: Python<'_>, message: impl Display) -> PyErr {
    plain(py, "InternalError", message)
}

/// An argument that does not fit.
pub fn input(py: Python<'_>, message: impl Display) -> PyErr {
    plain(py, "InputError", message)
}

/// An array that does not fit a tensor.
pub fn tensor(py: Python<'_>, name: &str, message: impl Display) -> PyErr {
    raise(py, "InputError", message, |f| f.set_item("tensor", name))
}

/// An array of another shape than a tensor's.
pub fn shape(
    py: Python<'_>,
    name: &str,
    expected: &[usize],
    found: &[usize],
    message: impl Display,
) -> PyErr {
    raise(py, "InputError", message, |fields| {
        fields.set_item("tensor", name)?;
        fields.set_item("expected", PyTuple::new(py, expected)?)?;
        fields.set_item("found", PyTuple::new(py, found)?)
    })
}

/// A model that cannot be imported.
pub fn import(py: Python<'_>, error: &ImportError) -> PyErr {
    raise(py, "ModelImportError", error, |fields| {
        if let ImportError::Unsupported {
            node, op, opset, ..
        } = error
        {
            fields.set_item("node", node)?;
            fields.set_item("op", op)?;
            fields.set_item("opset", opset)?;
        }
        Ok(())
    })
}

/// A model that cannot be quantized.
pub fn quantize(py: Python<'_>, error: &QuantizeError) -> PyErr {
    match error {
        QuantizeError::Option { .. } => input(py, error),
        _ => raise(py, "QuantizeError", error, |fields| match error {
            QuantizeError::NotFinite { layer, .. }
            | QuantizeError::Coefficient { layer, .. }
            | QuantizeError::Shape { layer, .. }
            | QuantizeError::Unsupported { layer, .. } => fields.set_item("layer", layer),
            _ => Ok(()),
        }),
    }
}

/// A model that cannot be compiled.
pub fn compile(py: Python<'_>, error: &CompileError) -> PyErr {
    match error {
        CompileError::Quantize(error) => quantize(py, error),
        CompileError::Evaluate(error) => evaluate(py, error),
        other => {
            let stray = |d: &Doubt| matches!(d, Doubt::Stray { .. });
            let clamp = match other {
                CompileError::Doubtful(doubts) if doubts.iter().any(stray) => {
                    "; saturate=True clamps what is beyond the other samples"
                }
                _ => "",
            };
            let message = format!("{other}{clamp}; allow_error=True takes the model as it is");
            raise(py, "QuantizeError", message, |fields| match other {
                CompileError::Doubtful(doubts) => {
                    let layer = doubts.iter().find_map(|d| match d {
                        Doubt::Error { layer, .. } | Doubt::Class { layer, .. } => Some(layer),
                        _ => None,
                    });
                    layer.map_or(Ok(()), |layer| fields.set_item("layer", layer))
                }
                _ => Ok(()),
            })
        }
    }
}

/// A model that cannot be evaluated.
pub fn evaluate(py: Python<'_>, error: &EvaluateError) -> PyErr {
    plain(py, "InferError", error)
}

/// A model that cannot be committed to.
pub fn commit(py: Python<'_>, error: &CommitError) -> PyErr {
    plain(py, "CommitError", error)
}

/// An input that cannot be run.
pub fn infer(py: Python<'_>, error: &InferError) -> PyErr {
    raise(py, "InferError", error, |fields| match error {
        InferError::Run { layer, .. } => fields.set_item("layer", layer),
        _ => Ok(()),
    })
}

/// A job that an executor did not do.
pub fn job(py: Python<'_>, message: impl Display) -> PyErr {
    plain(py, "JobError", message)
}

/// A run that cannot be proven.
pub fn prove(py: Python<'_>, error: &ProveError) -> PyErr {
    plain(py, "ProveError", error)
}

/// Something that a verifier does not accept.
pub fn refusal(py: Python<'_>, refusal: &Refusal) -> PyErr {
    let name = match refusal {
        Refusal::Decode(_) => "DecodeError",
        Refusal::Card(_) => "CardError",
        _ => "Rejection",
    };
    refused(py, name, refusal.class(), refusal.code(), refusal)
}

/// The same from a receipt.
pub fn refused(
    py: Python<'_>,
    name: &str,
    class: Class,
    code: &str,
    message: impl Display,
) -> PyErr {
    raise(py, name, message, |fields| {
        fields.set_item("class_", class_name(class))?;
        fields.set_item("code", code)
    })
}

/// The class as receipts have it.
pub fn class_name(class: Class) -> String {
    match serde_json::to_value(class) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

/// A card whose description of inputs and outputs cannot be used.
pub fn interface(py: Python<'_>, message: impl Display) -> PyErr {
    raise(py, "CardError", message, |fields| {
        fields.set_item("class_", "invalid_card")?;
        fields.set_item("code", "card_interface")
    })
}

/// A file that cannot be used.
pub fn file(py: Python<'_>, error: &FileError) -> PyErr {
    match error {
        FileError::Decode(decode) => refusal(py, &decode.clone().into()),
        FileError::Limit(card) => refusal(py, &card.clone().into()),
        other => invalid_json(py, other),
    }
}

/// An owner's model file that cannot be used.
pub fn model_file(py: Python<'_>, error: &ModelFileError) -> PyErr {
    match error {
        ModelFileError::Decode(decode) => refusal(py, &decode.clone().into()),
        ModelFileError::Model(CommitError::Plan(card)) => refusal(py, &card.clone().into()),
        ModelFileError::Model(model) => commit(py, model),
        ModelFileError::Params(params) => card_params(py, params),
        ModelFileError::Interface(info) => interface(py, info),
        other => invalid_json(py, other),
    }
}

fn invalid_json(py: Python<'_>, message: impl Display) -> PyErr {
    raise(py, "DecodeError", message, |fields| {
        fields.set_item("class_", "malformed")?;
        fields.set_item("code", "invalid_json")
    })
}

/// A card that a verifier cannot be made from.
pub fn load(py: Python<'_>, error: &LoadError) -> PyErr {
    match error {
        LoadError::Card(card) => refusal(py, &Refusal::Card(card.clone())),
        LoadError::Params(params) => card_params(py, params),
        other => interface(py, other),
    }
}

fn card_params(py: Python<'_>, error: &zkinfer::params::ParamsError) -> PyErr {
    let zkinfer::params::ParamsError::K { k, max, .. } = error else {
        return interface(py, error);
    };
    let limit = CardError::Limit {
        what: "k",
        value: *k as usize,
        limit: *max as usize,
    };
    refusal(py, &Refusal::Card(limit))
}

/// An input that a card cannot express.
pub fn tensor_of_host(py: Python<'_>, message: impl Display) -> PyErr {
    plain(py, "InferError", message)
}

/// A host that cannot be reached, or has no answer.
pub fn host(py: Python<'_>, error: &WireError) -> PyErr {
    raise(py, "HostError", error, |fields| match error {
        WireError::Status { status, .. } => fields.set_item("status", status),
        _ => Ok(()),
    })
}

/// An answer that does not bind its host.
pub fn unbound(py: Python<'_>, message: impl Display, evidence: Option<Evidence>) -> PyErr {
    raise(py, "UnboundError", message, |fields| {
        fields.set_item("evidence", evidence)
    })
}

/// Evidence that shows nothing.
pub fn evidence(py: Python<'_>, message: impl Display) -> PyErr {
    plain(py, "EvidenceError", message)
}
