//! Products of matrices, what linear maps come down to, of floats and of integers: `Y += W·Pᵀ`, both with contiguous rows.
//!
//! Sums are taken in an order that does not depend on the machine, and no multiplication is fused with an addition, so that
//! floats are the same everywhere; vector registers are used as wide as the machine has them (`pulp`).

// Indices into arrays of known length, see `products`.
#![allow(clippy::needless_range_loop)]

use rayon::prelude::*;
use std::ops::AddAssign;

/// Rows of `W` that stay in the second level cache while all of `P` passes by, in bytes.
const BLOCK: usize = 1 << 17;
/// Multiply-adds that are worth a task.
const TASK: usize = 1 << 16;
/// Rows of `W` and of `P` that are multiplied at once.
const ROWS: usize = 4;
const COLUMNS: usize = 2;

/// What is multiplied, and how.
pub(crate) trait Kind {
    /// Elements of `W`.
    type Weight: Copy + Sync;
    /// Elements of `P`.
    type Value: Copy + Sync;
    /// Their sums.
    type Sum: Copy;

    /// The products of some rows of both, of one length.
    fn tile<const R: usize, const C: usize>(
        weights: [&[Self::Weight]; R],
        values: [&[Self::Value]; C],
    ) -> [[Self::Sum; C]; R];
}

/// Floats, in eight partial sums.
pub(crate) struct Floats;
/// Integers of 16 bits whose sums have 32.
pub(crate) struct Narrow;
/// Integers of 32 bits whose sums have 64.
pub(crate) struct Wide;
/// Weights of 64 bits.
pub(crate) struct Widest;

/// Partial sums of floats.
const LANES: usize = 8;

impl Kind for Floats {
    type Weight = f32;
    type Value = f32;
    type Sum = f32;

    #[inline(always)]
    fn tile<const R: usize, const C: usize>(
        weights: [&[f32]; R],
        values: [&[f32]; C],
    ) -> [[f32; C]; R] {
        let mut sums = [[[0f32; LANES]; C]; R];
        let len = weights[0].len();
        let whole = len / LANES;
        let (mut w, mut v) = ([&[][..]; R], [&[][..]; C]);
        for r in 0..R {
            w[r] = &weights[r].as_chunks::<LANES>().0[..whole];
        }
        for c in 0..C {
            v[c] = &values[c].as_chunks::<LANES>().0[..whole];
        }
        for i in 0..whole {
            for r in 0..R {
                for c in 0..C {
                    for lane in 0..LANES {
                        sums[r][c][lane] += w[r][i][lane] * v[c][i][lane];
                    }
                }
            }
        }
        let mut totals = [[0f32; C]; R];
        for r in 0..R {
            for c in 0..C {
                for sum in &sums[r][c] {
                    totals[r][c] += sum;
                }
                for i in whole * LANES..len {
                    totals[r][c] += weights[r][i] * values[c][i];
                }
            }
        }
        totals
    }
}

impl Kind for Narrow {
    type Weight = i16;
    type Value = i16;
    type Sum = i32;

    // The compiler turns this into packed multiply-adds.
    #[inline(always)]
    fn tile<const R: usize, const C: usize>(
        weights: [&[i16]; R],
        values: [&[i16]; C],
    ) -> [[i32; C]; R] {
        products(weights, values, |w, v| i32::from(w) * i32::from(v))
    }
}

impl Kind for Wide {
    type Weight = i32;
    type Value = i32;
    type Sum = i64;

    #[inline(always)]
    fn tile<const R: usize, const C: usize>(
        weights: [&[i32]; R],
        values: [&[i32]; C],
    ) -> [[i64; C]; R] {
        products(weights, values, |w, v| i64::from(w) * i64::from(v))
    }
}

impl Kind for Widest {
    type Weight = i64;
    type Value = i32;
    type Sum = i64;

    #[inline(always)]
    fn tile<const R: usize, const C: usize>(
        weights: [&[i64]; R],
        values: [&[i32]; C],
    ) -> [[i64; C]; R] {
        products(weights, values, |w, v| w * i64::from(v))
    }
}

// Loops, not closures of arrays and iterators: those may be compiled on their own, without the instruction set.
#[inline(always)]
fn products<const R: usize, const C: usize, W: Copy, V: Copy, S: Copy + Default + AddAssign>(
    weights: [&[W]; R],
    values: [&[V]; C],
    product: impl Fn(W, V) -> S + Copy,
) -> [[S; C]; R] {
    let mut sums = [[S::default(); C]; R];
    for r in 0..R {
        for c in 0..C {
            let mut sum = S::default();
            for (w, v) in weights[r].iter().zip(values[c]) {
                sum += product(*w, *v);
            }
            sums[r][c] = sum;
        }
    }
    sums
}

/// The matrices of one group: `outputs` rows of weights, `positions` rows of values, all of `inputs` elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub groups: usize,
    pub outputs: usize,
    pub positions: usize,
    pub inputs: usize,
}

impl Shape {
    /// Numbers of weights, values and results; `None` beyond what a machine can count, or where a side is zero.
    pub fn lens(&self) -> Option<[usize; 3]> {
        let [a, b, n] =
            [self.outputs, self.positions, self.inputs].map(|l| self.groups.checked_mul(l));
        let lens = [
            a?.checked_mul(self.inputs)?,
            b?.checked_mul(self.inputs)?,
            a?.checked_mul(self.positions)?,
        ];
        (n? > 0 && lens[2] > 0).then_some(lens)
    }
}

/// Adds to every `y[group][output][position]` the product of its rows; `None` if lengths do not fit.
pub(crate) fn multiply<K: Kind, Y: Send>(
    shape: Shape,
    weights: &[K::Weight],
    values: &[K::Value],
    y: &mut [Y],
    add: impl Fn(&mut Y, K::Sum) + Sync,
) -> Option<()> {
    if shape.lens()? != [weights.len(), values.len(), y.len()] {
        return None;
    }
    let Shape {
        outputs,
        positions,
        inputs,
        ..
    } = shape;
    let arch = pulp::Arch::new();
    let rows = (BLOCK / (inputs * size_of::<K::Weight>()))
        .clamp(1, outputs)
        .next_multiple_of(ROWS);
    let group = |(group, y): (usize, &mut [Y])| {
        let weights = &weights[group * outputs * inputs..][..outputs * inputs];
        let values = &values[group * positions * inputs..][..positions * inputs];
        // Narrower blocks where there are too few for all threads.
        let least = (TASK / (positions * inputs).max(1))
            .max(1)
            .next_multiple_of(ROWS);
        let share = outputs
            .div_ceil(rayon::current_num_threads())
            .next_multiple_of(ROWS);
        let rows = rows.min(share).max(least.min(rows));
        let blocks = y
            .par_chunks_mut(rows * positions)
            .zip(weights.par_chunks(rows * inputs));
        blocks.for_each(|(y, weights)| {
            arch.dispatch(Block::<K, Y, _> {
                weights,
                values,
                positions,
                inputs,
                y,
                add: &add,
            });
        });
    };
    let work = outputs * positions * inputs;
    let groups = y.par_chunks_mut(outputs * positions).enumerate();
    groups
        .with_min_len((TASK / work.max(1)).max(1))
        .for_each(group);
    Some(())
}

/// The products of a block of rows with all columns. A structure and no closure: `pulp` enters that with the instruction set.
struct Block<'a, K: Kind, Y, A> {
    weights: &'a [K::Weight],
    values: &'a [K::Value],
    positions: usize,
    inputs: usize,
    y: &'a mut [Y],
    add: &'a A,
}

impl<K: Kind, Y, A: Fn(&mut Y, K::Sum)> pulp::NullaryFnOnce for Block<'_, K, Y, A> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Block {
            weights,
            values,
            positions,
            inputs,
            y,
            add,
        } = self;
        let mut column = 0;
        while column < positions {
            let pair = column + COLUMNS <= positions;
            let mut rest = weights;
            let mut row = 0;
            while !rest.is_empty() {
                let mut put = |r: usize, c: usize, sum: K::Sum| {
                    add(&mut y[(row + r) * positions + column + c], sum)
                };
                let four = rest.len() >= ROWS * inputs;
                match (four, pair) {
                    (true, true) => {
                        tile::<K, ROWS, COLUMNS>(rest, &values[column * inputs..], inputs, &mut put)
                    }
                    (true, false) => {
                        tile::<K, ROWS, 1>(rest, &values[column * inputs..], inputs, &mut put)
                    }
                    (false, true) => {
                        tile::<K, 1, COLUMNS>(rest, &values[column * inputs..], inputs, &mut put)
                    }
                    (false, false) => {
                        tile::<K, 1, 1>(rest, &values[column * inputs..], inputs, &mut put)
                    }
                }
                let taken = if four { ROWS } else { 1 };
                rest = &rest[taken * inputs..];
                row += taken;
            }
            column += if pair { COLUMNS } else { 1 };
        }
    }
}

#[inline(always)]
fn tile<K: Kind, const R: usize, const C: usize>(
    weights: &[K::Weight],
    values: &[K::Value],
    inputs: usize,
    put: &mut impl FnMut(usize, usize, K::Sum),
) {
    let (mut w, mut v) = ([&[][..]; R], [&[][..]; C]);
    for r in 0..R {
        w[r] = &weights[r * inputs..][..inputs];
    }
    for c in 0..C {
        v[c] = &values[c * inputs..][..inputs];
    }
    let sums = K::tile(w, v);
    for r in 0..R {
        for c in 0..C {
            put(r, c, sums[r][c]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One element after the other.
    fn by_definition(shape: Shape, weights: &[i64], values: &[i64]) -> Vec<i64> {
        let Shape {
            groups,
            outputs,
            positions,
            inputs,
        } = shape;
        let mut y = Vec::new();
        for row in 0..groups * outputs {
            for p in 0..positions {
                let column = row / outputs * positions + p;
                let products =
                    (0..inputs).map(|i| weights[row * inputs + i] * values[column * inputs + i]);
                y.push(products.sum());
            }
        }
        y
    }

    /// A shape, and integers of some bits for it.
    fn case(bits: u32) -> impl Strategy<Value = (Shape, Vec<i64>, Vec<i64>)> {
        let shape = (1usize..4, 1usize..11, 1usize..6, 1usize..70);
        shape.prop_flat_map(move |(groups, outputs, positions, inputs)| {
            let shape = Shape {
                groups,
                outputs,
                positions,
                inputs,
            };
            let [weights, values, _] = shape.lens().unwrap();
            let integers = move |len| prop::collection::vec(-(1i64 << bits)..1 << bits, len);
            (Just(shape), integers(weights), integers(values))
        })
    }

    fn result<K: Kind>(shape: Shape, weights: &[K::Weight], values: &[K::Value]) -> Vec<i64>
    where
        K::Sum: Into<f64>,
    {
        // What is there already stays.
        let mut y = vec![7i64; shape.lens().unwrap()[2]];
        let add = |y: &mut i64, sum: K::Sum| *y += sum.into() as i64;
        multiply::<K, i64>(shape, weights, values, &mut y, add).unwrap();
        y.iter().map(|y| y - 7).collect()
    }

    proptest! {
        #[test]
        fn floats_are_multiplied((shape, weights, values) in case(8)) {
            let floats = |v: &[i64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
            let found = result::<Floats>(shape, &floats(&weights), &floats(&values));
            prop_assert_eq!(found, by_definition(shape, &weights, &values));
        }

        #[test]
        fn integers_are_multiplied((shape, weights, values) in case(12)) {
            let wanted = by_definition(shape, &weights, &values);
            let narrow = |v: &[i64]| v.iter().map(|&v| v as i16).collect::<Vec<i16>>();
            prop_assert_eq!(&result::<Narrow>(shape, &narrow(&weights), &narrow(&values)), &wanted);
            let wide = |v: &[i64]| v.iter().map(|&v| v as i32).collect::<Vec<i32>>();
            let mut y = vec![0i64; wanted.len()];
            multiply::<Wide, i64>(shape, &wide(&weights), &wide(&values), &mut y, |y, s| *y += s).unwrap();
            prop_assert_eq!(&y, &wanted);
            let mut y = vec![0i64; wanted.len()];
            multiply::<Widest, i64>(shape, &weights, &wide(&values), &mut y, |y, s| *y += s).unwrap();
            prop_assert_eq!(&y, &wanted);
        }
    }

    /// The largest that their sums may be.
    #[test]
    fn integers_are_not_cut() {
        let shape = Shape {
            groups: 1,
            outputs: 1,
            positions: 1,
            inputs: 2,
        };
        let mut y = vec![0i64];
        multiply::<Narrow, i64>(shape, &[-32768, 3], &[32767, 9], &mut y, |y, s| {
            *y += i64::from(s)
        })
        .unwrap();
        assert_eq!(y, [-32768 * 32767 + 27]);
        let mut y = vec![0i64];
        multiply::<Wide, i64>(shape, &[i32::MIN, 1], &[i32::MAX, 1], &mut y, |y, s| {
            *y += s
        })
        .unwrap();
        assert_eq!(y, [i64::from(i32::MIN) * i64::from(i32::MAX) + 1]);
    }

    /// Blocks of rows do not show.
    #[test]
    fn large_matrices_are_multiplied() {
        let shape = Shape {
            groups: 2,
            outputs: 75,
            positions: 33,
            inputs: 2049,
        };
        let [weights, values, _] = shape.lens().unwrap();
        let integers = |len: usize, by: u64| -> Vec<i64> {
            (0..len as u64)
                .map(|i| (i.wrapping_mul(by) >> 52) as i64 - 2048)
                .collect()
        };
        let (weights, values) = (
            integers(weights, 0x9e37_79b9_7f4a_7c15),
            integers(values, 0xd1b5_4a32_d192_ed03),
        );
        let wide = |v: &[i64]| v.iter().map(|&v| v as i32).collect::<Vec<i32>>();
        let wanted = by_definition(shape, &weights, &values);
        let mut y = vec![0i64; wanted.len()];
        multiply::<Wide, i64>(shape, &wide(&weights), &wide(&values), &mut y, |y, s| {
            *y += s
        })
        .unwrap();
        assert_eq!(y, wanted);
    }

    #[test]
    fn lengths_have_to_fit() {
        let shape = Shape {
            groups: 1,
            outputs: 2,
            positions: 1,
            inputs: 3,
        };
        let run = |shape, weights: &[f32]| {
            multiply::<Floats, f32>(shape, weights, &[1.0; 3], &mut [0.0; 2], |y, s| *y += s)
        };
        assert!(run(shape, &[1.0; 6]).is_some());
        assert!(run(shape, &[1.0; 5]).is_none());
        assert!(run(Shape { inputs: 0, ..shape }, &[]).is_none());
        assert!(
            run(
                Shape {
                    inputs: usize::MAX,
                    ..shape
                },
                &[1.0; 6]
            )
            .is_none()
        );
    }
}
