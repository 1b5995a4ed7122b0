//! Private input: the statement holds a hiding commitment to the input, the output is public. The commitment can be
//! published beforehand (by whoever owns the input) and used for several models or several proofs.
//!
//! `cargo run --release --example private_input`

use zkinfer::{
    Expected, Graph, Limits, QuantizeOptions, Samples, Secret, Side, SideVisibility, Visibility,
    public_output, verifier,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let graph = Graph::from_onnx(include_bytes!("data/digits.onnx"))?;
    let samples = Samples::from_npz(include_bytes!("data/digits.npz"), &graph.input_lens())?;
    let model = graph.quantize(&samples.inputs, &QuantizeOptions::default())?;
    let secret = Secret::commit(model, &mut zkinfer::rng())?;
    let run = secret.infer(&samples.inputs[1])?;

    let visibility = Visibility {
        input: SideVisibility::Committed,
        ..Visibility::default()
    };
    let first = secret.prove(&run, &visibility, b"first", &mut zkinfer::rng())?;
    let opening = first.input.ok_or("a committed input has an opening")?;
    println!(
        "committed input: {} point(s); its opening stays with the prover",
        opening.points.len()
    );

    // A second proof about the same commitment.
    let visibility = Visibility {
        input: SideVisibility::Opened(opening.clone()),
        ..Visibility::default()
    };
    let second = secret.prove(&run, &visibility, b"second", &mut zkinfer::rng())?;

    let verifier = verifier(secret.card().clone(), &Limits::default())?;
    for (context, proof) in [
        (b"first".as_slice(), &first.proof),
        (b"second", &second.proof),
    ] {
        let input = Some(Side::Committed(opening.points.clone()));
        let verdict = verifier.verify(
            &Expected {
                input,
                output: None,
                context: context.to_vec(),
            },
            proof,
        )?;
        let scores = public_output(verifier.card(), &verdict.output)?.unwrap_or_default();
        println!(
            "{}: scores {:.2?}",
            String::from_utf8_lossy(context),
            scores[0]
        );
    }
    Ok(())
}
