//! Everything about a circuit that its proofs share.

use crate::error::EngineError;
use crate::gates::{GateProgram, lower};
use crate::generators::Generators;
use crate::permutation::Permutation;
use crate::poly::{Poly, coefficients};
use crate::shape::Shape;
use crate::{C, F};
use ff::{Field, WithSmallOrderMulGroup};
use halo2_proofs::plonk::VerifyingKey;
use rayon::prelude::*;
use std::sync::Arc;
use zkinfer_circuits::expr::AnyColumn;
use zkinfer_circuits::gates::Description;
use zkinfer_kernels::fft::{Domain, Evaluate, Interpolate};
use zkinfer_kernels::vector::Backend;

/// A proving key.
pub struct Key<B: Backend> {
    pub(crate) generators: Arc<Generators<B>>,
    pub(crate) vk: VerifyingKey<C>,
    pub(crate) shape: Shape,
    pub(crate) domain: Domain,
    pub(crate) gates: GateProgram,
    pub(crate) fixed: Vec<Poly<B>>,
    /// Values of the fixed columns that may be copied.
    pub(crate) fixed_values: Vec<Option<Vec<F>>>,
    pub(crate) permutation: Permutation<B>,
    pub(crate) interpolate: Interpolate<B>,
    /// One coset per piece of the quotient, with its shift.
    pub(crate) cosets: Vec<(F, Evaluate<B>)>,
}

impl<B: Backend> Key<B> {
    /// Prepares the circuit of `description` with these values of its fixed columns (`2^k` rows each); `vk` is its verifying
    /// key.
    ///
    /// # Errors
    /// If there are too few rows for the backend or the fixed columns do not fit.
    pub fn new(
        generators: Arc<Generators<B>>,
        description: &Description,
        fixed: &[Vec<u32>],
        vk: VerifyingKey<C>,
    ) -> Result<Key<B>, EngineError> {
        let (backend, k) = (generators.backend, generators.k());
        let domain = Domain::new(k)
            .filter(Domain::suits::<B>)
            .ok_or(EngineError::TooSmall {
                k,
                backend: B::NAME,
            })?;
        let n = domain.n();
        if fixed.len() != description.fixed || fixed.iter().any(|c| c.len() != n) {
            return Err(EngineError::Witness {
                what: "fixed columns",
            });
        }
        let shape = Shape::new(description);
        // Cosets of upstream's extended domain; any that avoid the domain would do.
        let extended = Domain::new(k + shape.pieces.next_power_of_two().trailing_zeros());
        let step = extended.map_or(F::ONE, |d| d.omega());
        let shifts = std::iter::successors(Some(F::ZETA), |s| Some(*s * step));
        let cosets = shifts
            .take(shape.pieces)
            .map(|shift| (shift, Evaluate::new(backend, domain, shift)))
            .collect();
        let interpolate = Interpolate::new(backend, domain);
        let permutation = Permutation::new(backend, description, &shape, &domain, &interpolate)?;
        let (fixed, fixed_values) = fixed
            .par_iter()
            .enumerate()
            .map(|(i, column)| {
                let values: Vec<F> = column.iter().map(|&v| F::from(u64::from(v))).collect();
                let poly = coefficients(backend, &interpolate, &values);
                let copied = description.equality.contains(&AnyColumn::Fixed(i));
                (poly, copied.then_some(values))
            })
            .unzip();
        Ok(Key {
            generators,
            vk,
            shape,
            domain,
            gates: lower(description, 2),
            fixed,
            fixed_values,
            permutation,
            interpolate,
            cosets,
        })
    }

    /// The verifying key.
    pub fn vk(&self) -> &VerifyingKey<C> {
        &self.vk
    }

    /// Number of rows at the end of every advice column that hold random values.
    pub fn blinding_rows(&self) -> usize {
        self.shape.blinding_rows
    }

    pub(crate) fn backend(&self) -> B {
        self.generators.backend
    }
}
