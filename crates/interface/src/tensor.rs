//! One input or output tensor: which integer stands for which real number.

use serde::{Deserialize, Serialize};
use thiserror::Error;

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
    /// Another number of tensors than the model has.
    #[error("{found} {which} tensors are given, the model has {wanted}")]
    Count {
        /// `input` or `output`.
        which: &'static str,
        /// Tensors given.
        found: usize,
        /// Tensors of the model.
        wanted: usize,
    },
    /// A value that no integer stands for.
    #[error("tensor {name:?}: element {index} is {value}, not a finite number")]
    NotFinite {
        /// Name of the tensor.
        name: String,
        /// Flat index of the element.
        index: usize,
        /// The offending value.
        value: f32,
    },
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
         calibrate with such values, or clip them to the range"
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

    /// Whether scales and zero points can be used for `len` elements, and the shape has that many.
    ///
    /// # Errors
    /// [`InterfaceError::Length`], [`InterfaceError::Malformed`].
    pub fn check(&self, len: usize) -> Result<(), InterfaceError> {
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
    /// Wrong length; a value that is not finite or, without `clamp`, outside the range.
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
            if !value.is_finite() {
                return Err(InterfaceError::NotFinite {
                    name: self.name.clone(),
                    index,
                    value,
                });
            }
            let (scale, zero) = (self.scale_at(index), self.zero_point_at(index));
            let mut q = (f64::from(value) / scale + zero + 0.5).floor();
            if clamp {
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
