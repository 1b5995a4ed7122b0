//! From a program to its layout: lanes and ports, cells of the nodes, what is folded where, numbers of the columns.

use super::lookups::{lookup_sums, product_cells, table_sums};
use super::place::{BankBuilder, Placed, deal_out, families, family_positions, place_channels};
use super::resolve::Resolver;
use super::span::{Loop, Span};
use super::{
    BLINDING_ROWS, BankKind, Cells, Columns, Direct, Fold, Gather, GatherPiece, Gathered, Lane,
    LaneWeights, Layout, MAX_K, MIN_K, Placement, Port,
};
use crate::error::LayoutError;
use crate::program::{Expanded, Neurons, Node, Program, ValueRef, Weights};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Lanes, bank by bank, with their columns and ports.
struct Numbered {
    lanes: Vec<Lane>,
    ports: Vec<Port>,
    /// Number of the first lane of every bank.
    first_lane: BTreeMap<BankKind, usize>,
    columns: usize,
    candidates: usize,
}

impl Numbered {
    fn new(banks: &BTreeMap<BankKind, BankBuilder>) -> Numbered {
        let mut numbered = Numbered {
            lanes: Vec::new(),
            ports: Vec::new(),
            first_lane: BTreeMap::new(),
            columns: 0,
            candidates: 0,
        };
        for (kind, bank) in banks {
            let first = numbered.lanes.len();
            numbered.first_lane.insert(kind.clone(), first);
            bank.lanes.iter().for_each(|_| numbered.add(kind));
        }
        numbered
    }

    fn add(&mut self, kind: &BankKind) {
        let first_port = self.ports.len();
        let lane = Lane::new(kind, &mut self.columns, &mut self.candidates, first_port);
        let number = self.lanes.len();
        let mut port = |column: usize, holds_one: bool| {
            self.ports.push(Port {
                lane: number,
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
            if unit.exposes_rest() {
                port(lane.middle.unwrap_or(lane.rem[0]), false);
            }
        }
        self.lanes.push(lane);
    }
}

/// Most columns.
const MAX_COLUMNS: usize = 4096;

/// The first lane is an input lane: banks are ordered by kind.
const INPUT_PORT: u32 = 0;

/// Ports that need columns of folded weights beside them (`S`), or free coefficients (`E`).
struct Wanted {
    direct: Vec<bool>,
    free: Vec<bool>,
    any_free: bool,
}

/// What a node reads directly.
#[derive(Default)]
struct Reads {
    /// Rows by port.
    rows: BTreeMap<u32, Vec<u32>>,
    /// Whether it reads the constant one.
    one: bool,
}

impl Reads {
    /// The support of a direct node; the constant one stands at a port that it reads, if one can carry it.
    fn into_fold(mut self, ports: &[Port], fold: &mut Direct, wanted: &mut Wanted) {
        let can_carry = |p: &u32| ports[*p as usize].holds_one;
        fold.one = self
            .rows
            .keys()
            .copied()
            .find(can_carry)
            .unwrap_or(INPUT_PORT);
        if self.one {
            wanted.direct[fold.one as usize] = true;
            self.rows.entry(fold.one).or_default().push(0);
        }
        for rows in self.rows.values_mut() {
            rows.sort_unstable();
            rows.dedup();
        }
        fold.ports = self.rows;
    }
}

impl Layout {
    /// Places a program that was checked. At most `pieces` pieces of its wiring are looked at
    /// ([`ProgramLimits::pieces`](crate::program::ProgramLimits::pieces)).
    ///
    /// # Errors
    /// [`LayoutError::TooSmall`] if `k` is too small for it, [`LayoutError::TooWide`] if more lanes than the fold
    /// argument can weigh would be needed, [`LayoutError::Pieces`] beyond the limit.
    pub fn new(
        program: &Program,
        expanded: &Expanded,
        k: u32,
        pieces: usize,
    ) -> Result<Layout, LayoutError> {
        if !(MIN_K..=MAX_K).contains(&k) {
            return Err(LayoutError::K {
                k,
                min: MIN_K,
                max: MAX_K,
            });
        }
        let last = (1usize << k) - BLINDING_ROWS - 1;
        let families = families(program);
        let gathers: Vec<Gather> = gathers(program);
        let keys: HashMap<usize, u32> = gathers.iter().map(|g| g.keys).zip(0..).collect();
        let mut banks: BTreeMap<BankKind, BankBuilder> = BTreeMap::new();
        // (kind, lane within the bank, row) of every cell, and blocks with lanes within the bank.
        let mut placed: Vec<Option<Placed>> = Vec::with_capacity(program.nodes.len());
        let mut parts = 0usize;
        for (index, node) in program.nodes.iter().enumerate() {
            let kind = match node {
                Node::Input { .. } => BankKind::Input,
                Node::Hint { .. } => BankKind::Hint,
                Node::Neurons(n) => BankKind::Unit {
                    output: program.outputs.contains(&(index as u32)),
                    unit: n.unit.clone(),
                    keys: keys.get(&index).copied(),
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
                Node::Neurons(n) if n.leader().is_some() => (Cells::default(), None), // with its leader
                Node::Neurons(n) if family.len() > 1 || !is_direct(n, expanded) => {
                    parts = parts.saturating_add(parts_of(n, family.len()));
                    if parts > pieces.saturating_mul(PARTS) {
                        return Err(LayoutError::Pieces { node: index });
                    }
                    let positions = family_positions(program, &family);
                    let (cells, blocks) = place_channels(n, positions, bank, last);
                    (cells, Some(blocks))
                }
                Node::Neurons(n) => (bank.sequential(n.len(), last), None),
                Node::Input { len } | Node::Hint { len } => {
                    (bank.sequential(*len as usize, last), None)
                }
                _ => (Cells::default(), None),
            };
            placed.push(Some(Placed {
                kind,
                cells,
                blocks,
                family,
            }));
        }
        deal_out(program, &mut placed);

        let Numbered {
            lanes,
            ports,
            first_lane,
            columns: next_column,
            candidates,
        } = Numbered::new(&banks);
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
            free_one: None,
            table_rows: Vec::new(),
            value_rows: Vec::new(),
            gathers,
            gather_rows: Vec::new(),
            gathered: Vec::new(),
        };
        layout.place_nodes(program, placed, &first_lane);
        layout.place_gathers(program, pieces)?;
        layout.choose_folds(program, expanded, pieces)?;
        layout.number_columns()?;
        Ok(layout)
    }

    fn place_nodes(
        &mut self,
        program: &Program,
        placed: Vec<Option<Placed>>,
        first_lane: &BTreeMap<BankKind, usize>,
    ) {
        for (index, placed) in placed.into_iter().enumerate() {
            let Some(placed) = placed else {
                self.placements.push(None);
                continue;
            };
            let offset = first_lane[&placed.kind];
            let mut cells = placed.cells;
            cells.map_ports(|lane| self.lanes[offset + lane as usize].first_port as u32);
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

    /// Gives everything that is looked up by its number rows in `G` columns, and the lanes of its keys `V` columns.
    fn place_gathers(&mut self, program: &Program, pieces: usize) -> Result<(), LayoutError> {
        let (k, last) = (self.k, self.last);
        let mut parts = 0usize;
        for gather in &mut self.gathers {
            let Node::Neurons(n) = &program.nodes[gather.node] else {
                continue;
            };
            // All channels of a position have the same power of the row, whatever their lane.
            let positions = n.positions as usize;
            if positions >= last {
                return Err(LayoutError::Positions {
                    k,
                    node: gather.node,
                    positions,
                    rows: last - 1,
                });
            }
            let inputs = n.terms[gather.term].inputs as usize;
            parts = parts
                .saturating_add(inputs.div_ceil(NUMBERS))
                .saturating_add(1);
            if parts > pieces {
                return Err(LayoutError::Pieces { node: gather.node });
            }
            let mut first = 0;
            while first < inputs {
                let count = (inputs - first).min(last);
                let (column, row) = take_rows(&mut self.gather_rows, count, last);
                if column >= MAX_COLUMNS {
                    return Err(LayoutError::TooWide { k, lanes: column });
                }
                let inputs = first..first + count;
                gather.pieces.push(GatherPiece {
                    column,
                    row,
                    inputs,
                });
                first += count;
            }
        }
        let mut rows = vec![0; self.lanes.len()];
        for gather in &self.gathers {
            let cells = self.placements[gather.keys].as_ref().map(|p| &p.cells);
            for stretch in cells.iter().flat_map(|c| c.stretches()) {
                let lane = self.ports[stretch.cell.port as usize].lane;
                let end = stretch.cell.row as usize + stretch.len;
                rows[lane] = end.max(rows[lane]);
            }
        }
        for (number, (lane, rows)) in self.lanes.iter().zip(rows).enumerate() {
            if let BankKind::Unit {
                keys: Some(gather), ..
            } = lane.kind
            {
                self.gathered.push(Gathered {
                    lane: number,
                    gather: gather as usize,
                    rows,
                });
            }
        }
        Ok(())
    }

    /// Decides which ports need `S` and `E` columns and gives every block its rows in a `T` column.
    fn choose_folds(
        &mut self,
        program: &Program,
        expanded: &Expanded,
        pieces: usize,
    ) -> Result<(), LayoutError> {
        let mut follow = Follow::new(program, self, pieces);
        let mut wanted = Wanted {
            direct: vec![false; self.ports.len()],
            free: vec![false; self.ports.len()],
            // What is looked up by its number is weighed by a `β`, which there is beside free coefficients.
            any_free: !self.gathers.is_empty(),
        };
        for (index, node) in program.nodes.iter().enumerate() {
            let Node::Neurons(n) = node else { continue };
            let placement = self.placements[index].as_ref();
            let is_direct = placement.is_some_and(|p| matches!(p.fold, Some(Fold::Direct(_))));
            let reads = follow.reads(n, expanded, is_direct, &mut wanted);
            let reads = reads.ok_or(LayoutError::Pieces { node: index })?;
            let fold = self.placements[index].as_mut();
            match fold.and_then(|p| p.fold.as_mut()) {
                Some(Fold::Direct(fold)) => reads.into_fold(&self.ports, fold, &mut wanted),
                Some(Fold::Table(blocks)) => {
                    let (k, last) = (self.k, self.last);
                    let room = |columns: &mut Vec<usize>, need: usize| {
                        if need > last {
                            return Err(LayoutError::TooSmall {
                                k,
                                node: index,
                                need,
                                rows: last,
                            });
                        }
                        Ok((need > 0).then(|| take_rows(columns, need, last)))
                    };
                    for block in blocks {
                        block.table = room(&mut self.table_rows, n.committed_inputs())?;
                        block.values = room(&mut self.value_rows, n.value_inputs())?;
                    }
                }
                None => {}
            }
        }
        self.number_folds(wanted)
    }

    /// Numbers the `S` and `E` columns of the ports that want them.
    fn number_folds(&mut self, mut wanted: Wanted) -> Result<(), LayoutError> {
        if wanted.any_free {
            let one = (0..self.ports.len())
                .find(|&p| wanted.free[p] && self.ports[p].holds_one)
                .unwrap_or(INPUT_PORT as usize);
            wanted.free[one] = true;
            self.free_one = Some(one as u32);
        }
        let mut s = self.columns.lanes; // offset fixed in number_columns
        let mut e = 0;
        for (p, port) in self.ports.iter_mut().enumerate() {
            if wanted.direct[p] {
                port.direct = Some(s);
                s += 1;
            }
            if wanted.free[p] {
                port.free = Some((0, e));
                e += 1;
            }
        }
        self.columns.direct = s - self.columns.lanes;
        self.columns.table = self.table_rows.len();
        self.columns.gathers = self.gather_rows.len();
        self.columns.values = self.value_rows.len();
        self.columns.gathered = self.gathered.len();
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
        c.multiplicities = self.table_columns * (1 + self.functions) + c.gathers;
        let e_constants = self.e_weights.as_ref().map_or(0, |w| w.constants);
        c.constants = 1 + usize::from(self.functions > 0) + self.y_weights.constants + e_constants;
        c.constants += if self.gathers.is_empty() { 0 } else { 2 };
        c.wiring = match c.free {
            0 => 0,
            _ => 1 + c.table + c.values + c.gathered,
        };
        c.sums = lookup_sums(&self.lanes) + table_sums(self.table_columns, self.functions);
        c.sums += c.gathered + c.gathers;
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
        if self.columns.advice() > MAX_COLUMNS {
            return Err(LayoutError::TooWide {
                k: self.k,
                lanes: self.lanes.len(),
            });
        }
        Ok(())
    }
}

/// Follows the wiring to the ports that are read, by the piece.
struct Follow<'a> {
    resolver: Resolver<'a>,
    /// Values whose ports are known to be read by free coefficients.
    known: HashSet<ValueRef>,
}

impl<'a> Follow<'a> {
    fn new(program: &'a Program, layout: &Layout, pieces: usize) -> Self {
        Follow {
            resolver: Resolver::new(program, &layout.placements, pieces),
            known: HashSet::new(),
        }
    }

    /// What a node reads directly; notes which ports it reads in which way. `None` beyond the limit on pieces.
    fn reads(
        &mut self,
        n: &Neurons,
        expanded: &Expanded,
        is_direct: bool,
        wanted: &mut Wanted,
    ) -> Option<Reads> {
        let mut reads = Reads::default();
        for (_, value, _) in n.operands() {
            self.freely(value, expanded, wanted)?;
        }
        for term in &n.terms {
            if term.weights == Weights::Gathered {
                continue;
            }
            if !is_direct || term.weights != Weights::Committed {
                wanted.any_free = true;
                self.freely(term.patches, expanded, wanted)?;
                continue;
            }
            let len = expanded.shape(term.patches)?.len;
            for run in self.resolver.resolve(term.patches, all_of(len)).ok()? {
                let Some(port) = run.port else {
                    reads.one = true;
                    continue;
                };
                wanted.direct[port as usize] = true;
                let rows = reads.rows.entry(port).or_default();
                self.resolver.spend_on_targets(run.len()).ok()?;
                run.for_each_row(|row| rows.push(row as u32));
            }
        }
        Some(reads)
    }

    /// Notes that the ports which a value is read from want free coefficients.
    fn freely(&mut self, value: ValueRef, expanded: &Expanded, wanted: &mut Wanted) -> Option<()> {
        if self.known.insert(value) {
            let len = expanded.shape(value)?.len;
            for run in self.resolver.resolve(value, all_of(len)).ok()? {
                if let Some(port) = run.port {
                    wanted.free[port as usize] = true;
                }
            }
        }
        Some(())
    }
}

/// All elements of a value of so many.
fn all_of(len: usize) -> Span {
    Span {
        base: 0,
        at: [0; 4],
        loops: vec![Loop {
            count: len as i64,
            stride: 1,
            steps: [0; 4],
        }],
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
            middle: None,
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
            lane.middle = unit.deep.then(&mut column);
            if unit.has_below() {
                lane.below = (0..unit.window).map(|_| column()).collect();
            }
            if unit.high {
                lane.above = Some(column());
            }
            lane.products = (0..product_cells(unit)).map(|_| column()).collect();
            lane.tables = unit.tables.iter().map(|_| column()).collect();
        }
        lane
    }
}

/// So many rows that are looked up by their numbers count as a piece: each is in two fixed columns.
const NUMBERS: usize = 8;
/// So many parts count as a piece.
const PARTS: usize = 8;
/// Parts that a block counts as.
const BLOCK: usize = 4;

/// What the placement of a folded table takes in memory that a card asks for in a few bytes: a block for every group, and for
/// nodes that share weights a stretch of rows for every channel of each of them.
fn parts_of(n: &Neurons, members: usize) -> usize {
    let groups = n.groups as usize;
    let channels = groups.saturating_mul(n.outputs as usize);
    let stretches = match members {
        0 | 1 => 0,
        members => channels.saturating_mul(members),
    };
    groups.saturating_mul(BLOCK).saturating_add(stretches)
}

/// Whether a node's committed weights are folded beside its inputs: one position, and every element one slot.
fn is_direct(n: &Neurons, expanded: &Expanded) -> bool {
    n.positions == 1
        && n.unit.window == 1
        && n.operands().next().is_none()
        && n.gathers().next().is_none()
        && n.terms.iter().all(|t| {
            let narrow = || expanded.shape(t.patches).is_some_and(|s| s.width == 1);
            t.weights != Weights::Committed || narrow()
        })
}

/// What is looked up by its number, before it has a place.
fn gathers(program: &Program) -> Vec<Gather> {
    let gathers = program.gathers();
    gathers
        .map(|(node, term, keys)| Gather {
            node,
            term,
            keys,
            pieces: Vec::new(),
        })
        .collect()
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
