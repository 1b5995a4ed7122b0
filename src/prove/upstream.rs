//! The reference: upstream's `create_proof`.
//!
//! It has no challenge phases. It draws all blinding values from the generator that it is given, in a fixed order; making
//! the same draws beforehand gives the commitments of phases 1 and 2, and with them the challenges. The bytes of the
//! finished proof are compared with these commitments, so a change of upstream's order is an error here and never a wrong
//! proof.

use super::engine::Columns;
use crate::error::ProveError;
use ff::PrimeField;
use group::{Curve, GroupEncoding};
use halo2_proofs::plonk::{ProvingKey, create_proof, keygen_pk};
use halo2_proofs::poly::EvaluationDomain;
use halo2_proofs::poly::commitment::{Blind, Params};
use halo2_proofs::transcript::{Blake2bWrite, Challenge255};
use rand_chacha::ChaCha20Rng;
use rand_core::TryRng;
use rayon::prelude::*;
use std::convert::Infallible;
use std::sync::Arc;
use zkinfer_circuits::circuit::{PlanCircuit, with_description};
use zkinfer_circuits::layout::BLINDING_ROWS;
use zkinfer_circuits::verify::Plan;
use zkinfer_circuits::{C, F};
use zkinfer_engine::Draws;

/// Upstream's proving key.
pub(crate) struct Key {
    params: Arc<Params<C>>,
    circuit: PlanCircuit,
    key: ProvingKey<C>,
}

impl Key {
    pub fn new(plan: &Plan, params: Arc<Params<C>>) -> Result<Key, ProveError> {
        let circuit = plan.circuit();
        let vk = circuit.verifying_key(&params).map_err(ProveError::Halo2)?;
        let key = with_description(circuit.description(), || keygen_pk(&params, vk, &circuit));
        Ok(Key {
            key: key.map_err(ProveError::Halo2)?,
            params,
            circuit,
        })
    }
}

/// Prepared bytes, then another generator's.
struct Replay {
    prepared: std::vec::IntoIter<u8>,
    then: ChaCha20Rng,
}

impl TryRng for Replay {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        if self.prepared.len() == 0 {
            return self.then.try_fill_bytes(out);
        }
        out.iter_mut()
            .zip(&mut self.prepared)
            .for_each(|(o, b)| *o = b);
        Ok(())
    }
}

/// A proof in the making.
pub(crate) struct Prover<'k> {
    key: &'k Key,
    runs: Vec<Vec<Vec<F>>>,
    commitments: Vec<Vec<C>>,
    draws: Vec<Draws>,
    rng: ChaCha20Rng,
}

impl<'k> Prover<'k> {
    pub fn new(key: &'k Key, runs: usize, repeated: &[bool], mut rng: ChaCha20Rng) -> Self {
        let draws = Draws::new(runs, repeated, BLINDING_ROWS, &mut rng);
        Prover {
            key,
            runs: vec![Vec::new(); runs],
            commitments: vec![Vec::new(); runs],
            draws,
            rng,
        }
    }

    /// What upstream draws for its advice columns, as bytes: elements are drawn from 64, reduced.
    fn prepared(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for draws in &self.draws {
            for v in draws.rows.iter().flatten().chain(&draws.blinds) {
                bytes.extend(v.to_repr());
                bytes.extend([0; 32]);
            }
        }
        bytes
    }
}

impl Columns for Prover<'_> {
    fn draws(&self, run: usize) -> &Draws {
        &self.draws[run]
    }

    fn commit(&mut self, run: usize, columns: &[Vec<F>]) -> Result<Vec<C>, ProveError> {
        let first = self.runs[run].len();
        let k = self.key.params.k();
        let domain = EvaluationDomain::new(1, k);
        let draws = &self.draws[run];
        let commitments: Vec<C> = columns
            .par_iter()
            .enumerate()
            .map(|(i, column)| {
                let mut values = Vec::with_capacity(1 << k);
                values.extend_from_slice(column);
                values.extend_from_slice(&draws.rows[first + i]);
                let poly = domain.lagrange_from_vec(values);
                self.key
                    .params
                    .commit_lagrange(&poly, Blind(draws.blinds[first + i]))
                    .to_affine()
            })
            .collect();
        self.runs[run].extend_from_slice(columns);
        self.commitments[run].extend_from_slice(&commitments);
        Ok(commitments)
    }

    fn repeat(&mut self, run: usize, count: usize) -> Result<(), ProveError> {
        let range = self.runs[run].len()..self.runs[run].len() + count;
        let (columns, commitments) = (
            self.runs[0][range.clone()].to_vec(),
            self.commitments[0][range].to_vec(),
        );
        self.runs[run].extend(columns);
        self.commitments[run].extend(commitments);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, ProveError> {
        let rng = Replay {
            prepared: self.prepared().into_iter(),
            then: self.rng,
        };
        let circuits: Vec<PlanCircuit> = (self.runs.into_iter())
            .map(|columns| self.key.circuit.with_advice(Arc::new(columns)))
            .collect();
        let instances: Vec<&[&[F]]> = vec![&[]; circuits.len()];
        let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
        with_description(self.key.circuit.description(), || {
            let (params, key) = (&self.key.params, &self.key.key);
            create_proof(params, key, &circuits, &instances, rng, &mut transcript)
        })
        .map_err(ProveError::Halo2)?;
        let proof = transcript.finalize();
        let same = (self.commitments.iter().flatten().zip(proof.chunks(32)))
            .all(|(commitment, bytes)| commitment.to_bytes().as_ref() == bytes);
        same.then_some(proof).ok_or(ProveError::Replay)
    }
}
