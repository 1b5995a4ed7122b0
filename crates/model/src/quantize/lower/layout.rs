//! What moves or scales elements and costs nothing: views, affine maps, sums.

use zkinfer_circuits::program::{Node, ValueRef, View};

use super::{ANY, Acc, AccTerm, Act, Lowering, Plane, Post, Value, common, same};
use crate::graph::NodeId;
use crate::graph::view::{fit_view, in_order};
use crate::quantize::QuantizeError;

impl Lowering<'_> {
    pub(super) fn view(
        &mut self,
        id: NodeId,
        input: NodeId,
        view: &View,
    ) -> Result<Value, QuantizeError> {
        let value = self.value(input)?;
        let len = match &value {
            Value::Act(a) => a.len(),
            Value::Acc(a) => a.result_len(),
        };
        let indices = self.indices(id, view, len)?;
        let whole: Option<Vec<usize>> = indices.iter().copied().collect();
        if whole.as_ref().is_some_and(|w| in_order(w, len)) {
            return Ok(value);
        }
        let act = match (value, whole) {
            (Value::Acc(mut acc), Some(whole)) => {
                let map: Vec<usize> = whole.iter().map(|&i| acc.source(i)).collect();
                if let Some(part) = super::narrow::narrow(&acc, &map) {
                    return Ok(Value::Acc(part));
                }
                acc.post = if in_order(&map, acc.len()) {
                    None
                } else {
                    let mut views = acc.post.take().map_or_else(Vec::new, |p| p.views);
                    views.push(view.clone());
                    if views.len() > 1
                        && let Some(one) = fit_view(&map, acc.channels() * acc.positions)
                    {
                        views = vec![one];
                    }
                    Some(Post { map, views })
                };
                return Ok(Value::Acc(acc));
            }
            (Value::Acc(_), None) => self.act(input)?,
            (Value::Act(act), _) => act,
        };
        Ok(Value::Act(self.view_act(act, view, &indices)))
    }

    /// A view of a quantized tensor. Padding is a real zero: where there is an offset, it becomes a plane of its own.
    pub fn view_act(&mut self, act: Act, view: &View, indices: &[Option<usize>]) -> Act {
        let padded = indices.contains(&None);
        let act = if padded && act.offset.iter().any(|o| *o != 0.0) {
            self.offset_as_plane(act)
        } else {
            act
        };
        let mut planes = Vec::with_capacity(act.planes.len());
        for plane in &act.planes {
            let value = self.network.view(plane.value, view.clone());
            planes.push(Plane {
                value,
                scale: Act::permuted(&plane.scale, indices, ANY),
            });
        }
        Act {
            planes,
            offset: Act::permuted(&act.offset, indices, 0.0),
        }
    }

    /// Elements of a quantized tensor, in any order.
    pub fn select(&mut self, act: &Act, indices: &[usize]) -> Act {
        let planes = act.planes.iter().map(|p| Plane {
            value: self.network.picked(p.value, act.len(), indices),
            scale: indices.iter().map(|&i| p.scale[i]).collect(),
        });
        Act {
            planes: planes.collect(),
            offset: indices.iter().map(|&i| act.offset[i]).collect(),
        }
    }

    /// Turns the offset into a plane of ones, so that padding can mask it.
    pub fn offset_as_plane(&mut self, mut act: Act) -> Act {
        let len = act.len();
        let value = self.network.constant(len);
        let plane = Plane {
            value,
            scale: std::mem::replace(&mut act.offset, vec![0.0; len]),
        };
        act.add(Act {
            planes: vec![plane],
            offset: vec![0.0; len],
        })
    }

    pub(super) fn affine(
        &mut self,
        id: NodeId,
        input: NodeId,
        scale: &[f64],
        shift: &[f64],
    ) -> Result<Value, QuantizeError> {
        if let Value::Acc(mut acc) = self.value(input)? {
            if acc.affine(scale, shift) {
                return Ok(Value::Acc(acc));
            }
            // Embeddings of positions: a shift of its own at every position.
            if acc.affine(scale, &[0.0]) && self.shift_positions(&mut acc, shift) {
                self.measure(id, &mut acc);
                return Ok(Value::Acc(acc));
            }
        }
        Ok(Value::Act(self.act(input)?.affine(scale, shift)))
    }

    pub(super) fn sum(
        &mut self,
        id: NodeId,
        input: NodeId,
        group: usize,
    ) -> Result<Value, QuantizeError> {
        let mut act = self.act(input)?;
        if group == 0 || !act.len().is_multiple_of(group) {
            return Err(self.shape_error(id, "the group does not divide the operand"));
        }
        let groups_agree = |p: &Plane| p.scale.chunks(group).all(|c| common(c).is_some());
        if !act.planes.iter().all(groups_agree) {
            if let Some(mut acc) = weighted_sum(&act, group) {
                self.measure(id, &mut acc);
                return Ok(Value::Acc(acc));
            }
            let (value, scale, offset) = self.uniform(input)?;
            act = Act {
                planes: vec![Plane {
                    value,
                    scale: vec![scale; act.len()],
                }],
                offset: vec![offset; act.len()],
            };
        }
        Ok(Value::Act(self.sum_act(&act, group)))
    }

    /// Sums of `group` consecutive elements, whose scales agree within every group.
    pub fn sum_act(&mut self, act: &Act, group: usize) -> Act {
        let mut planes = Vec::with_capacity(act.planes.len());
        for p in &act.planes {
            let value = self.network.push(Node::Sum {
                source: p.value,
                group: group as u32,
            });
            planes.push(Plane {
                value,
                scale: p
                    .scale
                    .chunks(group)
                    .map(|c| common(c).unwrap_or(0.0))
                    .collect(),
            });
        }
        Act {
            planes,
            offset: act.offset.chunks(group).map(|c| c.iter().sum()).collect(),
        }
    }

    /// Largest integer that a slot of a value can hold.
    pub fn largest(&self, value: ValueRef) -> f64 {
        match self.network.nodes.get(value.node as usize) {
            Some(Node::View { source, .. } | Node::Sum { source, .. }) => self.largest(*source),
            Some(Node::Concat { sources }) => {
                sources.iter().map(|s| self.largest(*s)).fold(0.0, f64::max)
            }
            Some(Node::Constant { .. }) => 1.0,
            Some(Node::Neurons(n)) => {
                let first = 1 + u32::from(n.unit.exposes_below());
                let table = value.port.checked_sub(first);
                let table = table.and_then(|t| n.unit.tables.get(t as usize));
                let entries = table.and_then(|t| self.network.tables.get(*t as usize));
                let largest = entries.and_then(|e| e.iter().max());
                largest.map_or(self.network.top(), |&q| f64::from(q))
            }
            _ => self.network.top(),
        }
    }

    /// Largest number of slots that one element of a value sums.
    pub fn width(&self, value: ValueRef) -> usize {
        self.network.width(value)
    }
}

/// Sums of `group` elements of different steps, as a linear map, if the steps are the same in every group.
fn weighted_sum(act: &Act, group: usize) -> Option<Acc> {
    let row = |values: &[f64]| -> Option<Vec<f64>> {
        let mut row = vec![ANY; group];
        for (i, v) in values.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
            let known = &mut row[i % group];
            if !known.is_nan() && !same(*known, *v) {
                return None;
            }
            *known = *v;
        }
        Some(
            row.into_iter()
                .map(|v| if v.is_nan() { 0.0 } else { v })
                .collect(),
        )
    };
    let len = act.len();
    let term = |plane: &Plane| {
        Some(AccTerm {
            source: plane.value,
            view: View::identity(len),
            inputs: group,
            weights: row(&plane.scale)?,
            is_gathered: false,
        })
    };
    let sums: Vec<f64> = act.offset.chunks(group).map(|c| c.iter().sum()).collect();
    Some(Acc {
        groups: 1,
        outputs: 1,
        positions: len / group,
        window: 1,
        terms: act.planes.iter().map(term).collect::<Option<_>>()?,
        bias: vec![common(&sums)?],
        range: Vec::new(),
        spread: None,
        low: false,
        post: None,
    })
}
