//! The inner-product argument, with the collapse of the generators deferred: the twin of upstream's
//! `poly/commitment/prover.rs`.
//!
//! Upstream replaces the generators by `G_i + u·G_(i+half)` after every round, `n` full scalar multiplications in all. Here
//! `L` and `R` of a few rounds are computed over generators that are not collapsed yet (a sum over `G'_i` is a sum over
//! `s_t·G_(i + t·len)` with products `s_t` of challenges), and then several rounds are collapsed at once.

use crate::draws::wipe;
use crate::error::EngineError;
use crate::generators::{Generators, part, to_affine};
use crate::{C, F};
use ff::Field;
use halo2_proofs::transcript::{EncodedChallenge, TranscriptWrite};
use pasta_curves::arithmetic::VartimeField;
use rand_core::Rng;
use zkinfer_kernels::collapse::collapse_parallel;
use zkinfer_kernels::msm::{Bases, Job, msm_parallel};
use zkinfer_kernels::vector::Backend;

/// After how many rounds the generators are collapsed, for `2^k` of them.
fn schedule(k: u32) -> Vec<u32> {
    match k {
        0..=5 => vec![],
        6..=8 => vec![3],
        9..=11 => vec![3, 5],
        _ => vec![3, 5, 7],
    }
}

fn inner_product(a: &[F], b: &[F]) -> F {
    a.iter().zip(b).map(|(a, b)| *a * b).sum()
}

/// `Σ coefficients·x^i`.
fn evaluate(poly: &[F], x: F) -> F {
    poly.iter().rev().fold(F::ZERO, |sum, c| sum * x + c)
}

impl<B: Backend> Generators<B> {
    /// Opens the commitment to `poly` (coefficients) with `blind` at `x`, as upstream's `poly::commitment::create_proof`
    /// does, with the same draws.
    ///
    /// # Errors
    /// If `poly` has not `2^k` coefficients; with negligible probability [`EngineError::Unlucky`].
    pub fn open<E: EncodedChallenge<C>, T: TranscriptWrite<C, E>>(
        &self,
        poly: Vec<F>,
        blind: F,
        x: F,
        rng: &mut impl Rng,
        transcript: &mut T,
    ) -> Result<(), EngineError> {
        if poly.len() != 1 << self.k() {
            return Err(EngineError::Witness {
                what: "a polynomial of another size",
            });
        }
        prove(self, poly, blind, x, rng, transcript)
    }
}

pub(crate) fn prove<B: Backend, E: EncodedChallenge<C>, T: TranscriptWrite<C, E>>(
    generators: &Generators<B>,
    poly: Vec<F>,
    blind: F,
    x: F,
    rng: &mut impl Rng,
    transcript: &mut T,
) -> Result<(), EngineError> {
    let (n, k) = (poly.len(), generators.k());
    // A random polynomial with a root at x hides `poly`.
    let mut mask: Vec<F> = (0..n).map(|_| F::random(&mut *rng)).collect();
    let at_x = evaluate(&mask, x);
    mask[0] -= at_x;
    let mask_blind = F::random(&mut *rng);
    let commitment = generators.commit_polys(std::slice::from_ref(&mask), &[mask_blind]);
    transcript.write_point(commitment[0])?;

    let xi = *transcript.squeeze_challenge_scalar::<()>();
    let z = *transcript.squeeze_challenge_scalar::<()>();
    let mut p: Vec<F> = mask.iter().zip(&poly).map(|(s, p)| *s * xi + p).collect();
    wipe(&mut mask);
    drop((mask, poly));
    let v = evaluate(&p, x);
    p[0] -= v;
    let mut f = mask_blind * xi + blind;
    let mut b: Vec<F> = std::iter::successors(Some(F::ONE), |b| Some(*b * x))
        .take(n)
        .collect();

    let schedule = schedule(k);
    // Generators as of the last collapse, with W and U behind them; challenges since then.
    let mut collapsed: Option<Bases<B>> = None;
    let mut len = n;
    let mut factors = vec![F::ONE];
    for round in 0..k {
        let half = p.len() / 2;
        let bases = collapsed.as_ref().unwrap_or(&generators.monomial);
        let value_l = inner_product(&p[half..], &b[..half]) * z;
        let value_r = inner_product(&p[..half], &b[half..]) * z;
        let (random_l, random_r) = (F::random(&mut *rng), F::random(&mut *rng));
        let scaled: Vec<Vec<F>> = factors
            .iter()
            .map(|s| p.iter().map(|p| *p * s).collect())
            .collect();
        let mut left = Job { parts: Vec::new() };
        let mut right = Job { parts: Vec::new() };
        for (t, scaled) in scaled.iter().enumerate() {
            let first = t * 2 * half;
            left.parts.push(part(first, &scaled[half..]));
            right.parts.push(part(first + half, &scaled[..half]));
        }
        let extra = [[random_l, value_l], [random_r, value_r]];
        left.parts.push(part(len, &extra[0]));
        right.parts.push(part(len, &extra[1]));
        let sums = to_affine(&msm_parallel(generators.backend, bases, &[left, right]));
        transcript.write_point(sums[0])?;
        transcript.write_point(sums[1])?;

        let u = *transcript.squeeze_challenge_scalar::<()>();
        let u_inv = u.invert_vartime().ok_or_else(|| {
            EngineError::Unlucky(std::io::Error::other("a challenge of the opening is zero"))
        })?;
        let (low, high) = p.split_at_mut(half);
        low.iter_mut().zip(high).for_each(|(l, h)| *l += *h * u_inv);
        p.truncate(half);
        let (low, high) = b.split_at_mut(half);
        low.iter_mut().zip(high).for_each(|(l, h)| *l += *h * u);
        b.truncate(half);
        f += random_l * u_inv + random_r * u;

        // G'_i = Σ_t factors[t]·G_(i + t·half): the newest challenge belongs to the lowest bit of t.
        factors = factors.iter().flat_map(|s| [*s, *s * u]).collect();
        if schedule.contains(&(round + 1)) {
            let mut points = collapse_parallel(generators.backend, &bases.bases()[..len], &factors);
            points.extend_from_slice(generators.ends());
            collapsed = Some(Bases::from_points(generators.backend, points));
            len = half;
            factors = vec![F::ONE];
        }
    }
    transcript.write_scalar(p[0])?;
    transcript.write_scalar(f)?;
    Ok(())
}
