//! Small integers times field elements: the low halves of 52-bit products of shifted weights and limbs of the coefficients.
//!
//! Limbs are as wide as the weights leave room for in 52 bits, so that a product is one instruction. 4096 products fit a lane
//! of 64 bits; then, or at the end, the lanes' sums become limbs of 52 bits and are reduced modulo `p` by two products.

use super::super::powers::power_of_two;
use super::super::radix::split as limbs;
use super::{Eight, V, all, and, constant, constants, lo, montgomery, none, plus};
use crate::fold::Weights;
use crate::vector::{Backend, Kernel, Prime, Vector};
use ff::Field;
use pasta_curves::Fp;
use std::arch::x86_64::*;

/// Vectors of rows whose sums are in the first-level cache.
const BLOCK: usize = 24;
/// Points whose weights are read side by side, while sums are in registers.
const STREAMS: usize = 4;
/// Products per lane before it is reduced.
const POINTS: usize = 4096;

/// `out[row] = Σ_o coefficients[o] · W[o, row]`.
pub(super) struct Fold<'a> {
    pub weights: Weights<'a>,
    pub coefficients: &'a [Fp],
    pub out: &'a mut [Fp],
}

impl<B: Backend<Scalar = Eight<Fp>>> Kernel<B> for Fold<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        // Of a shifted weight.
        let bits = 64 - (2 * u64::from(self.weights.bound())).leading_zeros();
        match bits {
            0..=9 => self.with::<6, 43>(),
            10..=15 => self.with::<7, 37>(),
            16..=20 => self.with::<8, 32>(),
            21..=23 => self.with::<9, 29>(),
            _ => self.with::<13, 20>(), // 32 bits: a weight is at least −2^31 and less than 2^31
        }
    }
}

impl Fold<'_> {
    #[inline(always)]
    fn with<const N: usize, const BITS: usize>(self) {
        let rows = self.weights.rows();
        let shift = self.weights.bound();
        let mut limbs: Vec<[u64; N]> = Vec::with_capacity(self.coefficients.len());
        let mut total = Fp::ZERO;
        for c in self.coefficients {
            total += c;
            limbs.push(split::<N, BITS>(c.to_limbs()));
        }
        let correction = Eight::<Fp>::splat(-total * Fp::from(u64::from(shift)));
        let enter = Enter::new();
        let mut sums = [[none(); N]; BLOCK];
        let mut results = [correction; BLOCK];
        let mut last = [[0i32; 8]; STREAMS];
        for start in (0..rows).step_by(8 * BLOCK) {
            let height = (rows - start).min(8 * BLOCK);
            let full = height / 8;
            let vectors = height.div_ceil(8);
            results[..vectors].fill(correction);
            let mut o = 0;
            for (part, limbs) in limbs.chunks(POINTS).enumerate() {
                sums[..vectors].fill([none(); N]);
                for tile in limbs.chunks(STREAMS) {
                    let points: [&[i32]; STREAMS] = std::array::from_fn(|i| {
                        // Streams beyond the last point are not read.
                        let o = o + i.min(tile.len() - 1);
                        &self.weights.point(o)[start..start + height]
                    });
                    for (copy, point) in last.iter_mut().zip(&points) {
                        let rest = &point[8 * full..];
                        copy[..rest.len()].copy_from_slice(rest);
                    }
                    let last = std::array::from_fn(|i| last[i].as_slice());
                    let (body, end) = sums[..vectors].split_at_mut(full);
                    match <&[[u64; N]; STREAMS]>::try_from(tile) {
                        Ok(tile) => {
                            add(body, points, tile, shift);
                            add(end, last, tile, shift);
                        }
                        Err(_) => {
                            for (i, limbs) in tile.iter().enumerate() {
                                add(body, [points[i]], &[*limbs], shift);
                                add(end, [last[i]], &[*limbs], shift);
                            }
                        }
                    }
                    o += tile.len();
                }
                for (result, sums) in results[..vectors].iter_mut().zip(&sums) {
                    *result = result.add(enter.element::<N, BITS>(sums));
                    if part > 0 {
                        *result = result.reduce();
                    }
                }
            }
            let out = &mut self.out[start..start + height];
            let mut chunks = out.chunks_exact_mut(8);
            for (result, out) in results.iter().zip(&mut chunks) {
                result.store(out);
            }
            let rest = chunks.into_remainder();
            if !rest.is_empty() {
                let mut lanes = [Fp::ZERO; 8];
                results[vectors - 1].store(&mut lanes);
                rest.copy_from_slice(&lanes[..rest.len()]);
            }
        }
    }
}

/// Limbs of `BITS` bits.
#[inline(always)]
fn split<const N: usize, const BITS: usize>(v: [u64; 4]) -> [u64; N] {
    std::array::from_fn(|i| {
        let (word, bit) = (i * BITS / 64, i * BITS % 64);
        let at = |i: usize| v.get(i).copied().unwrap_or(0);
        let both = u128::from(at(word)) | u128::from(at(word + 1)) << 64;
        (both >> bit) as u64 & ((1 << BITS) - 1)
    })
}

/// Adds the products of some points to the sums of some vectors of rows.
#[inline(always)]
fn add<const N: usize, const P: usize>(
    sums: &mut [[V; N]],
    points: [&[i32]; P],
    limbs: &[[u64; N]; P],
    shift: u32,
) {
    let rows = 8 * sums.len();
    let points = points.map(|p| &p[..rows]);
    for (i, sum) in sums.iter_mut().enumerate() {
        let mut s = *sum;
        for (point, limbs) in points.iter().zip(limbs) {
            let w = shifted(&point[8 * i..8 * i + 8], shift);
            for (s, &limb) in s.iter_mut().zip(limbs) {
                *s = lo(*s, w, constant(limb));
            }
        }
        *sum = s;
    }
}

/// Eight weights plus the shift, modulo 2^32, as lanes of 64 bits.
#[inline(always)]
fn shifted(weights: &[i32], shift: u32) -> V {
    let weights = &weights[..8];
    // SAFETY: 32 readable bytes, no alignment needed; the processor has the instructions: see the parent module.
    unsafe {
        let w = _mm256_loadu_si256(weights.as_ptr().cast());
        let w = _mm256_add_epi32(w, _mm256_set1_epi32(shift as i32));
        _mm512_cvtepu32_epi64(w)
    }
}

/// Constants that bring integers of up to 364 bits into the vectors' representation.
struct Enter {
    low: Eight<Fp>,
    high: Eight<Fp>,
}

impl Enter {
    #[inline(always)]
    fn new() -> Enter {
        // A vector holds 2^260 times its element.
        const LOW: [u64; 5] = limbs(power_of_two(520, <Fp as Prime>::MODULUS));
        const HIGH: [u64; 5] = limbs(power_of_two(780, <Fp as Prime>::MODULUS));
        Enter {
            low: Eight::new(constants(LOW)),
            high: Eight::new(constants(HIGH)),
        }
    }

    /// The element `Σ sums[i]·2^(i·BITS)`; bound 2.
    #[inline(always)]
    fn element<const N: usize, const BITS: usize>(&self, sums: &[V; N]) -> Eight<Fp> {
        let mask = all((1 << 52) - 1);
        // Limbs of 52 bits, not yet carried: each gets at most 3 pieces of every sum, far below 2^64.
        let mut t = [none(); 8];
        for (i, &sum) in sums.iter().enumerate() {
            let (limb, bit) = (i * BITS / 52, (i * BITS % 52) as u32);
            t[limb] = plus(t[limb], and(left(sum, bit), mask));
            t[limb + 1] = plus(t[limb + 1], and(right(sum, 52 - bit), mask));
            if bit > 40 {
                t[limb + 2] = plus(t[limb + 2], right(sum, 104 - bit));
            }
        }
        for i in 0..7 {
            t[i + 1] = plus(t[i + 1], right(t[i], 52));
            t[i] = and(t[i], mask);
        }
        // Any 260 bits times an element below p: the sum of both products is below (2^260 + 2^156)·p.
        let mut sum = Eight::<Fp>::wide();
        Eight::mul_add(
            &mut sum,
            Eight::new([t[0], t[1], t[2], t[3], t[4]]),
            self.low,
        );
        Eight::mul_add(
            &mut sum,
            Eight::new([t[5], t[6], t[7], none(), none()]),
            self.high,
        );
        Eight::new(montgomery::<Fp>(sum.0))
    }
}

#[inline(always)]
fn left(v: V, by: u32) -> V {
    // SAFETY: as in the parent module.
    unsafe { _mm512_sll_epi64(v, _mm_cvtsi32_si128(by as i32)) }
}

#[inline(always)]
fn right(v: V, by: u32) -> V {
    // SAFETY: as in the parent module.
    unsafe { _mm512_srl_epi64(v, _mm_cvtsi32_si128(by as i32)) }
}
