//! One proof, in phases.

use crate::draws::Draws;
use crate::error::EngineError;
use crate::key::Key;
use crate::multiopen::{self, Query};
use crate::points::Points;
use crate::poly::{Poly, coefficients, coefficients_with, combine, dot};
use crate::quotient;
use crate::stages::{Clock, Stages};
use crate::witness::Witness;
use crate::{C, F};
use ff::Field;
use halo2_proofs::transcript::{EncodedChallenge, TranscriptWrite};
use rand_core::Rng;
use rayon::prelude::*;
use std::sync::Arc;
use zkinfer_circuits::expr::AnyColumn;
use zkinfer_kernels::fft::{load, store};
use zkinfer_kernels::vector::{Backend, Vector};

/// A proof in the making.
///
/// Columns are committed in as many steps as the caller needs to derive challenges in between; upstream's transcript sees
/// all of them at once in [`Prover::finish`], as it does in `create_proof`.
pub struct Prover<'k, B: Backend, R> {
    key: &'k Key<B>,
    circuits: Vec<Witness<B>>,
    rng: R,
    stages: Stages,
}

impl<'k, B: Backend, R: Rng> Prover<'k, B, R> {
    /// Starts a proof of one run of the circuit. Draws the blinding of all advice columns.
    pub fn new(key: &'k Key<B>, rng: R) -> Self {
        Prover::of_many(key, 1, &vec![false; key.shape.advice], rng)
    }

    /// Starts a proof of several runs of the circuit. Columns that are marked in `repeated` will be the same in all of them,
    /// blinding included: see [`Prover::repeat`].
    ///
    /// # Panics
    /// If `repeated` has not one entry per advice column.
    pub fn of_many(key: &'k Key<B>, circuits: usize, repeated: &[bool], mut rng: R) -> Self {
        assert_eq!(repeated.len(), key.shape.advice, "one mark per column");
        let draws = Draws::new(circuits, repeated, key.shape.blinding_rows, &mut rng);
        let circuits = draws.into_iter().map(|draws| Witness {
            advice: Vec::with_capacity(key.shape.advice),
            values: Vec::with_capacity(key.shape.advice),
            commitments: Vec::with_capacity(key.shape.advice),
            products: Vec::new(),
            draws,
        });
        Prover {
            key,
            circuits: circuits.collect(),
            rng,
            stages: Stages::default(),
        }
    }

    /// The next `count` columns of a circuit are those of the first circuit, at no cost.
    ///
    /// # Errors
    /// If the first circuit's are not committed, or were not announced as repeated.
    pub fn repeat(&mut self, circuit: usize, count: usize) -> Result<(), EngineError> {
        let at = circuit.clamp(1, self.circuits.len());
        let (first, rest) = self.circuits.split_at_mut(at);
        let (Some(first), Some(witness)) = (first.first(), rest.first_mut()) else {
            return Err(EngineError::Witness {
                what: "only later circuits repeat columns",
            });
        };
        let range = witness.advice.len()..witness.advice.len() + count;
        let same = first.advice.len() >= range.end
            && range
                .clone()
                .all(|i| first.draws.rows[i] == witness.draws.rows[i]);
        if !same {
            return Err(EngineError::Witness {
                what: "a repeated column is not there or was not announced",
            });
        }
        witness
            .advice
            .extend_from_slice(&first.advice[range.clone()]);
        witness
            .values
            .extend_from_slice(&first.values[range.clone()]);
        witness
            .commitments
            .extend_from_slice(&first.commitments[range]);
        Ok(())
    }

    /// Number of runs of the circuit.
    pub fn circuits(&self) -> usize {
        self.circuits.len()
    }

    /// The blinding of a circuit's columns.
    pub fn draws(&self, circuit: usize) -> &Draws {
        &self.circuits[circuit].draws
    }

    /// Commits to the next columns (usable rows each, shorter ones are filled up with zeros) and returns the commitments.
    ///
    /// # Errors
    /// If there are more columns than the circuit has, or a column is longer than the usable rows.
    pub fn commit(&mut self, circuit: usize, columns: &[Vec<F>]) -> Result<&[C], EngineError> {
        let key = self.key;
        let (n, blinding) = (key.domain.n(), key.shape.blinding_rows);
        let witness = &mut self.circuits[circuit];
        let first = witness.advice.len();
        if first + columns.len() > key.shape.advice {
            return Err(EngineError::Witness {
                what: "more columns than the circuit has",
            });
        }
        if columns.iter().any(|c| c.len() > n - blinding) {
            return Err(EngineError::Witness {
                what: "a column is longer than the usable rows",
            });
        }
        let rows = &witness.draws.rows[first..];
        let blinds = &witness.draws.blinds[first..];
        let full: Vec<Vec<F>> = columns
            .par_iter()
            .zip(rows)
            .map(|(column, rows)| {
                let mut values = Vec::with_capacity(n);
                values.extend_from_slice(column);
                values.resize(n - blinding, F::ZERO);
                values.extend_from_slice(rows);
                values
            })
            .collect();
        let mut clock = Clock::start();
        let commitments = key.generators.commit_columns(&full, blinds);
        clock.lap(&mut self.stages.columns);
        let polys: Vec<Arc<Poly<B>>> = full
            .par_iter()
            .map_init(Vec::new, |lanes, values| {
                let (backend, interpolate) = (key.backend(), &key.interpolate);
                Arc::new(coefficients_with(backend, interpolate, values, lanes))
            })
            .collect();
        clock.lap(&mut self.stages.interpolation);
        witness.advice.extend(polys);
        let copied = |c: usize| key.permutation.columns.contains(&AnyColumn::Advice(c));
        let values = full.into_iter().enumerate();
        witness
            .values
            .extend(values.map(|(i, values)| copied(first + i).then_some(values)));
        witness.commitments.extend(commitments);
        Ok(&witness.commitments[first..])
    }

    /// Completes the proof for these instance columns (one list per circuit); returns where the time went.
    ///
    /// # Errors
    /// If not all columns are committed or the instance does not fit; with negligible probability [`EngineError::Unlucky`].
    pub fn finish<E: EncodedChallenge<C>, T: TranscriptWrite<C, E>>(
        mut self,
        instances: &[Vec<Vec<F>>],
        transcript: &mut T,
    ) -> Result<Stages, EngineError> {
        let key = self.key;
        let mut clock = Clock::start();
        let backend = key.backend();
        let shape = &key.shape;
        let n = key.domain.n();
        if instances.len() != self.circuits.len()
            || instances.iter().any(|i| {
                i.len() != shape.instance || i.iter().any(|c| c.len() > n - shape.blinding_rows)
            })
        {
            return Err(EngineError::Witness {
                what: "instance columns",
            });
        }
        if self.circuits.iter().any(|c| c.advice.len() != shape.advice) {
            return Err(EngineError::Witness {
                what: "columns are missing",
            });
        }

        key.vk.hash_into(transcript)?;
        let instance_polys = self.commit_instances(instances, transcript)?;
        for circuit in &self.circuits {
            for commitment in &circuit.commitments {
                transcript.write_point(*commitment)?;
            }
        }
        // θ, β, γ: drawn whether or not there are lookups and copies.
        transcript.squeeze_challenge();
        let beta = *transcript.squeeze_challenge_scalar::<()>();
        let gamma = *transcript.squeeze_challenge_scalar::<()>();
        self.commit_products(instances, beta, gamma, transcript)?;

        // The random polynomial of the vanishing argument.
        let random: Vec<F> = (0..n).map(|_| F::random(&mut self.rng)).collect();
        let random_blind = F::random(&mut self.rng);
        let commitment = key
            .generators
            .commit_polys(std::slice::from_ref(&random), &[random_blind]);
        transcript.write_point(commitment[0])?;

        let y = *transcript.squeeze_challenge_scalar::<()>();
        let mut stages = self.stages;
        clock.lap(&mut stages.others);
        let challenges = [y, beta, gamma];
        let pieces = quotient::pieces(
            key,
            &self.circuits,
            &instance_polys,
            &challenges,
            &mut stages,
        );
        let mut clock = Clock::start();
        let piece_blinds: Vec<F> = pieces.iter().map(|_| F::random(&mut self.rng)).collect();
        let stored: Vec<Vec<F>> = pieces.iter().map(|p| store(backend, p)).collect();
        for commitment in key.generators.commit_polys(&stored, &piece_blinds) {
            transcript.write_point(commitment)?;
        }
        drop(stored);
        clock.lap(&mut stages.pieces);

        let x = *transcript.squeeze_challenge_scalar::<()>();
        let xn = x.pow_vartime([n as u64]);
        let powers: Vec<F> = std::iter::successors(Some(F::ONE), |p| Some(*p * xn))
            .take(pieces.len())
            .collect();
        let pieces: Vec<&[B::Scalar]> = pieces.iter().map(Vec::as_slice).collect();
        let h = combine(backend, &pieces, &powers);
        let h_blind = piece_blinds.iter().zip(&powers).map(|(b, p)| *b * p).sum();
        let mut random_poly = vec![B::Scalar::zero(); h.len()];
        load(backend, &random, &mut random_poly);
        drop(random);

        let queries = queries(
            key,
            &self.circuits,
            &instance_polys,
            (&h, h_blind),
            (&random_poly, random_blind),
        );
        let points = Points::new(key, x, queries.iter().map(|q| q.rotation));
        let mut evaluated: Vec<&Query<'_, B>> =
            queries.iter().filter(|q| q.order.0 != UNSENT).collect();
        evaluated.sort_by_key(|q| q.order);
        let evaluations: Vec<F> = evaluated
            .par_iter()
            .map(|q| dot(backend, q.poly, points.powers(q.rotation)))
            .collect();
        for evaluation in evaluations {
            transcript.write_scalar(evaluation)?;
        }
        clock.lap(&mut stages.evaluations);
        multiopen::prove(
            key,
            &points,
            &queries,
            &mut self.rng,
            transcript,
            &mut stages,
        )?;
        Ok(stages)
    }

    /// Instance columns as polynomials; equal ones of several circuits are made once.
    fn commit_instances<E: EncodedChallenge<C>, T: TranscriptWrite<C, E>>(
        &self,
        instances: &[Vec<Vec<F>>],
        transcript: &mut T,
    ) -> Result<Vec<Vec<Arc<Poly<B>>>>, EngineError> {
        let key = self.key;
        let mut polys: Vec<Vec<Arc<Poly<B>>>> = Vec::with_capacity(instances.len());
        let mut commitments: Vec<C> = Vec::new();
        for (i, columns) in instances.iter().enumerate() {
            if i > 0 && *columns == instances[i - 1] {
                polys.push(polys[i - 1].clone());
            } else {
                let full: Vec<Vec<F>> = columns.iter().map(|c| self.filled_up(c)).collect();
                commitments = key
                    .generators
                    .commit_columns(&full, &vec![F::ONE; full.len()]);
                let poly = |values: &Vec<F>| {
                    Arc::new(coefficients(key.backend(), &key.interpolate, values))
                };
                polys.push(full.par_iter().map(poly).collect());
            }
            for commitment in &commitments {
                transcript.common_point(*commitment)?;
            }
        }
        Ok(polys)
    }

    /// A column with zeros behind its end.
    fn filled_up(&self, column: &[F]) -> Vec<F> {
        let mut values = column.to_vec();
        values.resize(self.key.domain.n(), F::ZERO);
        values
    }

    /// Running products of the permutation argument, if cells are copied.
    fn commit_products<E: EncodedChallenge<C>, T: TranscriptWrite<C, E>>(
        &mut self,
        instances: &[Vec<Vec<F>>],
        beta: F,
        gamma: F,
        transcript: &mut T,
    ) -> Result<(), EngineError> {
        let key = self.key;
        let permutation = &key.permutation;
        for (i, columns) in instances.iter().enumerate() {
            let instance: Vec<Vec<F>> = (columns.iter().enumerate())
                .map(|(c, column)| {
                    let copied = permutation.columns.contains(&AnyColumn::Instance(c));
                    if copied {
                        self.filled_up(column)
                    } else {
                        Vec::new()
                    }
                })
                .collect();
            let values: Option<Vec<&[F]>> = permutation
                .columns
                .iter()
                .map(|column| match *column {
                    AnyColumn::Advice(c) => self.circuits[i].values[c].as_deref(),
                    AnyColumn::Fixed(c) => key.fixed_values[c].as_deref(),
                    AnyColumn::Instance(c) => Some(instance[c].as_slice()),
                })
                .collect();
            let values = values.ok_or(EngineError::Witness {
                what: "values of a copied column are missing",
            })?;
            let products = permutation.commit(
                &key.generators,
                &key.interpolate,
                &values,
                beta,
                gamma,
                &mut self.rng,
                transcript,
            )?;
            self.circuits[i].products = products;
        }
        Ok(())
    }
}

/// Groups of evaluations in the order in which they are sent; the quotient's is not.
const INSTANCE: u8 = 0;
const ADVICE: u8 = 1;
const FIXED: u8 = 2;
const RANDOM: u8 = 3;
const POSITIONS: u8 = 4;
const PRODUCTS: u8 = 5;
const UNSENT: u8 = 6;

/// Everything that is opened, in upstream's order; polynomials are numbered in order of appearance.
fn queries<'a, B: Backend>(
    key: &'a Key<B>,
    circuits: &'a [Witness<B>],
    instances: &'a [Vec<Arc<Poly<B>>>],
    quotient: (&'a Poly<B>, F),
    random: (&'a Poly<B>, F),
) -> Vec<Query<'a, B>> {
    let shape = &key.shape;
    let last = key.permutation.last();
    let mut queries: Vec<Query<'a, B>> = Vec::new();
    let mut first = 0;
    let mut push = |id: usize, poly: &'a Poly<B>, blind: F, rotation: i32, group: u8, rank| {
        let order = (group, rank, queries.len());
        queries.push(Query {
            id,
            poly,
            blind,
            rotation,
            order,
        });
    };
    for (circuit, instance) in circuits.iter().zip(instances) {
        for q in &shape.instance_queries {
            let poly = &instance[q.column];
            push(first + q.column, poly, F::ONE, q.rotation, INSTANCE, 0);
        }
        first += shape.instance;
        for q in &shape.advice_queries {
            let blind = circuit.draws.blinds[q.column];
            let poly = &circuit.advice[q.column];
            push(first + q.column, poly, blind, q.rotation, ADVICE, 0);
        }
        first += shape.advice;
        let products = &circuit.products;
        for (i, p) in products.iter().enumerate() {
            push(first + i, &p.poly, p.blind, 0, PRODUCTS, first + i);
            push(first + i, &p.poly, p.blind, 1, PRODUCTS, first + i);
        }
        for (i, p) in products.iter().enumerate().rev().skip(1) {
            push(first + i, &p.poly, p.blind, last, PRODUCTS, first + i);
        }
        first += products.len();
    }
    for q in &shape.fixed_queries {
        let poly = &key.fixed[q.column];
        push(first + q.column, poly, F::ONE, q.rotation, FIXED, 0);
    }
    first += key.fixed.len();
    for (i, poly) in key.permutation.polys.iter().enumerate() {
        push(first + i, poly, F::ONE, 0, POSITIONS, 0);
    }
    first += key.permutation.polys.len();
    push(first, quotient.0, quotient.1, 0, UNSENT, 0);
    push(first + 1, random.0, random.1, 0, RANDOM, 0);
    queries
}
