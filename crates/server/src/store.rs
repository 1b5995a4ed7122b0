//! Cards and used contexts on disk: two redb files, so that neither can fill the other.
//!
//! Every change is a transaction that is on disk before anybody is told of it. Cards are never changed. The operator's are
//! never removed; one that anybody may have sent makes room for another one, the one that was used least recently first,
//! and goes when nobody asked about it for long. What is read is checked by whoever reads it: a card again by its digest
//! and support proof.

mod contexts;
#[cfg(feature = "postgres")]
mod shared;

use crate::config::Config;
use contexts::{CONTEXTS, EXPIRIES, STRANGERS, Used, move_contexts};
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition,
};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zkinfer_circuits::transcript::Digest;

/// Layout of the tables below. Version 1 had contexts and cards in one file.
const VERSION: u64 = 2;
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Digest → file.
const CARDS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("cards");
/// Digest of a card that anybody may have sent → second of the Unix epoch at which it was used.
const USES: TableDefinition<[u8; 32], u64> = TableDefinition::new("uses");
const META_VERSION: &str = "version";
/// Bytes of all cards, and of those that anybody may have sent.
const META_BYTES: &str = "card_bytes";
const META_ANYBODY: &str = "anybody_bytes";
/// Memory for pages of a file.
const CACHE: usize = 1 << 23;

/// Who keeps a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keeper {
    /// It stays.
    Operator,
    /// It may have to make room.
    Anybody,
}

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
    /// The PostgreSQL failed.
    #[error("the shared store failed: {0}")]
    Shared(String),
    /// The PostgreSQL has tables of another version.
    #[error("the shared store has version {found}, this build reads version {wanted}")]
    SharedVersion {
        /// In the database.
        found: u64,
        /// What this build reads.
        wanted: u64,
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
pub struct ContextKey {
    key: [u8; 32],
    /// Whose limit it counts for.
    keeper: Keeper,
}

impl ContextKey {
    /// Of a model's card, who keeps that, and the bytes that a proof is bound to.
    pub fn new(card: &Digest, keeper: Keeper, context: &[u8]) -> ContextKey {
        let mut hash = blake2b_simd::Params::new();
        let hash = hash.hash_length(32).personal(b"zkinfer-once");
        let mut key = [0; 32];
        let hash = hash.to_state().update(&card.0).update(context).finalize();
        key.copy_from_slice(hash.as_bytes());
        ContextKey { key, keeper }
    }
}

/// What has come of a card that was to be kept.
#[derive(Debug, Default)]
pub struct Inserted {
    /// There was none with this digest.
    pub new: bool,
    /// Cards that made room for it.
    pub gone: Vec<Digest>,
}

/// How many cards and contexts there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub cards: u64,
    pub card_bytes: u64,
    pub contexts: u64,
}

/// The open files.
#[derive(Debug)]
pub struct Store {
    cards: Database,
    contexts: Contexts,
    bounds: Bounds,
}

/// Where used contexts are.
#[derive(Debug)]
enum Contexts {
    File(Database),
    #[cfg(feature = "postgres")]
    Shared(Box<shared::Shared>),
}

/// How much there may be.
#[derive(Debug)]
struct Bounds {
    /// Number and bytes of the operator's cards.
    operator: (u64, u64),
    /// And of the others.
    anybody: (u64, u64),
    /// Contexts of the operator's cards, and of the others.
    contexts: (u64, u64),
}

impl Store {
    /// Opens or makes the files, and checks all of them.
    pub fn open(config: &Config) -> Result<Store, StoreError> {
        let cards = open_file(&config.store)?;
        let contexts = open_contexts(config, &cards)?;
        let write = cards.begin_write()?;
        {
            check_version(&mut write.open_table(META)?)?;
            write.open_table(CARDS)?;
            write.open_table(USES)?;
        }
        write.commit()?;
        let bounds = Bounds {
            operator: (config.store_cards, config.store_bytes),
            anybody: (config.anybody_cards, config.anybody_bytes),
            contexts: (config.contexts, config.anybody_contexts),
        };
        Ok(Store {
            cards,
            contexts,
            bounds,
        })
    }

    /// The file of a card.
    pub fn card(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.with_card(digest, <[u8]>::to_vec)
    }

    /// What somebody makes of the file of a card, which is not copied for it.
    pub fn with_card<T>(
        &self,
        digest: &Digest,
        make: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        let cards = self.cards.begin_read()?.open_table(CARDS)?;
        Ok(cards.get(digest.0)?.map(|bytes| make(bytes.value())))
    }

    /// Who keeps a card, if there is one.
    pub fn keeper(&self, digest: &Digest) -> Result<Option<Keeper>, StoreError> {
        let read = self.cards.begin_read()?;
        if read.open_table(CARDS)?.get(digest.0)?.is_none() {
            return Ok(None);
        }
        let used = read.open_table(USES)?.get(digest.0)?;
        Ok(Some(match used {
            Some(_) => Keeper::Anybody,
            None => Keeper::Operator,
        }))
    }

    /// Keeps a card, unless there is one with this digest already. The operator's word makes a card the operator's.
    pub fn insert_card(
        &self,
        digest: &Digest,
        bytes: &[u8],
        keeper: Keeper,
        now: u64,
    ) -> Result<Inserted, StoreError> {
        let write = self.cards.begin_write()?;
        let inserted = {
            let mut held = Held {
                cards: write.open_table(CARDS)?,
                uses: write.open_table(USES)?,
                meta: write.open_table(META)?,
            };
            let known = held.cards.get(digest.0)?.is_some();
            let anybodys = held.uses.get(digest.0)?.is_some();
            if known && (keeper == Keeper::Anybody || !anybodys) {
                return Ok(Inserted::default());
            }
            if known {
                held.remove(&digest.0)?;
            }
            let gone = held.make_room(&self.bounds, keeper, bytes.len() as u64)?;
            held.insert(&digest.0, bytes, keeper, now)?;
            Inserted { new: !known, gone }
        };
        write.commit()?;
        Ok(inserted)
    }

    /// Takes note that a card is used.
    pub fn touch(&self, digest: &Digest, now: u64) -> Result<(), StoreError> {
        let write = self.cards.begin_write()?;
        {
            let mut uses = write.open_table(USES)?;
            let before = uses.get(digest.0)?.map(|used| used.value());
            if before.is_some_and(|before| before < now) {
                uses.insert(digest.0, now)?;
            }
        }
        Ok(write.commit()?)
    }

    /// Removes cards that anybody may have sent and that were not used since; which.
    pub fn expire(&self, since: u64) -> Result<Vec<Digest>, StoreError> {
        let write = self.cards.begin_write()?;
        let mut gone = Vec::new();
        {
            let mut held = Held {
                cards: write.open_table(CARDS)?,
                uses: write.open_table(USES)?,
                meta: write.open_table(META)?,
            };
            for entry in held.uses.iter()? {
                let (digest, used) = entry?;
                if used.value() < since {
                    gone.push(Digest(digest.value()));
                }
            }
            for digest in &gone {
                held.remove(&digest.0)?;
            }
        }
        if gone.is_empty() {
            write.abort()?;
        } else {
            write.commit()?;
        }
        Ok(gone)
    }

    /// Whether a context is used up at `now`, in seconds of the Unix epoch.
    pub fn is_used(&self, key: &ContextKey, now: u64) -> Result<bool, StoreError> {
        let contexts = match &self.contexts {
            Contexts::File(file) => file.begin_read()?.open_table(CONTEXTS)?,
            #[cfg(feature = "postgres")]
            Contexts::Shared(shared) => return shared.is_used(key, now),
        };
        Ok(contexts
            .get(key.key)?
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
        let write = match &self.contexts {
            Contexts::File(file) => file.begin_write()?,
            #[cfg(feature = "postgres")]
            Contexts::Shared(shared) => return shared.use_contexts(&self.bounds, keys, now, until),
        };
        let mut fresh = Vec::with_capacity(keys.len());
        {
            let mut used = Used::open(&write)?;
            for key in keys {
                let before = used.contexts.get(key.key)?.map(|until| until.value());
                if before.is_some_and(|until| until > now) {
                    fresh.push(false);
                    continue;
                }
                match before {
                    Some(before) => used.remove(before, &key.key)?,
                    None => used.make_room(&self.bounds, key.keeper, now)?,
                }
                used.insert(key, until)?;
                fresh.push(true);
            }
        }
        write.commit()?;
        Ok(fresh)
    }

    /// Forgets contexts whose time is over; how many. There may be more if it is [`contexts::PURGE`].
    pub fn purge(&self, now: u64) -> Result<usize, StoreError> {
        let write = match &self.contexts {
            Contexts::File(file) => file.begin_write()?,
            #[cfg(feature = "postgres")]
            Contexts::Shared(shared) => return shared.purge(now),
        };
        let count = Used::open(&write)?.forget(now)?;
        if count == 0 {
            write.abort()?;
        } else {
            write.commit()?;
        }
        Ok(count)
    }

    /// How much there is.
    pub fn totals(&self) -> Result<Totals, StoreError> {
        let read = self.cards.begin_read()?;
        let held = read.open_table(META)?.get(META_BYTES)?;
        let contexts = match &self.contexts {
            Contexts::File(file) => file.begin_read()?.open_table(CONTEXTS)?.len()?,
            #[cfg(feature = "postgres")]
            Contexts::Shared(shared) => {
                let (own, others) = shared.count()?;
                own + others
            }
        };
        Ok(Totals {
            cards: read.open_table(CARDS)?.len()?,
            card_bytes: held.map_or(0, |v| v.value()),
            contexts,
        })
    }
}

/// Where used contexts are kept: beside the cards.
pub fn contexts_path(cards: &Path) -> PathBuf {
    let mut name = cards.file_stem().unwrap_or_default().to_owned();
    name.push("-contexts");
    if let Some(extension) = cards.extension() {
        name.push(".");
        name.push(extension);
    }
    cards.with_file_name(name)
}

/// The contexts: a file beside the cards, or what several services share, which takes over what is in the file.
fn open_contexts(config: &Config, cards: &Database) -> Result<Contexts, StoreError> {
    let path = contexts_path(&config.store);
    #[cfg(feature = "postgres")]
    if let Some(url) = &config.database {
        let shared = shared::Shared::open(url)?;
        for known in [Some(cards), open_known(&path)?.as_ref()]
            .into_iter()
            .flatten()
        {
            shared.take_over(&contexts::all(known)?)?;
        }
        return Ok(Contexts::Shared(Box::new(shared)));
    }
    let contexts = open_file(&path)?;
    let write = contexts.begin_write()?;
    {
        check_version(&mut write.open_table(META)?)?;
        write.open_table(CONTEXTS)?;
        write.open_multimap_table(EXPIRIES)?;
        write.open_table(STRANGERS)?;
    }
    write.commit()?;
    move_contexts(cards, &contexts)?;
    Ok(Contexts::File(contexts))
}

/// A file, if there is one.
#[cfg(feature = "postgres")]
fn open_known(path: &Path) -> Result<Option<Database>, StoreError> {
    path.exists().then(|| open_file(path)).transpose()
}

fn open_file(path: &Path) -> Result<Database, StoreError> {
    let fail = |reason: String| StoreError::Open {
        path: path.to_owned(),
        reason,
    };
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| fail(e.to_string()))?;
    }
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder.set_check_integrity_on_open(true);
    builder.create(path).map_err(|error| {
        fail(match error {
            DatabaseError::DatabaseAlreadyOpen => "another process has it open".to_owned(),
            error => error.to_string(),
        })
    })
}

/// Refuses other versions than this one and the one before, which it makes this one.
fn check_version(meta: &mut Table<'_, &str, u64>) -> Result<(), StoreError> {
    let version = meta.get(META_VERSION)?.map(|v| v.value());
    match version {
        Some(VERSION) => {}
        Some(1) | None => {
            meta.insert(META_VERSION, VERSION)?;
        }
        Some(found) => return Err(StoreError::Version { found }),
    }
    Ok(())
}

/// Cards within a transaction.
struct Held<'t> {
    cards: Table<'t, [u8; 32], &'static [u8]>,
    uses: Table<'t, [u8; 32], u64>,
    meta: Table<'t, &'static str, u64>,
}

impl Held<'_> {
    fn counter(&self, name: &str) -> Result<u64, StoreError> {
        Ok(self.meta.get(name)?.map_or(0, |v| v.value()))
    }

    /// Number and bytes of the cards of a keeper.
    fn of(&self, keeper: Keeper) -> Result<(u64, u64), StoreError> {
        let anybody = (self.uses.len()?, self.counter(META_ANYBODY)?);
        Ok(match keeper {
            Keeper::Anybody => anybody,
            Keeper::Operator => (
                self.cards.len()?.saturating_sub(anybody.0),
                self.counter(META_BYTES)?.saturating_sub(anybody.1),
            ),
        })
    }

    /// Whether another card of so many bytes is within the bounds; of those that may go, some go for it: which.
    fn make_room(
        &mut self,
        bounds: &Bounds,
        keeper: Keeper,
        bytes: u64,
    ) -> Result<Vec<Digest>, StoreError> {
        let mut gone = Vec::new();
        let (most_cards, most_bytes) = match keeper {
            Keeper::Operator => bounds.operator,
            Keeper::Anybody => bounds.anybody,
        };
        let full = |what, count, limit| StoreError::Full { what, count, limit };
        if bytes > most_bytes {
            return Err(full("bytes of cards", bytes, most_bytes));
        }
        loop {
            let (cards, held) = self.of(keeper)?;
            let error = if cards >= most_cards {
                full("cards", cards, most_cards)
            } else if held.saturating_add(bytes) > most_bytes {
                full("bytes of cards", held.saturating_add(bytes), most_bytes)
            } else {
                return Ok(gone);
            };
            match self.least_recently_used()? {
                Some(digest) if keeper == Keeper::Anybody => {
                    self.remove(&digest)?;
                    gone.push(Digest(digest));
                }
                _ => return Err(error),
            }
        }
    }

    fn least_recently_used(&self) -> Result<Option<[u8; 32]>, StoreError> {
        let mut least: Option<(u64, [u8; 32])> = None;
        for entry in self.uses.iter()? {
            let (digest, used) = entry?;
            let entry = (used.value(), digest.value());
            if least.is_none_or(|least| entry < least) {
                least = Some(entry);
            }
        }
        Ok(least.map(|(_, digest)| digest))
    }

    fn insert(
        &mut self,
        digest: &[u8; 32],
        bytes: &[u8],
        keeper: Keeper,
        now: u64,
    ) -> Result<(), StoreError> {
        self.cards.insert(digest, bytes)?;
        self.add(META_BYTES, bytes.len() as i64)?;
        if keeper == Keeper::Anybody {
            self.uses.insert(digest, now)?;
            self.add(META_ANYBODY, bytes.len() as i64)?;
        }
        Ok(())
    }

    fn remove(&mut self, digest: &[u8; 32]) -> Result<(), StoreError> {
        let bytes = self.cards.remove(digest)?.map(|b| b.value().len() as i64);
        let Some(bytes) = bytes else {
            return Ok(());
        };
        self.add(META_BYTES, -bytes)?;
        if self.uses.remove(digest)?.is_some() {
            self.add(META_ANYBODY, -bytes)?;
        }
        Ok(())
    }

    fn add(&mut self, name: &'static str, bytes: i64) -> Result<(), StoreError> {
        let sum = self.counter(name)?.saturating_add_signed(bytes);
        self.meta.insert(name, sum)?;
        Ok(())
    }
}

/// Seconds of the Unix epoch.
pub fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| d.as_secs())
}
