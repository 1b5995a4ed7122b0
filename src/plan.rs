//! Choosing `k`.
//!
//! The layout is a function of the program and `k`: fewer rows mean more lanes. Tall tables pay for their rows in the
//! inner-product opening and in verification, wide ones for their columns; the planner lays the program out at every
//! `k`, predicts both costs and takes the cheapest.

mod memory;
#[cfg(test)]
mod tests;

use crate::error::CommitError;
use crate::secret::{Secret, Segment};
use memory::Size;
use std::fmt;
use std::time::Duration;
use zkinfer_circuits::error::{CardError, LayoutError};
use zkinfer_circuits::gates::{Description, describe};
use zkinfer_circuits::layout::{BLINDING_ROWS, Columns, Layout, MAX_K};
use zkinfer_circuits::program::Program;
use zkinfer_circuits::verify::{Limits, Plan};
use zkinfer_model::model::QuantizedModel;
use zkinfer_model::segments::{self, Cuts, Part};

/// What a proof should be good at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Preference {
    /// All three, as [`PlanOptions`] weighs them by default.
    #[default]
    Balanced,
    /// The least time to prove, whatever the rest.
    Prove,
    /// The least time to verify.
    Verify,
    /// The shortest proof.
    Size,
}

/// What the planner may choose.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PlanOptions {
    /// Use this `k` (needed where two models are chained by a committed boundary).
    pub k: Option<u32>,
    /// Smallest `k` that is tried.
    pub min_k: u32,
    /// Largest `k` that is tried. Beyond 16, which verifiers allow by default, no more than it takes: a larger one only where
    /// the program fits no smaller one.
    pub max_k: u32,
    /// How many milliseconds of proving one millisecond of verification is worth.
    pub verify_weight: f64,
    /// How many milliseconds of proving one kilobyte of proof is worth.
    pub size_weight: f64,
    /// Most memory that a proof may take, in bytes: what is predicted to take more is not chosen.
    pub memory: Option<u64>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        PlanOptions {
            k: None,
            min_k: 7,
            max_k: MAX_K,
            verify_weight: 1.0,
            size_weight: 20.0,
            memory: None,
        }
    }
}

impl PlanOptions {
    /// Weighs time of proving, time of verification and size for a preference: [`verify_weight`](Self::verify_weight) and
    /// [`size_weight`](Self::size_weight).
    #[must_use]
    pub fn with_preference(mut self, preference: Preference) -> Self {
        let balanced = PlanOptions::default();
        (self.verify_weight, self.size_weight) = match preference {
            Preference::Balanced => (balanced.verify_weight, balanced.size_weight),
            Preference::Prove => (0.0, 0.0),
            // What is left of the weight of proving decides between equals.
            Preference::Verify => (1e6, 0.0),
            Preference::Size => (0.0, 1e6),
        };
        self
    }

    /// Fixes [`k`](Self::k).
    #[must_use]
    pub fn with_k(mut self, k: u32) -> Self {
        self.k = Some(k);
        self
    }
}

/// What one `k` would cost. Milliseconds of CPU time on one core of the machine that the model was calibrated on: ratios
/// between candidates mean something, the figures themselves are orders of magnitude.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Logarithm of the number of rows.
    pub k: u32,
    /// Columns by kind.
    pub columns: Columns,
    /// Points in the model commitment.
    pub points: usize,
    /// Predicted proving time, CPU milliseconds.
    pub prove_ms: f64,
    /// Predicted verification time, CPU milliseconds.
    pub verify_ms: f64,
    /// Predicted proof size in bytes, claims not counted.
    pub proof_bytes: usize,
    /// Predicted memory of the process that proves, at its peak, in bytes.
    pub memory: u64,
}

/// The planner's choice and what it was compared with.
#[derive(Clone, Debug)]
pub struct PlanChoice {
    /// The chosen plan, ready to be committed to.
    pub plan: Plan,
    /// Every `k` that the program fits, ascending.
    pub candidates: Vec<Candidate>,
}

/// What a piece of work is going to take, for whoever places it: on one core of the machine that the model was calibrated on
/// (AVX-512 IFMA; without it about 3.5 times the time, and the same memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// CPU time.
    pub cpu: Duration,
    /// Memory at the peak, in bytes.
    pub memory: u64,
}

impl Cost {
    /// Proving so many runs of one segment, one proof for all, by a worker that has the model's other segments, too.
    pub(crate) fn of_job(secret: &Secret, segment: usize, runs: usize) -> Cost {
        let plans = || secret.segments().iter().map(Segment::plan);
        let micros = plans()
            .nth(segment)
            .map_or(0.0, |p| Candidate::of(p).prove_ms * 1e3);
        let sizes: Vec<Size> = plans().map(Size::of).collect();
        Cost {
            cpu: Duration::from_micros((micros * runs as f64) as u64),
            memory: memory::of_job(&sizes, segment, runs),
        }
    }

    /// Proving one run of a committed model, segment by segment.
    pub fn of_model(secret: &Secret) -> Cost {
        let candidate = Candidate::of_all(secret.segments().iter().map(Segment::plan));
        Cost {
            cpu: Duration::from_micros((candidate.prove_ms * 1e3) as u64),
            memory: candidate.memory,
        }
    }
}

/// Microseconds of CPU time of the engine with AVX-512 IFMA; fitted to `zkinfer-engine`'s `stages` example over
/// `k = 7 … 13` of four models. Portable and upstream cost about 3.5 and 12 times as much throughout, so that their best `k`
/// is about the same.
mod cost {
    /// Per row and advice cell with a small non-negative value: commitments, transforms, gates.
    pub const SMALL: f64 = 0.53;
    /// Per row and advice cell of full width.
    pub const FULL: f64 = 1.55;
    /// Per row: inner-product opening, quotient, everything that columns do not multiply.
    pub const ROW: f64 = 18.0;
    /// Per column: what does not shrink with the rows.
    pub const COLUMN: f64 = 90.0;
    /// The same for a column of full width, on top.
    pub const FULL_COLUMN: f64 = 260.0;
    /// Verification, per row.
    pub const VERIFY_ROW: f64 = 3.0;
    /// Verification, per point of the model commitment.
    pub const VERIFY_POINT: f64 = 1.0;
    /// Verification, per column.
    pub const VERIFY_COLUMN: f64 = 50.0;
}

impl Candidate {
    /// What a plan that was made costs.
    pub fn of(plan: &Plan) -> Candidate {
        Candidate::new(
            &plan.program,
            &plan.layout,
            &plan.description,
            Size::of(plan),
        )
    }

    /// What the plans of a model's segments cost together. All are of one `k`.
    pub fn of_all<'a>(plans: impl IntoIterator<Item = &'a Plan>) -> Candidate {
        let mut sizes = Vec::new();
        let mut all = Candidate {
            k: 0,
            columns: Columns::default(),
            points: 0,
            prove_ms: 0.0,
            verify_ms: 0.0,
            proof_bytes: 0,
            memory: 0,
        };
        for (index, plan) in plans.into_iter().enumerate() {
            sizes.push(Size::of(plan));
            let one = Candidate::of(plan);
            all.k = one.k;
            all.columns += &one.columns;
            all.points += one.points;
            all.prove_ms += one.prove_ms;
            // The sum over the generators is one for all.
            let once = if index == 0 { 0.0 } else { cost::VERIFY_ROW };
            all.verify_ms += one.verify_ms - plan.layout.rows() as f64 * once / 1e3;
            all.proof_bytes += one.proof_bytes;
        }
        all.memory = memory::of_proof(&sizes, 1);
        all
    }

    fn new(program: &Program, layout: &Layout, description: &Description, size: Size) -> Candidate {
        let columns = layout.columns.clone();
        let n = layout.rows() as f64;
        let small = columns.phase1() as f64;
        let full = columns.advice() as f64 - small;
        let points = layout.commitments(program);
        let micros = n * (small * cost::SMALL + full * cost::FULL + cost::ROW)
            + columns.advice() as f64 * cost::COLUMN
            + full * cost::FULL_COLUMN;
        let verify = n * cost::VERIFY_ROW
            + points as f64 * cost::VERIFY_POINT
            + columns.advice() as f64 * cost::VERIFY_COLUMN;
        let proof_bytes = proof_bytes(layout, description);
        Candidate {
            k: layout.k,
            columns,
            points,
            prove_ms: micros / 1e3,
            verify_ms: verify / 1e3,
            proof_bytes,
            memory: memory::of_proof(&[size], 1),
        }
    }
}

/// Size of upstream's proof and the link: one commitment per column, one evaluation per query, two points per round of
/// the opening.
fn proof_bytes(layout: &Layout, description: &Description) -> usize {
    let columns = &layout.columns;
    let next = columns.sums + columns.folds;
    let quotient = 4;
    let evaluations = columns.advice() + next + description.fixed + description.instance + 1;
    let opening = 2 * layout.k as usize + 3 + 2 + 2;
    let link = zkinfer_circuits::layout::BLINDING_ROWS + 2;
    32 * (columns.advice() + 1 + quotient + evaluations + opening + link)
}

impl PlanOptions {
    /// What a candidate costs in milliseconds of proving.
    fn weigh(&self, c: &Candidate) -> f64 {
        c.prove_ms
            + self.verify_weight * c.verify_ms
            + self.size_weight * c.proof_bytes as f64 / 1e3
    }

    /// Whether a candidate takes no more memory than allowed; of those that take more, `least` is the least.
    fn fits(&self, c: &Candidate, least: &mut Option<u64>) -> bool {
        let fits = self.memory.is_none_or(|limit| c.memory <= limit);
        if !fits {
            *least = Some(least.map_or(c.memory, |least| least.min(c.memory)));
        }
        fits
    }

    /// Why nothing was chosen: what did not fit for its memory alone, before other reasons.
    fn refused(&self, least: Option<u64>, other: CommitError) -> CommitError {
        match (least, self.memory) {
            (Some(least), Some(limit)) => CommitError::Memory { least, limit },
            _ => other,
        }
    }
}

/// Chooses `k` for a program. The program is checked once and laid out once for every `k` that is tried.
///
/// # Errors
/// If the program is not well formed or fits no `k` that is allowed.
pub fn choose(program: &Program, options: &PlanOptions) -> Result<PlanChoice, CommitError> {
    let limits = Limits::owner();
    let expanded = program.expand(&limits.program).map_err(CardError::from)?;
    let range = match options.k {
        Some(k) => k..=k,
        None => options.min_k..=options.max_k,
    };
    let mut candidates = Vec::new();
    let mut best: Option<(f64, Layout)> = None;
    let mut least = None;
    let mut problem = CardError::from(LayoutError::K {
        k: 0,
        min: options.min_k,
        max: options.max_k,
    });
    for k in range {
        if k > Limits::default().k && best.is_some() {
            break;
        }
        match Layout::new(program, &expanded, k, limits.program.pieces) {
            Ok(layout) if layout.columns.advice() > limits.columns => {
                problem = CardError::Limit {
                    what: "columns",
                    value: layout.columns.advice(),
                    limit: limits.columns,
                };
            }
            Ok(layout) => {
                let description = describe(&layout);
                let size = Size::new(program, &expanded, &layout, &description);
                let candidate = Candidate::new(program, &layout, &description, size);
                let cost = options.weigh(&candidate);
                let fits = options.fits(&candidate, &mut least);
                candidates.push(candidate);
                if fits && best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, layout));
                }
            }
            Err(error) => problem = error.into(),
        }
    }
    let (_, layout) = best.ok_or_else(|| options.refused(least, CommitError::Plan(problem)))?;
    let plan = Plan::of_layout(program.clone(), expanded, layout, &limits)?;
    Ok(PlanChoice { plan, candidates })
}

/// The segments that a model is cut into, and how they are laid out.
#[derive(Clone, Debug)]
pub struct SegmentsChoice {
    /// Models and plans of the segments, in order, ready to be committed to.
    pub segments: Vec<(QuantizedModel, Plan)>,
    /// Every `k` that all of them fit, ascending: what they cost together.
    pub candidates: Vec<Candidate>,
}

/// Numbers of segments that are tried where the memory decides: all that are few.
const TRIED: [usize; 20] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 24, 32, 40, 48, 64,
];

/// Cuts a model into so many segments of about equal cost and chooses `k`, the same for all. 0: as few as the
/// [memory](PlanOptions::memory) that is allowed needs, one if it is not limited.
///
/// # Errors
/// If the model cannot be cut so often, or its segments fit no `k` that is allowed.
pub fn choose_segments(
    model: QuantizedModel,
    segments: usize,
    options: &PlanOptions,
) -> Result<SegmentsChoice, CommitError> {
    if segments > 0 {
        return cut_into(&model, segments, options)?.apply(model);
    }
    let (mut smallest, mut problem) = (None, None);
    for segments in TRIED {
        match cut_into(&model, segments, options) {
            Ok(chosen) => return chosen.apply(model),
            Err(CommitError::Memory { least, .. }) => {
                smallest = Some(smallest.map_or(least, |smallest: u64| smallest.min(least)));
            }
            Err(CommitError::Segments { .. }) => break,
            Err(error) => {
                problem.get_or_insert(error);
            }
        }
        if options.memory.is_none() {
            break;
        }
    }
    let none = problem.unwrap_or(CommitError::Mismatch);
    Err(options.refused(smallest, none))
}

/// Where a model is to be cut, and how its parts are laid out.
struct Chosen {
    /// None if it stays whole.
    parts: Option<Vec<Part>>,
    plans: Vec<Plan>,
    candidates: Vec<Candidate>,
}

impl Chosen {
    fn apply(self, model: QuantizedModel) -> Result<SegmentsChoice, CommitError> {
        let models = match self.parts {
            Some(parts) => segments::split(model, parts),
            None => vec![model],
        };
        Ok(SegmentsChoice {
            segments: models.into_iter().zip(self.plans).collect(),
            candidates: self.candidates,
        })
    }
}

fn cut_into(
    model: &QuantizedModel,
    segments: usize,
    options: &PlanOptions,
) -> Result<Chosen, CommitError> {
    if segments < 2 {
        let choice = choose(&model.program, options)?;
        return Ok(Chosen {
            parts: None,
            plans: vec![choice.plan],
            candidates: choice.candidates,
        });
    }
    let cuts = Cuts::of(model);
    // Nobody would verify a card of more.
    let most = cuts.most().min(Limits::default().segments);
    let allowed = Some(segments).filter(|&s| s <= most);
    let places = allowed.and_then(|s| cuts.balanced(s));
    let places = places.ok_or(CommitError::Segments { segments, most })?;
    let range = match options.k {
        Some(k) => k..=k,
        None => options.min_k..=options.max_k,
    };
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut best: Option<(f64, Vec<Part>, Vec<Plan>)> = None;
    let mut problem = None;
    let mut least_memory = None;
    for k in range {
        if k > Limits::default().k && best.is_some() {
            break;
        }
        // Rows that a lane holds values in.
        let lane = (1usize << k.min(MAX_K)).saturating_sub(BLINDING_ROWS + 2);
        let parts = segments::parts(model, &places, lane);
        let fixed = PlanOptions {
            k: Some(k),
            // Of all of them together.
            memory: None,
            ..*options
        };
        let plans = parts.iter().map(|part| choose(&part.program, &fixed));
        match plans.collect::<Result<Vec<PlanChoice>, CommitError>>() {
            Ok(choices) => {
                let plans: Vec<Plan> = choices.into_iter().map(|c| c.plan).collect();
                let together = Candidate::of_all(&plans);
                let cost = options.weigh(&together);
                let fits = options.fits(&together, &mut least_memory);
                candidates.push(together);
                if fits && best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                    best = Some((cost, parts, plans));
                }
            }
            Err(error) => problem = Some(error),
        }
    }
    let Some((_, parts, plans)) = best else {
        let none = || {
            let (k, min, max) = (0, options.min_k, options.max_k);
            CommitError::Plan(LayoutError::K { k, min, max }.into())
        };
        return Err(options.refused(least_memory, problem.unwrap_or_else(none)));
    };
    Ok(Chosen {
        parts: Some(parts),
        plans,
        candidates,
    })
}

impl PlanChoice {
    /// The chosen `k`.
    pub fn k(&self) -> u32 {
        self.plan.layout.k
    }
}

impl fmt::Display for PlanChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table(f, &self.candidates, self.k())
    }
}

impl SegmentsChoice {
    /// The chosen `k`.
    pub fn k(&self) -> u32 {
        self.segments.first().map_or(0, |(_, plan)| plan.layout.k)
    }
}

impl fmt::Display for SegmentsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table(f, &self.candidates, self.k())
    }
}

/// Candidates, one on a line.
fn table(f: &mut fmt::Formatter<'_>, candidates: &[Candidate], k: u32) -> fmt::Result {
    writeln!(
        f,
        "   k    rows  cells  mult  S+T+E  sums  points  prove(ms)  verify(ms)  proof(B)  memory(MB)"
    )?;
    for c in candidates {
        let col = &c.columns;
        writeln!(
            f,
            "{} {:>2} {:>7} {:>6} {:>5} {:>6} {:>5} {:>7} {:>10.0} {:>11.1} {:>9} {:>11}",
            if c.k == k { ">" } else { " " },
            c.k,
            1u64 << c.k,
            col.lanes,
            col.multiplicities,
            col.phase2(),
            col.constants + col.wiring + col.sums + col.folds,
            c.points,
            c.prove_ms,
            c.verify_ms,
            c.proof_bytes,
            c.memory / 1_000_000
        )?;
    }
    Ok(())
}
