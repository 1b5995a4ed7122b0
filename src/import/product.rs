//! Products of two activations: element by element, or as matrices.

use tract_onnx::tract_core::ops::einsum::EinSum;
use zkinfer_circuits::program::View;

use super::ImportError;
use super::lower::Call;
use super::tensor::{Lazy, Lowering};
use super::view::Builder;
use crate::graph::{MatMul, Op, ScalarOp};

/// Most products of activations of one operator: each is a neuron or two.
const MAX_PRODUCTS: u64 = 1 << 19;

/// A view that reads everything in order.
fn whole(dims: &[usize]) -> View {
    let view = Builder::new(dims);
    dims.iter()
        .enumerate()
        .fold(view, |view, (d, &len)| view.walk(len, &[(d, 1)]))
        .build()
}

impl Lowering<'_> {
    fn few_products(&self, found: usize) -> Result<(), ImportError> {
        if found as u64 > MAX_PRODUCTS {
            return Err(ImportError::Limit {
                name: self.origin.node.clone(),
                what: "the number of products of two activations",
                found: found as u64,
                limit: MAX_PRODUCTS,
            });
        }
        Ok(())
    }

    /// `a · b`, element by element; both have the shape (`a` and `b` may be broadcast by their views).
    pub(super) fn times(
        &mut self,
        a: &Lazy,
        b: &Lazy,
        shape: &[usize],
    ) -> Result<Lazy, ImportError> {
        self.few_products(shape.iter().product())?;
        let (a, b) = (self.resolve(a)?, self.resolve(b)?);
        let (left, right) = (whole(&a.dims()), whole(&b.dims()));
        let (first, left) = self.read(&a, &left, false)?;
        let (second, right) = self.read(&b, &right, false)?;
        let product = Op::Product {
            left,
            right,
            group: 1,
        };
        self.emit_lazy(product, vec![first, second], shape.to_vec())
    }

    /// `a / b`, element by element.
    pub(super) fn divided(
        &mut self,
        a: &Lazy,
        b: &Lazy,
        shape: &[usize],
    ) -> Result<Lazy, ImportError> {
        let inverse = b.f.clone().apply(ScalarOp::Recip);
        self.times(a, &b.clone().with(inverse), shape)
    }

    /// An Einsum of two activations: matrix products and whatever else sums products.
    pub(super) fn einsum_tensors(&mut self, op: &EinSum, call: &Call) -> Result<Lazy, ImportError> {
        let (Some(a), Some(b)) = (call.tensor(0).cloned(), call.tensor(1).cloned()) else {
            return Err(self.unsupported("an Einsum of other than two float operands"));
        };
        let (mut outer, mut inner) = (Vec::new(), Vec::new());
        for axis in op.axes.iter_all_axes() {
            let (Some(in_a), Some(in_b), Some(out)) = (
                axis.inputs.first(),
                axis.inputs.get(1),
                axis.outputs.first(),
            ) else {
                return Err(self.unsupported("an Einsum with other than one result"));
            };
            if out.len() > 1 {
                return Err(self.unsupported("an Einsum that reads a diagonal"));
            }
            let label = Label::new((&a, in_a), (&b, in_b));
            match out.first() {
                Some(&at) => outer.push((at, label)),
                None => inner.push(label),
            }
        }
        outer.sort_by_key(|(at, _)| *at);
        // Labels that both operands have, then those of the first, then those of the second.
        let kind = |label: &Label| match (label.a.is_empty(), label.b.is_empty()) {
            (false, true) => 1,
            (true, false) => 2,
            _ => 0,
        };
        let mut sorted: Vec<usize> = (0..outer.len()).collect();
        sorted.sort_by_key(|&i| kind(&outer[i].1));
        let size = |of: usize| {
            let labels = outer.iter().filter(|(_, l)| kind(l) == of);
            labels.fold(1usize, |n, (_, l)| n.saturating_mul(l.len))
        };
        let (groups, outputs, positions) = (size(0), size(1), size(2));
        let inputs = inner.iter().fold(1usize, |n, l| n.saturating_mul(l.len));
        let products = [outputs, positions, inputs]
            .iter()
            .fold(groups, |n, &m| n.saturating_mul(m));
        let read = |side: fn(&Label) -> &Vec<(usize, i64)>, dims: &[usize], kinds: &[usize]| {
            let own = sorted.iter().map(|&i| &outer[i].1);
            let own = own.filter(|l| kinds.contains(&kind(l))).chain(&inner);
            own.fold(Builder::new(dims), |view, l| view.walk(l.len, side(l)))
                .build()
        };
        let squares = 32 * (products + a.len() + b.len()).min(products.saturating_mul(2));
        let matrix =
            21 * groups * outputs * positions + 16 * (a.len() + b.len()) + 66 * groups * inputs;
        if matrix < squares {
            self.few_products(groups.saturating_mul(outputs).saturating_mul(positions))?;
            let (left, right) = (
                read(|l| &l.a, &a.dims(), &[0, 1]),
                read(|l| &l.b, &b.dims(), &[0, 2]),
            );
            let (first, left) = self.read(&a, &left, false)?;
            let (second, right) = self.read(&b, &right, false)?;
            let product = Op::MatMul(MatMul {
                groups,
                outputs,
                positions,
                inputs,
                left,
                right,
            });
            let shape = sorted.iter().map(|&i| outer[i].1.len).collect();
            let y = self.emit_lazy(product, vec![first, second], shape)?;
            let order: Vec<usize> = (0..outer.len())
                .filter_map(|o| sorted.iter().position(|&i| i == o))
                .collect();
            return Ok(self.permuted(&y, &order)?.reshaped(&call.shape));
        }
        self.few_products(products)?;
        let labels = || outer.iter().map(|(_, l)| l).chain(&inner);
        let walk = |side: fn(&Label) -> &Vec<(usize, i64)>, dims: &[usize]| {
            labels()
                .fold(Builder::new(dims), |view, l| view.walk(l.len, side(l)))
                .build()
        };
        let (left, right) = (walk(|l| &l.a, &a.dims()), walk(|l| &l.b, &b.dims()));
        let (first, left) = self.read(&a, &left, false)?;
        let (second, right) = self.read(&b, &right, false)?;
        let product = Op::Product {
            left,
            right,
            group: inputs,
        };
        self.emit_lazy(product, vec![first, second], call.shape.clone())
    }
}

/// An index of an Einsum.
struct Label {
    len: usize,
    /// Dimensions of the operands that it moves along, none where an operand is broadcast.
    a: Vec<(usize, i64)>,
    b: Vec<(usize, i64)>,
}

impl Label {
    fn new(a: (&Lazy, &[usize]), b: (&Lazy, &[usize])) -> Label {
        let len = |(x, dims): (&Lazy, &[usize])| {
            let lens = dims.iter().map(|&d| x.shape.get(d).copied().unwrap_or(1));
            lens.max().unwrap_or(1)
        };
        // A length of 1 broadcasts.
        let steps = |len: usize, dims: &[usize]| {
            let moves = if len > 1 { dims } else { &[] };
            moves.iter().map(|&d| (d, 1i64)).collect::<Vec<_>>()
        };
        let (la, lb) = (len(a), len(b));
        Label {
            len: la.max(lb),
            a: steps(la, a.1),
            b: steps(lb, b.1),
        }
    }
}
