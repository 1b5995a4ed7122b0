//! From the circuit's gates to one program for the numerator of the quotient.

use crate::permutation;
use crate::shape::Shape;
use zkinfer_circuits::F;
use zkinfer_circuits::expr::{AnyColumn, Expr, Query};
use zkinfer_circuits::gates::Description;
use zkinfer_kernels::program::{Builder, Gate, Id, Program};

/// `Σ_i y^(g−1−i) · gate_i` for all `g` gates of a circuit, which is how halo2 combines them.
#[derive(Clone, Debug)]
pub struct GateProgram {
    /// One output; challenges are `y`, `β`, `γ`. Columns: advice, fixed, instance; then those of the permutation argument:
    /// running products, positions and helpers.
    pub program: Program,
    /// Number of gates.
    pub gates: usize,
    /// Number of advice columns.
    pub advice: usize,
    /// Number of fixed columns.
    pub fixed: usize,
    /// Number of instance columns.
    pub instance: usize,
}

/// Where columns of each kind begin among the program's columns.
#[derive(Clone, Copy)]
struct Offsets {
    fixed: usize,
    instance: usize,
}

/// Compiles all gates of a circuit. The columns' vectors have at most `column_bound` (see [`zkinfer_kernels::vector`]).
pub fn lower(description: &Description, column_bound: u64) -> GateProgram {
    let shape = Shape::new(description);
    let mut b = Builder::new(column_bound);
    let offsets = Offsets {
        fixed: description.advice,
        instance: description.advice + description.fixed,
    };
    let mut gates = Vec::with_capacity(description.gates.len());
    for gate in &description.gates {
        let (selector, factors) = split(&gate.poly);
        let rest = factors
            .into_iter()
            .map(|f| expression(&mut b, offsets, f))
            .collect::<Vec<Id>>()
            .into_iter()
            .reduce(|x, y| b.mul(x, y));
        let rest = match rest {
            Some(rest) => rest,
            None => b.constant(F::from(1)),
        };
        gates.push(Gate {
            factor: selector.map(|q| b.column(offsets.fixed + q.column, q.rotation)),
            rest,
        });
    }
    let products = offsets.instance + description.instance;
    let places = permutation::Places {
        column: |description, column| match column {
            AnyColumn::Advice(c) => c,
            AnyColumn::Fixed(c) => description.advice + c,
            AnyColumn::Instance(c) => description.advice + description.fixed + c,
        },
        products,
        positions: products + description.equality.len().div_ceil(shape.chunk),
    };
    gates.extend(permutation::gates(&mut b, description, &shape, &places));
    // Powers of y, the highest first.
    let y = b.challenge(0);
    let mut powers = vec![b.constant(F::from(1))];
    for i in 1..gates.len() {
        powers.push(b.mul(powers[i - 1], y));
    }
    powers.reverse();
    let output = b.combine(&gates, &powers);
    GateProgram {
        program: b.compile(&[output]),
        gates: gates.len(),
        advice: description.advice,
        fixed: description.fixed,
        instance: description.instance,
    }
}

/// A product's leading fixed cell and its other factors.
fn split(poly: &Expr) -> (Option<Query>, Vec<&Expr>) {
    let mut factors = Vec::new();
    let mut first = poly;
    while let Expr::Product(a, b) = first {
        factors.push(&**b);
        first = a;
    }
    let selector = match first {
        Expr::Fixed(query) => Some(*query),
        _ => {
            factors.push(first);
            None
        }
    };
    factors.reverse();
    (selector, factors)
}

fn expression(b: &mut Builder, offsets: Offsets, e: &Expr) -> Id {
    match e {
        Expr::Constant(c) => b.constant(*c),
        Expr::Advice(q) => b.column(q.column, q.rotation),
        Expr::Fixed(q) => b.column(offsets.fixed + q.column, q.rotation),
        Expr::Instance(q) => b.column(offsets.instance + q.column, q.rotation),
        Expr::Sum(x, y) => {
            let (x, y) = (expression(b, offsets, x), expression(b, offsets, y));
            b.add(x, y)
        }
        Expr::Product(x, y) => {
            let (x, y) = (expression(b, offsets, x), expression(b, offsets, y));
            b.mul(x, y)
        }
        Expr::Scaled(x, c) => {
            let x = expression(b, offsets, x);
            b.scale(x, *c)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ff::Field;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;
    use std::time::Instant;
    use zkinfer_circuits::gates::describe;
    use zkinfer_circuits::layout::Layout;
    use zkinfer_circuits::program::{
        Neurons, Node, Program, ProgramLimits, Term, Unit, ValueRef, Weights,
    };
    use zkinfer_kernels::program::run_rows;
    use zkinfer_kernels::vector::{Backend, Portable, Vector};

    /// Every kind of gate: folds of both kinds, a maximum, clamps, a table.
    fn description(k: u32) -> Description {
        let neurons = |source: ValueRef, outputs, positions, inputs, unit: Unit| {
            Node::Neurons(Neurons {
                groups: 1,
                outputs,
                positions,
                unit,
                terms: vec![Term {
                    patches: source,
                    inputs,
                    weights: Weights::Committed,
                }],
            })
        };
        let unit = |window, low, high, tables| Unit {
            window,
            low,
            high,
            tables,
            deep: window == 1,
        };
        let program = Program {
            range_bits: 8,
            tables: vec![vec![7; 256], vec![9; 256]],
            nodes: vec![
                Node::Input { len: 64 },
                neurons(ValueRef::new(0), 4, 16, 4, Unit::RELU),
                neurons(ValueRef::new(1), 8, 4, 4, unit(4, true, false, vec![])),
                neurons(ValueRef::new(2), 8, 4, 8, unit(1, false, true, vec![])),
                neurons(ValueRef::new(3), 6, 1, 32, unit(1, true, true, vec![0, 1])),
                neurons(
                    ValueRef { node: 4, port: 2 },
                    6,
                    1,
                    6,
                    unit(1, true, false, vec![1]),
                ),
                neurons(ValueRef::new(5), 3, 1, 6, Unit::LINEAR),
            ],
            outputs: vec![6],
        };
        let limits = ProgramLimits::default();
        let expanded = program.expand(&limits).unwrap_or_else(|e| panic!("{e}"));
        let layout = Layout::new(&program, &expanded, k, limits.pieces);
        let layout = layout.unwrap_or_else(|e| panic!("{e}"));
        describe(&layout)
    }

    fn columns(description: &Description, n: usize) -> Vec<Vec<F>> {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let count = description.advice + description.fixed + description.instance;
        (0..count)
            .map(|_| (0..n).map(|_| F::random(&mut rng)).collect())
            .collect()
    }

    /// Row by row with the field's own operations.
    fn plain(description: &Description, columns: &[Vec<F>], y: F) -> Vec<F> {
        let n = columns[0].len();
        (0..n)
            .map(|row| {
                let cell = |offset: usize, q: Query| {
                    let at = (row as i64 + i64::from(q.rotation)).rem_euclid(n as i64);
                    columns[offset + q.column][at as usize]
                };
                description.gates.iter().fold(F::ZERO, |sum, gate| {
                    let v = gate.poly.evaluate(
                        &|c| c,
                        &|q| cell(0, q),
                        &|q| cell(description.advice, q),
                        &|q| cell(description.advice + description.fixed, q),
                        &|a, b| a + b,
                        &|a, b| a * b,
                        &|a, c| a * c,
                    );
                    sum * y + v
                })
            })
            .collect()
    }

    fn run<B: Backend>(backend: B, gates: &GateProgram, columns: &[Vec<F>], y: F) -> Vec<F> {
        let lanes = B::Scalar::LANES;
        let n = columns[0].len();
        let m = n / lanes;
        let columns: Vec<Vec<B::Scalar>> = columns
            .iter()
            .map(|c| {
                (0..m)
                    .map(|b| B::Scalar::from_fn(|lane| c[lane * m + b]))
                    .collect()
            })
            .collect();
        let columns: Vec<&[B::Scalar]> = columns.iter().map(|c| c.as_slice()).collect();
        let prepared = gates.program.prepare(backend, &[y]);
        let mut out = vec![B::Scalar::zero(); m];
        let start = Instant::now();
        run_rows(
            backend,
            &gates.program,
            &prepared,
            &columns,
            0..m,
            &mut [&mut out],
        );
        println!("{}: {:?} per row", B::NAME, start.elapsed() / n as u32);
        let mut result = vec![F::ZERO; n];
        let mut element = vec![F::ZERO; lanes];
        for (b, v) in out.iter().enumerate() {
            v.store(&mut element);
            for (lane, v) in element.iter().enumerate() {
                result[lane * m + b] = *v;
            }
        }
        result
    }

    #[test]
    fn programs_equal_the_gates() {
        for k in [6, 8] {
            let description = description(k);
            let columns = columns(&description, 1 << k);
            let mut rng = ChaCha20Rng::seed_from_u64(2);
            for y in [F::random(&mut rng), F::ZERO, F::ONE, -F::ONE] {
                let expected = plain(&description, &columns, y);
                let gates = lower(&description, 2);
                assert!(run(Portable, &gates, &columns, y) == expected);
                #[cfg(target_arch = "x86_64")]
                if let Some(ifma) = zkinfer_kernels::vector::Ifma::detect() {
                    assert!(run(ifma, &gates, &columns, y) == expected);
                }
            }
        }
    }

    /// As halo2 does: the trees over chunks of columns, one operation after the other.
    fn by_tree(description: &Description, columns: &[Vec<F>], y: F) -> Vec<F> {
        let n = columns[0].len();
        let len = n / 4;
        let mut out = Vec::with_capacity(n);
        for from in (0..n).step_by(len) {
            let cells = |offset: usize, q: Query| -> Vec<F> {
                let start = (from as i64 + i64::from(q.rotation)).rem_euclid(n as i64) as usize;
                let column = &columns[offset + q.column];
                column
                    .iter()
                    .cycle()
                    .skip(start)
                    .take(len)
                    .copied()
                    .collect()
            };
            let both = |mut a: Vec<F>, b: Vec<F>, f: fn(&mut F, F)| {
                a.iter_mut().zip(b).for_each(|(a, b)| f(a, b));
                a
            };
            let mut sum = vec![F::ZERO; len];
            for gate in &description.gates {
                let v = gate.poly.evaluate(
                    &|c| vec![c; len],
                    &|q| cells(0, q),
                    &|q| cells(description.advice, q),
                    &|q| cells(description.advice + description.fixed, q),
                    &|a, b| both(a, b, |a, b| *a += b),
                    &|a, b| both(a, b, |a, b| *a *= b),
                    &|mut a, c| {
                        a.iter_mut().for_each(|a| *a *= c);
                        a
                    },
                );
                sum.iter_mut().zip(v).for_each(|(s, v)| *s = *s * y + v);
            }
            out.extend(sum);
        }
        out
    }

    #[test]
    #[ignore = "prints how long a row takes"]
    fn measured() {
        for k in [6, 8] {
            let description = description(k);
            let columns = columns(&description, 1 << 12);
            let y = F::from(12345);
            let gates = lower(&description, 2);
            println!(
                "{} gates, {:?}",
                description.gates.len(),
                gates.program.cost()
            );
            let start = Instant::now();
            let expected = by_tree(&description, &columns, y);
            println!("tree: {:?} per row", start.elapsed() / (1 << 12));
            for _ in 0..3 {
                assert!(run(Portable, &gates, &columns, y) == expected);
                #[cfg(target_arch = "x86_64")]
                if let Some(ifma) = zkinfer_kernels::vector::Ifma::detect() {
                    assert!(run(ifma, &gates, &columns, y) == expected);
                }
            }
        }
    }

    #[test]
    fn programs_need_few_multiplications() {
        let description = description(8);
        // What the trees ask for, with one multiplication by y per gate.
        let tree: usize = description
            .gates
            .iter()
            .map(|gate| {
                1 + gate.poly.evaluate(
                    &|_| 0,
                    &|_| 0,
                    &|_| 0,
                    &|_| 0,
                    &|a: usize, b| a + b,
                    &|a, b| a + b + 1,
                    &|a, c| a + usize::from(c != -F::ONE),
                )
            })
            .sum();
        let cost = lower(&description, 2).program.cost();
        println!(
            "{} gates, {tree} multiplications, {cost:?}",
            description.gates.len()
        );
        assert!(2 * cost.products < tree * 7 / 5 && 3 * cost.reductions < tree);
    }
}
