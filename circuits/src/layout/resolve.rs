//! From elements of a value to the cells that they are the sum of, piece by piece.

use super::span::{Aligned, Digits, Loop, Span, align};
use super::{Cells, Placement};
use crate::program::{Node, Program, ValueRef, View};

/// Counters that a piece may have; more do not occur.
const MOST_LOOPS: usize = 40;

/// So many counters more count as a further span.
const COUNTERS: usize = 2;

/// So many sums count as a span.
const TARGETS: usize = 16;

/// So many public weights count as a span.
const WEIGHTS: usize = 16;

/// The cells that a span reads, if they lie on a line: elements that are always zero are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The port, `None` for the constant one.
    pub port: Option<u32>,
    /// The row where all counters are zero.
    pub row: i64,
    /// The digits there.
    pub at: Digits,
    /// The counters: how far a step moves along the rows, and along the digits.
    pub loops: Vec<Loop>,
}

impl Run {
    /// How many cells are read, each as often as it is.
    pub fn len(&self) -> usize {
        let counts = self.loops.iter().map(|l| l.count as usize);
        counts.fold(1, usize::saturating_mul)
    }

    /// Visits their rows.
    pub fn for_each_row(&self, mut visit: impl FnMut(i64)) {
        let mut counters = vec![0; self.loops.len()];
        let mut row = self.row;
        loop {
            visit(row);
            // An odometer.
            let mut at = 0;
            loop {
                let Some(l) = self.loops.get(at) else { return };
                counters[at] += 1;
                row += l.stride;
                if counters[at] < l.count {
                    break;
                }
                row -= l.stride * l.count;
                counters[at] = 0;
                at += 1;
            }
        }
    }
}

/// More pieces than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// Neurons of a node that lie at regular places of one lane: neuron `start + c·chunk + r` is in row `row + c·jump + r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    start: i64,
    end: i64,
    chunk: i64,
    /// Port of the neuron's first result.
    port: u32,
    row: i64,
    jump: i64,
}

/// Follows wiring to its cells.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    program: &'a Program,
    /// Where the neurons of every node are.
    segments: Vec<Vec<Segment>>,
    /// Where the sources of a concatenation begin.
    offsets: Vec<Vec<i64>>,
    /// Spans that may still be looked at.
    left: usize,
}

impl<'a> Resolver<'a> {
    /// For a program that was checked and whose neurons were placed, of which at most `limit` spans will be looked at.
    pub fn new(program: &'a Program, placements: &[Option<Placement>], limit: usize) -> Self {
        let mut lens: Vec<i64> = Vec::with_capacity(program.nodes.len());
        let mut offsets = Vec::with_capacity(program.nodes.len());
        for node in &program.nodes {
            let mut own = Vec::new();
            let of = |value: &ValueRef| lens[value.node as usize];
            let len = match node {
                Node::Input { len } | Node::Hint { len } | Node::Constant { len } => {
                    i64::from(*len)
                }
                Node::View { view, .. } => view.loops.iter().map(|&l| i64::from(l)).product(),
                Node::Concat { sources } => {
                    let mut end = 0;
                    for source in sources {
                        own.push(end);
                        end += of(source);
                    }
                    own.push(end);
                    end
                }
                Node::Sum { source, group } => of(source) / i64::from(*group),
                Node::Neurons(n) => n.len() as i64,
            };
            lens.push(len);
            offsets.push(own);
        }
        let segments = placements.iter();
        let segments =
            segments.map(|p| p.as_ref().map_or_else(Vec::new, |p| segments_of(&p.cells)));
        Resolver {
            program,
            segments: segments.collect(),
            offsets,
            left: limit,
        }
    }

    /// What is left of the limit.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Counts sums that pieces will be added to, each of which takes a field element meanwhile, and additions to them.
    pub fn spend_on_targets(&mut self, count: usize) -> Result<(), TooMany> {
        self.left = self.left.checked_sub(count / TARGETS).ok_or(TooMany)?;
        Ok(())
    }

    /// Counts public weights that sums will be multiplied by.
    pub fn spend_on_weights(&mut self, count: usize) -> Result<(), TooMany> {
        self.left = self.left.checked_sub(count / WEIGHTS).ok_or(TooMany)?;
        Ok(())
    }

    /// The cells that a span of a value's elements reads.
    pub fn resolve(&mut self, value: ValueRef, span: Span) -> Result<Vec<Run>, TooMany> {
        let mut open = vec![(value, span)];
        let mut runs = Vec::new();
        while let Some((value, mut span)) = open.pop() {
            span.normalize();
            if span.loops.len() > MOST_LOOPS {
                return Err(TooMany);
            }
            // What a piece takes in memory follows its counters.
            let weight = 1 + span.loops.len() / COUNTERS;
            self.left = self.left.checked_sub(weight).ok_or(TooMany)?;
            let index = value.node as usize;
            match &self.program.nodes[index] {
                Node::Constant { .. } => runs.push(Run {
                    port: None,
                    row: 0,
                    at: span.at,
                    loops: standing(span.loops),
                }),
                Node::View { source, view } => match read_view(view, span) {
                    Read::Source(span) => open.push((*source, span)),
                    Read::Again(parts) => open.extend(parts.into_iter().map(|p| (value, p))),
                },
                Node::Concat { sources } => {
                    let offsets = &self.offsets[index];
                    match part_of(&span, |at| {
                        let part = offsets.partition_point(|&o| o <= at) - 1;
                        (part, offsets[part + 1])
                    }) {
                        Ok(part) => {
                            span.base -= offsets[part];
                            open.push((sources[part], span));
                        }
                        Err(parts) => open.extend(parts.into_iter().map(|p| (value, p))),
                    }
                }
                Node::Sum { source, group } => {
                    let group = i64::from(*group);
                    span.base *= group;
                    span.loops.iter_mut().for_each(|l| l.stride *= group);
                    span.loops.push(Loop {
                        count: group,
                        stride: 1,
                        steps: [0; 4],
                    });
                    open.push((*source, span));
                }
                Node::Input { .. } | Node::Hint { .. } | Node::Neurons(_) => {
                    let segments = &self.segments[index];
                    match part_of(&span, |at| {
                        let part = segments.partition_point(|s| s.start <= at) - 1;
                        (part, segments[part].end)
                    }) {
                        Ok(part) => match in_segment(&segments[part], value.port, span) {
                            Ok(run) => runs.push(run),
                            Err(parts) => open.extend(parts.into_iter().map(|p| (value, p))),
                        },
                        Err(parts) => open.extend(parts.into_iter().map(|p| (value, p))),
                    }
                }
            }
        }
        Ok(runs)
    }
}

/// Counters that move along no rows.
fn standing(mut loops: Vec<Loop>) -> Vec<Loop> {
    loops.iter_mut().for_each(|l| l.stride = 0);
    loops
}

/// Which part of a partition of the elements a span lies in, if it lies in one; otherwise smaller spans. `part` tells the
/// part that an element is in, and where that ends.
fn part_of(span: &Span, part: impl Fn(i64) -> (usize, i64)) -> Result<usize, Vec<Span>> {
    let (own, end) = part(span.base);
    let reach = span.reach();
    if span.base + reach < end {
        return Ok(own);
    }
    let Some(outer) = (0..span.loops.len()).max_by_key(|&j| span.loops[j].stride) else {
        return Ok(own);
    };
    let l = &span.loops[outer];
    let others = reach - l.stride * (l.count - 1);
    // Values for which all others stay inside.
    let room = end - 1 - span.base - others;
    let inside = if room < 0 { 0 } else { room / l.stride + 1 }.min(l.count);
    let mut parts = Vec::new();
    if inside > 0 {
        parts.push(span.cut(outer, 0, inside));
    } else {
        parts.push(span.fix(outer, 0));
    }
    let rest = inside.max(1);
    if rest < l.count {
        parts.push(span.cut(outer, rest, l.count));
    }
    Err(parts)
}

/// A span within a segment.
fn in_segment(segment: &Segment, port: u32, mut span: Span) -> Result<Run, Vec<Span>> {
    span.base -= segment.start;
    let back = |mut span: Span| {
        span.base += segment.start;
        span
    };
    let count = (segment.end - segment.start) / segment.chunk;
    match align(span, &[count, segment.chunk]) {
        Aligned::Parts(parts) => Err(parts.into_iter().map(back).collect()),
        Aligned::Whole(mut span, base, strides) => {
            let row = |digits: &[i64]| digits[0] * segment.jump + digits[1];
            for (l, digits) in span.loops.iter_mut().zip(&strides) {
                l.stride = row(digits);
            }
            Ok(Run {
                port: Some(segment.port + port),
                row: segment.row + row(&base),
                at: span.at,
                loops: span.loops,
            })
        }
    }
}

/// What a span of a view reads.
enum Read {
    /// A span of its source.
    Source(Span),
    /// What these spans of the view read, which have to be looked at again.
    Again(Vec<Span>),
}

/// An index along an axis of a view's source: where all counters are zero, and how far each moves it.
struct Index {
    extent: i64,
    start: i64,
    steps: Vec<i64>,
}

fn read_view(view: &View, span: Span) -> Read {
    let radices: Vec<i64> = view.loops.iter().map(|&l| i64::from(l)).collect();
    let (mut span, base, strides) = match align(span, &radices) {
        Aligned::Whole(span, base, strides) => (span, base, strides),
        Aligned::Parts(parts) => return Read::Again(parts),
    };
    let indices = view.axes.iter().map(|axis| {
        let along =
            |digits: &[i64]| -> i64 { axis.strides.iter().zip(digits).map(|(s, d)| s * d).sum() };
        Index {
            extent: i64::from(axis.extent),
            start: axis.offset + along(&base),
            steps: strides.iter().map(|s| along(s)).collect(),
        }
    });
    let mut indices: Vec<Index> = indices.collect();
    // The values of every counter for which no index is out of range.
    let mut kept: Vec<(i64, i64)> = span.loops.iter().map(|l| (0, l.count)).collect();
    for index in &indices {
        let ends = || {
            index
                .steps
                .iter()
                .zip(&span.loops)
                .map(|(s, l)| s * (l.count - 1))
        };
        let least = index.start + ends().filter(|e| *e < 0).sum::<i64>();
        let most = index.start + ends().filter(|e| *e > 0).sum::<i64>();
        if most < 0 || least >= index.extent {
            return Read::Again(Vec::new());
        }
        if least >= 0 && most < index.extent {
            continue;
        }
        let moving = (0..index.steps.len()).filter(|&j| index.steps[j] != 0);
        let moving: Vec<usize> = moving.collect();
        if let [only] = moving[..] {
            let (low, high) = interval(index, only, span.loops[only].count);
            kept[only] = (kept[only].0.max(low), kept[only].1.min(high));
        } else if let Some(shortest) = moving.into_iter().min_by_key(|&j| span.loops[j].count) {
            // Several counters decide together: the shortest one is taken apart.
            let values = 0..span.loops[shortest].count;
            return Read::Again(values.map(|v| span.fix(shortest, v)).collect());
        }
    }
    if kept.iter().any(|(low, high)| low >= high) {
        return Read::Again(Vec::new());
    }
    for (j, (low, high)) in kept.into_iter().enumerate() {
        span = span.cut(j, low, high);
        indices
            .iter_mut()
            .for_each(|index| index.start += index.steps[j] * low);
    }
    span.base = 0;
    span.loops.iter_mut().for_each(|l| l.stride = 0);
    let mut weight = 1;
    for index in indices.iter().rev() {
        span.base += weight * index.start;
        for (l, step) in span.loops.iter_mut().zip(&index.steps) {
            // A counter that does not run may have a step beyond every extent.
            l.stride += if l.count > 1 { weight * step } else { 0 };
        }
        weight *= index.extent;
    }
    Read::Source(span)
}

/// The values `low..high` of a counter below `count`, the only one that moves the index, for which it is in range.
fn interval(index: &Index, counter: usize, count: i64) -> (i64, i64) {
    // The first value at which what grows by `by` from `from` is at least `to`.
    let first = |from: i64, by: i64, to: i64| {
        if from >= to {
            0
        } else {
            (to - from - 1) / by + 1
        }
    };
    let (start, step, extent) = (index.start, index.steps[counter], index.extent);
    let (low, high) = if step > 0 {
        (first(start, step, 0), first(start, step, extent))
    } else {
        (first(-start, -step, 1 - extent), first(-start, -step, 1))
    };
    (low.min(count), high.min(count))
}

/// Where the neurons of a node are, as few segments as are found from the first one on.
fn segments_of(cells: &Cells) -> Vec<Segment> {
    let runs = cells.stretches().iter().map(|stretch| Segment {
        start: stretch.first as i64,
        end: (stretch.first + stretch.len) as i64,
        chunk: stretch.len as i64,
        port: stretch.cell.port,
        row: i64::from(stretch.cell.row),
        jump: 0,
    });
    let mut segments: Vec<Segment> = Vec::new();
    for run in runs {
        if let Some(last) = segments.last_mut() {
            let count = (last.end - last.start) / last.chunk;
            let jump = run.row - last.row;
            let regular = if count == 1 {
                jump > 0
            } else {
                jump == count * last.jump
            };
            if last.port == run.port && last.chunk == run.chunk && regular {
                if count == 1 {
                    last.jump = jump;
                }
                last.end = run.end;
                continue;
            }
        }
        segments.push(run);
    }
    segments
}
