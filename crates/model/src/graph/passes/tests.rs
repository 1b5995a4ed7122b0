//! What clean-up makes of graphs computes what they did.

use super::simplify;
use crate::graph::{Activation, Graph, GraphNode, Op, ScalarFn, ScalarOp};
use zkinfer_circuits::program::{Axis, View};

fn node(op: Op, inputs: &[usize], len: usize) -> GraphNode {
    GraphNode {
        name: String::new(),
        op,
        inputs: inputs.to_vec(),
        shape: vec![1, len],
        tie: None,
    }
}

fn apply(op: ScalarOp) -> Op {
    Op::Activation(Activation::Scalar(ScalarFn::Apply(
        op,
        Box::new(ScalarFn::X),
    )))
}

/// `√(a² + b²)` of the halves of an input, or of two inputs.
fn magnitude(one_input: bool) -> Graph {
    let half = |offset: i64| View {
        loops: vec![3],
        axes: vec![Axis {
            extent: 6,
            offset,
            strides: vec![1],
        }],
    };
    let (mut nodes, inputs) = match one_input {
        true => (
            vec![
                node(Op::Input, &[], 6),
                node(Op::View(half(0)), &[0], 3),
                node(Op::View(half(3)), &[0], 3),
            ],
            vec![0],
        ),
        false => (
            vec![
                node(Op::Input, &[], 3),
                node(Op::Input, &[], 3),
                node(Op::View(View::identity(3)), &[1], 3),
            ],
            vec![0, 1],
        ),
    };
    let of = if one_input { [1, 2] } else { [0, 2] };
    nodes.extend([
        node(apply(ScalarOp::Square), &[of[0]], 3),
        node(apply(ScalarOp::Square), &[of[1]], 3),
        node(Op::Add, &[3, 4], 3),
        node(apply(ScalarOp::Sqrt), &[5], 3),
    ]);
    Graph {
        nodes,
        inputs,
        outputs: vec![6],
        ..Graph::default()
    }
}

fn outputs(graph: &Graph, inputs: &[Vec<f32>]) -> Vec<Vec<f32>> {
    graph.outputs_of(&graph.run(inputs).unwrap())
}

fn has_products(graph: &Graph) -> bool {
    graph.nodes.iter().any(|n| matches!(n.op, Op::MatMul(_)))
}

#[test]
fn sums_of_two_squares_are_products() {
    for one_input in [true, false] {
        let inputs = match one_input {
            true => vec![vec![3.0, -5.0, 0.0, 4.0, 12.0, -2.0]],
            false => vec![vec![3.0, -5.0, 0.0], vec![4.0, 12.0, -2.0]],
        };
        let mut graph = magnitude(one_input);
        assert_eq!(outputs(&graph, &inputs), [[5.0, 13.0, 2.0]]);
        simplify(&mut graph);
        assert!(has_products(&graph));
        assert_eq!(outputs(&graph, &inputs), [[5.0, 13.0, 2.0]]);
    }
}

#[test]
fn squares_that_others_read_stay() {
    for reader in [5, 3] {
        let mut graph = magnitude(true);
        graph.outputs.push(reader);
        simplify(&mut graph);
        assert!(!has_products(&graph));
    }
}
