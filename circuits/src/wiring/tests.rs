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
        let values = terms
            .iter()
            .any(|t| matches!(t.weights, Weights::Value { .. }));
        let low = self.below(2) == 0;
        let unit = Unit {
            window,
            low,
            high: false,
            tables: Vec::new(),
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
        if low && window == 1 {
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
        for term in &n.terms {
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

/// A program that is written front to back.
struct Writer {
    nodes: Vec<Node>,
}

impl Writer {
    fn new(inputs: u32) -> Writer {
        let nodes = vec![Node::Input { len: inputs }];
        Writer { nodes }
    }

    fn push(&mut self, node: Node) -> ValueRef {
        self.nodes.push(node);
        ValueRef::new(self.nodes.len() - 1)
    }

    /// A view whose axes are `(strides, extent, offset)`.
    fn view(&mut self, source: ValueRef, loops: &[u32], axes: &[(&[i64], u32, i64)]) -> ValueRef {
        let axis = |(strides, extent, offset): &(&[i64], u32, i64)| Axis {
            extent: *extent,
            offset: *offset,
            strides: strides.to_vec(),
        };
        let view = View {
            loops: loops.to_vec(),
            axes: axes.iter().map(axis).collect(),
        };
        self.push(Node::View { source, view })
    }

    /// Neurons `(groups, outputs, positions)` that read `(patches, inputs, weights)`.
    fn neurons(
        &mut self,
        (groups, outputs, positions): (u32, u32, u32),
        unit: Unit,
        terms: &[(ValueRef, u32, Weights)],
    ) -> ValueRef {
        let term = |(patches, inputs, weights): &(ValueRef, u32, Weights)| Term {
            patches: *patches,
            inputs: *inputs,
            weights: weights.clone(),
        };
        self.push(Node::Neurons(Neurons {
            groups,
            outputs,
            positions,
            unit,
            terms: terms.iter().map(term).collect(),
        }))
    }

    fn finish(self) -> Program {
        Program {
            range_bits: 14,
            tables: Vec::new(),
            outputs: vec![self.nodes.len() as u32 - 1],
            nodes: self.nodes,
        }
    }
}

/// An image: channels by side by side.
#[derive(Clone, Copy)]
struct Image {
    value: ValueRef,
    side: u32,
    channels: u32,
}

impl Writer {
    /// A padded convolution to `to` channels, in as many groups, and what is added to it.
    fn convolution(
        &mut self,
        image: Image,
        (kernel, stride): (u32, u32),
        (to, groups): (u32, u32),
        unit: Unit,
        added: Option<Image>,
    ) -> Image {
        let Image {
            value,
            side,
            channels,
        } = image;
        let out = side.div_ceil(stride);
        let each = channels / groups;
        let (step, pad) = (i64::from(stride), -i64::from(kernel / 2));
        let loops = [groups, out, out, each, kernel, kernel];
        let patches = self.view(
            value,
            &loops,
            &[
                (&[i64::from(each), 0, 0, 1, 0, 0], channels, 0),
                (&[0, step, 0, 0, 1, 0], side, pad),
                (&[0, 0, step, 0, 0, 1], side, pad),
            ],
        );
        let mut terms = vec![(patches, each * kernel * kernel, Weights::Committed)];
        if let Some(added) = added {
            let loops = [out * out, to];
            let strides: &[i64] = &[1, i64::from(out * out)];
            let own = self.view(added.value, &loops, &[(strides, to * out * out, 0)]);
            terms.push((own, to, Weights::Committed));
        }
        let value = self.neurons((groups, to / groups, out * out), unit, &terms);
        Image {
            value,
            side: out,
            channels: to,
        }
    }

    /// A dense layer over what is left of an image.
    fn classes(&mut self, image: Image) {
        let inputs = image.side * image.side * image.channels;
        let terms = [(image.value, inputs, Weights::Committed)];
        self.neurons((1, 1000, 1), Unit::LINEAR, &terms);
    }
}

fn resnet50() -> Program {
    let mut w = Writer::new(3 * 224 * 224);
    let mut image = Image {
        value: ValueRef::new(0),
        side: 224,
        channels: 3,
    };
    image = w.convolution(image, (7, 2), (64, 1), Unit::RELU, None);
    // A strided convolution stands for the pool.
    image = w.convolution(image, (3, 2), (64, 1), Unit::RELU, None);
    for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
        for block in 0..blocks {
            let width = 64 << stage;
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let short = match block {
                0 => w.convolution(image, (1, stride), (4 * width, 1), Unit::LINEAR, None),
                _ => image,
            };
            image = w.convolution(image, (1, 1), (width, 1), Unit::RELU, None);
            image = w.convolution(image, (3, stride), (width, 1), Unit::RELU, None);
            image = w.convolution(image, (1, 1), (4 * width, 1), Unit::RELU, Some(short));
        }
    }
    w.classes(image);
    w.finish()
}

fn mobilenet_v2() -> Program {
    let mut w = Writer::new(3 * 224 * 224);
    let mut image = Image {
        value: ValueRef::new(0),
        side: 224,
        channels: 3,
    };
    image = w.convolution(image, (3, 2), (32, 1), Unit::RELU, None);
    let stages = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    for (expand, to, blocks, stride) in stages {
        for block in 0..blocks {
            let stride = if block == 0 { stride } else { 1 };
            let wide = image.channels * expand;
            let before = (block > 0).then_some(image);
            if expand > 1 {
                image = w.convolution(image, (1, 1), (wide, 1), Unit::RELU, None);
            }
            image = w.convolution(image, (3, stride), (wide, wide), Unit::RELU, None);
            image = w.convolution(image, (1, 1), (to, 1), Unit::LINEAR, before);
        }
    }
    image = w.convolution(image, (1, 1), (1280, 1), Unit::RELU, None);
    w.classes(image);
    w.finish()
}

/// The matrices and attention products of GPT-2 small for 64 tokens, without what stands between them.
fn gpt2() -> Program {
    const TOKENS: u32 = 64;
    const WIDTH: u32 = 768;
    const HEADS: u32 = 12;
    const EACH: u32 = WIDTH / HEADS;
    let mut w = Writer::new(WIDTH * TOKENS);
    // Values are channels by tokens.
    let dense = |w: &mut Writer, from: &[(ValueRef, u32)], to: u32, unit: Unit| {
        let mut terms = Vec::new();
        for &(value, inputs) in from {
            let strides: &[i64] = &[1, i64::from(TOKENS)];
            let read = w.view(value, &[TOKENS, inputs], &[(strides, inputs * TOKENS, 0)]);
            terms.push((read, inputs, Weights::Committed));
        }
        w.neurons((1, to, TOKENS), unit, &terms)
    };
    let by_head = |w: &mut Writer, value: ValueRef| {
        let strides: &[i64] = &[i64::from(EACH * TOKENS), 1, i64::from(TOKENS)];
        w.view(
            value,
            &[HEADS, TOKENS, EACH],
            &[(strides, WIDTH * TOKENS, 0)],
        )
    };
    let mut last = ValueRef::new(0);
    for _ in 0..12 {
        let [query, key, value] =
            [0; 3].map(|_| dense(&mut w, &[(last, WIDTH)], WIDTH, Unit::LINEAR));
        let (query, key) = (by_head(&mut w, query), by_head(&mut w, key));
        let left = Weights::Value {
            value: query,
            factor: 1,
        };
        let scores = w.neurons((HEADS, TOKENS, TOKENS), Unit::LINEAR, &[(key, EACH, left)]);
        let left = Weights::Value { value, factor: 1 };
        let mixed = w.neurons(
            (HEADS, EACH, TOKENS),
            Unit::LINEAR,
            &[(scores, TOKENS, left)],
        );
        let middle = dense(
            &mut w,
            &[(mixed, WIDTH), (last, WIDTH)],
            WIDTH,
            Unit::LINEAR,
        );
        let inner = dense(&mut w, &[(middle, WIDTH)], 4 * WIDTH, Unit::RELU);
        last = dense(
            &mut w,
            &[(inner, 4 * WIDTH), (middle, WIDTH)],
            WIDTH,
            Unit::LINEAR,
        );
    }
    // The next token alone.
    let strides: &[i64] = &[i64::from(TOKENS)];
    let token = w.view(
        last,
        &[WIDTH],
        &[(strides, WIDTH * TOKENS, i64::from(TOKENS) - 1)],
    );
    w.neurons(
        (1, 50_257, 1),
        Unit::LINEAR,
        &[(token, WIDTH, Weights::Committed)],
    );
    w.finish()
}

/// Plans of large models are made within the default limits but for `k`, whatever their images: nothing is done for every
/// element that a convolution reads, tens of millions, nor held for every neuron.
#[test]
fn large_models_are_planned_by_the_piece() {
    for (name, program, k) in [
        ("ResNet-50, 224 x 224", resnet50(), 17),
        ("MobileNetV2, 224 x 224", mobilenet_v2(), 17),
        ("GPT-2 small, 64 tokens", gpt2(), 16),
    ] {
        let limits = Limits {
            k,
            ..Limits::default()
        };
        let clock = std::time::Instant::now();
        let plan = Plan::new(program, k, &limits).unwrap_or_else(|e| panic!("{name}: {e}"));
        let time = clock.elapsed();
        let stretches = |p: &crate::layout::Placement| p.cells.stretches().len();
        let stretches: usize = plan.layout.placements.iter().flatten().map(stretches).sum();
        let count = |node: &Node| match node {
            Node::Neurons(n) => n.len(),
            _ => 0,
        };
        let neurons: usize = plan.program.nodes.iter().map(count).sum();
        let points = plan.points();
        println!(
            "{name}: {neurons} neurons, {} columns, {points} points, {} pieces, {} sums, {} additions, {stretches} stretches, {} bytes to read a proof, planned in {time:.1?}",
            plan.layout.columns.advice(),
            plan.wiring.pieces(),
            plan.wiring.sums(),
            plan.wiring.additions(),
            plan.reading_memory(),
        );
        assert!(neurons > 1_000_000 && 100 * stretches < neurons, "{name}");
        assert!(points <= limits.points, "{name}: {points}");
        assert!(plan.expanded.memory() < 1 << 20, "{name}");
    }
}
