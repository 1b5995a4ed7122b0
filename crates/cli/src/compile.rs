//! `zkinfer compile`.

use crate::{files, ui, words};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use zkinfer::Secret;
use zkinfer::data::{Arrays, Samples};
use zkinfer::disclosure;
use zkinfer::graph::Graph;
use zkinfer::onnx::ImportOptions;
use zkinfer::plan::{self, Preference};
use zkinfer::quantize::{Compiled, LayerReport, QuantizeOptions, Report};
use zkinfer::secret::{CommitOptions, WeightVisibility};

/// Quantize an ONNX model and commit to its weights.
///
/// Writes NAME.model, which proves and has to stay secret, and NAME.card, which verifies and is published.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer compile digits.onnx --calibration samples.npz -o digits
  zkinfer compile speech.onnx --calibration input.json -o speech --bits 13 --headroom 0.5

  zkinfer compile bert.onnx --calibration texts.npz --dim input_ids:1=16 --outputs logits -o bert

Calibration data: .npz with one array per input, called like the input or x0, x1, ..., samples on the
first axis; .npy; or JSON, {\"input_data\": [[...]]} for one sample, several of these in a list or on
lines, or an object of such arrays. Outputs y0, ... (or by name) are compared with the imported model,
labels are used for the report. Lengths that the model leaves open are those of the data. Values far
outside of what it shows cannot be proven later: give typical inputs, or more --headroom.

Weights may be in other files of the model's folder (model.onnx.data).

It is an error if an output (or a column of its own unit) is off by more than 1 % of its scale on
average, if the class differs on more than 1 % of the samples, if samples cannot be proven, or if the
imported model does not compute the outputs that are stored with the samples. --allow-error makes
warnings of these.")]
pub struct Compile {
    /// The model
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Typical inputs: .npz, .npy or .json
    #[arg(long, value_name = "DATA")]
    calibration: PathBuf,
    /// Writes NAME.model and NAME.card
    #[arg(short, long, value_name = "NAME")]
    output: PathBuf,
    /// Bits of an activation, 4 to 14: more are more precise and cost more [default: 12, or what
    /// the outputs need on the calibration data]
    #[arg(long, value_name = "N")]
    bits: Option<u32>,
    /// By how much ranges exceed what calibration shows; 0.3 is 30 % [default: 0.3]
    #[arg(long, value_name = "X")]
    headroom: Option<f64>,
    /// Length of an open first dimension [default: the data's, or 1]
    #[arg(long, value_name = "N", value_parser = length)]
    batch: Option<usize>,
    /// Length of an open dimension, by its name (sequence=32) or by input and axis (x:1=32); may be
    /// given several times
    #[arg(long, value_name = "NAME=N", value_parser = dimension)]
    dim: Vec<(String, usize)>,
    /// An input that has one value in every run, a branch of the model for example (training=0): it
    /// is a constant of what is proven, and the card says so; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = given)]
    input: Vec<(String, f64)>,
    /// Outputs to prove, by name [default: all]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    outputs: Vec<String>,
    /// Clamp intermediate values that are beyond their range, as int8 runtimes do, instead of refusing
    /// the input: a proof shows that they were. Ranges are those of typical samples
    #[arg(long)]
    saturate: bool,
    /// Largest mean error of an output on the calibration data, of its scale: 0.2% or 0.002.
    /// Operations that limit it are computed with more bits [default: 0.2% where that can be met; more than
    /// 1% is refused]
    #[arg(long, value_name = "X", value_parser = share)]
    max_error: Option<f64>,
    /// Accept outputs that are too far from the float model's, and samples that cannot be proven
    #[arg(long)]
    allow_error: bool,
    /// Overwrite NAME.model, although the blinds in it exist nowhere else
    #[arg(long)]
    force: bool,
    /// What proofs should be good at: the time to prove, the time to verify, or their size
    #[arg(long, value_name = "WHAT", default_value = "balanced")]
    prefer: Prefer,
    /// Logarithm of the number of rows, instead of what the planner finds best
    #[arg(long, value_name = "K", conflicts_with = "prefer")]
    k: Option<u32>,
    /// Cut the model into so many segments, each proven by itself in a part of the memory; one card and one
    /// proof hold for all of them. What flows between segments is hidden [default: 1, or as few as --memory needs]
    #[arg(long, value_name = "N", value_parser = length)]
    segments: Option<usize>,
    /// Most memory that a proof may take, as it is predicted: 4GB, 500MB
    #[arg(long, value_name = "BYTES")]
    memory: Option<bytesize::ByteSize>,
    /// Commit without blinds: whoever has the weights can recompute the card
    #[arg(long)]
    public_weights: bool,
}

/// `--prefer`
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Prefer {
    Balanced,
    Prove,
    Verify,
    Size,
}

impl Prefer {
    pub fn preference(self) -> Preference {
        match self {
            Prefer::Balanced => Preference::Balanced,
            Prefer::Prove => Preference::Prove,
            Prefer::Verify => Preference::Verify,
            Prefer::Size => Preference::Size,
        }
    }

    /// What is said of the plan.
    fn title(self) -> &'static str {
        match self {
            Prefer::Balanced => "Plan: the cheapest number of rows",
            Prefer::Prove => "Plan: the number of rows that proves fastest",
            Prefer::Verify => "Plan: the number of rows that verifies fastest",
            Prefer::Size => "Plan: the number of rows with the shortest proof",
        }
    }
}

/// `NAME=N`
pub fn dimension(text: &str) -> Result<(String, usize), String> {
    let wanted = || format!("{text:?} is not of the form NAME=N, with a whole number N above zero");
    let (name, length) = text.rsplit_once('=').ok_or_else(wanted)?;
    let length = length.parse().ok().filter(|&n| n > 0).ok_or_else(wanted)?;
    Ok((name.to_string(), length))
}

/// A number, or per cent of one.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    let wanted = || format!("{text:?} is no number between 0.0001% and 100%");
    let share = number.trim().parse::<f64>().map_err(|_| wanted())? * unit;
    (1e-6..=1.0)
        .contains(&share)
        .then_some(share)
        .ok_or_else(wanted)
}

/// `NAME=VALUE`
pub fn given(text: &str) -> Result<(String, f64), String> {
    let wanted = || format!("{text:?} is not of the form NAME=VALUE, with a number");
    let (name, value) = text.rsplit_once('=').ok_or_else(wanted)?;
    let value = match value {
        "true" => 1.0,
        "false" => 0.0,
        number => number.parse().map_err(|_| wanted())?,
    };
    Ok((name.to_string(), value))
}

/// A length.
pub fn length(text: &str) -> Result<usize, String> {
    let length = text.parse().ok().filter(|&n| n > 0);
    length.ok_or_else(|| format!("{text:?} is not a whole number above zero"))
}

impl Compile {
    /// How the model is read.
    fn options(&self) -> ImportOptions {
        let mut import = ImportOptions {
            batch: self.batch,
            ..ImportOptions::default()
        };
        import.symbols.extend(self.dim.iter().cloned());
        import.outputs.clone_from(&self.outputs);
        import.given.extend(self.input.iter().cloned());
        import
    }

    /// The model's name, for the card.
    fn name(&self) -> String {
        let stem = self.model.file_stem().unwrap_or_default();
        self.options().described(&stem.to_string_lossy())
    }

    /// The float model and the samples.
    fn import(&self) -> Result<(Graph, Vec<String>, Samples, Duration)> {
        let mut import = self.options();
        let arrays = Arrays::load(&self.calibration)?;
        import.samples = arrays.shapes();
        let (imported, time) = ui::step("importing", || Graph::import_file(&self.model, &import));
        let imported = imported
            .map_err(words::import)
            .with_context(|| self.model.display().to_string())?;
        let graph = imported.graph;
        let samples = arrays
            .samples(&graph.input_forms(), &graph.output_forms())
            .with_context(|| self.calibration.display().to_string())?;
        if samples.inputs.is_empty() {
            bail!("{} holds no samples", self.calibration.display());
        }
        Ok((graph, imported.left_out, samples, time))
    }

    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let (model_path, card_path) = (
            files::with_suffix(&self.output, ".model"),
            files::with_suffix(&self.output, ".card"),
        );
        // Before the work.
        files::keep(&model_path, self.force)?;
        let (graph, left_out, samples, t_import) = self.import()?;
        let mut options = QuantizeOptions::default().with_allow_error(self.allow_error);
        options.range_bits = self.bits;
        options.saturate = self.saturate;
        options.max_error = self.max_error;
        if let Some(headroom) = self.headroom {
            options.headroom = headroom;
        }
        let what = format!("quantizing with {} samples", samples.inputs.len());
        let (compiled, t_quantize) = ui::watched(what, |progress| {
            graph.compile_with_progress(&samples, &options, progress)
        });
        let Compiled {
            model,
            report,
            doubts,
            ..
        } = compiled.map_err(words::compile)?;
        let warnings: Vec<String> = doubts.iter().map(ToString::to_string).collect();
        for warning in &warnings {
            eprintln!("{} {}", ui::stderr().red("warning:"), ui::plain(warning));
        }

        let weights = if self.public_weights {
            WeightVisibility::Public
        } else {
            WeightVisibility::Hidden
        };
        let mut commit = CommitOptions::default()
            .with_name(self.name())
            .with_weights(weights)
            .with_preference(self.prefer.preference());
        commit.plan.k = self.k;
        commit.plan.memory = self.memory.map(|memory| memory.as_u64());
        let weights = model.program.committed_weights();
        let bits = model.program.range_bits;
        let wanted = self.segments.unwrap_or_default();
        let choice = plan::choose_segments(model, wanted, &commit.plan).map_err(words::plan)?;
        let (k, plan_table) = (choice.k(), choice.to_string());
        let (segments, candidates) = (choice.segments, choice.candidates);
        let count = segments.len();
        let what = format!("committing to {} weights", ui::count(weights));
        let (secret, t_commit) = ui::watched(what, |progress| {
            Secret::commit_planned(segments, &commit, &mut zkinfer::rng(), progress)
        });
        let secret = secret?;

        let (model_bytes, card_bytes) = (secret.to_bytes()?, secret.card().to_bytes());
        files::write_secret(&model_path, &model_bytes, self.force)?;
        files::write(&card_path, &card_bytes)?;

        let digest = secret.card().digest().to_string();
        if as_json {
            let candidates: Vec<_> = candidates
                .iter()
                .map(|c| json!({ "k": c.k, "columns": c.columns.advice(), "points": c.points, "prove_ms": c.prove_ms, "verify_ms": c.verify_ms, "proof_bytes": c.proof_bytes, "memory_bytes": c.memory }))
                .collect();
            ui::json(&json!({
                "status": "done",
                "model": { "path": model_path.to_string_lossy(), "bytes": model_bytes.len() },
                "card": { "path": card_path.to_string_lossy(), "bytes": card_bytes.len(), "digest": digest },
                "bits": bits,
                "weights": weights,
                "weights_hidden": !self.public_weights,
                "reveals": ui::reveals(secret.card()),
                "report": report,
                "left_out": left_out,
                "warnings": warnings,
                "plan": { "k": k, "segments": count, "candidates": candidates },
                "seconds": {
                    "import": t_import.as_secs_f64(),
                    "quantize": t_quantize.as_secs_f64(),
                    "commit": t_commit.as_secs_f64(),
                },
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        print_report(&report, bits)?;
        if !left_out.is_empty() {
            let names: Vec<String> = left_out.iter().map(|n| ui::plain(n)).collect();
            ui::line(&format!("  not proven, as chosen: {}", names.join(", ")))?;
        }
        let paint = ui::stdout();
        ui::line(&format!(
            "\n{}\n{}",
            paint.bold(self.prefer.title()),
            plan_table.trim_end()
        ))?;
        if count > 1 {
            ui::line(&format!("  {count} segments, together"))?;
        }
        ui::line(&format!("\n{}", paint.bold("Written")))?;
        let hidden = if self.public_weights {
            "open to guessing"
        } else {
            "hidden"
        };
        ui::line(&format!(
            "  {}  {}, keep it secret: it proves",
            model_path.display(),
            ui::size(model_bytes.len())
        ))?;
        ui::line(&format!(
            "  {}  {}, publish it: it verifies",
            card_path.display(),
            ui::size(card_bytes.len())
        ))?;
        if let Some(options) = words::asks_for(secret.card()) {
            ui::line(&format!(
                "  larger than verifiers accept by default: `zkinfer verify {options}`"
            ))?;
        }
        ui::line(&format!(
            "  {} weights, {hidden}; model {digest}",
            ui::count(weights)
        ))?;
        if !self.public_weights {
            ui::line(
                "  what depends on weights or calibration and is not hidden (docs/protocol.md, section 7):",
            )?;
            for told in secret.card().programs().flat_map(disclosure::disclosures) {
                ui::line(&format!("    {:<8} {}", told.kind.code(), told.place))?;
            }
        }
        let times = [
            ("import", t_import),
            ("quantize", t_quantize),
            ("commit", t_commit),
        ];
        let times: Vec<String> = times
            .iter()
            .map(|(what, t)| format!("{what} {}", ui::time(*t)))
            .collect();
        ui::line(&paint.dim(&format!("  {}", times.join(", "))))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Per layer and for the whole model.
fn print_report(report: &Report, bits: u32) -> Result<()> {
    let paint = ui::stdout();
    ui::line(&paint.bold(&format!("Layers ({bits} bits)")))?;
    ui::line(
        &paint
            .dim("  name                     unit           neurons    scale   range used  error"),
    )?;
    // Steps of a loop are one line.
    for l in report.layers.iter().filter(|l| l.weights_of.is_none()) {
        let steps: Vec<_> = report
            .layers
            .iter()
            .filter(|s| s.node == l.node || s.weights_of == Some(l.node))
            .collect();
        let worst = |f: fn(&LayerReport) -> f64| steps.iter().map(|s| f(s)).fold(0.0, f64::max);
        let times = match steps.len() {
            1 => String::new(),
            n => format!("  {n} steps"),
        };
        ui::line(&format!(
            "  {:<24} {:<14} {:>7}  {:>9} {:>8.0} %  {:>6.3} %{times}",
            ui::clip(&ui::plain(&l.name), 24),
            ui::clip(&l.unit, 14),
            l.neurons,
            ui::real(l.scale_max),
            100.0 * worst(|s| s.fill),
            100.0 * worst(|s| s.relative_error),
        ))?;
    }
    ui::line(&format!(
        "\n{}",
        paint.bold(&format!(
            "Against the float model, {} samples",
            report.samples
        ))
    ))?;
    for o in &report.outputs {
        ui::line(&format!(
            "  output {}: mean error {} ({:.3} % of the range), largest {}",
            ui::plain(&o.name),
            ui::real(o.mean_error),
            100.0 * o.relative_error,
            ui::real(o.max_error),
        ))?;
    }
    ui::line(&format!(
        "  same top class on {:.1} %",
        100.0 * report.top_class_agreement
    ))?;
    if let (Some(float), Some(integer)) = (report.float_accuracy, report.integer_accuracy) {
        ui::line(&format!(
            "  accuracy {:.2} % (floats: {:.2} %)",
            100.0 * integer,
            100.0 * float
        ))?;
    }
    for (layer, count) in &report.saturated {
        ui::line(&format!(
            "  {}: {} values beyond the range are clamped",
            ui::plain(layer),
            ui::count(*count as u64)
        ))?;
    }
    if let Some((sample, reason)) = report.out_of_range.first() {
        let text = format!(
            "  {} samples cannot be proven; the first is {sample}: {reason}",
            report.out_of_range.len()
        );
        ui::line(&paint.red(&text))?;
    }
    Ok(())
}
