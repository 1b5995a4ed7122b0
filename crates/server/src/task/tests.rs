use super::*;
use crate::config::Config;
use crate::store::Keeper;
use serde_json::json;
use zkinfer_circuits::transcript::Digest;

#[test]
fn dear_proofs_are_checked_one_after_the_other() {
    let groups = |costs: &[u64]| {
        let mut left = costs.iter().copied().peekable();
        let mut sizes = Vec::new();
        while left.peek().is_some() {
            let cost = |seconds: &u64| Duration::from_secs(*seconds);
            sizes.push(together(&mut left, Duration::from_secs(10), cost).len());
        }
        sizes
    };
    assert_eq!(groups(&[10, 10, 10]), [1, 1, 1]);
    assert_eq!(groups(&[1; 12]), [10, 2]);
    assert_eq!(groups(&[4, 4, 4, 50, 1]), [2, 1, 1, 1]);
    assert_eq!(groups(&[u64::MAX, u64::MAX]), [1, 1]);
    assert!(groups(&[]).is_empty());
}

fn fixture(file: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/");
    std::fs::read(format!("{folder}{file}")).unwrap()
}

#[test]
fn receipts_take_memory_before_anything_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        store: folder.path().join("store.redb"),
        body_bytes: 20_000,
        ..Config::default()
    };
    let app = crate::serve::app(config).unwrap();
    let card = crate::api::add(&app, &fixture("digits.card")).unwrap();
    let model = app.cache.find(&card).unwrap();
    // What is said of three runs is less.
    let proof = fixture("digits_3.runs");
    let expected = Expected {
        context: b"digits".to_vec(),
        ..Expected::default()
    };
    let candidate = model.verifier.candidate(&[expected], &proof).unwrap();
    assert_eq!(candidate.expected.len(), 3);
    let verdict = model
        .verifier
        .verify_runs(&candidate.expected, &candidate.proof);
    let stated = StatedSide::of(&candidate.expected);
    let receipt = Receipt::new(&card, &proof, &stated, &verdict.map_err(Refusal::from));
    let receipt = with_reals(receipt, model.interface.as_ref().ok());
    let text = serde_json::to_string(&receipt).unwrap();
    assert!(receipt.is_accepted() && text.len() < model.receipt(3));

    let question =
        json!({ "card": card, "proof": STANDARD.encode(&proof), "context_text": "digits" });
    let begin = |room: &mut Share| {
        let request = serde_json::from_value(question.clone()).unwrap();
        begin(&app, &model, request, room).map_or_else(|problem| problem.status, |_| 200)
    };
    let client = IpAddr::from([127, 0, 0, 1]);
    let mut room = app.memory.share(client);
    assert_eq!(begin(&mut room), 200);
    // More than a client ever has; more than there is now.
    assert_eq!(begin(&mut room), 413);
    assert_eq!(begin(&mut app.memory.share(client)), 503);
    drop(room);
    assert_eq!(begin(&mut app.memory.share(client)), 200);
}

#[test]
fn what_nobody_waits_for_uses_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        store: folder.path().join("store.redb"),
        ..Config::default()
    };
    let store = Store::open(&config).unwrap();
    let key = ContextKey::new(&Digest([0; 32]), Keeper::Operator, b"context");
    let digest = "0".repeat(64);
    let receipt: RealReceipt = serde_json::from_value(json!({
        "receipt_version": 2, "format_version": 1, "card": digest, "proof": digest,
        "result": { "outcome": "accepted", "statement": digest, "context": "00", "runs": [] }
    }))
    .unwrap();
    let settle = |stop: &Stop| {
        let judged = vec![(Some(key), receipt.clone())];
        let answer = settle(&store, config.once_for, judged, stop).pop();
        answer
            .unwrap()
            .map_or_else(|problem| problem.code, |_| "accepted")
    };
    let alone = Stop::new(Duration::MAX);
    alone.leave();
    assert_eq!(settle(&alone), "timeout");
    assert!(!store.is_used(&key, now()).unwrap());
    // Somebody who waits is told, however long it took.
    assert_eq!(settle(&Stop::new(Duration::ZERO)), "accepted");
    assert_eq!(settle(&Stop::new(Duration::ZERO)), "replayed");
}
