//! A segment of a committed model.

use crate::error::{CommitError, ProveError};
use crate::prove::engine::{Engine, Keys};
use crate::prove::fold::Matrix;
use halo2_proofs::poly::commitment::Params;
use std::sync::{Arc, OnceLock};
use zkinfer_circuits::program::Node;
use zkinfer_circuits::statement::segment_digest;
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::Plan;
use zkinfer_circuits::{C, F};
use zkinfer_model::error::InferError;
use zkinfer_model::model::QuantizedModel;
use zkinfer_model::run::Trace;

/// A part of a committed model that is proven by itself; most models are one.
pub struct Segment {
    pub(super) model: QuantizedModel,
    pub(super) plan: Plan,
    pub(super) matrices: Vec<Matrix>,
    pub(super) blinds: Vec<Vec<F>>,
    pub(super) digest: Digest,
    pub(super) keys: OnceLock<Keys>,
}

impl Segment {
    /// A segment of the card with this digest, without its blinds yet.
    pub(super) fn new(
        model: QuantizedModel,
        plan: Plan,
        card: &Digest,
        index: usize,
    ) -> Result<Segment, CommitError> {
        Ok(Segment {
            matrices: super::commit::collect_matrices(&plan, &model)?,
            blinds: Vec::new(),
            model,
            plan,
            digest: segment_digest(card, index),
            keys: OnceLock::new(),
        })
    }

    /// Its part of the quantized model.
    pub fn model(&self) -> &QuantizedModel {
        &self.model
    }

    /// Layout and columns.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Blinds of its commitment.
    pub(crate) fn blinds(&self) -> &[Vec<F>] {
        &self.blinds
    }

    pub(super) fn keys(
        &self,
        engine: Engine,
        params: &Arc<Params<C>>,
    ) -> Result<&Keys, ProveError> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let keys = Keys::new(engine, &self.plan, params)?;
        Ok(self.keys.get_or_init(|| keys))
    }
}

/// Says which segment it is, never what is in it.
impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Segment {
    /// The integer run of this segment, with what goes in and what comes out.
    pub(super) fn run(
        &self,
        inputs: &[Vec<u32>],
    ) -> Result<(Trace, Vec<u16>, Vec<u16>), InferError> {
        let expanded = &self.plan.expanded;
        let trace = self.model.run(expanded, inputs);
        let trace = trace.map_err(|error| InferError::new(&self.model, error))?;
        let read = |nodes: &mut dyn Iterator<Item = usize>| -> Vec<u16> {
            nodes
                .flat_map(|node| {
                    let placement = self.plan.layout.placements[node].as_ref();
                    let len = placement.map_or(0, |p| p.cells.len());
                    let first = expanded.first_slot[node] as usize;
                    trace.slots[first..first + len].iter().map(|&v| v as u16)
                })
                .collect()
        };
        let program = &self.plan.program;
        let mut inputs =
            (0..program.nodes.len()).filter(|&i| matches!(program.nodes[i], Node::Input { .. }));
        let input = read(&mut inputs);
        let output = read(&mut program.outputs.iter().map(|&o| o as usize));
        Ok((trace, input, output))
    }

    /// What flows in from the segment before, input by input.
    pub(super) fn split(&self, flow: &[u16]) -> Vec<Vec<u32>> {
        let mut rest = flow.iter().map(|&v| u32::from(v));
        let inputs = self
            .plan
            .program
            .nodes
            .iter()
            .filter_map(|node| match node {
                Node::Input { len } => Some(*len as usize),
                _ => None,
            });
        inputs
            .map(|len| rest.by_ref().take(len).collect())
            .collect()
    }
}
