//! Sweeps.

use super::{Style, WIDTH, paragraph, plain, say};
use crate::growth::{self, Quantity, Size, curve};
use crate::headline;
use crate::report::{StageName, Sweep};
use crate::units::{bytes, count, time};
use std::fmt::Write as _;

/// A sweep: its models and how their costs grow.
pub(super) fn sweep(out: &mut String, sweep: &Sweep, style: &Style<'_>) {
    say(
        out,
        &(style.bold)(&plain(
            &format!("sweep {}: {}", sweep.family, sweep.family.describe()),
            WIDTH,
        )),
    );
    let line = format!(
        "  {:>8} {:>7} {:>7} {:>7} {:>2} {:>8} {:>8} {:>8} {:>7} {:>7}",
        plain(&sweep.axis, 8),
        "params",
        "MACs",
        "act.",
        "k",
        "float",
        "prove",
        "verify",
        "proof",
        "memory"
    );
    say(out, &(style.dim)(&line));
    for p in &sweep.points {
        let (m, f) = (&p.measurement, &p.measurement.facts);
        let cpu = |name| {
            m.cpu(name)
                .or_else(|| m.wall(name))
                .map_or("?".into(), time)
        };
        let memory = m.stage(StageName::Prove).and_then(|s| s.peak_bytes);
        let mut line = String::new();
        let _ = write!(
            line,
            "  {:>8} {:>7} {:>7} {:>7} {:>2} {:>8} {:>8} {:>8} {:>7} {:>7}",
            count(p.size),
            count(f.parameters),
            count(f.multiply_adds),
            count(f.activations),
            f.k,
            cpu(StageName::FloatInference),
            cpu(StageName::Prove),
            cpu(StageName::Verify),
            bytes(m.sizes.proof),
            memory.map_or("?".into(), bytes)
        );
        say(out, &line);
    }
    say(out, &(style.dim)("  float, prove, verify: CPU time"));
    exponents(out, sweep, style);
    if let Some(reason) = &sweep.stopped {
        paragraph(out, &format!("The sweep ends here: {reason}"));
    }
}

/// Exponents of what grows, by the sizes that do. Multiply-adds of dense networks grow as their parameters.
fn exponents(out: &mut String, sweep: &Sweep, style: &Style<'_>) {
    let first = if Size::Parameters.grows_in(sweep) {
        Size::Parameters
    } else {
        Size::MultiplyAdds
    };
    let mut sizes = vec![first, Size::Activations];
    sizes.retain(|size| size.grows_in(sweep));
    let mut line = format!("\n  {:<26}", "exponent (95 % interval)");
    for size in &sizes {
        let _ = write!(line, " {:<24}", format!("by {}", size.label()));
    }
    let mut rows = Vec::new();
    let mut reason = None;
    for quantity in Quantity::ALL {
        let mut row = format!("  {:<26}", quantity.label());
        let mut known = false;
        for &size in &sizes {
            let text = match curve(sweep, quantity, size) {
                Ok(fit) => {
                    known = true;
                    growth::exponent(&fit)
                }
                Err(error) => {
                    reason = Some(error);
                    "-".to_owned()
                }
            };
            let _ = write!(row, " {text:<24}");
        }
        if known {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        let reason = reason.map_or("nothing grows".into(), |r| r.to_string());
        return paragraph(out, &format!("no exponents: {reason}"));
    }
    say(out, &(style.dim)(line.trim_end()));
    rows.iter().for_each(|row| say(out, row.trim_end()));
    for text in headline::growth_of_verification(sweep) {
        out.push('\n');
        paragraph(out, &text);
    }
}
