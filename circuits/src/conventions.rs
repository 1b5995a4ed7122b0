//! What the arguments take for granted about a layout and its gates, checked in one place whenever a plan is made.
//!
//! None of it can fail for a program that was checked: [`crate::layout`] and [`crate::gates`] make it so. Soundness rests on
//! it all the same, so it is not left to two files agreeing with each other.
//!
//! | convention | what rests on it |
//! |---|---|
//! | six rows behind row `last`, at most three rotations per column, gates of degree at most 5 | upstream blinds as many rows as [`BLINDING_ROWS`] says, and the link allows entries there alone |
//! | every gate is multiplied by a selector that is zero behind row `last` | blinding rows constrain nothing and hold nothing |
//! | row 0 of every lane is empty, and the first row of every input lane has a gate | the fold adds the constant one there |
//! | input lanes come first | the first port can always carry the constant one |
//! | the constant one stands at results and inputs, never at hints, lower parts or table values | their row 0 is not known to be zero |
//! | a maximum has neither an upper clamp nor a table and is not deep | its lower parts are looked up one by one; there is one middle part |
//! | the columns of challenges, `κ` and `β` are the public ones, in that order, and read in the current row only | the link ties the public columns, one by one, to what the verifier computes; one that were left out would hold anything |
//! | every lane of keys is looked up with the tag of its gather, every number of a gather has its row, and no other row a tag | a key finds its own weight and no other |
//! | `T`, `U`, `V` and `G` end before row `last` | `β` does, too |
//! | a cell belongs to one slot, in a lane of its node's kind | columns of inputs and outputs hold nothing else, so they can be linked |

use crate::error::LayoutError;
use crate::expr::{AnyColumn, Expr};
use crate::gates::{ACTIVE, Description, FIRST, LAST, queries};
use crate::layout::{BLINDING_ROWS, BankKind, Fold, Layout, Stretch};
use crate::program::{Node, Program};
use std::collections::BTreeMap;

/// Highest degree of a gate.
pub const MAX_DEGREE: usize = 5;
/// Most rotations at which a column may be read for upstream to blind [`BLINDING_ROWS`] rows.
const MAX_ROTATIONS: usize = 3;

/// Checks all conventions.
///
/// # Errors
/// [`LayoutError::Convention`] names the one that is broken.
pub fn check(
    program: &Program,
    layout: &Layout,
    description: &Description,
    fixed: &[Vec<u32>],
) -> Result<(), LayoutError> {
    let broken = |what| Err(LayoutError::Convention { what });
    if layout.last + 1 + BLINDING_ROWS != layout.rows() {
        return broken("six rows are left for blinding values");
    }
    if !has_few_rotations(description) {
        return broken("upstream blinds six rows");
    }
    if description
        .gates
        .iter()
        .any(|g| g.poly.degree() > MAX_DEGREE)
    {
        return broken("gates have degree at most 5");
    }
    if !description.gates.iter().all(|g| selected(&g.poly)) || !selectors_end(layout, fixed) {
        return broken("gates are off behind the last row");
    }
    if !public_columns_are_linked(layout, description) {
        return broken("challenges, kappa and beta stand in the public columns");
    }
    if !has_constraints_alone(description, fixed) {
        return broken("the circuit consists of constraints alone");
    }
    if !gathers_are_looked_up(program, layout, description, fixed) {
        return broken("every key is looked up among the numbers of its own gather");
    }
    if !folds_fit(layout) {
        return broken("folded weights and activations end before the last row");
    }
    if !has_empty_first_rows(layout, description) {
        return broken("the first row of every input is empty");
    }
    if !inputs_come_first(layout) {
        return broken("input lanes come first");
    }
    if !ones_are_known(layout) {
        return broken("the constant one stands where the first row is known to be zero");
    }
    if !maxima_are_alone(layout) {
        return broken("a maximum has neither an upper clamp nor a table and is not deep");
    }
    if !cells_are_distinct(program, layout) {
        return broken("every slot has a cell of its own, in a lane of its kind");
    }
    Ok(())
}

fn has_few_rotations(description: &Description) -> bool {
    let mut rotations: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
    for (column, rotation) in queries(description) {
        match column {
            AnyColumn::Advice(c) if (0..=1).contains(&rotation) => {
                rotations.entry(c).or_default().push(rotation);
            }
            AnyColumn::Fixed(_) | AnyColumn::Instance(_) if rotation == 0 => {}
            _ => return false,
        }
    }
    rotations.values().all(|r| r.len() <= MAX_ROTATIONS)
}

/// Whether a gate's first factor is one of the selectors.
fn selected(poly: &Expr) -> bool {
    match poly {
        Expr::Product(first, _) => selected(first),
        Expr::Fixed(q) => [ACTIVE, FIRST, LAST].contains(&q.column),
        _ => false,
    }
}

fn selectors_end(layout: &Layout, fixed: &[Vec<u32>]) -> bool {
    let on = |column: usize, rows: std::ops::Range<usize>| {
        let column = fixed.get(column);
        column.is_some_and(|c| {
            c.len() == layout.rows()
                && c.iter()
                    .enumerate()
                    .all(|(row, &v)| v == u32::from(rows.contains(&row)))
        })
    };
    let last = layout.last;
    on(ACTIVE, 0..last) && on(FIRST, 0..1) && on(LAST, last..last + 1)
}

fn public_columns_are_linked(layout: &Layout, description: &Description) -> bool {
    let sums = &description.sums;
    let columns = [sums.alpha].into_iter().chain(sums.theta);
    let columns = columns
        .chain(sums.y_constants.iter().copied())
        .chain(sums.e_constants.iter().copied())
        .chain(sums.gather_constants.into_iter().flatten());
    let constants = columns.clone().count() == layout.columns.constants;
    let columns = columns.chain(sums.kappa).chain(sums.beta.iter().copied());
    let public = layout.columns.public();
    let next = |q: &(AnyColumn, i32)| matches!(q, (AnyColumn::Advice(c), r) if public.contains(c) && *r != 0);
    let weighed = layout.weighed_columns().count();
    let beta = match sums.kappa {
        Some(_) => sums.beta.len() == weighed,
        None => sums.beta.is_empty() && weighed == 0,
    };
    constants
        && beta
        && description.instance == 0
        && columns.eq(public.clone())
        && !queries(description).iter().any(next)
}

/// The verifier evaluates constraints, and knows nothing of copies, instances or lookup arguments.
fn has_constraints_alone(description: &Description, fixed: &[Vec<u32>]) -> bool {
    description.equality.is_empty()
        && description.copies.is_empty()
        && description.instance == 0
        && description.fixed == fixed.len()
}

fn folds_fit(layout: &Layout) -> bool {
    let gathers = layout.gather_rows.iter().copied();
    layout.table_rows.len() == layout.columns.table
        && layout.value_rows.len() == layout.columns.values
        && layout.gather_rows.len() == layout.columns.gathers
        && layout.gathered.len() == layout.columns.gathered
        && (layout.weighed_rows().chain(gathers)).all(|rows| rows <= layout.last)
}

/// Whether every lane of keys has its look-up, with the tag of its own gather, and every gather its numbers, each once.
fn gathers_are_looked_up(
    program: &Program,
    layout: &Layout,
    description: &Description,
    fixed: &[Vec<u32>],
) -> bool {
    let sums = &description.sums;
    let keys = layout.lanes.iter().enumerate().filter_map(|(i, lane)| {
        let BankKind::Unit {
            keys: Some(keys), ..
        } = lane.kind
        else {
            return None;
        };
        Some((i, keys as usize))
    });
    let looked_up = sums.gathered.iter().enumerate().map(|(i, (_, lookup))| {
        let whole = lookup.is_tagged && lookup.value == Some(layout.gathered_column(i));
        whole.then_some((lookup.lane, lookup.gather))
    });
    let in_order = keys.map(Some).eq(looked_up);
    let numbered = sums.gathers.iter().enumerate().all(|(i, (_, column))| {
        column.value == Some(layout.gather_column(i))
            && column.multiplicity == layout.gather_multiplicity(i)
            && column.tag == Some(column.number + 1)
    });
    in_order
        && numbered
        && sums.gathers.len() == layout.columns.gathers
        && sums.gathered.len() == layout.columns.gathered
        && sums.gather_constants.is_some() != layout.gathers.is_empty()
        && numbers_are_those(program, layout, description, fixed)
}

/// Whether the fixed columns have every number of every gather in the row of its folded weight, and a tag nowhere else.
fn numbers_are_those(
    program: &Program,
    layout: &Layout,
    description: &Description,
    fixed: &[Vec<u32>],
) -> bool {
    let gathers = &description.sums.gathers;
    let column = |i: usize, tag: bool| fixed.get(gathers.get(i)?.1.number + usize::from(tag));
    let mut tagged = 0;
    for (tag, gather) in (1..).zip(&layout.gathers) {
        let Some(Node::Neurons(n)) = program.nodes.get(gather.node) else {
            return false;
        };
        let mut next = 0;
        for piece in &gather.pieces {
            let (Some(numbers), Some(tags)) =
                (column(piece.column, false), column(piece.column, true))
            else {
                return false;
            };
            let rows = piece.row..piece.row + piece.inputs.len();
            let whole = piece.inputs.start == next && rows.end <= layout.last;
            let right = |(row, input): (usize, usize)| {
                numbers.get(row) == Some(&(input as u32)) && tags.get(row) == Some(&tag)
            };
            if !whole || !rows.clone().zip(piece.inputs.clone()).all(right) {
                return false;
            }
            next = piece.inputs.end;
            tagged += rows.len();
        }
        if n.terms.get(gather.term).map(|t| t.inputs as usize) != Some(next) {
            return false;
        }
    }
    let all = (0..gathers.len()).filter_map(|i| column(i, true));
    all.flatten().filter(|&&tag| tag != 0).count() == tagged
}

fn has_empty_first_rows(layout: &Layout, description: &Description) -> bool {
    let in_use = |s: &Stretch| s.cell.row >= 1 && s.cell.row as usize + s.len <= layout.last;
    let placements = layout.placements.iter().flatten();
    let mut inputs = layout.lanes.iter().filter(|l| l.kind == BankKind::Input);
    placements.flat_map(|p| p.cells.stretches()).all(in_use)
        && inputs.all(|lane| {
            let empty = Expr::fixed(FIRST) * Expr::advice(lane.x);
            description.gates.iter().any(|g| g.poly == empty)
        })
}

fn inputs_come_first(layout: &Layout) -> bool {
    let is_input = |lane: &crate::layout::Lane| lane.kind == BankKind::Input;
    let inputs = layout.lanes.iter().take_while(|l| is_input(l)).count();
    inputs > 0 && !layout.lanes[inputs..].iter().any(is_input)
}

fn ones_are_known(layout: &Layout) -> bool {
    let known = |port: &crate::layout::Port| {
        let lane = &layout.lanes[port.lane];
        lane.kind != BankKind::Hint && lane.x == port.column
    };
    let used = |port: u32| {
        let port = layout.ports.get(port as usize);
        port.is_some_and(|p| p.holds_one)
    };
    let placements = layout.placements.iter().flatten();
    let mut direct = placements.filter_map(|p| match &p.fold {
        Some(Fold::Direct(direct)) => Some(direct.one),
        _ => None,
    });
    layout.ports.iter().all(|p| !p.holds_one || known(p))
        && layout.free_one.is_none_or(used)
        && direct.all(used)
}

fn maxima_are_alone(layout: &Layout) -> bool {
    layout.lanes.iter().all(|lane| match &lane.kind {
        BankKind::Unit { unit, .. } => {
            let alone = !unit.high && unit.tables.is_empty() && lane.above.is_none();
            unit.window == 1 || (alone && !unit.deep && lane.middle.is_none())
        }
        _ => true,
    })
}

fn cells_are_distinct(program: &Program, layout: &Layout) -> bool {
    let keys: BTreeMap<usize, u32> = layout.gathers.iter().map(|g| g.keys).zip(0..).collect();
    // First and last rows of all stretches, by lane.
    let mut taken: Vec<Vec<(usize, usize)>> = vec![Vec::new(); layout.lanes.len()];
    for (index, (node, placement)) in program.nodes.iter().zip(&layout.placements).enumerate() {
        let kind = match node {
            Node::Input { .. } => BankKind::Input,
            Node::Hint { .. } => BankKind::Hint,
            Node::Neurons(n) => BankKind::Unit {
                output: program.outputs.contains(&(index as u32)),
                unit: n.unit.clone(),
                keys: keys.get(&index).copied(),
            },
            _ => continue,
        };
        // The last lane that was found to be of this kind, so that kinds are not compared for every stretch.
        let mut known = None;
        for stretch in placement.iter().flat_map(|p| p.cells.stretches()) {
            let Some(lane) = layout.ports.get(stretch.cell.port as usize).map(|p| p.lane) else {
                return false;
            };
            if known != Some(lane) && layout.lanes[lane].kind != kind {
                return false;
            }
            known = Some(lane);
            let first = stretch.cell.row as usize;
            taken[lane].push((first, first + stretch.len));
        }
    }
    taken.iter_mut().all(|stretches| {
        stretches.sort_unstable();
        stretches.windows(2).all(|pair| pair[0].1 <= pair[1].0)
    })
}

#[cfg(test)]
mod tests;
