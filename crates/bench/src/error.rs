//! Why something could not be measured.

use std::path::PathBuf;
use thiserror::Error;
use zkinfer::onnx::ImportError;
use zkinfer::quantize::EvaluateError;
use zkinfer::{CommitError, InferError, ProveError, QuantizeError, Rejection};

/// Why something could not be measured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The model cannot be imported, or not be run in floats.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// It cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// It cannot be compared with the floats.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// It cannot be committed to.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// It cannot be run on the first sample.
    #[error("sample 0: {0}")]
    Infer(#[from] InferError),
    /// A run of it cannot be proven.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// It cannot be written to files.
    #[error(transparent)]
    File(#[from] zkinfer::files::ModelFileError),
    /// The card that it has does not load.
    #[error(transparent)]
    Load(#[from] zkinfer::LoadError),
    /// The card that it has does not decode.
    #[error(transparent)]
    Decode(#[from] zkinfer::DecodeError),
    /// The input does not fit the card.
    #[error(transparent)]
    Statement(#[from] zkinfer::StatementError),
    /// A proof that was just made was rejected. That must not happen.
    #[error("a proof that was just made is rejected: {0}. That must not happen; please report it")]
    Rejected(Rejection),
    /// No samples to run.
    #[error("there are no samples: give at least one")]
    NoSamples,
    /// A value of the options makes no sense.
    #[error("{option} is {value}: {wanted}")]
    Option {
        /// Which.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// Threads could not be started.
    #[error("threads cannot be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// Files for a fresh verifier could not be written.
    #[error("cannot write files for a fresh verifier: {0}")]
    Write(#[source] std::io::Error),
    /// The fresh verifier could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The fresh verifier did not come to the verdict.
    #[error("a fresh {program} does not accept a proof that was just made: {output}")]
    Cold {
        /// The program.
        program: PathBuf,
        /// What it printed.
        output: String,
    },
}
