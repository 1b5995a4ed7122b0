//! The store of one process: a [redb](https://github.com/cberner/redb) file. Runs that are answered at the same time
//! share a transaction, so that each waits for the disk once and not for all others.

mod tables;

use super::{Job, Last, Record, State, Store, StoreError, Totals, state};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tables::*;
use zkinfer_slip::{Promise, RunId, Series};

/// Memory for pages of the file.
const CACHE: usize = 1 << 24;
/// Most runs in one transaction.
const GROUP: usize = 256;

/// The store of one process, a file. Runs that are answered at the same time share a transaction.
#[derive(Debug)]
pub struct Embedded {
    file: Arc<File>,
    series: Series,
    writer: Mutex<Option<SyncSender<Write>>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct File {
    database: Database,
    /// Most runs, and bytes of them.
    bounds: (u64, u64),
}

/// A run to be kept, and whom to tell.
struct Write {
    record: Record,
    promise: Option<Promise>,
    done: Sender<Result<(), StoreError>>,
}

impl Embedded {
    /// Opens or makes a file. `series` names the numbering of slips: a new one for every start, so that no number is there
    /// twice, even if somebody goes back to an older copy of the file. What somebody was working on when it was closed goes back into the queue.
    ///
    /// # Errors
    /// If it is damaged, something else, in use, or of another version.
    pub fn open(
        path: &Path,
        series: Series,
        runs: u64,
        bytes: u64,
    ) -> Result<Embedded, StoreError> {
        let open = |reason: String| StoreError::Open {
            path: PathBuf::from(path),
            reason,
        };
        let mut builder = Database::builder();
        let database = builder.set_cache_size(CACHE).create(path);
        let database = database.map_err(|error| {
            open(match error {
                DatabaseError::DatabaseAlreadyOpen => "another process has it open".to_owned(),
                other => other.to_string(),
            })
        })?;
        let file = Arc::new(File {
            database,
            bounds: (runs, bytes),
        });
        file.begin()?;
        let (writer, writes) = sync_channel(GROUP);
        let own = file.clone();
        let thread = std::thread::Builder::new().name("runs".to_owned());
        let thread = thread.spawn(move || own.write(&writes));
        Ok(Embedded {
            file,
            series,
            writer: Mutex::new(Some(writer)),
            thread: Some(thread.map_err(|e| open(e.to_string()))?),
        })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        drop(writer.take());
        drop(writer);
        if let Some(thread) = self.thread.take() {
            // It has ended one way or the other.
            let _ = thread.join();
        }
    }
}

impl File {
    fn begin(&self) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(failed)?;
        {
            let mut meta = write.open_table(META).map_err(failed)?;
            let found = meta.get("version").map_err(failed)?.map(|v| v.value());
            match found {
                Some(VERSION) => {}
                Some(found) => {
                    return Err(StoreError::Version {
                        found,
                        wanted: VERSION,
                    });
                }
                None => {
                    meta.insert("version", VERSION).map_err(failed)?;
                }
            }
            for table in [RUNS, PROMISES, PROOFS] {
                write.open_table(table).map_err(failed)?;
            }
            write.open_table(EXPIRIES).map_err(failed)?;
            let queue = write.open_table(QUEUE).map_err(failed)?;
            let mut promises = write.open_table(PROMISES).map_err(failed)?;
            for entry in queue.iter().map_err(failed)? {
                let (_, id) = entry.map_err(failed)?.0.value();
                change(&mut promises, &id, |p| p.busy_until = 0)?;
            }
        }
        write.commit().map_err(failed)
    }

    /// Keeps runs, as many as wait in one transaction, until nobody can send any more.
    fn write(&self, writes: &Receiver<Write>) {
        while let Ok(first) = writes.recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(next) = writes.try_recv()
            {
                group.push(next);
            }
            let result = self.keep(&group);
            for (at, write) in group.into_iter().enumerate() {
                let answer = match &result {
                    Ok(refused) => refused.get(at).cloned().flatten().map_or(Ok(()), Err),
                    Err(error) => Err(Refused::Failed(error.to_string())),
                };
                // Whoever does not wait any more does not need to know.
                let _ = write.done.send(answer.map_err(StoreError::from));
            }
        }
    }

    /// Keeps a group of runs; for each, whether there was no room.
    fn keep(&self, group: &[Write]) -> Result<Vec<Option<Refused>>, StoreError> {
        let write = self.database.begin_write().map_err(failed)?;
        let mut refused = Vec::with_capacity(group.len());
        {
            let mut meta = write.open_table(META).map_err(failed)?;
            let mut runs = write.open_table(RUNS).map_err(failed)?;
            let mut expiries = write.open_table(EXPIRIES).map_err(failed)?;
            for Write {
                record, promise, ..
            } in group
            {
                let bytes = encode(record)?;
                let terms = &record.slip.terms;
                let (count, size) = (runs.len().map_err(failed)?, number(&meta, "bytes")?);
                let full = self.full(count, size, bytes.len() as u64);
                let is_full = full.is_some();
                refused.push(full);
                if is_full {
                    continue;
                }
                runs.insert(terms.run.0, bytes.as_slice()).map_err(failed)?;
                meta.insert("bytes", size + bytes.len() as u64)
                    .map_err(failed)?;
                let sequence = number(&meta, "sequence")?.max(terms.sequence);
                meta.insert("sequence", sequence).map_err(failed)?;
                let time = number(&meta, "time")?.max(terms.time);
                meta.insert("time", time).map_err(failed)?;
                match promise {
                    Some(promise) => queue(&write, promise, &mut expiries)?,
                    None => {
                        let key = (terms.ask_until, terms.run.0);
                        expiries.insert(key, ()).map_err(failed)?;
                    }
                }
            }
        }
        write.commit().map_err(failed)?;
        Ok(refused)
    }

    fn full(&self, count: u64, bytes: u64, more: u64) -> Option<Refused> {
        if count >= self.bounds.0 {
            return Some(Refused::Full("runs", count, self.bounds.0));
        }
        (bytes + more > self.bounds.1).then_some(Refused::Full(
            "bytes of runs",
            bytes,
            self.bounds.1,
        ))
    }

    /// Changes what is known of a promise.
    fn promised(&self, run: &RunId, by: impl FnOnce(&mut Promised)) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(failed)?;
        {
            let mut promises = write.open_table(PROMISES).map_err(failed)?;
            change(&mut promises, &run.0, by)?;
        }
        write.commit().map_err(failed)
    }
}

/// Why a run was not kept, for several that wait.
#[derive(Clone, Debug)]
enum Refused {
    Full(&'static str, u64, u64),
    Failed(String),
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> StoreError {
        match refused {
            Refused::Full(what, count, limit) => StoreError::Full { what, count, limit },
            Refused::Failed(text) => failed(redb::StorageError::Corrupted(text)),
        }
    }
}

impl Store for Embedded {
    fn last(&self) -> Result<Last, StoreError> {
        let read = self.file.database.begin_read().map_err(failed)?;
        let meta = read.open_table(META).map_err(failed)?;
        Ok(Last {
            series: self.series,
            sequence: number(&meta, "sequence")?,
            time: number(&meta, "time")?,
        })
    }

    fn insert(&self, record: Record, promise: Option<Promise>) -> Result<(), StoreError> {
        let (done, told) = channel();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let write = Write {
            record,
            promise,
            done,
        };
        let writer = writer.ok_or(StoreError::Closed)?;
        writer.send(write).map_err(|_| StoreError::Closed)?;
        told.recv().map_err(|_| StoreError::Closed)?
    }

    fn get(&self, run: &RunId) -> Result<Option<(Record, State)>, StoreError> {
        let read = self.file.database.begin_read().map_err(failed)?;
        let runs = read.open_table(RUNS).map_err(failed)?;
        let Some(bytes) = runs.get(run.0).map_err(failed)? else {
            return Ok(None);
        };
        let record = decode(bytes.value())?;
        let promises = read.open_table(PROMISES).map_err(failed)?;
        let promised = promises.get(run.0).map_err(failed)?;
        let promised = promised.map(|v| read_promise(v.value())).transpose()?;
        let proofs = read.open_table(PROOFS).map_err(failed)?;
        let proven = proofs.get(run.0).map_err(failed)?.is_some();
        let promised = promised.map(|p| (p.promise, p.failed));
        Ok(Some((record, state(promised, proven))))
    }

    fn promise(&self, promise: &Promise) -> Result<Option<State>, StoreError> {
        let write = self.file.database.begin_write().map_err(failed)?;
        let id = promise.terms.run.0;
        {
            let runs = write.open_table(RUNS).map_err(failed)?;
            let Some(record) = runs.get(id).map_err(failed)? else {
                return Ok(None);
            };
            let record = decode(record.value())?;
            let known = {
                let promises = write.open_table(PROMISES).map_err(failed)?;
                promises.get(id).map_err(failed)?.is_some()
            };
            if !known {
                let mut expiries = write.open_table(EXPIRIES).map_err(failed)?;
                let key = (record.slip.terms.ask_until, id);
                expiries.remove(key).map_err(failed)?;
                queue(&write, promise, &mut expiries)?;
            }
        }
        write.commit().map_err(failed)?;
        Ok(self.get(&promise.terms.run)?.map(|(_, state)| state))
    }

    fn take(&self, now: u64, until: u64) -> Result<Option<Job>, StoreError> {
        let write = self.file.database.begin_write().map_err(failed)?;
        let mut job = None;
        {
            let waiting = write.open_table(QUEUE).map_err(failed)?;
            let mut promises = write.open_table(PROMISES).map_err(failed)?;
            let runs = write.open_table(RUNS).map_err(failed)?;
            for entry in waiting.iter().map_err(failed)? {
                let (_, id) = entry.map_err(failed)?.0.value();
                let found = promises.get(id).map_err(failed)?;
                let promised = found.map(|v| read_promise(v.value())).transpose()?;
                let record = runs.get(id).map_err(failed)?;
                let record = record.map(|v| decode(v.value())).transpose()?;
                let (Some(promised), Some(record)) = (promised, record) else {
                    return Err(StoreError::Damaged { what: "queue" });
                };
                if promised.busy_until > now {
                    continue;
                }
                change(&mut promises, &id, |p| p.busy_until = until)?;
                job = Some(Job {
                    record,
                    attempts: promised.attempts,
                });
                break;
            }
        }
        if job.is_some() {
            write.commit().map_err(failed)?;
        }
        Ok(job)
    }

    fn renew(&self, run: &RunId, until: u64) -> Result<(), StoreError> {
        self.file.promised(run, |p| p.busy_until = until)
    }

    fn finish(&self, run: &RunId, proof: &[u8]) -> Result<bool, StoreError> {
        let write = self.file.database.begin_write().map_err(failed)?;
        {
            let mut proofs = write.open_table(PROOFS).map_err(failed)?;
            if proofs.get(run.0).map_err(failed)?.is_some() {
                return Ok(false);
            }
            proofs.insert(run.0, proof).map_err(failed)?;
            unqueue(&write, run)?;
        }
        write.commit().map_err(failed)?;
        Ok(true)
    }

    fn release(&self, run: &RunId, not_before: u64, tried: bool) -> Result<(), StoreError> {
        self.file.promised(run, |p| {
            p.busy_until = not_before;
            p.attempts += u32::from(tried);
        })
    }

    fn give_up(&self, run: &RunId, reason: &str) -> Result<(), StoreError> {
        let write = self.file.database.begin_write().map_err(failed)?;
        unqueue(&write, run)?;
        {
            let mut promises = write.open_table(PROMISES).map_err(failed)?;
            change(&mut promises, &run.0, |p| {
                p.failed = Some(reason.to_owned())
            })?;
        }
        write.commit().map_err(failed)
    }

    fn proof(&self, run: &RunId) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.file.database.begin_read().map_err(failed)?;
        let proofs = read.open_table(PROOFS).map_err(failed)?;
        Ok(proofs
            .get(run.0)
            .map_err(failed)?
            .map(|v| v.value().to_vec()))
    }

    fn purge(&self, now: u64) -> Result<u64, StoreError> {
        let write = self.file.database.begin_write().map_err(failed)?;
        let mut gone = 0;
        {
            let mut expiries = write.open_table(EXPIRIES).map_err(failed)?;
            let mut runs = write.open_table(RUNS).map_err(failed)?;
            let mut meta = write.open_table(META).map_err(failed)?;
            let mut over = Vec::new();
            for entry in expiries.range(..(now, [0; 16])).map_err(failed)? {
                over.push(entry.map_err(failed)?.0.value());
            }
            for (time, id) in over {
                expiries.remove((time, id)).map_err(failed)?;
                unqueue(&write, &RunId(id))?;
                let bytes = runs
                    .remove(id)
                    .map_err(failed)?
                    .map_or(0, |v| v.value().len());
                let left = number(&meta, "bytes")?.saturating_sub(bytes as u64);
                meta.insert("bytes", left).map_err(failed)?;
                for table in [PROMISES, PROOFS] {
                    write
                        .open_table(table)
                        .map_err(failed)?
                        .remove(id)
                        .map_err(failed)?;
                }
                gone += 1;
            }
        }
        write.commit().map_err(failed)?;
        Ok(gone)
    }

    fn totals(&self) -> Result<Totals, StoreError> {
        let read = self.file.database.begin_read().map_err(failed)?;
        let meta = read.open_table(META).map_err(failed)?;
        Ok(Totals {
            runs: read
                .open_table(RUNS)
                .map_err(failed)?
                .len()
                .map_err(failed)?,
            bytes: number(&meta, "bytes")?,
            queued: read
                .open_table(QUEUE)
                .map_err(failed)?
                .len()
                .map_err(failed)?,
            proofs: read
                .open_table(PROOFS)
                .map_err(failed)?
                .len()
                .map_err(failed)?,
        })
    }
}
