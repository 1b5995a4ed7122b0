//! Many proofs.

use super::{Proven, Run, Secret, Visibility};
use crate::error::ProveError;
use rand_core::{CryptoRng, SeedableRng};
use rayon::prelude::*;

/// Proves many runs, at most `parallel` at a time (0: one per thread), and hands each proof to `done` as it is finished.
///
/// Memory is bounded by `parallel` proofs in the making; results are handed out in order of the runs. Each proof has
/// randomness of its own, seeded from `rng` before any of them starts, so results do not depend on the thread count.
///
/// # Errors
/// The first error ends the work; proofs that were handed out before stay valid.
pub fn prove_many<R: CryptoRng>(
    secret: &Secret,
    runs: &[Run],
    visibility: &Visibility,
    context: impl Fn(usize) -> Vec<u8> + Sync,
    parallel: usize,
    rng: &mut R,
    mut done: impl FnMut(usize, Proven),
) -> Result<(), ProveError> {
    secret.prepare()?;
    let parallel = if parallel == 0 {
        rayon::current_num_threads()
    } else {
        parallel
    };
    let seeds: Vec<[u8; 32]> = runs
        .iter()
        .map(|_| {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        })
        .collect();
    for (chunk, (runs, seeds)) in runs
        .chunks(parallel)
        .zip(seeds.chunks(parallel))
        .enumerate()
    {
        let first = chunk * parallel;
        let proofs: Vec<Result<Proven, ProveError>> = runs
            .par_iter()
            .zip(seeds)
            .enumerate()
            .map(|(i, (run, seed))| {
                let mut rng = rand_chacha::ChaCha20Rng::from_seed(*seed);
                secret.prove(run, visibility, &context(first + i), &mut rng)
            })
            .collect();
        for (i, proof) in proofs.into_iter().enumerate() {
            done(first + i, proof?);
        }
    }
    Ok(())
}
