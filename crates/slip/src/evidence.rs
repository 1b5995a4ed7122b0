//! Evidence: what shows a third party that a host lied or broke its word, without believing the client.
//!
//! | kind | shows | why an honest host is safe |
//! |---|---|---|
//! | `false_output` | a signed output, and a proof of another one for the same card and input | there is no such proof: at most one output is provable |
//! | `contradiction` | two slips of one numbering, the same number twice or a later one with an earlier time | it numbers its slips once, and its times do not go back |
//! | `overdue` | a promise whose time is over; the host has not shown the proof | it shows the proof, to anybody, and that settles it |
//! | `unanswered` | a slip whose proof the client says it could not get promised: a complaint, which proves nothing | |
//!
//! Whoever judges brings the host's key and the card.

use crate::key::HostKey;
use crate::promise::Promise;
use crate::slip::{Slip, SlipError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use zkinfer_circuits::card::Proof;
use zkinfer_circuits::receipt::Refusal;
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Expected, Verifier};

/// Version of evidence.
pub const EVIDENCE_VERSION: u16 = 1;
/// Longest file of evidence: an input and a proof.
pub const MAX_EVIDENCE: usize = 1 << 26;

/// A proof file, in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofBytes(pub Vec<u8>);

impl Serialize for ProofBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for ProofBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(ProofBytes)
            .map_err(D::Error::custom)
    }
}

/// What is claimed of a host. It holds the input where that is needed: who sees the evidence sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Claim {
    /// It signed an output that is not the model's.
    FalseOutput {
        /// What it signed.
        slip: Slip,
        /// The input's integers.
        input: Vec<u16>,
        /// Proves the right output.
        proof: ProofBytes,
    },
    /// It signed two slips that cannot both be honest.
    Contradiction {
        /// One.
        slip: Slip,
        /// The other one.
        other: Slip,
    },
    /// It promised a proof that is not there.
    Overdue {
        /// What it answered.
        slip: Slip,
        /// What it promised.
        promise: Promise,
        /// The input's integers, with which a proof that it shows is checked.
        input: Vec<u16>,
        /// What it handed out instead of a proof that is valid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead: Option<ProofBytes>,
    },
    /// It did not promise a proof that it was asked for.
    Unanswered {
        /// What it answered.
        slip: Slip,
        /// What it said.
        said: String,
    },
}

/// A claim in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Version of the evidence.
    pub evidence_version: u16,
    /// What is claimed.
    pub claim: Claim,
}

/// What is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// The host signed an output that is not the model's.
    FalseOutput {
        /// Digest of what it signed.
        signed: Digest,
        /// Digest of what the model gives.
        proven: Digest,
    },
    /// The host signed two slips that cannot both be honest.
    Contradiction {
        /// Numbers of the two.
        sequences: (u64, u64),
    },
    /// The host promised a proof by a time that is over, and it was not shown.
    Overdue {
        /// When it was due.
        due: u64,
    },
}

/// Why a claim is not confirmed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Another version.
    #[error("the evidence has version {found}, this build reads version {EVIDENCE_VERSION}")]
    Version {
        /// What it has.
        found: u16,
    },
    /// Not signed by the host.
    #[error(transparent)]
    Slip(#[from] SlipError),
    /// About another model than the card's.
    #[error("the slip is of the card {found}, not of the card {given}; give that one")]
    Card {
        /// In the slip.
        found: Digest,
        /// Of whoever judges.
        given: Digest,
    },
    /// The input is not the slip's.
    #[error(
        "the input is another one than the slip's: the evidence is put together of several runs"
    )]
    Input,
    /// The promise is about another run.
    #[error("the promise is of another run than the slip")]
    Promise,
    /// The proof shows nothing.
    #[error("the proof is not valid: {0}")]
    Proof(#[from] Refusal),
    /// The proof does not say which output.
    #[error("the proof hides its output, so it shows no other one")]
    Hidden,
    /// The proof shows what was signed.
    #[error("the proof shows the output that the host signed: it did not lie")]
    SameOutput,
    /// The two slips can both be honest.
    #[error("the two slips do not contradict each other")]
    NoContradiction,
    /// There is time left.
    #[error("the proof is due at {due} (milliseconds since 1970), {left} ms from now")]
    NotDue {
        /// When it is due.
        due: u64,
        /// How long that is.
        left: u64,
    },
    /// The proof is there.
    #[error("the promised proof is there and valid: the host kept its word")]
    Settled,
    /// The host's word against the client's.
    #[error(
        "nothing is shown: the client says that the host did not promise a proof; until {ask_until} (milliseconds since 1970) anybody can ask for it themselves"
    )]
    Complaint {
        /// Until when.
        ask_until: u64,
    },
}

/// What comes of a claim.
pub type Verdict = Result<Finding, EvidenceError>;

impl From<Claim> for Evidence {
    fn from(claim: Claim) -> Evidence {
        Evidence {
            evidence_version: EVIDENCE_VERSION,
            claim,
        }
    }
}

impl Evidence {
    /// Who is said to have signed it.
    pub fn host(&self) -> HostKey {
        let (Claim::FalseOutput { slip, .. }
        | Claim::Contradiction { slip, .. }
        | Claim::Overdue { slip, .. }
        | Claim::Unanswered { slip, .. }) = &self.claim;
        slip.terms.host
    }

    /// Judges what is claimed of `host` about the model of `verifier`'s card, at a time. `shown` is what the host
    /// brings against a claim that its proof is overdue.
    ///
    /// # Errors
    /// Why nothing is confirmed.
    pub fn judge(
        &self,
        host: &HostKey,
        verifier: &Verifier,
        now: u64,
        shown: Option<&[u8]>,
    ) -> Verdict {
        if self.evidence_version != EVIDENCE_VERSION {
            return Err(EvidenceError::Version {
                found: self.evidence_version,
            });
        }
        match &self.claim {
            Claim::FalseOutput { slip, input, proof } => {
                slip.check(host)?;
                let proven = proven(slip, input, &proof.0, verifier, None)?;
                differs(slip, proven)
            }
            Claim::Contradiction { slip, other } => {
                slip.check(host)?;
                other.check(host)?;
                if !slip.contradicts(other) {
                    return Err(EvidenceError::NoContradiction);
                }
                Ok(Finding::Contradiction {
                    sequences: (slip.terms.sequence, other.terms.sequence),
                })
            }
            Claim::Overdue {
                slip,
                promise,
                input,
                instead,
            } => {
                slip.check(host)?;
                promise.check(host)?;
                if !promise.is_of(slip) {
                    return Err(EvidenceError::Promise);
                }
                fits(slip, input, verifier)?;
                let context = &slip.terms.context.0;
                for bytes in shown
                    .into_iter()
                    .chain(instead.as_ref().map(|p| p.0.as_slice()))
                {
                    // What is no proof settles nothing.
                    let Ok(output) = proven(slip, input, bytes, verifier, Some(context)) else {
                        continue;
                    };
                    return match differs(slip, output) {
                        Err(EvidenceError::SameOutput) => Err(EvidenceError::Settled),
                        other => other,
                    };
                }
                let due = promise.terms.due;
                if now <= due {
                    let left = due - now;
                    return Err(EvidenceError::NotDue { due, left });
                }
                Ok(Finding::Overdue { due })
            }
            Claim::Unanswered { slip, .. } => {
                slip.check(host)?;
                Err(EvidenceError::Complaint {
                    ask_until: slip.terms.ask_until,
                })
            }
        }
    }
}

/// The slip is about this model and this input.
fn fits(slip: &Slip, input: &[u16], verifier: &Verifier) -> Result<Side, EvidenceError> {
    if slip.terms.card != verifier.digest() {
        return Err(EvidenceError::Card {
            found: slip.terms.card,
            given: verifier.digest(),
        });
    }
    let input = Side::Public(input.to_vec());
    if input.digest() != slip.terms.input {
        return Err(EvidenceError::Input);
    }
    Ok(input)
}

/// Digest of the output that a proof shows for the slip's card and input, in a context or in any.
///
/// # Errors
/// Something that is not about this slip, a proof that is not valid or that hides its output.
pub fn proven(
    slip: &Slip,
    input: &[u16],
    bytes: &[u8],
    verifier: &Verifier,
    context: Option<&[u8]>,
) -> Result<Digest, EvidenceError> {
    let input = fits(slip, input, verifier)?;
    let proof = Proof::from_bytes(bytes, verifier.limits().proof_bytes).map_err(Refusal::from)?;
    let expected = Expected {
        input: Some(input),
        output: None,
        context: context.unwrap_or(&proof.context).to_vec(),
    };
    let verdict = verifier.verify(&expected, &proof).map_err(Refusal::from)?;
    match &verdict.output {
        Side::Public(_) => Ok(verdict.output.digest()),
        // Commitments to the output have another digest than the output, whatever it is.
        Side::Committed(_) => Err(EvidenceError::Hidden),
    }
}

fn differs(slip: &Slip, proven: Digest) -> Verdict {
    let signed = slip.terms.output;
    if proven == signed {
        return Err(EvidenceError::SameOutput);
    }
    Ok(Finding::FalseOutput { signed, proven })
}
