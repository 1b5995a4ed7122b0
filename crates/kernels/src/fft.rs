//! Transforms between coefficients and values, over vectors.
//!
//! # Layouts
//!
//! With `n = 2^k` elements in `m = n / LANES` vectors:
//!
//! * coefficients are *contiguous*: coefficient `i` is in vector `i / LANES`, lane `i mod LANES`;
//! * values are *lane-major*: the value at `g·ω^i` is in vector `i mod m`, lane `i / m`, so that the value of the next row is
//!   in the next vector, and only the last vector's neighbour needs its lanes rotated.
//!
//! # Algorithm
//!
//! A polynomial modulo `X^(2h) − s²` is reduced modulo `X^h − s` and `X^h + s`, from `X^n − g^n` down to `X − g·ω^i`
//! (Fiduccia 1972). Each block needs one twiddle, and a coset costs nothing: its shift is in the twiddles. Values come out
//! in bit-reversed order; the last `log LANES` levels work inside of vectors and are done between transposed ones, whose
//! final permutation yields the lane-major layout for free.

use crate::vector::{Backend, Kernel, Vector};
use ff::{Field, PrimeField};
use pasta_curves::Fp;

/// Sizes of a transform and the root of unity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    k: u32,
    omega: Fp,
}

impl Domain {
    /// The subgroup of order `2^k`; `None` if the field has none.
    pub fn new(k: u32) -> Option<Domain> {
        let mut omega = Fp::ROOT_OF_UNITY;
        for _ in k..Fp::S {
            omega = omega.square();
        }
        (k <= Fp::S).then_some(Domain { k, omega })
    }

    /// `log2` of the size.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// Number of elements.
    pub fn n(&self) -> usize {
        1 << self.k
    }

    /// A primitive `n`-th root of unity, the one that `halo2_proofs` uses.
    pub fn omega(&self) -> Fp {
        self.omega
    }

    /// Whether vectors of this backend can transform it: it takes `LANES²` elements at least.
    pub fn suits<B: Backend>(&self) -> bool {
        self.n() >= B::Scalar::LANES * B::Scalar::LANES
    }

    /// Number of vectors.
    pub fn vectors<B: Backend>(&self) -> usize {
        self.n() / B::Scalar::LANES
    }
}

/// The lowest `bits` bits of `i`, reversed.
fn reverse(i: usize, bits: u32) -> usize {
    if bits == 0 {
        0
    } else {
        i.reverse_bits() >> (usize::BITS - bits)
    }
}

/// The elements of one level's blocks, as twiddles. See the module documentation.
struct Twiddles<V> {
    /// Between vectors: level `j` has `2^j`, levels follow one another.
    across: Vec<V>,
    /// Inside of vectors: `LANES − 1` per chunk of `LANES` blocks; lane `l` belongs to block `l` of the chunk.
    within: Vec<V>,
}

/// Builds twiddles for the coset of `shift`, or with both elements inverted the inverse ones.
struct Build {
    domain: Domain,
    shift: Fp,
    omega: Fp,
}

impl<B: Backend> Kernel<B> for Build {
    type Output = Twiddles<B::Scalar>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let lanes = B::Scalar::LANES;
        let (n, k) = (self.domain.n(), self.domain.k);
        let log_lanes = lanes.trailing_zeros();
        // ω^reverse(t) for t < n/2, shared by all levels; level j multiplies it by g^(n/2^(j+1)).
        let mut powers = vec![Fp::ONE; (n / 2).max(1)];
        let mut power = Fp::ONE;
        for i in 0..n / 2 {
            powers[reverse(i, k - 1)] = power;
            power *= self.omega;
        }
        let mut shifts = vec![Fp::ONE; k as usize];
        let mut s = self.shift;
        for level in shifts.iter_mut().rev() {
            *level = s;
            s = s.square();
        }
        let levels = (k - log_lanes) as usize;
        let mut across = Vec::with_capacity(n / lanes);
        for (j, shift) in shifts[..levels].iter().enumerate() {
            across.extend(
                powers[..1 << j]
                    .iter()
                    .map(|p| B::Scalar::splat(*shift * p)),
            );
        }
        let mut within = Vec::with_capacity(n / lanes);
        for chunk in (0..n / lanes).step_by(lanes) {
            for (j, shift) in shifts[levels..].iter().enumerate() {
                for block in 0..1 << j {
                    within.push(B::Scalar::from_fn(|l| {
                        *shift * powers[((chunk + l) << j) + block]
                    }));
                }
            }
        }
        Twiddles { across, within }
    }
}

/// Evaluation on a coset `g·⟨ω⟩`.
pub struct Evaluate<B: Backend> {
    domain: Domain,
    backend: B,
    twiddles: Twiddles<B::Scalar>,
}

impl<B: Backend> Evaluate<B> {
    /// Prepares the twiddles: `O(n)` multiplications, about `2n` elements of memory.
    ///
    /// # Panics
    /// If the domain does not [suit](Domain::suits) the backend.
    pub fn new(backend: B, domain: Domain, shift: Fp) -> Self {
        assert!(
            domain.suits::<B>(),
            "the domain is too small for the vectors"
        );
        let twiddles = backend.run(Build {
            domain,
            shift,
            omega: domain.omega,
        });
        Evaluate {
            domain,
            backend,
            twiddles,
        }
    }

    /// The values (lane-major, bound 2) of a polynomial with the given coefficients (contiguous, bound at most 2).
    /// `scratch` is overwritten.
    ///
    /// # Panics
    /// If a slice is not as long as the domain has vectors.
    pub fn run(
        &self,
        coefficients: &[B::Scalar],
        scratch: &mut [B::Scalar],
        out: &mut [B::Scalar],
    ) {
        let m = self.domain.vectors::<B>();
        assert!(coefficients.len() == m && scratch.len() == m && out.len() == m);
        scratch.copy_from_slice(coefficients);
        self.backend.run(Forward {
            twiddles: &self.twiddles,
            scratch,
            out,
        });
    }
}

struct Forward<'a, V> {
    twiddles: &'a Twiddles<V>,
    scratch: &'a mut [V],
    out: &'a mut [V],
}

/// `(u, v)` becomes `(u + s·v, u − s·v)`; the bound grows by 2, so that 31 levels stay below 64.
#[inline(always)]
fn split<F: crate::vector::Prime, V: Vector<F>>(u: &mut V, v: &mut V, s: V) {
    let t = v.mul(s);
    *v = u.sub::<2>(t);
    *u = u.add(t);
}

impl<B: Backend> Kernel<B> for Forward<'_, B::Scalar> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let lanes = B::Scalar::LANES;
        let x = self.scratch;
        let m = x.len();
        let levels = m.trailing_zeros();
        let across = &self.twiddles.across;
        let mut level = 0;
        if levels % 2 == 1 {
            let (low, high) = x.split_at_mut(m / 2);
            for (u, v) in low.iter_mut().zip(high) {
                split(u, v, across[0]);
            }
            level = 1;
        }
        // Two levels per pass over memory.
        while level < levels {
            let quarter = m >> (level + 2);
            let first = &across[(1 << level) - 1..];
            let second = &across[(2 << level) - 1..];
            for (t, block) in x.chunks_exact_mut(4 * quarter).enumerate() {
                let (s, s0, s1) = (first[t], second[2 * t], second[2 * t + 1]);
                let (low, high) = block.split_at_mut(2 * quarter);
                let (a, b) = low.split_at_mut(quarter);
                let (c, d) = high.split_at_mut(quarter);
                for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                    split(a, c, s);
                    split(b, d, s);
                    split(a, b, s0);
                    split(c, d, s1);
                }
            }
            level += 2;
        }
        let log_lanes = lanes.trailing_zeros();
        for (chunk, rows) in x.chunks_exact_mut(lanes).enumerate() {
            B::Scalar::transpose(rows);
            let twiddles = &self.twiddles.within[chunk * (lanes - 1)..(chunk + 1) * (lanes - 1)];
            for j in 0..log_lanes {
                let half = lanes >> (j + 1);
                for block in 0..1 << j {
                    let s = twiddles[(1 << j) - 1 + block];
                    for i in 2 * block * half..(2 * block + 1) * half {
                        let (mut u, mut v) = (rows[i], rows[i + half]);
                        split(&mut u, &mut v, s);
                        rows[i] = u;
                        rows[i + half] = v;
                    }
                }
            }
            for i in 0..lanes {
                let j = reverse(i, log_lanes);
                if i < j {
                    rows.swap(i, j);
                }
            }
            B::Scalar::transpose(rows);
            for (l, row) in rows.iter().enumerate() {
                self.out[reverse(chunk * lanes + l, levels)] = row.reduce();
            }
        }
    }
}

/// Interpolation on the subgroup itself.
pub struct Interpolate<B: Backend> {
    domain: Domain,
    backend: B,
    twiddles: Twiddles<B::Scalar>,
    divisor: Fp,
}

impl<B: Backend> Interpolate<B> {
    /// Prepares the inverse twiddles, as [`Evaluate::new`].
    ///
    /// # Panics
    /// If the domain does not [suit](Domain::suits) the backend.
    pub fn new(backend: B, domain: Domain) -> Self {
        assert!(
            domain.suits::<B>(),
            "the domain is too small for the vectors"
        );
        let twiddles = backend.run(Build {
            domain,
            shift: Fp::ONE,
            omega: domain.omega.pow_vartime([domain.n() as u64 - 1]),
        });
        Interpolate {
            domain,
            backend,
            twiddles,
            divisor: Fp::TWO_INV.pow_vartime([u64::from(domain.k)]),
        }
    }

    /// The coefficients (contiguous, bound 2) of the polynomial that takes the given values (lane-major, bound at most 2)
    /// on the subgroup.
    ///
    /// # Panics
    /// If a slice is not as long as the domain has vectors.
    pub fn run(&self, values: &[B::Scalar], out: &mut [B::Scalar]) {
        let m = self.domain.vectors::<B>();
        assert!(values.len() == m && out.len() == m);
        self.backend.run(Inverse {
            twiddles: &self.twiddles,
            divisor: self.divisor,
            values,
            out,
        });
    }
}

struct Inverse<'a, V> {
    twiddles: &'a Twiddles<V>,
    divisor: Fp,
    values: &'a [V],
    out: &'a mut [V],
}

/// `(u, v)` becomes `(u + v, (u − v)·s)`, for bounds up to `K`; the first grows to `2K`.
#[inline(always)]
fn join<const K: u64, F: crate::vector::Prime, V: Vector<F>>(u: &mut V, v: &mut V, s: V) {
    let sum = u.add(*v);
    *v = u.sub::<K>(*v).mul(s);
    *u = sum;
}

impl<B: Backend> Kernel<B> for Inverse<'_, B::Scalar> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let lanes = B::Scalar::LANES;
        let log_lanes = lanes.trailing_zeros();
        let x = self.out;
        let m = x.len();
        let levels = m.trailing_zeros();
        for (chunk, rows) in x.chunks_exact_mut(lanes).enumerate() {
            for (l, row) in rows.iter_mut().enumerate() {
                *row = self.values[reverse(chunk * lanes + l, levels)];
            }
            B::Scalar::transpose(rows);
            for i in 0..lanes {
                let j = reverse(i, log_lanes);
                if i < j {
                    rows.swap(i, j);
                }
            }
            let twiddles = &self.twiddles.within[chunk * (lanes - 1)..(chunk + 1) * (lanes - 1)];
            // Bounds 2, 4, 8 before the three levels.
            for j in (0..log_lanes).rev() {
                let half = lanes >> (j + 1);
                for block in 0..1 << j {
                    let s = twiddles[(1 << j) - 1 + block];
                    for i in 2 * block * half..(2 * block + 1) * half {
                        let (mut u, mut v) = (rows[i], rows[i + half]);
                        join::<8, _, _>(&mut u, &mut v, s);
                        rows[i] = u;
                        rows[i + half] = v;
                    }
                }
            }
            B::Scalar::transpose(rows);
            rows.iter_mut().for_each(|row| *row = row.reduce());
        }
        let across = &self.twiddles.across;
        let mut level = levels;
        while level >= 2 {
            level -= 2;
            let quarter = m >> (level + 2);
            let first = &across[(1 << level) - 1..];
            let second = &across[(2 << level) - 1..];
            for (t, block) in x.chunks_exact_mut(4 * quarter).enumerate() {
                let (s, s0, s1) = (first[t], second[2 * t], second[2 * t + 1]);
                let (low, high) = block.split_at_mut(2 * quarter);
                let (a, b) = low.split_at_mut(quarter);
                let (c, d) = high.split_at_mut(quarter);
                for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                    join::<2, _, _>(a, b, s0);
                    join::<2, _, _>(c, d, s1);
                    join::<4, _, _>(a, c, s);
                    join::<2, _, _>(b, d, s);
                    *a = a.reduce();
                    *b = b.reduce();
                }
            }
        }
        if level == 1 {
            let (low, high) = x.split_at_mut(m / 2);
            for (u, v) in low.iter_mut().zip(high) {
                join::<2, _, _>(u, v, across[0]);
            }
        }
        let divisor = B::Scalar::splat(self.divisor);
        x.iter_mut().for_each(|v| *v = v.mul(divisor));
    }
}

/// A column's values in row order, as lane-major vectors.
pub fn load_values<B: Backend>(backend: B, values: &[Fp], out: &mut [B::Scalar]) {
    struct Load<'a, V>(&'a [Fp], &'a mut [V]);
    impl<B: Backend> Kernel<B> for Load<'_, B::Scalar> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            let m = self.1.len();
            for (b, v) in self.1.iter_mut().enumerate() {
                *v = B::Scalar::from_fn(|l| self.0[l * m + b]);
            }
        }
    }
    assert!(values.len() == out.len() * B::Scalar::LANES);
    backend.run(Load(values, out));
}

/// Contiguous vectors from elements.
pub fn load<B: Backend>(backend: B, elements: &[Fp], out: &mut [B::Scalar]) {
    struct Load<'a, V>(&'a [Fp], &'a mut [V]);
    impl<B: Backend> Kernel<B> for Load<'_, B::Scalar> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            for (chunk, v) in self.0.chunks_exact(B::Scalar::LANES).zip(self.1.iter_mut()) {
                *v = B::Scalar::from_fn(|l| chunk[l]);
            }
        }
    }
    assert!(elements.len() == out.len() * B::Scalar::LANES);
    backend.run(Load(elements, out));
}

/// Elements from contiguous vectors, of any bound.
pub fn store<B: Backend>(backend: B, vectors: &[B::Scalar]) -> Vec<Fp> {
    struct Store<'a, V>(&'a [V], &'a mut [Fp]);
    impl<B: Backend> Kernel<B> for Store<'_, B::Scalar> {
        type Output = ();
        #[inline(always)]
        fn run(self) {
            for (v, out) in self.0.iter().zip(self.1.chunks_exact_mut(B::Scalar::LANES)) {
                v.store(out);
            }
        }
    }
    let mut out = vec![Fp::ZERO; vectors.len() * B::Scalar::LANES];
    backend.run(Store(vectors, &mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "x86_64")]
    use crate::vector::Ifma;
    use crate::vector::{Checked, Portable};
    use ff::WithSmallOrderMulGroup;
    use halo2_proofs::arithmetic::{best_fft, eval_polynomial};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn random(n: usize, seed: u64) -> Vec<Fp> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut v: Vec<Fp> = (0..n).map(|_| Fp::random(&mut rng)).collect();
        for (v, extreme) in v.iter_mut().zip([Fp::ZERO, -Fp::ONE, Fp::ONE]) {
            *v = extreme;
        }
        v
    }

    fn vectors<B: Backend>(n: usize) -> Vec<B::Scalar> {
        vec![B::Scalar::zero(); n / B::Scalar::LANES]
    }

    fn transforms<B: Backend>() {
        let Some(backend) = B::detect() else {
            eprintln!("skipped: this machine has no {}", B::NAME);
            return;
        };
        for k in [6, 7, 10] {
            let domain = Domain::new(k).unwrap();
            let n = domain.n();
            let coefficients = random(n, u64::from(k));
            for shift in [Fp::ONE, Fp::ZETA, Fp::from(7)] {
                let evaluate = Evaluate::new(backend, domain, shift);
                let mut input = vectors::<B>(n);
                load(backend, &coefficients, &mut input);
                let mut out = vectors::<B>(n);
                evaluate.run(&input, &mut vectors::<B>(n), &mut out);
                let lanes = B::Scalar::LANES;
                let stored = store(backend, &out);
                let mut expected = coefficients.clone();
                let mut power = Fp::ONE;
                for c in &mut expected {
                    *c *= power;
                    power *= shift;
                }
                best_fft(&mut expected, domain.omega(), k);
                for (i, e) in expected.iter().enumerate() {
                    let (b, l) = (i % (n / lanes), i / (n / lanes));
                    assert_eq!(stored[b * lanes + l], *e, "value {i} for k = {k}");
                }
                assert_eq!(
                    expected[1],
                    eval_polynomial(&coefficients, shift * domain.omega())
                );
            }
            let values = random(n, 99);
            let mut input = vectors::<B>(n);
            load_values(backend, &values, &mut input);
            let mut out = vectors::<B>(n);
            Interpolate::new(backend, domain).run(&input, &mut out);
            let mut back = store(backend, &out);
            best_fft(&mut back, domain.omega(), k);
            assert_eq!(back, values, "interpolation for k = {k}");
        }
    }

    #[test]
    fn transforms_are_upstreams() {
        transforms::<Portable>();
        transforms::<Checked>();
        #[cfg(target_arch = "x86_64")]
        transforms::<Ifma>();
    }
}
