//! The threads that work the queue of proofs off.
//!
//! A proof that was begun when the process ended is begun again: it is in the queue until it is in the store, and in
//! the store once.

use crate::api::App;
use crate::config::millis;
use crate::store::{Job, StoreError};
use rayon::ThreadPool;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use zkinfer::{ProveError, Visibility};
use zkinfer_slip::{RunId, now};

/// How long provers sleep if nobody wakes them: what was put back may be due by then.
const SLEEP: Duration = Duration::from_secs(1);
/// How long a failed proof waits for its next attempt.
const PAUSE: u64 = 5_000;

/// Wakes provers, and whoever waits for a proof.
#[derive(Debug)]
pub struct Bell {
    asleep: Mutex<()>,
    wake: Condvar,
    finished: watch::Sender<u64>,
    /// What a proof takes, about.
    pace: Mutex<Duration>,
}

impl Bell {
    pub fn new() -> Bell {
        Bell {
            asleep: Mutex::new(()),
            wake: Condvar::new(),
            finished: watch::Sender::new(0),
            pace: Mutex::new(Duration::from_millis(100)),
        }
    }

    /// There is something to prove, or the end.
    pub fn ring(&self) {
        self.wake.notify_all();
    }

    /// Changes whenever a proof is there.
    pub fn finished(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    /// What a proof takes, about.
    pub fn pace(&self) -> Duration {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn took(&self, time: Duration) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        *pace = *pace / 8 * 7 + time / 8;
    }

    fn sleep(&self) {
        let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever woke it, it looks for work.
        let _ = self.wake.wait_timeout(asleep, SLEEP);
    }
}

/// Proves what is promised until the host stops.
pub fn work(app: &Arc<App>, pool: &ThreadPool) {
    while !app.draining.load(Ordering::Relaxed) {
        let now = now();
        let outcome = match app.store.take(now, now + lease(app)) {
            Ok(Some(job)) => prove(app, pool, &job),
            Ok(None) => {
                app.bell.sleep();
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "the store failed");
            app.bell.sleep();
        }
    }
}

fn lease(app: &App) -> u64 {
    millis(app.config.lease)
}

fn prove(app: &App, pool: &ThreadPool, job: &Job) -> Result<(), StoreError> {
    let terms = &job.record.slip.terms;
    let run = terms.run;
    let Some(model) = app.models.by_card(&terms.card) else {
        tracing::warn!(%run, card = %terms.card, "a proof is promised of a model that is not served any more");
        return app.store.release(&run, now() + 12 * PAUSE, false);
    };
    let start = Instant::now();
    let mut go_on = |_, _| {
        if app.draining.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        // If it cannot be said now, perhaps at the next step.
        let _ = app.store.renew(&run, now() + lease(app));
        ControlFlow::Continue(())
    };
    let made = pool.install(|| {
        let mut inputs = Vec::new();
        let mut rest = job.record.input.as_slice();
        for tensor in &model.interface.inputs {
            let (own, others) = rest
                .split_at_checked(tensor.cells())
                .ok_or("its input is too short")?;
            inputs.push(own.iter().map(|&v| u32::from(v)).collect());
            rest = others;
        }
        let trace = model
            .secret
            .infer_integers(&inputs)
            .map_err(|e| e.to_string())?;
        let side = |values: &[u16]| zkinfer::Side::Public(values.to_vec()).digest();
        if (side(trace.input()), side(trace.output())) != (terms.input, terms.output) {
            return Err("the run has another output than was signed".to_owned());
        }
        let visibility = Visibility::default();
        let rng = &mut zkinfer::rng();
        let context = &terms.context.0;
        match model
            .secret
            .prove_with_progress(&trace, &visibility, context, rng, &mut go_on)
        {
            Ok(proven) => Ok(Some(proven.proof.to_bytes())),
            Err(ProveError::Stopped(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    });
    match made {
        Ok(Some(proof)) => keep(app, &run, &proof, start.elapsed()),
        Ok(None) => app.store.release(&run, 0, false),
        Err(reason) => {
            app.metrics.failed.inc();
            tracing::error!(%run, reason, attempts = job.attempts + 1, "a proof failed");
            if job.attempts + 1 < app.config.attempts {
                return app.store.release(&run, now() + PAUSE, true);
            }
            app.store.give_up(&run, &reason)
        }
    }
}

fn keep(app: &App, run: &RunId, proof: &[u8], took: Duration) -> Result<(), StoreError> {
    app.bell.took(took);
    if app.store.finish(run, proof)? {
        app.metrics.proven.inc();
        app.metrics.proof_seconds.observe(took.as_secs_f64());
        if let Some((_, crate::store::State::Proven(promise))) = app.store.get(run)?
            && promise.terms.due < now()
        {
            app.metrics.late.inc();
            tracing::warn!(%run, "a proof is late");
        }
        tracing::info!(%run, ms = took.as_millis() as u64, "proven");
    }
    app.bell.finished.send_modify(|count| *count += 1);
    Ok(())
}
