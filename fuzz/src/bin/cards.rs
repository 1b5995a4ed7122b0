//! Mutates valid cards, proofs and statements and checks what may never happen: a panic, a file that decodes and encodes to
//! other bytes, or a changed file or statement that is accepted.
//!
//! ```text
//! cargo run --release -p zkinfer-fuzz --bin fuzz_cards -- executions [seed] [folder]      # on all processors
//! cargo run --release -p zkinfer-fuzz --bin fuzz_cards -- seed:number [folder]            # one execution again
//! ```
//!
//! Every execution takes something that is stored, changes it (bytes, a field behind the checksum, or a part of the decoded
//! object), decodes it, and, for one in [`DEEP`], verifies it. It follows from the seed and its number alone. What
//! is rejected one by one is checked once more in a batch between valid proofs.

#[path = "../shared/bytes.rs"]
mod bytes;
#[path = "../shared/drive.rs"]
mod drive;
#[path = "../shared/mutate.rs"]
mod mutate;

use bytes::{Random, below, change, change_text};
use drive::{Failure, Outcome, Target};
use halo2_proofs::poly::commitment::Params;
use rand_core::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zkinfer_circuits::C;
use zkinfer_circuits::card::{Card, FileKind, open, seal};
use zkinfer_circuits::codec::{Reader, Writer, read_program, write_program};
use zkinfer_circuits::generators::Generators;
use zkinfer_circuits::receipt::{ExpectedRecord, Receipt, Refusal};
use zkinfer_circuits::verify::{
    BatchOptions, Candidate, Expected, Limits, Reference, Verifier, verify_many,
};

/// One in so many executions goes on to verify what it decoded.
const DEEP: usize = 64;
/// Rejected proofs that are checked together with valid ones.
const PENDING: usize = 16;

/// A stored proof of a model.
struct Seed {
    bytes: Vec<u8>,
    /// Which verifier it belongs to.
    model: usize,
    expected: Vec<Expected>,
}

/// Everything that is mutated.
struct Corpus {
    verifiers: Vec<&'static Verifier>,
    /// The same by upstream's verifier.
    references: Vec<Reference<'static>>,
    cards: Vec<Vec<u8>>,
    proofs: Vec<Seed>,
    /// Encoded programs.
    programs: Vec<Vec<u8>>,
    /// Receipts and expectations as JSON.
    texts: Vec<Vec<u8>>,
}

fn main() -> Result<(), Failure> {
    drive::main(Corpus::load)
}

impl Target for Corpus {
    /// Rejected proofs, with the number of their verifier.
    type State = Vec<(usize, Candidate)>;

    fn execute(&self, rng: &mut Random, pending: &mut Self::State) -> Result<Outcome, String> {
        // The decoders of programs and texts take microseconds, those of points a square root each, a verification milliseconds.
        match below(rng, 1000) {
            0..=9 => self.card(rng),
            10..=11 => self.statement(rng),
            12..=211 => self.proof(rng, pending),
            212..=599 => self.text(rng),
            _ => self.program(rng),
        }
    }

    /// What reached the equations is checked together with valid proofs, every so often.
    fn settle(&self, pending: &mut Self::State, last: bool) -> Result<(), String> {
        if last || pending.len() >= PENDING {
            return self.batch(pending);
        }
        Ok(())
    }
}

impl Corpus {
    fn load(folder: &Path) -> Result<Corpus, Failure> {
        let limits = Limits::default();
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        let stem = |path: &Path| {
            let name = path.file_stem().map(|n| n.to_string_lossy().into_owned());
            name.unwrap_or_default()
        };
        let with = |extensions: &'static [&'static str]| {
            let has = move |p: &&PathBuf| {
                p.extension()
                    .is_some_and(|e| extensions.iter().any(|x| e == *x))
            };
            files.iter().filter(has)
        };
        let mut params: BTreeMap<u32, Arc<Params<C>>> = BTreeMap::new();
        let mut corpus = Corpus {
            verifiers: Vec::new(),
            references: Vec::new(),
            cards: Vec::new(),
            proofs: Vec::new(),
            programs: Vec::new(),
            texts: vec![b"{}".to_vec()],
        };
        let mut names = Vec::new();
        for path in with(&["card"]) {
            let bytes = std::fs::read(path)?;
            let card = Card::from_bytes(&bytes, limits.card_bytes)?;
            let k = card.k;
            let params = params.entry(k).or_insert_with(|| Arc::new(Params::new(k)));
            for program in card.programs() {
                let mut writer = Writer::default();
                write_program(&mut writer, program);
                corpus.programs.push(writer.bytes);
            }
            corpus.cards.push(bytes);
            let generators = Arc::new(Generators::of(params));
            // As long as the process.
            let verifier = Verifier::new(card, generators, &limits)?;
            let verifier: &'static Verifier = Box::leak(Box::new(verifier));
            let reference = Reference::new(verifier, params.clone())?;
            corpus.references.push(reference);
            corpus.verifiers.push(verifier);
            names.push(stem(path));
        }
        for path in with(&["proof", "runs"]) {
            let bytes = std::fs::read(path)?;
            let name = stem(path);
            let model = names.iter().position(|n| name.starts_with(n.as_str()));
            let Some(model) = model else { continue };
            corpus.add_proof(model, names[model].as_bytes(), bytes)?;
        }
        if corpus.proofs.is_empty() {
            return Err(format!("no cards and proofs in {}", folder.display()).into());
        }
        Ok(corpus)
    }

    fn add_proof(&mut self, model: usize, context: &[u8], bytes: Vec<u8>) -> Result<(), Failure> {
        let verifier = self.verifiers[model];
        let expected = Expected {
            context: context.to_vec(),
            ..Expected::default()
        };
        let receipt = verifier.receipt(std::slice::from_ref(&expected), &bytes);
        self.texts.push(serde_json::to_vec(&receipt)?);
        // Where the file does not carry its input it is not used.
        let Ok(verdicts) = verifier.verify_bytes(std::slice::from_ref(&expected), &bytes) else {
            return Ok(());
        };
        // Once with nothing but the context expected, so that changed claims get as far as the equations.
        let free = vec![expected; verdicts.len()];
        let full: Vec<Expected> = verdicts
            .into_iter()
            .map(|v| Expected {
                input: Some(v.input),
                output: Some(v.output),
                context: v.context,
            })
            .collect();
        for expected in &full {
            let text = serde_json::to_vec(&ExpectedRecord::from(expected))?;
            self.texts.push(text);
        }
        for expected in [free, full] {
            self.proofs.push(Seed {
                bytes: bytes.clone(),
                model,
                expected,
            });
        }
        Ok(())
    }

    /// The decoder of programs alone.
    fn program(&self, rng: &mut Random) -> Result<Outcome, String> {
        let mut bytes = self.programs[below(rng, self.programs.len())].clone();
        let other = &self.programs[below(rng, self.programs.len())];
        for _ in 0..1 + below(rng, 3) {
            change(rng, &mut bytes, other);
        }
        let mut reader = Reader::new(&bytes);
        let program = match read_program(&mut reader) {
            Ok(program) => program,
            Err(e) => return Ok(format!("program: {}", Refusal::from(e).code()).into()),
        };
        let mut writer = Writer::default();
        write_program(&mut writer, &program);
        // What stands behind a program is not its own.
        if !bytes.starts_with(&writer.bytes) || writer.bytes.len() > bytes.len() {
            return Err("a program that encodes to other bytes".into());
        }
        if below(rng, DEEP) == 0 {
            let mut limits = Limits::default().program;
            limits.elements = 1 << 16;
            limits.slots = 1 << 14;
            if program.expand(&limits).is_err() {
                return Ok("program: not well formed".into());
            }
            return Ok("program: well formed".into());
        }
        Ok("program: decoded".into())
    }

    /// Receipts and expectations in JSON.
    fn text(&self, rng: &mut Random) -> Result<Outcome, String> {
        let mut bytes = self.texts[below(rng, self.texts.len())].clone();
        let other = &self.texts[below(rng, self.texts.len())];
        for _ in 0..1 + below(rng, 3) {
            change_text(rng, &mut bytes, other);
        }
        if let Ok(receipt) = serde_json::from_slice::<Receipt>(&bytes) {
            let text = serde_json::to_vec(&receipt).map_err(|e| e.to_string())?;
            if serde_json::from_slice::<Receipt>(&text).ok().as_ref() != Some(&receipt) {
                return Err("a receipt that is read as another one".into());
            }
            return Ok("receipt: decoded".into());
        }
        let Ok(record) = serde_json::from_slice::<ExpectedRecord>(&bytes) else {
            return Ok("json: refused".into());
        };
        match Expected::try_from(&record) {
            Ok(expected) if ExpectedRecord::from(&expected) != record => {
                Err("an expectation that is written as another one".into())
            }
            Ok(_) => Ok("expectation: decoded".into()),
            Err(_) => Ok("expectation: refused".into()),
        }
    }

    fn card(&self, rng: &mut Random) -> Result<Outcome, String> {
        let model = below(rng, self.cards.len());
        let original = &self.cards[model];
        let limits = Limits::default();
        let bytes = match below(rng, 3) {
            0 => mutate::card(rng, original).unwrap_or_else(|| original.clone()),
            _ => file(rng, FileKind::Card, original, &self.proofs[0].bytes),
        };
        let card = match Card::from_bytes(&bytes, limits.card_bytes) {
            Ok(card) => card,
            Err(e) => return Ok(format!("card: {}", Refusal::from(e).code()).into()),
        };
        if card.to_bytes() != bytes {
            return Err("a card that encodes to other bytes".into());
        }
        if bytes == *original {
            return Ok("card: unchanged".into());
        }
        if below(rng, DEEP) != 0 {
            return Ok("card: decoded".into());
        }
        // Hostile cards may ask for more work, but not for more than this.
        let mut limits = limits;
        limits.k = self.verifiers[model].card().k;
        limits.program.elements = 1 << 20;
        limits.program.slots = 1 << 16;
        let known = self.verifiers.iter().find(|v| v.card().k == card.k);
        let known = known.unwrap_or(&self.verifiers[model]);
        match Verifier::new(card, known.generators().clone(), &limits) {
            Err(e) => Ok(format!("card: {}", Refusal::from(e).code()).into()),
            // Another model is no forgery; but the support proof binds everything of the card, so a change must break it.
            Ok(_) => Err("a changed card is accepted".into()),
        }
    }

    /// A valid proof for another statement than its own.
    fn statement(&self, rng: &mut Random) -> Result<Outcome, String> {
        let seed = &self.proofs[below(rng, self.proofs.len())];
        let mut expected = seed.expected.clone();
        if !mutate::statement(rng, &mut expected) {
            return Ok("statement: unchanged".into());
        }
        let model = match below(rng, 4) {
            0 => below(rng, self.verifiers.len()),
            _ => seed.model,
        };
        match self.verifiers[model].verify_bytes(&expected, &seed.bytes) {
            Ok(_) => Err("a proof is accepted for another statement".into()),
            Err(e) => Ok(format!("statement: {}", e.code()).into()),
        }
    }

    fn proof(
        &self,
        rng: &mut Random,
        pending: &mut Vec<(usize, Candidate)>,
    ) -> Result<Outcome, String> {
        let seed = &self.proofs[below(rng, self.proofs.len())];
        let other = &self.proofs[below(rng, self.proofs.len())];
        let verifier = self.verifiers[seed.model];
        let bytes = match below(rng, 3) {
            0 => mutate::proof(rng, &seed.bytes).unwrap_or_else(|| seed.bytes.clone()),
            _ => file(rng, FileKind::Proof, &seed.bytes, &other.bytes),
        };
        let candidate = match verifier.candidate(&seed.expected, &bytes) {
            Ok(candidate) => candidate,
            Err(e) => return Ok(format!("proof: {}", e.code()).into()),
        };
        if candidate.proof.to_bytes() != bytes {
            return Err("a proof that encodes to other bytes".into());
        }
        if below(rng, DEEP) != 0 {
            return Ok("proof: decoded".into());
        }
        let result = verifier.verify_runs(&candidate.expected, &candidate.proof);
        let result = result.map(drop);
        let reference = self.references[seed.model].verify(&candidate).map(drop);
        if reference != result {
            return Err(format!("upstream alone says {reference:?}, not {result:?}"));
        }
        match result {
            Ok(()) if bytes == seed.bytes => Ok("proof: unchanged".into()),
            Ok(()) => Err("a changed proof is accepted".into()),
            Err(e) => {
                pending.push((seed.model, candidate));
                Ok(format!("proof: {}", Refusal::from(e).code()).into())
            }
        }
    }

    /// Rejected proofs between valid ones: the batch must reject exactly the former.
    fn batch(&self, pending: &mut Vec<(usize, Candidate)>) -> Result<(), String> {
        let mut items = Vec::new();
        let mut valid = Vec::new();
        for ((model, candidate), seed) in pending.drain(..).zip(self.proofs.iter().cycle()) {
            items.push((self.verifiers[model], candidate));
            valid.push(false);
            let verifier = self.verifiers[seed.model];
            let good = verifier.candidate(&seed.expected, &seed.bytes);
            items.push((verifier, good.map_err(|e| e.to_string())?));
            valid.push(true);
        }
        let results: Vec<bool> = verify_many(items, BatchOptions::default())
            .map(|r| r.is_ok())
            .collect();
        if results == valid {
            Ok(())
        } else {
            Err(format!("a batch tells {results:?}, one by one {valid:?}"))
        }
    }
}

/// A changed file: mostly of the payload, with the checksum made anew, so that decoders see the change.
fn file(rng: &mut Random, kind: FileKind, original: &[u8], other: &[u8]) -> Vec<u8> {
    if below(rng, 8) == 0 {
        let mut bytes = original.to_vec();
        change(rng, &mut bytes, other);
        return bytes;
    }
    let payload = open(kind, original, usize::MAX).map(<[u8]>::to_vec);
    let mut payload = payload.unwrap_or_default();
    for _ in 0..1 + below(rng, 3) {
        change(rng, &mut payload, other);
    }
    // Sometimes something behind a field that hardly any change reaches.
    if rng.next_u32().is_multiple_of(64) {
        payload.push(0);
    }
    seal(kind, &payload)
}
