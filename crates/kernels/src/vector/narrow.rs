//! One element per vector in limbs of 29 bits, for machines whose widest product has 64 bits (WebAssembly): there a
//! product of two 64-bit limbs is a function call.
//!
//! # Representation
//!
//! Element `a` is the residue `a·2^261 mod p` in 9 limbs. All are below `2^29`, the top one up to a bound of 64
//! (`64·p < 2^261`). Packed elements are canonical, in 8 limbs of 32 bits.
//!
//! # Multiplication
//!
//! Rows of products are added to 9 columns, and a round of Montgomery reduction after each row clears the lowest of them,
//! so that few numbers are alive at a time. With `p = 2^254 + t`, `t` of 5 limbs and `t ≡ 1 mod 2^32`, the multiplier of a
//! round is the column's opposite, and only 4 of `p`'s limbs take a multiplication. A column takes at most 9 products of a
//! row, 5 of rounds and a carry, all together below `2^62`.
//!
//! The result is below `(a·b)/2^261 + p`, that is, below `2p` where the bounds multiply to at most 127.

use super::powers::power_of_two;
use super::{Backend, Kernel, Point, Prime, Vector};
use pasta_curves::{Fp, Fq};
use std::marker::PhantomData;

/// Plain Rust with products of 32-bit numbers.
#[derive(Clone, Copy, Debug)]
pub struct Narrow;

const LIMBS: usize = 9;
const BITS: u32 = 29;
const MASK: u32 = (1 << BITS) - 1;
/// `2^254` in the top limb.
const TOP: u32 = 254 - 8 * BITS;

type Limbs = [u32; LIMBS];

/// One element at rest: canonical, Montgomery form with `R = 2^261`, little endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed([u32; 8]);

/// One element.
#[derive(Clone, Copy, Debug)]
pub struct One<F>(Limbs, PhantomData<F>);

/// 4 limbs of 64 bits as 9 limbs of 29 bits.
const fn split(v: [u64; 4]) -> Limbs {
    let mut out = [0; LIMBS];
    let mut i = 0;
    while i < LIMBS {
        let at = i as u32 * BITS;
        let (word, shift) = ((at / 64) as usize, at % 64);
        let mut bits = v[word] >> shift;
        if shift > 64 - BITS && word < 3 {
            bits |= v[word + 1] << (64 - shift);
        }
        out[i] = bits as u32 & MASK;
        i += 1;
    }
    out
}

/// `k·v`; the top limb takes what is left.
const fn times(v: Limbs, k: u64) -> Limbs {
    let mut out = [0; LIMBS];
    let mut carry = 0;
    let mut i = 0;
    while i < LIMBS {
        carry += v[i] as u64 * k;
        out[i] = carry as u32 & MASK;
        carry >>= BITS;
        i += 1;
    }
    assert!(carry == 0);
    out
}

/// The constants of `F`.
struct Modulus<F>(PhantomData<F>);

impl<F: Prime> Modulus<F> {
    const P: Limbs = {
        let p = split(<F as Prime>::MODULUS);
        assert!(p[0] == 1 && p[5] | p[6] | p[7] == 0 && p[8] == 1 << TOP);
        p
    };
    /// `k·p` for `k ≤ 64`.
    const MULTIPLES: [Limbs; 65] = {
        let mut out = [[0; LIMBS]; 65];
        let mut k = 0;
        while k < 65 {
            out[k] = times(Self::P, k as u64);
            k += 1;
        }
        out
    };
    /// `2^522 mod p`: a Montgomery multiplication by it takes an integer to its form.
    const ENTER: Limbs = split(power_of_two(522, <F as Prime>::MODULUS));
}

/// Carries of limbs that may be negative; the whole is not.
#[inline(always)]
fn carried(v: [i64; LIMBS]) -> Limbs {
    let mut carry = 0;
    v.map(|limb| {
        let limb = limb + carry;
        carry = limb >> BITS;
        limb as u32 & MASK
    })
}

/// Montgomery product. A call of its own: hundreds of instructions, at dozens of places.
#[inline(never)]
fn montgomery(a: &Limbs, b: &Limbs, p: &Limbs) -> Limbs {
    let mut columns = [0u64; LIMBS];
    for &a in a {
        for (column, &b) in columns.iter_mut().zip(b) {
            *column += u64::from(a) * u64::from(b);
        }
        // p's lowest limb is 1.
        let m = (columns[0] as u32).wrapping_neg() & MASK;
        let carry = (columns[0] + u64::from(m)) >> BITS;
        let m = u64::from(m);
        columns[0] = columns[1] + m * u64::from(p[1]) + carry;
        columns[1] = columns[2] + m * u64::from(p[2]);
        columns[2] = columns[3] + m * u64::from(p[3]);
        columns[3] = columns[4] + m * u64::from(p[4]);
        columns[4] = columns[5];
        columns[5] = columns[6];
        columns[6] = columns[7];
        columns[7] = columns[8] + (m << TOP);
        columns[8] = 0;
    }
    let mut out = [0; LIMBS];
    let mut carry = 0;
    for (out, column) in out.iter_mut().zip(columns) {
        let limb = column + carry;
        *out = limb as u32 & MASK;
        carry = limb >> BITS;
    }
    out
}

/// Below `p` from below `2p`.
#[inline(always)]
fn below_p<F: Prime>(v: Limbs) -> Limbs {
    let p = Modulus::<F>::P;
    let mut out = v;
    let mut borrow = 0;
    for (out, p) in out.iter_mut().zip(p) {
        let limb = *out as i32 - p as i32 + borrow;
        *out = limb as u32 & MASK;
        borrow = limb >> BITS;
    }
    if borrow < 0 { v } else { out }
}

impl<F: Prime> One<F> {
    #[inline(always)]
    fn new(limbs: Limbs) -> Self {
        One(limbs, PhantomData)
    }

    /// From a canonical integer.
    #[inline(always)]
    fn enter(v: [u64; 4]) -> Self {
        let v = Self::new(split(v)).mul(Self::new(Modulus::<F>::ENTER));
        Self::new(below_p::<F>(v.0))
    }
}

impl<F: Prime> Vector<F> for One<F> {
    const LANES: usize = 1;
    type Packed = Packed;
    /// A residue of bound 2. Nothing that this backend is for adds up products before reducing them.
    type Wide = Self;

    #[inline(always)]
    fn zero() -> Self {
        Self::new([0; LIMBS])
    }
    #[inline(always)]
    fn splat(v: F) -> Self {
        Self::enter(v.to_limbs())
    }
    #[inline(always)]
    fn from_fn(mut f: impl FnMut(usize) -> F) -> Self {
        Self::enter(f(0).to_limbs())
    }
    #[inline(always)]
    fn from_small(mut f: impl FnMut(usize) -> u64) -> Self {
        Self::enter([f(0), 0, 0, 0])
    }
    #[inline(always)]
    fn store(self, out: &mut [F]) {
        let mut one = [0; LIMBS];
        one[0] = 1;
        let v = below_p::<F>(montgomery(&self.reduce().0, &one, &Modulus::<F>::P));
        let words = joined(v);
        let word = |i: usize| u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32;
        out[0] = F::from_limbs(std::array::from_fn(word));
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let mut out = self.0;
        let mut carry = 0;
        for (out, b) in out.iter_mut().zip(other.0) {
            let limb = *out + b + carry;
            *out = limb & MASK;
            carry = limb >> BITS;
        }
        Self::new(out)
    }
    #[inline(always)]
    fn sub<const K: u64>(self, other: Self) -> Self {
        let p = &Modulus::<F>::MULTIPLES[K as usize];
        let mut out = self.0;
        let mut carry = 0;
        for ((out, p), b) in out.iter_mut().zip(p).zip(other.0) {
            let limb = (*out + p) as i32 - b as i32 + carry;
            *out = limb as u32 & MASK;
            carry = limb >> BITS;
        }
        Self::new(out)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self::new(montgomery(&self.0, &other.0, &Modulus::<F>::P))
    }
    /// With `q·2^254 ≤ v`: `v − q·p + p` is above `p − 64·t` and below `2^254 + p`.
    #[inline(always)]
    fn reduce(self) -> Self {
        let p = Modulus::<F>::P;
        let q = i64::from(self.0[LIMBS - 1] >> TOP) - 1;
        Self::new(carried(std::array::from_fn(|i| {
            i64::from(self.0[i]) - q * i64::from(p[i])
        })))
    }
    #[inline(always)]
    fn wide() -> Self {
        Self::zero()
    }
    #[inline(always)]
    fn mul_add(sum: &mut Self, a: Self, b: Self) {
        *sum = sum.add(a.reduce().mul(b.reduce())).reduce();
    }
    #[inline(always)]
    fn finish(sum: Self) -> Self {
        sum
    }
    #[inline(always)]
    fn rotate(self, _by: usize) -> Self {
        self
    }
    #[inline(always)]
    fn transpose(_rows: &mut [Self]) {}
    #[inline(always)]
    fn pack(self, out: &mut [Packed]) {
        out[0] = packed::<F>(self);
    }
    #[inline(always)]
    fn unpack(packed: &[Packed]) -> Self {
        unpacked(&packed[0])
    }
    #[inline(always)]
    fn gather(points: &[Point<Packed>], at: &[u32]) -> (Self, Self) {
        let p = &points[at[0] as usize];
        (unpacked(&p.x), unpacked(&p.y))
    }
    #[inline(always)]
    fn gather_x(points: &[Point<Packed>], at: &[u32]) -> Self {
        unpacked(&points[at[0] as usize].x)
    }
    #[inline(always)]
    fn scatter(x: Self, y: Self, out: &mut [Point<Packed>]) {
        out[0] = Point {
            x: packed::<F>(x),
            y: packed::<F>(y),
        };
    }
    #[inline(always)]
    fn same(self, other: Self) -> u32 {
        u32::from(self.0 == other.0)
    }
    #[inline(always)]
    fn negate_where(self, mask: u32) -> Self {
        if mask & 1 == 0 || self.0 == [0; LIMBS] {
            return self;
        }
        Self::zero().sub::<1>(self)
    }
    #[inline(always)]
    fn select(self, other: Self, mask: u32) -> Self {
        if mask & 1 == 1 { other } else { self }
    }
}

/// 9 limbs of 29 bits, together below `2^256`, as 8 words.
#[inline(always)]
fn joined(v: Limbs) -> [u32; 8] {
    let mut out = [0; 8];
    for (i, word) in out.iter_mut().enumerate() {
        let at = 32 * i as u32;
        let (limb, shift) = ((at / BITS) as usize, at % BITS);
        *word = v[limb] >> shift | v[limb + 1] << (BITS - shift);
        if 2 * BITS - shift < 32 {
            *word |= v[limb + 2] << (2 * BITS - shift);
        }
    }
    out
}

#[inline(always)]
fn packed<F: Prime>(v: One<F>) -> Packed {
    Packed(joined(below_p::<F>(v.reduce().0)))
}

#[inline(always)]
fn unpacked<F: Prime>(v: &Packed) -> One<F> {
    let mut out = [0; LIMBS];
    for (i, limb) in out.iter_mut().enumerate() {
        let at = i as u32 * BITS;
        let (word, shift) = ((at / 32) as usize, at % 32);
        let mut bits = v.0[word] >> shift;
        if shift > 32 - BITS && word < 7 {
            bits |= v.0[word + 1] << (32 - shift);
        }
        *limb = bits & MASK;
    }
    One::new(out)
}

impl Backend for Narrow {
    type Scalar = One<Fp>;
    type Base = One<Fq>;
    const NAME: &'static str = "narrow";
    fn detect() -> Option<Self> {
        Some(Narrow)
    }
    #[inline(always)]
    fn run<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        kernel.run()
    }
}
