//! Rows of tables by their numbers.
//!
//! The numbers are keys: accumulators of linear neurons of their own, whole numbers without any rounding, however many bits they
//! have. What is looked up is exact but for the rounding of the table.

use zkinfer_circuits::program::{Neurons, Node, Term, Unit, ValueRef, View, Weights};

use super::{Acc, AccTerm, Act, Lowering, Plane, Value, common};
use crate::graph::{Gather, NodeId, Op};
use crate::model::TensorInterface;
use crate::quantize::QuantizeError;

use super::neurons::steady;
use super::wide;

/// A whole number, as it was computed from floats.
fn whole(value: f64) -> Option<i64> {
    let near = value.round();
    ((value - near).abs() <= 1e-9 * near.abs().max(1.0)).then_some(near as i64)
}

impl Lowering<'_> {
    /// Columns of a matrix by their numbers.
    pub(super) fn gather(
        &mut self,
        id: NodeId,
        input: NodeId,
        gather: &Gather,
    ) -> Result<Acc, QuantizeError> {
        if gather.rows == 0 || gather.weights.len() != gather.outputs * gather.rows {
            return Err(self.shape_error(id, "weights have the wrong size"));
        }
        // A negative number counts from the end.
        let turned = self.stats.tensor(input).0 < -0.5;
        let before = if turned { gather.rows } else { 0 };
        let keys = self.keys(id, input, before)?;
        let rows = gather.weights.chunks(gather.rows);
        let weights: Vec<f64> = rows
            .flat_map(|row| {
                let row = wide(row);
                let times = 1 + usize::from(turned);
                row.repeat(times)
            })
            .collect();
        let inputs = before + gather.rows;
        let positions = self.graph.nodes[input].len();
        // Whatever is looked up is one of the rows, also one that calibration did not see.
        let extremes = |row: &[f64]| {
            let ends = row
                .iter()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |r, &w| {
                    (r.0.min(w), r.1.max(w))
                });
            steady(ends)
        };
        Ok(Acc {
            groups: 1,
            outputs: gather.outputs,
            positions,
            window: 1,
            range: weights.chunks(inputs).map(extremes).collect(),
            terms: vec![AccTerm {
                source: keys,
                view: View::identity(positions),
                inputs,
                weights,
                is_gathered: true,
            }],
            bias: vec![0.0; gather.outputs],
            spread: None,
            low: false,
            post: None,
        })
    }

    /// Neurons whose accumulators are the whole numbers that a tensor holds, plus `shift`.
    fn keys(&mut self, id: NodeId, input: NodeId, shift: usize) -> Result<ValueRef, QuantizeError> {
        let mut act = self.act(input)?;
        let is_whole = |act: &Act| {
            let steps = act
                .planes
                .iter()
                .all(|p| common(&p.scale).and_then(whole).is_some());
            steps && common(&act.offset).and_then(whole).is_some()
        };
        if !is_whole(&act) {
            act = self.rounded_to_whole(input, &act, shift)?;
        }
        let len = act.len();
        let one = |patches: ValueRef, weight: i64| Term {
            patches,
            inputs: 1,
            weights: Weights::Public(vec![weight]),
        };
        let step = |p: &Plane| common(&p.scale).and_then(whole).unwrap_or(0);
        let mut terms: Vec<Term> = act.planes.iter().map(|p| one(p.value, step(p))).collect();
        let offset = common(&act.offset).and_then(whole).unwrap_or(0) + shift as i64;
        if offset != 0 || terms.is_empty() {
            let ones = self.network.constant(len);
            terms.push(one(ones, offset));
        }
        let keys = self.network.push(Node::Neurons(Neurons {
            groups: 1,
            outputs: 1,
            positions: len as u32,
            unit: Unit::LINEAR,
            terms,
        }));
        let top = self.network.top();
        let origin = self.helper(id);
        self.network.record(keys.node, &[1.0], (0.0, top), origin);
        Ok(keys)
    }

    /// A tensor of whole numbers whose integers are not: the nearest ones.
    fn rounded_to_whole(
        &mut self,
        input: NodeId,
        act: &Act,
        shift: usize,
    ) -> Result<Act, QuantizeError> {
        let (low, high) = self.stats.tensor(input);
        let top = self.network.top();
        if low + (shift as f64) < -0.5 || high + shift as f64 > top + 0.5 {
            return Err(QuantizeError::Unsupported {
                layer: self.graph.nodes[input].name.clone(),
                reason: "numbers of rows that are computed, of more than 2^T rows; use more bits",
            });
        }
        let acc = self.elementwise(input, act)?;
        let (scales, zero) = (
            vec![1.0; acc.channels()],
            vec![shift as f64; acc.channels()],
        );
        let origin = self.helper(input);
        let node = self
            .network
            .emit(&acc, Unit::LINEAR, &scales, 0.0, &zero, origin)?;
        let offset = vec![-(shift as f64); acc.channels()];
        let port = ValueRef { node, port: 0 };
        self.network.results(&acc, &[(port, scales)], &offset)
    }

    /// Rows of the largest table that an input's elements are numbers of rows of.
    pub(super) fn rows_of(&self, id: NodeId) -> Option<usize> {
        let mut open = vec![id];
        let mut rows = None;
        while let Some(at) = open.pop() {
            for &reader in &self.readers[at] {
                match &self.graph.nodes[reader].op {
                    Op::View(_) => open.push(reader),
                    Op::Gather(gather) => rows = rows.max(Some(gather.rows)),
                    _ => {}
                }
            }
        }
        rows
    }

    /// The interface of an input of whole numbers, each in as many cells as the number of rows asks for; its value is set.
    pub(super) fn numbers(&mut self, id: NodeId, rows: usize) -> TensorInterface {
        let node = &self.graph.nodes[id];
        let (low, high) = self.stats.tensor(id);
        let zero = if low < -0.5 {
            (-low).ceil().max(rows as f64)
        } else {
            0.0
        };
        let (len, bits) = (node.len(), self.network.bits);
        let wide = zero + high.max(rows as f64 - 1.0) > self.network.top();
        let limbs = 1 + usize::from(wide);
        let (_, parts) = self.cells(len, limbs);
        let plane = |(part, value): (usize, ValueRef)| Plane {
            value,
            scale: vec![f64::from(bits * part as u32).exp2(); len],
        };
        let planes = parts.into_iter().enumerate().map(plane).collect();
        self.values[id] = Some(Value::Act(Act {
            planes,
            offset: vec![-zero; len],
        }));
        TensorInterface {
            name: node.name.clone(),
            shape: node.shape.clone(),
            scale: vec![1.0],
            zero_point: vec![zero],
            integers: false,
            labels: Vec::new(),
            low_bits: if wide { bits } else { 0 },
        }
    }
}
