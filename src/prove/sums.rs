//! Phase 3 of the witness: constants and running sums.

use super::witness::Phase1;
use ff::{BatchInvert, Field};
use rayon::prelude::*;
use zkinfer_circuits::F;
use zkinfer_circuits::fold::{Challenges, LateChallenges, small};
use zkinfer_circuits::gates::function_entry;
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

/// Fills the columns behind phase 2. `columns` holds phases 1 and 2; `inverses` are [`table_inverses`]; `kappa` and `beta`
/// as in the instance.
#[allow(clippy::too_many_arguments)] // one call; a struct would only rename them
pub(crate) fn phase3(
    plan: &Plan,
    inverses: &[Vec<F>],
    phase1: &Phase1,
    columns: &[Vec<F>],
    challenges: &Challenges,
    late: &LateChallenges,
    kappa: F,
    beta: &[Vec<F>],
) -> Vec<Vec<F>> {
    let layout = &plan.layout;
    let sums = &plan.description.sums;
    let rows = layout.last + 1;
    let first = layout.columns.phase1() + layout.columns.phase2();
    let mut out = vec![vec![F::ZERO; rows]; layout.columns.advice() - first];

    let constants = [challenges.alpha].into_iter().chain(challenges.theta);
    let constants = constants
        .chain(challenges.y.iter().copied())
        .chain(late.e.iter().copied());
    for (column, value) in out.iter_mut().zip(constants) {
        column.fill(value);
    }

    let theta = challenges.theta.unwrap_or(F::ZERO);
    let running = |column: &mut Vec<F>, term: &dyn Fn(usize) -> F| {
        for row in 0..layout.last {
            column[row + 1] = column[row] + term(row);
        }
    };
    for (column, lookups) in &sums.lookups {
        running(&mut out[column - first], &|row| {
            lookups
                .iter()
                .map(|l| {
                    let argument: u32 = l.argument.iter().map(|&c| phase1.cells[c][row]).sum();
                    let value = l.value.map(|c| phase1.cells[c][row]);
                    let function = l.tag.checked_sub(1).map(|f| &plan.program.tables[f]);
                    let entry = function
                        .and_then(|f| f.get(argument as usize))
                        .map(|&v| u32::from(v));
                    match inverses[l.tag].get(argument as usize) {
                        Some(inverse) if value == entry => *inverse,
                        // Not in the table, which an honest run never looks up: the sums will not agree.
                        _ => {
                            let argument = u64::from(argument);
                            let denominator = match (l.tag.checked_sub(1), value) {
                                (Some(f), Some(v)) => function_entry(
                                    challenges.alpha,
                                    theta,
                                    f,
                                    argument,
                                    u64::from(v),
                                ),
                                _ => challenges.alpha + F::from(argument),
                            };
                            denominator.invert().unwrap_or(F::ZERO)
                        }
                    }
                })
                .sum()
        });
    }
    for (column, tables) in &sums.tables {
        running(&mut out[column - first], &|row| {
            tables
                .iter()
                .map(|t| match phase1.cells[t.multiplicity][row] {
                    0 => F::ZERO,
                    m => F::from(u64::from(m)) * inverses[t.tag][t.piece * layout.last + row],
                })
                .sum()
        });
    }

    let monomial = |constants: &[F], exponents: &[usize]| -> F {
        constants
            .iter()
            .zip(exponents)
            .map(|(c, &e)| c.pow_vartime([e as u64]))
            .product()
    };
    let weights: Vec<F> = layout
        .y_weights
        .exponents
        .iter()
        .map(|e| monomial(&challenges.y, e))
        .collect();
    let step = challenges
        .y
        .first()
        .map_or(F::ONE, |c| c.pow_vartime([layout.y_weights.step as u64]));
    let column = &mut out[sums.accumulators - first];
    for row in 0..layout.last {
        let terms = phase1
            .accumulators
            .iter()
            .zip(&weights)
            .filter(|(y, _)| y[row] != 0);
        column[row + 1] = column[row] * step + terms.map(|(y, w)| small(y[row]) * w).sum::<F>();
    }

    let column = &mut out[sums.products - first];
    column[0] = -kappa;
    for row in 0..layout.last {
        let mut sum = column[row];
        for port in &layout.ports {
            let folds = port.direct.into_iter().chain(port.free.map(|(c, _)| c));
            let fold: F = folds.map(|c| columns[c][row]).sum();
            if !bool::from(fold.is_zero()) {
                let one = if row == 0 && port.holds_one {
                    F::ONE
                } else {
                    F::ZERO
                };
                sum += (columns[port.column][row] + one) * fold;
            }
        }
        for (column, beta) in columns[layout.table_column(0)..].iter().zip(beta) {
            if let Some(b) = beta.get(row) {
                sum -= column[row] * b;
            }
        }
        column[row + 1] = sum;
    }

    if let (Some(h), Some(e_weights)) = (sums.coefficients, &layout.e_weights) {
        let weights: Vec<F> = e_weights
            .exponents
            .iter()
            .map(|e| monomial(&late.e, e))
            .collect();
        let step = late.e[0].pow_vartime([e_weights.step as u64]);
        let column = &mut out[h - first];
        for row in 0..layout.last {
            let terms = layout
                .ports
                .iter()
                .filter_map(|p| p.free)
                .map(|(c, number)| columns[c][row] * weights[number]);
            column[row + 1] = column[row] * step + terms.sum::<F>();
        }
    }
    out
}
