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
            "f4" | "i4" => 4,
            "f8" | "i8" => 8,
            "u1" | "i1" | "b1" => 1,
            other => {
                return Err(malformed(&format!(
                    "element type \"{other}\" is not supported (f4, f8, i8, i4, i1, u1, b1 are)"
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
        let values = data
            .chunks_exact(width as usize)
            .map(|c| element(kind, big, c))
            .collect();
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

fn element(kind: &str, big: bool, bytes: &[u8]) -> f32 {
    let mut word = [0u8; 8];
    for (i, b) in bytes.iter().enumerate().take(8) {
        word[if big { bytes.len() - 1 - i } else { i }] = *b;
    }
    let low = [word[0], word[1], word[2], word[3]];
    match kind {
        "f4" => f32::from_le_bytes(low),
        "f8" => f64::from_le_bytes(word) as f32,
        "i4" => i32::from_le_bytes(low) as f32,
        "i8" => i64::from_le_bytes(word) as f32,
        "i1" => f32::from(i8::from_le_bytes([word[0]])),
        "b1" => f32::from(u8::from(word[0] != 0)),
        _ => f32::from(word[0]),
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
