//! Multiples of lists of field elements, which a verification spends most of its time on besides points: with the feature
//! `kernels` by `zkinfer-kernels`, eight at a time where the machine can.

use crate::F;
use crate::fold::small;
use ff::Field;

/// Adds `factor·values[i]` to `sums[i]`; the shorter of both lists decides.
pub(crate) fn add(sums: &mut [F], factor: F, values: &[F]) {
    let len = sums.len().min(values.len());
    let (sums, values) = (&mut sums[..len], &values[..len]);
    #[cfg(feature = "kernels")]
    zkinfer_kernels::native::detect().add_multiples(sums, factor, values);
    #[cfg(not(feature = "kernels"))]
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

/// `factor·values[i]` for all of them.
pub(crate) fn scale(values: &mut Vec<F>, factor: F) {
    let mut scaled = vec![F::ZERO; values.len()];
    add(&mut scaled, factor, values);
    *values = scaled;
}

/// Appends `factor` times each of the first `count` elements.
pub(crate) fn append(values: &mut Vec<F>, factor: F, count: usize) {
    let len = values.len();
    values.resize(len + count, F::ZERO);
    let (first, new) = values.split_at_mut(len);
    add(new, factor, first);
}

/// `base^0, …, base^(count−1)`.
pub(crate) fn powers(base: F, count: usize) -> Vec<F> {
    let mut powers = Vec::with_capacity(count);
    powers.extend((count > 0).then_some(F::ONE));
    let mut factor = base;
    while powers.len() < count {
        let more = powers.len().min(count - powers.len());
        append(&mut powers, factor, more);
        factor = factor.square();
    }
    powers
}

/// `Σ_o factors[o]·weights[o·width + i]` for every `i` below `width`; `weights` are as many rows as there are factors.
pub(crate) fn combine(factors: &[F], weights: &[i64], width: usize) -> Vec<F> {
    let rows = || factors.iter().zip(weights.chunks(width.max(1)));
    // Means, differences and what is added for rounding weigh all inputs alike, and most outputs.
    if weights.chunks(width.max(1)).all(alike) {
        let (mut total, mut weight, mut sum) = (F::ZERO, 0, F::ZERO);
        for (factor, weights) in rows() {
            if weights[0] != weight {
                total += product(weight, &std::mem::take(&mut sum));
                weight = weights[0];
            }
            sum += factor;
        }
        return vec![total + product(weight, &sum); width];
    }
    #[cfg(feature = "kernels")]
    if weights.len() >= KERNEL
        && let Some((weights, bound)) = narrow(weights)
    {
        return zkinfer_kernels::native::detect().fold(&weights, width, bound, factors);
    }
    let mut sums = vec![F::ZERO; width];
    for (factor, weights) in rows() {
        for (sum, &weight) in sums.iter_mut().zip(weights) {
            *sum += product(weight, factor);
        }
    }
    sums
}

/// `Σ_i a[i]·b[i]`; the shorter of both lists decides.
pub(crate) fn dot(a: &[F], b: &[F]) -> F {
    match a.first() {
        Some(first) if a.len() >= b.len() && alike(a) => b.iter().sum::<F>() * first,
        _ => a.iter().zip(b).map(|(a, b)| *a * b).sum(),
    }
}

/// Whether all elements are the same.
fn alike<T: PartialEq>(values: &[T]) -> bool {
    values.iter().all(|v| *v == values[0])
}

fn product(weight: i64, factor: &F) -> F {
    match weight {
        0 => F::ZERO,
        1 => *factor,
        -1 => -*factor,
        weight => small(weight) * factor,
    }
}

/// The fewest weights for which the kernel's preparations are worth it.
#[cfg(feature = "kernels")]
const KERNEL: usize = 512;

/// The same integers in half the bits, and their largest absolute value; `None` if one does not fit.
#[cfg(feature = "kernels")]
fn narrow(weights: &[i64]) -> Option<(Vec<i32>, u32)> {
    let narrow: Result<Vec<i32>, _> = weights.iter().map(|&w| i32::try_from(w)).collect();
    let narrow = narrow.ok()?;
    let bound = narrow.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
    Some((narrow, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_multiplied() {
        let base = F::from(7).invert().unwrap();
        for len in [0, 1, 2, 7, 8, 9, 31, 64, 100] {
            let naive: Vec<F> = std::iter::successors(Some(F::ONE), |p| Some(*p * base))
                .take(len)
                .collect();
            assert_eq!(powers(base, len), naive);
            let mut scaled = naive.clone();
            scale(&mut scaled, -base);
            let mut sums = naive.clone();
            add(&mut sums, base, &naive);
            for i in 0..len {
                assert_eq!(scaled[i], -naive[i] * base);
                assert_eq!(sums[i], naive[i] + naive[i] * base);
            }
            // The shorter list decides.
            let before = sums.clone();
            add(&mut sums, F::ONE, &naive[..len / 2]);
            assert_eq!(sums[len / 2..], before[len / 2..]);
            assert!((0..len / 2).all(|i| sums[i] == before[i] + naive[i]));
        }
    }

    #[test]
    fn rows_of_weights_are_combined() {
        let factors: Vec<F> = powers(F::from(7).invert().unwrap(), 9);
        let edges = [0, 1, -1, 5, i64::from(i32::MIN), i64::from(i32::MAX), -77];
        for large in [None, Some(1 << 40), Some(-(1 << 62))] {
            for (rows, width) in [(0, 3), (1, 1), (9, 0), (9, 1), (5, 17), (9, 80)] {
                let mut weights: Vec<i64> = (0..rows * width).map(|i| edges[i % 7]).collect();
                if let (Some(large), Some(last)) = (large, weights.last_mut()) {
                    *last = large;
                }
                let naive: Vec<F> = (0..width)
                    .map(|i| {
                        let terms = (0..rows).map(|o| factors[o] * small(weights[o * width + i]));
                        terms.sum()
                    })
                    .collect();
                assert_eq!(combine(&factors[..rows], &weights, width), naive);
            }
        }
        // The same weight in every column, another one in each row.
        let weights: Vec<i64> = (0..9).flat_map(|o| [o / 2 - 3; 5]).collect();
        let sum: F = (0..9).map(|o| factors[o] * small(o as i64 / 2 - 3)).sum();
        assert_eq!(combine(&factors, &weights, 5), vec![sum; 5]);
    }

    #[test]
    fn lists_are_multiplied_and_summed() {
        let (b, a) = (powers(F::from(5), 7), powers(F::from(3), 9));
        let naive = |a: &[F]| a.iter().zip(&b).map(|(a, b)| *a * b).sum::<F>();
        let same = [F::from(11); 9];
        for a in [&a[..], &a[..3], &a[..0], &same, &same[..7], &same[..2]] {
            assert_eq!(dot(a, &b), naive(a));
        }
    }

    /// Random lists against the plain sums: constant rows, runs of equal rows, all limits, lengths around the kernel's.
    #[test]
    fn random_lists_are_summed_right() {
        let mut state = 1u64;
        let mut roll = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let edges = [
            0,
            1,
            -1,
            2,
            i64::MIN,
            i64::MAX,
            i64::from(i32::MIN),
            i64::from(i32::MAX),
            i64::from(i32::MIN) - 1,
            i64::from(i32::MAX) + 1,
            511,
            -512,
            1 << 14,
            1 << 19,
            1 << 22,
        ];
        for round in 0..1000 {
            let rows = roll(40) as usize;
            let width = [0, 1, 2, 3, 7, 8, 9, 31, 64, 513, roll(80) as usize][roll(11) as usize];
            let set = 1 + roll(edges.len() as u64);
            let from = roll(edges.len() as u64);
            let mut pick = || edges[((from + roll(set)) % edges.len() as u64) as usize];
            let kind = round % 4;
            let mut weights: Vec<i64> = Vec::new();
            let mut row = vec![pick(); width];
            for _ in 0..rows {
                match kind {
                    0 => row = vec![pick(); width],
                    1 => row = (0..width).map(|_| pick()).collect(),
                    2 => {
                        let w = pick();
                        if w % 3 == 0 {
                            row = vec![w; width]
                        }
                    }
                    _ => {}
                }
                weights.extend_from_slice(&row);
            }
            if kind == 3 && !weights.is_empty() {
                *weights.last_mut().unwrap() = pick();
            }
            let mut factors = powers(F::from(7 + round).invert().unwrap(), rows);
            if round % 5 == 0 {
                factors.iter_mut().for_each(|f| *f = -F::ONE);
            }
            if round % 7 == 0 {
                factors.iter_mut().step_by(2).for_each(|f| *f = F::ZERO);
            }
            let naive: Vec<F> = (0..width)
                .map(|i| {
                    (0..rows)
                        .map(|o| factors[o] * small(weights[o * width + i]))
                        .sum()
                })
                .collect();
            assert_eq!(
                combine(&factors, &weights, width),
                naive,
                "{rows} {width} {kind}"
            );
            let other = powers(F::from(3), roll(40) as usize);
            let mut a = naive.clone();
            if round % 3 == 0 && !a.is_empty() {
                let v = a[0];
                a.iter_mut().for_each(|x| *x = v);
            }
            let plain: F = a.iter().zip(&other).map(|(a, b)| *a * b).sum();
            assert_eq!(dot(&a, &other), plain);
            let plain: F = other.iter().zip(&a).map(|(a, b)| *a * b).sum();
            assert_eq!(dot(&other, &a), plain);
        }
    }
}
