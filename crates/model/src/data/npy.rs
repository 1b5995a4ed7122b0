//! The `.npy` format. Written here because the header decides about allocations: nothing is reserved before the header's
//! claim was compared with the bytes that are there.

use super::{DataError, MAX_ELEMENTS};

/// An array of any supported element type, converted to `f32`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: Vec<f32>,
}

impl Array {
    /// Parses a `.npy` file (versions 1 to 3). `name` is for errors.
    ///
    /// # Errors
    /// If it is not such a file, holds other elements than numbers or booleans, or is too large.
    pub fn from_npy(name: &str, bytes: &[u8]) -> Result<Array, DataError> {
        let malformed = |reason: &str| DataError::Malformed {
            name: name.into(),
            reason: reason.into(),
        };
        let (header, data) = split(bytes).ok_or_else(|| malformed("not an .npy array"))?;
        let descr = field(header, "'descr'")
            .and_then(|f| f.trim_start().strip_prefix('\'')?.split('\'').next());
        let descr = descr.ok_or_else(|| malformed("the header has no element type"))?;
        let fortran =
            field(header, "'fortran_order'").is_some_and(|f| f.trim_start().starts_with("True"));
        let shape = field(header, "'shape'")
            .and_then(shape)
            .ok_or_else(|| malformed("the header has no shape"))?;
        let elements = shape.iter().fold(1u64, |p, &d| p.saturating_mul(d as u64));
        if elements > MAX_ELEMENTS {
            return Err(DataError::Limit {
                name: name.into(),
                unit: "elements",
                found: elements,
                limit: MAX_ELEMENTS,
            });
        }
        let kind = descr.get(1..).unwrap_or_default();
        let big = descr.starts_with('>');
        let width = match kind {
            "f8" | "i8" | "u8" => 8,
            "f4" | "i4" | "u4" => 4,
            "f2" | "i2" | "u2" | "V2" => 2,
            "u1" | "i1" | "b1" => 1,
            text if text.starts_with(['U', 'S', 'O']) => {
                return Err(DataError::Text { name: name.into() });
            }
            other => {
                return Err(malformed(&format!(
                    "element type {other:?} is not supported; floats of 16, 32 and 64 bits, integers of 8 to 64 bits and \
                     booleans are"
                )));
            }
        };
        if data.len() as u64 != elements * width {
            return Err(malformed(&format!(
                "has {} bytes of data, its header says {}",
                data.len(),
                elements * width
            )));
        }
        let elements = data.chunks_exact(width as usize).enumerate();
        let values = elements
            .map(|(at, c)| element(kind, big, c).map_err(|v| inexact(name, at, v)))
            .collect::<Result<_, _>>()?;
        Ok(Array {
            values: if fortran {
                transpose(&shape, values)
            } else {
                values
            },
            shape,
        })
    }
}

/// Header text and data.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (&[major, _minor], rest) = rest.split_first_chunk()?;
    let (len, rest) = if major == 1 {
        let (len, rest) = rest.split_first_chunk()?;
        (usize::from(u16::from_le_bytes(*len)), rest)
    } else {
        let (len, rest) = rest.split_first_chunk()?;
        (usize::try_from(u32::from_le_bytes(*len)).ok()?, rest)
    };
    let (header, data) = rest.split_at_checked(len)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// What follows `'key':` in the header.
fn field<'h>(header: &'h str, key: &str) -> Option<&'h str> {
    header.split_once(key)?.1.trim_start().strip_prefix(':')
}

fn shape(text: &str) -> Option<Vec<usize>> {
    let (inside, _) = text.trim_start().strip_prefix('(')?.split_once(')')?;
    let lengths = inside.split(',').map(str::trim).filter(|s| !s.is_empty());
    let shape = lengths
        .map(|s| s.parse().ok())
        .collect::<Option<Vec<usize>>>()?;
    (shape.len() <= 32).then_some(shape)
}

/// The lengths of an array's axes, from the beginning of its file.
pub(super) fn shape_of(file: &[u8]) -> Option<Vec<usize>> {
    shape(field(split(file)?.0, "'shape'")?)
}

/// An integer that the reader's numbers do not hold.
pub(super) fn inexact(name: &str, at: usize, value: String) -> DataError {
    DataError::Malformed {
        name: name.into(),
        reason: format!(
            "element {at} is {value}, an integer that 32-bit floats cannot hold exactly (beyond 16777216 not all can be); \
             give smaller numbers"
        ),
    }
}

/// One element; an integer that is not exactly a 32-bit float as text.
fn element(kind: &str, big: bool, bytes: &[u8]) -> Result<f32, String> {
    let mut word = [0u8; 8];
    for (i, b) in bytes.iter().enumerate().take(8) {
        word[if big { bytes.len() - 1 - i } else { i }] = *b;
    }
    let low = [word[0], word[1], word[2], word[3]];
    let half = u16::from_le_bytes([word[0], word[1]]);
    let whole: i128 = match kind {
        "f2" => return Ok(half_float(half)),
        // numpy has no name for `bfloat16`: two bytes of something.
        "V2" => return Ok(f32::from_bits(u32::from(half) << 16)),
        "f4" => return Ok(f32::from_le_bytes(low)),
        "f8" => return Ok(f64::from_le_bytes(word) as f32),
        "i1" => i8::from_le_bytes([word[0]]).into(),
        "i2" => i16::from_le_bytes([word[0], word[1]]).into(),
        "i4" => i32::from_le_bytes(low).into(),
        "i8" => i64::from_le_bytes(word).into(),
        "u8" => u64::from_le_bytes(word).into(),
        "b1" => u8::from(word[0] != 0).into(),
        // u1, u2, u4.
        _ => u32::from_le_bytes(low).into(),
    };
    let short = whole as f32;
    if short as i128 == whole {
        Ok(short)
    } else {
        Err(whole.to_string())
    }
}

/// A float of 16 bits.
fn half_float(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        e => (1024.0 + fraction) * 2f32.powi(e - 25),
    }
}

/// Column-major to row-major.
fn transpose(shape: &[usize], values: Vec<f32>) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &d in shape {
        strides.push(stride);
        stride *= d;
    }
    let mut index = vec![0; shape.len()];
    for _ in 0..values.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        out.push(values[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}
