//! What is too much is refused, in words that say so.

use crate::common::*;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_full_store_refuses() {
    let service = Service::start(|c| c.runs = 2);
    for _ in 0..2 {
        assert_eq!(service.infer(&json!({})).status, 200);
    }
    service.infer(&json!({})).expect(507, "store_full");
    let service = Service::start(|c| c.run_bytes = 100);
    service.infer(&json!({})).expect(507, "store_full");
}

/// Each answer is one whose proof may be asked for: where too many are promised, there are no more.
#[test]
fn promises_hold_answers_back() {
    let service = Service::start(|c| {
        c.provers = 0;
        c.prove_within = Duration::from_millis(450);
    });
    // A proof is thought to take 0.1 s before there was one.
    for _ in 0..2 {
        assert_eq!(
            service.infer(&json!({ "zkinfer_proof": "later" })).status,
            200
        );
    }
    let answer = service.infer(&json!({ "zkinfer_proof": "later" }));
    answer.expect(503, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(service.infer(&json!({})).status, 200);
}

#[test]
fn an_answer_does_not_wait_forever_for_its_proof() {
    let service = Service::start(|c| {
        c.provers = 0;
        c.request_timeout = Duration::from_secs(1);
    });
    let parameters = &service.infer(&json!({ "zkinfer_proof": "now" })).json()["parameters"];
    assert!(parameters["zkinfer_promise"].is_string());
    assert!(parameters["zkinfer_proof"].is_null());
}
