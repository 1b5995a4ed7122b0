//! How much memory a proof takes.
//!
//! Fitted to the largest resident set of 29 proofs at `k = 9 … 14` of thirteen models, from perceptrons to ResNet-18 and two
//! layers of GPT-2, on two threads, each within 15 % (`cargo xtask memory`); so were two that were measured afterwards, at
//! `k` of 15 and 16.

use zkinfer_circuits::gates::Description;
use zkinfer_circuits::layout::Layout;
use zkinfer_circuits::program::{Expanded, Program};
use zkinfer_circuits::verify::Plan;

/// Bytes of a process that has no model yet, and of what does not depend on it.
const PROCESS: u64 = 20_000_000;
/// Of each committed weight: in the model, and in the matrices that are folded.
const WEIGHT: f64 = 8.8;
/// Of each row: parameters, generators, sums of points, what the quotient is made of.
const ROW: f64 = 3200.0;
/// Of each row and advice cell: values, coefficients, evaluations.
const CELL: f64 = 75.0;
/// Of each row and fixed cell, which the key keeps.
const FIXED: f64 = 200.0;
/// Of each value of the program: trace, wiring, free coefficients.
const SLOT: f64 = 132.0;

/// What the memory of a segment depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    rows: usize,
    advice: usize,
    fixed: usize,
    slots: u32,
    weights: u64,
}

impl Size {
    pub fn new(
        program: &Program,
        expanded: &Expanded,
        layout: &Layout,
        description: &Description,
    ) -> Size {
        Size {
            rows: layout.rows(),
            advice: layout.columns.advice(),
            fixed: description.fixed,
            slots: expanded.slots,
            weights: program.committed_weights(),
        }
    }

    pub fn of(plan: &Plan) -> Size {
        Size::new(
            &plan.program,
            &plan.expanded,
            &plan.layout,
            &plan.description,
        )
    }

    /// What stays once the model is loaded and its key made.
    fn loaded(&self) -> f64 {
        self.weights as f64 * WEIGHT + self.rows as f64 * self.fixed as f64 * FIXED
    }

    /// What is needed besides while runs are proven.
    fn proving(&self, runs: usize) -> f64 {
        let rows = self.rows as f64;
        let cells = rows * self.advice as f64 * CELL;
        let slots = f64::from(self.slots) * SLOT;
        rows * ROW + (cells + slots) * runs as f64
    }
}

/// Bytes at the peak of proving so many runs, one segment after the other, with all of them loaded.
pub(super) fn of_proof(segments: &[Size], runs: usize) -> u64 {
    let loaded: f64 = segments.iter().map(Size::loaded).sum();
    let proving = segments.iter().map(|size| size.proving(runs));
    PROCESS + (loaded + proving.fold(0.0, f64::max)) as u64
}

/// Bytes at the peak of proving so many runs of one segment, with all of them loaded.
pub(super) fn of_job(segments: &[Size], index: usize, runs: usize) -> u64 {
    let loaded: f64 = segments.iter().map(Size::loaded).sum();
    let proving = segments.get(index).map_or(0.0, |size| size.proving(runs));
    PROCESS + (loaded + proving) as u64
}
