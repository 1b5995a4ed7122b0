//! Cards and proofs: the two things that are published.

use crate::C;
use crate::codec::{Reader, Writer, decode_points, read_program, write_program};
use crate::error::DecodeError;
use crate::link::LinkProof;
use crate::program::Program;
use crate::receipt::Refusal;
use crate::statement::{Claim, read_digest};
use crate::support::SupportProof;
use crate::transcript::Digest;
use crate::verify::Limits;

/// Version of the formats of what is published: cards and proofs.
pub const FORMAT_VERSION: u16 = 3;
/// Version of the formats of what is kept: models, parameters and generators.
const KEPT_VERSION: u16 = 1;
const MAGIC: &[u8; 7] = b"zkinfer";

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// Quantized model with weights and blinds: secret.
    Model,
    /// Architecture and model commitment: public.
    Card,
    /// Proof with its claims.
    Proof,
    /// Cached parameters, for provers.
    Params,
    /// Proof of several runs with its claims.
    MultiProof,
    /// Generators, for verifiers.
    Generators,
}

impl FileKind {
    /// Name for messages.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Model => "model",
            FileKind::Card => "card",
            FileKind::Proof => "proof",
            FileKind::Params => "params",
            FileKind::MultiProof => "proof of several runs",
            FileKind::Generators => "generators",
        }
    }

    /// Version of the format that this build writes and reads.
    pub fn version(self) -> u16 {
        match self {
            FileKind::Card | FileKind::Proof | FileKind::MultiProof => FORMAT_VERSION,
            FileKind::Model | FileKind::Params | FileKind::Generators => KEPT_VERSION,
        }
    }

    fn from_byte(byte: u8) -> Option<FileKind> {
        [
            FileKind::Model,
            FileKind::Card,
            FileKind::Proof,
            FileKind::Params,
            FileKind::MultiProof,
            FileKind::Generators,
        ]
        .into_iter()
        .find(|k| *k as u8 == byte)
    }

    /// Reads the kind of a file from its first bytes.
    ///
    /// # Errors
    /// If it is not a file of this project.
    pub fn of(bytes: &[u8]) -> Result<FileKind, DecodeError> {
        let mut r = Reader::new(bytes);
        if r.take(MAGIC.len())? != MAGIC {
            return Err(DecodeError::Magic);
        }
        FileKind::from_byte(r.u8()?).ok_or(DecodeError::Invalid {
            what: "kind of file",
        })
    }
}

/// Wraps a payload: magic, kind, version, payload, checksum.
pub fn seal(kind: FileKind, payload: &[u8]) -> Vec<u8> {
    let mut w = Writer::default();
    w.bytes.extend_from_slice(MAGIC);
    w.u8(kind as u8);
    w.u16(kind.version());
    w.bytes.extend_from_slice(payload);
    let checksum = Digest::of("zkinfer-file", &w.bytes);
    w.bytes.extend_from_slice(&checksum.0);
    w.bytes
}

/// Unwraps a payload.
///
/// # Errors
/// Tells apart what is wrong: not ours, another kind, another version, damaged, too large.
pub fn open(kind: FileKind, bytes: &[u8], limit: usize) -> Result<&[u8], DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLarge {
            bytes: bytes.len(),
            limit,
        });
    }
    let found = FileKind::of(bytes)?;
    if found != kind {
        return Err(DecodeError::Kind {
            expected: kind.name(),
            found: found.name(),
        });
    }
    let mut r = Reader::new(&bytes[MAGIC.len() + 1..]);
    let version = r.u16()?;
    if version != kind.version() {
        return Err(DecodeError::Version {
            found: version,
            supported: kind.version(),
        });
    }
    let Some(end) = bytes
        .len()
        .checked_sub(32)
        .filter(|&end| end >= MAGIC.len() + 3)
    else {
        return Err(DecodeError::Truncated);
    };
    if Digest::of("zkinfer-file", &bytes[..end]).0 != bytes[end..] {
        return Err(DecodeError::Checksum);
    }
    Ok(&bytes[MAGIC.len() + 3..end])
}

/// Everything that is published of a model: what a verifier needs.
///
/// It reveals the architecture (shapes, wiring, activation tables with their scales), `k`, and the scales of inputs and
/// outputs; weights only if they were committed without blinds.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The architecture.
    pub program: Program,
    /// Logarithm of the number of rows.
    pub k: u32,
    /// Names, shapes and scales of inputs and outputs, for people and for helpers: opaque here, but part of the digest.
    pub info: Vec<u8>,
    /// The model commitment, in the order of [`crate::fold::groups`].
    pub points: Vec<C>,
    /// Commitments to the fixed columns. They follow from `program` and `k`, and are given because checking them is nearly
    /// free ([`Verifier::new`](crate::verify::Verifier::new) does) and making them is not.
    pub fixed: Vec<C>,
    /// Shows that the commitment fits the architecture.
    pub support: SupportProof,
}

impl Card {
    /// Identity of the model: binds everything but what follows from it and is checked, the commitments to fixed columns and
    /// the support proof.
    pub fn digest(&self) -> Digest {
        let mut w = Writer::default();
        self.write_bound(&mut w);
        Digest::of("zkinfer-card", &w.bytes)
    }

    fn write_bound(&self, w: &mut Writer) {
        write_program(w, &self.program);
        w.u32(self.k);
        w.blob(&self.info);
        w.len(self.points.len());
        self.points.iter().for_each(|p| w.point(p));
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write_bound(&mut w);
        w.len(self.fixed.len());
        self.fixed.iter().for_each(|p| w.point(p));
        self.support.write(&mut w);
        seal(FileKind::Card, &w.bytes)
    }

    /// Reads a file of at most `limit` bytes, whatever it asks for: one's own. For somebody else's there is
    /// [`Card::from_bytes_within`]. The content is checked by [`crate::verify::Verifier::new`].
    ///
    /// # Errors
    /// See [`open`]; never panics.
    pub fn from_bytes(bytes: &[u8], limit: usize) -> Result<Card, DecodeError> {
        let head = Head::read(bytes, limit)?;
        head.card()
    }

    /// Reads a file that asks for no more than the limits. `k`, the description and the number of points are looked at
    /// before a point is decoded, which takes a square root each.
    ///
    /// # Errors
    /// See [`open`], and [`CardError::Limit`](crate::error::CardError::Limit); never panics.
    pub fn from_bytes_within(bytes: &[u8], limits: &Limits) -> Result<Card, Refusal> {
        let head = Head::read(bytes, limits.card_bytes)?;
        limits.allow_k(head.k)?;
        limits.allow_info(head.info.len())?;
        limits.allow_points(head.points.len() + head.fixed.len())?;
        Ok(head.card()?)
    }
}

/// A card's file, before points are decoded.
struct Head<'a> {
    program: Program,
    k: u32,
    info: &'a [u8],
    points: &'a [[u8; 32]],
    fixed: &'a [[u8; 32]],
    rest: Reader<'a>,
}

impl<'a> Head<'a> {
    fn read(bytes: &'a [u8], limit: usize) -> Result<Head<'a>, DecodeError> {
        let mut r = Reader::new(open(FileKind::Card, bytes, limit)?);
        Ok(Head {
            program: read_program(&mut r)?,
            k: r.u32()?,
            info: r.blob()?,
            points: r.arrays()?,
            fixed: r.arrays()?,
            rest: r,
        })
    }

    fn card(self) -> Result<Card, DecodeError> {
        let mut r = self.rest;
        let points = decode_points(self.points)?;
        let fixed = decode_points(self.fixed)?;
        // Every group has points.
        let support = SupportProof::read(&mut r, self.points.len())?;
        r.finish()?;
        Ok(Card {
            program: self.program,
            k: self.k,
            info: self.info.to_vec(),
            points,
            fixed,
            support,
        })
    }
}

/// A proof and the claims that travel with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Digest of the card that it was made for.
    pub card: Digest,
    /// Claimed context.
    pub context: Vec<u8>,
    /// Claimed input.
    pub input: Claim,
    /// Claimed output.
    pub output: Claim,
    /// Upstream's proof bytes.
    pub halo2: Vec<u8>,
    /// The link proof.
    pub link: LinkProof,
}

impl Proof {
    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes.extend_from_slice(&self.card.0);
        w.blob(&self.context);
        self.input.write(&mut w);
        self.output.write(&mut w);
        self.link.write(&mut w);
        w.blob(&self.halo2);
        seal(FileKind::Proof, &w.bytes)
    }

    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// See [`open`]; never panics.
    pub fn from_bytes(bytes: &[u8], limit: usize) -> Result<Proof, DecodeError> {
        let mut r = Reader::new(open(FileKind::Proof, bytes, limit)?);
        let card = read_digest(&mut r)?;
        let context = r.blob()?.to_vec();
        let input = Claim::read(&mut r)?;
        let output = Claim::read(&mut r)?;
        let link = LinkProof::read(&mut r)?;
        let halo2 = r.blob()?.to_vec();
        r.finish()?;
        Ok(Proof {
            card,
            context,
            input,
            output,
            halo2,
            link,
        })
    }
}

/// One proof of several runs of a model, and the claims that travel with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiProof {
    /// Digest of the card that it was made for.
    pub card: Digest,
    /// Claimed context.
    pub context: Vec<u8>,
    /// Claimed input and output of every run.
    pub runs: Vec<(Claim, Claim)>,
    /// Upstream's proof bytes.
    pub halo2: Vec<u8>,
    /// The link proof.
    pub link: LinkProof,
}

impl MultiProof {
    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes.extend_from_slice(&self.card.0);
        w.blob(&self.context);
        w.len(self.runs.len());
        for (input, output) in &self.runs {
            input.write(&mut w);
            output.write(&mut w);
        }
        self.link.write(&mut w);
        w.blob(&self.halo2);
        seal(FileKind::MultiProof, &w.bytes)
    }

    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// See [`open`]; never panics.
    pub fn from_bytes(bytes: &[u8], limit: usize) -> Result<MultiProof, DecodeError> {
        let allow = |_| Ok::<(), DecodeError>(());
        MultiProof::read(bytes, limit, allow)
    }

    /// Reads a file of as many runs as `allow` does not refuse. It is asked before a claim is decoded.
    pub(crate) fn read<E: From<DecodeError>>(
        bytes: &[u8],
        limit: usize,
        allow: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<MultiProof, E> {
        let mut r = Reader::new(open(FileKind::MultiProof, bytes, limit)?);
        let card = read_digest(&mut r)?;
        let context = r.blob()?.to_vec();
        // The shortest claim has 5 bytes.
        let runs = r.len(10)?;
        allow(runs)?;
        let runs = r.list(runs, |r| Ok((Claim::read(r)?, Claim::read(r)?)))?;
        let link = LinkProof::read(&mut r)?;
        let halo2 = r.blob()?.to_vec();
        r.finish()?;
        Ok(MultiProof {
            card,
            context,
            runs,
            halo2,
            link,
        })
    }
}
