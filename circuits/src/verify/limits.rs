//! What a verifier is willing to spend.

use super::Plan;
use crate::error::{CardError, Rejection};
use crate::layout::MAX_K;
use crate::program::ProgramLimits;

/// Bounds on what a card or a proof may ask of a verifier.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bounds on the program.
    pub program: ProgramLimits,
    /// Largest `k`.
    pub k: u32,
    /// Most segments of a card. All of them together have no more rows than four of the largest `k`.
    pub segments: usize,
    /// Most points in a model commitment, with the commitments to fixed columns.
    pub points: usize,
    /// Most advice columns of all segments together.
    pub columns: usize,
    /// Longest card file in bytes.
    pub card_bytes: usize,
    /// Longest proof file in bytes.
    pub proof_bytes: usize,
    /// Most runs in one proof.
    pub runs: usize,
    /// Most rows of all runs of a proof together: runs times segments times `2^k`.
    pub run_rows: usize,
    /// Longest description of inputs and outputs in a card, in bytes.
    pub info: usize,
    /// Most memory in bytes that one thread takes while it computes what a proof is checked with:
    /// [`Plan::reading_memory`](super::Plan::reading_memory).
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            program: ProgramLimits::default(),
            k: 16,
            segments: 64,
            points: 1 << 19,
            columns: 2048,
            card_bytes: 1 << 28,
            proof_bytes: 1 << 22,
            runs: 256,
            run_rows: 1 << 22,
            // One scale and one zero point for each element of an output of fifty thousand elements, a vocabulary.
            info: 1 << 22,
            memory: 1 << 28,
        }
    }
}

impl Limits {
    /// What owners allow their own models: [`ProgramLimits::owner`], every `k` that there are parameters for, and what
    /// memory those take. A verifier with the [default](Limits::default) may refuse their cards.
    pub fn owner() -> Limits {
        Limits {
            program: ProgramLimits::owner(),
            k: MAX_K,
            run_rows: 256 << MAX_K,
            memory: 1 << 31,
            ..Limits::default()
        }
    }

    /// Whether a card may have a description of so many bytes.
    ///
    /// # Errors
    /// A longer one than the limit.
    pub fn allow_info(&self, bytes: usize) -> Result<(), CardError> {
        allow("bytes of description", bytes, self.info)
    }

    /// Whether a card may consist of so many points.
    ///
    /// # Errors
    /// More than the limit.
    pub fn allow_points(&self, points: usize) -> Result<(), CardError> {
        allow("points", points, self.points)
    }

    /// What is left for the segments behind one with this plan.
    pub(super) fn spend(&mut self, plan: &Plan) {
        let program = &mut self.program;
        program.nodes = program.nodes.saturating_sub(plan.program.nodes.len());
        program.slots = program.slots.saturating_sub(u64::from(plan.expanded.slots));
        let elements = crate::hints::cost(&plan.program, &plan.expanded);
        program.elements = program.elements.saturating_sub(elements);
        program.pieces = program.pieces.saturating_sub(plan.wiring.spent());
        let columns = plan.layout.columns.advice();
        self.columns = self.columns.saturating_sub(columns);
    }

    /// Whether a card may have so many segments at this `k`.
    ///
    /// # Errors
    /// More than the limit, or more rows of all of them together.
    pub fn allow_segments(&self, segments: usize, k: u32) -> Result<(), CardError> {
        allow("segments", segments, self.segments)?;
        let most = rows(SEGMENTS, self.k);
        allow("rows of all segments", rows(segments, k), most)
    }

    /// Whether a proof of a card with so many segments at this `k` may be of so many runs: to be asked before anything is
    /// done for one of them.
    pub(crate) fn allow_runs(&self, runs: usize, segments: usize, k: u32) -> Result<(), Rejection> {
        let rows = rows(runs.saturating_mul(segments), k);
        if runs <= self.runs && rows <= self.run_rows {
            return Ok(());
        }
        Err(Rejection::Malformed {
            what: "proof has more runs than the limit",
        })
    }

    /// Whether a card may ask for parameters of this size: to be asked before they are made.
    ///
    /// # Errors
    /// A larger `k` than the limit.
    pub fn allow_k(&self, k: u32) -> Result<(), CardError> {
        allow("k", k as usize, self.k as usize)
    }
}

/// So many segments of the largest `k` are let through: each of them costs something for every row when a card is loaded.
const SEGMENTS: usize = 4;

fn rows(columns: usize, k: u32) -> usize {
    columns.saturating_mul(1 << k.min(31))
}

fn allow(what: &'static str, value: usize, limit: usize) -> Result<(), CardError> {
    if value <= limit {
        return Ok(());
    }
    Err(CardError::Limit { what, value, limit })
}
