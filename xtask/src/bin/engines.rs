//! The engines side by side: the same plan and the same runs, medians of wall and CPU time, peak memory, and whether the
//! bytes are equal.
//!
//! ```text
//! cargo xtask engines -- [--rounds N] [--runs N] path/to/model_folder …   # network.onnx, samples.npz
//! ```
//! `--runs N` proves N runs in one proof. Memory is that of a process of its own for every engine: what the peak of the
//! resident set grows by while the key is made and one proof is made.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zkinfer::data::Samples;
use zkinfer::graph::Graph;
use zkinfer::{Engine, QuantizeOptions, Run, Secret, Timings, Visibility};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let (mut rounds, mut runs, mut memory_of) = (5, 1, None);
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--rounds" => rounds = value()?.parse::<usize>()?.max(1),
            "--runs" => runs = value()?.parse::<usize>()?.max(1),
            "--memory-of" => memory_of = Some(value()?.parse::<Engine>()?),
            _ => folders.push(arg.into()),
        }
    }
    if let (Some(engine), Some(folder)) = (memory_of, folders.first()) {
        println!("{}", memory(folder, engine, runs)?);
        return Ok(());
    }
    println!("| model | k | engine | wall ms | CPU ms | times less CPU | peak MB | equal bytes |");
    println!("|---|---|---|---|---|---|---|---|");
    for folder in &folders {
        if let Err(e) = compare(folder, rounds, runs) {
            println!("{}: {e}", folder.display());
        }
    }
    Ok(())
}

fn committed(folder: &Path, runs: usize) -> Result<(Secret, Vec<Run>), Failure> {
    let graph = Graph::from_onnx(&std::fs::read(folder.join("network.onnx"))?)?;
    let samples = Samples::load(folder.join("samples.npz"), &graph.input_lens())?;
    let model = graph.quantize(&samples.inputs, &QuantizeOptions::default())?;
    let secret = Secret::commit(model, &mut ChaCha20Rng::seed_from_u64(1))?;
    let runs = (0..runs)
        .map(|i| secret.infer(&samples.inputs[i % samples.inputs.len()]))
        .collect::<Result<_, _>>()?;
    Ok((secret, runs))
}

fn prove(secret: &Secret, runs: &[Run]) -> Result<(Vec<u8>, Timings), Failure> {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let visibility = Visibility::default();
    Ok(match runs {
        [run] => {
            let proven = secret.prove(run, &visibility, b"", &mut rng)?;
            (proven.proof.to_bytes(), proven.timings)
        }
        _ => {
            let proven = secret.prove_runs(runs, &visibility, b"", &mut rng)?;
            (proven.proof.to_bytes(), proven.timings)
        }
    })
}

fn compare(folder: &Path, rounds: usize, runs: usize) -> Result<(), Failure> {
    let engines = Engine::available();
    let mut secrets = Vec::new();
    for engine in &engines {
        let (secret, runs) = committed(folder, runs)?;
        let secret = secret.with_engine(*engine);
        secret.prepare()?;
        prove(&secret, &runs)?; // warm
        secrets.push((secret, runs));
    }
    let mut wall = vec![Vec::new(); engines.len()];
    let mut cpu = vec![Vec::new(); engines.len()];
    let mut parts = vec![Vec::new(); engines.len()];
    let mut proofs = vec![Vec::new(); engines.len()];
    for _ in 0..rounds {
        for (i, (secret, runs)) in secrets.iter().enumerate() {
            let (clock, before) = (Instant::now(), cpu_time());
            let (proof, timings) = prove(secret, runs)?;
            wall[i].push(clock.elapsed());
            cpu[i].push(cpu_time() - before);
            parts[i].push(timings);
            proofs[i] = proof;
        }
    }
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let reference = median(&cpu[engines.len() - 1]);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    for (i, engine) in engines.iter().enumerate() {
        println!(
            "| {name} | {} | {engine} | {:.1} | {:.1} | {:.1} | {} | {} |",
            secrets[i].0.card().k,
            median(&wall[i]),
            median(&cpu[i]),
            reference / median(&cpu[i]),
            child_memory(folder, *engine, runs).unwrap_or_else(|| "-".into()),
            if proofs[i] == proofs[engines.len() - 1] {
                "yes"
            } else {
                "NO"
            },
        );
    }
    if std::env::var("PARTS").is_ok() {
        for (i, engine) in engines.iter().enumerate() {
            let part =
                |f: fn(&Timings) -> Duration| median(&parts[i].iter().map(f).collect::<Vec<_>>());
            println!(
                "  {engine}: witness {:.1}, phase 1 {:.1}, fold {:.1}, phase 2 {:.1}, phase 3 {:.1}, halo2 {:.1}, link {:.1} ms",
                part(|t| t.witness),
                part(|t| t.phase1),
                part(|t| t.fold),
                part(|t| t.phase2),
                part(|t| t.phase3),
                part(|t| t.halo2),
                part(|t| t.link),
            );
        }
    }
    Ok(())
}

/// Growth of the peak while one engine makes its key and a proof.
fn memory(folder: &Path, engine: Engine, runs: usize) -> Result<String, Failure> {
    let (secret, runs) = committed(folder, runs)?;
    // Forget the peak of importing and committing.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = status("VmRSS:")?;
    let secret = secret.with_engine(engine);
    prove(&secret, &runs)?;
    Ok(format!("{:.0}", (status("VmHWM:")? - before) / 1024.0))
}

fn child_memory(folder: &Path, engine: Engine, runs: usize) -> Option<String> {
    let output = std::process::Command::new(std::env::current_exe().ok()?)
        .args(["--memory-of", engine.name(), "--runs", &runs.to_string()])
        .arg(folder)
        // Freed memory goes back to the system at once, so that what is resident is what is in use.
        .env("MALLOC_MMAP_THRESHOLD_", "65536")
        .env("MALLOC_TRIM_THRESHOLD_", "0")
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Kilobytes of a line of /proc/self/status.
fn status(line: &str) -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let found = status.lines().find_map(|l| l.strip_prefix(line));
    let number = found.and_then(|v| v.split_whitespace().next());
    Ok(number.ok_or("no such line in /proc/self/status")?.parse()?)
}

/// CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let main: u64 = stat
        .split_whitespace()
        .next()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0);
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let nanos: u64 = tasks
        .filter_map(|t| std::fs::read_to_string(t.path().join("schedstat")).ok())
        .filter_map(|s| s.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanos.max(main))
}
