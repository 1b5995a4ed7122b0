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
//!   With neither `low` nor `high` and one candidate, `x = v`. `low` clamps at 0 from below (ReLU), `high` at
//!   `2^T − 1` from above, `window > 1` takes the maximum over the candidates `w`. Each table `f` yields `f(x)`.

use crate::error::ProgramError;

mod view;

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
/// negative part, used by leaky activations); the tables' results follow. All other nodes have port 0 only.
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
}

/// One linear contribution to the accumulators of [`Neurons`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Array `[groups][positions][window][inputs]`, row-major.
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
}

impl Unit {
    /// Requantization alone: `x = ⌊y / 2^T⌋`, out of range is impossible to prove.
    pub const LINEAR: Unit = Unit {
        window: 1,
        low: false,
        high: false,
        tables: Vec::new(),
    };
    /// `x = max(0, ⌊y / 2^T⌋)`.
    pub const RELU: Unit = Unit {
        window: 1,
        low: true,
        high: false,
        tables: Vec::new(),
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
    /// Elements of all values together (wiring arrays in memory, 4 bytes each and a few more for widths above one). The same
    /// bound holds for what all linear maps read, which several may do with one value.
    pub elements: u64,
    /// Neurons' accumulators and other cells-bearing slots.
    pub slots: u64,
}

impl Default for ProgramLimits {
    fn default() -> Self {
        ProgramLimits {
            nodes: 10_000,
            tables: 64,
            elements: 1 << 26,
            slots: 1 << 22,
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

/// A program with all wiring written out. Slots are numbered from [`FIRST_SLOT`], node by node, port by port.
#[derive(Clone, Debug)]
pub struct Expanded {
    /// Wiring of every value, `[node][port]`.
    pub values: Vec<Vec<Wires>>,
    /// First slot of every node (for `Neurons`: of port 0; port `j` follows `j · len` later).
    pub first_slot: Vec<u32>,
    /// One more than the largest slot index.
    pub slots: u32,
}

impl Expanded {
    /// The wiring of a value.
    pub fn value(&self, value: ValueRef) -> &Wires {
        &self.values[value.node as usize][value.port as usize]
    }
}

impl Unit {
    /// Number of results (ports): `x`, then `below` where it exists, then the tables.
    pub fn ports(&self) -> u32 {
        1 + u32::from(self.exposes_below()) + self.tables.len() as u32
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

    /// Number of committed coefficients.
    pub fn committed_weights(&self) -> u64 {
        let mut total = 0;
        for node in &self.nodes {
            if let Node::Neurons(n) = node {
                for t in &n.terms {
                    if t.weights == Weights::Committed {
                        total += n.groups as u64 * n.outputs as u64 * t.inputs as u64;
                    }
                }
            }
        }
        total
    }

    /// Checks the program and writes out its wiring.
    ///
    /// # Errors
    /// Any inconsistency, and anything beyond `limits`, names the node. Nothing is allocated before it was bounded.
    pub fn expand(&self, limits: &ProgramLimits) -> Result<Expanded, ProgramError> {
        self.check_header(limits)?;
        let mut values: Vec<Vec<Wires>> = Vec::with_capacity(self.nodes.len());
        let mut first_slot = Vec::with_capacity(self.nodes.len());
        let mut slots = u64::from(FIRST_SLOT);
        let mut elements = 0u64;
        let mut reads = 0u64;
        let mut accumulators = 0u64;
        for (index, node) in self.nodes.iter().enumerate() {
            let fail = |reason: &'static str| ProgramError::Node {
                node: index,
                reason,
            };
            let mut take = |count: u64, width: u64| {
                elements = elements.saturating_add(count.saturating_mul(width));
                if elements > limits.elements {
                    Err(fail("wiring exceeds the limit on elements"))
                } else {
                    Ok(())
                }
            };
            let lookup = |r: ValueRef| {
                values
                    .get(r.node as usize)
                    .and_then(|ports| ports.get(r.port as usize))
                    .ok_or(fail("reads a value that does not exist yet"))
            };
            first_slot.push(slots as u32);
            let ports = match node {
                Node::Input { len } | Node::Hint { len } => {
                    if *len == 0 {
                        return Err(fail("is empty"));
                    }
                    take(u64::from(*len), 1)?;
                    let range = fresh(&mut slots, u64::from(*len), limits)
                        .ok_or(fail("exceeds the limit on slots"))?;
                    vec![Wires {
                        width: 1,
                        slots: range.collect(),
                    }]
                }
                Node::Constant { len } => {
                    if *len == 0 {
                        return Err(fail("is empty"));
                    }
                    take(u64::from(*len), 1)?;
                    vec![Wires {
                        width: 1,
                        slots: vec![ONE; *len as usize],
                    }]
                }
                Node::View { source, view } => {
                    let source = lookup(*source)?;
                    let len = view.check(source.len()).map_err(fail)?;
                    take(len, source.width as u64)?;
                    vec![view.read(source, len as usize)]
                }
                Node::Concat { sources } => {
                    if sources.is_empty() {
                        return Err(fail("has no sources"));
                    }
                    let parts = sources
                        .iter()
                        .map(|s| lookup(*s))
                        .collect::<Result<Vec<_>, _>>()?;
                    let width = parts.iter().map(|p| p.width).max().unwrap_or(1);
                    let len = parts.iter().map(|p| p.len() as u64).sum::<u64>();
                    take(len, width as u64)?;
                    let mut out = Vec::with_capacity(len as usize * width);
                    for part in parts {
                        for i in 0..part.len() {
                            out.extend_from_slice(part.element(i));
                            out.resize(out.len() + width - part.width, ZERO);
                        }
                    }
                    vec![Wires { width, slots: out }]
                }
                Node::Sum { source, group } => {
                    let source = lookup(*source)?;
                    if *group == 0 || source.len() % *group as usize != 0 {
                        return Err(fail("group does not divide the source"));
                    }
                    take(source.slots.len() as u64, 1)?;
                    vec![Wires {
                        width: source.width * *group as usize,
                        slots: source.slots.clone(),
                    }]
                }
                Node::Neurons(neurons) => {
                    let len = self.check_neurons(neurons, &lookup, &fail)?;
                    let mut ports = Vec::new();
                    for _ in 0..neurons.unit.ports() {
                        take(len, 1)?;
                        let range = fresh(&mut slots, len, limits)
                            .ok_or(fail("exceeds the limit on slots"))?;
                        ports.push(Wires {
                            width: 1,
                            slots: range.collect(),
                        });
                    }
                    for term in &neurons.terms {
                        // A dense public term is walked once per output, all others once.
                        let dense = neurons.positions == 1
                            && neurons.unit.window == 1
                            && term.weights != Weights::Committed;
                        let times = if dense { u64::from(neurons.outputs) } else { 1 };
                        reads = reads.saturating_add(
                            (lookup(term.patches)?.slots.len() as u64).saturating_mul(times),
                        );
                    }
                    if reads > limits.elements {
                        return Err(fail("linear maps read more than the limit on elements"));
                    }
                    // Every candidate costs cells too.
                    accumulators = accumulators
                        .saturating_add(len.saturating_mul(u64::from(neurons.unit.window)));
                    if accumulators > limits.slots {
                        return Err(fail("exceeds the limit on slots"));
                    }
                    ports
                }
            };
            values.push(ports);
        }
        Ok(Expanded {
            values,
            first_slot,
            slots: slots as u32,
        })
    }

    fn check_header(&self, limits: &ProgramLimits) -> Result<(), ProgramError> {
        if !(MIN_RANGE_BITS..=MAX_RANGE_BITS).contains(&self.range_bits) {
            return Err(ProgramError::Header {
                reason: "range bits outside 4..=14",
            });
        }
        if self.nodes.len() > limits.nodes {
            return Err(ProgramError::Header {
                reason: "more nodes than the limit",
            });
        }
        if self.tables.len() > limits.tables {
            return Err(ProgramError::Header {
                reason: "more tables than the limit",
            });
        }
        let range = self.range() as usize;
        if self
            .tables
            .iter()
            .any(|t| t.len() != range || t.iter().any(|&v| usize::from(v) >= range))
        {
            return Err(ProgramError::Header {
                reason: "a table is not a map of [0, 2^T) to itself",
            });
        }
        if self.outputs.is_empty() || !self.nodes.iter().any(|n| matches!(n, Node::Input { .. })) {
            return Err(ProgramError::Header {
                reason: "needs an input and an output",
            });
        }
        for (i, &output) in self.outputs.iter().enumerate() {
            match self.nodes.get(output as usize) {
                Some(Node::Neurons(n)) if n.unit.tables.is_empty() => {}
                _ => {
                    return Err(ProgramError::Header {
                        reason: "an output is not a node of neurons without tables",
                    });
                }
            }
            if self.outputs[..i].contains(&output) {
                return Err(ProgramError::Header {
                    reason: "an output is listed twice",
                });
            }
        }
        Ok(())
    }

    fn check_neurons<'a>(
        &self,
        n: &Neurons,
        lookup: &impl Fn(ValueRef) -> Result<&'a Wires, ProgramError>,
        fail: &impl Fn(&'static str) -> ProgramError,
    ) -> Result<u64, ProgramError> {
        let len = (u64::from(n.groups))
            .checked_mul(u64::from(n.outputs))
            .and_then(|v| v.checked_mul(u64::from(n.positions)));
        let len = len
            .filter(|&l| l > 0 && l <= u64::from(u32::MAX))
            .ok_or(fail("has no neurons, or too many"))?;
        let unit = &n.unit;
        if unit.window == 0 || unit.window > 64 {
            return Err(fail("window outside 1..=64"));
        }
        if unit.window > 1 && (unit.high || !unit.tables.is_empty()) {
            return Err(fail(
                "a maximum cannot be combined with an upper clamp or a table",
            ));
        }
        if unit.tables.len() > 2 || unit.tables.iter().any(|&t| t as usize >= self.tables.len()) {
            return Err(fail("uses a table that does not exist, or more than two"));
        }
        if n.terms.is_empty() || n.terms.len() > 64 {
            return Err(fail("needs 1 to 64 terms"));
        }
        for term in &n.terms {
            let patches = lookup(term.patches)?;
            let want = u64::from(n.groups) * u64::from(n.positions);
            let want = want
                .checked_mul(u64::from(unit.window))
                .and_then(|v| v.checked_mul(u64::from(term.inputs)));
            if term.inputs == 0 || want != Some(patches.len() as u64) {
                return Err(fail(
                    "patches do not have groups × positions × window × inputs elements",
                ));
            }
            if let Weights::Public(w) = &term.weights {
                let want = u64::from(n.groups) * u64::from(n.outputs) * u64::from(term.inputs);
                if w.len() as u64 != want {
                    return Err(fail(
                        "public weights do not have groups × outputs × inputs entries",
                    ));
                }
            }
        }
        Ok(len)
    }
}

fn fresh(next: &mut u64, count: u64, limits: &ProgramLimits) -> Option<std::ops::Range<u32>> {
    let start = *next;
    let end = start.checked_add(count)?;
    if end > limits.slots.min(u64::from(u32::MAX)) {
        return None;
    }
    *next = end;
    Some(start as u32..end as u32)
}
