//! A host that lies.

use crate::common::{KEY, samples, secret};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use zkinfer::{Run, Secret, Side, Visibility};
use zkinfer_client::{Client, Log, Options, Pinned, Rate};
use zkinfer_slip::{Context, PromiseTerms, RunId, SecretKey, Series, Slip, SlipTerms, now};

/// What a host does that it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Answers and proves with another model, and signs the card of this one.
    OtherModel,
    /// Sends another output than it signed.
    AlteredAnswer,
    /// Signs another output than the model's, and proves the model's when it is asked.
    FalseOutput,
    /// Runs another input, and signs the client's.
    SwappedInput,
    /// Runs another input, and signs that.
    SignedOtherInput,
    /// Promises no proof.
    Refuses,
    /// Promises proofs, and has none.
    NeverProves,
    /// Promises proofs, and hands out something else.
    HandsOutGarbage,
    /// Sends the first answer again and again.
    Replays,
    /// Signs every answer with the number of the first.
    SameNumber,
    /// Signs every answer for a moment before the one before, a little and a lot.
    Backdates(u64),
    /// Signs a deadline that is over.
    NoTimeToAsk,
    /// Signs with another key.
    OtherKey,
}

pub struct Double {
    pub address: SocketAddr,
}

struct State {
    lie: Lie,
    key: SecretKey,
    model: Secret,
    other: Secret,
    answered: Vec<(Slip, Run)>,
    first: Option<Vec<u8>>,
}

impl Double {
    pub fn start(lie: Lie) -> Double {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            lie,
            key: SecretKey::from_text(KEY).unwrap(),
            model: secret("digits"),
            other: secret("other"),
            answered: Vec::new(),
            first: None,
        }));
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.unwrap(), &state);
            }
        });
        Double { address }
    }
}

fn serve(stream: &mut TcpStream, state: &Mutex<State>) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let (head, body) = loop {
        let read = stream.read(&mut buffer).unwrap();
        bytes.extend(&buffer[..read]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec())
            .unwrap()
            .to_lowercase();
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |l| l.parse().unwrap());
        if bytes.len() >= end + 4 + length {
            break (head, bytes[end + 4..].to_vec());
        }
    };
    let path = head.split(' ').nth(1).unwrap();
    let (status, answer) = state.lock().unwrap().answer(path, &body);
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&answer).unwrap();
}

impl State {
    fn answer(&mut self, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        if path.ends_with("/infer") {
            return (200, self.infer(&serde_json::from_slice(body).unwrap()));
        }
        let id: RunId = path.split('/').nth(3).unwrap().parse().unwrap();
        let found = self.answered.iter().find(|(slip, _)| slip.terms.run == id);
        let (slip, run) = found.unwrap();
        if path.ends_with("/prove") {
            if self.lie == Lie::Refuses {
                return (403, b"no".to_vec());
            }
            let promise = PromiseTerms::of(slip, now(), 1000).sign(&self.key);
            return (202, serde_json::to_vec(&promise).unwrap());
        }
        let prove = |model: &Secret| {
            let rng = &mut zkinfer::rng();
            let context = &slip.terms.context.0;
            model
                .prove(run, &Visibility::default(), context, rng)
                .unwrap()
                .proof
                .to_bytes()
        };
        match self.lie {
            Lie::NeverProves => (404, Vec::new()),
            Lie::HandsOutGarbage => (200, b"zkinfer".to_vec()),
            Lie::OtherModel => (200, prove(&self.other)),
            _ => (200, prove(&self.model)),
        }
    }

    fn infer(&mut self, question: &Value) -> Vec<u8> {
        if self.lie == Lie::Replays
            && let Some(first) = &self.first
        {
            return first.clone();
        }
        let data = question["inputs"][0]["data"].as_array().unwrap();
        let asked: Vec<f32> = data.iter().map(|v| v.as_f64().unwrap() as f32).collect();
        let ran = match self.lie {
            Lie::SwappedInput | Lie::SignedOtherInput => samples()[7].clone(),
            _ => vec![asked.clone()],
        };
        let model = if self.lie == Lie::OtherModel {
            &self.other
        } else {
            &self.model
        };
        let run = model.infer(&ran).unwrap();
        let digest = |values: &[u16]| Side::Public(values.to_vec()).digest();
        let mut output = run.output().to_vec();
        if self.lie == Lie::FalseOutput {
            output[0] += 1;
        }
        let asked = self.model.infer(&[asked]).unwrap();
        let input = match self.lie {
            Lie::SignedOtherInput => run.input(),
            _ => asked.input(),
        };
        let slip = self.slip(
            digest(input),
            digest(&output),
            &question["parameters"]["zkinfer_context"],
        );
        if self.lie == Lie::AlteredAnswer {
            output[0] += 1;
        }
        let interface = zkinfer::interface::Interface::from_card(self.model.card()).unwrap();
        let reals = interface.dequantize_outputs(&output).unwrap();
        let response = json!({
            "model_name": "digits",
            "parameters": { "zkinfer_slip": serde_json::to_string(&slip).unwrap() },
            "outputs": [
                { "name": "output", "data": reals[0].iter().map(|v| f64::from(*v)).collect::<Vec<_>>() },
                { "name": "zkinfer_integers", "data": output },
            ],
        });
        self.answered.push((slip, run));
        let bytes = response.to_string().into_bytes();
        self.first.get_or_insert_with(|| bytes.clone());
        bytes
    }

    fn slip(&self, input: zkinfer::Digest, output: zkinfer::Digest, context: &Value) -> Slip {
        let number = self.answered.len() as u64;
        let mut terms = SlipTerms {
            slip_version: 1,
            host: self.key.public(),
            series: Series([7; 16]),
            sequence: number,
            time: now(),
            run: RunId::random(&mut zkinfer::rng()),
            card: self.model.card().digest(),
            input,
            output,
            context: serde_json::from_value::<Context>(context.clone()).unwrap(),
            ask_until: now() + 3_600_000,
            prove_within: 50,
        };
        match self.lie {
            Lie::SameNumber => terms.sequence = 0,
            Lie::Backdates(by) if number > 0 => terms.time = self.answered[0].0.terms.time - by,
            Lie::NoTimeToAsk => terms.ask_until = terms.time,
            Lie::OtherKey => return terms.sign(&SecretKey::random(&mut zkinfer::rng())),
            _ => {}
        }
        terms.sign(&self.key)
    }
}

/// What a buyer of the digits knows.
pub fn pinned() -> Pinned {
    let key = SecretKey::from_text(KEY).unwrap().public();
    Pinned::new(
        &secret("digits").card().to_bytes(),
        key,
        &Default::default(),
    )
    .unwrap()
}

/// A client that asks for the proof of a share of the answers.
pub fn client(
    address: SocketAddr,
    rate: f64,
    log: Log,
) -> Client<impl rand_chacha::rand_core::CryptoRng> {
    let options = Options::new(Rate::new(rate).unwrap());
    let url = format!("http://{address}");
    Client::new(
        &url,
        "digits",
        pinned(),
        options,
        log,
        zkinfer_client::rng(),
    )
}
