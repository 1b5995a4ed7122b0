//! How rows are shown.

use std::fmt::Write;

use crate::Options;
use crate::measure::{Row, Stage};

/// One line for the terminal.
pub fn line(row: &Row) -> String {
    let mut out = format!("{} {:52}", status(row), row.name);
    if row.stage >= Stage::Evaluated {
        let _ = write!(out, " T {} error {:.3} %", row.bits, row.error * 100.0);
        if let Some((float, integer)) = row.values {
            let check = if row.reproduced {
                ""
            } else {
                " (not the stated one)"
            };
            let _ = write!(out, " {} {float:.4} -> {integer:.4}{check}", row.metric);
        }
        let _ = write!(out, " neurons {}", row.neurons);
        if row.out_of_range > 0 {
            let _ = write!(out, " out of range {}/{}", row.out_of_range, row.samples);
        }
    }
    if let Some(c) = &row.cost {
        let _ = write!(
            out,
            " k {} columns {} prove {:.0} ms (cpu {:.0}) verify {:.1} ms proof {} B card {} B memory {} MB",
            c.k, c.columns, c.prove_ms, c.prove_cpu_ms, c.verify_ms, c.proof, c.card, row.memory.1
        );
    }
    if let Some(reason) = &row.reason {
        let _ = write!(out, ": {reason}");
    }
    for doubt in &row.doubts {
        let _ = write!(out, "\n    compile refuses: {doubt}");
    }
    out
}

fn status(row: &Row) -> &'static str {
    match row.stage {
        Stage::Nothing => "not imported ",
        Stage::Imported => "not quantized",
        Stage::Quantized => "not evaluated",
        _ if row.out_of_range > 0 => "out of range ",
        _ if !row.close => "imprecise    ",
        Stage::Evaluated => "precise      ",
        Stage::Verified => "verified     ",
    }
}

/// How many reached which stage.
pub fn totals(rows: &[Row]) -> String {
    let reached = |s: Stage| rows.iter().filter(|r| r.stage >= s).count();
    let close = |r: &&Row| r.stage >= Stage::Evaluated && r.close && r.out_of_range == 0;
    let judged = || rows.iter().filter(|r| r.stage >= Stage::Evaluated);
    format!(
        "{} models: {} imported, {} quantized, {} within the metric, {} verified, {} both; {} of {} samples out of range",
        rows.len(),
        reached(Stage::Imported),
        reached(Stage::Quantized),
        rows.iter().filter(close).count(),
        reached(Stage::Verified),
        rows.iter().filter(|r| r.works()).count(),
        rows.iter().map(|r| r.out_of_range).sum::<usize>(),
        judged().map(|r| r.samples).sum::<usize>()
    )
}

/// The page: totals, one table per group, what does not work.
pub fn page(rows: &[Row], options: &Options) -> String {
    let mut out = String::from(INTRODUCTION);
    let _ = writeln!(out, "\n{}.\n", totals(rows));
    let _ = writeln!(out, "{}\n", machine());
    let mut groups: Vec<&str> = rows.iter().map(|r| group(&r.name)).collect();
    groups.dedup();
    out += "| group | models | imported | quantized | within the metric | proven and verified |\n|---|---|---|---|---|---|\n";
    for g in &groups {
        let of: Vec<&Row> = rows.iter().filter(|r| group(&r.name) == *g).collect();
        let reached = |s: Stage| of.iter().filter(|r| r.stage >= s).count();
        let close = |r: &&&Row| r.stage >= Stage::Evaluated && r.close && r.out_of_range == 0;
        let _ = writeln!(
            out,
            "| {g} | {} | {} | {} | {} | {} |",
            of.len(),
            reached(Stage::Imported),
            reached(Stage::Quantized),
            of.iter().filter(close).count(),
            reached(Stage::Verified)
        );
    }
    for g in &groups {
        let _ = writeln!(out, "\n## {g}\n\n{HEAD}");
        for row in rows.iter().filter(|r| group(&r.name) == *g) {
            let _ = writeln!(out, "{}", cells(row));
        }
    }
    let failed: Vec<&Row> = rows.iter().filter(|r| !fine(r, options)).collect();
    if !failed.is_empty() {
        out += "\n## What does not work, and why\n\n| model | status | reason |\n|---|---|---|\n";
        for row in failed {
            let reason = row
                .reason
                .as_deref()
                .unwrap_or("the error of the quantized model");
            let reason = reason.replace('|', "\\|").replace('\n', " ");
            let _ = writeln!(out, "| {} | {} | {reason} |", row.name, status(row).trim());
        }
    }
    out
}

const INTRODUCTION: &str = "\
# Whole models

Every model of the corpus, calibrated on its stored samples with default options, run in integers on all of them, and judged
against the *stored* outputs of ONNX Runtime; sample 0 is proven with the default engine (weights hidden, input and output
public) and verified from nothing but the card's and the proof's bytes. This page is written by

```text
cargo xtask survey -- $ZKINFER_CORPUS/models --prove --write docs/models.md
```

* *metric*: what the corpus states for the model, of the stored float outputs and of the integers; within half a point where it
  is a share (of samples, of pairs, of variance), half a per cent elsewhere. Models without one are judged by their error alone.
* *error*: mean absolute error over the 99th percentile of the output's magnitude, of the worst output; at most 0.5 % where
  there is no metric.
* *prove*, *verify*: wall time, median of three where it is short; *per element*: time of one core per output element of a
  non-linear operator, as the corpus counts them. *memory*: highest resident memory from committing to verification.
";

const HEAD: &str = "\
| model | status | metric | float | quantized | error % | T | k | columns | prove s | verify ms | proof kB | card kB | memory MB | per element µs |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

fn group(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

fn fine(row: &Row, options: &Options) -> bool {
    let last = if options.prove {
        Stage::Verified
    } else {
        Stage::Evaluated
    };
    row.stage >= last && row.close && row.out_of_range == 0
}

fn cells(row: &Row) -> String {
    let mut cells = vec![
        row.name.split('/').next_back().unwrap_or("").to_owned(),
        status(row).trim().to_owned(),
    ];
    if row.stage < Stage::Evaluated {
        cells.resize(15, String::new());
        return format!("| {} |", cells.join(" | "));
    }
    match row.values {
        Some((float, integer)) => {
            cells.extend([
                row.metric.clone(),
                format!("{float:.4}"),
                format!("{integer:.4}"),
            ]);
        }
        None => cells.extend([String::new(), String::new(), String::new()]),
    }
    cells.extend([format!("{:.3}", row.error * 100.0), row.bits.to_string()]);
    match &row.cost {
        Some(c) => {
            let each = if row.nonlinear >= 1000 {
                format!("{:.1}", c.prove_cpu_ms * 1e3 / row.nonlinear as f64)
            } else {
                String::new()
            };
            cells.extend([
                c.k.to_string(),
                c.columns.to_string(),
                format!("{:.2}", c.prove_ms / 1e3),
                format!("{:.0}", c.verify_ms),
                format!("{:.1}", c.proof as f64 / 1e3),
                format!("{:.1}", c.card as f64 / 1e3),
                row.memory.1.to_string(),
                each,
            ]);
        }
        None => cells.resize(15, String::new()),
    }
    format!("| {} |", cells.join(" | "))
}

/// What it ran on.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|l| l.starts_with("model name"));
    let model = model
        .and_then(|l| l.split_once(": "))
        .map_or("unknown processor", |m| m.1);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("Measured on {cores} cores ({model}).")
}
