//! Vectors of field elements: the one interface between algorithms and instruction sets.
//!
//! # Writing a kernel
//!
//! A kernel is a struct with its arguments and an `#[inline(always)]` [`Kernel::run`], generic over the backend.
//! [`Backend::run`] enters it with the instruction set enabled. Kernels are loops over whole slices; threads are outside of
//! them (each task enters its own kernel), because a closure that another thread runs is compiled without the
//! instruction set.
//!
//! # Bounds
//!
//! A vector holds residues that need not be fully reduced. Its *bound* `b` says that every lane is below `b·p`. Values from
//! outside have bound 1, products have bound 2, sums add up. [`Vector::mul`] needs the product of its operands' bounds to be
//! at most 63 ([`MAX_PRODUCT`]), nothing may exceed 64 ([`MAX_BOUND`]), and [`Vector::reduce`] brings a bound down to 2. The
//! documentation of every operation states its bounds; `Checked`, the backend for tests, panics where they are violated.

#[cfg(any(test, feature = "checked"))]
mod checked;
#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(any(test, target_pointer_width = "32"))]
mod narrow;
mod portable;
#[cfg(any(test, target_arch = "x86_64", target_pointer_width = "32"))]
mod powers;
#[cfg(target_arch = "x86_64")]
mod radix;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "checked"))]
pub use checked::Checked;
#[cfg(target_arch = "x86_64")]
pub use ifma::Ifma;
#[cfg(any(test, target_pointer_width = "32"))]
pub use narrow::Narrow;
pub use portable::Portable;

/// What needs no instruction set, by the width of the machine's products.
#[cfg(not(target_pointer_width = "32"))]
pub type Plain = Portable;
/// What needs no instruction set, by the width of the machine's products.
#[cfg(target_pointer_width = "32")]
pub type Plain = Narrow;
/// The one value of [`Plain`].
#[cfg(not(target_pointer_width = "32"))]
pub const PLAIN: Plain = Portable;
/// The one value of [`Plain`].
#[cfg(target_pointer_width = "32")]
pub const PLAIN: Plain = Narrow;

use crate::fold::{self, Weights};
use ff::{PrimeField, WithSmallOrderMulGroup};
use pasta_curves::arithmetic::VartimeField;
use pasta_curves::{Fp, Fq};

/// Largest bound of any vector.
pub const MAX_BOUND: u64 = 64;

/// Largest product of bounds in a multiplication. Not 64: `64·p` is larger than `2^260`, if only by `2^-128` of itself.
pub const MAX_PRODUCT: u64 = 63;

/// Largest sum of products of bounds in a [`Vector::Wide`].
pub const MAX_WIDE: u64 = 4032;

/// Largest number of products in a [`Vector::Wide`].
pub const MAX_TERMS: u64 = 256;

/// A field of the Pasta cycle.
pub trait Prime:
    PrimeField<Repr = [u8; 32]> + WithSmallOrderMulGroup<3> + VartimeField + Send + Sync + 'static
{
    /// The modulus, little endian.
    const MODULUS: [u64; 4];

    /// The canonical integer, little endian.
    fn to_limbs(&self) -> [u64; 4] {
        let bytes = self.to_repr();
        std::array::from_fn(|i| u64::from_le_bytes(std::array::from_fn(|j| bytes[8 * i + j])))
    }

    /// The element of a canonical integer; larger ones are reduced.
    fn from_limbs(limbs: [u64; 4]) -> Self;
}

impl Prime for Fp {
    const MODULUS: [u64; 4] = [
        0x992d30ed00000001,
        0x224698fc094cf91b,
        0,
        0x4000000000000000,
    ];
    fn from_limbs(limbs: [u64; 4]) -> Self {
        Fp::from_raw(limbs)
    }
}

impl Prime for Fq {
    const MODULUS: [u64; 4] = [
        0x8c46eb2100000001,
        0x224698fc0994a8dd,
        0,
        0x4000000000000000,
    ];
    fn from_limbs(limbs: [u64; 4]) -> Self {
        Fq::from_raw(limbs)
    }
}

/// An affine point at rest: both coordinates packed, canonical. `y = 0` stands for the identity (no point of the Pasta
/// curves has order 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Point<P> {
    /// Abscissa.
    pub x: P,
    /// Ordinate.
    pub y: P,
}

/// `LANES` elements of `F`.
///
/// Every method is `#[inline(always)]` in every implementation, so that it has its instruction set wherever it stands.
pub trait Vector<F: Prime>: Copy + Send + Sync + 'static {
    /// Number of elements, a power of two, at most 8.
    const LANES: usize;
    /// One element at rest, 32 bytes: reduced, in the backend's own representation.
    type Packed: Copy + Default + PartialEq + Eq + std::fmt::Debug + Send + Sync + 'static;
    /// A sum of products before reduction.
    type Wide: Copy;

    /// Zero in every lane (bound 1).
    fn zero() -> Self;
    /// One element in every lane (bound 1).
    fn splat(v: F) -> Self;
    /// Lane `i` is `f(i)` (bound 1).
    fn from_fn(f: impl FnMut(usize) -> F) -> Self;
    /// Lane `i` is the integer `f(i) < 2^52` (bound 2). Much cheaper than [`Vector::from_fn`].
    fn from_small(f: impl FnMut(usize) -> u64) -> Self;
    /// Writes lane `i` to `out[i]`; any bound up to [`MAX_BOUND`].
    fn store(self, out: &mut [F]);

    /// Sum; bounds add up.
    fn add(self, other: Self) -> Self;
    /// `self − other + K·p`; needs `other` to have bound at most `K`, adds `K` to the bound.
    fn sub<const K: u64>(self, other: Self) -> Self;
    /// Product; the operands' bounds multiply to at most [`MAX_PRODUCT`]; bound 2.
    fn mul(self, other: Self) -> Self;
    /// Square; bound at most 7; gives bound 2.
    fn square(self) -> Self {
        self.mul(self)
    }
    /// The same residue with bound 2, from any bound.
    fn reduce(self) -> Self;

    /// An empty sum of products.
    fn wide() -> Self::Wide;
    /// Adds a product of operands of bound at most 63. All products' bounds (multiplied) may add up to [`MAX_WIDE`], with at
    /// most [`MAX_TERMS`] products.
    fn mul_add(sum: &mut Self::Wide, a: Self, b: Self);
    /// The sum of products, bound 2.
    fn finish(sum: Self::Wide) -> Self;

    /// Lane `i` moves to lane `(i + by) mod LANES`.
    fn rotate(self, by: usize) -> Self;
    /// Element `(i, lane j)` becomes `(j, lane i)`. `rows` has `LANES` entries.
    fn transpose(rows: &mut [Self]);

    /// Writes `LANES` packed elements; any bound.
    fn pack(self, out: &mut [Self::Packed]);
    /// Reads `LANES` packed elements (bound 1).
    fn unpack(packed: &[Self::Packed]) -> Self;
    /// Reads the points `points[at[i]]` (both coordinates bound 1). `at` has `LANES` entries.
    fn gather(points: &[Point<Self::Packed>], at: &[u32]) -> (Self, Self);
    /// Only the abscissas of [`Vector::gather`].
    fn gather_x(points: &[Point<Self::Packed>], at: &[u32]) -> Self;
    /// Writes `LANES` consecutive points; any bounds.
    fn scatter(x: Self, y: Self, out: &mut [Point<Self::Packed>]);
    /// Bit `i`: whether lane `i` is equal. Both must have bound 1, which makes them unique.
    fn same(self, other: Self) -> u32;
    /// `−v` in lanes whose bit is set; needs bound 1, gives bound 1 (zero stays zero).
    fn negate_where(self, mask: u32) -> Self;
    /// `self` in lanes whose bit is clear, `other` in the others; bound: the larger.
    fn select(self, other: Self, mask: u32) -> Self;

    /// Adds `factor·values[i]` to `sums[i]`, both of the same length. Elements come and go as they are in memory, for which a
    /// vector's form would otherwise cost two multiplications more than the one that is needed.
    fn add_multiples(sums: &mut [F], factor: F, values: &[F]) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += factor * value;
        }
    }
}

/// A computation that is written once for all backends; its fields may hold vectors of the backend.
pub trait Kernel<B: Backend> {
    /// What it computes.
    type Output;
    /// The computation; `#[inline(always)]`, like everything that it calls in a loop.
    fn run(self) -> Self::Output;
}

/// An instruction set. Values exist only where the machine has it.
pub trait Backend: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// Vectors of the scalar field of Vesta.
    type Scalar: Vector<Fp>;
    /// Vectors of the base field of Vesta.
    type Base: Vector<Fq>;
    /// What users see.
    const NAME: &'static str;
    /// The backend, if this machine has it.
    fn detect() -> Option<Self>;
    /// Runs a kernel with the instruction set enabled.
    fn run<K: Kernel<Self>>(self, kernel: K) -> K::Output;
    /// `out[row] = Σ_o coefficients[o] · W[o, row]`; see [`crate::fold`]. The one computation that is not over field elements
    /// alone, and therefore not a [`Kernel`].
    ///
    /// # Panics
    /// If there are fewer points than coefficients, or `out` does not have one element per row.
    fn fold(self, weights: Weights<'_>, coefficients: &[Fp], out: &mut [Fp]) {
        fold::portable(weights, coefficients, out);
    }
}
