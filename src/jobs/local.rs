//! Jobs in this process.

use super::{Done, Executor, Job, JobError};
use crate::secret::Segment;
use rayon::prelude::*;
use zkinfer_model::progress;

/// Does jobs here, some at a time, on the threads of [`rayon`]: by default one at a time, on all of them.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// How many are being done at a time, each in memory of its own; 0 for one per thread, which is faster for small models.
    pub parallel: usize,
}

impl Default for Local {
    fn default() -> Self {
        Local { parallel: 1 }
    }
}

impl Executor for Local {
    fn execute(&self, jobs: &[Job<'_>], done: &mut Done<'_>) -> Result<(), JobError> {
        let parallel = match self.parallel {
            0 => rayon::current_num_threads(),
            parallel => parallel,
        };
        // Not by several of the first jobs at a time.
        let mut segments: Vec<&Segment> = Vec::new();
        for job in jobs {
            if !segments.iter().any(|s| s.digest() == job.segment.digest()) {
                job.segment.keys()?;
                segments.push(job.segment);
            }
        }
        let mut next = 0;
        for wave in jobs.chunks(parallel) {
            let run = |job: &Job<'_>| job.segment.run_job(&job.bytes, &mut progress::silent);
            let results: Vec<Result<Vec<u8>, JobError>> = wave.par_iter().map(run).collect();
            for result in results {
                if done(next, result).is_break() {
                    return Ok(());
                }
                next += 1;
            }
        }
        Ok(())
    }
}
