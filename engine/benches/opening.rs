//! The opening of one polynomial, and commitments to columns, against upstream's:
//! `RAYON_NUM_THREADS=1 cargo bench -p zkinfer-engine --bench opening`.

use criterion::{Criterion, criterion_group, criterion_main};
use ff::Field;
use halo2_proofs::poly::EvaluationDomain;
use halo2_proofs::poly::commitment::{Blind, Params, create_proof};
use halo2_proofs::transcript::{Blake2bWrite, Challenge255};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use zkinfer_engine::{C, F, Generators};
use zkinfer_kernels::vector::{Backend, Portable};

fn transcript() -> Blake2bWrite<Vec<u8>, C, Challenge255<C>> {
    Blake2bWrite::init(Vec::new())
}

struct Work {
    params: Params<C>,
    full: Vec<F>,
    small: Vec<F>,
}

fn backend<B: Backend>(c: &mut Criterion, work: &Work) {
    let Some(backend) = B::detect() else {
        eprintln!("skipped: this machine has no {}", B::NAME);
        return;
    };
    let k = work.params.k();
    let generators = Generators::new(backend, &work.params).expect("known format");
    let (name, blind) = (B::NAME, [F::from(9)]);
    c.bench_function(&format!("opening 2^{k}, {name}"), |b| {
        b.iter(|| {
            let mut rng = ChaCha20Rng::seed_from_u64(1);
            let poly = work.full.clone();
            generators.open(poly, F::ONE, F::from(5), &mut rng, &mut transcript())
        })
    });
    for (what, column) in [("full-width", &work.full), ("12-bit", &work.small)] {
        let columns = std::slice::from_ref(column);
        c.bench_function(&format!("{what} column 2^{k}, {name}"), |b| {
            b.iter(|| generators.commit_columns(columns, &blind))
        });
    }
}

fn sizes(c: &mut Criterion) {
    for k in [10, 12] {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let n = 1usize << k;
        let work = Work {
            params: Params::new(k),
            full: (0..n).map(|_| F::random(&mut rng)).collect(),
            small: (0..n)
                .map(|i| {
                    if i + 6 < n {
                        F::from(rng.next_u64() >> 52)
                    } else {
                        F::random(&mut rng)
                    }
                })
                .collect(),
        };
        let domain = EvaluationDomain::<F>::new(1, k);
        let poly = domain.coeff_from_vec(work.full.clone());
        c.bench_function(&format!("opening 2^{k}, upstream"), |b| {
            b.iter(|| {
                let rng = ChaCha20Rng::seed_from_u64(1);
                let (x, blind) = (F::from(5), Blind(F::ONE));
                create_proof(&work.params, rng, &mut transcript(), &poly, blind, x)
            })
        });
        for (what, column) in [("full-width", &work.full), ("12-bit", &work.small)] {
            let poly = domain.lagrange_from_vec(column.clone());
            c.bench_function(&format!("{what} column 2^{k}, upstream"), |b| {
                b.iter(|| work.params.commit_lagrange(&poly, Blind(F::from(9))))
            });
        }
        backend::<Portable>(c, &work);
        #[cfg(target_arch = "x86_64")]
        backend::<zkinfer_kernels::vector::Ifma>(c, &work);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .measurement_time(std::time::Duration::from_secs(1))
        .warm_up_time(std::time::Duration::from_millis(200));
    targets = sizes
}
criterion_main!(benches);
