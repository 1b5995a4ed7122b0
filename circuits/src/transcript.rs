//! Hashes and challenges, all on halo2's own Blake2b transcript.

use crate::{C, F};
use blake2b_simd::Params as Blake2b;
use ff::FromUniformBytes;
use halo2_proofs::transcript::{Blake2bWrite, Challenge255, Transcript as _};
use std::fmt;

/// A 32-byte digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Blake2b-256 of `bytes`, personalized by `domain` (at most 16 bytes).
    pub fn of(domain: &'static str, bytes: &[u8]) -> Digest {
        let hash = Blake2b::new()
            .hash_length(32)
            .personal(domain.as_bytes())
            .hash(bytes);
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.as_bytes());
        Digest(digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A transcript that only absorbs what both sides know and yields challenges.
#[derive(Clone, Debug)]
pub struct Transcript(Blake2bWrite<Vec<u8>, C, Challenge255<C>>);

/// A point that cannot be absorbed: the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityPoint;

impl Transcript {
    /// A transcript for one purpose.
    pub fn new(domain: &'static str) -> Transcript {
        let mut t = Transcript(Blake2bWrite::init(Vec::new()));
        t.bytes(domain.as_bytes());
        t
    }

    /// Absorbs bytes, by their 512-bit hash.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let hash = Blake2b::new()
            .hash_length(64)
            .personal(b"zkinfer-bytes")
            .hash(bytes);
        let mut wide = [0; 64];
        wide.copy_from_slice(hash.as_bytes());
        self.scalar(F::from_uniform_bytes(&wide));
    }

    /// Absorbs a scalar.
    pub fn scalar(&mut self, scalar: F) {
        self.0
            .common_scalar(scalar)
            .expect("absorbing a scalar writes nothing and cannot fail");
    }

    /// Absorbs a point.
    ///
    /// # Errors
    /// The identity has no coordinates and is refused.
    pub fn point(&mut self, point: C) -> Result<(), IdentityPoint> {
        self.0.common_point(point).map_err(|_| IdentityPoint)
    }

    /// The next challenge.
    pub fn challenge(&mut self) -> F {
        *self.0.squeeze_challenge_scalar::<()>()
    }

    /// Several challenges.
    pub fn challenges(&mut self, count: usize) -> Vec<F> {
        (0..count).map(|_| self.challenge()).collect()
    }
}
