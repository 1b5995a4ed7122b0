//! Coefficients of lanes in a running sum.

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

impl LaneWeights {
    pub(super) fn new(lanes: usize) -> Option<LaneWeights> {
        let step = lanes.clamp(1, 3);
        for constants in 1..=8 {
            let mut exponents = Vec::new();
            let mut current = vec![0usize; constants];
            // Odometer over all exponents of total degree at most 3, lowest constants first.
            loop {
                if current.iter().sum::<usize>() <= 3 && current[0] < step {
                    exponents.push(current.clone());
                }
                let mut at = 0;
                while at < constants {
                    current[at] += 1;
                    if current[at] <= 3 {
                        break;
                    }
                    current[at] = 0;
                    at += 1;
                }
                if at == constants {
                    break;
                }
            }
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
