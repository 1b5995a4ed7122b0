//! Lies about running sums: multiplicities of lookups, accumulators of the fold, coefficients.

use super::*;

// --- lookups ----------------------------------------------------------------------------------------------------------

#[test]
fn wrong_multiplicity() {
    let multiplicities = |plan: &Plan, p: &mut witness::Phase1| {
        let (table, row) = entry(plan, 3);
        p.cells[table.multiplicity][row] += 1;
    };
    caught(
        &["lookup: sums agree"],
        Lie {
            multiplicities: Some(&multiplicities),
            ..Lie::default()
        },
    );
}

/// Adds `1/(α + 3)` to a running sum from `row` on; with a multiplicity that is one too large the sums agree.
fn hidden_multiplicity(gate: &str, values: bool, row: usize) {
    let multiplicities = |plan: &Plan, p: &mut witness::Phase1| {
        let (table, row) = entry(plan, 3);
        p.cells[table.multiplicity][row] += 1;
    };
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], challenges: &Challenges| {
        if phase == 5 {
            let delta = (challenges.alpha + F::from(3)).invert().unwrap();
            let sums = &plan.description.sums;
            let (column, delta) = if values {
                (sums.lookups[0].0, delta)
            } else {
                (sums.tables[0].0, -delta)
            };
            columns[column][row..].iter_mut().for_each(|v| *v += delta);
        }
    };
    caught(
        &[gate],
        Lie {
            multiplicities: Some(&multiplicities),
            columns: Some(&columns),
            ..Lie::default()
        },
    );
}

#[test]
fn value_sum_starts_elsewhere() {
    hidden_multiplicity("lookup: value sum 0 starts at zero", true, 0);
}

#[test]
fn value_sum_jumps() {
    hidden_multiplicity("lookup: value sum", true, 5);
}

#[test]
fn table_sum_starts_elsewhere() {
    hidden_multiplicity("lookup: table sum 0 starts at zero", false, 0);
}

#[test]
fn table_sum_jumps() {
    hidden_multiplicity("lookup: table sum", false, 5);
}

// --- fold -------------------------------------------------------------------------------------------------------------

/// A wrong accumulator, hidden by moving one of the fold's running sums by the right amount from `row` on.
fn hidden_accumulator(gate: &str, column: impl Fn(&Plan) -> usize, row: usize) {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, linear);
        p.cells[lane.x][1] += 1;
        p.accumulators[lane.first_candidate][1] += 1 << plan.layout.range_bits;
    };
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], _: &Challenges| {
        if phase != 5 {
            return;
        }
        let sums = &plan.description.sums;
        let last = plan.layout.last;
        let z = columns[sums.e_constants[0]][0];
        let h = sums.coefficients.unwrap();
        let gap =
            columns[sums.products][last] - columns[sums.accumulators][last] + z * columns[h][last];
        let moved = column(plan);
        let (step, mut shift) = if moved == sums.products {
            (F::ONE, -gap)
        } else if moved == h {
            (
                z.pow_vartime([plan.layout.e_weights.as_ref().unwrap().step as u64]),
                -gap * z.invert().unwrap(),
            )
        } else {
            let c0 = columns[sums.y_constants[0]][0];
            (c0.pow_vartime([plan.layout.y_weights.step as u64]), gap)
        };
        // Backwards, so that every step but the one into `row` is honest.
        let inverse = step.invert().unwrap();
        for t in (row..=last).rev() {
            columns[moved][t] += shift;
            shift *= inverse;
        }
    };
    caught(
        &[gate],
        Lie {
            cells: Some(&cells),
            columns: Some(&columns),
            output: &[(0, 1)],
            ..Lie::default()
        },
    );
}

#[test]
fn accumulators_start_elsewhere() {
    hidden_accumulator(
        "fold: accumulators start at zero",
        |p| p.description.sums.accumulators,
        0,
    );
}

#[test]
fn accumulators_jump() {
    hidden_accumulator("fold: accumulators", |p| p.description.sums.accumulators, 7);
}

#[test]
fn products_start_elsewhere() {
    hidden_accumulator(
        "fold: products start at -kappa",
        |p| p.description.sums.products,
        0,
    );
}

#[test]
fn products_jump() {
    hidden_accumulator("fold: products", |p| p.description.sums.products, 7);
}

#[test]
fn coefficients_start_elsewhere() {
    hidden_accumulator(
        "fold: coefficients start at zero",
        |p| p.description.sums.coefficients.unwrap(),
        0,
    );
}

#[test]
fn coefficients_jump() {
    hidden_accumulator(
        "fold: coefficients",
        |p| p.description.sums.coefficients.unwrap(),
        7,
    );
}

#[test]
fn free_coefficient_that_absorbs_a_wrong_accumulator() {
    // The first identity is made to hold by a coefficient that no weight gives; only the second one notices.
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, linear);
        p.cells[lane.x][1] += 1;
        p.accumulators[lane.first_candidate][1] += 1 << plan.layout.range_bits;
    };
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], challenges: &Challenges| {
        if phase == 3 {
            let lane = lane(plan, linear);
            let program = &plan.program;
            let coefficients = Coefficients::new(program, &plan.expanded, &plan.layout, challenges);
            let index = plan
                .layout
                .lanes
                .iter()
                .position(|l| l.x == lane.x)
                .unwrap();
            let gap = coefficients.rho(index, 0, 1) * F::from(1 << plan.layout.range_bits);
            let port = plan
                .layout
                .ports
                .iter()
                .find(|p| p.free.is_some() && plan.layout.lanes[p.lane].kind == BankKind::Input)
                .unwrap();
            let row = (1..).find(|&r| columns[port.column][r] != F::ZERO).unwrap();
            let x = columns[port.column][row];
            columns[port.free.unwrap().0][row] += gap * x.invert().unwrap();
        }
    };
    caught(
        &["fold: sums agree"],
        Lie {
            cells: Some(&cells),
            columns: Some(&columns),
            output: &[(0, 1)],
            ..Lie::default()
        },
    );
}
