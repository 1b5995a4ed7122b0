//! A client of hosts that audits them.
//!
//! | module | what |
//! |---|---|
//! | [`client`] | asking, checking what is signed, asking for proofs at random, verifying them |
//! | [`log`] | what was seen, one JSON object on a line |
//! | [`audit`](mod@audit) | what a log shows, believing none of it |
//! | `wire` | HTTP |
//!
//! Whether a proof is asked for is drawn after the slip has arrived: a host that signs cannot know it. Proofs are
//! verified by
//! `zkinfer-circuits`, like all others.

pub mod audit;
pub mod client;
pub mod log;
mod wire;

pub use audit::{AuditError, Summary, audit};
pub use client::{
    Answer, Client, ClientError, Options, Outcome, Pinned, PinnedError, Rate, RateError,
    ResumeError,
};
pub use log::{Event, Log, LogError, Record};
pub use wire::{Token, TokenError, WireError};
pub use zkinfer_circuits::verify::Limits;
pub use zkinfer_slip::{Evidence, HostKey, KeyList, KeyListError};

/// The operating system's random generator, as [`Client`] takes it.
///
/// # Panics
/// Drawing panics if the operating system has no randomness to give; there is nothing else to do then.
pub fn rng() -> impl rand_core::CryptoRng + Send {
    rand_core::UnwrapErr(getrandom::SysRng)
}

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
