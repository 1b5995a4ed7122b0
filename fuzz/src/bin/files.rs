//! Changes what users of the library and of the service hand in besides cards and proofs, and checks what may never happen: a
//! panic, a sample that does not fit the model, or a file that is read as another one.
//!
//! ```text
//! cargo run --release -p zkinfer-fuzz --bin fuzz_files -- executions [seed] [folder]      # on all processors
//! cargo run --release -p zkinfer-fuzz --bin fuzz_files -- seed:number [folder]            # one execution again
//! ```
//!
//! What is changed: `.npy`, `.npz` and JSON samples, the owner's model file, a segment's, a job, parameters, cards and proofs in
//! JSON, interfaces in JSON, bodies of requests to the service and to a host, and what a host signs: slips, promises, key
//! lists, evidence, audit logs. Seeds are the files in `tests/fixtures` and its folder `inputs`, and
//! what follows from them. Cards, proofs and programs are the business of the example `fuzz` of `zkinfer-circuits`.

#[path = "../shared/arrays.rs"]
mod arrays;
#[path = "../shared/bytes.rs"]
mod bytes;
#[path = "../shared/drive.rs"]
mod drive;
#[path = "../shared/signed.rs"]
mod signed;

use arrays::{archive, header};
use base64::Engine;
use bytes::{Random, below, change, change_text};
use drive::{Failure, Outcome, Target};
use rand_core::Rng;
use signed::Signed;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use zkinfer::data::Array;
use zkinfer::files::{card_from_json, card_to_json, proof_from_json, proof_to_json};
use zkinfer::generators::{self, Generators};
use zkinfer::interface::Interface;
use zkinfer::jobs::{Done, Executor, Job, JobError, Request, Worker, prove_many};
use zkinfer::secret::Segment;
use zkinfer::{
    Card, Expected, Limits, Proof, Samples, Secret, SideVisibility, Verifier, Visibility, params,
};
use zkinfer_circuits::card::{FileKind, open, seal};
use zkinfer_circuits::receipt::ExpectedRecord;
use zkinfer_server::RequestReader;

/// Largest file that is read.
const LIMIT: usize = 1 << 20;

/// Everything that is changed.
struct Corpus {
    verifier: Verifier,
    reader: RequestReader,
    input_lens: Vec<usize>,
    npy: Vec<Vec<u8>>,
    npz: Vec<Vec<u8>>,
    samples: Vec<Vec<u8>>,
    interfaces: Vec<Vec<u8>>,
    requests: Vec<Vec<u8>>,
    cards: Vec<Vec<u8>>,
    proofs: Vec<Vec<u8>>,
    models: Vec<Vec<u8>>,
    segment: Vec<u8>,
    job: Vec<u8>,
    worker: Worker,
    params: Vec<Vec<u8>>,
    generators: Vec<Vec<u8>>,
    signed: Signed,
}

fn main() -> Result<(), Failure> {
    drive::main(Corpus::load)
}

impl Target for Corpus {
    type State = ();

    fn execute(&self, rng: &mut Random, (): &mut ()) -> Result<Outcome, String> {
        // Points of cards and models take milliseconds, most else microseconds.
        match below(rng, 1000) {
            0 => self.model(rng),
            1 if below(rng, 2) == 0 => self.segment(rng),
            1 => self.job(rng),
            2..=3 => self.card(rng),
            4..=6 => self.params(rng),
            7..=9 => self.generators(rng),
            10..=99 => self.proof(rng),
            100..=299 => self.npz(rng),
            300..=499 => self.npy(rng),
            500..=599 => self.sample(rng),
            600..=649 => self.signed.execute(rng),
            650..=749 => self.interface(rng),
            750..=849 => self.signed.execute(rng),
            _ => self.request(rng),
        }
    }

    fn settle(&self, (): &mut (), _: bool) -> Result<(), String> {
        Ok(())
    }
}

impl Corpus {
    fn load(folder: &Path) -> Result<Corpus, Failure> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))
        };
        let limits = Limits::default();
        let card_bytes = read("digits.card")?;
        let card = Card::from_bytes(&card_bytes, LIMIT)?;
        let verifier = Verifier::new(card.clone(), generators::load(card.k)?, &limits)?;
        let input_lens = Interface::from_card(&card)?.input_lens();

        let model = read("inputs/digits.model")?;
        let secret = Secret::from_bytes(&model, LIMIT)?;
        let segment = secret.segments()[0].to_bytes()?;
        let worker = Worker::new(LIMIT);
        worker.keep(&segment)?;
        let mut corpus = Corpus {
            job: job_of(&secret, &input_lens)?,
            segment,
            worker,
            reader: RequestReader::new(Verifier::new(
                card.clone(),
                generators::load(card.k)?,
                &limits,
            )?),
            verifier,
            input_lens,
            npy: Vec::new(),
            npz: Vec::new(),
            samples: Vec::new(),
            interfaces: vec![card.info.clone(), read_info(&read("cnn.card")?)?],
            requests: Vec::new(),
            cards: vec![card_to_json(&card)?.into_bytes()],
            proofs: Vec::new(),
            models: vec![model],
            params: vec![params::to_bytes(&*params::load(6)?)?],
            generators: vec![generators::load(6)?.to_bytes()],
            signed: Signed::new(
                &card_bytes,
                Interface::from_card(&card)?,
                &read("digits_0.proof")?,
            )?,
        };
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder.join("inputs"))?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for path in files {
            let bytes = std::fs::read(&path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match path.extension().and_then(|e| e.to_str()) {
                Some("npy") => corpus.npy.push(bytes),
                Some("npz") => corpus.npz.push(bytes),
                Some("json") if name.starts_with("request") => corpus.requests.push(bytes),
                Some("json") if name.starts_with("sample") => corpus.samples.push(bytes),
                _ => {}
            }
        }
        for name in ["digits_0", "digits_digest", "digits_hidden"] {
            let bytes = read(&format!("{name}.proof"))?;
            let text = proof_to_json(&Proof::from_bytes(&bytes, LIMIT)?)?;
            corpus.proofs.push(text.into_bytes());
            let request = serde_json::json!({
                "card": card.digest().to_string(),
                "proof": base64::engine::general_purpose::STANDARD.encode(&bytes[..200]),
                "context_text": "digits",
            });
            corpus.requests.push(serde_json::to_vec(&request)?);
        }
        Ok(corpus)
    }

    /// What is read fits the model and is finite.
    fn fits(&self, samples: &Samples) -> Result<(), String> {
        let lens = |sample: &Vec<Vec<f32>>| sample.iter().map(Vec::len).collect::<Vec<_>>();
        if samples.inputs.iter().any(|s| lens(s) != self.input_lens) {
            return Err("samples of another size than the model's".into());
        }
        let mut values = samples.inputs.iter().flatten().flatten();
        if values.any(|v| !v.is_finite()) {
            return Err("a sample that is not finite".into());
        }
        let count = samples.inputs.len();
        let outputs = samples.outputs.as_ref().is_some_and(|o| o.len() != count);
        let labels = samples.labels.as_ref().is_some_and(|l| l.len() != count);
        if outputs || labels {
            return Err("another number of outputs or labels than of samples".into());
        }
        Ok(())
    }

    fn npy(&self, rng: &mut Random) -> Result<Outcome, String> {
        let bytes = header(rng, &self.npy);
        let Ok(array) = Array::from_npy("x0", &bytes) else {
            return Ok("npy: refused".into());
        };
        if array.values.len() != array.shape.iter().product::<usize>() {
            return Err("an array of another size than its shape's".into());
        }
        match Samples::from_arrays(vec![("x0".into(), array)], &self.input_lens) {
            Ok(samples) => self.fits(&samples).map(|()| "npy: read".into()),
            Err(_) => Ok("npy: does not fit".into()),
        }
    }

    fn npz(&self, rng: &mut Random) -> Result<Outcome, String> {
        let bytes = match below(rng, 2) {
            0 => changed(rng, &self.npz, change),
            // Within the archive, whose checksums would hide it.
            _ => archive(rng, &self.npy).map_err(|e| e.to_string())?,
        };
        match Samples::from_npz(&bytes, &self.input_lens) {
            Ok(samples) => self.fits(&samples).map(|()| "npz: read".into()),
            Err(_) => Ok("npz: refused".into()),
        }
    }

    fn sample(&self, rng: &mut Random) -> Result<Outcome, String> {
        match Samples::from_json(&changed(rng, &self.samples, change_text), &self.input_lens) {
            Ok(samples) => self.fits(&samples).map(|()| "sample: read".into()),
            Err(_) => Ok("sample: refused".into()),
        }
    }

    fn interface(&self, rng: &mut Random) -> Result<Outcome, String> {
        let text = changed(rng, &self.interfaces, change_text);
        let Ok(interface) = serde_json::from_slice::<Interface>(&text) else {
            return Ok("interface: refused".into());
        };
        let again = interface.to_info().map_err(|e| e.to_string())?;
        let again: Interface = serde_json::from_slice(&again).map_err(|e| e.to_string())?;
        if again != interface {
            return Err("an interface that is read as another one".into());
        }
        let program = &self.verifier.card().segments[0].program;
        if interface.check(program, program).is_err() {
            return Ok("interface: does not fit".into());
        }
        let real: Vec<Vec<f32>> = interface
            .input_lens()
            .into_iter()
            .map(|len| (0..len).map(|_| real(rng)).collect())
            .collect();
        if let Ok(integers) = interface.quantize_inputs(&real, program.range_bits)
            && integers
                .iter()
                .any(|&q| u32::from(q) >> program.range_bits != 0)
        {
            return Err("an integer outside of the range".into());
        }
        let integers: Vec<u16> = interface
            .output_lens()
            .into_iter()
            .flat_map(|len| (0..len).map(|_| rng.next_u32() as u16).collect::<Vec<_>>())
            .collect();
        let real = interface.dequantize_outputs(&integers);
        let real = real.map_err(|e| format!("an interface that fits gives no outputs: {e}"))?;
        if real.iter().map(Vec::len).ne(interface.output_lens()) {
            return Err("outputs of another size than the interface's".into());
        }
        Ok("interface: used".into())
    }

    fn request(&self, rng: &mut Random) -> Result<Outcome, String> {
        match self.reader.read(&changed(rng, &self.requests, change_text)) {
            Ok(expected) => expected
                .iter()
                .try_for_each(known)
                .map(|()| "request: read".into()),
            Err(code) => Ok(format!("request: {code}").into()),
        }
    }

    fn proof(&self, rng: &mut Random) -> Result<Outcome, String> {
        let text = changed(rng, &self.proofs, change_text);
        let text = String::from_utf8_lossy(&text);
        let Ok(proof) = proof_from_json(&text, LIMIT) else {
            return Ok("proof in JSON: refused".into());
        };
        let again = proof_to_json(&proof).map_err(|e| e.to_string())?;
        match proof_from_json(&again, LIMIT) {
            Ok(same) if same == proof => Ok("proof in JSON: read".into()),
            _ => Err("a proof that is read as another one".into()),
        }
    }

    fn card(&self, rng: &mut Random) -> Result<Outcome, String> {
        let text = changed(rng, &self.cards, change_text);
        let text = String::from_utf8_lossy(&text);
        let mut limits = Limits::default();
        limits.card_bytes = LIMIT;
        match card_from_json(&text, &limits) {
            // The digest is of everything but what a verifier checks by itself: support proof and commitments to fixed columns.
            Ok(card) if card != *self.verifier.card() => {
                let mut same = card.clone();
                let kept = &self.verifier.card().segments;
                for (same, kept) in same.segments.iter_mut().zip(kept) {
                    same.support = kept.support.clone();
                    same.fixed = kept.fixed.clone();
                }
                if same != *self.verifier.card() {
                    return Err("a changed card with the digest of another one".into());
                }
                match zkinfer::verifier(card, &Limits::default()) {
                    Ok(_) => Err("a changed support proof or key is accepted".into()),
                    Err(_) => Ok("card in JSON: support proof or key refused".into()),
                }
            }
            Ok(_) => Ok("card in JSON: read".into()),
            Err(_) => Ok("card in JSON: refused".into()),
        }
    }

    fn generators(&self, rng: &mut Random) -> Result<Outcome, String> {
        let original = &self.generators[0];
        let bytes = sealed(rng, FileKind::Generators, original);
        match Generators::from_bytes(&bytes) {
            Ok(_) if bytes == *original => Ok("generators: unchanged".into()),
            Ok(_) => Err("changed generators are taken".into()),
            Err(_) => Ok("generators: refused".into()),
        }
    }

    fn params(&self, rng: &mut Random) -> Result<Outcome, String> {
        let original = &self.params[0];
        let bytes = sealed(rng, FileKind::Params, original);
        match params::from_bytes(&bytes) {
            Ok(_) if bytes == *original => Ok("parameters: unchanged".into()),
            Ok(_) => Err("changed parameters are taken".into()),
            Err(_) => Ok("parameters: refused".into()),
        }
    }

    fn model(&self, rng: &mut Random) -> Result<Outcome, String> {
        let original = &self.models[0];
        let bytes = sealed(rng, FileKind::Model, original);
        let Ok(secret) = Secret::from_bytes(&bytes, LIMIT) else {
            return Ok("model: refused".into());
        };
        let again = secret.to_bytes().map_err(|e| e.to_string())?;
        let same = Secret::from_bytes(&again, LIMIT).and_then(|s| s.to_bytes());
        if same.map_err(|e| e.to_string())? != again {
            return Err("a model that is read as another one".into());
        }
        // An edited model computes something else, or says why it cannot.
        let input: Vec<Vec<f32>> = self
            .input_lens
            .iter()
            .map(|&len| (0..len).map(|_| real(rng)).collect())
            .collect();
        match secret.infer(&input) {
            Ok(_) => Ok("model: runs".into()),
            Err(_) => Ok("model: does not run".into()),
        }
    }

    fn segment(&self, rng: &mut Random) -> Result<Outcome, String> {
        let bytes = sealed(rng, FileKind::Segment, &self.segment);
        let Ok(segment) = Segment::from_bytes(&bytes, LIMIT) else {
            return Ok("segment: refused".into());
        };
        let again = segment.to_bytes().map_err(|e| e.to_string())?;
        let same = Segment::from_bytes(&again, LIMIT).and_then(|s| s.to_bytes());
        match same.map_err(|e| e.to_string())? == again {
            true => Ok("segment: read".into()),
            false => Err("a segment that is read as another one".into()),
        }
    }

    /// A changed job is refused, or proven as what it says.
    fn job(&self, rng: &mut Random) -> Result<Outcome, String> {
        let bytes = sealed(rng, FileKind::Job, &self.job);
        match self.worker.run(&bytes, &mut zkinfer::progress::silent) {
            Ok(_) => Ok("job: done".into()),
            Err(JobError::Segment(_)) => Ok("job: of another segment".into()),
            Err(JobError::Decode(_)) => Ok("job: refused".into()),
            Err(_) => Ok("job: cannot be proven".into()),
        }
    }
}

/// Keeps a job instead of doing it.
struct Listening(RefCell<Vec<u8>>);

impl Executor for Listening {
    fn execute(&self, jobs: &[Job<'_>], _: &mut Done<'_>) -> Result<(), JobError> {
        self.0.borrow_mut().clone_from(&jobs[0].bytes);
        Ok(())
    }
}

fn job_of(secret: &Secret, input_lens: &[usize]) -> Result<Vec<u8>, Failure> {
    let inputs: Vec<Vec<u32>> = input_lens.iter().map(|&len| vec![0; len]).collect();
    let run = secret.infer_integers(&inputs)?;
    let listening = Listening(RefCell::default());
    let visibility = Visibility {
        input: SideVisibility::Committed,
        ..Visibility::default()
    };
    let request = Request {
        visibility,
        context: b"context".to_vec(),
        ..Request::of(&run)
    };
    let mut done = |_, _| ControlFlow::Continue(());
    prove_many(
        secret,
        &[request],
        &listening,
        &mut zkinfer::rng(),
        &mut done,
    )?;
    Ok(listening.0.into_inner())
}

fn read_info(card: &[u8]) -> Result<Vec<u8>, Failure> {
    Ok(Card::from_bytes(card, LIMIT)?.info)
}

/// What is expected can be written down and is then the same.
fn known(expected: &Expected) -> Result<(), String> {
    let record = ExpectedRecord::from(expected);
    match Expected::try_from(&record) {
        Ok(again) if ExpectedRecord::from(&again) == record => Ok(()),
        _ => Err("an expectation that is written as another one".into()),
    }
}

/// A real number: mostly of a usual size.
fn real(rng: &mut Random) -> f32 {
    match below(rng, 32) {
        0 => f32::from_bits(rng.next_u32()),
        _ => below(rng, 17) as f32,
    }
}

/// One of the seeds, changed.
fn changed(
    rng: &mut Random,
    seeds: &[Vec<u8>],
    change: impl Fn(&mut Random, &mut Vec<u8>, &[u8]),
) -> Vec<u8> {
    let mut bytes = seeds[below(rng, seeds.len())].clone();
    let other = &seeds[below(rng, seeds.len())];
    for _ in 0..1 + below(rng, 3) {
        change(rng, &mut bytes, other);
    }
    bytes
}

/// A changed file, mostly with its checksum made anew.
fn sealed(rng: &mut Random, kind: FileKind, original: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    if below(rng, 8) == 0 {
        change(rng, &mut bytes, original);
        return bytes;
    }
    let payload = open(kind, original, usize::MAX).map(<[u8]>::to_vec);
    let mut payload = payload.unwrap_or_default();
    for _ in 0..1 + below(rng, 3) {
        match below(rng, 2) {
            0 => change(rng, &mut payload, original),
            _ => change_text(rng, &mut payload, original),
        }
    }
    seal(kind, &payload)
}
