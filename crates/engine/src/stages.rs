//! Where the time of a proof goes.

use std::time::{Duration, Instant};

/// Wall time of the engine's stages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    /// Commitments to advice columns.
    pub columns: Duration,
    /// Their interpolation.
    pub interpolation: Duration,
    /// Instance columns, copies, and the random polynomial of the vanishing argument.
    pub others: Duration,
    /// Evaluation of all columns on cosets.
    pub cosets: Duration,
    /// Evaluation of the gates there.
    pub gates: Duration,
    /// The quotient's pieces: interpolation and commitments.
    pub pieces: Duration,
    /// Evaluations at the point of the opening.
    pub evaluations: Duration,
    /// Reduction of all openings to one.
    pub multiopen: Duration,
    /// The inner-product argument.
    pub opening: Duration,
}

impl Stages {
    /// Names and times, in order.
    pub fn list(&self) -> [(&'static str, Duration); 9] {
        [
            ("columns: commitments", self.columns),
            ("columns: interpolation", self.interpolation),
            ("instances, random polynomial", self.others),
            ("quotient: cosets", self.cosets),
            ("quotient: gates", self.gates),
            ("quotient: pieces", self.pieces),
            ("evaluations", self.evaluations),
            ("multi-point reduction", self.multiopen),
            ("inner-product opening", self.opening),
        ]
    }

    /// All together.
    pub fn total(&self) -> Duration {
        self.list().iter().map(|(_, time)| *time).sum()
    }
}

/// Measures laps.
pub(crate) struct Clock(Instant);

impl Clock {
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Adds the time since the last lap.
    pub fn lap(&mut self, slot: &mut Duration) {
        *slot += std::mem::replace(&mut self.0, Instant::now()).elapsed();
    }
}
