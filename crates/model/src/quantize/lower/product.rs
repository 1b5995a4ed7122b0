//! Products of two activations, by tables of squares.
//!
//! With `x = cₓ + hₓ·X` and `y = c_y + h_y·Y`, where centres `c` and half-ranges `h` come from calibration,
//!
//! ```text
//! x·y = hₓ·h_y·X·Y + c_y·x + cₓ·y − cₓ·c_y,      4·X·Y = (X+Y)² − (X−Y)²,      2·X·Y = (X+Y)² − X² − Y²
//! ```
//!
//! and the square of a neuron's `x` is its look-up in one table that all products share. The first form costs two neurons
//! per product. The second costs one and the squares of the operands' elements, which is less where elements are used in
//! several products (matrix products). Everything but the squares is linear and costs nothing.
//!
//! Error: let `U ≤ 2` be the bound of `|X±Y|` (headroom included) and `s = 2U/(2^T − 1)` the step of the argument. The argument is
//! off by at most `s/2` and the table's value by `U²/(2^T − 1)/2`, so a square is off by at most `U·s + U²/2^T/2 ≲ 2.5·U²/2^T`,
//! and a product by at most `1.25·U²·hₓ·h_y/2^T` in the first form; in the second `X²` and `Y²` (`U = 1`) join, at most
//! `(1.25·U² + 2.5)·hₓ·h_y/2^T`. Errors of single products are independent of each other, so sums of `K` products are off by
//! about `√K` times a fifth of that.

use zkinfer_circuits::program::{Unit, ValueRef, View};

use super::{Acc, Act, Lowering, Value};
use crate::disclosure;
use crate::graph::{Activation, NodeId, Op, ScalarFn, ScalarOp};
use crate::quantize::QuantizeError;
use crate::quantize::value::Plane;

/// Operands of more planes than this are requantized first: products of products would double them each time.
const PLANES: usize = 2;
/// Sums of more elements than this are requantized before they are multiplied.
const SUM: usize = 4;

/// An operand: its tensor, centre and half-range.
struct Operand {
    act: Act,
    /// None for operands that are padded or of a function that is odd, the middle of the range for others, also where that is near
    /// zero: whether there is a centre must not follow from numbers.
    centre: Option<f64>,
    half: f64,
    /// Per element, the largest `|X|` that calibration saw, as (low, high).
    seen: Vec<(f64, f64)>,
}

impl Lowering<'_> {
    pub(super) fn product(
        &mut self,
        id: NodeId,
        views: (&View, &View),
        group: usize,
    ) -> Result<Act, QuantizeError> {
        let [a, b] = self.graph.nodes[id].inputs[..] else {
            return Err(self.shape_error(id, "needs two operands"));
        };
        let (mut x, mut y) = (self.operand(a)?, self.operand(b)?);
        let left = self.indices(id, views.0, x.act.len())?;
        let right = self.indices(id, views.1, y.act.len())?;
        if group == 0 || left.len() != right.len() || !left.len().is_multiple_of(group) {
            return Err(self.shape_error(id, "the operands' views do not fit together"));
        }
        // Padding is a real zero, which a centre would move.
        if left.contains(&None) {
            x = self.centred(a, x.act, None);
        }
        if right.contains(&None) {
            y = self.centred(b, y.act, None);
        }
        let n = left.len();
        let centre = |o: &Operand| o.centre.unwrap_or(0.0);
        let unit = |o: &Operand| {
            o.act
                .clone()
                .affine(&[1.0 / o.half], &[-centre(o) / o.half])
        };
        let (big_x, big_y) = (unit(&x), unit(&y));
        let (l, r) = (
            self.view_act(big_x.clone(), views.0, &left),
            self.view_act(big_y.clone(), views.1, &right),
        );
        let seen = |o: &Operand, i: Option<usize>| i.map_or((0.0, 0.0), |i| o.seen[i]);
        // Few samples say little about which extremes meet.
        let margin =
            (1.0 + self.network.headroom) * (1.0 + 2.0 / (self.stats.samples() as f64).sqrt());
        let reach = |sign: f64| {
            let pairs = left.iter().zip(&right);
            let largest = pairs
                .map(|(&i, &j)| (seen(&x, i), seen(&y, j)))
                .map(|(p, q)| {
                    let (low, high) = if sign > 0.0 {
                        (p.0 + q.0, p.1 + q.1)
                    } else {
                        (p.0 - q.1, p.1 - q.0)
                    };
                    low.abs().max(high.abs())
                })
                .fold(0.0, f64::max);
            (largest * margin + 0.02).clamp(1e-3, 2.0)
        };
        let sums = l.clone().add(r.clone());
        let plus = self.squares(id, &sums, reach(1.0))?;
        let area = x.half * y.half;
        let mut act = if n + x.act.len() + y.act.len() < 2 * n {
            let (sx, sy) = (
                self.squares(id, &big_x, 1.0)?,
                self.squares(id, &big_y, 1.0)?,
            );
            let (sx, sy) = (
                self.view_act(sx, views.0, &left),
                self.view_act(sy, views.1, &right),
            );
            let rest = sx.add(sy).affine(&[-area / 2.0], &[0.0]);
            plus.affine(&[area / 2.0], &[0.0]).add(rest)
        } else {
            let differences = l.add(r.affine(&[-1.0], &[0.0]));
            let minus = self.squares(id, &differences, reach(-1.0))?;
            plus.affine(&[area / 4.0], &[0.0])
                .add(minus.affine(&[-area / 4.0], &[0.0]))
        };
        let linear = [
            (&x, y.centre, views.0, &left),
            (&y, x.centre, views.1, &right),
        ];
        for (operand, factor, view, indices) in linear {
            if let Some(factor) = factor {
                let part = self.view_act(operand.act.clone(), view, indices);
                act = act.add(part.affine(&[factor], &[0.0]));
            }
        }
        let mut act = act.affine(&[1.0], &[-centre(&x) * centre(&y)]);
        if group > 1 {
            let agree = |p: &Plane| p.scale.chunks(group).all(|c| super::common(c).is_some());
            if !act.planes.iter().all(agree) {
                return Err(self.shape_error(id, "scales differ within a sum"));
            }
            act = self.sum_act(&act, group);
        }
        self.network.decode(&act);
        Ok(act)
    }

    /// The quantized operand with its range; requantized to one scale if it is made of many parts.
    fn operand(&mut self, id: NodeId) -> Result<Operand, QuantizeError> {
        let mut act = match self.value(id)? {
            Value::Acc(acc) => {
                let act = self.materialize(acc, true, id)?;
                self.replace(id, &act);
                act
            }
            Value::Act(act) => act,
        };
        let wide = |l: &Self, act: &Act| act.planes.iter().any(|p| l.width(p.value) > SUM);
        let uneven = act.planes.iter().any(|p| super::common(&p.scale).is_none());
        if act.planes.len() > PLANES || wide(self, &act) || uneven {
            let acc = self.elementwise(id, &act)?;
            act = self.materialize(acc, true, id)?;
            self.replace(id, &act);
        }
        let (low, high) = self.stats.tensor(id);
        let centre = (!self.is_odd(id)).then_some((low + high) / 2.0);
        Ok(self.centred(id, act, centre))
    }

    /// Whether a tensor's values lie about zero alike to both sides, whatever the weights are: the results of an odd function.
    fn is_odd(&self, id: NodeId) -> bool {
        let mut node = &self.graph.nodes[id];
        while let (Op::View(_), Some(&input)) = (&node.op, node.inputs.first()) {
            node = &self.graph.nodes[input];
        }
        let Op::Activation(Activation::Scalar(ScalarFn::Apply(f, _))) = &node.op else {
            return false;
        };
        use ScalarOp::{Asinh, Atan, Erf, Sin, Sinh, Softsign, Tanh};
        matches!(f, Tanh | Erf | Softsign | Sin | Atan | Sinh | Asinh)
    }

    fn centred(&self, id: NodeId, act: Act, centre: Option<f64>) -> Operand {
        let middle = centre.unwrap_or(0.0);
        let (low, high) = self
            .stats
            .channels(id, 1, |_| 0)
            .first()
            .copied()
            .unwrap_or((-1.0, 1.0));
        let half = (high - middle).abs().max((low - middle).abs());
        let half = half * (1.0 + self.network.headroom);
        let full = self.interval(&act).map(|(low, high)| {
            let reach = (high - middle).abs().max((low - middle).abs());
            (low, high, reach)
        });
        // What integers can be at all is the bound, if it is known. Where calibration saw much less of it, roundings may still
        // lead anywhere.
        let half = full.map_or(half, |f| f.2).max(1e-9);
        let wide = full.filter(|f| self.spread_of(id) < 0.02 * (f.1 - f.0));
        let seen = (0..act.len())
            .map(|i| {
                let (a, b) = wide.map_or_else(|| self.stats.element(id, i), |f| (f.0, f.1));
                ((a - middle) / half, (b - middle) / half)
            })
            .collect();
        Operand {
            act,
            centre,
            half,
            seen,
        }
    }

    /// Width of what calibration saw of a tensor.
    fn spread_of(&self, id: NodeId) -> f64 {
        let (low, high) = self.stats.tensor(id);
        high - low
    }

    /// Least and greatest value that a tensor of one plane can have, whatever its integers.
    fn interval(&self, act: &Act) -> Option<(f64, f64)> {
        let [plane] = &act.planes[..] else {
            return None;
        };
        let scale = super::common(&plane.scale)?;
        let offset = super::common(&act.offset)?;
        let end = offset + scale * self.largest(plane.value) * self.width(plane.value) as f64;
        Some((offset.min(end), offset.max(end)))
    }

    /// Squares of a tensor whose elements are in `[-reach, reach]`, by the one table of squares.
    fn squares(&mut self, id: NodeId, act: &Act, reach: f64) -> Result<Act, QuantizeError> {
        let mut acc: Acc = self.rescaling(id, act)?;
        acc.range = vec![(-reach, reach); acc.channels()];
        let top = self.network.top();
        let mut scales = vec![2.0 * reach / top; acc.channels()];
        self.network.settle(&acc, &mut scales, true);
        let reach = scales.first().copied().unwrap_or(1.0) * top / 2.0;
        let table = disclosure::squares(self.network.bits);
        let table = self.network.table(table);
        let saturate = self.network.saturate;
        let unit = Unit {
            low: saturate,
            high: saturate,
            tables: vec![table],
            ..Unit::LINEAR
        };
        let port = 1 + u32::from(unit.exposes_below());
        let zero = vec![0.0; scales.len()];
        let origin = self.helper(id);
        let node = self
            .network
            .emit(&acc, unit, &scales, -reach, &zero, origin)?;
        self.network.saturates(saturate, saturate);
        let out = vec![reach * reach / top; scales.len()];
        self.network
            .results(&acc, &[(ValueRef { node, port }, out)], &zero)
    }
}
