//! Products of two activations: element by element, or as matrices.

use tract_onnx::tract_core::ops::einsum::EinSum;
use zkinfer_circuits::program::{Axis, View};

use super::ImportError;
use super::lower::Call;
use super::tensor::{Lazy, Lowering};
use crate::graph::view::Builder;
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
    pub(super) fn few_products(&self, found: usize) -> Result<(), ImportError> {
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
        if let Some((product, loops, order)) = outer(&left, &right) {
            let y = self.emit_lazy(Op::MatMul(product), vec![first, second], loops)?;
            return Ok(self.permuted(&y, &order)?.reshaped(shape));
        }
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

/// Whether products are cheaper as a matrix product than by squares (tenths of microseconds; see `zkinfer::plan`): a neuron for
/// every element of the result, a coefficient for each of the operands', a folded activation and its public coefficient for
/// each of the inner index, against two neurons with a table for every product, or one and one for each of the operands'.
fn is_cheaper([groups, outputs, positions, inputs]: [usize; 4], operands: usize) -> bool {
    let times = |factors: &[usize]| factors.iter().fold(1usize, |n, &m| n.saturating_mul(m));
    let products = times(&[groups, outputs, positions, inputs]);
    let squares = products
        .saturating_mul(2)
        .min(products.saturating_add(operands));
    let matrix = times(&[21, groups, outputs, positions])
        .saturating_add(times(&[16, operands]))
        .saturating_add(times(&[66, groups, inputs]));
    matrix < squares.saturating_mul(32)
}

/// An element-wise product of which one operand or both are broadcast as matrix products with one product per element, if that
/// is cheaper: sizes of the result's dimensions, and the order in which they are those of the views' loops.
fn outer(left: &View, right: &View) -> Option<(MatMul, Vec<usize>, Vec<usize>)> {
    if left.loops != right.loops {
        return None;
    }
    let moves = |view: &View, l: usize| view.axes.iter().any(|a| a.strides[l] != 0);
    let kind = |l: usize| match (moves(left, l), moves(right, l)) {
        (true, false) => 1,
        (false, true) => 2,
        _ => 0,
    };
    let mut sorted: Vec<usize> = (0..left.loops.len()).collect();
    sorted.sort_by_key(|&l| kind(l));
    let size = |of: usize| {
        let loops = sorted.iter().filter(|&&l| kind(l) == of);
        loops.map(|&l| left.loops[l] as usize).product::<usize>()
    };
    let (groups, outputs, positions) = (size(0), size(1), size(2));
    let operands = groups * (outputs + positions);
    if outputs.max(positions) == 1 || !is_cheaper([groups, outputs, positions, 1], operands) {
        return None;
    }
    let part = |view: &View, kinds: [usize; 2]| {
        let kept: Vec<usize> = sorted
            .iter()
            .copied()
            .filter(|&l| kinds.contains(&kind(l)))
            .collect();
        // A view has at least one loop.
        let one = kept.is_empty();
        let axes = view.axes.iter().map(|a| Axis {
            strides: if one {
                vec![0]
            } else {
                kept.iter().map(|&l| a.strides[l]).collect()
            },
            ..a.clone()
        });
        View {
            axes: axes.collect(),
            loops: if one {
                vec![1]
            } else {
                kept.iter().map(|&l| view.loops[l]).collect()
            },
        }
    };
    let product = MatMul {
        groups,
        outputs,
        positions,
        inputs: 1,
        left: part(left, [0, 1]),
        right: part(right, [0, 2]),
    };
    let loops = sorted.iter().map(|&l| left.loops[l] as usize).collect();
    let order = (0..sorted.len())
        .filter_map(|l| sorted.iter().position(|&s| s == l))
        .collect();
    Some((product, loops, order))
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
