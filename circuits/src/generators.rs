//! The generators of all commitments: what a verifier needs of the parameters.
//!
//! `g_0, …, g_{2^k−1}`, `w` and `u` are hashes to the curve, the ones that [`Params::new`] makes, and those for a smaller `k`
//! are the first of those for a larger one. A prover needs the Lagrange base as well; a verifier does without: a combination
//! of Lagrange generators is, by an inverse transform of its coefficients, one of the `g_i`.
//!
//! As a file they are uncompressed, so that reading takes no square roots: 64 bytes a point. Somebody who could slip in
//! generators of their choice could have wrong proofs accepted; therefore the digest of the right ones is part of this
//! crate, for every `k` up to [`MAX_PINNED_K`], and [`Generators::from_bytes`] takes no others.

use crate::C;
use crate::card::{FileKind, open, seal};
use crate::checks::{Check, holds};
use crate::codec::Reader;
use crate::error::DecodeError;
use crate::layout::{MAX_K, MIN_K};
use crate::parallel;
use crate::params::ReadError;
use crate::transcript::Digest;
use ff::{Field, PrimeField};
use group::{Curve, CurveAffine as _};
use halo2_proofs::poly::commitment::Params;
use pasta_curves::arithmetic::{Coordinates, CurveAffine, CurveExt};
use pasta_curves::{Eq, Fq};

/// Largest `k` whose generators' digest is known: the largest that a circuit may have.
pub const MAX_PINNED_K: u32 = 18;

/// Bytes of a point.
const SIZE: usize = 64;
/// Points that one thread takes at a time.
const CHUNK: usize = 256;

/// Blake2b-256 ("zkinfer-gens") of the payload for `k` = 6 and on.
const DIGESTS: [&str; 13] = [
    "de763f1118616f877849acc7bd5e42c3ba582b988b15a14e5319cc05913b8d96",
    "be3796d2518467cea55faa46af8f175973169ea10671eaf33119f55566ac8570",
    "31c6895df8896ec36b864aa7121e1545d8571854ec886d7e8262a876088f5095",
    "36392a8bef6fed351a11511c7288de01d757c3f171cd03570bda9b99bb0f1541",
    "353f8ebd27ef11d7d49c6df1d288f8cebbbcecd8ca2ec493346c5b50b58efb82",
    "25cef3ba44dfb2bd1c5f3fd8b964d679d0ef776756631e6a7490dd713e18e26a",
    "27a02649d988e378bb1efc4c21d611a3f4ab4d577d1d52cb586c003b957ec1d0",
    "03f24fd0ac1406b2139ba1e683a7942b9be4cb5278abcb05f728826df6d60c74",
    "35626911e558cabf937e74615cf9bdab689f3fdd9f574ce73c6830ec632b8401",
    "82f43fa7a74ce958b330a49034f2cdca9d3bb53f548211b328d4bb6ff61111fd",
    "3e359dd00e9e0e584692ab35013a6584369c5c7ed0966cc67ed23196bef80136",
    "df69938d7465f4524f57d59957efabf52172e18e52e0b1e0655bd6d4d0b0069a",
    "bad152c7f3a457cf3bf00ab7d0beb1090f818c99149bb7bc215f764f14775a34",
];

/// Generators for vectors of `2^k` values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generators {
    k: u32,
    g: Vec<C>,
    w: C,
    u: C,
}

impl Generators {
    /// Makes them: about 15 µs a point on one core.
    pub fn new(k: u32) -> Generators {
        let numbers: Vec<u32> = (0..1u32 << k).collect();
        let chunks: Vec<&[u32]> = numbers.chunks(CHUNK).collect();
        let hash = |numbers: &&[u32]| {
            let hash = Eq::hash_to_curve(DOMAIN);
            let points: Vec<Eq> = numbers
                .iter()
                .map(|i| {
                    let [a, b, c, d] = i.to_le_bytes();
                    hash(&[0, a, b, c, d])
                })
                .collect();
            let mut affine = vec![C::identity(); points.len()];
            Eq::batch_normalize(&points, &mut affine);
            affine
        };
        Generators::with(k, parallel::map(&chunks, hash).concat())
    }

    /// Those of a prover's parameters.
    pub fn of(params: &Params<C>) -> Generators {
        Generators::with(params.k(), params.get_g())
    }

    fn with(k: u32, g: Vec<C>) -> Generators {
        let hash = Eq::hash_to_curve(DOMAIN);
        Generators {
            k,
            g,
            w: hash(&[1]).to_affine(),
            u: hash(&[2]).to_affine(),
        }
    }

    /// Logarithm of how many there are.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// `g`, then `w` and `u`.
    pub(crate) fn points(&self) -> impl Iterator<Item = C> {
        self.g.iter().copied().chain([self.w, self.u])
    }

    /// As a sealed file.
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(FileKind::Generators, &self.payload())
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = self.k.to_le_bytes().to_vec();
        payload.reserve(file_len(self.k));
        for point in [self.w, self.u].iter().chain(&self.g) {
            let coordinates: Option<Coordinates<C>> = point.coordinates().into();
            // None of them is the identity, which has none.
            let [x, y] = coordinates.map_or([Fq::ZERO; 2], |c| [*c.x(), *c.y()]);
            payload.extend_from_slice(&x.to_repr());
            payload.extend_from_slice(&y.to_repr());
        }
        payload
    }

    /// Reads a sealed file. Only the right ones are taken.
    ///
    /// # Errors
    /// A damaged file, or one with other content; see [`ReadError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Generators, ReadError> {
        let payload = open(FileKind::Generators, bytes, file_len(MAX_K))?;
        let k = Reader::new(payload).u32()?;
        if !(MIN_K..=MAX_K).contains(&k) {
            return Err(ReadError::OtherK { found: k });
        }
        if bytes.len() != file_len(k) {
            return Err(DecodeError::Invalid {
                what: "length of generators",
            }
            .into());
        }
        let right = pinned(k).is_some_and(|digest| digest_of(payload) == digest);
        if !holds(Check::ParamsDigest, right) {
            return Err(ReadError::Forged);
        }
        Generators::trusted(k, &payload[4..]).ok_or(ReadError::Forged)
    }

    /// Reads the points of a file for this or a larger `k`, without comparing digests: for bytes that are part of a program.
    /// `None` if there are too few, or one is no point of the curve.
    pub fn trusted(k: u32, points: &[u8]) -> Option<Generators> {
        let len = SIZE.checked_mul(2 + 1usize.checked_shl(k)?)?;
        let chunks: Vec<&[u8]> = points.get(..len)?.chunks(SIZE * CHUNK).collect();
        let decoded = parallel::map(&chunks, |chunk| {
            chunk
                .chunks_exact(SIZE)
                .map(point)
                .collect::<Option<Vec<C>>>()
        });
        let mut all = Vec::with_capacity(len / SIZE);
        for chunk in decoded {
            all.extend(chunk?);
        }
        let g = all.split_off(2);
        Some(Generators {
            k,
            g,
            w: all[0],
            u: all[1],
        })
    }
}

/// What upstream hashes under.
const DOMAIN: &str = "Halo2-Parameters";

fn point(bytes: &[u8]) -> Option<C> {
    let coordinate = |bytes: &[u8]| -> Option<Fq> {
        let mut repr = [0; 32];
        repr.copy_from_slice(bytes);
        Option::from(Fq::from_repr(repr))
    };
    let (x, y) = bytes.split_at(SIZE / 2);
    Option::from(C::from_xy(coordinate(x)?, coordinate(y)?))
}

/// The known digest for `k`, if there is one.
fn pinned(k: u32) -> Option<&'static str> {
    DIGESTS.get(k.checked_sub(MIN_K)? as usize).copied()
}

/// Whether there are generators for this `k` that [`Generators::from_bytes`] takes.
pub fn is_pinned(k: u32) -> bool {
    pinned(k).is_some()
}

fn digest_of(payload: &[u8]) -> String {
    Digest::of("zkinfer-gens", payload).to_string()
}

/// Size of a file for `k`: header, `k`, points, checksum.
pub fn file_len(k: u32) -> usize {
    10 + 4 + SIZE * (2 + (1 << k)) + 32
}

#[cfg(test)]
mod tests;
