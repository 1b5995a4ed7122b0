//! `zkinfer bench`.

mod economics;

use crate::compile::{Prefer, dimension, length, share};
use crate::{files, ui};
use anyhow::{Context as _, Result, bail};
use clap::{ArgGroup, Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use zkinfer::data::Arrays;
use zkinfer::onnx::ImportOptions;
use zkinfer_bench::families::Extent;
use zkinfer_bench::report::{FORMAT, Family, Machine, Peer, Report, Sweep};
use zkinfer_bench::stages::{self, Options, Subject};
use zkinfer_bench::sweep::sweep;
use zkinfer_bench::terminal::{self, Style};
use zkinfer_bench::{Effort, html, threads};

/// Longest report or file of peers.
const REPORT_BYTES: usize = 1 << 26;

/// Measure what proofs of a model cost, and how that grows.
///
/// Every stage with wall and CPU time, memory and sizes: float and integer inference, import, quantization, registration,
/// keys, the proof and its parts, verification cold, warm and in batches. Medians and quartiles of several runs.
#[derive(Args)]
#[command(
    group = ArgGroup::new("what").required(true).multiple(true).args(["model", "sweep", "from"]),
    after_help = "Examples:
  zkinfer bench digits.onnx --calibration samples.npz
  zkinfer bench digits.onnx --calibration samples.npz -o digits.json -o digits.html
  zkinfer bench --sweep mlp --sweep cnn --max-parameters 1000000 -o growth.html
  zkinfer bench --from digits.json --from growth.json --price-per-core-hour 0.03 -o all.html

Measure on a machine that has nothing else to do; the report tells its load. One model per command, so that
memory is that model's; --from puts reports together. docs/bench.md says what is measured and how."
)]
pub struct Bench {
    /// A model
    #[arg(value_name = "MODEL.onnx")]
    model: Option<PathBuf>,
    /// Families of generated models of growing size; may be repeated
    #[arg(long, value_name = "FAMILY")]
    sweep: Vec<SweepOf>,
    /// Take over what a report in JSON holds; may be repeated
    #[arg(long, value_name = "REPORT.json")]
    from: Vec<PathBuf>,
    /// Write the report to this file, too: .json, .html or .md; may be repeated
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// Heading of the .html report
    #[arg(long, value_name = "TEXT", requires = "output")]
    title: Option<String>,
    /// Add what other systems take, as peers/ezkl.py writes it; may be repeated
    #[arg(long, value_name = "FILE.json")]
    peers: Vec<PathBuf>,
    #[command(flatten)]
    model_options: ModelOptions,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    extent: ExtentOptions,
    #[command(flatten)]
    assumptions: economics::Assumptions,
}

/// How the model is taken in.
#[derive(Args)]
#[command(next_help_heading = "The model")]
struct ModelOptions {
    /// Typical inputs: .npz, .npy or .json [default: random numbers, which say little about errors and ranges]
    #[arg(long, value_name = "DATA", requires = "model")]
    calibration: Option<PathBuf>,
    /// Bits of an activation, 4 to 14 [default: as `zkinfer compile`]
    #[arg(long, value_name = "N", requires = "model")]
    bits: Option<u32>,
    /// By how much ranges exceed what calibration shows [default: 0.3]
    #[arg(long, value_name = "X", requires = "model")]
    headroom: Option<f64>,
    /// Length of a dynamic first dimension [default: 1]
    #[arg(long, value_name = "N", value_parser = length, requires = "model")]
    batch: Option<usize>,
    /// Length of a named dimension, such as sequence=32; may be given several times
    #[arg(long, value_name = "NAME=N", value_parser = dimension, requires = "model")]
    dim: Vec<(String, usize)>,
    /// Largest mean error of an output, over its scale, such as 0.1% or 0.001 [default: as `zkinfer compile`]
    #[arg(long, value_name = "X", value_parser = share, requires = "model")]
    max_error: Option<f64>,
    /// What proofs should be good at: the time to prove, the time to verify, or their size
    #[arg(long, value_name = "WHAT", default_value = "balanced")]
    prefer: Prefer,
    /// Logarithm of the number of rows, instead of what the planner finds best
    #[arg(long, value_name = "K", requires = "model", conflicts_with = "prefer")]
    k: Option<u32>,
}

/// How it is measured.
#[derive(Args)]
#[command(next_help_heading = "How to measure")]
struct How {
    /// Runs of every stage, instead of --seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "seconds")]
    runs: Option<u32>,
    /// Time for a stage: at least 5 runs, 3 or 1 of those that take very long
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 2.0)]
    seconds: f64,
    /// Which prover: auto, portable, ifma or upstream
    #[arg(long, value_name = "NAME", default_value = "auto")]
    engine: zkinfer::Engine,
    /// Numbers of threads to prove and verify with [default: 1, 2, 4, ... and all]
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Vec<u32>,
    /// How many proofs are verified together
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,8,64", value_parser = clap::value_parser!(u32).range(1..=4096))]
    batches: Vec<u32>,
    /// How many runs share one proof
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,4,16", value_parser = clap::value_parser!(u32).range(1..=zkinfer::MAX_RUNS as i64))]
    runs_per_proof: Vec<u32>,
    /// Neither threads, batches, shared proofs nor fresh processes
    #[arg(long, conflicts_with_all = ["threads", "batches", "runs_per_proof"])]
    stages_only: bool,
}

/// How far sweeps go.
#[derive(Args)]
#[command(next_help_heading = "Sweeps")]
struct ExtentOptions {
    /// Largest model of mlp, depth and width
    #[arg(long, value_name = "N", default_value_t = Extent::default().parameters, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    max_parameters: u64,
    /// Largest model of cnn and tokens
    #[arg(long, value_name = "N", default_value_t = Extent::default().activations, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    max_activations: u64,
    /// Largest model of channels, rows and block
    #[arg(long, value_name = "N", default_value_t = Extent::default().multiply_adds, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000_000))]
    max_multiply_adds: u64,
}

/// A family, or all of them.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SweepOf {
    /// Dense networks: parameters grow, and slowly activations
    Mlp,
    /// Fixed 3x3 kernels, growing images
    Cnn,
    /// Dense, more and more layers
    Depth,
    /// Dense, two hidden layers that get wider
    Width,
    /// A transformer block, more and more tokens
    Tokens,
    /// Convolutions with a residual connection, more and more channels
    Channels,
    /// Dense layers over 64 rows that get wider
    Rows,
    /// A transformer block over 64 tokens that get wider
    Block,
    /// All of these
    All,
}

impl SweepOf {
    fn families(self) -> Vec<Family> {
        match self {
            SweepOf::Mlp => vec![Family::Mlp],
            SweepOf::Cnn => vec![Family::Cnn],
            SweepOf::Depth => vec![Family::Depth],
            SweepOf::Width => vec![Family::Width],
            SweepOf::Tokens => vec![Family::Tokens],
            SweepOf::Channels => vec![Family::Channels],
            SweepOf::Rows => vec![Family::Rows],
            SweepOf::Block => vec![Family::Block],
            SweepOf::All => Family::ALL.to_vec(),
        }
    }
}

/// A time that a stage can be measured for.
fn seconds(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|s| (0.001..=3600.0).contains(s));
    value.ok_or_else(|| "expected a number of seconds, 0.001 to 3600".into())
}

/// What a file of a report holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Html,
    /// The gist, for other pages.
    Markdown,
}

impl Form {
    /// By the end of the name.
    fn of(path: &Path) -> Result<Form> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("json") => Ok(Form::Json),
            Some("html") => Ok(Form::Html),
            Some("md") => Ok(Form::Markdown),
            _ => bail!(
                "{}: a report's name ends in .json, .html or .md",
                path.display()
            ),
        }
    }
}

impl Bench {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        // What cannot work is said before minutes of measuring.
        let inputs = self.assumptions.inputs()?;
        let outputs = self.outputs()?;
        let earlier = self.earlier()?;
        let peers = self.peers()?;
        let subject = self.model.as_deref().map(|m| self.subject(m)).transpose()?;
        let families = self.families();

        let mut report = Report {
            format: FORMAT,
            command: command_line(),
            machine: Machine::here(self.how.engine),
            models: Vec::new(),
            sweeps: Vec::new(),
            peers: Vec::new(),
        };
        let measures = subject.is_some() || !families.is_empty();
        for (path, other) in self.from.iter().zip(earlier) {
            if !measures && report.models.is_empty() && report.sweeps.is_empty() {
                report.machine = other.machine.clone();
            }
            if !report.machine.is_like(&other.machine) {
                bail!(
                    "{} was measured on another machine or with another build ({}); figures of different machines do not belong into one report",
                    path.display(),
                    ui::plain(&other.machine.cpu)
                );
            }
            report.models.extend(other.models);
            report.sweeps.extend(other.sweeps);
            report.peers.extend(other.peers);
        }
        if let Some(subject) = &subject {
            let options = self.options();
            let name = self.model.as_deref().map(name).unwrap_or_default();
            let measured = ui::told(name, |tell| stages::measure(subject, &options, tell));
            let path = || {
                self.model
                    .as_deref()
                    .map_or(String::new(), |m| m.display().to_string())
            };
            report.models.push(measured.with_context(path)?);
        }
        let alone = subject.is_none() && families.len() == 1;
        for family in families {
            let swept = if alone {
                self.swept(family)
            } else {
                self.swept_apart(family)
            };
            report
                .sweeps
                .push(swept.with_context(|| format!("sweep {family}"))?);
        }
        if measures {
            report.machine.finish();
        }
        zkinfer_bench::peers::merge(&mut report, peers);

        for (path, form) in &outputs {
            let text = match form {
                Form::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
                Form::Html => {
                    let title = self.title.clone().unwrap_or_default();
                    let economics = inputs.clone();
                    html::render(&report, &html::Options { title, economics })?
                }
                Form::Markdown => zkinfer_bench::markdown::render(&report),
            };
            files::write(path, text.as_bytes())?;
        }
        if as_json {
            ui::json(&report)?;
            return Ok(ExitCode::SUCCESS);
        }
        let paint = ui::stdout();
        let style = Style {
            bold: &|text| paint.bold(text),
            dim: &|text| paint.dim(text),
        };
        ui::line(terminal::render(&report, &inputs, &style).trim_end())?;
        if !outputs.is_empty() {
            ui::line("")?;
        }
        for (path, _) in &outputs {
            ui::line(&format!("written: {}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn swept(&self, family: Family) -> Result<Sweep> {
        Ok(ui::told(format!("sweep {family}"), |tell| {
            sweep(family, &self.extent(), &self.sweep_options(), tell)
        })?)
    }

    /// Of a sweep's models: stages and batches.
    fn sweep_options(&self) -> Options {
        let mut options = Options::new(self.effort());
        options.engine = self.how.engine;
        if !self.how.stages_only {
            options.batches = numbers(&self.how.batches);
        }
        options
    }

    /// In a process of its own: memory of this one holds what was measured before.
    fn swept_apart(&self, family: Family) -> Result<Sweep> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "--json", "--sweep", family.name()]);
        command.args(["--engine", self.how.engine.name()]);
        match self.effort() {
            Effort::Runs(runs) => command.args(["--runs", &runs.to_string()]),
            Effort::Seconds(seconds) => command.args(["--seconds", &seconds.to_string()]),
        };
        let extent = self.extent();
        command.args(["--max-parameters", &extent.parameters.to_string()]);
        command.args(["--max-activations", &extent.activations.to_string()]);
        command.args(["--max-multiply-adds", &extent.multiply_adds.to_string()]);
        if self.how.stages_only {
            command.arg("--stages-only");
        } else {
            let sizes: Vec<String> = self.how.batches.iter().map(u32::to_string).collect();
            command.args(["--batches", &sizes.join(",")]);
        }
        // Progress and errors go where ours do.
        let out = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        if !out.status.success() {
            bail!("it could not be measured");
        }
        let report: Report = serde_json::from_slice(&out.stdout)?;
        let sweep = report.sweeps.into_iter().next();
        sweep.context("nothing was measured")
    }

    fn outputs(&self) -> Result<Vec<(PathBuf, Form)>> {
        let mut outputs = Vec::new();
        for path in &self.output {
            let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
            if folder.is_some_and(|f| !f.is_dir()) {
                bail!("cannot write {}: there is no such folder", path.display());
            }
            outputs.push((path.clone(), Form::of(path)?));
        }
        Ok(outputs)
    }

    fn earlier(&self) -> Result<Vec<Report>> {
        let read = |path: &PathBuf| -> Result<Report> {
            let bytes = files::read(path, REPORT_BYTES)?;
            let unusable = || format!("{} is not a report of `zkinfer bench`", path.display());
            let report: Report = serde_json::from_slice(&bytes).with_context(unusable)?;
            if report.format != FORMAT {
                bail!(
                    "{} has format {}, this program reads format {FORMAT}: measure again",
                    path.display(),
                    report.format
                );
            }
            Ok(report)
        };
        self.from.iter().map(read).collect()
    }

    fn peers(&self) -> Result<Vec<Peer>> {
        let mut peers = Vec::new();
        for path in &self.peers {
            let bytes = files::read(path, REPORT_BYTES)?;
            let unusable = || format!("{} does not hold a list of peers", path.display());
            let list: Vec<Peer> = serde_json::from_slice(&bytes).with_context(unusable)?;
            peers.extend(list);
        }
        Ok(peers)
    }

    fn subject(&self, path: &Path) -> Result<Subject> {
        let mut import = ImportOptions {
            batch: self.model_options.batch,
            ..ImportOptions::default()
        };
        import
            .symbols
            .extend(self.model_options.dim.iter().cloned());
        let arrays = self.model_options.calibration.as_ref();
        let arrays = arrays.map(Arrays::load).transpose()?;
        import.samples = arrays.as_ref().map(Arrays::shapes).unwrap_or_default();
        let bytes = files::read(path, import.max_bytes)?;
        let subject =
            Subject::new(name(path), bytes, import).with_context(|| path.display().to_string())?;
        Ok(match arrays {
            None => subject,
            Some(arrays) => {
                let samples = arrays.samples(&subject.input_forms(), &[])?;
                subject.with_samples(samples.inputs)
            }
        })
    }

    fn options(&self) -> Options {
        let mut options = Options::new(self.effort());
        options.engine = self.how.engine;
        options.accuracy = true;
        if !self.how.stages_only {
            options.threads = numbers(&self.how.threads);
            if options.threads.is_empty() {
                options.threads = threads::counts();
            }
            options.batches = numbers(&self.how.batches);
            options.runs = numbers(&self.how.runs_per_proof);
            options.cold = std::env::current_exe().ok();
        }
        options.quantize.range_bits = self.model_options.bits;
        if let Some(headroom) = self.model_options.headroom {
            options.quantize.headroom = headroom;
        }
        options.quantize.max_error = self.model_options.max_error;
        let preference = self.model_options.prefer.preference();
        options.commit = options.commit.with_preference(preference);
        options.commit.plan.k = self.model_options.k;
        options
    }

    fn effort(&self) -> Effort {
        match self.how.runs {
            Some(runs) => Effort::Runs(runs as usize),
            None => Effort::Seconds(self.how.seconds),
        }
    }

    fn extent(&self) -> Extent {
        Extent {
            parameters: self.extent.max_parameters,
            activations: self.extent.max_activations,
            multiply_adds: self.extent.max_multiply_adds,
        }
    }

    /// Each once, in the order given.
    fn families(&self) -> Vec<Family> {
        let mut families = Vec::new();
        for family in self.sweep.iter().flat_map(|s| s.families()) {
            if !families.contains(&family) {
                families.push(family);
            }
        }
        families
    }
}

/// Each once, ascending.
fn numbers(list: &[u32]) -> Vec<usize> {
    let mut list: Vec<usize> = list.iter().map(|&n| n as usize).collect();
    list.sort_unstable();
    list.dedup();
    list
}

/// A model's name: that of its file, or of its folder where all files have the same name.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let folder = path.parent().and_then(Path::file_name);
    match (stem.as_ref(), folder) {
        ("network" | "model", Some(folder)) => folder.to_string_lossy().into_owned(),
        _ => stem.into_owned(),
    }
}

/// What was typed, so that it can be typed again.
fn command_line() -> String {
    let quoted = |text: String| {
        let safe = |c: char| c.is_ascii_alphanumeric() || "-_./,=:+@%".contains(c);
        if !text.is_empty() && text.chars().all(safe) {
            text
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    };
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|a| quoted(a.to_string_lossy().into_owned()));
    ["zkinfer".to_owned()]
        .into_iter()
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
