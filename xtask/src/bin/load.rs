//! Load on the service, over loopback: good, bad and hostile requests at the same time. Fails if an answer is missing or
//! wrong.
//!
//! ```text
//! cargo xtask load -- [requests] [clients] [overload clients]
//! ```
//!
//! The service runs in a process of its own, so that its memory can be told from that of the clients. First come
//! `requests` requests of `clients` clients that wait for their answers, beside clients that are slow on purpose; then
//! `overload clients` more than the service takes, where 429 and 503 are right answers, too.

use base64::Engine;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use zkinfer_circuits::card::{FileKind, seal};
use zkinfer_server::{Config, Server};

#[path = "../service.rs"]
mod service;

use service::{Failure, PATIENCE, Service, call, digest, fixture, memory, request};

/// How long the service keeps a connection on which nothing happens, less what a timer may be early by.
const IDLE: Duration = Duration::from_millis(1900);
/// Requests that are sent before anything is measured.
const WARM_UP: usize = 500;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, folder] = arguments.as_slice()
        && what == "serve"
    {
        return serve(Path::new(folder));
    }
    let number = |i: usize, default: usize| arguments.get(i).map_or(Ok(default), |a| a.parse());
    let (requests, clients, overload) = (number(0, 20_000)?, number(1, 32)?, number(2, 400)?);

    let folder = tempfile::tempdir()?;
    let mut service = Service::start(folder.path())?;
    let kinds = kinds()?;
    for name in ["digits", "cnn"] {
        let put = request(
            "PUT",
            &format!("/v1/cards/{}", digest(name)?),
            "application/octet-stream",
            &fixture(&format!("{name}.card"))?,
        );
        assert_eq!(call(&mut connect(service.address)?, &put)?.0, 201);
    }
    phase(&service, &kinds, WARM_UP, clients, false)?;
    println!("{requests} requests, {clients} clients, 8 slow ones beside them");
    let before = memory(service.id())?;
    let result = phase(&service, &kinds, requests, clients, false)?;
    result.print();
    println!(
        "resident memory: {} kB before, {} kB after, {} kB at most",
        before.0,
        memory(service.id())?.0,
        memory(service.id())?.1
    );

    println!(
        "\noverload: {requests} requests, {overload} clients, queue of 32, 200 requests for each client"
    );
    let before = memory(service.id())?;
    let result = phase(&service, &kinds, requests, overload, true)?;
    result.print();
    println!(
        "resident memory: {} kB before, {} kB after, {} kB at most",
        before.0,
        memory(service.id())?.0,
        memory(service.id())?.1
    );
    service.stop()
}

/// The service's process.
fn serve(folder: &Path) -> Result<(), Failure> {
    let mut config = Config::default();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.store = folder.join("store.redb");
    config.open = true;
    config.queue = 32;
    config.client_requests = 200;
    config.client_connections = 500;
    config.header_timeout = Duration::from_secs(2);
    config.body_timeout = Duration::from_secs(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = Server::bind(config).await?;
        println!("{}", server.address());
        server.run(zkinfer_server::stop_signal()).await;
        Ok(())
    })
}

/// One kind of request, and the right answer.
struct Kind {
    name: &'static str,
    /// In twenty.
    share: usize,
    bytes: Vec<u8>,
    /// 0: not a whole request, and no answer.
    status: u16,
    check: fn(&Value) -> bool,
    proofs: usize,
}

fn kinds() -> Result<Vec<Kind>, Failure> {
    let accepted = |v: &Value| v["result"]["outcome"] == "accepted";
    let post = |path: &str, body: &Value| {
        request(
            "POST",
            path,
            "application/json",
            body.to_string().as_bytes(),
        )
    };
    let kind = |name, share, bytes, status, check, proofs| Kind {
        name,
        share,
        bytes,
        status,
        check,
        proofs,
    };
    let verify = |body: &Value| post("/v1/verify", body);
    let ask = |model: &str, proof: &[u8]| -> Result<Value, Failure> {
        let proof = base64::engine::general_purpose::STANDARD.encode(proof);
        Ok(json!({ "card": digest(model)?, "proof": proof, "context_text": model }))
    };
    let forged = |file: &str| -> Result<Vec<u8>, Failure> {
        let bytes = fixture(file)?;
        let mut payload = bytes[10..bytes.len() - 32].to_vec();
        let last = payload.len() - 32;
        payload[last] ^= 1;
        Ok(seal(FileKind::of(&bytes)?, &payload))
    };
    let digits = ask("digits", &fixture("digits_0.proof")?)?;
    let with = |name: &str, value: Value| {
        let mut changed = digits.clone();
        changed[name] = value;
        changed
    };
    let other = json!([{ "input": { "kind": "public", "values": vec![0; 64] } }]);
    let lie = ask("digits", &forged("digits_1.proof")?)?;
    let cnn = ask("cnn", &fixture("cnn_1.proof")?)?;
    let batch: Vec<&Value> = [&digits, &digits, &cnn, &lie]
        .into_iter()
        .cycle()
        .take(16)
        .collect();
    let card = format!("/v1/cards/{}", digest("digits")?);
    let mut damaged = fixture("digits.card")?;
    damaged[100] ^= 1;
    let huge = b"POST /v1/verify HTTP/1.1\r\nhost: load\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{";
    let kinds = vec![
        kind("accepted", 5, verify(&digits), 200, accepted, 1),
        kind("accepted, hidden", 1, verify(&ask("digits", &fixture("digits_hidden.proof")?)?), 200, accepted, 1),
        kind("accepted, convolutions", 2, verify(&cnn), 200, accepted, 1),
        kind("forged", 2, verify(&lie), 422, |v| v["result"]["code"] == "invalid_computation", 1),
        kind("another input", 1, verify(&with("expected", other)), 422, |v| v["result"]["code"] == "other_input", 1),
        kind("replayed", 1, verify(&with("once", json!(true))), 409, |v| v["code"] == "replayed", 0),
        kind("damaged proof", 1, verify(&ask("digits", &damaged)?), 400, |v| v["result"]["class"] == "malformed", 0),
        kind("unknown card", 1, verify(&with("card", json!("0".repeat(64)))), 404, |v| v["code"] == "unknown_card", 0),
        kind("batch of 16", 1, post("/v1/verify/batch", &json!({ "proofs": batch })), 200, |v| {
            let results = v["results"].as_array();
            let right = |(i, r): (usize, &Value)| r["status"] == if i % 4 == 3 { 422 } else { 200 };
            v["accepted"] == 12 && results.is_some_and(|r| r.len() == 16 && r.iter().enumerate().all(right))
        }, 16),
        kind("card again", 1, request("PUT", &card, "application/octet-stream", &fixture("digits.card")?), 200, |v| v["k"] == 9, 0),
        kind("damaged card", 1, request("PUT", &card, "application/octet-stream", &damaged), 400, |v| v["code"] == "damaged", 0),
        kind("deep JSON", 1, request("POST", "/v1/verify", "application/json", "[".repeat(200_000).as_bytes()), 400, |v| v["code"] == "malformed_request", 0),
        kind("huge body", 1, huge.to_vec(), 413, |v| v["code"] == "too_large", 0),
        kind("half a request", 1, b"POST /v1/verify HTTP/1.1\r\nhost: load\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"card\":".to_vec(), 0, |_| true, 0),
    ];
    assert_eq!(kinds.iter().map(|k| k.share).sum::<usize>(), 20);
    Ok(kinds)
}

/// What came out of a phase.
struct Outcome {
    time: Duration,
    /// By kind: how long each answer took, in seconds; how many were turned away.
    kinds: BTreeMap<&'static str, (Vec<f64>, usize)>,
    proofs: usize,
    /// Connections that the service closed because they were not used.
    idles: usize,
}

fn phase(
    service: &Service,
    kinds: &[Kind],
    requests: usize,
    clients: usize,
    overload: bool,
) -> Result<Outcome, Failure> {
    let deck: Vec<&Kind> = kinds
        .iter()
        .flat_map(|k| std::iter::repeat_n(k, k.share))
        .collect();
    // The first use of the context is accepted; whoever measures asks after that.
    let first = deck
        .iter()
        .find(|k| k.name == "replayed")
        .ok_or("no such kind")?;
    let status = call(&mut connect(service.address)?, &first.bytes)?.0;
    assert!([200, 409].contains(&status), "{status}");

    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let outcomes = Mutex::new(BTreeMap::<&'static str, (Vec<f64>, usize)>::new());
    let (proofs, idles) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = Instant::now();
    let failure = std::thread::scope(|scope| {
        let slow: Vec<_> = (0..8)
            .map(|i| {
                scope.spawn({
                    let over = &over;
                    move || slow(service.address, i, over)
                })
            })
            .collect();
        let work = || -> Result<(), Failure> {
            let mut stream = connect(service.address)?;
            let mut used = Instant::now();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return Ok(());
                }
                // A permutation, so that kinds are mixed.
                let kind = deck[number * 7 % deck.len()];
                let begun = Instant::now();
                if kind.status == 0 {
                    stream.write_all(&kind.bytes)?;
                    stream = connect(service.address)?;
                    used = Instant::now();
                    continue;
                }
                let idle = used.elapsed();
                let mut answer = call(&mut stream, &kind.bytes);
                if answer.is_err() && idle > IDLE {
                    // The service closed a connection that was not used for long; nobody has read the request.
                    idles.fetch_add(1, Ordering::Relaxed);
                    stream = connect(service.address)?;
                    answer = call(&mut stream, &kind.bytes);
                }
                used = Instant::now();
                let (status, body, close) =
                    answer.map_err(|e| format!("{}: no answer: {e}, idle {idle:?}", kind.name))?;
                let took = begun.elapsed().as_secs_f64();
                let value: Value = serde_json::from_slice(&body)?;
                let turned_away = overload && [429, 503].contains(&status);
                if !(turned_away || status == kind.status && (kind.check)(&value)) {
                    return Err(format!("{}: {status} {value}", kind.name).into());
                }
                let mut outcomes = outcomes.lock().map_err(|_| "a client panicked")?;
                let entry = outcomes.entry(kind.name).or_default();
                if turned_away {
                    entry.1 += 1;
                } else {
                    entry.0.push(took);
                    proofs.fetch_add(kind.proofs, Ordering::Relaxed);
                }
                drop(outcomes);
                if close {
                    stream = connect(service.address)?;
                    used = Instant::now();
                }
            }
        };
        let workers: Vec<_> = (0..clients).map(|_| scope.spawn(work)).collect();
        let mut failure = None;
        for worker in workers {
            if let Ok(Err(error)) = worker.join() {
                failure.get_or_insert(error);
            }
        }
        over.store(true, Ordering::Relaxed);
        slow.into_iter().for_each(|s| {
            let _ = s.join();
        });
        failure
    });
    let time = start.elapsed();
    if let Some(failure) = failure {
        return Err(failure);
    }
    let kinds = outcomes.into_inner().map_err(|_| "a client panicked")?;
    Ok(Outcome {
        time,
        kinds,
        proofs: proofs.into_inner(),
        idles: idles.into_inner(),
    })
}

impl Outcome {
    fn print(&self) {
        let mut all: Vec<f64> = Vec::new();
        println!(
            "{:24} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "request", "answers", "p50 ms", "p95 ms", "p99 ms", "429/503"
        );
        let line = |name: &str, times: &mut Vec<f64>, away: usize| {
            times.sort_by(f64::total_cmp);
            let at = |q: f64| {
                times
                    .get(((times.len() as f64 - 1.0) * q) as usize)
                    .map_or(0.0, |t| t * 1e3)
            };
            println!(
                "{name:24} {:>8} {:>8.1} {:>8.1} {:>8.1} {away:>8}",
                times.len(),
                at(0.5),
                at(0.95),
                at(0.99)
            );
        };
        let mut turned_away = 0;
        for (name, (times, away)) in &self.kinds {
            line(name, &mut times.clone(), *away);
            all.extend(times);
            turned_away += away;
        }
        line("all", &mut all, turned_away);
        let seconds = self.time.as_secs_f64();
        let answers = all.len() + turned_away;
        println!(
            "{seconds:.1} s: {:.0} answers and {:.0} checked proofs in a second; nothing lost, nothing wrong; {} idle connections were opened again",
            answers as f64 / seconds,
            self.proofs as f64 / seconds,
            self.idles
        );
    }
}

/// A client that sends a byte now and then, and begins again when it is thrown out.
fn slow(address: SocketAddr, number: usize, over: &AtomicBool) {
    let head: &[u8] = if number.is_multiple_of(2) {
        b"POST /v1/verify HTTP/1.1\r\nx: "
    } else {
        b"POST /v1/verify HTTP/1.1\r\nhost: load\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
    };
    while !over.load(Ordering::Relaxed) {
        let Ok(mut stream) = connect(address) else {
            continue;
        };
        for byte in head.iter().chain(std::iter::repeat(&b' ')) {
            if over.load(Ordering::Relaxed) || stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
