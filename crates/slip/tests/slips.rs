//! What a host signs is what it says, and nobody else says it.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use zkinfer_circuits::transcript::Digest;
use zkinfer_slip::{
    Context, HostKey, PromiseTerms, RunId, SecretKey, Series, Slip, SlipError, SlipTerms,
};

/// RFC 8032, section 7.1, test 1: secret and public key.
const SECRET: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn key() -> SecretKey {
    SecretKey::from_text(SECRET).unwrap()
}

fn terms() -> SlipTerms {
    SlipTerms {
        slip_version: 1,
        host: key().public(),
        series: Series([1; 16]),
        sequence: 7,
        time: 1000,
        run: RunId([2; 16]),
        card: Digest([3; 32]),
        input: Digest([4; 32]),
        output: Digest([5; 32]),
        context: Context(vec![6, 7]),
        ask_until: 2000,
        prove_within: 500,
    }
}

#[test]
fn keys_are_those_of_the_standard() {
    assert_eq!(SECRET, key().to_text().trim());
    assert_eq!(PUBLIC, key().public().to_string());
    let mut rng = ChaCha20Rng::from_seed([0; 32]);
    let other = SecretKey::random(&mut rng);
    assert_ne!(other.public(), key().public());
    assert!(!format!("{other:?}").contains(other.to_text().trim()));
    // No key, a point of small order, upper case, too short.
    for text in [
        "",
        &format!("02{}", "00".repeat(31)),
        &"00".repeat(32),
        &PUBLIC.to_uppercase(),
        &PUBLIC[2..],
    ] {
        assert!(text.parse::<HostKey>().is_err(), "{text}");
    }
}

/// docs/host.md, byte for byte.
#[test]
fn the_signed_bytes_are_those_of_the_document() {
    let mut bytes = b"zkinfer slip\0\x01\0".to_vec();
    bytes.extend(key().public().bytes());
    bytes.extend([1; 16]);
    bytes.extend([7, 0, 0, 0, 0, 0, 0, 0, 0xe8, 3, 0, 0, 0, 0, 0, 0]);
    bytes.extend([2; 16]);
    bytes.extend([3; 32]);
    bytes.extend([4; 32]);
    bytes.extend([5; 32]);
    bytes.extend([2, 0, 0, 0, 0, 0, 0, 0, 6, 7]);
    bytes.extend([0xd0, 7, 0, 0, 0, 0, 0, 0, 0xf4, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(terms().bytes(), bytes);
}

#[test]
fn a_slip_in_json_is_the_same_slip() {
    let slip = terms().sign(&key());
    let json = serde_json::to_string(&slip).unwrap();
    let read: Slip = serde_json::from_str(&json).unwrap();
    assert_eq!(read, slip);
    read.check(&key().public()).unwrap();
    for (from, to) in [
        ("\"slip_version\":1", "\"slip_version\":1,\"more\":1"),
        ("\"0607\"", "\"060\""),
        ("\"0607\"", "\"06AB\""),
    ] {
        let changed = json.replace(from, to);
        assert_ne!(changed, json);
        assert!(serde_json::from_str::<Slip>(&changed).is_err(), "{changed}");
    }
}

#[test]
fn nothing_in_a_slip_can_be_changed() {
    let (slip, host) = (terms().sign(&key()), key().public());
    let refused = |change: &dyn Fn(&mut Slip)| {
        let mut changed = slip.clone();
        change(&mut changed);
        changed.check(&host).unwrap_err()
    };
    let changes: [&dyn Fn(&mut Slip); 11] = [
        &|s| s.terms.series.0[0] ^= 1,
        &|s| s.terms.sequence += 1,
        &|s| s.terms.time -= 1,
        &|s| s.terms.run.0[15] ^= 1,
        &|s| s.terms.card.0[0] ^= 1,
        &|s| s.terms.input.0[0] ^= 1,
        &|s| s.terms.output.0[31] ^= 1,
        &|s| s.terms.context.0.push(0),
        &|s| s.terms.ask_until += 1,
        &|s| s.terms.prove_within += 1,
        &|s| s.signature[0] ^= 1,
    ];
    for change in changes {
        assert_eq!(refused(change), SlipError::Signature { what: "slip" });
    }
    assert!(matches!(
        refused(&|s| s.terms.slip_version = 2),
        SlipError::Version { found: 2, .. }
    ));
    assert!(matches!(
        refused(&|s| s.terms.context.0 = vec![0; 257]),
        SlipError::Context { bytes: 257 }
    ));
    let other = SecretKey::random(&mut ChaCha20Rng::from_seed([0; 32]));
    assert!(matches!(
        slip.check(&other.public()),
        Err(SlipError::Host { .. })
    ));
    // Signed by another key in the host's name.
    let forged = terms().sign(&other);
    assert_eq!(
        forged.check(&host),
        Err(SlipError::Signature { what: "slip" })
    );
}

#[test]
fn promises_are_of_one_slip() {
    let slip = terms().sign(&key());
    let promise = PromiseTerms::of(&slip, 1500, 10).sign(&key());
    promise.check(&key().public()).unwrap();
    assert!(promise.is_of(&slip));
    assert_eq!((promise.terms.due, promise.terms.kept_until), (2000, 2010));
    let mut later = terms();
    later.sequence += 1;
    assert!(!promise.is_of(&later.sign(&key())));
    let mut changed = promise.clone();
    changed.terms.due += 1;
    assert_eq!(
        changed.check(&key().public()),
        Err(SlipError::Signature { what: "promise" })
    );
    // A promise is no slip's signature.
    let crossed = Slip {
        terms: terms(),
        signature: promise.signature,
    };
    assert!(crossed.check(&key().public()).is_err());
}

#[test]
fn two_slips_can_contradict_each_other() {
    let signed = |change: &dyn Fn(&mut SlipTerms)| {
        let mut terms = terms();
        change(&mut terms);
        terms.sign(&key())
    };
    let first = terms().sign(&key());
    assert!(!first.contradicts(&first));
    let cases: [(&dyn Fn(&mut SlipTerms), bool); 6] = [
        (&|t| t.output.0[0] ^= 1, true),
        (&|t| (t.sequence, t.time) = (8, 1000), false),
        (&|t| (t.sequence, t.time) = (8, 999), true),
        (&|t| (t.sequence, t.time) = (6, 1001), true),
        (&|t| (t.sequence, t.time) = (6, 10), false),
        (&|t| (t.series, t.time) = (Series([9; 16]), 10), false),
    ];
    for (change, contradicts) in cases {
        let second = signed(change);
        assert_eq!(
            (first.contradicts(&second), second.contradicts(&first)),
            (contradicts, contradicts)
        );
    }
}
