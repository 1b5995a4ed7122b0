//! Writes `tests/fixtures/rejections.json`: checks of stored and changed files, with what has to come out. Services in other
//! languages run the same vectors; `docs/formats.md`, section 9, describes the file.
//!
//! ```text
//! cargo xtask rejections        # from the files that are in tests/fixtures
//! ```
//!
//! Every vector is checked before it is written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ff::{Field, PrimeField};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zkinfer_circuits::F;
use zkinfer_circuits::card::{Card, FileKind, Proof, open, seal};
use zkinfer_circuits::generators::Generators;
use zkinfer_circuits::receipt::{ExpectedRecord, Outcome, Receipt, Refusal};
use zkinfer_circuits::statement::{Claim, Side};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Expected, Limits, Verifier};

type Failure = Box<dyn std::error::Error>;

/// A file of a vector: one that is stored beside it, or bytes.
#[derive(Clone)]
enum Source {
    File(&'static str),
    Bytes(Vec<u8>),
}

/// The fields in the order in which people want to read them.
#[derive(Serialize)]
struct Vector<'a> {
    name: &'a str,
    description: &'a str,
    verdict: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<Digest>,
    expected: Vec<ExpectedRecord>,
    card: Value,
    proof: Value,
}

struct Vectors {
    folder: PathBuf,
    /// One line each.
    list: Vec<String>,
}

impl Vectors {
    fn bytes(&self, source: &Source) -> Result<Vec<u8>, Failure> {
        Ok(match source {
            Source::File(name) => std::fs::read(self.folder.join(name))?,
            Source::Bytes(bytes) => bytes.clone(),
        })
    }

    /// Checks a vector and adds it. `code`: of the refusal that has to come out, none for a valid proof.
    fn add(
        &mut self,
        (name, description): (&str, &str),
        (card, proof): (Source, Source),
        expected: &[Expected],
        code: Option<&str>,
    ) -> Result<(), Failure> {
        let limits = Limits::default();
        let outcome = match verifier(&self.bytes(&card)?, &limits) {
            Ok(verifier) => verifier.receipt(expected, &self.bytes(&proof)?).result,
            // Of no interest here: which digest an unusable card has.
            Err(refusal) => Receipt::new(&Digest([0; 32]), &[], &[], &Err(refusal)).result,
        };
        let (verdict, statement, found) = match outcome {
            Outcome::Accepted { statement, .. } => (json!("valid"), Some(statement), None),
            Outcome::Rejected { class, code, .. } => {
                (json!({"class": class, "code": code}), None, Some(code))
            }
        };
        if found.as_deref() != code {
            return Err(format!("{name}: expected {code:?}, found {found:?}").into());
        }
        let source = |source: &Source| match source {
            Source::File(name) => json!({"file": name}),
            Source::Bytes(bytes) => json!({"base64": STANDARD.encode(bytes)}),
        };
        let vector = Vector {
            name,
            description,
            verdict,
            statement,
            expected: expected.iter().map(ExpectedRecord::from).collect(),
            card: source(&card),
            proof: source(&proof),
        };
        self.list.push(serde_json::to_string(&vector)?);
        Ok(())
    }
}

fn verifier(card: &[u8], limits: &Limits) -> Result<Verifier, Refusal> {
    let card = Card::from_bytes(card, limits.card_bytes)?;
    // A card may name any k; generators are made for those only that the limits allow.
    let generators = Arc::new(Generators::new(card.k.clamp(6, 10)));
    Ok(Verifier::new(card, generators, limits)?)
}

fn context(context: &str) -> Expected {
    Expected {
        context: context.as_bytes().to_vec(),
        ..Expected::default()
    }
}

fn side(claim: &Claim) -> Option<Side> {
    match claim {
        Claim::Values(values) => Some(Side::Public(values.clone())),
        Claim::Committed(points) => Some(Side::Committed(points.clone())),
        Claim::Digest(_) => None,
    }
}

/// The same side with one bit flipped.
fn other(side: Option<Side>) -> Option<Side> {
    match side {
        Some(Side::Public(mut values)) => {
            values[0] ^= 1;
            Some(Side::Public(values))
        }
        other => other,
    }
}

fn main() -> Result<(), Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let read = |name: &str| std::fs::read(folder.join(name));
    let limit = Limits::default().proof_bytes;
    let card = read("digits.card")?;
    let file = read("digits_0.proof")?;
    let proof = Proof::from_bytes(&file, limit)?;
    let hidden = Proof::from_bytes(&read("digits_hidden.proof")?, limit)?;
    let runs = Proof::from_bytes(&read("digits_3.runs")?, limit)?;
    let full = Expected {
        input: side(&proof.runs[0].0),
        output: side(&proof.runs[0].1),
        ..context("digits")
    };
    let mut vectors = Vectors {
        folder: folder.clone(),
        list: Vec::new(),
    };
    valid(&mut vectors, &full, &proof, &hidden, &runs)?;
    undecodable(&mut vectors, &file, limit)?;
    mismatched(&mut vectors, &full, &proof, &hidden, &runs)?;
    forged(&mut vectors, &proof)?;
    segments(&mut vectors)?;
    cards(&mut vectors, &card)?;

    let path = folder.join("rejections.json");
    let all = format!(
        "{{\"vectors_version\": 1, \"vectors\": [\n{}\n]}}\n",
        vectors.list.join(",\n")
    );
    std::fs::write(&path, all)?;
    println!("{} vectors in {}", vectors.list.len(), path.display());
    Ok(())
}

const DIGITS: Source = Source::File("digits.card");
const PARTS: Source = Source::File("parts.card");
const CNN: Source = Source::File("cnn.card");

fn valid(
    vectors: &mut Vectors,
    full: &Expected,
    proof: &Proof,
    hidden: &Proof,
    runs: &Proof,
) -> Result<(), Failure> {
    let stored = |name| Source::File(name);
    let mut add =
        |what, card, proof, expected: &[Expected]| vectors.add(what, (card, proof), expected, None);
    add(
        ("valid_public", "public input and output, both expected"),
        DIGITS,
        stored("digits_0.proof"),
        std::slice::from_ref(full),
    )?;
    add(
        (
            "valid_nothing_expected",
            "only the context is expected; input and output are the proof's",
        ),
        DIGITS,
        stored("digits_1.proof"),
        &[context("digits")],
    )?;
    add(
        ("valid_convolutions", "another model"),
        CNN,
        stored("cnn_0.proof"),
        &[context("cnn")],
    )?;
    // What `examples/fixtures.rs` proves there: the input of digits_1.proof.
    let second = Proof::from_bytes(&vectors.bytes(&stored("digits_1.proof"))?, 1 << 20)?;
    let mut add =
        |what, card, proof, expected: &[Expected]| vectors.add(what, (card, proof), expected, None);
    add(
        (
            "valid_digest",
            "the proof holds a digest of its input, which the checker knows",
        ),
        DIGITS,
        stored("digits_digest.proof"),
        &[Expected {
            input: side(&second.runs[0].0),
            ..context("digits")
        }],
    )?;
    add(
        (
            "valid_committed",
            "commitments to input and output, both expected",
        ),
        DIGITS,
        stored("digits_hidden.proof"),
        &[Expected {
            input: side(&hidden.runs[0].0),
            output: side(&hidden.runs[0].1),
            ..context("digits")
        }],
    )?;
    let mut short = proof.clone();
    if let Some(output) = side(&proof.runs[0].1) {
        short.runs[0].1 = output.short_claim();
    }
    add(
        (
            "valid_output_digest",
            "the proof holds a digest of its output",
        ),
        DIGITS,
        Source::Bytes(short.to_bytes()),
        std::slice::from_ref(full),
    )?;
    let each: Vec<Expected> = runs
        .runs
        .iter()
        .map(|(input, output)| Expected {
            input: side(input),
            output: side(output),
            ..context("digits")
        })
        .collect();
    add(
        ("valid_runs", "one proof of three runs, everything expected"),
        DIGITS,
        stored("digits_3.runs"),
        &each,
    )?;
    add(
        (
            "valid_runs_one_for_all",
            "one proof of three runs; one expectation without input and output stands for all",
        ),
        DIGITS,
        stored("digits_3.runs"),
        &[context("digits")],
    )
}

/// Files that are no proofs of this version.
fn undecodable(vectors: &mut Vectors, file: &[u8], limit: usize) -> Result<(), Failure> {
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = file.to_vec();
        change(&mut bytes);
        Source::Bytes(bytes)
    };
    let sealed = |change: &dyn Fn(&mut Vec<u8>)| -> Result<Source, Failure> {
        let mut payload = open(FileKind::Proof, file, limit)?.to_vec();
        change(&mut payload);
        Ok(Source::Bytes(seal(FileKind::Proof, &payload)))
    };
    let expected = [context("digits")];
    let mut add = |what, proof, code| vectors.add(what, (DIGITS, proof), &expected, Some(code));
    add(
        ("malformed_empty", "no bytes at all"),
        Source::Bytes(Vec::new()),
        "truncated",
    )?;
    add(
        (
            "malformed_cut",
            "the file ends in the middle: its checksum cannot be right",
        ),
        changed(&|b| b.truncate(file.len() / 2)),
        "damaged",
    )?;
    add(
        ("malformed_bit", "one bit of the file is another one"),
        changed(&|b| b[100] ^= 1),
        "damaged",
    )?;
    add(
        ("malformed_other_file", "no file of this project"),
        changed(&|b| b[..7].copy_from_slice(b"PK\x03\x04xyz")),
        "not_zkinfer",
    )?;
    add(
        ("malformed_kind", "a card where a proof should be"),
        Source::File("digits.card"),
        "wrong_kind",
    )?;
    add(
        (
            "malformed_truncated",
            "a field ends early, checksum made anew",
        ),
        sealed(&|b| b.truncate(40))?,
        "truncated",
    )?;
    add(
        (
            "malformed_trailing",
            "bytes behind the last field, checksum made anew",
        ),
        sealed(&|b| b.extend([1, 2, 3]))?,
        "trailing_bytes",
    )?;
    add(
        (
            "malformed_field",
            "a claim of a kind that does not exist, checksum made anew",
        ),
        // Behind the digest of the card, the context and the number of runs.
        sealed(&|b| b[32 + 4 + 6 + 4] = 9)?,
        "invalid_field",
    )?;
    add(
        (
            "malformed_length",
            "a length of 2^32 − 1, checksum made anew",
        ),
        sealed(&|b| b[32..36].fill(255))?,
        "truncated",
    )?;
    add(
        ("wrong_version", "format version 65535"),
        changed(&|b| b[8..10].fill(255)),
        "wrong_version",
    )
}

/// Valid proofs of something else than what is expected.
fn mismatched(
    vectors: &mut Vectors,
    full: &Expected,
    proof: &Proof,
    hidden: &Proof,
    runs: &Proof,
) -> Result<(), Failure> {
    let stored = |name| Source::File(name);
    let digits = |expected: Expected, proof, what, code, vectors: &mut Vectors| {
        vectors.add(what, (DIGITS, proof), &[expected], Some(code))
    };
    vectors.add(
        ("unknown_model", "a valid proof of another model"),
        (CNN, stored("digits_0.proof")),
        &[context("digits")],
        Some("unknown_model"),
    )?;
    digits(
        context("other request"),
        stored("digits_0.proof"),
        ("mismatch_context", "made for another context: a replay"),
        "other_context",
        vectors,
    )?;
    digits(
        Expected {
            input: other(full.input.clone()),
            ..full.clone()
        },
        stored("digits_0.proof"),
        ("mismatch_input", "one input value is another one"),
        "other_input",
        vectors,
    )?;
    digits(
        Expected {
            output: other(full.output.clone()),
            ..full.clone()
        },
        stored("digits_0.proof"),
        ("mismatch_output", "one output value is another one"),
        "other_output",
        vectors,
    )?;
    digits(
        Expected {
            input: full.input.clone(),
            ..context("digits")
        },
        stored("digits_hidden.proof"),
        (
            "mismatch_committed",
            "a public input is expected, the proof commits to one",
        ),
        "other_input",
        vectors,
    )?;
    digits(
        Expected {
            input: side(&hidden.runs[0].1),
            ..context("digits")
        },
        stored("digits_hidden.proof"),
        ("mismatch_commitment", "another commitment is expected"),
        "other_input",
        vectors,
    )?;
    digits(
        context("digits"),
        stored("digits_digest.proof"),
        (
            "mismatch_input_needed",
            "the proof holds a digest of its input, and no input is expected",
        ),
        "input_needed",
        vectors,
    )?;
    let mut changed = proof.clone();
    if let Some(output) = side(&proof.runs[0].1) {
        changed.runs[0].1 = output.short_claim();
    }
    digits(
        context("digits"),
        Source::Bytes(changed.to_bytes()),
        (
            "mismatch_output_needed",
            "the proof holds a digest of its output, and no output is expected",
        ),
        "output_needed",
        vectors,
    )?;
    let values = |change: &dyn Fn(&mut Vec<u16>)| {
        let mut changed = proof.clone();
        if let Claim::Values(values) = &mut changed.runs[0].0 {
            change(values);
        }
        Source::Bytes(changed.to_bytes())
    };
    digits(
        context("digits"),
        values(&|v| v.truncate(63)),
        ("mismatch_length", "an input value is missing"),
        "wrong_length",
        vectors,
    )?;
    digits(
        context("digits"),
        values(&|v| v[5] = u16::MAX),
        (
            "mismatch_range",
            "an input value is larger than the model's integers",
        ),
        "out_of_range",
        vectors,
    )?;
    vectors.add(
        ("mismatch_runs", "two runs are expected, the proof has one"),
        (DIGITS, stored("digits_0.proof")),
        &[context("digits"), context("digits")],
        Some("other_runs"),
    )?;
    let mut each: Vec<Expected> = vec![context("digits"); runs.runs.len()];
    each[1].output = other(side(&runs.runs[1].1));
    vectors.add(
        (
            "mismatch_second_run",
            "the output of the second of three runs is another one",
        ),
        (DIGITS, stored("digits_3.runs")),
        &each,
        Some("other_output"),
    )
}

/// Proofs that show nothing.
fn forged(vectors: &mut Vectors, proof: &Proof) -> Result<(), Failure> {
    let changed = |change: &dyn Fn(&mut Proof)| {
        let mut proof = proof.clone();
        change(&mut proof);
        Source::Bytes(proof.to_bytes())
    };
    let mut add =
        |what, proof, code| vectors.add(what, (DIGITS, proof), &[context("digits")], Some(code));
    add(
        (
            "invalid_output",
            "the claimed output is another one, and nothing else is expected",
        ),
        changed(&|p| {
            if let Claim::Values(values) = &mut p.runs[0].1 {
                values[0] ^= 1;
            }
        }),
        "invalid_link",
    )?;
    add(
        ("invalid_link", "a scalar of the link is another one"),
        changed(&|p| p.segments[0].link.rows[0] += F::ONE),
        "invalid_link",
    )?;
    add(
        (
            "invalid_computation",
            "the last scalar of the opening argument is another one",
        ),
        changed(&|p| {
            let end = p.segments[0].halo2.len();
            let mut repr = [0; 32];
            repr.copy_from_slice(&p.segments[0].halo2[end - 32..]);
            let scalar = Option::<F>::from(F::from_repr(repr)).unwrap_or(F::ZERO) + F::ONE;
            p.segments[0].halo2[end - 32..].copy_from_slice(scalar.to_repr().as_ref());
        }),
        "invalid_computation",
    )?;
    add(
        (
            "malformed_point",
            "a commitment that is no point of the curve",
        ),
        changed(&|p| p.segments[0].halo2[..32].fill(255)),
        "malformed_proof",
    )?;
    add(
        ("malformed_halo2_cut", "the halo2 bytes end early"),
        changed(&|p| p.segments[0].halo2.truncate(32 * 20)),
        "malformed_proof",
    )?;
    add(
        ("malformed_halo2_trailing", "bytes behind the halo2 proof"),
        changed(&|p| p.segments[0].halo2.extend([0; 32])),
        "malformed_proof",
    )
}

/// A model of three segments.
fn segments(vectors: &mut Vectors) -> Result<(), Failure> {
    let stored = |name| Source::File(name);
    let expected = [context("parts")];
    vectors.add(
        ("valid_segments", "a model of three segments"),
        (PARTS, stored("parts_0.proof")),
        &expected,
        None,
    )?;
    vectors.add(
        (
            "valid_segments_of_runs",
            "one proof of three runs of a model of three segments",
        ),
        (PARTS, stored("parts_3.runs")),
        &expected,
        None,
    )?;
    let proof = Proof::from_bytes(&vectors.bytes(&stored("parts_0.proof"))?, 1 << 20)?;
    let runs = Proof::from_bytes(&vectors.bytes(&stored("parts_3.runs"))?, 1 << 20)?;
    let mut add = |what, change: &dyn Fn(&mut Proof), code| {
        let mut proof = proof.clone();
        change(&mut proof);
        let bytes = Source::Bytes(proof.to_bytes());
        vectors.add(what, (PARTS, bytes), &expected, Some(code))
    };
    add(
        ("segment_left_out", "the last of three segments is missing"),
        &|p| {
            p.segments.pop();
            p.segments[1].boundary.clear();
        },
        "malformed_proof",
    )?;
    add(
        (
            "segment_repeated",
            "the first segment's part stands in the second one's place",
        ),
        &|p| p.segments[1] = p.segments[0].clone(),
        "malformed_proof",
    )?;
    add(
        (
            "segment_boundary",
            "the first boundary is that of another run",
        ),
        &|p| p.segments[0].boundary = runs.segments[0].boundary[1..2].to_vec(),
        "invalid_link",
    )?;
    add(
        ("segment_boundary_cut", "a boundary has no commitments"),
        &|p| p.segments[1].boundary[0].clear(),
        "malformed_proof",
    )
}

/// Cards that cannot be used; the proof is one of the card before it was changed.
fn cards(vectors: &mut Vectors, file: &[u8]) -> Result<(), Failure> {
    let card = Card::from_bytes(file, file.len())?;
    let changed = |change: &dyn Fn(&mut Card)| {
        let mut card = card.clone();
        change(&mut card);
        Source::Bytes(card.to_bytes())
    };
    let raw = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = file.to_vec();
        change(&mut bytes);
        Source::Bytes(bytes)
    };
    let mut add = |what, card, code| {
        let files = (card, Source::File("digits_0.proof"));
        vectors.add(what, files, &[context("digits")], Some(code))
    };
    add(
        (
            "card_malformed",
            "one bit of the card's file is another one",
        ),
        raw(&|b| b[1000] ^= 1),
        "damaged",
    )?;
    add(
        ("card_wrong_version", "a card of format version 65535"),
        raw(&|b| b[8..10].fill(255)),
        "wrong_version",
    )?;
    add(
        (
            "card_support",
            "the value of the card's support proof is another one",
        ),
        changed(&|c| c.segments[0].support.value += F::ONE),
        "card_support",
    )?;
    add(
        (
            "card_info",
            "other scales in a card: its support proof is bound to them",
        ),
        changed(&|c| c.info.push(b' ')),
        "card_support",
    )?;
    add(
        ("card_points", "a point of the model commitment is missing"),
        changed(&|c| {
            c.segments[0].points.pop();
        }),
        "card_points",
    )?;
    add(
        ("card_limit", "k = 60: more than any verifier should allow"),
        changed(&|c| c.k = 60),
        "card_limit",
    )?;
    add(
        ("card_program", "an output that is no node"),
        changed(&|c| c.segments[0].program.outputs[0] = u32::MAX),
        "card_program",
    )?;
    add(
        (
            "card_boundary",
            "a second segment that reads something else than the first one puts out",
        ),
        changed(&|c| c.segments.push(c.segments[0].clone())),
        "card_boundary",
    )
}
