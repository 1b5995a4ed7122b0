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
//! | [`hints`] | values of the prover's choice are pinned down |
//! | [`fold`] | public coefficients of the fold argument |
//! | [`link`] | columns hold what published commitments hold |
//! | [`support`] | commitments have entries only where a neuron may read |
//! | [`statement`], [`card`], [`codec`], [`transcript`] | statements, files, encodings, challenges |
//! | [`verify`] | the verifier, alone and in batches, and what the prover shares with it |
//! | [`params`] | the generators, as files with pinned digests |
//! | [`receipt`] | machine-readable results |

pub mod card;
pub mod circuit;
pub mod codec;
pub mod error;
pub mod expr;
pub mod fold;
pub mod gates;
pub mod hints;
pub mod layout;
pub mod link;
mod parallel;
pub mod params;
pub mod program;
pub mod receipt;
pub mod statement;
pub mod support;
pub mod transcript;
pub mod verify;

/// The circuit's field: the scalar field of Vesta.
pub type F = pasta_curves::Fp;
/// The curve of all commitments: Vesta.
pub type C = pasta_curves::EqAffine;
