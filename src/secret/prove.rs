//! Proving runs of a committed model.

use super::{
    MAX_RUNS, Opening, Proven, ProvenRuns, Run, Secret, Segment, SideVisibility, Visibility,
};
use crate::error::ProveError;
use crate::prove::engine::generators;
use crate::prove::{Deviation, Honest, Hooks, Prover, SideBlinds, Task, Timings};
use ff::Field;
use rand_core::CryptoRng;
use std::ops::ControlFlow;
use zkinfer_circuits::F;
use zkinfer_circuits::card::{Proof, SegmentProof};
use zkinfer_circuits::program::Node;
use zkinfer_circuits::statement::{Claim, MAX_CONTEXT, Side, statement_digest};
use zkinfer_model::progress::{self, Progress, Stage};

/// Input and output of every run, as a statement has them, with what opens them where they are committed.
type Sides = Vec<((Side, Option<Opening>), (Side, Option<Opening>))>;

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
        let proven = self.prove_all(&[run], visibility, context, (&mut Honest, progress), rng)?;
        single(proven)
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
        let hooks = (deviation, &mut progress::silent as &mut Progress<'_>);
        single(self.prove_all(&[run], visibility, context, hooks, rng)?)
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
        let runs: Vec<&Run> = runs.iter().collect();
        self.prove_all(&runs, visibility, context, (&mut Honest, progress), rng)
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
        let runs: Vec<&Run> = runs.iter().collect();
        let hooks = (deviation, &mut progress::silent as &mut Progress<'_>);
        self.prove_all(&runs, visibility, context, hooks, rng)
    }

    /// Proves runs for a statement of one's choice, whatever they yield, with the only segment.
    #[cfg(test)]
    pub(crate) fn prove_statement(
        &self,
        runs: &[Run],
        sides: &[(Side, Side)],
        context: &[u8],
        deviation: &mut dyn Deviation,
        rng: &mut dyn CryptoRng,
    ) -> Result<SegmentProof, ProveError> {
        let sides: Sides = sides
            .iter()
            .map(|(input, output)| ((input.clone(), None), (output.clone(), None)))
            .collect();
        let runs: Vec<&Run> = runs.iter().collect();
        let mut silent = progress::silent;
        let hooks = Hooks::new(deviation, &mut silent);
        let only = (0, &self.segments[0]);
        let (proof, _) = self.prove_segment(only, &runs, &sides, context, hooks, rng)?;
        Ok(proof)
    }

    fn prove_all(
        &self,
        runs: &[&Run],
        visibility: &Visibility,
        context: &[u8],
        (deviation, progress): (&mut dyn Deviation, &mut Progress<'_>),
        rng: &mut dyn CryptoRng,
    ) -> Result<ProvenRuns, ProveError> {
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
        if !runs.iter().all(|run| self.has_the_form_of(run)) {
            return Err(ProveError::Run);
        }
        let sides = self.sides(runs, visibility, rng)?;
        let mut segments = Vec::with_capacity(sides.len());
        let mut timings = Timings::default();
        let count = self.segments.len();
        for (index, (segment, sides)) in self.segments.iter().zip(&sides).enumerate() {
            let mut of_all = |stage: Stage, fraction: f64| match stage {
                // The next one begins.
                Stage::Done if index + 1 < count => ControlFlow::Continue(()),
                _ => progress(stage, (index as f64 + fraction) / count as f64),
            };
            let hooks = Hooks::new(&mut *deviation, &mut of_all);
            let of_segment = (index, segment);
            let (proof, took) =
                self.prove_segment(of_segment, runs, sides, context, hooks, &mut *rng)?;
            segments.push(proof);
            timings += took;
        }
        let ends = sides.first().zip(sides.last()).ok_or(ProveError::Run)?;
        let ends = || ends.0.iter().zip(ends.1);
        let claim = |(first, last): (&(_, _), &(_, _))| {
            let (input, output): (&(Side, _), &(Side, _)) = (&first.0, &last.1);
            (visibility.claim_input(&input.0), output.0.full_claim())
        };
        Ok(ProvenRuns {
            openings: ends()
                .map(|(i, o)| (i.0.1.clone(), o.1.1.clone()))
                .collect(),
            proof: Proof {
                card: self.digest,
                context: context.to_vec(),
                runs: ends().map(claim).collect(),
                segments,
            },
            timings,
        })
    }

    /// Proves one segment of runs.
    fn prove_segment(
        &self,
        (index, segment): (usize, &Segment),
        runs: &[&Run],
        sides: &Sides,
        context: &[u8],
        mut hooks: Hooks<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<(SegmentProof, Timings), ProveError> {
        let layout = &segment.plan.layout;
        let blinds = |opening: &Option<Opening>, lanes: usize| match opening {
            Some(opening) => opening.blinds.clone(),
            None => vec![F::ZERO; lanes],
        };
        let tasks = runs.iter().zip(sides).map(|(run, (input, output))| Task {
            trace: &run.traces[index],
            sides: SideBlinds {
                input: blinds(&input.1, layout.input_lanes().count()),
                output: blinds(&output.1, layout.output_lanes().count()),
            },
        });
        let tasks: Vec<Task<'_>> = tasks.collect();
        let stated = sides.iter().map(|(i, o)| (i.0.clone(), o.0.clone()));
        let stated: Vec<(Side, Side)> = stated.collect();
        let statement = statement_digest(&segment.digest, &stated, context);
        hooks.tell(Stage::Key)?;
        let prover = Prover {
            plan: &segment.plan,
            params: &self.params,
            keys: segment.keys(self.engine, &self.params)?,
            generators: &generators(self.engine, &self.params)?,
            matrices: &segment.matrices,
            blinds: &segment.blinds,
        };
        let (halo2, link, timings) = prover.prove(&tasks, &statement, hooks, rng)?;
        let is_last = index + 1 == self.segments.len();
        let boundary = stated.into_iter().filter_map(|(_, output)| match output {
            Side::Committed(points) if !is_last => Some(points),
            _ => None,
        });
        let boundary = boundary.collect();
        Ok((
            SegmentProof {
                boundary,
                halo2,
                link,
            },
            timings,
        ))
    }

    /// Whether a run can be filled into the columns. (One of another model of the same form yields a proof that no
    /// verifier accepts.)
    fn has_the_form_of(&self, run: &Run) -> bool {
        run.traces.len() == self.segments.len()
            && run.boundaries.len() + 1 == self.segments.len()
            && self.segments.iter().enumerate().all(|(index, segment)| {
                let program = &segment.plan.program;
                let trace = &run.traces[index];
                let fits = |(node, y): (&Node, &Vec<i64>)| match node {
                    Node::Neurons(n) => y.len() == n.len() * n.unit.window as usize,
                    _ => true,
                };
                trace.slots.len() == segment.plan.expanded.slots as usize
                    && trace.accumulators.len() == program.nodes.len()
                    && program.nodes.iter().zip(&trace.accumulators).all(fits)
                    && run.flow(index).len() == program.input_len()
                    && run.flow(index + 1).len() == program.output_len()
            })
    }

    /// Input and output of every segment, of every run: between segments, fresh commitments.
    fn sides(
        &self,
        runs: &[&Run],
        visibility: &Visibility,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<Sides>, ProveError> {
        let mut all: Vec<Sides> = Vec::with_capacity(self.segments.len());
        for (index, segment) in self.segments.iter().enumerate() {
            let is_last = index + 1 == self.segments.len();
            let mut of_segment: Sides = Vec::with_capacity(runs.len());
            for (number, run) in runs.iter().enumerate() {
                let input = match all.last() {
                    Some(before) => before[number].1.clone(),
                    None => self.side(segment, true, &visibility.input, run.flow(0), rng)?,
                };
                let seen = if is_last {
                    &visibility.output
                } else {
                    &SideVisibility::Committed
                };
                let output = self.side(segment, false, seen, run.flow(index + 1), rng)?;
                of_segment.push((input, output));
            }
            all.push(of_segment);
        }
        Ok(all)
    }

    /// A segment's input or output.
    fn side(
        &self,
        segment: &Segment,
        is_input: bool,
        visibility: &SideVisibility,
        values: &[u16],
        rng: &mut dyn CryptoRng,
    ) -> Result<(Side, Option<Opening>), ProveError> {
        let (layout, program) = (&segment.plan.layout, &segment.plan.program);
        let lanes: Vec<usize> = if is_input {
            layout.input_lanes().map(|l| l.x).collect()
        } else {
            layout.output_lanes().map(|l| l.x).collect()
        };
        let blinds = match visibility {
            SideVisibility::Public => return Ok((Side::Public(values.to_vec()), None)),
            SideVisibility::Committed => lanes.iter().map(|_| F::random(&mut *rng)).collect(),
            SideVisibility::Opened(opening) => opening.blinds.clone(),
        };
        let cells = if is_input {
            layout.input_cells(program).collect()
        } else {
            layout.output_cells(program).collect()
        };
        let points = segment
            .plan
            .commit_side(&self.params, cells, &lanes, values, &blinds);
        let opening = Opening { points, blinds };
        match visibility {
            SideVisibility::Opened(given) if *given != opening => Err(ProveError::Opening),
            _ => Ok((Side::Committed(opening.points.clone()), Some(opening))),
        }
    }
}

/// The proof of one run.
fn single(mut proven: ProvenRuns) -> Result<Proven, ProveError> {
    let (input, output) = proven.openings.pop().ok_or(ProveError::Run)?;
    Ok(Proven {
        proof: proven.proof,
        input,
        output,
        timings: proven.timings,
    })
}
