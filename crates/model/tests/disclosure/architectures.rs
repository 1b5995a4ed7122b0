//! Architectures whose cards are compared.

use zkinfer_circuits::program::{Axis, View};
use zkinfer_model::disclosure::Disclosed;
use zkinfer_model::graph::{Activation, BinaryOp, Graph, Linear, MatMul, Op, ScalarFn, ScalarOp};

use crate::builder::{Builder, Numbers, conv};

/// A graph with weights of the given seed; what two of them may differ in, besides scales.
pub struct Architecture {
    pub name: &'static str,
    pub graph: fn(u64) -> Graph,
    pub allowed: &'static [Disclosed],
}

pub const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "dense",
        graph: dense,
        allowed: &[],
    },
    Architecture {
        name: "convolutions, residual",
        graph: convolutions,
        allowed: &[],
    },
    Architecture {
        name: "silent channels",
        graph: silent,
        allowed: &[],
    },
    Architecture {
        name: "relu of a sum",
        graph: positive,
        allowed: &[],
    },
    Architecture {
        name: "attention",
        graph: attention,
        allowed: &[Disclosed::Logits, Disclosed::Masks, Disclosed::Products],
    },
    Architecture {
        name: "products",
        graph: products,
        allowed: &[Disclosed::Products],
    },
    Architecture {
        name: "softmax",
        graph: softmax,
        allowed: &[Disclosed::Logits, Disclosed::Masks],
    },
    Architecture {
        name: "learned slope",
        graph: learned_slope,
        allowed: &[Disclosed::Tables],
    },
    Architecture {
        name: "layer normalization",
        graph: layer_normalization,
        allowed: &[Disclosed::Tables, Disclosed::Products],
    },
    Architecture {
        name: "clip",
        graph: clip,
        allowed: &[Disclosed::Choices],
    },
    Architecture {
        name: "gated cell",
        graph: gated,
        allowed: &[Disclosed::Tables, Disclosed::Products],
    },
];

fn dense(seed: u64) -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(seed));
    let x = b.input(&[1, 12]);
    let h = b.dense(&mut r, x, 9);
    let h = b.relu(h);
    let y = b.dense(&mut r, h, 4);
    b.finish(&[y])
}

/// Scales and shifts of their own for every channel.
fn normalized(b: &mut Builder, r: &mut Numbers, x: usize) -> usize {
    let shape = b.nodes[x].shape.clone();
    let each = shape[2..].iter().product::<usize>();
    let spread = |r: &mut Numbers, middle: f32| -> Vec<f32> {
        (0..shape[1])
            .flat_map(|_| vec![middle + r.next(); each])
            .collect()
    };
    let (scale, shift) = (spread(r, 0.2), spread(r, 0.0));
    b.op(Op::Affine { scale, shift }, &[x])
}

fn convolutions(seed: u64) -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(seed));
    let x = b.input(&[1, 2, 8, 8]);
    let h = b.conv(&mut r, x, conv(4, 3, 1));
    let h = normalized(&mut b, &mut r, h);
    let h = b.relu(h);
    let skip = b.maxpool(h, 2, 2, 0);
    let h = b.conv(&mut r, skip, conv(4, 3, 1));
    let h = normalized(&mut b, &mut r, h);
    let h = b.op(Op::Add, &[h, skip]);
    let h = b.relu(h);
    let h = b.avgpool(h, 4);
    let y = b.dense(&mut r, h, 5);
    b.finish(&[y])
}

/// Some channels never rise above zero: which ones must not be seen.
fn silent(seed: u64) -> Graph {
    let mut graph = convolutions(seed);
    for node in &mut graph.nodes {
        if let Op::Linear(l) = &mut node.op {
            for (o, bias) in l.bias.iter_mut().enumerate() {
                if (seed >> (o % 32)) & 1 == 1 {
                    *bias -= 20.0;
                }
            }
        }
    }
    graph
}

/// A shift that makes everything positive, or does not.
fn positive(seed: u64) -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(seed));
    let x = b.input(&[1, 6]);
    let h = b.dense(&mut r, x, 6);
    let h = b.relu(h);
    let shift = vec![if seed.is_multiple_of(2) { 0.5 } else { -0.5 }];
    let h = b.op(
        Op::Affine {
            scale: vec![1.0],
            shift,
        },
        &[h],
    );
    let y = b.relu(h);
    b.finish(&[y])
}

const TOKENS: usize = 5;
const WIDTH: usize = 8;
const HEADS: usize = 2;

/// One matrix for every token: `[features][tokens]` of `[features][tokens]`.
fn projection(b: &mut Builder, r: &mut Numbers, x: usize) -> usize {
    let patches = View {
        loops: vec![TOKENS as u32, WIDTH as u32],
        axes: vec![Axis {
            extent: (TOKENS * WIDTH) as u32,
            offset: 0,
            strides: vec![1, TOKENS as i64],
        }],
    };
    let linear = Linear {
        groups: 1,
        outputs: WIDTH,
        positions: TOKENS,
        inputs: WIDTH,
        patches,
        weights: r.vec(WIDTH * WIDTH, 0.6),
        bias: r.vec(WIDTH, 1.5),
    };
    b.add(Op::Linear(linear), &[x], &[WIDTH, TOKENS])
}

/// Reads `[features][tokens]` head by head, with these strides of the second and third loop.
fn head(loops: [usize; 2], strides: [i64; 2]) -> View {
    View {
        loops: [HEADS, loops[0], loops[1]].map(|l| l as u32).to_vec(),
        axes: vec![Axis {
            extent: (TOKENS * WIDTH) as u32,
            offset: 0,
            strides: vec![(TOKENS * WIDTH / HEADS) as i64, strides[0], strides[1]],
        }],
    }
}

pub fn attention(seed: u64) -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(seed));
    let x = b.input(&[WIDTH, TOKENS]);
    let [q, k, v] = [(); 3].map(|()| projection(&mut b, &mut r, x));
    let (each, step) = (WIDTH / HEADS, TOKENS as i64);
    let scores = MatMul {
        groups: HEADS,
        outputs: TOKENS,
        positions: TOKENS,
        inputs: each,
        left: head([TOKENS, each], [1, step]),
        right: head([TOKENS, each], [1, step]),
    };
    let scores = b.add(Op::MatMul(scores), &[q, k], &[HEADS, TOKENS, TOKENS]);
    let scaled = Op::Affine {
        scale: vec![1.0 / (each as f32).sqrt()],
        shift: vec![0.0],
    };
    let scores = b.op(scaled, &[scores]);
    let chosen = b.op(Op::Softmax { len: TOKENS }, &[scores]);
    let mixed = MatMul {
        groups: HEADS,
        outputs: TOKENS,
        positions: each,
        inputs: TOKENS,
        left: View::identity(HEADS * TOKENS * TOKENS),
        right: head([each, TOKENS], [step, 1]),
    };
    let y = b.add(Op::MatMul(mixed), &[chosen, v], &[HEADS, TOKENS, each]);
    b.finish(&[y])
}

/// Element by element, of operands that may or may not lie around zero.
fn products(seed: u64) -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(seed));
    let x = b.input(&[1, 6]);
    let (p, q) = (b.dense(&mut r, x, 6), b.dense(&mut r, x, 6));
    let product = || Op::Product {
        left: View::identity(6),
        right: View::identity(6),
        group: 1,
    };
    let h = b.op(product(), &[p, q]);
    let y = b.op(product(), &[h, p]);
    b.finish(&[y])
}

fn softmax(seed: u64) -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(seed));
    let x = b.input(&[1, 12]);
    let h = b.dense(&mut r, x, 6);
    let size = [1.0, 12.0][(seed % 2) as usize];
    let h = b.op(
        Op::Affine {
            scale: vec![size],
            shift: vec![0.0],
        },
        &[h],
    );
    let y = b.op(Op::Softmax { len: 6 }, &[h]);
    b.finish(&[y])
}

fn scalar(b: &mut Builder, f: ScalarFn, x: usize) -> usize {
    b.activation(Activation::Scalar(f), x)
}

fn apply(op: ScalarOp, f: ScalarFn) -> ScalarFn {
    ScalarFn::Apply(op, Box::new(f))
}

fn combine(op: BinaryOp, f: ScalarFn, g: ScalarFn) -> ScalarFn {
    ScalarFn::Combine(op, Box::new(f), Box::new(g))
}

/// `x·σ(βx)`, with a β that was learned.
fn learned_slope(seed: u64) -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(seed));
    let x = b.input(&[1, 8]);
    let h = b.dense(&mut r, x, 8);
    let beta = ScalarFn::Const(f64::from(1.5 + r.next()));
    let gate = apply(ScalarOp::Sigmoid, combine(BinaryOp::Mul, ScalarFn::X, beta));
    let h = scalar(&mut b, combine(BinaryOp::Mul, ScalarFn::X, gate), h);
    let y = b.dense(&mut r, h, 3);
    b.finish(&[y])
}

fn layer_normalization(seed: u64) -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(seed));
    let x = b.input(&[1, 16]);
    let h = b.dense(&mut r, x, 16);
    let mean = |b: &mut Builder, x: usize| {
        let sum = b.add(Op::Sum { group: 16 }, &[x], &[1, 1]);
        let affine = Op::Affine {
            scale: vec![1.0 / 16.0],
            shift: vec![0.0],
        };
        b.op(affine, &[sum])
    };
    let repeat = View {
        loops: vec![16],
        axes: vec![Axis {
            extent: 1,
            offset: 0,
            strides: vec![0],
        }],
    };
    let middle = mean(&mut b, h);
    let middle = b.add(Op::View(repeat.clone()), &[middle], &[1, 16]);
    let minus = Op::Affine {
        scale: vec![-1.0],
        shift: vec![0.0],
    };
    let middle = b.op(minus, &[middle]);
    let h = b.op(Op::Add, &[h, middle]);
    let squares = scalar(&mut b, apply(ScalarOp::Square, ScalarFn::X), h);
    let variance = mean(&mut b, squares);
    let shifted = combine(BinaryOp::Add, ScalarFn::X, ScalarFn::Const(1e-3));
    let factor = scalar(&mut b, apply(ScalarOp::Rsqrt, shifted), variance);
    let h = b.op(
        Op::Product {
            left: View::identity(16),
            right: repeat,
            group: 1,
        },
        &[h, factor],
    );
    let affine = Op::Affine {
        scale: r.vec(16, 1.0),
        shift: r.vec(16, 0.5),
    };
    let h = b.op(affine, &[h]);
    let y = b.dense(&mut r, h, 4);
    b.finish(&[y])
}

fn clip(seed: u64) -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(seed));
    let x = b.input(&[1, 8]);
    let h = b.dense(&mut r, x, 8);
    let h = b.activation(
        Activation::Clip {
            low: -1.5,
            high: 2.0,
        },
        h,
    );
    let y = b.dense(&mut r, h, 3);
    b.finish(&[y])
}

/// `σ(a)·tanh(b)`, as in a recurrent cell.
fn gated(seed: u64) -> Graph {
    let (mut b, mut r) = (Builder::default(), Numbers(seed));
    let x = b.input(&[1, 8]);
    let gate = b.dense(&mut r, x, 8);
    let gate = scalar(&mut b, apply(ScalarOp::Sigmoid, ScalarFn::X), gate);
    let value = b.dense(&mut r, x, 8);
    let value = scalar(&mut b, apply(ScalarOp::Tanh, ScalarFn::X), value);
    let product = Op::Product {
        left: View::identity(8),
        right: View::identity(8),
        group: 1,
    };
    let y = b.op(product, &[gate, value]);
    b.finish(&[y])
}
