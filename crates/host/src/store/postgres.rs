//! The store that several hosts share: [PostgreSQL](https://www.postgresql.org).
//!
//! Hosts with one key answer for each other: a run that one has signed is proven by whichever takes it first. Who works
//! on a proof holds a lease by the database's clock; of a host that is gone it runs out, and another one takes it. A
//! proof is kept once, whoever comes second.
//!
//! The queue is the table of promises itself, taken from with `FOR UPDATE SKIP LOCKED`: a run and its promise, a proof
//! and the end of its job are one transaction each. Libraries for queues on PostgreSQL keep jobs in tables of their
//! own, so that either could be lost without the other.

use super::{Job, Last, Record, State, Store, StoreError, Totals, state};
use postgres::types::ToSql;
use postgres::{Client, GenericClient, Row};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use zkinfer_http::database::{Database, DatabaseError};
use zkinfer_slip::{Promise, RunId, Series};

/// Layout of the tables below.
const VERSION: i64 = 1;
/// How long totals are taken to be true.
const TOTALS: Duration = Duration::from_millis(500);
/// Held while tables are made: of hosts that start together, one makes them.
const LOCK: i64 = 0x7a6b_696e_6665_7231;
/// Milliseconds since the beginning of 1970, by the database's clock.
const NOW: &str = "(extract(epoch from clock_timestamp()) * 1000)::bigint";

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS zkinfer_host_meta (version bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS zkinfer_host_runs (
        id bytea PRIMARY KEY, slip text NOT NULL, input bytea NOT NULL, expires bigint NOT NULL);
    CREATE INDEX IF NOT EXISTS zkinfer_host_expires ON zkinfer_host_runs (expires);
    CREATE TABLE IF NOT EXISTS zkinfer_host_promises (
        id bytea PRIMARY KEY REFERENCES zkinfer_host_runs ON DELETE CASCADE,
        promise text NOT NULL, due bigint NOT NULL, attempts integer NOT NULL DEFAULT 0,
        busy_until bigint NOT NULL DEFAULT 0, failed text, proof bytea);
    CREATE INDEX IF NOT EXISTS zkinfer_host_queue ON zkinfer_host_promises (due)
        WHERE proof IS NULL AND failed IS NULL;";

/// The store that several hosts share, on a PostgreSQL: what one of them leaves behind, another one proves.
#[derive(Debug)]
pub struct Postgres {
    database: Database,
    series: Series,
    /// Most runs, and bytes of them, about: several hosts may go beyond by what each adds in half a second.
    bounds: (u64, u64),
    totals: Mutex<Option<(Instant, Totals)>>,
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> StoreError {
        StoreError::Shared(error.0)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Postgres {
    /// Connects, and makes the tables if there are none. `url` is a connection string of libpq. `series` names this
    /// host's numbering of slips: a new one for every start.
    ///
    /// Not to be called, as all of this, on a thread that does asynchronous work.
    ///
    /// # Errors
    /// If it cannot be reached, or has tables of another version.
    pub fn open(url: &str, series: Series, runs: u64, bytes: u64) -> Result<Postgres, StoreError> {
        let store = Postgres {
            database: Database::new(url, "zkinfer host")?,
            series,
            bounds: (runs, bytes),
            totals: Mutex::default(),
        };
        let found = store.with(|client| {
            let mut work = client.transaction()?;
            work.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
            work.batch_execute(TABLES)?;
            let found = work.query_opt("SELECT version FROM zkinfer_host_meta", &[])?;
            let found = found.map(|row| row.get(0));
            if found.is_none() {
                work.execute("INSERT INTO zkinfer_host_meta VALUES ($1)", &[&VERSION])?;
            }
            work.commit()?;
            Ok(found.unwrap_or(VERSION))
        })?;
        if found != VERSION {
            return Err(StoreError::Version {
                found: found.unsigned_abs(),
                wanted: VERSION.unsigned_abs(),
            });
        }
        Ok(store)
    }

    /// Does something with a connection.
    fn with<T>(
        &self,
        work: impl FnOnce(&mut Client) -> Result<T, postgres::Error>,
    ) -> Result<T, StoreError> {
        Ok(self.database.with(work)?)
    }

    fn execute(&self, text: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64, StoreError> {
        self.with(|client| client.execute(text, values))
    }

    fn first(&self, text: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, StoreError> {
        self.with(|client| client.query_opt(text, values))
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Damaged { what: "JSON" })
}

fn read<T: serde::de::DeserializeOwned>(text: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Damaged { what })
}

fn record(slip: &str, input: &[u8]) -> Result<Record, StoreError> {
    let values = input.as_chunks::<2>().0.iter();
    Ok(Record {
        slip: read(slip, "slip")?,
        input: values.map(|v| u16::from_le_bytes(*v)).collect(),
    })
}

/// Keeps a promise unless there is one, and the run for as long; whether it is new.
fn promise(
    work: &mut impl GenericClient,
    promise: &Promise,
    text: &str,
) -> Result<bool, postgres::Error> {
    let terms = &promise.terms;
    let id = terms.run.0.as_slice();
    let new = work.execute(
        "INSERT INTO zkinfer_host_promises (id, promise, due)
         SELECT id, $2, $3 FROM zkinfer_host_runs WHERE id = $1 ON CONFLICT (id) DO NOTHING",
        &[&id, &text, &signed(terms.due)],
    )?;
    if new == 1 {
        work.execute(
            "UPDATE zkinfer_host_runs SET expires = $2 WHERE id = $1",
            &[&id, &signed(terms.kept_until)],
        )?;
    }
    Ok(new == 1)
}

impl Store for Postgres {
    fn last(&self) -> Result<Last, StoreError> {
        Ok(Last {
            series: self.series,
            sequence: 0,
            time: 0,
        })
    }

    fn insert(&self, record: Record, promised: Option<Promise>) -> Result<(), StoreError> {
        let slip = json(&record.slip)?;
        let input: Vec<u8> = record.input.iter().flat_map(|v| v.to_le_bytes()).collect();
        let totals = self.totals()?;
        let full = |what, count, limit| StoreError::Full { what, count, limit };
        if totals.runs >= self.bounds.0 {
            return Err(full("runs", totals.runs, self.bounds.0));
        }
        if totals.bytes + (slip.len() + input.len()) as u64 > self.bounds.1 {
            return Err(full("bytes of runs", totals.bytes, self.bounds.1));
        }
        let text = promised.as_ref().map(json).transpose()?.unwrap_or_default();
        let terms = &record.slip.terms;
        self.with(|client| {
            let mut work = client.transaction()?;
            work.execute(
                "INSERT INTO zkinfer_host_runs VALUES ($1, $2, $3, $4)",
                &[
                    &terms.run.0.as_slice(),
                    &slip,
                    &input,
                    &signed(terms.ask_until),
                ],
            )?;
            if let Some(promised) = &promised {
                promise(&mut work, promised, &text)?;
            }
            work.commit()
        })
    }

    fn get(&self, run: &RunId) -> Result<Option<(Record, State)>, StoreError> {
        let row = self.first(
            "SELECT r.slip, r.input, p.promise, p.failed, p.proof IS NOT NULL
             FROM zkinfer_host_runs r LEFT JOIN zkinfer_host_promises p USING (id) WHERE id = $1",
            &[&run.0.as_slice()],
        )?;
        let Some(row) = row else {
            return Ok(None);
        };
        let promised: Option<&str> = row.get(2);
        let promised = promised
            .map(|text| read::<Promise>(text, "promise"))
            .transpose()?;
        let state = state(promised.map(|p| (p, row.get(3))), row.get(4));
        Ok(Some((record(row.get(0), row.get(1))?, state)))
    }

    fn promise(&self, promised: &Promise) -> Result<Option<State>, StoreError> {
        let text = json(promised)?;
        self.with(|client| {
            let mut work = client.transaction()?;
            promise(&mut work, promised, &text)?;
            work.commit()
        })?;
        Ok(self.get(&promised.terms.run)?.map(|(_, state)| state))
    }

    fn take(&self, now: u64, until: u64) -> Result<Option<Job>, StoreError> {
        let text = format!(
            "UPDATE zkinfer_host_promises p SET busy_until = {NOW} + $1 FROM zkinfer_host_runs r
             WHERE r.id = p.id AND p.id = (
                SELECT id FROM zkinfer_host_promises
                WHERE proof IS NULL AND failed IS NULL AND busy_until <= {NOW}
                ORDER BY due LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING r.slip, r.input, p.attempts"
        );
        let row = self.first(&text, &[&signed(until.saturating_sub(now))])?;
        let job = |row: Row| {
            let attempts: i32 = row.get(2);
            Ok(Job {
                record: record(row.get(0), row.get(1))?,
                attempts: attempts.unsigned_abs(),
            })
        };
        row.map(job).transpose()
    }

    fn renew(&self, run: &RunId, until: u64) -> Result<(), StoreError> {
        let left = signed(until.saturating_sub(zkinfer_slip::now()));
        let text =
            format!("UPDATE zkinfer_host_promises SET busy_until = {NOW} + $2 WHERE id = $1");
        self.execute(&text, &[&run.0.as_slice(), &left]).map(|_| ())
    }

    fn finish(&self, run: &RunId, proof: &[u8]) -> Result<bool, StoreError> {
        let text = "UPDATE zkinfer_host_promises SET proof = $2 WHERE id = $1 AND proof IS NULL";
        Ok(self.execute(text, &[&run.0.as_slice(), &proof])? == 1)
    }

    fn release(&self, run: &RunId, not_before: u64, tried: bool) -> Result<(), StoreError> {
        let left = signed(not_before.saturating_sub(zkinfer_slip::now()));
        let text = format!(
            "UPDATE zkinfer_host_promises SET busy_until = {NOW} + $2, attempts = attempts + $3 WHERE id = $1"
        );
        self.execute(&text, &[&run.0.as_slice(), &left, &i32::from(tried)])
            .map(|_| ())
    }

    fn give_up(&self, run: &RunId, reason: &str) -> Result<(), StoreError> {
        let text = "UPDATE zkinfer_host_promises SET failed = $2 WHERE id = $1 AND proof IS NULL";
        self.execute(text, &[&run.0.as_slice(), &reason])
            .map(|_| ())
    }

    fn proof(&self, run: &RunId) -> Result<Option<Vec<u8>>, StoreError> {
        let text = "SELECT proof FROM zkinfer_host_promises WHERE id = $1";
        Ok(self
            .first(text, &[&run.0.as_slice()])?
            .and_then(|row| row.get(0)))
    }

    fn purge(&self, now: u64) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM zkinfer_host_runs WHERE expires < $1",
            &[&signed(now)],
        )
    }

    fn totals(&self) -> Result<Totals, StoreError> {
        let mut known = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, totals)) = *known
            && at.elapsed() < TOTALS
        {
            return Ok(totals);
        }
        let row = self.first(
            "SELECT (SELECT count(*) FROM zkinfer_host_runs),
                (SELECT coalesce(sum(octet_length(slip) + octet_length(input)), 0)::bigint FROM zkinfer_host_runs),
                (SELECT count(*) FROM zkinfer_host_promises WHERE proof IS NULL AND failed IS NULL),
                (SELECT count(*) FROM zkinfer_host_promises WHERE proof IS NOT NULL)",
            &[],
        )?;
        let row = row.ok_or(StoreError::Damaged { what: "totals" })?;
        let number = |at: usize| row.get::<_, i64>(at).unsigned_abs();
        let totals = Totals {
            runs: number(0),
            bytes: number(1),
            queued: number(2),
            proofs: number(3),
        };
        *known = Some((Instant::now(), totals));
        Ok(totals)
    }
}
