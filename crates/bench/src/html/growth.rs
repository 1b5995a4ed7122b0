//! Sweeps: what grows with what, families beside each other.

use super::page::{Cell, Page};
use crate::fit::Fit;
use crate::growth::{Quantity, Size, curve, exponent, points};
use crate::headline::growth_of_verification;
use crate::plot::{Axis, Plot, Point, Series, Unit};
use crate::report::{StageName, Sweep};
use crate::units::{bytes, count, ratio, time};

/// What is plotted, in this order.
const PLOTTED: [Quantity; 7] = [
    Quantity::Prove,
    Quantity::Verify,
    Quantity::VerifyOverFloat,
    Quantity::BatchOverFloat,
    Quantity::ProveOverFloat,
    Quantity::ProofBytes,
    Quantity::Memory,
];

pub fn render(page: &mut Page, sweeps: &[Sweep]) {
    if sweeps.iter().all(|s| s.points.is_empty()) {
        return;
    }
    page.section("growth", "Growth");
    let families = sweeps
        .iter()
        .map(|s| format!("{}: {} (axis: {})", s.family, s.family.describe(), s.axis));
    page.list(&families.collect::<Vec<_>>());
    page.list(
        &sweeps
            .iter()
            .flat_map(growth_of_verification)
            .collect::<Vec<_>>(),
    );
    for size in Size::ALL {
        let growing: Vec<&Sweep> = sweeps.iter().filter(|s| size.grows_in(s)).collect();
        if growing.is_empty() {
            continue;
        }
        page.heading(&format!("By {}", size.label()));
        page.plots(PLOTTED.map(|quantity| plot(&growing, quantity, size)));
        exponents(page, &growing, size);
    }
    for sweep in sweeps {
        measured(page, sweep);
    }
}

fn plot(sweeps: &[&Sweep], quantity: Quantity, size: Size) -> Option<String> {
    let series: Vec<Series> = sweeps
        .iter()
        .map(|s| series(s, quantity, size))
        .filter(|s| !s.points.is_empty())
        .collect();
    let mut title = quantity.label().to_owned();
    if quantity.unit() == Unit::Seconds {
        title += ", CPU time";
    }
    if quantity.unit() == Unit::Ratio {
        title += ", CPU times";
    }
    let compared = matches!(
        quantity,
        Quantity::VerifyOverFloat | Quantity::BatchOverFloat
    );
    let level = compared.then(|| {
        (
            1.0,
            "below this line, verifying is cheaper than running again".to_owned(),
        )
    });
    Plot {
        title,
        x: Axis::log(size.label(), Unit::Count),
        y: Axis::log(quantity.label(), quantity.unit()),
        series,
        level,
    }
    .svg()
}

fn series(sweep: &Sweep, quantity: Quantity, size: Size) -> Series {
    let shown = points(sweep, quantity, size)
        .into_iter()
        .map(|(measurement, x, y)| Point {
            x,
            y,
            spread: quantity.spread(measurement),
            name: measurement.name.clone(),
        });
    let (name, curve) = match curve(sweep, quantity, size) {
        Ok(fit) => (
            format!("{}: {}", sweep.family, formula(&fit, quantity)),
            Some(path(&fit)),
        ),
        Err(_) => (format!("{}: too few points for a fit", sweep.family), None),
    };
    Series {
        name,
        points: shown.collect(),
        curve,
    }
}

/// The curve in words: `2.1 ms + …·x^0.98 (0.91 to 1.05)`.
fn formula(fit: &Fit, quantity: Quantity) -> String {
    let floor = if fit.floor > 0.0 {
        format!("{} + ", quantity.unit().value(fit.floor))
    } else {
        String::new()
    };
    format!("{floor}a·x^{}", exponent(fit))
}

fn path(fit: &Fit) -> Vec<(f64, f64)> {
    const STEPS: i32 = 40;
    let (low, high) = fit.range;
    (0..=STEPS)
        .map(|i| low * (high / low).powf(f64::from(i) / f64::from(STEPS)))
        .map(|x| (x, fit.at(x)))
        .collect()
}

fn exponents(page: &mut Page, sweeps: &[&Sweep], size: Size) {
    let mut columns = vec!["family"];
    columns.extend(Quantity::ALL.map(Quantity::label));
    let rows: Vec<Vec<Cell>> = sweeps
        .iter()
        .map(|sweep| {
            let cells = Quantity::ALL.map(|quantity| match curve(sweep, quantity, size) {
                Ok(fit) => {
                    let text = exponent(&fit);
                    let (value, interval) = text.split_once(' ').unwrap_or((&text, ""));
                    Cell::number(value).with(interval)
                }
                Err(_) => Cell::maybe(None),
            });
            [Cell::text(sweep.family.name())]
                .into_iter()
                .chain(cells)
                .collect()
        })
        .collect();
    page.table(
        &format!("Exponents by {}, with intervals of 95 %", size.label()),
        &columns,
        &rows,
    );
}

fn measured(page: &mut Page, sweep: &Sweep) {
    if sweep.points.is_empty() {
        return;
    }
    page.heading(&format!("Measured: {}", sweep.family));
    let rows: Vec<Vec<Cell>> = sweep
        .points
        .iter()
        .map(|point| {
            let m = &point.measurement;
            let memory = m.stage(StageName::Prove).and_then(|s| s.peak_bytes);
            let times = |r: Option<f64>| Cell::maybe(r.map(|r| format!("{}×", ratio(r))));
            vec![
                Cell::number(count(point.size)),
                Cell::number(count(m.facts.parameters)),
                Cell::number(count(m.facts.multiply_adds)),
                Cell::number(count(m.facts.activations)),
                Cell::number(m.facts.k.to_string()),
                Cell::maybe(m.cpu(StageName::Prove).map(time)),
                Cell::maybe(m.wall(StageName::Prove).map(time)),
                Cell::maybe(m.cpu(StageName::Verify).map(time)),
                Cell::maybe(Quantity::VerifyInBatch.of(m).map(time)),
                Cell::maybe(m.cpu(StageName::FloatInference).map(time)),
                times(m.overhead().verify_over_float),
                times(m.overhead().batch_over_float),
                times(m.overhead().prove_over_float),
                Cell::number(bytes(m.sizes.proof)),
                Cell::maybe(memory.map(bytes)),
            ]
        })
        .collect();
    let columns = [
        sweep.axis.as_str(),
        "parameters",
        "multiply-adds",
        "activations",
        "k",
        "prove, CPU",
        "prove, wall",
        "verify, CPU",
        "in a batch",
        "float, CPU",
        "verify / float",
        "batch / float",
        "prove / float",
        "proof",
        "memory",
    ];
    page.table(sweep.family.describe(), &columns, &rows);
    if let Some(stopped) = &sweep.stopped {
        page.paragraph(&format!("It ended before its limit: {stopped}"));
    }
}
