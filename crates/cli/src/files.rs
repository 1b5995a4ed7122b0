//! Reading and writing files, bounded, with errors that say what to do.

use anyhow::{Context, Result, anyhow, bail};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use zkinfer::TensorInterface;
use zkinfer::data::{Arrays, Samples, TensorForm, Tensors};
use zkinfer::files::{FileError, card_from_json, proof_from_json};
use zkinfer::secret::Secret;
use zkinfer_circuits::card::{Card, FileKind, Proof};
use zkinfer_circuits::receipt::Refusal;
use zkinfer_circuits::verify::Limits;

/// Longest model file.
pub const MODEL_BYTES: usize = 1 << 31;

/// Reads at most `limit` bytes.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() > limit {
        bail!("{} has more than {limit} bytes", path.display());
    }
    Ok(bytes)
}

/// Writes a file that anybody may read.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Refuses to overwrite an owner's file.
pub fn keep(path: &Path, force: bool) -> Result<()> {
    if !force && path.symlink_metadata().is_ok() {
        bail!(
            "{} is there already, and the blinds in it exist nowhere else; choose another name, or overwrite it with --force",
            path.display()
        );
    }
    Ok(())
}

/// Writes a file that only its owner may read.
pub fn write_secret(path: &Path, bytes: &[u8], force: bool) -> Result<()> {
    let dir = path
        .parent()
        .filter(|d| !d.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || -> Result<()> {
        // Temporary files are made readable to their owner only, and stay so.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(bytes)?;
        match force {
            true => file.persist(path)?,
            // Not even one that somebody made in the meantime.
            false => file.persist_noclobber(path)?,
        };
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// `NAME` with an extension added; a dot in the name is part of it.
pub fn with_suffix(name: &Path, suffix: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Whether bytes are one of the JSON forms.
pub fn is_json(bytes: &[u8]) -> bool {
    bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
}

fn text(bytes: &[u8]) -> Result<&str, FileError> {
    std::str::from_utf8(bytes).map_err(|e| FileError::Json(serde::de::Error::custom(e)))
}

/// A card, binary or JSON.
pub fn card(bytes: &[u8], limits: &Limits) -> Result<Card, FileError> {
    if is_json(bytes) {
        card_from_json(text(bytes)?, limits)
    } else {
        Card::from_bytes_within(bytes, limits).map_err(|refusal| match refusal {
            Refusal::Card(limit) => FileError::Limit(limit),
            Refusal::Decode(decode) => FileError::Decode(decode),
            // Nothing is proven by a card.
            other => FileError::Json(serde::de::Error::custom(other)),
        })
    }
}

/// A proof, binary or JSON.
pub fn proof(bytes: &[u8], limits: &Limits) -> Result<Proof, FileError> {
    if is_json(bytes) {
        proof_from_json(text(bytes)?, limits.proof_bytes)
    } else {
        Ok(Proof::from_bytes(bytes, limits.proof_bytes)?)
    }
}

/// The owner's file.
pub fn secret(path: &Path) -> Result<Secret> {
    let bytes = read(path, MODEL_BYTES)?;
    Secret::from_bytes(&bytes, MODEL_BYTES).map_err(|e| explain(path, &bytes, FileKind::Model, e))
}

/// Adds what the file is instead, and where the right one comes from.
pub fn explain(
    path: &Path,
    bytes: &[u8],
    wanted: FileKind,
    error: impl Into<anyhow::Error>,
) -> anyhow::Error {
    let error = error.into().context(path.display().to_string());
    let source = match wanted {
        FileKind::Model => "`zkinfer compile` writes it as NAME.model",
        FileKind::Card => "`zkinfer compile` writes it as NAME.card",
        _ => "`zkinfer prove` writes it",
    };
    match FileKind::of(bytes) {
        Ok(found) if found == wanted => error,
        Ok(found) => anyhow!(
            "{} is a {} file, not a {} file ({source})",
            path.display(),
            found.name(),
            wanted.name()
        ),
        Err(_) if is_json(bytes) => error,
        Err(_) => anyhow!(
            "{} is not a zkinfer {} file ({source})",
            path.display(),
            wanted.name()
        ),
    }
}

/// All samples of a file, for a model's inputs.
pub fn samples(path: &Path, inputs: &[TensorInterface]) -> Result<Samples> {
    let samples = Arrays::load(path)?
        .samples(&TensorForm::list(inputs), &[])
        .with_context(|| path.display().to_string())?;
    if samples.inputs.is_empty() {
        bail!("{} holds no samples", path.display());
    }
    Ok(samples)
}

/// One sample of a file.
pub fn sample(path: &Path, inputs: &[TensorInterface], number: usize) -> Result<Vec<Vec<f32>>> {
    let mut inputs: Tensors = samples(path, inputs)?.inputs;
    if number >= inputs.len() {
        bail!(
            "there is no sample {number} in {}: it has {} (counting from 0)",
            path.display(),
            inputs.len()
        );
    }
    Ok(inputs.swap_remove(number))
}
