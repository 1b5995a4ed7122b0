//! Products of two activations.

use tract_onnx::tract_core::ops::einsum::EinSum;
use zkinfer_circuits::program::View;

use super::ImportError;
use super::lower::Call;
use super::tensor::{Lazy, Lowering};
use super::view::Builder;
use crate::graph::{Op, ScalarOp};

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
            let len = |x: &Lazy, dims: &[usize]| {
                dims.iter()
                    .map(|&d| x.shape.get(d).copied().unwrap_or(1))
                    .max()
                    .unwrap_or(1)
            };
            let (la, lb) = (len(&a, in_a), len(&b, in_b));
            // A length of 1 broadcasts.
            let steps = |len: usize, dims: &[usize]| {
                let moves = if len > 1 { dims } else { &[] };
                moves.iter().map(|&d| (d, 1i64)).collect::<Vec<_>>()
            };
            let label = (la.max(lb), steps(la, in_a), steps(lb, in_b));
            match out.first() {
                Some(&at) => outer.push((at, label)),
                None => inner.push(label),
            }
        }
        outer.sort_by_key(|(at, _)| *at);
        let labels = outer.iter().map(|(_, l)| l).chain(&inner);
        let (mut left, mut right) = (Builder::new(&a.dims()), Builder::new(&b.dims()));
        let mut products = 1usize;
        for (len, in_a, in_b) in labels {
            left = left.walk(*len, in_a);
            right = right.walk(*len, in_b);
            products = products.saturating_mul(*len);
        }
        self.few_products(products)?;
        let group = inner.iter().map(|l| l.0).product();
        let (first, left) = self.read(&a, &left.build(), false)?;
        let (second, right) = self.read(&b, &right.build(), false)?;
        let product = Op::Product { left, right, group };
        self.emit_lazy(product, vec![first, second], call.shape.clone())
    }
}
