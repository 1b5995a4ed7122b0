//! The generated models of sweeps: they have the size that is said, and are the same at every call.

use zkinfer::Graph;
use zkinfer::graph::Op;
use zkinfer_bench::families::Extent;
use zkinfer_bench::report::Family;

/// Parameters and activations of a graph.
fn counted(graph: &Graph) -> (u64, u64) {
    let (mut parameters, mut activations) = (0, 0);
    for node in &graph.nodes {
        match &node.op {
            Op::Linear(l) => parameters += (l.weights.len() + l.bias.len()) as u64,
            Op::Activation(_) => activations += node.len() as u64,
            _ => {}
        }
    }
    (parameters, activations)
}

/// Multiplications with weights, and of activations.
fn multiply_adds(graph: &Graph) -> u64 {
    let of = |op: &Op| match op {
        Op::Linear(l) => (l.groups * l.outputs * l.positions * l.inputs) as u64,
        Op::MatMul(m) => (m.groups * m.outputs * m.positions * m.inputs) as u64,
        _ => 0,
    };
    graph.nodes.iter().map(|n| of(&n.op)).sum()
}

#[test]
fn models_have_the_size_that_is_said() {
    for family in [Family::Mlp, Family::Width, Family::Depth] {
        for size in [4, 20] {
            let graph = Graph::from_onnx(&family.model(size).onnx).unwrap();
            assert_eq!(counted(&graph).0, family.grown(size), "{family} {size}");
        }
    }
    let graph = Graph::from_onnx(&Family::Cnn.model(9).onnx).unwrap();
    assert_eq!(counted(&graph), (80 + 1168 + 170, Family::Cnn.grown(9)));
    Graph::from_onnx(&Family::Tokens.model(5).onnx).unwrap();
    // Averages are linear maps, too.
    for (family, size) in [
        (Family::Channels, 5),
        (Family::Rows, 12),
        (Family::Block, 64),
    ] {
        let graph = Graph::from_onnx(&family.model(size).onnx).unwrap();
        let (counted, said) = (multiply_adds(&graph), family.grown(size));
        assert!(
            (said..said + said / 8).contains(&counted),
            "{family}: {counted} {said}"
        );
    }
}

#[test]
fn sizes_grow_by_half_a_decade_up_to_the_limit() {
    let extent = Extent::default();
    for family in Family::ALL {
        let sizes = family.sizes(&extent);
        assert!(sizes.len() >= 4, "{family}: {sizes:?}");
        assert!(sizes.is_sorted_by(|a, b| a < b));
        for pair in sizes.windows(2).skip(2) {
            let factor = family.grown(pair[1]) as f64 / family.grown(pair[0]) as f64;
            assert!((2.0..4.3).contains(&factor), "{family}: {pair:?} {factor}");
        }
    }
    let decades = |f: Family| {
        f.sizes(&extent)
            .iter()
            .map(|&s| f.grown(s))
            .collect::<Vec<_>>()
    };
    let mlp = decades(Family::Mlp);
    assert_eq!(mlp.len(), 9);
    assert!((900..1_200).contains(&mlp[0]) && (9_900_000..10_100_000).contains(&mlp[8]));
    let few = Extent {
        parameters: 10_000,
        activations: 3_000,
        multiply_adds: 4_000_000,
    };
    assert_eq!(Family::Width.sizes(&few).len(), 3);
    assert_eq!(Family::Tokens.sizes(&few), [2, 4, 8]);
    assert_eq!(Family::Block.sizes(&few), [64]);
    let nothing = Extent {
        parameters: 10,
        activations: 10,
        multiply_adds: 10,
    };
    assert!(Family::Mlp.sizes(&nothing).is_empty());
}

#[test]
fn models_are_the_same_at_every_call() {
    for family in Family::ALL {
        assert_eq!(family.model(4), family.model(4));
    }
}
