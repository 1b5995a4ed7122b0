//! Proofs made by others: workers of this machine or of many, behind an engine that runs there already.
//!
//! A [`Job`] is a function from bytes to bytes: which segment of which committed model (by [digest](Segment::digest)), the
//! integers that flow in, what hides them, the context, and a seed. Whoever has the [segment's file](Segment::to_bytes)
//! can do it; doing it twice yields the same bytes, so that an engine may retry whatever it lost. All that distinguishes one
//! engine from another is an [`Executor`]: hand jobs out, hand what comes of them back, in any order.
//!
//! ```
//! # use zkinfer::{Graph, QuantizeOptions, Samples, Secret, Visibility};
//! use zkinfer::jobs::{Local, Request, prove_many};
//! use std::ops::ControlFlow;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let graph = Graph::from_onnx(include_bytes!("../examples/data/digits.onnx"))?;
//! # let samples = Samples::from_npz(include_bytes!("../examples/data/digits.npz"), &graph.input_lens())?;
//! # let secret = Secret::commit(graph.quantize(&samples.inputs, &QuantizeOptions::default())?, &mut zkinfer::rng())?;
//! let runs = [secret.infer(&samples.inputs[0])?, secret.infer(&samples.inputs[1])?];
//! let requests: Vec<Request<'_>> = runs.iter().map(|run| Request::of(run)).collect();
//! let mut proofs = Vec::new();
//! prove_many(&secret, &requests, &Local::default(), &mut zkinfer::rng(), &mut |index, proven| {
//!     proofs.push((index, proven));
//!     ControlFlow::Continue(())
//! })?;
//! assert!(proofs.iter().all(|(_, proven)| proven.is_ok()));
//! # Ok(())
//! # }
//! ```
//!
//! **What workers see**: a segment's file holds its weights and the blinds of their commitment, a job the inputs of a run and
//! the blinds of what it hides. Both are as secret as the model and its inputs. `docs/cluster.md` says how engines keep them.

mod local;
mod many;
mod prove;
#[cfg(test)]
mod tests;
mod worker;

use crate::error::ProveError;
use crate::files::ModelFileError;
use crate::plan::Cost;
use crate::secret::Segment;
use std::ops::ControlFlow;
use thiserror::Error;
use zkinfer_circuits::error::DecodeError;
use zkinfer_circuits::transcript::Digest;
use zkinfer_model::error::InferError;

pub use local::Local;
pub use many::{Request, prove_many};
pub use worker::Worker;

/// Something to do elsewhere.
pub struct Job<'a> {
    /// The segment that it needs: its file is sent to workers that do not have it, once.
    pub segment: &'a Segment,
    /// What [`Worker::run`] takes.
    pub bytes: Vec<u8>,
    /// What it is going to take.
    pub cost: Cost,
}

/// Says which segment is to be proven, never for what.
impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("segment", self.segment.digest())
            .field("bytes", &self.bytes.len())
            .field("cost", &self.cost)
            .finish()
    }
}

/// Who is given what came of a job, by its index. Breaks if nothing more is wanted.
pub type Done<'a> = dyn FnMut(usize, Result<Vec<u8>, JobError>) -> ControlFlow<()> + 'a;

/// Where jobs are done.
pub trait Executor {
    /// Does all jobs, in any order, and tells `done` of each, with what [`Worker::run`] made of it or why there is nothing.
    /// Once `done` breaks nothing more is begun, and what has begun is stopped where that can be.
    ///
    /// # Errors
    /// What keeps it from doing any of them. A job that fails does not keep others from being done.
    fn execute(&self, jobs: &[Job<'_>], done: &mut Done<'_>) -> Result<(), JobError>;
}

/// Why a job was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JobError {
    /// The worker does not have the segment: send it its file and ask again.
    #[error("the worker does not have the file of segment {0}")]
    Segment(Digest),
    /// A segment's file cannot be used.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The job, or what came of it, is not what it should be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The integers that flow in lead out of the range, or are none of the model's.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The segment cannot be proven.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// The worker proved something else than it was asked for.
    #[error("a worker answered with a proof of something else")]
    Other,
    /// The executor says that it is done, and this job is not.
    #[error("the executor lost the job")]
    Lost,
    /// The executor itself failed.
    #[error(transparent)]
    Executor(Box<dyn std::error::Error + Send + Sync>),
}
