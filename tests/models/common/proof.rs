//! A proof as it is used: committed and proven on one side, bytes in between, verified on the other.

use std::time::Instant;

use zkinfer::{
    Card, CommitOptions, Expected, Limits, Proof, QuantizedModel, Rejection, Secret, Side,
    Visibility, public_input, public_output, verifier,
};

/// What a proof cost; not every test prints all of it.
#[allow(dead_code)]
pub struct Cost {
    pub k: u32,
    /// Advice columns.
    pub columns: usize,
    pub prove_ms: f64,
    pub verify_ms: f64,
    pub proof_bytes: usize,
    pub card_bytes: usize,
}

const CONTEXT: &[u8] = b"request 17";

/// Commits, proves the run on `sample`, and verifies from nothing but bytes and the sample; also checks that the verdict
/// holds the run's output and that another output is rejected.
pub fn prove_and_verify(
    model: QuantizedModel,
    name: &str,
    sample: &[Vec<f32>],
) -> Result<Cost, String> {
    let say = |step: &str, e: &dyn std::fmt::Display| format!("{step}: {e}");
    let options = CommitOptions::default().with_name(name);
    let secret =
        Secret::commit_with(model, &options, &mut zkinfer::rng()).map_err(|e| say("commit", &e))?;
    let run = secret.infer(sample).map_err(|e| say("infer", &e))?;
    secret.prepare().map_err(|e| say("keys", &e))?;
    let start = Instant::now();
    let proven = secret.prove(&run, &Visibility::default(), CONTEXT, &mut zkinfer::rng());
    let proof = proven.map_err(|e| say("prove", &e))?.proof.to_bytes();
    let prove_ms = start.elapsed().as_secs_f64() * 1e3;
    let card = secret.card().to_bytes();

    let limits = Limits::default();
    let decoded = Card::from_bytes(&card, limits.card_bytes).map_err(|e| say("card", &e))?;
    let verifier = verifier(decoded, &limits).map_err(|e| say("verifier", &e))?;
    let input = public_input(verifier.card(), sample).map_err(|e| say("input", &e))?;
    let expected = Expected {
        input: Some(input),
        output: None,
        context: CONTEXT.to_vec(),
    };
    let start = Instant::now();
    let decoded = Proof::from_bytes(&proof, limits.proof_bytes).map_err(|e| say("proof", &e))?;
    let verdict = verifier
        .verify(&expected, &decoded)
        .map_err(|e| say("verify", &e))?;
    let verify_ms = start.elapsed().as_secs_f64() * 1e3;

    if verdict.output != Side::Public(run.output().to_vec()) {
        return Err("the verdict holds another output than the run".into());
    }
    let real = public_output(verifier.card(), &verdict.output).map_err(|e| say("output", &e))?;
    if real.as_deref() != Some(run.outputs()) {
        return Err("the verdict's reals are not the run's".into());
    }
    // The proof claims its output; a verifier that expects another one refuses without looking at the proof, and a proof
    // that claims another one does not hold.
    let mut flipped = run.output().to_vec();
    let Some(last) = flipped.last_mut() else {
        return Err("no output".into());
    };
    *last ^= 1;
    let flipped = Side::Public(flipped);
    let other = Expected {
        output: Some(flipped.clone()),
        ..expected.clone()
    };
    if !matches!(
        verifier.verify(&other, &decoded),
        Err(Rejection::Statement { which: "output" })
    ) {
        return Err("an expected output that is not the proof's is accepted".into());
    }
    let mut lie = decoded;
    lie.runs[0].1 = flipped.full_claim();
    if verifier.verify(&expected, &lie).is_ok() || verifier.verify(&other, &lie).is_ok() {
        return Err("a proof that claims a flipped output is accepted".into());
    }
    Ok(Cost {
        k: verifier.card().k,
        columns: verifier.columns(),
        prove_ms,
        verify_ms,
        proof_bytes: proof.len(),
        card_bytes: card.len(),
    })
}
