//! What it saves that the steps of a loop share their weights: the same model with and without ties.
//!
//! ```text
//! cargo xtask steps -- path/to/model-folder …
//! ```
use std::path::Path;
use std::time::Instant;

use zkinfer::{Expected, Graph, Limits, QuantizeOptions, Samples, Secret, Visibility};
use zkinfer::{public_input, quantize::evaluate, verifier};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    println!(
        "model, steps tied, error %, points, card bytes, k, commit ms, register ms, prove ms, verify ms, proof bytes"
    );
    for folder in std::env::args().skip(1) {
        let folder = Path::new(&folder);
        let tied = Graph::from_onnx(&std::fs::read(folder.join("network.onnx"))?)?;
        let mut untied = tied.clone();
        untied.nodes.iter_mut().for_each(|n| n.tie = None);
        let samples = Samples::load(folder.join("samples.npz"), &tied.input_lens())?;
        for (graph, label) in [(&untied, "no"), (&tied, "yes")] {
            let line = measure(graph, &samples.inputs)?;
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            println!("{name}, {label}, {line}");
        }
    }
    Ok(())
}

fn measure(graph: &Graph, samples: &[Vec<Vec<f32>>]) -> Result<String, Failure> {
    let model = graph.quantize(samples, &QuantizeOptions::default())?;
    let report = evaluate(graph, &model, samples, &[])?;
    let error = 100.0 * report.outputs.first().map_or(0.0, |o| o.relative_error);
    let time = |clock: Instant| clock.elapsed().as_secs_f64() * 1e3;
    let clock = Instant::now();
    let secret = Secret::commit(model, &mut zkinfer::rng())?;
    let commit = time(clock);
    let card = secret.card().to_bytes().len();
    let clock = Instant::now();
    let verifier = verifier(secret.card().clone(), &Limits::default())?;
    let register = time(clock);
    let input = Some(public_input(verifier.card(), &samples[0])?);
    let expected = Expected {
        input,
        output: None,
        context: b"steps".to_vec(),
    };
    let run = secret.infer(&samples[0])?;
    secret.prepare()?;
    let (mut prove, mut verify, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..5 {
        let clock = Instant::now();
        let proven = secret.prove(&run, &Visibility::default(), b"steps", &mut zkinfer::rng())?;
        prove.push(time(clock));
        bytes = proven.proof.to_bytes().len();
        let clock = Instant::now();
        verifier.verify(&expected, &proven.proof)?;
        verify.push(time(clock));
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    Ok(format!(
        "{error:.3}, {}, {card}, {}, {commit:.0}, {register:.0}, {:.0}, {:.1}, {bytes}",
        secret.card().points(),
        secret.card().k,
        median(&mut prove),
        median(&mut verify),
    ))
}
