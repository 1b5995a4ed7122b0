//! The prover: from runs of the model to a proof.
//!
//! One pipeline for every [`engine`]: fill the columns of a phase, commit, derive challenges, fill the next, and hand
//! everything to the engine for the halo2 proof; then link it to the model commitment.
//!
//! Several runs share a proof: challenges are drawn after phase 1 of all of them, so that folded weights, free
//! coefficients and challenge columns are the same for all, and there is one opening.

pub(crate) mod engine;
pub(crate) mod fold;
mod gather;
mod sums;
#[cfg(test)]
pub(crate) mod tests;
mod upstream;
mod witness;

use crate::error::ProveError;
use engine::{Columns, Keys};
use ff::Field;
use halo2_proofs::poly::commitment::Params;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};
use std::ops::Range;
use std::time::{Duration, Instant};
use zkinfer_circuits::fold::Coefficients;
use zkinfer_circuits::layout::BLINDING_ROWS;
use zkinfer_circuits::link::{self, Excess, LinkProof};
use zkinfer_circuits::transcript::{Digest, Transcript};
use zkinfer_circuits::verify::{Plan, Session, public_columns};
use zkinfer_circuits::{C, F};
use zkinfer_engine::{AnyGenerators, AnyProver};
use zkinfer_model::progress::{Progress, Stage, Stopped, tell};
use zkinfer_model::run::Trace;

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
        self.parts().iter().sum()
    }

    /// In the order of the fields.
    pub(crate) fn parts(&self) -> [Duration; 7] {
        [
            self.witness,
            self.phase1,
            self.fold,
            self.phase2,
            self.phase3,
            self.halo2,
            self.link,
        ]
    }

    /// The other way round.
    pub(crate) fn of_parts(parts: [Duration; 7]) -> Timings {
        let [witness, phase1, fold, phase2, phase3, halo2, link] = parts;
        Timings {
            witness,
            phase1,
            fold,
            phase2,
            phase3,
            halo2,
            link,
        }
    }
}

impl std::ops::AddAssign for Timings {
    fn add_assign(&mut self, other: Timings) {
        self.witness += other.witness;
        self.phase1 += other.phase1;
        self.fold += other.fold;
        self.phase2 += other.phase2;
        self.phase3 += other.phase3;
        self.halo2 += other.halo2;
        self.link += other.link;
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
    /// All columns so far of one run: after phase 1, after the folded weights and activations, the free coefficients, the
    /// public columns, and the running sums (1 to 5).
    fn columns(&mut self, _plan: &Plan, _phase: u8, _columns: &mut [Vec<F>]) {}
    /// What weighs the folded activations.
    fn eta(&mut self, _eta: Option<F>) {}
    /// The challenges of phase 2, if they are not taken from the transcript.
    fn challenges(&mut self, _challenges: &mut zkinfer_circuits::fold::Challenges) {}
    /// The transcript that the link continues.
    fn link(&mut self, _transcript: &Transcript) {}
    /// Everything is filled in: a test may stop here and look at the gates instead of proving.
    fn filled(&mut self, _plan: &Plan, _columns: &[Vec<F>]) {}
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

        let (phases1, mut filled) = self.witness(tasks, &mut hooks);
        clock.lap(&mut timings.witness);
        let phase1 = 0..layout.columns.phase1();
        let commitments = commit_runs(plan, proof.as_mut(), repeated, &filled, phase1)?;
        clock.lap(&mut timings.phase1);
        hooks.tell(Stage::Fold)?;

        let mut session = Session::new(statement);
        let mut challenges = session
            .challenges(layout, &commitments)
            .map_err(|_| ProveError::Unlucky)?;
        hooks.deviation.challenges(&mut challenges);
        let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, &challenges);
        let weights = self.folded_weights(&coefficients);
        for ((columns, task), phase1) in filled.iter_mut().zip(tasks).zip(&phases1) {
            columns.extend_from_slice(&weights);
            columns.extend(self.usable(coefficients.values(&task.trace.slots)));
            let gathered = gather::looked_up(plan, phase1, columns);
            columns.extend(gathered);
            hooks.deviation.columns(plan, 2, columns);
        }
        clock.lap(&mut timings.fold);
        let folded = layout.columns.phase1()..layout.columns.phase1() + layout.columns.folded();
        let commitments = commit_runs(plan, proof.as_mut(), repeated, &filled, folded.clone())?;
        clock.lap(&mut timings.phase2);
        let eta = session
            .eta(layout, &commitments)
            .map_err(|_| ProveError::Unlucky)?;
        hooks.deviation.eta(eta);
        hooks.tell(Stage::Sums)?;

        for columns in &mut filled {
            let free = self.free(&coefficients, columns, eta);
            columns.extend(free);
            hooks.deviation.columns(plan, 3, columns);
        }
        clock.lap(&mut timings.fold);
        let free = folded.end..folded.end + layout.columns.free;
        let commitments = commit_runs(plan, proof.as_mut(), repeated, &filled, free.clone())?;
        clock.lap(&mut timings.phase2);
        let late = session
            .late(layout, eta, &commitments)
            .map_err(|_| ProveError::Unlucky)?;
        let (kappa, beta) = coefficients
            .late(&plan.wiring, &late)
            .ok_or(ProveError::Unlucky)?;
        // On every program that a test proves something about.
        #[cfg(test)]
        assert_eq!(
            (kappa, beta.clone()),
            coefficients.late_by_enumeration(&late)
        );
        let public = public_columns(layout, &challenges, &late, kappa, beta);
        for columns in &mut filled {
            columns.extend(public.iter().map(|p| p.column(layout.last + 1)));
            hooks.deviation.columns(plan, 4, columns);
        }
        let range = layout.columns.public();
        let commitments = commit_runs(plan, proof.as_mut(), repeated, &filled, range.clone())?;
        let mut transcript = session
            .link(&commitments)
            .map_err(|_| ProveError::Unlucky)?;
        hooks.deviation.link(&transcript);
        let inverses = sums::table_inverses(plan, &challenges);
        let known = sums::Late {
            inverses: &inverses,
            challenges: &challenges,
            late: &late,
        };
        for (columns, phase1) in filled.iter_mut().zip(&phases1) {
            columns.extend(sums::running_sums(plan, &known, phase1, columns));
            hooks.deviation.columns(plan, 5, columns);
            hooks.deviation.filled(plan, columns);
        }
        let rest = range.end..layout.columns.advice();
        commit_runs(plan, proof.as_mut(), repeated, &filled, rest)?;
        clock.lap(&mut timings.phase3);
        hooks.tell(Stage::Open)?;

        let excess = self.excess(&coefficients, tasks, proof.as_ref());
        // The engine has them as polynomials, and needs the room.
        drop((filled, phases1, coefficients));
        let halo2 = proof.finish()?;
        clock.lap(&mut timings.halo2);
        hooks.tell(Stage::Link)?;
        let link = link::prove(self.params, &mut transcript, &excess, &mut &mut *rng)
            .map_err(|_| ProveError::Unlucky)?;
        clock.lap(&mut timings.link);
        hooks.tell(Stage::Done)?;
        Ok((halo2, link, timings))
    }

    /// Phase 1 of every run, as small integers and as columns.
    fn witness(
        &self,
        tasks: &[Task<'_>],
        hooks: &mut Hooks<'_>,
    ) -> (Vec<witness::Phase1>, Vec<Vec<Vec<F>>>) {
        let plan = self.plan;
        let of_task = |task: &Task<'_>| {
            let mut phase1 = witness::Phase1::new(plan, task.trace);
            hooks.deviation.cells(plan, &mut phase1);
            phase1.count_lookups(plan);
            hooks.deviation.multiplicities(plan, &mut phase1);
            let mut columns = phase1.columns(plan);
            hooks.deviation.columns(plan, 1, &mut columns);
            (phase1, columns)
        };
        tasks.iter().map(of_task).unzip()
    }

    /// Columns filled up with zeros to the active rows and the row behind.
    fn usable(&self, mut columns: Vec<Vec<F>>) -> Vec<Vec<F>> {
        let rows = self.plan.layout.last + 1;
        columns.iter_mut().for_each(|c| c.resize(rows, F::ZERO));
        columns
    }

    /// `S`, `T` and `G` columns.
    fn folded_weights(&self, coefficients: &Coefficients<'_>) -> Vec<Vec<F>> {
        let columns = &self.plan.layout.columns;
        let first = columns.phase1();
        let mut folded = self.usable(vec![Vec::new(); columns.weights()]);
        for (group, matrix) in self.plan.groups.iter().zip(self.matrices) {
            let values = matrix.fold(self.generators, &coefficients.group(group));
            let column = &mut folded[group.column - first];
            for (&row, v) in group.rows.iter().zip(values) {
                column[row as usize] += v;
            }
        }
        folded
    }

    /// `E` columns, given the columns before.
    fn free(
        &self,
        coefficients: &Coefficients<'_>,
        before: &[Vec<F>],
        eta: Option<F>,
    ) -> Vec<Vec<F>> {
        let layout = &self.plan.layout;
        let mut columns = self.usable(vec![Vec::new(); layout.columns.free]);
        if layout.columns.free == 0 {
            return columns;
        }
        let (table, values) = (layout.table_column(0), layout.value_column(0));
        let free = coefficients.free(&before[table..values], &before[values..], eta);
        for (slot, cell) in layout.slots(&self.plan.expanded) {
            if let Some((_, number)) = layout.ports[cell.port as usize].free {
                columns[number][cell.row as usize] = free[slot as usize];
            }
        }
        if let Some((_, number)) = layout.free_one.and_then(|p| layout.ports[p as usize].free) {
            columns[number][0] = free[zkinfer_circuits::program::ONE as usize];
        }
        columns
    }

    /// What every linked column's commitment has beyond its target, in the order in which the verifier lists them.
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
        all.extend(plan.public_columns().map(|c| of(0, c)));
        all
    }
}

/// Commits to columns of all runs and returns the commitments that the transcript absorbs: later runs' own. They repeat
/// what is `repeated`.
fn commit_runs(
    plan: &Plan,
    proof: &mut dyn Columns,
    repeated: &[bool],
    runs: &[Vec<Vec<F>>],
    range: Range<usize>,
) -> Result<Vec<C>, ProveError> {
    let same_in_all = plan.repeated_columns();
    let mut commitments = Vec::new();
    for (run, columns) in runs.iter().enumerate() {
        let mut at = range.start;
        for same in repeated[range.clone()].chunk_by(|a, b| a == b) {
            let part = at..at + same.len();
            at = part.end;
            if run > 0 && same[0] {
                proof.repeat(run, part.len())?;
            } else {
                let absorbed = |(column, _): &(usize, C)| run == 0 || !same_in_all[*column];
                let own = part.clone().zip(proof.commit(run, &columns[part])?);
                commitments.extend(own.filter(absorbed).map(|(_, point)| point));
            }
        }
    }
    Ok(commitments)
}
