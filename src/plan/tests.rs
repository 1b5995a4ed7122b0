use super::*;
use zkinfer_circuits::program::{Axis, Neurons, Node, Term, Unit, ValueRef, View, Weights};

/// So many maxima of two numbers, and one neuron that reads the first.
fn maxima(positions: u32) -> Program {
    let read = |len: u32, of: u32| View {
        loops: vec![len],
        axes: vec![Axis {
            extent: of,
            offset: 0,
            strides: vec![0],
        }],
    };
    let neurons = |positions: u32, window: u32, patches: usize| {
        Node::Neurons(Neurons {
            groups: 1,
            outputs: 1,
            positions,
            unit: Unit {
                window,
                ..Unit::LINEAR
            },
            terms: vec![Term {
                patches: ValueRef::new(patches),
                inputs: 1,
                weights: Weights::Committed,
            }],
        })
    };
    let view = |source: usize, view| Node::View {
        source: ValueRef::new(source),
        view,
    };
    Program {
        range_bits: 8,
        tables: Vec::new(),
        nodes: vec![
            Node::Input { len: 1 },
            view(0, read(2 * positions, 1)),
            neurons(positions, 2, 1),
            view(2, read(1, positions)),
            neurons(1, 1, 3),
        ],
        outputs: vec![4],
    }
}

/// What has too many columns is no candidate, and a `k` that verifiers do not allow by default is taken where nothing less fits.
#[test]
fn a_larger_k_is_taken_where_no_smaller_one_fits() {
    let (large, small) = (maxima(25_000_000), maxima(1000));
    let options = PlanOptions::default();
    let choice = choose(&large, &options).unwrap();
    let tried: Vec<u32> = choice.candidates.iter().map(|c| c.k).collect();
    assert_eq!((choice.k(), tried), (17, vec![17]));
    assert!(choice.plan.layout.columns.advice() <= Limits::default().columns);
    let most = choose(&small, &options).unwrap().candidates;
    assert_eq!(most.last().map(|c| c.k), Some(Limits::default().k));

    // A bound is one.
    let bounded = PlanOptions {
        max_k: 16,
        ..options
    };
    match choose(&large, &bounded) {
        Err(CommitError::Plan(CardError::Limit { what, value, limit })) => {
            assert!(what == "columns" && value > limit, "{value} {what}");
        }
        other => panic!("{:?}", other.map(|choice| choice.k())),
    }
}
