//! Linear maps of quantized tensors.

use super::{Acc, AccTerm, Act, Lowering, Plane, Value, common, wide};
use crate::graph::{Linear, NodeId};
use crate::quantize::QuantizeError;
use crate::quantize::value::ANY;

/// Sums of more elements than this (averages over large windows) are requantized before a linear map: as large integers
/// they would leave its weights only a few significant bits.
const SUM: usize = 4;

impl Lowering<'_> {
    pub(super) fn linear(
        &mut self,
        id: NodeId,
        input: NodeId,
        l: &Linear,
    ) -> Result<Acc, QuantizeError> {
        let mut act = self.act(input)?;
        if act.planes.iter().any(|p| self.width(p.value) > SUM) {
            let acc = self.elementwise(input, &act)?;
            act = self.materialize(acc, false, input)?;
            self.replace(input, &act);
        }
        let indices = self.indices(id, &l.patches, act.len())?;
        let weights = wide(&l.weights);
        let (groups, outputs, positions, inputs) = (l.groups, l.outputs, l.positions, l.inputs);
        if positions.min(outputs).min(groups).min(inputs) == 0
            || indices.len() != groups * positions * inputs
            || weights.len() != groups * outputs * inputs
        {
            return Err(self.shape_error(id, "weights or patches have the wrong size"));
        }
        let mut bias = if l.bias.is_empty() {
            vec![0.0; groups * outputs]
        } else {
            wide(&l.bias)
        };
        if bias.len() != groups * outputs {
            return Err(self.shape_error(id, "the bias has the wrong size"));
        }
        let shape = Columns {
            indices: &indices,
            groups,
            positions,
            inputs,
        };
        let padded = shape.of(&act.offset, 0.0);
        if padded.is_none() {
            // Not one offset per input: perhaps only because of padding, which a plane of ones can mask.
            act = self.offset_as_plane(act);
        }
        let mut planes: Option<Vec<Vec<f64>>> =
            act.planes.iter().map(|p| shape.of(&p.scale, ANY)).collect();
        if planes.is_none() {
            // Scales differ along the positions.
            let (value, scale, offset) = self.coarse(input)?;
            let len = act.len();
            act = Act {
                planes: vec![Plane {
                    value,
                    scale: vec![scale; len],
                }],
                offset: vec![offset; len],
            };
            if indices.contains(&None) && offset != 0.0 {
                act = self.offset_as_plane(act);
            }
            planes = act.planes.iter().map(|p| shape.of(&p.scale, ANY)).collect();
        }
        let planes =
            planes.ok_or_else(|| self.shape_error(id, "scales differ along the positions"))?;
        if let Some(offsets) = shape.of(&act.offset, 0.0) {
            for (row, b) in bias.iter_mut().enumerate() {
                let offsets = &offsets[row / outputs * inputs..][..inputs];
                *b += weights[row * inputs..][..inputs]
                    .iter()
                    .zip(offsets)
                    .map(|(w, o)| w * o)
                    .sum::<f64>();
            }
        }
        let mut terms = Vec::with_capacity(planes.len());
        for (plane, scales) in act.planes.iter().zip(&planes) {
            let row = |row: usize| {
                let scales = &scales[row / outputs * inputs..][..inputs];
                weights[row * inputs..][..inputs]
                    .iter()
                    .zip(scales)
                    .map(|(w, s)| w * s)
            };
            let weights = (0..groups * outputs).flat_map(row).collect();
            terms.push(AccTerm {
                source: plane.value,
                view: l.patches.clone(),
                inputs,
                weights,
                is_gathered: false,
            });
        }
        let (range, post) = (Vec::new(), None);
        let mut acc = Acc {
            groups,
            outputs,
            positions,
            window: 1,
            terms,
            bias,
            range,
            spread: None,
            low: false,
            post,
        };
        self.measure(id, &mut acc);
        Ok(acc)
    }

    /// The operand requantized to one scale.
    fn coarse(
        &mut self,
        input: NodeId,
    ) -> Result<(zkinfer_circuits::program::ValueRef, f64, f64), QuantizeError> {
        if let Value::Act(act) = self.value(input)?
            && let Some(u) = act.uniform()
        {
            return Ok(u);
        }
        self.uniform(input)
    }
}

/// The geometry of patches: `[groups][positions][inputs]`.
struct Columns<'a> {
    indices: &'a [Option<usize>],
    groups: usize,
    positions: usize,
    inputs: usize,
}

impl Columns<'_> {
    /// One number per group and input, if it is the same at all positions; `padding` where nothing is read.
    fn of(&self, values: &[f64], padding: f64) -> Option<Vec<f64>> {
        let at = |i: Option<usize>| i.map_or(padding, |i| values[i]);
        if !values.is_empty()
            && values.iter().all(|v| *v == values[0])
            && (!self.indices.contains(&None) || padding.is_nan() || values[0] == padding)
        {
            return Some(vec![values[0]; self.groups * self.inputs]);
        }
        let mut out = Vec::with_capacity(self.groups * self.inputs);
        let mut column = vec![0.0; self.positions];
        for g in 0..self.groups {
            for i in 0..self.inputs {
                for (p, c) in column.iter_mut().enumerate() {
                    *c = at(self.indices[(g * self.positions + p) * self.inputs + i]);
                }
                out.push(common(&column)?);
            }
        }
        Some(out)
    }
}
