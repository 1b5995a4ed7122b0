//! Writing out the wiring of a program that was checked.

use super::{Expanded, Node, ONE, Program, Shape, ValueRef, Wires, ZERO};
use std::sync::OnceLock;

impl Expanded {
    /// Of a program whose values have these shapes.
    pub(super) fn new(shapes: Vec<Vec<Shape>>, first_slot: Vec<u32>, slots: u32) -> Expanded {
        let ports = |ports: &Vec<Shape>| ports.iter().map(|_| OnceLock::new()).collect();
        Expanded {
            wires: shapes.iter().map(ports).collect(),
            shapes,
            first_slot,
            slots,
        }
    }

    /// Number of results of a node.
    pub fn ports(&self, node: usize) -> usize {
        self.shapes[node].len()
    }

    /// Elements and width of a value; `None` if there is no such value.
    pub fn shape(&self, value: ValueRef) -> Option<Shape> {
        let ports = self.shapes.get(value.node as usize)?;
        ports.get(value.port as usize).copied()
    }

    /// The slots of a port of neurons, or of inputs or hints.
    pub fn slots_of(&self, value: ValueRef) -> std::ops::Range<usize> {
        let len = self.shape(value).map_or(0, |s| s.len);
        let first = self.first_slot[value.node as usize] as usize + value.port as usize * len;
        first..first + len
    }

    /// The wiring of a value of the program that this belongs to, written out the first time that it is asked for, with all
    /// that it is read from.
    ///
    /// # Panics
    /// If there is no such value.
    pub fn value(&self, program: &Program, value: ValueRef) -> &Wires {
        let cell = &self.wires[value.node as usize][value.port as usize];
        cell.get().unwrap_or_else(|| {
            // Sources come first; without recursion, since a chain may have as many links as there are nodes.
            for value in self.missing(program, vec![value]) {
                let cell = &self.wires[value.node as usize][value.port as usize];
                cell.get_or_init(|| self.write(program, value));
            }
            cell.get_or_init(|| self.write(program, value))
        })
    }

    /// Elements that are written out when these values are asked for, of all that are not yet.
    pub(crate) fn cost(&self, program: &Program, values: Vec<ValueRef>) -> u64 {
        let elements = |value: &ValueRef| {
            let shape = self.shape(*value);
            shape.map_or(0, |s| s.len as u64 * s.width as u64)
        };
        let missing = self.missing(program, values);
        missing.iter().map(elements).fold(0, u64::saturating_add)
    }

    /// These values and what they are read from, as far as they are not written out, sources first.
    fn missing(&self, program: &Program, mut open: Vec<ValueRef>) -> Vec<ValueRef> {
        let mut missing = std::collections::BTreeSet::new();
        while let Some(value) = open.pop() {
            let cell = &self.wires[value.node as usize][value.port as usize];
            if cell.get().is_some() || !missing.insert(value) {
                continue;
            }
            match &program.nodes[value.node as usize] {
                Node::View { source, .. } | Node::Sum { source, .. } => open.push(*source),
                Node::Concat { sources } => open.extend_from_slice(sources),
                _ => {}
            }
        }
        missing.into_iter().collect()
    }

    /// Wiring from that of sources, which is there.
    fn write(&self, program: &Program, value: ValueRef) -> Wires {
        let Shape { len, width } = self.shapes[value.node as usize][value.port as usize];
        let written = |value: &ValueRef| {
            let cell = &self.wires[value.node as usize][value.port as usize];
            cell.get().expect("sources are written first")
        };
        let slots = match &program.nodes[value.node as usize] {
            Node::Constant { .. } => vec![ONE; len],
            Node::View { source, view } => view.read(written(source), len).slots,
            Node::Concat { sources } => {
                let mut out = Vec::with_capacity(len * width);
                for part in sources.iter().map(written) {
                    for i in 0..part.len() {
                        out.extend_from_slice(part.element(i));
                        out.resize(out.len() + width - part.width, ZERO);
                    }
                }
                out
            }
            Node::Sum { source, .. } => written(source).slots.clone(),
            Node::Input { .. } | Node::Hint { .. } | Node::Neurons(_) => {
                self.slots_of(value).map(|slot| slot as u32).collect()
            }
        };
        Wires { width, slots }
    }

    /// About what it takes in memory, in bytes.
    pub fn memory(&self) -> usize {
        let wires = self.wires.iter().flatten().filter_map(OnceLock::get);
        let written: usize = wires.map(|w| 4 * w.slots.capacity()).sum();
        let ports: usize = self.shapes.iter().map(Vec::len).sum();
        written + ports * (size_of::<Shape>() + size_of::<OnceLock<Wires>>())
    }
}
