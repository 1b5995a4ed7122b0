//! Damages ONNX files and checks what may never happen when one is imported, quantized and planned: a panic, a hang, or
//! more memory than the limits allow.
//!
//! ```text
//! cargo run --release -p zkinfer-fuzz --bin fuzz_import -- [seconds] [seed] [folder or file]...
//! ```
//!
//! A process of its own imports the files, so that an abort, an overflow of the stack or an endless loop is found as well;
//! this one watches it, and reports the seed and number of the execution that did not end well (and goes on). Without
//! folders the seeds are `tests/fixtures/onnx` and, if `ZKINFER_CORPUS` names one, all of the corpus (`docs/corpus.md`).

#[path = "../shared/mutate_onnx.rs"]
mod mutate;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use zkinfer::onnx::{ImportError, ImportOptions};
use zkinfer::quantize::QuantizeOptions;
use zkinfer::{Graph, plan};

type Failure = Box<dyn std::error::Error>;

/// Longest time that one execution may take.
const LONGEST: Duration = Duration::from_secs(30);
/// Most memory that one execution may take beyond what its file and the limits below account for, in MiB.
const MOST_MEMORY: u64 = 2048;
/// Larger files are not used as seeds.
const LARGEST_SEED: u64 = 1 << 20;
/// Larger models are imported, but not quantized.
const LARGEST_QUANTIZED: usize = 20_000;

/// The limits under which files are imported.
fn options() -> ImportOptions {
    ImportOptions {
        max_bytes: 4 << 20,
        max_elements: 1 << 20,
        max_nodes: 2_000,
        ..ImportOptions::default()
    }
}

fn main() -> Result<ExitCode, Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let worker = arguments.first().is_some_and(|a| a == "--worker");
    if worker {
        arguments.remove(0);
    }
    let number = |i: usize, default: u64| arguments.get(i).map_or(Ok(default), |a| a.parse());
    let (seconds, seed) = (number(0, 10)?, number(1, 1)?);
    if worker {
        let first = number(2, 0)?;
        work(seconds, seed, first, &seeds(&arguments[3..])?);
        return Ok(ExitCode::SUCCESS);
    }
    let files = arguments.get(2..).unwrap_or_default();
    println!("{} seeds", seeds(files)?.len());
    watch(seconds, seed, files)
}

/// All ONNX files below the given places.
fn seeds(places: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut open: Vec<PathBuf> = places.iter().map(PathBuf::from).collect();
    if open.is_empty() {
        open.push(root.join("tests/fixtures/onnx"));
        let corpus = std::env::var_os("ZKINFER_CORPUS").filter(|root| root != "none");
        open.extend(corpus.map(PathBuf::from));
    }
    let mut files = Vec::new();
    while let Some(at) = open.pop() {
        if at.is_dir() {
            for entry in std::fs::read_dir(&at)? {
                open.push(entry?.path());
            }
        } else if at.extension().is_some_and(|e| e == "onnx")
            && std::fs::metadata(&at)?.len() <= LARGEST_SEED
        {
            files.push(at);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err("no ONNX files there".into());
    }
    Ok(files)
}

/// Starts workers one after the other, until the time is up.
fn watch(seconds: u64, seed: u64, files: &[String]) -> Result<ExitCode, Failure> {
    let clock = Instant::now();
    let (mut first, mut bad) = (0u64, 0u64);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut slowest = (0.0f64, 0u64);
    let mut largest = (0u64, 0u64);
    while let Some(left) = seconds
        .checked_sub(clock.elapsed().as_secs())
        .filter(|l| *l > 0)
    {
        let mut child = worker(left, seed, first, files)?;
        let (sender, lines) = channel();
        let output = child.stdout.take().ok_or("no output")?;
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        // Each line: "number" when an execution begins, "number outcome milliseconds MiB" when it ends.
        let mut running = None;
        let verdict = loop {
            match lines.recv_timeout(LONGEST) {
                Ok(line) => {
                    let fields: Vec<&str> = line.splitn(4, ' ').collect();
                    let number: u64 = fields[0].parse()?;
                    running = Some(number);
                    let &[_, milliseconds, memory, outcome] = fields.as_slice() else {
                        continue;
                    };
                    running = None;
                    first = number + 1;
                    *counts.entry(outcome.to_string()).or_default() += 1;
                    let (time, memory): (f64, u64) = (milliseconds.parse()?, memory.parse()?);
                    if time > slowest.0 {
                        slowest = (time, number);
                    }
                    if memory > largest.0 {
                        largest = (memory, number);
                    }
                    if outcome.starts_with("PANIC") || memory > MOST_MEMORY {
                        bad += 1;
                        println!("seed {seed}, execution {number}: {outcome}, {memory} MiB");
                    }
                }
                Err(RecvTimeoutError::Timeout) => break Some("hangs"),
                Err(RecvTimeoutError::Disconnected) => break running.map(|_| "ends the process"),
            }
        };
        let _ = child.kill();
        let _ = child.wait();
        match (verdict, running) {
            (Some(what), Some(number)) => {
                bad += 1;
                first = number + 1;
                println!("seed {seed}, execution {number}: {what}");
            }
            _ => break,
        }
    }
    println!(
        "{first} executions in {} s, seed {seed}; slowest {:.0} ms (number {}), largest {} MiB (number {})",
        clock.elapsed().as_secs(),
        slowest.0,
        slowest.1,
        largest.0,
        largest.1
    );
    for (outcome, count) in counts {
        println!("{count:>9}  {outcome}");
    }
    if bad > 0 {
        println!("{bad} executions did not end well");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn worker(seconds: u64, seed: u64, first: u64, files: &[String]) -> Result<Child, Failure> {
    let numbers = [seconds, seed, first].map(|n| n.to_string());
    let child = Command::new(std::env::current_exe()?)
        .arg("--worker")
        .args(numbers)
        .args(files)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child)
}

/// Memory of this process: now and at its highest, in MiB (zero where the system does not say).
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let of = |name: &str| field(name).unwrap_or(0) >> 10;
    (of("VmRSS:"), of("VmHWM:"))
}

/// Runs executions one after the other and says so.
fn work(seconds: u64, seed: u64, first: u64, files: &[PathBuf]) {
    let (clock, mut out) = (Instant::now(), std::io::stdout());
    let place = Arc::new(Mutex::new(String::new()));
    let seen = place.clone();
    std::panic::set_hook(Box::new(move |info| {
        let at = info
            .location()
            .map(|l| format!("{}:{}", l.file(), l.line()));
        if let Ok(mut seen) = seen.lock() {
            *seen = at.unwrap_or_default();
        }
    }));
    let mut number = first;
    while clock.elapsed() < Duration::from_secs(seconds) {
        let _ = writeln!(out, "{number}");
        let mut rng = ChaCha20Rng::seed_from_u64(seed.wrapping_mul(1 << 32).wrapping_add(number));
        let mut file = || {
            let at = (rng.next_u64() % files.len() as u64) as usize;
            std::fs::read(&files[at]).unwrap_or_default()
        };
        let (bytes, other) = (file(), file());
        let damaged = mutate::mutate(&mut rng, &bytes, &other);
        // Reset the highest mark.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let (before, start) = (memory().0, Instant::now());
        let outcome = catch_unwind(AssertUnwindSafe(|| execute(&damaged)));
        let outcome = outcome.unwrap_or_else(|_| {
            let at = place.lock().map(|p| p.clone()).unwrap_or_default();
            format!("PANIC at {at}")
        });
        let time = start.elapsed().as_secs_f64() * 1e3;
        let used = memory().1.saturating_sub(before);
        let _ = writeln!(out, "{number} {time:.1} {used} {outcome}");
        number += 1;
    }
}

/// Imports, runs, quantizes and plans, as far as the file leads.
fn execute(bytes: &[u8]) -> String {
    let graph = match Graph::import(bytes, &options()) {
        Ok(import) => import.graph,
        Err(error) => {
            let kind = match error {
                ImportError::Malformed { .. } => "malformed",
                ImportError::Limit { .. } | ImportError::FileTooLarge { .. } => "beyond a limit",
                ImportError::DynamicDimension { .. } => "dynamic dimension",
                ImportError::Unsupported { .. } => "unsupported",
                ImportError::Inference { .. } => "shapes do not fit",
                _ => "another error",
            };
            return format!("not imported: {kind}");
        }
    };
    let elements: usize = graph.nodes.iter().map(|n| n.len()).sum();
    if elements > LARGEST_QUANTIZED {
        return "imported".into();
    }
    let sample = |shift: usize| {
        let one = |len: usize| {
            (0..len)
                .map(|i| ((i + shift) % 7) as f32 / 3.0 - 1.0)
                .collect()
        };
        graph.input_lens().into_iter().map(one).collect()
    };
    let samples: Vec<Vec<Vec<f32>>> = (0..2).map(sample).collect();
    let model = match graph.quantize(&samples, &QuantizeOptions::default()) {
        Ok(model) => model,
        Err(_) => return "imported, not quantized".into(),
    };
    match plan::choose(&model.program, &Default::default()) {
        Ok(_) => "planned".into(),
        Err(_) => "quantized, not planned".into(),
    }
}
