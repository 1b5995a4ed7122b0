//! The owner's side: committing to a model, running it, proving.

mod commit;
mod many;
mod prove;

use crate::error::{CommitError, ProveError};
use crate::prove::Timings;
use crate::prove::engine::{Engine, Keys, generators};
use crate::prove::fold::Matrix;
use halo2_proofs::poly::commitment::Params;
use ndarray::{Array1, ArrayD, ArrayViewD};
use std::sync::{Arc, OnceLock};
use zkinfer_circuits::card::{Card, MultiProof, Proof};
use zkinfer_circuits::program::{Node, Program};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Limits, Plan};
use zkinfer_circuits::{C, F};
use zkinfer_model::error::InferError;
use zkinfer_model::model::QuantizedModel;
use zkinfer_model::run::Trace;

pub use commit::{CommitOptions, WeightVisibility};
pub use many::prove_many;

/// A committed model: weights, blinds, keys. Whoever has it can prove; it stays with the owner.
pub struct Secret {
    model: QuantizedModel,
    plan: Plan,
    params: Arc<Params<C>>,
    matrices: Vec<Matrix>,
    blinds: Vec<Vec<F>>,
    card: Card,
    digest: Digest,
    engine: Engine,
    keys: OnceLock<Keys>,
}

/// Says which model it is, never what is in it.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("card", &self.digest)
            .finish_non_exhaustive()
    }
}

/// An exact run of the quantized model on one input.
#[derive(Clone)]
pub struct Run {
    pub(crate) trace: Trace,
    input: Vec<u16>,
    output: Vec<u16>,
    outputs: Vec<Vec<f32>>,
    shapes: Vec<Vec<usize>>,
    saturated: Vec<(String, usize)>,
}

/// Runs hold inputs and activations, which may be private.
impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("inputs", &self.input.len())
            .field("outputs", &self.output.len())
            .finish_non_exhaustive()
    }
}

impl Run {
    /// The input as integers, all tensors concatenated.
    pub fn input(&self) -> &[u16] {
        &self.input
    }

    /// The output as integers, all tensors concatenated.
    pub fn output(&self) -> &[u16] {
        &self.output
    }

    /// The output as real numbers, one list per tensor.
    pub fn outputs(&self) -> &[Vec<f32>] {
        &self.outputs
    }

    /// Layers where values beyond the range were clamped, and how many in each: only in models that were quantized with
    /// [`QuantizeOptions::saturate`](crate::quantize::QuantizeOptions::saturate).
    pub fn saturated(&self) -> &[(String, usize)] {
        &self.saturated
    }

    /// The output as arrays in the model's shapes.
    pub fn output_arrays(&self) -> Vec<ArrayD<f32>> {
        let array = |(values, shape): (&Vec<f32>, &Vec<usize>)| {
            ArrayD::from_shape_vec(shape.as_slice(), values.clone())
                .unwrap_or_else(|_| Array1::from_vec(values.clone()).into_dyn())
        };
        self.outputs.iter().zip(&self.shapes).map(array).collect()
    }
}

#[cfg(test)]
impl Run {
    /// Claims another output.
    pub(crate) fn forge_output(&mut self, index: usize, by: i32) {
        self.output[index] = self.output[index].wrapping_add_signed(by as i16);
    }

    /// Claims another input or output than what the trace holds.
    pub(crate) fn forge(&mut self, input: bool, output: bool) {
        if input {
            self.input[0] ^= 1;
        }
        if output {
            self.output[0] ^= 1;
        }
    }
}

/// A commitment to an input or an output together with what opens it. The points may be published.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// The commitments, one per lane.
    pub points: Vec<C>,
    /// The secret blinds, one per lane.
    pub blinds: Vec<F>,
}

/// Shows the points, which may be published, and not the blinds.
impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening")
            .field("points", &self.points)
            .finish_non_exhaustive()
    }
}

/// How one side of a statement appears.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SideVisibility {
    /// The values are part of the statement.
    #[default]
    Public,
    /// A fresh hiding commitment is part of the statement.
    Committed,
    /// This commitment is part of the statement; it has to open to the values of the run.
    Opened(Opening),
}

/// How input and output appear in the statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visibility {
    /// Input.
    pub input: SideVisibility,
    /// Output.
    pub output: SideVisibility,
    /// Whether public input values travel with the proof; otherwise the verifier has to bring them. Outputs always travel.
    pub attach_input: bool,
}

/// A proof with what only the prover learns from making it.
#[derive(Clone, Debug)]
pub struct Proven {
    /// What is handed out.
    pub proof: Proof,
    /// Opening of the committed input, if it is committed.
    pub input: Option<Opening>,
    /// Opening of the committed output, if it is committed.
    pub output: Option<Opening>,
    /// Where the time went.
    pub timings: Timings,
}

/// Most runs in one proof.
pub const MAX_RUNS: usize = 256;

/// Openings of a committed input and a committed output.
pub type Openings = (Option<Opening>, Option<Opening>);

/// One proof of several runs with what only the prover learns from making it.
#[derive(Clone, Debug)]
pub struct ProvenRuns {
    /// What is handed out.
    pub proof: MultiProof,
    /// Openings of every run's input and output, where they are committed.
    pub openings: Vec<Openings>,
    /// Where the time went.
    pub timings: Timings,
}

impl Secret {
    /// Rebuilds a committed model from its parts (see [`crate::files`]).
    pub(crate) fn from_parts(
        model: QuantizedModel,
        blinds: Vec<Vec<F>>,
        card: Card,
        params: Arc<Params<C>>,
    ) -> Result<Secret, CommitError> {
        let plan = Plan::new(model.program.clone(), card.k, &Limits::owner())?;
        let fits = blinds.len() == plan.groups.len()
            && blinds
                .iter()
                .zip(&plan.groups)
                .all(|(b, g)| b.len() == g.points);
        if !fits
            || card.program != model.program
            || card.points.len() != plan.points()
            || params.k() != card.k
        {
            return Err(CommitError::Mismatch);
        }
        let matrices = commit::collect_matrices(&plan, &model)?;
        let digest = card.digest();
        Ok(Secret {
            model,
            plan,
            params,
            matrices,
            blinds,
            card,
            digest,
            engine: Engine::default(),
            keys: OnceLock::new(),
        })
    }

    /// What is published.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Whether `card` commits to exactly this model with these blinds, by computing the commitment anew. An auditor who is
    /// given the model file checks a card with it; for a model with public weights anybody can.
    ///
    /// # Errors
    /// [`CommitError::Params`] if the parameters cannot be read.
    pub fn opens(&self, card: &Card) -> Result<bool, CommitError> {
        if card.program != self.model.program || card.k != self.card.k {
            return Ok(false);
        }
        let generators = generators(self.engine, &self.params).map_err(|_| CommitError::Params)?;
        let groups = self
            .plan
            .groups
            .iter()
            .zip(&self.matrices)
            .zip(&self.blinds);
        let points =
            groups.flat_map(|((group, matrix), blinds)| matrix.commit(&generators, group, blinds));
        Ok(points.eq(card.points.iter().copied()))
    }

    /// The quantized model.
    pub fn model(&self) -> &QuantizedModel {
        &self.model
    }

    /// Layout and columns.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Blinds of the model commitment.
    pub(crate) fn blinds(&self) -> &[Vec<F>] {
        &self.blinds
    }

    #[cfg(test)]
    pub(crate) fn params(&self) -> &Arc<Params<C>> {
        &self.params
    }

    #[cfg(test)]
    pub(crate) fn matrices(&self) -> &[Matrix] {
        &self.matrices
    }

    /// Derives the proving key now instead of in the first proof.
    ///
    /// # Errors
    /// Only if the parameters do not fit the plan.
    pub fn prepare(&self) -> Result<(), ProveError> {
        self.keys().map(|_| ())
    }

    fn keys(&self) -> Result<&Keys, ProveError> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let keys = Keys::new(self.engine, &self.plan, &self.params)?;
        Ok(self.keys.get_or_init(|| keys))
    }

    /// Chooses the prover; [`Engine::Auto`] is the default. All engines make the same proofs.
    #[must_use]
    pub fn with_engine(mut self, engine: Engine) -> Secret {
        self.engine = engine;
        self.keys = OnceLock::new();
        self
    }

    /// Runs the quantized model on real inputs, one list per tensor.
    ///
    /// # Errors
    /// An input or an intermediate value outside the calibrated range, with layer, index, value and limit.
    pub fn infer(&self, inputs: &[Vec<f32>]) -> Result<Run, InferError> {
        let integers = self.model.quantize_inputs(inputs, false)?;
        self.infer_integers(&integers)
    }

    /// Runs the quantized model on arrays, one per input tensor, read in row-major order whatever their memory layout.
    ///
    /// # Errors
    /// As [`Secret::infer`].
    pub fn infer_arrays(&self, inputs: &[ArrayViewD<'_, f32>]) -> Result<Run, InferError> {
        let inputs: Vec<Vec<f32>> = inputs.iter().map(|a| a.iter().copied().collect()).collect();
        self.infer(&inputs)
    }

    /// Runs the quantized model on integers, one list per tensor.
    ///
    /// # Errors
    /// As [`Secret::infer`].
    pub fn infer_integers(&self, inputs: &[Vec<u32>]) -> Result<Run, InferError> {
        let trace = self
            .model
            .run(&self.plan.expanded, inputs)
            .map_err(|error| InferError::new(&self.model, error))?;
        let read = |nodes: &mut dyn Iterator<Item = usize>| -> Vec<u16> {
            nodes
                .flat_map(|node| {
                    let len = self.plan.layout.placements[node]
                        .as_ref()
                        .map_or(0, |p| p.cells.len());
                    let first = self.plan.expanded.first_slot[node] as usize;
                    trace.slots[first..first + len].iter().map(|&v| v as u16)
                })
                .collect()
        };
        let program: &Program = &self.plan.program;
        let mut inputs =
            (0..program.nodes.len()).filter(|&i| matches!(program.nodes[i], Node::Input { .. }));
        let input = read(&mut inputs);
        let output = read(&mut program.outputs.iter().map(|&o| o as usize));
        let outputs = self.model.dequantize_outputs(&self.plan.expanded, &trace)?;
        let shapes = self.model.outputs.iter().map(|o| o.shape.clone()).collect();
        let mut saturated: Vec<(String, usize)> = Vec::new();
        for (layer, count) in self.model.saturated(&trace) {
            let name = &self.model.layers[layer].name;
            // One layer may be several nodes.
            match saturated.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += count,
                None => saturated.push((name.clone(), count)),
            }
        }
        Ok(Run {
            trace,
            input,
            output,
            outputs,
            shapes,
            saturated,
        })
    }
}
