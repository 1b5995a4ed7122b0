//! The generators behind halo2's parameters, which keeps them to itself: read once from their serialized form.

use crate::error::EngineError;
use crate::{C, F};
use ff::Field;
use group::{Curve, GroupEncoding};
use halo2_proofs::poly::commitment::Params;
use pasta_curves::Eq;
use rayon::prelude::*;
use zkinfer_kernels::curve::PointOf;
use zkinfer_kernels::msm::{At, Bases, Job, Part, Scalars, msm_parallel};
use zkinfer_kernels::vector::Backend;

/// Bases of all commitments for one `k`, prepared for a backend. Made once, shared by everything.
pub struct Generators<B: Backend> {
    pub(crate) backend: B,
    k: u32,
    /// `L_0 … L_(n−1)`, `W`, `G_0` (which is the sum of all `L`).
    pub(crate) lagrange: Bases<B>,
    /// `G_0 … G_(n−1)`, `W`, `U`.
    pub(crate) monomial: Bases<B>,
}

impl<B: Backend> Generators<B> {
    /// Reads them out of `params`.
    ///
    /// # Errors
    /// [`EngineError::Params`] only if upstream changed its format.
    pub fn new(backend: B, params: &Params<C>) -> Result<Generators<B>, EngineError> {
        let n = 1usize << params.k();
        let mut bytes = Vec::with_capacity(4 + 32 * (2 * n + 2));
        params.write(&mut bytes).map_err(|_| EngineError::Params)?;
        let point = |i: usize| -> Option<C> {
            let mut repr = [0; 32];
            repr.copy_from_slice(bytes.get(4 + 32 * i..4 + 32 * (i + 1))?);
            Option::from(C::from_bytes(&repr))
        };
        let mut monomial = params.get_g();
        let lagrange: Option<Vec<C>> = (n..2 * n + 1).into_par_iter().map(point).collect();
        let (Some(mut lagrange), Some(u)) = (lagrange, point(2 * n + 1)) else {
            return Err(EngineError::Params);
        };
        let w = lagrange[n];
        lagrange.push(monomial[0]);
        monomial.extend([w, u]);
        Ok(Generators {
            backend,
            k: params.k(),
            lagrange: Bases::new(backend, &lagrange),
            monomial: Bases::new(backend, &monomial),
        })
    }

    /// `log2` of the number of rows.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// Commitments to columns in row order, each with its blind. Long runs of one value cost nothing.
    pub fn commit_columns(&self, columns: &[Vec<F>], blinds: &[F]) -> Vec<C> {
        let n = 1usize << self.k;
        // A column that is mostly one value: that value times the sum of all generators, and the rest.
        let mostly: Vec<Option<(F, Vec<F>)>> = columns
            .par_iter()
            .map(|column| {
                let v = column[n / 2];
                let often = column.iter().filter(|c| **c == v).count() > n / 2;
                (v != F::ZERO && often).then(|| (v, column.iter().map(|c| *c - v).collect()))
            })
            .collect();
        let jobs: Vec<Job<'_>> = (columns.iter().zip(&mostly).zip(blinds))
            .map(|((column, mostly), blind)| {
                let (rest, value) = match mostly {
                    Some((v, rest)) => (rest, Some(v)),
                    None => (column, None),
                };
                let mut parts = vec![part(0, rest), part(n, std::slice::from_ref(blind))];
                parts.extend(value.map(|v| part(n + 1, std::slice::from_ref(v))));
                Job { parts }
            })
            .collect();
        self.points(&self.lagrange, &jobs)
    }

    /// Commitments to many short columns of small integers with values on the same rows: `weights` is row-major,
    /// `[blinds.len()][rows.len()]`.
    pub fn commit_weights(&self, rows: &[u32], weights: &[i32], blinds: &[F]) -> Vec<C> {
        let n = 1usize << self.k;
        let jobs: Vec<Job<'_>> = weights
            .chunks(rows.len().max(1))
            .zip(blinds)
            .map(|(weights, blind)| Job {
                parts: vec![
                    Part {
                        at: At::List(rows),
                        scalars: Scalars::Small(weights),
                    },
                    part(n, std::slice::from_ref(blind)),
                ],
            })
            .collect();
        self.points(&self.lagrange, &jobs)
    }

    /// Commitment to a polynomial given by its `2^k` coefficients.
    pub fn commit(&self, poly: &[F], blind: F) -> C {
        self.commit_polys(&[poly.to_vec()], &[blind])[0]
    }

    /// The backend.
    pub fn backend(&self) -> B {
        self.backend
    }

    /// Commitments to polynomials given by coefficients, each with its blind.
    pub(crate) fn commit_polys(&self, polys: &[Vec<F>], blinds: &[F]) -> Vec<C> {
        let n = 1usize << self.k;
        let jobs: Vec<Job<'_>> = (polys.iter().zip(blinds))
            .map(|(poly, blind)| Job {
                parts: vec![part(0, poly), part(n, std::slice::from_ref(blind))],
            })
            .collect();
        self.points(&self.monomial, &jobs)
    }

    /// `W` and `U`.
    pub(crate) fn ends(&self) -> &[PointOf<B>] {
        &self.monomial.bases()[1 << self.k..]
    }

    pub(crate) fn points(&self, bases: &Bases<B>, jobs: &[Job<'_>]) -> Vec<C> {
        to_affine(&msm_parallel(self.backend, bases, jobs))
    }
}

/// Field scalars for the bases from `first` on.
pub(crate) fn part(first: usize, scalars: &[F]) -> Part<'_> {
    Part {
        at: At::From(first),
        scalars: Scalars::Field(scalars),
    }
}

/// All points in affine form, with one inversion.
pub(crate) fn to_affine(points: &[Eq]) -> Vec<C> {
    let mut affine = vec![C::default(); points.len()];
    Eq::batch_normalize(points, &mut affine);
    affine
}
