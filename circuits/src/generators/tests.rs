use super::*;

#[test]
fn they_are_upstreams() {
    for k in MIN_K..=9 {
        let made = Generators::new(k);
        let params = Params::<C>::new(k);
        assert_eq!(made, Generators::of(&params));
        // Upstream's file: k, `g`, the Lagrange base, `w`, `u`, all compressed.
        let mut bytes = Vec::new();
        params.write(&mut bytes).unwrap();
        let compressed = |p: &C| group::GroupEncoding::to_bytes(p);
        assert_eq!(bytes[4 + (64 << k)..][..32], compressed(&made.w));
        assert_eq!(bytes[4 + (64 << k)..][32..], compressed(&made.u));
        assert_eq!(bytes[4..][..32], compressed(&made.g[0]));
        assert_eq!(made.points().count(), made.g.len() + 2);
    }
}

#[test]
fn pinned_are_the_generated_ones() {
    let largest = Generators::new(10);
    for k in MIN_K..=10 {
        let made = Generators::new(k);
        assert_eq!(made.g, largest.g[..1 << k], "the first ones of more");
        assert_eq!(
            Some(digest_of(&made.payload()).as_str()),
            pinned(k),
            "k = {k}"
        );
        let bytes = made.to_bytes();
        assert_eq!(bytes.len(), file_len(k));
        assert_eq!(Generators::from_bytes(&bytes).unwrap(), made);
        let of_more = &largest.payload()[4..];
        assert_eq!(Generators::trusted(k, of_more).unwrap(), made);
        assert_eq!(Generators::trusted(11, of_more), None);
    }
    assert!(is_pinned(MAX_PINNED_K) && !is_pinned(MAX_PINNED_K + 1) && !is_pinned(MIN_K - 1));
}

/// What somebody gains who chooses the generators: knowing how they relate, they open a commitment to anything.
#[test]
fn other_generators_are_refused() {
    let honest = Generators::new(6).payload();
    let lie = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = honest.clone();
        change(&mut payload);
        Generators::from_bytes(&seal(FileKind::Generators, &payload))
    };
    // Two generators swapped, one used twice, the two further points swapped, one negated: points all, and sealed. One that
    // is no point.
    let negate = |p: &mut Vec<u8>| {
        let y = Generators::trusted(6, &p[4..]).unwrap().w;
        let y = *(-y).coordinates().unwrap().y();
        p[4 + 32..4 + 64].copy_from_slice(&y.to_repr());
    };
    let lies: [&dyn Fn(&mut Vec<u8>); 5] = [
        &negate,
        &|p| p[4 + 128..4 + 256].rotate_left(64),
        &|p| p.copy_within(4 + 128..4 + 192, 4 + 192),
        &|p| p[4..4 + 128].rotate_left(64),
        &|p| p[4 + 32] ^= 1,
    ];
    for lie_told in lies {
        assert!(matches!(lie(lie_told), Err(ReadError::Forged)));
    }
    assert!(lie(&|_| ()).is_ok());
    assert!(matches!(
        lie(&|p| p[0] = 5),
        Err(ReadError::OtherK { found: 5 })
    ));
    assert!(matches!(lie(&|p| p[0] = 7), Err(ReadError::Decode(_))));
    assert!(matches!(lie(&|p| p.push(0)), Err(ReadError::Decode(_))));
    let no_point = honest[4..].iter().map(|b| b ^ 1).collect::<Vec<u8>>();
    assert_eq!(Generators::trusted(6, &no_point), None);
}

/// All of them.
#[test]
#[cfg_attr(debug_assertions, ignore = "takes a minute without optimisation")]
fn digests() {
    let largest = Generators::new(MAX_PINNED_K);
    let digest = |k| {
        let made = Generators::with(k, largest.g[..1 << k].to_vec());
        digest_of(&made.payload())
    };
    let digests: Vec<String> = (MIN_K..=MAX_PINNED_K).map(digest).collect();
    assert_eq!(digests, DIGESTS);
}
