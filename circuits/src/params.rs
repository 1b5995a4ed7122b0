//! Upstream's parameters of the commitment scheme as a file: the [generators](crate::generators) and the Lagrange base that
//! a prover needs besides.
//!
//! The generators follow from `k` alone (hashing to the curve), but making them takes long for larger `k`, above all where
//! there are no threads, so they are kept in files. Somebody who could slip in generators of their choice could have wrong
//! proofs accepted; therefore the digest of the right ones is part of this crate, for every `k` up to [`MAX_PINNED_K`],
//! and [`from_bytes`] takes no others. The digests are those of what [`Params::new`] makes: tests compare.

use crate::C;
use crate::card::{FileKind, open, seal};
use crate::checks::{Check, holds};
use crate::codec::Reader;
use crate::error::DecodeError;
use crate::layout::{MAX_K, MIN_K};
use crate::transcript::Digest;
use std::io;
use thiserror::Error;

pub use halo2_proofs::poly::commitment::Params;

/// Largest `k` whose parameters' digest is known: the largest that a circuit may have.
pub const MAX_PINNED_K: u32 = 18;

/// Blake2b-256 ("zkinfer-params") of the serialized parameters for `k` = 6 and on.
const DIGESTS: [&str; 13] = [
    "042845f52dbc52fc29115ff4d206d4fe9fece97e70db1c30ea5987d1ecbff290",
    "c1a07d013a630ee5ac747ad1968e04192f6ed1a196908f7b1f30e263b927ae93",
    "02ad5f4200958efc2b32e4139ec1f42a78f13fce0c9a46d06827ac0605d6f655",
    "ec248e16ab456e004e78e209c2acc90c1fa4076998a62595880b2c36cb30bbbd",
    "b2c2b791003ebc8c475572256c327323957ca5fa3c7e86a635be4a7203813cb8",
    "50c680b44047089774bfabf95ce34782036628bbf5297ec57c3eb4d232936737",
    "8ad30e58687f53e08f0b70c5d4c9a76af2cd40b7313558f248569a8388b401db",
    "0274b79774676a9bf641f3f82401eb50aaa54d1fe9b5fd1f2e1c1ecf31775841",
    "87e05a37223899e7a6720f34285dc5e2e31d59cc085ac1092b3ddc5bbacd24af",
    "4b3afeba6b784feaf38e71bce865dfbdd10ed6bd1bba30d54cdfa73102cd1cb7",
    "f12e21b69fe862ef523269c37297af825f9df8b6247e36fe9f50b29f3865b23f",
    "4a652fd83093e4eb4635255e6a1ac0cc21e125f9b71371459b66313bdda4db73",
    "42fe11b788ca23399f209d61576e2d3612beaadc97e00254823b805f958a9cb6",
];

/// Why a file with parameters was not used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file is damaged or another one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The content is for another `k`.
    #[error("the parameters are for k = {found}")]
    OtherK {
        /// In the file.
        found: u32,
    },
    /// The content is not the parameters.
    #[error("these are not the parameters that belong to this k")]
    Forged,
    /// The file cannot be read, or holds something that is no point.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Parameters as a sealed file.
///
/// # Errors
/// None in practice: writing to memory does not fail.
pub fn to_bytes(params: &Params<C>) -> io::Result<Vec<u8>> {
    let mut payload = Vec::with_capacity(file_len(params.k()));
    params.write(&mut payload)?;
    Ok(seal(FileKind::Params, &payload))
}

/// Reads a sealed file with parameters. Those with a known digest must have it; of others the points are checked to be on
/// the curve, not to be the right ones.
///
/// # Errors
/// A damaged file, or one with other content; see [`ReadError`].
pub fn from_bytes(bytes: &[u8]) -> Result<Params<C>, ReadError> {
    let payload = open(FileKind::Params, bytes, file_len(MAX_K))?;
    let found = Reader::new(payload).u32()?;
    // Upstream's reader computes with whatever k it finds.
    if !(MIN_K..=MAX_K).contains(&found) {
        return Err(ReadError::OtherK { found });
    }
    if bytes.len() != file_len(found) {
        return Err(DecodeError::Invalid {
            what: "length of parameters",
        }
        .into());
    }
    let right = pinned(found).is_some_and(|digest| digest_of(payload) == digest);
    if !holds(Check::ParamsDigest, right) {
        return Err(ReadError::Forged);
    }
    Ok(Params::read(&mut &payload[..])?)
}

/// Whether [`from_bytes`] takes nothing but the right parameters for this `k`.
pub fn is_pinned(k: u32) -> bool {
    pinned(k).is_some()
}

/// The known digest for `k`, if there is one.
fn pinned(k: u32) -> Option<&'static str> {
    DIGESTS.get(k.checked_sub(MIN_K)? as usize).copied()
}

fn digest_of(payload: &[u8]) -> String {
    Digest::of("zkinfer-params", payload).to_string()
}

/// Size of a file for `k`: header, `k`, two bases, two points, checksum.
pub fn file_len(k: u32) -> usize {
    10 + 4 + 2 * (32 << k) + 64 + 32
}

#[cfg(test)]
mod tests;
