//! Verification in another process: only bytes cross over, the card, the proof and what the verifier knows by itself.
//!
//! `cargo run --release --example verify_elsewhere`

use std::path::Path;
use std::process::Command;
use zkinfer::{
    Card, Expected, Graph, Limits, Proof, QuantizeOptions, Samples, Secret, Visibility,
    public_input, public_output, verifier,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    match std::env::args().nth(1) {
        Some(folder) => verify(Path::new(&folder)),
        None => prove(),
    }
}

fn samples() -> Result<Samples, Failure> {
    Ok(Samples::from_npz(include_bytes!("data/digits.npz"), &[64])?)
}

fn prove() -> Result<(), Failure> {
    let graph = Graph::from_onnx(include_bytes!("data/digits.onnx"))?;
    let samples = samples()?;
    let model = graph.quantize(&samples.inputs, &QuantizeOptions::default())?;
    let secret = Secret::commit(model, &mut zkinfer::rng())?;
    let run = secret.infer(&samples.inputs[2])?;
    let proof = secret
        .prove(
            &run,
            &Visibility::default(),
            b"from another process",
            &mut zkinfer::rng(),
        )?
        .proof;

    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("digits.card"), secret.card().to_bytes())?;
    std::fs::write(folder.path().join("run.proof"), proof.to_bytes())?;
    let status = Command::new(std::env::current_exe()?)
        .arg(folder.path())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("the other process rejected the proof".into())
    }
}

fn verify(folder: &Path) -> Result<(), Failure> {
    let clock = std::time::Instant::now();
    let limits = Limits::default();
    let card = Card::from_bytes(
        &std::fs::read(folder.join("digits.card"))?,
        limits.card_bytes,
    )?;
    let proof = Proof::from_bytes(
        &std::fs::read(folder.join("run.proof"))?,
        limits.proof_bytes,
    )?;
    let verifier = verifier(card, &limits)?;
    let input = Some(public_input(verifier.card(), &samples()?.inputs[2])?);
    let context = b"from another process".to_vec();
    let verdict = verifier.verify(
        &Expected {
            input,
            output: None,
            context,
        },
        &proof,
    )?;
    let scores = public_output(verifier.card(), &verdict.output)?.unwrap_or_default();
    println!(
        "verified in process {} after {:.0?}: scores {:.2?}",
        std::process::id(),
        clock.elapsed(),
        scores[0]
    );
    Ok(())
}
