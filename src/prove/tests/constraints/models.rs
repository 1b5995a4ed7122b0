//! The models whose constraints are switched off.

use super::*;
use crate::prove::tests::audit::hints::{exponential, softmax};
use crate::prove::tests::zoo::{gathers, products, zoo};
use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights,
};
use zkinfer_model::model::WeightTensor;

/// Bits of [`every_unit`].
const BITS: u32 = 4;

/// One node for every unit that a program can have, with one or several lanes, over two lanes of inputs; their weights are
/// public. The outputs are a dense layer and a layer of many positions with committed weights.
fn every_unit(windows: &[u32]) -> QuantizedModel {
    let inputs = 60;
    let mut nodes = vec![Node::Input { len: inputs }, Node::Constant { len: 1 }];
    let read = |count: u32| Node::View {
        source: ValueRef::new(0),
        view: View {
            loops: vec![count],
            axes: vec![Axis {
                extent: inputs,
                offset: 0,
                strides: vec![1],
            }],
        },
    };
    let term = |node: usize, inputs: u32, weights: Weights| Term {
        patches: ValueRef::new(node),
        inputs,
        weights,
    };
    let mut units = Vec::new();
    for (low, high) in [(false, false), (true, false), (false, true), (true, true)] {
        for tables in [vec![], vec![0], vec![0, 1]] {
            units.push(Unit {
                window: 1,
                low,
                high,
                tables,
                deep: false,
            });
        }
    }
    let deep = units.iter().map(|unit| Unit {
        deep: true,
        ..unit.clone()
    });
    let deep: Vec<Unit> = deep.collect();
    units.extend(deep);
    for &window in windows {
        for low in [false, true] {
            units.push(Unit {
                window,
                low,
                ..Unit::LINEAR
            });
        }
    }
    for (i, unit) in units.into_iter().enumerate() {
        // The first few take two lanes.
        let positions = if i < 3 { 60 } else { 2 };
        nodes.push(read((positions * unit.window).min(60)));
        if positions * unit.window > 60 {
            // More candidates than inputs: the same ones for all positions.
            let node = nodes.len() - 1;
            nodes[node] = Node::View {
                source: ValueRef::new(0),
                view: View {
                    loops: vec![positions, unit.window],
                    axes: vec![Axis {
                        extent: inputs,
                        offset: 0,
                        strides: vec![0, 0],
                    }],
                },
            };
        }
        let one = 1 << (BITS * unit.depth());
        let terms = vec![term(nodes.len() - 1, 1, Weights::Public(vec![one]))];
        nodes.push(Node::Neurons(Neurons {
            groups: 1,
            outputs: 1,
            positions,
            unit,
            terms,
        }));
    }
    let dense = nodes.len();
    nodes.push(Node::Neurons(Neurons {
        groups: 1,
        outputs: 2,
        positions: 1,
        unit: Unit::LINEAR,
        terms: vec![
            term(0, inputs, Weights::Committed),
            term(1, 1, Weights::Committed),
        ],
    }));
    nodes.push(read(8));
    nodes.push(Node::Neurons(Neurons {
        groups: 1,
        outputs: 1,
        positions: 4,
        unit: Unit::LINEAR,
        terms: vec![term(dense + 1, 2, Weights::Committed)],
    }));
    let tensor = |node: usize, term: u32, data: Vec<i32>| WeightTensor {
        node: node as u32,
        term,
        data,
    };
    let weights = vec![
        tensor(dense, 0, vec![0; 120]),
        tensor(dense, 1, vec![100, 50]),
        tensor(dense + 2, 0, vec![3, 4]),
    ];
    let top = (1u16 << BITS) - 1;
    let program = Program {
        range_bits: BITS,
        tables: vec![
            (0..=top).map(|x| top - x).collect(),
            (0..=top).map(|x| x / 2).collect(),
        ],
        nodes,
        outputs: vec![dense as u32, dense as u32 + 2],
    };
    QuantizedModel {
        program,
        weights,
        hints: vec![],
        inputs: vec![],
        outputs: vec![],
        layers: vec![],
        decodings: vec![],
    }
}

fn ramp(len: u32, below: u32) -> Vec<Vec<u32>> {
    vec![(0..len).map(|i| (i * 7 + 3) % below).collect()]
}

/// Every unit; maxima of few and of many.
pub(super) fn units() -> Vec<Table> {
    let few: Vec<u32> = (2..=7).collect();
    let table = |name, windows: &[u32]| Table::new(name, every_unit(windows), 6, &ramp(60, 16));
    vec![table("units", &few), table("wide maxima", &[8, 9, 30])]
}

/// The widest maximum that there is.
pub(super) fn widest() -> Table {
    Table::new("the widest maximum", every_unit(&[64]), 6, &ramp(60, 16))
}

/// Models that differ in the fold and in the tables: with and without `T`, `U`, tables of several columns.
pub(super) fn folds() -> Vec<Table> {
    let image = vec![(0..16).map(|i| (i * 37 + 5) % 64).collect()];
    vec![
        Table::new("zoo", zoo(6), 6, &image),
        Table::new("products", products(6), 7, &[ramp(12, 23).remove(0)]),
        looked_up(),
    ]
}

/// Rows of two tables, of which all numbers that two digits have are rows.
pub(super) fn looked_up() -> Table {
    Table::new("gathers", gathers(300), 7, &[vec![5, 2, 7, 1]])
}

pub(super) fn hints() -> Table {
    let logits = [vec![10, 20, 30, 5, 5, 60]];
    Table::new("softmax", softmax(exponential(), |_| {}), 7, &logits)
}
