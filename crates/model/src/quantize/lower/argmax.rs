//! Index of the largest element, exactly.
//!
//! With integers `v_j` of one scale and `m = max v_j` (a unit of its own), `a_j = max(0, v_j − m + 1)` is one at the largest
//! elements and zero elsewhere, `t_j = max(0, a_j − Σ_{i<j} a_i)` is one at the first of them alone, and the index is `Σ j·t_j`. All
//! of it is linear maps with public weights and clamps at zero, so the integer answer has no error; against the float model the
//! answer differs only where the two largest elements are equal after quantization.

use zkinfer_circuits::program::{Axis, Neurons, Node, Term, Unit, ValueRef, View, Weights};

use super::{Act, Lowering, Plane};
use crate::graph::NodeId;
use crate::quantize::QuantizeError;

impl Lowering<'_> {
    pub(super) fn argmax(
        &mut self,
        id: NodeId,
        input: NodeId,
        len: usize,
    ) -> Result<Act, QuantizeError> {
        let total = self.graph.nodes[input].len();
        if len == 0 || !total.is_multiple_of(len) {
            return Err(self.shape_error(id, "the length does not divide the operand"));
        }
        if len as f64 >= self.network.range() {
            return Err(QuantizeError::Unsupported {
                layer: self.graph.nodes[id].name.clone(),
                reason: "an index among 2^T elements or more; use more bits",
            });
        }
        let cut = self.cut_masked(id, input)?;
        let (value, scale, offset) = match &cut {
            Some(cut) => {
                (cut.act.uniform()).ok_or_else(|| self.shape_error(id, "has no element"))?
            }
            None => self.integers(id, input)?,
        };
        let (count, one) = (total / len, 1i64 << self.network.bits);
        let largest = self.compare(id, value, count, len, &[scale]);
        if let Some(cut) = cut.filter(|cut| cut.whole) {
            let largest = Act::one(largest, scale, offset, count);
            let origin = self.helper(id);
            self.at_least(id, &largest, cut.least, origin)?;
        }
        let repeat = View {
            loops: vec![count as u32, len as u32],
            axes: vec![Axis {
                extent: count as u32,
                offset: 0,
                strides: vec![1, 0],
            }],
        };
        let largest = self.network.view(largest, repeat);
        let ones = self.network.constant(total);
        let term = |patches: ValueRef, inputs: usize, weights: Vec<i64>| Term {
            patches,
            inputs: inputs as u32,
            weights: Weights::Public(weights),
        };
        let neurons = |positions: usize, outputs: usize, unit, terms| {
            Node::Neurons(Neurons {
                groups: 1,
                outputs: outputs as u32,
                positions: positions as u32,
                unit,
                terms,
            })
        };
        let terms = vec![
            term(value, 1, vec![one]),
            term(largest, 1, vec![-one]),
            term(ones, 1, vec![one]),
        ];
        let ties = self.push_helper(id, neurons(total, 1, Unit::RELU, terms));
        // Row j of a run: itself minus all before it.
        let first: Vec<i64> = (0..len)
            .flat_map(|j| {
                (0..len).map(move |i| match i.cmp(&j) {
                    std::cmp::Ordering::Less => -one,
                    std::cmp::Ordering::Equal => one,
                    std::cmp::Ordering::Greater => 0,
                })
            })
            .collect();
        // Results are [output][position]: the index among `len`, then the run.
        let terms = vec![term(ties, len, first)];
        let first = self.push_helper(id, neurons(count, len, Unit::RELU, terms));
        let transposed = View {
            loops: vec![count as u32, len as u32],
            axes: vec![Axis {
                extent: total as u32,
                offset: 0,
                strides: vec![1, count as i64],
            }],
        };
        let first = self.network.view(first, transposed);
        let indices = (0..len as i64).map(|j| j * one).collect();
        let terms = vec![term(first, len, indices)];
        let index = self.network.push(neurons(count, 1, Unit::LINEAR, terms));
        let range = (0.0, len as f64 - 1.0);
        self.network
            .record(index.node, &[1.0], range, self.origin(id));
        let act = Act {
            planes: vec![Plane {
                value: index,
                scale: vec![1.0; count],
            }],
            offset: vec![0.0; count],
        };
        self.network.decode(&act);
        Ok(act)
    }

    /// Adds neurons that stand for no tensor of the float model.
    pub(in crate::quantize) fn push_helper(&mut self, id: NodeId, node: Node) -> ValueRef {
        let value = self.network.push(node);
        self.network
            .record(value.node, &[1.0], (0.0, 1.0), self.helper(id));
        value
    }
}
