//! Health, metrics, stopping, static files, other origins.

use crate::common::*;
use serde_json::json;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn health_and_metrics() {
    let service = Service::with_cards(|_| {});
    assert_eq!(
        service.get("/health/live").json(),
        json!({ "status": "live" })
    );
    assert_eq!(
        service.get("/health/ready").json(),
        json!({ "status": "ready" })
    );
    service.verify(&question("digits", "digits_0.proof"));
    service.verify(&question("digits", "digits_0.proof"));
    service.verify(&asking("digits", &forged("digits_0.proof")));
    service.verify(&json!({}));
    let batch = json!({ "proofs": vec![question("cnn", "cnn_0.proof"); 3] });
    service.post("/v1/verify/batch", &batch);
    service.get("/nowhere");
    service.send("BREW", "/nowhere", &[], b"");
    for (name, value) in [
        ("zkinfer_proofs_total{code=\"accepted\"}", 5.0),
        ("zkinfer_proofs_total{code=\"invalid_computation\"}", 1.0),
        (
            "zkinfer_http_requests_total{method=\"POST\",route=\"/v1/verify\",status=\"200\"}",
            2.0,
        ),
        (
            "zkinfer_http_requests_total{method=\"POST\",route=\"/v1/verify\",status=\"400\"}",
            1.0,
        ),
        (
            "zkinfer_http_requests_total{method=\"POST\",route=\"/v1/verify\",status=\"422\"}",
            1.0,
        ),
        (
            "zkinfer_http_requests_total{method=\"PUT\",route=\"/v1/cards/{digest}\",status=\"201\"}",
            2.0,
        ),
        (
            "zkinfer_http_requests_total{method=\"GET\",route=\"other\",status=\"404\"}",
            1.0,
        ),
        (
            "zkinfer_http_requests_total{method=\"other\",route=\"other\",status=\"404\"}",
            1.0,
        ),
        (
            "zkinfer_http_request_duration_seconds_count{route=\"/v1/verify\"}",
            4.0,
        ),
        ("zkinfer_batch_proofs_sum", 3.0),
        ("zkinfer_store_cards", 2.0),
        ("zkinfer_cache_cards", 2.0),
        ("zkinfer_http_requests_in_flight", 1.0),
        ("zkinfer_lane_waiting{lane=\"proofs\"}", 0.0),
    ] {
        assert_eq!(service.metric(name), value, "{name}");
    }
    if cfg!(target_os = "linux") {
        assert!(service.metric("zkinfer_resident_memory_bytes") > 1e6);
    }
    assert!(service.metric("zkinfer_cache_bytes") > 1e4);
}

#[test]
fn requests_are_told_apart() {
    let service = Service::start(|_| {});
    let own = service.send("GET", "/health/live", &[("x-request-id", "mine-17")], b"");
    assert_eq!(own.header("x-request-id"), Some("mine-17"));
    let [a, b] = [service.get("/health/live"), service.get("/health/live")];
    assert_ne!(a.header("x-request-id"), b.header("x-request-id"));
    let bad = service.send("GET", "/health/live", &[("x-request-id", "\"<b>")], b"");
    assert_ne!(bad.header("x-request-id"), Some("\"<b>"));
}

#[test]
fn a_connection_is_used_again() {
    let service = Service::start(|_| {});
    let request = "GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n".repeat(3)
        + "GET /health/ready HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let answer = String::from_utf8(service.raw(request.as_bytes(), false)).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 4);
    assert!(answer.ends_with("{\"status\":\"ready\"}"));
}

#[test]
fn stopping_finishes_what_has_begun() {
    let mut service = Service::with_cards(|_| {});
    let body = question("digits", "digits_0.proof").to_string();
    let head = format!(
        "POST /v1/verify HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // Requests whose body is on its way, one whose head is, and a connection without any.
    let mut open: Vec<_> = (0..4).map(|_| service.connect()).collect();
    for stream in &mut open {
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body.as_bytes()[..100]).unwrap();
    }
    let mut probe = service.connect();
    probe
        .write_all(b"GET /health/ready HTTP/1.1\r\nhost: test\r\n")
        .unwrap();
    let mut idle = service.connect();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    service.wait("all have begun", |s| {
        s.metric("zkinfer_http_requests_in_flight") >= 5.0
    });
    service.wait("all are there", |s| s.metric("zkinfer_connections") >= 7.0);

    service.ask_to_stop();
    let address = service.address;
    let start = Instant::now();
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it goes on accepting");
        std::thread::sleep(Duration::from_millis(10));
    }
    idle.read_to_end(&mut Vec::new()).unwrap();
    probe.write_all(b"\r\n").unwrap();
    let answer = Answer::read(&mut probe);
    answer.expect(503, "draining");
    answer.check("GET", "/health/ready");
    for mut stream in open {
        stream.write_all(&body.as_bytes()[100..]).unwrap();
        Answer::read(&mut stream).expect(200, "accepted");
    }
    service.stop();
}

#[test]
fn stopping_does_not_wait_for_ever() {
    let mut service = Service::with_cards(|c| c.drain_timeout = Duration::from_millis(300));
    let mut stream = service.connect();
    let head = b"POST /v1/verify HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head).unwrap();
    service.wait("it has begun", |s| {
        s.metric("zkinfer_http_requests_in_flight") >= 2.0
    });
    service.ask_to_stop();
    let start = Instant::now();
    service.stop();
    assert!(start.elapsed() < PATIENCE / 2);
}

#[test]
fn static_files() {
    let root = tempfile::tempdir().unwrap();
    let page = root.path().join("page");
    std::fs::create_dir(&page).unwrap();
    let write = |name: &str, text: &str| std::fs::write(page.join(name), text).unwrap();
    write("index.html", "<!doctype html><title>page</title>");
    write("app.js", "export {}");
    write("app.mjs", "export {}");
    write("verifier.wasm", "\0asm");
    write("style.css", "p {}");
    write("digits.card", "bytes");
    std::fs::create_dir(page.join("sub")).unwrap();
    write("sub/index.html", "sub");
    let service = Service::start(|config| config.page = Some(page.clone()));
    std::fs::write(root.path().join("secret.txt"), "secret").unwrap();
    for (path, kind) in [
        ("/", "text/html"),
        ("/index.html", "text/html"),
        ("/sub/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/app.mjs", "application/javascript"),
        ("/verifier.wasm", "application/wasm"),
        ("/style.css", "text/css"),
        ("/digits.card", "application/octet-stream"),
    ] {
        let answer = service.get(path);
        assert_eq!((answer.status, answer.kind()), (200, kind), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("'wasm-unsafe-eval'"), "{policy}");
        assert!(
            !policy.contains("'unsafe-inline'") && !policy.contains("'unsafe-eval'"),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
    }
    assert_eq!(service.get("/").body, b"<!doctype html><title>page</title>");
    assert_eq!(service.send("HEAD", "/app.js", &[], b"").status, 200);
    for path in [
        "/nothing.html",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub/../../secret.txt",
    ] {
        service.get(path).expect(404, "not_found");
    }
    service
        .send("POST", "/index.html", &[], b"")
        .expect(405, "method_not_allowed");
    // Endpoints come first, and are no pages.
    let answer = service.get("/health/live");
    assert_eq!(answer.json(), json!({ "status": "live" }));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("script"),
        "{policy}"
    );
}

#[test]
fn other_origins() {
    let origin = [("origin", "https://a.example")];
    let service = Service::start(|_| {});
    let answer = service.send("GET", "/health/live", &origin, b"");
    assert_eq!(answer.header("access-control-allow-origin"), None);

    let service = Service::start(|config| {
        config.origins = vec![
            "https://a.example".to_owned(),
            "https://b.example".to_owned(),
        ];
    });
    let answer = service.send("GET", "/health/live", &origin, b"");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://a.example")
    );
    let other = service.send(
        "GET",
        "/health/live",
        &[("origin", "https://c.example")],
        b"",
    );
    assert_eq!(other.header("access-control-allow-origin"), None);
    let request = b"OPTIONS /v1/verify HTTP/1.1\r\nhost: test\r\norigin: https://b.example\r\naccess-control-request-method: POST\r\naccess-control-request-headers: content-type\r\nconnection: close\r\n\r\n";
    let preflight = Answer::parse(&service.raw(request, false));
    assert_eq!(preflight.status, 200);
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        Some("https://b.example")
    );
    assert!(
        preflight
            .header("access-control-allow-methods")
            .unwrap()
            .contains("POST")
    );

    let service = Service::start(|config| config.origins = vec!["*".to_owned()]);
    let answer = service.send("GET", "/health/live", &origin, b"");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}
