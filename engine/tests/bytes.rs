//! The engine's bytes are those of `create_proof`, and upstream's verifier accepts them.

use ff::Field;
use halo2_proofs::plonk::{SingleVerifier, create_proof, keygen_pk, verify_proof};
use halo2_proofs::poly::commitment::Params;
use halo2_proofs::transcript::{Blake2bRead, Blake2bWrite, Challenge255};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::Arc;
use zkinfer_circuits::circuit::{PlanCircuit, with_description};
use zkinfer_circuits::expr::Expr;
use zkinfer_circuits::gates::{Description, Gate, Sums};
use zkinfer_engine::{C, F, Generators, Key, Prover};
use zkinfer_kernels::vector::{Backend, Portable};

/// A running product of squares: `next = (value² + 3·instance)·factor`, and two columns that are constant.
fn description() -> Description {
    let gate = |name: &str, poly| Gate {
        name: name.into(),
        poly,
    };
    let square = Expr::advice(0) * Expr::advice(0);
    let step = (square + Expr::instance(0).shifted(1)) * Expr::advice(2);
    Description {
        advice: 4,
        fixed: 2,
        instance: 2,
        kappa: 0,
        sums: Sums {
            alpha: 0,
            theta: None,
            y_constants: Vec::new(),
            e_constants: Vec::new(),
            lookups: Vec::new(),
            tables: Vec::new(),
            accumulators: 0,
            products: 0,
            coefficients: None,
        },
        gates: vec![
            gate("step", Expr::fixed(0) * (Expr::next(0) - step)),
            gate("starts", Expr::fixed(1) * (Expr::advice(0) - Expr::int(5))),
            gate(
                "carried",
                Expr::fixed(0) * (Expr::next(2) - Expr::advice(2)),
            ),
            gate(
                "pinned",
                Expr::fixed(1) * (Expr::advice(2) - Expr::instance(1)),
            ),
            gate(
                "bit",
                Expr::advice(1) * (Expr::advice(1) - Expr::int(1)) * Expr::fixed(0),
            ),
            gate("copy", Expr::fixed(0) * (Expr::advice(3) - Expr::advice(1))),
        ],
    }
}

fn compare<B: Backend>(k: u32) {
    let Some(backend) = B::detect() else {
        eprintln!("skipped: this machine has no {}", B::NAME);
        return;
    };
    let params = Params::<C>::new(k);
    let description = Arc::new(description());
    let n = 1usize << k;
    let last = n - 7;
    let mut active = vec![0; n];
    active[..last].fill(1);
    let mut first = vec![0; n];
    first[0] = 1;
    let fixed = vec![active, first];
    let factor = F::from(12345).square();
    let instances = vec![
        (0..last as u64).map(F::from).collect::<Vec<_>>(),
        vec![factor],
    ];
    let mut advice = vec![vec![F::ZERO; last + 1]; 4];
    advice[0][0] = F::from(5);
    for i in 0..=last {
        advice[1][i] = F::from((i % 3 == 0) as u64);
        advice[3][i] = advice[1][i];
        advice[2][i] = factor;
        if i < last {
            let square = advice[0][i].square() + instances[0][i].double();
            advice[0][i + 1] = square * factor;
        }
    }
    let circuit = PlanCircuit::new(description.clone(), Arc::new(fixed.clone()), last + 1);
    let vk = circuit.verifying_key(&params).unwrap();
    let pk = with_description(&description, || keygen_pk(&params, vk.clone(), &circuit)).unwrap();
    let refs: Vec<&[F]> = instances.iter().map(Vec::as_slice).collect();
    let filled = circuit.with_advice(Arc::new(advice.clone()));
    let rng = ChaCha20Rng::seed_from_u64(7);
    let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
    with_description(&description, || {
        create_proof(
            &params,
            &pk,
            &[filled],
            &[&refs],
            rng.clone(),
            &mut transcript,
        )
    })
    .unwrap();
    let expected = transcript.finalize();

    let generators = Arc::new(Generators::new(backend, &params).unwrap());
    let key = Key::new(generators, &description, &fixed, vk.clone()).unwrap();
    let mut prover = Prover::new(&key, rng);
    prover.commit(0, &advice[..1]).unwrap();
    prover.commit(0, &advice[1..]).unwrap();
    let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
    prover
        .finish(std::slice::from_ref(&instances), &mut transcript)
        .unwrap();
    let proof = transcript.finalize();
    let mut reader = Blake2bRead::<_, C, Challenge255<C>>::init(proof.as_slice());
    let different = proof
        .chunks(32)
        .zip(expected.chunks(32))
        .position(|(a, b)| a != b);
    assert_eq!(
        (different, proof.len()),
        (None, expected.len()),
        "k = {k}, {}",
        B::NAME
    );
    let strategy = SingleVerifier::new(&params);
    verify_proof(&params, &vk, strategy, &[&refs], &mut reader).unwrap();
}

#[test]
fn portable() {
    for k in [5, 7, 9] {
        compare::<Portable>(k);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn ifma() {
    for k in [6, 7, 9] {
        compare::<zkinfer_kernels::vector::Ifma>(k);
    }
}
