//! Polynomial expressions over cells: the one description from which the halo2 circuit, the checks in tests and a
//! prover of one's own are built.

use crate::F;
use std::ops::{Add, Mul, Neg, Sub};

/// A column and a rotation: 0 is the current row, 1 the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// Index among the columns of its kind.
    pub column: usize,
    /// Row offset.
    pub rotation: i32,
}

/// A column of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnyColumn {
    /// Index among the advice columns.
    Advice(usize),
    /// Index among the fixed columns.
    Fixed(usize),
    /// Index among the instance columns.
    Instance(usize),
}

/// A polynomial in the cells of a row and the next one.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A constant.
    Constant(F),
    /// Advice cell.
    Advice(Query),
    /// Fixed cell.
    Fixed(Query),
    /// Instance cell.
    Instance(Query),
    /// Sum.
    Sum(Box<Expr>, Box<Expr>),
    /// Product.
    Product(Box<Expr>, Box<Expr>),
    /// Constant multiple.
    Scaled(Box<Expr>, F),
}

impl Expr {
    /// Advice cell of the current row.
    pub fn advice(column: usize) -> Expr {
        Expr::Advice(Query {
            column,
            rotation: 0,
        })
    }

    /// Advice cell of the next row.
    pub fn next(column: usize) -> Expr {
        Expr::Advice(Query {
            column,
            rotation: 1,
        })
    }

    /// Fixed cell of the current row.
    pub fn fixed(column: usize) -> Expr {
        Expr::Fixed(Query {
            column,
            rotation: 0,
        })
    }

    /// Instance cell of the current row.
    pub fn instance(column: usize) -> Expr {
        Expr::Instance(Query {
            column,
            rotation: 0,
        })
    }

    /// An integer.
    pub fn int(v: u64) -> Expr {
        Expr::Constant(F::from(v))
    }

    /// `2^bits ·` self.
    pub fn shifted(self, bits: u32) -> Expr {
        Expr::Scaled(Box::new(self), F::from(1u64 << bits))
    }

    /// Sum of expressions, zero if there are none.
    pub fn sum(terms: impl IntoIterator<Item = Expr>) -> Expr {
        // A balanced tree: expressions are walked recursively, and a card decides how many terms there are.
        let mut terms: Vec<Expr> = terms.into_iter().collect();
        while terms.len() > 1 {
            let mut pairs = std::mem::take(&mut terms).into_iter();
            while let Some(a) = pairs.next() {
                terms.push(match pairs.next() {
                    Some(b) => a + b,
                    None => a,
                });
            }
        }
        terms.pop().unwrap_or(Expr::int(0))
    }

    /// Product of expressions, one if there are none.
    pub fn product(factors: impl IntoIterator<Item = Expr>) -> Expr {
        factors
            .into_iter()
            .reduce(|a, b| a * b)
            .unwrap_or(Expr::int(1))
    }

    /// Total degree in the cells.
    pub fn degree(&self) -> usize {
        match self {
            Expr::Constant(_) => 0,
            Expr::Advice(_) | Expr::Fixed(_) | Expr::Instance(_) => 1,
            Expr::Sum(a, b) => a.degree().max(b.degree()),
            Expr::Product(a, b) => a.degree() + b.degree(),
            Expr::Scaled(a, _) => a.degree(),
        }
    }

    /// Folds the expression over any ring.
    #[allow(clippy::too_many_arguments)] // one closure per variant reads better than a trait for two callers
    pub fn evaluate<T>(
        &self,
        constant: &impl Fn(F) -> T,
        advice: &impl Fn(Query) -> T,
        fixed: &impl Fn(Query) -> T,
        instance: &impl Fn(Query) -> T,
        sum: &impl Fn(T, T) -> T,
        product: &impl Fn(T, T) -> T,
        scaled: &impl Fn(T, F) -> T,
    ) -> T {
        let go = |e: &Expr| e.evaluate(constant, advice, fixed, instance, sum, product, scaled);
        match self {
            Expr::Constant(c) => constant(*c),
            Expr::Advice(q) => advice(*q),
            Expr::Fixed(q) => fixed(*q),
            Expr::Instance(q) => instance(*q),
            Expr::Sum(a, b) => sum(go(a), go(b)),
            Expr::Product(a, b) => product(go(a), go(b)),
            Expr::Scaled(a, c) => scaled(go(a), *c),
        }
    }
}

impl Add for Expr {
    type Output = Expr;
    fn add(self, other: Expr) -> Expr {
        Expr::Sum(Box::new(self), Box::new(other))
    }
}

impl Sub for Expr {
    type Output = Expr;
    fn sub(self, other: Expr) -> Expr {
        self + -other
    }
}

impl Mul for Expr {
    type Output = Expr;
    fn mul(self, other: Expr) -> Expr {
        Expr::Product(Box::new(self), Box::new(other))
    }
}

impl Neg for Expr {
    type Output = Expr;
    fn neg(self) -> Expr {
        Expr::Scaled(Box::new(self), -F::from(1))
    }
}
