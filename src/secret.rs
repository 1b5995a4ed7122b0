//! The owner's side: committing to a model, running it, proving.

mod commit;
mod many;

use crate::error::{CommitError, InferError, ProveError};
use crate::model::QuantizedModel;
use crate::progress::{self, Progress, Stage};
#[cfg(test)]
use crate::prove::Deviation;
use crate::prove::engine::{Engine, Keys, generators};
use crate::prove::fold::Matrix;
use crate::prove::{Honest, Hooks, Prover, SideBlinds, Task, Timings};
use crate::run::Trace;
use ff::Field;
use halo2_proofs::poly::commitment::Params;
use ndarray::{Array1, ArrayD, ArrayViewD};
use rand_core::CryptoRng;
use std::sync::{Arc, OnceLock};
use zkinfer_circuits::card::{Card, MultiProof, Proof};
use zkinfer_circuits::layout::Cell;
use zkinfer_circuits::link::LinkProof;
use zkinfer_circuits::program::{Node, Program};
use zkinfer_circuits::statement::{Claim, MAX_CONTEXT, Side, statement_digest};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Limits, Plan};
use zkinfer_circuits::{C, F};

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

/// What is in every proof.
struct Parts {
    sides: Vec<(Side, Side)>,
    openings: Vec<Openings>,
    halo2: Vec<u8>,
    link: LinkProof,
    timings: Timings,
}

impl Visibility {
    fn claim_input(&self, input: &Side) -> Claim {
        if self.attach_input {
            input.full_claim()
        } else {
            input.short_claim()
        }
    }
}

impl Secret {
    /// Rebuilds a committed model from its parts (see [`crate::files`]).
    pub(crate) fn from_parts(
        model: QuantizedModel,
        blinds: Vec<Vec<F>>,
        card: Card,
        params: Arc<Params<C>>,
    ) -> Result<Secret, CommitError> {
        let plan = Plan::new(model.program.clone(), card.k, &Limits::default())?;
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
        Ok(Run {
            trace,
            input,
            output,
            outputs,
            shapes,
        })
    }

    /// Proves a run. `context` (a nonce, a request id; at most 4096 bytes) is bound to the proof.
    ///
    /// # Errors
    /// A run of another model, an opening that does not fit, a context that is too long.
    pub fn prove(
        &self,
        run: &Run,
        visibility: &Visibility,
        context: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Proven, ProveError> {
        self.prove_with_progress(run, visibility, context, rng, &mut progress::silent)
    }

    /// [`Secret::prove`], with [progress] after every stage.
    ///
    /// # Errors
    /// As [`Secret::prove`], and [`ProveError::Stopped`].
    pub fn prove_with_progress(
        &self,
        run: &Run,
        visibility: &Visibility,
        context: &[u8],
        rng: &mut impl CryptoRng,
        progress: &mut Progress<'_>,
    ) -> Result<Proven, ProveError> {
        let mut honest = Honest;
        self.prove_one(
            run,
            visibility,
            context,
            Hooks::new(&mut honest, progress),
            rng,
        )
    }

    #[cfg(test)]
    pub(crate) fn prove_with(
        &self,
        run: &Run,
        visibility: &Visibility,
        context: &[u8],
        deviation: &mut dyn Deviation,
        rng: &mut dyn CryptoRng,
    ) -> Result<Proven, ProveError> {
        let mut silent = progress::silent;
        self.prove_one(
            run,
            visibility,
            context,
            Hooks::new(deviation, &mut silent),
            rng,
        )
    }

    fn prove_one(
        &self,
        run: &Run,
        visibility: &Visibility,
        context: &[u8],
        hooks: Hooks<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Proven, ProveError> {
        let parts = self.prove_all(&[run], visibility, context, hooks, rng)?;
        let (mut sides, mut openings) = (parts.sides, parts.openings);
        let (Some((input, output)), Some(opening)) = (sides.pop(), openings.pop()) else {
            return Err(ProveError::Run);
        };
        Ok(Proven {
            proof: Proof {
                card: self.digest,
                context: context.to_vec(),
                input: visibility.claim_input(&input),
                output: output.full_claim(),
                halo2: parts.halo2,
                link: parts.link,
            },
            input: opening.0,
            output: opening.1,
            timings: parts.timings,
        })
    }

    /// Proves several runs in one proof: challenges, folded weights and the opening are shared, so that each run costs a
    /// fraction of a proof of its own. The visibility is the same for all, an input or output that is
    /// [opened](SideVisibility::Opened) can therefore not be given.
    ///
    /// # Errors
    /// As [`Secret::prove`]; also for no runs, or more than [`MAX_RUNS`].
    pub fn prove_runs(
        &self,
        runs: &[Run],
        visibility: &Visibility,
        context: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<ProvenRuns, ProveError> {
        self.prove_runs_with_progress(runs, visibility, context, rng, &mut progress::silent)
    }

    /// [`Secret::prove_runs`], with [progress] after every stage.
    ///
    /// # Errors
    /// As [`Secret::prove_runs`], and [`ProveError::Stopped`].
    pub fn prove_runs_with_progress(
        &self,
        runs: &[Run],
        visibility: &Visibility,
        context: &[u8],
        rng: &mut impl CryptoRng,
        progress: &mut Progress<'_>,
    ) -> Result<ProvenRuns, ProveError> {
        let mut honest = Honest;
        self.prove_several(
            runs,
            visibility,
            context,
            Hooks::new(&mut honest, progress),
            rng,
        )
    }

    #[cfg(test)]
    pub(crate) fn prove_runs_with(
        &self,
        runs: &[Run],
        visibility: &Visibility,
        context: &[u8],
        deviation: &mut dyn Deviation,
        rng: &mut dyn CryptoRng,
    ) -> Result<ProvenRuns, ProveError> {
        let mut silent = progress::silent;
        self.prove_several(
            runs,
            visibility,
            context,
            Hooks::new(deviation, &mut silent),
            rng,
        )
    }

    fn prove_several(
        &self,
        runs: &[Run],
        visibility: &Visibility,
        context: &[u8],
        hooks: Hooks<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<ProvenRuns, ProveError> {
        let runs: Vec<&Run> = runs.iter().collect();
        let parts = self.prove_all(&runs, visibility, context, hooks, rng)?;
        let claims = parts.sides.iter();
        Ok(ProvenRuns {
            proof: MultiProof {
                card: self.digest,
                context: context.to_vec(),
                runs: claims
                    .map(|(i, o)| (visibility.claim_input(i), o.full_claim()))
                    .collect(),
                halo2: parts.halo2,
                link: parts.link,
            },
            openings: parts.openings,
            timings: parts.timings,
        })
    }

    fn prove_all(
        &self,
        runs: &[&Run],
        visibility: &Visibility,
        context: &[u8],
        mut hooks: Hooks<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Parts, ProveError> {
        if context.len() > MAX_CONTEXT {
            return Err(ProveError::Context {
                bytes: context.len(),
                limit: MAX_CONTEXT,
            });
        }
        if runs.is_empty() || runs.len() > MAX_RUNS {
            return Err(ProveError::Runs {
                runs: runs.len(),
                limit: MAX_RUNS,
            });
        }
        let mut sides = Vec::with_capacity(runs.len());
        let mut openings = Vec::with_capacity(runs.len());
        let mut tasks = Vec::with_capacity(runs.len());
        for run in runs {
            if !self.has_the_form_of(run) {
                return Err(ProveError::Run);
            }
            let ((input, output), opening) = self.sides(run, visibility, rng)?;
            let layout = &self.plan.layout;
            let blinds = |opening: &Option<Opening>, lanes: usize| match opening {
                Some(opening) => opening.blinds.clone(),
                None => vec![F::ZERO; lanes],
            };
            tasks.push(Task {
                trace: &run.trace,
                sides: SideBlinds {
                    input: blinds(&opening.0, layout.input_lanes().count()),
                    output: blinds(&opening.1, layout.output_lanes().count()),
                },
            });
            sides.push((input, output));
            openings.push(opening);
        }
        let statement = statement_digest(&self.digest, &sides, context);
        hooks.tell(Stage::Key)?;
        let prover = Prover {
            plan: &self.plan,
            params: &self.params,
            keys: self.keys()?,
            generators: &generators(self.engine, &self.params)?,
            matrices: &self.matrices,
            blinds: &self.blinds,
        };
        let (halo2, link, timings) = prover.prove(&tasks, &statement, hooks, rng)?;
        Ok(Parts {
            sides,
            openings,
            halo2,
            link,
            timings,
        })
    }

    /// Whether a run can be filled into the columns. (One of another model of the same form yields a proof that no
    /// verifier accepts.)
    fn has_the_form_of(&self, run: &Run) -> bool {
        let program = &self.plan.program;
        let fits = |(node, y): (&Node, &Vec<i64>)| match node {
            Node::Neurons(n) => y.len() == n.len() * n.unit.window as usize,
            _ => true,
        };
        run.trace.slots.len() == self.plan.expanded.slots as usize
            && run.trace.accumulators.len() == program.nodes.len()
            && program.nodes.iter().zip(&run.trace.accumulators).all(fits)
            && run.input.len() == program.input_len()
            && run.output.len() == program.output_len()
    }

    /// Input and output of a run as the statement has them, with openings where they are committed.
    fn sides(
        &self,
        run: &Run,
        visibility: &Visibility,
        rng: &mut dyn CryptoRng,
    ) -> Result<((Side, Side), Openings), ProveError> {
        let (layout, program) = (&self.plan.layout, &self.plan.program);
        let cells = layout.input_cells(program).collect();
        let lanes: Vec<usize> = layout.input_lanes().map(|l| l.x).collect();
        let (input, input_opening) =
            self.side(&visibility.input, &run.input, cells, &lanes, rng)?;
        let cells = layout.output_cells(program).collect();
        let lanes: Vec<usize> = layout.output_lanes().map(|l| l.x).collect();
        let (output, output_opening) =
            self.side(&visibility.output, &run.output, cells, &lanes, rng)?;
        Ok(((input, output), (input_opening, output_opening)))
    }

    fn side(
        &self,
        visibility: &SideVisibility,
        values: &[u16],
        cells: Vec<Cell>,
        lanes: &[usize],
        rng: &mut dyn CryptoRng,
    ) -> Result<(Side, Option<Opening>), ProveError> {
        let blinds = match visibility {
            SideVisibility::Public => return Ok((Side::Public(values.to_vec()), None)),
            SideVisibility::Committed => lanes.iter().map(|_| F::random(&mut *rng)).collect(),
            SideVisibility::Opened(opening) => opening.blinds.clone(),
        };
        let points = self
            .plan
            .commit_side(&self.params, cells, lanes, values, &blinds);
        let opening = Opening { points, blinds };
        match visibility {
            SideVisibility::Opened(given) if *given != opening => Err(ProveError::Opening),
            _ => Ok((Side::Committed(opening.points.clone()), Some(opening))),
        }
    }
}
