//! A prover for the circuits of this project: gates, fixed columns, instance columns, copied cells, challenges in phases.
//!
//! It makes the bytes that `halo2_proofs::plonk::create_proof` makes from the same random draws, so the verifier stays
//! upstream's, and a mistake in here can make a proof fail, never make a false one pass. What it does differently is in
//! `docs/prover.md`; the arithmetic is in `zkinfer-kernels`.
//!
//! ```text
//! Generators   once per parameters        bases for commitments
//! Key          once per circuit           queries, gate program, fixed polynomials, twiddles
//! Prover       once per proof             commit(phase 1) … commit(phase n), finish
//! ```
//!
//! Each is generic over a backend; [`AnyGenerators`], [`AnyKey`] and [`AnyProver`] choose one at run time.

pub mod gates;

mod any;
mod draws;
mod error;
mod generators;
mod key;
mod multiopen;
mod opening;
mod permutation;
mod points;
mod poly;
mod prover;
mod quotient;
mod shape;
mod stages;
mod witness;

pub use any::{AnyGenerators, AnyKey, AnyProver, has_ifma};
pub use draws::Draws;
pub use error::EngineError;
pub use generators::Generators;
pub use key::Key;
pub use prover::Prover;
pub use stages::Stages;
pub use zkinfer_circuits::{C, F};
