//! What the measurements say, in sentences that are computed from them: nothing is claimed that they do not show.

use crate::economics::{Inputs, verifier_break_even};
use crate::fit::{Fit, crossing};
use crate::growth::{self, Quantity, Size};
use crate::report::{Measurement, Report, StageName, Sweep};
use crate::units::{count, ratio, time};

/// How far beyond the largest model measured a crossing of two curves is still mentioned.
const EXTRAPOLATION: f64 = 1000.0;

/// The answer to whether verification stays worthwhile, for the whole report. Plain text, one finding each; names are as in the report.
pub fn headline(report: &Report) -> Vec<String> {
    let mut findings = Vec::new();
    findings.extend(models(&report.models));
    findings.extend(growth_of_all(&report.sweeps));
    findings.extend(overheads(&report.sweeps));
    let all = || {
        report.models.iter().chain(
            report
                .sweeps
                .iter()
                .flat_map(|s| s.points.iter().map(|p| &p.measurement)),
        )
    };
    if all()
        .filter_map(|m| m.overhead().verify_over_float)
        .any(|r| r >= 1.0)
    {
        findings.push(
            "Where running the model again is cheaper than verifying, a proof still gives what running again cannot: the weights (and, if wanted, \
             the inputs and outputs) stay hidden, and the verifier needs neither the model nor software that runs it."
                .into(),
        );
    }
    if findings.is_empty() {
        findings
            .push("Neither a whole model nor a sweep was measured: there is no answer yet.".into());
    }
    findings
}

/// What a proof of one model costs its verifier, against running the model again.
pub fn verifier(measurement: &Measurement) -> Option<String> {
    let (verify, float) = (
        measurement.cpu(StageName::Verify)?,
        measurement.cpu(StageName::FloatInference)?,
    );
    let compared = compare(verify, float)?;
    let mut text = format!(
        "Verifying takes {} of CPU time, running the model again in floats {}: {compared}.",
        time(verify),
        time(float)
    );
    let break_even = verifier_break_even(verify, float, measurement.facts.multiply_adds);
    if let Some(at) = break_even.ok().filter(|at| verify > float && *at < 1e18) {
        text += &format!(
            " At this speed, a model takes as long to run as this verification if it has about {} multiply-adds; this one has {}.",
            count(at as u64),
            count(measurement.facts.multiply_adds)
        );
    }
    if let Some((proofs, each)) = measurement
        .cheapest_batch()
        .filter(|b| b.0 > 1 && b.1 < verify)
    {
        let compared = compare(each, float)?;
        text += &format!(
            " In batches of {proofs}, a proof takes {}: {compared}.",
            time(each)
        );
    }
    Some(text)
}

/// Which of both is cheaper.
fn compare(verify: f64, float: f64) -> Option<String> {
    (verify > 0.0 && float > 0.0).then(|| match verify / float {
        r if r >= 1.05 => format!("running again is cheaper, by a factor of {}", ratio(r)),
        r if r <= 0.95 => format!("verifying is cheaper, by a factor of {}", ratio(1.0 / r)),
        _ => "both cost the same".into(),
    })
}

/// The models that were measured in every respect, together.
fn models(models: &[Measurement]) -> Vec<String> {
    let mut findings = Vec::new();
    if let [one] = models {
        findings.extend(verifier(one));
    } else {
        let compared: Vec<(&str, f64)> = models
            .iter()
            .filter_map(|m| Some((m.name.as_str(), m.overhead().verify_over_float?)))
            .collect();
        let cheaper: Vec<&str> = compared.iter().filter(|c| c.1 < 1.0).map(|c| c.0).collect();
        if !compared.is_empty() {
            let names = if cheaper.is_empty() || cheaper.len() > 5 {
                String::new()
            } else {
                format!(" ({})", cheaper.join(", "))
            };
            let ratios = range(compared.iter().map(|c| c.1));
            findings.push(format!(
                "Verifying takes less CPU time than running the model again for {} of {} models{names}; it takes {ratios} times as much.",
                if cheaper.is_empty() { "none".into() } else { count(cheaper.len() as u64) },
                compared.len(),
            ));
        }
    }
    let prove = || models.iter().filter_map(|m| m.overhead().prove_over_float);
    if prove().next().is_some() {
        let times = models
            .iter()
            .filter_map(|m| m.cpu(StageName::Prove))
            .map(time)
            .collect::<Vec<_>>();
        let times = match times.as_slice() {
            [one] => one.clone(),
            _ => {
                let sorted = || models.iter().filter_map(|m| m.cpu(StageName::Prove));
                format!(
                    "{} to {}",
                    time(sorted().fold(f64::INFINITY, f64::min)),
                    time(sorted().fold(0.0, f64::max))
                )
            }
        };
        findings.push(format!(
            "A proof takes {times} of CPU time, {} times as much as one inference in floats.",
            range(prove())
        ));
    }
    findings
}

/// `3.1` or `3.1 to 40`.
fn range(values: impl Iterator<Item = f64> + Clone) -> String {
    let (low, high) = (
        values.clone().fold(f64::INFINITY, f64::min),
        values.fold(0.0, f64::max),
    );
    match ratio(low) == ratio(high) {
        true => ratio(low),
        false => format!("{} to {}", ratio(low), ratio(high)),
    }
}

/// Verification against running again, as the models of a sweep grow.
struct Race {
    verify: Fit,
    float: Fit,
    /// Multiply-adds from which on verifying is cheaper, by the curves.
    cheaper_from: Option<f64>,
    /// Verification over running at the largest model.
    largest: Option<f64>,
}

/// Who wins it.
#[derive(Clone, Copy, PartialEq)]
enum Winner {
    Verifying,
    Running,
    Undecided,
}

/// Verification of one proof by itself, or as part of a batch.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Single,
    Batch,
}

impl How {
    fn quantities(self) -> (Quantity, Quantity) {
        match self {
            How::Single => (Quantity::Verify, Quantity::VerifyOverFloat),
            How::Batch => (Quantity::VerifyInBatch, Quantity::BatchOverFloat),
        }
    }
}

impl Race {
    fn of(sweep: &Sweep, how: How) -> Option<Race> {
        let (quantity, ratio) = how.quantities();
        let verify = growth::curve(sweep, quantity, Size::MultiplyAdds).ok()?;
        let float = growth::curve(sweep, Quantity::Float, Size::MultiplyAdds).ok()?;
        let cheaper_from = crossing(
            &float,
            &verify,
            float.range.0,
            float.range.1 * EXTRAPOLATION,
        );
        let largest = sweep.points.last().and_then(|p| ratio.of(&p.measurement));
        Some(Race {
            verify,
            float,
            cheaper_from,
            largest,
        })
    }

    /// By the intervals of the exponents: whose cost grows more slowly.
    fn winner(&self) -> Winner {
        if self.verify.exponent.high < self.float.exponent.low {
            Winner::Verifying
        } else if self.verify.exponent.low > self.float.exponent.high {
            Winner::Running
        } else {
            Winner::Undecided
        }
    }
}

/// Whether verification gains on running as the models of a sweep grow: of one proof by itself, and of proofs in batches.
/// Nothing without curves.
pub fn growth_of_verification(sweep: &Sweep) -> Vec<String> {
    let one = |how| growth_of(sweep, how);
    [How::Single, How::Batch]
        .into_iter()
        .filter_map(one)
        .collect()
}

fn growth_of(sweep: &Sweep, how: How) -> Option<String> {
    let race = Race::of(sweep, how)?;
    let (low, high) = race.float.range;
    let verdict = match race.winner() {
        Winner::Verifying => "so verification gains on running as models grow",
        Winner::Running => "so verification falls behind running as models grow",
        Winner::Undecided => {
            "and the intervals overlap: which of both grows faster is not decided by this data"
        }
    };
    let crossed = match race.cheaper_from {
        Some(at) if at <= low => "; it is cheaper at every size measured".into(),
        Some(at) if at <= high => format!("; it is cheaper from about {} multiply-adds on", count(at as u64)),
        Some(at) => format!(
            "; running is cheaper at every size measured, and the curves would meet at about {} multiply-adds, which is an extrapolation",
            count(at as u64)
        ),
        None if race.largest.is_some_and(|r| r >= 1.0) => {
            "; running is cheaper at the largest size measured, and the curves do not meet within a thousand times that".into()
        }
        None => String::new(),
    };
    Some(format!(
        "{}, {} to {} multiply-adds: verifying{} grows as x^{}, running the model as x^{}, {verdict}{crossed}.",
        sweep.family,
        count(low as u64),
        count(high as u64),
        if how == How::Batch { " in batches" } else { "" },
        growth::exponent(&race.verify),
        growth::exponent(&race.float)
    ))
}

/// The same for all sweeps together, in three sentences.
fn growth_of_all(sweeps: &[Sweep]) -> Vec<String> {
    let races = |how: How| -> Vec<(&str, Race)> {
        let race = |s: &'_ Sweep| Some((s.family.name(), Race::of(s, how)?));
        sweeps.iter().filter_map(race).collect()
    };
    let single = races(How::Single);
    if single.is_empty() {
        return Vec::new();
    }
    let names = |wanted: Winner| {
        let won = single.iter().filter(|r| r.1.winner() == wanted);
        won.map(|r| r.0).collect::<Vec<_>>()
    };
    let outcomes = [
        (Winner::Verifying, "verification gains on running them"),
        (Winner::Running, "it falls behind"),
        (Winner::Undecided, "the data does not decide it"),
    ];
    let parts: Vec<String> = outcomes
        .iter()
        .map(|(winner, text)| (text, names(*winner)))
        .filter(|(_, names)| !names.is_empty())
        .map(|(text, names)| format!("{text} for {}", names.join(", ")))
        .collect();
    let mut findings = vec![format!(
        "As models grow (families of generated ones, by multiply-adds): {}.",
        parts.join("; ")
    )];
    findings.push(crossings(&single, "verifying"));
    let batches = races(How::Batch);
    if !batches.is_empty() {
        findings.push(crossings(&batches, "verifying in batches"));
    }
    findings
}

/// From which size on it is cheaper than running, for every family.
fn crossings(races: &[(&str, Race)], what: &str) -> String {
    let meets: Vec<String> = races
        .iter()
        .filter_map(|(name, race)| {
            let at = race.cheaper_from?;
            let guess = if at > race.float.range.1 {
                ", an extrapolation"
            } else {
                ""
            };
            Some(format!("{name}: {}{guess}", count(at as u64)))
        })
        .collect();
    if meets.is_empty() {
        let mut text = what.to_owned();
        text[..1].make_ascii_uppercase();
        return format!(
            "{text} is cheaper than running again for none of these families, nor would it be within a thousand times the largest size measured."
        );
    }
    format!(
        "Multiply-adds from which on {what} is cheaper than running again: {}; for other families, none.",
        meets.join("; ")
    )
}

/// How both overheads change within each sweep.
fn overheads(sweeps: &[Sweep]) -> Vec<String> {
    let trends = |quantity: Quantity| -> Vec<String> {
        let trend = |sweep: &Sweep| trend(sweep, quantity);
        sweeps.iter().filter_map(trend).collect()
    };
    [
        (
            "Verifying over running in floats",
            Quantity::VerifyOverFloat,
        ),
        (
            "Verifying in batches over running in floats",
            Quantity::BatchOverFloat,
        ),
        ("Proving over running in floats", Quantity::ProveOverFloat),
    ]
    .map(|(name, quantity)| (name, trends(quantity)))
    .into_iter()
    .filter(|(_, trends)| !trends.is_empty())
    .map(|(name, trends)| {
        format!(
            "{name}, from the smallest to the largest model measured: {}.",
            trends.join("; ")
        )
    })
    .collect()
}

/// `mlp falls (87,800 to 2,730 times)`.
fn trend(sweep: &Sweep, quantity: Quantity) -> Option<String> {
    let fit = growth::curve(sweep, quantity, Size::MultiplyAdds).ok()?;
    let points = growth::points(sweep, quantity, Size::MultiplyAdds);
    let trend = if fit.exponent.high < 0.0 {
        "falls"
    } else if fit.exponent.low > 0.0 {
        "grows"
    } else {
        "shows no clear trend"
    };
    let (first, last) = (ratio(points.first()?.2), ratio(points.last()?.2));
    Some(format!(
        "{} {trend} ({first} to {last} times)",
        sweep.family
    ))
}

/// The inputs of the economics as names and values, for tables.
pub fn assumptions(inputs: &Inputs) -> Vec<(&'static str, String)> {
    vec![
        ("price of a core-hour", money(inputs.price_per_core_hour)),
        ("reward for an answer", money(inputs.reward)),
        ("gain from a false answer", money(inputs.gain)),
        ("stake lost when caught", money(inputs.stake)),
        (
            "proofs are paid by",
            match inputs.proof_paid_by {
                crate::economics::Payer::Client => "whoever asks".into(),
                crate::economics::Payer::Provider => "the provider".into(),
            },
        ),
        (
            "true answers asked about, on demand",
            percent(inputs.demand),
        ),
        (
            "false answers asked about, on demand",
            percent(inputs.suspicion),
        ),
        (
            "sampling, times the break-even rate",
            ratio(inputs.sampling_margin),
        ),
        ("parties that check each proof", count(inputs.verifiers)),
        (
            "parties that lie, when running again",
            percent(inputs.dishonest),
        ),
        (
            "failure that running again may leave",
            format!("{:e}", inputs.tolerated_failure),
        ),
        (
            "target for verification in batches",
            time(inputs.target_verify_seconds),
        ),
    ]
}

/// An amount of money with three digits: `$12.30`, `$0.00123`, `$4.5e-7`.
pub fn money(amount: f64) -> String {
    match amount.abs() {
        0.0 => "$0".into(),
        a if a < 1e-5 => format!("${amount:.1e}"),
        a if a < 1.0 => {
            let places = (2.0 - a.log10().floor()).clamp(2.0, 8.0) as usize;
            let text = format!("{amount:.places$}");
            let kept = text.trim_end_matches('0');
            let decimals = kept.split('.').nth(1).map_or(0, str::len);
            format!("${kept}{}", "0".repeat(2usize.saturating_sub(decimals)))
        }
        a if a < 1e3 => format!("${amount:.2}"),
        _ => format!("${}", count(amount.abs() as u64)),
    }
}

/// A probability or share: `1.23 %`, `<0.01 %`.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".into(),
        p if p < 0.01 => format!("{p:.1e} %"),
        p => {
            let text = format!("{p:.2}");
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::samples;
    use crate::report::Family;

    fn sweep(verify: fn(f64) -> f64, float: fn(f64) -> f64) -> String {
        growth_of_verification(&samples::sweep(Family::Mlp, verify, float)).remove(0)
    }

    #[test]
    fn verification_that_gains_meets_running() {
        let text = sweep(|_| 5e-3, |x| 1e-8 * x);
        assert!(text.contains("gains on running"), "{text}");
        // 5·10⁻³ / 10⁻⁸.
        assert!(
            text.contains("cheaper from about 500 k multiply-adds on")
                || text.contains("cheaper from about 501 k"),
            "{text}"
        );
        let text = sweep(|_| 5e-3, |x| 1e-10 * x);
        assert!(
            text.contains("running is cheaper at every size measured")
                && text.contains("extrapolation"),
            "{text}"
        );
        let text = sweep(|_| 5e-6, |x| 1e-6 * x);
        assert!(
            text.contains("cheaper at every size measured") && !text.contains("running is cheaper"),
            "{text}"
        );
    }

    /// Batches of the samples take a quarter of the time: they meet at a quarter of the size.
    #[test]
    fn batches_meet_running_earlier() {
        let sweep = samples::sweep(Family::Mlp, |_| 5e-3, |x| 1e-8 * x);
        let text = growth_of_verification(&sweep).remove(1);
        assert!(
            text.contains("verifying in batches") && text.contains("cheaper from about 12"),
            "{text}"
        );
        let findings = growth_of_all(&[sweep]);
        assert!(
            findings[1].contains("on verifying is cheaper than running again: mlp: 50"),
            "{findings:?}"
        );
        assert!(
            findings[2].contains("on verifying in batches is cheaper than running again: mlp: 12"),
            "{findings:?}"
        );
    }

    #[test]
    fn verification_that_falls_behind_is_said_to() {
        let text = sweep(|x| 1e-9 * x.powf(1.5), |x| 1e-10 * x);
        assert!(
            text.contains("falls behind") && text.contains("do not meet"),
            "{text}"
        );
        let text = sweep(|x| 1e-9 * x, |x| 1e-10 * x);
        assert!(
            text.contains("not decided") || text.contains("x^1.00"),
            "{text}"
        );
    }

    #[test]
    fn a_model_s_verdict_follows_its_numbers() {
        let mut report = samples::report();
        report.models.truncate(1);
        let text = verifier(&report.models[0]).unwrap();
        assert!(
            text.contains("running again is cheaper, by a factor of 250"),
            "{text}"
        );
        samples::set_cpu(&mut report.models[0], StageName::FloatInference, 50e-3);
        report.models[0].batches.clear();
        let text = verifier(&report.models[0]).unwrap();
        assert!(
            text.contains("verifying is cheaper, by a factor of 10")
                && !text.contains("At this speed"),
            "{text}"
        );
        report.models[0].stages.clear();
        assert_eq!(verifier(&report.models[0]), None);
    }

    #[test]
    fn nothing_measured_is_no_answer() {
        let mut report = samples::report();
        (report.models, report.sweeps, report.peers) = Default::default();
        assert_eq!(
            headline(&report),
            ["Neither a whole model nor a sweep was measured: there is no answer yet."]
        );
    }

    #[test]
    fn what_a_proof_buys_is_said_only_where_running_is_cheaper() {
        let report = samples::report();
        assert!(headline(&report).iter().any(|f| f.contains("stay hidden")));
        let mut cheap = report;
        cheap.sweeps.clear();
        for model in &mut cheap.models {
            samples::set_cpu(model, StageName::FloatInference, 10.0);
        }
        let findings = headline(&cheap);
        assert!(
            !findings.iter().any(|f| f.contains("stay hidden")),
            "{findings:?}"
        );
        assert!(findings[0].contains("for 2 of 2 models"), "{findings:?}");
    }

    #[test]
    fn amounts() {
        let shown = [0.0, 4.5e-7, 0.001234, 0.05, 0.5, 12.3, 12345.0].map(money);
        assert_eq!(
            shown,
            [
                "$0", "$4.5e-7", "$0.00123", "$0.05", "$0.50", "$12.30", "$12,345"
            ]
        );
        assert_eq!(
            [0.0, 1e-6, 0.0123, 0.5, 1.0].map(percent),
            ["0 %", "1.0e-4 %", "1.23 %", "50 %", "100 %"]
        );
    }
}
