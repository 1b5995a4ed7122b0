//! First-fit placement of neurons in the lanes of a bank, before lanes have numbers.

use super::{BankKind, Block, Cell, Cells, Tile};
use crate::program::{Neurons, Node, Program};
use std::collections::BTreeMap;

/// Lanes of one bank while nodes are being placed.
pub(super) struct BankBuilder {
    pub lanes: Vec<usize>, // next free row of every lane
}

impl BankBuilder {
    /// Puts `len` cells into one lane if one has room, else into fresh lanes.
    pub fn sequential(&mut self, len: usize, last: usize) -> Cells {
        let capacity = last - 1;
        let mut cells = Cells::default();
        let fits = self.lanes.iter().position(|&next| last - next >= len);
        let mut lane = fits.unwrap_or(self.lanes.len());
        while cells.len() < len {
            if lane == self.lanes.len() {
                self.lanes.push(1);
            }
            let next = self.lanes[lane];
            let take = (last - next).min(len - cells.len()).min(capacity);
            cells.push(in_lane(lane, next), take);
            self.lanes[lane] += take;
            lane += 1;
        }
        cells
    }
}

/// A cell whose port is the lane's number within its bank, until lanes have ports.
fn in_lane(lane: usize, row: usize) -> Cell {
    Cell {
        port: lane as u32,
        row: row as u32,
    }
}

/// Where a node's cells went: lane within its bank (in place of the port), and row.
pub(super) struct Placed {
    pub kind: BankKind,
    pub cells: Cells,
    pub blocks: Option<Vec<Block>>,
    pub family: Vec<(u32, usize)>,
}

/// The nodes that are folded with each node of neurons that has weights of its own, and where their positions begin.
pub(super) fn families(program: &Program) -> BTreeMap<u32, Vec<(u32, usize)>> {
    let mut families: BTreeMap<u32, (Vec<(u32, usize)>, usize)> = BTreeMap::new();
    for (index, node) in program.nodes.iter().enumerate() {
        if let Node::Neurons(n) = node {
            let leader = n.leader().unwrap_or(index as u32);
            let (members, positions) = families.entry(leader).or_default();
            members.push((index as u32, *positions));
            *positions += n.positions as usize;
        }
    }
    families.into_iter().map(|(l, (m, _))| (l, m)).collect()
}

/// Positions of all members.
pub(super) fn family_positions(program: &Program, family: &[(u32, usize)]) -> usize {
    family.last().map_or(0, |&(node, first)| {
        first + neurons(program, node).map_or(0, |n| n.positions as usize)
    })
}

fn neurons(program: &Program, node: u32) -> Option<&Neurons> {
    match program.nodes.get(node as usize) {
        Some(Node::Neurons(n)) => Some(n),
        _ => None,
    }
}

/// Gives every member of a family its cells, which were placed with the first one.
pub(super) fn deal_out(program: &Program, placed: &mut [Option<Placed>]) {
    for leader in 0..placed.len() {
        let Some(first) = placed[leader].as_mut().filter(|p| p.family.len() > 1) else {
            continue;
        };
        let (family, cells) = (first.family.clone(), std::mem::take(&mut first.cells));
        let positions = family_positions(program, &family);
        for (node, offset) in family {
            let (Some(n), Some(member)) = (neurons(program, node), &mut placed[node as usize])
            else {
                continue;
            };
            for channel in 0..cells.len() / positions {
                let first = channel * positions + offset;
                member.cells.push_part(&cells, first, n.positions as usize);
            }
        }
    }
}

/// Channels of consecutive rows; channels longer than a column are cut into tiles in fresh lanes side by side. `positions`
/// are those of the node and of all that are placed with it.
pub(super) fn place_channels(
    n: &Neurons,
    positions: usize,
    bank: &mut BankBuilder,
    last: usize,
) -> (Cells, Vec<Block>) {
    let (groups, outputs) = (n.groups as usize, n.outputs as usize);
    let capacity = last - 1;
    let mut cells = Cells::default();
    let mut blocks = Vec::new();
    // Lanes before this one have no room for a channel: looking at them again for every group would be quadratic.
    let mut open = 0;
    for group in 0..groups {
        let mut channel = 0;
        while open < bank.lanes.len() && last - bank.lanes[open] < positions {
            open += 1;
        }
        let mut lane = open;
        while channel < outputs {
            let (lanes, base_row, height, count) = if positions > capacity {
                let tiles = positions.div_ceil(capacity);
                let first = bank.lanes.len();
                let height = positions.div_ceil(tiles);
                bank.lanes.resize(first + tiles, 1 + height);
                (first..first + tiles, 1, height, 1)
            } else {
                if lane == bank.lanes.len() {
                    bank.lanes.push(1);
                }
                let base = bank.lanes[lane];
                let count = ((last - base) / positions).min(outputs - channel);
                bank.lanes[lane] += count * positions;
                lane += 1;
                if count == 0 {
                    continue;
                }
                (lane - 1..lane, base, positions, count)
            };
            let tiles: Vec<Tile> = lanes
                .enumerate()
                .map(|(i, lane)| Tile {
                    lane,
                    positions: i * height..((i + 1) * height).min(positions),
                })
                .collect();
            // In the order of neurons: group, channel, position.
            for c in 0..count {
                for tile in &tiles {
                    let cell = in_lane(tile.lane, base_row + c * height);
                    cells.push(cell, tile.positions.len());
                }
            }
            blocks.push(Block {
                group,
                channels: channel..channel + count,
                base_row,
                height,
                tiles,
                table: None,
                values: None,
            });
            channel += count;
        }
    }
    (cells, blocks)
}
