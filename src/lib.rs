//! Verifiable inference: halo2 proofs that an output is a committed model's answer to an input.
//!
//! zkinfer imports a small neural network (ONNX), quantizes it, and proves runs of it. Weights stay hidden behind a
//! reusable commitment, inputs and outputs are public or committed, there is no trusted setup, and proofs are a few
//! kilobytes. What exactly is proven, how surely, and what each artifact reveals: `docs/protocol.md`.
//!
//! ```
//! use zkinfer::{Card, Expected, Graph, Limits, Proof, QuantizeOptions, Secret, Visibility, verifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The owner: import, quantize, commit.
//! let graph = Graph::from_onnx(include_bytes!("../examples/data/digits.onnx"))?;
//! let samples = zkinfer::Samples::from_npz(include_bytes!("../examples/data/digits.npz"), &graph.input_lens())?;
//! let model = graph.quantize(&samples.inputs, &QuantizeOptions::default())?;
//! let secret = Secret::commit(model, &mut zkinfer::rng())?;
//! let card = secret.card().to_bytes(); // published
//!
//! // The prover: run, prove.
//! let run = secret.infer(&samples.inputs[0])?;
//! let proof = secret.prove(&run, &Visibility::default(), b"request 17", &mut zkinfer::rng())?.proof.to_bytes();
//!
//! // The verifier: holds the card, knows the input, never saw the weights.
//! let limits = Limits::default();
//! let verifier = verifier(Card::from_bytes(&card, limits.card_bytes)?, &limits)?;
//! let input = zkinfer::public_input(verifier.card(), &samples.inputs[0])?;
//! let expected = Expected { input: Some(input), output: None, context: b"request 17".to_vec() };
//! let verdict = verifier.verify(&expected, &Proof::from_bytes(&proof, limits.proof_bytes)?)?;
//! let scores = zkinfer::public_output(verifier.card(), &verdict.output)?;
//! assert_eq!(scores.as_deref(), Some(run.outputs()));
//! # Ok(())
//! # }
//! ```
//!
//! | stage | module | from → to |
//! |---|---|---|
//! | import | [`onnx`], [`graph`] | ONNX bytes → [`Graph`] of floats |
//! | quantization | [`quantize`](mod@quantize), [`model`] | graph and samples → [`QuantizedModel`]: integer program, weights, scales |
//! | reference run | [`run`] | the exact integer semantics |
//! | planning | [`plan`] | program → `k` |
//! | commitment, proof | [`secret`] | [`Secret`] → [`Card`], [`Proof`] |
//! | many proofs, elsewhere | [`jobs`] | requests → proofs, by an [`Executor`](jobs::Executor) |
//! | progress, stopping | [`progress`] | |
//! | verification | [`verifier()`], `zkinfer-circuits` | card, proof, expectations → verdict |
//! | files | [`files`], [`generators`], [`params`], [`data`], [`interface`] | models, cards, proofs, generators of commitments, samples |

mod engine;
pub mod error;
pub mod files;
pub mod jobs;
pub mod plan;
pub(crate) mod prove;
pub mod secret;

pub use engine::Engine;
pub use error::{CommitError, ProveError};
pub use prove::Timings;
pub use secret::{
    CommitOptions, MAX_RUNS, Opening, Openings, Proven, ProvenRuns, Run, Secret, SideVisibility,
    Visibility, WeightVisibility,
};
pub use zkinfer_circuits::card::{Card, Proof};
pub use zkinfer_circuits::error::{CardError, DecodeError, Rejection};
pub use zkinfer_circuits::receipt::{Class, Receipt, Refusal};
pub use zkinfer_circuits::statement::Side;
pub use zkinfer_circuits::transcript::Digest;
pub use zkinfer_circuits::verify::{
    BatchOptions, Candidate, Expected, Limits, Verdict, Verifier, verify_many,
};
/// Real numbers and the integers of statements.
pub use zkinfer_interface as interface;
#[cfg(feature = "onnx")]
pub use zkinfer_model::onnx::{self, ImportError, ImportOptions};
pub use zkinfer_model::{
    Graph, InferError, Progress, QuantizeError, QuantizeOptions, QuantizedModel, Samples, Stage,
    Stopped, TensorInterface, data, disclosure, graph, model, progress, quantize, run, segments,
};
pub use zkinfer_verifier::{
    ChainError, LoadError, StatementError, generators, params, public_input, public_output,
    verifier, verify_chain,
};

/// The operating system's random generator, as the functions of this crate take it.
///
/// # Panics
/// Drawing panics if the operating system has no randomness to give; there is nothing else to do then.
pub fn rng() -> impl rand_core::CryptoRng {
    rand_core::UnwrapErr(getrandom::SysRng)
}
