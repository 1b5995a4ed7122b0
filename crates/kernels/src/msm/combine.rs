//! `Σ 2^bit · point` for each job: doublings, the jobs in lanes.

use super::sums::BitSum;
use crate::curve::{PointOf, identity, unpack_points};
use crate::vector::{Backend, Kernel, Vector};
use ff::Field;
use group::Group;
use pasta_curves::arithmetic::CurveExt;
use pasta_curves::{Eq, Fq};

/// Three times the curve's constant.
const B3: u64 = 15;
/// Upper bound of `LANES`.
const MAX_LANES: usize = 8;

/// The sums of jobs `0..jobs`.
pub struct Combine<B: Backend> {
    /// In any order.
    pub sums: Vec<BitSum<B>>,
    /// Number of jobs.
    pub jobs: usize,
}

impl<B: Backend> Kernel<B> for Combine<B> {
    type Output = Vec<Eq>;
    #[inline(always)]
    fn run(self) -> Vec<Eq> {
        let Combine { mut sums, jobs } = self;
        let zero = identity::<B>();
        sums.retain(|sum| sum.point != zero);
        sums.sort_unstable_by_key(|sum| (sum.job, std::cmp::Reverse(sum.bit)));
        let points: Vec<PointOf<B>> = sums.iter().map(|sum| sum.point).collect();
        let mut out = vec![Eq::identity(); jobs];
        // Each job's part of `sums`.
        let mut parts: Vec<(usize, usize)> = Vec::new();
        let mut from = 0;
        for part in sums.chunk_by(|a, b| a.job == b.job) {
            parts.push((from, from + part.len()));
            from += part.len();
        }
        for some in parts.chunks(B::Base::LANES) {
            // In lanes, the formulas cost as much as about two jobs do one by one.
            if some.len() > 2 && B::Base::LANES > 1 {
                let totals = in_lanes::<B>(&sums, &points, some);
                for (&(from, _), total) in some.iter().zip(totals) {
                    out[sums[from].job as usize] = total;
                }
            } else {
                for &(from, to) in some {
                    let total = alone(&sums[from..to], &points[from..to]);
                    out[sums[from].job as usize] = total;
                }
            }
        }
        out
    }
}

/// One job; bits descend.
#[inline(always)]
fn alone<B: Backend>(sums: &[BitSum<B>], points: &[PointOf<B>]) -> Eq {
    let at: Vec<u32> = (0..sums.len() as u32).collect();
    let mut total = Eq::identity();
    let mut bit = 0;
    for (sum, point) in sums.iter().zip(unpack_points::<B>(points, &at)) {
        for _ in sum.bit..bit {
            total = total.double();
        }
        bit = sum.bit;
        total += point;
    }
    for _ in 0..bit {
        total = total.double();
    }
    total
}

/// A point `(X : Y : Z)` in every lane, with bounds 4.
#[derive(Clone, Copy)]
struct Projective<V>([V; 3]);

/// Up to `LANES` jobs.
///
/// The formulas are complete (Renes, Costello, Batina: Complete addition formulas for prime order elliptic curves,
/// <https://eprint.iacr.org/2015/1060>, algorithms 8 and 9), so that no lane needs care.
#[inline(always)]
fn in_lanes<B: Backend>(
    sums: &[BitSum<B>],
    points: &[PointOf<B>],
    parts: &[(usize, usize)],
) -> [Eq; MAX_LANES] {
    let lanes = B::Base::LANES;
    let b3 = B::Base::splat(Fq::from(B3));
    let one = B::Base::splat(Fq::ONE);
    let mut total = Projective([B::Base::zero(), one, B::Base::zero()]);
    let mut next: [usize; MAX_LANES] = std::array::from_fn(|i| parts.get(i).map_or(0, |p| p.0));
    let top = parts.iter().map(|&(from, _)| sums[from].bit).max();
    for bit in (0..=top.unwrap_or(0)).rev() {
        if Some(bit) != top {
            total = double(total, b3);
        }
        loop {
            let (mut at, mut mask) = ([0u32; MAX_LANES], 0);
            for (lane, &(_, to)) in parts.iter().enumerate() {
                if next[lane] < to && sums[next[lane]].bit == bit {
                    at[lane] = next[lane] as u32;
                    next[lane] += 1;
                    mask |= 1 << lane;
                }
            }
            if mask == 0 {
                break;
            }
            let sum = add_affine(total, B::Base::gather(points, &at[..lanes]), b3);
            for i in 0..3 {
                total.0[i] = total.0[i].select(sum.0[i], mask);
            }
        }
    }
    let mut coordinates = [[Fq::ZERO; MAX_LANES]; 3];
    for (from, to) in total.0.iter().zip(&mut coordinates) {
        from.store(&mut to[..lanes]);
    }
    let [x, y, z] = coordinates;
    std::array::from_fn(|i| {
        // `z = 0` is the identity for this constructor, too; other points are on the curve.
        let point = Eq::new_jacobian(x[i] * z[i], y[i] * z[i].square(), z[i]);
        Option::from(point).unwrap_or_else(Eq::identity)
    })
}

#[inline(always)]
fn double<V: Vector<Fq>>(Projective([x, y, z]): Projective<V>, b3: V) -> Projective<V> {
    let y2 = y.square();
    let two = y2.add(y2);
    let four = two.add(two);
    let eight = four.add(four);
    let b3z2 = z.square().mul(b3);
    let xy = x.mul(y);
    let yz = y.mul(z);
    let w = y2.sub::<6>(b3z2.add(b3z2).add(b3z2));
    let x3 = w.mul(xy);
    Projective([
        x3.add(x3),
        w.mul(y2.add(b3z2)).add(b3z2.mul(eight)),
        yz.mul(eight),
    ])
}

#[inline(always)]
fn add_affine<V: Vector<Fq>>(
    Projective([x1, y1, z1]): Projective<V>,
    (x2, y2): (V, V),
    b3: V,
) -> Projective<V> {
    let xx = x1.mul(x2);
    let yy = y1.mul(y2);
    let cross = x1.add(y1).mul(x2.add(y2)).sub::<4>(xx.add(yy));
    let yz = y2.mul(z1).add(y1);
    let xz = x2.mul(z1).add(x1).mul(b3);
    let xx3 = xx.add(xx).add(xx);
    let bz = z1.mul(b3);
    let (plus, minus) = (yy.add(bz), yy.sub::<2>(bz));
    Projective([
        cross.mul(minus).sub::<2>(yz.mul(xz)),
        minus.mul(plus).add(xz.mul(xx3)),
        plus.mul(yz).add(xx3.mul(cross)),
    ])
}
