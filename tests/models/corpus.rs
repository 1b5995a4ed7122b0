//! The product on whole models: import, quantization, every stored sample in integers, proof, verification.

use std::path::Path;

use crate::common::corpus;
use crate::common::proof::{Cost, prove_and_verify};
use zkinfer::quantize::{Report, evaluate};
use zkinfer::{Graph, QuantizeOptions, QuantizedModel, Samples};
use zkinfer_circuits::program::ProgramLimits;

/// Models that have to be proven, by their folder. A `*` at the end stands for any ending; every line has to match.
const REQUIRED: &[&str] = &[
    "ladder/mlp_ladder_*",
    "ladder/deepprove_*",
    "ladder/cnn_2_4_8_mnist",
    "ladder/vgg_cifar_300k",
    "ladder/resnet8_cifar",
    "trained/lenet5_mnist",
    "trained/cnn_bn_digits8",
    "trained/dscnn_relu6_mnist",
    "trained/mlp_digits_64_32_10",
    "trained/mlp_wine_bn_gelu",
    "trained/logreg_torch_breast_cancer",
    "trained/ae_anomaly_breast_cancer",
    "trained/conv_ae_mnist",
    "pretrained/zkml_mnist_cnn",
    "pretrained/cntk_mnist",
    "pretrained/mlperf_tiny_ad_autoencoder_fp32",
    "trained/siamese_digits",
    "classical/dtree_iris",
    "classical/gbdt_diabetes",
    "classical/hb_linearsvc_wine",
    "classical/hb_logreg_iris",
    "classical/hb_rf_iris_gemm",
    "quantized/mlp_digits_64_32_10*",
    "quantized/lenet5_mnist__qdq_u8i8",
    "export_variants/lenet5_mnist*",
    "export_variants/dscnn_relu6_mnist*",
    "export_variants/mlp_digits_64_32_10*",
    "export_variants/mlp_wine_bn_gelu*",
];

/// The same, where there may be none.
const OPTIONAL: &[&str] = &["export_variants/cnn_bn*", "export_variants/conv_ae*"];

/// Largest mean error of an output, over the range of that output.
const ERROR: f64 = 0.003;
/// Least fraction of samples with the same top class in floats and in integers.
const AGREEMENT: f64 = 0.99;
/// Largest difference of the accuracies in floats and in integers, up to the rounding of their quotient: one sample of 200
/// is allowed.
const ACCURACY: f64 = 0.005 + 1e-9;

fn matching(root: &Path, pattern: &str) -> Vec<String> {
    let (group, name) = pattern.split_once('/').expect("group/name");
    let fits = |found: &str| {
        name.strip_suffix('*')
            .map_or(found == name, |start| found.starts_with(start))
    };
    let folders = std::fs::read_dir(root.join(group))
        .into_iter()
        .flatten()
        .flatten();
    let names = folders
        .filter(|f| f.path().join("samples.npz").is_file())
        .map(|f| f.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names
        .filter(|n| fits(n))
        .map(|n| format!("{group}/{n}"))
        .collect();
    names.sort();
    names
}

struct Row {
    bits: u32,
    report: Report,
    cost: Cost,
}

fn model(folder: &Path, name: &str) -> Result<Row, Vec<String>> {
    let one = |step: &str, e: &dyn std::fmt::Display| vec![format!("{step}: {e}")];
    let bytes = std::fs::read(folder.join("network.onnx")).map_err(|e| one("read", &e))?;
    let graph = Graph::from_onnx(&bytes).map_err(|e| one("import", &e))?;
    let samples = Samples::load(folder.join("samples.npz"), &graph.input_lens())
        .map_err(|e| one("samples", &e))?;
    let options = QuantizeOptions::default();
    let model = graph
        .quantize(&samples.inputs, &options)
        .map_err(|e| one("quantize", &e))?;
    // Autoencoders' labels are not classes of their output.
    let classes = !name.contains("ae_") && !name.contains("autoencoder");
    let labels: Vec<usize> = samples
        .labels
        .iter()
        .flatten()
        .map(|&l| l as usize)
        .collect();
    let labels = if classes && labels.len() == samples.inputs.len() {
        &labels[..]
    } else {
        &[]
    };
    let mut report =
        evaluate(&graph, &model, &samples.inputs, labels).map_err(|e| one("evaluate", &e))?;
    if classes
        && graph
            .outputs
            .first()
            .is_some_and(|&o| graph.nodes[o].len() == 1)
    {
        two_classes(&graph, &model, &samples.inputs, labels, &mut report)
            .map_err(|e| one("evaluate", &e))?;
    }

    let mut wrong = Vec::new();
    for (sample, reason) in &report.out_of_range {
        wrong.push(format!("sample {sample} is out of range: {reason}"));
    }
    for output in report
        .outputs
        .iter()
        .filter(|o| o.relative_error.is_nan() || o.relative_error > ERROR)
    {
        wrong.push(format!(
            "output {:?}: mean error {:.3} %",
            output.name,
            output.relative_error * 100.0
        ));
    }
    if classes && report.top_class_agreement < AGREEMENT {
        wrong.push(format!(
            "top classes agree for {:.1} %",
            report.top_class_agreement * 100.0
        ));
    }
    if let (Some(float), Some(integer)) = (report.float_accuracy, report.integer_accuracy)
        && (float - integer).abs() > ACCURACY
    {
        wrong.push(format!(
            "accuracy {:.2} % in floats, {:.2} % in integers",
            float * 100.0,
            integer * 100.0
        ));
    }
    match prove_and_verify(model, name, &samples.inputs[0]) {
        Ok(cost) if wrong.is_empty() => Ok(Row {
            bits: options.bits(),
            report,
            cost,
        }),
        Ok(_) => Err(wrong),
        Err(e) => {
            wrong.push(e);
            Err(wrong)
        }
    }
}

/// A single output has no largest element: its class is whether the probability is above a half.
fn two_classes(
    graph: &Graph,
    model: &QuantizedModel,
    samples: &[Vec<Vec<f32>>],
    labels: &[usize],
    report: &mut Report,
) -> Result<(), Box<dyn std::error::Error>> {
    let expanded = model.program.expand(&ProgramLimits::default())?;
    let (mut agree, mut float, mut integer) = (0, 0, 0);
    for (i, sample) in samples.iter().enumerate() {
        let want = graph.outputs_of(&graph.run(sample)?)[0][0] > 0.5;
        let trace = model.run(&expanded, &model.quantize_inputs(sample, false)?)?;
        let got = model.dequantize_outputs(&expanded, &trace)?[0][0] > 0.5;
        let label = labels.get(i).map(|&l| l == 1);
        agree += usize::from(got == want);
        float += usize::from(label == Some(want));
        integer += usize::from(label == Some(got));
    }
    let fraction = |hits: usize| hits as f64 / samples.len() as f64;
    report.top_class_agreement = fraction(agree);
    report.float_accuracy = report.float_accuracy.map(|_| fraction(float));
    report.integer_accuracy = report.integer_accuracy.map(|_| fraction(integer));
    Ok(())
}

/// `ZKINFER_MODELS=group/name,…` proves other models than the required ones.
#[test]
#[ignore = "reads the corpus, see docs/corpus.md"]
fn required_models_are_proven_and_verified() {
    let Some(root) = corpus::corpus("models") else {
        return;
    };
    let mut failures = Vec::new();
    let chosen = std::env::var("ZKINFER_MODELS").ok();
    let patterns: Vec<&str> = match &chosen {
        Some(chosen) => chosen.split(',').collect(),
        None => REQUIRED.to_vec(),
    };
    let mut names = Vec::new();
    for pattern in patterns {
        let found = matching(&root, pattern);
        if found.is_empty() {
            failures.push(format!("{pattern}: no such model"));
        }
        names.extend(found);
    }
    if chosen.is_none() {
        names.extend(OPTIONAL.iter().flat_map(|pattern| matching(&root, pattern)));
    }
    println!(
        "{:52} {:>2} {:>2} {:>7} {:>7} {:>7} {:>15} {:>8} {:>9} {:>8} {:>8} {:>6}",
        "model",
        "T",
        "k",
        "columns",
        "error %",
        "agree %",
        "accuracy %",
        "prove ms",
        "verify ms",
        "proof B",
        "card B",
        "all s"
    );
    for name in &names {
        let start = std::time::Instant::now();
        match model(&root.join(name), name) {
            Ok(Row { bits, report, cost }) => {
                let error = report
                    .outputs
                    .iter()
                    .map(|o| o.relative_error)
                    .fold(0.0, f64::max);
                let accuracy = match (report.float_accuracy, report.integer_accuracy) {
                    (Some(f), Some(i)) => format!("{:.1} -> {:.1}", f * 100.0, i * 100.0),
                    _ => "-".into(),
                };
                println!(
                    "{name:52} {bits:>2} {:>2} {:>7} {:>7.4} {:>7.1} {accuracy:>15} {:>8.0} {:>9.1} {:>8} {:>8} {:>6.1}",
                    cost.k,
                    cost.columns,
                    error * 100.0,
                    report.top_class_agreement * 100.0,
                    cost.prove_ms,
                    cost.verify_ms,
                    cost.proof_bytes,
                    cost.card_bytes,
                    start.elapsed().as_secs_f64()
                );
            }
            Err(reasons) => {
                println!("{name:52} FAILED: {}", reasons.join("; "));
                failures.extend(reasons.iter().map(|r| format!("{name}: {r}")));
            }
        }
    }
    println!("{} models", names.len());
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
