//! Every convention, broken one at a time.

use super::*;
use crate::layout::Cell;
use crate::program::{Neurons, Term, Unit, ValueRef, Weights};
use crate::verify::{Limits, Plan};

/// Two inputs, a dense layer with a bias, an output that is used at two positions.
fn plan() -> Plan {
    let term = |node, inputs, weights| Term {
        patches: ValueRef::new(node),
        inputs,
        weights,
    };
    let neurons = |outputs, positions, unit, terms| {
        Node::Neurons(Neurons {
            groups: 1,
            outputs,
            positions,
            unit,
            terms,
        })
    };
    let nodes = vec![
        Node::Input { len: 2 },
        Node::Constant { len: 1 },
        neurons(
            2,
            1,
            Unit::RELU,
            vec![
                term(0, 2, Weights::Committed),
                term(1, 1, Weights::Committed),
            ],
        ),
        neurons(1, 2, Unit::LINEAR, vec![term(2, 1, Weights::Committed)]),
        neurons(
            1,
            1,
            Unit {
                window: 2,
                ..Unit::LINEAR
            },
            vec![term(0, 1, Weights::Public(vec![16]))],
        ),
    ];
    let program = Program {
        range_bits: 4,
        tables: vec![],
        nodes,
        outputs: vec![3],
    };
    Plan::new(program, 6, &Limits::default()).unwrap()
}

/// What is said of a plan that was changed.
fn broken(change: impl FnOnce(&mut Layout, &mut Description, &mut Vec<Vec<u32>>)) -> &'static str {
    let plan = plan();
    let mut layout = plan.layout.clone();
    let mut description = (*plan.description).clone();
    let mut fixed = (*plan.fixed).clone();
    change(&mut layout, &mut description, &mut fixed);
    match check(&plan.program, &layout, &description, &fixed) {
        Err(LayoutError::Convention { what }) => what,
        other => panic!("{other:?}"),
    }
}

fn change(layout: &mut Layout, node: usize, index: usize, change: impl FnOnce(&mut Cell)) {
    let placement = layout.placements[node].as_mut().unwrap();
    placement.cells.change(index, change);
}

fn cell(layout: &Layout, node: usize, index: usize) -> Cell {
    layout.placements[node].as_ref().unwrap().cells.get(index)
}

#[test]
fn rows_for_blinding() {
    let what = "six rows are left for blinding values";
    assert_eq!(broken(|l, _, _| l.last += 1), what);
    assert_eq!(broken(|l, _, _| l.last -= 1), what);
    let what = "upstream blinds six rows";
    let read = |rotation| {
        move |_: &mut Layout, d: &mut Description, _: &mut Vec<Vec<u32>>| {
            let query = crate::expr::Query {
                column: 0,
                rotation,
            };
            d.gates[0].poly = Expr::fixed(ACTIVE) * Expr::Advice(query);
        }
    };
    assert_eq!(broken(read(-1)), what);
    assert_eq!(broken(read(2)), what);
}

#[test]
fn gates_are_off_where_values_are_random() {
    let what = "gates have degree at most 5";
    let higher = |_: &mut Layout, d: &mut Description, _: &mut Vec<Vec<u32>>| {
        d.gates[0].poly = Expr::product((0..6).map(|_| Expr::fixed(ACTIVE)));
    };
    assert_eq!(broken(higher), what);
    let what = "gates are off behind the last row";
    assert_eq!(
        broken(|_, d, _| d.gates[0].poly = Expr::advice(0) * Expr::fixed(ACTIVE)),
        what
    );
    assert_eq!(broken(|_, d, _| d.gates[0].poly = Expr::advice(0)), what);
    for selector in [ACTIVE, FIRST, LAST] {
        assert_eq!(broken(|l, _, f| f[selector][l.last + 1] = 1), what);
        assert_eq!(broken(|l, _, f| f[selector][l.rows() - 1] = 1), what);
        assert_eq!(broken(|_, _, f| f[selector].truncate(3)), what);
    }
    // Off on a row where it should hold.
    assert_eq!(broken(|_, _, f| f[ACTIVE][5] = 0), what);
    assert_eq!(broken(|_, _, f| f[FIRST][0] = 0), what);
    assert_eq!(broken(|l, _, f| f[LAST][l.last] = 0), what);
}

/// What the verifier does not evaluate.
#[test]
fn constraints_are_all_there_is() {
    use crate::expr::AnyColumn;
    let what = "the circuit consists of constraints alone";
    let column = AnyColumn::Advice(0);
    assert_eq!(broken(|_, d, _| d.equality.push(column)), what);
    let copied = [(column, 1), (column, 2)];
    assert_eq!(broken(|_, d, _| d.copies.push(copied)), what);
    assert_eq!(broken(|_, d, _| d.fixed += 1), what);
    assert_eq!(broken(|_, _, f| f.push(Vec::new())), what);
}

#[test]
fn first_rows_are_empty() {
    let what = "the first row of every input is empty";
    assert_eq!(broken(|l, _, _| change(l, 2, 0, |c| c.row = 0)), what);
    let last = |l: &mut Layout| {
        let last = l.last as u32;
        change(l, 2, 0, |c| c.row = last);
    };
    assert_eq!(broken(|l, _, _| last(l)), what);
    let gate = |d: &Description| {
        let named = |g: &crate::gates::Gate| g.name.starts_with("input: first row");
        d.gates.iter().position(named).unwrap()
    };
    assert_eq!(broken(|_, d, _| drop(d.gates.remove(gate(d)))), what);
    assert_eq!(
        broken(|_, d, _| {
            let at = gate(d);
            d.gates[at].poly = Expr::fixed(LAST) * Expr::advice(0);
        }),
        what
    );
    // A second input lane without a gate of its own.
    assert_eq!(
        broken(|l, _, _| {
            let mut lane = l.lanes[0].clone();
            lane.x += 1;
            l.lanes.insert(1, lane);
        }),
        what
    );
}

#[test]
fn inputs_are_first() {
    let what = "input lanes come first";
    assert_eq!(broken(|l, _, _| l.lanes.swap(0, 1)), what);
    assert_eq!(
        broken(|l, _, _| {
            let lane = l.lanes[0].clone();
            l.lanes.push(lane);
        }),
        what
    );
    assert_eq!(broken(|l, _, _| l.lanes[0].kind = BankKind::Hint), what);
}

#[test]
fn the_one_stands_at_known_rows() {
    let what = "the constant one stands where the first row is known to be zero";
    let lower = |l: &Layout| {
        let below = |p: &crate::layout::Port| p.column != l.lanes[p.lane].x;
        l.ports.iter().position(below).unwrap()
    };
    assert_eq!(
        broken(|l, _, _| {
            let port = lower(l);
            l.ports[port].holds_one = true;
        }),
        what
    );
    // A hint in row 0 is the prover's choice.
    assert_eq!(
        broken(|l, _, _| {
            let mut port = l.ports[0].clone();
            port.lane = l.lanes.len();
            let mut lane = l.lanes[0].clone();
            lane.kind = BankKind::Hint;
            l.lanes.push(lane);
            l.ports.push(port);
        }),
        what
    );
    assert_eq!(broken(|l, _, _| l.free_one = Some(lower(l) as u32)), what);
    assert_eq!(broken(|l, _, _| l.free_one = Some(99)), what);
    assert_eq!(
        broken(|l, _, _| {
            let port = lower(l) as u32;
            if let Some(Fold::Direct(direct)) = &mut l.placements[2].as_mut().unwrap().fold {
                direct.one = port;
            }
        }),
        what
    );
}

#[test]
fn maxima_stand_alone() {
    let what = "a maximum has neither an upper clamp nor a table and is not deep";
    let maximum = |change: fn(&mut Unit)| {
        broken(|l, _, _| {
            for lane in &mut l.lanes {
                match &mut lane.kind {
                    BankKind::Unit { unit, .. } if unit.window == 2 => change(unit),
                    _ => {}
                }
            }
        })
    };
    assert_eq!(maximum(|u| u.high = true), what);
    assert_eq!(maximum(|u| u.tables.push(0)), what);
}

#[test]
fn cells_have_one_slot() {
    let what = "every slot has a cell of its own, in a lane of its kind";
    let same = |l: &mut Layout, node: usize, index: usize| {
        let first = cell(l, 2, 0);
        change(l, node, index, |c| *c = first);
    };
    assert_eq!(broken(|l, _, _| same(l, 2, 1)), what);
    // An output in a lane that is linked to no statement, a neuron in a lane that is.
    assert_eq!(broken(|l, _, _| same(l, 3, 0)), what);
    assert_eq!(broken(|l, _, _| change(l, 2, 0, |c| c.port = 0)), what);
    assert_eq!(broken(|l, _, _| change(l, 2, 0, |c| c.port = 99)), what);
}

#[test]
fn public_columns() {
    let what = "challenges, kappa and beta stand in the public columns";
    assert_eq!(broken(|_, d, _| d.sums.y_constants[0] += 1), what);
    assert_eq!(broken(|_, d, _| d.sums.kappa = None), what);
    assert_eq!(broken(|_, d, _| d.sums.beta.clear()), what);
    assert_eq!(broken(|_, d, _| d.sums.beta[0] += 1), what);
    assert_eq!(broken(|l, _, _| l.columns.constants -= 1), what);
    assert_eq!(broken(|_, d, _| d.instance = 1), what);
    // A gate that reads one of them in the next row, where it may be a blinding one.
    let next = |_: &mut Layout, d: &mut Description, _: &mut Vec<Vec<u32>>| {
        let poly = Expr::fixed(LAST) * Expr::next(d.sums.alpha);
        let name = "next".into();
        d.gates.push(crate::gates::Gate { name, poly });
    };
    assert_eq!(broken(next), what);
    let what = "folded weights and activations end before the last row";
    assert_eq!(broken(|l, _, _| l.table_rows[0] = l.last + 1), what);
    assert_eq!(broken(|l, _, _| l.table_rows.clear()), what);
}

/// Rows of a table, looked up by an input.
fn looked_up() -> Plan {
    let neurons = |outputs, terms| {
        Node::Neurons(Neurons {
            groups: 1,
            outputs,
            positions: 2,
            unit: Unit::LINEAR,
            terms,
        })
    };
    let term = |node, inputs, weights| Term {
        patches: ValueRef::new(node),
        inputs,
        weights,
    };
    let nodes = vec![
        Node::Input { len: 2 },
        neurons(1, vec![term(0, 1, Weights::Public(vec![1]))]),
        neurons(3, vec![term(1, 70, Weights::Gathered)]),
    ];
    let program = Program {
        range_bits: 4,
        tables: vec![],
        nodes,
        outputs: vec![2],
    };
    Plan::new(program, 6, &Limits::default()).unwrap()
}

#[test]
fn keys_are_looked_up() {
    let what = "every key is looked up among the numbers of its own gather";
    let broken = |change: &dyn Fn(&mut Layout, &mut Description, &mut Vec<Vec<u32>>)| {
        let plan = looked_up();
        let mut layout = plan.layout.clone();
        let mut description = (*plan.description).clone();
        let mut fixed = (*plan.fixed).clone();
        change(&mut layout, &mut description, &mut fixed);
        let found = check(&plan.program, &layout, &description, &fixed);
        assert_eq!(found, Err(LayoutError::Convention { what }));
    };
    let plan = looked_up();
    let pieces = &plan.layout.gathers[0].pieces;
    assert_eq!(
        (pieces.len(), pieces[0].inputs.len()),
        (2, plan.layout.last)
    );
    broken(&|_, d, _| d.sums.gathered[0].1.is_tagged = false);
    broken(&|_, d, _| d.sums.gathered[0].1.value = None);
    broken(&|_, d, _| d.sums.gathered[0].1.gather = 1);
    broken(&|_, d, _| d.sums.gathered.clear());
    broken(&|_, d, _| d.sums.gathers.truncate(1));
    broken(&|_, d, _| d.sums.gathers[1].1.tag = None);
    broken(&|_, d, _| d.sums.gathers[1].1.value = None);
    broken(&|_, d, _| d.sums.gathers[1].1.multiplicity -= 1);
    let number = plan.description.sums.gathers[1].1.number;
    // Another number, a row without a tag, a tag behind the end.
    broken(&|_, _, f| f[number][3] += 1);
    broken(&|_, _, f| f[number + 1][3] = 0);
    broken(&|_, _, f| f[number + 1][30] = 1);
    broken(&|l, _, _| l.gathers[0].pieces[1].inputs.end -= 1);
    broken(&|l, _, _| l.gathers[0].pieces.truncate(1));
}
