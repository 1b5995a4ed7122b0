//! The description is true: everything in it happens (every answer of every test is compared with it), what only a
//! fault of the host's own brings about aside.

use crate::access::tokens;
use crate::common::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

/// Statuses that only a fault of the host's own, or as many requests as a test does not send, bring about: the server's
/// tests have them, through the same code.
const RARE: [&str; 3] = ["429", "500", "503"];

#[test]
fn everything_that_is_described_happens() {
    let service = Service::start(|c| {
        c.runs = 1;
        c.request_bytes = 1 << 16;
        c.body_timeout = Duration::from_millis(300);
        c.ask_for = Duration::from_secs(3600);
    });
    let version = secret("digits").card().digest();
    let model = "/v2/models/digits".to_owned();
    let of_version = format!("{model}/versions/{version}");
    for path in [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/metrics",
        "/v1/host",
        "/v1/keys",
        "/v1/cards/x",
    ] {
        service.get(path);
    }
    service.get(&format!("/v1/cards/{version}"));
    service.post("/v2/repository/index", &json!({}));
    // Paths that are no text, that nobody serves, and that somebody does.
    for name in ["%ff", "x", "digits"] {
        let own = if name == "digits" {
            version.to_string()
        } else {
            name.to_owned()
        };
        for path in [
            format!("/v2/models/{name}"),
            format!("/v2/models/digits/versions/{own}"),
        ] {
            service.get(&path);
            service.get(&format!("{path}/ready"));
        }
    }
    let mut run = String::new();
    for path in [&model, &of_version] {
        let path = format!("{path}/infer");
        let service = Service::start(|c| {
            c.runs = 1;
            c.request_bytes = 1 << 16;
            c.body_timeout = Duration::from_millis(300);
        });
        let answer = service.post(&path, &question(&json!({})));
        assert_eq!(answer.status, 200);
        service
            .post(&path, &question(&json!({})))
            .expect(507, "store_full");
        service
            .post(&path, &json!({}))
            .expect(400, "malformed_request");
        service
            .send("POST", &path, &[], &vec![b' '; (1 << 16) + 1])
            .expect(413, "too_large");
        service
            .send("POST", &path, &[("content-encoding", "gzip")], b"")
            .expect(415, "unsupported_media_type");
        service
            .post(&path.replace("digits", "x"), &json!({}))
            .expect(404, "unknown_model");
        // A body that does not arrive.
        let mut stream = TcpStream::connect(service.address).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        Answer::read(&mut stream)
            .seen("POST", &path)
            .expect(408, "body_timeout");
        run = answer.slip().terms.run.to_string();
        let known = format!("/v1/runs/{run}");
        service.get(&known);
        service
            .get(&format!("{known}/proof"))
            .expect(409, "not_asked");
        assert_eq!(
            service.post(&format!("{known}/prove"), &json!({})).status,
            202
        );
        assert_eq!(
            service.post(&format!("{known}/prove"), &json!({})).status,
            200
        );
        service.wait("it is proven", |s| {
            s.get(&format!("{known}/proof")).status == 200
        });
    }
    for (method, path) in [("GET", ""), ("GET", "/proof"), ("POST", "/prove")] {
        // Another host has not heard of the run.
        service
            .send(method, &format!("/v1/runs/{run}{path}"), &[], b"")
            .expect(404, "unknown_run");
        service
            .send(method, &format!("/v1/runs/x{path}"), &[], b"")
            .expect(400, "malformed_request");
    }
    let late = Service::start(|c| c.ask_for = Duration::ZERO);
    let slip = late.infer(&json!({})).slip();
    std::thread::sleep(Duration::from_millis(5));
    let prove = format!("/v1/runs/{}/prove", slip.terms.run);
    late.post(&prove, &json!({})).expect(410, "too_late");

    // Without a token, and with one that allows nothing.
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens(&folder, &[("nothing", &[])], |_| {});
    let service = Service::start(|c| c.tokens = Some(tokens));
    for (path, item) in description()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["responses"].get("401").is_none() {
                continue;
            }
            let path = path.replace("{model}", "digits").replace(['{', '}'], "");
            let method = method.to_uppercase();
            service
                .send(&method, &path, &[], b"")
                .expect(401, "unauthorized");
            service
                .send(&method, &path, &[("authorization", "Bearer nothing")], b"")
                .expect(403, "forbidden");
        }
    }

    let seen = SEEN.lock().unwrap();
    let mut missing = BTreeSet::new();
    for (path, item) in description()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for status in operation["responses"].as_object().unwrap().keys() {
                let known = (method.clone(), path.clone(), status.clone());
                if !RARE.contains(&status.as_str()) && !seen.contains(&known) {
                    missing.insert(known);
                }
            }
        }
    }
    // A proof that cannot be made is a fault of the host's own; the conflict when it is fetched has been seen.
    missing.remove(&(
        "post".to_owned(),
        "/v1/runs/{run}/prove".to_owned(),
        "409".to_owned(),
    ));
    assert!(missing.is_empty(), "{missing:?}");
}
