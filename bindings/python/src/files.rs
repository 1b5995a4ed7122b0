//! Paths and bytes.

use crate::errors;
use pyo3::exceptions::{PyOSError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use zkinfer::DecodeError;

/// Longest secret file.
pub const SECRET_BYTES: usize = 1 << 31;

/// An `OSError` of the right subclass, with the file's name.
pub fn os_error(path: &Path, error: &io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(number) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            PyOSError::new_err((number, text.to_owned(), path.as_os_str().to_owned()))
        }
        None => PyOSError::new_err(format!("{}: {error}", path.display())),
    }
}

/// Reads a file's first bytes: more than `limit` of them only where the file is longer.
pub fn read_some(py: Python<'_>, path: &Path, limit: usize) -> PyResult<Vec<u8>> {
    let bytes = py.detach(|| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    bytes.map_err(|e| os_error(path, &e))
}

/// Reads a file of at most `limit` bytes.
pub fn read(py: Python<'_>, path: &Path, limit: usize) -> PyResult<Vec<u8>> {
    let bytes = read_some(py, path, limit)?;
    if bytes.len() > limit {
        // No more than that was read of it.
        let whole =
            std::fs::metadata(path).map_or(0, |m| usize::try_from(m.len()).unwrap_or(usize::MAX));
        let error = DecodeError::TooLarge {
            bytes: whole.max(bytes.len()),
            limit,
        };
        return Err(errors::refusal(py, &error.into()));
    }
    Ok(bytes)
}

/// Writes a file that anybody may read.
pub fn write(py: Python<'_>, path: &Path, bytes: &[u8]) -> PyResult<()> {
    py.detach(|| std::fs::write(path, bytes))
        .map_err(|e| os_error(path, &e))
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_secret(py: Python<'_>, path: &Path, bytes: &[u8], overwrite: bool) -> PyResult<()> {
    let dir = path
        .parent()
        .filter(|d| !d.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let written = py.detach(|| -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(bytes)?;
        match overwrite {
            true => file.persist(path)?,
            false => file.persist_noclobber(path)?,
        };
        Ok(())
    });
    written.map_err(|e| os_error(path, &e))
}

/// Something bytes-like, copied.
pub fn bytes(object: &Bound<'_, PyAny>) -> Option<Vec<u8>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Some(bytes.as_bytes().to_vec());
    }
    if object.is_instance_of::<PyByteArray>() || object.is_instance_of::<PyMemoryView>() {
        // The stable ABI has no buffers before Python 3.11.
        let copy = object.py().get_type::<PyBytes>().call1((object,)).ok()?;
        return Some(copy.cast::<PyBytes>().ok()?.as_bytes().to_vec());
    }
    None
}

/// Something bytes-like, as an argument.
pub fn content(object: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    bytes(object).ok_or_else(|| {
        let found = type_name(object);
        PyTypeError::new_err(format!("expected bytes, found {found}"))
    })
}

/// Content, or where it is.
pub enum Source {
    Bytes(Vec<u8>),
    Path(PathBuf),
}

impl Source {
    /// `bytes` are content, `str` and `os.PathLike` are paths.
    pub fn of(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Source> {
        if let Some(bytes) = bytes(object) {
            return Ok(Source::Bytes(bytes));
        }
        match object.extract::<PathBuf>() {
            Ok(path) => Ok(Source::Path(path)),
            Err(_) => Err(PyTypeError::new_err(format!(
                "{what}: expected bytes or a path, found {}",
                type_name(object)
            ))),
        }
    }

    /// The content.
    pub fn read(self, py: Python<'_>, limit: usize) -> PyResult<Vec<u8>> {
        match self {
            Source::Bytes(bytes) => Ok(bytes),
            Source::Path(path) => read(py, &path, limit),
        }
    }
}

/// The name of an object's type, for messages.
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    object
        .get_type()
        .name()
        .map_or_else(|_| "an object".into(), |name| name.to_string())
}

/// Whether bytes are one of the JSON forms.
pub fn is_json(bytes: &[u8]) -> bool {
    bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
}
