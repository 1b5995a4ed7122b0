//! Verification, and what prover and verifier share around it.
//!
//! | module | what |
//! |---|---|
//! | `limits` | bounds on what a card or a proof may ask for |
//! | `plan` | what follows from a program and `k` alone |
//! | `session` | challenges |
//! | `key` | what is known of a circuit |
//! | `queries` | what a halo2 proof opens, where, and in which order |
//! | `reading` | proof bytes as upstream's transcript, each point decoded once |
//! | `opening` | what remains to be checked of a halo2 proof: a sum of multiples of points |
//! | `equations` | what remains to be checked of a proof, and of many |
//! | `multiexp` | sums of multiples of points |
//! | [`batch`] | many proofs at once |
//! | `chain` | proofs of which one's output is the next one's input |
//! | `reference` | the same verdicts by upstream's verifier alone |

pub mod batch;
mod chain;
mod equations;
mod key;
mod limits;
mod multiexp;
mod opening;
mod plan;
mod queries;
mod reading;
mod reference;
mod session;

pub use batch::{BatchOptions, Candidate, verify_many};
pub use chain::{ChainError, Misfit, verify_chain};
pub use limits::Limits;
pub use plan::Plan;
pub use reference::Reference;
pub use session::{Public, Session, public_columns};

use crate::card::{Card, MultiProof, Proof};
use crate::checks::{Check, drawn, holds, is_off};
use crate::error::{CardError, Rejection};
use crate::generators::Generators;
use crate::link::{self, LinkProof};
use crate::statement::{Claim, MAX_CONTEXT, Side};
use crate::support;
use crate::transcript::Digest;
use equations::{Equations, Sum};
use key::Key;
use multiexp::Known;
use std::sync::Arc;

/// What the verifier's caller expects. `None`: whatever the proof claims (and carries); the verdict reports it.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Input.
    pub input: Option<Side>,
    /// Output.
    pub output: Option<Side>,
    /// Context bytes; always compared.
    pub context: Vec<u8>,
}

/// What a valid proof shows: the committed model maps this input to this output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The model.
    pub card: Digest,
    /// The input.
    pub input: Side,
    /// The output.
    pub output: Side,
    /// The context.
    pub context: Vec<u8>,
}

/// What a proof is checked for, and its parts: sides of the runs as the caller expects or the proof claims them.
struct Statement<'p> {
    runs: Vec<(Side, Side)>,
    context: &'p [u8],
    halo2: &'p [u8],
    link: &'p LinkProof,
}

/// A checked card with its verifying key.
#[derive(Debug)]
pub struct Verifier {
    plan: Plan,
    generators: Arc<Generators>,
    card: Card,
    digest: Digest,
    key: Key,
    limits: Limits,
    known: Known,
}

impl Verifier {
    /// Checks a card: program, size of the commitment, support proof, verifying key.
    ///
    /// # Errors
    /// [`CardError`] says what is wrong with the card.
    pub fn new(
        card: Card,
        generators: Arc<Generators>,
        limits: &Limits,
    ) -> Result<Verifier, CardError> {
        limits.allow_k(card.k)?;
        limits.allow_info(card.info.len())?;
        limits.allow_points(card.points.len() + card.fixed.len())?;
        if generators.k() != card.k {
            return Err(CardError::Params {
                card: card.k,
                params: generators.k(),
            });
        }
        let plan = Plan::new(card.program.clone(), card.k, limits)?;
        if card.points.len() != plan.points() {
            return Err(CardError::Points {
                found: card.points.len(),
                expected: plan.points(),
            });
        }
        let complete = card.fixed.len() == plan.description.fixed;
        if !holds(Check::KeyLength, complete) {
            return Err(CardError::Key);
        }
        let digest = card.digest();
        let key = Key::new(&plan, &card.fixed);
        let verifier = Verifier {
            plan,
            generators,
            card,
            digest,
            key,
            limits: *limits,
            known: Known::default(),
        };
        verifier.check_card()?;
        Ok(verifier)
    }

    /// Checks the support proof and the commitments to fixed columns, both at once.
    fn check_card(&self) -> Result<(), CardError> {
        let (card, groups) = (&self.card, &self.plan.groups);
        let key = Key::equation(&self.plan, card).map_err(|_| CardError::Key)?;
        let vanish = |equations: &[&link::Equation]| {
            let mut sum = Sum::new(self);
            equations.iter().for_each(|e| sum.add_equation(self, e));
            sum.vanishes()
        };
        match support::equation(card.k, &self.digest, groups, &card.support) {
            Some(support) if vanish(&[&support, &key]) => Ok(()),
            _ if !vanish(&[&key]) => Err(CardError::Key),
            _ if is_off(Check::Support) => Ok(()),
            _ => Err(CardError::Support),
        }
    }

    /// The card's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The generators that it was made with.
    pub fn generators(&self) -> &Arc<Generators> {
        &self.generators
    }

    /// The limits that it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What follows from the card's program.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Length in bytes of the halo2 part of a proof of `runs` runs. All proofs of a card have it.
    pub fn halo2_len(&self, runs: usize) -> usize {
        self.key.proof_len(runs)
    }

    /// Checks a proof against what the caller expects.
    ///
    /// # Errors
    /// The first reason for which the proof is not accepted. Never panics, whatever the proof.
    pub fn verify(&self, expected: &Expected, proof: &Proof) -> Result<Verdict, Rejection> {
        let (run, context, equations) = self.prepare_one(expected, proof)?;
        equations.hold()?;
        Ok(self.verdict(run, context))
    }

    /// Checks one proof of several runs. `expected` has one entry per run; the context is that of the whole proof and
    /// compared with that of every entry.
    ///
    /// # Errors
    /// As [`Verifier::verify`]; also if the number of runs is another one.
    pub fn verify_runs(
        &self,
        expected: &[Expected],
        proof: &MultiProof,
    ) -> Result<Vec<Verdict>, Rejection> {
        let (verdicts, equations) = self.prepare_runs(expected, proof)?;
        equations.hold()?;
        Ok(verdicts)
    }

    /// All of [`Verifier::verify`] or [`Verifier::verify_runs`] but the group arithmetic, for a batch.
    fn prepare(&self, candidate: &Candidate) -> Result<(Vec<Verdict>, Equations<'_>), Rejection> {
        match candidate {
            Candidate::One(expected, proof) => {
                let (run, context, equations) = self.prepare_one(expected, proof)?;
                Ok((vec![self.verdict(run, context)], equations))
            }
            Candidate::Runs(expected, proof) => self.prepare_runs(expected, proof),
        }
    }

    fn prepare_one<'p>(
        &self,
        expected: &Expected,
        proof: &'p Proof,
    ) -> Result<((Side, Side), &'p [u8], Equations<'_>), Rejection> {
        let runs = [self.one_run(expected, proof)?];
        let equations = self.equations(&runs, &proof.context, &proof.halo2, &proof.link)?;
        let [run] = runs;
        Ok((run, &proof.context, equations))
    }

    /// All of [`Verifier::verify_runs`] but the group arithmetic.
    fn prepare_runs(
        &self,
        expected: &[Expected],
        proof: &MultiProof,
    ) -> Result<(Vec<Verdict>, Equations<'_>), Rejection> {
        let runs = self.several_runs(expected, proof)?;
        let equations = self.equations(&runs, &proof.context, &proof.halo2, &proof.link)?;
        let verdicts = runs
            .into_iter()
            .map(|run| self.verdict(run, &proof.context));
        Ok((verdicts.collect(), equations))
    }

    /// What a proof is checked for.
    fn statement<'p>(&self, candidate: &'p Candidate) -> Result<Statement<'p>, Rejection> {
        Ok(match candidate {
            Candidate::One(expected, proof) => Statement {
                runs: vec![self.one_run(expected, proof)?],
                context: &proof.context,
                halo2: &proof.halo2,
                link: &proof.link,
            },
            Candidate::Runs(expected, proof) => Statement {
                runs: self.several_runs(expected, proof)?,
                context: &proof.context,
                halo2: &proof.halo2,
                link: &proof.link,
            },
        })
    }

    /// Sides of the run of a proof of one.
    fn one_run(&self, expected: &Expected, proof: &Proof) -> Result<(Side, Side), Rejection> {
        self.meets(&proof.card, &expected.context, &proof.context)?;
        self.run(
            (expected.input.as_ref(), &proof.input),
            (expected.output.as_ref(), &proof.output),
        )
    }

    /// Sides of the runs of a proof of several.
    fn several_runs(
        &self,
        expected: &[Expected],
        proof: &MultiProof,
    ) -> Result<Vec<(Side, Side)>, Rejection> {
        self.limits.allow_runs(proof.runs.len(), self.card.k)?;
        let same = expected.len() == proof.runs.len();
        if !holds(Check::RunCount, same) || expected.is_empty() {
            return Err(Rejection::Runs {
                found: proof.runs.len(),
                expected: expected.len(),
            });
        }
        let compared = drawn(Check::LaterContexts, expected.len(), 1);
        for expected in &expected[..compared] {
            self.meets(&proof.card, &expected.context, &proof.context)?;
        }
        expected
            .iter()
            .zip(&proof.runs)
            .map(|(e, (input, output))| {
                self.run((e.input.as_ref(), input), (e.output.as_ref(), output))
            })
            .collect()
    }

    fn verdict(&self, (input, output): (Side, Side), context: &[u8]) -> Verdict {
        Verdict {
            card: self.digest,
            input,
            output,
            context: context.to_vec(),
        }
    }

    /// Whether a proof is for this card and context.
    fn meets(&self, card: &Digest, expected: &[u8], context: &[u8]) -> Result<(), Rejection> {
        if !holds(Check::CardDigest, *card == self.digest) {
            return Err(Rejection::Model {
                proof: *card,
                card: self.digest,
            });
        }
        if expected.len() > MAX_CONTEXT || context.len() > MAX_CONTEXT {
            return Err(Rejection::Malformed {
                what: "context is longer than 4096 bytes",
            });
        }
        if !holds(Check::Context, context == expected) {
            return Err(Rejection::Context);
        }
        Ok(())
    }

    /// Input and output of one run.
    fn run(
        &self,
        input: (Option<&Side>, &Claim),
        output: (Option<&Side>, &Claim),
    ) -> Result<(Side, Side), Rejection> {
        let program = &self.plan.program;
        Ok((
            self.side("input", input.0, input.1, program.input_len())?,
            self.side("output", output.0, output.1, program.output_len())?,
        ))
    }

    /// The side that the proof is checked against.
    fn side(
        &self,
        which: &'static str,
        expected: Option<&Side>,
        claim: &Claim,
        len: usize,
    ) -> Result<Side, Rejection> {
        let side = match (expected, claim) {
            (Some(side), claim) if claim.is(side) => side.clone(),
            (Some(_), _) => return Err(Rejection::Statement { which }),
            (None, Claim::Values(values)) => Side::Public(values.clone()),
            (None, Claim::Committed(points)) => Side::Committed(points.clone()),
            (None, Claim::Digest(_)) => return Err(Rejection::Needed { which }),
        };
        match &side {
            Side::Public(values) => {
                if !holds(Check::SideLength, values.len() == len) {
                    return Err(Rejection::Length {
                        which,
                        found: values.len(),
                        expected: len,
                    });
                }
                let range = 1u32 << self.plan.layout.range_bits;
                if let Some(index) = values.iter().position(|&v| u32::from(v) >= range) {
                    return Err(Rejection::Range {
                        which,
                        index,
                        value: values[index],
                        limit: range,
                    });
                }
            }
            Side::Committed(points) => {
                let lanes = if which == "input" {
                    self.plan.layout.input_lanes().count()
                } else {
                    self.plan.layout.output_lanes().count()
                };
                if !holds(Check::SideLength, points.len() == lanes) {
                    return Err(Rejection::Length {
                        which,
                        found: points.len(),
                        expected: lanes,
                    });
                }
            }
        }
        Ok(side)
    }
}
