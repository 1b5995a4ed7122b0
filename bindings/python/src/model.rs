//! Compiling a model and committing to it.

use crate::arrays::{self, Form, Which};
use crate::errors;
use crate::files::{self, SECRET_BYTES, Source};
use crate::owner::{Secret, to_python};
use crate::published::{Card, Tensor};
use crate::work::{Teller, long};
use numpy::PyArrayDyn;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use zkinfer::data::{Arrays, DataError};
use zkinfer::files::{quantized_from_bytes, quantized_to_bytes};
use zkinfer::interface::Interface;
use zkinfer::plan::Preference;
use zkinfer::quantize::evaluate_with_progress;
use zkinfer::secret::CommitOptions;
use zkinfer::{Graph, ImportOptions, QuantizeOptions, QuantizedModel, Samples, WeightVisibility};

/// Share of `compile` that goes into the import, about.
const IMPORT: f64 = 0.1;

/// Imports an ONNX model and quantizes it, with ranges from the calibration samples.
///
/// Args:
///     model: Path or content of an ``.onnx`` file, or an ``onnx.ModelProto``.
///     calibration: Typical inputs, a few dozen or more: an array with samples along its first axis, a list or dict of
///         such arrays where the model has several inputs, or the path of an ``.npz``, ``.npy`` or ``.json`` file.
///     bits: Bits of an activation, 4 to 14; 12 by default. More are more exact and may cost more.
///     headroom: By how much inputs and activations may exceed what calibration saw; 0.3 is 30 %.
///     per_channel: Scales of their own for every output channel of a linear layer.
///     batch: Length of an open first dimension; the samples' by default.
///     symbols: Lengths of open dimensions, by their names or by input and axis (``"x:1"``); the samples' by default.
///     outputs: Names of the outputs to prove; all by default.
///     given: Inputs that have one value in every run, by name: constants of what is proven, which the card says.
///     max_error: Largest mean error of an output on the calibration samples, over its scale: 0.002 is 0.2 %. Operations that
///         limit it are computed with more bits. By default 0.2 % where that can be met; more than 1 % is refused.
///     allow_error: Accept outputs that are too far from the float model's, and samples that cannot be proven.
///     saturate: Clamp intermediate values that are beyond their range, as int8 runtimes do, instead of refusing the input;
///         ``run.saturated`` counts them.
///     inputs_from: Card of the model whose committed output is going to be this model's input.
///     executor: Where that is done, as for :meth:`Secret.prove_many`, which gets the model and the samples; this process still
///         imports the model once more. By default here.
///     progress: Called with the name of a stage and the fraction of the work that is done. What it raises stops the
///         work and is raised here.
///
/// Raises:
///     ModelImportError: The model is not ONNX, or has an operator that is not supported.
///     QuantizeError: The model cannot be quantized, or should not be relied on: an output is off by more than ``max_error``,
///         the class differs on more than 1 % of the samples, or samples cannot be proven.
///     InputError: Samples or options do not fit.
///     OSError: A file cannot be read.
#[pyfunction]
#[pyo3(signature = (model, calibration, *, bits=None, headroom=0.3, per_channel=true, batch=None, symbols=None, outputs=None, given=None, max_error=None, allow_error=false, saturate=false, inputs_from=None, executor=None, progress=None))]
#[allow(clippy::too_many_arguments)]
pub fn compile(
    py: Python<'_>,
    model: &Bound<'_, PyAny>,
    calibration: &Bound<'_, PyAny>,
    bits: Option<u32>,
    headroom: f64,
    per_channel: bool,
    batch: Option<usize>,
    symbols: Option<BTreeMap<String, usize>>,
    outputs: Option<Vec<String>>,
    given: Option<BTreeMap<String, f64>>,
    max_error: Option<f64>,
    allow_error: bool,
    saturate: bool,
    inputs_from: Option<&Card>,
    executor: Option<&Bound<'_, PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Model> {
    let import = ImportOptions {
        batch,
        symbols: symbols.unwrap_or_default(),
        outputs: outputs.unwrap_or_default(),
        given: given.unwrap_or_default(),
        ..ImportOptions::default()
    };
    let mut options = QuantizeOptions::default()
        .with_headroom(headroom)
        .with_per_channel(per_channel)
        .with_allow_error(allow_error)
        .with_saturate(saturate);
    options.range_bits = bits;
    options.max_error = max_error;
    if let Some(card) = inputs_from {
        options.inputs = card.interface(py)?.outputs;
    }
    let mut teller = Teller::new(progress);
    let compiled = match executor {
        None => compile_with(py, model, calibration, &import, &options, &mut teller),
        Some(executor) => {
            let keywords = PyDict::new(py);
            keywords.set_item("bits", bits)?;
            keywords.set_item("headroom", headroom)?;
            keywords.set_item("per_channel", per_channel)?;
            keywords.set_item("batch", import.batch)?;
            keywords.set_item("symbols", import.symbols.clone())?;
            keywords.set_item("outputs", import.outputs.clone())?;
            keywords.set_item("given", import.given.clone())?;
            keywords.set_item("max_error", max_error)?;
            keywords.set_item("allow_error", allow_error)?;
            keywords.set_item("saturate", saturate)?;
            let card = inputs_from.map(|card| PyBytes::new(py, &card.0.to_bytes()));
            let there = (executor, calibration, card, keywords);
            compile_there(py, model, &import, there, &mut teller)
        }
    };
    teller.outcome(compiled)
}

/// What an executor compiles: where, the samples, the card that inputs are from, options.
type There<'a, 'py> = (
    &'a Bound<'py, PyAny>,
    &'a Bound<'py, PyAny>,
    Option<Bound<'py, PyBytes>>,
    Bound<'py, PyDict>,
);

/// Has a model compiled by an executor. The float original, which does not travel, is imported here.
fn compile_there<'py>(
    py: Python<'py>,
    model: &Bound<'py, PyAny>,
    import: &ImportOptions,
    (executor, calibration, card, keywords): There<'_, 'py>,
    teller: &mut Teller,
) -> PyResult<Model> {
    let source = onnx(model)?;
    let stopped = |told| match told {
        ControlFlow::Break(()) => Err(errors::internal(py, "stopped")),
        ControlFlow::Continue(()) => Ok(()),
    };
    stopped(teller.tell("import", 0.0))?;
    let given = Given::of(calibration)?;
    let mut import = import.clone();
    import.samples = match &given {
        Given::File(_, arrays) => arrays.shapes(),
        Given::Arrays => arrays::shapes(calibration)?,
    };
    let (bytes, name) = match source {
        Source::Bytes(bytes) => (bytes, String::new()),
        Source::Path(path) => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            (files::read(py, &path, SECRET_BYTES)?, name.into_owned())
        }
    };
    let imported = long(py, || Graph::import(&bytes, &import))?;
    let imported = imported.map_err(|e| errors::import(py, &e))?;
    // Samples that do not fit are refused here, by their names.
    given.samples(calibration, &imported.graph)?;
    stopped(teller.tell("compile", IMPORT))?;
    let module = PyModule::import(py, "zkinfer.executors")?;
    let arguments = (
        executor,
        PyBytes::new(py, &bytes),
        calibration,
        card,
        keywords,
    );
    let compiled = module.call_method1("compile_there", arguments)?;
    let (quantized, warnings): (Vec<u8>, Vec<String>) = compiled.extract()?;
    let model = long(py, || quantized_from_bytes(&quantized, quantized.len()))?;
    let model = model.map_err(|e| errors::model_file(py, &e))?;
    let names = |tensors: &[zkinfer::TensorInterface]| -> Vec<(String, Vec<usize>)> {
        let forms = arrays::forms(tensors).into_iter();
        forms.map(|form| (form.name, form.shape)).collect()
    };
    let inputs = input_forms(&imported.graph).into_iter();
    let inputs: Vec<_> = inputs.map(|form| (form.name, form.shape)).collect();
    if names(&model.inputs) != inputs || model.outputs.len() != imported.graph.outputs.len() {
        return Err(errors::job(py, "the executor answered with another model"));
    }
    stopped(teller.tell("done", 1.0))?;
    Ok(Model {
        model,
        graph: imported.graph,
        name: import.described(&name),
        left_out: imported.left_out,
        warnings,
    })
}

fn compile_with(
    py: Python<'_>,
    model: &Bound<'_, PyAny>,
    calibration: &Bound<'_, PyAny>,
    import: &ImportOptions,
    options: &QuantizeOptions,
    teller: &mut Teller,
) -> PyResult<Model> {
    let source = onnx(model)?;
    if teller.tell("import", 0.0) == ControlFlow::Break(()) {
        // What was raised is told instead of this.
        return Err(errors::internal(py, "stopped"));
    }
    let given = Given::of(calibration)?;
    let mut import = import.clone();
    import.samples = match &given {
        Given::File(_, arrays) => arrays.shapes(),
        Given::Arrays => arrays::shapes(calibration)?,
    };
    let (imported, name) = match source {
        Source::Bytes(bytes) => (long(py, || Graph::import(&bytes, &import))?, String::new()),
        Source::Path(path) => {
            // For a file that is not there an OSError.
            std::fs::File::open(&path).map_err(|e| files::os_error(&path, &e))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let imported = long(py, || Graph::import_file(&path, &import))?;
            (imported, name.into_owned())
        }
    };
    let imported = imported.map_err(|e| errors::import(py, &e))?;
    let graph = imported.graph;
    let samples = given.samples(calibration, &graph)?;
    let compiled = long(py, || {
        let mut progress = teller.part(IMPORT, 1.0);
        graph.compile_with_progress(&samples, options, &mut progress)
    })?;
    let compiled = compiled.map_err(|e| errors::compile(py, &e))?;
    Ok(Model {
        model: compiled.model,
        graph,
        name: import.described(&name),
        left_out: imported.left_out,
        warnings: compiled.doubts.iter().map(ToString::to_string).collect(),
    })
}

/// An ONNX file, or its content.
fn onnx(model: &Bound<'_, PyAny>) -> PyResult<Source> {
    if model.hasattr("SerializeToString")? {
        let bytes = model.call_method0("SerializeToString")?;
        return Ok(Source::Bytes(files::content(&bytes)?));
    }
    Source::of(model, "model")
}

/// Samples as they are given.
enum Given {
    File(PathBuf, Arrays),
    Arrays,
}

impl Given {
    fn of(samples: &Bound<'_, PyAny>) -> PyResult<Given> {
        let py = samples.py();
        let Ok(path) = samples.extract::<PathBuf>() else {
            return Ok(Given::Arrays);
        };
        match py.detach(|| Arrays::load(&path)) {
            Ok(arrays) => Ok(Given::File(path, arrays)),
            Err(DataError::File { source, .. }) => Err(files::os_error(&path, &source)),
            Err(error) => Err(errors::input(py, error)),
        }
    }

    fn samples(&self, object: &Bound<'_, PyAny>, graph: &Graph) -> PyResult<Samples> {
        let py = object.py();
        match self {
            Given::Arrays => Ok(Samples {
                inputs: arrays::samples(object, &input_forms(graph), Which::Input)?,
                ..Samples::default()
            }),
            Given::File(path, arrays) => {
                let (inputs, outputs) = (graph.input_forms(), graph.output_forms());
                let samples = py.detach(|| arrays.samples(&inputs, &outputs));
                samples.map_err(|e| errors::input(py, format!("{}: {e}", path.display())))
            }
        }
    }
}

fn input_forms(graph: &Graph) -> Vec<Form> {
    let nodes = graph.inputs.iter().filter_map(|&i| graph.nodes.get(i));
    nodes
        .map(|node| Form {
            name: node.name.clone(),
            shape: node.shape.clone(),
        })
        .collect()
}

/// A quantized model that nobody is committed to yet. Made by :func:`compile`.
#[pyclass(module = "zkinfer", frozen)]
pub struct Model {
    graph: Graph,
    model: QuantizedModel,
    name: String,
    left_out: Vec<String>,
    warnings: Vec<String>,
}

#[pymethods]
impl Model {
    /// The inputs, in order.
    #[getter]
    fn inputs(&self) -> Vec<Tensor> {
        Tensor::list(&self.model.inputs)
    }

    /// The outputs, in order.
    #[getter]
    fn outputs(&self) -> Vec<Tensor> {
        Tensor::list(&self.model.outputs)
    }

    /// Bits of an activation.
    #[getter]
    fn bits(&self) -> u32 {
        self.model.program.range_bits
    }

    /// Number of weights that a commitment covers.
    #[getter]
    fn weights(&self) -> u64 {
        self.model.program.committed_weights()
    }

    /// What a card of this model reveals besides the architecture, if its weights are hidden: the kind of information, where it
    /// is, and what it tells.
    #[getter]
    fn disclosures(&self) -> Vec<(&'static str, String, &'static str)> {
        let told = self.model.disclosures().into_iter();
        told.map(|d| (d.kind.code(), d.place, d.kind.meaning()))
            .collect()
    }

    /// Outputs of the ONNX model that were not chosen.
    #[getter]
    fn left_out(&self) -> Vec<String> {
        self.left_out.clone()
    }

    /// What speaks against the model; empty unless it was compiled with ``allow_error``.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// Runs the model as it was before quantization, on one input.
    fn run_float<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyArrayDyn<f32>>>> {
        let x = arrays::sample(x, &input_forms(&self.graph), Which::Input)?;
        let outputs = long(py, || {
            let values = self.graph.run(&x)?;
            Ok::<_, zkinfer::graph::GraphError>(self.graph.outputs_of(&values))
        })?;
        let outputs = outputs.map_err(|e| errors::input(py, e))?;
        arrays::arrays(py, &outputs, &arrays::forms(&self.model.outputs))
    }

    /// Compares the quantized model with what it was before, on samples.
    ///
    /// Args:
    ///     x: Samples, as :func:`compile` takes them.
    ///     labels: The right class of every sample, if the model is a classifier.
    ///     progress: As for :func:`compile`.
    ///
    /// Returns:
    ///     A dict: ``top_class_agreement``, ``outputs`` and ``layers`` with their errors, ``out_of_range`` with the samples
    ///     that cannot be proven, ``float_accuracy`` and ``integer_accuracy`` where there are labels.
    #[pyo3(signature = (x, labels=None, *, progress=None))]
    fn evaluate<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        labels: Option<Vec<usize>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let samples = Given::of(x)?.samples(x, &self.graph)?.inputs;
        let labels = labels.unwrap_or_default();
        if !labels.is_empty() && labels.len() != samples.len() {
            let message = format!("{} samples, {} labels", samples.len(), labels.len());
            return Err(errors::input(py, message));
        }
        let mut teller = Teller::new(progress);
        let report = long(py, || {
            let mut progress = teller.part(0.0, 1.0);
            evaluate_with_progress(&self.graph, &self.model, &samples, &labels, &mut progress)
        });
        let report = report.and_then(|r| r.map_err(|e| errors::evaluate(py, &e)));
        to_python(py, &teller.outcome(report)?)
    }

    /// Commits to the weights. Two commitments to the same model are different ones, unless the weights are public.
    ///
    /// Args:
    ///     name: Name of the model, part of the card; by default the ONNX file's.
    ///     public_weights: Commit without blinds: whoever has the weights can recompute the card.
    ///     prefer: What proofs should be good at: ``"balanced"``, ``"prove"`` or ``"verify"`` for the time that takes, or
    ///         ``"size"``.
    ///     k: Logarithm of the number of rows, instead of what the planner finds best. Two models that are chained by a
    ///         committed output need the same.
    ///     segments: How many segments the model is cut into, each proven by itself in a part of the memory. One card and one
    ///         proof hold for all of them; what flows between them is hidden. By default one, or as few as ``memory`` needs.
    ///     memory: Most memory that a proof may take, as it is predicted, in bytes.
    ///     executor: Where that is done, as for :meth:`Secret.prove_many`, which gets the weights. By default here.
    ///     progress: As for :func:`compile`.
    ///
    /// Raises:
    ///     CommitError: The model fits no plan, cannot be cut so often, or takes more memory.
    ///     ValueError: ``prefer`` is something else.
    #[pyo3(signature = (name=None, *, public_weights=false, prefer="balanced", k=None, segments=None, memory=None, executor=None, progress=None))]
    #[allow(clippy::too_many_arguments)]
    fn commit(
        &self,
        py: Python<'_>,
        name: Option<String>,
        public_weights: bool,
        prefer: &str,
        k: Option<u32>,
        segments: Option<usize>,
        memory: Option<u64>,
        executor: Option<&Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Secret> {
        if segments == Some(0) {
            return Err(PyValueError::new_err(
                "segments is 0; a model is at least one",
            ));
        }
        let name = name.unwrap_or_else(|| self.name.clone());
        let options = commit_options(name, public_weights, prefer, k, segments, memory)?;
        let Some(executor) = executor else {
            return commit(py, self.model.clone(), &options, progress);
        };
        let keywords = PyDict::new(py);
        keywords.set_item("public_weights", public_weights)?;
        keywords.set_item("prefer", prefer)?;
        keywords.set_item("k", k)?;
        keywords.set_item("segments", segments)?;
        keywords.set_item("memory", memory)?;
        let quantized = PyBytes::new(py, &self.quantized(py)?);
        let module = PyModule::import(py, "zkinfer.executors")?;
        let arguments = (executor, quantized, &options.name, keywords);
        let secret = module.call_method1("commit_there", arguments)?;
        let secret = Secret::decode(py, &files::content(&secret)?)?;
        let weights = secret.secret.segments().iter();
        let weights: u64 = weights.map(|s| s.model().program.committed_weights()).sum();
        let card = secret.secret.card();
        let name = Interface::from_card(card).map_or(String::new(), |i| i.name);
        let same = secret.secret.inputs() == self.model.inputs
            && secret.secret.outputs() == self.model.outputs;
        if !same || name != options.name || weights < self.weights() {
            return Err(errors::job(py, "the executor answered with another model"));
        }
        let mut teller = Teller::new(progress);
        let _ = teller.tell("done", 1.0);
        teller.outcome(Ok(secret))
    }

    /// What it computes, as bytes that hold the weights. Called by executors on their workers.
    #[pyo3(name = "_quantized")]
    fn quantized(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        let bytes = long(py, || quantized_to_bytes(&self.model))?;
        bytes.map_err(|e| errors::model_file(py, &e))
    }

    fn __repr__(&self) -> String {
        format!(
            "<Model {:?}, {} weights, {} bits>",
            self.name,
            self.weights(),
            self.bits()
        )
    }
}

/// Options of a commitment by their names.
fn commit_options(
    name: String,
    public_weights: bool,
    prefer: &str,
    k: Option<u32>,
    segments: Option<usize>,
    memory: Option<u64>,
) -> PyResult<CommitOptions> {
    let preference = match prefer {
        "balanced" => Preference::Balanced,
        "prove" => Preference::Prove,
        "verify" => Preference::Verify,
        "size" => Preference::Size,
        other => {
            let text = format!("prefer is {other:?}; it is balanced, prove, verify or size");
            return Err(PyValueError::new_err(text));
        }
    };
    let weights = if public_weights {
        WeightVisibility::Public
    } else {
        WeightVisibility::Hidden
    };
    let mut options = CommitOptions::default()
        .with_name(name)
        .with_weights(weights)
        .with_preference(preference);
    options.plan.k = k;
    options.plan.memory = memory;
    options.segments = segments.unwrap_or_default();
    Ok(options)
}

fn commit(
    py: Python<'_>,
    model: QuantizedModel,
    options: &CommitOptions,
    progress: Option<Py<PyAny>>,
) -> PyResult<Secret> {
    let mut teller = Teller::new(progress);
    let secret = long(py, || {
        let mut progress = teller.part(0.0, 1.0);
        let rng = &mut zkinfer::rng();
        zkinfer::Secret::commit_with_progress(model, options, rng, &mut progress)
    });
    let secret = secret.and_then(|s| s.map_err(|e| errors::commit(py, &e)));
    Ok(Secret::new(teller.outcome(secret)?))
}

/// Commits to what :meth:`Model.commit` sent. Called by executors on their workers.
#[pyfunction]
#[pyo3(signature = (quantized, name, *, public_weights, prefer, k, segments, memory))]
#[allow(clippy::too_many_arguments)]
pub fn commit_quantized(
    py: Python<'_>,
    quantized: &Bound<'_, PyBytes>,
    name: String,
    public_weights: bool,
    prefer: &str,
    k: Option<u32>,
    segments: Option<usize>,
    memory: Option<u64>,
) -> PyResult<Secret> {
    let bytes = quantized.as_bytes();
    let model = long(py, || quantized_from_bytes(bytes, bytes.len()))?;
    let model = model.map_err(|e| errors::model_file(py, &e))?;
    let options = commit_options(name, public_weights, prefer, k, segments, memory)?;
    commit(py, model, &options, None)
}
