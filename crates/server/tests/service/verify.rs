//! `/v1/verify` and `/v1/verify/batch`: every verdict, every way to state what is expected.

use crate::common::*;
use serde_json::{Value, json};

#[test]
fn accepted_with_everything_stated_or_nothing() {
    let service = Service::with_cards(|_| {});
    for file in ["digits_0.proof", "digits_hidden.proof", "digits_3.runs"] {
        let answer = service.verify(&question("digits", file));
        answer.expect(200, "accepted");
        let receipt = answer.json();
        assert_eq!(receipt["card"], digest("digits"));
        assert_eq!(receipt["result"]["context"], "646967697473");

        // What was reported is what can be stated, and the receipt says that it was.
        let runs = receipt["result"]["runs"].as_array().unwrap();
        assert!(runs.iter().all(|run| run["stated"] == json!([])));
        let sides = |run: &Value| json!({ "input": run["input"], "output": run["output"] });
        let expected: Vec<Value> = runs.iter().map(sides).collect();
        let stated = with(question("digits", file), json!({ "expected": expected }));
        let mut answer = service.verify(&stated).expect(200, "accepted").json();
        for run in answer["result"]["runs"].as_array_mut().unwrap() {
            assert_eq!(run["stated"], json!(["input", "output"]));
            run["stated"] = json!([]);
        }
        assert_eq!(answer, receipt);
    }
    let output = json!([{ "output": { "kind": "public", "values": vec![0; 10] } }]);
    let wrong = with(
        question("digits", "digits_0.proof"),
        json!({ "expected": output }),
    );
    service.verify(&wrong).expect(422, "other_output");
    let none = without(question("digits", "digits_0.proof"), "context_text");
    service
        .verify(&with(none, json!({ "context": "646967697473" })))
        .expect(200, "accepted");
    service
        .verify(&question("cnn", "cnn_0.proof"))
        .expect(200, "accepted");
}

#[test]
fn real_numbers_are_read_by_the_cards_scales() {
    let service = Service::with_cards(|_| {});
    let json_please = [("accept", "application/json")];
    let path = format!("/v1/cards/{}", digest("digits"));
    let card = service.send("GET", &path, &json_please, b"").json();
    let input = &card["interface"]["inputs"][0];
    let at = |list: &Value, i: usize| {
        let list = list.as_array().unwrap();
        list[if list.len() == 1 { 0 } else { i }].as_f64().unwrap()
    };
    let receipt = service.verify(&question("digits", "digits_0.proof")).json();
    let integers = receipt["result"]["runs"][0]["input"]["values"]
        .as_array()
        .unwrap();
    let reals: Vec<f64> = integers
        .iter()
        .enumerate()
        .map(|(i, q)| at(&input["scale"], i) * (q.as_f64().unwrap() - at(&input["zero_point"], i)))
        .collect();
    let state = |reals: &[f64]| {
        let run = json!([{ "input": { "kind": "real", "tensors": [reals] } }]);
        service.verify(&with(
            question("digits", "digits_0.proof"),
            json!({ "expected": run }),
        ))
    };
    let accepted = state(&reals);
    let receipt = accepted.expect(200, "accepted").json();
    let run = &receipt["result"]["runs"][0];
    assert_eq!(run["stated"], json!(["input"]));
    // Reals as they are rounded, and how.
    let real = &run["reals"]["input"][0];
    let step = at(&input["scale"], 0).abs();
    assert_eq!(at(&real["step"], 0), step);
    for (value, real) in real["values"].as_array().unwrap().iter().zip(&reals) {
        assert!((value.as_f64().unwrap() - real).abs() < step / 2.0);
    }
    let tolerant = |tolerance: f64| {
        let side = json!({ "kind": "real", "tensors": [reals], "tolerance": tolerance });
        let run = json!({ "expected": [{ "input": side }] });
        service.verify(&with(question("digits", "digits_0.proof"), run))
    };
    tolerant(step).expect(200, "accepted");
    tolerant(step * 0.99).expect(400, "unusable_statement");
    let mut other = reals.clone();
    other[20] = if other[20] > 0.5 { 0.0 } else { 1.0 };
    state(&other).expect(422, "other_input");
    state(&reals[1..]).expect(400, "unusable_statement");
    other[20] = 1e9;
    state(&other).expect(400, "unusable_statement");
}

#[test]
fn rejected_for_every_reason() {
    let service = Service::with_cards(|_| {});
    let good = || question("digits", "digits_0.proof");
    let mut version = fixture("digits_0.proof");
    version[8] = 9;
    let mut damaged = fixture("digits_0.proof");
    damaged[200] ^= 1;
    let zeros = json!([{ "input": { "kind": "public", "values": vec![0; 64] } }]);
    let output = json!([{ "output": { "kind": "public", "values": vec![0; 10] } }]);
    for (class, status, expected, request) in [
        (
            "malformed",
            400,
            "not_zkinfer",
            asking("digits", b"no proof at all"),
        ),
        ("malformed", 400, "truncated", asking("digits", b"")),
        ("malformed", 400, "damaged", asking("digits", &damaged)),
        (
            "malformed",
            400,
            "wrong_kind",
            asking("digits", &fixture("digits.card")),
        ),
        ("malformed", 413, "too_large", asking("digits", &huge())),
        (
            "wrong_version",
            400,
            "wrong_version",
            asking("digits", &version),
        ),
        (
            "unknown_model",
            422,
            "unknown_model",
            with(
                question("cnn", "digits_0.proof"),
                json!({ "context_text": "digits" }),
            ),
        ),
        (
            "statement_mismatch",
            422,
            "other_context",
            with(good(), json!({ "context_text": "another" })),
        ),
        (
            "statement_mismatch",
            422,
            "other_context",
            without(good(), "context_text"),
        ),
        (
            "statement_mismatch",
            422,
            "other_input",
            with(good(), json!({ "expected": zeros })),
        ),
        (
            "statement_mismatch",
            422,
            "other_output",
            with(good(), json!({ "expected": output })),
        ),
        (
            "statement_mismatch",
            422,
            "input_needed",
            question("digits", "digits_digest.proof"),
        ),
        (
            "statement_mismatch",
            422,
            "other_runs",
            with(good(), json!({ "expected": [{}, {}] })),
        ),
        (
            "statement_mismatch",
            422,
            "other_runs",
            with(good(), json!({ "expected": [] })),
        ),
        (
            "invalid_proof",
            422,
            "invalid_computation",
            asking("digits", &forged("digits_0.proof")),
        ),
    ] {
        let answer = service.verify(&request);
        answer.expect(status, expected);
        assert_eq!(answer.json()["result"]["class"], class);
    }
}

#[test]
fn requests_that_are_none() {
    let service = Service::with_cards(|_| {});
    let good = || question("digits", "digits_0.proof");
    let bare = || without(good(), "context_text");
    let malformed = [
        json!(null),
        json!([]),
        json!({}),
        json!({ "card": digest("digits") }),
        with(good(), json!({ "contxt": "typo" })),
        with(good(), json!({ "card": "abc" })),
        with(good(), json!({ "card": digest("digits").to_uppercase() })),
        with(good(), json!({ "proof": "%%%" })),
        with(good(), json!({ "proof": 5 })),
        with(good(), json!({ "context": "00" })),
        with(bare(), json!({ "context": "0" })),
        with(bare(), json!({ "context": "zz" })),
        with(good(), json!({ "once": "yes" })),
        with(good(), json!({ "once": true, "context_text": "" })),
        with(
            good(),
            json!({ "expected": [{ "input": { "kind": "public", "values": [70000] } }] }),
        ),
        with(
            good(),
            json!({ "expected": [{ "input": { "kind": "public", "values": [-1] } }] }),
        ),
        with(
            good(),
            json!({ "expected": [{ "input": { "kind": "secret", "values": [1] } }] }),
        ),
        with(
            good(),
            json!({ "expected": [{ "input": { "kind": "public" } }] }),
        ),
        with(
            good(),
            json!({ "expected": [{ "input": { "kind": "public", "points": [] } }] }),
        ),
        with(
            good(),
            json!({ "expected": [{ "input": { "kind": "real", "values": [1], "tensors": [[1]] } }] }),
        ),
        with(
            good(),
            json!({ "expected": [{ "input": { "kind": "real", "tensors": null } }] }),
        ),
        with(good(), json!({ "expected": [{ "context": "0" }] })),
        with(good(), json!({ "expected": null })),
        with(good(), json!({ "expected": [null] })),
        with(good(), json!({ "expected": [{ "input": null }] })),
        with(good(), json!({ "expected": [{ "output": null }] })),
        with(
            good(),
            json!({ "expected": [{ "outputs": { "kind": "public", "values": [] } }] }),
        ),
        with(
            good(),
            json!({ "expected": [{ "input": { "kind": "public", "values": [1], "tolerance": 1 } }] }),
        ),
        with(good(), json!({ "context_text": "x".repeat(4097) })),
        with(
            good(),
            json!({ "once": true, "expected": [{ "context": "" }] }),
        ),
        with(good(), json!({ "expected": vec![json!({}); 5000] })),
    ];
    for request in malformed {
        service.verify(&request).expect(400, "malformed_request");
    }
    let points = |points: Value| {
        with(
            good(),
            json!({ "expected": [{ "input": { "kind": "committed", "points": points } }] }),
        )
    };
    let unusable = [
        points(json!(["00"])),
        points(json!(["ff".repeat(32)])),
        points(json!(vec!["00".repeat(32); 2000])),
        with(good(), json!({ "expected": vec![json!({}); 300] })),
        with(
            good(),
            json!({ "expected": [{ "output": { "kind": "public", "values": [1], "digest": "0".repeat(64) } }] }),
        ),
    ];
    for request in unusable {
        service.verify(&request).expect(400, "unusable_statement");
    }
    let nobody = with(good(), json!({ "card": "0".repeat(64) }));
    service.verify(&nobody).expect(404, "unknown_card");

    let body = good().to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ] {
        let answer = service.send(
            "POST",
            "/v1/verify",
            &[("content-type", kind)],
            body.as_bytes(),
        );
        answer.expect(415, "unsupported_media_type");
    }
    service
        .send("POST", "/v1/verify", &[], body.as_bytes())
        .expect(415, "unsupported_media_type");
    let parameters = [("content-type", "Application/JSON; charset=utf-8")];
    service
        .send("POST", "/v1/verify", &parameters, body.as_bytes())
        .expect(200, "accepted");
}

#[test]
fn a_batch_of_everything() {
    let service = Service::with_cards(|_| {});
    let mut items = vec![
        (200, "accepted", question("digits", "digits_0.proof")),
        (
            422,
            "invalid_computation",
            asking("digits", &forged("digits_1.proof")),
        ),
        (200, "accepted", question("cnn", "cnn_1.proof")),
        (
            404,
            "unknown_card",
            with(
                question("cnn", "cnn_1.proof"),
                json!({ "card": "0".repeat(64) }),
            ),
        ),
        (400, "not_zkinfer", asking("cnn", b"no proof at all")),
        (200, "accepted", question("digits", "digits_3.runs")),
        (
            422,
            "other_context",
            with(
                question("digits", "digits_1.proof"),
                json!({ "context_text": "x" }),
            ),
        ),
        (
            400,
            "malformed_request",
            with(
                question("digits", "digits_1.proof"),
                json!({ "proof": "!" }),
            ),
        ),
        (
            422,
            "input_needed",
            question("digits", "digits_digest.proof"),
        ),
        (200, "accepted", question("digits", "digits_hidden.proof")),
        (
            422,
            "invalid_computation",
            asking("cnn", &forged("cnn_3.runs")),
        ),
    ];
    items.extend((0..20).map(|_| (200, "accepted", question("digits", "digits_1.proof"))));
    let requests: Vec<&Value> = items.iter().map(|(_, _, request)| request).collect();
    let answer = service.post("/v1/verify/batch", &json!({ "proofs": requests }));
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), items.len());
    for (result, (status, expected, request)) in results.iter().zip(&items) {
        let part = if result.get("receipt").is_some() {
            "receipt"
        } else {
            "problem"
        };
        assert_eq!(result["status"], *status, "{result}");
        assert_eq!(code(&result[part]), *expected);
        // One by one it is the same.
        let single = service.verify(request);
        assert_eq!(single.status, *status);
        assert_eq!(single.json(), result[part]);
    }
    let accepted = items.iter().filter(|i| i.0 == 200).count();
    assert_eq!(answer["accepted"], accepted);
}

#[test]
fn batches_that_are_none() {
    let service = Service::with_cards(|config| {
        config.batch_proofs = 3;
        config.batch_cards = 2;
    });
    let good = question("digits", "digits_0.proof");
    let send = |proofs: Value| service.post("/v1/verify/batch", &json!({ "proofs": proofs }));
    send(json!([])).expect(400, "malformed_request");
    send(json!([good, good, good, good])).expect(400, "malformed_request");
    let other = |digit: &str| with(good.clone(), json!({ "card": digit.repeat(64) }));
    send(json!([other("0"), other("1"), other("2")])).expect(400, "malformed_request");
    send(json!([good, 5])).expect(400, "malformed_request");
    assert_eq!(send(json!([good, good, good])).json()["accepted"], 3);
}

#[test]
fn a_context_is_accepted_once_where_asked() {
    let service = Service::with_cards(|_| {});
    let once = |file: &str| with(question("digits", file), json!({ "once": true }));
    // A proof that is rejected uses up nothing.
    let lie = with(
        asking("digits", &forged("digits_0.proof")),
        json!({ "once": true }),
    );
    service.verify(&lie).expect(422, "invalid_computation");
    service
        .verify(&once("digits_0.proof"))
        .expect(200, "accepted");
    service
        .verify(&once("digits_0.proof"))
        .expect(409, "replayed");
    // The context counts, not the proof; and the model.
    service
        .verify(&once("digits_1.proof"))
        .expect(409, "replayed");
    service
        .verify(&with(
            question("cnn", "cnn_0.proof"),
            json!({ "once": true }),
        ))
        .expect(200, "accepted");
    // Who does not ask is not refused.
    service
        .verify(&question("digits", "digits_0.proof"))
        .expect(200, "accepted");

    // It survives a restart.
    let folder = service.stop();
    let service = Service::again(folder, |_| {});
    service
        .verify(&once("digits_0.proof"))
        .expect(409, "replayed");
    let batch = json!({ "proofs": [once("digits_0.proof"), question("digits", "digits_0.proof")] });
    let results = service.post("/v1/verify/batch", &batch).json();
    assert_eq!(results["results"][0]["status"], 409);
    assert_eq!(results["results"][1]["status"], 200);
    assert_eq!(service.metric("zkinfer_store_contexts"), 2.0);
}

#[test]
fn of_many_at_once_one_is_accepted() {
    let service = Service::with_cards(|_| {});
    let once = with(
        question("digits", "digits_0.proof"),
        json!({ "once": true }),
    );
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || service.verify(&once).status;
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|s| **s == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|s| **s == 409).count(),
        15,
        "{statuses:?}"
    );

    let again = with(question("cnn", "cnn_0.proof"), json!({ "once": true }));
    let answer = service
        .post("/v1/verify/batch", &json!({ "proofs": vec![&again; 8] }))
        .json();
    let statuses: Vec<u64> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
}

#[test]
fn used_contexts_are_forgotten_in_time_and_not_before() {
    let once = |name: &str| {
        let question = question(name, &format!("{name}_0.proof"));
        with(question, json!({ "once": true }))
    };
    let service = Service::with_cards(|config| config.once_for = std::time::Duration::from_secs(1));
    service.verify(&once("digits")).expect(200, "accepted");
    service.wait("the context is forgotten", |s| {
        s.verify(&once("digits")).status == 200
    });

    // Where there is room for one only, it is not forgotten for another one.
    let service = Service::with_cards(|config| config.anybody_contexts = 1);
    service.verify(&once("digits")).expect(200, "accepted");
    service.verify(&once("cnn")).expect(507, "store_full");
    let batch = json!({ "proofs": [once("cnn")] });
    let results = service.post("/v1/verify/batch", &batch).json();
    assert_eq!(results["results"][0]["status"], 507);
    service.verify(&once("digits")).expect(409, "replayed");
}
