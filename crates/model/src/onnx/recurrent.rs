//! Loops, unrolled: scans, and the recurrent cells that tract makes of LSTM, GRU and RNN.
//!
//! Steps are made alike and [tied](super::tie): what a step reads of a sequence, its states and where they begin are nodes of
//! their own, also where a first state of zeros could be folded away.

use std::collections::HashMap;

use tract_onnx::prelude::{Tensor, TypedModel};
use tract_onnx::tract_core::internal::IntoArcTensor;
use tract_onnx::tract_core::ops::gru_cell::GruEpilogue;
use tract_onnx::tract_core::ops::gru_seq::GruSeq;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::lstm_cell::LstmEpilogue;
use tract_onnx::tract_core::ops::scan::{InputMapping, Scan, ScanInfo};

use super::ImportError;
use super::guard::guarded;
use super::lower::Call;
use super::tensor::{Lazy, Lowering, Value};
use crate::graph::view::Builder;
use crate::graph::{BinaryOp, Linear, Op, ScalarFn, ScalarOp};
use zkinfer_circuits::program::View;

/// Most steps of a loop, and most nodes that unrolling may make tract's nodes into.
const MAX_STEPS: usize = 1024;
const MAX_NODES: usize = 50_000;
/// Most of all loops together.
const MAX_UNROLLED: usize = 4 * MAX_NODES;

fn applied(x: Lazy, op: ScalarOp) -> Lazy {
    let f = x.f.clone().apply(op);
    x.with(f)
}

/// Every state's first value, and whether the state depends on anything that is not constant. A counter does not: it has to
/// stay constant, as indices and shapes may depend on it.
fn varying_states<'c>(op: &Scan, call: &'c Call) -> Vec<(&'c Value, bool)> {
    let tensor = |v: &Value| !matches!(v, Value::Constant(_));
    let mappings = || op.input_mapping.iter().zip(&call.inputs);
    let mut states: Vec<(&Value, bool)> = mappings()
        .filter(|(m, _)| m.is_state())
        .map(|(_, v)| (v, tensor(v)))
        .collect();
    loop {
        let mut state = states.iter();
        let sources = mappings().zip(&op.body.inputs);
        let sources = sources
            .filter(|((m, v), _)| {
                if m.is_state() {
                    state.next().is_some_and(|s| s.1)
                } else {
                    tensor(v)
                }
            })
            .map(|(_, source)| source.node);
        let varies = dependent(&op.body, sources);
        let results = op.body.outputs.iter().zip(&op.output_mapping);
        let results = results.filter(|(_, m)| m.state).map(|(o, _)| o.node);
        let mut grown = false;
        for (state, node) in states.iter_mut().zip(results) {
            if !state.1 && varies.get(node) == Some(&true) {
                (state.1, grown) = (true, true);
            }
        }
        if !grown {
            return states;
        }
    }
}

/// Which nodes depend on any of the sources.
fn dependent(model: &TypedModel, sources: impl Iterator<Item = usize>) -> Vec<bool> {
    let mut varies = vec![false; model.nodes.len()];
    sources.for_each(|s| varies[s] = true);
    for id in guarded(|| model.eval_order()).unwrap_or_default() {
        let node = &model.nodes[id];
        varies[id] |= !node.op_is::<Const>() && node.inputs.iter().any(|i| varies[i.node]);
    }
    varies
}

impl Lowering<'_> {
    pub(super) fn scan(&mut self, op: &Scan, call: &Call) -> Result<Vec<Value>, ImportError> {
        self.unrolled(call, |l| l.steps_of_scan(op, call))
    }

    pub(super) fn gru(&mut self, op: &GruSeq, call: &Call) -> Result<Vec<Value>, ImportError> {
        self.unrolled(call, |l| l.steps_of_gru(op, call))
    }

    pub(super) fn lstm_epilogue(
        &mut self,
        op: &LstmEpilogue,
        call: &Call,
    ) -> Result<Vec<Value>, ImportError> {
        let (gates, state) = (self.at(call, 0)?, self.at(call, 1)?);
        self.lstm_step(&gates, &state, op.hidden)
    }

    pub(super) fn gru_epilogue(
        &mut self,
        op: &GruEpilogue,
        call: &Call,
    ) -> Result<Vec<Value>, ImportError> {
        let (x, r, h) = (self.at(call, 0)?, self.at(call, 1)?, self.at(call, 2)?);
        Ok(vec![Value::Tensor(self.gru_step(&x, &r, &h, op.hidden)?)])
    }

    /// Lowers a loop, whose steps are tied.
    fn unrolled<T>(
        &mut self,
        call: &Call,
        lower: impl FnOnce(&mut Self) -> Result<T, ImportError>,
    ) -> Result<T, ImportError> {
        let depth = self.ties.depth();
        self.ties.enter(call.node.id);
        let result = lower(self);
        self.ties.leave(depth);
        result
    }

    /// A tensor as a node of its own with the tie `what` of the loop.
    fn tied(&mut self, x: &Lazy, what: &str, slot: usize) -> Result<Lazy, ImportError> {
        let before = self.graph.nodes.len();
        let mut node = self.plain(x)?;
        let tie = self.ties.named(what, slot);
        if node < before && self.graph.nodes[node].tie != tie {
            // Somebody else's node.
            let view = View::identity(x.len());
            node = self.emit(Op::View(view), vec![node], x.shape.clone())?;
        }
        self.graph.nodes[node].tie = tie;
        Ok(Lazy {
            node,
            view: None,
            f: ScalarFn::X,
            shape: x.shape.clone(),
        })
    }

    fn at(&mut self, call: &Call, at: usize) -> Result<Lazy, ImportError> {
        match call.inputs.get(at) {
            Some(value) => self.tensor(value),
            None => Err(self.unsupported("an operand is missing")),
        }
    }

    /// Step `i` of an operand that is read step by step.
    fn chunk(
        &mut self,
        value: &Value,
        info: &ScanInfo,
        slot: usize,
        i: usize,
    ) -> Result<Value, ImportError> {
        let size = info.chunk.unsigned_abs();
        let shape = match value {
            Value::Constant(t) => t.shape().to_vec(),
            Value::Tensor(x) => x.shape.clone(),
            Value::Failed(e) => return Err((**e).clone()),
        };
        let len = shape.get(info.axis).copied().unwrap_or(0);
        if size == 0 || (i + 1) * size > len || (info.chunk < 0 && size != 1) {
            return Err(self.unsupported("steps that do not divide the sequence"));
        }
        let first = if info.chunk < 0 {
            len - 1 - i
        } else {
            i * size
        };
        match value {
            Value::Tensor(x) => {
                let window = self.window(&x.clone(), info.axis, first as i64, 1, size)?;
                self.tied(&window, "step", slot).map(Value::Tensor)
            }
            Value::Constant(t) => guarded(|| t.slice(info.axis, first, first + size))
                .map(|t: Tensor| Value::Constant(t.into_arc_tensor()))
                .map_err(|e| self.unsupported(e)),
            Value::Failed(e) => Err((**e).clone()),
        }
    }

    /// How many steps a scan has, if they are not too many.
    fn count_steps(&mut self, op: &Scan, call: &Call) -> Result<usize, ImportError> {
        let length = |v: &Value, axis: usize| match v {
            Value::Constant(t) => t.shape().get(axis).copied(),
            Value::Tensor(x) => x.shape.get(axis).copied(),
            Value::Failed(_) => None,
        };
        let steps = op
            .input_mapping
            .iter()
            .zip(&call.inputs)
            .find_map(|(m, v)| {
                let info = m.as_scan()?;
                Some(length(v, info.axis)? / info.chunk.unsigned_abs().max(1))
            });
        let steps = steps.ok_or_else(|| self.unsupported("a loop without an end"))?;
        let nodes = steps.saturating_mul(op.body.nodes.len());
        if steps > MAX_STEPS || nodes > MAX_NODES {
            return Err(self.unsupported(format!(
                "a loop of {steps} steps, {nodes} operations; limits are {MAX_STEPS} and {MAX_NODES}"
            )));
        }
        self.unrolled += nodes;
        if self.unrolled > MAX_UNROLLED {
            return Err(self.unsupported(format!(
                "loops of more than {MAX_UNROLLED} operations together"
            )));
        }
        Ok(steps)
    }

    /// What the states of a scan are before its first step.
    fn first_states(
        &mut self,
        op: &Scan,
        call: &Call,
        steps: usize,
    ) -> Result<Vec<Value>, ImportError> {
        let mut states = Vec::new();
        for (value, varies) in varying_states(op, call) {
            let first = if varies && steps > 1 {
                let x = self.tensor(value)?;
                let state = self.tied(&x, "state", states.len())?;
                // Zeros are truths, and whole; the states behind them are neither.
                if let Value::Constant(t) = value
                    && t.datum_type().is_float()
                {
                    self.anything(state.node);
                }
                Value::Tensor(state)
            } else {
                value.clone()
            };
            states.push(first);
        }
        Ok(states)
    }

    fn steps_of_scan(&mut self, op: &Scan, call: &Call) -> Result<Vec<Value>, ImportError> {
        if op.skip != 0 {
            return Err(self.unsupported("a scan that skips steps"));
        }
        let steps = self.count_steps(op, call)?;
        let mut states = self.first_states(op, call, steps)?;
        let mut scanned: Vec<Vec<Lazy>> = vec![Vec::new(); op.output_mapping.len()];
        let mut results: Vec<Option<Value>> = Vec::new();
        let mut place = |slot: usize, value: Value| {
            if results.len() <= slot {
                results.resize(slot + 1, None);
            }
            results[slot] = Some(value);
        };
        for i in 0..steps {
            self.ties.step();
            let mut values = HashMap::new();
            let mut state = states.into_iter();
            for (slot, ((mapping, value), &source)) in op
                .input_mapping
                .iter()
                .zip(&call.inputs)
                .zip(&op.body.inputs)
                .enumerate()
            {
                let value = match mapping {
                    InputMapping::Full => value.clone(),
                    InputMapping::State => state
                        .next()
                        .ok_or_else(|| self.unsupported("a state is missing"))?,
                    InputMapping::Scan(info) => self.chunk(value, info, slot, i)?,
                };
                values.insert(source, value);
            }
            self.run(None, &op.body, &mut values)?;
            states = Vec::new();
            for (o, (outlet, mapping)) in op.body.outputs.iter().zip(&op.output_mapping).enumerate()
            {
                let mut value = values
                    .get(outlet)
                    .cloned()
                    .ok_or_else(|| self.unsupported("a result of the loop is missing"))?;
                if let (Value::Tensor(x), true) = (&value, mapping.state) {
                    value = Value::Tensor(self.tied(&x.clone(), "state", states.len())?);
                }
                let tensor = self.tensor(&value)?;
                if mapping.scan.is_some() {
                    scanned[o].push(tensor);
                }
                if let Some(slot) = mapping.last_value_slot.filter(|_| i + 1 == steps) {
                    place(slot, value.clone());
                }
                if mapping.state {
                    states.push(value);
                }
            }
        }
        for (mut parts, mapping) in scanned.into_iter().zip(&op.output_mapping) {
            if let Some((slot, info)) = mapping.scan {
                if info.chunk < 0 {
                    parts.reverse();
                }
                place(slot, Value::Tensor(self.concat_axis(&parts, info.axis)?));
            }
        }
        let missing = self.unsupported("a result of the loop is missing");
        results
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or(missing)
    }

    /// Gate `at` of gates side by side in the last dimension.
    fn gate(&mut self, x: &Lazy, at: usize, hidden: usize) -> Result<Lazy, ImportError> {
        let axis = x.dims().len() - 1;
        self.window(x, axis, (at * hidden) as i64, 1, hidden)
    }

    /// `c' = σ(f)·c + σ(i)·tanh(g)`, `h' = σ(o)·tanh(c')`, gates in the order i, o, f, g.
    fn lstm_step(
        &mut self,
        gates: &Lazy,
        state: &Lazy,
        hidden: usize,
    ) -> Result<Vec<Value>, ImportError> {
        let i = applied(self.gate(gates, 0, hidden)?, ScalarOp::Sigmoid);
        let o = applied(self.gate(gates, 1, hidden)?, ScalarOp::Sigmoid);
        let f = applied(self.gate(gates, 2, hidden)?, ScalarOp::Sigmoid);
        let g = applied(self.gate(gates, 3, hidden)?, ScalarOp::Tanh);
        let shape = state.shape.clone();
        let kept = self.times(&f, state, &shape)?;
        let new = self.times(&i, &g, &shape)?;
        let c = self.sum(&kept, &new)?;
        let h = self.times(&o, &applied(c.clone(), ScalarOp::Tanh), &shape)?;
        Ok(vec![Value::Tensor(h), Value::Tensor(c)])
    }

    /// `h' = n + σ(z)·(h − n)`, `n = tanh(x_n + σ(r)·r_n)`, gates in the order z, r, n.
    fn gru_step(
        &mut self,
        x: &Lazy,
        r: &Lazy,
        h: &Lazy,
        hidden: usize,
    ) -> Result<Lazy, ImportError> {
        let shape = h.shape.clone();
        let mut gates = Vec::new();
        for at in 0..2 {
            let (a, b) = (self.gate(x, at, hidden)?, self.gate(r, at, hidden)?);
            gates.push(applied(self.sum(&a, &b)?, ScalarOp::Sigmoid));
        }
        let reset = self.gate(r, 2, hidden)?;
        let reset = self.times(&gates[1], &reset, &shape)?;
        let fresh = self.gate(x, 2, hidden)?;
        let n = applied(self.sum(&fresh, &reset)?, ScalarOp::Tanh);
        let change = self.sum(h, &applied(n.clone(), ScalarOp::Neg))?;
        let change = self.times(&gates[0], &change, &shape)?;
        self.sum(&n, &change)
    }

    /// A whole sequence: operands X `[batch, steps, in]` (or its projection), W, R, bias and the first state `[batch, 1, hidden]`.
    fn steps_of_gru(&mut self, op: &GruSeq, call: &Call) -> Result<Vec<Value>, ImportError> {
        let x = self.at(call, 0)?;
        let (&[batch, steps, _], hidden) = (x.shape.as_slice(), op.hidden) else {
            return Err(self.unsupported("a sequence of another rank"));
        };
        if steps > MAX_STEPS {
            return Err(self.unsupported("a sequence that is too long"));
        }
        let r_slot = if op.projected { 1 } else { 2 };
        let fixed = |l: &Self, at: usize| match call.constant(at) {
            Some(t) => l.floats(t),
            None => Err(l.unsupported("weights that are not constant are not supported")),
        };
        let r = fixed(self, r_slot)?;
        let bias = if op.has_bias {
            fixed(self, r_slot + 1)?
        } else {
            vec![0.0; 6 * hidden]
        };
        if r.len() != 3 * hidden * hidden || bias.len() != 6 * hidden {
            return Err(self.unsupported("weights of another size"));
        }
        let w = if op.projected {
            None
        } else {
            Some(fixed(self, 1)?)
        };
        let last = self.at(call, call.inputs.len() - 1)?;
        let mut h = self.tied(&last.reshaped(&[batch, hidden]), "state", 0)?;
        self.anything(h.node);
        let mut all = Vec::new();
        for i in 0..steps {
            self.ties.step();
            let at = if op.chunk < 0 { steps - 1 - i } else { i };
            let step = self.window(&x, 1, at as i64, 1, 1)?;
            let width = step.shape[2];
            let step = self.tied(&step.reshaped(&[batch, width]), "step", 0)?;
            let input = match &w {
                Some(w) => self.dense(&step, w, &bias[..3 * hidden])?,
                None => step,
            };
            let recurrent = self.dense(&h, &r, &bias[3 * hidden..])?;
            h = self.gru_step(&input, &recurrent, &h, hidden)?;
            h = self.tied(&h, "state", 0)?;
            all.push(h.clone().reshaped(&[batch, 1, hidden]));
        }
        if op.chunk < 0 {
            all.reverse();
        }
        let whole = if op.emit_y {
            Value::Tensor(self.concat_axis(&all, 1)?)
        } else {
            Value::Failed(self.unsupported("a result that was not asked for").into())
        };
        Ok(vec![whole, Value::Tensor(h.reshaped(&[batch, 1, hidden]))])
    }

    /// `x·Wᵀ + b` for `x` of shape `[rows, inputs]` and `W` of shape `[outputs, inputs]`.
    fn dense(&mut self, x: &Lazy, weights: &[f32], bias: &[f32]) -> Result<Lazy, ImportError> {
        let (rows, inputs, outputs) = (x.shape[0], x.shape[1], bias.len());
        if weights.len() != inputs * outputs {
            return Err(self.unsupported("weights of another size"));
        }
        let view = Builder::new(&[rows, inputs])
            .walk(rows, &[(0, 1)])
            .walk(inputs, &[(1, 1)])
            .build();
        let (node, patches) = self.read(x, &view, false)?;
        let layer = Linear {
            groups: 1,
            outputs,
            positions: rows,
            inputs,
            patches,
            weights: weights.to_vec(),
            bias: bias.to_vec(),
        };
        let y = self.emit_lazy(Op::Linear(layer), vec![node], vec![outputs, rows])?;
        self.permuted(&y, &[1, 0])
    }

    /// `1 − x` and the like: an affine function of a tensor.
    pub(super) fn mapped(&self, x: &Lazy, scale: f64, shift: f64) -> Lazy {
        let f =
            x.f.clone()
                .combine(BinaryOp::Mul, ScalarFn::Const(scale))
                .combine(BinaryOp::Add, ScalarFn::Const(shift));
        x.clone().with(f)
    }
}
