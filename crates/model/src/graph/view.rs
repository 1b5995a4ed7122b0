//! Affine index maps, seen from the two ends at which models are made: views are composed while a model is imported, and found
//! for sequences of indices while it is quantized.
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

/// An affine description of a sequence of points: `point[dim] = base[dim] + Σ_l strides[dim][l] · counter_l`.
struct Fit {
    base: Vec<i64>,
    loops: Vec<u32>,
    /// `[dim][loop]`.
    strides: Vec<Vec<i64>>,
}

/// Nested loops that visit the points (`dims` numbers each) in order, if there are such.
fn fit(points: &[i64], dims: usize) -> Option<Fit> {
    if dims == 0 || points.is_empty() || !points.len().is_multiple_of(dims) {
        return None;
    }
    let mut heads: Vec<&[i64]> = points.chunks(dims).collect();
    let base = heads[0].to_vec();
    // Innermost loop first.
    let mut found: Vec<(u32, Vec<i64>)> = Vec::new();
    while heads.len() > 1 {
        let n = heads.len();
        let stride: Vec<i64> = heads[1].iter().zip(heads[0]).map(|(a, b)| a - b).collect();
        let step =
            |a: &[i64], b: &[i64]| a.iter().zip(b).zip(&stride).all(|((a, b), s)| a - b == *s);
        let run = 1 + heads.windows(2).take_while(|w| step(w[1], w[0])).count();
        let whole = |len: usize| {
            n.is_multiple_of(len)
                && heads
                    .chunks(len)
                    .all(|c| c.windows(2).all(|w| step(w[1], w[0])))
        };
        let len = (2..=run.min(n)).rev().find(|&len| whole(len))?;
        found.push((u32::try_from(len).ok()?, stride));
        heads = heads.into_iter().step_by(len).collect();
        if found.len() > 12 {
            return None;
        }
    }
    if found.is_empty() {
        found.push((1, vec![0; dims]));
    }
    found.reverse();
    let loops = found.iter().map(|f| f.0).collect();
    let strides = (0..dims)
        .map(|d| found.iter().map(|f| f.1[d]).collect())
        .collect();
    Some(Fit {
        base,
        loops,
        strides,
    })
}

/// A view of a flat array of `extent` elements that reads `indices` in order.
pub(crate) fn fit_view(indices: &[usize], extent: usize) -> Option<View> {
    let points: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
    let mut f = fit(&points, 1)?;
    let axis = Axis {
        extent: u32::try_from(extent).ok()?,
        offset: *f.base.first()?,
        strides: f.strides.pop()?,
    };
    Some(View {
        loops: f.loops,
        axes: vec![axis],
    })
}

/// Splits a view's loops into groups, positions and inputs: the indices where positions and inputs begin.
fn split(view: &View, groups: usize, positions: usize) -> Option<(usize, usize)> {
    let boundary = |from: usize, want: usize| {
        let mut product = 1usize;
        for at in from..=view.loops.len() {
            if product == want {
                return Some(at);
            }
            product = product.checked_mul(*view.loops.get(at)? as usize)?;
        }
        None
    };
    let a = boundary(0, groups)?;
    Some((a, boundary(a, positions)?))
}

/// The patches view with its positions replaced by the positions `picked`, in order.
pub(crate) fn pick_positions(
    view: &View,
    groups: usize,
    positions: usize,
    picked: &[usize],
) -> Option<View> {
    let (a, b) = split(view, groups, positions)?;
    let radix = &view.loops[a..b];
    let dims = radix.len().max(1);
    let mut digits = Vec::with_capacity(picked.len() * dims);
    for &p in picked {
        let at = digits.len();
        digits.resize(at + dims, 0);
        let mut rest = p;
        for (d, &r) in radix.iter().enumerate().rev() {
            digits[at + d] = (rest % r as usize) as i64;
            rest /= r as usize;
        }
    }
    let f = fit(&digits, dims)?;
    let mut loops = view.loops[..a].to_vec();
    loops.extend(&f.loops);
    loops.extend(&view.loops[b..]);
    if loops.len() > 16 {
        return None;
    }
    let axes = view.axes.iter().map(|axis| {
        let old = &axis.strides[a..b];
        let combine = |new: usize| {
            old.iter()
                .enumerate()
                .map(|(d, s)| s * f.strides[d][new])
                .sum::<i64>()
        };
        let mut strides = axis.strides[..a].to_vec();
        strides.extend((0..f.loops.len()).map(combine));
        strides.extend(&axis.strides[b..]);
        let offset = axis.offset + old.iter().zip(&f.base).map(|(s, b)| s * b).sum::<i64>();
        Axis {
            extent: axis.extent,
            offset,
            strides,
        }
    });
    Some(View {
        loops,
        axes: axes.collect(),
    })
}

/// Whether these are the indices of all `len` elements in order.
pub(crate) fn in_order(indices: &[usize], len: usize) -> bool {
    indices.len() == len && indices.iter().enumerate().all(|(i, &j)| i == j)
}

#[cfg(test)]
mod tests;
