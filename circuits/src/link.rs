//! The link: columns of a proof hold what published commitments hold.
//!
//! Every linked column (inputs, outputs, `S`, `T`) has a target: the commitment that an unblinded column with the right
//! content would have, up to a multiple of `W`. The difference between the column's commitment in the proof and its
//! target must lie in the span of the blinding-row generators and `W`; a Schnorr proof of representation over those
//! `BLINDING_ROWS + 1` generators shows it, one for all columns, combined by powers of a challenge `μ`.
//!
//! Lie caught: folded weights of another model, inputs or outputs other than the stated ones. Soundness error
//! `(columns + 1)/|F|`, under the discrete logarithm assumption; zero-knowledge: the responses are uniform.

use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::layout::BLINDING_ROWS;
use crate::transcript::{IdentityPoint, Transcript};
use crate::{C, F};
use ff::Field;
use group::Curve;
use halo2_proofs::poly::{
    EvaluationDomain,
    commitment::{Blind, Params},
};
use pasta_curves::Eq;
use rand_core::CryptoRng;

/// A proof of representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkProof {
    /// The first message.
    pub commitment: C,
    /// Responses, one per blinding row.
    pub rows: [F; BLINDING_ROWS],
    /// Response for `W`.
    pub blind: F,
}

/// What one column's commitment has beyond its target.
#[derive(Clone, Debug)]
pub struct Excess {
    /// Blinding rows of the column.
    pub rows: [F; BLINDING_ROWS],
    /// Blind of the column less the blind of the target.
    pub blind: F,
}

/// Generators: commits to values on the given rows over the Lagrange basis and to a blind.
pub(crate) fn commit_rows(params: &Params<C>, first: usize, values: &[F], blind: F) -> Eq {
    let n = 1usize << params.k();
    let mut column = vec![F::ZERO; n];
    column[first..first + values.len()].copy_from_slice(values);
    let domain = EvaluationDomain::new(1, params.k());
    params.commit_lagrange(&domain.lagrange_from_vec(column), Blind(blind))
}

/// Proves the link for columns in the order in which the verifier lists them.
///
/// # Errors
/// [`IdentityPoint`] with negligible probability.
pub fn prove(
    params: &Params<C>,
    transcript: &mut Transcript,
    excess: &[Excess],
    rng: &mut impl CryptoRng,
) -> Result<LinkProof, IdentityPoint> {
    let first = (1usize << params.k()) - BLINDING_ROWS;
    let mu = transcript.challenge();
    let mut witness = Excess {
        rows: [F::ZERO; BLINDING_ROWS],
        blind: F::ZERO,
    };
    for e in excess.iter().rev() {
        witness
            .rows
            .iter_mut()
            .zip(&e.rows)
            .for_each(|(w, e)| *w = *w * mu + e);
        witness.blind = witness.blind * mu + e.blind;
    }
    let mut mask = [F::ZERO; BLINDING_ROWS];
    mask.iter_mut().for_each(|m| *m = F::random(&mut *rng));
    let mask_blind = F::random(&mut *rng);
    let commitment = commit_rows(params, first, &mask, mask_blind).to_affine();
    transcript.point(commitment)?;
    let c = transcript.challenge();
    let mut rows = mask;
    rows.iter_mut()
        .zip(&witness.rows)
        .for_each(|(r, w)| *r += c * w);
    Ok(LinkProof {
        commitment,
        rows,
        blind: mask_blind + c * witness.blind,
    })
}

/// One side of a linked column: `Σ scalar·point`.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// Points and their coefficients.
    pub terms: Vec<(F, C)>,
}

/// Checks the link. `columns` are the commitments from the proof, in order, each with its target.
pub fn verify(
    params: &Params<C>,
    transcript: &mut Transcript,
    columns: &[(C, Target)],
    proof: &LinkProof,
) -> bool {
    let first = (1usize << params.k()) - BLINDING_ROWS;
    let mu = transcript.challenge();
    if transcript.point(proof.commitment).is_err() {
        return false;
    }
    let c = transcript.challenge();
    let mut scalars = vec![F::ONE];
    let mut points = vec![proof.commitment];
    let mut power = c;
    for (column, target) in columns {
        scalars.push(power);
        points.push(*column);
        for (s, p) in &target.terms {
            scalars.push(-power * s);
            points.push(*p);
        }
        power *= mu;
    }
    let right = halo2_proofs::arithmetic::best_multiexp::<C>(&scalars, &points);
    commit_rows(params, first, &proof.rows, proof.blind) == right
}

impl LinkProof {
    pub(crate) fn write(&self, w: &mut Writer) {
        w.point(&self.commitment);
        self.rows.iter().for_each(|s| w.scalar(s));
        w.scalar(&self.blind);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<LinkProof, DecodeError> {
        let commitment = r.point()?;
        let mut rows = [F::ZERO; BLINDING_ROWS];
        for row in &mut rows {
            *row = r.scalar()?;
        }
        Ok(LinkProof {
            commitment,
            rows,
            blind: r.scalar()?,
        })
    }
}
