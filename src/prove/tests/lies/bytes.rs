//! Bytes of proofs that were changed so that errors cancel, and bytes that nobody reads.

use super::*;
use blake2b_simd::Params as Blake2b;
use ff::{FromUniformBytes, PrimeField};
use group::GroupEncoding;
use zkinfer_circuits::statement::{segment_digest, statement_digest};
use zkinfer_circuits::verify::{BatchOptions, Candidate, verify_many};

pub(super) const LIES: &[Told] = &[
    ("bytes_behind_a_proof", Check::ProofLength, || {
        let (verifier, mut proof) = honest();
        proof.segments[0].halo2.extend([0; 32]);
        accepted(&verifier, &proof)
    }),
    ("errors_of_both_sums_that_cancel", Check::Weight, || {
        let (verifier, mut proof) = honest();
        wrong_opening(&mut proof, F::from(5));
        proof.segments[0].link.blind += F::from(5);
        accepted(&verifier, &proof)
    }),
    (
        "error_of_the_link_fitted_to_the_weight",
        Check::WeightLink,
        || {
            let (verifier, mut proof) = honest();
            wrong_opening(&mut proof, F::from(5));
            let weight = weight_of(&verifier, &proof, (false, true));
            proof.segments[0].link.blind += F::from(5) * weight.invert().unwrap();
            accepted(&verifier, &proof)
        },
    ),
    (
        "error_of_the_opening_fitted_to_the_weight",
        Check::WeightProof,
        || {
            let (verifier, mut proof) = honest();
            proof.segments[0].link.blind += F::from(5);
            let weight = weight_of(&verifier, &proof, (true, false));
            wrong_opening(&mut proof, F::from(5) * weight);
            accepted(&verifier, &proof)
        },
    ),
    ("errors_of_two_proofs_that_cancel", Check::BatchSeed, || {
        let (verifier, mut proof) = honest();
        let mut other = proof.clone();
        // With a seed that is known beforehand.
        let seed = Digest::of("zkinfer-batch", &[]);
        wrong_opening(&mut proof, weight(&seed, 2));
        wrong_opening(&mut other, -weight(&seed, 0));
        accepted_together(&verifier, &[proof, other])
    }),
    (
        "errors_of_one_proof_that_cancel_in_a_batch",
        Check::BatchWeights,
        || {
            let (verifier, mut proof) = honest();
            wrong_opening(&mut proof, F::from(5));
            proof.segments[0].link.blind += F::from(5);
            let (_, other) = honest();
            accepted_together(&verifier, &[proof, other])
        },
    ),
];

fn honest() -> (Verifier, Proof) {
    let secret = small();
    let proof = prove(&secret, &small_run(&secret), b"", &mut Honest);
    (verifier(&secret), proof)
}

fn accepted(verifier: &Verifier, proof: &Proof) -> bool {
    verifier.verify(&expected(b""), proof).is_ok()
}

fn accepted_together(verifier: &Verifier, proofs: &[Proof]) -> bool {
    let candidates = proofs.iter().cloned();
    let candidates = candidates.map(|p| (verifier, Candidate::one(expected(b""), p)));
    verify_many(candidates, BatchOptions::default()).all(|r| r.is_ok())
}

/// Upstream's sum becomes `−by·W`: the last scalar of a proof is the blind of its opening.
fn wrong_opening(proof: &mut Proof, by: F) {
    let at = proof.segments[0].halo2.len() - 32;
    let mut repr = [0; 32];
    repr.copy_from_slice(&proof.segments[0].halo2[at..]);
    let blind = Option::<F>::from(F::from_repr(repr)).unwrap() + by;
    proof.segments[0].halo2[at..].copy_from_slice(blind.to_repr().as_ref());
}

/// The weight that the link's sum has, of a hash without the link's or upstream's bytes.
fn weight_of(verifier: &Verifier, proof: &Proof, (link, halo2): (bool, bool)) -> F {
    let side = |claim: &Claim| match claim {
        Claim::Values(values) => Side::Public(values.clone()),
        other => panic!("{other:?}"),
    };
    let [(input, output)] = proof.runs.as_slice() else {
        panic!("it is of one run")
    };
    let sides = [(side(input), side(output))];
    let segment = segment_digest(&verifier.digest(), 0);
    let mut bytes = statement_digest(&segment, &sides, b"").0.to_vec();
    if link {
        bytes.extend_from_slice(proof.segments[0].link.commitment.to_bytes().as_ref());
        for scalar in proof.segments[0]
            .link
            .rows
            .iter()
            .chain([&proof.segments[0].link.blind])
        {
            bytes.extend_from_slice(scalar.to_repr().as_ref());
        }
    }
    if halo2 {
        bytes.extend_from_slice(&proof.segments[0].halo2);
    }
    let part = Digest::of("zkinfer-part", &bytes);
    weight(&Digest::of("zkinfer-proof", &part.0), 0)
}

/// A weight as the verifier derives it.
fn weight(seed: &Digest, index: u64) -> F {
    let hash = Blake2b::new()
        .hash_length(64)
        .personal(b"zkinfer-weight")
        .to_state()
        .update(&seed.0)
        .update(&index.to_le_bytes())
        .finalize();
    let mut wide = [0; 64];
    wide.copy_from_slice(hash.as_bytes());
    F::from_uniform_bytes(&wide)
}
