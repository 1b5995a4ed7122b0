//! The verifier's side with everything at hand: parameters from where they are, reals through the card's scales.

use crate::interface::{CardInfoError, Interface};
use crate::model::InterfaceError;
use crate::params::{self, ParamsError};
use thiserror::Error;
use zkinfer_circuits::card::Card;
use zkinfer_circuits::error::CardError;
use zkinfer_circuits::statement::Side;
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

/// Why an expectation cannot be stated in a card's integers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StatementError {
    /// The card's scales cannot be read.
    #[error(transparent)]
    Card(#[from] CardInfoError),
    /// The values do not fit them.
    #[error(transparent)]
    Values(#[from] InterfaceError),
}

/// Checks a card and derives its verifying key, with parameters from [`params::load`].
///
/// # Errors
/// A card that is not well formed or asks for more than `limits`.
pub fn verifier(card: Card, limits: &Limits) -> Result<Verifier, LoadError> {
    limits.allow_k(card.k)?;
    let params = params::load(card.k)?;
    Ok(Verifier::new(card, params, limits)?)
}

/// The statement's form of a real-valued input, one list per tensor.
///
/// # Errors
/// Values of the wrong number or outside the range that the model was calibrated for.
pub fn public_input(card: &Card, inputs: &[Vec<f32>]) -> Result<Side, StatementError> {
    let interface = Interface::from_card(card)?;
    Ok(Side::Public(
        interface.quantize_inputs(inputs, card.program.range_bits)?,
    ))
}

/// The real numbers behind a public output; `None` if it is committed.
///
/// # Errors
/// A card whose scales cannot be read.
pub fn public_output(card: &Card, output: &Side) -> Result<Option<Vec<Vec<f32>>>, StatementError> {
    match output {
        Side::Public(values) => Ok(Some(
            Interface::from_card(card)?.dequantize_outputs(values)?,
        )),
        Side::Committed(_) => Ok(None),
    }
}
