//! The quotient of all gates by the vanishing polynomial, coset by coset.
//!
//! A polynomial `h` of degree below `d·n` is known from its values on `d` cosets `g_j·⟨ω⟩`: interpolation on one of them
//! yields `h mod (X^n − g_j^n) = Σ_q g_j^(nq)·h_q`, and the pieces `h_q` follow from these `d` equations. No extended domain
//! is held in memory, and a quotient of degree 3 takes 3 cosets.

use crate::F;
use crate::key::Key;
use crate::poly::{Poly, combine, powers, scale};
use crate::prover::Witness;
use ff::Field;
use rayon::prelude::*;
use zkinfer_kernels::fft::load_values;
use zkinfer_kernels::vector::{Backend, Vector};

pub(crate) fn pieces<B: Backend>(
    key: &Key<B>,
    circuits: &[Witness<B>],
    instances: &[Vec<Poly<B>>],
    y: F,
) -> Vec<Poly<B>> {
    let backend = key.backend();
    let vectors = key.domain.vectors::<B>();
    let n = key.domain.n() as u64;
    let remainders: Vec<Poly<B>> = key
        .cosets
        .iter()
        .map(|(shift, evaluate)| {
            let values = |polys: Vec<&Poly<B>>| -> Vec<Vec<F>> {
                polys
                    .par_iter()
                    .map(|poly| {
                        let mut scratch = vec![B::Scalar::zero(); vectors];
                        let mut out = vec![B::Scalar::zero(); vectors];
                        evaluate.run(poly, &mut scratch, &mut out);
                        {
                            let st = zkinfer_kernels::fft::store(backend, &out);
                            let l = B::Scalar::LANES;
                            (0..st.len())
                                .map(|i| st[(i % vectors) * l + i / vectors])
                                .collect()
                        }
                    })
                    .collect()
            };
            let fixed = values(key.fixed.iter().collect());
            let mut sum = vec![F::ZERO; n as usize];
            for (circuit, instance) in circuits.iter().zip(instances) {
                let advice = values(circuit.advice.iter().map(|a| &**a).collect());
                let instance = values(instance.iter().collect());
                sum = (0..n as usize)
                    .into_par_iter()
                    .map(|i| {
                        let at = |c: &Vec<F>, r: i32| {
                            c[(i as i64 + r as i64).rem_euclid(n as i64) as usize]
                        };
                        let mut acc = sum[i];
                        for g in &key.description.gates {
                            let v = g.poly.evaluate(
                                &|c| c,
                                &|q| at(&advice[q.column], q.rotation),
                                &|q| at(&fixed[q.column], q.rotation),
                                &|q| at(&instance[q.column], q.rotation),
                                &|a: F, b| a + b,
                                &|a, b| a * b,
                                &|a, c| a * c,
                            );
                            acc = acc * y + v;
                        }
                        acc
                    })
                    .collect();
            }
            let vanishing = shift.pow_vartime([n]) - F::ONE;
            let inverse = vanishing.invert().expect("a coset avoids the domain");
            sum.iter_mut().for_each(|s| *s *= inverse);
            let mut lanes = vec![B::Scalar::zero(); vectors];
            load_values(backend, &sum, &mut lanes);
            let mut poly = vec![B::Scalar::zero(); vectors];
            key.interpolate.run(&lanes, &mut poly);
            let back = shift.invert().expect("shifts are powers of roots of unity");
            scale(backend, &mut poly, &powers(backend, back, vectors));
            poly
        })
        .collect();
    let nodes: Vec<F> = key.cosets.iter().map(|(s, _)| s.pow_vartime([n])).collect();
    let refs: Vec<&[B::Scalar]> = remainders.iter().map(Vec::as_slice).collect();
    inverse_vandermonde(&nodes)
        .par_iter()
        .map(|row| combine(backend, &refs, row))
        .collect()
}

/// Row `q`, entry `j`: coefficient `q` of the polynomial that is 1 at `nodes[j]` and 0 at the others.
fn inverse_vandermonde(nodes: &[F]) -> Vec<Vec<F>> {
    let d = nodes.len();
    let mut rows = vec![vec![F::ZERO; d]; d];
    for j in 0..d {
        let mut lagrange = vec![F::ONE];
        for (i, node) in nodes.iter().enumerate().filter(|(i, _)| *i != j) {
            let inverse = (nodes[j] - node).invert();
            let inverse = inverse.expect("cosets are distinct");
            let _ = i;
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
