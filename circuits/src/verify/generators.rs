//! Sums of multiples of points: of those that stay the same from proof to proof, the generators and the points of one
//! card, and of others.
//!
//! With the feature `kernels` the former are prepared once, at the first verification, and all are summed by `zkinfer-kernels` where the
//! machine has its instruction set. Otherwise upstream's multi-scalar multiplication does everything.

use crate::{C, F};
use halo2_proofs::poly::commitment::Params;
use pasta_curves::Eq;

#[cfg(feature = "kernels")]
mod fast {
    use super::{C, Eq, F, Params};
    use std::sync::OnceLock;
    use zkinfer_kernels::native::{self, Points};

    /// Prepared points.
    #[derive(Debug, Default)]
    pub struct Prepared(OnceLock<Points>);

    impl Prepared {
        pub fn sum(&self, params: &Params<C>, card: &[C], scalars: [&[F]; 2]) -> Option<Eq> {
            let native = native::detect()?;
            let points = self.0.get_or_init(|| {
                let mut points = params.get_g();
                points.extend_from_slice(card);
                native.prepare(&points)
            });
            Some(native.sum(points, &scalars.concat()))
        }
    }

    pub fn sum(terms: &[(F, C)]) -> Option<Eq> {
        if terms.len() < FEW {
            return None;
        }
        let native = native::detect()?;
        let (scalars, points): (Vec<F>, Vec<C>) = terms.iter().copied().unzip();
        Some(native.sum(&native.prepare(&points), &scalars))
    }

    /// Terms that upstream sums up as fast, together with others.
    const FEW: usize = 32;
}

#[cfg(not(feature = "kernels"))]
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

    pub fn sum(_: &[(F, C)]) -> Option<Eq> {
        None
    }
}

/// The generators of a verifier's parameters and the points of its card.
#[derive(Debug, Default)]
pub(super) struct Fixed(fast::Prepared);

impl Fixed {
    /// `Σ scalars[0]·g + Σ scalars[1]·card`; `None` where nothing is faster than upstream. `params` and `card` have to be
    /// the same in every call, and there is a scalar for each.
    pub fn sum(&self, params: &Params<C>, card: &[C], scalars: [&[F]; 2]) -> Option<Eq> {
        self.0.sum(params, card, scalars)
    }
}

/// `Σ s·point` over points that were never seen before; `None` where nothing is faster than upstream.
pub(super) fn sum(terms: &[(F, C)]) -> Option<Eq> {
    fast::sum(terms)
}
