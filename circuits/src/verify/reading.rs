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

/// What a proof of several runs consists of, where it is not the same for all runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Runs.
    pub runs: usize,
    /// Instance columns and their evaluations.
    pub instance: (usize, usize),
    /// Advice columns and their evaluations.
    pub advice: (usize, usize),
}

/// Evaluations of the instance and the advice columns as a twin asks for them, run by run both. In the proof, and so in
/// the transcript, those of all instances come first.
#[derive(Debug)]
pub(super) struct Evaluations {
    shape: Shape,
    ready: Option<std::vec::IntoIter<F>>,
}

impl Evaluations {
    /// Nothing is read yet.
    pub fn new(shape: Shape) -> Self {
        Evaluations { shape, ready: None }
    }

    /// The next one; `None` behind the last. The first time, `read` has to read them all.
    pub fn next(&mut self, read: impl FnMut() -> io::Result<F>) -> io::Result<Option<F>> {
        let ready = match &mut self.ready {
            Some(ready) => ready,
            none => none.insert(self.shape.reordered(read)?.into_iter()),
        };
        Ok(ready.next())
    }
}

impl Shape {
    /// Which instance column a twin asks for with its point number `at`, if it is one.
    pub fn instance_column(&self, at: usize) -> Option<usize> {
        let of_run = self.instance.0 + self.advice.0;
        let column = at.checked_rem(of_run)?;
        (at < self.runs * of_run && column < self.instance.0).then_some(column)
    }

    fn reordered(&self, read: impl FnMut() -> io::Result<F>) -> io::Result<Vec<F>> {
        let (instance, advice) = (self.instance.1, self.advice.1);
        let all = std::iter::repeat_with(read).take(self.runs * (instance + advice));
        let all = all.collect::<io::Result<Vec<F>>>()?;
        let (instances, advices) = all.split_at(self.runs * instance);
        let of_run = |run: usize| {
            let instance = &instances[run * instance..(run + 1) * instance];
            instance
                .iter()
                .chain(&advices[run * advice..(run + 1) * advice])
        };
        Ok((0..self.runs).flat_map(of_run).copied().collect())
    }
}

/// What a transcript holds that is not what a twin asks for; see [`super::stand_ins`].
#[derive(Debug)]
pub(super) struct Head {
    shape: Shape,
    key: Option<F>,
    instance: Vec<C>,
    /// Whether the twin sees the identity in place of every point.
    apart: bool,
    /// Points that were asked for.
    asked: usize,
    evaluations: Evaluations,
}

impl Head {
    /// What is absorbed of the key, and commitments to the instance columns of a run, which are the twin's first columns.
    pub fn new(shape: Shape, key: F, instance: Vec<C>, apart: bool) -> Head {
        Head {
            shape,
            key: Some(key),
            instance,
            apart,
            asked: 0,
            evaluations: Evaluations::new(shape),
        }
    }

    /// The point that is asked for if it is a commitment to an instance column, which was absorbed with the key.
    fn instance(&mut self) -> Option<C> {
        let column = self.shape.instance_column(self.asked);
        self.asked += 1;
        let commitment = self.instance.get(column?).copied();
        commitment.map(|c| if self.apart { C::identity() } else { c })
    }
}

/// Reads a proof as `Blake2bRead` does.
pub(super) struct ProofReader<'a> {
    decoded: &'a Decoded<'a>,
    at: usize,
    hash: Blake2bWrite<io::Sink, C, Challenge255<C>>,
    /// Of a twin.
    head: Option<Head>,
    /// What went through it.
    pub record: Record,
    /// The last two scalars that were read.
    pub last: [F; 2],
    /// Why something could not be read.
    pub broken: Option<&'static str>,
}

impl<'a> ProofReader<'a> {
    /// Reads from the beginning. `head`: where upstream verifies a twin.
    pub fn new(decoded: &'a Decoded<'a>, head: Option<Head>) -> Self {
        ProofReader {
            decoded,
            at: 0,
            hash: Blake2bWrite::init(io::sink()),
            head,
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
        let Some(head) = &mut self.head else {
            return self.hash.common_scalar(scalar);
        };
        let Some(key) = head.key.take() else {
            return self.hash.common_scalar(scalar);
        };
        self.hash.common_scalar(key)?;
        for _ in 0..head.shape.runs {
            for commitment in &head.instance {
                self.hash.common_point(*commitment)?;
            }
        }
        Ok(())
    }
}

impl TranscriptRead<C, Challenge255<C>> for ProofReader<'_> {
    fn read_point(&mut self) -> io::Result<C> {
        if let Some(commitment) = self.head.as_mut().and_then(Head::instance) {
            return Ok(commitment);
        }
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
        Ok(if self.head.as_ref().is_some_and(|head| head.apart) {
            C::identity()
        } else {
            point
        })
    }

    fn read_scalar(&mut self) -> io::Result<F> {
        let Some(mut head) = self.head.take() else {
            return self.scalar();
        };
        let next = head.evaluations.next(|| self.scalar());
        self.head = Some(head);
        next?.map_or_else(|| self.scalar(), Ok)
    }
}
