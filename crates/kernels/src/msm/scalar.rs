//! Scalars as short signed integers: small values as they are, the others split by the endomorphism.
//!
//! The endomorphism acts as `λ = Fp::ZETA`, a cube root of one. The pairs `(a, b)` with `a + b·λ = 0 (mod p)` form a lattice
//! with the short basis `(V1A, −V1B_NEG)`, `(V2A, V2B)` of [`GlvParams`]. Subtracting from `(k, 0)` the lattice vector that
//! Babai's rounding finds leaves `k = k1 + k2·λ` with `|k1| < 2^126.3` and `|k2| < 2^126.8` (half the sum of the basis'
//! components). (Gallant, Lambert, Vanstone: Faster point multiplication on elliptic curves with efficient endomorphisms,
//! CRYPTO 2001.)

use crate::vector::Prime;
use pasta_curves::glv::GlvParams;
use pasta_curves::{Eq, Fp};

/// A scalar as a sum of signed integers below 2^127 in magnitude, true = negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// The scalar itself.
    Whole(bool, u128),
    /// `k1 + k2·λ`.
    Halves([(bool, u128); 2]),
}

/// `v` or `p − v` where one of them is below 2^127, else the two halves.
#[inline(always)]
pub fn shorten(v: &Fp) -> Short {
    let v = v.to_limbs();
    if v[2] | v[3] | v[1] >> 63 == 0 {
        return Short::Whole(false, join(v[0], v[1]));
    }
    let p = Fp::MODULUS;
    if v[3] >= p[3] - 1 {
        let (d0, b0) = p[0].overflowing_sub(v[0]);
        let (d1, b1) = sub_borrow(p[1], v[1], b0);
        let (d2, b2) = sub_borrow(p[2], v[2], b1);
        let (d3, _) = sub_borrow(p[3], v[3], b2);
        if d2 | d3 | d1 >> 63 == 0 {
            return Short::Whole(true, join(d0, d1));
        }
    }
    Short::Halves(split(&v))
}

#[inline(always)]
fn join(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << 64
}

#[inline(always)]
fn sub_borrow(a: u64, b: u64, borrow: bool) -> (u64, bool) {
    let (d, b1) = a.overflowing_sub(b);
    let (d, b2) = d.overflowing_sub(u64::from(borrow));
    (d, b1 | b2)
}

/// `k = k1 + k2·λ (mod p)` for a canonical `k`.
#[inline(always)]
fn split(k: &[u64; 4]) -> [(bool, u128); 2] {
    let c1 = rounded(&<Eq as GlvParams>::G1, k);
    let c2 = rounded(&<Eq as GlvParams>::G2, k);
    // The results fit in 128 bits with a sign, so that everything may be computed modulo 2^128.
    let k1 = join(k[0], k[1])
        .wrapping_sub(c1.wrapping_mul(<Eq as GlvParams>::V1A))
        .wrapping_sub(c2.wrapping_mul(<Eq as GlvParams>::V2A)) as i128;
    let k2 = c1
        .wrapping_mul(<Eq as GlvParams>::V1B_NEG)
        .wrapping_sub(c2.wrapping_mul(<Eq as GlvParams>::V2B)) as i128;
    [k1, k2].map(|k| (k < 0, k.unsigned_abs()))
}

/// `round(g·k / 2^384)` to within 2^-60 of where the rounding flips: `g`'s and `k`'s lowest limbs are left out, which
/// changes the quotient by less than `2^(194 + 64 − 320) + 2^(255 − 320)`.
#[inline(always)]
fn rounded(g: &[u64; 5], k: &[u64; 4]) -> u128 {
    // Limbs 1.. of both: the product has the weight 2^128, so that the quotient begins at its limb 4.
    let mut product = [0u64; 7];
    for i in 0..4 {
        let mut carry = 0u128;
        for j in 0..3 {
            let sum =
                u128::from(g[i + 1]) * u128::from(k[j + 1]) + u128::from(product[i + j]) + carry;
            product[i + j] = sum as u64;
            carry = sum >> 64;
        }
        product[i + 3] = carry as u64;
    }
    join(product[4], product[5]).wrapping_add(u128::from(product[3] >> 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ff::{Field, WithSmallOrderMulGroup};
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn value((negative, v): (bool, u128)) -> Fp {
        let v = Fp::from_u128(v);
        if negative { -v } else { v }
    }
    use ff::PrimeField;

    #[test]
    fn short_scalars_are_the_same_scalars() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let check = |v: Fp, whole: Option<bool>| {
            let short = shorten(&v);
            let back = match short {
                Short::Whole(s, m) => {
                    assert!(m < 1 << 127);
                    value((s, m))
                }
                Short::Halves([a, b]) => {
                    assert!(a.1 < 1 << 127 && b.1 < 1 << 127);
                    value(a) + value(b) * Fp::ZETA
                }
            };
            assert_eq!(back, v);
            if let Some(whole) = whole {
                assert_eq!(matches!(short, Short::Whole(..)), whole);
            }
        };
        for _ in 0..2000 {
            check(Fp::random(&mut rng), Some(false));
        }
        let two = Fp::from(2);
        for e in 0..256u64 {
            let v = two.pow([e]);
            for w in [v, v - Fp::ONE, v + Fp::ONE] {
                check(w, None);
                check(-w, None);
                check(w * Fp::ZETA, None);
                check(w * Fp::ZETA.square(), None);
                check(w * Fp::ZETA - v, None);
            }
        }
        for v in [
            Fp::ZERO,
            Fp::ONE,
            -Fp::ONE,
            two.pow([127]) - Fp::ONE,
            -two.pow([126]),
        ] {
            check(v, Some(true));
        }
        check(two.pow([127]), Some(false));
        // Half-way points of the rounding.
        for n in 1..200u64 {
            let half = Fp::from(n) * Fp::from(2).invert().unwrap();
            check(half, None);
            check(half * Fp::ZETA, None);
        }
    }
}
