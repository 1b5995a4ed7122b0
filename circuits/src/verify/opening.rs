//! A halo2 proof as what remains to be checked of it: one sum of multiples of points.
//!
//! This is upstream's `verify_proof` for circuits of constraints alone (no lookup or permutation argument, no instance),
//! without its group arithmetic: the same transcript, the quotient's value from the constraints, the multi-point opening
//! of the halo2 book (section "multipoint opening"), and the inner product argument of Bootle et al. and Bünz et al. as Halo
//! modifies it (eprint 2019/1021), whose last step, a sum over all generators, is left to be added up with others.
//!
//! That it is upstream's is tested on bytes that are no proof of anything: there both come to sums that are not zero, and
//! the same ([`super::reference`]), for every program of the tests and several numbers of runs.

use super::key::Key;
use super::queries::{Opened, Place};
use super::reading::{Decoded, ProofReader};
use crate::checks::{Check, holds};
use crate::error::Rejection;
use crate::multiples;
use crate::{C, F};
use ff::Field;
use halo2_proofs::poly::Rotation;

/// Coefficients of a sum that is zero if a proof is right.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    /// Points of the proof with their coefficients.
    pub points: Vec<(F, C)>,
    /// Of the commitments to fixed columns.
    pub fixed: Vec<F>,
    /// Of the first generator, besides.
    pub first: F,
    /// Of `w`.
    pub w: F,
    /// Of `u`.
    pub u: F,
    /// Of all generators, `factor·s_i`, where `s` are the coefficients of `Π_j (1 + u_{k−1−j}·X^(2^j))` for these `u`.
    pub rounds: Vec<F>,
    /// See `rounds`.
    pub factor: F,
}

impl Opening {
    /// Multiplies the sum.
    pub fn scale(&mut self, weight: F) {
        let points = self.points.iter_mut().map(|(s, _)| s);
        let single = [&mut self.first, &mut self.w, &mut self.u, &mut self.factor];
        let all = points.chain(&mut self.fixed).chain(single);
        all.for_each(|s| *s *= weight);
    }

    /// `factor·s`.
    pub fn generators(&self) -> Vec<F> {
        let mut s = Vec::with_capacity(1 << self.rounds.len());
        s.push(self.factor);
        for u in self.rounds.iter().rev() {
            let all = s.len();
            multiples::append(&mut s, *u, all);
        }
        s
    }
}

/// What is read of a proof.
struct Read {
    points: Vec<C>,
    /// Evaluations of columns of each run.
    advice: Vec<Vec<F>>,
    fixed: Vec<F>,
    /// Evaluation of the random polynomial.
    random: F,
    /// Evaluation of each set's combination at `x_3`.
    sets: Vec<F>,
    /// The folded coefficient and its blind.
    last: [F; 2],
    y: F,
    x: F,
    x_1: F,
    x_2: F,
    x_3: F,
    x_4: F,
    xi: F,
    z: F,
    rounds: Vec<F>,
}

impl Read {
    /// Everything in upstream's order.
    fn new(key: &Key, runs: usize, proof: &mut ProofReader<'_>) -> Result<Read, &'static str> {
        let queries = &key.queries;
        proof.absorb(key.repr);
        let mut points = proof.points(runs * key.advice)?;
        // Upstream's challenges for lookups and permutations.
        for _ in 0..3 {
            proof.challenge();
        }
        points.extend(proof.points(1)?);
        let y = proof.challenge();
        points.extend(proof.points(key.pieces())?);
        let x = proof.challenge();
        let advice = (0..runs).map(|_| proof.scalars(queries.advice.len()));
        let advice = advice.collect::<Result<_, _>>()?;
        let fixed = proof.scalars(queries.fixed.len())?;
        let random = proof.scalar()?;
        let (x_1, x_2) = (proof.challenge(), proof.challenge());
        points.extend(proof.points(1)?);
        let x_3 = proof.challenge();
        let sets = proof.scalars(queries.sets.len())?;
        let x_4 = proof.challenge();
        points.extend(proof.points(1)?);
        let (xi, z) = (proof.challenge(), proof.challenge());
        let mut rounds = Vec::with_capacity(key.k as usize);
        for _ in 0..key.k {
            points.extend(proof.points(2)?);
            rounds.push(proof.challenge());
        }
        let last = [proof.scalar()?, proof.scalar()?];
        Ok(Read {
            points,
            advice,
            fixed,
            random,
            sets,
            last,
            y,
            x,
            x_1,
            x_2,
            x_3,
            x_4,
            xi,
            z,
            rounds,
        })
    }

    /// The constraints of all runs at `x`, combined by powers of `y`.
    fn constraints(&self, key: &Key) -> F {
        let of_run = |sum: F, advice: &Vec<F>| {
            key.gates.iter().fold(sum, |sum, gate| {
                let value = gate.evaluate(
                    &|c| c,
                    &|q| advice[q.column],
                    &|q| self.fixed[q.column],
                    &|_| F::ZERO,
                    &|a, b| a + b,
                    &|a, b| a * b,
                    &|a, c| a * c,
                );
                sum * self.y + value
            })
        };
        self.advice.iter().fold(F::ZERO, of_run)
    }
}

impl Key {
    /// What remains to be checked of the bytes of a proof of so many runs.
    ///
    /// # Errors
    /// Bytes that cannot be read, and [`Rejection::Circuit`] where a challenge is one of the few for which the sum is not
    /// defined, which happens to nobody.
    pub fn opening(&self, runs: usize, decoded: &Decoded<'_>) -> Result<Opening, Rejection> {
        let mut proof = ProofReader::new(decoded);
        let read = Read::new(self, runs, &mut proof);
        let read = read.map_err(|what| Rejection::Malformed { what })?;
        if !holds(Check::ProofLength, proof.left() == 0) {
            let what = "bytes behind the end of the proof";
            return Err(Rejection::Malformed { what });
        }
        self.sum(runs, read).ok_or(Rejection::Circuit)
    }

    /// `None` if something has no inverse.
    fn sum(&self, runs: usize, read: Read) -> Option<Opening> {
        let queries = &self.queries;
        let sets = &queries.sets;
        let x_n = read.x.pow_vartime([1 << self.k]);
        // Everything that is divided by, to be inverted at once.
        let at = |rotation: &i32| self.domain.rotate_omega(read.x, Rotation(*rotation));
        let mut divisors = vec![x_n - F::ONE];
        divisors.extend_from_slice(&read.rounds);
        for set in sets {
            let points: Vec<F> = set.iter().map(&at).collect();
            divisors.push(points.iter().map(|p| read.x_3 - p).product());
            for (i, p) in points.iter().enumerate() {
                let others = points.iter().enumerate().filter(|(j, _)| *j != i);
                divisors.push((read.x_3 - p) * others.map(|(_, q)| p - q).product::<F>());
            }
        }
        let mut inverses = inverses(&divisors)?.into_iter();
        let quotient = read.constraints(self) * inverses.next()?;
        let rounds: Vec<F> = inverses.by_ref().take(read.rounds.len()).collect();

        // The powers of `x_1` by which a set's commitments are combined, and of `x_4` for sets.
        let most = runs * self.advice + queries.opened_fixed.len() + 2;
        let x_1 = multiples::powers(read.x_1, most);
        let x_4 = multiples::powers(read.x_4, sets.len() + 1);
        let weight = |(set, behind): Place| x_1[behind] * x_4[sets.len() - 1 - set];

        // What every set's combination should be at each of its points.
        let mut expected: Vec<Vec<F>> = sets.iter().map(|s| vec![F::ZERO; s.len()]).collect();
        let mut expect = |(set, behind): Place, values: &mut dyn Iterator<Item = F>| {
            let sums = expected[set].iter_mut().zip(values);
            sums.for_each(|(sum, v)| *sum += x_1[behind] * v);
        };
        let mut of_runs = vec![F::ZERO; runs * self.advice];
        for (run, evaluations) in read.advice.iter().enumerate() {
            for opened in &queries.opened_advice {
                let place = queries.place(opened, run, runs);
                expect(place, &mut values(opened, evaluations));
                of_runs[run * self.advice + opened.column] = weight(place);
            }
        }
        let mut fixed = vec![F::ZERO; self.fixed];
        for opened in &queries.opened_fixed {
            expect(opened.place, &mut values(opened, &read.fixed));
            fixed[opened.column] = weight(opened.place);
        }
        expect(queries.quotient, &mut [quotient].into_iter());
        expect(queries.random, &mut [read.random].into_iter());

        // The value at `x_3` of the multi-point opening's quotient, and with it of the combination of everything.
        let mut value = F::ZERO;
        for (expected, stated) in expected.iter().zip(&read.sets) {
            let whole = *stated * inverses.next()?;
            let interpolated = expected.iter().zip(inverses.by_ref());
            let interpolated: F = interpolated.map(|(v, inverse)| *v * inverse).sum();
            value = value * read.x_2 + whole - interpolated;
        }
        let value = read.sets.iter().fold(value, |v, u| v * read.x_4 + u);

        let mut coefficients = of_runs;
        coefficients.push(weight(queries.random));
        let pieces = multiples::powers(x_n, self.pieces()).into_iter();
        coefficients.extend(pieces.map(|p| p * weight(queries.quotient)));
        coefficients.push(x_4[sets.len()]);
        coefficients.push(read.xi);
        for (u, inverse) in read.rounds.iter().zip(rounds) {
            coefficients.extend([inverse, *u]);
        }
        debug_assert_eq!(coefficients.len(), read.points.len());
        let [folded, blind] = read.last;
        Some(Opening {
            points: coefficients.into_iter().zip(read.points).collect(),
            fixed,
            first: -value,
            w: -blind,
            u: -folded * read.z * folded_base(read.x_3, &read.rounds),
            rounds: read.rounds,
            factor: -folded,
        })
    }
}

/// A column's evaluations at the points of its set.
fn values<'a>(opened: &'a Opened, evaluations: &'a [F]) -> impl Iterator<Item = F> + 'a {
    opened.evaluations.iter().map(|&i| evaluations[i])
}

/// `Π_j (1 + u_{k−1−j}·x^(2^j))`: what the powers of `x` become in the rounds of the opening argument.
fn folded_base(x: F, rounds: &[F]) -> F {
    let mut power = x;
    rounds.iter().rev().fold(F::ONE, |product, u| {
        let factor = F::ONE + *u * power;
        power = power.square();
        product * factor
    })
}

/// Inverses of all, with one inversion.
fn inverses(values: &[F]) -> Option<Vec<F>> {
    let mut product = F::ONE;
    let mut out = Vec::with_capacity(values.len());
    for v in values {
        out.push(product);
        product *= v;
    }
    let mut inverse = Option::<F>::from(product.invert())?;
    for (out, v) in out.iter_mut().zip(values).rev() {
        *out *= inverse;
        inverse *= v;
    }
    Some(out)
}
