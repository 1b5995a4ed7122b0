//! The prover: from runs of the model to a proof.
//!
//! One pipeline for every [`engine`]: fill the columns of a phase, commit, derive challenges, fill the next, and hand
//! everything to the engine for the halo2 proof; then link it to the model commitment.
//!
//! Several runs share a proof: challenges are drawn after phase 1 of all of them, so that folded weights, free
//! coefficients and challenge columns are the same for all, and there is one opening.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod cheats;
pub(crate) mod engine;
#[cfg(test)]
mod equal;
pub(crate) mod fold;
#[cfg(test)]
mod random;
mod sums;
mod upstream;
mod witness;
#[cfg(test)]
pub(crate) mod zoo;

use crate::error::ProveError;
use crate::progress::{Progress, Stage, Stopped, tell};
use crate::run::Trace;
use engine::{Columns, Keys};
use ff::Field;
use halo2_proofs::poly::commitment::Params;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};
use std::time::{Duration, Instant};
use zkinfer_circuits::fold::Coefficients;
use zkinfer_circuits::layout::BLINDING_ROWS;
use zkinfer_circuits::link::{self, Excess, LinkProof};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Plan, Session, instances};
use zkinfer_circuits::{C, F};
use zkinfer_engine::{AnyGenerators, AnyProver};

/// Wall time of each part of a proof.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Timings {
    /// Filling the columns of phase 1.
    pub witness: Duration,
    /// Committing to phase 1.
    pub phase1: Duration,
    /// Folding weights and computing free coefficients.
    pub fold: Duration,
    /// Committing to phase 2.
    pub phase2: Duration,
    /// Filling the columns of phase 3.
    pub phase3: Duration,
    /// Quotient, evaluations and opening; with the upstream engine, all of `create_proof`.
    pub halo2: Duration,
    /// The link proof.
    pub link: Duration,
}

impl Timings {
    /// All parts together.
    pub fn total(&self) -> Duration {
        self.witness + self.phase1 + self.fold + self.phase2 + self.phase3 + self.halo2 + self.link
    }
}

/// Places where a dishonest prover deviates. Tests implement it to show that every lie is caught; [`Honest`] does nothing.
pub(crate) trait Deviation {
    /// Which columns later runs take over from the first.
    fn repeated(&mut self, _repeated: &mut Vec<bool>) {}
    /// Cells of phase 1, before lookups are counted and products computed.
    fn cells(&mut self, _plan: &Plan, _phase1: &mut witness::Phase1) {}
    /// Multiplicities.
    fn multiplicities(&mut self, _plan: &Plan, _phase1: &mut witness::Phase1) {}
    /// All columns so far: after phase 1, 2 and 3.
    fn columns(&mut self, _plan: &Plan, _phase: u8, _columns: &mut [Vec<F>]) {}
    /// The challenges of phase 2, if they are not taken from the transcript.
    fn challenges(&mut self, _challenges: &mut zkinfer_circuits::fold::Challenges) {}
    /// The instance, as the circuit is proven for it.
    fn instances(&mut self, _plan: &Plan, _instances: &mut [Vec<F>]) {}
    /// Everything is filled in: a test may stop here and look at the gates instead of proving.
    fn filled(&mut self, _plan: &Plan, _columns: &[Vec<F>], _instances: &[Vec<F>]) {}
}

/// No deviation.
pub(crate) struct Honest;

impl Deviation for Honest {}

/// Who is asked and told while a proof is made.
pub(crate) struct Hooks<'a> {
    deviation: &'a mut dyn Deviation,
    progress: &'a mut Progress<'a>,
}

impl<'a> Hooks<'a> {
    pub fn new(deviation: &'a mut dyn Deviation, progress: &'a mut Progress<'a>) -> Hooks<'a> {
        Hooks {
            deviation,
            progress,
        }
    }

    /// A stage begins.
    pub fn tell(&mut self, stage: Stage) -> Result<(), Stopped> {
        // Fractions of a proof of LeNet-5 at k = 10 on two cores.
        let fraction = match stage {
            Stage::Witness => 0.05,
            Stage::Fold => 0.25,
            Stage::Sums => 0.4,
            Stage::Open => 0.6,
            Stage::Link => 0.98,
            Stage::Done => 1.0,
            _ => 0.0,
        };
        tell(self.progress, stage, fraction)
    }
}

/// What the prover holds besides the runs.
pub(crate) struct Prover<'a> {
    pub plan: &'a Plan,
    pub params: &'a Params<C>,
    pub keys: &'a Keys,
    pub generators: &'a AnyGenerators,
    pub matrices: &'a [fold::Matrix],
    /// Blinds of the model commitment, per group and point.
    pub blinds: &'a [Vec<F>],
}

/// Blinds of the targets of one run's input and output columns (zero where public).
pub(crate) struct SideBlinds {
    pub input: Vec<F>,
    pub output: Vec<F>,
}

/// One run to be proven.
pub(crate) struct Task<'a> {
    pub trace: &'a Trace,
    pub sides: SideBlinds,
}

/// Measures laps.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self, slot: &mut Duration) {
        *slot += std::mem::replace(&mut self.0, Instant::now()).elapsed();
    }
}

impl Prover<'_> {
    /// Proves runs; also returns where the time went.
    pub fn prove(
        &self,
        tasks: &[Task<'_>],
        statement: &Digest,
        hooks: Hooks<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, LinkProof, Timings), ProveError> {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let own = ChaCha20Rng::from_seed(seed);
        let mut repeated = self.plan.repeated_columns();
        hooks.deviation.repeated(&mut repeated);
        let runs = tasks.len();
        let columns: Box<dyn Columns + '_> = match self.keys {
            Keys::Engine(key) => Box::new(AnyProver::of_many(key, runs, &repeated, own)),
            Keys::Upstream(key) => Box::new(upstream::Prover::new(key, runs, &repeated, own)),
        };
        self.prove_on(columns, &repeated, tasks, statement, hooks, rng)
    }

    fn prove_on(
        &self,
        mut proof: Box<dyn Columns + '_>,
        repeated: &[bool],
        tasks: &[Task<'_>],
        statement: &Digest,
        mut hooks: Hooks<'_>,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, LinkProof, Timings), ProveError> {
        let plan = self.plan;
        let layout = &plan.layout;
        let mut timings = Timings::default();
        let mut clock = Clock(Instant::now());
        hooks.tell(Stage::Witness)?;

        let mut phases1 = Vec::with_capacity(tasks.len());
        let mut filled = Vec::with_capacity(tasks.len());
        for task in tasks {
            let mut phase1 = witness::Phase1::new(plan, task.trace);
            hooks.deviation.cells(plan, &mut phase1);
            phase1.count_lookups(plan);
            hooks.deviation.multiplicities(plan, &mut phase1);
            let mut columns = phase1.columns(plan);
            hooks.deviation.columns(plan, 1, &mut columns);
            phases1.push(phase1);
            filled.push(columns);
        }
        clock.lap(&mut timings.witness);
        let mut commitments = Vec::new();
        for (run, columns) in filled.iter().enumerate() {
            commitments.extend(proof.commit(run, columns)?);
        }
        clock.lap(&mut timings.phase1);
        hooks.tell(Stage::Fold)?;

        let mut session = Session::new(statement);
        let mut challenges = session
            .challenges(layout, &commitments)
            .map_err(|_| ProveError::Unlucky)?;
        hooks.deviation.challenges(&mut challenges);
        let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, &challenges);
        let first = &mut filled[0];
        first.extend(self.phase2(&coefficients));
        hooks.deviation.columns(plan, 2, first);
        clock.lap(&mut timings.fold);
        let range = layout.columns.phase1()..layout.columns.phase1() + layout.columns.phase2();
        let shared: Vec<Vec<F>> = first[range.clone()].to_vec();
        let phase2 = proof.commit(0, &shared)?;
        clock.lap(&mut timings.phase2);
        hooks.tell(Stage::Sums)?;

        let late = session
            .late(layout, &phase2)
            .map_err(|_| ProveError::Unlucky)?;
        let (kappa, beta) = coefficients.late(&late);
        let mut instances = instances(layout, &challenges, &late, kappa, beta.clone());
        hooks.deviation.instances(plan, &mut instances);
        let inverses = sums::table_inverses(plan, &challenges);
        for (run, (mut columns, phase1)) in filled.into_iter().zip(&phases1).enumerate() {
            if run > 0 {
                columns.extend_from_slice(&shared);
            }
            columns.extend(sums::phase3(
                plan,
                &inverses,
                phase1,
                &columns,
                &challenges,
                &late,
                kappa,
                &beta,
            ));
            hooks.deviation.columns(plan, 3, &mut columns);
            hooks.deviation.filled(plan, &columns, &instances);
            let first = if run == 0 { range.end } else { range.start };
            commit_rest(proof.as_mut(), repeated, run, &columns, first)?;
        }
        clock.lap(&mut timings.phase3);
        hooks.tell(Stage::Open)?;

        let excess = self.excess(&coefficients, tasks, proof.as_ref());
        let halo2 = proof.finish(&instances)?;
        clock.lap(&mut timings.halo2);
        hooks.tell(Stage::Link)?;
        let link = link::prove(self.params, &mut session.link(), &excess, &mut &mut *rng)
            .map_err(|_| ProveError::Unlucky)?;
        clock.lap(&mut timings.link);
        hooks.tell(Stage::Done)?;
        Ok((halo2, link, timings))
    }

    /// `S`, `T` and `E` columns.
    fn phase2(&self, coefficients: &Coefficients<'_>) -> Vec<Vec<F>> {
        let layout = &self.plan.layout;
        let first = layout.columns.phase1();
        let rows = layout.last + 1;
        let mut columns = vec![vec![F::ZERO; rows]; layout.columns.phase2()];
        for (group, matrix) in self.plan.groups.iter().zip(self.matrices) {
            let folded = matrix.fold(self.generators, &coefficients.group(group));
            let column = &mut columns[group.column - first];
            for (&row, v) in group.rows.iter().zip(folded) {
                column[row as usize] += v;
            }
        }
        if layout.columns.free > 0 {
            let table = layout.columns.direct..layout.columns.direct + layout.columns.table;
            let free = coefficients.free(&columns[table]);
            let slots = layout
                .slots
                .iter()
                .enumerate()
                .skip(zkinfer_circuits::program::FIRST_SLOT as usize);
            for (slot, cell) in slots {
                if let Some((column, _)) = layout.ports[cell.port as usize].free {
                    columns[column - first][cell.row as usize] = free[slot];
                }
            }
            if let Some((column, _)) = layout.free_one.and_then(|p| layout.ports[p as usize].free) {
                columns[column - first][0] = free[zkinfer_circuits::program::ONE as usize];
            }
        }
        columns
    }

    /// What every linked column's commitment has beyond its target, in the order of [`Plan::linked_columns`].
    fn excess(
        &self,
        coefficients: &Coefficients<'_>,
        tasks: &[Task<'_>],
        proof: &dyn Columns,
    ) -> Vec<Excess> {
        let plan = self.plan;
        let of = |run: usize, column: usize| {
            let draws = proof.draws(run);
            let mut rows = [F::ZERO; BLINDING_ROWS];
            rows.copy_from_slice(&draws.rows[column]);
            Excess {
                rows,
                blind: draws.blinds[column],
            }
        };
        let mut all = Vec::new();
        for (run, task) in tasks.iter().enumerate() {
            let blinds = task.sides.input.iter().chain(&task.sides.output);
            for (&column, blind) in plan.side_lanes().iter().zip(blinds) {
                let mut excess = of(run, column);
                excess.blind -= blind;
                all.push(excess);
            }
        }
        let folds = plan.fold_columns();
        let mut excesses: Vec<Excess> = folds.iter().map(|&c| of(0, c)).collect();
        for (group, blinds) in plan.groups.iter().zip(self.blinds) {
            let scalars = coefficients.group(group);
            let blind: F = scalars.iter().zip(blinds).map(|(c, b)| *c * b).sum();
            if let Some(i) = folds.iter().position(|c| *c == group.column) {
                excesses[i].blind -= blind;
            }
        }
        all.extend(excesses);
        all
    }
}

/// Commits to a run's columns from `first` on; later runs repeat those that are the same for all.
fn commit_rest(
    proof: &mut dyn Columns,
    repeated: &[bool],
    run: usize,
    columns: &[Vec<F>],
    first: usize,
) -> Result<(), ProveError> {
    let mut at = first;
    for same in repeated[first..].chunk_by(|a, b| a == b) {
        let range = at..at + same.len();
        at = range.end;
        if run > 0 && same[0] {
            proof.repeat(run, range.len())?;
        } else {
            proof.commit(run, &columns[range])?;
        }
    }
    Ok(())
}
