//! What is left of a proof when everything but the group arithmetic is done: two sums of multiples of points, one from
//! the halo2 proof and one from the link, that must be zero.
//!
//! Sums over one set of generators are added up, each with a weight that no prover could foresee, and evaluated at once:
//! one that is not zero goes unnoticed with probability `1/|F|`. Lagrange generators never occur: a combination of them
//! is, by an inverse transform of its coefficients, one of the generators that the opening argument has anyway.

use super::multiexp;
use super::opening::Opening;
use super::reading::Decoded;
use super::{Public, Session, Verifier, public_columns};
use crate::checks::{Check, drawn, holds};
use crate::error::Rejection;
use crate::fold::Coefficients;
use crate::generators::Generators;
use crate::layout::Cell;
use crate::link::{self, LinkProof, Target};
use crate::multiples;
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
    /// The halo2 proof's sum, or why it was not reached.
    circuit: Result<Opening, Rejection>,
    link: link::Equation,
    /// Of the statement and every byte of the proof.
    pub digest: Digest,
}

impl Verifier {
    /// Everything but the group arithmetic.
    pub(super) fn equations(
        &self,
        runs: &[(Side, Side)],
        context: &[u8],
        halo2: &[u8],
        link: &LinkProof,
    ) -> Result<Equations<'_>, Rejection> {
        let malformed = |what| Rejection::Malformed { what };
        if halo2.len() > self.limits.proof_bytes {
            return Err(malformed("proof is longer than the limit"));
        }
        let statement = statement_digest(&self.digest, runs, context);
        let layout = &self.plan.layout;
        let columns = &layout.columns;
        let advice = runs.len() * columns.advice();
        // Before anything is done for it: what is checked below costs in proportion to the length.
        let length = halo2.len() == self.halo2_len(runs.len());
        if !holds(Check::ProofLength, length) {
            return Err(malformed("a proof of this card has another length"));
        }
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
        let points = self.card.points.len();
        let digest = digest(&statement, halo2, link);
        let Ok(link) = link::equation(layout.k, points, &mut transcript, linked, link) else {
            return Err(Rejection::Link);
        };

        let circuit = self.key.opening(runs.len(), &decoded);
        Ok(Equations {
            verifier: self,
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

/// Binds the weights of a proof's sums to all of it.
fn digest(statement: &Digest, halo2: &[u8], link: &LinkProof) -> Digest {
    let mut bytes = Vec::with_capacity(halo2.len() + 300);
    bytes.extend_from_slice(&statement.0);
    bytes.extend_from_slice(link.commitment.to_bytes().as_ref());
    for scalar in link.rows.iter().chain([&link.blind]) {
        bytes.extend_from_slice(scalar.to_repr().as_ref());
    }
    bytes.truncate(drawn(Check::WeightLink, bytes.len(), statement.0.len()));
    bytes.extend_from_slice(drawn(Check::WeightProof, halo2, &[]));
    Digest::of("zkinfer-proof", &bytes)
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

    /// Whether both equations can be evaluated.
    pub fn is_complete(&self) -> bool {
        self.circuit.is_ok()
    }

    /// Multiplies both sums by weights of their own.
    pub fn scale(&mut self, circuit: F, link: F) {
        let circuit = drawn(Check::Circuit, circuit, F::ZERO);
        let link = drawn(Check::Link, link, F::ZERO);
        if let Ok(opening) = &mut self.circuit {
            opening.scale(circuit);
        }
        let equation = &mut self.link;
        if link != F::ONE {
            multiples::scale(&mut equation.rows, link);
            multiples::scale(&mut equation.card, link);
            equation.points.iter_mut().for_each(|(s, _)| *s *= link);
            equation.w *= link;
        }
    }

    /// Why a proof of which not both sums are zero is rejected, the link first.
    pub fn reason(&self) -> Rejection {
        let mut sum = Sum::new(self.verifier);
        sum.add_equation(self.verifier, &self.link);
        if !sum.vanishes() {
            return Rejection::Link;
        }
        self.circuit
            .as_ref()
            .err()
            .cloned()
            .unwrap_or(Rejection::Circuit)
    }

    /// Whether both sums are zero. Error `1/|F|`.
    pub fn hold(mut self) -> Result<(), Rejection> {
        if self.is_complete() {
            let digest = self.digest;
            self.scale(F::ONE, drawn(Check::Weight, weight(&digest, 0), F::ONE));
            let mut sum = Sum::new(self.verifier);
            sum.add(&self);
            if sum.vanishes() {
                return Ok(());
            }
        }
        Err(self.reason())
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
    /// Coefficients of the points of cards, then of their commitments to fixed columns.
    cards: Vec<(&'a Verifier, Vec<F>)>,
    /// Other points and their coefficients.
    points: Vec<(F, C)>,
}

impl<'a> Sum<'a> {
    /// Nothing yet. All that is added has to have this verifier's generators.
    pub fn new(verifier: &'a Verifier) -> Self {
        let zeros = vec![F::ZERO; 1 << verifier.generators.k()];
        let (points, fixed) = (&verifier.card.points, &verifier.card.fixed);
        Sum {
            first: verifier,
            generators: zeros.clone(),
            rows: zeros,
            w: F::ZERO,
            u: F::ZERO,
            cards: vec![(verifier, vec![F::ZERO; points.len() + fixed.len()])],
            points: Vec::new(),
        }
    }

    /// Adds both sums of a proof; one that was not reached is left out.
    pub fn add(&mut self, equations: &Equations<'a>) {
        if let Ok(opening) = &equations.circuit {
            self.add_opening(equations.verifier, opening);
        }
        self.add_equation(equations.verifier, &equations.link);
    }

    fn add_opening(&mut self, verifier: &'a Verifier, opening: &Opening) {
        let sums = self.generators.iter_mut().zip(opening.generators());
        sums.for_each(|(a, b)| *a += b);
        self.generators[0] += opening.first;
        self.w += opening.w;
        self.u += opening.u;
        self.points.extend_from_slice(&opening.points);
        let points = verifier.card.points.len();
        let sums = self.card(verifier)[points..].iter_mut();
        sums.zip(&opening.fixed).for_each(|(a, b)| *a += b);
    }

    /// Adds a sum over the Lagrange generators, points of a card and others.
    pub fn add_equation(&mut self, verifier: &'a Verifier, equation: &link::Equation) {
        let sums = self.rows.iter_mut().zip(&equation.rows);
        sums.for_each(|(sum, s)| *sum += s);
        self.w += equation.w;
        self.points.extend_from_slice(&equation.points);
        let sums = self.card(verifier).iter_mut();
        sums.zip(&equation.card).for_each(|(a, b)| *a += b);
    }

    /// Coefficients of a card's points.
    fn card(&mut self, verifier: &'a Verifier) -> &mut [F] {
        let known = |(v, _): &(&Verifier, Vec<F>)| std::ptr::eq(*v, verifier);
        let at = self.cards.iter().position(known).unwrap_or_else(|| {
            let points = verifier.card.points.len() + verifier.card.fixed.len();
            self.cards.push((verifier, vec![F::ZERO; points]));
            self.cards.len() - 1
        });
        &mut self.cards[at].1
    }

    /// What everything adds up to.
    pub fn value(mut self) -> Eq {
        let domain = &self.first.key.domain;
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
    /// The points of the card, then its commitments to fixed columns.
    fn card_points(&self) -> impl Iterator<Item = C> {
        self.card.points.iter().chain(&self.card.fixed).copied()
    }

    /// Points that stay the same from proof to proof: the generators, then the card's.
    fn known_points(&self) -> impl Iterator<Item = C> {
        self.generators.points().chain(self.card_points())
    }
}
