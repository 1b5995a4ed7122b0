//! Forgeries that were tried against the whole protocol, each named for its lie: cards, hints, tables, layouts.

mod cards;
pub(super) mod hints;
mod tables;

use super::zoo::{bases, judged, params, secret_of, violated};
use super::*;
use crate::secret::{Proven, Secret, Visibility};
use zkinfer_circuits::circuit::with_description;
use zkinfer_circuits::error::{CardError, ProgramError, Rejection};
use zkinfer_circuits::fold::Challenges;
use zkinfer_circuits::layout::Lane;
use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, Term, Unit, ValueRef, View, Weights,
};
use zkinfer_circuits::statement::Side;
use zkinfer_circuits::verify::{Expected, Limits, Verifier};
use zkinfer_model::model::QuantizedModel;
use zkinfer_model::run::HintSolver;

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
    secret_of(model, K, 3)
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
    fn filled(&mut self, plan: &Plan, columns: &[Vec<F>]) {
        self.violated = violated(plan, columns);
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
    let verifier = Verifier::new(secret.card().clone(), bases(K), &Limits::default()).unwrap();
    judged(&verifier, &Expected::default(), &proof).map(|v| v.output)
}

/// The lane and row of a node's neuron, input or hint.
fn cell(plan: &Plan, node: usize, index: usize) -> (&Lane, usize) {
    let cell = plan.layout.placements[node]
        .as_ref()
        .unwrap()
        .cells
        .get(index);
    (
        &plan.layout.lanes[plan.layout.ports[cell.port as usize].lane],
        cell.row as usize,
    )
}

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

#[test]
fn halo2_sees_what_the_arguments_assume() {
    use halo2_proofs::plonk::{Circuit, ConstraintSystem};
    for model in [
        super::zoo::zoo(6),
        tables::two_tables(),
        hints::softmax(hints::exponential(), |_| {}),
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
