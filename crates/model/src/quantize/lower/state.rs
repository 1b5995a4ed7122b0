//! States of loops: every step has to find them represented alike, the first step too, or steps could not share weights.
//!
//! How a state is represented follows from what computes it, and that from the first state. So a graph with loops is lowered
//! more than once: each time first states are represented as the states behind them were the last time, until that agrees.
//! A state that changes on the way (its parts grow, or a reader wanted it in one piece) is requantized at every step.

use std::collections::HashMap;

use zkinfer_circuits::program::{Axis, Neurons, Node, Term, Unit, ValueRef, View, Weights};

use super::{Act, Lowering, Plane, Value};
use crate::graph::{NodeId, Op, Tie};
use crate::model::WeightTensor;
use crate::quantize::QuantizeError;

/// Most often that a graph is lowered.
pub(in crate::quantize) const ROUNDS: usize = 8;

/// How the states of every tie are represented.
pub(in crate::quantize) type States = HashMap<Tie, State>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::quantize) struct State {
    /// Scales of every plane, as bits (they may be no number).
    scales: Vec<Vec<u64>>,
    offset: Vec<f64>,
    /// Whether every step requantizes the state to one scale.
    requantized: bool,
}

impl State {
    fn of(act: &Act) -> State {
        let bits = |p: &Plane| p.scale.iter().map(|s| s.to_bits()).collect();
        State {
            scales: act.planes.iter().map(bits).collect(),
            offset: act.offset.clone(),
            requantized: false,
        }
    }

    fn alike(&self, other: &State) -> bool {
        self.scales == other.scales && self.offset == other.offset
    }
}

/// The states of one tie that steps computed, in order, as they were represented first.
pub(super) type Seen = Vec<(NodeId, State)>;

impl Lowering<'_> {
    /// Ties of states: those of which one member is a constant.
    pub(super) fn state_ties(graph: &crate::graph::Graph) -> HashMap<Tie, Seen> {
        let constant = |id: NodeId| {
            let source = match &graph.nodes[id].op {
                Op::View(_) => graph.nodes[id].inputs.first().copied().unwrap_or(id),
                _ => id,
            };
            matches!(graph.nodes[source].op, Op::Constant(_))
        };
        let mut constants: HashMap<Tie, (usize, usize)> = HashMap::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            if let Some(tie) = node.tie {
                let counts = constants.entry(tie).or_default();
                counts.0 += usize::from(constant(id));
                counts.1 += 1;
            }
        }
        constants.retain(|_, (constants, all)| *constants > 0 && *all > *constants);
        constants
            .into_keys()
            .map(|tie| (tie, Seen::new()))
            .collect()
    }

    /// The value that stands for a state, if the node is one.
    pub(super) fn state(&mut self, id: NodeId, value: Value) -> Result<Value, QuantizeError> {
        let tie = self.graph.nodes[id].tie;
        let Some(tie) = tie.filter(|t| self.seen.contains_key(t)) else {
            return Ok(value);
        };
        let act = match value {
            Value::Acc(acc) => self.materialize(acc, false, id)?,
            Value::Act(act) => act,
        };
        let known = self.states.get(&tie).cloned().unwrap_or_default();
        if act.planes.is_empty() {
            return Ok(Value::Act(self.first_state(id, act, &known)?));
        }
        let act = if known.requantized && act.uniform().is_none() {
            let acc = self.elementwise(id, &act)?;
            self.materialize(acc, true, id)?
        } else {
            act
        };
        if let Some(seen) = self.seen.get_mut(&tie) {
            seen.push((id, State::of(&act)));
        }
        Ok(Value::Act(act))
    }

    /// A constant as integers of a state's planes: neurons that read the constant one.
    fn first_state(&mut self, id: NodeId, act: Act, state: &State) -> Result<Act, QuantizeError> {
        let len = act.len();
        if state.scales.is_empty() || state.offset.len() != len {
            return Ok(act);
        }
        let scales: Vec<Vec<f64>> = state
            .scales
            .iter()
            .map(|s| s.iter().map(|&b| f64::from_bits(b)).collect())
            .collect();
        let mut rest: Vec<f64> = (0..len).map(|i| act.offset[i] - state.offset[i]).collect();
        // The coarsest plane first; a later one adds what it left.
        let mut order: Vec<usize> = (0..scales.len()).collect();
        let size = |p: usize| {
            let known = scales[p].iter().filter(|s| !s.is_nan());
            known.fold(0.0f64, |m, s| m.max(s.abs()))
        };
        order.sort_by(|&a, &b| size(b).total_cmp(&size(a)));
        let mut values = vec![vec![0i32; len]; scales.len()];
        let top = self.network.top();
        for (at, &p) in order.iter().enumerate() {
            for i in 0..len {
                let s = scales[p][i];
                if s.abs() > 0.0 {
                    // The middle of what finer planes can add, which may have one sign only.
                    let finer = order[at + 1..].iter().map(|&q| scales[q][i]);
                    let middle = finer.filter(|s| !s.is_nan()).sum::<f64>() * top / 2.0;
                    let v = ((rest[i] - middle) / s).round().clamp(0.0, top);
                    values[p][i] = v as i32;
                    rest[i] -= v * s;
                }
            }
        }
        // What is left is less than a step, unless later states do not come that far.
        let left = |(i, rest): (usize, &f64)| {
            let steps = scales.iter().map(|s| s[i].abs()).filter(|s| *s > 0.0);
            let finest = steps.fold(f64::INFINITY, f64::min);
            finest.is_finite() && rest.abs() > finest
        };
        if rest.iter().enumerate().any(left) {
            self.misfit.get_or_insert(id);
        }
        let alike = |v: &[f64]| v.windows(2).all(|w| w[0] == w[1]);
        let single = alike(&act.offset) && alike(&state.offset);
        let mut planes = Vec::with_capacity(scales.len());
        for (scale, values) in scales.into_iter().zip(values) {
            // Whether one neuron stands for all elements may depend on the architecture only.
            let count = if single && alike(&scale) { 1 } else { len };
            let value = self.committed_integers(id, &values[..count], len)?;
            planes.push(Plane { value, scale });
        }
        Ok(Act {
            planes,
            offset: state.offset.clone(),
        })
    }

    /// Committed integers; one stands for all `len` elements.
    pub(super) fn committed_integers(
        &mut self,
        id: NodeId,
        values: &[i32],
        len: usize,
    ) -> Result<ValueRef, QuantizeError> {
        let patches = self.network.constant(1);
        let neurons = Neurons {
            groups: 1,
            outputs: values.len() as u32,
            positions: 1,
            unit: Unit::LINEAR,
            terms: vec![Term {
                patches,
                inputs: 1,
                weights: Weights::Committed,
            }],
        };
        let value = self.network.push(Node::Neurons(neurons));
        let bits = self.network.bits;
        self.network.weights.push(WeightTensor {
            node: value.node,
            term: 0,
            data: values.iter().map(|v| v << bits).collect(),
        });
        let top = self.network.top();
        let origin = self.helper(id);
        self.network.record(value.node, &[1.0], (0.0, top), origin);
        if values.len() == len {
            return Ok(value);
        }
        let axis = Axis {
            extent: 1,
            offset: 0,
            strides: vec![0],
        };
        let view = View {
            loops: vec![len as u32],
            axes: vec![axis],
        };
        Ok(self.network.view(value, view))
    }

    /// How states were represented, for the next round.
    pub(super) fn found_states(&self) -> States {
        let mut states = States::new();
        for (tie, seen) in &self.seen {
            let known = self.states.get(tie);
            // While the first state is a mere constant, the first step is no example.
            let example = usize::from(known.is_none() && seen.len() > 1);
            let Some((node, first)) = seen.get(example) else {
                continue;
            };
            let mut state = match &self.values[*node] {
                Some(Value::Act(act)) => State::of(act),
                _ => first.clone(),
            };
            let changes = !first.alike(&state) || seen.iter().any(|(_, s)| !s.alike(first));
            state.requantized = known.is_some_and(|k| k.requantized || changes);
            states.insert(*tie, state);
        }
        states
    }
}
