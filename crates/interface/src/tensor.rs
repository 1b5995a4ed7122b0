//! One input or output tensor: which integer stands for which real number.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use thiserror::Error;

/// How one input or output tensor is represented: `real = scale · (integer − zero_point)`.
///
/// `scale` and `zero_point` have one entry for the whole tensor or one per element.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorInterface {
    /// Name of the tensor.
    pub name: String,
    /// Shape; the product is the number of elements.
    pub shape: Vec<usize>,
    /// Real value of one integer step.
    pub scale: Vec<f64>,
    /// The (not necessarily whole) integer that stands for 0.
    pub zero_point: Vec<f64>,
    /// Whether its values are whole numbers, as labels and positions are.
    #[serde(default, skip_serializing_if = "is_false")]
    pub integers: bool,
    /// What the values 0, 1, … stand for, where they stand for texts such as the names of classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Zero, or the bits of the lower part of an integer that is too large for one cell of the program (the number of a word
    /// among many): it takes two cells then, the lower part first, and the upper part is as wide.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub low_bits: u32,
}

// serde gives a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

// serde gives a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
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
    /// A real number and the integer that was to stand for it are farther apart than half a step.
    #[error(
        "tensor {name:?}: element {index} is {value}, the nearest that the card can say is {nearest}, more than half a \
         step of {step} away"
    )]
    Rounding {
        /// Name of the tensor.
        name: String,
        /// Flat index of the element.
        index: usize,
        /// The stated value.
        value: f32,
        /// What its integer stands for.
        nearest: f64,
        /// Distance between two neighbours.
        step: f64,
    },
    /// Integers that stand too far apart for what the caller wants to tell apart.
    #[error(
        "tensor {name:?}: the card rounds to steps of {step}, more than the tolerance of {tolerance}"
    )]
    Coarse {
        /// Name of the tensor.
        name: String,
        /// Distance between two neighbours.
        step: f64,
        /// What the caller allows.
        tolerance: f64,
    },
    /// A longer name than a tensor can have.
    #[error("a tensor's name has {found} bytes, the limit is {most}")]
    Name {
        /// Bytes of the name.
        found: usize,
        /// Most that it can have.
        most: usize,
    },
    /// Scales or zero points that are neither one nor one per element, or so large or small that no model has them.
    #[error("tensor {name:?}: the interface's scales or zero points are malformed")]
    Malformed {
        /// Name of the tensor.
        name: String,
    },
}

/// Steps that a model can have. Beyond, integers of any width stand for no numbers that could be told apart as `f32`.
const SCALES: RangeInclusive<f64> = 1e-30..=1e30;
/// Zero points that a model can have: up to here neighbouring integers, of at most 16 bits, stand for different numbers of
/// single precision.
const MAX_ZERO: f64 = ((1u64 << 23) - (1 << 16)) as f64;

/// Of integers of two cells, which may have 32 bits: up to here neighbouring whole numbers are different ones of single precision.
const MOST_WHOLE: f64 = (1u64 << 24) as f64;

/// Bytes of a name that a tensor can have: a receipt says it once for every run.
const MAX_NAME: usize = 256;

/// Half a step, and what arithmetic may be off by.
const HALF: f64 = 0.5 + 1e-9;

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

    /// Integers of the program that stand for the tensor: one for each element, or two.
    pub fn cells(&self) -> usize {
        self.len().saturating_mul(self.limbs())
    }

    /// Integers of the program for each element.
    fn limbs(&self) -> usize {
        1 + usize::from(self.low_bits > 0)
    }

    /// The cells of some integers.
    fn split(&self, integers: Vec<u64>) -> Vec<u32> {
        if self.low_bits == 0 {
            return integers.into_iter().map(|q| q as u32).collect();
        }
        let low = (1 << self.low_bits) - 1;
        let parts = integers.into_iter();
        parts
            .flat_map(|q| [(q & low) as u32, (q >> self.low_bits) as u32])
            .collect()
    }

    /// The integers of some cells.
    fn join(&self, cells: &[u32]) -> Vec<u64> {
        let parts = cells.chunks(self.limbs());
        let join = |parts: &[u32]| {
            let parts = parts.iter().rev();
            parts.fold(0, |q, &part| (q << self.low_bits) + u64::from(part))
        };
        parts.map(join).collect()
    }

    /// Scale of one element (NaN if there is none).
    pub fn scale_at(&self, index: usize) -> f64 {
        entry(&self.scale, index)
    }

    /// Zero point of one element (NaN if there is none).
    pub fn zero_point_at(&self, index: usize) -> f64 {
        entry(&self.zero_point, index)
    }

    /// The texts that values stand for; `None` where numbers are numbers, or for a value that stands for none.
    pub fn texts(&self, values: &[f32]) -> Option<Vec<&str>> {
        if self.labels.is_empty() {
            return None;
        }
        let text = |v: &f32| {
            let place = v.round();
            let place = (place >= 0.0).then_some(place as usize)?;
            self.labels.get(place).map(String::as_str)
        };
        values.iter().map(text).collect()
    }

    /// Whether scales and zero points can be used for `len` elements, the shape has that many, and the name is short.
    ///
    /// # Errors
    /// [`InterfaceError::Length`], [`InterfaceError::Name`], [`InterfaceError::Malformed`].
    pub fn check(&self, len: usize) -> Result<(), InterfaceError> {
        let (found, most) = (self.name.len(), MAX_NAME);
        if found > most {
            return Err(InterfaceError::Name { found, most });
        }
        if len != self.len() {
            return Err(InterfaceError::Length {
                name: self.name.clone(),
                found: len,
                wanted: self.len(),
            });
        }
        let sized = |v: &[f64]| v.len() == 1 || v.len() == len;
        let scales = self.scale.iter().all(|s| SCALES.contains(&s.abs()));
        let most = |v: &[f64]| v.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        let zeros = self.zero_point.iter().all(|z| z.abs() <= MAX_ZERO);
        // Parts of integers have at most 16 bits.
        let integers = 65536f64.powi(self.limbs() as i32);
        let farthest = most(&self.scale) * (most(&self.zero_point) + integers);
        let finite = farthest <= f64::from(f32::MAX) && self.low_bits <= 16;
        // Else neighbours among many integers are the same number of single precision.
        let whole = |v: &[f64], is: fn(f64) -> bool| self.low_bits == 0 || v.iter().all(|v| is(*v));
        let exact = whole(&self.scale, |s| s.abs().log2().fract() == 0.0)
            && whole(&self.zero_point, |z| z.fract() == 0.0);
        if !exact || !sized(&self.scale) || !sized(&self.zero_point) || !scales || !zeros || !finite
        {
            return Err(InterfaceError::Malformed {
                name: self.name.clone(),
            });
        }
        Ok(())
    }

    /// [Cells](Self::cells) in `[0, 2^range_bits)` for real values, rounding half up. With `clamp`, finite values outside are
    /// moved to the nearest end.
    ///
    /// # Errors
    /// Wrong length; a value that is not finite or, without `clamp`, outside the range.
    pub fn quantize(
        &self,
        values: &[f32],
        range_bits: u32,
        clamp: bool,
    ) -> Result<Vec<u32>, InterfaceError> {
        let integers = self.integers_of(values, range_bits, clamp)?;
        Ok(self.split(integers))
    }

    /// The integers that are told apart from their neighbours, of those below `top`.
    fn distinct(&self, index: usize, top: f64) -> RangeInclusive<f64> {
        let zero = self.zero_point_at(index);
        match self.low_bits {
            0 => 0.0..=top,
            _ => (zero - MOST_WHOLE).max(0.0)..=(zero + MOST_WHOLE).min(top),
        }
    }

    fn integers_of(
        &self,
        values: &[f32],
        range_bits: u32,
        clamp: bool,
    ) -> Result<Vec<u64>, InterfaceError> {
        self.check(values.len())?;
        if self.low_bits > 0 && self.low_bits != range_bits {
            return Err(InterfaceError::Malformed {
                name: self.name.clone(),
            });
        }
        let top = ((1u64 << (range_bits.min(16) + self.low_bits)) - 1) as f64;
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
            let distinct = self.distinct(index, top);
            let (least, most) = (*distinct.start(), *distinct.end());
            if clamp {
                q = q.clamp(least, most);
            }
            if !distinct.contains(&q) {
                let (a, b) = (scale * (least - zero), scale * (most - zero));
                return Err(InterfaceError::Range {
                    name: self.name.clone(),
                    index,
                    value,
                    low: a.min(b) + 0.0, // no minus zero in messages
                    high: a.max(b),
                });
            }
            out.push(q as u64);
        }
        Ok(out)
    }

    /// Distance between the reals that neighbouring integers stand for: one for all elements or one for each. Whole numbers
    /// are at least one apart, however fine the integers behind them are.
    pub fn steps(&self) -> Vec<f64> {
        let least = if self.integers { 1.0 } else { 0.0 };
        self.scale.iter().map(|s| s.abs().max(least)).collect()
    }

    /// The cells that stand for reals which somebody states, each no farther from its real than half a step, and no step
    /// larger than `tolerance`, if there is one.
    ///
    /// # Errors
    /// As [`TensorInterface::quantize`], [`InterfaceError::Rounding`], [`InterfaceError::Coarse`].
    pub fn state(
        &self,
        values: &[f32],
        range_bits: u32,
        tolerance: Option<f64>,
    ) -> Result<Vec<u32>, InterfaceError> {
        let integers = self.integers_of(values, range_bits, false)?;
        let step = self.steps().into_iter().fold(0.0, f64::max);
        // A tolerance that is not a number allows nothing.
        if let Some(tolerance) = tolerance.filter(|t| !step.le(t)) {
            return Err(InterfaceError::Coarse {
                name: self.name.clone(),
                step,
                tolerance,
            });
        }
        for (index, (&value, &integer)) in values.iter().zip(&integers).enumerate() {
            let scale = self.scale_at(index);
            let nearest = scale * (integer as f64 - self.zero_point_at(index));
            let room = scale.abs() * HALF + nearest.abs() * f64::EPSILON * 4.0;
            if !(f64::from(value) - nearest).abs().le(&room) {
                return Err(InterfaceError::Rounding {
                    name: self.name.clone(),
                    index,
                    value,
                    nearest,
                    step: scale.abs(),
                });
            }
        }
        Ok(self.split(integers))
    }

    /// The reals that [cells](Self::cells) stand for; of a tensor of whole numbers the nearest whole ones.
    ///
    /// # Errors
    /// Wrong length.
    pub fn dequantize(&self, cells: &[u32]) -> Result<Vec<f32>, InterfaceError> {
        if cells.len() != self.cells() {
            return Err(InterfaceError::Length {
                name: self.name.clone(),
                found: cells.len(),
                wanted: self.cells(),
            });
        }
        self.check(self.len())?;
        let real = |(i, q): (usize, u64)| {
            let real = self.scale_at(i) * (q as f64 - self.zero_point_at(i));
            // No minus zero.
            (if self.integers {
                real.round() + 0.0
            } else {
                real
            }) as f32
        };
        let integers = self.join(cells);
        for (index, &q) in integers.iter().enumerate() {
            let distinct = self.distinct(index, f64::INFINITY);
            if !distinct.contains(&(q as f64)) {
                let ends = [distinct.start(), distinct.end()];
                let [a, b] = ends.map(|q| self.scale_at(index) * (q - self.zero_point_at(index)));
                return Err(InterfaceError::Range {
                    name: self.name.clone(),
                    index,
                    value: real((index, q)),
                    low: a.min(b) + 0.0,
                    high: a.max(b),
                });
            }
        }
        Ok(integers.into_iter().enumerate().map(real).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(scale: &[f64], zero_point: &[f64]) -> TensorInterface {
        TensorInterface {
            name: "x".into(),
            shape: vec![2],
            scale: scale.to_vec(),
            zero_point: zero_point.to_vec(),
            integers: false,
            labels: Vec::new(),
            low_bits: 0,
        }
    }

    /// Numbers of more bits than a cell has take two.
    #[test]
    fn wide_integers_are_cut_in_two() {
        let mut wide = tensor(&[1.0], &[0.0]);
        wide.low_bits = 12;
        assert_eq!((wide.len(), wide.cells()), (2, 4));
        let cells = wide.quantize(&[50_256.0, 7.0], 12, false).unwrap();
        assert_eq!(cells, [50_256 & 4095, 50_256 >> 12, 7, 0]);
        assert_eq!(wide.state(&[50_256.0, 7.0], 12, Some(1.0)).unwrap(), cells);
        assert_eq!(wide.dequantize(&cells).unwrap(), [50_256.0, 7.0]);
        assert_eq!(
            wide.quantize(&[1e9, -1.0], 12, true).unwrap(),
            [4095, 4095, 0, 0]
        );
        let most = f64::from(1 << 24) - 1.0;
        let error = wide.quantize(&[16_777_216.0, 0.0], 12, false).unwrap_err();
        assert!(matches!(error, InterfaceError::Range { low: 0.0, high, .. } if high == most));
        // Of a program with cells of another width it is not.
        let error = wide.quantize(&[1.0, 0.0], 13, false).unwrap_err();
        assert!(matches!(error, InterfaceError::Malformed { .. }));
        assert!(matches!(
            wide.dequantize(&cells[..2]),
            Err(InterfaceError::Length { .. })
        ));
    }

    #[test]
    fn absurd_scales_are_refused() {
        let check = |scale: &[f64], zero: &[f64]| tensor(scale, zero).check(2);
        for scale in [0.25, -0.25, 1e-6, 1e6, 1e30] {
            check(&[scale], &[100.0]).unwrap();
        }
        check(&[0.5, 0.25], &[0.0, -3.5]).unwrap();
        for scale in [0.0, 1e31, 1e-31, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
            assert!(check(&[scale], &[0.0]).is_err(), "{scale}");
            assert!(check(&[0.5, -scale], &[0.0]).is_err(), "{scale}");
        }
        for zero in [1e13, -1e13, f64::NAN, f64::NEG_INFINITY] {
            assert!(check(&[1.0], &[zero]).is_err(), "{zero}");
        }
        // What integers stand for is a number of single precision.
        assert!(check(&[1e30], &[1e9]).is_err());
        assert!(check(&[0.5, 0.5, 0.5], &[0.0]).is_err());
    }

    #[test]
    fn long_names_are_refused() {
        let named = |length: usize| TensorInterface {
            name: "n".repeat(length),
            ..tensor(&[0.5], &[0.0])
        };
        assert!(named(256).check(2).is_ok());
        let error = named(257).check(2).unwrap_err();
        assert!(matches!(error, InterfaceError::Name { found: 257, .. }));
    }

    #[test]
    fn what_is_stated_is_within_half_a_step() {
        let fine = tensor(&[0.25], &[8.0]);
        assert_eq!(fine.state(&[0.25, -0.3], 8, None).unwrap(), [9, 7]);
        assert_eq!(fine.state(&[0.25, -0.3], 8, Some(0.25)).unwrap(), [9, 7]);
        for tolerance in [0.2499, 0.0, -1.0, f64::NAN] {
            let coarse = fine.state(&[0.25, -0.3], 8, Some(tolerance)).unwrap_err();
            assert!(matches!(coarse, InterfaceError::Coarse { step: 0.25, .. }));
        }
        // The largest step counts, also a negative one.
        let mixed = tensor(&[0.25, -4.0], &[8.0, 8.0]);
        assert!(mixed.state(&[0.0, 0.0], 8, Some(3.9)).is_err());
        assert!(mixed.state(&[0.0, 0.0], 8, Some(4.0)).is_ok());
        // A card of somebody who wants every input to be the same one.
        let absurd = tensor(&[1e30], &[100.0]);
        let (a, b) = (
            absurd.state(&[0.1, 7.0], 8, None),
            absurd.state(&[-5.0, 3.0], 8, None),
        );
        assert_eq!(a.unwrap(), b.unwrap());
        assert!(absurd.state(&[0.1, 7.0], 8, Some(1.0)).is_err());
    }

    /// Numbers so far from zero that neighbours are the same in single precision: what is stated would be another number.
    #[test]
    fn neighbours_are_different_numbers() {
        for (scale, zero) in [(1e-6, -1e12), (1.0, -1.7e9), (1.0, 8_400_000.0)] {
            let far = tensor(&[scale], &[zero]);
            let refused = far.state(&[1e6, 1e6], 8, None);
            assert!(matches!(refused, Err(InterfaceError::Malformed { .. })));
        }
        let farthest = tensor(&[0.3], &[-MAX_ZERO]);
        let near_end: Vec<u32> = (65_530..65_536).collect();
        for pair in near_end.windows(2) {
            let reals = farthest.dequantize(pair).unwrap();
            assert_ne!(reals[0], reals[1]);
            assert_eq!(farthest.state(&reals, 16, None).unwrap(), pair);
        }
    }

    /// A finer step than one would say of whole numbers what they cannot be.
    #[test]
    fn whole_numbers_are_one_apart() {
        let mut whole = tensor(&[0.001], &[0.0]);
        whole.integers = true;
        assert_eq!(whole.steps(), [1.0]);
        assert!(whole.state(&[0.4, 1.0], 12, Some(0.5)).is_err());
        whole.labels = vec!["no".into(), "yes".into()];
        assert_eq!(whole.texts(&[1.0, 0.2]), Some(vec!["yes", "no"]));
        assert_eq!(whole.texts(&[-3.0]), None);
        assert_eq!(whole.texts(&[2.0]), None);
    }

    /// Neighbouring integers of two cells are different numbers, or no numbers at all.
    #[test]
    fn neighbours_of_two_cells_are_different_numbers() {
        for (bits, scale, zero) in [
            (12, 1.0, 0.0),
            (12, 1.0, 0.5),
            (12, 0.3, 0.0),
            (12, -2.0, 8e6),
            (12, 1.0, -8e6),
            (14, 1.0, 0.0),
            (16, 0.25, 1000.0),
        ] {
            let mut wide = tensor(&[scale], &[zero]);
            (wide.shape, wide.low_bits) = (vec![1], bits);
            let real = |q: u64| {
                let low = q & ((1 << bits) - 1);
                wide.dequantize(&[low as u32, (q >> bits) as u32]).ok()
            };
            let top = (1u64 << (2 * bits)) - 1;
            for end in [top, 1 << 24, (1 << 24) + 2000] {
                for q in end.saturating_sub(3000)..=end.min(top) {
                    let Some(own) = real(q) else { continue };
                    assert!(q == 0 || real(q - 1).as_ref() != Some(&own));
                    let stated = wide.state(&own, bits, None).unwrap();
                    assert_eq!(wide.join(&stated), [q]);
                }
            }
        }
    }
}
