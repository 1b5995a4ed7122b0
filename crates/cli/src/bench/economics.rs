//! What has to be assumed to say whether proofs pay, as arguments.

use anyhow::Result;
use clap::Args;
use zkinfer_bench::economics::{Inputs, Payer};

/// What `zkinfer bench` takes for a proof's surroundings. Amounts are per answer, in one currency.
#[derive(Args)]
#[command(next_help_heading = "Economics")]
pub struct Assumptions {
    /// Price of one core for one hour
    #[arg(long, value_name = "X", default_value_t = Inputs::default().price_per_core_hour)]
    price_per_core_hour: f64,
    /// What the provider is paid for an answer
    #[arg(long, value_name = "X", default_value_t = Inputs::default().reward)]
    reward: f64,
    /// What a false answer that is accepted is worth to the provider, besides the reward
    #[arg(long, value_name = "X", default_value_t = Inputs::default().gain)]
    gain: f64,
    /// What the provider loses when it is caught, besides the reward
    #[arg(long, value_name = "X", default_value_t = Inputs::default().stake)]
    stake: f64,
    /// The provider pays for proofs, not whoever demands them
    #[arg(long)]
    provider_pays: bool,
    /// Share of true answers for which somebody demands a proof, 0 to 1
    #[arg(long, value_name = "P", default_value_t = Inputs::default().demand)]
    demand: f64,
    /// Share of false answers for which somebody demands a proof, 0 to 1
    #[arg(long, value_name = "P", default_value_t = Inputs::default().suspicion)]
    suspicion: f64,
    /// How many times the break-even rate is sampled; at least 1
    #[arg(long, value_name = "X", default_value_t = Inputs::default().sampling_margin)]
    sampling_margin: f64,
    /// How many parties check each proof
    #[arg(long, value_name = "N", default_value_t = Inputs::default().verifiers, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    verifiers: u64,
    /// Probability that a party who runs the model again lies
    #[arg(long, value_name = "P", default_value_t = Inputs::default().dishonest)]
    dishonest: f64,
    /// Probability of a false answer that running it again may leave
    #[arg(long, value_name = "P", default_value_t = Inputs::default().tolerated_failure)]
    tolerated_failure: f64,
    /// CPU time per proof that verification in batches shall reach, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1e3 * Inputs::default().target_verify_seconds)]
    target_verify_ms: f64,
}

impl Assumptions {
    /// Checked.
    pub fn inputs(&self) -> Result<Inputs> {
        let inputs = Inputs {
            price_per_core_hour: self.price_per_core_hour,
            reward: self.reward,
            gain: self.gain,
            stake: self.stake,
            proof_paid_by: if self.provider_pays {
                Payer::Provider
            } else {
                Payer::Client
            },
            demand: self.demand,
            suspicion: self.suspicion,
            sampling_margin: self.sampling_margin,
            verifiers: self.verifiers,
            dishonest: self.dishonest,
            tolerated_failure: self.tolerated_failure,
            target_verify_seconds: self.target_verify_ms / 1e3,
        };
        inputs.check()?;
        Ok(inputs)
    }
}
