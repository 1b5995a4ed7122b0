//! The engine's bytes are those of `create_proof`, and upstream's verifier accepts them.

use ff::Field;
use halo2_proofs::plonk::{SingleVerifier, create_proof, keygen_pk, verify_proof};
use halo2_proofs::poly::EvaluationDomain;
use halo2_proofs::poly::commitment::{Blind, Params, create_proof as create_opening};
use halo2_proofs::transcript::{Blake2bRead, Blake2bWrite, Challenge255};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::Arc;
use zkinfer_circuits::circuit::{PlanCircuit, with_description};
use zkinfer_circuits::expr::{AnyColumn, Expr};
use zkinfer_circuits::gates::{Description, Gate, Sums};
use zkinfer_engine::{C, F, Generators, Key, Prover};
use zkinfer_kernels::vector::{Backend, Portable};

/// A running product, `next = (value² + 2·instance)·factor`, bits, and a constant column; `copies` ties cells of the bits'
/// columns, a fixed column, the constant and the second instance column together.
fn description(copies: bool) -> Description {
    let gate = |name: &str, poly| Gate {
        name: name.into(),
        poly,
    };
    let square = Expr::advice(0) * Expr::advice(0);
    let step = (square + Expr::instance(0).shifted(1)) * Expr::advice(2);
    let bit = Expr::advice(1) * (Expr::advice(1) - Expr::int(1)) * Expr::fixed(0);
    let pinned = Expr::advice(2) - Expr::instance(1);
    use AnyColumn::{Advice, Fixed, Instance};
    Description {
        advice: 4,
        fixed: 2,
        instance: 2,
        sums: Sums {
            alpha: 0,
            theta: None,
            y_constants: Vec::new(),
            e_constants: Vec::new(),
            kappa: None,
            beta: Vec::new(),
            lookups: Vec::new(),
            tables: Vec::new(),
            gather_constants: None,
            gathered: Vec::new(),
            gathers: Vec::new(),
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
            gate("pinned", Expr::fixed(1) * pinned),
            gate("bit", bit),
        ],
        equality: if copies {
            vec![Advice(1), Advice(3), Fixed(1), Advice(2), Instance(1)]
        } else {
            Vec::new()
        },
        copies: if copies {
            vec![
                [(Advice(1), 0), (Advice(3), 3)],
                [(Advice(3), 6), (Advice(1), 9)],
                [(Advice(3), 3), (Advice(1), 9)],
                [(Advice(1), 1), (Fixed(1), 5)],
                [(Fixed(1), 0), (Advice(3), 12)],
                [(Advice(2), 4), (Instance(1), 0)],
            ]
        } else {
            Vec::new()
        },
    }
}

struct Case {
    params: Params<C>,
    description: Arc<Description>,
    fixed: Vec<Vec<u32>>,
    advice: Vec<Vec<F>>,
    instances: Vec<Vec<F>>,
    circuit: PlanCircuit,
}

impl Case {
    fn new(k: u32, copies: bool) -> Case {
        let description = Arc::new(description(copies));
        let n = 1usize << k;
        let last = n - 7;
        let mut active = vec![0; n];
        active[..last].fill(1);
        let mut first = vec![0; n];
        first[0] = 1;
        let fixed = vec![active, first];
        let factor = F::from(12345).square();
        let instances = vec![(0..last as u64).map(F::from).collect(), vec![factor]];
        let mut advice = vec![vec![F::ZERO; last + 1]; 4];
        advice[0][0] = F::from(5);
        for i in 0..=last {
            advice[1][i] = F::from(u64::from(i % 3 == 0));
            advice[3][i] = advice[1][i];
            advice[2][i] = factor;
            if i < last {
                let square: F = advice[0][i].square() + instances[0][i].double();
                advice[0][i + 1] = square * factor;
            }
        }
        let circuit = PlanCircuit::new(description.clone(), Arc::new(fixed.clone()), last + 1);
        Case {
            params: Params::new(k),
            description,
            fixed,
            advice,
            instances,
            circuit,
        }
    }

    fn upstream(&self, circuits: usize) -> Vec<u8> {
        let vk = self.circuit.verifying_key(&self.params).unwrap();
        let pk = with_description(&self.description, || {
            keygen_pk(&self.params, vk, &self.circuit)
        })
        .unwrap();
        let refs: Vec<&[F]> = self.instances.iter().map(Vec::as_slice).collect();
        let filled = self.circuit.with_advice(Arc::new(self.advice.clone()));
        let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
        with_description(&self.description, || {
            create_proof(
                &self.params,
                &pk,
                &vec![filled; circuits],
                &vec![refs.as_slice(); circuits],
                ChaCha20Rng::seed_from_u64(7),
                &mut transcript,
            )
        })
        .unwrap();
        transcript.finalize()
    }

    fn engine<B: Backend>(&self, backend: B, circuits: usize) -> Vec<u8> {
        let vk = self.circuit.verifying_key(&self.params).unwrap();
        let generators = Arc::new(Generators::new(backend, &self.params).unwrap());
        let key = Key::new(generators, &self.description, &self.fixed, vk).unwrap();
        let rng = ChaCha20Rng::seed_from_u64(7);
        let mut prover = Prover::of_many(&key, circuits, &[false; 4], rng);
        for circuit in 0..circuits {
            prover.commit(circuit, &self.advice[..1]).unwrap();
            prover.commit(circuit, &self.advice[1..]).unwrap();
        }
        let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
        let instances = vec![self.instances.clone(); circuits];
        prover.finish(&instances, &mut transcript).unwrap();
        transcript.finalize()
    }

    fn verify(&self, proof: &[u8], circuits: usize) -> bool {
        let vk = self.circuit.verifying_key(&self.params).unwrap();
        let refs: Vec<&[F]> = self.instances.iter().map(Vec::as_slice).collect();
        let mut reader = Blake2bRead::<_, C, Challenge255<C>>::init(proof);
        let strategy = SingleVerifier::new(&self.params);
        let instances = vec![refs.as_slice(); circuits];
        verify_proof(&self.params, &vk, strategy, &instances, &mut reader).is_ok()
    }
}

fn compare<B: Backend>(sizes: &[u32]) {
    let Some(backend) = B::detect() else {
        eprintln!("skipped: this machine has no {}", B::NAME);
        return;
    };
    for &k in sizes {
        for copies in [false, true] {
            for circuits in [1, 3] {
                let case = Case::new(k, copies);
                let (proof, expected) = (case.engine(backend, circuits), case.upstream(circuits));
                let words = proof.chunks(32).zip(expected.chunks(32));
                let different = words.into_iter().position(|(a, b)| a != b);
                assert_eq!(
                    (different, proof.len()),
                    (None, expected.len()),
                    "k = {k}, copies: {copies}, {circuits} circuits, {}",
                    B::NAME
                );
                assert!(case.verify(&proof, circuits));
            }
        }
    }
}

#[test]
fn portable() {
    compare::<Portable>(&[5, 7, 9]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn ifma() {
    compare::<zkinfer_kernels::vector::Ifma>(&[6, 7, 9]);
}

#[test]
fn a_copy_that_is_none_is_rejected() {
    // Every gate holds, but two cells that the circuit ties together differ.
    for change in [(1, 9), (3, 6), (3, 12), (1, 0)] {
        let mut case = Case::new(6, true);
        case.advice[change.0][change.1] = F::ZERO;
        let proof = case.engine(Portable, 1);
        assert!(!case.verify(&proof, 1), "{change:?}");
    }
}

#[test]
fn a_cell_that_breaks_a_gate_is_rejected() {
    for (column, row) in [(0, 3), (1, 4), (2, 7)] {
        let mut case = Case::new(6, false);
        case.advice[column][row] += F::from(3);
        assert!(!case.verify(&case.engine(Portable, 1), 1));
    }
}

#[test]
fn witnesses_that_do_not_fit_are_errors() {
    let case = Case::new(6, false);
    let vk = case.circuit.verifying_key(&case.params).unwrap();
    let generators = Arc::new(Generators::new(Portable, &case.params).unwrap());
    let key = Key::new(
        generators.clone(),
        &case.description,
        &case.fixed,
        vk.clone(),
    )
    .unwrap();
    assert!(Key::new(generators, &case.description, &case.fixed[..1], vk).is_err());
    let rng = || ChaCha20Rng::seed_from_u64(7);
    let mut prover = Prover::new(&key, rng());
    assert!(prover.commit(0, &[vec![F::ONE; 64]]).is_err());
    assert!(prover.commit(0, &vec![vec![F::ONE]; 5]).is_err());
    assert!(prover.repeat(0, 1).is_err());
    let transcript = || Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
    assert!(
        Prover::new(&key, rng())
            .finish(&[], &mut transcript())
            .is_err()
    );
    let instances = std::slice::from_ref(&case.instances);
    assert!(
        Prover::new(&key, rng())
            .finish(instances, &mut transcript())
            .is_err()
    );
    let mut two = Prover::of_many(&key, 2, &[false, true, false, false], rng());
    two.commit(0, &case.advice).unwrap();
    assert!(
        two.repeat(1, 1).is_err(),
        "the first column was not announced"
    );
}

#[test]
fn openings_are_upstreams() {
    fn open<B: Backend>(params: &Params<C>, poly: &[F], blind: F, x: F) -> Option<Vec<u8>> {
        let Some(backend) = B::detect() else {
            eprintln!("skipped: this machine has no {}", B::NAME);
            return None;
        };
        let generators = Generators::new(backend, params).unwrap();
        let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        generators
            .open(poly.to_vec(), blind, x, &mut rng, &mut transcript)
            .unwrap();
        Some(transcript.finalize())
    }
    for k in [1, 4, 6, 8, 9, 11, 12] {
        let params = Params::<C>::new(k);
        let mut rng = ChaCha20Rng::seed_from_u64(u64::from(k));
        let poly: Vec<F> = (0..1 << k).map(|_| F::random(&mut rng)).collect();
        let (blind, x) = (F::random(&mut rng), F::random(&mut rng));
        let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
        create_opening(
            &params,
            ChaCha20Rng::seed_from_u64(3),
            &mut transcript,
            &EvaluationDomain::<F>::new(1, k).coeff_from_vec(poly.clone()),
            Blind(blind),
            x,
        )
        .unwrap();
        let expected = transcript.finalize();
        assert!(
            open::<Portable>(&params, &poly, blind, x) == Some(expected.clone()),
            "k = {k}"
        );
        #[cfg(target_arch = "x86_64")]
        if let Some(found) = open::<zkinfer_kernels::vector::Ifma>(&params, &poly, blind, x) {
            assert!(found == expected, "k = {k}");
        }
    }
}
