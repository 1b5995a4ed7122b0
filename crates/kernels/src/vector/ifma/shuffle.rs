//! Between packed elements and limbs: shuffles of lanes.
#![forbid(unsafe_code)]

use super::super::radix::MASK;
use super::*;

/// 5 limbs of 52 bits from 4 of 64.
#[inline(always)]
pub(super) fn widen(w: [V; 4]) -> [V; 5] {
    let mask = constant(MASK);
    [
        and(w[0], mask),
        and(funnel::<52>(w[0], w[1]), mask),
        and(funnel::<40>(w[1], w[2]), mask),
        and(funnel::<28>(w[2], w[3]), mask),
        shr::<16>(w[3]),
    ]
}

/// 4 limbs of 64 bits from 5 of 52.
#[inline(always)]
pub(super) fn narrow(v: [V; 5]) -> [V; 4] {
    [
        or(v[0], shl::<52>(v[1])),
        or(shr::<12>(v[1]), shl::<40>(v[2])),
        or(shr::<24>(v[2]), shl::<28>(v[3])),
        or(shr::<36>(v[3]), shl::<16>(v[4])),
    ]
}

/// Transposes a 4×4 matrix of pairs of lanes.
#[inline(always)]
pub(super) fn transpose_pairs(a: V, b: V, c: V, d: V) -> [V; 4] {
    let (ab, ab2) = (quarters::<0x44>(a, b), quarters::<0xee>(a, b));
    let (cd, cd2) = (quarters::<0x44>(c, d), quarters::<0xee>(c, d));
    [
        quarters::<0x88>(ab, cd),
        quarters::<0xdd>(ab, cd),
        quarters::<0x88>(ab2, cd2),
        quarters::<0xdd>(ab2, cd2),
    ]
}

/// Transposes an 8×8 matrix of lanes.
#[inline(always)]
pub(super) fn transpose_lanes(r: [V; 8]) -> [V; 8] {
    let e = transpose_pairs(
        even(r[0], r[1]),
        even(r[2], r[3]),
        even(r[4], r[5]),
        even(r[6], r[7]),
    );
    let o = transpose_pairs(
        odd(r[0], r[1]),
        odd(r[2], r[3]),
        odd(r[4], r[5]),
        odd(r[6], r[7]),
    );
    [e[0], o[0], e[1], o[1], e[2], o[2], e[3], o[3]]
}

/// Limbs of 8 packed elements, of which `z[i]` holds the `i`-th and the `(i+4)`-th.
#[inline(always)]
pub(super) fn columns_of_halves(z: [V; 4]) -> [V; 4] {
    let (e, e2) = (even(z[0], z[1]), even(z[2], z[3]));
    let (o, o2) = (odd(z[0], z[1]), odd(z[2], z[3]));
    let low = load(&[0, 1, 8, 9, 4, 5, 12, 13]);
    let high = load(&[2, 3, 10, 11, 6, 7, 14, 15]);
    [
        pick(e, low, e2),
        pick(o, low, o2),
        pick(e, high, e2),
        pick(o, high, o2),
    ]
}

/// Limbs of 8 consecutive packed elements.
#[inline(always)]
pub(super) fn columns_of(packed: &[Packed]) -> [V; 4] {
    let (two, _) = packed[..8].as_chunks::<2>();
    let z = [
        load_two(&two[0]),
        load_two(&two[1]),
        load_two(&two[2]),
        load_two(&two[3]),
    ];
    let (e, e2) = (even(z[0], z[1]), even(z[2], z[3]));
    let (o, o2) = (odd(z[0], z[1]), odd(z[2], z[3]));
    let low = load(&[0, 4, 1, 5, 8, 12, 9, 13]);
    let high = load(&[2, 6, 3, 7, 10, 14, 11, 15]);
    [
        pick(e, low, e2),
        pick(o, low, o2),
        pick(e, high, e2),
        pick(o, high, o2),
    ]
}

/// The reverse of [`columns_of`].
#[inline(always)]
pub(super) fn write_columns(w: [V; 4], out: &mut [Packed]) {
    let z = transpose_pairs(
        even(w[0], w[1]),
        even(w[2], w[3]),
        odd(w[0], w[1]),
        odd(w[2], w[3]),
    );
    let (two, _) = out[..8].as_chunks_mut::<2>();
    for i in 0..4 {
        store_two(z[i], &mut two[i]);
    }
}
