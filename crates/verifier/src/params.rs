//! Parameters of the commitment scheme: generators without a trapdoor, the same for everybody.
//!
//! They follow from `k` alone (hashing to the curve), but making them takes seconds for larger `k`, so [`load`] looks, in
//! this order, at what this process already has, at what is shipped with the crate (`k` up to [`MAX_SHIPPED_K`]), and at
//! a cache directory of the user; what it has to make, it leaves there.
//!
//! A cached file must have the digest that `zkinfer-circuits` holds (for every `k` there is, up to [`MAX_PINNED_K`]), so
//! neither damage nor somebody with access to the directory can slip in other generators.
//! `ZKINFER_CACHE_DIR` names another directory; an empty value switches the cache off.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use halo2_proofs::poly::commitment::Params;
use thiserror::Error;
use zkinfer_circuits::C;
use zkinfer_circuits::layout::{MAX_K, MIN_K};
use zkinfer_circuits::params::file_len;
pub use zkinfer_circuits::params::{MAX_PINNED_K, ReadError, from_bytes, to_bytes};

/// Largest `k` whose parameters are part of the crate.
pub const MAX_SHIPPED_K: u32 = 12;

/// Environment variable with the cache directory.
pub const CACHE_VARIABLE: &str = "ZKINFER_CACHE_DIR";

/// Why there are no parameters.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// `k` outside the supported range.
    #[error("there are no parameters for k = {k}: supported are {min} to {max}")]
    K {
        /// What was asked for.
        k: u32,
        /// Smallest supported.
        min: u32,
        /// Largest supported.
        max: u32,
    },
}

/// Parameters for `k`, from the first place that has them; see the [module documentation](self).
///
/// Problems with the cache directory are logged as warnings and otherwise ignored. Threads that ask for the same `k` at
/// once wait for one of them.
///
/// # Errors
/// Only for a `k` that no plan can have.
pub fn load(k: u32) -> Result<Arc<Params<C>>, ParamsError> {
    type Slot = Arc<Mutex<Option<Arc<Params<C>>>>>;
    static LOADED: Mutex<BTreeMap<u32, Slot>> = Mutex::new(BTreeMap::new());
    if !(MIN_K..=MAX_K).contains(&k) {
        return Err(ParamsError::K {
            k,
            min: MIN_K,
            max: MAX_K,
        });
    }
    let slot = lock(&LOADED).entry(k).or_default().clone();
    let mut slot = lock(&slot);
    if let Some(params) = &*slot {
        return Ok(params.clone());
    }
    let start = Instant::now();
    let params = match shipped(k) {
        Some(params) => params,
        None => load_from(cache_dir().as_deref(), k),
    };
    tracing::debug!(k, time = ?start.elapsed(), "parameters loaded");
    Ok(slot.insert(Arc::new(params)).clone())
}

/// What is behind these locks is replaced in one step, so a panic elsewhere cannot have left it half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether [`load`] finds parameters for `k` without making them (which takes seconds for larger `k`).
pub fn is_ready(k: u32) -> bool {
    (MIN_K..=MAX_SHIPPED_K).contains(&k) || cache_dir().is_some_and(|dir| path(&dir, k).exists())
}

/// The directory in which parameters are kept, if there is one.
pub fn cache_dir() -> Option<PathBuf> {
    match std::env::var_os(CACHE_VARIABLE) {
        Some(dir) if dir.is_empty() => None,
        Some(dir) => Some(dir.into()),
        None => dirs::cache_dir().map(|dir| dir.join("zkinfer")),
    }
}

fn path(dir: &Path, k: u32) -> PathBuf {
    dir.join(format!("params-k{k}.bin"))
}

/// From the directory, or made and left there.
fn load_from(dir: Option<&Path>, k: u32) -> Params<C> {
    let Some(dir) = dir else {
        return Params::new(k);
    };
    let path = path(dir, k);
    match read(&path, k) {
        Ok(params) => return params,
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            tracing::info!(k, "making parameters, once per machine");
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cached parameters are unusable and will be made again")
        }
    }
    let params = Params::new(k);
    if let Err(error) = write(&path, &params) {
        tracing::warn!(
            path = %path.display(), %error,
            "parameters cannot be kept and will be made again next time; set {CACHE_VARIABLE} to a writable directory"
        );
    }
    params
}

fn read(path: &Path, k: u32) -> Result<Params<C>, ReadError> {
    let limit = file_len(k);
    let mut bytes = Vec::with_capacity(limit);
    // One byte more than there may be shows that there are too many.
    std::fs::File::open(path)?
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)?;
    match from_bytes(&bytes)? {
        params if params.k() == k => Ok(params),
        params => Err(ReadError::OtherK { found: params.k() }),
    }
}

/// A reader sees the old file, or none, or the whole new one: it is written elsewhere and moved into place.
fn write(path: &Path, params: &Params<C>) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&to_bytes(params)?)?;
    file.persist(path)?;
    Ok(())
}

/// The generators of the monomial basis do not depend on `k`, so one file holds them for all.
fn shipped(k: u32) -> Option<Params<C>> {
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
    let monomial = include_bytes!("params/monomial.bin").get(..32 << k)?;
    let others = include_bytes!("params/others.bin");
    let header = k.to_le_bytes();
    Params::read(
        &mut header
            .as_slice()
            .chain(monomial)
            .chain(lagrange)
            .chain(others.as_slice()),
    )
    .ok()
}

#[cfg(test)]
mod tests;
