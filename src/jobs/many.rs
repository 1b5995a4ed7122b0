//! Many proofs.

use super::prove::{Cover, Outcome, ProveJob, SegmentRun};
use super::{Executor, Job, JobError};
use crate::error::ProveError;
use crate::plan::Cost;
use crate::prove::Timings;
use crate::secret::prove::allow;
use crate::secret::segment::{Sides, Stated};
use crate::secret::{Opening, ProvenRuns, Run, Secret, Segment, SideVisibility, Visibility};
use rand_core::CryptoRng;
use std::ops::ControlFlow;
use zkinfer_circuits::C;
use zkinfer_circuits::link::LinkProof;
use zkinfer_circuits::statement::Side;

/// A proof that is wanted.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What it is to be of; of several runs, one proof for all.
    pub runs: &'a [Run],
    /// How inputs and outputs appear.
    pub visibility: Visibility,
    /// What it is bound to, at most 4096 bytes.
    pub context: Vec<u8>,
}

impl<'a> Request<'a> {
    /// A proof of one run, with input and output public.
    pub fn of(run: &'a Run) -> Request<'a> {
        Request {
            runs: std::slice::from_ref(run),
            visibility: Visibility::default(),
            context: Vec::new(),
        }
    }
}

/// How input and output of every run of a segment appear.
type Covers = Vec<(Cover, Cover)>;

/// What there is of a request.
struct Pending {
    /// Segment by segment.
    covers: Vec<Covers>,
    outcomes: Vec<Option<Outcome>>,
    told: bool,
}

/// Proves runs by an executor, every segment of every request a job of its own, and hands out each proof as it is complete, by
/// the index of its request. Proofs do not depend on who does the jobs, nor in which order: what they draw is drawn before any
/// of them starts.
///
/// A request that fails is handed out with its error, once, and the others go on. Once `done` breaks nothing more is begun.
///
/// # Errors
/// Only what keeps the executor from doing anything.
pub fn prove_many<R: CryptoRng>(
    secret: &Secret,
    requests: &[Request<'_>],
    executor: &dyn Executor,
    rng: &mut R,
    done: &mut dyn FnMut(usize, Result<ProvenRuns, JobError>) -> ControlFlow<()>,
) -> Result<(), JobError> {
    let mut jobs: Vec<Job<'_>> = Vec::new();
    // Of every job, which request and which segment of it.
    let mut places: Vec<(usize, usize)> = Vec::new();
    let mut pending: Vec<Pending> = Vec::with_capacity(requests.len());
    let count = secret.segments().len();
    for (number, request) in requests.iter().enumerate() {
        let (covers, refused) = match request.covers(secret, rng) {
            Ok(covers) => (covers, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let segments = secret.segments().iter().zip(&covers).enumerate();
        for (index, (segment, of_segment)) in segments {
            jobs.push(request.job(segment, index, of_segment, rng));
            places.push((number, index));
        }
        pending.push(Pending {
            covers,
            outcomes: (0..count).map(|_| None).collect(),
            told: refused.is_some(),
        });
        if let Some(error) = refused
            && done(number, Err(error.into())).is_break()
        {
            return Ok(());
        }
    }
    let mut stopped = false;
    executor.execute(&jobs, &mut |job, result| {
        let Some(&(number, index)) = places.get(job) else {
            return ControlFlow::Continue(());
        };
        let proven = pending[number].arrived(secret, &requests[number], index, result);
        let flow = proven.map_or(ControlFlow::Continue(()), |proven| done(number, proven));
        stopped |= flow.is_break();
        flow
    })?;
    let lost = pending.iter().enumerate().filter(|(_, p)| !p.told);
    for (number, _) in lost.take_while(|_| !stopped) {
        if done(number, Err(JobError::Lost)).is_break() {
            break;
        }
    }
    Ok(())
}

impl Pending {
    /// What came of a job. If it was the last one, or failed, what came of the request.
    fn arrived(
        &mut self,
        secret: &Secret,
        request: &Request<'_>,
        index: usize,
        result: Result<Vec<u8>, JobError>,
    ) -> Option<Result<ProvenRuns, JobError>> {
        // Of a retry there may be two results; they are the same.
        if self.told || self.outcomes[index].is_some() {
            return None;
        }
        let outcome = result.and_then(|bytes| Ok(Outcome::from_bytes(&bytes)?));
        let proven = match outcome {
            Ok(outcome) => {
                self.outcomes[index] = Some(outcome);
                if self.outcomes.iter().any(Option::is_none) {
                    return None;
                }
                let outcomes = self.outcomes.drain(..).flatten().collect();
                request.assemble(secret, &self.covers, outcomes)
            }
            Err(error) => Err(error),
        };
        self.told = true;
        Some(proven)
    }
}

impl Request<'_> {
    /// How input and output of every run appear, segment by segment: between segments, behind fresh blinds.
    fn covers(&self, secret: &Secret, rng: &mut dyn CryptoRng) -> Result<Vec<Covers>, ProveError> {
        allow(self.runs.len(), &self.context)?;
        if !self.runs.iter().all(|run| secret.flows_through(run)) {
            return Err(ProveError::Run);
        }
        let segments = secret.segments();
        let mut all: Vec<Covers> = Vec::with_capacity(segments.len());
        for (index, segment) in segments.iter().enumerate() {
            let mut draw = |is_input: bool, visibility: &SideVisibility| match visibility {
                SideVisibility::Public => Cover::Public,
                SideVisibility::Committed => Cover::Blinds(segment.blinds_of(is_input, &mut *rng)),
                SideVisibility::Opened(opening) => Cover::Opened(opening.clone()),
            };
            let seen = if index + 1 == segments.len() {
                &self.visibility.output
            } else {
                &SideVisibility::Committed
            };
            let of_run = |number: usize| {
                let input = match all.last() {
                    Some(before) => before[number].1.clone(),
                    None => draw(true, &self.visibility.input),
                };
                (input, draw(false, seen))
            };
            let of_segment = (0..self.runs.len()).map(of_run).collect();
            all.push(of_segment);
        }
        Ok(all)
    }

    fn job<'s>(
        &self,
        segment: &'s Segment,
        index: usize,
        covers: &Covers,
        rng: &mut dyn CryptoRng,
    ) -> Job<'s> {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let runs = self.runs.iter().zip(covers);
        let runs = runs.map(|(run, (input, output))| SegmentRun {
            flow: run.flow(index).to_vec(),
            input: input.clone(),
            output: output.clone(),
        });
        let job = ProveJob {
            segment: *segment.digest(),
            seed,
            context: self.context.clone(),
            runs: runs.collect(),
        };
        Job {
            segment,
            bytes: job.to_bytes(),
            cost: Cost::of_proof(segment.plan(), self.runs.len()),
        }
    }

    /// The proof from what workers made, if they proved what they were asked to: every statement is made again, from the
    /// integers that are known here and the points that came back, which are the same on both sides of a boundary.
    fn assemble(
        &self,
        secret: &Secret,
        covers: &[Covers],
        outcomes: Vec<Outcome>,
    ) -> Result<ProvenRuns, JobError> {
        let mut timings = Timings::default();
        let mut sides: Vec<Sides> = Vec::with_capacity(outcomes.len());
        let mut parts: Vec<(Vec<u8>, LinkProof)> = Vec::with_capacity(outcomes.len());
        for (index, (outcome, covers)) in outcomes.into_iter().zip(covers).enumerate() {
            if outcome.points.len() != self.runs.len() {
                return Err(JobError::Other);
            }
            let points = self.runs.iter().zip(outcome.points).zip(covers);
            let stated = points.map(|((run, points), covers)| {
                let input = state(&covers.0, run.flow(index), points.0)?;
                Ok((input, state(&covers.1, run.flow(index + 1), points.1)?))
            });
            let stated = stated.collect::<Result<Sides, JobError>>()?;
            let meets = |before: &Sides| {
                let mut pairs = before.iter().zip(&stated);
                pairs.all(|(before, behind)| before.1.0 == behind.0.0)
            };
            let segment = &secret.segments()[index];
            if !sides.last().is_none_or(meets)
                || segment.statement(&stated, &self.context) != outcome.statement
            {
                return Err(JobError::Other);
            }
            sides.push(stated);
            parts.push((outcome.halo2, outcome.link));
            timings += outcome.timings;
        }
        let proof = secret.proof(&self.visibility, &self.context, &sides, parts);
        let (proof, openings) = proof.ok_or(JobError::Other)?;
        Ok(ProvenRuns {
            proof,
            openings,
            timings,
        })
    }
}

/// Input or output of a run as it was asked for, with the points that a worker computed.
fn state(cover: &Cover, values: &[u16], points: Option<Vec<C>>) -> Result<Stated, JobError> {
    let (blinds, points) = match (cover, points) {
        (Cover::Public, None) => return Ok((Side::Public(values.to_vec()), None)),
        (Cover::Blinds(blinds), Some(points)) if points.len() == blinds.len() => (blinds, points),
        (Cover::Opened(opening), Some(points)) if points == opening.points => {
            (&opening.blinds, points)
        }
        _ => return Err(JobError::Other),
    };
    let opening = Opening {
        points: points.clone(),
        blinds: blinds.clone(),
    };
    Ok((Side::Committed(points), Some(opening)))
}
