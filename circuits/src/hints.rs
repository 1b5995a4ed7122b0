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
use crate::program::{Expanded, Neurons, Node, ONE, Program, Term, Unit, Weights, ZERO};
use std::collections::BTreeMap;
use std::ops::Range;

/// Checks that every hint is pinned down.
///
/// # Errors
/// Names the hint that is not.
pub fn check(program: &Program, expanded: &Expanded) -> Result<(), ProgramError> {
    for (index, node) in program.nodes.iter().enumerate() {
        let Node::Hint { len } = node else { continue };
        let first = expanded.first_slot[index];
        let mut pinned = vec![false; *len as usize];
        for (later, node) in program.nodes.iter().enumerate().skip(index + 1) {
            if let Node::Neurons(n) = node {
                pin(program, expanded, first..first + len, later, n, &mut pinned);
            }
        }
        if pinned.contains(&false) {
            return Err(ProgramError::Node {
                node: index,
                reason: "a hint that the program does not pin down",
            });
        }
    }
    Ok(())
}

/// Marks the hints that `n`, as the node `N` of the argument, and its sums pin down.
fn pin(
    program: &Program,
    expanded: &Expanded,
    hints: Range<u32>,
    index: usize,
    n: &Neurons,
    pinned: &mut [bool],
) {
    let Some(digits) = digits(program, expanded, &hints, n) else {
        return;
    };
    let count = n.positions;
    let port = |port: u32| {
        expanded.first_slot[index] + port * count..expanded.first_slot[index] + (port + 1) * count
    };
    // Steps that are summed, and the greatest `b`, resp. all `a`.
    let mut above: BTreeMap<Vec<u32>, i128> = BTreeMap::new();
    let mut below = Vec::new();
    for node in program.nodes.iter().skip(index + 1) {
        let Node::Neurons(m) = node else { continue };
        if m.unit != Unit::LINEAR || m.groups != 1 || m.outputs != 1 {
            continue;
        }
        below.extend(sums(expanded, m, port(1), 1).unwrap_or_default());
        for (steps, b) in sums(expanded, m, port(2), -1).unwrap_or_default() {
            // One proven bound is enough, so the sharpest counts.
            let entry = above.entry(steps).or_insert(b);
            *entry = b.min(*entry);
        }
    }
    for (steps, a) in below {
        let Some(&(lo, hi)) = steps.first().and_then(|&s| digits.get(s as usize)) else {
            continue;
        };
        let one = steps
            .iter()
            .all(|&s| digits.get(s as usize) == Some(&(lo, hi)));
        let one = holds(Check::HintOne, one);
        let gap = |b: &i128| holds(Check::HintGap, a + b < 0);
        if one && lo != hi && above.get(&steps).is_some_and(gap) {
            for slot in [lo, hi] {
                if let Some(p) = slot
                    .checked_sub(hints.start)
                    .and_then(|i| pinned.get_mut(i as usize))
                {
                    *p = true;
                }
            }
        }
    }
}

/// The digits `(lo, hi)` of every step, if `n` has the shape of `N`.
fn digits(
    program: &Program,
    expanded: &Expanded,
    hints: &Range<u32>,
    n: &Neurons,
) -> Option<Vec<(u32, u32)>> {
    let unit = &n.unit;
    let [f, g] = unit.tables[..] else { return None };
    if n.groups != 1 || n.outputs != 1 || unit.window != 1 || unit.low || !unit.high {
        return None;
    }
    let radix = [program.range(), program.range() * program.range()];
    let is_digits = |t: &Term| matches!(&t.weights, Weights::Public(w) if w[..] == radix);
    let reads_hints = |t: &Term| {
        expanded
            .value(t.patches)
            .slots
            .first()
            .is_some_and(|s| hints.contains(s))
    };
    // Cheap tests first: a card may have many hints and many nodes.
    let digits = n
        .terms
        .iter()
        .position(|t| is_digits(t) && reads_hints(t))?;
    if !falling(
        program.tables.get(f as usize)?,
        program.tables.get(g as usize)?,
    ) {
        return None;
    }
    for (t, term) in n.terms.iter().enumerate() {
        let wires = expanded.value(term.patches);
        let fits = if t == digits {
            wires.width == 1 && wires.slots.iter().all(|s| hints.contains(s))
        } else {
            wires.slots.iter().all(|&s| s < hints.start)
        };
        if !holds(Check::HintReads, fits) {
            return None;
        }
    }
    let before = |value| expanded.value(value).slots.iter().all(|&s| s < hints.start);
    let operands = n.operands().all(|(_, value, _)| before(value));
    if !holds(Check::HintOperands, operands) {
        return None;
    }
    Some(
        expanded
            .value(n.terms[digits].patches)
            .slots
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect(),
    )
}

/// Condition 2.
fn falling(f: &[u16], g: &[u16]) -> bool {
    let next = f.iter().skip(1).chain(f.last());
    let falls = f.windows(2).all(|pair| pair[1] <= pair[0]);
    let follows = g.iter().zip(next).all(|(g, f)| g >= f);
    holds(Check::HintFalls, falls) && holds(Check::HintFollows, follows)
}

/// Steps (ascending, with repetitions) and constant of every accumulator, if `m` sums `sign` times the slots in `port` and
/// constants only.
fn sums(
    expanded: &Expanded,
    m: &Neurons,
    port: Range<u32>,
    sign: i64,
) -> Option<Vec<(Vec<u32>, i128)>> {
    if !m.terms.iter().any(|t| {
        expanded
            .value(t.patches)
            .slots
            .first()
            .is_some_and(|s| port.contains(s))
    }) {
        return None;
    }
    let mut result: Vec<(Vec<u32>, i128)> = vec![(Vec::new(), 0); m.positions as usize];
    for term in &m.terms {
        let Weights::Public(weights) = &term.weights else {
            return None;
        };
        let wires = expanded.value(term.patches);
        for (p, (steps, constant)) in result.iter_mut().enumerate() {
            for (i, &weight) in weights.iter().enumerate() {
                for &slot in wires.element(p * weights.len() + i) {
                    match slot {
                        ZERO => {}
                        ONE => *constant += i128::from(weight),
                        s if port.contains(&s) && weight == sign => steps.push(s - port.start),
                        _ => return None,
                    }
                }
            }
        }
    }
    for (steps, _) in &mut result {
        steps.sort_unstable();
        if is_off(Check::HintRepeats) {
            steps.dedup();
        }
    }
    result.retain(|(steps, _)| !steps.is_empty());
    Some(result)
}
