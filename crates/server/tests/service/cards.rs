//! `/v1/cards/{digest}`: what is kept, what is refused, what survives.

use crate::common::*;
use redb::{Database, TableDefinition};
use serde_json::json;
use zkinfer_circuits::card::Card;

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
    version[8] = 2;
    put(&version).expect(400, "wrong_version");
    put(&resealed("digits.card", |p| p.push(0))).expect(400, "trailing_bytes");
    put(&resealed("digits.card", |p| p.truncate(p.len() - 40))).expect(400, "truncated");
    // The last response of the support proof.
    put(&resealed("digits.card", |p| {
        let at = p.len() - 32;
        p[at] ^= 1
    }))
    .expect(422, "card_support");
    // T = 15.
    put(&resealed("digits.card", |p| p[0] = 15)).expect(422, "card_program");
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
    let service = Service::start(|config| config.limits.card_bytes = 5000);
    service.put("digits").expect(413, "too_large");
    let service = Service::start(|config| config.limits.columns = 10);
    service.put("digits").expect(422, "card_limit");
    let service = Service::start(|config| config.limits.program.elements = 10);
    service.put("digits").expect(422, "card_program");
    let service = Service::start(|config| config.store_cards = 1);
    assert_eq!(service.put("digits").status, 201);
    service.put("cnn").expect(507, "store_full");
    assert_eq!(service.put("digits").status, 200);
    let service = Service::start(|config| config.store_bytes = 10_000);
    assert_eq!(service.put("digits").status, 201);
    service.put("cnn").expect(507, "store_full");

    // Limits that became narrower.
    let folder = service.stop();
    let service = Service::again(folder, |config| config.limits.k = 8);
    service
        .verify(&question("digits", "digits_0.proof"))
        .expect(422, "card_limit");
    let json_please = [("accept", "application/json")];
    service
        .send("GET", &path("digits"), &json_please, b"")
        .expect(422, "card_limit");
    assert_eq!(service.get(&path("digits")).status, 200);
}

#[test]
fn who_may_add_cards() {
    let service = Service::start(|config| config.read_only = true);
    service.put("digits").expect(403, "read_only");

    let service = Service::start(|config| config.token = Some("s3cret".to_owned()));
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
