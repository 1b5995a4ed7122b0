//! Samples: input tensors, expected outputs and labels from `.npz`, `.npy` and JSON files.

mod npy;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use thiserror::Error;

pub use npy::Array;

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 30;
/// Most elements of one array.
pub const MAX_ELEMENTS: u64 = 1 << 28;
/// Most bytes of all arrays of a file together, unpacked.
const MAX_UNPACKED: u64 = 1 << 31;

/// Tensors of several samples: `[sample][tensor][element]`, flat and row-major.
pub type Tensors = Vec<Vec<Vec<f32>>>;

/// Samples of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Inputs, in the model's order.
    pub inputs: Tensors,
    /// Outputs, where the file has them.
    pub outputs: Option<Tensors>,
    /// Labels, where the file has them (one number per sample).
    pub labels: Option<Vec<i64>>,
}

/// Why samples could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file's name ends in nothing known.
    #[error("{path}: expected a .npz, .npy or .json file")]
    Format {
        /// The file.
        path: String,
    },
    /// The file, or an array in it, is larger than the limits.
    #[error("{name}: {found} {unit}, the limit is {limit}")]
    Limit {
        /// File or array.
        name: String,
        /// What was counted.
        unit: &'static str,
        /// How many there are.
        found: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// The content is not what the file's name says.
    #[error("{name}: {reason}")]
    Malformed {
        /// File or array.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An array the model needs is not there.
    #[error("array {name} is missing: the model has {inputs} inputs, x0 to x{}", inputs.saturating_sub(1))]
    Missing {
        /// The array.
        name: String,
        /// Inputs of the model.
        inputs: usize,
    },
    /// An array has another size than the model's tensor.
    #[error("array {name} has {found} elements per sample, the model's tensor has {expected}")]
    Shape {
        /// The array.
        name: String,
        /// Elements per sample that the model wants.
        expected: usize,
        /// Elements per sample in the file.
        found: usize,
    },
    /// Arrays with different numbers of samples.
    #[error("array {name} has {found} samples, x0 has {expected}")]
    SampleCount {
        /// The array.
        name: String,
        /// Samples of `x0`.
        expected: usize,
        /// Samples of this array.
        found: usize,
    },
}

impl Samples {
    /// Reads samples for a model whose inputs have these lengths (see [`Graph::input_lens`](crate::graph::Graph::input_lens)).
    ///
    /// * `.npz`: arrays `x0, x1, …` (inputs), `y0, y1, …` (outputs), `labels`; the first axis is the sample;
    /// * `.npy`: one array, `x0`;
    /// * `.json`: `{"input_data": [[…], …], "output_data": [[…], …]}`, one sample, one flat list per tensor (EZKL's form).
    ///
    /// Floats of 32 and 64 bits, integers of 8, 32 and 64 bits and booleans are read, all as `f32`.
    ///
    /// # Errors
    /// See [`DataError`]; sizes are bounded before anything is allocated.
    pub fn load(path: impl AsRef<Path>, input_lens: &[usize]) -> Result<Samples, DataError> {
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
            Some("npz") => Samples::from_npz(&bytes, input_lens),
            Some("npy") => Samples::from_arrays(
                vec![("x0".into(), Array::from_npy("x0", &bytes)?)],
                input_lens,
            ),
            Some("json") => Samples::from_json(&bytes, input_lens),
            _ => Err(DataError::Format { path: name }),
        }
    }

    /// Reads an `.npz` archive; see [`Samples::load`].
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn from_npz(bytes: &[u8], input_lens: &[usize]) -> Result<Samples, DataError> {
        let malformed = |name: &str, reason: String| DataError::Malformed {
            name: name.into(),
            reason,
        };
        let archive = zip::ZipArchive::new(std::io::Cursor::new(bytes));
        let mut archive = archive.map_err(|e| malformed("archive", e.to_string()))?;
        let mut arrays = Vec::new();
        let mut budget = MAX_UNPACKED;
        for index in 0..archive.len() {
            let mut entry = archive
                .by_index(index)
                .map_err(|e| malformed("archive", e.to_string()))?;
            let name = entry.name().trim_end_matches(".npy").to_string();
            // Whatever else the archive holds is not unpacked.
            if name != "labels" && numbered(&name, 'x').is_none() && numbered(&name, 'y').is_none()
            {
                continue;
            }
            let mut content = Vec::new();
            // The stated size may be a lie: read no further than the budget.
            entry
                .by_ref()
                .take(budget + 1)
                .read_to_end(&mut content)
                .map_err(|e| malformed(&name, e.to_string()))?;
            let size = content.len() as u64;
            if size > budget {
                return Err(DataError::Limit {
                    name,
                    unit: "bytes or more unpacked",
                    found: MAX_UNPACKED,
                    limit: MAX_UNPACKED,
                });
            }
            budget -= size;
            let array = Array::from_npy(&name, &content)?;
            arrays.push((name, array));
        }
        Samples::from_arrays(arrays, input_lens)
    }

    /// Reads one sample in EZKL's JSON form; see [`Samples::load`].
    ///
    /// # Errors
    /// See [`DataError`].
    pub fn from_json(bytes: &[u8], input_lens: &[usize]) -> Result<Samples, DataError> {
        #[derive(serde::Deserialize)]
        struct Sample {
            input_data: Vec<Vec<f32>>,
            #[serde(default)]
            output_data: Option<Vec<Vec<f32>>>,
        }
        let sample: Sample = serde_json::from_slice(bytes).map_err(|e| DataError::Malformed {
            name: "JSON sample".into(),
            reason: e.to_string(),
        })?;
        for (i, &expected) in input_lens.iter().enumerate() {
            let name = format!("x{i} (input_data[{i}])");
            match sample.input_data.get(i) {
                None => {
                    return Err(DataError::Missing {
                        name,
                        inputs: input_lens.len(),
                    });
                }
                Some(x) if x.len() != expected => {
                    return Err(DataError::Shape {
                        name,
                        expected,
                        found: x.len(),
                    });
                }
                Some(x) => finite(&name, x)?,
            }
        }
        if sample.input_data.len() > input_lens.len() {
            let reason = format!(
                "{} inputs given, the model has {}",
                sample.input_data.len(),
                input_lens.len()
            );
            return Err(DataError::Malformed {
                name: "input_data".into(),
                reason,
            });
        }
        Ok(Samples {
            inputs: vec![sample.input_data],
            outputs: sample.output_data.map(|y| vec![y]),
            labels: None,
        })
    }

    /// Builds samples from named arrays whose first axis is the sample; unknown names are ignored.
    ///
    /// # Errors
    /// If an input is missing or does not fit, or arrays differ in their number of samples.
    pub fn from_arrays(
        arrays: Vec<(String, Array)>,
        input_lens: &[usize],
    ) -> Result<Samples, DataError> {
        let find = |name: &str| arrays.iter().find(|(n, _)| n == name).map(|(_, a)| a);
        let mut inputs: Tensors = Vec::new();
        for (i, &expected) in input_lens.iter().enumerate() {
            let name = format!("x{i}");
            let array = find(&name).ok_or_else(|| DataError::Missing {
                name: name.clone(),
                inputs: input_lens.len(),
            })?;
            finite(&name, &array.values)?;
            append(&mut inputs, &name, array, i)?;
            if let Some(found) = inputs
                .iter()
                .filter_map(|s| s.last())
                .map(Vec::len)
                .find(|l| *l != expected)
            {
                return Err(DataError::Shape {
                    name,
                    expected,
                    found,
                });
            }
        }
        if let (true, Some(samples)) = (
            input_lens.is_empty(),
            find("y0").and_then(|y| y.shape.first()),
        ) {
            // A model without inputs: there are as many (empty) samples as outputs.
            inputs.resize(*samples, Vec::new());
        }
        let mut outputs: Tensors = vec![Vec::new(); inputs.len()];
        let mut count = 0;
        while let Some(array) = find(&format!("y{count}")) {
            // Always against the number of inputs' samples.
            append(&mut outputs, &format!("y{count}"), array, 1)?;
            count += 1;
        }
        let labels = match find("labels") {
            None => None,
            // Several labels per sample (one for every token of a text) are no class of the sample.
            Some(array) if array.shape.len() > 1 && array.shape[0] == inputs.len() => {
                (array.values.len() == inputs.len())
                    .then(|| array.values.iter().map(|&v| v as i64).collect())
            }
            Some(array) if array.values.len() != inputs.len() => {
                let (expected, found) = (inputs.len(), array.values.len());
                return Err(DataError::SampleCount {
                    name: "labels".into(),
                    expected,
                    found,
                });
            }
            // Labels may be targets of a regression, which have no integer form.
            Some(array) if array.values.iter().any(|v| v.fract() != 0.0) => None,
            Some(array) => Some(array.values.iter().map(|&v| v as i64).collect()),
        };
        Ok(Samples {
            inputs,
            outputs: (count > 0).then_some(outputs),
            labels,
        })
    }
}

/// The number in a name such as `x0`.
fn numbered(name: &str, letter: char) -> Option<u32> {
    name.strip_prefix(letter)?.parse().ok()
}

fn finite(name: &str, values: &[f32]) -> Result<(), DataError> {
    match values.iter().find(|v| !v.is_finite()) {
        Some(v) => Err(DataError::Malformed {
            name: name.into(),
            reason: format!("holds {v}"),
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
        sample.push(
            array
                .values
                .get(i * len..(i + 1) * len)
                .unwrap_or_default()
                .to_vec(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn load(header: &str, data: &[u8], len: usize) -> Result<Samples, DataError> {
        Samples::from_arrays(
            vec![("x0".into(), Array::from_npy("x0", &npy(header, data))?)],
            &[len],
        )
    }

    #[test]
    fn reads_dtypes() {
        let f4: Vec<u8> = [1.5f32, -2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let s = load(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n",
            &f4,
            1,
        )
        .expect("valid");
        assert_eq!(s.inputs, vec![vec![vec![1.5]], vec![vec![-2.0]]]);
        let s = load(
            "{'descr': '|b1', 'fortran_order': False, 'shape': (1, 2), }",
            &[1, 0],
            2,
        )
        .expect("valid");
        assert_eq!(s.inputs, vec![vec![vec![1.0, 0.0]]]);
        let f8: Vec<u8> = [1.5f64, -2.0]
            .iter()
            .flat_map(|v| v.to_be_bytes())
            .collect();
        let s = load(
            "{'descr': '>f8', 'fortran_order': True, 'shape': (1, 2), }",
            &f8,
            2,
        );
        assert_eq!(s.expect("valid").inputs, vec![vec![vec![1.5, -2.0]]]);
    }

    #[test]
    fn fortran_order_is_transposed() {
        let data: Vec<u8> = [1i32, 4, 2, 5, 3, 6]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let s = load(
            "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }",
            &data,
            3,
        )
        .expect("valid");
        assert_eq!(
            s.inputs,
            vec![vec![vec![1.0, 2.0, 3.0]], vec![vec![4.0, 5.0, 6.0]]]
        );
    }

    #[test]
    fn hostile_headers_are_errors() {
        let huge =
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }";
        assert!(matches!(load(huge, &[], 1), Err(DataError::Limit { .. })));
        let lie = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 1000), }";
        assert!(matches!(
            load(lie, &[0; 8], 1),
            Err(DataError::Malformed { .. })
        ));
        assert!(matches!(
            load("{'descr': '<c8', 'shape': (1,)}", &[0; 8], 1),
            Err(DataError::Malformed { .. })
        ));
        assert!(matches!(
            load("((((((", &[], 1),
            Err(DataError::Malformed { .. })
        ));
        let good = npy(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }",
            &[0; 8],
        );
        for cut in 0..good.len() {
            assert!(Array::from_npy("x0", &good[..cut]).is_err());
        }
        for at in 0..good.len() {
            for byte in [0, b'(', b'\'', 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = Array::from_npy("x0", &bad);
            }
        }
    }

    #[test]
    fn mismatches_name_the_array() {
        let two = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2), }";
        assert!(matches!(
            load(two, &[1, 2], 3),
            Err(DataError::Shape {
                expected: 3,
                found: 2,
                ..
            })
        ));
        let json = br#"{"input_data": [[1, 2.5]], "output_data": [[3]]}"#;
        let s = Samples::from_json(json, &[2]).expect("valid");
        assert_eq!(
            (s.inputs, s.outputs),
            (vec![vec![vec![1.0, 2.5]]], Some(vec![vec![vec![3.0]]]))
        );
        assert!(matches!(
            Samples::from_json(json, &[2, 1]),
            Err(DataError::Missing { .. })
        ));
        assert!(matches!(
            Samples::from_json(json, &[3]),
            Err(DataError::Shape { .. })
        ));
        let deep = "[".repeat(100_000);
        assert!(Samples::from_json(deep.as_bytes(), &[3]).is_err());
    }
}
