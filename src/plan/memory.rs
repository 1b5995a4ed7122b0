//! How much memory a proof takes.

use zkinfer_circuits::verify::Plan;

/// Bytes at the peak of proving so many runs.
pub(super) fn of_proof(plan: &Plan, runs: usize) -> u64 {
    let rows = plan.layout.rows() as u64;
    80 * rows * plan.layout.columns.advice() as u64 * runs as u64
}
