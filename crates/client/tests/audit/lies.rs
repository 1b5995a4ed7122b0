//! Each lie is caught, with evidence that a third party confirms from the card and the host's key alone, or with an
//! answer that is not accepted.

use crate::common::*;
use crate::double::*;
use std::io::BufReader;
use zkinfer_client::{Answer, ClientError, Evidence, Log, Outcome, Summary, audit};
use zkinfer_slip::evidence::Finding;
use zkinfer_slip::now;

/// What a client that asks for every proof sees of a host: its answers, outcomes, and the summary of its log.
struct Seen {
    answers: Vec<Result<Answer, ClientError>>,
    outcomes: Vec<Outcome>,
    summary: Summary,
}

fn see(lie: Lie, questions: usize) -> Seen {
    let double = Double::start(lie);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let client = client(double.address, 1.0, Log::append(&path).unwrap());
    let answers: Vec<_> = samples()[..questions]
        .iter()
        .map(|s| client.infer(s))
        .collect();
    let mut outcomes = Vec::new();
    let start = std::time::Instant::now();
    while client.pending() > 0 {
        assert!(start.elapsed() < PATIENCE);
        outcomes.extend(
            client
                .settle()
                .unwrap()
                .into_iter()
                .map(|(_, outcome)| outcome),
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let log = BufReader::new(std::fs::File::open(&path).unwrap());
    let summary = audit(log, &pinned(), now()).unwrap();
    assert!(!summary.is_clean());
    Seen {
        answers,
        outcomes,
        summary,
    }
}

/// As a third party sees it: out of a file.
#[track_caller]
fn confirm(evidence: &Evidence) -> Finding {
    let file = serde_json::to_string(evidence).unwrap();
    let read: Evidence = serde_json::from_str(&file).unwrap();
    let pinned = pinned();
    read.judge(&pinned.host(), pinned.verifier(), now(), None)
        .unwrap()
}

#[test]
fn false_outputs_are_shown_by_their_proof() {
    let seen = see(Lie::FalseOutput, 1);
    let [Outcome::False(evidence)] = seen.outcomes.as_slice() else {
        panic!("{:?}", seen.outcomes);
    };
    let answer = seen.answers[0].as_ref().unwrap();
    let Finding::FalseOutput { signed, proven } = confirm(evidence) else {
        panic!("{evidence:?}");
    };
    assert_eq!(signed, answer.slip.terms.output);
    let run = secret("digits").infer(&samples()[0]).unwrap();
    assert_eq!(
        proven,
        zkinfer::Side::Public(run.output().to_vec()).digest()
    );
    assert_eq!((seen.summary.failed, seen.summary.confirmed.len()), (1, 1));
}

/// There is no proof of what they signed, so they break their word.
#[test]
fn what_cannot_be_proven_is_overdue() {
    for lie in [
        Lie::OtherModel,
        Lie::SwappedInput,
        Lie::NeverProves,
        Lie::HandsOutGarbage,
    ] {
        let seen = see(lie, 1);
        let answer = seen.answers[0].as_ref().unwrap();
        let [Outcome::Overdue(evidence)] = seen.outcomes.as_slice() else {
            panic!("{lie:?}: {:?}", seen.outcomes);
        };
        let Finding::Overdue { due } = confirm(evidence) else {
            panic!("{lie:?}: {evidence:?}");
        };
        assert!(due >= answer.slip.terms.time + answer.slip.terms.prove_within);
        assert_eq!(
            (seen.summary.overdue, seen.summary.confirmed.len()),
            (1, 1),
            "{lie:?}"
        );
    }
}

#[test]
fn answers_that_bind_nobody_are_not_accepted() {
    for (lie, says, questions) in [
        (Lie::AlteredAnswer, "of another output", 1),
        (Lie::SignedOtherInput, "of another input", 1),
        (Lie::Replays, "of another question", 2),
        (Lie::NoTimeToAsk, "may be asked for until", 1),
        (Lie::OtherKey, "signature", 1),
        (Lie::Backdates(100_000), "was signed at", 2),
    ] {
        let seen = see(lie, questions);
        let Err(ClientError::Unbound { reason, .. }) = &seen.answers[questions - 1] else {
            panic!("{lie:?}: {:?}", seen.answers);
        };
        assert!(reason.contains(says), "{lie:?}: {reason}");
        assert_eq!(seen.summary.unbound, 1, "{lie:?}");
    }
}

#[test]
fn slips_that_contradict_each_other_are_evidence() {
    for lie in [Lie::SameNumber, Lie::Backdates(1)] {
        let seen = see(lie, 2);
        assert!(seen.answers[0].is_ok());
        let Err(ClientError::Unbound { evidence, .. }) = &seen.answers[1] else {
            panic!("{lie:?}: {:?}", seen.answers);
        };
        let finding = confirm(evidence.as_ref().unwrap());
        assert!(
            matches!(finding, Finding::Contradiction { .. }),
            "{lie:?}: {finding:?}"
        );
        assert!(
            seen.summary.confirmed.iter().any(|c| c.finding == finding),
            "{lie:?}"
        );
    }
}

#[test]
fn a_host_that_promises_nothing_is_complained_about() {
    let seen = see(Lie::Refuses, 1);
    let Some(Outcome::Refused(evidence)) = &seen.answers[0].as_ref().unwrap().audit else {
        panic!("{:?}", seen.answers);
    };
    assert_eq!(seen.summary.refused, 1);
    // The client's word alone convinces nobody.
    let pinned = pinned();
    let verdict = evidence.judge(&pinned.host(), pinned.verifier(), now(), None);
    assert!(verdict.unwrap_err().to_string().contains("anybody can ask"));
}
