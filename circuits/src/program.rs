//! The integer program: what is proven, without the weights.
//!
//! A [`Program`] is a list of [`Node`]s in topological order over non-negative integers. It is the public
//! *architecture* of a quantized model: shapes, wiring and activation tables, but no committed weight. Prover and
//! verifier derive everything else (layout, columns, gates, challenges' coefficients) from it, so its canonical
//! encoding is part of every challenge.
//!
//! # Semantics
//!
//! Let `T = range_bits`. A *slot* is one cell that holds an integer in `[0, 2^T)`. A *value* is an array of elements,
//! each the sum of `width` slots (`width` is one for almost every value; sums arise from pooling by averages).
//! Two slots are special: [`ZERO`], always 0, and [`ONE`], always 1.
//!
//! * [`Node::Input`], [`Node::Hint`]: fresh slots, range-checked. A hint is chosen by the prover, and the program has
//!   to pin it down (see [`Node::Hint`]).
//! * [`Node::Constant`], [`Node::View`], [`Node::Concat`], [`Node::Sum`]: wiring, free of cost.
//! * [`Node::Neurons`]: a linear map followed by a [`Unit`], the only thing that costs rows. With
//!   `y = Σ_terms Σ_i W[g,o,i] · patch[g,p,w,i]` (an integer) the unit proves
//!
//!   ```text
//!   y_w = 2^T · (x − below_w + above) + rem_w,      rem_w, x, below_w, above ∈ [0, 2^T)
//!   ```
//!
//!   so `v_w = ⌊y_w / 2^T⌋ = x − below_w + above`. Rounding half up, zero points and biases are constants that the
//!   model adds to `y` (a weight on a constant-one element); the circuit has no constant of its own.
//!   A *deep* unit has `y = 2^(2T) · (x − below + above) + 2^T · middle + rem` instead, all parts in `[0, 2^T)`.
//!   With neither `low` nor `high` and one candidate, `x = v`. `low` clamps at 0 from below (ReLU), `high` at
//!   `2^T − 1` from above, `window > 1` takes the maximum over the candidates `w`. Each table `f` yields `f(x)`.

mod expand;
mod view;
mod wires;

use std::sync::OnceLock;
pub use view::{Axis, View};

/// Index of a slot that always holds zero (padding).
pub const ZERO: u32 = 0;
/// Index of a slot that always holds one (biases).
pub const ONE: u32 = 1;
/// First index of a real slot.
pub const FIRST_SLOT: u32 = 2;

/// Smallest supported number of bits in a range-checked cell.
pub const MIN_RANGE_BITS: u32 = 4;
/// Largest supported number of bits in a range-checked cell.
pub const MAX_RANGE_BITS: u32 = 14;

/// A value of the program: the `port`-th result of node number `node`.
///
/// Ports of [`Node::Neurons`]: 0 is `x`; if the unit is `low` with one candidate, the next is `below` (the clamped-away
/// negative part, used by leaky activations); the tables' results follow. A unit that does nothing but divide has a port 1:
/// the next lower `T` bits of its accumulators, `rem` or, if it is deep, `middle`. All other nodes have port 0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueRef {
    /// Index into [`Program::nodes`].
    pub node: u32,
    /// Which result of that node.
    pub port: u32,
}

impl ValueRef {
    /// The first result of a node.
    pub fn new(node: usize) -> Self {
        ValueRef {
            node: node as u32,
            port: 0,
        }
    }
}

/// Where the coefficients of a [`Term`] come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Secret: fixed by the model commitment.
    Committed,
    /// Public: part of the architecture, `[group][output][input]` row-major.
    Public(Vec<i64>),
    /// The committed weights of the same term of this earlier node, the *leader*, whose terms are [`Weights::Committed`]:
    /// one matrix that is used at several steps. Leader and members (a *family*) have the same unit, groups, outputs and
    /// terms, patches and positions aside; none is an output of the program.
    Shared(u32),
    /// Activations: `factor · value`, the value with elements `[group][output][input]`. A matrix product of activations.
    Value {
        /// The left operand.
        value: ValueRef,
        /// A public factor.
        factor: i64,
    },
    /// Secret as [`Weights::Committed`], and of each position one input alone counts, as if it were one and all others zero:
    /// the one whose number is the position's *key*. An embedding: the columns of a committed matrix by their numbers.
    /// `patches` is the first port of the *node of keys*, whose accumulators are the keys `[positions]`: linear neurons of
    /// public weights that no other term uses as keys.
    Gathered,
}

impl Weights {
    /// Whether the coefficients are fixed by the model commitment.
    pub fn is_committed(&self) -> bool {
        matches!(
            self,
            Weights::Committed | Weights::Shared(_) | Weights::Gathered
        )
    }

    /// Whether the node that they belong to lists them in the model commitment.
    pub fn is_own(&self) -> bool {
        matches!(self, Weights::Committed | Weights::Gathered)
    }
}

/// One linear contribution to the accumulators of [`Neurons`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Array `[groups][positions][window][inputs]`, row-major; keys `[positions]` of [`Weights::Gathered`].
    pub patches: ValueRef,
    /// Number of inputs of this term per output.
    pub inputs: u32,
    /// The coefficients, shape `[groups][outputs][inputs]`.
    pub weights: Weights,
}

/// What happens to an accumulator; see the [module documentation](self) for the arithmetic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit {
    /// Number of candidates whose maximum is taken (1: no maximum).
    pub window: u32,
    /// Clamp at zero from below.
    pub low: bool,
    /// Clamp at `2^T − 1` from above. Only with `window = 1`.
    pub high: bool,
    /// Functions of `x`, indices into [`Program::tables`]. Only with `window = 1`.
    pub tables: Vec<u32>,
    /// Whether accumulators are divided by `2^(2T)`: weights may have `T` more bits. Only with `window = 1`.
    pub deep: bool,
}

impl Unit {
    /// Requantization alone: `x = ⌊y / 2^T⌋`, out of range is impossible to prove.
    pub const LINEAR: Unit = Unit {
        window: 1,
        low: false,
        high: false,
        tables: Vec::new(),
        deep: false,
    };
    /// `x = max(0, ⌊y / 2^T⌋)`.
    pub const RELU: Unit = Unit {
        window: 1,
        low: true,
        high: false,
        tables: Vec::new(),
        deep: false,
    };
}

/// A linear map followed by a unit, for `groups · outputs · positions` neurons of `unit.window` accumulators each.
/// Results are arrays `[groups][outputs][positions]`, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neurons {
    /// Groups with weights of their own and inputs of their own.
    pub groups: u32,
    /// Outputs (channels) per group.
    pub outputs: u32,
    /// Positions at which the same weights are used.
    pub positions: u32,
    /// The non-linear part.
    pub unit: Unit,
    /// The linear part: sum over these terms.
    pub terms: Vec<Term>,
}

impl Neurons {
    /// Number of neurons.
    pub fn len(&self) -> usize {
        // Programs that nobody checked are described, too, also where `usize` has 32 bits.
        (self.groups as usize)
            .saturating_mul(self.outputs as usize)
            .saturating_mul(self.positions as usize)
    }

    /// True if there is no neuron.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The node whose weights this one uses.
    pub fn leader(&self) -> Option<u32> {
        self.terms.iter().find_map(|t| match t.weights {
            Weights::Shared(leader) => Some(leader),
            _ => None,
        })
    }

    /// The terms that look inputs up by their numbers, with their places among all terms.
    pub fn gathers(&self) -> impl Iterator<Item = (usize, &Term)> {
        let terms = self.terms.iter().enumerate();
        terms.filter(|(_, t)| t.weights == Weights::Gathered)
    }

    /// Inputs per output with committed weights, those that are looked up by their numbers aside.
    pub fn committed_inputs(&self) -> usize {
        let committed = self.terms.iter();
        let committed = committed.filter(|t| t.weights == Weights::Committed);
        committed.map(|t| t.inputs as usize).sum()
    }

    /// Inputs per output whose coefficients are activations.
    pub fn value_inputs(&self) -> usize {
        self.operands().map(|(t, _, _)| t.inputs as usize).sum()
    }

    /// The activations that are coefficients: term and its left operand.
    pub fn operands(&self) -> impl Iterator<Item = (&Term, ValueRef, i64)> {
        self.terms.iter().filter_map(|t| match t.weights {
            Weights::Value { value, factor } => Some((t, value, factor)),
            _ => None,
        })
    }
}

/// One step of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// `len` inputs of the model, in `[0, 2^T)`. A program has one or more; they are numbered in order.
    Input {
        /// Number of elements.
        len: u32,
    },
    /// `len` range-checked values of the prover's choice. The program must leave at most one choice that can be proven:
    /// [`crate::hints`] recognises the one shape for which that is known (softmax) and refuses all others.
    Hint {
        /// Number of elements.
        len: u32,
    },
    /// `len` copies of the constant 1.
    Constant {
        /// Number of elements.
        len: u32,
    },
    /// An affine index map of a value.
    View {
        /// What is read.
        source: ValueRef,
        /// How it is read.
        view: View,
    },
    /// Flat concatenation.
    Concat {
        /// At least one value.
        sources: Vec<ValueRef>,
    },
    /// Sums of `group` consecutive elements.
    Sum {
        /// What is summed; its length is a multiple of `group`.
        source: ValueRef,
        /// How many elements make one of the result.
        group: u32,
    },
    /// Linear map and unit.
    Neurons(Neurons),
}

/// The public architecture of a quantized model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// `T`: cells are in `[0, 2^T)` and requantization divides by `2^T`.
    pub range_bits: u32,
    /// Function tables, each with `2^T` entries in `[0, 2^T)`.
    pub tables: Vec<Vec<u16>>,
    /// Steps in topological order.
    pub nodes: Vec<Node>,
    /// The program's outputs: nodes of kind [`Node::Neurons`] without tables, each listed at most once. Their `x` is
    /// revealed or committed, in this order. They may be read by other nodes too.
    pub outputs: Vec<u32>,
}

/// Bounds on what a program may ask of whoever expands it. Everything that comes from outside is checked against these
/// before memory is taken.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProgramLimits {
    /// Nodes.
    pub nodes: usize,
    /// Tables.
    pub tables: usize,
    /// Elements of values whose wiring is written out, 4 bytes each: those that [`crate::hints`] looks at. Programs without
    /// hints need none.
    pub elements: u64,
    /// Neurons' accumulators and other cells-bearing slots. A verifier holds nothing for each of them.
    pub slots: u64,
    /// Elements of all inputs and outputs together: a public one is hashed and weighed with every proof.
    pub values: usize,
    /// Affine pieces that the wiring is followed by ([`crate::wiring`]): what a verification takes time and memory for.
    /// Two counters of a piece count as one more, and so do sixteen sums that pieces are added to, sixteen additions, and
    /// sixteen public weights that sums are multiplied by.
    /// Eight rows that are looked up by their numbers count as one, too.
    /// Placing a program ([`crate::layout`]) may look at as many.
    pub pieces: usize,
}

impl Default for ProgramLimits {
    fn default() -> Self {
        ProgramLimits {
            nodes: 10_000,
            tables: 64,
            elements: 1 << 26,
            slots: 1 << 26,
            values: 1 << 20,
            pieces: 1 << 18,
        }
    }
}

impl ProgramLimits {
    /// What owners allow their own programs: as the default, which bounds what a stranger's program costs, but for
    /// [`values`](Self::values), 2^24.
    pub fn owner() -> ProgramLimits {
        ProgramLimits {
            values: 1 << 24,
            ..ProgramLimits::default()
        }
    }
}

/// A value with its wiring written out: element `i` is the sum of `slots[i·width .. (i+1)·width]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wires {
    /// Slots per element.
    pub width: usize,
    /// Slot indices, [`ZERO`] and [`ONE`] included.
    pub slots: Vec<u32>,
}

impl Wires {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.slots.len() / self.width
    }

    /// True if there is no element.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The slots that are summed in element `i`.
    pub fn element(&self, i: usize) -> &[u32] {
        &self.slots[i * self.width..(i + 1) * self.width]
    }
}

/// Number of elements of a value, and of slots that each of them sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Elements.
    pub len: usize,
    /// Slots per element.
    pub width: usize,
}

/// A program that was checked. Slots are numbered from [`FIRST_SLOT`], node by node, port by port. Wiring is written out when
/// it is asked for: a prover needs all of it, a verifier nearly none.
#[derive(Clone, Debug)]
pub struct Expanded {
    /// Shape of every value, `[node][port]`.
    shapes: Vec<Vec<Shape>>,
    /// Wiring of those that were asked for.
    wires: Vec<Vec<OnceLock<Wires>>>,
    /// First slot of every node (for `Neurons`: of port 0; port `j` follows `j · len` later).
    pub first_slot: Vec<u32>,
    /// One more than the largest slot index.
    pub slots: u32,
}

impl Unit {
    /// Number of results (ports): `x`, then `below` where it exists, then the tables.
    pub fn ports(&self) -> u32 {
        let others = u32::from(self.exposes_below()) + u32::from(self.exposes_rest());
        1 + others + self.tables.len() as u32
    }

    /// Whether the bits below `x` are a result of their own: those of a unit that does nothing but divide.
    pub fn exposes_rest(&self) -> bool {
        self.window == 1 && !self.low && !self.high && self.tables.is_empty()
    }

    /// By how many powers of `2^T` accumulators are divided.
    pub fn depth(&self) -> u32 {
        1 + u32::from(self.deep)
    }

    /// Whether `below` is a result of its own (a clamp with one candidate).
    pub fn exposes_below(&self) -> bool {
        self.low && self.window == 1
    }

    /// Whether candidates have a `below` cell.
    pub fn has_below(&self) -> bool {
        self.low || self.window > 1
    }
}

impl Program {
    /// Slots `[0, 2^T)`: `2^T`.
    pub fn range(&self) -> i64 {
        1 << self.range_bits
    }

    /// Lengths of all inputs together.
    pub fn input_len(&self) -> usize {
        self.nodes
            .iter()
            .map(|n| {
                if let Node::Input { len } = n {
                    *len as usize
                } else {
                    0
                }
            })
            .fold(0, usize::saturating_add)
    }

    /// Lengths of all outputs together.
    pub fn output_len(&self) -> usize {
        self.outputs
            .iter()
            .map(|&o| {
                if let Some(Node::Neurons(n)) = self.nodes.get(o as usize) {
                    n.len()
                } else {
                    0
                }
            })
            .fold(0, usize::saturating_add)
    }

    /// All terms that look inputs up by their numbers, in order: node, place among its terms, node of the keys.
    pub fn gathers(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let nodes = self.nodes.iter().enumerate();
        nodes.flat_map(|(index, node)| {
            let terms = match node {
                Node::Neurons(n) => n.terms.as_slice(),
                _ => &[],
            };
            let terms = terms.iter().enumerate();
            terms
                .filter(|(_, t)| t.weights == Weights::Gathered)
                .map(move |(t, term)| (index, t, term.patches.node as usize))
        })
    }

    /// Number of committed coefficients.
    pub fn committed_weights(&self) -> u64 {
        let mut total = 0u64;
        for node in &self.nodes {
            if let Node::Neurons(n) = node {
                for t in &n.terms {
                    if t.weights.is_own() {
                        let kernels = u64::from(n.groups) * u64::from(n.outputs);
                        total = total.saturating_add(kernels.saturating_mul(t.inputs.into()));
                    }
                }
            }
        }
        total
    }
}
