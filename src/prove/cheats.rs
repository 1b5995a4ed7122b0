//! The cheating prover: for every argument and every kind of cell a lie, and the one gate that catches it.
//!
//! A lie is told so well that exactly the named gate is violated: everything else, running sums included, is computed
//! consistently. So each test fails if its gate is removed (nothing else would catch the lie), and each also shows that
//! the finished proof is rejected.

use super::zoo::{dense, params, secret, violated, zoo};
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
    instances: Option<&'a dyn Fn(&Plan, &mut [Vec<F>])>,
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
    fn instances(&mut self, plan: &Plan, instances: &mut [Vec<F>]) {
        if let Some(f) = self.instances {
            f(plan, instances);
        }
    }
    fn filled(&mut self, plan: &Plan, columns: &[Vec<F>], instances: &[Vec<F>]) {
        self.violated = violated(plan, columns, instances).into_iter().collect();
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
        params(secret.card().k),
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
        verifier(&secret).verify(&expected(), &proven.proof),
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
        let verdict = verifier(&secret).verify(&expected, &proven.proof).unwrap();
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
        verifier(&secret).verify(&expected(), &proven.proof),
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

// --- lookups ----------------------------------------------------------------------------------------------------------

#[test]
fn wrong_multiplicity() {
    let multiplicities = |plan: &Plan, p: &mut witness::Phase1| {
        let (table, row) = entry(plan, 3);
        p.cells[table.multiplicity][row] += 1;
    };
    caught(
        &["lookup: sums agree"],
        Lie {
            multiplicities: Some(&multiplicities),
            ..Lie::default()
        },
    );
}

/// Adds `1/(α + 3)` to a running sum from `row` on; with a multiplicity that is one too large the sums agree.
fn hidden_multiplicity(gate: &str, values: bool, row: usize) {
    let multiplicities = |plan: &Plan, p: &mut witness::Phase1| {
        let (table, row) = entry(plan, 3);
        p.cells[table.multiplicity][row] += 1;
    };
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], challenges: &Challenges| {
        if phase == 3 {
            let delta = (challenges.alpha + F::from(3)).invert().unwrap();
            let sums = &plan.description.sums;
            let (column, delta) = if values {
                (sums.lookups[0].0, delta)
            } else {
                (sums.tables[0].0, -delta)
            };
            columns[column][row..].iter_mut().for_each(|v| *v += delta);
        }
    };
    caught(
        &[gate],
        Lie {
            multiplicities: Some(&multiplicities),
            columns: Some(&columns),
            ..Lie::default()
        },
    );
}

#[test]
fn value_sum_starts_elsewhere() {
    hidden_multiplicity("lookup: value sum 0 starts at zero", true, 0);
}

#[test]
fn value_sum_jumps() {
    hidden_multiplicity("lookup: value sum", true, 5);
}

#[test]
fn table_sum_starts_elsewhere() {
    hidden_multiplicity("lookup: table sum 0 starts at zero", false, 0);
}

#[test]
fn table_sum_jumps() {
    hidden_multiplicity("lookup: table sum", false, 5);
}

// --- fold -------------------------------------------------------------------------------------------------------------

/// A wrong accumulator, hidden by moving one of the fold's running sums by the right amount from `row` on.
fn hidden_accumulator(gate: &str, column: impl Fn(&Plan) -> usize, row: usize) {
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, linear);
        p.cells[lane.x][1] += 1;
        p.accumulators[lane.first_candidate][1] += 1 << plan.layout.range_bits;
    };
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], _: &Challenges| {
        if phase != 3 {
            return;
        }
        let sums = &plan.description.sums;
        let last = plan.layout.last;
        let z = columns[sums.e_constants[0]][0];
        let h = sums.coefficients.unwrap();
        let gap =
            columns[sums.products][last] - columns[sums.accumulators][last] + z * columns[h][last];
        let moved = column(plan);
        let (step, mut shift) = if moved == sums.products {
            (F::ONE, -gap)
        } else if moved == h {
            (
                z.pow_vartime([plan.layout.e_weights.as_ref().unwrap().step as u64]),
                -gap * z.invert().unwrap(),
            )
        } else {
            let c0 = columns[sums.y_constants[0]][0];
            (c0.pow_vartime([plan.layout.y_weights.step as u64]), gap)
        };
        // Backwards, so that every step but the one into `row` is honest.
        let inverse = step.invert().unwrap();
        for t in (row..=last).rev() {
            columns[moved][t] += shift;
            shift *= inverse;
        }
    };
    caught(
        &[gate],
        Lie {
            cells: Some(&cells),
            columns: Some(&columns),
            output: &[(0, 1)],
            ..Lie::default()
        },
    );
}

#[test]
fn accumulators_start_elsewhere() {
    hidden_accumulator(
        "fold: accumulators start at zero",
        |p| p.description.sums.accumulators,
        0,
    );
}

#[test]
fn accumulators_jump() {
    hidden_accumulator("fold: accumulators", |p| p.description.sums.accumulators, 7);
}

#[test]
fn products_start_elsewhere() {
    hidden_accumulator(
        "fold: products start at -kappa",
        |p| p.description.sums.products,
        0,
    );
}

#[test]
fn products_jump() {
    hidden_accumulator("fold: products", |p| p.description.sums.products, 7);
}

#[test]
fn coefficients_start_elsewhere() {
    hidden_accumulator(
        "fold: coefficients start at zero",
        |p| p.description.sums.coefficients.unwrap(),
        0,
    );
}

#[test]
fn coefficients_jump() {
    hidden_accumulator(
        "fold: coefficients",
        |p| p.description.sums.coefficients.unwrap(),
        7,
    );
}

#[test]
fn free_coefficient_that_absorbs_a_wrong_accumulator() {
    // The first identity is made to hold by a coefficient that no weight gives; only the second one notices.
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let lane = lane(plan, linear);
        p.cells[lane.x][1] += 1;
        p.accumulators[lane.first_candidate][1] += 1 << plan.layout.range_bits;
    };
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], challenges: &Challenges| {
        if phase == 2 {
            let lane = lane(plan, linear);
            let program = &plan.program;
            let coefficients = Coefficients::new(program, &plan.expanded, &plan.layout, challenges);
            let index = plan
                .layout
                .lanes
                .iter()
                .position(|l| l.x == lane.x)
                .unwrap();
            let gap = coefficients.rho(index, 0, 1) * F::from(1 << plan.layout.range_bits);
            let port = plan
                .layout
                .ports
                .iter()
                .find(|p| p.free.is_some() && plan.layout.lanes[p.lane].kind == BankKind::Input)
                .unwrap();
            let row = (1..).find(|&r| columns[port.column][r] != F::ZERO).unwrap();
            let x = columns[port.column][row];
            columns[port.free.unwrap().0][row] += gap * x.invert().unwrap();
        }
    };
    caught(
        &["fold: sums agree"],
        Lie {
            cells: Some(&cells),
            columns: Some(&columns),
            output: &[(0, 1)],
            ..Lie::default()
        },
    );
}

// --- challenges -------------------------------------------------------------------------------------------------------

#[test]
fn constant_that_changes_on_the_way() {
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], _: &Challenges| {
        if phase == 3 {
            columns[plan.description.sums.y_constants[0]][plan.layout.last] += F::ONE;
        }
    };
    caught(
        &["constant: carried"],
        Lie {
            columns: Some(&columns),
            ..Lie::default()
        },
    );
}

#[test]
fn constant_that_is_not_the_challenge() {
    let challenges = |c: &mut Challenges| c.alpha += F::ONE;
    let instances = |_: &Plan, instances: &mut [Vec<F>]| instances[0][0] -= F::ONE;
    caught(
        &["constant: pinned"],
        Lie {
            challenges: Some(&challenges),
            instances: Some(&instances),
            ..Lie::default()
        },
    );
}

#[test]
fn challenges_chosen_before_phase_1() {
    // With challenges of one's choice every gate can be satisfied; the verifier derives its own.
    let secret = secret(K, 1);
    let challenges = |c: &mut Challenges| {
        *c = Challenges {
            alpha: F::from(5),
            theta: c.theta.map(|_| F::from(6)),
            y: vec![F::from(7); c.y.len()],
        }
    };
    let mut lie = Lie {
        challenges: Some(&challenges),
        ..Lie::default()
    };
    let proven = prove(&secret, &mut lie);
    assert_eq!(lie.violated, BTreeSet::new());
    assert_eq!(
        verifier(&secret).verify(&expected(), &proven.proof),
        Err(Rejection::Link)
    );
    // α alone does not enter the link.
    let challenges = |c: &mut Challenges| c.alpha = F::from(5);
    let mut lie = Lie {
        challenges: Some(&challenges),
        ..Lie::default()
    };
    let proven = prove(&secret, &mut lie);
    assert_eq!(lie.violated, BTreeSet::new());
    assert_eq!(
        verifier(&secret).verify(&expected(), &proven.proof),
        Err(Rejection::Circuit)
    );
}

// --- link: no gate is violated ----------------------------------------------------------------------------------------

/// A prover with other weights for one node under the same card.
fn other_weights(node: u32) {
    let honest = secret(K, 1);
    let mut model = zoo(6);
    let tensor = model.weights.iter_mut().find(|w| w.node == node).unwrap();
    tensor.data[0] += 1;
    let cheat = Secret::from_parts(
        model,
        honest.blinds().to_vec(),
        honest.card().clone(),
        params(K),
    )
    .unwrap();
    let mut lie = Lie::default();
    let proven = prove(&cheat, &mut lie);
    assert_eq!(lie.violated, BTreeSet::new());
    assert_eq!(
        verifier(&honest).verify(&expected(), &proven.proof),
        Err(Rejection::Link)
    );
}

#[test]
fn folded_weights_of_another_model() {
    for node in [4, 6, 8, 13, 16] {
        other_weights(node); // convolution (T), dense (S), table, output, grouped (T)
    }
}

#[test]
fn other_input_or_output_than_stated() {
    let secret = secret(K, 1);
    let run = secret.infer_integers(&image()).unwrap();
    let verifier = verifier(&secret);
    for claims in [(true, false), (false, true)] {
        let mut forged = run.clone();
        forged.forge(claims.0, claims.1);
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let visibility = Visibility {
            attach_input: true,
            ..Visibility::default()
        };
        let mut lie = Lie::default();
        let proven = secret
            .prove_with(&forged, &visibility, b"ctx", &mut lie, &mut rng)
            .unwrap();
        assert_eq!(lie.violated, BTreeSet::new());
        assert_eq!(
            verifier.verify(&expected(), &proven.proof),
            Err(Rejection::Link)
        );
    }
}

#[test]
fn commitment_to_another_input() {
    let secret = secret(K, 1);
    let run = secret.infer_integers(&image()).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let visibility = Visibility {
        input: SideVisibility::Committed,
        output: SideVisibility::Committed,
        attach_input: false,
    };
    let proven = secret.prove(&run, &visibility, b"ctx", &mut rng).unwrap();
    let verifier = verifier(&secret);
    let verdict = verifier.verify(&expected(), &proven.proof).unwrap();
    assert!(matches!(verdict.input, Side::Committed(_)));
    // The same values under another commitment: the statement differs, and so do all challenges.
    let again = secret.prove(&run, &visibility, b"ctx", &mut rng).unwrap();
    let other = Expected {
        input: Some(Side::Committed(again.input.clone().unwrap().points)),
        ..expected()
    };
    assert_eq!(
        verifier.verify(&other, &proven.proof),
        Err(Rejection::Statement { which: "input" })
    );
    let mut swapped = proven.proof.clone();
    swapped.input = again.proof.input.clone();
    assert_eq!(verifier.verify(&other, &swapped), Err(Rejection::Link));
    // An opening of something else is refused by the prover.
    let wrong = Opening {
        points: again.output.unwrap().points,
        ..proven.input.unwrap()
    };
    let visibility = Visibility {
        input: SideVisibility::Opened(wrong),
        ..Visibility::default()
    };
    assert!(matches!(
        secret.prove(&run, &visibility, b"", &mut rng),
        Err(ProveError::Opening)
    ));
}

#[test]
fn committed_input_with_an_entry_on_the_constants_row() {
    // The commitment itself carries the entry, so the link holds; the biases would be scaled by 1 + entry.
    let cells = |plan: &Plan, p: &mut witness::Phase1| p.cells[plan.layout.lanes[0].x][0] = 1;
    let secret = secret(K, 1);
    let mut lie = Lie {
        cells: Some(&cells),
        ..Lie::default()
    };
    let _ = prove(&secret, &mut lie);
    // The zoo has biases, so the fold notices as well. Biases that are zero would leave the first gate alone.
    let found: Vec<&str> = lie.violated.iter().map(String::as_str).collect();
    assert_eq!(found, ["fold: sums agree", "input: first row is empty 0"]);
}

#[test]
fn weights_outside_the_architecture() {
    // A commitment with an entry from a neuron to itself: the support proof of the card cannot be made.
    let honest = secret(K, 1);
    let generators = generators::Generators::new(&params(K)).unwrap();
    let mut card = honest.card().clone();
    let group = honest
        .plan()
        .groups
        .iter()
        .position(|g| g.rows.len() < honest.plan().layout.last)
        .unwrap();
    let outside = (1..)
        .find(|r| !honest.plan().groups[group].rows.contains(r))
        .unwrap();
    let first: usize = honest.plan().groups[..group].iter().map(|g| g.points).sum();
    card.points[first] = (card.points[first] + generators.lagrange[outside as usize]).to_affine();
    let digest = card.digest();
    let folder = fold::Folder {
        matrices: honest.matrices(),
        blinds: honest.blinds(),
    };
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    card.support = zkinfer_circuits::support::prove(
        &params(K),
        &digest,
        &honest.plan().groups,
        &folder,
        &mut rng,
    )
    .unwrap();
    assert_eq!(
        Verifier::new(card, params(K), &Limits::default()).unwrap_err(),
        CardError::Support
    );
}

// --- statements -------------------------------------------------------------------------------------------------------

#[test]
fn other_card_context_or_claims() {
    let secret_a = secret(K, 1);
    let secret_b = secret(K, 2); // same architecture and weights, other blinds
    let proof = prove(&secret_a, &mut Lie::default()).proof;
    let (a, b) = (verifier(&secret_a), verifier(&secret_b));
    assert!(a.verify(&expected(), &proof).is_ok());
    assert_eq!(
        b.verify(&expected(), &proof),
        Err(Rejection::Model {
            proof: a.digest(),
            card: b.digest()
        })
    );
    let moved = Proof {
        card: b.digest(),
        ..proof.clone()
    };
    assert_eq!(b.verify(&expected(), &moved), Err(Rejection::Link));

    assert_eq!(
        a.verify(&Expected::default(), &proof),
        Err(Rejection::Context)
    );
    let replayed = Proof {
        context: b"other".to_vec(),
        ..proof.clone()
    };
    let other = Expected {
        context: b"other".to_vec(),
        ..Expected::default()
    };
    assert_eq!(a.verify(&other, &replayed), Err(Rejection::Link));

    let Claim::Values(mut values) = proof.output.clone() else {
        panic!("outputs travel as values")
    };
    values[0] ^= 1;
    let forged = Proof {
        output: Claim::Values(values.clone()),
        ..proof.clone()
    };
    assert_eq!(a.verify(&expected(), &forged), Err(Rejection::Link));
    let wanted = Expected {
        output: Some(Side::Public(values.clone())),
        ..expected()
    };
    assert_eq!(
        a.verify(&wanted, &proof),
        Err(Rejection::Statement { which: "output" })
    );
    values.push(0);
    let longer = Proof {
        output: Claim::Values(values.clone()),
        ..proof.clone()
    };
    assert!(matches!(
        a.verify(&expected(), &longer),
        Err(Rejection::Length { .. })
    ));
    values.pop();
    values[0] = 64;
    let wide = Proof {
        output: Claim::Values(values),
        ..proof.clone()
    };
    assert!(matches!(
        a.verify(&expected(), &wide),
        Err(Rejection::Range {
            index: 0,
            value: 64,
            limit: 64,
            ..
        })
    ));
}

#[test]
fn every_byte_matters() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let secret = Secret::commit(
        dense(6),
        6,
        vec![],
        params(6),
        WeightVisibility::Hidden,
        &mut rng,
    )
    .unwrap();
    let verifier = verifier(&secret);
    let run = secret.infer_integers(&[vec![1, 2, 3, 4]]).unwrap();
    let proof = secret
        .prove(
            &run,
            &Visibility {
                attach_input: true,
                ..Visibility::default()
            },
            b"ctx",
            &mut rng,
        )
        .unwrap()
        .proof;
    assert!(verifier.verify(&expected(), &proof).is_ok());
    let bytes = proof.to_bytes();
    assert_eq!(Proof::from_bytes(&bytes, bytes.len()).unwrap(), proof);
    // Inside upstream's part and the link; the file's checksum is not the point here.
    for i in 0..proof.halo2.len() {
        let mut forged = proof.clone();
        forged.halo2[i] ^= 1 << (i % 8);
        assert!(verifier.verify(&expected(), &forged).is_err(), "byte {i}");
    }
    for extra in [&[0u8][..], &[0; 32], &[1; 64]] {
        let mut forged = proof.clone();
        forged.halo2.extend_from_slice(extra);
        assert_eq!(
            verifier.verify(&expected(), &forged),
            Err(Rejection::Malformed {
                what: "bytes behind the end of the proof"
            })
        );
    }
    for len in (0..proof.halo2.len()).step_by(31) {
        let forged = Proof {
            halo2: proof.halo2[..len].to_vec(),
            ..proof.clone()
        };
        assert!(verifier.verify(&expected(), &forged).is_err());
    }
    let mut link = proof.clone();
    link.link.blind += F::ONE;
    assert_eq!(verifier.verify(&expected(), &link), Err(Rejection::Link));
    for i in 0..BLINDING_ROWS {
        let mut link = proof.clone();
        link.link.rows[i] += F::ONE;
        assert_eq!(verifier.verify(&expected(), &link), Err(Rejection::Link));
    }
    // As a file: any flipped bit, any truncation.
    for i in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[i] ^= 1 << (i % 8);
        assert!(
            Proof::from_bytes(&forged, forged.len()).is_err(),
            "byte {i}"
        );
        assert!(Proof::from_bytes(&bytes[..i], bytes.len()).is_err());
    }
    assert!(Proof::from_bytes(&bytes, bytes.len() - 1).is_err());
}

// --- keys and batches -------------------------------------------------------------------------------------------------

#[test]
fn verifying_key_is_pinned() {
    // Upstream cannot serialize keys; this is what every proof is bound to. A change here is a breaking circuit change:
    // raise the format version and say so in the changelog.
    let secret = secret(K, 1);
    let key = secret.plan().circuit().verifying_key(&params(K)).unwrap();
    let digest = Digest::of("zkinfer-pinned", format!("{:#?}", key.pinned()).as_bytes());
    assert_eq!(
        digest.to_string(),
        "92c7b1445a855a6f3e52c473f87d9f6c775ace963546da920ce4dcf88a3ce350"
    );
}

#[test]
fn public_weights_can_be_checked_against_the_card() {
    let commit = |model, seed| {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        Secret::commit(
            model,
            K,
            vec![],
            params(K),
            WeightVisibility::Public,
            &mut rng,
        )
        .unwrap()
    };
    let published = commit(zoo(6), 1);
    // Without blinds the commitment is a function of the weights.
    assert_eq!(commit(zoo(6), 2).card().digest(), published.card().digest());
    assert!(published.opens(published.card()).unwrap());
    let mut other = zoo(6);
    other.weights[0].data[0] += 1;
    let other = commit(other, 1);
    assert!(!other.opens(published.card()).unwrap());
    assert!(
        !secret(K, 1).opens(published.card()).unwrap(),
        "hidden weights have other points"
    );
    let proof = prove(&published, &mut Lie::default()).proof;
    assert!(verifier(&published).verify(&expected(), &proof).is_ok());
}

#[test]
fn many_proofs_at_once() {
    let secret = secret(K, 1);
    let runs: Vec<_> = (0..5u32)
        .map(|i| {
            secret
                .infer_integers(&[(0..16).map(|j| (j * 7 + i) % 64).collect()])
                .unwrap()
        })
        .collect();
    let visibility = Visibility {
        attach_input: true,
        ..Visibility::default()
    };
    let prove = |parallel: usize| {
        let mut proofs = Vec::new();
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let context = |i: usize| vec![i as u8];
        crate::secret::prove_many(
            &secret,
            &runs,
            &visibility,
            context,
            parallel,
            &mut rng,
            |i, p| {
                assert_eq!(i, proofs.len());
                proofs.push(p.proof);
            },
        )
        .unwrap();
        proofs
    };
    let proofs = prove(2);
    // The same randomness gives the same proofs, however many are made at a time.
    assert_eq!(proofs, prove(0));
    let verifier = verifier(&secret);
    for (i, (run, proof)) in runs.iter().zip(&proofs).enumerate() {
        let expected = Expected {
            context: vec![i as u8],
            ..Expected::default()
        };
        let verdict = verifier.verify(&expected, proof).unwrap();
        assert_eq!(verdict.input, Side::Public(run.input().to_vec()));
        assert_eq!(verdict.output, Side::Public(run.output().to_vec()));
    }
}
