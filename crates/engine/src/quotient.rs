//! The quotient of all gates by the vanishing polynomial, coset by coset.
//!
//! A polynomial `h` of degree below `d·n` is known from its values on `d` cosets `g_j·⟨ω⟩`: interpolation on one of them
//! yields `h mod (X^n − g_j^n) = Σ_q g_j^(nq)·h_q`, and the pieces `h_q` follow from these `d` equations. No extended domain
//! is held in memory, and a quotient of degree 3 takes 3 cosets.

use crate::F;
use crate::key::Key;
use crate::poly::{Poly, combine, horner, powers, scale};
use crate::stages::{Clock, Stages};
use crate::witness::Witness;
use ff::Field;
use rayon::prelude::*;
use std::sync::Arc;
use zkinfer_kernels::fft::Evaluate;
use zkinfer_kernels::program::run_rows;
use zkinfer_kernels::vector::{Backend, Vector};

/// The pieces `h_0, h_1, …` of `Σ y^… · gate / (X^n − 1)`, gates of all circuits in order. Challenges: `y`, `β`, `γ`.
pub(crate) fn pieces<B: Backend>(
    key: &Key<B>,
    circuits: &[Witness<B>],
    instances: &[Vec<Arc<Poly<B>>>],
    challenges: &[F; 3],
    stages: &mut Stages,
) -> Vec<Poly<B>> {
    let mut clock = Clock::start();
    let n = key.domain.n() as u64;
    let mut remainders = Vec::with_capacity(key.cosets.len());
    let mut values = Values::<B> {
        first: Vec::new(),
        own: Vec::new(),
        differs: Vec::new(),
    };
    let first = polys(key, &circuits[0], &instances[0]);
    let prepared = key.gates.program.prepare(key.backend(), challenges);
    let next_circuit = challenges[0].pow_vartime([key.gates.gates as u64]);
    for coset in 0..key.cosets.len() {
        let vectors = key.domain.vectors::<B>();
        let mut sum: Poly<B> = Vec::new();
        for (i, (circuit, instance)) in circuits.iter().zip(instances).enumerate() {
            let evaluate = &key.cosets[coset].1;
            if i == 0 {
                values.of_first(evaluate, &first);
            } else {
                values.of_other(evaluate, &first, &polys(key, circuit, instance));
            }
            clock.lap(&mut stages.cosets);
            let columns = values.columns();
            let mut numerator = vec![B::Scalar::zero(); vectors];
            let chunk = vectors.div_ceil(4 * rayon::current_num_threads()).max(16);
            numerator
                .par_chunks_mut(chunk)
                .enumerate()
                .for_each(|(c, out)| {
                    let rows = c * chunk..c * chunk + out.len();
                    let program = &key.gates.program;
                    run_rows(
                        key.backend(),
                        program,
                        &prepared,
                        &columns,
                        rows,
                        &mut [out],
                    );
                });
            if i == 0 {
                sum = numerator;
            } else {
                horner(key.backend(), &mut sum, next_circuit, &numerator);
            }
            clock.lap(&mut stages.gates);
        }
        let mut poly = vec![B::Scalar::zero(); vectors];
        key.interpolate.run(&sum, &mut poly);
        let back = key.cosets[coset].0.invert();
        let back = back.expect("shifts are products of roots of unity");
        scale(
            key.backend(),
            &mut poly,
            &powers(key.backend(), back, vectors),
        );
        remainders.push(poly);
    }
    let nodes: Vec<F> = key.cosets.iter().map(|(s, _)| s.pow_vartime([n])).collect();
    let remainders: Vec<&[B::Scalar]> = remainders.iter().map(Vec::as_slice).collect();
    let pieces = inverse_vandermonde(&nodes)
        .into_par_iter()
        .map(|mut row| {
            // On a coset X^n − 1 is a constant.
            for (c, node) in row.iter_mut().zip(&nodes) {
                let inverse = (*node - F::ONE).invert();
                *c *= inverse.expect("cosets avoid the domain");
            }
            combine(key.backend(), &remainders, &row)
        })
        .collect();
    clock.lap(&mut stages.pieces);
    pieces
}

/// A circuit's polynomials in the order of the gate program's columns.
fn polys<'a, B: Backend>(
    key: &'a Key<B>,
    circuit: &'a Witness<B>,
    instance: &'a [Arc<Poly<B>>],
) -> Vec<&'a Poly<B>> {
    (circuit.advice.iter().map(|p| &**p))
        .chain(&key.fixed)
        .chain(instance.iter().map(|p| &**p))
        .chain(circuit.products.iter().map(|p| &p.poly))
        .chain(&key.permutation.polys)
        .chain(&key.permutation.helpers)
        .collect()
}

/// Values of the columns of one circuit on one coset; buffers are reused.
struct Values<B: Backend> {
    /// Of the first circuit.
    first: Vec<Poly<B>>,
    /// Of a later circuit, where they differ from the first's.
    own: Vec<Poly<B>>,
    differs: Vec<bool>,
}

impl<B: Backend> Values<B> {
    /// The first circuit's values.
    fn of_first(&mut self, evaluate: &Evaluate<B>, first: &[&Poly<B>]) {
        let zero = || vec![B::Scalar::zero(); first[0].len()];
        self.first.resize_with(first.len(), zero);
        self.differs.clear();
        first
            .par_iter()
            .zip(&mut self.first)
            .for_each_init(zero, |scratch, (poly, out)| {
                evaluate.run(poly, scratch, out)
            });
    }

    /// A later circuit's.
    fn of_other(&mut self, evaluate: &Evaluate<B>, first: &[&Poly<B>], polys: &[&Poly<B>]) {
        let zero = || vec![B::Scalar::zero(); first[0].len()];
        self.differs = (polys.iter().zip(first))
            .map(|(poly, first)| !std::ptr::eq(*poly, *first))
            .collect();
        self.own.resize_with(polys.len(), Vec::new);
        (polys.par_iter().zip(&self.differs).zip(&mut self.own))
            .filter(|((_, differs), _)| **differs)
            .for_each_init(zero, |scratch, ((poly, _), out)| {
                out.resize(scratch.len(), B::Scalar::zero());
                evaluate.run(poly, scratch, out);
            });
    }

    /// The columns of the circuit that was evaluated last.
    fn columns(&self) -> Vec<&[B::Scalar]> {
        let differs = self.differs.iter().chain(std::iter::repeat(&false));
        (self.first.iter().enumerate().zip(differs))
            .map(|((i, first), differs)| if *differs { &self.own[i] } else { first })
            .map(Vec::as_slice)
            .collect()
    }
}

/// Row `q`, entry `j`: coefficient `q` of the polynomial that is 1 at `nodes[j]` and 0 at the others.
fn inverse_vandermonde(nodes: &[F]) -> Vec<Vec<F>> {
    let d = nodes.len();
    let mut rows = vec![vec![F::ZERO; d]; d];
    for j in 0..d {
        let mut lagrange = vec![F::ONE];
        for (_, node) in nodes.iter().enumerate().filter(|(i, _)| *i != j) {
            let inverse = (nodes[j] - node).invert().expect("cosets are distinct");
            let mut next = vec![F::ZERO; lagrange.len() + 1];
            for (c, l) in lagrange.iter().enumerate() {
                next[c + 1] += *l * inverse;
                next[c] -= *l * node * inverse;
            }
            lagrange = next;
        }
        for (row, c) in rows.iter_mut().zip(lagrange) {
            row[j] = c;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_give_the_pieces_back() {
        let nodes: Vec<F> = [3, 5, 11, 40].map(F::from).to_vec();
        let pieces: Vec<F> = [7, 0, 9, 1].map(F::from).to_vec();
        let at = |x: &F| pieces.iter().rev().fold(F::ZERO, |sum, p| sum * x + p);
        let remainders: Vec<F> = nodes.iter().map(at).collect();
        let back: Vec<F> = inverse_vandermonde(&nodes)
            .iter()
            .map(|row| row.iter().zip(&remainders).map(|(a, b)| *a * b).sum())
            .collect();
        assert_eq!(back, pieces);
    }
}
