//! From tract's typed model to a [`Graph`].

use std::collections::HashMap;

use tract_onnx::prelude::tract_itertools::Itertools;
use tract_onnx::prelude::{DatumType, OutletId, TypedModel};
use tract_onnx::tract_core::internal::{IntoArcTensor, IntoTValue, TypedNode};
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::source::TypedSource;

use super::file::model::Model;
use super::file::origin::Origin;
use super::guard::guarded;
use super::tensor::{Lazy, Lowering, Value};
use super::{ImportError, ImportOptions};
use crate::graph::{BinaryOp, Graph, Op, OutputTensor, ScalarFn, ScalarOp};

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
        let datum_type = typed.outlet_fact(input).map(|f| f.datum_type);
        lowering.truths[x.node] = datum_type.as_ref().is_ok_and(|t| *t == DatumType::Bool);
        lowering.whole[x.node] = datum_type.is_ok_and(|t| !is_real(t));
        lowering.graph.inputs.push(x.node);
        values.insert(input, Value::Tensor(x));
    }
    lowering.run(Some(model), typed, &mut values)?;
    lowering.outputs(model, typed, &values)?;
    Ok(lowering.graph)
}

impl Lowering<'_> {
    /// Makes outputs of what the model calls its outputs: of all of them, or of none.
    fn outputs(
        &mut self,
        model: &Model,
        typed: &TypedModel,
        values: &HashMap<OutletId, Value>,
    ) -> Result<(), ImportError> {
        let mut failed = Vec::new();
        for (at, output) in typed.outputs.iter().enumerate() {
            let node = &typed.nodes[output.node].name;
            let name = model.output(at).unwrap_or(node).to_owned();
            let unknown = || Origin {
                node: node.clone(),
                op: "output".into(),
                opset: 0,
            };
            self.origin = model.origin(node).cloned().unwrap_or_else(unknown);
            let value = values.get(output).cloned();
            let x = match value {
                Some(value) => self.tensor(&value),
                None => Err(self.unsupported("this result of it is not supported")),
            };
            let x = match x {
                Ok(x) => x,
                Err(error @ ImportError::Unsupported { .. }) => {
                    failed.push((name, error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let node = self.plain(&x)?;
            self.graph.outputs.push(node);
            let fact = typed.outlet_fact(*output);
            self.graph.output_tensors.push(OutputTensor {
                integers: fact.is_ok_and(|f| !is_real(f.datum_type)),
                labels: model.texts.labels(&name),
                position: model.choice.positions.get(at).copied().unwrap_or(at),
                shape: x.shape,
                name,
            });
        }
        if failed.is_empty() {
            return Ok(());
        }
        let others = self.graph.output_tensors.iter().map(|t| t.name.clone());
        Err(ImportError::outputs(failed, others.collect()))
    }

    /// Lowers all nodes of a model whose inputs are in `values`; `model` is there unless it is the body of a loop, whose
    /// nodes belong to the loop.
    pub(super) fn run(
        &mut self,
        model: Option<&Model>,
        typed: &TypedModel,
        values: &mut HashMap<OutletId, Value>,
    ) -> Result<(), ImportError> {
        let inference = |reason| ImportError::Inference { reason };
        for id in guarded(|| typed.eval_order()).map_err(inference)? {
            let node = &typed.nodes[id];
            if node.op_is::<TypedSource>() {
                continue;
            }
            if let Some(constant) = node.op_as::<Const>() {
                values.insert(id.into(), Value::Constant(constant.val().clone()));
                continue;
            }
            if let Some(model) = model {
                let unknown = || Origin {
                    node: node.name.clone(),
                    op: node.op.name().to_string(),
                    opset: 0,
                };
                self.origin = model.origin(&node.name).cloned().unwrap_or_else(unknown);
            }
            self.ties.at(id);
            let results = match self.results(typed, id, values) {
                Err(error @ ImportError::Unsupported { .. }) => {
                    vec![Value::Failed(error.into()); node.outputs.len().max(1)]
                }
                results => results?,
            };
            for (slot, result) in results.into_iter().enumerate() {
                values.insert(OutletId::new(id, slot), result);
            }
        }
        Ok(())
    }

    /// The results of one node.
    fn results(
        &mut self,
        typed: &TypedModel,
        id: usize,
        values: &HashMap<OutletId, Value>,
    ) -> Result<Vec<Value>, ImportError> {
        let node = &typed.nodes[id];
        let inputs = node
            .inputs
            .iter()
            .map(|i| values.get(i).cloned())
            .collect::<Option<Vec<_>>>();
        let inputs =
            inputs.ok_or_else(|| self.unsupported("uses a second result that is not supported"))?;
        let failed = inputs.iter().find_map(|v| match v {
            Value::Failed(error) => Some(error.clone()),
            _ => None,
        });
        if let Some(error) = failed {
            return Ok(vec![Value::Failed(error); node.outputs.len().max(1)]);
        }
        let shape = concrete(self, typed, id.into())?;
        if let Some(constants) = constants(&inputs) {
            if !shape.contains(&0) {
                self.bound("the number of elements", &shape)?;
            }
            let elements = shape.iter().fold(1usize, |p, &d| p.saturating_mul(d));
            self.folding = self.folding.checked_sub(elements).ok_or_else(|| {
                self.unsupported(
                    "too many elements that follow from constants; compute them before",
                )
            })?;
            let results =
                guarded(|| node.op.eval_out_of_plan(constants)).map_err(|e| self.unsupported(e))?;
            let results = results.ok_or_else(|| self.unsupported("depends on run-time state"))?;
            return Ok(results
                .into_iter()
                .map(|r| Value::Constant(r.into_arc_tensor()))
                .collect());
        }
        self.bound("the number of elements", &shape)?;
        let types = node
            .inputs
            .iter()
            .map(|&i| typed.outlet_fact(i).map(|f| f.datum_type));
        let types = types
            .collect::<Result<_, _>>()
            .map_err(|e| ImportError::Inference {
                reason: e.to_string(),
            })?;
        let call = Call {
            node,
            inputs,
            types,
            shape,
        };
        if let Some(results) = self.several(&call) {
            return results;
        }
        let result = self.node(&call)?;
        if result.shape != call.shape {
            return Err(self.unsupported(format!(
                "lowered to shape {:?}, expected {:?}",
                result.shape, call.shape
            )));
        }
        Ok(vec![Value::Tensor(result)])
    }
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
        Value::Tensor(_) | Value::Failed(_) => None,
    };
    inputs.iter().map(constant).collect()
}

impl Lowering<'_> {
    /// The first operand.
    pub(super) fn first(&mut self, call: &Call) -> Result<Lazy, ImportError> {
        match call.inputs.first() {
            Some(value) => self.tensor(value),
            None => Err(self.unsupported("has no operand")),
        }
    }

    pub(super) fn identity(&mut self, _: &Identity, call: &Call) -> Result<Lazy, ImportError> {
        self.first(call)
    }

    /// Operands must be floats: integer arithmetic rounds and wraps.
    pub(super) fn reals(&self, call: &Call) -> Result<(), ImportError> {
        match call.types.iter().find(|t| !is_real(**t)) {
            Some(t) => Err(self.unsupported(format!("operands of type {t:?} are not supported"))),
            None => Ok(()),
        }
    }

    /// At inference a dropout is the identity. Its last operand may switch training on.
    pub(super) fn dropout(&mut self, call: &Call) -> Result<Lazy, ImportError> {
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

    pub(super) fn cast(&mut self, op: &Cast, call: &Call) -> Result<Lazy, ImportError> {
        let from = call.types.first().copied().unwrap_or(DatumType::F32);
        let x = self.first(call)?;
        if op.to == DatumType::String || from == DatumType::String {
            return Err(self.unsupported("texts are not supported"));
        }
        let same = is_real(op.to) || from == op.to || from == DatumType::Bool;
        if same || (self.is_whole(&x) && op.to != DatumType::Bool) {
            // Integers that wrap around are beyond what any scale could hold.
            return Ok(x);
        }
        if op.to != DatumType::Bool {
            // Towards zero.
            let part = |f: ScalarFn, op| {
                ScalarFn::select(f.clone(), f.clone().apply(ScalarOp::Floor), f.apply(op))
            };
            let f = part(x.f.clone(), ScalarOp::Ceil);
            return Ok(x.with(f));
        }
        let mut size = x.f.clone().apply(ScalarOp::Abs);
        if self.is_whole(&x) {
            size = size.combine(BinaryOp::Sub, ScalarFn::Const(0.5));
        }
        let (one, zero) = (ScalarFn::Const(1.0), ScalarFn::Const(0.0));
        Ok(x.with(ScalarFn::select(size, one, zero)))
    }
}
