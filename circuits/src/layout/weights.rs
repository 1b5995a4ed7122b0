//! Coefficients of lanes in a running sum.

use crate::F;
use ff::Field;

/// Powers of the row constant and exponents of the further constants that weigh the lanes of a running sum.
///
/// A running sum `s' = c₀^step · s + Σ_l weight_l · v_l` gives the value in lane `l` and row `t` the coefficient
/// `weight_l · c₀^(step · (last − 1 − t))`; weights are distinct monomials of degree at most 3 with the power of `c₀` below
/// `step`, so all coefficients are distinct monomials.
#[derive(Clone, Debug)]
pub struct LaneWeights {
    /// Power of `c₀` per row.
    pub step: usize,
    /// Number of constants, `c₀` included.
    pub constants: usize,
    /// Exponents of the constants, per lane.
    pub exponents: Vec<Vec<usize>>,
}

/// Most challenges that weigh lanes: each takes a column. They suffice for 968 lanes, of `2^k` neurons each.
const MAX_CONSTANTS: usize = 16;
/// Degree of the monomials.
const DEGREE: usize = 3;

/// Exponents of all monomials of degree at most [`DEGREE`] in some variables.
fn monomials(variables: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![0; variables]];
    // Of every degree those of the one before times a variable that is not before their last one.
    let mut last = all.clone();
    for _ in 0..DEGREE {
        let times = |monomial: &Vec<usize>| {
            let from = monomial.iter().rposition(|&e| e > 0).unwrap_or(0);
            let more = (from..variables).map(|v| {
                let mut more = monomial.clone();
                more[v] += 1;
                more
            });
            more.collect::<Vec<_>>()
        };
        last = last.iter().flat_map(times).collect();
        all.extend_from_slice(&last);
    }
    all
}

impl LaneWeights {
    /// The weights of all lanes for these constants, `c₀` first.
    pub fn of_lanes(&self, constants: &[F]) -> Vec<F> {
        // Exponents are small, and most are zero.
        let power = |c: &F, e: usize| (0..e).fold(F::ONE, |power, _| power * c);
        let monomial = |exponents: &Vec<usize>| {
            let factors = constants.iter().zip(exponents).filter(|(_, e)| **e > 0);
            factors.fold(F::ONE, |product, (c, &e)| product * power(c, e))
        };
        self.exponents.iter().map(monomial).collect()
    }

    pub(super) fn new(lanes: usize) -> Option<LaneWeights> {
        let step = lanes.clamp(1, 3);
        for constants in 1..=MAX_CONSTANTS {
            let mut exponents = monomials(constants);
            exponents.retain(|e| e[0] < step);
            if exponents.len() >= lanes {
                exponents.sort_by_key(|e| {
                    (
                        e.iter().sum::<usize>(),
                        e.iter().rev().copied().collect::<Vec<_>>(),
                    )
                });
                exponents.truncate(lanes);
                return Some(LaneWeights {
                    step,
                    constants,
                    exponents,
                });
            }
        }
        None
    }
}
