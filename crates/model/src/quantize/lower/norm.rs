//! Sums of squares that functions alone read, be it of rows (normalisations) or of two parts (magnitudes): rows, and elements of one
//! row, may be of very different size, and a function that is steep near zero makes much of what the small ones lose.
//!
//! Squares are products of an operand with itself, exact, and all bits of their sums are read. What is left is the operand's own
//! rounding. Where that is too much, columns that are far larger than others have steps of their own, or the operand has bits
//! below its cell: `X = 2^T·H + L` in steps of `s/2^T`, zero at `H = z`, so that with `Z = 2^T·z`
//!
//! ```text
//! Σ (X − Z)²  =  2^(2T)·Σ H² + 2·2^T·Σ H·L + Σ L² − 2·Z·(2^T·Σ H + Σ L) + n·Z²
//! ```
//!
//! is a sum of products of cells with public factors. It has to stay below `2^(3T)`, the accumulators of deep units, which is what
//! limits the bits of `H`.

use zkinfer_circuits::program::{Neurons, Node, Term, Unit, ValueRef, Weights};

use super::matmul::{base, factor};
use super::neurons::UNEVEN;
use super::{Act, Lowering, Plane, Value};
use crate::graph::view::in_order;
use crate::graph::{Activation, MatMul, NodeId, Op};
use crate::quantize::QuantizeError;
use crate::quantize::network::Level;

impl Lowering<'_> {
    /// Whether results are sums of squares that functions alone read: of rows of very different size.
    pub(super) fn is_norm(&self, id: NodeId, product: &MatMul) -> bool {
        let mut open = self.readers[id].clone();
        let mut only = !self.graph.outputs.contains(&id) && !open.is_empty();
        while let Some(reader) = open.pop() {
            match &self.graph.nodes[reader].op {
                Op::Affine { .. } | Op::View(_) => open.extend(&self.readers[reader]),
                Op::Activation(Activation::Scalar(_)) => {}
                _ => only = false,
            }
        }
        let [a, b] = self.graph.nodes[id].inputs[..] else {
            return false;
        };
        only && a == b && product.left == product.right && product.outputs * product.positions == 1
    }

    /// Sums of squares of rows with some columns that are far larger than the others: those and the others apart, each in steps of
    /// their own, with all bits of both sums. What multiplies the columns apart finds the operand as it is.
    pub(super) fn norm_of_columns(
        &mut self,
        id: NodeId,
        [a, _]: [NodeId; 2],
        product: &MatMul,
    ) -> Result<Option<Act>, QuantizeError> {
        let columns = product.inputs;
        let len = self.graph.nodes[a].len();
        let whole: Option<Vec<usize>> = self.indices(id, &product.left, len)?.into_iter().collect();
        let in_rows = whole.is_some_and(|w| in_order(&w, len)) && product.groups * columns == len;
        if !in_rows
            || !self.is_norm(id, product)
            || self.network.saturate
            || !self.has_uneven_columns(a, columns)
        {
            return Ok(None);
        }
        let Value::Act(act) = self.value(a)? else {
            return Ok(None);
        };
        let ranges = self.stats.channels(a, columns, |i| i % columns);
        let reach: Vec<f64> = ranges.iter().map(|(a, b)| a.abs().max(b.abs())).collect();
        let mut sorted = reach.clone();
        sorted.sort_by(f64::total_cmp);
        let most = UNEVEN * sorted[columns / 2];
        let (large, small): (Vec<usize>, Vec<usize>) =
            (0..columns).partition(|&c| reach[c] >= most);
        let mut sum: Option<Act> = None;
        for group in [small, large] {
            let part = self.norm_of_some(id, a, product, &act, (&group, &reach))?;
            sum = Some(match sum {
                Some(sum) => sum.add(part),
                None => part,
            });
        }
        if let Some(sum) = &sum {
            self.network.decode(sum);
        }
        Ok(sum)
    }

    /// Sums of the squares of some columns.
    fn norm_of_some(
        &mut self,
        id: NodeId,
        a: NodeId,
        product: &MatMul,
        act: &Act,
        (group, reach): (&[usize], &[f64]),
    ) -> Result<Act, QuantizeError> {
        let columns = product.inputs;
        let rows = 0..product.groups;
        let kept: Vec<usize> = rows
            .flat_map(|row| group.iter().map(move |c| row * columns + c))
            .collect();
        let part = self.select(act, &kept);
        let mut acc = self.rescaling(a, &part)?;
        let most = group.iter().map(|&c| reach[c]).fold(1e-30, f64::max);
        let (top, range) = (self.network.top(), self.network.range());
        let margin = 1.0 + self.network.headroom;
        // No more than all columns together were seen to make.
        let high: f64 = group.iter().map(|&c| reach[c].powi(2)).sum();
        let high = high.min(self.stats.tensor(id).1.max(1e-30));
        let wanted = high * margin / top;
        let finest = |step: f64| step * step * range / base(group.len()) as f64;
        // Elements so coarse that the sum of all squares fits.
        let missing = wanted / finest(2.0 * most * margin / top);
        let most = most * missing.max(1.0).sqrt();
        acc.range = vec![(-most, most); acc.channels()];
        let origin = self.helper(a);
        let squared = self.requantize(&acc, true, origin)?;
        let whole = self
            .as_whole(&squared)
            .ok_or_else(|| self.shape_error(id, "an operand has no scale of its own"))?;
        let some = MatMul {
            inputs: group.len(),
            ..product.clone()
        };
        let finest = finest(whole.scale);
        let m = factor(group.len(), finest, wanted);
        let scale = whole.scale * whole.scale * range / m as f64;
        let value = self.product_neurons(id, &some, [whole.clone(), whole], m, 0)?;
        let origin = self.origin(id);
        self.network
            .record(value.node, &[scale], (0.0, high), origin);
        let plane = |value: ValueRef, scale: f64| Plane {
            value,
            scale: vec![scale; product.groups],
        };
        let rest = ValueRef { port: 1, ..value };
        Ok(Act {
            planes: vec![plane(value, scale), plane(rest, scale / range)],
            offset: vec![-0.5 * scale; product.groups],
        })
    }

    /// Sums of squares of an operand of more bits than a cell has, where its rounding is too much for who reads them; `None` where it
    /// is not, or the sums have no room for more bits.
    pub(super) fn norm_of_wide(
        &mut self,
        id: NodeId,
        a: NodeId,
        product: &MatMul,
    ) -> Result<Option<Act>, QuantizeError> {
        let wide = self.network.levels.get(&a) == Some(&Level::Wide) && !self.network.saturate;
        if !wide || !self.is_norm(id, product) {
            return Ok(None);
        }
        // Of `2·(T + bits) + log₂ n` bits, one to spare.
        let (rows, n) = (product.groups, product.inputs);
        let taken = 1 + n.next_power_of_two().trailing_zeros();
        let bits = self.network.bits.saturating_sub(taken) / 2;
        let acc = match self.value(a)? {
            Value::Acc(acc) if acc.is_plain() => acc,
            Value::Acc(_) => return Ok(None),
            Value::Act(act) => self.elementwise(a, &act)?,
        };
        if bits < LEAST {
            return Ok(None);
        }
        let range = self.network.range();
        let margin = 1.0 + self.network.headroom;
        let (low, high) = acc.total_range();
        let most = low.abs().max(high.abs()).max(1e-30);
        let mut scales = vec![2.0 * most * margin / f64::from(bits).exp2(); acc.channels()];
        self.network.settle(&acc, &mut scales, true);
        let (step, zero) = (scales[0], f64::from(bits - 1).exp2());
        // Rounded down to the last bit that is read: the half that neurons add is taken off.
        let zeros = vec![zero - 0.5; scales.len()];
        let origin = self.origin(a);
        let node = self
            .network
            .emit(&acc, Unit::LINEAR, &scales, 0.0, &zeros, origin)?;
        let port = |port: u32, step: f64| (ValueRef { node, port }, vec![step; scales.len()]);
        let ports = [port(0, step), port(1, step / range)];
        let offset = vec![-step * zero; scales.len()];
        let operand = self.network.results(&acc, &ports, &offset)?;
        self.network.decode(&operand);
        let indices = self.indices(id, &product.left, operand.len())?;
        if indices.contains(&None) {
            return Ok(None);
        }
        let parts = self.view_act(operand, &product.left, &indices).planes;
        let [upper, lower] = [parts[0].value, parts[1].value];

        let likely = self.stats.tensor(id);
        let wanted = likely.1.max(1e-30) * margin / self.network.top();
        let m = factor(n, step * step / base(n) as f64, wanted);
        let scale = step * step / m as f64;
        let (whole, z) = (range as i64, (zero * range) as i64);
        let square = |value: ValueRef, patches: ValueRef, factor: i64| Term {
            patches,
            inputs: n as u32,
            weights: Weights::Value { value, factor },
        };
        let public = |patches: ValueRef, inputs: usize, weight: i64| Term {
            patches,
            inputs: inputs as u32,
            weights: Weights::Public(vec![weight; rows * inputs]),
        };
        let ones = self.network.constant(rows);
        let terms = vec![
            square(upper, upper, m * whole * whole),
            square(upper, lower, 2 * m * whole),
            square(lower, lower, m),
            public(upper, n, -2 * m * z * whole),
            public(lower, n, -2 * m * z),
            public(ones, 1, m * n as i64 * z * z),
        ];
        let node = self.network.push(Node::Neurons(Neurons {
            groups: rows as u32,
            outputs: 1,
            positions: 1,
            unit: Unit {
                deep: true,
                ..Unit::LINEAR
            },
            terms,
        }));
        let origin = self.origin(id);
        self.network.record(node.node, &[scale], likely, origin);
        let plane = |port: u32, scale: f64| Plane {
            value: ValueRef { port, ..node },
            scale: vec![scale; rows],
        };
        let act = Act {
            planes: vec![plane(0, scale), plane(1, scale / range)],
            offset: vec![0.0; rows],
        };
        self.network.decode(&act);
        Ok(Some(act))
    }
}

/// Fewer bits below an operand's cell are not worth a column.
const LEAST: u32 = 2;
