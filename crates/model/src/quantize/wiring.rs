//! Index maps: finding an affine view that reads a given sequence.

use zkinfer_circuits::program::{Axis, View};

/// An affine description of a sequence of points: `point[dim] = base[dim] + Σ_l strides[dim][l] · counter_l`.
pub(super) struct Fit {
    pub base: Vec<i64>,
    pub loops: Vec<u32>,
    /// `[dim][loop]`.
    pub strides: Vec<Vec<i64>>,
}

/// Nested loops that visit the points (`dims` numbers each) in order, if there are such.
pub(super) fn fit(points: &[i64], dims: usize) -> Option<Fit> {
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
pub(super) fn pick_positions(
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

/// True if the view reads a source of `len` elements in order, whole.
pub(super) fn is_identity(indices: &[usize], len: usize) -> bool {
    indices.len() == len && indices.iter().enumerate().all(|(i, &j)| i == j)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_become_loops() {
        let picked: Vec<usize> = vec![0, 1, 4, 5, 2, 3, 6, 7];
        let view = fit_view(&picked, 8).unwrap();
        assert_eq!(
            view.indices(8)
                .unwrap()
                .into_iter()
                .map(Option::unwrap)
                .collect::<Vec<_>>(),
            picked
        );
        assert!(fit_view(&[0, 1, 3, 7], 8).is_none());
        assert!(fit_view(&[3], 8).is_some());
    }

    #[test]
    fn positions_are_replaced() {
        // 2x2 image of one channel padded by one, 3x3 kernel: four positions; read them in reverse.
        let axis = |strides: Vec<i64>| Axis {
            extent: 2,
            offset: -1,
            strides,
        };
        let view = View {
            loops: vec![2, 2, 3, 3],
            axes: vec![axis(vec![1, 0, 1, 0]), axis(vec![0, 1, 0, 1])],
        };
        let all = view.indices(4).unwrap();
        let reversed = pick_positions(&view, 1, 4, &[3, 2, 1, 0])
            .unwrap()
            .indices(4)
            .unwrap();
        let blocks: Vec<_> = all.chunks(9).rev().flatten().copied().collect();
        assert_eq!(reversed, blocks);
    }
}
