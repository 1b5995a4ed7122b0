//! What a proof holds of one run of the circuit.

use crate::draws::{Draws, wipe};
use crate::permutation::Product;
use crate::poly::Poly;
use crate::{C, F};
use std::sync::Arc;
use zkinfer_kernels::vector::{Backend, Vector};

/// One run of the circuit in a proof. Repeated columns share their polynomials.
pub(crate) struct Witness<B: Backend> {
    pub advice: Vec<Arc<Poly<B>>>,
    /// Values of the columns whose cells may be copied.
    pub values: Vec<Option<Vec<F>>>,
    pub commitments: Vec<C>,
    /// Running products of the permutation argument.
    pub products: Vec<Product<B>>,
    pub draws: Draws,
}

/// Polynomials that nobody else holds, and values.
impl<B: Backend> Drop for Witness<B> {
    fn drop(&mut self) {
        for poly in self.advice.iter_mut().filter_map(Arc::get_mut) {
            poly.fill(B::Scalar::zero());
            std::hint::black_box(poly);
        }
        self.values.iter_mut().flatten().for_each(|v| wipe(v));
    }
}
