//! Proofs of which each one's output is the next one's input.
//!
//! That two proofs hold and name the same commitment is not enough: both models have to read it alike. One that places its
//! input elsewhere than the other places its output reads the same commitment as another vector, and one with another
//! number of bits takes its integers for other fractions of the range. [`verify_chain`] is one call for all of it. What
//! the integers stand for, scales and zero points, is the business of `zkinfer-verifier`, whose function of the same name compares
//! these, too.

use super::{Expected, Plan, Verdict, Verifier};
use crate::card::Proof;
use crate::checks::{Check, holds};
use crate::error::Rejection;
use crate::statement::Side;
use thiserror::Error;

/// Why an output cannot be the next model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misfit {
    /// Other integers are allowed.
    #[error("the output has integers of {output} bits, the next model's input has {input}")]
    Bits {
        /// Of the output.
        output: u32,
        /// Of the input.
        input: u32,
    },
    /// Commitments to columns of another length.
    #[error("the output is committed with k = {output}, the next model's input with k = {input}")]
    Rows {
        /// Of the output.
        output: u32,
        /// Of the input.
        input: u32,
    },
    /// The elements of a commitment stand elsewhere.
    #[error("the next model reads the elements of a commitment in another order, or other ones")]
    Places,
    /// Another commitment, or other values.
    #[error("the next proof is about another input than this output")]
    Sides,
}

/// Why a chain was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// There is no proof.
    #[error("a chain has at least one proof")]
    Empty,
    /// A proof was not accepted.
    #[error("proof {index} of the chain: {reason}")]
    Proof {
        /// Which, counted from zero.
        index: usize,
        /// Why.
        reason: Rejection,
    },
    /// An output is not the next proof's input.
    #[error("between proofs {index} and {} of the chain: {reason}", index + 1)]
    Boundary {
        /// The proof whose output it is, counted from zero.
        index: usize,
        /// Why.
        reason: Misfit,
    },
}

/// Checks proofs, and that each one's output is the next one's input: the same commitment, read alike, or the same public
/// integers. The verdicts come in the order of the proofs.
///
/// # Errors
/// The first reason for which the chain is not accepted.
pub fn verify_chain(steps: &[(&Verifier, &Expected, &Proof)]) -> Result<Vec<Verdict>, ChainError> {
    if steps.is_empty() {
        return Err(ChainError::Empty);
    }
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(steps.len());
    for (index, (verifier, expected, proof)) in steps.iter().enumerate() {
        let verdict = verifier.verify(expected, proof);
        let verdict = verdict.map_err(|reason| ChainError::Proof { index, reason })?;
        if let Some(before) = verdicts.last() {
            let index = index - 1;
            meet((steps[index].0, &before.output), (verifier, &verdict.input))
                .map_err(|reason| ChainError::Boundary { index, reason })?;
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

impl Verifier {
    /// The plans on both sides of the boundary to the next model. A card has segments.
    fn boundary<'v>(&'v self, next: &'v Verifier) -> Option<(&'v Plan, &'v Plan)> {
        let (before, next) = (self.segments.last()?, next.segments.first()?);
        Some((&before.plan, &next.plan))
    }

    /// Whether a commitment to this model's output can be one to the next model's input: [`Plan::fits`] finds nothing.
    pub fn feeds(&self, next: &Verifier) -> bool {
        let boundary = self.boundary(next);
        boundary.is_some_and(|(before, next)| before.feeds(next))
    }
}

/// Whether an output is the next model's input.
fn meet(output: (&Verifier, &Side), input: (&Verifier, &Side)) -> Result<(), Misfit> {
    let Some((before, next)) = output.0.boundary(input.0) else {
        return Err(Misfit::Sides);
    };
    if !holds(Check::ChainSides, output.1 == input.1) {
        return Err(Misfit::Sides);
    }
    match output.1 {
        Side::Public(_) => before.same_range(next),
        Side::Committed(_) => before.fits(next),
    }
}
