//! Rows that are multiplied by a number each, as normalisations do, where some columns are far larger than the others.
//!
//! In integers of one step the large columns leave the others few bits (the outlier channels of language models: Dettmers, Lewis,
//! Belkada and Zettlemoyer, *LLM.int8()*, NeurIPS 2022, section 3). A product `r·x` of a row's number and an element is exact
//! whatever the step of the element is, so every column has its own, and so has its result. Of the element all bits of its
//! accumulator count: rows may be far smaller than others, too.

use zkinfer_circuits::program::{Neurons, Node, Term, Unit, ValueRef, Weights};

use super::matmul::{Whole, base, factor};
use super::neurons::is_uneven;
use super::{Acc, Act, Lowering, Plane, Value};
use crate::graph::view::in_order;
use crate::graph::{MatMul, NodeId};
use crate::quantize::QuantizeError;
use crate::quantize::network::Level;

impl Lowering<'_> {
    /// The product by columns; `None` where it is not one of this kind, columns are alike, or a reader wants one step for all.
    pub(super) fn scaled_columns(
        &mut self,
        id: NodeId,
        [a, b]: [NodeId; 2],
        product: &MatMul,
    ) -> Result<Option<Act>, QuantizeError> {
        // The long operand has a row of elements for every group, the other one a number.
        let (long, view, short, of_short, columns) = match (product.outputs, product.positions) {
            (1, 2..) => (b, &product.right, a, &product.left, product.positions),
            (2.., 1) => (a, &product.left, b, &product.right, product.outputs),
            _ => return Ok(None),
        };
        let len = self.graph.nodes[long].len();
        let whole: Option<Vec<usize>> = self.indices(id, view, len)?.into_iter().collect();
        if product.inputs != 1 || self.mixed[id] || self.network.saturate {
            return Ok(None);
        }
        if !whole.is_some_and(|w| in_order(&w, len)) || product.groups * columns != len {
            return Ok(None);
        }
        let reach = |node: NodeId| -> Vec<f64> {
            let ranges = self.stats.channels(node, columns, |i| i % columns);
            ranges
                .iter()
                .map(|(a, b)| a.abs().max(b.abs()).max(1e-30))
                .collect()
        };
        let (reach_of_long, reach_of_result) = (reach(long), reach(id));
        if !self.has_uneven_columns(long, columns) {
            return Ok(None);
        }
        let act = match self.value(long)? {
            Value::Act(act) => act,
            Value::Acc(_) => return Ok(None),
        };
        let Ok(mut acc) = self.in_channels(long, &act, Some(columns)) else {
            return Ok(None);
        };
        let source = self.source(short)?;
        let number = self.whole(id, short, of_short, source, 1.0)?;
        if number.zero.is_some() {
            return Ok(None);
        }
        let (long, steps) =
            self.columns(long, &mut acc, &number, (&reach_of_long, &reach_of_result))?;
        let (top, range) = (self.network.top(), self.network.range());
        let margin = 2.0 * (1.0 + self.network.headroom) / top;
        let least = |(step, reach): (&f64, &f64)| {
            let finest = number.scale * step * range / base(1) as f64;
            finest / (reach * margin)
        };
        let least = steps
            .iter()
            .zip(&reach_of_result)
            .map(least)
            .fold(f64::INFINITY, f64::min);
        let m = factor(1, least, 1.0);
        let zero = (range / 2.0) as i64;
        let by = number.scale;
        let value = self.scaled_neurons(product, &number, long, m);
        let scales: Vec<f64> = steps.iter().map(|s| by * s * range / m as f64).collect();
        let likely = self.stats.tensor(id);
        let origin = self.origin(id);
        self.network.record(value.node, &scales, likely, origin);
        let scale: Vec<f64> = (0..len).map(|i| scales[i % columns]).collect();
        let act = Act {
            offset: scale.iter().map(|s| -s * zero as f64).collect(),
            planes: vec![Plane { value, scale }],
        };
        self.network.decode(&act);
        Ok(Some(act))
    }

    /// Whether some columns of a tensor are far larger than others.
    pub(super) fn has_uneven_columns(&self, node: NodeId, columns: usize) -> bool {
        let ranges = self.stats.channels(node, columns, |i| i % columns);
        is_uneven(ranges.into_iter())
    }

    /// Neurons `number · element`, of all bits of both; zero is in the middle of the result.
    fn scaled_neurons(
        &mut self,
        product: &MatMul,
        number: &Whole,
        [long, below]: [ValueRef; 2],
        m: i64,
    ) -> ValueRef {
        let (rows, columns) = (
            product.groups * product.outputs,
            product.groups * product.positions,
        );
        let range = self.network.range() as i64;
        // The element is `range·value + below − middle`.
        let middle = range * (range / 2) + range / 2;
        let by_row = product.outputs == 1;
        let each = if by_row { columns } else { rows };
        let ones = self.network.constant(each);
        let mut terms = Vec::new();
        for (part, factor) in number.parts() {
            for (element, times) in [(long, range), (below, 1), (ones, -middle)] {
                let (value, patches) = match by_row {
                    true => (part, element),
                    false => (element, part),
                };
                terms.push(Term {
                    patches,
                    inputs: 1,
                    weights: Weights::Value {
                        value,
                        factor: m * factor * times,
                    },
                });
            }
        }
        let half = range * range / 2;
        let ones = self.network.constant(columns);
        terms.push(Term {
            patches: ones,
            inputs: 1,
            weights: Weights::Public(vec![range * range * (range / 2) + half; rows]),
        });
        self.network.push(Node::Neurons(Neurons {
            groups: product.groups as u32,
            outputs: product.outputs as u32,
            positions: product.positions as u32,
            unit: Unit {
                deep: true,
                ..Unit::LINEAR
            },
            terms,
        }))
    }

    /// The long operand in steps of its own for every column, none so fine that its result would not fit; zero is in the middle.
    fn columns(
        &mut self,
        long: NodeId,
        acc: &mut Acc,
        number: &Whole,
        (reach, results): (&[f64], &[f64]),
    ) -> Result<([ValueRef; 2], Vec<f64>), QuantizeError> {
        let (top, range) = (self.network.top(), self.network.range());
        let margin = 2.0 * (1.0 + self.network.headroom) / top;
        acc.range = reach.iter().map(|r| (-r, *r)).collect();
        let wanted = |(own, result): (&f64, &f64)| {
            let of_result = result * base(1) as f64 / (number.scale * range);
            own.max(of_result) * margin
        };
        let mut steps: Vec<f64> = reach.iter().zip(results).map(wanted).collect();
        self.network.settle(acc, &mut steps, false);
        // The bits below are read, too.
        self.network.levels.entry(long).or_insert(Level::Deep);
        let zero = vec![range / 2.0; steps.len()];
        let origin = self.helper(long);
        let node = self
            .network
            .emit(acc, Unit::LINEAR, &steps, 0.0, &zero, origin)?;
        let offset = vec![0.0; steps.len()];
        let port = |port: u32| (ValueRef { node, port }, steps.clone());
        let act = self.network.results(acc, &[port(0), port(1)], &offset)?;
        Ok(([act.planes[0].value, act.planes[1].value], steps))
    }
}
