//! Forgeries of rows that are looked up, and honest proofs of many shapes, that a review tried (`docs/protocol.md`, section 10).

use super::super::lies::{self, one_more, prove};
use super::super::zoo::{bases, params, supported_with};
use super::*;
use group::Curve;
use std::cell::RefCell;
use zkinfer_circuits::card::Proof;
use zkinfer_circuits::error::CardError;
use zkinfer_circuits::fold::{GatherChallenges, Source};
use zkinfer_circuits::program::Term;
use zkinfer_circuits::support::Slip;
use zkinfer_circuits::verify::{Limits, Verifier};
use zkinfer_model::model::{QuantizedModel, WeightTensor};

fn neurons(outputs: u32, positions: u32, unit: Unit, terms: Vec<Term>) -> Node {
    Node::Neurons(Neurons {
        groups: 1,
        outputs,
        positions,
        unit,
        terms,
    })
}

fn term(node: usize, port: u32, inputs: u32, weights: Weights) -> Term {
    Term {
        patches: ValueRef {
            node: node as u32,
            port,
        },
        inputs,
        weights,
    }
}

/// Rows of `rows`, `outputs` channels (in many lanes), looked up at `positions`; a product of what is looked up with itself.
fn wide(
    rows: u32,
    outputs: u32,
    positions: u32,
    unit: Unit,
    product: bool,
    port: u32,
) -> QuantizedModel {
    let mut state = 7u64;
    let mut roll = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let p = positions;
    let deep = Unit {
        deep: true,
        ..Unit::LINEAR
    };
    let mut nodes = vec![
        Node::Input { len: 2 * p },
        Node::Constant { len: p },
        // Something else first in the same bank as the rows.
        neurons(
            1,
            p,
            Unit::LINEAR,
            vec![term(0, 0, 2, Weights::Public(vec![3, 2]))],
        ),
        // Keys in two channels where that is possible.
        neurons(
            1,
            p,
            Unit::LINEAR,
            vec![term(0, 0, 2, Weights::Public(vec![1, 16]))],
        ),
        neurons(
            1,
            p,
            Unit::LINEAR,
            vec![
                term(0, 0, 2, Weights::Public(vec![1, 0])),
                term(1, 0, 1, Weights::Public(vec![2])),
            ],
        ),
        neurons(
            outputs,
            p,
            unit.clone(),
            vec![
                term(3, 0, rows, Weights::Gathered),
                term(1, 0, 1, Weights::Committed),
                term(4, 0, 18, Weights::Gathered),
                term(
                    2,
                    0,
                    1,
                    Weights::Public((0..outputs).map(|o| i64::from(o % 3)).collect()),
                ),
            ],
        ),
    ];
    let most = if unit.deep { 3000 } else { 150 };
    let mut weights = vec![
        WeightTensor {
            node: 5,
            term: 0,
            data: (0..outputs * rows).map(|_| roll(most) as i32).collect(),
        },
        WeightTensor {
            node: 5,
            term: 1,
            data: (0..outputs).map(|_| roll(9) as i32).collect(),
        },
        WeightTensor {
            node: 5,
            term: 2,
            data: (0..outputs * 18).map(|_| roll(50) as i32).collect(),
        },
    ];
    let (mut last, mut len) = (term(5, port, 0, Weights::Committed).patches, outputs * p);
    if product {
        let value = last;
        nodes.push(neurons(
            outputs,
            outputs,
            deep,
            vec![Term {
                patches: last,
                inputs: p,
                weights: Weights::Value { value, factor: 1 },
            }],
        ));
        (last, len) = (ValueRef { node: 6, port: 1 }, outputs * outputs);
    }
    let node = nodes.len() as u32;
    nodes.push(neurons(
        2,
        1,
        Unit::LINEAR,
        vec![Term {
            patches: last,
            inputs: len,
            weights: Weights::Committed,
        }],
    ));
    let mut data = vec![0; 2 * len as usize];
    for _ in 0..8 {
        data[roll(2 * u64::from(len)) as usize] = 1 + roll(2) as i32;
    }
    weights.push(WeightTensor {
        node,
        term: 0,
        data,
    });
    QuantizedModel {
        program: Program {
            range_bits: 4,
            tables: vec![],
            nodes,
            outputs: vec![node],
        },
        weights,
        hints: vec![],
        inputs: vec![],
        outputs: vec![],
        layers: vec![],
        decodings: vec![],
    }
}

#[test]
fn rows_of_many_lanes() {
    let deep = Unit {
        deep: true,
        ..Unit::LINEAR
    };
    let high = Unit {
        low: true,
        high: true,
        ..Unit::LINEAR
    };
    let deep_high = Unit {
        deep: true,
        ..high.clone()
    };
    let cases = [
        (40, 3, 2, Unit::LINEAR, false, 0, 7),
        (40, 3, 2, Unit::LINEAR, false, 1, 6),
        (60, 40, 20, Unit::LINEAR, false, 0, 6),
        (60, 40, 20, Unit::RELU, false, 0, 6),
        (200, 7, 56, high.clone(), false, 0, 6),
        (256, 9, 29, deep.clone(), false, 1, 6),
        (120, 5, 1, deep.clone(), true, 0, 6),
        (120, 6, 8, high, true, 0, 6),
        (120, 6, 8, deep, true, 1, 7),
        (57, 20, 3, deep_high, true, 0, 6),
    ];
    for (rows, outputs, positions, unit, product, port, k) in cases {
        let model = wide(rows, outputs, positions, unit.clone(), product, port);
        let secret = secret_of(model, k, 3);
        let layout = &secret.plan().layout;
        let run = |seed: u32| {
            let word = |i: u32| (i * i * 31 + seed * 17 + i) % rows.min(256);
            let input: Vec<u32> = (0..positions)
                .flat_map(|i| [word(i) % 16, word(i) / 16])
                .collect();
            secret.infer_integers(&[input])
        };
        let runs: Vec<Run> = match (0..2).map(run).collect() {
            Ok(runs) => runs,
            Err(e) => panic!("{rows} {outputs} {positions} {unit:?}: {e}"),
        };
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let proven = secret
            .prove_runs(&runs, &with_input(), b"", &mut rng)
            .unwrap();
        let verdicts = judged_runs(
            &verifier(&secret),
            &[Expected::default(), Expected::default()],
            &proven.proof,
        )
        .unwrap();
        for (verdict, run) in verdicts.iter().zip(&runs) {
            assert_eq!(verdict.output, Side::Public(run.output().to_vec()));
        }
        // Rows stand in columns of their own, one beside the other.
        assert!(!layout.gathered.is_empty(), "{rows} {outputs} {positions}");
    }
}

/// `−b_p` for the `V` columns, which depends on the first challenges alone.
fn beta(plan: &Plan, challenges: &zkinfer_circuits::fold::Challenges) -> Vec<Vec<F>> {
    let layout = &plan.layout;
    let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, challenges);
    let constants = layout.e_weights.as_ref().unwrap().constants;
    let late = zkinfer_circuits::fold::LateChallenges {
        eta: None,
        e: vec![F::from(3); constants],
        gather: None,
    };
    let beta = coefficients.late(&plan.wiring, &late).unwrap().1;
    beta[layout.columns.table + layout.columns.values..].to_vec()
}

/// The row of the first key of the first table, what is beside it in an honest proof, and what makes up for one more.
fn made_up(plan: &Plan, columns: &[Vec<F>], known: &Known) -> (usize, F, F) {
    let challenges = known.challenges.as_ref().unwrap();
    let coefficients = Coefficients::new(&plan.program, &plan.expanded, &plan.layout, challenges);
    let beta = beta(plan, challenges);
    let row = beta[0].iter().position(|b| *b != F::ZERO).unwrap();
    let honest = columns[plan.layout.gathered_column(0)][row];
    (
        row,
        honest,
        honest - lies::gap(plan, &coefficients) * beta[0][row].invert().unwrap(),
    )
}

/// Something else beside a key, paid for with a multiplicity that is no count. Accepted without `BoundPhase1`.
pub(in crate::prove::tests) fn fitted_count() -> bool {
    let secret = secret();
    let mut run = infer(&secret, 37, 23);
    run.forge_output(0, 1);
    let kept: RefCell<Option<(F, F)>> = RefCell::new(None); // entry of the table's first row, difference of fractions
    let told: RefCell<Option<(usize, F, F, F)>> = RefCell::new(None); // row, honest, made up, G of the first row
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        let (layout, sums) = (&plan.layout, &plan.description.sums);
        let piece = layout.gathers[0].pieces[0].clone();
        let multiplicity = layout.gather_multiplicity(piece.column);
        match phase {
            1 if !known.before.is_empty() => {
                let public =
                    |column: usize| known.before[column - layout.columns.public().start][0];
                let [alpha, theta] = sums.gather_constants.unwrap();
                let gather = GatherChallenges {
                    alpha: public(alpha),
                    theta: public(theta),
                };
                let (row, honest, value, first) = told.borrow().unwrap();
                let lane = &layout.lanes[layout.gathered[0].lane];
                let range = F::from(1 << layout.range_bits);
                let key = columns[lane.x][row] * range + columns[lane.rem[0]][row];
                let fraction = |value: F| gather.entry(key, value, F::ONE).invert().unwrap();
                let difference = fraction(value) - fraction(honest);
                let entry = gather.entry(F::ZERO, first, F::ONE);
                columns[multiplicity][piece.row] += entry * difference;
                *kept.borrow_mut() = Some((entry, difference));
            }
            2 => {
                let (row, honest, value) = made_up(plan, columns, known);
                let first = columns[layout.gather_column(piece.column)][piece.row];
                *told.borrow_mut() = Some((row, honest, value, first));
                columns[layout.gathered_column(0)][row] = value;
            }
            5 => {
                if let Some((_, difference)) = *kept.borrow() {
                    let (sum, _) = sums.gathers[piece.column];
                    columns[sum][piece.row + 1..]
                        .iter_mut()
                        .for_each(|v| *v += difference);
                }
            }
            _ => {}
        }
    };
    let tell = |before: Vec<Vec<F>>| {
        let mut lie = Fitted {
            run: 1,
            cells: Some(&one_more),
            columns: Some(&columns),
            known: Known {
                before,
                ..Known::default()
            },
            ..Fitted::default()
        };
        let proof = prove(&secret, &run, b"", &mut lie);
        (proof, lie.known.public)
    };
    let (_, public) = tell(vec![]);
    let (proof, _) = tell(public);
    verifier(&secret)
        .verify(&Expected::default(), &proof)
        .is_ok()
}

/// Another folded row, and the same beside its key: only the link knows the model. In run number `run` of `runs`.
fn another_model(runs: usize, own: bool) -> Result<(), Rejection> {
    let secret = secret();
    let mut all = vec![infer(&secret, 37, 23); runs];
    all[runs - 1].forge_output(0, 1);
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        if phase == 2 {
            let (row, _, value) = made_up(plan, columns, known);
            let piece = plan.layout.gathers[0].pieces[0].clone();
            columns[plan.layout.gathered_column(0)][row] = value;
            columns[plan.layout.gather_column(piece.column)][piece.row + 37] = value;
        }
    };
    let mut lie = Fitted {
        run: runs,
        cells: Some(&one_more),
        columns: Some(&columns),
        own: if own {
            secret.plan().fold_columns()
        } else {
            vec![]
        },
        ..Fitted::default()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    if runs == 1 {
        let proof = prove(&secret, &all[0], b"", &mut lie);
        return judged(&verifier(&secret), &Expected::default(), &proof).map(|_| ());
    }
    let proof: Proof = secret
        .prove_runs_with(&all, &with_input(), b"", &mut lie, &mut rng)
        .unwrap()
        .proof;
    judged_runs(&verifier(&secret), &vec![Expected::default(); runs], &proof).map(|_| ())
}

/// As [`another_model`], without batches and upstream: with the feature `mutations` a check may be off.
pub(in crate::prove::tests) fn another_folded_row() -> bool {
    let secret = secret();
    let mut run = infer(&secret, 37, 23);
    run.forge_output(0, 1);
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        if phase == 2 {
            let (row, _, value) = made_up(plan, columns, known);
            let piece = plan.layout.gathers[0].pieces[0].clone();
            columns[plan.layout.gathered_column(0)][row] = value;
            columns[plan.layout.gather_column(piece.column)][piece.row + 37] = value;
        }
    };
    let mut lie = Fitted {
        run: 1,
        cells: Some(&one_more),
        columns: Some(&columns),
        ..Fitted::default()
    };
    let proof = prove(&secret, &run, b"", &mut lie);
    verifier(&secret)
        .verify(&Expected::default(), &proof)
        .is_ok()
}

#[test]
fn rows_of_another_model() {
    assert!(!fitted_count());
    assert!(!another_folded_row());
    assert_eq!(another_model(1, false), Err(Rejection::Link));
    assert!(matches!(
        another_model(2, true),
        Err(Rejection::Malformed { .. })
    ));
    #[cfg(feature = "mutations")]
    {
        use zkinfer_circuits::checks::{Check, without};
        assert!(without(Check::BoundPhase1, fitted_count));
        assert!(without(Check::Link, another_folded_row));
    }
}

/// Another `β` beside a key.
#[test]
fn another_beta_beside_a_key() {
    let secret = secret();
    let mut run = infer(&secret, 37, 23);
    run.forge_output(0, 1);
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        if phase == 4 {
            let challenges = known.challenges.as_ref().unwrap();
            let layout = &plan.layout;
            let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, challenges);
            let at = plan.description.sums.beta[layout.columns.table + layout.columns.values];
            let row = columns[at].iter().position(|b| *b != F::ZERO).unwrap();
            let value = columns[layout.gathered_column(0)][row];
            columns[at][row] -= lies::gap(plan, &coefficients) * value.invert().unwrap();
        }
    };
    let mut lie = Fitted {
        run: 1,
        cells: Some(&one_more),
        columns: Some(&columns),
        ..Fitted::default()
    };
    let proof = prove(&secret, &run, b"", &mut lie);
    assert_eq!(
        judged(&verifier(&secret), &Expected::default(), &proof).map(|_| ()),
        Err(Rejection::Link)
    );
}

/// An entry of one table's points on a row of the other one's, which shares its column, on a row without number, on the closing row.
#[test]
fn entries_of_a_table_elsewhere_in_its_column() {
    let honest = secret();
    let plan = honest.plan();
    let is = |g: &zkinfer_circuits::fold::Group, n: usize| matches!(g.source, Source::Gather { gather, .. } if gather == n);
    let first = plan.groups.iter().position(|g| is(g, 0)).unwrap();
    let second = plan.groups.iter().find(|g| is(g, 1)).unwrap();
    assert_eq!(plan.groups[first].column, second.column);
    let at: usize = plan.groups[..first].iter().map(|g| g.points).sum();
    let generators = engine::generators(Engine::Auto, &params(7)).unwrap();
    for row in [
        second.rows[0],
        *second.rows.last().unwrap(),
        plan.layout.last as u32 - 1,
        plan.layout.last as u32,
    ] {
        assert!(!plan.groups[first].rows.contains(&row));
        for slip in [Slip::Nowhere, Slip::Halvings, Slip::Mask, Slip::Rounds] {
            let mut card = honest.card().clone();
            card.segments[0].points[at] = (card.segments[0].points[at]
                + engine::lagrange(&generators, row as usize))
            .to_affine();
            let card = supported_with(&honest, card, &[(first, row, F::ONE)], slip);
            let refused = Verifier::new(card, bases(7), &Limits::default()).map(|_| ());
            assert_eq!(refused, Err(CardError::Support), "{row} {slip:?}");
        }
    }
}

/// Hostile programs around keys: none panics, and none is accepted that should not be.
#[test]
fn hostile_keys() {
    let plan = |change: &dyn Fn(&mut Program)| {
        let mut program = gathers(ROWS).program;
        change(&mut program);
        Plan::new(program, 7, &Limits::default()).map(|_| ())
    };
    assert_eq!(plan(&|_| {}), Ok(()));
    let at = |p: &mut Program, node: usize, f: &dyn Fn(&mut Neurons)| {
        if let Node::Neurons(n) = &mut p.nodes[node] {
            f(n);
        }
    };
    // The bits below a key, a view of keys, the input itself, a deep key, keys of a maximum.
    assert!(plan(&|p| at(p, 5, &|n| n.terms[0].patches.port = 1)).is_err());
    assert!(plan(&|p| at(p, 5, &|n| n.terms[0].patches = ValueRef::new(3))).is_err());
    assert!(plan(&|p| at(p, 2, &|n| n.unit.deep = true)).is_err());
    assert!(plan(&|p| at(p, 2, &|n| n.unit.high = true)).is_err());
    // Extreme public weights of keys.
    assert_eq!(
        plan(&|p| at(p, 2, &|n| n.terms[0].weights =
            Weights::Public(vec![i64::MIN, i64::MAX]))),
        Ok(())
    );
    // Tables of any size are refused or planned, and there are no more rows than a verifier accepts.
    for rows in [1, 1 << 20, 1 << 21, 1 << 26, (1 << 26) + 1, u32::MAX] {
        for k in [6, 7, 13, 16] {
            let mut program = gathers(1).program;
            at(&mut program, 5, &|n| n.terms[0].inputs = rows);
            let planned = Plan::new(program, k, &Limits::default()).is_ok();
            assert!(!planned || rows < 1 << 21, "{rows} rows at k = {k}");
            assert!(planned || rows > 1, "{rows} rows at k = {k}");
        }
    }
}

/// Two numbers as an output, one number as the next one's input.
#[test]
fn one_number_where_two_were() {
    use super::super::lies::statements::{copies, proofs};
    use super::super::zoo::dense;
    use crate::secret::WeightVisibility;
    use zkinfer_interface::{Interface, TensorInterface};
    let tensor = |len: usize, scale: Vec<f64>, low_bits: u32| TensorInterface {
        name: "x".into(),
        shape: vec![len],
        scale,
        zero_point: vec![3.0],
        integers: false,
        labels: Vec::new(),
        low_bits,
    };
    let make = |model, input, output| {
        let interface = Interface {
            name: String::new(),
            inputs: vec![input],
            outputs: vec![output],
        };
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        Secret::commit_at(
            model,
            6,
            interface.to_info().unwrap(),
            params(6),
            WeightVisibility::Hidden,
            &mut rng,
            &mut zkinfer_model::progress::silent,
        )
        .unwrap()
    };
    let first = make(
        dense(6),
        tensor(4, vec![1.0], 0),
        tensor(2, vec![0.5, 32.0], 0),
    );
    let second = make(
        copies(6, 2),
        tensor(1, vec![0.5], 6),
        tensor(2, vec![0.5], 0),
    );
    let (written, read) = proofs(&first, &second, |_| {});
    let verifier = |secret: &Secret| {
        Verifier::new(secret.card().clone(), bases(6), &Limits::default()).unwrap()
    };
    let (a, b) = (verifier(&first), verifier(&second));
    let expected = Expected::default();
    let verdicts =
        zkinfer_verifier::verify_chain(&[(&a, &expected, &written), (&b, &expected, &read)]);
    assert!(
        matches!(verdicts, Err(zkinfer_verifier::ChainError::Scale { .. })),
        "{verdicts:?}"
    );
}

/// What one run looks up is counted in the other one.
#[test]
fn counts_of_another_run() {
    struct Traded(usize);
    impl Deviation for Traded {
        fn multiplicities(&mut self, plan: &Plan, phase1: &mut Phase1) {
            self.0 += 1;
            let piece = &plan.layout.gathers[0].pieces[0];
            let count =
                &mut phase1.cells[plan.layout.gather_multiplicity(piece.column)][piece.row + 37];
            *count = if self.0 == 1 { *count - 1 } else { *count + 1 };
        }
    }
    let secret = secret();
    let runs = [infer(&secret, 37, 23), infer(&secret, 1, 2)];
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let proof = secret
        .prove_runs_with(&runs, &with_input(), b"", &mut Traded(0), &mut rng)
        .unwrap()
        .proof;
    let verdict =
        judged_runs(&verifier(&secret), &vec![Expected::default(); 2], &proof).map(|_| ());
    assert_eq!(verdict, Err(Rejection::Circuit));
}

/// What is beside a key of one run is what the other run's key looks up.
#[test]
fn weights_of_another_run() {
    struct Exchanged<'a>(usize, &'a Run, &'a Run);
    impl Deviation for Exchanged<'_> {
        fn columns(&mut self, plan: &Plan, phase: u8, columns: &mut [Vec<F>]) {
            if phase == 2 {
                self.0 += 1;
                let other = if self.0 == 1 { self.2 } else { self.1 };
                let own = Phase1::new(plan, &other.traces[0]);
                let values = gather::looked_up(plan, &own, columns);
                let first = plan.layout.gathered_column(0);
                columns[first..first + values.len()].clone_from_slice(&values);
            }
        }
    }
    let secret = secret();
    let runs = [infer(&secret, 37, 23), infer(&secret, 1, 2)];
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let proof = secret
        .prove_runs_with(
            &runs,
            &with_input(),
            b"",
            &mut Exchanged(0, &runs[0], &runs[1]),
            &mut rng,
        )
        .unwrap()
        .proof;
    let verdict =
        judged_runs(&verifier(&secret), &vec![Expected::default(); 2], &proof).map(|_| ());
    assert_eq!(verdict, Err(Rejection::Circuit));
}
