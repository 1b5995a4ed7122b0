//! More bits where they matter: which operations limit the outputs' error, and those alone with twice the bits.
//!
//! Of every operation two things are measured on a few samples. How far its integers are from what the float operation makes of
//! the integers that it read: its own error, be it of weights, tables or roundings. And what that error alone does to the outputs of
//! the float model. Errors of different operations are independent of each other, so that of all together is the root of the sum of
//! their squares; those that contribute most get [more bits](Level), until what is left is within the bound.

use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;

use super::correction::correct;
use super::floats::FloatRuns;
use super::lower::lower;
use super::network::{Level, Levels};
use super::precision::{error, scale};
use super::report::size;
use super::stats::Stats;
use super::{QuantizeError, QuantizeOptions};
use crate::graph::{Graph, NodeId, Op, Tie};
use crate::model::{Decoding, QuantizedModel};
use zkinfer_circuits::program::{Expanded, ProgramLimits};

/// Rounds of measuring and refining.
const ROUNDS: usize = 6;
/// Samples that are looked at.
const SAMPLES: usize = 4;
/// Most operations whose effect on the outputs is measured, those with the largest errors of their own.
const MEASURED: usize = 384;
/// A round that leaves so many times the error is taken back.
const WORSE: f64 = 1.5;
/// Part of the bound that predictions aim at.
const AIM: f64 = 0.6;
/// How often that is halved where predictions are met and the bound is not.
const AIMS: usize = 4;

/// What is refined together: steps of a loop are alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Group {
    Tie(Tie),
    Node(NodeId),
}

/// A model, and how it came to be.
#[derive(Clone)]
pub(super) struct Candidate {
    /// Its error on the samples that it was judged by.
    pub error: f64,
    pub model: QuantizedModel,
    /// Operations that are computed more exactly than others.
    pub levels: Levels,
}

impl Candidate {
    /// Of a graph in `2^bits` integers a cell.
    pub fn new(
        runs: &FloatRuns<'_>,
        stats: &Stats,
        options: &QuantizeOptions,
        bits: u32,
        levels: Levels,
    ) -> Result<Candidate, QuantizeError> {
        let mut model = lower(runs.graph(), stats, options, bits, &levels)?;
        correct(runs, &mut model);
        Ok(Candidate {
            error: error(runs, stats, &model),
            model,
            levels,
        })
    }
}

/// The first model, or a better one where its error is more than `goal` and something can be done about it.
pub(super) fn refine(
    runs: &FloatRuns<'_>,
    stats: &Stats,
    options: &QuantizeOptions,
    first: Candidate,
    goal: f64,
) -> Candidate {
    let graph = runs.graph();
    let bits = first.model.program.range_bits;
    let Some(scales) = scales(runs, stats).filter(|_| first.error > goal) else {
        return first;
    };
    let mut best = first.clone();
    let mut last = first;
    let mut aim = goal * AIM;
    // What more bits make no better, and what they would make worse.
    let mut stuck: HashMap<Group, Level> = HashMap::new();
    let mut known = None;
    for _ in 0..ROUNDS {
        if best.error <= goal {
            break;
        }
        if known.is_none() {
            known = effects(runs, &scales, &last.model);
        }
        let Some(effects) = &known else {
            break;
        };
        let mut raised = Vec::new();
        // Errors are not quite independent, so that they come to more than is predicted.
        for _ in 0..AIMS {
            raised = raise(graph, effects, aim, (&last.levels, &stuck));
            if !raised.is_empty() {
                break;
            }
            aim /= 2.0;
        }
        if raised.is_empty() {
            break;
        }
        let mut levels = last.levels.clone();
        for (group, level) in &raised {
            levels.extend(members(graph, *group).map(|id| (id, *level)));
        }
        let Ok(next) = Candidate::new(runs, stats, options, bits, levels) else {
            stuck.extend(raised);
            continue;
        };
        tracing::debug!(
            operations = next.levels.len(),
            error = next.error,
            "refined"
        );
        if next.error > WORSE * last.error {
            // Samples that leave their range, say: not this way.
            stuck.extend(raised);
            continue;
        }
        // More there are not.
        let done = raised.into_iter().filter(|(_, l)| *l == Level::Wide);
        stuck.extend(done);
        if next.error < best.error {
            best = next.clone();
        }
        (last, known) = (next, None);
    }
    best
}

/// The operations of a group.
fn members(graph: &Graph, group: Group) -> impl Iterator<Item = NodeId> + '_ {
    let (first, tie) = match group {
        Group::Node(id) => (Some(id), None),
        Group::Tie(tie) => (None, Some(tie)),
    };
    let nodes = graph.nodes.iter().enumerate();
    let tied = nodes.filter(move |(_, n)| tie.is_some() && n.tie == tie);
    first.into_iter().chain(tied.map(|(id, _)| id))
}

/// The groups with the largest effects, and the next level of each, such that the others' is within `goal`: of those that are not
/// stuck.
fn raise(
    graph: &Graph,
    effects: &HashMap<Group, f64>,
    goal: f64,
    (levels, stuck): (&Levels, &HashMap<Group, Level>),
) -> Vec<(Group, Level)> {
    let next = |group: Group| {
        let mut members = members(graph, group);
        let id = members.next()?;
        // Inputs have no weights.
        let has_weights = !matches!(graph.nodes[id].op, Op::Input);
        let level = match levels.get(&id) {
            None if has_weights => Level::Deep,
            _ => Level::Wide,
        };
        (stuck.get(&group).is_none_or(|s| level < *s)).then_some(level)
    };
    let mut sorted: Vec<(Group, f64, Level)> = effects
        .iter()
        .filter_map(|(g, e)| Some((*g, *e, next(*g)?)))
        .collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut left: f64 = sorted.iter().map(|(_, e, _)| e * e).sum();
    let mut raised = Vec::new();
    for (group, effect, level) in sorted {
        if left <= goal * goal {
            break;
        }
        left -= effect * effect;
        let name = members(graph, group).next().map(|id| &graph.nodes[id].name);
        tracing::debug!(operation = ?name, effect, ?level, "raised");
        raised.push((group, level));
    }
    raised
}

/// The part of its scale that every operation's own error moves the outputs by, the largest of all outputs.
fn effects(
    runs: &FloatRuns<'_>,
    scales: &[f64],
    model: &QuantizedModel,
) -> Option<HashMap<Group, f64>> {
    let (graph, samples) = (runs.graph(), runs.samples());
    let expanded = model.program.expand(&ProgramLimits::owner()).ok()?;
    let decodings = of_nodes(model);
    let step = samples.len().div_ceil(SAMPLES).max(1);
    let mut sums: HashMap<Group, f64> = HashMap::new();
    let mut ran = 0usize;
    for (number, sample) in samples.iter().enumerate().step_by(step) {
        let Some(own) = errors(graph, model, &expanded, &decodings, sample) else {
            continue;
        };
        let values = runs.values(number).ok()?;
        ran += 1;
        let of = |(id, error): &(NodeId, Vec<f32>)| {
            let effect = effect(graph, &values, *id, error, sample, scales)?;
            let group = match graph.nodes[*id].tie {
                Some(tie) => Group::Tie(tie),
                None => Group::Node(*id),
            };
            Some((group, effect))
        };
        let effects: Option<Vec<(Group, f64)>> = own.par_iter().map(of).collect();
        for (group, effect) in effects? {
            *sums.entry(group).or_default() += effect * effect;
        }
    }
    let mean = |sum: f64| (sum / ran.max(1) as f64).sqrt();
    Some(sums.into_iter().map(|(g, sum)| (g, mean(sum))).collect())
}

/// What errors of the outputs are judged by.
fn scales(runs: &FloatRuns<'_>, stats: &Stats) -> Option<Vec<f64>> {
    let graph = runs.graph();
    let mut magnitudes = vec![Vec::new(); graph.outputs.len()];
    for sample in 0..runs.samples().len() {
        let values = runs.values(sample).ok()?;
        for (magnitudes, output) in magnitudes.iter_mut().zip(graph.outputs_of(&values)) {
            magnitudes.extend(output.iter().map(|v| v.abs()));
        }
    }
    let outputs = graph.outputs.iter().zip(&mut magnitudes);
    let of = |(&id, magnitudes): (&NodeId, &mut Vec<f32>)| {
        scale(stats.tensor(id), size(magnitudes)).max(1e-30)
    };
    Some(outputs.map(of).collect())
}

/// What stands for every node that integers stand for.
fn of_nodes(model: &QuantizedModel) -> HashMap<NodeId, &Decoding> {
    let decodings = model.decodings.iter();
    decodings
        .filter_map(|(layer, decoding)| Some((model.layers.get(*layer)?.graph_node?, decoding)))
        .collect()
}

/// The errors of operations' own, of those with the largest; `None` for a sample that cannot be run.
fn errors(
    graph: &Graph,
    model: &QuantizedModel,
    expanded: &Expanded,
    decodings: &HashMap<NodeId, &Decoding>,
    sample: &[Vec<f32>],
) -> Option<Vec<(NodeId, Vec<f32>)>> {
    let integers = model.quantize_inputs(sample, false).ok()?;
    let trace = model.run(expanded, &integers).ok()?;
    let mut given = Vec::with_capacity(sample.len());
    for (tensor, cells) in model.inputs.iter().zip(&integers) {
        given.push(tensor.dequantize(cells).ok()?);
    }
    let mut forced: Vec<Vec<f32>> = Vec::with_capacity(graph.nodes.len());
    let mut own: Vec<(f64, NodeId, Vec<f32>)> = Vec::new();
    for id in 0..graph.nodes.len() {
        let value = graph.value(id, &forced, &given).ok()?;
        let decoded = decodings
            .get(&id)
            .map(|d| super::report::decode(d, (&model.program, expanded), &trace, value.len()));
        let input = graph.inputs.iter().position(|&input| input == id);
        let (decoded, value): (Vec<f32>, Vec<f32>) = match (decoded, input) {
            (Some(decoded), _) => (decoded.into_iter().map(|v| v as f32).collect(), value),
            // What an input is rounded to.
            (None, Some(at)) => (value, sample.get(at)?.clone()),
            (None, None) => {
                forced.push(value);
                continue;
            }
        };
        let error: Vec<f32> = decoded.iter().zip(&value).map(|(d, v)| d - v).collect();
        let size = value
            .iter()
            .fold(0.0f32, |m, v| m.max(v.abs()))
            .max(f32::MIN_POSITIVE);
        let largest = error.iter().fold(0.0f32, |m, e| m.max(e.abs()));
        if largest > 0.0 {
            own.push((f64::from(largest / size), id, error));
        }
        forced.push(decoded);
    }
    own.sort_by(|a, b| b.0.total_cmp(&a.0));
    own.truncate(MEASURED);
    Some(own.into_iter().map(|(_, id, error)| (id, error)).collect())
}

/// What an error of one node moves the outputs by, over their scales: the mean, of the output that is moved most.
fn effect(
    graph: &Graph,
    values: &[Vec<f32>],
    id: NodeId,
    error: &[f32],
    inputs: &[Vec<f32>],
    scales: &[f64],
) -> Option<f64> {
    // Values that stay as they are are not copied.
    let mut moved: Vec<Cow<'_, [f32]>> = values[..=id].iter().map(Cow::from).collect();
    let of_node = moved[id].to_mut().iter_mut();
    of_node.zip(error).for_each(|(v, e)| *v += e);
    let mut depends = vec![false; graph.nodes.len()];
    depends[id] = true;
    for (at, node) in graph.nodes.iter().enumerate().skip(id + 1) {
        depends[at] = node.inputs.iter().any(|&i| depends[i]);
        moved.push(match depends[at] {
            true => graph.value(at, &moved, inputs).ok()?.into(),
            false => (&values[at]).into(),
        });
    }
    let outputs = graph.outputs.iter().zip(scales);
    let relative = |(&o, scale): (&NodeId, &f64)| {
        let off = moved[o].iter().zip(values[o].iter());
        let sum: f64 = off.map(|(a, b)| f64::from((a - b).abs())).sum();
        sum / moved[o].len().max(1) as f64 / scale
    };
    Some(outputs.map(relative).fold(0.0, f64::max))
}
