//! Phase 1 of the witness: what every neuron's cells hold, and how often every table entry is looked up.

use super::gather;
use rayon::prelude::*;
use zkinfer_circuits::F;
use zkinfer_circuits::gates::{Lookup, product_steps};
use zkinfer_circuits::layout::{BankKind, Lane, Layout};
use zkinfer_circuits::program::{Node, Program};
use zkinfer_circuits::verify::Plan;
use zkinfer_model::run::Trace;

/// Fewest rows that are worth a task.
const MIN_ROWS: usize = 1024;

/// Cells of phase 1 as small integers, and the accumulators.
#[derive(Clone, Debug)]
pub(crate) struct Phase1 {
    /// One column per lane cell and multiplicity; products are only in [`Phase1::columns`].
    pub cells: Vec<Vec<u32>>,
    /// Accumulators per candidate (numbered as in [`Lane::first_candidate`]) and row.
    pub accumulators: Vec<Vec<i64>>,
}

impl Phase1 {
    /// Fills the lanes from a run; [`Phase1::count_lookups`] has to follow.
    pub fn new(plan: &Plan, trace: &Trace) -> Phase1 {
        let (layout, program) = (&plan.layout, &plan.program);
        let rows = layout.last + 1;
        let candidates = layout.lanes.iter().map(|l| l.rem.len()).sum();
        let mut phase = Phase1 {
            cells: vec![vec![0; rows]; layout.columns.phase1()],
            accumulators: vec![vec![0; rows]; candidates],
        };
        for lane in &layout.lanes {
            phase.fill_unused(program, lane, layout.last);
        }
        for (node, placement) in layout.placements.iter().enumerate() {
            let Some(placement) = placement else { continue };
            let first = plan.expanded.first_slot[node] as usize;
            for (i, cell) in placement.cells.iter().enumerate() {
                let lane = &layout.lanes[layout.ports[cell.port as usize].lane];
                let row = cell.row as usize;
                let x = trace.slots[first + i];
                phase.cells[lane.x][row] = x;
                if let Node::Neurons(n) = &program.nodes[node] {
                    let window = n.unit.window as usize;
                    let y = &trace.accumulators[node][i * window..(i + 1) * window];
                    phase.fill_neuron(layout, lane, row, i64::from(x), y);
                    let len = placement.cells.len();
                    let tables = first + (1 + usize::from(n.unit.exposes_below())) * len + i;
                    for (t, &column) in lane.tables.iter().enumerate() {
                        phase.cells[column][row] = trace.slots[tables + t * len];
                    }
                }
            }
        }
        phase
    }

    /// Unused rows hold zeros, and the tables' values at zero.
    fn fill_unused(&mut self, program: &Program, lane: &Lane, last: usize) {
        if let BankKind::Unit { unit, .. } = &lane.kind {
            for (&table, &column) in unit.tables.iter().zip(&lane.tables) {
                self.cells[column][..last].fill(u32::from(program.tables[table as usize][0]));
            }
        }
    }

    fn fill_neuron(&mut self, layout: &Layout, lane: &Lane, row: usize, x: i64, y: &[i64]) {
        let top = (1i64 << layout.range_bits) - 1;
        for (w, &y) in y.iter().enumerate() {
            self.accumulators[lane.first_candidate + w][row] = y;
            self.cells[lane.rem[w]][row] = (y & top) as u32;
            let mut v = y >> layout.range_bits;
            if let Some(middle) = lane.middle {
                self.cells[middle][row] = (v & top) as u32;
                v >>= layout.range_bits;
            }
            // The run has checked that these fit.
            if let Some(&below) = lane.below.get(w) {
                self.cells[below][row] = (x - v).max(0) as u32;
            }
            if let Some(above) = lane.above {
                self.cells[above][row] = (v - x).max(0) as u32;
            }
        }
    }

    /// Counts how often every table entry is looked up.
    pub fn count_lookups(&mut self, plan: &Plan) {
        let layout = &plan.layout;
        let lookups = &plan.description.sums.lookups;
        let lookups: Vec<&Lookup> = lookups.iter().flat_map(|(_, lookups)| lookups).collect();
        let none = || vec![vec![0u32; 1 << layout.range_bits]; 1 + layout.functions];
        let cells = &self.cells;
        let count = |mut counts: Vec<Vec<u32>>, lookup: &&Lookup| {
            let of_tag = &mut counts[lookup.tag];
            let argument = |row| {
                lookup
                    .argument
                    .iter()
                    .map(|&c: &usize| cells[c][row])
                    .sum::<u32>()
            };
            for argument in (0..layout.last).map(argument) {
                if let Some(count) = of_tag.get_mut(argument as usize) {
                    *count += 1;
                }
            }
            counts
        };
        // Where there are many tables, adding their counts up is what takes time: few parts.
        let parts = lookups.len().div_ceil(rayon::current_num_threads()).max(1);
        let counted = lookups
            .par_chunks(parts)
            .map(|part| part.iter().fold(none(), count));
        let counts = counted.reduce(none, |mut all, some| {
            let pairs = all.iter_mut().flatten().zip(some.iter().flatten());
            pairs.for_each(|(all, some)| *all += some);
            all
        });
        for (_, tables) in &plan.description.sums.tables {
            for table in tables {
                let piece = counts[table.tag]
                    .chunks(layout.last)
                    .nth(table.piece)
                    .unwrap_or(&[]);
                self.cells[table.multiplicity][..piece.len()].copy_from_slice(piece);
            }
        }
        gather::count(plan, self);
    }

    /// The columns as field elements, products included.
    pub fn columns(&self, plan: &Plan) -> Vec<Vec<F>> {
        let column = |cells: &Vec<u32>| cells.iter().map(|&v| F::from(u64::from(v))).collect();
        let mut columns: Vec<Vec<F>> = self.cells.par_iter().map(column).collect();
        for lane in &plan.layout.lanes {
            // Each step may read the one before.
            for (cell, factors) in product_steps(lane) {
                let product = |row| factors.iter().map(|&c| columns[c][row]).product();
                let rows = (0..plan.layout.last).into_par_iter().with_min_len(MIN_ROWS);
                let mut products: Vec<F> = rows.map(product).collect();
                products.push(F::from(0));
                columns[cell] = products;
            }
        }
        columns
    }
}
