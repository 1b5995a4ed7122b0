//! The public coefficients of the fold argument.
//!
//! Everything here is computed by prover and verifier alike from the wiring and the challenges; the weights enter only
//! as folded values `S` and `T` that the model commitment fixes. See [`crate::gates`] for the identities and
//! [`crate::layout`] for direct folds and blocks.
//!
//! With `P[t] = c₀^(step·(last−1−t))` and `λ` the monomial of a lane's candidate, accumulator `(lane, w, row)` has
//! coefficient `ρ = λ·P[row]`. In a block, channel `c` at position `p` (offset `p'` in its tile) factors as
//! `ρ = a_c · b_p`, `a_c = P[row of the channel's last position]`, `b_p = λ · c₀^(step·(height−1−p'))`. Hence for all
//! inputs `i` of a block with folded weights `T_i = Σ_c a_c·W[c,i]`:
//!
//! ```text
//! E_j  =  Σ_blocks Σ_{p,w,i : slot j is in patch[p,w,i]}  b_{p,w} · T_i
//! β_i  =  Σ_{p,w} b_{p,w} · Σ_{j in patch[p,w,i]} ζ_j          so that  Σ_j ζ_j·E_j = Σ_i β_i·T_i
//! ```
//!
//! Coefficients that are activations `A[c,i]` are folded in the same way: `U_i = Σ_c a_c·A[c,i]` takes the place of `T_i` (times
//! the term's factor). `U` is no public function of anything committed before the challenges, so a third identity ties it
//! to the activations: with powers `η_i` of a challenge that is drawn after `U` was committed, `E` of every slot in `A[c,i]` has
//! a further part `η_i·a_c`, so that the products `Σ x·E` have the part `Σ_i η_i·Σ_c a_c·A[c,i]`, from which `Σ_i η_i·U_i` is taken
//! off. As a polynomial in `η`, whose constant part is the identity of the accumulators, the sum vanishes only if all do.
//!
//! Of a matrix whose columns are looked up by their numbers (keys `n_p`) one folded weight counts for each position. With
//! `G_v = Σ_c λ_c·a_c·W[c,v]` over all channels, whatever their block, it stands in a cell `V_p = G_{n_p}` beside the key, and the
//! accumulators contain `Σ_p b_p·V_p`: its `β` is `−b_p`. That `V_p` is the weight of that number is looked up ([`crate::gates`]).

use crate::F;
use crate::layout::{Block, Cells, Fold, Layout};
use crate::multiples;
use crate::parallel;
use crate::program::{Expanded, Neurons, Node, Program, Term, Weights, ZERO};
use ff::Field;
use std::ops::Range;

/// Most threads that free coefficients are computed on, each with as many field elements as there are slots.
const FREE_PARTS: usize = 4;

mod enumeration;
mod late;
mod values;

/// Challenges of the second phase: drawn after everything that does not depend on a challenge was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenges {
    /// `α` of the lookup argument.
    pub alpha: F,
    /// `θ`, compresses pairs; present if there are function tables.
    pub theta: Option<F>,
    /// `c₀, c₁, …`, weigh the accumulators.
    pub y: Vec<F>,
}

/// Challenges of the third phase: drawn after the fold columns were committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateChallenges {
    /// `η`, weighs the folded activations; drawn after they and before the free coefficients were committed. `None` if no
    /// activation is a coefficient.
    pub eta: Option<F>,
    /// `z₀, z₁, …`, weigh the free coefficients; empty if there are none.
    pub e: Vec<F>,
    /// Of the look-ups of folded weights by their numbers, if there are any.
    pub gather: Option<GatherChallenges>,
}

/// Challenges of the look-ups of folded weights by their numbers: drawn after the weights and what is looked up were committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatherChallenges {
    /// In place of `α`.
    pub alpha: F,
    /// In place of `θ`.
    pub theta: F,
}

impl GatherChallenges {
    /// The denominator of a key and a folded weight; the tag is one more than the number of the
    /// [`Gather`](crate::layout::Gather).
    pub fn entry(&self, key: F, weight: F, tag: F) -> F {
        self.alpha + key + self.theta * (weight + self.theta * tag)
    }
}

/// Points of the model commitment that belong together: one per output, all with the same support.
#[derive(Clone, Debug)]
pub struct Group {
    /// The node.
    pub node: usize,
    /// What is committed.
    pub source: Source,
    /// The advice column (`S`, `T` or `G`) that they are linked to.
    pub column: usize,
    /// Rows that a commitment may have entries in, ascending.
    pub rows: Vec<u32>,
    /// Number of points.
    pub points: usize,
}

/// Which weights a [`Group`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// All outputs of a direct node, for the inputs in this port.
    Direct {
        /// Index into [`Layout::ports`].
        port: u32,
    },
    /// The channels of a block.
    Block {
        /// Index among the node's blocks.
        block: usize,
    },
    /// All channels, for inputs that are looked up by their numbers.
    Gather {
        /// Index into [`Layout::gathers`].
        gather: usize,
        /// Index among its pieces.
        piece: usize,
    },
}

/// The groups of the model commitment, in the order in which their points are listed.
pub fn groups(program: &Program, layout: &Layout) -> Vec<Group> {
    let mut groups = Vec::new();
    for (node, placement) in layout.placements.iter().enumerate() {
        let Node::Neurons(n) = &program.nodes[node] else {
            continue;
        };
        match placement.as_ref().and_then(|p| p.fold.as_ref()) {
            Some(Fold::Direct(direct)) => {
                for (&port, rows) in &direct.ports {
                    if let Some(column) = layout.ports[port as usize].direct {
                        groups.push(Group {
                            node,
                            source: Source::Direct { port },
                            column,
                            rows: rows.clone(),
                            points: n.len(),
                        });
                    }
                }
            }
            Some(Fold::Table(blocks)) => {
                for (block, b) in blocks.iter().enumerate() {
                    let Some((table, first)) = b.table else {
                        continue;
                    };
                    let rows = (first..first + n.committed_inputs())
                        .map(|r| r as u32)
                        .collect();
                    let column = layout.table_column(table);
                    groups.push(Group {
                        node,
                        source: Source::Block { block },
                        column,
                        rows,
                        points: b.channels.len(),
                    });
                }
            }
            None => {}
        }
    }
    for (number, gather) in layout.gathers.iter().enumerate() {
        let Node::Neurons(n) = &program.nodes[gather.node] else {
            continue;
        };
        for (index, piece) in gather.pieces.iter().enumerate() {
            let rows = piece.row..piece.row + piece.inputs.len();
            groups.push(Group {
                node: gather.node,
                source: Source::Gather {
                    gather: number,
                    piece: index,
                },
                column: layout.gather_column(piece.column),
                rows: rows.map(|r| r as u32).collect(),
                points: n.outputs as usize,
            });
        }
    }
    groups
}

/// Coefficients that follow from the first challenges.
#[derive(Clone, Debug)]
pub struct Coefficients<'a> {
    program: &'a Program,
    expanded: &'a Expanded,
    layout: &'a Layout,
    /// `P[t]`, one per active row.
    powers: Vec<F>,
    /// `λ` per candidate of every lane.
    lambda: Vec<F>,
}

/// `base^(step·(rows−1−t))` for every row `t`.
fn row_powers(base: F, step: usize, rows: usize) -> Vec<F> {
    let mut powers = multiples::powers(base.pow_vartime([step as u64]), rows);
    powers.reverse();
    powers
}

impl<'a> Coefficients<'a> {
    /// Prepares the powers. `challenges` has as many `y` as the layout has constants.
    pub fn new(
        program: &'a Program,
        expanded: &'a Expanded,
        layout: &'a Layout,
        challenges: &Challenges,
    ) -> Self {
        let weights = &layout.y_weights;
        let base = challenges.y.first().copied().unwrap_or(F::ONE);
        Coefficients {
            program,
            expanded,
            layout,
            powers: row_powers(base, weights.step, layout.last),
            lambda: weights.of_lanes(&challenges.y),
        }
    }

    /// `ρ` of candidate `w` in a lane and row.
    pub fn rho(&self, lane: usize, w: usize, row: usize) -> F {
        self.lambda[self.layout.lanes[lane].first_candidate + w] * self.powers[row]
    }

    /// The coefficients by which the points of a group are folded: `ρ` of every neuron, or `a_c` of every channel.
    pub fn group(&self, group: &Group) -> Vec<F> {
        match (group.source, self.layout.placements[group.node].as_ref()) {
            (Source::Direct { .. }, Some(placement)) => {
                let lane = |port: u32| self.layout.ports[port as usize].lane;
                placement
                    .cells
                    .iter()
                    .map(|c| self.rho(lane(c.port), 0, c.row as usize))
                    .collect()
            }
            (Source::Block { block }, Some(placement)) => match &placement.fold {
                Some(Fold::Table(blocks)) => self.channel_powers(&blocks[block]),
                _ => Vec::new(),
            },
            (Source::Gather { .. }, Some(placement)) => match &placement.fold {
                Some(Fold::Table(blocks)) => blocks.iter().flat_map(|b| self.weights(b)).collect(),
                _ => Vec::new(),
            },
            (_, None) => Vec::new(),
        }
    }

    /// `λ·a_c` of every channel of a block that is in one piece.
    fn weights(&self, block: &Block) -> Vec<F> {
        let first = self.layout.lanes[block.tiles[0].lane].first_candidate;
        let powers = self.channel_powers(block);
        powers.iter().map(|a| self.lambda[first] * a).collect()
    }

    /// `−b_p` in the row of every key, for each `V` column.
    fn gathered(&self) -> Vec<Vec<F>> {
        let layout = self.layout;
        let columns = layout.gathered.iter();
        let mut beta: Vec<Vec<F>> = columns.map(|g| vec![F::ZERO; g.rows]).collect();
        for gather in &layout.gathers {
            let Some(keys) = layout.placements[gather.keys].as_ref() else {
                continue;
            };
            let positions = keys.cells.len();
            for (p, cell) in keys.cells.iter().enumerate() {
                let lane = layout.ports[cell.port as usize].lane;
                // Ascending by lane.
                if let Ok(column) = layout.gathered.binary_search_by_key(&lane, |g| g.lane) {
                    beta[column][cell.row as usize] = -self.position_power(positions, p);
                }
            }
        }
        beta
    }

    /// `a_c` of every channel of a block.
    fn channel_powers(&self, block: &Block) -> Vec<F> {
        (0..block.channels.len())
            .map(|c| self.powers[block.base_row + (c + 1) * block.height - 1])
            .collect()
    }

    /// `c₀^(step·(height−1−offset))`, the position part of a power without `λ`.
    fn position_power(&self, height: usize, offset: usize) -> F {
        self.powers[self.layout.last - height + offset]
    }

    /// Where the folded coefficients of every term of a block are.
    fn folded(&self, n: &Neurons, block: &Block) -> Vec<Folded> {
        let before = inputs_before(n);
        let terms = n.terms.iter().zip(before);
        terms
            .map(|(term, before)| self.folded_term(n, block, term, before))
            .collect()
    }

    /// Where the folded coefficients of one term of a block are. `before`: its entry of [`inputs_before`].
    fn folded_term(&self, n: &Neurons, block: &Block, term: &Term, before: usize) -> Folded {
        let inputs = term.inputs as usize;
        let place = |first: Option<(usize, usize)>| {
            let (column, row) = first.unwrap_or_default();
            (column, row + before)
        };
        match &term.weights {
            Weights::Public(weights) => {
                let first = block.group * n.outputs as usize + block.channels.start;
                let rows = first * inputs..(first + block.channels.len()) * inputs;
                let powers = self.channel_powers(block);
                Folded::Public(multiples::combine(&powers, &weights[rows], inputs))
            }
            Weights::Value { factor, .. } => {
                let (column, row) = place(block.values);
                let factor = small(*factor);
                Folded::Values {
                    column,
                    row,
                    factor,
                }
            }
            Weights::Gathered => Folded::Elsewhere,
            // Members of a family are folded with their leader, whose weights are committed.
            Weights::Committed | Weights::Shared(_) => {
                let (column, row) = place(block.table);
                Folded::Table { column, row }
            }
        }
    }

    /// The free coefficients `E`, per slot (entry `ONE` is the constant's), given the folded weights and activations: the
    /// contents of the `T` and `U` columns.
    pub fn free(&self, table: &[Vec<F>], values: &[Vec<F>], eta: Option<F>) -> Vec<F> {
        let eta = self.eta_powers(eta);
        let parts = self.parts(parallel::threads().min(FREE_PARTS));
        let mut parts =
            parallel::map_into(parts, |nodes| self.free_of(nodes, (table, values), &eta));
        let mut free = parts.pop().unwrap_or_default();
        for part in parts {
            free.iter_mut().zip(part).for_each(|(f, p)| *f += p);
        }
        free[ZERO as usize] = F::ZERO;
        free
    }

    /// The nodes in `count` runs that read about as much.
    fn parts(&self, count: usize) -> Vec<Range<usize>> {
        let read = |node: &Node| match node {
            Node::Neurons(n) => {
                let inputs = n.terms.iter().map(|t| t.inputs as usize).sum::<usize>();
                n.groups as usize * n.positions as usize * n.unit.window as usize * inputs
            }
            _ => 0,
        };
        let nodes = &self.program.nodes;
        let share = nodes.iter().map(read).sum::<usize>() / count.max(1);
        let (mut parts, mut first, mut sum) = (Vec::with_capacity(count), 0, 0);
        for (at, node) in nodes.iter().enumerate() {
            sum += read(node);
            if sum > share {
                parts.push(first..at + 1);
                (first, sum) = (at + 1, 0);
            }
        }
        parts.push(first..nodes.len());
        parts
    }

    /// What some nodes contribute to [`free`](Self::free).
    fn free_of(
        &self,
        nodes: Range<usize>,
        (table, values): (&[Vec<F>], &[Vec<F>]),
        eta: &[Vec<F>],
    ) -> Vec<F> {
        let mut free = vec![F::ZERO; self.expanded.slots as usize];
        for node in nodes {
            let Node::Neurons(n) = &self.program.nodes[node] else {
                continue;
            };
            let placement = self.layout.placements[node].as_ref();
            match placement.map(|p| (&p.cells, &p.fold)) {
                Some((cells, Some(Fold::Direct(_)))) => {
                    self.direct_public(n, cells, |slot, c| free[slot as usize] += c)
                }
                Some((_, Some(Fold::Table(blocks)))) => {
                    self.free_of_blocks(node, n, blocks, (table, values), &mut free);
                    let visit = |slot: u32, _, c| free[slot as usize] += c;
                    self.for_each_operand(n, blocks, eta, visit);
                }
                _ => {}
            }
        }
        free
    }

    /// Visits `(slot, Σ_o ρ_o·W[o,i])` for the public terms of a node with one position.
    fn direct_public(&self, n: &Neurons, cells: &Cells, mut visit: impl FnMut(u32, F)) {
        let outputs = n.outputs as usize;
        for term in &n.terms {
            let Weights::Public(weights) = &term.weights else {
                continue;
            };
            let wires = self.expanded.value(self.program, term.patches);
            let inputs = term.inputs as usize;
            for (neuron, cell) in cells.iter().enumerate() {
                let rho = self.rho(
                    self.layout.ports[cell.port as usize].lane,
                    0,
                    cell.row as usize,
                );
                for (i, &w) in weights[neuron * inputs..(neuron + 1) * inputs]
                    .iter()
                    .enumerate()
                {
                    if w != 0 {
                        let c = rho * small(w);
                        wires
                            .element(neuron / outputs * inputs + i)
                            .iter()
                            .for_each(|&slot| visit(slot, c));
                    }
                }
            }
        }
    }

    fn free_of_blocks(
        &self,
        node: usize,
        n: &Neurons,
        blocks: &[Block],
        (table, values): (&[Vec<F>], &[Vec<F>]),
        free: &mut [F],
    ) {
        let window = n.unit.window as usize;
        for group in 0..n.groups as usize {
            let of_group = blocks_of(blocks, group);
            let Some(model) = of_group.first() else {
                continue;
            };
            let folded: Vec<_> = of_group.iter().map(|b| self.folded(n, b)).collect();
            for k in 0..model.tiles.len() {
                for (t, term) in n.terms.iter().enumerate() {
                    if term.weights == Weights::Gathered {
                        continue;
                    }
                    let inputs = term.inputs as usize;
                    // Σ_blocks λ·T, per candidate and input: all blocks of a group share patches.
                    let mut sums = vec![F::ZERO; window * inputs];
                    for (block, folded) in of_group.iter().zip(&folded) {
                        let (coefficients, factor): (&[F], F) = match &folded[t] {
                            Folded::Public(folded) => (folded, F::ONE),
                            Folded::Table { column, row } => (&table[*column][*row..], F::ONE),
                            Folded::Values {
                                column,
                                row,
                                factor,
                            } => (&values[*column][*row..], *factor),
                            Folded::Elsewhere => continue,
                        };
                        let first = self.layout.lanes[block.tiles[k].lane].first_candidate;
                        for (w, sums) in sums.chunks_mut(inputs).enumerate() {
                            let lambda = self.lambda[first + w] * factor;
                            sums.iter_mut()
                                .zip(coefficients)
                                .for_each(|(f, v)| *f += lambda * v);
                        }
                    }
                    self.for_each_patch(node, group, model, k, t, |power, w, i, slots| {
                        let c = power * sums[w * inputs + i];
                        slots.iter().for_each(|&s| free[s as usize] += c);
                    });
                }
            }
        }
    }

    /// Visits `(position power, candidate, input, slots)` of all positions in one tile, those of the node's family included.
    fn for_each_patch(
        &self,
        node: usize,
        group: usize,
        block: &Block,
        tile: usize,
        term: usize,
        mut visit: impl FnMut(F, usize, usize, &[u32]),
    ) {
        let tile = &block.tiles[tile].positions;
        let family = self.layout.placements[node].iter().flat_map(|p| &p.family);
        for &(member, first) in family {
            let Node::Neurons(n) = &self.program.nodes[member as usize] else {
                continue;
            };
            let wires = self.expanded.value(self.program, n.terms[term].patches);
            let (window, inputs) = (n.unit.window as usize, n.terms[term].inputs as usize);
            let positions = n.positions as usize;
            for p in tile.start.max(first)..tile.end.min(first + positions) {
                let power = self.position_power(block.height, p - tile.start);
                for w in 0..window {
                    let element = ((group * positions + p - first) * window + w) * inputs;
                    for i in 0..inputs {
                        visit(power, w, i, wires.element(element + i));
                    }
                }
            }
        }
    }
}

/// Where the folded coefficients of a term of a block are.
enum Folded {
    /// Here: they are public.
    Public(Vec<F>),
    /// In a `T` column, from this row on.
    Table { column: usize, row: usize },
    /// In a `U` column, from this row on; the term's factor is not in them.
    Values {
        column: usize,
        row: usize,
        factor: F,
    },
    /// In `G` columns.
    Elsewhere,
}

/// For every term the inputs of the terms before it that are folded into the same column.
fn inputs_before(n: &Neurons) -> Vec<usize> {
    let (mut table, mut values) = (0, 0);
    let terms = n.terms.iter().map(|term| {
        let sum = match term.weights {
            Weights::Committed | Weights::Shared(_) => &mut table,
            Weights::Value { .. } => &mut values,
            Weights::Public(_) | Weights::Gathered => return 0,
        };
        *sum += term.inputs as usize;
        *sum - term.inputs as usize
    });
    terms.collect()
}

/// The blocks of a group: they are listed group by group.
fn blocks_of(blocks: &[Block], group: usize) -> &[Block] {
    let from = blocks.partition_point(|b| b.group < group);
    let count = blocks[from..].partition_point(|b| b.group == group);
    &blocks[from..from + count]
}

/// A small signed integer as a field element.
pub fn small(v: i64) -> F {
    if v < 0 {
        -F::from(v.unsigned_abs())
    } else {
        F::from(v.unsigned_abs())
    }
}
