//! A report as text for a terminal of 80 columns.

mod growth;

use crate::economics::{Amortisation, Costs, Economics, Inputs, Regime};
use crate::headline::{self, money, percent};
use crate::report::{Measurement, Peer, Report, Stage, StageName, Summary};
use crate::units::{bytes, count, ratio, time};

/// Columns of the terminal.
const WIDTH: usize = 80;

/// How headings and asides are made to look: functions of a text, such as colouring. Texts may be anything that a file says.
pub struct Style<'a> {
    /// Of a heading.
    pub bold: &'a dyn Fn(&str) -> String,
    /// Of what is less important.
    pub dim: &'a dyn Fn(&str) -> String,
}

impl Style<'_> {
    /// No looks at all.
    pub const PLAIN: Style<'static> = Style {
        bold: &str_to_string,
        dim: &str_to_string,
    };
}

fn str_to_string(text: &str) -> String {
    text.to_owned()
}

/// The whole report, lines of at most 80 columns that end with a line feed.
pub fn render(report: &Report, inputs: &Inputs, style: &Style<'_>) -> String {
    let mut out = String::new();
    machine(&mut out, report, style);
    for model in &report.models {
        out.push('\n');
        self::model(&mut out, model, inputs, style);
    }
    for sweep in &report.sweeps {
        out.push('\n');
        growth::sweep(&mut out, sweep, style);
    }
    if !report.peers.is_empty() {
        out.push('\n');
        peers(&mut out, &report.peers, style);
    }
    out
}

/// Appends a line.
fn say(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// A text without what would move the cursor, and not longer than its column.
fn plain(text: &str, width: usize) -> String {
    let mut shown: String = text.chars().take(width + 1).collect();
    if shown.chars().count() > width {
        shown = shown
            .chars()
            .take(width.saturating_sub(1))
            .chain(['…'])
            .collect();
    }
    shown
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Words in lines that fit, indented by two columns.
fn paragraph(out: &mut String, text: &str) {
    let mut line = String::from(" ");
    let mut words = text.split_ascii_whitespace().peekable();
    while let Some(word) = words.next() {
        let mut word = plain(word, WIDTH - 2);
        // A number and its unit stay together.
        while let Some(unit) =
            words.next_if(|next| word.ends_with(|c: char| c.is_ascii_digit()) && is_unit(next))
        {
            word = format!("{word} {unit}");
        }
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            say(out, &line);
            line = String::from(" ");
        }
        line.push(' ');
        line.push_str(&word);
    }
    say(out, &line);
}

/// Units as [`units`](crate::units) write them, with what may follow.
fn is_unit(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ',', ':', ';', ')']);
    [
        "%", "ns", "µs", "ms", "s", "min", "h", "B", "kB", "MB", "GB", "k", "M", "G",
    ]
    .contains(&word)
}

fn machine(out: &mut String, report: &Report, style: &Style<'_>) {
    let m = &report.machine;
    let memory = m
        .memory_bytes
        .map_or(String::new(), |b| format!(", {}", bytes(b)));
    say(
        out,
        &(style.bold)(&plain(
            &format!("{}, {} threads{memory}, {}", m.cpu, m.cores, m.os),
            WIDTH,
        )),
    );
    let load = |load: Option<[f64; 3]>| load.map_or("unknown".into(), |l| format!("{:.2}", l[0]));
    let versions = format!(
        "  engine {}; zkinfer {}, halo2_proofs {}, {}",
        m.engine,
        m.zkinfer,
        m.halo2,
        m.rustc.split(" (").next().unwrap_or_default()
    );
    say(out, &(style.dim)(&plain(&versions, WIDTH)));
    let (start, end) = (load(m.load_start), load(m.load_end));
    let when = format!("  {}; load {start} before, {end} behind", m.started);
    say(out, &(style.dim)(&plain(&when, WIDTH)));
    if m.was_busy() {
        paragraph(
            out,
            "The machine had other work when this began: wall times are too long, and CPU times somewhat.",
        );
    }
}

/// One model.
fn model(out: &mut String, m: &Measurement, inputs: &Inputs, style: &Style<'_>) {
    let f = &m.facts;
    say(out, &(style.bold)(&plain(&m.name, WIDTH)));
    let facts = [
        format!(
            "{} parameters, {} multiply-adds, {} activations, {} neurons",
            count(f.parameters),
            count(f.multiply_adds),
            count(f.activations),
            count(f.neurons)
        ),
        format!(
            "2^{} rows x {} columns, {} points in the commitment, {} bits",
            f.k,
            count(f.columns),
            count(f.points),
            f.range_bits
        ),
    ];
    for fact in facts {
        say(out, &format!("  {fact}"));
    }
    if let Some(a) = &m.accuracy {
        let left = match a.out_of_range {
            0 => String::new(),
            n => format!("; {n} left their ranges and cannot be proven"),
        };
        paragraph(
            out,
            &format!(
                "error against floats on {} samples: mean {:.3} %, largest {:.2} % of the output's range{left}",
                a.samples,
                100.0 * a.mean_error,
                100.0 * a.max_error
            ),
        );
    }
    m.notes.iter().for_each(|note| paragraph(out, note));

    out.push('\n');
    header(out, style);
    for stage in &m.stages {
        row(out, name(stage.name), stage);
    }
    if m.stages.iter().any(|s| s.peak_bytes.is_some()) {
        say(
            out,
            &(style.dim)("  spread: first to third quartile; memory: the process at its highest"),
        );
    }

    let sizes = [
        ("ONNX", m.sizes.onnx),
        ("model file", Some(m.sizes.model)),
        ("card", Some(m.sizes.card)),
        ("proof", Some(m.sizes.proof)),
    ];
    let sizes = sizes
        .iter()
        .filter_map(|(what, size)| Some(format!("{what} {}", bytes((*size)?))));
    say(
        out,
        &format!("\n  sizes: {}", sizes.collect::<Vec<_>>().join(", ")),
    );

    if !m.threads.is_empty() {
        say(
            out,
            &format!(
                "\n  {}",
                (style.bold)("threads       prove     (CPU)      verify     (CPU)")
            ),
        );
        for p in &m.threads {
            say(
                out,
                &format!("  {:>7} {} {}", p.threads, both(&p.prove), both(&p.verify)),
            );
        }
    }
    if !m.batches.is_empty() {
        say(
            out,
            &format!(
                "\n  {}",
                (style.bold)("proofs verified together     each     (CPU)")
            ),
        );
        for p in &m.batches {
            let cpu = p.cpu_per_proof().map_or("?".into(), time);
            say(
                out,
                &format!(
                    "  {:>24} {:>8} {cpu:>9}",
                    p.proofs,
                    time(p.wall_per_proof())
                ),
            );
        }
    }
    if !m.runs.is_empty() {
        say(
            out,
            &format!(
                "\n  {}",
                (style.bold)(
                    "runs in one proof  prove each     (CPU)  verify each     (CPU)  size each"
                )
            ),
        );
        for p in &m.runs {
            let each = |s: &Stage| {
                let part = |t: f64| time(t / p.runs.max(1) as f64);
                (
                    part(s.wall.median),
                    s.cpu.map_or("?".into(), |c| part(c.median)),
                )
            };
            let ((prove, prove_cpu), (verify, verify_cpu)) = (each(&p.prove), each(&p.verify));
            say(
                out,
                &format!(
                    "  {:>17} {prove:>11} {prove_cpu:>9} {verify:>12} {verify_cpu:>9} {:>10}",
                    p.runs,
                    bytes(p.proof_bytes / p.runs.max(1) as u64)
                ),
            );
        }
    }
    overheads(out, m, style);
    economics(out, m, inputs, style);
    out.push('\n');
    verdict(out, m);
}

/// Parts of a proof are indented below it.
fn name(name: StageName) -> String {
    let indent = if StageName::PARTS.contains(&name) {
        "  "
    } else {
        ""
    };
    format!("{indent}{name}")
}

fn header(out: &mut String, style: &Style<'_>) {
    let line = format!(
        "  {:<22} {:>8}  {:^19} {:>8} {:>8} {:>5}",
        "stage", "wall", "spread", "CPU", "memory", "runs"
    );
    say(out, &(style.bold)(&line));
}

fn row(out: &mut String, name: String, stage: &Stage) {
    let cpu = stage.cpu.map_or(String::new(), |c| time(c.median));
    let memory = stage.peak_bytes.map_or(String::new(), bytes);
    say(
        out,
        &format!(
            "  {name:<22} {:>8}  {:^19} {cpu:>8} {memory:>8} {:>5}",
            time(stage.wall.median),
            spread(&stage.wall),
            stage.wall.runs
        ),
    );
}

/// Quartiles.
fn spread(s: &Summary) -> String {
    if s.runs < 2 {
        return String::new();
    }
    let (low, high) = (time(s.low), time(s.high));
    // The unit once, where both have the same.
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((number, a)), Some((_, b))) if a == b => format!("{number} - {high}"),
        _ => format!("{low} - {high}"),
    }
}

/// Wall and CPU time.
fn both(stage: &Stage) -> String {
    let cpu = stage.cpu.map_or("?".into(), |c| time(c.median));
    format!("{:>11} {cpu:>9}", time(stage.wall.median))
}

fn overheads(out: &mut String, m: &Measurement, style: &Style<'_>) {
    let o = m.overhead();
    let times = |r: Option<f64>| r.map_or("?".into(), |r| format!("{} x", ratio(r)));
    say(out, &format!("\n  {}", (style.bold)("overhead, CPU time")));
    say(
        out,
        &format!(
            "  a proof over a run: {} float inference, {} quantized inference",
            times(o.prove_over_float),
            times(o.prove_over_quantized)
        ),
    );
    let per = |s: Option<f64>| s.map_or("-".into(), time);
    let line = format!(
        "  {:<10} {:>24} {:>15} {:>15}",
        "", "per million multiply-adds", "per activation", "per parameter"
    );
    say(out, &(style.dim)(&line));
    for (what, unit) in [("prove", o.prove), ("verify", o.verify)] {
        say(
            out,
            &format!(
                "  {what:<10} {:>25} {:>15} {:>15}",
                per(unit.million_multiply_adds),
                per(unit.activation),
                per(unit.parameter)
            ),
        );
    }
}

/// What a proof gives that running the model again does not.
const BUYS: &str = "Where running again is the cheaper, a proof buys other things than the verifier's time: the weights \
    stay hidden, the input may, too, the verifier needs no model, and the answer is bound to a model that was committed to \
    before.";

/// The verifier's cost against running the model again, honestly.
fn verdict(out: &mut String, m: &Measurement) {
    match headline::verifier(m) {
        Some(text) => paragraph(out, &text),
        None => {
            let text = "CPU time is unknown on this system: verification is not compared with running again.";
            return paragraph(out, text);
        }
    }
    if m.overhead()
        .verify_over_float
        .is_some_and(|ratio| ratio > 1.0)
    {
        paragraph(out, BUYS);
    }
}

/// Whether proofs pay, under the assumptions.
fn economics(out: &mut String, m: &Measurement, inputs: &Inputs, style: &Style<'_>) {
    let Some(costs) = Costs::of(m) else { return };
    let Ok(economics) = Economics::new(inputs, &costs) else {
        return;
    };
    let price = |seconds: f64| money(inputs.money(seconds));
    say(out, &format!("\n  {}", (style.bold)("economics")));
    paragraph(
        out,
        &format!(
            "At {} for a core and hour, a proof costs {}, a verification {}, a float inference {}.",
            money(inputs.price_per_core_hour),
            price(costs.prove),
            price(costs.verify),
            price(costs.float)
        ),
    );
    paragraph(
        out,
        &format!(
            "An answer is paid {}, a false one is worth {} more, who is caught loses {}.",
            money(inputs.reward),
            money(inputs.gain),
            money(inputs.stake)
        ),
    );
    let line = format!(
        "  {:<28} {:>11} {:>17} {:>14}",
        "", "checked", "cost per answer", "honesty pays"
    );
    say(out, &(style.dim)(&line));
    for outcome in &economics.outcomes {
        let rate = match outcome.regime {
            Regime::NFold => format!("{} runs", outcome.rate),
            _ => percent(outcome.rate),
        };
        say(
            out,
            &format!(
                "  {:<28} {rate:>11} {:>17} {:>14}",
                outcome.regime.label(),
                money(outcome.cost),
                if outcome.deters { "yes" } else { "no" }
            ),
        );
    }
    match economics.break_even_rate {
        Some(rate) => paragraph(
            out,
            &format!(
                "Honesty pays from {} of the answers on that are checked at random; the table takes {} times that.",
                percent(rate),
                ratio(inputs.sampling_margin)
            ),
        ),
        None => paragraph(
            out,
            "No rate of random checks makes honesty pay: the stake is too small.",
        ),
    }
    if let Some(executions) = economics.executions_that_cost_more {
        paragraph(
            out,
            &format!(
                "A proof is cheaper than running everything {} times.",
                count(executions)
            ),
        );
    }
    if let Ok(amortisation) = Amortisation::of(&m.batches) {
        let target = time(inputs.target_verify_seconds);
        paragraph(
            out,
            &match amortisation.batch_for(inputs.target_verify_seconds) {
                Ok(Some(proofs)) => format!(
                    "Verification takes {target} of CPU time per proof, or less, in batches of {} or more.",
                    count(proofs)
                ),
                _ => format!(
                    "No batch brings verification to {target} of CPU time per proof; the limit is {}.",
                    time(amortisation.each)
                ),
            },
        );
    }
}

fn peers(out: &mut String, peers: &[Peer], style: &Style<'_>) {
    say(out, &(style.bold)("other systems"));
    let line = format!(
        "  {:<18} {:<19} {:>9} {:>9} {:>9} {:>9}",
        "system", "model", "prove", "(CPU)", "verify", "proof"
    );
    say(out, &(style.dim)(&line));
    let mut machines: Vec<(&str, &str, &str)> = Vec::new();
    for p in peers {
        let wall = |t: Option<crate::report::PeerTime>| {
            t.and_then(|t| t.wall)
                .map_or("-".into(), |s| time(s.median))
        };
        let cpu = p
            .prove
            .and_then(|t| t.cpu)
            .map_or("-".into(), |s| time(s.median));
        let system = format!("{} {}", p.system, p.version);
        say(
            out,
            &format!(
                "  {:<18} {:<19} {:>9} {cpu:>9} {:>9} {:>9}",
                plain(system.trim(), 18),
                plain(&p.model, 19),
                wall(p.prove),
                wall(p.verify),
                p.proof_bytes.map_or("-".into(), bytes)
            ),
        );
        let place = if p.same_run {
            "this machine, this run"
        } else {
            p.machine.as_str()
        };
        let entry = (p.system.as_str(), place, p.date.as_str());
        if !machines.contains(&entry) {
            machines.push(entry);
        }
    }
    for (system, place, date) in machines {
        paragraph(out, &format!("{system}: {place} {date}"));
    }
}

#[cfg(test)]
mod tests;
