//! What a verifier hands out: machine-readable results.
//!
//! A [`Receipt`] says what was checked and what came out of it. It is a record, not a proof: whoever does not trust its
//! author checks the proof again. Every reason to refuse has a stable [code](Refusal::code) and belongs to a
//! [class](Class); codes are never reused for something else, messages may change.

use crate::card::{FORMAT_VERSION, Proof};
use crate::error::{CardError, DecodeError, Rejection};
use crate::statement::{Side, statement_digest};
use crate::transcript::Digest;
use crate::verify::{Candidate, Expected, Verdict, Verifier};
use serde::{Deserialize, Serialize};
use side::hex;
use std::borrow::Cow;
use thiserror::Error;

mod side;

pub use side::{ExpectedRecord, SideRecord};

/// Version of the receipt format.
pub const RECEIPT_VERSION: u16 = 2;

/// Kinds of reasons to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Class {
    /// The bytes are not what they should be, or more than the limits allow.
    Malformed,
    /// Written in another version of the format.
    WrongVersion,
    /// The card cannot be used.
    InvalidCard,
    /// The proof is about a model that was not asked about.
    UnknownModel,
    /// The proof is about another input, output, context or number of runs than the expected one.
    StatementMismatch,
    /// The proof does not show what it claims.
    InvalidProof,
}

/// Any reason to refuse, from bytes to the last equation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The card cannot be used.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The proof was not accepted.
    #[error(transparent)]
    Proof(#[from] Rejection),
}

impl Refusal {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Decode(e) => match e {
                DecodeError::Truncated => "truncated",
                DecodeError::Trailing { .. } => "trailing_bytes",
                DecodeError::Invalid { .. } => "invalid_field",
                DecodeError::Magic => "not_zkinfer",
                DecodeError::Kind { .. } => "wrong_kind",
                DecodeError::Version { .. } => "wrong_version",
                DecodeError::Checksum => "damaged",
                DecodeError::TooLarge { .. } => "too_large",
            },
            Refusal::Card(e) => match e {
                CardError::Program(_) => "card_program",
                CardError::Layout(_) => "card_layout",
                CardError::Limit { .. } => "card_limit",
                CardError::Params { .. } => "card_params",
                CardError::Points { .. } => "card_points",
                CardError::Support => "card_support",
                CardError::Boundary { .. } => "card_boundary",
                CardError::Key => "card_key",
            },
            Refusal::Proof(e) => match e {
                Rejection::Malformed { .. } => "malformed_proof",
                Rejection::Model { .. } => "unknown_model",
                Rejection::Runs { .. } => "other_runs",
                Rejection::Context => "other_context",
                Rejection::Statement { which: "input" } => "other_input",
                Rejection::Statement { .. } => "other_output",
                Rejection::Needed { which: "input" } => "input_needed",
                Rejection::Needed { .. } => "output_needed",
                Rejection::Length { .. } => "wrong_length",
                Rejection::Range { .. } => "out_of_range",
                Rejection::Link => "invalid_link",
                Rejection::Circuit => "invalid_computation",
            },
        }
    }

    /// What kind of reason it is.
    pub fn class(&self) -> Class {
        match self {
            Refusal::Decode(DecodeError::Version { .. }) => Class::WrongVersion,
            Refusal::Decode(_) | Refusal::Proof(Rejection::Malformed { .. }) => Class::Malformed,
            Refusal::Card(_) => Class::InvalidCard,
            Refusal::Proof(Rejection::Model { .. }) => Class::UnknownModel,
            Refusal::Proof(Rejection::Link | Rejection::Circuit) => Class::InvalidProof,
            Refusal::Proof(_) => Class::StatementMismatch,
        }
    }
}

/// A receipt that does not say what integers stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoReals {}

/// Result of one check. `R`: what is said of the real numbers behind a run's integers, which is nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt<R = NoReals> {
    /// [`RECEIPT_VERSION`] of the writer.
    pub receipt_version: u16,
    /// Version of the proof format that the verifier reads.
    pub format_version: u16,
    /// Digest of the card that the proof was checked against.
    pub card: Digest,
    /// Digest of the proof file as it was given.
    pub proof: Digest,
    /// What came out.
    pub result: Outcome<R>,
}

/// What came out of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome<R = NoReals> {
    /// The committed model maps every input to its output.
    Accepted {
        /// Digest of the statement: card, runs, context.
        statement: Digest,
        /// Input and output of every run.
        runs: Vec<RunRecord<R>>,
        /// The context, in hexadecimal digits.
        context: String,
    },
    /// Nothing was shown.
    Rejected {
        /// Kind of reason.
        class: Class,
        /// The [code](Refusal::code).
        code: Cow<'static, str>,
        /// For people.
        message: String,
    },
}

/// One run of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord<R = NoReals> {
    /// The input.
    pub input: SideRecord,
    /// The output.
    pub output: SideRecord,
    /// What the checker stated; the rest is what the proof claims. Receipts of version 1 do not say it.
    #[serde(default)]
    pub stated: Vec<StatedSide>,
    /// What the integers stand for, if somebody says it.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub reals: Option<R>,
}

/// Without asking for a default of `R`.
fn none<R>() -> Option<R> {
    None
}

/// A side of a run that a checker stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatedSide {
    /// The input.
    Input,
    /// The output.
    Output,
}

impl StatedSide {
    /// Which sides of each run are stated. A single entry stands for all runs.
    pub fn of(expected: &[Expected]) -> Vec<Vec<StatedSide>> {
        let of_run = |e: &Expected| {
            let input = e.input.is_some().then_some(StatedSide::Input);
            let output = e.output.is_some().then_some(StatedSide::Output);
            input.into_iter().chain(output).collect()
        };
        expected.iter().map(of_run).collect()
    }
}

impl Receipt {
    /// The receipt for a proof file that was checked against a card; `stated` is [`StatedSide::of`] what was expected.
    pub fn new(
        card: &Digest,
        proof: &[u8],
        stated: &[Vec<StatedSide>],
        result: &Result<Vec<Verdict>, Refusal>,
    ) -> Receipt {
        let result = match result {
            Ok(verdicts) => {
                let runs = verdicts.iter().map(|v| (v.input.clone(), v.output.clone()));
                let runs: Vec<(Side, Side)> = runs.collect();
                let context = verdicts.first().map_or(&[][..], |v| &v.context);
                Outcome::Accepted {
                    statement: statement_digest(card, &runs, context),
                    runs: runs
                        .iter()
                        .enumerate()
                        .map(|(run, (input, output))| RunRecord {
                            input: input.into(),
                            output: output.into(),
                            stated: stated.get(run).cloned().unwrap_or_default(),
                            reals: None,
                        })
                        .collect(),
                    context: hex(context),
                }
            }
            Err(refusal) => Outcome::Rejected {
                class: refusal.class(),
                code: refusal.code().into(),
                message: refusal.to_string(),
            },
        };
        Receipt {
            receipt_version: RECEIPT_VERSION,
            format_version: FORMAT_VERSION,
            card: *card,
            proof: file_digest(proof),
            result,
        }
    }

    /// The receipt with what the integers of its runs stand for, in order.
    pub fn with_reals<R>(self, reals: impl Fn(&RunRecord) -> Option<R>) -> Receipt<R> {
        let result = match self.result {
            Outcome::Accepted {
                statement,
                runs,
                context,
            } => Outcome::Accepted {
                statement,
                runs: runs
                    .into_iter()
                    .map(|run| RunRecord {
                        reals: reals(&run),
                        input: run.input,
                        output: run.output,
                        stated: run.stated,
                    })
                    .collect(),
                context,
            },
            Outcome::Rejected {
                class,
                code,
                message,
            } => Outcome::Rejected {
                class,
                code,
                message,
            },
        };
        Receipt {
            receipt_version: self.receipt_version,
            format_version: self.format_version,
            card: self.card,
            proof: self.proof,
            result,
        }
    }
}

impl<R> Receipt<R> {
    /// Whether the proof was accepted.
    pub fn is_accepted(&self) -> bool {
        matches!(self.result, Outcome::Accepted { .. })
    }
}

/// Digest of a proof file, as receipts hold it.
pub fn file_digest(bytes: &[u8]) -> Digest {
    Digest::of("zkinfer-receipt", bytes)
}

impl Verifier {
    /// Decodes a proof file. `expected` has one entry per run; a single one that expects neither input nor output stands for
    /// all runs.
    ///
    /// # Errors
    /// Bytes that are no proof, or longer than the limits.
    pub fn candidate(&self, expected: &[Expected], bytes: &[u8]) -> Result<Candidate, Refusal> {
        let limits = self.limits();
        let (segments, k) = (self.segments().len(), self.card().k);
        let allow = |runs| Ok::<(), Refusal>(limits.allow_runs(runs, segments, k)?);
        let proof = Proof::read(bytes, limits.proof_bytes, allow)?;
        let mut expected = expected.to_vec();
        if let [one] = expected.as_slice()
            && (&one.input, &one.output) == (&None, &None)
        {
            expected = vec![one.clone(); proof.runs.len()];
        }
        Ok(Candidate { expected, proof })
    }

    /// Decodes a proof file and checks it; see [`Verifier::candidate`].
    ///
    /// # Errors
    /// The first reason for which the proof is not accepted. Never panics, whatever the bytes.
    pub fn verify_bytes(
        &self,
        expected: &[Expected],
        bytes: &[u8],
    ) -> Result<Vec<Verdict>, Refusal> {
        let candidate = self.candidate(expected, bytes)?;
        Ok(self.verify_runs(&candidate.expected, &candidate.proof)?)
    }

    /// Checks a proof file and records what came out.
    pub fn receipt(&self, expected: &[Expected], bytes: &[u8]) -> Receipt {
        let result = self.verify_bytes(expected, bytes);
        Receipt::new(&self.digest(), bytes, &StatedSide::of(expected), &result)
    }
}
