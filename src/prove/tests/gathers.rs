//! Rows of committed tables that are looked up by their numbers: honest proofs, and the lies that there are about keys, rows and
//! tables.

use super::super::gather;
use super::engine::Engine;
use super::lies::{Fitted, Known, verifier};
use super::zoo::{gathers, judged, judged_runs, secret_of, violated};
use super::*;
use crate::secret::{Run, Secret, Visibility};
use std::collections::BTreeSet;
use witness::Phase1;
use zkinfer_circuits::card::Proof;
use zkinfer_circuits::error::Rejection;
use zkinfer_circuits::program::{Neurons, Node, Program, ProgramLimits, Unit, ValueRef, Weights};
use zkinfer_circuits::statement::{Claim, Side};
use zkinfer_circuits::verify::Expected;
use zkinfer_model::run::RunError;

const ROWS: u32 = 40;

/// Two words of two digits to the base 16.
fn words(a: u32, b: u32) -> Vec<Vec<u32>> {
    vec![vec![a % 16, a / 16, b % 16, b / 16]]
}

fn secret() -> Secret {
    secret_of(gathers(ROWS), 7, 3)
}

fn infer(secret: &Secret, a: u32, b: u32) -> Run {
    secret.infer_integers(&words(a, b)).unwrap()
}

fn with_input() -> Visibility {
    Visibility {
        attach_input: true,
        ..Visibility::default()
    }
}

#[test]
fn rows_are_looked_up() {
    // Tables that fill a part of a column, all of it, and several.
    for (rows, k) in [(40, 6), (57, 6), (300, 6), (300, 9)] {
        let secret = secret_of(gathers(rows), k, 3);
        let run = infer(&secret, rows.min(256) - 1, 0);
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let proven = secret.prove(&run, &with_input(), b"", &mut rng).unwrap();
        let verdict = judged(&verifier(&secret), &Expected::default(), &proven.proof);
        assert_eq!(verdict.unwrap().output, Side::Public(run.output().to_vec()));
    }
}

#[test]
fn several_runs_share_a_proof() {
    let secret = secret();
    let runs = [
        infer(&secret, 37, 23),
        infer(&secret, 1, 2),
        infer(&secret, 39, 39),
    ];
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let proven = secret
        .prove_runs(&runs, &with_input(), b"", &mut rng)
        .unwrap();
    let expected = vec![Expected::default(); 3];
    let verdicts = judged_runs(&verifier(&secret), &expected, &proven.proof).unwrap();
    for (verdict, run) in verdicts.iter().zip(&runs) {
        assert_eq!(verdict.output, Side::Public(run.output().to_vec()));
    }
}

#[test]
fn engines_make_the_same_bytes() {
    let mut secret = secret();
    let run = infer(&secret, 37, 23);
    let mut proofs = Vec::new();
    for engine in Engine::available() {
        secret = secret.with_engine(engine);
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        proofs.push(
            secret
                .prove(&run, &with_input(), b"", &mut rng)
                .unwrap()
                .proof,
        );
    }
    assert!(proofs.iter().all(|proof| *proof == proofs[0]));
}

#[test]
fn a_row_that_there_is_not_is_refused() {
    let error = secret()
        .infer_integers(&words(40, 0))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("row 40 is looked up, of rows 0..40"),
        "{error}"
    );
    let model = gathers(ROWS);
    let expanded = model.program.expand(&ProgramLimits::default()).unwrap();
    let error = model.run(&expanded, &words(0, 41)).unwrap_err();
    let expected = RunError::Key {
        node: 5,
        index: 1,
        key: 41,
        rows: 40,
    };
    assert_eq!(error, expected);
}

/// Another's cells in the lanes of inputs and keys, and what is written in the columns of what is looked up.
struct Mixed<'a> {
    claimed: &'a Run,
    values: &'a dyn Fn(&Plan, &Phase1, &mut [Vec<F>]),
    phase1: Option<Phase1>,
    violated: BTreeSet<String>,
}

impl Deviation for Mixed<'_> {
    fn cells(&mut self, plan: &Plan, phase1: &mut Phase1) {
        let claimed = Phase1::new(plan, &self.claimed.traces[0]);
        let layout = &plan.layout;
        let keys = layout.gathered.iter().map(|g| &layout.lanes[g.lane]);
        for lane in layout.input_lanes().chain(keys) {
            let cells = [lane.x].into_iter().chain(lane.rem.iter().copied());
            cells.for_each(|c| phase1.cells[c].clone_from(&claimed.cells[c]));
            for w in 0..lane.rem.len() {
                let candidate = lane.first_candidate + w;
                phase1.accumulators[candidate].clone_from(&claimed.accumulators[candidate]);
            }
        }
        self.phase1 = Some(phase1.clone());
    }
    fn columns(&mut self, plan: &Plan, phase: u8, columns: &mut [Vec<F>]) {
        if let (2, Some(phase1)) = (phase, &self.phase1) {
            (self.values)(plan, phase1, columns);
        }
    }
    fn filled(&mut self, plan: &Plan, columns: &[Vec<F>]) {
        self.violated = violated(plan, columns).into_iter().collect();
    }
}

/// A proof that `claimed`'s input gives `told`'s output, which exactly these gates do not believe.
#[track_caller]
fn refused(
    secret: &Secret,
    (claimed, told): (&Run, &Run),
    gates: &[&str],
    values: &dyn Fn(&Plan, &Phase1, &mut [Vec<F>]),
) {
    let mut lie = Mixed {
        claimed,
        values,
        phase1: None,
        violated: BTreeSet::new(),
    };
    let (input, output) = (claimed.input().to_vec(), told.output().to_vec());
    let sides = [(Side::Public(input.clone()), Side::Public(output.clone()))];
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let runs = std::slice::from_ref(told);
    let segment = secret
        .prove_statement(runs, &sides, b"", &mut lie, &mut rng)
        .unwrap();
    let expected: BTreeSet<String> = gates.iter().map(|g| (*g).to_owned()).collect();
    assert_eq!(lie.violated, expected);
    let proof = Proof {
        card: secret.card().digest(),
        context: vec![],
        runs: vec![(Claim::Values(input), Claim::Values(output))],
        segments: vec![segment],
    };
    let verdict = judged(&verifier(secret), &Expected::default(), &proof);
    assert_eq!(verdict, Err(Rejection::Circuit));
}

/// What honest keys of another run look up.
fn of_keys(run: &Run) -> impl Fn(&Plan, &Phase1, &mut [Vec<F>]) {
    let trace = run.traces[0].clone();
    move |plan: &Plan, _: &Phase1, columns: &mut [Vec<F>]| {
        let own = Phase1::new(plan, &trace);
        let values = gather::looked_up(plan, &own, columns);
        let first = plan.layout.gathered_column(0);
        columns[first..first + values.len()].clone_from_slice(&values);
    }
}

#[test]
fn another_row() {
    let secret = secret();
    let (claimed, told) = (infer(&secret, 37, 23), infer(&secret, 36, 23));
    assert_ne!(claimed.output(), told.output());
    refused(
        &secret,
        (&claimed, &told),
        &["gather: sums agree"],
        &of_keys(&told),
    );
}

#[test]
fn two_numbers_exchanged() {
    let secret = secret();
    let (claimed, told) = (infer(&secret, 37, 23), infer(&secret, 23, 37));
    assert_ne!(claimed.output(), told.output());
    // What is looked up goes with the keys, and not with what the neurons say, or the other way round.
    refused(
        &secret,
        (&claimed, &told),
        &["fold: sums agree"],
        &|_, _, _| {},
    );
    // Both numbers are among the keys, but not with these weights.
    refused(
        &secret,
        (&claimed, &told),
        &["gather: sums agree"],
        &of_keys(&told),
    );
}

#[test]
fn a_number_that_there_is_not() {
    // A model whose second table is as large as the first one's numbers, so that only the first is told of a number beyond.
    let small = secret_of(gathers(ROWS), 7, 3);
    let large = secret_of(gathers(ROWS + 8), 7, 3);
    let (told, beyond) = (infer(&small, 37, 23), infer(&large, 45, 23));
    refused(
        &small,
        (&beyond, &told),
        &["gather: sums agree"],
        &of_keys(&told),
    );
}

/// A row of the other table, on a row of the lane that no key is in, counted where it comes from.
#[test]
fn a_row_of_another_table() {
    let secret = secret();
    let run = infer(&secret, 37, 23);
    let values = |plan: &Plan, _: &Phase1, columns: &mut [Vec<F>]| {
        let layout = &plan.layout;
        let other = &layout.gathers[1].pieces[0];
        let weight = columns[layout.gather_column(other.column)][other.row];
        let row = layout.last - 1;
        assert_ne!(columns[layout.gathered_column(0)][row], weight);
        columns[layout.gathered_column(0)][row] = weight;
    };
    refused(&secret, (&run, &run), &["gather: sums agree"], &values);
}

/// Something else beside a key, and beside one that nobody reads what makes up for it: to be told, both challenges have to be
/// known when the weights are written down.
pub(super) fn fitted_to_the_challenges() -> bool {
    let secret = secret();
    let mut run = infer(&secret, 37, 23);
    run.forge_output(0, 1);
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        let (Some(challenges), 2, false) = (&known.challenges, phase, known.before.is_empty())
        else {
            return;
        };
        let (layout, sums) = (&plan.layout, &plan.description.sums);
        let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, challenges);
        let public = |column: usize| &known.before[column - layout.columns.public().start];
        let [alpha, theta] = sums.gather_constants.unwrap();
        let gather = zkinfer_circuits::fold::GatherChallenges {
            alpha: public(alpha)[0],
            theta: public(theta)[0],
        };
        let beta = public(sums.beta[layout.columns.table + layout.columns.values]);
        let row = beta.iter().position(|b| *b != F::ZERO).unwrap();
        let unread = layout.last - 1;
        let (lane, column) = (layout.gathered[0].lane, layout.gathered_column(0));
        let lane = &layout.lanes[lane];
        let range = F::from(1 << layout.range_bits);
        let key = |row: usize| columns[lane.x][row] * range + columns[lane.rem[0]][row];
        let tag = F::ONE;
        let entry = |row: usize, value: F| gather.entry(key(row), value, tag);
        let fraction = |row: usize, value: F| entry(row, value).invert().unwrap();
        let honest =
            fraction(row, columns[column][row]) + fraction(unread, columns[column][unread]);
        let value =
            columns[column][row] - gap_of(plan, &coefficients) * beta[row].invert().unwrap();
        let other = (honest - fraction(row, value)).invert().unwrap();
        let made_up = (other - gather.alpha - key(unread)) * gather.theta.invert().unwrap()
            - gather.theta * tag;
        columns[column][row] = value;
        columns[column][unread] = made_up;
    };
    let tell = |before: Vec<Vec<F>>| {
        let cells = super::lies::one_more;
        let mut lie = Fitted {
            run: 1,
            cells: Some(&cells),
            columns: Some(&columns),
            known: Known {
                before,
                ..Known::default()
            },
            ..Fitted::default()
        };
        let proof = super::lies::prove(&secret, &run, b"", &mut lie);
        (proof, lie.known.public)
    };
    let (_, public) = tell(vec![]);
    let (proof, _) = tell(public);
    verifier(&secret)
        .verify(&Expected::default(), &proof)
        .is_ok()
}

fn gap_of(plan: &Plan, coefficients: &Coefficients<'_>) -> F {
    super::lies::gap(plan, coefficients)
}

#[test]
fn programs_whose_keys_are_not_keys_are_refused() {
    let refused = |change: &dyn Fn(&mut Program)| {
        let mut program = gathers(ROWS).program;
        change(&mut program);
        let error = program.expand(&ProgramLimits::default()).unwrap_err();
        error.to_string()
    };
    let neurons = |program: &mut Program, node: usize, change: &dyn Fn(&mut Neurons)| {
        if let Node::Neurons(n) = &mut program.nodes[node] {
            change(n);
        }
    };
    let keys = |change: &dyn Fn(&mut Neurons)| refused(&|p: &mut Program| neurons(p, 2, change));
    let plain = "keys are not the accumulators of linear neurons";
    assert!(keys(&|n| n.unit = Unit::RELU).contains(plain));
    assert!(keys(&|n| n.terms[0].weights = Weights::Committed).contains(plain));
    assert!(refused(&|p| p.outputs = vec![2]).contains(plain));
    let rows = |change: &dyn Fn(&mut Neurons)| refused(&|p: &mut Program| neurons(p, 5, change));
    assert!(
        rows(&|n| n.terms[1].patches = ValueRef::new(2)).contains("keys that another term uses")
    );
    assert!(rows(&|n| n.terms[0].inputs = 0).contains("patches"));
    assert!(rows(&|n| n.terms[0].inputs = u32::MAX).contains("2^26"));
    assert!(rows(&|n| n.positions = 1).contains("patches"));
    assert!(rows(&|n| n.terms[0].patches = ValueRef::new(0)).contains("patches"));
    let two = |n: &mut zkinfer_circuits::program::Neurons| {
        (n.groups, n.positions) = (2, 1);
        n.terms.truncate(1);
    };
    assert!(rows(&two).contains("groups, a window or another one's weights"));
    assert!(rows(&|n| n.terms[0].patches.node = 6).contains("does not exist yet"));
    // Nobody shares weights that are looked up.
    let share = |p: &mut Program| {
        let mut again = p.nodes[5].clone();
        if let Node::Neurons(n) = &mut again {
            n.terms
                .iter_mut()
                .for_each(|t| t.weights = Weights::Shared(5));
        }
        p.nodes.push(again);
    };
    assert!(!refused(&share).is_empty());
}

mod tried;
