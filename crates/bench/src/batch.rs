//! Many proofs verified together, and many runs in one proof.

use crate::error::BenchError;
use crate::measure::Meter;
use crate::report::{BatchPoint, RunsPoint, StageName};
use crate::stages::{Bench, expected};
use std::time::Instant;
use zkinfer::{BatchOptions, Candidate, Expected, Proof, Visibility, verify_many};

/// Proofs for the largest batch may take so many times the time for a stage; after that they are repeated.
const PATIENCE: f64 = 5.0;

pub(crate) fn measure(
    bench: &mut Bench,
    batches: &[usize],
    meter: &mut Meter<'_>,
    notes: &mut Vec<String>,
) -> Result<Vec<BatchPoint>, BenchError> {
    let most = batches.iter().copied().max().unwrap_or(0);
    let start = Instant::now();
    let patience = PATIENCE * meter.effort.seconds();
    while bench.proofs.len() < most && start.elapsed().as_secs_f64() < patience {
        meter.tell(&format!(
            "proof {} of {most} for batches",
            bench.proofs.len() + 1
        ));
        bench.proofs.push(bench.prove()?.to_bytes());
    }
    if bench.proofs.len() < most {
        let there = bench.proofs.len();
        notes.push(format!("Batches of more than {there} proofs hold some of {there} different proofs several times."));
    }
    let expected = bench.expected();
    let of = meter.of.clone();
    let mut points = Vec::new();
    for &proofs in batches {
        meter.of = format!("{of}, {proofs} proofs");
        let (verify, ()) =
            meter.stage(StageName::Verify, || verify_batch(bench, &expected, proofs))?;
        points.push(BatchPoint { proofs, verify });
    }
    meter.of = of;
    Ok(points)
}

/// Bytes to verdicts.
fn verify_batch(bench: &Bench, expected: &Expected, proofs: usize) -> Result<(), BenchError> {
    let limit = bench.verifier.limits().proof_bytes;
    let bytes = bench.proofs.iter().cycle().take(proofs);
    let candidates = bytes
        .map(|bytes| {
            Ok((
                &bench.verifier,
                Candidate::one(expected.clone(), Proof::from_bytes(bytes, limit)?),
            ))
        })
        .collect::<Result<Vec<_>, BenchError>>()?;
    for verdict in verify_many(candidates, BatchOptions::default()) {
        verdict.map_err(BenchError::Rejected)?;
    }
    Ok(())
}

pub(crate) fn measure_runs(
    bench: &Bench,
    counts: &[usize],
    meter: &mut Meter<'_>,
) -> Result<Vec<RunsPoint>, BenchError> {
    let of = meter.of.clone();
    let mut points = Vec::new();
    for &count in counts {
        meter.of = format!("{of}, {count} runs in a proof");
        let runs = vec![bench.run.clone(); count];
        let visibility = Visibility::default();
        let (prove, proof) = meter.stage(StageName::Prove, || {
            let rng = &mut zkinfer::rng();
            Ok::<_, BenchError>(bench.secret.prove_runs(&runs, &visibility, b"", rng)?.proof)
        })?;
        let bytes = proof.to_bytes();
        let expected: Vec<Expected> = runs.iter().map(expected).collect();
        let (verify, ()) = meter.stage(StageName::Verify, || {
            let proof = Proof::from_bytes(&bytes, bench.verifier.limits().proof_bytes)?;
            let verdicts = bench.verifier.verify_runs(&expected, &proof);
            verdicts.map(|_| ()).map_err(BenchError::Rejected)
        })?;
        points.push(RunsPoint {
            runs: count,
            prove,
            verify,
            proof_bytes: bytes.len() as u64,
        });
    }
    meter.of = of;
    Ok(points)
}
