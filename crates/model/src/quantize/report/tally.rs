//! What is added up over samples.

use crate::graph::{Activation, Graph, GraphNode, NodeId, Op};
use crate::quantize::step::{Step, step};
use crate::quantize::strays;

/// Most columns of an output that may be targets, and most axes of such an output: images have neighbours, not targets.
const COLUMNS: usize = 64;
const AXES: usize = 3;
/// A column whose largest magnitude is smaller than the output's by this factor has a unit of its own.
const APART: f64 = 30.0;
/// Values are taken for equal if they differ by less than this part of the scale.
const TIE: f64 = 0.01;

#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub count: usize,
    pub total: f64,
    pub max: f64,
    pub magnitude: f64,
}

impl Sums {
    pub fn add(&mut self, got: impl IntoIterator<Item = f64>, want: &[f32]) {
        for (g, &w) in got.into_iter().zip(want) {
            self.one(g, f64::from(w));
        }
    }

    fn one(&mut self, got: f64, want: f64) {
        let error = (got - want).abs();
        self.count += 1;
        self.total += error;
        self.max = self.max.max(error);
        self.magnitude = self.magnitude.max(want.abs());
    }

    fn join(&mut self, other: &Sums) {
        self.count += other.count;
        self.total += other.total;
        self.max = self.max.max(other.max);
        self.magnitude = self.magnitude.max(other.magnitude);
    }

    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.total / self.count as f64
        }
    }
}

/// One output of one sample against what it should be.
#[derive(Clone, Debug)]
struct Sample {
    all: Sums,
    columns: Vec<Sums>,
    magnitudes: Vec<f32>,
    low: f32,
    high: f32,
}

/// One output against what it should be.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Largest error of all samples.
    pub max: f64,
    /// Of typical samples: one that strays would be the scale of all others.
    pub all: Sums,
    columns: Vec<Sums>,
    magnitudes: Vec<f32>,
    low: f64,
    high: f64,
    samples: Vec<Sample>,
    /// Whether the output holds whole numbers: then any difference is one.
    integers: bool,
    /// Where a number comes from that names something.
    named: Option<Named>,
    /// The largest magnitude of what is compared for it, in every sample.
    compared: Vec<f64>,
    /// Whether the output is one list of several numbers, the largest of which may name a class.
    list: bool,
    /// How close samples that differ are to not differing.
    changed: Vec<Gap>,
}

/// Where a number comes from that names something.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// The largest of some: the compared tensor, the length of its runs, how many of the largest.
    Ranked(NodeId, usize, usize),
    /// The side of a threshold that a tensor is on, element by element.
    Compared(NodeId, Step),
}

/// How close a sample that differs is to not differing.
#[derive(Clone, Copy, Debug)]
enum Gap {
    /// The wanted class exceeds the one that was got by this, in the output's unit.
    Classes(f64),
    /// What is compared is so far from the threshold, or from what it is compared with.
    Threshold(f64),
    /// Nothing explains it.
    Wide,
}

impl Tally {
    /// For output number `at`.
    pub fn new(graph: &Graph, at: usize) -> Tally {
        let tensor = graph.output_tensor(at);
        let last = tensor.shape.last().copied().unwrap_or(1);
        let targets = last <= COLUMNS && tensor.shape.len() <= AXES;
        let axes = tensor.shape.iter().filter(|&&d| d > 1).count();
        Tally {
            max: 0.0,
            samples: Vec::new(),
            all: Sums::default(),
            columns: vec![Sums::default(); if targets { last } else { 0 }],
            magnitudes: Vec::new(),
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            integers: tensor.integers,
            named: graph.outputs.get(at).and_then(|&id| named(graph, id)),
            compared: Vec::new(),
            list: axes == 1,
            changed: Vec::new(),
        }
    }

    /// A sample; `values` are those of the float graph.
    pub fn add(&mut self, got: &[f32], want: &[f32], values: &[Vec<f32>]) {
        let columns = self.columns.len().max(1);
        let mut sample = Sample {
            all: Sums::default(),
            columns: vec![Sums::default(); self.columns.len()],
            magnitudes: want.iter().map(|v| v.abs()).collect(),
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
        };
        for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
            (sample.low, sample.high) = (sample.low.min(w), sample.high.max(w));
            let (g, w) = (f64::from(g), f64::from(w));
            sample.all.one(g, w);
            if let Some(column) = sample.columns.get_mut(i % columns) {
                column.one(g, w);
            }
        }
        self.max = self.max.max(sample.all.max);
        self.samples.push(sample);
        let of = |node: NodeId| values.get(node).map_or(&[][..], Vec::as_slice);
        let sizes: Vec<f64> = match self.named {
            None => Vec::new(),
            Some(Named::Compared(node, step)) => {
                of(node).iter().map(|&x| step.argument(x)).collect()
            }
            // The largest of every run: others may be masked.
            Some(Named::Ranked(node, len, _)) => {
                let runs = of(node).chunks(len.max(1));
                runs.filter_map(|run| run.iter().copied().reduce(f32::max))
                    .map(f64::from)
                    .collect()
            }
        };
        let size = sizes.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        self.compared.push(size);
        if let Some(gap) = self.change(got, want, values) {
            self.changed.push(gap);
        }
    }

    /// Adds up the samples that do not stray: to be called once, before anything is read.
    pub fn finish(&mut self) {
        let extremes: Vec<(f32, f32)> = self.samples.iter().map(|s| (s.low, s.high)).collect();
        let strays = strays::of(&extremes);
        for (number, sample) in std::mem::take(&mut self.samples).into_iter().enumerate() {
            if strays.contains(&number) {
                continue;
            }
            self.all.join(&sample.all);
            let columns = self.columns.iter_mut().zip(&sample.columns);
            columns.for_each(|(all, one)| all.join(one));
            self.magnitudes.extend(sample.magnitudes);
            self.low = self.low.min(f64::from(sample.low));
            self.high = self.high.max(f64::from(sample.high));
        }
    }

    /// How close a sample is to not differing, if it does.
    fn change(&self, got: &[f32], want: &[f32], values: &[Vec<f32>]) -> Option<Gap> {
        if !self.integers {
            if !self.list {
                return None;
            }
            let (g, w) = (super::largest(got)?, super::largest(want)?);
            let gap = || f64::from(want[w]) - f64::from(want[g]);
            return (g != w).then(|| Gap::Classes(gap()));
        }
        let differs = |(g, w): (&f32, &f32)| (g - w).abs() > 0.5;
        if !got.iter().zip(want).any(differs) {
            return None;
        }
        match self.named {
            Some(Named::Ranked(node, len, count)) => {
                let runs = values
                    .get(node)?
                    .chunks(len.max(1))
                    .map(|run| gap(run, count));
                if runs.len() != got.len() {
                    return Some(Gap::Threshold(runs.fold(f64::INFINITY, f64::min)));
                }
                // Run by run: one that is tied explains no other.
                let pairs = got.iter().zip(want).zip(runs);
                let far = pairs.filter(|(pair, _)| differs(*pair)).map(|p| p.1);
                Some(Gap::Threshold(far.fold(0.0, f64::max)))
            }
            Some(Named::Compared(node, step)) => {
                // Element by element: one that is near explains no other.
                let pairs = got.iter().zip(want).zip(values.get(node)?);
                let differing = pairs.filter(|(pair, _)| differs(*pair));
                let far = differing.map(|(_, &x)| step.argument(x).abs());
                Some(Gap::Threshold(far.fold(0.0, f64::max)))
            }
            None => Some(Gap::Wide),
        }
    }

    /// Samples whose class is another one, ties aside; `range` is [that](Self::range) of the output.
    pub fn changed(&self, range: f64) -> usize {
        let (classes, thresholds) = (TIE * self.scale(range), TIE * self.typical_size());
        let changed = self.changed.iter().filter(|gap| match gap {
            Gap::Classes(gap) => *gap > classes,
            Gap::Threshold(gap) => *gap > thresholds,
            Gap::Wide => true,
        });
        changed.count()
    }

    /// The size of what is compared, in half of the samples: one that strays makes no ties.
    fn typical_size(&self) -> f64 {
        let mut sizes = self.compared.clone();
        sizes.sort_by(f64::total_cmp);
        sizes.get(sizes.len() / 2).copied().unwrap_or(0.0)
    }

    /// The [size](size) of the output.
    pub fn range(&mut self) -> f64 {
        size(&mut self.magnitudes)
    }

    /// What an error is measured by: the [range](Self::range), or the spread if it is less. A few elements that are far
    /// larger than the others are no scale, nor is an output that hardly varies.
    pub fn scale(&self, range: f64) -> f64 {
        let range = if range > 0.0 {
            range
        } else {
            self.all.magnitude
        };
        let spread = (self.high - self.low).max(0.1 * range);
        spread.min(range)
    }

    /// The column that is most wrong in a unit of its own: its place, mean error, magnitude.
    pub fn apart(&self) -> Option<(usize, f64, f64)> {
        // Probabilities have one unit, however small some are.
        if self.low >= 0.0 && self.high <= 1.0 || self.integers {
            return None;
        }
        // What single precision does not tell from nothing beside the others is nothing.
        let least = self.all.magnitude * f64::from(f32::EPSILON);
        let own = |c: &&(usize, &Sums)| {
            c.1.magnitude > least && c.1.magnitude * APART < self.all.magnitude
        };
        let columns = self.columns.iter().enumerate();
        let columns = columns.collect::<Vec<_>>();
        let columns = columns.iter().filter(own);
        columns
            .map(|(at, c)| (*at, c.mean(), c.magnitude))
            .max_by(|a, b| (a.1 / a.2).total_cmp(&(b.1 / b.2)))
    }
}

/// The 99th percentile of magnitudes, or their mean where that is more: of a distribution over thousands of classes more than 99 %
/// are next to nothing, which is no scale.
pub(in crate::quantize) fn size(magnitudes: &mut [f32]) -> f64 {
    magnitudes.sort_by(f32::total_cmp);
    let at = (magnitudes.len() as f64 * 0.99) as usize;
    let at = at.min(magnitudes.len().saturating_sub(1));
    let percentile = magnitudes.get(at).map_or(0.0, |&v| f64::from(v));
    let sum: f64 = magnitudes.iter().map(|&v| f64::from(v)).sum();
    percentile.max(sum / magnitudes.len().max(1) as f64)
}

/// The least difference between neighbours among the `count + 1` largest.
fn gap(run: &[f32], count: usize) -> f64 {
    let mut sorted: Vec<f32> = run.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let pairs = sorted.windows(2).take(count);
    pairs
        .map(|p| f64::from(p[0] - p[1]))
        .fold(f64::INFINITY, f64::min)
}

/// Where the numbers of a node come from, if they name something.
fn named(graph: &Graph, mut id: NodeId) -> Option<Named> {
    let len = graph.nodes.get(id)?.len();
    let mut in_order = true;
    loop {
        let node = graph.nodes.get(id)?;
        let &[input] = node.inputs.as_slice() else {
            return None;
        };
        match node.op {
            Op::ArgMax { len } => return Some(Named::Ranked(input, len, 1)),
            Op::TopK { len, count } => return Some(Named::Ranked(input, len, count)),
            Op::Activation(Activation::Scalar(ref f)) if step(f).is_some() => {
                let alike = graph.nodes.get(input).map(GraphNode::len) == Some(len)
                    && (in_order || len == 1);
                return step(f)
                    .filter(|_| alike)
                    .map(|step| Named::Compared(input, step));
            }
            Op::View(_)
            | Op::Affine { .. }
            | Op::Activation(_)
            | Op::Linear(_)
            | Op::Sum { .. } => {
                in_order &= matches!(node.op, Op::Affine { .. } | Op::Activation(_));
                id = input;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
