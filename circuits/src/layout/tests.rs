use super::LaneWeights;
use crate::F;
use ff::{Field, PrimeField};
use std::collections::BTreeSet;

#[test]
fn coefficients_are_distinct_monomials_of_low_degree() {
    // Exponents of the coefficient of every lane in every row, as the Horner sum makes them.
    let rows = 9;
    let mut widest = 0;
    // Each of them where another constant joins for the first few, some of the others.
    let numbers = (0..=170).chain((171..=967).step_by(37)).chain(968..1000);
    for lanes in numbers {
        let Some(weights) = LaneWeights::new(lanes) else {
            break;
        };
        widest = lanes;
        assert_eq!(weights.exponents.len(), lanes);
        assert!((1..=3).contains(&weights.step));
        let mut seen = BTreeSet::new();
        for exponents in &weights.exponents {
            assert_eq!(exponents.len(), weights.constants);
            // The gate multiplies by a selector and a cell: at most degree 5.
            assert!(exponents.iter().sum::<usize>() <= 3);
            for row in 0..rows {
                let mut monomial = exponents.clone();
                monomial[0] += weights.step * row;
                assert!(seen.insert(monomial), "{lanes} lanes");
            }
        }
        // The degree that the soundness error counts with.
        let degree = |m: &Vec<usize>| m.iter().sum::<usize>();
        assert!(seen.iter().map(degree).max().unwrap_or(0) <= 3 * rows + 3);
    }
    assert_eq!(widest, 968);
}

#[test]
fn lanes_weigh_what_their_exponents_say() {
    // Products of primes are different numbers.
    let primes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53];
    let constants = primes.map(F::from);
    for lanes in [0, 1, 3, 4, 164, 165, 968] {
        let weights = LaneWeights::new(lanes).unwrap();
        let constants = &constants[..weights.constants];
        let monomial = |exponents: &Vec<usize>| -> F {
            let powers = constants.iter().zip(exponents);
            powers.map(|(c, &e)| c.pow_vartime([e as u64])).product()
        };
        let wanted: Vec<F> = weights.exponents.iter().map(monomial).collect();
        assert_eq!(weights.of_lanes(constants), wanted);
        let distinct: BTreeSet<[u8; 32]> = wanted.iter().map(F::to_repr).collect();
        assert!(distinct.len() == lanes, "{lanes} lanes");
    }
}
