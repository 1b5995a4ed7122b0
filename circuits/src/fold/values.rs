//! Coefficients that are activations.

use super::Coefficients;
use crate::F;
use crate::checks::{Check, drawn};
use crate::layout::{Block, Fold};
use crate::program::{Neurons, Node, ZERO};
use ff::Field;

impl Coefficients<'_> {
    /// The folded activations: the contents of the `U` columns (used rows), given the value of every slot.
    pub fn values(&self, slots: &[u32]) -> Vec<Vec<F>> {
        let rows = self.layout.value_rows.iter();
        let mut columns: Vec<Vec<F>> = rows.map(|&rows| vec![F::ZERO; rows]).collect();
        for (node, placement) in self.layout.placements.iter().enumerate() {
            let (Node::Neurons(n), Some(Fold::Table(blocks))) = (
                &self.program.nodes[node],
                placement.as_ref().and_then(|p| p.fold.as_ref()),
            ) else {
                continue;
            };
            let ones: Vec<Vec<F>> = columns.iter().map(|c| vec![F::ONE; c.len()]).collect();
            self.for_each_operand(n, blocks, &ones, |slot, (column, row), power| {
                let value = slots.get(slot as usize).copied().unwrap_or(0);
                columns[column][row] += power * F::from(u64::from(value));
            });
        }
        columns
    }

    /// Powers of `η` for all used rows of the `U` columns, from the first power on.
    pub(super) fn eta_powers(&self, eta: Option<F>) -> Vec<Vec<F>> {
        let eta = eta.unwrap_or(F::ZERO);
        let mut power = F::ONE;
        let mut next = || {
            power = drawn(Check::EtaPowers, power * eta, eta);
            power
        };
        let rows = self.layout.value_rows.iter();
        rows.map(|&rows| (0..rows).map(|_| next()).collect())
            .collect()
    }

    /// Visits `(slot, (U column, row), a_c·weight of that cell)` for every slot of every activation that is a coefficient.
    pub(super) fn for_each_operand(
        &self,
        n: &Neurons,
        blocks: &[Block],
        weights: &[Vec<F>],
        mut visit: impl FnMut(u32, (usize, usize), F),
    ) {
        if n.value_inputs() == 0 {
            return;
        }
        for block in blocks {
            let Some((column, mut row)) = block.values else {
                continue;
            };
            let powers = self.channel_powers(block);
            for (term, value, _) in n.operands() {
                let wires = self.expanded.value(self.program, value);
                let inputs = term.inputs as usize;
                for (c, power) in block.channels.clone().zip(&powers) {
                    let first = (block.group * n.outputs as usize + c) * inputs;
                    for i in 0..inputs {
                        let weight = weights[column][row + i] * power;
                        for &slot in wires.element(first + i) {
                            if slot != ZERO {
                                visit(slot, (column, row + i), weight);
                            }
                        }
                    }
                }
                row += inputs;
            }
        }
    }
}
