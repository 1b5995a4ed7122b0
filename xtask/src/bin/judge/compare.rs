//! Answers against expected outputs, every output in its own scale.

use std::io::Read;
use std::path::Path;

use zkinfer::data::Array;

use crate::Failure;
use crate::texts::texts;

/// Largest error of an output, over its largest magnitude, that is right.
const TOLERANCE: f64 = 0.03;
/// A column of an output whose largest magnitude is smaller than the output's by this factor has a unit of its own.
const APART: f64 = 30.0;

/// An expected output of all samples.
pub enum Output {
    Numbers(Array),
    Texts { samples: usize, texts: Vec<String> },
}

impl Output {
    pub fn samples(&self) -> usize {
        match self {
            Output::Numbers(a) => a.shape.first().copied().unwrap_or(0),
            Output::Texts { samples, .. } => *samples,
        }
    }
}

/// What came out.
pub struct Compared {
    /// Outputs that are missing.
    pub lost: usize,
    /// Whether an output is too far off.
    pub wrong: bool,
    pub about: String,
}

/// The stored outputs; `None` if there are none.
pub fn expected(path: &Path) -> Result<Option<Vec<Output>>, Failure> {
    let Ok(file) = std::fs::File::open(path) else {
        return Ok(None);
    };
    let mut archive = zip::ZipArchive::new(file)?;
    let mut outputs = Vec::new();
    loop {
        let name = format!("y{}", outputs.len());
        let Ok(mut entry) = archive.by_name(&format!("{name}.npy")) else {
            return Ok(Some(outputs));
        };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        outputs.push(match texts(&bytes) {
            Some((samples, texts)) => Output::Texts { samples, texts },
            None => Output::Numbers(Array::from_npy(&name, &bytes)?),
        });
    }
}

/// Compares the answers that there are, `(sample, a line of infer)`.
pub fn compare(expected: &[Output], answers: &[(usize, serde_json::Value)]) -> Compared {
    let given = |v: &serde_json::Value| v["output"].as_array().map_or(0, Vec::len);
    let given = answers.iter().map(|(_, v)| given(v)).min();
    let lost = given.map_or(0, |given| expected.len().saturating_sub(given));
    let mut compared = Compared {
        lost,
        wrong: false,
        about: String::new(),
    };
    if lost > 0 {
        return compared;
    }
    for (number, output) in expected.iter().enumerate() {
        let (error, fine) = match output {
            Output::Numbers(want) => numbers(want, number, answers),
            Output::Texts { samples, texts } => strings(*samples, texts, number, answers),
        };
        compared.wrong |= !fine;
        let comma = if number == 0 { "" } else { ", " };
        compared.about += &format!("{comma}y{number}: {error}");
    }
    compared
}

fn numbers(want: &Array, number: usize, answers: &[(usize, serde_json::Value)]) -> (String, bool) {
    let samples = want.shape.first().copied().unwrap_or(0).max(1);
    let len = want.values.len() / samples;
    let columns = match want.shape.get(1..) {
        Some([.., last]) if *last > 0 => *last,
        _ => 1,
    };
    let mut largest = vec![(0.0f64, 0.0f64); columns];
    for (sample, answer) in answers {
        let got = reals(&answer["output"][number]);
        let own = want.values.get(sample * len..(sample + 1) * len);
        let Some(own) = own.filter(|own| own.len() == got.len()) else {
            let found = got.len();
            return (format!("{found} elements, expected {len}"), false);
        };
        for (i, (g, &w)) in got.iter().zip(own).enumerate() {
            let (error, magnitude) = &mut largest[i % columns];
            let w = f64::from(w);
            // A number that is none is as wrong as can be.
            let off = if *g == w { 0.0 } else { (g - w).abs() };
            *error = if off.is_nan() {
                f64::INFINITY
            } else {
                error.max(off)
            };
            *magnitude = magnitude.max(w.abs());
        }
    }
    let error = largest.iter().fold(0.0, |a, c| c.0.max(a));
    let magnitude = largest.iter().fold(0.0, |a, c| c.1.max(a));
    let whole = ratio(error, magnitude);
    // Probabilities have one unit, however small some are.
    let chances = want.values.iter().all(|v| (0.0..=1.0).contains(v));
    let apart = largest
        .iter()
        .filter(|c| !chances && c.1 > 0.0 && c.1 * APART < magnitude);
    let apart = apart.map(|c| ratio(c.0, c.1)).fold(0.0, f64::max);
    let text = match apart > whole {
        true => format!("{whole:.4} (a column of its own scale {apart:.4})"),
        false => format!("{whole:.4}"),
    };
    (text, whole <= TOLERANCE && apart <= TOLERANCE)
}

fn ratio(error: f64, magnitude: f64) -> f64 {
    if error == 0.0 {
        0.0
    } else {
        error / magnitude.max(1e-12)
    }
}

/// The numbers of an output, flat.
pub fn reals(value: &serde_json::Value) -> Vec<f64> {
    match value {
        serde_json::Value::Array(items) => items.iter().flat_map(reals).collect(),
        other => vec![other.as_f64().unwrap_or(f64::NAN)],
    }
}

/// Texts travel beside the numbers that stand for them.
fn strings(
    samples: usize,
    texts: &[String],
    number: usize,
    answers: &[(usize, serde_json::Value)],
) -> (String, bool) {
    let len = texts.len() / samples.max(1);
    let mut differ = 0;
    for (sample, answer) in answers {
        let got = answer["output_text"][number].as_array();
        let got: Vec<&str> = got
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str)
            .collect();
        let own = texts.get(sample * len..(sample + 1) * len);
        let same = own.is_some_and(|own| own.iter().map(String::as_str).eq(got));
        differ += usize::from(!same);
    }
    (
        format!("{differ} of {} texts differ", answers.len()),
        differ == 0,
    )
}
