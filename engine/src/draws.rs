//! The random values of a proof, in the order in which upstream's prover draws them.

use crate::F;
use ff::Field;
use rand_core::Rng;

/// Blinding rows and blinds of one circuit's advice columns.
#[derive(Clone)]
pub struct Draws {
    /// Last rows of every column.
    pub rows: Vec<Vec<F>>,
    /// Blind of every column's commitment.
    pub blinds: Vec<F>,
}

impl Draws {
    /// Draws for `columns` columns: all rows first, column by column, then all blinds.
    pub fn new(columns: usize, rows: usize, rng: &mut impl Rng) -> Draws {
        let rows = (0..columns)
            .map(|_| (0..rows).map(|_| F::random(&mut *rng)).collect())
            .collect();
        Draws {
            rows,
            blinds: (0..columns).map(|_| F::random(&mut *rng)).collect(),
        }
    }
}
