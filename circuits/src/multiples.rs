//! Multiples of lists of field elements, which a verification spends most of its time on besides points: with the feature
//! `kernels` by `zkinfer-kernels`, eight at a time where the machine can.

use crate::F;
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
}
