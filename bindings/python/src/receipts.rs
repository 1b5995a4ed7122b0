//! What a verification hands out.

use crate::arrays::{self, Which};
use crate::errors;
use crate::owner::to_python;
use crate::published::{Commitment, side_forms};
use numpy::{PyArray1, PyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyType};
use std::path::PathBuf;
use std::sync::Arc;
use zkinfer::interface::{Interface, RealReceipt};
use zkinfer::{Refusal, Side};
use zkinfer_circuits::receipt::{Class, Outcome};

/// One run that a proof shows: the committed model maps this input to this output.
#[pyclass(module = "zkinfer", frozen)]
#[derive(Clone)]
pub struct VerifiedRun {
    input: Side,
    output: Side,
    interface: Arc<Result<Interface, String>>,
}

impl VerifiedRun {
    fn arrays<'py>(
        &self,
        py: Python<'py>,
        which: Which,
    ) -> PyResult<Option<Vec<Bound<'py, PyArrayDyn<f32>>>>> {
        let side = match which {
            Which::Input => &self.input,
            Which::Output => &self.output,
        };
        let Side::Public(integers) = side else {
            return Ok(None);
        };
        let interface = match &*self.interface {
            Ok(interface) => interface,
            Err(message) => return Err(errors::interface(py, message)),
        };
        let tensors = match which {
            Which::Input => &interface.inputs,
            Which::Output => &interface.outputs,
        };
        let mut rest = integers.iter().map(|&v| u32::from(v));
        let reals = tensors.iter().map(|tensor| {
            let own: Vec<u32> = rest.by_ref().take(tensor.cells()).collect();
            tensor.dequantize(&own)
        });
        let reals: Result<Vec<Vec<f32>>, _> = reals.collect();
        let reals = reals.map_err(|e| errors::interface(py, e))?;
        arrays::arrays(py, &reals, &side_forms(interface, which)).map(Some)
    }
}

fn integers<'py>(py: Python<'py>, side: &Side) -> Option<Bound<'py, PyArray1<u16>>> {
    match side {
        Side::Public(values) => Some(PyArray1::from_slice(py, values)),
        Side::Committed(_) => None,
    }
}

fn commitment(side: &Side) -> Option<Commitment> {
    match side {
        Side::Public(_) => None,
        Side::Committed(points) => Some(Commitment(points.clone())),
    }
}

type Arrays<'py> = Option<Vec<Bound<'py, PyArrayDyn<f32>>>>;

fn only<'py>(
    arrays: Arrays<'py>,
    py: Python<'py>,
    what: &str,
) -> PyResult<Option<Bound<'py, PyArrayDyn<f32>>>> {
    arrays.map(|all| arrays::only(all, py, what)).transpose()
}

#[pymethods]
impl VerifiedRun {
    /// The inputs as the statement has them, that is, rounded to its integers; ``None`` if they are committed.
    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Arrays<'py>> {
        self.arrays(py, Which::Input)
    }

    /// The input, where the model has one.
    #[getter]
    fn input<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArrayDyn<f32>>>> {
        only(self.arrays(py, Which::Input)?, py, "input")
    }

    /// The outputs; ``None`` if they are committed.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Arrays<'py>> {
        self.arrays(py, Which::Output)
    }

    /// The output, where the model has one.
    #[getter]
    fn output<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArrayDyn<f32>>>> {
        only(self.arrays(py, Which::Output)?, py, "output")
    }

    /// The input's integers; ``None`` if it is committed.
    #[getter]
    fn input_integers<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<u16>>> {
        integers(py, &self.input)
    }

    /// The output's integers; ``None`` if it is committed.
    #[getter]
    fn output_integers<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<u16>>> {
        integers(py, &self.output)
    }

    /// The commitment to the input, if it is committed.
    #[getter]
    fn input_commitment(&self) -> Option<Commitment> {
        commitment(&self.input)
    }

    /// The commitment to the output, if it is committed.
    #[getter]
    fn output_commitment(&self) -> Option<Commitment> {
        commitment(&self.output)
    }

    fn __repr__(&self) -> String {
        let side = |side: &Side| match side {
            Side::Public(values) => format!("{} public values", values.len()),
            Side::Committed(_) => "committed".to_owned(),
        };
        format!(
            "<VerifiedRun, input: {}, output: {}>",
            side(&self.input),
            side(&self.output)
        )
    }
}

/// What a valid proof shows. Made by verification alone.
#[pyclass(module = "zkinfer", frozen)]
#[derive(Clone)]
pub struct Verdict {
    card: String,
    context: Vec<u8>,
    runs: Vec<VerifiedRun>,
    receipt: RealReceipt,
}

impl Verdict {
    pub fn new(
        verdicts: Vec<zkinfer::Verdict>,
        receipt: RealReceipt,
        interface: &Arc<Result<Interface, String>>,
    ) -> Verdict {
        let first = verdicts.first();
        let card = first.map_or(String::new(), |v| v.card.to_string());
        let context = first.map_or(Vec::new(), |v| v.context.clone());
        let run = |v: zkinfer::Verdict| VerifiedRun {
            input: v.input,
            output: v.output,
            interface: interface.clone(),
        };
        Verdict {
            card,
            context,
            runs: verdicts.into_iter().map(run).collect(),
            receipt,
        }
    }

    fn run(&self, py: Python<'_>) -> PyResult<&VerifiedRun> {
        match self.runs.as_slice() {
            [run] => Ok(run),
            runs => {
                let message = format!("the proof covers {} runs: use .runs", runs.len());
                Err(errors::input(py, message))
            }
        }
    }
}

#[pymethods]
impl Verdict {
    /// Digest of the model's card.
    #[getter]
    fn card(&self) -> &str {
        &self.card
    }

    /// The context.
    #[getter]
    fn context<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.context)
    }

    /// The runs.
    #[getter]
    fn runs(&self) -> Vec<VerifiedRun> {
        self.runs.clone()
    }

    /// The inputs of the only run; ``None`` if they are committed.
    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Arrays<'py>> {
        self.run(py)?.inputs(py)
    }

    /// The input of the only run; ``None`` if it is committed.
    #[getter]
    fn input<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArrayDyn<f32>>>> {
        self.run(py)?.input(py)
    }

    /// The outputs of the only run; ``None`` if they are committed.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Arrays<'py>> {
        self.run(py)?.outputs(py)
    }

    /// The output of the only run; ``None`` if it is committed.
    #[getter]
    fn output<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArrayDyn<f32>>>> {
        self.run(py)?.output(py)
    }

    /// The record of the verification.
    #[getter]
    fn receipt(&self) -> Receipt {
        Receipt {
            receipt: self.receipt.clone(),
            result: Some(Ok(self.clone())),
        }
    }

    fn __repr__(&self) -> String {
        let runs = match self.runs.len() {
            1 => "1 run".to_owned(),
            n => format!("{n} runs"),
        };
        format!("<Verdict: valid, {runs} of model {}>", self.card)
    }
}

/// The record of one verification, whatever came out. It is no proof: whoever does not trust its author verifies again.
#[pyclass(module = "zkinfer", frozen)]
#[derive(Clone)]
pub struct Receipt {
    pub receipt: RealReceipt,
    /// Not there if the receipt was read.
    pub result: Option<Result<Verdict, Refusal>>,
}

/// Longest receipt that is read.
const RECEIPT_BYTES: usize = 1 << 26;

impl Receipt {
    fn rejection(&self) -> Option<(&Class, &str, &str)> {
        match &self.receipt.result {
            Outcome::Rejected {
                class,
                code,
                message,
            } => Some((class, code, message)),
            Outcome::Accepted { .. } => None,
        }
    }

    /// The exception for what was refused.
    pub fn refused(&self, py: Python<'_>, refusal: &Refusal) -> PyErr {
        let error = errors::refusal(py, refusal);
        match error.value(py).setattr("receipt", self.clone()) {
            Ok(()) => error,
            Err(other) => other,
        }
    }
}

#[pymethods]
impl Receipt {
    /// Whether the proof was accepted.
    #[getter]
    fn accepted(&self) -> bool {
        self.receipt.is_accepted()
    }

    /// Kind of the reason for a rejection, as :attr:`Refusal.class_`; ``None`` if there was none.
    #[getter]
    fn class_(&self) -> Option<String> {
        self.rejection()
            .map(|(class, ..)| errors::class_name(*class))
    }

    /// The reason for a rejection, as :attr:`Refusal.code`; ``None`` if there was none.
    #[getter]
    fn code(&self) -> Option<&str> {
        self.rejection().map(|(_, code, _)| code)
    }

    /// The reason for a rejection in words; ``None`` if there was none.
    #[getter]
    fn message(&self) -> Option<&str> {
        self.rejection().map(|(_, _, message)| message)
    }

    /// Digest of the card that the proof was checked against.
    #[getter]
    fn card(&self) -> String {
        self.receipt.card.to_string()
    }

    /// Digest of the proof as it was given.
    #[getter]
    fn proof(&self) -> String {
        self.receipt.proof.to_string()
    }

    /// Digest of the statement; ``None`` if the proof was rejected.
    #[getter]
    fn statement(&self) -> Option<String> {
        match &self.receipt.result {
            Outcome::Accepted { statement, .. } => Some(statement.to_string()),
            Outcome::Rejected { .. } => None,
        }
    }

    /// What the proof shows; ``None`` if it was rejected, or if the receipt was read.
    #[getter]
    fn verdict(&self) -> Option<Verdict> {
        self.result.clone()?.ok()
    }

    /// Raises :class:`DecodeError`, :class:`CardError` or :class:`Rejection` if the proof was not accepted.
    fn raise_for_rejection(&self, py: Python<'_>) -> PyResult<()> {
        let Some((class, code, message)) = self.rejection() else {
            return Ok(());
        };
        if let Some(Err(refusal)) = &self.result {
            return Err(self.refused(py, refusal));
        }
        let name = match class {
            Class::InvalidCard => "CardError",
            Class::Malformed if code != "malformed_proof" => "DecodeError",
            Class::WrongVersion => "DecodeError",
            _ => "Rejection",
        };
        let error = errors::refused(py, name, *class, code, message);
        error.value(py).setattr("receipt", self.clone())?;
        Err(error)
    }

    /// The receipt as JSON; ``docs/formats.md`` describes it.
    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        serde_json::to_string(&self.receipt).map_err(|e| errors::internal(py, e))
    }

    /// The receipt as a dict: what :meth:`to_json` gives, parsed.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        Ok(to_python(py, &self.receipt)?.cast_into::<PyDict>()?)
    }

    /// Reads a receipt.
    #[classmethod]
    fn from_json(_class: &Bound<'_, PyType>, py: Python<'_>, text: &str) -> PyResult<Receipt> {
        let receipt = serde_json::from_str(text).map_err(|e| errors::file(py, &e.into()))?;
        Ok(Receipt {
            receipt,
            result: None,
        })
    }

    /// Writes the JSON form.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        crate::files::write(py, &path, self.to_json(py)?.as_bytes())
    }

    /// Reads a file with the JSON form.
    #[classmethod]
    fn load(_class: &Bound<'_, PyType>, py: Python<'_>, path: PathBuf) -> PyResult<Receipt> {
        let bytes = crate::files::read(py, &path, RECEIPT_BYTES)?;
        let receipt = serde_json::from_slice(&bytes).map_err(|e| errors::file(py, &e.into()))?;
        Ok(Receipt {
            receipt,
            result: None,
        })
    }

    fn __eq__(&self, other: &Receipt) -> bool {
        self.receipt == other.receipt
    }

    fn __repr__(&self) -> String {
        match self.rejection() {
            None => "<Receipt: accepted>".to_owned(),
            Some((_, code, _)) => format!("<Receipt: rejected, {code}>"),
        }
    }
}
