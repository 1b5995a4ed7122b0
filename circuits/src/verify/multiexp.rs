//! Sums of multiples of points: of those that stay the same from proof to proof, the generators and the points of one
//! card, and of others.
//!
//! With the feature `kernels` the former are prepared once, when a card is checked, and all are summed by
//! `zkinfer-kernels` where the machine has its instruction set. Otherwise upstream's multi-scalar multiplication does
//! everything.

use crate::{C, F};
use halo2_proofs::arithmetic::best_multiexp;
use pasta_curves::Eq;

#[cfg(feature = "kernels")]
mod fast {
    use super::{C, Eq, F};
    use std::sync::OnceLock;
    use zkinfer_kernels::native::{self, Points};

    /// Prepared points.
    #[derive(Debug, Default)]
    pub struct Known(OnceLock<Points>);

    impl Known {
        pub fn sum(&self, points: impl FnOnce() -> Vec<C>, scalars: &[F]) -> Option<Eq> {
            let native = native::detect()?;
            let points = self.0.get_or_init(|| native.prepare(&points()));
            Some(native.sum(points, scalars))
        }
    }

    pub fn sum(scalars: &[F], points: &[C]) -> Option<Eq> {
        if points.len() < FEW {
            return None;
        }
        let native = native::detect()?;
        Some(native.sum(&native.prepare(points), scalars))
    }

    /// Terms that upstream sums up as fast.
    const FEW: usize = 32;
}

#[cfg(not(feature = "kernels"))]
mod fast {
    use super::{C, Eq, F};

    /// Nothing is prepared.
    #[derive(Debug, Default)]
    pub struct Known(());

    impl Known {
        pub fn sum(&self, _: impl FnOnce() -> Vec<C>, _: &[F]) -> Option<Eq> {
            None
        }
    }

    pub fn sum(_: &[F], _: &[C]) -> Option<Eq> {
        None
    }
}

pub(super) use fast::Known;

/// `Σ scalars·points + Σ terms`. `points` have to be the same for one `known` in every call, and there is a scalar for each;
/// `terms` are points that were never seen before.
pub(super) fn sum(
    known: &Known,
    points: impl Fn() -> Vec<C>,
    scalars: &[F],
    terms: &[(F, C)],
) -> Eq {
    let (others, own): (Vec<F>, Vec<C>) = terms.iter().copied().unzip();
    match known.sum(&points, scalars) {
        Some(sum) if terms.is_empty() => sum,
        Some(sum) => sum + fast::sum(&others, &own).unwrap_or_else(|| best_multiexp(&others, &own)),
        None => {
            let (mut scalars, mut points) = (scalars.to_vec(), points());
            scalars.extend(others);
            points.extend(own);
            best_multiexp(&scalars, &points)
        }
    }
}
