//! Verification by upstream's verifier as it is published, for comparison.
//!
//! [`Reference`] comes to every verdict a second time and shares as little as can be with [`Verifier::verify`]: upstream's
//! `verify_proof` with its own strategy and its own transcript reader, upstream's key, derived from the plan, the link's
//! equation as a sum of its own. No sums that are deferred or added up, no points decoded beforehand, none of the project's
//! kernels, no commitments that come with a card. What both share is what a statement is (`Verifier::runs`, `Verifier::sides`), the
//! [challenges](super::Session), the public coefficients and the link's equation. It takes longer, and is otherwise a
//! verifier like the other: whoever prefers upstream's code alone may use it.

use super::key::Key;
use super::reading::Decoded;
use super::{Candidate, Segment, Session, Verdict, Verifier, public_columns};
use crate::card::SegmentProof;
use crate::error::{CardError, Rejection};
use crate::fold::Coefficients;
use crate::link;
use crate::statement::{Side, statement_digest};
use crate::{C, F};
use blake2b_simd::Params as Blake2b;
use ff::{FromUniformBytes, PrimeField};
use group::{Curve, CurveAffine as _, Group as _, GroupEncoding};
use halo2_proofs::arithmetic::best_multiexp;
use halo2_proofs::plonk::{
    Error, SingleVerifier, VerificationStrategy, VerifyingKey, verify_proof,
};
use halo2_proofs::poly::EvaluationDomain;
use halo2_proofs::poly::commitment::{Blind, Guard, MSM, Params};
use halo2_proofs::transcript::{Blake2bRead, Challenge255, EncodedChallenge};
use pasta_curves::Eq;
use pasta_curves::arithmetic::CurveExt;
use std::sync::Arc;

/// Bytes of a point or a scalar.
const SIZE: usize = 32;

fn malformed(what: &'static str) -> Rejection {
    Rejection::Malformed { what }
}

/// A verifier's card once more, for upstream's verifier.
#[derive(Debug)]
pub struct Reference<'v> {
    verifier: &'v Verifier,
    params: Arc<Params<C>>,
    /// Of every segment.
    keys: Vec<VerifyingKey<C>>,
}

impl<'v> Reference<'v> {
    /// Derives upstream's keys. `params` are upstream's parameters for the card's `k`.
    ///
    /// # Errors
    /// Parameters for another `k`.
    pub fn new(verifier: &'v Verifier, params: Arc<Params<C>>) -> Result<Self, CardError> {
        if params.k() != verifier.card.k {
            return Err(CardError::Params {
                card: verifier.card.k,
                params: params.k(),
            });
        }
        let keys = verifier.segments.iter();
        let keys = keys.map(|s| s.plan.circuit().verifying_key(&params));
        let keys: Result<_, _> = keys.collect();
        Ok(Reference {
            verifier,
            keys: keys.map_err(|_| CardError::Key)?,
            params,
        })
    }

    /// Checks a proof as [`Verifier::verify_runs`] does, by upstream's verifier alone.
    ///
    /// # Errors
    /// The same.
    pub fn verify(&self, candidate: &Candidate) -> Result<Vec<Verdict>, Rejection> {
        let (verifier, proof) = (self.verifier, &candidate.proof);
        let runs = verifier.runs(&candidate.expected, proof)?;
        let sides = verifier.sides(&runs, proof)?;
        let bytes = proof.segments.iter().map(|s| s.halo2.len());
        if bytes.sum::<usize>() > verifier.limits.proof_bytes {
            return Err(malformed("proof is longer than the limit"));
        }
        let context = &proof.context;
        let parts = || verifier.segments.iter().zip(&proof.segments).zip(&sides);
        for ((segment, given), runs) in parts() {
            if given.halo2.len() != segment.halo2_len(runs.len()) {
                return Err(malformed("a proof of this card has another length"));
            }
        }
        let mut equations = Vec::new();
        for ((segment, given), runs) in parts() {
            equations.push(challenged(segment, runs, context, given)?);
        }
        for (index, equation) in equations.iter().enumerate() {
            if !self.link_holds(index, equation) {
                return Err(Rejection::Link);
            }
        }
        // What cannot be read is named before what does not hold.
        for ((segment, given), _) in parts() {
            readable(&segment.key, &given.halo2, runs.len())?;
        }
        for (index, ((_, given), _)) in parts().enumerate() {
            self.circuit_holds(index, &given.halo2, runs.len())?;
        }
        let verdicts = runs.into_iter();
        Ok(verdicts.map(|run| verifier.verdict(run, context)).collect())
    }

    /// Whether upstream accepts the halo2 part of a segment's proof.
    fn circuit_holds(&self, index: usize, halo2: &[u8], runs: usize) -> Result<(), Rejection> {
        let of_all: Vec<&[&[F]]> = vec![&[]; runs];
        let mut rest = halo2;
        let mut transcript = Blake2bRead::<_, C, Challenge255<C>>::init(&mut rest);
        let (params, key) = (&self.params, &self.keys[index]);
        let strategy = SingleVerifier::new(params);
        verify_proof(params, key, strategy, &of_all, &mut transcript)
            .map_err(|_| Rejection::Circuit)?;
        if rest.is_empty() {
            return Ok(());
        }
        Err(malformed("bytes behind the end of the proof"))
    }

    /// Bytes in the form of a segment's proof of so many runs: points and scalars where they belong, all of them hashes.
    #[doc(hidden)]
    pub fn garbage(&self, index: usize, runs: usize, seed: u64) -> Vec<u8> {
        garbage(&self.verifier.segments[index].key, runs, seed)
    }

    /// Whether the sum that [`Verifier::verify`] makes of a segment's bytes is the one that upstream makes of them, which is
    /// zero for a proof and another point for anything else. `None` if either makes none.
    #[doc(hidden)]
    pub fn agrees(&self, index: usize, halo2: &[u8], runs: usize) -> Option<bool> {
        self.agrees_with(index, &self.verifier.segments[index].key, halo2, runs)
    }

    fn agrees_with(&self, index: usize, key: &Key, halo2: &[u8], runs: usize) -> Option<bool> {
        let fixed = &self.verifier.card.segments[index].fixed;
        agree(&self.params, &self.keys[index], (key, fixed), halo2, runs)
    }

    /// Whether the sum of a segment's link is zero.
    fn link_holds(&self, index: usize, equation: &link::Equation) -> bool {
        let domain = EvaluationDomain::new(1, self.params.k());
        let rows = domain.lagrange_from_vec(equation.rows.clone());
        let rows = self.params.commit_lagrange(&rows, Blind(equation.w));
        let points = &self.verifier.card.segments[index].points;
        let card = equation.card.iter().copied().zip(points.iter().copied());
        let terms = card.chain(equation.points.iter().copied());
        let (scalars, points): (Vec<F>, Vec<C>) = terms.unzip();
        let sum: Eq = rows + best_multiexp(&scalars, &points);
        bool::from(sum.is_identity())
    }
}

/// The equation of a segment's link.
fn challenged(
    segment: &Segment,
    sides: &[(Side, Side)],
    context: &[u8],
    given: &SegmentProof,
) -> Result<link::Equation, Rejection> {
    let (plan, layout) = (&segment.plan, &segment.plan.layout);
    let columns = &layout.columns;
    let commitments = read_points(&given.halo2, sides.len() * columns.advice())?;
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
    let digest = statement_digest(&segment.digest, sides, context);
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
    let linked = segment.targets(&coefficients, public, sides, &runs);
    let (k, points) = (layout.k, segment.points);
    let equation = link::equation(k, points, &mut transcript, linked, &given.link);
    equation.map_err(|_| Rejection::Link)
}

/// Whether all of a proof can be read. Upstream's reader does not say what it could not read.
fn readable(key: &Key, halo2: &[u8], runs: usize) -> Result<(), Rejection> {
    for (at, bytes) in halo2.chunks_exact(SIZE).enumerate() {
        if is_point(key, at, runs) {
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

/// Whether a slot of a proof holds a point: those at its head, the quotient of the multi-point opening, and those of the
/// opening argument.
fn is_point(key: &Key, at: usize, runs: usize) -> bool {
    let k = key.k as usize;
    let opening = key.proof_len(runs) / SIZE - (2 * k + 3);
    // So many evaluations follow the quotient of the multi-point opening.
    let quotient = opening - 1 - key.queries.sets.len();
    at < key.head(runs) || at == quotient || (opening..opening + 2 * k + 1).contains(&at)
}

fn garbage(key: &Key, runs: usize, seed: u64) -> Vec<u8> {
    let hash = Eq::hash_to_curve("zkinfer garbage");
    let slot = |at: usize| -> [u8; SIZE] {
        let name = [seed.to_le_bytes(), (at as u64).to_le_bytes()].concat();
        if is_point(key, at, runs) {
            return hash(&name).to_affine().to_bytes();
        }
        let wide = Blake2b::new().hash_length(64).hash(&name);
        F::from_uniform_bytes(wide.as_array()).to_repr()
    };
    (0..key.proof_len(runs) / SIZE).flat_map(slot).collect()
}

/// Whether upstream makes the same sum of bytes with its key as `key` does, with these commitments to fixed columns.
fn agree(
    params: &Params<C>,
    upstream: &VerifyingKey<C>,
    (key, fixed): (&Key, &[C]),
    halo2: &[u8],
    runs: usize,
) -> Option<bool> {
    let of_all: Vec<&[&[F]]> = vec![&[]; runs];
    let mut rest = halo2;
    let mut transcript = Blake2bRead::<_, C, Challenge255<C>>::init(&mut rest);
    let sum = verify_proof(params, upstream, Whole(params), &of_all, &mut transcript);
    let mut sum = sum.ok()?;
    let decoded = Decoded::new(halo2, key.head(runs), key.k);
    let mut opening = key.opening(runs, &decoded).ok()?;
    opening.scale(-F::from(1));
    let fixed = opening.fixed.iter().copied().zip(fixed.iter().copied());
    for (s, point) in opening.points.iter().copied().chain(fixed) {
        sum.append_term(s, point);
    }
    sum.add_to_g_scalars(&opening.generators());
    sum.add_constant_term(opening.first);
    sum.add_to_w_scalar(opening.w);
    sum.add_to_u_scalar(opening.u);
    Some(rest.is_empty() && sum.eval())
}

/// Hands upstream's sum out instead of evaluating it.
struct Whole<'a>(&'a Params<C>);

impl<'a> VerificationStrategy<'a, C> for Whole<'a> {
    type Output = MSM<'a, C>;

    fn process<E: EncodedChallenge<C>>(
        self,
        f: impl FnOnce(MSM<'a, C>) -> Result<Guard<'a, C, E>, Error>,
    ) -> Result<Self::Output, Error> {
        Ok(f(MSM::new(self.0))?.use_challenges())
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

#[cfg(test)]
mod tests;
