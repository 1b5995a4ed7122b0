//! The link: columns of a proof hold what published commitments hold.
//!
//! Every linked column (inputs, outputs, `S`, `T`, challenges, `κ`, `β`) has a target: the commitment that an unblinded column
//! with the right content would have, up to a multiple of `W`. The difference between the column's commitment in the proof and its
//! target must lie in the span of the blinding-row generators and `W`; a Schnorr proof of representation over those
//! `BLINDING_ROWS + 1` generators shows it, one for all columns, combined by powers of a challenge `μ`.
//!
//! Lie caught: folded weights of another model, inputs or outputs other than the stated ones, public columns other than the
//! verifier's. Soundness error
//! `(columns + 1)/|F|`, under the discrete logarithm assumption; zero-knowledge: the responses are uniform.

use crate::checks::{Check, drawn};
use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::layout::BLINDING_ROWS;
use crate::multiples;
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
    let mu = drawn(Check::LinkMu, transcript.challenge(), F::ONE);
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

/// The commitment that an unblinded column with the right content would have.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// A public value of every row up to the one behind the active rows.
    pub everywhere: F,
    /// Public values of the first rows, in addition.
    pub first: Vec<F>,
    /// Public values by row, in addition.
    pub rows: Vec<(usize, F)>,
    /// Points of the model commitment: index of the first, and the coefficients of it and the following.
    pub card: Vec<(usize, Vec<F>)>,
    /// Other points and their coefficients.
    pub points: Vec<(F, C)>,
}

/// What the verifier has to check: a sum of multiples of points that must be zero.
#[derive(Clone, Debug)]
pub struct Equation {
    /// Coefficients of all `2^k` Lagrange generators.
    pub rows: Vec<F>,
    /// Coefficient of `W`.
    pub w: F,
    /// Coefficients of the points of the model commitment.
    pub card: Vec<F>,
    /// Other points and their coefficients.
    pub points: Vec<(F, C)>,
}

/// The equation of a link. `columns` are the commitments from the proof, in order, each with its target; `k` and `card`
/// are the logarithm of the number of rows and the number of points in the model commitment.
///
/// # Errors
/// A first message that cannot be absorbed.
pub fn equation(
    k: u32,
    card: usize,
    transcript: &mut Transcript,
    columns: Vec<(C, Target)>,
    proof: &LinkProof,
) -> Result<Equation, IdentityPoint> {
    let first = (1usize << k) - BLINDING_ROWS;
    let mu = drawn(Check::LinkMu, transcript.challenge(), F::ONE);
    transcript.point(proof.commitment)?;
    let c = transcript.challenge();
    let mut equation = Equation {
        rows: vec![F::ZERO; 1 << k],
        w: proof.blind,
        card: vec![F::ZERO; card],
        points: vec![(-F::ONE, proof.commitment)],
    };
    equation.rows[first..].copy_from_slice(&proof.rows);
    let mut everywhere = F::ZERO;
    let mut power = c;
    // One after the other: together the targets may be larger than their sum.
    for (column, target) in columns {
        equation.points.push((-power, column));
        let scaled = target.points.iter().map(|(s, p)| (power * s, *p));
        equation.points.extend(scaled);
        everywhere += power * target.everywhere;
        multiples::add(&mut equation.rows, power, &target.first);
        for (row, v) in target.rows {
            equation.rows[row] += power * v;
        }
        for (from, coefficients) in &target.card {
            multiples::add(&mut equation.card[*from..], power, coefficients);
        }
        power *= mu;
    }
    let before = &mut equation.rows[..first];
    before.iter_mut().for_each(|sum| *sum += everywhere);
    Ok(equation)
}

impl Equation {
    /// Multiplies it.
    pub(crate) fn scale(&mut self, by: F) {
        if by != F::ONE {
            multiples::scale(&mut self.rows, by);
            multiples::scale(&mut self.card, by);
            self.points.iter_mut().for_each(|(s, _)| *s *= by);
            self.w *= by;
        }
    }
}

impl LinkProof {
    /// Length in a file.
    pub(crate) const BYTES: usize = 32 * (BLINDING_ROWS + 2);

    /// Writes it: a point, scalars.
    pub fn write(&self, w: &mut Writer) {
        w.point(&self.commitment);
        self.rows.iter().for_each(|s| w.scalar(s));
        w.scalar(&self.blind);
    }

    /// Reads it.
    ///
    /// # Errors
    /// Too few bytes, a point or a scalar that is none.
    pub fn read(r: &mut Reader<'_>) -> Result<LinkProof, DecodeError> {
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
