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
//! A matrix of activations ([`Weights::Value`]) is folded like a table, into a block of a `U` column.
//!
//! A channel's positions occupy consecutive rows, so that the power of neuron `(o, p)` is a product `a_o · b_p`; the
//! channels of one group that share lanes form a [`Block`].

use crate::error::LayoutError;
use crate::program::{Expanded, Neurons, Node, ONE, Program, Unit, Weights, ZERO};
use std::collections::BTreeMap;
use std::ops::Range;

mod place;
mod weights;

pub use weights::LaneWeights;

use place::{BankBuilder, Placed, deal_out, families, family_positions, place_channels};

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
    /// Cell (first port) of every neuron `[g][o][p]`, input or hint.
    pub cells: Vec<Cell>,
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
    /// Multiplicities, one per table column.
    pub multiplicities: usize,
    /// `S` columns.
    pub direct: usize,
    /// `T` columns.
    pub table: usize,
    /// `U` columns.
    pub values: usize,
    /// `E` columns.
    pub free: usize,
    /// Constant columns that carry challenges.
    pub constants: usize,
    /// Running sums of the lookup argument: of looked-up values and of table columns.
    pub sums: usize,
    /// Running sums of the fold argument.
    pub folds: usize,
}

impl Columns {
    /// Columns of phase 1: independent of every challenge.
    pub fn phase1(&self) -> usize {
        self.lanes + self.multiplicities
    }

    /// Folded weights and activations, `S`, `T` and `U`: the first part of phase 2.
    pub fn folded(&self) -> usize {
        self.direct + self.table + self.values
    }

    /// Columns of phase 2: folded weights and activations, and coefficients.
    pub fn phase2(&self) -> usize {
        self.folded() + self.free
    }

    /// All advice columns.
    pub fn advice(&self) -> usize {
        self.phase1() + self.phase2() + self.constants + self.sums + self.folds
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
    /// Cell of every slot (index: slot; the first [`FIRST_SLOT`](crate::program::FIRST_SLOT) entries are meaningless).
    pub slots: Vec<Cell>,
    /// Port that carries the constant one for free coefficients, if there are any.
    pub free_one: Option<u32>,
    /// Used rows of every `T` column.
    pub table_rows: Vec<usize>,
    /// Used rows of every `U` column.
    pub value_rows: Vec<usize>,
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
    /// Places a program.
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] if `k` is too small for it, [`LayoutError::TooWide`] if more lanes than the fold
    /// argument can weigh would be needed.
    pub fn new(program: &Program, expanded: &Expanded, k: u32) -> Result<Layout, LayoutError> {
        if !(MIN_K..=MAX_K).contains(&k) {
            return Err(LayoutError::K {
                k,
                min: MIN_K,
                max: MAX_K,
            });
        }
        let last = (1usize << k) - BLINDING_ROWS - 1;
        let families = families(program);
        let mut banks: BTreeMap<BankKind, BankBuilder> = BTreeMap::new();
        // (kind, lane within the bank, row) of every cell, and blocks with lanes within the bank.
        let mut placed: Vec<Option<Placed>> = Vec::with_capacity(program.nodes.len());
        for (index, node) in program.nodes.iter().enumerate() {
            let kind = match node {
                Node::Input { .. } => BankKind::Input,
                Node::Hint { .. } => BankKind::Hint,
                Node::Neurons(n) => BankKind::Unit {
                    output: program.outputs.contains(&(index as u32)),
                    unit: n.unit.clone(),
                },
                _ => {
                    placed.push(None);
                    continue;
                }
            };
            let bank = banks
                .entry(kind.clone())
                .or_insert_with(|| BankBuilder { lanes: Vec::new() });
            let family = families.get(&(index as u32)).cloned().unwrap_or_default();
            let (cells, blocks) = match node {
                Node::Neurons(n) if n.leader().is_some() => (Vec::new(), None), // with its leader
                Node::Neurons(n) if family.len() > 1 || !is_direct(n, expanded) => {
                    let positions = family_positions(program, &family);
                    let (cells, blocks) = place_channels(n, positions, bank, last);
                    (cells, Some(blocks))
                }
                Node::Neurons(n) => (bank.sequential(n.len(), last), None),
                Node::Input { len } | Node::Hint { len } => {
                    (bank.sequential(*len as usize, last), None)
                }
                _ => (Vec::new(), None),
            };
            placed.push(Some(Placed {
                kind,
                cells,
                blocks,
                family,
            }));
        }
        deal_out(program, &mut placed);

        // Number lanes, columns and ports.
        let mut lanes = Vec::new();
        let mut ports = Vec::new();
        let mut first_lane = BTreeMap::new();
        let mut next_column = 0;
        let mut candidates = 0;
        for (kind, bank) in &banks {
            first_lane.insert(kind.clone(), lanes.len());
            for _ in &bank.lanes {
                let lane = Lane::new(kind, &mut next_column, &mut candidates, ports.len());
                let mut port = |column: usize, holds_one: bool| {
                    ports.push(Port {
                        lane: lanes.len(),
                        column,
                        holds_one,
                        direct: None,
                        free: None,
                    });
                };
                port(lane.x, *kind != BankKind::Hint);
                if let BankKind::Unit { unit, .. } = kind {
                    if unit.exposes_below() {
                        port(lane.below[0], false);
                    }
                    for &column in &lane.tables {
                        port(column, false);
                    }
                }
                lanes.push(lane);
            }
        }

        let mut layout = Layout {
            k,
            range_bits: program.range_bits,
            last,
            y_weights: LaneWeights::new(candidates).ok_or(LayoutError::TooWide {
                k,
                lanes: candidates,
            })?,
            e_weights: None,
            columns: Columns {
                lanes: next_column,
                ..Columns::default()
            },
            table_columns: (1usize << program.range_bits).div_ceil(last),
            functions: program.tables.len(),
            lanes,
            ports,
            placements: Vec::new(),
            slots: vec![Cell { port: 0, row: 0 }; expanded.slots as usize],
            free_one: None,
            table_rows: Vec::new(),
            value_rows: Vec::new(),
        };
        layout.place_nodes(program, expanded, placed, &first_lane);
        layout.choose_folds(program, expanded)?;
        layout.number_columns()?;
        Ok(layout)
    }

    fn place_nodes(
        &mut self,
        program: &Program,
        expanded: &Expanded,
        placed: Vec<Option<Placed>>,
        first_lane: &BTreeMap<BankKind, usize>,
    ) {
        for (index, placed) in placed.into_iter().enumerate() {
            let Some(placed) = placed else {
                self.placements.push(None);
                continue;
            };
            let offset = first_lane[&placed.kind];
            let cells: Vec<Cell> = placed
                .cells
                .iter()
                .map(|&(lane, row)| Cell {
                    port: self.lanes[offset + lane].first_port as u32,
                    row: row as u32,
                })
                .collect();
            let port_count = expanded.values[index].len();
            let first = expanded.first_slot[index] as usize;
            for port in 0..port_count {
                for (i, cell) in cells.iter().enumerate() {
                    self.slots[first + port * cells.len() + i] = Cell {
                        port: cell.port + port as u32,
                        row: cell.row,
                    };
                }
            }
            let fold = match (&program.nodes[index], placed.blocks) {
                (Node::Neurons(_), Some(mut blocks)) => {
                    for block in &mut blocks {
                        for tile in &mut block.tiles {
                            tile.lane += offset;
                        }
                    }
                    Some(Fold::Table(blocks))
                }
                (Node::Neurons(n), None) if n.leader().is_none() => Some(Fold::Direct(Direct {
                    one: 0,
                    ports: BTreeMap::new(),
                })),
                _ => None,
            };
            let family = placed.family;
            self.placements.push(Some(Placement {
                cells,
                fold,
                family,
            }));
        }
    }

    /// Decides which ports need `S` and `E` columns and gives every block its rows in a `T` column.
    fn choose_folds(&mut self, program: &Program, expanded: &Expanded) -> Result<(), LayoutError> {
        // The first lane is an input lane: banks are ordered by kind.
        const INPUT_PORT: u32 = 0;
        let mut direct = vec![false; self.ports.len()];
        let mut free = vec![false; self.ports.len()];
        let mut any_free = false;
        for (index, node) in program.nodes.iter().enumerate() {
            let Node::Neurons(n) = node else { continue };
            let mut reads: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            let mut reads_one = false;
            let committed = crate::fold::committed_inputs(n);
            let values = crate::fold::value_inputs(n);
            for (_, value, _) in n.operands() {
                let slots = expanded.value(value).slots.iter();
                slots
                    .filter(|&&s| s != ZERO && s != ONE)
                    .for_each(|&s| free[self.slots[s as usize].port as usize] = true);
            }
            let is_direct = matches!(
                self.placements[index],
                Some(Placement {
                    fold: Some(Fold::Direct(_)),
                    ..
                })
            );
            for term in &n.terms {
                let directly = is_direct && term.weights == Weights::Committed;
                any_free |= !directly;
                for &slot in &expanded.value(term.patches).slots {
                    match slot {
                        ZERO => {}
                        ONE => reads_one |= directly,
                        _ => {
                            let cell = self.slots[slot as usize];
                            if directly {
                                direct[cell.port as usize] = true;
                                reads.entry(cell.port).or_default().push(cell.row);
                            } else {
                                free[cell.port as usize] = true;
                            }
                        }
                    }
                }
            }
            match &mut self.placements[index] {
                Some(Placement {
                    fold: Some(Fold::Direct(fold)),
                    ..
                }) => {
                    fold.one = reads
                        .keys()
                        .copied()
                        .find(|&p| self.ports[p as usize].holds_one)
                        .unwrap_or(INPUT_PORT);
                    if reads_one {
                        direct[fold.one as usize] = true;
                        reads.entry(fold.one).or_default().push(0);
                    }
                    for rows in reads.values_mut() {
                        rows.sort_unstable();
                        rows.dedup();
                    }
                    fold.ports = reads;
                }
                Some(Placement {
                    fold: Some(Fold::Table(blocks)),
                    ..
                }) => {
                    for block in blocks {
                        let room = |columns: &mut Vec<usize>, need: usize| {
                            if need > self.last {
                                return Err(LayoutError::TooSmall {
                                    k: self.k,
                                    node: index,
                                    need,
                                    rows: self.last,
                                });
                            }
                            Ok((need > 0).then(|| take_rows(columns, need, self.last)))
                        };
                        block.table = room(&mut self.table_rows, committed)?;
                        block.values = room(&mut self.value_rows, values)?;
                    }
                }
                _ => {}
            }
        }
        if any_free {
            let one = (0..self.ports.len())
                .find(|&p| free[p] && self.ports[p].holds_one)
                .unwrap_or(INPUT_PORT as usize);
            free[one] = true;
            self.free_one = Some(one as u32);
        }
        let mut s = self.columns.lanes; // offset fixed in number_columns
        let mut e = 0;
        for (p, port) in self.ports.iter_mut().enumerate() {
            if direct[p] {
                port.direct = Some(s);
                s += 1;
            }
            if free[p] {
                port.free = Some((0, e));
                e += 1;
            }
        }
        self.columns.direct = s - self.columns.lanes;
        self.columns.table = self.table_rows.len();
        self.columns.values = self.value_rows.len();
        self.columns.free = e;
        if e > 0 {
            self.e_weights = Some(LaneWeights::new(e).ok_or(LayoutError::TooWide {
                k: self.k,
                lanes: e,
            })?);
        }
        Ok(())
    }

    fn number_columns(&mut self) -> Result<(), LayoutError> {
        let c = &mut self.columns;
        c.multiplicities = self.table_columns * (1 + self.functions);
        let e_constants = self.e_weights.as_ref().map_or(0, |w| w.constants);
        c.constants = 1 + usize::from(self.functions > 0) + self.y_weights.constants + e_constants;
        c.sums = crate::gates::lookup_sums(&self.lanes)
            + crate::gates::table_sums(self.table_columns, self.functions);
        c.folds = 2 + usize::from(c.free > 0);
        let direct = c.multiplicities;
        let free = c.phase1() + c.folded();
        for port in &mut self.ports {
            if let Some(column) = &mut port.direct {
                *column += direct;
            }
            if let Some((column, number)) = &mut port.free {
                *column = free + *number;
            }
        }
        if self.columns.advice() > 4096 {
            return Err(LayoutError::TooWide {
                k: self.k,
                lanes: self.lanes.len(),
            });
        }
        Ok(())
    }

    /// Rows of the table, `2^k`.
    pub fn rows(&self) -> usize {
        1 << self.k
    }

    /// Advice column of `T` column number `i`.
    pub fn table_column(&self, i: usize) -> usize {
        self.columns.phase1() + self.columns.direct + i
    }

    /// Advice column of `U` column number `i`.
    pub fn value_column(&self, i: usize) -> usize {
        self.columns.phase1() + self.columns.direct + self.columns.table + i
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
            .flat_map(|p| p.cells.iter().copied())
    }

    /// Cells of all outputs, in order.
    pub fn output_cells<'a>(&'a self, program: &'a Program) -> impl Iterator<Item = Cell> + 'a {
        program
            .outputs
            .iter()
            .filter_map(|&o| self.placements[o as usize].as_ref())
            .flat_map(|p| p.cells.iter().copied())
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
        total
    }
}

impl Lane {
    fn new(
        kind: &BankKind,
        next_column: &mut usize,
        candidates: &mut usize,
        first_port: usize,
    ) -> Lane {
        let mut column = || {
            *next_column += 1;
            *next_column - 1
        };
        let mut lane = Lane {
            kind: kind.clone(),
            x: column(),
            rem: Vec::new(),
            below: Vec::new(),
            above: None,
            products: Vec::new(),
            tables: Vec::new(),
            first_candidate: *candidates,
            first_port,
        };
        if let BankKind::Unit { unit, .. } = kind {
            *candidates += unit.window as usize;
            lane.rem = (0..unit.window).map(|_| column()).collect();
            if unit.has_below() {
                lane.below = (0..unit.window).map(|_| column()).collect();
            }
            if unit.high {
                lane.above = Some(column());
            }
            lane.products = (0..crate::gates::product_cells(unit))
                .map(|_| column())
                .collect();
            lane.tables = unit.tables.iter().map(|_| column()).collect();
        }
        lane
    }
}

/// Whether a node's committed weights are folded beside its inputs: one position, and every element one slot.
fn is_direct(n: &Neurons, expanded: &Expanded) -> bool {
    n.positions == 1
        && n.unit.window == 1
        && n.operands().next().is_none()
        && n.terms
            .iter()
            .all(|t| t.weights != Weights::Committed || expanded.value(t.patches).width == 1)
}

/// Rows in a column that has room for so many, or in a fresh one: number and first row.
fn take_rows(columns: &mut Vec<usize>, need: usize, last: usize) -> (usize, usize) {
    let found = columns.iter().position(|&used| used + need <= last);
    let column = found.unwrap_or_else(|| {
        columns.push(0);
        columns.len() - 1
    });
    let first = columns[column];
    columns[column] += need;
    (column, first)
}

#[cfg(test)]
mod tests;
