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
            let proof = &case.proofs()[0];
            b.iter(|| proof.to_bytes())
        });
        c.benchmark_group("decode proof").bench_function(id(), |b| {
            let bytes = case.proofs()[0].to_bytes();
            b.iter(|| Proof::from_bytes(&bytes, limits.proof_bytes))
        });
        c.benchmark_group("verify").bench_function(id(), |b| {
            let (verifier, expected) = (case.verifier(), case.expected());
            let proof = &case.proofs()[0];
            b.iter(|| {
                let verdict = verifier.verify(&expected, proof);
                verdict.expect("the proof is valid")
            })
        });
        for proofs in BATCHES {
            let mut group = c.benchmark_group(format!("verify {proofs} proofs"));
            group.throughput(Throughput::Elements(proofs as u64));
            group.bench_function(id(), |b| {
                let (verifier, expected) = (case.verifier(), case.expected());
                let one = |proof: &Proof| Candidate::one(expected.clone(), proof.clone());
                let different = case.proofs().iter().cycle().take(proofs);
                let batch: Vec<_> = different.map(|proof| (verifier, one(proof))).collect();
                // Copies are made outside of the measured time.
                b.iter_batched(
                    || batch.clone(),
                    |batch| {
                        for verdict in verify_many(batch, BatchOptions::default()) {
                            verdict.expect("the proof is valid");
                        }
                    },
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
