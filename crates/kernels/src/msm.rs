//! Multi-scalar multiplication over Vesta.
//!
//! ```text
//! scalar   short signed scalars: small ones as they are, the others in two halves by the endomorphism
//! plan     the windows that a sum's digits are cut into
//! terms    the non-zero terms of a sum, their digits
//! sums     buckets and their weighted sums, by trees of batched affine additions
//! combine  the doublings at the end
//! ```
//!
//! The time depends on the scalars: how many are zero, how long they are, which buckets they meet in.

mod combine;
mod plan;
mod scalar;
mod sums;
mod terms;

pub(crate) use scalar::{Short, shorten};

use crate::curve::{PointOf, endomorphism_into, identity, pack_points};
use crate::vector::{Backend, Kernel, Vector};
use combine::Combine;
use pasta_curves::{Eq, EqAffine, Fp};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};
use sums::{BitSum, Engine, Piece};
use terms::Terms;

/// Points that are multiplied again and again, with their images under the endomorphism.
pub struct Bases<B: Backend> {
    /// The points, then their images.
    points: Vec<PointOf<B>>,
    /// Which points are the identity; empty where none is.
    skips: Vec<bool>,
    len: usize,
    /// Scratch of threads that are done: fresh memory of this size costs more than it seems, in page faults.
    pool: Mutex<Vec<Scratch<B>>>,
}

impl<B: Backend> std::fmt::Debug for Bases<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bases")
            .field("backend", &B::NAME)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// What a thread works in.
struct Scratch<B: Backend> {
    engine: Engine<B>,
    terms: Terms,
}

impl<B: Backend> Bases<B> {
    /// The bases in a backend's representation. At most `2^29`.
    pub fn new(backend: B, points: &[EqAffine]) -> Self {
        backend.run(Pack(points))
    }

    /// Bases from points at rest, for instance [`crate::collapse::collapse`]'s.
    pub fn from_points(backend: B, points: Vec<PointOf<B>>) -> Self {
        backend.run(Extend(points))
    }

    /// Number of bases.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bases at rest, without their images.
    pub fn bases(&self) -> &[PointOf<B>] {
        &self.points[..self.len]
    }

    /// The bases, then their images under the endomorphism.
    fn points(&self) -> &[PointOf<B>] {
        &self.points
    }

    fn scratch(&self) -> Scratch<B> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.pop().unwrap_or_else(|| Scratch {
            engine: Engine::new(),
            terms: Terms::default(),
        })
    }

    fn give_back(&self, scratch: Scratch<B>) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push(scratch);
    }

    /// Whether a base is the identity.
    #[inline(always)]
    fn skips(&self, at: u32) -> bool {
        !self.skips.is_empty() && self.skips[at as usize]
    }
}

struct Pack<'a>(&'a [EqAffine]);

impl<B: Backend> Kernel<B> for Pack<'_> {
    type Output = Bases<B>;
    #[inline(always)]
    fn run(self) -> Bases<B> {
        extend(pack_points::<B>(self.0))
    }
}

struct Extend<B: Backend>(Vec<PointOf<B>>);

impl<B: Backend> Kernel<B> for Extend<B> {
    type Output = Bases<B>;
    #[inline(always)]
    fn run(self) -> Bases<B> {
        extend(self.0)
    }
}

#[inline(always)]
fn extend<B: Backend>(mut points: Vec<PointOf<B>>) -> Bases<B> {
    let len = points.len();
    assert!(len <= 1 << 29, "at most 2^29 bases");
    let zero = identity::<B>();
    let mut skips: Vec<bool> = points.iter().map(|point| *point == zero).collect();
    if !skips.contains(&true) {
        skips.clear();
    }
    points.resize(2 * len, zero);
    let (points_only, images) = points.split_at_mut(len);
    endomorphism_into::<B>(points_only, images);
    Bases {
        points,
        skips,
        len,
        pool: Mutex::new(Vec::new()),
    }
}

/// Scalars of a part.
#[derive(Clone, Copy, Debug)]
pub enum Scalars<'a> {
    /// Any scalars. Those that are small in magnitude, positive or negative, cost less.
    Field(&'a [Fp]),
    /// Small integers.
    Small(&'a [i32]),
}

/// The bases of a part.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// Consecutive ones, from here on.
    From(usize),
    /// One index for each scalar.
    List(&'a [u32]),
}

/// Some terms of a sum.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Which bases.
    pub at: At<'a>,
    /// Their scalars.
    pub scalars: Scalars<'a>,
}

/// One sum, over all terms of all parts.
#[derive(Clone, Debug, Default)]
pub struct Job<'a> {
    /// Its parts; bases may occur in several.
    pub parts: Vec<Part<'a>>,
}

/// The sums of all jobs, in order, on the calling thread.
///
/// Panics where a part names a base that does not exist, or has not as many bases as scalars.
pub fn msm<B: Backend>(backend: B, bases: &Bases<B>, jobs: &[Job<'_>]) -> Vec<Eq> {
    backend.run(Serial { bases, jobs })
}

struct Serial<'a, B: Backend> {
    bases: &'a Bases<B>,
    jobs: &'a [Job<'a>],
}

impl<B: Backend> Kernel<B> for Serial<'_, B> {
    type Output = Vec<Eq>;
    #[inline(always)]
    fn run(self) -> Vec<Eq> {
        let mut scratch = self.bases.scratch();
        let Scratch { engine, terms } = &mut scratch;
        for (number, job) in self.jobs.iter().enumerate() {
            terms.collect(self.bases, job);
            for window in terms.windows() {
                let piece = Piece {
                    window: *window,
                    from: 0,
                    to: terms.reaching(window),
                };
                engine.push(self.bases, number as u32, terms, &piece);
            }
        }
        let sums = engine.finish(self.bases);
        self.bases.give_back(scratch);
        Combine {
            sums,
            jobs: self.jobs.len(),
        }
        .run()
    }
}

/// [`msm`] on all threads of the current rayon pool: jobs, and parts of jobs where there are few.
///
/// Panics as [`msm`] does.
pub fn msm_parallel<B: Backend>(backend: B, bases: &Bases<B>, jobs: &[Job<'_>]) -> Vec<Eq> {
    let threads = rayon::current_num_threads();
    if threads == 1 || jobs.is_empty() {
        return msm(backend, bases, jobs);
    }
    let terms: Vec<Terms> = jobs
        .par_iter()
        .map(|job| backend.run(Collect { bases, job }))
        .collect();
    let pieces = cut(&terms, 2 * threads);
    let sums: Vec<Vec<BitSum<B>>> = pieces
        .par_iter()
        .map(|pieces| {
            backend.run(Pieces {
                bases,
                terms: &terms,
                pieces,
            })
        })
        .collect();
    let lanes = B::Base::LANES;
    let mut groups: Vec<Vec<BitSum<B>>> = vec![Vec::new(); jobs.len().div_ceil(lanes)];
    for mut sum in sums.into_iter().flatten() {
        let job = sum.job as usize;
        sum.job = (job % lanes) as u32;
        groups[job / lanes].push(sum);
    }
    let mut out: Vec<Eq> = groups
        .into_par_iter()
        .flat_map_iter(|sums| backend.run(Combine { sums, jobs: lanes }))
        .collect();
    out.truncate(jobs.len());
    out
}

struct Collect<'a, B: Backend> {
    bases: &'a Bases<B>,
    job: &'a Job<'a>,
}

impl<B: Backend> Kernel<B> for Collect<'_, B> {
    type Output = Terms;
    #[inline(always)]
    fn run(self) -> Terms {
        let mut terms = Terms::default();
        terms.collect(self.bases, self.job);
        terms
    }
}

struct Pieces<'a, B: Backend> {
    bases: &'a Bases<B>,
    terms: &'a [Terms],
    pieces: &'a [(u32, Piece)],
}

impl<B: Backend> Kernel<B> for Pieces<'_, B> {
    type Output = Vec<BitSum<B>>;
    #[inline(always)]
    fn run(self) -> Vec<BitSum<B>> {
        let mut scratch = self.bases.scratch();
        for (job, piece) in self.pieces {
            let terms = &self.terms[*job as usize];
            scratch.engine.push(self.bases, *job, terms, piece);
        }
        let sums = scratch.engine.finish(self.bases);
        self.bases.give_back(scratch);
        sums
    }
}

/// Terms worth a task of their own.
const TASK: usize = 1024;

/// All windows of all jobs in about `tasks` lists of about equal cost; windows are cut where they are too large.
fn cut(terms: &[Terms], tasks: usize) -> Vec<Vec<(u32, Piece)>> {
    let cost = |window: &plan::Window, n: usize| n + n.min(window.buckets());
    let total: usize = terms
        .iter()
        .flat_map(|terms| terms.windows().iter().map(|w| cost(w, terms.reaching(w))))
        .sum();
    let target = total.div_ceil(tasks).max(TASK);
    let mut out: Vec<Vec<(u32, Piece)>> = Vec::new();
    let mut room = 0;
    for (job, terms) in terms.iter().enumerate() {
        for window in terms.windows() {
            let n = terms.reaching(window);
            let mut from = 0;
            while from < n {
                if room == 0 {
                    out.push(Vec::new());
                    room = target;
                }
                // A little over the target is better than a small rest.
                let all = cost(window, n - from);
                let take = if 4 * all <= 5 * room {
                    n - from
                } else {
                    ((n - from) * room / all).max(1)
                };
                let piece = Piece {
                    window: *window,
                    from,
                    to: from + take,
                };
                if let Some(last) = out.last_mut() {
                    last.push((job as u32, piece));
                }
                room = room.saturating_sub(cost(window, take));
                if room < target / 8 {
                    room = 0;
                }
                from += take;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
