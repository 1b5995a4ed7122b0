//! Coefficients that are activations, and weights that several nodes share: honest runs, and the lies about them.

use super::zoo::{bases, judged, judged_runs, products, recurrent, secret_of, violated};
use super::*;
use crate::secret::{Run, Secret, Visibility};
use group::Group;
use zkinfer_circuits::error::{CardError, ProgramError, Rejection};
use zkinfer_circuits::fold::Challenges;
use zkinfer_circuits::layout::Lane;
use zkinfer_circuits::program::{
    Neurons, Node, Program, ProgramLimits, Term, Unit, ValueRef, Weights,
};
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::verify::{Expected, Limits, Verdict, Verifier};
use zkinfer_model::model::{QuantizedModel, WeightTensor};

const BITS: u32 = 6;

type Cells<'a> = &'a dyn Fn(&Plan, &mut witness::Phase1);
type Folded<'a> = &'a dyn Fn(&Plan, &mut [Vec<F>], &Challenges);

#[derive(Default)]
pub(super) struct Lie<'a> {
    cells: Option<Cells<'a>>,
    /// The columns up to the folded weights and activations.
    folded: Option<Folded<'a>>,
    challenges: Option<Challenges>,
    pub(super) violated: Vec<String>,
}

impl Deviation for Lie<'_> {
    fn cells(&mut self, plan: &Plan, phase1: &mut witness::Phase1) {
        self.cells.iter().for_each(|f| f(plan, phase1));
    }
    fn challenges(&mut self, challenges: &mut Challenges) {
        self.challenges = Some(challenges.clone());
    }
    fn columns(&mut self, plan: &Plan, phase: u8, columns: &mut [Vec<F>]) {
        if let (2, Some(f), Some(challenges)) = (phase, self.folded, &self.challenges) {
            f(plan, columns, challenges);
        }
    }
    fn filled(&mut self, plan: &Plan, columns: &[Vec<F>]) {
        self.violated = violated(plan, columns);
    }
}

fn verifier(secret: &Secret) -> Verifier {
    let k = secret.card().k;
    Verifier::new(secret.card().clone(), bases(k), &Limits::default()).unwrap()
}

pub(super) fn tell(secret: &Secret, run: &Run, lie: &mut Lie<'_>) -> Result<Verdict, Rejection> {
    let visibility = Visibility {
        attach_input: true,
        ..Visibility::default()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let proven = secret
        .prove_with(run, &visibility, b"", lie, &mut rng)
        .unwrap();
    judged(&verifier(secret), &Expected::default(), &proven.proof)
}

/// Values of the first output's lane, and the lane.
fn output(plan: &Plan) -> (&Lane, usize) {
    let cell = plan.layout.output_cells(&plan.program).next().unwrap();
    let lane = plan.layout.output_lanes().next().unwrap();
    (lane, cell.row as usize)
}

fn ramp(len: u32) -> Vec<Vec<u32>> {
    vec![(0..len).map(|i| (i * 11 + 3) % 23).collect()]
}

#[test]
fn honest_products_and_recurrences_verify() {
    let cases = [
        (products(BITS), 12),
        (recurrent(BITS, 1, true), 6),
        (recurrent(BITS, 25, true), 150),
    ];
    for (model, len) in cases {
        // At k = 6 the positions of 25 × 3 steps do not fit a column.
        for k in [6, 8] {
            let secret = secret_of(model.clone(), k, 3);
            let run = secret.infer_integers(&ramp(len)).unwrap();
            let mut honest = Lie::default();
            let verdict = tell(&secret, &run, &mut honest).unwrap();
            assert_eq!(honest.violated, Vec::<String>::new());
            assert_eq!(verdict.output, Side::Public(run.output().to_vec()));
        }
    }
}

#[test]
fn products_are_what_they_should_be() {
    let secret = secret_of(products(BITS), 7, 3);
    let input = ramp(12).remove(0);
    let run = secret.infer_integers(std::slice::from_ref(&input)).unwrap();
    let x: Vec<i64> = input.iter().map(|&v| i64::from(v)).collect();
    let bias = [77, -30];
    for (o, bias) in bias.iter().enumerate() {
        for p in 0..2 {
            let sum: i64 = (0..3).map(|i| x[3 * o + i] * (x[6 + p + 2 * i] - 3)).sum();
            assert_eq!(run.traces[0].accumulators[7][2 * o + p], sum + bias);
        }
    }
}

#[test]
fn several_runs_of_products_share_a_proof() {
    // Folded activations and free coefficients differ from run to run here.
    let secret = secret_of(products(BITS), 7, 3);
    let visibility = Visibility {
        attach_input: true,
        ..Visibility::default()
    };
    let runs: Vec<Run> = (0..3)
        .map(|i| {
            let mut input = ramp(12);
            input[0].rotate_left(i);
            secret.infer_integers(&input).unwrap()
        })
        .collect();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let proven = secret
        .prove_runs(&runs, &visibility, b"", &mut rng)
        .unwrap();
    let expected = vec![Expected::default(); 3];
    let verdicts = judged_runs(&verifier(&secret), &expected, &proven.proof).unwrap();
    for (verdict, run) in verdicts.iter().zip(&runs) {
        assert_eq!(verdict.output, Side::Public(run.output().to_vec()));
    }
    let mut swapped = proven.proof;
    swapped.runs.swap(0, 2);
    let found = judged_runs(&verifier(&secret), &expected, &swapped);
    assert_eq!(found, Err(Rejection::Link));
}

#[test]
fn wrong_product() {
    let secret = secret_of(products(BITS), 7, 3);
    let run = secret.infer_integers(&ramp(12)).unwrap();
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let cell = plan.layout.placements[7].as_ref().unwrap().cells.get(1);
        let lane = &plan.layout.lanes[plan.layout.ports[cell.port as usize].lane];
        let row = cell.row as usize;
        assert!((1..62).contains(&p.cells[lane.x][row]));
        p.cells[lane.x][row] += 1;
        p.accumulators[lane.first_candidate][row] += 1 << BITS;
    };
    let mut lie = Lie {
        cells: Some(&cells),
        ..Lie::default()
    };
    assert_eq!(tell(&secret, &run, &mut lie), Err(Rejection::Circuit));
    assert_eq!(lie.violated, ["fold: sums agree"]);
}

#[test]
fn challenges_follow_what_they_bind() {
    // A challenge drawn before a commitment is absorbed could be fitted by what is committed to.
    let drawn = |plan: &Plan, phase1: u64, folded: u64, free: u64, public: u64| {
        let points = |k: u64| [C::from(pasta_curves::Eq::generator() * F::from(k))];
        let mut session = Session::new(&Digest([7; 32]));
        let first = session.challenges(&plan.layout, &points(phase1)).unwrap();
        let eta = session.eta(&plan.layout, &points(folded)).unwrap();
        let late = session.late(&plan.layout, eta, &points(free)).unwrap();
        let link = session.link(&points(public)).unwrap().challenge();
        [
            vec![first.alpha],
            first.y,
            vec![eta.unwrap()],
            late.e,
            vec![link],
        ]
    };
    let check = |plan: &Plan, _: &mut witness::Phase1| {
        let one = drawn(plan, 2, 2, 2, 2);
        for (other, bound) in [
            (drawn(plan, 3, 2, 2, 2), 0),
            (drawn(plan, 2, 3, 2, 2), 2),
            (drawn(plan, 2, 2, 3, 2), 3),
            (drawn(plan, 2, 2, 2, 3), 4),
        ] {
            assert_eq!(one[..bound], other[..bound]);
            for (a, b) in one[bound..].iter().zip(&other[bound..]) {
                assert!(!a.is_empty() && a.iter().zip(b).all(|(a, b)| a != b));
            }
        }
    };
    let secret = secret_of(products(BITS), 7, 3);
    let run = secret.infer_integers(&ramp(12)).unwrap();
    let mut honest = Lie {
        cells: Some(&check),
        ..Lie::default()
    };
    assert!(tell(&secret, &run, &mut honest).is_ok());
}

#[test]
fn folded_activation_that_absorbs_a_wrong_accumulator() {
    // `U` is the prover's choice, made when the first challenges are known. Here it is chosen so that a wrong output goes
    // unnoticed by the identity of the accumulators, with coefficients that follow from it. Only the powers of η notice.
    let secret = secret_of(products(BITS), 7, 3);
    let mut run = secret.infer_integers(&ramp(12)).unwrap();
    run.forge_output(0, 1);
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let (lane, row) = output(plan);
        p.cells[lane.x][row] += 1;
        p.accumulators[lane.first_candidate][row] += 1 << BITS;
    };
    let folded = |plan: &Plan, columns: &mut [Vec<F>], challenges: &Challenges| {
        let layout = &plan.layout;
        let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, challenges);
        let (table, values) = (layout.table_column(0), layout.value_column(0));
        let free = |u: &[Vec<F>]| coefficients.free(&columns[table..values], u, None);
        let before = free(&columns[values..]);
        let mut moved = columns[values..].to_vec();
        moved[0][0] += F::ONE;
        let after = free(&moved);
        // How much Σ x·E moves with the first entry of U.
        let slots = layout.slots(&plan.expanded);
        let by: F = slots
            .map(|(s, cell)| {
                let x = columns[layout.ports[cell.port as usize].column][cell.row as usize];
                x * (after[s as usize] - before[s as usize])
            })
            .sum();
        let (lane, row) = output(plan);
        let lane = layout.lanes.iter().position(|l| l.x == lane.x).unwrap();
        let gap = coefficients.rho(lane, 0, row) * F::from(1 << BITS);
        columns[values][0] += gap * by.invert().unwrap();
    };
    let mut lie = Lie {
        cells: Some(&cells),
        folded: Some(&folded),
        ..Lie::default()
    };
    assert_eq!(tell(&secret, &run, &mut lie), Err(Rejection::Circuit));
    assert_eq!(lie.violated, ["fold: sums agree"]);
}

#[test]
fn step_with_weights_of_its_own() {
    // A network of the same shape whose last step has other weights; its run is passed off as one of the shared weights.
    let secret = secret_of(recurrent(BITS, 2, true), 7, 3);
    let own = secret_of(recurrent(BITS, 2, false), 7, 3);
    let (honest, other) = (
        secret.infer_integers(&ramp(12)).unwrap(),
        own.infer_integers(&ramp(12)).unwrap(),
    );
    assert_ne!(honest.output(), other.output());
    let mut lie = Lie::default();
    assert_eq!(tell(&secret, &other, &mut lie), Err(Rejection::Circuit));
    assert_eq!(lie.violated, ["fold: sums agree"]);
    assert!(tell(&own, &other, &mut Lie::default()).is_ok());
}

#[test]
fn shared_weights_are_committed_once() {
    let points = |shared| {
        let secret = secret_of(recurrent(BITS, 2, shared), 7, 3);
        secret.card().points()
    };
    // Two outputs a step, and two of the last layer in each of the columns that it reads.
    assert_eq!(points(false) - points(true), 4);
}

fn refused(change: impl Fn(&mut Program), shared: bool) -> &'static str {
    let mut program = recurrent(BITS, 2, shared).program;
    change(&mut program);
    match Plan::new(program, 7, &Limits::default()) {
        Err(CardError::Program(ProgramError::Node { reason, .. })) => reason,
        other => panic!("{:?}", other.map(|_| ())),
    }
}

fn step(program: &mut Program, node: usize) -> &mut zkinfer_circuits::program::Neurons {
    match &mut program.nodes[node] {
        Node::Neurons(n) => n,
        other => panic!("{other:?}"),
    }
}

#[test]
fn families_of_different_shapes_are_refused() {
    let shape = "shares weights with a node of another shape";
    let earlier = "shares weights with a node that is not an earlier one";
    // Steps are nodes 6, 9 and 12, the output is 13.
    let cases: [(&dyn Fn(&mut Program), &str); 8] = [
        (&|p| step(p, 9).unit = Unit::RELU, shape),
        (&|p| step(p, 9).terms[0].weights = Weights::Committed, shape),
        (
            &|p| step(p, 6).terms[1].weights = Weights::Public(vec![1; 4]),
            shape,
        ),
        (
            &|p| step(p, 12).terms[3].weights = Weights::Public(vec![5; 2]),
            shape,
        ),
        (
            &|p| step(p, 12).terms[0].weights = Weights::Shared(9),
            shape,
        ),
        (&|p| p.outputs = vec![12], "shares weights and is an output"),
        (
            &|p| {
                for term in &mut step(p, 9).terms[..3] {
                    term.weights = Weights::Shared(12);
                }
            },
            earlier,
        ),
        (
            &|p| {
                for term in &mut step(p, 9).terms[..3] {
                    term.weights = Weights::Shared(0);
                }
            },
            earlier,
        ),
    ];
    for (i, (change, reason)) in cases.iter().enumerate() {
        assert_eq!(refused(change, true), *reason, "case {i}");
    }
    // Twelve chained to nine, which has no weights of its own.
    let chained = |p: &mut Program| {
        for term in &mut step(p, 12).terms[..3] {
            term.weights = Weights::Shared(9);
        }
    };
    assert_eq!(refused(chained, true), shape);
}

#[test]
fn left_operands_are_earlier_values_of_the_right_size() {
    let with = |value| {
        let mut program = products(BITS).program;
        step(&mut program, 7).terms[0].weights = Weights::Value { value, factor: 1 };
        Plan::new(program, 7, &Limits::default()).map(|_| ())
    };
    let value = zkinfer_circuits::program::ValueRef::new;
    assert!(with(value(2)).is_ok());
    for node in [0, 7, 9, 99] {
        let error = with(value(node)).unwrap_err();
        assert!(
            matches!(
                error,
                CardError::Program(ProgramError::Node { node: 7, .. })
            ),
            "{node}: {error}"
        );
    }
}

#[test]
fn cards_with_products_and_shared_weights_survive_encoding() {
    let models: [QuantizedModel; 2] = [products(BITS), recurrent(BITS, 2, true)];
    for model in models {
        let card = secret_of(model, 7, 3).card().clone();
        let bytes = card.to_bytes();
        let read = crate::Card::from_bytes(&bytes, bytes.len()).unwrap();
        assert_eq!(read.segments[0].program, card.segments[0].program);
        assert_eq!(read.to_bytes(), bytes);
    }
}

/// An accumulator is read in two parts, and once more as a whole: the bits below the result are as sure as the result.
#[test]
fn accumulators_are_read_in_two_parts() {
    for deep in [false, true] {
        let model = two_parts(deep);
        let secret = secret_of(model, 6, 3);
        let run = secret.infer_integers(&[vec![13, 9, 63]]).unwrap();
        let y = (5 * 13 + 7 * 9 + 11 * 63) << if deep { BITS } else { 0 };
        assert_eq!(run.traces[0].accumulators[1], [y]);
        // What the two parts together say is what they were made of.
        assert_eq!(
            run.traces[0].accumulators[2],
            [y >> if deep { BITS } else { 0 }]
        );
        let mut honest = Lie::default();
        let verdict = tell(&secret, &run, &mut honest).unwrap();
        assert_eq!(honest.violated, Vec::<String>::new());
        assert_eq!(verdict.output, Side::Public(run.output().to_vec()));
    }
    // A maximum, a clamp or a function has no such part.
    for unit in [
        Unit::RELU,
        Unit {
            window: 3,
            ..Unit::LINEAR
        },
    ] {
        let mut program = two_parts(false).program;
        if let Node::Neurons(n) = &mut program.nodes[1] {
            n.terms[0].inputs /= unit.window;
            n.terms[0].weights = Weights::Public(vec![1; n.terms[0].inputs as usize]);
            n.unit = unit.clone();
        }
        let expanded = program.expand(&ProgramLimits::default());
        assert_eq!(expanded.is_err(), unit.window > 1, "{unit:?}");
    }
    let mut program = two_parts(true).program;
    if let Node::Neurons(n) = &mut program.nodes[1] {
        n.unit.window = 3;
        n.terms[0].inputs = 1;
        n.terms[0].weights = Weights::Public(vec![1]);
    }
    let error = program.expand(&ProgramLimits::default()).unwrap_err();
    assert!(error.to_string().contains("a maximum is not deep"));
}

fn two_parts(deep: bool) -> QuantizedModel {
    let one = if deep { 1i64 << BITS } else { 1 };
    let layer = |unit, terms| {
        Node::Neurons(Neurons {
            groups: 1,
            outputs: 1,
            positions: 1,
            unit,
            terms,
        })
    };
    let term = |node: usize, port: u32, inputs: u32, weights: Weights| Term {
        patches: ValueRef {
            node: node as u32,
            port,
        },
        inputs,
        weights,
    };
    let unit = Unit {
        deep,
        ..Unit::LINEAR
    };
    let first = Weights::Public(vec![5 * one, 7 * one, 11 * one]);
    let nodes = vec![
        Node::Input { len: 3 },
        layer(unit, vec![term(0, 0, 3, first)]),
        layer(
            Unit::LINEAR,
            vec![
                term(1, 0, 1, Weights::Public(vec![1 << BITS])),
                term(1, 1, 1, Weights::Committed),
            ],
        ),
    ];
    QuantizedModel {
        program: Program {
            range_bits: BITS,
            tables: vec![],
            nodes,
            outputs: vec![2],
        },
        weights: vec![WeightTensor {
            node: 2,
            term: 1,
            data: vec![1],
        }],
        hints: vec![],
        inputs: vec![],
        outputs: vec![],
        layers: vec![],
        decodings: vec![],
    }
}
