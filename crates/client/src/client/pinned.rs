//! What a buyer knows beforehand.

use thiserror::Error;
use zkinfer_circuits::card::Card;
use zkinfer_circuits::error::DecodeError;
use zkinfer_circuits::verify::{Limits, Verifier};
use zkinfer_interface::{CardInfoError, Interface};
use zkinfer_slip::{Evidence, HostKey, KeyList, KeyListError, Verdict};
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
    /// All keys of the host, the oldest first.
    keys: Vec<HostKey>,
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
            keys: vec![host],
        })
    }

    /// Goes over to the newest key of the host's list, which the pinned one is in. What the others signed before is the
    /// host's, too.
    ///
    /// # Errors
    /// A list that is none, or of another host.
    pub fn follow(&mut self, list: &KeyList) -> Result<(), KeyListError> {
        self.keys = list.of(&self.host)?;
        self.host = self.keys.last().copied().unwrap_or(self.host);
        Ok(())
    }

    /// The key that something has to be signed with that is said to be signed with this one: the same, if it is one of
    /// the host's.
    pub fn signer(&self, said: &HostKey) -> HostKey {
        let own = self.keys.contains(said);
        if own { *said } else { self.host }
    }

    /// Judges evidence against the host, whichever of its keys signed what it holds. `shown` is what the host brings
    /// against a claim that its proof is overdue.
    ///
    /// # Errors
    /// Why nothing is confirmed.
    pub fn judge(&self, evidence: &Evidence, now: u64, shown: Option<&[u8]>) -> Verdict {
        let signer = self.signer(&evidence.host());
        evidence.judge(&signer, &self.verifier, now, shown)
    }

    /// What checks proofs of the card.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// What inputs and outputs are, as the card says it.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The host's key, the newest of its list.
    pub fn host(&self) -> HostKey {
        self.host
    }
}
