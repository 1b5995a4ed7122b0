//! Writes cards and proofs as files, the same ones at every call: what `tests/fixtures` holds, and what the benchmark of
//! the verifier reads.
//!
//! ```text
//! cargo xtask fixtures -- folder name path/to/network.onnx path/to/samples.npz [proofs [segments]]
//! ```
//!
//! `name.card`; `name.model`, the owner's secret; `name_0.proof`, … with public sides and the input attached; `name_digest.proof`, which leaves the input to
//! the verifier; `name_hidden.proof` with both sides committed; `name_3.runs`, one proof of three runs. The context of
//! all is the name.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::path::Path;
use zkinfer::{CommitOptions, Graph, QuantizeOptions, Samples, Secret, SideVisibility, Visibility};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, name, network, samples, rest @ ..] = arguments.as_slice() else {
        return Err(
            "arguments: folder, name, network, samples, numbers of proofs and segments".into(),
        );
    };
    let proofs = rest.first().map_or(Ok(2), |n| n.parse())?;
    let segments = rest.get(1).map_or(Ok(1), |n| n.parse())?;
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)?;

    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let graph = Graph::from_onnx(&std::fs::read(network)?)?;
    let samples = Samples::load(samples, &graph.input_lens())?;
    let options = QuantizeOptions::default();
    let model = graph.quantize(&samples.inputs, &options)?;
    let commit = CommitOptions::default()
        .with_name(name)
        .with_segments(segments);
    let secret = Secret::commit_with(model, &commit, &mut rng)?;
    let write = |file: String, bytes: Vec<u8>| std::fs::write(folder.join(file), bytes);
    write(format!("{name}.card"), secret.card().to_bytes())?;
    write(format!("{name}.model"), secret.to_bytes()?)?;

    let attached = Visibility {
        attach_input: true,
        ..Visibility::default()
    };
    let hidden = Visibility {
        input: SideVisibility::Committed,
        output: SideVisibility::Committed,
        attach_input: false,
    };
    let sample = |i: usize| secret.infer(&samples.inputs[i % samples.inputs.len()]);
    let context = name.as_bytes();
    for i in 0..proofs {
        let proven = secret.prove(&sample(i)?, &attached, context, &mut rng)?;
        write(format!("{name}_{i}.proof"), proven.proof.to_bytes())?;
    }
    let proven = secret.prove(&sample(1)?, &Visibility::default(), context, &mut rng)?;
    write(format!("{name}_digest.proof"), proven.proof.to_bytes())?;
    let proven = secret.prove(&sample(2)?, &hidden, context, &mut rng)?;
    write(format!("{name}_hidden.proof"), proven.proof.to_bytes())?;
    let runs = [sample(0)?, sample(1)?, sample(2)?];
    let proven = secret.prove_runs(&runs, &attached, context, &mut rng)?;
    write(format!("{name}_3.runs"), proven.proof.to_bytes())?;
    Ok(())
}
