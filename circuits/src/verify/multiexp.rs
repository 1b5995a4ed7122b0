//! Sums of multiples of points: of those that stay the same from proof to proof, the generators and the points of one
//! card, and of others.
//!
//! With the feature `kernels` the former are prepared once, when a card is checked, and all are summed by
//! `zkinfer-kernels`. Otherwise upstream's multi-scalar multiplication does everything.

use crate::{C, F};
use halo2_proofs::arithmetic::best_multiexp;
use pasta_curves::Eq;

#[cfg(feature = "kernels")]
mod known {
    use super::{C, Eq, F, best_multiexp};
    use std::sync::OnceLock;
    use zkinfer_kernels::native::{self, Points};

    /// Prepared points.
    #[derive(Debug, Default)]
    pub struct Known(OnceLock<Points>);

    /// Terms that upstream sums up as fast.
    const FEW: usize = 32;

    /// See [`super::sum`].
    pub fn sum(known: &Known, points: impl Fn() -> Vec<C>, scalars: &[F], terms: &[(F, C)]) -> Eq {
        let native = native::detect();
        let points = known.0.get_or_init(|| native.prepare(&points()));
        let sum = points.sum(scalars);
        let (others, own): (Vec<F>, Vec<C>) = terms.iter().copied().unzip();
        match terms.len() {
            0 => sum,
            few if few < FEW => sum + best_multiexp(&others, &own),
            _ => sum + native.prepare(&own).sum(&others),
        }
    }
}

#[cfg(not(feature = "kernels"))]
mod known {
    use super::{C, Eq, F, best_multiexp};

    /// Nothing is prepared.
    #[derive(Debug, Default)]
    pub struct Known(());

    /// See [`super::sum`].
    pub fn sum(_: &Known, points: impl Fn() -> Vec<C>, scalars: &[F], terms: &[(F, C)]) -> Eq {
        let (mut scalars, mut points) = (scalars.to_vec(), points());
        let (others, own): (Vec<F>, Vec<C>) = terms.iter().copied().unzip();
        scalars.extend(others);
        points.extend(own);
        best_multiexp(&scalars, &points)
    }
}

pub(super) use known::Known;

/// `Σ scalars·points + Σ terms`. `points` have to be the same for one `known` in every call, and there is a scalar for each;
/// `terms` are points that were never seen before.
pub(super) fn sum(
    known: &Known,
    points: impl Fn() -> Vec<C>,
    scalars: &[F],
    terms: &[(F, C)],
) -> Eq {
    known::sum(known, points, scalars, terms)
}
