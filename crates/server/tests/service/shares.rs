//! What one client has is not what others have: memory, disk, the order of service.

use crate::common::*;
use serde_json::{Value, json};
use std::io::Write;

/// A client's question, behind a proxy that says whose it is.
fn ask(service: &Service, client: &str, question: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("x-forwarded-for", client),
    ];
    service.send(
        "POST",
        "/v1/verify",
        &headers,
        question.to_string().as_bytes(),
    )
}

#[test]
fn one_client_does_not_take_all_memory() {
    let service = Service::with_cards(|c| {
        c.forwarded = true;
        c.body_bytes = 1 << 20;
        c.request_bytes = 100_000;
        c.batch_bytes = 100_000;
        c.limits.card_bytes = 100_000;
    });
    let head = "POST /v1/verify/batch HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 10.0.0.1\r\n\
        content-type: application/json\r\ncontent-length: 100000\r\n\r\n";
    // Bodies of which the end does not come: three are as much as one client may have. (Fewer stay where several
    // ask for the last bytes at once.)
    let mut open: Vec<_> = (0..12).map(|_| service.connect()).collect();
    for stream in &mut open {
        stream.write_all(head.as_bytes()).unwrap();
        let _ = stream.write_all(&[b' '; 99_000]);
    }
    let refused =
        "zkinfer_http_requests_total{method=\"POST\",route=\"/v1/verify/batch\",status=\"429\"}";
    service.wait("it has its part", |s| s.metric(refused) >= 9.0);
    let question = question("digits", "digits_0.proof");
    ask(&service, "10.0.0.2", &question).expect(200, "accepted");
    drop(open);
    service.wait("it is given back", |s| {
        ask(s, "10.0.0.1", &question).status == 200
    });
}

#[test]
fn strangers_do_not_use_up_the_room_for_contexts() {
    let once = |name: &str| {
        let question = question(name, &format!("{name}_0.proof"));
        with(question, json!({ "once": true }))
    };
    let service = Service::start(|config| {
        config.token = Some("s3cret".to_owned());
        config.contexts = 1;
        config.anybody_contexts = 0;
    });
    assert_eq!(service.put("cnn").status, 201);
    let path = format!("/v1/cards/{}", digest("digits"));
    let bearer = [("authorization", "Bearer s3cret")];
    let answer = service.send("PUT", &path, &bearer, &fixture("digits.card"));
    assert_eq!(answer.status, 201);
    service.verify(&once("cnn")).expect(507, "store_full");
    service.verify(&once("digits")).expect(200, "accepted");
    // And the other way round.
    let service = Service::with_cards(|config| config.contexts = 0);
    service.verify(&once("digits")).expect(200, "accepted");
}
