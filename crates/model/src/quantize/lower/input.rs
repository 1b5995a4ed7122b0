//! Inputs of the program: their steps and zero points.

use zkinfer_circuits::program::{Axis, Node, ValueRef, View};

use super::{Act, Lowering, Plane, Value};
use crate::graph::{Linear, NodeId, Op};
use crate::model::TensorInterface;
use crate::quantize::QuantizeError;
use crate::quantize::network::{Level, shorten};

/// Most elements of an input that are looked at one by one.
const MAX_FEATURES: usize = 512;
/// Features whose ranges differ by more than this have scales of their own.
const UNEVEN: f64 = 16.0;

/// Least width of an input's range over its magnitude: of narrower ones single precision does not tell the integers apart.
const NARROWEST: f64 = 2e-3;

/// Bits of a number that takes two cells: of more, single precision does not tell neighbours apart.
const WIDEST: u32 = 23;
/// Largest zero point of such a number.
const FARTHEST: f64 = ((1u32 << 23) - (1 << 16)) as f64;

/// What an input may exceed its likely range by besides the headroom, times the root of the number of samples: what people
/// measure strays further than sums of it do, and a coarser step of an input costs little.
const FEW_SAMPLES: f64 = 1.5;

impl Lowering<'_> {
    pub(super) fn inputs(&mut self) -> Result<Vec<TensorInterface>, QuantizeError> {
        let mut out = Vec::new();
        for &id in &self.graph.inputs {
            let node = self
                .graph
                .nodes
                .get(id)
                .ok_or_else(|| QuantizeError::Shape {
                    layer: format!("input node {id}"),
                    reason: "does not exist",
                })?;
            let len = node.len();
            if let (Some(rows), None) = (self.rows_of(id), self.chained.get(out.len())) {
                let interface = self.numbers(id, rows);
                out.push(interface);
                continue;
            }
            let is_wide = self.network.levels.get(&id) == Some(&Level::Wide);
            if is_wide && self.chained.get(out.len()).is_none() {
                let interface = self.wide_input(id);
                out.push(interface);
                continue;
            }
            let value = self.network.push(Node::Input { len: len as u32 });
            if let Some(interface) = self.chained.get(out.len()).cloned() {
                interface.check(len)?;
                if interface.low_bits > 0 {
                    return Err(self.shape_error(
                        id,
                        "is another model's output of two integers for each element",
                    ));
                }
                let scale: Vec<f64> = (0..len).map(|i| interface.scale_at(i)).collect();
                let offset = (0..len)
                    .map(|i| -scale[i] * interface.zero_point_at(i))
                    .collect();
                self.values[id] = Some(Value::Act(Act {
                    planes: vec![Plane { value, scale }],
                    offset,
                }));
                out.push(interface);
                continue;
            }
            let (name, shape) = (node.name.clone(), node.shape.clone());
            if let Some(scales) = self.feature_scales(id) {
                let (scale, zero): (Vec<f64>, Vec<f64>) = scales.into_iter().unzip();
                let offset = scale.iter().zip(&zero).map(|(s, z)| -s * z).collect();
                self.values[id] = Some(Value::Act(Act {
                    planes: vec![Plane {
                        value,
                        scale: scale.clone(),
                    }],
                    offset,
                }));
                out.push(TensorInterface {
                    name,
                    shape,
                    scale: shorten(scale),
                    zero_point: shorten(zero),
                    integers: false,
                    labels: Vec::new(),
                    low_bits: 0,
                });
                continue;
            }
            let (scale, zero) = self.input_scale(id);
            self.values[id] = Some(Value::Act(Act {
                planes: vec![Plane {
                    value,
                    scale: vec![scale; len],
                }],
                offset: vec![-scale * zero; len],
            }));
            out.push(TensorInterface {
                name,
                shape,
                scale: vec![scale],
                zero_point: vec![zero],
                integers: false,
                labels: Vec::new(),
                low_bits: 0,
            });
        }
        Ok(out)
    }

    /// An input whose numbers take two cells each, in steps as fine as single precision tells apart: where it is its rounding in
    /// one cell that limits the outputs.
    fn wide_input(&mut self, id: NodeId) -> TensorInterface {
        let bits = self.network.bits;
        let narrow = self.feature_scales(id);
        let narrow = narrow.unwrap_or_else(|| vec![self.input_scale(id)]);
        let finer = f64::from(WIDEST.min(2 * bits) - bits).exp2();
        let wide = |&(scale, zero): &(f64, f64)| {
            // Powers of two, and whole zero points: see `TensorInterface::check`.
            let mut step = (scale / finer).log2().ceil().exp2();
            while (scale * zero / step).abs() >= FARTHEST {
                step *= 2.0;
            }
            (step, (scale * zero / step).ceil() + 0.0)
        };
        let (scale, zero): (Vec<f64>, Vec<f64>) = narrow.iter().map(wide).unzip();
        let node = &self.graph.nodes[id];
        let (name, shape, len) = (node.name.clone(), node.shape.clone(), node.len());
        let (cells, parts) = self.cells(len, 2);
        // The upper part is not what is rounded.
        self.network.exact.insert(cells);
        let at = |v: &[f64], i: usize| if v.len() == 1 { v[0] } else { v[i] };
        let plane = |(part, value): (usize, ValueRef)| {
            let unit = f64::from(bits * part as u32).exp2();
            Plane {
                value,
                scale: (0..len).map(|i| at(&scale, i) * unit).collect(),
            }
        };
        let act = Act {
            planes: parts.into_iter().enumerate().map(plane).collect(),
            offset: (0..len).map(|i| -at(&scale, i) * at(&zero, i)).collect(),
        };
        self.values[id] = Some(Value::Act(act));
        TensorInterface {
            name,
            shape,
            scale: shorten(scale),
            zero_point: shorten(zero),
            integers: false,
            labels: Vec::new(),
            low_bits: bits,
        }
    }

    /// An input of `parts` cells for every element, one beside the other: all, and every part of all elements.
    pub(super) fn cells(&mut self, len: usize, parts: usize) -> (ValueRef, Vec<ValueRef>) {
        let all = (parts * len) as u32;
        let value = self.network.push(Node::Input { len: all });
        let part = |at: usize| View {
            loops: vec![len as u32],
            axes: vec![Axis {
                extent: all,
                offset: at as i64,
                strides: vec![parts as i64],
            }],
        };
        let views = match parts {
            1 => vec![value],
            _ => (0..parts)
                .map(|at| self.network.view(value, part(at)))
                .collect(),
        };
        (value, views)
    }

    /// Step and zero point of every element of an input that is a list of features of very different ranges (a table's
    /// columns). Not for images and other inputs whose elements are alike.
    pub(super) fn feature_scales(&self, id: NodeId) -> Option<Vec<(f64, f64)>> {
        let node = &self.graph.nodes[id];
        let len = node.len();
        let flat = node.shape.iter().filter(|&&l| l > 1).count() <= 1;
        let (low_is_hard, high_is_hard) = self.stats.bounds_are_hard(id);
        // What is read step by step has one scale in all steps.
        let stepped = |&reader: &NodeId| self.graph.nodes[reader].tie.is_some();
        if self.readers[id].iter().any(stepped) {
            return None;
        }
        if !flat || !(2..=MAX_FEATURES).contains(&len) || (low_is_hard && high_is_hard) {
            return None;
        }
        let feature = |i: usize| {
            let only = |e: usize| if e == i { 0 } else { usize::MAX };
            let seen = self.stats.element(id, i);
            let likely = self.stats.channels(id, 1, only);
            let (low, high) = likely.first().copied().unwrap_or(seen);
            (seen, (low, high))
        };
        let features: Vec<_> = (0..len).map(feature).collect();
        let mut widths: Vec<f64> = features.iter().map(|(seen, _)| seen.1 - seen.0).collect();
        widths.sort_by(f64::total_cmp);
        let largest = *widths.last()?;
        if widths[len / 4] <= 0.0 || widths[len / 4] * UNEVEN > largest {
            return None;
        }
        let top = self.network.top();
        let one = |(i, &(seen, (low, high))): (usize, &((f64, f64), (f64, f64)))| {
            let middle = (seen.0 + seen.1) / 2.0;
            let widened = |v: f64| middle + (v - middle) * self.widening();
            let (mut a, b) = (widened(low), widened(high));
            if seen.0 >= 0.0 && a <= 0.25 * b {
                a = 0.0;
            }
            let least = (a.abs().max(b.abs()) * NARROWEST).max(largest * 1e-9);
            let (a, b) = if b - a < least {
                (a - least, b + least)
            } else {
                (a, b)
            };
            let scale = aligned((b - a) / (top - 1.0), self.stats.unit(id, Some(i)));
            (scale, (-a / scale - 1e-9).ceil() + 0.0)
        };
        Some(features.iter().enumerate().map(one).collect())
    }

    /// By how much ranges of inputs exceed the likely ones.
    fn widening(&self) -> f64 {
        let headroom = self.network.headroom;
        // No headroom is the wish for none.
        let few = FEW_SAMPLES / (self.stats.samples() as f64).sqrt();
        if headroom > 0.0 {
            1.0 + headroom + few
        } else {
            1.0
        }
    }

    /// What an input can be besides what calibration saw: a whole number that never changed may be zero or one (a mask, a
    /// switch), and one that rows are looked up by may be the number of any of them.
    fn domain(&self, id: NodeId, (low, high): (f64, f64)) -> (f64, f64) {
        let whole = self.stats.unit(id, None) == Some(1.0);
        let mut domain = (low, high);
        if whole && low == high {
            domain = (low.min(0.0), high.max(1.0));
        }
        let mut open = vec![id];
        while let Some(at) = open.pop() {
            for &reader in &self.readers[at] {
                match &self.graph.nodes[reader].op {
                    Op::View(_) => open.push(reader),
                    Op::Linear(layer) if whole => {
                        let rows = rows(layer).unwrap_or(0) as f64;
                        domain = (domain.0, domain.1.max(rows - 1.0));
                    }
                    _ => {}
                }
            }
        }
        domain
    }

    /// Step and zero point of an input. Zero is a whole step wherever the range is near it; bounds of the domain (black and
    /// white) get no margin.
    pub(super) fn input_scale(&self, id: NodeId) -> (f64, f64) {
        let (low, high) = self.stats.tensor(id);
        let (low_is_hard, high_is_hard) = self.stats.bounds_are_hard(id);
        let (likely_low, likely_high) = self
            .stats
            .channels(id, 1, |_| 0)
            .first()
            .copied()
            .unwrap_or((low, high));
        let middle = (low + high) / 2.0;
        let widened = |likely: f64| middle + (likely - middle) * self.widening();
        let (mut a, mut b) = (
            if low_is_hard {
                low
            } else {
                widened(likely_low)
            },
            if high_is_hard {
                high
            } else {
                widened(likely_high)
            },
        );
        if low >= 0.0 && a <= 0.25 * b {
            // Images, counts: non-negative.
            a = 0.0;
        } else if high <= 0.0 && b >= 0.25 * a {
            b = 0.0;
        }
        let domain = self.domain(id, (low, high));
        (a, b) = (a.min(domain.0), b.max(domain.1));
        let least = a.abs().max(b.abs()).max(1e-6) * NARROWEST;
        if b - a < least {
            (a, b) = (a - least, b + least);
        }
        // One step to spare: with a whole zero point both ends stay inside, wherever zero is.
        let mut scale = (b - a) / (self.network.top() - 1.0);
        scale = aligned(scale, self.stats.unit(id, None));
        // (Adding zero turns −0 into 0.)
        let zero = (-a / scale - 1e-9).ceil() + 0.0;
        (scale, zero)
    }
}

/// How many rows are looked up, if a layer compares its operand with the numbers of rows.
fn rows(layer: &Linear) -> Option<usize> {
    let ones = layer.inputs == 1 && layer.groups == 1 && layer.weights.iter().all(|w| *w == 1.0);
    let mut numbers = layer.bias.iter().zip(0..);
    let counts = numbers.all(|(b, row): (&f32, i32)| *b == -(row as f32));
    (ones && counts && layer.outputs > 1 && layer.bias.len() == layer.outputs)
        .then_some(layer.outputs)
}

/// The next coarser step that divides the unit which all values are multiples of, if there is one: indices, counts and
/// measurements with a few decimals then stay exact, and equal to the thresholds that a tree took from them.
fn aligned(step: f64, unit: Option<f64>) -> f64 {
    match unit {
        Some(unit) if step <= unit => unit / (unit / step).floor(),
        _ => step,
    }
}
