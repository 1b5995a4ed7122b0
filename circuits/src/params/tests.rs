use super::*;
use crate::card::seal;

fn made(k: u32) -> Vec<u8> {
    to_bytes(&Params::new(k)).unwrap()
}

#[test]
fn pinned_are_the_generated_ones() {
    for k in MIN_K..=10 {
        let bytes = made(k);
        assert_eq!(bytes.len(), file_len(k));
        let found = digest_of(&bytes[10..bytes.len() - 32]);
        assert_eq!(found, DIGESTS[(k - MIN_K) as usize], "k = {k}");
        assert_eq!(to_bytes(&from_bytes(&bytes).unwrap()).unwrap(), bytes);
    }
    assert!(is_pinned(MAX_PINNED_K) && !is_pinned(MAX_PINNED_K + 1) && !is_pinned(MIN_K - 1));
}

/// What somebody gains who chooses the generators: knowing how they relate, they open a commitment to anything.
#[test]
fn other_generators_are_refused() {
    let bytes = made(6);
    let payload = &bytes[10..bytes.len() - 32];
    let lie = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = payload.to_vec();
        change(&mut payload);
        from_bytes(&seal(FileKind::Params, &payload))
    };
    // Two generators swapped, one used twice, the two further points swapped, one negated: points all, and sealed.
    let lies: [&dyn Fn(&mut Vec<u8>); 4] = [
        &|p| p[4..68].rotate_left(32),
        &|p| p.copy_within(4..36, 36),
        &|p| p[4 + 128 * 32..].rotate_left(32),
        &|p| p[4 + 31] ^= 0x80,
    ];
    for lie_told in lies {
        assert!(matches!(lie(lie_told), Err(ReadError::Forged)));
    }
    assert!(from_bytes(&bytes).is_ok());
}

/// Makes the parameters whose digests are pinned; minutes of work, so only on request. `ZKINFER_K=17` makes those for one `k`.
#[test]
#[ignore = "takes minutes; run it with --ignored to check all pinned digests"]
fn digests() {
    let digest = |k: u32| {
        let bytes = made(k);
        let digest = digest_of(&bytes[10..bytes.len() - 32]);
        println!("{k} {digest}");
        digest
    };
    let one = std::env::var("ZKINFER_K").ok().map(|k| k.parse().unwrap());
    for k in one.map_or(MIN_K..=MAX_PINNED_K, |k: u32| k..=k) {
        assert_eq!(Some(digest(k).as_str()), pinned(k), "k = {k}");
    }
}
