//! How far every model of a folder gets: imported, quantized, within the metric, proven; and the first reason why not.
//!
//! ```text
//! cargo run --release --example survey -- path/to/models [group/name-prefix …]   # PROVE=1 also proves sample 0
//! ```
use std::path::Path;
use std::time::Instant;

use zkinfer::{Expected, Graph, Limits, QuantizeOptions, Samples, Visibility};
use zkinfer::{public_input, quantize::evaluate, verifier};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next().ok_or("which folder of models?")?;
    let prefixes: Vec<String> = arguments.collect();
    let prove = std::env::var_os("PROVE").is_some();
    let mut counts = [0usize; 5];
    let mut groups: Vec<_> = std::fs::read_dir(&root)?.flatten().collect();
    groups.sort_by_key(|g| g.file_name());
    for group in groups.iter().filter(|g| g.path().is_dir()) {
        let mut models: Vec<_> = std::fs::read_dir(group.path())?.flatten().collect();
        models.sort_by_key(|m| m.file_name());
        for model in models {
            let name = format!(
                "{}/{}",
                group.file_name().to_string_lossy(),
                model.file_name().to_string_lossy()
            );
            let chosen = prefixes.is_empty() || prefixes.iter().any(|p| name.starts_with(p));
            if !chosen || !model.path().join("network.onnx").is_file() {
                continue;
            }
            let clock = Instant::now();
            let (stage, text) = survey(&model.path(), &name, prove);
            counts[..=stage].iter_mut().for_each(|c| *c += 1);
            println!(
                "{stage} {name} {text} [{:.1} s]",
                clock.elapsed().as_secs_f64()
            );
        }
    }
    println!(
        "{} models, imported {}, quantized {}, proven {}, within the metric {}",
        counts[0], counts[1], counts[2], counts[3], counts[4]
    );
    Ok(())
}

/// The last stage that was reached (0 none, 1 imported, 2 quantized, 3 proven, 4 within the metric) and why not further.
fn survey(path: &Path, name: &str, prove: bool) -> (usize, String) {
    let mut stage = 0;
    match stages(path, name, prove, &mut stage) {
        Ok(text) => (stage, text),
        Err(e) => (stage, e.to_string()),
    }
}

fn stages(path: &Path, name: &str, prove: bool, stage: &mut usize) -> Result<String, Failure> {
    let graph = Graph::from_onnx(&std::fs::read(path.join("network.onnx"))?)?;
    *stage = 1;
    let samples = Samples::load(path.join("samples.npz"), &graph.input_lens())?;
    let model = graph.quantize(&samples.inputs, &QuantizeOptions::default())?;
    *stage = 2;
    let labels: Vec<usize> = samples
        .labels
        .iter()
        .flatten()
        .map(|&l| l as usize)
        .collect();
    let labels = if labels.len() == samples.inputs.len() {
        &labels[..]
    } else {
        &[]
    };
    let report = evaluate(&graph, &model, &samples.inputs, labels)?;
    let errors: Vec<f64> = report
        .outputs
        .iter()
        .map(|o| o.relative_error * 100.0)
        .collect();
    let neurons: usize = model
        .program
        .nodes
        .iter()
        .map(|n| match n {
            zkinfer_circuits::program::Node::Neurons(n) => n.len(),
            _ => 0,
        })
        .sum();
    let mut text = format!(
        "error % {errors:.3?} agree {:.1} % accuracy {:?} -> {:?} out of range {}/{} neurons {neurons}",
        report.top_class_agreement * 100.0,
        report.float_accuracy,
        report.integer_accuracy,
        report.out_of_range.len(),
        samples.inputs.len(),
    );
    if let Some((_, reason)) = report.out_of_range.first() {
        text += &format!(" ({reason})");
    }
    if prove {
        let secret = model.commit(&mut zkinfer::rng())?;
        let run = secret.infer(&samples.inputs[0])?;
        secret.prepare()?;
        let clock = Instant::now();
        let proven = secret.prove(&run, &Visibility::default(), b"survey", &mut zkinfer::rng())?;
        let prove_ms = clock.elapsed().as_secs_f64() * 1e3;
        let verifier = verifier(secret.card().clone(), &Limits::default())?;
        let expected = Expected {
            input: Some(public_input(verifier.card(), &samples.inputs[0])?),
            output: None,
            context: b"survey".to_vec(),
        };
        verifier.verify(&expected, &proven.proof)?;
        text += &format!(
            " k {} columns {} prove {prove_ms:.0} ms",
            secret.card().k,
            secret.plan().layout.columns.advice()
        );
    }
    *stage = 3;
    // Classifiers are judged by their accuracy, everything else by its error.
    let fine = match (report.float_accuracy, report.integer_accuracy) {
        (Some(f), Some(i)) if !name.contains("ae_") => (f - i).abs() <= 0.005 + 1e-9,
        _ => errors.iter().all(|e| *e <= 0.5),
    };
    if fine && report.out_of_range.is_empty() {
        *stage = 4;
    }
    Ok(text)
}
