//! Choices, exactly: elements kept where a truth is one, and the largest elements of a list.
//!
//! A truth `c` times an integer `v` in `[0, 2^T)` is `max(0, v − (2^T − 1)·(1 − c))`: one neuron, a linear map with a clamp,
//! and no rounding at all. The clamp is what makes it sound: `c` is itself the result of a comparison, zero or one.
//!
//! The largest elements of a list are found one after the other. With `w_j = v_j` for those not yet taken and zero for the
//! others (a clamp as above), `m = max w_j` and `c_j` the number of times (zero or one) that `j` was taken before,
//! `a_j = max(0, w_j − m + 1 − c_j)` marks the largest that are left, and `t_j = max(0, a_j − Σ_{i<j} a_i)` the first of them.
//! All weights are public, and no hint is involved: with the integers `v` there is one answer.

use zkinfer_circuits::program::{Axis, Neurons, Node, Term, Unit, ValueRef, View, Weights};

use super::{Act, Lowering, Plane};
use crate::graph::NodeId;
use crate::quantize::QuantizeError;

impl Lowering<'_> {
    /// An operand as integers of one scale, one cell each, with scale and offset; also for later readers.
    pub(super) fn integers(
        &mut self,
        id: NodeId,
        input: NodeId,
    ) -> Result<(ValueRef, f64, f64), QuantizeError> {
        let (mut value, mut scale, mut offset) = self.uniform(input)?;
        if self.width(value) > 1 {
            let act = self.act(input)?;
            let acc = self.elementwise(input, &act)?;
            let act = self.materialize(acc, true, input)?;
            (value, scale, offset) = act
                .uniform()
                .ok_or_else(|| self.shape_error(id, "has no element"))?;
        }
        let total = self.graph.nodes[input].len();
        let act = Act {
            planes: vec![Plane {
                value,
                scale: vec![scale; total],
            }],
            offset: vec![offset; total],
        };
        self.replace(input, &act);
        Ok((value, scale, offset))
    }

    /// The second operand where the first is one, zero where it is zero.
    pub(super) fn gate(&mut self, id: NodeId) -> Result<Act, QuantizeError> {
        let [condition, input] = self.graph.nodes[id].inputs[..] else {
            return Err(self.shape_error(id, "needs two operands"));
        };
        let truth = self.act(condition)?;
        let (value, scale, offset) = self.integers(id, input)?;
        let total = self.graph.nodes[input].len();
        if truth.len() != total {
            return Err(self.shape_error(id, "operands differ in length"));
        }
        let top = self.network.top();
        let integers = Act {
            planes: vec![Plane {
                value,
                scale: vec![1.0; total],
            }],
            offset: vec![-top; total],
        };
        let sum = integers.add(truth.clone().affine(&[top], &[0.0]));
        let mut acc = self.rescaling(id, &sum)?;
        acc.range = vec![(-top, top); acc.channels()];
        let (ones, zeros) = (vec![1.0; acc.channels()], vec![0.0; acc.channels()]);
        let origin = self.origin(id);
        let node = self
            .network
            .emit(&acc, Unit::RELU, &ones, 0.0, &zeros, origin)?;
        let kept = vec![scale; acc.channels()];
        let kept = (ValueRef { node, port: 0 }, kept);
        let mut act = self.network.results(&acc, &[kept], &zeros)?;
        if offset != 0.0 {
            act = act.add(truth.affine(&[offset], &[0.0]));
        }
        self.network.decode(&act);
        Ok(act)
    }

    /// Indicators of the largest elements, `[runs][count][len]`.
    pub(super) fn top_k(
        &mut self,
        id: NodeId,
        input: NodeId,
        len: usize,
        count: usize,
    ) -> Result<Act, QuantizeError> {
        let total = self.graph.nodes[input].len();
        if len == 0 || count == 0 || count > len || !total.is_multiple_of(len) {
            return Err(self.shape_error(id, "the length does not divide the operand"));
        }
        if len as f64 >= self.network.range() || count > 32 {
            return Err(QuantizeError::Unsupported {
                layer: self.graph.nodes[id].name.clone(),
                reason: "the largest among 2^T elements or more, or more than 32 of them; use more bits, or pick fewer",
            });
        }
        let (value, scale, _) = self.integers(id, input)?;
        let (runs, one) = (total / len, 1i64 << self.network.bits);
        let term = |patches: ValueRef, inputs: usize, weights: Vec<i64>| Term {
            patches,
            inputs: inputs as u32,
            weights: Weights::Public(weights),
        };
        let neurons = |positions: usize, outputs: usize, terms| {
            Node::Neurons(Neurons {
                groups: 1,
                outputs: outputs as u32,
                positions: positions as u32,
                unit: Unit::RELU,
                terms,
            })
        };
        let map = |extent: usize, loops: &[usize], strides: &[i64]| View {
            loops: loops.iter().map(|&l| l as u32).collect(),
            axes: vec![Axis {
                extent: extent as u32,
                offset: 0,
                strides: strides.to_vec(),
            }],
        };
        // Row j of a run: itself minus all before it.
        let row = |j: usize| (0..len).map(move |i| (i, j));
        let sign = |(i, j): (usize, usize)| match i.cmp(&j) {
            std::cmp::Ordering::Less => -one,
            std::cmp::Ordering::Equal => one,
            std::cmp::Ordering::Greater => 0,
        };
        let first: Vec<i64> = (0..len).flat_map(row).map(sign).collect();
        let ones = self.network.constant(total);
        let mut taken: Vec<ValueRef> = Vec::with_capacity(count);
        for _ in 0..count {
            let mut left = value;
            if !taken.is_empty() {
                let mut terms = vec![term(value, 1, vec![one])];
                terms.extend(taken.iter().map(|&t| term(t, 1, vec![-one * (one - 1)])));
                left = self.push_helper(id, neurons(total, 1, terms));
            }
            let largest = self.compare(id, left, runs, len, &[scale]);
            let repeat = map(runs, &[runs, len], &[1, 0]);
            let largest = self.network.view(largest, repeat);
            let mut terms = vec![
                term(left, 1, vec![one]),
                term(largest, 1, vec![-one]),
                term(ones, 1, vec![one]),
            ];
            terms.extend(taken.iter().map(|&t| term(t, 1, vec![-one])));
            let ties = self.push_helper(id, neurons(total, 1, terms));
            // Results are [index][run].
            let terms = vec![term(ties, len, first.clone())];
            let next = self.push_helper(id, neurons(runs, len, terms));
            let transposed = map(total, &[runs, len], &[1, runs as i64]);
            taken.push(self.network.view(next, transposed));
        }
        let all = self.network.push(Node::Concat { sources: taken });
        // [count][runs][len] to [runs][count][len]
        let strides = [len as i64, total as i64, 1];
        let order = map(total * count, &[runs, count, len], &strides);
        let value = self.network.view(all, order);
        Ok(Act {
            planes: vec![Plane {
                value,
                scale: vec![1.0; total * count],
            }],
            offset: vec![0.0; total * count],
        })
    }
}
