//! What other systems take: which figures may stand beside ours.
//!
//! Files of peers hold a list of [`Peer`]s, from `peers/ezkl.py` or quoted (`peers/quoted.json`). What they say about
//! themselves is taken as it is, except for [`Peer::same_run`]: that is decided here.

use crate::report::{Machine, Measurement, Peer, Report};
use std::time::{Duration, SystemTime};

/// Figures of one run lie no further apart: sweeps and slow peers take hours.
const SAME_RUN: Duration = Duration::from_secs(24 * 3600);

/// A machine in the words of [`Peer::machine`].
pub fn machine_line(machine: &Machine) -> String {
    format!("{}, {} cores", machine.cpu, machine.cores)
}

/// Adds peers to a report. One counts as measured in the same run if it is not quoted, names the report's machine, has run
/// within a day of it, and took the same file as a measured model of that name.
pub fn merge(report: &mut Report, peers: Vec<Peer>) {
    for mut peer in peers {
        peer.same_run = match ours(report, &peer) {
            Some(model) => {
                let other_file = differs(peer.onnx_bytes, model.sizes.onnx);
                if other_file {
                    note(
                        &mut peer,
                        "Another ONNX file than the one of this name in the report.",
                    );
                }
                !other_file
                    && same_machine(&peer, &report.machine)
                    && same_time(&peer, &report.machine)
            }
            None => false,
        };
        report.peers.push(peer);
    }
}

/// The model of the report that a peer ran on, by name.
fn ours<'a>(report: &'a Report, peer: &Peer) -> Option<&'a Measurement> {
    report.models.iter().find(|m| m.name == peer.model)
}

fn differs(a: Option<u64>, b: Option<u64>) -> bool {
    a.zip(b).is_some_and(|(a, b)| a != b)
}

fn same_machine(peer: &Peer, machine: &Machine) -> bool {
    peer.source.is_empty() && !machine.cpu.is_empty() && peer.machine == machine_line(machine)
}

fn same_time(peer: &Peer, machine: &Machine) -> bool {
    let times = (time(&peer.date), time(&machine.started));
    let (Some(peer), Some(ours)) = times else {
        return false;
    };
    let apart = peer
        .duration_since(ours)
        .or_else(|_| ours.duration_since(peer));
    apart.is_ok_and(|apart| apart <= SAME_RUN)
}

fn time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339_weak(text).ok()
}

fn note(peer: &mut Peer, text: &str) {
    if !peer.note.is_empty() {
        peer.note.push(' ');
    }
    peer.note.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{FORMAT, Facts, Samples, Sizes};

    fn report() -> Report {
        let model = Measurement {
            name: "digits".into(),
            samples: Samples::Given,
            facts: Facts::default(),
            sizes: Sizes {
                onnx: Some(10_076),
                ..Sizes::default()
            },
            accuracy: None,
            stages: vec![],
            threads: vec![],
            batches: vec![],
            runs: vec![],
            notes: vec![],
        };
        Report {
            format: FORMAT,
            command: String::new(),
            machine: Machine {
                cpu: "some processor".into(),
                cores: 2,
                started: "2026-11-27T23:30:00Z".into(),
                ..Machine::default()
            },
            models: vec![model],
            sweeps: vec![],
            peers: vec![],
        }
    }

    /// As `peers/ezkl.py` writes it.
    fn peer() -> Peer {
        let text = r#"{"system": "EZKL", "version": "23.0.5", "model": "digits", "onnx_bytes": 10076,
            "machine": "some processor, 2 cores", "date": "2026-11-28T01:00:43Z", "hides_weights": true,
            "setup": {"wall": {"median": 2.5, "low": 2.5, "high": 2.5, "runs": 1}, "cpu": null, "peak_bytes": null},
            "proof_bytes": 3072, "note": "2852 of 2^15 rows."}"#;
        serde_json::from_str(text).expect("a peer")
    }

    fn same_run(change: impl Fn(&mut Peer)) -> bool {
        let (mut report, mut peer) = (report(), peer());
        change(&mut peer);
        merge(&mut report, vec![peer]);
        assert_eq!(report.peers.len(), 1);
        report.peers[0].same_run
    }

    #[test]
    fn only_figures_of_this_run_stand_beside_ours() {
        assert!(same_run(|_| ()));
        assert!(!same_run(|p| p.machine = "some processor, 4 cores".into()));
        assert!(!same_run(|p| p.machine.clear()));
        assert!(!same_run(|p| p.date = "2026-11-26T01:00:00Z".into()));
        assert!(!same_run(|p| p.date = "yesterday".into()));
        assert!(!same_run(|p| p.source = "a paper".into()));
        assert!(!same_run(|p| p.model = "another".into()));
        assert!(same_run(|p| p.onnx_bytes = None));
        // A file cannot claim it.
        assert!(!same_run(|p| {
            p.same_run = true;
            p.source = "a paper".into();
        }));
    }

    #[test]
    fn another_file_of_the_same_name_is_told() {
        let (mut report, mut peer) = (report(), peer());
        peer.onnx_bytes = Some(1);
        merge(&mut report, vec![peer]);
        let peer = &report.peers[0];
        assert!(
            !peer.same_run
                && peer
                    .note
                    .starts_with("2852 of 2^15 rows. Another ONNX file")
        );
    }

    #[test]
    fn quoted_peers_name_machine_and_source() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../peers/quoted.json");
        let text = std::fs::read_to_string(file).expect("a file of the repository");
        let quoted: Vec<Peer> = serde_json::from_str(&text).expect("a list of peers");
        assert!(!quoted.is_empty());
        for peer in &quoted {
            assert!(
                !peer.machine.is_empty() && !peer.source.is_empty(),
                "{peer:?}"
            );
            assert!(peer.prove.is_some() || !peer.note.is_empty(), "{peer:?}");
            assert!(!peer.same_run);
        }
        let mut report = report();
        merge(&mut report, quoted);
        assert!(report.peers.iter().all(|p| !p.same_run));
    }
}
