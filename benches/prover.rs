//! Proofs and their parts: `cargo bench --bench prover`.

#[path = "common/cases.rs"]
mod cases;
#[path = "common/settings.rs"]
mod settings;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::cell::LazyCell;
use std::time::Duration;
use zkinfer::{Run, Timings, Visibility};

/// A part of a proof and where its time stands.
type Part = (&'static str, fn(&Timings) -> Duration);

const PARTS: [Part; 7] = [
    ("prove: witness", |t| t.witness),
    ("prove: commit to witness", |t| t.phase1),
    ("prove: fold", |t| t.fold),
    ("prove: commit to folds", |t| t.phase2),
    ("prove: sums", |t| t.phase3),
    ("prove: open", |t| t.halo2),
    ("prove: link", |t| t.link),
];

/// How many runs are proven in one proof.
const RUNS: usize = 8;

fn prover(c: &mut Criterion) {
    for case in &cases::cases() {
        let id = || BenchmarkId::from_parameter(&case.name);
        c.benchmark_group("prove").bench_function(id(), |b| {
            let run = case.run();
            b.iter(|| case.prove(run))
        });
        for (part, time) in PARTS {
            // Whole proofs are made; only the part counts.
            c.benchmark_group(part).bench_function(id(), |b| {
                let run = case.run();
                b.iter_custom(|proofs| (0..proofs).map(|_| time(&case.prove(run).1)).sum())
            });
        }
        let mut group = c.benchmark_group(format!("prove {RUNS} runs"));
        group.throughput(Throughput::Elements(RUNS as u64));
        let runs = LazyCell::new(|| {
            let sample = |i: usize| &case.samples[i % case.samples.len()];
            let runs = (0..RUNS).map(|i| case.secret().infer(sample(i)));
            let runs: Result<Vec<_>, _> = runs.collect();
            runs.expect("calibrated on them")
        });
        group.bench_function(id(), |b| {
            let (runs, visibility): (&[Run], _) = (&runs, Visibility::default());
            let secret = case.secret();
            b.iter(|| secret.prove_runs(runs, &visibility, b"", &mut zkinfer::rng()))
        });
    }
}

criterion_group! {
    name = benches;
    config = settings::settings();
    targets = prover
}
criterion_main!(benches);
