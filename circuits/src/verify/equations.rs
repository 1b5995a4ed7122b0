//! What is left of a proof when everything but the group arithmetic is done: two sums of multiples of points for each segment
//! of the model, one from the halo2 proof and one from the link, that must be zero.
//!
//! Sums over one set of generators are added up, each with a weight that no prover could foresee, and evaluated at once:
//! one that is not zero goes unnoticed with probability `1/|F|`. Lagrange generators never occur: a combination of them
//! is, by an inverse transform of its coefficients, one of the generators that the opening argument has anyway.

use super::multiexp;
use super::opening::Opening;
use super::reading::Decoded;
use super::{Public, Segment, Session, Sides, Verifier, public_columns};
use crate::card::{Proof, SegmentProof};
use crate::checks::{Check, drawn, holds};
use crate::error::Rejection;
use crate::fold::Coefficients;
use crate::generators::Generators;
use crate::layout::Cell;
use crate::link::{self, Target};
use crate::statement::{Side, statement_digest};
use crate::transcript::Digest;
use crate::{C, F};
use blake2b_simd::Params as Blake2b;
use ff::{Field, FromUniformBytes, PrimeField};
use group::{Group as _, GroupEncoding};
use pasta_curves::Eq;
use std::ops::Range;
use std::sync::Arc;

/// What one proof leaves to check.
pub(super) struct Equations<'a> {
    verifier: &'a Verifier,
    /// Of every segment.
    parts: Vec<Part<'a>>,
    /// Of the statements and every byte of the proof.
    pub digest: Digest,
}

/// What one segment's proof leaves to check.
struct Part<'a> {
    segment: &'a Segment,
    /// The halo2 proof's sum, or why it was not reached.
    circuit: Result<Opening, Rejection>,
    link: link::Equation,
    /// Of the statement and every byte of the segment's proof.
    digest: Digest,
}

fn malformed(what: &'static str) -> Rejection {
    Rejection::Malformed { what }
}

impl Verifier {
    /// Everything but the group arithmetic. `sides` are those of every segment.
    pub(super) fn equations(
        &self,
        sides: &[Sides],
        proof: &Proof,
    ) -> Result<Equations<'_>, Rejection> {
        let bytes = proof.segments.iter().map(|s| s.halo2.len());
        if bytes.sum::<usize>() > self.limits.proof_bytes {
            return Err(malformed("proof is longer than the limit"));
        }
        // Before anything is done for it: what is checked below costs in proportion to the length.
        let given = self.segments.iter().zip(&proof.segments);
        let length = given
            .clone()
            .zip(sides)
            .all(|((segment, given), runs)| given.halo2.len() == segment.halo2_len(runs.len()));
        if !holds(Check::ProofLength, length) {
            return Err(malformed("a proof of this card has another length"));
        }
        let parts = given.zip(sides);
        let parts = parts.map(|((segment, given), runs)| segment.part(runs, proof, given));
        let parts: Vec<Part<'_>> = parts.collect::<Result<_, Rejection>>()?;
        Ok(Equations {
            verifier: self,
            digest: together(&parts),
            parts,
        })
    }
}

/// Binds the weights of a proof's sums to all of it.
fn together(parts: &[Part<'_>]) -> Digest {
    let bytes: Vec<u8> = parts.iter().flat_map(|p| p.digest.0).collect();
    Digest::of("zkinfer-proof", &bytes)
}

impl Segment {
    /// Everything but the group arithmetic of one segment's proof.
    fn part(
        &self,
        runs: &[(Side, Side)],
        proof: &Proof,
        given: &SegmentProof,
    ) -> Result<Part<'_>, Rejection> {
        let (halo2, link) = (given.halo2.as_slice(), &given.link);
        let statement = statement_digest(&self.digest, runs, &proof.context);
        let layout = &self.plan.layout;
        let columns = &layout.columns;
        let advice = runs.len() * columns.advice();
        let decoded = Decoded::new(halo2, self.key.head(runs.len()), layout.k);
        let Some(commitments) = decoded.first(advice) else {
            return Err(malformed("invalid curve point"));
        };
        let of_runs: Vec<&[C]> = commitments.chunks(columns.advice()).collect();
        // Challenges and the link see what is the same in all runs once, in the first one.
        let folded = columns.phase1()..columns.phase1() + columns.folded();
        let free = folded.end..folded.end + columns.free;
        let public = columns.public();
        let repeated = self.plan.repeated_columns();
        let same = |i: usize| of_runs.iter().all(|run| run[i] == of_runs[0][i]);
        let repeat = |mut columns: Range<usize>| columns.all(|i| !repeated[i] || same(i));
        if !holds(Check::LaterWeights, repeat(folded.clone()))
            || !holds(Check::LaterCoefficients, repeat(free.clone()))
            || !holds(Check::LaterPublic, repeat(public.clone()))
        {
            return Err(malformed("runs have different fold columns"));
        }
        let absorbed = |range: &Range<usize>| -> Vec<C> {
            let of_run = |(run, points): (usize, &&[C])| {
                let own = self.plan.own_columns(run, range.clone());
                own.map(|i| points[i]).collect::<Vec<C>>()
            };
            of_runs.iter().enumerate().flat_map(of_run).collect()
        };
        let identity = |_| malformed("commitment is the identity");
        let mut session = Session::new(&statement);
        let challenges = session
            .challenges(layout, &absorbed(&(0..columns.phase1())))
            .map_err(identity)?;
        let eta = session.eta(layout, &absorbed(&folded)).map_err(identity)?;
        let late = session
            .late(layout, eta, &absorbed(&free))
            .map_err(identity)?;
        let coefficients =
            Coefficients::new(&self.plan.program, &self.plan.expanded, layout, &challenges);

        let mut transcript = session.link(&absorbed(&public)).map_err(identity)?;
        let Some((kappa, beta)) = coefficients.late(&self.plan.wiring, &late) else {
            // A challenge is zero, which happens to nobody.
            return Err(Rejection::Circuit);
        };
        let known = public_columns(layout, &challenges, &late, kappa, beta);
        let linked = self.targets(&coefficients, known, runs, &of_runs);
        let digest = digest(&statement, given);
        let Ok(link) = link::equation(layout.k, self.points, &mut transcript, linked, link) else {
            return Err(Rejection::Link);
        };

        let circuit = self.key.opening(runs.len(), &decoded);
        Ok(Part {
            segment: self,
            circuit,
            link,
            digest,
        })
    }

    /// Commitments and targets of all linked columns: the [sides](super::Plan::side_lanes) of every run, then the
    /// [folds](super::Plan::fold_columns) and the [public columns](super::Plan::public_columns).
    pub(super) fn targets(
        &self,
        coefficients: &Coefficients<'_>,
        public: Vec<Public>,
        runs: &[(Side, Side)],
        commitments: &[&[C]],
    ) -> Vec<(C, Target)> {
        let plan = &self.plan;
        let mut targets = Vec::new();
        for ((input, output), commitments) in runs.iter().zip(commitments) {
            let inputs: Vec<usize> = plan.layout.input_lanes().map(|l| l.x).collect();
            let cells = plan.layout.input_cells(&plan.program);
            self.side_targets(input, &inputs, cells, commitments, &mut targets);
            let outputs: Vec<usize> = plan.layout.output_lanes().map(|l| l.x).collect();
            let cells = plan.layout.output_cells(&plan.program);
            self.side_targets(output, &outputs, cells, commitments, &mut targets);
        }
        let columns = plan.fold_columns();
        let mut folds: Vec<Target> = vec![Target::default(); columns.len()];
        let mut point = 0;
        for group in &plan.groups {
            if let Some(i) = columns.iter().position(|c| *c == group.column) {
                folds[i].card.push((point, coefficients.group(group)));
            }
            point += group.points;
        }
        targets.extend(columns.iter().map(|&c| commitments[0][c]).zip(folds));
        let public = public.into_iter().map(|column| match column {
            Public::Everywhere(value) => Target {
                everywhere: value,
                ..Target::default()
            },
            Public::Rows(values) => Target {
                first: values,
                ..Target::default()
            },
        });
        // As many as there are such columns: a convention.
        let columns = plan.public_columns();
        targets.extend(columns.map(|c| commitments[0][c]).zip(public));
        targets
    }

    /// Commitments and targets of one side of one run.
    fn side_targets(
        &self,
        side: &Side,
        lanes: &[usize],
        cells: impl Iterator<Item = Cell>,
        commitments: &[C],
        targets: &mut Vec<(C, Target)>,
    ) {
        let mut own = vec![Target::default(); lanes.len()];
        match side {
            Side::Public(values) => {
                for (cell, &v) in cells.zip(values) {
                    let column = self.plan.layout.ports[cell.port as usize].column;
                    if let Some(i) = lanes.iter().position(|&lane| lane == column) {
                        own[i].rows.push((cell.row as usize, F::from(u64::from(v))));
                    }
                }
            }
            Side::Committed(points) => {
                for (target, point) in own.iter_mut().zip(points) {
                    target.points.push((F::ONE, *point));
                }
            }
        }
        targets.extend(lanes.iter().map(|&lane| commitments[lane]).zip(own));
    }
}

/// Binds the weights of a proof's sums to all of a segment's part.
fn digest(statement: &Digest, proof: &SegmentProof) -> Digest {
    let (halo2, link) = (&proof.halo2, &proof.link);
    let mut bytes = Vec::with_capacity(halo2.len() + 300);
    bytes.extend_from_slice(&statement.0);
    bytes.extend_from_slice(link.commitment.to_bytes().as_ref());
    for scalar in link.rows.iter().chain([&link.blind]) {
        bytes.extend_from_slice(scalar.to_repr().as_ref());
    }
    bytes.truncate(drawn(Check::WeightLink, bytes.len(), statement.0.len()));
    bytes.extend_from_slice(drawn(Check::WeightProof, halo2, &[]));
    Digest::of("zkinfer-part", &bytes)
}

/// A weight: uniform, and bound to `seed`.
pub(super) fn weight(seed: &Digest, index: usize) -> F {
    let hash = Blake2b::new()
        .hash_length(64)
        .personal(b"zkinfer-weight")
        .to_state()
        .update(&seed.0)
        .update(&(index as u64).to_le_bytes())
        .finalize();
    let mut wide = [0; 64];
    wide.copy_from_slice(hash.as_bytes());
    F::from_uniform_bytes(&wide)
}

impl<'a> Equations<'a> {
    /// The generators that the sums are over.
    pub fn generators(&self) -> &'a Arc<Generators> {
        &self.verifier.generators
    }

    /// Whose proof it is.
    pub fn verifier(&self) -> &'a Verifier {
        self.verifier
    }

    /// How many sums there are.
    pub fn sums(&self) -> usize {
        2 * self.parts.len()
    }

    /// Whether all equations can be evaluated.
    pub fn is_complete(&self) -> bool {
        self.parts.iter().all(|part| part.circuit.is_ok())
    }

    /// Multiplies all sums by weights of their own: the `i`-th by `weight(i)`, where a segment's link follows its circuit.
    pub fn scale(&mut self, weight: impl Fn(usize) -> F) {
        for (index, part) in self.parts.iter_mut().enumerate() {
            part.scale(weight(2 * index), weight(2 * index + 1));
        }
    }

    /// Why a proof of which not all sums are zero is rejected, the links first.
    pub fn reason(&self) -> Rejection {
        for part in &self.parts {
            let mut sum = Sum::new(self.verifier);
            sum.add_equation(self.verifier, part.segment, &part.link);
            if !sum.vanishes() {
                return Rejection::Link;
            }
        }
        let broken = self.parts.iter().find_map(|p| p.circuit.as_ref().err());
        broken.cloned().unwrap_or(Rejection::Circuit)
    }

    /// Whether all sums are zero. Error `1/|F|`.
    pub fn hold(mut self) -> Result<(), Rejection> {
        if self.is_complete() {
            let digest = self.digest;
            self.scale(|index| match index {
                0 => F::ONE,
                _ => drawn(Check::Weight, weight(&digest, index - 1), F::ONE),
            });
            let mut sum = Sum::new(self.verifier);
            sum.add(&self);
            if sum.vanishes() {
                return Ok(());
            }
        }
        Err(self.reason())
    }
}

impl Part<'_> {
    fn scale(&mut self, circuit: F, link: F) {
        let circuit = drawn(Check::Circuit, circuit, F::ZERO);
        let link = drawn(Check::Link, link, F::ZERO);
        if let Ok(opening) = &mut self.circuit {
            opening.scale(circuit);
        }
        self.link.scale(link);
    }
}

/// Sums of several proofs, over one set of generators.
pub(super) struct Sum<'a> {
    first: &'a Verifier,
    /// Coefficients of the generators.
    generators: Vec<F>,
    /// Coefficients of the Lagrange generators.
    rows: Vec<F>,
    /// Coefficient of `w`.
    w: F,
    /// Coefficient of `u`.
    u: F,
    /// Coefficients of the points of cards: of each segment, of its commitment, then of the commitments to its fixed columns.
    cards: Vec<(&'a Verifier, Vec<F>)>,
    /// Other points and their coefficients.
    points: Vec<(F, C)>,
}

impl<'a> Sum<'a> {
    /// Nothing yet. All that is added has to have this verifier's generators.
    pub fn new(verifier: &'a Verifier) -> Self {
        let zeros = vec![F::ZERO; 1 << verifier.generators.k()];
        Sum {
            first: verifier,
            generators: zeros.clone(),
            rows: zeros,
            w: F::ZERO,
            u: F::ZERO,
            cards: vec![(verifier, vec![F::ZERO; verifier.card_points().count()])],
            points: Vec::new(),
        }
    }

    /// Adds all sums of a proof; one that was not reached is left out.
    pub fn add(&mut self, equations: &Equations<'a>) {
        let verifier = equations.verifier;
        for part in &equations.parts {
            if let Ok(opening) = &part.circuit {
                self.add_opening(verifier, part.segment, opening);
            }
            self.add_equation(verifier, part.segment, &part.link);
        }
    }

    fn add_opening(&mut self, verifier: &'a Verifier, segment: &Segment, opening: &Opening) {
        let sums = self.generators.iter_mut().zip(opening.generators());
        sums.for_each(|(a, b)| *a += b);
        self.generators[0] += opening.first;
        self.w += opening.w;
        self.u += opening.u;
        self.points.extend_from_slice(&opening.points);
        let fixed = segment.first + segment.points;
        let sums = self.card(verifier)[fixed..].iter_mut();
        sums.zip(&opening.fixed).for_each(|(a, b)| *a += b);
    }

    /// Adds a sum over the Lagrange generators, points of a segment and others.
    pub fn add_equation(
        &mut self,
        verifier: &'a Verifier,
        segment: &Segment,
        equation: &link::Equation,
    ) {
        let sums = self.rows.iter_mut().zip(&equation.rows);
        sums.for_each(|(sum, s)| *sum += s);
        self.w += equation.w;
        self.points.extend_from_slice(&equation.points);
        let sums = self.card(verifier)[segment.first..].iter_mut();
        sums.zip(&equation.card).for_each(|(a, b)| *a += b);
    }

    /// Coefficients of a card's points.
    fn card(&mut self, verifier: &'a Verifier) -> &mut [F] {
        let known = |(v, _): &(&Verifier, Vec<F>)| std::ptr::eq(*v, verifier);
        let at = self.cards.iter().position(known).unwrap_or_else(|| {
            let points = verifier.card_points().count();
            self.cards.push((verifier, vec![F::ZERO; points]));
            self.cards.len() - 1
        });
        &mut self.cards[at].1
    }

    /// What everything adds up to.
    pub fn value(mut self) -> Eq {
        let Some(segment) = self.first.segments.first() else {
            // Nothing was added.
            return Eq::identity();
        };
        let domain = &segment.key.domain;
        let rows = domain.lagrange_to_coeff(domain.lagrange_from_vec(self.rows));
        let sums = self.generators.iter_mut().zip(rows.iter());
        sums.for_each(|(a, b)| *a += b);
        // In the order of `Verifier::known_points`.
        let mut known = self.generators;
        known.extend([self.w, self.u]);
        known.append(&mut self.cards.swap_remove(0).1);
        for (verifier, scalars) in &self.cards {
            let terms = scalars.iter().copied().zip(verifier.card_points());
            self.points.extend(terms);
        }
        let points = || self.first.known_points().collect();
        multiexp::sum(&self.first.known, points, &known, &self.points)
    }

    /// Whether everything adds up to zero.
    pub fn vanishes(self) -> bool {
        bool::from(self.value().is_identity())
    }
}

impl Verifier {
    /// Of each segment, the points of its commitment, then those to its fixed columns.
    fn card_points(&self) -> impl Iterator<Item = C> {
        let segments = self.card.segments.iter();
        segments.flat_map(|s| s.points.iter().chain(&s.fixed).copied())
    }

    /// Points that stay the same from proof to proof: the generators, then the card's.
    fn known_points(&self) -> impl Iterator<Item = C> {
        self.generators.points().chain(self.card_points())
    }
}
