//! A proof in twenty lines: import, quantize, commit, prove, verify.
//!
//! `cargo run --release --example quickstart`

use zkinfer::{
    Expected, Graph, Limits, QuantizeOptions, Samples, Secret, Visibility, public_input,
    public_output, verifier,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let graph = Graph::from_onnx(include_bytes!("data/digits.onnx"))?;
    let samples = Samples::from_npz(include_bytes!("data/digits.npz"), &graph.input_lens())?;
    let model = graph.quantize(&samples.inputs, &QuantizeOptions::default())?;
    let secret = Secret::commit(model, &mut zkinfer::rng())?;

    let run = secret.infer(&samples.inputs[0])?;
    let proof = secret
        .prove(&run, &Visibility::default(), b"nonce", &mut zkinfer::rng())?
        .proof;

    let verifier = verifier(secret.card().clone(), &Limits::default())?;
    let input = Some(public_input(verifier.card(), &samples.inputs[0])?);
    let verdict = verifier.verify(
        &Expected {
            input,
            output: None,
            context: b"nonce".to_vec(),
        },
        &proof,
    )?;
    let scores = public_output(verifier.card(), &verdict.output)?.unwrap_or_default();
    println!(
        "model {}\nscores {:.2?}\nproof {} bytes",
        verdict.card,
        scores[0],
        proof.to_bytes().len()
    );
    Ok(())
}
