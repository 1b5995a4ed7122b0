//! The report as a page: one file, readable offline and without scripts, in light and dark, on a phone and on paper.
//!
//! Plots are SVG inside the page. Everything that comes from outside, such as names of models, is escaped
//! (`markup::escape`), in one place for each kind of element (`page.rs`). Machines are never mixed: other systems stand beside this
//! one's figures only if they ran in the same run.

mod economics;
mod growth;
mod model;
mod page;
mod peers;
#[cfg(test)]
pub(crate) mod samples;

use crate::economics::{EconomicsError, Inputs};
use crate::headline::headline;
use crate::report::{Machine, Report};
use crate::units;
use page::Page;

/// What the page is to say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Heading; a default if empty.
    pub title: String,
    /// What the economics assume.
    pub economics: Inputs,
}

/// The page.
///
/// # Errors
/// Inputs of the economics that are meaningless.
pub fn render(report: &Report, options: &Options) -> Result<String, EconomicsError> {
    options.economics.check()?;
    let title = if options.title.is_empty() {
        "What a proof costs"
    } else {
        &options.title
    };
    let mut page = Page::new(title);
    page.section("answer", "The answer");
    page.list(&headline(report));
    machine(&mut page, &report.machine, &report.command);
    for (i, measurement) in report.models.iter().enumerate() {
        model::render(&mut page, i, measurement, report, options);
    }
    growth::render(&mut page, &report.sweeps);
    peers::render(&mut page, report);
    notes(&mut page, report);
    Ok(page.finish())
}

fn machine(page: &mut Page, machine: &Machine, command: &str) {
    page.section("machine", "Machine and versions");
    let load = |load: &Option<[f64; 3]>| {
        load.map(|l| l.map(|v| format!("{v:.2}")).join(", "))
            .unwrap_or_default()
    };
    let mut facts = vec![
        ("processor", machine.cpu.clone()),
        ("threads", machine.cores.to_string()),
        (
            "memory",
            machine.memory_bytes.map(units::bytes).unwrap_or_default(),
        ),
        ("system", machine.os.clone()),
        ("instruction sets", machine.instructions.join(", ")),
        ("prover's backend", machine.engine.clone()),
        ("zkinfer", machine.zkinfer.clone()),
        ("halo2_proofs", machine.halo2.clone()),
        ("compiler", machine.rustc.clone()),
        ("started", machine.started.clone()),
        ("load before (1, 5, 15 min)", load(&machine.load_start)),
        (
            "load after, this run's own included",
            load(&machine.load_end),
        ),
    ];
    facts.retain(|f| !f.1.is_empty());
    page.facts(&facts);
    if !command.is_empty() {
        page.paragraph("Made by:");
        page.code(command);
    }
    if let Some([one, ..]) = machine.load_start.filter(|l| l[0] > 0.5) {
        page.warning(&format!("The machine was busy with other work when this began (load {one:.2}): wall times are too long, ratios of CPU times less so."));
    }
}

fn notes(page: &mut Page, report: &Report) {
    page.section("reading", "How to read this");
    page.list(&[
        "Times are medians; the small figures below them are the quartiles. CPU time is that of all threads together; ratios and money are of CPU time.".to_owned(),
        "Memory is the resident memory of the whole process at its highest during a stage, and by how much that exceeds what was resident before.".into(),
        "Verification is warm, of one proof, from its bytes to a verdict, by a verifier that has loaded the card; a cold one is a fresh process that reads card and proof from files.".into(),
        "Curves are y = c + a·x^b, with the floor c where the data shows one (an F test at 5 %); intervals of the exponent b are of 95 %. Costs of circuits grow in steps, so that intervals are an indication; outside of the sizes measured, a curve is a guess. Ratios of two such curves are no power laws: their exponents are averages over the sizes measured.".into(),
    ]);
    page.paragraph(&format!("Report format {}.", report.format));
}

#[cfg(test)]
mod tests;
