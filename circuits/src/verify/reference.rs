//! Verification by upstream's verifier as it is published, for comparison.
//!
//! [`Verifier::reference`] comes to every verdict a second time and shares as little as can be with [`Verifier::verify`]:
//! upstream's `verify_proof` with its own strategy and its own transcript reader, the circuit's own key, the link's
//! equation as a sum of its own. No points kept apart, no sums that are deferred or added up, no points decoded beforehand, none of
//! the project's kernels. What both share is what a statement is (`Verifier::statement`), the
//! [challenges](super::Session), the public coefficients and the link's equation. It takes longer, and is otherwise a
//! verifier like the other: whoever prefers upstream's code alone may use it.

use super::{Candidate, Session, Statement, Verdict, Verifier, public_columns};
use crate::error::Rejection;
use crate::fold::Coefficients;
use crate::link;
use crate::statement::statement_digest;
use crate::{C, F};
use ff::PrimeField;
use group::{CurveAffine as _, Group as _, GroupEncoding};
use halo2_proofs::arithmetic::best_multiexp;
use halo2_proofs::plonk::{SingleVerifier, verify_proof};
use halo2_proofs::poly::EvaluationDomain;
use halo2_proofs::poly::commitment::Blind;
use halo2_proofs::transcript::{Blake2bRead, Challenge255};
use pasta_curves::Eq;

/// Bytes of a point or a scalar.
const SIZE: usize = 32;

fn malformed(what: &'static str) -> Rejection {
    Rejection::Malformed { what }
}

impl Verifier {
    /// Checks a proof of one or several runs as [`Verifier::verify`] and [`Verifier::verify_runs`] do, by upstream's verifier
    /// alone.
    ///
    /// # Errors
    /// The same.
    pub fn reference(&self, candidate: &Candidate) -> Result<Vec<Verdict>, Rejection> {
        let statement = self.statement(candidate)?;
        let halo2 = statement.halo2;
        if halo2.len() > self.limits.proof_bytes {
            return Err(malformed("proof is longer than the limit"));
        }
        if halo2.len() != self.halo2_len(statement.runs.len()) {
            return Err(malformed("a proof of this card has another length"));
        }
        let equation = self.challenged(&statement)?;
        if !self.link_holds(&equation) {
            return Err(Rejection::Link);
        }
        self.readable(halo2, statement.runs.len())?;
        let of_all: Vec<&[&[F]]> = vec![&[]; statement.runs.len()];
        let mut rest = halo2;
        let mut transcript = Blake2bRead::<_, C, Challenge255<C>>::init(&mut rest);
        let strategy = SingleVerifier::new(&self.params);
        verify_proof(&self.params, &self.key, strategy, &of_all, &mut transcript)
            .map_err(|_| Rejection::Circuit)?;
        if !rest.is_empty() {
            return Err(malformed("bytes behind the end of the proof"));
        }
        let context = statement.context;
        let verdicts = statement.runs.into_iter();
        Ok(verdicts.map(|run| self.verdict(run, context)).collect())
    }

    /// The link's equation.
    fn challenged(&self, statement: &Statement<'_>) -> Result<link::Equation, Rejection> {
        let (plan, layout) = (&self.plan, &self.plan.layout);
        let columns = &layout.columns;
        let commitments = read_points(statement.halo2, statement.runs.len() * columns.advice())?;
        let runs: Vec<&[C]> = commitments.chunks(columns.advice()).collect();
        let folded = columns.phase1()..columns.phase1() + columns.folded();
        let free = folded.end..folded.end + columns.free;
        let repeated = plan.repeated_columns();
        for later in &runs[1..] {
            for column in folded.start..columns.public().end {
                if repeated[column] && later[column] != runs[0][column] {
                    return Err(malformed("runs have different fold columns"));
                }
            }
        }
        let absorbed = |range: &std::ops::Range<usize>| {
            let mut points = Vec::new();
            for (run, commitments) in runs.iter().enumerate() {
                points.extend(plan.own_columns(run, range.clone()).map(|i| commitments[i]));
            }
            points
        };
        let identity = |_| malformed("commitment is the identity");
        let digest = statement_digest(&self.digest, &statement.runs, statement.context);
        let mut session = Session::new(&digest);
        let challenges = session.challenges(layout, &absorbed(&(0..columns.phase1())));
        let challenges = challenges.map_err(identity)?;
        let eta = session.eta(layout, &absorbed(&folded)).map_err(identity)?;
        let late = session.late(layout, eta, &absorbed(&free));
        let late = late.map_err(identity)?;
        let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, &challenges);
        let transcript = session.link(&absorbed(&columns.public()));
        let mut transcript = transcript.map_err(identity)?;
        let (kappa, beta) = coefficients.late_by_enumeration(&late);
        let public = public_columns(layout, &challenges, &late, kappa, beta);
        let linked = self.targets(&coefficients, public, &statement.runs, &runs);
        let points = self.card.points.len();
        let equation = link::equation(layout.k, points, &mut transcript, linked, statement.link);
        equation.map_err(|_| Rejection::Link)
    }

    /// Whether the link's sum is zero.
    fn link_holds(&self, equation: &link::Equation) -> bool {
        let domain = EvaluationDomain::new(1, self.params.k());
        let rows = domain.lagrange_from_vec(equation.rows.clone());
        let rows = self.params.commit_lagrange(&rows, Blind(equation.w));
        let card = equation.card.iter().copied().zip(self.card.points.clone());
        let terms = card.chain(equation.points.iter().copied());
        let (scalars, points): (Vec<F>, Vec<C>) = terms.unzip();
        let sum: Eq = rows + best_multiexp(&scalars, &points);
        bool::from(sum.is_identity())
    }

    /// Whether all of a proof can be read: points, then scalars, then the points and two scalars of the opening argument.
    /// Upstream's reader does not say what it could not read.
    fn readable(&self, halo2: &[u8], runs: usize) -> Result<(), Rejection> {
        let (advice, k) = (self.plan.layout.columns.advice(), self.params.k() as usize);
        let head = runs * advice + 1 + self.key.get_domain().get_quotient_poly_degree();
        let opening = halo2.len() / SIZE - (2 * k + 3);
        for (at, bytes) in halo2.chunks_exact(SIZE).enumerate() {
            let is_quotient = at == opening - 1 - self.opened_sets();
            if at < head || is_quotient || (opening..opening + 2 * k + 1).contains(&at) {
                let point = read_point(bytes).ok_or(malformed("invalid curve point"))?;
                if bool::from(point.is_identity()) {
                    return Err(malformed("commitment is the identity"));
                }
            } else if Option::<F>::from(F::from_repr(repr(bytes))).is_none() {
                return Err(malformed("invalid scalar"));
            }
        }
        Ok(())
    }

    /// Sets of points at which something is opened: so many evaluations follow the quotient of the multi-point opening.
    fn opened_sets(&self) -> usize {
        super::queries::sets(&super::queries::queries(&self.plan.description)).len()
    }
}

fn repr(bytes: &[u8]) -> [u8; SIZE] {
    let mut repr = [0; SIZE];
    repr.copy_from_slice(bytes);
    repr
}

fn read_point(bytes: &[u8]) -> Option<C> {
    Option::from(C::from_bytes(&repr(bytes)))
}

/// The first points of a proof.
fn read_points(halo2: &[u8], count: usize) -> Result<Vec<C>, Rejection> {
    let points = halo2.chunks_exact(SIZE).take(count).map(read_point);
    let points: Option<Vec<C>> = points.collect();
    let points = points.filter(|p| p.len() == count);
    points.ok_or(malformed("invalid curve point"))
}
