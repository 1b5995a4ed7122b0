//! Switches every constraint and every check of the verifier off, one at a time, and says whether a lie then passes.
//!
//! `cargo xtask mutations`; with `ZKINFER_WRITE=1` the tables of `docs/protocol.md`, section 9, are written anew.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    // Checks are switched off for the whole process: one test at a time.
    let arguments = "test --release -p zkinfer --lib --features mutations -- prove::tests::mutations --include-ignored --nocapture --test-threads 1";
    match Command::new(cargo).args(arguments.split(' ')).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("cargo could not be started: {e}");
            ExitCode::FAILURE
        }
    }
}
