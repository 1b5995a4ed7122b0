//! Times of single and batched verification.
//!
//! ```text
//! cargo run --release --workspace --example verify_speed -- folder name      # from `cargo run --release --example fixtures`
//! ```

use halo2_proofs::poly::commitment::Params;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use zkinfer_circuits::card::{Card, Proof};
use zkinfer_circuits::verify::{BatchOptions, Candidate, Expected, Limits, Verifier, verify_many};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, name] = arguments.as_slice() else {
        return Err("arguments: folder, name".into());
    };
    let folder = Path::new(folder);
    let limits = Limits::default();
    let card = std::fs::read(folder.join(format!("{name}.card")))?;
    let card = Card::from_bytes(&card, limits.card_bytes)?;
    let (k, params) = (card.k, Arc::new(Params::new(card.k)));
    let clock = Instant::now();
    let verifier = Verifier::new(card, params, &limits)?;
    let load = clock.elapsed();
    let mut proofs = Vec::new();
    while let Ok(bytes) = std::fs::read(folder.join(format!("{name}_{}.proof", proofs.len()))) {
        proofs.push(Proof::from_bytes(&bytes, limits.proof_bytes)?);
    }
    let expected = Expected {
        context: name.as_bytes().to_vec(),
        ..Expected::default()
    };

    let mut single = f64::MAX;
    let mut all = f64::MAX;
    let rounds = if std::env::var_os("BATCH_ONLY").is_some() {
        0
    } else {
        5
    };
    for _ in 0..rounds {
        let start = Instant::now();
        for proof in &proofs {
            let clock = Instant::now();
            verifier.verify(&expected, proof)?;
            single = single.min(clock.elapsed().as_secs_f64() * 1e3);
        }
        all = all.min(start.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "{name}: k {k}, {} columns, {} points, card {load:.1?}",
        verifier.plan().layout.columns.advice(),
        verifier.card().points.len()
    );
    let mut batch = f64::MAX;
    for _ in 0..5 {
        let items = proofs.iter().cloned();
        let items = items.map(|proof| (&verifier, Candidate::One(expected.clone(), proof)));
        let items: Vec<_> = items.collect();
        let clock = Instant::now();
        for result in verify_many(items, BatchOptions::default()) {
            result?;
        }
        batch = batch.min(clock.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "one: {single:.2} ms; {} one by one: {all:.1} ms, at once: {batch:.1} ms, 1/{:.1}",
        proofs.len(),
        all / batch
    );
    Ok(())
}
