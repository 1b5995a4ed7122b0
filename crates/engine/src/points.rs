//! Where polynomials are opened.

use crate::F;
use crate::key::Key;
use crate::poly::{Poly, powers};
use ff::Field;
use zkinfer_kernels::vector::Backend;

/// The points at which polynomials are opened, `x·ω^rotation`, in order of their first query.
pub(crate) struct Points<B: Backend> {
    points: Vec<(i32, F, Poly<B>)>,
}

impl<B: Backend> Points<B> {
    pub fn new(key: &Key<B>, x: F, rotations: impl Iterator<Item = i32>) -> Self {
        let mut points: Vec<(i32, F, Poly<B>)> = Vec::new();
        let n = key.domain.n();
        for rotation in rotations {
            if !points.iter().any(|p| p.0 == rotation) {
                let power = i64::from(rotation).rem_euclid(n as i64) as u64;
                let point = x * key.domain.omega().pow_vartime([power]);
                let vectors = key.domain.vectors::<B>();
                points.push((rotation, point, powers(key.backend(), point, vectors)));
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

    /// The powers of a point.
    pub fn powers(&self, rotation: i32) -> &Poly<B> {
        &self.points[self.index(rotation)].2
    }
}
