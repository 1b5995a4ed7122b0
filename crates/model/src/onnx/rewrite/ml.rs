//! Operators of ONNX-ML other than trees, in plain ones: what exporters of scikit-learn put around a model, and support
//! vector machines.

use tract_onnx::pb::{NodeProto, TensorProto};

use super::texts::strings;
use super::writer::{Facts, Writer, attribute, int, text};

/// Up to this many keys a mapping is one function of its argument; beyond, an indicator per key.
const KEYS: usize = 16;
/// Most keys or categories.
const MOST: usize = 4096;

fn floats<'n>(node: &'n NodeProto, name: &str) -> &'n [f32] {
    attribute(node, name).map_or(&[], |a| a.floats.as_slice())
}

fn integers<'n>(node: &'n NodeProto, name: &str) -> &'n [i64] {
    attribute(node, name).map_or(&[], |a| a.ints.as_slice())
}

/// A truth that no value of a proof has: all are finite.
pub(in crate::onnx) fn never(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let x = w.cast(node.input.first()?);
    w.node("Less", &[&x, &x], node.output.first()?, Vec::new());
    Some(())
}

/// The values of a map, without its keys.
pub(in crate::onnx) fn values(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    w.identity(node.input.first()?, node.output.first()?)
}

pub(in crate::onnx) fn concat(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let parts: Vec<String> = node.input.iter().map(|x| w.cast(x)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    w.node("Concat", &parts, node.output.first()?, vec![int("axis", 1)]);
    Some(())
}

/// `(x − offset) · scale`
pub(in crate::onnx) fn scaler(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let (x, y) = (node.input.first()?, node.output.first()?);
    let (offset, scale) = (floats(node, "offset"), floats(node, "scale"));
    let mut at = w.cast(x);
    if !offset.is_empty() {
        let offset = w.floats(offset.to_vec(), &[offset.len()]);
        at = w.op("Sub", &[&at, &offset]);
    }
    let scale = if scale.is_empty() { &[1.0] } else { scale };
    let scale = w.floats(scale.to_vec(), &[scale.len()]);
    w.node("Mul", &[&at, &scale], y, Vec::new());
    Some(())
}

/// Elements of the last axis.
pub(in crate::onnx) fn features(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let ([x, indices], y) = (node.input.as_slice(), node.output.first()?) else {
        return None;
    };
    // A single index keeps the axis, too.
    let row = w.indices(vec![-1]);
    let indices = w.op("Reshape", &[indices, &row]);
    w.node("Gather", &[x, &indices], y, vec![int("axis", -1)]);
    Some(())
}

pub(in crate::onnx) fn binarizer(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let threshold = attribute(node, "threshold").map_or(0.0, |a| a.f);
    let x = w.cast(node.input.first()?);
    let threshold = w.floats(vec![threshold], &[]);
    let above = w.op("Greater", &[&x, &threshold]);
    w.node("Cast", &[&above], node.output.first()?, vec![int("to", 1)]);
    Some(())
}

/// What is not there is replaced, feature by feature: where it is written as a number, by a comparison; where it is written as
/// NaN or infinity, by nothing, because these are no values of a proof.
pub(in crate::onnx) fn imputer(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let (x, y) = (w.cast(node.input.first()?), node.output.first()?);
    let whole = integers(node, "imputed_value_int64s");
    let (imputed, missing) = if whole.is_empty() {
        let missing = attribute(node, "replaced_value_float").map_or(0.0, |a| a.f);
        (floats(node, "imputed_value_floats").to_vec(), missing)
    } else {
        let missing = attribute(node, "replaced_value_int64").map_or(0, |a| a.i);
        (whole.iter().map(|&v| v as f32).collect(), missing as f32)
    };
    if !missing.is_finite() {
        return w.identity(&x, y);
    }
    if imputed.is_empty() {
        return None;
    }
    let missing = w.floats(vec![missing], &[]);
    let features = imputed.len();
    let imputed = w.floats(imputed, &[features]);
    let absent = w.op("Equal", &[&x, &missing]);
    w.node("Where", &[&absent, &imputed, &x], y, Vec::new());
    Some(())
}

/// One indicator per category.
pub(in crate::onnx) fn one_hot(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let categories = integers(node, "cats_int64s");
    let zeros = attribute(node, "zeros").is_none_or(|a| a.i != 0);
    if categories.is_empty() || categories.len() > MOST || !zeros {
        return None;
    }
    let x = w.cast(node.input.first()?);
    let hot = indicators(
        w,
        &x,
        &categories.iter().map(|&c| c as f32).collect::<Vec<_>>(),
    );
    w.identity(&hot, node.output.first()?)
}

/// `[x…][keys]`: one where the element is the key.
fn indicators(w: &mut Writer, x: &str, keys: &[f32]) -> String {
    let wide = w.last_axis("Unsqueeze", x);
    let keys = w.floats(keys.to_vec(), &[keys.len()]);
    let hot = w.op("Equal", &[&wide, &keys]);
    w.cast(&hot)
}

fn tensor_values(tensor: &TensorProto) -> Option<Vec<f32>> {
    super::writer::decode(tensor).map(|k| k.values.iter().map(|&v| v as f32).collect())
}

/// Keys to values. Texts on either side are numbers of places in lists: of those that the operand stands for, and of those
/// that the node has.
pub(in crate::onnx) fn labels(node: &NodeProto, w: &mut Writer, facts: &mut Facts) -> Option<()> {
    let texts = &mut facts.texts;
    let list = |kind: &str| {
        let whole = integers(node, &format!("{kind}_int64s"));
        if !whole.is_empty() {
            return Some(whole.iter().map(|&v| v as f32).collect::<Vec<f32>>());
        }
        let reals = floats(node, &format!("{kind}_floats"));
        if !reals.is_empty() {
            return Some(reals.to_vec());
        }
        let tensor = attribute(node, &format!("{kind}_tensor")).and_then(|a| a.t.as_ref())?;
        tensor_values(tensor)
    };
    let count = |n: usize| (0..n).map(|i| i as f32).collect::<Vec<f32>>();
    let (x, y) = (node.input.first()?, node.output.first()?);
    // In the first version classes stand for both sides.
    let classes = strings(node, "classes_strings");
    let operand = texts.of(x);
    let mut names = strings(node, "values_strings");
    if !classes.is_empty() && operand.is_none() {
        names.clone_from(&classes);
    }
    let mut values = match list("values") {
        Some(values) => values,
        None if names.is_empty() => count(classes.len()),
        None => count(names.len()),
    };
    let keys = match operand {
        None if !classes.is_empty() => count(classes.len()),
        None => list("keys")?,
        Some(operand) => {
            let mut keys = strings(node, "keys_strings");
            keys.extend(classes);
            let place = |text: &String| keys.iter().position(|k| k == text);
            let hits: Vec<(usize, usize)> = (operand.iter().enumerate())
                .filter_map(|(i, text)| Some((i, place(text)?)))
                .collect();
            let of = |&(_, at): &(usize, usize)| values.get(at).copied();
            values = hits.iter().map(of).collect::<Option<_>>()?;
            hits.iter().map(|&(i, _)| i as f32).collect()
        }
    };
    let default = attribute(node, "default_float").map(|a| a.f);
    let default = default.or(attribute(node, "default_int64").map(|a| a.i as f32));
    let default_tensor = attribute(node, "default_tensor").and_then(|a| a.t.as_ref());
    let default = default.or(default_tensor
        .and_then(tensor_values)
        .and_then(|v| v.first().copied()));
    let reals = integers(node, "values_int64s").is_empty() && classes_of(node) == 0;
    let mut default = default.unwrap_or(if reals { 0.0 } else { -1.0 });
    if !names.is_empty() {
        default = names.len() as f32;
        let text = text(node, "default_string");
        names.push(if text.is_empty() {
            "_Unused".into()
        } else {
            text
        });
        texts.set(y, names);
    }
    if keys.len() != values.len() || keys.len() > MOST || keys.iter().any(|k| !k.is_finite()) {
        return None;
    }
    let x = w.cast(x);
    let (first, last) = (w.floats(vec![default], &[]), keys.len());
    if last <= KEYS {
        let mut at = first;
        for (&key, &value) in keys.iter().zip(&values) {
            let (key, value) = (w.floats(vec![key], &[]), w.floats(vec![value], &[]));
            let hit = w.op("Equal", &[&x, &key]);
            at = w.op("Where", &[&hit, &value, &at]);
        }
        return w.identity(&at, y);
    }
    let hot = indicators(w, &x, &keys);
    let values = w.floats(values.iter().map(|v| v - default).collect(), &[last, 1]);
    let sum = w.op("MatMul", &[&hot, &values]);
    let sum = w.last_axis("Squeeze", &sum);
    w.node("Add", &[&sum, &first], y, Vec::new());
    Some(())
}

/// Classes of the first version of `LabelEncoder`.
fn classes_of(node: &NodeProto) -> usize {
    attribute(node, "classes_strings").map_or(0, |a| a.strings.len())
}

/// The kernel of every sample with every vector: `[N][count]`.
fn kernel(
    node: &NodeProto,
    w: &mut Writer,
    x: &str,
    vectors: &[f32],
    count: usize,
) -> Option<String> {
    let features = vectors
        .len()
        .checked_div(count)
        .filter(|f| f * count == vectors.len() && *f > 0)?;
    let parameters = floats(node, "kernel_params");
    let [gamma, coefficient, degree] = match parameters {
        [] => [0.0, 0.0, 0.0],
        &[a, b, c] => [a, b, c],
        _ => return None,
    };
    let transposed = |factor: f32| {
        let at = |f: usize, v: usize| factor * vectors[v * features + f];
        (0..features)
            .flat_map(|f| (0..count).map(move |v| at(f, v)))
            .collect::<Vec<f32>>()
    };
    let kind = text(node, "kernel_type");
    let factor = match kind.as_str() {
        "" | "LINEAR" => 1.0,
        "POLY" | "SIGMOID" => gamma,
        // exp(−γ·(‖x‖² − 2·x·v + ‖v‖²))
        "RBF" => 2.0 * gamma,
        _ => return None,
    };
    let matrix = w.floats(transposed(factor), &[features, count]);
    let mut at = w.op("MatMul", &[x, &matrix]);
    match kind.as_str() {
        "POLY" | "SIGMOID" => {
            let shift = w.floats(vec![coefficient], &[]);
            at = w.op("Add", &[&at, &shift]);
            if kind == "SIGMOID" {
                return Some(w.op("Tanh", &[&at]));
            }
            let degree = w.floats(vec![degree], &[]);
            Some(w.op("Pow", &[&at, &degree]))
        }
        "RBF" => {
            let squares = w.op("Mul", &[x, x]);
            let all = w.floats(vec![-gamma; features * count], &[features, count]);
            let length = w.op("MatMul", &[&squares, &all]);
            let norm = |v: usize| {
                let row = &vectors[v * features..(v + 1) * features];
                -gamma * row.iter().map(|x| x * x).sum::<f32>()
            };
            let norms = w.floats((0..count).map(norm).collect(), &[1, count]);
            let at = w.op("Add", &[&at, &length]);
            let at = w.op("Add", &[&at, &norms]);
            Some(w.op("Exp", &[&at]))
        }
        _ => Some(at),
    }
}

/// A transform of one score is none, as ONNX Runtime has it.
pub(in crate::onnx) fn linear(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let targets = attribute(node, "targets").map_or(1, |a| a.i);
    if targets != 1 || !is_for_several(&text(node, "post_transform")) {
        return None;
    }
    let mut attributes = node.attribute.clone();
    attributes.retain(|a| a.name != "post_transform");
    let operands: Vec<&str> = node.input.iter().map(String::as_str).collect();
    w.node(&node.op_type, &operands, node.output.first()?, attributes);
    Some(())
}

/// Whether a transform is one that ONNX Runtime applies to several scores only.
pub(super) fn is_for_several(transform: &str) -> bool {
    matches!(transform, "LOGISTIC" | "SOFTMAX" | "SOFTMAX_ZERO")
}

/// By the largest element, not the largest magnitude.
pub(in crate::onnx) fn normalizer(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    if !matches!(text(node, "norm").as_str(), "" | "MAX") {
        return None;
    }
    let x = w.cast(node.input.first()?);
    let largest = super::functions::reduced(w, "ReduceMax", &x, &[-1], true);
    w.node("Div", &[&x, &largest], node.output.first()?, Vec::new());
    Some(())
}

pub(in crate::onnx) fn regressor(node: &NodeProto, w: &mut Writer, _: &mut Facts) -> Option<()> {
    let x = w.cast(node.input.first()?);
    let coefficients = floats(node, "coefficients");
    let count = usize::try_from(attribute(node, "n_supports").map_or(0, |a| a.i)).ok()?;
    let sum = if count > 0 {
        if coefficients.len() != count || count > MOST {
            return None;
        }
        let similar = kernel(node, w, &x, floats(node, "support_vectors"), count)?;
        let coefficients = w.floats(coefficients.to_vec(), &[count, 1]);
        w.op("MatMul", &[&similar, &coefficients])
    } else {
        kernel(node, w, &x, coefficients, 1)?
    };
    let rho = w.floats(vec![*floats(node, "rho").first()?], &[]);
    let mut y = w.op("Add", &[&sum, &rho]);
    if attribute(node, "one_class").is_some_and(|a| a.i != 0) {
        let (zero, one, other) = (
            w.floats(vec![0.0], &[]),
            w.floats(vec![1.0], &[]),
            w.floats(vec![-1.0], &[]),
        );
        let inside = w.op("Greater", &[&y, &zero]);
        y = w.op("Where", &[&inside, &one, &other]);
    }
    let transform = text(node, "post_transform");
    if !matches!(transform.as_str(), "" | "NONE") && !is_for_several(&transform) {
        return None;
    }
    w.identity(&y, node.output.first()?)
}

/// Pairs of classes, each with a vote, as libsvm has it; or one linear function per class. Probabilities of two classes are a
/// sigmoid of the score (Platt scaling); those of more are the limit of an iteration and are not supported.
pub(in crate::onnx) fn classifier(
    node: &NodeProto,
    w: &mut Writer,
    facts: &mut Facts,
) -> Option<()> {
    let x = w.cast(node.input.first()?);
    let coefficients = floats(node, "coefficients");
    let rho = floats(node, "rho");
    let ids = integers(node, "classlabels_ints");
    let names = attribute(node, "classlabels_strings").map_or(0, |a| a.strings.len());
    let classes = ids.len().max(names);
    let per_class = integers(node, "vectors_per_class");
    if !(2..=64).contains(&classes) || !matches!(text(node, "post_transform").as_str(), "" | "NONE")
    {
        return None;
    }
    let (label, y) = (node.output.first()?, node.output.get(1)?);
    let (votes, scores) = if per_class.is_empty() {
        // One row of coefficients per class.
        if rho.len() != classes || classes == 2 {
            return None;
        }
        let sums = kernel(node, w, &x, coefficients, classes)?;
        let rho = w.floats(vec![rho[0]; classes], &[1, classes]);
        let sums = w.op("Add", &[&sums, &rho]);
        (sums.clone(), sums)
    } else {
        let pairs = classes * (classes - 1) / 2;
        let sizes: Option<Vec<usize>> =
            per_class.iter().map(|&n| usize::try_from(n).ok()).collect();
        let sizes = sizes.filter(|s| s.len() == classes)?;
        let count: usize = sizes.iter().try_fold(0usize, |a, &n| a.checked_add(n))?;
        if count == 0
            || count > MOST
            || coefficients.len() != (classes - 1) * count
            || rho.len() != pairs
        {
            return None;
        }
        let first = |class: usize| sizes[..class].iter().sum::<usize>();
        let similar = kernel(node, w, &x, floats(node, "support_vectors"), count)?;
        let mut matrix = vec![0.0f32; count * pairs];
        let mut voting = vec![0.0f32; pairs * classes];
        let mut against = vec![0.0f32; classes];
        let mut pair = 0;
        for i in 0..classes {
            for j in i + 1..classes {
                for v in first(i)..first(i) + sizes[i] {
                    matrix[v * pairs + pair] = coefficients[(j - 1) * count + v];
                }
                for v in first(j)..first(j) + sizes[j] {
                    matrix[v * pairs + pair] = coefficients[i * count + v];
                }
                voting[pair * classes + i] += 1.0;
                voting[pair * classes + j] -= 1.0;
                against[j] += 1.0;
                pair += 1;
            }
        }
        let matrix = w.floats(matrix, &[count, pairs]);
        let sums = w.op("MatMul", &[&similar, &matrix]);
        let rho = w.floats(rho.to_vec(), &[1, pairs]);
        let sums = w.op("Add", &[&sums, &rho]);
        let zero = w.floats(vec![0.0], &[]);
        let won = w.op("Greater", &[&sums, &zero]);
        let won = w.cast(&won);
        let (voting, against) = (
            w.floats(voting, &[pairs, classes]),
            w.floats(against, &[1, classes]),
        );
        let votes = w.op("MatMul", &[&won, &voting]);
        let votes = w.op("Add", &[&votes, &against]);
        match (classes, floats(node, "prob_a"), floats(node, "prob_b")) {
            (3.., [], _) => (votes, sums),
            (2, [], _) => {
                // The score of the second class and its negation.
                let both = w.floats(vec![-1.0, 1.0], &[1, 2]);
                let both = w.op("MatMul", &[&sums, &both]);
                (votes, both)
            }
            (2, &[slope], &[shift]) => {
                let slopes = w.floats(vec![-slope, slope], &[1, 2]);
                let shifts = w.floats(vec![-shift, shift], &[1, 2]);
                let odds = w.op("MatMul", &[&sums, &slopes]);
                let odds = w.op("Add", &[&odds, &shifts]);
                (votes, w.op("Sigmoid", &[&odds]))
            }
            _ => return None,
        }
    };
    w.identity(&scores, y);
    w.label(&votes, ids, label, &mut facts.texts)
}
