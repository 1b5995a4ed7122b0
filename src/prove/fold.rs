//! Folding weights by powers of a challenge, and committing to weights: the two passes over the model.

use super::engine::AnyGenerators;
use ff::{Field, PrimeField};
use rayon::prelude::*;
use zkinfer_circuits::fold::{Group, Source};
use zkinfer_circuits::layout::Fold;
use zkinfer_circuits::program::{Node, ONE, Weights, ZERO};
use zkinfer_circuits::support::GroupWitness;
use zkinfer_circuits::verify::Plan;
use zkinfer_circuits::{C, F};

use crate::model::WeightTensor;

/// The integer weights of one [`Group`], `[points][rows]`.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    rows: usize,
    data: Vec<i32>,
    /// Largest absolute value.
    bound: u32,
}

/// Limbs of a power: 29 bits, so that a product with a 21-bit weight can be summed 2^13 times in 64 bits.
const LIMB_BITS: usize = 29;
const LIMBS: usize = 9;
/// Rows that are folded together: the accumulators of a block stay in the first-level cache.
const BLOCK: usize = 256;

impl Matrix {
    /// Collects the weights of a group; `None` if they do not fit (the model was not made for this plan).
    pub fn new(plan: &Plan, group: &Group, weights: &[WeightTensor]) -> Option<Matrix> {
        let Node::Neurons(n) = &plan.program.nodes[group.node] else {
            return None;
        };
        let Some(Fold::Table(_) | Fold::Direct(_)) =
            plan.layout.placements[group.node].as_ref()?.fold.as_ref()
        else {
            return None;
        };
        let rows = group.rows.len();
        let mut data = vec![0i32; group.points * rows];
        let outputs = n.outputs as usize;
        let mut offset = 0;
        for (t, term) in n.terms.iter().enumerate() {
            if term.weights != Weights::Committed {
                continue;
            }
            let inputs = term.inputs as usize;
            let tensor = weights
                .iter()
                .find(|w| w.node as usize == group.node && w.term as usize == t)?;
            if tensor.data.len() != n.groups as usize * outputs * inputs {
                return None;
            }
            match group.source {
                Source::Block { block } => {
                    let Some(Fold::Table(blocks)) =
                        plan.layout.placements[group.node].as_ref()?.fold.as_ref()
                    else {
                        return None;
                    };
                    let block = &blocks[block];
                    for (point, channel) in block.channels.clone().enumerate() {
                        let from = (block.group * outputs + channel) * inputs;
                        let to = point * rows + offset;
                        data[to..to + inputs].copy_from_slice(&tensor.data[from..from + inputs]);
                    }
                }
                Source::Direct { port } => {
                    let one = match plan.layout.placements[group.node].as_ref()?.fold.as_ref()? {
                        Fold::Direct(d) => d.one,
                        Fold::Table(_) => return None,
                    };
                    let wires = plan.expanded.value(term.patches);
                    for g in 0..n.groups as usize {
                        // Where each input of this group is, if it is in this port.
                        let targets: Vec<Option<usize>> = (0..inputs)
                            .map(|i| {
                                let slot = wires.slots[g * inputs + i];
                                let row = match slot {
                                    ZERO => None,
                                    ONE => (port == one).then_some(0),
                                    _ => {
                                        let cell = plan.layout.slots[slot as usize];
                                        (cell.port == port).then_some(cell.row)
                                    }
                                };
                                row.and_then(|r| group.rows.binary_search(&r).ok())
                            })
                            .collect();
                        for o in 0..outputs {
                            let neuron = g * outputs + o;
                            let row = &mut data[neuron * rows..(neuron + 1) * rows];
                            let from = &tensor.data[neuron * inputs..(neuron + 1) * inputs];
                            for (target, &w) in targets.iter().zip(from) {
                                if let Some(target) = target {
                                    row[*target] = row[*target].checked_add(w)?;
                                }
                            }
                        }
                    }
                }
            }
            offset += inputs;
        }
        let bound = data.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
        Some(Matrix { rows, data, bound })
    }

    fn points(&self) -> usize {
        self.data.len().checked_div(self.rows).unwrap_or(0)
    }

    /// `Σ_o coefficients[o] · W[o, row]` for every row.
    pub fn fold(&self, coefficients: &[F]) -> Vec<F> {
        let points = self.points();
        let bits = 33 - self.bound.leading_zeros(); // of a shifted weight
        let sums = usize::BITS - points.leading_zeros();
        if bits as usize + LIMB_BITS + sums as usize > 63 || bits > 31 {
            return self.fold_plain(coefficients);
        }
        // Weights are shifted to be non-negative, so that the inner loop is an unsigned multiply-add; the shift times the
        // sum of coefficients is taken off at the end.
        let shift = self.bound;
        let correction = coefficients.iter().sum::<F>() * F::from(u64::from(shift));
        let limbs: Vec<[u32; LIMBS]> = coefficients.iter().map(split).collect();
        let blocks: Vec<Vec<F>> = (0..self.rows)
            .into_par_iter()
            .step_by(BLOCK)
            .map(|start| {
                let end = (start + BLOCK).min(self.rows);
                let mut acc = [[0u64; BLOCK]; LIMBS];
                let mut shifted = [0u32; BLOCK];
                for (o, limbs) in limbs.iter().enumerate() {
                    let weights = &self.data[o * self.rows + start..o * self.rows + end];
                    for (s, &w) in shifted.iter_mut().zip(weights) {
                        *s = w.wrapping_add_unsigned(shift) as u32;
                    }
                    for (acc, &limb) in acc.iter_mut().zip(limbs) {
                        for (a, &s) in acc[..end - start].iter_mut().zip(&shifted) {
                            *a += u64::from(limb) * u64::from(s);
                        }
                    }
                }
                (0..end - start)
                    .map(|r| combine(&acc, r) - correction)
                    .collect()
            })
            .collect();
        blocks.concat()
    }

    fn fold_plain(&self, coefficients: &[F]) -> Vec<F> {
        let mut out = vec![F::ZERO; self.rows];
        for (row, c) in self.data.chunks(self.rows.max(1)).zip(coefficients) {
            for (o, &w) in out.iter_mut().zip(row) {
                *o += zkinfer_circuits::fold::small(i64::from(w)) * c;
            }
        }
        out
    }

    /// The commitments `Σ_row W[o,row]·L_row + blinds[o]·W`.
    pub fn commit(&self, generators: &AnyGenerators, group: &Group, blinds: &[F]) -> Vec<C> {
        generators.commit_weights(&group.rows, &self.data, blinds)
    }
}

/// All groups' weights and blinds, as the support proof wants them.
pub(crate) struct Folder<'a> {
    pub matrices: &'a [Matrix],
    pub blinds: &'a [Vec<F>],
}

impl GroupWitness for Folder<'_> {
    fn fold(&self, group: usize, coefficients: &[F]) -> (Vec<F>, F) {
        let blind = coefficients
            .iter()
            .zip(&self.blinds[group])
            .map(|(c, b)| *c * b)
            .sum();
        (self.matrices[group].fold(coefficients), blind)
    }
}

fn split(v: &F) -> [u32; LIMBS] {
    let bytes = v.to_repr();
    let mut limbs = [0u32; LIMBS];
    for (i, limb) in limbs.iter_mut().enumerate() {
        let bit = i * LIMB_BITS;
        let mut window = [0u8; 8];
        let from = bit / 8;
        let len = (32 - from).min(8);
        window[..len].copy_from_slice(&bytes[from..from + len]);
        *limb = ((u64::from_le_bytes(window) >> (bit % 8)) & ((1 << LIMB_BITS) - 1)) as u32;
    }
    limbs
}

fn combine(acc: &[[u64; BLOCK]; LIMBS], row: usize) -> F {
    let radix = F::from(1 << LIMB_BITS);
    acc.iter()
        .rev()
        .fold(F::ZERO, |sum, limb| sum * radix + F::from(limb[row]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn limbs_give_the_element_back() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for v in [F::ZERO, F::ONE, -F::ONE]
            .into_iter()
            .chain((0..50).map(|_| F::random(&mut rng)))
        {
            let radix = F::from(1 << LIMB_BITS);
            let back = split(&v)
                .iter()
                .rev()
                .fold(F::ZERO, |sum, &l| sum * radix + F::from(u64::from(l)));
            assert_eq!(back, v);
        }
    }

    #[test]
    fn fast_fold_equals_plain_fold() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        for (rows, points, bound) in [
            (1, 1, 1),
            (5, 3, 0),
            (300, 40, 1 << 15),
            (257, 9, 1 << 22),
            (10, 100, i32::MAX as u32),
        ] {
            let data: Vec<i32> = (0..rows * points)
                .map(|i| {
                    if bound == 0 {
                        0
                    } else {
                        ((i as i64 * 7_919_191) % (2 * i64::from(bound) + 1) - i64::from(bound))
                            as i32
                    }
                })
                .collect();
            let matrix = Matrix { rows, data, bound };
            let coefficients: Vec<F> = (0..points).map(|_| F::random(&mut rng)).collect();
            assert_eq!(matrix.fold(&coefficients), matrix.fold_plain(&coefficients));
        }
    }
}
