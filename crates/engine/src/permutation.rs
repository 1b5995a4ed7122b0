//! Copied cells: the permutation argument, the twin of upstream's `plonk/permutation`.
//!
//! A running product over all rows shows that the multiset of `(value, position)` pairs equals that of `(value, next
//! position in the cycle)`, where all cells of a cycle are copies of each other (the halo2 book, "Permutation argument").

use crate::error::EngineError;
use crate::generators::Generators;
use crate::poly::{Poly, coefficients};
use crate::shape::Shape;
use crate::{C, F};
use ff::{BatchInvert, Field, PrimeField};
use halo2_proofs::transcript::{EncodedChallenge, TranscriptWrite};
use rand_core::Rng;
use zkinfer_circuits::expr::AnyColumn;
use zkinfer_circuits::gates::Description;
use zkinfer_kernels::fft::{Domain, Interpolate};
use zkinfer_kernels::program::{Builder, Gate, Id};
use zkinfer_kernels::vector::Backend;

/// What the argument needs of the key.
pub(crate) struct Permutation<B: Backend> {
    pub columns: Vec<AnyColumn>,
    /// The position that follows in a cell's cycle, as `δ^column·ω^row`: per column and row.
    positions: Vec<Vec<F>>,
    /// The same as polynomials.
    pub polys: Vec<Poly<B>>,
    /// `l_first`, `l_blind`, `l_last` and `X`.
    pub helpers: Vec<Poly<B>>,
    omega: F,
    chunk: usize,
    blinding_rows: usize,
}

/// One running product.
pub(crate) struct Product<B: Backend> {
    pub poly: Poly<B>,
    pub blind: F,
}

/// Cycles of copied cells, `(column, row)` to `(column, row)`, as upstream's keygen builds them: the smaller of two cycles
/// is merged into the larger.
fn cycles(description: &Description, n: usize) -> Option<Vec<Vec<(usize, usize)>>> {
    let columns = &description.equality;
    let identity: Vec<Vec<(usize, usize)>> = (0..columns.len())
        .map(|i| (0..n).map(|j| (i, j)).collect())
        .collect();
    let (mut next, mut cycle) = (identity.clone(), identity);
    let mut sizes = vec![vec![1usize; n]; columns.len()];
    let find = |(column, row): (AnyColumn, usize)| {
        let i = columns.iter().position(|c| *c == column)?;
        (row < n).then_some((i, row))
    };
    for [a, b] in &description.copies {
        let (a, b) = (find(*a)?, find(*b)?);
        let (mut large, mut small) = (cycle[a.0][a.1], cycle[b.0][b.1]);
        if large == small {
            continue;
        }
        if sizes[large.0][large.1] < sizes[small.0][small.1] {
            std::mem::swap(&mut large, &mut small);
        }
        sizes[large.0][large.1] += sizes[small.0][small.1];
        let mut i = small;
        loop {
            cycle[i.0][i.1] = large;
            i = next[i.0][i.1];
            if i == small {
                break;
            }
        }
        let after = next[a.0][a.1];
        next[a.0][a.1] = next[b.0][b.1];
        next[b.0][b.1] = after;
    }
    Some(next)
}

impl<B: Backend> Permutation<B> {
    pub fn new(
        backend: B,
        description: &Description,
        shape: &Shape,
        domain: &Domain,
        interpolate: &Interpolate<B>,
    ) -> Result<Self, EngineError> {
        let n = domain.n();
        let next = cycles(description, n).ok_or(EngineError::Witness {
            what: "a copied cell is outside the columns that may be copied",
        })?;
        let powers: Vec<F> = std::iter::successors(Some(F::ONE), |p| Some(*p * domain.omega()))
            .take(n)
            .collect();
        let deltas: Vec<F> = std::iter::successors(Some(F::ONE), |d| Some(*d * F::DELTA))
            .take(next.len())
            .collect();
        let positions: Vec<Vec<F>> = next
            .iter()
            .map(|column| column.iter().map(|&(i, j)| deltas[i] * powers[j]).collect())
            .collect();
        let indicator = |rows: std::ops::Range<usize>| {
            let mut values = vec![F::ZERO; n];
            values[rows].fill(F::ONE);
            coefficients(backend, interpolate, &values)
        };
        // Without copies none of these is read.
        let helpers = if positions.is_empty() {
            Vec::new()
        } else {
            let blind = n - shape.blinding_rows + 1;
            vec![
                indicator(0..1),
                indicator(blind..n),
                indicator(blind - 1..blind),
                coefficients(backend, interpolate, &powers),
            ]
        };
        Ok(Permutation {
            columns: description.equality.clone(),
            polys: positions
                .iter()
                .map(|values| coefficients(backend, interpolate, values))
                .collect(),
            positions,
            helpers,
            omega: domain.omega(),
            chunk: shape.chunk,
            blinding_rows: shape.blinding_rows,
        })
    }

    /// Number of running products.
    pub fn products(&self) -> usize {
        self.columns.len().div_ceil(self.chunk)
    }

    /// Rotation of the row behind the last usable one.
    pub fn last(&self) -> i32 {
        -(self.blinding_rows as i32)
    }

    /// Commits to the running products of one circuit; `values` are those of the columns under the argument.
    #[allow(clippy::too_many_arguments)] // one call, and every argument is of another kind
    pub fn commit<E: EncodedChallenge<C>, T: TranscriptWrite<C, E>>(
        &self,
        generators: &Generators<B>,
        interpolate: &Interpolate<B>,
        values: &[&[F]],
        beta: F,
        gamma: F,
        rng: &mut impl Rng,
        transcript: &mut T,
    ) -> Result<Vec<Product<B>>, EngineError> {
        let mut products = Vec::with_capacity(self.products());
        let mut start = F::ONE;
        let mut delta = beta;
        let chunks = values
            .chunks(self.chunk)
            .zip(self.positions.chunks(self.chunk));
        for (values, positions) in chunks {
            let n = positions[0].len();
            let mut factors = vec![F::ONE; n];
            for (values, positions) in values.iter().zip(positions) {
                for (f, (v, p)) in factors.iter_mut().zip(values.iter().zip(positions)) {
                    *f *= beta * p + gamma + v;
                }
            }
            factors.iter_mut().batch_invert();
            for values in values {
                let mut position = delta;
                for (f, v) in factors.iter_mut().zip(*values) {
                    *f *= position + gamma + v;
                    position *= self.omega;
                }
                delta *= F::DELTA;
            }
            let mut z = Vec::with_capacity(n);
            let mut product = start;
            for f in &factors {
                z.push(product);
                product *= f;
            }
            let usable = n - self.blinding_rows;
            for cell in &mut z[usable + 1..] {
                *cell = F::random(&mut *rng);
            }
            start = z[usable];
            let blind = F::random(&mut *rng);
            let commitment = generators.commit_columns(std::slice::from_ref(&z), &[blind]);
            transcript.write_point(commitment[0])?;
            products.push(Product {
                poly: coefficients(generators.backend, interpolate, &z),
                blind,
            });
        }
        Ok(products)
    }
}

/// First program column of each kind that the argument's gates read.
pub(crate) struct Places {
    /// Of a column that may be copied.
    pub column: fn(&Description, AnyColumn) -> usize,
    /// First running product.
    pub products: usize,
    /// First column of positions; the helpers follow.
    pub positions: usize,
}

/// The argument's gates in upstream's order. Challenges 1 and 2 are `β` and `γ`.
pub(crate) fn gates(
    b: &mut Builder,
    description: &Description,
    shape: &Shape,
    places: &Places,
) -> Vec<Gate> {
    let columns = &description.equality;
    if columns.is_empty() {
        return Vec::new();
    }
    let sets = columns.len().div_ceil(shape.chunk);
    let helper = places.positions + columns.len();
    let z = |b: &mut Builder, set: usize, rotation| b.column(places.products + set, rotation);
    let [first, blind, last, x] = [0, 1, 2, 3].map(|i| b.column(helper + i, 0));
    let one = b.constant(F::ONE);
    let gate = |factor: Id, rest: Id| Gate {
        factor: Some(factor),
        rest,
    };
    let mut gates = Vec::new();
    let z0 = z(b, 0, 0);
    gates.push(gate(first, b.sub(one, z0)));
    let end = z(b, sets - 1, 0);
    let square = b.mul(end, end);
    gates.push(gate(last, b.sub(square, end)));
    for set in 1..sets {
        let current = z(b, set, 0);
        let before = z(b, set - 1, -(shape.blinding_rows as i32));
        gates.push(gate(first, b.sub(current, before)));
    }
    let (beta, gamma) = (b.challenge(1), b.challenge(2));
    let unusable = b.add(last, blind);
    let usable = b.sub(one, unusable);
    let mut delta = F::ONE;
    for (set, chunk) in columns.chunks(shape.chunk).enumerate() {
        let mut left = z(b, set, 1);
        let mut right = z(b, set, 0);
        for (i, column) in chunk.iter().enumerate() {
            let value = b.column((places.column)(description, *column), 0);
            let shifted = b.add(value, gamma);
            let position = b.column(places.positions + set * shape.chunk + i, 0);
            let position = b.mul(beta, position);
            let factor = b.add(shifted, position);
            left = b.mul(left, factor);
            let place = b.mul(beta, x);
            let place = b.scale(place, delta);
            let factor = b.add(shifted, place);
            right = b.mul(right, factor);
            delta *= F::DELTA;
        }
        gates.push(gate(usable, b.sub(left, right)));
    }
    gates
}
