//! What outputs are off by in every run is no rounding error of theirs: it is taken out of their biases.
//!
//! Errors of rounded weights and of tables do not cancel over a layer's inputs, so that the outputs' means are off, which is
//! most of the error where outputs vary little compared with what they are computed from (bias correction: Nagel, van
//! Baalen, Blankevoort and Welling, *Data-Free Quantization Through Weight Equalization and Bias Correction*, ICCV 2019,
//! section 4.2; here by the calibration samples, as in its section 4.2.2, and for outputs alone).

use super::floats::FloatRuns;
use crate::model::QuantizedModel;
use zkinfer_circuits::program::{Neurons, Node, ProgramLimits, Weights};

/// Least samples that tell a mean from an accident.
const SAMPLES: usize = 8;
/// Standard errors that a mean has to be away from zero.
const SURE: f64 = 3.0;

/// Corrects the outputs' biases by what they are off by on the average of these samples, where that is more than chance.
pub(super) fn correct(runs: &FloatRuns<'_>, model: &mut QuantizedModel) {
    if runs.samples().len() < SAMPLES {
        return;
    }
    let Some(errors) = errors(runs, model) else {
        return;
    };
    for (output, errors) in errors.into_iter().enumerate() {
        // `None` where there is no bias, or nothing to be sure of.
        let _ = correct_output(model, output, &errors);
    }
}

/// Of every output the errors of all samples that run, `[output][sample][element]`; `None` if something does not fit, which
/// others report.
fn errors(runs: &FloatRuns<'_>, model: &QuantizedModel) -> Option<Vec<Vec<Vec<f64>>>> {
    let expanded = model.program.expand(&ProgramLimits::owner()).ok()?;
    let mut errors = vec![Vec::new(); model.outputs.len()];
    // Of every sample what is found and wanted, or nothing where it cannot be run.
    let of = |sample: usize| {
        let Ok(integers) = model.quantize_inputs(&runs.samples()[sample], false) else {
            return Some(None);
        };
        let Ok(trace) = model.run(&expanded, &integers) else {
            return Some(None);
        };
        let found = model.dequantize_outputs(&expanded, &trace).ok()?;
        let values = runs.values(sample).ok()?;
        Some(Some((found, runs.graph().outputs_of(&values))))
    };
    let add = |_, pair: Option<Option<(Vec<Vec<f32>>, Vec<Vec<f32>>)>>| {
        let Some((found, wanted)) = pair.ok_or(())? else {
            return Ok(());
        };
        for ((errors, found), wanted) in errors.iter_mut().zip(found).zip(wanted) {
            let off = found.iter().zip(&wanted);
            errors.push(off.map(|(a, b)| f64::from(*a) - f64::from(*b)).collect());
        }
        Ok::<_, ()>(())
    };
    runs.each(of, add).ok()?;
    Some(errors)
}

/// Changes the bias of every channel of an output that has one.
fn correct_output(model: &mut QuantizedModel, output: usize, errors: &[Vec<f64>]) -> Option<()> {
    let tensor = model.outputs.get(output)?;
    if tensor.integers || errors.len() < SAMPLES {
        return None;
    }
    let &node = model.program.outputs.get(output)?;
    let (positions, term, depth) = match model.program.nodes.get(node as usize)? {
        Node::Neurons(n) if n.unit.tables.is_empty() && n.unit.window == 1 => (
            n.positions as usize,
            bias(n, &model.program.nodes)?,
            n.unit.depth(),
        ),
        _ => return None,
    };
    let weights = model.weights.iter_mut();
    let mut of_node = weights.filter(|w| w.node == node && w.term as usize == term);
    let biases = &mut of_node.next()?.data;
    // A step is 2^T of a bias, or 2^(2T).
    let range = f64::from(1u32 << (depth * model.program.range_bits));
    for (channel, bias) in biases.iter_mut().enumerate() {
        let elements = channel * positions..(channel + 1) * positions;
        let of_sample = |errors: &Vec<f64>| {
            let own = errors.get(elements.clone())?;
            let steps = own
                .iter()
                .zip(elements.clone())
                .map(|(e, i)| e / tensor.scale_at(i));
            Some(steps.sum::<f64>() / positions as f64)
        };
        let steps: Vec<f64> = errors.iter().map(of_sample).collect::<Option<_>>()?;
        if let Some(mean) = systematic(&steps) {
            let corrected = f64::from(*bias) - (mean * range).round();
            if corrected.abs() <= f64::from(i32::MAX) {
                *bias = corrected as i32;
            }
        }
    }
    Some(())
}

/// What errors are on the average, if that is more than chance: far from zero for its standard error, and each half of the
/// samples is less off without what the other half says.
fn systematic(errors: &[f64]) -> Option<f64> {
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let all = mean(errors);
    let count = errors.len() as f64;
    let variance = errors.iter().map(|e| (e - all).powi(2)).sum::<f64>() / (count - 1.0);
    let far = all.abs() > SURE * (variance / count).sqrt();
    let half = |odd: usize| -> Vec<f64> {
        let of_half = errors.iter().skip(odd).step_by(2);
        of_half.copied().collect()
    };
    let (one, other) = (half(0), half(1));
    let off = |errors: &[f64], by: f64| errors.iter().map(|e| (e - by).abs()).sum::<f64>();
    let helps = |from: &[f64], on: &[f64]| off(on, mean(from)) < off(on, 0.0);
    (far && helps(&one, &other) && helps(&other, &one)).then_some(all)
}

/// The term of a node that adds a committed number of its own to every channel.
fn bias(n: &Neurons, nodes: &[Node]) -> Option<usize> {
    n.terms.iter().position(|term| {
        let of_ones = nodes.get(term.patches.node as usize);
        term.weights == Weights::Committed
            && term.inputs == 1
            && matches!(of_ones, Some(Node::Constant { .. }))
    })
}

#[cfg(test)]
mod tests {
    use super::systematic;

    #[test]
    fn only_what_is_off_in_every_run_is_corrected() {
        let off = |by: f64, noise: f64| -> Vec<f64> {
            (0..16)
                .map(|i| by + noise * [1.0, -1.0, 0.5, -0.5][i % 4])
                .collect()
        };
        let found = systematic(&off(2.0, 0.5)).unwrap();
        assert!((found - 2.0).abs() < 1e-9);
        assert_eq!(systematic(&off(0.1, 1.0)), None);
        assert_eq!(systematic(&off(0.0, 0.0)), None);
        // One sample alone is no rule.
        let mut one = off(0.0, 0.01);
        one[3] = 100.0;
        assert_eq!(systematic(&one), None);
    }
}
