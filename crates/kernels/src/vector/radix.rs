//! Constants of a modulus in limbs of 52 bits, computed at compile time.

use super::Prime;
use super::powers::{minus, power_of_two};
use std::marker::PhantomData;

/// The low 52 bits.
pub(super) const MASK: u64 = (1 << 52) - 1;

/// 4 limbs of 64 bits as 5 limbs of 52 bits.
pub(super) const fn split(v: [u64; 4]) -> [u64; 5] {
    [
        v[0] & MASK,
        (v[0] >> 52 | v[1] << 12) & MASK,
        (v[1] >> 40 | v[2] << 24) & MASK,
        (v[2] >> 28 | v[3] << 36) & MASK,
        v[3] >> 16,
    ]
}

/// `k·v`; the top limb takes what is left.
const fn times(v: [u64; 5], k: u64) -> [u64; 5] {
    let mut out = [0; 5];
    let mut carry = 0u128;
    let mut i = 0;
    while i < 5 {
        carry += v[i] as u128 * k as u128;
        out[i] = carry as u64 & MASK;
        carry >>= 52;
        i += 1;
    }
    out[4] += (carry as u64) << 52;
    out
}

/// The constants of `F`, whose modulus is `2^254 + t` with `t < 2^126` and `t ≡ 1 mod 2^32`.
pub(super) struct Modulus<F>(PhantomData<F>);

impl<F: Prime> Modulus<F> {
    /// The modulus.
    pub(super) const P: [u64; 5] = {
        let p = split(<F as Prime>::MODULUS);
        assert!(p[3] == 0 && p[4] == 1 << 46 && p[2] < 1 << 22 && p[0] & 0xffff_ffff == 1);
        p
    };
    /// `−1/p mod 2^52`. From `p = 1 + 2^32·a`: the square of `2^32·a` vanishes, so it is `2^32·a − 1`.
    pub(super) const NEG_INV: u64 = (Self::P[0] - 2) & MASK;
    /// `k·p` for `k ≤ 64`.
    pub(super) const MULTIPLES: [[u64; 5]; 65] = {
        let mut out = [[0; 5]; 65];
        let mut k = 0;
        while k < 65 {
            out[k] = times(Self::P, k as u64);
            k += 1;
        }
        out
    };
    /// `p − 64·t`.
    pub(super) const P_MINUS_64T: [u64; 5] = {
        let t = [Self::P[0], Self::P[1], Self::P[2], 0, 0];
        minus(Self::P, times(t, 64), 52)
    };
    /// `2^264 mod p`: a Montgomery multiplication by it takes the form with `R = 2^256` to the one with `2^260`.
    pub(super) const ENTER: [u64; 5] = split(power_of_two(264, <F as Prime>::MODULUS));
    /// `2^256 mod p`: the way back.
    pub(super) const LEAVE: [u64; 5] = split(power_of_two(256, <F as Prime>::MODULUS));
    /// `2^312 mod p`: one round of Montgomery reduction takes its multiples to multiples of `2^260`.
    pub(super) const SMALL: [u64; 5] = split(power_of_two(312, <F as Prime>::MODULUS));
}
