//! Runs a [`Program`] on strips of vectors.

use super::{Op, Operand, Product, Program, Scalar, Span};
use crate::vector::{Backend, Kernel, Vector};
use pasta_curves::Fp;
use std::ops::Range;

/// Vectors per instruction. More would amortise decoding, but one measures best: 4 take a quarter longer with AVX-512, as
/// results then go through memory.
const STRIP: usize = 1;

/// A program's scalars for given challenges.
#[derive(Clone, Debug)]
pub struct Prepared<V> {
    splats: Vec<V>,
}

impl Program {
    /// Computes everything that is the same for all rows.
    ///
    /// # Panics
    /// If there are fewer than [`Program::challenges`] challenges.
    pub fn prepare<B: Backend>(&self, backend: B, challenges: &[Fp]) -> Prepared<B::Scalar> {
        let mut scalars: Vec<Fp> = Vec::with_capacity(self.scalars.len());
        for scalar in &self.scalars {
            let v = match *scalar {
                Scalar::Constant(v) => self.values.get(v),
                Scalar::Challenge(c) => challenges[c as usize],
                Scalar::Add(a, b) => scalars[a as usize] + scalars[b as usize],
                Scalar::Mul(a, b) => scalars[a as usize] * scalars[b as usize],
            };
            scalars.push(v);
        }
        let splats = self.splats.iter().map(|&(s, negative)| {
            let v = scalars[s as usize];
            if negative { -v } else { v }
        });
        Prepared {
            splats: backend.run(Splat {
                values: splats.collect(),
            }),
        }
    }
}

struct Splat {
    values: Vec<Fp>,
}

impl<B: Backend> Kernel<B> for Splat {
    type Output = Vec<B::Scalar>;
    #[inline(always)]
    fn run(self) -> Vec<B::Scalar> {
        let mut out = Vec::with_capacity(self.values.len());
        for &v in &self.values {
            out.push(B::Scalar::splat(v));
        }
        out
    }
}

/// Evaluates a program for the vectors `rows` of the domain: `outputs[o][i]` becomes output `o` of vector `rows.start + i`,
/// with bound 2. One thread; several may run on disjoint ranges.
///
/// All columns have the same length `m`, in the order that the [module documentation](super) describes.
///
/// # Panics
/// If columns or outputs are missing, differ in length, or do not cover `rows`.
pub fn run_rows<B: Backend>(
    backend: B,
    program: &Program,
    prepared: &Prepared<B::Scalar>,
    columns: &[&[B::Scalar]],
    rows: Range<usize>,
    outputs: &mut [&mut [B::Scalar]],
) {
    assert!(columns.len() >= program.columns(), "a column is missing");
    let m = columns.first().map_or(rows.end, |c| c.len());
    assert!(columns.iter().all(|c| c.len() == m) && rows.end <= m);
    assert!(outputs.len() >= program.outputs(), "an output is missing");
    assert!(outputs.iter().all(|o| o.len() == rows.len()));
    assert_eq!(prepared.splats.len(), program.splats.len());
    backend.run(Run::<B> {
        program,
        splats: &prepared.splats,
        columns,
        vectors: m,
        rows,
        outputs,
    });
}

struct Run<'a, 'b, B: Backend> {
    program: &'a Program,
    splats: &'a [B::Scalar],
    columns: &'a [&'a [B::Scalar]],
    vectors: usize,
    rows: Range<usize>,
    outputs: &'a mut [&'b mut [B::Scalar]],
}

impl<B: Backend> Kernel<B> for Run<'_, '_, B> {
    type Output = ();
    #[inline(always)]
    fn run(mut self) {
        let program = self.program;
        let zero = B::Scalar::zero();
        let mut state = State {
            registers: vec![zero; program.registers * STRIP],
            wides: vec![B::Scalar::wide(); program.wides * STRIP],
            turned: vec![zero; program.queries.len() * STRIP],
            sources: Vec::with_capacity(program.queries.len()),
        };
        let mut at = self.rows.start;
        while at + STRIP <= self.rows.end {
            self.strip::<STRIP>(&mut state, at);
            at += STRIP;
        }
        while at < self.rows.end {
            self.strip::<1>(&mut state, at);
            at += 1;
        }
    }
}

struct State<V: Vector<Fp>> {
    registers: Vec<V>,
    wides: Vec<V::Wide>,
    /// Vectors of queries that wrap around.
    turned: Vec<V>,
    /// Per query: column and first vector, or none and where in `turned`.
    sources: Vec<(Option<u32>, usize)>,
}

/// What operands are read from.
struct Cells<'a, V> {
    registers: &'a [V],
    turned: &'a [V],
    splats: &'a [V],
    columns: &'a [&'a [V]],
    sources: &'a [(Option<u32>, usize)],
}

impl<V: Vector<Fp>> Cells<'_, V> {
    #[inline(always)]
    fn get(&self, operand: Operand, s: usize) -> V {
        match operand {
            Operand::Register(r) => self.registers[r as usize * STRIP + s],
            Operand::Splat(i) => self.splats[i as usize],
            Operand::Query(q) => match self.sources[q as usize] {
                (Some(column), at) => self.columns[column as usize][at + s],
                (None, at) => self.turned[at + s],
            },
        }
    }
}

#[inline(always)]
fn range(span: Span) -> Range<usize> {
    span.0 as usize..span.1 as usize
}

/// `a − b`, `b` of bound at most `multiple`, which is 4 or 32.
#[inline(always)]
fn sub<V: Vector<Fp>>(a: V, b: V, multiple: u8) -> V {
    if multiple <= 4 {
        a.sub::<4>(b)
    } else {
        a.sub::<32>(b)
    }
}

/// `v + Σ list`.
#[inline(always)]
fn plus_all<V: Vector<Fp>>(cells: &Cells<V>, mut v: V, list: &[Operand], s: usize) -> V {
    for &operand in list {
        v = v.add(cells.get(operand, s));
    }
    v
}

/// `Σ plus − Σ minus`.
#[inline(always)]
fn linear<V: Vector<Fp>>(
    cells: &Cells<V>,
    plus: &[Operand],
    minus: &[Operand],
    multiple: u8,
    s: usize,
) -> V {
    let v = match plus.split_first() {
        Some((&first, rest)) => plus_all(cells, cells.get(first, s), rest, s),
        None => V::zero(),
    };
    match minus.split_first() {
        Some((&first, rest)) => {
            let taken = plus_all(cells, cells.get(first, s), rest, s);
            sub(v, taken, multiple)
        }
        None => v,
    }
}

/// `±product + Σ plus − Σ minus`.
#[inline(always)]
fn tail<V: Vector<Fp>>(
    cells: &Cells<V>,
    product: V,
    negative: bool,
    plus: &[Operand],
    minus: &[Operand],
    multiple: u8,
    s: usize,
) -> V {
    if negative {
        let v = linear(cells, plus, &[], multiple, s);
        return sub(v, plus_all(cells, product, minus, s), multiple);
    }
    let v = plus_all(cells, product, plus, s);
    match minus.split_first() {
        Some((&first, rest)) => {
            let taken = plus_all(cells, cells.get(first, s), rest, s);
            sub(v, taken, multiple)
        }
        None => v,
    }
}

impl<B: Backend> Run<'_, '_, B> {
    #[inline(always)]
    fn strip<const S: usize>(&mut self, state: &mut State<B::Scalar>, at: usize) {
        let program = self.program;
        let m = self.vectors as i64;
        state.sources.clear();
        for (q, &(column, rotation)) in program.queries.iter().enumerate() {
            let first = at as i64 + i64::from(rotation);
            if first >= 0 && first + S as i64 <= m {
                state.sources.push((Some(column), first as usize));
                continue;
            }
            for s in 0..S {
                let from = first + s as i64;
                // Lane i reads lane i + quotient.
                let lanes = (-from.div_euclid(m)).rem_euclid(B::Scalar::LANES as i64);
                let v = self.columns[column as usize][from.rem_euclid(m) as usize];
                state.turned[q * STRIP + s] = v.rotate(lanes as usize);
            }
            state.sources.push((None, q * STRIP));
        }
        let mut results = [B::Scalar::zero(); S];
        for op in &program.ops {
            let cells = Cells {
                registers: &state.registers,
                turned: &state.turned,
                splats: self.splats,
                columns: self.columns,
                sources: &state.sources,
            };
            match *op {
                Op::Combine {
                    to,
                    product,
                    negative,
                    plus,
                    minus,
                    multiple,
                    reduce,
                } => {
                    let plus = &program.operands[range(plus)];
                    let minus = &program.operands[range(minus)];
                    let to = to as usize * STRIP;
                    for (s, result) in results.iter_mut().enumerate() {
                        let v = match product {
                            Product::None => linear(&cells, plus, minus, multiple, s),
                            Product::One(a, b) => {
                                let v = cells.get(a, s).mul(cells.get(b, s));
                                tail(&cells, v, negative, plus, minus, multiple, s)
                            }
                            Product::Square(a) => {
                                let v = cells.get(a, s).square();
                                tail(&cells, v, negative, plus, minus, multiple, s)
                            }
                            Product::Wide(wide, pairs) => {
                                let mut sum = match wide {
                                    Some(w) => state.wides[w as usize * STRIP + s],
                                    None => B::Scalar::wide(),
                                };
                                for (a, b) in &program.pairs[range(pairs)] {
                                    let (a, b) = (cells.get(*a, s), cells.get(*b, s));
                                    B::Scalar::mul_add(&mut sum, a, b);
                                }
                                let v = B::Scalar::finish(sum);
                                tail(&cells, v, negative, plus, minus, multiple, s)
                            }
                        };
                        *result = if reduce { v.reduce() } else { v };
                    }
                    state.registers[to..to + S].copy_from_slice(&results);
                }
                Op::Partial { wide, first, pairs } => {
                    for s in 0..S {
                        let slot = wide as usize * STRIP + s;
                        let mut sum = if first {
                            B::Scalar::wide()
                        } else {
                            state.wides[slot]
                        };
                        for &(a, b) in &program.pairs[range(pairs)] {
                            B::Scalar::mul_add(&mut sum, cells.get(a, s), cells.get(b, s));
                        }
                        state.wides[slot] = sum;
                    }
                }
                Op::Output {
                    index,
                    from,
                    reduce,
                } => {
                    let at = at - self.rows.start;
                    for s in 0..S {
                        let v = cells.get(from, s);
                        self.outputs[index as usize][at + s] = if reduce { v.reduce() } else { v };
                    }
                }
            }
        }
    }
}
