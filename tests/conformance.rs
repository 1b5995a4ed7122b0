//! Quantization and proofs of ONNX's single-operator cases.

#[path = "common/conformance.rs"]
mod conformance;
#[allow(dead_code)]
#[path = "common/corpus.rs"]
mod corpus;
#[path = "common/proof.rs"]
mod proof;

use std::collections::BTreeMap;

use conformance::{Case, Loaded, NotLoaded};
use zkinfer::import::ImportError;
use zkinfer::quantize::QuantizeError;
use zkinfer::{Graph, QuantizeOptions, QuantizedModel};
use zkinfer_circuits::program::ProgramLimits;

/// Operators in scope: at least one case of each has to pass and to be proven.
const REQUIRED: &[&str] = &[
    "Gemm",
    "MatMul",
    "Conv",
    "ConvTranspose",
    "BatchNormalization",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Clip",
    "HardSwish",
    "HardSigmoid",
    "Sigmoid",
    "Tanh",
    "Erf",
    "Gelu",
    "Elu",
    "Selu",
    "Celu",
    "ThresholdedRelu",
    "Softplus",
    "Softsign",
    "Mish",
    "Swish",
    "Exp",
    "Log",
    "Sqrt",
    "Reciprocal",
    "Abs",
    "Neg",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Floor",
    "Ceil",
    "Round",
    "Sign",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "ReduceMean",
    "ReduceSum",
    "ReduceMax",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Flatten",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Concat",
    "Pad",
    "Slice",
    "Split",
    "Identity",
    "Dropout",
    "Softmax",
];

/// Largest distance of an output from the accepted values, over the largest magnitude of that output.
const TOLERANCE: f64 = 0.01;

/// Cases beyond twelve bits, and why. They must fail: a case that passes is taken off the list.
const LIMITS: &[(&str, &str)] = &[
    ("fresh_logsoftmax_ax1_v0", PROBABILITY),
    ("fresh_logsoftmax_axm1_v0", PROBABILITY),
    ("test_softmax_large_number", LARGE),
    ("test_softmax_large_number__opset9", LARGE),
    (
        "test_reduce_log_sum_exp_keepdims_example__opset9",
        EXPONENTIALS,
    ),
    (
        "test_reduce_log_sum_exp_negative_axes_keepdims_random__opset11",
        EXPONENTIALS,
    ),
    ("test_gru_seq_length", GATES),
    ("test_gru_seq_length__opset14", GATES),
    ("test_gru_seq_length__opset9", GATES),
    ("fresh_groupnormalization_v0", NORMALISED),
    ("test_operator_symbolic_override", NORMALISED),
    ("test_layer_normalization_3d_axis1_epsilon", NORMALISED),
    (
        "test_layer_normalization_3d_axis1_epsilon_expanded",
        NORMALISED,
    ),
    (
        "test_layer_normalization_3d_axis1_epsilon_expanded_ver18",
        NORMALISED,
    ),
    (
        "test_layer_normalization_3d_axis_negative_2_epsilon",
        NORMALISED,
    ),
    ("test_layer_normalization_4d_axis1", NORMALISED),
    ("test_layer_normalization_4d_axis1_expanded", NORMALISED),
    (
        "test_layer_normalization_4d_axis1_expanded_ver18",
        NORMALISED,
    ),
    ("test_layer_normalization_4d_axis_negative_2", NORMALISED),
    (
        "test_layer_normalization_4d_axis_negative_2_expanded",
        NORMALISED,
    ),
    (
        "test_layer_normalization_4d_axis_negative_2_expanded_ver18",
        NORMALISED,
    ),
    ("test_layer_normalization_4d_axis_negative_3", NORMALISED),
    (
        "test_layer_normalization_4d_axis_negative_3_expanded",
        NORMALISED,
    ),
    (
        "test_layer_normalization_4d_axis_negative_3_expanded_ver18",
        NORMALISED,
    ),
    ("test_layer_normalization_4d_axis_negative_4", NORMALISED),
    (
        "test_layer_normalization_4d_axis_negative_4_expanded",
        NORMALISED,
    ),
    (
        "test_layer_normalization_4d_axis_negative_4_expanded_ver18",
        NORMALISED,
    ),
    ("test_reduce_prod_default_axes_keepdims_example", PRODUCTS),
    (
        "test_reduce_prod_default_axes_keepdims_example__opset13",
        PRODUCTS,
    ),
    (
        "test_reduce_prod_default_axes_keepdims_example__opset9",
        PRODUCTS,
    ),
    ("test_softmax_large_number_expanded", LARGE),
    ("test_softmax_large_number_expanded_ver18", LARGE),
];
const GATES: &str = "gates of a recurrence with three samples' worth of calibration: 1 to 2 % off";
const PRODUCTS: &str =
    "a product of many factors, each multiplication with the range of its operands";
const NORMALISED: &str = "variances, their roots and the quotient in twelve bits each: 1 to 3 % off, as calibrated by one sample";
const PROBABILITY: &str =
    "the logarithm of probabilities below 2^-12, which are zero in twelve bits";
const LARGE: &str =
    "logits from 0 to 10003: the input's step is larger than the differences that matter";
const EXPONENTIALS: &str =
    "sums of exponentials that differ by orders of magnitude share one scale";

/// How often the case's input is given for calibration. A single sample gets margins of sixteen standard deviations,
/// because it says little about others; here there are no others, and the subject is the operator.
const SAMPLES: usize = 100;

enum Outcome {
    /// Worst error over the output's magnitude; without and with regard to the input's rounding.
    Passed {
        plain: f64,
        beyond: f64,
    },
    /// Outside what the number format or the importer can do.
    Unsupported(String),
    Failed(String),
}

/// Which values are right for every output element: those that the float model takes while the inputs move by `reach` of
/// their steps, together and against each other.
///
/// An integer input differs from the real one by up to half a step, and the argument of a table by as much again. What a
/// function makes of that is no error of the quantization: a step function may change its value, a steep one moves far,
/// and a sum of inputs of the same sign moves by the sum. [`TOLERANCE`] is for everything else: rounded weights and the
/// rounding of results, whose step is the calibrated range with 30 % headroom over 2^12 (0.02 % to 0.1 % of the largest
/// magnitude), a few times over where a case is several layers deep.
fn accepted(
    graph: &Graph,
    model: &QuantizedModel,
    inputs: &[Vec<f32>],
    reach: f64,
) -> Vec<Vec<(f64, f64)>> {
    let mut ranges: Vec<Vec<(f64, f64)>> = Vec::new();
    for (part, against) in (-4..=4).flat_map(|part| [(part, 1.0), (part, -1.0)]) {
        let moved = inputs
            .iter()
            .zip(&model.inputs)
            .enumerate()
            .map(|(k, (values, interface))| {
                let sign = if k % 2 == 1 { against } else { 1.0 };
                let by = |i: usize| sign * reach * f64::from(part) / 4.0 * interface.scale_at(i);
                values
                    .iter()
                    .enumerate()
                    .map(|(i, &v)| (f64::from(v) + by(i)) as f32)
                    .collect()
            });
        let Ok(values) = graph.run(&moved.collect::<Vec<Vec<f32>>>()) else {
            continue;
        };
        let outputs = graph.outputs_of(&values);
        ranges.resize(outputs.len(), Vec::new());
        for (ranges, output) in ranges.iter_mut().zip(&outputs) {
            ranges.resize(output.len(), (f64::INFINITY, f64::NEG_INFINITY));
            for (range, &v) in ranges.iter_mut().zip(output).filter(|(_, v)| v.is_finite()) {
                *range = (range.0.min(f64::from(v)), range.1.max(f64::from(v)));
            }
        }
    }
    ranges
}

/// Quantizes a case with its own input and compares with the stored outputs.
fn quantized(case: &Loaded) -> Result<(QuantizedModel, Outcome), Outcome> {
    let Loaded {
        graph,
        inputs,
        outputs,
    } = case;
    let unsupported = |e: &dyn std::fmt::Display| Outcome::Unsupported(e.to_string());
    let failed = |e: &dyn std::fmt::Display| Outcome::Failed(e.to_string());
    if inputs.is_empty() || inputs.iter().all(Vec::is_empty) || outputs.iter().any(Vec::is_empty) {
        return Err(Outcome::Unsupported(
            "no element goes in or comes out".into(),
        ));
    }
    if graph.outputs.len() < outputs.len() {
        return Err(Outcome::Unsupported("an output is left out".into()));
    }
    let calibration = vec![inputs.clone(); SAMPLES];
    let model = graph
        .quantize(&calibration, &QuantizeOptions::default())
        .map_err(|e| match e {
            QuantizeError::Unsupported { .. }
            | QuantizeError::NotFinite { .. }
            | QuantizeError::Coefficient { .. } => unsupported(&e),
            e => failed(&e),
        })?;
    let expanded = model
        .program
        .expand(&ProgramLimits::default())
        .map_err(|e| failed(&e))?;
    let integers = model
        .quantize_inputs(inputs, false)
        .map_err(|e| failed(&e))?;
    let trace = model.run(&expanded, &integers).map_err(|e| failed(&e))?;
    let got = model
        .dequantize_outputs(&expanded, &trace)
        .map_err(|e| failed(&e))?;
    let accepted = accepted(graph, &model, inputs, 1.0);
    let (mut plain, mut beyond, mut worst) = (0f64, 0f64, String::new());
    for (o, ((got, want), accepted)) in got.iter().zip(outputs).zip(&accepted).enumerate() {
        if got.len() != want.len() {
            return Err(Outcome::Failed(format!(
                "output {o} has {} elements, {} wanted",
                got.len(),
                want.len()
            )));
        }
        let magnitude = want
            .iter()
            .fold(0f64, |m, v| m.max(f64::from(v.abs())))
            .max(1e-9);
        for (i, ((&g, &w), &(low, high))) in got.iter().zip(want).zip(accepted).enumerate() {
            let (g, w) = (f64::from(g), f64::from(w));
            plain = plain.max((g - w).abs() / magnitude);
            let outside = (low.min(w) - g).max(g - high.max(w)).max(0.0) / magnitude;
            if outside > beyond {
                beyond = outside;
                worst = format!(
                    "output {o}, element {i}: {g}, wanted {w} ({low} to {high}), magnitude {magnitude}"
                );
            }
        }
    }
    if got.len() != outputs.len() {
        return Err(Outcome::Failed(format!(
            "{} outputs, {} wanted",
            got.len(),
            outputs.len()
        )));
    }
    if beyond > TOLERANCE {
        return Err(Outcome::Failed(worst));
    }
    Ok((model, Outcome::Passed { plain, beyond }))
}

#[derive(Default)]
struct Row {
    passed: usize,
    proven: usize,
    unsupported: usize,
    failed: usize,
    plain: f64,
    beyond: f64,
}

/// `ZKINFER_CASES=start_of_a_name` runs fewer cases, `ZKINFER_REASONS=1` prints why cases are unsupported.
#[test]
fn operators_are_quantized_and_proven() {
    let Some(root) = corpus::corpus("conformance") else {
        return;
    };
    let chosen = std::env::var("ZKINFER_CASES").ok();
    let mut table = BTreeMap::<String, Row>::new();
    let mut reasons = BTreeMap::<(String, String), Vec<String>>::new();
    let mut failures = Vec::new();
    let prove = std::env::var("ZKINFER_NO_PROOF").is_err();
    for (index, Case { name, op, folder }) in conformance::cases(&root).into_iter().enumerate() {
        if chosen
            .as_ref()
            .is_some_and(|start| !name.starts_with(start.as_str()))
        {
            continue;
        }
        let row = table.entry(op.clone()).or_default();
        let (outcome, proof) = match conformance::load(&folder) {
            Err(NotLoaded::Tensors) => (Outcome::Unsupported("tensors of strings".into()), None),
            Err(NotLoaded::Import(ImportError::Unsupported { reason, .. })) => {
                (Outcome::Unsupported(reason), None)
            }
            Err(NotLoaded::Import(error)) => (Outcome::Unsupported(error.to_string()), None),
            Ok(case) => match quantized(&case) {
                // The rest of the way is the same for all: the first case of every operator and every fifth of all.
                Ok((model, outcome)) if prove && (row.proven == 0 || index % 5 == 0) => {
                    match proof::prove_and_verify(model, &name, &case.inputs) {
                        Ok(cost) => (outcome, Some(cost)),
                        Err(e) => (Outcome::Failed(e), None),
                    }
                }
                Ok((_, outcome)) => (outcome, None),
                Err(outcome) => (outcome, None),
            },
        };
        row.proven += usize::from(proof.is_some());
        let limit = LIMITS.iter().find(|(listed, _)| *listed == name);
        let outcome = match (outcome, limit) {
            (Outcome::Failed(_), Some((_, reason))) => {
                Outcome::Unsupported(format!("twelve bits: {reason}"))
            }
            (Outcome::Passed { .. }, Some(_)) => {
                Outcome::Failed("is listed as a limit but passes".into())
            }
            (outcome, _) => outcome,
        };
        match outcome {
            Outcome::Passed { plain, beyond } => {
                row.passed += 1;
                row.plain = row.plain.max(plain);
                row.beyond = row.beyond.max(beyond);
                if plain > TOLERANCE {
                    println!(
                        "{name}: {:.2} % without regard to rounding, {:.2} % beyond",
                        plain * 100.0,
                        beyond * 100.0
                    );
                }
            }
            Outcome::Unsupported(reason) => {
                row.unsupported += 1;
                reasons
                    .entry((op, reason.chars().take(120).collect()))
                    .or_default()
                    .push(name);
            }
            Outcome::Failed(reason) => {
                row.failed += 1;
                println!("FAILED {op} {name}: {reason}");
                failures.push(format!("{op} {name}: {reason}"));
            }
        }
    }
    println!(
        "{:32} {:>6} {:>6} {:>11} {:>6} {:>7} {:>8}",
        "operator", "passed", "proven", "unsupported", "failed", "error %", "beyond %"
    );
    for (op, row) in &table {
        println!(
            "{op:32} {:>6} {:>6} {:>11} {:>6} {:>7.3} {:>8.3}",
            row.passed,
            row.proven,
            row.unsupported,
            row.failed,
            row.plain * 100.0,
            row.beyond * 100.0
        );
    }
    let sum = |f: fn(&Row) -> usize| table.values().map(f).sum::<usize>();
    println!(
        "{:32} {:>6} {:>6} {:>11} {:>6}",
        "all",
        sum(|r| r.passed),
        sum(|r| r.proven),
        sum(|r| r.unsupported),
        sum(|r| r.failed)
    );
    if std::env::var_os("ZKINFER_REASONS").is_some() {
        for ((op, reason), names) in &reasons {
            println!("{op}: {reason}: {}", names.join(" "));
        }
    }
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
    if chosen.is_none() && prove {
        for op in REQUIRED {
            assert!(
                table.get(*op).is_some_and(|r| r.proven > 0),
                "no case of {op} was proven"
            );
        }
    }
}
