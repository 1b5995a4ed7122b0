//! A lie for every check of the verifier.
//!
//! Each lie is a function that tells it and says whether it was accepted. [`super::mutations`] runs all of them: none is
//! accepted, and each is as soon as the check that it belongs to is switched off.

mod bytes;
pub(super) mod late;
mod programs;
mod segments;
pub(crate) mod statements;

pub(super) use late::{Fitted, Known};

use super::zoo::{bases, dense, params, products, secret_of};
use super::*;
use crate::secret::{Run, Secret, Visibility};
use rand_chacha::ChaCha20Rng;
use zkinfer_circuits::card::Proof;
use zkinfer_circuits::checks::Check;
use zkinfer_circuits::layout::Lane;
use zkinfer_circuits::statement::{Claim, Side};
use zkinfer_circuits::verify::{Expected, Limits, Verifier};

/// A lie.
pub(super) struct Lie {
    /// What it is called.
    pub name: &'static str,
    /// The check that catches it.
    pub check: Check,
    /// Tells it; whether it was accepted.
    pub told: fn() -> bool,
}

/// All lies. A check may have several.
pub(super) fn all() -> Vec<Lie> {
    let lists = [
        programs::LIES,
        statements::LIES,
        segments::LIES,
        bytes::LIES,
        late::LIES,
    ];
    let lies = lists.concat().into_iter();
    lies.map(|(name, check, told)| Lie { name, check, told })
        .collect()
}

type Told = (&'static str, Check, fn() -> bool);

const BITS: u32 = 6;

/// The smallest model: two dense layers, `k` = 6.
fn small() -> Secret {
    secret_of(dense(BITS), 6, 3)
}

fn small_run(secret: &Secret) -> Run {
    secret.infer_integers(&[vec![1, 2, 3, 4]]).unwrap()
}

pub(super) fn verifier(secret: &Secret) -> Verifier {
    let k = secret.card().k;
    Verifier::new(secret.card().clone(), bases(k), &Limits::default()).unwrap()
}

fn expected(context: &[u8]) -> Expected {
    Expected {
        context: context.to_vec(),
        ..Expected::default()
    }
}

/// Proves with the input attached.
pub(super) fn prove(secret: &Secret, run: &Run, context: &[u8], lie: &mut dyn Deviation) -> Proof {
    let visibility = Visibility {
        attach_input: true,
        ..Visibility::default()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let proven = secret.prove_with(run, &visibility, context, lie, &mut rng);
    proven.unwrap().proof
}

fn prove_runs(secret: &Secret, runs: &[Run], lie: &mut dyn Deviation) -> Proof {
    let visibility = Visibility {
        attach_input: true,
        ..Visibility::default()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let proven = secret.prove_runs_with(runs, &visibility, b"", lie, &mut rng);
    proven.unwrap().proof
}

/// Proves a run for sides of one's choice.
fn claim(secret: &Secret, run: &Run, (input, output): (Vec<u16>, Vec<u16>)) -> Proof {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let sides = [(Side::Public(input.clone()), Side::Public(output.clone()))];
    let runs = std::slice::from_ref(run);
    let segment = secret
        .prove_statement(runs, &sides, b"", &mut Honest, &mut rng)
        .unwrap();
    Proof {
        card: secret.card().digest(),
        context: vec![],
        runs: vec![(Claim::Values(input), Claim::Values(output))],
        segments: vec![segment],
    }
}

/// The lane and row of the first output.
fn output(plan: &Plan) -> (&Lane, usize) {
    let cell = plan.layout.output_cells(&plan.program).next().unwrap();
    let lane = plan.layout.output_lanes().next().unwrap();
    (lane, cell.row as usize)
}

/// The first output is one more than it should be, and so is the accumulator.
pub(super) fn one_more(plan: &Plan, phase1: &mut witness::Phase1) {
    let (lane, row) = output(plan);
    phase1.cells[lane.x][row] += 1;
    phase1.accumulators[lane.first_candidate][row] += 1 << plan.layout.range_bits;
}

/// How much the products have to be more then.
pub(super) fn gap(plan: &Plan, coefficients: &Coefficients<'_>) -> F {
    let (lane, row) = output(plan);
    let number = plan.layout.lanes.iter().position(|l| l.x == lane.x);
    coefficients.rho(number.unwrap(), 0, row) * F::from(1 << plan.layout.range_bits)
}
