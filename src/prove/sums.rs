//! Phase 3 of the witness behind the public columns: running sums.

use super::gather;
use super::witness::Phase1;
use ff::{BatchInvert, Field};
use rayon::prelude::*;
use zkinfer_circuits::F;
use zkinfer_circuits::fold::{Challenges, LateChallenges, small};
use zkinfer_circuits::gates::{Lookup, TableColumn, function_entry};
use zkinfer_circuits::layout::LaneWeights;
use zkinfer_circuits::verify::Plan;

/// `1/(α + entry)` for every entry of every table: the range table, then the functions'.
pub(crate) fn table_inverses(plan: &Plan, challenges: &Challenges) -> Vec<Vec<F>> {
    let layout = &plan.layout;
    let theta = challenges.theta.unwrap_or(F::ZERO);
    (0..=layout.functions)
        .into_par_iter()
        .map(|tag| {
            let entry = |x: usize| match tag.checked_sub(1) {
                Some(f) => function_entry(
                    challenges.alpha,
                    theta,
                    f,
                    x as u64,
                    u64::from(plan.program.tables[f][x]),
                ),
                None => challenges.alpha + F::from(x as u64),
            };
            let mut inverses: Vec<F> = (0..1usize << layout.range_bits).map(entry).collect();
            inverses.iter_mut().batch_invert();
            inverses
        })
        .collect()
}

/// Fewest rows that are worth a task.
const MIN_ROWS: usize = 256;

/// What is known when the last columns are filled: challenges, and what follows from them.
pub(crate) struct Late<'a> {
    /// [`table_inverses`].
    pub inverses: &'a [Vec<F>],
    pub challenges: &'a Challenges,
    pub late: &'a LateChallenges,
}

/// Fills the columns behind the public ones. `columns` holds all before.
pub(crate) fn running_sums(
    plan: &Plan,
    late: &Late<'_>,
    phase1: &Phase1,
    columns: &[Vec<F>],
) -> Vec<Vec<F>> {
    let layout = &plan.layout;
    let sums = &plan.description.sums;
    let rows = layout.last + 1;
    let first = layout.columns.public().end;
    let mut out = vec![vec![F::ZERO; rows]; layout.columns.advice() - first];
    for (column, lookups) in &sums.lookups {
        let term = |row| {
            let fraction = |l| looked_up(plan, late, phase1, l, row);
            lookups.iter().map(fraction).sum()
        };
        running(&mut out[column - first], F::ONE, term);
    }
    for (column, tables) in &sums.tables {
        let term = |row| {
            let fraction = |t: &TableColumn| match phase1.cells[t.multiplicity][row] {
                0 => F::ZERO,
                m => F::from(u64::from(m)) * late.inverses[t.tag][t.piece * layout.last + row],
            };
            tables.iter().map(fraction).sum()
        };
        running(&mut out[column - first], F::ONE, term);
    }
    if let Some(challenges) = &late.late.gather {
        for (column, lookup) in &sums.gathered {
            let terms = gather::of_keys(plan, challenges, phase1, columns, lookup);
            running(&mut out[column - first], F::ONE, |row| terms[row]);
        }
        for (column, numbered) in &sums.gathers {
            let terms = gather::of_numbers(plan, challenges, phase1, columns, numbered);
            running(&mut out[column - first], F::ONE, |row| terms[row]);
        }
    }
    let column = &mut out[sums.accumulators - first];
    accumulators(plan, &late.challenges.y, phase1, column);
    let column = &mut out[sums.products - first];
    if let Some(kappa) = sums.kappa {
        column[0] = -columns[kappa][0];
    }
    running(column, F::ONE, |row| products(plan, columns, row));
    if let (Some(h), Some(weights)) = (sums.coefficients, &layout.e_weights) {
        coefficients(plan, weights, &late.late.e, columns, &mut out[h - first]);
    }
    out
}

/// Fills a running sum: every row is `factor` times the one before, and its term.
fn running(column: &mut [F], factor: F, term: impl Fn(usize) -> F + Sync) {
    let Some((first, rest)) = column.split_first_mut() else {
        return;
    };
    let terms = rest.par_iter_mut().with_min_len(MIN_ROWS).enumerate();
    terms.for_each(|(row, term_of)| *term_of = term(row));
    let mut sum = *first;
    for next in rest {
        if factor != F::ONE {
            sum *= factor;
        }
        sum += &*next;
        *next = sum;
    }
}

/// The fraction of one look-up in a row.
fn looked_up(plan: &Plan, late: &Late<'_>, phase1: &Phase1, lookup: &Lookup, row: usize) -> F {
    let argument = lookup.argument.iter().map(|&c| phase1.cells[c][row]);
    let argument: u32 = argument.sum();
    let value = lookup.value.map(|c| phase1.cells[c][row]);
    let function = lookup.tag.checked_sub(1).map(|f| &plan.program.tables[f]);
    let entry = function
        .and_then(|f| f.get(argument as usize))
        .map(|&v| u32::from(v));
    match late.inverses[lookup.tag].get(argument as usize) {
        Some(inverse) if value == entry => *inverse,
        // Not in the table, which an honest run never looks up: the sums will not agree.
        _ => {
            let argument = u64::from(argument);
            let (alpha, theta) = (late.challenges.alpha, late.challenges.theta);
            let denominator = match (lookup.tag.checked_sub(1), value) {
                (Some(f), Some(v)) => {
                    let theta = theta.unwrap_or(F::ZERO);
                    function_entry(alpha, theta, f, argument, u64::from(v))
                }
                _ => alpha + F::from(argument),
            };
            denominator.invert().unwrap_or(F::ZERO)
        }
    }
}

/// The weights of lanes in a running sum, and its factor from row to row.
fn lane_weights(weights: &LaneWeights, constants: &[F]) -> (Vec<F>, F) {
    let first = constants.first();
    let step = first.map_or(F::ONE, |c| c.pow_vartime([weights.step as u64]));
    (weights.of_lanes(constants), step)
}

fn accumulators(plan: &Plan, constants: &[F], phase1: &Phase1, column: &mut [F]) {
    let (weights, step) = lane_weights(&plan.layout.y_weights, constants);
    running(column, step, |row| {
        let terms = phase1.accumulators.iter().zip(&weights);
        let terms = terms.filter(|(y, _)| y[row] != 0);
        terms.map(|(y, w)| small(y[row]) * w).sum()
    });
}

/// What the products' sum gains in a row.
fn products(plan: &Plan, columns: &[Vec<F>], row: usize) -> F {
    let layout = &plan.layout;
    let mut sum = F::ZERO;
    for port in &layout.ports {
        let folds = port.direct.into_iter().chain(port.free.map(|(c, _)| c));
        let fold: F = folds.map(|c| columns[c][row]).sum();
        if !bool::from(fold.is_zero()) {
            let one = F::from(u64::from(row == 0 && port.holds_one));
            sum += (columns[port.column][row] + one) * fold;
        }
    }
    for (column, &beta) in layout.weighed_columns().zip(&plan.description.sums.beta) {
        let b = columns[beta][row];
        if !bool::from(b.is_zero()) {
            sum -= columns[column][row] * b;
        }
    }
    sum
}

fn coefficients(
    plan: &Plan,
    weights: &LaneWeights,
    constants: &[F],
    columns: &[Vec<F>],
    column: &mut [F],
) {
    let (weights, step) = lane_weights(weights, constants);
    running(column, step, |row| {
        let free = plan.layout.ports.iter().filter_map(|p| p.free);
        free.map(|(c, number)| columns[c][row] * weights[number])
            .sum()
    });
}
