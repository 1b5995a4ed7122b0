//! Multi-scalar multiplication on one thread against `halo2_proofs`, and collapse of generators.
//!
//! Upstream spreads over the rayon pool that it is called in: here, one of one thread.

#[path = "../../../benches/common/settings.rs"]
mod settings;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ff::Field;
use group::{CurveAffine as _, Group};
use halo2_proofs::arithmetic::best_multiexp;
use pasta_curves::arithmetic::CurveExt;
use pasta_curves::{Eq, EqAffine, Fp};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use zkinfer_kernels::collapse::collapse;
use zkinfer_kernels::msm::{At, Bases, Job, Part, Scalars, msm};
#[cfg(target_arch = "x86_64")]
use zkinfer_kernels::vector::Ifma;
use zkinfer_kernels::vector::{Backend, Portable};

/// Logarithms of the numbers of points.
const SIZES: [u32; 2] = [10, 12];

fn points(n: usize) -> Vec<EqAffine> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let points: Vec<Eq> = (0..n).map(|_| Eq::random(&mut rng)).collect();
    let mut out = vec![EqAffine::identity(); n];
    Eq::batch_normalize_vartime(&points, &mut out);
    out
}

/// Kinds of scalars: name, values.
fn scalars(n: usize) -> Vec<(&'static str, Vec<Fp>)> {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let full: Vec<Fp> = (0..n).map(|_| Fp::random(&mut rng)).collect();
    let low: Vec<Fp> = (0..n)
        .map(|_| Fp::from(u64::from(rng.next_u32() >> 20)))
        .collect();
    let signed: Vec<Fp> = (0..n)
        .map(|_| Fp::from(u64::from(rng.next_u32() >> 20)) - Fp::from(2048))
        .collect();
    let mut blinded = low.clone();
    blinded[n - 6..].copy_from_slice(&full[..6]);
    vec![
        ("full", full),
        ("12 bits", low),
        ("12 bits, signed", signed),
        ("12 bits, 6 full", blinded),
    ]
}

fn job(scalars: &[Fp]) -> Job<'_> {
    Job {
        parts: vec![Part {
            at: At::From(0),
            scalars: Scalars::Field(scalars),
        }],
    }
}

fn run<B: Backend>(c: &mut Criterion, backend: B, all: &[EqAffine]) {
    let bases = Bases::new(backend, all);
    let mut group = c.benchmark_group("msm");
    for k in SIZES {
        for (name, values) in scalars(1 << k) {
            let jobs = [job(&values)];
            group.bench_function(BenchmarkId::new(format!("{name}, 2^{k}"), B::NAME), |b| {
                b.iter(|| msm(backend, &bases, &jobs))
            });
        }
    }
    // Sixteen columns in one call.
    let values = &scalars(1 << 10)[3].1;
    let jobs = vec![job(values); 16];
    group.bench_function(
        BenchmarkId::new("12 bits, 6 full, 16 of 2^10", B::NAME),
        |b| b.iter(|| msm(backend, &bases, &jobs)),
    );
    // Rows of signed 16-bit weights.
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let weights: Vec<i32> = (0..300).map(|_| (rng.next_u32() as i32) >> 16).collect();
    let rows = vec![
        Job {
            parts: vec![Part {
                at: At::From(0),
                scalars: Scalars::Small(&weights),
            }],
        };
        64
    ];
    group.bench_function(
        BenchmarkId::new("16-bit weights, 64 of 300", B::NAME),
        |b| b.iter(|| msm(backend, &bases, &rows)),
    );
    let mut group = {
        group.finish();
        c.benchmark_group("collapse")
    };
    for (n, t) in [(12, 8), (8, 16)] {
        let mut scalars: Vec<Fp> = (0..t).map(|_| Fp::random(&mut rng)).collect();
        scalars[0] = Fp::ONE;
        group.bench_function(BenchmarkId::new(format!("2^{n} by {t}"), B::NAME), |b| {
            b.iter(|| collapse(backend, &bases.bases()[..1 << n], &scalars))
        });
    }
    group.finish();
}

fn upstream(c: &mut Criterion, all: &[EqAffine]) {
    let mut group = c.benchmark_group("msm");
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("one thread");
    for k in SIZES {
        for (name, values) in scalars(1 << k) {
            let id = BenchmarkId::new(format!("{name}, 2^{k}"), "upstream");
            group.bench_function(id, |b| {
                one.install(|| b.iter(|| best_multiexp(&values, &all[..values.len()])))
            });
        }
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    let points = points(1 << 12);
    #[cfg(target_arch = "x86_64")]
    if let Some(backend) = Ifma::detect() {
        run(c, backend, &points);
    }
    run(c, Portable, &points);
    upstream(c, &points);
}

criterion_group! {
    name = benches;
    config = settings::settings();
    targets = all
}
criterion_main!(benches);
