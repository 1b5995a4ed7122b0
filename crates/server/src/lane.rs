//! Processor time, bounded: so many jobs at once, so many waiting, on threads of their own.

use crate::problem::Problem;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A queue with threads behind it. What a job does in parallel, it does on the lane's threads, so hostile cards take no
/// time from proofs.
#[derive(Debug)]
pub struct Lane {
    name: &'static str,
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
    pool: Arc<ThreadPool>,
    capacity: usize,
    threads: usize,
}

impl Lane {
    /// A lane with `threads` threads, as many jobs at once, and `queue` more that may wait.
    pub fn new(
        name: &'static str,
        threads: usize,
        queue: usize,
    ) -> Result<Lane, ThreadPoolBuildError> {
        let threads = threads.clamp(1, 1 << 10);
        let capacity = threads + queue.min(1 << 20);
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(move |i| format!("{name}-{i}"))
            .build()?;
        Ok(Lane {
            name,
            places: Arc::new(Semaphore::new(capacity)),
            running: Arc::new(Semaphore::new(threads)),
            pool: Arc::new(pool),
            capacity,
            threads,
        })
    }

    /// Does something as soon as a thread is free. A job that has begun is finished, and keeps its place until then, even
    /// if nobody waits for it any more.
    ///
    /// # Errors
    /// If too many wait already; if the job panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return Err(Problem::overloaded("too many requests are waiting"));
        };
        let Ok(turn) = self.running.clone().acquire_owned().await else {
            return Err(Problem::internal());
        };
        let pool = self.pool.clone();
        let work = move || {
            let _held = (place, turn);
            pool.install(job)
        };
        let lane = self.name;
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(lane, %error, "a job panicked");
            Problem::internal()
        })
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.threads - self.running.available_permits().min(self.threads)
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        let here = self.capacity - self.places.available_permits().min(self.capacity);
        here.saturating_sub(self.running())
    }
}

/// Does something short that may touch the disk, off the threads that do the networking.
pub async fn aside<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(job).await.map_err(|error| {
        tracing::error!(%error, "a job panicked");
        Problem::internal()
    })
}
