//! Samples as JSON.

use serde::Deserialize;

use super::{Array, DataError};

/// Deepest nesting of a list; serde bounds it, too.
const DEPTH: usize = 32;

/// A number, or a list of lists.
#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    Number(f64),
    Truth(bool),
    Items(Vec<List>),
}

/// One sample, a list for each tensor.
#[derive(Deserialize)]
struct Sample {
    input_data: Vec<List>,
    #[serde(default)]
    output_data: Option<Vec<List>>,
}

fn malformed(name: &str, reason: impl Into<String>) -> DataError {
    DataError::Malformed {
        name: name.into(),
        reason: reason.into(),
    }
}

/// The arrays of a file, their first axes the samples.
pub(super) fn arrays(bytes: &[u8]) -> Result<Vec<(String, Array)>, DataError> {
    let wrong = |e: serde_json::Error| malformed("JSON", e.to_string());
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    if first == Some(&b'[') {
        return stacked(serde_json::from_slice::<Vec<Sample>>(bytes).map_err(wrong)?);
    }
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<serde_json::Value>();
    let value = match values.next() {
        Some(value) => value.map_err(wrong)?,
        None => return Err(malformed("JSON", "is empty")),
    };
    if value.get("input_data").is_some() {
        // One sample, or one on every line.
        let mut samples = vec![Sample::deserialize(value).map_err(wrong)?];
        for value in values {
            samples.push(Sample::deserialize(value.map_err(wrong)?).map_err(wrong)?);
        }
        return stacked(samples);
    }
    if values.next().is_some() {
        return Err(malformed("JSON", "more follows behind the object"));
    }
    let serde_json::Value::Object(object) = value else {
        return Err(malformed("JSON", "neither an object nor a list of objects"));
    };
    let array = |(name, value): (String, serde_json::Value)| {
        // What else an object holds is nothing to samples.
        let list = List::deserialize(value).ok()?;
        Some(array(&name, &list).map(|a| (name, a)))
    };
    object.into_iter().filter_map(array).collect()
}

/// One array per tensor from the samples' lists.
fn stacked(samples: Vec<Sample>) -> Result<Vec<(String, Array)>, DataError> {
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for (number, sample) in samples.iter().enumerate() {
        stack(&mut inputs, &sample.input_data, 'x', number)?;
        stack(
            &mut outputs,
            sample.output_data.as_deref().unwrap_or_default(),
            'y',
            number,
        )?;
    }
    inputs.extend(outputs);
    Ok(inputs)
}

fn stack(
    into: &mut Vec<(String, Array)>,
    lists: &[List],
    letter: char,
    number: usize,
) -> Result<(), DataError> {
    if number == 0 {
        into.extend((0..lists.len()).map(|i| {
            let shape = vec![0];
            let values = Vec::new();
            (format!("{letter}{i}"), Array { shape, values })
        }));
    }
    if into.len() != lists.len() {
        let name = format!("sample {number}");
        let reason = format!("{} tensors, sample 0 has {}", lists.len(), into.len());
        return Err(malformed(&name, reason));
    }
    for ((name, into), list) in into.iter_mut().zip(lists) {
        let one = array(name, list)?;
        let same = into.shape[1..] == one.shape[..];
        if number > 0 && !same {
            let reason = format!(
                "sample {number} has shape {:?}, sample 0 has {:?}",
                one.shape,
                &into.shape[1..]
            );
            return Err(malformed(name, reason));
        }
        if number == 0 {
            into.shape.extend(one.shape);
        }
        into.shape[0] += 1;
        into.values.extend(one.values);
    }
    Ok(())
}

fn array(name: &str, list: &List) -> Result<Array, DataError> {
    let mut shape = Vec::new();
    let mut at = list;
    while let List::Items(items) = at {
        shape.push(items.len());
        match items.first() {
            Some(first) if shape.len() < DEPTH => at = first,
            _ => break,
        }
    }
    let mut values = Vec::new();
    collect(name, list, &shape, &mut values)?;
    Ok(Array { shape, values })
}

fn collect(name: &str, list: &List, shape: &[usize], into: &mut Vec<f32>) -> Result<(), DataError> {
    match (list, shape.split_first()) {
        (List::Number(v), None) => {
            let short = *v as f32;
            if v.fract() == 0.0 && v.abs() < 2f64.powi(63) && f64::from(short) != *v {
                return Err(super::npy::inexact(name, into.len(), format!("{v:.0}")));
            }
            into.push(short);
        }
        (List::Truth(v), None) => into.push(f32::from(u8::from(*v))),
        (List::Items(items), Some((&len, rest))) if items.len() == len => {
            for item in items {
                collect(name, item, rest, into)?;
            }
        }
        _ => return Err(malformed(name, "the lists in it are of different lengths")),
    }
    Ok(())
}
