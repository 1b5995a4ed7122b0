//! What proving costs as models grow: the same activations with more weights, and the same weights with more
//! activations. Prints a table; `cargo run --release --example sweep`.

#[path = "../benches/common/models.rs"]
mod models;

use std::time::Instant;
use zkinfer::graph::{Graph, Op};
use zkinfer::{Expected, Limits, QuantizeOptions, Side, Visibility, verifier};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    println!(
        "{:<34} {:>9} {:>11} {:>3} {:>7} {:>10} {:>8} {:>8}",
        "model", "weights", "activations", "k", "columns", "prove (ms)", "fold (ms)", "verify"
    );
    println!("dense, 256 activations, growing inputs");
    for inputs in [16, 64, 256, 1024, 4096] {
        measure(
            format!("{inputs}-128-128-10"),
            &models::mlp(&[inputs, 128, 128, 10]),
        )?;
    }
    println!("dense, growing width");
    for width in [32, 128, 512, 1024] {
        measure(
            format!("64-{width}-{width}-10"),
            &models::mlp(&[64, width, width, 10]),
        )?;
    }
    println!("convolutions, 592 weights in 3x3 kernels, growing image");
    for size in [8, 16, 24, 32] {
        measure(
            format!("{size}x{size}, channels 1-6-10"),
            &models::cnn(size, &[1, 6, 10]),
        )?;
    }
    println!("convolutions, 8x8 image, growing channels");
    for channels in [4, 8, 16, 32] {
        measure(
            format!("8x8, channels 3-{channels}-{channels}"),
            &models::cnn(8, &[3, channels, channels]),
        )?;
    }
    Ok(())
}

fn measure(name: String, graph: &Graph) -> Result<(), Failure> {
    let samples = models::samples(graph, 8);
    let secret = graph
        .quantize(&samples, &QuantizeOptions::default())?
        .commit(&mut zkinfer::rng())?;
    secret.prepare()?;
    let run = secret.infer(&samples[0])?;
    let mut best = f64::MAX;
    let mut fold = f64::MAX;
    let mut proof = None;
    for _ in 0..3 {
        let clock = Instant::now();
        let proven = secret.prove(&run, &Visibility::default(), b"", &mut zkinfer::rng())?;
        best = best.min(clock.elapsed().as_secs_f64() * 1e3);
        fold = fold.min(proven.timings.fold.as_secs_f64() * 1e3);
        proof = Some(proven.proof);
    }
    let verifier = verifier(secret.card().clone(), &Limits::default())?;
    let expected = Expected {
        input: Some(Side::Public(run.input().to_vec())),
        ..Expected::default()
    };
    let proof = proof.ok_or("no proof")?;
    let mut verify = f64::MAX;
    for _ in 0..3 {
        let clock = Instant::now();
        verifier.verify(&expected, &proof)?;
        verify = verify.min(clock.elapsed().as_secs_f64() * 1e3);
    }
    let layout = &secret.plan().layout;
    println!(
        "{name:<34} {:>9} {:>11} {:>3} {:>7} {best:>10.0} {fold:>8.2} {verify:>8.1}",
        parameters(graph),
        activations(graph),
        layout.k,
        layout.columns.advice(),
    );
    Ok(())
}

/// Weights of a graph.
fn parameters(graph: &Graph) -> usize {
    graph
        .nodes
        .iter()
        .map(|n| {
            if let Op::Linear(l) = &n.op {
                l.weights.len() + l.bias.len()
            } else {
                0
            }
        })
        .sum()
}

/// Elements that pass through a non-linearity.
fn activations(graph: &Graph) -> usize {
    graph
        .nodes
        .iter()
        .map(|n| {
            if let Op::Activation(_) = &n.op {
                n.len()
            } else {
                0
            }
        })
        .sum()
}
