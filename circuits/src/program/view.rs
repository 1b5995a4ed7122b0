//! Affine index maps.

use super::{Wires, ZERO};
use crate::error::ProgramError;
use std::ops::Range;

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

impl Axis {
    /// For which steps, of `count` from `position` on, an index is in range; empty ones begin within `0..=count`.
    fn inside(&self, position: i64, stride: i64, count: i64) -> Range<i64> {
        let last = i64::from(self.extent) - 1;
        let end = position + stride * (count - 1);
        if position.min(end) >= 0 && position.max(end) <= last {
            return 0..count;
        }
        if position.max(end) < 0 || position.min(end) > last {
            return 0..0;
        }
        // Some of several steps are inside, so they move.
        let (below, above) = match stride > 0 {
            true => (-position, last - position),
            false => (position - last, position),
        };
        let stride = stride.abs();
        let first = (below.max(0) + stride - 1) / stride;
        first.min(count)..(above / stride + 1).clamp(first.min(count), count)
    }
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
        let Some((&inner, others)) = self.loops.split_last() else {
            return;
        };
        let outer = others.len();
        let mut counter = vec![0u32; outer];
        let mut position: Vec<i64> = self.axes.iter().map(|a| a.offset).collect();
        // How far a step along each axis moves in the source.
        let mut units = vec![1i64; self.axes.len()];
        for axis in (1..self.axes.len()).rev() {
            units[axis - 1] = units[axis].wrapping_mul(i64::from(self.axes[axis].extent));
        }
        let moves = self.axes.iter().zip(&units);
        let step = moves.fold(0i64, |step, (axis, unit)| {
            step.wrapping_add(axis.strides[outer].wrapping_mul(*unit))
        });
        loop {
            // Of no use, and perhaps beyond 64 bits, where an index is out of range.
            let mut at = 0i64;
            let mut inside = 0..i64::from(inner);
            for ((axis, unit), &position) in self.axes.iter().zip(&units).zip(&position) {
                at = at.wrapping_add(position.wrapping_mul(*unit));
                let own = axis.inside(position, axis.strides[outer], i64::from(inner));
                inside = inside.start.max(own.start)..inside.end.min(own.end);
            }
            let end = inside.end.max(inside.start);
            (0..inside.start).for_each(|_| visit(None));
            (inside.start..end)
                .for_each(|i| visit(Some(at.wrapping_add(i.wrapping_mul(step)) as usize)));
            (end..i64::from(inner)).for_each(|_| visit(None));
            let mut l = outer;
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

    /// Visits what every element of the result reads: an element of a source of `source`, `None` where padded.
    ///
    /// # Errors
    /// If the view does not fit such a source.
    pub fn visit(
        &self,
        source: usize,
        visit: impl FnMut(Option<usize>),
    ) -> Result<(), ProgramError> {
        self.check(source)
            .map_err(|reason| ProgramError::Header { reason })?;
        self.for_each(visit);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn view() -> impl Strategy<Value = View> {
        (1usize..4, 1usize..4).prop_flat_map(|(loops, axes)| {
            let axis = (1u32..6, -6i64..6, prop::collection::vec(-3i64..4, loops));
            let axes = prop::collection::vec(axis, axes);
            (prop::collection::vec(1u32..7, loops), axes).prop_map(|(loops, axes)| View {
                loops,
                axes: axes
                    .into_iter()
                    .map(|(extent, offset, strides)| Axis {
                        extent,
                        offset,
                        strides,
                    })
                    .collect(),
            })
        })
    }

    /// What the definition says, element by element.
    fn by_definition(view: &View) -> Vec<Option<usize>> {
        let len = view.loops.iter().product::<u32>();
        let element = |mut flat: u32| {
            let mut counters = vec![0i64; view.loops.len()];
            for (counter, l) in counters.iter_mut().zip(&view.loops).rev() {
                (*counter, flat) = (i64::from(flat % l), flat / l);
            }
            view.axes.iter().try_fold(0usize, |at, axis| {
                let moved = axis.strides.iter().zip(&counters).map(|(s, c)| s * c);
                let index = axis.offset + moved.sum::<i64>();
                let inside = (0..i64::from(axis.extent)).contains(&index);
                inside.then_some(at * axis.extent as usize + index as usize)
            })
        };
        (0..len).map(element).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn views_read_what_the_definition_says(view in view()) {
            let source: u32 = view.axes.iter().map(|a| a.extent).product();
            prop_assert_eq!(view.indices(source as usize).unwrap(), by_definition(&view));
        }
    }

    #[test]
    fn indices_far_out_of_range_are_padding() {
        let axis = |offset| Axis {
            extent: 3,
            offset,
            strides: vec![1 << 24],
        };
        let view = View {
            loops: vec![1 << 10],
            axes: vec![axis(1 << 40), axis(-(1 << 40))],
        };
        assert_eq!(view.indices(9).unwrap(), vec![None; 1 << 10]);
    }
}
