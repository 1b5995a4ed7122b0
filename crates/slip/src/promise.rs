//! Promises: what a host signs when it is asked for a proof.

use crate::bytes::{RunId, digits, read_flat};
use crate::key::{HostKey, SecretKey};
use crate::slip::{SLIP_VERSION, Slip, SlipError};
use serde::Serialize;
use zkinfer_circuits::transcript::Digest;

/// What the signed bytes of a promise begin with.
const DOMAIN: &[u8] = b"zkinfer promise\0";

/// What a promise says. Times are milliseconds since the beginning of 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromiseTerms {
    /// Version of the promise.
    pub promise_version: u16,
    /// Who signs.
    pub host: HostKey,
    /// Name of the run.
    pub run: RunId,
    /// Names the slip whose run is proven.
    pub slip: Digest,
    /// When the proof was asked for.
    pub time: u64,
    /// Until when it is there.
    pub due: u64,
    /// Until when it is kept.
    pub kept_until: u64,
}

/// A signed promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// What it says.
    #[serde(flatten)]
    pub terms: PromiseTerms,
    /// The host's signature.
    #[serde(with = "digits")]
    pub signature: [u8; 64],
}

read_flat!(Promise: PromiseTerms {
    promise_version: u16,
    host: HostKey,
    run: RunId,
    slip: Digest,
    time: u64,
    due: u64,
    kept_until: u64,
});

impl PromiseTerms {
    /// The proof of a slip's run, asked for now and kept for `keep` milliseconds after it is due.
    pub fn of(slip: &Slip, time: u64, keep: u64) -> PromiseTerms {
        let due = time.saturating_add(slip.terms.prove_within);
        PromiseTerms {
            promise_version: SLIP_VERSION,
            host: slip.terms.host,
            run: slip.terms.run,
            slip: slip.digest(),
            time,
            due,
            kept_until: due.saturating_add(keep),
        }
    }

    /// The bytes that are signed: fields in order, numbers with the lowest byte first.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend(self.promise_version.to_le_bytes());
        bytes.extend(self.host.bytes());
        bytes.extend(self.run.0);
        bytes.extend(self.slip.0);
        for time in [self.time, self.due, self.kept_until] {
            bytes.extend(time.to_le_bytes());
        }
        bytes
    }

    /// Signs it.
    pub fn sign(self, key: &SecretKey) -> Promise {
        let signature = key.sign(&self.bytes());
        Promise {
            terms: self,
            signature,
        }
    }
}

impl Promise {
    /// Whether `host` signed it.
    ///
    /// # Errors
    /// If not, why.
    pub fn check(&self, host: &HostKey) -> Result<(), SlipError> {
        let what = "promise";
        let terms = &self.terms;
        if terms.promise_version != SLIP_VERSION {
            return Err(SlipError::Version {
                what,
                found: terms.promise_version,
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

    /// Whether it is about this slip.
    pub fn is_of(&self, slip: &Slip) -> bool {
        self.terms.slip == slip.digest() && self.terms.run == slip.terms.run
    }
}
