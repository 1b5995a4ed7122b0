//! Symbolic execution of the float graph.

use zkinfer_circuits::program::{Node, ProgramLimits, View};

use std::collections::{HashMap, HashSet};

use super::network::{Level, Levels, Network, Origin, shorten};
use super::stats::Stats;
use super::value::{ANY, Acc, AccTerm, Act, Plane, Post, Value, common, same};
use super::{QuantizeError, QuantizeOptions};
use crate::graph::{Activation, Graph, GraphNode, NodeId, Op, ScalarFn, Tie};
use crate::model::{InterfaceError, QuantizedModel, TensorInterface};

mod activation;
mod add;
mod argmax;
mod ends;
mod floor;
mod gather;
mod input;
mod knee;
mod layout;
mod linear;
mod matmul;
mod maximum;
mod narrow;
mod neurons;
mod norm;
mod product;
mod scaled;
mod select;
mod staircase;
mod state;

use state::{ROUNDS, States};

pub(super) struct Lowering<'a> {
    pub graph: &'a Graph,
    pub stats: &'a Stats,
    pub network: Network,
    /// How often every node is read, outputs included.
    uses: Vec<usize>,
    /// Whether all elements of a node's tensor are wanted with one scale: they are multiplied or compared with each other.
    mixed: Vec<bool>,
    /// Whether a matrix product reads a node's tensor: its range includes zero.
    multiplied: Vec<bool>,
    /// Whether a node's integers stand for numbers from zero on, whatever the weights are.
    unsigned: Vec<bool>,
    /// Whether a node's elements are zero or more, whatever the weights are.
    positive: Vec<bool>,
    /// Who reads every node.
    readers: Vec<Vec<NodeId>>,
    values: Vec<Option<Value>>,
    /// Inputs that are another model's outputs.
    chained: Vec<TensorInterface>,
    /// Functions that were looked at, and what all their uses share.
    functions: Vec<(ScalarFn, Option<activation::Shared>)>,
    /// How states of loops were represented the last time, and are now.
    states: States,
    seen: HashMap<Tie, state::Seen>,
    /// A first state that later states' integers do not reach.
    misfit: Option<NodeId>,
}

/// The quantized model at `2^bits` integers a cell. States of loops are represented alike at every step, which takes a few rounds.
pub(super) fn lower(
    graph: &Graph,
    stats: &Stats,
    options: &QuantizeOptions,
    bits: u32,
    levels: &Levels,
) -> Result<QuantizedModel, QuantizeError> {
    let lowering = |states| Lowering::new(graph, stats, options, (bits, levels), states).run();
    let mut states = States::new();
    for _ in 1..ROUNDS {
        let (model, found) = lowering(states.clone())?;
        if found == states {
            return Ok(model);
        }
        states = found;
    }
    Ok(lowering(states)?.0)
}

impl<'a> Lowering<'a> {
    fn new(
        graph: &'a Graph,
        stats: &'a Stats,
        options: &QuantizeOptions,
        (bits, levels): (u32, &Levels),
        states: States,
    ) -> Self {
        let network = Network::new(options, bits, readable(graph, levels));
        let mut uses = vec![0; graph.nodes.len()];
        for &id in graph
            .nodes
            .iter()
            .flat_map(|n| match (&n.op, n.inputs.as_slice()) {
                // One use: both operands of a sum of squares are one value.
                (Op::MatMul(_), [a, b]) if a == b => &n.inputs[..1],
                _ => n.inputs.as_slice(),
            })
            .chain(&graph.outputs)
        {
            if let Some(u) = uses.get_mut(id) {
                *u += 1;
            }
        }
        // The last step of a loop may have fewer readers: it is treated as the others are.
        let mut most: HashMap<Tie, usize> = HashMap::new();
        for (node, &uses) in graph.nodes.iter().zip(&uses) {
            if let Some(tie) = node.tie {
                let most = most.entry(tie).or_default();
                *most = uses.max(*most);
            }
        }
        for (node, uses) in graph.nodes.iter().zip(&mut uses) {
            if let (Some(tie), true) = (node.tie, *uses > 0) {
                *uses = most[&tie];
            }
        }
        let mut readers = vec![Vec::new(); graph.nodes.len()];
        for (id, node) in graph.nodes.iter().enumerate() {
            for &input in &node.inputs {
                if let Some(readers) = readers.get_mut(input) {
                    readers.push(id);
                }
            }
        }
        Lowering {
            graph,
            stats,
            network,
            uses,
            mixed: mixed(graph),
            multiplied: multiplied(graph),
            unsigned: known(graph, is_unsigned),
            positive: known(graph, is_positive),
            readers,
            values: vec![None; graph.nodes.len()],
            chained: options.inputs.clone(),
            functions: Vec::new(),
            seen: Self::state_ties(graph),
            misfit: None,
            states,
        }
    }

    /// The model, and how states of loops are represented: run again with these until they stay the same.
    pub fn run(mut self) -> Result<(QuantizedModel, States), QuantizeError> {
        let inputs = self.inputs()?;
        for input in &inputs {
            // A name that no card may have, for example.
            input.check(input.len())?;
        }
        for id in 0..self.graph.nodes.len() {
            if self.uses[id] == 0 || self.values[id].is_some() {
                continue;
            }
            let value = self.node(id)?;
            // What is read twice is quantized once, here.
            let value = match value {
                Value::Acc(acc)
                    if self.uses[id] > 1
                        && !self.is_divided(id, &acc)
                        && !self.is_cut_everywhere(id) =>
                {
                    let tied = self.is_tied(id, &acc);
                    Value::Act(self.materialize(acc, tied, id)?)
                }
                value => value,
            };
            let value = self.state(id, value)?;
            self.values[id] = Some(value);
        }
        let mut outputs = Vec::new();
        let mut nodes: Vec<u32> = Vec::new();
        for (at, &id) in self.graph.outputs.clone().iter().enumerate() {
            let (node, scale, zero_point) = self.output(id, &nodes)?;
            nodes.push(node);
            let tensor = self.graph.output_tensor(at);
            let interface = TensorInterface {
                name: tensor.name,
                shape: tensor.shape,
                scale: shorten(scale),
                zero_point: shorten(zero_point),
                integers: tensor.integers,
                labels: tensor.labels,
                low_bits: 0,
            };
            interface.check(interface.len()).map_err(|e| match e {
                InterfaceError::Malformed { name } => QuantizeError::Unsupported {
                    layer: name,
                    reason: "an output whose values differ by so little, compared with their size, that numbers of single precision do not tell its integers apart; subtract what is common to them, or give them another unit",
                },
                e => e.into(),
            })?;
            outputs.push(interface);
        }
        let states = self.found_states();
        if let Some(id) = self.misfit.filter(|_| states == self.states) {
            return Err(QuantizeError::Unsupported {
                layer: self.graph.nodes[id].name.clone(),
                reason: "a loop's first state is a constant that is outside of what its later states are; give it as an input of the model",
            });
        }
        let mut model = self.network.finish(nodes);
        model.inputs = inputs;
        model.outputs = outputs;
        model.program.expand(&ProgramLimits::owner())?;
        Ok((model, states))
    }

    pub fn origin(&self, id: NodeId) -> Origin<'a> {
        Origin {
            name: &self.graph.nodes[id].name,
            node: id,
            graph_node: Some(id),
            tie: self.graph.nodes[id].tie,
        }
    }

    /// Like [`Self::origin`] for helper neurons that stand for no tensor of the float model.
    pub fn helper(&self, id: NodeId) -> Origin<'a> {
        Origin {
            name: &self.graph.nodes[id].name,
            node: id,
            graph_node: None,
            tie: self.graph.nodes[id].tie,
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
            Op::Gather(gather) => Value::Acc(self.gather(id, input?, gather)?),
            Op::Affine { scale, shift } => {
                let (scale, shift) = (wide(scale), wide(shift));
                self.affine(id, input?, &scale, &shift)?
            }
            Op::Add => self.add(id, &node.inputs)?,
            Op::Activation(activation) => self.activation(id, input?, activation)?,
            Op::Max { windows, window } => self.maximum(id, input?, windows, *window)?,
            Op::Sum { group } => self.sum(id, input?, *group)?,
            Op::Softmax { len } => Value::Act(self.softmax(id, input?, *len)?),
            Op::ArgMax { len } => Value::Act(self.argmax(id, input?, *len)?),
            Op::TopK { len, count } => Value::Act(self.top_k(id, input?, *len, *count)?),
            Op::Gate => Value::Act(self.gate(id)?),
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
            Op::Gather(g) => vec![&g.weights],
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
                    && n.leader().is_none()
                    && !self.network.shared.contains(&plane.value.node)
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
}

/// The levels that make sense: results are read with twice the bits only by sums, products and functions.
fn readable(graph: &Graph, levels: &Levels) -> Levels {
    let by = |op: &Op| match op {
        Op::Linear(_) | Op::Add | Op::Sum { .. } | Op::Product { .. } => true,
        Op::Activation(activation) => !matches!(activation, Activation::Clip { .. }),
        _ => false,
    };
    // Sums of squares, too.
    let is_square = |node: &GraphNode| {
        matches!((&node.op, &node.inputs[..]), (Op::MatMul(m), [a, b])
            if a == b && m.left == m.right && m.outputs * m.positions == 1)
    };
    let mut readable = vec![true; graph.nodes.len()];
    graph.outputs.iter().for_each(|&o| readable[o] = false);
    for id in (0..graph.nodes.len()).rev() {
        let op = &graph.nodes[id].op;
        let passes = matches!(op, Op::View(_) | Op::Affine { .. } | Op::Concat) && readable[id];
        if !by(op) && !is_square(&graph.nodes[id]) && !passes {
            graph.nodes[id]
                .inputs
                .iter()
                .for_each(|&i| readable[i] = false);
        }
    }
    let level = |(&id, &level): (&NodeId, &Level)| match readable.get(id) {
        Some(true) => (id, level),
        _ => (id, Level::Deep),
    };
    levels.iter().map(level).collect()
}

/// Nodes that a product, a matrix product or a softmax reads, be it through wiring and sums.
fn mixed(graph: &Graph) -> Vec<bool> {
    read_by(graph, |op, mixed| match op {
        Op::Product { .. } | Op::MatMul(_) | Op::Softmax { .. } => true,
        Op::View(_) | Op::Affine { .. } | Op::Add | Op::Concat => mixed,
        _ => false,
    })
}

/// Nodes that a matrix product reads, be it through wiring.
fn multiplied(graph: &Graph) -> Vec<bool> {
    read_by(graph, |op, multiplied| match op {
        Op::MatMul(_) => true,
        Op::View(_) | Op::Affine { .. } => multiplied,
        _ => false,
    })
}

/// Nodes that some operation reads: `reads` says whether an operation is one, or is like one if somebody who is reads it.
fn read_by(graph: &Graph, reads: fn(&Op, bool) -> bool) -> Vec<bool> {
    let mut mixed = vec![false; graph.nodes.len()];
    // All steps of a loop are alike, also the last one, whose results may have fewer readers.
    let mut tied: HashSet<Tie> = HashSet::new();
    loop {
        let known = tied.len();
        for (id, node) in graph.nodes.iter().enumerate().rev() {
            mixed[id] |= node.tie.is_some_and(|tie| tied.contains(&tie));
            if let (true, Some(tie)) = (mixed[id], node.tie) {
                tied.insert(tie);
            }
            if reads(&node.op, mixed[id]) {
                let inputs = node.inputs.iter().filter(|&&i| i < id);
                inputs.for_each(|&i| mixed[i] = true);
            }
        }
        if tied.len() == known {
            return mixed;
        }
    }
}

/// What is known of every node from its operation and what is known of its operands.
fn known(graph: &Graph, rule: fn(&Op, &[bool]) -> bool) -> Vec<bool> {
    let mut known = vec![false; graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        let operand = |&i: &NodeId| known.get(i).copied().unwrap_or(false);
        let operands: Vec<bool> = node.inputs.iter().map(operand).collect();
        known[id] = rule(&node.op, &operands);
    }
    known
}

fn is_unsigned(op: &Op, operands: &[bool]) -> bool {
    match op {
        Op::Softmax { .. } | Op::Activation(Activation::Relu) => true,
        Op::ArgMax { .. } | Op::TopK { .. } => true,
        Op::View(_) | Op::Max { .. } => operands.iter().all(|&o| o),
        _ => false,
    }
}

fn is_positive(op: &Op, operands: &[bool]) -> bool {
    match op {
        Op::Activation(Activation::Clip { low, .. }) => *low >= 0.0,
        Op::Sum { .. } | Op::Add | Op::Concat => operands.iter().all(|&o| o),
        Op::Gate => operands.last() == Some(&true),
        _ => is_unsigned(op, operands),
    }
}

pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}
