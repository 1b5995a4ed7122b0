//! Used contexts: the tables of their file.

use super::{Bounds, ContextKey, Keeper, StoreError};
use redb::{
    Database, MultimapTable, MultimapTableDefinition, ReadableDatabase, ReadableMultimapTable,
    ReadableTable, ReadableTableMetadata, Table, TableDefinition, TableError, WriteTransaction,
};

/// Context key → second of the Unix epoch at which it is forgotten.
pub const CONTEXTS: TableDefinition<[u8; 32], u64> = TableDefinition::new("contexts");
/// The same the other way round.
pub const EXPIRIES: MultimapTableDefinition<u64, [u8; 32]> =
    MultimapTableDefinition::new("expiries");
/// Those of them that are of cards that anybody may have sent.
pub const STRANGERS: TableDefinition<[u8; 32], ()> = TableDefinition::new("strangers");
/// Contexts that one transaction forgets.
pub const PURGE: usize = 10_000;

/// Used contexts within a transaction.
pub struct Used<'t> {
    pub contexts: Table<'t, [u8; 32], u64>,
    expiries: MultimapTable<'t, u64, [u8; 32]>,
    strangers: Table<'t, [u8; 32], ()>,
}

impl<'t> Used<'t> {
    pub fn open(write: &'t WriteTransaction) -> Result<Used<'t>, StoreError> {
        Ok(Used {
            contexts: write.open_table(CONTEXTS)?,
            expiries: write.open_multimap_table(EXPIRIES)?,
            strangers: write.open_table(STRANGERS)?,
        })
    }

    /// Whether another one is within the bounds, after those whose time is over are forgotten if need be.
    pub fn make_room(
        &mut self,
        bounds: &Bounds,
        keeper: Keeper,
        now: u64,
    ) -> Result<(), StoreError> {
        loop {
            let strangers = self.strangers.len()?;
            let (count, limit) = match keeper {
                Keeper::Operator => {
                    let count = self.contexts.len()?.saturating_sub(strangers);
                    (count, bounds.contexts.0)
                }
                Keeper::Anybody => (strangers, bounds.contexts.1),
            };
            if count < limit {
                return Ok(());
            }
            if self.forget(now)? == 0 {
                let what = "used contexts";
                return Err(StoreError::Full { what, count, limit });
            }
        }
    }

    pub fn insert(&mut self, key: &ContextKey, until: u64) -> Result<(), StoreError> {
        self.contexts.insert(key.key, until)?;
        self.expiries.insert(until, key.key)?;
        if key.keeper == Keeper::Anybody {
            self.strangers.insert(key.key, ())?;
        }
        Ok(())
    }

    pub fn remove(&mut self, until: u64, key: &[u8; 32]) -> Result<(), StoreError> {
        self.expiries.remove(until, key)?;
        self.contexts.remove(key)?;
        self.strangers.remove(key)?;
        Ok(())
    }

    /// Forgets at most [`PURGE`] contexts whose time is over.
    pub fn forget(&mut self, now: u64) -> Result<usize, StoreError> {
        let mut over = Vec::new();
        'full: for entry in self.expiries.range(..=now)? {
            let (until, keys) = entry?;
            for key in keys {
                over.push((until.value(), key?.value()));
                if over.len() == PURGE {
                    break 'full;
                }
            }
        }
        for (until, key) in &over {
            self.remove(*until, key)?;
        }
        Ok(over.len())
    }
}

/// All contexts of a file: key, until when, and whether its card is anybody's.
#[cfg(feature = "postgres")]
pub fn all(file: &Database) -> Result<Vec<([u8; 32], u64, bool)>, StoreError> {
    let read = file.begin_read()?;
    let known = match read.open_table(CONTEXTS) {
        Ok(known) => known,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    // Files of version 1 do not have it.
    let strangers = read.open_table(STRANGERS).ok();
    let mut all = Vec::new();
    for entry in known.iter()? {
        let (key, until) = entry?;
        let stranger = match &strangers {
            Some(strangers) => strangers.get(key.value())?.is_some(),
            None => false,
        };
        all.push((key.value(), until.value(), stranger));
    }
    Ok(all)
}

/// Takes contexts over from a file of version 1. They are in the new file before they leave the old one.
pub fn move_contexts(from: &Database, to: &Database) -> Result<(), StoreError> {
    let read = from.begin_read()?;
    let old = match read.open_table(CONTEXTS) {
        Ok(old) => old,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let write = to.begin_write()?;
    {
        let mut contexts = write.open_table(CONTEXTS)?;
        let mut expiries = write.open_multimap_table(EXPIRIES)?;
        for entry in old.iter()? {
            let (key, until) = entry?;
            let (key, until) = (key.value(), until.value());
            if contexts.get(key)?.is_none() {
                contexts.insert(key, until)?;
                expiries.insert(until, key)?;
            }
        }
    }
    write.commit()?;
    drop((old, read));
    let write = from.begin_write()?;
    write.delete_table(CONTEXTS)?;
    write.delete_multimap_table(EXPIRIES)?;
    write.commit()?;
    Ok(())
}
