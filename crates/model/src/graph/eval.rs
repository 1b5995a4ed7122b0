//! The float run of a [`Graph`].

use thiserror::Error;
use zkinfer_circuits::error::ProgramError;

use super::{Activation, Graph, GraphNode, Linear, MatMul, Op};

/// Why a graph could not be run.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The caller gave another number of input tensors than the model has.
    #[error("the model has {expected} inputs, {found} were given")]
    InputCount {
        /// Inputs of the model.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input has the wrong number of elements.
    #[error("input {index} (\"{name}\") has {expected} elements, {found} were given")]
    InputLength {
        /// Position in [`Graph::inputs`].
        index: usize,
        /// The input's name.
        name: String,
        /// Elements the model wants.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// A node whose operands, parameters and shape do not fit together.
    #[error("node {node} (\"{name}\"): {reason}")]
    Node {
        /// Index into [`Graph::nodes`].
        node: usize,
        /// Name of the node.
        name: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// A view that does not fit the operand it reads.
    #[error("node {node} (\"{name}\"): {source}")]
    View {
        /// Index into [`Graph::nodes`].
        node: usize,
        /// Name of the node.
        name: String,
        /// What is wrong with the view.
        source: ProgramError,
    },
}

impl Graph {
    /// Number of elements of every input, in the model's order.
    pub fn input_lens(&self) -> Vec<usize> {
        self.inputs
            .iter()
            .filter_map(|&i| self.nodes.get(i))
            .map(GraphNode::len)
            .collect()
    }

    /// Runs the model in floats and returns the values of *all* nodes, indexed like [`Graph::nodes`]
    /// (calibration looks at intermediates). `inputs[i]` is flat and row-major.
    ///
    /// # Errors
    /// Inputs that do not fit, or a graph that was not built by the importer and is inconsistent.
    pub fn run<T: AsRef<[f32]>>(&self, inputs: &[T]) -> Result<Vec<Vec<f32>>, GraphError> {
        if inputs.len() != self.inputs.len() {
            return Err(GraphError::InputCount {
                expected: self.inputs.len(),
                found: inputs.len(),
            });
        }
        let mut values: Vec<Vec<f32>> = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let fail = |reason| GraphError::Node {
                node: index,
                name: node.name.clone(),
                reason,
            };
            let view_fail = |source| GraphError::View {
                node: index,
                name: node.name.clone(),
                source,
            };
            let operands = node
                .inputs
                .iter()
                .map(|&i| values.get(i).map(Vec::as_slice))
                .collect::<Option<Vec<_>>>();
            let operands =
                operands.ok_or_else(|| fail("reads a node that does not come before it"))?;
            let operand = || {
                operands
                    .first()
                    .copied()
                    .ok_or_else(|| fail("has no operand"))
            };
            let value = match &node.op {
                Op::Input => {
                    let at = self
                        .inputs
                        .iter()
                        .position(|&i| i == index)
                        .ok_or_else(|| fail("is not listed as an input"))?;
                    let given = inputs[at].as_ref();
                    if given.len() != node.len() {
                        let name = node.name.clone();
                        return Err(GraphError::InputLength {
                            index: at,
                            name,
                            expected: node.len(),
                            found: given.len(),
                        });
                    }
                    given.to_vec()
                }
                Op::Constant(value) => value.clone(),
                Op::View(view) => {
                    let x = operand()?;
                    let indices = view.indices(x.len()).map_err(view_fail)?;
                    indices.iter().map(|i| i.map_or(0.0, |i| x[i])).collect()
                }
                Op::Concat => operands.concat(),
                Op::Linear(linear) => {
                    let x = operand()?;
                    let indices = linear.patches.indices(x.len()).map_err(view_fail)?;
                    linear
                        .run(x, &indices)
                        .ok_or_else(|| fail("weights, bias or patches have the wrong size"))?
                }
                Op::Affine { scale, shift } => {
                    let x = operand()?;
                    let fits = |v: &[f32]| v.len() == 1 || v.len() == x.len();
                    if !fits(scale) || !fits(shift) {
                        return Err(fail("scale or shift has the wrong size"));
                    }
                    let pick = |v: &[f32], i: usize| if v.len() == 1 { v[0] } else { v[i] };
                    x.iter()
                        .enumerate()
                        .map(|(i, &x)| pick(scale, i) * x + pick(shift, i))
                        .collect()
                }
                Op::Add => {
                    let mut sum = operand()?.to_vec();
                    for other in &operands[1..] {
                        if other.len() != sum.len() {
                            return Err(fail("operands differ in length"));
                        }
                        sum.iter_mut().zip(*other).for_each(|(s, &o)| *s += o);
                    }
                    sum
                }
                Op::Activation(activation) => activation
                    .run(operand()?)
                    .ok_or_else(|| fail("slopes have the wrong size"))?,
                Op::Max { windows, window } => {
                    let x = operand()?;
                    let indices = windows.indices(x.len()).map_err(view_fail)?;
                    if *window == 0 || indices.len() % *window != 0 {
                        return Err(fail("the window does not divide the view"));
                    }
                    let max = |w: &[Option<usize>]| {
                        w.iter()
                            .flatten()
                            .fold(f32::NEG_INFINITY, |m, &i| m.max(x[i]))
                    };
                    indices.chunks_exact(*window).map(max).collect()
                }
                Op::Sum { group } => {
                    let x = operand()?;
                    if *group == 0 || x.len() % *group != 0 {
                        return Err(fail("the group does not divide the operand"));
                    }
                    x.chunks_exact(*group)
                        .map(|c| c.iter().map(|&v| f64::from(v)).sum::<f64>() as f32)
                        .collect()
                }
                Op::Product { left, right, group } => {
                    let [a, b] = operands[..] else {
                        return Err(fail("needs two operands"));
                    };
                    let left = left.indices(a.len()).map_err(view_fail)?;
                    let right = right.indices(b.len()).map_err(view_fail)?;
                    if *group == 0 || left.len() != right.len() || left.len() % *group != 0 {
                        return Err(fail("the operands' views do not fit together"));
                    }
                    let read = |v: &[f32], i: Option<usize>| i.map_or(0.0, |i| f64::from(v[i]));
                    let dot = |(l, r): (&[Option<usize>], &[Option<usize>])| {
                        let products = l.iter().zip(r).map(|(&i, &j)| read(a, i) * read(b, j));
                        products.sum::<f64>() as f32
                    };
                    left.chunks_exact(*group)
                        .zip(right.chunks_exact(*group))
                        .map(dot)
                        .collect()
                }
                Op::MatMul(product) => {
                    let [a, b] = operands[..] else {
                        return Err(fail("needs two operands"));
                    };
                    let left = product.left.indices(a.len()).map_err(view_fail)?;
                    let right = product.right.indices(b.len()).map_err(view_fail)?;
                    product
                        .run((a, &left), (b, &right))
                        .ok_or_else(|| fail("the operands' views do not fit together"))?
                }
                Op::ArgMax { len } => {
                    let x = operand()?;
                    if *len == 0 || x.len() % *len != 0 {
                        return Err(fail("the length does not divide the operand"));
                    }
                    x.chunks_exact(*len)
                        .map(|c| {
                            let first = |best: usize, (i, v): (usize, &f32)| {
                                if *v > c[best] { i } else { best }
                            };
                            c.iter().enumerate().fold(0, first) as f32
                        })
                        .collect()
                }
                Op::TopK { len, count } => {
                    let x = operand()?;
                    if *len == 0 || x.len() % *len != 0 || count > len {
                        return Err(fail("the length does not divide the operand"));
                    }
                    let mut hot = vec![0.0; x.len() * *count];
                    for (run, hot) in x.chunks_exact(*len).zip(hot.chunks_exact_mut(len * count)) {
                        let mut order: Vec<usize> = (0..*len).collect();
                        order.sort_by(|&a, &b| run[b].total_cmp(&run[a]));
                        for (rank, &i) in order.iter().take(*count).enumerate() {
                            hot[rank * len + i] = 1.0;
                        }
                    }
                    hot
                }
                Op::Gate => {
                    let [truth, x] = operands[..] else {
                        return Err(fail("needs two operands"));
                    };
                    if truth.len() != x.len() {
                        return Err(fail("operands differ in length"));
                    }
                    let one = |(t, x): (&f32, &f32)| if *t > 0.5 { *x } else { 0.0 };
                    truth.iter().zip(x).map(one).collect()
                }
                Op::Softmax { len } => {
                    let x = operand()?;
                    if *len == 0 || x.len() % *len != 0 {
                        return Err(fail("the length does not divide the operand"));
                    }
                    x.chunks_exact(*len).flat_map(softmax).collect()
                }
            };
            if value.len() != node.len() {
                return Err(fail(
                    "the result does not have the size of the node's shape",
                ));
            }
            values.push(value);
        }
        Ok(values)
    }

    /// Picks the model's outputs out of the values that [`Graph::run`] returned (an output that does not exist is empty).
    pub fn outputs_of(&self, values: &[Vec<f32>]) -> Vec<Vec<f32>> {
        self.outputs
            .iter()
            .map(|&o| values.get(o).cloned().unwrap_or_default())
            .collect()
    }
}

fn softmax(x: &[f32]) -> Vec<f32> {
    let max = x.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
    let exp: Vec<f64> = x.iter().map(|&v| f64::from(v - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.iter().map(|e| (e / sum) as f32).collect()
}

impl Activation {
    /// The activation of every element; `None` if slopes do not fit.
    fn run(&self, x: &[f32]) -> Option<Vec<f32>> {
        Some(match self {
            Activation::Relu => x.iter().map(|v| v.max(0.0)).collect(),
            Activation::LeakyRelu(slopes) => {
                let slope = |i: usize| {
                    if slopes.len() == 1 {
                        slopes[0]
                    } else {
                        slopes[i]
                    }
                };
                if slopes.len() != 1 && slopes.len() != x.len() {
                    return None;
                }
                x.iter()
                    .enumerate()
                    .map(|(i, &v)| if v > 0.0 { v } else { slope(i) * v })
                    .collect()
            }
            Activation::Clip { low, high } => x.iter().map(|v| v.max(*low).min(*high)).collect(),
            Activation::Scalar(f) => x.iter().map(|&v| f.eval(f64::from(v)) as f32).collect(),
        })
    }
}

/// Independent partial sums, so that the compiler can use vector registers.
const LANES: usize = 8;

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f32>() + tail
}

impl MatMul {
    /// The result for two operands and the indices of what is read of them; `None` if sizes do not fit.
    fn run(
        &self,
        (a, left): (&[f32], &[Option<usize>]),
        (b, right): (&[f32], &[Option<usize>]),
    ) -> Option<Vec<f32>> {
        let size = |n: usize| self.groups.checked_mul(n)?.checked_mul(self.inputs);
        if self.inputs == 0
            || Some(left.len()) != size(self.outputs)
            || Some(right.len()) != size(self.positions)
        {
            return None;
        }
        let read = |v: &[f32], indices: &[Option<usize>]| -> Vec<f32> {
            indices.iter().map(|i| i.map_or(0.0, |i| v[i])).collect()
        };
        let (left, right) = (read(a, left), read(b, right));
        let rows = left.chunks_exact(self.outputs * self.inputs);
        let columns = right.chunks_exact(self.positions * self.inputs);
        let product = |(rows, columns): (&[f32], &[f32])| {
            let row = |row: &[f32]| {
                let one = |column: &[f32]| dot(row, column);
                columns
                    .chunks_exact(self.inputs)
                    .map(one)
                    .collect::<Vec<f32>>()
            };
            let rows = rows.chunks_exact(self.inputs);
            rows.flat_map(row).collect::<Vec<f32>>()
        };
        Some(rows.zip(columns).flat_map(product).collect())
    }
}

impl Linear {
    /// The result for an operand and the indices of its patches; `None` if sizes do not fit.
    fn run(&self, x: &[f32], indices: &[Option<usize>]) -> Option<Vec<f32>> {
        let outputs = self.groups.checked_mul(self.outputs)?;
        let patches = self
            .groups
            .checked_mul(self.positions)?
            .checked_mul(self.inputs)?;
        let bias_fits = self.bias.is_empty() || self.bias.len() == outputs;
        if self.inputs == 0
            || indices.len() != patches
            || self.weights.len() != outputs.checked_mul(self.inputs)?
            || !bias_fits
        {
            return None;
        }
        let mut y = vec![0f32; outputs.checked_mul(self.positions)?];
        let mut patch = vec![0f32; self.inputs];
        for (at, indices) in indices.chunks_exact(self.inputs).enumerate() {
            let (g, p) = (at / self.positions, at % self.positions);
            for (value, index) in patch.iter_mut().zip(indices) {
                *value = index.map_or(0.0, |i| x[i]);
            }
            for o in g * self.outputs..(g + 1) * self.outputs {
                let bias = self.bias.get(o).copied().unwrap_or(0.0);
                y[o * self.positions + p] = bias
                    + dot(
                        &self.weights[o * self.inputs..(o + 1) * self.inputs],
                        &patch,
                    );
            }
        }
        Some(y)
    }
}
