//! ONNX import: protobuf, shape inference and constant folding by tract, then lowering to [`Op`](crate::graph::Op)s.
//!
//! The model that is lowered is tract's *typed, not decluttered* one: every tract node there still carries the name of the
//! ONNX node it came from, and the operators are few and plain. Decluttering would fuse convolutions into Einsums with
//! exotic axes, drop batch axes and introduce inference kernels (`GeluExact`, `RmsNorm`), which is more to lower, not less.
//!
//! While lowering, a tensor is a node of the [`Graph`] seen through an index map and under an element-wise expression, both
//! of them pending. So reshapes and transposes cost nothing until somebody needs them, and a chain of element-wise
//! operators on one tensor (`x · (1 + erf(x / √2)) / 2`) becomes one activation however it was written.
//!
//! tract is not written for hostile files and has panics on malformed ones; all calls into it are inside one
//! `catch_unwind` each (a build with `panic = "abort"` loses that protection). External data files are never opened.

mod dispatch;
mod file;
mod guard;
mod layout;
mod linear;
mod lower;
mod names;
pub mod operators;
mod passes;
mod pointwise;
mod pool;
mod probe;
mod product;
mod recurrent;
mod reference;
mod rewrite;
mod sample;
mod select;
mod settle;
mod tensor;
mod tie;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::graph::Graph;

pub use reference::ReferenceModel;

/// Choices and limits of an import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Length of a dynamic first dimension of an input.
    pub batch: usize,
    /// Values of named dimensions (`dim_param`), by name. They take precedence over `batch`.
    pub symbols: BTreeMap<String, usize>,
    /// Largest accepted file, in bytes.
    pub max_bytes: usize,
    /// Largest accepted tensor, in elements; also bounds patches (positions × inputs) of a layer.
    pub max_elements: usize,
    /// Largest accepted number of ONNX nodes.
    pub max_nodes: usize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions {
            batch: 1,
            symbols: BTreeMap::new(),
            max_bytes: 1 << 30,
            max_elements: 1 << 26,
            max_nodes: 10_000,
        }
    }
}

/// Why a model could not be imported.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file is larger than [`ImportOptions::max_bytes`].
    #[error("the model has {bytes} bytes, the limit is {limit}")]
    FileTooLarge {
        /// Size of the file.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model: {reason}")]
    Malformed {
        /// What the decoder says.
        reason: String,
    },
    /// More of something than [`ImportOptions`] allow.
    #[error("\"{name}\": {what} is {found}, the limit is {limit}")]
    Limit {
        /// The node or tensor.
        name: String,
        /// What was counted.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// An input has a dimension whose length the file does not say.
    #[error(
        "input \"{input}\": dimension {axis} ({symbol}) has no fixed length; give it a value in ImportOptions::symbols"
    )]
    DynamicDimension {
        /// The input.
        input: String,
        /// Which dimension, from 0.
        axis: usize,
        /// Its name in the file, or "unnamed".
        symbol: String,
    },
    /// An operator, or a use of it, that is not supported.
    #[error("node \"{node}\" ({op}, opset {opset}): {reason}")]
    Unsupported {
        /// The ONNX node.
        node: String,
        /// Its operator, with the domain unless it is ONNX's own.
        op: String,
        /// The version of the operator set.
        opset: i64,
        /// What is not supported.
        reason: String,
    },
    /// Shape inference failed somewhere that could not be tied to a node.
    #[error("the model could not be typed: {reason}")]
    Inference {
        /// What tract says.
        reason: String,
    },
    /// An input tensor given to the reference run does not fit.
    #[error("input {index}: expected {expected} elements, found {found}")]
    InputLength {
        /// Which input.
        index: usize,
        /// Elements the model wants.
        expected: usize,
        /// Elements given.
        found: usize,
    },
}

/// An imported model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Import {
    /// The model.
    pub graph: Graph,
    /// Outputs that are not numbers that can be proven (labels that are texts, for example), left out because others can.
    pub dropped: Vec<DroppedOutput>,
}

/// An output of the ONNX model that the graph does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DroppedOutput {
    /// The node that yields it.
    pub output: String,
    /// Why it cannot be proven.
    pub reason: String,
}

impl Graph {
    /// Imports an ONNX model with [`ImportOptions::default`].
    ///
    /// # Errors
    /// See [`ImportError`]; an operator that is not supported is named with its node and opset.
    pub fn from_onnx(bytes: &[u8]) -> Result<Graph, ImportError> {
        Graph::from_onnx_with(bytes, &ImportOptions::default())
    }

    /// Imports an ONNX model. Weights must be inside the file: external data is refused.
    ///
    /// # Errors
    /// See [`ImportError`]; an operator that is not supported is named with its node and opset.
    pub fn from_onnx_with(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
        Ok(Graph::import(bytes, options)?.graph)
    }

    /// Imports an ONNX model and says what was left out.
    ///
    /// # Errors
    /// As [`Graph::from_onnx_with`].
    pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Import, ImportError> {
        let model = passes::read(bytes, options, passes::Purpose::Lower)?;
        let typed = model.typed()?;
        let (mut graph, mut dropped) = lower::lower(&model, &typed, options)?;
        let text = |output: &String| DroppedOutput {
            output: output.clone(),
            reason: "a text cannot be proven".into(),
        };
        dropped.extend(model.texts.iter().map(text));
        crate::graph::simplify(&mut graph);
        Ok(Import { graph, dropped })
    }
}
