//! What lanes look up and multiply: how many columns that takes, and which cells are in it.
//!
//! The layout numbers the columns; [`crate::gates`] makes constraints of them.

use super::{BankKind, Lane};
use crate::program::Unit;

/// Most factors in a product under the selector.
const FACTORS: usize = 4;
/// Degree available to the denominators of one running sum of the lookup argument.
const LOOKUP_DEGREE: usize = 3;

/// Fixed columns in front of the tables: the selectors.
pub(crate) const FIXED_TABLES: usize = 3;

/// One looked-up value per row.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// `0` is the range table, `1 + i` function table `i`.
    pub tag: usize,
    /// Advice columns whose sum is the argument.
    pub argument: Vec<usize>,
    /// Advice column of the function's value.
    pub value: Option<usize>,
}

/// One column of a table: `last` consecutive entries.
#[derive(Clone, Debug)]
pub struct TableColumn {
    /// See [`Lookup::tag`].
    pub tag: usize,
    /// Which piece of the table.
    pub piece: usize,
    /// Advice column of the multiplicities.
    pub multiplicity: usize,
    /// Fixed column of the arguments.
    pub argument: usize,
    /// Fixed column of `f`, for functions.
    pub value: Option<usize>,
}

/// Number of partial products that a unit's zero test needs.
pub fn product_cells(unit: &Unit) -> usize {
    product_plan(zero_factors(unit)).len()
}

/// Factors of the zero test of a maximum: one of the candidates' `below` is zero, or `x` is if zero takes part.
fn zero_factors(unit: &Unit) -> usize {
    if unit.has_below() {
        unit.window as usize + usize::from(unit.low)
    } else {
        0
    }
}

/// The partial products of a lane: cell, and the cells that are multiplied, in order.
pub fn product_steps(lane: &Lane) -> Vec<(usize, Vec<usize>)> {
    let BankKind::Unit { unit, .. } = &lane.kind else {
        return Vec::new();
    };
    let mut factors = zero_test(lane, unit);
    let mut steps = Vec::new();
    for (&merged, &cell) in product_plan(factors.len()).iter().zip(&lane.products) {
        let rest = factors.split_off(merged);
        steps.push((cell, std::mem::replace(&mut factors, rest)));
        factors.push(cell);
    }
    steps
}

/// Cells of which one is zero: max(0 if low, v_0, v_1, …) = x is at least each of them because `below` is in range, and
/// equal to one of them.
pub(crate) fn zero_test(lane: &Lane, unit: &Unit) -> Vec<usize> {
    let mut factors = lane.below.clone();
    if unit.low {
        factors.push(lane.x);
    }
    factors
}

/// Number of factors that go into each partial product so that at most [`FACTORS`] remain at the end.
fn product_plan(factors: usize) -> Vec<usize> {
    let mut excess = factors.saturating_sub(FACTORS);
    let mut plan = Vec::new();
    while excess > 0 {
        let merged = excess.min(FACTORS - 1);
        plan.push(merged + 1);
        excess -= merged;
    }
    plan
}

/// What a lane looks up.
fn lane_lookups(lane: &Lane) -> Vec<Lookup> {
    let range = |argument: Vec<usize>| Lookup {
        tag: 0,
        argument,
        value: None,
    };
    let BankKind::Unit { unit, .. } = &lane.kind else {
        return vec![range(vec![lane.x])];
    };
    let rests = lane.rem.iter().copied().chain(lane.middle);
    let mut lookups: Vec<Lookup> = rests.map(|c| range(vec![c])).collect();
    for (&table, &column) in unit.tables.iter().zip(&lane.tables) {
        lookups.push(Lookup {
            tag: 1 + table as usize,
            argument: vec![lane.x],
            value: Some(column),
        });
    }
    // Where gates force all but one of several cells to be zero, their sum is looked up once.
    match (lane.above, unit.window) {
        (Some(above), _) => {
            // below ≠ 0 only where x = 0, above ≠ 0 only where x = 2^T − 1.
            let mut outside = lane.below.clone();
            outside.push(above);
            lookups.push(range(outside));
            if lane.tables.is_empty() {
                lookups.push(range(vec![lane.x]));
            }
        }
        (None, 1) if unit.low && lane.tables.is_empty() => {
            lookups.push(range(vec![lane.x, lane.below[0]]))
        } // x·below = 0
        (None, _) => {
            lookups.extend(lane.below.iter().map(|&c| range(vec![c])));
            if lane.tables.is_empty() {
                lookups.push(range(vec![lane.x]));
            }
        }
    }
    lookups
}

/// Distributes items with a degree (2 for functions, 1 for ranges) over running sums.
fn pack<T>(functions: Vec<T>, ranges: Vec<T>) -> Vec<Vec<T>> {
    let mut ranges = ranges.into_iter().peekable();
    let mut sums: Vec<Vec<T>> = Vec::new();
    for f in functions {
        let mut sum = vec![f];
        sum.extend(ranges.next());
        sums.push(sum);
    }
    while ranges.peek().is_some() {
        sums.push(ranges.by_ref().take(LOOKUP_DEGREE).collect());
    }
    sums
}

pub(crate) fn pack_lookups(lanes: &[Lane]) -> Vec<Vec<Lookup>> {
    let (functions, ranges) = lanes
        .iter()
        .flat_map(lane_lookups)
        .partition(|l| l.value.is_some());
    pack(functions, ranges)
}

/// Number of running sums for all lookups of these lanes.
pub fn lookup_sums(lanes: &[Lane]) -> usize {
    pack_lookups(lanes).len()
}

pub(crate) fn pack_tables(
    table_columns: usize,
    functions: usize,
    first_multiplicity: usize,
) -> Vec<Vec<TableColumn>> {
    let column = |tag: usize, piece: usize| TableColumn {
        tag,
        piece,
        multiplicity: first_multiplicity + tag * table_columns + piece,
        argument: FIXED_TABLES + piece,
        value: (tag > 0).then_some(FIXED_TABLES + tag * table_columns + piece),
    };
    let functions = (1..=functions)
        .flat_map(|tag| (0..table_columns).map(move |p| (tag, p)))
        .map(|(t, p)| column(t, p))
        .collect();
    pack(
        functions,
        (0..table_columns).map(|p| column(0, p)).collect(),
    )
}

/// Number of running sums for all table columns.
pub fn table_sums(table_columns: usize, functions: usize) -> usize {
    pack_tables(table_columns, functions, 0).len()
}
