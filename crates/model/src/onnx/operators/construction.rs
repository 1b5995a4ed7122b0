//! How operators are built, and at what cost.

/// How an operator becomes a part of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Construction {
    /// Nothing is left of it: it is computed while the model is imported.
    Folded,
    /// Elements are moved.
    Wiring,
    /// A linear map.
    Linear,
    /// A clamp or a maximum.
    Clamp,
    /// A table of a function of one number.
    Table,
    /// The sign of an accumulator.
    Comparison,
    /// Sums of truths, compared.
    Logic,
    /// An element, or zero, by a truth.
    Gate,
    /// Products of two activations, element by element.
    Product,
    /// Matrix products.
    Matrix,
    /// Sums, squares, roots and quotients.
    Norm,
    /// Normalised exponentials.
    Softmax,
    /// Maximum, exponentials, a sum, a logarithm.
    LogSoftmax,
    /// Steps of a recurrence.
    Recurrence,
    /// Positions of the largest elements.
    Index,
    /// Indicators of whole numbers.
    Indicator,
    /// Rounding and clamp to a grid of eight bits.
    Integer,
    /// Comparisons and paths of trees.
    Trees,
    /// Kernels with stored vectors.
    Vectors,
    /// Written out, whatever is inside.
    Inlined,
}

impl Construction {
    /// All of them, in the order of the page.
    pub const ALL: &'static [Construction] = &[
        Construction::Folded,
        Construction::Wiring,
        Construction::Linear,
        Construction::Clamp,
        Construction::Table,
        Construction::Comparison,
        Construction::Logic,
        Construction::Gate,
        Construction::Product,
        Construction::Matrix,
        Construction::Norm,
        Construction::Softmax,
        Construction::LogSoftmax,
        Construction::Recurrence,
        Construction::Index,
        Construction::Indicator,
        Construction::Integer,
        Construction::Trees,
        Construction::Vectors,
        Construction::Inlined,
    ];

    /// A short name.
    pub fn name(self) -> &'static str {
        match self {
            Construction::Folded => "folded",
            Construction::Wiring => "wiring",
            Construction::Linear => "linear map",
            Construction::Clamp => "clamp",
            Construction::Table => "table",
            Construction::Comparison => "comparison",
            Construction::Logic => "logic",
            Construction::Gate => "gate",
            Construction::Product => "product",
            Construction::Matrix => "matrix product",
            Construction::Norm => "norm",
            Construction::Softmax => "softmax",
            Construction::LogSoftmax => "log-softmax",
            Construction::Recurrence => "recurrence",
            Construction::Index => "index",
            Construction::Indicator => "indicator",
            Construction::Integer => "eight bits",
            Construction::Trees => "trees",
            Construction::Vectors => "kernel",
            Construction::Inlined => "inlined",
        }
    }

    /// What is built.
    pub fn text(self) -> &'static str {
        match self {
            Construction::Folded => "computed while the model is imported; nothing of it is proven",
            Construction::Wiring => "an index map; elements are read where they are",
            Construction::Linear => {
                "a linear map with committed weights, rounded once; batch norms, averages, residual sums and scales are absorbed by the map before or after"
            }
            Construction::Clamp => {
                "clamp or maximum of the unit, joined with the linear map before it"
            }
            Construction::Table => {
                "a look-up; a chain of functions of one activation is one table. Where the function is steep at one end of its range (logarithms, roots and reciprocals near zero), that part has a table and a step of its own"
            }
            Construction::Comparison => {
                "a clamp with a table of two values: the sign of the accumulator decides, without rounding of the argument"
            }
            Construction::Logic => "truths are summed, and the sum is compared",
            Construction::Gate => {
                "`max(0, v − (2^T − 1)·(1 − c))` for a truth `c` and an integer `v`: exact"
            }
            Construction::Product => {
                "squares by one shared table, see below; a quotient is a product with the inverse by table"
            }
            Construction::Matrix => {
                "a linear map where one operand is constant; else one whose coefficients are activations, tied to them by a random projection inside the circuit"
            }
            Construction::Norm => "written out in sums, products and tables",
            Construction::Softmax => {
                "a normaliser by a pinned hint; masked logits (24 below another one in all calibration samples) saturate, and rows below all that calibration saw are refused"
            }
            Construction::LogSoftmax => "`x − m − ln Σ exp(x − m)` with the maximum `m`",
            Construction::Recurrence => "steps of linear maps, tables and products",
            Construction::Index => "see below; public weights, no hint",
            Construction::Indicator => "`[x = r]` for every row `r` by tables, times the rows",
            Construction::Integer => {
                "the operator in floats, with rounding and clamp to the grid by table"
            }
            Construction::Trees => {
                "branches are comparisons; a leaf is reached where `Σ ±branch` exceeds the branches that have to hold minus ½; values are a linear map. Thresholds, paths and values are committed, the numbers of branches and leaves are public"
            }
            Construction::Vectors => {
                "squares, one linear map, a table per stored vector, and a linear map; stored vectors are committed weights"
            }
            Construction::Inlined => "replaced by the nodes inside",
        }
    }

    /// Neurons that it costs.
    pub fn cost(self) -> &'static str {
        match self {
            Construction::Folded | Construction::Wiring => "0",
            Construction::Linear => "1 per result, 0 where absorbed",
            Construction::Clamp => "1 per result",
            Construction::Table => "1 per element, 2 where steep",
            Construction::Comparison => "1 per result",
            Construction::Logic => "1 per result",
            Construction::Gate => "1 per element",
            Construction::Product => "2 per product, 3 per quotient",
            Construction::Matrix => "1 per result, 1 per element of the operands",
            Construction::Norm => "about 3 per element",
            Construction::Softmax => "1 per element, 3 per distribution",
            Construction::LogSoftmax => "2 per element, 2 per distribution",
            Construction::Recurrence => "about 10 per unit and step",
            Construction::Index => "3 to 4 per element and place",
            Construction::Indicator => "1 per row and index",
            Construction::Integer => "1 per quantized element",
            Construction::Trees => "1 per branch, 1 per leaf",
            Construction::Vectors => "1 per feature, 1 per vector",
            Construction::Inlined => "that of the nodes inside",
        }
    }

    /// How far the result may be off, beyond what its operands are off by.
    pub fn error(self) -> &'static str {
        match self {
            Construction::Folded | Construction::Wiring | Construction::Gate => "0",
            Construction::Linear | Construction::Clamp => "½ step",
            Construction::Table => "`½ step·max\\|f'\\|` + ½ step",
            Construction::Comparison => "exact on the quantized operands",
            Construction::Logic => "exact",
            Construction::Product => "`1.25·U²·hₓ·h_y/2^T`, see below",
            Construction::Matrix => {
                "½ step, and what half a step of the operands makes of each product"
            }
            Construction::Norm => "that of its parts",
            Construction::Softmax => "1/(2^T − 1) + the logits'",
            Construction::LogSoftmax => "a few steps",
            Construction::Recurrence => "that of its parts, step after step",
            Construction::Index => "exact on the quantized operand",
            Construction::Indicator => "exact",
            Construction::Integer => "one level of the grid next to a rounding boundary",
            Construction::Trees => {
                "a branch within half an input step of its threshold may go the other way"
            }
            Construction::Vectors => "that of its parts",
            Construction::Inlined => "that of the nodes inside",
        }
    }

    /// How many values are rounded one after the other, at most, from an operand to the result: an input, a result, and what
    /// is between them. With the default twelve bits each may be off by about 0.1 % of the largest magnitude (half a step,
    /// where a step is the calibrated range with 30 % headroom, some ten standard deviations, over 2^12).
    pub fn roundings(self) -> u32 {
        match self {
            Construction::Folded => 0,
            Construction::Wiring => 1,
            Construction::Comparison | Construction::Logic => 1,
            // Indices are exact; the values of a `TopK` are rounded as operands and as results.
            Construction::Index | Construction::Indicator | Construction::Gate => 2,
            Construction::Linear => 3,
            // Argument and result, in two parts where the function is steep.
            Construction::Table => 5,
            // Two clamps, with steps that fit what is cut off.
            Construction::Clamp => 6,
            Construction::Matrix | Construction::Product => 5,
            Construction::Softmax => 5,
            Construction::LogSoftmax | Construction::Trees | Construction::Vectors => 8,
            // One level of the grid, 0.4 %, before and after.
            Construction::Integer => 8,
            Construction::Norm | Construction::Recurrence | Construction::Inlined => 10,
        }
    }
}
