//! Affine index maps.

use super::{Wires, ZERO};
use crate::error::ProgramError;

/// One axis of the source array as seen by a [`Node::View`](super::Node::View).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Length of the source along this axis.
    pub extent: u32,
    /// Index at the origin of all loops.
    pub offset: i64,
    /// How far one step of each loop moves along this axis (one entry per loop).
    pub strides: Vec<i64>,
}

/// An affine index map: result element `(l_0, …, l_k)` (row-major over `loops`) reads the source, seen as a row-major
/// array of the axes' extents, at `offset + Σ strides·l` along every axis, or [`ZERO`] where any axis is out of range.
///
/// Covers reshape, transpose, slice, zero padding, broadcast, convolution patches and pooling windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Lengths of the result's axes.
    pub loops: Vec<u32>,
    /// How the source is read; the product of extents is the source's length.
    pub axes: Vec<Axis>,
}

impl View {
    /// The plain reshape: reads `len` elements in order.
    pub fn identity(len: usize) -> View {
        View {
            loops: vec![len as u32],
            axes: vec![Axis {
                extent: len as u32,
                offset: 0,
                strides: vec![1],
            }],
        }
    }

    /// Number of elements of the result, if the view fits a source of `source` elements.
    pub(super) fn check(&self, source: usize) -> Result<u64, &'static str> {
        if self.loops.is_empty()
            || self.loops.len() > 16
            || self.axes.is_empty()
            || self.axes.len() > 16
        {
            return Err("view needs 1 to 16 loops and axes");
        }
        let mut extent = 1u64;
        for axis in &self.axes {
            if axis.strides.len() != self.loops.len() {
                return Err("view axis needs one stride per loop");
            }
            if axis.offset.unsigned_abs() > 1 << 40
                || axis.strides.iter().any(|s| s.unsigned_abs() > 1 << 24)
            {
                return Err("view offset or stride too large");
            }
            extent = extent
                .checked_mul(u64::from(axis.extent))
                .ok_or("view is too large")?;
        }
        if extent != source as u64 {
            return Err("view does not match the source's length");
        }
        let mut len = 1u64;
        for &l in &self.loops {
            len = len.checked_mul(u64::from(l)).ok_or("view is too large")?;
        }
        if len == 0 {
            Err("view is empty")
        } else {
            Ok(len)
        }
    }

    /// Source element per result element (`None`: out of range), for a view that was checked.
    fn for_each(&self, mut visit: impl FnMut(Option<usize>)) {
        let mut counter = vec![0u32; self.loops.len()];
        let mut position: Vec<i64> = self.axes.iter().map(|a| a.offset).collect();
        loop {
            let mut flat = Some(0usize);
            for (axis, &at) in self.axes.iter().zip(&position) {
                flat = match flat {
                    Some(f) if at >= 0 && at < i64::from(axis.extent) => {
                        Some(f * axis.extent as usize + at as usize)
                    }
                    _ => None,
                };
            }
            visit(flat);
            let mut l = self.loops.len();
            loop {
                if l == 0 {
                    return;
                }
                l -= 1;
                counter[l] += 1;
                if counter[l] < self.loops[l] {
                    for (axis, at) in self.axes.iter().zip(&mut position) {
                        *at += axis.strides[l];
                    }
                    break;
                }
                counter[l] = 0;
                let back = i64::from(self.loops[l]) - 1;
                for (axis, at) in self.axes.iter().zip(&mut position) {
                    *at -= axis.strides[l] * back;
                }
            }
        }
    }

    /// Reads any array: element of the source per element of the result, `None` where padded.
    ///
    /// # Errors
    /// If the view does not fit a source of `source` elements.
    pub fn indices(&self, source: usize) -> Result<Vec<Option<usize>>, ProgramError> {
        let len = self
            .check(source)
            .map_err(|reason| ProgramError::Header { reason })?;
        let mut out = Vec::with_capacity(len as usize);
        self.for_each(|i| out.push(i));
        Ok(out)
    }

    pub(super) fn read(&self, source: &Wires, len: usize) -> Wires {
        let width = source.width;
        let mut slots = Vec::with_capacity(len * width);
        self.for_each(|i| match i {
            Some(i) => slots.extend_from_slice(source.element(i)),
            None => slots.resize(slots.len() + width, ZERO),
        });
        Wires { width, slots }
    }
}
