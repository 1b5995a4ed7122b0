//! Transforms against upstream's: `cargo bench -p zkinfer-kernels --bench fft`.

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
    c.bench_function(&format!("coset evaluation 2^{k}, {}", B::NAME), |b| {
        b.iter(|| evaluate.run(&input, &mut scratch, &mut out))
    });
    let interpolate = Interpolate::new(backend, domain);
    c.bench_function(&format!("interpolation 2^{k}, {}", B::NAME), |b| {
        b.iter(|| interpolate.run(&input, &mut out))
    });
}

fn transforms(c: &mut Criterion) {
    for k in [10, 12, 14] {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let elements: Vec<Fp> = (0..1 << k).map(|_| Fp::random(&mut rng)).collect();
        let domain = Domain::new(k).expect("k is small");
        let mut values = elements.clone();
        let one = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .expect("one thread");
        c.bench_with_input(BenchmarkId::new("upstream", k), &k, |b, &k| {
            one.install(|| b.iter(|| best_fft(&mut values, domain.omega(), k)))
        });
        backend::<Portable>(c, k, &elements);
        #[cfg(target_arch = "x86_64")]
        backend::<zkinfer_kernels::vector::Ifma>(c, k, &elements);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(1)).warm_up_time(std::time::Duration::from_millis(300));
    targets = transforms
}
criterion_main!(benches);
