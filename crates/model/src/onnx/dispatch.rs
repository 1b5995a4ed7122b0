//! What lowers a node: the one list that goes by types of tract.

use tract_onnx::tract_core::internal::AxisOp;
use tract_onnx::tract_core::ops::array::{
    Gather, GatherElements, MultiBroadcastTo, OneHot, Pad, Slice, StridedSlice, Tile, Topk,
    TypedConcat,
};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, MaxPool, SumPool};
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::gru_cell::GruEpilogue;
use tract_onnx::tract_core::ops::gru_seq::GruSeq;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::lstm_cell::LstmEpilogue;
use tract_onnx::tract_core::ops::nn::{Reduce, Softmax};
use tract_onnx::tract_core::ops::scan::Scan;

use super::ImportError;
use super::lower::Call;
use super::tensor::{Lazy, Lowering, Value};

/// Calls the method for the node's type, if it is in the list.
macro_rules! by_type {
    ($lowering:ident, $call:ident: $($op:ty => $method:ident,)*) => {
        $(if let Some(op) = $call.node.op_as::<$op>() {
            return Some($lowering.$method(op, $call));
        })*
    };
}

impl Lowering<'_> {
    /// The results of a node that has several.
    pub(super) fn several(&mut self, call: &Call) -> Option<Result<Vec<Value>, ImportError>> {
        if let (Some(op), 2..) = (call.node.op_as::<MaxPool>(), call.node.outputs.len()) {
            return Some(self.max_pool_places(op, call));
        }
        by_type! { self, call:
            Topk => top_k,
            Scan => scan,
            LstmEpilogue => lstm_epilogue,
            GruEpilogue => gru_epilogue,
            GruSeq => gru,
        }
        None
    }

    /// The result of a node that has at least one operand which is not constant.
    pub(super) fn node(&mut self, call: &Call) -> Result<Lazy, ImportError> {
        let by_type = self.by_type(call);
        match by_type.or_else(|| self.by_name(call)) {
            Some(result) => result,
            None => Err(self.origin.refused()),
        }
    }

    fn by_type(&mut self, call: &Call) -> Option<Result<Lazy, ImportError>> {
        by_type! { self, call:
            ElementWiseOp => unary,
            TypedBinOp => binary,
            Iff => select,
            Cast => cast,
            Identity => identity,
            AxisOp => axis_op,
            Slice => slice,
            StridedSlice => strided_slice,
            Downsample => downsample,
            Pad => pad,
            TypedConcat => concat,
            MultiBroadcastTo => broadcast_to,
            Tile => tile,
            Gather => gather,
            EinSum => einsum,
            Conv => conv,
            Deconv => deconv,
            MaxPool => max_pool,
            SumPool => sum_pool,
            Reduce => reduce,
            Softmax => softmax,
            OneHot => one_hot,
        }
        if let Some(op) = call.node.op_as::<GatherElements>() {
            // With constant indices it is one of [`LINEAR`](super::names::LINEAR).
            return self.gather_elements(op, call).transpose();
        }
        None
    }

    /// Operators whose types tract keeps to itself.
    fn by_name(&mut self, call: &Call) -> Option<Result<Lazy, ImportError>> {
        if call.node.op.name() == "Dropout" {
            return Some(self.dropout(call));
        }
        if call.node.op.name() == "OnnxMaxPoolIndices" {
            return Some(self.max_pool_indices(call));
        }
        self.probe(call).transpose()
    }
}
