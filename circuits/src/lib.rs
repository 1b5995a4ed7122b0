//! The soundness-critical half of zkinfer: the integer program, its layout, gates and arguments, and verification.
//!
//! An auditor reads this crate and nothing else. It holds no floats, no ONNX, no files and no randomness of its own, and
//! threads only with the feature `multicore`.
//!
//! | module | what |
//! |---|---|
//! | [`program`] | what is proven: the integer program and its semantics |
//! | [`layout`] | where every cell goes |
//! | [`expr`], [`gates`], [`circuit`] | the constraints, and the halo2 circuit made from them |
//! | [`conventions`] | what layout and gates have to agree on, checked when a plan is made |
//! | [`hints`] | values of the prover's choice are pinned down |
//! | [`fold`] | public coefficients of the fold argument |
//! | [`link`] | columns hold what published commitments hold |
//! | [`support`] | commitments have entries only where a neuron may read |
//! | [`statement`], [`card`], [`codec`], [`transcript`] | statements, files, encodings, challenges |
//! | [`wiring`] | what linear maps read, as affine pieces, and sums over them in closed form |
//! | [`verify`] | the verifier, alone and in batches, and what the prover shares with it |
//! | [`generators`] | what commitments are made with, as files with pinned digests |
//! | [`params`] | the same with the Lagrange base, for provers |
//! | [`receipt`] | machine-readable results |
//! | [`checks`] | what soundness rests on, by name: tests show that nothing of it can be left out |
//!
//! Verifying a proof file that somebody sent, for a model that is known by its digest:
//!
//! ```
//! use std::sync::Arc;
//! use zkinfer_circuits::card::Card;
//! use zkinfer_circuits::generators::Generators;
//! use zkinfer_circuits::verify::{Expected, Limits, Verifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Once for each model.
//! let mut limits = Limits::default();
//! limits.k = 12;
//! limits.proof_bytes = 1 << 16;
//! let card = Card::from_bytes(&std::fs::read("examples/data/digits.card")?, limits.card_bytes)?;
//! limits.allow_k(card.k)?;
//! let generators = Arc::new(Generators::new(card.k));
//! let verifier = Verifier::new(card, generators, &limits)?;
//! let trusted = "54729f81b5a07499b635edd2d1c5ab4b45e9af1cd236ae0252d4d0f18a88db85";
//! assert_eq!(verifier.digest().to_string(), trusted);
//!
//! // For each proof: what is left out of the expectation is taken from the proof and reported.
//! let expected = Expected { context: b"digits".to_vec(), ..Expected::default() };
//! let file = std::fs::read("examples/data/digits_0.proof")?;
//! match verifier.verify_bytes(&[expected.clone()], &file) {
//!     Ok(verdicts) => println!("{:?} gives {:?}", verdicts[0].input, verdicts[0].output),
//!     Err(refusal) => println!("{:?}, {}: {refusal}", refusal.class(), refusal.code()),
//! }
//! # assert!(verifier.verify_bytes(&[expected.clone()], &file).is_ok());
//!
//! // The same as a record that serializes to JSON.
//! let receipt = verifier.receipt(&[expected], &file);
//! assert!(receipt.is_accepted() && serde_json::to_string(&receipt)?.contains("accepted"));
//! # Ok(())
//! # }
//! ```
//!
//! Real numbers become the integers of an expectation, and back, by the crate `zkinfer-interface`.

pub mod card;
pub mod checks;
pub mod circuit;
pub mod codec;
pub mod conventions;
pub mod error;
pub mod expr;
pub mod fold;
pub mod gates;
pub mod generators;
pub mod hints;
pub mod layout;
pub mod link;
mod multiples;
mod parallel;
pub mod params;
pub mod program;
pub mod receipt;
pub mod statement;
pub mod support;
pub mod transcript;
pub mod verify;
pub mod wiring;

/// The circuit's field: the scalar field of Vesta.
pub type F = pasta_curves::Fp;
/// The curve of all commitments: Vesta.
pub type C = pasta_curves::EqAffine;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
