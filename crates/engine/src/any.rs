//! Generators, keys and provers on a backend that is chosen at run time.
//!
//! All generic code is instantiated here, for every backend, so that crates that prove do not compile it again.

use crate::{C, Draws, EngineError, F, Generators, Key, Prover};
use halo2_proofs::plonk::VerifyingKey;
use halo2_proofs::poly::commitment::Params;
use halo2_proofs::transcript::{Blake2bWrite, Challenge255};
use rand_chacha::ChaCha20Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use zkinfer_circuits::gates::Description;
use zkinfer_kernels::fold::fold_parallel;
#[cfg(target_arch = "x86_64")]
use zkinfer_kernels::vector::Ifma;
use zkinfer_kernels::vector::{Backend, Portable};

/// Whether this machine has AVX-512 IFMA.
pub fn has_ifma() -> bool {
    #[cfg(target_arch = "x86_64")]
    let found = Ifma::detect().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    let found = false;
    found
}

/// Generators in the representation of some backend.
#[derive(Clone)]
pub enum AnyGenerators {
    /// Plain Rust.
    Portable(Arc<Generators<Portable>>),
    /// AVX-512 IFMA.
    #[cfg(target_arch = "x86_64")]
    Ifma(Arc<Generators<Ifma>>),
}

/// Evaluates an expression with `$x` bound to what is inside, whichever backend it is for.
macro_rules! with_any {
    ($kind:ident, $any:expr, $x:ident => $body:expr) => {
        match $any {
            $kind::Portable($x) => $body,
            #[cfg(target_arch = "x86_64")]
            $kind::Ifma($x) => $body,
        }
    };
}

/// Smallest `k` whose columns fill the transposes of eight-lane vectors.
#[cfg(target_arch = "x86_64")]
const MIN_IFMA_K: u32 = 6;

impl AnyGenerators {
    /// Prepared once per `k` and backend in this process: on the fastest backend, or in plain Rust.
    ///
    /// # Errors
    /// If the parameters cannot be read.
    pub fn load(params: &Params<C>, portable: bool) -> Result<AnyGenerators, EngineError> {
        static LOADED: Mutex<BTreeMap<(u32, &str), AnyGenerators>> = Mutex::new(BTreeMap::new());
        #[cfg(target_arch = "x86_64")]
        let ifma = Ifma::detect().filter(|_| !portable && params.k() >= MIN_IFMA_K);
        #[cfg(target_arch = "x86_64")]
        let name = ifma.map_or(Portable::NAME, |_| Ifma::NAME);
        #[cfg(not(target_arch = "x86_64"))]
        let name = Portable::NAME;
        let loaded = || LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(generators) = loaded().get(&(params.k(), name)) {
            return Ok(generators.clone());
        }
        // Not under the lock: a thread that waits in here may begin other work that asks for the same.
        let plain = || {
            let generators = Generators::new(Portable, params)?;
            Ok::<_, EngineError>(AnyGenerators::Portable(Arc::new(generators)))
        };
        #[cfg(target_arch = "x86_64")]
        let generators = match ifma {
            Some(backend) => AnyGenerators::Ifma(Arc::new(Generators::new(backend, params)?)),
            None => plain()?,
        };
        #[cfg(not(target_arch = "x86_64"))]
        let generators = {
            let _ = portable;
            plain()?
        };
        let mut loaded = loaded();
        let kept = loaded.entry((params.k(), name)).or_insert(generators);
        Ok(kept.clone())
    }

    /// Commitments to columns in row order; see [`Generators::commit_columns`].
    pub fn commit_columns(&self, columns: &[Vec<F>], blinds: &[F]) -> Vec<C> {
        with_any!(AnyGenerators, self, g => g.commit_columns(columns, blinds))
    }

    /// Commitments to rows of small integers; see [`Generators::commit_weights`].
    pub fn commit_weights(&self, rows: &[u32], weights: &[i32], blinds: &[F]) -> Vec<C> {
        with_any!(AnyGenerators, self, g => g.commit_weights(rows, weights, blinds))
    }

    /// `Σ_o coefficients[o] · weights[o · columns + i]` for every column `i`; `bound` is the largest weight's magnitude. See
    /// [`fold_parallel`].
    pub fn fold(&self, weights: &[i32], columns: usize, bound: u32, coefficients: &[F]) -> Vec<F> {
        with_any!(AnyGenerators, self, g => {
            fold_parallel(g.backend(), weights, columns, bound, coefficients)
        })
    }
}

/// A [`Key`] on some backend.
pub enum AnyKey {
    /// Plain Rust.
    Portable(Key<Portable>),
    /// AVX-512 IFMA.
    #[cfg(target_arch = "x86_64")]
    Ifma(Key<Ifma>),
}

impl AnyKey {
    /// Prepares a circuit; see [`Key::new`].
    ///
    /// # Errors
    /// If description, fixed columns and verifying key do not belong together.
    pub fn new(
        generators: AnyGenerators,
        description: &Description,
        fixed: &[Vec<u32>],
        vk: VerifyingKey<C>,
    ) -> Result<AnyKey, EngineError> {
        Ok(match generators {
            AnyGenerators::Portable(g) => AnyKey::Portable(Key::new(g, description, fixed, vk)?),
            #[cfg(target_arch = "x86_64")]
            AnyGenerators::Ifma(g) => AnyKey::Ifma(Key::new(g, description, fixed, vk)?),
        })
    }
}

/// A [`Prover`] on some backend.
pub enum AnyProver<'k> {
    /// Plain Rust.
    Portable(Prover<'k, Portable, ChaCha20Rng>),
    /// AVX-512 IFMA.
    #[cfg(target_arch = "x86_64")]
    Ifma(Prover<'k, Ifma, ChaCha20Rng>),
}

impl<'k> AnyProver<'k> {
    /// Starts a proof of several runs; see [`Prover::of_many`].
    pub fn of_many(key: &'k AnyKey, runs: usize, repeated: &[bool], rng: ChaCha20Rng) -> Self {
        match key {
            AnyKey::Portable(key) => AnyProver::Portable(Prover::of_many(key, runs, repeated, rng)),
            #[cfg(target_arch = "x86_64")]
            AnyKey::Ifma(key) => AnyProver::Ifma(Prover::of_many(key, runs, repeated, rng)),
        }
    }

    /// The blinding of a run's columns.
    pub fn draws(&self, run: usize) -> &Draws {
        with_any!(AnyProver, self, p => p.draws(run))
    }

    /// Commits to the next columns of a run; see [`Prover::commit`].
    ///
    /// # Errors
    /// As [`Prover::commit`].
    pub fn commit(&mut self, run: usize, columns: &[Vec<F>]) -> Result<Vec<C>, EngineError> {
        with_any!(AnyProver, self, p => Ok(p.commit(run, columns)?.to_vec()))
    }

    /// The next columns of a run are those of the first one; see [`Prover::repeat`].
    ///
    /// # Errors
    /// As [`Prover::repeat`].
    pub fn repeat(&mut self, run: usize, count: usize) -> Result<(), EngineError> {
        with_any!(AnyProver, self, p => p.repeat(run, count))
    }

    /// The proof's bytes, for this instance of every run.
    ///
    /// # Errors
    /// As [`Prover::finish`].
    pub fn finish(self, instances: &[Vec<F>]) -> Result<Vec<u8>, EngineError> {
        let mut transcript = Blake2bWrite::<_, C, Challenge255<C>>::init(Vec::new());
        with_any!(AnyProver, self, p => {
            let instances = vec![instances.to_vec(); p.circuits()];
            p.finish(&instances, &mut transcript)?;
        });
        Ok(transcript.finalize())
    }
}
