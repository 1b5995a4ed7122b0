//! What strangers send to a service: cards that ask for much, proofs that show nothing, bodies that swell, connections that
//! do nothing.

use crate::empty::{self, card};
use crate::service::{Failure, call, digest, fixture, request};
use crate::{Target, connect};
use base64::Engine;
use serde_json::{Value, json};
use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use zkinfer_circuits::card::Card;
use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights,
};
use zkinfer_circuits::verify::{Limits, Verifier};
use zkinfer_verifier::verifier;

type Act = Box<dyn Fn(&Target, IpAddr, usize, &AtomicBool, &AtomicUsize) + Send + Sync>;

/// One way to do harm.
pub struct Attack {
    pub name: &'static str,
    /// Threads, and how many addresses they share.
    pub clients: usize,
    pub addresses: usize,
    /// Until it is told that it is over; counts what it sent.
    pub act: Act,
}

pub fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Cards of one's own, made for harm.
pub struct Bait {
    /// With as long a description as may be (first) or more.
    described: Vec<Card>,
    /// With a wiring that takes long to sum up.
    wired: Card,
    digits: Verifier,
}

impl Bait {
    pub fn new() -> Result<Bait, Failure> {
        let digits = Card::from_bytes(&fixture("digits.card")?, 1 << 20)?;
        let info: Value = serde_json::from_slice(&digits.info)?;
        let described = [60_000, 7_900_000].map(|bytes| {
            let mut info = info.clone();
            info["name"] = Value::from("n".repeat(bytes));
            card(
                digits.segments[0].program.clone(),
                digits.k,
                info.to_string().into_bytes(),
            )
        });
        let [small, large] = described;
        Ok(Bait {
            described: vec![small?, large?],
            wired: card(wiring(8192, 1024), 11, Vec::new())?,
            digits: verifier(digits, &Limits::default())?,
        })
    }

    /// Adds the cards. All but the last, which describes too much, have to be taken: without them nothing is attacked.
    pub fn put(&self, target: &Target) -> Result<(), Failure> {
        let mut named = vec![("wiring", &self.wired, true)];
        let described = self.described.iter().zip([true, false]);
        named.extend(described.map(|(card, taken)| ("description", card, taken)));
        for (name, card, taken) in named {
            let bytes = card.to_bytes();
            let path = format!("/v1/cards/{}", card.digest());
            let put = request("PUT", &path, "application/octet-stream", &bytes);
            let mut stream = connect(target.address, IpAddr::from([127, 0, 0, 9]))?;
            let (status, body, _) = call(&mut stream, &put)?;
            println!("a card of {} bytes for its {name}: {status}", bytes.len());
            if taken != matches!(status, 200 | 201) {
                return Err(String::from_utf8_lossy(&body).into());
            }
        }
        Ok(())
    }
}

/// One matrix over the same input at many positions: few bytes, many elements.
fn wiring(positions: u32, inputs: u32) -> Program {
    let view = View {
        loops: vec![positions, inputs],
        axes: vec![Axis {
            extent: inputs,
            offset: 0,
            strides: vec![0, 1],
        }],
    };
    let neurons = Neurons {
        groups: 1,
        outputs: 1,
        positions,
        unit: Unit::RELU,
        terms: vec![Term {
            patches: ValueRef::new(1),
            inputs,
            weights: Weights::Committed,
        }],
    };
    Program {
        range_bits: 8,
        tables: Vec::new(),
        nodes: vec![
            Node::Input { len: inputs },
            Node::View {
                source: ValueRef::new(0),
                view,
            },
            Node::Neurons(neurons),
        ],
        outputs: vec![2],
    }
}

fn post(path: &str, body: &str) -> Vec<u8> {
    request("POST", path, "application/json", body.as_bytes())
}

/// Sends the same again and again, whatever is answered.
fn send(name: &'static str, clients: usize, addresses: usize, requests: Vec<Vec<u8>>) -> Attack {
    let act = move |target: &Target, from, number: usize, over: &AtomicBool, sent: &AtomicUsize| {
        for bytes in requests.iter().cycle().skip(number) {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let Ok(mut stream) = connect(target.address, from) else {
                continue;
            };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(3)));
            let answer = call(&mut stream, bytes);
            sent.fetch_add(1, Ordering::Relaxed);
            if !answer.is_ok_and(|(status, ..)| status < 429) {
                // Nobody is made to spin.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    };
    Attack {
        name,
        clients,
        addresses,
        act: Box::new(act),
    }
}

/// Opens connections and leaves them alone; `first` is all that is sent on one.
fn idle(name: &'static str, each: usize, addresses: usize, first: Vec<u8>) -> Attack {
    let act = move |target: &Target, from, _, over: &AtomicBool, sent: &AtomicUsize| {
        let mut open = Vec::new();
        while !over.load(Ordering::Relaxed) {
            if open.len() >= each {
                std::thread::sleep(Duration::from_millis(200));
                // Those that were closed are opened again.
                open.retain(is_open);
                continue;
            }
            if let Ok(mut stream) = connect(target.address, from) {
                let _ = stream.write_all(&first);
                sent.fetch_add(1, Ordering::Relaxed);
                open.push(stream);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    Attack {
        name,
        clients: addresses,
        addresses,
        act: Box::new(act),
    }
}

fn is_open(stream: &std::net::TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    match stream.peek(&mut [0]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

pub fn attacks(bait: &Bait) -> Vec<Attack> {
    let digits = bait.digits.digest().to_string();
    let real = json!([{
        "input": { "kind": "real", "tensors": [vec![0.0; 64]] },
        "output": { "kind": "real", "tensors": [vec![0.0; 10]] },
    }]);
    let described = |card: &Card| {
        let question = json!({ "card": card.digest(), "proof": "", "expected": real });
        let batch = json!({ "proofs": vec![question; 200] });
        post("/v1/verify/batch", &batch.to_string())
    };
    let many = |count: usize| base64(&empty::proof(&bait.digits, count, &[]).to_bytes());
    let of_runs = |proof: &str| json!({ "card": digits, "proof": proof });
    let (most, few) = (many(256), many(40));
    let wired = verifier(bait.wired.clone(), &Limits::default());
    let wired = wired
        .map(|v| base64(&empty::proof(&v, 1, &[]).to_bytes()))
        .unwrap_or_default();
    let wired = json!({ "card": bait.wired.digest(), "proof": wired });
    let empty = format!(
        "{{\"proofs\":[{{\"card\":\"{digits}\",\"proof\":\"\",\"expected\":[{}{{}}]}}]}}",
        "{},".repeat(4000)
    );
    let swelling = {
        let one = format!(
            "{{\"card\":\"{digits}\",\"proof\":\"\",\"expected\":[{}{{}}]}},",
            "{},".repeat(4000)
        );
        let body = format!("{{\"proofs\":[{}", one.repeat(1300));
        post("/v1/verify/batch", &body[..body.len().min((1 << 24) - 1)])
    };
    let small = {
        let question = json!({ "card": digits, "proof": base64(&empty::proof(&bait.digits, 1, &[]).to_bytes()) });
        post("/v1/verify", &question.to_string())
    };
    let fetch = format!(
        "GET /v1/cards/{} HTTP/1.1\r\nhost: load\r\n\r\n",
        bait.described[1].digest()
    );
    let fetch_small = format!(
        "GET /v1/cards/{} HTTP/1.1\r\nhost: load\r\n\r\n",
        bait.described[0].digest()
    );
    let junk = junk_card();
    vec![
        send(
            "described cards",
            4,
            2,
            bait.described.iter().map(described).collect(),
        ),
        send(
            "runs",
            4,
            2,
            vec![post("/v1/verify", &of_runs(&most).to_string())],
        ),
        send(
            "runs in batches",
            4,
            2,
            vec![post(
                "/v1/verify/batch",
                &json!({ "proofs": vec![of_runs(&few); 10] }).to_string(),
            )],
        ),
        send(
            "empty objects",
            4,
            2,
            vec![swelling, post("/v1/verify/batch", &empty)],
        ),
        idle(
            "unread downloads",
            100,
            4,
            [fetch, fetch_small.repeat(40)].concat().into_bytes(),
        ),
        idle("silent connections", 1100, 1, Vec::new()),
        idle(
            "silent, many places",
            300,
            8,
            b"POST /v1/verify HTTP/1.1\r\nx: ".to_vec(),
        ),
        send("wiring", 8, 4, vec![post("/v1/verify", &wired.to_string())]),
        send(
            "wiring in batches",
            4,
            2,
            vec![post(
                "/v1/verify/batch",
                &json!({ "proofs": vec![wired.clone(); 100] }).to_string(),
            )],
        ),
        send("small garbage", 8, 4, vec![small]),
        send("cards", 4, 2, vec![junk]),
    ]
}

/// A card that is wrong at its very end, so that all of it has to be looked at.
fn junk_card() -> Vec<u8> {
    use zkinfer_circuits::card::{FileKind, seal};
    let bytes = fixture("cnn.card").unwrap_or_default();
    let mut payload = bytes
        .get(10..bytes.len().saturating_sub(32))
        .unwrap_or_default()
        .to_vec();
    if let Some(last) = payload.len().checked_sub(32) {
        payload[last] ^= 1;
    }
    let digest = digest("cnn").unwrap_or_default();
    let path = format!("/v1/cards/{digest}");
    request(
        "PUT",
        &path,
        "application/octet-stream",
        &seal(FileKind::Card, &payload),
    )
}
