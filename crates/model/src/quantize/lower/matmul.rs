//! Matrix products of two activations, by coefficients that are activations.
//!
//! With `a = s_a·(A − z_a)` and `b = s_b·(B − z_b)`, whole zero points, and `s = s_a·s_b·2^T/M` the step of the result for a whole
//! number `M ≥ 1`, the accumulators are whole numbers without any rounding:
//!
//! ```text
//! Σ a·b / s · 2^T  =  M·Σ A·B − M·z_b·Σ A − M·z_a·Σ B + M·K·z_a·z_b
//! ```
//!
//! `Σ A` is a row of the left matrix summed up, a coefficient of the constant one. The cost is that of the operands and of the
//! result, not of the `K` products of every element: see [`Weights::Value`] and `zkinfer_circuits::fold`.
//!
//! Error: half a step of the result, and of every product what half a step of its operands makes of it. `M ≥ 1` means that the
//! range of the result is at most `2^T·s_a·s_b·2^T`, the product of the operands' ranges; if it is larger, the operands are given
//! coarser steps first.

use zkinfer_circuits::program::{Neurons, Node, Term, Unit, ValueRef, View, Weights};

use super::neurons::steady;
use super::{Act, Lowering, Plane, Value};
use crate::graph::{MatMul, NodeId};
use crate::quantize::QuantizeError;

/// Operands' steps leave this much more room than the result needs.
const ROOM: f64 = 1.02;

/// An operand: `real = scale·(integer − zero)`.
struct Whole {
    value: ValueRef,
    scale: f64,
    zero: i64,
}

impl Lowering<'_> {
    pub(super) fn matmul(&mut self, id: NodeId, product: &MatMul) -> Result<Act, QuantizeError> {
        let [a, b] = self.graph.nodes[id].inputs[..] else {
            return Err(self.shape_error(id, "needs two operands"));
        };
        let (groups, outputs, positions, inputs) = (
            product.groups,
            product.outputs,
            product.positions,
            product.inputs,
        );
        let acc = self.range_of(id);
        let wanted = (acc.1 - acc.0).max(1e-9) * (1.0 + self.network.headroom) / self.network.top();
        // How much coarser the operands have to be for M ≥ 1, shared so that roundings of both matter alike: one that hardly
        // varies has steps that are far finer than its size asks for.
        let natural = [self.natural(a)?, self.natural(b)?];
        let missing = ROOM * wanted / (natural[0] * natural[1] * self.network.range());
        let widen = if missing > 1.0 {
            let relative = |id: NodeId, step: f64| {
                let (low, high) = self.stats.tensor(id);
                step / low.abs().max(high.abs()).max(step)
            };
            let ratio = relative(a, natural[0]) / relative(b, natural[1]);
            let first = (missing / ratio).sqrt().clamp(1.0, missing);
            [first, missing / first]
        } else {
            [1.0, 1.0]
        };
        let left = self.whole(id, a, &product.left, widen[0])?;
        let right = if a == b && product.left == product.right {
            Whole { ..left }
        } else {
            self.whole(id, b, &product.right, widen[1])?
        };

        let range = self.network.range();
        let step = left.scale * right.scale * range;
        let factor = (step / wanted).floor().max(1.0);
        let scale = step / factor;
        let (low, high) = acc;
        let zero = ((self.network.top() - (low + high) / scale) / 2.0).round();
        let m = factor as i64;
        let ones = self.network.constant(groups * positions);
        let mut terms = vec![Term {
            patches: right.value,
            inputs: inputs as u32,
            weights: Weights::Value {
                value: left.value,
                factor: m,
            },
        }];
        if right.zero != 0 {
            let sums = self.sums(left.value, inputs);
            terms.push(Term {
                patches: ones,
                inputs: 1,
                weights: Weights::Value {
                    value: sums,
                    factor: -m * right.zero,
                },
            });
        }
        if left.zero != 0 {
            terms.push(Term {
                patches: self.sums(right.value, inputs),
                inputs: 1,
                weights: Weights::Public(vec![-m * left.zero; groups * outputs]),
            });
        }
        let bias = m * inputs as i64 * left.zero * right.zero
            + (range / 2.0) as i64
            + (zero * range) as i64;
        terms.push(Term {
            patches: ones,
            inputs: 1,
            weights: Weights::Public(vec![bias; groups * outputs]),
        });
        let value = self.network.push(Node::Neurons(Neurons {
            groups: groups as u32,
            outputs: outputs as u32,
            positions: positions as u32,
            unit: Unit::LINEAR,
            terms,
        }));
        let origin = self.origin(id);
        self.network
            .record(value.node, &[scale], (low, high), origin);
        let len = groups * outputs * positions;
        let act = Act {
            planes: vec![Plane {
                value,
                scale: vec![scale; len],
            }],
            offset: vec![-scale * zero; len],
        };
        self.network.decode(&act);
        Ok(act)
    }

    fn sums(&mut self, value: ValueRef, inputs: usize) -> ValueRef {
        self.network.push(Node::Sum {
            source: value,
            group: inputs as u32,
        })
    }

    /// The range that a tensor is likely to have.
    fn range_of(&self, id: NodeId) -> (f64, f64) {
        let likely = self.stats.channels(id, 1, |_| 0);
        let seen = likely.first().copied();
        steady(seen.unwrap_or_else(|| self.stats.tensor(id)))
    }

    fn as_whole(&self, act: &Act) -> Option<Whole> {
        let (value, scale, offset) = act.uniform()?;
        let zero = -offset / scale;
        let whole = (zero - zero.round()).abs() <= 1e-6
            && zero.abs() <= self.network.range() * self.network.range();
        (whole && self.width(value) == 1).then_some(Whole {
            value,
            scale,
            zero: zero.round() as i64,
        })
    }

    /// The step that an operand has, or would be given.
    fn natural(&mut self, id: NodeId) -> Result<f64, QuantizeError> {
        let (low, high) = match self.value(id)? {
            Value::Act(act) => match self.as_whole(&act) {
                Some(whole) => return Ok(whole.scale),
                None => self.range_of(id),
            },
            Value::Acc(acc) => {
                let (low, high) = acc.total_range();
                if acc.low {
                    (0.0, high.max(-low).max(0.0))
                } else {
                    (low, high)
                }
            }
        };
        Ok((high - low).max(1e-9) * (1.0 + self.network.headroom) / self.network.top())
    }

    /// An operand of product `id`, read by a view; as neurons of their own with steps `widen` times as large as they would be,
    /// unless it is one value with a whole zero point and nothing has to change.
    fn whole(
        &mut self,
        id: NodeId,
        operand: NodeId,
        view: &View,
        widen: f64,
    ) -> Result<Whole, QuantizeError> {
        let spread = |range: &mut (f64, f64)| {
            let (middle, half) = ((range.0 + range.1) / 2.0, (range.1 - range.0) / 2.0);
            *range = (middle - half * widen, middle + half * widen);
        };
        let act = match self.value(operand)? {
            Value::Act(act) if widen == 1.0 && self.as_whole(&act).is_some() => act,
            value => {
                // What hardly varied has a narrow range; its steps are not to become finer for that.
                let mut width = 0.0;
                let mut acc = match value {
                    Value::Acc(acc) => acc,
                    Value::Act(act) => {
                        let step = self.as_whole(&act).map_or(0.0, |whole| whole.scale * widen);
                        width = step * self.network.top() / (1.0 + self.network.headroom);
                        self.elementwise(operand, &act)?
                    }
                };
                acc.range.iter_mut().for_each(spread);
                for (low, high) in &mut acc.range {
                    let missing = (width - (*high - *low)).max(0.0) / 2.0;
                    (*low, *high) = (*low - missing, *high + missing);
                }
                let act = self.materialize(acc, true, operand)?;
                self.replace(operand, &act);
                act
            }
        };
        let indices = self.indices(id, view, act.len())?;
        let mut seen = self.view_act(act, view, &indices);
        if self.as_whole(&seen).is_none() {
            // Padding is a real zero, another integer than the value's own zeros.
            let mut acc = self.rescaling(operand, &seen)?;
            let range = self.range_of(operand);
            let range = (range.0.min(0.0) * widen, range.1.max(0.0) * widen);
            acc.range = vec![range; acc.channels()];
            let origin = self.helper(operand);
            seen = self.requantize(&acc, true, origin)?;
        }
        self.as_whole(&seen)
            .ok_or_else(|| self.shape_error(id, "an operand has no scale of its own"))
    }
}
