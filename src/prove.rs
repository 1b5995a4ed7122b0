//! The prover: from a run of the model to a proof, on upstream's `create_proof`.
//!
//! halo2 has no challenge phases. Its prover draws all blinding values from the generator that it is given, in a fixed
//! order; seeding that generator and replaying the draws gives the commitments of phases 1 and 2 before `create_proof`
//! is called, and with them the challenges. The bytes of the finished proof are compared with these commitments, so a
//! change of upstream's order is an error here and never a wrong proof.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod cheats;
pub(crate) mod fold;
pub(crate) mod generators;
#[cfg(test)]
mod random;
mod sums;
mod witness;
#[cfg(test)]
pub(crate) mod zoo;

use crate::error::ProveError;
use crate::run::Trace;
use ff::Field;
use group::{Curve, GroupEncoding};
use halo2_proofs::plonk::{ProvingKey, create_proof};
use halo2_proofs::poly::EvaluationDomain;
use halo2_proofs::poly::commitment::{Blind, Params};
use halo2_proofs::transcript::{Blake2bWrite, Challenge255};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};
use rayon::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zkinfer_circuits::circuit::with_description;
use zkinfer_circuits::fold::Coefficients;
use zkinfer_circuits::layout::BLINDING_ROWS;
use zkinfer_circuits::link::{self, Excess, LinkProof};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Plan, Session, instances};
use zkinfer_circuits::{C, F};

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
    /// Upstream's `create_proof`.
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

/// What the prover holds besides the run.
pub(crate) struct Prover<'a> {
    pub plan: &'a Plan,
    pub params: &'a Params<C>,
    pub key: &'a ProvingKey<C>,
    pub matrices: &'a [fold::Matrix],
    /// Blinds of the model commitment, per group and point.
    pub blinds: &'a [Vec<F>],
}

/// Blinds of the targets of the input and output columns (zero where public).
pub(crate) struct SideBlinds<'a> {
    pub input: &'a [F],
    pub output: &'a [F],
}

/// The values that `create_proof` will draw for its advice columns.
struct Draws {
    rows: Vec<[F; BLINDING_ROWS]>,
    blinds: Vec<F>,
}

impl Draws {
    fn replay(mut rng: ChaCha20Rng, columns: usize) -> Draws {
        let rows = (0..columns)
            .map(|_| std::array::from_fn(|_| F::random(&mut rng)))
            .collect();
        Draws {
            rows,
            blinds: (0..columns).map(|_| F::random(&mut rng)).collect(),
        }
    }
}

impl Prover<'_> {
    /// Proves one run; also returns where the time went.
    pub fn prove(
        &self,
        trace: &Trace,
        statement: &Digest,
        sides: &SideBlinds<'_>,
        deviation: &mut impl Deviation,
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<u8>, LinkProof, Timings), ProveError> {
        let plan = self.plan;
        let layout = &plan.layout;
        let mut timings = Timings::default();
        let mut clock = Instant::now();
        let mut lap =
            |slot: &mut Duration| *slot = std::mem::replace(&mut clock, Instant::now()).elapsed();

        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let halo2_rng = ChaCha20Rng::from_seed(seed);
        let draws = Draws::replay(halo2_rng.clone(), layout.columns.advice());

        let mut phase1 = witness::Phase1::new(plan, trace);
        deviation.cells(plan, &mut phase1);
        phase1.count_lookups(plan);
        deviation.multiplicities(plan, &mut phase1);
        let mut columns = phase1.columns(plan);
        deviation.columns(plan, 1, &mut columns);
        lap(&mut timings.witness);
        let mut commitments = self.commit(&columns, 0, &draws);
        lap(&mut timings.phase1);

        let mut session = Session::new(statement);
        let mut challenges = session
            .challenges(layout, &commitments)
            .map_err(|_| ProveError::Unlucky)?;
        deviation.challenges(&mut challenges);
        let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, &challenges);
        columns.extend(self.phase2(&coefficients));
        deviation.columns(plan, 2, &mut columns);
        lap(&mut timings.fold);
        let first = layout.columns.phase1();
        let phase2 = self.commit(&columns[first..], first, &draws);
        lap(&mut timings.phase2);

        let late = session
            .late(layout, &phase2)
            .map_err(|_| ProveError::Unlucky)?;
        commitments.extend(phase2);
        let (kappa, beta) = coefficients.late(&late);
        columns.extend(sums::phase3(
            plan,
            &phase1,
            &columns,
            &challenges,
            &late,
            kappa,
            &beta,
        ));
        deviation.columns(plan, 3, &mut columns);
        let mut instances = instances(layout, &challenges, &late, kappa, beta);
        deviation.instances(plan, &mut instances);
        deviation.filled(plan, &columns, &instances);
        lap(&mut timings.phase3);

        let circuit = plan.circuit().with_advice(Arc::new(columns));
        let instances: Vec<&[F]> = instances.iter().map(Vec::as_slice).collect();
        let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
        with_description(circuit.description(), || {
            create_proof(
                self.params,
                self.key,
                std::slice::from_ref(&circuit),
                &[&instances],
                halo2_rng,
                &mut transcript,
            )
        })
        .map_err(ProveError::Halo2)?;
        let proof = transcript.finalize();
        for (commitment, bytes) in commitments.iter().zip(proof.chunks(32)) {
            if commitment.to_bytes().as_ref() != bytes {
                return Err(ProveError::Replay);
            }
        }
        lap(&mut timings.halo2);

        let excess = self.excess(&coefficients, sides, &draws);
        let link = link::prove(self.params, &mut session.link(), &excess, rng)
            .map_err(|_| ProveError::Unlucky)?;
        lap(&mut timings.link);
        Ok((proof, link, timings))
    }

    /// `S`, `T` and `E` columns.
    fn phase2(&self, coefficients: &Coefficients<'_>) -> Vec<Vec<F>> {
        let layout = &self.plan.layout;
        let first = layout.columns.phase1();
        let rows = layout.last + 1;
        let mut columns = vec![vec![F::ZERO; rows]; layout.columns.phase2()];
        for (group, matrix) in self.plan.groups.iter().zip(self.matrices) {
            let folded = matrix.fold(&coefficients.group(group));
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

    fn commit(&self, columns: &[Vec<F>], first: usize, draws: &Draws) -> Vec<C> {
        let n = self.plan.layout.rows();
        let domain = EvaluationDomain::new(1, self.plan.layout.k);
        columns
            .par_iter()
            .enumerate()
            .map(|(i, column)| {
                let mut values = Vec::with_capacity(n);
                values.extend_from_slice(column);
                values.extend_from_slice(&draws.rows[first + i]);
                let poly = domain.lagrange_from_vec(values);
                self.params
                    .commit_lagrange(&poly, Blind(draws.blinds[first + i]))
                    .to_affine()
            })
            .collect()
    }

    /// What every linked column's commitment has beyond its target, in the order of [`Plan::linked_columns`].
    fn excess(
        &self,
        coefficients: &Coefficients<'_>,
        sides: &SideBlinds<'_>,
        draws: &Draws,
    ) -> Vec<Excess> {
        let plan = self.plan;
        let mut columns: Vec<(usize, Excess)> = plan
            .linked_columns()
            .into_iter()
            .map(|c| {
                (
                    c,
                    Excess {
                        rows: draws.rows[c],
                        blind: draws.blinds[c],
                    },
                )
            })
            .collect();
        for ((_, excess), blind) in columns
            .iter_mut()
            .zip(sides.input.iter().chain(sides.output))
        {
            excess.blind -= blind;
        }
        for (group, blinds) in plan.groups.iter().zip(self.blinds) {
            let blind: F = coefficients
                .group(group)
                .iter()
                .zip(blinds)
                .map(|(c, b)| *c * b)
                .sum();
            if let Some((_, excess)) = columns.iter_mut().find(|(c, _)| *c == group.column) {
                excess.blind -= blind;
            }
        }
        columns.into_iter().map(|(_, e)| e).collect()
    }
}
