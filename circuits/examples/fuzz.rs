//! Mutates valid cards and proofs and checks what may never happen: a panic, or a changed file that is accepted.
//!
//! ```text
//! cargo run --release -p zkinfer-circuits --example fuzz -- [seconds] [seed] [folder]
//! ```
//!
//! Every execution takes one stored file, changes it (bytes, or a field behind the checksum), decodes it, and, where that
//! succeeds, verifies it. It fails, with the seed and number of the execution, where a file decodes that does not encode to
//! the same bytes again, or where one is accepted that is not byte for byte the one that it was made from. What is rejected
//! one by one is checked once more in a batch between valid proofs.

use ff::PrimeField;
use group::GroupEncoding;
use halo2_proofs::poly::commitment::Params;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zkinfer_circuits::card::{Card, FileKind, MultiProof, Proof, open, seal};
use zkinfer_circuits::receipt::Refusal;
use zkinfer_circuits::verify::{BatchOptions, Candidate, Expected, Limits, Verifier, verify_many};
use zkinfer_circuits::{C, F};

type Failure = Box<dyn std::error::Error>;

/// A stored file of a model.
struct Seed {
    kind: FileKind,
    bytes: Vec<u8>,
    /// Which verifier it belongs to.
    model: usize,
    expected: Vec<Expected>,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.first().map_or(Ok(10), |a| a.parse())?;
    let seed = arguments.get(1).map_or(Ok(1), |a| a.parse())?;
    let folder = arguments.get(2).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures"),
        PathBuf::from,
    );
    let limits = Limits::default();
    let (verifiers, seeds) = load(&folder, &limits)?;
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut pending = Vec::new();
    let (clock, duration) = (Instant::now(), Duration::from_secs(seconds));
    let mut executions = 0u64;
    while clock.elapsed() < duration {
        executions += 1;
        let seed_file = &seeds[below(&mut rng, seeds.len())];
        let other = &seeds[below(&mut rng, seeds.len())];
        let mutated = mutate(&mut rng, seed_file, &other.bytes);
        // Decoding is far cheaper than verifying, so it is tried more often.
        let deep = below(&mut rng, 16) == 0;
        let outcome = match seed_file.kind {
            FileKind::Card => card(&mutated, seed_file, &verifiers, &limits, deep),
            _ => proof(&mutated, seed_file, &verifiers, &mut pending, deep),
        };
        let outcome = outcome.map_err(|e| format!("seed {seed}, execution {executions}: {e}"))?;
        *counts.entry(outcome).or_default() += 1;
        // What reached the equations is checked together with a valid proof, every so often.
        if pending.len() >= 16 {
            batch(&verifiers, &seeds, &mut pending)
                .map_err(|e| format!("seed {seed}, before execution {executions}: {e}"))?;
        }
    }
    println!("{executions} executions in {seconds} s, seed {seed}");
    for (outcome, count) in counts {
        println!("{count:>9}  {outcome}");
    }
    Ok(())
}

fn load(folder: &Path, limits: &Limits) -> Result<(Vec<Verifier>, Vec<Seed>), Failure> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let stem = |path: &Path| {
        let name = path.file_stem().map(|n| n.to_string_lossy().into_owned());
        name.unwrap_or_default()
    };
    let mut params: BTreeMap<u32, Arc<Params<C>>> = BTreeMap::new();
    let (mut names, mut verifiers, mut seeds) = (Vec::new(), Vec::new(), Vec::new());
    for path in files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "card"))
    {
        let bytes = std::fs::read(path)?;
        let card = Card::from_bytes(&bytes, limits.card_bytes)?;
        let k = card.k;
        let params = params.entry(k).or_insert_with(|| Arc::new(Params::new(k)));
        seeds.push(Seed {
            kind: FileKind::Card,
            bytes,
            model: verifiers.len(),
            expected: Vec::new(),
        });
        verifiers.push(Verifier::new(card, params.clone(), limits)?);
        names.push(stem(path));
    }
    for path in files
        .iter()
        .filter(|p| p.extension().is_none_or(|e| e != "card"))
    {
        let bytes = std::fs::read(path)?;
        let name = stem(path);
        let Some(model) = names.iter().position(|n| name.starts_with(n.as_str())) else {
            continue;
        };
        let expected = Expected {
            context: names[model].as_bytes().to_vec(),
            ..Expected::default()
        };
        // Where the file does not carry its input it is not used.
        let Ok(verdicts) = verifiers[model].verify_bytes(std::slice::from_ref(&expected), &bytes)
        else {
            continue;
        };
        // Once with nothing but the context expected, so that changed claims get as far as the equations.
        seeds.push(Seed {
            kind: FileKind::of(&bytes)?,
            expected: vec![expected; verdicts.len()],
            bytes: bytes.clone(),
            model,
        });
        let expected = verdicts.into_iter().map(|v| Expected {
            input: Some(v.input),
            output: Some(v.output),
            context: v.context,
        });
        seeds.push(Seed {
            kind: FileKind::of(&bytes)?,
            expected: expected.collect(),
            bytes,
            model,
        });
    }
    if seeds.is_empty() {
        return Err(format!("no cards in {}", folder.display()).into());
    }
    Ok((verifiers, seeds))
}

fn below(rng: &mut impl Rng, limit: usize) -> usize {
    (rng.next_u64() % limit.max(1) as u64) as usize
}

/// A changed file: mostly of the payload, with the checksum made anew, so that decoders see the change.
fn mutate(rng: &mut impl Rng, seed: &Seed, other: &[u8]) -> Vec<u8> {
    if below(rng, 8) == 0 {
        let mut bytes = seed.bytes.clone();
        change(rng, &mut bytes, other);
        return bytes;
    }
    let mut payload = open(seed.kind, &seed.bytes, usize::MAX)
        .map(<[u8]>::to_vec)
        .unwrap_or_default();
    for _ in 0..1 + below(rng, 3) {
        change(rng, &mut payload, other);
    }
    seal(seed.kind, &payload)
}

fn change(rng: &mut impl Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = below(rng, bytes.len());
    let len = bytes.len();
    match below(rng, 12) {
        0 | 1 if len > 0 => bytes[at] ^= 1 << below(rng, 8),
        2 if len > 0 => bytes[at] = rng.next_u64() as u8,
        3 => bytes.truncate(at),
        4 => bytes.insert(at.min(len), rng.next_u64() as u8),
        5 if len > 0 => drop(bytes.remove(at)),
        // A length or another integer that is far too large, or zero.
        6 if len >= at + 4 => {
            let value = [0, u32::MAX, 1, 1 << 31][below(rng, 4)];
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        // Valid points and scalars at places where one may stand; proofs end in a list of them.
        7 if len >= 32 => {
            let at = len - 32 * (1 + below(rng, len / 32));
            let scalar = F::from(rng.next_u64()).to_repr();
            bytes[at..at + 32].copy_from_slice(scalar.as_ref());
        }
        8 if len >= 32 => {
            let at = len - 32 * (1 + below(rng, len / 32));
            let point = small_point(rng);
            bytes[at..at + 32].copy_from_slice(point.to_bytes().as_ref());
        }
        9 if len >= 64 => {
            let (from, to) = (below(rng, len / 32), below(rng, len / 32));
            let (from, to) = (len - 32 * (1 + from), len - 32 * (1 + to));
            bytes.copy_within(from..from + 32, to);
        }
        10 if len >= 2 => {
            let count = 1 + below(rng, 64.min(len - at));
            let from = below(rng, other.len().saturating_sub(count));
            if let Some(piece) = other.get(from..from + count) {
                bytes[at..at + count].copy_from_slice(piece);
            }
        }
        _ => {
            let count = below(rng, 64.min(len - at) + 1);
            bytes[at..at + count]
                .iter_mut()
                .for_each(|b| *b = rng.next_u64() as u8);
        }
    }
}

fn small_point(rng: &mut impl Rng) -> C {
    use group::{Curve, Group};
    (pasta_curves::Eq::generator() * F::from(rng.next_u64())).to_affine()
}

fn card(
    bytes: &[u8],
    seed: &Seed,
    verifiers: &[Verifier],
    limits: &Limits,
    deep: bool,
) -> Result<String, String> {
    let card = match Card::from_bytes(bytes, limits.card_bytes) {
        Ok(card) => card,
        Err(e) => return Ok(format!("card: {}", Refusal::from(e).code())),
    };
    if card.to_bytes() != bytes {
        return Err("a card that encodes to other bytes".into());
    }
    let original = &verifiers[seed.model];
    if bytes == seed.bytes {
        return Ok("card: unchanged".into());
    }
    if !deep {
        return Ok("card: decoded".into());
    }
    // Hostile cards may ask for more work, but not for more than this.
    let mut limits = *limits;
    limits.k = original.card().k;
    limits.program.elements = 1 << 20;
    limits.program.slots = 1 << 16;
    let params = verifiers.iter().find(|v| v.card().k == card.k);
    let params = params.map_or(original, |v| v).params().clone();
    match Verifier::new(card.clone(), params, &limits) {
        Err(e) => Ok(format!("card: {}", Refusal::from(e).code())),
        // Another model is no forgery; but the support proof binds everything of the card, so a change must break it.
        Ok(_) => Err("a changed card is accepted".into()),
    }
}

fn proof(
    bytes: &[u8],
    seed: &Seed,
    verifiers: &[Verifier],
    pending: &mut Vec<(usize, Candidate)>,
    deep: bool,
) -> Result<String, String> {
    let verifier = &verifiers[seed.model];
    let candidate = match verifier.candidate(&seed.expected, bytes) {
        Ok(candidate) => candidate,
        Err(e) => return Ok(format!("proof: {}", e.code())),
    };
    let again = match &candidate {
        Candidate::One(_, proof) => Proof::to_bytes(proof),
        Candidate::Runs(_, proof) => MultiProof::to_bytes(proof),
    };
    if again != bytes {
        return Err("a proof that encodes to other bytes".into());
    }
    if !deep {
        return Ok("proof: decoded".into());
    }
    let result = match &candidate {
        Candidate::One(expected, proof) => verifier.verify(expected, proof).map(drop),
        Candidate::Runs(expected, proof) => verifier.verify_runs(expected, proof).map(drop),
    };
    match result {
        Ok(()) if bytes == seed.bytes => Ok("proof: unchanged".into()),
        Ok(()) => Err("a changed proof is accepted".into()),
        Err(e) => {
            pending.push((seed.model, candidate));
            Ok(format!("proof: {}", Refusal::from(e).code()))
        }
    }
}

/// Rejected proofs between valid ones: the batch must reject exactly the former.
fn batch(
    verifiers: &[Verifier],
    seeds: &[Seed],
    pending: &mut Vec<(usize, Candidate)>,
) -> Result<(), String> {
    let mut items = Vec::new();
    let mut valid = Vec::new();
    let proofs = seeds.iter().filter(|s| s.kind != FileKind::Card);
    for ((model, candidate), seed) in pending.drain(..).zip(proofs.cycle()) {
        items.push((&verifiers[model], candidate));
        valid.push(false);
        let verifier = &verifiers[seed.model];
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
