//! The job of proving one segment of one or several runs, and what comes of it.
//!
//! ```text
//! job       digest of the segment, seed, context
//!           runs: integers that flow in and out, then input and output: 0 public | 1 blinds | 2 points and blinds
//! outcome   digest of the job, digest of the statement
//!           halo2 part, link, seven times in nanoseconds
//! ```

use super::JobError;
use crate::error::ProveError;
use crate::prove::{Honest, Hooks, Timings};
use crate::secret::prove::allow;
use crate::secret::segment::{Sides, Stated};
use crate::secret::{Opening, Segment};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::time::Duration;
use zkinfer_circuits::F;
use zkinfer_circuits::card::{FileKind, open, seal};
use zkinfer_circuits::codec::{Reader, Writer};
use zkinfer_circuits::error::DecodeError;
use zkinfer_circuits::link::LinkProof;
use zkinfer_circuits::statement::{Side, read_digest, read_lanes};
use zkinfer_circuits::transcript::Digest;
use zkinfer_model::progress::Progress;
use zkinfer_model::run::Trace;

/// How an input or an output is to appear.
#[derive(Clone)]
pub(super) enum Cover {
    Public,
    /// Behind these blinds.
    Blinds(Vec<F>),
    /// Behind a commitment that exists already.
    Opened(Opening),
}

/// One run of a segment.
pub(super) struct SegmentRun {
    pub flow: Vec<u16>,
    /// What comes out, as the side that asks knows it.
    pub result: Vec<u16>,
    pub input: Cover,
    pub output: Cover,
}

/// A segment to be proven.
pub(super) struct ProveJob {
    pub segment: Digest,
    /// Whatever the proof draws follows from all of the job, so that the same job yields the same proof and no other job
    /// draws the same. Secret.
    pub seed: [u8; 32],
    pub context: Vec<u8>,
    pub runs: Vec<SegmentRun>,
}

/// Longest outcome: several times what a proof of the most columns has.
const OUTCOME_BYTES: usize = 1 << 22;

/// What came of it.
pub(super) struct Outcome {
    /// Which job it is of.
    pub job: Digest,
    pub statement: Digest,
    pub halo2: Vec<u8>,
    pub link: LinkProof,
    pub timings: Timings,
}

/// What an outcome says which job it is of.
pub(super) fn job_digest(bytes: &[u8]) -> Digest {
    Digest::of("zkinfer-did", bytes)
}

impl Cover {
    fn write(&self, w: &mut Writer) {
        let (kind, blinds) = match self {
            Cover::Public => return w.u8(0),
            Cover::Blinds(blinds) => (1, blinds),
            Cover::Opened(opening) => (2, &opening.blinds),
        };
        w.u8(kind);
        if let Cover::Opened(opening) = self {
            w.len(opening.points.len());
            opening.points.iter().for_each(|p| w.point(p));
        }
        w.len(blinds.len());
        blinds.iter().for_each(|b| w.scalar(b));
    }

    fn read(r: &mut Reader<'_>) -> Result<Cover, DecodeError> {
        let scalars = |r: &mut Reader<'_>| {
            let len = r.len(32)?;
            r.list(len, Reader::scalar)
        };
        let what = "kind of cover";
        Ok(match r.u8()? {
            0 => Cover::Public,
            1 => Cover::Blinds(scalars(r)?),
            2 => Cover::Opened(Opening {
                points: read_lanes(r)?,
                blinds: scalars(r)?,
            }),
            _ => return Err(DecodeError::Invalid { what }),
        })
    }

    /// Input or output as the statement has it.
    pub fn state(
        self,
        segment: &Segment,
        is_input: bool,
        values: &[u16],
    ) -> Result<Stated, ProveError> {
        let (blinds, given) = match self {
            Cover::Public => return Ok((Side::Public(values.to_vec()), None)),
            Cover::Blinds(blinds) => (blinds, None),
            Cover::Opened(opening) => (opening.blinds, Some(Side::Committed(opening.points))),
        };
        let stated = segment.committed(is_input, values, blinds)?;
        match given {
            Some(given) if given != stated.0 => Err(ProveError::Opening),
            _ => Ok(stated),
        }
    }
}

impl ProveJob {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes.extend_from_slice(&self.segment.0);
        w.bytes.extend_from_slice(&self.seed);
        w.blob(&self.context);
        w.len(self.runs.len());
        for run in &self.runs {
            for values in [&run.flow, &run.result] {
                w.len(values.len());
                values.iter().for_each(|&v| w.u16(v));
            }
            run.input.write(&mut w);
            run.output.write(&mut w);
        }
        seal(FileKind::Job, &w.bytes)
    }

    /// Reads a job. What it takes is bounded by its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<ProveJob, DecodeError> {
        let mut r = Reader::new(open(FileKind::Job, bytes, usize::MAX)?);
        let (segment, seed) = (read_digest(&mut r)?, read_digest(&mut r)?.0);
        let context = r.blob()?.to_vec();
        let runs = r.len(10)?;
        let integers = |r: &mut Reader<'_>| {
            let len = r.len(2)?;
            r.list(len, Reader::u16)
        };
        let runs = r.list(runs, |r| {
            Ok(SegmentRun {
                flow: integers(r)?,
                result: integers(r)?,
                input: Cover::read(r)?,
                output: Cover::read(r)?,
            })
        })?;
        r.finish()?;
        Ok(ProveJob {
            segment,
            seed,
            context,
            runs,
        })
    }

    /// Does it. `bytes` are the job's own.
    fn run(
        self,
        bytes: &[u8],
        segment: &Segment,
        progress: &mut Progress<'_>,
    ) -> Result<Outcome, JobError> {
        allow(self.runs.len(), &self.context)?;
        let program = &segment.plan().program;
        let mut traces: Vec<Trace> = Vec::with_capacity(self.runs.len());
        let mut sides: Sides = Vec::with_capacity(self.runs.len());
        for run in self.runs {
            if run.flow.len() != program.input_len() {
                return Err(ProveError::Run.into());
            }
            let (trace, input, output) = segment.run(&segment.split(&run.flow))?;
            // Of another model, or of this one before it was compiled anew.
            if output != run.result {
                return Err(ProveError::Run.into());
            }
            traces.push(trace);
            sides.push((
                run.input.state(segment, true, &input)?,
                run.output.state(segment, false, &output)?,
            ));
        }
        let mut rng = ChaCha20Rng::from_seed(Digest::of("zkinfer-job", bytes).0);
        let mut honest = Honest;
        let mut told = |stage, fraction| progress(stage, fraction);
        let hooks = Hooks::new(&mut honest, &mut told);
        let traces: Vec<&Trace> = traces.iter().collect();
        let (halo2, link, timings) =
            segment.prove(&traces, &sides, &self.context, hooks, &mut rng)?;
        Ok(Outcome {
            job: job_digest(bytes),
            statement: segment.statement(&sides, &self.context),
            halo2,
            link,
            timings,
        })
    }
}

impl Outcome {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes.extend_from_slice(&self.job.0);
        w.bytes.extend_from_slice(&self.statement.0);
        w.blob(&self.halo2);
        self.link.write(&mut w);
        for time in self.timings.parts() {
            w.i64(time.as_nanos().try_into().unwrap_or(i64::MAX));
        }
        seal(FileKind::Outcome, &w.bytes)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Outcome, DecodeError> {
        let mut r = Reader::new(open(FileKind::Outcome, bytes, OUTCOME_BYTES)?);
        let (job, statement) = (read_digest(&mut r)?, read_digest(&mut r)?);
        let halo2 = r.blob()?.to_vec();
        let link = LinkProof::read(&mut r)?;
        let mut times = [Duration::ZERO; 7];
        for time in &mut times {
            let nanos = u64::try_from(r.i64()?);
            let nanos = nanos.map_err(|_| DecodeError::Invalid { what: "time" })?;
            *time = Duration::from_nanos(nanos);
        }
        r.finish()?;
        Ok(Outcome {
            job,
            statement,
            halo2,
            link,
            timings: Timings::of_parts(times),
        })
    }
}

impl Segment {
    /// Does a job that names this segment.
    ///
    /// # Errors
    /// A job that is none, or of another segment; and what keeps it from being proven.
    pub(crate) fn run_job(
        &self,
        bytes: &[u8],
        progress: &mut Progress<'_>,
    ) -> Result<Vec<u8>, JobError> {
        let job = ProveJob::from_bytes(bytes)?;
        if job.segment != *self.digest() {
            return Err(JobError::Segment(job.segment));
        }
        Ok(job.run(bytes, self, progress)?.to_bytes())
    }
}
