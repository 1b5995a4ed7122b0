//! More bits where they matter: which operations limit the outputs' error, and those alone with twice the bits.
//!
//! Of every operation two things are measured on a few samples. How far its integers are from what the float operation makes of
//! the integers that it read: its own error, be it of weights, tables or roundings. And what that error alone does to the outputs of
//! the float model. Errors of different operations are independent of each other, so that of all together is the root of the sum of
//! their squares; those that contribute most get [more bits](Level), until what is left is within the bound.

use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;

use super::QuantizeOptions;
use super::correction::correct;
use super::floats::FloatRuns;
use super::lower::lower;
use super::network::{Level, Levels};
use super::precision::error;
use super::stats::Stats;
use crate::graph::{Graph, NodeId, Op, Tie};
use crate::model::{Decoding, QuantizedModel};
use zkinfer_circuits::program::{Expanded, ProgramLimits};

/// Rounds of measuring and refining.
const ROUNDS: usize = 6;
/// Samples that are looked at.
const SAMPLES: usize = 4;
/// Most operations whose effect on the outputs is measured, those with the largest errors of their own.
const MEASURED: usize = 384;
/// Part of the bound that predictions aim at.
const AIM: f64 = 0.6;

/// What is refined together: steps of a loop are alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Group {
    Tie(Tie),
    Node(NodeId),
}

/// The first model, or a better one where its error is more than `goal` and something can be done about it; with its error.
pub(super) fn refine(
    runs: &FloatRuns<'_>,
    stats: &Stats,
    options: &QuantizeOptions,
    first: (f64, QuantizedModel),
    goal: f64,
) -> (f64, QuantizedModel) {
    let graph = runs.graph();
    let bits = first.1.program.range_bits;
    let (mut least, mut best) = first;
    let mut levels = Levels::new();
    let (mut last, mut last_error) = (best.clone(), least);
    for _ in 0..ROUNDS {
        if least <= goal {
            break;
        }
        let Some(effects) = effects(runs, stats, &last) else {
            break;
        };
        if !raise(graph, &effects, goal * AIM, &mut levels) {
            break;
        }
        let Ok(mut model) = lower(graph, stats, options, bits, &levels) else {
            break;
        };
        correct(runs, &mut model);
        let found = error(runs, stats, &model);
        tracing::debug!(operations = levels.len(), error = found, "refined");
        if found < least {
            (least, best) = (found, model.clone());
        }
        // What was asked for cannot be done where it is, and will be asked for again.
        if found == last_error {
            break;
        }
        (last, last_error) = (model, found);
    }
    (least, best)
}

/// Gives more bits to the groups with the largest effects, until the others' is within `goal`. Whether any got some.
fn raise(graph: &Graph, effects: &HashMap<Group, f64>, goal: f64, levels: &mut Levels) -> bool {
    let mut sorted: Vec<(Group, f64)> = effects.iter().map(|(g, e)| (*g, *e)).collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut left: f64 = sorted.iter().map(|(_, e)| e * e).sum();
    let mut raised = false;
    for (group, effect) in sorted {
        if left <= goal * goal {
            break;
        }
        left -= effect * effect;
        let members: Vec<NodeId> = match group {
            Group::Node(id) => vec![id],
            Group::Tie(tie) => {
                let nodes = graph.nodes.iter().enumerate();
                nodes
                    .filter(|(_, n)| n.tie == Some(tie))
                    .map(|(id, _)| id)
                    .collect()
            }
        };
        for id in members {
            let next = match (levels.get(&id), &graph.nodes[id].op) {
                // Inputs have no weights.
                (Some(_), _) | (None, Op::Input) => Level::Wide,
                (None, _) => Level::Deep,
            };
            tracing::debug!(operation = %graph.nodes[id].name, effect, level = ?next, "raised");
            raised |= levels.insert(id, next) != Some(next);
        }
    }
    raised
}

/// The part of its scale that every operation's own error moves the outputs by, the largest of all outputs.
fn effects(
    runs: &FloatRuns<'_>,
    stats: &Stats,
    model: &QuantizedModel,
) -> Option<HashMap<Group, f64>> {
    let (graph, samples) = (runs.graph(), runs.samples());
    let expanded = model.program.expand(&ProgramLimits::owner()).ok()?;
    let decodings = of_nodes(model);
    let scales: Vec<f64> = graph
        .outputs
        .iter()
        .map(|&id| {
            let (low, high) = stats.tensor(id);
            let magnitude = low.abs().max(high.abs());
            (high - low).max(0.1 * magnitude).min(magnitude).max(1e-30)
        })
        .collect();
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
            let effect = effect(graph, &values, *id, error, sample, &scales)?;
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
