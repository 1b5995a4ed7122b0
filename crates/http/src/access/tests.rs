use super::*;

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn entry(name: &str, token: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        hash: hash(token),
        scopes: vec![Scope::Infer, Scope::Read],
        per_minute: None,
        per_day: None,
        expires: None,
    }
}

fn token(change: impl FnOnce(&mut Entry)) -> Token {
    let mut entry = entry("alice", SECRET);
    change(&mut entry);
    Token {
        entry,
        usage: Arc::new(Mutex::new(Usage {
            left: f64::INFINITY,
            at: Instant::now(),
            day: 0,
            used: 0,
        })),
    }
}

fn headers(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value.parse().unwrap());
    headers
}

fn refusal(refused: Refused) -> (u16, &'static str, Option<u64>) {
    (refused.0.status, refused.0.code, refused.1)
}

fn write(path: &Path, tokens: &[Entry]) {
    let file = TokenFile {
        tokens: tokens.to_vec(),
    };
    std::fs::write(path, serde_json::to_vec(&file).unwrap()).unwrap();
}

#[test]
fn the_hash_is_pinned() {
    // Python: hashlib.blake2b(token, digest_size=32, person=b"zkinfer-token")
    let known = "5b2cbf4e2672f16d42bff0136c900755d41cf01837128cd4e914d491ca388c0f";
    assert_eq!(hash(SECRET).to_string(), known);
}

#[test]
fn tokens_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let mut old = entry("old", "old");
    old.expires = Some(now() - 1);
    write(&path, &[entry("alice", SECRET), old]);
    let access = Access::open(&path).unwrap();
    let enter = |value: &str, scope| access.enter(&headers(value), scope).map_err(refusal);
    let good = format!("Bearer {SECRET}");
    assert_eq!(enter(&good, Scope::Infer).unwrap().name(), "alice");
    assert_eq!(
        enter(&format!("bearer  {SECRET} "), Scope::Read)
            .unwrap()
            .name(),
        "alice"
    );
    let forbidden = enter(&good, Scope::Prove).unwrap_err();
    assert_eq!(forbidden, (403, "forbidden", None));
    let unknown = Err((401, "unauthorized", None));
    for wrong in [
        "Bearer",
        "Bearer ",
        "Bearer old",
        &good[..good.len() - 1],
        &good.replace("Bearer", "Basic"),
        &format!("Bearer {}", hash(SECRET)),
    ] {
        let found = enter(wrong, Scope::Read).map(|_| ());
        assert_eq!(found, unknown, "{wrong}");
    }
    let none = access
        .enter(&HeaderMap::new(), Scope::Read)
        .map_err(refusal);
    assert_eq!(none.map(|_| ()), unknown);
}

#[test]
fn a_changed_file_is_read_again_and_what_was_used_stays_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let mut alice = entry("alice", SECRET);
    alice.per_day = Some(2);
    write(&path, &[alice.clone()]);
    let access = Access::open(&path).unwrap();
    let good = headers(&format!("Bearer {SECRET}"));
    access.enter(&good, Scope::Read).unwrap();
    write(&path, &[alice.clone(), entry("bob", "bob")]);
    access.refresh();
    access.enter(&headers("Bearer bob"), Scope::Read).unwrap();
    access.enter(&good, Scope::Read).unwrap();
    let used = access.enter(&good, Scope::Read).map_err(refusal);
    assert!(matches!(used, Err((429, "quota_used", Some(1..=86_400)))));
    // What cannot be used changes nothing.
    std::fs::write(&path, "{").unwrap();
    access.refresh();
    access.enter(&headers("Bearer bob"), Scope::Read).unwrap();
    write(&path, &[alice]);
    access.refresh();
    let gone = access.enter(&headers("Bearer bob"), Scope::Read);
    assert_eq!(gone.map_err(refusal).unwrap_err().0, 401);
}

#[test]
fn a_minute_has_so_many_requests_and_a_day() {
    let token = token(|e| (e.per_minute, e.per_day) = (Some(30), Some(40)));
    let start = Instant::now();
    let day = 20_000 * DAY;
    let count = |seconds: u64, time: u64| {
        let at = start + Duration::from_secs(seconds);
        token.count(at, time).map_err(refusal)
    };
    for _ in 0..30 {
        count(0, day).unwrap();
    }
    assert_eq!(count(0, day), Err((429, "rate_limited", Some(2))));
    // One in two seconds.
    assert_eq!(count(1, day), Err((429, "rate_limited", Some(1))));
    count(2, day).unwrap();
    assert!(count(2, day).is_err());
    // No more than thirty at once, however long nobody asked; and the day's number is over.
    for _ in 0..9 {
        count(1000, day + 1).unwrap();
    }
    assert_eq!(count(1000, day + 1), Err((429, "quota_used", Some(86_400))));
    assert_eq!(
        count(1000, day + DAY - 1),
        Err((429, "quota_used", Some(1)))
    );
    for _ in 0..21 {
        count(1000, day + DAY).unwrap();
    }
    assert_eq!(count(1000, day + DAY), Err((429, "rate_limited", Some(2))));
}

#[test]
fn files_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let says = |says: &str| {
        let error = Access::open(&path).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    says("cannot read the tokens");
    std::fs::write(&path, "{\"tokens\": [], \"more\": 1}").unwrap();
    says("unknown field");
    let text = serde_json::to_string(&entry("a", "a")).unwrap();
    std::fs::write(
        &path,
        format!("{{\"tokens\": [{}]}}", text.replace("infer", "all")),
    )
    .unwrap();
    says("unknown variant `all`");
    for tokens in [
        [entry("a", "a"), entry("a", "b")],
        [entry("a", "a"), entry("b", "a")],
        [entry("a", "a"), entry("b\n", "b")],
        [entry("", "a"), entry("b", "b")],
    ] {
        write(&path, &tokens);
        says("no name of a token, or there twice");
    }
    let mut none = entry("a", "a");
    none.per_day = Some(0);
    write(&path, &[none]);
    says("may make no request");
}
