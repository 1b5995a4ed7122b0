//! Cards and used contexts on disk: one redb file.
//!
//! Every change is a transaction that is on disk before anybody is told of it. Cards are never changed or removed. What
//! is read is checked by whoever reads it: a card again by its digest and support proof.

use crate::config::Config;
use redb::{
    Database, DatabaseError, MultimapTable, MultimapTableDefinition, ReadableDatabase,
    ReadableMultimapTable, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
};
use std::path::PathBuf;
use thiserror::Error;
use zkinfer_circuits::transcript::Digest;

/// Layout of the tables below.
const VERSION: u64 = 1;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Digest → file.
const CARDS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("cards");
/// Context key → second of the Unix epoch at which it is forgotten.
const CONTEXTS: TableDefinition<[u8; 32], u64> = TableDefinition::new("contexts");
/// The same the other way round.
const EXPIRIES: MultimapTableDefinition<u64, [u8; 32]> = MultimapTableDefinition::new("expiries");
const META_VERSION: &str = "version";
const META_BYTES: &str = "card_bytes";
/// Memory for pages of the file.
const CACHE: usize = 1 << 25;
/// Contexts that one transaction forgets.
const PURGE: usize = 10_000;

/// What is wrong with the store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open the store {path:?}: {reason}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Written by a version with other tables.
    #[error("the store has version {found}, this build reads version {VERSION}")]
    Version {
        /// In the file.
        found: u64,
    },
    /// No room for another card or context.
    #[error("the store holds {count} {what}, the limit is {limit}")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// Reading or writing failed.
    #[error("the store failed: {0}")]
    Database(#[from] redb::Error),
}

macro_rules! from {
    ($($error:ty),*) => {$(
        impl From<$error> for StoreError {
            fn from(error: $error) -> StoreError {
                StoreError::Database(error.into())
            }
        }
    )*};
}
from!(
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

/// Identifies a context of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextKey([u8; 32]);

impl ContextKey {
    /// Of a model's card and the bytes that a proof is bound to.
    pub fn new(card: &Digest, context: &[u8]) -> ContextKey {
        let mut hash = blake2b_simd::Params::new();
        let hash = hash.hash_length(32).personal(b"zkinfer-once");
        let mut key = [0; 32];
        let hash = hash.to_state().update(&card.0).update(context).finalize();
        key.copy_from_slice(hash.as_bytes());
        ContextKey(key)
    }
}

/// How many cards and contexts there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub cards: u64,
    pub card_bytes: u64,
    pub contexts: u64,
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    database: Database,
    cards: u64,
    bytes: u64,
    contexts: u64,
}

impl Store {
    /// Opens or makes the file, and checks all of it.
    pub fn open(config: &Config) -> Result<Store, StoreError> {
        let fail = |reason: String| StoreError::Open {
            path: config.store.clone(),
            reason,
        };
        if let Some(folder) = config.store.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| fail(e.to_string()))?;
        }
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        builder.set_check_integrity_on_open(true);
        let database = builder.create(&config.store).map_err(|error| {
            fail(match error {
                DatabaseError::DatabaseAlreadyOpen => "another process has it open".to_owned(),
                error => error.to_string(),
            })
        })?;
        let write = database.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let version = meta.get(META_VERSION)?.map(|v| v.value());
            match version {
                Some(VERSION) => {}
                Some(found) => return Err(StoreError::Version { found }),
                None => {
                    meta.insert(META_VERSION, VERSION)?;
                }
            }
            write.open_table(CARDS)?;
            write.open_table(CONTEXTS)?;
            write.open_multimap_table(EXPIRIES)?;
        }
        write.commit()?;
        Ok(Store {
            database,
            cards: config.store_cards,
            bytes: config.store_bytes,
            contexts: config.contexts,
        })
    }

    /// The file of a card.
    pub fn card(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let cards = self.database.begin_read()?.open_table(CARDS)?;
        Ok(cards.get(digest.0)?.map(|bytes| bytes.value().to_vec()))
    }

    /// Whether there is a card.
    pub fn has_card(&self, digest: &Digest) -> Result<bool, StoreError> {
        let cards = self.database.begin_read()?.open_table(CARDS)?;
        Ok(cards.get(digest.0)?.is_some())
    }

    /// Keeps a card; false if there is one with this digest already.
    pub fn insert_card(&self, digest: &Digest, bytes: &[u8]) -> Result<bool, StoreError> {
        let write = self.database.begin_write()?;
        {
            let mut cards = write.open_table(CARDS)?;
            let mut meta = write.open_table(META)?;
            if cards.get(digest.0)?.is_some() {
                return Ok(false);
            }
            let full = |what, count, limit| StoreError::Full { what, count, limit };
            let count = cards.len()?;
            if count >= self.cards {
                return Err(full("cards", count, self.cards));
            }
            let held = meta.get(META_BYTES)?.map_or(0, |v| v.value());
            let held = held.saturating_add(bytes.len() as u64);
            if held > self.bytes {
                return Err(full("bytes of cards", held, self.bytes));
            }
            cards.insert(digest.0, bytes)?;
            meta.insert(META_BYTES, held)?;
        }
        write.commit()?;
        Ok(true)
    }

    /// Whether a context is used up at `now`, in seconds of the Unix epoch.
    pub fn is_used(&self, key: &ContextKey, now: u64) -> Result<bool, StoreError> {
        let contexts = self.database.begin_read()?.open_table(CONTEXTS)?;
        Ok(contexts
            .get(key.0)?
            .is_some_and(|until| until.value() > now))
    }

    /// Uses up contexts until `until`, all in one transaction; true for each one that was not used up before. One that
    /// occurs twice is used up by the first.
    pub fn use_contexts(
        &self,
        keys: &[ContextKey],
        now: u64,
        until: u64,
    ) -> Result<Vec<bool>, StoreError> {
        let write = self.database.begin_write()?;
        let mut fresh = Vec::with_capacity(keys.len());
        {
            let mut contexts = write.open_table(CONTEXTS)?;
            let mut expiries = write.open_multimap_table(EXPIRIES)?;
            for key in keys {
                let before = contexts.get(key.0)?.map(|until| until.value());
                if before.is_some_and(|until| until > now) {
                    fresh.push(false);
                    continue;
                }
                if let Some(before) = before {
                    expiries.remove(before, key.0)?;
                } else if contexts.len()? >= self.contexts
                    && forget(&mut contexts, &mut expiries, now)? == 0
                {
                    return Err(StoreError::Full {
                        what: "used contexts",
                        count: contexts.len()?,
                        limit: self.contexts,
                    });
                }
                contexts.insert(key.0, until)?;
                expiries.insert(until, key.0)?;
                fresh.push(true);
            }
        }
        write.commit()?;
        Ok(fresh)
    }

    /// Forgets contexts whose time is over; how many. There may be more if it is [`PURGE`].
    pub fn purge(&self, now: u64) -> Result<usize, StoreError> {
        let write = self.database.begin_write()?;
        let count = {
            let mut contexts = write.open_table(CONTEXTS)?;
            let mut expiries = write.open_multimap_table(EXPIRIES)?;
            forget(&mut contexts, &mut expiries, now)?
        };
        if count == 0 {
            write.abort()?;
        } else {
            write.commit()?;
        }
        Ok(count)
    }

    /// How much there is.
    pub fn totals(&self) -> Result<Totals, StoreError> {
        let read = self.database.begin_read()?;
        let held = read.open_table(META)?.get(META_BYTES)?;
        Ok(Totals {
            cards: read.open_table(CARDS)?.len()?,
            card_bytes: held.map_or(0, |v| v.value()),
            contexts: read.open_table(CONTEXTS)?.len()?,
        })
    }
}

/// Forgets at most [`PURGE`] contexts whose time is over.
fn forget(
    contexts: &mut Table<'_, [u8; 32], u64>,
    expiries: &mut MultimapTable<'_, u64, [u8; 32]>,
    now: u64,
) -> Result<usize, redb::StorageError> {
    let mut over = Vec::new();
    'full: for entry in expiries.range(..=now)? {
        let (until, keys) = entry?;
        for key in keys {
            over.push((until.value(), key?.value()));
            if over.len() == PURGE {
                break 'full;
            }
        }
    }
    for (until, key) in &over {
        expiries.remove(until, key)?;
        contexts.remove(key)?;
    }
    Ok(over.len())
}

/// Seconds of the Unix epoch.
pub fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| d.as_secs())
}
