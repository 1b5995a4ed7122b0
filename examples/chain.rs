//! Two proofs chained by a committed boundary: a network's scores are another network's input, and nobody but the
//! provers sees what flows between them.
//!
//! The boundary is one commitment: the output side of the first statement and the input side of the second.
//!
//! `cargo run --release --example chain`

use zkinfer::graph::{Activation, Graph, GraphNode, Linear, Op};
use zkinfer::{
    CommitOptions, Expected, Limits, QuantizeOptions, Samples, Secret, Side, SideVisibility,
    Visibility, public_input, public_output, verifier, verify_chain,
};
use zkinfer_circuits::program::View;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let digits = Graph::from_onnx(include_bytes!("data/digits.onnx"))?;
    let samples = Samples::from_npz(include_bytes!("data/digits.npz"), &digits.input_lens())?;
    let scores: Vec<Vec<Vec<f32>>> = samples
        .inputs
        .iter()
        .map(|s| Ok(digits.outputs_of(&digits.run(s)?)))
        .collect::<Result<_, zkinfer::graph::GraphError>>()?;

    // Both stages need the same k; the second one's input is the first one's output, integer for integer,
    // and the same bits.
    let options = CommitOptions::default().with_k(9);
    let first = digits.quantize(&samples.inputs, &QuantizeOptions::default())?;
    let (boundary, bits) = (first.outputs.clone(), first.program.range_bits);
    let first = Secret::commit_with(
        first,
        &options.clone().with_name("digits"),
        &mut zkinfer::rng(),
    )?;
    let chained = QuantizeOptions::default()
        .with_range_bits(bits)
        .with_inputs(boundary);
    let second = parity().quantize(&scores, &chained)?;
    let second = Secret::commit_with(
        second,
        &options.with_name("even or odd"),
        &mut zkinfer::rng(),
    )?;

    // First prover.
    let run = first.infer(&samples.inputs[0])?;
    let visibility = Visibility {
        output: SideVisibility::Committed,
        ..Visibility::default()
    };
    let proven_first = first.prove(&run, &visibility, b"job 1", &mut zkinfer::rng())?;
    let opening = proven_first
        .output
        .ok_or("a committed output has an opening")?;

    // Second prover: gets the integers and the opening.
    let integers = vec![run.output().iter().map(|&v| u32::from(v)).collect()];
    let run = second.infer_integers(&integers)?;
    let visibility = Visibility {
        input: SideVisibility::Opened(opening.clone()),
        ..Visibility::default()
    };
    let proven_second = second.prove(&run, &visibility, b"job 1", &mut zkinfer::rng())?;

    // Verifier: the same points on both sides of the boundary.
    let boundary = Side::Committed(opening.points);
    let (a, b) = (
        verifier(first.card().clone(), &Limits::default())?,
        verifier(second.card().clone(), &Limits::default())?,
    );
    // One call: both proofs, the same commitment in the same places, the same scales.
    let input = Some(public_input(a.card(), &samples.inputs[0])?);
    let (first, second) = (
        Expected {
            input,
            output: Some(boundary.clone()),
            context: b"job 1".to_vec(),
        },
        Expected {
            input: Some(boundary),
            output: None,
            context: b"job 1".to_vec(),
        },
    );
    let verdicts = verify_chain(&[
        (&a, &first, &proven_first.proof),
        (&b, &second, &proven_second.proof),
    ])?;
    let verdict = &verdicts[1];
    let answer = public_output(b.card(), &verdict.output)?.unwrap_or_default();
    println!(
        "both proofs hold; evidence for even and for odd: {:.2?}",
        answer[0]
    );
    Ok(())
}

/// Sums the positive scores of even and of odd digits.
fn parity() -> Graph {
    let node = |name: &str, op, inputs: Vec<usize>, len| GraphNode {
        name: name.into(),
        op,
        inputs,
        shape: vec![1, len],
        tie: None,
    };
    let weights = (0..2)
        .flat_map(|class| (0..10).map(move |digit| if digit % 2 == class { 1.0 } else { 0.0 }))
        .collect();
    let linear = Linear {
        groups: 1,
        outputs: 2,
        positions: 1,
        inputs: 10,
        patches: View::identity(10),
        weights,
        bias: vec![],
    };
    Graph {
        nodes: vec![
            node("scores", Op::Input, vec![], 10),
            node("positive", Op::Activation(Activation::Relu), vec![0], 10),
            node("parity", Op::Linear(linear), vec![1], 2),
        ],
        inputs: vec![0],
        outputs: vec![2],
        ..Graph::default()
    }
}
