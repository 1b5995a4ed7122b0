use super::*;

fn key(number: u8) -> SecretKey {
    SecretKey::from_text(&format!("{number:064x}")).unwrap()
}

/// Three keys, two handovers.
fn list() -> KeyList {
    let mut list = KeyList::default();
    list.hand_over(&key(1), &key(2), 10).unwrap();
    list.hand_over(&key(2), &key(3), 20).unwrap();
    list
}

#[test]
fn each_key_leads_to_all() {
    let keys: Vec<HostKey> = (1..4).map(|n| key(n).public()).collect();
    let text = serde_json::to_string(&list()).unwrap();
    let read: KeyList = serde_json::from_str(&text).unwrap();
    assert_eq!(read, list());
    for known in &keys {
        assert_eq!(read.of(known).unwrap(), keys);
    }
    let stranger = key(4).public();
    assert_eq!(
        read.of(&stranger),
        Err(KeyListError::Unknown { key: stranger })
    );
    // A host that never handed over has one key.
    assert_eq!(KeyList::default().of(&stranger), Ok(vec![stranger]));
}

#[test]
fn lists_that_somebody_changed_are_refused() {
    let refused = |change: &dyn Fn(&mut KeyList)| {
        let mut changed = list();
        change(&mut changed);
        assert_ne!(changed, list());
        changed.of(&key(1).public()).unwrap_err()
    };
    let signature = KeyListError::Signature { number: 2 };
    assert_eq!(refused(&|l| l.handovers[1].time += 1), signature);
    assert_eq!(refused(&|l| l.handovers[1].signature[5] ^= 1), signature);
    assert_eq!(refused(&|l| l.handovers[1].accepted[5] ^= 1), signature);
    // To a key whose owner did not accept, by one who has the key before.
    let stolen = |l: &mut KeyList| {
        let mut other = Handover::sign(&key(2), &key(5), 20);
        other.accepted = Handover::sign(&key(5), &key(2), 20).accepted;
        l.handovers[1] = other;
    };
    assert_eq!(refused(&stolen), signature);
    // By somebody who does not have it.
    let forged = |l: &mut KeyList| {
        let mut other = Handover::sign(&key(5), &key(4), 20);
        other.from = key(2).public();
        l.handovers[1] = other;
    };
    assert_eq!(refused(&forged), signature);
    let broken = |number| KeyListError::Broken { number };
    assert_eq!(refused(&|l| l.handovers.swap(0, 1)), broken(2));
    let back = |l: &mut KeyList| l.handovers.push(Handover::sign(&key(3), &key(1), 30));
    assert_eq!(refused(&back), broken(3));
    let early = |l: &mut KeyList| l.handovers.push(Handover::sign(&key(3), &key(4), 19));
    assert_eq!(refused(&early), broken(3));
    assert_eq!(
        refused(&|l| l.key_list_version = 2),
        KeyListError::Version { found: 2 }
    );
    let long = |l: &mut KeyList| l.handovers = vec![l.handovers[0].clone(); MAX_HANDOVERS + 1];
    assert_eq!(
        refused(&long),
        KeyListError::Long {
            found: MAX_HANDOVERS + 1
        }
    );
    assert!(
        serde_json::from_str::<KeyList>("{\"key_list_version\":1,\"handovers\":[],\"more\":1}")
            .is_err()
    );
}

#[test]
fn only_the_newest_key_hands_over() {
    let mut own = list();
    assert_eq!(
        own.hand_over(&key(1), &key(4), 30),
        Err(KeyListError::Broken { number: 3 })
    );
    assert_eq!(own, list());
    // A clock that went back.
    own.hand_over(&key(3), &key(4), 5).unwrap();
    assert_eq!(own.handovers[2].time, 20);
}
