//! Cards: points outside the weights' rows, support proofs of other cards, programs that cost too much.

use super::*;
use group::{Curve, CurveAffine as _};

/// Verdict on a card whose first group's points are moved by multiples of bases; the support proof is made for the
/// honest weights.
fn moved(
    change: impl Fn(&Plan, &zkinfer_engine::AnyGenerators, &mut [C]),
) -> Result<(), CardError> {
    let honest = zoo::secret(K, 1);
    let plan = honest.plan();
    let mut card = honest.card().clone();
    let points = plan.groups[0].points;
    change(
        plan,
        &engine::generators(engine::Engine::Auto, &params(K)).unwrap(),
        &mut card.segments[0].points[..points],
    );
    let card = zoo::supported(&honest, card);
    Verifier::new(card, bases(K), &Limits::default()).map(|_| ())
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
    let (a, b) = (zoo::secret(K, 1), zoo::secret(K, 2));
    let refused = |change: &dyn Fn(&mut zkinfer_circuits::card::Card)| {
        let mut card = a.card().clone();
        change(&mut card);
        Verifier::new(card, bases(K), &Limits::default()).map(|_| ())
    };
    assert_eq!(refused(&|_| {}), Ok(()));
    assert_eq!(
        refused(&|c| c.segments[0].support = b.card().segments[0].support.clone()),
        Err(CardError::Support)
    );
    assert_eq!(
        refused(&|c| c.segments[0].fixed = b.card().segments[0].fixed.clone()),
        Ok(()),
        "they are of the architecture"
    );
    assert_eq!(
        refused(&|c| c.segments[0].fixed.swap(3, 4)),
        Err(CardError::Key)
    );
    assert_eq!(
        refused(&|c| c.segments[0].fixed.truncate(1)),
        Err(CardError::Key)
    );
    assert_eq!(
        refused(&|c| c.segments[0].fixed.extend_from_within(..1)),
        Err(CardError::Key)
    );
    assert_eq!(
        refused(&|c| c.segments[0].fixed[0] = C::identity()),
        Err(CardError::Key)
    );
    assert_eq!(refused(&|c| c.info.push(1)), Err(CardError::Support));
    assert_eq!(
        refused(&|c| c.segments[0].points.swap(0, 1)),
        Err(CardError::Support)
    );
    assert_eq!(
        refused(&|c| c.segments[0].points[0] = C::default()),
        Err(CardError::Support)
    );
    assert_eq!(
        refused(&|c| c.segments[0].support.halvings.truncate(1)),
        Err(CardError::Support)
    );
    assert_eq!(
        refused(&|c| c.segments[0].support.rounds.truncate(1)),
        Err(CardError::Support)
    );
    let long = |c: &mut zkinfer_circuits::card::Card| {
        let support = &mut c.segments[0].support;
        support.rounds.push(support.mask);
    };
    assert_eq!(refused(&long), Err(CardError::Support));
    assert_eq!(
        refused(&|c| c.segments[0].support.mask[0] = C::default()),
        Err(CardError::Support)
    );
    assert_eq!(
        refused(&|c| c.segments[0].support.blind += F::ONE),
        Err(CardError::Support)
    );
    assert!(matches!(
        refused(&|c| c.segments[0].points.truncate(1)),
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
    // A quarter of a million groups: neither their lanes nor their blocks are searched once per group.
    assert!(matches!(
        plan(grouped(1 << 18), 2, 6),
        Err(CardError::Layout(_))
    ));
    let tall = plan(grouped(1 << 18), 2, 15).unwrap();
    let session = &mut zkinfer_circuits::verify::Session::new(&Digest([0; 32]));
    let challenges = session.challenges(&tall.layout, &[]).unwrap();
    let eta = session.eta(&tall.layout, &[]).unwrap();
    let late = session.late(&tall.layout, eta, &[]).unwrap();
    let coefficients = Coefficients::new(&tall.program, &tall.expanded, &tall.layout, &challenges);
    assert_ne!(coefficients.late(&tall.wiring, &late).unwrap().0, F::ZERO);

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
    // It is one piece, whose sum is computed once.
    let wide = plan(wide, 3, 14).unwrap();
    assert!(wide.wiring.pieces() < 10 && wide.expanded.memory() < 1 << 10);
    // A sum that begins with a large matrix of constants and goes on with steps of many softmaxes: it is walked once, and not
    // once for each of them.
    let softmaxes = hints::softmax(hints::exponential(), |nodes| {
        let first = nodes.len() as u32;
        nodes.extend(std::iter::repeat_n(nodes[4].clone(), 63));
        let (positions, inputs) = (20_000, 1000);
        nodes.push(Node::Constant {
            len: positions * inputs,
        });
        let everywhere = |source| Node::View {
            source,
            view: View {
                loops: vec![positions],
                axes: vec![Axis {
                    extent: 6,
                    offset: 0,
                    strides: vec![0],
                }],
            },
        };
        nodes.extend((0..63).map(|i| everywhere(value(first + i, 1))));
        let constants = public(value(first + 63, 0), &vec![1; inputs as usize]);
        let steps = (0..63).map(|i| public(value(first + 64 + i, 0), &[1]));
        let terms = [constants].into_iter().chain(steps).collect();
        nodes.push(neurons(positions, Unit::LINEAR, terms));
    });
    let mut program = softmaxes.program;
    let limits = Limits::default().program;
    let pinned = |program: &Program| {
        let expanded = program.expand(&limits).unwrap();
        zkinfer_circuits::hints::check(program, &expanded, u64::MAX).is_ok()
    };
    assert!(pinned(&program));
    if let Node::Neurons(n) = &mut program.nodes[7] {
        n.terms[1].weights = Weights::Public(vec![55]);
    }
    assert!(!pinned(&program));

    let long = 1 << 19;
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
    // Sixty-four terms that read half a million places each: a few pieces.
    let many = plan(many, 2, 15).unwrap();
    assert!(many.wiring.pieces() < 64 * 200 && many.expanded.memory() < 1 << 10);
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
    for _ in 0..750 {
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
    model.weights = (2..752)
        .map(|node| zkinfer_model::model::WeightTensor {
            node,
            term: 0,
            data: vec![0; 57],
        })
        .collect();
    let secret = secret_of(model, 6, 3);
    assert!(secret.plan().layout.columns.table >= 750);
    Verifier::new(secret.card().clone(), bases(6), &Limits::default()).unwrap();
}
