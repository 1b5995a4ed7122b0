//! The audit log: what was seen of a host, one JSON object on a line.
//!
//! A log holds the inputs and proofs of the runs that were asked about, so that it can be judged without its author:
//! [`audit`](crate::audit()).

use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, ErrorKind, Write};
use std::path::Path;
use thiserror::Error;
use zkinfer_slip::evidence::ProofBytes;
use zkinfer_slip::{Evidence, Promise, RunId, Slip};

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it was written, in milliseconds since the beginning of 1970.
    pub time: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// An answer with a slip that fits.
    Answered {
        /// The slip.
        slip: Slip,
    },
    /// An answer that does not bind the host, or contradicts what it signed before. It was not accepted.
    Unbound {
        /// Why.
        reason: String,
        /// What shows it to others, if something does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Evidence>,
    },
    /// The proof of an answer was asked for, and promised.
    Asked {
        /// The promise.
        promise: Promise,
        /// The input's integers, which a proof is checked with.
        input: Vec<u16>,
    },
    /// The proof of an answer was asked for, and not promised.
    Refused {
        /// Which answer's.
        run: RunId,
        /// What shows it, as far as it can be shown.
        evidence: Evidence,
    },
    /// The proof of an answer is there, and valid.
    Proven {
        /// Which answer's.
        run: RunId,
        /// The proof.
        proof: ProofBytes,
    },
    /// What was handed out proves that the answer was false.
    False {
        /// Which answer.
        run: RunId,
        /// What shows it.
        evidence: Evidence,
    },
    /// A promised proof was not there in time, or what was handed out is none.
    Overdue {
        /// Which answer's.
        run: RunId,
        /// What shows it.
        evidence: Evidence,
    },
}

/// Why a log cannot be written.
#[derive(Debug, Error)]
#[error("cannot write the audit log {path}: {error}")]
pub struct LogError {
    /// Which log.
    pub path: String,
    /// What the system says.
    pub error: std::io::Error,
}

/// Where records go.
#[derive(Debug)]
pub struct Log(Option<(String, File)>);

impl Log {
    /// Appends to a file, which is made if there is none. Several clients may append to one.
    ///
    /// # Errors
    /// If it cannot be opened, or a client has it alone ([`Client::resume`](crate::Client::resume)).
    pub fn append(path: &Path) -> Result<Log, LogError> {
        let name = path.display().to_string();
        let open = || {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            locked(file.try_lock_shared())?;
            Ok(file)
        };
        match open() {
            Ok(file) => Ok(Log(Some((name, file)))),
            Err(error) => Err(LogError { path: name, error }),
        }
    }

    /// Appends to a file that no other client appends to, and reads what is in it.
    pub(crate) fn alone(path: &Path) -> Result<(Log, BufReader<File>), LogError> {
        let name = path.display().to_string();
        let open = || {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            locked(file.try_lock())?;
            Ok((file, BufReader::new(File::open(path)?)))
        };
        match open() {
            Ok((file, reader)) => Ok((Log(Some((name, file))), reader)),
            Err(error) => Err(LogError { path: name, error }),
        }
    }

    /// Keeps nothing.
    pub fn none() -> Log {
        Log(None)
    }

    /// Writes a line.
    pub(crate) fn write(&mut self, event: &Event) -> Result<(), LogError> {
        let Some((path, file)) = &mut self.0 else {
            return Ok(());
        };
        let record = Record {
            time: zkinfer_slip::now(),
            event: event.clone(),
        };
        let write = || -> std::io::Result<()> {
            let mut line = serde_json::to_vec(&record)?;
            line.push(b'\n');
            // In one piece, so that lines of several writers do not mix.
            file.write_all(&line)?;
            file.flush()
        };
        let mut write = write;
        write().map_err(|error| LogError {
            path: path.clone(),
            error,
        })
    }
}

/// Whether a file is this client's to write to. File systems without locks leave that to whoever uses them.
fn locked(result: Result<(), TryLockError>) -> std::io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(std::io::Error::new(
            ErrorKind::WouldBlock,
            "another client writes to it; wait for its end, or give this one a log of its own",
        )),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
