//! Lies about running sums.

use super::*;

/// The same about sums of rows that are looked up.
fn about_gathers(
    table: &Table,
    weak: &Plan,
    gate: &str,
) -> Option<(&'static str, bool, Vec<String>)> {
    let plan = table.plan();
    let (layout, sums) = (&plan.layout, &plan.description.sums);
    let (counted, entry) = (layout.gather_multiplicity(0), &sums.gathers[0].1);
    let one_more = |p: &mut Phase1| p.cells[counted][3] += 1;
    let challenges = table.late.gather?;
    let fixed = |column: usize| F::from(u64::from(plan.fixed[column][3]));
    let weight = table.phase2[layout.gather_column(0) - layout.columns.phase1()][3];
    let fraction = challenges.entry(fixed(entry.number), weight, fixed(entry.tag?));
    let fraction = fraction.invert().unwrap();
    let number = |prefix: &str| -> Option<usize> {
        gate.strip_prefix(prefix)?.split(' ').next()?.parse().ok()
    };
    let moved = match (number("gather: value sum "), number("gather: table sum ")) {
        (Some(i), _) => Some((sums.gathered[i].0, fraction)),
        (_, Some(i)) => Some((sums.gathers[i].0, -fraction)),
        _ => None,
    };
    let row = if gate.ends_with("zero") { 0 } else { 5 };
    let shift = move |columns: &mut [Vec<F>]| {
        if let Some((column, by)) = moved {
            columns[column][row..].iter_mut().for_each(|v| *v += by);
        }
    };
    let lie = Lie {
        multiplicities: Some(&one_more),
        sums: Some(&shift),
        ..Lie::default()
    };
    let name = match moved {
        Some(_) => "a sum that is moved",
        None => "one multiplicity too many",
    };
    let (without, with) = (table.violated(weak, &lie), table.violated(plan, &lie));
    Some((name, without.is_empty(), with))
}

/// Lies about running sums: name, whether it passes without the gate, and what is violated with it.
pub(super) fn about_sums(
    table: &Table,
    weak: &Plan,
    gate: &str,
) -> Option<(&'static str, bool, Vec<String>)> {
    let plan = table.plan();
    let (sums, last) = (&plan.description.sums, plan.layout.last);
    let judge = |name, lie: &Lie<'_>| {
        let (without, with) = (table.violated(weak, lie), table.violated(plan, lie));
        Some((name, without.is_empty(), with))
    };
    let number = |prefix: &str| -> Option<usize> {
        gate.strip_prefix(prefix)?.split(' ').next()?.parse().ok()
    };
    let entry = sums
        .tables
        .iter()
        .flat_map(|(_, t)| t)
        .find(|t| t.tag == 0)?;
    let one_more = |p: &mut Phase1| p.cells[entry.multiplicity][3] += 1;
    let output = plan.layout.output_lanes().next()?;
    let shift = |column: usize, row: usize, by: F| {
        move |columns: &mut [Vec<F>]| columns[column][row..].iter_mut().for_each(|v| *v += by)
    };
    let fraction = (table.challenges.alpha + F::from(3)).invert().unwrap();
    if gate == "lookup: sums agree" {
        let lie = Lie {
            multiplicities: Some(&one_more),
            ..Lie::default()
        };
        return judge("one multiplicity too many", &lie);
    }
    for (prefix, columns, sign) in [
        (
            "lookup: value sum ",
            sums.lookups.iter().map(|s| s.0).collect::<Vec<_>>(),
            F::ONE,
        ),
        (
            "lookup: table sum ",
            sums.tables.iter().map(|s| s.0).collect(),
            -F::ONE,
        ),
    ] {
        if let Some(i) = number(prefix) {
            let row = if gate.ends_with("zero") { 0 } else { 5 };
            let moved = shift(columns[i], row, sign * fraction);
            let lie = Lie {
                multiplicities: Some(&one_more),
                sums: Some(&moved),
                ..Lie::default()
            };
            return judge("a sum that is moved", &lie);
        }
    }
    if gate.starts_with("gather: ") {
        return about_gathers(table, weak, gate);
    }
    // A wrong result of an output, hidden by moving one of the fold's sums from a row on.
    let wrong = |p: &mut Phase1| {
        p.cells[output.x][1] ^= 1;
        let step = if p.cells[output.x][1] & 1 == 1 { 1 } else { -1 };
        p.accumulators[output.first_candidate][1] += step << plan.layout.range_bits;
    };
    let (column, row) = match gate {
        "fold: sums agree" => {
            let lie = Lie {
                cells: Some(&wrong),
                ..Lie::default()
            };
            return judge("a wrong accumulator", &lie);
        }
        "fold: accumulators" => (sums.accumulators, 7),
        "fold: accumulators start at zero" => (sums.accumulators, 0),
        "fold: products" => (sums.products, 7),
        "fold: products start at -kappa" => (sums.products, 0),
        "fold: coefficients" => (sums.coefficients?, 7),
        "fold: coefficients start at zero" => (sums.coefficients?, 0),
        _ => return None,
    };
    let moved = |columns: &mut [Vec<F>]| {
        let z = sums.e_constants.first().map(|&c| columns[c][0]);
        let second = sums
            .coefficients
            .map_or(F::ZERO, |h| z.unwrap() * columns[h][last]);
        let gap = columns[sums.products][last] - columns[sums.accumulators][last] + second;
        let (step, mut by) = if column == sums.products {
            (F::ONE, -gap)
        } else if Some(column) == sums.coefficients {
            let z = z.unwrap();
            let step = plan.layout.e_weights.as_ref().unwrap().step as u64;
            (z.pow_vartime([step]), -gap * z.invert().unwrap())
        } else {
            let step = plan.layout.y_weights.step as u64;
            (columns[sums.y_constants[0]][0].pow_vartime([step]), gap)
        };
        // Backwards, so that every step but the one into `row` is honest.
        let inverse = step.invert().unwrap();
        for t in (row..=last).rev() {
            columns[column][t] += by;
            by *= inverse;
        }
    };
    let lie = Lie {
        cells: Some(&wrong),
        sums: Some(&moved),
        ..Lie::default()
    };
    judge("a sum that is moved", &lie)
}
