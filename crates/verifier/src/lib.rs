//! The verifier's side with everything at hand: generators from where they are ([`generators`]; for provers [`params`]), real numbers through the
//! card's scales ([`public_input`], [`public_output`]), chains of proofs ([`verify_chain`]), JSON forms of cards and proofs ([`json`]).
//!
//! What decides whether a proof is accepted is `zkinfer-circuits`; nothing here does. Whoever has parameters as bytes and
//! no files needs that crate alone.

mod chain;
pub mod generators;
pub mod json;
mod kept;
mod load;
pub mod params;

pub use chain::{ChainError, verify_chain};
pub use load::{LoadError, verifier};
pub use zkinfer_interface::{StatementError, public_input, public_output};

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
