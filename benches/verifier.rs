//! What a verifier does: files, cards, proofs one by one and together. `cargo bench --bench verifier`.

#[path = "common/cases.rs"]
mod cases;
#[path = "common/settings.rs"]
mod settings;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zkinfer::{BatchOptions, Candidate, Card, Limits, Proof, verifier, verify_many};

/// Sizes of batches.
const BATCHES: [usize; 2] = [8, 64];

fn verifying(c: &mut Criterion) {
    let limits = Limits::default();
    for case in &cases::cases() {
        let id = || BenchmarkId::from_parameter(&case.name);
        c.benchmark_group("encode card").bench_function(id(), |b| {
            let card = case.secret().card();
            b.iter(|| card.to_bytes())
        });
        c.benchmark_group("decode card").bench_function(id(), |b| {
            let bytes = case.secret().card().to_bytes();
            b.iter(|| Card::from_bytes(&bytes, limits.card_bytes))
        });
        c.benchmark_group("load card").bench_function(id(), |b| {
            let card = || case.secret().card().clone();
            b.iter_batched(
                card,
                |card| verifier(card, &limits),
                BatchSize::PerIteration,
            )
        });
        c.benchmark_group("encode proof").bench_function(id(), |b| {
            let (proof, _) = case.prove(&case.run());
            b.iter(|| proof.to_bytes())
        });
        c.benchmark_group("decode proof").bench_function(id(), |b| {
            let bytes = case.prove(&case.run()).0.to_bytes();
            b.iter(|| Proof::from_bytes(&bytes, limits.proof_bytes))
        });
        c.benchmark_group("verify").bench_function(id(), |b| {
            let (run, verifier) = (case.run(), case.verifier());
            let (expected, (proof, _)) = (case.expected(&run), case.prove(&run));
            let verify = || verifier.verify(&expected, &proof);
            verify().expect("the proof is valid");
            b.iter(verify)
        });
        for proofs in BATCHES {
            let mut group = c.benchmark_group(format!("verify {proofs} proofs"));
            group.throughput(Throughput::Elements(proofs as u64));
            group.bench_function(id(), |b| {
                let (run, verifier) = (case.run(), case.verifier());
                let one = || Candidate::One(case.expected(&run), case.prove(&run).0);
                let batch: Vec<_> = (0..proofs).map(|_| (verifier, one())).collect();
                let verify = |batch| verify_many(batch, BatchOptions::default());
                let valid = verify(batch.clone()).all(|verdict| verdict.is_ok());
                assert!(valid, "the proofs are valid");
                // Copies are made outside of the measured time.
                b.iter_batched(
                    || batch.clone(),
                    |batch| verify(batch).filter(Result::is_ok).count(),
                    BatchSize::PerIteration,
                )
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = settings::settings();
    targets = verifying
}
criterion_main!(benches);
