//! Weights that are kept in files beside the model, as exporters do from a certain size on.
//!
//! A model says where they are: a location, an offset, a length. It may come from anybody, so a location never leaves the
//! model's folder, by whatever way, and what is read is bounded before it is.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};

use crate::onnx::ImportError;

/// `TensorProto.DataLocation.EXTERNAL`
const EXTERNAL: i32 = 1;

/// Whether a tensor's elements are in another file.
pub fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(EXTERNAL) || !tensor.external_data.is_empty()
}

/// Reads all elements that are in other files of the model's folder; at most `budget` bytes.
pub fn load(
    proto: &mut ModelProto,
    folder: Option<&Path>,
    budget: usize,
) -> Result<(), ImportError> {
    let mut files = Files {
        folder: folder.map(Path::to_path_buf),
        open: HashMap::new(),
        budget: budget as u64,
        limit: budget as u64,
    };
    if let Some(graph) = proto.graph.as_mut() {
        files.graph(graph)?;
    }
    for function in &mut proto.functions {
        files.nodes(&mut function.node)?;
    }
    Ok(())
}

struct Files {
    folder: Option<PathBuf>,
    open: HashMap<String, (File, u64)>,
    budget: u64,
    limit: u64,
}

impl Files {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), ImportError> {
        for tensor in &mut graph.initializer {
            self.tensor(tensor)?;
        }
        self.nodes(&mut graph.node)
    }

    fn nodes(&mut self, nodes: &mut [NodeProto]) -> Result<(), ImportError> {
        for attribute in nodes.iter_mut().flat_map(|n| &mut n.attribute) {
            for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
                self.tensor(tensor)?;
            }
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                self.graph(graph)?;
            }
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &mut TensorProto) -> Result<(), ImportError> {
        if !is_external(tensor) {
            return Ok(());
        }
        let name = tensor.name.clone();
        let failed = |reason: String| ImportError::External {
            tensor: name.clone(),
            reason,
        };
        let entry = |key: &str| {
            let entry = tensor.external_data.iter().find(|e| e.key == key);
            entry.map(|e| e.value.as_str())
        };
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => match text.parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(failed(format!("{key} {text:?} is not a number"))),
            },
        };
        let location = entry("location").ok_or_else(|| failed("no location is given".into()))?;
        let offset = number("offset")?.unwrap_or(0);
        let needed = bytes_of(tensor).ok_or_else(|| {
            failed(format!(
                "elements of type {} in another file",
                tensor.data_type
            ))
        })?;
        let length = number("length")?.unwrap_or(needed);
        if length != needed {
            return Err(failed(format!(
                "{length} bytes are stored in {location:?}, its shape needs {needed}"
            )));
        }
        if length > self.budget {
            return Err(ImportError::FileTooLarge {
                bytes: usize::try_from(self.limit - self.budget + length).unwrap_or(usize::MAX),
                limit: usize::try_from(self.limit).unwrap_or(usize::MAX),
            });
        }
        let (file, size) = self.file(location).map_err(failed)?;
        if offset.checked_add(length).is_none_or(|end| end > *size) {
            return Err(failed(format!(
                "bytes {offset} to {} of {location:?} are asked for, which has {size}",
                offset.saturating_add(length)
            )));
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.take(length).read_to_end(&mut bytes))
            .map_err(|e| failed(format!("cannot read {location:?}: {e}")))?;
        if bytes.len() as u64 != length {
            return Err(failed(format!("{location:?} ends too early")));
        }
        self.budget -= length;
        tensor.raw_data = bytes;
        tensor.external_data.clear();
        tensor.data_location = None;
        Ok(())
    }

    /// The file at a location, and its size.
    fn file(&mut self, location: &str) -> Result<&mut (File, u64), String> {
        if !self.open.contains_key(location) {
            let folder = self.folder.as_ref().ok_or_else(|| {
                format!(
                    "is in the file {location:?}, and from the model's bytes alone its folder cannot be told: give the path \
                     of the model"
                )
            })?;
            let path = inside(folder, location)?;
            let file =
                File::open(&path).map_err(|e| format!("cannot open {}: {e}", path.display()))?;
            let about = file.metadata().map_err(|e| e.to_string())?;
            if !about.is_file() {
                return Err(format!("{location:?} is not a file"));
            }
            self.open.insert(location.to_owned(), (file, about.len()));
        }
        let file = self.open.get_mut(location);
        file.ok_or_else(|| "is not open".into())
    }
}

/// Where a location is, if it is below the folder: no absolute path, no way up, no link to elsewhere.
fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let outside = || format!("its location {location:?} is outside of the model's folder");
    let relative = Path::new(location);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !relative.components().all(plain) {
        return Err(outside());
    }
    let path = folder.join(relative);
    let real = |path: &Path| {
        let real = path.canonicalize();
        real.map_err(|e| format!("cannot open {}: {e}", path.display()))
    };
    // Links are followed here.
    let found = real(&path)?;
    match found.starts_with(real(folder)?) {
        true => Ok(found),
        false => Err(outside()),
    }
}

/// Bytes of a tensor's elements as raw data.
fn bytes_of(tensor: &TensorProto) -> Option<u64> {
    let bits = match tensor.data_type {
        21..=23 => 4,
        2 | 3 | 9 | 17..=20 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 => 64,
        _ => return None,
    };
    let elements = tensor.dims.iter().try_fold(1u64, |product, &d| {
        product.checked_mul(u64::try_from(d).ok()?)
    })?;
    Some(elements.checked_mul(bits)?.div_ceil(8))
}
