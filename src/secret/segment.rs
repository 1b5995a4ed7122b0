//! A segment of a committed model.

use super::{Opening, SideVisibility};
use crate::error::{CommitError, ProveError};
use crate::prove::engine::{Engine, Keys, generators};
use crate::prove::fold::Matrix;
use crate::prove::{Hooks, Prover, SideBlinds, Task, Timings};
use ff::Field;
use halo2_proofs::poly::commitment::Params;
use rand_core::CryptoRng;
use std::sync::{Arc, OnceLock};
use zkinfer_circuits::link::LinkProof;
use zkinfer_circuits::program::Node;
use zkinfer_circuits::statement::{Side, statement_digest};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Limits, Plan};
use zkinfer_circuits::{C, F};
use zkinfer_model::error::InferError;
use zkinfer_model::model::QuantizedModel;
use zkinfer_model::progress::Stage;
use zkinfer_model::run::Trace;

/// An input or an output as a statement has it, with what opens it where it is committed.
pub(crate) type Stated = (Side, Option<Opening>);

/// Input and output of every run of a segment.
pub(crate) type Sides = Vec<(Stated, Stated)>;

/// What came of proving a segment: halo2's part, the link, where the time went.
pub(crate) type Made = (Vec<u8>, LinkProof, Timings);

/// A part of a committed model that is proven by itself; most models are one.
pub struct Segment {
    pub(super) model: QuantizedModel,
    pub(super) plan: Plan,
    pub(super) matrices: Vec<Matrix>,
    pub(super) blinds: Vec<Vec<F>>,
    pub(super) digest: Digest,
    pub(super) params: Arc<Params<C>>,
    pub(super) engine: Engine,
    pub(super) keys: OnceLock<Keys>,
}

impl Segment {
    /// A segment with this digest, without its blinds yet.
    pub(super) fn new(
        model: QuantizedModel,
        plan: Plan,
        digest: Digest,
        params: Arc<Params<C>>,
    ) -> Result<Segment, CommitError> {
        Ok(Segment {
            matrices: super::commit::collect_matrices(&plan, &model)?,
            blinds: Vec::new(),
            model,
            plan,
            digest,
            params,
            engine: Engine::default(),
            keys: OnceLock::new(),
        })
    }

    /// The segment that committed weights of these blinds belong to.
    pub(crate) fn from_parts(
        model: QuantizedModel,
        blinds: Vec<Vec<F>>,
        digest: Digest,
        params: Arc<Params<C>>,
    ) -> Result<Segment, CommitError> {
        let plan = Plan::new(model.program.clone(), params.k(), &Limits::owner())?;
        let fits = blinds.len() == plan.groups.len()
            && blinds
                .iter()
                .zip(&plan.groups)
                .all(|(b, g)| b.len() == g.points);
        if !fits {
            return Err(CommitError::Mismatch);
        }
        let mut segment = Segment::new(model, plan, digest, params)?;
        segment.blinds = blinds;
        Ok(segment)
    }

    /// Which segment of which card it is: what proofs of it are bound to, and what jobs name.
    pub fn digest(&self) -> &Digest {
        &self.digest
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

    /// Chooses the prover.
    pub(super) fn set_engine(&mut self, engine: Engine) {
        self.engine = engine;
        self.keys = OnceLock::new();
    }

    /// Derives the proving key if there is none yet.
    pub(crate) fn keys(&self) -> Result<&Keys, ProveError> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let keys = Keys::new(self.engine, &self.plan, &self.params)?;
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
    pub(crate) fn run(
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
    pub(crate) fn split(&self, flow: &[u16]) -> Vec<Vec<u32>> {
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

    /// Lanes that hold the input or the output, in order.
    fn lanes(&self, is_input: bool) -> Vec<usize> {
        let layout = &self.plan.layout;
        if is_input {
            layout.input_lanes().map(|l| l.x).collect()
        } else {
            layout.output_lanes().map(|l| l.x).collect()
        }
    }

    /// Fresh blinds for the input or the output.
    pub(crate) fn blinds_of(&self, is_input: bool, rng: &mut dyn CryptoRng) -> Vec<F> {
        let lanes = self.lanes(is_input).len();
        (0..lanes).map(|_| F::random(&mut *rng)).collect()
    }

    /// Input or output of a run, hidden behind these blinds.
    ///
    /// # Errors
    /// [`ProveError::Opening`] for another number of blinds.
    pub(crate) fn committed(
        &self,
        is_input: bool,
        values: &[u16],
        blinds: Vec<F>,
    ) -> Result<Stated, ProveError> {
        let (layout, program) = (&self.plan.layout, &self.plan.program);
        let lanes = self.lanes(is_input);
        if blinds.len() != lanes.len() {
            return Err(ProveError::Opening);
        }
        let cells = if is_input {
            layout.input_cells(program).collect()
        } else {
            layout.output_cells(program).collect()
        };
        let plan = &self.plan;
        let points = plan.commit_side(&self.params, cells, &lanes, values, &blinds);
        let opening = Opening { points, blinds };
        Ok((Side::Committed(opening.points.clone()), Some(opening)))
    }

    /// Input or output of a run as it is to appear.
    pub(super) fn side(
        &self,
        is_input: bool,
        visibility: &SideVisibility,
        values: &[u16],
        rng: &mut dyn CryptoRng,
    ) -> Result<Stated, ProveError> {
        let (blinds, given) = match visibility {
            SideVisibility::Public => return Ok((Side::Public(values.to_vec()), None)),
            SideVisibility::Committed => (self.blinds_of(is_input, rng), None),
            SideVisibility::Opened(opening) => (opening.blinds.clone(), Some(opening)),
        };
        let stated = self.committed(is_input, values, blinds)?;
        match given {
            Some(_) if given != stated.1.as_ref() => Err(ProveError::Opening),
            _ => Ok(stated),
        }
    }

    /// Proves runs of this segment.
    pub(crate) fn prove(
        &self,
        traces: &[&Trace],
        sides: &Sides,
        context: &[u8],
        mut hooks: Hooks<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Made, ProveError> {
        let layout = &self.plan.layout;
        let blinds = |stated: &Stated, lanes: usize| match &stated.1 {
            Some(opening) => opening.blinds.clone(),
            None => vec![F::ZERO; lanes],
        };
        let tasks = traces
            .iter()
            .zip(sides)
            .map(|(trace, (input, output))| Task {
                trace,
                sides: SideBlinds {
                    input: blinds(input, layout.input_lanes().count()),
                    output: blinds(output, layout.output_lanes().count()),
                },
            });
        let tasks: Vec<Task<'_>> = tasks.collect();
        let statement = self.statement(sides, context);
        hooks.tell(Stage::Key)?;
        let prover = Prover {
            plan: &self.plan,
            params: &self.params,
            keys: self.keys()?,
            generators: &generators(self.engine, &self.params)?,
            matrices: &self.matrices,
            blinds: &self.blinds,
        };
        prover.prove(&tasks, &statement, hooks, rng)
    }

    /// What a proof of these runs is bound to.
    pub(crate) fn statement(&self, sides: &Sides, context: &[u8]) -> Digest {
        let stated = sides.iter().map(|(i, o)| (i.0.clone(), o.0.clone()));
        let stated: Vec<(Side, Side)> = stated.collect();
        statement_digest(&self.digest, &stated, context)
    }

    /// Whether a trace and what goes in and comes out can be filled into the columns.
    pub(super) fn has_the_form_of(&self, trace: &Trace, input: &[u16], output: &[u16]) -> bool {
        let program = &self.plan.program;
        let fits = |(node, y): (&Node, &Vec<i64>)| match node {
            Node::Neurons(n) => y.len() == n.len() * n.unit.window as usize,
            _ => true,
        };
        trace.slots.len() == self.plan.expanded.slots as usize
            && trace.accumulators.len() == program.nodes.len()
            && program.nodes.iter().zip(&trace.accumulators).all(fits)
            && input.len() == program.input_len()
            && output.len() == program.output_len()
    }
}
