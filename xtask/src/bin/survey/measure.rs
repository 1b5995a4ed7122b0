//! One model, in this process: every stage prints the row so far.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use zkinfer::data::{Array, Arrays, Tensors};
use zkinfer::quantize::{Report, evaluate};
use zkinfer::{
    Card, Expected, Graph, ImportOptions, Limits, Proof, QuantizeOptions, QuantizedModel, Samples,
    Secret, Visibility, public_input, verifier,
};
use zkinfer_circuits::program::{Node, ProgramLimits};

use crate::metric::{Class, Metric};
use crate::{Failure, Options};

/// How far a model came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    Nothing,
    Imported,
    Quantized,
    Evaluated,
    Verified,
}

/// One model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub stage: Stage,
    /// Why no further.
    pub reason: Option<String>,
    pub kind: String,
    pub bits: u32,
    pub neurons: usize,
    /// Output elements of non-linear operators, as the corpus counts them.
    pub nonlinear: usize,
    pub samples: usize,
    /// Samples that left the calibrated ranges.
    pub out_of_range: usize,
    /// Largest mean error of an output against the stored float output, over the range of that output.
    pub error: f64,
    pub metric: String,
    /// Of stored float outputs and of the quantized model's.
    pub values: Option<(f64, f64)>,
    /// Whether the metric of the stored outputs is the one that the corpus states.
    pub reproduced: bool,
    pub close: bool,
    pub cost: Option<Cost>,
    /// Why `compile` refuses the model.
    #[serde(default)]
    pub doubts: Vec<String>,
    /// Resident memory at its highest: until evaluation, and from committing to verification.
    pub memory: (u64, u64),
}

/// What proving sample 0 took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cost {
    pub k: u32,
    pub columns: usize,
    pub commit_ms: f64,
    pub prove_ms: f64,
    /// Of all cores together.
    pub prove_cpu_ms: f64,
    pub verify_ms: f64,
    pub proof: usize,
    pub card: usize,
}

impl Row {
    pub fn new(name: &str) -> Row {
        Row {
            name: name.to_owned(),
            stage: Stage::Nothing,
            reason: None,
            kind: String::new(),
            bits: 0,
            neurons: 0,
            nonlinear: 0,
            samples: 0,
            out_of_range: 0,
            error: 0.0,
            metric: String::new(),
            values: None,
            reproduced: false,
            close: false,
            cost: None,
            doubts: Vec::new(),
            memory: (0, 0),
        }
    }

    /// Imported, quantized, judged, proven and verified.
    pub fn works(&self) -> bool {
        self.stage == Stage::Verified && self.close && self.out_of_range == 0
    }

    fn print(&self) {
        println!("{}", serde_json::to_string(self).unwrap_or_default());
    }
}

pub fn model(options: &Options, name: &str) {
    let mut row = Row::new(name);
    if let Err(e) = stages(options, &mut row) {
        row.reason = Some(e.to_string());
    }
    row.print();
}

fn stages(options: &Options, row: &mut Row) -> Result<(), Failure> {
    let folder = options.root.join(&row.name);
    let facts: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("meta.json"))?)?;
    row.kind = facts["kind"].as_str().unwrap_or("").to_owned();
    row.nonlinear = facts["nonlinear_elems"].as_u64().unwrap_or(0) as usize;
    let bytes = std::fs::read(folder.join("network.onnx"))?;
    let arrays = Arrays::load(folder.join("samples.npz"))?;
    let options_of_import = ImportOptions {
        samples: arrays.shapes(),
        ..Default::default()
    };
    let graph = Graph::import(&bytes, &options_of_import)?.graph;
    row.stage = Stage::Imported;
    row.print();
    let samples = arrays.samples(&graph.input_forms(), &graph.output_forms())?;
    let mut choices = QuantizeOptions::default();
    choices.range_bits = options.bits;
    row.bits = choices.bits();
    let all = samples.inputs.len();
    let (seen, judged): (Vec<usize>, Vec<usize>) = match options.unseen {
        None => ((0..all).collect(), (0..all).collect()),
        Some(count) => {
            if all < 2 * count {
                return Err("fewer than twice as many samples".into());
            }
            // Spread over all of them: neighbours may be alike.
            let seen: Vec<usize> = (0..count).map(|i| i * all / count).collect();
            let judged = (0..all).filter(|i| !seen.contains(i)).collect();
            (seen, judged)
        }
    };
    row.samples = judged.len();
    let seen: Tensors = seen.iter().map(|&i| samples.inputs[i].clone()).collect();
    let model = graph.quantize(&seen, &choices)?;
    // What `compile` says of all samples.
    let doubts = evaluate(&graph, &model, &seen, &[])?.doubts();
    row.doubts = doubts.iter().map(ToString::to_string).collect();
    row.bits = model.program.range_bits;
    row.stage = Stage::Quantized;
    row.neurons = neurons(&model);
    row.print();
    if options.layers {
        layers(&evaluate(&graph, &model, &samples.inputs, &[])?);
    }
    judge(&folder, &facts, &model, (&samples, &judged), row)?;
    row.stage = Stage::Evaluated;
    row.memory.0 = peak_mb();
    row.print();
    if options.prove {
        // The peak from here on.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        row.cost = Some(prove(model, &row.name, &samples.inputs[0])?);
        row.memory.1 = peak_mb();
        row.stage = Stage::Verified;
    }
    Ok(())
}

fn neurons(model: &QuantizedModel) -> usize {
    let count = |n: &Node| match n {
        Node::Neurons(n) => n.len(),
        _ => 0,
    };
    model.program.nodes.iter().map(count).sum()
}

fn layers(report: &Report) {
    for l in &report.layers {
        println!(
            "{:>5} {:44.44} {:22} {:>7} seen {:>11.4}..{:<11.4} step {:>9.2e} fill {:.2} error mean {:.4} % max {:.3e}",
            l.node,
            l.name,
            l.unit,
            l.neurons,
            l.calibrated.0,
            l.calibrated.1,
            l.scale_max,
            l.fill,
            l.relative_error * 100.0,
            l.max_error
        );
    }
    for (sample, reason) in report.out_of_range.iter().take(5) {
        println!("      sample {sample}: {reason}");
    }
}

/// Runs every sample in integers and compares with the stored float outputs.
fn judge(
    folder: &Path,
    facts: &serde_json::Value,
    model: &QuantizedModel,
    (samples, judged): (&Samples, &[usize]),
    row: &mut Row,
) -> Result<(), Failure> {
    let stored = samples.outputs.as_ref().ok_or("no stored outputs")?;
    let expanded = model.program.expand(&ProgramLimits::default())?;
    // Samples that cannot be run count as wrong: nothing is put in their place.
    let mut kept = Vec::new();
    let mut got: Tensors = Vec::new();
    for &i in judged {
        let x = &samples.inputs[i];
        let run = || -> Result<Vec<Vec<f32>>, Failure> {
            let trace = model.run(&expanded, &model.quantize_inputs(x, false)?)?;
            Ok(model.dequantize_outputs(&expanded, &trace)?)
        };
        match run() {
            Ok(y) => {
                got.push(y);
                kept.push(i);
            }
            Err(e) => {
                row.out_of_range += 1;
                row.reason.get_or_insert(format!("sample {i}: {e}"));
            }
        }
    }
    let pick = |t: &Tensors| -> Tensors { kept.iter().map(|&i| t[i].clone()).collect() };
    let (inputs, want) = (pick(&samples.inputs), pick(stored));
    row.error = error(&got, &want)?;
    row.close = row.error <= 0.005;
    let statement = facts["float_metric"].as_str().unwrap_or("");
    let Some((mut metric, stated)) = Metric::parse(statement) else {
        return Ok(());
    };
    let labels = labels(&folder.join("samples.npz"))?;
    let each = labels.len() / samples.inputs.len().max(1);
    let kept_labels: Vec<f32> = kept
        .iter()
        .flat_map(|&i| labels[i * each..(i + 1) * each].iter().copied())
        .collect();
    let agrees = |m: Metric| {
        let value = m.of(&samples.inputs, stored, &labels);
        value.is_some_and(|v| (v - stated).abs() <= 6e-4 * stated.abs().max(0.1))
    };
    // Outputs are labels, probabilities or logits: what yields the stated number.
    if let Metric::Accuracy(_) = metric {
        let label = |y: &Vec<Vec<f32>>| matches!(y.first().map(Vec::as_slice), Some([v]) if v.fract() == 0.0);
        let logits = Metric::Accuracy(Class::Score { threshold: 0.0 });
        if stored.iter().all(label) {
            metric = Metric::Accuracy(Class::Label);
        } else if !agrees(metric) && agrees(logits) {
            metric = logits;
        }
    }
    row.reproduced = agrees(metric);
    row.metric = metric.name().to_owned();
    let float = metric.of(&inputs, &want, &kept_labels);
    let integer = metric.of(&inputs, &got, &kept_labels);
    row.values = float.zip(integer);
    if let Some((float, integer)) = row.values {
        row.close = metric.close(float, integer);
    }
    Ok(())
}

/// Largest error of an output: the mean over samples and elements, over the 99th percentile of the float output's magnitude.
fn error(got: &Tensors, want: &Tensors) -> Result<f64, Failure> {
    let outputs = want.first().map_or(0, Vec::len);
    let mut worst = 0.0f64;
    for o in 0..outputs {
        let (mut sum, mut magnitudes) = (0.0, Vec::new());
        for (g, w) in got.iter().zip(want) {
            let g = g.get(o).filter(|g| g.len() == w[o].len());
            let g = g.ok_or_else(|| {
                let lens = |y: &Vec<Vec<f32>>| y.iter().map(Vec::len).collect::<Vec<_>>();
                format!(
                    "{:?} output elements, stored are {:?}",
                    lens(&got[0]),
                    lens(&want[0])
                )
            })?;
            sum += g
                .iter()
                .zip(&w[o])
                .map(|(a, b)| f64::from((a - b).abs()))
                .sum::<f64>();
            magnitudes.extend(w[o].iter().map(|v| v.abs()));
        }
        magnitudes.sort_by(f32::total_cmp);
        let at = (magnitudes.len() as f64 * 0.99) as usize;
        let range = magnitudes
            .get(at.min(magnitudes.len().saturating_sub(1)))
            .copied();
        let mean = sum / magnitudes.len().max(1) as f64;
        if mean > 0.0 {
            worst = worst.max(mean / f64::from(range.unwrap_or(0.0)).max(1e-12));
        }
    }
    Ok(if worst.is_finite() { worst } else { f64::MAX })
}

/// All labels, flat, whatever they are; empty where there are none.
fn labels(path: &Path) -> Result<Vec<f32>, Failure> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path)?)?;
    let Ok(mut entry) = archive.by_name("labels.npy") else {
        return Ok(Vec::new());
    };
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut entry, &mut bytes)?;
    Ok(Array::from_npy("labels", &bytes)?.values)
}

fn prove(model: QuantizedModel, name: &str, sample: &[Vec<f32>]) -> Result<Cost, Failure> {
    const CONTEXT: &[u8] = b"survey";
    let clock = Instant::now();
    let options = zkinfer::CommitOptions::default().with_name(name);
    let secret = Secret::commit_with(model, &options, &mut zkinfer::rng())?;
    secret.prepare()?;
    let commit_ms = clock.elapsed().as_secs_f64() * 1e3;
    let run = secret.infer(sample)?;
    // Short proofs three times; the middle one counts.
    let mut laps: Vec<(f64, f64, Vec<u8>)> = Vec::new();
    while laps.is_empty() || (laps.len() < 3 && laps[0].0 < 1500.0) {
        let (clock, cpu) = (Instant::now(), cpu_ms());
        let proven = secret.prove(&run, &Visibility::default(), CONTEXT, &mut zkinfer::rng())?;
        let wall = clock.elapsed().as_secs_f64() * 1e3;
        laps.push((wall, cpu_ms() - cpu, proven.proof.to_bytes()));
    }
    laps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (prove_ms, prove_cpu_ms, proof) = laps.swap_remove(laps.len() / 2);
    let card = secret.card().to_bytes();
    let columns = secret.segments()[0].plan().layout.columns.advice();
    drop(secret);

    let limits = Limits::default();
    let verifier = verifier(Card::from_bytes(&card, limits.card_bytes)?, &limits)?;
    let expected = Expected {
        input: Some(public_input(verifier.card(), sample)?),
        output: None,
        context: CONTEXT.to_vec(),
    };
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < 3 && times[0] < 1500.0) {
        let clock = Instant::now();
        verifier.verify(&expected, &Proof::from_bytes(&proof, limits.proof_bytes)?)?;
        times.push(clock.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(Cost {
        k: verifier.card().k,
        columns,
        commit_ms,
        prove_ms,
        prove_cpu_ms,
        verify_ms: times[times.len() / 2],
        proof: proof.len(),
        card: card.len(),
    })
}

/// Highest resident memory, in MB.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:"));
    let kb = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}

/// CPU time of the process so far, user and system.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit(')').next().unwrap_or("");
    let fields = rest.split_whitespace().skip(11).take(2);
    fields.filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() * 10.0
}
