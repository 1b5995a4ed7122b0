//! Quantization and proofs of ONNX's single-operator cases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::common::conformance::{self, Case, Loaded, NotLoaded};
use crate::common::{corpus, proof};
use prost::Message;
use rayon::prelude::*;
use tract_onnx::pb::{GraphProto, ModelProto};
use zkinfer::onnx::ImportError;
use zkinfer::onnx::operators::{self, OPERATORS, Operator, Support};
use zkinfer::quantize::{CompileError, QuantizeError};
use zkinfer::{Graph, QuantizeOptions, QuantizedModel, Samples};
use zkinfer_circuits::program::ProgramLimits;

/// Largest distance of an output from the accepted values, over the largest magnitude of that output: 0.1 % for every value
/// that the operator's construction rounds one after the other, which is half a step of a range of ten standard deviations
/// with 30 % headroom in twelve bits. Models of several operators are judged by the loosest of them.
fn tolerance(ops: &[String]) -> f64 {
    let roundings = |op: &String| {
        let (domain, name) = op.rsplit_once('.').unwrap_or(("", op));
        match operators::find(domain, name).map(|o| o.support) {
            Some(Support::Built { by, .. }) => by.roundings(),
            _ => 0,
        }
    };
    // Inputs and outputs of models of one's own are rounded too; several operators in a row add up.
    let worst = ops.iter().map(roundings).max().unwrap_or(0).max(1);
    let chain = ops.len().saturating_sub(1).min(6) as u32;
    f64::from(worst + chain) * 1e-3
}

/// How often the case's input is given for calibration. A single sample gets margins of sixteen standard deviations,
/// because it says little about others; here there are no others, and the subject is the operator.
const SAMPLES: usize = 100;

/// Cases that are known to pass.
const PASSED: usize = 1155;

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
/// and a sum of inputs of the same sign moves by the sum. [`tolerance`] is for everything else: rounded weights and the
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
fn quantized(case: &Loaded, tolerance: f64) -> Result<(QuantizedModel, Outcome), Outcome> {
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
    let options = QuantizeOptions::default();
    let calibration = Samples {
        inputs: vec![inputs.clone(); SAMPLES],
        ..Samples::default()
    };
    let model = graph
        .quantize(&calibration.inputs, &options)
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
    if beyond > tolerance {
        // Nothing is wrong in silence if it is not compiled.
        if let Err(e @ CompileError::Doubtful(_)) = graph.compile(&calibration, &options) {
            return Err(unsupported(&e));
        }
        if std::env::var_os("ZKINFER_LAYERS").is_some() {
            let report =
                zkinfer::quantize::evaluate(graph, &model, std::slice::from_ref(inputs), &[]);
            for layer in report.iter().flat_map(|r| &r.layers) {
                println!("{layer:?}");
            }
        }
        return Err(Outcome::Failed(worst));
    }
    Ok((model, Outcome::Passed { plain, beyond }))
}

/// Quantizes a case, and proves and verifies it.
fn judge(
    Case {
        name, folder, ops, ..
    }: &Case,
    prove: bool,
) -> Outcome {
    let case = match conformance::load(folder) {
        Err(NotLoaded::Tensors) => return Outcome::Unsupported("tensors of strings".into()),
        Err(NotLoaded::NotFinite) => {
            return Outcome::Unsupported("an input is infinite or not a number".into());
        }
        Err(NotLoaded::Import(ImportError::Unsupported { reason, .. })) => {
            return Outcome::Unsupported(reason);
        }
        Err(NotLoaded::Import(error)) => return Outcome::Unsupported(error.to_string()),
        Ok(case) => case,
    };
    let (model, outcome) = match quantized(&case, tolerance(ops)) {
        Ok(quantized) => quantized,
        Err(outcome) => return outcome,
    };
    if !prove {
        return outcome;
    }
    match proof::prove_and_verify(model, name, &case.inputs) {
        Ok(_) => outcome,
        Err(e) => Outcome::Failed(e),
    }
}

#[derive(Default)]
struct Row {
    passed: usize,
    unsupported: usize,
    failed: usize,
    plain: f64,
    beyond: f64,
}

/// Every case that passes is proven and verified, from bytes. `ZKINFER_CASES=start_of_a_name` runs fewer cases,
/// `ZKINFER_REASONS=1` prints why cases are unsupported, `ZKINFER_NO_PROOF=1` leaves the proofs
/// out, `ZKINFER_LAYERS=1` prints where a case that fails goes wrong.
#[test]
#[ignore = "reads the corpus, see docs/corpus.md"]
fn operators_are_quantized_and_proven() {
    let Some(root) = corpus::corpus("conformance") else {
        return;
    };
    let chosen = std::env::var("ZKINFER_CASES").ok();
    let prove = std::env::var_os("ZKINFER_NO_PROOF").is_none();
    let mut cases = conformance::cases(&root);
    cases.retain(|c| {
        chosen
            .as_ref()
            .is_none_or(|start| c.name.starts_with(start.as_str()))
    });
    let outcomes: Vec<Outcome> = cases.par_iter().map(|case| judge(case, prove)).collect();
    let mut table = BTreeMap::<String, Row>::new();
    let mut reasons = BTreeMap::<(String, String), Vec<String>>::new();
    let mut failures = Vec::new();
    for (Case { name, op, .. }, outcome) in cases.into_iter().zip(outcomes) {
        let row = table.entry(op.clone()).or_default();
        match outcome {
            Outcome::Passed { plain, beyond } => {
                row.passed += 1;
                row.plain = row.plain.max(plain);
                row.beyond = row.beyond.max(beyond);
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
        "{:32} {:>6} {:>11} {:>6} {:>7} {:>8}",
        "operator", "proven", "unsupported", "failed", "error %", "beyond %"
    );
    for (op, row) in &table {
        println!(
            "{op:32} {:>6} {:>11} {:>6} {:>7.3} {:>8.3}",
            row.passed,
            row.unsupported,
            row.failed,
            row.plain * 100.0,
            row.beyond * 100.0
        );
    }
    let sum = |f: fn(&Row) -> usize| table.values().map(f).sum::<usize>();
    let passed = sum(|r| r.passed);
    println!(
        "{:32} {passed:>6} {:>11} {:>6}",
        "all",
        sum(|r| r.unsupported),
        sum(|r| r.failed)
    );
    if std::env::var_os("ZKINFER_REASONS").is_some() {
        for ((op, reason), names) in &reasons {
            println!("{op}: {reason}: {}", names.join(" "));
        }
    }
    // What is refused cannot fail: that would be an easy way.
    assert!(chosen.is_some() || passed >= PASSED, "{passed} passed");
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
    if chosen.is_none() {
        let all = passed + sum(|r| r.unsupported);
        assert!(passed * 100 >= all * 85, "{passed} of {all} cases pass");
    }
}

/// Operators of a graph and of the graphs inside its nodes, as the index writes them.
fn operators_of(graph: &GraphProto, seen: &mut BTreeSet<String>) {
    for node in &graph.node {
        // ONNX Runtime writes some of its own as ONNX's.
        let foreign = node.domain.is_empty() && operators::find("", &node.op_type).is_none();
        let domain = if foreign {
            "com.microsoft"
        } else {
            &node.domain
        };
        seen.insert(match domain {
            "" | "ai.onnx" => node.op_type.clone(),
            domain => format!("{domain}.{}", node.op_type),
        });
        for body in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
            operators_of(body, seen);
        }
    }
}

#[test]
#[ignore = "reads the corpus, see docs/corpus.md"]
fn every_operator_that_is_built_has_a_case() {
    let Some(root) = corpus::corpus("conformance") else {
        return;
    };
    let cases = conformance::cases(&root).into_iter();
    let mut seen: BTreeSet<String> = cases.flat_map(|c| c.ops).collect();
    for folder in ["onnx", "recurrent"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(folder);
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|e| e == "onnx") {
                let model = ModelProto::decode(&*std::fs::read(path).unwrap()).unwrap();
                operators_of(&model.graph.unwrap_or_default(), &mut seen);
            }
        }
    }
    let name = |o: &Operator| match o.domain {
        "" => o.name.to_string(),
        domain => format!("{domain}.{}", o.name),
    };
    let built = OPERATORS.iter().filter(|o| o.is_built()).map(name);
    let missing: Vec<String> = built.filter(|o| !seen.contains(o)).collect();
    assert!(missing.is_empty(), "without a case: {missing:?}");
}
