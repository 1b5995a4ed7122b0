//! Connections to a PostgreSQL that several services share: a few, each used by one at a time.

use postgres::{Client, Config, NoTls};
use std::sync::{Condvar, Mutex, PoisonError};
use thiserror::Error;

/// Most connections of one service.
const CONNECTIONS: usize = 16;

/// What went wrong, with all its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct DatabaseError(pub String);

impl From<&postgres::Error> for DatabaseError {
    fn from(error: &postgres::Error) -> DatabaseError {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(reason) = source {
            text = format!("{text}: {reason}");
            source = reason.source();
        }
        DatabaseError(text)
    }
}

/// A PostgreSQL. Not to be used on a thread that does asynchronous work.
pub struct Database {
    config: Config,
    pool: Mutex<Pool>,
    free: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Client>,
    open: usize,
}

/// Says nothing of the password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

impl Database {
    /// By a connection string of libpq; `name` is what the database calls this service. Connects when it is used.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(url: &str, name: &str) -> Result<Database, DatabaseError> {
        let mut config: Config = url.parse().map_err(|e| DatabaseError::from(&e))?;
        config.application_name(name);
        Ok(Database {
            config,
            pool: Mutex::default(),
            free: Condvar::new(),
        })
    }

    /// Does something with a connection. One on which something failed is not used again.
    ///
    /// # Errors
    /// What the database says, or why there is no connection.
    pub fn with<T>(
        &self,
        work: impl FnOnce(&mut Client) -> Result<T, postgres::Error>,
    ) -> Result<T, DatabaseError> {
        let lock = || self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pool = lock();
        while pool.idle.is_empty() && pool.open >= CONNECTIONS {
            pool = self.free.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        let idle = pool.idle.pop();
        pool.open += usize::from(idle.is_none());
        drop(pool);
        let opened = idle.map_or_else(|| self.config.connect(NoTls), Ok);
        let result = opened.and_then(|mut client| Ok((work(&mut client)?, client)));
        let mut pool = lock();
        let value = match result {
            Ok((value, client)) => {
                pool.idle.push(client);
                Ok(value)
            }
            Err(error) => {
                pool.open -= 1;
                Err(DatabaseError::from(&error))
            }
        };
        drop(pool);
        self.free.notify_one();
        value
    }
}

/// Connections end on a thread of their own: the last owner may do asynchronous work.
impl Drop for Database {
    fn drop(&mut self) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = std::mem::take(&mut pool.idle);
        drop(pool);
        // Whatever has come of it, there is nothing left to do.
        let _ = std::thread::spawn(move || drop(idle)).join();
    }
}
