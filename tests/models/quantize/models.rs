//! Whole models of the corpus.

use crate::common::corpus::corpus;
use std::collections::BTreeMap;
use std::path::Path;
use zkinfer::data::Samples;
use zkinfer::graph::Graph;
use zkinfer::model::QuantizedModel;
use zkinfer::quantize::{QuantizeOptions, Report, evaluate, quantize};
use zkinfer_circuits::program::Node;

/// The models that quantization must take with 12 bits: mean output error at most 0.3 % of the output range, the same top
/// class for at least 99 % of the samples.
const MODELS: &[&str] = &[
    "ladder/mlp_ladder_1k",
    "ladder/mlp_ladder_10k",
    "ladder/mlp_ladder_100k",
    "ladder/mlp_ladder_1m",
    "ladder/mlp_ladder_4m",
    "ladder/deepprove_cnn_62k",
    "ladder/deepprove_cnn_264k",
    "ladder/deepprove_mlp_d5_w100",
    "ladder/deepprove_mlp_d5_w1000_4m",
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
];

/// Quantizes with the first half of the stored samples and evaluates on all.
fn corpus_report(path: &Path, bits: u32) -> Result<(QuantizedModel, Report), String> {
    let bytes = std::fs::read(path.join("network.onnx")).map_err(|e| e.to_string())?;
    let graph = Graph::from_onnx(&bytes).map_err(|e| e.to_string())?;
    let samples = Samples::load(path.join("samples.npz"), &graph.input_lens())
        .map_err(|e| e.to_string())?
        .inputs;
    let calibration = &samples[..samples.len().div_ceil(2)];
    let options = QuantizeOptions::default().with_range_bits(bits);
    let model = quantize(&graph, calibration, &options).map_err(|e| e.to_string())?;
    let report = evaluate(&graph, &model, &samples, &[]).map_err(|e| e.to_string())?;
    Ok((model, report))
}

#[test]
#[ignore = "reads the corpus, see docs/corpus.md"]
fn corpus_models() {
    let Some(models) = corpus("models") else {
        return;
    };
    let chosen = std::env::var("ZKINFER_MODELS").ok();
    let names: Vec<&str> = chosen
        .as_deref()
        .map_or_else(|| MODELS.to_vec(), |c| c.split(',').collect());
    let all_bits = std::env::var("ZKINFER_BITS").map_or(vec![12], |b| {
        b.split(',').map(|b| b.parse().expect("bits")).collect()
    });
    let detail = std::env::var("ZKINFER_DETAIL").is_ok();
    let mut failures = Vec::new();
    for name in names {
        for &bits in &all_bits {
            let start = std::time::Instant::now();
            let (model, report) = match corpus_report(&models.join(name), bits) {
                Ok(done) => done,
                Err(e) => {
                    eprintln!("{name:42} T={bits} {e}");
                    failures.push(name.to_owned());
                    continue;
                }
            };
            let error = report
                .outputs
                .iter()
                .map(|o| o.relative_error)
                .fold(0.0, f64::max);
            let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
            for node in &model.program.nodes {
                if let Node::Neurons(n) = node {
                    let u = &n.unit;
                    let kind = format!(
                        "{}{}{}{}",
                        ["", "low "][usize::from(u.low)],
                        ["", "high "][usize::from(u.high)],
                        u.window,
                        ["", " table"][usize::from(!u.tables.is_empty())]
                    );
                    *kinds.entry(kind).or_default() += n.len();
                }
            }
            eprintln!(
                "{name:42} T={bits} samples {:3} out of range {:2} error {:.3} % (max {:.4} of {:.3}) agree {:.1} % neurons {kinds:?} {:.1} s",
                report.samples,
                report.out_of_range.len(),
                error * 100.0,
                report
                    .outputs
                    .iter()
                    .map(|o| o.max_error)
                    .fold(0.0, f64::max),
                report.outputs.iter().map(|o| o.range).fold(0.0, f64::max),
                report.top_class_agreement * 100.0,
                start.elapsed().as_secs_f64(),
            );
            for (sample, reason) in report.out_of_range.iter().take(3) {
                eprintln!("    sample {sample}: {reason}");
            }
            if detail {
                for l in &report.layers {
                    eprintln!(
                        "    {:30} {:12} {:6} step {:.2e}..{:.2e} range {:.3?} fill {:.2} error {:.3} %",
                        l.name,
                        l.unit,
                        l.neurons,
                        l.scale_min,
                        l.scale_max,
                        l.calibrated,
                        l.fill,
                        l.relative_error * 100.0
                    );
                }
            }
            // Autoencoders have no classes.
            let classes = !name.contains("ae_") && !name.contains("autoencoder");
            let agrees = !classes || report.top_class_agreement >= 0.99;
            // Known gap: two of this model's samples are anomalies, up to 9 standard deviations out, that half of the data
            // does not prepare for. They are refused with an error.
            let refused = if *name == *"trained/ae_anomaly_breast_cancer" {
                2
            } else {
                0
            };
            let good = report.out_of_range.len() <= refused && error <= 0.003 && agrees;
            if bits == 12 && !good {
                failures.push(name.to_owned());
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}
