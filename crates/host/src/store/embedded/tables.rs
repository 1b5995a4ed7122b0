//! The tables of the file, and what is in their rows.

use super::super::{Record, StoreError};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use zkinfer_slip::{Promise, RunId, Slip};

/// Layout of the tables below.
pub const VERSION: u64 = 1;
pub const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Run → length of the slip, slip as JSON, input.
pub const RUNS: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("runs");
/// When a run is forgotten.
pub const EXPIRIES: TableDefinition<(u64, [u8; 16]), ()> = TableDefinition::new("expiries");
/// Run → [`Promised`] as JSON.
pub const PROMISES: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("promises");
/// Runs to be proven, by when that is due.
pub const QUEUE: TableDefinition<(u64, [u8; 16]), ()> = TableDefinition::new("queue");
pub const PROOFS: TableDefinition<[u8; 16], &[u8]> = TableDefinition::new("proofs");
/// What is known of a proof that was promised.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Promised {
    pub promise: Promise,
    pub attempts: u32,
    /// Somebody works on it, or nobody should, until then.
    pub busy_until: u64,
    #[serde(default)]
    pub failed: Option<String>,
}

pub fn failed<E: Into<redb::Error>>(error: E) -> StoreError {
    StoreError::Database(error.into())
}

pub type Table<'a, K, V> = redb::Table<'a, K, V>;

pub fn number(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, StoreError> {
    Ok(meta.get(name).map_err(failed)?.map_or(0, |v| v.value()))
}

pub fn change(
    promises: &mut Table<'_, [u8; 16], &'static [u8]>,
    id: &[u8; 16],
    by: impl FnOnce(&mut Promised),
) -> Result<(), StoreError> {
    let found = promises
        .get(id)
        .map_err(failed)?
        .map(|v| v.value().to_vec());
    let Some(bytes) = found else {
        return Ok(());
    };
    let mut promised = read_promise(&bytes)?;
    by(&mut promised);
    let bytes = json(&promised)?;
    promises.insert(id, bytes.as_slice()).map_err(failed)?;
    Ok(())
}

/// Queues a proof, whose run is then forgotten when the proof is.
pub fn queue(
    write: &WriteTransaction,
    promise: &Promise,
    expiries: &mut Table<'_, (u64, [u8; 16]), ()>,
) -> Result<(), StoreError> {
    let terms = &promise.terms;
    let mut promises = write.open_table(PROMISES).map_err(failed)?;
    let promised = Promised {
        promise: promise.clone(),
        attempts: 0,
        busy_until: 0,
        failed: None,
    };
    let bytes = json(&promised)?;
    promises
        .insert(terms.run.0, bytes.as_slice())
        .map_err(failed)?;
    let mut waiting = write.open_table(QUEUE).map_err(failed)?;
    waiting
        .insert((terms.due, terms.run.0), ())
        .map_err(failed)?;
    expiries
        .insert((terms.kept_until, terms.run.0), ())
        .map_err(failed)?;
    Ok(())
}

pub fn json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|_| StoreError::Damaged { what: "JSON" })
}

pub fn read_promise(bytes: &[u8]) -> Result<Promised, StoreError> {
    serde_json::from_slice(bytes).map_err(|_| StoreError::Damaged { what: "promise" })
}

pub fn encode(record: &Record) -> Result<Vec<u8>, StoreError> {
    let slip = json(&record.slip)?;
    let mut bytes = (slip.len() as u32).to_le_bytes().to_vec();
    bytes.extend(slip);
    bytes.extend(record.input.iter().flat_map(|v| v.to_le_bytes()));
    Ok(bytes)
}

pub fn decode(bytes: &[u8]) -> Result<Record, StoreError> {
    let damaged = StoreError::Damaged { what: "run" };
    let read = || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (slip, input) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let slip: Slip = serde_json::from_slice(slip).ok()?;
        let values = input
            .chunks(2)
            .map(|v| Some(u16::from_le_bytes(v.try_into().ok()?)));
        Some(Record {
            slip,
            input: values.collect::<Option<_>>()?,
        })
    };
    read().ok_or(damaged)
}

/// Takes a run out of the queue.
pub fn unqueue(write: &WriteTransaction, run: &RunId) -> Result<(), StoreError> {
    let promises = write.open_table(PROMISES).map_err(failed)?;
    let promised = promises.get(run.0).map_err(failed)?;
    let promised = promised.map(|v| read_promise(v.value())).transpose()?;
    if let Some(promised) = promised {
        let mut waiting = write.open_table(QUEUE).map_err(failed)?;
        waiting
            .remove((promised.promise.terms.due, run.0))
            .map_err(failed)?;
    }
    Ok(())
}
