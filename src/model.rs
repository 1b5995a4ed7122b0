//! The quantized model: the public [`Program`], the integer weights, and how reals become integers at its borders.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zkinfer_circuits::program::{Expanded, Program, ValueRef};

use crate::run::{HintSolver, RunError, Trace, run};

/// The coefficients of one committed term of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightTensor {
    /// Index of the node in [`Program::nodes`].
    pub node: u32,
    /// Index of the term in that node.
    pub term: u32,
    /// `[groups][outputs][inputs]`, row-major.
    pub data: Vec<i32>,
}

/// How one input or output tensor is represented: `real = scale · (integer − zero_point)`.
///
/// `scale` and `zero_point` have one entry for the whole tensor or one per element.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorInterface {
    /// Name of the tensor.
    pub name: String,
    /// Shape; the product is the number of elements.
    pub shape: Vec<usize>,
    /// Real value of one integer step.
    pub scale: Vec<f64>,
    /// The (not necessarily whole) integer that stands for 0.
    pub zero_point: Vec<f64>,
}

/// A tensor that does not fit its [`TensorInterface`].
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// Wrong number of elements.
    #[error("tensor {name:?} has {found} elements, the model wants {wanted}")]
    Length {
        /// Name of the tensor.
        name: String,
        /// Elements given.
        found: usize,
        /// Elements of the shape.
        wanted: usize,
    },
    /// A real outside what the integers can express.
    #[error(
        "tensor {name:?}: element {index} is {value}, outside [{low}, {high}] that the model was calibrated for; \
         calibrate with such inputs, or ask for clamping"
    )]
    Range {
        /// Name of the tensor.
        name: String,
        /// Flat index of the element.
        index: usize,
        /// The offending value.
        value: f32,
        /// Smallest real that is accepted.
        low: f64,
        /// Largest real that is accepted.
        high: f64,
    },
    /// Scales or zero points that are neither one nor one per element, or not finite and non-zero.
    #[error("tensor {name:?}: the interface's scales or zero points are malformed")]
    Malformed {
        /// Name of the tensor.
        name: String,
    },
}

fn entry(values: &[f64], index: usize) -> f64 {
    if values.len() == 1 {
        values[0]
    } else {
        values.get(index).copied().unwrap_or(f64::NAN)
    }
}

impl TensorInterface {
    /// Number of elements (a shape too large for memory saturates).
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1usize, |a, &b| a.saturating_mul(b))
    }

    /// True if there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Scale of one element (NaN if there is none).
    pub fn scale_at(&self, index: usize) -> f64 {
        entry(&self.scale, index)
    }

    /// Zero point of one element (NaN if there is none).
    pub fn zero_point_at(&self, index: usize) -> f64 {
        entry(&self.zero_point, index)
    }

    pub(crate) fn check(&self, len: usize) -> Result<(), InterfaceError> {
        if len != self.len() {
            return Err(InterfaceError::Length {
                name: self.name.clone(),
                found: len,
                wanted: self.len(),
            });
        }
        let sized = |v: &[f64]| (v.len() == 1 || v.len() == len) && v.iter().all(|x| x.is_finite());
        if !sized(&self.scale) || !sized(&self.zero_point) || self.scale.contains(&0.0) {
            return Err(InterfaceError::Malformed {
                name: self.name.clone(),
            });
        }
        Ok(())
    }

    /// Integers in `[0, 2^range_bits)` for real values, rounding half up. With `clamp`, finite values outside are moved
    /// to the nearest end.
    ///
    /// # Errors
    /// Wrong length; a value that is not a number or, without `clamp`, outside the range.
    pub fn quantize(
        &self,
        values: &[f32],
        range_bits: u32,
        clamp: bool,
    ) -> Result<Vec<u32>, InterfaceError> {
        self.check(values.len())?;
        let top = ((1u64 << range_bits.min(31)) - 1) as f64;
        let mut out = Vec::with_capacity(values.len());
        for (index, &value) in values.iter().enumerate() {
            let (scale, zero) = (self.scale_at(index), self.zero_point_at(index));
            let mut q = (f64::from(value) / scale + zero + 0.5).floor();
            if clamp && value.is_finite() {
                q = q.clamp(0.0, top);
            }
            if !(0.0..=top).contains(&q) {
                let (a, b) = (scale * (-zero), scale * (top - zero));
                return Err(InterfaceError::Range {
                    name: self.name.clone(),
                    index,
                    value,
                    low: a.min(b) + 0.0, // no minus zero in messages
                    high: a.max(b),
                });
            }
            out.push(q as u32);
        }
        Ok(out)
    }

    /// The reals that integers stand for.
    ///
    /// # Errors
    /// Wrong length.
    pub fn dequantize(&self, integers: &[u32]) -> Result<Vec<f32>, InterfaceError> {
        self.check(integers.len())?;
        let real = |(i, &q): (usize, &u32)| {
            (self.scale_at(i) * (f64::from(q) - self.zero_point_at(i))) as f32
        };
        Ok(integers.iter().enumerate().map(real).collect())
    }
}

/// What quantization did to one layer: one [`Node::Neurons`](zkinfer_circuits::program::Node::Neurons).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Index of the node in [`Program::nodes`].
    pub node: u32,
    /// Name of the operation in the float model.
    pub name: String,
    /// Index of the float node whose values these neurons represent, if they represent one.
    pub graph_node: Option<usize>,
    /// Smallest real step over the channels.
    pub scale_min: f64,
    /// Largest real step over the channels.
    pub scale_max: f64,
    /// Smallest accumulator value (as a real, before the activation) seen in calibration.
    pub low: f64,
    /// Largest accumulator value seen in calibration.
    pub high: f64,
}

/// A real tensor as a combination of program values: `real[i] = offset[i] + Σ_planes scale[i] · value[i]`.
///
/// Scales and offsets have one entry for all elements or one per element.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// Program values and their scales.
    pub planes: Vec<(ValueRef, Vec<f64>)>,
    /// Real offset.
    pub offset: Vec<f64>,
}

/// A model over integers: everything that inference and proving need.
#[derive(Clone, Debug)]
pub struct QuantizedModel {
    /// The public architecture.
    pub program: Program,
    /// The committed weights, in order of node and term.
    pub weights: Vec<WeightTensor>,
    /// How to compute the program's hints, in order of node.
    pub hints: Vec<HintSolver>,
    /// The model's inputs, in order.
    pub inputs: Vec<TensorInterface>,
    /// The model's outputs, in order of [`Program::outputs`].
    pub outputs: Vec<TensorInterface>,
    /// Where the neurons come from, in order of node.
    pub layers: Vec<Layer>,
    /// For reports: real values behind program values, by index into [`layers`](Self::layers).
    pub decodings: Vec<(usize, Decoding)>,
}

impl QuantizedModel {
    /// Name of the operation that a program node implements, for messages.
    pub fn layer_name(&self, node: u32) -> &str {
        match self.layers.binary_search_by_key(&node, |l| l.node) {
            Ok(i) => &self.layers[i].name,
            Err(_) => "",
        }
    }

    /// Integers for real inputs, `[input][element]`.
    ///
    /// # Errors
    /// See [`TensorInterface::quantize`]; a missing or surplus input is a length error.
    pub fn quantize_inputs(
        &self,
        inputs: &[Vec<f32>],
        clamp: bool,
    ) -> Result<Vec<Vec<u32>>, InterfaceError> {
        if inputs.len() != self.inputs.len() {
            return Err(InterfaceError::Length {
                name: "(number of inputs)".into(),
                found: inputs.len(),
                wanted: self.inputs.len(),
            });
        }
        self.inputs
            .iter()
            .zip(inputs)
            .map(|(t, x)| t.quantize(x, self.program.range_bits, clamp))
            .collect()
    }

    /// The integer run of the program on integer inputs.
    ///
    /// # Errors
    /// See [`run`].
    pub fn run(&self, expanded: &Expanded, inputs: &[Vec<u32>]) -> Result<Trace, RunError> {
        run(&self.program, expanded, &self.weights, &self.hints, inputs)
    }

    /// The real outputs of a run, `[output][element]`.
    ///
    /// # Errors
    /// If the trace is not one of this model.
    pub fn dequantize_outputs(
        &self,
        expanded: &Expanded,
        trace: &Trace,
    ) -> Result<Vec<Vec<f32>>, InterfaceError> {
        let mut out = Vec::with_capacity(self.outputs.len());
        for (tensor, &node) in self.outputs.iter().zip(&self.program.outputs) {
            let first = expanded
                .first_slot
                .get(node as usize)
                .map_or(usize::MAX, |&s| s as usize);
            let range = first..first.saturating_add(tensor.len());
            let slots = trace.slots.get(range).ok_or(InterfaceError::Length {
                name: tensor.name.clone(),
                found: 0,
                wanted: tensor.len(),
            })?;
            out.push(tensor.dequantize(slots)?);
        }
        Ok(out)
    }
}
