//! Samples: input tensors, expected outputs and labels from `.npz`, `.npy` and JSON files.

mod arrays;
mod json;
mod npy;

#[cfg(test)]
mod tests;

use std::path::Path;

use thiserror::Error;

pub use arrays::Arrays;
pub use npy::Array;

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 30;
/// Most elements of one array.
pub const MAX_ELEMENTS: u64 = 1 << 28;
/// Most bytes of all arrays of a file together, unpacked.
const MAX_UNPACKED: u64 = 1 << 31;

/// Tensors of several samples: `[sample][tensor][element]`, flat and row-major.
pub type Tensors = Vec<Vec<Vec<f32>>>;

/// What a tensor is called and how long its axes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TensorForm {
    /// Its name in the model; arrays are found by it. Empty where only the position tells.
    pub name: String,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Its place among the model's inputs or outputs: arrays are found by `x0`, `y0` and so on, too.
    pub position: usize,
}

impl TensorForm {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().fold(1, |p, &d| p.saturating_mul(d))
    }

    /// Tensors of which only the lengths are known.
    fn flat(lens: &[usize]) -> Vec<TensorForm> {
        let form = |(position, &len): (usize, &usize)| TensorForm {
            name: String::new(),
            shape: vec![len],
            position,
        };
        lens.iter().enumerate().map(form).collect()
    }

    /// The forms of a model's tensors.
    pub fn list(tensors: &[crate::TensorInterface]) -> Vec<TensorForm> {
        let form = |(position, tensor): (usize, &crate::TensorInterface)| TensorForm {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            position,
        };
        tensors.iter().enumerate().map(form).collect()
    }
}

/// Samples of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Inputs, in the model's order.
    pub inputs: Tensors,
    /// Outputs, where the file has them; one that is not there, or holds texts, has no elements.
    pub outputs: Option<Tensors>,
    /// Labels, where the file has them (one number per sample).
    pub labels: Option<Vec<i64>>,
}

/// Why samples could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file's name ends in nothing known.
    #[error("{path}: expected a .npz, .npy or .json file")]
    Format {
        /// The file.
        path: String,
    },
    /// The file, or an array in it, is larger than the limits.
    #[error("{name}: {found} {unit}, the limit is {limit}")]
    Limit {
        /// File or array.
        name: String,
        /// What was counted.
        unit: &'static str,
        /// How many there are.
        found: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// An array of texts.
    #[error("{name} holds texts; give numbers")]
    Text {
        /// The array.
        name: String,
    },
    /// The content is not what the file's name says.
    #[error("{name}: {reason}")]
    Malformed {
        /// File or array.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An array the model needs is not there.
    #[error(
        "array {name} is missing: the model has {inputs}, there {}",
        list(found)
    )]
    Missing {
        /// The array.
        name: String,
        /// The inputs of the model, in words.
        inputs: String,
        /// The arrays that there are.
        found: Vec<String>,
    },
    /// An array has another size than the model's tensor.
    #[error("array {name} has {found} elements per sample, the model's tensor has {expected}")]
    Shape {
        /// The array.
        name: String,
        /// Elements per sample that the model wants.
        expected: usize,
        /// Elements per sample in the file.
        found: usize,
    },
    /// An array whose elements are ordered in another way than the model's.
    #[error(
        "array {name} has samples of shape {found:?}, the model's input has {expected:?}: as many elements in another \
         layout; transpose the array"
    )]
    Layout {
        /// The array.
        name: String,
        /// Lengths of the axes in the model.
        expected: Vec<usize>,
        /// Lengths of the axes of a sample in the file.
        found: Vec<usize>,
    },
    /// Arrays with different numbers of samples.
    #[error("array {name} has {found} samples, the first input has {expected}")]
    SampleCount {
        /// The array.
        name: String,
        /// Samples of the first input.
        expected: usize,
        /// Samples of this array.
        found: usize,
    },
}

fn list(found: &[String]) -> String {
    match found {
        [] => "is none".into(),
        some => format!("are {}", some.join(", ")),
    }
}

impl Samples {
    /// Reads samples for a model whose inputs have these lengths (see [`Graph::input_lens`](crate::graph::Graph::input_lens)).
    ///
    /// * `.npz`: arrays `x0, x1, …` (inputs), `y0, y1, …` (outputs), `labels`; the first axis is the sample;
    /// * `.npy`: one array, `x0`;
    /// * `.json`: `{"input_data": [[…], …], "output_data": [[…], …]}`, one sample, one list per tensor (EZKL's form), several
    ///   of these in a list or on lines of their own; or an object of arrays with the names of an `.npz` file.
    ///
    /// Floats of 16 (also `bfloat16`), 32 and 64 bits, integers of 8 to 64 bits and booleans are read, all as `f32`; integers
    /// that `f32` does not hold exactly are refused. [`Arrays`] also finds arrays by the names of a model's inputs.
    ///
    /// # Errors
    /// See [`DataError`]; sizes are bounded before anything is allocated.
    pub fn load(path: impl AsRef<Path>, input_lens: &[usize]) -> Result<Samples, DataError> {
        Arrays::load(path)?.samples(&TensorForm::flat(input_lens), &[])
    }

    /// Reads an `.npz` archive; see [`Samples::load`].
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn from_npz(bytes: &[u8], input_lens: &[usize]) -> Result<Samples, DataError> {
        Arrays::from_npz(bytes)?.samples(&TensorForm::flat(input_lens), &[])
    }

    /// Reads JSON; see [`Samples::load`].
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn from_json(bytes: &[u8], input_lens: &[usize]) -> Result<Samples, DataError> {
        Arrays::from_json(bytes)?.samples(&TensorForm::flat(input_lens), &[])
    }

    /// Builds samples from named arrays whose first axis is the sample; unknown names are ignored.
    ///
    /// # Errors
    /// If an input is missing or does not fit, or arrays differ in their number of samples.
    pub fn from_arrays(
        arrays: Vec<(String, Array)>,
        input_lens: &[usize],
    ) -> Result<Samples, DataError> {
        Arrays::new(arrays).samples(&TensorForm::flat(input_lens), &[])
    }
}
