//! Compressed points of Vesta, many at a time.
//!
//! A compressed point is an abscissa and the parity of the ordinate; the ordinate is a square root of `v = x³ + 5`. With
//! `q − 1 = 2^32·t`, `t` odd, and `g` of order `2^32` (Tonelli, Shanks):
//!
//! ```text
//! w = v^((t−1)/2)      r = v·w      b = r·w = v^t = g^e      √v = r·g^(−e/2)
//! ```
//!
//! `v` is a square if and only if `e` is even. The eight hexadecimal digits of `e` come out lowest first: with the digits below
//! known and removed, `b^(2^(28−4i))` is a 16th root of unity, which tells digit `i`. All of it is the same for all lanes
//! but for the constants by which digits are removed, so eight points take as long as one.
//!
//! Every point that is returned was compared with the curve's equation by `pasta_curves`.

use crate::curve::PackedOf;
use crate::vector::{Backend, Kernel, Prime, Vector};
use ff::{Field, PrimeField};
use group::CurveAffine as _;
use pasta_curves::arithmetic::CurveAffine;
use pasta_curves::{EqAffine, Fq};

/// Hexadecimal digits of a discrete logarithm.
const DIGITS: usize = 8;
/// Values of a digit.
const RADIX: usize = 16;
/// Vectors whose multiplications overlap.
const WIDTH: usize = 2;
/// Upper bound of `LANES`.
const MAX_LANES: usize = 8;
/// The curve's constant.
const B: u64 = 5;

/// Constants for square roots.
#[derive(Debug)]
pub struct Decompress<B: Backend> {
    /// `g^(−d·16^m)` at `16·m + d`.
    steps: Vec<PackedOf<B>>,
    /// `g^(−d·16^m / 2)` at `16·m + d`; for odd `d` and `m = 0` there is no such thing, and a one.
    halves: Vec<PackedOf<B>>,
    /// `z^d`, `z` of order 16.
    marks: Vec<PackedOf<B>>,
}

impl<B: Backend> Decompress<B> {
    /// Computes the constants.
    pub fn new(backend: B) -> Self {
        backend.run(Constants)
    }

    /// `z^d` in every lane.
    #[inline(always)]
    fn marks(&self) -> [B::Base; RADIX] {
        let mut marks = [B::Base::zero(); RADIX];
        for (to, mark) in marks.iter_mut().zip(&self.marks) {
            *to = B::Base::unpack(&[*mark; MAX_LANES][..B::Base::LANES]);
        }
        marks
    }

    /// The points of compressed ones, in order; `None` for what is no point of the curve, or not in its one encoding.
    pub fn points(&self, backend: B, compressed: &[[u8; 32]]) -> Vec<Option<EqAffine>> {
        backend.run(Points {
            constants: self,
            compressed,
        })
    }
}

struct Constants;

impl<B: Backend> Kernel<B> for Constants {
    type Output = Decompress<B>;
    #[inline(always)]
    fn run(self) -> Decompress<B> {
        let inverse = Fq::ROOT_OF_UNITY_INV;
        let powers = |base: Fq| std::iter::successors(Some(Fq::ONE), move |p| Some(*p * base));
        let (mut steps, mut halves) = (Vec::new(), Vec::new());
        // g^(−16^m), and its root for m > 0.
        let (mut whole, mut half) = (inverse, Fq::ONE);
        for m in 0..DIGITS {
            steps.extend(powers(whole).take(RADIX));
            if m == 0 {
                // Digit 0 of a square is even: pairs.
                halves.extend(powers(inverse).take(RADIX / 2).flat_map(|p| [p, Fq::ONE]));
            } else {
                halves.extend(powers(half).take(RADIX));
            }
            for _ in 0..3 {
                whole = whole.square();
            }
            half = whole;
            whole = whole.square();
        }
        let mut z = Fq::ROOT_OF_UNITY;
        for _ in 0..Fq::S - 4 {
            z = z.square();
        }
        let marks: Vec<Fq> = powers(z).take(RADIX).collect();
        Decompress {
            steps: pack::<B>(&steps),
            halves: pack::<B>(&halves),
            marks: pack::<B>(&marks),
        }
    }
}

#[inline(always)]
fn pack<B: Backend>(values: &[Fq]) -> Vec<PackedOf<B>> {
    let mut out = vec![PackedOf::<B>::default(); values.len().next_multiple_of(B::Base::LANES)];
    for (from, to) in values
        .chunks(B::Base::LANES)
        .zip(out.chunks_exact_mut(B::Base::LANES))
    {
        let at = |i: usize| from[i.min(from.len() - 1)];
        B::Base::from_fn(at).pack(to);
    }
    out
}

struct Points<'a, B: Backend> {
    constants: &'a Decompress<B>,
    compressed: &'a [[u8; 32]],
}

impl<B: Backend> Kernel<B> for Points<'_, B> {
    type Output = Vec<Option<EqAffine>>;
    #[inline(always)]
    fn run(self) -> Vec<Option<EqAffine>> {
        let lanes = B::Base::LANES;
        let marks = self.constants.marks();
        let mut out = Vec::with_capacity(self.compressed.len());
        for some in self.compressed.chunks(WIDTH * lanes) {
            let mut xs = [None; WIDTH * MAX_LANES];
            for (x, bytes) in xs.iter_mut().zip(some) {
                let mut repr = *bytes;
                repr[31] &= 0x7f;
                *x = Option::<Fq>::from(Fq::from_repr(repr));
            }
            let five = B::Base::splat(Fq::from(B));
            let mut v = [B::Base::zero(); WIDTH];
            for (w, v) in v.iter_mut().enumerate() {
                let x = B::Base::from_fn(|i| xs[w * lanes + i].unwrap_or(Fq::ZERO));
                *v = x.square().mul(x).add(five);
            }
            let (roots, digits) = self.roots(v, &marks);
            let mut ys = [Fq::ZERO; WIDTH * MAX_LANES];
            for (w, root) in roots.iter().enumerate() {
                root.store(&mut ys[w * lanes..(w + 1) * lanes]);
            }
            for (i, bytes) in some.iter().enumerate() {
                let odd = digits[i / lanes][0][i % lanes] % 2 == 1;
                out.push(xs[i].and_then(|x| point(x, ys[i], bytes, odd)));
            }
        }
        out
    }
}

/// The point with a root of its equation's right side; `no_root` says that there is none.
#[inline(always)]
fn point(x: Fq, y: Fq, bytes: &[u8; 32], no_root: bool) -> Option<EqAffine> {
    if *bytes == [0; 32] {
        return Some(EqAffine::identity());
    }
    if no_root {
        return None;
    }
    let parity = bytes[31] >> 7 == 1;
    let y = if bool::from(y.is_odd()) == parity {
        y
    } else {
        -y
    };
    EqAffine::from_xy(x, y).into()
}

impl<B: Backend> Points<'_, B> {
    /// Candidates for the square roots, and the digits of `e`, `[vector][digit][lane]`.
    #[inline(always)]
    fn roots(
        &self,
        v: [B::Base; WIDTH],
        marks: &[B::Base; RADIX],
    ) -> ([B::Base; WIDTH], [[[usize; MAX_LANES]; DIGITS]; WIDTH]) {
        let w = power::<B>(v);
        let mut root = v;
        multiply::<B>(&mut root, &w);
        let mut b = root;
        multiply::<B>(&mut b, &w);
        let mut chain = [b; DIGITS];
        for m in 1..DIGITS {
            chain[m] = squares::<B, 4>(chain[m - 1]);
        }
        let mut digits = [[[0; MAX_LANES]; DIGITS]; WIDTH];
        for i in 0..DIGITS {
            let m = DIGITS - 1 - i;
            for k in 0..WIDTH {
                let mut b: B::Base = chain[m][k];
                for (j, known) in digits[k][..i].iter().enumerate() {
                    b = b.mul(chosen::<B>(&self.constants.steps, m + j, known));
                }
                digits[k][i] = digit::<B>(b, marks);
            }
        }
        for (root, digits) in root.iter_mut().zip(&digits) {
            for (m, known) in digits.iter().enumerate() {
                *root = root.mul(chosen::<B>(&self.constants.halves, m, known));
            }
        }
        (root, digits)
    }
}

/// `table[16·m + digit]` in every lane.
#[inline(always)]
fn chosen<B: Backend>(table: &[PackedOf<B>], m: usize, digits: &[usize; MAX_LANES]) -> B::Base {
    let lanes = B::Base::LANES;
    let table = &table[m * RADIX..(m + 1) * RADIX];
    let mut values = [PackedOf::<B>::default(); MAX_LANES];
    for (value, digit) in values.iter_mut().zip(digits) {
        *value = table[*digit];
    }
    B::Base::unpack(&values[..lanes])
}

/// Which 16th root of unity every lane is.
#[inline(always)]
fn digit<B: Backend>(b: B::Base, marks: &[B::Base; RADIX]) -> [usize; MAX_LANES] {
    let lanes = B::Base::LANES;
    let mut reduced = [PackedOf::<B>::default(); MAX_LANES];
    b.pack(&mut reduced[..lanes]);
    let b = B::Base::unpack(&reduced[..lanes]);
    let mut digits = [0; MAX_LANES];
    for (value, mark) in marks.iter().enumerate() {
        let same = b.same(*mark);
        for (lane, digit) in digits.iter_mut().enumerate() {
            if same >> lane & 1 == 1 {
                *digit = value;
            }
        }
    }
    digits
}

#[inline(always)]
fn squares<B: Backend, const N: usize>(mut v: [B::Base; WIDTH]) -> [B::Base; WIDTH] {
    for _ in 0..N {
        for v in &mut v {
            *v = v.square();
        }
    }
    v
}

/// Vector by vector.
#[inline(always)]
fn multiply<B: Backend>(v: &mut [B::Base; WIDTH], by: &[B::Base; WIDTH]) {
    for (v, by) in v.iter_mut().zip(by) {
        *v = v.mul(*by);
    }
}

/// `v^((t−1)/2)`, windows of four bits from the top. Bounds: 3 in (a product and a constant), 2 out.
#[inline(always)]
fn power<B: Backend>(mut v: [B::Base; WIDTH]) -> [B::Base; WIDTH] {
    for v in &mut v {
        *v = v.reduce();
    }
    let mut table = [v; RADIX];
    for d in 2..RADIX {
        table[d] = table[d - 1];
        multiply::<B>(&mut table[d], &v);
    }
    let exponent = exponent();
    let digit = |i: usize| (exponent[i / 16] >> (4 * (i % 16))) as usize & (RADIX - 1);
    let top = (0..64).rev().find(|&i| digit(i) != 0).unwrap_or(0);
    let mut power = table[digit(top)];
    for i in (0..top).rev() {
        power = squares::<B, 4>(power);
        let d = digit(i);
        if d != 0 {
            multiply::<B>(&mut power, &table[d]);
        }
    }
    power
}

/// `(t − 1)/2 = (q − 1)/2^33`, rounded down.
#[inline(always)]
fn exponent() -> [u64; 4] {
    let q = <Fq as Prime>::MODULUS;
    std::array::from_fn(|i| q[i] >> 33 | q.get(i + 1).map_or(0, |next| next << 31))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::Checked;
    use group::{Curve, Group, GroupEncoding};
    use pasta_curves::Eq;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    /// No bound is violated; what comes out is looked at in `tests/decompress.rs`.
    #[test]
    fn bounds_hold() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let points: Vec<EqAffine> = (0..40).map(|_| Eq::random(&mut rng).to_affine()).collect();
        let compressed: Vec<[u8; 32]> = points.iter().map(|p| p.to_bytes()).collect();
        let found = Decompress::new(Checked).points(Checked, &compressed);
        assert!(found.into_iter().eq(points.into_iter().map(Some)));
    }
}
