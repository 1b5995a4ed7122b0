//! Descriptions of files that nobody checked: whatever they claim, nothing is allocated or trusted for it.

use std::path::Path;
use zkinfer_circuits::card::Card;
use zkinfer_circuits::program::Node;
use zkinfer_wasm::{describe, limits};

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

fn json(bytes: &[u8]) -> serde_json::Value {
    let description = describe(bytes, &limits("{}").unwrap()).unwrap();
    serde_json::to_value(description).unwrap()
}

#[test]
fn what_files_say() {
    let card = json(&fixture("cnn.card"));
    assert_eq!(card["kind"], "card");
    assert_eq!(
        (&card["inputLength"], &card["outputLength"]),
        (&64.into(), &10.into())
    );
    assert_eq!(card["interface"]["name"], "cnn");
    assert_eq!(
        card["interface"]["inputs"][0]["shape"],
        serde_json::json!([1, 1, 8, 8])
    );
    let proof = json(&fixture("digits_digest.proof"));
    assert_eq!(
        (&proof["kind"], &proof["segments"]),
        (&"proof".into(), &1.into())
    );
    assert_eq!(proof["runs"][0]["input"]["kind"], "digest");
    assert_eq!(proof["runs"][0]["output"]["kind"], "public");
    let runs = json(&fixture("digits_3.runs"));
    assert_eq!(runs["runs"].as_array().unwrap().len(), 3);
    let parts = (
        json(&fixture("parts.card")),
        json(&fixture("parts_0.proof")),
    );
    assert_eq!(parts.0["segments"], 3);
    assert_eq!(parts.1["segments"], 3);
    assert_eq!(json(b"zkinfer\0")["kind"], "model");
    let failure = describe(b"zkinfer", &limits("{}").unwrap()).unwrap_err();
    assert_eq!(
        (failure.class.as_str(), failure.code),
        ("malformed", "truncated")
    );
}

/// A card may claim any shape before it is checked; its tensors then have as many elements as no memory holds.
#[test]
fn claimed_shapes_cost_nothing() {
    let mut card = Card::from_bytes(&fixture("digits.card"), 1 << 20).unwrap();
    for node in &mut card.segments[0].program.nodes {
        match node {
            Node::Input { len } => *len = u32::MAX,
            Node::Neurons(n) => (n.groups, n.outputs, n.positions) = (u32::MAX, u32::MAX, u32::MAX),
            _ => {}
        }
    }
    card.info = format!(
        r#"{{"name":"huge","inputs":[{{"name":"x","shape":[{}],"scale":[1.0],"zero_point":[0.0]}}],"outputs":[{{"name":"y","shape":[{}],"scale":[1.0],"zero_point":[0.0]}}]}}"#,
        u32::MAX,
        u64::MAX
    )
    .into_bytes();
    let description = json(&card.to_bytes());
    assert_eq!(description["inputLength"], u32::MAX);
    assert_eq!(description["interface"]["name"], "huge");
}

#[test]
fn limits_are_read_strictly() {
    let set = limits(r#"{"k": 9, "proofBytes": 5, "slots": 7}"#).unwrap();
    assert_eq!((set.k, set.proof_bytes, set.program.slots), (9, 5, 7));
    assert_eq!(limits("{}").unwrap().k, 14);
    for wrong in [
        "",
        "[]x",
        r#"{"k": -1}"#,
        r#"{"K": 1}"#,
        r#"{"k": 5000000000}"#,
    ] {
        let failure = limits(wrong).unwrap_err();
        assert_eq!(
            (failure.class.as_str(), failure.code),
            ("invalid_argument", "limits")
        );
    }
}
