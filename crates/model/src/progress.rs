//! How far long work has come, and stopping it.
//!
//! [`quantize_with_progress`](crate::quantize::quantize_with_progress),
//! [`evaluate_with_progress`](crate::quantize::evaluate_with_progress) and, in the crate `zkinfer`, commitments and proofs
//! call a [`Progress`] between their steps, on the thread that called them. Where it answers [`ControlFlow::Break`], they
//! return an error and leave nothing half done: everything that they have made is dropped, and whatever they were called on
//! can be used again.
//!
//! ```
//! use std::ops::ControlFlow;
//! use zkinfer_model::quantize::{QuantizeOptions, quantize_with_progress};
//! use zkinfer_model::{Graph, Stage};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let graph = Graph::default();
//! let mut show = |stage: Stage, fraction: f64| {
//!     println!("{stage} {:.0} %", 100.0 * fraction);
//!     ControlFlow::Continue(())
//! };
//! let model = quantize_with_progress(&graph, &[], &QuantizeOptions::default(), &mut show);
//! # let _ = model;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::ops::ControlFlow;
use thiserror::Error;

/// Called with the stage that begins or goes on, and the fraction of the whole call that is behind, from 0 to 1. Fractions
/// never go back and a call that succeeds ends with 1; how they grow with time is an estimate.
pub type Progress<'a> = dyn FnMut(Stage, f64) -> ControlFlow<()> + 'a;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Quantization: the float model runs on the calibration samples.
    Calibrate,
    /// Quantization: the integer program is made.
    Lower,
    /// Evaluation: float and integer model run on samples.
    Evaluate,
    /// Commitment: the plan is made and the weights are committed to.
    Commit,
    /// Commitment: the support proof.
    Support,
    /// Proof: the proving key, once per model.
    Key,
    /// Proof: cells that do not depend on challenges, and commitments to them.
    Witness,
    /// Proof: weights are folded.
    Fold,
    /// Proof: lookups and running sums.
    Sums,
    /// Proof: quotient and opening.
    Open,
    /// Proof: the link to the model commitment.
    Link,
    /// Done.
    Done,
}

impl Stage {
    /// The stage in one lower-case word; it does not change between versions.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Calibrate => "calibrate",
            Stage::Lower => "lower",
            Stage::Evaluate => "evaluate",
            Stage::Commit => "commit",
            Stage::Support => "support",
            Stage::Key => "key",
            Stage::Witness => "witness",
            Stage::Fold => "fold",
            Stage::Sums => "sums",
            Stage::Open => "open",
            Stage::Link => "link",
            Stage::Done => "done",
        }
    }
}

/// The [name](Stage::name).
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A [`Progress`] said to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("stopped by the caller")]
pub struct Stopped;

/// The progress of those who do not ask.
pub fn silent(_: Stage, _: f64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Tells, and stops where that is asked for.
pub fn tell(progress: &mut Progress<'_>, stage: Stage, fraction: f64) -> Result<(), Stopped> {
    match progress(stage, fraction) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Stopped),
    }
}

/// The progress of one of several steps, whose fractions are those of the whole between `from` and `to`. Only the last step is
/// [done](Stage::Done).
pub(crate) fn part<'a>(
    progress: &'a mut Progress<'_>,
    from: f64,
    to: f64,
) -> impl FnMut(Stage, f64) -> ControlFlow<()> + 'a {
    move |stage, fraction| match stage {
        Stage::Done if to < 1.0 => ControlFlow::Continue(()),
        _ => progress(stage, from + (to - from) * fraction),
    }
}
