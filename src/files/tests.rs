use super::*;
use crate::prove::tests::zoo::zoo;
use crate::secret::{Secret, Segment, SideVisibility, Visibility, WeightVisibility};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::LazyLock;
use zkinfer_circuits::card::{Card, FileKind, Proof, open, seal};
use zkinfer_circuits::codec::{Reader, Writer};
use zkinfer_circuits::error::CardError;
use zkinfer_circuits::program::ValueRef;
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::Limits;
use zkinfer_interface::Interface;
use zkinfer_model::model::{Decoding, Layer, QuantizedModel, TensorInterface};
use zkinfer_model::run::HintSolver;

const K: u32 = 7;
const LIMIT: usize = 1 << 20;

fn model() -> QuantizedModel {
    let tensor = |name: &str, len, scale: Vec<f64>| TensorInterface {
        name: name.into(),
        shape: vec![1, len],
        scale,
        zero_point: vec![0.1],
        integers: false,
        labels: Vec::new(),
        low_bits: 0,
    };
    let mut model = zoo(6);
    model.inputs = vec![tensor("image", 16, vec![1.0 / 3.0])];
    model.outputs = vec![
        tensor("scores", 2, vec![0.1, -0.7]),
        tensor("rest", 8, vec![1e-20]),
    ];
    let layer = Layer {
        node: 4,
        name: "conv \"é\"".into(),
        graph_node: Some(3),
        scale_min: 0.1,
        scale_max: 0.2,
        low: -1.0,
        high: 1.5,
        saturates: Default::default(),
    };
    model.layers = vec![layer];
    let value = ValueRef { node: 6, port: 1 };
    model.decodings = vec![(
        0,
        Decoding {
            planes: vec![(value, vec![0.3])],
            offset: vec![0.0, 0.1],
        },
    )];
    // Not used by the program; it only has to survive.
    model.hints = vec![HintSolver::Softmax {
        node: 99,
        logits: value,
        lens: vec![3],
        factor: 5,
        constant: 6,
        table: 0,
        target: i64::MIN,
    }];
    model
}

fn commit(model: QuantizedModel, weights: WeightVisibility) -> Secret {
    let info = model.interface("zoo").to_info().unwrap();
    Secret::commit_at(
        model,
        K,
        info,
        zkinfer_verifier::params::load(K).unwrap(),
        weights,
        &mut ChaCha20Rng::seed_from_u64(1),
        &mut zkinfer_model::progress::silent,
    )
    .unwrap()
}

static SECRET: LazyLock<Secret> = LazyLock::new(|| commit(model(), WeightVisibility::Hidden));

fn prove(secret: &Secret, visibility: &Visibility) -> Proof {
    let run = secret
        .infer_integers(&[(0..16).map(|i| (i * 37 + 5) % 64).collect()])
        .unwrap();
    secret
        .prove(
            &run,
            visibility,
            b"context",
            &mut ChaCha20Rng::seed_from_u64(2),
        )
        .unwrap()
        .proof
}

fn visibilities() -> [Visibility; 3] {
    let committed = Visibility {
        input: SideVisibility::Committed,
        output: SideVisibility::Committed,
        attach_input: false,
    };
    [
        Visibility::default(),
        Visibility {
            attach_input: true,
            ..Visibility::default()
        },
        committed,
    ]
}

#[test]
fn models_survive() {
    for weights in [WeightVisibility::Hidden, WeightVisibility::Public] {
        let secret = commit(model(), weights);
        let bytes = secret.to_bytes().unwrap();
        let read = Secret::from_bytes(&bytes, bytes.len()).unwrap();
        assert_eq!(read.card(), secret.card());
        assert_eq!(read.blinds(), secret.blinds());
        let (a, b) = (read.model(), secret.model());
        assert_eq!(
            (&a.program, &a.weights, &a.hints),
            (&b.program, &b.weights, &b.hints)
        );
        assert_eq!(
            (&a.inputs, &a.outputs, &a.layers, &a.decodings),
            (&b.inputs, &b.outputs, &b.layers, &b.decodings)
        );
        // The same proof, for the same random numbers.
        assert_eq!(
            prove(&read, &Visibility::default()),
            prove(&secret, &Visibility::default())
        );
        assert_eq!(read.to_bytes().unwrap(), bytes);
    }
}

#[test]
fn a_model_file_has_a_limit() {
    let bytes = SECRET.to_bytes().unwrap();
    let error = Secret::from_bytes(&bytes, bytes.len() - 1).unwrap_err();
    assert!(
        matches!(error, ModelFileError::Decode(DecodeError::TooLarge { .. })),
        "{error}"
    );
}

/// Everything that reads bytes, on bytes that are damaged with and without a checksum that fits.
fn torture(kind: FileKind, bytes: &[u8], read: impl Fn(&[u8]) -> Result<(), String>) {
    assert_eq!(read(bytes), Ok(()));
    let payload = open(kind, bytes, bytes.len()).unwrap();
    // A few thousand positions of each, all of them at the beginning.
    let step = |len: usize| (0..len.min(300)).chain((300..len).step_by((len / 500).max(1)));
    for at in step(bytes.len()) {
        assert!(read(&bytes[..at]).is_err(), "first {at} bytes");
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        assert!(read(&flipped).is_err(), "byte {at} flipped");
    }
    for at in step(payload.len()) {
        assert!(
            read(&seal(kind, &payload[..at])).is_err(),
            "payload of {at} bytes"
        );
        // Whether it can be read depends on the field; that it does not panic or take memory is what counts.
        for value in [0, 0xff, payload[at] ^ 1, payload[at].wrapping_add(1)] {
            let mut other = payload.to_vec();
            other[at] = value;
            read(&seal(kind, &other)).ok();
        }
        let mut large = payload.to_vec();
        let end = (at + 4).min(large.len());
        large[at..end].fill(0xff);
        read(&seal(kind, &large)).ok();
    }
    let longer = seal(kind, &[payload, &[0]].concat());
    assert!(read(&longer).is_err());
    for other in [
        FileKind::Model,
        FileKind::Card,
        FileKind::Proof,
        FileKind::Params,
    ] {
        let error = read(&seal(other, payload)).err();
        assert_eq!(error.is_none(), other == kind, "{error:?}");
        if let Some(error) = error {
            assert!(
                error.contains(&format!("found a {} file", other.name())),
                "{error}"
            );
        }
    }
    let mut version = bytes.to_vec();
    version[8] = 77;
    assert_eq!(
        read(&version),
        Err(DecodeError::Version {
            found: 77,
            supported: kind.version()
        }
        .to_string())
    );
}

#[test]
fn hostile_models() {
    let bytes = SECRET.to_bytes().unwrap();
    torture(FileKind::Model, &bytes, |b| {
        let secret = Secret::from_bytes(b, LIMIT).map_err(|e| e.to_string())?;
        // What can be read can also be run, or says why not.
        secret.infer(&[vec![3.0; 16]]).ok();
        Ok(())
    });
}

#[test]
fn segments_and_quantized_models_survive() {
    let segment = &SECRET.segments()[0];
    let bytes = segment.to_bytes().unwrap();
    let read = Segment::from_bytes(&bytes, LIMIT).unwrap();
    assert_eq!(read.digest(), segment.digest());
    assert_eq!(read.to_bytes().unwrap(), bytes);
    let model = model();
    let bytes = quantized_to_bytes(&model).unwrap();
    let read = quantized_from_bytes(&bytes, LIMIT).unwrap();
    assert_eq!(quantized_to_bytes(&read).unwrap(), bytes);
    assert_eq!(
        (&read.program, &read.weights, &read.hints),
        (&model.program, &model.weights, &model.hints)
    );
}

#[test]
fn hostile_segments() {
    torture(
        FileKind::Segment,
        &SECRET.segments()[0].to_bytes().unwrap(),
        |b| {
            let segment = Segment::from_bytes(b, LIMIT);
            segment.map(|_| ()).map_err(|e| e.to_string())
        },
    );
}

#[test]
fn hostile_quantized_models() {
    torture(
        FileKind::Quantized,
        &quantized_to_bytes(&model()).unwrap(),
        |b| {
            let model = quantized_from_bytes(b, LIMIT).map_err(|e| e.to_string())?;
            let mut rng = ChaCha20Rng::seed_from_u64(1);
            Secret::commit(model, &mut rng).ok();
            Ok(())
        },
    );
}

#[test]
fn hostile_cards() {
    torture(FileKind::Card, &SECRET.card().to_bytes(), |b| {
        let card = Card::from_bytes(b, LIMIT).map_err(|e| e.to_string())?;
        Interface::from_card(&card).ok();
        Ok(())
    });
}

#[test]
fn hostile_proofs() {
    for visibility in visibilities() {
        let bytes = prove(&SECRET, &visibility).to_bytes();
        torture(FileKind::Proof, &bytes, |b| {
            Proof::from_bytes(b, LIMIT)
                .map(|_| ())
                .map_err(|e| e.to_string())
        });
    }
}

#[test]
fn a_model_cannot_ask_for_huge_parameters() {
    let bytes = SECRET.to_bytes().unwrap();
    let payload = open(FileKind::Model, &bytes, LIMIT).unwrap();
    let card = Reader::new(payload).blob().unwrap();
    // Larger than any that there are parameters for.
    for k in [Limits::owner().k + 1, 31, u32::MAX] {
        let mut w = Writer::default();
        w.blob(
            &Card {
                k,
                ..SECRET.card().clone()
            }
            .to_bytes(),
        );
        w.bytes.extend_from_slice(&payload[4 + card.len()..]);
        let error = Secret::from_bytes(&seal(FileKind::Model, &w.bytes), LIMIT).unwrap_err();
        assert!(
            matches!(
                error,
                ModelFileError::Model(CommitError::Plan(CardError::Limit { what: "k", .. }))
            ),
            "{error}"
        );
    }
}

#[test]
fn parts_that_do_not_belong_together() {
    let (one, two) = (
        &*SECRET,
        commit(zoo_with_other_names(), WeightVisibility::Hidden),
    );
    let swapped = Secret::from_parts(
        vec![(one.model().clone(), one.blinds().to_vec())],
        two.card().clone(),
        zkinfer_verifier::params::load(K).unwrap(),
    );
    let error = Secret::from_bytes(&swapped.unwrap().to_bytes().unwrap(), LIMIT).unwrap_err();
    assert!(
        matches!(error, ModelFileError::Model(CommitError::Mismatch)),
        "{error}"
    );
}

fn zoo_with_other_names() -> QuantizedModel {
    let mut model = model();
    model.inputs[0].name = "other".into();
    model
}

/// Limits of files of so many bytes.
fn within(bytes: usize) -> Limits {
    let mut limits = Limits::default();
    limits.card_bytes = bytes;
    limits
}

#[test]
fn json_of_cards() {
    let mut card = SECRET.card().clone();
    for info in [card.info.clone(), vec![], vec![0xff, 0]] {
        card.info = info;
        let text = card_to_json(&card).unwrap();
        assert_eq!(card_from_json(&text, &within(text.len())).unwrap(), card);
        assert!(text.contains(&card.digest().to_string()));
    }
    let text = card_to_json(SECRET.card()).unwrap();
    let edited = text.replace("scores", "SCORES");
    assert!(matches!(
        card_from_json(&edited, &within(LIMIT)),
        Err(FileError::Content)
    ));
    let error = card_from_json(&text, &within(text.len() - 1)).unwrap_err();
    assert!(
        matches!(error, FileError::Decode(DecodeError::TooLarge { .. })),
        "{error}"
    );
    torture_json(&text, |t| card_from_json(t, &within(LIMIT)).map(|_| ()));
    // What a card asks for is looked at before its points are decoded: these are none.
    let at = text.find("\"points\":\"").unwrap() + 10;
    let broken = format!("{}!{}", &text[..at], &text[at + 1..]);
    let changes: [fn(&mut Limits); 3] = [|l| l.k = 1, |l| l.info = 1, |l| l.points = 1];
    for narrow in changes {
        let mut limits = within(LIMIT);
        narrow(&mut limits);
        let error = card_from_json(&broken, &limits).unwrap_err();
        assert!(matches!(error, FileError::Limit(_)), "{error}");
    }
    assert!(card_from_json(&broken, &within(LIMIT)).is_err());
}

#[test]
fn json_of_proofs() {
    for visibility in visibilities() {
        let proof = prove(&SECRET, &visibility);
        let text = proof_to_json(&proof).unwrap();
        assert_eq!(proof_from_json(&text, text.len()).unwrap(), proof);
        torture_json(&text, |t| proof_from_json(t, LIMIT).map(|_| ()));
    }
}

fn torture_json(text: &str, read: impl Fn(&str) -> Result<(), FileError>) {
    let step = (text.len() / 300).max(1);
    for at in (0..text.len()).step_by(step) {
        assert!(read(&text[..at]).is_err());
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = b'!';
        read(&String::from_utf8_lossy(&bytes)).ok();
        bytes[at] = b'"';
        read(&String::from_utf8_lossy(&bytes)).ok();
    }
    let version = text.replace("\"version\":4", "\"version\":1");
    let error = read(&version).unwrap_err();
    assert!(
        matches!(
            error,
            FileError::Decode(DecodeError::Version {
                found: 1,
                supported: 4
            })
        ),
        "{error}"
    );
    let other = text
        .replacen("\"card\"", "\"x\"", 1)
        .replacen("\"proof\"", "\"x\"", 1);
    assert!(read(&other).is_err());
    let swapped = if text.contains("\"zkinfer\":\"card\"") {
        ("card", "proof")
    } else {
        ("proof", "card")
    };
    let swapped = text.replacen(
        &format!("\"{}\"", swapped.0),
        &format!("\"{}\"", swapped.1),
        1,
    );
    let error = read(&swapped).unwrap_err();
    assert!(
        matches!(error, FileError::Decode(DecodeError::Kind { .. })),
        "{error}"
    );
    assert!(read(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).is_err());
    assert!(read(&text.replacen('{', "{\"more\":1,", 1)).is_err());
    assert!(read(&format!("{text} 1")).is_err());
}

#[test]
fn interfaces_have_to_fit() {
    let good = model().interface("zoo");
    let card = |interface: &Interface| Card {
        info: interface.to_info().unwrap(),
        ..SECRET.card().clone()
    };
    assert_eq!(Interface::from_card(&card(&good)).unwrap(), good);
    let mut missing = good.clone();
    missing.outputs.pop();
    assert!(matches!(
        Interface::from_card(&card(&missing)),
        Err(CardInfoError::Count {
            which: "output",
            found: 1,
            expected: 2
        })
    ));
    let mut longer = good.clone();
    longer.inputs[0].shape = vec![usize::MAX, 17];
    assert!(matches!(
        Interface::from_card(&card(&longer)),
        Err(CardInfoError::Length {
            which: "input",
            expected: 16,
            ..
        })
    ));
    let mut zero = good.clone();
    zero.outputs[1].scale = vec![0.0];
    assert!(matches!(
        Interface::from_card(&card(&zero)),
        Err(CardInfoError::Tensor(_))
    ));
    let none = Card {
        info: vec![],
        ..SECRET.card().clone()
    };
    assert!(matches!(
        Interface::from_card(&none),
        Err(CardInfoError::Json(_))
    ));
}

#[test]
fn reals_and_integers() {
    let interface = model().interface("zoo");
    let integers: Vec<u16> = vec![0, 63, 1, 2, 3, 4, 5, 6, 7, 8];
    let reals = interface.dequantize_outputs(&integers).unwrap();
    assert_eq!(
        reals.iter().map(Vec::len).collect::<Vec<_>>(),
        interface.output_lens()
    );
    assert!(interface.dequantize_outputs(&integers[1..]).is_err());
    let inputs = vec![vec![1.0; 16]];
    let via_model: Vec<u32> = model().quantize_inputs(&inputs, false).unwrap().concat();
    let direct = interface.quantize_inputs(&inputs, 6).unwrap();
    assert_eq!(
        direct.iter().map(|&v| u32::from(v)).collect::<Vec<_>>(),
        via_model
    );
    let refused = |inputs: &[Vec<f32>]| {
        interface
            .quantize_inputs(inputs, 6)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refused(&[]), "0 input tensors are given, the model has 1");
    let name = &interface.inputs[0].name;
    for value in [f32::NAN, f32::INFINITY] {
        let expected = format!("tensor {name:?}: element 0 is {value}, not a finite number");
        assert_eq!(refused(&[vec![value; 16]]), expected);
    }
}

#[test]
fn digests_are_hexadecimal() {
    let digest = Digest::of("test", b"");
    assert_eq!(digest.to_string().len(), 64);
    let proof = Proof {
        card: digest,
        ..prove(&SECRET, &Visibility::default())
    };
    let text = proof_to_json(&proof).unwrap();
    assert!(text.contains(&digest.to_string()));
    let upper = text.replace(&digest.to_string(), &digest.to_string().to_uppercase());
    assert!(matches!(
        proof_from_json(&upper, LIMIT),
        Err(FileError::Digest { field: "card" })
    ));
}
