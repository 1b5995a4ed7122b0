//! What is published, and what opens commitments in it.

use crate::arrays::{self, Form, Which};
use crate::errors;
use crate::files::{self, Source, is_json};
use crate::verifier::Limits;
use group::GroupEncoding;
use numpy::{PyArray1, PyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use zkinfer::TensorInterface;
use zkinfer::files::{card_from_json, card_to_json, proof_from_json, proof_to_json};
use zkinfer::interface::Interface;
use zkinfer_circuits::C;
use zkinfer_circuits::codec::Reader;

/// An input or output of a model: ``real = scale * (integer - zero_point)``.
#[pyclass(module = "zkinfer", frozen)]
#[derive(Clone)]
pub struct Tensor(pub TensorInterface);

impl Tensor {
    pub fn list(tensors: &[TensorInterface]) -> Vec<Tensor> {
        tensors.iter().cloned().map(Tensor).collect()
    }
}

#[pymethods]
impl Tensor {
    /// The name.
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Lengths of the axes.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, pyo3::types::PyTuple>> {
        pyo3::types::PyTuple::new(py, &self.0.shape)
    }

    /// The real value of one integer step: one for all elements, or one for each.
    #[getter]
    fn scale<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, &self.0.scale)
    }

    /// The integer (not necessarily whole) that stands for 0: one for all elements, or one for each.
    #[getter]
    fn zero_point<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, &self.0.zero_point)
    }

    /// Zero, or the bits of the lower of two integers that stand for each element (numbers of words among many).
    #[getter]
    fn low_bits(&self) -> u32 {
        self.0.low_bits
    }

    fn __repr__(&self) -> String {
        let shape = arrays::tuple(&self.0.shape);
        format!("Tensor(name={:?}, shape={shape})", self.0.name)
    }
}

/// Everything that is published of a model: what a verifier needs. It reveals the architecture, and not the weights
/// unless they were committed to without blinds.
#[pyclass(module = "zkinfer", frozen)]
#[derive(Clone)]
pub struct Card(pub Arc<zkinfer::Card>);

impl Card {
    pub fn interface(&self, py: Python<'_>) -> PyResult<Interface> {
        Interface::from_card(&self.0).map_err(|e| errors::interface(py, e))
    }

    /// Reads the binary or the JSON form.
    pub fn decode(py: Python<'_>, bytes: &[u8], limits: &zkinfer::Limits) -> PyResult<Card> {
        let card = if is_json(bytes) {
            let card = card_from_json(&text(py, bytes)?, limits);
            card.map_err(|e| errors::file(py, &e))?
        } else {
            let card = zkinfer::Card::from_bytes_within(bytes, limits);
            card.map_err(|e| errors::refusal(py, &e))?
        };
        Ok(Card(Arc::new(card)))
    }
}

fn text(py: Python<'_>, bytes: &[u8]) -> PyResult<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| {
        let invalid = zkinfer::DecodeError::Invalid { what: "text" };
        errors::refusal(py, &invalid.into())
    })
}

#[pymethods]
impl Card {
    /// Identity of the model: 64 hexadecimal digits.
    #[getter]
    fn digest(&self) -> String {
        self.0.digest().to_string()
    }

    /// Name of the model.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.interface(py)?.name)
    }

    /// Logarithm of the number of rows.
    #[getter]
    fn k(&self) -> u32 {
        self.0.k
    }

    /// Number of segments that the model consists of, each proven by itself; most models are one.
    #[getter]
    fn segments(&self) -> usize {
        self.0.segments.len()
    }

    /// Bits of an activation.
    #[getter]
    fn bits(&self) -> u32 {
        self.0.range_bits()
    }

    /// The inputs, in order.
    #[getter]
    fn inputs(&self, py: Python<'_>) -> PyResult<Vec<Tensor>> {
        Ok(Tensor::list(&self.interface(py)?.inputs))
    }

    /// The outputs, in order.
    #[getter]
    fn outputs(&self, py: Python<'_>) -> PyResult<Vec<Tensor>> {
        Ok(Tensor::list(&self.interface(py)?.outputs))
    }

    /// The integers that an input has in a statement, all tensors concatenated.
    fn quantize_input<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u16>>> {
        let interface = self.interface(py)?;
        let values = arrays::sample(x, &arrays::forms(&interface.inputs), Which::Input)?;
        let integers = interface
            .quantize_inputs(&values, self.0.range_bits())
            .map_err(|e| errors::input(py, e))?;
        Ok(PyArray1::from_vec(py, integers))
    }

    /// The outputs that a statement's integers stand for.
    fn dequantize_output<'py>(
        &self,
        py: Python<'py>,
        integers: Vec<u16>,
    ) -> PyResult<Vec<Bound<'py, PyArrayDyn<f32>>>> {
        let interface = self.interface(py)?;
        let values = interface
            .dequantize_outputs(&integers)
            .map_err(|e| errors::input(py, e))?;
        arrays::arrays(py, &values, &arrays::forms(&interface.outputs))
    }

    /// The file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.to_bytes())
    }

    /// Reads a file's content. Whether the card can be used shows when a :class:`Verifier` is made from it.
    #[classmethod]
    #[pyo3(signature = (data, *, limits=None))]
    fn from_bytes(
        _class: &Bound<'_, PyType>,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        limits: Option<&Limits>,
    ) -> PyResult<Card> {
        let limits = Limits::or_default(limits);
        let bytes = files::content(data)?;
        let card = zkinfer::Card::from_bytes_within(&bytes, &limits);
        Ok(Card(Arc::new(card.map_err(|e| errors::refusal(py, &e))?)))
    }

    /// The JSON form; it holds what the file holds.
    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        card_to_json(&self.0).map_err(|e| errors::file(py, &e))
    }

    /// Reads the JSON form.
    #[classmethod]
    #[pyo3(signature = (text, *, limits=None))]
    fn from_json(
        _class: &Bound<'_, PyType>,
        py: Python<'_>,
        text: &str,
        limits: Option<&Limits>,
    ) -> PyResult<Card> {
        let limits = Limits::or_default(limits);
        let card = card_from_json(text, &limits).map_err(|e| errors::file(py, &e))?;
        Ok(Card(Arc::new(card)))
    }

    /// Writes the file.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        files::write(py, &path, &self.0.to_bytes())
    }

    /// Reads a file, binary or JSON.
    #[classmethod]
    #[pyo3(signature = (path, *, limits=None))]
    fn load(
        _class: &Bound<'_, PyType>,
        py: Python<'_>,
        path: PathBuf,
        limits: Option<&Limits>,
    ) -> PyResult<Card> {
        let limits = Limits::or_default(limits);
        let bytes = files::read(py, &path, limits.card_bytes)?;
        Card::decode(py, &bytes, &limits)
    }

    fn __eq__(&self, other: &Card) -> bool {
        self.0 == other.0
    }

    fn __hash__(&self) -> u64 {
        hash(&self.0.digest().0)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let name = self.interface(py).map(|i| i.name).unwrap_or_default();
        format!("<Card {name:?} {}>", short(&self.digest()))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let py = slf.py();
        let from = py.get_type::<Card>().getattr("from_bytes")?;
        Ok((from, (slf.get().to_bytes(py),)))
    }
}

type Reduced<'py> = (Bound<'py, PyAny>, (Bound<'py, PyBytes>,));

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// A commitment to an input or an output, which may be published.
#[pyclass(module = "zkinfer", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct Commitment(pub Vec<C>);

#[pymethods]
impl Commitment {
    /// The points, compressed, 32 bytes each.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes: Vec<u8> = self.0.iter().flat_map(GroupEncoding::to_bytes).collect();
        PyBytes::new(py, &bytes)
    }

    /// Reads points; raises :class:`DecodeError` where there are none.
    #[classmethod]
    fn from_bytes(
        _class: &Bound<'_, PyType>,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
    ) -> PyResult<Commitment> {
        let bytes = files::content(data)?;
        let mut reader = Reader::new(&bytes);
        let points: Result<Vec<C>, _> = (0..bytes.len().div_ceil(32))
            .map(|_| reader.point())
            .collect();
        points
            .map(Commitment)
            .map_err(|e| errors::refusal(py, &e.into()))
    }

    fn __hash__(&self) -> u64 {
        let bytes: Vec<u8> = self.0.iter().flat_map(GroupEncoding::to_bytes).collect();
        hash(&bytes)
    }

    fn __repr__(&self) -> String {
        format!("<Commitment of {} points>", self.0.len())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let py = slf.py();
        let from = py.get_type::<Commitment>().getattr("from_bytes")?;
        Ok((from, (slf.get().to_bytes(py),)))
    }
}

/// An input or an output by the integers that a statement has for it, all tensors concatenated.
///
/// Verification takes arrays and turns them into these by the card's scales; whoever has the integers already gives them.
#[pyclass(module = "zkinfer", frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct Integers(pub Vec<u16>);

#[pymethods]
impl Integers {
    #[new]
    fn new(values: Vec<u16>) -> Integers {
        Integers(values)
    }

    /// The integers.
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u16>> {
        PyArray1::from_slice(py, &self.0)
    }

    fn __hash__(&self) -> u64 {
        hash(&self.0)
    }

    fn __repr__(&self) -> String {
        format!("<Integers, {} of them>", self.0.len())
    }
}

/// What opens a commitment: secret, unlike the commitment itself. Give it to :meth:`Secret.prove` where another proof is
/// about the same values.
#[pyclass(module = "zkinfer", frozen)]
#[derive(Clone)]
pub struct Opening(pub zkinfer::Opening);

#[pymethods]
impl Opening {
    /// The commitment.
    #[getter]
    fn commitment(&self) -> Commitment {
        Commitment(self.0.points.clone())
    }

    fn __repr__(&self) -> String {
        format!("<Opening of {} points, secret>", self.0.points.len())
    }
}

/// A proof of one or several runs, and the claims that travel with it. What it claims is worth nothing until it is verified.
#[pyclass(module = "zkinfer", frozen)]
pub struct Proof {
    pub content: zkinfer::Proof,
    pub openings: Option<Vec<zkinfer::Openings>>,
}

impl Proof {
    fn decode(py: Python<'_>, bytes: &[u8], limit: usize) -> PyResult<Proof> {
        let content = zkinfer::Proof::from_bytes(bytes, limit);
        Ok(Proof {
            content: content.map_err(|e| errors::refusal(py, &e.into()))?,
            openings: None,
        })
    }
}

#[pymethods]
impl Proof {
    /// Digest of the card that it says it was made for.
    #[getter]
    fn card(&self) -> String {
        self.content.card.to_string()
    }

    /// The context that it says it was made for.
    #[getter]
    fn context<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.content.context)
    }

    /// Number of runs.
    #[getter]
    fn runs(&self) -> usize {
        self.content.runs.len()
    }

    /// Number of the model's segments that it has parts for.
    #[getter]
    fn segments(&self) -> usize {
        self.content.segments.len()
    }

    /// What opens committed inputs and outputs, for every run; ``None`` unless this process made the proof. It is secret
    /// and neither in the bytes nor in a pickle.
    #[getter]
    fn openings(&self) -> Option<Vec<(Option<Opening>, Option<Opening>)>> {
        let pair = |(input, output): &zkinfer::Openings| {
            (input.clone().map(Opening), output.clone().map(Opening))
        };
        Some(self.openings.as_ref()?.iter().map(pair).collect())
    }

    /// The file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.content.to_bytes())
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.to_bytes(py)
    }

    /// Reads a file's content.
    #[classmethod]
    #[pyo3(signature = (data, *, limits=None))]
    fn from_bytes(
        _class: &Bound<'_, PyType>,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        limits: Option<&Limits>,
    ) -> PyResult<Proof> {
        let limit = Limits::or_default(limits).proof_bytes;
        Proof::decode(py, &files::content(data)?, limit)
    }

    /// The JSON form; it holds what the file holds.
    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        proof_to_json(&self.content).map_err(|e| errors::file(py, &e))
    }

    /// Reads the JSON form.
    #[classmethod]
    #[pyo3(signature = (text, *, limits=None))]
    fn from_json(
        _class: &Bound<'_, PyType>,
        py: Python<'_>,
        text: &str,
        limits: Option<&Limits>,
    ) -> PyResult<Proof> {
        let limit = Limits::or_default(limits).proof_bytes;
        let proof = proof_from_json(text, limit).map_err(|e| errors::file(py, &e))?;
        Ok(Proof {
            content: proof,
            openings: None,
        })
    }

    /// Writes the file.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        files::write(py, &path, &self.content.to_bytes())
    }

    /// Reads a file, binary or JSON.
    #[classmethod]
    #[pyo3(signature = (path, *, limits=None))]
    fn load(
        class: &Bound<'_, PyType>,
        py: Python<'_>,
        path: PathBuf,
        limits: Option<&Limits>,
    ) -> PyResult<Proof> {
        let limit = Limits::or_default(limits).proof_bytes;
        let bytes = files::read(py, &path, limit)?;
        if is_json(&bytes) {
            return Proof::from_json(class, py, &text(py, &bytes)?, limits);
        }
        Proof::decode(py, &bytes, limit)
    }

    fn __eq__(&self, other: &Proof) -> bool {
        self.content == other.content
    }

    fn __hash__(&self) -> u64 {
        hash(&self.content.to_bytes())
    }

    fn __repr__(&self) -> String {
        let runs = match self.runs() {
            1 => String::new(),
            runs => format!(" of {runs} runs"),
        };
        let bytes = self.content.to_bytes().len();
        format!(
            "<Proof{runs} for card {}, {bytes} bytes>",
            short(&self.card())
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let py = slf.py();
        let from = py.get_type::<Proof>().getattr("from_bytes")?;
        Ok((from, (slf.get().to_bytes(py),)))
    }
}

/// The bytes of a proof, whatever it was given as.
pub fn proof_bytes(proof: &Bound<'_, PyAny>, limit: usize) -> PyResult<Vec<u8>> {
    let py = proof.py();
    if let Ok(proof) = proof.cast::<Proof>() {
        return Ok(proof.get().content.to_bytes());
    }
    match Source::of(proof, "proof")? {
        Source::Bytes(bytes) => Ok(bytes),
        Source::Path(path) => files::read(py, &path, limit),
    }
}

/// Forms of one side of a card.
pub fn side_forms(interface: &Interface, which: Which) -> Vec<Form> {
    match which {
        Which::Input => arrays::forms(&interface.inputs),
        Which::Output => arrays::forms(&interface.outputs),
    }
}
