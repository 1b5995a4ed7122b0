//! The integer reference run: the exact meaning of a [`Program`].
//!
//! Prover and report use this code; the circuit has to agree with it bit for bit. See
//! [`program`](zkinfer_circuits::program) for the arithmetic of a unit.
//!
//! # Softmax hints
//!
//! A softmax over logits `v_i` needs a normaliser, and the prover supplies it as a hint: two digits `lo`, `hi` of
//! `L = lo + 2^T·hi`. The program computes `d_i = ⌊(2^T·L − B·v_i + c) / 2^T⌋`, bounded by `2^T − 1` from above but *not*
//! clamped from below, so a proof exists only if every `d_i ≥ 0`. With a public non-increasing table `f`, `f(2^T−1) = 0`,
//! and a public target `0 < S ≤ f(0)` it proves `Σ f(d_i) ≥ S` and `Σ f(d_i + 1) < S`.
//!
//! *At most one `L`*: raising `L` by one raises every `d_i` by one (or leaves it at the top, where `f` and its successor are
//! zero), so `Σ f` is a non-increasing function of `L` and the two inequalities single out the last `L` with `Σ f ≥ S`.
//! *At least one*: let `L0` be the smallest `L` with all `d_i ≥ 0`; some `d_i` is then 0, so `Σ f ≥ f(0) ≥ S`; and once all
//! `d_i` reach the top the sum is 0 and below `S`. Since `c < 2^T`, `L0 ≥ 0`. [`HintSolver`] finds `L` by bisection.

use rayon::prelude::*;
use thiserror::Error;
use zkinfer_circuits::program::{Expanded, Neurons, Node, ONE, Program, Unit, ValueRef, Weights};

use crate::weights::WeightTensor;

mod linear;

/// Which part of a neuron left its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The result `x`.
    Result,
    /// What a lower clamp or a maximum cuts away.
    Below,
    /// What an upper clamp cuts away.
    Above,
    /// An input.
    Input,
    /// A hint.
    Hint,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Result => "result",
            Part::Below => "part cut off from below",
            Part::Above => "part cut off from above",
            Part::Input => "input",
            Part::Hint => "hint",
        })
    }
}

/// Why a program cannot be run on an input.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A value does not fit its cell, so there is no proof for this input.
    #[error("node {node}, element {index}: {part} is {value}, outside 0..{limit}")]
    Range {
        /// Index of the program node (`QuantizedModel::layer_name` names it).
        node: u32,
        /// Flat index of the neuron (or input element).
        index: usize,
        /// Which of its parts.
        part: Part,
        /// The offending value.
        value: i64,
        /// Exclusive upper limit, `2^T`.
        limit: i64,
    },
    /// The inputs do not have the program's number or lengths.
    #[error("input {input} has {found} elements, the program wants {wanted}")]
    Inputs {
        /// Number of the input.
        input: usize,
        /// Elements given.
        found: usize,
        /// Elements wanted.
        wanted: usize,
    },
    /// A committed term has no weights, or the wrong number.
    #[error("node {node}, term {term}: {found} weights given, {wanted} wanted")]
    Weights {
        /// Index of the program node.
        node: u32,
        /// Index of the term.
        term: u32,
        /// Weights given.
        found: usize,
        /// Weights wanted.
        wanted: usize,
    },
    /// An accumulator could leave 64 bits.
    #[error("node {node}: accumulators may exceed 62 bits; the weights are too large")]
    Overflow {
        /// Index of the program node.
        node: u32,
    },
    /// A row of a table is looked up that there is not.
    #[error("node {node}, element {index}: row {key} is looked up, of rows 0..{rows}")]
    Key {
        /// Index of the program node.
        node: u32,
        /// Which look-up.
        index: usize,
        /// The number of the row.
        key: i64,
        /// Number of rows.
        rows: usize,
    },
    /// A hint without a solver, or one that does not fit the program.
    #[error("node {node}: no usable solver for this hint")]
    Hint {
        /// Index of the program node.
        node: u32,
    },
    /// The expansion is not that of this program.
    #[error("node {node}: the expanded wiring does not belong to this program")]
    Mismatch {
        /// Index of the program node.
        node: u32,
    },
}

/// How the prover computes a [`Node::Hint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HintSolver {
    /// The normalisers of softmax distributions, `(lo, hi)` for each; see the [module documentation](self).
    Softmax {
        /// The hint node.
        node: u32,
        /// The logits, distributions one behind the other.
        logits: ValueRef,
        /// Elements of every distribution.
        lens: Vec<u32>,
        /// `B`, at least 0.
        factor: i64,
        /// `c`, in `[0, 2^T)`.
        constant: i64,
        /// Index of `f` in the program's tables.
        table: u32,
        /// `S`.
        target: i64,
    },
}

impl HintSolver {
    /// The hint node that this fills.
    pub fn node(&self) -> u32 {
        match self {
            HintSolver::Softmax { node, .. } => *node,
        }
    }

    /// What the hint is computed from.
    pub fn logits(&self) -> ValueRef {
        match self {
            HintSolver::Softmax { logits, .. } => *logits,
        }
    }

    /// The function that the hint normalises, an index into the program's tables.
    pub fn table(&self) -> u32 {
        match self {
            HintSolver::Softmax { table, .. } => *table,
        }
    }

    /// The same for another program.
    pub(crate) fn moved(&self, node: u32, logits: ValueRef, table: u32) -> HintSolver {
        let mut moved = self.clone();
        let HintSolver::Softmax {
            node: n,
            logits: l,
            table: t,
            ..
        } = &mut moved;
        (*n, *l, *t) = (node, logits, table);
        moved
    }
}

/// Everything that one run computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Value of every slot, by slot index (`ZERO` holds 0, `ONE` holds 1).
    pub slots: Vec<u32>,
    /// Per node the accumulators `y[neuron · window + w]`, neurons row-major `[group][output][position]`; empty for nodes
    /// that are not neurons.
    pub accumulators: Vec<Vec<i64>>,
}

impl Trace {
    /// Elements of a program value (sums of its slots).
    pub fn value(
        &self,
        program: &Program,
        expanded: &Expanded,
        value: ValueRef,
    ) -> Option<Vec<i64>> {
        expanded.shape(value)?;
        let wires = expanded.value(program, value);
        let slot = |&s: &u32| self.slots.get(s as usize).map(|&v| i64::from(v));
        wires
            .slots
            .chunks(wires.width)
            .map(|c| c.iter().map(slot).sum::<Option<i64>>())
            .collect()
    }
}

/// Runs a program on integer inputs, `[input][element]`.
///
/// `expanded` is the program's own expansion; `weights` and `hints` are in order of node (and term).
///
/// # Errors
/// [`RunError::Range`] if some value does not fit, other variants if the arguments do not belong together.
pub fn run(
    program: &Program,
    expanded: &Expanded,
    weights: &[WeightTensor],
    hints: &[HintSolver],
    inputs: &[Vec<u32>],
) -> Result<Trace, RunError> {
    // Inside the pool: each of thousands of small nodes would otherwise wake it from outside, and wait.
    rayon::join(|| steps(program, expanded, weights, hints, inputs), || ()).0
}

fn steps(
    program: &Program,
    expanded: &Expanded,
    weights: &[WeightTensor],
    hints: &[HintSolver],
    inputs: &[Vec<u32>],
) -> Result<Trace, RunError> {
    let mut slots = vec![0u32; expanded.slots as usize];
    if let Some(one) = slots.get_mut(ONE as usize) {
        *one = 1;
    }
    let mut accumulators = vec![Vec::new(); program.nodes.len()];
    let limit = program.range();
    let mut next_input = 0;
    for (index, node) in program.nodes.iter().enumerate() {
        let id = index as u32;
        let mismatch = RunError::Mismatch { node: id };
        if expanded.shape(ValueRef::new(index)).is_none() {
            return Err(mismatch);
        }
        let fresh = |port: usize| {
            let port = port as u32;
            expanded.slots_of(ValueRef { node: id, port })
        };
        match node {
            Node::Input { len } => {
                let found = inputs.get(next_input).map_or(0, Vec::len);
                let values = inputs.get(next_input).filter(|v| v.len() == *len as usize);
                let values = values.ok_or(RunError::Inputs {
                    input: next_input,
                    found,
                    wanted: *len as usize,
                })?;
                if let Some((at, &v)) = values
                    .iter()
                    .enumerate()
                    .find(|(_, v)| i64::from(**v) >= limit)
                {
                    return Err(RunError::Range {
                        node: id,
                        index: at,
                        part: Part::Input,
                        value: i64::from(v),
                        limit,
                    });
                }
                store(&mut slots, fresh(0), values).ok_or(mismatch)?;
                next_input += 1;
            }
            Node::Hint { len } => {
                let solver = hints
                    .iter()
                    .find(|h| h.node() == id)
                    .ok_or(RunError::Hint { node: id })?;
                let values =
                    solve(solver, program, expanded, &slots).ok_or(RunError::Hint { node: id })?;
                if values.len() != *len as usize {
                    return Err(RunError::Hint { node: id });
                }
                let mut fitting = Vec::with_capacity(values.len());
                for (at, &value) in values.iter().enumerate() {
                    if !(0..limit).contains(&value) {
                        return Err(RunError::Range {
                            node: id,
                            index: at,
                            part: Part::Hint,
                            value,
                            limit,
                        });
                    }
                    fitting.push(value as u32);
                }
                store(&mut slots, fresh(0), &fitting).ok_or(mismatch)?;
            }
            Node::Neurons(n) => {
                let y = accumulate(id, n, (program, expanded), weights, (&slots, &accumulators))?;
                let results = apply(id, program, n, &y)?;
                for (port, values) in results.iter().enumerate() {
                    store(&mut slots, fresh(port), values).ok_or(mismatch.clone())?;
                }
                accumulators[index] = y;
            }
            Node::Constant { .. } | Node::View { .. } | Node::Concat { .. } | Node::Sum { .. } => {}
        }
    }
    if next_input != inputs.len() {
        return Err(RunError::Inputs {
            input: next_input,
            found: inputs[next_input].len(),
            wanted: 0,
        });
    }
    Ok(Trace {
        slots,
        accumulators,
    })
}

/// Writes the fresh slots of a port.
fn store(slots: &mut [u32], range: std::ops::Range<usize>, values: &[u32]) -> Option<()> {
    let slots = slots.get_mut(range).filter(|s| s.len() == values.len())?;
    slots.copy_from_slice(values);
    Some(())
}

fn accumulate(
    node: u32,
    n: &Neurons,
    (program, expanded): (&Program, &Expanded),
    weights: &[WeightTensor],
    (slots, accumulators): (&[u32], &[Vec<i64>]),
) -> Result<Vec<i64>, RunError> {
    let wires = |value: ValueRef| {
        let there = expanded.shape(value).ok_or(RunError::Mismatch { node });
        there.map(|_| expanded.value(program, value))
    };
    let own = |node: u32, term: usize| {
        let at = weights.binary_search_by_key(&(node, term as u32), |w| (w.node, w.term));
        at.map_or(&[][..], |i| &weights[i].data[..])
    };
    let mut sum = linear::Accumulators::new(n);
    for (t, term) in n.terms.iter().enumerate() {
        let patches = wires(term.patches)?;
        let wanted = n.groups as usize * n.outputs as usize * term.inputs as usize;
        let result = match &term.weights {
            Weights::Public(w) => sum.add(patches, slots, w, term.inputs as usize),
            Weights::Value { value, factor } => {
                let left = wires(*value)?;
                sum.add_product(patches, left, slots, *factor, term.inputs as usize)
            }
            Weights::Gathered => {
                let (keys, inputs) = (term.patches.node as usize, term.inputs as usize);
                let keys = accumulators.get(keys).ok_or(RunError::Mismatch { node })?;
                let outside = |key: &i64| !(0..inputs as i64).contains(key);
                if let Some(index) = keys.iter().position(outside) {
                    return Err(RunError::Key {
                        node,
                        index,
                        key: keys[index],
                        rows: inputs,
                    });
                }
                let data = own(node, t);
                if data.len() != wanted {
                    return Err(RunError::Weights {
                        node,
                        term: t as u32,
                        found: data.len(),
                        wanted,
                    });
                }
                sum.add_columns(keys, data, inputs)
            }
            Weights::Committed | Weights::Shared(_) => {
                let of = n.leader().unwrap_or(node);
                let data = own(of, t);
                if data.len() != wanted {
                    return Err(RunError::Weights {
                        node,
                        term: t as u32,
                        found: data.len(),
                        wanted,
                    });
                }
                sum.add(patches, slots, data, term.inputs as usize)
            }
        };
        result.map_err(|e| match e {
            linear::LinearError::Overflow => RunError::Overflow { node },
            linear::LinearError::Shape => RunError::Mismatch { node },
        })?;
    }
    Ok(sum.finish())
}

/// Results of all ports.
fn apply(node: u32, program: &Program, n: &Neurons, y: &[i64]) -> Result<Vec<Vec<u32>>, RunError> {
    let (unit, bits) = (&n.unit, program.range_bits);
    let window = unit.window.max(1) as usize;
    let cells: Vec<(u32, u32)> = y
        .par_chunks(window)
        .with_min_len(1024)
        .enumerate()
        .map(|(index, y)| {
            neuron(unit, bits, y).map_err(|(part, value)| RunError::Range {
                node,
                index,
                part,
                value,
                limit: 1 << bits,
            })
        })
        .collect::<Result<_, _>>()?;
    let mut ports = vec![cells.iter().map(|c| c.0).collect::<Vec<u32>>()];
    if unit.exposes_below() {
        ports.push(cells.iter().map(|c| c.1).collect());
    }
    for &t in &unit.tables {
        let table = program
            .tables
            .get(t as usize)
            .ok_or(RunError::Mismatch { node })?;
        let read = |c: &(u32, u32)| table.get(c.0 as usize).map(|&v| u32::from(v));
        ports.push(
            cells
                .iter()
                .map(read)
                .collect::<Option<_>>()
                .ok_or(RunError::Mismatch { node })?,
        );
    }
    if unit.exposes_rest() {
        let shift = bits * (unit.depth() - 1);
        let rest = |y: &i64| ((y >> shift) & ((1 << bits) - 1)) as u32;
        ports.push(y.iter().map(rest).collect());
    }
    Ok(ports)
}

/// `x` and (with one candidate) `below` of one neuron.
fn neuron(unit: &Unit, bits: u32, y: &[i64]) -> Result<(u32, u32), (Part, i64)> {
    let limit = 1i64 << bits;
    let fits = |part, value: i64| {
        if (0..limit).contains(&value) {
            Ok(value as u32)
        } else {
            Err((part, value))
        }
    };
    let shift = bits * unit.depth();
    let top = y.iter().map(|y| y >> shift).max().unwrap_or(0);
    let mut x = if unit.low { top.max(0) } else { top };
    if unit.high {
        fits(Part::Above, (x - (limit - 1)).max(0))?;
        x = x.min(limit - 1);
    }
    let result = fits(Part::Result, x)?;
    let mut below = 0;
    if unit.has_below() {
        for y in y {
            // With an upper clamp `below` is only what the lower clamp cuts away.
            let v = (y >> shift).min(if unit.high { limit - 1 } else { i64::MAX });
            below = fits(Part::Below, x - v)?;
        }
    }
    Ok((result, below))
}

fn solve(
    solver: &HintSolver,
    program: &Program,
    expanded: &Expanded,
    slots: &[u32],
) -> Option<Vec<i64>> {
    let HintSolver::Softmax {
        logits,
        lens,
        factor,
        constant,
        table,
        target,
        ..
    } = solver;
    let (bits, limit) = (program.range_bits, program.range());
    let table = program.tables.get(*table as usize)?;
    expanded.shape(*logits)?;
    let wires = expanded.value(program, *logits);
    let total = lens.iter().map(|&len| len as usize).sum::<usize>();
    if lens.contains(&0) || wires.len() != total {
        return None;
    }
    let slot = |&s: &u32| slots.get(s as usize).map(|&v| i64::from(v));
    let mut out = Vec::with_capacity(2 * lens.len());
    let mut rest = &wires.slots[..];
    for &len in lens {
        let (distribution, behind) = rest.split_at(wires.width * len as usize);
        rest = behind;
        let mut steps = Vec::with_capacity(len as usize);
        for element in distribution.chunks(wires.width) {
            let v = element.iter().map(slot).sum::<Option<i64>>()?;
            steps.push(constant.checked_sub(factor.checked_mul(v)?)?);
        }
        let lowest = *steps.iter().min()?;
        // d_i >= 0 for all i: L >= ceil(-lowest / 2^T).
        let mut low = -(lowest >> bits);
        let mut high = low.checked_add(limit)?;
        let reaches = |l: i64| {
            let mut sum = 0i64;
            for s in &steps {
                let d = (l + (s >> bits)).clamp(0, limit - 1);
                sum += i64::from(*table.get(d as usize)?);
            }
            Some(sum >= *target)
        };
        if !reaches(low)? {
            return None;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if reaches(middle)? {
                low = middle
            } else {
                high = middle
            }
        }
        out.push(low & (limit - 1));
        out.push(low >> bits);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use zkinfer_circuits::program::{ProgramLimits, Term};

    use super::*;

    fn unit(window: u32, low: bool, high: bool) -> Unit {
        Unit {
            window,
            low,
            high,
            tables: Vec::new(),
            deep: false,
        }
    }

    #[test]
    fn units_at_the_edges() {
        // Four bits: cells 0..16, v = floor(y / 16).
        assert_eq!(neuron(&Unit::LINEAR, 4, &[255]), Ok((15, 0)));
        assert_eq!(neuron(&Unit::LINEAR, 4, &[256]), Err((Part::Result, 16)));
        assert_eq!(neuron(&Unit::LINEAR, 4, &[-1]), Err((Part::Result, -1)));
        assert_eq!(neuron(&Unit::RELU, 4, &[-1]), Ok((0, 1)));
        assert_eq!(neuron(&Unit::RELU, 4, &[-240]), Ok((0, 15)));
        assert_eq!(neuron(&Unit::RELU, 4, &[-241]), Err((Part::Below, 16)));
        assert_eq!(
            neuron(&unit(1, true, true), 4, &[16 * 30 + 15]),
            Ok((15, 0))
        );
        assert_eq!(
            neuron(&unit(1, true, true), 4, &[16 * 31]),
            Err((Part::Above, 16))
        );
        assert_eq!(
            neuron(&unit(1, false, true), 4, &[-1]),
            Err((Part::Result, -1))
        );
        assert_eq!(neuron(&unit(3, false, false), 4, &[16, 48, 32]), Ok((3, 1)));
        assert_eq!(
            neuron(&unit(2, false, false), 4, &[0, 256]),
            Err((Part::Result, 16))
        );
        assert_eq!(neuron(&unit(2, true, false), 4, &[-16, -32]), Ok((0, 2)));
        assert_eq!(
            neuron(&unit(2, true, false), 4, &[15, -241]),
            Err((Part::Below, 16))
        );
    }

    fn program(weights: Weights) -> Program {
        let terms = vec![Term {
            patches: ValueRef::new(0),
            inputs: 2,
            weights,
        }];
        let neurons = Neurons {
            groups: 1,
            outputs: 1,
            positions: 1,
            unit: Unit::LINEAR,
            terms,
        };
        Program {
            range_bits: 4,
            tables: vec![],
            nodes: vec![Node::Input { len: 2 }, Node::Neurons(neurons)],
            outputs: vec![1],
        }
    }

    #[test]
    fn arguments_are_checked() {
        let p = program(Weights::Committed);
        let e = p.expand(&ProgramLimits::default()).unwrap();
        let w = |data: Vec<i32>| {
            vec![WeightTensor {
                node: 1,
                term: 0,
                data,
            }]
        };
        let trace = run(&p, &e, &w(vec![16, 3]), &[], &[vec![5, 7]]).unwrap();
        assert_eq!(
            (trace.slots, trace.accumulators),
            (vec![0, 1, 5, 7, 6, 5], vec![vec![], vec![101]])
        );
        assert!(matches!(
            run(&p, &e, &[], &[], &[vec![5, 7]]),
            Err(RunError::Weights { .. })
        ));
        assert!(matches!(
            run(&p, &e, &w(vec![1]), &[], &[vec![5, 7]]),
            Err(RunError::Weights { .. })
        ));
        assert!(matches!(
            run(&p, &e, &w(vec![1, 1]), &[], &[vec![5]]),
            Err(RunError::Inputs { .. })
        ));
        assert!(matches!(
            run(&p, &e, &w(vec![1, 1]), &[], &[vec![5, 7], vec![]]),
            Err(RunError::Inputs { .. })
        ));
        assert!(matches!(
            run(&p, &e, &w(vec![1, 1]), &[], &[vec![5, 16]]),
            Err(RunError::Range {
                part: Part::Input,
                ..
            })
        ));
        let p = program(Weights::Public(vec![i64::MAX, i64::MIN]));
        let e = p.expand(&ProgramLimits::default()).unwrap();
        assert!(matches!(
            run(&p, &e, &[], &[], &[vec![5, 7]]),
            Err(RunError::Overflow { node: 1 })
        ));
    }
}
