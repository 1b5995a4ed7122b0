//! What a host signs, and what follows from it.
//!
//! | module | what |
//! |---|---|
//! | [`key`] | Ed25519 keys of hosts |
//! | [`keys`] | how a host goes over from one key to the next |
//! | [`slip`] | for every answer: which model, which input, which output, when, and until when a proof may be asked for |
//! | [`promise`] | for every proof that was asked for: until when it is there |
//! | [`evidence`] | what shows a third party that a host lied or broke its word |
//!
//! A slip is what makes an answer binding that nobody proves: at most one output of a model and an input is provable,
//! so a host that signed another one cannot keep its word when it is asked for the proof.

mod bytes;
pub mod evidence;
pub mod key;
pub mod keys;
pub mod promise;
pub mod slip;

pub use bytes::{Context, RunId, Series};
pub use evidence::{Claim, Evidence, EvidenceError, Finding, Verdict};
pub use key::{HostKey, KeyError, SecretKey};
pub use keys::{Handover, KeyList, KeyListError};
pub use promise::{Promise, PromiseTerms};
pub use slip::{MAX_CONTEXT, Slip, SlipError, SlipTerms};

/// Milliseconds since the beginning of 1970, by this machine's clock.
pub fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
