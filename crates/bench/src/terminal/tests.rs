use super::*;
use crate::html::samples;
use crate::report::{Machine, Samples, Sizes};

fn text(report: &Report) -> String {
    render(report, &Inputs::default(), &Style::PLAIN)
}

#[track_caller]
fn check_width(text: &str) {
    for line in text.lines() {
        assert!(
            line.chars().count() <= WIDTH,
            "{} columns: {line}",
            line.chars().count()
        );
    }
}

#[test]
fn everything_that_was_measured_is_shown() {
    let report = samples::report();
    let text = text(&report);
    check_width(&text);
    for model in &report.models {
        assert!(text.contains(&model.name), "{}", model.name);
    }
    for needle in [
        "stage",
        "quotient and opening",
        "threads",
        "proofs verified together",
        "runs in one proof",
        "overhead, CPU time",
        "economics",
        "proof of every answer",
        "running the model again",
        "sweep mlp",
        "by parameters",
        "other systems",
    ] {
        assert!(text.contains(needle), "{needle}: {text}");
    }
}

#[test]
fn what_a_proof_buys_is_said_where_running_again_is_cheaper() {
    let mut report = samples::report();
    report.models.truncate(1);
    report.sweeps.clear();
    samples::set_cpu(&mut report.models[0], StageName::Verify, 1e-2);
    samples::set_cpu(&mut report.models[0], StageName::FloatInference, 1e-5);
    let said = |report: &Report| {
        let words = text(report)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        words.contains("weights stay hidden")
    };
    assert!(said(&report));
    samples::set_cpu(&mut report.models[0], StageName::FloatInference, 1.0);
    assert!(!said(&report));
}

#[test]
fn names_do_not_move_the_cursor_or_break_lines() {
    let mut report = samples::report();
    let hostile = "\u{1b}[2J\n\r".repeat(200);
    report.machine.cpu.clone_from(&hostile);
    for model in &mut report.models {
        model.name.clone_from(&hostile);
        model.notes.push(hostile.clone());
    }
    for peer in &mut report.peers {
        peer.system.clone_from(&hostile);
        peer.machine.clone_from(&hostile);
    }
    let text = text(&report);
    check_width(&text);
    assert!(!text.contains(['\u{1b}', '\r']));
}

#[test]
fn little_is_shown_where_little_was_measured() {
    let nothing = Report {
        format: crate::report::FORMAT,
        command: String::new(),
        machine: Machine::default(),
        models: vec![],
        sweeps: vec![],
        peers: vec![],
    };
    assert!(text(&nothing).lines().count() <= 3);
    let model = Measurement {
        name: "m".into(),
        samples: Samples::Random,
        facts: crate::report::Facts::default(),
        sizes: Sizes::default(),
        accuracy: None,
        stages: vec![],
        threads: vec![],
        batches: vec![],
        runs: vec![],
        notes: vec![],
    };
    let text = text(&Report {
        models: vec![model],
        ..nothing
    });
    check_width(&text);
    assert!(
        text.contains("CPU time is unknown") && !text.contains("economics"),
        "{text}"
    );
}

#[test]
fn a_number_and_its_unit_stay_on_one_line() {
    let mut out = String::new();
    let text = format!("{} 620 k multiply-adds", "x".repeat(74));
    paragraph(&mut out, &text);
    assert_eq!(out.lines().nth(1), Some("  620 k multiply-adds"));
}
