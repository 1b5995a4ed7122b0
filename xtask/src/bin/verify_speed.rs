//! Times of single and batched verification: wall, and processor time of all threads (Linux), medians.
//!
//! ```text
//! cargo xtask verify_speed -- folder name [rounds]    # from `cargo xtask fixtures`
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use zkinfer_circuits::card::{Card, Proof};
use zkinfer_circuits::generators::Generators;
use zkinfer_circuits::verify::{BatchOptions, Candidate, Expected, Limits, Verifier, verify_many};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, name, rest @ ..] = arguments.as_slice() else {
        return Err("arguments: folder, name, number of rounds".into());
    };
    let rounds = rest.first().map_or(Ok(9), |n| n.parse())?;
    let folder = Path::new(folder);
    let limits = Limits::default();
    let card = std::fs::read(folder.join(format!("{name}.card")))?;
    let card = Card::from_bytes(&card, limits.card_bytes)?;
    let (k, generators) = (card.k, Arc::new(Generators::new(card.k)));
    let clock = Instant::now();
    let verifier = Verifier::new(card, generators, &limits)?;
    let load = clock.elapsed();
    let mut proofs = Vec::new();
    while let Ok(bytes) = std::fs::read(folder.join(format!("{name}_{}.proof", proofs.len()))) {
        proofs.push(Proof::from_bytes(&bytes, limits.proof_bytes)?);
    }
    let expected = Expected {
        context: name.as_bytes().to_vec(),
        ..Expected::default()
    };
    println!(
        "{name}: k {k}, {} columns, {} points, card {load:.1?}, {} proofs",
        verifier.columns(),
        verifier.card().points(),
        proofs.len()
    );

    let one = |proof| Candidate::one(expected.clone(), proof);
    let proofs: Vec<Candidate> = proofs.into_iter().map(one).collect();
    measure(&verifier, &proofs, rounds)?;
    // As many copies of the proof of several runs, if there is one.
    if let Ok(bytes) = std::fs::read(folder.join(format!("{name}_3.runs"))) {
        println!("proofs of three runs");
        let runs = verifier.candidate(&[expected], &bytes)?;
        measure(&verifier, &vec![runs; proofs.len()], rounds)?;
    }
    Ok(())
}

/// Prints times of single verifications and of a batch.
fn measure(
    verifier: &Verifier,
    proofs: &[Candidate],
    rounds: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let (mut alone, mut together, mut first) = (Vec::new(), Vec::new(), (0.0, 0.0));
    // The first round is the warm-up. Alternating, so that both see the same neighbours.
    for round in 0..=rounds {
        let start = Clock::start();
        for proof in proofs {
            drop(verifier.verify_runs(&proof.expected, &proof.proof)?);
        }
        let single = start.stop();
        let items: Vec<_> = proofs.iter().map(|p| (verifier, p.clone())).collect();
        let start = Clock::start();
        for result in verify_many(items, BatchOptions::default()) {
            result?;
        }
        let batch = start.stop();
        if round > 0 {
            together.push(batch);
            alone.push(single);
        } else {
            first = batch;
        }
    }
    let count = proofs.len() as f64;
    let (alone, together) = (median(alone), median(together));
    let line = |what: &str, (wall, cpu): (f64, f64)| {
        println!(
            "{what}: {wall:8.2} ms wall, {cpu:8.2} ms processor; each proof {:.3} and {:.3}",
            wall / count,
            cpu / count
        );
    };
    line("one by one ", alone);
    line("all at once", together);
    line("first batch", first);
    println!(
        "ratio: 1/{:.1} wall, 1/{:.1} processor",
        alone.0 / together.0,
        alone.1 / together.1
    );
    Ok(())
}

/// Wall and processor time in milliseconds.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Clock {
        Clock(Instant::now(), processor())
    }

    fn stop(self) -> (f64, f64) {
        (self.0.elapsed().as_secs_f64() * 1e3, processor() - self.1)
    }
}

/// Processor time of all threads of this process so far, in milliseconds; zero where the system does not tell.
fn processor() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return 0.0;
    };
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e6
}

/// The median of each.
fn median(times: Vec<(f64, f64)>) -> (f64, f64) {
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (wall, cpu) = times.into_iter().unzip();
    (middle(wall), middle(cpu))
}
