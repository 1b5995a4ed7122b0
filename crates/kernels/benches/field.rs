//! Field arithmetic of every backend, per element: `cargo bench --bench field`.
//!
//! "chain" is one chain of dependent operations, "chains" are six independent ones, as in kernels that go over slices.

#[path = "../../../benches/common/settings.rs"]
mod settings;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pasta_curves::Fp;
use std::hint::black_box;
use zkinfer_kernels::vector::{Backend, Kernel, Point, Portable, Vector};

/// Operations per run of a kernel, per chain.
const STEPS: usize = 512;
const CHAINS: usize = 6;

macro_rules! chains {
    ($name:ident, $n:expr, |$x:ident, $k:ident| $step:expr) => {
        struct $name;
        impl<B: Backend> Kernel<B> for $name {
            type Output = ();
            #[inline(always)]
            fn run(self) {
                let $k = black_box(B::Scalar::splat(Fp::from(7)));
                let mut state = [B::Scalar::splat(Fp::from(11)); $n];
                for $x in &mut state {
                    *$x = black_box(*$x);
                }
                for _ in 0..STEPS {
                    for $x in &mut state {
                        *$x = $step;
                    }
                }
                black_box(state);
            }
        }
    };
}

chains!(MulChain, 1, |x, k| x.mul(k));
chains!(MulChains, CHAINS, |x, k| x.mul(k));
chains!(SquareChain, 1, |x, k| {
    let _ = k;
    x.square()
});
chains!(SquareChains, CHAINS, |x, k| {
    let _ = k;
    x.square()
});
chains!(ReduceChains, CHAINS, |x, k| x.add(k).reduce());
chains!(SubChains, CHAINS, |x, k| x.sub::<1>(k).reduce());

/// Sums of products of two slices.
struct WideSums<'a, V>(&'a [V], &'a [V]);

impl<B: Backend> Kernel<B> for WideSums<'_, B::Scalar> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let mut sum = B::Scalar::wide();
        for (a, b) in self.0.iter().zip(self.1) {
            B::Scalar::mul_add(&mut sum, *a, *b);
        }
        black_box(B::Scalar::finish(sum));
    }
}

/// Products of two slices, written to a third.
struct Products<'a, V>(&'a [V], &'a [V], &'a mut [V]);

impl<B: Backend> Kernel<B> for Products<'_, B::Scalar> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for ((a, b), c) in self.0.iter().zip(self.1).zip(self.2) {
            *c = a.mul(*b);
        }
    }
}

type Packed<B> = <<B as Backend>::Scalar as Vector<Fp>>::Packed;

/// Gathers points and writes them elsewhere.
struct Points<'a, P>(&'a [Point<P>], &'a [u32], &'a mut [Point<P>]);

impl<B: Backend> Kernel<B> for Points<'_, Packed<B>> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let n = B::Scalar::LANES;
        for (at, out) in self.1.chunks_exact(n).zip(self.2.chunks_exact_mut(n)) {
            let (x, y) = B::Scalar::gather(self.0, at);
            B::Scalar::scatter(x, y, out);
        }
    }
}

/// Reads elements and writes them back.
struct Convert<'a>(&'a mut [Fp]);

impl<B: Backend> Kernel<B> for Convert<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        for c in self.0.chunks_exact_mut(B::Scalar::LANES) {
            B::Scalar::from_fn(|i| c[i]).store(black_box(c));
        }
    }
}

fn backend<B: Backend>(c: &mut Criterion, backend: B) {
    let lanes = B::Scalar::LANES;
    let mut group = c.benchmark_group("field");
    macro_rules! measure {
        ($name:literal, $elements:expr, $kernel:expr) => {
            group.throughput(Throughput::Elements($elements as u64));
            group.bench_function(BenchmarkId::new($name, B::NAME), |b| {
                b.iter(|| backend.run($kernel))
            });
        };
    }
    measure!("mul, chain", STEPS * lanes, MulChain);
    measure!("mul, chains", STEPS * CHAINS * lanes, MulChains);
    measure!("square, chain", STEPS * lanes, SquareChain);
    measure!("square, chains", STEPS * CHAINS * lanes, SquareChains);
    measure!(
        "add and reduce, chains",
        STEPS * CHAINS * lanes,
        ReduceChains
    );
    measure!("sub and reduce, chains", STEPS * CHAINS * lanes, SubChains);
    let a = vec![B::Scalar::splat(Fp::from(3)); 64];
    let b = a.clone();
    let mut out = a.clone();
    measure!("mul, slices", a.len() * lanes, Products(&a, &b, &mut out));
    measure!("sum of 64 products", a.len() * lanes, WideSums(&a, &b));
    let points = vec![Point::<Packed<B>>::default(); 256];
    let at: Vec<u32> = (0..256).map(|i| i * 77 % 256).collect();
    let mut to = points.clone();
    measure!("gather and scatter", 256, Points(&points, &at, &mut to));
    let mut elements = vec![Fp::from(5); 256];
    measure!("load and store", 256, Convert(&mut elements));
    group.finish();
}

fn all(c: &mut Criterion) {
    backend(c, Portable);
    #[cfg(target_arch = "x86_64")]
    match zkinfer_kernels::vector::Ifma::detect() {
        Some(ifma) => backend(c, ifma),
        None => eprintln!("no AVX-512 IFMA on this machine"),
    }
}

criterion_group! {
    name = benches;
    config = settings::settings();
    targets = all
}
criterion_main!(benches);
