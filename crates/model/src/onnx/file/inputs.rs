//! Lengths of the inputs' dimensions that the file leaves open.

use std::collections::{BTreeMap, BTreeSet};

use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{GraphProto, type_proto};

use super::bounds::limit;
use crate::onnx::{ImportError, ImportOptions};

/// What the open dimensions of a graph's inputs are.
struct Lengths<'a> {
    options: &'a ImportOptions,
    /// Names of first dimensions.
    batch: BTreeSet<String>,
    /// Lengths that names have by the samples.
    sampled: BTreeMap<String, usize>,
    /// Dimensions that were open, as options name them.
    open: Vec<String>,
    /// Names of the options that were of use.
    used: BTreeSet<&'a str>,
}

/// Gives every open dimension of an input a length: by the options' names, by the batch, by the samples, or 1 where it is
/// the first.
pub fn fix(graph: &mut GraphProto, options: &ImportOptions) -> Result<(), ImportError> {
    if options.batch == Some(0) {
        return Err(ImportError::Length {
            name: "batch".into(),
            length: 0,
        });
    }
    if let Some((name, _)) = options.symbols.iter().find(|(_, length)| **length == 0) {
        return Err(ImportError::Length {
            name: name.clone(),
            length: 0,
        });
    }
    let weights: BTreeSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    let mut lengths = Lengths {
        options,
        batch: BTreeSet::new(),
        sampled: BTreeMap::new(),
        open: Vec::new(),
        used: BTreeSet::new(),
    };
    let inputs = graph.input.iter_mut();
    let inputs = inputs.filter(|i| !weights.contains(&i.name)).enumerate();
    for (number, input) in inputs {
        let value = input.r#type.as_mut().and_then(|t| t.value.as_mut());
        let Some(type_proto::Value::TensorType(tensor)) = value else {
            return Err(ImportError::Malformed {
                reason: format!("input \"{}\" is not a tensor", input.name),
            });
        };
        let sample = options.samples.get(&input.name);
        let sample = sample.or_else(|| options.samples.get(&format!("x{number}")));
        let dynamic = |axis, symbol: &str| ImportError::DynamicDimension {
            input: input.name.clone(),
            axis,
            symbol: symbol.into(),
        };
        let Some(shape) = tensor.shape.as_mut() else {
            return Err(dynamic(0, "no shape"));
        };
        let rank = shape.dim.len();
        let mut elements = 1u64;
        for (axis, dim) in shape.dim.iter_mut().enumerate() {
            // Samples may come without leading dimensions of length 1.
            let sampled = sample.and_then(|s| match (axis + s.len()).checked_sub(rank) {
                None => Some(1),
                Some(at) if s.len() <= rank => s.get(at).copied(),
                Some(_) => None,
            });
            let found = lengths.of(&input.name, axis, dim, sampled);
            let length = found.map_err(|symbol| dynamic(axis, &symbol))?;
            elements = elements.saturating_mul(length as u64);
            dim.value = Some(dimension::Value::DimValue(length as i64));
        }
        if elements == 0 {
            return Err(ImportError::Malformed {
                reason: format!("input \"{}\" has no elements", input.name),
            });
        }
        let what = "the number of elements";
        limit(&input.name, what, elements, options.max_elements)?;
    }
    let unknown = options
        .symbols
        .keys()
        .find(|k| !lengths.used.contains(k.as_str()));
    match unknown {
        Some(name) => Err(ImportError::NoDimension {
            name: name.clone(),
            open: lengths.open,
        }),
        None => Ok(()),
    }
}

impl<'a> Lengths<'a> {
    /// The length of a dimension, or what it is called if nothing tells.
    fn of(
        &mut self,
        input: &str,
        axis: usize,
        dim: &Dimension,
        sampled: Option<usize>,
    ) -> Result<usize, String> {
        let place = format!("{input}:{axis}");
        let name = match &dim.value {
            Some(dimension::Value::DimValue(v)) if *v > 0 => {
                return usize::try_from(*v).map_err(|_| "too large".into());
            }
            Some(dimension::Value::DimParam(name)) if !name.is_empty() => Some(name.as_str()),
            // Some exporters write 0 or -1 for a free dimension.
            _ => None,
        };
        self.open.push(match name {
            Some(name) => format!("{name} ({place})"),
            None => place.clone(),
        });
        for key in [Some(place.as_str()), name].into_iter().flatten() {
            if let Some((key, &length)) = self.options.symbols.get_key_value(key) {
                self.used.insert(key);
                return Ok(length);
            }
        }
        if axis == 0 {
            self.batch.extend(name.map(str::to_owned));
        }
        let first = axis == 0 || name.is_some_and(|n| self.batch.contains(n));
        if let (true, Some(batch)) = (first, self.options.batch) {
            return Ok(batch);
        }
        let known = name.and_then(|n| self.sampled.get(n)).copied();
        if let Some(length) = sampled.filter(|&l| l > 0).or(known) {
            if let Some(name) = name {
                self.sampled.entry(name.to_owned()).or_insert(length);
            }
            return Ok(length);
        }
        match first {
            true => Ok(1),
            false => Err(name.unwrap_or("unnamed").to_owned()),
        }
    }
}
