//! The verifier on stored files: decoding, verdicts, receipts, limits.

use crate::common::{bytes, context, generators, proof, runs, verifier};
use zkinfer_circuits::card::{Card, FileKind, Proof};
use zkinfer_circuits::error::{CardError, DecodeError, ProgramError, Rejection};
use zkinfer_circuits::receipt::{Class, Outcome, Receipt, Refusal};
use zkinfer_circuits::statement::{Claim, Side};
use zkinfer_circuits::verify::{Expected, Limits, Segment, Verifier};

const CARDS: [&str; 3] = ["digits", "cnn", "parts"];
const PROOFS: [(&str, &str); 7] = [
    ("digits", "0"),
    ("digits", "1"),
    ("digits", "digest"),
    ("digits", "hidden"),
    ("cnn", "0"),
    ("cnn", "1"),
    ("parts", "0"),
];

fn input(proof: &Proof) -> Side {
    match &proof.runs[0].0 {
        Claim::Values(values) => Side::Public(values.clone()),
        other => panic!("{other:?} carries no values"),
    }
}

#[test]
fn stored_files_decode_and_encode_to_the_same_bytes() {
    for name in CARDS {
        let bytes = bytes(&format!("{name}.card"));
        assert_eq!(FileKind::of(&bytes), Ok(FileKind::Card));
        assert_eq!(
            Card::from_bytes(&bytes, bytes.len()).unwrap().to_bytes(),
            bytes
        );
    }
    for (name, which) in PROOFS {
        let bytes = bytes(&format!("{name}_{which}.proof"));
        assert_eq!(
            Proof::from_bytes(&bytes, bytes.len()).unwrap().to_bytes(),
            bytes
        );
    }
    for name in CARDS {
        let bytes = bytes(&format!("{name}_3.runs"));
        assert_eq!(
            Proof::from_bytes(&bytes, bytes.len()).unwrap().to_bytes(),
            bytes
        );
    }
}

/// Cards and proofs that were published stay valid: the digest of a card is its identity.
#[test]
fn stored_files_keep_their_identity() {
    let digests = CARDS.map(|name| verifier(name).digest().to_string());
    assert_eq!(
        digests,
        [
            "54729f81b5a07499b635edd2d1c5ab4b45e9af1cd236ae0252d4d0f18a88db85",
            "d74024b2c87d4a4c861713f09370b2f95bf22c4bd17bff664b4f06506d477eaa",
            "a69b0672994bde6667d4c87bcd4a9f7bab8b2bd3c94f034c52addbc00ee82727"
        ]
    );
}

#[test]
fn stored_proofs_verify() {
    for name in CARDS {
        let verifier = verifier(name);
        for (_, which) in PROOFS.iter().filter(|(n, _)| n == &name) {
            let mut expected = context(name);
            if *which == "digest" {
                expected.input = Some(input(&proof("digits", "1")));
            }
            let proof = proof(name, which);
            let verdict = verifier.verify(&expected, &proof).unwrap();
            assert_eq!(verdict.card, verifier.digest());
            let (input, output) = &proof.runs[0];
            assert!(output.is(&verdict.output) && input.is(&verdict.input));
        }
        let verdicts = verifier
            .verify_runs(&vec![context(name); 3], &runs(name))
            .unwrap();
        assert_eq!(verdicts.len(), 3);
    }
}

#[test]
fn receipts_tell_reasons_apart() {
    let verifier = verifier("digits");
    let file = bytes("digits_0.proof");
    let check = |expected: &[Expected], bytes: &[u8]| {
        let receipt = verifier.receipt(expected, bytes);
        let json = serde_json::to_string(&receipt).unwrap();
        assert_eq!(
            serde_json::from_str::<Receipt>(&json).unwrap(),
            receipt,
            "{json}"
        );
        match receipt.result {
            Outcome::Accepted { runs, .. } => Ok(runs.len()),
            Outcome::Rejected { class, code, .. } => Err((class, code.into_owned())),
        }
    };
    let refused = |class, code: &str| Err((class, code.to_string()));
    let expected = [context("digits")];
    assert_eq!(check(&expected, &file), Ok(1));
    assert_eq!(check(&expected, &bytes("digits_3.runs")), Ok(3));
    assert_eq!(
        check(&expected, &[]),
        refused(Class::Malformed, "truncated")
    );
    assert_eq!(
        check(&expected, &file[1..]),
        refused(Class::Malformed, "not_zkinfer")
    );
    assert_eq!(
        check(&expected, &bytes("digits.card")),
        refused(Class::Malformed, "wrong_kind")
    );
    let mut other = file.clone();
    other[8] = 1;
    assert_eq!(
        check(&expected, &other),
        refused(Class::WrongVersion, "wrong_version")
    );
    let mut other = file.clone();
    other[100] ^= 1;
    assert_eq!(
        check(&expected, &other),
        refused(Class::Malformed, "damaged")
    );
    assert_eq!(
        check(&expected, &bytes("cnn_0.proof")),
        refused(Class::UnknownModel, "unknown_model")
    );
    assert_eq!(
        check(&[context("other")], &file),
        refused(Class::StatementMismatch, "other_context")
    );
    let other = Expected {
        input: Some(input(&proof("digits", "1"))),
        ..context("digits")
    };
    assert_eq!(
        check(&[other], &file),
        refused(Class::StatementMismatch, "other_input")
    );
    assert_eq!(
        check(&expected, &bytes("digits_digest.proof")),
        refused(Class::StatementMismatch, "input_needed")
    );
    let two = [context("digits"), context("digits")];
    assert_eq!(
        check(&two, &file),
        refused(Class::StatementMismatch, "other_runs")
    );
    let mut forged = proof("digits", "0");
    if let Claim::Values(values) = &mut forged.runs[0].1 {
        values[0] ^= 1;
    }
    assert_eq!(
        check(&expected, &forged.to_bytes()),
        refused(Class::InvalidProof, "invalid_link")
    );
    let mut forged = proof("digits", "0");
    let scalar = forged.segments[0].halo2.len() - 32;
    forged.segments[0].halo2[scalar] ^= 1;
    assert_eq!(
        check(&expected, &forged.to_bytes()),
        refused(Class::InvalidProof, "invalid_computation")
    );
}

#[test]
fn receipts_are_stable() {
    let receipt = verifier("digits").receipt(&[context("digits")], b"");
    let expected = r#"{"receipt_version":2,"format_version":4,"card":"54729f81b5a07499b635edd2d1c5ab4b45e9af1cd236ae0252d4d0f18a88db85","proof":"d5fdd4961446748ef7c8f0f26a1330e7e5a3b4db8d80ed9f208844c0551ab406","result":{"outcome":"rejected","class":"malformed","code":"truncated","message":"truncated: the data end before what they announce"}}"#;
    assert_eq!(serde_json::to_string(&receipt).unwrap(), expected);
    for bad in ["\"00\"", "\"", "12", &format!("\"{}\"", "G".repeat(64))] {
        assert!(serde_json::from_str::<zkinfer_circuits::transcript::Digest>(bad).is_err());
    }
}

/// Every limit refuses what it is about, with an error of its own.
#[test]
fn limits_bind() {
    let file = bytes("digits.card");
    let card = Card::from_bytes(&file, file.len()).unwrap();
    let too_large = DecodeError::TooLarge {
        bytes: file.len(),
        limit: file.len() - 1,
    };
    assert_eq!(Card::from_bytes(&file, file.len() - 1), Err(too_large));
    let refused = |change: &dyn Fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        Verifier::new(card.clone(), generators(card.k), &limits).err()
    };
    assert!(refused(&|_| {}).is_none());
    let k = refused(&|l| l.k = card.k - 1);
    assert!(
        matches!(k, Some(CardError::Limit { what: "k", .. })),
        "{k:?}"
    );
    let columns = refused(&|l| l.columns = 25);
    assert!(
        matches!(
            columns,
            Some(CardError::Limit {
                what: "columns",
                value: 26,
                limit: 25
            })
        ),
        "{columns:?}"
    );
    // 42 of the model commitment, 12 of fixed columns.
    let points = refused(&|l| l.points = 53);
    assert!(
        matches!(
            points,
            Some(CardError::Limit {
                value: 54,
                limit: 53,
                ..
            })
        ),
        "{points:?}"
    );

    // A convolution has sums over its wiring, a dense network has none.
    let file = bytes("cnn.card");
    let convolution = Card::from_bytes(&file, file.len()).unwrap();
    let mut limits = Limits::default();
    limits.memory = 100;
    let memory = Verifier::new(convolution.clone(), generators(convolution.k), &limits).err();
    assert!(
        matches!(memory, Some(CardError::Limit { limit: 100, .. })),
        "{memory:?}"
    );

    let nodes = |l: &mut Limits| l.program.nodes = card.segments[0].program.nodes.len() - 1;
    let slots = |l: &mut Limits| l.program.slots = 1 << 5;
    let values = |l: &mut Limits| l.program.values = 73;
    for change in [&nodes as &dyn Fn(&mut Limits), &slots] {
        let found = refused(change);
        assert!(matches!(found, Some(CardError::Program(_))), "{found:?}");
    }
    let found = refused(&values);
    let expected = ProgramError::Values {
        count: 74,
        limit: 73,
    };
    assert!(
        matches!(&found, Some(CardError::Program(found)) if *found == expected),
        "{found:?}"
    );
    let mut with_table = card.clone();
    with_table.segments[0].program.tables.push(vec![0; 1 << 12]);
    let mut limits = Limits::default();
    limits.program.tables = 0;
    let found = Verifier::new(with_table, generators(card.k), &limits).err();
    assert!(matches!(found, Some(CardError::Program(_))), "{found:?}");

    let default = Limits::default();
    assert_eq!(default.allow_segments(4, 16), Ok(()));
    assert_eq!(default.allow_segments(64, 12), Ok(()));
    for (segments, k) in [(5, 16), (65, 6), (64, 13)] {
        let refused = default.allow_segments(segments, k);
        assert!(matches!(refused, Err(CardError::Limit { .. })));
    }

    let proof = proof("digits", "0");
    let mut limits = Limits::default();
    limits.proof_bytes = proof.segments[0].halo2.len() - 1;
    limits.runs = 2;
    let verifier = Verifier::new(card.clone(), generators(card.k), &limits).unwrap();
    let malformed = |what| Err(Rejection::Malformed { what });
    let found = verifier.verify(&context("digits"), &proof).map(drop);
    assert_eq!(found, malformed("proof is longer than the limit"));
    let found = verifier.verify_runs(&vec![context("digits"); 3], &runs("digits"));
    assert_eq!(
        found.map(drop),
        malformed("proof has more runs than the limit")
    );
    let found = verifier.verify_bytes(&[context("digits")], &bytes("digits_0.proof"));
    assert!(matches!(
        found,
        Err(Refusal::Decode(DecodeError::TooLarge { .. }))
    ));
    // One expectation for all runs, of which there are too many: not the caller's mistake.
    let mut limits = Limits::default();
    limits.runs = 2;
    let verifier = Verifier::new(card.clone(), generators(card.k), &limits).unwrap();
    let found = verifier.verify_bytes(&[context("digits")], &bytes("digits_3.runs"));
    let what = "proof has more runs than the limit";
    assert_eq!(found, Err(Refusal::Proof(Rejection::Malformed { what })));
}

/// The crate's documentation and unit tests read copies, so that they work outside the repository as well.
#[test]
fn copies_in_the_package_are_the_fixtures() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let files: Vec<_> = std::fs::read_dir(data).unwrap().flatten().collect();
    assert!(files.len() >= 3);
    for file in files {
        let name = file.file_name().into_string().unwrap();
        assert!(
            std::fs::read(file.path()).unwrap() == bytes(&name),
            "{name}"
        );
    }
}

/// The table of stored examples in `docs/formats.md` is what the circuits have.
#[test]
fn documented_lengths_are_right() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    for name in CARDS {
        let rows = docs.lines().filter_map(|line| {
            let rest = line.strip_prefix(&format!("| `{name}.card`"))?;
            // Behind the number of the segment, if there are several.
            let numbers = rest.split('|').skip(1).map(|n| n.trim().parse().ok());
            Some(numbers.flatten().collect::<Vec<usize>>())
        });
        let rows: Vec<Vec<usize>> = rows.collect();
        let verifier = verifier(name);
        assert_eq!(rows.len(), verifier.segments().len(), "{name}");
        for (index, (row, segment)) in rows.iter().zip(verifier.segments()).enumerate() {
            documented_length(name, index, row, segment);
        }
    }
}

fn documented_length(name: &str, index: usize, row: &[usize], segment: &Segment) {
    let [a, q, f, h, s] = row[..] else {
        panic!("five numbers")
    };
    let plan = segment.plan();
    assert_eq!(a, plan.description.advice);
    assert_eq!(f, plan.description.fixed);
    let k = plan.layout.k as usize;
    for runs in [1, 2, 3] {
        let elements = runs * (a + q) + 1 + h + f + 1 + 1 + s + 1 + 2 * k + 2;
        assert_eq!(segment.halo2_len(runs), 32 * elements, "{name}");
    }
    assert_eq!(
        proof(name, "0").segments[index].halo2.len(),
        segment.halo2_len(1)
    );
    assert_eq!(runs(name).segments[index].halo2.len(), segment.halo2_len(3));
    assert_eq!(plan.description.instance, 0);
}
