//! What is sent back: bounded, and the request is open until it is.

use crate::common::*;
use serde_json::json;
use std::io::Write;
use std::time::Duration;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// An error quotes what does not fit, which may be as long as the body, or several times as long.
#[test]
fn problems_do_not_echo_bodies() {
    let service = Service::start(|_| {});
    let long = |letter: &str| letter.repeat((1 << 20) / letter.len());
    for (body, status) in [
        (format!("\"{}\"", long("a")), 400),
        (format!("{{\"{}\":1}}", long("a")), 400),
        (format!("{{\"once\":\"{}\"}}", long("é")), 400),
        // So long with escapes that nobody looks what it is.
        (format!("\"{}\"", long("\u{7f}")), 413),
    ] {
        for path in ["/v1/verify", "/v1/verify/batch"] {
            let answer = service.send("POST", path, &JSON, body.as_bytes());
            assert!(answer.body.len() < 10_000, "{}", answer.body.len());
            if path == "/v1/verify" {
                assert_eq!(answer.status, status);
            }
        }
    }
}

/// A client that asks and does not read has its requests open all the time.
#[test]
fn requests_are_open_until_their_answers_are_sent() {
    let service = Service::with_cards(|c| {
        c.client_requests = 1;
        c.write_timeout = 2 * PATIENCE;
    });
    let path = format!("/v1/cards/{}", digest("cnn"));
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").repeat(20_000);
    let mut stream = service.connect();
    let short = Duration::from_secs(1);
    stream.set_write_timeout(Some(short)).unwrap();
    // More answers than fit any buffer: when nothing more is taken, they are stuck.
    let _ = stream.write_all(request.as_bytes());
    let mut refused = 0;
    service.wait("the request that is stuck counts", |s| {
        refused = if s.get(&path).status == 429 {
            refused + 1
        } else {
            0
        };
        refused == 50
    });
    drop(stream);
    service.wait("the client is welcome again", |s| {
        s.get(&path).status == 200
    });
}

/// Whoever asked for an acceptance once is told of it, even if there is no memory left for the answer.
#[test]
fn contexts_are_used_up_by_answers_that_are_sent() {
    let question = with(
        question("digits", "digits_0.proof"),
        json!({ "once": true }),
    );
    let held = 400_000;
    // All of it that the question needs, but for the answer; how much that is shows.
    for rest in (8..60).map(|kib| kib << 10) {
        let service = Service::start(|c| c.body_bytes = held + rest);
        assert_eq!(service.put("digits").status, 201);
        let mut other = service.connect();
        let head = format!(
            "POST /v1/verify/batch HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {held}\r\n\r\n"
        );
        other.write_all(head.as_bytes()).unwrap();
        other.write_all(&vec![b' '; held - 1]).unwrap();
        let in_flight = "zkinfer_http_requests_in_flight";
        service.wait("it is being read", |s| s.metric(in_flight) >= 2.0);
        // Most of it is there soon; were it not, more would be left for the question.
        std::thread::sleep(Duration::from_millis(50));
        let accepted = service.verify(&question).status == 200;
        let used = service.metric("zkinfer_store_contexts");
        assert_eq!(used, f64::from(u8::from(accepted)), "{rest}");
        if accepted {
            return;
        }
    }
    panic!("there is room for the question");
}
