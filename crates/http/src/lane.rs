//! Processor time, bounded and shared out: so many jobs at once, so many waiting, and clients that wait take turns by the
//! time that their jobs take.

use crate::problem::Problem;
use crate::shares::{Pace, Shares};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Whoever gives a job more time than a century means all the time there is, and clocks end.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Priority, from 0 to 99, of the threads of clients that share a lane: a niceness of 9, with which a thread has about an
/// eighth of the time of one that has none.
#[cfg(target_os = "linux")]
const LOW: u8 = 25;

/// A queue with threads behind it. What a job does in parallel, it does on the lane's threads, so hostile cards take no
/// time from proofs. Each lane has its threads twice: jobs of clients that share it with others run on threads that the
/// system puts last, so that a job of somebody who had less than its part gets a core at once, if all are busy, too.
#[derive(Clone, Debug)]
pub struct Lane {
    name: &'static str,
    shares: Arc<Mutex<Waits>>,
    /// For those who have had less than their part or are alone.
    front: Arc<ThreadPool>,
    /// For those who share.
    back: Arc<ThreadPool>,
    threads: usize,
    queue: usize,
}

/// Those who wait, each with the call that gives it a thread.
type Waits = Shares<oneshot::Sender<Turn>>;

/// Who asks for processor time, and how much is expected to be needed.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Who asks.
    pub client: IpAddr,
    /// How much is expected to be needed.
    pub cost: Duration,
    /// A job that has begun looks for the end of its time between its parts.
    pub limit: Duration,
}

/// Tells a job to stop: nobody waits for it any more, or its time is over.
#[derive(Clone, Debug)]
pub struct Stop {
    left: Arc<AtomicBool>,
    end: Instant,
}

impl Stop {
    /// For a job that goes on for so long.
    pub fn new(limit: Duration) -> Stop {
        Stop {
            left: Arc::default(),
            end: Instant::now() + limit.min(LONGEST),
        }
    }

    /// Says that nobody waits for the job any more.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Whether to stop: to be asked between parts of a job.
    pub fn is_due(&self) -> bool {
        self.is_alone() || Instant::now() >= self.end
    }

    /// Whether nobody waits for the job any more.
    pub fn is_alone(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
}

/// Tells a job that nobody waits for it, when dropped.
struct Waiter(Arc<AtomicBool>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A thread of a lane, for one job.
#[derive(Debug)]
struct Turn {
    lane: Lane,
    client: IpAddr,
    /// What the client was charged beforehand.
    cost: Duration,
    pace: Pace,
    start: Instant,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let took = self.start.elapsed();
        self.lane
            .shares()
            .end(self.client, self.cost, took, self.pace);
        self.lane.call_next();
    }
}

/// A place in the queue, given back when nobody wants it any more.
struct Place<'a> {
    lane: &'a Lane,
    client: IpAddr,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.lane.shares().leave(self.client, self.number);
    }
}

impl Lane {
    /// A lane with `threads` threads, as many jobs at once, and `queue` more that may wait.
    pub fn new(
        name: &'static str,
        threads: usize,
        queue: usize,
    ) -> Result<Lane, ThreadPoolBuildError> {
        let threads = threads.clamp(1, 1 << 10);
        let builder = || ThreadPoolBuilder::new().num_threads(threads);
        let front = builder()
            .thread_name(move |i| format!("{name}-{i}"))
            .build()?;
        let back = builder()
            .thread_name(move |i| format!("{name}-back-{i}"))
            .start_handler(|_| stand_back())
            .build()?;
        Ok(Lane {
            name,
            shares: Arc::default(),
            front: Arc::new(front),
            back: Arc::new(back),
            threads,
            queue: queue.min(1 << 20),
        })
    }

    /// Does something as soon as a thread is free and it is the client's turn. A job that has begun keeps its place until
    /// it is over, even if nobody waits for it any more: then it is told to stop.
    ///
    /// # Errors
    /// If too many wait already; if the job panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        asking: Asking,
        job: impl FnOnce(&Stop) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.turn(asking).await?;
        let stop = Stop::new(asking.limit);
        let _waiter = Waiter(stop.left.clone());
        let pool = match turn.pace {
            Pace::Prompt | Pace::Alone => self.front.clone(),
            Pace::Shared => self.back.clone(),
        };
        let work = move || {
            let _turn = turn;
            pool.install(|| job(&stop))
        };
        let lane = self.name;
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(lane, %error, "a job panicked");
            Problem::internal()
        })
    }

    async fn turn(&self, asking: Asking) -> Result<Turn, Problem> {
        let full = || Problem::overloaded("too many requests are waiting");
        let (call, called) = oneshot::channel();
        let number = {
            let mut shares = self.shares();
            let room = self.threads.saturating_sub(shares.sharing()) + self.queue;
            if shares.waiting() >= room && !shares.displace(asking.client) {
                return Err(full());
            }
            shares.wait(asking.client, asking.cost, call)
        };
        let place = Place {
            lane: self,
            client: asking.client,
            number,
        };
        self.call_next();
        let turn = called.await;
        drop(place);
        turn.map_err(|_| full())
    }

    /// Gives free threads to those who wait.
    fn call_next(&self) {
        loop {
            let Some((client, next, pace)) = self.shares().take(self.threads) else {
                return;
            };
            // One that nobody wants is dropped here, and calls the next one itself.
            let _ = next.call.send(Turn {
                lane: self.clone(),
                client,
                cost: next.cost,
                pace,
                start: Instant::now(),
            });
        }
    }

    fn shares(&self) -> MutexGuard<'_, Waits> {
        // Every change is made in one step.
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.shares().running()
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.shares().waiting()
    }
}

/// Lets threads of others go first where the system knows of such a thing for one thread alone.
pub fn stand_back() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
        let set = ThreadPriorityValue::try_from(LOW)
            .map(|low| set_current_thread_priority(ThreadPriority::Crossplatform(low)));
        if !matches!(set, Ok(Ok(()))) {
            tracing::debug!(?set, "threads of a lane keep their priority");
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn asking(last: u8) -> Asking {
        Asking {
            client: IpAddr::from([127, 0, 0, last]),
            cost: Duration::from_millis(10),
            limit: Duration::from_secs(60),
        }
    }

    fn wait(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::yield_now();
        }
    }

    /// A job that holds the only thread until it is let go.
    fn hold(lane: &Lane, who: u8) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (go, wait_for_it) = mpsc::channel::<()>();
        let own = lane.clone();
        let job = async move {
            let job = move |_: &Stop| wait_for_it.recv().unwrap_or_default();
            own.run(asking(who), job).await.unwrap();
        };
        (go, tokio::spawn(job))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_had_least_comes_first() {
        let lane = Lane::new("test", 1, 100).unwrap();
        let (go, held) = hold(&lane, 1);
        wait("the thread is taken", || lane.running() == 1);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut jobs = Vec::new();
        // Client 1 asks for ten before client 2 asks for one.
        for who in [1; 10].into_iter().chain([2]) {
            let (own, order) = (lane.clone(), order.clone());
            let count = lane.waiting();
            jobs.push(tokio::spawn(async move {
                let job = move |_: &Stop| order.lock().unwrap().push(who);
                own.run(asking(who), job).await.unwrap();
            }));
            while lane.waiting() == count {
                tokio::task::yield_now().await;
            }
        }
        go.send(()).unwrap();
        held.await.unwrap();
        for job in jobs {
            job.await.unwrap();
        }
        assert_eq!(order.lock().unwrap()[0], 2);
        assert_eq!((lane.running(), lane.waiting()), (0, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_full_queue_has_room_for_whoever_has_none_of_it() {
        let lane = Lane::new("test", 1, 4).unwrap();
        let (go, held) = hold(&lane, 1);
        wait("the thread is taken", || lane.running() == 1);
        let ask = |who: u8| {
            let own = lane.clone();
            tokio::spawn(
                async move { own.run(asking(who), move |_| who).await.map_err(|e| e.code) },
            )
        };
        let mut first = Vec::new();
        for count in 1..=4 {
            first.push(ask(1));
            while lane.waiting() < count {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(ask(1).await.unwrap(), Err("overloaded"));
        let other = ask(2);
        // The last of the first client makes room.
        let displaced = first.pop().unwrap();
        assert_eq!(displaced.await.unwrap(), Err("overloaded"));
        // Whoever leaves gives the place back.
        first.pop().unwrap().abort();
        while lane.waiting() > 3 {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        held.await.unwrap();
        assert_eq!(other.await.unwrap(), Ok(2));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_job_is_told_that_nobody_waits_or_that_its_time_is_over() {
        let lane = Lane::new("test", 1, 4).unwrap();
        let own = lane.clone();
        let endless = |stop: &Stop| {
            while !stop.is_due() {
                std::thread::yield_now();
            }
        };
        let job = tokio::spawn(async move { own.run(asking(1), endless).await });
        wait("it runs", || lane.running() == 1);
        job.abort();
        let _ = job.await;
        wait("it ends", || lane.running() == 0);
        let short = Asking {
            limit: Duration::from_millis(1),
            ..asking(1)
        };
        lane.run(short, endless).await.unwrap();
        assert!(!Stop::new(Duration::MAX).is_due());
    }
}
