//! Eight elements per vector with AVX-512 IFMA.
//!
//! # Representation
//!
//! Element `a` is the residue `a·2^260 mod p` in 5 limbs of 52 bits, limb `i` of all lanes in one register. Limbs 0 to 3 are
//! always below `2^52`; limb 4 takes what is left, and is below `2^52` up to a bound of 63 (`63·p < 2^260 < 64·p`).
//! Packed elements are canonical, in 4 limbs of 64 bits.
//!
//! # Multiplication
//!
//! `vpmadd52luq` and `vpmadd52huq` add the low and the high 52 bits of a product of two limbs to a 64-bit lane. All 50 are
//! summed by column and 5 rounds of Montgomery reduction clear the lower half, each as soon as its column is complete. Round `i` adds `m·p·2^(52i)`, where `m` is
//! chosen such that column `i` becomes 0 modulo `2^52`. With `p = 2^254 + t`, `t` of 3 limbs:
//!
//! - the low half of `m·p[0]` is never computed: column `i` becomes a multiple of `2^52` by choice of `m`, so its carry is
//!   its own high bits, plus one unless it was zero already;
//! - `p[3]` is 0, and `p[4]` is a power of two, so that the high half of `m·p[4]` is a shift. So would be the low half, but of
//!   three instructions: the multiplier is as fast.
//!
//! That makes 85 multiplier instructions, of which the processor starts one per cycle.
//!
//! The result is below `(a·b)/2^260 + p`, that is, below `2p` where the bounds multiply to at most 63.
//!
//! # Safety
//!
//! The intrinsics need the instruction set. [`Ifma`] is only made by [`Backend::detect`], which asks the processor for it,
//! and vectors are only for kernels that [`Backend::run`] entered.
#![allow(unsafe_code)]

mod arithmetic;
mod fold;
mod shuffle;

use super::powers::power_of_two;
use super::radix::Modulus;
use super::{Backend, Kernel, Point, Prime, Vector};
use crate::fold::Weights;
use arithmetic::{canonical, carry, carry_signed, montgomery, reduce, round, row};
use pasta_curves::{Fp, Fq};
use shuffle::{columns_of, columns_of_halves, narrow, transpose_lanes, widen, write_columns};
use std::arch::x86_64::*;
use std::marker::PhantomData;

/// AVX-512 with 52-bit multiply-add.
#[derive(Clone, Copy, Debug)]
pub struct Ifma(());

/// One element at rest: canonical, Montgomery form with `R = 2^260`, little endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Packed([u64; 4]);

/// Eight elements.
#[derive(Clone, Copy, Debug)]
pub struct Eight<F>([V; 5], PhantomData<F>);

/// A sum of products: 10 columns of weight `2^(52i)`. A product adds at most 9 halves below `2^52` to a column, so that
/// 256 of them and the reduction stay below `2^64`.
#[derive(Clone, Copy, Debug)]
pub struct Columns([V; 10]);

/// Fields whose elements are 4 limbs of 64 bits without padding, any bits being allowed.
///
/// # Safety
///
/// The type is `repr(transparent)` over `[u64; 4]`.
unsafe trait FourLimbs: Prime {}
// SAFETY: both are declared `repr(transparent)` over `[u64; 4]`; `detect` checks what the limbs mean.
unsafe impl FourLimbs for Fp {}
// SAFETY: as above.
unsafe impl FourLimbs for Fq {}

const _: () = assert!(size_of::<Fp>() == 32 && align_of::<Fp>() == align_of::<Packed>());
const _: () = assert!(size_of::<Fq>() == 32 && align_of::<Fq>() == align_of::<Packed>());
const _: () = assert!(size_of::<Point<Packed>>() == 64 && align_of::<Point<Packed>>() == 64);

type V = __m512i;

/// Safe names for intrinsics, for this module only.
macro_rules! names {
    ($(fn $name:ident $(<const $n:ident: $nt:ty>)? ($($arg:ident: $t:ty),*) -> $r:ty = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        fn $name $(<const $n: $nt>)? ($($arg: $t),*) -> $r {
            // SAFETY: the processor has the instructions: see the module's documentation.
            unsafe { $intrinsic $(::<$n>)? ($($arg),*) }
        }
    )*};
}

names! {
    fn all(v: i64) -> V = _mm512_set1_epi64;
    fn none() -> V = _mm512_setzero_si512;
    fn plus(a: V, b: V) -> V = _mm512_add_epi64;
    fn minus(a: V, b: V) -> V = _mm512_sub_epi64;
    fn and(a: V, b: V) -> V = _mm512_and_si512;
    fn or(a: V, b: V) -> V = _mm512_or_si512;
    fn lo(sum: V, a: V, b: V) -> V = _mm512_madd52lo_epu64;
    fn hi(sum: V, a: V, b: V) -> V = _mm512_madd52hi_epu64;
    fn shr<const N: u32>(a: V) -> V = _mm512_srli_epi64;
    fn shl<const N: u32>(a: V) -> V = _mm512_slli_epi64;
    fn sar<const N: u32>(a: V) -> V = _mm512_srai_epi64;
    fn funnel<const N: i32>(low: V, high: V) -> V = _mm512_shrdi_epi64;
    fn blend(mask: __mmask8, clear: V, set: V) -> V = _mm512_mask_blend_epi64;
    fn negative(v: V) -> __mmask8 = _mm512_movepi64_mask;
    fn equal(a: V, b: V) -> __mmask8 = _mm512_cmpeq_epi64_mask;
    fn nonzero(a: V, b: V) -> __mmask8 = _mm512_test_epi64_mask;
    fn even(a: V, b: V) -> V = _mm512_unpacklo_epi64;
    fn odd(a: V, b: V) -> V = _mm512_unpackhi_epi64;
    fn quarters<const N: i32>(a: V, b: V) -> V = _mm512_shuffle_i64x2;
    fn pick(a: V, at: V, b: V) -> V = _mm512_permutex2var_epi64;
    fn permute(at: V, v: V) -> V = _mm512_permutexvar_epi64;
    fn halves(low: __m256i, high: __m256i) -> V = join;
}

/// # Safety
///
/// The processor has AVX-512.
#[inline(always)]
unsafe fn join(low: __m256i, high: __m256i) -> V {
    // SAFETY: the caller's.
    unsafe { _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high) }
}

#[inline(always)]
fn load(from: &[u64; 8]) -> V {
    // SAFETY: 64 readable bytes; no alignment needed.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline(always)]
fn load_point(from: &Point<Packed>) -> V {
    // SAFETY: a point is 64 bytes of integers, aligned to 64.
    unsafe { _mm512_load_si512((&raw const *from).cast()) }
}

#[inline(always)]
fn store_point(v: V, to: &mut Point<Packed>) {
    // SAFETY: a point is 64 bytes of integers, aligned to 64, any bits being allowed.
    unsafe { _mm512_store_si512((&raw mut *to).cast(), v) }
}

#[inline(always)]
fn load_packed(from: &Packed) -> __m256i {
    // SAFETY: 32 readable bytes; no alignment needed.
    unsafe { _mm256_loadu_si256((&raw const *from).cast()) }
}

#[inline(always)]
fn load_two(from: &[Packed; 2]) -> V {
    // SAFETY: 64 readable bytes; no alignment needed.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[inline(always)]
fn store_two(v: V, to: &mut [Packed; 2]) {
    // SAFETY: 64 writable bytes of integers; no alignment needed.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) }
}

#[inline(always)]
fn limbs_of<F: FourLimbs>(v: &F) -> Packed {
    // SAFETY: same size, integers (`FourLimbs`).
    unsafe { std::mem::transmute_copy(v) }
}

#[inline(always)]
fn of_limbs<F: FourLimbs>(v: &Packed) -> F {
    // SAFETY: same size, any bits being allowed (`FourLimbs`).
    unsafe { std::mem::transmute_copy(v) }
}

#[inline(always)]
fn constant(v: u64) -> V {
    all(v as i64)
}

#[inline(always)]
fn constants(v: [u64; 5]) -> [V; 5] {
    [
        constant(v[0]),
        constant(v[1]),
        constant(v[2]),
        constant(v[3]),
        constant(v[4]),
    ]
}

impl<F: Prime> Eight<F> {
    #[inline(always)]
    fn new(limbs: [V; 5]) -> Self {
        Eight(limbs, PhantomData)
    }

    /// Below `p`, from any bound.
    #[inline(always)]
    fn canonical(self) -> [V; 5] {
        canonical::<F>(reduce::<F>(self.0))
    }
}

impl<F: FourLimbs> Vector<F> for Eight<F> {
    const LANES: usize = 8;
    type Packed = Packed;
    type Wide = Columns;

    #[inline(always)]
    fn zero() -> Self {
        Self::new([none(); 5])
    }
    #[inline(always)]
    fn splat(v: F) -> Self {
        let w = limbs_of(&v).0;
        let w = [
            constant(w[0]),
            constant(w[1]),
            constant(w[2]),
            constant(w[3]),
        ];
        let v = Self::new(widen(w)).mul(Self::new(constants(Modulus::<F>::ENTER)));
        Self::new(canonical::<F>(v.0))
    }
    #[inline(always)]
    fn from_fn(mut f: impl FnMut(usize) -> F) -> Self {
        let mut raw = [Packed::default(); 8];
        for (i, to) in raw.iter_mut().enumerate() {
            *to = limbs_of(&f(i));
        }
        let v = Self::new(widen(columns_of(&raw))).mul(Self::new(constants(Modulus::<F>::ENTER)));
        Self::new(canonical::<F>(v.0))
    }
    #[inline(always)]
    fn from_small(mut f: impl FnMut(usize) -> u64) -> Self {
        let mut raw = [0; 8];
        for (i, to) in raw.iter_mut().enumerate() {
            *to = f(i);
        }
        // The single limb times `2^312 mod p`, and a single round: below `2^52·p / 2^52 + p`.
        let v = load(&raw);
        let c = constants(Modulus::<F>::SMALL);
        let mut t = [none(); 10];
        row(&mut t, &c, &[v; 5], 0);
        round::<F>(&mut t, 0);
        Self::new(carry([t[1], t[2], t[3], t[4], t[5]]))
    }
    #[inline(always)]
    fn store(self, out: &mut [F]) {
        let v = Self::new(reduce::<F>(self.0)).mul(Self::new(constants(Modulus::<F>::LEAVE)));
        let mut raw = [Packed::default(); 8];
        write_columns(narrow(canonical::<F>(v.0)), &mut raw);
        let out = &mut out[..8];
        for i in 0..8 {
            out[i] = of_limbs(&raw[i]);
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        Self::new(carry([
            plus(a[0], b[0]),
            plus(a[1], b[1]),
            plus(a[2], b[2]),
            plus(a[3], b[3]),
            plus(a[4], b[4]),
        ]))
    }
    #[inline(always)]
    fn sub<const K: u64>(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        let p = constants(const { Modulus::<F>::MULTIPLES[K as usize] });
        Self::new(carry_signed([
            minus(plus(a[0], p[0]), b[0]),
            minus(plus(a[1], p[1]), b[1]),
            minus(plus(a[2], p[2]), b[2]),
            minus(plus(a[3], p[3]), b[3]),
            minus(plus(a[4], p[4]), b[4]),
        ]))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self::new(arithmetic::product::<F>(&self.0, &other.0))
    }
    #[inline(always)]
    fn square(self) -> Self {
        Self::new(arithmetic::square::<F>(&self.0))
    }
    #[inline(always)]
    fn reduce(self) -> Self {
        Self::new(reduce::<F>(self.0))
    }

    #[inline(always)]
    fn wide() -> Columns {
        Columns([none(); 10])
    }
    #[inline(always)]
    fn mul_add(sum: &mut Columns, a: Self, b: Self) {
        for i in 0..5 {
            row(&mut sum.0, &a.0, &b.0, i);
        }
    }
    #[inline(always)]
    fn finish(sum: Columns) -> Self {
        // Below `4032·p²/2^260 + p < 64·p + 2^134`: `reduce` takes it, since `64·t` is that much below `p`.
        Self::new(reduce::<F>(montgomery::<F>(sum.0)))
    }

    #[inline(always)]
    fn rotate(self, by: usize) -> Self {
        // Lane `i` of the result is lane `i − by`; the instruction reads the low 3 bits of an index.
        let at = minus(load(&[0, 1, 2, 3, 4, 5, 6, 7]), constant(by as u64));
        let mut v = self.0;
        for limb in &mut v {
            *limb = permute(at, *limb);
        }
        Self::new(v)
    }
    #[inline(always)]
    fn transpose(rows: &mut [Self]) {
        let rows = &mut rows[..8];
        for limb in 0..5 {
            let mut m = [none(); 8];
            for i in 0..8 {
                m[i] = rows[i].0[limb];
            }
            m = transpose_lanes(m);
            for i in 0..8 {
                rows[i].0[limb] = m[i];
            }
        }
    }

    #[inline(always)]
    fn pack(self, out: &mut [Packed]) {
        write_columns(narrow(self.canonical()), out);
    }
    #[inline(always)]
    fn unpack(packed: &[Packed]) -> Self {
        Self::new(widen(columns_of(packed)))
    }
    #[inline(always)]
    fn gather(points: &[Point<Packed>], at: &[u32]) -> (Self, Self) {
        let at = &at[..8];
        let mut m = [none(); 8];
        for i in 0..8 {
            m[i] = load_point(&points[at[i] as usize]);
        }
        let [x0, x1, x2, x3, y0, y1, y2, y3] = transpose_lanes(m);
        (
            Self::new(widen([x0, x1, x2, x3])),
            Self::new(widen([y0, y1, y2, y3])),
        )
    }
    #[inline(always)]
    fn gather_x(points: &[Point<Packed>], at: &[u32]) -> Self {
        let at = &at[..8];
        let mut z = [none(); 4];
        for i in 0..4 {
            z[i] = halves(
                load_packed(&points[at[i] as usize].x),
                load_packed(&points[at[i + 4] as usize].x),
            );
        }
        Self::new(widen(columns_of_halves(z)))
    }
    #[inline(always)]
    fn scatter(x: Self, y: Self, out: &mut [Point<Packed>]) {
        let out = &mut out[..8];
        let (x, y) = (narrow(x.canonical()), narrow(y.canonical()));
        let m = transpose_lanes([x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]]);
        for i in 0..8 {
            store_point(m[i], &mut out[i]);
        }
    }
    #[inline(always)]
    fn same(self, other: Self) -> u32 {
        let (a, b) = (self.0, other.0);
        let mut mask = equal(a[0], b[0]);
        for i in 1..5 {
            mask &= equal(a[i], b[i]);
        }
        u32::from(mask)
    }
    #[inline(always)]
    fn negate_where(self, mask: u32) -> Self {
        let v = self.0;
        let p = constants(Modulus::<F>::P);
        let d = carry_signed([
            minus(p[0], v[0]),
            minus(p[1], v[1]),
            minus(p[2], v[2]),
            minus(p[3], v[3]),
            minus(p[4], v[4]),
        ]);
        // Zero stays zero: `p` would not be canonical.
        let any = or(or(or(v[0], v[1]), or(v[2], v[3])), v[4]);
        let mask = mask as __mmask8 & nonzero(any, any);
        self.select(Self::new(d), u32::from(mask))
    }
    #[inline(always)]
    fn select(self, other: Self, mask: u32) -> Self {
        let mut v = self.0;
        for (limb, set) in v.iter_mut().zip(other.0) {
            *limb = blend(mask as __mmask8, *limb, set);
        }
        Self::new(v)
    }

    /// In memory `v` is `v·2^256`; times the factor's `f·2^260`, over `2^260`, it is `f·v·2^256`, as it is in memory.
    #[inline(always)]
    fn add_multiples(sums: &mut [F], factor: F, values: &[F]) {
        let f = Self::splat(factor);
        let whole = sums.len().min(values.len()) / 8 * 8;
        let (sums, rest) = sums.split_at_mut(whole);
        let (values, last) = values.split_at(whole);
        for (sums, values) in sums.chunks_exact_mut(8).zip(values.chunks_exact(8)) {
            let product = in_memory(values).mul(f);
            let sum = product.add(in_memory(sums));
            let mut raw = [Packed::default(); 8];
            write_columns(narrow(sum.canonical()), &mut raw);
            for (sum, raw) in sums.iter_mut().zip(&raw) {
                *sum = of_limbs(raw);
            }
        }
        for (sum, value) in rest.iter_mut().zip(last) {
            *sum += factor * value;
        }
    }
}

/// The limbs of 8 elements as they are in memory (bound 1).
#[inline(always)]
fn in_memory<F: FourLimbs>(values: &[F]) -> Eight<F> {
    let mut raw = [Packed::default(); 8];
    for (raw, value) in raw.iter_mut().zip(&values[..8]) {
        *raw = limbs_of(value);
    }
    Eight::new(widen(columns_of(&raw)))
}

/// Whether elements are what the conversions take them for: Montgomery form with `R = 2^256`, canonical.
fn understood<F: FourLimbs>() -> bool {
    let p = <F as Prime>::MODULUS;
    let mut r_inverse = F::ONE;
    let half = F::TWO_INV;
    for _ in 0..256 {
        r_inverse *= half;
    }
    let last = [p[0] - 1, p[1], p[2], p[3]];
    limbs_of(&F::ZERO).0 == [0; 4]
        && limbs_of(&F::ONE).0 == power_of_two(256, p)
        && limbs_of(&F::from(2)).0 == power_of_two(257, p)
        && limbs_of(&F::from(1 << 63)).0 == power_of_two(256 + 63, p)
        && limbs_of(&r_inverse).0 == [1, 0, 0, 0]
        && limbs_of(&-r_inverse).0 == last
        && of_limbs::<F>(&Packed(last)) == -r_inverse
}

impl Backend for Ifma {
    type Scalar = Eight<Fp>;
    type Base = Eight<Fq>;
    const NAME: &'static str = "AVX-512 IFMA";
    fn detect() -> Option<Self> {
        let features = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512ifma")
            && is_x86_feature_detected!("avx512vbmi2");
        (features && understood::<Fp>() && understood::<Fq>()).then_some(Ifma(()))
    }
    #[inline(always)]
    fn run<K: Kernel<Self>>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma,avx512vbmi2")]
        fn go<K: Kernel<Ifma>>(kernel: K) -> K::Output {
            kernel.run()
        }
        // SAFETY: `self` exists, so `detect` found these features.
        unsafe { go(kernel) }
    }
    fn fold(self, weights: Weights<'_>, coefficients: &[Fp], out: &mut [Fp]) {
        self.run(fold::Fold {
            weights,
            coefficients,
            out,
        });
    }
}
