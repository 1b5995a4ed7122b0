//! Calibration: what values the float model takes.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::QuantizeError;
use super::floats::side_by_side;
use super::masks::Fill;
use super::step::{Step, step};
use super::strays::{self, Range};
use crate::graph::{Activation, Graph, GraphError, NodeId, Op, Tie};
use crate::progress::{Progress, Stage, tell};

/// Ranges reach at least this many standard deviations to either side of the mean (before headroom), plus what
/// [`reach_of_few`] says.
const DEVIATIONS: f64 = 4.0;
/// See [`reach_of_few`].
const FEW_SAMPLES: f64 = 12.0;
/// So few samples say little about the deviation itself, where steps of a loop pass on what strays.
const VERY_FEW: f64 = 8.0;
/// See [`Stats::channels`].
const PRIOR: f64 = 8.0;
/// A channel whose variance is less than the others' by this factor is of another size than they are.
const UNLIKE: f64 = 8.0;

/// Maxima are taken to vary by this part of their size at least.
const STEADY: f64 = 1.0 / 16.0;

/// Part of a quantization's time that goes here, about.
pub(super) const SHARE: f64 = 0.8;

/// Extremes of every element of every tensor over all samples.
pub(super) struct Stats {
    pub low: Vec<Vec<f32>>,
    pub high: Vec<Vec<f32>>,
    /// Sum and sum of squares of every element.
    moments: Vec<Vec<(f64, f64)>>,
    /// Number of samples.
    samples: usize,
    /// Of tied nodes.
    own: HashMap<NodeId, Own>,
    /// Least and greatest value of every sample, for the model's inputs.
    extremes: Vec<Vec<(f32, f32)>>,
    /// For comparisons with a constant, element by element: the arguments next to the threshold, where the comparison does not
    /// hold and where it does.
    pub sides: HashMap<NodeId, Vec<(f32, f32)>>,
    /// Decimal places of a model's input, element by element: how many the calibration values have at most, none where they
    /// have too many to tell.
    pub decimals: Vec<Vec<Option<u8>>>,
    /// For every maximum, per result: the largest difference of a window's result and its candidates (clamped at zero first
    /// or not), measured before a ReLU that directly precedes the maximum.
    pub spread: Vec<Vec<(f32, f32)>>,
    /// For every operation that masks end in.
    peaks: HashMap<NodeId, Peaks>,
    /// The size of masks, for those that see some.
    fills: HashMap<NodeId, Fill>,
    /// What is typical of every tensor; empty unless what lies beyond is clamped.
    ranges: Vec<Range>,
}

/// The maxima of the runs that an operation compares: those that are not masked as a whole.
#[derive(Clone, Copy)]
struct Peaks {
    least: f32,
    largest: f32,
    /// Whether some run was masked as a whole.
    hidden: bool,
}

impl Peaks {
    const NONE: Peaks = Peaks {
        least: f32::INFINITY,
        largest: f32::NEG_INFINITY,
        hidden: false,
    };

    fn add(&mut self, peak: f32, masked: f64) {
        if f64::from(peak) <= -masked {
            self.hidden = true;
            return;
        }
        (self.least, self.largest) = (self.least.min(peak), self.largest.max(peak));
    }
}

/// Where the maxima of an operation's runs are expected.
pub(super) struct Reach {
    pub low: f64,
    pub high: f64,
    /// The size of its masks, zero without.
    pub fill: f64,
    /// Whether they are the same in every run.
    pub fixed: bool,
    /// Whether calibration saw no run that is masked as a whole: then none has to be taken.
    pub whole: bool,
}

/// What one of several tied nodes was alone.
struct Own {
    low: Vec<f32>,
    high: Vec<f32>,
    /// All nodes of the tie.
    tied: Rc<[NodeId]>,
}

/// Most tied nodes of which [`Stats::channels`] looks at the variances.
const TIED: usize = 64;

impl Stats {
    pub fn collect(
        graph: &Graph,
        samples: &[Vec<Vec<f32>>],
        fills: HashMap<NodeId, Fill>,
        ranges: Vec<Range>,
        progress: &mut Progress<'_>,
    ) -> Result<Stats, QuantizeError> {
        if samples.is_empty() {
            return Err(QuantizeError::NoCalibration);
        }
        let n = graph.nodes.len();
        let mut stats = Stats {
            low: vec![Vec::new(); n],
            high: vec![Vec::new(); n],
            spread: vec![Vec::new(); n],
            moments: vec![Vec::new(); n],
            samples: samples.len(),
            own: HashMap::new(),
            extremes: vec![Vec::new(); n],
            decimals: vec![Vec::new(); n],
            sides: HashMap::new(),
            peaks: HashMap::new(),
            fills,
            ranges,
        };
        let windows = graph.nodes.iter().map(|node| match &node.op {
            Op::Max { windows, window } => {
                let len = graph.nodes.get(*node.inputs.first()?)?.len();
                Some((windows.indices(len).ok()?, *window))
            }
            _ => None,
        });
        let windows: Vec<_> = windows.collect();
        let comparisons: Vec<(NodeId, NodeId, Step)> = (graph.nodes.iter().enumerate())
            .filter_map(|(id, node)| match &node.op {
                Op::Activation(Activation::Scalar(f)) => {
                    Some((id, *node.inputs.first()?, step(f)?))
                }
                _ => None,
            })
            .collect();
        let run = |number: usize| graph.run(&samples[number]);
        let add = &mut |number: usize, values: Result<Vec<Vec<f32>>, GraphError>| {
            let done = number as f64 / samples.len() as f64;
            tell(progress, Stage::Calibrate, SHARE * done)?;
            let mut values = values.map_err(|e| QuantizeError::Calibration {
                sample: number,
                reason: e.to_string(),
            })?;
            for (tensor, range) in values.iter_mut().zip(&stats.ranges) {
                strays::clamp(tensor, range.typical);
            }
            for (id, input, step) in &comparisons {
                let sides = stats.sides.entry(*id).or_default();
                merge_sides(sides, &values[*input], *step);
            }
            for (id, v) in values.iter().enumerate() {
                if let Some(index) = v.iter().position(|x| !x.is_finite()) {
                    let layer = graph.nodes[id].name.clone();
                    return Err(QuantizeError::NotFinite {
                        layer,
                        index,
                        value: f64::from(v[index]),
                    });
                }
                let masked = stats.fills.get(&id).map_or(f64::INFINITY, |f| f.size / 2.0);
                let mut peak = |peak: f32| {
                    let peaks = stats.peaks.entry(id).or_insert(Peaks::NONE);
                    peaks.add(peak, masked);
                };
                match &graph.nodes[id].op {
                    Op::Softmax { len } | Op::ArgMax { len } => {
                        let runs = values[graph.nodes[id].inputs[0]].chunks((*len).max(1));
                        runs.for_each(|run| {
                            peak(run.iter().copied().fold(f32::NEG_INFINITY, f32::max))
                        });
                    }
                    Op::Max { .. } => v.iter().copied().for_each(peak),
                    _ => {}
                }
                merge(&mut stats.low[id], v, f32::min);
                merge(&mut stats.high[id], v, f32::max);
                if matches!(graph.nodes[id].op, Op::Input) {
                    merge_decimals(&mut stats.decimals[id], v);
                    let fold = |e: (f32, f32), &x: &f32| (e.0.min(x), e.1.max(x));
                    stats.extremes[id]
                        .push(v.iter().fold((f32::INFINITY, f32::NEG_INFINITY), fold));
                }
                let moments = &mut stats.moments[id];
                moments.resize(v.len(), (0.0, 0.0));
                moments.iter_mut().zip(v).for_each(|(m, &x)| {
                    *m = (m.0 + f64::from(x), m.1 + f64::from(x) * f64::from(x))
                });
                if let Some((indices, window)) = &windows[id] {
                    spread(
                        &mut stats.spread[id],
                        &values[before_relu(graph, id)],
                        indices,
                        *window,
                    );
                }
            }
            Ok(())
        };
        side_by_side(0..samples.len(), run, add)?;
        stats.tie(graph);
        Ok(stats)
    }

    /// Where the maxima of an operation's runs lie, with a margin; see [`Peaks`]. They are taken to vary by `width` at least, or
    /// by a part of their size where nothing says how much that is.
    pub(super) fn reach(&self, id: NodeId, headroom: f64, width: Option<f64>) -> Option<Reach> {
        let peaks = self.peaks.get(&id).filter(|p| p.least <= p.largest)?;
        let (low, high) = (f64::from(peaks.least), f64::from(peaks.largest));
        let few = FEW_SAMPLES / DEVIATIONS / (self.samples as f64).sqrt();
        let width = width.unwrap_or(STEADY * low.abs().max(high.abs()));
        let margin = (high - low).max(width) * (headroom + few);
        Some(Reach {
            low: low - margin,
            high: high + margin,
            fill: self.fill(id),
            fixed: self.fills.get(&id).is_some_and(|fill| fill.fixed),
            whole: !peaks.hidden,
        })
    }

    /// The size of the masks that an operation sees, zero without.
    pub(super) fn fill(&self, id: NodeId) -> f64 {
        self.fills.get(&id).map_or(0.0, |fill| fill.size)
    }

    /// The unit that all values of an input are multiples of: `10^-d`; of one element, or of all.
    pub(super) fn unit(&self, id: NodeId, element: Option<usize>) -> Option<f64> {
        let decimals = self.decimals.get(id)?;
        let places = match element {
            Some(i) => *decimals.get(i)?,
            None => decimals.iter().copied().try_fold(0, |m, d| Some(d?.max(m))),
        };
        Some(0.1f64.powi(i32::from(places?)))
    }

    /// Gives tied nodes the extremes of all of them, element by element.
    fn tie(&mut self, graph: &Graph) {
        let mut members: BTreeMap<Tie, Vec<NodeId>> = BTreeMap::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            if let Some(tie) = node.tie {
                members.entry(tie).or_default().push(id);
            }
        }
        for ids in members.into_values() {
            let len = self.low[ids[0]].len();
            if ids.len() < 2 || ids.iter().any(|&id| self.low[id].len() != len) {
                continue;
            }
            let (mut low, mut high, mut spread) = (Vec::new(), Vec::new(), Vec::new());
            for &id in &ids {
                merge(&mut low, &self.low[id], f32::min);
                merge(&mut high, &self.high[id], f32::max);
                spread.resize(self.spread[id].len(), (0.0f32, 0.0f32));
                for (s, other) in spread.iter_mut().zip(&self.spread[id]) {
                    *s = (s.0.max(other.0), s.1.max(other.1));
                }
            }
            let ids: Rc<[NodeId]> = ids.into();
            for &id in ids.iter() {
                let own = Own {
                    low: std::mem::replace(&mut self.low[id], low.clone()),
                    high: std::mem::replace(&mut self.high[id], high.clone()),
                    tied: ids.clone(),
                };
                self.own.insert(id, own);
                self.spread[id].clone_from(&spread);
            }
        }
    }

    /// Range of one element.
    pub fn element(&self, id: NodeId, element: usize) -> (f64, f64) {
        let at = |v: &[Vec<f32>]| {
            v.get(id)
                .and_then(|v| v.get(element))
                .map_or(0.0, |&v| f64::from(v))
        };
        (at(&self.low), at(&self.high))
    }

    /// Likely range of every channel of tensor `id`: what calibration saw, and at least [`DEVIATIONS`] standard deviations.
    /// `channel` assigns elements to `count` channels. For tied tensors the tighter of two estimates: of all their values
    /// together, and the largest of each tensor's own.
    pub fn channels(
        &self,
        id: NodeId,
        count: usize,
        channel: impl Fn(usize) -> usize,
    ) -> Vec<(f64, f64)> {
        let Some(own) = self.own.get(&id) else {
            return self.likely(&[id], count, &channel);
        };
        let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); count];
        let join = |r: &mut (f64, f64), (low, high): (f64, f64)| {
            *r = (r.0.min(low), r.1.max(high));
        };
        let some: Vec<NodeId> = own
            .tied
            .iter()
            .copied()
            .step_by(own.tied.len().div_ceil(TIED))
            .collect();
        for &id in &some {
            let alone = self.likely(&[id], count, &channel);
            ranges.iter_mut().zip(alone).for_each(|(r, a)| join(r, a));
        }
        let together = self.likely(&some, count, &channel);
        for (r, t) in ranges.iter_mut().zip(together) {
            *r = (r.0.max(t.0), r.1.min(t.1));
        }
        for i in 0..self.low[id].len() {
            if let Some(r) = ranges.get_mut(channel(i)) {
                join(r, self.element(id, i));
            }
        }
        ranges
    }

    /// [`Self::channels`] of the values of some tensors of equal lengths, each as it is alone.
    fn likely(
        &self,
        ids: &[NodeId],
        count: usize,
        channel: &impl Fn(usize) -> usize,
    ) -> Vec<(f64, f64)> {
        #[derive(Clone)]
        struct Channel {
            low: f64,
            high: f64,
            n: f64,
            sum: f64,
            squares: f64,
        }
        let mut out = vec![
            Channel {
                low: f64::INFINITY,
                high: f64::NEG_INFINITY,
                n: 0.0,
                sum: 0.0,
                squares: 0.0
            };
            count
        ];
        for &id in ids {
            let own = self.own.get(&id);
            let (low, high) = own.map_or((&self.low[id], &self.high[id]), |o| (&o.low, &o.high));
            for (i, m) in self.moments[id].iter().enumerate() {
                if let Some(c) = out.get_mut(channel(i)) {
                    c.low = c.low.min(f64::from(low[i]));
                    c.high = c.high.max(f64::from(high[i]));
                    c.n += self.samples as f64;
                    c.sum += m.0;
                    c.squares += m.1;
                }
            }
        }
        let variance = |c: &Channel| {
            if c.n > 0.0 {
                (c.squares / c.n - (c.sum / c.n).powi(2)).max(0.0)
            } else {
                0.0
            }
        };
        let seen = out.iter().filter(|c| c.n > 0.0).count().max(1) as f64;
        let pooled = out.iter().map(variance).sum::<f64>() / seen;
        // Few values say little about a channel's variance; the other channels' is a prior worth `PRIOR` values, but for channels
        // that are known to be of another size.
        let prior = |c: &Channel| match variance(c) * UNLIKE {
            most if most > 0.0 && c.n >= PRIOR => pooled.min(most),
            _ => pooled,
        };
        let deviation =
            |c: &Channel| ((c.n * variance(c) + PRIOR * prior(c)) / (c.n + PRIOR)).sqrt();
        // Tails are alike in all channels: where one strayed far, another may.
        let tail = |c: &Channel| (c.high - c.sum / c.n).max(c.sum / c.n - c.low) / deviation(c);
        let tails = out
            .iter()
            .filter(|c| c.n > 0.0 && deviation(c) > 0.0)
            .map(tail)
            .fold(0.0, f64::max);
        let reach = tails.max(DEVIATIONS + self.reach_of_few(ids));
        let range = |c: &Channel| {
            if c.n == 0.0 {
                return (0.0, 0.0);
            }
            let deviation = deviation(c);
            let mean = c.sum / c.n;
            (
                c.low.min(mean - reach * deviation),
                c.high.max(mean + reach * deviation),
            )
        };
        out.iter().map(range).collect()
    }

    /// How many standard deviations the extremes of a few samples may lack: they say little about what is to come. Chosen so
    /// that of the samples that calibration did not see at most one in two hundred is out of range, over all data sets of
    /// the corpus, with 8, 16 and 64 samples (`cargo xtask survey -- FOLDER --unseen N`).
    fn reach_of_few(&self, ids: &[NodeId]) -> f64 {
        let samples = self.samples as f64;
        let of_steps = match ids.iter().any(|id| self.own.contains_key(id)) {
            true => VERY_FEW * (VERY_FEW / samples).powi(2).min(1.0),
            false => 0.0,
        };
        FEW_SAMPLES / samples.sqrt() + of_steps
    }

    /// Whether the least and the greatest value of a tensor are bounds of its domain: reached by many samples, as black and
    /// white are in images.
    pub fn bounds_are_hard(&self, id: NodeId) -> (bool, bool) {
        let (low, high) = self.tensor(id);
        let Some(extremes) = self.extremes.get(id) else {
            return (false, false);
        };
        let often = |hits: usize| hits >= 2 && hits * 5 >= self.samples;
        let hits = |hit: &dyn Fn(&(f32, f32)) -> bool| extremes.iter().filter(|e| hit(e)).count();
        (
            often(hits(&|e| f64::from(e.0) <= low)),
            often(hits(&|e| f64::from(e.1) >= high)),
        )
    }

    /// The least and the greatest value of a tensor in all samples, those that stray included; `None` unless what lies beyond the
    /// range is clamped.
    pub(super) fn seen(&self, id: NodeId) -> Option<(f64, f64)> {
        let (low, high) = self.ranges.get(id)?.seen;
        Some((f64::from(low), f64::from(high)))
    }

    /// Number of calibration samples.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Range of the whole tensor.
    pub fn tensor(&self, id: NodeId) -> (f64, f64) {
        let low = self.low.get(id).map_or(0.0, |v| {
            v.iter().fold(f64::INFINITY, |a, &b| a.min(f64::from(b)))
        });
        let high = self.high.get(id).map_or(0.0, |v| {
            v.iter()
                .fold(f64::NEG_INFINITY, |a, &b| a.max(f64::from(b)))
        });
        (low, high)
    }
}

/// The tensor that the windows of a maximum read, before a ReLU that directly precedes it.
fn before_relu(graph: &Graph, max: NodeId) -> NodeId {
    let source = graph.nodes[max].inputs[0];
    match (&graph.nodes[source].op, graph.nodes[source].inputs.first()) {
        (Op::Activation(Activation::Relu), Some(&input)) => input,
        _ => source,
    }
}

fn merge(into: &mut Vec<f32>, values: &[f32], pick: fn(f32, f32) -> f32) {
    if into.is_empty() {
        into.extend_from_slice(values);
    } else {
        into.iter_mut()
            .zip(values)
            .for_each(|(a, &b)| *a = pick(*a, b));
    }
}

fn spread(into: &mut Vec<(f32, f32)>, values: &[f32], indices: &[Option<usize>], window: usize) {
    let results = indices.chunks(window.max(1));
    into.resize(results.len(), (0.0, 0.0));
    for (slot, candidates) in into.iter_mut().zip(results) {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for v in candidates.iter().flatten().filter_map(|&i| values.get(i)) {
            low = low.min(*v);
            high = high.max(*v);
        }
        if low <= high {
            *slot = (slot.0.max(high - low), slot.1.max(high.max(0.0) - low));
        }
    }
}

fn merge_sides(into: &mut Vec<(f32, f32)>, values: &[f32], step: Step) {
    into.resize(values.len(), (f32::NEG_INFINITY, f32::INFINITY));
    for (sides, &x) in into.iter_mut().zip(values) {
        let argument = step.argument(x) as f32;
        if argument > 0.0 {
            sides.1 = sides.1.min(argument);
        } else {
            sides.0 = sides.0.max(argument);
        }
    }
}

/// Most decimal places that are told from arbitrary fractions, and the most units that a value may be for it: as many as a
/// proof's numbers have values.
const MOST_DECIMALS: u8 = 6;
const MOST_UNITS: f64 = 32768.0;

/// Raises the numbers of decimal places to those of the values.
fn merge_decimals(into: &mut Vec<Option<u8>>, values: &[f32]) {
    into.resize(values.len(), Some(0));
    for (places, &x) in into.iter_mut().zip(values) {
        let known = *places;
        *places = known.and_then(|known| {
            (known..=MOST_DECIMALS).find(|&d| {
                let units = f64::from(x) * 10f64.powi(i32::from(d));
                // Twice the rounding of a float.
                let off = (units - units.round()).abs();
                units.abs() <= MOST_UNITS && off <= units.abs() * f64::from(f32::EPSILON)
            })
        });
    }
}
