//! Generators without a trapdoor, the same for everybody: all that a verifier needs of the commitment scheme.
//!
//! They follow from `k` alone (hashing to the curve), but making them takes about a second for larger `k`, so [`load`] looks,
//! in this order, at what this process already has, at what is shipped with the crate (`k` up to [`MAX_SHIPPED_K`]), and at a [cache directory](cache_dir) of the user; what it
//! has to make, it leaves there. A cached file must have the digest that `zkinfer-circuits` holds.

use crate::kept::{Kept, Loaded};
pub use crate::kept::{ParamsError, cache_dir};
use std::io;
use std::sync::Arc;
pub use zkinfer_circuits::generators::Generators;
use zkinfer_circuits::generators::file_len;
use zkinfer_circuits::layout::MIN_K;
use zkinfer_circuits::params::ReadError;

/// Largest `k` whose generators are part of the crate.
pub const MAX_SHIPPED_K: u32 = 12;

/// Generators for `k`, from the first place that has them; see the [module documentation](self).
///
/// Problems with the cache directory are logged as warnings and otherwise ignored. Threads that ask for the same `k` at
/// once wait for one of them.
///
/// # Errors
/// Only for a `k` that no plan can have.
pub fn load(k: u32) -> Result<Arc<Generators>, ParamsError> {
    static LOADED: Loaded<Generators> = Loaded::new();
    LOADED.get(k)
}

/// The points of those for [`MAX_SHIPPED_K`], uncompressed: those for a smaller `k` are the first of them.
pub(crate) const SHIPPED: &[u8] = include_bytes!("params/generators.bin");

impl Kept for Generators {
    const NAME: &'static str = "generators";
    const FILE: &'static str = "generators";

    fn file_len(k: u32) -> usize {
        file_len(k)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, ReadError> {
        Generators::from_bytes(bytes)
    }

    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        Ok(Generators::to_bytes(self))
    }

    fn k(&self) -> u32 {
        Generators::k(self)
    }

    fn shipped(k: u32) -> Option<Self> {
        let known = (MIN_K..=MAX_SHIPPED_K).contains(&k);
        known.then(|| Generators::trusted(k, SHIPPED))?
    }

    fn make(k: u32) -> Self {
        Generators::new(k)
    }
}
