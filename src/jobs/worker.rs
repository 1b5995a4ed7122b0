//! What does jobs, wherever it is.

use super::JobError;
use super::prove::ProveJob;
use crate::secret::Segment;
use std::sync::{Arc, Mutex, PoisonError};
use zkinfer_circuits::transcript::Digest;
use zkinfer_model::progress::Progress;

/// Does jobs. Keeps the segments that it was given, with their keys: the first job of a segment takes the longest.
#[derive(Debug)]
pub struct Worker {
    /// Those that were asked for last stand last.
    kept: Mutex<Vec<Kept>>,
    limit: usize,
}

#[derive(Debug)]
struct Kept {
    segment: Arc<Segment>,
    bytes: usize,
}

impl Worker {
    /// One that keeps segments whose files have at most so many bytes together; the one that was given last, however long.
    pub fn new(limit: usize) -> Worker {
        Worker {
            kept: Mutex::default(),
            limit,
        }
    }

    /// Keeps a segment, given its [file](Segment::to_bytes), and forgets what nobody asked for the longest.
    ///
    /// # Errors
    /// See [`Segment::from_bytes`].
    pub fn keep(&self, file: &[u8]) -> Result<Digest, JobError> {
        let segment = Segment::from_bytes(file, file.len())?;
        let digest = *segment.digest();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|k| *k.segment.digest() != digest);
        kept.push(Kept {
            segment: Arc::new(segment),
            bytes: file.len(),
        });
        let mut bytes = 0usize;
        let room = kept.iter().rev().take_while(|k| {
            bytes = bytes.saturating_add(k.bytes);
            bytes <= self.limit
        });
        let stay = room.count().max(1);
        let gone = kept.len() - stay;
        kept.drain(..gone);
        Ok(digest)
    }

    /// Whether it has a segment.
    pub fn has(&self, segment: &Digest) -> bool {
        self.find(segment).is_some()
    }

    /// Does a job.
    ///
    /// # Errors
    /// [`JobError::Segment`] if it has not got what the job needs: give it the file and ask again. Everything else would
    /// happen again.
    pub fn run(&self, job: &[u8], progress: &mut Progress<'_>) -> Result<Vec<u8>, JobError> {
        let wanted = ProveJob::from_bytes(job)?.segment;
        let segment = self.find(&wanted).ok_or(JobError::Segment(wanted))?;
        segment.run_job(job, progress)
    }

    fn find(&self, wanted: &Digest) -> Option<Arc<Segment>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|k| k.segment.digest() == wanted)?;
        let found = kept.remove(at);
        let segment = found.segment.clone();
        kept.push(found);
        Some(segment)
    }
}
