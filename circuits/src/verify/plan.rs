//! What follows from a program and `k` alone.

use super::{Limits, Misfit};
use crate::checks::{Check, holds};
use crate::circuit::PlanCircuit;
use crate::conventions;
use crate::error::{CardError, LayoutError, ProgramError};
use crate::fold::{Group, groups};
use crate::gates::{Description, describe, fixed_columns};
use crate::layout::{Cell, Lane, Layout};
use crate::link::commit_rows;
use crate::program::{Expanded, Program};
use crate::wiring::Wiring;
use crate::{C, F};
use ff::Field;
use group::Curve;
use halo2_proofs::poly::commitment::Params;
use std::ops::Range;
use std::sync::Arc;

/// Everything that follows from a program and `k` alone.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The architecture.
    pub program: Program,
    /// What was checked of it, and its wiring, written out where a prover asks for it.
    pub expanded: Expanded,
    /// Its layout.
    pub layout: Layout,
    /// Columns and gates.
    pub description: Arc<Description>,
    /// Fixed columns.
    pub fixed: Arc<Vec<Vec<u32>>>,
    /// Groups of the model commitment.
    pub groups: Vec<Group>,
    /// What linear maps read.
    pub wiring: Wiring,
}

impl Plan {
    /// Checks and places a program.
    ///
    /// # Errors
    /// A program that is not well formed, or beyond the limits, or that does not fit `k`. All
    /// [conventions](crate::conventions) are checked here.
    pub fn new(program: Program, k: u32, limits: &Limits) -> Result<Plan, CardError> {
        limits.allow_k(k)?;
        let expanded = program.expand(&limits.program)?;
        let layout = Layout::new(&program, &expanded, k, limits.program.pieces);
        let layout = layout.map_err(|error| match error {
            LayoutError::Pieces { node } => CardError::from(ProgramError::Node {
                node,
                reason: "its wiring has more pieces than the limit",
            }),
            error => error.into(),
        })?;
        Plan::of_layout(program, expanded, layout, limits)
    }

    /// The plan of a program that was expanded and laid out already, as a planner does to compare sizes.
    ///
    /// # Errors
    /// A program whose hints are not pinned down, or a layout beyond the limits.
    pub fn of_layout(
        program: Program,
        expanded: Expanded,
        layout: Layout,
        limits: &Limits,
    ) -> Result<Plan, CardError> {
        limits.allow_k(layout.k)?;
        crate::hints::check(&program, &expanded, limits.program.elements)?;
        if layout.columns.advice() > limits.columns {
            return Err(CardError::Limit {
                what: "columns",
                value: layout.columns.advice(),
                limit: limits.columns,
            });
        }
        let groups = groups(&program, &layout);
        let wiring = Wiring::new(&program, &layout, limits.program.pieces)?;
        let description = Arc::new(describe(&layout));
        let fixed = Arc::new(fixed_columns(&program, &layout));
        conventions::check(&program, &layout, &description, &fixed)?;
        let plan = Plan {
            program,
            expanded,
            layout,
            description,
            fixed,
            groups,
            wiring,
        };
        if plan.reading_memory() > limits.memory {
            return Err(CardError::Limit {
                what: "bytes of memory for checking a proof",
                value: plan.reading_memory(),
                limit: limits.memory,
            });
        }
        Ok(plan)
    }

    /// The circuit without witness.
    pub fn circuit(&self) -> PlanCircuit {
        PlanCircuit::new(
            self.description.clone(),
            self.fixed.clone(),
            self.layout.last + 1,
        )
    }

    /// Values of the fixed columns, row by row; those behind the end are zero.
    pub fn fixed_columns(&self) -> impl Iterator<Item = &[u32]> {
        let rows = self.layout.last + 1;
        self.fixed
            .iter()
            .map(move |column| &column[..rows.min(column.len())])
    }

    /// Number of points in the model commitment.
    pub fn points(&self) -> usize {
        self.groups.iter().map(|g| g.points).sum()
    }

    /// Advice columns of inputs, then outputs: linked in every run of a proof.
    pub fn side_lanes(&self) -> Vec<usize> {
        let layout = &self.layout;
        let lanes = layout.input_lanes().chain(layout.output_lanes());
        lanes.map(|l| l.x).collect()
    }

    /// Advice columns of folded weights: linked once in a proof, behind the sides of all runs.
    pub fn fold_columns(&self) -> Vec<usize> {
        let layout = &self.layout;
        let direct = layout.ports.iter().filter_map(|p| p.direct);
        let table = (0..layout.columns.table).map(|i| layout.table_column(i));
        let gathers = (0..layout.columns.gathers).map(|i| layout.gather_column(i));
        direct.chain(table).chain(gathers).collect()
    }

    /// Advice columns that the verifier knows: linked once in a proof, behind the folded weights.
    pub fn public_columns(&self) -> Range<usize> {
        self.layout.columns.public()
    }

    /// Bytes that one thread takes, at most, while it computes what a proof is checked with: the widest node's sums, the powers
    /// that they are made of and the public weights that they are multiplied by, and all of `β`, of which what belongs to keys is
    /// there twice for a moment.
    pub fn reading_memory(&self) -> usize {
        let keys = self.layout.gathered.iter().map(|g| g.rows);
        let rows = self.layout.weighed_rows().chain(keys);
        let cells = rows.fold(0usize, usize::saturating_add);
        let beta = cells.saturating_mul(size_of::<F>());
        self.wiring.sums_memory().saturating_add(beta)
    }

    /// Advice columns whose content follows from weights and challenges alone, so that all runs of a proof hold the same:
    /// folded weights, public columns, and unless activations are coefficients, free coefficients and their running sum.
    pub fn repeated_columns(&self) -> Vec<bool> {
        let c = &self.layout.columns;
        let weights = c.phase1()..c.phase1() + c.weights();
        let behind = c.phase1() + c.folded();
        let public = c.public();
        let free = behind..behind + if c.values == 0 { c.free } else { 0 };
        let sum = self.description.sums.coefficients.filter(|_| c.values == 0);
        (0..c.advice())
            .map(|i| {
                weights.contains(&i) || free.contains(&i) || public.contains(&i) || sum == Some(i)
            })
            .collect()
    }

    /// The columns of a run that are absorbed by the transcript, within `range`: those that repeat the first run's are not
    /// absorbed again.
    pub fn own_columns(&self, run: usize, range: Range<usize>) -> impl Iterator<Item = usize> {
        let repeated = self.repeated_columns();
        range.filter(move |&i| run == 0 || !repeated[i])
    }

    /// Whether a commitment to this program's output is a commitment to the same values as `next`'s input: every element
    /// stands in the same lane and row, and the parameters and ranges are the same. Without that a committed output that
    /// is passed on as a committed input is read in another order. [`verify_chain`](super::verify_chain) asks.
    ///
    /// # Errors
    /// What does not fit.
    pub fn fits(&self, next: &Plan) -> Result<(), Misfit> {
        let place = |plan: &Plan, cell: Cell, first: Option<&Lane>| {
            let lane = plan.layout.ports[cell.port as usize].lane;
            let first = first.and_then(|f| plan.layout.lanes.iter().position(|l| l.x == f.x));
            (first.map(|first| lane - first), cell.row)
        };
        let outputs = self.layout.output_cells(&self.program);
        let outputs = outputs.map(|c| place(self, c, self.layout.output_lanes().next()));
        let inputs = next.layout.input_cells(&next.program);
        let inputs = inputs.map(|c| place(next, c, next.layout.input_lanes().next()));
        self.same_range(next)?;
        if !holds(Check::ChainRows, self.layout.k == next.layout.k) {
            return Err(Misfit::Rows {
                output: self.layout.k,
                input: next.layout.k,
            });
        }
        if !holds(Check::ChainPlaces, outputs.eq(inputs)) {
            return Err(Misfit::Places);
        }
        Ok(())
    }

    /// Whether integers of this program's output are integers of `next`'s input.
    pub(super) fn same_range(&self, next: &Plan) -> Result<(), Misfit> {
        let (output, input) = (self.layout.range_bits, next.layout.range_bits);
        if holds(Check::ChainBits, output == input) {
            return Ok(());
        }
        Err(Misfit::Bits { output, input })
    }

    /// Whether [`Plan::fits`] finds nothing.
    pub fn feeds(&self, next: &Plan) -> bool {
        self.fits(next).is_ok()
    }

    /// Commitments to an input or output, one per lane, with the given blinds.
    pub fn commit_side(
        &self,
        params: &Params<C>,
        cells: Vec<Cell>,
        lanes: &[usize],
        values: &[u16],
        blinds: &[F],
    ) -> Vec<C> {
        let columns = self.side_columns(cells.into_iter(), values);
        let empty = Vec::new();
        let commit = |(lane, blind): (&usize, &F)| {
            let values = columns
                .iter()
                .find(|(c, _)| c == lane)
                .map_or(&empty, |(_, v)| v);
            commit_rows(params, 0, values, *blind).to_affine()
        };
        lanes.iter().zip(blinds).map(commit).collect()
    }

    /// Values of an input or output by lane and row: `(lane's x column, first row of the slice, values)`.
    pub fn side_columns(
        &self,
        cells: impl Iterator<Item = Cell>,
        values: &[u16],
    ) -> Vec<(usize, Vec<F>)> {
        let mut columns: Vec<(usize, Vec<F>)> = Vec::new();
        for (cell, &v) in cells.zip(values) {
            let column = self.layout.ports[cell.port as usize].column;
            let found = columns.iter().position(|(c, _)| *c == column);
            let at = found.unwrap_or_else(|| {
                columns.push((column, vec![F::ZERO; self.layout.rows()]));
                columns.len() - 1
            });
            columns[at].1[cell.row as usize] = F::from(u64::from(v));
        }
        columns
    }
}
