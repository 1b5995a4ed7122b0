//! `zkinfer inspect`.

use crate::{files, ui};
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zkinfer::disclosure::disclosures;
use zkinfer::generators::Generators;
use zkinfer::interface::Interface;
use zkinfer::model::TensorInterface;
use zkinfer::params;
use zkinfer::plan::Cost;
use zkinfer::secret::Secret;
use zkinfer_circuits::card::{Card, FileKind, Proof};
use zkinfer_circuits::error::CardError;
use zkinfer_circuits::program::{Node, Program};
use zkinfer_circuits::statement::Claim;
use zkinfer_circuits::verify::{Limits, Plan};

/// Say what is in a file, without its secrets.
#[derive(Args)]
#[command(after_help = "Examples:
  zkinfer inspect digits.card
  zkinfer inspect run.proof --json
  zkinfer inspect digits.card --to-json digits.card.json

Takes models, cards, proofs of one run (binary or JSON) or several, and cached parameters.")]
pub struct Inspect {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also write the JSON form of a card or a proof
    #[arg(long, value_name = "FILE")]
    to_json: Option<PathBuf>,
}

/// Lines for people; the same as JSON.
struct Description {
    lines: Vec<(&'static str, String)>,
    json: Value,
    form: Option<String>,
}

impl Inspect {
    pub fn run(&self, as_json: bool) -> Result<ExitCode> {
        let bytes = files::read(&self.file, files::MODEL_BYTES)?;
        let mut description = describe(&self.file, &bytes)?;
        let version = FileKind::of(&bytes)?.version();
        if let Some(path) = &self.to_json {
            let form = description
                .form
                .as_ref()
                .ok_or_else(|| anyhow!("only cards and proofs of one run have a JSON form"))?;
            files::write(path, form.as_bytes())?;
        }
        if as_json {
            description.json["bytes"] = json!(bytes.len());
            description.json["version"] = json!(version);
            ui::json(&description.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let kind = description.json["kind"].as_str().unwrap_or_default();
        let title = format!(
            "{}: {kind}, {}, format version {version}",
            self.file.display(),
            ui::size(bytes.len())
        );
        let paint = ui::stdout();
        ui::line(&paint.bold(&title))?;
        for (name, value) in description.lines {
            ui::line(&format!(
                "  {}  {}",
                paint.cyan(&format!("{name:<11}")),
                ui::plain(&value)
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn describe(path: &Path, bytes: &[u8]) -> Result<Description> {
    let limits = Limits::default();
    let at = || path.display().to_string();
    if files::is_json(bytes) {
        return match files::card(bytes, &limits) {
            Ok(card) => describe_card(&card),
            Err(card_error) => match files::proof(bytes, &limits) {
                Ok(proof) => describe_proof(&proof),
                // Of the two, the more telling reason.
                Err(proof_error) => {
                    let is_proof = format!("{card_error}").contains("found a proof");
                    Err(anyhow!(if is_proof { proof_error } else { card_error })).with_context(at)
                }
            },
        };
    }
    match FileKind::of(bytes).with_context(at)? {
        FileKind::Model => {
            describe_model(&Secret::from_bytes(bytes, files::MODEL_BYTES).with_context(at)?)
        }
        FileKind::Card => {
            describe_card(&Card::from_bytes(bytes, limits.card_bytes).with_context(at)?)
        }
        FileKind::Proof => {
            describe_proof(&Proof::from_bytes(bytes, limits.proof_bytes).with_context(at)?)
        }
        FileKind::Params => {
            let k = params::from_bytes(bytes).with_context(at)?.k();
            let lines = vec![
                ("rows", format!("2^{k}")),
                ("generators", ui::count(2 << k)),
            ];
            Ok(Description {
                lines,
                json: json!({ "kind": "params", "k": k }),
                form: None,
            })
        }
        FileKind::Generators => {
            let k = Generators::from_bytes(bytes).with_context(at)?.k();
            Ok(Description {
                lines: vec![("generators", format!("2^{k}"))],
                json: json!({ "kind": "generators", "k": k }),
                form: None,
            })
        }
        other => Err(anyhow!("a {} file cannot be inspected", other.name())),
    }
}

fn describe_tensor(t: &TensorInterface) -> String {
    let shape: Vec<String> = t.shape.iter().map(ToString::to_string).collect();
    let scale = match t.scale.as_slice() {
        [scale] => format!("step {}", ui::real(*scale)),
        scales => format!(
            "{} steps from {}",
            scales.len(),
            ui::real(scales.iter().copied().fold(f64::INFINITY, f64::min))
        ),
    };
    format!("{} [{}], {scale}", t.name, shape.join(" x "))
}

fn describe_card(card: &Card) -> Result<Description> {
    let nodes = || card.programs().flat_map(|p| &p.nodes);
    let neurons = |node: &'_ Node| match node {
        Node::Neurons(n) => Some((n.len(), n.leader().is_some())),
        _ => None,
    };
    let layers = nodes().filter_map(neurons).count();
    let shared = nodes().filter_map(neurons).filter(|n| n.1).count();
    let neurons: usize = nodes().filter_map(neurons).map(|n| n.0).sum();
    let weights: u64 = card.programs().map(Program::committed_weights).sum();
    let interface = Interface::from_card(card);
    let plans = card
        .programs()
        .map(|p| Plan::new(p.clone(), card.k, &Limits::default()));
    let plans: Result<Vec<Plan>, CardError> = plans.collect();
    let mut lines = vec![("digest", card.digest().to_string())];
    match &interface {
        Ok(i) => {
            lines.push(("name", i.name.clone()));
            lines.extend(i.inputs.iter().map(|t| ("input", describe_tensor(t))));
            lines.extend(i.outputs.iter().map(|t| ("output", describe_tensor(t))));
        }
        Err(error) => lines.push(("interface", format!("unusable: {error}"))),
    }
    lines.push((
        "model",
        format!(
            "{layers} layers, {} neurons, {} weights",
            ui::count(neurons as u64),
            ui::count(weights)
        ),
    ));
    if shared > 0 {
        let text = format!("{shared} of the layers use the weights of another: steps of loops");
        lines.push(("shared", text));
    }
    lines.push(("precision", format!("{} bits", card.range_bits())));
    lines.push((
        "commitment",
        format!("{} points", ui::count(card.points() as u64)),
    ));
    if card.segments.len() > 1 {
        lines.push(("segments", card.segments.len().to_string()));
    }
    let columns = match &plans {
        Ok(plans) => {
            let columns = plans.iter().map(|p| p.layout.columns.advice());
            let columns: usize = columns.sum();
            let text = format!("2^{} rows, {columns} columns", card.k);
            lines.push(("circuit", text));
            Some(columns)
        }
        Err(error) => {
            lines.push(("circuit", format!("unusable: {error}")));
            None
        }
    };
    let told = card.programs().flat_map(disclosures);
    lines.extend(told.map(|d| ("reveals", format!("{}: {}", d.kind.code(), d.place))));
    let json = json!({
        "kind": "card",
        "digest": card.digest().to_string(),
        "interface": interface.as_ref().ok(),
        "layers": layers,
        "layers_sharing_weights": shared,
        "neurons": neurons,
        "weights": weights,
        "bits": card.range_bits(),
        "segments": card.segments.len(),
        "points": card.points(),
        "k": card.k,
        "columns": columns,
        "reveals": ui::reveals(card),
    });
    Ok(Description {
        lines,
        json,
        form: Some(zkinfer::files::card_to_json(card)?),
    })
}

/// The card, and what the owner may know without seeing a weight.
fn describe_model(secret: &Secret) -> Result<Description> {
    let mut description = describe_card(secret.card())?;
    let layers = || secret.segments().iter().flat_map(|s| &s.model().layers);
    let lines = layers().map(|l| {
        let range = format!("{} to {}", ui::real(l.low), ui::real(l.high));
        (
            "layer",
            format!(
                "{}: step {}, calibrated for {range}",
                l.name,
                ui::real(l.scale_max)
            ),
        )
    });
    description.lines.extend(lines);
    let cost = Cost::of_model(secret);
    let takes = format!(
        "about {} of CPU time and {} of memory to prove",
        ui::time(cost.cpu),
        ui::size(cost.memory as usize)
    );
    description.lines.push(("takes", takes));
    description
        .lines
        .push(("secret", "weights and blinds: not shown".to_owned()));
    description.json["predicted"] =
        json!({ "cpu_seconds": cost.cpu.as_secs_f64(), "memory_bytes": cost.memory });
    description.json["kind"] = json!("model");
    description.json["calibration"] = serde_json::to_value(layers().collect::<Vec<_>>())?;
    description.form = None;
    Ok(description)
}

/// A claim in words and as JSON.
fn describe_claim(claim: &Claim) -> (String, Value) {
    match claim {
        Claim::Values(values) => (
            format!("{} values, which travel with the proof", values.len()),
            json!({ "values": values }),
        ),
        Claim::Digest(digest) => (
            format!("public, known to the verifier; digest {digest}"),
            json!({ "digest": digest.to_string() }),
        ),
        Claim::Committed(points) => (
            format!("committed, {} points", points.len()),
            json!({ "committed": points.len() }),
        ),
    }
}

fn describe_context(context: &[u8]) -> String {
    match std::str::from_utf8(context) {
        Ok("") => "none".to_owned(),
        Ok(text) => format!("{text:?}"),
        Err(_) => ui::hex(context),
    }
}

fn describe_proof(proof: &Proof) -> Result<Description> {
    let mut lines = vec![
        (
            "claims",
            "only verification shows whether they hold".to_owned(),
        ),
        ("card", proof.card.to_string()),
    ];
    if proof.runs.len() != 1 {
        lines.push(("runs", proof.runs.len().to_string()));
    }
    let mut runs = Vec::new();
    for (input, output) in &proof.runs {
        let (input, input_json) = describe_claim(input);
        let (output, output_json) = describe_claim(output);
        lines.extend([("input", input), ("output", output)]);
        runs.push(json!({ "input": input_json, "output": output_json }));
    }
    lines.push(("context", describe_context(&proof.context)));
    let halo2: Vec<usize> = proof.segments.iter().map(|s| s.halo2.len()).collect();
    lines.extend(halo2.iter().map(|&bytes| ("halo2", ui::size(bytes))));
    let json = json!({
        "kind": "proof",
        "card": proof.card.to_string(),
        "runs": runs,
        "context_hex": ui::hex(&proof.context),
        "halo2_bytes": halo2,
    });
    Ok(Description {
        lines,
        json,
        form: Some(zkinfer::files::proof_to_json(proof)?),
    })
}
