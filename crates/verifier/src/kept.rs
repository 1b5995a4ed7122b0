//! What follows from `k` alone and takes long to make: looked for in this process, in the program, in a directory of the
//! user; what has to be made is left there.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use zkinfer_circuits::layout::{MAX_K, MIN_K};
use zkinfer_circuits::params::ReadError;

use thiserror::Error;

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

/// The directory in which parameters and generators are kept, if there is one.
pub fn cache_dir() -> Option<PathBuf> {
    match std::env::var_os(CACHE_VARIABLE) {
        Some(dir) if dir.is_empty() => None,
        Some(dir) => Some(dir.into()),
        None => dirs::cache_dir().map(|dir| dir.join("zkinfer")),
    }
}

/// One kind of it.
pub(crate) trait Kept: Sized {
    /// In messages.
    const NAME: &'static str;
    /// In names of files.
    const FILE: &'static str;

    /// Size of a file for `k`.
    fn file_len(k: u32) -> usize;
    /// Reads a file; no others than the right ones are taken.
    fn from_bytes(bytes: &[u8]) -> Result<Self, ReadError>;
    /// The file.
    fn to_bytes(&self) -> io::Result<Vec<u8>>;
    /// What it is for.
    fn k(&self) -> u32;
    /// That for `k`, if it is part of the program.
    fn shipped(k: u32) -> Option<Self>;
    /// Makes that for `k`.
    fn make(k: u32) -> Self;
}

/// What this process has, by `k`.
pub(crate) struct Loaded<T>(Mutex<BTreeMap<u32, Slot<T>>>);

type Slot<T> = Arc<Mutex<Option<Arc<T>>>>;

impl<T: Kept> Loaded<T> {
    pub const fn new() -> Self {
        Loaded(Mutex::new(BTreeMap::new()))
    }

    /// That for `k`, from the first place that has it. Threads that ask for the same at once wait for one of them.
    pub fn get(&self, k: u32) -> Result<Arc<T>, ParamsError> {
        if !(MIN_K..=MAX_K).contains(&k) {
            return Err(ParamsError::K {
                k,
                min: MIN_K,
                max: MAX_K,
            });
        }
        let slot = lock(&self.0).entry(k).or_default().clone();
        let mut slot = lock(&slot);
        if let Some(kept) = &*slot {
            return Ok(kept.clone());
        }
        let start = Instant::now();
        let kept = T::shipped(k).unwrap_or_else(|| load_from(cache_dir().as_deref(), k));
        tracing::debug!(k, time = ?start.elapsed(), "{} loaded", T::NAME);
        Ok(slot.insert(Arc::new(kept)).clone())
    }
}

/// What is behind these locks is replaced in one step, so a panic elsewhere cannot have left it half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn path<T: Kept>(dir: &Path, k: u32) -> PathBuf {
    dir.join(format!("{}-k{k}.bin", T::FILE))
}

/// From the directory, or made and left there.
pub(crate) fn load_from<T: Kept>(dir: Option<&Path>, k: u32) -> T {
    let Some(dir) = dir else {
        return T::make(k);
    };
    let path = path::<T>(dir, k);
    match read(&path, k) {
        Ok(kept) => return kept,
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            tracing::info!(k, "making {}, once per machine", T::NAME);
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cached {} are unusable and will be made again", T::NAME)
        }
    }
    let kept = T::make(k);
    if let Err(error) = write(&path, &kept) {
        tracing::warn!(
            path = %path.display(), %error,
            "{} cannot be kept and will be made again next time; set {CACHE_VARIABLE} to a writable directory",
            T::NAME
        );
    }
    kept
}

pub(crate) fn read<T: Kept>(path: &Path, k: u32) -> Result<T, ReadError> {
    let limit = T::file_len(k);
    let mut bytes = Vec::with_capacity(limit);
    // One byte more than there may be shows that there are too many.
    std::fs::File::open(path)?
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)?;
    match T::from_bytes(&bytes)? {
        kept if kept.k() == k => Ok(kept),
        kept => Err(ReadError::OtherK { found: kept.k() }),
    }
}

/// A reader sees the old file, or none, or the whole new one: it is written elsewhere and moved into place.
fn write<T: Kept>(path: &Path, kept: &T) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&kept.to_bytes()?)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests;
