//! Cutting a quantized model into segments that are proven by themselves.
//!
//! A model is cut between nodes of its program. What earlier nodes computed and later ones read is the *boundary*: one
//! list of integers, put out by the segment before through units that copy (`x = ⌊2^T·x / 2^T⌋`, one neuron for each
//! integer) and read by the next one as its input, in lists of at most a lane's length, so that every integer stands in the
//! same place on both sides. Wiring costs nothing and is repeated where it is read. The segments compute what the whole
//! program does, integer for integer.
//!
//! A cut must not tear apart what only makes sense together: a hint and what pins it down, keys and the matrix that they
//! read. Steps of a loop that share their weights may be torn apart; each segment then holds the weights.

mod cuts;

pub use cuts::Cuts;

use crate::model::{Layer, QuantizedModel, WeightTensor};
use crate::run::HintSolver;
use cuts::{born, last_uses, len};
use std::collections::{BTreeMap, HashMap};
use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights,
};

/// A segment of a model, without its weights.
#[derive(Clone, Debug)]
pub struct Part {
    /// The architecture.
    pub program: Program,
    /// Node and term of the whole program, and the node here, of every tensor of weights, in order.
    weights: Vec<(u32, u32, u32)>,
    hints: Vec<HintSolver>,
    layers: Vec<Layer>,
}

/// The parts of a model that is cut at these places, where a lane has room for so many integers.
pub fn parts(model: &QuantizedModel, places: &[usize], lane: usize) -> Vec<Part> {
    let last = last_uses(model);
    let flows = |place: usize| -> Vec<ValueRef> {
        let flows =
            |v: &ValueRef, until: usize| born(&model.program, v.node) < place && until >= place;
        let values = last.iter().filter(|(v, until)| flows(v, **until));
        values.map(|(v, _)| *v).collect()
    };
    let ends = places.iter().copied().chain([model.program.nodes.len()]);
    let mut start = 0;
    let mut parts = Vec::with_capacity(places.len() + 1);
    for (index, end) in ends.enumerate() {
        let mut builder = Builder::new(model);
        if start == 0 {
            builder.inputs();
        } else {
            builder.read(&flows(start), lane);
        }
        (start..end).for_each(|node| builder.node(node));
        if index < places.len() {
            builder.put_out(&flows(end), lane);
        } else {
            builder.outputs();
        }
        parts.push(builder.part());
        start = end;
    }
    parts
}

/// Gives the parts of a model their weights, and inputs and outputs to the first and the last one.
pub fn split(model: QuantizedModel, parts: Vec<Part>) -> Vec<QuantizedModel> {
    let mut left: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for (node, term, _) in parts.iter().flat_map(|p| &p.weights) {
        *left.entry((*node, *term)).or_default() += 1;
    }
    let tensors = model.weights.into_iter();
    let mut tensors: BTreeMap<(u32, u32), Vec<i32>> =
        tensors.map(|w| ((w.node, w.term), w.data)).collect();
    let (mut inputs, mut outputs) = (model.inputs, model.outputs);
    let count = parts.len();
    let parts = parts.into_iter().enumerate();
    let models = parts.map(|(index, part)| {
        let weights = part.weights.iter().filter_map(|&(node, term, here)| {
            let key = (node, term);
            let uses = left.get_mut(&key)?;
            *uses -= 1;
            // Moved to the last part that uses it.
            let data = match *uses {
                0 => tensors.remove(&key)?,
                _ => tensors.get(&key)?.clone(),
            };
            Some(WeightTensor {
                node: here,
                term,
                data,
            })
        });
        QuantizedModel {
            weights: weights.collect(),
            program: part.program,
            hints: part.hints,
            layers: part.layers,
            inputs: if index == 0 {
                std::mem::take(&mut inputs)
            } else {
                Vec::new()
            },
            outputs: if index + 1 == count {
                std::mem::take(&mut outputs)
            } else {
                Vec::new()
            },
            decodings: Vec::new(),
        }
    });
    models.collect()
}

/// Builds a part.
struct Builder<'m> {
    model: &'m QuantizedModel,
    part: Part,
    /// Nodes of the whole program that are here, by their number there.
    placed: HashMap<u32, u32>,
    /// Values of the whole program that were read from the boundary, or are wiring.
    known: HashMap<ValueRef, ValueRef>,
    /// Leaders of families of which there are members here, and who leads them here.
    leaders: HashMap<u32, u32>,
    tables: BTreeMap<u32, u32>,
}

impl<'m> Builder<'m> {
    fn new(model: &'m QuantizedModel) -> Builder<'m> {
        Builder {
            model,
            part: Part {
                program: Program {
                    range_bits: model.program.range_bits,
                    tables: Vec::new(),
                    nodes: Vec::new(),
                    outputs: Vec::new(),
                },
                weights: Vec::new(),
                hints: Vec::new(),
                layers: Vec::new(),
            },
            placed: HashMap::new(),
            known: HashMap::new(),
            leaders: HashMap::new(),
            tables: BTreeMap::new(),
        }
    }

    fn push(&mut self, node: Node) -> ValueRef {
        self.part.program.nodes.push(node);
        ValueRef::new(self.part.program.nodes.len() - 1)
    }

    /// The model's inputs, wherever they stand.
    fn inputs(&mut self) {
        for (index, node) in self.model.program.nodes.iter().enumerate() {
            if matches!(node, Node::Input { .. }) {
                let here = self.push(node.clone());
                self.placed.insert(index as u32, here.node);
            }
        }
    }

    /// Reads a boundary.
    fn read(&mut self, flows: &[ValueRef], lane: usize) {
        let lens: Vec<usize> = flows.iter().map(|v| self.len(*v)).collect();
        let total: usize = lens.iter().sum();
        let pieces = (0..total).step_by(lane.max(1));
        let sources: Vec<ValueRef> = pieces
            .map(|first| {
                let len = (total - first).min(lane) as u32;
                self.push(Node::Input { len })
            })
            .collect();
        let all = self.joined(sources);
        let mut first = 0;
        for (&value, len) in flows.iter().zip(lens) {
            let here = self.slice(all, total, first, len);
            self.known.insert(value, here);
            first += len;
        }
    }

    /// Puts out a boundary.
    fn put_out(&mut self, flows: &[ValueRef], lane: usize) {
        let total: usize = flows.iter().map(|v| self.len(*v)).sum();
        let sources: Vec<ValueRef> = flows.iter().map(|v| self.value(*v)).collect();
        let all = self.joined(sources);
        for first in (0..total).step_by(lane.max(1)) {
            let len = (total - first).min(lane);
            let slice = self.slice(all, total, first, len);
            let copy = self.copy(slice, len);
            self.part.program.outputs.push(copy.node);
        }
    }

    /// The model's outputs; copies of those that an earlier segment computed.
    fn outputs(&mut self) {
        for &output in &self.model.program.outputs {
            let node = match self.placed.get(&output) {
                Some(&here) => here,
                None => {
                    let value = ValueRef::new(output as usize);
                    let (here, len) = (self.value(value), self.len(value));
                    self.copy(here, len).node
                }
            };
            self.part.program.outputs.push(node);
        }
    }

    fn len(&self, value: ValueRef) -> usize {
        len(&self.model.program.nodes[value.node as usize])
    }

    fn joined(&mut self, sources: Vec<ValueRef>) -> ValueRef {
        match sources[..] {
            [only] => only,
            _ => self.push(Node::Concat { sources }),
        }
    }

    fn slice(&mut self, source: ValueRef, total: usize, first: usize, len: usize) -> ValueRef {
        if len == total {
            return source;
        }
        let axis = Axis {
            extent: total as u32,
            offset: first as i64,
            strides: vec![1],
        };
        let view = View {
            loops: vec![len as u32],
            axes: vec![axis],
        };
        self.push(Node::View { source, view })
    }

    /// Neurons that put out what they read.
    fn copy(&mut self, source: ValueRef, len: usize) -> ValueRef {
        let unit = Weights::Public(vec![self.model.program.range()]);
        self.push(Node::Neurons(Neurons {
            groups: 1,
            outputs: 1,
            positions: len as u32,
            unit: Unit::LINEAR,
            terms: vec![Term {
                patches: source,
                inputs: 1,
                weights: unit,
            }],
        }))
    }

    /// A value of the whole program. Wiring is repeated where it is needed.
    fn value(&mut self, value: ValueRef) -> ValueRef {
        if let Some(&known) = self.known.get(&value) {
            return known;
        }
        if let Some(&node) = self.placed.get(&value.node) {
            return ValueRef { node, ..value };
        }
        let here = match &self.model.program.nodes[value.node as usize] {
            Node::View { source, view } => {
                let source = self.value(*source);
                let view = view.clone();
                self.push(Node::View { source, view })
            }
            Node::Concat { sources } => {
                let sources = sources.iter().map(|s| self.value(*s)).collect();
                self.push(Node::Concat { sources })
            }
            Node::Sum { source, group } => {
                let (source, group) = (self.value(*source), *group);
                self.push(Node::Sum { source, group })
            }
            // Constants; everything else was placed or flows in.
            other => self.push(other.clone()),
        };
        self.known.insert(value, here);
        here
    }

    fn table(&mut self, table: u32) -> u32 {
        let program = &mut self.part.program;
        *self.tables.entry(table).or_insert_with(|| {
            let values = self.model.program.tables[table as usize].clone();
            program.tables.push(values);
            program.tables.len() as u32 - 1
        })
    }

    /// A node of the whole program with cells of its own.
    fn node(&mut self, index: usize) {
        let old = index as u32;
        let here = match &self.model.program.nodes[index] {
            Node::Neurons(n) => self.neurons(old, n),
            Node::Hint { len } => self.hint(old, *len),
            // Inputs are there, and wiring comes where it is read.
            _ => return,
        };
        self.placed.insert(old, here);
        let mut layers = self.model.layers.iter();
        if let Some(layer) = layers.find(|l| l.node == old) {
            self.part.layers.push(Layer {
                node: here,
                ..layer.clone()
            });
        }
    }

    fn hint(&mut self, old: u32, len: u32) -> u32 {
        let model = self.model;
        let solver = model.hints.iter().find(|h| h.node() == old);
        let logits = solver.map(|s| (s, self.value(s.logits()), self.table(s.table())));
        let node = self.push(Node::Hint { len }).node;
        let solver = logits.map(|(s, logits, table)| s.moved(node, logits, table));
        self.part.hints.extend(solver);
        node
    }

    fn neurons(&mut self, old: u32, n: &Neurons) -> u32 {
        let mut here = n.clone();
        for term in &mut here.terms {
            term.patches = self.value(term.patches);
            if let Weights::Value { value, .. } = &mut term.weights {
                *value = self.value(*value);
            }
        }
        let tables = here.unit.tables.iter().map(|&t| self.table(t));
        here.unit.tables = tables.collect();
        let node = self.part.program.nodes.len() as u32;
        // The first member that is here leads the others.
        let family = n.leader().unwrap_or(old);
        let leader = *self.leaders.entry(family).or_insert(node);
        for (index, term) in here.terms.iter_mut().enumerate() {
            if matches!(term.weights, Weights::Shared(_)) {
                term.weights = match leader == node {
                    true => Weights::Committed,
                    false => Weights::Shared(leader),
                };
            }
            if term.weights.is_own() {
                self.part.weights.push((family, index as u32, node));
            }
        }
        self.push(Node::Neurons(here)).node
    }

    fn part(self) -> Part {
        self.part
    }
}
