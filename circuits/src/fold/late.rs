//! The verifier's coefficients in closed form.

use super::{Coefficients, Folded, LateChallenges, inputs_before, row_powers, small};
use crate::F;
use crate::checks::{Check, is_off};
use crate::layout::{Block, Cells, Fold};
use crate::multiples;
use crate::program::{Neurons, Node, Weights};
use crate::wiring::{Bases, Maps, Series, Wiring};
use ff::Field;

/// What sums over the wiring are made from, and what they are added to.
struct Sums<'a> {
    wiring: &'a Wiring,
    bases: Bases<'a>,
    series: Series,
    kappa: F,
    beta: Vec<Vec<F>>,
}

impl Coefficients<'_> {
    /// The verifier's coefficients: `κ`, and `β` per `T` and `U` column and used row, both multiplied by `z₀`. To those of `U`
    /// columns the powers of `η` are added. Behind them those of `V` columns. `wiring` is that of the program and layout.
    ///
    /// `None` if a challenge is zero, which has probability below 2⁻²⁵⁰.
    pub fn late(&self, wiring: &Wiring, late: &LateChallenges) -> Option<(F, Vec<Vec<F>>)> {
        if is_off(Check::EtaPowers) {
            // There are no series in powers that are all the same.
            return Some(self.late_by_enumeration(late));
        }
        let rows = self.layout.weighed_rows();
        let beta: Vec<Vec<F>> = rows.map(|rows| vec![F::ZERO; rows]).collect();
        let (Some(weights), Some(&z)) = (&self.layout.e_weights, late.e.first()) else {
            return Some((F::ZERO, beta));
        };
        let lambda: Vec<F> = weights
            .of_lanes(&late.e)
            .into_iter()
            .map(|l| l * z)
            .collect();
        let powers = row_powers(z, weights.step, self.layout.last);
        let activations: usize = self.layout.value_rows.iter().sum();
        let eta = late.eta.unwrap_or(F::ONE);
        let eta = multiples::powers(eta, activations + 1);
        let bases = Bases {
            y: &self.powers,
            z: &powers,
            lambda: &lambda,
            eta: &eta,
        };
        let mut sums = Sums {
            wiring,
            series: wiring.series(&bases)?,
            bases,
            kappa: F::ZERO,
            beta,
        };
        for (node, placement) in self.layout.placements.iter().enumerate() {
            let Node::Neurons(n) = &self.program.nodes[node] else {
                continue;
            };
            let maps = wiring.maps(node);
            match placement.as_ref().map(|p| (&p.cells, &p.fold)) {
                Some((cells, Some(Fold::Direct(_)))) => {
                    self.late_of_direct(n, cells, maps, &mut sums)
                }
                Some((_, Some(Fold::Table(blocks)))) => {
                    self.late_of_table(n, blocks, maps, &mut sums);
                    let mut sum = [F::ZERO];
                    sums.add(maps.operands.clone(), &mut sum);
                    sums.kappa += sum[0];
                }
                _ => {}
            }
        }
        let (tables, values) = (self.layout.table_rows.len(), self.layout.value_rows.len());
        sums.beta[tables + values..].clone_from_slice(&self.gathered());
        let mut powers = eta.iter().skip(1);
        for beta in &mut sums.beta[tables..tables + values] {
            beta.iter_mut()
                .zip(&mut powers)
                .for_each(|(b, eta)| *b += eta);
        }
        Some((sums.kappa, sums.beta))
    }

    /// The public terms of a node with one position: `Σ_o ρ_o·W[o,i]` times what is read as input `i`.
    fn late_of_direct(&self, n: &Neurons, cells: &Cells, maps: &Maps, sums: &mut Sums<'_>) {
        let outputs = n.outputs as usize;
        for (t, term) in n.terms.iter().enumerate() {
            let Weights::Public(weights) = &term.weights else {
                continue;
            };
            let inputs = term.inputs as usize;
            let mut read = vec![F::ZERO; n.groups as usize * inputs];
            sums.add(maps.patches[0][t].clone(), &mut read);
            for (neuron, (cell, weights)) in cells.iter().zip(weights.chunks(inputs)).enumerate() {
                let lane = self.layout.ports[cell.port as usize].lane;
                let of_group = &read[neuron / outputs * inputs..];
                let terms = weights.iter().zip(of_group).filter(|(w, _)| **w != 0);
                let sum: F = terms.map(|(&w, read)| small(w) * read).sum();
                sums.kappa += self.rho(lane, 0, cell.row as usize) * sum;
            }
        }
    }

    fn late_of_table(&self, n: &Neurons, blocks: &[Block], maps: &Maps, sums: &mut Sums<'_>) {
        let window = n.unit.window as usize;
        let before = inputs_before(n);
        for (k, tile) in maps.patches.iter().enumerate() {
            for (t, pieces) in tile.iter().enumerate() {
                if n.terms[t].weights == Weights::Gathered {
                    continue;
                }
                let inputs = n.terms[t].inputs as usize;
                // Σ_p power · ζ(patch), per group, candidate and input: shared by all blocks of a group.
                let mut read = vec![F::ZERO; n.groups as usize * window * inputs];
                sums.add(pieces.clone(), &mut read);
                for block in blocks {
                    // One at a time: of public weights all together would take as much as the card, and four times as much.
                    let folded = self.folded_term(n, block, &n.terms[t], before[t]);
                    let first = self.layout.lanes[block.tiles[k].lane].first_candidate;
                    let of_group = &read[block.group * window * inputs..][..window * inputs];
                    for (w, of_candidate) in of_group.chunks(inputs).enumerate() {
                        let lambda = self.lambda[first + w];
                        sums.spread(&folded, lambda, of_candidate, self.layout.table_rows.len());
                    }
                }
            }
        }
    }
}

impl Sums<'_> {
    fn add(&self, pieces: std::ops::Range<usize>, targets: &mut [F]) {
        self.wiring.add(pieces, &self.bases, &self.series, targets);
    }

    /// Adds `lambda` times what is read to the coefficients of the folded weights, of which `tables` columns are `T`'s.
    fn spread(&mut self, folded: &Folded, lambda: F, read: &[F], tables: usize) {
        let (column, row, factor) = match folded {
            Folded::Public(folded) => {
                self.kappa += lambda * multiples::dot(folded, read);
                return;
            }
            Folded::Elsewhere => return,
            Folded::Table { column, row } => (*column, *row, lambda),
            Folded::Values {
                column,
                row,
                factor,
            } => (tables + column, *row, lambda * factor),
        };
        multiples::add(&mut self.beta[column][row..], factor, read);
    }
}
