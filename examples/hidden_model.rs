//! Hidden model, public input: the verifier learns the answer and which commitment it comes from, nothing about the weights.
//! Shows that two commitments to one model look different, and that a proof under one is refused under the other.
//!
//! `cargo run --release --example hidden_model`

use zkinfer::{
    Expected, Graph, Limits, QuantizeOptions, Rejection, Samples, Secret, Visibility, public_input,
    verifier,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let graph = Graph::from_onnx(include_bytes!("data/digits.onnx"))?;
    let samples = Samples::from_npz(include_bytes!("data/digits.npz"), &graph.input_lens())?;
    let model = graph.quantize(&samples.inputs, &QuantizeOptions::default())?;
    let monday = Secret::commit(model.clone(), &mut zkinfer::rng())?;
    let tuesday = Secret::commit(model, &mut zkinfer::rng())?;
    println!(
        "the same weights, committed twice:\n  {}\n  {}",
        monday.card().digest(),
        tuesday.card().digest()
    );

    let run = monday.infer(&samples.inputs[3])?;
    let proof = monday
        .prove(&run, &Visibility::default(), b"", &mut zkinfer::rng())?
        .proof;

    let expected = |card| -> Result<Expected, Box<dyn std::error::Error>> {
        Ok(Expected {
            input: Some(public_input(card, &samples.inputs[3])?),
            ..Expected::default()
        })
    };
    let verifier_monday = verifier(monday.card().clone(), &Limits::default())?;
    verifier_monday.verify(&expected(verifier_monday.card())?, &proof)?;
    println!("valid for the first");
    let verifier_tuesday = verifier(tuesday.card().clone(), &Limits::default())?;
    match verifier_tuesday.verify(&expected(verifier_tuesday.card())?, &proof) {
        Err(Rejection::Model { .. }) => println!("refused for the second: another commitment"),
        other => return Err(format!("expected a rejection, found {other:?}").into()),
    }
    Ok(())
}
