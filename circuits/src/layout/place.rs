//! First-fit placement of neurons in the lanes of a bank, before lanes have numbers.

use super::{BankKind, Block, Tile};
use crate::program::Neurons;

/// Lanes of one bank while nodes are being placed.
pub(super) struct BankBuilder {
    pub lanes: Vec<usize>, // next free row of every lane
}

impl BankBuilder {
    /// Puts `len` cells into one lane if one has room, else into fresh lanes.
    pub fn sequential(&mut self, len: usize, last: usize) -> Vec<(usize, usize)> {
        let capacity = last - 1;
        let mut cells = Vec::with_capacity(len);
        let fits = self.lanes.iter().position(|&next| last - next >= len);
        let mut lane = fits.unwrap_or(self.lanes.len());
        while cells.len() < len {
            if lane == self.lanes.len() {
                self.lanes.push(1);
            }
            let next = self.lanes[lane];
            let take = (last - next).min(len - cells.len()).min(capacity);
            cells.extend((next..next + take).map(|row| (lane, row)));
            self.lanes[lane] += take;
            lane += 1;
        }
        cells
    }
}

/// Where a node's cells went: lane within its bank, and row.
pub(super) struct Placed {
    pub kind: BankKind,
    pub cells: Vec<(usize, usize)>,
    pub blocks: Option<Vec<Block>>,
}

/// Channels of consecutive rows; channels longer than a column are cut into tiles in fresh lanes side by side.
pub(super) fn place_channels(
    n: &Neurons,
    bank: &mut BankBuilder,
    last: usize,
) -> (Vec<(usize, usize)>, Vec<Block>) {
    let (groups, outputs, positions) =
        (n.groups as usize, n.outputs as usize, n.positions as usize);
    let capacity = last - 1;
    let mut cells = vec![(0, 0); n.len()];
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
            for c in 0..count {
                for tile in &tiles {
                    for p in tile.positions.clone() {
                        let neuron = (group * outputs + channel + c) * positions + p;
                        cells[neuron] =
                            (tile.lane, base_row + c * height + p - tile.positions.start);
                    }
                }
            }
            blocks.push(Block {
                group,
                channels: channel..channel + count,
                base_row,
                height,
                tiles,
                table: None,
            });
            channel += count;
        }
    }
    (cells, blocks)
}
