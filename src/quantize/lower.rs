//! Symbolic execution of the float graph.

use zkinfer_circuits::program::{Axis, Node, ProgramLimits, Unit, ValueRef, View};

use super::network::{Network, Origin, shorten};
use super::stats::Stats;
use super::value::{ANY, Acc, AccTerm, Act, Plane, Post, Value, common, same};
use super::wiring::{fit_view, is_identity};
use super::{QuantizeError, QuantizeOptions};
use crate::graph::{Graph, NodeId, Op, ScalarFn};
use crate::model::{QuantizedModel, TensorInterface};

mod activation;
mod add;
mod argmax;
mod linear;
mod matmul;
mod maximum;
mod product;

/// Most elements of an input that are looked at one by one.
const MAX_FEATURES: usize = 512;
/// Features whose ranges differ by more than this have scales of their own.
const UNEVEN: f64 = 16.0;

pub(super) struct Lowering<'a> {
    pub graph: &'a Graph,
    pub stats: &'a Stats,
    pub network: Network,
    /// How often every node is read, outputs included.
    uses: Vec<usize>,
    values: Vec<Option<Value>>,
    /// Inputs that are another model's outputs.
    chained: Vec<TensorInterface>,
    /// Functions that were looked at, and what all their uses share.
    functions: Vec<(ScalarFn, Option<activation::Shared>)>,
}

impl<'a> Lowering<'a> {
    pub fn new(graph: &'a Graph, stats: &'a Stats, options: &QuantizeOptions) -> Self {
        let network = Network {
            bits: options.bits(),
            headroom: options.headroom,
            per_channel: options.per_channel,
            nodes: Vec::new(),
            tables: Vec::new(),
            weights: Vec::new(),
            hints: Vec::new(),
            layers: Vec::new(),
            decodings: Vec::new(),
        };
        let mut uses = vec![0; graph.nodes.len()];
        for &id in graph
            .nodes
            .iter()
            .flat_map(|n| &n.inputs)
            .chain(&graph.outputs)
        {
            if let Some(u) = uses.get_mut(id) {
                *u += 1;
            }
        }
        Lowering {
            graph,
            stats,
            network,
            uses,
            values: vec![None; graph.nodes.len()],
            chained: options.inputs.clone(),
            functions: Vec::new(),
        }
    }

    pub fn run(mut self) -> Result<QuantizedModel, QuantizeError> {
        let inputs = self.inputs()?;
        for id in 0..self.graph.nodes.len() {
            if self.uses[id] == 0 || self.values[id].is_some() {
                continue;
            }
            let value = self.node(id)?;
            // What is read twice is quantized once, here.
            let value = match value {
                Value::Acc(acc) if self.uses[id] > 1 => {
                    Value::Act(self.materialize(acc, false, id)?)
                }
                value => value,
            };
            self.values[id] = Some(value);
        }
        let mut outputs = Vec::new();
        let mut nodes: Vec<u32> = Vec::new();
        for &id in &self.graph.outputs.clone() {
            let (node, scale, zero_point) = self.output(id, &nodes)?;
            nodes.push(node);
            let (name, shape) = (
                self.graph.nodes[id].name.clone(),
                self.graph.nodes[id].shape.clone(),
            );
            outputs.push(TensorInterface {
                name,
                shape,
                scale: shorten(scale),
                zero_point: shorten(zero_point),
            });
        }
        let mut model = self.network.finish(nodes);
        model.inputs = inputs;
        model.outputs = outputs;
        model.program.expand(&ProgramLimits::default())?;
        Ok(model)
    }

    pub fn origin(&self, id: NodeId) -> Origin<'a> {
        Origin {
            name: &self.graph.nodes[id].name,
            graph_node: Some(id),
        }
    }

    /// Like [`Self::origin`] for helper neurons that stand for no tensor of the float model.
    pub fn helper(&self, id: NodeId) -> Origin<'a> {
        Origin {
            name: &self.graph.nodes[id].name,
            graph_node: None,
        }
    }

    pub fn shape_error(&self, id: NodeId, reason: &'static str) -> QuantizeError {
        QuantizeError::Shape {
            layer: self.graph.nodes[id].name.clone(),
            reason,
        }
    }

    pub fn indices(
        &self,
        id: NodeId,
        view: &View,
        len: usize,
    ) -> Result<Vec<Option<usize>>, QuantizeError> {
        view.indices(len)
            .map_err(|_| self.shape_error(id, "a view does not fit its operand"))
    }

    fn inputs(&mut self) -> Result<Vec<TensorInterface>, QuantizeError> {
        let mut out = Vec::new();
        for &id in &self.graph.inputs {
            let node = self
                .graph
                .nodes
                .get(id)
                .ok_or_else(|| QuantizeError::Shape {
                    layer: format!("input node {id}"),
                    reason: "does not exist",
                })?;
            let len = node.len();
            let value = self.network.push(Node::Input { len: len as u32 });
            if let Some(interface) = self.chained.get(out.len()).cloned() {
                interface.check(len)?;
                let scale: Vec<f64> = (0..len).map(|i| interface.scale_at(i)).collect();
                let offset = (0..len)
                    .map(|i| -scale[i] * interface.zero_point_at(i))
                    .collect();
                self.values[id] = Some(Value::Act(Act {
                    planes: vec![Plane { value, scale }],
                    offset,
                }));
                out.push(interface);
                continue;
            }
            let (name, shape) = (node.name.clone(), node.shape.clone());
            if let Some(scales) = self.feature_scales(id) {
                let (scale, zero): (Vec<f64>, Vec<f64>) = scales.into_iter().unzip();
                let offset = scale.iter().zip(&zero).map(|(s, z)| -s * z).collect();
                self.values[id] = Some(Value::Act(Act {
                    planes: vec![Plane {
                        value,
                        scale: scale.clone(),
                    }],
                    offset,
                }));
                out.push(TensorInterface {
                    name,
                    shape,
                    scale: shorten(scale),
                    zero_point: shorten(zero),
                });
                continue;
            }
            let (scale, zero) = self.input_scale(id);
            self.values[id] = Some(Value::Act(Act {
                planes: vec![Plane {
                    value,
                    scale: vec![scale; len],
                }],
                offset: vec![-scale * zero; len],
            }));
            out.push(TensorInterface {
                name,
                shape,
                scale: vec![scale],
                zero_point: vec![zero],
            });
        }
        Ok(out)
    }

    /// Step and zero point of every element of an input that is a list of features of very different ranges (a table's
    /// columns). Not for images and other inputs whose elements are alike.
    fn feature_scales(&self, id: NodeId) -> Option<Vec<(f64, f64)>> {
        let node = &self.graph.nodes[id];
        let len = node.len();
        let flat = node.shape.iter().filter(|&&l| l > 1).count() <= 1;
        let (low_is_hard, high_is_hard) = self.stats.bounds_are_hard(id);
        if !flat || !(2..=MAX_FEATURES).contains(&len) || (low_is_hard && high_is_hard) {
            return None;
        }
        let feature = |i: usize| {
            let only = |e: usize| if e == i { 0 } else { usize::MAX };
            let seen = self.stats.element(id, i);
            let likely = self.stats.channels(id, 1, only);
            let (low, high) = likely.first().copied().unwrap_or(seen);
            (seen, (low, high))
        };
        let features: Vec<_> = (0..len).map(feature).collect();
        let mut widths: Vec<f64> = features.iter().map(|(seen, _)| seen.1 - seen.0).collect();
        widths.sort_by(f64::total_cmp);
        let largest = *widths.last()?;
        if widths[len / 4] <= 0.0 || widths[len / 4] * UNEVEN > largest {
            return None;
        }
        let top = self.network.top();
        let one = |&(seen, (low, high)): &((f64, f64), (f64, f64))| {
            let middle = (seen.0 + seen.1) / 2.0;
            let widened = |v: f64| middle + (v - middle) * (1.0 + self.network.headroom);
            let (mut a, b) = (widened(low), widened(high));
            if seen.0 >= 0.0 && a <= 0.25 * b {
                a = 0.0;
            }
            let least = (a.abs().max(b.abs()) * 1e-3).max(largest * 1e-9);
            let (a, b) = if b - a < least {
                (a - least, b + least)
            } else {
                (a, b)
            };
            let scale = (b - a) / (top - 1.0);
            (scale, (-a / scale - 1e-9).ceil() + 0.0)
        };
        Some(features.iter().map(one).collect())
    }

    /// Step and zero point of an input. Zero is a whole step wherever the range is near it; bounds of the domain (black and
    /// white) get no margin.
    fn input_scale(&self, id: NodeId) -> (f64, f64) {
        let headroom = self.network.headroom;
        let (low, high) = self.stats.tensor(id);
        let (low_is_hard, high_is_hard) = self.stats.bounds_are_hard(id);
        let (likely_low, likely_high) = self
            .stats
            .channels(id, 1, |_| 0)
            .first()
            .copied()
            .unwrap_or((low, high));
        let middle = (low + high) / 2.0;
        let widened = |likely: f64| middle + (likely - middle) * (1.0 + headroom);
        let (mut a, mut b) = (
            if low_is_hard {
                low
            } else {
                widened(likely_low)
            },
            if high_is_hard {
                high
            } else {
                widened(likely_high)
            },
        );
        if low >= 0.0 && a <= 0.25 * b {
            // Images, counts: non-negative.
            a = 0.0;
        } else if high <= 0.0 && b >= 0.25 * a {
            b = 0.0;
        }
        let least = a.abs().max(b.abs()).max(1e-6) * 1e-3;
        if b - a < least {
            (a, b) = (a - least, b + least);
        }
        // One step to spare: with a whole zero point both ends stay inside, wherever zero is.
        let mut scale = (b - a) / (self.network.top() - 1.0);
        if self.stats.whole.get(id) == Some(&true) && scale <= 1.0 {
            // Indices and counts: whole numbers stay exact.
            scale = 1.0 / (1.0 / scale).floor();
        }
        // (Adding zero turns −0 into 0.)
        let zero = (-a / scale - 1e-9).ceil() + 0.0;
        (scale, zero)
    }

    fn node(&mut self, id: NodeId) -> Result<Value, QuantizeError> {
        let node = &self.graph.nodes[id];
        self.check_finite(id)?;
        let input = node.inputs.first().copied();
        let input = input.ok_or_else(|| self.shape_error(id, "has no operand"));
        Ok(match &node.op {
            Op::Input => return Err(self.shape_error(id, "is not listed as an input")),
            Op::Constant(values) => Value::Act(Act {
                planes: Vec::new(),
                offset: values.iter().map(|&v| f64::from(v)).collect(),
            }),
            Op::View(view) => self.view(id, input?, view)?,
            Op::Concat => {
                let parts = node
                    .inputs
                    .iter()
                    .map(|&i| self.act(i))
                    .collect::<Result<Vec<_>, _>>()?;
                Value::Act(self.network.concat(&parts))
            }
            Op::Linear(linear) => Value::Acc(self.linear(id, input?, linear)?),
            Op::Affine { scale, shift } => {
                let (scale, shift) = (wide(scale), wide(shift));
                self.affine(input?, &scale, &shift)?
            }
            Op::Add => self.add(id, &node.inputs)?,
            Op::Activation(activation) => self.activation(id, input?, activation)?,
            Op::Max { windows, window } => self.maximum(id, input?, windows, *window)?,
            Op::Sum { group } => Value::Act(self.sum(id, input?, *group)?),
            Op::Softmax { len } => Value::Act(self.softmax(id, input?, *len)?),
            Op::ArgMax { len } => Value::Act(self.argmax(id, input?, *len)?),
            Op::Product { left, right, group } => {
                let (left, right) = (left.clone(), right.clone());
                Value::Act(self.product(id, (&left, &right), *group)?)
            }
            Op::MatMul(product) => Value::Act(self.matmul(id, product)?),
        })
    }

    fn check_finite(&self, id: NodeId) -> Result<(), QuantizeError> {
        let node = &self.graph.nodes[id];
        let slices: Vec<&[f32]> = match &node.op {
            Op::Linear(l) => vec![&l.weights, &l.bias],
            Op::Affine { scale, shift } => vec![scale, shift],
            Op::Constant(v) => vec![v],
            Op::Activation(crate::graph::Activation::LeakyRelu(v)) => vec![v],
            _ => Vec::new(),
        };
        for s in slices {
            if let Some(index) = s.iter().position(|v| !v.is_finite()) {
                return Err(QuantizeError::NotFinite {
                    layer: node.name.clone(),
                    index,
                    value: f64::from(s[index]),
                });
            }
        }
        Ok(())
    }

    /// The value of an operand.
    pub fn value(&mut self, id: NodeId) -> Result<Value, QuantizeError> {
        let value = self.values.get(id).cloned().flatten();
        value.ok_or_else(|| QuantizeError::Shape {
            layer: format!("node {id}"),
            reason: "is read before it exists",
        })
    }

    /// The quantized value of an operand.
    pub fn act(&mut self, id: NodeId) -> Result<Act, QuantizeError> {
        match self.value(id)? {
            Value::Act(act) => Ok(act),
            Value::Acc(acc) => {
                let act = self.materialize(acc, false, id)?;
                self.values[id] = Some(Value::Act(act.clone()));
                Ok(act)
            }
        }
    }

    /// Puts a better representation of a tensor in place of its value, for later readers.
    pub fn replace(&mut self, id: NodeId, act: &Act) {
        if let Some(value) = self.values.get_mut(id) {
            *value = Some(Value::Act(act.clone()));
        }
    }

    /// An operand as one program value times one positive scale plus one offset, and that as a tensor.
    pub fn uniform(&mut self, id: NodeId) -> Result<(ValueRef, f64, f64), QuantizeError> {
        let act = match self.value(id)? {
            Value::Acc(acc) => self.materialize(acc, true, id)?,
            Value::Act(act) => match act.uniform() {
                Some(u) => return Ok(u),
                None => {
                    let acc = self.elementwise(id, &act)?;
                    self.materialize(acc, true, id)?
                }
            },
        };
        act.uniform()
            .ok_or_else(|| self.shape_error(id, "has no element"))
    }

    /// Turns an accumulator that stands for tensor `id` into neurons; `tied`: with one scale for the whole tensor.
    pub fn materialize(&mut self, acc: Acc, tied: bool, id: NodeId) -> Result<Act, QuantizeError> {
        let origin = self.origin(id);
        let act = if acc.low {
            self.relu(&acc, tied, origin)?.0
        } else {
            self.requantize(&acc, tied, origin)?
        };
        self.network.decode(&act);
        Ok(act)
    }

    /// Neurons without a clamp (a maximum where the accumulator has a window).
    pub fn requantize(
        &mut self,
        acc: &Acc,
        tied: bool,
        origin: Origin<'_>,
    ) -> Result<Act, QuantizeError> {
        let net = &mut self.network;
        let mut ranges = acc.range.clone();
        if tied || !net.per_channel {
            let total = |a: (f64, f64), r: &(f64, f64)| (a.0.min(r.0), a.1.max(r.1));
            let total = ranges
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), total);
            ranges.fill(total);
        }
        let mut scales: Vec<f64> = ranges
            .iter()
            .map(|(a, b)| (b - a) * (1.0 + net.headroom) / net.top())
            .collect();
        net.settle(acc, &mut scales, tied);
        // The calibrated range sits in the middle.
        let zero: Vec<f64> = ranges
            .iter()
            .zip(&scales)
            .map(|((a, b), s)| ((net.top() - (a + b) / s) / 2.0).round())
            .collect();
        let unit = Unit {
            window: acc.window as u32,
            ..Unit::LINEAR
        };
        let node = net.emit(acc, unit, &scales, 0.0, &zero, origin)?;
        let offset: Vec<f64> = scales.iter().zip(&zero).map(|(s, z)| -s * z).collect();
        net.results(acc, &[(ValueRef { node, port: 0 }, scales)], &offset)
    }

    /// ReLU neurons; also the node and its scales.
    pub fn relu(
        &mut self,
        acc: &Acc,
        tied: bool,
        origin: Origin<'_>,
    ) -> Result<(Act, u32, Vec<f64>), QuantizeError> {
        let net = &mut self.network;
        let mut scales = Vec::with_capacity(acc.range.len());
        for (c, &(low, high)) in acc.range.iter().enumerate() {
            let below = match &acc.spread {
                Some(spread) if acc.window > 1 => spread[c].1,
                None if acc.window > 1 => high.max(0.0) - low,
                _ => -low,
            };
            scales.push(high.max(below).max(0.0) * (1.0 + net.headroom) / net.top());
        }
        net.settle(acc, &mut scales, tied);
        let unit = Unit {
            window: acc.window as u32,
            ..Unit::RELU
        };
        let zero = vec![0.0; scales.len()];
        let node = net.emit(acc, unit, &scales, 0.0, &zero, origin)?;
        let act = net.results(acc, &[(ValueRef { node, port: 0 }, scales.clone())], &zero)?;
        Ok((act, node, scales))
    }

    /// A quantized tensor `id` as an accumulator, one input per plane: for what cannot be absorbed. Elements of equal scales
    /// and offsets share weights.
    pub fn elementwise(&mut self, id: NodeId, act: &Act) -> Result<Acc, QuantizeError> {
        let mut acc = self.rescaling(id, act)?;
        self.measure(id, &mut acc);
        Ok(acc)
    }

    /// [`Self::elementwise`] without ranges; `id` is for errors.
    pub fn rescaling(&self, id: NodeId, act: &Act) -> Result<Acc, QuantizeError> {
        let len = act.len();
        if len == 0 {
            return Err(self.shape_error(id, "is empty"));
        }
        let mut planes = act.planes.clone();
        for plane in &mut planes {
            let mut last = plane
                .scale
                .iter()
                .copied()
                .find(|s| !s.is_nan())
                .unwrap_or(0.0);
            for s in &mut plane.scale {
                if s.is_nan() { *s = last } else { last = *s }
            }
        }
        let alike = |a: usize, b: usize| {
            same(act.offset[a], act.offset[b])
                && planes.iter().all(|p| same(p.scale[a], p.scale[b]))
        };
        let changes: Vec<usize> = (1..len).filter(|&i| !alike(i - 1, i)).collect();
        let block = changes.iter().fold(len, |g, &c| gcd(g, c));
        // Channels in blocks, channels last, or every element for itself.
        let period = if block > 1 {
            None
        } else {
            (2..=len / 2).find(|&c| len.is_multiple_of(c) && (c..len).all(|i| alike(i - c, i)))
        };
        let (groups, positions) = period.map_or((len / block, block), |c| (c, len / c));
        let (order, post) = match period {
            None => (None, None),
            Some(c) => {
                let transpose = |a: usize, b: usize| View {
                    loops: vec![a as u32, b as u32],
                    axes: vec![Axis {
                        extent: len as u32,
                        offset: 0,
                        strides: vec![1, a as i64],
                    }],
                };
                let map = (0..len).map(|i| (i % c) * positions + i / c).collect();
                (
                    Some(transpose(c, positions)),
                    Some(Post {
                        map,
                        views: vec![transpose(positions, c)],
                    }),
                )
            }
        };
        let first = |channel: usize| {
            if period.is_some() {
                channel
            } else {
                channel * positions
            }
        };
        let term = |p: &Plane| AccTerm {
            source: p.value,
            view: order.clone().unwrap_or_else(|| View::identity(len)),
            inputs: 1,
            weights: (0..groups).map(|c| p.scale[first(c)]).collect(),
        };
        Ok(Acc {
            groups,
            outputs: 1,
            positions,
            window: 1,
            terms: planes.iter().map(term).collect(),
            bias: (0..groups).map(|c| act.offset[first(c)]).collect(),
            range: Vec::new(),
            spread: None,
            low: false,
            post,
        })
    }

    /// Sets an accumulator's ranges to what calibration saw of tensor `id`, whose elements it holds.
    pub fn measure(&self, id: NodeId, acc: &mut Acc) {
        acc.range = self
            .stats
            .channels(id, acc.channels(), |i| acc.source(i) / acc.positions);
    }

    fn view(&mut self, id: NodeId, input: NodeId, view: &View) -> Result<Value, QuantizeError> {
        let value = self.value(input)?;
        let len = match &value {
            Value::Act(a) => a.len(),
            Value::Acc(a) => a.result_len(),
        };
        let indices = self.indices(id, view, len)?;
        let whole: Option<Vec<usize>> = indices.iter().copied().collect();
        if whole.as_ref().is_some_and(|w| is_identity(w, len)) {
            return Ok(value);
        }
        let act = match (value, whole) {
            (Value::Acc(mut acc), Some(whole)) => {
                let map: Vec<usize> = whole.iter().map(|&i| acc.source(i)).collect();
                acc.post = if is_identity(&map, acc.len()) {
                    None
                } else {
                    let mut views = acc.post.take().map_or_else(Vec::new, |p| p.views);
                    views.push(view.clone());
                    if views.len() > 1
                        && let Some(one) = fit_view(&map, acc.channels() * acc.positions)
                    {
                        views = vec![one];
                    }
                    Some(Post { map, views })
                };
                return Ok(Value::Acc(acc));
            }
            (Value::Acc(_), None) => self.act(input)?,
            (Value::Act(act), _) => act,
        };
        Ok(Value::Act(self.view_act(act, view, &indices)))
    }

    /// A view of a quantized tensor. Padding is a real zero: where there is an offset, it becomes a plane of its own.
    pub fn view_act(&mut self, act: Act, view: &View, indices: &[Option<usize>]) -> Act {
        let padded = indices.contains(&None);
        let act = if padded && act.offset.iter().any(|o| *o != 0.0) {
            self.offset_as_plane(act)
        } else {
            act
        };
        let mut planes = Vec::with_capacity(act.planes.len());
        for plane in &act.planes {
            let value = self.network.view(plane.value, view.clone());
            planes.push(Plane {
                value,
                scale: Act::permuted(&plane.scale, indices, ANY),
            });
        }
        Act {
            planes,
            offset: Act::permuted(&act.offset, indices, 0.0),
        }
    }

    /// Turns the offset into a plane of ones, so that padding can mask it.
    pub fn offset_as_plane(&mut self, mut act: Act) -> Act {
        let len = act.len();
        let value = self.network.constant(len);
        let plane = Plane {
            value,
            scale: std::mem::replace(&mut act.offset, vec![0.0; len]),
        };
        act.add(Act {
            planes: vec![plane],
            offset: vec![0.0; len],
        })
    }

    fn affine(
        &mut self,
        input: NodeId,
        scale: &[f64],
        shift: &[f64],
    ) -> Result<Value, QuantizeError> {
        if let Value::Acc(mut acc) = self.value(input)?
            && acc.affine(scale, shift)
        {
            return Ok(Value::Acc(acc));
        }
        Ok(Value::Act(self.act(input)?.affine(scale, shift)))
    }

    fn sum(&mut self, id: NodeId, input: NodeId, group: usize) -> Result<Act, QuantizeError> {
        let mut act = self.act(input)?;
        if group == 0 || !act.len().is_multiple_of(group) {
            return Err(self.shape_error(id, "the group does not divide the operand"));
        }
        let groups_agree = |p: &Plane| p.scale.chunks(group).all(|c| common(c).is_some());
        if !act.planes.iter().all(groups_agree) {
            let (value, scale, offset) = self.uniform(input)?;
            act = Act {
                planes: vec![Plane {
                    value,
                    scale: vec![scale; act.len()],
                }],
                offset: vec![offset; act.len()],
            };
        }
        Ok(self.sum_act(&act, group))
    }

    /// Sums of `group` consecutive elements, whose scales agree within every group.
    pub fn sum_act(&mut self, act: &Act, group: usize) -> Act {
        let mut planes = Vec::with_capacity(act.planes.len());
        for p in &act.planes {
            let value = self.network.push(Node::Sum {
                source: p.value,
                group: group as u32,
            });
            planes.push(Plane {
                value,
                scale: p
                    .scale
                    .chunks(group)
                    .map(|c| common(c).unwrap_or(0.0))
                    .collect(),
            });
        }
        Act {
            planes,
            offset: act.offset.chunks(group).map(|c| c.iter().sum()).collect(),
        }
    }

    /// The node that yields output `id`, with scales and zero points.
    fn output(
        &mut self,
        id: NodeId,
        taken: &[u32],
    ) -> Result<(u32, Vec<f64>, Vec<f64>), QuantizeError> {
        let mut act = self.act(id)?;
        let single = act.planes.len() == 1 && act.planes[0].scale.iter().all(|s| s.abs() > 0.0);
        if !single || self.width(act.planes[0].value) > 1 {
            let acc = self.elementwise(id, &act)?;
            act = self.materialize(acc, false, id)?;
        }
        let plane = &act.planes[0];
        let direct = match self.network.nodes.get(plane.value.node as usize) {
            Some(Node::Neurons(n)) => {
                plane.value.port == 0
                    && n.unit.tables.is_empty()
                    && !taken.contains(&plane.value.node)
            }
            _ => false,
        };
        let value = if direct {
            plane.value
        } else {
            self.network.copy(plane.value, act.len(), self.helper(id))
        };
        let scale: Vec<f64> = act.planes[0].scale.clone();
        let zero = act.offset.iter().zip(&scale).map(|(o, s)| -o / s).collect();
        Ok((value.node, scale, zero))
    }

    /// Largest number of slots that one element of a value sums.
    pub fn width(&self, value: ValueRef) -> usize {
        match self.network.nodes.get(value.node as usize) {
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
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}
