//! Long work: without the interpreter's lock, with progress, and with panics caught.

use crate::errors;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::any::Any;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use zkinfer::Stage;

thread_local! {
    /// Threads that long work of this one is done on; 0 for all.
    static THREADS: Cell<usize> = const { Cell::new(0) };
}

/// Long work of the calling thread is done on so many threads from now on; 0 for as many as there are. Called by executors on
/// their workers.
#[pyfunction]
pub fn limit_threads(threads: usize) {
    THREADS.set(threads);
}

/// Does something long: other Python threads go on meanwhile, and a panic becomes an exception.
pub fn long<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    match THREADS.get() {
        0 => {}
        threads => return long_on(py, threads, work),
    }
    let caught = py.detach(|| match own_threads()? {
        None => catch_unwind(AssertUnwindSafe(work)).map_err(describe),
        Some(pool) => catch_unwind(AssertUnwindSafe(|| pool.install(work))).map_err(describe),
    });
    caught.map_err(|message| errors::internal(py, message))
}

/// Waits for something that others do: other Python threads go on meanwhile, and a panic becomes an exception.
pub fn waiting<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let caught = py.detach(|| catch_unwind(AssertUnwindSafe(work)).map_err(describe));
    caught.map_err(|message| errors::internal(py, message))
}

/// [`long`] on so many threads, which nobody else works on meanwhile.
pub fn long_on<T: Send>(
    py: Python<'_>,
    threads: usize,
    work: impl FnOnce() -> T + Send,
) -> PyResult<T> {
    /// Threads that nobody works on, by process and number.
    static FREE: Mutex<Vec<(u32, usize, ThreadPool)>> = Mutex::new(Vec::new());
    let process = std::process::id();
    let caught = py.detach(|| {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |(owner, count, _): &(u32, usize, ThreadPool)| (*owner, *count) == (process, threads);
        let found = free.iter().position(fits).map(|at| free.swap_remove(at).2);
        drop(free);
        let new = || ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = found.map_or_else(new, Ok);
        let pool = pool.map_err(|e| format!("no threads: {e}"))?;
        let result = catch_unwind(AssertUnwindSafe(|| pool.install(work))).map_err(describe);
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.push((process, threads, pool));
        result
    });
    caught.map_err(|message| errors::internal(py, message))
}

fn describe(panic: Box<dyn Any + Send>) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a message"))
}

static IMPORTED_BY: OnceLock<u32> = OnceLock::new();

/// Called when the module is imported.
pub fn remember_process() {
    IMPORTED_BY.get_or_init(std::process::id);
}

/// In a forked child, threads of its own: the parent's do not exist there, and waiting for them would never end.
/// (`multiprocessing` forks by default on Linux before Python 3.14.)
fn own_threads() -> Result<Option<Arc<ThreadPool>>, String> {
    static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);
    let process = std::process::id();
    if IMPORTED_BY.get() == Some(&process) {
        return Ok(None);
    }
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    match &*pool {
        Some((owner, threads)) if *owner == process => Ok(Some(threads.clone())),
        _ => {
            let threads = ThreadPoolBuilder::new().build();
            let threads = Arc::new(threads.map_err(|e| format!("no threads: {e}"))?);
            // The parent's pool, if there is one here, has no threads that could be told to end.
            if let Some(old) = pool.replace((process, threads.clone())) {
                std::mem::forget(old);
            }
            Ok(Some(threads))
        }
    }
}

/// Within a stage, no more often than this.
const PAUSE: Duration = Duration::from_millis(20);

/// Tells Python how far work has come, and stops it where Python raises something: an exception in the callback, or
/// Ctrl-C.
pub struct Teller {
    callback: Option<Py<PyAny>>,
    last: Option<(&'static str, Instant)>,
    raised: Option<PyErr>,
}

impl Teller {
    pub fn new(callback: Option<Py<PyAny>>) -> Teller {
        Teller {
            callback,
            last: None,
            raised: None,
        }
    }

    /// A stage that only this package knows.
    pub fn tell(&mut self, stage: &'static str, fraction: f64) -> ControlFlow<()> {
        if self.raised.is_some() {
            return ControlFlow::Break(());
        }
        let recent = |(last, at): (&str, Instant)| last == stage && at.elapsed() < PAUSE;
        if fraction < 1.0 && self.last.is_some_and(recent) {
            return ControlFlow::Continue(());
        }
        let told = Python::attach(|py| {
            py.check_signals()?;
            if let Some(callback) = &self.callback {
                callback.call1(py, (stage, fraction))?;
            }
            Ok(())
        });
        self.last = Some((stage, Instant::now()));
        match told {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.raised = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// For a part of the work, between two fractions of the whole.
    pub fn part(&mut self, from: f64, to: f64) -> impl FnMut(Stage, f64) -> ControlFlow<()> {
        move |stage, fraction| self.tell(stage.name(), from + (to - from) * fraction)
    }

    /// What was raised goes before what came of it.
    pub fn outcome<T>(self, result: PyResult<T>) -> PyResult<T> {
        match self.raised {
            Some(error) => Err(error),
            None => result,
        }
    }
}
