//! Proving runs of a committed model.

use super::{
    MAX_RUNS, Opening, Openings, Proven, ProvenRuns, Run, Secret, SideVisibility, Visibility,
};
use crate::error::ProveError;
#[cfg(test)]
use crate::prove::Deviation;
use crate::prove::engine::generators;
use crate::prove::{Honest, Hooks, Prover, SideBlinds, Task, Timings};
use ff::Field;
use rand_core::CryptoRng;
use zkinfer_circuits::F;
use zkinfer_circuits::card::{MultiProof, Proof};
use zkinfer_circuits::layout::Cell;
use zkinfer_circuits::link::LinkProof;
use zkinfer_circuits::program::Node;
use zkinfer_circuits::statement::{Claim, MAX_CONTEXT, Side, statement_digest};
use zkinfer_model::progress::{self, Progress, Stage};

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

    /// Proves runs for a statement of one's choice, whatever they yield.
    #[cfg(test)]
    pub(crate) fn prove_statement(
        &self,
        runs: &[Run],
        sides: &[(Side, Side)],
        context: &[u8],
        deviation: &mut dyn Deviation,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, LinkProof), ProveError> {
        let layout = &self.plan.layout;
        let tasks = runs.iter().map(|run| Task {
            trace: &run.trace,
            sides: SideBlinds {
                input: vec![F::ZERO; layout.input_lanes().count()],
                output: vec![F::ZERO; layout.output_lanes().count()],
            },
        });
        let tasks: Vec<Task<'_>> = tasks.collect();
        let prover = Prover {
            plan: &self.plan,
            params: &self.params,
            keys: self.keys()?,
            generators: &generators(self.engine, &self.params)?,
            matrices: &self.matrices,
            blinds: &self.blinds,
        };
        let statement = statement_digest(&self.digest, sides, context);
        let mut silent = progress::silent;
        let hooks = Hooks::new(deviation, &mut silent);
        let (halo2, link, _) = prover.prove(&tasks, &statement, hooks, rng)?;
        Ok((halo2, link))
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
