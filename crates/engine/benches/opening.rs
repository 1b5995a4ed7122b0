//! The opening of one polynomial, and commitments to columns, against upstream's, on one thread.

#[path = "../../../benches/common/settings.rs"]
mod settings;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
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
    one_thread: rayon::ThreadPool,
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
    let mut group = c.benchmark_group("commitment");
    let (id, blind) = (|what: &str| id(what, k, B::NAME), [F::from(9)]);
    group.bench_function(id("opening"), |b| {
        let open = || {
            let mut rng = ChaCha20Rng::seed_from_u64(1);
            let poly = work.full.clone();
            generators.open(poly, F::ONE, F::from(5), &mut rng, &mut transcript())
        };
        work.one_thread.install(|| b.iter(open))
    });
    for (what, column) in [
        ("column, full width", &work.full),
        ("column, 12 bits", &work.small),
    ] {
        let columns = std::slice::from_ref(column);
        group.bench_function(id(what), |b| {
            let commit = || generators.commit_columns(columns, &blind);
            work.one_thread.install(|| b.iter(commit))
        });
    }
}

fn id(what: &str, k: u32, by: &str) -> BenchmarkId {
    BenchmarkId::new(format!("{what}, 2^{k}"), by)
}

fn sizes(c: &mut Criterion) {
    for k in [10, 12] {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let n = 1usize << k;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let work = Work {
            one_thread: pool.expect("one thread"),
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
        let mut group = c.benchmark_group("commitment");
        group.bench_function(id("opening", k, "upstream"), |b| {
            let open = || {
                let rng = ChaCha20Rng::seed_from_u64(1);
                let (x, blind) = (F::from(5), Blind(F::ONE));
                create_proof(&work.params, rng, &mut transcript(), &poly, blind, x)
            };
            work.one_thread.install(|| b.iter(open))
        });
        for (what, column) in [
            ("column, full width", &work.full),
            ("column, 12 bits", &work.small),
        ] {
            let poly = domain.lagrange_from_vec(column.clone());
            group.bench_function(id(what, k, "upstream"), |b| {
                let commit = || work.params.commit_lagrange(&poly, Blind(F::from(9)));
                work.one_thread.install(|| b.iter(commit))
            });
        }
        group.finish();
        backend::<Portable>(c, &work);
        #[cfg(target_arch = "x86_64")]
        backend::<zkinfer_kernels::vector::Ifma>(c, &work);
    }
}

criterion_group! {
    name = benches;
    config = settings::settings();
    targets = sizes
}
criterion_main!(benches);
