//! Many proofs.

use super::prove::{Cover, Outcome, ProveJob, SegmentRun, job_digest};
use super::{Executor, Job, JobError};
use crate::error::ProveError;
use crate::plan::Cost;
use crate::prove::Timings;
use crate::secret::prove::allow;
use crate::secret::segment::Sides;
use crate::secret::{ProvenRuns, Run, Secret, SideVisibility, Visibility};
use rand_core::CryptoRng;
use std::ops::ControlFlow;
use zkinfer_circuits::link::LinkProof;
use zkinfer_circuits::transcript::Digest;

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
    // Of every job, which request and which segment of it, and what its outcome has to say that it is of.
    let mut places: Vec<(usize, usize, Digest)> = Vec::new();
    let mut pending: Vec<Pending> = Vec::with_capacity(requests.len());
    let count = secret.segments().len();
    for (number, request) in requests.iter().enumerate() {
        let (covers, refused) = match request.covers(secret, rng) {
            Ok(covers) => (covers, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        for (index, of_segment) in covers.iter().enumerate() {
            let job = request.job(secret, index, of_segment, rng);
            places.push((number, index, job_digest(&job.bytes)));
            jobs.push(job);
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
        let Some(&(number, index, ref digest)) = places.get(job) else {
            return ControlFlow::Continue(());
        };
        let outcome = result.and_then(|bytes| match Outcome::from_bytes(&bytes)? {
            outcome if outcome.job == *digest => Ok(outcome),
            _ => Err(JobError::Other),
        });
        let proven = pending[number].arrived(secret, &requests[number], index, outcome);
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
        outcome: Result<Outcome, JobError>,
    ) -> Option<Result<ProvenRuns, JobError>> {
        // Of a retry there may be two results; they are the same.
        if self.told || self.outcomes[index].is_some() {
            return None;
        }
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
        secret: &'s Secret,
        index: usize,
        covers: &Covers,
        rng: &mut dyn CryptoRng,
    ) -> Job<'s> {
        let segment = &secret.segments()[index];
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let runs = self.runs.iter().zip(covers);
        let runs = runs.map(|(run, (input, output))| SegmentRun {
            flow: run.flow(index).to_vec(),
            result: run.flow(index + 1).to_vec(),
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
            cost: Cost::of_job(secret, index, self.runs.len()),
        }
    }

    /// The proof from what workers made, if they proved what they were asked to: every statement is made again, from the
    /// integers and the blinds that are known here.
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
            let segment = &secret.segments()[index];
            let stated = self.runs.iter().zip(covers).enumerate();
            let stated = stated.map(|(number, (run, (input, output)))| {
                let output = output.clone();
                let output = output.state(segment, false, run.flow(index + 1))?;
                let input = match sides.last() {
                    // What flows between segments is the same on both sides.
                    Some(before) => before[number].1.clone(),
                    None => input.clone().state(segment, true, run.flow(index))?,
                };
                Ok((input, output))
            });
            let stated = stated.collect::<Result<Sides, JobError>>()?;
            if segment.statement(&stated, &self.context) != outcome.statement {
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
