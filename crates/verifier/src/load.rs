//! From a card to its verifier.

use crate::generators;
use crate::params::ParamsError;
use thiserror::Error;
use zkinfer_circuits::card::Card;
use zkinfer_circuits::error::CardError;
use zkinfer_circuits::verify::{Limits, Verifier};

/// Why a card cannot be used for verification.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// `k` is not supported, or beyond the limits.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The card is not what it should be.
    #[error(transparent)]
    Card(#[from] CardError),
}

/// Checks a card and derives its verifying key, with generators from [`generators::load`].
///
/// # Errors
/// A card that is not well formed or asks for more than `limits`.
pub fn verifier(card: Card, limits: &Limits) -> Result<Verifier, LoadError> {
    limits.allow_k(card.k)?;
    let generators = generators::load(card.k)?;
    Ok(Verifier::new(card, generators, limits)?)
}
