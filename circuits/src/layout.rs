//! Where every cell goes: from a [`Program`] and `k` to lanes, rows and columns.
//!
//! # The table
//!
//! Rows `0 .. last` are *active* (every gate holds there), row `last` closes the running sums, and the
//! [`BLINDING_ROWS`] rows behind it are halo2's blinding rows. A *lane* is the group of columns that one neuron per row
//! occupies; lanes with the same [`BankKind`] form a bank, and a bank does the same thing on all of its active rows.
//! Row 0 of every lane is left empty: a lane's first cell is 0 there by the lane's own equation (or by the link of
//! an input column), and the fold argument adds the constant one to it (see [`crate::gates`]), so that biases need no cell.
//!
//! An unused row is a neuron without inputs: `y = 0`, and all its cells are zero (table results: `f(0)`). No selector
//! per bank exists.
//!
//! # Two ways to fold a weight matrix
//!
//! * *direct*: a dense layer (one position, plain slots as inputs). The folded weights `S` stand in the same row as the
//!   activation that they multiply.
//! * *table*: a matrix that is used at many positions. Its folded weights stand once, in a block of a `T` column; the
//!   coefficients `E` of the activations are free cells that are tied to `T` by a second random identity. A matrix that
//!   several nodes share is placed as if their positions were those of one node.
//!
//! * *gather*: a matrix of which each position reads one column by its number ([`Weights::Gathered`](crate::program::Weights::Gathered)).
//!   Its folded weights stand once in a `G` column beside their numbers, where the *keys'* lanes look them up: a cell `V` beside each key.
//!
//! A matrix of activations ([`Weights::Value`](crate::program::Weights::Value)) is folded like a table, into a block of a `U` column.
//!
//! A channel's positions occupy consecutive rows, so that the power of neuron `(o, p)` is a product `a_o · b_p`; the
//! channels of one group that share lanes form a [`Block`].
//!
//! Nothing here is done for every element that a linear map reads: which columns it reads, and of a direct node which rows,
//! is found by the affine piece (`resolve`), and cells are kept as stretches of rows ([`Cells`]).

use crate::program::{Expanded, Node, Program, Unit};
use std::collections::BTreeMap;
use std::ops::Range;

mod build;
mod cells;
pub(crate) mod lookups;
mod place;
pub(crate) mod resolve;
pub(crate) mod span;
mod weights;

pub use cells::{Cells, Stretch};
pub use weights::LaneWeights;

/// Rows at the end of the table that hold halo2's blinding values (`blinding_factors + 1` with two rotations per column).
pub const BLINDING_ROWS: usize = 6;
/// Smallest supported `k`.
pub const MIN_K: u32 = 6;
/// Largest supported `k`.
pub const MAX_K: u32 = 18;

/// What the lanes of a bank hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BankKind {
    /// Inputs of the model; nothing else is in these columns, so that they can be linked to a statement.
    Input,
    /// Values of the prover's choice.
    Hint,
    /// Neurons.
    Unit {
        /// Outputs of the model have banks of their own: their `x` columns are linked to a statement.
        output: bool,
        /// The non-linear part.
        unit: Unit,
        /// Keys of a [`Gather`] have lanes of their own: their number among all.
        keys: Option<u32>,
    },
}

/// The columns (advice indices) of one neuron per row.
#[derive(Clone, Debug)]
pub struct Lane {
    /// What is in it.
    pub kind: BankKind,
    /// Result, or the input or hint itself.
    pub x: usize,
    /// Remainder of each candidate.
    pub rem: Vec<usize>,
    /// What stands between result and remainder, in deep units.
    pub middle: Option<usize>,
    /// Clamped-away lower part of each candidate.
    pub below: Vec<usize>,
    /// Clamped-away upper part.
    pub above: Option<usize>,
    /// Partial products of the zero test, see [`crate::gates`].
    pub products: Vec<usize>,
    /// Results of the tables.
    pub tables: Vec<usize>,
    /// Number of the first candidate among all candidates of all lanes; the others follow.
    pub first_candidate: usize,
    /// Index of the lane's first [`Port`].
    pub first_port: usize,
}

/// A column that linear maps can read, with the fold columns beside it.
#[derive(Clone, Debug)]
pub struct Port {
    /// Which lane.
    pub lane: usize,
    /// The advice column that is read.
    pub column: usize,
    /// Whether row 0 is known to be zero and stands for the constant one.
    pub holds_one: bool,
    /// Advice column `S` of direct folds, if any map reads this port directly.
    pub direct: Option<usize>,
    /// Advice column `E` of free coefficients and its number among all `E` columns.
    pub free: Option<(usize, usize)>,
}

/// A cell of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Index into [`Layout::ports`] (for neurons: of the lane's first port).
    pub port: u32,
    /// Row.
    pub row: u32,
}

/// Consecutive positions of a channel in one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Which lane.
    pub lane: usize,
    /// Which positions.
    pub positions: Range<usize>,
}

/// Channels of one group that lie in the same lanes and share folded weights.
#[derive(Clone, Debug)]
pub struct Block {
    /// The group.
    pub group: usize,
    /// The channels, in order; channel `c` begins at row `base_row + (c − first) · height`.
    pub channels: Range<usize>,
    /// First row of the first channel.
    pub base_row: usize,
    /// Rows per channel (the longest tile).
    pub height: usize,
    /// Where positions go; more than one if a channel does not fit a column.
    pub tiles: Vec<Tile>,
    /// Number of the `T` column and the first row of the folded weights; `None` if no weight is committed.
    pub table: Option<(usize, usize)>,
    /// Number of the `U` column and the first row of the folded activations; `None` if no activation is a coefficient.
    pub values: Option<(usize, usize)>,
}

/// A matrix of which single columns are read by their numbers, and where it is folded.
#[derive(Clone, Debug)]
pub struct Gather {
    /// The node that it is a term of.
    pub node: usize,
    /// Which of its terms.
    pub term: usize,
    /// The node of the keys.
    pub keys: usize,
    /// Where the folded weights are, in the order of their numbers.
    pub pieces: Vec<GatherPiece>,
}

/// Consecutive folded weights of a [`Gather`] in one `G` column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatherPiece {
    /// Number of the `G` column.
    pub column: usize,
    /// The row of the first.
    pub row: usize,
    /// Which numbers.
    pub inputs: Range<usize>,
}

/// The `V` column of a lane of keys: what is looked up by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// The lane.
    pub lane: usize,
    /// Number of the [`Gather`].
    pub gather: usize,
    /// Rows up to the last key.
    pub rows: usize,
}

/// How the committed weights of a node are folded.
#[derive(Clone, Debug)]
pub enum Fold {
    /// Folded weights beside the activations.
    Direct(Direct),
    /// Folded weights in blocks of the `T` columns.
    Table(Vec<Block>),
}

/// Support of the commitments of a direct node.
#[derive(Clone, Debug)]
pub struct Direct {
    /// Port whose row 0 carries the weights of the constant one.
    pub one: u32,
    /// Ports that are read and the rows that are read in each, ascending.
    pub ports: BTreeMap<u32, Vec<u32>>,
}

/// Where the neurons of a node are and how they are folded.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Cells (first port) of every neuron `[g][o][p]`, input or hint.
    pub cells: Cells,
    /// `None` for inputs and hints, and for nodes that use another one's weights: they are folded with it.
    pub fold: Option<Fold>,
    /// Nodes that are folded here, this one first, and where their positions begin among all of them.
    pub family: Vec<(u32, usize)>,
}

/// Number of columns of each kind, in the order in which advice columns are numbered.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Columns {
    /// Lanes' columns: everything that a neuron needs.
    pub lanes: usize,
    /// Multiplicities, one per table column, then one per `G` column.
    pub multiplicities: usize,
    /// `S` columns.
    pub direct: usize,
    /// `T` columns.
    pub table: usize,
    /// `G` columns.
    pub gathers: usize,
    /// `U` columns.
    pub values: usize,
    /// `V` columns.
    pub gathered: usize,
    /// `E` columns.
    pub free: usize,
    /// Public columns of one challenge each, the same on every row.
    pub constants: usize,
    /// Public columns that follow from the wiring: `κ`, and a `β` for every `T`, `U` and `V` column, if there are free coefficients.
    pub wiring: usize,
    /// Running sums of the lookup argument: of looked-up values and of table columns; of every `V` and every `G` column.
    pub sums: usize,
    /// Running sums of the fold argument.
    pub folds: usize,
}

impl std::ops::AddAssign<&Columns> for Columns {
    fn add_assign(&mut self, other: &Columns) {
        self.lanes += other.lanes;
        self.multiplicities += other.multiplicities;
        self.direct += other.direct;
        self.table += other.table;
        self.gathers += other.gathers;
        self.values += other.values;
        self.gathered += other.gathered;
        self.free += other.free;
        self.constants += other.constants;
        self.wiring += other.wiring;
        self.sums += other.sums;
        self.folds += other.folds;
    }
}

impl Columns {
    /// Columns of phase 1: independent of every challenge.
    pub fn phase1(&self) -> usize {
        self.lanes + self.multiplicities
    }

    /// Folded weights, the same in all runs of a proof: `S`, `T` and `G`.
    pub fn weights(&self) -> usize {
        self.direct + self.table + self.gathers
    }

    /// Folded weights and activations, and what is looked up among the weights, `S`, `T`, `G`, `U` and `V`: the first part of
    /// phase 2.
    pub fn folded(&self) -> usize {
        self.weights() + self.values + self.gathered
    }

    /// Columns of phase 2: folded weights and activations, and coefficients.
    pub fn phase2(&self) -> usize {
        self.folded() + self.free
    }

    /// The public columns, which the verifier knows: behind phase 2.
    pub fn public(&self) -> Range<usize> {
        let first = self.phase1() + self.phase2();
        first..first + self.constants + self.wiring
    }

    /// All advice columns.
    pub fn advice(&self) -> usize {
        self.public().end + self.sums + self.folds
    }
}

/// The layout of a program at a given `k`. Deterministic: prover and verifier compute the same.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Logarithm of the number of rows.
    pub k: u32,
    /// `T`.
    pub range_bits: u32,
    /// The row behind the active ones.
    pub last: usize,
    /// All lanes, bank by bank.
    pub lanes: Vec<Lane>,
    /// All ports, lane by lane.
    pub ports: Vec<Port>,
    /// Placement per node, `None` for wiring.
    pub placements: Vec<Option<Placement>>,
    /// Port that carries the constant one for free coefficients, if there are any.
    pub free_one: Option<u32>,
    /// Used rows of every `T` column.
    pub table_rows: Vec<usize>,
    /// Used rows of every `U` column.
    pub value_rows: Vec<usize>,
    /// What is looked up by its number.
    pub gathers: Vec<Gather>,
    /// Used rows of every `G` column.
    pub gather_rows: Vec<usize>,
    /// All `V` columns, lane by lane.
    pub gathered: Vec<Gathered>,
    /// Weights of the accumulators' running sum.
    pub y_weights: LaneWeights,
    /// Weights of the free coefficients' running sum, if there are any.
    pub e_weights: Option<LaneWeights>,
    /// Columns by kind.
    pub columns: Columns,
    /// Columns per table (range or function).
    pub table_columns: usize,
    /// Number of function tables.
    pub functions: usize,
}

impl Layout {
    /// Rows of the table, `2^k`.
    pub fn rows(&self) -> usize {
        1 << self.k
    }

    /// Advice column of `T` column number `i`.
    pub fn table_column(&self, i: usize) -> usize {
        self.columns.phase1() + self.columns.direct + i
    }

    /// Advice column of `G` column number `i`.
    pub fn gather_column(&self, i: usize) -> usize {
        self.table_column(self.columns.table + i)
    }

    /// Advice column of `U` column number `i`.
    pub fn value_column(&self, i: usize) -> usize {
        self.gather_column(self.columns.gathers + i)
    }

    /// Advice column of `V` column number `i`.
    pub fn gathered_column(&self, i: usize) -> usize {
        self.value_column(self.columns.values + i)
    }

    /// Advice column of the multiplicities of `G` column number `i`.
    pub fn gather_multiplicity(&self, i: usize) -> usize {
        self.columns.phase1() - self.columns.gathers + i
    }

    /// Advice columns that a public column `β` weighs: those of `T`, `U` and `V`.
    pub fn weighed_columns(&self) -> impl Iterator<Item = usize> + '_ {
        let table = (0..self.columns.table).map(|i| self.table_column(i));
        let values = (0..self.columns.values).map(|i| self.value_column(i));
        let gathered = (0..self.columns.gathered).map(|i| self.gathered_column(i));
        table.chain(values).chain(gathered)
    }

    /// Used rows of the [weighed columns](Self::weighed_columns).
    pub fn weighed_rows(&self) -> impl Iterator<Item = usize> + '_ {
        let rows = self.table_rows.iter().chain(&self.value_rows).copied();
        rows.chain(self.gathered.iter().map(|g| g.rows))
    }

    /// Lanes of the inputs, in order.
    pub fn input_lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().filter(|l| l.kind == BankKind::Input)
    }

    /// Lanes of the outputs, in order.
    pub fn output_lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes
            .iter()
            .filter(|l| matches!(l.kind, BankKind::Unit { output: true, .. }))
    }

    /// Cells of all inputs, in order.
    pub fn input_cells<'a>(&'a self, program: &'a Program) -> impl Iterator<Item = Cell> + 'a {
        let inputs = program
            .nodes
            .iter()
            .zip(&self.placements)
            .filter(|(n, _)| matches!(n, Node::Input { .. }));
        inputs
            .filter_map(|(_, p)| p.as_ref())
            .flat_map(|p| p.cells.iter())
    }

    /// Cells of all outputs, in order.
    pub fn output_cells<'a>(&'a self, program: &'a Program) -> impl Iterator<Item = Cell> + 'a {
        program
            .outputs
            .iter()
            .filter_map(|&o| self.placements[o as usize].as_ref())
            .flat_map(|p| p.cells.iter())
    }

    /// Every slot and its cell, node by node and port by port. `expanded` is the program's own.
    pub fn slots<'a>(&'a self, expanded: &'a Expanded) -> impl Iterator<Item = (u32, Cell)> + 'a {
        let placed = self.placements.iter().enumerate();
        let placed = placed.filter_map(|(node, p)| Some((node, p.as_ref()?)));
        placed.flat_map(move |(node, placement)| {
            (0..expanded.ports(node) as u32).flat_map(move |port| {
                let first = expanded.first_slot[node] + port * placement.cells.len() as u32;
                let cells = placement.cells.iter().zip(first..);
                cells.map(move |(cell, slot)| {
                    let port = cell.port + port;
                    (slot, Cell { port, ..cell })
                })
            })
        })
    }

    /// The cell of a slot.
    ///
    /// # Panics
    /// If there is no such slot, or it is one of the constants.
    pub fn cell(&self, expanded: &Expanded, slot: u32) -> Cell {
        let node = expanded.first_slot.partition_point(|&first| first <= slot);
        // Nodes without slots of their own begin where the next one does: the last that begins at or before it is its own.
        let node = node - 1;
        let placement = self.placements[node].as_ref();
        let placement = placement.expect("a slot belongs to a node that was placed");
        let place = (slot - expanded.first_slot[node]) as usize;
        let (port, neuron) = (place / placement.cells.len(), place % placement.cells.len());
        let cell = placement.cells.get(neuron);
        Cell {
            port: cell.port + port as u32,
            ..cell
        }
    }

    /// Number of points in the model commitment.
    pub fn commitments(&self, program: &Program) -> usize {
        let mut total = 0;
        for (node, placement) in program.nodes.iter().zip(&self.placements) {
            if let (
                Node::Neurons(n),
                Some(Placement {
                    fold: Some(fold), ..
                }),
            ) = (node, placement)
            {
                total += match fold {
                    Fold::Direct(d) => d.ports.len() * n.len(),
                    Fold::Table(blocks) => blocks
                        .iter()
                        .filter(|b| b.table.is_some())
                        .map(|b| b.channels.len())
                        .sum(),
                };
            }
        }
        let outputs = |g: &Gather| match &program.nodes[g.node] {
            Node::Neurons(n) => n.outputs as usize,
            _ => 0,
        };
        let gathers = self.gathers.iter();
        total + gathers.map(|g| g.pieces.len() * outputs(g)).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
