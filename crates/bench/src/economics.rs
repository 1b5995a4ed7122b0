//! Whether proofs are worth their cost: deterrence by sampling, proofs against re-execution, batches, and the verifier's break-even.
//!
//! # The game
//!
//! A provider is asked for answers of a committed model. For each it is paid a reward `R`. Running the model costs it `cᵢ`, a proof costs
//! `cₚ`, checking one `cᵥ`. A false answer that is accepted is worth `G` to the provider (on top of the reward, and of `cᵢ`, which it
//! saves). Once an answer is given, a proof of it may be demanded. A false answer has no proof (soundness), a true one always has
//! (completeness; the provider keeps its runs until then). Who fails to prove loses the reward and the stake `S`.
//!
//! A rational, risk-neutral provider compares, where a proof is demanded of a false answer with probability `q` and of a true one with `d`:
//!
//! ```text
//! honest   R − cᵢ − d·cₚ'                 cₚ' = cₚ if the provider pays for proofs, 0 if who demands them does
//! false    (1 − q)·(R + G) − q·S
//! ```
//!
//! and answers falsely if the second is larger. That punishment times the probability of being caught has to exceed the gain is G. S. Becker,
//! *Crime and Punishment: An Economic Approach*, Journal of Political Economy 76(2), 1968; for computations checked at random, with fines,
//! M. Belenkiy et al., *Incentivizing Outsourced Computation*, NetEcon 2008; for inference, *Proof of Sampling*, arXiv 2405.00295.
//! With demands at random, unforeseeable when the answer is given, `q = d = s`, and both are equal at the **break-even sampling rate**
//!
//! ```text
//! s* = (G + cᵢ) / (R + G + S − cₚ')
//! ```
//!
//! Above it honesty pays. If `s* > 1` or the denominator is not positive, no rate deters: the stake is too small. Future business that a
//! caught provider loses is not counted, nor that a false answer may take some work: both make the real rate smaller.
//!
//! # The ways to have answers checked, and what they cost everyone together, per answer
//!
//! ```text
//! proof of every answer      cᵢ + cₚ + V·cᵥ                 V parties check each proof
//! proof on demand            cᵢ + d·(cₚ + V·cᵥ)             deters if false answers are asked about often enough
//! proof of a sample          cᵢ + s·(cₚ + V·cᵥ)
//! sample run again           c + s·c                        auditors who have the model and its inputs; s* with cᵢ = c and cₚ' = 0
//! everything run N times     N·c                            N independent parties who have the model and its inputs
//! ```
//!
//! `c` is the cost of a float inference. A majority of `N` parties of whom each lies with probability `p`, independently of the others but all
//! telling the same lie, is wrong with the probability that a binomial variable reaches `(N + 1)/2`. Parties that collude are one party:
//! against them no number helps, while a proof needs no assumption on who made it. Float results of different machines differ in
//! their last bits, so that re-execution also needs a tolerance.

use crate::report::{BatchPoint, Measurement, StageName};
use serde::{Deserialize, Serialize};
use statrs::function::beta::checked_beta_reg;
use thiserror::Error;

/// Most executions that are counted; whoever needs more needs something else.
const MOST_EXECUTIONS: u64 = 99_999;

/// What makes an input meaningless.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum EconomicsError {
    /// A probability outside 0 to 1.
    #[error("{name} is {value}, and a probability lies between 0 and 1")]
    NotAProbability {
        /// Field of [`Inputs`].
        name: &'static str,
        /// As given.
        value: f64,
    },
    /// An amount of money, time or work that is negative or not finite.
    #[error("{name} is {value}, and must be finite and not negative")]
    NotAnAmount {
        /// Field of [`Inputs`], or what was measured.
        name: &'static str,
        /// As given.
        value: f64,
    },
    /// Something that others are divided by.
    #[error("{name} must not be zero")]
    Zero {
        /// Field of [`Inputs`], or what was measured.
        name: &'static str,
    },
    /// Batches of at least two sizes tell a fixed part from what each proof costs.
    #[error(
        "batches of {sizes} different sizes do not tell the fixed cost from that of a proof; two are needed"
    )]
    TooFewBatches {
        /// Different sizes given.
        sizes: usize,
    },
}

/// Who pays for a proof that is demanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payer {
    /// Whoever demands it.
    #[default]
    Client,
    /// The provider, out of its rewards.
    Provider,
}

/// What has to be assumed. Amounts are per answer, in the currency of the price; reports show them as `$`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inputs {
    /// Price of one core for one hour.
    pub price_per_core_hour: f64,
    /// What the provider is paid for an answer.
    pub reward: f64,
    /// What a false answer that is accepted is worth to the provider, beyond the reward and the saved run.
    pub gain: f64,
    /// What the provider loses when it is caught, besides the reward.
    pub stake: f64,
    /// Who pays for a proof.
    pub proof_paid_by: Payer,
    /// Share of true answers for which a proof is demanded, where proofs are made on demand.
    pub demand: f64,
    /// Share of false answers for which a proof is demanded, where proofs are made on demand: higher if they look odd.
    pub suspicion: f64,
    /// How many times the break-even rate is sampled: the gain is an estimate. At least 1.
    pub sampling_margin: f64,
    /// How many parties check each proof.
    pub verifiers: u64,
    /// Probability that a party who runs the model again lies.
    pub dishonest: f64,
    /// Probability of a false answer that re-execution may leave.
    pub tolerated_failure: f64,
    /// CPU time per proof that verification in batches shall reach, seconds.
    pub target_verify_seconds: f64,
}

impl Default for Inputs {
    /// A vCPU-hour of a large cloud at list price, cent rewards, and a false answer worth a hundred of them.
    fn default() -> Self {
        Inputs {
            price_per_core_hour: 0.05,
            reward: 0.01,
            gain: 1.0,
            stake: 100.0,
            proof_paid_by: Payer::Client,
            demand: 0.01,
            suspicion: 0.5,
            sampling_margin: 2.0,
            verifiers: 1,
            dishonest: 0.1,
            tolerated_failure: 1e-9,
            target_verify_seconds: 1e-3,
        }
    }
}

impl Inputs {
    /// Checks every input.
    ///
    /// # Errors
    /// The first that is meaningless.
    pub fn check(&self) -> Result<(), EconomicsError> {
        amount("price_per_core_hour", self.price_per_core_hour)?;
        amount("reward", self.reward)?;
        amount("gain", self.gain)?;
        amount("stake", self.stake)?;
        amount("sampling_margin", self.sampling_margin)?;
        amount("target_verify_seconds", self.target_verify_seconds)?;
        probability("demand", self.demand)?;
        probability("suspicion", self.suspicion)?;
        probability("dishonest", self.dishonest)?;
        probability("tolerated_failure", self.tolerated_failure)?;
        if self.verifiers == 0 {
            return Err(EconomicsError::Zero { name: "verifiers" });
        }
        if self.sampling_margin < 1.0 {
            let value = self.sampling_margin;
            return Err(EconomicsError::NotAnAmount {
                name: "sampling_margin - 1",
                value: value - 1.0,
            });
        }
        Ok(())
    }

    /// What CPU time costs.
    pub fn money(&self, cpu_seconds: f64) -> f64 {
        cpu_seconds / 3600.0 * self.price_per_core_hour
    }
}

/// CPU time of what is weighed against each other, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// One run of the original model in floats.
    pub float: f64,
    /// One run of the quantized model.
    pub inference: f64,
    /// One proof.
    pub prove: f64,
    /// One verification, warm and alone.
    pub verify: f64,
}

impl Costs {
    /// Medians of a measurement; `None` if a stage is missing.
    pub fn of(measurement: &Measurement) -> Option<Costs> {
        Some(Costs {
            float: measurement.cpu(StageName::FloatInference)?,
            inference: measurement.cpu(StageName::QuantizedInference)?,
            prove: measurement.cpu(StageName::Prove)?,
            verify: measurement.cpu(StageName::Verify)?,
        })
    }

    fn check(&self) -> Result<(), EconomicsError> {
        amount("float inference", self.float)?;
        amount("quantized inference", self.inference)?;
        amount("prove", self.prove)?;
        amount("verify", self.verify)
    }
}

/// How answers are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Regime {
    /// Every answer comes with a proof.
    AlwaysProve,
    /// Proofs are made when somebody asks.
    OnDemand,
    /// Proofs of a random sample.
    SampledProof,
    /// A random sample is run again by an honest auditor who has the model and the inputs.
    SampledRerun,
    /// Everything is run by so many parties that their majority is right, often enough.
    NFold,
}

impl Regime {
    /// A few words for people.
    pub fn label(self) -> &'static str {
        match self {
            Regime::AlwaysProve => "proof of every answer",
            Regime::OnDemand => "proof on demand",
            Regime::SampledProof => "proof of a random sample",
            Regime::SampledRerun => "random sample run again",
            Regime::NFold => "everything run N times",
        }
    }
}

/// What a regime comes to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which.
    pub regime: Regime,
    /// Share of true answers that are checked; the number of runs where everything is run several times.
    pub rate: f64,
    /// What everyone together pays per answer.
    pub cost: f64,
    /// What an honest provider earns per answer.
    pub profit: f64,
    /// Whether honesty pays more than lying; where everything is run N times, whether liars are outvoted as often as was asked for.
    pub deters: bool,
}

/// Everything that follows for one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Economics {
    /// CPU times that went in.
    pub costs: Costs,
    /// The rate above which sampled proofs deter, `None` if none does.
    pub break_even_rate: Option<f64>,
    /// The regimes that exist under these inputs, in the order of [`Regime`].
    pub outcomes: Vec<Outcome>,
    /// Parties that have to run everything for the tolerated failure; `None` if no number suffices.
    pub executions_needed: Option<u64>,
    /// The number of executions from which on one proof is cheaper; `None` if running costs nothing.
    pub executions_that_cost_more: Option<u64>,
}

impl Economics {
    /// Works everything out.
    ///
    /// # Errors
    /// Inputs or costs that are meaningless.
    pub fn new(inputs: &Inputs, costs: &Costs) -> Result<Economics, EconomicsError> {
        inputs.check()?;
        costs.check()?;
        let (run, prove) = (inputs.money(costs.inference), inputs.money(costs.prove));
        let check = inputs.money(costs.verify) * inputs.verifiers as f64;
        let float = inputs.money(costs.float);
        let mut outcomes = vec![
            proofs(inputs, Regime::AlwaysProve, run, prove, check, 1.0, 1.0),
            proofs(
                inputs,
                Regime::OnDemand,
                run,
                prove,
                check,
                inputs.suspicion,
                inputs.demand,
            ),
        ];
        let break_even_rate = break_even_rate(inputs, run, paid_by_provider(inputs, prove))?;
        let sampled = |rate: f64| (rate * inputs.sampling_margin).min(1.0);
        if let Some(rate) = break_even_rate.map(sampled) {
            outcomes.push(proofs(
                inputs,
                Regime::SampledProof,
                run,
                prove,
                check,
                rate,
                rate,
            ));
        }
        if let Some(rate) = self::break_even_rate(inputs, float, 0.0)?.map(sampled) {
            // An auditor's run takes the place of a proof that who demands it pays for.
            let as_client = Inputs {
                proof_paid_by: Payer::Client,
                ..inputs.clone()
            };
            outcomes.push(proofs(
                &as_client,
                Regime::SampledRerun,
                float,
                float,
                0.0,
                rate,
                rate,
            ));
        }
        let executions_needed = executions_needed(inputs.dishonest, inputs.tolerated_failure)?;
        if let Some(executions) = executions_needed {
            outcomes.push(Outcome {
                regime: Regime::NFold,
                rate: executions as f64,
                cost: executions as f64 * float,
                profit: inputs.reward - float,
                deters: true,
            });
        }
        Ok(Economics {
            costs: *costs,
            break_even_rate,
            outcomes,
            executions_needed,
            executions_that_cost_more: executions_that_cost_more(run + prove + check, float)?,
        })
    }

    /// A regime, if it exists.
    pub fn outcome(&self, regime: Regime) -> Option<&Outcome> {
        self.outcomes.iter().find(|o| o.regime == regime)
    }
}

/// What the provider pays of a proof.
fn paid_by_provider(inputs: &Inputs, prove: f64) -> f64 {
    match inputs.proof_paid_by {
        Payer::Client => 0.0,
        Payer::Provider => prove,
    }
}

/// The outcome where false answers are asked about with probability `caught` and true ones with `asked`. Amounts are money.
fn proofs(
    inputs: &Inputs,
    regime: Regime,
    run: f64,
    prove: f64,
    check: f64,
    caught: f64,
    asked: f64,
) -> Outcome {
    let profit = inputs.reward - run - asked * paid_by_provider(inputs, prove);
    let lie = (1.0 - caught) * (inputs.reward + inputs.gain) - caught * inputs.stake;
    Outcome {
        regime,
        rate: asked,
        cost: run + asked * (prove + check),
        profit,
        deters: profit > lie,
    }
}

/// `s* = (G + cᵢ) / (R + G + S − cₚ')`, for costs in money: the rate of random checks above which honesty pays. `None` if none does.
///
/// # Errors
/// Inputs or costs that are meaningless.
pub fn break_even_rate(
    inputs: &Inputs,
    run: f64,
    check_paid_by_provider: f64,
) -> Result<Option<f64>, EconomicsError> {
    inputs.check()?;
    amount("run", run)?;
    amount("check", check_paid_by_provider)?;
    let temptation = inputs.gain + run;
    let at_risk = inputs.reward + inputs.gain + inputs.stake - check_paid_by_provider;
    let rate = temptation / at_risk;
    Ok((at_risk > 0.0 && rate <= 1.0).then_some(rate))
}

/// Probability that at least one of `lies` false answers is asked about, each with probability `rate`: `1 − (1 − s)ⁿ`.
///
/// # Errors
/// A rate that is no probability.
pub fn detection(rate: f64, lies: u64) -> Result<f64, EconomicsError> {
    probability("rate", rate)?;
    if lies == 0 {
        return Ok(0.0);
    }
    Ok(-(lies as f64 * (-rate).ln_1p()).exp_m1())
}

/// The smallest odd number of parties whose majority is wrong with probability `tolerated` at most, if each lies with probability
/// `dishonest`, independently. `None` if no number (up to 99 999) suffices, as for liars in every second place.
///
/// # Errors
/// Arguments that are no probabilities.
pub fn executions_needed(dishonest: f64, tolerated: f64) -> Result<Option<u64>, EconomicsError> {
    probability("dishonest", dishonest)?;
    probability("tolerated_failure", tolerated)?;
    // P[X ≥ m] of a binomial X is the regularised incomplete beta function I_p(m, n − m + 1).
    let fails = |parties: u64| {
        let majority = parties.div_ceil(2) as f64;
        match dishonest {
            0.0 => 0.0,
            1.0 => 1.0,
            p => checked_beta_reg(majority, parties as f64 - majority + 1.0, p).unwrap_or(1.0),
        }
    };
    if dishonest <= tolerated {
        return Ok(Some(1));
    }
    // More parties help only if fewer than half of them lie.
    // Certainty no number gives, whatever rounds to zero.
    if dishonest >= 0.5 || tolerated == 0.0 || fails(MOST_EXECUTIONS) > tolerated {
        return Ok(None);
    }
    let (mut too_few, mut enough) = (0, MOST_EXECUTIONS / 2);
    while enough - too_few > 1 {
        let middle = (too_few + enough) / 2;
        if fails(2 * middle + 1) <= tolerated {
            enough = middle
        } else {
            too_few = middle
        }
    }
    Ok(Some(2 * enough + 1))
}

/// The smallest `N` for which `N` executions cost more than `proof`, everything about it included: `⌊proof / run⌋ + 1`.
/// `None` if a run costs nothing, or so little that the number has no meaning.
///
/// # Errors
/// Negative costs, or costs that are not finite.
pub fn executions_that_cost_more(proof: f64, run: f64) -> Result<Option<u64>, EconomicsError> {
    amount("proof", proof)?;
    amount("run", run)?;
    let runs = proof / run;
    Ok((run > 0.0 && runs < 1e18).then(|| runs.floor() as u64 + 1))
}

/// The number of multiply-adds from which on running the model takes more CPU time than `verify`, at the speed of a model of
/// `multiply_adds` that takes `float`: `verify · multiply_adds / float`. For a verification that costs the same: how a larger model's
/// costs, too, a sweep shows.
///
/// # Errors
/// Negative times, or times that are not finite; no time or work to take the speed from.
pub fn verifier_break_even(
    verify: f64,
    float: f64,
    multiply_adds: u64,
) -> Result<f64, EconomicsError> {
    amount("verify", verify)?;
    amount("float inference", float)?;
    if float == 0.0 {
        return Err(EconomicsError::Zero {
            name: "float inference",
        });
    }
    if multiply_adds == 0 {
        return Err(EconomicsError::Zero {
            name: "multiply_adds",
        });
    }
    Ok(verify / float * multiply_adds as f64)
}

/// Verification of `b` proofs together takes `fixed + b·each`, so `fixed/b + each` per proof.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Amortisation {
    /// CPU time of a batch whatever its size, seconds.
    pub fixed: f64,
    /// CPU time of a further proof, seconds.
    pub each: f64,
}

impl Amortisation {
    /// Fits both parts to CPU times per proof, given as `(batch size, seconds)`: least squares of relative errors, neither part below
    /// zero.
    ///
    /// # Errors
    /// Fewer than two sizes; sizes or times that are not positive.
    pub fn fit(per_proof: &[(u64, f64)]) -> Result<Amortisation, EconomicsError> {
        for &(size, seconds) in per_proof {
            amount("time of a batch", seconds)?;
            if size == 0 || seconds == 0.0 {
                return Err(EconomicsError::Zero { name: "a batch" });
            }
        }
        let mut sizes: Vec<u64> = per_proof.iter().map(|p| p.0).collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.len() < 2 {
            return Err(EconomicsError::TooFewBatches { sizes: sizes.len() });
        }
        // Divided by the time: fixed·u + each·w = 1 with u = 1/(b·t), w = 1/t.
        let rows: Vec<(f64, f64)> = per_proof
            .iter()
            .map(|(b, t)| (1.0 / (*b as f64 * t), 1.0 / t))
            .collect();
        let sum = |f: fn(&(f64, f64)) -> f64| rows.iter().map(f).sum::<f64>();
        let (uu, uw, ww) = (sum(|r| r.0 * r.0), sum(|r| r.0 * r.1), sum(|r| r.1 * r.1));
        let (u, w) = (sum(|r| r.0), sum(|r| r.1));
        let determinant = uu * ww - uw * uw;
        let (fixed, each) = (
            (u * ww - w * uw) / determinant,
            (w * uu - u * uw) / determinant,
        );
        // With two parts, if one is negative, the best fit without it is the best fit.
        Ok(if each < 0.0 {
            Amortisation {
                fixed: u / uu,
                each: 0.0,
            }
        } else if fixed < 0.0 {
            Amortisation {
                fixed: 0.0,
                each: w / ww,
            }
        } else {
            Amortisation { fixed, each }
        })
    }

    /// The same from measured batches; those without CPU time are left out.
    ///
    /// # Errors
    /// As [`fit`](Amortisation::fit).
    pub fn of(batches: &[BatchPoint]) -> Result<Amortisation, EconomicsError> {
        let points = batches
            .iter()
            .filter_map(|b| Some((b.proofs as u64, b.cpu_per_proof()?)));
        Amortisation::fit(&points.collect::<Vec<_>>())
    }

    /// CPU time per proof in a batch of `proofs`, seconds.
    pub fn per_proof(&self, proofs: u64) -> f64 {
        self.fixed / proofs.max(1) as f64 + self.each
    }

    /// The smallest batch that takes at most `target` seconds of CPU time per proof: `⌈fixed / (target − each)⌉`. `None` if no batch
    /// does.
    ///
    /// # Errors
    /// A target that is negative or not finite.
    pub fn batch_for(&self, target: f64) -> Result<Option<u64>, EconomicsError> {
        amount("target_verify_seconds", target)?;
        if self.per_proof(1) <= target {
            return Ok(Some(1));
        }
        let left = target - self.each;
        let size = (self.fixed / left).ceil();
        Ok((left > 0.0 && size < 1e18).then_some(size as u64))
    }
}

fn amount(name: &'static str, value: f64) -> Result<(), EconomicsError> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => Err(EconomicsError::NotAnAmount { name, value }),
    }
}

fn probability(name: &'static str, value: f64) -> Result<(), EconomicsError> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(EconomicsError::NotAProbability { name, value }),
    }
}

#[cfg(test)]
mod tests;
