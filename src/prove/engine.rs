//! What turns columns into a halo2 proof: the project's own engine on one of its backends, or upstream's prover.

use super::upstream;
pub use crate::engine::Engine;
use crate::error::ProveError;
use halo2_proofs::poly::commitment::Params;
use std::sync::Arc;
use zkinfer_circuits::verify::Plan;
use zkinfer_circuits::{C, F};
use zkinfer_engine::{AnyGenerators, AnyKey, AnyProver, Draws, EngineError};

/// Generators on the backend of an engine. Where that is `Auto` or `Upstream`, the fastest.
pub(crate) fn generators(engine: Engine, params: &Params<C>) -> Result<AnyGenerators, EngineError> {
    AnyGenerators::load(params, engine == Engine::Portable)
}

/// The Lagrange base of a row.
#[cfg(test)]
pub(crate) fn lagrange(generators: &AnyGenerators, row: usize) -> C {
    generators.commit_weights(&[row as u32], &[1], &[F::from(0)])[0]
}

/// A proving key for some prover.
pub(crate) enum Keys {
    Engine(Box<AnyKey>),
    Upstream(Box<upstream::Key>),
}

impl Keys {
    /// Prepares the plan's circuit.
    pub fn new(engine: Engine, plan: &Plan, params: &Arc<Params<C>>) -> Result<Keys, ProveError> {
        if !engine.is_available() {
            return Err(ProveError::Engine { engine });
        }
        if engine == Engine::Upstream {
            let key = upstream::Key::new(plan, params.clone())?;
            return Ok(Keys::Upstream(Box::new(key)));
        }
        let circuit = plan.circuit();
        let vk = circuit.verifying_key(params).map_err(ProveError::Halo2)?;
        let description = circuit.description().clone();
        let generators = generators(engine, params)?;
        let key = AnyKey::new(generators, &description, &plan.fixed, vk)?;
        Ok(Keys::Engine(Box::new(key)))
    }
}

/// A halo2 proof in the making, of one or several runs of a circuit.
pub(crate) trait Columns {
    /// The blinding of a run's columns.
    fn draws(&self, run: usize) -> &Draws;
    /// Commits to the next columns of a run.
    fn commit(&mut self, run: usize, columns: &[Vec<F>]) -> Result<Vec<C>, ProveError>;
    /// The next `count` columns of a run are those of the first run.
    fn repeat(&mut self, run: usize, count: usize) -> Result<(), ProveError>;
    /// The proof's bytes. The circuit has no instance.
    fn finish(self: Box<Self>) -> Result<Vec<u8>, ProveError>;
}

impl Columns for AnyProver<'_> {
    fn draws(&self, run: usize) -> &Draws {
        AnyProver::draws(self, run)
    }

    fn commit(&mut self, run: usize, columns: &[Vec<F>]) -> Result<Vec<C>, ProveError> {
        Ok(AnyProver::commit(self, run, columns)?)
    }

    fn repeat(&mut self, run: usize, count: usize) -> Result<(), ProveError> {
        Ok(AnyProver::repeat(self, run, count)?)
    }

    fn finish(self: Box<Self>) -> Result<Vec<u8>, ProveError> {
        Ok(AnyProver::finish(*self, &[])?)
    }
}
