//! The description is true: everything in it happens, in the way that it says, and nothing else does (every answer of
//! every test is compared with it).

use crate::common::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// What cannot be brought about from outside.
const NEVER_SEEN: [(&str, &str, &str); 1] = [
    // Only by a fault of the service itself: failures of the store are in the results.
    ("post", "/v1/verify/batch", "500"),
];

#[test]
fn everything_that_is_described_happens() {
    let digits = format!("/v1/cards/{}", digest("digits"));
    let json_please = [("accept", "application/json")];
    let good = question("digits", "digits_0.proof");
    let batch = json!({ "proofs": [good] });

    // The usual.
    let service = Service::with_cards(|c| c.body_timeout = Duration::from_millis(500));
    service.put("digits");
    service.get(&digits);
    service.send("GET", &digits, &json_please, b"");
    service.get("/v1/cards/x");
    service.get(&format!("/v1/cards/{}", "0".repeat(64)));
    service.send("PUT", &digits, &[], b"");
    service.send("PUT", &digits, &[], &fixture("cnn.card"));
    service.send("PUT", &digits, &[("content-type", "text/plain")], b"");
    service.send("PUT", &digits, &[], &vec![0; (1 << 23) + 1]);
    service.verify(&good);
    service.verify(&json!({}));
    service.verify(&asking("digits", b""));
    service.verify(&asking("digits", &huge()));
    service.verify(&with(good.clone(), json!({ "card": "0".repeat(64) })));
    service.verify(&with(good.clone(), json!({ "context_text": "x" })));
    service.send("POST", "/v1/verify", &[], b"");
    service.send("POST", "/v1/verify", &JSON, &vec![b' '; (1 << 21) + 1]);
    let once = with(good.clone(), json!({ "once": true }));
    service.verify(&once);
    service.verify(&once);
    service.post("/v1/verify/batch", &batch);
    service.post("/v1/verify/batch", &json!({}));
    service.send("POST", "/v1/verify/batch", &[], b"");
    service.send(
        "POST",
        "/v1/verify/batch",
        &JSON,
        &vec![b' '; (1 << 24) + 1],
    );
    for path in ["/health/live", "/health/ready", "/metrics"] {
        service.get(path);
    }
    for (method, path, kind) in [
        ("POST", "/v1/verify", "application/json"),
        ("POST", "/v1/verify/batch", "application/json"),
        ("PUT", &digits, "application/octet-stream"),
    ] {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {kind}\r\ncontent-length: 9\r\nconnection: close\r\n\r\n"
        );
        Answer::parse(&service.raw(request.as_bytes(), false)).check(method, path);
    }
    let folder = service.stop();

    // A service that has no room, and lets nobody in.
    let service = Service::again(folder, |c| {
        c.anybody_cards = 2;
        c.anybody_contexts = 1;
    });
    let another = with(question("cnn", "cnn_0.proof"), json!({ "once": true }));
    service.verify(&another).expect(507, "store_full");
    let full = Service::start(|c| c.anybody_cards = 0);
    full.put("digits");
    let token = Service::start(|c| {
        c.token = Some("token".to_owned());
        c.open = false;
    });
    token.put("digits");
    Service::start(|c| c.read_only = true).put("digits");
    // Without a token of a file, and with one that allows nothing.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let hash = zkinfer_http::access::hash("nothing");
    let file = json!({ "tokens": [{ "name": "nothing", "hash": hash, "scopes": [] }] });
    std::fs::write(&path, file.to_string()).unwrap();
    let service = Service::start(|c| c.tokens = Some(path));
    for (method, path) in [
        ("POST", "/v1/verify"),
        ("POST", "/v1/verify/batch"),
        ("GET", digits.as_str()),
        ("PUT", digits.as_str()),
    ] {
        let bearer = [("authorization", "Bearer nothing")];
        service
            .send(method, path, &[], b"")
            .expect(401, "unauthorized");
        service
            .send(method, path, &bearer, b"")
            .expect(403, "forbidden");
    }

    // With narrower limits.
    let folder = service.stop();
    let service = Service::again(folder, |c| c.limits.card_bytes = 2500);
    service.send("GET", &digits, &json_please, b"");
    let folder = service.stop();
    let service = Service::again(folder, |c| c.limits.k = 8);
    service.verify(&good);
    service.send("GET", &digits, &json_please, b"");

    // One that has too much to do.
    let folder = service.stop();
    let service = Service::again(folder, |c| c.request_timeout = Duration::ZERO);
    // What is quick may be in time.
    let late = |answer: Answer| answer.status == 503 && answer.json()["code"] == "timeout";
    service.wait("a proof is too late", |s| late(s.verify(&good)));
    service.wait("a batch is too late", |s| {
        late(s.post("/v1/verify/batch", &batch))
    });
    service.wait("a card is too late", |s| late(s.put("digits")));
    service.wait("a card is too late", |s| late(s.get(&digits)));
    let folder = service.stop();
    let service = Service::again(folder, |c| c.client_requests = 1);
    let mut stream = service.connect();
    stream.write_all(b"POST /v1/verify HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n").unwrap();
    let in_flight = "zkinfer_http_requests_in_flight";
    service.wait("it is worked on", |s| s.metric(in_flight) >= 2.0);
    service.get(&digits);
    service.verify(&good);
    service.post("/v1/verify/batch", &batch);
    service.put("digits");
    drop(stream);

    // One whose store is damaged.
    let folder = service.stop();
    {
        let table = redb::TableDefinition::<[u8; 32], &[u8]>::new("cards");
        let database = redb::Database::open(folder.path().join("store.redb")).unwrap();
        let write = database.begin_write().unwrap();
        let card =
            zkinfer_circuits::card::Card::from_bytes(&fixture("digits.card"), 1 << 20).unwrap();
        let bytes = b"damaged".as_slice();
        write
            .open_table(table)
            .unwrap()
            .insert(card.digest().0, bytes)
            .unwrap();
        write.commit().unwrap();
    }
    let service = Service::again(folder, |_| {});
    service.verify(&good);
    service.send("PUT", &digits, &[], b"damaged");
    service.send("GET", &digits, &json_please, b"");

    // One that stops.
    let mut service = service;
    let mut probe = service.connect();
    probe
        .write_all(b"GET /health/ready HTTP/1.1\r\nhost: test\r\n")
        .unwrap();
    service.wait("it is there", |s| s.metric("zkinfer_connections") >= 2.0);
    service.ask_to_stop();
    while std::net::TcpStream::connect(service.address).is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    probe.write_all(b"\r\n").unwrap();
    Answer::read(&mut probe).check("GET", "/health/ready");
    service.stop();

    let mut described = BTreeSet::new();
    let paths = description()["paths"].as_object().unwrap();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let Some(responses) = operation["responses"].as_object() else {
                continue;
            };
            for (status, response) in responses {
                assert!(
                    response["description"]
                        .as_str()
                        .is_some_and(|d| d.len() > 5)
                );
                for kind in response["content"].as_object().unwrap().keys() {
                    described.insert((method.clone(), path.clone(), status.clone(), kind.clone()));
                }
            }
        }
    }
    assert!(described.len() > 40, "{}", described.len());
    let seen = SEEN.lock().unwrap().clone();
    let missing: Vec<_> = described
        .difference(&seen)
        .filter(|(m, p, s, _)| !NEVER_SEEN.contains(&(m.as_str(), p.as_str(), s.as_str())))
        .collect();
    assert!(
        missing.is_empty(),
        "described, but never seen: {missing:#?}"
    );
}

#[test]
fn requests_that_are_accepted_fit_their_schema_and_others_do_not() {
    let schema = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let good = question("digits", "digits_0.proof");
    let vectors: Value = serde_json::from_slice(&fixture("rejections.json")).unwrap();
    for vector in vectors["vectors"].as_array().unwrap() {
        conforms(
            &schema("VerifyRequest"),
            &with(good.clone(), json!({ "expected": vector["expected"] })),
        );
    }
    conforms(
        &schema("VerifyRequest"),
        &with(good.clone(), json!({ "once": true })),
    );
    conforms(&schema("BatchRequest"), &json!({ "proofs": [good, good] }));
    for bad in [
        json!({}),
        json!([]),
        with(good.clone(), json!({ "card": "x" })),
        with(good.clone(), json!({ "context": "0" })),
        with(good.clone(), json!({ "contxt": "00" })),
        with(good.clone(), json!({ "once": 1 })),
        with(good.clone(), json!({ "expected": null })),
        with(good.clone(), json!({ "expected": [{ "input": null }] })),
        with(
            good.clone(),
            json!({ "expected": [{ "input": { "kind": "public", "values": [70000] } }] }),
        ),
        with(
            good.clone(),
            json!({ "expected": [{ "input": { "kind": "real", "tensors": null } }] }),
        ),
        with(
            good.clone(),
            json!({ "expected": [{ "input": { "kind": "public", "values": [], "more": 1 } }] }),
        ),
        with(
            good.clone(),
            json!({ "expected": [{ "input": { "kind": "secret" } }] }),
        ),
        with(
            good.clone(),
            json!({ "expected": [{ "input": { "kind": "public" } }] }),
        ),
    ] {
        assert!(!fits(&schema("VerifyRequest"), &bad), "{bad}");
    }
}

#[test]
fn it_is_served() {
    let service = Service::start(|_| {});
    let served = service.get("/openapi.json");
    assert_eq!((served.status, served.kind()), (200, "application/json"));
    assert_eq!(&served.json(), description());
    assert!(served.json()["openapi"].as_str().unwrap().starts_with("3."));
    // Every reference leads somewhere.
    let text = served.json().to_string();
    for part in text.split("\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(served.json().pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn classes_are_those_of_the_library() {
    use zkinfer_circuits::receipt::Class;
    let classes = [
        Class::Malformed,
        Class::WrongVersion,
        Class::InvalidCard,
        Class::UnknownModel,
        Class::StatementMismatch,
        Class::InvalidProof,
    ];
    let classes: Vec<Value> = classes.iter().map(|c| json!(c)).collect();
    assert_eq!(
        description()["components"]["schemas"]["Class"]["enum"],
        json!(classes)
    );
}
