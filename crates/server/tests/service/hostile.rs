//! Clients that mean no good: slow, huge, deep, many, or talking nonsense.

use crate::common::*;
use serde_json::json;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// After all of that it still works.
fn still_works(service: &Service) {
    service
        .verify(&question("digits", "digits_0.proof"))
        .expect(200, "accepted");
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[test]
fn heads_that_do_not_end() {
    let service = Service::with_cards(|c| c.header_timeout = Duration::from_millis(300));
    let begun = Instant::now();
    // Nothing at all; a piece; one byte at a time.
    service.raw(b"", false);
    service.raw(b"POST /v1/verify HTTP/1.1\r\nhost: te", false);
    let mut stream = service.connect();
    for byte in b"GET /health/live HTTP/1.1\r\nx: "
        .iter()
        .cycle()
        .take(100_000)
    {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // 100000 bytes at that pace would have taken minutes.
    assert!(begun.elapsed() < PATIENCE);
    still_works(&service);
}

#[test]
fn idle_connections_are_closed() {
    let service = Service::with_cards(|c| c.header_timeout = Duration::from_millis(300));
    let answer = service.raw(b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n", false);
    assert_eq!(Answer::parse(&answer).status, 200);
}

#[test]
fn bodies_that_do_not_end() {
    let service = Service::with_cards(|c| c.body_timeout = Duration::from_millis(300));
    let head = |path: &str, method: &str, kind: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {kind}\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{{"
        )
    };
    let card = format!("/v1/cards/{}", digest("digits"));
    for (method, path, kind) in [
        ("POST", "/v1/verify", "application/json"),
        ("POST", "/v1/verify/batch", "application/json"),
        ("PUT", &card, "application/octet-stream"),
    ] {
        let answer = service.raw(head(path, method, kind).as_bytes(), false);
        Answer::parse(&answer).expect(408, "body_timeout");
    }
    // A client that leaves in the middle is written down, and forgotten.
    service.raw(
        head("/v1/verify", "POST", "application/json").as_bytes(),
        true,
    );
    service.wait("requests are given up", |s| {
        s.metric("zkinfer_http_requests_in_flight") <= 1.0
    });
    still_works(&service);
}

#[test]
fn answers_that_nobody_reads() {
    let service = Service::with_cards(|c| c.write_timeout = Duration::from_millis(300));
    let path = format!("/v1/cards/{}", digest("cnn"));
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").repeat(20_000);
    let mut stream = service.connect();
    stream
        .set_write_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    // 280 MB of answers would fit no buffer: the service stops reading, and then closes.
    let _ = stream.write_all(request.as_bytes());
    service.wait("the connection is closed", |s| {
        s.metric("zkinfer_connections") <= 1.0
    });
    still_works(&service);
}

#[test]
fn too_large() {
    let service = Service::with_cards(|c| {
        c.request_bytes = 100_000;
        c.batch_bytes = 300_000;
    });
    let body = vec![b' '; 300_001];
    service
        .send("POST", "/v1/verify", &JSON, &body[..100_001])
        .expect(413, "too_large");
    service
        .send("POST", "/v1/verify", &JSON, &body[..100_000])
        .expect(400, "malformed_request");
    service
        .send("POST", "/v1/verify/batch", &JSON, &body)
        .expect(413, "too_large");
    let card = format!("/v1/cards/{}", digest("digits"));
    service
        .send("PUT", &card, &[], &vec![0; (1 << 23) + 1])
        .expect(413, "too_large");

    // Announced, but never sent.
    let huge = b"POST /v1/verify HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\nconnection: close\r\n\r\n";
    Answer::parse(&service.raw(huge, false)).expect(413, "too_large");
    // Sent, but never announced: 6 MB in chunks; the answer arrives all the same.
    let mut stream = service.connect();
    let head = b"POST /v1/verify HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).unwrap();
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend(vec![b' '; 1 << 16]);
    chunk.extend(b"\r\n");
    for _ in 0..100 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    Answer::read(&mut stream).expect(413, "too_large");
    still_works(&service);
}

#[test]
fn connections_are_closed_after_unread_bodies_and_that_is_said() {
    let service = Service::with_cards(|c| c.request_bytes = 1000);
    let request = |kind: &str, body: &str| {
        format!(
            "POST /v1/verify HTTP/1.1\r\nhost: test\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let long = "x".repeat(5000);
    for (request, status) in [
        (request("text/plain", &long), 415),
        (request("application/json", &long), 413),
    ] {
        let answer = Answer::parse(&service.raw(request.as_bytes(), false));
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    // One that is read leaves the connection open.
    let mut stream = service.connect();
    let last = "GET /health/live HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let both = request("application/json", "{}") + last;
    stream.write_all(both.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert!(answers.starts_with("HTTP/1.1 400"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200"), "{answers}");
}

#[test]
fn heads_that_are_too_long() {
    let service = Service::with_cards(|_| {});
    let long = format!(
        "GET /health/live HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n",
        "a".repeat(1 << 17)
    );
    let many = format!(
        "GET /health/live HTTP/1.1\r\nhost: test\r\n{}\r\n",
        "x: a\r\n".repeat(1000)
    );
    for request in [long, many] {
        assert_eq!(
            Answer::parse(&service.raw(request.as_bytes(), false)).status,
            431
        );
    }
    let path = format!(
        "GET /{} HTTP/1.1\r\nhost: test\r\n\r\n",
        "a".repeat(1 << 17)
    );
    let answer = Answer::parse(&service.raw(path.as_bytes(), false));
    assert!([414, 431].contains(&answer.status));
    still_works(&service);
}

#[test]
fn deep_json() {
    let service = Service::with_cards(|_| {});
    for body in [
        "[".repeat(100_000),
        "{\"proofs\":".repeat(200_000),
        "{\"card\":{\"a\":".repeat(100_000),
        format!("{{\"expected\":{}", "[".repeat(100_000)),
        format!(
            "{{\"expected\":[{{\"input\":{{\"real\":{}",
            "[".repeat(100_000)
        ),
        format!(
            "{{\"proofs\":[{{\"expected\":[{}",
            "{\"input\":".repeat(100_000)
        ),
    ] {
        for path in ["/v1/verify", "/v1/verify/batch"] {
            let answer = service.send("POST", path, &JSON, body.as_bytes());
            // Too deep, or so many that nobody looks how deep.
            match answer.status {
                413 => answer.expect(413, "too_large"),
                _ => answer.expect(400, "malformed_request"),
            };
        }
    }
    still_works(&service);
}

#[test]
fn nonsense() {
    let service = Service::with_cards(|_| {});
    for request in [
        &b"\r\n\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/verify HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/verify HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\nzz\r\n",
        b"GET /v1/cards/\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let answer = service.raw(request, true);
        assert!(answer.is_empty() || Answer::parse(&answer).status >= 400, "{:?}", String::from_utf8_lossy(&answer));
    }
    let json = [("content-type", "application/json")];
    for body in [
        &b"\xff\xfe"[..],
        b"\"\\ud800\"",
        b"{\"card\":\"\xff\"}",
        b"{} {}",
        b"NaN",
        b"",
    ] {
        service
            .send("POST", "/v1/verify", &json, body)
            .expect(400, "malformed_request");
    }
    service.get("/v1/nothing").expect(404, "not_found");
    service.get("/").expect(404, "not_found");
    service.get("/../../etc/passwd").expect(404, "not_found");
    service
        .send("DELETE", &format!("/v1/cards/{}", digest("cnn")), &[], b"")
        .expect(405, "method_not_allowed");
    service.get("/v1/verify").expect(405, "method_not_allowed");
    service
        .send("TRACE", "/health/live", &[], b"")
        .expect(405, "method_not_allowed");
    service
        .send("BREW", "/health/live", &[], b"")
        .expect(405, "method_not_allowed");
    still_works(&service);
}

#[test]
fn one_client_with_too_many_requests() {
    let service = Service::with_cards(|c| c.client_requests = 2);
    let head = b"POST /v1/verify HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    let mut open: Vec<_> = (0..2).map(|_| service.connect()).collect();
    for stream in &mut open {
        stream.write_all(head).unwrap();
    }
    let card = format!("/v1/cards/{}", digest("digits"));
    let in_flight = "zkinfer_http_requests_in_flight";
    service.wait("both are worked on", |s| s.metric(in_flight) >= 3.0);
    let refused = service.get(&card);
    refused.expect(429, "too_many_requests");
    assert_eq!(refused.header("retry-after"), Some("1"));
    service
        .verify(&question("digits", "digits_0.proof"))
        .expect(429, "too_many_requests");
    service.put("digits").expect(429, "too_many_requests");
    service
        .post("/v1/verify/batch", &json!({}))
        .expect(429, "too_many_requests");
    // Whoever watches is not refused.
    assert_eq!(service.get("/health/ready").status, 200);
    drop(open);
    service.wait("the client is welcome again", |s| {
        s.get(&card).status == 200
    });
}

#[test]
fn more_than_can_be_done() {
    let service = Service::with_cards(|c| {
        c.threads = 1;
        c.queue = 1;
        c.client_requests = 0;
    });
    let batch = json!({ "proofs": vec![question("cnn", "cnn_0.proof"); 16] });
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let ask = || service.post("/v1/verify/batch", &batch);
        let threads: Vec<_> = (0..24).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    // Everybody has an answer, and each answer is right.
    let mut done = 0;
    for answer in &answers {
        if answer.status == 200 {
            assert_eq!(answer.json()["accepted"], 16);
            done += 1;
        } else {
            answer.expect(503, "overloaded");
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    assert!((1..24).contains(&done), "{done}");
    still_works(&service);
}

#[test]
fn no_memory_for_bodies() {
    let service = Service::with_cards(|c| c.body_bytes = 150_000);
    service
        .send("POST", "/v1/verify", &JSON, &vec![b' '; 200_000])
        .expect(503, "overloaded");
    // What was taken is given back.
    for _ in 0..10 {
        service
            .send("POST", "/v1/verify", &JSON, &vec![b' '; 90_000])
            .expect(400, "malformed_request");
    }
    still_works(&service);
}

#[test]
fn answers_that_take_too_long() {
    let folder = Service::with_cards(|_| {}).stop();
    let service = Service::again(folder, |c| c.request_timeout = Duration::ZERO);
    let good = question("digits", "digits_0.proof");
    let batch = json!({ "proofs": [good] });
    let digits = format!("/v1/cards/{}", digest("digits"));
    // What is quick may be in time.
    let late = |answer: Answer| answer.status == 503 && answer.json()["code"] == "timeout";
    service.wait("a proof is too late", |s| late(s.verify(&good)));
    service.wait("a batch is too late", |s| {
        late(s.post("/v1/verify/batch", &batch))
    });
    service.wait("a card is too late", |s| late(s.put("digits")));
    service.wait("a card is too late", |s| late(s.get(&digits)));
}

#[test]
fn connections_wait_for_each_other() {
    let service = Service::with_cards(|c| {
        c.connections = 2;
        c.header_timeout = Duration::from_millis(300);
    });
    let idle: Vec<_> = (0..20).map(|_| service.connect()).collect();
    // All of them have to time out first, two at a time.
    still_works(&service);
    for mut stream in idle {
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
}

#[test]
fn bodies_that_swell() {
    let service = Service::with_cards(|_| {});
    let question = question("digits", "digits_0.proof");
    let swollen = with(
        question.clone(),
        json!({ "expected": vec![json!({}); 4000] }),
    );
    let batch = json!({ "proofs": vec![swollen; 1000] }).to_string();
    // 12 MB of text, more than 2 GB of expectations.
    service
        .send("POST", "/v1/verify/batch", &JSON, batch.as_bytes())
        .expect(413, "too_large");
    // As much as a request may be of.
    let full = with(question, json!({ "expected": vec![json!({}); 256] }));
    service.verify(&full).expect(422, "other_runs");
    still_works(&service);
}

#[test]
fn one_client_does_not_take_all_connections() {
    let service = Service::with_cards(|c| c.client_connections = 8);
    let silent: Vec<_> = (0..200).map(|_| service.connect()).collect();
    assert_eq!(service.get("/health/live").status, 200);
    still_works(&service);
    assert!(service.metric("zkinfer_connections") <= 8.0);
    drop(silent);
    // Whoever works keeps the connection, and whoever comes then has none.
    let head = b"POST /v1/verify HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    let working = || {
        let mut stream = service.connect();
        let _ = stream.write_all(head);
        stream
    };
    let mut busy: Vec<_> = (0..8).map(|_| working()).collect();
    let start = Instant::now();
    // It is closed at once, when eight are worked on. Until then it may take the place of one whose head was not read yet.
    while !service
        .raw(
            b"GET /health/live HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
            false,
        )
        .is_empty()
    {
        assert!(start.elapsed() < PATIENCE);
        busy.push(working());
    }
    drop(busy);
    service.wait_for_connection();
    assert!(service.metric("zkinfer_connections_refused_total") >= 1.0);
    still_works(&service);
}

#[test]
fn whoever_watches_has_connections_of_its_own() {
    let service = Service::with_cards(|c| {
        c.operations = Some(([127, 0, 0, 1], 0).into());
        c.connections = 4;
        c.client_connections = 4;
    });
    let head = b"POST /v1/verify HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    let mut busy: Vec<_> = (0..4).map(|_| service.connect()).collect();
    for stream in &mut busy {
        stream.write_all(head).unwrap();
    }
    let ask = |path: &str| {
        let mut stream = std::net::TcpStream::connect(service.operations.unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(&mut stream)
    };
    assert_eq!(ask("/health/live").status, 200);
    assert_eq!(ask("/health/ready").status, 200);
    assert_eq!(ask("/metrics").status, 200);
    // Nothing else is there.
    assert_eq!(ask("/v1/verify").status, 404);
}

#[test]
fn questions_that_cost_too_much() {
    let service = Service::with_cards(|c| c.job_timeout = Duration::from_nanos(1));
    let question = question("digits", "digits_0.proof");
    service.verify(&question).expect(422, "too_costly");
    let batch = json!({ "proofs": vec![&question; 3] });
    let answer = service.post("/v1/verify/batch", &batch).json();
    for result in answer["results"].as_array().unwrap() {
        // Too costly, or the time of the batch was over before.
        assert!([422, 503].contains(&result["status"].as_u64().unwrap()));
    }
    // Runs times rows.
    let service = Service::with_cards(|c| c.limits.run_rows = 3 << 9);
    service
        .verify(&crate::common::question("digits", "digits_3.runs"))
        .expect(200, "accepted");
    let service = Service::with_cards(|c| c.limits.run_rows = (3 << 9) - 1);
    service
        .verify(&crate::common::question("digits", "digits_3.runs"))
        .expect(400, "malformed_proof");
}
