//! What can go wrong.

use thiserror::Error;

/// Why there is no key or no proof.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The parameters' serialized form is not the one that this version knows.
    #[error("the commitment parameters cannot be read")]
    Params,
    /// The circuit is too small for the backend's vectors.
    #[error("2^{k} rows are too few for the {backend} backend")]
    TooSmall {
        /// `log2` of the rows.
        k: u32,
        /// Name of the backend.
        backend: &'static str,
    },
    /// The witness has another shape than the circuit.
    #[error("the witness does not fit the circuit: {what}")]
    Witness {
        /// What does not fit.
        what: &'static str,
    },
    /// A point at infinity or a challenge of zero; happens with negligible probability.
    #[error("a commitment is the identity; try again")]
    Unlucky(#[from] std::io::Error),
}
