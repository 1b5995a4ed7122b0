//! Folding weights, per weight, on one thread: every backend against the plain loop of multiplications.
//! `cargo bench --bench fold`.

#[path = "../../../benches/common/settings.rs"]
mod settings;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ff::Field;
use pasta_curves::Fp;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::hint::black_box;
use zkinfer_kernels::fold::fold;
use zkinfer_kernels::vector::{Backend, Portable};

fn plain(data: &[i32], rows: usize, coefficients: &[Fp]) -> Vec<Fp> {
    let mut out = vec![Fp::ZERO; rows];
    for (point, c) in data.chunks(rows).zip(coefficients) {
        for (o, &w) in out.iter_mut().zip(point) {
            let magnitude = Fp::from(u64::from(w.unsigned_abs()));
            *o += if w < 0 { -magnitude } else { magnitude } * c;
        }
    }
    out
}

fn bench(c: &mut Criterion) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let shapes = [
        ("dense", 1024, 1024, (1 << 15) - 1),
        ("dense, 22 bits", 1024, 1024, 1 << 22),
        ("dense, 31 bits", 1024, 1024, i32::MAX as u32),
        ("convolution", 500, 64, (1 << 15) - 1),
        ("few points", 16384, 4, (1 << 15) - 1),
        ("few rows", 8, 4096, (1 << 15) - 1),
    ];
    for (name, rows, points, bound) in shapes {
        let data: Vec<i32> = (0..rows * points)
            .map(|_| {
                (i64::from(rng.next_u32()) % (2 * i64::from(bound) + 1) - i64::from(bound)) as i32
            })
            .collect();
        let coefficients: Vec<Fp> = (0..points).map(|_| Fp::random(&mut rng)).collect();
        let id = |by: &str| BenchmarkId::new(format!("{name}, {rows}x{points}"), by);
        let mut group = c.benchmark_group("fold");
        group.throughput(Throughput::Elements((rows * points) as u64));
        group.bench_function(id("plain"), |b| {
            b.iter(|| plain(black_box(&data), rows, &coefficients))
        });
        group.bench_function(id(Portable::NAME), |b| {
            b.iter(|| fold(Portable, black_box(&data), rows, bound, &coefficients))
        });
        #[cfg(target_arch = "x86_64")]
        if let Some(ifma) = zkinfer_kernels::vector::Ifma::detect() {
            group.bench_function(id(zkinfer_kernels::vector::Ifma::NAME), |b| {
                b.iter(|| fold(ifma, black_box(&data), rows, bound, &coefficients))
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = settings::settings();
    targets = bench
}
criterion_main!(benches);
