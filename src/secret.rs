//! The owner's side: committing to a model, running it, proving.

mod commit;
pub(crate) mod prove;
pub(crate) mod segment;

use crate::error::{CommitError, ProveError};
use crate::prove::Timings;
use crate::prove::engine::{Engine, generators};
use halo2_proofs::poly::commitment::Params;
use ndarray::{Array1, ArrayD, ArrayViewD};
use std::sync::Arc;
use zkinfer_circuits::card::{self, Card, Proof};
use zkinfer_circuits::statement::segment_digest;
use zkinfer_circuits::transcript::Digest;
#[cfg(test)]
use zkinfer_circuits::verify::Plan;
use zkinfer_circuits::{C, F};
use zkinfer_interface::TensorInterface;
use zkinfer_model::error::InferError;
use zkinfer_model::model::QuantizedModel;
use zkinfer_model::run::Trace;

pub use commit::{CommitOptions, WeightVisibility};
pub use segment::Segment;

/// A committed model: weights, blinds, keys. Whoever has it can prove; it stays with the owner.
pub struct Secret {
    segments: Vec<Segment>,
    params: Arc<Params<C>>,
    card: Card,
    digest: Digest,
    engine: Engine,
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
    /// Of every segment, unless they were dropped.
    pub(crate) traces: Vec<Trace>,
    /// What flows between segments.
    boundaries: Vec<Vec<u16>>,
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

    /// Without intermediate values, which proving computes again: a small part of the memory, for a small part of a proof's
    /// time.
    #[must_use]
    pub fn compact(mut self) -> Run {
        self.traces = Vec::new();
        self
    }

    /// What flows into a segment, or out of the last one.
    pub(crate) fn flow(&self, index: usize) -> &[u16] {
        match index {
            0 => &self.input,
            _ => self.boundaries.get(index - 1).unwrap_or(&self.output),
        }
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
    pub proof: Proof,
    /// Openings of every run's input and output, where they are committed.
    pub openings: Vec<Openings>,
    /// Where the time went.
    pub timings: Timings,
}

impl Secret {
    /// Rebuilds a committed model from its parts (see [`crate::files`]): of every segment, its model and its blinds.
    pub(crate) fn from_parts(
        parts: Vec<(QuantizedModel, Vec<Vec<F>>)>,
        card: Card,
        params: Arc<Params<C>>,
    ) -> Result<Secret, CommitError> {
        if parts.len() != card.segments.len() || params.k() != card.k {
            return Err(CommitError::Mismatch);
        }
        let digest = card.digest();
        let mut segments: Vec<Segment> = Vec::with_capacity(parts.len());
        for (index, ((model, blinds), of_card)) in parts.into_iter().zip(&card.segments).enumerate()
        {
            let same = of_card.program == model.program;
            let digest = segment_digest(&digest, index);
            let segment = Segment::from_parts(model, blinds, digest, params.clone())?;
            let follows = segments.last().is_none_or(|s| s.plan.feeds(&segment.plan));
            if !same || !follows || of_card.points.len() != segment.plan.points() {
                return Err(CommitError::Mismatch);
            }
            segments.push(segment);
        }
        Ok(Secret {
            segments,
            params,
            card,
            digest,
            engine: Engine::default(),
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
        let same = card.programs().eq(self.card.programs());
        if !same || card.k != self.card.k {
            return Ok(false);
        }
        let generators = generators(self.engine, &self.params).map_err(|_| CommitError::Params)?;
        let opens = |(segment, of_card): (&Segment, &card::Segment)| {
            let groups = segment.plan.groups.iter();
            let groups = groups.zip(&segment.matrices).zip(&segment.blinds);
            let points = groups
                .flat_map(|((group, matrix), blinds)| matrix.commit(&generators, group, blinds));
            points.eq(of_card.points.iter().copied())
        };
        Ok(self.segments.iter().zip(&card.segments).all(opens))
    }

    /// What the model consists of, in order; most models are one segment.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The model's inputs, in order.
    pub fn inputs(&self) -> &[TensorInterface] {
        self.segments.first().map_or(&[], |s| &s.model.inputs)
    }

    /// The model's outputs, in order.
    pub fn outputs(&self) -> &[TensorInterface] {
        self.segments.last().map_or(&[], |s| &s.model.outputs)
    }

    #[cfg(test)]
    pub(crate) fn params(&self) -> &Arc<Params<C>> {
        &self.params
    }

    /// The model of a secret of one segment.
    #[cfg(test)]
    pub(crate) fn model(&self) -> &QuantizedModel {
        &self.segments[0].model
    }

    /// The plan of a secret of one segment.
    #[cfg(test)]
    pub(crate) fn plan(&self) -> &Plan {
        &self.segments[0].plan
    }

    /// The blinds of a secret of one segment.
    #[cfg(test)]
    pub(crate) fn blinds(&self) -> &[Vec<F>] {
        &self.segments[0].blinds
    }

    #[cfg(test)]
    pub(crate) fn matrices(&self) -> &[crate::prove::fold::Matrix] {
        &self.segments[0].matrices
    }

    /// Derives the proving keys now instead of in the first proof.
    ///
    /// # Errors
    /// Only if the parameters do not fit the plan.
    pub fn prepare(&self) -> Result<(), ProveError> {
        let mut segments = self.segments.iter();
        segments.try_for_each(|s| s.keys().map(|_| ()))
    }

    /// Chooses the prover; [`Engine::Auto`] is the default. All engines make the same proofs.
    #[must_use]
    pub fn with_engine(mut self, engine: Engine) -> Secret {
        self.engine = engine;
        let segments = self.segments.iter_mut();
        segments.for_each(|s| s.set_engine(engine));
        self
    }

    /// Runs the quantized model on real inputs, one list per tensor.
    ///
    /// # Errors
    /// An input or an intermediate value outside the calibrated range, with layer, index, value and limit.
    pub fn infer(&self, inputs: &[Vec<f32>]) -> Result<Run, InferError> {
        let first = self.segments.first().map(|s| &s.model);
        let integers = first
            .map(|m| m.quantize_inputs(inputs, false))
            .transpose()?;
        self.infer_integers(&integers.unwrap_or_default())
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
        self.infer_through(inputs, &<[u16]>::to_vec)
    }

    /// The same where the next segment reads what `seen` makes of what a segment puts out.
    pub(crate) fn infer_through(
        &self,
        inputs: &[Vec<u32>],
        seen: &dyn Fn(&[u16]) -> Vec<u16>,
    ) -> Result<Run, InferError> {
        let mut traces = Vec::with_capacity(self.segments.len());
        let mut flows: Vec<Vec<u16>> = Vec::with_capacity(self.segments.len() + 1);
        let mut saturated: Vec<(String, usize)> = Vec::new();
        for segment in &self.segments {
            let flown = flows.last().map(|flow| segment.split(&seen(flow)));
            let (trace, input, output) = segment.run(flown.as_deref().unwrap_or(inputs))?;
            if flows.is_empty() {
                flows.push(input);
            }
            flows.push(output);
            for (layer, count) in segment.model.saturated(&trace) {
                let name = &segment.model.layers[layer].name;
                // One layer may be several nodes.
                match saturated.iter_mut().find(|(known, _)| known == name) {
                    Some((_, sum)) => *sum += count,
                    None => saturated.push((name.clone(), count)),
                }
            }
            traces.push(trace);
        }
        let output = flows.pop().unwrap_or_default();
        let mut flows = flows.into_iter();
        let ends = self.segments.last().zip(traces.last());
        let outputs = ends.map(|(segment, trace)| {
            let expanded = &segment.plan.expanded;
            segment.model.dequantize_outputs(expanded, trace)
        });
        Ok(Run {
            traces,
            input: flows.next().unwrap_or_default(),
            boundaries: flows.collect(),
            outputs: outputs.transpose()?.unwrap_or_default(),
            output,
            shapes: self.outputs().iter().map(|o| o.shape.clone()).collect(),
            saturated,
        })
    }
}
