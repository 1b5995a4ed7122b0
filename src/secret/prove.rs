//! Proving runs of a committed model.

use super::segment::{Sides, Stated};
use super::{MAX_RUNS, Openings, Proven, ProvenRuns, Run, Secret, SideVisibility, Visibility};
use crate::error::ProveError;
use crate::prove::{Deviation, Honest, Hooks, Timings};
use rand_core::CryptoRng;
use std::borrow::Cow;
use std::ops::ControlFlow;
use zkinfer_circuits::card::{Proof, SegmentProof};
use zkinfer_circuits::link::LinkProof;
use zkinfer_circuits::statement::{Claim, MAX_CONTEXT, Side};
use zkinfer_model::progress::{self, Progress, Stage};
use zkinfer_model::run::Trace;

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
        let mut silent = progress::silent;
        let hooks = Hooks::new(deviation, &mut silent);
        let traces: Vec<&Trace> = runs.iter().map(|run| &run.traces[0]).collect();
        let (halo2, link, _) = self.segments[0].prove(&traces, &sides, context, hooks, rng)?;
        let boundary = Vec::new();
        Ok(SegmentProof {
            boundary,
            halo2,
            link,
        })
    }

    fn prove_all(
        &self,
        runs: &[&Run],
        visibility: &Visibility,
        context: &[u8],
        (deviation, progress): (&mut dyn Deviation, &mut Progress<'_>),
        rng: &mut dyn CryptoRng,
    ) -> Result<ProvenRuns, ProveError> {
        allow(runs.len(), context)?;
        let runs = runs.iter().map(|run| self.traced(run));
        let runs = runs.collect::<Result<Vec<Cow<'_, Run>>, ProveError>>()?;
        let runs: Vec<&Run> = runs.iter().map(|run| &**run).collect();
        if !runs.iter().all(|run| self.has_the_form_of(run)) {
            return Err(ProveError::Run);
        }
        let sides = self.sides(&runs, visibility, rng)?;
        let mut parts = Vec::with_capacity(sides.len());
        let mut timings = Timings::default();
        let count = self.segments.len();
        for (index, (segment, sides)) in self.segments.iter().zip(&sides).enumerate() {
            let mut of_all = |stage: Stage, fraction: f64| match stage {
                // The next one begins.
                Stage::Done if index + 1 < count => ControlFlow::Continue(()),
                _ => progress(stage, (index as f64 + fraction) / count as f64),
            };
            let hooks = Hooks::new(&mut *deviation, &mut of_all);
            let traces: Vec<&Trace> = runs.iter().map(|run| &run.traces[index]).collect();
            let (halo2, link, took) = segment.prove(&traces, sides, context, hooks, &mut *rng)?;
            parts.push((halo2, link));
            timings += took;
        }
        let proof = self.proof(visibility, context, &sides, parts);
        let (proof, openings) = proof.ok_or(ProveError::Run)?;
        Ok(ProvenRuns {
            proof,
            openings,
            timings,
        })
    }

    /// What proving reads of a run: what flows through its segments, and its intermediate values, which are computed
    /// again where it was [made compact](Run::compact).
    fn traced<'a>(&self, run: &'a Run) -> Result<Cow<'a, Run>, ProveError> {
        if !self.flows_through(run) {
            return Err(ProveError::Run);
        }
        if !run.traces.is_empty() {
            return Ok(Cow::Borrowed(run));
        }
        let mut run = run.clone();
        for (index, segment) in self.segments.iter().enumerate() {
            let (trace, ..) = segment
                .run(&segment.split(run.flow(index)))
                .map_err(|_| ProveError::Run)?;
            run.traces.push(trace);
        }
        Ok(Cow::Owned(run))
    }

    /// Whether what flows in a run has the lengths that this model's segments read and put out.
    pub(crate) fn flows_through(&self, run: &Run) -> bool {
        run.boundaries.len() + 1 == self.segments.len()
            && self.segments.iter().enumerate().all(|(index, segment)| {
                let program = &segment.plan.program;
                run.flow(index).len() == program.input_len()
                    && run.flow(index + 1).len() == program.output_len()
            })
    }

    /// Whether a run can be filled into the columns. (One of another model of the same form yields a proof that no
    /// verifier accepts.)
    fn has_the_form_of(&self, run: &Run) -> bool {
        run.traces.len() == self.segments.len()
            && self.segments.iter().enumerate().all(|(index, segment)| {
                let (input, output) = (run.flow(index), run.flow(index + 1));
                segment.has_the_form_of(&run.traces[index], input, output)
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
                    None => segment.side(true, &visibility.input, run.flow(0), rng)?,
                };
                let seen = if is_last {
                    &visibility.output
                } else {
                    &SideVisibility::Committed
                };
                let output = segment.side(false, seen, run.flow(index + 1), rng)?;
                of_segment.push((input, output));
            }
            all.push(of_segment);
        }
        Ok(all)
    }

    /// The proof that the parts of its segments make.
    pub(crate) fn proof(
        &self,
        visibility: &Visibility,
        context: &[u8],
        sides: &[Sides],
        parts: Vec<(Vec<u8>, LinkProof)>,
    ) -> Option<(Proof, Vec<Openings>)> {
        let ends = || Some(sides.first()?.iter().zip(sides.last()?));
        let claim = |(first, last): (&(Stated, Stated), &(Stated, Stated))| {
            (visibility.claim_input(&first.0.0), last.1.0.full_claim())
        };
        let count = self.segments.len();
        let parts = parts.into_iter().zip(sides).enumerate();
        let segments = parts.map(|(index, ((halo2, link), sides))| {
            let boundary = sides.iter().filter_map(|(_, output)| match &output.0 {
                Side::Committed(points) if index + 1 < count => Some(points.clone()),
                _ => None,
            });
            SegmentProof {
                boundary: boundary.collect(),
                halo2,
                link,
            }
        });
        let proof = Proof {
            card: self.digest,
            context: context.to_vec(),
            runs: ends()?.map(claim).collect(),
            segments: segments.collect(),
        };
        let openings = ends()?.map(|(first, last)| (first.0.1.clone(), last.1.1.clone()));
        Some((proof, openings.collect()))
    }
}

/// Whether one proof may cover so many runs, with such a context.
pub(crate) fn allow(runs: usize, context: &[u8]) -> Result<(), ProveError> {
    if context.len() > MAX_CONTEXT {
        return Err(ProveError::Context {
            bytes: context.len(),
            limit: MAX_CONTEXT,
        });
    }
    if runs == 0 || runs > MAX_RUNS {
        return Err(ProveError::Runs {
            runs,
            limit: MAX_RUNS,
        });
    }
    Ok(())
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
