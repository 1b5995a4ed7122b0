//! Integer matrix products over gathered patches.

use rayon::prelude::*;
use std::borrow::Cow;
use zkinfer_circuits::program::{Neurons, Wires};

use crate::dense::{self, Shape};

/// Why a term cannot be added.
pub(super) enum LinearError {
    /// A sum might leave 62 bits.
    Overflow,
    /// Wiring and weights do not have the geometry of the node.
    Shape,
}

/// Accumulators of one node, `[group · outputs][position · window]`.
pub(super) struct Accumulators {
    groups: usize,
    outputs: usize,
    /// Positions times window.
    columns: usize,
    y: Vec<i64>,
    /// Bound on the magnitude of every accumulator so far.
    bound: u128,
}

/// A weight: committed ones have 32 bits, public ones 64.
pub(super) trait Coefficient: Copy + Sync + Into<i64> {
    /// The same weights with 32 bits, if they fit.
    fn whole(weights: &[Self]) -> Option<Cow<'_, [i32]>>;
}

impl Coefficient for i32 {
    fn whole(weights: &[i32]) -> Option<Cow<'_, [i32]>> {
        Some(weights.into())
    }
}

impl Coefficient for i64 {
    fn whole(weights: &[i64]) -> Option<Cow<'_, [i32]>> {
        let whole = weights.iter().map(|&w| i32::try_from(w).ok());
        whole.collect::<Option<Vec<i32>>>().map(Cow::from)
    }
}

impl Accumulators {
    pub(super) fn new(n: &Neurons) -> Self {
        let columns = n.positions as usize * n.unit.window.max(1) as usize;
        let (groups, outputs) = (n.groups as usize, n.outputs as usize);
        Accumulators {
            groups,
            outputs,
            columns,
            y: vec![0; groups * outputs * columns],
            bound: 0,
        }
    }

    pub(super) fn finish(self) -> Vec<i64> {
        self.y
    }

    /// Adds `Σ_i weights[g,o,i] · patch[g,column,i]`.
    pub(super) fn add<W: Coefficient>(
        &mut self,
        patches: &Wires,
        slots: &[u32],
        weights: &[W],
        inputs: usize,
    ) -> Result<(), LinearError> {
        if patches.len() != self.groups * self.columns * inputs
            || weights.len() != self.groups * self.outputs * inputs
            || inputs == 0
        {
            return Err(LinearError::Shape);
        }
        let values = gather(patches, slots)?;
        let largest = values.par_iter().with_min_len(1 << 14);
        let largest = largest.copied().max().unwrap_or(0);
        let row = |row: &[W]| {
            row.iter()
                .map(|&w| u128::from(w.into().unsigned_abs()))
                .sum::<u128>()
        };
        let rows = weights.par_chunks(inputs);
        let rows = rows.with_min_len(((1 << 14) / inputs).max(1));
        let bound = rows.map(row).max().unwrap_or(0) * u128::from(largest.unsigned_abs());
        self.bound += bound;
        if self.bound >= 1 << 62 {
            return Err(LinearError::Overflow);
        }
        let small = |w: &W| i16::try_from((*w).into()).ok();
        let narrow: Option<Vec<i16>> = if bound < 1 << 31 && largest <= i32::from(i16::MAX) {
            weights.iter().map(small).collect()
        } else {
            None
        };
        let shape = Shape {
            groups: self.groups,
            outputs: self.outputs,
            positions: self.columns,
            inputs,
        };
        let y = &mut self.y;
        let done = match (narrow, W::whole(weights)) {
            // The bound keeps every partial sum within 32 bits.
            (Some(weights), _) => {
                let values: Vec<i16> = values.iter().map(|&v| v as i16).collect();
                let add = |y: &mut i64, sum| *y += i64::from(sum);
                dense::multiply::<dense::Narrow, _>(shape, &weights, &values, y, add)
            }
            (None, Some(weights)) => {
                let add = |y: &mut i64, sum| *y += sum;
                dense::multiply::<dense::Wide, _>(shape, &weights, &values, y, add)
            }
            (None, None) => {
                let weights: Vec<i64> = weights.iter().map(|&w| w.into()).collect();
                let add = |y: &mut i64, sum| *y += sum;
                dense::multiply::<dense::Widest, _>(shape, &weights, &values, y, add)
            }
        };
        done.ok_or(LinearError::Shape)?;
        Ok(())
    }

    /// Adds `factor · Σ_i left[g,o,i] · patch[g,column,i]`.
    pub(super) fn add_product(
        &mut self,
        patches: &Wires,
        left: &Wires,
        slots: &[u32],
        factor: i64,
        inputs: usize,
    ) -> Result<(), LinearError> {
        let scaled = |v: i32| {
            i64::from(v)
                .checked_mul(factor)
                .ok_or(LinearError::Overflow)
        };
        let left: Result<Vec<i64>, _> = gather(left, slots)?.into_iter().map(scaled).collect();
        self.add(patches, slots, &left?, inputs)
    }

    /// Adds `weights[o, keys[column]]`, of one group. Keys are below `inputs`.
    pub(super) fn add_columns(
        &mut self,
        keys: &[i64],
        weights: &[i32],
        inputs: usize,
    ) -> Result<(), LinearError> {
        if keys.len() != self.columns || weights.len() != self.outputs * inputs || self.groups != 1
        {
            return Err(LinearError::Shape);
        }
        self.bound += 1 << 31;
        if self.bound >= 1 << 62 {
            return Err(LinearError::Overflow);
        }
        for (y, weights) in self.y.chunks_mut(self.columns).zip(weights.chunks(inputs)) {
            for (y, &key) in y.iter_mut().zip(keys) {
                let weight = usize::try_from(key).ok().and_then(|key| weights.get(key));
                *y += i64::from(*weight.ok_or(LinearError::Shape)?);
            }
        }
        Ok(())
    }
}

/// Values of all elements.
fn gather(wires: &Wires, slots: &[u32]) -> Result<Vec<i32>, LinearError> {
    let slot = |&s: &u32| {
        slots
            .get(s as usize)
            .map(|&v| u64::from(v))
            .ok_or(LinearError::Shape)
    };
    let narrow = |v: u64| i32::try_from(v).map_err(|_| LinearError::Overflow);
    if wires.width == 1 {
        return wires
            .slots
            .par_iter()
            .with_min_len(1 << 14)
            .map(|s| narrow(slot(s)?))
            .collect();
    }
    let sum = |c: &[u32]| narrow(c.iter().map(slot).sum::<Result<u64, _>>()?);
    wires
        .slots
        .par_chunks(wires.width.max(1))
        .with_min_len(1 << 10)
        .map(sum)
        .collect()
}
