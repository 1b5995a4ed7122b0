//! What hosts and their clients hand each other: requests to a host, slips, promises, key lists, evidence, audit logs.
//! Nothing that was changed is signed, and nothing follows against a host that was honest.

use crate::bytes::{Random, below, change, change_text};
use crate::drive::{Failure, Outcome};
use serde_json::json;
use zkinfer::interface::Interface;
use zkinfer_circuits::transcript::Digest;
use zkinfer_client::{Event, Pinned, Record, audit};
use zkinfer_host::RequestReader;
use zkinfer_slip::evidence::{Claim, ProofBytes};
use zkinfer_slip::{
    Context, Evidence, HostKey, KeyList, Promise, PromiseTerms, RunId, SecretKey, Series, Slip,
    SlipTerms,
};

/// When everything here was signed.
const TIME: u64 = 1_700_000_000_000;

/// An honest host's, and requests to it.
pub struct Signed {
    reader: RequestReader,
    input_lens: Vec<usize>,
    pinned: Pinned,
    keys: Vec<HostKey>,
    requests: Vec<Vec<u8>>,
    slips: Vec<Slip>,
    promise: Promise,
    texts: Vec<Vec<u8>>,
    lists: Vec<Vec<u8>>,
    evidence: Vec<Vec<u8>>,
    logs: Vec<Vec<u8>>,
}

fn slip(key: &SecretKey, card: Digest, sequence: u64) -> Slip {
    let digest = |name: &str| Digest::of("zkinfer-fuzz", name.as_bytes());
    SlipTerms {
        slip_version: 1,
        host: key.public(),
        series: Series([1; 16]),
        sequence,
        time: TIME + sequence,
        run: RunId([sequence as u8; 16]),
        card,
        input: digest("input"),
        output: digest("output"),
        context: Context(vec![7; 16]),
        ask_until: TIME + 1_000_000,
        prove_within: 1_000_000,
    }
    .sign(key)
}

impl Signed {
    /// About the model of a card, with a proof of it.
    pub fn new(card: &[u8], interface: Interface, proof: &[u8]) -> Result<Signed, Failure> {
        let key = |number: u8| SecretKey::from_text(&format!("{number:064x}"));
        let (old, own) = (key(1)?, key(2)?);
        let mut list = KeyList::default();
        list.hand_over(&old, &own, TIME - 1)?;
        let mut pinned = Pinned::new(card, old.public(), &Default::default())?;
        pinned.follow(&list)?;
        let digest = pinned.verifier().digest();
        let slips: Vec<Slip> = (1..4).map(|n| slip(&own, digest, n)).collect();
        let promise = PromiseTerms::of(&slips[0], TIME + 10, 1000).sign(&own);
        let zeros = vec![0; interface.input_lens().iter().sum()];
        let evidence = [
            Claim::Contradiction {
                slip: slips[0].clone(),
                other: slips[1].clone(),
            },
            Claim::FalseOutput {
                slip: slips[0].clone(),
                input: zeros.clone(),
                proof: ProofBytes(proof.to_vec()),
            },
            Claim::Unanswered {
                slip: slips[2].clone(),
                said: "no".to_owned(),
            },
        ]
        .map(Evidence::from);
        let events = [
            Event::Answered {
                slip: slips[0].clone(),
            },
            Event::Asked {
                promise: promise.clone(),
                input: zeros,
            },
            Event::Answered {
                slip: slips[1].clone(),
            },
            Event::Refused {
                run: slips[1].terms.run,
                evidence: Claim::Unanswered {
                    slip: slips[1].clone(),
                    said: "no".to_owned(),
                }
                .into(),
            },
            Event::Unbound {
                reason: "none".to_owned(),
                evidence: None,
            },
        ];
        let mut log = Vec::new();
        for event in events {
            serde_json::to_writer(&mut log, &Record { time: TIME, event })?;
            log.push(b'\n');
        }
        Ok(Signed {
            requests: requests(&interface)?,
            input_lens: interface.input_lens(),
            reader: RequestReader::new(interface),
            pinned,
            keys: vec![old.public(), own.public()],
            texts: vec![
                serde_json::to_vec(&slips[0])?,
                serde_json::to_vec(&promise)?,
            ],
            lists: vec![serde_json::to_vec(&list)?],
            evidence: evidence
                .iter()
                .map(serde_json::to_vec)
                .collect::<Result<_, _>>()?,
            logs: vec![log],
            slips,
            promise,
        })
    }

    /// One execution.
    pub fn execute(&self, rng: &mut Random) -> Result<Outcome, String> {
        match below(rng, 8) {
            0..=3 => self.request(rng),
            4 => self.slip(rng),
            5 => self.list(rng),
            6 => self.evidence(rng),
            _ => self.log(rng),
        }
    }

    fn request(&self, rng: &mut Random) -> Result<Outcome, String> {
        let body = crate::changed(rng, &self.requests, change_text);
        // The JSON part is what it was, or anything.
        let header = match below(rng, 4) {
            0 => None,
            1 => Some(below(rng, body.len() + 2)),
            _ => body.windows(3).position(|w| w == b"}]}").map(|at| at + 3),
        };
        match self.reader.read(&body, header) {
            Ok(inputs)
                if inputs
                    .iter()
                    .map(Vec::len)
                    .eq(self.input_lens.iter().copied()) =>
            {
                Ok("request to a host: read".into())
            }
            Ok(_) => Err("inputs of another size than the model's".into()),
            Err(code) => Ok(format!("request to a host: {code}").into()),
        }
    }

    fn slip(&self, rng: &mut Random) -> Result<Outcome, String> {
        let text = crate::changed(rng, &self.texts, change_text);
        let host = &self.keys[1];
        if let Ok(slip) = serde_json::from_slice::<Slip>(&text) {
            return match slip.check(host) {
                Ok(()) if slip == self.slips[0] => Ok("slip: unchanged".into()),
                Ok(()) => Err("a changed slip is signed".into()),
                Err(_) => Ok("slip: not signed".into()),
            };
        }
        match serde_json::from_slice::<Promise>(&text) {
            Err(_) => Ok("slip or promise: refused".into()),
            Ok(promise) => match promise.check(host) {
                Ok(()) if promise == self.promise => Ok("promise: unchanged".into()),
                Ok(()) => Err("a changed promise is signed".into()),
                Err(_) => Ok("promise: not signed".into()),
            },
        }
    }

    fn list(&self, rng: &mut Random) -> Result<Outcome, String> {
        let text = crate::changed(rng, &self.lists, change_text);
        let Ok(list) = serde_json::from_slice::<KeyList>(&text) else {
            return Ok("key list: refused".into());
        };
        match list.of(&self.keys[0]) {
            Ok(keys) if self.keys.starts_with(&keys) => Ok("key list: followed".into()),
            Ok(_) => Err("a changed key list leads to another key".into()),
            Err(_) => Ok("key list: not signed".into()),
        }
    }

    fn evidence(&self, rng: &mut Random) -> Result<Outcome, String> {
        let text = crate::changed(rng, &self.evidence, change_text);
        let Ok(evidence) = serde_json::from_slice::<Evidence>(&text) else {
            return Ok("evidence: refused".into());
        };
        match self.pinned.judge(&evidence, TIME + 1000, None) {
            Err(_) => Ok("evidence: not confirmed".into()),
            Ok(finding) => Err(format!("an honest host is framed: {finding:?}")),
        }
    }

    fn log(&self, rng: &mut Random) -> Result<Outcome, String> {
        let log = match below(rng, 2) {
            0 => crate::changed(rng, &self.logs, change_text),
            _ => crate::changed(rng, &self.logs, change),
        };
        match audit(log.as_slice(), &self.pinned, TIME + 1000) {
            Ok(summary) if summary.confirmed.is_empty() => Ok("audit log: read".into()),
            Ok(summary) => Err(format!("an honest host is framed: {:?}", summary.confirmed)),
            Err(_) => Ok("audit log: refused".into()),
        }
    }
}

/// Requests in JSON, and with bytes behind it.
fn requests(interface: &Interface) -> Result<Vec<Vec<u8>>, Failure> {
    let tensor = |own: serde_json::Value| {
        let (name, shape) = (&interface.inputs[0].name, &interface.inputs[0].shape);
        let mut tensor = json!({ "name": name, "shape": shape, "datatype": "FP32" });
        for (key, value) in own.as_object().into_iter().flatten() {
            tensor[key] = value.clone();
        }
        tensor
    };
    let cells = interface.input_lens()[0];
    let numbers: Vec<f64> = (0..cells).map(|n| (n % 16) as f64).collect();
    let parameters =
        json!({ "zkinfer_proof": "later", "zkinfer_context": "00ff", "zkinfer_integers": true });
    let plain = json!({
        "id": "7",
        "parameters": parameters,
        "outputs": [{ "name": interface.outputs[0].name, "parameters": { "binary_data": true } }],
        "inputs": [tensor(json!({ "data": numbers }))],
    });
    let whole = json!({ "inputs": [tensor(json!({ "datatype": "UINT8", "parameters": { "binary_data_size": cells } }))] });
    let real =
        json!({ "inputs": [tensor(json!({ "parameters": { "binary_data_size": 4 * cells } }))] });
    let mut whole = serde_json::to_vec(&whole)?;
    whole.extend((0..cells).map(|n| n as u8 % 16));
    let mut real = serde_json::to_vec(&real)?;
    real.extend(numbers.iter().flat_map(|n| (*n as f32).to_le_bytes()));
    Ok(vec![serde_json::to_vec(&plain)?, whole, real])
}
