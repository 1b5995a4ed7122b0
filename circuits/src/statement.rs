//! What a proof is about.
//!
//! A statement consists of a card (architecture, model commitment, scales), one or several runs, each with an input and an
//! output that are *public* or *committed*, and context bytes of the caller (nonce, request id). All of it enters the first
//! challenge.

use crate::C;
use crate::checks::{Check, drawn};
use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::transcript::Digest;

/// Longest context in bytes.
pub const MAX_CONTEXT: usize = 4096;

/// Most commitments that a side of a file may consist of.
const MAX_LANES: usize = 1 << 12;

/// An input or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// The integers themselves, all tensors concatenated, each in `[0, 2^T)`.
    Public(Vec<u16>),
    /// Hiding Pedersen commitments to them, one per lane.
    Committed(Vec<C>),
}

/// An input or an output as it travels with a proof: a claim, to be compared with what the verifier expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Public values.
    Values(Vec<u16>),
    /// Digest of public values that the verifier has to bring.
    Digest(Digest),
    /// Commitments.
    Committed(Vec<C>),
}

impl Side {
    /// Digest of the side.
    pub fn digest(&self) -> Digest {
        let mut w = Writer::default();
        match self {
            Side::Public(values) => {
                w.u8(0);
                w.len(values.len());
                values.iter().for_each(|&v| w.u16(v));
            }
            Side::Committed(points) => {
                w.u8(1);
                w.len(points.len());
                points.iter().for_each(|p| w.point(p));
            }
        }
        Digest::of("zkinfer-side", &w.bytes)
    }

    /// The claim that carries everything.
    pub fn full_claim(&self) -> Claim {
        match self {
            Side::Public(values) => Claim::Values(values.clone()),
            Side::Committed(points) => Claim::Committed(points.clone()),
        }
    }

    /// The claim that leaves public values to the verifier.
    pub fn short_claim(&self) -> Claim {
        match self {
            Side::Public(_) => Claim::Digest(self.digest()),
            Side::Committed(points) => Claim::Committed(points.clone()),
        }
    }
}

impl Claim {
    /// Whether the claim is about `side`.
    pub fn is(&self, side: &Side) -> bool {
        match (self, side) {
            (Claim::Values(a), Side::Public(b)) => a == b,
            (Claim::Digest(d), Side::Public(_)) => *d == side.digest(),
            (Claim::Committed(a), Side::Committed(b)) => a == b,
            _ => false,
        }
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        match self {
            Claim::Values(values) => {
                w.u8(0);
                w.len(values.len());
                values.iter().for_each(|&v| w.u16(v));
            }
            Claim::Digest(digest) => {
                w.u8(1);
                w.bytes.extend_from_slice(&digest.0);
            }
            Claim::Committed(points) => {
                w.u8(2);
                w.len(points.len());
                points.iter().for_each(|p| w.point(p));
            }
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Claim, DecodeError> {
        Ok(match r.u8()? {
            0 => {
                let len = r.len(2)?;
                Claim::Values(r.list(len, Reader::u16)?)
            }
            1 => Claim::Digest(read_digest(r)?),
            2 => Claim::Committed(read_lanes(r)?),
            _ => {
                return Err(DecodeError::Invalid {
                    what: "kind of claim",
                });
            }
        })
    }
}

/// Commitments to the lanes of a side.
///
/// # Errors
/// More than any side has, or bytes that are no point.
pub fn read_lanes(r: &mut Reader<'_>) -> Result<Vec<C>, DecodeError> {
    let len = r.len(32)?;
    // A point takes a square root to decode, and no side has more lanes.
    if len > MAX_LANES {
        return Err(DecodeError::Invalid {
            what: "number of commitments",
        });
    }
    r.list(len, Reader::point)
}

/// A digest.
///
/// # Errors
/// Too few bytes.
pub fn read_digest(r: &mut Reader<'_>) -> Result<Digest, DecodeError> {
    let mut digest = [0; 32];
    digest.copy_from_slice(r.take(32)?);
    Ok(Digest(digest))
}

/// What stands for the card in the statements of one of its segments.
pub fn segment_digest(card: &Digest, index: usize) -> Digest {
    let mut w = Writer::default();
    w.bytes
        .extend_from_slice(drawn(Check::BoundCard, &card.0[..], &[]));
    w.len(drawn(Check::BoundSegment, index, 0));
    Digest::of("zkinfer-segment", &w.bytes)
}

/// Digest of a whole statement: runs of a card's model, each with its input and output, and the context.
pub fn statement_digest(card: &Digest, runs: &[(Side, Side)], context: &[u8]) -> Digest {
    let mut w = Writer::default();
    w.bytes.extend_from_slice(&card.0);
    w.len(runs.len());
    for (input, output) in runs {
        w.bytes.extend_from_slice(&input.digest().0);
        w.bytes.extend_from_slice(&output.digest().0);
    }
    w.blob(drawn(Check::BoundContext, context, &[]));
    Digest::of("zkinfer-stmt", &w.bytes)
}
