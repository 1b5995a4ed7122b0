//! The gist of a report as Markdown, for pages among other text. The whole of it is [`html`](crate::html).

use crate::growth::{Quantity, Size, curve, exponent};
use crate::headline::headline;
use crate::report::{Measurement, Report, StageName, Sweep};
use crate::units::{bytes, count, ratio, time};
use std::fmt::Write;

/// Findings, the machine, a line for each model, and exponents of the sweeps.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    for finding in headline(report) {
        let _ = writeln!(out, "- {}", escape(&finding));
    }
    let machine = &report.machine;
    let facts = [&machine.cpu, &machine.os, &machine.rustc, &machine.started];
    let mut facts: Vec<String> = facts
        .into_iter()
        .filter(|f| !f.is_empty())
        .map(|f| escape(f))
        .collect();
    facts.insert(facts.len().min(1), format!("{} threads", machine.cores));
    let _ = writeln!(out, "\nMachine: {}. Times are medians.", facts.join(", "));
    table(&mut out, &MODELS, report.models.iter().map(model));
    for size in Size::ALL {
        let growing: Vec<&Sweep> = report.sweeps.iter().filter(|s| size.grows_in(s)).collect();
        let first = format!("exponents by {}", size.label());
        let mut columns = vec![first.as_str()];
        columns.extend(Quantity::ALL.map(Quantity::label));
        table(
            &mut out,
            &columns,
            growing.into_iter().map(|s| exponents(s, size)),
        );
    }
    out
}

const MODELS: [&str; 11] = [
    "model",
    "parameters",
    "multiply-adds",
    "prove, wall",
    "prove, CPU",
    "memory",
    "verify, CPU",
    "verify, cold",
    "float, CPU",
    "prove / float",
    "proof",
];

fn model(model: &Measurement) -> Vec<String> {
    let missing = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let overhead = model.overhead();
    let peak = model.stage(StageName::Prove).and_then(|s| s.peak_bytes);
    vec![
        escape(&model.name),
        count(model.facts.parameters),
        count(model.facts.multiply_adds),
        missing(model.wall(StageName::Prove).map(time)),
        missing(model.cpu(StageName::Prove).map(time)),
        missing(peak.map(bytes)),
        missing(model.cpu(StageName::Verify).map(time)),
        missing(model.wall(StageName::VerifyCold).map(time)),
        missing(model.cpu(StageName::FloatInference).map(time)),
        missing(overhead.prove_over_float.map(ratio)),
        bytes(model.sizes.proof),
    ]
}

fn exponents(sweep: &Sweep, size: Size) -> Vec<String> {
    let of = |quantity| curve(sweep, quantity, size).map_or("–".into(), |fit| exponent(&fit));
    [sweep.family.name().to_owned()]
        .into_iter()
        .chain(Quantity::ALL.map(of))
        .collect()
}

/// A table; nothing without rows. Numbers stand at the right.
fn table(out: &mut String, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "\n| {} |", columns.join(" | "));
    let _ = writeln!(
        out,
        "|---|{}",
        "---:|".repeat(columns.len().saturating_sub(1))
    );
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
}

/// Text that stays text in a cell of a table or an item of a list.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '#' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::samples;

    #[test]
    fn models_and_exponents() {
        let text = render(&samples::report());
        assert!(text.contains("| digits | 2,410 | 2,368 | 310 ms | 580 ms | 62.0 MB | 5.00 ms | 64.0 ms | 20.0 µs | 29,000 | 4.65 kB |"), "{text}");
        assert!(
            text.contains("| exponents by parameters | prove |"),
            "{text}"
        );
        assert!(text.contains("AMD EPYC 9R14, 2 threads, Linux"), "{text}");
        // Every row of a table has as many cells as its head.
        let mut cells = 0;
        for line in text.lines() {
            match line.starts_with('|') {
                true if cells == 0 => cells = line.matches('|').count(),
                true => assert_eq!(line.matches('|').count(), cells, "{line}"),
                false => cells = 0,
            }
        }
    }

    #[test]
    fn hostile_names_stay_in_their_cells() {
        let mut report = samples::report();
        report.models[0].name = "a|b\n| <script> [x](y) `c` $d$".into();
        let text = render(&report);
        assert!(
            text.contains(r"| a\|b \| &lt;script&gt; \[x\](y) \`c\` \$d\$ | 2,410 |"),
            "{text}"
        );
    }

    #[test]
    fn without_measurements_there_are_no_tables() {
        let mut report = samples::report();
        (report.models, report.sweeps) = Default::default();
        assert!(!render(&report).contains('|'));
    }
}
