//! A backend for tests: eight lanes of `pasta_curves`' own arithmetic, with the bounds that [`Vector`] documents. It panics
//! where a kernel violates one, on any machine and for any values.

use super::{Backend, Kernel, MAX_BOUND, MAX_PRODUCT, MAX_TERMS, MAX_WIDE, Point, Prime, Vector};
use pasta_curves::{Fp, Fq};

const LANES: usize = 8;

/// The backend that checks bounds.
#[derive(Clone, Copy, Debug)]
pub struct Checked;

/// Eight elements and their bound.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<F> {
    lanes: [F; LANES],
    bound: u64,
}

/// Eight sums of products, the sum of their bounds and their number.
#[derive(Clone, Copy, Debug)]
pub struct Sums<F> {
    lanes: [F; LANES],
    bound: u64,
    terms: u64,
}

impl<F: Prime> Lanes<F> {
    fn new(bound: u64, f: impl FnMut(usize) -> F) -> Self {
        assert!(bound <= MAX_BOUND, "a bound of {bound}");
        Lanes {
            lanes: std::array::from_fn(f),
            bound,
        }
    }

    /// The bound of lanes `i`, of which only this backend tells.
    pub fn bound(&self) -> u64 {
        self.bound
    }
}

/// `v[0..8]`, so that too short slices panic like in other backends.
fn eight<T>(v: &[T]) -> &[T] {
    &v[..LANES]
}

impl<F: Prime> Vector<F> for Lanes<F>
where
    F: Eq,
{
    const LANES: usize = LANES;
    type Packed = F;
    type Wide = Sums<F>;

    fn zero() -> Self {
        Self::new(1, |_| F::ZERO)
    }
    fn splat(v: F) -> Self {
        Self::new(1, |_| v)
    }
    fn from_fn(f: impl FnMut(usize) -> F) -> Self {
        Self::new(1, f)
    }
    fn from_small(mut f: impl FnMut(usize) -> u64) -> Self {
        Self::new(2, |i| {
            let v = f(i);
            assert!(v < 1 << 52, "{v} is not below 2^52");
            F::from(v)
        })
    }
    fn store(self, out: &mut [F]) {
        out[..LANES].copy_from_slice(&self.lanes);
    }
    fn add(self, other: Self) -> Self {
        Self::new(self.bound + other.bound, |i| self.lanes[i] + other.lanes[i])
    }
    fn sub<const K: u64>(self, other: Self) -> Self {
        assert!(other.bound <= K, "subtracting {} with K = {K}", other.bound);
        Self::new(self.bound + K, |i| self.lanes[i] - other.lanes[i])
    }
    fn mul(self, other: Self) -> Self {
        let product = self.bound * other.bound;
        assert!(
            product <= MAX_PRODUCT,
            "multiplying {} by {}",
            self.bound,
            other.bound
        );
        Self::new(2, |i| self.lanes[i] * other.lanes[i])
    }
    fn reduce(self) -> Self {
        Self::new(2, |i| self.lanes[i])
    }
    fn wide() -> Sums<F> {
        Sums {
            lanes: [F::ZERO; LANES],
            bound: 0,
            terms: 0,
        }
    }
    fn mul_add(sum: &mut Sums<F>, a: Self, b: Self) {
        assert!(
            a.bound <= MAX_PRODUCT && b.bound <= MAX_PRODUCT,
            "multiplying {} by {}",
            a.bound,
            b.bound
        );
        sum.bound += a.bound * b.bound;
        sum.terms += 1;
        assert!(sum.bound <= MAX_WIDE, "a wide bound of {}", sum.bound);
        assert!(sum.terms <= MAX_TERMS, "{} products", sum.terms);
        for i in 0..LANES {
            sum.lanes[i] += a.lanes[i] * b.lanes[i];
        }
    }
    fn finish(sum: Sums<F>) -> Self {
        Self::new(2, |i| sum.lanes[i])
    }
    fn rotate(self, by: usize) -> Self {
        Self::new(self.bound, |i| self.lanes[i.wrapping_sub(by) % LANES])
    }
    fn transpose(rows: &mut [Self]) {
        let rows = &mut rows[..LANES];
        let bound = rows.iter().map(|r| r.bound).max().unwrap_or(1);
        let old: [Self; LANES] = std::array::from_fn(|i| rows[i]);
        for (i, row) in rows.iter_mut().enumerate() {
            *row = Self::new(bound, |j| old[j].lanes[i]);
        }
    }
    fn pack(self, out: &mut [F]) {
        self.store(out);
    }
    fn unpack(packed: &[F]) -> Self {
        let packed = eight(packed);
        Self::new(1, |i| packed[i])
    }
    fn gather(points: &[Point<F>], at: &[u32]) -> (Self, Self) {
        let at = eight(at);
        (
            Self::new(1, |i| points[at[i] as usize].x),
            Self::new(1, |i| points[at[i] as usize].y),
        )
    }
    fn gather_x(points: &[Point<F>], at: &[u32]) -> Self {
        Self::gather(points, at).0
    }
    fn scatter(x: Self, y: Self, out: &mut [Point<F>]) {
        for (i, to) in out[..LANES].iter_mut().enumerate() {
            *to = Point {
                x: x.lanes[i],
                y: y.lanes[i],
            };
        }
    }
    fn same(self, other: Self) -> u32 {
        assert!(
            self.bound == 1 && other.bound == 1,
            "comparing {} with {}",
            self.bound,
            other.bound
        );
        (0..LANES)
            .map(|i| u32::from(self.lanes[i] == other.lanes[i]) << i)
            .sum()
    }
    fn negate_where(self, mask: u32) -> Self {
        assert!(self.bound == 1, "negating {}", self.bound);
        Self::new(1, |i| {
            if mask >> i & 1 == 1 {
                -self.lanes[i]
            } else {
                self.lanes[i]
            }
        })
    }
    fn select(self, other: Self, mask: u32) -> Self {
        Self::new(self.bound.max(other.bound), |i| {
            if mask >> i & 1 == 1 {
                other.lanes[i]
            } else {
                self.lanes[i]
            }
        })
    }
}

impl Backend for Checked {
    type Scalar = Lanes<Fp>;
    type Base = Lanes<Fq>;
    const NAME: &'static str = "checked";
    fn detect() -> Option<Self> {
        Some(Checked)
    }
    fn run<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        kernel.run()
    }
}
