//! What a model is judged by: the metric that the corpus states for it, computed alike from stored float outputs and from the
//! quantized model's.

use zkinfer::data::Tensors;

/// A model's metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// Fraction of samples (or of tokens, the last axis being classes) whose class is the label.
    Accuracy(Class),
    /// Coefficient of determination of the first output.
    R2,
    /// Area under the curve of the last output as a score of anomaly: of class 0, class 1 being the ordinary one.
    Auc,
    /// Mean squared difference of the first output and the input.
    Reconstruction,
    /// Mean absolute difference of the first output and the label.
    AbsoluteError,
    /// Fraction of samples whose first output exceeds a half.
    Positives,
}

/// How outputs name a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Class {
    /// The first output is the class, a whole number.
    Label,
    /// The largest score; a single one names class 1 above the threshold.
    Score { threshold: f32 },
}

impl Metric {
    /// From the corpus' statement, such as `accuracy 0.9750`; with the number that it states.
    pub fn parse(statement: &str) -> Option<(Metric, f64)> {
        let (name, value) = statement.rsplit_once(' ')?;
        let value = value.parse().ok()?;
        let metric = match name {
            "accuracy" | "next-char accuracy" => Metric::Accuracy(Class::Score { threshold: 0.5 }),
            "R2" => Metric::R2,
            "anomaly AUC" => Metric::Auc,
            "reconstruction MSE" | "mean reconstruction error" => Metric::Reconstruction,
            "MAE to sin(x)" => Metric::AbsoluteError,
            "speech frames" => Metric::Positives,
            _ => return None,
        };
        Some((metric, value))
    }

    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy(_) => "accuracy",
            Metric::R2 => "R²",
            Metric::Auc => "AUC",
            Metric::Reconstruction => "MSE",
            Metric::AbsoluteError => "MAE",
            Metric::Positives => "positives",
        }
    }

    /// Its value for outputs `[sample][output][element]`. `labels` are `[sample · per sample]`.
    pub fn of(self, inputs: &Tensors, outputs: &Tensors, labels: &[f32]) -> Option<f64> {
        let first = || outputs.iter().filter_map(|y| y.first());
        let n = outputs.len() as f64;
        match self {
            Metric::Accuracy(kind) => {
                let each = labels.len().checked_div(outputs.len()).filter(|e| *e > 0)?;
                let classes = |y: &Vec<f32>| -> Vec<f32> {
                    let rows = y.chunks((y.len() / each).max(1));
                    rows.map(|row| class(row, kind)).collect()
                };
                let pairs = first().flat_map(classes).zip(labels);
                let hits = pairs.filter(|(a, b)| a == *b).count();
                Some(hits as f64 / labels.len() as f64)
            }
            Metric::R2 => {
                let mean = labels.iter().map(|&l| f64::from(l)).sum::<f64>() / labels.len() as f64;
                let total: f64 = labels.iter().map(|&l| (f64::from(l) - mean).powi(2)).sum();
                let pairs = first().filter_map(|y| y.first()).zip(labels);
                let rest: f64 = pairs.map(|(y, l)| f64::from(y - l).powi(2)).sum();
                Some(1.0 - rest / total)
            }
            Metric::Auc => {
                let scores = outputs.iter().filter_map(|y| y.last()?.first());
                let scores: Vec<(f32, bool)> = scores
                    .copied()
                    .zip(labels.iter().map(|l| *l == 0.0))
                    .collect();
                let (mut wins, mut pairs) = (0.0, 0.0);
                for (a, _) in scores.iter().filter(|s| s.1) {
                    for (b, _) in scores.iter().filter(|s| !s.1) {
                        pairs += 1.0;
                        wins += if a > b {
                            1.0
                        } else if a == b {
                            0.5
                        } else {
                            0.0
                        };
                    }
                }
                Some(wins / pairs)
            }
            Metric::Reconstruction => {
                let x = inputs.iter().filter_map(|x| x.first());
                let pairs = first().zip(x).flat_map(|(y, x)| y.iter().zip(x));
                let (sum, count) = pairs.fold((0.0, 0usize), |(s, c), (y, x)| {
                    (s + f64::from(y - x).powi(2), c + 1)
                });
                Some(sum / count as f64)
            }
            Metric::AbsoluteError => {
                let pairs = first().filter_map(|y| y.first()).zip(labels);
                Some(pairs.map(|(y, l)| f64::from((y - l).abs())).sum::<f64>() / n)
            }
            Metric::Positives => {
                let hits = first()
                    .filter(|y| y.first().is_some_and(|p| *p > 0.5))
                    .count();
                Some(hits as f64 / n)
            }
        }
        .filter(|v| v.is_finite())
    }

    /// Whether the quantized model is as good as the float model: within half a point where the metric is a share (of samples,
    /// of pairs, of variance), half a per cent elsewhere.
    pub fn close(self, float: f64, integer: f64) -> bool {
        let allowed = match self {
            Metric::Accuracy(_) | Metric::Positives | Metric::Auc | Metric::R2 => 0.005,
            _ => 0.005 * float.abs(),
        };
        (float - integer).abs() <= allowed + 1e-9
    }
}

/// The class that a list of scores, or a single number, names.
fn class(row: &[f32], kind: Class) -> f32 {
    match (row, kind) {
        ([v], Class::Label) => v.round(),
        ([v], Class::Score { threshold }) => f32::from(u8::from(*v > threshold)),
        _ => {
            let best = (0..row.len()).reduce(|a, b| if row[b] > row[a] { b } else { a });
            best.unwrap_or(0) as f32
        }
    }
}
