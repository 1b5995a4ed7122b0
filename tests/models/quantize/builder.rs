//! Graphs made by hand.

use zkinfer::graph::{Activation, Graph, GraphNode, Linear, Op};
use zkinfer_circuits::program::{Axis, View};

/// Reproducible numbers in [-1, 1).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 40) as f32 / (1u64 << 24) as f32) * 2.0 - 1.0
    }

    pub fn vec(&mut self, len: usize, scale: f32) -> Vec<f32> {
        (0..len).map(|_| self.next() * scale).collect()
    }
}

#[derive(Default)]
pub struct Builder {
    pub nodes: Vec<GraphNode>,
    inputs: Vec<usize>,
}

/// Geometry of a convolution.
pub struct Conv {
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub groups: usize,
}

pub fn conv(outputs: usize, kernel: usize, pad: usize) -> Conv {
    Conv {
        outputs,
        kernel,
        stride: 1,
        pad,
        groups: 1,
    }
}

impl Builder {
    pub fn add(&mut self, op: Op, inputs: &[usize], shape: &[usize]) -> usize {
        let id = self.nodes.len();
        if matches!(op, Op::Input) {
            self.inputs.push(id);
        }
        self.nodes.push(GraphNode {
            name: format!("n{id}"),
            op,
            inputs: inputs.to_vec(),
            shape: shape.to_vec(),
            tie: None,
        });
        id
    }

    pub fn input(&mut self, shape: &[usize]) -> usize {
        self.add(Op::Input, &[], shape)
    }

    pub fn dense(&mut self, numbers: &mut Numbers, input: usize, outputs: usize) -> usize {
        let inputs = self.nodes[input].len();
        let linear = Linear {
            groups: 1,
            outputs,
            positions: 1,
            inputs,
            patches: View::identity(inputs),
            weights: numbers.vec(outputs * inputs, 1.5 / (inputs as f32).sqrt()),
            bias: numbers.vec(outputs, 0.3),
        };
        self.add(Op::Linear(linear), &[input], &[1, outputs])
    }

    /// Square convolution on `[1, c, h, h]`.
    pub fn conv(&mut self, numbers: &mut Numbers, input: usize, conv: Conv) -> usize {
        let Conv {
            outputs,
            kernel,
            stride,
            pad,
            groups,
        } = conv;
        let (c, h) = (self.nodes[input].shape[1], self.nodes[input].shape[2]);
        let (per, o) = (c / groups, (h + 2 * pad - kernel) / stride + 1);
        let spatial = |strides: Vec<i64>| Axis {
            extent: h as u32,
            offset: -(pad as i64),
            strides,
        };
        let s = stride as i64;
        let patches = View {
            loops: [groups, o, o, per, kernel, kernel]
                .map(|l| l as u32)
                .to_vec(),
            axes: vec![
                Axis {
                    extent: c as u32,
                    offset: 0,
                    strides: vec![per as i64, 0, 0, 1, 0, 0],
                },
                spatial(vec![0, s, 0, 0, 1, 0]),
                spatial(vec![0, 0, s, 0, 0, 1]),
            ],
        };
        let inputs = per * kernel * kernel;
        let linear = Linear {
            groups,
            outputs: outputs / groups,
            positions: o * o,
            inputs,
            patches,
            weights: numbers.vec(outputs * inputs, 1.5 / (inputs as f32).sqrt()),
            bias: numbers.vec(outputs, 0.2),
        };
        self.add(Op::Linear(linear), &[input], &[1, outputs, o, o])
    }

    fn windows(
        &self,
        input: usize,
        kernel: usize,
        stride: usize,
        pad: usize,
    ) -> (View, usize, usize) {
        let (c, h) = (self.nodes[input].shape[1], self.nodes[input].shape[2]);
        let o = (h + 2 * pad - kernel) / stride + 1;
        let s = stride as i64;
        let spatial = |strides: Vec<i64>| Axis {
            extent: h as u32,
            offset: -(pad as i64),
            strides,
        };
        let view = View {
            loops: [c, o, o, kernel, kernel].map(|l| l as u32).to_vec(),
            axes: vec![
                Axis {
                    extent: c as u32,
                    offset: 0,
                    strides: vec![1, 0, 0, 0, 0],
                },
                spatial(vec![0, s, 0, 1, 0]),
                spatial(vec![0, 0, s, 0, 1]),
            ],
        };
        (view, c, o)
    }

    pub fn maxpool(&mut self, input: usize, kernel: usize, stride: usize, pad: usize) -> usize {
        let (windows, c, o) = self.windows(input, kernel, stride, pad);
        self.add(
            Op::Max {
                windows,
                window: kernel * kernel,
            },
            &[input],
            &[1, c, o, o],
        )
    }

    pub fn avgpool(&mut self, input: usize, kernel: usize) -> usize {
        let (view, c, o) = self.windows(input, kernel, kernel, 0);
        let k = kernel * kernel;
        let view = self.add(Op::View(view), &[input], &[c, o, o, k]);
        let sum = self.add(Op::Sum { group: k }, &[view], &[1, c, o, o]);
        self.add(
            Op::Affine {
                scale: vec![1.0 / k as f32],
                shift: vec![0.0],
            },
            &[sum],
            &[1, c, o, o],
        )
    }

    pub fn activation(&mut self, activation: Activation, input: usize) -> usize {
        self.op(Op::Activation(activation), &[input])
    }

    pub fn relu(&mut self, input: usize) -> usize {
        self.activation(Activation::Relu, input)
    }

    /// An operation that keeps the shape of its first operand.
    pub fn op(&mut self, op: Op, inputs: &[usize]) -> usize {
        let shape = self.nodes[inputs[0]].shape.clone();
        self.add(op, inputs, &shape)
    }

    pub fn finish(self, outputs: &[usize]) -> Graph {
        Graph {
            nodes: self.nodes,
            inputs: self.inputs,
            outputs: outputs.to_vec(),
            ..Graph::default()
        }
    }
}
