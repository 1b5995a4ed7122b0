//! What shows others that a host lied: `Evidence`, `audit`.

use crate::errors;
use crate::files::{self, Source};
use crate::owner::to_python;
use crate::published::Card;
use crate::verifier::Limits;
use crate::work::long;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};
use std::io::BufReader;
use std::path::PathBuf;
use zkinfer_client::{AuditError, HostKey, KeyList, Pinned, PinnedError};
use zkinfer_slip::evidence::{Claim, MAX_EVIDENCE};
use zkinfer_slip::keys::MAX_KEY_LIST;

/// What a buyer, or whoever judges, knows beforehand.
pub fn pin(
    card: &Bound<'_, PyAny>,
    host_key: &str,
    keys: Option<&Bound<'_, PyAny>>,
    limits: Option<&Limits>,
) -> PyResult<Pinned> {
    let py = card.py();
    let limits = Limits::or_default(limits);
    let card = match card.cast::<Card>() {
        Ok(card) => card.get().clone(),
        Err(_) => {
            let bytes = Source::of(card, "card")?.read(py, limits.card_bytes)?;
            Card::decode(py, &bytes, &limits)?
        }
    };
    let key: HostKey = host_key
        .parse()
        .map_err(|e| errors::input(py, format!("host_key: {e}")))?;
    let made = long(py, || Pinned::new(&card.0.to_bytes(), key, &limits))?;
    let mut pinned = made.map_err(|e| match &e {
        PinnedError::Decode(error) => errors::refusal(py, &error.clone().into()),
        PinnedError::Load(error) => errors::load(py, error),
        other => errors::interface(py, other),
    })?;
    if let Some(keys) = keys {
        let wrong = |e: &dyn std::fmt::Display| errors::input(py, format!("keys: {e}"));
        let bytes = Source::of(keys, "keys")?.read(py, MAX_KEY_LIST)?;
        let list: KeyList = serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?;
        pinned.follow(&list).map_err(|e| wrong(&e))?;
    }
    Ok(pinned)
}

/// What is claimed of a host, and shows it to others. It may hold the input.
#[pyclass(module = "zkinfer", frozen)]
#[derive(Clone)]
pub struct Evidence(pub zkinfer_client::Evidence);

impl Evidence {
    fn read(py: Python<'_>, bytes: &[u8]) -> PyResult<Evidence> {
        let read = serde_json::from_slice(bytes);
        read.map(Evidence).map_err(|e| errors::file(py, &e.into()))
    }
}

#[pymethods]
impl Evidence {
    /// ``false_output``, ``contradiction``, ``overdue`` or ``unanswered``.
    #[getter]
    fn kind(&self) -> &'static str {
        match self.0.claim {
            Claim::FalseOutput { .. } => "false_output",
            Claim::Contradiction { .. } => "contradiction",
            Claim::Overdue { .. } => "overdue",
            Claim::Unanswered { .. } => "unanswered",
        }
    }

    /// Judges it, offline, believing neither the client nor the host: what is confirmed.
    ///
    /// Args:
    ///     card: The model's :class:`Card`, the content of its file, or the file's path.
    ///     host_key: The host's key, 64 hexadecimal digits.
    ///     shown: A proof that the host shows against it: its file, or the content of that.
    ///     keys: The host's key list: its file, or the content of that.
    ///     limits: What may be spent on the card and on proofs.
    ///
    /// Raises:
    ///     EvidenceError: Nothing is confirmed.
    #[pyo3(signature = (card, host_key, *, shown=None, keys=None, limits=None))]
    fn judge<'py>(
        &self,
        card: &Bound<'py, PyAny>,
        host_key: &str,
        shown: Option<&Bound<'py, PyAny>>,
        keys: Option<&Bound<'py, PyAny>>,
        limits: Option<&Limits>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let py = card.py();
        let pinned = pin(card, host_key, keys, limits)?;
        let limit = pinned.verifier().limits().proof_bytes;
        let shown = shown
            .map(|shown| Source::of(shown, "shown")?.read(py, limit))
            .transpose()?;
        let now = zkinfer_slip::now();
        let verdict = long(py, || pinned.judge(&self.0, now, shown.as_deref()))?;
        let finding = verdict.map_err(|e| errors::evidence(py, e))?;
        Ok(to_python(py, &finding)?.cast_into::<PyDict>()?)
    }

    /// The evidence as JSON, as ``zkinfer evidence`` reads it.
    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        serde_json::to_string(&self.0).map_err(|e| errors::internal(py, e))
    }

    /// Reads evidence.
    #[classmethod]
    fn from_json(_class: &Bound<'_, PyType>, py: Python<'_>, text: &str) -> PyResult<Evidence> {
        Evidence::read(py, text.as_bytes())
    }

    /// Writes the JSON form.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        files::write(py, &path, self.to_json(py)?.as_bytes())
    }

    /// Reads a file with the JSON form.
    #[classmethod]
    fn load(_class: &Bound<'_, PyType>, py: Python<'_>, path: PathBuf) -> PyResult<Evidence> {
        Evidence::read(py, &files::read(py, &path, MAX_EVIDENCE)?)
    }

    fn __repr__(&self) -> String {
        format!("<Evidence: {}>", self.kind())
    }
}

/// What an audit log shows of a host, believing none of it: every slip, promise, proof and piece of evidence is checked
/// again.
///
/// Args:
///     log: Path of the log, as :class:`Client` and ``zkinfer ask --log`` write it.
///     card: The model's :class:`Card`, the content of its file, or the file's path.
///     host_key: The host's key, 64 hexadecimal digits.
///     keys: The host's key list: its file, or the content of that.
///     limits: What may be spent on the card and on proofs.
///
/// Returns:
///     Numbers of ``answers``, ``asked``, ``proven``, ``pending``, ``unfetched``, ``overdue``, ``refused``, ``failed``,
///     ``unbound``, and a list ``confirmed`` of what third parties confirm.
///
/// Raises:
///     InputError: A line that cannot be read, or says of the host what it did not sign or what is not so.
#[pyfunction]
#[pyo3(signature = (log, card, host_key, *, keys=None, limits=None))]
pub fn audit<'py>(
    log: PathBuf,
    card: &Bound<'py, PyAny>,
    host_key: &str,
    keys: Option<&Bound<'py, PyAny>>,
    limits: Option<&Limits>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = card.py();
    let pinned = pin(card, host_key, keys, limits)?;
    let file = std::fs::File::open(&log).map_err(|e| files::os_error(&log, &e))?;
    let now = zkinfer_slip::now();
    let summary = long(py, || {
        zkinfer_client::audit(BufReader::new(file), &pinned, now)
    })?;
    let summary = summary.map_err(|e| match e {
        AuditError::Read(error) => files::os_error(&log, &error),
        other => errors::input(py, format!("{}: {other}", log.display())),
    })?;
    Ok(to_python(py, &summary)?.cast_into::<PyDict>()?)
}
