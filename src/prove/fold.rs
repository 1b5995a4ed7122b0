//! Folding weights by powers of a challenge, and committing to weights: the two passes over the model.

use ff::Field;
use zkinfer_circuits::fold::{Group, Source};
use zkinfer_circuits::layout::Fold;
use zkinfer_circuits::program::{Node, ONE, Weights, ZERO};
use zkinfer_circuits::support::Witness;
use zkinfer_circuits::verify::Plan;
use zkinfer_circuits::{C, F};
use zkinfer_engine::AnyGenerators;

use zkinfer_model::model::WeightTensor;

/// The integer weights of one [`Group`], `[points][rows]`.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    rows: usize,
    data: Vec<i32>,
    /// Largest absolute value.
    bound: u32,
}

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
        if let Source::Gather { gather, piece } = group.source {
            return Matrix::gathered(plan, (gather, piece), weights);
        }
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
                Source::Gather { .. } => return None,
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
                    let wires = plan.expanded.value(&plan.program, term.patches);
                    for g in 0..n.groups as usize {
                        // Where each input of this group is, if it is in this port.
                        let targets: Vec<Option<usize>> = (0..inputs)
                            .map(|i| {
                                let slot = wires.slots[g * inputs + i];
                                let row = match slot {
                                    ZERO => None,
                                    ONE => (port == one).then_some(0),
                                    _ => {
                                        let cell = plan.layout.cell(&plan.expanded, slot);
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

    /// A piece of a matrix that is read by the numbers of its inputs.
    fn gathered(
        plan: &Plan,
        (gather, piece): (usize, usize),
        weights: &[WeightTensor],
    ) -> Option<Matrix> {
        let gather = plan.layout.gathers.get(gather)?;
        let Node::Neurons(n) = &plan.program.nodes[gather.node] else {
            return None;
        };
        let own =
            |w: &&WeightTensor| (w.node as usize, w.term as usize) == (gather.node, gather.term);
        let tensor = &weights.iter().find(own)?.data;
        let (outputs, inputs) = (n.outputs as usize, n.terms[gather.term].inputs as usize);
        if tensor.len() != outputs * inputs {
            return None;
        }
        let part = gather.pieces.get(piece)?.inputs.clone();
        let rows = part.len();
        let of_output = |row: &[i32]| row[part.clone()].to_vec();
        let data: Vec<i32> = tensor.chunks(inputs).flat_map(of_output).collect();
        let bound = data.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
        Some(Matrix { rows, data, bound })
    }

    /// `Σ_o coefficients[o] · W[o, row]` for every row.
    pub fn fold(&self, generators: &AnyGenerators, coefficients: &[F]) -> Vec<F> {
        generators.fold(&self.data, self.rows, self.bound, coefficients)
    }

    /// The commitments `Σ_row W[o,row]·L_row + blinds[o]·W`.
    pub fn commit(&self, generators: &AnyGenerators, group: &Group, blinds: &[F]) -> Vec<C> {
        generators.commit_weights(&group.rows, &self.data, blinds)
    }
}

/// Commitments to the fixed columns, with the blind one as in upstream's key.
pub(crate) fn commit_fixed(plan: &Plan, generators: &AnyGenerators) -> Vec<C> {
    let column = |values: &[u32]| {
        let mut column: Vec<F> = values.iter().map(|&v| F::from(u64::from(v))).collect();
        column.resize(plan.layout.rows(), F::ZERO);
        column
    };
    let columns: Vec<&[u32]> = plan.fixed_columns().collect();
    // A few at a time: as field elements they are eight times as large.
    let some = |columns: &[&[u32]]| {
        let columns: Vec<Vec<F>> = columns.iter().map(|values| column(values)).collect();
        generators.commit_columns(&columns, &vec![F::ONE; columns.len()])
    };
    columns.chunks(16).flat_map(some).collect()
}

/// All groups' weights and blinds, as the support proof wants them.
pub(crate) struct Folder<'a> {
    pub groups: &'a [Group],
    pub generators: &'a AnyGenerators,
    pub matrices: &'a [Matrix],
    pub blinds: &'a [Vec<F>],
}

impl Witness for Folder<'_> {
    fn fold(&self, group: usize, coefficients: &[F]) -> (Vec<(u32, F)>, F) {
        let blind = coefficients
            .iter()
            .zip(&self.blinds[group])
            .map(|(c, b)| *c * b)
            .sum();
        let values = self.matrices[group].fold(self.generators, coefficients);
        let rows = self.groups[group].rows.iter().copied();
        (rows.zip(values).collect(), blind)
    }

    fn commit(&self, columns: &[Vec<F>], blinds: &[F]) -> Vec<C> {
        self.generators.commit_columns(columns, blinds)
    }
}
