//! Tensors while they are lowered, and the graph under construction.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::Tensor;
use zkinfer_circuits::program::View;

use super::file::origin::Origin;
use super::tie::Ties;
use super::{ImportError, ImportOptions};
use crate::graph::view::{self, Builder};
use crate::graph::{Activation, BinaryOp, Graph, GraphNode, NodeId, Op, ScalarFn, ScalarOp, Shape};

/// Most loops or axes a view may have.
const MAX_LOOPS: usize = 16;
/// Largest expression that is still made larger.
pub(super) const MAX_EXPRESSION: usize = 200;

/// What a tract outlet carries.
#[derive(Clone)]
pub(super) enum Value {
    Constant(Arc<Tensor>),
    Tensor(Lazy),
    /// A result that could not be lowered. It matters only if an output needs it.
    Failed(Arc<ImportError>),
}

/// `f`, element by element, of a node seen through a view (`None`: as it is).
#[derive(Clone, Debug)]
pub(super) struct Lazy {
    pub(super) node: NodeId,
    pub(super) view: Option<View>,
    pub(super) f: ScalarFn,
    pub(super) shape: Vec<usize>,
}

impl Lazy {
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape with at least one dimension.
    pub(super) fn dims(&self) -> Vec<usize> {
        if self.shape.is_empty() {
            vec![1]
        } else {
            self.shape.clone()
        }
    }

    /// The same elements in the same order under another shape.
    pub(super) fn reshaped(mut self, shape: &[usize]) -> Lazy {
        self.shape = shape.to_vec();
        self
    }

    pub(super) fn with(mut self, f: ScalarFn) -> Lazy {
        self.f = f;
        self
    }

    pub(super) fn same_source(&self, other: &Lazy) -> bool {
        self.node == other.node && self.view == other.view
    }
}

/// A view or an expression that a node was already materialised with.
#[derive(PartialEq)]
enum Derived {
    View(View),
    Function(ScalarFn),
}

/// The graph under construction.
pub(super) struct Lowering<'a> {
    pub(super) graph: Graph,
    pub(super) options: &'a ImportOptions,
    /// The ONNX node that is being lowered.
    pub(super) origin: Origin,
    derived: HashMap<NodeId, Vec<(Derived, NodeId)>>,
    /// Per node: whether all its values are whole numbers, whatever the input.
    pub(super) whole: Vec<bool>,
    /// Per node: whether all its values are zero or one.
    pub(super) truths: Vec<bool>,
    pub(super) ties: Ties,
    /// Nodes that loops were unrolled to.
    pub(super) unrolled: usize,
    /// How many elements may still be computed from constants.
    pub(super) folding: usize,
}

/// Whether a function of truths (or of anything) is zero or one.
fn truth_function(f: &ScalarFn, x: bool) -> bool {
    match f {
        ScalarFn::X => x,
        ScalarFn::Const(c) => *c == 0.0 || *c == 1.0,
        ScalarFn::Select(_, f, g) => truth_function(f, x) && truth_function(g, x),
        // 1 − f, as negations are written.
        ScalarFn::Combine(BinaryOp::Add, f, one) if **one == ScalarFn::Const(1.0) => {
            matches!(&**f, ScalarFn::Combine(BinaryOp::Mul, f, minus)
                if **minus == ScalarFn::Const(-1.0) && truth_function(f, x))
        }
        ScalarFn::Combine(BinaryOp::Mul, f, g) => truth_function(f, x) && truth_function(g, x),
        _ => false,
    }
}

/// Whether an operation on truths (or on anything) yields truths.
fn truth_result(op: &Op, inputs: bool) -> bool {
    match op {
        Op::TopK { .. } => true,
        Op::View(_) | Op::Concat | Op::Max { .. } | Op::Gate => inputs,
        Op::Constant(v) => v.iter().all(|v| *v == 0.0 || *v == 1.0),
        Op::Gather(g) => g.weights.iter().all(|v| *v == 0.0 || *v == 1.0),
        Op::Affine { scale, shift } => inputs && scale == &[-1.0] && shift == &[1.0],
        Op::Activation(Activation::Scalar(f)) => truth_function(f, inputs),
        _ => false,
    }
}

/// Whether a function of whole (or any) numbers is a whole number.
fn whole_function(f: &ScalarFn, x: bool) -> bool {
    match f {
        ScalarFn::X => x,
        ScalarFn::Const(c) => c.fract() == 0.0,
        ScalarFn::Apply(op, f) => match op {
            ScalarOp::Floor | ScalarOp::Ceil | ScalarOp::Round | ScalarOp::Sign => true,
            ScalarOp::Neg | ScalarOp::Abs | ScalarOp::Relu | ScalarOp::Square => {
                whole_function(f, x)
            }
            _ => false,
        },
        ScalarFn::Combine(op, f, g) => {
            !matches!(op, BinaryOp::Div | BinaryOp::Pow)
                && whole_function(f, x)
                && whole_function(g, x)
        }
        ScalarFn::Select(_, f, g) => whole_function(f, x) && whole_function(g, x),
    }
}

/// Whether an operation on whole (or any) numbers yields whole numbers.
fn whole_result(op: &Op, inputs: bool) -> bool {
    let ints = |v: &[f32]| v.iter().all(|x| x.fract() == 0.0);
    match op {
        Op::Input | Op::Softmax { .. } => false,
        Op::Constant(v) => ints(v),
        Op::ArgMax { .. } | Op::TopK { .. } => true,
        Op::View(_) | Op::Concat | Op::Add | Op::Max { .. } | Op::Sum { .. } => inputs,
        Op::Product { .. } | Op::MatMul(_) | Op::Gate => inputs,
        Op::Linear(l) => inputs && ints(&l.weights) && ints(&l.bias),
        Op::Gather(g) => ints(&g.weights),
        Op::Affine { scale, shift } => inputs && ints(scale) && ints(shift),
        Op::Activation(Activation::Relu) => inputs,
        Op::Activation(Activation::LeakyRelu(v)) => inputs && ints(v),
        Op::Activation(Activation::Clip { low, high }) => {
            let bound = |v: &f32| v.is_infinite() || v.fract() == 0.0;
            inputs && bound(low) && bound(high)
        }
        Op::Activation(Activation::Scalar(f)) => whole_function(f, inputs),
    }
}

impl<'a> Lowering<'a> {
    pub(super) fn new(options: &'a ImportOptions) -> Lowering<'a> {
        let graph = Graph::default();
        let origin = Origin {
            node: String::new(),
            op: String::new(),
            opset: 0,
        };
        Lowering {
            graph,
            options,
            origin,
            derived: HashMap::new(),
            whole: Vec::new(),
            truths: Vec::new(),
            ties: Ties::default(),
            unrolled: 0,
            folding: super::guard::folded(options.max_elements),
        }
    }

    /// Whether all values of a tensor are whole numbers.
    pub(super) fn is_whole(&self, x: &Lazy) -> bool {
        whole_function(&x.f, self.whole.get(x.node) == Some(&true))
    }

    /// Whether all values of a tensor are zero or one.
    pub(super) fn is_truth(&self, x: &Lazy) -> bool {
        truth_function(&x.f, self.truths.get(x.node) == Some(&true))
    }

    /// Takes a node for one whose values may be any numbers.
    pub(super) fn anything(&mut self, node: NodeId) {
        (self.truths[node], self.whole[node]) = (false, false);
    }

    pub(super) fn unsupported(&self, reason: impl Into<String>) -> ImportError {
        self.origin.unsupported(reason)
    }

    /// Refuses what is larger than the options allow.
    pub(super) fn bound(&self, what: &'static str, factors: &[usize]) -> Result<(), ImportError> {
        let found = factors
            .iter()
            .fold(1u64, |p, &f| p.saturating_mul(f as u64));
        let limit = self.options.max_elements as u64;
        if found > limit {
            return Err(ImportError::Limit {
                name: self.origin.node.clone(),
                what,
                found,
                limit,
            });
        }
        if found == 0 {
            Err(self.unsupported("a tensor without elements"))
        } else {
            Ok(())
        }
    }

    /// Appends a node.
    pub(super) fn emit(
        &mut self,
        op: Op,
        inputs: Vec<NodeId>,
        shape: Vec<usize>,
    ) -> Result<NodeId, ImportError> {
        self.bound("the number of elements", &shape)?;
        let inputs_whole = inputs.iter().all(|&i| self.whole.get(i) == Some(&true));
        self.whole.push(whole_result(&op, inputs_whole));
        let inputs_truths = inputs.iter().all(|&i| self.truths.get(i) == Some(&true));
        self.truths.push(truth_result(&op, inputs_truths));
        let tied: Vec<_> = inputs
            .iter()
            .map(|&i| self.graph.nodes.get(i).and_then(|n| n.tie))
            .collect();
        let tie = self.ties.next(&op, &shape, &tied);
        self.graph.nodes.push(GraphNode {
            name: self.origin.node.clone(),
            op,
            inputs,
            shape,
            tie,
        });
        Ok(self.graph.nodes.len() - 1)
    }

    /// Appends a node and takes its result as it is.
    pub(super) fn emit_lazy(
        &mut self,
        op: Op,
        inputs: Vec<NodeId>,
        shape: Vec<usize>,
    ) -> Result<Lazy, ImportError> {
        let node = self.emit(op, inputs, shape.clone())?;
        Ok(Lazy {
            node,
            view: None,
            f: ScalarFn::X,
            shape,
        })
    }

    fn known(&self, node: NodeId, key: &Derived) -> Option<NodeId> {
        self.derived
            .get(&node)?
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, n)| *n)
    }

    /// A node for `f(node)`.
    fn function(&mut self, node: NodeId, f: &ScalarFn) -> Result<NodeId, ImportError> {
        if *f == ScalarFn::X {
            return Ok(node);
        }
        let key = Derived::Function(f.clone());
        if let Some(known) = self.known(node, &key) {
            return Ok(known);
        }
        let shape = self.graph.nodes[node].shape.clone();
        let affine = |(scale, shift): (f64, f64)| Op::Affine {
            scale: vec![scale as f32],
            shift: vec![shift as f32],
        };
        let mut steps = Vec::new();
        match f.shape() {
            Shape::Affine(scale, shift) => steps.push(affine((scale, shift))),
            Shape::Piecewise {
                inner,
                activation,
                outer,
            } => {
                steps.extend((inner != (1.0, 0.0)).then(|| affine(inner)));
                steps.push(Op::Activation(activation.activation()));
                steps.extend((outer != (1.0, 0.0)).then(|| affine(outer)));
            }
            Shape::Table => steps.push(Op::Activation(Activation::Scalar(f.clone()))),
        }
        let mut at = node;
        for op in steps {
            at = self.emit(op, vec![at], shape.clone())?;
        }
        self.derived.entry(node).or_default().push((key, at));
        Ok(at)
    }

    /// A node for a view of a node.
    fn view_node(
        &mut self,
        node: NodeId,
        view: &View,
        shape: &[usize],
    ) -> Result<NodeId, ImportError> {
        let key = Derived::View(view.clone());
        if let Some(known) = self.known(node, &key) {
            return Ok(known);
        }
        let tidy = view::tidy(view.clone());
        if tidy.loops.len() > MAX_LOOPS || tidy.axes.len() > MAX_LOOPS {
            return Err(self.unsupported("an index map with more than 16 axes"));
        }
        let at = self.emit(Op::View(tidy), vec![node], shape.to_vec())?;
        self.derived.entry(node).or_default().push((key, at));
        Ok(at)
    }

    /// Whether a view is a permutation of the node's elements.
    pub(super) fn permutes(&self, node: NodeId, view: &View) -> bool {
        let len = self.graph.nodes[node].len();
        if !view::in_range(view)
            || view.loops.iter().map(|&l| u64::from(l)).product::<u64>() != len as u64
        {
            return false;
        }
        let Ok(indices) = view.indices(len) else {
            return false;
        };
        let mut seen = vec![false; len];
        indices.iter().flatten().for_each(|&i| seen[i] = true);
        seen.iter().all(|&s| s)
    }

    /// Whether a view reads a node without padding and at least as often as it has elements (broadcasting).
    fn repeats(&self, node: NodeId, view: &View) -> bool {
        let read = view.loops.iter().map(|&l| l as usize).product::<usize>();
        view::in_range(view) && read >= self.graph.nodes[node].len()
    }

    /// The same tensor without a pending expression. The expression moves below the view where nothing is lost.
    pub(super) fn resolve(&mut self, x: &Lazy) -> Result<Lazy, ImportError> {
        if x.f == ScalarFn::X {
            return Ok(x.clone());
        }
        let (node, view) = match &x.view {
            Some(view) if !self.permutes(x.node, view) && !self.repeats(x.node, view) => {
                (self.view_node(x.node, view, &x.shape)?, None)
            }
            view => (x.node, view.clone()),
        };
        let node = self.function(node, &x.f)?;
        Ok(Lazy {
            node,
            view,
            f: ScalarFn::X,
            shape: x.shape.clone(),
        })
    }

    /// A node with exactly this tensor's elements in row-major order.
    pub(super) fn plain(&mut self, x: &Lazy) -> Result<NodeId, ImportError> {
        let x = self.resolve(x)?;
        match &x.view {
            None => Ok(x.node),
            Some(view) => self.view_node(x.node, view, &x.shape),
        }
    }

    /// A tensor read through a view whose axes are its dimensions: the node and the view to read it with.
    /// With `opaque_padding`, zeros that a pending view pads with stay elements of the tensor.
    pub(super) fn read(
        &mut self,
        x: &Lazy,
        view: &View,
        opaque_padding: bool,
    ) -> Result<(NodeId, View), ImportError> {
        let small = |view: &View| view.loops.len() <= MAX_LOOPS && view.axes.len() <= MAX_LOOPS;
        if !small(view) {
            return Err(self.unsupported("an index map with more than 16 axes"));
        }
        let x = self.resolve(x)?;
        let Some(pending) = &x.view else {
            return Ok((x.node, view.clone()));
        };
        if (!opaque_padding || view::in_range(pending))
            && let Some(both) = view::compose(pending, &x.dims(), view).filter(small)
        {
            return Ok((x.node, both));
        }
        Ok((self.plain(&x)?, view.clone()))
    }

    /// An index map, pending.
    pub(super) fn map(
        &mut self,
        x: &Lazy,
        view: &View,
        shape: &[usize],
    ) -> Result<Lazy, ImportError> {
        self.bound("the number of elements", shape)?;
        if view::is_identity(view, x.len()) {
            return Ok(x.clone().reshaped(shape));
        }
        let (node, view) = self.read(x, view, false)?;
        let identity = view::is_identity(&view, self.graph.nodes[node].len());
        Ok(Lazy {
            node,
            view: (!identity).then_some(view),
            f: ScalarFn::X,
            shape: shape.to_vec(),
        })
    }

    /// The tensor with its dimensions in another order: dimension `i` of the result is dimension `order[i]`.
    pub(super) fn permuted(&mut self, x: &Lazy, order: &[usize]) -> Result<Lazy, ImportError> {
        let dims = x.dims();
        let mut view = Builder::new(&dims);
        for &o in order {
            view = view.walk(dims[o], &[(o, 1)]);
        }
        let shape: Vec<usize> = order.iter().map(|&o| dims[o]).collect();
        self.map(x, &view.build(), &shape)
    }

    /// The tensor repeated along its dimensions of length 1 (ranks are equal).
    pub(super) fn broadcast(&mut self, x: &Lazy, shape: &[usize]) -> Result<Lazy, ImportError> {
        if x.shape == shape {
            return Ok(x.clone());
        }
        let dims = x.dims();
        if dims.len() != shape.len() {
            return Err(self.unsupported("broadcast to another rank"));
        }
        let mut view = Builder::new(&dims);
        for (d, &len) in shape.iter().enumerate() {
            view = view.walk(len, &[(d, i64::from(dims[d] != 1))]);
        }
        self.map(x, &view.build(), shape)
    }

    /// A constant's elements as floats; all of them are finite.
    pub(super) fn floats(&self, tensor: &Tensor) -> Result<Vec<f32>, ImportError> {
        let values = self.any_floats(tensor)?;
        match values.iter().find(|v| !v.is_finite()) {
            Some(v) => Err(self.unsupported(format!("a constant holds {v}"))),
            None => Ok(values),
        }
    }

    /// A constant's elements as floats, infinities and all.
    pub(super) fn any_floats(&self, tensor: &Tensor) -> Result<Vec<f32>, ImportError> {
        self.bound("the number of elements", tensor.shape())?;
        let cast = super::guard::guarded(|| {
            Ok(tensor
                .cast_to::<f32>()?
                .try_as_plain_ram()?
                .as_slice::<f32>()?
                .to_vec())
        });
        cast.map_err(|reason| self.unsupported(format!("a constant that is not numeric: {reason}")))
    }

    /// The value as a tensor of the graph.
    pub(super) fn tensor(&mut self, value: &Value) -> Result<Lazy, ImportError> {
        match value {
            Value::Tensor(x) => Ok(x.clone()),
            Value::Constant(t) => {
                let values = self.floats(t)?;
                self.emit_lazy(Op::Constant(values), Vec::new(), t.shape().to_vec())
            }
            Value::Failed(error) => Err((**error).clone()),
        }
    }
}
