//! Hints are accepted only where the program pins them down.
//!
//! A [`Node::Hint`] is the prover's choice. A card with a hint that nothing constrains would allow several outputs for one
//! input, so the one use there is, the normaliser of a softmax, is recognised by its shape and everything else is refused.
//!
//! Let `L = lo + 2^T·hi` be two hints. What is required, for tables `f`, `g`, and steps `i` of a node `N`:
//!
//! 1. `N` has an upper clamp only and accumulators `2^T·lo + 2^(2T)·hi + R_i`, where `R_i` depends on nothing behind the hint;
//! 2. `f` does not increase, `g(x) ≥ f(x + 1)` and `g(top) ≥ f(top)`;
//! 3. two linear nodes without committed weights have, for a set of steps that all use this `L`, the accumulators
//!    `a + Σ f` and `b − Σ g`, with `a + b < 0`.
//!
//! *At most one `L` can be proven.* With `v_i = ⌊R_i/2^T⌋ + L ≥ 0` (there is no lower clamp) and `d_i = min(v_i, top)`, a linear
//! unit proves its accumulator to be at least 0: `Σ f(d_i) ≥ −a` and `Σ g(d_i) ≤ b`. If `L < L'` could both be proven, then
//! `f(d'_i) ≤ g(d_i)` for every step by (2), so `−a ≤ Σ f(d'_i) ≤ Σ g(d_i) ≤ b`, against (3). Digits in `[0, 2^T)` are unique. The
//! argument needs nothing of `R_i`, so its weights may be secret.

use crate::checks::{Check, holds, is_off};
use crate::error::ProgramError;
use crate::program::{Expanded, Neurons, Node, ONE, Program, Term, Unit, ValueRef, Weights, ZERO};
use std::collections::BTreeMap;
use std::ops::Range;

/// Elements that [`check`] looks at.
pub(crate) fn cost(program: &Program, expanded: &Expanded) -> u64 {
    if program.nodes.iter().any(|n| matches!(n, Node::Hint { .. })) {
        return expanded.cost(program, looked_at(program));
    }
    0
}

/// Checks that every hint is pinned down. Takes time in proportion to the elements of what is looked at, once each, which may
/// be at most `elements` ([`ProgramLimits::elements`](crate::program::ProgramLimits::elements)).
///
/// # Errors
/// Names the hint that is not, or the first one where the limit is exceeded.
pub fn check(program: &Program, expanded: &Expanded, elements: u64) -> Result<(), ProgramError> {
    let hint = |(index, node): (usize, &Node)| match node {
        Node::Hint { len } => Some((index, vec![false; *len as usize])),
        _ => None,
    };
    let nodes = program.nodes.iter().enumerate();
    let mut pinned: BTreeMap<usize, Vec<bool>> = nodes.filter_map(hint).collect();
    let Some(&first) = pinned.keys().next() else {
        return Ok(());
    };
    if cost(program, expanded) > elements {
        return Err(ProgramError::Node {
            node: first,
            reason: "the wiring around hints exceeds the limit on elements",
        });
    }
    let mut normalised = normalised(program, expanded);
    add_sums(program, expanded, &mut normalised);
    for n in normalised.values() {
        if let Some(pinned) = pinned.get_mut(&n.hint) {
            n.pin(expanded.first_slot[n.hint], pinned);
        }
    }
    match pinned.iter().find(|(_, pinned)| pinned.contains(&false)) {
        Some((node, _)) => Err(ProgramError::Node {
            node: *node,
            reason: "a hint that the program does not pin down",
        }),
        None => Ok(()),
    }
}

/// Whether neurons may be of the shape of `N`, as far as their unit tells.
fn may_be_normalised(n: &Neurons) -> bool {
    let unit = &n.unit;
    let alone = n.groups == 1 && n.outputs == 1 && unit.window == 1;
    alone && !unit.low && unit.high && !unit.deep && unit.tables.len() == 2
}

/// Whether neurons may be sums of steps.
fn may_be_sum(n: &Neurons) -> bool {
    let is_public = |t: &Term| matches!(t.weights, Weights::Public(_));
    n.unit == Unit::LINEAR && n.groups == 1 && n.outputs == 1 && n.terms.iter().all(is_public)
}

/// All values whose wiring is looked at.
fn looked_at(program: &Program) -> Vec<ValueRef> {
    let neurons = program.nodes.iter().filter_map(|node| match node {
        Node::Neurons(n) if may_be_normalised(n) || may_be_sum(n) => Some(n),
        _ => None,
    });
    let read = |n: &Neurons| {
        let patches = n.terms.iter().map(|t| t.patches);
        let operands = n.operands().map(|(_, value, _)| value);
        patches.chain(operands).collect::<Vec<_>>()
    };
    neurons.flat_map(read).collect()
}

/// Steps of accumulators, ascending, with repetitions, and the least constant that one has: one proven bound is enough, so
/// the sharpest counts.
type Sums = BTreeMap<Vec<u32>, i128>;

/// Times that every step of a node may be kept in sums of a port: more than one is of no use.
const KEPT: usize = 4;

/// A node that has the shape of `N`.
struct Normalised {
    /// Whose digits it reads.
    hint: usize,
    /// The digits `(lo, hi)` of every step.
    digits: Vec<(u32, u32)>,
    /// Slots of `f` and of `g`.
    ports: [Range<u32>; 2],
    /// `a + Σ f`, and `b − Σ g`.
    sums: [Sums; 2],
    /// Steps that are kept in them.
    kept: [usize; 2],
}

impl Normalised {
    /// Marks the hints that the sums pin down. `first` is the hints' first slot.
    fn pin(&self, first: u32, pinned: &mut [bool]) {
        let [below, above] = &self.sums;
        for (steps, a) in below {
            let digits = |&s: &u32| self.digits.get(s as usize).copied();
            let Some((lo, hi)) = steps.first().and_then(digits) else {
                continue;
            };
            let one = steps.iter().all(|s| digits(s) == Some((lo, hi)));
            let one = holds(Check::HintOne, one);
            let gap = |b: &i128| holds(Check::HintGap, a + b < 0);
            if one && lo != hi && above.get(steps).is_some_and(gap) {
                for slot in [lo, hi] {
                    let hint = slot.checked_sub(first).map(|i| i as usize);
                    if let Some(p) = hint.and_then(|i| pinned.get_mut(i)) {
                        *p = true;
                    }
                }
            }
        }
    }

    /// Keeps an accumulator of a port, if there is room.
    fn keep(&mut self, port: usize, steps: Vec<u32>, constant: i128) {
        if let Some(least) = self.sums[port].get_mut(&steps) {
            *least = constant.min(*least);
            return;
        }
        let room = KEPT.saturating_mul(self.ports[port].len());
        if self.kept[port] + steps.len() <= room {
            self.kept[port] += steps.len();
            self.sums[port].insert(steps, constant);
        }
    }
}

/// The node that a slot belongs to.
fn owner(expanded: &Expanded, slot: u32) -> Option<usize> {
    let behind = expanded.first_slot.partition_point(|&first| first <= slot);
    behind.checked_sub(1)
}

/// All nodes that have the shape of `N`, by their index.
fn normalised(program: &Program, expanded: &Expanded) -> BTreeMap<usize, Normalised> {
    let mut tables = BTreeMap::new();
    let of_node = |(index, node): (usize, &Node)| {
        let Node::Neurons(n) = node else { return None };
        let (hint, digits) = digits(program, expanded, n, &mut tables)?;
        let port = |port: u32| {
            let first = expanded.first_slot[index] + port * n.positions;
            first..first + n.positions
        };
        let normalised = Normalised {
            hint,
            digits,
            ports: [port(1), port(2)],
            sums: Default::default(),
            kept: [0; 2],
        };
        Some((index, normalised))
    };
    let nodes = program.nodes.iter().enumerate();
    nodes.filter_map(of_node).collect()
}

/// The hint that `n` reads and its digits `(lo, hi)` for every step, if `n` has the shape of `N`. `tables` knows of pairs of
/// tables whether they are as they should be.
fn digits(
    program: &Program,
    expanded: &Expanded,
    n: &Neurons,
    tables: &mut BTreeMap<(u32, u32), bool>,
) -> Option<(usize, Vec<(u32, u32)>)> {
    let [f, g] = n.unit.tables[..] else {
        return None;
    };
    if !may_be_normalised(n) {
        return None;
    }
    let radix = [program.range(), program.range() * program.range()];
    let is_digits = |t: &Term| matches!(&t.weights, Weights::Public(w) if w[..] == radix);
    let first = |t: &Term| expanded.value(program, t.patches).slots.first().copied();
    let read = |(t, term): (usize, &Term)| {
        let node = owner(expanded, first(term).filter(|_| is_digits(term))?)?;
        matches!(program.nodes[node], Node::Hint { .. }).then_some((node, t))
    };
    // Of several the last: nothing else that a step reads stands at or behind it.
    let terms = n.terms.iter().enumerate();
    let (hint, digits) = terms
        .filter_map(read)
        .max_by_key(|(node, t)| (*node, usize::MAX - t))?;
    let Node::Hint { len } = program.nodes[hint] else {
        return None;
    };
    let hints = expanded.first_slot[hint]..expanded.first_slot[hint] + len;
    let (falls, follows) = (
        program.tables.get(f as usize)?,
        program.tables.get(g as usize)?,
    );
    let right = tables.entry((f, g));
    if !*right.or_insert_with(|| falling(falls, follows)) {
        return None;
    }
    for (t, term) in n.terms.iter().enumerate() {
        let wires = expanded.value(program, term.patches);
        let fits = if t == digits {
            wires.width == 1 && wires.slots.iter().all(|s| hints.contains(s))
        } else {
            wires.slots.iter().all(|&s| s < hints.start)
        };
        if !holds(Check::HintReads, fits) {
            return None;
        }
    }
    let before = |value| {
        expanded
            .value(program, value)
            .slots
            .iter()
            .all(|&s| s < hints.start)
    };
    let operands = n.operands().all(|(_, value, _)| before(value));
    if !holds(Check::HintOperands, operands) {
        return None;
    }
    let wires = expanded.value(program, n.terms[digits].patches);
    let pairs = wires.slots.chunks_exact(2);
    Some((hint, pairs.map(|pair| (pair[0], pair[1])).collect()))
}

/// Condition 2.
fn falling(f: &[u16], g: &[u16]) -> bool {
    let next = f.iter().skip(1).chain(f.last());
    let falls = f.windows(2).all(|pair| pair[1] <= pair[0]);
    let follows = g.iter().zip(next).all(|(g, f)| g >= f);
    holds(Check::HintFalls, falls) && holds(Check::HintFollows, follows)
}

/// Gives every sum to the node whose steps it adds up.
fn add_sums(program: &Program, expanded: &Expanded, normalised: &mut BTreeMap<usize, Normalised>) {
    for node in &program.nodes {
        let Node::Neurons(m) = node else { continue };
        if !may_be_sum(m) {
            continue;
        }
        let Some((index, port)) = summed(program, expanded, m, normalised) else {
            continue;
        };
        let Some(n) = normalised.get_mut(&index) else {
            continue;
        };
        for position in 0..m.positions as usize {
            let first = n.ports[port].start;
            let (mut steps, constant) = accumulator(program, expanded, m, position, first);
            if steps.is_empty() {
                continue;
            }
            steps.sort_unstable();
            if is_off(Check::HintRepeats) {
                steps.dedup();
            }
            n.keep(port, steps, constant);
        }
    }
}

/// Which node's and port's steps `m` sums, if it sums constants and steps of one port of one node alone: those of `f`, or
/// the opposites of those of `g`.
fn summed(
    program: &Program,
    expanded: &Expanded,
    m: &Neurons,
    normalised: &BTreeMap<usize, Normalised>,
) -> Option<(usize, usize)> {
    // The first slot that is none of a constant decides about which node it is.
    let of_slot = |slot: u32| {
        let index = owner(expanded, slot)?;
        let ports = &normalised.get(&index)?.ports;
        let port = ports.iter().position(|port| port.contains(&slot))?;
        Some((index, port, ports[port].clone()))
    };
    let mut found: Option<(usize, usize, Range<u32>)> = None;
    for term in &m.terms {
        let Weights::Public(weights) = &term.weights else {
            return None;
        };
        let wires = expanded.value(program, term.patches);
        for element in 0..m.positions as usize * weights.len() {
            let weight = weights[element % weights.len()];
            for &slot in wires.element(element) {
                if slot == ZERO || slot == ONE {
                    continue;
                }
                if found.is_none() {
                    found = Some(of_slot(slot)?);
                }
                let (_, port, slots) = found.as_ref()?;
                if !slots.contains(&slot) || weight != [1, -1][*port] {
                    return None;
                }
            }
        }
    }
    found.map(|(index, port, _)| (index, port))
}

/// Steps and constant of an accumulator of a [summed] node; `first` is the first step's slot.
fn accumulator(
    program: &Program,
    expanded: &Expanded,
    m: &Neurons,
    position: usize,
    first: u32,
) -> (Vec<u32>, i128) {
    let (mut steps, mut constant) = (Vec::new(), 0);
    for term in &m.terms {
        let Weights::Public(weights) = &term.weights else {
            continue;
        };
        let wires = expanded.value(program, term.patches);
        for (i, &weight) in weights.iter().enumerate() {
            for &slot in wires.element(position * weights.len() + i) {
                match slot {
                    ZERO => {}
                    ONE => constant += i128::from(weight),
                    step => steps.push(step - first),
                }
            }
        }
    }
    (steps, constant)
}
