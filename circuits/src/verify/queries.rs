//! What a halo2 proof of a circuit opens, where, and in which order.
//!
//! Upstream's multi-point opening groups commitments by the set of points at which they are opened: the current row, or the
//! current and the next one. Within a set they are combined by powers of `x_1`, the last one first; the sets by powers of
//! `x_4`.

use crate::expr::AnyColumn;
use crate::gates::Description;
pub(super) use crate::gates::queries;
use std::collections::{BTreeSet, HashMap};

/// Rotations at which a column is read.
pub(super) type Rotations = BTreeSet<i32>;

/// Where a commitment stands among those that are opened: its set, and how many of that set come behind it. Where it is one
/// of a run's: in the last run.
pub(super) type Place = (usize, usize);

/// A column that is opened.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// Among the columns of its kind.
    pub column: usize,
    pub place: Place,
    /// For each rotation of the set, which of the evaluations it is.
    pub evaluations: Vec<usize>,
}

/// What is opened of a proof.
#[derive(Debug)]
pub(super) struct Queries {
    /// Evaluations of a run's columns.
    pub advice: Vec<(usize, i32)>,
    /// Evaluations of fixed columns.
    pub fixed: Vec<(usize, i32)>,
    /// Sets of rotations, in the order in which upstream meets them.
    pub sets: Vec<Vec<i32>>,
    /// Columns of one run in each set.
    pub each: Vec<usize>,
    pub opened_advice: Vec<Opened>,
    pub opened_fixed: Vec<Opened>,
    pub quotient: Place,
    pub random: Place,
}

impl Queries {
    pub fn new(description: &Description, queries: &[(AnyColumn, i32)]) -> Queries {
        debug_assert_eq!(description.instance, 0);
        let columns = columns(queries);
        // The quotient and the random polynomial come last, opened where the current row is.
        let current = Rotations::from([0]);
        let all = columns.iter().map(|(_, rotations)| rotations);
        let all: Vec<&Rotations> = all.chain([&current, &current]).collect();
        let mut sets: Vec<&Rotations> = Vec::new();
        for rotations in &all {
            if !sets.contains(rotations) {
                sets.push(rotations);
            }
        }
        let set = |rotations: &Rotations| sets.iter().position(|s| *s == rotations).unwrap_or(0);
        let mut each = vec![0; sets.len()];
        for (column, rotations) in &columns {
            each[set(rotations)] += usize::from(matches!(column, AnyColumn::Advice(_)));
        }
        let mut behind = vec![0; sets.len()];
        let mut place = |rotations: &&Rotations| {
            let set = set(rotations);
            behind[set] += 1;
            (set, behind[set] - 1)
        };
        let mut of_all: Vec<Place> = all.iter().rev().map(&mut place).collect();
        of_all.reverse();
        let evaluation = places(queries);
        let opened = |wanted: fn(&AnyColumn) -> Option<usize>| {
            let columns = columns.iter().zip(&of_all);
            let columns = columns.filter_map(|((any, rotations), place)| {
                let evaluations = rotations.iter().map(|r| evaluation[&(*any, *r)]);
                Some(Opened {
                    column: wanted(any)?,
                    place: *place,
                    evaluations: evaluations.collect(),
                })
            });
            columns.collect()
        };
        let listed = |wanted: fn(&AnyColumn) -> Option<usize>| {
            let queries = queries.iter();
            queries
                .filter_map(|(any, rotation)| Some((wanted(any)?, *rotation)))
                .collect()
        };
        let last = of_all.len() - 2;
        Queries {
            advice: listed(advice),
            fixed: listed(fixed),
            each,
            opened_advice: opened(advice),
            opened_fixed: opened(fixed),
            quotient: of_all[last],
            random: of_all[last + 1],
            sets: sets.iter().map(|s| s.iter().copied().collect()).collect(),
        }
    }

    /// Where a column of one of several runs stands: behind it come those of all later runs.
    pub fn place(&self, opened: &Opened, run: usize, runs: usize) -> Place {
        let (set, behind) = opened.place;
        (set, behind + (runs - 1 - run) * self.each[set])
    }
}

fn advice(column: &AnyColumn) -> Option<usize> {
    match column {
        AnyColumn::Advice(c) => Some(*c),
        _ => None,
    }
}

fn fixed(column: &AnyColumn) -> Option<usize> {
    match column {
        AnyColumn::Fixed(c) => Some(*c),
        _ => None,
    }
}

/// Which evaluation of its kind of columns a query is, in the order of a proof.
pub(super) fn places(queries: &[(AnyColumn, i32)]) -> HashMap<(AnyColumn, i32), usize> {
    let mut counts = [0; 3];
    let mut places = HashMap::with_capacity(queries.len());
    for query in queries {
        let count = &mut counts[rank(&query.0)];
        places.insert(*query, *count);
        *count += 1;
    }
    places
}

fn rank(column: &AnyColumn) -> usize {
    match column {
        AnyColumn::Instance(_) => 0,
        AnyColumn::Advice(_) => 1,
        AnyColumn::Fixed(_) => 2,
    }
}

/// Columns in the order in which upstream opens them (advice, fixed, each by its first query), with the rotations at which
/// they are read.
fn columns(queries: &[(AnyColumn, i32)]) -> Vec<(AnyColumn, Rotations)> {
    let mut sorted = queries.to_vec();
    sorted.sort_by_key(|(column, _)| rank(column));
    let mut columns: Vec<(AnyColumn, Rotations)> = Vec::new();
    let mut at = HashMap::new();
    for (column, rotation) in sorted {
        let place = *at.entry(column).or_insert_with(|| {
            columns.push((column, Rotations::new()));
            columns.len() - 1
        });
        columns[place].1.insert(rotation);
    }
    columns
}
