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

use crate::model::{Layer, QuantizedModel, WeightTensor};
use crate::run::HintSolver;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights,
};

/// Where a program can be cut, and what each way would cost.
#[derive(Clone, Debug)]
pub struct Cuts {
    /// What the nodes before each one cost, in cells; one more than there are nodes.
    cells: Vec<u64>,
    /// Places, ascending: a cut at `p` lies between nodes `p − 1` and `p`.
    places: Vec<usize>,
    /// Integers that would flow, for every place.
    flows: Vec<u64>,
}

/// Most places that are compared with each other.
const PLACES: usize = 1024;

/// Cells of a boundary for each integer: two of the copy and one of the input.
const COPY: u64 = 3;

impl Cuts {
    /// Looks at a model.
    pub fn of(model: &QuantizedModel) -> Cuts {
        let program = &model.program;
        let last = last_uses(model);
        // How much more flows, or less, from each place on.
        let mut change = vec![0i64; program.nodes.len() + 2];
        for (value, &until) in &last {
            let from = born(program, value.node);
            if until > from {
                let len = len(&program.nodes[value.node as usize]) as i64;
                change[from + 1] += len;
                change[until + 1] -= len;
            }
        }
        let flows: Vec<i64> = sums(change.into_iter()).collect();
        let held = held_together(program);
        let costs = program.nodes.iter().map(cells);
        let cells: Vec<u64> = std::iter::once(0).chain(sums(costs)).collect();
        let total = cells.last().copied().unwrap_or(0);
        let mut places: Vec<usize> = (1..program.nodes.len())
            .filter(|&p| flows[p] > 0 && cells[p] > 0 && cells[p] < total)
            // Between two pieces of wiring it makes no difference.
            .filter(|&p| cells[p + 1] > cells[p])
            .filter(|p| !held.iter().any(|(first, last)| first < p && p <= last))
            .collect();
        if places.len() > PLACES {
            places.sort_by_key(|&p| flows[p]);
            places.truncate(PLACES);
            places.sort_unstable();
        }
        let flows = places.iter().map(|&p| flows[p] as u64).collect();
        Cuts {
            cells,
            places,
            flows,
        }
    }

    /// Where there can be a cut: between the node of that number and the one before.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// Most segments that there can be.
    pub fn most(&self) -> usize {
        self.places.len() + 1
    }

    /// Where to cut for so many segments of which the dearest costs least; `None` if there can be no so many.
    pub fn balanced(&self, segments: usize) -> Option<Vec<usize>> {
        if segments == 0 || segments > self.most() {
            return None;
        }
        let (total, count) = (*self.cells.last()?, self.places.len());
        let before = |i: usize| self.cells[self.places[i]];
        let copies = |i: usize| COPY * self.flows[i];
        // For every place, the least cost of the dearest segment, then of all boundaries, with so many segments before it;
        // and the place of the cut before.
        let mut best: Vec<(u64, u64)> = (0..count)
            .map(|i| (before(i) + copies(i), copies(i)))
            .collect();
        let mut cuts: Vec<Vec<usize>> = Vec::new();
        for _ in 1..segments.saturating_sub(1) {
            let mut next = vec![(u64::MAX, u64::MAX); count];
            let mut from = vec![usize::MAX; count];
            for i in 0..count {
                for (j, &(dearest, boundaries)) in best[..i].iter().enumerate() {
                    let own = before(i) - before(j) + copies(i) + copies(j);
                    let cost = (dearest.max(own), boundaries.saturating_add(copies(i)));
                    if dearest < u64::MAX && cost < next[i] {
                        (next[i], from[i]) = (cost, j);
                    }
                }
            }
            best = next;
            cuts.push(from);
        }
        if segments == 1 {
            return Some(Vec::new());
        }
        let whole = |i: usize| (best[i].0.max(total - before(i) + copies(i)), best[i].1);
        let mut at = (0..count)
            .filter(|&i| best[i].0 < u64::MAX)
            .min_by_key(|&i| whole(i))?;
        let mut places = vec![self.places[at]];
        for from in cuts.iter().rev() {
            at = from[at];
            places.push(self.places[at]);
        }
        places.reverse();
        Some(places)
    }
}

/// Running sums.
fn sums<T: Copy + Default + std::ops::Add<Output = T>>(
    values: impl Iterator<Item = T>,
) -> impl Iterator<Item = T> {
    values.scan(T::default(), |sum, v| {
        *sum = *sum + v;
        Some(*sum)
    })
}

/// From which place on a node's values are there: inputs from the first.
fn born(program: &Program, node: u32) -> usize {
    match program.nodes[node as usize] {
        Node::Input { .. } => 0,
        _ => node as usize,
    }
}

/// Elements of a node with cells of its own.
fn len(node: &Node) -> usize {
    match node {
        Node::Input { len } | Node::Hint { len } | Node::Constant { len } => *len as usize,
        Node::Neurons(n) => n.len(),
        Node::View { .. } | Node::Concat { .. } | Node::Sum { .. } => 0,
    }
}

/// Cells that a node takes, about.
fn cells(node: &Node) -> u64 {
    let each = match node {
        Node::Neurons(n) => {
            let unit = &n.unit;
            let below = if unit.has_below() { unit.window } else { 0 };
            // A table's result is looked up twice.
            1 + unit.window
                + below
                + 2 * unit.tables.len() as u32
                + u32::from(unit.high)
                + u32::from(unit.deep)
        }
        Node::Input { .. } | Node::Hint { .. } => 1,
        _ => 0,
    };
    u64::from(each) * len(node) as u64
}

/// The values that a node reads.
fn sources(node: &Node) -> Vec<ValueRef> {
    match node {
        Node::Input { .. } | Node::Hint { .. } | Node::Constant { .. } => Vec::new(),
        Node::View { source, .. } | Node::Sum { source, .. } => vec![*source],
        Node::Concat { sources } => sources.clone(),
        Node::Neurons(n) => {
            let operands = n.operands().map(|(_, value, _)| value);
            n.terms.iter().map(|t| t.patches).chain(operands).collect()
        }
    }
}

/// The last node that each value with cells of its own is read by, through whatever wiring; for outputs, one behind all.
fn last_uses(model: &QuantizedModel) -> BTreeMap<ValueRef, usize> {
    let program = &model.program;
    let logits: HashMap<u32, ValueRef> =
        model.hints.iter().map(|h| (h.node(), h.logits())).collect();
    let mut last: BTreeMap<ValueRef, usize> = BTreeMap::new();
    let end = program.nodes.len();
    let outputs = program.outputs.iter();
    last.extend(outputs.map(|&o| (ValueRef::new(o as usize), end)));
    for (index, node) in program.nodes.iter().enumerate().rev() {
        let wiring = matches!(
            node,
            Node::View { .. } | Node::Concat { .. } | Node::Sum { .. } | Node::Constant { .. }
        );
        // Wiring is there where it is read. What nobody reads reads nothing.
        let until = match wiring {
            true => last.remove(&ValueRef::new(index)),
            false => Some(index),
        };
        let Some(until) = until else { continue };
        for value in sources(node)
            .into_iter()
            .chain(logits.get(&(index as u32)).copied())
        {
            let known = last.entry(value).or_default();
            *known = (*known).max(until);
        }
    }
    last
}

/// First and last nodes of what must be in one segment.
fn held_together(program: &Program) -> Vec<(usize, usize)> {
    let mut held: Vec<(usize, usize)> = program
        .gathers()
        .map(|(node, _, keys)| (keys, node))
        .collect();
    // Nodes whose results are read through wiring alone, by the nodes that read them.
    let mut readers: HashMap<usize, BTreeSet<usize>> = HashMap::new();
    for (index, node) in program.nodes.iter().enumerate() {
        for value in sources(node) {
            readers
                .entry(value.node as usize)
                .or_default()
                .insert(index);
        }
    }
    let neurons = |of: usize| {
        let (mut open, mut found) = (vec![of], BTreeSet::new());
        while let Some(next) = open.pop() {
            for &reader in readers.get(&next).into_iter().flatten() {
                match &program.nodes[reader] {
                    Node::Neurons(_) => drop(found.insert(reader)),
                    _ => open.push(reader),
                }
            }
        }
        found
    };
    let public = |node: usize| match &program.nodes[node] {
        Node::Neurons(n) => n
            .terms
            .iter()
            .all(|t| matches!(t.weights, Weights::Public(_))),
        _ => false,
    };
    for (index, node) in program.nodes.iter().enumerate() {
        if matches!(node, Node::Hint { .. }) {
            // What is normalised by the hint, and the sums over it that pin the hint down, whose weights are public.
            let normalised = neurons(index);
            let sums = normalised
                .iter()
                .flat_map(|&n| neurons(n))
                .filter(|&n| public(n));
            let last = sums.chain(normalised.iter().copied()).max();
            held.push((index, last.unwrap_or(index)));
        }
    }
    held
}

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
