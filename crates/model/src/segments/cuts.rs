//! Where a program can be cut.

use crate::model::QuantizedModel;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use zkinfer_circuits::program::{Node, Program, ValueRef, Weights};

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
pub(super) fn born(program: &Program, node: u32) -> usize {
    match program.nodes[node as usize] {
        Node::Input { .. } => 0,
        _ => node as usize,
    }
}

/// Elements of a node with cells of its own.
pub(super) fn len(node: &Node) -> usize {
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
pub(super) fn last_uses(model: &QuantizedModel) -> BTreeMap<ValueRef, usize> {
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
