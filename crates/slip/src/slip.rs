//! Slips: what a host signs of every answer.

use crate::bytes::{Context, RunId, Series, digits, read_flat};
use crate::key::{HostKey, SecretKey};
use serde::Serialize;
use thiserror::Error;
use zkinfer_circuits::transcript::Digest;

/// Version of slips.
pub const SLIP_VERSION: u16 = 1;
/// Longest context of an answer in bytes.
pub const MAX_CONTEXT: usize = 256;
/// What the signed bytes of a slip begin with.
const DOMAIN: &[u8] = b"zkinfer slip\0";

/// What a slip says. Times are milliseconds since the beginning of 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlipTerms {
    /// Version of the slip.
    pub slip_version: u16,
    /// Who signs.
    pub host: HostKey,
    /// Which of the host's numberings it is in.
    pub series: Series,
    /// Its number there. Later slips have larger ones, and no earlier time.
    pub sequence: u64,
    /// When it was signed.
    pub time: u64,
    /// Name of the run.
    pub run: RunId,
    /// Digest of the model's card.
    pub card: Digest,
    /// Digest of the input's integers, as in a statement.
    pub input: Digest,
    /// Digest of the output's integers, as in a statement.
    pub output: Digest,
    /// What a proof of the run is bound to.
    pub context: Context,
    /// Until when a proof may be asked for.
    pub ask_until: u64,
    /// How long after that it is there, at most.
    pub prove_within: u64,
}

/// A signed slip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slip {
    /// What it says.
    #[serde(flatten)]
    pub terms: SlipTerms,
    /// The host's signature.
    #[serde(with = "digits")]
    pub signature: [u8; 64],
}

read_flat!(Slip: SlipTerms {
    slip_version: u16,
    host: HostKey,
    series: Series,
    sequence: u64,
    time: u64,
    run: RunId,
    card: Digest,
    input: Digest,
    output: Digest,
    context: Context,
    ask_until: u64,
    prove_within: u64,
});

/// Why a slip is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SlipError {
    /// Another version.
    #[error("the {what} has version {found}, this build reads version {SLIP_VERSION}")]
    Version {
        /// Slip or promise.
        what: &'static str,
        /// What it has.
        found: u16,
    },
    /// Another host's.
    #[error("the {what} is of host {found}, not of host {pinned}")]
    Host {
        /// Slip or promise.
        what: &'static str,
        /// Whose it is.
        found: HostKey,
        /// Whose it should be.
        pinned: HostKey,
    },
    /// Signed by nobody who has the key.
    #[error("the signature of the {what} is not the host's")]
    Signature {
        /// Slip or promise.
        what: &'static str,
    },
    /// The context is longer than any.
    #[error("the context has {bytes} bytes, at most {MAX_CONTEXT} are allowed")]
    Context {
        /// How many it has.
        bytes: usize,
    },
}

impl SlipTerms {
    /// The bytes that are signed: fields in order, numbers with the lowest byte first, the context after its length.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend(self.slip_version.to_le_bytes());
        bytes.extend(self.host.bytes());
        bytes.extend(self.series.0);
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(self.time.to_le_bytes());
        bytes.extend(self.run.0);
        for digest in [self.card, self.input, self.output] {
            bytes.extend(digest.0);
        }
        bytes.extend((self.context.0.len() as u64).to_le_bytes());
        bytes.extend(&self.context.0);
        bytes.extend(self.ask_until.to_le_bytes());
        bytes.extend(self.prove_within.to_le_bytes());
        bytes
    }

    /// Signs it.
    pub fn sign(self, key: &SecretKey) -> Slip {
        let signature = key.sign(&self.bytes());
        Slip {
            terms: self,
            signature,
        }
    }
}

impl Slip {
    /// Whether `host` signed it.
    ///
    /// # Errors
    /// If not, why.
    pub fn check(&self, host: &HostKey) -> Result<(), SlipError> {
        let what = "slip";
        let terms = &self.terms;
        if terms.slip_version != SLIP_VERSION {
            return Err(SlipError::Version {
                what,
                found: terms.slip_version,
            });
        }
        if terms.context.0.len() > MAX_CONTEXT {
            return Err(SlipError::Context {
                bytes: terms.context.0.len(),
            });
        }
        if terms.host != *host {
            return Err(SlipError::Host {
                what,
                found: terms.host,
                pinned: *host,
            });
        }
        if !host.signed(&terms.bytes(), &self.signature) {
            return Err(SlipError::Signature { what });
        }
        Ok(())
    }

    /// Names what it says.
    pub fn digest(&self) -> Digest {
        Digest::of("zkinfer-slip", &self.terms.bytes())
    }

    /// Whether two slips of one host cannot both be honest: the same number twice, or a later one with an earlier time.
    pub fn contradicts(&self, other: &Slip) -> bool {
        let (a, b) = (&self.terms, &other.terms);
        if a.host != b.host || a.series != b.series || a == b {
            return false;
        }
        let (earlier, later) = if a.sequence < b.sequence {
            (a, b)
        } else {
            (b, a)
        };
        earlier.sequence == later.sequence || earlier.time > later.time
    }
}
