//! Cards and proofs: the two things that are published.

use crate::C;
use crate::codec::{MAX_NODES, Reader, Writer, decode_points, read_program, write_program};
use crate::error::DecodeError;
use crate::link::LinkProof;
use crate::program::Program;
use crate::receipt::Refusal;
use crate::statement::{Claim, read_digest, read_lanes};
use crate::support::SupportProof;
use crate::transcript::Digest;
use crate::verify::Limits;

/// Version of the formats of what is published, cards and proofs, and of what workers make them of.
pub const FORMAT_VERSION: u16 = 4;
/// Version of the format of models.
const MODEL_VERSION: u16 = 2;
/// Version of the formats of what is kept besides.
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
    /// Generators, for verifiers.
    Generators = 5,
    /// A segment of a model with its weights and blinds, for a worker: secret.
    Segment,
    /// What a worker is asked to do: secret.
    Job,
    /// What came of a job: secret until it is part of a proof.
    Outcome,
    /// Quantized model that nobody is committed to yet: secret.
    Quantized,
}

impl FileKind {
    /// Name for messages.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Model => "model",
            FileKind::Card => "card",
            FileKind::Proof => "proof",
            FileKind::Params => "params",
            FileKind::Generators => "generators",
            FileKind::Segment => "segment",
            FileKind::Job => "job",
            FileKind::Outcome => "outcome",
            FileKind::Quantized => "quantized",
        }
    }

    /// Version of the format that this build writes and reads.
    pub fn version(self) -> u16 {
        match self {
            FileKind::Card | FileKind::Proof => FORMAT_VERSION,
            // A worker of another circuit would prove what no verifier accepts.
            FileKind::Segment | FileKind::Job | FileKind::Outcome => FORMAT_VERSION,
            FileKind::Model => MODEL_VERSION,
            FileKind::Params | FileKind::Generators => KEPT_VERSION,
            FileKind::Quantized => KEPT_VERSION,
        }
    }

    fn from_byte(byte: u8) -> Option<FileKind> {
        [
            FileKind::Model,
            FileKind::Card,
            FileKind::Proof,
            FileKind::Params,
            FileKind::Generators,
            FileKind::Segment,
            FileKind::Job,
            FileKind::Outcome,
            FileKind::Quantized,
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
    /// Logarithm of the number of rows, the same in all segments.
    pub k: u32,
    /// Names, shapes and scales of inputs and outputs, for people and for helpers: opaque here, but part of the digest.
    pub info: Vec<u8>,
    /// What the model consists of, in order: the output of each is the next one's input. Most models are one.
    pub segments: Vec<Segment>,
}

/// A part of a model that is proven by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The architecture.
    pub program: Program,
    /// The commitment to its weights, in the order of [`crate::fold::groups`].
    pub points: Vec<C>,
    /// Commitments to the fixed columns. They follow from `program` and `k`, and are given because checking them is nearly
    /// free ([`Verifier::new`](crate::verify::Verifier::new) does) and making them is not.
    pub fixed: Vec<C>,
    /// Shows that the commitment fits the architecture.
    pub support: SupportProof,
}

impl Card {
    /// Identity of the model: binds everything but what follows from it and is checked, the commitments to fixed columns and
    /// the support proofs.
    pub fn digest(&self) -> Digest {
        let mut w = Writer::default();
        self.write_bound(&mut w);
        Digest::of("zkinfer-card", &w.bytes)
    }

    fn write_bound(&self, w: &mut Writer) {
        w.u32(self.k);
        w.blob(&self.info);
        w.len(self.segments.len());
        for segment in &self.segments {
            write_program(w, &segment.program);
            w.len(segment.points.len());
            segment.points.iter().for_each(|p| w.point(p));
        }
    }

    /// `T` of the first segment, and of all if the card is valid.
    pub fn range_bits(&self) -> u32 {
        self.segments.first().map_or(0, |s| s.program.range_bits)
    }

    /// Integers of an input.
    pub fn input_len(&self) -> usize {
        self.segments.first().map_or(0, |s| s.program.input_len())
    }

    /// Integers of an output.
    pub fn output_len(&self) -> usize {
        self.segments.last().map_or(0, |s| s.program.output_len())
    }

    /// Points of the model commitment.
    pub fn points(&self) -> usize {
        self.segments.iter().map(|s| s.points.len()).sum()
    }

    /// The architecture, segment by segment.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.segments.iter().map(|s| &s.program)
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write_bound(&mut w);
        for segment in &self.segments {
            w.len(segment.fixed.len());
            segment.fixed.iter().for_each(|p| w.point(p));
        }
        self.segments.iter().for_each(|s| s.support.write(&mut w));
        seal(FileKind::Card, &w.bytes)
    }

    /// Reads a file of at most `limit` bytes, whatever it asks for: one's own. For somebody else's there is
    /// [`Card::from_bytes_within`]. The content is checked by [`crate::verify::Verifier::new`].
    ///
    /// # Errors
    /// See [`open`]; never panics.
    pub fn from_bytes(bytes: &[u8], limit: usize) -> Result<Card, DecodeError> {
        let head = Head::read(bytes, limit, |_, _, _| Ok::<(), DecodeError>(()))?;
        head.card()
    }

    /// Reads a file that asks for no more than the limits. `k`, the description and the numbers of segments and points are
    /// looked at before a point is decoded, which takes a square root each.
    ///
    /// # Errors
    /// See [`open`], and [`CardError::Limit`](crate::error::CardError::Limit); never panics.
    pub fn from_bytes_within(bytes: &[u8], limits: &Limits) -> Result<Card, Refusal> {
        let allow = |k, info, segments| -> Result<(), Refusal> {
            limits.allow_k(k)?;
            limits.allow_info(info)?;
            Ok(limits.allow_segments(segments, k)?)
        };
        let head = Head::read(bytes, limits.card_bytes, allow)?;
        limits.allow_points(head.points())?;
        Ok(head.card()?)
    }
}

/// A card's file, before points are decoded.
struct Head<'a> {
    k: u32,
    info: &'a [u8],
    segments: Vec<(Program, &'a [[u8; 32]])>,
    fixed: Vec<&'a [[u8; 32]]>,
    rest: Reader<'a>,
}

impl<'a> Head<'a> {
    /// Reads a file. `allow` is asked when `k`, the length of the description and the number of segments are known.
    fn read<E: From<DecodeError>>(
        bytes: &'a [u8],
        limit: usize,
        allow: impl FnOnce(u32, usize, usize) -> Result<(), E>,
    ) -> Result<Head<'a>, E> {
        let invalid = |what| DecodeError::Invalid { what };
        let mut r = Reader::new(open(FileKind::Card, bytes, limit)?);
        let (k, info) = (r.u32()?, r.blob()?);
        // The shortest program has four numbers.
        let count = r.len(16)?;
        if count == 0 {
            return Err(invalid("number of segments").into());
        }
        allow(k, info.len(), count)?;
        let mut nodes = 0;
        let mut segment = |r: &mut Reader<'a>| {
            let program = read_program(r)?;
            nodes += program.nodes.len();
            if nodes > MAX_NODES {
                return Err(invalid("number of nodes"));
            }
            Ok((program, r.arrays()?))
        };
        Ok(Head {
            k,
            info,
            segments: r.list(count, &mut segment)?,
            fixed: r.list(count, Reader::arrays)?,
            rest: r,
        })
    }

    /// Points that are decoded, those of support proofs aside.
    fn points(&self) -> usize {
        let committed = self.segments.iter().map(|s| s.1.len());
        committed.chain(self.fixed.iter().map(|f| f.len())).sum()
    }

    fn card(self) -> Result<Card, DecodeError> {
        let mut r = self.rest;
        let parts = self.segments.into_iter().zip(self.fixed);
        let mut segments = parts
            .map(|((program, points), fixed)| {
                Ok(Segment {
                    program,
                    points: decode_points(points)?,
                    fixed: decode_points(fixed)?,
                    support: SupportProof::default(),
                })
            })
            .collect::<Result<Vec<Segment>, DecodeError>>()?;
        for segment in &mut segments {
            // Every group has points.
            segment.support = SupportProof::read(&mut r, segment.points.len())?;
        }
        r.finish()?;
        Ok(Card {
            k: self.k,
            info: self.info.to_vec(),
            segments,
        })
    }
}

/// A proof of one or several runs of a model, and the claims that travel with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Digest of the card that it was made for.
    pub card: Digest,
    /// Claimed context.
    pub context: Vec<u8>,
    /// Claimed input and output of every run.
    pub runs: Vec<(Claim, Claim)>,
    /// What shows each of the model's segments, in order.
    pub segments: Vec<SegmentProof>,
}

/// What shows one segment of a model, for all runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentProof {
    /// Of every run, commitments to what the next segment reads, one per lane. Of the last segment, none.
    pub boundary: Vec<Vec<C>>,
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
        w.len(self.runs.len());
        for (input, output) in &self.runs {
            input.write(&mut w);
            output.write(&mut w);
        }
        w.len(self.segments.len());
        for segment in &self.segments {
            for points in &segment.boundary {
                w.len(points.len());
                points.iter().for_each(|p| w.point(p));
            }
            segment.link.write(&mut w);
            w.blob(&segment.halo2);
        }
        seal(FileKind::Proof, &w.bytes)
    }

    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// See [`open`]; never panics.
    pub fn from_bytes(bytes: &[u8], limit: usize) -> Result<Proof, DecodeError> {
        let allow = |_| Ok::<(), DecodeError>(());
        Proof::read(bytes, limit, allow)
    }

    /// How many runs a file says that its proof is of, from its first bytes: 5,000 of them are enough. `None` if it is no proof
    /// that this build reads.
    pub fn runs_of(head: &[u8]) -> Option<usize> {
        let found = FileKind::of(head).ok().filter(|k| *k == FileKind::Proof)?;
        let mut r = Reader::new(head.get(MAGIC.len() + 1..)?);
        let version = r.u16().ok().filter(|v| *v == found.version());
        version.and_then(|_| read_digest(&mut r).ok())?;
        r.blob().ok()?;
        r.u32().ok().map(|runs| runs as usize)
    }

    /// Reads a file of as many runs as `allow` does not refuse. It is asked before a claim is decoded.
    pub(crate) fn read<E: From<DecodeError>>(
        bytes: &[u8],
        limit: usize,
        allow: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<Proof, E> {
        let mut r = Reader::new(open(FileKind::Proof, bytes, limit)?);
        let card = read_digest(&mut r)?;
        let context = r.blob()?.to_vec();
        // The shortest claim has 5 bytes.
        let runs = r.len(10)?;
        allow(runs)?;
        let claims = r.list(runs, |r| Ok((Claim::read(r)?, Claim::read(r)?)))?;
        let count = r.len(LinkProof::BYTES + 4)?;
        let mut left = count;
        let segment = |r: &mut Reader<'_>| {
            left -= 1;
            // Behind the last one there is no boundary.
            let boundaries = if left > 0 { runs } else { 0 };
            Ok(SegmentProof {
                boundary: r.list(boundaries, read_lanes)?,
                link: LinkProof::read(r)?,
                halo2: r.blob()?.to_vec(),
            })
        };
        let segments = r.list(count, segment)?;
        r.finish()?;
        Ok(Proof {
            card,
            context,
            runs: claims,
            segments,
        })
    }
}
