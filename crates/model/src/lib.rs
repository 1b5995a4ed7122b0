//! Models of zkinfer, up to the point where proofs begin: what is imported, what it becomes in integers, and how the
//! integers run. Whoever proves loads what this crate makes; nothing here knows of commitments or proofs.
//!
//! | stage | module | from → to |
//! |---|---|---|
//! | import | [`onnx`] (feature `onnx`), [`graph`] | ONNX bytes → [`Graph`] of floats |
//! | samples | [`data`] | files → [`Samples`] |
//! | quantization | [`quantize`](mod@quantize), [`model`] | graph and samples → [`QuantizedModel`]: integer program, weights, scales |
//! | cutting | [`segments`] | one quantized model → several, each proven by itself |
//! | reference run | [`run`] | the exact integer semantics |
//! | what a card tells | [`disclosure`] | program → what weights and calibration made of it in the clear |

// Functions of graphs that only the importer calls.
#![cfg_attr(not(feature = "onnx"), allow(dead_code, unused_imports))]

pub mod data;
mod dense;
pub mod disclosure;
pub mod error;
pub mod graph;
pub mod model;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod progress;
pub mod quantize;
pub mod run;
pub mod segments;
mod weights;

pub use data::Samples;
pub use error::InferError;
pub use graph::Graph;
pub use model::{QuantizedModel, TensorInterface};
#[cfg(feature = "onnx")]
pub use onnx::{ImportError, ImportOptions};
pub use progress::{Progress, Stage, Stopped};
pub use quantize::{QuantizeError, QuantizeOptions};
