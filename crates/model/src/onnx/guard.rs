//! Operators of tract trust the file: some index a shape, or count up to an axis, without looking at the number of dimensions; a
//! length that is not known (it depends on data, or operands contradict each other) is a formula, whose simplification takes
//! time that grows exponentially with its size; and all compute what follows from constants at once, however large it is.
//! Each is wrapped so that what is known of its operands is looked at first, and what is known of its results before they are
//! computed; a lie is an error, instead of memory that is not the shape's or of 2⁶⁴ steps, and so is a result that no memory
//! would hold.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::{Factoid, InferenceFact, InferenceModel, InferenceNode};
use tract_onnx::tract_hir::internal::*;

use super::operators::{self, Needs};
use super::quiet::quietly;
use super::rewrite::functions::RESIZE_10;
use super::sample;

/// Runs tract code, which may panic on malformed models.
pub(super) fn guarded<T>(f: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match quietly(f) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or(panic.downcast_ref::<&str>().copied());
            Err(format!(
                "internal error of the ONNX reader: {}",
                text.unwrap_or("unknown")
            ))
        }
    }
}

static TRACT: LazyLock<Onnx> = LazyLock::new(tract_onnx::onnx);

/// What the operator relies on.
#[derive(Clone, Copy, Debug)]
enum Fits {
    /// The operand has this many dimensions or more.
    Dimensions(i64),
    /// The operand has this axis; counted from the end if negative.
    Axis(i64),
    /// The result, which has one dimension more, has this axis.
    NewAxis(i64),
    /// The second operand has a dimension.
    Indices,
    /// The permutation is one.
    Permutation(bool),
    /// Operands from this one on are sizes: tract counts in 32 bits here and in 64 there.
    Sizes(usize),
    /// Any operand.
    Anything,
}

/// Most terms of the formula for a length: `2x + 1` has four. tract tries all ways to write the divisions of sums when it simplifies,
/// and compares each with all; one convolution of eight terms already takes minutes.
const MOST_TERMS: usize = 4;

impl Fits {
    fn of(node: &NodeProto) -> Fits {
        let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name);
        let axis = || attribute("axis").map_or(-1, |a| a.i);
        let Some(operator) = operators::of(node) else {
            return Fits::Anything;
        };
        match (operator.needs, operator.sized_by) {
            (Needs::Axis, _) => Fits::Axis(axis()),
            (Needs::NewAxis, _) => Fits::NewAxis(axis()),
            (Needs::Indices, _) => Fits::Indices,
            (Needs::Permutation, _) => {
                let mut perm = attribute("perm").map_or(Vec::new(), |a| a.ints.clone());
                perm.sort_unstable();
                Fits::Permutation(perm.iter().zip(0..).all(|(a, b)| *a == b))
            }
            (Needs::Dimensions(least), _) => Fits::Dimensions(least),
            (Needs::Nothing, Some(first)) => Fits::Sizes(first),
            (Needs::Nothing, None) => Fits::Anything,
        }
    }

    fn check(self, inputs: &[&InferenceFact], outputs: &[&InferenceFact]) -> TractResult<()> {
        let rank = |facts: &[&InferenceFact], i: usize| facts.get(i)?.shape.rank().concretize();
        let first = [rank(inputs, 0), rank(outputs, 0)];
        let has = |axis: i64, rank: i64| (-rank..rank).contains(&axis);
        let fits = match self {
            Fits::Dimensions(least) => first.into_iter().flatten().all(|r| r >= least),
            Fits::Axis(axis) => first.into_iter().flatten().all(|r| has(axis, r)),
            Fits::NewAxis(axis) => {
                let result = [rank(inputs, 0).map(|r| r + 1), rank(outputs, 0)];
                result.into_iter().flatten().all(|r| has(axis, r))
            }
            Fits::Indices => rank(inputs, 1).is_none_or(|r| r > 0),
            Fits::Permutation(is_one) => is_one,
            Fits::Sizes(first) => {
                let sizes = inputs.iter().skip(first).filter_map(|f| numbers(f));
                sizes.flatten().all(|v| v.abs() < f64::from(i32::MAX))
            }
            Fits::Anything => true,
        };
        if matches!(self, Fits::Sizes(_)) {
            ensure!(fits, "a size of 2^31 elements or more");
        }
        ensure!(
            fits,
            "the operands do not have the dimensions that the operator needs"
        );
        let mut lengths = inputs
            .iter()
            .chain(outputs)
            .flat_map(|fact| fact.shape.dims());
        ensure!(
            lengths.all(|d| d
                .concretize()
                .is_none_or(|d| terms(&d, MOST_TERMS).is_some())),
            "the length of an axis is not known: it depends on data, or the shapes of operands contradict each other"
        );
        Ok(())
    }
}

/// How many of `left` terms remain once those of a length are counted; none if there are more.
fn terms(length: &TDim, left: usize) -> Option<usize> {
    let left = left.checked_sub(1)?;
    match length {
        TDim::Val(_) | TDim::Sym(_) => Some(left),
        TDim::Add(parts)
        | TDim::Mul(parts)
        | TDim::Broadcast(parts)
        | TDim::Min(parts)
        | TDim::Max(parts) => parts.iter().try_fold(left, |left, part| terms(part, left)),
        TDim::MulInt(_, part) | TDim::Div(part, _) => terms(part, left),
        TDim::Ge(a, b) | TDim::Eq(a, b) => terms(b, terms(a, left)?),
    }
}

/// The elements of a whole operand whose value is known.
fn numbers(fact: &InferenceFact) -> Option<Vec<f64>> {
    let value = fact.value.concretize()?;
    if value.datum_type().is_float() || value.len() > 64 {
        return None;
    }
    let whole = value.cast_to::<i64>().ok()?;
    let whole = whole.try_as_plain_ram().ok()?;
    let whole = whole.as_slice::<i64>().ok()?;
    Some(whole.iter().map(|&v| v as f64).collect())
}

/// What is computed of constants.
#[derive(Clone, Debug)]
struct Bound {
    /// Most elements of a result.
    most: usize,
    /// How many elements of results may still be computed while types are inferred.
    left: Arc<AtomicUsize>,
}

impl Bound {
    fn new(most: usize) -> Bound {
        Bound {
            most,
            left: Arc::new(AtomicUsize::new(folded(most))),
        }
    }

    fn check(&self, elements: usize, constant: bool) -> TractResult<()> {
        let Bound { most, left } = self;
        ensure!(
            elements <= *most,
            "a result of {elements} elements; the limit is {most}"
        );
        let spend = |left: usize| left.checked_sub(elements);
        ensure!(
            !constant || left.fetch_update(Relaxed, Relaxed, spend).is_ok(),
            "too many elements that follow from constants; compute them before"
        );
        Ok(())
    }
}

/// How many elements may follow from constants, where a tensor may have `most`.
pub(super) fn folded(most: usize) -> usize {
    most.saturating_mul(16).max(1 << 28)
}

#[derive(Clone, Debug)]
struct Guard {
    op: Box<dyn InferenceOp>,
    fits: Fits,
    bound: Bound,
    /// `ε`, of a `BatchNormalization`.
    batch_norm: Option<f32>,
}

impl PartialEq for Guard {
    fn eq(&self, _: &Guard) -> bool {
        false
    }
}

impl Eq for Guard {}

impl Op for Guard {
    fn name(&self) -> StaticName {
        self.op.name()
    }

    not_a_typed_op!();
}

impl EvalOp for Guard {
    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.op.eval(context, inputs)
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.op.eval_out_of_plan(inputs)
    }

    fn state(&self, context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        self.op.state(context)
    }
}

impl InferenceOp for Guard {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(
        TVec<InferenceFact>,
        TVec<InferenceFact>,
        TVec<InferenceFact>,
    )> {
        self.fits.check(&inputs, &outputs)?;
        let constant = inputs.iter().all(|f| f.value.is_concrete());
        // tract's count goes by the size of a step, whichever its sign.
        if let ("Range", true) = (&*self.op.name(), constant)
            && let [Some(first), Some(end), Some(step)] =
                &inputs.iter().map(|f| numbers(f)).collect::<Vec<_>>()[..]
            && let ([first], [end], [step]) = (&first[..], &end[..], &step[..])
        {
            let count = ((end - first) / step).abs().ceil();
            self.bound.check(count as usize, true)?;
        }
        let facts = self.op.infer_facts(inputs, outputs, observed)?;
        for shape in facts.1.iter().filter_map(|f| f.shape.concretize()) {
            let lengths = shape.iter().map(|d| d.to_usize().unwrap_or(1));
            self.bound
                .check(lengths.fold(1, usize::saturating_mul), constant)?;
        }
        Ok(facts)
    }

    fn observe_outlets(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Vec<OutletId>> {
        self.op.observe_outlets(model, node)
    }

    fn incorporate(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Option<InferenceModelPatch>> {
        self.op.incorporate(model, node)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.op.nboutputs()
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let inputs: Vec<OutletId> = node.inputs.iter().map(|i| mapping[i]).collect();
        if let (Some(epsilon), [x, parameters @ ..]) = (self.batch_norm, inputs.as_slice()) {
            let stored = |i: &OutletId| Ok(target.outlet_fact(*i)?.konst.is_some());
            let stored: Vec<bool> = parameters.iter().map(stored).collect::<TractResult<_>>()?;
            if parameters.len() == 4 && !stored.iter().all(|s| *s) {
                return batch_norm(&node.name, target, *x, parameters, epsilon);
            }
        }
        self.op.to_typed(source, node, target, mapping)
    }

    as_op!();
}

/// `(x − mean) / √(variance + ε) · scale + bias` over axis 1, of parameters that are computed, which tract refuses: the way
/// that normalization over features leaves TensorFlow.
fn batch_norm(
    name: &str,
    target: &mut TypedModel,
    x: OutletId,
    parameters: &[OutletId],
    epsilon: f32,
) -> TractResult<TVec<OutletId>> {
    use tract_onnx::tract_core::ops::math;
    let rank = target.outlet_fact(x)?.rank();
    let mut columns = TVec::new();
    for (i, &parameter) in parameters.iter().enumerate() {
        let mut wire = parameter;
        ensure!(
            target.outlet_fact(wire)?.rank() == 1,
            "parameters are lists"
        );
        for axis in std::iter::once(0).chain(2..rank) {
            let name = format!("{name}.{i}.axis{axis}");
            wire = target.wire_node(name, AxisOp::Add(axis), &[wire])?[0];
        }
        columns.push(wire);
    }
    let [scale, bias, mean, variance] = columns[..] else {
        bail!("four parameters");
    };
    let mut epsilon = tensor0(epsilon);
    for _ in 0..rank {
        epsilon.insert_axis(0)?;
    }
    let epsilon = target.add_const(format!("{name}.epsilon"), epsilon)?;
    let mut wire = |part: &str, op: Box<dyn TypedOp>, of: &[OutletId]| {
        TractResult::Ok(target.wire_node(format!("{name}{part}"), op, of)?[0])
    };
    let distance = wire(".distance", Box::new(math::sub()), &[x, mean])?;
    let moved = wire(".moved", Box::new(math::add()), &[variance, epsilon])?;
    let deviation = wire(".deviation", Box::new(math::sqrt()), &[moved])?;
    let normal = wire(".normal", Box::new(math::div()), &[distance, deviation])?;
    let scaled = wire(".scaled", Box::new(math::mul()), &[normal, scale])?;
    Ok(tvec![wire("", Box::new(math::add()), &[scaled, bias])?])
}

/// In bodies of loops, whose results are computed when steps are.
static BODIES: LazyLock<Bound> = LazyLock::new(|| Bound {
    most: 1 << 26,
    left: Arc::new(AtomicUsize::new(usize::MAX)),
});

/// tract with its guards.
pub(super) fn onnx() -> Onnx {
    let mut onnx = TRACT.clone();
    for (op, builder) in &mut onnx.op_register.0 {
        // tract looks for these by their type, and they compute nothing at once.
        if operators::find("", op).is_some_and(|o| o.bare) {
            continue;
        }
        *builder = guard;
    }
    onnx.op_register.insert(RESIZE_10, guard);
    onnx
}

/// A node's operator, and its guard.
fn guard(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let (op, closures) = built(context, node)?;
    let epsilon = node.attribute.iter().find(|a| a.name == "epsilon");
    let guard = Guard {
        op,
        fits: Fits::of(node),
        bound: BODIES.clone(),
        batch_norm: (node.op_type == "BatchNormalization").then_some(epsilon.map_or(1e-5, |a| a.f)),
    };
    Ok((Box::new(guard), closures))
}

/// A node's operator, of tract or written here.
fn built(
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    if sample::is_border_cubic(node) {
        return Ok((sample::border_cubic(node), Vec::new()));
    }
    let register = &TRACT.op_register.0;
    if node.op_type == RESIZE_10 {
        let resize = register.get("Resize").context("no operator Resize")?;
        let context = ParsingContext {
            onnx_operator_set_version: 10,
            framework: context.framework,
            model: context.model,
            parent_graphs: context.parent_graphs.clone(),
            model_dir: context.model_dir,
            template: context.template.clone(),
        };
        return resize(&context, node);
    }
    let build = register.get(&node.op_type);
    let build = build.with_context(|| format!("no operator {}", node.op_type))?;
    build(context, node)
}

/// Bounds the results of a model's nodes.
pub(super) fn bound(model: &mut InferenceModel, most: usize) {
    let bound = Bound::new(most);
    for node in &mut model.nodes {
        if let Some(guard) = node.op.as_op_mut().downcast_mut::<Guard>() {
            guard.bound = bound.clone();
        }
    }
}
