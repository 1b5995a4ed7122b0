//! Closed forms against the enumeration, on random programs with wiring of every kind.

use super::*;
use crate::fold::{Challenges, Coefficients, LateChallenges};
use crate::program::{Axis, FIRST_SLOT, ONE, Term, Unit, ValueRef, View, ZERO};
use crate::verify::{Limits, Plan};
use ff::Field;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

mod large;

/// Makes programs up.
struct Maker {
    rng: ChaCha20Rng,
    nodes: Vec<Node>,
    /// Values that can be read, and their lengths.
    values: Vec<(ValueRef, u32)>,
    /// Nodes whose weights can be used again.
    leaders: Vec<usize>,
}

impl Maker {
    fn below(&mut self, n: u32) -> u32 {
        self.rng.next_u32() % n.max(1)
    }

    fn push(&mut self, node: Node, len: u32) -> ValueRef {
        self.nodes.push(node);
        let value = ValueRef::new(self.nodes.len() - 1);
        self.values.push((value, len));
        value
    }

    fn any(&mut self) -> (ValueRef, u32) {
        let at = self.below(self.values.len() as u32) as usize;
        self.values[at]
    }

    /// Factors of a number, in some order; ones among them.
    fn factors(&mut self, mut number: u32) -> Vec<u32> {
        let mut factors = Vec::new();
        while number > 1 && factors.len() < 4 {
            let divisors: Vec<u32> = (2..=number).filter(|d| number.is_multiple_of(*d)).collect();
            let at = self.below(divisors.len() as u32) as usize;
            factors.push(divisors[at]);
            number /= divisors[at];
        }
        if number > 1 || factors.is_empty() || self.below(5) == 0 {
            factors.push(number);
        }
        factors
    }

    /// A view of some value with these loops: plain, or with offsets and strides of every kind.
    fn view(&mut self, loops: Vec<u32>) -> ValueRef {
        let (source, len) = self.any();
        let extents = self.factors(len);
        let kind = self.below(3);
        let mut axes = Vec::new();
        for extent in extents {
            let mut strides = vec![0i64; loops.len()];
            let mut offset = 0;
            for stride in &mut strides {
                *stride = match kind {
                    0 => i64::from(self.below(2)),
                    _ if self.below(2) == 0 => 0,
                    1 => i64::from(self.below(3)),
                    _ => i64::from(self.below(7)) - 3,
                };
            }
            if kind == 2 {
                offset = i64::from(self.below(2 * extent + 2)) - i64::from(extent / 2) - 1;
            } else if kind == 1 {
                offset = -i64::from(self.below(3));
            }
            axes.push(Axis {
                extent,
                offset,
                strides,
            });
        }
        let len = loops.iter().product();
        self.push(
            Node::View {
                source,
                view: View { loops, axes },
            },
            len,
        )
    }

    /// A value of a length: a view with loops as given or as they come, or a reshape where one fits.
    fn of_shape(&mut self, shape: &[u32]) -> ValueRef {
        let len: u32 = shape.iter().product();
        let fitting: Vec<ValueRef> = self
            .values
            .iter()
            .filter(|(_, l)| *l == len)
            .map(|(v, _)| *v)
            .collect();
        if !fitting.is_empty() && self.below(3) == 0 {
            let at = self.below(fitting.len() as u32) as usize;
            return fitting[at];
        }
        let loops = if self.below(3) > 0 {
            shape.to_vec()
        } else {
            self.factors(len)
        };
        self.view(loops)
    }

    fn wiring(&mut self) {
        match self.below(5) {
            0 => {
                let count = 1 + self.below(4);
                let parts: Vec<(ValueRef, u32)> = (0..count).map(|_| self.any()).collect();
                let len = parts.iter().map(|(_, l)| l).sum();
                let sources = parts.into_iter().map(|(v, _)| v).collect();
                self.push(Node::Concat { sources }, len);
            }
            1 => {
                let (source, len) = self.any();
                let divisors: Vec<u32> = (1..=len.min(6))
                    .filter(|d| len.is_multiple_of(*d))
                    .collect();
                let at = self.below(divisors.len() as u32) as usize;
                let group = divisors[at];
                self.push(Node::Sum { source, group }, len / group);
            }
            2 => {
                let len = 1 + self.below(3);
                self.push(Node::Constant { len }, len);
            }
            _ => {
                let loops = (0..1 + self.below(3)).map(|_| 1 + self.below(5)).collect();
                self.view(loops);
            }
        }
    }

    fn neurons(&mut self, output: bool) {
        if !output && !self.leaders.is_empty() && self.below(4) == 0 {
            return self.member();
        }
        let (groups, outputs) = (1 + self.below(3), 1 + self.below(4));
        let positions = match self.below(4) {
            0 => 1,
            1 => 60 + self.below(100),
            _ => 1 + self.below(20),
        };
        let positions = if output { 1 + positions % 8 } else { positions };
        let window = [1, 1, 1, 2, 3][self.below(5) as usize];
        let mut terms = Vec::new();
        for _ in 0..1 + self.below(3) {
            let inputs = 1 + self.below(6);
            let patches = self.of_shape(&[groups, positions, window, inputs]);
            let weights = match self.below(4) {
                0 => {
                    let count = groups * outputs * inputs;
                    Weights::Public((0..count).map(|_| i64::from(self.below(5)) - 2).collect())
                }
                1 => Weights::Value {
                    value: self.of_shape(&[groups, outputs, inputs]),
                    factor: i64::from(self.below(7)) - 3,
                },
                _ => Weights::Committed,
            };
            terms.push(Term {
                patches,
                inputs,
                weights,
            });
        }
        if groups == 1 && window == 1 && self.below(2) == 0 {
            terms.push(self.gather(positions));
        }
        let values = terms
            .iter()
            .any(|t| matches!(t.weights, Weights::Value { .. } | Weights::Gathered));
        let low = self.below(2) == 0;
        let unit = Unit {
            window,
            low,
            high: false,
            tables: Vec::new(),
            deep: window == 1 && self.below(3) == 0,
        };
        let len = groups * outputs * positions;
        let value = self.push(
            Node::Neurons(Neurons {
                groups,
                outputs,
                positions,
                unit,
                terms,
            }),
            len,
        );
        if window == 1 {
            self.values.push((ValueRef { port: 1, ..value }, len));
        }
        let committed = |t: &Term| t.weights == Weights::Committed;
        let Some(Node::Neurons(n)) = self.nodes.last() else {
            return;
        };
        if !output && !values && n.terms.iter().any(committed) {
            self.leaders.push(self.nodes.len() - 1);
        }
    }

    /// A term that reads columns by their numbers, and the keys before it.
    fn gather(&mut self, positions: u32) -> Term {
        let inputs = 1 + self.below(3);
        let patches = self.of_shape(&[1, positions, 1, inputs]);
        let weights = Weights::Public((0..inputs).map(|i| i64::from(i) - 1).collect());
        let keys = self.push(
            Node::Neurons(Neurons {
                groups: 1,
                outputs: 1,
                positions,
                unit: Unit::LINEAR,
                terms: vec![Term {
                    patches,
                    inputs,
                    weights,
                }],
            }),
            positions,
        );
        self.values.push((ValueRef { port: 1, ..keys }, positions));
        Term {
            patches: keys,
            inputs: 1 + self.below(200),
            weights: Weights::Gathered,
        }
    }

    /// Another node with the weights of an earlier one.
    fn member(&mut self) {
        let at = self.below(self.leaders.len() as u32) as usize;
        let leader = self.leaders[at];
        let Node::Neurons(mut n) = self.nodes[leader].clone() else {
            return;
        };
        n.positions = 1 + self.below(9);
        for term in &mut n.terms {
            let shape = [n.groups, n.positions, n.unit.window, term.inputs];
            term.patches = self.of_shape(&shape);
            if term.weights == Weights::Committed {
                term.weights = Weights::Shared(leader as u32);
            }
        }
        let len = n.len() as u32;
        self.push(Node::Neurons(n), len);
    }

    fn program(seed: u64) -> Program {
        let mut maker = Maker {
            rng: ChaCha20Rng::seed_from_u64(seed),
            nodes: Vec::new(),
            values: Vec::new(),
            leaders: Vec::new(),
        };
        for _ in 0..1 + maker.below(2) {
            let len = 1 + maker.below(70);
            maker.push(Node::Input { len }, len);
        }
        for _ in 0..1 + maker.below(4) {
            for _ in 0..maker.below(5) {
                maker.wiring();
            }
            maker.neurons(false);
        }
        maker.wiring();
        maker.neurons(true);
        let output = maker.nodes.len() as u32 - 1;
        Program {
            range_bits: 4,
            tables: Vec::new(),
            nodes: maker.nodes,
            outputs: vec![output],
        }
    }
}

/// Whether the program is one, and if so, that both ways to the coefficients come to the same.
fn agree(program: Program, k: u32, seed: u64) -> bool {
    let Ok(plan) = Plan::new(program, k, &Limits::default()) else {
        return false;
    };
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let layout = &plan.layout;
    let mut random = |count: usize| (0..count).map(|_| F::random(&mut rng)).collect::<Vec<F>>();
    let challenges = Challenges {
        alpha: F::ONE,
        theta: None,
        y: random(layout.y_weights.constants),
    };
    let late = LateChallenges {
        eta: (layout.columns.values > 0).then(|| random(1)[0]),
        e: random(layout.e_weights.as_ref().map_or(0, |w| w.constants)),
        gather: None, // what is public does not depend on it
    };
    let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, &challenges);
    let closed = coefficients.late(&plan.wiring, &late);
    let enumerated = coefficients.late_by_enumeration(&late);
    assert_eq!(closed, Some(enumerated), "{:?}", plan.program);
    placed_by_enumeration(&plan);
    true
}

/// Ports that are read, and of direct nodes the rows, by enumeration of every element: what the layout finds by the piece.
fn placed_by_enumeration(plan: &Plan) {
    let (program, expanded, layout) = (&plan.program, &plan.expanded, &plan.layout);
    let mut free = vec![false; layout.ports.len()];
    let mut beside = vec![false; layout.ports.len()];
    let real = |slot: &&u32| **slot != ZERO && **slot != ONE;
    for (node, placement) in program.nodes.iter().zip(&layout.placements) {
        let (Node::Neurons(n), Some(placement)) = (node, placement) else {
            continue;
        };
        let values = n.operands().map(|(_, value, _)| value);
        let mut freely: Vec<ValueRef> = values.collect();
        let mut rows: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for term in n.terms.iter().filter(|t| t.weights != Weights::Gathered) {
            let Some(Fold::Direct(direct)) = &placement.fold else {
                freely.push(term.patches);
                continue;
            };
            if term.weights != Weights::Committed {
                freely.push(term.patches);
                continue;
            }
            let wires = &expanded.value(program, term.patches).slots;
            for &slot in wires.iter().filter(real) {
                let cell = layout.cell(expanded, slot);
                rows.entry(cell.port).or_default().insert(cell.row);
            }
            if wires.contains(&ONE) {
                rows.entry(direct.one).or_default().insert(0);
            }
        }
        if let Some(Fold::Direct(direct)) = &placement.fold {
            let found: BTreeMap<u32, BTreeSet<u32>> = direct
                .ports
                .iter()
                .map(|(port, rows)| (*port, rows.iter().copied().collect()))
                .collect();
            assert_eq!(found, rows);
            rows.keys().for_each(|port| beside[*port as usize] = true);
        }
        for value in freely {
            for slot in expanded.value(program, value).slots.iter().filter(real) {
                free[layout.cell(expanded, *slot).port as usize] = true;
            }
        }
    }
    if let Some(one) = layout.free_one {
        free[one as usize] = true;
    }
    for (i, port) in layout.ports.iter().enumerate() {
        assert_eq!(
            (port.free.is_some(), port.direct.is_some()),
            (free[i], beside[i])
        );
    }
    // Every slot has one cell, found one way or the other.
    let mut count = 0;
    for (slot, cell) in layout.slots(expanded) {
        assert_eq!(layout.cell(expanded, slot), cell);
        count += 1;
    }
    assert_eq!(count + FIRST_SLOT, expanded.slots);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn closed_forms_are_the_enumeration(seed: u64, k in 6u32..9) {
        agree(Maker::program(seed), k, seed);
    }
}

#[test]
fn most_programs_that_are_made_up_are_programs() {
    let made = (0..200).filter(|&seed| agree(Maker::program(seed), 7, seed));
    assert!(made.count() > 150);
}

/// A convolution: as many pieces as its kernel has offsets, whatever its size.
#[test]
fn a_convolution_has_a_piece_for_each_offset() {
    let program = |size: u32, channels: u32, padding: i64| {
        let side = size + 2 * padding as u32 - 2;
        let axis = |strides: Vec<i64>, extent: u32, offset: i64| Axis {
            extent,
            offset,
            strides,
        };
        let view = View {
            loops: vec![side, side, channels, 3, 3],
            axes: vec![
                axis(vec![0, 0, 1, 0, 0], channels, 0),
                axis(vec![1, 0, 0, 1, 0], size, -padding),
                axis(vec![0, 1, 0, 0, 1], size, -padding),
            ],
        };
        let term = Term {
            patches: ValueRef::new(1),
            inputs: 9 * channels,
            weights: Weights::Committed,
        };
        Program {
            range_bits: 4,
            tables: Vec::new(),
            nodes: vec![
                Node::Input {
                    len: size * size * channels,
                },
                Node::View {
                    source: ValueRef::new(0),
                    view,
                },
                Node::Neurons(Neurons {
                    groups: 1,
                    outputs: 2,
                    positions: side * side,
                    unit: Unit::LINEAR,
                    terms: vec![term],
                }),
            ],
            outputs: vec![2],
        }
    };
    for (size, channels, padding, pieces) in
        [(8, 3, 0, 1), (16, 3, 0, 1), (8, 3, 1, 9), (16, 5, 1, 9)]
    {
        let plan = Plan::new(program(size, channels, padding), 11, &Limits::default()).unwrap();
        assert_eq!(plan.wiring.pieces(), pieces, "{size} {channels} {padding}");
        assert!(agree(program(size, channels, padding), 11, 1));
    }
    // One piece of several counters is more than one span: they take memory, too.
    let mut limits = Limits::default();
    limits.program.pieces = 8;
    assert!(Plan::new(program(8, 3, 0), 11, &limits).is_err());
    limits.program.pieces = 10;
    let refused = Plan::new(program(8, 3, 1), 11, &limits).unwrap_err();
    assert!(refused.to_string().contains("pieces"), "{refused}");
}

/// Sums that pieces are added to take memory while they are, though the card that asks for them is small.
#[test]
fn sums_count_as_pieces() {
    let program = |inputs: u32| {
        let spread = |len: u32| Node::View {
            source: ValueRef { node: 0, port: 0 },
            view: View {
                loops: vec![len],
                axes: vec![Axis {
                    extent: 1,
                    offset: 0,
                    strides: vec![0],
                }],
            },
        };
        let value = |node| ValueRef { node, port: 0 };
        let term = Term {
            patches: value(2),
            inputs,
            weights: Weights::Value {
                value: value(1),
                factor: 1,
            },
        };
        Program {
            range_bits: 6,
            tables: Vec::new(),
            nodes: vec![
                Node::Input { len: 1 },
                spread(16 * inputs),
                spread(16 * inputs),
                Node::Neurons(Neurons {
                    groups: 16,
                    outputs: 1,
                    positions: 1,
                    unit: Unit::LINEAR,
                    terms: vec![term],
                }),
            ],
            outputs: vec![3],
        }
    };
    let mut limits = Limits::default();
    limits.program.pieces = 200;
    let plan = Plan::new(program(50), 11, &limits).unwrap();
    assert_eq!(plan.wiring.sums(), 16 * 50);
    assert!(plan.reading_memory() >= 16 * 50 * 32);
    let refused = Plan::new(program(500), 11, &limits).unwrap_err();
    assert!(refused.to_string().contains("pieces"), "{refused}");
}

/// A piece may run through many sums: what it takes is the product of its counters that do, and counted.
#[test]
fn additions_are_counted() {
    // Groups, positions and inputs read one axis that is cut on both sides, so position and input decide together what is
    // read, and each position is a piece.
    let (groups, positions, inputs) = (4, 20, 60);
    let value = |node| ValueRef { node, port: 0 };
    let program = Program {
        range_bits: 6,
        tables: Vec::new(),
        nodes: vec![
            Node::Input { len: inputs },
            Node::View {
                source: value(0),
                view: View {
                    loops: vec![groups, positions, inputs],
                    axes: vec![Axis {
                        extent: inputs,
                        offset: -i64::from(positions / 2),
                        strides: vec![0, 1, 1],
                    }],
                },
            },
            Node::Neurons(Neurons {
                groups,
                outputs: 1,
                positions,
                unit: Unit::LINEAR,
                terms: vec![Term {
                    patches: value(1),
                    inputs,
                    weights: Weights::Committed,
                }],
            }),
        ],
        outputs: vec![2],
    };
    let plan = |pieces| {
        let mut limits = Limits::default();
        limits.program.pieces = pieces;
        Plan::new(program.clone(), 8, &limits)
    };
    let wiring = plan(1000).unwrap().wiring;
    let wires: i64 = (0..i64::from(positions))
        .map(|p| {
            (p - 10..p - 10 + 60)
                .filter(|row| (0..60).contains(row))
                .count() as i64
        })
        .sum();
    assert_eq!(wiring.additions() as i64, 4 * wires);
    assert!(wiring.pieces() + wiring.additions() / 16 > 200);
    assert!(plan(200).is_err());
}

/// Programs of which something was changed: none panics, and what is accepted has its closed forms.
#[test]
fn changed_programs_are_refused_or_summed_right() {
    let (mut accepted, mut gathers, mut deep, mut panics) = (0, 0, 0, Vec::new());
    for seed in 0..4_000u64 {
        let mut program = Maker::program(seed);
        let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0xabcdef);
        let mut below = |n: u64| u64::from(rng.next_u32()) % n;
        for _ in 0..1 + below(3) {
            let count = program.nodes.len() as u64;
            let at = below(count) as usize;
            let Node::Neurons(n) = &mut program.nodes[at] else {
                continue;
            };
            let term = below(n.terms.len() as u64) as usize;
            let huge = [1u32 << 16, 1 << 20, 1 << 26, u32::MAX][below(4) as usize];
            match below(14) {
                0 => n.unit.deep = !n.unit.deep,
                1 => n.unit.low = !n.unit.low,
                2 => n.unit.high = !n.unit.high,
                3 => n.unit.window = 1 + below(4) as u32,
                4 => n.groups = 1 + below(4) as u32,
                5 => n.outputs = 1 + below(200) as u32,
                6 => n.positions = 1 + below(200) as u32,
                7 => n.terms[term].inputs = 1 + below(300) as u32,
                8 => n.terms[term].weights = Weights::Gathered,
                9 => n.terms[term].weights = Weights::Shared(below(count) as u32),
                10 => n.terms[term].patches.node = below(count) as u32,
                11 => n.terms[term].patches.port = below(3) as u32,
                12 => {
                    let again = n.terms[term].clone();
                    n.terms.push(again);
                }
                _ => match below(4) {
                    0 => n.terms[term].inputs = huge,
                    1 => n.positions = huge,
                    2 => n.outputs = huge,
                    _ => n.groups = huge,
                },
            }
        }
        if below(4) == 0 {
            let node = below(program.nodes.len() as u64) as u32;
            program.outputs.push(node);
        }
        let k = 6 + below(4) as u32;
        let small = program
            .clone()
            .expand(&Limits::default().program)
            .is_ok_and(|e| e.slots < 1 << 16);
        let has = |f: &dyn Fn(&Neurons) -> bool| {
            program
                .nodes
                .iter()
                .any(|n| matches!(n, Node::Neurons(n) if f(n)))
        };
        let (g, d) = (
            has(&|n| n.gathers().next().is_some()),
            has(&|n| n.unit.deep),
        );
        let copy = program.clone();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match small {
            true => agree(copy, k, seed),
            false => Plan::new(copy, k, &Limits::default()).is_ok(),
        }));
        match found {
            Ok(true) => {
                accepted += 1;
                gathers += usize::from(g);
                deep += usize::from(d);
            }
            Ok(false) => {}
            Err(_) => panics.push(seed),
        }
    }
    assert!(panics.is_empty(), "{panics:?}");
    assert!(
        accepted > 1000 && gathers > 200 && deep > 500,
        "{accepted} {gathers} {deep}"
    );
}

/// Targets by series against every target by itself, with ratios that repeat, change, are zero and one.
#[test]
fn spread_is_the_plain_sum() {
    let mut state = 1u64;
    let mut roll = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..1000 {
        let mut last = Last::default();
        let mut found = vec![F::ZERO; 4096];
        let mut plain = found.clone();
        for _ in 0..1 + roll(6) {
            let count = roll(4) as usize;
            let counters: Vec<(Counter, F)> = (0..count)
                .map(|_| {
                    let ratio =
                        [F::ZERO, F::ONE, -F::ONE, F::from(5), F::from(7)][roll(5) as usize];
                    let target = [1, 1, 1, -1, 2, 7][roll(6) as usize];
                    (
                        Counter {
                            count: roll(9) as u32,
                            ratio: 0,
                            target,
                        },
                        ratio,
                    )
                })
                .collect();
            let borrowed: Vec<(&Counter, F)> = counters.iter().map(|(c, r)| (c, *r)).collect();
            let value = F::from(roll(1000));
            last.spread(&borrowed, 1000, value, &mut found);
            let mut all = vec![(1000i64, value)];
            for (c, r) in &counters {
                all = all
                    .iter()
                    .flat_map(|(t, v)| {
                        let mut at = (*t, *v);
                        (0..c.count)
                            .map(move |_| {
                                let now = at;
                                at = (at.0 + c.target, at.1 * r);
                                now
                            })
                            .collect::<Vec<_>>()
                    })
                    .collect();
            }
            for (t, v) in all {
                plain[t as usize] += v;
            }
        }
        assert_eq!(found, plain);
    }
}

/// Public weights are what sums are multiplied by: once for a node with one position, once for each part of a table's columns
/// otherwise.
#[test]
fn public_weights_are_counted() {
    let (outputs, inputs) = (20, 20);
    let program = |positions: u32| Program {
        range_bits: 6,
        tables: Vec::new(),
        nodes: vec![
            Node::Input {
                len: positions * inputs,
            },
            Node::Neurons(Neurons {
                groups: 1,
                outputs,
                positions,
                unit: Unit::LINEAR,
                terms: vec![Term {
                    patches: ValueRef { node: 0, port: 0 },
                    inputs,
                    weights: Weights::Public((0..i64::from(outputs * inputs)).collect()),
                }],
            }),
        ],
        outputs: vec![1],
    };
    let plan = |positions, pieces| {
        let mut limits = Limits::default();
        limits.program.pieces = pieces;
        Plan::new(program(positions), 8, &limits)
    };
    let each = (outputs * inputs) as usize;
    assert_eq!(plan(1, 1000).unwrap().wiring.weights(), each);
    let many = plan(1000, 10_000).unwrap();
    let tiles = |p: &crate::layout::Placement| match &p.fold {
        Some(Fold::Table(blocks)) => blocks[0].tiles.len(),
        _ => 0,
    };
    let tiles: usize = many.layout.placements.iter().flatten().map(tiles).sum();
    assert!(tiles > 1);
    assert_eq!(many.wiring.weights(), tiles * each);
    // All else is less than a thousand pieces.
    let pieces = many.wiring.weights() / 16;
    assert!(plan(1000, pieces + 1000).is_ok());
    let refused = plan(1000, pieces - 1).unwrap_err();
    assert!(refused.to_string().contains("pieces"), "{refused}");
}
