//! Changes of decoded objects.

use crate::bytes::{Random, below, small_point};
use ff::{Field, PrimeField};
use group::GroupEncoding;
use rand_core::Rng;
use zkinfer_circuits::card::{Card, Proof};
use zkinfer_circuits::link::LinkProof;
use zkinfer_circuits::program::{Node, Program, Weights};
use zkinfer_circuits::statement::{Claim, Side};
use zkinfer_circuits::verify::Expected;
use zkinfer_circuits::{C, F};

fn scalar(rng: &mut Random, v: &mut F) {
    *v = match below(rng, 5) {
        0 => *v + F::ONE,
        1 => -*v,
        2 => F::ZERO,
        3 => v.double(),
        _ => F::from(rng.next_u64()),
    };
}

fn point(rng: &mut Random, v: &mut C) {
    *v = match below(rng, 3) {
        0 => -*v,
        1 => C::default(),
        _ => small_point(rng),
    };
}

/// Halo2 bytes: elements that are other valid ones, exchanged, or repeated.
fn halo2(rng: &mut Random, bytes: &mut [u8]) {
    let count = bytes.len() / 32;
    if count < 2 {
        return;
    }
    let (a, b) = (below(rng, count), below(rng, count));
    let place = |i: usize| 32 * i..32 * (i + 1);
    let mut repr = [0; 32];
    repr.copy_from_slice(&bytes[place(a)]);
    match below(rng, 4) {
        0 => {
            bytes.copy_within(place(b), 32 * a);
            bytes[place(b)].copy_from_slice(&repr);
        }
        // The opposite point, or another scalar.
        1 => bytes[place(a)][31] ^= 0x80,
        2 => {
            if let Some(mut v) = Option::<F>::from(F::from_repr(repr)) {
                scalar(rng, &mut v);
                bytes[place(a)].copy_from_slice(v.to_repr().as_ref());
            }
        }
        _ => {
            let other = small_point(rng).to_bytes();
            bytes[place(a)].copy_from_slice(other.as_ref());
        }
    }
}

fn link(rng: &mut Random, link: &mut LinkProof) {
    match below(rng, 8) {
        0 => point(rng, &mut link.commitment),
        1 => scalar(rng, &mut link.blind),
        _ => {
            let row = below(rng, link.rows.len());
            scalar(rng, &mut link.rows[row]);
        }
    }
}

/// Another claim, never the same one in another form.
fn claim(rng: &mut Random, claim: &mut Claim) {
    match claim {
        Claim::Values(values) => list(rng, values, |rng, v| *v ^= 1 << (rng.next_u32() % 16)),
        Claim::Digest(digest) => digest.0[below(rng, 32)] ^= 1 << below(rng, 8),
        Claim::Committed(points) => list(rng, points, point),
    }
}

/// A list with another element, one less, one more, or in another order.
fn list<T: Clone>(rng: &mut Random, list: &mut Vec<T>, change: impl Fn(&mut Random, &mut T)) {
    let (a, b) = (below(rng, list.len()), below(rng, list.len()));
    match below(rng, 6) {
        0 => drop(list.pop()),
        1 => list.extend(list.first().cloned()),
        2 if a != b => list.swap(a, b),
        _ => {
            if let Some(v) = list.get_mut(a) {
                change(rng, v);
            }
        }
    }
}

/// A proof with a part that is another one; the file of it.
pub fn proof(rng: &mut Random, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut proof = Proof::from_bytes(bytes, bytes.len()).ok()?;
    let at = below(rng, proof.segments.len());
    let segment = proof.segments.get_mut(at)?;
    match below(rng, 10) {
        0 => list(rng, &mut proof.context, |rng, b| *b = rng.next_u32() as u8),
        1 => proof.card.0[below(rng, 32)] ^= 1,
        2 | 3 => {
            let run = below(rng, proof.runs.len());
            let (input, output) = proof.runs.get_mut(run)?;
            let side = match below(rng, 2) {
                0 => input,
                _ => output,
            };
            claim(rng, side);
        }
        4 => list(rng, &mut proof.runs, |rng, run| claim(rng, &mut run.0)),
        5 => link(rng, &mut segment.link),
        6 => list(rng, &mut segment.boundary, |rng, lanes| {
            list(rng, lanes, point)
        }),
        7 => list(rng, &mut proof.segments, |rng, s| halo2(rng, &mut s.halo2)),
        _ => halo2(rng, &mut segment.halo2),
    }
    Some(proof.to_bytes())
}

/// A card with a part that is another one; the file of it.
pub fn card(rng: &mut Random, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut card = Card::from_bytes(bytes, bytes.len()).ok()?;
    let at = below(rng, card.segments.len());
    let segment = card.segments.get_mut(at)?;
    match below(rng, 9) {
        0 => card.k = [0, 5, 6, card.k + 1, 31, 32, 64, u32::MAX][below(rng, 8)],
        1 => list(rng, &mut card.info, |rng, b| *b = rng.next_u32() as u8),
        2 => {
            let points = match below(rng, 2) {
                0 => &mut segment.points,
                _ => &mut segment.fixed,
            };
            list(rng, points, point);
        }
        3 => {
            let pairs = match below(rng, 2) {
                0 => &mut segment.support.halvings,
                _ => &mut segment.support.rounds,
            };
            list(rng, pairs, |rng, pair| {
                let side = below(rng, 2);
                point(rng, &mut pair[side]);
            });
        }
        4 => match below(rng, 3) {
            0 => {
                let side = below(rng, 2);
                point(rng, &mut segment.support.mask[side]);
            }
            1 => scalar(rng, &mut segment.support.value),
            _ => scalar(rng, &mut segment.support.blind),
        },
        5 => list(rng, &mut card.segments, |rng, s| {
            program(rng, &mut s.program)
        }),
        _ => program(rng, &mut segment.program),
    }
    Some(card.to_bytes())
}

fn program(rng: &mut Random, program: &mut Program) {
    let number = |rng: &mut Random, v: &mut u32| {
        *v = match below(rng, 6) {
            0 => 0,
            1 => u32::MAX,
            2 => v.wrapping_add(1),
            3 => v.wrapping_sub(1),
            4 => 1 << below(rng, 32),
            _ => rng.next_u32() % 100,
        }
    };
    let signed = |rng: &mut Random, v: &mut i64| {
        *v = match below(rng, 5) {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => v.wrapping_neg(),
            3 => v.wrapping_add(1),
            _ => rng.next_u32() as i64,
        }
    };
    match below(rng, 8) {
        0 => return number(rng, &mut program.range_bits),
        1 => return list(rng, &mut program.outputs, number),
        2 => return list(rng, &mut program.nodes, |_, _| ()),
        _ => {}
    }
    let at = below(rng, program.nodes.len());
    match program.nodes.get_mut(at) {
        None => {}
        Some(Node::Input { len } | Node::Hint { len } | Node::Constant { len }) => number(rng, len),
        Some(Node::View { source, view }) => match below(rng, 4) {
            0 => number(rng, &mut source.node),
            1 => number(rng, &mut source.port),
            2 => list(rng, &mut view.loops, number),
            _ => list(rng, &mut view.axes, |rng, axis| match below(rng, 3) {
                0 => number(rng, &mut axis.extent),
                1 => signed(rng, &mut axis.offset),
                _ => list(rng, &mut axis.strides, signed),
            }),
        },
        Some(Node::Concat { sources }) => list(rng, sources, |rng, s| number(rng, &mut s.node)),
        Some(Node::Sum { source, group }) => {
            number(rng, &mut source.node);
            number(rng, group);
        }
        Some(Node::Neurons(n)) => match below(rng, 9) {
            0 => number(rng, &mut n.groups),
            1 => number(rng, &mut n.outputs),
            2 => number(rng, &mut n.positions),
            3 => number(rng, &mut n.unit.window),
            4 => n.unit.low = !n.unit.low,
            5 => n.unit.high = !n.unit.high,
            6 => list(rng, &mut n.unit.tables, number),
            _ => list(rng, &mut n.terms, |rng, term| match below(rng, 4) {
                0 => number(rng, &mut term.patches.node),
                1 => number(rng, &mut term.inputs),
                2 if below(rng, 2) == 0 => term.weights = Weights::Gathered,
                2 => term.weights = Weights::Public(vec![1; below(rng, 100)]),
                _ => {
                    if let Weights::Public(weights) = &mut term.weights {
                        list(rng, weights, signed);
                    }
                }
            }),
        },
    }
}

/// Expects something else of one of the runs; tells whether it did.
pub fn statement(rng: &mut Random, expected: &mut Vec<Expected>) -> bool {
    let run = below(rng, expected.len());
    let side = |rng: &mut Random, side: &mut Option<Side>| {
        let Some(value) = side else { return false };
        let before = value.clone();
        match value {
            Side::Public(values) => list(rng, values, |rng, v| *v ^= 1 << (rng.next_u32() % 16)),
            Side::Committed(points) => list(rng, points, point),
        }
        *value != before
    };
    match below(rng, 4) {
        0 => {
            let context = &mut expected[run].context;
            let before = context.clone();
            list(rng, context, |rng, b| *b ^= 1 << (rng.next_u32() % 8));
            *context != before
        }
        1 => side(rng, &mut expected[run].input),
        2 => side(rng, &mut expected[run].output),
        // Another number of runs; a single one that leaves both sides open stands for all.
        _ => {
            let one = expected[run].clone();
            expected.push(one);
            true
        }
    }
}
