//! Parameters of the commitment scheme for provers: [generators](crate::generators) and the Lagrange base.
//!
//! They follow from `k` alone (hashing to the curve), but making them takes seconds for larger `k`, so [`load`] looks, in
//! this order, at what this process already has, at what is shipped with the crate (`k` up to [`MAX_SHIPPED_K`]), and at
//! a cache directory of the user; what it has to make, it leaves there.
//!
//! A cached file must have the digest that `zkinfer-circuits` holds (for every `k` there is, up to [`MAX_PINNED_K`]), so
//! neither damage nor somebody with access to the directory can slip in other generators.
//! `ZKINFER_CACHE_DIR` names another directory; an empty value switches the cache off.

use std::io::{self, Read};
use std::sync::Arc;

use halo2_proofs::poly::commitment::Params;
use zkinfer_circuits::C;
use zkinfer_circuits::params::file_len;
pub use zkinfer_circuits::params::{MAX_PINNED_K, ReadError, from_bytes, to_bytes};

pub use crate::generators::MAX_SHIPPED_K;
use crate::generators::SHIPPED;
pub use crate::kept::{CACHE_VARIABLE, ParamsError, cache_dir};
use crate::kept::{Kept, Loaded};

/// Parameters for `k`, from the first place that has them; see the [module documentation](self).
///
/// Problems with the cache directory are logged as warnings and otherwise ignored. Threads that ask for the same `k` at
/// once wait for one of them.
///
/// # Errors
/// Only for a `k` that no plan can have.
pub fn load(k: u32) -> Result<Arc<Params<C>>, ParamsError> {
    static LOADED: Loaded<Params<C>> = Loaded::new();
    LOADED.get(k)
}

impl Kept for Params<C> {
    const NAME: &'static str = "parameters";
    const FILE: &'static str = "params";

    fn file_len(k: u32) -> usize {
        file_len(k)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, ReadError> {
        from_bytes(bytes)
    }

    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        to_bytes(self)
    }

    fn k(&self) -> u32 {
        Params::k(self)
    }

    /// The shipped generators, compressed as upstream reads them, and the Lagrange base for this `k`.
    fn shipped(k: u32) -> Option<Self> {
        let lagrange: &[u8] = match k {
            6 => include_bytes!("params/lagrange-6.bin"),
            7 => include_bytes!("params/lagrange-7.bin"),
            8 => include_bytes!("params/lagrange-8.bin"),
            9 => include_bytes!("params/lagrange-9.bin"),
            10 => include_bytes!("params/lagrange-10.bin"),
            11 => include_bytes!("params/lagrange-11.bin"),
            12 => include_bytes!("params/lagrange-12.bin"),
            _ => return None,
        };
        let points = SHIPPED.as_chunks::<64>().0.get(..2 + (1 << k))?;
        let compressed: Vec<u8> = points.iter().flat_map(compress).collect();
        let (others, monomial) = compressed.split_at(64);
        let header = k.to_le_bytes();
        Params::read(
            &mut header
                .as_slice()
                .chain(monomial)
                .chain(lagrange)
                .chain(others),
        )
        .ok()
    }

    fn make(k: u32) -> Self {
        Params::new(k)
    }
}

/// The abscissa and, as its highest bit, the parity of the ordinate.
fn compress(point: &[u8; 64]) -> [u8; 32] {
    let mut compressed = [0; 32];
    compressed.copy_from_slice(&point[..32]);
    compressed[31] |= (point[32] & 1) << 7;
    compressed
}
