//! The support proof of a card: every commitment has entries only where its neuron may read.
//!
//! A commitment of the model is a point; nothing in a point says which rows it has entries on. An owner who commits to
//! weights from a neuron to itself, or to a later layer, would publish a model with cycles, for which one input can have
//! several provable outputs. So each [`Group`] comes with a proof of representation of a random combination of
//! its points over the generators of its rows and `W` alone.
//!
//! Lie caught: a weight outside the architecture. Soundness error `(points + groups + 1)/|F|` per group;
//! zero-knowledge: the responses are uniform. It is checked once per card.

use crate::checks::{Check, drawn, holds};
use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::fold::Group;
use crate::layout::Layout;
use crate::transcript::{Digest, IdentityPoint, Transcript};
use crate::{C, F};
use ff::Field;
use group::Curve;
use halo2_proofs::poly::{
    EvaluationDomain,
    commitment::{Blind, Params},
};
use pasta_curves::Eq;
use rand_core::CryptoRng;

/// Proof for all groups of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportProof {
    /// First message and responses (rows, then `W`), per group.
    pub groups: Vec<(C, Vec<F>)>,
}

/// What the owner knows of a group: entries `[point][row]` folded by the caller's closure, and blinds.
pub trait GroupWitness {
    /// `Σ_o coefficients[o] · W[o, row]` for every row of the group, and `Σ_o coefficients[o] · blind_o`.
    fn fold(&self, group: usize, coefficients: &[F]) -> (Vec<F>, F);
}

fn commit(params: &Params<C>, rows: &[u32], values: &[F], blind: F) -> Eq {
    let mut column = vec![F::ZERO; 1 << params.k()];
    for (&row, v) in rows.iter().zip(values) {
        column[row as usize] = *v;
    }
    let domain = EvaluationDomain::new(1, params.k());
    params.commit_lagrange(&domain.lagrange_from_vec(column), Blind(blind))
}

fn powers(base: F, count: usize) -> Vec<F> {
    std::iter::successors(Some(F::ONE), |p| Some(*p * base))
        .take(count)
        .collect()
}

/// Proves the support of all groups. `card` is the digest of everything in the card but this proof.
///
/// # Errors
/// [`IdentityPoint`] with negligible probability.
pub fn prove(
    params: &Params<C>,
    card: &Digest,
    groups: &[Group],
    witness: &impl GroupWitness,
    rng: &mut impl CryptoRng,
) -> Result<SupportProof, IdentityPoint> {
    let mut transcript = Transcript::new("zkinfer support");
    transcript.bytes(&card.0);
    let gamma = drawn(Check::SupportGamma, transcript.challenge(), F::ONE);
    let mut masks = Vec::with_capacity(groups.len());
    for group in groups {
        let mask: Vec<F> = (0..=group.rows.len())
            .map(|_| F::random(&mut *rng))
            .collect();
        let (blind, rows) = mask
            .split_last()
            .expect("a mask has one more entry than rows");
        let commitment = commit(params, &group.rows, rows, *blind).to_affine();
        transcript.point(commitment)?;
        masks.push((commitment, mask));
    }
    let c = transcript.challenge();
    for (i, (_, mask)) in masks.iter_mut().enumerate() {
        let (rows, blind) = witness.fold(i, &powers(gamma, groups[i].points));
        mask.iter_mut()
            .zip(rows.iter().chain([&blind]))
            .for_each(|(m, v)| *m += c * v);
    }
    Ok(SupportProof { groups: masks })
}

/// Checks the support of all points of a card, in the order of `groups`.
pub fn verify(
    params: &Params<C>,
    layout: &Layout,
    card: &Digest,
    groups: &[Group],
    points: &[C],
    proof: &SupportProof,
) -> bool {
    if proof.groups.len() != groups.len()
        || points.len() != groups.iter().map(|g| g.points).sum::<usize>()
        || proof
            .groups
            .iter()
            .zip(groups)
            .any(|(p, g)| p.1.len() != g.rows.len() + 1)
    {
        return false;
    }
    let mut transcript = Transcript::new("zkinfer support");
    transcript.bytes(&card.0);
    let gamma = drawn(Check::SupportGamma, transcript.challenge(), F::ONE);
    if proof
        .groups
        .iter()
        .any(|(commitment, _)| transcript.point(*commitment).is_err())
    {
        return false;
    }
    let c = transcript.challenge();
    proof
        .groups
        .iter()
        .flat_map(|(_, responses)| responses)
        .for_each(|s| transcript.scalar(*s));
    let delta = drawn(Check::SupportDelta, transcript.challenge(), F::ONE);

    // Σ_g δ^g · (Σ_rows s·L + s_W·W − K_g − c·Σ_o γ^o·C_o) = 0, with one multi-scalar multiplication on each side.
    let mut column = vec![F::ZERO; layout.rows()];
    let mut blind = F::ZERO;
    let mut scalars = Vec::with_capacity(points.len() + groups.len());
    let mut bases = Vec::with_capacity(points.len() + groups.len());
    let mut power = F::ONE;
    let mut rest = points;
    for (group, (commitment, responses)) in groups.iter().zip(&proof.groups) {
        for (&row, s) in group.rows.iter().zip(responses) {
            column[row as usize] += power * s;
        }
        blind += power * responses[group.rows.len()];
        scalars.push(power);
        bases.push(*commitment);
        let (own, other) = rest.split_at(group.points);
        rest = other;
        let mut coefficient = power * c;
        for point in own {
            scalars.push(coefficient);
            bases.push(*point);
            coefficient *= gamma;
        }
        power *= delta;
    }
    let domain = EvaluationDomain::new(1, params.k());
    let left = params.commit_lagrange(&domain.lagrange_from_vec(column), Blind(blind));
    let right = halo2_proofs::arithmetic::best_multiexp::<C>(&scalars, &bases);
    holds(Check::Support, left == right)
}

impl SupportProof {
    pub(crate) fn write(&self, w: &mut Writer) {
        w.len(self.groups.len());
        for (commitment, responses) in &self.groups {
            w.point(commitment);
            w.len(responses.len());
            responses.iter().for_each(|s| w.scalar(s));
        }
    }

    /// Reads a proof of at most `most` groups.
    pub(crate) fn read(r: &mut Reader<'_>, most: usize) -> Result<SupportProof, DecodeError> {
        let len = r.len(68)?;
        if len > most {
            return Err(DecodeError::Invalid {
                what: "number of groups",
            });
        }
        let groups = r.list(len, |r| {
            let commitment = r.point()?;
            let len = r.len(32)?;
            Ok((commitment, r.list(len, Reader::scalar)?))
        })?;
        Ok(SupportProof { groups })
    }
}
