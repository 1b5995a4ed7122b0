//! The float graph: an imported model lowered to a handful of operations.
//!
//! Import (ONNX through tract) lowers every supported operator to an [`Op`]; quantization reads only these. Tensors are
//! flat, row-major `f32` arrays with a shape; everything about layout is an affine [`View`].

mod eval;
mod passes;
mod scalar;
pub(crate) mod view;

use zkinfer_circuits::program::View;

pub use eval::GraphError;
pub(crate) use passes::simplify;
pub(crate) use scalar::Shape;

/// Index of a node in [`Graph::nodes`].
pub type NodeId = usize;

/// A float model. Nodes are in topological order; a node's inputs come before it.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// All operations.
    pub nodes: Vec<GraphNode>,
    /// The model's inputs, in the model's order (nodes with [`Op::Input`]).
    pub inputs: Vec<NodeId>,
    /// The model's outputs, in the model's order.
    pub outputs: Vec<NodeId>,
    /// What the outputs are called and hold, in the same order. An output beyond the end is called after its node and holds
    /// real numbers.
    pub output_tensors: Vec<OutputTensor>,
}

/// What an output is called and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputTensor {
    /// Its name in the model.
    pub name: String,
    /// Its shape in the model.
    pub shape: Vec<usize>,
    /// Whether it holds whole numbers.
    pub integers: bool,
    /// The texts that its values 0, 1, … stand for, if they stand for texts.
    pub labels: Vec<String>,
    /// Its place among the outputs of the model's file.
    pub position: usize,
}

/// One operation and the tensor it yields.
#[derive(Clone, Debug)]
pub struct GraphNode {
    /// Name of the ONNX node it came from; errors and reports use it.
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// Where the operands come from.
    pub inputs: Vec<NodeId>,
    /// Shape of the result; its product is the length of the result.
    pub shape: Vec<usize>,
    /// Nodes of equal ties are one operation in several steps of a loop: they are quantized alike, so that their weights
    /// are committed once. Lengths of results must agree; whatever else differs costs only the sharing.
    pub tie: Option<Tie>,
}

/// See [`GraphNode::tie`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tie(pub u32);

/// The operations that quantization knows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Op {
    /// A model input.
    Input,
    /// A constant.
    Constant(Vec<f32>),
    /// An affine index map of one operand, zero where padded: reshape, transpose, slice, pad, broadcast.
    View(View),
    /// Flat concatenation of the operands (other axes: views around it).
    Concat,
    /// One weight matrix per group applied at many positions: Gemm, MatMul, Conv.
    Linear(Linear),
    /// Columns of a matrix by their numbers: embeddings.
    Gather(Gather),
    /// `scale · x + shift`, element by element (each of length 1 or of the operand's length).
    Affine {
        /// Factors.
        scale: Vec<f32>,
        /// Summands.
        shift: Vec<f32>,
    },
    /// Element-wise sum of two or more operands of equal length.
    Add,
    /// A piecewise-linear or scalar function, element by element.
    Activation(Activation),
    /// Maximum over windows: the view lists `[outputs][window]` elements, padded elements do not take part.
    Max {
        /// Which elements.
        windows: View,
        /// Elements per maximum.
        window: usize,
    },
    /// Sum of `group` consecutive elements (averages: a view before, an affine map behind).
    Sum {
        /// Elements per sum.
        group: usize,
    },
    /// Sums of products of two activations, `y[o] = Σ_{i < group} left[o·group + i] · right[o·group + i]`: element-wise
    /// products (`group` 1, broadcasting by the views), dot products and matrix products. Padded elements are zero.
    Product {
        /// How the first operand is read.
        left: View,
        /// How the second operand is read.
        right: View,
        /// Products per result.
        group: usize,
    },
    /// Matrix products of two activations.
    MatMul(MatMul),
    /// Index of the first largest element of consecutive runs of `len` elements.
    ArgMax {
        /// Elements per run.
        len: usize,
    },
    /// The `count` largest elements of consecutive runs of `len`, in falling order, as indicators: `[runs][count][len]`, one
    /// where the element is the one and zero elsewhere. Of equal elements the first comes first.
    TopK {
        /// Elements per run.
        len: usize,
        /// How many of them.
        count: usize,
    },
    /// `truth · x`, element by element: the first operand is 0 or 1, and the result is exactly the second, or zero.
    Gate,
    /// Softmax over consecutive runs of `len` elements.
    Softmax {
        /// Elements per distribution.
        len: usize,
    },
}

/// `y[g,o,p] = bias[g,o] + Σ_i weights[g,o,i] · patch[g,p,i]`, result `[groups·outputs][positions]` row-major.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Groups.
    pub groups: usize,
    /// Outputs per group.
    pub outputs: usize,
    /// Positions (pixels, time steps, rows).
    pub positions: usize,
    /// Inputs per output.
    pub inputs: usize,
    /// The operand seen as `[groups][positions][inputs]`, zero where padded. The loops may be split further
    /// (for example positions into rows and columns) as long as the row-major order is this one.
    pub patches: View,
    /// `[groups][outputs][inputs]`.
    pub weights: Vec<f32>,
    /// `[groups][outputs]`, or empty.
    pub bias: Vec<f32>,
}

/// `y[o,p] = weights[o, x[p]]`, result `[outputs][positions]` row-major. A negative number counts from the end.
#[derive(Clone, Debug)]
pub struct Gather {
    /// Elements of a column.
    pub outputs: usize,
    /// Columns.
    pub rows: usize,
    /// `[outputs][rows]`.
    pub weights: Vec<f32>,
}

/// `y[g,o,p] = Σ_i left[g,o,i] · right[g,p,i]`, result `[groups][outputs][positions]` row-major.
#[derive(Clone, Debug)]
pub struct MatMul {
    /// Products side by side (batches, heads).
    pub groups: usize,
    /// Rows of the left matrix.
    pub outputs: usize,
    /// Columns of the right matrix.
    pub positions: usize,
    /// Products per element of the result.
    pub inputs: usize,
    /// The first operand read as `[groups][outputs][inputs]`.
    pub left: View,
    /// The second operand read as `[groups][positions][inputs]`.
    pub right: View,
}

/// Element-wise functions.
#[derive(Clone, Debug)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, `slope · x` where negative; slopes of length 1 or of the operand's length.
    LeakyRelu(Vec<f32>),
    /// `min(max(x, low), high)`.
    Clip {
        /// Lower bound, may be `-inf`.
        low: f32,
        /// Upper bound, may be `+inf`.
        high: f32,
    },
    /// Any other function of one number, by table.
    Scalar(ScalarFn),
}

/// A function of one real variable as an expression, so that chains such as `x · (1 + erf(x / √2)) / 2` become one table.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarFn {
    /// The argument.
    X,
    /// A number.
    Const(f64),
    /// A named function applied to an expression.
    Apply(ScalarOp, Box<ScalarFn>),
    /// Two expressions combined.
    Combine(BinaryOp, Box<ScalarFn>, Box<ScalarFn>),
    /// The second expression where the first is positive, the third elsewhere: ELU, thresholds and comparisons with a
    /// constant. (Sums of products with a step function would not do: `0 · inf` is not a number.)
    Select(Box<ScalarFn>, Box<ScalarFn>, Box<ScalarFn>),
}

/// Named real functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum ScalarOp {
    Sigmoid,
    Tanh,
    Exp,
    Ln,
    Sqrt,
    Rsqrt,
    Recip,
    Erf,
    Abs,
    Neg,
    Square,
    Floor,
    Ceil,
    Round,
    Sign,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
    HardSwish,
    Silu,
    Softplus,
    Softsign,
    Mish,
    Gelu,
    Relu,
}

/// Binary operations inside a [`ScalarFn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Pow,
    /// Remainder with the dividend's sign, as Rust's `%`.
    Rem,
    /// Bits of the nearest whole numbers, in two's complement.
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
}

impl Graph {
    /// What output number `at` is called and holds.
    pub fn output_tensor(&self, at: usize) -> OutputTensor {
        let named = self.output_tensors.get(at).cloned();
        named.unwrap_or_else(|| {
            let node = self.outputs.get(at).and_then(|&id| self.nodes.get(id));
            OutputTensor {
                name: node.map_or_else(String::new, |n| n.name.clone()),
                shape: node.map_or_else(Vec::new, |n| n.shape.clone()),
                position: at,
                ..OutputTensor::default()
            }
        })
    }
}

impl GraphNode {
    /// Number of elements of the result.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True if the result has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
