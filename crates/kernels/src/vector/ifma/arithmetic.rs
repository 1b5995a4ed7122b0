//! Carries, products and reductions of eight residues in limbs of 52 bits.
#![forbid(unsafe_code)]

use super::super::Prime;
use super::super::radix::{MASK, Modulus};
use super::*;

/// Brings limbs 0 to 3 below `2^52`; limbs are unsigned.
#[inline(always)]
pub(super) fn carry(mut v: [V; 5]) -> [V; 5] {
    let mask = constant(MASK);
    for i in 0..4 {
        v[i + 1] = plus(v[i + 1], shr::<52>(v[i]));
        v[i] = and(v[i], mask);
    }
    v
}

/// Brings limbs 0 to 3 below `2^52`; limbs are signed. The sign of the whole is that of limb 4.
#[inline(always)]
pub(super) fn carry_signed(mut v: [V; 5]) -> [V; 5] {
    let mask = constant(MASK);
    for i in 0..4 {
        v[i + 1] = plus(v[i + 1], sar::<52>(v[i]));
        v[i] = and(v[i], mask);
    }
    v
}

/// Adds the columns of `a·b[i]·2^(52i)`.
#[inline(always)]
pub(super) fn row(t: &mut [V; 10], a: &[V; 5], b: &[V; 5], i: usize) {
    for j in 0..5 {
        t[i + j] = lo(t[i + j], a[j], b[i]);
    }
    for j in 0..5 {
        t[i + j + 1] = hi(t[i + j + 1], a[j], b[i]);
    }
}

/// One round of Montgomery reduction: clears column `i`.
#[inline(always)]
pub(super) fn round<F: Prime>(t: &mut [V], i: usize) {
    let p = Modulus::<F>::P;
    let m = lo(none(), t[i], constant(Modulus::<F>::NEG_INV));
    let up = shr::<52>(plus(t[i], constant(MASK)));
    // The next round waits for this column only: two short sums instead of a long one.
    let next = hi(plus(t[i + 1], up), m, constant(p[0]));
    t[i + 1] = plus(next, lo(none(), m, constant(p[1])));
    t[i + 2] = hi(lo(t[i + 2], m, constant(p[2])), m, constant(p[1]));
    t[i + 3] = hi(t[i + 3], m, constant(p[2]));
    t[i + 4] = lo(t[i + 4], m, constant(p[4]));
    t[i + 5] = plus(t[i + 5], shr::<6>(m));
}

/// Montgomery reduction of columns below `2^64 − 2^56`: the sum divided by `2^260`, plus at most `p`.
#[inline(always)]
pub(super) fn montgomery<F: Prime>(mut t: [V; 10]) -> [V; 5] {
    round::<F>(&mut t, 0);
    round::<F>(&mut t, 1);
    round::<F>(&mut t, 2);
    round::<F>(&mut t, 3);
    round::<F>(&mut t, 4);
    carry([t[5], t[6], t[7], t[8], t[9]])
}

/// From below `2p` to below `p`.
#[inline(always)]
pub(super) fn canonical<F: Prime>(v: [V; 5]) -> [V; 5] {
    let p = constants(Modulus::<F>::P);
    let mut d = [
        minus(v[0], p[0]),
        minus(v[1], p[1]),
        minus(v[2], p[2]),
        v[3],
        minus(v[4], p[4]),
    ];
    d = carry_signed(d);
    let below = negative(d[4]);
    for i in 0..5 {
        d[i] = blend(below, d[i], v[i]);
    }
    d
}

/// `a·b/2^260`, below `2p`.
#[inline(always)]
pub(super) fn product<F: Prime>(a: &[V; 5], b: &[V; 5]) -> [V; 5] {
    let mut t = [none(); 10];
    row(&mut t, a, b, 0);
    row(&mut t, a, b, 1);
    round::<F>(&mut t, 0);
    row(&mut t, a, b, 2);
    round::<F>(&mut t, 1);
    row(&mut t, a, b, 3);
    round::<F>(&mut t, 2);
    row(&mut t, a, b, 4);
    round::<F>(&mut t, 3);
    round::<F>(&mut t, 4);
    carry([t[5], t[6], t[7], t[8], t[9]])
}

/// `a²/2^260`, below `2p`.
#[inline(always)]
pub(super) fn square<F: Prime>(a: &[V; 5]) -> [V; 5] {
    let mut t = [none(); 10];
    // Products of different limbs once, doubled in the columns: a doubled limb could exceed 52 bits.
    for i in 0..4 {
        for j in i + 1..5 {
            t[i + j] = lo(t[i + j], a[i], a[j]);
            t[i + j + 1] = hi(t[i + j + 1], a[i], a[j]);
        }
    }
    for column in &mut t[1..9] {
        *column = plus(*column, *column);
    }
    for i in 0..5 {
        t[2 * i] = lo(t[2 * i], a[i], a[i]);
        t[2 * i + 1] = hi(t[2 * i + 1], a[i], a[i]);
    }
    montgomery::<F>(t)
}

/// Below `2p`. Of `v = q·2^254 + r` with `q ≤ 64` it keeps `r + p − q·t`, computed as `r + (p − 64·t) + (64 − q)·t`.
#[inline(always)]
pub(super) fn reduce<F: Prime>(v: [V; 5]) -> [V; 5] {
    let p = Modulus::<F>::P;
    let base = constants(Modulus::<F>::P_MINUS_64T);
    let k = minus(constant(64), shr::<46>(v[4]));
    let (t0, t1, t2) = (constant(p[0]), constant(p[1]), constant(p[2]));
    carry([
        lo(plus(v[0], base[0]), k, t0),
        lo(hi(plus(v[1], base[1]), k, t0), k, t1),
        lo(hi(plus(v[2], base[2]), k, t1), k, t2),
        plus(v[3], base[3]),
        plus(and(v[4], constant((1 << 46) - 1)), base[4]),
    ])
}
