//! Maxima: fused with the linear map before them where that is free, on quantized values otherwise.

use zkinfer_circuits::program::{Axis, Neurons, Node, Term, Unit, ValueRef, View, Weights};

use super::floor::Cut;
use super::{Acc, Act, Lowering, Plane, Post, Value, common};
use crate::graph::NodeId;
use crate::graph::view::{fit_view, in_order, pick_positions};
use crate::quantize::QuantizeError;

/// Most candidates that one unit compares.
const WINDOW: usize = 64;

impl Lowering<'_> {
    pub(super) fn maximum(
        &mut self,
        id: NodeId,
        input: NodeId,
        windows: &View,
        window: usize,
    ) -> Result<Value, QuantizeError> {
        let value = self.value(input)?;
        let len = match &value {
            Value::Act(a) => a.len(),
            Value::Acc(a) => a.result_len(),
        };
        let indices = self.indices(id, windows, len)?;
        if window == 0 || indices.len() % window != 0 {
            return Err(self.shape_error(id, "the window does not divide the view"));
        }
        if window == 1 && !indices.contains(&None) {
            let act = self.act(input)?;
            return Ok(Value::Act(self.view_act(act, windows, &indices)));
        }
        if let Some(cut) = self.cut_masked(id, input)? {
            return Ok(Value::Act(self.unmasked_maximum(id, cut, windows, window)?));
        }
        if let Value::Acc(acc) = &value
            && let Some(fused) = self.fuse(id, acc, &indices, window)
        {
            return Ok(Value::Acc(fused));
        }
        let mut act = self.act(input)?;
        if !comparable(&act, &indices, window) || self.width(act.planes[0].value) > 1 {
            let (value, scale, offset) = self.uniform(input)?;
            act = Act {
                planes: vec![Plane {
                    value,
                    scale: vec![scale; len],
                }],
                offset: vec![offset; len],
            };
        }
        let pick = |v: &[f64]| -> Vec<f64> {
            let one = |w: &[Option<usize>]| {
                w.iter()
                    .flatten()
                    .map(|&i| v[i])
                    .find(|s| !s.is_nan())
                    .unwrap_or(0.0)
            };
            indices.chunks(window).map(one).collect()
        };
        let (scale, offset) = (pick(&act.planes[0].scale), pick(&act.offset));
        let patches = self.network.view(act.planes[0].value, windows.clone());
        let value = self.compare(id, patches, indices.len() / window, window, &scale);
        let act = Act {
            planes: vec![Plane { value, scale }],
            offset,
        };
        self.network.decode(&act);
        Ok(Value::Act(act))
    }

    /// Maxima of what is not masked.
    fn unmasked_maximum(
        &mut self,
        id: NodeId,
        cut: Cut,
        windows: &View,
        window: usize,
    ) -> Result<Act, QuantizeError> {
        let uniform = cut.act.uniform();
        let (value, scale, offset) =
            uniform.ok_or_else(|| self.shape_error(id, "has no element"))?;
        let patches = self.network.view(value, windows.clone());
        let results = self.graph.nodes[id].len();
        let largest = self.compare_helper(id, patches, results, window, scale);
        let largest = Act::one(largest, scale, offset, results);
        let origin = self.origin(id);
        let act = self.at_least(id, &largest, cut.least, origin)?;
        self.network.decode(&act);
        Ok(act)
    }

    /// Neurons `max` over consecutive runs of `window` elements; padding is the integer 0, the lowest there is.
    pub(super) fn compare(
        &mut self,
        id: NodeId,
        patches: ValueRef,
        results: usize,
        window: usize,
        scale: &[f64],
    ) -> ValueRef {
        let (mut patches, mut window) = (patches, window);
        loop {
            let part = window.min(WINDOW);
            let parts = window.div_ceil(part);
            if parts > 1 {
                let axes = vec![
                    Axis {
                        extent: results as u32,
                        offset: 0,
                        strides: vec![1, 0, 0],
                    },
                    Axis {
                        extent: window as u32,
                        offset: 0,
                        strides: vec![0, part as i64, 1],
                    },
                ];
                patches = self.network.view(
                    patches,
                    View {
                        loops: vec![results as u32, parts as u32, part as u32],
                        axes,
                    },
                );
            }
            let unit = Unit {
                window: part as u32,
                ..Unit::LINEAR
            };
            let terms = vec![Term {
                patches,
                inputs: 1,
                weights: Weights::Public(vec![1 << self.network.bits]),
            }];
            let positions = (results * parts) as u32;
            patches = self.network.push(Node::Neurons(Neurons {
                groups: 1,
                outputs: 1,
                positions,
                unit,
                terms,
            }));
            let origin = if parts == 1 {
                self.origin(id)
            } else {
                self.helper(id)
            };
            let range = self.stats.tensor(id);
            self.network.record(patches.node, scale, range, origin);
            if parts == 1 {
                return patches;
            }
            window = parts;
        }
    }

    /// [`Self::compare`] of what stands for no tensor of the float model.
    pub(in crate::quantize) fn compare_helper(
        &mut self,
        id: NodeId,
        value: ValueRef,
        results: usize,
        window: usize,
        scale: f64,
    ) -> ValueRef {
        let before = self.network.layers.len();
        let largest = self.compare(id, value, results, window, &[scale]);
        for layer in &mut self.network.layers[before..] {
            layer.graph_node = None;
        }
        largest
    }

    /// The accumulator with candidates in its window, if the windows are the same for every channel, do not overlap and are not
    /// padded.
    fn fuse(&self, id: NodeId, acc: &Acc, indices: &[Option<usize>], window: usize) -> Option<Acc> {
        // What is clamped is clamped before it is compared.
        if acc.window != 1 || window > WINDOW || self.network.saturate || acc.is_gathered() {
            return None;
        }
        let results = indices.len() / window;
        let (channels, positions) = (acc.channels(), acc.positions);
        // Per channel, in order: the candidates' positions.
        let mut picked: Vec<Vec<usize>> = vec![Vec::new(); channels];
        let mut map = Vec::with_capacity(results);
        for candidates in indices.chunks(window) {
            let mut channel = None;
            for candidate in candidates {
                let source = acc.source((*candidate)?);
                let c = source / positions;
                if *channel.get_or_insert(c) != c {
                    return None;
                }
                picked.get_mut(c)?.push(source % positions);
            }
            let c = channel?;
            map.push((c, picked[c].len() / window - 1));
        }
        let first = picked.first()?.clone();
        let mut seen = vec![false; positions];
        if picked.iter().any(|p| *p != first)
            || first.iter().any(|&p| std::mem::replace(&mut seen[p], true))
        {
            return None;
        }
        let mut out = acc.clone();
        for term in &mut out.terms {
            term.view = pick_positions(&term.view, acc.groups, positions, &first)?;
        }
        out.positions = first.len() / window;
        out.window = window;
        let map: Vec<usize> = map
            .into_iter()
            .map(|(c, j)| c * out.positions + j)
            .collect();
        out.post = if in_order(&map, channels * out.positions) {
            None
        } else {
            let view = fit_view(&map, channels * out.positions)?;
            Some(Post {
                map,
                views: vec![view],
            })
        };
        let known = self.stats.spread.get(id).filter(|s| s.len() == results);
        // The recorded spread belongs to the accumulator itself or, with a ReLU in between, to what precedes it: the same.
        out.spread = known.map(|known| {
            let mut spread = vec![(0.0f64, 0.0f64); channels];
            for (i, &(a, b)) in known.iter().enumerate() {
                let s = &mut spread[out.source(i) / out.positions];
                *s = (s.0.max(f64::from(a)), s.1.max(f64::from(b)));
            }
            // Few windows say little about the largest spread to come; the channel's whole range bounds it.
            let windows = (out.positions * self.stats.samples()) as f64;
            let factor = 1.0 + 10.0 / windows.sqrt();
            let bounded = |(s, r): (&(f64, f64), &(f64, f64))| {
                (
                    (s.0 * factor).min(r.1 - r.0),
                    (s.1 * factor).min(r.1.max(0.0) - r.0),
                )
            };
            spread.iter().zip(&out.range).map(bounded).collect()
        });
        if acc.low && !self.directly_after_relu(id) {
            out.spread = None;
        }
        Some(out)
    }

    fn directly_after_relu(&self, id: NodeId) -> bool {
        let input = self.graph.nodes[id]
            .inputs
            .first()
            .and_then(|&i| self.graph.nodes.get(i));
        matches!(
            input.map(|n| &n.op),
            Some(crate::graph::Op::Activation(crate::graph::Activation::Relu))
        )
    }
}

/// Whether the candidates of every window are integers of one positive scale and one offset.
fn comparable(act: &Act, indices: &[Option<usize>], window: usize) -> bool {
    let [plane] = &act.planes[..] else {
        return false;
    };
    indices.chunks(window).all(|w| {
        let scales: Vec<f64> = w.iter().flatten().map(|&i| plane.scale[i]).collect();
        let offsets: Vec<f64> = w.iter().flatten().map(|&i| act.offset[i]).collect();
        !scales.is_empty() && common(&scales).is_some_and(|s| s > 0.0) && common(&offsets).is_some()
    })
}
