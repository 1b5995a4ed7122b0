//! Tokens say who may do what, and how much.

use crate::common::*;
use serde_json::json;
use std::path::PathBuf;
use tempfile::TempDir;
use zkinfer_http::access::{Entry, Scope, TokenFile, hash};

/// A file with tokens that are their own names.
pub fn tokens(
    folder: &TempDir,
    known: &[(&str, &[Scope])],
    change: impl Fn(&mut Entry),
) -> PathBuf {
    let entry = |(name, scopes): &(&str, &[Scope])| {
        let mut entry = Entry {
            name: (*name).to_owned(),
            hash: hash(name),
            scopes: scopes.to_vec(),
            per_minute: None,
            per_day: None,
            expires: None,
        };
        change(&mut entry);
        entry
    };
    let file = TokenFile {
        tokens: known.iter().map(entry).collect(),
    };
    let path = folder.path().join("tokens.json");
    std::fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
    path
}

const INFER: &str = "/v2/models/digits/infer";

fn send(
    service: &Service,
    who: &str,
    method: &str,
    path: &str,
    body: &serde_json::Value,
) -> Answer {
    let bearer = format!("Bearer {who}");
    let headers = [("authorization", bearer.as_str())];
    service.send(method, path, &headers, body.to_string().as_bytes())
}

#[test]
fn tokens_allow_what_their_scopes_say() {
    let folder = tempfile::tempdir().unwrap();
    let known: [(&str, &[Scope]); 3] = [
        ("asks", &[Scope::Infer]),
        ("buys", &[Scope::Infer, Scope::Prove, Scope::Read]),
        ("reads", &[Scope::Read]),
    ];
    let path = tokens(&folder, &known, |_| {});
    let service = Service::start(|c| c.tokens = Some(path));
    // Whoever watches, and whoever asks what there is to ask, needs none.
    for path in ["/v2", "/v2/health/ready", "/metrics", "/openapi.json"] {
        assert_eq!(service.get(path).status, 200, "{path}");
    }
    let answer = service.infer(&json!({}));
    answer.expect(401, "unauthorized");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert!(
        answer.json()["error"]
            .as_str()
            .unwrap()
            .contains("Bearer TOKEN")
    );
    let plain = question(&json!({}));
    send(&service, "nobody", "POST", INFER, &plain).expect(401, "unauthorized");
    send(&service, "reads", "POST", INFER, &plain).expect(403, "forbidden");
    let run = send(&service, "asks", "POST", INFER, &plain)
        .slip()
        .terms
        .run;
    let proof_of_own_accord = question(&json!({ "zkinfer_proof": "none" }));
    assert_eq!(
        send(&service, "asks", "POST", INFER, &proof_of_own_accord).status,
        200
    );
    for mode in ["later", "now"] {
        let asking = question(&json!({ "zkinfer_proof": mode }));
        send(&service, "asks", "POST", INFER, &asking).expect(403, "forbidden");
        assert_eq!(send(&service, "buys", "POST", INFER, &asking).status, 200);
    }
    let known = format!("/v1/runs/{run}");
    let prove = format!("{known}/prove");
    for who in ["asks", "reads"] {
        send(&service, who, "POST", &prove, &json!({})).expect(403, "forbidden");
    }
    assert_eq!(
        send(&service, "buys", "POST", &prove, &json!({})).status,
        202
    );
    send(&service, "asks", "GET", &known, &json!({})).expect(403, "forbidden");
    assert_eq!(
        send(&service, "reads", "GET", &known, &json!({})).status,
        200
    );
}

#[test]
fn tokens_have_a_rate_and_a_quota() {
    let folder = tempfile::tempdir().unwrap();
    let known: [(&str, &[Scope]); 2] = [("a", &[Scope::Infer]), ("b", &[Scope::Infer])];
    let path = tokens(&folder, &known, |e| match e.name.as_str() {
        "a" => e.per_minute = Some(2),
        _ => e.per_day = Some(1),
    });
    let service = Service::start(|c| c.tokens = Some(path));
    let plain = question(&json!({}));
    for _ in 0..2 {
        assert_eq!(send(&service, "a", "POST", INFER, &plain).status, 200);
    }
    let limited = send(&service, "a", "POST", INFER, &plain);
    limited.expect(429, "rate_limited");
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    // Others go on.
    assert_eq!(send(&service, "b", "POST", INFER, &plain).status, 200);
    let used = send(&service, "b", "POST", INFER, &plain);
    used.expect(429, "quota_used");
    let wait: u64 = used.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=86_400).contains(&wait), "{wait}");
}
