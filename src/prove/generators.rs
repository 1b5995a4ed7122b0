//! The generators behind halo2's parameters, which keeps them to itself: read once from their serialized form.

use ff::PrimeField;
use group::{Curve, Group, GroupEncoding};
use halo2_proofs::poly::commitment::Params;
use pasta_curves::Eq;
use rayon::prelude::*;
use zkinfer_circuits::{C, F};

/// Lagrange-basis generators and a table of multiples of the blinding generator.
#[derive(Debug)]
pub(crate) struct Generators {
    /// `L_0 … L_(n−1)`.
    pub lagrange: Vec<C>,
    /// `multiples[i][d−1] = d · 256^i · W`.
    multiples: Vec<Vec<C>>,
}

impl Generators {
    /// Reads them out of `params`; `None` only if upstream changed its format.
    pub fn new(params: &Params<C>) -> Option<Generators> {
        let n = 1usize << params.k();
        let mut bytes = Vec::with_capacity(4 + 32 * (2 * n + 2));
        params.write(&mut bytes).ok()?;
        let point = |i: usize| -> Option<C> {
            let mut repr = [0; 32];
            repr.copy_from_slice(bytes.get(4 + 32 * i..4 + 32 * (i + 1))?);
            Option::from(C::from_bytes(&repr))
        };
        let lagrange: Option<Vec<C>> = (n..2 * n).into_par_iter().map(point).collect();
        let mut base = Eq::from(point(2 * n)?);
        let multiples = (0..32)
            .map(|_| {
                let row: Vec<Eq> = std::iter::successors(Some(base), |p| Some(p + base))
                    .take(255)
                    .collect();
                base = row[254] + base;
                let mut affine = vec![C::default(); row.len()];
                Eq::batch_normalize(&row, &mut affine);
                affine
            })
            .collect();
        Some(Generators {
            lagrange: lagrange?,
            multiples,
        })
    }

    /// `blind · W`.
    pub fn blind(&self, blind: &F) -> Eq {
        let digits = blind.to_repr();
        let terms = digits.iter().zip(&self.multiples).filter(|(d, _)| **d != 0);
        terms.fold(Eq::identity(), |sum, (&d, row)| {
            sum + row[usize::from(d) - 1]
        })
    }
}
