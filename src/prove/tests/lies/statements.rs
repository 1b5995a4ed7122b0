//! Proofs for another statement: another model, context, number of runs or sides, chains that do not fit.

use super::super::zoo::supported;
use super::*;
use crate::secret::{Opening, SideVisibility};
use zkinfer_circuits::program::{Neurons, Node, Program, Term, Unit, ValueRef, Weights};
use zkinfer_circuits::verify::verify_chain;
use zkinfer_model::model::QuantizedModel;

pub(super) const LIES: &[Told] = &[
    ("proof_of_another_card", Check::CardDigest, || {
        let secret = small();
        let mut proof = prove(&secret, &small_run(&secret), b"", &mut Honest);
        proof.card = Digest([7; 32]);
        verifier(&secret).verify(&expected(b""), &proof).is_ok()
    }),
    ("proof_for_another_context", Check::Context, || {
        let secret = small();
        let proof = prove(&secret, &small_run(&secret), b"one", &mut Honest);
        verifier(&secret).verify(&expected(b"two"), &proof).is_ok()
    }),
    ("other_context_of_a_later_run", Check::LaterContexts, || {
        let (verifier, proof) = two_runs();
        let expected = [expected(b""), expected(b"two")];
        verifier.verify_runs(&expected, &proof).is_ok()
    }),
    ("more_runs_expected_than_proven", Check::RunCount, || {
        let (verifier, proof) = two_runs();
        verifier
            .verify_runs(&vec![expected(b""); 3], &proof)
            .is_ok()
    }),
    ("output_with_a_value_to_spare", Check::SideLength, || {
        let secret = small();
        let run = small_run(&secret);
        let mut output = run.output().to_vec();
        output.push(5);
        let proof = claim(&secret, &run, (run.input().to_vec(), output));
        verifier(&secret).verify(&expected(b""), &proof).is_ok()
    }),
    ("card_with_other_scales", Check::BoundCard, other_scales),
    (
        "proof_moved_to_another_context",
        Check::BoundContext,
        || {
            let secret = small();
            let mut proof = prove(&secret, &small_run(&secret), b"one", &mut Honest);
            proof.context = b"two".to_vec();
            verifier(&secret).verify(&expected(b"two"), &proof).is_ok()
        },
    ),
    ("other_output_than_computed", Check::Link, || {
        let secret = small();
        let run = small_run(&secret);
        let mut output = run.output().to_vec();
        output[0] += 1;
        let proof = claim(&secret, &run, (run.input().to_vec(), output));
        verifier(&secret).verify(&expected(b""), &proof).is_ok()
    }),
    ("input_and_output_that_cancel", Check::LinkMu, || {
        // The first input and the first output stand in the same row: what one claim has too much the other lacks.
        let secret = small();
        let run = small_run(&secret);
        let (mut input, mut output) = (run.input().to_vec(), run.output().to_vec());
        input[0] += 1;
        output[0] -= 1;
        let proof = claim(&secret, &run, (input, output));
        verifier(&secret).verify(&expected(b""), &proof).is_ok()
    }),
    ("wrong_accumulator", Check::Circuit, || {
        struct OneMore;
        impl Deviation for OneMore {
            fn cells(&mut self, plan: &Plan, phase1: &mut witness::Phase1) {
                one_more(plan, phase1);
            }
        }
        let secret = small();
        let mut run = small_run(&secret);
        run.forge_output(0, 1);
        let proof = prove(&secret, &run, b"", &mut OneMore);
        verifier(&secret).verify(&expected(b""), &proof).is_ok()
    }),
    ("chain_of_other_ranges", Check::ChainBits, || {
        chained(&small(), &secret_of(copies(7, 2), 6, 3), |_| {})
    }),
    ("chain_of_other_columns", Check::ChainRows, || {
        let plan = |k| Plan::new(copies(6, 2).program, k, &Limits::default()).unwrap();
        plan(6).feeds(&plan(7))
    }),
    (
        "chain_that_reads_in_another_order",
        Check::ChainPlaces,
        || {
            // A channel that does not fit a column is cut into even tiles, while inputs fill one lane after the other.
            let plan = Plan::new(copies(6, 70).program, 6, &Limits::default()).unwrap();
            plan.feeds(&plan)
        },
    ),
    ("chain_of_another_commitment", Check::ChainSides, || {
        chained(&small(), &secret_of(copies(6, 2), 6, 3), |integers| {
            integers[0] ^= 1
        })
    }),
];

fn two_runs() -> (Verifier, Proof) {
    let secret = small();
    let runs = vec![small_run(&secret); 2];
    let proof = prove_runs(&secret, &runs, &mut Honest);
    (verifier(&secret), proof)
}

/// The same points under a card that says something else of its integers.
fn other_scales() -> bool {
    let secret = small();
    let mut proof = prove(&secret, &small_run(&secret), b"", &mut Honest);
    let mut card = secret.card().clone();
    card.info.push(b' ');
    let card = supported(&secret, card);
    proof.card = card.digest();
    let verifier = Verifier::new(card, bases(6), &Limits::default()).unwrap();
    verifier.verify(&expected(b""), &proof).is_ok()
}

/// Copies its inputs.
pub(crate) fn copies(bits: u32, len: u32) -> QuantizedModel {
    let copy = Neurons {
        groups: 1,
        outputs: 1,
        positions: len,
        unit: Unit::LINEAR,
        terms: vec![Term {
            patches: ValueRef::new(0),
            inputs: 1,
            weights: Weights::Public(vec![1 << bits]),
        }],
    };
    QuantizedModel {
        program: Program {
            range_bits: bits,
            tables: vec![],
            nodes: vec![Node::Input { len }, Node::Neurons(copy)],
            outputs: vec![1],
        },
        weights: vec![],
        hints: vec![],
        inputs: vec![],
        outputs: vec![],
        layers: vec![],
        decodings: vec![],
    }
}

/// Two proofs with a committed boundary; `change` makes it another commitment.
pub(crate) fn proofs(
    first: &Secret,
    second: &Secret,
    change: impl FnOnce(&mut [u32]),
) -> (Proof, Proof) {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let run = small_run(first);
    let visibility = Visibility {
        output: SideVisibility::Committed,
        attach_input: true,
        ..Visibility::default()
    };
    let written = first.prove(&run, &visibility, b"", &mut rng).unwrap();
    let mut integers: Vec<u32> = run.output().iter().map(|&v| u32::from(v)).collect();
    let honest = integers.clone();
    change(&mut integers);
    let opening: Option<Opening> = written.output.filter(|_| honest == integers);
    let input = opening.map_or(SideVisibility::Committed, SideVisibility::Opened);
    let run = second.infer_integers(&[integers]).unwrap();
    let visibility = Visibility {
        input,
        ..Visibility::default()
    };
    let read = second.prove(&run, &visibility, b"", &mut rng).unwrap();
    (written.proof, read.proof)
}

fn chained(first: &Secret, second: &Secret, change: impl FnOnce(&mut [u32])) -> bool {
    let (written, read) = proofs(first, second, change);
    let (a, b) = (verifier(first), verifier(second));
    let anything = expected(b"");
    verify_chain(&[(&a, &anything, &written), (&b, &anything, &read)]).is_ok()
}
