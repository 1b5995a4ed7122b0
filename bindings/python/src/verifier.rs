//! The verifier's side.

use crate::arrays::{self, Which};
use crate::errors;
use crate::files::{self, Source};
use crate::published::{Card, Commitment, Integers, proof_bytes, side_forms};
use crate::receipts::{Receipt, Verdict};
use crate::work::long;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple};
use std::collections::VecDeque;
use std::sync::Arc;
use zkinfer::interface::{Interface, with_reals};
use zkinfer::{BatchOptions, Candidate, Expected, Refusal, Side};
use zkinfer_circuits::receipt::StatedSide;

/// What a verifier is willing to spend on somebody else's card or proof.
#[pyclass(module = "zkinfer", frozen)]
#[derive(Clone)]
pub struct Limits(zkinfer::Limits);

impl Limits {
    pub fn or_default(limits: Option<&Limits>) -> zkinfer::Limits {
        limits.map_or(zkinfer::Limits::default(), |l| l.0)
    }
}

#[pymethods]
impl Limits {
    /// Every limit that is not given has its default.
    #[new]
    #[pyo3(signature = (*, k=None, columns=None, points=None, values=None, runs=None, card_bytes=None, proof_bytes=None))]
    fn new(
        k: Option<u32>,
        columns: Option<usize>,
        points: Option<usize>,
        values: Option<usize>,
        runs: Option<usize>,
        card_bytes: Option<usize>,
        proof_bytes: Option<usize>,
    ) -> Limits {
        let mut limits = zkinfer::Limits::default();
        limits.k = k.unwrap_or(limits.k);
        limits.columns = columns.unwrap_or(limits.columns);
        limits.points = points.unwrap_or(limits.points);
        limits.program.values = values.unwrap_or(limits.program.values);
        limits.runs = runs.unwrap_or(limits.runs);
        limits.card_bytes = card_bytes.unwrap_or(limits.card_bytes);
        limits.proof_bytes = proof_bytes.unwrap_or(limits.proof_bytes);
        Limits(limits)
    }

    /// Largest logarithm of the number of rows.
    #[getter]
    fn k(&self) -> u32 {
        self.0.k
    }

    /// Most columns of a circuit.
    #[getter]
    fn columns(&self) -> usize {
        self.0.columns
    }

    /// Most points of a model commitment.
    #[getter]
    fn points(&self) -> usize {
        self.0.points
    }

    /// Most elements of a model's inputs and outputs together.
    #[getter]
    fn values(&self) -> usize {
        self.0.program.values
    }

    /// Most runs in one proof.
    #[getter]
    fn runs(&self) -> usize {
        self.0.runs
    }

    /// Longest card in bytes.
    #[getter]
    fn card_bytes(&self) -> usize {
        self.0.card_bytes
    }

    /// Longest proof in bytes.
    #[getter]
    fn proof_bytes(&self) -> usize {
        self.0.proof_bytes
    }

    fn __repr__(&self) -> String {
        format!(
            "Limits(k={}, columns={}, points={}, runs={}, card_bytes={}, proof_bytes={})",
            self.0.k,
            self.0.columns,
            self.0.points,
            self.0.runs,
            self.0.card_bytes,
            self.0.proof_bytes
        )
    }
}

/// A side of a statement that needs no scales.
fn finished(stated: &Bound<'_, PyAny>) -> Option<Side> {
    if let Ok(commitment) = stated.cast::<Commitment>() {
        return Some(Side::Committed(commitment.get().0.clone()));
    }
    let integers = stated.cast::<Integers>().ok()?;
    Some(Side::Public(integers.get().0.clone()))
}

/// A checked card, ready to verify any number of proofs, from any number of threads.
///
/// Args:
///     card: A :class:`Card`, the content of its file, or the file's path.
///     limits: What may be spent on the card and on proofs.
///
/// Raises:
///     DecodeError: The card cannot be read.
///     CardError: The card cannot be used.
#[pyclass(module = "zkinfer", frozen)]
pub struct Verifier(Arc<Checked>);

struct Checked {
    verifier: zkinfer::Verifier,
    card: Card,
    interface: Arc<Result<Interface, String>>,
}

impl Checked {
    fn new(card: &Bound<'_, PyAny>, limits: Option<&Limits>) -> PyResult<Checked> {
        let py = card.py();
        let limits = Limits::or_default(limits);
        let card = match card.cast::<Card>() {
            Ok(card) => card.get().clone(),
            Err(_) => {
                let bytes = Source::of(card, "card")?.read(py, limits.card_bytes)?;
                Card::decode(py, &bytes, &limits)?
            }
        };
        let made = long(py, || zkinfer::verifier((*card.0).clone(), &limits))?;
        let verifier = made.map_err(|e| errors::load(py, &e))?;
        let interface = Interface::from_card(&card.0).map_err(|e| e.to_string());
        Ok(Checked {
            verifier,
            card,
            interface: Arc::new(interface),
        })
    }

    /// What the caller states, once for a proof of a single run, otherwise for every run.
    fn expected(
        &self,
        bytes: &[u8],
        input: Option<&Bound<'_, PyAny>>,
        output: Option<&Bound<'_, PyAny>>,
        context: Option<&Bound<'_, PyAny>>,
        tolerance: Option<f64>,
    ) -> PyResult<Vec<Expected>> {
        let context = context.map_or(Ok(Vec::new()), files::content)?;
        let several = zkinfer::Proof::runs_of(bytes).is_some_and(|runs| runs != 1);
        let sides = |stated: Option<&Bound<'_, PyAny>>, which| {
            let sides = stated.map(|stated| self.sides(stated, which, several, tolerance));
            sides.transpose()
        };
        let (inputs, outputs) = (sides(input, Which::Input)?, sides(output, Which::Output)?);
        let runs = match (&inputs, &outputs, input) {
            (Some(i), Some(o), Some(stated)) if i.len() != o.len() => {
                let message = format!("{} inputs stated, {} outputs", i.len(), o.len());
                return Err(errors::input(stated.py(), message));
            }
            (Some(sides), _, _) | (_, Some(sides), _) => sides.len(),
            (None, None, _) => 1,
        };
        let at = |sides: &Option<Vec<Option<Side>>>, i: usize| sides.as_ref()?.get(i)?.clone();
        let expected = (0..runs).map(|i| Expected {
            input: at(&inputs, i),
            output: at(&outputs, i),
            context: context.clone(),
        });
        Ok(expected.collect())
    }

    fn sides(
        &self,
        stated: &Bound<'_, PyAny>,
        which: Which,
        several: bool,
        tolerance: Option<f64>,
    ) -> PyResult<Vec<Option<Side>>> {
        let py = stated.py();
        if let Some(side) = finished(stated) {
            return Ok(vec![Some(side)]);
        }
        if stated.is_instance_of::<PyList>() || stated.is_instance_of::<PyTuple>() {
            let items: Vec<Bound<'_, PyAny>> = stated.try_iter()?.collect::<PyResult<_>>()?;
            let one = |item: &Bound<'_, PyAny>| match item.is_none() {
                true => Some(None),
                false => finished(item).map(Some),
            };
            let sides: Option<Vec<Option<Side>>> = items.iter().map(one).collect();
            if let Some(sides) = sides.filter(|sides| !sides.is_empty()) {
                return Ok(sides);
            }
        }
        let interface = match &*self.interface {
            Ok(interface) => interface,
            Err(message) => return Err(errors::interface(py, message)),
        };
        let forms = side_forms(interface, which);
        let samples = if several {
            arrays::samples(stated, &forms, which)?
        } else {
            vec![arrays::sample(stated, &forms, which)?]
        };
        let bits = self.verifier.card().range_bits();
        let integers = samples.iter().map(|values| match which {
            Which::Input => interface.state_inputs(values, bits, tolerance),
            Which::Output => interface.state_outputs(values, bits, tolerance),
        });
        let sides = integers.map(|i| i.map(|i| Some(Side::Public(i))));
        let sides: Result<Vec<_>, _> = sides.collect();
        sides.map_err(|e| errors::input(py, e))
    }

    fn receipt(
        &self,
        bytes: &[u8],
        stated: &[Vec<StatedSide>],
        result: Result<Vec<zkinfer::Verdict>, Refusal>,
    ) -> Receipt {
        let receipt = zkinfer::Receipt::new(&self.verifier.digest(), bytes, stated, &result);
        let receipt = with_reals(receipt, (*self.interface).as_ref().ok());
        let result = result.map(|v| Verdict::new(v, receipt.clone(), &self.interface));
        Receipt {
            receipt,
            result: Some(result),
        }
    }

    fn check(
        &self,
        proof: &Bound<'_, PyAny>,
        input: Option<&Bound<'_, PyAny>>,
        output: Option<&Bound<'_, PyAny>>,
        context: Option<&Bound<'_, PyAny>>,
        tolerance: Option<f64>,
    ) -> PyResult<Receipt> {
        let bytes = proof_bytes(proof, self.verifier.limits().proof_bytes)?;
        let expected = self.expected(&bytes, input, output, context, tolerance)?;
        let result = long(proof.py(), || self.verifier.verify_bytes(&expected, &bytes))?;
        Ok(self.receipt(&bytes, &StatedSide::of(&expected), result))
    }

    fn verify(
        &self,
        proof: &Bound<'_, PyAny>,
        input: Option<&Bound<'_, PyAny>>,
        output: Option<&Bound<'_, PyAny>>,
        context: Option<&Bound<'_, PyAny>>,
        tolerance: Option<f64>,
    ) -> PyResult<Verdict> {
        let receipt = self.check(proof, input, output, context, tolerance)?;
        match &receipt.result {
            Some(Ok(verdict)) => Ok(verdict.clone()),
            Some(Err(refusal)) => Err(receipt.refused(proof.py(), refusal)),
            None => Err(errors::internal(proof.py(), "a receipt without a result")),
        }
    }
}

#[pymethods]
impl Verifier {
    #[new]
    #[pyo3(signature = (card, *, limits=None))]
    fn new(card: &Bound<'_, PyAny>, limits: Option<&Limits>) -> PyResult<Verifier> {
        Ok(Verifier(Arc::new(Checked::new(card, limits)?)))
    }

    /// The card.
    #[getter]
    fn card(&self) -> Card {
        self.0.card.clone()
    }

    /// The limits.
    #[getter]
    fn limits(&self) -> Limits {
        Limits(*self.0.verifier.limits())
    }

    /// Verifies a proof against what the caller expects. What is not stated is taken from the proof and reported.
    ///
    /// Args:
    ///     proof: A :class:`Proof`, the content of its file, or the file's path.
    ///     input: The expected input: arrays as :meth:`Secret.infer` takes them, a :class:`Commitment` or
    ///         :class:`Integers`. For a proof of several runs, samples along the first axis, or a list of commitments and
    ///         integers, with ``None`` where nothing is expected.
    ///     output: The same for the expected output.
    ///     context: The expected context; always compared.
    ///     tolerance: The largest step between neighbouring values that is put up with where arrays are stated. A card turns
    ///         every array into integers, and all within half a step into the same ones.
    ///
    /// Raises:
    ///     DecodeError: The proof cannot be read.
    ///     Rejection: The proof does not show what it should.
    ///     InputError: The stated arrays do not fit the model.
    #[pyo3(signature = (proof, *, input=None, output=None, context=None, tolerance=None))]
    fn verify(
        &self,
        proof: &Bound<'_, PyAny>,
        input: Option<&Bound<'_, PyAny>>,
        output: Option<&Bound<'_, PyAny>>,
        context: Option<&Bound<'_, PyAny>>,
        tolerance: Option<f64>,
    ) -> PyResult<Verdict> {
        self.0.verify(proof, input, output, context, tolerance)
    }

    /// Verifies like :meth:`verify`, and records what came out instead of raising it.
    #[pyo3(signature = (proof, *, input=None, output=None, context=None, tolerance=None))]
    fn receipt(
        &self,
        proof: &Bound<'_, PyAny>,
        input: Option<&Bound<'_, PyAny>>,
        output: Option<&Bound<'_, PyAny>>,
        context: Option<&Bound<'_, PyAny>>,
        tolerance: Option<f64>,
    ) -> PyResult<Receipt> {
        self.0.check(proof, input, output, context, tolerance)
    }

    /// What :meth:`verify` would do, put off, for :func:`verify_many`.
    #[pyo3(signature = (proof, *, input=None, output=None, context=None, tolerance=None))]
    fn check(
        &self,
        proof: &Bound<'_, PyAny>,
        input: Option<&Bound<'_, PyAny>>,
        output: Option<&Bound<'_, PyAny>>,
        context: Option<&Bound<'_, PyAny>>,
        tolerance: Option<f64>,
    ) -> PyResult<Check> {
        let checked = self.0.clone();
        let bytes = proof_bytes(proof, checked.verifier.limits().proof_bytes)?;
        let expected = checked.expected(&bytes, input, output, context, tolerance)?;
        Ok(Check {
            candidate: checked.verifier.candidate(&expected, &bytes),
            stated: StatedSide::of(&expected),
            checked,
            bytes,
        })
    }

    /// Whether a committed output of this model can be the committed input of ``other``: the same cells, the same scales.
    fn feeds(&self, other: &Verifier) -> bool {
        let (Ok(written), Ok(read)) = (&*self.0.interface, &*other.0.interface) else {
            return false;
        };
        let mut pairs = written.outputs.iter().zip(&read.inputs);
        self.0.verifier.feeds(&other.0.verifier)
            && written.outputs.len() == read.inputs.len()
            && pairs.all(|(w, r)| {
                (&w.scale, &w.zero_point, w.low_bits) == (&r.scale, &r.zero_point, r.low_bits)
            })
    }

    fn __repr__(&self) -> String {
        format!("<Verifier of {}>", self.0.verifier.digest())
    }
}

/// Verifies one proof; see :meth:`Verifier.verify`. Whoever verifies several proofs of a model makes a :class:`Verifier`
/// once instead.
///
/// Args:
///     card: A :class:`Card`, the content of its file, or the file's path.
#[pyfunction]
#[pyo3(signature = (card, proof, *, input=None, output=None, context=None, tolerance=None, limits=None))]
pub fn verify(
    card: &Bound<'_, PyAny>,
    proof: &Bound<'_, PyAny>,
    input: Option<&Bound<'_, PyAny>>,
    output: Option<&Bound<'_, PyAny>>,
    context: Option<&Bound<'_, PyAny>>,
    tolerance: Option<f64>,
    limits: Option<&Limits>,
) -> PyResult<Verdict> {
    Checked::new(card, limits)?.verify(proof, input, output, context, tolerance)
}

/// A proof with what its checker expects. Made by :meth:`Verifier.check`.
#[pyclass(module = "zkinfer", frozen)]
pub struct Check {
    checked: Arc<Checked>,
    candidate: Result<Candidate, Refusal>,
    stated: Vec<Vec<StatedSide>>,
    bytes: Vec<u8>,
}

#[pymethods]
impl Check {
    fn __repr__(&self) -> String {
        format!("<Check for model {}>", self.checked.verifier.digest())
    }
}

/// Verifies many proofs, of one or of several models, much faster than one by one.
///
/// Args:
///     checks: What :meth:`Verifier.check` made; taken from the iterable chunk by chunk.
///     chunk: How many proofs are looked at together.
///
/// Returns:
///     An iterator over receipts, in the order of the checks.
#[pyfunction]
#[pyo3(signature = (checks, *, chunk=256))]
pub fn verify_many(checks: &Bound<'_, PyAny>, chunk: usize) -> PyResult<Receipts> {
    if chunk == 0 {
        return Err(errors::input(
            checks.py(),
            "chunk is 0, allowed is 1 or more",
        ));
    }
    Ok(Receipts {
        checks: checks.try_iter()?.unbind(),
        chunk,
        ready: VecDeque::new(),
        raised: None,
    })
}

/// Receipts of :func:`verify_many`.
#[pyclass(module = "zkinfer")]
pub struct Receipts {
    checks: Py<PyIterator>,
    chunk: usize,
    ready: VecDeque<Receipt>,
    /// By the iterable, after the checks that it gave.
    raised: Option<PyErr>,
}

impl Receipts {
    fn fill(&mut self, py: Python<'_>) -> PyResult<()> {
        let mut chunk: Vec<Py<Check>> = Vec::new();
        let mut checks = self.checks.bind(py).clone();
        while chunk.len() < self.chunk {
            let next = match checks.next() {
                None => break,
                Some(next) => next.and_then(|item| Ok(item.cast_into::<Check>()?.unbind())),
            };
            match next {
                Ok(check) => chunk.push(check),
                Err(error) => {
                    self.raised = Some(error);
                    break;
                }
            }
        }
        let checks: Vec<&Check> = chunk.iter().map(Py::get).collect();
        let size = self.chunk;
        let receipts = long(py, || {
            let sound = checks.iter().filter_map(|check| {
                let candidate = check.candidate.clone().ok()?;
                Some((&check.checked.verifier, candidate))
            });
            let options = BatchOptions::default().with_proofs(size);
            let mut results = zkinfer::verify_many(sound, options);
            let receipt = |check: &&Check| {
                let result = match &check.candidate {
                    Err(refusal) => Err(refusal.clone()),
                    Ok(_) => results.next()?.map_err(Refusal::from),
                };
                Some(check.checked.receipt(&check.bytes, &check.stated, result))
            };
            checks.iter().filter_map(receipt).collect::<VecDeque<_>>()
        })?;
        if receipts.len() != checks.len() {
            return Err(errors::internal(py, "a batch without all results"));
        }
        self.ready = receipts;
        Ok(())
    }
}

#[pymethods]
impl Receipts {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Receipt>> {
        if self.ready.is_empty() && self.raised.is_none() {
            self.fill(py)?;
        }
        match (self.ready.pop_front(), self.raised.is_some()) {
            (Some(receipt), _) => Ok(Some(receipt)),
            (None, true) => self.raised.take().map_or(Ok(None), Err),
            (None, false) => Ok(None),
        }
    }
}
