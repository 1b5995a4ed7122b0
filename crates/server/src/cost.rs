//! What a proof costs to check, in processor time: estimated from the card, and learned from the proofs that were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use zkinfer_circuits::verify::Verifier;

/// Whatever the card: hashing, decoding, the openings.
const BASE: u64 = 1_000_000;
/// For each affine piece of the wiring: sums along it.
const PIECE: u64 = 3_000;
/// For each row: the sum over the generators.
const ROW: u64 = 8_000;
/// For each point of the card, and of the proof.
const POINT: u64 = 15_000;
/// Most that is learned from one proof, so that an interruption is not taken for work.
const MOST: u64 = 60_000_000_000;

/// Nanoseconds for one run of a card's proofs.
#[derive(Debug)]
pub struct Cost {
    estimate: u64,
    learned: AtomicU64,
}

impl Cost {
    /// Before a proof was seen.
    pub fn of(verifier: &Verifier) -> Cost {
        let plan = verifier.plan();
        let points = verifier.card().points.len() + plan.layout.columns.advice();
        let estimate = (PIECE.saturating_mul(plan.wiring.pieces() as u64))
            .saturating_add(ROW << verifier.card().k.min(30))
            .saturating_add(POINT.saturating_mul(points as u64))
            .saturating_add(BASE);
        Cost {
            estimate,
            learned: AtomicU64::new(0),
        }
    }

    /// One proof of so many runs.
    pub fn runs(&self, runs: usize) -> Duration {
        let learned = self.learned.load(Ordering::Relaxed);
        let each = if learned == 0 { self.estimate } else { learned };
        Duration::from_nanos(each.saturating_mul(runs.max(1) as u64))
    }

    /// Takes note of what so many runs took.
    pub fn learn(&self, runs: usize, took: Duration) {
        let each = took.as_nanos() / runs.max(1) as u128;
        let each = (each as u64).clamp(1, MOST);
        let before = self.learned.load(Ordering::Relaxed);
        // Slowly down and quickly up: nobody should be able to make a card look cheap.
        let after = match before {
            0 => each,
            before if each > before => before / 2 + each / 2,
            before => before - before / 16 + each / 16,
        };
        self.learned.store(after, Ordering::Relaxed);
    }
}
