//! What a buyer knows beforehand.

use thiserror::Error;
use zkinfer_circuits::card::Card;
use zkinfer_circuits::error::DecodeError;
use zkinfer_circuits::verify::{Limits, Verifier};
use zkinfer_interface::{CardInfoError, Interface};
use zkinfer_slip::HostKey;
use zkinfer_verifier::LoadError;

/// Why a card cannot be pinned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PinnedError {
    /// The bytes are no card.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The card cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It does not say what inputs and outputs are.
    #[error(transparent)]
    Interface(#[from] CardInfoError),
}

/// What a buyer knows beforehand, not from the host: the card of the model, and the host's key.
#[derive(Debug)]
pub struct Pinned {
    pub(crate) verifier: Verifier,
    pub(crate) interface: Interface,
    pub(crate) host: HostKey,
}

impl Pinned {
    /// Checks a card, and pins it with a host's key.
    ///
    /// # Errors
    /// A card that cannot be used, or is beyond the limits.
    pub fn new(card: &[u8], host: HostKey, limits: &Limits) -> Result<Pinned, PinnedError> {
        let card = Card::from_bytes(card, limits.card_bytes)?;
        let interface = Interface::from_card(&card)?;
        let verifier = zkinfer_verifier::verifier(card, limits)?;
        Ok(Pinned {
            verifier,
            interface,
            host,
        })
    }

    /// What checks proofs of the card.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// What inputs and outputs are, as the card says it.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The host's key.
    pub fn host(&self) -> HostKey {
        self.host
    }
}
