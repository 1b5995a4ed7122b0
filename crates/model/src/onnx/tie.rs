//! Which nodes of the graph are one operation in several steps of a loop: their [ties](crate::graph::GraphNode::tie).
//!
//! A node is identified by the place in the loop's body that it was lowered from, by what it computes and from what (the ties of
//! its operands), and by how many nodes alike came before it in its step. A tie that groups too much would cost precision
//! and one that groups too little costs commitments; neither can make a proof wrong.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use crate::graph::{Gather, Linear, Op, Tie};

/// A node of a body, in a loop.
type Place = (u32, usize);

/// Ties while loops are unrolled.
#[derive(Default)]
pub(super) struct Ties {
    /// Loops by where they stand: in no other loop's body or at a place of one.
    loops: HashMap<(Option<Place>, usize), u32>,
    known: HashMap<(Place, u64), Tie>,
    count: u32,
    /// The loops that are being unrolled, outermost first.
    open: Vec<Open>,
}

struct Open {
    place: Place,
    /// How often every operation occurred in this step.
    seen: HashMap<(usize, u64), u32>,
}

impl Ties {
    /// How many loops are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Opens the loop that node `node` is.
    pub(super) fn enter(&mut self, node: usize) {
        let key = (self.open.last().map(|o| o.place), node);
        let next = self.loops.len() as u32;
        let place = (*self.loops.entry(key).or_insert(next), 0);
        let seen = HashMap::new();
        self.open.push(Open { place, seen });
    }

    /// The next step of the innermost loop begins.
    pub(super) fn step(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.seen.clear();
        }
    }

    /// Node `node` of the innermost loop's body is about to be lowered.
    pub(super) fn at(&mut self, node: usize) {
        if let Some(open) = self.open.last_mut() {
            open.place.1 = node;
        }
    }

    /// Closes loops.
    pub(super) fn leave(&mut self, depth: usize) {
        self.open.truncate(depth);
    }

    /// The tie of operand, state or whatever `what` says, number `slot` of the innermost loop.
    pub(super) fn named(&mut self, what: &str, slot: usize) -> Option<Tie> {
        let (id, _) = self.open.last()?.place;
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Some(self.tie(((id, usize::MAX - slot), hasher.finish())))
    }

    /// The tie of the next node of the step.
    pub(super) fn next(&mut self, op: &Op, shape: &[usize], inputs: &[Option<Tie>]) -> Option<Tie> {
        let open = self.open.last_mut()?;
        let mut hasher = DefaultHasher::new();
        operation(op, &mut hasher);
        shape.hash(&mut hasher);
        inputs.hash(&mut hasher);
        let place = open.place;
        let occurrence = open.seen.entry((place.1, hasher.finish())).or_default();
        occurrence.hash(&mut hasher);
        *occurrence += 1;
        Some(self.tie((place, hasher.finish())))
    }

    fn tie(&mut self, key: (Place, u64)) -> Tie {
        *self.known.entry(key).or_insert_with(|| {
            self.count += 1;
            Tie(self.count - 1)
        })
    }
}

fn operation(op: &Op, hasher: &mut DefaultHasher) {
    fn floats(values: &[f32], hasher: &mut DefaultHasher) {
        values.len().hash(hasher);
        values.iter().for_each(|v| v.to_bits().hash(hasher));
    }
    let text = |value: &dyn Debug, hasher: &mut DefaultHasher| format!("{value:?}").hash(hasher);
    std::mem::discriminant(op).hash(hasher);
    match op {
        Op::Constant(values) => floats(values, hasher),
        Op::Affine { scale, shift } => {
            floats(scale, hasher);
            floats(shift, hasher);
        }
        Op::Linear(Linear {
            groups,
            outputs,
            positions,
            inputs,
            patches,
            weights,
            bias,
        }) => {
            (groups, outputs, positions, inputs).hash(hasher);
            text(patches, hasher);
            floats(weights, hasher);
            floats(bias, hasher);
        }
        Op::Gather(Gather {
            outputs,
            rows,
            weights,
        }) => {
            (outputs, rows).hash(hasher);
            floats(weights, hasher);
        }
        other => text(other, hasher),
    }
}
