//! Proofs of models of several segments that are not what they seem.

use super::super::zoo::secret_of_segments;
use super::statements::copies;
use super::*;
use ff::Field;
use zkinfer_circuits::program::{Neurons, Node, Program, Term, Unit, ValueRef, View, Weights};
use zkinfer_model::model::QuantizedModel;

pub(super) const LIES: &[Told] = &[
    ("segment_left_out", Check::SegmentCount, || {
        let secret = secret_of_segments(vec![copies(6, 2), copies(6, 2)], 6, 3);
        let run = secret.infer_integers(&[vec![1, 2]]).unwrap();
        let mut proof = prove(&secret, &run, b"", &mut Honest);
        proof.segments.truncate(1);
        // Whatever comes out of the second one.
        proof.runs[0].1 = Claim::Values(vec![7, 7]);
        verifier(&secret).verify(&expected(b""), &proof).is_ok()
    }),
    (
        "segment_in_the_place_of_another",
        Check::BoundSegment,
        in_the_place_of_another,
    ),
    (
        "segments_that_read_in_another_order",
        Check::SegmentFits,
        || {
            let secret = secret_of_segments(vec![turned(), copies(6, 5)], 6, 3);
            // As they stand in the lane, and not as they are put out.
            let bend = |flow: &[u16]| [&flow[3..], &flow[..3]].concat();
            let run = secret.infer_through(&[vec![1, 2, 3, 4, 5]], &bend);
            let run = run.unwrap();
            assert_eq!(run.output(), [1, 2, 3, 4, 5]);
            let proof = prove(&secret, &run, b"", &mut Honest);
            let limits = Limits::default();
            Verifier::new(secret.card().clone(), bases(6), &limits)
                .is_ok_and(|v| v.verify(&expected(b""), &proof).is_ok())
        },
    ),
];

/// One proof of a segment for two that are alike, and whose inputs and outputs are.
fn in_the_place_of_another() -> bool {
    let secret = secret_of_segments(vec![copies(6, 2), copies(6, 2)], 6, 3);
    let run = secret.infer_integers(&[vec![1, 2]]).unwrap();
    let plan = secret.segments()[0].plan();
    let cells = plan.layout.input_cells(&plan.program).collect();
    let lanes: Vec<usize> = plan.layout.input_lanes().map(|l| l.x).collect();
    let blinds = vec![F::ZERO; lanes.len()];
    let points = plan.commit_side(secret.params(), cells, &lanes, run.input(), &blinds);
    let side = Side::Committed(points.clone());
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let runs = std::slice::from_ref(&run);
    let sides = [(side.clone(), side)];
    let mut first = secret
        .prove_statement(runs, &sides, b"", &mut Honest, &mut rng)
        .unwrap();
    let mut second = first.clone();
    first.boundary = vec![points.clone()];
    second.boundary.clear();
    let proof = Proof {
        card: secret.card().digest(),
        context: vec![],
        runs: vec![(Claim::Committed(points.clone()), Claim::Committed(points))],
        segments: vec![first, second],
    };
    verifier(&secret).verify(&expected(b""), &proof).is_ok()
}

/// Puts out its inputs in two nodes, the last ones first.
fn turned() -> QuantizedModel {
    let part = |first: i64, len: u32| Node::View {
        source: ValueRef::new(0),
        view: View {
            loops: vec![len],
            axes: vec![zkinfer_circuits::program::Axis {
                extent: 5,
                offset: first,
                strides: vec![1],
            }],
        },
    };
    let copy = |from: usize, len: u32| {
        Node::Neurons(Neurons {
            groups: 1,
            outputs: 1,
            positions: len,
            unit: Unit::LINEAR,
            terms: vec![Term {
                patches: ValueRef::new(from),
                inputs: 1,
                weights: Weights::Public(vec![1 << 6]),
            }],
        })
    };
    QuantizedModel {
        program: Program {
            nodes: vec![
                Node::Input { len: 5 },
                part(0, 2),
                part(2, 3),
                copy(1, 2),
                copy(2, 3),
            ],
            outputs: vec![4, 3],
            ..copies(6, 5).program
        },
        ..copies(6, 5)
    }
}
