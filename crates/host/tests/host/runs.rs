//! Runs, promises, proofs, and that neither a restart nor a second asker changes what was said.

use crate::common::*;
use base64::Engine;
use serde_json::json;
use std::time::Duration;
use zkinfer::{Expected, Limits, Side, Verifier, verifier};
use zkinfer_slip::{Promise, Slip};

fn checker() -> Verifier {
    verifier(secret("digits").card().clone(), &Limits::default()).unwrap()
}

/// The proof is of the slip's run, for this input and this output alone.
#[track_caller]
fn accept(checker: &Verifier, slip: &Slip, proof: &[u8]) {
    let run = secret("digits").infer(&samples()[0]).unwrap();
    let expected = Expected {
        input: Some(Side::Public(run.input().to_vec())),
        output: Some(Side::Public(run.output().to_vec())),
        context: slip.terms.context.0.clone(),
    };
    checker.verify_bytes(&[expected], proof).unwrap();
}

#[test]
fn proofs_are_made_when_they_are_asked_for() {
    let service = Service::start(|_| {});
    let checker = checker();
    // When somebody asks.
    let answer = service.infer(&json!({ "zkinfer_context": "00ff" }));
    let slip = answer.slip();
    assert_eq!(slip.terms.context.0, [0, 0xff]);
    let path = format!("/v1/runs/{}", slip.terms.run);
    let known = service.get(&path).json();
    assert_eq!(
        (&known["state"], &known["slip"]),
        (&json!("answered"), &json!(slip))
    );
    service
        .get(&format!("{path}/proof"))
        .expect(409, "not_asked");
    let asked = service.post(&format!("{path}/prove"), &json!({}));
    assert_eq!(asked.status, 202);
    let promise: Promise = serde_json::from_value(asked.json()).unwrap();
    promise.check(&service.key).unwrap();
    assert!(promise.is_of(&slip));
    assert_eq!(
        promise.terms.due,
        promise.terms.time + slip.terms.prove_within
    );
    // Asking again promises nothing else.
    let again = service.post(&format!("{path}/prove"), &json!({}));
    assert_eq!((again.status, again.json()), (200, asked.json()));
    service.wait("the proof is there", |s| {
        s.get(&format!("{path}/proof")).status == 200
    });
    accept(&checker, &slip, &service.get(&format!("{path}/proof")).body);
    assert_eq!(service.get(&path).json()["state"], "proven");
    // In time, without asking.
    let answer = service.infer(&json!({ "zkinfer_proof": "later" }));
    let promise = answer.json()["parameters"]["zkinfer_promise"]
        .as_str()
        .unwrap()
        .to_owned();
    let promise: Promise = serde_json::from_str(&promise).unwrap();
    promise.check(&service.key).unwrap();
    let path = format!("/v1/runs/{}/proof", answer.slip().terms.run);
    service.wait("the proof is there", |s| s.get(&path).status == 200);
    accept(&checker, &answer.slip(), &service.get(&path).body);
    // At once.
    let answer = service.infer(&json!({ "zkinfer_proof": "now" }));
    let proof = answer.json()["parameters"]["zkinfer_proof"]
        .as_str()
        .unwrap()
        .to_owned();
    let proof = base64::engine::general_purpose::STANDARD
        .decode(proof)
        .unwrap();
    accept(&checker, &answer.slip(), &proof);
    for (method, path) in [("GET", ""), ("GET", "/proof"), ("POST", "/prove")] {
        let unknown = format!("/v1/runs/{}{path}", "0".repeat(32));
        service
            .send(method, &unknown, &[], b"")
            .expect(404, "unknown_run");
        service
            .send(method, &format!("/v1/runs/x{path}"), &[], b"")
            .expect(400, "malformed_request");
    }
}

#[test]
fn a_restart_loses_nothing_and_proves_nothing_twice() {
    let service = Service::start(|c| c.provers = 0);
    let later = service.infer(&json!({ "zkinfer_proof": "later" })).slip();
    let none = service.infer(&json!({})).slip();
    let path = |slip: &Slip, what: &str| format!("/v1/runs/{}{what}", slip.terms.run);
    service
        .get(&path(&later, "/proof"))
        .expect(409, "not_proven");
    let promised = service.get(&path(&later, "")).json();
    let folder = service.stop();

    // Another model is served: what was promised waits, and new slips go on where the others ended.
    let service = Service::again(folder, &["other"], |_| {});
    let other = service.infer(&json!({})).slip();
    // In a series of its own: whoever goes back to an older copy of the store uses no number twice.
    assert_ne!(other.terms.series, none.terms.series);
    assert!(other.terms.sequence > none.terms.sequence && other.terms.time >= none.terms.time);
    assert_eq!(service.get(&path(&later, "")).json(), promised);
    let folder = service.stop();

    let service = Service::again(folder, &["digits"], |_| {});
    assert_eq!(service.post(&path(&none, "/prove"), &json!({})).status, 202);
    for slip in [&later, &none] {
        service.wait("the proof is there", |s| {
            s.get(&path(slip, "/proof")).status == 200
        });
    }
    let proofs = [&later, &none].map(|slip| service.get(&path(slip, "/proof")).body);
    let folder = service.stop();

    // What is proven stays as it is: no prover takes it again.
    let service = Service::again(folder, &["digits"], |_| {});
    let newer = service.infer(&json!({ "zkinfer_proof": "now" })).slip();
    service.wait("the proof is there", |s| {
        s.get(&path(&newer, "/proof")).status == 200
    });
    for (slip, proof) in [&later, &none].into_iter().zip(&proofs) {
        assert_eq!(&service.get(&path(slip, "/proof")).body, proof);
        accept(&checker(), slip, proof);
    }
    let text = String::from_utf8(service.get("/metrics").body).unwrap();
    assert!(text.contains("zkinfer_host_proven_total 1\n"), "{text}");
}

#[test]
fn deadlines_are_kept() {
    let service = Service::start(|c| {
        c.ask_for = Duration::from_millis(1);
        c.provers = 0;
    });
    let slip = service.infer(&json!({})).slip();
    std::thread::sleep(Duration::from_millis(5));
    let path = format!("/v1/runs/{}/prove", slip.terms.run);
    service.post(&path, &json!({})).expect(410, "too_late");
}
