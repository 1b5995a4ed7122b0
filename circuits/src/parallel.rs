//! Loops on all threads, where the feature `multicore` is on; on the calling thread otherwise.

#[cfg(feature = "multicore")]
use rayon::prelude::*;

/// `f` of every item, in order.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
    #[cfg(feature = "multicore")]
    return items.par_iter().map(f).collect();
    #[cfg(not(feature = "multicore"))]
    return items.iter().map(f).collect();
}

/// `f` of every item, in order.
pub(crate) fn map_into<T: Send, R: Send>(
    items: Vec<T>,
    f: impl Fn(T) -> R + Sync + Send,
) -> Vec<R> {
    #[cfg(feature = "multicore")]
    return items.into_par_iter().map(f).collect();
    #[cfg(not(feature = "multicore"))]
    return items.into_iter().map(f).collect();
}

/// How many of them work at once.
pub(crate) fn threads() -> usize {
    #[cfg(feature = "multicore")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "multicore"))]
    return 1;
}
