//! The command line of zkinfer.
//!
//! Exit codes: 0 done (`verify`: valid), 1 rejected (`verify`, `ask`, `audit`, `evidence`), 2 unusable input.

mod ask;
mod audit;
mod bench;
mod compile;
mod demo;
mod files;
mod host;
mod infer;
mod inspect;
mod pin;
mod prove;
mod rotate;
mod serve;
mod token;
mod ui;
mod verify;
mod words;

use clap::{Args, Parser, Subcommand};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Exit code of a rejected proof.
const REJECTED: u8 = 1;
/// Exit code of input that cannot be used; clap's own for wrong arguments.
const UNUSABLE: u8 = 2;

/// Prove and check that an answer is a committed neural network's answer to an input.
#[derive(Parser)]
#[command(
    name = "zkinfer",
    version,
    after_help = "Examples:
  zkinfer demo
  zkinfer compile digits.onnx --calibration samples.npz -o digits
  zkinfer infer digits.model --input samples.npz --sample 3
  zkinfer prove digits.model --input samples.npz --sample 3 -o run.proof
  zkinfer verify digits.card run.proof --input samples.npz --sample 3
  zkinfer serve --card digits.card
  zkinfer host digits.model
  zkinfer ask http://127.0.0.1:8081 --card digits.card --host-key HEX --input samples.npz --rate 1
  zkinfer bench digits.onnx --calibration samples.npz

Exit codes: 0 done or valid, 1 rejected, 2 unusable input.
RUST_LOG=info (debug, trace) shows what happens; NO_COLOR=1 switches colours off;
ZKINFER_CACHE_DIR is where parameters are kept."
)]
struct Cli {
    /// Machine-readable results on standard output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Quantize an ONNX model and commit to its weights
    Compile(compile::Compile),
    /// Run a compiled model, exactly as it is proven
    Infer(infer::Infer),
    /// Prove a run
    Prove(prove::Prove),
    /// Check a proof against a model's card and what you know
    Verify(verify::Verify),
    /// Say what is in a file, without its secrets
    Inspect(inspect::Inspect),
    /// Check other people's proofs over HTTP
    Serve(Box<serve::Serve>),
    /// Answer with compiled models over HTTP, and prove answers when asked to
    Host(Box<host::Host>),
    /// Hand over from a host's key to a new one
    Rotate(rotate::Rotate),
    /// Make and revoke tokens for `zkinfer host` and `zkinfer serve`
    Token(token::Token),
    /// Ask a host, and audit it
    Ask(Box<ask::Ask>),
    /// Say what an audit log shows of a host
    Audit(audit::Audit),
    /// Judge evidence against a host, offline
    Evidence(audit::Evidence),
    /// Measure what proofs of a model cost, and how that grows
    Bench(Box<bench::Bench>),
    /// See a digits network proven, checked, and lied about
    Demo(demo::Demo),
}

/// The caller's bytes that a proof is bound to.
#[derive(Args)]
#[group(multiple = false)]
struct Context {
    /// Bind the proof to this text (a nonce, a request id)
    #[arg(long, value_name = "TEXT")]
    context: Option<String>,
    /// The same, as hexadecimal bytes
    #[arg(long, value_name = "HEX")]
    context_hex: Option<String>,
}

impl Context {
    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        match (&self.context, &self.context_hex) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(hex)) => ui::unhex(hex),
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// What the log holds where `RUST_LOG` says nothing.
fn start_log(command: &Command) {
    let format = match command {
        Command::Serve(serve) => Some(serve.log()),
        Command::Host(host) => Some(host.log()),
        _ => None,
    };
    let default = if format.is_some() {
        "warn,zkinfer=info,zkinfer_server=info,zkinfer_host=info,zkinfer_http=info"
    } else {
        "error,zkinfer=warn"
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        Some(serve::LogFormat::Json) => log.json().flatten_event(true).init(),
        Some(serve::LogFormat::Text) => log.with_target(false).init(),
        None => log.with_target(false).without_time().init(),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli.command);
    let result = match &cli.command {
        Command::Compile(c) => c.run(cli.json),
        Command::Infer(c) => c.run(cli.json),
        Command::Prove(c) => c.run(cli.json),
        Command::Verify(c) => c.run(cli.json),
        Command::Inspect(c) => c.run(cli.json),
        Command::Serve(c) => c.run(cli.json),
        Command::Host(c) => c.run(cli.json),
        Command::Rotate(c) => c.run(cli.json),
        Command::Token(c) => c.run(cli.json),
        Command::Ask(c) => c.run(cli.json),
        Command::Audit(c) => c.run(cli.json),
        Command::Evidence(c) => c.run(cli.json),
        Command::Bench(c) => c.run(cli.json),
        Command::Demo(c) => c.run(cli.json),
    };
    match result {
        Ok(code) => code,
        // Whoever reads our output has seen enough (`zkinfer infer --all | head`).
        Err(error) if ui::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let message = ui::message(&error);
            if cli.json {
                ui::json(&serde_json::json!({ "status": "unusable", "error": message })).ok();
            }
            eprintln!("{} {message}", ui::stderr().red("error:"));
            ExitCode::from(UNUSABLE)
        }
    }
}
