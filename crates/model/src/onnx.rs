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
//! `catch_unwind` each (a build with `panic = "abort"` loses that protection). Weights in other files are read
//! from the model's folder alone.

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
mod quiet;
mod recurrent;
mod reference;
mod rewrite;
mod sample;
mod select;
mod settle;
mod tensor;
mod tie;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use thiserror::Error;

use crate::graph::Graph;

pub use reference::ReferenceModel;

/// Choices and limits of an import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Length of a dynamic first dimension of an input. `None` for what [`samples`](Self::samples) have, or 1.
    pub batch: Option<usize>,
    /// Lengths of dimensions that the file leaves open: by the name of the dimension (`dim_param`), or by input and axis
    /// (`"x:1"`). They take precedence over `samples` and `batch`.
    pub symbols: BTreeMap<String, usize>,
    /// Shapes of samples, by the name of the array: the input's own, or `x0`, `x1`, … by position. Dimensions that are
    /// still open take their lengths from them. See [`Arrays::shapes`](crate::data::Arrays::shapes).
    pub samples: BTreeMap<String, Vec<usize>>,
    /// The outputs to prove, by name; empty for all of them.
    pub outputs: Vec<String>,
    /// Inputs that have one value (all of whose elements are this) in every run of the model: they are constants of what is
    /// proven, so that an `If` whose condition is such an input has one branch. See [`described`](Self::described).
    pub given: BTreeMap<String, f64>,
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
            batch: None,
            symbols: BTreeMap::new(),
            samples: BTreeMap::new(),
            outputs: Vec::new(),
            given: BTreeMap::new(),
            max_bytes: 1 << 30,
            max_elements: 1 << 26,
            max_nodes: 10_000,
        }
    }
}

impl ImportOptions {
    /// A model's name for its card: with inputs that are [given](Self::given) it is another model, and says so.
    pub fn described(&self, name: &str) -> String {
        let given: Vec<String> = (self.given.iter())
            .map(|(input, value)| format!("{input}={value}"))
            .collect();
        match given.as_slice() {
            [] => name.to_owned(),
            given => format!("{name} with {}", given.join(", ")),
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
    /// The model's file cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// A tensor's elements are in another file, which cannot be used.
    #[error("tensor \"{tensor}\": {reason}")]
    External {
        /// The tensor.
        tensor: String,
        /// What is wrong with where its elements are.
        reason: String,
    },
    /// Outputs that cannot be proven, though others can.
    #[error("{}", cannot_be_proven(failed, others))]
    Outputs {
        /// The outputs, and why not.
        failed: Vec<(String, ImportError)>,
        /// The outputs that can be proven.
        others: Vec<String>,
    },
    /// The options ask for an output that the model does not have.
    #[error("there is no output \"{name}\"; the model's outputs are {}", known.join(", "))]
    NoOutput {
        /// The name.
        name: String,
        /// The outputs that there are.
        known: Vec<String>,
    },
    /// The options give a value to an input that cannot have it.
    #[error("input \"{name}\" cannot be given the value {value}: {reason}")]
    Given {
        /// The name.
        name: String,
        /// The value.
        value: f64,
        /// Why not.
        reason: String,
    },
    /// The options give a length to a dimension that is not open.
    #[error(
        "there is no open dimension \"{name}\"; {}",
        if open.is_empty() { "the file fixes all of them".into() } else { format!("open are {}", open.join(", ")) }
    )]
    NoDimension {
        /// The name.
        name: String,
        /// The dimensions that are open.
        open: Vec<String>,
    },
    /// The options give a dimension no length.
    #[error("the length of \"{name}\" is {length}; it has to be above zero")]
    Length {
        /// The dimension, or `batch`.
        name: String,
        /// The length.
        length: usize,
    },
    /// An input has a dimension whose length the file does not say.
    #[error(
        "input \"{input}\": dimension {axis} ({symbol}) has no fixed length, and the samples do not tell it"
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

fn cannot_be_proven(failed: &[(String, ImportError)], others: &[String]) -> String {
    let failed: Vec<String> = failed
        .iter()
        .map(|(name, error)| format!("output \"{name}\" cannot be proven: {error}"))
        .collect();
    let others = others.join(", ");
    format!(
        "{}; choose the outputs that can be: {others}",
        failed.join("; ")
    )
}

impl ImportError {
    /// Some outputs cannot be proven; if none can, the first reason.
    fn outputs(mut failed: Vec<(String, ImportError)>, others: Vec<String>) -> ImportError {
        match others.is_empty() {
            true => failed.swap_remove(0).1,
            false => ImportError::Outputs { failed, others },
        }
    }
}

/// An imported model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Import {
    /// The model.
    pub graph: Graph,
    /// Outputs that the options did not choose.
    pub left_out: Vec<String>,
}

impl Graph {
    /// Imports an ONNX model with [`ImportOptions::default`].
    ///
    /// # Errors
    /// See [`ImportError`]; an operator that is not supported is named with its node and opset.
    pub fn from_onnx(bytes: &[u8]) -> Result<Graph, ImportError> {
        Graph::from_onnx_with(bytes, &ImportOptions::default())
    }

    /// Imports an ONNX model. Weights must be inside of these bytes: for those in other files see [`Graph::from_onnx_file`].
    ///
    /// # Errors
    /// See [`ImportError`]; an operator that is not supported is named with its node and opset.
    pub fn from_onnx_with(bytes: &[u8], options: &ImportOptions) -> Result<Graph, ImportError> {
        Ok(Graph::import(bytes, options)?.graph)
    }

    /// Imports an ONNX file with [`ImportOptions::default`]; weights may be in other files of its folder.
    ///
    /// # Errors
    /// As [`Graph::import_file`].
    pub fn from_onnx_file(path: impl AsRef<Path>) -> Result<Graph, ImportError> {
        Ok(Graph::import_file(path, &ImportOptions::default())?.graph)
    }

    /// Imports an ONNX file; weights may be in other files of its folder, or of folders in it.
    ///
    /// # Errors
    /// As [`Graph::from_onnx_with`], and files that cannot be read, or are elsewhere.
    pub fn import_file(
        path: impl AsRef<Path>,
        options: &ImportOptions,
    ) -> Result<Import, ImportError> {
        let path = path.as_ref();
        let failed = |e: std::io::Error| ImportError::File {
            path: path.display().to_string(),
            reason: e.to_string(),
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        let mut file = file.take(options.max_bytes as u64 + 1);
        file.read_to_end(&mut bytes).map_err(failed)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Graph::import_from(&bytes, Some(folder), options)
    }

    /// Imports an ONNX model and says what was left out.
    ///
    /// # Errors
    /// As [`Graph::from_onnx_with`].
    pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Import, ImportError> {
        Graph::import_from(bytes, None, options)
    }

    fn import_from(
        bytes: &[u8],
        folder: Option<&Path>,
        options: &ImportOptions,
    ) -> Result<Import, ImportError> {
        let model = passes::read(bytes, folder, options, passes::Purpose::Lower)?;
        let typed = model.typed()?;
        let mut graph = lower::lower(&model, &typed, options)?;
        crate::graph::simplify(&mut graph);
        let left_out = model.choice.left_out;
        Ok(Import { graph, left_out })
    }
}
