//! Cards that must not be accepted: programs, hints, commitments, parameters.

use super::super::audit::hints::{exponential, softmax};
use super::super::zoo::{recurrent, supported, supported_with, zoo};
use super::*;
use ff::Field as _;
use group::Curve;
use zkinfer_circuits::card::{Card, FileKind, open, seal};
use zkinfer_circuits::generators::Generators;
use zkinfer_circuits::program::{
    Axis, Neurons, Node, Program, ProgramLimits, Term, Unit, ValueRef, View, Weights,
};
use zkinfer_circuits::statement::segment_digest;
use zkinfer_circuits::support::Slip;
use zkinfer_circuits::transcript::Transcript;

pub(super) const LIES: &[Told] = &[
    ("maximum_with_an_upper_clamp", Check::MaximumAlone, || {
        expands(maximum(|unit| unit.high = true))
    }),
    ("maximum_with_a_table", Check::MaximumAlone, || {
        expands(maximum(|unit| unit.tables.push(0)))
    }),
    ("table_beyond_the_range", Check::TableRange, || {
        expands(changed(zoo(BITS).program, |p| p.tables[0][5] = 64))
    }),
    ("output_twice", Check::OutputOnce, || {
        expands(changed(zoo(BITS).program, |p| p.outputs.push(13)))
    }),
    ("output_with_a_table", Check::OutputPlain, || {
        expands(changed(zoo(BITS).program, |p| p.outputs.push(8)))
    }),
    ("step_with_another_unit", Check::FamilyShape, || {
        expands(family(|n| n.unit = Unit::RELU))
    }),
    ("step_with_other_public_weights", Check::FamilyShape, || {
        expands(family(|n| n.terms[3].weights = Weights::Public(vec![5; 2])))
    }),
    ("step_that_is_an_output", Check::FamilyOutput, || {
        expands(changed(recurrent(BITS, 2, true).program, |p| {
            p.outputs = vec![12]
        }))
    }),
    ("hints_with_a_rising_table", Check::HintFalls, || {
        let mut rising = exponential();
        rising[40] += 1;
        plans(softmax(rising, |_| {}).program)
    }),
    (
        "hints_with_a_table_that_ends_high",
        Check::HintFollows,
        || {
            // g(top) = 0 < f(top) = 1: two normalisers far enough apart meet both bounds.
            let ends_high = exponential().into_iter().map(|f| f.max(1)).collect();
            plans(softmax(ends_high, |_| {}).program)
        },
    ),
    (
        "hints_with_a_table_that_does_not_follow",
        Check::HintFollows,
        || {
            plans(changed(softmax(exponential(), |_| {}).program, |p| {
                p.tables[1] = vec![0; 64]
            }))
        },
    ),
    (
        "hints_that_multiply_an_activation",
        Check::HintOperands,
        hint_as_operand,
    ),
    ("hints_that_cancel", Check::HintReads, || {
        step_of_hints(|n| n.terms.push(public(2, &[-64, -4096])))
    }),
    (
        "hints_with_a_step_counted_twice",
        Check::HintRepeats,
        || {
            bound_of_hints(6, |n| {
                n.terms.push(Term {
                    patches: ValueRef { node: 4, port: 1 },
                    inputs: 3,
                    weights: Weights::Public(vec![1; 3]),
                })
            })
        },
    ),
    (
        "hints_with_two_normalisers_in_a_sum",
        Check::HintOne,
        || {
            plans(
                softmax(exponential(), |nodes| {
                    nodes[2] = view(1, &[3, 2, 2], 4, &[0, 2, 1]);
                })
                .program,
            )
        },
    ),
    ("hints_with_a_gap_between_bounds", Check::HintGap, || {
        bound_of_hints(7, |n| n.terms[1].weights = Weights::Public(vec![55]))
    }),
    ("weight_outside_the_architecture", Check::Support, || {
        supports(|points, outside| points[0] = (points[0] + outside).to_affine())
    }),
    (
        "weights_outside_that_cancel_within_a_group",
        Check::SupportGamma,
        || {
            supports(|points, outside| {
                points[0] = (points[0] + outside).to_affine();
                points[1] = (points[1] - outside).to_affine();
            })
        },
    ),
    (
        "weights_outside_that_cancel_between_rows",
        Check::SupportSigma,
        || {
            let value = F::from(5);
            admits(&[(0, 1, value), (0, 2, -value)], Slip::Nowhere)
        },
    ),
    (
        "weights_outside_that_cancel_between_groups",
        Check::SupportTau,
        || {
            let value = F::from(5);
            admits(&[(0, 1, value), (1, 1, -value)], Slip::Nowhere)
        },
    ),
    (
        "weight_outside_hidden_in_a_halving",
        Check::SupportHalvings,
        || admits(&[(0, 1, F::ONE)], Slip::Halvings),
    ),
    (
        "weight_outside_hidden_by_the_mask",
        Check::SupportMask,
        || admits(&[(0, 1, F::ONE)], Slip::Mask),
    ),
    (
        "weight_outside_whose_product_is_not_looked_at",
        Check::SupportValue,
        || admits(&[(0, 1, F::ONE)], Slip::Nowhere),
    ),
    (
        "weight_outside_hidden_in_a_round",
        Check::SupportRounds,
        || admits(&[(0, 1, F::ONE)], Slip::Rounds),
    ),
    ("table_with_another_entry", Check::Key, || {
        keyed(|card, entry| {
            card.segments[0].fixed[3] = (card.segments[0].fixed[3] + entry).to_affine()
        })
    }),
    // What is left out counts as a table of zeros.
    ("table_without_a_commitment", Check::KeyLength, || {
        keyed(|card, _| {
            card.segments[0].fixed.pop();
        })
    }),
    ("tables_whose_differences_cancel", Check::KeyPowers, || {
        keyed(|card, entry| {
            card.segments[0].fixed[3] = (card.segments[0].fixed[3] + entry).to_affine();
            card.segments[0].fixed[4] = (card.segments[0].fixed[4] - entry).to_affine();
        })
    }),
    (
        "tables_chosen_behind_the_challenge",
        Check::KeyBound,
        || {
            keyed(|card, entry| {
                let mut transcript = Transcript::new("zkinfer key v1");
                transcript.bytes(&segment_digest(&card.digest(), 0).0);
                transcript.bytes(&[]);
                let inverse = transcript.challenge().invert().unwrap();
                card.segments[0].fixed[3] = (card.segments[0].fixed[3] + entry).to_affine();
                card.segments[0].fixed[4] =
                    (card.segments[0].fixed[4] - entry * inverse).to_affine();
            })
        },
    ),
    ("generators_of_ones_choice", Check::ParamsDigest, || {
        let honest = bases(6).to_bytes();
        let mut payload = open(FileKind::Generators, &honest, honest.len())
            .unwrap()
            .to_vec();
        payload[4..132].rotate_left(64);
        Generators::from_bytes(&seal(FileKind::Generators, &payload)).is_ok()
    }),
];

fn expands(program: Program) -> bool {
    program.expand(&ProgramLimits::default()).is_ok()
}

fn plans(program: Program) -> bool {
    Plan::new(program, 7, &Limits::default()).is_ok()
}

fn changed(mut program: Program, change: impl FnOnce(&mut Program)) -> Program {
    change(&mut program);
    program
}

fn neurons(program: &mut Program, node: usize) -> &mut Neurons {
    match &mut program.nodes[node] {
        Node::Neurons(n) => n,
        other => panic!("{other:?}"),
    }
}

/// The zoo with another maximum of three.
fn maximum(change: impl FnOnce(&mut Unit)) -> Program {
    changed(zoo(BITS).program, |p| change(&mut neurons(p, 11).unit))
}

/// A recurrence with another last step.
fn family(change: impl FnOnce(&mut Neurons)) -> Program {
    changed(recurrent(BITS, 2, true).program, |p| change(neurons(p, 12)))
}

fn public(node: usize, weights: &[i64]) -> Term {
    Term {
        patches: ValueRef::new(node),
        inputs: weights.len() as u32,
        weights: Weights::Public(weights.to_vec()),
    }
}

fn view(source: usize, loops: &[u32], extent: u32, strides: &[i64]) -> Node {
    Node::View {
        source: ValueRef::new(source),
        view: View {
            loops: loops.to_vec(),
            axes: vec![Axis {
                extent,
                offset: 0,
                strides: strides.to_vec(),
            }],
        },
    }
}

/// A softmax whose steps or bounds are other ones.
fn bound_of_hints(node: usize, change: impl FnOnce(&mut Neurons)) -> bool {
    let program = softmax(exponential(), |_| {}).program;
    plans(changed(program, |p| change(neurons(p, node))))
}

fn step_of_hints(change: impl FnOnce(&mut Neurons)) -> bool {
    bound_of_hints(4, change)
}

/// A step that multiplies a logit by a hint.
fn hint_as_operand() -> bool {
    plans(
        softmax(exponential(), |nodes| {
            nodes[3] = view(1, &[1], 4, &[0]);
            if let Node::Neurons(n) = &mut nodes[4] {
                n.terms[2] = Term {
                    patches: ValueRef::new(0),
                    inputs: 1,
                    weights: Weights::Value {
                        value: ValueRef::new(3),
                        factor: 1,
                    },
                };
            }
        })
        .program,
    )
}

/// A card whose points were changed, with a support proof for the honest weights.
fn accepts(change: impl FnOnce(&Plan, &zkinfer_engine::AnyGenerators, &mut [C])) -> bool {
    let honest = secret_of(zoo(BITS), 7, 1);
    let mut card = honest.card().clone();
    let generators = engine::generators(engine::Engine::Auto, &params(7)).unwrap();
    change(honest.plan(), &generators, &mut card.segments[0].points);
    let card = supported(&honest, card);
    Verifier::new(card, bases(7), &Limits::default()).is_ok()
}

/// A card whose commitments to fixed columns were changed; what a table's entry on some row adds.
fn keyed(change: impl FnOnce(&mut Card, C)) -> bool {
    let honest = secret_of(zoo(BITS), 7, 1);
    let mut card = honest.card().clone();
    let generators = engine::generators(engine::Engine::Auto, &params(7)).unwrap();
    change(&mut card, engine::lagrange(&generators, 5));
    Verifier::new(card, bases(7), &Limits::default()).is_ok()
}

/// The first group's points, and a generator outside its rows.
fn supports(change: impl FnOnce(&mut [C], C)) -> bool {
    accepts(|plan, generators, points| {
        let outside = engine::lagrange(generators, plan.layout.last - 1);
        assert!(!plan.groups[0].rows.contains(&(plan.layout.last as u32 - 1)));
        change(&mut points[..plan.groups[0].points], outside);
    })
}

/// Entries outside the rows of their groups' first points, `(group, how many rows before the last, value)`, with a support
/// proof by an owner who knows them and puts what its claim is wrong by where it may help.
fn admits(entries: &[(usize, usize, F)], slip: Slip) -> bool {
    let honest = secret_of(zoo(BITS), 7, 1);
    let plan = honest.plan();
    let mut card = honest.card().clone();
    let generators = engine::generators(engine::Engine::Auto, &params(7)).unwrap();
    let mut elsewhere = Vec::new();
    for &(group, before, value) in entries {
        let row = plan.layout.last - before;
        assert!(!plan.groups[group].rows.contains(&(row as u32)));
        let first: usize = plan.groups[..group].iter().map(|g| g.points).sum();
        let outside = engine::lagrange(&generators, row) * value;
        card.segments[0].points[first] = (card.segments[0].points[first] + outside).to_affine();
        elsewhere.push((group, row as u32, value));
    }
    let card = supported_with(&honest, card, &elsewhere, slip);
    Verifier::new(card, bases(7), &Limits::default()).is_ok()
}
