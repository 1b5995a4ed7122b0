//! All openings reduced to one: the twin of upstream's `poly/multiopen`.
//!
//! Polynomials that are opened at the same points are combined by powers of `x_1`, their quotients by powers of `x_2`;
//! everything is then opened at `x_3`, combined by powers of `x_4` (the halo2 book, "Multipoint opening argument").

use crate::error::EngineError;
use crate::key::Key;
use crate::points::Points;
use crate::poly::{Poly, combine, dot, powers};
use crate::stages::{Clock, Stages};
use crate::{C, F, opening};
use ff::Field;
use halo2_proofs::transcript::{EncodedChallenge, TranscriptWrite};
use rand_core::Rng;
use std::collections::BTreeSet;
use zkinfer_kernels::fft::{load, store};
use zkinfer_kernels::vector::{Backend, Vector};

/// A polynomial to be opened at `x·ω^rotation`. Equal `id` means the same polynomial.
pub(crate) struct Query<'a, B: Backend> {
    pub id: usize,
    pub poly: &'a Poly<B>,
    pub blind: F,
    pub rotation: i32,
    /// Where its evaluation stands among those that are sent: group, rank, number of the query.
    pub order: (u8, usize, usize),
}

/// Polynomials that are opened at the same points.
struct Set<'a, B: Backend> {
    points: BTreeSet<usize>,
    polys: Vec<&'a [B::Scalar]>,
    blinds: Vec<F>,
}

/// Sets in order of the first polynomial that belongs to each; polynomials in order of their first query.
fn sets<'a, B: Backend>(points: &Points<B>, queries: &[Query<'a, B>]) -> Vec<Set<'a, B>> {
    let ids = queries.iter().map(|q| q.id + 1).max().unwrap_or(0);
    let mut of: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); ids];
    for query in queries {
        of[query.id].insert(points.index(query.rotation));
    }
    let mut sets: Vec<Set<'a, B>> = Vec::new();
    for query in queries {
        let wanted = std::mem::take(&mut of[query.id]);
        if wanted.is_empty() {
            continue; // seen before
        }
        let found = sets.iter().position(|s| s.points == wanted);
        let set = found.unwrap_or_else(|| {
            sets.push(Set {
                points: wanted,
                polys: Vec::new(),
                blinds: Vec::new(),
            });
            sets.len() - 1
        });
        sets[set].polys.push(query.poly);
        sets[set].blinds.push(query.blind);
    }
    sets
}

/// `x^(count−1), …, x, 1`.
fn falling_powers(x: F, count: usize) -> Vec<F> {
    let mut powers: Vec<F> = std::iter::successors(Some(F::ONE), |p| Some(*p * x))
        .take(count)
        .collect();
    powers.reverse();
    powers
}

/// The quotient of `poly` by `X − point`, in place; the remainder is dropped.
fn divide(poly: &mut [F], point: F) {
    let mut carry = F::ZERO;
    for c in poly.iter_mut().rev() {
        let next = *c + carry * point;
        *c = std::mem::replace(&mut carry, next);
    }
}

pub(crate) fn prove<B: Backend, E: EncodedChallenge<C>, T: TranscriptWrite<C, E>>(
    key: &Key<B>,
    points: &Points<B>,
    queries: &[Query<'_, B>],
    rng: &mut impl Rng,
    transcript: &mut T,
    stages: &mut Stages,
) -> Result<(), EngineError> {
    let mut clock = Clock::start();
    let backend = key.backend();
    let x_1 = *transcript.squeeze_challenge_scalar::<()>();
    let x_2 = *transcript.squeeze_challenge_scalar::<()>();
    let sets = sets(points, queries);
    let combined: Vec<(Poly<B>, F)> = sets
        .iter()
        .map(|set| {
            let factors = falling_powers(x_1, set.polys.len());
            let blind = set.blinds.iter().zip(&factors).map(|(b, f)| *b * f).sum();
            (combine(backend, &set.polys, &factors), blind)
        })
        .collect();

    // Σ x_2^… · q_i / Π (X − point)
    let mut quotient = vec![F::ZERO; key.domain.n()];
    for (set, (poly, _)) in sets.iter().zip(&combined) {
        let mut poly = store(backend, poly);
        for &point in &set.points {
            divide(&mut poly, points.point(point));
        }
        for (q, p) in quotient.iter_mut().zip(&poly) {
            *q = *q * x_2 + p;
        }
    }
    let quotient_blind = F::random(&mut *rng);
    let commitment = key
        .generators
        .commit_polys(std::slice::from_ref(&quotient), &[quotient_blind]);
    transcript.write_point(commitment[0])?;

    let x_3 = *transcript.squeeze_challenge_scalar::<()>();
    let at_x_3 = powers(backend, x_3, key.domain.vectors::<B>());
    for (poly, _) in &combined {
        transcript.write_scalar(dot(backend, poly, &at_x_3))?;
    }
    let x_4 = *transcript.squeeze_challenge_scalar::<()>();
    let mut quotient_poly = vec![B::Scalar::zero(); key.domain.vectors::<B>()];
    load(backend, &quotient, &mut quotient_poly);
    let polys: Vec<&[B::Scalar]> = std::iter::once(quotient_poly.as_slice())
        .chain(combined.iter().map(|(p, _)| p.as_slice()))
        .collect();
    let factors = falling_powers(x_4, polys.len());
    let poly = combine(backend, &polys, &factors);
    let blinds = std::iter::once(&quotient_blind).chain(combined.iter().map(|(_, b)| b));
    let blind = blinds.zip(&factors).map(|(b, f)| *b * f).sum();
    clock.lap(&mut stages.multiopen);
    let poly = store(backend, &poly);
    opening::prove(&key.generators, poly, blind, x_3, rng, transcript)?;
    clock.lap(&mut stages.opening);
    Ok(())
}
