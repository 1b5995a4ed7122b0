//! The vectors of `tests/fixtures/rejections.json`, which every interface of the project runs, over HTTP: one by one and
//! all in one batch.

use crate::common::*;
use serde_json::{Value, json};

fn bytes(source: &Value) -> Vec<u8> {
    use base64::Engine;
    match source["file"].as_str() {
        Some(file) => fixture(file),
        None => base64::engine::general_purpose::STANDARD
            .decode(source["base64"].as_str().unwrap())
            .unwrap(),
    }
}

/// The status that goes with a class.
fn status(verdict: &Value) -> u16 {
    match verdict["class"].as_str() {
        None => 200,
        Some("malformed" | "wrong_version") => 400,
        Some(_) => 422,
    }
}

#[test]
fn every_vector_comes_out_as_it_says() {
    let vectors: Value = serde_json::from_slice(&fixture("rejections.json")).unwrap();
    assert_eq!(vectors["vectors_version"], 1);
    let service = Service::with_cards(|_| {});
    let mut batch = Vec::new();
    for vector in vectors["vectors"].as_array().unwrap() {
        let (name, verdict) = (&vector["name"], &vector["verdict"]);
        let card = bytes(&vector["card"]);
        let decoded = zkinfer_circuits::card::Card::from_bytes(&card, 1 << 20);
        let digest = decoded.map_or("0".repeat(64), |card| card.digest().to_string());
        let put = service.send("PUT", &format!("/v1/cards/{digest}"), &[], &card);
        if name.as_str().unwrap().starts_with("card_") {
            assert_eq!(put.status, status(verdict), "{name}");
            assert_eq!(
                (&put.json()["class"], &put.json()["code"]),
                (&verdict["class"], &verdict["code"]),
                "{name}"
            );
            continue;
        }
        // Some cards are there, others are new.
        assert!([200, 201].contains(&put.status), "{name}");
        let request = json!({
            "card": digest,
            "proof": base64(&bytes(&vector["proof"])),
            "expected": vector["expected"],
        });
        let answer = service.verify(&request);
        assert_eq!(answer.status, status(verdict), "{name}: {}", answer.json());
        let result = &answer.json()["result"];
        if verdict == "valid" {
            assert_eq!(result["outcome"], "accepted", "{name}");
            assert_eq!(result["statement"], vector["statement"], "{name}");
        } else {
            assert_eq!(result["outcome"], "rejected", "{name}");
            assert_eq!(
                (&result["class"], &result["code"]),
                (&verdict["class"], &verdict["code"]),
                "{name}"
            );
        }
        batch.push((request, answer));
    }
    assert!(batch.len() > 30);
    let requests: Vec<&Value> = batch.iter().map(|(request, _)| request).collect();
    let results = service
        .post("/v1/verify/batch", &json!({ "proofs": requests }))
        .json();
    let results = results["results"].as_array().unwrap();
    assert_eq!(results.len(), batch.len());
    for (result, (_, answer)) in results.iter().zip(&batch) {
        assert_eq!(result["status"], answer.status);
        assert_eq!(result["receipt"], answer.json());
    }
}
