//! Lies about what is looked up by keys.

use super::*;

/// A lie about the row of a lane of keys that no key is in: name, whether it passes the weakened description, and what the whole
/// one says.
pub(super) fn about(
    table: &Table,
    weak: &Plan,
    mutation: &Mutation,
) -> Option<(&'static str, bool, Vec<String>)> {
    let plan = table.plan();
    let layout = &plan.layout;
    let row = layout.last - 1;
    let lane = match mutation {
        Mutation::Key(lane) => *lane,
        Mutation::KeyWeights | Mutation::KeyTables => 0,
        _ => return None,
    };
    let (own, column) = (layout.gathered[lane].gather, layout.gathered_column(lane));
    let first = |gather: usize| {
        let piece = &layout.gathers[gather].pieces[0];
        (piece.column, piece.row)
    };
    let (other, at) = first(1 - own);
    let from = layout.gather_column(other);
    let another_table = *mutation == Mutation::KeyTables;
    let weight = move |columns: &mut [Vec<F>]| {
        columns[column][row] = match another_table {
            true => columns[from][at],
            false => columns[column][row] + F::ONE,
        };
    };
    // Counted where it comes from.
    let (counted, uncounted) = (layout.gather_multiplicity(other), first(own));
    let own_count = layout.gather_multiplicity(uncounted.0);
    let count = move |p: &mut Phase1| {
        if another_table {
            p.cells[counted][at] += 1;
            p.cells[own_count][uncounted.1] -= 1;
        }
    };
    let lie = Lie {
        multiplicities: Some(&count),
        columns: Some(&weight),
        ..Lie::default()
    };
    let name = match another_table {
        true => "a row of another table",
        false => "another row",
    };
    let (without, with) = (table.violated(weak, &lie), table.violated(plan, &lie));
    Some((name, without.is_empty(), with))
}
