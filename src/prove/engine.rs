//! What turns columns into a halo2 proof: the project's own engine on one of its backends, or upstream's prover.

use super::upstream;
use crate::error::ProveError;
use halo2_proofs::poly::commitment::Params;
use halo2_proofs::transcript::{Blake2bWrite, Challenge255};
use rand_chacha::ChaCha20Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use zkinfer_circuits::verify::Plan;
use zkinfer_circuits::{C, F};
use zkinfer_engine::{Draws, EngineError, Generators, Key};
#[cfg(target_arch = "x86_64")]
use zkinfer_kernels::vector::Ifma;
use zkinfer_kernels::vector::{Backend, Portable};

/// Which prover makes the halo2 part of a proof. All make the same bytes from the same random values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// The fastest that this machine has.
    #[default]
    Auto,
    /// The project's engine in plain Rust.
    Portable,
    /// The project's engine on AVX-512 IFMA.
    Ifma,
    /// `halo2_proofs::plonk::create_proof`, the reference.
    Upstream,
}

impl Engine {
    /// All that this machine can run, the reference last.
    pub fn available() -> Vec<Engine> {
        [Engine::Portable, Engine::Ifma, Engine::Upstream]
            .into_iter()
            .filter(|e| e.is_available())
            .collect()
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Engine::Ifma => Ifma::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Engine::Ifma => false,
            Engine::Auto | Engine::Portable | Engine::Upstream => true,
        }
    }

    /// The name by which [`Engine::from_str`](std::str::FromStr) knows it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Auto => "auto",
            Engine::Portable => "portable",
            Engine::Ifma => "ifma",
            Engine::Upstream => "upstream",
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Engine {
    type Err = String;
    fn from_str(s: &str) -> Result<Engine, String> {
        let all = [
            Engine::Auto,
            Engine::Portable,
            Engine::Ifma,
            Engine::Upstream,
        ];
        all.into_iter()
            .find(|e| e.name() == s)
            .ok_or_else(|| format!("unknown engine {s:?}: choose auto, portable, ifma or upstream"))
    }
}

/// Generators in the representation of some backend.
#[derive(Clone)]
pub(crate) enum AnyGenerators {
    Portable(Arc<Generators<Portable>>),
    #[cfg(target_arch = "x86_64")]
    Ifma(Arc<Generators<Ifma>>),
}

/// Runs an expression with `$g` bound to the generators of whichever backend.
macro_rules! with_generators {
    ($any:expr, $g:ident => $body:expr) => {
        match $any {
            AnyGenerators::Portable($g) => $body,
            #[cfg(target_arch = "x86_64")]
            AnyGenerators::Ifma($g) => $body,
        }
    };
}

pub(crate) use with_generators;

/// Smallest `k` whose columns fill the transposes of eight-lane vectors.
#[cfg(target_arch = "x86_64")]
const MIN_IFMA_K: u32 = 6;

impl AnyGenerators {
    /// Prepared once per `k` and backend in this process. Where the engine is `Auto` or `Upstream`, the fastest backend.
    pub fn load(engine: Engine, params: &Params<C>) -> Result<AnyGenerators, EngineError> {
        static LOADED: Mutex<BTreeMap<(u32, &str), AnyGenerators>> = Mutex::new(BTreeMap::new());
        #[cfg(target_arch = "x86_64")]
        let ifma =
            Ifma::detect().filter(|_| engine != Engine::Portable && params.k() >= MIN_IFMA_K);
        #[cfg(target_arch = "x86_64")]
        let name = ifma.map_or(Portable::NAME, |_| Ifma::NAME);
        #[cfg(not(target_arch = "x86_64"))]
        let name = Portable::NAME;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(generators) = loaded.get(&(params.k(), name)) {
            return Ok(generators.clone());
        }
        let portable = || {
            let generators = Generators::new(Portable, params)?;
            Ok::<_, EngineError>(AnyGenerators::Portable(Arc::new(generators)))
        };
        #[cfg(target_arch = "x86_64")]
        let generators = match ifma {
            Some(backend) => AnyGenerators::Ifma(Arc::new(Generators::new(backend, params)?)),
            None => portable()?,
        };
        #[cfg(not(target_arch = "x86_64"))]
        let generators = portable()?;
        loaded.insert((params.k(), name), generators.clone());
        Ok(generators)
    }

    /// Commitments to rows of small integers; see [`Generators::commit_weights`].
    pub fn commit_weights(&self, rows: &[u32], weights: &[i32], blinds: &[F]) -> Vec<C> {
        with_generators!(self, g => g.commit_weights(rows, weights, blinds))
    }

    /// The Lagrange base of a row.
    #[cfg(test)]
    pub fn lagrange(&self, row: usize) -> C {
        self.commit_weights(&[row as u32], &[1], &[F::from(0)])[0]
    }
}

/// A proving key for some prover.
pub(crate) enum Keys {
    Portable(Key<Portable>),
    #[cfg(target_arch = "x86_64")]
    Ifma(Key<Ifma>),
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
        Ok(match AnyGenerators::load(engine, params)? {
            AnyGenerators::Portable(g) => {
                Keys::Portable(Key::new(g, &description, &plan.fixed, vk)?)
            }
            #[cfg(target_arch = "x86_64")]
            AnyGenerators::Ifma(g) => Keys::Ifma(Key::new(g, &description, &plan.fixed, vk)?),
        })
    }
}

/// A halo2 proof in the making, of one or several runs of a circuit.
pub(crate) trait Columns: Sized {
    /// The blinding of a run's columns.
    fn draws(&self, run: usize) -> &Draws;
    /// Commits to the next columns of a run.
    fn commit(&mut self, run: usize, columns: &[Vec<F>]) -> Result<Vec<C>, ProveError>;
    /// The next `count` columns of a run are those of the first run.
    fn repeat(&mut self, run: usize, count: usize) -> Result<(), ProveError>;
    /// The proof's bytes, for this instance of every run.
    fn finish(self, instances: &[Vec<F>]) -> Result<Vec<u8>, ProveError>;
}

impl<B: Backend> Columns for zkinfer_engine::Prover<'_, B, ChaCha20Rng> {
    fn draws(&self, run: usize) -> &Draws {
        zkinfer_engine::Prover::draws(self, run)
    }

    fn commit(&mut self, run: usize, columns: &[Vec<F>]) -> Result<Vec<C>, ProveError> {
        Ok(zkinfer_engine::Prover::commit(self, run, columns)?.to_vec())
    }

    fn repeat(&mut self, run: usize, count: usize) -> Result<(), ProveError> {
        Ok(zkinfer_engine::Prover::repeat(self, run, count)?)
    }

    fn finish(self, instances: &[Vec<F>]) -> Result<Vec<u8>, ProveError> {
        let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
        let instances = vec![instances.to_vec(); self.circuits()];
        zkinfer_engine::Prover::finish(self, &instances, &mut transcript)?;
        Ok(transcript.finalize())
    }
}
