//! What a proof costs to check, in processor time: estimated from the card, and learned from the proofs that were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use zkinfer_circuits::verify::{Plan, Verifier};

/// Whatever the card: hashing, decoding, the openings.
const BASE: u64 = 1_000_000;
/// For each affine piece of the wiring: sums along it.
const PIECE: u64 = 3_000;
/// For each row: the sum over the generators.
const ROW: u64 = 8_000;
/// For each sum that pieces are added to.
const SUM: u64 = 40;
/// For each time that a piece is added to a sum.
const ADDITION: u64 = 20;
/// For each public weight that a sum is multiplied by.
const WEIGHT: u64 = 45;
/// For each used row of the columns of folded weights: what the verifier multiplies it by.
const FOLDED: u64 = 150;
/// For each point of the card, and of the proof.
const POINT: u64 = 15_000;
/// A proof takes at most so many times the estimate, and at least this part of it: beyond, it waited for something, or the
/// clock is wrong.
const MORE: u64 = 4;
const LESS: u64 = 8;
/// Seconds between questions that are let through although they are too dear by what was learned.
const AGAIN: u64 = 60;

/// Nanoseconds for one run of a card's proofs.
#[derive(Debug)]
pub struct Cost {
    estimate: u64,
    learned: AtomicU64,
    /// Second of the Unix epoch from which on what was learned may be doubted.
    doubt: AtomicU64,
}

impl Cost {
    /// Before a proof was seen.
    pub fn of(verifier: &Verifier) -> Cost {
        let card = verifier.card();
        let segments = verifier.segments().iter().zip(&card.segments);
        let segments = segments.map(|(known, card)| estimate(known.plan(), card.points.len()));
        let rows = ROW << card.k.min(30);
        let all = segments.fold(BASE, u64::saturating_add);
        Cost::new(all.saturating_add(rows))
    }

    fn new(estimate: u64) -> Cost {
        Cost {
            estimate,
            learned: AtomicU64::new(estimate),
            doubt: AtomicU64::new(0),
        }
    }

    /// One proof of so many runs.
    pub fn runs(&self, runs: usize) -> Duration {
        duration(self.learned.load(Ordering::Relaxed), runs)
    }

    /// The same by the estimate alone.
    pub fn estimated(&self, runs: usize) -> Duration {
        duration(self.estimate, runs)
    }

    /// Whether one proof of so many runs may take so long. What was learned is believed but for one question in a while:
    /// without it, nothing would ever be learned again of a card whose first proofs took too long.
    pub fn is_within(&self, runs: usize, most: Duration, now: u64) -> bool {
        if self.runs(runs) <= most {
            return true;
        }
        if self.estimated(runs) > most {
            return false;
        }
        let from = self.doubt.load(Ordering::Relaxed);
        let next = now.saturating_add(AGAIN);
        // One of several that come at the same time.
        let change = |from| {
            self.doubt
                .compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed)
        };
        now >= from && change(from).is_ok()
    }

    /// Takes note of what so many runs took.
    pub fn learn(&self, runs: usize, took: Duration) {
        let each = took.as_nanos() / runs.max(1) as u128;
        let most = self.estimate.saturating_mul(MORE);
        let each = (each.min(u128::from(most)) as u64).max(self.estimate / LESS);
        let before = self.learned.load(Ordering::Relaxed);
        // Slowly down and quickly up: nobody should be able to make a card look cheap.
        let after = match before {
            before if each > before => before / 2 + each / 2,
            before => before - before / 16 + each / 16,
        };
        self.learned.store(after, Ordering::Relaxed);
    }
}

/// What a segment takes, the sum over the generators aside, which is one for all segments.
fn estimate(plan: &Plan, points: usize) -> u64 {
    let points = points + plan.layout.columns.advice();
    let folded = plan.layout.weighed_rows();
    let folded = folded.fold(0u64, |sum, rows| sum.saturating_add(rows as u64));
    (PIECE.saturating_mul(plan.wiring.pieces() as u64))
        .saturating_add(SUM.saturating_mul(plan.wiring.sums() as u64))
        .saturating_add(ADDITION.saturating_mul(plan.wiring.additions() as u64))
        .saturating_add(WEIGHT.saturating_mul(plan.wiring.weights() as u64))
        .saturating_add(FOLDED.saturating_mul(folded))
        .saturating_add(POINT.saturating_mul(points as u64))
}

fn duration(each: u64, runs: usize) -> Duration {
    Duration::from_nanos(each.saturating_mul(runs.max(1) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_learned_is_near_the_estimate() {
        let cost = Cost::new(1_000_000_000);
        assert_eq!(cost.runs(2), 2 * SECOND);
        for _ in 0..100 {
            cost.learn(1, 1000 * SECOND);
        }
        assert!(cost.runs(1) > 3 * SECOND && cost.runs(1) <= 4 * SECOND);
        for _ in 0..1000 {
            cost.learn(1, Duration::ZERO);
        }
        assert!(cost.runs(1) >= SECOND / 8 && cost.runs(1) < SECOND / 7);
    }

    #[test]
    fn no_card_is_locked_out_by_what_was_learned() {
        let cost = Cost::new(1_000_000_000);
        for _ in 0..100 {
            cost.learn(1, 4 * SECOND);
        }
        assert!(cost.is_within(1, 4 * SECOND, 1000));
        // Dear by what was learned: one question in a minute.
        assert!(cost.is_within(1, 2 * SECOND, 1000));
        assert!(!cost.is_within(1, 2 * SECOND, 1000));
        assert!(!cost.is_within(1, 2 * SECOND, 1059));
        assert!(cost.is_within(1, 2 * SECOND, 1060));
        // Dear by the estimate: none.
        assert!(!cost.is_within(3, 2 * SECOND, 2000));
    }
}
