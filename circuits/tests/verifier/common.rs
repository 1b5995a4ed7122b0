//! Stored cards and proofs; `xtask/src/bin/fixtures.rs` made them.

use halo2_proofs::poly::commitment::Params;
use std::path::Path;
use std::sync::{Arc, Mutex};
use zkinfer_circuits::C;
use zkinfer_circuits::card::{Card, Proof};
use zkinfer_circuits::error::Rejection;
use zkinfer_circuits::generators::Generators;
use zkinfer_circuits::verify::{Candidate, Expected, Limits, Reference, Verdict, Verifier};

/// Bytes of a fixture.
pub fn bytes(file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    std::fs::read(folder.join(file)).unwrap()
}

/// Parameters, made once.
pub fn params(k: u32) -> Arc<Params<C>> {
    static MADE: Mutex<Vec<Arc<Params<C>>>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    if let Some(params) = made.iter().find(|p| p.k() == k) {
        return params.clone();
    }
    made.push(Arc::new(Params::new(k)));
    made[made.len() - 1].clone()
}

/// Generators, made once.
pub fn generators(k: u32) -> Arc<Generators> {
    static MADE: Mutex<Vec<Arc<Generators>>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    if let Some(generators) = made.iter().find(|g| g.k() == k) {
        return generators.clone();
    }
    made.push(Arc::new(Generators::new(k)));
    made[made.len() - 1].clone()
}

/// What upstream's verifier alone says.
pub fn reference(verifier: &Verifier, candidate: &Candidate) -> Result<Vec<Verdict>, Rejection> {
    let params = params(verifier.card().k);
    Reference::new(verifier, params).unwrap().verify(candidate)
}

/// The verifier of `name.card`.
pub fn verifier(name: &str) -> Verifier {
    let limits = Limits::default();
    let card = Card::from_bytes(&bytes(&format!("{name}.card")), limits.card_bytes).unwrap();
    let generators = generators(card.k);
    Verifier::new(card, generators, &limits).unwrap()
}

/// `name_which.proof`.
pub fn proof(name: &str, which: &str) -> Proof {
    Proof::from_bytes(&bytes(&format!("{name}_{which}.proof")), 1 << 20).unwrap()
}

/// `name_3.runs`.
pub fn runs(name: &str) -> Proof {
    Proof::from_bytes(&bytes(&format!("{name}_3.runs")), 1 << 20).unwrap()
}

/// Nothing but the context.
pub fn context(name: &str) -> Expected {
    Expected {
        context: name.as_bytes().to_vec(),
        ..Expected::default()
    }
}
