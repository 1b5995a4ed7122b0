//! That a verifier's sum is upstream's, and that any other would be noticed.

use super::super::Limits;
use super::super::key::Key;
use super::*;
use crate::card::Card;
use crate::generators::Generators;

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
        let holds_for = |runs: usize, change: &dyn Fn(&mut Key)| {
            let mut key = Key::new(&verifier.plan, &verifier.card.fixed);
            change(&mut key);
            let garbage = reference.garbage(runs, runs as u64);
            reference.agrees_with(&key, &garbage, runs) == Some(true)
        };
        for runs in [1, 2, 3, 5] {
            assert!(holds_for(runs, &|_| {}), "{name}, {runs}");
        }
        let holds = |change: &dyn Fn(&mut Key)| holds_for(1, change);
        assert_eq!(verifier.key.queries.sets.len(), 2);
        let columns = verifier.key.queries.opened_advice.len();
        for column in [0, columns / 2, columns - 1] {
            // Which power of a challenge it has.
            assert!(!holds(&|k| k.queries.opened_advice[column].place.1 += 1));
            let (advice, evaluations) = (verifier.key.advice, verifier.key.queries.advice.len());
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
        for column in 0..verifier.key.queries.opened_fixed.len() {
            assert!(!holds(&|k| k.queries.opened_fixed[column].place.1 += 1));
            assert!(!holds(&|k| drop(k.queries.opened_fixed.remove(column))));
        }
        for gate in 0..verifier.key.gates.len() {
            assert!(!holds(&|k| drop(k.gates.remove(gate))), "{gate}");
        }
        assert!(!holds(&|k| k.gates.reverse()));
        assert!(!holds(&|k| k.repr += F::from(1)));
        assert!(
            !holds(&|k| k.queries.sets[0].reverse()) || verifier.key.queries.sets[0].len() == 1
        );
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
    let garbage = reference.garbage(1, 1);
    assert_eq!(reference.agrees(&garbage, 1), Some(true));
    // A table that says something else has another commitment, and that is in the key.
    let mut fixed = one.card.fixed.clone();
    fixed.swap(0, 1);
    let other = Key::new(&one.plan, &fixed);
    assert_eq!(reference.agrees_with(&other, &garbage, 1), Some(false));
    let (other, _) = verifier("cnn.card");
    assert_ne!(reference.agrees_with(&other.key, &garbage, 1), Some(true));
    assert!(Reference::new(&other, params).is_err() || other.card.k == one.card.k);
}
