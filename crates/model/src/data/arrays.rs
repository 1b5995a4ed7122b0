//! Named arrays of a file, before it is known what they are for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use super::{
    Array, DataError, MAX_FILE_BYTES, MAX_UNPACKED, Samples, TensorForm, Tensors, json, npy,
};

/// Longest header of an array that is looked at.
const HEADER_BYTES: u64 = 1 << 16;

/// Arrays by name, whose first axis is the sample. Those of an archive are unpacked when they are asked for.
pub struct Arrays {
    held: Vec<(String, Array)>,
    /// An `.npz` archive.
    archive: Option<Vec<u8>>,
}

impl Arrays {
    /// Arrays that are there already.
    pub fn new(arrays: Vec<(String, Array)>) -> Arrays {
        Arrays {
            held: arrays,
            archive: None,
        }
    }

    /// Reads a file; see [`Samples::load`] for what it may hold.
    ///
    /// # Errors
    /// See [`DataError`]; sizes are bounded before anything is allocated.
    pub fn load(path: impl AsRef<Path>) -> Result<Arrays, DataError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let file = |source| DataError::File {
            path: name.clone(),
            source,
        };
        let handle = File::open(path).map_err(file)?;
        let mut bytes = Vec::new();
        handle
            .take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(file)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(DataError::Limit {
                name,
                unit: "bytes or more",
                found: bytes.len() as u64,
                limit: MAX_FILE_BYTES,
            });
        }
        match path.extension().and_then(|e| e.to_str()) {
            Some("npz") => {
                open(&bytes)?;
                Ok(Arrays {
                    held: Vec::new(),
                    archive: Some(bytes),
                })
            }
            Some("npy") => Ok(Arrays::new(vec![(
                "x0".into(),
                Array::from_npy("x0", &bytes)?,
            )])),
            Some("json" | "jsonl") => Arrays::from_json(&bytes),
            _ => Err(DataError::Format { path: name }),
        }
    }

    /// An `.npz` archive.
    ///
    /// # Errors
    /// If it is not one.
    pub fn from_npz(bytes: &[u8]) -> Result<Arrays, DataError> {
        open(bytes)?;
        Ok(Arrays {
            held: Vec::new(),
            archive: Some(bytes.to_vec()),
        })
    }

    /// JSON; see [`Samples::load`].
    ///
    /// # Errors
    /// If it is none of the forms.
    pub fn from_json(bytes: &[u8]) -> Result<Arrays, DataError> {
        Ok(Arrays::new(json::arrays(bytes)?))
    }

    /// The shapes of samples: lengths of all axes but the first, by name. Arrays that cannot be read are left out.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let sample = |shape: &[usize]| Some(shape.split_first()?.1.to_vec());
        let held = self.held.iter();
        let mut shapes: BTreeMap<_, _> = held
            .filter_map(|(name, a)| Some((name.clone(), sample(&a.shape)?)))
            .collect();
        let Some(mut archive) = self.archive.as_ref().and_then(|b| open(b).ok()) else {
            return shapes;
        };
        for index in 0..archive.len() {
            let Ok(entry) = archive.by_index(index) else {
                continue;
            };
            let name = entry.name().trim_end_matches(".npy").to_string();
            let mut header = Vec::new();
            if entry.take(HEADER_BYTES).read_to_end(&mut header).is_ok() {
                shapes.extend(npy::shape_of(&header).and_then(|s| Some((name, sample(&s)?))));
            }
        }
        shapes
    }

    /// The names of all arrays.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.held.iter().map(|(name, _)| name.clone()).collect();
        if let Some(archive) = self.archive.as_ref().and_then(|b| open(b).ok()) {
            names.extend(
                archive
                    .file_names()
                    .map(|n| n.trim_end_matches(".npy").to_string()),
            );
        }
        names.sort();
        names
    }

    /// The array of this name.
    fn find(&self, name: &str, budget: &mut u64) -> Result<Option<Array>, DataError> {
        if let Some((_, array)) = self.held.iter().find(|(n, _)| n == name) {
            return Ok(Some(array.clone()));
        }
        let Some(bytes) = &self.archive else {
            return Ok(None);
        };
        let mut archive = open(bytes)?;
        let index = archive.index_for_name(&format!("{name}.npy"));
        let Some(index) = index.or_else(|| archive.index_for_name(name)) else {
            return Ok(None);
        };
        let malformed = |reason: String| DataError::Malformed {
            name: name.into(),
            reason,
        };
        let entry = archive
            .by_index(index)
            .map_err(|e| malformed(e.to_string()))?;
        let mut content = Vec::new();
        // The stated size may be a lie: read no further than the budget.
        entry
            .take(*budget + 1)
            .read_to_end(&mut content)
            .map_err(|e| malformed(e.to_string()))?;
        let size = content.len() as u64;
        if size > *budget {
            return Err(DataError::Limit {
                name: name.into(),
                unit: "bytes or more unpacked",
                found: MAX_UNPACKED,
                limit: MAX_UNPACKED,
            });
        }
        *budget -= size;
        Array::from_npy(name, &content).map(Some)
    }

    /// The samples for a model: inputs by the names of the model's, or `x0, x1, …` by position, outputs likewise, or `y0, y1,
    /// …`, where they are there, and `labels`. Everything else is ignored.
    ///
    /// # Errors
    /// If an input is missing or does not fit, or arrays differ in their number of samples.
    pub fn samples(
        &self,
        inputs: &[TensorForm],
        outputs: &[TensorForm],
    ) -> Result<Samples, DataError> {
        let budget = &mut { MAX_UNPACKED };
        let names = self.names();
        let has = |name: &String| !name.is_empty() && names.binary_search(name).is_ok();
        // Either all by name or all by position: an input may be called like the position of another.
        let own = !inputs.is_empty() && inputs.iter().all(|f| has(&f.name));
        let surplus = format!("x{}", inputs.len());
        if !own && self.archive.is_none() && has(&surplus) {
            return Err(DataError::Malformed {
                name: surplus,
                reason: format!("the model has {}", in_words(inputs)),
            });
        }
        let mut samples: Tensors = Vec::new();
        for (at, form) in inputs.iter().enumerate() {
            let name = match own {
                true => form.name.clone(),
                false => format!("x{}", form.position),
            };
            let array = self
                .find(&name, budget)?
                .ok_or_else(|| DataError::Missing {
                    name: match form.name.is_empty() {
                        true => name.clone(),
                        false => format!("{:?} (or {name})", form.name),
                    },
                    inputs: in_words(inputs),
                    found: names.clone(),
                })?;
            finite(&name, &array.values)?;
            let array = counted(array, form, inputs.len() == 1);
            fits(&name, &array, form)?;
            append(&mut samples, &name, &array, at)?;
        }
        if inputs.is_empty()
            && let Some(y) = self.find("y0", budget)?
        {
            // A model without inputs: there are as many (empty) samples as outputs.
            samples.resize(y.shape.first().copied().unwrap_or(0), Vec::new());
        }
        let labels = match self.find("labels", budget)? {
            Some(array) => labels(&array, samples.len())?,
            None => None,
        };
        let outputs = self.outputs(outputs, samples.len(), budget)?;
        Ok(Samples {
            inputs: samples,
            outputs,
            labels,
        })
    }

    /// The stored outputs, where there are any.
    fn outputs(
        &self,
        forms: &[TensorForm],
        samples: usize,
        budget: &mut u64,
    ) -> Result<Option<Tensors>, DataError> {
        let names = self.names();
        let has = |name: &String| names.binary_search(name).is_ok();
        let position = |at: usize| format!("y{at}");
        let wanted: Vec<String> = if forms.is_empty() {
            (0..).map(position).take_while(has).collect()
        } else if forms.iter().any(|f| has(&position(f.position))) {
            forms.iter().map(|f| position(f.position)).collect()
        } else {
            forms.iter().map(|f| f.name.clone()).collect()
        };
        if !wanted.iter().any(has) {
            return Ok(None);
        }
        let mut expected: Tensors = vec![Vec::new(); samples];
        for name in wanted {
            match self.find(&name, budget) {
                // Always against the number of inputs' samples.
                Ok(Some(array)) => append(&mut expected, &name, &array, 1)?,
                Err(e) if !matches!(e, DataError::Text { .. }) => return Err(e),
                _ => expected.iter_mut().for_each(|e| e.push(Vec::new())),
            }
        }
        Ok(Some(expected))
    }
}

fn in_words(inputs: &[TensorForm]) -> String {
    let named: Vec<&str> = inputs.iter().map(|f| f.name.as_str()).collect();
    match inputs.len() {
        0 => "no input".into(),
        1 if named[0].is_empty() => "1 input, x0".into(),
        n if named.iter().any(|n| n.is_empty()) => format!("{n} inputs, x0 to x{}", n - 1),
        1 => format!("the input {}", named[0]),
        _ => format!("the inputs {}", named.join(", ")),
    }
}

fn open(bytes: &[u8]) -> Result<zip::ZipArchive<Cursor<&[u8]>>, DataError> {
    zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| DataError::Malformed {
        name: "archive".into(),
        reason: e.to_string(),
    })
}

/// One sample may come without the axis that counts samples, where nothing else is possible.
fn counted(mut array: Array, form: &TensorForm, only: bool) -> Array {
    if only && array.shape.len() > 1 && array.shape == form.shape && array.shape[0] != 1 {
        array.shape.insert(0, 1);
    }
    array
}

/// Lengths of axes that are longer than 1.
fn core(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|&d| d != 1).collect()
}

/// Whether an array's samples are tensors of this form. A flat list is one, in the order of its elements; axes in another
/// order are not.
fn fits(name: &str, array: &Array, form: &TensorForm) -> Result<(), DataError> {
    let Some((&samples, shape)) = array.shape.split_first() else {
        return Err(DataError::Malformed {
            name: name.into(),
            reason: "has no axis for samples".into(),
        });
    };
    let found = array.values.len().checked_div(samples).unwrap_or(0);
    let expected = form.elements();
    if samples > 0 && found != expected {
        return Err(DataError::Shape {
            name: name.into(),
            expected,
            found,
        });
    }
    let (theirs, ours) = (core(shape), core(&form.shape));
    if theirs.len() > 1 && ours.len() > 1 && theirs != ours {
        return Err(DataError::Layout {
            name: name.into(),
            expected: form.shape.clone(),
            found: shape.to_vec(),
        });
    }
    Ok(())
}

fn labels(array: &Array, samples: usize) -> Result<Option<Vec<i64>>, DataError> {
    // Several labels per sample (one for every token of a text) are no class of the sample.
    if array.shape.len() > 1 && array.shape[0] == samples {
        let single = array.values.len() == samples;
        return Ok(single.then(|| array.values.iter().map(|&v| v as i64).collect()));
    }
    if array.values.len() != samples {
        return Err(DataError::SampleCount {
            name: "labels".into(),
            expected: samples,
            found: array.values.len(),
        });
    }
    // Labels may be targets of a regression, which have no integer form.
    let whole = array.values.iter().all(|v| v.fract() == 0.0);
    Ok(whole.then(|| array.values.iter().map(|&v| v as i64).collect()))
}

fn finite(name: &str, values: &[f32]) -> Result<(), DataError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(DataError::Malformed {
            name: name.into(),
            reason: format!("element {at} is {}, not a finite number", values[at]),
        }),
        None => Ok(()),
    }
}

/// Adds an array's slices as tensor number `at` of the samples; the first one makes the samples.
fn append(samples: &mut Tensors, name: &str, array: &Array, at: usize) -> Result<(), DataError> {
    let found = *array.shape.first().ok_or_else(|| DataError::Malformed {
        name: name.into(),
        reason: "has no axis for samples".into(),
    })?;
    if at == 0 {
        samples.resize(found, Vec::new());
    }
    if found != samples.len() {
        return Err(DataError::SampleCount {
            name: name.into(),
            expected: samples.len(),
            found,
        });
    }
    let len = array.values.len().checked_div(found).unwrap_or(0);
    for (i, sample) in samples.iter_mut().enumerate() {
        let own = array.values.get(i * len..(i + 1) * len);
        sample.push(own.unwrap_or_default().to_vec());
    }
    Ok(())
}
