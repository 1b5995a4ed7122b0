//! Checking a program and writing out its wiring.

use super::{
    Expanded, FIRST_SLOT, MAX_RANGE_BITS, MIN_RANGE_BITS, Neurons, Node, ONE, Program,
    ProgramLimits, Term, ValueRef, Weights, Wires, ZERO,
};
use crate::checks::{Check, holds};
use crate::error::ProgramError;

impl Program {
    /// Checks the program and writes out its wiring.
    ///
    /// # Errors
    /// Any inconsistency, and anything beyond `limits`, names the node. Nothing is allocated before it was bounded.
    pub fn expand(&self, limits: &ProgramLimits) -> Result<Expanded, ProgramError> {
        self.check_header(limits)?;
        let mut values: Vec<Vec<Wires>> = Vec::with_capacity(self.nodes.len());
        let mut first_slot = Vec::with_capacity(self.nodes.len());
        let mut slots = u64::from(FIRST_SLOT);
        let mut elements = 0u64;
        let mut reads = 0u64;
        let mut accumulators = 0u64;
        for (index, node) in self.nodes.iter().enumerate() {
            let fail = |reason: &'static str| ProgramError::Node {
                node: index,
                reason,
            };
            let mut take = |count: u64, width: u64| {
                elements = elements.saturating_add(count.saturating_mul(width));
                if elements > limits.elements {
                    Err(fail("wiring exceeds the limit on elements"))
                } else {
                    Ok(())
                }
            };
            let lookup = |r: ValueRef| {
                values
                    .get(r.node as usize)
                    .and_then(|ports| ports.get(r.port as usize))
                    .ok_or(fail("reads a value that does not exist yet"))
            };
            first_slot.push(slots as u32);
            let ports = match node {
                Node::Input { len } | Node::Hint { len } => {
                    if *len == 0 {
                        return Err(fail("is empty"));
                    }
                    take(u64::from(*len), 1)?;
                    let range = fresh(&mut slots, u64::from(*len), limits)
                        .ok_or(fail("exceeds the limit on slots"))?;
                    vec![Wires {
                        width: 1,
                        slots: range.collect(),
                    }]
                }
                Node::Constant { len } => {
                    if *len == 0 {
                        return Err(fail("is empty"));
                    }
                    take(u64::from(*len), 1)?;
                    vec![Wires {
                        width: 1,
                        slots: vec![ONE; *len as usize],
                    }]
                }
                Node::View { source, view } => {
                    let source = lookup(*source)?;
                    let len = view.check(source.len()).map_err(fail)?;
                    take(len, source.width as u64)?;
                    vec![view.read(source, len as usize)]
                }
                Node::Concat { sources } => {
                    if sources.is_empty() {
                        return Err(fail("has no sources"));
                    }
                    let parts = sources
                        .iter()
                        .map(|s| lookup(*s))
                        .collect::<Result<Vec<_>, _>>()?;
                    let width = parts.iter().map(|p| p.width).max().unwrap_or(1);
                    let len = parts.iter().map(|p| p.len() as u64).sum::<u64>();
                    take(len, width as u64)?;
                    let mut out = Vec::with_capacity(len as usize * width);
                    for part in parts {
                        for i in 0..part.len() {
                            out.extend_from_slice(part.element(i));
                            out.resize(out.len() + width - part.width, ZERO);
                        }
                    }
                    vec![Wires { width, slots: out }]
                }
                Node::Sum { source, group } => {
                    let source = lookup(*source)?;
                    if *group == 0 || source.len() % *group as usize != 0 {
                        return Err(fail("group does not divide the source"));
                    }
                    take(source.slots.len() as u64, 1)?;
                    vec![Wires {
                        width: source.width * *group as usize,
                        slots: source.slots.clone(),
                    }]
                }
                Node::Neurons(neurons) => {
                    let len = self.check_neurons(neurons, &lookup, &fail)?;
                    let mut ports = Vec::new();
                    for _ in 0..neurons.unit.ports() {
                        take(len, 1)?;
                        let range = fresh(&mut slots, len, limits)
                            .ok_or(fail("exceeds the limit on slots"))?;
                        ports.push(Wires {
                            width: 1,
                            slots: range.collect(),
                        });
                    }
                    self.check_family(index, neurons, &fail)?;
                    for term in &neurons.terms {
                        // A dense public term is walked once per output, all others once.
                        let dense = neurons.positions == 1
                            && neurons.unit.window == 1
                            && matches!(term.weights, Weights::Public(_));
                        let times = if dense { u64::from(neurons.outputs) } else { 1 };
                        reads = reads.saturating_add(
                            (lookup(term.patches)?.slots.len() as u64).saturating_mul(times),
                        );
                    }
                    for (_, value, _) in neurons.operands() {
                        reads = reads.saturating_add(lookup(value)?.slots.len() as u64);
                    }
                    if reads > limits.elements {
                        return Err(fail("linear maps read more than the limit on elements"));
                    }
                    // Every candidate costs cells too.
                    accumulators = accumulators
                        .saturating_add(len.saturating_mul(u64::from(neurons.unit.window)));
                    if accumulators > limits.slots {
                        return Err(fail("exceeds the limit on slots"));
                    }
                    ports
                }
            };
            values.push(ports);
        }
        Ok(Expanded {
            values,
            first_slot,
            slots: slots as u32,
        })
    }

    fn check_header(&self, limits: &ProgramLimits) -> Result<(), ProgramError> {
        if !(MIN_RANGE_BITS..=MAX_RANGE_BITS).contains(&self.range_bits) {
            return Err(ProgramError::Header {
                reason: "range bits outside 4..=14",
            });
        }
        if self.nodes.len() > limits.nodes {
            return Err(ProgramError::Header {
                reason: "more nodes than the limit",
            });
        }
        if self.tables.len() > limits.tables {
            return Err(ProgramError::Header {
                reason: "more tables than the limit",
            });
        }
        let range = self.range() as usize;
        let in_range = |t: &Vec<u16>| t.iter().all(|&v| usize::from(v) < range);
        if self.tables.iter().any(|t| t.len() != range)
            || !holds(Check::TableRange, self.tables.iter().all(in_range))
        {
            return Err(ProgramError::Header {
                reason: "a table is not a map of [0, 2^T) to itself",
            });
        }
        if self.outputs.is_empty() || !self.nodes.iter().any(|n| matches!(n, Node::Input { .. })) {
            return Err(ProgramError::Header {
                reason: "needs an input and an output",
            });
        }
        for (i, &output) in self.outputs.iter().enumerate() {
            match self.nodes.get(output as usize) {
                Some(Node::Neurons(n)) if holds(Check::OutputPlain, n.unit.tables.is_empty()) => {}
                _ => {
                    return Err(ProgramError::Header {
                        reason: "an output is not a node of neurons without tables",
                    });
                }
            }
            if !holds(Check::OutputOnce, !self.outputs[..i].contains(&output)) {
                return Err(ProgramError::Header {
                    reason: "an output is listed twice",
                });
            }
        }
        Ok(())
    }

    fn check_neurons<'a>(
        &self,
        n: &Neurons,
        lookup: &impl Fn(ValueRef) -> Result<&'a Wires, ProgramError>,
        fail: &impl Fn(&'static str) -> ProgramError,
    ) -> Result<u64, ProgramError> {
        let len = (u64::from(n.groups))
            .checked_mul(u64::from(n.outputs))
            .and_then(|v| v.checked_mul(u64::from(n.positions)));
        let len = len
            .filter(|&l| l > 0 && l <= u64::from(u32::MAX))
            .ok_or(fail("has no neurons, or too many"))?;
        let unit = &n.unit;
        if unit.window == 0 || unit.window > 64 {
            return Err(fail("window outside 1..=64"));
        }
        let alone = unit.window == 1 || (!unit.high && unit.tables.is_empty());
        if !holds(Check::MaximumAlone, alone) {
            return Err(fail(
                "a maximum cannot be combined with an upper clamp or a table",
            ));
        }
        if unit.tables.len() > 2 || unit.tables.iter().any(|&t| t as usize >= self.tables.len()) {
            return Err(fail("uses a table that does not exist, or more than two"));
        }
        if n.terms.is_empty() || n.terms.len() > 64 {
            return Err(fail("needs 1 to 64 terms"));
        }
        for term in &n.terms {
            let patches = lookup(term.patches)?;
            let want = u64::from(n.groups) * u64::from(n.positions);
            let want = want
                .checked_mul(u64::from(unit.window))
                .and_then(|v| v.checked_mul(u64::from(term.inputs)));
            if term.inputs == 0 || want != Some(patches.len() as u64) {
                return Err(fail(
                    "patches do not have groups × positions × window × inputs elements",
                ));
            }
            let found = match &term.weights {
                Weights::Public(w) => w.len(),
                Weights::Value { value, .. } => lookup(*value)?.len(),
                Weights::Committed | Weights::Shared(_) => continue,
            };
            let want = u64::from(n.groups) * u64::from(n.outputs);
            if want.checked_mul(u64::from(term.inputs)) != Some(found as u64) {
                return Err(fail(
                    "public weights or left operand do not have groups × outputs × inputs entries",
                ));
            }
        }
        Ok(len)
    }

    /// Whether a node that uses another one's weights is like that one in everything that folding them depends on.
    fn check_family(
        &self,
        index: usize,
        n: &Neurons,
        fail: &impl Fn(&'static str) -> ProgramError,
    ) -> Result<(), ProgramError> {
        let Some(leader) = n.leader() else {
            return Ok(());
        };
        let first = match self.nodes.get(leader as usize) {
            Some(Node::Neurons(first)) if (leader as usize) < index => first,
            _ => {
                return Err(fail(
                    "shares weights with a node that is not an earlier one",
                ));
            }
        };
        let same = |(mine, first): (&Term, &Term)| {
            mine.inputs == first.inputs
                && match (&mine.weights, &first.weights) {
                    (Weights::Shared(of), Weights::Committed) => *of == leader,
                    (Weights::Public(mine), Weights::Public(first)) => mine == first,
                    _ => false,
                }
        };
        let alike = (n.groups, n.outputs, &n.unit) == (first.groups, first.outputs, &first.unit)
            && n.terms.len() == first.terms.len()
            && n.terms.iter().zip(&first.terms).all(same);
        if !holds(Check::FamilyShape, alike) {
            return Err(fail("shares weights with a node of another shape"));
        }
        let is_output = |node: u32| self.outputs.contains(&node);
        let inner = !is_output(leader) && !is_output(index as u32);
        if !holds(Check::FamilyOutput, inner) {
            return Err(fail("shares weights and is an output"));
        }
        Ok(())
    }
}

fn fresh(next: &mut u64, count: u64, limits: &ProgramLimits) -> Option<std::ops::Range<u32>> {
    let start = *next;
    let end = start.checked_add(count)?;
    if end > limits.slots.min(u64::from(u32::MAX)) {
        return None;
    }
    *next = end;
    Some(start as u32..end as u32)
}
