//! `zkinfer verify` for a proof of several runs.

use super::{Verify, list, side, source};
use crate::{ui, words};
use anyhow::{Context as _, Result, bail};
use serde_json::json;
use std::process::ExitCode;
use std::time::Instant;
use zkinfer::interface::Interface;
use zkinfer_circuits::card::{Card, Proof};
use zkinfer_circuits::error::Rejection;
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::verify::Expected;

/// The inputs that are stated are as many samples in a row as there are runs.
pub fn run(
    verify: &Verify,
    as_json: bool,
    card: Card,
    proof: &Proof,
    start: Instant,
) -> Result<ExitCode> {
    let limits = verify.limits();
    if verify.output.is_some() {
        bail!(
            "--output states the output of one run, {} is about {}",
            verify.proof.display(),
            proof.runs.len()
        );
    }
    let runs = proof.runs.len().min(limits.runs);
    let expected: Result<Vec<Expected>> = (0..runs)
        .map(|run| verify.expected_of(&card, verify.sample.saturating_add(run)))
        .collect();
    let expected = expected?;

    let unusable = || format!("{} cannot be used", verify.card.display());
    let (verifier, t_card) = ui::step("checking the card", || zkinfer::verifier(card, &limits));
    let verifier = verifier.map_err(words::load).with_context(unusable)?;
    let (verdicts, t_proof) = ui::step("checking the proof", || {
        verifier.verify_runs(&expected, proof)
    });
    let verdicts = match verdicts {
        Ok(verdicts) => verdicts,
        Err(Rejection::Needed { which: "input" }) => {
            bail!(
                "the proof does not carry its inputs: state those that you expect with --input FILE"
            )
        }
        Err(rejection) => return verify.reject(as_json, &rejection.to_string(), start),
    };

    let interface = Interface::from_card(verifier.card()).ok();
    let context = &proof.context;
    let mut lines = Vec::new();
    let mut records = Vec::new();
    for (run, verdict) in verdicts.iter().enumerate() {
        let outputs = match (&verdict.output, &interface) {
            (Side::Public(values), Some(interface)) => Some((
                interface.dequantize_outputs(values)?,
                interface.split_outputs(values)?,
            )),
            _ => None,
        };
        records.push(json!({
            "input": side(&verdict.input),
            "output_visibility": side(&verdict.output),
            "output": outputs.as_ref().map(|o| &o.0),
            "output_int": outputs.as_ref().map(|o| &o.1),
        }));
        let input = match &verdict.input {
            Side::Public(values) => {
                let source = source(verify.input.is_some());
                format!("{} values, {source}", values.len())
            }
            Side::Committed(_) => "hidden behind a commitment".to_owned(),
        };
        lines.push(format!("  run {run}: input: {input}"));
        match (&verdict.output, &outputs) {
            (Side::Committed(_), _) => lines.push("    output: hidden behind a commitment".into()),
            (_, Some((reals, _))) => lines.extend(
                reals
                    .iter()
                    .map(|r| format!("    output: {}", list(r, false))),
            ),
            (Side::Public(values), _) => lines.push(format!("    output: {values:?}")),
        }
    }
    if as_json {
        ui::json(&json!({
            "status": "valid",
            "valid": true,
            "card": verifier.digest().to_string(),
            "input_expected": verify.input.is_some(),
            "runs": records,
            "context_hex": ui::hex(context),
            "seconds": { "card": t_card.as_secs_f64(), "proof": t_proof.as_secs_f64(), "total": start.elapsed().as_secs_f64() },
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let paint = ui::stdout();
    let name = interface
        .as_ref()
        .map_or(String::new(), |i| format!("{:?} ", ui::plain(&i.name)));
    let (valid, count) = (paint.green("VALID"), verdicts.len());
    ui::line(&format!(
        "{valid} {count} runs of model {name}{}",
        verifier.digest()
    ))?;
    lines.iter().try_for_each(|line| ui::line(line))?;
    if !context.is_empty() {
        let text = String::from_utf8_lossy(context);
        ui::line(&format!("  context: {}", ui::plain(&text)))?;
    }
    let times = format!(
        "  card {}, proof {}, all {}",
        ui::time(t_card),
        ui::time(t_proof),
        ui::time(start.elapsed())
    );
    ui::line(&paint.dim(&times))?;
    Ok(ExitCode::SUCCESS)
}
