//! The importer against stored outputs: whole models, single operators, damaged files.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::common::conformance::{self, Case, Loaded, NotLoaded};
use crate::common::corpus::{corpus, relative_error};
use zkinfer::data::{DataError, Samples};
use zkinfer::graph::{Graph, Op};
use zkinfer::onnx::{ImportError, ImportOptions};

const MODELS: &[&str] = &[
    "ladder/mlp_ladder_1k",
    "ladder/mlp_ladder_10k",
    "ladder/mlp_ladder_100k",
    "ladder/mlp_ladder_1m",
    "ladder/mlp_ladder_4m",
    "ladder/deepprove_mlp_d5_w100",
    "ladder/deepprove_mlp_d5_w1000_4m",
    "ladder/deepprove_cnn_62k",
    "ladder/deepprove_cnn_264k",
    "ladder/cnn_2_4_8_mnist",
    "ladder/vgg_cifar_300k",
    "ladder/resnet8_cifar",
    "ladder/resnet20_cifar",
    "ladder/mobilenet_v1_025_96",
    "trained/lenet5_mnist",
    "trained/cnn_bn_digits8",
    "trained/dscnn_relu6_mnist",
    "trained/mlp_digits_64_32_10",
    "trained/mlp_wine_bn_gelu",
    "trained/logreg_torch_breast_cancer",
    "trained/ae_anomaly_breast_cancer",
    "trained/conv_ae_mnist",
    "trained/tcn_dir_eth",
    "pretrained/zkml_mnist_cnn",
    "pretrained/cntk_mnist",
    "pretrained/mlperf_tiny_ad_autoencoder_fp32",
];

/// Most samples per model.
const SAMPLES: usize = 20;

const VARIANTS_OF: &[&str] = &["lenet5", "dscnn", "mlp_digits", "mlp_wine"];

fn operators(graph: &Graph) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &graph.nodes {
        let name = match &node.op {
            Op::Input => "Input",
            Op::Constant(_) => "Constant",
            Op::View(_) => "View",
            Op::Concat => "Concat",
            Op::Linear(_) => "Linear",
            Op::Affine { .. } => "Affine",
            Op::Add => "Add",
            Op::Activation(_) => "Activation",
            Op::Max { .. } => "Max",
            Op::Sum { .. } => "Sum",
            Op::Softmax { .. } => "Softmax",
            _ => "other",
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
        .iter()
        .map(|(k, v)| format!("{k} {v}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Imports a model and runs its samples: worst error over the outputs' ranges, and a line to print.
fn compare(folder: &std::path::Path) -> Result<(f64, String), ImportError> {
    let bytes = std::fs::read(folder.join("network.onnx")).expect("a model");
    let start = Instant::now();
    let mut graph = Graph::from_onnx(&bytes)?;
    let import = start.elapsed();
    let load = |graph: &Graph| Samples::load(folder.join("samples.npz"), &graph.input_lens());
    let mut samples = load(&graph);
    if let Err(DataError::Shape {
        expected, found, ..
    }) = &samples
    {
        // A free first dimension of which the samples have several.
        let options = ImportOptions {
            batch: Some(found / expected),
            ..ImportOptions::default()
        };
        graph = Graph::from_onnx_with(&bytes, &options)?;
        samples = load(&graph);
    }
    let samples = samples.expect("samples");
    let outputs = samples.outputs.expect("outputs");
    let inputs = &samples.inputs[..samples.inputs.len().min(SAMPLES)];
    let start = Instant::now();
    let got: Vec<_> = inputs
        .iter()
        .map(|x| graph.outputs_of(&graph.run(x).expect("a run")))
        .collect();
    let run = start.elapsed() / inputs.len() as u32;
    // Labels come first, and those that are texts may not be stored.
    let stored = outputs[0].iter().rev().filter(|o| !o.is_empty()).count();
    let pairs = |o: usize| {
        let last = move |y: &'_ Vec<Vec<f32>>| y.len() - 1 - o;
        got.iter()
            .zip(&outputs)
            .map(move |(g, w)| (g[last(g)].as_slice(), w[last(w)].as_slice()))
    };
    let worst = (0..graph.outputs.len().min(stored))
        .map(|o| relative_error(pairs(o)))
        .fold(0.0, f64::max);
    Ok((
        worst,
        format!(
            "error {worst:.1e}, import {import:.0?}, run {run:.1?}; {}",
            operators(&graph)
        ),
    ))
}

/// Largest accepted error, over the range of the outputs.
const TOLERANCE: f64 = 1e-3;
/// The same for int8 models: values at a rounding boundary differ by a level between implementations, and dynamic
/// quantization is left out.
const LEVELS: f64 = 0.1;

/// All models of the corpus: the listed ones must be imported, and whatever is imported must be right.
#[test]
#[ignore = "reads the corpus, see docs/corpus.md"]
fn corpus_models_match_stored_outputs() {
    let Some(root) = corpus("models") else { return };
    let mut names = Vec::new();
    for group in std::fs::read_dir(&root)
        .expect("a folder")
        .flatten()
        .filter(|g| g.path().is_dir())
    {
        let models = std::fs::read_dir(group.path()).expect("a folder").flatten();
        let models = models.filter(|m| m.path().join("samples.npz").is_file());
        names.extend(models.map(|m| {
            format!(
                "{}/{}",
                group.file_name().to_string_lossy(),
                m.file_name().to_string_lossy()
            )
        }));
    }
    names.sort();
    let variant = |name: &str| {
        name.strip_prefix("export_variants/")
            .is_some_and(|n| VARIANTS_OF.iter().any(|v| n.starts_with(v)))
    };
    let (mut failures, mut imported) = (Vec::new(), 0);
    for name in &names {
        let required = MODELS.contains(&name.as_str()) || variant(name);
        match compare(&root.join(name)) {
            Ok((worst, line)) => {
                println!("{name}: {line}");
                imported += 1;
                let tolerance = if name.contains("i8") || name.contains("int8") {
                    LEVELS
                } else {
                    TOLERANCE
                };
                if worst > tolerance {
                    failures.push(name);
                }
            }
            Err(error) => {
                println!("{name}: not imported: {error}");
                if required {
                    failures.push(name);
                }
            }
        }
    }
    println!("{imported} of {} models imported", names.len());
    assert!(failures.is_empty(), "{failures:?}");
}

/// Why a conformance case was not run.
fn reason(error: &ImportError) -> String {
    match error {
        ImportError::Unsupported { reason, .. } => reason.chars().take(90).collect(),
        other => other.to_string().chars().take(90).collect(),
    }
}

/// ONNX's own tolerance, for outputs of any scale.
fn close(got: &[f32], want: &[f32]) -> bool {
    let same = |g: f32, w: f32| {
        g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= 1e-3 * w.abs() + 1e-5
    };
    got.len() == want.len() && got.iter().zip(want).all(|(g, w)| same(*g, *w))
}

/// Operators whose cases all have to be imported (not only: not be wrong).
const REQUIRED: &[&str] = &[
    "Gemm",
    "Conv",
    "BatchNormalization",
    "Relu",
    "LeakyRelu",
    "Sigmoid",
    "Tanh",
];

/// Cases of which ONNX's reference computes something else than ONNX Runtime and PyTorch, which are followed: it spreads corners
/// over the fractional length of the output instead of over its elements.
const OTHERWISE: [&str; 1] = ["test_resize_downsample_scales_linear_align_corners"];

#[test]
#[ignore = "reads the corpus, see docs/corpus.md"]
fn conformance_cases() {
    let Some(root) = corpus("conformance") else {
        return;
    };
    let (mut table, mut failed, mut reasons) = (
        BTreeMap::<String, [usize; 3]>::new(),
        Vec::new(),
        BTreeMap::new(),
    );
    for Case {
        name, op, folder, ..
    } in conformance::cases(&root)
    {
        let row = table.entry(op.clone()).or_default();
        let Loaded {
            graph,
            inputs,
            outputs,
        } = match conformance::load(&folder) {
            Ok(loaded) => loaded,
            Err(NotLoaded::Tensors | NotLoaded::NotFinite) => {
                row[1] += 1;
                continue;
            }
            Err(NotLoaded::Import(error)) => {
                row[1] += 1;
                reasons
                    .entry((op, reason(&error)))
                    .or_insert_with(Vec::new)
                    .push(name);
                continue;
            }
        };
        if graph.outputs.len() < outputs.len() {
            row[1] += 1;
            continue;
        }
        if OTHERWISE.iter().any(|start| name.starts_with(start)) {
            row[1] += 1;
            continue;
        }
        let result = graph.run(&inputs).map(|v| graph.outputs_of(&v));
        let good = match &result {
            Ok(got) => {
                got.len() == outputs.len() && got.iter().zip(&outputs).all(|(g, w)| close(g, w))
            }
            Err(_) => false,
        };
        row[if good { 0 } else { 2 }] += 1;
        if !good {
            failed.push(name.to_string());
            println!(
                "FAILED {name}: {:?}",
                result.map(|r| r
                    .iter()
                    .map(|v| v.iter().take(4).copied().collect::<Vec<_>>())
                    .collect::<Vec<_>>())
            );
            println!(
                "        want {:?}",
                outputs
                    .iter()
                    .map(|v| v.iter().take(4).copied().collect::<Vec<_>>())
                    .collect::<Vec<_>>()
            );
        }
    }
    println!(
        "{:32} {:>6} {:>11} {:>6}",
        "operator", "passed", "unsupported", "failed"
    );
    for (op, [passed, unsupported, failed]) in &table {
        println!("{op:32} {passed:>6} {unsupported:>11} {failed:>6}");
    }
    let sum = |k: usize| table.values().map(|r| r[k]).sum::<usize>();
    println!("{:32} {:>6} {:>11} {:>6}", "all", sum(0), sum(1), sum(2));
    if std::env::var_os("ZKINFER_REASONS").is_some() {
        for ((op, reason), names) in &reasons {
            println!("{op}: {reason}: {}", names.join(" "));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
    for op in REQUIRED {
        assert!(
            table.get(*op).is_some_and(|r| r[0] > 0),
            "{op} was not imported at all"
        );
    }
}
