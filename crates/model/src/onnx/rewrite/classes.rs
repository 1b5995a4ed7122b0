//! Linear classifiers, as ONNX Runtime computes them.

use tract_onnx::pb::NodeProto;

use super::writer::{Facts, Writer, attribute, int, text};

/// Most classes.
const MOST: usize = 4096;

/// One row of coefficients per class, or a single row for the second of two classes. `SOFTMAX_ZERO` and `PROBIT` are not
/// supported.
pub(in crate::onnx) fn linear_classifier(
    node: &NodeProto,
    w: &mut Writer,
    facts: &mut Facts,
) -> Option<()> {
    let floats = |name: &str| attribute(node, name).map_or(&[][..], |a| a.floats.as_slice());
    let (coefficients, intercepts) = (floats("coefficients"), floats("intercepts"));
    let ids = attribute(node, "classlabels_ints").map_or(&[][..], |a| a.ints.as_slice());
    let names = attribute(node, "classlabels_strings").map_or(0, |a| a.strings.len());
    let (label, y) = (node.output.first()?, node.output.get(1));
    let classes = ids.len().max(names);
    let rows = match intercepts.len() {
        0 => classes,
        n => n,
    };
    if rows == 0 || rows > MOST || coefficients.is_empty() {
        return None;
    }
    let features = coefficients.len() / rows;
    if features * rows != coefficients.len() || !(classes == rows || (rows, classes) == (1, 2)) {
        return None;
    }
    let at = |f: usize, row: usize| coefficients[row * features + f];
    let columns = (0..features).flat_map(|f| (0..rows).map(move |row| at(f, row)));
    let matrix = w.floats(columns.collect(), &[features, rows]);
    let x = w.cast(node.input.first()?);
    let mut scores = w.op("MatMul", &[&x, &matrix]);
    if !intercepts.is_empty() {
        let shift = w.floats(intercepts.to_vec(), &[1, rows]);
        scores = w.op("Add", &[&scores, &shift]);
    }
    let transform = text(node, "post_transform");
    let mut ranked = scores.clone();
    if rows < classes {
        // The score s of the second class: both have the sign of what decides.
        let both = w.floats(vec![-1.0, 1.0], &[1, 2]);
        ranked = w.op("MatMul", &[&scores, &both]);
        scores = match transform.as_str() {
            "LOGISTIC" => ranked.clone(),
            _ => {
                let one = w.floats(vec![1.0, 0.0], &[1, 2]);
                w.op("Add", &[&ranked, &one])
            }
        };
    }
    let scores = match transform.as_str() {
        "" | "NONE" => scores,
        "LOGISTIC" => w.op("Sigmoid", &[&scores]),
        "SOFTMAX" if rows < classes => scores,
        "SOFTMAX" => w.op_with("Softmax", &[&scores], vec![int("axis", 1)]),
        _ => return None,
    };
    if let Some(y) = y.filter(|y| !y.is_empty()) {
        w.identity(&scores, y)?;
    }
    if label.is_empty() {
        return Some(());
    }
    w.label(&ranked, ids, label, &mut facts.texts)
}
