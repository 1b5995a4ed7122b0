//! Proofs made by executors: jobs out, outcomes in. Which executors there are, and how each is talked to, is in
//! `zkinfer/executors.py`.

use crate::arrays::{self, Which};
use crate::errors;
use crate::files;
use crate::owner::{Run, Secret, visibility};
use crate::published::Proof;
use crate::work::{Teller, long, long_on, waiting};
use pyo3::exceptions::{PyBaseException, PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use zkinfer::Visibility;
use zkinfer::jobs::{Done, Executor, Job, JobError, Local, Request, Worker, prove_many};
use zkinfer::secret::ProvenRuns;

/// Bytes of segments' files that a worker process keeps, unless one alone has more.
const KEPT_BYTES: usize = 4 << 30;

/// The worker of this process; in a forked child one of its own.
fn worker() -> Arc<Worker> {
    static WORKER: Mutex<Option<(u32, Arc<Worker>)>> = Mutex::new(None);
    let process = std::process::id();
    let mut worker = WORKER.lock().unwrap_or_else(PoisonError::into_inner);
    match &*worker {
        Some((owner, worker)) if *owner == process => worker.clone(),
        _ => {
            let new = Arc::new(Worker::new(KEPT_BYTES));
            *worker = Some((process, new.clone()));
            new
        }
    }
}

/// Whether this process has a segment.
#[pyfunction]
pub fn has_segment(digest: &str) -> bool {
    let digest = serde_json::from_value(serde_json::Value::from(digest));
    digest.is_ok_and(|digest| worker().has(&digest))
}

/// Keeps the file of a segment for jobs of this process. Called by executors on their workers.
#[pyfunction]
#[pyo3(signature = (file, threads=1))]
pub fn keep_segment(py: Python<'_>, file: &Bound<'_, PyAny>, threads: usize) -> PyResult<()> {
    let file = files::content(file)?;
    let kept = long_on(py, threads, || worker().keep(&file))?;
    kept.map(|_| ()).map_err(|e| raised(py, e))
}

/// Does a job on so many threads: its outcome, or ``None`` if this process does not have the segment. Called by executors on
/// their workers.
#[pyfunction]
#[pyo3(signature = (job, threads=1, *, progress=None))]
pub fn run_job<'py>(
    py: Python<'py>,
    job: &Bound<'py, PyBytes>,
    threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let job = job.as_bytes();
    let mut teller = Teller::new(progress);
    let outcome = long_on(py, threads, || {
        let mut progress = teller.part(0.0, 1.0);
        worker().run(job, &mut progress)
    });
    let outcome = outcome.map(|outcome| match outcome {
        Err(JobError::Segment(_)) => Ok(None),
        other => other.map(Some),
    });
    let outcome = outcome.and_then(|outcome| outcome.map_err(|e| raised(py, e)));
    let bytes = teller.outcome(outcome)?;
    Ok(bytes.map(|bytes| PyBytes::new(py, &bytes)))
}

/// Why a job was not done, as it is raised.
fn raised(py: Python<'_>, error: JobError) -> PyErr {
    match error {
        JobError::File(error) => errors::model_file(py, &error),
        JobError::Decode(error) => errors::refusal(py, &error.into()),
        JobError::Infer(error) => errors::infer(py, &error),
        JobError::Prove(error) => errors::prove(py, &error),
        JobError::Executor(error) => match error.downcast::<PyErr>() {
            Ok(error) => *error,
            Err(error) => errors::job(py, error),
        },
        other => errors::job(py, other),
    }
}

/// Files of a committed model's segments, by digest; each is written once.
#[pyclass(module = "zkinfer", frozen)]
pub struct Segments {
    secret: Arc<zkinfer::Secret>,
    files: Mutex<BTreeMap<String, Py<PyBytes>>>,
}

#[pymethods]
impl Segments {
    fn __getitem__(&self, py: Python<'_>, digest: &str) -> PyResult<Py<PyBytes>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(digest) {
            return Ok(file.clone_ref(py));
        }
        let mut segments = self.secret.segments().iter();
        let found = segments.find(|s| s.digest().to_string() == digest);
        let segment = found.ok_or_else(|| PyKeyError::new_err(digest.to_owned()))?;
        let bytes = segment.to_bytes().map_err(|e| errors::model_file(py, &e))?;
        let file = PyBytes::new(py, &bytes).unbind();
        files.insert(digest.to_owned(), file.clone_ref(py));
        Ok(file)
    }
}

/// An executor of Python's.
struct Foreign {
    executor: Py<PyAny>,
    secret: Arc<zkinfer::Secret>,
}

impl Executor for Foreign {
    fn execute(&self, jobs: &[Job<'_>], done: &mut Done<'_>) -> Result<(), JobError> {
        let executed = Python::attach(|py| -> PyResult<()> {
            let files = Segments {
                secret: self.secret.clone(),
                files: Mutex::default(),
            };
            let task = |(index, job): (usize, &Job<'_>)| {
                let digest = job.segment.digest().to_string();
                let bytes = PyBytes::new(py, &job.bytes);
                let cpu = job.cost.cpu.as_secs_f64();
                (index, digest, bytes, cpu, job.cost.memory)
            };
            let tasks: Vec<_> = jobs.iter().enumerate().map(task).collect();
            let module = PyModule::import(py, "zkinfer.executors")?;
            let arguments = (self.executor.bind(py), tasks, files);
            let outcomes = module.call_method1("outcomes", arguments)?;
            for outcome in outcomes.try_iter()? {
                let (index, outcome): (usize, Bound<'_, PyAny>) = outcome?.extract()?;
                let outcome = match outcome.cast::<PyBytes>() {
                    Ok(bytes) => Ok(bytes.as_bytes().to_vec()),
                    Err(_) => Err(JobError::Executor(Box::new(exception(&outcome)))),
                };
                if done(index, outcome).is_break() {
                    outcomes.call_method0("close")?;
                    break;
                }
            }
            Ok(())
        });
        executed.map_err(|error| JobError::Executor(Box::new(error)))
    }
}

/// What stands in the place of an outcome.
fn exception(outcome: &Bound<'_, PyAny>) -> PyErr {
    if outcome.is_instance_of::<PyBaseException>() {
        return PyErr::from_value(outcome.clone());
    }
    let found = files::type_name(outcome);
    errors::job(
        outcome.py(),
        format!("a worker answered with an object of type {found}, not with bytes"),
    )
}

/// What is asked for of every run.
pub struct Asked<'a, 'py> {
    pub input: Option<&'a Bound<'py, PyAny>>,
    pub output: Option<&'a Bound<'py, PyAny>>,
    pub attach_input: bool,
    pub context: Option<&'a Bound<'py, PyAny>>,
}

/// How it is done, and who is told.
pub struct How {
    pub executor: Option<Py<PyAny>>,
    pub parallel: usize,
    pub return_exceptions: bool,
    pub done: Option<Py<PyAny>>,
    pub progress: Option<Py<PyAny>>,
}

/// One value for all, or a list with one for each.
fn each<'py>(
    value: Option<&Bound<'py, PyAny>>,
    count: usize,
    which: &str,
) -> PyResult<Vec<Option<Bound<'py, PyAny>>>> {
    let Some(list) = value.and_then(|v| v.cast::<PyList>().ok()) else {
        return Ok(vec![value.cloned(); count]);
    };
    if list.len() != count {
        let message = format!("{which}: {} for {count} runs", list.len());
        return Err(errors::input(list.py(), message));
    }
    Ok(list.iter().map(|v| (!v.is_none()).then_some(v)).collect())
}

impl Asked<'_, '_> {
    fn of_each(&self, count: usize) -> PyResult<Vec<(Visibility, Vec<u8>)>> {
        let inputs = each(self.input, count, "input")?;
        let outputs = each(self.output, count, "output")?;
        let contexts = each(self.context, count, "context")?;
        let sides = inputs.iter().zip(&outputs).zip(&contexts);
        let asked = sides.map(|((input, output), context)| {
            let visibility = Visibility {
                input: visibility(input.as_ref(), "input")?,
                output: visibility(output.as_ref(), "output")?,
                attach_input: self.attach_input,
            };
            let context = context.as_ref().map_or(Ok(Vec::new()), files::content)?;
            Ok((visibility, context))
        });
        asked.collect()
    }
}

/// Runs that were given, or made of the samples that were: compact, and each with its error by itself.
fn runs_of(
    py: Python<'_>,
    secret: &zkinfer::Secret,
    x: &Bound<'_, PyAny>,
) -> PyResult<Vec<Result<zkinfer::Run, PyErr>>> {
    let list = match x.cast::<PyTuple>() {
        Ok(tuple) => Some(tuple.to_list()),
        Err(_) => x.cast::<PyList>().ok().cloned(),
    };
    if let Some(list) = list
        && (list.is_empty() || list.iter().any(|run| run.cast::<Run>().is_ok()))
    {
        let run = |run: Bound<'_, PyAny>| match run.cast::<Run>() {
            Ok(run) => Ok(Ok(run.get().run.clone().compact())),
            Err(_) => {
                let found = files::type_name(&run);
                let message = format!("x: expected Runs throughout, found {found}");
                Err(PyTypeError::new_err(message))
            }
        };
        return list.iter().map(run).collect();
    }
    let samples = arrays::samples(x, &arrays::forms(secret.inputs()), Which::Input)?;
    let runs: Vec<_> = long(py, || {
        let run = |x: &Vec<Vec<f32>>| secret.infer(x).map(zkinfer::Run::compact);
        samples.par_iter().map(run).collect()
    })?;
    let error = |e| errors::infer(py, &e);
    Ok(runs.into_iter().map(|run| run.map_err(error)).collect())
}

/// Proves one run or several, each by itself.
pub fn prove_each<'py>(
    py: Python<'py>,
    secret: &Secret,
    x: &Bound<'py, PyAny>,
    asked: &Asked<'_, 'py>,
    how: How,
) -> PyResult<Bound<'py, PyList>> {
    let How {
        executor,
        parallel,
        return_exceptions,
        done,
        progress,
    } = how;
    let secret = secret.shared();
    let runs = runs_of(py, &secret, x)?;
    let asked = asked.of_each(runs.len())?;
    let mut results: Vec<Option<PyResult<Py<Proof>>>> = runs.iter().map(|_| None).collect();
    let mut requests = Vec::new();
    // Which run each request is of.
    let mut places = Vec::new();
    for (index, (run, (visibility, context))) in runs.iter().zip(asked).enumerate() {
        match run {
            Ok(run) => {
                requests.push(Request {
                    visibility,
                    context,
                    ..Request::of(run)
                });
                places.push(index);
            }
            Err(error) if return_exceptions => results[index] = Some(Err(error.clone_ref(py))),
            Err(error) => return Err(noted(py, error.clone_ref(py), index)),
        }
    }
    let mut teller = Teller::new(progress);
    let foreign = executor.is_some();
    let executor: Box<dyn Executor + Send + Sync> = match executor {
        None => Box::new(Local { parallel }),
        Some(executor) => foreign_executor(executor, &secret),
    };
    let mut failed: Option<usize> = None;
    let mut raised_by_done = None;
    let mut finished = 0;
    let proven = wait_or_work(py, foreign, || {
        let mut told = |request: usize, proven: Result<ProvenRuns, JobError>| {
            let index = places[request];
            let result = Python::attach(|py| {
                let result = proven
                    .map_err(|e| raised(py, e))
                    .and_then(|p| Py::new(py, proof(p)));
                let told = done.as_ref().map(|done| match &result {
                    Ok(proof) => done.call1(py, (index, proof)),
                    Err(error) => done.call1(py, (index, error.value(py))),
                });
                raised_by_done = told.and_then(Result::err);
                result
            });
            let error = result.is_err();
            results[index] = Some(result);
            finished += 1;
            if raised_by_done.is_some() {
                return ControlFlow::Break(());
            }
            if error && !return_exceptions {
                failed = Some(index);
                return ControlFlow::Break(());
            }
            teller.tell("prove", finished as f64 / places.len() as f64)
        };
        let rng = &mut zkinfer::rng();
        prove_many(&secret, &requests, executor.as_ref(), rng, &mut told)
    });
    let proven = proven.and_then(|proven| proven.map_err(|e| raised(py, e)));
    if let Some(error) = raised_by_done {
        return Err(error);
    }
    teller.outcome(proven)?;
    if let Some(index) = failed
        && let Some(Some(Err(error))) = results.get(index)
    {
        return Err(noted(py, error.clone_ref(py), index));
    }
    let list = PyList::empty(py);
    for result in results {
        match result {
            Some(Ok(proof)) => list.append(proof)?,
            Some(Err(error)) => list.append(error.into_value(py))?,
            None => list.append(errors::job(py, "stopped").into_value(py))?,
        }
    }
    Ok(list)
}

/// Proves runs in one proof, its segments side by side where there are several.
pub fn prove_together(
    py: Python<'_>,
    secret: &Secret,
    runs: &[zkinfer::Run],
    asked: (Visibility, Vec<u8>),
    executor: Py<PyAny>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Proof> {
    let secret = secret.shared();
    let executor = foreign_executor(executor, &secret);
    let (visibility, context) = asked;
    let requests = [Request {
        runs,
        visibility,
        context,
    }];
    let mut teller = Teller::new(progress);
    let mut made = None;
    let proven = wait_or_work(py, true, || {
        let mut done = |_, proven: Result<ProvenRuns, JobError>| {
            made = Some(proven);
            teller.tell("prove", 1.0)
        };
        let rng = &mut zkinfer::rng();
        prove_many(&secret, &requests, executor.as_ref(), rng, &mut done)
    });
    let proven = proven.and_then(|proven| proven.map_err(|e| raised(py, e)));
    teller.outcome(proven)?;
    let made = made.unwrap_or(Err(JobError::Lost));
    Ok(proof(made.map_err(|e| raised(py, e))?))
}

/// Waits for an executor of Python's, or works here. Whoever waits takes no thread of the pool: in a forked process a worker
/// beside it would find none.
fn wait_or_work<T: Send>(
    py: Python<'_>,
    wait: bool,
    work: impl FnOnce() -> T + Send,
) -> PyResult<T> {
    match wait {
        true => waiting(py, work),
        false => long(py, work),
    }
}

fn foreign_executor(
    executor: Py<PyAny>,
    secret: &Arc<zkinfer::Secret>,
) -> Box<dyn Executor + Send + Sync> {
    Box::new(Foreign {
        executor,
        secret: secret.clone(),
    })
}

fn proof(proven: ProvenRuns) -> Proof {
    Proof {
        content: proven.proof,
        openings: Some(proven.openings),
    }
}

/// Says which run it was, where Python has notes (3.11).
fn noted(py: Python<'_>, error: PyErr, index: usize) -> PyErr {
    let note = PyString::new(py, &format!("run {index} of those that were to be proven"));
    let _ = error.value(py).call_method1("add_note", (note,));
    error
}
