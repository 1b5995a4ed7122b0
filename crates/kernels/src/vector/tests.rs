//! Every operation of every backend against `pasta_curves`, and the bounds that the checking backend enforces.

use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::marker::PhantomData;

/// Runs a check in every backend that the machine has, over both fields.
macro_rules! everywhere {
    ($check:ident) => {{
        struct K;
        impl<B: Backend> Kernel<B> for K {
            type Output = ();
            #[inline(always)]
            fn run(self) {
                $check::<Fp, B::Scalar>();
                $check::<Fq, B::Base>();
            }
        }
        Portable.run(K);
        Narrow.run(K);
        Checked.run(K);
        #[cfg(target_arch = "x86_64")]
        match Ifma::detect() {
            Some(backend) => backend.run(K),
            None => eprintln!("NOT TESTED: this machine has no AVX-512 IFMA"),
        }
    }};
}

/// `2^-e`.
fn two_to_minus<F: Prime>(e: u64) -> F {
    F::TWO_INV.pow_vartime([e])
}

/// 0, ±1, numbers next to both ends in canonical form and in either Montgomery form, then random ones.
fn values<F: Prime>(seed: u64, n: usize) -> Vec<F> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut out = vec![F::ZERO, F::ONE, -F::ONE];
    for scale in [256, 260, 261]
        .map(two_to_minus::<F>)
        .into_iter()
        .chain([F::ONE])
    {
        for small in [
            1,
            2,
            3,
            (1 << 29) - 1,
            1 << 29,
            0xffff_ffff,
            1 << 32,
            (1 << 52) - 1,
            1 << 52,
        ] {
            out.push(scale * F::from(small));
            out.push(-scale * F::from(small));
        }
        for bits in [
            57, 58, 63, 104, 116, 145, 125, 126, 156, 207, 208, 231, 232, 253, 254,
        ] {
            let v = F::from(2).pow_vartime([bits]);
            out.push(scale * v);
            out.push(scale * (v - F::ONE));
            out.push(-scale * v);
        }
    }
    while out.len() < n {
        out.push(random(&mut rng));
    }
    out
}

fn random<F: Prime>(rng: &mut ChaCha20Rng) -> F {
    F::from_limbs(std::array::from_fn(|_| rng.next_u64()))
}

fn vectors<F: Prime, V: Vector<F>>(values: &[F]) -> Vec<V> {
    values
        .chunks_exact(V::LANES)
        .map(|c| V::from_fn(|i| c[i]))
        .collect()
}

#[track_caller]
fn expect<F: Prime, V: Vector<F>>(v: V, f: impl Fn(usize) -> F) {
    let mut out = vec![F::ZERO; V::LANES];
    v.store(&mut out);
    for (i, got) in out.iter().enumerate() {
        assert_eq!(*got, f(i), "lane {i}");
    }
}

/// `b·v` with bound `b`.
fn multiple<F: Prime, V: Vector<F>>(v: V, b: u64) -> V {
    (1..b).fold(v, |sum, _| sum.add(v))
}

fn conversions<F: Prime, V: Vector<F>>() {
    let all = values::<F>(1, 256);
    for c in all.chunks_exact(V::LANES) {
        let v = V::from_fn(|i| c[i]);
        expect(v, |i| c[i]);
        expect(V::splat(c[0]), |_| c[0]);
        let mut packed = vec![V::Packed::default(); V::LANES];
        v.pack(&mut packed);
        assert_eq!(V::unpack(&packed).same(v), (1 << V::LANES) - 1);
        expect(V::unpack(&packed), |i| c[i]);
    }
    expect(V::zero(), |_| F::ZERO);
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let small: Vec<u64> = [0, 1, (1 << 52) - 1, 1 << 51]
        .into_iter()
        .chain((0..60).map(|i| rng.next_u64() >> (12 + i % 50)))
        .collect();
    for c in small.chunks_exact(V::LANES) {
        expect(V::from_small(|i| c[i]), |i| F::from(c[i]));
    }
}

fn sums<F: Prime, V: Vector<F>>() {
    let (a, b) = (values::<F>(3, 256), values::<F>(4, 256));
    for shift in [0, 1, 8, 13, 77] {
        let mut b = b.clone();
        b.rotate_left(shift);
        for (j, (x, y)) in vectors::<F, V>(&a)
            .into_iter()
            .zip(vectors::<F, V>(&b))
            .enumerate()
        {
            let at = |i: usize| j * V::LANES + i;
            expect(x.add(y), |i| a[at(i)] + b[at(i)]);
            expect(x.sub::<1>(y), |i| a[at(i)] - b[at(i)]);
            expect(x.sub::<63>(y), |i| a[at(i)] - b[at(i)]);
            expect(x.sub::<3>(multiple(y, 3)), |i| {
                a[at(i)] - b[at(i)] * F::from(3)
            });
            for mask in [0, 1, 0xff, 0xa5] {
                let lanes = mask & ((1 << V::LANES) - 1);
                expect(x.negate_where(mask), |i| {
                    if mask >> i & 1 == 1 {
                        -a[at(i)]
                    } else {
                        a[at(i)]
                    }
                });
                expect(x.select(y, mask), |i| {
                    if mask >> i & 1 == 1 {
                        b[at(i)]
                    } else {
                        a[at(i)]
                    }
                });
                let changed = x.select(x.negate_where(0xff), mask);
                let zero = x.same(V::zero());
                assert_eq!(changed.same(x), ((1 << V::LANES) - 1) & !lanes | zero);
            }
        }
    }
}

fn products<F: Prime, V: Vector<F>>() {
    let (a, b) = (values::<F>(5, 256), values::<F>(6, 256));
    for (m, n) in [(1, 1), (2, 2), (1, 63), (63, 1), (7, 9), (2, 31), (7, 7)] {
        let scale = F::from(m) * F::from(n);
        for shift in [0, 1, 11] {
            let mut b = b.clone();
            b.rotate_left(shift);
            let pairs = vectors::<F, V>(&a).into_iter().zip(vectors::<F, V>(&b));
            for (j, (x, y)) in pairs.enumerate() {
                let at = |i: usize| j * V::LANES + i;
                let (x, y) = (multiple(x, m), multiple(y, n));
                expect(x.mul(y), |i| a[at(i)] * b[at(i)] * scale);
                if m <= 7 {
                    expect(x.square(), |i| (a[at(i)] * F::from(m)).square());
                }
            }
        }
    }
}

fn reductions<F: Prime, V: Vector<F>>() {
    let a = values::<F>(7, 256);
    for b in [1, 2, 3, 31, 32, 33, 63, 64] {
        for (j, x) in vectors::<F, V>(&a).into_iter().enumerate() {
            let expected = |i: usize| a[j * V::LANES + i] * F::from(b);
            let x = multiple(x, b);
            expect(x, expected);
            let r = x.reduce();
            expect(r, expected);
            // Bound 2: so much fits above it, and `2·p` below it.
            expect(multiple(r, 31).mul(V::splat(F::ONE)), |i| {
                expected(i) * F::from(31)
            });
            expect(V::zero().sub::<2>(r), |i| -expected(i));
            let mut packed = vec![V::Packed::default(); V::LANES];
            x.pack(&mut packed);
            assert_eq!(
                V::unpack(&packed).same(V::from_fn(expected)),
                (1 << V::LANES) - 1
            );
        }
    }
}

fn wide_sums<F: Prime, V: Vector<F>>() {
    let (a, b) = (values::<F>(8, 256), values::<F>(9, 256));
    let (x, y) = (vectors::<F, V>(&a), vectors::<F, V>(&b));
    // The largest numbers of products and bounds: 64·63, 1·63·63 + …, 256·15 ≤ 4032.
    for (terms, m, n) in [
        (0, 1, 1),
        (1, 1, 1),
        (64, 63, 1),
        (64, 7, 9),
        (256, 3, 5),
        (1, 63, 63),
    ] {
        for start in 0..x.len() {
            let mut sum = V::wide();
            let mut expected = vec![F::ZERO; V::LANES];
            for t in 0..terms {
                // Half of the sums add up equal products, such as the largest.
                let j = if start % 2 == 0 {
                    start
                } else {
                    (start + t) % x.len()
                };
                V::mul_add(&mut sum, multiple(x[j], m), multiple(y[start], n));
                for (i, e) in expected.iter_mut().enumerate() {
                    *e += a[j * V::LANES + i] * b[start * V::LANES + i];
                }
            }
            let scale = F::from(m) * F::from(n);
            let v = V::finish(sum);
            expect(v, |i| expected[i] * scale);
            expect(multiple(v, 31).mul(V::splat(F::ONE)), |i| {
                expected[i] * scale * F::from(31)
            });
            expect(V::zero().sub::<2>(v), |i| -expected[i] * scale);
            if x.len() > 64 && start > 64 {
                break;
            }
        }
    }
}

fn movements<F: Prime, V: Vector<F>>() {
    let n = V::LANES;
    let a = values::<F>(10, 256);
    for (j, x) in vectors::<F, V>(&a).into_iter().enumerate() {
        for by in 0..2 * n {
            let x = x.rotate(by);
            expect(x, |i| a[j * n + (i + 2 * n - by) % n]);
        }
    }
    for block in a.chunks_exact(n * n) {
        let mut rows = vectors::<F, V>(block);
        V::transpose(&mut rows);
        for (i, row) in rows.into_iter().enumerate() {
            expect(row, |j| block[j * n + i]);
        }
    }
}

fn multiples<F: Prime, V: Vector<F>>() {
    let (sums, list) = (values::<F>(7, 256), values::<F>(8, 256));
    for (i, factor) in values::<F>(9, 128).into_iter().enumerate() {
        let (from, len) = (i % 5, i * 7 % 100);
        let mut got = sums[from..from + len].to_vec();
        V::add_multiples(&mut got, factor, &list[..len]);
        for (j, got) in got.into_iter().enumerate() {
            assert_eq!(got, sums[from + j] + factor * list[j]);
        }
    }
}

fn points<F: Prime, V: Vector<F>>() {
    let n = V::LANES;
    let (a, b) = (values::<F>(11, 256), values::<F>(12, 256));
    let mut points = vec![Point::<V::Packed>::default(); 256];
    for (j, (x, y)) in vectors::<F, V>(&a)
        .into_iter()
        .zip(vectors::<F, V>(&b))
        .enumerate()
    {
        V::scatter(multiple(x, 64), multiple(y, 2), &mut points[j * n..][..n]);
    }
    let scale = F::from(64);
    let mut rng = ChaCha20Rng::seed_from_u64(13);
    for _ in 0..200 {
        let at: Vec<u32> = (0..n).map(|_| rng.next_u32() % 256).collect();
        let (x, y) = V::gather(&points, &at);
        expect(x, |i| a[at[i] as usize] * scale);
        expect(y, |i| b[at[i] as usize].double());
        assert_eq!(V::gather_x(&points, &at).same(x), (1 << n) - 1);
    }
    let packed: Vec<_> = points.iter().map(|p| p.y).collect();
    for (j, c) in packed.chunks_exact(n).enumerate() {
        expect(V::unpack(c), |i| b[j * n + i].double());
    }
    let (x, y) = V::gather(&[Point::default()], &[0; 8][..n]);
    assert_eq!(x.same(V::zero()) & y.same(V::zero()), (1 << n) - 1);
}

#[test]
fn conversions_everywhere() {
    everywhere!(conversions);
}

#[test]
fn sums_everywhere() {
    everywhere!(sums);
}

#[test]
fn products_everywhere() {
    everywhere!(products);
}

#[test]
fn reductions_everywhere() {
    everywhere!(reductions);
}

#[test]
fn wide_sums_everywhere() {
    everywhere!(wide_sums);
}

#[test]
fn movements_everywhere() {
    everywhere!(movements);
}

#[test]
fn multiples_everywhere() {
    everywhere!(multiples);
}

#[test]
fn points_everywhere() {
    everywhere!(points);
}

/// A random program over registers whose bounds are tracked; returns the registers at its end.
struct Program {
    seed: u64,
}

fn program<F: Prime, V: Vector<F>>(seed: u64) -> Vec<F> {
    const REGISTERS: usize = 12;
    let n = V::LANES;
    let start = values::<F>(seed, 1 << 10);
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut regs: Vec<V> = (0..REGISTERS)
        .map(|_| {
            let from = rng.next_u32() as usize % 1000;
            V::from_fn(|i| start[from + i])
        })
        .collect();
    let mut bounds = [1u64; REGISTERS];
    for _ in 0..4000 {
        let mut register = || rng.next_u32() as usize % REGISTERS;
        let (a, b, c) = (register(), register(), register());
        let (x, y, m, k) = (regs[a], regs[b], bounds[a], bounds[b]);
        let (value, bound) = match rng.next_u32() % 16 {
            0..4 if m + k <= MAX_BOUND => (x.add(y), m + k),
            4..6 if k <= 1 && m < MAX_BOUND => (x.sub::<1>(y), m + 1),
            4..6 if k <= 2 && m + 2 <= MAX_BOUND => (x.sub::<2>(y), m + 2),
            4..6 if k <= 8 && m + 8 <= MAX_BOUND => (x.sub::<8>(y), m + 8),
            4..6 if k <= 32 && m + 32 <= MAX_BOUND => (x.sub::<32>(y), m + 32),
            6..9 if m * k <= MAX_PRODUCT => (x.mul(y), 2),
            9 if m <= 7 => (x.square(), 2),
            10 => (x.reduce(), 2),
            11 if m < MAX_BOUND && k < MAX_BOUND => {
                let mut sum = V::wide();
                let terms = (MAX_WIDE / (m * k)).min(MAX_TERMS);
                for _ in 0..terms {
                    V::mul_add(&mut sum, x, y);
                }
                (V::finish(sum), 2)
            }
            12 => {
                let mut packed = vec![V::Packed::default(); n];
                x.pack(&mut packed);
                (V::unpack(&packed).negate_where(rng.next_u32()), 1)
            }
            13 => (x.rotate(rng.next_u32() as usize), m),
            14 => (x.select(y, rng.next_u32()), m.max(k)),
            _ => {
                let mut block = [x, y, regs[c], x, y, y, x, regs[c]];
                V::transpose(&mut block);
                (block[1], m.max(k).max(bounds[c]))
            }
        };
        (regs[c], bounds[c]) = (value, bound);
    }
    let mut out = vec![F::ZERO; n * REGISTERS];
    for (v, to) in regs.into_iter().zip(out.chunks_exact_mut(n)) {
        v.store(to);
    }
    out
}

impl<B: Backend> Kernel<B> for Program {
    type Output = (Vec<Fp>, Vec<Fq>);
    #[inline(always)]
    fn run(self) -> Self::Output {
        (
            program::<Fp, B::Scalar>(self.seed),
            program::<Fq, B::Base>(self.seed),
        )
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn long_programs_agree() {
    let Some(ifma) = Ifma::detect() else {
        eprintln!("NOT TESTED: this machine has no AVX-512 IFMA");
        return;
    };
    for seed in 100..120 {
        assert_eq!(
            ifma.run(Program { seed }),
            Checked.run(Program { seed }),
            "seed {seed}"
        );
    }
}

/// Violates one bound.
struct Violation<F>(u8, PhantomData<F>);

impl<F: Prime> Violation<F> {
    fn happens<V: Vector<F>>(kind: u8) {
        let one = V::splat(F::ONE);
        let two = one.mul(one);
        match kind {
            0 => drop_(multiple(one, 65)),
            1 => drop_(multiple(one, 8).mul(multiple(one, 8))),
            2 => drop_(multiple(one, 64).mul(one)),
            3 => drop_(multiple(one, 8).square()),
            4 => drop_(one.sub::<1>(two)),
            5 => drop_(two.sub::<63>(one)),
            6 => drop_(two.negate_where(1)),
            7 => {
                two.same(one);
            }
            8 => {
                let mut sum = V::wide();
                for _ in 0..257 {
                    V::mul_add(&mut sum, one, one);
                }
            }
            9 => {
                let mut sum = V::wide();
                V::mul_add(&mut sum, multiple(one, 63), multiple(one, 63));
                V::mul_add(&mut sum, multiple(one, 63), two);
            }
            10 => V::mul_add(&mut V::wide(), multiple(one, 64), one),
            11 => drop_(V::from_small(|_| 1 << 52)),
            _ => unreachable!(),
        }
    }
}

fn drop_<T>(_: T) {}

impl<B: Backend> Kernel<B> for Violation<Fp> {
    type Output = ();
    fn run(self) {
        Self::happens::<B::Scalar>(self.0);
    }
}

#[test]
fn violations_panic() {
    for kind in 0..12 {
        let run = || Checked.run(Violation(kind, PhantomData::<Fp>));
        assert!(std::panic::catch_unwind(run).is_err(), "violation {kind}");
    }
}
