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
    /// Draws for several circuits, one after the other: all rows first, column by column, then all blinds. A column that is
    /// `repeated` in all circuits has the draws of the first one's.
    pub fn new(circuits: usize, repeated: &[bool], rows: usize, rng: &mut impl Rng) -> Vec<Draws> {
        let mut all: Vec<Draws> = Vec::with_capacity(circuits);
        for _ in 0..circuits {
            let first = all.first();
            let of_first = |i: usize| first.filter(|_| repeated[i]);
            let rows = (0..repeated.len())
                .map(|i| match of_first(i) {
                    Some(first) => first.rows[i].clone(),
                    None => (0..rows).map(|_| F::random(&mut *rng)).collect(),
                })
                .collect();
            let blinds = (0..repeated.len())
                .map(|i| match of_first(i) {
                    Some(first) => first.blinds[i],
                    None => F::random(&mut *rng),
                })
                .collect();
            all.push(Draws { rows, blinds });
        }
        all
    }
}

/// Whoever knows the blinding of a column can take it off its commitment.
impl Drop for Draws {
    fn drop(&mut self) {
        self.rows.iter_mut().for_each(|row| wipe(row));
        wipe(&mut self.blinds);
    }
}

/// Overwrites secrets; the compiler is told that somebody may look.
pub(crate) fn wipe<T: Clone + Default>(secrets: &mut [T]) {
    secrets.fill(T::default());
    std::hint::black_box(secrets);
}
