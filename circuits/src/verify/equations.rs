//! What is left of a proof when everything but the group arithmetic is done: two sums of multiples of points, one from
//! upstream's verifier and one from the link, that must be zero.
//!
//! Sums over one set of generators are added up, each with a weight that no prover could foresee, and evaluated at once:
//! one that is not zero goes unnoticed with probability `1/|F|`. Lagrange generators never occur: a combination of them
//! is, by an inverse transform of its coefficients, one of the generators that upstream's sum has anyway.

use super::generators;
use super::reading::{Decoded, ProofReader};
use super::stand_ins::Own;
use super::{Public, Session, Verifier, public_columns};
use crate::checks::{Check, drawn, holds};
use crate::error::Rejection;
use crate::fold::Coefficients;
use crate::layout::Cell;
use crate::link::{self, LinkProof, Target};
use crate::statement::{Side, statement_digest};
use crate::transcript::Digest;
use crate::{C, F};
use blake2b_simd::Params as Blake2b;
use ff::{Field, FromUniformBytes, PrimeField};
use group::{Curve, CurveAffine as _, GroupEncoding};
use halo2_proofs::plonk::{Error, VerificationStrategy, verify_proof};
use halo2_proofs::poly::commitment::{Guard, MSM, Params};
use halo2_proofs::transcript::EncodedChallenge;
use std::ops::Range;
use std::sync::Arc;

/// What one proof leaves to check.
pub(super) struct Equations<'a> {
    verifier: &'a Verifier,
    /// Upstream's sum, or why it was not reached.
    circuit: Result<Opening<'a>, Rejection>,
    link: link::Equation,
    /// Of the statement and every byte of the proof.
    pub digest: Digest,
}

/// Upstream's sum, without the part that is made of generators alone: `factor·Σ s_i·g_i`, where `s` are the coefficients
/// of `Π_j (1 + u_{k−1−j}·X^(2^j))`.
struct Opening<'a> {
    sum: MSM<'a, C>,
    u: Vec<F>,
    factor: F,
    /// What upstream did not see, if something was kept apart.
    own: Option<Own>,
}

impl Opening<'_> {
    fn scale(&mut self, weight: F) {
        self.sum.scale(weight);
        self.factor *= weight;
        if let Some(own) = &mut self.own {
            own.coefficients.iter_mut().for_each(|s| *s *= weight);
        }
    }

    /// `factor·s`.
    fn generators(&self) -> Vec<F> {
        let mut s = Vec::with_capacity(1 << self.u.len());
        s.push(self.factor);
        for u in self.u.iter().rev() {
            for i in 0..s.len() {
                s.push(s[i] * u);
            }
        }
        s
    }
}

/// Hands upstream's sum out instead of evaluating it, and the challenges `u`.
pub(super) struct Deferred<'a>(pub &'a Params<C>);

impl<'a> VerificationStrategy<'a, C> for Deferred<'a> {
    type Output = (MSM<'a, C>, Vec<F>);

    fn process<E: EncodedChallenge<C>>(
        self,
        f: impl FnOnce(MSM<'a, C>) -> Result<Guard<'a, C, E>, Error>,
    ) -> Result<Self::Output, Error> {
        // Of the sum of generators upstream is told that it is zero, so that it adds nothing.
        let (sum, accumulator) = f(MSM::new(self.0))?.use_g(C::identity());
        let u = accumulator.u_packed.iter().map(E::get_scalar);
        Ok((sum, u.collect()))
    }
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
        self.stand_ins.expect(self, runs.len(), 1);
        // Behind the advice columns come upstream's random polynomial and the pieces of the quotient.
        let head = advice + 1 + self.key.get_domain().get_quotient_poly_degree();
        let decoded = Decoded::new(halo2, head, layout.k);
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

        let stand_ins = self.stand_ins.of(runs.len());
        let mut reader = ProofReader::new(&decoded, stand_ins.is_some());
        let strategy = Deferred(&self.params);
        let of_all: Vec<&[&[F]]> = vec![&[]; runs.len()];
        let circuit = verify_proof(&self.params, &self.key, strategy, &of_all, &mut reader);
        let circuit = match (circuit, reader.broken) {
            // Upstream does not look behind the end of a proof.
            (Ok(_), _) if !holds(Check::ProofLength, reader.left() == 0) => {
                Err(malformed("bytes behind the end of the proof"))
            }
            // The last scalars are the folded coefficient and its blind.
            (Ok((sum, u)), _) => {
                let own = stand_ins.map(|s| s.own(runs.len(), reader.record));
                if own.as_ref().is_some_and(Option::is_none) {
                    // A challenge is zero, which happens to nobody.
                    Err(Rejection::Circuit)
                } else {
                    Ok(Opening {
                        sum,
                        u,
                        factor: -reader.last[0],
                        own: own.flatten(),
                    })
                }
            }
            (Err(_), Some(what)) => Err(malformed(what)),
            (Err(_), None) => Err(Rejection::Circuit),
        };
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
    /// The parameters that the sums are over.
    pub fn params(&self) -> &'a Arc<Params<C>> {
        &self.verifier.params
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
        let points = equation.points.iter_mut().map(|(s, _)| s);
        let all = (equation.rows.iter_mut())
            .chain(points)
            .chain(&mut equation.card);
        all.for_each(|s| *s *= link);
        equation.w *= link;
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

/// Sums of several proofs, over one set of parameters.
pub(super) struct Sum<'a> {
    first: &'a Verifier,
    sum: MSM<'a, C>,
    /// Coefficients of the generators.
    generators: Vec<F>,
    /// Coefficients of the Lagrange generators.
    rows: Vec<F>,
    /// Coefficients of the points of cards.
    cards: Vec<(&'a Verifier, Vec<F>)>,
    /// Other points and their coefficients.
    points: Vec<(F, C)>,
}

impl<'a> Sum<'a> {
    /// Nothing yet. All that is added has to have this verifier's parameters.
    pub fn new(verifier: &'a Verifier) -> Self {
        let zeros = vec![F::ZERO; 1 << verifier.params.k()];
        Sum {
            first: verifier,
            sum: MSM::new(&verifier.params),
            generators: zeros.clone(),
            rows: zeros,
            cards: Vec::new(),
            points: Vec::new(),
        }
    }

    /// Adds both sums of a proof; one that was not reached is left out.
    pub fn add(&mut self, equations: &Equations<'a>) {
        if let Ok(opening) = &equations.circuit {
            self.sum.add_msm(&opening.sum);
            let sums = self.generators.iter_mut().zip(opening.generators());
            sums.for_each(|(a, b)| *a += b);
            if let Some(own) = &opening.own {
                self.add_own(own);
            }
        }
        self.add_equation(equations.verifier, &equations.link);
    }

    /// Adds what upstream's sum is without.
    fn add_own(&mut self, own: &Own) {
        let terms = own.coefficients.iter().copied();
        self.points.extend(terms.zip(own.points.iter().copied()));
    }

    /// Adds a sum over the Lagrange generators, points of a card and others.
    pub fn add_equation(&mut self, verifier: &'a Verifier, equation: &link::Equation) {
        let sums = self.rows.iter_mut().zip(&equation.rows);
        sums.for_each(|(sum, s)| *sum += s);
        self.sum.add_to_w_scalar(equation.w);
        self.points.extend_from_slice(&equation.points);
        let known = self
            .cards
            .iter_mut()
            .find(|(v, _)| std::ptr::eq(*v, verifier));
        match known {
            Some((_, sums)) => sums
                .iter_mut()
                .zip(&equation.card)
                .for_each(|(a, b)| *a += b),
            None => self.cards.push((verifier, equation.card.clone())),
        }
    }

    /// Whether everything adds up to zero.
    pub fn vanishes(mut self) -> bool {
        let domain = self.first.key.get_domain();
        let rows = domain.lagrange_to_coeff(domain.lagrange_from_vec(self.rows));
        let sums = self.generators.iter_mut().zip(rows.iter());
        sums.for_each(|(a, b)| *a += b);
        let points = &self.first.card.points;
        let own = self
            .cards
            .iter()
            .position(|(v, _)| std::ptr::eq(*v, self.first));
        let own = own.map(|i| self.cards.swap_remove(i).1);
        let own = own.unwrap_or_else(|| vec![F::ZERO; points.len()]);
        let scalars = [self.generators.as_slice(), own.as_slice()];
        match self.first.fixed.sum(&self.first.params, points, scalars) {
            Some(point) => self.sum.append_term(F::ONE, point.to_affine()),
            None => {
                self.sum.add_to_g_scalars(&self.generators);
                self.cards.push((self.first, own));
            }
        }
        for (verifier, scalars) in &self.cards {
            let terms = scalars.iter().zip(&verifier.card.points);
            self.points.extend(terms.map(|(s, point)| (*s, *point)));
        }
        match generators::sum(&self.points) {
            Some(point) => self.sum.append_term(F::ONE, point.to_affine()),
            None => {
                for (s, point) in &self.points {
                    self.sum.append_term(*s, *point);
                }
            }
        }
        self.sum.eval()
    }
}
