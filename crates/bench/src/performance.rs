//! `docs/performance.md` and its plots, from a [`Baseline`]: the page is nothing but that file, so it cannot be stale
//! without a test that says so.

use crate::baseline::{Baseline, Bench};
use crate::plot::{self, Axis, Row, Rows, Unit, Value};
use crate::units;
use std::fmt::Write as _;

/// A stage of a model: name of its benchmarks, and what is done.
type Stage = (&'static str, &'static str);

const OWNER: [Stage; 8] = [
    ("import", "ONNX bytes to a graph"),
    (
        "quantize",
        "graph and at most 32 samples to an integer model; several precisions are tried",
    ),
    ("register", "plan, commitment to the weights, support proof"),
    ("encode model", "committed model to bytes"),
    ("decode model", "and back, with its plan"),
    ("derive key", "proving key, once per process"),
    (
        "infer float",
        "the ONNX model in floats, by tract, optimised",
    ),
    ("infer", "the quantized model, exactly as it is proven"),
];

const PROVER: [Stage; 9] = [
    ("prove", "a run, with public input and output"),
    ("prove: witness", "cells that depend on no challenge"),
    ("prove: commit to witness", "commitments to them"),
    ("prove: fold", "all weights into one vector per challenge"),
    ("prove: commit to folds", "commitments to that"),
    (
        "prove: sums",
        "lookups and running sums, with their commitments",
    ),
    ("prove: open", "quotient, evaluations, opening"),
    ("prove: link", "to the model commitment"),
    ("prove 8 runs", "in one proof"),
];

const VERIFIER: [Stage; 8] = [
    ("encode card", "card to bytes"),
    ("decode card", "and back, checked"),
    (
        "load card",
        "checks, verifying key: once per model and process",
    ),
    ("encode proof", "proof to bytes"),
    ("decode proof", "and back, checked"),
    ("verify", "one proof, card loaded"),
    ("verify 8 proofs", "of one model, together"),
    ("verify 64 proofs", "of one model, together"),
];

const KERNELS: [Stage; 7] = [
    ("field", "operations of the field, over vectors"),
    (
        "msm",
        "multi-scalar multiplication, by kind of scalars and number of points",
    ),
    (
        "collapse",
        "generators of the inner-product argument, folded several rounds at once",
    ),
    ("transform", "evaluation on a coset and back"),
    ("gates", "all gates over all rows"),
    ("fold", "integer weights, points × rows, by challenges"),
    ("commitment", "to columns, and their opening"),
];

/// Models of the benchmarks.
const MODELS: [Stage; 6] = [
    (
        "digits",
        "the network of `zkinfer demo`: dense, 8x8 images of digits",
    ),
    ("mlp-784-128-10", "dense, 101,632 weights, made on the spot"),
    (
        "cnn-16x16-8-8",
        "two 3x3 convolutions of 8 channels over 16x16, made on the spot",
    ),
    (
        "lenet5_mnist",
        "LeNet-5 with max pooling, 61,706 parameters, of the corpus",
    ),
    (
        "lstm_vol_sp500",
        "LSTM over 20 steps, 1,313 parameters, of the corpus",
    ),
    (
        "rf_breast_cancer",
        "random forest of scikit-learn, 1,280 parameters, of the corpus",
    ),
];

/// Codes that a kernel is compared with, best known first.
const REFERENCES: [&str; 3] = ["upstream", "tree", "plain"];

/// Our own code on every machine, and on those that have the instructions, as the kernels name themselves.
const PORTABLE: &str = "portable";
const VECTORS: &str = "AVX-512 IFMA";

/// Where plots are, seen from the page.
const IMAGES: &str = "images/performance";

/// The page and its plots: paths below `docs/` and contents.
pub fn pages(baseline: &Baseline) -> Vec<(String, String)> {
    let mut files = vec![("performance.md".to_owned(), page(baseline))];
    let plots = [
        ("prove", parts(baseline)),
        ("verify", verification(baseline)),
        ("kernels", kernels(baseline)),
    ];
    for (name, rows) in plots {
        let svg = rows.svg().unwrap_or_default();
        files.push((format!("{IMAGES}/{name}.svg"), plot::file(&svg)));
    }
    files
}

/// Names of benchmarks in a baseline that the page has no place for.
pub fn unknown(baseline: &Baseline) -> Vec<String> {
    let among = |stages: &[Stage], b: &Bench| stages.iter().any(|(name, _)| *name == b.stage);
    let codes = [PORTABLE, VECTORS].into_iter().chain(REFERENCES);
    let codes: Vec<&str> = codes.collect();
    let known = |b: &Bench| match b.case.is_empty() {
        true => among(&OWNER, b) || among(&PROVER, b) || among(&VERIFIER, b),
        false => among(&KERNELS, b) && codes.contains(&b.of.as_str()),
    };
    let unknown = baseline.benches.iter().filter(|b| !known(b));
    unknown.map(Bench::id).collect()
}

/// Models in the order of the page, those that it does not know behind.
fn models(baseline: &Baseline) -> Vec<&str> {
    let measured = |name: &str| {
        baseline
            .benches
            .iter()
            .any(|b| b.case.is_empty() && b.of == name)
    };
    let mut models: Vec<&str> = MODELS.iter().map(|m| m.0).filter(|m| measured(m)).collect();
    for bench in baseline.benches.iter().filter(|b| b.case.is_empty()) {
        if !models.contains(&bench.of.as_str()) {
            models.push(&bench.of);
        }
    }
    models
}

fn page(baseline: &Baseline) -> String {
    let machine = &baseline.machine;
    let load = machine.load_end.or(machine.load_start);
    let memory = machine
        .memory_bytes
        .map_or_else(String::new, |m| format!(", {}", units::bytes(m)));
    let mut out = format!(
        "<!-- Written by `cargo xtask performance -- --save`. Do not edit. -->
# Performance

What every stage takes, from criterion's benchmarks. They are run before a release, in less than ten minutes on two cores:

```sh
cargo bench --workspace                                             # all; a name behind `--` measures what contains it
cargo xtask performance -- --compare              # against benches/baseline.json
cargo xtask performance -- --save                 # that becomes the baseline, and this page
```

Wall time on {cpu}, {cores} cores{memory} ({os}; {engine} engine; zkinfer {zkinfer}, halo2_proofs {halo2}, {rustc}), {when}{load}.
{busy}Medians; the last section has their intervals at 95 % confidence. What a model of yours costs, with CPU time and memory: `zkinfer bench MODEL.onnx`.

| model | what it is |
|---|---|
",
        busy = match load.is_some_and(|l| l[1] > 1.5 * machine.cores as f64) {
            true => "**The machine was busy with other work: take these figures as upper bounds, and measure again.** ",
            false => "",
        },
        cpu = machine.cpu,
        cores = machine.cores,
        os = machine.os,
        engine = machine.engine,
        zkinfer = machine.zkinfer,
        halo2 = machine.halo2,
        rustc = machine.rustc,
        when = machine.started,
        load = load.map_or_else(String::new, |l| format!(
            "; load averages behind the run, over 1, 5 and 15 minutes: {:.1}, {:.1}, {:.1}",
            l[0], l[1], l[2]
        )),
    );
    let models = models(baseline);
    for model in &models {
        let about = MODELS.iter().find(|m| m.0 == *model).map_or("", |m| m.1);
        let _ = writeln!(out, "| `{model}` | {about} |");
    }
    let missing = MODELS.iter().filter(|m| !models.contains(&m.0));
    let missing: Vec<_> = missing.map(|m| format!("`{}`", m.0)).collect();
    if !missing.is_empty() {
        let _ = writeln!(out, "\nNot measured in this run: {}.", missing.join(", "));
    }
    let sections = [
        ("Owner", "", &OWNER[..]),
        ("Prover", "prove", &PROVER),
        ("Verifier", "verify", &VERIFIER),
    ];
    for (title, plot, stages) in sections {
        let _ = writeln!(out, "\n## {title}\n");
        if !plot.is_empty() {
            let _ = writeln!(
                out,
                "![{title}: the figures of the table as bars]({IMAGES}/{plot}.svg)\n"
            );
        }
        stage_table(&mut out, baseline, &models, stages);
    }
    out.push_str("\n## Kernels\n\n");
    let _ = writeln!(
        out,
        "![Kernels: times faster than the reference, as bars]({IMAGES}/kernels.svg)\n"
    );
    out.push_str(
        "One thread. `upstream` is `halo2_proofs` or `pasta_curves`; `tree` walks expressions over whole columns as halo2 does; `plain` is a loop of\n\
         multiplications. Times faster than the reference in brackets; without a reference, than portable code.\n\n\
         | kernel | of | reference | portable | AVX-512 IFMA |\n|---|---|---|---|---|\n",
    );
    kernel_table(&mut out, baseline);
    out.push_str("\n## Intervals\n\n<details><summary>All benchmarks: median, 95 % confidence interval of the median</summary>\n\n| benchmark | median | interval |\n|---|---|---|\n");
    for bench in &baseline.benches {
        let [median, low, high] = [bench.median, bench.low, bench.high].map(units::time);
        let _ = writeln!(out, "| `{}` | {median} | {low} to {high} |", bench.id());
    }
    out.push_str("\n</details>\n");
    out
}

/// Stages down, models across.
fn stage_table(out: &mut String, baseline: &Baseline, models: &[&str], stages: &[Stage]) {
    let heads: Vec<_> = models.iter().map(|m| format!("`{m}`")).collect();
    let _ = writeln!(out, "| stage | {} | what is done |", heads.join(" | "));
    let _ = writeln!(out, "|---|{}---|", "---|".repeat(models.len()));
    for (stage, about) in stages {
        let of: Vec<_> = models
            .iter()
            .map(|m| baseline.bench(stage, "", m))
            .collect();
        if of.iter().all(Option::is_none) {
            continue;
        }
        let cells = of.iter().map(|b| b.map_or_else(String::new, cell));
        let cells = cells.collect::<Vec<_>>().join(" | ");
        let _ = writeln!(out, "| {stage} | {cells} | {about} |");
    }
}

/// A median; of several, also what each takes.
fn cell(bench: &Bench) -> String {
    let median = units::time(bench.median);
    match bench.elements {
        Some(n) if n > 1 => format!("{median} (each {})", units::time(bench.per_element())),
        _ => median,
    }
}

/// A kernel's figures: its reference's, the portable backend's, the vectors'.
struct Kernel<'a> {
    stage: &'a str,
    case: &'a str,
    reference: Option<&'a Bench>,
    portable: Option<&'a Bench>,
    vectors: Option<&'a Bench>,
}

impl Kernel<'_> {
    /// The reference; where portable code is the reference itself, that.
    fn base(&self) -> Option<&Bench> {
        self.reference.or(self.portable)
    }

    /// How many times faster than the reference. Vectors do more in an iteration: by element.
    fn times(&self, bench: Option<&Bench>) -> Option<f64> {
        Some(self.base()?.per_element() / bench?.per_element())
    }
}

fn kernel_rows(baseline: &Baseline) -> Vec<Kernel<'_>> {
    let mut rows: Vec<Kernel<'_>> = Vec::new();
    for (stage, _) in KERNELS {
        for bench in baseline.benches.iter().filter(|b| b.stage == stage) {
            if rows
                .iter()
                .any(|r| r.stage == stage && r.case == bench.case)
            {
                continue;
            }
            let by = |of: &str| baseline.bench(stage, &bench.case, of);
            rows.push(Kernel {
                stage,
                case: &bench.case,
                reference: REFERENCES.iter().find_map(|r| by(r)),
                portable: by(PORTABLE),
                vectors: by(VECTORS),
            });
        }
    }
    rows
}

fn kernel_table(out: &mut String, baseline: &Baseline) {
    for kernel in kernel_rows(baseline) {
        let reference = kernel
            .reference
            .map_or_else(String::new, |b| format!("{} ({})", per(b), b.of));
        let of = |bench: Option<&Bench>| match (bench, kernel.times(bench)) {
            (Some(b), Some(times)) if kernel.base() != Some(b) => {
                format!("{} ({})", per(b), units::ratio(times))
            }
            (Some(b), _) => per(b),
            _ => String::new(),
        };
        let (portable, vectors) = (of(kernel.portable), of(kernel.vectors));
        let _ = writeln!(
            out,
            "| {} | {} | {reference} | {portable} | {vectors} |",
            kernel.stage, kernel.case
        );
    }
}

/// Field operations, rows and weights are counted: time of one.
fn per(bench: &Bench) -> String {
    match bench.elements {
        Some(_) => format!("{} each", units::time(bench.per_element())),
        None => units::time(bench.median),
    }
}

fn value(value: f64) -> Option<Value> {
    Some(Value {
        value,
        spread: None,
    })
}

fn names(series: &[&str]) -> Vec<String> {
    series.iter().map(|s| (*s).to_owned()).collect()
}

/// Parts of a proof; what belongs together is added up.
fn parts(baseline: &Baseline) -> Rows {
    const PARTS: [(&str, &[&str]); 4] = [
        (
            "witness, commitments to it",
            &["prove: witness", "prove: commit to witness"],
        ),
        (
            "fold, commitments to it",
            &["prove: fold", "prove: commit to folds"],
        ),
        ("lookups and running sums", &["prove: sums"]),
        ("quotient, opening, link", &["prove: open", "prove: link"]),
    ];
    let rows = models(baseline).into_iter().map(|model| {
        let median = |stage: &&str| Some(baseline.bench(stage, "", model)?.median);
        let part = |stages: &[&str]| value(stages.iter().map(median).sum::<Option<f64>>()?);
        Row {
            label: model.to_owned(),
            values: PARTS.iter().map(|(_, stages)| part(stages)).collect(),
        }
    });
    Rows {
        title: "Parts of a proof".into(),
        axis: Axis::linear("wall time", Unit::Seconds),
        series: names(&PARTS.map(|p| p.0)),
        rows: rows
            .filter(|r| r.values.iter().any(Option::is_some))
            .collect(),
    }
}

/// A verification alone and in batches.
fn verification(baseline: &Baseline) -> Rows {
    let stages = ["verify", "verify 8 proofs", "verify 64 proofs"];
    let rows = models(baseline).into_iter().map(|model| {
        let each = |stage: &&str| value(baseline.bench(stage, "", model)?.per_element());
        Row {
            label: model.to_owned(),
            values: stages.iter().map(each).collect(),
        }
    });
    Rows {
        title: "Verification of one proof, alone and in batches".into(),
        axis: Axis::linear("wall time per proof", Unit::Seconds),
        series: names(&["alone", "8 together", "64 together"]),
        rows: rows
            .filter(|r| r.values.iter().any(Option::is_some))
            .collect(),
    }
}

/// Kernels of the plot, and what they are called there.
const PLOTTED: [(&str, &str, &str); 8] = [
    ("field", "mul, slices", "field products"),
    ("msm", "full, 2^12", "MSM, full width"),
    ("msm", "12 bits, 6 full, 2^12", "MSM, 12 bits"),
    ("commitment", "opening, 2^12", "opening, 2^12"),
    ("transform", "evaluation, 2^13", "transform, 2^13"),
    ("gates", "9 lanes, 2^12 rows", "gates, 9 lanes"),
    ("fold", "dense, 1024x1024", "fold, dense"),
    ("fold", "convolution, 500x64", "fold, convolution"),
];

/// How much faster kernels are than their references.
fn kernels(baseline: &Baseline) -> Rows {
    let measured = kernel_rows(baseline);
    let rows = PLOTTED.into_iter().filter_map(|(stage, case, label)| {
        let kernel = measured
            .iter()
            .find(|k| k.stage == stage && k.case == case)?;
        let times = |bench| value(kernel.times(bench)?);
        Some(Row {
            label: label.into(),
            values: vec![times(kernel.portable), times(kernel.vectors)],
        })
    });
    Rows {
        title: "Kernels against their references, one thread".into(),
        axis: Axis::log("times faster", Unit::Ratio),
        series: names(&[PORTABLE, VECTORS]),
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests;
