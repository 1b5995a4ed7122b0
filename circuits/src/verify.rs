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

use crate::card::{self, Card, Proof};
use crate::checks::{Check, drawn, holds, is_off};
use crate::error::{CardError, Rejection};
use crate::generators::Generators;
use crate::link;
use crate::statement::{Claim, MAX_CONTEXT, Side, segment_digest};
use crate::support;
use crate::transcript::Digest;
use equations::{Equations, Sum, weight};
use key::Key;
use multiexp::Known;
use std::ops::Range;
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

/// Input and output of every run, of a model or of one of its segments.
type Sides = Vec<(Side, Side)>;

/// A checked card with its verifying keys.
#[derive(Debug)]
pub struct Verifier {
    segments: Vec<Segment>,
    generators: Arc<Generators>,
    card: Card,
    digest: Digest,
    limits: Limits,
    known: Known,
}

/// What is known of a segment of a card that was checked.
#[derive(Debug)]
pub struct Segment {
    plan: Plan,
    key: Key,
    digest: Digest,
    /// Where its points stand among those of all segments.
    first: usize,
    /// How many of them are its commitment; those to its fixed columns follow.
    points: usize,
}

impl Segment {
    /// What follows from its program.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Length in bytes of the halo2 part of a proof of `runs` runs. All proofs of a card have it.
    pub fn halo2_len(&self, runs: usize) -> usize {
        self.key.proof_len(runs)
    }

    fn new(
        card: &card::Segment,
        k: u32,
        digest: Digest,
        first: usize,
        limits: &Limits,
    ) -> Result<Segment, CardError> {
        let plan = Plan::new(card.program.clone(), k, limits)?;
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
        Ok(Segment {
            key: Key::new(&plan, &card.fixed),
            plan,
            digest,
            first,
            points: card.points.len(),
        })
    }
}

impl Verifier {
    /// Checks a card: programs, sizes of the commitments, support proofs, verifying keys, and that each segment reads what the
    /// one before it puts out.
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
        limits.allow_segments(card.segments.len(), card.k)?;
        if card.segments.is_empty() {
            // No file is read with none, but a card may be made by hand.
            return Err(CardError::Points {
                found: 0,
                expected: 1,
            });
        }
        let fixed = card.segments.iter().map(|s| s.fixed.len());
        limits.allow_points(card.points() + fixed.sum::<usize>())?;
        if generators.k() != card.k {
            return Err(CardError::Params {
                card: card.k,
                params: generators.k(),
            });
        }
        let digest = card.digest();
        let mut segments: Vec<Segment> = Vec::with_capacity(card.segments.len());
        let (mut left, mut first) = (*limits, 0);
        for (index, of_card) in card.segments.iter().enumerate() {
            let digest = segment_digest(&digest, index);
            let segment = Segment::new(of_card, card.k, digest, first, &left)?;
            left.spend(&segment.plan);
            first += of_card.points.len() + of_card.fixed.len();
            if let Some(before) = segments.last() {
                let fits = before.plan.fits(&segment.plan);
                let fits = fits.map_err(|reason| CardError::Boundary { index, reason });
                if !is_off(Check::SegmentFits) {
                    fits?;
                }
            }
            segments.push(segment);
        }
        let verifier = Verifier {
            segments,
            generators,
            card,
            digest,
            limits: *limits,
            known: Known::default(),
        };
        verifier.check_card()?;
        Ok(verifier)
    }

    /// Checks the support proofs and the commitments to fixed columns of all segments: all at once, with weights from a hash of
    /// the whole card, and if there is something wrong halves of them until what is wrong is found.
    fn check_card(&self) -> Result<(), CardError> {
        let (mut first, mut last) = (0, self.segments.len());
        if last > 1 {
            let seed = Digest::of("zkinfer-segments", &self.card.to_bytes());
            if self.hold_together(first..last, &seed) {
                return Ok(());
            }
            while last - first > 1 {
                let middle = first + (last - first) / 2;
                match self.hold_together(first..middle, &seed) {
                    true => first = middle,
                    false => last = middle,
                }
            }
        }
        self.check_segment(first)
    }

    /// Whether all sums of some segments are zero. Error `1/|F|` for each question to the hash.
    fn hold_together(&self, range: Range<usize>, seed: &Digest) -> bool {
        let mut sum = Sum::new(self);
        for index in range {
            let (segment, card) = (&self.segments[index], &self.card.segments[index]);
            let groups = &segment.plan.groups;
            let support = support::equation(self.card.k, &segment.digest, groups, &card.support);
            let key = Key::equation(&segment.plan, &segment.digest, card);
            let (Some(support), Ok(key)) = (support, key) else {
                return false;
            };
            for (number, mut equation) in [support, key].into_iter().enumerate() {
                equation.scale(weight(seed, 2 * index + number));
                sum.add_equation(self, segment, &equation);
            }
        }
        sum.vanishes()
    }

    /// Checks the support proof and the commitments to fixed columns of a segment, both at once.
    fn check_segment(&self, index: usize) -> Result<(), CardError> {
        let (segment, card) = (&self.segments[index], &self.card.segments[index]);
        let groups = &segment.plan.groups;
        let key = Key::equation(&segment.plan, &segment.digest, card);
        let key = key.map_err(|_| CardError::Key)?;
        let vanish = |equations: &[&link::Equation]| {
            let mut sum = Sum::new(self);
            equations
                .iter()
                .for_each(|e| sum.add_equation(self, segment, e));
            sum.vanishes()
        };
        match support::equation(self.card.k, &segment.digest, groups, &card.support) {
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

    /// What follows from the programs of the card's segments, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Advice columns of all segments.
    pub fn columns(&self) -> usize {
        let columns = self.segments.iter();
        columns.map(|s| s.plan.layout.columns.advice()).sum()
    }

    /// Length in bytes of the halo2 parts of a proof of `runs` runs together. All proofs of a card have it.
    pub fn halo2_len(&self, runs: usize) -> usize {
        self.segments.iter().map(|s| s.halo2_len(runs)).sum()
    }

    /// [`Plan::reading_memory`] of the largest segment.
    pub fn reading_memory(&self) -> usize {
        let memory = self.segments.iter().map(|s| s.plan.reading_memory());
        memory.max().unwrap_or(0)
    }

    /// Checks a proof of one run against what the caller expects.
    ///
    /// # Errors
    /// The first reason for which the proof is not accepted; also if it is of several runs. Never panics, whatever the proof.
    pub fn verify(&self, expected: &Expected, proof: &Proof) -> Result<Verdict, Rejection> {
        let mut verdicts = self.verify_runs(std::slice::from_ref(expected), proof)?;
        // One for each run.
        verdicts.pop().ok_or(Rejection::Runs {
            found: 0,
            expected: 1,
        })
    }

    /// Checks a proof of several runs. `expected` has one entry per run; the context is that of the whole proof and compared
    /// with that of every entry.
    ///
    /// # Errors
    /// As [`Verifier::verify`]; also if the number of runs is another one.
    pub fn verify_runs(
        &self,
        expected: &[Expected],
        proof: &Proof,
    ) -> Result<Vec<Verdict>, Rejection> {
        let (verdicts, equations) = self.prepare(expected, proof)?;
        equations.hold()?;
        Ok(verdicts)
    }

    /// All of [`Verifier::verify_runs`] but the group arithmetic.
    fn prepare(
        &self,
        expected: &[Expected],
        proof: &Proof,
    ) -> Result<(Vec<Verdict>, Equations<'_>), Rejection> {
        let runs = self.runs(expected, proof)?;
        let equations = self.equations(&self.sides(&runs, proof)?, proof)?;
        let verdicts = runs.into_iter();
        let verdicts = verdicts.map(|run| self.verdict(run, &proof.context));
        Ok((verdicts.collect(), equations))
    }

    /// Sides of a proof's runs, as the caller expects or the proof claims them.
    fn runs(&self, expected: &[Expected], proof: &Proof) -> Result<Sides, Rejection> {
        let (runs, segments) = (proof.runs.len(), self.segments.len());
        self.limits.allow_runs(runs, segments, self.card.k)?;
        let same = expected.len() == runs;
        if !holds(Check::RunCount, same) || expected.is_empty() {
            return Err(Rejection::Runs {
                found: runs,
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

    /// Sides of the runs of every segment: between segments, what the proof has commitments to.
    fn sides(&self, runs: &Sides, proof: &Proof) -> Result<Vec<Sides>, Rejection> {
        let malformed = |what| Rejection::Malformed { what };
        let count = proof.segments.len();
        if !holds(Check::SegmentCount, count == self.segments.len()) {
            return Err(malformed(
                "a proof of this card has another number of parts",
            ));
        }
        let mut sides: Vec<Sides> = Vec::with_capacity(self.segments.len());
        let mut inputs: Vec<Side> = runs.iter().map(|run| run.0.clone()).collect();
        for (segment, proof) in self.segments.iter().zip(&proof.segments) {
            let outputs: Vec<Side> = if sides.len() + 1 == self.segments.len() {
                runs.iter().map(|run| run.1.clone()).collect()
            } else {
                let lanes = segment.plan.layout.output_lanes().count();
                let boundary = &proof.boundary;
                if boundary.len() != runs.len() || boundary.iter().any(|p| p.len() != lanes) {
                    return Err(malformed("a boundary of this card has another length"));
                }
                boundary.iter().cloned().map(Side::Committed).collect()
            };
            let next = outputs.clone();
            sides.push(inputs.into_iter().zip(outputs).collect());
            inputs = next;
        }
        Ok(sides)
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
        let (first, last) = match self.segments.as_slice() {
            [first, .., last] => (first, last),
            [only] => (only, only),
            // A card has segments.
            [] => return Err(Rejection::Circuit),
        };
        let (inputs, outputs) = (&first.plan.layout, &last.plan.layout);
        let lens = (self.card.input_len(), self.card.output_len());
        let lanes = (inputs.input_lanes().count(), outputs.output_lanes().count());
        Ok((
            self.side("input", input.0, input.1, (lens.0, lanes.0))?,
            self.side("output", output.0, output.1, (lens.1, lanes.1))?,
        ))
    }

    /// The side that the proof is checked against, of so many values or lanes.
    fn side(
        &self,
        which: &'static str,
        expected: Option<&Side>,
        claim: &Claim,
        (len, lanes): (usize, usize),
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
                let range = 1u32 << self.card.range_bits();
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
