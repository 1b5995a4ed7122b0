//! What a verifier is willing to spend.

use crate::error::CardError;
use crate::program::ProgramLimits;

/// Bounds on what a card or a proof may ask of a verifier.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bounds on the program.
    pub program: ProgramLimits,
    /// Largest `k`.
    pub k: u32,
    /// Most points in a model commitment.
    pub points: usize,
    /// Most advice columns.
    pub columns: usize,
    /// Longest card file in bytes.
    pub card_bytes: usize,
    /// Longest proof file in bytes.
    pub proof_bytes: usize,
    /// Most runs in one proof.
    pub runs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            program: ProgramLimits::default(),
            k: 16,
            points: 1 << 20,
            columns: 2048,
            card_bytes: 1 << 28,
            proof_bytes: 1 << 22,
            runs: 256,
        }
    }
}

impl Limits {
    /// Whether a card may ask for parameters of this size: to be asked before they are made.
    ///
    /// # Errors
    /// A larger `k` than the limit.
    pub fn allow_k(&self, k: u32) -> Result<(), CardError> {
        if k <= self.k {
            return Ok(());
        }
        Err(CardError::Limit {
            what: "k",
            value: k as usize,
            limit: self.k as usize,
        })
    }
}
