//! What grows with what in a sweep: the quantities of its points, and the curves through them.

use crate::fit::{self, Fit, FitError};
use crate::plot::Unit;
use crate::report::{Measurement, Stage, StageName, Sweep};

/// What a model's size is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Multiply-adds of one inference.
    MultiplyAdds,
    /// Weights and biases.
    Parameters,
    /// Elements that pass through a non-linearity.
    Activations,
}

impl Size {
    /// All of them.
    pub const ALL: [Size; 3] = [Size::MultiplyAdds, Size::Parameters, Size::Activations];

    /// A word for people.
    pub fn label(self) -> &'static str {
        match self {
            Size::MultiplyAdds => "multiply-adds",
            Size::Parameters => "parameters",
            Size::Activations => "activations",
        }
    }

    /// Of a model.
    pub fn of(self, measurement: &Measurement) -> u64 {
        match self {
            Size::MultiplyAdds => measurement.facts.multiply_adds,
            Size::Parameters => measurement.facts.parameters,
            Size::Activations => measurement.facts.activations,
        }
    }

    /// Whether the models of a sweep differ enough in this to speak of growth.
    pub fn grows_in(self, sweep: &Sweep) -> bool {
        let sizes = || {
            sweep
                .points
                .iter()
                .map(|p| self.of(&p.measurement))
                .filter(|s| *s > 0)
        };
        match (sizes().min(), sizes().max()) {
            (Some(low), Some(high)) => high as f64 / low as f64 >= fit::SMALLEST_SPAN,
            _ => false,
        }
    }
}

/// What is looked at. Times are CPU times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Of a proof.
    Prove,
    /// Of a verification, warm.
    Verify,
    /// Of a verification in the cheapest batch that was measured, per proof.
    VerifyInBatch,
    /// Of an inference in floats.
    Float,
    /// Proof over inference in floats.
    ProveOverFloat,
    /// Verification over inference in floats.
    VerifyOverFloat,
    /// Verification in the cheapest batch over inference in floats.
    BatchOverFloat,
    /// Size of a proof.
    ProofBytes,
    /// Highest resident memory when proving.
    Memory,
}

impl Quantity {
    /// All of them.
    pub const ALL: [Quantity; 9] = [
        Quantity::Prove,
        Quantity::Verify,
        Quantity::VerifyInBatch,
        Quantity::Float,
        Quantity::ProveOverFloat,
        Quantity::VerifyOverFloat,
        Quantity::BatchOverFloat,
        Quantity::ProofBytes,
        Quantity::Memory,
    ];

    /// A few words for people.
    pub fn label(self) -> &'static str {
        match self {
            Quantity::Prove => "prove",
            Quantity::Verify => "verify",
            Quantity::VerifyInBatch => "verify in a batch",
            Quantity::Float => "float inference",
            Quantity::ProveOverFloat => "prove / float inference",
            Quantity::VerifyOverFloat => "verify / float inference",
            Quantity::BatchOverFloat => "batch / float inference",
            Quantity::ProofBytes => "proof size",
            Quantity::Memory => "memory when proving",
        }
    }

    /// What it is counted in.
    pub fn unit(self) -> Unit {
        match self {
            Quantity::Prove | Quantity::Verify | Quantity::VerifyInBatch | Quantity::Float => {
                Unit::Seconds
            }
            Quantity::ProveOverFloat | Quantity::VerifyOverFloat | Quantity::BatchOverFloat => {
                Unit::Ratio
            }
            Quantity::ProofBytes | Quantity::Memory => Unit::Bytes,
        }
    }

    fn stage(self, measurement: &Measurement) -> Option<&Stage> {
        measurement.stage(match self {
            Quantity::Prove => StageName::Prove,
            Quantity::Verify => StageName::Verify,
            Quantity::Float => StageName::FloatInference,
            _ => return None,
        })
    }

    /// Of a model; `None` if it was not measured.
    pub fn of(self, measurement: &Measurement) -> Option<f64> {
        let value = match self {
            Quantity::Prove | Quantity::Verify | Quantity::Float => {
                self.stage(measurement)?.cpu?.median
            }
            Quantity::VerifyInBatch => measurement.cheapest_batch().filter(|b| b.0 > 1)?.1,
            Quantity::ProveOverFloat => measurement.overhead().prove_over_float?,
            Quantity::VerifyOverFloat => measurement.overhead().verify_over_float?,
            Quantity::BatchOverFloat => measurement.overhead().batch_over_float?,
            Quantity::ProofBytes => measurement.sizes.proof as f64,
            Quantity::Memory => measurement.stage(StageName::Prove)?.peak_bytes? as f64,
        };
        (value > 0.0).then_some(value)
    }

    /// Quartiles of it, where several runs were measured.
    pub fn spread(self, measurement: &Measurement) -> Option<(f64, f64)> {
        let cpu = self.stage(measurement)?.cpu?;
        Some((cpu.low, cpu.high))
    }
}

/// The points of a sweep that have both, in its order.
pub fn points(sweep: &Sweep, quantity: Quantity, size: Size) -> Vec<(&Measurement, f64, f64)> {
    let measured = sweep.points.iter().map(|p| &p.measurement);
    measured
        .filter_map(|m| Some((m, size.of(m) as f64, quantity.of(m)?)))
        .filter(|p| p.1 > 0.0)
        .collect()
}

/// The curve of a quantity over a size.
///
/// # Errors
/// Too few points, or sizes too close to each other.
pub fn curve(sweep: &Sweep, quantity: Quantity, size: Size) -> Result<Fit, FitError> {
    let points: Vec<(f64, f64)> = points(sweep, quantity, size)
        .iter()
        .map(|p| (p.1, p.2))
        .collect();
    fit::fit(&points)
}

/// An exponent and its interval: `0.98 (0.91 to 1.05)`.
pub fn exponent(fit: &Fit) -> String {
    let interval = fit.exponent;
    let number = |v: f64| format!("{v:.2}").replace("-0.00", "0.00");
    let ends = match (interval.low.is_finite(), interval.high.is_finite()) {
        (true, true) => format!("{} to {}", number(interval.low), number(interval.high)),
        (true, false) => format!("above {}", number(interval.low)),
        (false, true) => format!("below {}", number(interval.high)),
        (false, false) => "not bounded by the data".into(),
    };
    format!("{} ({ends})", number(interval.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Interval;
    use crate::html::samples;
    use crate::report::Family;

    #[test]
    fn exponents_are_written_with_their_intervals() {
        let text = |value: f64, low: f64, high: f64| {
            exponent(&Fit {
                floor: 0.0,
                factor: 1.0,
                exponent: Interval { value, low, high },
                r_squared: 1.0,
                points: 5,
                range: (1.0, 9.0),
            })
        };
        assert_eq!(text(0.98, 0.91, 1.049), "0.98 (0.91 to 1.05)");
        assert_eq!(text(0.9, 0.29, f64::INFINITY), "0.90 (above 0.29)");
        assert_eq!(text(0.9, f64::NEG_INFINITY, 2.0), "0.90 (below 2.00)");
        assert_eq!(
            text(-0.001, f64::NEG_INFINITY, f64::INFINITY),
            "0.00 (not bounded by the data)"
        );
    }

    #[test]
    fn quantities_of_a_sweep() {
        let report = samples::report();
        let mlp = report
            .sweeps
            .iter()
            .find(|s| s.family == Family::Mlp)
            .unwrap();
        assert!(Size::Parameters.grows_in(mlp) && !Size::Activations.grows_in(mlp));
        for quantity in Quantity::ALL {
            assert_eq!(
                points(mlp, quantity, Size::Parameters).len(),
                mlp.points.len(),
                "{quantity:?}"
            );
        }
        // The samples' formulas.
        assert!(
            curve(mlp, Quantity::Prove, Size::MultiplyAdds)
                .unwrap()
                .exponent
                .contains(0.9)
        );
        assert!(
            curve(mlp, Quantity::Float, Size::MultiplyAdds)
                .unwrap()
                .exponent
                .contains(1.0)
        );
        assert!(matches!(
            curve(mlp, Quantity::Prove, Size::Activations),
            Err(FitError::TooFewPoints { .. })
        ));
    }

    #[test]
    fn what_was_not_measured_has_no_points() {
        let mut sweep = samples::report().sweeps.remove(0);
        for point in &mut sweep.points {
            point.measurement.stages.clear();
        }
        assert_eq!(points(&sweep, Quantity::Prove, Size::Parameters).len(), 0);
        assert_eq!(
            points(&sweep, Quantity::ProveOverFloat, Size::Parameters).len(),
            0
        );
    }
}
