//! Clients that lie about an honest host: nothing that they put together is confirmed.

use crate::common::*;
use crate::double::{client, pinned};
use std::io::BufReader;
use zkinfer::{SideVisibility, Visibility};
use zkinfer_client::{Evidence, Log, Summary, audit};
use zkinfer_slip::evidence::{Claim, EvidenceError, Finding, ProofBytes};
use zkinfer_slip::{Promise, SecretKey, Slip, now};

/// Two audited runs of an honest host: slip, promise, input, proof.
struct Audited {
    runs: Vec<(Slip, Promise, Vec<u16>, Vec<u8>)>,
    log: String,
}

fn audited() -> Audited {
    let service = Service::start(|_| {});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let client = client(service.address, 1.0, Log::append(&path).unwrap());
    let mut runs = Vec::new();
    for sample in &samples()[..2] {
        let slip = client.infer(sample).unwrap().slip;
        let run = secret("digits").infer(sample).unwrap();
        let known = format!("/v1/runs/{}", slip.terms.run);
        service.wait("it is proven", |s| {
            s.get(&known).json()["state"] == "proven"
        });
        let promise =
            serde_json::from_value(service.get(&known).json()["promise"].clone()).unwrap();
        let proof = service.get(&format!("{known}/proof")).body;
        runs.push((slip, promise, run.input().to_vec(), proof));
    }
    assert_eq!(client.settle().unwrap().len(), 2);
    Audited {
        runs,
        log: std::fs::read_to_string(&path).unwrap(),
    }
}

fn judge(claim: Claim, at: u64, shown: Option<&[u8]>) -> Result<Finding, EvidenceError> {
    let pinned = pinned();
    Evidence::from(claim).judge(&pinned.host(), pinned.verifier(), at, shown)
}

#[test]
fn nobody_is_framed_by_false_outputs() {
    let Audited { runs, .. } = audited();
    let [
        (slip, _, input, proof),
        (other_slip, _, other_input, other_proof),
    ] = runs.as_slice()
    else {
        panic!()
    };
    let claim = |slip: &Slip, input: &[u16], proof: &[u8]| {
        let claim = Claim::FalseOutput {
            slip: slip.clone(),
            input: input.to_vec(),
            proof: ProofBytes(proof.to_vec()),
        };
        judge(claim, now(), None).unwrap_err()
    };
    // Its own proof, that of another run, and parts of both.
    assert!(matches!(
        claim(slip, input, proof),
        EvidenceError::SameOutput
    ));
    assert!(matches!(
        claim(slip, input, other_proof),
        EvidenceError::Proof(_)
    ));
    assert!(matches!(
        claim(slip, other_input, other_proof),
        EvidenceError::Input
    ));
    assert!(matches!(
        claim(other_slip, input, proof),
        EvidenceError::Input
    ));
    // Slips that the host did not sign.
    let mut changed = slip.clone();
    changed.terms.output = other_slip.terms.output;
    assert!(matches!(
        claim(&changed, input, proof),
        EvidenceError::Slip(_)
    ));
    let forged = changed
        .terms
        .clone()
        .sign(&SecretKey::random(&mut zkinfer::rng()));
    assert!(matches!(
        claim(&forged, input, proof),
        EvidenceError::Slip(_)
    ));
    // A valid proof of another model that the client made itself, and one of this model (whose owner the client may be)
    // that hides the output: commitments have another digest than what they hide.
    let sample = &samples()[0];
    let context = &slip.terms.context.0;
    let prove = |name: &str, output: SideVisibility| {
        let model = secret(name);
        let run = model.infer(sample).unwrap();
        let visibility = Visibility {
            output,
            ..Visibility::default()
        };
        model
            .prove(&run, &visibility, context, &mut zkinfer::rng())
            .unwrap()
            .proof
            .to_bytes()
    };
    let of_other_model = prove("other", SideVisibility::Public);
    assert!(matches!(
        claim(slip, input, &of_other_model),
        EvidenceError::Proof(_)
    ));
    let hidden = prove("digits", SideVisibility::Committed);
    assert!(matches!(claim(slip, input, &hidden), EvidenceError::Hidden));
    // Another valid proof of the same run shows the same output.
    let again = prove("digits", SideVisibility::Public);
    assert!(matches!(
        claim(slip, input, &again),
        EvidenceError::SameOutput
    ));
}

#[test]
fn nobody_is_framed_by_what_is_overdue() {
    let Audited { runs, .. } = audited();
    let [
        (slip, promise, input, proof),
        (other_slip, other_promise, other_input, other_proof),
    ] = runs.as_slice()
    else {
        panic!()
    };
    let claim = |slip: &Slip, promise: &Promise, input: &[u16]| Claim::Overdue {
        slip: slip.clone(),
        promise: promise.clone(),
        input: input.to_vec(),
        instead: None,
    };
    let late = promise.terms.due + 1;
    let mine = || claim(slip, promise, input);
    assert!(matches!(
        judge(mine(), now(), None),
        Err(EvidenceError::NotDue { .. })
    ));
    // The host shows the proof, and that settles it; another one does not.
    assert!(matches!(
        judge(mine(), late, Some(proof)),
        Err(EvidenceError::Settled)
    ));
    assert!(matches!(
        judge(mine(), late, Some(other_proof)),
        Ok(Finding::Overdue { .. })
    ));
    let crossed = judge(claim(slip, other_promise, input), late, None);
    assert!(matches!(crossed, Err(EvidenceError::Promise)));
    let crossed = judge(
        claim(other_slip, other_promise, input),
        late,
        Some(other_proof),
    );
    assert!(matches!(crossed, Err(EvidenceError::Input)));
    let mut early = promise.clone();
    early.terms.due = 0;
    let changed = judge(claim(slip, &early, input), late, None);
    assert!(matches!(changed, Err(EvidenceError::Slip(_))));
    // What the client says that it got instead settles it, too, if it is the proof.
    let mut honest = mine();
    if let Claim::Overdue { instead, .. } = &mut honest {
        *instead = Some(ProofBytes(proof.clone()));
    }
    assert!(matches!(
        judge(honest, late, None),
        Err(EvidenceError::Settled)
    ));
    let both = Claim::Contradiction {
        slip: slip.clone(),
        other: other_slip.clone(),
    };
    assert!(matches!(
        judge(both, now(), None),
        Err(EvidenceError::NoContradiction)
    ));
    let twice = Claim::Contradiction {
        slip: slip.clone(),
        other: slip.clone(),
    };
    assert!(matches!(
        judge(twice, now(), None),
        Err(EvidenceError::NoContradiction)
    ));
    assert_ne!(input, other_input);
}

#[test]
fn logs_that_were_tampered_with_are_refused() {
    let Audited { log, runs } = audited();
    let read = |log: &str, at: u64| {
        audit(BufReader::new(log.as_bytes()), &pinned(), at).map_err(|e| e.to_string())
    };
    let clean: Summary = read(&log, now()).unwrap();
    assert!(clean.is_clean() && clean.proven == 2);
    let lines: Vec<&str> = log.lines().collect();
    let find = |event: &str| {
        lines
            .iter()
            .position(|l| l.contains(&format!("\"event\":\"{event}\"")))
            .unwrap()
    };
    let (answered, asked, proven) = (find("answered"), find("asked"), find("proven"));
    let with = |at: usize, line: &str| {
        let mut changed: Vec<&str> = lines.clone();
        changed[at] = line;
        changed.join("\n") + "\n"
    };
    let refuse = |log: &str, says: &str| {
        let error = read(log, now()).unwrap_err();
        assert!(error.contains(says), "{error}");
    };
    // Every byte of what is signed.
    let (first, second) = (
        runs[0].0.terms.output.to_string(),
        runs[1].0.terms.output.to_string(),
    );
    refuse(
        &with(answered, &lines[answered].replace(&first, &second)),
        "signature",
    );
    refuse(
        &with(asked, &lines[asked].replace("\"due\":1", "\"due\":2")),
        "signature",
    );
    // Proofs of others, proofs before they were asked for, answers twice, lines that end in between.
    let of_other = lines
        .iter()
        .rposition(|l| l.contains("\"event\":\"proven\""))
        .unwrap();
    let (run, other) = (
        runs[0].0.terms.run.to_string(),
        runs[1].0.terms.run.to_string(),
    );
    let swapped = lines[of_other].replace(&other, &run);
    refuse(&with(proven, &swapped), "the proof is not valid");
    refuse(&with(asked, lines[proven]), "not asked for");
    refuse(&(log.clone() + lines[answered] + "\n"), "twice");
    refuse(&(log.clone() + lines[proven] + "\n"), "settled already");
    refuse(&log[..log.len() - 2], "does not end");
    refuse(&(log.clone() + "{}\n"), "line 7");
    // A lie about the host in a log: evidence is judged, not believed.
    let (slip, promise, input, proof) = &runs[0];
    let false_claim = Evidence::from(Claim::FalseOutput {
        slip: slip.clone(),
        input: input.clone(),
        proof: ProofBytes(proof.clone()),
    });
    let line = serde_json::json!({ "time": 0, "event": "false", "run": slip.terms.run, "evidence": false_claim });
    refuse(&with(proven, &line.to_string()), "did not lie");
    let early = Evidence::from(Claim::Overdue {
        slip: slip.clone(),
        promise: promise.clone(),
        input: input.clone(),
        instead: None,
    });
    let line = serde_json::json!({ "time": 0, "event": "overdue", "run": slip.terms.run, "evidence": early });
    refuse(&with(proven, &line.to_string()), "ms from now");
    let line = line.to_string().replace(
        &format!("\"run\":\"{run}\",\"time\""),
        &format!("\"run\":\"{other}\",\"time\""),
    );
    refuse(&with(proven, &line), "another run");
}
