//! Checking a program.

use super::{
    Expanded, FIRST_SLOT, MAX_RANGE_BITS, MIN_RANGE_BITS, Neurons, Node, Program, ProgramLimits,
    Shape, Term, Unit, ValueRef, Weights,
};
use crate::checks::{Check, holds};
use crate::error::ProgramError;
use std::collections::HashSet;

/// Most elements of a value, times its width: what is computed from places of elements then fits 64 bits.
const MAX_ELEMENTS: u64 = 1 << 31;

/// Most inputs of which one is looked up by its number.
const MAX_GATHERED: u32 = 1 << 26;

impl Program {
    /// Checks the program; its wiring is written out where it is asked for ([`Expanded::value`]).
    ///
    /// # Errors
    /// Any inconsistency, and anything beyond `limits`, names the node. Nothing is allocated before it was bounded.
    pub fn expand(&self, limits: &ProgramLimits) -> Result<Expanded, ProgramError> {
        self.check_header(limits)?;
        let mut shapes: Vec<Vec<Shape>> = Vec::with_capacity(self.nodes.len());
        let mut first_slot = Vec::with_capacity(self.nodes.len());
        let mut slots = u64::from(FIRST_SLOT);
        let mut accumulators = 0u64;
        let mut keys = HashSet::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let fail = |reason: &'static str| ProgramError::Node {
                node: index,
                reason,
            };
            let lookup = |r: ValueRef| {
                let ports = shapes.get(r.node as usize);
                let shape = ports.and_then(|ports| ports.get(r.port as usize));
                shape
                    .copied()
                    .ok_or(fail("reads a value that does not exist yet"))
            };
            let shaped = |len: u64, width: u64| {
                let elements = len.checked_mul(width).filter(|&e| e <= MAX_ELEMENTS);
                elements.ok_or(fail("its value has too many elements"))?;
                Ok(Shape {
                    len: len as usize,
                    width: width as usize,
                })
            };
            first_slot.push(slots as u32);
            let (ports, is_fresh) = match node {
                Node::Input { len } | Node::Hint { len } | Node::Constant { len } => {
                    if *len == 0 {
                        return Err(fail("is empty"));
                    }
                    let is_fresh = !matches!(node, Node::Constant { .. });
                    (vec![shaped(u64::from(*len), 1)?], is_fresh)
                }
                Node::View { source, view } => {
                    let source = lookup(*source)?;
                    let len = view.check(source.len).map_err(fail)?;
                    (vec![shaped(len, source.width as u64)?], false)
                }
                Node::Concat { sources } => {
                    if sources.is_empty() {
                        return Err(fail("has no sources"));
                    }
                    let (mut len, mut width) = (0u64, 1);
                    for source in sources {
                        let source = lookup(*source)?;
                        len = len.saturating_add(source.len as u64);
                        width = width.max(source.width);
                    }
                    (vec![shaped(len, width as u64)?], false)
                }
                Node::Sum { source, group } => {
                    let source = lookup(*source)?;
                    let group = *group as usize;
                    if group == 0 || !source.len.is_multiple_of(group) {
                        return Err(fail("group does not divide the source"));
                    }
                    let width = (source.width as u64).saturating_mul(group as u64);
                    (vec![shaped((source.len / group) as u64, width)?], false)
                }
                Node::Neurons(neurons) => {
                    let len = self.check_neurons(neurons, &lookup, &fail)?;
                    self.check_family(index, neurons, &fail)?;
                    self.check_gathers(index, neurons, &mut keys, &fail)?;
                    // Every candidate costs cells too.
                    accumulators = accumulators
                        .saturating_add(len.saturating_mul(u64::from(neurons.unit.window)));
                    if accumulators > limits.slots {
                        return Err(fail("exceeds the limit on slots"));
                    }
                    let ports = (0..neurons.unit.ports()).map(|_| shaped(len, 1));
                    (ports.collect::<Result<Vec<_>, _>>()?, true)
                }
            };
            if is_fresh {
                slots += ports.iter().map(|p| p.len as u64).sum::<u64>();
                if slots > limits.slots.min(u64::from(u32::MAX)) {
                    return Err(fail("exceeds the limit on slots"));
                }
            }
            shapes.push(ports);
        }
        let count = self.input_len().saturating_add(self.output_len());
        if count > limits.values {
            let limit = limits.values;
            return Err(ProgramError::Values { count, limit });
        }
        Ok(Expanded::new(shapes, first_slot, slots as u32))
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

    fn check_neurons(
        &self,
        n: &Neurons,
        lookup: &impl Fn(ValueRef) -> Result<Shape, ProgramError>,
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
        if unit.deep && unit.window > 1 {
            return Err(fail("a maximum is not deep"));
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
            // Of what is looked up by its number each position has one key.
            let each = match term.weights {
                Weights::Gathered => term.inputs.min(1),
                _ => term.inputs,
            };
            let want = want
                .checked_mul(u64::from(unit.window))
                .and_then(|v| v.checked_mul(u64::from(each)));
            if term.inputs == 0 || want != Some(patches.len as u64) {
                return Err(fail(
                    "patches do not have groups × positions × window × inputs elements",
                ));
            }
            let found = match &term.weights {
                Weights::Public(w) => w.len(),
                Weights::Value { value, .. } => lookup(*value)?.len,
                Weights::Committed | Weights::Shared(_) | Weights::Gathered => continue,
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

    /// Whether the keys of what is looked up by its number are accumulators that nothing else uses as keys.
    fn check_gathers(
        &self,
        index: usize,
        n: &Neurons,
        taken: &mut HashSet<u32>,
        fail: &impl Fn(&'static str) -> ProgramError,
    ) -> Result<(), ProgramError> {
        for (_, term) in n.gathers() {
            if n.groups != 1 || n.unit.window != 1 || n.leader().is_some() {
                return Err(fail(
                    "looks inputs up by their numbers and has groups, a window or another one's weights",
                ));
            }
            if term.inputs > MAX_GATHERED {
                return Err(fail("looks up one of more than 2^26 inputs"));
            }
            let keys = match self.nodes.get(term.patches.node as usize) {
                Some(Node::Neurons(keys)) if (term.patches.node as usize) < index => keys,
                _ => return Err(fail("keys are not an earlier node of neurons")),
            };
            if !taken.insert(term.patches.node) {
                return Err(fail("uses keys that another term uses"));
            }
            let is_public = |t: &Term| matches!(t.weights, Weights::Public(_));
            let plain = keys.unit == Unit::LINEAR && keys.terms.iter().all(is_public);
            let plain = plain && term.patches.port == 0;
            if !plain || self.outputs.contains(&term.patches.node) {
                return Err(fail(
                    "keys are not the accumulators of linear neurons of public weights, or are an output",
                ));
            }
        }
        Ok(())
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
