//! One proof, in phases.

use crate::draws::Draws;
use crate::error::EngineError;
use crate::key::{Key, coefficients};
use crate::multiopen::{self, Query};
use crate::poly::{Poly, combine, dot, powers};
use crate::quotient;
use crate::{C, F};
use ff::Field;
use halo2_proofs::transcript::{EncodedChallenge, TranscriptWrite};
use rand_core::Rng;
use rayon::prelude::*;
use std::sync::Arc;
use zkinfer_kernels::fft::{load, store};
use zkinfer_kernels::vector::{Backend, Vector};

/// One run of the circuit in a proof. Repeated columns share their polynomials.
pub(crate) struct Witness<B: Backend> {
    pub advice: Vec<Arc<Poly<B>>>,
    pub commitments: Vec<C>,
    pub draws: Draws,
}

/// A proof in the making.
///
/// Columns are committed in as many steps as the caller needs to derive challenges in between; upstream's transcript sees
/// all of them at once in [`Prover::finish`], as it does in `create_proof`.
pub struct Prover<'k, B: Backend, R> {
    key: &'k Key<B>,
    circuits: Vec<Witness<B>>,
    rng: R,
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
            commitments: Vec::with_capacity(key.shape.advice),
            draws,
        });
        Prover {
            key,
            circuits: circuits.collect(),
            rng,
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
        let commitments = key.generators.commit_columns(&full, blinds);
        let polys: Vec<Arc<Poly<B>>> = full
            .par_iter()
            .map(|values| Arc::new(coefficients(key.backend(), &key.interpolate, values)))
            .collect();
        witness.advice.extend(polys);
        witness.commitments.extend(commitments);
        Ok(&witness.commitments[first..])
    }

    /// Completes the proof for these instance columns (one list per circuit).
    ///
    /// # Errors
    /// If not all columns are committed or the instance does not fit; with negligible probability [`EngineError::Unlucky`].
    pub fn finish<E: EncodedChallenge<C>, T: TranscriptWrite<C, E>>(
        mut self,
        instances: &[Vec<Vec<F>>],
        transcript: &mut T,
    ) -> Result<(), EngineError> {
        let key = self.key;
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
        let mut instance_polys: Vec<Vec<Arc<Poly<B>>>> = Vec::with_capacity(instances.len());
        let mut instance_commitments: Vec<C> = Vec::new();
        for (i, columns) in instances.iter().enumerate() {
            if i > 0 && *columns == instances[0] {
                instance_polys.push(instance_polys[0].clone());
            } else {
                let full: Vec<Vec<F>> = columns
                    .iter()
                    .map(|column| {
                        let mut values = column.clone();
                        values.resize(n, F::ZERO);
                        values
                    })
                    .collect();
                let blinds = vec![F::ONE; full.len()];
                instance_commitments = key.generators.commit_columns(&full, &blinds);
                let polys = full
                    .par_iter()
                    .map(|values| Arc::new(coefficients(backend, &key.interpolate, values)));
                instance_polys.push(polys.collect());
            }
            for commitment in &instance_commitments {
                transcript.common_point(*commitment)?;
            }
        }
        for circuit in &self.circuits {
            for commitment in &circuit.commitments {
                transcript.write_point(*commitment)?;
            }
        }
        // θ, β, γ: drawn whether or not there are lookups and permutations.
        for _ in 0..3 {
            transcript.squeeze_challenge();
        }

        // The random polynomial of the vanishing argument.
        let random: Vec<F> = (0..n).map(|_| F::random(&mut self.rng)).collect();
        let random_blind = F::random(&mut self.rng);
        let commitment = key
            .generators
            .commit_polys(std::slice::from_ref(&random), &[random_blind]);
        transcript.write_point(commitment[0])?;

        let y = *transcript.squeeze_challenge_scalar::<()>();
        let pieces = quotient::pieces(key, &self.circuits, &instance_polys, y);
        let piece_blinds: Vec<F> = pieces.iter().map(|_| F::random(&mut self.rng)).collect();
        let stored: Vec<Vec<F>> = pieces.iter().map(|p| store(backend, p)).collect();
        for commitment in key.generators.commit_polys(&stored, &piece_blinds) {
            transcript.write_point(commitment)?;
        }
        drop(stored);

        let x = *transcript.squeeze_challenge_scalar::<()>();
        let xn = x.pow_vartime([n as u64]);
        let piece_powers: Vec<F> = std::iter::successors(Some(F::ONE), |p| Some(*p * xn))
            .take(pieces.len())
            .collect();
        let piece_refs: Vec<&[B::Scalar]> = pieces.iter().map(Vec::as_slice).collect();
        let h = combine(backend, &piece_refs, &piece_powers);
        let h_blind = piece_blinds
            .iter()
            .zip(&piece_powers)
            .map(|(b, p)| *b * p)
            .sum();
        let mut random_poly = vec![B::Scalar::zero(); h.len()];
        load(backend, &random, &mut random_poly);

        // Every opened polynomial gets a number of its own, in order of appearance.
        let mut queries: Vec<Query<'_, B>> = Vec::new();
        let mut evaluated = Vec::new();
        let mut first = 0;
        let mut advice_evaluated = Vec::new();
        for (circuit, instance) in self.circuits.iter().zip(&instance_polys) {
            evaluated.extend(queries.len()..queries.len() + shape.instance_queries.len());
            queries.extend(shape.instance_queries.iter().map(|q| Query {
                id: first + q.column,
                poly: &instance[q.column],
                blind: F::ONE,
                rotation: q.rotation,
            }));
            first += shape.instance;
            advice_evaluated.extend(queries.len()..queries.len() + shape.advice_queries.len());
            queries.extend(shape.advice_queries.iter().map(|q| Query {
                id: first + q.column,
                poly: &circuit.advice[q.column],
                blind: circuit.draws.blinds[q.column],
                rotation: q.rotation,
            }));
            first += shape.advice;
        }
        evaluated.extend(advice_evaluated);
        evaluated.extend(queries.len()..queries.len() + shape.fixed_queries.len());
        queries.extend(shape.fixed_queries.iter().map(|q| Query {
            id: first + q.column,
            poly: &key.fixed[q.column],
            blind: F::ONE,
            rotation: q.rotation,
        }));
        first += key.fixed.len();
        for (poly, blind) in [(&h, h_blind), (&random_poly, random_blind)] {
            queries.push(Query {
                id: first,
                poly,
                blind,
                rotation: 0,
            });
            first += 1;
        }
        evaluated.push(queries.len() - 1);

        let points = Points::new(key, x, &queries);
        let evaluations: Vec<F> = evaluated
            .par_iter()
            .map(|&i| dot(backend, queries[i].poly, points.powers(queries[i].rotation)))
            .collect();
        for evaluation in evaluations {
            transcript.write_scalar(evaluation)?;
        }
        multiopen::prove(key, &points, &queries, &mut self.rng, transcript)
    }
}

/// The points at which polynomials are opened, `x·ω^rotation`, in order of their first query.
pub(crate) struct Points<B: Backend> {
    points: Vec<(i32, F, Poly<B>)>,
}

impl<B: Backend> Points<B> {
    fn new(key: &Key<B>, x: F, queries: &[Query<'_, B>]) -> Self {
        let mut points: Vec<(i32, F, Poly<B>)> = Vec::new();
        let n = key.domain.n();
        for query in queries {
            if !points.iter().any(|p| p.0 == query.rotation) {
                let power = i64::from(query.rotation).rem_euclid(n as i64) as u64;
                let point = x * key.domain.omega().pow_vartime([power]);
                let vectors = key.domain.vectors::<B>();
                points.push((query.rotation, point, powers(key.backend(), point, vectors)));
            }
        }
        Points { points }
    }

    /// Position among the points.
    pub fn index(&self, rotation: i32) -> usize {
        let found = self.points.iter().position(|p| p.0 == rotation);
        found.expect("the points were made from the same queries")
    }

    /// The point with this index.
    pub fn point(&self, index: usize) -> F {
        self.points[index].1
    }

    fn powers(&self, rotation: i32) -> &Poly<B> {
        &self.points[self.index(rotation)].2
    }
}
