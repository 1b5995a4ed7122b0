//! Commitments to instance columns, as upstream makes them: `Σ v_r·L_r + W`.
//!
//! Most columns hold one challenge in row 0, and upstream doubles and adds for each. Here the multiples of `L_0` that
//! signed bytes of a scalar select are made once.

use super::generators;
use crate::{C, F};
use ff::PrimeField;
use group::{Curve, CurveAffine as _, Group, GroupEncoding};
use halo2_proofs::arithmetic::best_multiexp;
use halo2_proofs::poly::commitment::Params;
use pasta_curves::Eq;

/// Bytes of a scalar.
const BYTES: usize = 32;
/// Largest magnitude of a signed byte.
const HALF: usize = 128;

/// What the commitments are made from.
#[derive(Debug)]
pub(super) struct Commitments {
    /// `d·256^i·L_0` for `d` from 1 to [`HALF`], for each byte `i`.
    multiples: Vec<C>,
    /// The first Lagrange generators.
    lagrange: Vec<C>,
    w: C,
}

impl Commitments {
    /// For columns of at most `rows` values. `None` if the parameters have fewer.
    pub fn new(params: &Params<C>, rows: usize) -> Option<Commitments> {
        // Upstream shows its Lagrange generators in its file format only: k, then both bases, W and U.
        let mut bytes = Vec::new();
        params.write(&mut bytes).ok()?;
        let n = 1usize << params.k();
        let point = |at: usize| -> Option<C> {
            let from = 4 + at * BYTES;
            let repr = bytes.get(from..from + BYTES)?.try_into().ok()?;
            Option::from(C::from_bytes(&repr))
        };
        let rows = rows.max(1);
        if rows > n {
            return None;
        }
        let lagrange: Option<Vec<C>> = (n..n + rows).map(point).collect();
        let lagrange = lagrange?;
        Some(Commitments {
            multiples: multiples(lagrange[0]),
            lagrange,
            w: point(2 * n)?,
        })
    }

    /// The commitments, in order. Columns are no longer than `rows` of [`Commitments::new`].
    pub fn of(&self, columns: &[Vec<F>]) -> Vec<C> {
        let sums: Vec<Eq> = columns.iter().map(|column| self.sum(column)).collect();
        let mut commitments = vec![C::identity(); sums.len()];
        Eq::batch_normalize(&sums, &mut commitments);
        commitments
    }

    fn sum(&self, column: &[F]) -> Eq {
        let sum = match column {
            [] => Eq::identity(),
            [value] => self.multiple(value),
            values => {
                let terms = values.iter().copied().zip(self.lagrange.iter().copied());
                let terms: Vec<(F, C)> = terms.collect();
                generators::sum(&terms).unwrap_or_else(|| {
                    let (scalars, points): (Vec<F>, Vec<C>) = terms.into_iter().unzip();
                    best_multiexp(&scalars, &points)
                })
            }
        };
        sum + self.w
    }

    /// `value·L_0`.
    fn multiple(&self, value: &F) -> Eq {
        let mut sum = Eq::identity();
        let mut carry = 0;
        // Scalars are below `2^255`, so nothing is carried out of the last byte.
        let bytes = value.to_repr();
        for (byte, multiples) in bytes.iter().zip(self.multiples.chunks_exact(HALF)) {
            let digit = usize::from(*byte) + carry;
            carry = usize::from(digit > HALF);
            if carry == 1 {
                if digit < 2 * HALF {
                    sum -= multiples[2 * HALF - digit - 1];
                }
            } else if digit > 0 {
                sum += multiples[digit - 1];
            }
        }
        sum
    }
}

/// `d·256^i·point` for `d` from 1 to [`HALF`], for each byte `i`.
fn multiples(point: C) -> Vec<C> {
    let mut all = Vec::with_capacity(BYTES * HALF);
    let mut unit = Eq::from(point);
    for _ in 0..BYTES {
        let from = all.len();
        all.push(unit);
        for d in 1..HALF {
            all.push(all[from + d - 1] + unit);
        }
        unit = all[from + HALF - 1].double();
    }
    let mut affine = vec![C::identity(); all.len()];
    Eq::batch_normalize(&all, &mut affine);
    affine
}

#[cfg(test)]
mod tests {
    use super::*;
    use ff::Field;
    use halo2_proofs::poly::EvaluationDomain;
    use halo2_proofs::poly::commitment::Blind;

    #[test]
    fn they_are_upstreams() {
        let params = Params::<C>::new(6);
        let commitments = Commitments::new(&params, 40).unwrap();
        let domain = EvaluationDomain::new(1, 6);
        // Every byte near where digits carry, and values near the modulus.
        let mut values: Vec<F> = [0u64, 1, 127, 128, 129, 255, 256, u64::MAX]
            .into_iter()
            .flat_map(|v| [F::from(v), -F::from(v)])
            .collect();
        for byte in [127u8, 128, 129, 254, 255] {
            let mut repr = [byte; 32];
            repr[31] = 0x3f;
            values.push(F::from_repr(repr).unwrap());
        }
        let mut columns: Vec<Vec<F>> = values.iter().map(|v| vec![*v]).collect();
        columns.extend([Vec::new(), values[..2].to_vec(), values.clone()]);
        columns.push(values.iter().cycle().take(40).copied().collect());
        let expected: Vec<C> = columns
            .iter()
            .map(|column| {
                let mut column = column.clone();
                column.resize(64, F::ZERO);
                let column = domain.lagrange_from_vec(column);
                params.commit_lagrange(&column, Blind(F::ONE)).to_affine()
            })
            .collect();
        assert_eq!(commitments.of(&columns), expected);
        assert!(Commitments::new(&params, 65).is_none());
    }
}
