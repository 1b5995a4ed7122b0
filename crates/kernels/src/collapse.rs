//! Collapse of generators for the inner-product argument: many sums of few points, all with the same scalars.
//!
//! `out[i] = Σ_t scalars[t] · points[i + t·n]` for `n = points.len() / scalars.len()`. The scalars are recoded once, as
//! signed halves by the endomorphism in non-adjacent form. All sums share one schedule (Straus): for every bit one doubling,
//! and the addition of the odd multiples that have a digit there. Every step is one batch over all sums.

use crate::curve::{Adder, NEGATIVE, PointOf, copy_listed, endomorphism_into, identity, pad_pairs};
use crate::msm::{Short, shorten};
use crate::vector::{Backend, Kernel, Vector};
use pasta_curves::Fp;
use rayon::prelude::*;

/// Width of the non-adjacent form: digits are odd, below `2^(WIDTH − 1)` in magnitude, with `WIDTH − 1` zeros in between.
const WIDTH: u32 = 5;
/// Additions that share an inversion, about.
const BATCH: usize = 4096;
/// Sums worth a task of their own.
const TASK: usize = 64;
/// Sums at a time, which bounds the tables' memory; fewer would share an inversion less.
const BLOCK: usize = 1024;

/// `Σ_t scalars[t] · points[i + t·n]` for all `i < n = points.len() / scalars.len()`, on the calling thread.
///
/// Panics unless `scalars.len()` divides `points.len()`, and where there are no scalars. The time depends on the scalars.
pub fn collapse<B: Backend>(backend: B, points: &[PointOf<B>], scalars: &[Fp]) -> Vec<PointOf<B>> {
    let n = columns(points.len(), scalars.len());
    let schedule = Schedule::new(scalars);
    backend.run(Block {
        points,
        n,
        from: 0,
        to: n,
        schedule: &schedule,
    })
}

/// [`collapse`] on all threads of the current rayon pool.
///
/// Panics as [`collapse`] does.
pub fn collapse_parallel<B: Backend>(
    backend: B,
    points: &[PointOf<B>],
    scalars: &[Fp],
) -> Vec<PointOf<B>> {
    let n = columns(points.len(), scalars.len());
    let schedule = Schedule::new(scalars);
    let size = n
        .div_ceil(rayon::current_num_threads())
        .next_multiple_of(B::Base::LANES)
        .max(TASK);
    let blocks: Vec<Vec<PointOf<B>>> = (0..n.div_ceil(size))
        .into_par_iter()
        .map(|block| {
            backend.run(Block {
                points,
                n,
                from: block * size,
                to: ((block + 1) * size).min(n),
                schedule: &schedule,
            })
        })
        .collect();
    blocks.concat()
}

fn columns(points: usize, scalars: usize) -> usize {
    assert!(scalars > 0, "a collapse needs scalars");
    assert_eq!(points % scalars, 0, "as many points for every scalar");
    points / scalars
}

/// Odd multiple `2·entry + 1` of a row of points, or of their images under the endomorphism.
#[derive(Clone, Copy, Debug)]
struct Digit {
    slot: u32,
    entry: u32,
    image: bool,
    negative: bool,
}

/// What to add when; the same for all sums.
#[derive(Debug)]
struct Schedule {
    /// Which points, first those with tables.
    slots: Vec<usize>,
    /// How many of them have tables.
    tables: usize,
    /// Entries of a table.
    entries: usize,
    /// For every bit.
    digits: Vec<Vec<Digit>>,
}

impl Schedule {
    fn new(scalars: &[Fp]) -> Self {
        // Scalars without further odd multiples or images need no table.
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for (t, scalar) in scalars.iter().enumerate() {
            let parts = match shorten(scalar) {
                Short::Whole(_, 0) => continue,
                Short::Whole(sign, m) => [(sign, wnaf(m)), (false, Vec::new())],
                Short::Halves(halves) => halves.map(|(sign, m)| (sign, wnaf(m))),
            };
            let plain = parts[1].1.is_empty() && parts[0].1.iter().all(|&d| d.abs() <= 1);
            if plain { &mut without } else { &mut with }.push((t, parts));
        }
        let mut out = Schedule {
            slots: Vec::new(),
            tables: with.len(),
            entries: 1,
            digits: Vec::new(),
        };
        for (slot, (t, parts)) in with.into_iter().chain(without).enumerate() {
            out.slots.push(t);
            for (half, (sign, digits)) in parts.into_iter().enumerate() {
                for (bit, digit) in digits.into_iter().enumerate() {
                    if digit == 0 {
                        continue;
                    }
                    if out.digits.len() <= bit {
                        out.digits.resize(bit + 1, Vec::new());
                    }
                    let entry = u32::from(digit.unsigned_abs() / 2);
                    out.entries = out.entries.max(entry as usize + 1);
                    out.digits[bit].push(Digit {
                        slot: slot as u32,
                        entry,
                        image: half == 1,
                        negative: sign != (digit < 0),
                    });
                }
            }
        }
        out
    }
}

/// The non-adjacent form of an integer below `2^127`, lowest digit first.
fn wnaf(mut v: u128) -> Vec<i8> {
    let mut out = Vec::new();
    while v != 0 {
        let mut digit = 0i8;
        if v & 1 == 1 {
            let low = (v & ((1 << WIDTH) - 1)) as i8;
            if low < 1 << (WIDTH - 1) {
                digit = low;
                v -= low as u128;
            } else {
                digit = low - (1 << WIDTH);
                v += u128::from(digit.unsigned_abs());
            }
        }
        out.push(digit);
        v >>= 1;
    }
    out
}

/// Sums `from..to`.
struct Block<'a, B: Backend> {
    points: &'a [PointOf<B>],
    n: usize,
    from: usize,
    to: usize,
    schedule: &'a Schedule,
}

impl<B: Backend> Kernel<B> for Block<'_, B> {
    type Output = Vec<PointOf<B>>;
    #[inline(always)]
    fn run(self) -> Vec<PointOf<B>> {
        let mut out = Vec::with_capacity((self.to - self.from).next_multiple_of(B::Base::LANES));
        let (mut adder, mut all) = (Adder::new(), Vec::new());
        for from in (self.from..self.to).step_by(BLOCK) {
            let to = (from + BLOCK).min(self.to);
            self.block(from, to, &mut adder, &mut all, &mut out);
        }
        out
    }
}

impl<B: Backend> Block<'_, B> {
    /// Appends sums `from..to`. `all` is scratch.
    #[inline(always)]
    fn block(
        &self,
        from: usize,
        to: usize,
        adder: &mut Adder<B>,
        all: &mut Vec<PointOf<B>>,
        out: &mut Vec<PointOf<B>>,
    ) {
        let schedule = self.schedule;
        let lanes = B::Base::LANES;
        let zero = identity::<B>();
        let m = to - from;
        let first = out.len();
        if m == 0 || schedule.digits.is_empty() {
            out.resize(first + m, zero);
            return;
        }

        // Rows of `m` points: all slots, then the further entries of the tables, then the images of all entries, then
        // sums of rows.
        let (slots, tables) = (schedule.slots.len() * m, schedule.tables * m);
        let rows = slots + tables * (2 * schedule.entries - 1);
        let positions = (BATCH / m).max(1);
        all.clear();
        all.reserve(rows + 2 * BATCH.max(m) + lanes);
        for t in &schedule.slots {
            let start = t * self.n;
            all.extend_from_slice(&self.points[start + from..start + to]);
        }
        adder.set_dirty(all.contains(&zero));
        let entry = |e: usize| if e == 0 { 0 } else { slots + (e - 1) * tables };
        if tables > 0 {
            let mut double = all[..tables].to_vec();
            adder.double_rows(&mut double);
            for e in 1..schedule.entries {
                let (from, to) = (entry(e - 1), entry(e));
                all.extend_from_within(from..from + tables);
                adder.add_rows(&mut all[to..to + tables], &double, false);
            }
            all.resize(rows, zero);
            let (points, images) = all.split_at_mut(slots + (schedule.entries - 1) * tables);
            for (e, images) in images.chunks_exact_mut(tables).enumerate() {
                endomorphism_into::<B>(&points[entry(e)..entry(e) + tables], images);
            }
        }
        let images = slots + (schedule.entries - 1) * tables;
        let row = |digit: &Digit| {
            let (e, slot) = (digit.entry as usize, digit.slot as usize);
            let start = slot * m
                + if digit.image {
                    images + e * tables
                } else {
                    entry(e)
                };
            start as u32 | if digit.negative { NEGATIVE } else { 0 }
        };

        out.resize(first + m.next_multiple_of(lanes), zero);
        let sums = &mut out[first..];
        let mut started = false;
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for bits in schedule.digits.rchunks(positions) {
            // The sum of the rows of every bit, by pairs; the bits of a chunk share inversions.
            let mut lists: Vec<Vec<u32>> = bits
                .iter()
                .map(|digits| digits.iter().map(row).collect())
                .collect();
            let mut used = rows;
            while lists.iter().any(|list| list.len() > 1) {
                a.clear();
                b.clear();
                for list in &mut lists {
                    let next = list
                        .chunks(2)
                        .map(|pair| {
                            if let [x, y] = *pair {
                                let at = used + a.len();
                                a.extend(x..x + m as u32);
                                b.extend(y..y + m as u32);
                                at as u32
                            } else {
                                pair[0]
                            }
                        })
                        .collect();
                    *list = next;
                }
                let pairs = pad_pairs::<B>(&mut a, &mut b);
                if all.len() < used + a.len() {
                    all.resize(used + a.len(), zero);
                }
                let (points, out) = all.split_at_mut(used);
                adder.add_listed::<true>(points, &a, &b, out);
                used += pairs;
            }
            for list in lists.iter().rev() {
                if started {
                    adder.double_rows(&mut sums[..m]);
                }
                let Some(&at) = list.first() else { continue };
                let start = (at & !NEGATIVE) as usize;
                if started {
                    let negative = at & NEGATIVE != 0;
                    adder.add_rows(&mut sums[..m], &all[start..start + m], negative);
                } else {
                    a.clear();
                    a.extend(at..at + m as u32);
                    copy_listed::<B>(all, &mut a, sums);
                    started = true;
                }
            }
        }
        out.truncate(first + m);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{pack_points, unpack_points};
    use crate::vector::{Checked, Portable};
    use ff::{Field, WithSmallOrderMulGroup};
    use group::{CurveAffine as _, Group};
    use pasta_curves::arithmetic::CurveExt;
    use pasta_curves::{Eq, EqAffine};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    struct PackAll<'a>(&'a [EqAffine]);
    impl<B: Backend> Kernel<B> for PackAll<'_> {
        type Output = Vec<PointOf<B>>;
        fn run(self) -> Vec<PointOf<B>> {
            pack_points::<B>(self.0)
        }
    }
    struct UnpackAll<'a, B: Backend>(&'a [PointOf<B>]);
    impl<B: Backend> Kernel<B> for UnpackAll<'_, B> {
        type Output = Vec<EqAffine>;
        fn run(self) -> Vec<EqAffine> {
            let at: Vec<u32> = (0..self.0.len() as u32).collect();
            unpack_points::<B>(self.0, &at)
        }
    }

    fn check<B: Backend>(backend: B, points: &[EqAffine], scalars: &[Fp]) {
        let n = points.len() / scalars.len();
        let want: Vec<Eq> = (0..n)
            .map(|i| {
                scalars
                    .iter()
                    .enumerate()
                    .map(|(t, s)| points[i + t * n] * s)
                    .sum()
            })
            .collect();
        let packed = backend.run(PackAll(points));
        let got = collapse(backend, &packed, scalars);
        let got: Vec<Eq> = backend
            .run(UnpackAll::<B>(&got))
            .iter()
            .map(Eq::from)
            .collect();
        assert_eq!(got, want);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        let got = pool.install(|| collapse_parallel(backend, &packed, scalars));
        let got: Vec<Eq> = backend
            .run(UnpackAll::<B>(&got))
            .iter()
            .map(Eq::from)
            .collect();
        assert_eq!(got, want);
    }

    fn everything<B: Backend>(backend: B) {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let points: Vec<Eq> = (0..512).map(|_| Eq::random(&mut rng)).collect();
        let mut fresh = vec![EqAffine::identity(); points.len()];
        Eq::batch_normalize_vartime(&points, &mut fresh);
        for (n, t) in [
            (0, 2),
            (1, 1),
            (1, 2),
            (1, 16),
            (7, 4),
            (16, 16),
            (100, 4),
            (200, 2),
        ] {
            let mut scalars: Vec<Fp> = (0..t).map(|_| Fp::random(&mut rng)).collect();
            check(backend, &fresh[..n * t], &scalars);
            scalars[0] = Fp::ONE;
            check(backend, &fresh[..n * t], &scalars);
        }
        let full = Fp::random(&mut rng);
        let two = Fp::from(2);
        for scalars in [
            [Fp::ZERO; 4],
            [Fp::ONE; 4],
            [Fp::ONE, -Fp::ONE, Fp::ZERO, Fp::ONE],
            [full; 4],
            [full, -full, two, -two],
            [Fp::ZETA, Fp::ZETA.square(), -Fp::ZETA, Fp::ONE],
            [two.pow([126]), -two.pow([127]), Fp::from(3), Fp::from(17)],
        ] {
            check(backend, &fresh[..40], &scalars);
            // Duplicates, opposites, identities, everything equal.
            let mut bad = fresh[..40].to_vec();
            for i in 0..5 {
                bad[10 + i] = bad[i];
                bad[20 + i] = -bad[i];
                bad[35 + i] = EqAffine::identity();
            }
            bad[6] = EqAffine::identity();
            check(backend, &bad, &scalars);
            check(backend, &[fresh[0]; 40], &scalars);
            check(backend, &[EqAffine::identity(); 40], &scalars);
        }
    }

    #[test]
    fn portable() {
        everything(Portable);
    }

    #[test]
    fn checked() {
        everything(Checked);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn ifma() {
        if let Some(backend) = crate::vector::Ifma::detect() {
            everything(backend);
        }
    }
}
