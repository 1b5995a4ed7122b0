//! The verifier's coefficients by enumeration: the definition, which tests compare the closed forms with.

use super::{Coefficients, Folded, LateChallenges, blocks_of, row_powers};
use crate::F;
use crate::layout::{Block, Fold, LaneWeights};
use crate::program::{Neurons, Node, ONE, Weights};
use ff::Field;

impl Coefficients<'_> {
    /// What [`Coefficients::late`] computes, term by term over the wiring written out.
    pub fn late_by_enumeration(&self, late: &LateChallenges) -> (F, Vec<Vec<F>>) {
        let rows = self.layout.weighed_rows();
        let mut beta: Vec<Vec<F>> = rows.map(|rows| vec![F::ZERO; rows]).collect();
        let eta = self.eta_powers(late.eta);
        let mut kappa = F::ZERO;
        let (Some(weights), Some(&z)) = (&self.layout.e_weights, late.e.first()) else {
            return (kappa, beta);
        };
        let zeta = self.zeta(weights, late, z);
        for (node, placement) in self.layout.placements.iter().enumerate() {
            let Node::Neurons(n) = &self.program.nodes[node] else {
                continue;
            };
            match placement.as_ref().map(|p| (&p.cells, &p.fold)) {
                Some((cells, Some(Fold::Direct(_)))) => {
                    self.direct_public(n, cells, |slot, c| kappa += c * zeta[slot as usize]);
                }
                Some((_, Some(Fold::Table(blocks)))) => {
                    self.late_of_blocks(node, n, blocks, &zeta, &mut kappa, &mut beta);
                    let visit = |slot: u32, _, c: F| kappa += c * zeta[slot as usize];
                    self.for_each_operand(n, blocks, &eta, visit);
                }
                _ => {}
            }
        }
        for (beta, eta) in beta[self.layout.table_rows.len()..].iter_mut().zip(&eta) {
            beta.iter_mut().zip(eta).for_each(|(b, eta)| *b += eta);
        }
        let gathered = beta.len() - self.layout.gathered.len();
        beta[gathered..].clone_from_slice(&self.gathered());
        (kappa, beta)
    }

    fn late_of_blocks(
        &self,
        node: usize,
        n: &Neurons,
        blocks: &[Block],
        zeta: &[F],
        kappa: &mut F,
        beta: &mut [Vec<F>],
    ) {
        let window = n.unit.window as usize;
        let tables = self.layout.table_rows.len();
        for group in 0..n.groups as usize {
            let of_group = blocks_of(blocks, group);
            let Some(model) = of_group.first() else {
                continue;
            };
            let folded: Vec<_> = of_group.iter().map(|b| self.folded(n, b)).collect();
            for k in 0..model.tiles.len() {
                for (t, term) in n.terms.iter().enumerate() {
                    if term.weights == Weights::Gathered {
                        continue;
                    }
                    let inputs = term.inputs as usize;
                    // Σ_p power · ζ(patch), per candidate and input, shared by all blocks of the group.
                    let mut sums = vec![F::ZERO; window * inputs];
                    self.for_each_patch(node, group, model, k, t, |power, w, i, slots| {
                        let zeta: F = match slots {
                            [slot] => zeta[*slot as usize],
                            _ => slots.iter().map(|&s| zeta[s as usize]).sum(),
                        };
                        sums[w * inputs + i] += power * zeta;
                    });
                    for (block, folded) in of_group.iter().zip(&folded) {
                        let first = self.layout.lanes[block.tiles[k].lane].first_candidate;
                        for i in 0..inputs {
                            let b: F = (0..window)
                                .map(|w| self.lambda[first + w] * sums[w * inputs + i])
                                .sum();
                            match &folded[t] {
                                Folded::Public(folded) => *kappa += b * folded[i],
                                Folded::Table { column, row } => beta[*column][row + i] += b,
                                Folded::Values {
                                    column,
                                    row,
                                    factor,
                                } => beta[tables + column][row + i] += b * factor,
                                Folded::Elsewhere => {}
                            }
                        }
                    }
                }
            }
        }
    }

    /// `z₀·ζ` per slot.
    fn zeta(&self, weights: &LaneWeights, late: &LateChallenges, z: F) -> Vec<F> {
        let powers = row_powers(z, weights.step, self.layout.last);
        let lambda: Vec<F> = weights
            .of_lanes(&late.e)
            .into_iter()
            .map(|l| l * z)
            .collect();
        let at = |port: u32, row: u32| {
            let free = self.layout.ports[port as usize].free;
            free.map_or(F::ZERO, |(_, number)| lambda[number] * powers[row as usize])
        };
        let mut zeta: Vec<F> = vec![F::ZERO; self.expanded.slots as usize];
        for (slot, cell) in self.layout.slots(self.expanded) {
            zeta[slot as usize] = at(cell.port, cell.row);
        }
        if let Some(one) = self.layout.free_one {
            zeta[ONE as usize] = at(one, 0);
        }
        zeta
    }
}
