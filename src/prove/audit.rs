//! Forgeries that were tried against the whole protocol, each named for its lie: cards, hints, tables, layouts.

use super::zoo::{judged, params, violated};
use super::*;
use crate::model::QuantizedModel;
use crate::run::HintSolver;
use crate::secret::{Proven, Secret, Visibility, WeightVisibility};
use group::Curve;
use zkinfer_circuits::circuit::with_description;
use zkinfer_circuits::error::{CardError, ProgramError, Rejection};
use zkinfer_circuits::fold::Challenges;
use zkinfer_circuits::gates::function_entry;
use zkinfer_circuits::layout::Lane;
use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights,
};
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::verify::{Expected, Limits, Verifier};

const BITS: u32 = 6;
const K: u32 = 7;

fn value(node: u32, port: u32) -> ValueRef {
    ValueRef { node, port }
}

fn public(patches: ValueRef, weights: &[i64]) -> Term {
    Term {
        patches,
        inputs: weights.len() as u32,
        weights: Weights::Public(weights.to_vec()),
    }
}

fn neurons(positions: u32, unit: Unit, terms: Vec<Term>) -> Node {
    Node::Neurons(Neurons {
        groups: 1,
        outputs: 1,
        positions,
        unit,
        terms,
    })
}

fn model(
    tables: Vec<Vec<u16>>,
    nodes: Vec<Node>,
    output: u32,
    hints: Vec<HintSolver>,
) -> QuantizedModel {
    let program = Program {
        range_bits: BITS,
        tables,
        nodes,
        outputs: vec![output],
    };
    QuantizedModel {
        program,
        weights: vec![],
        hints,
        inputs: vec![],
        outputs: vec![],
        layers: vec![],
        decodings: vec![],
    }
}

fn committed(model: QuantizedModel) -> Secret {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    Secret::commit(
        model,
        K,
        vec![],
        params(K),
        WeightVisibility::Hidden,
        &mut rng,
        &mut crate::progress::silent,
    )
    .unwrap()
}

type Cells<'a> = &'a dyn Fn(&Plan, &mut witness::Phase1);
type Columns<'a> = &'a dyn Fn(&Plan, u8, &mut [Vec<F>], Option<&Challenges>);

/// Hooks of a lie.
#[derive(Default)]
struct Lie<'a> {
    cells: Option<Cells<'a>>,
    multiplicities: Option<Cells<'a>>,
    columns: Option<Columns<'a>>,
    challenges: Option<Challenges>,
    violated: Vec<String>,
}

impl Deviation for Lie<'_> {
    fn cells(&mut self, plan: &Plan, phase1: &mut witness::Phase1) {
        self.cells.iter().for_each(|f| f(plan, phase1));
    }
    fn multiplicities(&mut self, plan: &Plan, phase1: &mut witness::Phase1) {
        self.multiplicities.iter().for_each(|f| f(plan, phase1));
    }
    fn columns(&mut self, plan: &Plan, phase: u8, columns: &mut [Vec<F>]) {
        self.columns
            .iter()
            .for_each(|f| f(plan, phase, columns, self.challenges.as_ref()));
    }
    fn challenges(&mut self, challenges: &mut Challenges) {
        self.challenges = Some(challenges.clone());
    }
    fn filled(&mut self, plan: &Plan, columns: &[Vec<F>], instances: &[Vec<F>]) {
        self.violated = violated(plan, columns, instances);
    }
}

/// Proves `input` with the lie and the claimed output moved by `by`, and lets the verifier judge.
fn judge(
    secret: &Secret,
    input: &[Vec<u32>],
    by: &[(usize, i32)],
    lie: &mut Lie<'_>,
) -> Result<Side, Rejection> {
    let mut run = secret.infer_integers(input).unwrap();
    by.iter().for_each(|&(i, by)| run.forge_output(i, by));
    let mut rng = ChaCha20Rng::seed_from_u64(99);
    let visibility = Visibility {
        attach_input: true,
        ..Visibility::default()
    };
    let Proven { proof, .. } = secret
        .prove_with(&run, &visibility, b"", lie, &mut rng)
        .unwrap();
    let verifier = Verifier::new(secret.card().clone(), params(K), &Limits::default()).unwrap();
    judged(&verifier, &Expected::default(), &proof).map(|v| v.output)
}

/// The lane and row of a node's neuron, input or hint.
fn cell(plan: &Plan, node: usize, index: usize) -> (&Lane, usize) {
    let cell = plan.layout.placements[node].as_ref().unwrap().cells[index];
    (
        &plan.layout.lanes[plan.layout.ports[cell.port as usize].lane],
        cell.row as usize,
    )
}

// --- tables -----------------------------------------------------------------------------------------------------------

/// `40 + f(x)/4` with two tables, `f(x) = x/2` the first.
fn two_tables() -> QuantizedModel {
    let half: Vec<u16> = (0..64).map(|x| x / 2).collect();
    let other: Vec<u16> = (0..64).map(|x| (x * x + 1) % 20).collect();
    let nodes = vec![
        Node::Input { len: 1 },
        neurons(
            1,
            Unit {
                tables: vec![0],
                ..Unit::LINEAR
            },
            vec![public(value(0, 0), &[64])],
        ),
        Node::Constant { len: 1 },
        neurons(
            1,
            Unit::LINEAR,
            vec![public(value(1, 1), &[16]), public(value(2, 0), &[64 * 40])],
        ),
    ];
    model(vec![half, other], nodes, 3, vec![])
}

/// The tag of a table must not be something that a value can undo. Claims the value for which `f + 2^T·tag` of table 0 is
/// the same sum of another table (`Some`), or zero, which is what the range table would have there (`None`), and moves the
/// multiplicity there.
fn table_value_of(other: Option<usize>) -> (Result<Side, Rejection>, Vec<String>) {
    let secret = committed(two_tables());
    let x = 21usize;
    let tables = secret.plan().program.tables.clone();
    let honest = i64::from(tables[0][x]);
    let forged = match other {
        None => -64,
        Some(f) => i64::from(tables[f][x]) + 64 * f as i64,
    };
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let y = 16 * forged + 64 * 40;
        let (lane, row) = cell(plan, 3, 0);
        p.cells[lane.x][row] = (y >> 6) as u32;
        p.cells[lane.rem[0]][row] = (y & 63) as u32;
        p.accumulators[lane.first_candidate][row] = y;
    };
    // One look-up less in table 0, one more in the other.
    let multiplicities = |plan: &Plan, p: &mut witness::Phase1| {
        let column = |tag| {
            plan.description
                .sums
                .tables
                .iter()
                .flat_map(|(_, t)| t)
                .find(|t| t.tag == tag && t.piece == 0)
                .unwrap()
                .multiplicity
        };
        p.cells[column(1)][x] -= 1;
        p.cells[column(other.map_or(0, |f| f + 1))][x] += 1;
    };
    let columns =
        |plan: &Plan, phase: u8, columns: &mut [Vec<F>], challenges: Option<&Challenges>| {
            let (lane, row) = cell(plan, 1, 0);
            if phase == 1 {
                columns[lane.tables[0]][row] = zkinfer_circuits::fold::small(forged);
            }
            if let (4, Some(c)) = (phase, challenges) {
                // What the prover's own helper has added for the honest value is replaced by the other table's fraction.
                let fraction = |denominator: F| denominator.invert().unwrap();
                let theta = c.theta.unwrap();
                let entry = |f: Option<usize>| match f {
                    None => fraction(c.alpha + F::from(x as u64)),
                    Some(f) => fraction(function_entry(
                        c.alpha,
                        theta,
                        f,
                        x as u64,
                        u64::from(tables[f][x]),
                    )),
                };
                let delta = entry(other) - entry(Some(0));
                let sum = plan
                    .description
                    .sums
                    .lookups
                    .iter()
                    .find(|(_, l)| l.iter().any(|l| l.value == Some(lane.tables[0])))
                    .unwrap()
                    .0;
                columns[sum][row + 1..].iter_mut().for_each(|v| *v += delta);
            }
        };
    let by = ((16 * forged) >> 6) - ((16 * honest) >> 6);
    let mut lie = Lie {
        cells: Some(&cells),
        multiplicities: Some(&multiplicities),
        columns: Some(&columns),
        ..Lie::default()
    };
    let verdict = judge(&secret, &[vec![x as u32]], &[(0, by as i32)], &mut lie);
    (verdict, lie.violated)
}

#[test]
fn table_value_that_turns_a_pair_into_a_range_entry() {
    let (verdict, violated) = table_value_of(None);
    assert_eq!(verdict, Err(Rejection::Circuit));
    assert!(
        matches!(&violated[..], [gate] if gate.starts_with("lookup: value sum")),
        "{violated:?}"
    );
}

#[test]
fn table_value_that_turns_a_pair_into_another_tables() {
    let (verdict, violated) = table_value_of(Some(1));
    assert_eq!(verdict, Err(Rejection::Circuit));
    assert!(
        matches!(&violated[..], [gate] if gate.starts_with("lookup: value sum")),
        "{violated:?}"
    );
}

// --- hints ------------------------------------------------------------------------------------------------------------

/// Two distributions of three logits; the probabilities are the output. `change` edits the nodes: 0 logits, 1 hints,
/// 2 digits, 3 constant, 4 steps, 5 constant, 6 and 7 the bounds, 8 output.
fn softmax(f: Vec<u16>, change: impl FnOnce(&mut Vec<Node>)) -> QuantizedModel {
    let g: Vec<u16> = f[1..].iter().copied().chain([0]).collect();
    let target = 55;
    let axis = Axis {
        extent: 4,
        offset: 0,
        strides: vec![2, 0, 1],
    };
    let steps = Unit {
        high: true,
        tables: vec![0, 1],
        ..Unit::LINEAR
    };
    let mut nodes = vec![
        Node::Input { len: 6 },
        Node::Hint { len: 4 },
        Node::View {
            source: value(1, 0),
            view: View {
                loops: vec![2, 3, 2],
                axes: vec![axis],
            },
        },
        Node::Constant { len: 6 },
        neurons(
            6,
            steps,
            vec![
                public(value(2, 0), &[64, 4096]),
                public(value(0, 0), &[-50]),
                public(value(3, 0), &[32]),
            ],
        ),
        Node::Constant { len: 2 },
        neurons(
            2,
            Unit::LINEAR,
            vec![
                public(value(4, 1), &[1; 3]),
                public(value(5, 0), &[-target]),
            ],
        ),
        neurons(
            2,
            Unit::LINEAR,
            vec![
                public(value(4, 2), &[-1; 3]),
                public(value(5, 0), &[target - 1]),
            ],
        ),
        neurons(6, Unit::LINEAR, vec![public(value(4, 1), &[64])]),
    ];
    change(&mut nodes);
    let solver = HintSolver::Softmax {
        node: 1,
        logits: value(0, 0),
        lens: vec![3, 3],
        factor: 50,
        constant: 32,
        table: 0,
        target,
    };
    model(vec![f, g], nodes, 8, vec![solver])
}

fn exponential() -> Vec<u16> {
    (0..64)
        .map(|d| {
            if d == 63 {
                0
            } else {
                (63.0 * (-f64::from(d) / 9.0).exp()).round() as u16
            }
        })
        .collect()
}

#[test]
fn hint_that_nothing_pins() {
    // Without this refusal both `L` and `L + 1` would be provable outputs of the first of these.
    let nodes = vec![
        Node::Input { len: 2 },
        Node::Hint { len: 2 },
        neurons(2, Unit::LINEAR, vec![public(value(1, 0), &[64])]),
    ];
    let free = model(vec![], nodes, 2, vec![]);
    let linear = |node: usize, edit: &dyn Fn(&mut Neurons)| {
        softmax(exponential(), |nodes| {
            if let Node::Neurons(n) = &mut nodes[node] {
                edit(n)
            }
        })
    };
    let weight = |term: usize, weights: Vec<i64>| {
        move |n: &mut Neurons| n.terms[term].weights = Weights::Public(weights.clone())
    };
    let mut rising = exponential();
    rising[40] += 1;
    let cases: Vec<(&str, QuantizedModel)> = vec![
        ("nothing", free),
        ("no lower bound", linear(6, &|n| n.unit = Unit::RELU)),
        ("no upper bound", linear(7, &|n| n.unit = Unit::RELU)),
        ("bounds with a gap", linear(7, &weight(1, vec![55]))),
        (
            "a sum that leaves one out",
            linear(7, &weight(0, vec![-1, -1, 0])),
        ),
        (
            "a sum that scales one",
            linear(6, &weight(0, vec![1, 2, 1])),
        ),
        (
            "a secret bound",
            linear(6, &|n| n.terms[1].weights = Weights::Committed),
        ),
        (
            "bounds on the same table",
            linear(7, &|n| n.terms[0].patches.port = 1),
        ),
        (
            "secret digits",
            linear(4, &|n| n.terms[0].weights = Weights::Committed),
        ),
        ("other digits", linear(4, &weight(0, vec![64, 64]))),
        ("a clamp from below", linear(4, &|n| n.unit.low = true)),
        (
            "digits that cancel",
            linear(4, &|n| n.terms.push(public(value(2, 0), &[-64, -4096]))),
        ),
        ("a table that rises", softmax(rising, |_| {})),
        ("a table that is not the successor", {
            let mut model = softmax(exponential(), |_| {});
            model.program.tables[1] = vec![0; 64];
            model
        }),
        (
            "a hint to spare",
            softmax(exponential(), |nodes| nodes.push(Node::Hint { len: 1 })),
        ),
    ];
    assert!(
        Plan::new(
            softmax(exponential(), |_| {}).program,
            K,
            &Limits::default()
        )
        .is_ok()
    );
    for (name, model) in cases {
        let error = Plan::new(model.program, K, &Limits::default()).err();
        let refused = |reason: &str| reason == "a hint that the program does not pin down";
        assert!(
            matches!(&error, Some(CardError::Program(ProgramError::Node { reason, .. })) if refused(reason)),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn softmax_with_the_next_normaliser() {
    let secret = committed(softmax(exponential(), |_| {}));
    let input = [vec![10, 20, 30, 5, 5, 60]];
    assert!(judge(&secret, &input, &[], &mut Lie::default()).is_ok());
    for by in [1i64, -1] {
        let tables = secret.plan().program.tables.clone();
        let run = secret.infer_integers(&input).unwrap();
        // Everything is computed from the other `L`, so that only a bound on a sum can notice.
        let cells = |plan: &Plan, p: &mut witness::Phase1| {
            let set = |p: &mut witness::Phase1, node: usize, i: usize, y: i64| {
                let (lane, row) = cell(plan, node, i);
                p.accumulators[lane.first_candidate][row] = y;
                p.cells[lane.x][row] = (y >> 6) as u32;
                p.cells[lane.rem[0]][row] = (y & 63) as u32;
            };
            let (lane, row) = cell(plan, 1, 0);
            p.cells[lane.x][row] = p.cells[lane.x][row].wrapping_add_signed(by as i32);
            let mut sums = [0i64; 2];
            for i in 0..3 {
                let (lane, row) = cell(plan, 4, i);
                let y = p.accumulators[lane.first_candidate][row] + 64 * by;
                set(p, 4, i, y);
                for t in 0..2 {
                    let v = tables[t][(y >> 6) as usize];
                    p.cells[lane.tables[t]][row] = u32::from(v);
                    sums[t] += i64::from(v);
                }
                set(p, 8, i, 64 * i64::from(tables[0][(y >> 6) as usize]));
            }
            set(p, 6, 0, sums[0] - 55);
            set(p, 7, 0, 54 - sums[1]);
            assert!(sums[0] < 55 || sums[1] >= 55);
        };
        // A negative quotient as the field sees it.
        let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], _: Option<&Challenges>| {
            if phase == 1 {
                for node in [6, 7] {
                    let (lane, row) = cell(plan, node, 0);
                    let v = &mut columns[lane.x][row];
                    if *v == F::from(u64::from(u32::MAX)) {
                        *v = -F::ONE;
                    }
                }
            }
        };
        let outputs: Vec<(usize, i32)> = (0..3)
            .map(|i| {
                let f = &tables[0];
                let d = (0..64)
                    .find(|&d| i32::from(f[d]) == i32::from(run.output()[i]))
                    .unwrap() as i64;
                (
                    i,
                    i32::from(f[(d + by) as usize]) - i32::from(f[d as usize]),
                )
            })
            .collect();
        let mut lie = Lie {
            cells: Some(&cells),
            columns: Some(&columns),
            ..Lie::default()
        };
        let verdict = judge(&secret, &input, &outputs, &mut lie);
        assert_eq!(verdict, Err(Rejection::Circuit));
        // The bound's quotient is −1, which the range table does not hold.
        assert!(
            !lie.violated.is_empty() && lie.violated.iter().all(|g| g.starts_with("lookup: ")),
            "{:?}",
            lie.violated
        );
    }
}

// --- layouts ----------------------------------------------------------------------------------------------------------

#[test]
fn committed_output_read_in_another_order() {
    let plan = |nodes, output, k| {
        Plan::new(
            model(vec![], nodes, output, vec![]).program,
            k,
            &Limits::default(),
        )
        .unwrap()
    };
    let copy = |n: u32| {
        vec![
            Node::Input { len: n },
            neurons(n, Unit::LINEAR, vec![public(value(0, 0), &[64])]),
        ]
    };
    // A channel that does not fit a column is cut into even tiles; inputs fill one lane after the other.
    let (short, long) = (plan(copy(50), 1, 6), plan(copy(70), 1, 6));
    assert!(short.feeds(&short));
    assert!(!long.feeds(&long));
    assert!(!short.feeds(&plan(copy(50), 1, 7)));
}

// --- cards ------------------------------------------------------------------------------------------------------------

/// Verdict on a card whose first group's points are moved by multiples of bases; the support proof is made for the
/// honest weights.
fn moved(
    change: impl Fn(&Plan, &zkinfer_engine::AnyGenerators, &mut [C]),
) -> Result<(), CardError> {
    let honest = super::zoo::secret(K, 1);
    let plan = honest.plan();
    let mut card = honest.card().clone();
    let points = plan.groups[0].points;
    change(
        plan,
        &engine::generators(engine::Engine::Auto, &params(K)).unwrap(),
        &mut card.points[..points],
    );
    let folder = fold::Folder {
        generators: &engine::generators(engine::Engine::Auto, &params(K)).unwrap(),
        matrices: honest.matrices(),
        blinds: honest.blinds(),
    };
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    card.support = zkinfer_circuits::support::prove(
        &params(K),
        &card.digest(),
        &plan.groups,
        &folder,
        &mut rng,
    )
    .unwrap();
    Verifier::new(card, params(K), &Limits::default()).map(|_| ())
}

#[test]
fn weights_on_closing_and_blinding_rows() {
    let rows = (1usize << K) - BLINDING_ROWS - 1..1 << K;
    for row in rows {
        let shift = |_: &Plan, g: &zkinfer_engine::AnyGenerators, points: &mut [C]| {
            points[0] = (points[0] + engine::lagrange(g, row)).to_affine()
        };
        assert_eq!(moved(shift), Err(CardError::Support), "row {row}");
    }
}

#[test]
fn weights_outside_that_cancel_within_a_group() {
    let shift = |plan: &Plan, g: &zkinfer_engine::AnyGenerators, points: &mut [C]| {
        let outside = engine::lagrange(g, plan.layout.last - 1);
        assert!(points.len() > 1);
        points[0] = (points[0] + outside).to_affine();
        points[1] = (points[1] - outside).to_affine();
    };
    assert_eq!(moved(shift), Err(CardError::Support));
}

#[test]
fn support_proof_of_another_card_or_cut_short() {
    let (a, b) = (super::zoo::secret(K, 1), super::zoo::secret(K, 2));
    let refused = |change: &dyn Fn(&mut zkinfer_circuits::card::Card)| {
        let mut card = a.card().clone();
        change(&mut card);
        Verifier::new(card, params(K), &Limits::default()).map(|_| ())
    };
    assert_eq!(refused(&|_| {}), Ok(()));
    assert_eq!(
        refused(&|c| c.support = b.card().support.clone()),
        Err(CardError::Support)
    );
    assert_eq!(refused(&|c| c.info.push(1)), Err(CardError::Support));
    assert_eq!(refused(&|c| c.points.swap(0, 1)), Err(CardError::Support));
    assert_eq!(
        refused(&|c| c.points[0] = C::default()),
        Err(CardError::Support)
    );
    assert_eq!(
        refused(&|c| c.support.groups.truncate(1)),
        Err(CardError::Support)
    );
    assert_eq!(
        refused(&|c| c.support.groups[0].1.truncate(1)),
        Err(CardError::Support)
    );
    assert_eq!(
        refused(&|c| c.support.groups[0].0 = C::default()),
        Err(CardError::Support)
    );
    assert!(matches!(
        refused(&|c| c.points.truncate(1)),
        Err(CardError::Points { .. })
    ));
    assert!(matches!(
        refused(&|c| c.k += 1),
        Err(CardError::Params { .. })
    ));
}

#[test]
fn card_that_takes_for_ever() {
    let plan = |nodes: Vec<Node>, output, k| {
        Plan::new(
            model(vec![], nodes, output, vec![]).program,
            k,
            &Limits::default(),
        )
    };
    let grouped = |groups: u32| {
        let term = Term {
            patches: value(1, 0),
            inputs: 1,
            weights: Weights::Public(vec![64; groups as usize]),
        };
        let view = View {
            loops: vec![2 * groups],
            axes: vec![Axis {
                extent: 1,
                offset: 0,
                strides: vec![0],
            }],
        };
        let n = Neurons {
            groups,
            outputs: 1,
            positions: 2,
            unit: Unit::LINEAR,
            terms: vec![term],
        };
        vec![
            Node::Input { len: 1 },
            Node::View {
                source: value(0, 0),
                view,
            },
            Node::Neurons(n),
        ]
    };
    // Half a million groups: neither their lanes nor their blocks are searched once per group.
    assert!(matches!(
        plan(grouped(1 << 19), 2, 6),
        Err(CardError::Layout(_))
    ));
    let tall = plan(grouped(1 << 19), 2, 15).unwrap();
    let session = &mut zkinfer_circuits::verify::Session::new(&Digest([0; 32]));
    let challenges = session.challenges(&tall.layout, &[]).unwrap();
    let eta = session.eta(&tall.layout, &[]).unwrap();
    let late = session.late(&tall.layout, eta, &[]).unwrap();
    let coefficients = Coefficients::new(&tall.program, &tall.expanded, &tall.layout, &challenges);
    assert_ne!(coefficients.late(&late).0, F::ZERO);

    // One wide sum that many public outputs read, and one value that many terms read.
    let wide = vec![
        Node::Input { len: 1 },
        Node::View {
            source: value(0, 0),
            view: View {
                loops: vec![1 << 16],
                axes: vec![Axis {
                    extent: 1,
                    offset: 0,
                    strides: vec![0],
                }],
            },
        },
        Node::Sum {
            source: value(1, 0),
            group: 1 << 16,
        },
        Node::Neurons(Neurons {
            groups: 1,
            outputs: 1 << 16,
            positions: 1,
            unit: Unit::LINEAR,
            terms: vec![public(value(2, 0), &[1])],
        }),
    ];
    let mut wide = wide;
    if let Node::Neurons(n) = &mut wide[3] {
        n.terms[0].weights = Weights::Public(vec![1; 1 << 16]);
    }
    assert!(matches!(
        plan(wide, 3, 14),
        Err(CardError::Program(ProgramError::Node { node: 3, .. }))
    ));
    let long = 1 << 21;
    let many = vec![
        Node::Input { len: 1 },
        Node::View {
            source: value(0, 0),
            view: View {
                loops: vec![long],
                axes: vec![Axis {
                    extent: 1,
                    offset: 0,
                    strides: vec![0],
                }],
            },
        },
        Node::Neurons(Neurons {
            groups: 1,
            outputs: 1,
            positions: long,
            unit: Unit::LINEAR,
            terms: vec![public(value(1, 0), &[1]); 64],
        }),
    ];
    assert!(matches!(
        plan(many, 2, 16),
        Err(CardError::Program(ProgramError::Node { node: 2, .. }))
    ));
}

#[test]
fn card_that_overflows_the_stack() {
    // As many columns as the limit allows, most of them terms of one gate; a test has two megabytes of stack.
    let mut nodes = vec![Node::Input { len: 57 }];
    let repeat = View {
        loops: vec![2, 57],
        axes: vec![Axis {
            extent: 57,
            offset: 0,
            strides: vec![0, 1],
        }],
    };
    nodes.push(Node::View {
        source: value(0, 0),
        view: repeat,
    });
    for _ in 0..1500 {
        nodes.push(neurons(
            2,
            Unit::LINEAR,
            vec![Term {
                patches: value(1, 0),
                inputs: 57,
                weights: Weights::Committed,
            }],
        ));
    }
    let mut model = model(vec![], nodes, 2, vec![]);
    model.weights = (2..1502)
        .map(|node| crate::model::WeightTensor {
            node,
            term: 0,
            data: vec![0; 57],
        })
        .collect();
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let secret = Secret::commit(
        model,
        6,
        vec![],
        params(6),
        WeightVisibility::Hidden,
        &mut rng,
        &mut crate::progress::silent,
    )
    .unwrap();
    assert!(secret.plan().layout.columns.table >= 1500);
    Verifier::new(secret.card().clone(), params(6), &Limits::default()).unwrap();
}

// --- halo2 ------------------------------------------------------------------------------------------------------------

#[test]
fn halo2_sees_what_the_arguments_assume() {
    use halo2_proofs::plonk::{Circuit, ConstraintSystem};
    for model in [
        super::zoo::zoo(6),
        two_tables(),
        softmax(exponential(), |_| {}),
    ] {
        let plan = Plan::new(model.program, K, &Limits::default()).unwrap();
        let mut cs = ConstraintSystem::<F>::default();
        with_description(&plan.description, || {
            zkinfer_circuits::circuit::PlanCircuit::configure(&mut cs)
        });
        assert_eq!(cs.blinding_factors() + 1, BLINDING_ROWS);
        assert!(cs.degree() <= 5);
        assert!(plan.description.gates.iter().all(|g| g.poly.degree() <= 5));
        // Every gate is off on the blinding rows, whatever is there.
        for fixed in plan.fixed.iter().take(3) {
            assert!(fixed[plan.layout.last + 1..].iter().all(|&v| v == 0));
        }
    }
}
