//! What a float tensor is represented by while the program is built.

use zkinfer_circuits::program::{ValueRef, View};

/// Scale of an element whose integer is always zero: it fits any other scale.
pub(super) const ANY: f64 = f64::NAN;

/// `scale[i]` times element `i` of a program value.
#[derive(Clone, Debug)]
pub(super) struct Plane {
    pub value: ValueRef,
    /// One per element; [`ANY`] where the integer is always zero.
    pub scale: Vec<f64>,
}

/// An already quantized tensor: `real[i] = offset[i] + Σ_planes scale[i] · value[i]`.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub planes: Vec<Plane>,
    pub offset: Vec<f64>,
}

/// One linear contribution to an accumulator.
#[derive(Clone, Debug)]
pub(super) struct AccTerm {
    pub source: ValueRef,
    /// Reads the source as `[groups][positions · window][inputs]`.
    pub view: View,
    pub inputs: usize,
    /// `[groups][outputs][inputs]`: real contribution of one integer step.
    pub weights: Vec<f64>,
    /// Whether of each position one input alone counts, and as if it were one: that whose number the position's key is. The
    /// source is the node of the keys then.
    pub is_gathered: bool,
}

impl AccTerm {
    /// The weights of a channel.
    pub fn row(&self, channel: usize) -> &[f64] {
        &self.weights[channel * self.inputs..(channel + 1) * self.inputs]
    }
}

/// A linear map that waits for its unit. Elements `[group][output][position]`; `post` maps the tensor's elements to them.
#[derive(Clone, Debug)]
pub(super) struct Acc {
    pub groups: usize,
    pub outputs: usize,
    pub positions: usize,
    pub window: usize,
    pub terms: Vec<AccTerm>,
    /// `[groups][outputs]`.
    pub bias: Vec<f64>,
    /// Calibrated range of every channel `[groups][outputs]`, before clamp and maximum.
    pub range: Vec<(f64, f64)>,
    /// Largest difference between a window's result and its candidates, per channel, if known: without and with a clamp
    /// at zero.
    pub spread: Option<Vec<(f64, f64)>>,
    /// Whether a clamp at zero follows (ReLU).
    pub low: bool,
    pub post: Option<Post>,
}

/// A pending permutation or selection of an accumulator's elements.
#[derive(Clone, Debug)]
pub(super) struct Post {
    /// Element of the tensor → element of the accumulator.
    pub map: Vec<usize>,
    /// The same as a chain of views, applied in order.
    pub views: Vec<View>,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Act(Act),
    Acc(Acc),
}

/// Equal up to rounding of the last bits.
pub(super) fn same(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

/// The one number that all entries equal, ignoring [`ANY`] (which alone gives 0); `None` if they differ.
pub(super) fn common<'a>(values: impl IntoIterator<Item = &'a f64>) -> Option<f64> {
    let mut found = None;
    for &v in values {
        if v.is_nan() {
            continue;
        }
        match found {
            None => found = Some(v),
            Some(f) if same(f, v) => {}
            Some(_) => return None,
        }
    }
    Some(found.unwrap_or(0.0))
}

impl Act {
    /// `offset + scale · value`, for all of `len` elements.
    pub fn one(value: ValueRef, scale: f64, offset: f64, len: usize) -> Act {
        Act {
            planes: vec![Plane {
                value,
                scale: vec![scale; len],
            }],
            offset: vec![offset; len],
        }
    }

    pub fn len(&self) -> usize {
        self.offset.len()
    }

    /// Reads scales and offsets through an index map.
    pub fn permuted(values: &[f64], indices: &[Option<usize>], padding: f64) -> Vec<f64> {
        indices
            .iter()
            .map(|i| i.and_then(|i| values.get(i)).copied().unwrap_or(padding))
            .collect()
    }

    /// Element-wise `scale · x + shift`, each of length 1 or of the tensor's.
    pub fn affine(mut self, scale: &[f64], shift: &[f64]) -> Act {
        let at = |v: &[f64], i: usize| if v.len() == 1 { v[0] } else { v[i] };
        for plane in &mut self.planes {
            plane
                .scale
                .iter_mut()
                .enumerate()
                .for_each(|(i, s)| *s *= at(scale, i));
        }
        self.offset
            .iter_mut()
            .enumerate()
            .for_each(|(i, o)| *o = *o * at(scale, i) + at(shift, i));
        self
    }

    /// Element-wise sum of tensors of equal length.
    pub fn add(mut self, other: Act) -> Act {
        self.offset
            .iter_mut()
            .zip(&other.offset)
            .for_each(|(a, b)| *a += b);
        for plane in other.planes {
            match self.planes.iter_mut().find(|p| p.value == plane.value) {
                // One value twice: ANY only where the integer is always zero, on both sides.
                Some(p) => p
                    .scale
                    .iter_mut()
                    .zip(&plane.scale)
                    .for_each(|(a, b)| *a += b),
                None => self.planes.push(plane),
            }
        }
        self
    }

    /// If every element of the tensor is one program value times one positive number plus one offset: that value, number and offset.
    pub fn uniform(&self) -> Option<(ValueRef, f64, f64)> {
        let [plane] = &self.planes[..] else {
            return None;
        };
        let scale = common(&plane.scale).filter(|s| *s > 0.0)?;
        Some((plane.value, scale, common(&self.offset)?))
    }
}

impl Acc {
    pub fn channels(&self) -> usize {
        self.groups * self.outputs
    }

    /// Number of elements before `post`.
    pub fn len(&self) -> usize {
        self.channels() * self.positions
    }

    /// Element of the accumulator behind an element of the tensor.
    pub fn source(&self, element: usize) -> usize {
        self.post
            .as_ref()
            .map_or(element, |p| p.map.get(element).copied().unwrap_or(0))
    }

    /// Number of elements after `post`.
    pub fn result_len(&self) -> usize {
        self.post.as_ref().map_or(self.len(), |p| p.map.len())
    }

    /// Whether every element of the accumulator is an element of the tensor, once.
    pub fn covers(&self) -> bool {
        let Some(post) = &self.post else { return true };
        let mut seen = vec![false; self.len()];
        post.map.len() == self.len()
            && post
                .map
                .iter()
                .all(|&i| seen.get_mut(i).is_some_and(|s| !std::mem::replace(s, true)))
    }

    /// Whether rows of a table are looked up.
    pub fn is_gathered(&self) -> bool {
        self.terms.iter().any(|t| t.is_gathered)
    }

    /// The terms that are sums over what they read.
    pub fn sums(&self) -> impl Iterator<Item = &AccTerm> {
        self.terms.iter().filter(|t| !t.is_gathered)
    }

    /// Whether it is nothing but a linear map.
    pub fn is_plain(&self) -> bool {
        self.window == 1 && !self.low
    }

    /// Overall calibrated range.
    pub fn total_range(&self) -> (f64, f64) {
        self.range
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |a, r| {
                (a.0.min(r.0), a.1.max(r.1))
            })
    }

    /// One number per channel from one number per element of the tensor, if they agree inside every channel.
    pub fn per_channel(&self, values: &[f64]) -> Option<Vec<f64>> {
        if values.len() == 1 {
            return Some(vec![values[0]; self.channels()]);
        }
        if values.len() != self.result_len() {
            return None;
        }
        let mut out = vec![ANY; self.channels()];
        for (i, &v) in values.iter().enumerate() {
            let slot = out.get_mut(self.source(i) / self.positions)?;
            if slot.is_nan() {
                *slot = v;
            } else if !v.is_nan() && !same(*slot, v) {
                return None;
            }
        }
        Some(out)
    }

    /// Element-wise `scale · x + shift` if it is the same over every channel; only for maps for which [`Acc::folds`] holds.
    pub fn affine(&mut self, scale: &[f64], shift: &[f64]) -> bool {
        let (Some(scale), Some(shift)) = (self.per_channel(scale), self.per_channel(shift)) else {
            return false;
        };
        let real = |v: f64, default: f64| if v.is_nan() { default } else { v };
        let scale: Vec<f64> = scale.into_iter().map(|v| real(v, 1.0)).collect();
        if self.low || (self.window > 1 && scale.iter().any(|s| *s <= 0.0)) {
            return false;
        }
        for (c, (&k, &d)) in scale.iter().zip(&shift).enumerate() {
            let d = real(d, 0.0);
            for term in &mut self.terms {
                term.weights[c * term.inputs..(c + 1) * term.inputs]
                    .iter_mut()
                    .for_each(|w| *w *= k);
            }
            self.bias[c] = self.bias[c] * k + d;
            let (a, b) = self.range[c];
            let (a, b) = (a * k + d, b * k + d);
            self.range[c] = (a.min(b), a.max(b));
        }
        // A shift changes what a later clamp at zero cuts away, so the windows' spreads hold only up to bounds.
        self.spread = None;
        true
    }
}
