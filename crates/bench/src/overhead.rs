//! What a proof costs in terms of what it is about: computed from a measurement, never stored.
//!
//! All costs are CPU time: on several cores, wall time says how many cores there are.

use crate::report::{Facts, Measurement, StageName};

/// Overheads of a model. Missing where a stage was not measured, or the model has none of what it would be divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overhead {
    /// CPU time of a proof over that of one float inference.
    pub prove_over_float: Option<f64>,
    /// CPU time of a proof over that of one quantized inference.
    pub prove_over_quantized: Option<f64>,
    /// CPU time of a warm verification over that of one float inference: below 1, verifying is cheaper than running again.
    pub verify_over_float: Option<f64>,
    /// The same in the cheapest batch that was measured, per proof.
    pub batch_over_float: Option<f64>,
    /// CPU time of a proof, per unit.
    pub prove: PerUnit,
    /// CPU time of a warm verification, per unit.
    pub verify: PerUnit,
}

/// CPU seconds per unit of a model's size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerUnit {
    /// Per million multiply-adds.
    pub million_multiply_adds: Option<f64>,
    /// Per activation.
    pub activation: Option<f64>,
    /// Per parameter.
    pub parameter: Option<f64>,
}

impl PerUnit {
    fn of(seconds: Option<f64>, facts: &Facts) -> PerUnit {
        let per = |count: u64| (count > 0).then_some(seconds? / count as f64);
        PerUnit {
            million_multiply_adds: per(facts.multiply_adds).map(|s| s * 1e6),
            activation: per(facts.activations),
            parameter: per(facts.parameters),
        }
    }
}

impl Measurement {
    /// Median CPU time of a stage, seconds.
    pub fn cpu(&self, name: StageName) -> Option<f64> {
        Some(self.stage(name)?.cpu?.median)
    }

    /// Median wall time of a stage, seconds.
    pub fn wall(&self, name: StageName) -> Option<f64> {
        Some(self.stage(name)?.wall.median)
    }

    /// The overheads.
    pub fn overhead(&self) -> Overhead {
        let ratio = |a: StageName, b: StageName| {
            let (a, b) = (self.cpu(a)?, self.cpu(b)?);
            (b > 0.0).then_some(a / b)
        };
        let (prove, verify) = (StageName::Prove, StageName::Verify);
        let float = self.cpu(StageName::FloatInference).filter(|f| *f > 0.0);
        let batch = self.cheapest_batch().filter(|b| b.0 > 1);
        Overhead {
            prove_over_float: ratio(prove, StageName::FloatInference),
            prove_over_quantized: ratio(prove, StageName::QuantizedInference),
            verify_over_float: ratio(verify, StageName::FloatInference),
            batch_over_float: batch.zip(float).map(|((_, each), float)| each / float),
            prove: PerUnit::of(self.cpu(prove), &self.facts),
            verify: PerUnit::of(self.cpu(verify), &self.facts),
        }
    }

    /// What the CPU time of a stage costs at a price per core and hour, in the price's currency.
    pub fn money(&self, name: StageName, price_per_core_hour: f64) -> Option<f64> {
        Some(self.cpu(name)? / 3600.0 * price_per_core_hour)
    }

    /// The batch with the cheapest verification per proof, by CPU time.
    pub fn cheapest_batch(&self) -> Option<(usize, f64)> {
        let costs = self
            .batches
            .iter()
            .filter_map(|b| Some((b.proofs, b.cpu_per_proof()?)));
        costs.min_by(|a, b| a.1.total_cmp(&b.1))
    }
}
