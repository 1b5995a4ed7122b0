//! Folded weights that are looked up by their numbers: what stands beside the keys, how often each is looked up, and the running
//! sums of both.

use super::witness::Phase1;
use ff::{BatchInvert, Field};
use zkinfer_circuits::F;
use zkinfer_circuits::fold::{GatherChallenges, small};
use zkinfer_circuits::gates::{KeyLookup, NumberedColumn};
use zkinfer_circuits::layout::Gather;
use zkinfer_circuits::verify::Plan;

/// `G` column and row of the weight of a number, if there is one.
fn place(gather: &Gather, key: i64) -> Option<(usize, usize)> {
    let key = usize::try_from(key).ok()?;
    let at = gather.pieces.partition_point(|p| p.inputs.end <= key);
    let piece = gather.pieces.get(at)?;
    Some((piece.column, piece.row + key - piece.inputs.start))
}

/// The keys of a lane, row by row.
fn keys<'a>(plan: &Plan, phase1: &'a Phase1, lane: usize) -> &'a [i64] {
    let lane = &plan.layout.lanes[lane];
    &phase1.accumulators[lane.first_candidate][..plan.layout.last]
}

/// The `V` columns: the folded weight of every key. `columns` holds the `G` columns.
pub(crate) fn looked_up(plan: &Plan, phase1: &Phase1, columns: &[Vec<F>]) -> Vec<Vec<F>> {
    let layout = &plan.layout;
    let of_lane = |gathered: &zkinfer_circuits::layout::Gathered| {
        let gather = &layout.gathers[gathered.gather];
        let weight = |key: &i64| {
            let place = place(gather, *key);
            // Of an honest run every key is a number.
            place.map_or(F::ZERO, |(g, row)| columns[layout.gather_column(g)][row])
        };
        let mut column: Vec<F> = keys(plan, phase1, gathered.lane)
            .iter()
            .map(weight)
            .collect();
        column.push(F::ZERO);
        column
    };
    layout.gathered.iter().map(of_lane).collect()
}

/// Counts how often every weight is looked up.
pub(crate) fn count(plan: &Plan, phase1: &mut Phase1) {
    let layout = &plan.layout;
    for i in 0..layout.columns.gathers {
        phase1.cells[layout.gather_multiplicity(i)].fill(0);
    }
    for (_, lookup) in &plan.description.sums.gathered {
        let gather = &layout.gathers[lookup.gather];
        let places = keys(plan, phase1, lookup.lane).iter();
        let places: Vec<_> = places.filter_map(|key| place(gather, *key)).collect();
        for (column, row) in places {
            phase1.cells[layout.gather_multiplicity(column)][row] += 1;
        }
    }
}

/// `1/(α + key + θ·(V + θ·tag))` in every row of a lane.
pub(crate) fn of_keys(
    plan: &Plan,
    challenges: &GatherChallenges,
    phase1: &Phase1,
    columns: &[Vec<F>],
    lookup: &KeyLookup,
) -> Vec<F> {
    let tag = F::from(if lookup.is_tagged {
        lookup.gather as u64 + 1
    } else {
        0
    });
    let keys = keys(plan, phase1, lookup.lane).iter().enumerate();
    let entry = |(row, &key): (usize, &i64)| {
        let value = lookup.value.map_or(F::ZERO, |c| columns[c][row]);
        challenges.entry(small(key), value, tag)
    };
    let mut fractions: Vec<F> = keys.map(entry).collect();
    fractions.iter_mut().batch_invert();
    fractions
}

/// `m/(α + number + θ·(G + θ·tag))` in every row of a `G` column.
pub(crate) fn of_numbers(
    plan: &Plan,
    challenges: &GatherChallenges,
    phase1: &Phase1,
    columns: &[Vec<F>],
    numbered: &NumberedColumn,
) -> Vec<F> {
    let fixed = |column: usize, row: usize| F::from(u64::from(plan.fixed[column][row]));
    let entry = |row: usize| {
        let value = numbered.value.map_or(F::ZERO, |c| columns[c][row]);
        let tag = numbered.tag.map_or(F::ZERO, |c| fixed(c, row));
        challenges.entry(fixed(numbered.number, row), value, tag)
    };
    let counts = &phase1.cells[numbered.multiplicity][..plan.layout.last];
    let used = |row: &usize| counts[*row] != 0;
    let rows: Vec<usize> = (0..counts.len()).filter(used).collect();
    let mut inverses: Vec<F> = rows.iter().map(|&row| entry(row)).collect();
    inverses.iter_mut().batch_invert();
    let mut fractions = vec![F::ZERO; counts.len()];
    for (row, inverse) in rows.into_iter().zip(inverses) {
        fractions[row] = inverse * F::from(u64::from(counts[row]));
    }
    fractions
}
