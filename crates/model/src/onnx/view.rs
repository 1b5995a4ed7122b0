//! Composition of affine index maps.
//!
//! A reshape does not change the row-major order, so it is no map at all; transposes, slices, pads, broadcasts, patches
//! and windows are [`View`]s whose axes are the operand's dimensions. `b` after `a` is one view again if every index that
//! `b` computes along a dimension can be written as the loop counters of `a` that this dimension consists of.

use zkinfer_circuits::program::{Axis, View};

/// An index that is affine in the loops of a view.
#[derive(Clone, Debug)]
struct Index {
    extent: i64,
    offset: i64,
    strides: Vec<i64>,
}

impl Index {
    /// Smallest and largest value over all loops.
    fn range(&self, loops: &[i64]) -> (i64, i64) {
        let mut range = (self.offset, self.offset);
        for (s, l) in self.strides.iter().zip(loops) {
            let span = s.saturating_mul(l - 1);
            range.0 = range.0.saturating_add(span.min(0));
            range.1 = range.1.saturating_add(span.max(0));
        }
        range
    }

    fn in_range(&self, loops: &[i64]) -> bool {
        let (low, high) = self.range(loops);
        low >= 0 && high < self.extent
    }
}

/// One loop of a view with its stride along each of the view's axes.
#[derive(Clone, Debug)]
struct Loop {
    len: i64,
    steps: Vec<i64>,
}

fn loops_of(view: &View) -> Vec<Loop> {
    let steps = |l: usize| {
        view.axes
            .iter()
            .map(|a| a.strides.get(l).copied().unwrap_or(0))
            .collect()
    };
    view.loops
        .iter()
        .enumerate()
        .map(|(l, &len)| Loop {
            len: i64::from(len),
            steps: steps(l),
        })
        .collect()
}

fn lengths(view: &View) -> Vec<i64> {
    view.loops.iter().map(|&l| i64::from(l)).collect()
}

fn indices_of(view: &View) -> Vec<Index> {
    let index = |a: &Axis| Index {
        extent: i64::from(a.extent),
        offset: a.offset,
        strides: a.strides.clone(),
    };
    view.axes.iter().map(index).collect()
}

/// Whether no element of the result is padding.
pub(crate) fn in_range(view: &View) -> bool {
    let loops = lengths(view);
    indices_of(view).iter().all(|i| i.in_range(&loops))
}

/// Whether the view reads all `len` elements in order.
pub(crate) fn is_identity(view: &View, len: usize) -> bool {
    if !in_range(view) || view.loops.iter().map(|&l| l as usize).product::<usize>() != len {
        return false;
    }
    let mut flat = Index {
        extent: len as i64,
        offset: 0,
        strides: vec![0; view.loops.len()],
    };
    for axis in &view.axes {
        let extent = i64::from(axis.extent);
        flat.offset = flat.offset * extent + axis.offset;
        flat.strides
            .iter_mut()
            .zip(&axis.strides)
            .for_each(|(f, s)| *f = *f * extent + s);
    }
    let mut place = 1;
    for (&l, &s) in view.loops.iter().zip(&flat.strides).rev() {
        if l != 1 && s != place {
            return false;
        }
        place *= i64::from(l);
    }
    flat.offset == 0
}

/// Splits the loops of `a` such that each dimension is a run of whole loops (outermost first).
fn align(a: &View, dims: &[usize]) -> Option<Vec<Vec<Loop>>> {
    let mut rest: Vec<Loop> = loops_of(a).into_iter().filter(|l| l.len != 1).collect();
    let mut groups = Vec::new();
    for &dim in dims.iter().rev() {
        let mut need = dim as i64;
        let mut group = Vec::new();
        while need > 1 {
            let mut l = rest.pop()?;
            if need % l.len == 0 {
                need /= l.len;
                group.push(l);
            } else if l.len % need == 0 {
                let outer = Loop {
                    len: l.len / need,
                    steps: l.steps.iter().map(|s| s * need).collect(),
                };
                l.len = need;
                rest.push(outer);
                group.push(l);
                need = 1;
            } else {
                return None;
            }
        }
        group.reverse();
        groups.push(group);
    }
    groups.reverse();
    rest.is_empty().then_some(groups)
}

/// The loops of `b` and everything that is affine in them.
struct Work {
    loops: Vec<i64>,
    indices: Vec<Index>,
}

impl Work {
    /// Replaces loop `l` by an outer loop and an inner one of length `inner`.
    fn split(&mut self, l: usize, inner: i64) {
        self.loops.insert(l + 1, inner);
        self.loops[l] /= inner;
        for index in &mut self.indices {
            let s = index.strides[l];
            index.strides[l] = s * inner;
            index.strides.insert(l + 1, s);
        }
    }

    /// Takes index `k` modulo `radix` off as an index of its own; `k` keeps the quotient.
    fn digit(&mut self, k: usize, radix: i64) -> Option<usize> {
        let mut l = 0;
        while l < self.loops.len() {
            let (s, len) = (self.indices[k].strides[l].abs(), self.loops[l]);
            if s != 0 && len > 1 && s % radix != 0 && radix % s == 0 {
                let inner = radix / s;
                if len > inner && len % inner == 0 {
                    self.split(l, inner);
                    l += 1;
                }
            }
            l += 1;
        }
        let index = &mut self.indices[k];
        let digit = Index {
            extent: radix,
            offset: index.offset.rem_euclid(radix),
            strides: index
                .strides
                .iter()
                .map(|s| if s % radix == 0 { 0 } else { *s })
                .collect(),
        };
        index.offset = index.offset.div_euclid(radix);
        index.extent /= radix;
        index
            .strides
            .iter_mut()
            .for_each(|s| *s = if *s % radix == 0 { *s / radix } else { 0 });
        if !digit.in_range(&self.loops) {
            return None;
        }
        self.indices.push(digit);
        Some(self.indices.len() - 1)
    }
}

/// `b` after `a`, where `b` reads the result of `a` as an array of shape `dims` (the extents of `b`'s axes).
/// `None` if the composition is not affine, or would lose padding; the caller then needs both views.
pub(crate) fn compose(a: &View, dims: &[usize], b: &View) -> Option<View> {
    if b.axes.len() != dims.len() {
        return None;
    }
    let groups = align(a, dims)?;
    let mut work = Work {
        loops: lengths(b),
        indices: indices_of(b),
    };
    // Which loop of `a` each index counts.
    let mut counts: Vec<(usize, Loop)> = Vec::new();
    for (k, group) in groups.iter().enumerate() {
        let inside = work.indices[k].in_range(&work.loops);
        match group.as_slice() {
            [] if inside => {}
            [] => return None,
            [one] => counts.push((k, one.clone())),
            _ if !inside => return None,
            [first, rest @ ..] => {
                for l in rest.iter().rev() {
                    counts.push((work.digit(k, l.len)?, l.clone()));
                }
                counts.push((k, first.clone()));
            }
        }
    }
    let source = indices_of(a);
    for (which, (k, l)) in counts.iter().enumerate() {
        let index = &work.indices[*k];
        if index.in_range(&work.loops) {
            continue;
        }
        // Padding survives if exactly this loop walks a whole axis of the source.
        let others_still = |axis: usize| {
            counts
                .iter()
                .enumerate()
                .all(|(o, (_, l))| o == which || l.steps[axis] == 0)
        };
        let walks = |axis: usize| {
            let s = &source[axis];
            let forwards = l.steps[axis] == 1 && s.offset == 0;
            let backwards = l.steps[axis] == -1 && s.offset == s.extent - 1;
            s.extent == l.len && (forwards || backwards) && others_still(axis)
        };
        if !(0..source.len()).any(walks) {
            return None;
        }
    }
    let axes = source.iter().enumerate().map(|(axis, s)| {
        let mut result = Axis {
            extent: s.extent as u32,
            offset: s.offset,
            strides: vec![0; work.loops.len()],
        };
        for (k, l) in &counts {
            let index = &work.indices[*k];
            result.offset += l.steps[axis] * index.offset;
            result
                .strides
                .iter_mut()
                .zip(&index.strides)
                .for_each(|(r, s)| *r += l.steps[axis] * s);
        }
        result
    });
    let axes = axes.collect();
    Some(View {
        loops: work.loops.iter().map(|&l| l as u32).collect(),
        axes,
    })
}

/// Drops loops and axes of length 1 that do nothing.
pub(crate) fn tidy(mut view: View) -> View {
    for l in (0..view.loops.len()).rev() {
        if view.loops[l] == 1 && view.loops.len() > 1 {
            view.loops.remove(l);
            for axis in &mut view.axes {
                axis.strides.remove(l);
            }
        }
    }
    let idle = |a: &Axis| a.extent == 1 && a.offset == 0 && a.strides.iter().all(|&s| s == 0);
    if view.axes.iter().any(|a| !idle(a)) {
        view.axes.retain(|a| !idle(a));
    } else {
        view.axes.truncate(1);
    }
    view
}

/// Builds views over an array of shape `dims`: each loop moves along at most a few of the dimensions.
pub(crate) struct Builder {
    view: View,
}

impl Builder {
    pub(crate) fn new(dims: &[usize]) -> Builder {
        let axes = dims
            .iter()
            .map(|&d| Axis {
                extent: d as u32,
                offset: 0,
                strides: Vec::new(),
            })
            .collect();
        Builder {
            view: View {
                loops: Vec::new(),
                axes,
            },
        }
    }

    /// Adds the next inner loop; `steps` lists (dimension, stride).
    pub(crate) fn walk(mut self, len: usize, steps: &[(usize, i64)]) -> Builder {
        self.view.loops.push(len as u32);
        for (d, axis) in self.view.axes.iter_mut().enumerate() {
            axis.strides
                .push(steps.iter().filter(|s| s.0 == d).map(|s| s.1).sum());
        }
        self
    }

    /// Moves the origin along a dimension.
    pub(crate) fn offset(mut self, dim: usize, by: i64) -> Builder {
        if let Some(axis) = self.view.axes.get_mut(dim) {
            axis.offset += by;
        }
        self
    }

    /// The view; without loops it reads the first element.
    pub(crate) fn build(mut self) -> View {
        if self.view.loops.is_empty() {
            self = self.walk(1, &[]);
        }
        self.view
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(view: &View) -> Vec<Option<usize>> {
        let len = view.axes.iter().map(|a| a.extent as usize).product();
        view.indices(len).expect("a valid view")
    }

    fn check(a: &View, dims: &[usize], b: &View) -> bool {
        let (ta, tb) = (table(a), table(b));
        let want: Vec<_> = tb.iter().map(|i| i.and_then(|i| ta[i])).collect();
        match compose(a, dims, b) {
            Some(c) => {
                assert_eq!(table(&c), want, "{a:?} {b:?} {c:?}");
                true
            }
            None => false,
        }
    }

    #[test]
    fn transpose_then_patches_compose() {
        // NHWC seen as NCHW, then 3x3 patches with padding 1.
        let nchw = Builder::new(&[6, 5, 2])
            .walk(2, &[(2, 1)])
            .walk(6, &[(0, 1)])
            .walk(5, &[(1, 1)])
            .build();
        let patches = Builder::new(&[2, 6, 5]).offset(1, -1).offset(2, -1);
        let patches = patches
            .walk(6, &[(1, 1)])
            .walk(5, &[(2, 1)])
            .walk(2, &[(0, 1)])
            .walk(3, &[(1, 1)])
            .walk(3, &[(2, 1)]);
        assert!(check(&nchw, &[2, 6, 5], &patches.build()));
    }

    #[test]
    fn flattened_transpose_splits_loops() {
        // [4,3] transposed to [3,4], flattened to 12, read in order and backwards.
        let a = Builder::new(&[4, 3])
            .walk(3, &[(1, 1)])
            .walk(4, &[(0, 1)])
            .build();
        assert!(check(
            &a,
            &[12],
            &Builder::new(&[12]).walk(12, &[(0, 1)]).build()
        ));
        assert!(check(
            &a,
            &[12],
            &Builder::new(&[12])
                .offset(0, 11)
                .walk(12, &[(0, -1)])
                .build()
        ));
        // [3,4] does not split into [2,6]: no affine map, and no wrong one either.
        let b = Builder::new(&[2, 6]).walk(6, &[(1, 1)]).walk(2, &[(0, 1)]);
        check(&a, &[2, 6], &b.build());
        assert!(is_identity(
            &Builder::new(&[4, 3])
                .walk(4, &[(0, 1)])
                .walk(3, &[(1, 1)])
                .build(),
            12
        ));
        assert!(!is_identity(&a, 12));
    }

    proptest! {
        #[test]
        fn composition_is_exact(
            d in prop::array::uniform3(1usize..5),
            order in Just([0usize, 1, 2]).prop_shuffle(),
            merge in 0usize..3,
            offset in prop::array::uniform3(-2i64..3),
            stride in prop::array::uniform3(-2i64..3),
            len in prop::array::uniform3(1usize..5),
        ) {
            let mut a = Builder::new(&d);
            for &o in &order {
                a = a.walk(d[o], &[(o, 1)]);
            }
            let a = a.build();
            let p: Vec<usize> = order.iter().map(|&o| d[o]).collect();
            let dims = match merge {
                0 => p,
                1 => vec![p[0] * p[1], p[2]],
                _ => vec![p[0], p[1] * p[2]],
            };
            let mut b = Builder::new(&dims);
            for k in 0..dims.len() {
                b = b.offset(k, offset[k]).walk(len[k], &[(k, stride[k])]);
            }
            check(&a, &dims, &b.build());
            // A plain permutation always composes.
            let mut b = Builder::new(&dims);
            for k in (0..dims.len()).rev() {
                b = b.walk(dims[k], &[(k, 1)]);
            }
            prop_assert!(check(&a, &dims, &b.build()));
        }
    }
}
