//! The program under construction, and how accumulators become neurons.

use std::collections::{HashMap, HashSet};

use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights,
};

use super::value::{ANY, Acc, AccTerm, Act, Plane};
use crate::graph::Tie;
use crate::graph::view::{fit_view, in_order};
use crate::model::{Decoding, Layer, QuantizedModel, Saturation, WeightTensor};
use crate::run::HintSolver;

use super::{QuantizeError, QuantizeOptions};

/// Ports with scales per channel, and offsets per channel.
pub(super) type Parts = (Vec<(ValueRef, Vec<f64>)>, Vec<f64>);

/// How exactly an operation is computed; not listed: in cells of `T` bits, by weights of as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// By weights of twice as many bits.
    Deep,
    /// Its results are read with twice as many bits as well, if who reads them can.
    Wide,
}

/// See [`Level`].
pub(super) type Levels = HashMap<usize, Level>;

/// Collects nodes, weights and the record of where they come from.
pub(super) struct Network {
    pub bits: u32,
    pub headroom: f64,
    pub per_channel: bool,
    /// Whether what lies beyond a range is clamped.
    pub saturate: bool,
    /// Operations that are computed more exactly than others.
    pub levels: Levels,
    /// The largest integer of a cell, as a cell.
    full: Option<ValueRef>,
    /// Values that are taken off exactly what they were found in: their rounding is no error.
    pub exact: HashSet<ValueRef>,
    pub nodes: Vec<Node>,
    pub tables: Vec<Vec<u16>>,
    pub weights: Vec<WeightTensor>,
    pub hints: Vec<HintSolver>,
    pub layers: Vec<Layer>,
    pub decodings: Vec<(usize, Decoding)>,
    /// The views of every value.
    pub views: HashMap<ValueRef, Vec<usize>>,
    /// Keys that a term uses.
    pub keys: HashSet<ValueRef>,
    /// Neurons of every tie whose weights others may share.
    pub leaders: HashMap<Tie, Vec<u32>>,
    /// Those of them whose weights others do.
    pub shared: HashSet<u32>,
}

/// A layer's name and, if it stands for one, its float tensor.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub name: &'a str,
    /// The operation.
    pub node: usize,
    pub graph_node: Option<usize>,
    pub tie: Option<Tie>,
}

/// Channels much quieter than their weights let expect keep at least this fraction of the step that those would have: calibration
/// may have missed what they can do.
const QUIET: f64 = 1.0 / 4.0;

/// Sums of more elements than this have a whole coefficient.
const WIDE: usize = 4;

/// Channels' steps differ by at least this part, also those of channels that calibration saw to be alike (silent ones, say): what
/// is done with the channels then does not show it.
const APART: f64 = 1.0 / (1u64 << 36) as f64;

/// The range of a neuron is at least this many roundings of its operands wide.
const NOISE: f64 = 16.0;
/// How often a deep unit reads the largest integer of a cell: its bias may be so many times as large.
const FULLS: usize = 4;
/// By how much coarser steps may become so that weights of twice the bits have room.
const COARSER: f64 = 4.0;

impl Network {
    /// Nothing yet.
    pub fn new(options: &QuantizeOptions, bits: u32, levels: Levels) -> Network {
        Network {
            bits,
            headroom: options.headroom,
            per_channel: options.per_channel,
            saturate: options.saturate,
            levels,
            full: None,
            exact: HashSet::new(),
            nodes: Vec::new(),
            tables: Vec::new(),
            weights: Vec::new(),
            hints: Vec::new(),
            layers: Vec::new(),
            decodings: Vec::new(),
            views: HashMap::new(),
            keys: HashSet::new(),
            leaders: HashMap::new(),
            shared: HashSet::new(),
        }
    }

    /// `2^T`.
    pub fn range(&self) -> f64 {
        f64::from(1u32 << self.bits)
    }

    /// Largest integer of a cell, `2^T − 1`.
    pub fn top(&self) -> f64 {
        self.range() - 1.0
    }

    /// Largest number of slots that one element of a value sums.
    pub fn width(&self, value: ValueRef) -> usize {
        match self.nodes.get(value.node as usize) {
            Some(Node::View { source, .. }) => self.width(*source),
            Some(Node::Concat { sources }) => {
                sources.iter().map(|s| self.width(*s)).max().unwrap_or(1)
            }
            Some(Node::Sum { source, group }) => {
                self.width(*source).saturating_mul(*group as usize)
            }
            _ => 1,
        }
    }

    /// How many rounded numbers one element of a value sums: constants are exact.
    pub fn rounded(&self, value: ValueRef) -> usize {
        match self.nodes.get(value.node as usize) {
            Some(Node::Constant { .. }) => 0,
            Some(Node::View { source, .. }) => self.rounded(*source),
            Some(Node::Concat { sources }) => {
                sources.iter().map(|s| self.rounded(*s)).max().unwrap_or(1)
            }
            Some(Node::Sum { source, group }) => {
                self.rounded(*source).saturating_mul(*group as usize)
            }
            _ => 1,
        }
    }

    /// How many rounded numbers one element of what a term of an accumulator reads sums: none where rows are looked up, nor where
    /// the bits below are read, too.
    pub fn roundings(&self, acc: &Acc, term: &AccTerm) -> f64 {
        let root = self.root(term.source);
        let exact = acc.terms.iter().any(|t| {
            let other = self.root(t.source);
            root.port == 0 && (other.node, other.port) == (root.node, 1) && self.has_rest(root)
        });
        match exact || term.is_gathered || self.exact.contains(&root) {
            true => 0.0,
            false => self.rounded(term.source) as f64,
        }
    }

    /// Whether neurons do nothing but divide.
    fn has_rest(&self, value: ValueRef) -> bool {
        let node = self.nodes.get(value.node as usize);
        matches!(node, Some(Node::Neurons(n)) if n.unit.exposes_rest())
    }

    /// What views and sums of a value read.
    fn root(&self, value: ValueRef) -> ValueRef {
        match self.nodes.get(value.node as usize) {
            Some(Node::View { source, .. } | Node::Sum { source, .. }) => self.root(*source),
            _ => value,
        }
    }

    pub fn push(&mut self, node: Node) -> ValueRef {
        self.nodes.push(node);
        ValueRef::new(self.nodes.len() - 1)
    }

    pub fn view(&mut self, source: ValueRef, view: View) -> ValueRef {
        let same =
            |&&at: &&usize| matches!(&self.nodes[at], Node::View { view: v, .. } if *v == view);
        if let Some(&at) = self.views.get(&source).and_then(|v| v.iter().find(same)) {
            return ValueRef::new(at);
        }
        self.views.entry(source).or_default().push(self.nodes.len());
        self.push(Node::View { source, view })
    }

    pub fn constant(&mut self, len: usize) -> ValueRef {
        let same = |n: &Node| matches!(n, Node::Constant { len: l } if *l as usize == len);
        match self.nodes.iter().position(same) {
            Some(at) => ValueRef::new(at),
            None => self.push(Node::Constant { len: len as u32 }),
        }
    }

    /// `len` zeros, read beside a value of `source_len` elements.
    pub fn zeros(&mut self, source: ValueRef, source_len: usize, len: usize) -> ValueRef {
        let axis = Axis {
            extent: source_len as u32,
            offset: -1,
            strides: vec![0],
        };
        self.view(
            source,
            View {
                loops: vec![len as u32],
                axes: vec![axis],
            },
        )
    }

    /// One value from several, one behind the other.
    pub fn joined(&mut self, parts: Vec<ValueRef>) -> ValueRef {
        match parts[..] {
            [one] => one,
            _ => self.push(Node::Concat { sources: parts }),
        }
    }

    /// `len` consecutive elements of a value of `source_len`.
    pub fn part(
        &mut self,
        source: ValueRef,
        source_len: usize,
        first: usize,
        len: usize,
    ) -> ValueRef {
        if first == 0 && len == source_len {
            return source;
        }
        let axis = Axis {
            extent: source_len as u32,
            offset: first as i64,
            strides: vec![1],
        };
        self.view(
            source,
            View {
                loops: vec![len as u32],
                axes: vec![axis],
            },
        )
    }

    /// Elements of a value of `source_len` in any order: by one view, or by as many as there are runs that one can read.
    pub fn picked(&mut self, source: ValueRef, source_len: usize, indices: &[usize]) -> ValueRef {
        if in_order(indices, source_len) {
            return source;
        }
        if let Some(view) = fit_view(indices, source_len) {
            return self.view(source, view);
        }
        let mut parts = Vec::new();
        let mut rest = indices;
        while let [first, ..] = rest {
            let run = rest
                .iter()
                .enumerate()
                .take_while(|(i, index)| **index == first + i)
                .count();
            parts.push(self.part(source, source_len, *first, run));
            rest = &rest[run..];
        }
        self.joined(parts)
    }

    pub fn table(&mut self, entries: Vec<u16>) -> u32 {
        let at = self.tables.iter().position(|t| *t == entries);
        at.unwrap_or_else(|| {
            self.tables.push(entries);
            self.tables.len() - 1
        }) as u32
    }

    /// Makes every channel at least as coarse as its coefficients need to fit 32 bits, `extra` integers on the bias
    /// included, and no finer than a fraction of what its weights let expect from the others.
    pub fn settle(&self, acc: &Acc, scales: &mut [f64], tied: bool) {
        let coarsest = scales.iter().copied().fold(0.0, f64::max);
        let coarsest = if coarsest > 0.0 {
            coarsest
        } else {
            1.0 / self.top()
        };
        let room = f64::from(i32::MAX) - 2.0 * self.range() * self.range();
        let widths: Vec<f64> = acc.terms.iter().map(|t| self.roundings(acc, t)).collect();
        // Columns of different units have weights of different size, and steps of different size follow from that.
        let loud = |c: usize| {
            let squares = |t: &AccTerm| t.row(c).iter().map(|w| w * w).sum::<f64>();
            acc.terms.iter().map(squares).sum::<f64>().sqrt()
        };
        let most = scales.iter().enumerate().map(|(c, s)| s / loud(c));
        let most = most.filter(|m| m.is_finite()).fold(0.0, f64::max);
        for (c, s) in scales.iter_mut().enumerate() {
            let expected = match most * loud(c) {
                expected if expected > 0.0 => expected.min(coarsest),
                _ => coarsest,
            };
            *s = s.max(expected * QUIET);
            // No finer than what roundings of the operands make of a value that calibration saw to be constant.
            let row = |t: &AccTerm| {
                t.weights[c * t.inputs..(c + 1) * t.inputs]
                    .iter()
                    .map(|w| w * w)
                    .sum::<f64>()
            };
            let noise = acc
                .terms
                .iter()
                .zip(&widths)
                .map(|(t, w)| row(t) * w)
                .sum::<f64>()
                .sqrt();
            if noise.is_finite() {
                *s = s.max(NOISE * noise / self.top());
            }
            let weights = acc
                .terms
                .iter()
                .flat_map(|t| &t.weights[c * t.inputs..(c + 1) * t.inputs]);
            // The zero point moves the middle of the range, which joins the bias.
            let (low, high) = if tied || !self.per_channel {
                acc.total_range()
            } else {
                acc.range.get(c).copied().unwrap_or((0.0, 0.0))
            };
            let middle = ((low + high) / 2.0).abs();
            let middle = if middle.is_finite() { middle } else { 0.0 };
            let largest = weights.fold(acc.bias[c].abs() + middle, |m, w| m.max(w.abs()));
            *s = s.max(largest * self.range() / room);
            // The coefficient of a sum of many is small, and what rounding it moves is multiplied by all of them: it is made whole.
            let wide = acc.terms.iter().filter(|t| self.width(t.source) > WIDE);
            let wide = wide.flat_map(|t| &t.weights[c * t.inputs..(c + 1) * t.inputs]);
            let least = wide
                .map(|w| w.abs())
                .filter(|w| *w > 0.0)
                .fold(f64::INFINITY, f64::min);
            let coefficient = (least * self.range() / *s).floor();
            if least.is_finite() && coefficient >= 1.0 {
                *s = least * self.range() / coefficient;
            }
        }
        if let ([term], false) = (&acc.terms[..], tied || !self.per_channel || acc.outputs > 1)
            && term.inputs == 1
        {
            // A rescaling: the step for which the only coefficient is whole.
            for (s, w) in scales.iter_mut().zip(&term.weights) {
                let coefficient = (w.abs() * self.range() / *s).floor();
                if coefficient >= 1.0 {
                    *s = w.abs() * self.range() / coefficient;
                }
            }
        }
        if tied || !self.per_channel {
            let coarsest = scales.iter().copied().fold(0.0, f64::max);
            scales.fill(coarsest);
            return;
        }
        for (c, s) in scales.iter_mut().enumerate() {
            *s *= 1.0 + c as f64 * APART;
        }
    }

    /// Adds the neurons `y = (acc − shift) / scale`, per channel, rounding half up; `zero[c]` is added to the integers.
    pub fn emit(
        &mut self,
        acc: &Acc,
        unit: Unit,
        scales: &[f64],
        shift: f64,
        zero: &[f64],
        origin: Origin<'_>,
    ) -> Result<u32, QuantizeError> {
        let deep = self.fits_deep(acc, unit.window, scales, origin);
        let unit = Unit { deep, ..unit };
        let range = self.range().powi(unit.depth() as i32);
        let half = range / 2.0;
        let mut terms = Vec::with_capacity(acc.terms.len() + 2);
        let mut data = Vec::with_capacity(acc.terms.len() + 2);
        let coefficient = |value: f64| {
            let rounded = (value + 0.5).floor();
            if rounded.abs() <= f64::from(i32::MAX) {
                Ok(rounded as i32)
            } else {
                let limit = f64::from(i32::MAX);
                Err(QuantizeError::Coefficient {
                    layer: origin.name.to_owned(),
                    value,
                    limit,
                })
            }
        };
        for term in &acc.terms {
            let rows = term.weights.chunks(term.inputs.max(1)).zip(scales);
            let w: Result<Vec<i32>, _> = rows
                .flat_map(|(row, s)| row.iter().map(move |w| w * range / s))
                .map(coefficient)
                .collect();
            // Terms of zeros stay: the architecture must not depend on the weights.
            data.push(w?);
            let (patches, weights) = match term.is_gathered {
                true => (self.own_keys(term.source, origin), Weights::Gathered),
                false => (
                    self.view(term.source, term.view.clone()),
                    Weights::Committed,
                ),
            };
            terms.push(Term {
                patches,
                inputs: term.inputs as u32,
                weights,
            });
        }
        let bias = acc.bias.iter().zip(scales).zip(zero);
        let mut bias: Vec<f64> = bias
            .map(|((b, s), z)| (b - shift) / s * range + half + range * z)
            .collect();
        let count = acc.groups * acc.positions * acc.window;
        if deep {
            // Too large for one weight: so many times the largest cell, and a rest.
            let top = self.top();
            let times: Vec<f64> = bias.iter().map(|b| (b / top).round()).collect();
            bias.iter_mut().zip(&times).for_each(|(b, t)| *b -= t * top);
            // Read several times, where one weight would not do.
            let parts = times.iter().flat_map(|t| {
                let part = (t / FULLS as f64).trunc();
                let first = t - part * (FULLS - 1) as f64;
                std::iter::once(first).chain(std::iter::repeat_n(part, FULLS - 1))
            });
            data.push(parts.map(coefficient).collect::<Result<_, _>>()?);
            let patches = self.full(count, origin);
            terms.push(Term {
                patches,
                inputs: FULLS as u32,
                weights: Weights::Committed,
            });
        }
        let bias = bias.into_iter().map(coefficient);
        data.push(bias.collect::<Result<_, _>>()?);
        let patches = self.constant(count);
        terms.push(Term {
            patches,
            inputs: 1,
            weights: Weights::Committed,
        });
        if terms.len() > 64 {
            let reason = "needs more than 64 terms; fewer operands per sum would do";
            return Err(QuantizeError::Unsupported {
                layer: origin.name.to_owned(),
                reason,
            });
        }
        let mut neurons = Neurons {
            groups: acc.groups as u32,
            outputs: acc.outputs as u32,
            positions: acc.positions as u32,
            unit,
            terms,
        };
        let tie = origin.tie.filter(|_| !acc.is_gathered());
        let leader = tie.and_then(|tie| self.leader(tie, &neurons, &data));
        if let Some(leader) = leader {
            for term in &mut neurons.terms {
                term.weights = Weights::Shared(leader);
            }
            self.shared.insert(leader);
        }
        let node = self.push(Node::Neurons(neurons)).node;
        if leader.is_none() {
            for (term, data) in data.into_iter().enumerate() {
                self.weights.push(WeightTensor {
                    node,
                    term: term as u32,
                    data,
                });
            }
            if let Some(tie) = tie {
                self.leaders.entry(tie).or_default().push(node);
            }
        }
        let (low, high) = acc.total_range();
        self.record(node, scales, (low, high), origin);
        Ok(node)
    }

    /// Makes steps of an operation that is to be computed by weights of twice the bits as coarse as these need, if that costs less
    /// than what it gains: rounding `n` weights of `T` bits moves a sum by about `√n/2` roundings of its own.
    pub fn deepen(&self, acc: &Acc, scales: &mut [f64], origin: Origin<'_>) {
        if acc.window > 1 || !self.levels.contains_key(&origin.node) {
            return;
        }
        let inputs: usize = acc.sums().map(|t| t.inputs).sum();
        let most = ((inputs as f64).sqrt() / 2.0).min(COARSER);
        let least = |c: usize| self.least_deep(acc, c) * (1.0 + 1e-9);
        if scales.iter().enumerate().any(|(c, s)| least(c) > most * s) {
            return;
        }
        if scales.iter().all(|s| *s == scales[0]) {
            let coarsest = (0..scales.len()).map(least).fold(scales[0], f64::max);
            scales.fill(coarsest);
        } else {
            let channels = scales.iter_mut().enumerate();
            channels.for_each(|(c, s)| *s = s.max(least(c)));
        }
    }

    /// Whether neurons are computed by weights of twice the bits: if that is wanted, and possible.
    pub fn fits_deep(&self, acc: &Acc, window: u32, scales: &[f64], origin: Origin<'_>) -> bool {
        if window > 1 || !self.levels.contains_key(&origin.node) {
            return false;
        }
        let mut steps = scales.iter().enumerate();
        steps.all(|(c, s)| self.least_deep(acc, c) < *s)
    }

    /// The finest step of a channel for which weights of twice the bits have room.
    fn least_deep(&self, acc: &Acc, channel: usize) -> f64 {
        let weights = acc.terms.iter().flat_map(|t| t.row(channel));
        let largest = weights.fold(0.0f64, |m, w| m.max(w.abs()));
        let bias = acc.bias[channel].abs() / self.top() / FULLS as f64;
        largest.max(bias) * self.range().powi(2) / (f64::from(i32::MAX) / 2.0)
    }

    /// `count` times [`FULLS`] times the largest integer of a cell.
    fn full(&mut self, count: usize, origin: Origin<'_>) -> ValueRef {
        let full = self.full.unwrap_or_else(|| {
            let patches = self.constant(1);
            let full = (1i64 << self.bits) - 1;
            let terms = vec![Term {
                patches,
                inputs: 1,
                weights: Weights::Public(vec![full << self.bits]),
            }];
            let value = self.push(Node::Neurons(Neurons {
                groups: 1,
                outputs: 1,
                positions: 1,
                unit: Unit::LINEAR,
                terms,
            }));
            let top = self.top();
            let helper = Origin {
                graph_node: None,
                ..origin
            };
            self.record(value.node, &[1.0], (0.0, top), helper);
            value
        });
        self.full = Some(full);
        let axis = Axis {
            extent: 1,
            offset: 0,
            strides: vec![0, 0],
        };
        self.view(
            full,
            View {
                loops: vec![count as u32, FULLS as u32],
                axes: vec![axis],
            },
        )
    }

    /// Ports and scales of neurons that do nothing but divide, and what is to be added: with the bits below the result, where an
    /// operation is wide.
    pub fn parts(&self, node: u32, scales: Vec<f64>, zero: &[f64], origin: Origin<'_>) -> Parts {
        let offset = |more: f64| {
            let offsets = scales.iter().zip(zero);
            offsets.map(|(s, z)| -s * (z + more)).collect()
        };
        let unit = match self.nodes.get(node as usize) {
            Some(Node::Neurons(n)) => &n.unit,
            _ => &Unit::LINEAR,
        };
        let wide = self.levels.get(&origin.node) == Some(&Level::Wide);
        let first = ValueRef { node, port: 0 };
        if !wide || !unit.exposes_rest() {
            return (vec![(first, scales.clone())], offset(0.0));
        }
        // Results are rounded down then: half of the last bit that is read is what is missing on the average.
        let lower: Vec<f64> = scales.iter().map(|s| s / self.range()).collect();
        let last = if unit.deep { 0.5 / self.range() } else { 0.0 };
        let offset = offset(0.5 - last);
        let ports = vec![(first, scales), (ValueRef { node, port: 1 }, lower)];
        (ports, offset)
    }

    /// Keys that no other term uses: these, or a copy of them.
    fn own_keys(&mut self, keys: ValueRef, origin: Origin<'_>) -> ValueRef {
        if self.keys.insert(keys) {
            return keys;
        }
        let copy = self.nodes[keys.node as usize].clone();
        let copy = self.push(copy);
        let top = self.top();
        self.record(copy.node, &[1.0], (0.0, top), origin);
        if let Some(layer) = self.layers.last_mut() {
            layer.graph_node = None;
        }
        self.keys.insert(copy);
        copy
    }

    /// Earlier neurons of the same tie and shape with the same weights.
    fn leader(&self, tie: Tie, neurons: &Neurons, data: &[Vec<i32>]) -> Option<u32> {
        let shape = |n: &Neurons| (n.groups, n.outputs, n.unit.clone());
        let alike = |&node: &u32| {
            let Some(Node::Neurons(leader)) = self.nodes.get(node as usize) else {
                return false;
            };
            let first = self.weights.partition_point(|w| w.node < node);
            shape(leader) == shape(neurons)
                && leader.terms.len() == data.len()
                && (self.weights[first..].iter().zip(data)).all(|(w, d)| w.data == *d)
                && (leader.terms.iter().zip(&neurons.terms)).all(|(a, b)| a.inputs == b.inputs)
        };
        self.leaders.get(&tie)?.iter().copied().find(alike)
    }

    pub fn record(&mut self, node: u32, scales: &[f64], range: (f64, f64), origin: Origin<'_>) {
        let scale_min = scales.iter().copied().fold(f64::INFINITY, f64::min);
        let scale_max = scales.iter().copied().fold(0.0, f64::max);
        let (name, graph_node) = (origin.name.to_owned(), origin.graph_node);
        self.layers.push(Layer {
            node,
            name,
            graph_node,
            scale_min,
            scale_max,
            low: range.0,
            high: range.1,
            saturates: Saturation::default(),
        });
    }

    /// Remembers that the neurons of the newest layer clamp what the float model does not.
    pub fn saturates(&mut self, below: bool, above: bool) {
        if let Some(layer) = self.layers.last_mut() {
            layer.saturates = Saturation { below, above };
        }
    }

    /// Adds neurons that copy integers exactly: `x = v` for every element of a value.
    pub fn copy(&mut self, value: ValueRef, len: usize, origin: Origin<'_>) -> ValueRef {
        let weights = Weights::Public(vec![1 << self.bits]);
        let terms = vec![Term {
            patches: value,
            inputs: 1,
            weights,
        }];
        let neurons = Neurons {
            groups: 1,
            outputs: 1,
            positions: len as u32,
            unit: Unit::LINEAR,
            terms,
        };
        let result = self.push(Node::Neurons(neurons));
        self.record(result.node, &[1.0], (0.0, self.top()), origin);
        result
    }

    /// The tensor whose elements are `offset + Σ scale · port` of neurons, channel by channel, with the pending index map
    /// of the accumulator applied.
    pub fn results(
        &mut self,
        acc: &Acc,
        ports: &[(ValueRef, Vec<f64>)],
        offset: &[f64],
    ) -> Result<Act, QuantizeError> {
        let spread = |v: &[f64]| {
            (0..acc.result_len())
                .map(|i| v[acc.source(i) / acc.positions])
                .collect::<Vec<_>>()
        };
        let mut planes = Vec::with_capacity(ports.len());
        for (port, scale) in ports {
            let mut value = *port;
            for view in acc.post.iter().flat_map(|p| &p.views) {
                value = self.view(value, view.clone());
            }
            planes.push(Plane {
                value,
                scale: spread(scale),
            });
        }
        Ok(Act {
            planes,
            offset: spread(offset),
        })
    }

    /// Remembers for reports what the neurons of the newest layer stand for.
    pub fn decode(&mut self, act: &Act) {
        self.decode_at(self.layers.len().saturating_sub(1), act);
    }

    /// Remembers what the neurons of a layer, by its place, stand for.
    pub fn decode_at(&mut self, layer: usize, act: &Act) {
        let plane = |p: &Plane| {
            (
                p.value,
                shorten(
                    p.scale
                        .iter()
                        .map(|&s| if s.is_nan() { 0.0 } else { s })
                        .collect(),
                ),
            )
        };
        let decoding = Decoding {
            planes: act.planes.iter().map(plane).collect(),
            offset: shorten(act.offset.clone()),
        };
        self.decodings.push((layer, decoding));
    }

    /// Adds up tensors flat, one behind the other.
    pub fn concat(&mut self, parts: &[Act]) -> Act {
        let count = parts.iter().map(|p| p.planes.len()).max().unwrap_or(0);
        let any = parts
            .iter()
            .flat_map(|p| p.planes.first().map(|plane| (plane.value, p.len())))
            .next();
        let mut planes = Vec::with_capacity(count);
        if let Some((filler, filler_len)) = any {
            for k in 0..count {
                let mut sources = Vec::with_capacity(parts.len());
                let mut scale = Vec::new();
                for part in parts {
                    if let Some(plane) = part.planes.get(k) {
                        sources.push(plane.value);
                        scale.extend_from_slice(&plane.scale);
                    } else {
                        sources.push(self.zeros(filler, filler_len, part.len()));
                        scale.resize(scale.len() + part.len(), ANY);
                    }
                }
                planes.push(Plane {
                    value: self.push(Node::Concat { sources }),
                    scale,
                });
            }
        }
        Act {
            planes,
            offset: parts
                .iter()
                .flat_map(|p| p.offset.iter().copied())
                .collect(),
        }
    }

    pub fn finish(self, outputs: Vec<u32>) -> QuantizedModel {
        let program = Program {
            range_bits: self.bits,
            tables: self.tables,
            nodes: self.nodes,
            outputs,
        };
        QuantizedModel {
            program,
            weights: self.weights,
            hints: self.hints,
            inputs: Vec::new(),
            outputs: Vec::new(),
            layers: self.layers,
            decodings: self.decodings,
        }
    }
}

/// One entry if all are equal.
pub(super) fn shorten(mut values: Vec<f64>) -> Vec<f64> {
    if values
        .first()
        .is_some_and(|first| values.iter().all(|v| v == first))
    {
        values.truncate(1);
    }
    values
}
