//! Geometric series over monomials of challenges.

use crate::F;
use ff::Field;
use std::collections::HashMap;

/// By what a step of a counter multiplies, and how many steps there are. Exponents may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ratio {
    /// Number of values.
    pub count: u32,
    /// Exponent of `y`.
    pub y: i64,
    /// Exponent of `z`.
    pub z: i64,
    /// Exponent of `η`.
    pub eta: i64,
}

/// All ratios that occur, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Ratios {
    all: Vec<Ratio>,
    numbers: HashMap<Ratio, u32>,
}

/// Challenges and their powers.
pub(crate) struct Bases<'a> {
    /// `y^(last−1−t)` for every active row `t`, where `y` is the power by which accumulators of neighbouring rows differ.
    pub y: &'a [F],
    /// The same for free coefficients.
    pub z: &'a [F],
    /// The weight of every `E` column.
    pub lambda: &'a [F],
    /// `η^t`, from the zeroth power on.
    pub eta: &'a [F],
}

impl Bases<'_> {
    /// `λ·y^a·z^b·η^c`.
    pub fn monomial(&self, number: u32, y: u32, z: u32, eta: u32) -> F {
        let at = |powers: &[F], exponent: u32| powers[powers.len() - 1 - exponent as usize];
        let value = self.lambda[number as usize] * at(self.z, z);
        let value = if y == 0 { value } else { value * at(self.y, y) };
        if eta == 0 {
            value
        } else {
            value * self.eta[eta as usize]
        }
    }
}

/// The values of [`Ratios`].
pub(crate) struct Series {
    ratios: Vec<F>,
    sums: Vec<F>,
}

impl Series {
    /// The ratio.
    pub fn ratio(&self, number: u32) -> F {
        self.ratios[number as usize]
    }

    /// The sum of its powers below `count`.
    pub fn sum(&self, number: u32) -> F {
        self.sums[number as usize]
    }
}

impl Ratios {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The number of a ratio.
    pub fn number(&mut self, ratio: Ratio) -> u32 {
        let all = &mut self.all;
        *self.numbers.entry(ratio).or_insert_with(|| {
            all.push(ratio);
            all.len() as u32 - 1
        })
    }

    /// `r` and `1 + r + … + r^(count−1)` for all of them, with one inversion. `None` if a challenge is zero.
    pub fn evaluate(&self, bases: &Bases<'_>) -> Option<Series> {
        let second = |powers: &[F]| {
            let at = powers.len().checked_sub(2)?;
            Some(powers[at])
        };
        let y = Powers::new(second(bases.y).unwrap_or(F::ONE))?;
        let z = Powers::new(second(bases.z).unwrap_or(F::ONE))?;
        // Without folded activations there is no `η`.
        let eta = Powers::new(bases.eta.get(1).copied().unwrap_or(F::ONE))?;
        let ratio = |r: &Ratio| y.power(r.y) * z.power(r.z) * eta.power(r.eta);
        let ratios: Vec<F> = self.all.iter().map(ratio).collect();
        // (r^n − 1)/(r − 1), and n where r = 1: always so for a counter that moves nothing, else by rare chance.
        let mut sums: Vec<F> = ratios.iter().map(|r| *r - F::ONE).collect();
        invert(&mut sums);
        for ((sum, ratio), r) in sums.iter_mut().zip(&ratios).zip(&self.all) {
            *sum = if *ratio == F::ONE {
                F::from(u64::from(r.count))
            } else {
                (ratio.pow_vartime([u64::from(r.count)]) - F::ONE) * *sum
            };
        }
        Some(Series { ratios, sums })
    }
}

/// Powers of a challenge, of its inverse, too.
struct Powers {
    base: F,
    inverse: F,
}

impl Powers {
    fn new(base: F) -> Option<Powers> {
        let inverse = Option::from(base.invert())?;
        Some(Powers { base, inverse })
    }

    fn power(&self, exponent: i64) -> F {
        let base = if exponent < 0 {
            self.inverse
        } else {
            self.base
        };
        base.pow_vartime([exponent.unsigned_abs()])
    }
}

/// Inverts all values that are not zero, with one inversion.
fn invert(values: &mut [F]) {
    let mut product = F::ONE;
    let mut before = Vec::with_capacity(values.len());
    for v in values.iter() {
        before.push(product);
        if *v != F::ZERO {
            product *= v;
        }
    }
    // A product of what is not zero.
    let mut inverse = product.invert().unwrap_or(F::ONE);
    for (v, before) in values.iter_mut().zip(before).rev() {
        if *v != F::ZERO {
            let own = inverse * before;
            inverse *= *v;
            *v = own;
        }
    }
}
