//! Plans of large models, and of small cards that ask for large ones.

use crate::error::{CardError, ProgramError};
use crate::program::{Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights};
use crate::verify::{Limits, Plan};

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
            "{name}: {neurons} neurons, {} columns, {points} points, {} pieces, {} sums, {} additions, {} public weights, {stretches} stretches, {} bytes to read a proof, planned in {time:.1?}",
            plan.layout.columns.advice(),
            plan.wiring.pieces(),
            plan.wiring.sums(),
            plan.wiring.additions(),
            plan.wiring.weights(),
            plan.reading_memory(),
        );
        assert!(neurons > 1_000_000 && 100 * stretches < neurons, "{name}");
        assert!(points <= limits.points, "{name}: {points}");
        assert!(plan.expanded.memory() < 1 << 20, "{name}");
    }
}

/// A card of a few bytes may ask for as many blocks or stretches of rows as the limit on slots has neurons.
#[test]
fn many_blocks_and_stretches_count_as_pieces() {
    let end = |w: &mut Writer, value: ValueRef, len: u32| {
        let one = w.view(value, &[1], &[(&[1], len, 0)]);
        w.neurons((1, 1, 1), Unit::LINEAR, &[(one, 1, Weights::Committed)]);
    };
    let refused = |w: Writer, node: usize| {
        let limits = Limits::default();
        match Plan::new(w.finish(), 16, &limits) {
            Err(CardError::Program(ProgramError::Node {
                node: found,
                reason,
            })) => {
                assert!(
                    found == node && reason.contains("pieces"),
                    "{found}: {reason}"
                );
            }
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    let many = 1 << 24;
    let plain = || Unit {
        high: true,
        ..Unit::LINEAR
    };
    let mut w = Writer::new(1);
    let read = w.view(ValueRef::new(0), &[2 * many], &[(&[0], 1, 0)]);
    let groups = w.neurons((many, 1, 2), plain(), &[(read, 1, Weights::Committed)]);
    end(&mut w, groups, 2 * many);
    refused(w, 2);
    let mut w = Writer::new(1);
    let leader = w.neurons(
        (1, many, 1),
        plain(),
        &[(ValueRef::new(0), 1, Weights::Committed)],
    );
    let shared = Weights::Shared(leader.node);
    let member = w.neurons((1, many, 1), plain(), &[(ValueRef::new(0), 1, shared)]);
    end(&mut w, member, many);
    refused(w, 1);
    // Rows that are looked up stand in fixed columns, which a verifier commits to.
    let mut w = Writer::new(4);
    let keys = w.neurons(
        (1, 1, 4),
        Unit::LINEAR,
        &[(ValueRef::new(0), 1, Weights::Public(vec![1]))],
    );
    let rows = w.neurons(
        (1, 2, 4),
        Unit::LINEAR,
        &[(keys, 1 << 22, Weights::Gathered)],
    );
    end(&mut w, rows, 8);
    refused(w, 2);
}
