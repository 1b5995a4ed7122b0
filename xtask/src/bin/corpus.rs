//! Proves and verifies whole models and prints a table: accuracy, plan, times, sizes, memory.
//!
//! ```text
//! cargo xtask corpus -- path/to/model_folder …   # each with network.onnx and samples.npz
//! ```
use std::path::Path;
use std::time::Instant;
use zkinfer::data::Samples;
use zkinfer::graph::Graph;
use zkinfer::quantize::{QuantizeOptions, evaluate, quantize};
use zkinfer::secret::{Secret, Visibility};
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::verify::{Expected, Limits, Verifier};

type Failure = Box<dyn std::error::Error>;

fn main() {
    println!(
        "model k cells advice points prove_ms(best) cpu verify_ms card_ms proof_B card_B commit_ms err% top1% peak_MB"
    );
    for path in std::env::args().skip(1) {
        if let Err(e) = model(Path::new(&path)) {
            println!("{path}: {e}");
        }
    }
}

fn model(path: &Path) -> Result<(), Failure> {
    let graph = Graph::from_onnx(&std::fs::read(path.join("network.onnx"))?)?;
    let lens: Vec<usize> = graph.inputs.iter().map(|&i| graph.nodes[i].len()).collect();
    let samples = Samples::load(path.join("samples.npz"), &lens)?;
    let half = samples.inputs.len().div_ceil(2);
    let bits = std::env::var("BITS").ok().and_then(|b| b.parse().ok());
    let mut options = QuantizeOptions::default();
    options.range_bits = bits.or(options.range_bits);
    let model = quantize(&graph, &samples.inputs[..half], &options)?;
    let labels: Vec<usize> = samples
        .labels
        .iter()
        .flatten()
        .map(|&l| l as usize)
        .collect();
    let report = evaluate(
        &graph,
        &model,
        &samples.inputs,
        if labels.len() == samples.inputs.len() {
            &labels
        } else {
            &[]
        },
    )?;
    let mut rng = zkinfer::rng();
    let plan = zkinfer::plan::choose(&model.program, &Default::default())?;
    if std::env::var("PLAN").is_ok() {
        print!("{plan}");
    }
    let k = std::env::var("K")
        .ok()
        .and_then(|b| b.parse().ok())
        .unwrap_or(plan.k());
    let generators = zkinfer::generators::load(k)?;
    zkinfer::params::load(k)?;
    let clock = Instant::now();
    let secret = Secret::commit_with(
        model,
        &zkinfer::secret::CommitOptions::default().with_k(k),
        &mut rng,
    )?;
    let commit = clock.elapsed();
    let run = secret.infer(&samples.inputs[0])?;
    secret.prepare()?;
    let mut best: Option<(std::time::Duration, zkinfer::secret::Proven)> = None;
    let cpu = cpu_ms();
    for _ in 0..3 {
        let clock = Instant::now();
        let proven = secret.prove(&run, &Visibility::default(), b"nonce", &mut rng)?;
        let elapsed = clock.elapsed();
        if best.as_ref().is_none_or(|b| elapsed < b.0) {
            best = Some((elapsed, proven));
        }
    }
    let cpu = (cpu_ms() - cpu) / 3;
    let (prove, proven) = best.ok_or("no proof")?;
    let card = secret.card().clone();
    let card_bytes = card.to_bytes().len();
    let clock = Instant::now();
    let verifier = Verifier::new(card, generators, &Limits::default())?;
    let card_time = clock.elapsed();
    let expected = Expected {
        input: Some(Side::Public(run.input().to_vec())),
        output: None,
        context: b"nonce".to_vec(),
    };
    let mut verify = f64::MAX;
    let verify_cpu = cpu_ms();
    for _ in 0..5 {
        let clock = Instant::now();
        verifier.verify(&expected, &proven.proof)?;
        verify = verify.min(clock.elapsed().as_secs_f64() * 1e3);
    }
    let verify_cpu = (cpu_ms() - verify_cpu) / 5;
    let columns = &secret.segments()[0].plan().layout.columns;
    println!(
        "{} {k} {} {} {} {:.0} cpu {cpu} {:?} {verify:.1} cpu {verify_cpu} {:.0} {} {card_bytes} {:.0} {:?} {}",
        path.file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default(),
        columns.phase1(),
        columns.advice(),
        secret.card().points(),
        prove.as_secs_f64() * 1e3,
        proven.timings,
        card_time.as_secs_f64() * 1e3,
        proven.proof.to_bytes().len(),
        commit.as_secs_f64() * 1e3,
        report
            .outputs
            .iter()
            .map(|o| o.relative_error)
            .collect::<Vec<_>>(),
        peak_mb()
    );
    Ok(())
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    line.and_then(|l| l.split_whitespace().nth(1))
        .and_then(|v| v.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

/// CPU time of the process so far, user and system.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|f| f.parse().ok())
        .collect();
    fields.iter().sum::<u64>() * 10
}
