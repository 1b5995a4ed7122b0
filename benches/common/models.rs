//! Models of any size, made on the spot: weights from a fixed sequence, calibrated on inputs from the same sequence.

use zkinfer::graph::{Activation, Graph, GraphNode, Linear, Op};
use zkinfer_circuits::program::{Axis, View};

struct Sequence(u64);

impl Sequence {
    /// Uniform in [-1, 1).
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn weights(&mut self, count: usize, inputs: usize) -> Vec<f32> {
        let spread = (3.0 / inputs as f32).sqrt();
        (0..count).map(|_| self.next() * spread).collect()
    }
}

/// Inputs that fit a graph.
pub fn samples(graph: &Graph, count: usize) -> Vec<Vec<Vec<f32>>> {
    let mut sequence = Sequence(7);
    let mut tensor = |len: usize| (0..len).map(|_| sequence.next()).collect::<Vec<f32>>();
    (0..count)
        .map(|_| graph.input_lens().into_iter().map(&mut tensor).collect())
        .collect()
}

fn push(graph: &mut Graph, op: Op, shape: Vec<usize>) {
    let last = graph.nodes.len().checked_sub(1);
    let name = format!("layer {}", graph.nodes.len());
    graph.nodes.push(GraphNode {
        name,
        op,
        inputs: last.into_iter().collect(),
        shape,
        tie: None,
    });
}

fn start(len: usize) -> Graph {
    let mut graph = Graph {
        inputs: vec![0],
        ..Graph::default()
    };
    push(&mut graph, Op::Input, vec![len]);
    graph
}

/// Dense layers of the given widths with ReLU between them.
pub fn mlp(widths: &[usize]) -> Graph {
    let mut sequence = Sequence(1);
    let mut graph = start(widths[0]);
    for (i, pair) in widths.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let weights = sequence.weights(inputs * outputs, inputs);
        let bias = sequence.weights(outputs, 4);
        let patches = View::identity(inputs);
        push(
            &mut graph,
            Op::Linear(Linear {
                groups: 1,
                outputs,
                positions: 1,
                inputs,
                patches,
                weights,
                bias,
            }),
            vec![outputs],
        );
        if i + 2 < widths.len() {
            push(&mut graph, Op::Activation(Activation::Relu), vec![outputs]);
        }
    }
    graph.outputs = vec![graph.nodes.len() - 1];
    graph
}

/// 3×3 convolutions with padding over a `size × size` image, ReLU behind each, and ten sums at the end.
pub fn cnn(size: usize, channels: &[usize]) -> Graph {
    let mut sequence = Sequence(2);
    let mut graph = start(channels[0] * size * size);
    for pair in channels.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let axis = |extent: usize, offset, strides: [i64; 5]| Axis {
            extent: extent as u32,
            offset,
            strides: strides.to_vec(),
        };
        let patches = View {
            loops: [size, size, from, 3, 3].map(|l| l as u32).to_vec(),
            axes: vec![
                axis(from, 0, [0, 0, 1, 0, 0]),
                axis(size, -1, [1, 0, 0, 1, 0]),
                axis(size, -1, [0, 1, 0, 0, 1]),
            ],
        };
        let inputs = from * 9;
        let weights = sequence.weights(to * inputs, inputs);
        let positions = size * size;
        let linear = Linear {
            groups: 1,
            outputs: to,
            positions,
            inputs,
            patches,
            weights,
            bias: sequence.weights(to, 4),
        };
        push(&mut graph, Op::Linear(linear), vec![to, size, size]);
        push(
            &mut graph,
            Op::Activation(Activation::Relu),
            vec![to, size, size],
        );
    }
    let inputs = channels[channels.len() - 1] * size * size;
    let (weights, patches) = (
        sequence.weights(10 * inputs, inputs),
        View::identity(inputs),
    );
    push(
        &mut graph,
        Op::Linear(Linear {
            groups: 1,
            outputs: 10,
            positions: 1,
            inputs,
            patches,
            weights,
            bias: vec![],
        }),
        vec![10],
    );
    graph.outputs = vec![graph.nodes.len() - 1];
    graph
}
