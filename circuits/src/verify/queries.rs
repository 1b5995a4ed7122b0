//! Which evaluations a halo2 proof of a circuit consists of, and how long it is.

use super::Plan;
use crate::expr::AnyColumn;
pub(super) use crate::gates::queries;
use halo2_proofs::plonk::VerifyingKey;

/// Bytes of a point or a scalar.
const SIZE: usize = 32;

/// Lengths of a proof's halo2 bytes: `runs·each + once`. See `docs/formats.md`, section 4.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    each: usize,
    once: usize,
}

impl Lengths {
    pub fn new(plan: &Plan, key: &VerifyingKey<crate::C>) -> Lengths {
        let queries = queries(&plan.description);
        let fixed = |column: &AnyColumn| matches!(column, AnyColumn::Fixed(_));
        let fixed = queries.iter().filter(|(column, _)| fixed(column)).count();
        let pieces = key.get_domain().get_quotient_poly_degree();
        let k = plan.layout.k as usize;
        // Random polynomial and its evaluation, quotient of the multi-point opening, blinding commitment, the last two scalars.
        let once = pieces + fixed + sets(&queries).len() + 2 * k + 6;
        Lengths {
            each: plan.description.advice + queries.len() - fixed,
            once,
        }
    }

    /// Length for a number of runs.
    pub fn of(&self, runs: usize) -> usize {
        self.each
            .saturating_mul(runs)
            .saturating_add(self.once)
            .saturating_mul(SIZE)
    }
}

/// Rotations at which a column is read.
pub(super) type Rotations = std::collections::BTreeSet<i32>;

/// Columns in the order in which upstream opens them (instance, advice, fixed, each by its first query), with the rotations
/// at which they are read.
pub(super) fn columns(queries: &[(AnyColumn, i32)]) -> Vec<(AnyColumn, Rotations)> {
    let rank = |column: &AnyColumn| match column {
        AnyColumn::Instance(_) => 0,
        AnyColumn::Advice(_) => 1,
        AnyColumn::Fixed(_) => 2,
    };
    let mut sorted = queries.to_vec();
    sorted.sort_by_key(|(column, _)| rank(column));
    let mut columns: Vec<(AnyColumn, Rotations)> = Vec::new();
    let mut at = std::collections::HashMap::new();
    for (column, rotation) in sorted {
        let place = *at.entry(column).or_insert_with(|| {
            columns.push((column, Rotations::new()));
            columns.len() - 1
        });
        columns[place].1.insert(rotation);
    }
    columns
}

/// The different sets of rotations, in the order in which upstream meets them. The quotient and the random polynomial come
/// last, and are opened where the current row is.
pub(super) fn sets(queries: &[(AnyColumn, i32)]) -> Vec<Rotations> {
    let mut sets: Vec<Rotations> = Vec::new();
    let rotations = columns(queries).into_iter().map(|(_, rotations)| rotations);
    for rotations in rotations.chain([Rotations::from([0])]) {
        if !sets.contains(&rotations) {
            sets.push(rotations);
        }
    }
    sets
}
