//! Parts of linear maps: what reads a few outputs (the gates of a recurrent cell, the heads of an attention) or a few positions
//! (a step of a sequence) gets a linear map of these alone, which needs no unit in between.

use super::{Acc, AccTerm, Lowering, Post};
use crate::graph::view::{fit_view, in_order, pick_positions};
use crate::graph::{NodeId, Op};

/// Which outputs of every group and which positions a view of an accumulator reads.
struct Part {
    outputs: Vec<usize>,
    positions: Vec<usize>,
}

impl Part {
    /// If `map` reads whole outputs at whole positions, the same in all groups, each at least once.
    fn of(acc: &Acc, map: &[usize]) -> Option<Part> {
        let (outputs, positions) = (acc.outputs, acc.positions);
        let mut read = vec![false; acc.len()];
        for &i in map {
            *read.get_mut(i)? = true;
        }
        let pick = |count: usize, at: &dyn Fn(usize) -> usize| -> Vec<usize> {
            (0..count).filter(|&i| read[at(i)]).collect()
        };
        let first = read.iter().position(|&r| r)?;
        let (row, column) = (first / positions, first % positions);
        let part = Part {
            outputs: pick(outputs, &|o| {
                (row / outputs * outputs + o) * positions + column
            }),
            positions: pick(positions, &|p| row * positions + p),
        };
        let expected = acc.groups * part.outputs.len() * part.positions.len();
        let all = (0..acc.groups).all(|g| {
            part.outputs.iter().all(|o| {
                let row = g * outputs + o;
                part.positions.iter().all(|p| read[row * positions + p])
            })
        });
        (all && read.iter().filter(|&&r| r).count() == expected).then_some(part)
    }
}

impl Lowering<'_> {
    /// Whether every reader of an accumulator is a view of another part of it, so that none needs it quantized.
    pub(super) fn is_divided(&self, id: NodeId, acc: &Acc) -> bool {
        if self.graph.outputs.contains(&id) {
            return false;
        }
        let mut taken = vec![false; acc.len()];
        self.readers[id].iter().all(|&reader| {
            let Op::View(view) = &self.graph.nodes[reader].op else {
                return false;
            };
            let indices = view.indices(acc.result_len()).unwrap_or_default();
            let map: Option<Vec<usize>> = indices.iter().map(|i| Some(acc.source((*i)?))).collect();
            let Some(map) = map.filter(|m| !m.is_empty()) else {
                return false;
            };
            let mut mine: Vec<usize> = map.clone();
            mine.sort_unstable();
            mine.dedup();
            narrow(acc, &map).is_some()
                && mine
                    .iter()
                    .all(|&i| !std::mem::replace(&mut taken[i], true))
        })
    }
}

/// The part of an accumulator that `map` reads, if it is less than the whole and outputs at positions.
pub(super) fn narrow(acc: &Acc, map: &[usize]) -> Option<Acc> {
    if acc.window != 1 || acc.is_gathered() {
        return None;
    }
    let Part {
        outputs: picked,
        positions,
    } = Part::of(acc, map)?;
    if picked.len() == acc.outputs && positions.len() == acc.positions {
        return None;
    }
    let rows: Vec<usize> = (0..acc.groups)
        .flat_map(|g| picked.iter().map(move |o| g * acc.outputs + o))
        .collect();
    let term = |t: &AccTerm| {
        let view = if positions.len() == acc.positions {
            t.view.clone()
        } else {
            pick_positions(&t.view, acc.groups, acc.positions, &positions)?
        };
        let row = |&r: &usize| t.weights[r * t.inputs..(r + 1) * t.inputs].iter().copied();
        Some(AccTerm {
            source: t.source,
            view,
            inputs: t.inputs,
            weights: rows.iter().flat_map(row).collect(),
            is_gathered: false,
        })
    };
    let mut number = vec![0; acc.len()];
    let elements = rows
        .iter()
        .flat_map(|r| positions.iter().map(move |p| r * acc.positions + p));
    elements
        .enumerate()
        .for_each(|(new, old)| number[old] = new);
    let map: Vec<usize> = map.iter().map(|&i| number[i]).collect();
    let len = rows.len() * positions.len();
    let post = if in_order(&map, len) {
        None
    } else {
        let views = vec![fit_view(&map, len)?];
        Some(Post { map, views })
    };
    Some(Acc {
        groups: acc.groups,
        outputs: picked.len(),
        positions: positions.len(),
        window: 1,
        terms: acc.terms.iter().map(term).collect::<Option<_>>()?,
        bias: rows.iter().map(|&r| acc.bias[r]).collect(),
        range: rows
            .iter()
            .filter_map(|&r| acc.range.get(r).copied())
            .collect(),
        spread: None,
        low: acc.low,
        post,
    })
}
