//! Jobs in this process.

use super::{Done, Executor, Job, JobError};
use rayon::prelude::*;
use zkinfer_model::progress;

/// Does jobs here, some at a time, on the threads of [`rayon`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Local {
    /// How many are being done at a time, which bounds the memory; 0 for one per thread.
    pub parallel: usize,
}

impl Executor for Local {
    fn execute(&self, jobs: &[Job<'_>], done: &mut Done<'_>) -> Result<(), JobError> {
        let parallel = match self.parallel {
            0 => rayon::current_num_threads(),
            parallel => parallel,
        };
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
