//! Sums over points that stay the same from proof to proof: the generators, and the points of one card.
//!
//! With the feature `kernels` they are prepared once, at the first verification, and summed by `zkinfer-kernels` where the
//! machine has its instruction set. Otherwise upstream's multi-scalar multiplication does everything.

use crate::{C, F};
use halo2_proofs::poly::commitment::Params;
use pasta_curves::Eq;

#[cfg(all(feature = "kernels", target_arch = "x86_64"))]
mod fast {
    use super::{C, Eq, F, Params};
    use std::sync::OnceLock;
    use zkinfer_kernels::msm::{At, Bases, Job, Part, Scalars, msm_parallel};
    use zkinfer_kernels::vector::{Backend, Ifma};

    /// Prepared points.
    #[derive(Debug, Default)]
    pub struct Prepared(OnceLock<Option<(Ifma, Bases<Ifma>)>>);

    impl Prepared {
        pub fn sum(&self, params: &Params<C>, card: &[C], scalars: [&[F]; 2]) -> Option<Eq> {
            let prepare = || {
                let backend = Ifma::detect()?;
                let mut points = params.get_g();
                points.extend_from_slice(card);
                Some((backend, Bases::new(backend, &points)))
            };
            let (backend, bases) = self.0.get_or_init(prepare).as_ref()?;
            if scalars.iter().map(|s| s.len()).sum::<usize>() != bases.len() {
                return None;
            }
            let part = |at, scalars| Part {
                at: At::From(at),
                scalars: Scalars::Field(scalars),
            };
            let job = Job {
                parts: vec![part(0, scalars[0]), part(scalars[0].len(), scalars[1])],
            };
            msm_parallel(*backend, bases, &[job]).pop()
        }
    }
}

#[cfg(not(all(feature = "kernels", target_arch = "x86_64")))]
mod fast {
    use super::{C, Eq, F, Params};

    /// Nothing is prepared.
    #[derive(Debug, Default)]
    pub struct Prepared;

    impl Prepared {
        pub fn sum(&self, _: &Params<C>, _: &[C], _: [&[F]; 2]) -> Option<Eq> {
            None
        }
    }
}

/// The generators of a verifier's parameters and the points of its card.
#[derive(Debug, Default)]
pub(super) struct Fixed(fast::Prepared);

impl Fixed {
    /// `Σ scalars[0]·g + Σ scalars[1]·card`; `None` where nothing is faster than upstream. `params` and `card` have to be
    /// the same in every call.
    pub fn sum(&self, params: &Params<C>, card: &[C], scalars: [&[F]; 2]) -> Option<Eq> {
        self.0.sum(params, card, scalars)
    }
}
