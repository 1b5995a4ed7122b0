//! Errors of the owner's side.

use thiserror::Error;
use zkinfer_circuits::error::CardError;
use zkinfer_model::progress::Stopped;

/// Why a model cannot be committed to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The program does not fit.
    #[error(transparent)]
    Plan(#[from] CardError),
    /// A node's weights are missing, of the wrong number, or too large.
    #[error("node {node}: its weights are missing, of the wrong number or too large")]
    Weights {
        /// Index of the program node.
        node: usize,
    },
    /// There are not so many places to cut.
    #[error("the model cannot be cut into {segments} segments: 1 to {most} are possible")]
    Segments {
        /// Wanted.
        segments: usize,
        /// Possible.
        most: usize,
    },
    /// Proving it takes more memory than allowed.
    #[error(
        "proofs of the model take {} MB of memory at least, {} MB are allowed; weights that stay loaded are part of it",
        .least.div_ceil(1_000_000), .limit / 1_000_000
    )]
    Memory {
        /// The least that was predicted for any number of segments that was tried, in bytes.
        least: u64,
        /// Allowed, in bytes.
        limit: u64,
    },
    /// Parts that do not belong together.
    #[error("model, blinds, card and parameters do not belong together")]
    Mismatch,
    /// The parameters could not be read.
    #[error("the parameters cannot be read")]
    Params,
    /// Stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The interface cannot be written down.
    #[error("names, shapes and scales of inputs and outputs cannot be written into the card")]
    Interface,
    /// A random value hit an exceptional point; trying again helps.
    #[error("a random value hit an exceptional point (probability 2^-250); try again")]
    Unlucky,
}

/// Why a run cannot be proven.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The run is of another model.
    #[error("the run does not belong to this model")]
    Run,
    /// The given opening does not open to the values of the run.
    #[error("the given commitment does not open to the values of this run")]
    Opening,
    /// The context is too long.
    #[error(
        "the context has {bytes} bytes, at most {limit} are allowed; pass a hash of it instead"
    )]
    Context {
        /// Given.
        bytes: usize,
        /// Allowed.
        limit: usize,
    },
    /// This machine cannot run the chosen engine.
    #[error("this machine cannot run the {engine} engine: choose auto")]
    Engine {
        /// What was chosen.
        engine: crate::engine::Engine,
    },
    /// Nothing to prove, or too much for one proof.
    #[error("one proof covers 1 to {limit} runs, not {runs}")]
    Runs {
        /// Given.
        runs: usize,
        /// Allowed.
        limit: usize,
    },
    /// Stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The engine refused the witness; a defect of this crate.
    #[error(transparent)]
    Internal(zkinfer_engine::EngineError),
    /// Upstream's prover failed.
    #[error("halo2: {0:?}")]
    Halo2(halo2_proofs::plonk::Error),
    /// Upstream drew its random values in another order than expected.
    #[error(
        "halo2_proofs draws its random values in an unexpected order: this build needs version 0.4.1"
    )]
    Replay,
    /// A random value hit an exceptional point; trying again helps.
    #[error("a random value hit an exceptional point (probability 2^-250); try again")]
    Unlucky,
}

impl From<zkinfer_engine::EngineError> for ProveError {
    fn from(error: zkinfer_engine::EngineError) -> Self {
        match error {
            zkinfer_engine::EngineError::Unlucky(_) => ProveError::Unlucky,
            other => ProveError::Internal(other),
        }
    }
}
