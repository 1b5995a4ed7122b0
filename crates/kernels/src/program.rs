//! Polynomials over columns, compiled to straight-line programs over vectors.
//!
//! A [`Builder`] collects expressions, [`Builder::compile`] turns some of them into a [`Program`], and [`run_rows`]
//! evaluates the program on a range of rows.
//!
//! # What the compiler does
//!
//! * Equal expressions are computed once; whatever depends on no column is computed once per run.
//! * Sums are flattened to lists of products, products that occur more than once are named, and common factors are taken
//!   out of sums greedily (the classical "kernel" extraction of logic synthesis, which finds `Σ Π_{j≠i} d_j` among others).
//! * A sum of products is one wide sum with one reduction.
//! * Signs are pushed to where they cost nothing; bounds are tracked, and vectors reduced only where they must be.
//! * Registers are reused as soon as their last reader has run.
//!
//! # Layout
//!
//! A column of `n = LANES · m` values is `m` vectors: element `lane · m + b` is lane `lane` of vector `b`. The next row of
//! vector `b` is therefore vector `b + 1`, and for the last one vector 0 with its lanes rotated by one.

mod atoms;
mod emit;
mod execute;
mod factor;

#[cfg(test)]
mod tests;

pub use execute::{Prepared, run_rows};

use crate::vector::{MAX_BOUND, Prime};
use ff::Field;
use pasta_curves::Fp;
use std::collections::HashMap;

/// An expression of a [`Builder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u32);

/// Index of an interned field element.
pub(crate) type Value = u32;

/// One operation on earlier nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Constant(Value),
    Challenge(u32),
    Column(u32, i32),
    Add(Id, Id),
    Mul(Id, Id),
    Scale(Id, Value),
}

/// Field elements by number, so that expressions can be compared and hashed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    all: Vec<Fp>,
    by_limbs: HashMap<[u64; 4], Value>,
}

impl Values {
    pub fn intern(&mut self, v: Fp) -> Value {
        let all = &mut self.all;
        *self.by_limbs.entry(v.to_limbs()).or_insert_with(|| {
            all.push(v);
            (all.len() - 1) as Value
        })
    }

    pub fn get(&self, v: Value) -> Fp {
        self.all[v as usize]
    }

    /// The value as an integer between −4 and 4, if it is one.
    pub fn small(&self, v: Value) -> Option<i32> {
        let v = self.get(v);
        (-4i32..=4).find(|&i| {
            let magnitude = Fp::from(u64::from(i.unsigned_abs()));
            v == if i < 0 { -magnitude } else { magnitude }
        })
    }
}

/// Collects expressions. Equal ones get the same [`Id`].
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) nodes: Vec<Node>,
    known: HashMap<Node, Id>,
    pub(crate) values: Values,
    pub(crate) column_bound: u64,
}

impl Default for Builder {
    fn default() -> Self {
        Builder::new(1)
    }
}

impl Builder {
    /// An empty builder for columns whose vectors have at most this bound (see [`crate::vector`]; capped to 1 ..= 16).
    pub fn new(column_bound: u64) -> Builder {
        Builder {
            nodes: Vec::new(),
            known: HashMap::new(),
            values: Values::default(),
            column_bound: column_bound.clamp(1, MAX_BOUND / 4),
        }
    }

    fn node(&mut self, node: Node) -> Id {
        let nodes = &mut self.nodes;
        *self.known.entry(node).or_insert_with(|| {
            nodes.push(node);
            Id((nodes.len() - 1) as u32)
        })
    }

    fn get(&self, id: Id) -> Node {
        self.nodes[id.0 as usize]
    }

    fn as_constant(&self, id: Id) -> Option<Fp> {
        match self.get(id) {
            Node::Constant(v) => Some(self.values.get(v)),
            _ => None,
        }
    }

    /// A constant.
    pub fn constant(&mut self, v: Fp) -> Id {
        let v = self.values.intern(v);
        self.node(Node::Constant(v))
    }

    /// A value that is only known when the program runs, the same for all rows: entry `index` of its challenges.
    pub fn challenge(&mut self, index: usize) -> Id {
        self.node(Node::Challenge(index as u32))
    }

    /// The value of a column `rotation` rows further on, cyclically.
    pub fn column(&mut self, column: usize, rotation: i32) -> Id {
        self.node(Node::Column(column as u32, rotation))
    }

    /// `a + b`.
    pub fn add(&mut self, a: Id, b: Id) -> Id {
        match (self.as_constant(a), self.as_constant(b)) {
            (Some(x), Some(y)) => return self.constant(x + y),
            (Some(x), None) if x.is_zero_vartime() => return b,
            (None, Some(y)) if y.is_zero_vartime() => return a,
            _ => {}
        }
        if a == b {
            return self.scale(a, Fp::from(2));
        }
        self.node(Node::Add(a.min(b), a.max(b)))
    }

    /// `a − b`.
    pub fn sub(&mut self, a: Id, b: Id) -> Id {
        if a == b {
            return self.constant(Fp::ZERO);
        }
        let minus = self.neg(b);
        self.add(a, minus)
    }

    /// `−a`.
    pub fn neg(&mut self, a: Id) -> Id {
        self.scale(a, -Fp::ONE)
    }

    /// `c · a`.
    pub fn scale(&mut self, a: Id, c: Fp) -> Id {
        if c == Fp::ONE {
            return a;
        }
        if c.is_zero_vartime() {
            return self.constant(Fp::ZERO);
        }
        match self.get(a) {
            Node::Constant(v) => self.constant(self.values.get(v) * c),
            Node::Scale(inner, v) => self.scale(inner, self.values.get(v) * c),
            _ => {
                let c = self.values.intern(c);
                self.node(Node::Scale(a, c))
            }
        }
    }

    /// `a · b`.
    pub fn mul(&mut self, a: Id, b: Id) -> Id {
        if let Some(c) = self.as_constant(a) {
            return self.scale(b, c);
        }
        if let Some(c) = self.as_constant(b) {
            return self.scale(a, c);
        }
        // Constants move outwards, where they meet other constants.
        if let Node::Scale(inner, c) = self.get(a) {
            let product = self.mul(inner, b);
            return self.scale(product, self.values.get(c));
        }
        if let Node::Scale(inner, c) = self.get(b) {
            let product = self.mul(a, inner);
            return self.scale(product, self.values.get(c));
        }
        self.node(Node::Mul(a.min(b), a.max(b)))
    }

    /// Sum of any number of expressions.
    pub fn sum(&mut self, terms: impl IntoIterator<Item = Id>) -> Id {
        // A balanced tree.
        let mut terms: Vec<Id> = terms.into_iter().collect();
        while terms.len() > 1 {
            terms = terms
                .chunks(2)
                .map(|pair| match *pair {
                    [a, b] => self.add(a, b),
                    _ => pair[0],
                })
                .collect();
        }
        match terms.pop() {
            Some(sum) => sum,
            None => self.constant(Fp::ZERO),
        }
    }

    /// `Σ_i weights[i] · gates[i].factor · gates[i].rest` with every distinct factor multiplied only once. Missing weights
    /// count as zero.
    pub fn combine(&mut self, gates: &[Gate], weights: &[Id]) -> Id {
        let mut groups: Vec<(Option<Id>, Vec<Id>)> = Vec::new();
        for (gate, &weight) in gates.iter().zip(weights) {
            let term = self.mul(weight, gate.rest);
            match groups.iter_mut().find(|(factor, _)| *factor == gate.factor) {
                Some((_, terms)) => terms.push(term),
                None => groups.push((gate.factor, vec![term])),
            }
        }
        let mut sums = Vec::new();
        for (factor, terms) in groups {
            let sum = self.sum(terms);
            sums.push(match factor {
                Some(factor) => self.mul(factor, sum),
                None => sum,
            });
        }
        self.sum(sums)
    }

    /// A program that computes the outputs.
    pub fn compile(self, outputs: &[Id]) -> Program {
        let mut atoms = atoms::Atoms::new(self, outputs);
        factor::optimise(&mut atoms);
        emit::emit(atoms)
    }
}

/// A polynomial that is a product of a factor it shares with others (a selector) and the rest.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// The common factor.
    pub factor: Option<Id>,
    /// What it is multiplied with.
    pub rest: Id,
}

/// A scalar that is computed once per run from constants, challenges and earlier scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scalar {
    Constant(Value),
    Challenge(u32),
    Add(u32, u32),
    Mul(u32, u32),
}

/// Where an operand is: a register, a column or a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operand {
    Register(u32),
    Query(u32),
    Splat(u32),
}

/// A range of a list.
pub(crate) type Span = (u32, u32);

/// How the product part of a [`Op::Combine`] is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// There is none.
    None,
    /// One product whose bounds allow [`crate::vector::Vector::mul`].
    One(Operand, Operand),
    /// A square.
    Square(Operand),
    /// A wide sum over these pairs, begun in a wide register or empty.
    Wide(Option<u32>, Span),
}

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// `register = ±product + Σ plus − Σ minus`.
    Combine {
        to: u32,
        product: Product,
        negative: bool,
        plus: Span,
        minus: Span,
        /// Multiple of p that makes the difference non-negative.
        multiple: u8,
        reduce: bool,
    },
    /// Adds products to a wide register.
    Partial { wide: u32, first: bool, pairs: Span },
    /// Writes an output.
    Output {
        index: u32,
        from: Operand,
        reduce: bool,
    },
}

/// A straight-line program over columns and challenges.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) ops: Vec<Op>,
    pub(crate) operands: Vec<Operand>,
    pub(crate) pairs: Vec<(Operand, Operand)>,
    pub(crate) queries: Vec<(u32, i32)>,
    pub(crate) scalars: Vec<Scalar>,
    /// Which scalars are splatted, and whether negated.
    pub(crate) splats: Vec<(u32, bool)>,
    pub(crate) values: Values,
    pub(crate) registers: usize,
    pub(crate) wides: usize,
    pub(crate) outputs: usize,
}

/// What a [`Program`] does per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Instructions.
    pub instructions: usize,
    /// Products.
    pub products: usize,
    /// Reductions of products or of sums of products: at most as many as products.
    pub reductions: usize,
    /// Additions and subtractions.
    pub additions: usize,
    /// Registers that live at the same time.
    pub registers: usize,
    /// Distinct cells that are read.
    pub queries: usize,
    /// Splatted scalars.
    pub scalars: usize,
}

impl Program {
    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of columns that must be there when it runs.
    pub fn columns(&self) -> usize {
        let columns = self.queries.iter().map(|q| q.0 as usize + 1);
        columns.max().unwrap_or(0)
    }

    /// Number of challenges that must be there when it runs.
    pub fn challenges(&self) -> usize {
        let challenges = self.scalars.iter().map(|s| match s {
            Scalar::Challenge(i) => *i as usize + 1,
            _ => 0,
        });
        challenges.max().unwrap_or(0)
    }

    /// What it does per row.
    pub fn cost(&self) -> Cost {
        let mut cost = Cost {
            instructions: self.ops.len(),
            products: 0,
            reductions: 0,
            additions: 0,
            registers: self.registers,
            queries: self.queries.len(),
            scalars: self.splats.len(),
        };
        let len = |span: &Span| (span.1 - span.0) as usize;
        for op in &self.ops {
            match op {
                Op::Combine {
                    product,
                    plus,
                    minus,
                    reduce,
                    ..
                } => {
                    cost.additions += len(plus) + len(minus);
                    let products = match product {
                        Product::None => 0,
                        Product::One(..) | Product::Square(_) => 1,
                        Product::Wide(_, pairs) => len(pairs),
                    };
                    cost.products += products;
                    cost.reductions += usize::from(*product != Product::None);
                    cost.reductions += usize::from(*reduce);
                }
                Op::Partial { pairs, .. } => cost.products += len(pairs),
                Op::Output { reduce, .. } => cost.reductions += usize::from(*reduce),
            }
        }
        cost
    }
}
