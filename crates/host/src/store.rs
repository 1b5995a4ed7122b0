//! Runs until their deadline, the queue of proofs, and proofs: what has to outlive the process.
//!
//! A run is in the store before its slip is handed out, a promise before it is given, a proof before anybody is told of
//! it. There is a [`Store`] for one process, [`Embedded`], and with the feature `postgres` one that
//! several share, `Postgres`.

mod embedded;
#[cfg(feature = "postgres")]
mod postgres;

pub use embedded::Embedded;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;

use thiserror::Error;
use zkinfer_slip::{Promise, RunId, Series, Slip};

/// What is wrong with the store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open the store {path:?}: {reason}")]
    Open {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// Written by a version with other tables.
    #[error("the store has version {found}, this build reads version {wanted}")]
    Version {
        /// In the file.
        found: u64,
        /// Of this build.
        wanted: u64,
    },
    /// No room for another run.
    #[error("the store holds {count} {what}, the limit is {limit}")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// Something in the store is not what was put there.
    #[error("the store's {what} is damaged")]
    Damaged {
        /// What.
        what: &'static str,
    },
    /// The store is closing, or whoever writes for it has failed.
    #[error("the store takes nothing any more")]
    Closed,
    /// Reading or writing failed.
    #[error("the store failed: {0}")]
    Database(#[from] redb::Error),
    /// The database that several hosts share failed, or cannot be reached.
    #[error("the database failed: {0}")]
    Shared(String),
}

/// A run that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was signed.
    pub slip: Slip,
    /// The input's integers; all else follows from them.
    pub input: Vec<u16>,
}

/// How far a run's proof is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody asked for it.
    Answered,
    /// It was promised.
    Promised(Promise),
    /// It is there.
    Proven(Promise),
    /// It could not be made, for this reason.
    Failed(Promise, String),
}

/// What has come of a run, of its promise, which may have failed, and of its proof.
fn state(promised: Option<(Promise, Option<String>)>, proven: bool) -> State {
    match promised {
        None => State::Answered,
        Some((promise, _)) if proven => State::Proven(promise),
        Some((promise, Some(reason))) => State::Failed(promise, reason),
        Some((promise, None)) => State::Promised(promise),
    }
}

/// A proof to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The run.
    pub record: Record,
    /// How often it was tried before.
    pub attempts: u32,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs.
    pub runs: u64,
    /// Bytes of inputs and slips.
    pub bytes: u64,
    /// Promised proofs that are not there.
    pub queued: u64,
    /// Proofs.
    pub proofs: u64,
}

/// Where the numbering of slips goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Name of the numbering.
    pub series: Series,
    /// Number of the last slip that was stored.
    pub sequence: u64,
    /// Its time.
    pub time: u64,
}

/// What has to outlive the process. Every change is on disk when a method returns. Times are milliseconds since the
/// beginning of 1970.
pub trait Store: std::fmt::Debug + Send + Sync {
    /// Where the numbering of slips goes on.
    ///
    /// # Errors
    /// If the store fails.
    fn last(&self) -> Result<Last, StoreError>;

    /// Keeps a run, with the promise of its proof if there is one.
    ///
    /// # Errors
    /// If it is full, or fails.
    fn insert(&self, record: Record, promise: Option<Promise>) -> Result<(), StoreError>;

    /// A run and how far it is; `None` if there is none, or none any more.
    ///
    /// # Errors
    /// If the store fails.
    fn get(&self, run: &RunId) -> Result<Option<(Record, State)>, StoreError>;

    /// Queues the proof of a run unless it is promised already; the state afterwards.
    ///
    /// # Errors
    /// If the store fails.
    fn promise(&self, promise: &Promise) -> Result<Option<State>, StoreError>;

    /// The proof that is due first and that nobody works on, leased until `until`.
    ///
    /// # Errors
    /// If the store fails.
    fn take(&self, now: u64, until: u64) -> Result<Option<Job>, StoreError>;

    /// Works on it until then.
    ///
    /// # Errors
    /// If the store fails.
    fn renew(&self, run: &RunId, until: u64) -> Result<(), StoreError>;

    /// Keeps the proof of a run; false if there is one already, which stays.
    ///
    /// # Errors
    /// If the store fails.
    fn finish(&self, run: &RunId, proof: &[u8]) -> Result<bool, StoreError>;

    /// Gives a proof back to the queue, not to be taken before a time. `tried` says that this was an attempt.
    ///
    /// # Errors
    /// If the store fails.
    fn release(&self, run: &RunId, not_before: u64, tried: bool) -> Result<(), StoreError>;

    /// Gives a proof up.
    ///
    /// # Errors
    /// If the store fails.
    fn give_up(&self, run: &RunId, reason: &str) -> Result<(), StoreError>;

    /// The proof of a run.
    ///
    /// # Errors
    /// If the store fails.
    fn proof(&self, run: &RunId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Forgets runs that nobody may ask about any more, and proofs that were kept long enough; how many.
    ///
    /// # Errors
    /// If the store fails.
    fn purge(&self, now: u64) -> Result<u64, StoreError>;

    /// How much there is.
    ///
    /// # Errors
    /// If the store fails.
    fn totals(&self) -> Result<Totals, StoreError>;
}
