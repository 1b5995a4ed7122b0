//! `/v1/cards/{digest}`: what is kept, what is refused, what survives.

use crate::common::*;
use group::GroupEncoding;
use redb::{Database, TableDefinition};
use serde_json::json;
use zkinfer_circuits::card::{Card, Proof};

const CARDS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("cards");

fn path(name: &str) -> String {
    format!("/v1/cards/{}", digest(name))
}

#[test]
fn put_get_restart() {
    let service = Service::start(|_| {});
    service.get(&path("digits")).expect(404, "unknown_card");
    service
        .verify(&question("digits", "digits_0.proof"))
        .expect(404, "unknown_card");
    let description = service.put("digits");
    assert_eq!(description.status, 201);
    assert_eq!(description.json()["digest"], digest("digits"));
    assert_eq!(description.json()["bytes"], fixture("digits.card").len());
    assert_eq!(description.json()["inputs"], 64);
    // Again changes nothing.
    let again = service.put("digits");
    assert_eq!((again.status, again.json()), (200, description.json()));
    let declared = [("content-type", "application/octet-stream")];
    let answer = service.send("PUT", &path("digits"), &declared, &fixture("digits.card"));
    assert_eq!(answer.status, 200);

    let folder = service.stop();
    let service = Service::again(folder, |_| {});
    let card = service.get(&path("digits"));
    assert_eq!(
        (card.status, card.kind()),
        (200, "application/octet-stream")
    );
    assert_eq!(card.body, fixture("digits.card"));
    let answer = service.send(
        "GET",
        &path("digits"),
        &[("accept", "text/html, application/json;q=0.5")],
        b"",
    );
    assert_eq!(answer.json(), description.json());
    service
        .verify(&question("digits", "digits_0.proof"))
        .expect(200, "accepted");
    assert_eq!(service.metric("zkinfer_store_cards"), 1.0);
    let bytes = fixture("digits.card").len() as f64;
    assert_eq!(service.metric("zkinfer_store_card_bytes"), bytes);
}

/// A model of several segments is a card and a proof like any other.
#[test]
fn models_of_segments_are_served() {
    let service = Service::start(|_| {});
    let described = service.put("parts");
    assert_eq!(described.status, 201);
    assert_eq!(described.json()["segments"], 3);
    for proof in ["parts_0.proof", "parts_3.runs"] {
        service
            .verify(&question("parts", proof))
            .expect(200, "accepted");
    }
    let bytes = fixture("parts_0.proof");
    let mut proof = Proof::from_bytes(&bytes, bytes.len()).unwrap();
    proof.segments[1] = proof.segments[0].clone();
    let lie = asking("parts", &proof.to_bytes());
    service.verify(&lie).expect(400, "malformed_proof");
}

#[test]
fn cards_that_are_refused() {
    let service = Service::start(|_| {});
    let put = |bytes: &[u8]| service.send("PUT", &path("digits"), &[], bytes);
    let card = fixture("digits.card");
    put(b"").expect(400, "truncated");
    put(b"something else entirely").expect(400, "not_zkinfer");
    put(&fixture("digits_0.proof")).expect(400, "wrong_kind");
    put(&card[..card.len() - 1]).expect(400, "damaged");
    let mut version = card.clone();
    version[8] = 1;
    put(&version).expect(400, "wrong_version");
    put(&resealed("digits.card", |p| p.push(0))).expect(400, "trailing_bytes");
    put(&resealed("digits.card", |p| p.truncate(p.len() - 40))).expect(400, "truncated");
    // The last response of the support proof.
    put(&resealed("digits.card", |p| {
        let at = p.len() - 32;
        p[at] ^= 1
    }))
    .expect(422, "card_support");
    // T = 15, behind k, the description and the number of segments.
    put(&resealed("digits.card", |p| {
        let info = u32::from_le_bytes([p[4], p[5], p[6], p[7]]) as usize;
        p[8 + info + 4] = 15
    }))
    .expect(422, "card_program");
    put(&fixture("cnn.card")).expect(422, "other_card");
    for digest in [
        "",
        "abc",
        &digest("digits").to_uppercase(),
        &"0".repeat(65),
        "%00",
        "..%2f..%2fetc",
        "%ff",
    ] {
        let answer = service.send("PUT", &format!("/v1/cards/{digest}"), &[], &card);
        if digest.is_empty() {
            answer.expect(404, "not_found");
        } else {
            answer.expect(400, "malformed_digest");
            service
                .get(&format!("/v1/cards/{digest}"))
                .expect(400, "malformed_digest");
        }
    }
    let text = [("content-type", "text/plain")];
    service
        .send("PUT", &path("digits"), &text, &card)
        .expect(415, "unsupported_media_type");
    assert_eq!(service.metric("zkinfer_store_cards"), 0.0);
    assert_eq!(service.get(&path("digits")).status, 404);
}

#[test]
fn another_file_of_a_known_card() {
    // The digest binds everything but the support proof: one with a wrong support proof is refused although the card is
    // known, and the one that is kept stays.
    let service = Service::with_cards(|_| {});
    let wrong = resealed("digits.card", |p| {
        let at = p.len() - 32;
        p[at] ^= 1
    });
    service
        .send("PUT", &path("digits"), &[], &wrong)
        .expect(422, "card_support");
    assert_eq!(service.get(&path("digits")).body, fixture("digits.card"));
}

#[test]
fn cards_beyond_the_limits() {
    let service = Service::start(|config| config.limits.k = 8);
    service.put("digits").expect(422, "card_limit");
    let service = Service::start(|config| config.limits.card_bytes = 2500);
    service.put("digits").expect(413, "too_large");
    let service = Service::start(|config| config.limits.columns = 10);
    service.put("digits").expect(422, "card_limit");
    let service = Service::start(|config| config.limits.program.slots = 10);
    service.put("digits").expect(422, "card_program");
    let operators = |change: fn(&mut zkinfer_server::Config)| {
        let service = Service::start(|config| {
            config.token = Some("s3cret".to_owned());
            change(config);
        });
        let put = |name: &str| {
            let bearer = [("authorization", "Bearer s3cret")];
            let bytes = fixture(&format!("{name}.card"));
            service.send("PUT", &path(name), &bearer, &bytes)
        };
        assert_eq!(put("digits").status, 201);
        put("cnn").expect(507, "store_full");
        assert_eq!(put("digits").status, 200);
        service
    };
    operators(|config| config.store_cards = 1);
    operators(|config| config.store_bytes = 3_500);
}

/// The reason is the limit's, not a failure of the service.
#[test]
fn limits_that_became_narrower() {
    let mut folder = Service::with_cards(|_| {}).stop();
    let cases: [(fn(&mut zkinfer_server::Config), u16, &str); 5] = [
        (|c| c.limits.k = 8, 422, "card_limit"),
        (|c| c.limits.points = 3, 422, "card_limit"),
        (|c| c.limits.info = 10, 422, "card_limit"),
        (|c| c.limits.program.slots = 10, 422, "card_program"),
        (|c| c.limits.card_bytes = 2500, 413, "too_large"),
    ];
    for (narrow, status, code) in cases {
        let service = Service::again(folder, narrow);
        let answer = service.verify(&question("digits", "digits_0.proof"));
        answer.expect(status, code);
        // Once is enough to know: who asks again does not have it decoded again.
        let misses = service.metric("zkinfer_cache_misses_total");
        let answer = service.verify(&question("digits", "digits_0.proof"));
        answer.expect(status, code);
        assert_eq!(service.metric("zkinfer_cache_misses_total"), misses);
        let json_please = [("accept", "application/json")];
        let answer = service.send("GET", &path("digits"), &json_please, b"");
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert_eq!(service.get(&path("digits")).status, 200);
        folder = service.stop();
    }
}

/// Points take a square root each: what a card asks for is looked at before.
#[test]
fn cards_are_refused_before_their_points_are_decoded() {
    let service = Service::start(|_| {});
    let put = |change: &dyn Fn(&mut Card)| {
        let mut card = Card::from_bytes(&fixture("digits.card"), 1 << 20).unwrap();
        let point = zkinfer_circuits::C::to_bytes(&card.segments[0].points[0]);
        change(&mut card);
        // No points of the curve.
        let mut bytes = card.to_bytes()[10..].to_vec();
        bytes.truncate(bytes.len() - 32);
        let size = point.as_ref().len();
        let at = bytes.windows(size).position(|w| w == point.as_ref());
        let at = at.unwrap();
        bytes[at..at + size].fill(0xff);
        let bytes = zkinfer_circuits::card::seal(zkinfer_circuits::card::FileKind::Card, &bytes);
        service.send("PUT", &path("digits"), &[], &bytes)
    };
    put(&|_| {}).expect(400, "invalid_field");
    put(&|card| card.k = 15).expect(422, "card_limit");
    put(&|card| card.info = vec![b' '; (1 << 16) + 1]).expect(422, "card_limit");
    let points = |card: &mut Card| {
        let points = &mut card.segments[0].points;
        *points = vec![points[0]; (1 << 16) + 1];
    };
    put(&points).expect(422, "card_limit");
}

/// Cards that anybody may have sent make room for others; the operator's do not.
#[test]
fn strangers_do_not_fill_the_store_for_ever() {
    let service = Service::start(|config| {
        config.token = Some("s3cret".to_owned());
        config.anybody_cards = 1;
    });
    assert_eq!(service.put("digits").status, 201);
    assert_eq!(service.put("cnn").status, 201);
    service.get(&path("digits")).expect(404, "unknown_card");
    // It is gone from memory, too.
    service
        .verify(&question("digits", "digits_0.proof"))
        .expect(404, "unknown_card");
    assert_eq!(service.get(&path("cnn")).status, 200);
    let bearer = [("authorization", "Bearer s3cret")];
    // The operator's word makes a stranger's card the operator's.
    let answer = service.send("PUT", &path("cnn"), &bearer, &fixture("cnn.card"));
    assert_eq!(answer.status, 200);
    assert_eq!(service.put("digits").status, 201);
    for name in ["digits", "cnn"] {
        let proof = question(name, &format!("{name}_0.proof"));
        service.verify(&proof).expect(200, "accepted");
    }
    let bytes = fixture("digits.card").len() + fixture("cnn.card").len();
    assert_eq!(service.metric("zkinfer_store_cards"), 2.0);
    assert_eq!(service.metric("zkinfer_store_card_bytes"), bytes as f64);
    let service = Service::start(|config| config.anybody_bytes = 3_500);
    assert_eq!(service.put("digits").status, 201);
    service.put("cnn").expect(507, "store_full");
    assert_eq!(service.get(&path("digits")).status, 200);
}

/// Used contexts have a file of their own, and those of an older store are taken over.
#[test]
fn contexts_and_cards_are_kept_apart() {
    let once = |name: &str| {
        let question = question(name, &format!("{name}_0.proof"));
        with(question, json!({ "once": true }))
    };
    let service = Service::with_cards(|_| {});
    service.verify(&once("digits")).expect(200, "accepted");
    let folder = service.stop();
    let (cards, contexts) = ("store.redb", "store-contexts.redb");
    // Back to how version 1 had it: contexts in the file of the cards.
    const CONTEXTS: TableDefinition<[u8; 32], u64> = TableDefinition::new("contexts");
    const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
    use redb::{ReadableDatabase, ReadableTable};
    let from = Database::open(folder.path().join(contexts)).unwrap();
    let to = Database::open(folder.path().join(cards)).unwrap();
    let write = to.begin_write().unwrap();
    {
        let old = from.begin_read().unwrap().open_table(CONTEXTS).unwrap();
        let mut new = write.open_table(CONTEXTS).unwrap();
        for entry in old.iter().unwrap() {
            let (key, until) = entry.unwrap();
            new.insert(key.value(), until.value()).unwrap();
        }
        write
            .open_table(META)
            .unwrap()
            .insert("version", 1)
            .unwrap();
        let expiries = redb::MultimapTableDefinition::<u64, [u8; 32]>::new("expiries");
        write.open_multimap_table(expiries).unwrap();
    }
    write.commit().unwrap();
    drop((from, to));
    std::fs::remove_file(folder.path().join(contexts)).unwrap();
    let service = Service::again(folder, |_| {});
    service.verify(&once("digits")).expect(409, "replayed");
    service.verify(&once("cnn")).expect(200, "accepted");
    assert_eq!(service.metric("zkinfer_store_contexts"), 2.0);
    // Twice is no harm.
    let service = Service::again(service.stop(), |_| {});
    service.verify(&once("digits")).expect(409, "replayed");
}

#[test]
fn who_may_add_cards() {
    let service = Service::start(|config| config.read_only = true);
    service.put("digits").expect(403, "read_only");
    // Nobody, unless the operator says so.
    assert!(!zkinfer_server::Config::default().open);
    let service = Service::start(|config| config.open = false);
    service.put("digits").expect(403, "read_only");

    let service = Service::start(|config| {
        config.open = false;
        config.token = Some("s3cret".to_owned());
    });
    service.put("digits").expect(401, "unauthorized");
    let put = |value: &str| {
        service.send(
            "PUT",
            &path("digits"),
            &[("authorization", value)],
            &fixture("digits.card"),
        )
    };
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3cret2",
        "Basic s3cret",
        "s3cret",
    ] {
        let answer = put(wrong);
        answer.expect(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(put("bearer s3cret").status, 201);
    // Whoever verifies needs none.
    service
        .verify(&question("digits", "digits_0.proof"))
        .expect(200, "accepted");
}

#[test]
fn a_damaged_store_is_not_believed() {
    let folder = Service::with_cards(|_| {}).stop();
    let database = Database::open(folder.path().join("store.redb")).unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut cards = write.open_table(CARDS).unwrap();
        let key = |file: &str| {
            Card::from_bytes(&fixture(file), 1 << 20)
                .unwrap()
                .digest()
                .0
        };
        // One card under the digest of another one, and one that is damaged.
        let cnn = fixture("cnn.card");
        cards.insert(key("digits.card"), cnn.as_slice()).unwrap();
        cards
            .insert(key("cnn.card"), b"damaged".as_slice())
            .unwrap();
    }
    write.commit().unwrap();
    drop(database);
    let service = Service::again(folder, |_| {});
    service
        .verify(&question("digits", "digits_0.proof"))
        .expect(500, "internal");
    service
        .verify(&question("cnn", "cnn_0.proof"))
        .expect(500, "internal");
    let batch = service.post(
        "/v1/verify/batch",
        &json!({ "proofs": [question("cnn", "cnn_0.proof")] }),
    );
    assert_eq!(batch.json()["results"][0]["status"], 500);
    service
        .send("PUT", &path("cnn"), &[], b"damaged")
        .expect(500, "internal");
}

#[test]
fn a_store_belongs_to_one_process() {
    let service = Service::start(|_| {});
    let mut config = zkinfer_server::Config::default();
    config.listen = ([127, 0, 0, 1], 0).into();
    config.store = service.folder.as_ref().unwrap().path().join("store.redb");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let error = runtime
        .block_on(zkinfer_server::Server::bind(config.clone()))
        .unwrap_err();
    assert!(
        error.to_string().contains("another process has it open"),
        "{error}"
    );

    // Something else is not overwritten.
    config.store = service.folder.as_ref().unwrap().path().join("text");
    std::fs::write(&config.store, "a text that is no store").unwrap();
    runtime
        .block_on(zkinfer_server::Server::bind(config.clone()))
        .unwrap_err();
    assert_eq!(
        std::fs::read(&config.store).unwrap(),
        b"a text that is no store"
    );
}

#[test]
fn cards_in_memory_are_few() {
    let service = Service::with_cards(|config| config.cache_cards = 1);
    for _ in 0..3 {
        service
            .verify(&question("digits", "digits_0.proof"))
            .expect(200, "accepted");
        service
            .verify(&question("cnn", "cnn_0.proof"))
            .expect(200, "accepted");
        assert_eq!(service.metric("zkinfer_cache_cards"), 1.0);
    }
    assert!(service.metric("zkinfer_cache_misses_total") >= 5.0);
    let service = Service::with_cards(|config| config.cache_bytes = 1);
    service
        .verify(&question("digits", "digits_0.proof"))
        .expect(200, "accepted");
    assert_eq!(service.metric("zkinfer_cache_cards"), 1.0);
}

#[test]
fn tokens_of_a_file_say_who_adds_cards_and_who_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.json");
    let of = |name: &str, scope: &str| {
        let hash = zkinfer_http::access::hash(name);
        json!({ "name": name, "hash": hash, "scopes": [scope] })
    };
    let file =
        json!({ "tokens": [of("adds", "cards"), of("asks", "verify"), of("reads", "read")] });
    std::fs::write(&tokens, file.to_string()).unwrap();
    let service = Service::start(|config| {
        config.open = false;
        config.tokens = Some(tokens);
    });
    let send = |who: &str, method: &str, path: &str, body: &[u8]| {
        let bearer = format!("Bearer {who}");
        let json = ("content-type", "application/json");
        let headers = [("authorization", bearer.as_str()), json];
        let headers = if method == "POST" {
            &headers[..]
        } else {
            &headers[..1]
        };
        service.send(method, path, headers, body)
    };
    let card = fixture("digits.card");
    for who in ["asks", "reads"] {
        send(who, "PUT", &path("digits"), &card).expect(403, "forbidden");
    }
    assert_eq!(send("adds", "PUT", &path("digits"), &card).status, 201);
    let question = question("digits", "digits_0.proof").to_string();
    assert_eq!(
        send("asks", "POST", "/v1/verify", question.as_bytes()).status,
        200
    );
    send("adds", "POST", "/v1/verify", question.as_bytes()).expect(403, "forbidden");
    assert_eq!(send("reads", "GET", &path("digits"), b"").status, 200);
    service.get(&path("digits")).expect(401, "unauthorized");
    assert_eq!(service.get("/health/ready").status, 200);
}
