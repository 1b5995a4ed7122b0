//! The owner's side: what is committed to, runs, proofs.

use crate::arrays::{self, Form, Which};
use crate::errors;
use crate::files::{self, SECRET_BYTES};
use crate::jobs;
use crate::published::{Card, Opening, Proof};
use crate::work::{Teller, long};
use numpy::{PyArray1, PyArrayDyn};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySequence, PyType};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use zkinfer::interface::Interface;
use zkinfer::plan::Cost;
use zkinfer::{SideVisibility, Visibility};

/// A value that is like JSON as Python objects.
pub fn to_python<'py>(
    py: Python<'py>,
    value: &impl serde::Serialize,
) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).map_err(|e| errors::internal(py, e))?;
    PyModule::import(py, "json")?.call_method1("loads", (text,))
}

/// A committed model: weights, blinds, keys. Whoever has it can prove; it stays with its owner.
#[pyclass(module = "zkinfer", frozen)]
pub struct Secret {
    pub(crate) secret: Arc<zkinfer::Secret>,
}

impl Secret {
    pub(crate) fn new(secret: zkinfer::Secret) -> Secret {
        Secret {
            secret: Arc::new(secret),
        }
    }

    pub(crate) fn shared(&self) -> Arc<zkinfer::Secret> {
        self.secret.clone()
    }

    pub(crate) fn decode(py: Python<'_>, bytes: &[u8]) -> PyResult<Secret> {
        let secret = long(py, || zkinfer::Secret::from_bytes(bytes, SECRET_BYTES))?;
        Ok(Secret::new(secret.map_err(|e| errors::model_file(py, &e))?))
    }

    fn encode(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        let bytes = long(py, || self.secret.to_bytes())?;
        bytes.map_err(|e| errors::model_file(py, &e))
    }

    fn run(&self, py: Python<'_>, x: &[Vec<f32>]) -> PyResult<Run> {
        let run = long(py, || self.secret.infer(x))?;
        Ok(Run {
            run: run.map_err(|e| errors::infer(py, &e))?,
            forms: arrays::forms(self.secret.outputs()),
        })
    }

    fn forms(&self) -> Vec<Form> {
        arrays::forms(self.secret.inputs())
    }
}

#[pymethods]
impl Secret {
    /// What is published.
    #[getter]
    fn card(&self) -> Card {
        Card(Arc::new(self.secret.card().clone()))
    }

    /// CPU time of a proof, in seconds of one core: what the plan predicts for one with AVX-512 IFMA.
    #[getter]
    fn cpu_seconds(&self) -> f64 {
        Cost::of_model(&self.secret).cpu.as_secs_f64()
    }

    /// Memory of a process that proves, at its peak, in bytes: what the plan predicts.
    #[getter]
    fn memory_bytes(&self) -> u64 {
        Cost::of_model(&self.secret).memory
    }

    /// Runs the model on one input: the outputs, exactly as they can be proven.
    ///
    /// Args:
    ///     x: An array, or a list or dict of arrays where the model has several inputs.
    ///
    /// Raises:
    ///     InputError: The arrays do not fit the model's inputs.
    ///     InferError: The input leads outside the range that the model was calibrated for.
    fn infer(&self, py: Python<'_>, x: &Bound<'_, PyAny>) -> PyResult<Run> {
        let x = arrays::sample(x, &self.forms(), Which::Input)?;
        self.run(py, &x)
    }

    /// Runs the model on every sample along the first axis; otherwise as :meth:`infer`.
    fn infer_many(&self, py: Python<'_>, x: &Bound<'_, PyAny>) -> PyResult<Vec<Run>> {
        let samples = arrays::samples(x, &self.forms(), Which::Input)?;
        samples.iter().map(|x| self.run(py, x)).collect()
    }

    /// Proves a run, or a list of at most 256 runs in one proof.
    ///
    /// Args:
    ///     run: What :meth:`infer` returned, or a list of such.
    ///     input: ``"public"``: part of the statement. ``"committed"``: hidden behind a fresh commitment. An
    ///         :class:`Opening`: hidden behind that commitment.
    ///     output: The same for the output.
    ///     attach_input: Whether public inputs travel with the proof; otherwise the verifier has to bring them.
    ///         Outputs always travel.
    ///     context: At most 4096 bytes that the proof is bound to: a nonce, a request's id.
    ///     executor: Where the proof is made, as for :meth:`prove_many`: the segments of a model that has several, side by
    ///         side. By default in this process, one after the other.
    ///     progress: As for :func:`compile`.
    ///
    /// Raises:
    ///     ProveError: The run is another model's, an opening does not fit, the context is too long.
    ///     JobError: The executor did not do what it was asked for.
    #[pyo3(signature = (run, *, input=None, output=None, attach_input=false, context=None, executor=None, progress=None))]
    #[allow(clippy::too_many_arguments)]
    fn prove(
        &self,
        py: Python<'_>,
        run: &Bound<'_, PyAny>,
        input: Option<&Bound<'_, PyAny>>,
        output: Option<&Bound<'_, PyAny>>,
        attach_input: bool,
        context: Option<&Bound<'_, PyAny>>,
        executor: Option<Py<PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Proof> {
        let visibility = Visibility {
            input: visibility(input, "input")?,
            output: visibility(output, "output")?,
            attach_input,
        };
        let context = context.map_or(Ok(Vec::new()), files::content)?;
        if let Some(executor) = executor {
            let runs = match run.cast::<Run>() {
                Ok(run) => vec![run.get().run.clone()],
                Err(_) => several(run)?,
            };
            let asked = (visibility, context);
            return jobs::prove_together(py, self, &runs, asked, executor, progress);
        }
        let secret = &self.secret;
        let mut teller = Teller::new(progress);
        if let Ok(run) = run.cast::<Run>() {
            let run = &run.get().run;
            let proven = long(py, || {
                let mut progress = teller.part(0.0, 1.0);
                let rng = &mut zkinfer::rng();
                secret.prove_with_progress(run, &visibility, &context, rng, &mut progress)
            });
            let proven = proven.and_then(|p| p.map_err(|e| errors::prove(py, &e)));
            let proven = teller.outcome(proven)?;
            return Ok(Proof {
                content: proven.proof,
                openings: Some(vec![(proven.input, proven.output)]),
            });
        }
        let runs = several(run)?;
        let proven = long(py, || {
            let mut progress = teller.part(0.0, 1.0);
            let rng = &mut zkinfer::rng();
            secret.prove_runs_with_progress(&runs, &visibility, &context, rng, &mut progress)
        });
        let proven = proven.and_then(|p| p.map_err(|e| errors::prove(py, &e)));
        let proven = teller.outcome(proven)?;
        Ok(Proof {
            content: proven.proof,
            openings: Some(proven.openings),
        })
    }

    /// Proves many runs, each by itself, wherever the executor has them done.
    ///
    /// Args:
    ///     x: Samples as :meth:`infer_many` takes them, or a list of what :meth:`infer` returned.
    ///     input: As for :meth:`prove`; or a list of such, one for each run.
    ///     output: The same for the output.
    ///     attach_input: As for :meth:`prove`.
    ///     context: As for :meth:`prove`; or a list of such, one for each run.
    ///     executor: Any ``concurrent.futures.Executor``; a ``RayExecutor`` or ``DaskExecutor`` of :mod:`zkinfer.executors`; or a
    ///         client of Dask. Every segment of every run is a job of its own. Workers get the model's weights and the
    ///         inputs, once and with each job (``docs/cluster.md``). By default this process.
    ///     parallel: Without an executor, how many proofs are made at a time, each in memory of its own; 0 for one on each core,
    ///         which is faster for small models. By default one after the other, on all cores.
    ///     return_exceptions: Put what a run raises into the list, in the place of its proof, instead of raising the first such
    ///         error and giving up the others.
    ///     done: Called with the index of each run and its proof, or what it raised, as soon as it is there: what was handed over
    ///         is not lost when something else fails.
    ///     progress: Called with ``"prove"`` and the fraction of the runs that are done.
    ///
    /// Returns:
    ///     A proof for every run, in their order.
    ///
    /// Raises:
    ///     InputError: The arrays do not fit the model's inputs.
    ///     InferError: A sample leads outside the range that the model was calibrated for.
    ///     ProveError: A run is another model's, an opening does not fit, a context is too long.
    ///     JobError: The executor did not do what it was asked for.
    #[pyo3(signature = (x, *, input=None, output=None, attach_input=false, context=None, executor=None, parallel=1, return_exceptions=false, done=None, progress=None))]
    #[allow(clippy::too_many_arguments)]
    fn prove_many<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        input: Option<&Bound<'py, PyAny>>,
        output: Option<&Bound<'py, PyAny>>,
        attach_input: bool,
        context: Option<&Bound<'py, PyAny>>,
        executor: Option<Py<PyAny>>,
        parallel: usize,
        return_exceptions: bool,
        done: Option<Py<PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let asked = jobs::Asked {
            input,
            output,
            attach_input,
            context,
        };
        let how = jobs::How {
            executor,
            parallel,
            return_exceptions,
            done,
            progress,
        };
        jobs::prove_each(py, self, x, &asked, how)
    }

    /// Derives the proving key now instead of in the first proof.
    fn prepare(&self, py: Python<'_>) -> PyResult<()> {
        long(py, || self.secret.prepare())?.map_err(|e| errors::prove(py, &e))
    }

    /// The owner's file. It holds the weights and what opens the commitment to them: keep it secret.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.encode(py)?))
    }

    /// Reads an owner's file's content.
    #[classmethod]
    fn from_bytes(
        _class: &Bound<'_, PyType>,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
    ) -> PyResult<Secret> {
        Secret::decode(py, &files::content(data)?)
    }

    /// Writes the owner's file, readable to this user alone. One that is there already is not overwritten unless ``overwrite``
    /// says so: its blinds exist nowhere else.
    #[pyo3(signature = (path, *, overwrite=false))]
    fn save(&self, py: Python<'_>, path: PathBuf, overwrite: bool) -> PyResult<()> {
        files::write_secret(py, &path, &self.encode(py)?, overwrite)
    }

    /// Reads an owner's file.
    #[classmethod]
    fn load(_class: &Bound<'_, PyType>, py: Python<'_>, path: PathBuf) -> PyResult<Secret> {
        Secret::decode(py, &files::read(py, &path, SECRET_BYTES)?)
    }

    fn __repr__(&self) -> String {
        let name = Interface::from_card(self.secret.card()).map_or(String::new(), |i| i.name);
        format!("<Secret {name:?}, {}>", self.secret.card().digest())
    }
}

fn several(runs: &Bound<'_, PyAny>) -> PyResult<Vec<zkinfer::Run>> {
    let wrong = |object: &Bound<'_, PyAny>| {
        let found = files::type_name(object);
        PyTypeError::new_err(format!(
            "run: expected a Run or a list of them, found {found}"
        ))
    };
    let list = runs.cast::<PySequence>().map_err(|_| wrong(runs))?;
    let mut all = Vec::new();
    for run in list.try_iter()? {
        let run = run?;
        let run = run.cast::<Run>().map_err(|_| wrong(&run))?;
        all.push(run.get().run.clone());
    }
    Ok(all)
}

pub(crate) fn visibility(side: Option<&Bound<'_, PyAny>>, which: &str) -> PyResult<SideVisibility> {
    let Some(side) = side else {
        return Ok(SideVisibility::Public);
    };
    if let Ok(opening) = side.cast::<Opening>() {
        return Ok(SideVisibility::Opened(opening.get().0.clone()));
    }
    match side.extract::<String>().as_deref() {
        Ok("public") => Ok(SideVisibility::Public),
        Ok("committed") => Ok(SideVisibility::Committed),
        Ok(other) => Err(errors::input(
            side.py(),
            format!("{which}: expected \"public\", \"committed\" or an Opening, found {other:?}"),
        )),
        Err(_) => Err(PyTypeError::new_err(format!(
            "{which}: expected \"public\", \"committed\" or an Opening, found {}",
            files::type_name(side)
        ))),
    }
}

/// An exact run of a committed model on one input. Made by :meth:`Secret.infer`.
#[pyclass(module = "zkinfer", frozen)]
pub struct Run {
    pub(crate) run: zkinfer::Run,
    forms: Vec<Form>,
}

#[pymethods]
impl Run {
    /// The outputs, in order, in the model's shapes.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyArrayDyn<f32>>>> {
        arrays::arrays(py, self.run.outputs(), &self.forms)
    }

    /// The output, where there is one.
    #[getter]
    fn output<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        arrays::only(self.outputs(py)?, py, "output")
    }

    /// Layers where values beyond the range were clamped, and how many: only in models that were compiled with ``saturate``.
    #[getter]
    fn saturated(&self) -> BTreeMap<String, usize> {
        self.run.saturated().iter().cloned().collect()
    }

    /// The input as the statement has it: integers, all tensors concatenated.
    #[getter]
    fn input_integers<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u16>> {
        PyArray1::from_slice(py, self.run.input())
    }

    /// The output as the statement has it: integers, all tensors concatenated.
    #[getter]
    fn output_integers<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u16>> {
        PyArray1::from_slice(py, self.run.output())
    }

    fn __repr__(&self) -> String {
        let shapes: Vec<String> = self.forms.iter().map(|f| arrays::tuple(&f.shape)).collect();
        format!("<Run with outputs of shape {}>", shapes.join(", "))
    }
}
