//! Sums of small integers times field elements: `Σ_o coefficients[o] · W[o, row]` for every row of a matrix of weights.
//!
//! Integers are multiplied with the coefficients' plain limbs, and sums are reduced modulo `p` once per row instead of once
//! per product. Weights are shifted by their bound to be non-negative; what that adds is the same for all rows and taken off
//! at the end. [`Backend::fold`] does the work; this module has the portable one and splits work among threads.

use crate::vector::{Backend, Prime};
use ff::{Field, FromUniformBytes};
use pasta_curves::Fp;
use rayon::prelude::*;
use std::ops::Range;

/// Rows whose sums are in the first-level cache at the same time.
const BLOCK: usize = 256;
/// Points whose weights are read side by side, while a row's sum is in registers.
const STREAMS: usize = 8;
/// Products per task when threads share the work.
const TASK: usize = 1 << 16;

/// Part of a matrix of weights, `[points][stride]` row-major.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    data: &'a [i32],
    stride: usize,
    from: usize,
    rows: usize,
    bound: u32,
}

impl<'a> Weights<'a> {
    /// The rows `rows` of all points of a matrix with `stride` rows. No weight's absolute value may exceed `bound`; if one
    /// does, the result is some other element.
    ///
    /// # Panics
    /// If `rows` is not within the stride.
    pub fn new(data: &'a [i32], stride: usize, rows: Range<usize>, bound: u32) -> Weights<'a> {
        assert!(
            rows.start <= rows.end && rows.end <= stride,
            "rows beyond the matrix"
        );
        Weights {
            data,
            stride,
            from: rows.start,
            rows: rows.len(),
            // No weight is larger.
            bound: bound.min(1 << 31),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Largest absolute value, at most `2^31`.
    pub fn bound(&self) -> u32 {
        self.bound
    }

    /// The weights of a point, one per row.
    ///
    /// # Panics
    /// If there is no such point.
    #[inline(always)]
    pub fn point(&self, o: usize) -> &'a [i32] {
        let from = o * self.stride + self.from;
        &self.data[from..from + self.rows]
    }
}

/// `Σ_o coefficients[o] · W[o, row]` for every row of `data`, `[points][rows]` row-major, on this thread.
///
/// No weight's absolute value may exceed `bound`; smaller bounds are faster.
///
/// # Panics
/// If `data` does not have as many weights as rows times coefficients.
pub fn fold<B: Backend>(
    backend: B,
    data: &[i32],
    rows: usize,
    bound: u32,
    coefficients: &[Fp],
) -> Vec<Fp> {
    assert_eq!(
        data.len(),
        rows * coefficients.len(),
        "shape of the weights"
    );
    let mut out = vec![Fp::ZERO; rows];
    backend.fold(
        Weights::new(data, rows, 0..rows, bound),
        coefficients,
        &mut out,
    );
    out
}

/// [`fold`] on all threads.
///
/// # Panics
/// As [`fold`].
pub fn fold_parallel<B: Backend>(
    backend: B,
    data: &[i32],
    rows: usize,
    bound: u32,
    coefficients: &[Fp],
) -> Vec<Fp> {
    let points = coefficients.len();
    if data.len() <= TASK {
        return fold(backend, data, rows, bound, coefficients);
    }
    assert_eq!(data.len(), rows * points, "shape of the weights");
    // Many points are summed in parts if there are not enough rows for all threads.
    let height = (TASK / points)
        .clamp(BLOCK, rows.max(BLOCK))
        .next_multiple_of(BLOCK);
    let width = (TASK / height.min(rows)).max(64).min(points);
    let mut out = vec![Fp::ZERO; rows];
    out.par_chunks_mut(height).enumerate().for_each(|(i, out)| {
        let range = i * height..i * height + out.len();
        let parts: Vec<Vec<Fp>> = coefficients
            .par_chunks(width)
            .enumerate()
            .map(|(j, coefficients)| {
                let from = j * width * rows;
                let data = &data[from..from + coefficients.len() * rows];
                let mut part = vec![Fp::ZERO; range.len()];
                let weights = Weights::new(data, rows, range.clone(), bound);
                backend.fold(weights, coefficients, &mut part);
                part
            })
            .collect();
        for part in parts {
            for (o, v) in out.iter_mut().zip(part) {
                *o += v;
            }
        }
    });
    out
}

/// [`Backend::fold`] in plain Rust: 64-bit limbs, sums of 128 bits. A product has at most 96, so that they last for 2^32
/// points.
pub(crate) fn portable(weights: Weights<'_>, coefficients: &[Fp], out: &mut [Fp]) {
    let shift = weights.bound;
    let correction = coefficients.iter().sum::<Fp>() * Fp::from(u64::from(shift));
    let limbs: Vec<[u64; 4]> = coefficients.iter().map(Prime::to_limbs).collect();
    let mut sums = [[0u128; 4]; BLOCK];
    for start in (0..weights.rows).step_by(BLOCK) {
        let end = (start + BLOCK).min(weights.rows);
        let sums = &mut sums[..end - start];
        sums.fill([0; 4]);
        let mut tiles = limbs.chunks_exact(STREAMS);
        let mut o = 0;
        for tile in &mut tiles {
            let tile: &[[u64; 4]; STREAMS] = match tile.try_into() {
                Ok(tile) => tile,
                Err(_) => break,
            };
            let points: [&[i32]; STREAMS] =
                std::array::from_fn(|i| &weights.point(o + i)[start..end]);
            add(sums, points, tile, shift);
            o += STREAMS;
        }
        for limbs in tiles.remainder() {
            add(sums, [&weights.point(o)[start..end]], &[*limbs], shift);
            o += 1;
        }
        for (sum, out) in sums.iter().zip(&mut out[start..end]) {
            *out = reduce(sum) - correction;
        }
    }
}

#[inline(always)]
fn add<const N: usize>(
    sums: &mut [[u128; 4]],
    points: [&[i32]; N],
    limbs: &[[u64; 4]; N],
    shift: u32,
) {
    let rows = sums.len();
    let points: [&[i32]; N] = points.map(|p| &p[..rows]);
    for (row, sum) in sums.iter_mut().enumerate() {
        let mut s = *sum;
        for (point, limbs) in points.iter().zip(limbs) {
            let w = u128::from(point[row].wrapping_add_unsigned(shift) as u32);
            for (s, &limb) in s.iter_mut().zip(limbs) {
                *s += w * u128::from(limb);
            }
        }
        *sum = s;
    }
}

/// `Σ sums[i]·2^(64i)` modulo `p`.
fn reduce(sums: &[u128; 4]) -> Fp {
    let mut bytes = [0u8; 64];
    let mut carry = 0u128;
    for (i, to) in bytes.chunks_exact_mut(8).take(6).enumerate() {
        // Below 2^127 as long as sums are below 2^126.
        let v = carry + sums.get(i).map_or(0, |s| s & u128::from(u64::MAX));
        to.copy_from_slice(&(v as u64).to_le_bytes());
        carry = (v >> 64) + sums.get(i).map_or(0, |s| s >> 64);
    }
    Fp::from_uniform_bytes(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::Portable;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    fn plain(data: &[i32], rows: usize, coefficients: &[Fp]) -> Vec<Fp> {
        let mut out = vec![Fp::ZERO; rows];
        for (point, c) in data.chunks(rows.max(1)).zip(coefficients) {
            for (o, &w) in out.iter_mut().zip(point) {
                let v = *c * Fp::from(u64::from(w.unsigned_abs()));
                *o += if w < 0 { -v } else { v };
            }
        }
        out
    }

    fn check(data: &[i32], rows: usize, bound: u32, coefficients: &[Fp]) {
        let expected = plain(data, rows, coefficients);
        assert!(fold(Portable, data, rows, bound, coefficients) == expected);
        assert!(fold_parallel(Portable, data, rows, bound, coefficients) == expected);
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = crate::vector::Ifma::detect() {
            assert!(
                fold(ifma, data, rows, bound, coefficients) == expected,
                "{rows} {bound}"
            );
            assert!(fold_parallel(ifma, data, rows, bound, coefficients) == expected);
        }
    }

    fn weight(rng: &mut ChaCha20Rng, bound: u32) -> i32 {
        let bound = i64::from(bound);
        let v = match rng.next_u32() % 4 {
            0 => bound,
            1 => -bound,
            _ => i64::from(rng.next_u32()) % (2 * bound + 1) - bound,
        };
        v.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }

    #[test]
    fn folds_equal_the_plain_loop() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let bounds = [
            0,
            1,
            255,
            256,
            16_383,
            16_384,
            32_767,
            1 << 15,
            1 << 19,
            1 << 22,
            i32::MAX as u32,
            1 << 31,
        ];
        for bound in bounds {
            for rows in [1usize, 5, 8, 257, 300] {
                for points in [0usize, 1, 7, 8, 9, 40] {
                    let data: Vec<i32> = (0..rows * points)
                        .map(|_| weight(&mut rng, bound))
                        .collect();
                    let coefficients: Vec<Fp> = (0..points)
                        .map(|i| match i % 4 {
                            0 => -Fp::ONE,
                            1 => Fp::ZERO,
                            _ => Fp::random(&mut rng),
                        })
                        .collect();
                    check(&data, rows, bound, &coefficients);
                }
            }
        }
    }

    #[test]
    fn many_points_with_the_largest_values() {
        // 4096 products fill a 64-bit lane.
        for (bound, points) in [
            (32_767u32, 4096usize),
            (1 << 15, 9000),
            (1 << 31, 4097),
            (255, 8200),
        ] {
            let coefficients = vec![-Fp::ONE; points];
            for w in [bound as i64, -i64::from(bound)] {
                let w = w.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
                check(&vec![w; points * 9], 9, bound, &coefficients);
            }
        }
    }

    #[test]
    fn threads_split_both_sides() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        for (rows, points) in [(3, 30_000), (30_000, 3), (700, 700)] {
            let data: Vec<i32> = (0..rows * points)
                .map(|_| weight(&mut rng, 1 << 15))
                .collect();
            let coefficients: Vec<Fp> = (0..points).map(|_| Fp::random(&mut rng)).collect();
            check(&data, rows, 1 << 15, &coefficients);
        }
    }

    #[test]
    fn nothing_to_fold() {
        check(&[], 0, 5, &[Fp::ONE]);
        check(&[], 0, 0, &[]);
        check(&[], 4, 7, &[]);
    }
}
