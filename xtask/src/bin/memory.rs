//! Memory of a proof, predicted and measured.
//!
//! ```text
//! cargo xtask memory MODEL.model…
//! ```
//!
//! Loads each file in a process of its own, proves the run of an input of zeros (or of another value), and prints what the plan predicted beside
//! the largest resident set that Linux saw.

use std::error::Error;
use std::process::{Command, ExitCode};
use zkinfer::plan::Cost;
use zkinfer::{Secret, Visibility};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [flag, path] if flag == "--one" => one(path),
        paths => all(paths),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn all(paths: &[String]) -> Result<(), Box<dyn Error>> {
    println!(
        "{:>4} {:>3} {:>6} {:>6} {:>6} {:>9} {:>10} {:>9} {:>9} {:>9}  model",
        "seg", "k", "advice", "phase1", "fixed", "slots", "weights", "loaded", "peak", "predicted"
    );
    let mut failed = false;
    for path in paths {
        let status = Command::new(std::env::current_exe()?)
            .args(["--one", path])
            .status()?;
        if !status.success() {
            failed = true;
            eprintln!("{path}: {status}");
        }
    }
    match failed {
        true => Err("not all of them could be proven".into()),
        false => Ok(()),
    }
}

fn one(path: &str) -> Result<(), Box<dyn Error>> {
    let secret = {
        let bytes = std::fs::read(path)?;
        Secret::from_bytes(&bytes, bytes.len())?
    };
    let loaded = resident("VmRSS")?;
    let range = 1u32 << secret.card().range_bits();
    let run_of = |value: &dyn Fn(&zkinfer::TensorInterface) -> u32| {
        let inputs = secret.inputs().iter();
        let inputs: Vec<Vec<u32>> = inputs.map(|i| vec![value(i); i.len()]).collect();
        secret.infer_integers(&inputs)
    };
    // Some models are not calibrated for zeros.
    let run = run_of(&|input| input.zero_point_at(0) as u32)
        .or_else(|_| run_of(&|_| range / 2))
        .or_else(|_| run_of(&|_| range / 3))?;
    secret.prove(&run, &Visibility::default(), b"", &mut zkinfer::rng())?;
    let peak = resident("VmHWM")?;
    let segments = secret.segments();
    let sum = |f: &dyn Fn(&zkinfer::secret::Segment) -> u64| segments.iter().map(f).sum::<u64>();
    let most = |f: &dyn Fn(&zkinfer::secret::Segment) -> u64| segments.iter().map(f).max();
    let columns = |f: fn(&zkinfer_circuits::layout::Columns) -> usize| {
        most(&|s| f(&s.plan().layout.columns) as u64).unwrap_or(0)
    };
    println!(
        "{:>4} {:>3} {:>6} {:>6} {:>6} {:>9} {:>10} {:>9.1} {:>9.1} {:>9.1}  {path}",
        segments.len(),
        secret.card().k,
        columns(|c| c.advice()),
        columns(|c| c.phase1()),
        most(&|s| s.plan().description.fixed as u64).unwrap_or(0),
        most(&|s| u64::from(s.plan().expanded.slots)).unwrap_or(0),
        sum(&|s| s.model().program.committed_weights()),
        loaded as f64 / 1e6,
        peak as f64 / 1e6,
        Cost::of_model(&secret).memory as f64 / 1e6,
    );
    Ok(())
}

/// A line of `/proc/self/status`, in bytes.
fn resident(name: &str) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(1024 * kilobytes.ok_or("no such line")?.trim().parse::<u64>()?)
}
