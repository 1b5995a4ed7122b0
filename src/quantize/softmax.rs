//! Softmax; see [`run`](crate::run) for the argument that its hints are unique.

use zkinfer_circuits::program::{Axis, Neurons, Node, Term, Unit, ValueRef, View, Weights};

use super::QuantizeError;
use super::lower::Lowering;
use super::value::{Act, Plane};
use crate::graph::NodeId;
use crate::run::HintSolver;

/// Logits further than this below the normaliser count as probability zero.
const DEPTH: f64 = 12.0;

/// Largest step of logits: beyond, probabilities would be off by more than a factor of `√e`.
const COARSEST: f64 = 1.0;

/// Logits that were further than this below another one in every sample are masked.
const MASKED: f64 = 24.0;

impl Lowering<'_> {
    /// Masked logits (−∞, −10⁹ and the like) become just low enough to count as probability zero: otherwise they would take the
    /// whole range for themselves.
    fn mask(&mut self, input: NodeId, len: usize) -> Result<(), QuantizeError> {
        let total = self.graph.nodes[input].len();
        let mut floor: Vec<Option<f64>> = Vec::with_capacity(total);
        for start in (0..total).step_by(len) {
            let run = start..start + len;
            let sure = run
                .clone()
                .map(|i| self.stats.element(input, i).0)
                .fold(f64::NEG_INFINITY, f64::max);
            let masked = |i: usize| self.stats.element(input, i).1 < sure - MASKED;
            floor.extend(run.map(|i| masked(i).then_some(sure - DEPTH - 2.0)));
        }
        if floor.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut act = self.act(input)?;
        let mut range = (f64::INFINITY, f64::NEG_INFINITY);
        for (i, floor) in floor.iter().enumerate() {
            let (low, high) = match floor {
                Some(floor) => {
                    act.planes.iter_mut().for_each(|p| p.scale[i] = 0.0);
                    act.offset[i] = *floor;
                    (*floor, *floor)
                }
                None => self.stats.element(input, i),
            };
            range = (range.0.min(low), range.1.max(high));
        }
        let margin = (range.1 - range.0) / (self.stats.samples() as f64).sqrt();
        let mut acc = self.rescaling(input, &act)?;
        acc.range = vec![(range.0 - margin, range.1 + margin); acc.channels()];
        let act = self.materialize(acc, true, input)?;
        self.replace(input, &act);
        Ok(())
    }

    pub(super) fn softmax(
        &mut self,
        id: NodeId,
        input: NodeId,
        len: usize,
    ) -> Result<Act, QuantizeError> {
        let total = self.graph.nodes[id].len();
        if len == 0 || !total.is_multiple_of(len) {
            return Err(self.shape_error(id, "the length does not divide the operand"));
        }
        if len as f64 >= self.network.range() {
            let layer = self.graph.nodes[id].name.clone();
            return Err(QuantizeError::Unsupported {
                layer,
                reason: "softmax over 2^T elements or more; raise range_bits",
            });
        }
        self.mask(input, len)?;
        // A common offset does not change the result.
        let (mut logits, mut scale, _) = self.uniform(input)?;
        if self.width(logits) > 1 {
            let act = self.act(input)?;
            let acc = self.elementwise(input, &act)?;
            let act = self.materialize(acc, true, input)?;
            (logits, scale, _) = act
                .uniform()
                .ok_or_else(|| self.shape_error(id, "has no element"))?;
        }
        if scale > COARSEST {
            let layer = self.graph.nodes[id].name.clone();
            return Err(QuantizeError::Unsupported {
                layer,
                reason: "a softmax of logits whose integers are more than 1 apart; subtract what is common to them before the model, or raise range_bits",
            });
        }
        let (range, top, bits) = (self.network.range(), self.network.top(), self.network.bits);
        // Twice the depth covers the logits' whole range, so what the upper clamp cuts off always fits.
        let step = DEPTH.max(scale * range / 2.0 * 1.001) / range;
        let factor = (scale / step * range).round().max(1.0);
        // The step that the rounded factor really means.
        let step = scale * range / factor;
        let mut f: Vec<u16> = (0..=top as u32)
            .map(|d| (top * (-f64::from(d) * step).exp()).round() as u16)
            .collect();
        if let Some(last) = f.last_mut() {
            *last = 0;
        }
        let mut next: Vec<u16> = f.iter().skip(1).copied().collect();
        next.push(0);
        // The sum lands between S and S plus the jump of one step: centre it on 2^T − 1.
        let target = i64::from(f[0]) - i64::from(f[0] - next[0]) / 2;
        let (table, next_table) = (self.network.table(f), self.network.table(next));

        let count = total / len;
        let hint = self.network.push(Node::Hint {
            len: 2 * count as u32,
        });
        let constant = 1i64 << (bits - 1);
        self.network.hints.push(HintSolver::Softmax {
            node: hint.node,
            logits,
            len: len as u32,
            factor: factor as i64,
            constant,
            table,
            target,
        });
        // d_i = (2^T·L − B·v_i + c) / 2^T for every element of every distribution.
        let axis = Axis {
            extent: 2 * count as u32,
            offset: 0,
            strides: vec![2, 0, 1],
        };
        let digits = self.network.view(
            hint,
            View {
                loops: vec![count as u32, len as u32, 2],
                axes: vec![axis],
            },
        );
        let ones = self.network.constant(total);
        let term = |patches, inputs, weights| Term {
            patches,
            inputs,
            weights: Weights::Public(weights),
        };
        let neurons = Neurons {
            groups: 1,
            outputs: 1,
            positions: total as u32,
            unit: Unit {
                window: 1,
                low: false,
                high: true,
                tables: vec![table, next_table],
            },
            terms: vec![
                term(digits, 2, vec![1 << bits, 1 << (2 * bits)]),
                term(logits, 1, vec![-(factor as i64)]),
                term(ones, 1, vec![constant]),
            ],
        };
        let node = self.network.push(Node::Neurons(neurons)).node;
        self.network
            .record(node, &[step], self.stats.tensor(input), self.origin(id));
        let value = ValueRef { node, port: 1 };
        let act = Act {
            planes: vec![Plane {
                value,
                scale: vec![1.0 / top; total],
            }],
            offset: vec![0.0; total],
        };
        self.network.decode(&act);
        // Σ f(d_i) − S >= 0 and S − 1 − Σ f(d_i + 1) >= 0; the range check of the quotients is all that matters.
        let each = self.network.constant(count);
        for (port, sign, offset) in [(1, 1, -target), (2, -1, target - 1)] {
            let terms = vec![
                term(ValueRef { node, port }, len as u32, vec![sign; len]),
                term(each, 1, vec![offset]),
            ];
            let neurons = Neurons {
                groups: 1,
                outputs: 1,
                positions: count as u32,
                unit: Unit::LINEAR,
                terms,
            };
            let check = self.network.push(Node::Neurons(neurons)).node;
            self.network
                .record(check, &[1.0 / top], (0.0, 1.0), self.helper(id));
        }
        Ok(act)
    }
}
