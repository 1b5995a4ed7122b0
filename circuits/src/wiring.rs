//! The wiring of a program as affine pieces, and sums over it in closed form.
//!
//! What the verifier needs of the wiring are sums over all cells that a linear map reads, of monomials that are powers of one
//! challenge in the position of the reader and of another one in the row of the cell ([`crate::fold`]). Along one *piece*, some
//! nested counters along which position, input and row move by fixed steps, such a sum is a product of geometric series.
//! So the wiring is followed once for each card, by the piece, and written out nowhere: a convolution without padding is one piece
//! whatever its size, one with padding a piece for each offset of its kernel. What is not regular, a gather by stored indices, is a piece
//! for each element, and the limit on pieces is what bounds it.
//!
//! From elements of a value to cells: `layout::resolve`. Geometric series: `series`.

mod series;
#[cfg(test)]
mod tests;

use crate::F;
use crate::error::ProgramError;
use crate::layout::resolve::{Resolver, Run};
use crate::layout::span::{Digits, GROUP, INPUT, Loop, POSITION, Span, WINDOW};
use crate::layout::{Block, Fold, Layout};
use crate::multiples;
use crate::program::{Neurons, Node, Program, Term, Weights};
pub(crate) use series::{Bases, Series};
use series::{Ratio, Ratios};
use std::ops::Range;

/// The pieces of all linear maps that are tied to free coefficients.
#[derive(Clone, Debug)]
pub struct Wiring {
    nodes: Vec<Maps>,
    pieces: Vec<Piece>,
    counters: Vec<Counter>,
    ratios: Ratios,
    /// Most sums that are added to at once.
    widest: usize,
    /// How many sums there are.
    sums: usize,
    /// How often something is added to one of them.
    additions: usize,
    /// How many public weights they are multiplied by, each as often as it is.
    weights: usize,
    /// How much of the limit was needed.
    spent: usize,
}

/// Which pieces belong to a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maps {
    /// What the terms of a folded table read, by tile, then by term; of a direct node, what its public terms read.
    pub patches: Vec<Vec<Range<usize>>>,
    /// The activations of all blocks that are coefficients.
    pub operands: Range<usize>,
}

/// `Σ λ·y^a·z^b·η^c` over some counters, each of which multiplies the monomial by a fixed ratio in every step.
#[derive(Clone, Debug)]
struct Piece {
    /// Number of the `E` column.
    number: u32,
    y: u32,
    z: u32,
    eta: u32,
    /// Which sum it is part of.
    target: i64,
    counters: Range<usize>,
}

/// A counter of a piece.
#[derive(Clone, Debug)]
struct Counter {
    count: u32,
    ratio: u32,
    /// How far a step moves the target; where it does not, the counter is a geometric series.
    target: i64,
}

/// How the monomials of a map follow from the digits of what it reads.
struct Reading {
    /// Exponent of `y` where all digits are zero, and how far a position moves it.
    y: (i64, i64),
    /// The same of `η`, and an input.
    eta: (i64, i64),
    /// How far the digits move the target.
    target: Digits,
}

impl Wiring {
    /// Follows the wiring of a program that was checked and placed.
    ///
    /// # Errors
    /// Names the node at which more than `limit` pieces were looked at.
    pub fn new(program: &Program, layout: &Layout, limit: usize) -> Result<Wiring, ProgramError> {
        let mut builder = Builder {
            layout,
            resolver: Resolver::new(program, &layout.placements, limit),
            wiring: Wiring {
                nodes: Vec::with_capacity(program.nodes.len()),
                pieces: Vec::new(),
                counters: Vec::new(),
                ratios: Ratios::default(),
                widest: 0,
                sums: 0,
                additions: 0,
                weights: 0,
                spent: 0,
            },
        };
        for (index, node) in program.nodes.iter().enumerate() {
            let fold = layout.placements[index].as_ref();
            let maps = match (node, fold.and_then(|p| p.fold.as_ref())) {
                (Node::Neurons(n), Some(Fold::Direct(_))) => builder.direct(n),
                (Node::Neurons(n), Some(Fold::Table(blocks))) => {
                    let family = fold.map_or(&[][..], |p| &p.family);
                    builder.table(program, n, blocks, family)
                }
                _ => Some(Maps::default()),
            };
            builder.wiring.nodes.push(maps.ok_or(ProgramError::Node {
                node: index,
                reason: "its wiring has more pieces than the limit",
            })?);
        }
        builder.wiring.spent = limit - builder.resolver.left();
        Ok(builder.wiring)
    }

    /// How much of the limit on pieces was needed.
    pub(crate) fn spent(&self) -> usize {
        self.spent
    }

    /// Number of pieces.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Number of sums that pieces are added to.
    pub fn sums(&self) -> usize {
        self.sums
    }

    /// How often a piece is added to a sum: what a verification takes time for besides pieces.
    pub fn additions(&self) -> usize {
        self.additions
    }

    /// How many public weights sums are multiplied by: once for each part of a table's columns that a lane's positions lie in.
    pub fn weights(&self) -> usize {
        self.weights
    }

    /// About what it takes in memory, in bytes.
    pub fn memory(&self) -> usize {
        size_of::<Piece>() * self.pieces.capacity()
            + size_of::<Counter>() * self.counters.capacity()
            + 3 * size_of::<Ratio>() * self.ratios.len()
    }

    /// What the sums of one verification take, in bytes: the sums, the powers that neighbours differ by, and folded weights.
    pub(crate) fn sums_memory(&self) -> usize {
        (3 * size_of::<F>()).saturating_mul(self.widest)
    }

    /// Which pieces belong to a node.
    pub(crate) fn maps(&self, node: usize) -> &Maps {
        &self.nodes[node]
    }

    /// All geometric series that occur. `None` if a challenge is zero.
    pub(crate) fn series(&self, bases: &Bases<'_>) -> Option<Series> {
        self.ratios.evaluate(bases)
    }

    /// Adds the sums over pieces to their targets.
    pub(crate) fn add(
        &self,
        pieces: Range<usize>,
        bases: &Bases<'_>,
        series: &Series,
        targets: &mut [F],
    ) {
        let mut running = Vec::new();
        let mut last = Last::default();
        for piece in &self.pieces[pieces] {
            let mut value = bases.monomial(piece.number, piece.y, piece.z, piece.eta);
            running.clear();
            for counter in &self.counters[piece.counters.clone()] {
                if counter.target == 0 {
                    value *= series.sum(counter.ratio);
                } else {
                    running.push((counter, series.ratio(counter.ratio)));
                }
            }
            last.spread(&running, piece.target, value, targets);
        }
    }
}

/// Powers of the ratio that neighbouring targets differed by last: many pieces in a row have the same one.
#[derive(Default)]
struct Last {
    ratio: F,
    powers: Vec<F>,
}

impl Last {
    /// Adds a monomial to all targets that some counters move it to.
    fn spread(&mut self, counters: &[(&Counter, F)], target: i64, value: F, targets: &mut [F]) {
        let Some((&(counter, ratio), others)) = counters.split_first() else {
            targets[target as usize] += value;
            return;
        };
        if others.is_empty() && counter.target == 1 {
            let count = counter.count as usize;
            multiples::add(
                &mut targets[target as usize..][..count],
                value,
                self.powers(ratio, count),
            );
            return;
        }
        let (mut target, mut value) = (target, value);
        for _ in 0..counter.count {
            self.spread(others, target, value, targets);
            target += counter.target;
            value *= ratio;
        }
    }

    /// At least `count` powers of a ratio, from the zeroth on.
    fn powers(&mut self, ratio: F, count: usize) -> &[F] {
        if self.ratio != ratio || self.powers.len() < count {
            *self = Last {
                ratio,
                powers: multiples::powers(ratio, count),
            };
        }
        &self.powers
    }
}

struct Builder<'a> {
    layout: &'a Layout,
    resolver: Resolver<'a>,
    wiring: Wiring,
}

impl Builder<'_> {
    /// What the public terms of a direct node read.
    fn direct(&mut self, n: &Neurons) -> Option<Maps> {
        let mut ranges = Vec::with_capacity(n.terms.len());
        for term in &n.terms {
            let from = self.wiring.pieces.len();
            if matches!(term.weights, Weights::Public(_)) {
                self.targets(n, term.inputs)?;
                self.weights(term)?;
                let span = patches(n, term.inputs, 0..1, 0);
                let reading = Reading {
                    y: (0, 0),
                    eta: (0, 0),
                    target: targets(n, term.inputs),
                };
                let runs = self.resolver.resolve(term.patches, span).ok()?;
                self.push_all(runs, &reading)?;
            }
            ranges.push(from..self.wiring.pieces.len());
        }
        Some(Maps {
            patches: vec![ranges],
            operands: 0..0,
        })
    }

    /// What a folded table reads: the patches of the node and of all that share its weights, and its operands.
    fn table(
        &mut self,
        program: &Program,
        n: &Neurons,
        blocks: &[Block],
        family: &[(u32, usize)],
    ) -> Option<Maps> {
        // All blocks are cut into the same tiles.
        let Some(model) = blocks.first() else {
            return Some(Maps::default());
        };
        let mut patches_of = Vec::with_capacity(model.tiles.len());
        for tile in &model.tiles {
            let mut ranges = Vec::with_capacity(n.terms.len());
            for (t, term) in n.terms.iter().enumerate() {
                let from = self.wiring.pieces.len();
                if term.weights == Weights::Gathered {
                    // A power for every position.
                    self.resolver.spend_on_targets(n.positions as usize).ok()?;
                    ranges.push(from..from);
                    continue;
                }
                self.targets(n, term.inputs)?;
                self.weights(term)?;
                let reading = Reading {
                    y: (model.height as i64 - 1, -1),
                    eta: (0, 0),
                    target: targets(n, term.inputs),
                };
                for &(member, first) in family {
                    let Node::Neurons(m) = &program.nodes[member as usize] else {
                        continue;
                    };
                    let own = first..first + m.positions as usize;
                    let (from, to) = (
                        tile.positions.start.max(own.start),
                        tile.positions.end.min(own.end),
                    );
                    if from < to {
                        let positions = from - first..to - first;
                        let offset = from - tile.positions.start;
                        let span = patches(m, term.inputs, positions, offset);
                        let runs = self.resolver.resolve(m.terms[t].patches, span).ok()?;
                        self.push_all(runs, &reading)?;
                    }
                }
                ranges.push(from..self.wiring.pieces.len());
            }
            patches_of.push(ranges);
        }
        let from = self.wiring.pieces.len();
        self.operands(n, blocks)?;
        Some(Maps {
            patches: patches_of,
            operands: from..self.wiring.pieces.len(),
        })
    }

    /// Counts the sums of a term, one for every group, candidate and input.
    fn targets(&mut self, n: &Neurons, inputs: u32) -> Option<()> {
        let each = n.unit.window as usize * inputs as usize;
        let count = (n.groups as usize).saturating_mul(each);
        self.wiring.widest = self.wiring.widest.max(count);
        self.wiring.sums = self.wiring.sums.saturating_add(count);
        self.resolver.spend_on_targets(count).ok()
    }

    /// Counts the weights of a term if they are public.
    fn weights(&mut self, term: &Term) -> Option<()> {
        let Weights::Public(weights) = &term.weights else {
            return Some(());
        };
        self.wiring.weights = self.wiring.weights.saturating_add(weights.len());
        self.resolver.spend_on_weights(weights.len()).ok()
    }

    fn operands(&mut self, n: &Neurons, blocks: &[Block]) -> Option<()> {
        for block in blocks {
            let Some((column, mut row)) = block.values else {
                continue;
            };
            let before: usize = self.layout.value_rows[..column].iter().sum();
            for (term, value, _) in n.operands() {
                let inputs = i64::from(term.inputs);
                let channel = block.group * n.outputs as usize + block.channels.start;
                let span = Span {
                    base: channel as i64 * inputs,
                    at: [0; 4],
                    loops: vec![
                        counter(block.channels.len() as i64, inputs, POSITION),
                        counter(inputs, 1, INPUT),
                    ],
                };
                let runs = self.resolver.resolve(value, span).ok()?;
                let height = block.height as i64;
                let reading = Reading {
                    y: (
                        self.layout.last as i64 - block.base_row as i64 - height,
                        -height,
                    ),
                    // The first power belongs to the first row.
                    eta: ((before + row + 1) as i64, 1),
                    target: [0; 4],
                };
                self.push_all(runs, &reading)?;
                row += term.inputs as usize;
            }
        }
        Some(())
    }

    fn push_all(&mut self, runs: Vec<Run>, reading: &Reading) -> Option<()> {
        for run in runs {
            let additions = self.push(run, reading);
            self.wiring.additions = self.wiring.additions.saturating_add(additions);
            self.resolver.spend_on_targets(additions).ok()?;
        }
        Some(())
    }

    /// Adds a piece; to how many sums it is added.
    fn push(&mut self, run: Run, reading: &Reading) -> usize {
        let Some(port) = run.port.or(self.layout.free_one) else {
            return 0;
        };
        let Some((_, number)) = self.layout.ports[port as usize].free else {
            return 0;
        };
        let mut additions = 1usize;
        let last = self.layout.last as i64;
        let along = |digits: &Digits| -> i64 {
            digits.iter().zip(&reading.target).map(|(d, t)| d * t).sum()
        };
        let from = self.wiring.counters.len();
        for l in &run.loops {
            let ratio = Ratio {
                count: l.count as u32,
                y: reading.y.1 * l.steps[POSITION],
                z: -l.stride,
                eta: reading.eta.1 * l.steps[INPUT],
            };
            let target = along(&l.steps);
            if target != 0 {
                additions = additions.saturating_mul(l.count as usize);
            }
            self.wiring.counters.push(Counter {
                count: ratio.count,
                ratio: self.wiring.ratios.number(ratio),
                target,
            });
        }
        self.wiring.pieces.push(Piece {
            number: number as u32,
            y: (reading.y.0 + reading.y.1 * run.at[POSITION]) as u32,
            z: (last - 1 - run.row) as u32,
            eta: (reading.eta.0 + reading.eta.1 * run.at[INPUT]) as u32,
            target: along(&run.at),
            counters: from..self.wiring.counters.len(),
        });
        additions
    }
}

fn counter(count: i64, stride: i64, digit: usize) -> Loop {
    let mut steps = [0; 4];
    steps[digit] = 1;
    Loop {
        count,
        stride,
        steps,
    }
}

/// The elements of patches `[group][position][window][input]` at some positions, the first of which counts as `offset`.
fn patches(n: &Neurons, inputs: u32, positions: Range<usize>, offset: usize) -> Span {
    let (inputs, window) = (i64::from(inputs), i64::from(n.unit.window));
    let mut at = [0; 4];
    at[POSITION] = offset as i64;
    Span {
        base: positions.start as i64 * window * inputs,
        at,
        loops: vec![
            counter(
                i64::from(n.groups),
                i64::from(n.positions) * window * inputs,
                GROUP,
            ),
            counter(positions.len() as i64, window * inputs, POSITION),
            counter(window, inputs, WINDOW),
            counter(inputs, 1, INPUT),
        ],
    }
}

/// Sums are listed `[group][window][input]`.
fn targets(n: &Neurons, inputs: u32) -> Digits {
    let mut target = [0; 4];
    target[INPUT] = 1;
    target[WINDOW] = i64::from(inputs);
    target[GROUP] = i64::from(inputs) * i64::from(n.unit.window);
    target
}
