//! Verification by a process that has just been started: what somebody sees who checks a single proof.

use crate::error::BenchError;
use crate::measure::Meter;
use crate::report::{Stage, StageName};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use zkinfer::{Card, Proof};

/// Time between two looks at the memory of the process.
const LOOK: Duration = Duration::from_micros(200);

/// Writes card, proof and input to files and runs `PROGRAM verify CARD PROOF --input FILE`, which has to exit with 0 for a
/// proof that holds. `program` is an executable of `zkinfer`.
///
/// CPU time is unknown: systems tell that of ended processes in hundredths of a second. Memory is that of the fresh
/// process, from a run of its own that is not timed (Linux).
///
/// # Errors
/// Files that cannot be written, a program that cannot be started or does not accept the proof.
pub fn verify_cold(
    program: &Path,
    card: &Card,
    proof: &Proof,
    input: &[Vec<f32>],
    meter: &mut Meter<'_>,
) -> Result<Stage, BenchError> {
    let folder = tempfile::tempdir().map_err(BenchError::Write)?;
    let path = |name: &str| folder.path().join(name);
    let (card_path, proof_path, input_path) = (path("card"), path("proof"), path("input.json"));
    let input = serde_json::json!({ "input_data": input });
    let files = [
        (&card_path, card.to_bytes()),
        (&proof_path, proof.to_bytes()),
        (&input_path, input.to_string().into_bytes()),
    ];
    for (path, bytes) in files {
        std::fs::write(path, bytes).map_err(BenchError::Write)?;
    }
    let command = || {
        let mut command = Command::new(program);
        command.arg("verify").args([&card_path, &proof_path]);
        command.arg("--input").arg(&input_path);
        // As large as it is.
        let values = card.input_len() + card.output_len();
        command.arg("--max-k").arg(card.k.to_string());
        command.arg("--max-values").arg(values.to_string());
        command
            .arg("--json")
            .stdin(Stdio::null())
            .env_remove("RUST_LOG");
        command
    };
    let start = |source| BenchError::Start {
        program: program.to_owned(),
        source,
    };
    let judge = |output: Output| {
        if output.status.success() {
            return Ok(());
        }
        let texts = [output.stdout, output.stderr].concat();
        Err(BenchError::Cold {
            program: program.to_owned(),
            output: String::from_utf8_lossy(&texts).trim().to_owned(),
        })
    };
    let (mut stage, ()) = meter.stage(StageName::VerifyCold, || {
        judge(command().output().map_err(start)?)
    })?;

    let mut child = command()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(start)?;
    let mut peak = None;
    while matches!(child.try_wait(), Ok(None)) {
        peak = peak.max(peak_of(child.id()));
        std::thread::sleep(LOOK);
    }
    judge(child.wait_with_output().map_err(start)?)?;
    stage.cpu = None;
    (stage.peak_bytes, stage.grown_bytes) = (peak, peak);
    Ok(stage)
}

/// The highest resident memory of a process so far. The kernel's mark never falls, so what is read last is what counts.
fn peak_of(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
