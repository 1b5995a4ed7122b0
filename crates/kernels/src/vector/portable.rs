//! The reference backend: one element per vector, `pasta_curves`' own arithmetic, always reduced.

use super::{Backend, Kernel, Point, Prime, Vector};
use pasta_curves::{Fp, Fq};

/// Plain Rust on any machine.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// One element.
#[derive(Clone, Copy, Debug)]
pub struct One<F>(F);

impl<F: Prime> Vector<F> for One<F>
where
    F: Eq,
{
    const LANES: usize = 1;
    type Packed = F;
    type Wide = F;

    #[inline(always)]
    fn zero() -> Self {
        One(F::ZERO)
    }
    #[inline(always)]
    fn splat(v: F) -> Self {
        One(v)
    }
    #[inline(always)]
    fn from_fn(mut f: impl FnMut(usize) -> F) -> Self {
        One(f(0))
    }
    #[inline(always)]
    fn from_small(mut f: impl FnMut(usize) -> u64) -> Self {
        One(F::from(f(0)))
    }
    #[inline(always)]
    fn store(self, out: &mut [F]) {
        out[0] = self.0;
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        One(self.0 + other.0)
    }
    #[inline(always)]
    fn sub<const K: u64>(self, other: Self) -> Self {
        One(self.0 - other.0)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        One(self.0 * other.0)
    }
    #[inline(always)]
    fn square(self) -> Self {
        One(self.0.square())
    }
    #[inline(always)]
    fn reduce(self) -> Self {
        self
    }
    #[inline(always)]
    fn wide() -> F {
        F::ZERO
    }
    #[inline(always)]
    fn mul_add(sum: &mut F, a: Self, b: Self) {
        *sum += a.0 * b.0;
    }
    #[inline(always)]
    fn finish(sum: F) -> Self {
        One(sum)
    }
    #[inline(always)]
    fn rotate(self, _by: usize) -> Self {
        self
    }
    #[inline(always)]
    fn transpose(_rows: &mut [Self]) {}
    #[inline(always)]
    fn pack(self, out: &mut [F]) {
        out[0] = self.0;
    }
    #[inline(always)]
    fn unpack(packed: &[F]) -> Self {
        One(packed[0])
    }
    #[inline(always)]
    fn gather(points: &[Point<F>], at: &[u32]) -> (Self, Self) {
        let p = &points[at[0] as usize];
        (One(p.x), One(p.y))
    }
    #[inline(always)]
    fn gather_x(points: &[Point<F>], at: &[u32]) -> Self {
        One(points[at[0] as usize].x)
    }
    #[inline(always)]
    fn scatter(x: Self, y: Self, out: &mut [Point<F>]) {
        out[0] = Point { x: x.0, y: y.0 };
    }
    #[inline(always)]
    fn same(self, other: Self) -> u32 {
        u32::from(self.0 == other.0)
    }
    #[inline(always)]
    fn negate_where(self, mask: u32) -> Self {
        if mask & 1 == 1 { One(-self.0) } else { self }
    }
    #[inline(always)]
    fn select(self, other: Self, mask: u32) -> Self {
        if mask & 1 == 1 { other } else { self }
    }
}

impl Backend for Portable {
    type Scalar = One<Fp>;
    type Base = One<Fq>;
    const NAME: &'static str = "portable";
    fn detect() -> Option<Self> {
        Some(Portable)
    }
    #[inline(always)]
    fn run<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        kernel.run()
    }
}
