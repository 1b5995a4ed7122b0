//! Batches against single verification: the same result for every proof, whatever stands beside it.

use crate::common::{bytes, context, proof, reference, runs, verifier};
use ff::{Field, PrimeField};
use std::cell::Cell;
use zkinfer_circuits::F;
use zkinfer_circuits::card::Proof;
use zkinfer_circuits::error::Rejection;
use zkinfer_circuits::statement::{Claim, Side};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{BatchOptions, Candidate, Expected, Verdict, Verifier, verify_many};

type Item<'v> = (&'v Verifier, Candidate);
type Outcome = Result<Vec<Verdict>, Rejection>;

fn one<'v>(verifier: &'v Verifier, name: &str, proof: Proof) -> Item<'v> {
    (verifier, Candidate::one(context(name), proof))
}

fn several(expected: Vec<Expected>, proof: Proof) -> Candidate {
    Candidate { expected, proof }
}

fn alone((verifier, candidate): &Item<'_>) -> Outcome {
    verifier.verify_runs(&candidate.expected, &candidate.proof)
}

/// Checks a batch and that it is no other than one by one.
fn agree(items: &[Item<'_>]) -> Vec<Outcome> {
    let batch: Vec<Outcome> = verify_many(items.iter().cloned(), BatchOptions::default()).collect();
    let single: Vec<Outcome> = items.iter().map(alone).collect();
    assert_eq!(batch, single);
    let referred = items.iter().map(|(verifier, c)| reference(verifier, c));
    let reference: Vec<Outcome> = referred.collect();
    assert_eq!(batch, reference);
    batch
}

fn scalar(halo2: &mut [u8], at: usize, change: impl Fn(F) -> F) {
    let mut repr = [0; 32];
    repr.copy_from_slice(&halo2[at..at + 32]);
    let value = Option::<F>::from(F::from_repr(repr)).unwrap();
    halo2[at..at + 32].copy_from_slice(change(value).to_repr().as_ref());
}

/// Forged proofs of every kind of rejection, with the code that is expected.
fn forged<'v>(verifier: &'v Verifier) -> Vec<(&'static str, Item<'v>)> {
    let good = || proof("digits", "0");
    let plain = |change: &dyn Fn(&mut Proof)| {
        let mut proof = good();
        change(&mut proof);
        one(verifier, "digits", proof)
    };
    let expecting = |change: &dyn Fn(&mut Expected)| {
        let mut expected = context("digits");
        change(&mut expected);
        (verifier, Candidate::one(expected, good()))
    };
    let values = |claim: &mut Claim, change: &dyn Fn(&mut Vec<u16>)| match claim {
        Claim::Values(values) => change(values),
        other => panic!("{other:?}"),
    };
    let end = good().segments[0].halo2.len();
    let mut few = runs("digits");
    few.runs.pop();
    let mut swapped = runs("digits");
    swapped.runs.swap(0, 1);
    let mut unequal = runs("digits");
    let columns = &verifier.segments()[0].plan().layout.columns;
    let (from, to) = (
        32 * columns.phase1(),
        32 * (columns.advice() + columns.phase1()),
    );
    unequal.segments[0].halo2.copy_within(..32, to);
    assert_ne!(
        unequal.segments[0].halo2[from..from + 32],
        unequal.segments[0].halo2[to..to + 32]
    );
    vec![
        ("unknown_model", plain(&|p| p.card = Digest([7; 32]))),
        ("other_context", plain(&|p| p.context.push(0))),
        ("malformed_proof", plain(&|p| p.context = vec![0; 5000])),
        ("other_context", expecting(&|e| e.context.clear())),
        (
            "other_input",
            expecting(&|e| e.input = Some(Side::Public(vec![0; 64]))),
        ),
        (
            "other_output",
            expecting(&|e| e.output = Some(Side::Public(vec![0; 10]))),
        ),
        (
            "input_needed",
            one(verifier, "digits", proof("digits", "digest")),
        ),
        (
            "wrong_length",
            plain(&|p| values(&mut p.runs[0].0, &|v| v.truncate(63))),
        ),
        (
            "wrong_length",
            plain(&|p| p.runs[0].1 = Claim::Committed(Vec::new())),
        ),
        (
            "out_of_range",
            plain(&|p| values(&mut p.runs[0].1, &|v| v[9] = u16::MAX)),
        ),
        (
            "invalid_link",
            plain(&|p| values(&mut p.runs[0].1, &|v| v[9] ^= 1)),
        ),
        (
            "invalid_link",
            plain(&|p| values(&mut p.runs[0].0, &|v| v[9] ^= 1)),
        ),
        (
            "invalid_link",
            plain(&|p| p.segments[0].link.rows[3] += F::ONE),
        ),
        (
            "invalid_link",
            plain(&|p| p.segments[0].link.blind += F::ONE),
        ),
        (
            "invalid_link",
            plain(&|p| p.segments[0].link.commitment = -p.segments[0].link.commitment),
        ),
        (
            "invalid_link",
            plain(&|p| p.segments[0].link.commitment = Default::default()),
        ),
        (
            "invalid_link",
            plain(&|p| p.segments[0].link = proof("digits", "1").segments.remove(0).link),
        ),
        (
            "invalid_link",
            plain(&|p| p.segments[0].halo2 = proof("digits", "1").segments.remove(0).halo2),
        ),
        // The last two scalars of the opening, an evaluation before it.
        (
            "invalid_computation",
            plain(&|p| scalar(&mut p.segments[0].halo2, end - 32, |s| s + F::ONE)),
        ),
        (
            "invalid_computation",
            plain(&|p| scalar(&mut p.segments[0].halo2, end - 64, |s| s.double())),
        ),
        (
            "invalid_computation",
            plain(&|p| scalar(&mut p.segments[0].halo2, 32 * (26 + 1 + 4), |s| s + F::ONE)),
        ),
        // A point of the opening.
        (
            "invalid_computation",
            plain(&|p| p.segments[0].halo2.copy_within(0..32, end - 96)),
        ),
        (
            "malformed_proof",
            plain(&|p| p.segments[0].halo2.truncate(40)),
        ),
        (
            "malformed_proof",
            plain(&|p| p.segments[0].halo2.truncate(end - 1)),
        ),
        ("malformed_proof", plain(&|p| p.segments[0].halo2.push(0))),
        ("malformed_proof", plain(&|p| p.segments[0].halo2.clear())),
        (
            "malformed_proof",
            plain(&|p| p.segments[0].halo2[..32].fill(255)),
        ),
        (
            "malformed_proof",
            plain(&|p| p.segments[0].halo2[..32].fill(0)),
        ),
        (
            "malformed_proof",
            plain(&|p| p.segments[0].halo2[end - 96..end - 64].fill(255)),
        ),
        (
            "malformed_proof",
            plain(&|p| p.segments[0].halo2[end - 96..end - 64].fill(0)),
        ),
        (
            "malformed_proof",
            plain(&|p| p.segments[0].halo2[end - 32..].fill(255)),
        ),
        (
            "malformed_proof",
            plain(&|p| p.segments[0].halo2.resize(1 << 23, 0)),
        ),
        ("other_runs", (verifier, several(three("digits"), few))),
        (
            "other_runs",
            (verifier, several(Vec::new(), runs("digits"))),
        ),
        (
            "invalid_link",
            (verifier, several(three("digits"), swapped)),
        ),
        (
            "malformed_proof",
            (verifier, several(three("digits"), unequal)),
        ),
    ]
}

#[test]
fn every_forged_proof_is_named() {
    let verifier = verifier("digits");
    let forged = forged(&verifier);
    let valid = |which| one(&verifier, "digits", proof("digits", which));
    // Valid ones between them, so that culprits have to be found.
    let mut items = Vec::new();
    for (_, item) in &forged {
        items.extend([valid("0"), item.clone(), valid("1")]);
    }
    items.push((
        &verifier,
        several(vec![context("digits"); 3], runs("digits")),
    ));
    let found = agree(&items);
    for (i, (code, _)) in forged.iter().enumerate() {
        let refusal: zkinfer_circuits::receipt::Refusal =
            found[3 * i + 1].clone().unwrap_err().into();
        assert_eq!(refusal.code(), *code, "number {i}: {refusal}");
        assert!(found[3 * i].is_ok() && found[3 * i + 2].is_ok());
    }
    assert_eq!(found[3 * forged.len()].as_ref().err(), None);
}

#[test]
fn each_kind_is_named_alone_among_valid_ones() {
    let verifier = verifier("digits");
    for (i, (code, item)) in forged(&verifier).into_iter().enumerate() {
        // Several, for a batch.
        let mut items = vec![one(&verifier, "digits", proof("digits", "0")); 8];
        items.insert(i % 9, item);
        let found = verify_many(items, BatchOptions::default());
        let wrong: Vec<usize> = found
            .enumerate()
            .filter_map(|(at, r)| r.is_err().then_some(at))
            .collect();
        assert_eq!(wrong, [i % 9], "{code}");
    }
}

fn three(name: &str) -> Vec<Expected> {
    vec![context(name); 3]
}

fn swap(halo2: &mut [u8], a: usize, b: usize, elements: usize) {
    for at in 0..32 * elements {
        halo2.swap(32 * a + at, 32 * b + at);
    }
}

/// Lies in a proof of three runs that pass for nothing but what they are, with the code that is expected.
fn forged_runs<'v>(
    verifier: &'v Verifier,
    name: &str,
) -> Vec<(&'static str, &'static str, Item<'v>)> {
    let plan = verifier.segments()[0].plan();
    // Of a run: columns and their evaluations.
    let a = plan.description.advice;
    let q = (verifier.halo2_len(2) - verifier.halo2_len(1)) / 32 - a;
    let system = plan.circuit().constraint_system();
    let advices = 3 * a + 1 + system.degree() - 1;
    let fixed = advices + 3 * q;
    let end = verifier.halo2_len(3) / 32;
    let repeated = plan.repeated_columns();
    // Neither linked nor absorbed before the link.
    let late = (0..a).rfind(|&column| !repeated[column]).unwrap();
    let changed = |change: &dyn Fn(&mut Proof)| {
        let mut proof = runs(name);
        change(&mut proof);
        (verifier, several(three(name), proof))
    };
    let bytes = |change: &dyn Fn(&mut [u8])| changed(&|p| change(&mut p.segments[0].halo2));
    let add = |halo2: &mut [u8], at: usize, by: F| scalar(halo2, 32 * at, |s| s + by);
    let output = |claim: &mut Claim| match claim {
        Claim::Values(values) => values[0] ^= 1,
        other => panic!("{other:?}"),
    };
    let (link, computation) = ("invalid_link", "invalid_computation");
    let mut forged = vec![
        (
            "output of a later run",
            link,
            changed(&|p| output(&mut p.runs[2].1)),
        ),
        (
            "input of a later run",
            link,
            changed(&|p| output(&mut p.runs[1].0)),
        ),
        (
            "outputs exchanged",
            link,
            changed(&|p| {
                let first = p.runs[0].1.clone();
                p.runs[0].1 = std::mem::replace(&mut p.runs[2].1, first);
            }),
        ),
        (
            "blind of the link",
            link,
            changed(&|p| p.segments[0].link.blind += F::ONE),
        ),
        (
            "input columns exchanged",
            link,
            bytes(&|h| swap(h, 0, a, 1)),
        ),
        (
            "whole runs exchanged, but for the claims",
            link,
            bytes(&|h| {
                swap(h, a, 2 * a, a);
                swap(h, advices + q, advices + 2 * q, q);
            }),
        ),
        (
            "whole runs exchanged",
            link,
            changed(&|p| {
                p.runs.swap(1, 2);
                swap(&mut p.segments[0].halo2, a, 2 * a, a);
                swap(&mut p.segments[0].halo2, advices + q, advices + 2 * q, q);
            }),
        ),
        (
            "late columns exchanged",
            computation,
            bytes(&|h| swap(h, late, 2 * a + late, 1)),
        ),
        (
            "evaluations of two runs exchanged",
            computation,
            bytes(&|h| swap(h, advices, advices + q, q)),
        ),
        (
            "public columns exchanged",
            link,
            bytes(&|h| {
                let public = plan.public_columns();
                for run in 0..3 {
                    swap(h, run * a + public.start, run * a + public.start + 1, 1);
                }
            }),
        ),
        (
            "a public column of a later run",
            "malformed_proof",
            bytes(&|h| swap(h, a + late, a + plan.public_columns().start, 1)),
        ),
        (
            "errors in two runs that add up to zero",
            computation,
            bytes(&|h| {
                add(h, advices, F::ONE);
                add(h, advices + 2 * q, -F::ONE);
            }),
        ),
        (
            "an opening's point",
            computation,
            bytes(&|h| h.copy_within(..32, 32 * (end - 3))),
        ),
    ];
    for (what, at) in [
        ("an advice column of the first run", advices),
        ("an advice column of the second run", advices + q),
        ("an advice column of the last run", fixed - 1),
        ("a fixed column", fixed),
        ("the folded coefficient", end - 2),
        ("its blind", end - 1),
    ] {
        forged.push((what, computation, bytes(&|h| add(h, at, F::ONE))));
    }
    forged
}

#[test]
fn forged_proofs_of_several_runs_are_named() {
    for name in ["digits", "cnn"] {
        let verifier = verifier(name);
        let valid = || (&verifier, several(three(name), runs(name)));
        let forged = forged_runs(&verifier, name);
        // Each alone; all of them in one batch; and each among valid ones.
        let mut items = Vec::new();
        for (what, code, item) in &forged {
            let refusal: zkinfer_circuits::receipt::Refusal = alone(item).unwrap_err().into();
            assert_eq!(refusal.code(), *code, "{name}: {what}");
            items.extend([item.clone(), valid()]);
        }
        agree(&items);
        for (at, (what, code, item)) in forged.into_iter().enumerate() {
            let mut items = vec![valid(); 4];
            items.extend(vec![one(&verifier, name, proof(name, "0")); 4]);
            items.insert(at % 9, item);
            let found = verify_many(items, BatchOptions::default()).enumerate();
            let wrong = found.filter_map(|(at, r)| Some((at, r.err()?)));
            let wrong: Vec<(usize, Rejection)> = wrong.collect();
            assert_eq!(wrong.len(), 1, "{name}: {what}: {wrong:?}");
            let refusal: zkinfer_circuits::receipt::Refusal = wrong[0].1.clone().into();
            assert_eq!(
                (wrong[0].0, refusal.code()),
                (at % 9, code),
                "{name}: {what}"
            );
        }
    }
}

/// Errors that cancel in a sum without weights, or with equal ones.
#[test]
fn errors_do_not_cancel() {
    let verifier = verifier("digits");
    let pair = |change: &dyn Fn(&mut Proof, F)| {
        let changed = |by| {
            let mut proof = proof("digits", "0");
            change(&mut proof, by);
            one(&verifier, "digits", proof)
        };
        let found = agree(&[changed(F::ONE), changed(-F::ONE)]);
        assert!(found.iter().all(Result::is_err));
    };
    pair(&|p, by| p.segments[0].link.blind += by);
    pair(&|p, by| p.segments[0].link.rows[0] += by);
    let end = proof("digits", "0").segments[0].halo2.len();
    pair(&|p, by| scalar(&mut p.segments[0].halo2, end - 32, |s| s + by));
    // In one proof: the blinds of both equations stand with W.
    let mut both = proof("digits", "0");
    both.segments[0].link.blind += F::ONE;
    scalar(&mut both.segments[0].halo2, end - 32, |s| s + F::ONE);
    assert_eq!(
        verifier.verify(&context("digits"), &both),
        Err(Rejection::Link)
    );
}

#[test]
fn models_mix() {
    let (digits, cnn, again) = (verifier("digits"), verifier("cnn"), verifier("digits"));
    let mut bad = proof("cnn", "1");
    bad.segments[0].link.blind += F::ONE;
    let mut items = vec![
        one(&digits, "digits", proof("digits", "0")),
        one(&cnn, "cnn", proof("cnn", "0")),
        one(&again, "digits", proof("digits", "1")),
        one(&cnn, "cnn", bad),
        one(&cnn, "digits", proof("digits", "0")),
        (&cnn, several(vec![context("cnn"); 3], runs("cnn"))),
        one(&digits, "digits", proof("digits", "hidden")),
    ];
    let wrong: Vec<bool> = agree(&items).iter().map(Result::is_err).collect();
    assert_eq!(wrong, [false, false, false, true, true, false, false]);
    // Several of both models, and one that is there twice.
    for which in ["0", "1"].into_iter().cycle().take(8) {
        items.push(one(&cnn, "cnn", proof("cnn", which)));
        items.push(one(&digits, "digits", proof("digits", which)));
    }
    let found = agree(&items);
    let wrong: Vec<usize> = (0..items.len()).filter(|&i| found[i].is_err()).collect();
    assert_eq!(wrong, [3, 4]);
}

#[test]
fn small_batches_and_duplicates() {
    let verifier = verifier("digits");
    assert!(agree(&[]).is_empty());
    let item = || one(&verifier, "digits", proof("digits", "0"));
    assert!(agree(&[item()])[0].is_ok());
    assert!(agree(&vec![item(); 5]).iter().all(Result::is_ok));
    let mut bad = proof("digits", "0");
    bad.segments[0].link.blind += F::ONE;
    let bad = one(&verifier, "digits", bad);
    assert!(agree(std::slice::from_ref(&bad))[0].is_err());
    assert!(agree(&vec![bad.clone(); 5]).iter().all(Result::is_err));
    let mixed = [item(), bad.clone(), item(), bad, item()];
    let wrong: Vec<bool> = agree(&mixed).iter().map(Result::is_err).collect();
    assert_eq!(wrong, [false, true, false, true, false]);
}

/// A chunk takes what it may and no more; the results do not depend on it.
#[test]
fn chunks_bound_what_is_taken() {
    let verifier = verifier("digits");
    let taken = Cell::new(0);
    let item = one(&verifier, "digits", proof("digits", "0"));
    let items = std::iter::repeat_with(|| {
        taken.set(taken.get() + 1);
        item.clone()
    });
    let mut batch = verify_many(items.take(7), BatchOptions::default().with_proofs(3));
    assert_eq!(taken.get(), 0);
    for (result, expected) in [3, 3, 3, 6, 6, 6, 7].into_iter().enumerate() {
        assert!(batch.next().is_some_and(|r| r.is_ok()), "{result}");
        assert_eq!(taken.get(), expected);
    }
    assert!(batch.next().is_none());
    taken.set(0);
    let items = std::iter::repeat_with(|| {
        taken.set(taken.get() + 1);
        item.clone()
    });
    let mut batch = verify_many(items, BatchOptions::default().with_memory(1));
    assert!(batch.next().is_some_and(|r| r.is_ok()));
    assert_eq!(taken.get(), 1);
    // Options that allow nothing still make progress.
    let options = BatchOptions::default().with_memory(0).with_proofs(0);
    assert_eq!(verify_many(vec![item.clone(); 2], options).count(), 2);
}

/// Files that are no proofs never reach a batch.
#[test]
fn hostile_bytes_are_refused_before() {
    let verifier = verifier("digits");
    let expected = [context("digits")];
    let file = bytes("digits_0.proof");
    for cut in 0..file.len() {
        assert!(verifier.candidate(&expected, &file[..cut]).is_err());
    }
    assert!(
        verifier
            .candidate(&expected, &bytes("digits.card"))
            .is_err()
    );
    assert!(verifier.candidate(&expected, &file).is_ok());
}
