//! A proof as a transcript whose points are decoded once.
//!
//! Decompressing a point takes a square root, and the commitments at the head of a proof are needed before upstream's
//! verifier reads them again. Where the points of a proof stand is known beforehand, so that they can be decoded at once,
//! on all threads. A point that stands elsewhere is decoded where it is met: the positions matter for speed alone.

use crate::C;
use crate::F;
use crate::parallel;
use ff::{Field, PrimeField};
use group::{CurveAffine as _, GroupEncoding};
use halo2_proofs::transcript::{
    Blake2bWrite, Challenge255, EncodedChallenge, Transcript, TranscriptRead,
};
use std::io;

/// Bytes of a point or a scalar.
const SIZE: usize = 32;
/// Points that one thread decodes.
const CHUNK: usize = 64;

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
        let chunks: Vec<&[[u8; SIZE]]> = places.chunks(CHUNK).collect();
        let decoded = parallel::map(&chunks, |chunk| decode_all(chunk));
        let mut head_points: Vec<Option<C>> = decoded.into_iter().flatten().collect();
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

/// Decodes points, with `zkinfer-kernels` where the machine has its instruction set.
fn decode_all(compressed: &[[u8; SIZE]]) -> Vec<Option<C>> {
    #[cfg(feature = "kernels")]
    if let Some(native) = zkinfer_kernels::native::detect() {
        return native.decompress(compressed);
    }
    compressed.iter().map(|bytes| decode(bytes)).collect()
}

fn decode(bytes: &[u8]) -> Option<C> {
    let mut repr = [0; SIZE];
    repr.copy_from_slice(bytes);
    Option::from(C::from_bytes(&repr))
}

/// What went through a transcript.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Points of the proof, in the order in which they were read.
    pub points: Vec<C>,
    /// Challenges.
    pub challenges: Vec<F>,
}

/// Reads a proof as `Blake2bRead` does.
pub(super) struct ProofReader<'a> {
    decoded: &'a Decoded<'a>,
    at: usize,
    hash: Blake2bWrite<io::Sink, C, Challenge255<C>>,
    /// Whether upstream sees the identity in place of every point.
    apart: bool,
    /// What went through it.
    pub record: Record,
    /// The last two scalars that were read.
    pub last: [F; 2],
    /// Why something could not be read.
    pub broken: Option<&'static str>,
}

impl<'a> ProofReader<'a> {
    /// Reads from the beginning. `apart`: upstream sees the identity in place of every point, see [`super::stand_ins`].
    pub fn new(decoded: &'a Decoded<'a>, apart: bool) -> Self {
        ProofReader {
            decoded,
            at: 0,
            hash: Blake2bWrite::init(io::sink()),
            apart,
            record: Record::default(),
            last: [F::ZERO; 2],
            broken: None,
        }
    }

    /// Bytes that were not read.
    pub fn left(&self) -> usize {
        self.decoded.bytes.len() - self.at
    }

    /// The next scalar of the proof.
    fn scalar(&mut self) -> io::Result<F> {
        let Some(bytes) = self.decoded.bytes.get(self.at..self.at + SIZE) else {
            return self.refuse("proof is too short");
        };
        let mut repr = [0; SIZE];
        repr.copy_from_slice(bytes);
        let Some(scalar) = Option::from(F::from_repr(repr)) else {
            return self.refuse("invalid scalar");
        };
        self.at += SIZE;
        self.last = [self.last[1], scalar];
        self.hash.common_scalar(scalar)?;
        Ok(scalar)
    }

    fn refuse<T>(&mut self, what: &'static str) -> io::Result<T> {
        self.broken = Some(what);
        Err(io::Error::other(what))
    }
}

impl Transcript<C, Challenge255<C>> for ProofReader<'_> {
    fn squeeze_challenge(&mut self) -> Challenge255<C> {
        let challenge = self.hash.squeeze_challenge();
        self.record.challenges.push(challenge.get_scalar());
        challenge
    }

    fn common_point(&mut self, point: C) -> io::Result<()> {
        self.hash.common_point(point)
    }

    fn common_scalar(&mut self, scalar: F) -> io::Result<()> {
        self.hash.common_scalar(scalar)
    }
}

impl TranscriptRead<C, Challenge255<C>> for ProofReader<'_> {
    fn read_point(&mut self) -> io::Result<C> {
        if self.left() < SIZE {
            return self.refuse("proof is too short");
        }
        let Some(point) = self.decoded.point(self.at) else {
            return self.refuse("invalid curve point");
        };
        self.at += SIZE;
        if self.hash.common_point(point).is_err() {
            return self.refuse("commitment is the identity");
        }
        self.record.points.push(point);
        Ok(if self.apart { C::identity() } else { point })
    }

    fn read_scalar(&mut self) -> io::Result<F> {
        self.scalar()
    }
}
