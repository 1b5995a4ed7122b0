//! What is sent back: bounded, and the request is open until it is.

use crate::common::*;

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
