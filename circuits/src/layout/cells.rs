//! Where the neurons of a node are.

use super::Cell;

/// Neurons `first .. first + len` stand in consecutive rows of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Number of the first neuron.
    pub first: usize,
    /// How many.
    pub len: usize,
    /// Cell of the first.
    pub cell: Cell,
}

/// The cells of a list of neurons, inputs or hints (first port), as few stretches as there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    stretches: Vec<Stretch>,
    len: usize,
}

impl Cells {
    /// Appends consecutive rows.
    pub(super) fn push(&mut self, cell: Cell, len: usize) {
        if len == 0 {
            return;
        }
        match self.stretches.last_mut() {
            Some(stretch)
                if stretch.cell.port == cell.port
                    && stretch.cell.row as usize + stretch.len == cell.row as usize =>
            {
                stretch.len += len;
            }
            _ => self.stretches.push(Stretch {
                first: self.len,
                len,
                cell,
            }),
        }
        self.len += len;
    }

    /// Appends some of another list's.
    pub(super) fn push_part(&mut self, other: &Cells, first: usize, len: usize) {
        let end = first + len;
        let from = other
            .stretches
            .partition_point(|r| r.first + r.len <= first);
        let stretches = other.stretches[from..].iter().take_while(|r| r.first < end);
        for stretch in stretches {
            let (start, stop) = (
                stretch.first.max(first),
                (stretch.first + stretch.len).min(end),
            );
            let row = stretch.cell.row + (start - stretch.first) as u32;
            self.push(
                Cell {
                    row,
                    ..stretch.cell
                },
                stop - start,
            );
        }
    }

    /// Moves all cells to other ports.
    pub(super) fn map_ports(&mut self, port: impl Fn(u32) -> u32) {
        let stretches = self.stretches.iter_mut();
        stretches.for_each(|stretch| stretch.cell.port = port(stretch.cell.port));
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The cell of a neuron.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn get(&self, neuron: usize) -> Cell {
        assert!(neuron < self.len, "a neuron that does not exist");
        let stretch = self.stretches[self.stretches.partition_point(|r| r.first <= neuron) - 1];
        let row = stretch.cell.row + (neuron - stretch.first) as u32;
        Cell {
            row,
            ..stretch.cell
        }
    }

    /// All cells, in order.
    pub fn iter(&self) -> impl Iterator<Item = Cell> + '_ {
        self.stretches.iter().flat_map(|stretch| {
            let cell = stretch.cell;
            (0..stretch.len as u32).map(move |i| Cell {
                row: cell.row + i,
                ..cell
            })
        })
    }

    /// The stretches, in order.
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// Puts a neuron elsewhere.
    #[cfg(test)]
    pub(crate) fn change(&mut self, neuron: usize, change: impl FnOnce(&mut Cell)) {
        let mut all: Vec<Cell> = self.iter().collect();
        change(&mut all[neuron]);
        *self = Cells::default();
        all.into_iter().for_each(|cell| self.push(cell, 1));
    }

    /// What they take in memory, in bytes.
    pub fn memory(&self) -> usize {
        self.stretches.capacity() * size_of::<Stretch>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(port: u32, row: u32) -> Cell {
        Cell { port, row }
    }

    #[test]
    fn cells_are_found_again() {
        let mut cells = Cells::default();
        assert!(cells.is_empty());
        for (c, len) in [
            (cell(0, 1), 3),
            (cell(0, 4), 2),
            (cell(0, 7), 1),
            (cell(2, 8), 4),
        ] {
            cells.push(c, len);
        }
        cells.push(cell(9, 9), 0);
        assert_eq!((cells.len(), cells.stretches().len()), (10, 3));
        let all: Vec<Cell> = cells.iter().collect();
        let rows = [1, 2, 3, 4, 5, 7, 8, 9, 10, 11];
        for (i, row) in rows.into_iter().enumerate() {
            let port = if i < 6 { 0 } else { 2 };
            assert_eq!((all[i], cells.get(i)), (cell(port, row), cell(port, row)));
        }
        for first in 0..10 {
            for len in 0..=10 - first {
                let mut part = Cells::default();
                part.push_part(&cells, first, len);
                assert!(part.iter().eq(all[first..first + len].iter().copied()));
            }
        }
        cells.map_ports(|p| p + 5);
        assert_eq!(cells.get(9), cell(7, 11));
    }
}
