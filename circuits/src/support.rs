//! The support proof of a card: every commitment has entries only where its neuron may read.
//!
//! A commitment of the model is a point; nothing in a point says which rows it has entries on. An owner who commits to
//! weights from a neuron to itself, or to a later layer, would publish a model with cycles, for which one input can have
//! several provable outputs. So a card comes with one proof for all its [`Group`]s. With `c_{g,o,r}` for the entry of group
//! `g`'s point `o` on row `r`, and `R_g` for the rows of the group, it shows
//!
//! ```text
//! Σ_g ⟨a_g, e_g⟩ = 0,   a_{g,r} = Σ_o γ^o·c_{g,o,r},   e_{g,r} = τ^g·σ^r for r ∉ R_g, and 0 for r ∈ R_g
//! ```
//!
//! at challenges `γ, σ, τ` of the transcript: a polynomial in them whose coefficients are the entries outside. Every `a_g` is
//! committed to by a known combination `A_g` of points, so this is an inner product of committed vectors with public ones:
//!
//! 1. *Halvings* of the list of groups (`log₂` of their number): of the halves `a = (a', a'')` and `e = (e', e'')` go on
//!    `a' + x·a''` and `e' + e''/x`; cross terms `⟨a', e''⟩` and `⟨a'', e'⟩` are committed to, over a generator `U`.
//! 2. A *mask*: a commitment to a random vector, and to its inner product with the `e` that is left; `ξ` times both are added.
//! 3. The inner product argument of Bootle et al. (EUROCRYPT 2016) in the form of Bünz et al. (Bulletproofs, section 3), with
//!    blinds, over the Lagrange generators: `k` *rounds*, and the vector's last value.
//!
//! Lie caught: a weight outside the architecture. Soundness error below `(points + groups + 2^(k+3))/|F|`, under the
//! discrete logarithm assumption; zero-knowledge: points are blinded, and the mask makes value and blind uniform. It is
//! checked once per card. Argued in `docs/protocol.md`, sections 6 and 11.

use crate::checks::{Check, drawn};
use crate::codec::{Reader, Writer};
use crate::error::DecodeError;
use crate::fold::Group;
use crate::layout::MAX_K;
use crate::link::Equation;
use crate::parallel;
use crate::transcript::{Digest, IdentityPoint, Transcript};
use crate::{C, F};
use ff::Field;
use group::Curve;
use pasta_curves::Eq;
use pasta_curves::arithmetic::CurveExt;
use rand_core::CryptoRng;
use std::cmp::Ordering;
use std::sync::OnceLock;

/// Proof for all groups of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SupportProof {
    /// Commitments to the cross terms of every halving of the groups.
    pub halvings: Vec<[C; 2]>,
    /// Commitment to the mask, and to its inner product.
    pub mask: [C; 2],
    /// Cross terms of every round.
    pub rounds: Vec<[C; 2]>,
    /// The value that is left.
    pub value: F,
    /// Its blind.
    pub blind: F,
}

/// What the owner knows, and how it commits.
pub trait Witness: Sync {
    /// `Σ_o coefficients[o]·c_{g,o,r}` by rows, which ascend, and `Σ_o coefficients[o]·blind_o`.
    fn fold(&self, group: usize, coefficients: &[F]) -> (Vec<(u32, F)>, F);

    /// `Σ_r column[r]·L_r + blind·W` for columns of `2^k` values.
    fn commit(&self, columns: &[Vec<F>], blinds: &[F]) -> Vec<C>;
}

/// Where a cheating prover puts what its claim is wrong by; for tests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    Nowhere,
    Halvings,
    Mask,
    Rounds,
}

/// What all groups are combined by.
struct Challenges {
    gamma: F,
    sigma: F,
    tau: F,
}

/// The base of inner products: nobody knows a relation between it and other generators.
fn base() -> C {
    static BASE: OnceLock<C> = OnceLock::new();
    *BASE.get_or_init(|| Eq::hash_to_curve("zkinfer support")(b"U").to_affine())
}

fn begin(card: &Digest) -> (Transcript, Challenges) {
    let mut transcript = Transcript::new("zkinfer support v2");
    transcript.bytes(&card.0);
    let gamma = drawn(Check::SupportGamma, transcript.challenge(), F::ONE);
    let sigma = drawn(Check::SupportSigma, transcript.challenge(), F::ONE);
    let tau = drawn(Check::SupportTau, transcript.challenge(), F::ONE);
    let challenges = Challenges { gamma, sigma, tau };
    (transcript, challenges)
}

/// Absorbs two points, and yields the next challenge.
fn step(transcript: &mut Transcript, points: &[C; 2]) -> Result<F, IdentityPoint> {
    points.iter().try_for_each(|p| transcript.point(*p))?;
    Ok(transcript.challenge())
}

/// `ξ`, which weighs the mask, and `z`, which weighs inner products.
fn masked(transcript: &mut Transcript, mask: &[C; 2]) -> Result<(F, F), IdentityPoint> {
    let xi = drawn(Check::SupportMask, step(transcript, mask)?, F::ONE);
    let z = drawn(Check::SupportValue, transcript.challenge(), F::ZERO);
    Ok((xi, z))
}

fn halvings(groups: usize) -> usize {
    groups.max(1).next_power_of_two().ilog2() as usize
}

fn powers(base: F, count: usize) -> Vec<F> {
    std::iter::successors(Some(F::ONE), |p| Some(*p * base))
        .take(count)
        .collect()
}

/// `Π_j x_j^{b_j}` for every number, where `b` are its bits, the highest first.
fn products(x: &[F]) -> Vec<F> {
    let mut products = Vec::with_capacity(1 << x.len());
    products.push(F::ONE);
    for x in x.iter().rev() {
        for i in 0..products.len() {
            products.push(products[i] * x);
        }
    }
    products
}

/// What is left of some groups: `a`, and `e_r = σ^r·(t − m_r)`, where `m` is zero but on their rows.
#[derive(Clone, Default)]
struct Part {
    entries: Vec<Entry>,
    t: F,
    blind: F,
}

#[derive(Clone, Copy)]
struct Entry {
    row: u32,
    a: F,
    m: F,
}

impl Part {
    /// Of one group with weight `t`.
    fn new(group: &Group, t: F, (values, blind): (Vec<(u32, F)>, F)) -> Part {
        let values = values
            .into_iter()
            .map(|(row, a)| Entry { row, a, m: F::ZERO });
        let rows = group.rows.iter().map(|&row| Entry {
            row,
            a: F::ZERO,
            m: t,
        });
        Part {
            entries: united(values, rows, |value, row| Entry { m: row.m, ..value }),
            t,
            blind,
        }
    }

    /// `⟨a, e⟩` with the `e` of other groups.
    fn cross(&self, other: &Part, sigma: &[F]) -> F {
        let mut sum = F::ZERO;
        let mut rest = other.entries.iter().peekable();
        for entry in &self.entries {
            while rest.next_if(|e| e.row < entry.row).is_some() {}
            let m = rest.peek().filter(|e| e.row == entry.row).map(|e| e.m);
            let e = other.t - m.unwrap_or(F::ZERO);
            sum += sigma[entry.row as usize] * entry.a * e;
        }
        sum
    }

    /// `a' + x·a''`, `e' + e''/x`.
    fn halved(first: &Part, second: &Part, x: F, inverse: F) -> Part {
        let scaled = second.entries.iter().map(|e| Entry {
            row: e.row,
            a: e.a * x,
            m: e.m * inverse,
        });
        Part {
            entries: united(first.entries.iter().copied(), scaled, |one, other| Entry {
                row: one.row,
                a: one.a + other.a,
                m: one.m + other.m,
            }),
            t: first.t + inverse * second.t,
            blind: first.blind + x * second.blind,
        }
    }
}

/// The union of two lists by row, which ascends in both.
fn united(
    one: impl Iterator<Item = Entry>,
    other: impl Iterator<Item = Entry>,
    both: impl Fn(Entry, Entry) -> Entry,
) -> Vec<Entry> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    let mut entries = Vec::with_capacity(one.size_hint().0.max(other.size_hint().0));
    loop {
        let order = match (one.peek(), other.peek()) {
            (None, None) => return entries,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.row.cmp(&b.row),
        };
        let first = if order.is_le() { one.next() } else { None };
        let second = if order.is_ge() { other.next() } else { None };
        entries.extend(match (first, second) {
            (Some(a), Some(b)) => Some(both(a, b)),
            (first, second) => first.or(second),
        });
    }
}

/// Commitments over `U` and `W`, and over columns.
struct Committer<'a, T: Witness> {
    witness: &'a T,
    w: Eq,
}

impl<T: Witness> Committer<'_, T> {
    /// `v·U + blind·W`.
    fn value(&self, v: F, blind: F) -> Eq {
        base() * v + self.w * blind
    }
}

/// Proves the support of all groups. `card` is the digest of everything in the card but this proof.
///
/// # Errors
/// [`IdentityPoint`] with negligible probability.
pub fn prove(
    k: u32,
    card: &Digest,
    groups: &[Group],
    witness: &impl Witness,
    rng: &mut impl CryptoRng,
) -> Result<SupportProof, IdentityPoint> {
    prove_with(k, card, groups, witness, Slip::Nowhere, rng)
}

/// [`prove`], and how to cheat at it where a challenge is known.
///
/// # Errors
/// As [`prove`].
#[doc(hidden)]
pub fn prove_with(
    k: u32,
    card: &Digest,
    groups: &[Group],
    witness: &impl Witness,
    slip: Slip,
    rng: &mut impl CryptoRng,
) -> Result<SupportProof, IdentityPoint> {
    let n = 1usize << k;
    let w = witness.commit(&[vec![F::ZERO; n]], &[F::ONE]);
    let w = w.first().map_or_else(Eq::default, |w| (*w).into());
    let committer = Committer { witness, w };
    let (mut transcript, challenges) = begin(card);
    let sigma = powers(challenges.sigma, n);
    let weights = powers(challenges.tau, groups.len());
    let all: Vec<(usize, (&Group, F))> = groups.iter().zip(weights).enumerate().collect();
    let mut parts = parallel::map(&all, |(index, (group, t))| {
        let coefficients = powers(challenges.gamma, group.points);
        Part::new(group, *t, witness.fold(*index, &coefficients))
    });
    parts.resize_with(1 << halvings(groups.len()), Part::default);
    let wrong = |place| match slip == place {
        true => parts.iter().map(|p| p.cross(p, &sigma)).sum(),
        false => F::ZERO,
    };
    let mut slips = [Slip::Halvings, Slip::Mask, Slip::Rounds].map(wrong);

    let mut proof = SupportProof::default();
    let mut blind = F::ZERO;
    while parts.len() > 1 {
        let second = parts.split_off(parts.len() / 2);
        let pairs: Vec<(Part, Part)> = parts.into_iter().zip(second).collect();
        let crosses = parallel::map(&pairs, |(a, b)| (a.cross(b, &sigma), b.cross(a, &sigma)));
        let left: F = crosses.iter().map(|(l, _)| *l).sum();
        let right: F = crosses.iter().map(|(_, r)| *r).sum();
        let blinds = [F::random(&mut *rng), F::random(&mut *rng)];
        let points = [
            committer.value(left + std::mem::take(&mut slips[0]), blinds[0]),
            committer.value(right, blinds[1]),
        ];
        let points = points.map(|p| p.to_affine());
        let x = drawn(
            Check::SupportHalvings,
            step(&mut transcript, &points)?,
            F::ONE,
        );
        let inverse = Option::<F>::from(x.invert()).ok_or(IdentityPoint)?;
        proof.halvings.push(points);
        blind += inverse * blinds[0] + x * blinds[1];
        parts = parallel::map(&pairs, |(a, b)| Part::halved(a, b, x, inverse));
    }
    let part = parts.pop().unwrap_or_default();
    let mut a = vec![F::ZERO; n];
    let mut e: Vec<F> = sigma.iter().map(|s| *s * part.t).collect();
    for entry in &part.entries {
        let row = entry.row as usize;
        a[row] = entry.a;
        e[row] -= sigma[row] * entry.m;
    }

    let mask: Vec<F> = (0..n).map(|_| F::random(&mut *rng)).collect();
    let blinds = [F::random(&mut *rng), F::random(&mut *rng)];
    let product = inner(&mask, &e) + slips[1];
    let commitment = committer
        .witness
        .commit(std::slice::from_ref(&mask), &blinds[..1]);
    let commitment = commitment.first().copied().unwrap_or_default();
    proof.mask = [commitment, committer.value(product, blinds[1]).to_affine()];
    let (xi, z) = masked(&mut transcript, &proof.mask)?;
    a.iter_mut().zip(&mask).for_each(|(a, s)| *a += xi * s);
    blind = part.blind + xi * blinds[0] + z * (blind + xi * blinds[1]);
    let opened = open(&committer, &mut transcript, (a, e), z, slips[2], rng)?;
    proof.value = opened.value;
    proof.blind = blind + opened.blind;
    proof.rounds = opened.rounds;
    Ok(proof)
}

/// The rounds of an inner product argument, what is left, and what the rounds add to the blind.
struct Opened {
    rounds: Vec<[C; 2]>,
    value: F,
    blind: F,
}

/// Opens a committed vector to its inner product with a public one. Generators are not folded: their coefficients are.
fn open<T: Witness>(
    committer: &Committer<'_, T>,
    transcript: &mut Transcript,
    (mut a, mut e): (Vec<F>, Vec<F>),
    z: F,
    mut slip: F,
    rng: &mut impl CryptoRng,
) -> Result<Opened, IdentityPoint> {
    let mut generators = vec![F::ONE; a.len()];
    let mut rounds = Vec::new();
    let mut blind = F::ZERO;
    while a.len() > 1 {
        let half = a.len() / 2;
        let is_second = |row: usize| row & half != 0;
        let mut columns = vec![vec![F::ZERO; generators.len()]; 2];
        for (row, g) in generators.iter().enumerate() {
            let other = (row & (2 * half - 1)) ^ half;
            columns[usize::from(!is_second(row))][row] = *g * a[other];
        }
        let blinds = [F::random(&mut *rng), F::random(&mut *rng)];
        let products = [inner(&a[..half], &e[half..]), inner(&a[half..], &e[..half])];
        let left = z * (products[0] + std::mem::take(&mut slip));
        let values = [left, z * products[1]].map(|v| base() * v);
        let points = committer.witness.commit(&columns, &blinds);
        let mut points = points.iter().zip(values).map(|(p, v)| v + p);
        let points = [(); 2].map(|()| points.next().unwrap_or_default().to_affine());
        let x = drawn(Check::SupportRounds, step(transcript, &points)?, F::ONE);
        let inverse = Option::<F>::from(x.invert()).ok_or(IdentityPoint)?;
        rounds.push(points);
        blind += inverse * blinds[0] + x * blinds[1];
        for i in 0..half {
            let (a_second, e_second) = (a[half + i], e[half + i]);
            a[i] += x * a_second;
            e[i] += inverse * e_second;
        }
        a.truncate(half);
        e.truncate(half);
        let second = generators.iter_mut().enumerate();
        let second = second.filter(|(row, _)| is_second(*row));
        second.for_each(|(_, g)| *g *= inverse);
    }
    Ok(Opened {
        rounds,
        value: a.first().copied().unwrap_or_default(),
        blind,
    })
}

fn inner(a: &[F], b: &[F]) -> F {
    a.iter().zip(b).map(|(a, b)| *a * b).sum()
}

/// The sum that is zero if the proof is right; `None` if something has another length, or a challenge cannot be had.
pub fn equation(k: u32, card: &Digest, groups: &[Group], proof: &SupportProof) -> Option<Equation> {
    if proof.halvings.len() != halvings(groups.len()) || proof.rounds.len() != k as usize {
        return None;
    }
    let n = 1usize << k;
    let (mut transcript, challenges) = begin(card);
    let steps = |transcript: &mut Transcript, pairs: &[[C; 2]], check| -> Option<Vec<F>> {
        let step = |points| step(transcript, points).ok();
        let steps: Option<Vec<F>> = pairs.iter().map(step).collect();
        Some(
            steps?
                .into_iter()
                .map(|x| drawn(check, x, F::ONE))
                .collect(),
        )
    };
    let x = steps(&mut transcript, &proof.halvings, Check::SupportHalvings)?;
    let (xi, z) = masked(&mut transcript, &proof.mask).ok()?;
    let y = steps(&mut transcript, &proof.rounds, Check::SupportRounds)?;
    let inverses = |x: &[F]| -> Option<Vec<F>> { x.iter().map(|x| x.invert().into()).collect() };
    let (x_inverse, y_inverse) = (inverses(&x)?, inverses(&y)?);

    // `e` of what the groups were folded to, in its two parts.
    let (of_a, of_e) = (products(&x), products(&x_inverse));
    let tau = powers(challenges.tau, groups.len());
    let of_e: Vec<F> = of_e.iter().zip(tau).map(|(e, t)| *e * t).collect();
    let t: F = of_e.iter().sum();
    let mut m = vec![F::ZERO; n];
    for (group, weight) in groups.iter().zip(&of_e) {
        for row in &group.rows {
            m[*row as usize] += weight;
        }
    }
    let mut rows = products(&y_inverse);
    let mut e = F::ZERO;
    let mut sigma = F::ONE;
    for (g, m) in rows.iter().zip(m) {
        e += *g * sigma * (t - m);
        sigma *= challenges.sigma;
    }
    rows.iter_mut().for_each(|g| *g *= -proof.value);

    let mut points = vec![
        (xi, proof.mask[0]),
        (z * xi, proof.mask[1]),
        (-z * proof.value * e, base()),
    ];
    for (pair, (x, inverse)) in proof.halvings.iter().zip(x.iter().zip(&x_inverse)) {
        points.extend([(z * inverse, pair[0]), (z * x, pair[1])]);
    }
    for (pair, (y, inverse)) in proof.rounds.iter().zip(y.iter().zip(&y_inverse)) {
        points.extend([(*inverse, pair[0]), (*y, pair[1])]);
    }
    let of_group = |(group, weight): (&Group, F)| {
        let powers = powers(challenges.gamma, group.points);
        powers.into_iter().map(move |p| p * weight)
    };
    Some(Equation {
        rows,
        w: -proof.blind,
        card: groups.iter().zip(of_a).flat_map(of_group).collect(),
        points,
    })
}

impl SupportProof {
    /// Writes it: its pairs of points with their numbers, the mask, value and blind.
    pub fn write(&self, w: &mut Writer) {
        let pair = |w: &mut Writer, pair: &[C; 2]| pair.iter().for_each(|p| w.point(p));
        for list in [&self.halvings, &self.rounds] {
            w.len(list.len());
            list.iter().for_each(|points| pair(w, points));
        }
        pair(w, &self.mask);
        w.scalar(&self.value);
        w.scalar(&self.blind);
    }

    /// Reads a proof of at most `most` groups.
    ///
    /// # Errors
    /// More pairs of points than any such proof has; points and scalars that are none.
    pub fn read(r: &mut Reader<'_>, most: usize) -> Result<SupportProof, DecodeError> {
        let mut pairs = |most: usize| {
            let len = r.len(64)?;
            if len > most {
                let what = "length of the support proof";
                return Err(DecodeError::Invalid { what });
            }
            r.list(len, |r| Ok([r.point()?, r.point()?]))
        };
        Ok(SupportProof {
            halvings: pairs(halvings(most))?,
            rounds: pairs(MAX_K as usize)?,
            mask: [r.point()?, r.point()?],
            value: r.scalar()?,
            blind: r.scalar()?,
        })
    }
}

#[cfg(test)]
mod tests;
