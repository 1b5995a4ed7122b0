//! The float run of a [`Graph`].

use thiserror::Error;
use zkinfer_circuits::error::ProgramError;
use zkinfer_circuits::program::View;

use super::{Activation, Gather, Graph, GraphNode, Linear, MatMul, Op};
use crate::data::TensorForm;
use crate::dense::{self, Shape};

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
        for index in 0..self.nodes.len() {
            let value = self.value(index, &values, inputs)?;
            values.push(value);
        }
        Ok(values)
    }

    /// The value of one node, from those of all nodes before it.
    pub(crate) fn value<V: AsRef<[f32]>, T: AsRef<[f32]>>(
        &self,
        index: usize,
        values: &[V],
        inputs: &[T],
    ) -> Result<Vec<f32>, GraphError> {
        let node = &self.nodes[index];
        let operands = node.inputs.iter().map(|&i| values.get(i));
        let operands = operands
            .map(|v| v.map(AsRef::as_ref))
            .collect::<Option<_>>();
        let mut call = Call {
            index,
            node,
            operands: Vec::new(),
        };
        call.operands =
            operands.ok_or_else(|| call.fail("reads a node that does not come before it"))?;
        let value = match &node.op {
            Op::Input => call.given(&self.inputs, inputs)?,
            op => call.run(op)?,
        };
        if value.len() != node.len() {
            return Err(call.fail("the result does not have the size of the node's shape"));
        }
        Ok(value)
    }

    /// Names and shapes of the model's inputs.
    pub fn input_forms(&self) -> Vec<TensorForm> {
        let nodes = self.inputs.iter().filter_map(|&i| self.nodes.get(i));
        let form = |(position, node): (usize, &GraphNode)| TensorForm {
            name: node.name.clone(),
            shape: node.shape.clone(),
            position,
        };
        nodes.enumerate().map(form).collect()
    }

    /// Names and shapes of the model's outputs.
    pub fn output_forms(&self) -> Vec<TensorForm> {
        let outputs = (0..self.outputs.len()).map(|at| self.output_tensor(at));
        let form = |output: super::OutputTensor| TensorForm {
            name: output.name,
            shape: output.shape,
            position: output.position,
        };
        outputs.map(form).collect()
    }

    /// Picks the model's outputs out of the values that [`Graph::run`] returned (an output that does not exist is empty).
    pub fn outputs_of(&self, values: &[Vec<f32>]) -> Vec<Vec<f32>> {
        self.outputs
            .iter()
            .map(|&o| values.get(o).cloned().unwrap_or_default())
            .collect()
    }
}

/// A node and the values that it reads.
struct Call<'a> {
    index: usize,
    node: &'a GraphNode,
    operands: Vec<&'a [f32]>,
}

impl<'a> Call<'a> {
    fn fail(&self, reason: &'static str) -> GraphError {
        GraphError::Node {
            node: self.index,
            name: self.node.name.clone(),
            reason,
        }
    }

    fn operand(&self) -> Result<&'a [f32], GraphError> {
        let first = self.operands.first().copied();
        first.ok_or_else(|| self.fail("has no operand"))
    }

    fn two_operands(&self) -> Result<[&'a [f32]; 2], GraphError> {
        let operands = <[&[f32]; 2]>::try_from(self.operands.as_slice());
        operands.map_err(|_| self.fail("needs two operands"))
    }

    /// The operand in runs of `len` elements.
    fn runs(
        &self,
        len: usize,
        reason: &'static str,
    ) -> Result<std::slice::ChunksExact<'a, f32>, GraphError> {
        let x = self.operand()?;
        if len == 0 || !x.len().is_multiple_of(len) {
            return Err(self.fail(reason));
        }
        Ok(x.chunks_exact(len))
    }

    /// What a view reads of an operand.
    fn indices(&self, view: &View, of: &[f32]) -> Result<Vec<Option<usize>>, GraphError> {
        view.indices(of.len()).map_err(|e| self.view_error(e))
    }

    /// The elements that a view reads, zero where padded.
    fn read(&self, view: &View, x: &[f32]) -> Result<Vec<f32>, GraphError> {
        let mut read = Vec::new();
        let visit = |i: Option<usize>| read.push(i.map_or(0.0, |i| x[i]));
        view.visit(x.len(), visit).map_err(|e| self.view_error(e))?;
        Ok(read)
    }

    fn view_error(&self, source: ProgramError) -> GraphError {
        GraphError::View {
            node: self.index,
            name: self.node.name.clone(),
            source,
        }
    }

    /// The value of an operation other than an input.
    fn run(&self, op: &Op) -> Result<Vec<f32>, GraphError> {
        match op {
            Op::Input => Err(self.fail("is an input inside the graph")),
            Op::Constant(value) => Ok(value.clone()),
            Op::View(view) => self.view(view),
            Op::Concat => Ok(self.operands.concat()),
            Op::Linear(linear) => self.linear(linear),
            Op::Gather(gather) => self.gather(gather),
            Op::Affine { scale, shift } => self.affine(scale, shift),
            Op::Add => self.add(),
            Op::Activation(activation) => activation
                .run(self.operand()?)
                .ok_or_else(|| self.fail("slopes have the wrong size")),
            Op::Max { windows, window } => self.max(windows, *window),
            Op::Sum { group } => {
                let groups = self.runs(*group, "the group does not divide the operand")?;
                let sum = |c: &[f32]| c.iter().map(|&v| f64::from(v)).sum::<f64>() as f32;
                Ok(groups.map(sum).collect())
            }
            Op::Product { left, right, group } => self.product(left, right, *group),
            Op::MatMul(product) => self.matmul(product),
            Op::ArgMax { len } => Ok(self.rows(*len)?.map(first_of_the_largest).collect()),
            Op::TopK { len, count } => self.top_k(*len, *count),
            Op::Gate => self.gate(),
            Op::Softmax { len } => Ok(self.rows(*len)?.flat_map(softmax).collect()),
        }
    }

    /// What the caller gave for an input.
    fn given<T: AsRef<[f32]>>(
        &self,
        order: &[usize],
        inputs: &[T],
    ) -> Result<Vec<f32>, GraphError> {
        let at = order.iter().position(|&i| i == self.index);
        let at = at.ok_or_else(|| self.fail("is not listed as an input"))?;
        let given = inputs[at].as_ref();
        if given.len() != self.node.len() {
            return Err(GraphError::InputLength {
                index: at,
                name: self.node.name.clone(),
                expected: self.node.len(),
                found: given.len(),
            });
        }
        Ok(given.to_vec())
    }

    fn rows(&self, len: usize) -> Result<std::slice::ChunksExact<'a, f32>, GraphError> {
        self.runs(len, "the length does not divide the operand")
    }

    fn view(&self, view: &View) -> Result<Vec<f32>, GraphError> {
        self.read(view, self.operand()?)
    }

    fn linear(&self, linear: &Linear) -> Result<Vec<f32>, GraphError> {
        let patches = self.read(&linear.patches, self.operand()?)?;
        let result = linear.run(&patches);
        result.ok_or_else(|| self.fail("weights, bias or patches have the wrong size"))
    }

    fn gather(&self, gather: &Gather) -> Result<Vec<f32>, GraphError> {
        let rows = gather.rows as f32;
        let row = |x: &f32| {
            let place = if *x < 0.0 { *x + rows } else { *x }.round();
            (0.0..rows).contains(&place).then_some(place as usize)
        };
        let places: Option<Vec<usize>> = self.operand()?.iter().map(row).collect();
        let places = places.ok_or_else(|| self.fail("a row is looked up that there is not"))?;
        if gather.weights.len() != gather.outputs * gather.rows {
            return Err(self.fail("weights have the wrong size"));
        }
        let outputs = gather.weights.chunks(gather.rows.max(1));
        Ok(outputs
            .flat_map(|weights| places.iter().map(|&p| weights[p]))
            .collect())
    }

    fn affine(&self, scale: &[f32], shift: &[f32]) -> Result<Vec<f32>, GraphError> {
        let x = self.operand()?;
        if [scale, shift]
            .iter()
            .any(|v| v.len() != 1 && v.len() != x.len())
        {
            return Err(self.fail("scale or shift has the wrong size"));
        }
        let elements = x.iter().enumerate();
        Ok(elements
            .map(|(i, &x)| element(scale, i) * x + element(shift, i))
            .collect())
    }

    fn add(&self) -> Result<Vec<f32>, GraphError> {
        let mut sum = self.operand()?.to_vec();
        for other in &self.operands[1..] {
            if other.len() != sum.len() {
                return Err(self.fail("operands differ in length"));
            }
            sum.iter_mut().zip(*other).for_each(|(s, &o)| *s += o);
        }
        Ok(sum)
    }

    fn max(&self, windows: &View, window: usize) -> Result<Vec<f32>, GraphError> {
        let x = self.operand()?;
        let indices = self.indices(windows, x)?;
        if window == 0 || !indices.len().is_multiple_of(window) {
            return Err(self.fail("the window does not divide the view"));
        }
        let windows = indices.chunks_exact(window);
        Ok(windows
            .map(|w| {
                let inside = w.iter().flatten();
                inside.fold(f32::NEG_INFINITY, |m, &i| m.max(x[i]))
            })
            .collect())
    }

    fn product(&self, left: &View, right: &View, group: usize) -> Result<Vec<f32>, GraphError> {
        let [a, b] = self.two_operands()?;
        let (left, right) = (self.indices(left, a)?, self.indices(right, b)?);
        if group == 0 || left.len() != right.len() || !left.len().is_multiple_of(group) {
            return Err(self.fail("the operands' views do not fit together"));
        }
        let groups = left.chunks_exact(group).zip(right.chunks_exact(group));
        Ok(groups
            .map(|(l, r)| {
                let pairs = l.iter().zip(r);
                let products = pairs.map(|(&i, &j)| padded(a, i) * padded(b, j));
                products.sum::<f64>() as f32
            })
            .collect())
    }

    fn matmul(&self, product: &MatMul) -> Result<Vec<f32>, GraphError> {
        let [a, b] = self.two_operands()?;
        let left = self.read(&product.left, a)?;
        let right = self.read(&product.right, b)?;
        let result = product.run(&left, &right);
        result.ok_or_else(|| self.fail("the operands' views do not fit together"))
    }

    /// An indicator per place and element.
    fn top_k(&self, len: usize, count: usize) -> Result<Vec<f32>, GraphError> {
        let rows = self.rows(len)?;
        if count > len {
            return Err(self.fail("the length does not divide the operand"));
        }
        let mut hot = vec![0.0; self.operand()?.len() * count];
        for (row, hot) in rows.zip(hot.chunks_exact_mut((len * count).max(1))) {
            let mut order: Vec<usize> = (0..len).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            for (rank, &i) in order.iter().take(count).enumerate() {
                hot[rank * len + i] = 1.0;
            }
        }
        Ok(hot)
    }

    fn gate(&self) -> Result<Vec<f32>, GraphError> {
        let [truth, x] = self.two_operands()?;
        if truth.len() != x.len() {
            return Err(self.fail("operands differ in length"));
        }
        let pairs = truth.iter().zip(x);
        Ok(pairs
            .map(|(t, x)| if *t > 0.5 { *x } else { 0.0 })
            .collect())
    }
}

/// An element of a list, or its only one.
fn element(values: &[f32], i: usize) -> f32 {
    if values.len() == 1 {
        values[0]
    } else {
        values[i]
    }
}

fn padded(values: &[f32], i: Option<usize>) -> f64 {
    i.map_or(0.0, |i| f64::from(values[i]))
}

fn first_of_the_largest(row: &[f32]) -> f32 {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best as f32
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
                if slopes.len() != 1 && slopes.len() != x.len() {
                    return None;
                }
                x.iter()
                    .enumerate()
                    .map(|(i, &v)| if v > 0.0 { v } else { element(slopes, i) * v })
                    .collect()
            }
            Activation::Clip { low, high } => x.iter().map(|v| v.max(*low).min(*high)).collect(),
            Activation::Scalar(f) => x.iter().map(|&v| f.eval(f64::from(v)) as f32).collect(),
        })
    }
}

impl MatMul {
    /// The result for what is read of both operands; `None` if sizes do not fit.
    fn run(&self, left: &[f32], right: &[f32]) -> Option<Vec<f32>> {
        let shape = Shape {
            groups: self.groups,
            outputs: self.outputs,
            positions: self.positions,
            inputs: self.inputs,
        };
        let mut y = vec![0f32; shape.lens()?[2]];
        dense::multiply::<dense::Floats, _>(shape, left, right, &mut y, |y, sum| *y = sum)?;
        Some(y)
    }
}

impl Linear {
    /// The result for its patches; `None` if sizes do not fit.
    fn run(&self, patches: &[f32]) -> Option<Vec<f32>> {
        let shape = Shape {
            groups: self.groups,
            outputs: self.outputs,
            positions: self.positions,
            inputs: self.inputs,
        };
        let len = shape.lens()?[2];
        let mut y = match self.bias.len() {
            0 => vec![0f32; len],
            n if n == self.groups * self.outputs => {
                let bias = self.bias.iter();
                bias.flat_map(|&b| std::iter::repeat_n(b, self.positions))
                    .collect()
            }
            _ => return None,
        };
        let add = |y: &mut f32, sum| *y += sum;
        dense::multiply::<dense::Floats, _>(shape, &self.weights, patches, &mut y, add)?;
        Some(y)
    }
}
