//! A proof as a transcript whose points are decoded once.
//!
//! Decompressing a point takes a square root, and the commitments at the head of a proof are needed before the transcript
//! reads them again. Where the points of a proof stand is known beforehand, so that they can be decoded at once,
//! on all threads. A point that stands elsewhere is decoded where it is met: the positions matter for speed alone.

use crate::C;
use crate::F;
use crate::codec::decompress;
use ff::PrimeField;
use group::GroupEncoding;
use halo2_proofs::transcript::{Blake2bWrite, Challenge255, EncodedChallenge, Transcript};
use std::io;

/// Bytes of a point or a scalar.
const SIZE: usize = 32;

/// The bytes of a proof and those of its points that are decoded.
pub(super) struct Decoded<'a> {
    bytes: &'a [u8],
    head: Vec<Option<C>>,
    /// Where the points near the end begin.
    tail_at: usize,
    tail: Vec<Option<C>>,
}

impl<'a> Decoded<'a> {
    /// Decodes `head` points at the beginning, and the points of the opening argument of a commitment to `2^k` values,
    /// which is the end of the proof.
    pub fn new(bytes: &'a [u8], head: usize, k: u32) -> Self {
        let head = head.min(bytes.len() / SIZE);
        // A blinding commitment, two points a round, two scalars.
        let tail = 2 * k as usize + 1;
        let tail_at = bytes.len().saturating_sub((tail + 2) * SIZE);
        let tail = if tail_at >= head * SIZE { tail } else { 0 };
        let repr = |at: usize| {
            let mut repr = [0; SIZE];
            repr.copy_from_slice(&bytes[at..at + SIZE]);
            repr
        };
        let places: Vec<[u8; SIZE]> = (0..head)
            .map(|i| repr(i * SIZE))
            .chain((0..tail).map(|i| repr(tail_at + i * SIZE)))
            .collect();
        let mut head_points = decompress(&places);
        let tail = head_points.split_off(head);
        Decoded {
            bytes,
            head: head_points,
            tail_at,
            tail,
        }
    }

    /// The first points; `None` if there are fewer, or one is not a point.
    pub fn first(&self, count: usize) -> Option<Vec<C>> {
        self.head.get(..count)?.iter().copied().collect()
    }

    fn point(&self, at: usize) -> Option<C> {
        let known = |at: usize, points: &[Option<C>]| {
            (at.is_multiple_of(SIZE)).then(|| points.get(at / SIZE).copied())?
        };
        let found = known(at, &self.head)
            .or_else(|| known(at.checked_sub(self.tail_at)?, &self.tail))
            .or_else(|| Some(decode(self.bytes.get(at..at + SIZE)?)));
        found.flatten()
    }
}

fn decode(bytes: &[u8]) -> Option<C> {
    let mut repr = [0; SIZE];
    repr.copy_from_slice(bytes);
    Option::from(C::from_bytes(&repr))
}

/// Reads a proof as upstream's `Blake2bRead` does. Errors say what could not be read.
pub(super) struct ProofReader<'a> {
    decoded: &'a Decoded<'a>,
    at: usize,
    hash: Blake2bWrite<io::Sink, C, Challenge255<C>>,
}

impl<'a> ProofReader<'a> {
    /// Reads from the beginning.
    pub fn new(decoded: &'a Decoded<'a>) -> Self {
        ProofReader {
            decoded,
            at: 0,
            hash: Blake2bWrite::init(io::sink()),
        }
    }

    /// Bytes that were not read.
    pub fn left(&self) -> usize {
        self.decoded.bytes.len() - self.at
    }

    /// The next challenge.
    pub fn challenge(&mut self) -> F {
        self.hash.squeeze_challenge().get_scalar()
    }

    /// Absorbs what is not in the proof.
    pub fn absorb(&mut self, scalar: F) {
        self.hash
            .common_scalar(scalar)
            .expect("absorbing a scalar writes to nowhere and cannot fail");
    }

    /// The next points.
    pub fn points(&mut self, count: usize) -> Result<Vec<C>, &'static str> {
        (0..count).map(|_| self.point()).collect()
    }

    fn point(&mut self) -> Result<C, &'static str> {
        if self.left() < SIZE {
            return Err("proof is too short");
        }
        let point = self.decoded.point(self.at).ok_or("invalid curve point")?;
        self.at += SIZE;
        let absorbed = self.hash.common_point(point);
        absorbed.map_err(|_| "commitment is the identity")?;
        Ok(point)
    }

    /// The next scalars.
    pub fn scalars(&mut self, count: usize) -> Result<Vec<F>, &'static str> {
        (0..count).map(|_| self.scalar()).collect()
    }

    /// The next scalar.
    pub fn scalar(&mut self) -> Result<F, &'static str> {
        let bytes = self.decoded.bytes.get(self.at..self.at + SIZE);
        let mut repr = [0; SIZE];
        repr.copy_from_slice(bytes.ok_or("proof is too short")?);
        let scalar = Option::from(F::from_repr(repr)).ok_or("invalid scalar")?;
        self.at += SIZE;
        self.absorb(scalar);
        Ok(scalar)
    }
}
