//! That a verifier's sum is upstream's, and that any other would be noticed.

use super::super::Limits;
use super::*;
use crate::card::Card;
use crate::circuit::PlanCircuit;
use crate::expr::{Expr, Query};
use crate::gates::{Description, Gate, Sums};
use crate::generators::Generators;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeSet;

fn verifier(name: &str) -> (Verifier, Arc<Params<C>>) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let bytes = std::fs::read(folder.join(name)).unwrap();
    let card = Card::from_bytes(&bytes, bytes.len()).unwrap();
    let params = Arc::new(Params::new(card.k));
    let generators = Arc::new(Generators::of(&params));
    let verifier = Verifier::new(card, generators, &Limits::default()).unwrap();
    (verifier, params)
}

#[test]
fn any_other_sum_is_noticed() {
    for name in ["digits.card", "cnn.card"] {
        let (verifier, params) = verifier(name);
        let reference = Reference::new(&verifier, params).unwrap();
        let (segment, fixed) = (&verifier.segments[0], &verifier.card.segments[0].fixed);
        let holds_for = |runs: usize, change: &dyn Fn(&mut Key)| {
            let mut key = Key::new(&segment.plan, fixed);
            change(&mut key);
            let garbage = reference.garbage(0, runs, runs as u64);
            reference.agrees_with(0, &key, &garbage, runs) == Some(true)
        };
        for runs in [1, 2, 3, 5] {
            assert!(holds_for(runs, &|_| {}), "{name}, {runs}");
        }
        let holds = |change: &dyn Fn(&mut Key)| holds_for(1, change);
        assert_eq!(segment.key.queries.sets.len(), 2);
        let columns = segment.key.queries.opened_advice.len();
        for column in [0, columns / 2, columns - 1] {
            // Which power of a challenge it has.
            assert!(!holds(&|k| k.queries.opened_advice[column].place.1 += 1));
            let (advice, evaluations) = (segment.key.advice, segment.key.queries.advice.len());
            assert!(!holds(&|k| {
                let column = &mut k.queries.opened_advice[column].column;
                *column = (*column + 1) % advice;
            }));
            assert!(!holds(&|k| {
                let evaluation = &mut k.queries.opened_advice[column].evaluations[0];
                *evaluation = (*evaluation + 1) % evaluations;
            }));
            assert!(!holds(&|k| drop(k.queries.opened_advice.remove(column))));
        }
        for column in 0..segment.key.queries.opened_fixed.len() {
            assert!(!holds(&|k| k.queries.opened_fixed[column].place.1 += 1));
            assert!(!holds(&|k| drop(k.queries.opened_fixed.remove(column))));
        }
        for gate in 0..segment.key.gates.len() {
            assert!(!holds(&|k| drop(k.gates.remove(gate))), "{gate}");
        }
        assert!(!holds(&|k| k.gates.reverse()));
        assert!(!holds(&|k| k.repr += F::from(1)));
        assert!(!holds(&|k| k.queries.sets[0].reverse()) || segment.key.queries.sets[0].len() == 1);
        assert!(!holds(&|k| k.queries.sets.reverse()));
        let queries = |k: &mut Key| {
            let q = &mut k.queries;
            std::mem::swap(&mut q.random, &mut q.quotient);
        };
        assert!(!holds(&queries));
        // What matters between runs.
        for set in 0..2 {
            assert!(holds(&|k| k.queries.each[set] += 1));
            assert!(!holds_for(2, &|k| k.queries.each[set] += 1), "{set}");
            assert!(!holds_for(3, &|k| k.queries.each[set] -= 1), "{set}");
        }
    }
}

/// Nor is another circuit's key taken for a card's.
#[test]
fn another_circuit_is_noticed() {
    let (one, params) = verifier("digits.card");
    let reference = Reference::new(&one, params.clone()).unwrap();
    let garbage = reference.garbage(0, 1, 1);
    assert_eq!(reference.agrees(0, &garbage, 1), Some(true));
    // A table that says something else has another commitment, and that is in the key.
    let mut fixed = one.card.segments[0].fixed.clone();
    fixed.swap(0, 1);
    let other = Key::new(&one.segments[0].plan, &fixed);
    assert_eq!(reference.agrees_with(0, &other, &garbage, 1), Some(false));
    let (other, _) = verifier("cnn.card");
    let key = &other.segments[0].key;
    assert_ne!(reference.agrees_with(0, key, &garbage, 1), Some(true));
    assert!(Reference::new(&other, params).is_err() || other.card.k == one.card.k);
}

/// An expression of some depth over columns, each of which is read now, next or both.
fn expression(rng: &mut ChaCha20Rng, columns: &[u32], fixed: usize, depth: u32) -> Expr {
    let below = |rng: &mut ChaCha20Rng, n: usize| rng.next_u32() as usize % n;
    let kind = below(rng, if depth == 0 { 4 } else { 10 });
    let mut part = || Box::new(expression(rng, columns, fixed, depth.saturating_sub(1)));
    match kind {
        4 | 5 => Expr::Sum(part(), part()),
        6..=8 => Expr::Product(part(), part()),
        9 => Expr::Scaled(part(), F::from(3)),
        0 if fixed > 0 => Expr::fixed(below(rng, fixed)),
        1 => Expr::Constant(F::from(5)),
        _ => {
            let column = below(rng, columns.len());
            let rotation = match columns[column] {
                2 => rng.next_u32() % 2,
                only => only,
            };
            let rotation = rotation as i32;
            Expr::Advice(Query { column, rotation })
        }
    }
}

/// Circuits that no program has: one to three sets of rotations, columns that nothing reads, degrees from zero on.
#[test]
fn circuits_of_all_shapes() {
    let k = 6;
    let params = Params::<C>::new(k);
    let domain = EvaluationDomain::new(1, k);
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let mut shapes = BTreeSet::new();
    for round in 0..150 {
        let columns: Vec<u32> = (0..1 + rng.next_u32() % 6)
            .map(|_| rng.next_u32() % 3)
            .collect();
        let fixed = rng.next_u32() as usize % 5;
        let mut gates = Vec::new();
        for i in 0..rng.next_u32() % 7 {
            let poly = expression(rng, &columns, fixed, 4);
            if poly.degree() <= 5 {
                let name = format!("gate {i}");
                gates.push(Gate { name, poly });
            }
        }
        let values = |rng: &mut ChaCha20Rng| (0..58).map(|_| rng.next_u32() % 3).collect();
        let values: Vec<Vec<u32>> = (0..fixed).map(|_| values(rng)).collect();
        let commit = |column: &Vec<u32>| {
            let mut column: Vec<F> = column.iter().map(|&v| F::from(u64::from(v))).collect();
            column.resize(1 << k, F::from(0));
            let column = domain.lagrange_from_vec(column);
            params
                .commit_lagrange(&column, Blind(F::from(1)))
                .to_affine()
        };
        let commitments: Vec<C> = values.iter().map(commit).collect();
        let description = Description {
            advice: columns.len(),
            fixed,
            instance: 0,
            sums: Sums::default(),
            gates,
            equality: Vec::new(),
            copies: Vec::new(),
        };
        let circuit = PlanCircuit::new(Arc::new(description), Arc::new(values), 58);
        let upstream = circuit.verifying_key(&params).unwrap();
        let key = Key::of_circuit(&circuit, k, &commitments);
        shapes.insert((key.queries.sets.len(), key.pieces()));
        let runs = 1 + round % 5;
        let garbage = garbage(&key, runs, round as u64);
        let same = agree(&params, &upstream, (&key, &commitments), &garbage, runs);
        assert_eq!(same, Some(true), "{round}");
    }
    let sets: BTreeSet<usize> = shapes.iter().map(|(sets, _)| *sets).collect();
    let pieces: BTreeSet<usize> = shapes.iter().map(|(_, pieces)| *pieces).collect();
    assert_eq!(sets, BTreeSet::from([1, 2, 3]));
    assert_eq!(pieces, BTreeSet::from([2, 3, 4]));
}
