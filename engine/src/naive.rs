//! Stand-in.
use crate::{C, F};
use ff::Field;
use group::{Curve, Group};
use pasta_curves::Eq;
pub struct Bases<B> {
    points: Vec<C>,
    _b: std::marker::PhantomData<B>,
}
pub enum Scalars<'a> {
    Field(&'a [F]),
    Small(&'a [i32]),
}
pub enum At<'a> {
    From(usize),
    List(&'a [u32]),
}
pub struct Part<'a> {
    pub at: At<'a>,
    pub scalars: Scalars<'a>,
}
pub struct Job<'a> {
    pub parts: Vec<Part<'a>>,
}
impl<B> Bases<B> {
    pub fn new(_b: B, points: &[C]) -> Self {
        Bases {
            points: points.to_vec(),
            _b: std::marker::PhantomData,
        }
    }
    pub fn points(&self) -> &[C] {
        &self.points
    }
}
pub fn msm_parallel<B: Copy>(_b: B, bases: &Bases<B>, jobs: &[Job<'_>]) -> Vec<Eq> {
    jobs.iter()
        .map(|j| {
            let mut s = vec![];
            let mut p = vec![];
            for part in &j.parts {
                let sc: Vec<F> = match part.scalars {
                    Scalars::Field(f) => f.to_vec(),
                    Scalars::Small(v) => v
                        .iter()
                        .map(|&v| {
                            if v < 0 {
                                -F::from(v.unsigned_abs() as u64)
                            } else {
                                F::from(v as u64)
                            }
                        })
                        .collect(),
                };
                for (i, sc) in sc.into_iter().enumerate() {
                    s.push(sc);
                    p.push(match part.at {
                        At::From(f) => bases.points[f + i],
                        At::List(l) => bases.points[l[i] as usize],
                    });
                }
            }
            halo2_proofs::arithmetic::best_multiexp(&s, &p)
        })
        .collect()
}
pub fn collapse<B: Copy>(_b: B, bases: &Bases<B>, count: usize, scalars: &[F]) -> Vec<C> {
    let n = count / scalars.len();
    (0..n)
        .map(|i| {
            let mut acc = Eq::identity();
            for (t, s) in scalars.iter().enumerate() {
                let p = bases.points[i + t * n];
                if *s == F::ONE { acc += p } else { acc += p * s }
            }
            acc.to_affine()
        })
        .collect()
}
