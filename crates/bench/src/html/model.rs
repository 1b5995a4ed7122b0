//! One model: its facts, stages, sizes, overheads, threads, batches, and whether its proofs are worth it.

use super::page::{Cell, Page};
use super::{Options, economics, peers};
use crate::headline::{money, percent, verifier};
use crate::overhead::PerUnit;
use crate::plot::{Axis, Plot, Point, Row, Rows, Series, Unit, Value};
use crate::report::{Measurement, Report, Samples, Stage, StageName, Summary};
use crate::units::{bytes, count, ratio, time};

pub fn render(
    page: &mut Page,
    index: usize,
    model: &Measurement,
    report: &Report,
    options: &Options,
) {
    page.section(&format!("model-{}", index + 1), &model.name);
    if let Some(text) = verifier(model) {
        page.paragraph(&text);
    }
    facts(page, model);
    page.list(&model.notes);
    stages(page, model);
    overheads(page, model, options);
    scaling(page, model, options);
    economics::render(page, model, &options.economics);
    page.plots([peers::beside(model, &report.peers)]);
}

fn facts(page: &mut Page, model: &Measurement) {
    let facts = &model.facts;
    let mut shown = vec![
        ("parameters", count(facts.parameters)),
        ("multiply-adds", count(facts.multiply_adds)),
        ("activations", count(facts.activations)),
        ("cell groups of the proof", count(facts.neurons)),
        (
            "inputs, outputs",
            format!("{}, {}", count(facts.inputs), count(facts.outputs)),
        ),
        (
            "rows, columns",
            format!(
                "2^{} = {}, {}",
                facts.k,
                count(1u64.checked_shl(facts.k).unwrap_or(u64::MAX)),
                count(facts.columns)
            ),
        ),
        ("points of the model commitment", count(facts.points)),
        ("bits of an activation", count(facts.range_bits.into())),
        ("ONNX file", model.sizes.onnx.map_or("–".into(), bytes)),
        ("owner's model file", bytes(model.sizes.model)),
        ("card (published)", bytes(model.sizes.card)),
        ("proof", bytes(model.sizes.proof)),
    ];
    if let Some(accuracy) = &model.accuracy {
        shown.push(("error against floats, mean", percent(accuracy.mean_error)));
        shown.push(("error against floats, largest", percent(accuracy.max_error)));
        shown.push((
            "same class as in floats",
            format!(
                "{} of {} samples",
                percent(accuracy.same_class),
                accuracy.samples
            ),
        ));
        if accuracy.out_of_range > 0 {
            shown.push((
                "samples that cannot be proven",
                format!(
                    "{} of {}: out of range",
                    accuracy.out_of_range, accuracy.samples
                ),
            ));
        }
    }
    page.facts(&shown);
    if model.samples == Samples::Random {
        page.warning("The inputs were random numbers: costs are those of the model, errors and ranges mean little.");
    }
}

/// A time with its quartiles.
pub fn timed(summary: Option<&Summary>) -> Cell {
    match summary {
        Some(s) if s.runs > 1 => {
            Cell::number(time(s.median)).with(format!("{} to {}", time(s.low), time(s.high)))
        }
        Some(s) => Cell::number(time(s.median)),
        None => Cell::maybe(None),
    }
}

fn memory(stage: &Stage) -> Cell {
    let cell = Cell::maybe(stage.peak_bytes.map(bytes));
    match stage.grown_bytes {
        Some(grown) => cell.with(format!("+{}", bytes(grown))),
        None => cell,
    }
}

fn value(summary: Option<&Summary>) -> Option<Value> {
    summary.map(|s| Value {
        value: s.median,
        spread: (s.runs > 1).then_some((s.low, s.high)),
    })
}

fn stages(page: &mut Page, model: &Measurement) {
    let label = |stage: &Stage| {
        let part = if StageName::PARTS.contains(&stage.name) {
            "– "
        } else {
            ""
        };
        format!("{part}{}", stage.name)
    };
    let rows: Vec<Vec<Cell>> = model
        .stages
        .iter()
        .map(|s| {
            let runs = Cell::number(s.wall.runs.to_string());
            vec![
                Cell::text(label(s)),
                timed(Some(&s.wall)),
                timed(s.cpu.as_ref()),
                memory(s),
                runs,
            ]
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    page.heading("Stages");
    page.table(
        "Time and memory of each stage; parts of a proof begin with a dash",
        &["stage", "wall", "CPU", "memory", "runs"],
        &rows,
    );
    let row = |s: &Stage| Row {
        label: s.name.to_string(),
        values: vec![value(Some(&s.wall)), value(s.cpu.as_ref())],
    };
    let (parts, whole): (Vec<&Stage>, Vec<&Stage>) = model
        .stages
        .iter()
        .partition(|s| StageName::PARTS.contains(&s.name));
    let series = || vec!["wall time".to_owned(), "CPU time, all threads".to_owned()];
    let all = Rows {
        title: "Time of each stage".into(),
        axis: Axis::log("time", Unit::Seconds),
        series: series(),
        rows: whole.into_iter().map(row).collect(),
    };
    let parts = Rows {
        title: "Parts of a proof".into(),
        axis: Axis::linear("time", Unit::Seconds),
        series: series(),
        rows: parts.into_iter().map(row).collect(),
    };
    let memory = Rows {
        title: "Resident memory at its highest".into(),
        axis: Axis::linear("memory", Unit::Bytes),
        series: vec!["memory".into()],
        rows: model
            .stages
            .iter()
            .filter(|s| !StageName::PARTS.contains(&s.name))
            .filter_map(|s| Some((s, s.peak_bytes?)))
            .map(|(s, peak)| Row {
                label: s.name.to_string(),
                values: vec![Some(Value {
                    value: peak as f64,
                    spread: None,
                })],
            })
            .collect(),
    };
    page.plots([all.svg(), parts.svg(), memory.svg()]);
}

fn overheads(page: &mut Page, model: &Measurement, options: &Options) {
    let overhead = model.overhead();
    let price = options.economics.price_per_core_hour;
    let times = |r: Option<f64>| r.map(|r| format!("{}×", ratio(r)));
    let (prove, verify) = (StageName::Prove, StageName::Verify);
    let over_quantized = match (model.cpu(verify), model.cpu(StageName::QuantizedInference)) {
        (Some(v), Some(q)) if q > 0.0 => Some(v / q),
        _ => None,
    };
    let per = |of: fn(&PerUnit) -> Option<f64>| {
        [&overhead.prove, &overhead.verify].map(|p| Cell::maybe(of(p).map(time)))
    };
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut push = |name: &str, cells: [Cell; 2]| {
        rows.push([Cell::text(name)].into_iter().chain(cells).collect())
    };
    push(
        "over float inference",
        [overhead.prove_over_float, overhead.verify_over_float].map(|r| Cell::maybe(times(r))),
    );
    push(
        "over quantized inference",
        [overhead.prove_over_quantized, over_quantized].map(|r| Cell::maybe(times(r))),
    );
    push(
        "per million multiply-adds",
        per(|p| p.million_multiply_adds),
    );
    push("per activation", per(|p| p.activation));
    push("per parameter", per(|p| p.parameter));
    push(
        &format!("money per million, at {} per core-hour", money(price)),
        [prove, verify].map(|s| Cell::maybe(model.money(s, price).map(|m| money(m * 1e6)))),
    );
    let measured = rows
        .iter()
        .any(|r| r[1..].iter().any(|c| *c != Cell::maybe(None)));
    if measured {
        page.heading("Overhead");
        page.table(
            "CPU time of one proof and of one verification",
            &["", "prove", "verify"],
            &rows,
        );
    }
}

/// Plots and tables over threads, batches and runs of a proof.
fn scaling(page: &mut Page, model: &Measurement, options: &Options) {
    if model.threads.is_empty() && model.batches.is_empty() && model.runs.is_empty() {
        return;
    }
    page.heading("Threads, batches, runs");
    let point = |x: usize, s: &Summary, divide: f64, name: &str| Point {
        x: x as f64,
        y: s.median / divide,
        spread: Some((s.low / divide, s.high / divide)),
        name: name.into(),
    };
    let series = |name: &str, points: Vec<Point>| Series {
        name: name.into(),
        points,
        curve: None,
    };
    let threads = Plot {
        title: "Time by number of threads".into(),
        x: Axis::log("threads", Unit::Count),
        y: Axis::log("wall time", Unit::Seconds),
        series: vec![
            series(
                "prove",
                model
                    .threads
                    .iter()
                    .map(|t| point(t.threads, &t.prove.wall, 1.0, "prove"))
                    .collect(),
            ),
            series(
                "verify",
                model
                    .threads
                    .iter()
                    .map(|t| point(t.threads, &t.verify.wall, 1.0, "verify"))
                    .collect(),
            ),
        ],
        level: None,
    };
    let target = options.economics.target_verify_seconds;
    let batch = |b: &crate::report::BatchPoint, s: &Summary, name: &str| {
        point(b.proofs, s, b.proofs.max(1) as f64, name)
    };
    let batches = Plot {
        title: "Verification per proof, by size of the batch".into(),
        x: Axis::log("proofs in the batch", Unit::Count),
        y: Axis::log("time per proof", Unit::Seconds),
        series: vec![
            series(
                "wall time",
                model
                    .batches
                    .iter()
                    .map(|b| batch(b, &b.verify.wall, "wall"))
                    .collect(),
            ),
            series(
                "CPU time",
                model
                    .batches
                    .iter()
                    .filter_map(|b| Some(batch(b, &b.verify.cpu?, "CPU")))
                    .collect(),
            ),
        ],
        level: (!model.batches.is_empty() && target > 0.0)
            .then(|| (target, format!("target: {}", time(target)))),
    };
    let runs = Plot {
        title: "Proof of several runs, per run".into(),
        x: Axis::log("runs in the proof", Unit::Count),
        y: Axis::log("wall time per run", Unit::Seconds),
        series: vec![
            series(
                "prove",
                model
                    .runs
                    .iter()
                    .map(|r| point(r.runs, &r.prove.wall, r.runs.max(1) as f64, "prove"))
                    .collect(),
            ),
            series(
                "verify",
                model
                    .runs
                    .iter()
                    .map(|r| point(r.runs, &r.verify.wall, r.runs.max(1) as f64, "verify"))
                    .collect(),
            ),
        ],
        level: None,
    };
    page.plots([threads.svg(), batches.svg(), runs.svg()]);
    let rows: Vec<Vec<Cell>> = model
        .threads
        .iter()
        .map(|t| {
            vec![
                Cell::number(t.threads.to_string()),
                timed(Some(&t.prove.wall)),
                timed(t.prove.cpu.as_ref()),
                timed(Some(&t.verify.wall)),
                timed(t.verify.cpu.as_ref()),
            ]
        })
        .collect();
    page.table(
        "By number of threads",
        &[
            "threads",
            "prove, wall",
            "prove, CPU",
            "verify, wall",
            "verify, CPU",
        ],
        &rows,
    );
    let rows: Vec<Vec<Cell>> = model
        .batches
        .iter()
        .map(|b| {
            vec![
                Cell::number(b.proofs.to_string()),
                timed(Some(&b.verify.wall)),
                Cell::number(time(b.wall_per_proof())),
                Cell::maybe(b.cpu_per_proof().map(time)),
            ]
        })
        .collect();
    page.table(
        "Verification in batches",
        &["proofs", "all, wall", "per proof, wall", "per proof, CPU"],
        &rows,
    );
    let rows: Vec<Vec<Cell>> = model
        .runs
        .iter()
        .map(|r| {
            vec![
                Cell::number(r.runs.to_string()),
                timed(Some(&r.prove.wall)),
                timed(Some(&r.verify.wall)),
                Cell::number(bytes(r.proof_bytes)),
            ]
        })
        .collect();
    page.table(
        "Several runs in one proof",
        &["runs", "prove, wall", "verify, wall", "proof"],
        &rows,
    );
}
