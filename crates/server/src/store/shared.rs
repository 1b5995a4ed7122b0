//! Used contexts that several services share, on a PostgreSQL: a context that was accepted by one is used up for all.

use super::contexts::PURGE;
use super::{Bounds, ContextKey, Keeper, StoreError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use zkinfer_http::database::{Database, DatabaseError};

/// Layout of the tables below.
const VERSION: i64 = 1;
/// How long numbers of contexts are taken to be true.
const TOTALS: Duration = Duration::from_millis(500);
/// Held while tables are made: of services that start together, one makes them.
const LOCK: i64 = 0x7a6b_696e_6665_7232;
/// Contexts that are taken over at once.
const CHUNK: usize = 10_000;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS zkinfer_server_meta (version bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS zkinfer_server_contexts (
        key bytea PRIMARY KEY, until bigint NOT NULL, stranger boolean NOT NULL);
    CREATE INDEX IF NOT EXISTS zkinfer_server_until ON zkinfer_server_contexts (until);";

/// One more is used up, unless it is and its time is not over. Of two that come together, the second waits for the first.
const USE: &str = "
    INSERT INTO zkinfer_server_contexts AS known VALUES ($1, $2, $3)
    ON CONFLICT (key) DO UPDATE SET until = excluded.until, stranger = excluded.stranger WHERE known.until <= $4";

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Shared {
    database: Database,
    /// When they were counted: contexts of the operator's cards, and of the others.
    counted: Mutex<Option<(Instant, (u64, u64))>>,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> StoreError {
        StoreError::Shared(error.0)
    }
}

impl Shared {
    /// Connects, and makes the tables if there are none.
    pub fn open(url: &str) -> Result<Shared, StoreError> {
        let database = Database::new(url, "zkinfer serve")?;
        let found = database.with(|client| {
            let mut work = client.transaction()?;
            work.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
            work.batch_execute(TABLES)?;
            let found = work.query_opt("SELECT version FROM zkinfer_server_meta", &[])?;
            let found = found.map(|row| row.get(0));
            if found.is_none() {
                work.execute("INSERT INTO zkinfer_server_meta VALUES ($1)", &[&VERSION])?;
            }
            work.commit()?;
            Ok(found.unwrap_or(VERSION))
        })?;
        if found != VERSION {
            return Err(StoreError::SharedVersion {
                found: found.unsigned_abs(),
                wanted: VERSION.unsigned_abs(),
            });
        }
        Ok(Shared {
            database,
            counted: Mutex::default(),
        })
    }

    /// Takes contexts over: key, until when, and whether its card is anybody's. What is known stays.
    pub fn take_over(&self, contexts: &[([u8; 32], u64, bool)]) -> Result<(), StoreError> {
        for chunk in contexts.chunks(CHUNK) {
            let keys: Vec<&[u8]> = chunk.iter().map(|(key, ..)| key.as_slice()).collect();
            let until: Vec<i64> = chunk.iter().map(|(_, until, _)| signed(*until)).collect();
            let strangers: Vec<bool> = chunk.iter().map(|(.., stranger)| *stranger).collect();
            self.database.with(|client| {
                client.execute(
                    "INSERT INTO zkinfer_server_contexts
                     SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::boolean[])
                     ON CONFLICT (key) DO NOTHING",
                    &[&keys, &until, &strangers],
                )
            })?;
        }
        Ok(())
    }

    pub fn is_used(&self, key: &ContextKey, now: u64) -> Result<bool, StoreError> {
        let known = self.database.with(|client| {
            client.query_opt(
                "SELECT 1 FROM zkinfer_server_contexts WHERE key = $1 AND until > $2",
                &[&key.key.as_slice(), &signed(now)],
            )
        })?;
        Ok(known.is_some())
    }

    /// Uses contexts up, all in one transaction. Their number is within the bounds, about: several services may go
    /// beyond by what the others add in half a second, and one by a batch.
    pub fn use_contexts(
        &self,
        bounds: &Bounds,
        keys: &[ContextKey],
        now: u64,
        until: u64,
    ) -> Result<Vec<bool>, StoreError> {
        self.make_room(bounds, keys, now)?;
        // All in one order, so that two transactions do not wait for each other.
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|&at| keys[at].key);
        let (now, until) = (signed(now), signed(until));
        let fresh = self.database.with(|client| {
            let mut work = client.transaction()?;
            let mut fresh = vec![false; keys.len()];
            for at in order {
                let key = &keys[at];
                let stranger = key.keeper == Keeper::Anybody;
                let new = work.execute(USE, &[&key.key.as_slice(), &until, &stranger, &now])?;
                fresh[at] = new == 1;
            }
            work.commit()?;
            Ok(fresh)
        })?;
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = &mut *counted {
            for (key, _) in keys.iter().zip(&fresh).filter(|(_, new)| **new) {
                match key.keeper {
                    Keeper::Operator => known.0 += 1,
                    Keeper::Anybody => known.1 += 1,
                }
            }
        }
        Ok(fresh)
    }

    fn make_room(&self, bounds: &Bounds, keys: &[ContextKey], now: u64) -> Result<(), StoreError> {
        let full = |counted: (u64, u64)| {
            let asks = |keeper| keys.iter().any(|k| k.keeper == keeper);
            let (own, others) = (
                counted.0 >= bounds.contexts.0,
                counted.1 >= bounds.contexts.1,
            );
            match (asks(Keeper::Operator), asks(Keeper::Anybody)) {
                (true, _) if own => Some((counted.0, bounds.contexts.0)),
                (_, true) if others => Some((counted.1, bounds.contexts.1)),
                _ => None,
            }
        };
        let mut found = full(self.count()?);
        while found.is_some() && self.purge(now)? > 0 {
            found = full(self.count()?);
        }
        match found {
            None => Ok(()),
            Some((count, limit)) => Err(StoreError::Full {
                what: "used contexts",
                count,
                limit,
            }),
        }
    }

    /// Forgets at most [`PURGE`] contexts whose time is over; how many.
    pub fn purge(&self, now: u64) -> Result<usize, StoreError> {
        let gone = self.database.with(|client| {
            client.execute(
                "DELETE FROM zkinfer_server_contexts WHERE key IN (
                     SELECT key FROM zkinfer_server_contexts WHERE until <= $1
                     ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)",
                &[&signed(now), &(PURGE as i64)],
            )
        })?;
        if gone > 0 {
            *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }

    /// Contexts of the operator's cards, and of the others, half a second old at most.
    pub fn count(&self) -> Result<(u64, u64), StoreError> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, known)) = *counted
            && at.elapsed() < TOTALS
        {
            return Ok(known);
        }
        let row = self.database.with(|client| {
            client.query_one(
                "SELECT count(*) FILTER (WHERE NOT stranger), count(*) FILTER (WHERE stranger)
                 FROM zkinfer_server_contexts",
                &[],
            )
        })?;
        let known: (i64, i64) = (row.get(0), row.get(1));
        let known = (known.0.unsigned_abs(), known.1.unsigned_abs());
        *counted = Some((Instant::now(), known));
        Ok(known)
    }
}
