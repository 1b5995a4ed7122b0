//! Numbers that look random and are the same everywhere.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// A sequence of numbers that a seed decides.
pub(crate) struct Sequence(ChaCha8Rng);

impl Sequence {
    pub fn new(seed: u64) -> Sequence {
        Sequence(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in [0, 1).
    fn next(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// `len` numbers, uniform in [0, 1).
    pub fn unit(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }

    /// `len` numbers, uniform in [-spread, spread).
    pub fn around_zero(&mut self, len: usize, spread: f32) -> Vec<f32> {
        (0..len)
            .map(|_| spread * (2.0 * self.next() - 1.0))
            .collect()
    }
}
