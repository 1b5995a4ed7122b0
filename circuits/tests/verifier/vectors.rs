//! The vectors of `tests/fixtures/rejections.json`, which every interface of the project runs.

use crate::common::{bytes, generators, proof, reference};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeSet;
use zkinfer_circuits::card::Card;
use zkinfer_circuits::receipt::{
    Class, ExpectedRecord, Outcome, Receipt, Refusal, SideRecord, StatedSide,
};
use zkinfer_circuits::statement::{Claim, Side};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Expected, Limits, Verifier};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    vectors_version: u32,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    description: String,
    card: Source,
    proof: Source,
    expected: Vec<ExpectedRecord>,
    verdict: Wanted,
    statement: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    File(String),
    Base64(String),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Valid {
    Valid,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Wanted {
    Valid(Valid),
    Rejected { class: Class, code: String },
}

impl Source {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Source::File(name) => bytes(name),
            Source::Base64(text) => STANDARD.decode(text).unwrap(),
        }
    }
}

fn verifier(card: &[u8]) -> Result<Verifier, Refusal> {
    let limits = Limits::default();
    let card = Card::from_bytes(card, limits.card_bytes)?;
    limits.allow_k(card.k)?;
    let generators = generators(card.k);
    Ok(Verifier::new(card, generators, &limits)?)
}

#[test]
fn every_vector_comes_out_as_it_says() {
    let all: Vectors = serde_json::from_slice(&bytes("rejections.json")).unwrap();
    assert_eq!(all.vectors_version, 1);
    let (mut names, mut classes) = (BTreeSet::new(), BTreeSet::new());
    for vector in &all.vectors {
        let name = &vector.name;
        assert!(names.insert(name) && !vector.description.is_empty());
        let expected: Result<Vec<Expected>, _> =
            vector.expected.iter().map(Expected::try_from).collect();
        let result = verifier(&vector.card.bytes()).map(|verifier| {
            let (expected, bytes) = (expected.as_ref().unwrap(), vector.proof.bytes());
            let receipt = verifier.receipt(expected, &bytes);
            // Upstream's verifier alone comes to the same.
            let reference = verifier.candidate(expected, &bytes);
            let reference = reference.and_then(|c| Ok(self::reference(&verifier, &c)?));
            let reference = Receipt::new(
                &verifier.digest(),
                &bytes,
                &StatedSide::of(expected),
                &reference,
            );
            assert_eq!(reference, receipt, "{name}");
            let json = serde_json::to_string(&receipt).unwrap();
            assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), receipt);
            receipt.result
        });
        let (found, statement) = match result {
            Ok(Outcome::Accepted { statement, .. }) => {
                (Wanted::Valid(Valid::Valid), Some(statement))
            }
            Ok(Outcome::Rejected { class, code, .. }) => {
                let code = code.into_owned();
                (Wanted::Rejected { class, code }, None)
            }
            Err(refusal) => {
                let (class, code) = (refusal.class(), refusal.code().into());
                (Wanted::Rejected { class, code }, None)
            }
        };
        assert_eq!(found, vector.verdict, "{name}");
        assert_eq!(statement, vector.statement, "{name}");
        classes.insert(match &vector.verdict {
            Wanted::Valid(_) => "valid".to_string(),
            Wanted::Rejected { class, .. } => serde_json::to_string(class).unwrap(),
        });
    }
    assert_eq!(classes.len(), 7, "{classes:?}");
}

/// Expectations and sides are read as strictly as they are written.
#[test]
fn expectations_are_json() {
    let read = |text: &str| {
        let record = serde_json::from_str::<ExpectedRecord>(text).map_err(|e| e.to_string())?;
        Expected::try_from(&record).map_err(|e| e.to_string())
    };
    let side = Side::Public(vec![1, 2, 3]);
    let digest = side.digest();
    let expected = Expected {
        input: Some(side),
        output: None,
        context: b"\x00\xff".to_vec(),
    };
    let json = serde_json::to_string(&ExpectedRecord::from(&expected)).unwrap();
    let values = r#""kind":"public","values":[1,2,3]"#;
    assert_eq!(
        json,
        format!(r#"{{"input":{{{values},"digest":"{digest}"}},"context":"00ff"}}"#)
    );
    let same = |found: Result<Expected, String>| {
        let found = found.unwrap();
        assert_eq!(
            (found.input, found.output, found.context),
            (
                expected.input.clone(),
                expected.output.clone(),
                expected.context.clone()
            )
        );
    };
    same(read(&json));
    same(read(&format!(
        r#"{{"input":{{{values}}},"context":"00ff"}}"#
    )));
    assert_eq!(read("{}").unwrap().context, b"");
    let refused = [
        format!(r#"{{"input":{{{values},"digest":"{}"}}}}"#, Digest([1; 32])),
        r#"{"context":"0"}"#.into(),
        r#"{"context":"0G"}"#.into(),
        r#"{"context":"0A"}"#.into(),
        r#"{"context":"é"}"#.into(),
        format!(r#"{{"context":"{}"}}"#, "0".repeat(2 * 4096 + 2)),
        r#"{"contxt":""}"#.into(),
        r#"{"input":{"kind":"public","values":[65536]}}"#.into(),
        r#"{"input":{"kind":"public","values":[-1]}}"#.into(),
        r#"{"input":{"kind":"public","values":[1],"extra":0}}"#.into(),
        r#"{"input":{"kind":"secret","values":[1]}}"#.into(),
        r#"{"input":{"kind":"committed","points":["00"]}}"#.into(),
        format!(
            r#"{{"input":{{"kind":"committed","points":["{}"]}}}}"#,
            "ff".repeat(32)
        ),
    ];
    for text in refused {
        assert!(read(&text).is_err(), "{text}");
    }
    // Commitments, too, are read as they were written.
    let Claim::Committed(points) = proof("digits", "hidden").runs.remove(0).0 else {
        panic!("the input is committed");
    };
    let side = Side::Committed(points);
    let json = serde_json::to_string(&SideRecord::from(&side)).unwrap();
    let record: SideRecord = serde_json::from_str(&json).unwrap();
    assert_eq!(Side::try_from(&record), Ok(side));
}
