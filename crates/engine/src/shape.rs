//! What upstream's `ConstraintSystem` derives from a description: which cells are opened, in which order, and the degree.

use zkinfer_circuits::expr::{AnyColumn, Expr, Query};
use zkinfer_circuits::gates::Description;

/// Queries in the order in which halo2's `configure` meets them, and sizes.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub advice: usize,
    pub instance: usize,
    pub advice_queries: Vec<Query>,
    pub fixed_queries: Vec<Query>,
    pub instance_queries: Vec<Query>,
    /// Number of pieces of the quotient, one less than the degree.
    pub pieces: usize,
    /// Columns of the permutation argument in one running product.
    pub chunk: usize,
    /// Rows at the end of every advice column that hold random values: one more than upstream's `blinding_factors`.
    pub blinding_rows: usize,
}

/// Smallest degree of any circuit (`permutation::Argument::required_degree`).
const MIN_DEGREE: usize = 3;

impl Shape {
    pub fn new(description: &Description) -> Shape {
        let mut shape = Shape {
            advice: description.advice,
            instance: description.instance,
            advice_queries: Vec::new(),
            fixed_queries: Vec::new(),
            instance_queries: Vec::new(),
            pieces: 0,
            chunk: 0,
            blinding_rows: 0,
        };
        for column in &description.equality {
            shape.visit(&match *column {
                AnyColumn::Advice(c) => Expr::advice(c),
                AnyColumn::Fixed(c) => Expr::fixed(c),
                AnyColumn::Instance(c) => Expr::instance(c),
            });
        }
        let mut degree = MIN_DEGREE;
        for gate in &description.gates {
            shape.visit(&gate.poly);
            degree = degree.max(gate.poly.degree());
        }
        shape.pieces = degree - 1;
        shape.chunk = degree - 2;
        let mut per_column = vec![0usize; description.advice];
        for q in &shape.advice_queries {
            per_column[q.column] += 1;
        }
        // `ConstraintSystem::blinding_factors`: one evaluation per query (at least 3), one at x_3, one to be safe; and the
        // row before them.
        shape.blinding_rows = per_column.into_iter().max().unwrap_or(1).max(3) + 3;
        shape
    }

    fn visit(&mut self, poly: &Expr) {
        let note = |list: &mut Vec<Query>, q: Query| {
            if !list.contains(&q) {
                list.push(q);
            }
        };
        match poly {
            Expr::Constant(_) => {}
            Expr::Advice(q) => note(&mut self.advice_queries, *q),
            Expr::Fixed(q) => note(&mut self.fixed_queries, *q),
            Expr::Instance(q) => note(&mut self.instance_queries, *q),
            Expr::Sum(a, b) | Expr::Product(a, b) => {
                self.visit(a);
                self.visit(b);
            }
            Expr::Scaled(a, _) => self.visit(a),
        }
    }
}
