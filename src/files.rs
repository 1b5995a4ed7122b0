//! Files: the owner's model, and JSON forms of what is published.
//!
//! | file | binary | JSON | secret |
//! |---|---|---|---|
//! | model | [`Secret::to_bytes`], [`Secret::from_bytes`] | | yes |
//! | quantized model | [`quantized_to_bytes`], [`quantized_from_bytes`] | | yes |
//! | segment | [`Segment::to_bytes`], [`Segment::from_bytes`] | | yes |
//! | card | [`Card::to_bytes`], [`Card::from_bytes`] | [`card_to_json`], [`card_from_json`] | |
//! | proof | [`Proof::to_bytes`], [`Proof::from_bytes`] | [`proof_to_json`], [`proof_from_json`] | claims travel with it |
//! | parameters | [`zkinfer_verifier::params`] | | |
//!
//! Binary files begin with magic bytes, kind and version and end with a checksum
//! (see [`zkinfer_circuits::card::seal`]). Decoding never allocates more than a small multiple of the bytes that are
//! there, and a file with anything left over is refused.
//!
//! [`Card::to_bytes`]: zkinfer_circuits::card::Card::to_bytes
//! [`Card::from_bytes`]: zkinfer_circuits::card::Card::from_bytes
//! [`Proof::to_bytes`]: zkinfer_circuits::card::Proof::to_bytes
//! [`Proof::from_bytes`]: zkinfer_circuits::card::Proof::from_bytes
//! [`Segment::to_bytes`]: crate::secret::Segment::to_bytes
//! [`Segment::from_bytes`]: crate::secret::Segment::from_bytes
//! [`Secret::to_bytes`]: crate::secret::Secret::to_bytes
//! [`Secret::from_bytes`]: crate::secret::Secret::from_bytes

mod model;

use thiserror::Error;
use zkinfer_circuits::error::DecodeError;

use crate::error::CommitError;
use zkinfer_interface::CardInfoError;
use zkinfer_verifier::params::ParamsError;

pub use model::{quantized_from_bytes, quantized_to_bytes};
pub use zkinfer_verifier::json::{
    FileError, card_from_json, card_to_json, proof_from_json, proof_to_json,
};

/// Why the owner's model file cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// The bytes are not what they should be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Not the JSON that it should be.
    #[error("not the expected JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The description of inputs and outputs does not fit.
    #[error(transparent)]
    Interface(#[from] CardInfoError),
    /// Parts of a model do not belong together.
    #[error(transparent)]
    Model(#[from] CommitError),
    /// There are no parameters for the model.
    #[error(transparent)]
    Params(#[from] ParamsError),
}

#[cfg(test)]
mod tests;
