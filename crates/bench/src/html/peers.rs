//! Other systems. Figures of other machines, or of another time, never stand in one plot with this run's.

use super::model::timed;
use super::page::{Cell, Page};
use crate::plot::{Axis, Row, Rows, Unit, Value};
use crate::report::{Measurement, Peer, PeerTime, Report, StageName, Summary};
use crate::units::{bytes, count};

const COLUMNS: [&str; 9] = [
    "system",
    "model",
    "setup",
    "prove, wall",
    "prove, CPU",
    "memory",
    "verify",
    "proof",
    "proving key",
];

pub fn render(page: &mut Page, report: &Report) {
    if report.peers.is_empty() {
        return;
    }
    page.section("peers", "Other systems");
    let (here, elsewhere): (Vec<&Peer>, Vec<&Peer>) = report.peers.iter().partition(|p| p.same_run);
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for peer in &here {
        if let Some(model) = report
            .models
            .iter()
            .find(|m| m.name == peer.model)
            .filter(|m| !seen.contains(&m.name.as_str()))
        {
            seen.push(&model.name);
            rows.push(ours(model, &report.machine.zkinfer));
        }
        rows.push(theirs(peer));
    }
    page.table("In the same run, on the same machine", &COLUMNS, &rows);
    if !elsewhere.is_empty() {
        page.paragraph("The following were measured by others, or at another time, on the machines named. They give an order of magnitude, and no ratio to the figures above.");
        let mut columns = COLUMNS.to_vec();
        columns.insert(1, "machine, date, source");
        let rows: Vec<Vec<Cell>> = elsewhere
            .iter()
            .map(|peer| {
                let from: Vec<&str> = [peer.date.as_str(), peer.source.as_str()]
                    .into_iter()
                    .filter(|t| !t.is_empty())
                    .collect();
                let mut row = theirs(peer);
                row.insert(1, Cell::text(&peer.machine).with(from.join(", ")));
                row
            })
            .collect();
        page.table("Quoted", &columns, &rows);
    }
    let notes = report.peers.iter().filter(|p| !p.note.is_empty());
    let notes: Vec<String> = notes
        .map(|p| {
            format!(
                "{}, {}: {}",
                format!("{} {}", p.system, p.version).trim_end(),
                p.model,
                p.note
            )
        })
        .collect();
    page.list(&notes);
}

fn ours(model: &Measurement, version: &str) -> Vec<Cell> {
    let stage = |name| model.stage(name);
    let prove = stage(StageName::Prove);
    vec![
        Cell::text("zkinfer").with(version),
        Cell::text(&model.name).with(format!("{} parameters", count(model.facts.parameters))),
        timed(stage(StageName::DeriveKey).map(|s| &s.wall)),
        timed(prove.map(|s| &s.wall)),
        timed(prove.and_then(|s| s.cpu.as_ref())),
        Cell::maybe(prove.and_then(|s| s.peak_bytes).map(bytes)),
        timed(stage(StageName::Verify).map(|s| &s.wall)),
        Cell::number(bytes(model.sizes.proof)),
        Cell::maybe(None),
    ]
}

fn theirs(peer: &Peer) -> Vec<Cell> {
    let wall = |t: &Option<PeerTime>| timed(t.as_ref().and_then(|t| t.wall.as_ref()));
    let hides = match peer.hides_weights {
        Some(true) => ", hides weights",
        Some(false) => ", does not hide weights",
        None => "",
    };
    vec![
        Cell::text(&peer.system).with(format!("{}{hides}", peer.version).trim_start_matches(", ")),
        Cell::text(&peer.model).with(
            peer.parameters
                .map_or(String::new(), |p| format!("{} parameters", count(p))),
        ),
        wall(&peer.setup),
        wall(&peer.prove),
        timed(peer.prove.as_ref().and_then(|t| t.cpu.as_ref())),
        Cell::maybe(peer.prove.as_ref().and_then(|t| t.peak_bytes).map(bytes)),
        wall(&peer.verify),
        Cell::maybe(peer.proof_bytes.map(bytes)),
        Cell::maybe(peer.proving_key_bytes.map(bytes)),
    ]
}

/// Peers of the same run beside a model of theirs.
pub fn beside(model: &Measurement, peers: &[Peer]) -> Option<String> {
    let value = |s: Option<&Summary>| {
        s.map(|s| Value {
            value: s.median,
            spread: (s.runs > 1).then_some((s.low, s.high)),
        })
    };
    let own = |name| model.stage(name);
    let mut rows = vec![Row {
        label: "zkinfer".into(),
        values: vec![
            value(own(StageName::Prove).and_then(|s| s.cpu.as_ref())),
            value(own(StageName::Verify).and_then(|s| s.cpu.as_ref())),
        ],
    }];
    for peer in peers.iter().filter(|p| p.same_run && p.model == model.name) {
        let cpu = |t: &Option<PeerTime>| value(t.as_ref().and_then(|t| t.cpu.as_ref()));
        rows.push(Row {
            label: peer.system.clone(),
            values: vec![cpu(&peer.prove), cpu(&peer.verify)],
        });
    }
    if rows.len() < 2 {
        return None;
    }
    let title = "Other systems in the same run".into();
    Rows {
        title,
        axis: Axis::log("CPU time", Unit::Seconds),
        series: vec!["prove".into(), "verify".into()],
        rows,
    }
    .svg()
}
