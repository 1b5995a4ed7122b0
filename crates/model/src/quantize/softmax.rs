//! Softmax; see [`run`](crate::run) for the argument that its hints are unique.

use zkinfer_circuits::program::{Axis, Neurons, Node, Term, Unit, ValueRef, View, Weights};

use super::QuantizeError;
use super::lower::Lowering;
use super::value::{Act, Plane};
use crate::graph::{NodeId, Op};
use crate::model::WeightTensor;
use crate::run::HintSolver;

/// Largest step of logits: beyond, probabilities would be off by more than an eighth.
const COARSEST: f64 = 0.25;

/// Steps that are no coarser than this are as good as the results'. Others are for distributions of which the largest logits lie
/// far apart, or of which some are masked: what lies far below the largest is cut off, see [`floor`](super::lower).
const FINE: f64 = 1.0 / 64.0;

/// Logits further than this below the normaliser count as probability zero.
const DEPTH: f64 = 12.0;

/// Logits that were further than this below another one in every sample are masked.
const MASKED: f64 = 24.0;

/// The step of the exponential's argument, for logits whose integers span `span`. The tables are public and tell it, so it follows
/// from the span as little as can be: one step for every span up to twice the depth, above it one of four per octave (a coarser
/// choice costs precision). Half of the span always fits the table, so what the upper clamp cuts off fits its cell.
fn public_step(span: f64, range: f64) -> f64 {
    let quarters = (4.0 * (span / 2.0 * 1.001 / DEPTH).log2()).ceil();
    DEPTH * (quarters.max(0.0) / 4.0).exp2() / range
}

/// Distributions of which the same elements take part.
struct Rows {
    /// Which distributions.
    distributions: Vec<usize>,
    /// Which elements of each.
    columns: Vec<usize>,
}

impl Rows {
    /// Elements of the tensor, distribution by distribution.
    fn elements(&self, len: usize) -> impl Iterator<Item = usize> {
        let row = move |&d: &usize| self.columns.iter().map(move |c| d * len + c);
        self.distributions.iter().flat_map(row)
    }

    fn len(&self) -> usize {
        self.distributions.len() * self.columns.len()
    }
}

/// Logits as integers of one scale.
struct Logits {
    value: ValueRef,
    scale: f64,
    /// The logarithm of every distribution's sum is at least this, where less would be another distribution: what lies far below
    /// was cut off.
    least: Option<f64>,
}

impl Lowering<'_> {
    /// Which logits take part. Masked ones (−∞, −10⁹ and the like in every sample) are left out: their probability is zero.
    fn unmasked(&self, input: NodeId, len: usize) -> Vec<Rows> {
        let total = self.graph.nodes[input].len();
        let mut rows: Vec<Rows> = Vec::new();
        for d in 0..total / len {
            let element = |c: usize| self.stats.element(input, d * len + c);
            let sure = (0..len)
                .map(|c| element(c).0)
                .fold(f64::NEG_INFINITY, f64::max);
            let columns: Vec<usize> = (0..len)
                .filter(|&c| element(c).1 >= sure - MASKED)
                .collect();
            match rows.iter_mut().find(|r| r.columns == columns) {
                Some(r) => r.distributions.push(d),
                None => rows.push(Rows {
                    distributions: vec![d],
                    columns,
                }),
            }
        }
        rows
    }

    /// The logits that take part as one program value with one scale.
    fn logits(
        &mut self,
        input: NodeId,
        len: usize,
        rows: &[Rows],
    ) -> Result<Logits, QuantizeError> {
        let logits = |value: ValueRef, scale: f64| Logits {
            value,
            scale,
            least: None,
        };
        let input = self.before_masks(input, len, rows);
        let whole = matches!(rows, [all] if all.columns.len() == len);
        let act = if whole {
            // A common offset does not change the result.
            let (value, scale, _) = self.uniform(input)?;
            if self.width(value) == 1 {
                return Ok(logits(value, scale));
            }
            self.act(input)?
        } else {
            let act = self.act(input)?;
            let kept: Vec<usize> = rows.iter().flat_map(|r| r.elements(len)).collect();
            self.select(&act, &kept)
        };
        if let Some((value, scale, _)) = act.uniform()
            && self.width(value) == 1
        {
            return Ok(logits(value, scale));
        }
        let kept = rows.iter().flat_map(|r| r.elements(len));
        let range = kept
            .map(|i| self.stats.element(input, i))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |a, r| {
                (a.0.min(r.0), a.1.max(r.1))
            });
        let margin = (range.1 - range.0) / (self.stats.samples() as f64).sqrt();
        let mut acc = self.rescaling(input, &act)?;
        acc.range = vec![(range.0 - margin, range.1 + margin); acc.channels()];
        let origin = self.helper(input);
        let act = self.requantize(&acc, true, origin)?;
        let uniform = act.uniform().map(|(value, scale, _)| logits(value, scale));
        uniform.ok_or_else(|| self.shape_error(input, "has no element"))
    }

    /// What a mask is added to, if what it adds to logits that take part is the same for all: that changes no distribution.
    fn before_masks(&self, mut input: NodeId, len: usize, rows: &[Rows]) -> NodeId {
        let kept = || rows.iter().flat_map(|r| r.elements(len));
        while let Op::Affine { scale, shift } = &self.graph.nodes[input].op {
            let at = |values: &[f32], i: usize| values.get(i).or(values.first()).copied();
            let first = kept().next().and_then(|i| at(shift, i));
            let alike = |i: usize| at(scale, i) == Some(1.0) && at(shift, i) == first;
            if !kept().all(alike) {
                break;
            }
            input = self.graph.nodes[input].inputs[0];
        }
        input
    }

    /// The logits without what lies far below the largest of their distribution, if only so their steps are fine: where some are
    /// masked by an activation, or where their range is wide.
    fn cut_logits(
        &mut self,
        id: NodeId,
        input: NodeId,
        len: usize,
    ) -> Result<Option<Logits>, QuantizeError> {
        // In units of exponents.
        let reach = self.stats.reach(id, self.network.headroom, Some(1.0));
        let Some(reach) = reach else {
            return Ok(None);
        };
        let (peaks, fill) = ((reach.low, reach.high), reach.fill);
        let total = self.graph.nodes[input].len();
        let kept = |r: &Rows| r.elements(len).collect::<Vec<_>>();
        let kept: Vec<usize> = self.unmasked(input, len).iter().flat_map(kept).collect();
        let seen = kept.iter().map(|&i| self.stats.element(input, i));
        let seen = seen.fold(peaks, |a, r| (a.0.min(r.0), a.1.max(r.1)));
        let steps = self.network.top() / (1.0 + self.network.headroom);
        let wide = (seen.1 - seen.0) / steps > FINE;
        // Masks that are the same in every run leave elements out; only others have to be cut off.
        let masked = fill > 0.0 && !reach.fixed;
        let fine = !wide || (fill == 0.0 && kept.len() < total);
        if !masked && fine {
            return Ok(None);
        }
        let acc = self.linear_of(input)?;
        let deepest = seen.0.min(peaks.0 - 2.0 * fill) - self.network.headroom * (seen.1 - seen.0);
        let low = peaks.0 - DEPTH - 2.0;
        let mut least = None;
        let (act, _) = if (peaks.1 - low) / steps <= FINE {
            // Of a distribution that is below as a whole nothing would be left.
            least = reach.whole.then_some(peaks.0 - 1.0);
            self.floored(input, &acc, (deepest, low, peaks.1))?
        } else {
            // Below the largest of each distribution, which a coarse step is good enough to find.
            let mut coarse = acc.clone();
            coarse.range = vec![(deepest, peaks.1); coarse.channels()];
            let origin = self.helper(input);
            let coarse = self.requantize(&coarse, true, origin)?;
            let (value, step, offset) = coarse
                .uniform()
                .ok_or_else(|| self.shape_error(input, "has no element"))?;
            let runs = total / len;
            let largest = self.compare_helper(input, value, runs, len, step);
            let spread = View {
                loops: vec![runs as u32, len as u32],
                axes: vec![Axis {
                    extent: runs as u32,
                    offset: 0,
                    strides: vec![1, 0],
                }],
            };
            let largest = Act {
                planes: vec![Plane {
                    value: self.network.view(largest, spread),
                    scale: vec![step; total],
                }],
                offset: vec![offset; total],
            };
            let distance = self.sum_of(input, &acc, &largest.affine(&[-1.0], &[0.0]))?;
            let range = (deepest - peaks.1 - step, -DEPTH - 2.0, step);
            self.floored(input, &distance, range)?
        };
        let uniform = act.uniform().filter(|(v, ..)| self.width(*v) == 1);
        Ok(uniform.map(|(value, scale, offset)| Logits {
            value,
            scale,
            least: least.map(|least| least - offset),
        }))
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
                reason: "softmax over 2^T elements or more; use more bits",
            });
        }
        let mut rows = self.unmasked(input, len);
        let found = match self.cut_logits(id, input, len)? {
            Some(logits) => {
                rows = vec![Rows {
                    distributions: (0..total / len).collect(),
                    columns: (0..len).collect(),
                }];
                logits
            }
            None => self.logits(input, len, &rows)?,
        };
        let (logits, scale) = (found.value, found.scale);
        if scale > COARSEST {
            let layer = self.graph.nodes[id].name.clone();
            return Err(QuantizeError::Unsupported {
                layer,
                reason: "a softmax of logits whose integers are more than ¼ apart; subtract what is common to them before the model, or use more bits",
            });
        }
        let (range, top, bits) = (self.network.range(), self.network.top(), self.network.bits);
        // Logits on the levels of an int8 model use few of a cell's integers, and those to the last one.
        let span = match self.largest(logits) {
            largest if largest < top => scale * largest + (len as f64).ln(),
            _ => scale * range,
        };
        let step = public_step(span, range);
        let factor = (scale / step * range).round().max(1.0);
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

        let lens = rows
            .iter()
            .flat_map(|r| vec![r.columns.len() as u32; r.distributions.len()])
            .collect();
        let count = total / len;
        let hint = self.network.push(Node::Hint {
            len: 2 * count as u32,
        });
        let constant = 1i64 << (bits - 1);
        self.network.hints.push(HintSolver::Softmax {
            node: hint.node,
            logits,
            lens,
            factor: factor as i64,
            constant,
            table,
            target,
        });
        if let Some(least) = found.least {
            self.bounded_below(id, hint, count, least / step);
        }
        // d_i = (2^T·L − B·v_i + c) / 2^T for every element of every distribution.
        let mut first = 0;
        let mut digits = Vec::with_capacity(rows.len());
        for r in &rows {
            let axis = Axis {
                extent: 2 * count as u32,
                offset: first,
                strides: vec![2, 0, 1],
            };
            let loops = [r.distributions.len(), r.columns.len(), 2].map(|l| l as u32);
            let view = View {
                loops: loops.to_vec(),
                axes: vec![axis],
            };
            digits.push(self.network.view(hint, view));
            first += 2 * r.distributions.len() as i64;
        }
        let digits = self.network.joined(digits);
        let total = rows.iter().map(Rows::len).sum::<usize>();
        let ones = self.network.constant(total);
        let term = |patches, inputs, weights| Term {
            patches,
            inputs,
            weights: Weights::Public(weights),
        };
        // What tells the logits' scale is committed: the hints are pinned whatever it is.
        let scaled = Term {
            patches: logits,
            inputs: 1,
            weights: Weights::Committed,
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
                deep: false,
            },
            terms: vec![
                term(digits, 2, vec![1 << bits, 1 << (2 * bits)]),
                scaled,
                term(ones, 1, vec![constant]),
            ],
        };
        let node = self.network.push(Node::Neurons(neurons)).node;
        self.network.weights.push(WeightTensor {
            node,
            term: 1,
            data: vec![-(factor as i32)],
        });
        self.network
            .record(node, &[step], self.stats.tensor(input), self.origin(id));
        let layer = self.network.layers.len() - 1;
        // Σ f(d_i) − S >= 0 and S − 1 − Σ f(d_i + 1) >= 0; the range check of the quotients is all that matters.
        let mut probabilities = Vec::with_capacity(rows.len());
        let mut first = 0;
        for r in &rows {
            let (count, kept) = (r.distributions.len(), r.columns.len());
            let each = self.network.constant(count);
            for (port, sign, offset) in [(1, 1, -target), (2, -1, target - 1)] {
                let all = ValueRef { node, port };
                let part = self.network.part(all, total, first, r.len());
                let terms = vec![
                    term(part, kept as u32, vec![sign; kept]),
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
                if port == 1 {
                    probabilities.push(part);
                }
            }
            first += r.len();
        }
        let value = self.filled_up(id, &probabilities, &rows, len)?;
        let len = self.graph.nodes[id].len();
        let act = Act {
            planes: vec![Plane {
                value,
                scale: vec![1.0 / top; len],
            }],
            offset: vec![0.0; len],
        };
        self.network.decode_at(layer, &act);
        Ok(act)
    }

    /// Normalisers, as pairs of digits, are at least `least`: a quarter of their distance from it is in range. It always fits, see
    /// [`public_step`]: logits span at most two ranges of steps, and the logarithm of their number less than one.
    fn bounded_below(&mut self, id: NodeId, hint: ValueRef, count: usize, least: f64) {
        let bits = self.network.bits;
        let factor = 1i64 << (bits - 2);
        let term = |patches, inputs, weights| Term {
            patches,
            inputs,
            weights,
        };
        let ones = self.network.constant(count);
        let terms = vec![
            term(hint, 2, Weights::Public(vec![factor, factor << bits])),
            term(ones, 1, Weights::Committed),
        ];
        let check = self.push_helper(
            id,
            Node::Neurons(Neurons {
                groups: 1,
                outputs: 1,
                positions: count as u32,
                unit: Unit::LINEAR,
                terms,
            }),
        );
        // Where the logits lie is nobody's business.
        let bound = -(least.ceil() * factor as f64);
        self.network.weights.push(WeightTensor {
            node: check.node,
            term: 1,
            data: vec![bound as i32],
        });
    }

    /// The probabilities in the tensor's order, zero where masked.
    fn filled_up(
        &mut self,
        id: NodeId,
        parts: &[ValueRef],
        rows: &[Rows],
        len: usize,
    ) -> Result<ValueRef, QuantizeError> {
        if let ([part], [all]) = (parts, rows)
            && all.columns.len() == len
        {
            return Ok(*part);
        }
        // Every distribution in full length: which elements are read of its kept ones.
        let mut padded = Vec::with_capacity(parts.len());
        for (part, r) in parts.iter().zip(rows) {
            let kept = r.columns.len();
            let (start, step) = match r.columns[..] {
                [c] => (c, 1),
                [a, b, ..] => (a, b - a),
                [] => return Err(self.shape_error(id, "a distribution without elements")),
            };
            let even = r
                .columns
                .iter()
                .enumerate()
                .all(|(i, c)| *c == start + i * step);
            if step == 1 && even {
                let axis = |extent: usize, offset: i64, strides: Vec<i64>| Axis {
                    extent: extent as u32,
                    offset,
                    strides,
                };
                let view = View {
                    loops: vec![r.distributions.len() as u32, len as u32],
                    axes: vec![
                        axis(r.distributions.len(), 0, vec![1, 0]),
                        axis(kept, -(start as i64), vec![0, 1]),
                    ],
                };
                padded.push(self.network.view(*part, view));
            } else {
                // Element by element; zeros between.
                let size = r.distributions.len() * kept;
                for d in 0..r.distributions.len() {
                    let at = |c: usize| r.columns.binary_search(&c).ok().map(|i| d * kept + i);
                    for c in 0..len {
                        padded.push(match at(c) {
                            Some(i) => self.network.part(*part, size, i, 1),
                            None => self.network.zeros(*part, size, 1),
                        });
                    }
                }
            }
        }
        let all = self.network.joined(padded);
        let order: Vec<usize> = rows.iter().flat_map(|r| r.distributions.clone()).collect();
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(i, &d)| place[d] = i);
        let indices: Vec<usize> = place
            .iter()
            .flat_map(|i| (0..len).map(move |c| i * len + c))
            .collect();
        Ok(self.network.picked(all, indices.len(), &indices))
    }
}
