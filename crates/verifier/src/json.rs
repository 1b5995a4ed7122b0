//! JSON forms of card and proof: values as numbers, digests in hexadecimal, points and proofs in base64.
//!
//! They hold what the binary files hold, so each can be turned into the other without loss.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zkinfer_circuits::card::{Card, FORMAT_VERSION, Proof, Segment, SegmentProof};
use zkinfer_circuits::codec::{Reader, Writer, read_program, write_program};
use zkinfer_circuits::error::{CardError, DecodeError};
use zkinfer_circuits::layout::BLINDING_ROWS;
use zkinfer_circuits::link::LinkProof;
use zkinfer_circuits::statement::Claim;
use zkinfer_circuits::support::SupportProof;
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::Limits;
use zkinfer_circuits::{C, F};

/// Why a file cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The bytes are not what they should be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Not the JSON that it should be.
    #[error("not the expected JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A field of JSON that should be base64 is not.
    #[error("field {field:?} is not base64: {source}")]
    Base64 {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        source: base64::DecodeError,
    },
    /// A digest in JSON that is not 64 hexadecimal digits.
    #[error("field {field:?} is not a digest: 64 hexadecimal digits")]
    Digest {
        /// Which field.
        field: &'static str,
    },
    /// A card asks for more than the limits.
    #[error(transparent)]
    Limit(#[from] CardError),
    /// A digest in JSON is not that of the content.
    #[error("the content does not have the stated digest: the file is damaged or was edited")]
    Content,
}

const CARD: &str = "card";
const PROOF: &str = "proof";

/// What every JSON form begins with.
#[derive(Deserialize)]
struct Head {
    zkinfer: String,
    version: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CardJson {
    zkinfer: String,
    version: u16,
    /// The card's identity: what proofs refer to.
    digest: String,
    k: u32,
    info: Info,
    segments: Vec<SegmentJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentJson {
    program: String,
    points: String,
    fixed: String,
    support: String,
}

/// Text where it is text, so that people can read it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Info {
    Text(String),
    Base64(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofJson {
    zkinfer: String,
    version: u16,
    card: String,
    context: String,
    runs: Vec<RunJson>,
    segments: Vec<SegmentProofJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunJson {
    input: ClaimJson,
    output: ClaimJson,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentProofJson {
    /// One for each run; none of the last segment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    boundary: Vec<String>,
    link: String,
    halo2: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClaimJson {
    Values(Vec<u16>),
    Digest(String),
    Committed(String),
}

/// The JSON form of a card.
///
/// # Errors
/// None in practice: there is nothing in it that JSON cannot express.
pub fn card_to_json(card: &Card) -> Result<String, FileError> {
    let json = CardJson {
        zkinfer: CARD.to_owned(),
        version: FORMAT_VERSION,
        digest: card.digest().to_string(),
        k: card.k,
        info: match std::str::from_utf8(&card.info) {
            Ok(text) => Info::Text(text.to_owned()),
            Err(_) => Info::Base64(STANDARD.encode(&card.info)),
        },
        segments: card.segments.iter().map(SegmentJson::of).collect(),
    };
    Ok(serde_json::to_string(&json)?)
}

impl SegmentJson {
    fn of(segment: &Segment) -> SegmentJson {
        let mut program = Writer::default();
        write_program(&mut program, &segment.program);
        let mut support = Writer::default();
        segment.support.write(&mut support);
        SegmentJson {
            program: STANDARD.encode(program.bytes),
            points: encode_points(&segment.points),
            fixed: encode_points(&segment.fixed),
            support: STANDARD.encode(support.bytes),
        }
    }

    fn segment(&self) -> Result<Segment, FileError> {
        let program = decode("program", &self.program)?;
        let support = decode("support", &self.support)?;
        let points = decode_points("points", &self.points)?;
        Ok(Segment {
            program: whole(&program, read_program)?,
            fixed: decode_points("fixed", &self.fixed)?,
            support: whole(&support, |r| SupportProof::read(r, points.len()))?,
            points,
        })
    }
}

/// Reads a card's JSON form that asks for no more than the limits, which are looked at before a point is decoded.
///
/// # Errors
/// Anything that does not fit, a digest that is not the content's included; never panics.
pub fn card_from_json(text: &str, limits: &Limits) -> Result<Card, FileError> {
    check_head(text, limits.card_bytes, CARD)?;
    let json: CardJson = serde_json::from_str(text)?;
    limits.allow_k(json.k)?;
    let info = match json.info {
        Info::Text(text) => text.into_bytes(),
        Info::Base64(text) => decode("info", &text)?,
    };
    limits.allow_info(info.len())?;
    if json.segments.is_empty() {
        let what = "number of segments";
        return Err(DecodeError::Invalid { what }.into());
    }
    limits.allow_segments(json.segments.len(), json.k)?;
    // Three bytes in four digits, 32 bytes a point.
    let digits = json.segments.iter();
    let digits = digits.map(|s| s.points.len() + s.fixed.len());
    limits.allow_points(digits.sum::<usize>() / 4 * 3 / 32)?;
    let segments = json.segments.iter().map(SegmentJson::segment);
    let card = Card {
        k: json.k,
        info,
        segments: segments.collect::<Result<_, FileError>>()?,
    };
    if card.digest() != parse_digest("digest", &json.digest)? {
        return Err(FileError::Content);
    }
    Ok(card)
}

/// The JSON form of a proof.
///
/// # Errors
/// None in practice: there is nothing in it that JSON cannot express.
pub fn proof_to_json(proof: &Proof) -> Result<String, FileError> {
    let runs = proof.runs.iter().map(|(input, output)| RunJson {
        input: ClaimJson::of(input),
        output: ClaimJson::of(output),
    });
    let json = ProofJson {
        zkinfer: PROOF.to_owned(),
        version: FORMAT_VERSION,
        card: proof.card.to_string(),
        context: STANDARD.encode(&proof.context),
        runs: runs.collect(),
        segments: proof.segments.iter().map(SegmentProofJson::of).collect(),
    };
    Ok(serde_json::to_string(&json)?)
}

impl SegmentProofJson {
    fn of(proof: &SegmentProof) -> SegmentProofJson {
        let mut link = Writer::default();
        link.point(&proof.link.commitment);
        proof.link.rows.iter().for_each(|s| link.scalar(s));
        link.scalar(&proof.link.blind);
        let boundary = proof.boundary.iter();
        SegmentProofJson {
            boundary: boundary.map(|points| encode_points(points)).collect(),
            link: STANDARD.encode(link.bytes),
            halo2: STANDARD.encode(&proof.halo2),
        }
    }

    fn proof(self) -> Result<SegmentProof, FileError> {
        let link = decode("link", &self.link)?;
        let boundary = self.boundary.iter();
        let boundary = boundary.map(|points| decode_points("boundary", points));
        Ok(SegmentProof {
            boundary: boundary.collect::<Result<_, FileError>>()?,
            halo2: decode("halo2", &self.halo2)?,
            link: whole(&link, read_link)?,
        })
    }
}

/// Reads a proof's JSON form of at most `limit` bytes.
///
/// # Errors
/// Anything that does not fit; never panics.
pub fn proof_from_json(text: &str, limit: usize) -> Result<Proof, FileError> {
    check_head(text, limit, PROOF)?;
    let json: ProofJson = serde_json::from_str(text)?;
    let runs = json.runs.into_iter();
    let runs = runs.map(|run| Ok((run.input.claim("input")?, run.output.claim("output")?)));
    let segments = json.segments.into_iter().map(SegmentProofJson::proof);
    Ok(Proof {
        card: parse_digest("card", &json.card)?,
        context: decode("context", &json.context)?,
        runs: runs.collect::<Result<_, FileError>>()?,
        segments: segments.collect::<Result<_, FileError>>()?,
    })
}

impl ClaimJson {
    fn of(claim: &Claim) -> ClaimJson {
        match claim {
            Claim::Values(values) => ClaimJson::Values(values.clone()),
            Claim::Digest(digest) => ClaimJson::Digest(digest.to_string()),
            Claim::Committed(points) => ClaimJson::Committed(encode_points(points)),
        }
    }

    fn claim(self, field: &'static str) -> Result<Claim, FileError> {
        Ok(match self {
            ClaimJson::Values(values) => Claim::Values(values),
            ClaimJson::Digest(digest) => Claim::Digest(parse_digest(field, &digest)?),
            ClaimJson::Committed(points) => Claim::Committed(decode_points(field, &points)?),
        })
    }
}

/// Kind and version are looked at first, so that a file of another kind or version is named as such.
fn check_head(text: &str, limit: usize, kind: &'static str) -> Result<(), FileError> {
    if text.len() > limit {
        return Err(DecodeError::TooLarge {
            bytes: text.len(),
            limit,
        }
        .into());
    }
    let head: Head = serde_json::from_str(text)?;
    match head.zkinfer.as_str() {
        found if found == kind => {}
        CARD => {
            return Err(DecodeError::Kind {
                expected: kind,
                found: CARD,
            }
            .into());
        }
        PROOF => {
            return Err(DecodeError::Kind {
                expected: kind,
                found: PROOF,
            }
            .into());
        }
        _ => {
            return Err(DecodeError::Invalid {
                what: "kind of file",
            }
            .into());
        }
    }
    if head.version != FORMAT_VERSION {
        return Err(DecodeError::Version {
            found: head.version,
            supported: FORMAT_VERSION,
        }
        .into());
    }
    Ok(())
}

fn read_link(r: &mut Reader<'_>) -> Result<LinkProof, DecodeError> {
    let commitment = r.point()?;
    let mut rows = [F::default(); BLINDING_ROWS];
    for row in &mut rows {
        *row = r.scalar()?;
    }
    Ok(LinkProof {
        commitment,
        rows,
        blind: r.scalar()?,
    })
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, FileError> {
    STANDARD
        .decode(text)
        .map_err(|source| FileError::Base64 { field, source })
}

fn encode_points(points: &[C]) -> String {
    let mut w = Writer::default();
    points.iter().for_each(|p| w.point(p));
    STANDARD.encode(w.bytes)
}

fn decode_points(field: &'static str, text: &str) -> Result<Vec<C>, FileError> {
    let bytes = decode(field, text)?;
    Ok(whole(&bytes, |r| r.list(bytes.len() / 32, Reader::point))?)
}

fn parse_digest(field: &'static str, text: &str) -> Result<Digest, FileError> {
    let error = || FileError::Digest { field };
    let digits = text.as_bytes();
    let mut digest = [0; 32];
    if digits.len() != 64 {
        return Err(error());
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |d: u8| {
            char::from(d)
                .to_digit(16)
                .filter(|_| !d.is_ascii_uppercase())
                .ok_or_else(error)
        };
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Ok(Digest(digest))
}

fn whole<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut r = Reader::new(bytes);
    let value = read(&mut r)?;
    r.finish()?;
    Ok(value)
}
