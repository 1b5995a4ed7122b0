//! Transforms against upstream's: `cargo bench --bench fft`.

#[path = "../../../benches/common/settings.rs"]
mod settings;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ff::{Field, WithSmallOrderMulGroup};
use halo2_proofs::arithmetic::best_fft;
use pasta_curves::Fp;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zkinfer_kernels::fft::{Domain, Evaluate, Interpolate, load};
use zkinfer_kernels::vector::{Backend, Portable, Vector};

fn backend<B: Backend>(c: &mut Criterion, k: u32, elements: &[Fp]) {
    let Some(backend) = B::detect() else {
        eprintln!("skipped: this machine has no {}", B::NAME);
        return;
    };
    let domain = Domain::new(k).expect("k is small");
    let vectors = domain.vectors::<B>();
    let mut input = vec![B::Scalar::zero(); vectors];
    load(backend, elements, &mut input);
    let (mut scratch, mut out) = (input.clone(), input.clone());
    let evaluate = Evaluate::new(backend, domain, Fp::ZETA);
    let mut group = c.benchmark_group("transform");
    group.bench_function(
        BenchmarkId::new(format!("evaluation, 2^{k}"), B::NAME),
        |b| b.iter(|| evaluate.run(&input, &mut scratch, &mut out)),
    );
    let interpolate = Interpolate::new(backend, domain);
    group.bench_function(
        BenchmarkId::new(format!("interpolation, 2^{k}"), B::NAME),
        |b| b.iter(|| interpolate.run(&input, &mut out)),
    );
}

fn transforms(c: &mut Criterion) {
    for k in [10, 13] {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let elements: Vec<Fp> = (0..1 << k).map(|_| Fp::random(&mut rng)).collect();
        let domain = Domain::new(k).expect("k is small");
        let mut values = elements.clone();
        let one = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .expect("one thread");
        // Upstream's has no coset: the shift comes on top.
        let id = BenchmarkId::new(format!("evaluation, 2^{k}"), "upstream");
        c.benchmark_group("transform").bench_function(id, |b| {
            one.install(|| b.iter(|| best_fft(&mut values, domain.omega(), k)))
        });
        backend::<Portable>(c, k, &elements);
        #[cfg(target_arch = "x86_64")]
        backend::<zkinfer_kernels::vector::Ifma>(c, k, &elements);
    }
}

criterion_group! {
    name = benches;
    config = settings::settings();
    targets = transforms
}
criterion_main!(benches);
