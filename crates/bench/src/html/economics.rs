//! Whether proofs of a model are worth their cost, under stated inputs.

use super::page::{Cell, Page};
use crate::economics::{Amortisation, Costs, Economics, Inputs, Outcome, Regime, detection};
use crate::headline::{assumptions, money, percent};
use crate::report::Measurement;
use crate::units::{count, time};

pub fn render(page: &mut Page, model: &Measurement, inputs: &Inputs) {
    let Some(economics) = Costs::of(model).and_then(|costs| Economics::new(inputs, &costs).ok())
    else {
        return;
    };
    page.heading("Is it worth it?");
    let mut findings = vec![deterrence(&economics), re_execution(&economics, inputs)];
    findings.extend(batches(model, inputs));
    page.list(&findings);
    let rows: Vec<Vec<Cell>> = economics.outcomes.iter().map(row).collect();
    page.table(
        "Ways to have a million answers checked",
        &[
            "",
            "checked",
            "cost to all",
            "honest profit",
            "lying deterred",
        ],
        &rows,
    );
    page.paragraph("Under these assumptions, each of which is an option of the command line:");
    page.facts(&assumptions(inputs));
}

fn row(outcome: &Outcome) -> Vec<Cell> {
    let rate = match outcome.regime {
        Regime::NFold => format!("N = {}", outcome.rate),
        _ => percent(outcome.rate),
    };
    let profit = outcome.profit * 1e6;
    vec![
        Cell::text(outcome.regime.label()),
        Cell::number(rate),
        Cell::number(money(outcome.cost * 1e6)),
        Cell::number(if outcome.profit < 0.0 {
            format!("−{}", money(-profit))
        } else {
            money(profit)
        }),
        Cell::text(if outcome.deters { "yes" } else { "no" }),
    ]
}

/// The sampling rate, in a sentence.
fn deterrence(economics: &Economics) -> String {
    match (economics.break_even_rate, economics.outcome(Regime::SampledProof)) {
        (Some(rate), Some(sampled)) => {
            let caught = detection(sampled.rate, 100).unwrap_or(0.0);
            format!(
                "Honesty pays as soon as more than {} of the answers are checked at random. With {}, of 100 false answers at least one is caught with a \
                 probability of {}.",
                percent(rate),
                percent(sampled.rate),
                percent(caught)
            )
        }
        _ => "No rate of random checks makes lying a loss: the stake and the reward are too small for the gain.".into(),
    }
}

/// Proofs against running everything several times, in a sentence.
fn re_execution(economics: &Economics, inputs: &Inputs) -> String {
    let needed = match economics.executions_needed {
        Some(n) => format!(
            "if {} of independent parties lie, {} runs are needed to be wrong at most once in {} answers",
            percent(inputs.dishonest),
            count(n),
            if inputs.tolerated_failure > 0.0 {
                format!("{:.0e}", 1.0 / inputs.tolerated_failure)
            } else {
                "∞".into()
            }
        ),
        None => format!(
            "if {} of independent parties lie, no number of runs reaches the failure that is tolerated",
            percent(inputs.dishonest)
        ),
    };
    let Some(more) = economics.executions_that_cost_more else {
        return format!("Running this model costs nothing that was measured; {needed}.");
    };
    let verdict = match economics.executions_needed {
        Some(n) if n >= more => "the proof is cheaper",
        Some(_) => {
            "running it so often is cheaper, where the parties may see the model and its inputs and do not collude"
        }
        None => "so only a proof gives that",
    };
    format!(
        "One proof with its verification costs as much as running the model {} times; {needed}: {verdict}.",
        count(more - 1)
    )
}

/// The batch that reaches the target, in a sentence.
fn batches(model: &Measurement, inputs: &Inputs) -> Option<String> {
    let fit = Amortisation::of(&model.batches).ok()?;
    let target = inputs.target_verify_seconds;
    let largest = model
        .batches
        .iter()
        .map(|b| b.proofs as u64)
        .max()
        .unwrap_or(0);
    let parts = format!(
        "A batch takes {} of CPU time and {} more for each proof",
        time(fit.fixed),
        time(fit.each)
    );
    let reached = match fit.batch_for(target).ok()? {
        Some(1) => format!(
            "a single proof is verified within the target of {}",
            time(target)
        ),
        Some(size) if size > largest => {
            format!(
                "the target of {} per proof would be reached by {} proofs, more than were measured",
                time(target),
                count(size)
            )
        }
        Some(size) => format!(
            "the target of {} per proof is reached by {} proofs",
            time(target),
            count(size)
        ),
        None => format!(
            "the target of {} per proof is not reached by any batch",
            time(target)
        ),
    };
    Some(format!("{parts}: {reached}."))
}
