//! The cheating prover: for every argument and every kind of cell a lie, and the one gate that catches it.
//!
//! A lie is told so well that exactly the named gate is violated: everything else, running sums included, is computed
//! consistently. So each test fails if its gate is removed (nothing else would catch the lie), and each also shows that
//! the finished proof is rejected.

mod statements;
mod sums;

use super::zoo::{bases, dense, judged, params, secret, violated, zoo};
use super::*;
use crate::secret::{Opening, Proven, Secret, SideVisibility, Visibility, WeightVisibility};
use std::collections::BTreeSet;
use zkinfer_circuits::card::Proof;
use zkinfer_circuits::error::{CardError, Rejection};
use zkinfer_circuits::fold::Challenges;
use zkinfer_circuits::gates::TableColumn;
use zkinfer_circuits::layout::{BankKind, Lane};
use zkinfer_circuits::program::Unit;
use zkinfer_circuits::statement::{Claim, Side};
use zkinfer_circuits::verify::{Expected, Limits, Verifier};

const K: u32 = 7;

/// A lie: hooks of the prover, each optional.
#[derive(Default)]
struct Lie<'a> {
    cells: Option<&'a dyn Fn(&Plan, &mut witness::Phase1)>,
    multiplicities: Option<&'a dyn Fn(&Plan, &mut witness::Phase1)>,
    columns: Option<&'a dyn Fn(&Plan, u8, &mut [Vec<F>], &Challenges)>,
    challenges: Option<&'a dyn Fn(&mut Challenges)>,
    /// What the lie adds to the claimed outputs.
    output: &'a [(usize, i32)],
    seen: Option<Challenges>,
    violated: BTreeSet<String>,
}

impl Deviation for Lie<'_> {
    fn cells(&mut self, plan: &Plan, phase1: &mut witness::Phase1) {
        if let Some(f) = self.cells {
            f(plan, phase1);
        }
    }
    fn multiplicities(&mut self, plan: &Plan, phase1: &mut witness::Phase1) {
        if let Some(f) = self.multiplicities {
            f(plan, phase1);
        }
    }
    fn columns(&mut self, plan: &Plan, phase: u8, columns: &mut [Vec<F>]) {
        if let Some(f) = self.columns {
            let none = Challenges {
                alpha: F::ZERO,
                theta: None,
                y: vec![],
            };
            f(plan, phase, columns, self.seen.as_ref().unwrap_or(&none));
        }
    }
    fn challenges(&mut self, challenges: &mut Challenges) {
        if let Some(f) = self.challenges {
            f(challenges);
        }
        self.seen = Some(challenges.clone());
    }
    fn filled(&mut self, plan: &Plan, columns: &[Vec<F>]) {
        self.violated = violated(plan, columns).into_iter().collect();
    }
}

fn image() -> Vec<Vec<u32>> {
    vec![(0..16).map(|i| (i * 37 + 5) % 64).collect()]
}

fn prove(secret: &Secret, lie: &mut Lie<'_>) -> Proven {
    let mut run = secret.infer_integers(&image()).unwrap();
    lie.output
        .iter()
        .for_each(|&(i, by)| run.forge_output(i, by));
    let mut rng = ChaCha20Rng::seed_from_u64(99);
    secret
        .prove_with(
            &run,
            &Visibility {
                attach_input: true,
                ..Visibility::default()
            },
            b"ctx",
            lie,
            &mut rng,
        )
        .unwrap()
}

fn verifier(secret: &Secret) -> Verifier {
    Verifier::new(
        secret.card().clone(),
        bases(secret.card().k),
        &Limits::default(),
    )
    .unwrap()
}

fn expected() -> Expected {
    Expected {
        context: b"ctx".to_vec(),
        ..Expected::default()
    }
}

/// Tells the lie; exactly the gates whose names begin with `gates` are violated, and the verifier rejects.
#[track_caller]
fn caught(gates: &[&str], mut lie: Lie<'_>) {
    let secret = secret(K, 1);
    let proven = prove(&secret, &mut lie);
    let kinds: BTreeSet<&str> = lie
        .violated
        .iter()
        .map(|n| {
            gates
                .iter()
                .copied()
                .find(|g| n.starts_with(g))
                .unwrap_or(n)
        })
        .collect();
    assert_eq!(kinds, gates.iter().copied().collect(), "{:?}", lie.violated);
    assert_eq!(lie.violated.len(), gates.len(), "{:?}", lie.violated);
    assert_eq!(
        judged(&verifier(&secret), &expected(), &proven.proof),
        Err(Rejection::Circuit)
    );
}

/// The first lane of a unit and a used row of it, chosen by `choose` on the cells.
fn lane(plan: &Plan, unit: impl Fn(&Unit) -> bool) -> &Lane {
    plan.layout
        .lanes
        .iter()
        .find(|l| matches!(&l.kind, BankKind::Unit { unit: u, .. } if unit(u)))
        .unwrap()
}

fn relu(unit: &Unit) -> bool {
    *unit == Unit::RELU
}

fn linear(unit: &Unit) -> bool {
    *unit == Unit::LINEAR
}

fn pool(unit: &Unit) -> bool {
    unit.window == 4
}

fn high_only(unit: &Unit) -> bool {
    unit.high && !unit.low
}

fn with_table(unit: &Unit) -> bool {
    !unit.tables.is_empty()
}

/// Where an entry of the range table is: its column and row.
fn entry(plan: &Plan, value: usize) -> (&TableColumn, usize) {
    let tables = plan.description.sums.tables.iter().flat_map(|(_, t)| t);
    let piece = value / plan.layout.last;
    (
        tables
            .into_iter()
            .find(|t| t.tag == 0 && t.piece == piece)
            .unwrap(),
        value % plan.layout.last,
    )
}

#[test]
fn honest_runs_satisfy_every_gate_and_verify() {
    for k in [6, K, 9] {
        let secret = secret(k, 1);
        let mut lie = Lie::default();
        let proven = prove(&secret, &mut lie);
        assert_eq!(lie.violated, BTreeSet::new(), "k = {k}");
        let run = secret.infer_integers(&image()).unwrap();
        let expected = Expected {
            input: Some(Side::Public(run.input().to_vec())),
            ..expected()
        };
        let verdict = judged(&verifier(&secret), &expected, &proven.proof).unwrap();
        assert_eq!(verdict.output, Side::Public(run.output().to_vec()));
    }
}

// --- cells of neurons -------------------------------------------------------------------------------------------------

#[test]
fn wrong_accumulator() {
    // A neuron claims another result, and the accumulator that goes with it.
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, linear);
        p.cells[lane.x][1] += 1;
        p.accumulators[lane.first_candidate][1] += 1 << plan.layout.range_bits;
    };
    caught(
        &["fold: sums agree"],
        Lie {
            cells: Some(&cells),
            output: &[(0, 1)],
            ..Lie::default()
        },
    );
}

#[test]
fn accumulator_sum_of_other_values() {
    // The running sum is made of the true accumulators, the cells claim others.
    let cells = |plan: &Plan, p: &mut witness::Phase1| p.cells[lane(plan, linear).x][1] += 1;
    caught(
        &["fold: accumulators"],
        Lie {
            cells: Some(&cells),
            output: &[(0, 1)],
            ..Lie::default()
        },
    );
}

#[test]
fn remainder_out_of_range() {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, linear);
        p.cells[lane.x][1] -= 1;
        p.cells[lane.rem[0]][1] += 1 << plan.layout.range_bits;
    };
    caught(
        &["lookup: sums agree"],
        Lie {
            cells: Some(&cells),
            output: &[(0, -1)],
            ..Lie::default()
        },
    );
}

#[test]
fn result_out_of_range() {
    // On an unused row: the unit's equation holds with a result of 2^T and a negative-looking remainder of another.
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, relu);
        let row = plan.layout.last - 1;
        p.cells[lane.x][row] = 1 << plan.layout.range_bits;
        p.accumulators[lane.first_candidate][row] = 1 << (2 * plan.layout.range_bits);
    };
    caught(
        &["fold: sums agree", "lookup: sums agree"],
        Lie {
            cells: Some(&cells),
            ..Lie::default()
        },
    );
}

#[test]
fn both_parts_of_a_relu() {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let (lane, row) = (lane(plan, relu), plan.layout.last - 1);
        p.cells[lane.x][row] += 1;
        p.cells[lane.below[0]][row] += 1;
    };
    caught(
        &["maximum: attained"],
        Lie {
            cells: Some(&cells),
            ..Lie::default()
        },
    );
}

#[test]
fn maximum_too_large() {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let (lane, row) = (lane(plan, pool), plan.layout.last - 1);
        p.cells[lane.x][row] += 1;
        lane.below.iter().for_each(|&c| p.cells[c][row] += 1);
    };
    caught(
        &["maximum: attained"],
        Lie {
            cells: Some(&cells),
            ..Lie::default()
        },
    );
}

#[test]
fn maximum_too_large_hidden_by_a_wrong_product() {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let (lane, row) = (lane(plan, pool), plan.layout.last - 1);
        p.cells[lane.x][row] += 1;
        lane.below.iter().for_each(|&c| p.cells[c][row] += 1);
    };
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], _: &Challenges| {
        if phase == 1 {
            columns[lane(plan, pool).products[0]][plan.layout.last - 1] = F::ZERO;
        }
    };
    caught(
        &["maximum: partial product"],
        Lie {
            cells: Some(&cells),
            columns: Some(&columns),
            ..Lie::default()
        },
    );
}

#[test]
fn maximum_too_small() {
    // Another candidate than the largest: the largest one's distance is then negative.
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, |u| u.window == 3);
        p.cells[lane.x][1] -= 1;
        for &c in &lane.below {
            p.cells[c][1] = p.cells[c][1].wrapping_sub(1);
        }
    };
    // −1 as a field element: written after the small integers were converted.
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], _: &Challenges| {
        if phase == 1 {
            for &c in &lane(plan, |u| u.window == 3).below {
                if columns[c][1] == F::from(u64::from(u32::MAX)) {
                    columns[c][1] = -F::ONE;
                }
            }
        }
    };
    let secret = secret(K, 1);
    let mut lie = Lie {
        cells: Some(&cells),
        columns: Some(&columns),
        ..Lie::default()
    };
    let proven = prove(&secret, &mut lie);
    // The sum of inverses was computed for 2^32 − 1, so the step gate sees it; no choice of sums makes −1 a table entry.
    assert!(
        lie.violated.iter().any(|n| n.starts_with("lookup:")),
        "{:?}",
        lie.violated
    );
    assert_eq!(
        judged(&verifier(&secret), &expected(), &proven.proof),
        Err(Rejection::Circuit)
    );
}

#[test]
fn clamped_above_below_the_top() {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, high_only);
        assert!(p.cells[lane.x][1] > 0);
        p.cells[lane.x][1] -= 1;
        p.cells[lane.above.unwrap()][1] += 1;
    };
    caught(
        &["clamp: above only at the top"],
        Lie {
            cells: Some(&cells),
            output: &[(2, -1)],
            ..Lie::default()
        },
    );
}

#[test]
fn wrong_table_entry() {
    // On an unused row, so that no neuron behind it notices.
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        p.cells[lane(plan, with_table).tables[0]][plan.layout.last - 1] -= 1
    };
    caught(
        &["lookup: sums agree"],
        Lie {
            cells: Some(&cells),
            ..Lie::default()
        },
    );
}

#[test]
fn unused_row_that_is_not_zero() {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, relu);
        let row = plan.layout.last - 1;
        p.cells[lane.x][row] = 1;
        p.accumulators[lane.first_candidate][row] = 1 << plan.layout.range_bits;
    };
    caught(
        &["fold: sums agree"],
        Lie {
            cells: Some(&cells),
            ..Lie::default()
        },
    );
}

#[test]
fn rows_shifted_by_one() {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, pool);
        let columns = [lane.x]
            .into_iter()
            .chain(lane.rem.clone())
            .chain(lane.below.clone());
        for c in columns {
            p.cells[c][..plan.layout.last].rotate_right(1);
        }
        for w in 0..4 {
            p.accumulators[lane.first_candidate + w][..plan.layout.last].rotate_right(1);
        }
    };
    caught(
        &["fold: sums agree"],
        Lie {
            cells: Some(&cells),
            ..Lie::default()
        },
    );
}

#[test]
fn candidates_swapped() {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, pool);
        p.cells.swap(lane.rem[0], lane.rem[1]);
        p.cells.swap(lane.below[0], lane.below[1]);
        p.accumulators
            .swap(lane.first_candidate, lane.first_candidate + 1);
    };
    caught(
        &["fold: sums agree"],
        Lie {
            cells: Some(&cells),
            ..Lie::default()
        },
    );
}
