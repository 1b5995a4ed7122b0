//! From tract's typed model to a [`Graph`].

use std::collections::HashMap;

use tract_onnx::prelude::tract_itertools::Itertools;
use tract_onnx::prelude::{DatumType, OutletId, TypedModel};
use tract_onnx::tract_core::internal::{AxisOp, IntoArcTensor, IntoTValue, TypedNode};
use tract_onnx::tract_core::ops::array::{
    Gather, MultiBroadcastTo, Pad, Slice, StridedSlice, Tile, TypedConcat,
};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, MaxPool, SumPool};
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::nn::{Reduce, Softmax};
use tract_onnx::tract_core::ops::source::TypedSource;

use super::proto::{Model, Origin, guarded};
use super::tensor::{Lazy, Lowering, Value};
use super::{ImportError, ImportOptions};
use crate::graph::{Graph, Op, ScalarFn};

/// A tract node with its operands.
pub(super) struct Call<'n> {
    pub(super) node: &'n TypedNode,
    pub(super) inputs: Vec<Value>,
    pub(super) types: Vec<DatumType>,
    /// Shape of the first result.
    pub(super) shape: Vec<usize>,
}

impl Call<'_> {
    /// The operand, if it is not a constant.
    pub(super) fn tensor(&self, at: usize) -> Option<&Lazy> {
        match self.inputs.get(at) {
            Some(Value::Tensor(x)) => Some(x),
            _ => None,
        }
    }

    pub(super) fn constant(&self, at: usize) -> Option<&tract_onnx::prelude::Tensor> {
        match self.inputs.get(at) {
            Some(Value::Constant(t)) => Some(t),
            _ => None,
        }
    }
}

fn is_real(datum_type: DatumType) -> bool {
    matches!(datum_type, DatumType::F16 | DatumType::F32 | DatumType::F64)
}

/// Lowers a typed model.
pub(super) fn lower(
    model: &Model,
    typed: &TypedModel,
    options: &ImportOptions,
) -> Result<Graph, ImportError> {
    let inference = |reason| ImportError::Inference { reason };
    let mut lowering = Lowering::new(options);
    let mut values: HashMap<OutletId, Value> = HashMap::new();
    for &input in &typed.inputs {
        let node = typed
            .nodes
            .get(input.node)
            .ok_or_else(|| inference("an input does not exist".into()))?;
        lowering.origin = Origin {
            node: node.name.clone(),
            op: "input".into(),
            opset: 0,
        };
        let shape = concrete(&lowering, typed, input)?;
        let x = lowering.emit_lazy(Op::Input, Vec::new(), shape)?;
        lowering.graph.inputs.push(x.node);
        values.insert(input, Value::Tensor(x));
    }
    for id in guarded(|| typed.eval_order()).map_err(inference)? {
        let node = &typed.nodes[id];
        if node.op_is::<TypedSource>() {
            continue;
        }
        if let Some(constant) = node.op_as::<Const>() {
            values.insert(id.into(), Value::Constant(constant.val().clone()));
            continue;
        }
        let unknown = || Origin {
            node: node.name.clone(),
            op: node.op.name().to_string(),
            opset: 0,
        };
        lowering.origin = model.origin(&node.name).cloned().unwrap_or_else(unknown);
        let inputs = node
            .inputs
            .iter()
            .map(|i| values.get(i).cloned())
            .collect::<Option<Vec<_>>>();
        let inputs = inputs
            .ok_or_else(|| lowering.unsupported("uses a second result that is not supported"))?;
        let shape = concrete(&lowering, typed, id.into())?;
        lowering.bound("the number of elements", &shape)?;
        if let Some(constants) = constants(&inputs) {
            let results = guarded(|| node.op.eval_out_of_plan(constants))
                .map_err(|e| lowering.unsupported(e))?;
            let results =
                results.ok_or_else(|| lowering.unsupported("depends on run-time state"))?;
            for (slot, result) in results.into_iter().enumerate() {
                values.insert(
                    OutletId::new(id, slot),
                    Value::Constant(result.into_arc_tensor()),
                );
            }
            continue;
        }
        let types = node
            .inputs
            .iter()
            .map(|&i| typed.outlet_fact(i).map(|f| f.datum_type));
        let types = types
            .collect::<Result<_, _>>()
            .map_err(|e| inference(e.to_string()))?;
        let call = Call {
            node,
            inputs,
            types,
            shape,
        };
        let result = lowering.node(&call)?;
        if result.shape != call.shape {
            return Err(lowering.unsupported(format!(
                "lowered to shape {:?}, expected {:?}",
                result.shape, call.shape
            )));
        }
        values.insert(id.into(), Value::Tensor(result));
    }
    for output in &typed.outputs {
        let name = &typed.nodes[output.node].name;
        let unknown = || Origin {
            node: name.clone(),
            op: "output".into(),
            opset: 0,
        };
        lowering.origin = model.origin(name).cloned().unwrap_or_else(unknown);
        let value = values
            .get(output)
            .cloned()
            .ok_or_else(|| lowering.unsupported("the output is not supported"))?;
        let x = lowering.tensor(&value)?;
        let node = lowering.plain(&x)?;
        lowering.graph.outputs.push(node);
    }
    Ok(lowering.graph)
}

fn concrete(
    lowering: &Lowering,
    typed: &TypedModel,
    outlet: OutletId,
) -> Result<Vec<usize>, ImportError> {
    let fact = typed
        .outlet_fact(outlet)
        .map_err(|e| lowering.unsupported(e.to_string()))?;
    match fact.shape.as_concrete() {
        Some(shape) => Ok(shape.to_vec()),
        None => Err(lowering.unsupported(format!(
            "the shape {} is not fixed",
            fact.shape.iter().join(",")
        ))),
    }
}

fn constants(inputs: &[Value]) -> Option<tract_onnx::prelude::TVec<tract_onnx::prelude::TValue>> {
    let constant = |v: &Value| match v {
        Value::Constant(t) => Some(t.clone().into_tvalue()),
        Value::Tensor(_) => None,
    };
    inputs.iter().map(constant).collect()
}

impl Lowering<'_> {
    /// Lowers one node that has at least one operand which is not constant.
    fn node(&mut self, call: &Call) -> Result<Lazy, ImportError> {
        let node = call.node;
        if let Some(op) = node.op_as::<ElementWiseOp>() {
            self.reals(call)?;
            return self.unary(op, call);
        }
        if let Some(op) = node.op_as::<TypedBinOp>() {
            self.reals(call)?;
            return self.binary(op, call);
        }
        if node.op_is::<Iff>() {
            return self.select(call);
        }
        if let Some(op) = node.op_as::<Cast>() {
            return self.cast(op, call);
        }
        if node.op_is::<Identity>() {
            return self.first(call);
        }
        if node.op.name() == "Dropout" {
            return self.dropout(call);
        }
        if let Some(op) = node.op_as::<AxisOp>() {
            return self.axis_op(op, call);
        }
        if let Some(op) = node.op_as::<Slice>() {
            return self.slice(op, call);
        }
        if let Some(op) = node.op_as::<StridedSlice>() {
            return self.strided_slice(op, call);
        }
        if let Some(op) = node.op_as::<Downsample>() {
            return self.downsample(op, call);
        }
        if let Some(op) = node.op_as::<Pad>() {
            self.reals(call)?;
            return self.pad(op, call);
        }
        if let Some(op) = node.op_as::<TypedConcat>() {
            return self.concat(op, call);
        }
        if node.op_is::<MultiBroadcastTo>() {
            let x = self.first(call)?;
            let mut shape = x.shape.clone();
            shape.splice(
                0..0,
                std::iter::repeat_n(1, call.shape.len().saturating_sub(x.shape.len())),
            );
            return self.broadcast(&x.reshaped(&shape), &call.shape);
        }
        if node.op_is::<Tile>() {
            return self.tile(call);
        }
        if let Some(op) = node.op_as::<Gather>() {
            return self.gather(op, call);
        }
        // From here on the result depends on what a number is.
        if let Some(op) = node.op_as::<EinSum>() {
            self.reals(call)?;
            return self.einsum(op, call);
        }
        if let Some(op) = node.op_as::<Conv>() {
            self.reals(call)?;
            return self.conv(op, call);
        }
        if let Some(op) = node.op_as::<Deconv>() {
            self.reals(call)?;
            return self.deconv(op, call);
        }
        if let Some(op) = node.op_as::<MaxPool>() {
            self.reals(call)?;
            return self.max_pool(op, call);
        }
        if let Some(op) = node.op_as::<SumPool>() {
            self.reals(call)?;
            return self.sum_pool(op, call);
        }
        if let Some(op) = node.op_as::<Reduce>() {
            self.reals(call)?;
            return self.reduce(op, call);
        }
        if let Some(op) = node.op_as::<Softmax>() {
            self.reals(call)?;
            return self.softmax(op, call);
        }
        Err(self.unsupported(format!("needs {}, which is not supported", node.op.name())))
    }

    /// The first operand.
    pub(super) fn first(&mut self, call: &Call) -> Result<Lazy, ImportError> {
        match call.inputs.first() {
            Some(value) => self.tensor(value),
            None => Err(self.unsupported("has no operand")),
        }
    }

    /// Operands must be floats: integer arithmetic rounds and wraps.
    fn reals(&self, call: &Call) -> Result<(), ImportError> {
        match call.types.iter().find(|t| !is_real(**t)) {
            Some(t) => Err(self.unsupported(format!("operands of type {t:?} are not supported"))),
            None => Ok(()),
        }
    }

    /// At inference a dropout is the identity. Its last operand may switch training on.
    fn dropout(&mut self, call: &Call) -> Result<Lazy, ImportError> {
        for at in 1..call.inputs.len() {
            let is_mode = call.types.get(at) == Some(&DatumType::Bool);
            let off = call
                .constant(at)
                .is_some_and(|t| guarded(|| t.cast_to_scalar::<bool>()) == Ok(false));
            if is_mode && !off {
                return Err(self.unsupported("training mode is not supported"));
            }
        }
        self.first(call)
    }

    fn cast(&mut self, op: &Cast, call: &Call) -> Result<Lazy, ImportError> {
        let from = call.types.first().copied().unwrap_or(DatumType::F32);
        let x = self.first(call)?;
        let exact = is_real(op.to)
            || from == op.to
            || (from.is_integer() && op.to.is_integer() && op.to.size_of() >= from.size_of());
        if exact || (from == DatumType::Bool && op.to != DatumType::String) {
            return Ok(x);
        }
        if op.to == DatumType::Bool && is_real(from) {
            let f = x.f.clone();
            let one = || Box::new(ScalarFn::Const(1.0));
            let squared = ScalarFn::Apply(crate::graph::ScalarOp::Abs, Box::new(f));
            return Ok(x.with(ScalarFn::Select(
                Box::new(squared),
                one(),
                Box::new(ScalarFn::Const(0.0)),
            )));
        }
        Err(self.unsupported(format!(
            "a cast from {from:?} to {:?} is not supported",
            op.to
        )))
    }
}
