//! Upstream's sum with the points of the proof kept apart.
//!
//! Upstream hands out its sum as one object that can be scaled, added to others and evaluated, and nothing else. In a batch
//! most of its terms are points of single proofs, some fifty each, and summing them up by upstream's multi-scalar
//! multiplication would be most of the work. So upstream's verifier is given *stand-ins*: in place of a proof's `i`-th point
//! `P_i` it reads a fixed point `T_i`, while the transcript absorbs `P_i`. What it hands out is `Σ s_i·T_i + R`; the
//! coefficients `s_i` and the rest `R` are those of the real sum, because they depend on challenges and scalars alone.
//! [`Structure::coefficients`] computes the `s_i`, and the real sum is
//!
//! ```text
//! (Σ s_i·T_i + R)  −  Σ s_i·T_i  +  Σ s_i·P_i
//! ```
//!
//! where the middle term, the same few points for every proof, is subtracted inside upstream's object, and the last one is
//! the project's own multi-scalar multiplication. The commitments to instance columns are taken out in the same way.
//!
//! # Why this is as sound as upstream
//!
//! All depends on the `s_i` being upstream's. [`StandIns::new`] makes sure of it for every key: it runs upstream's verifier
//! twice with the same challenges and different stand-ins `T`, `T'` and different instances, and lets upstream evaluate the
//! difference of the two sums, less `Σ s_i·(T_i − T'_i)`. `R` cancels, and `T` and `T'` are generators between
//! which nobody knows a relation: zero means that every `s_i` is right. Upstream's coefficients and these are products of powers of
//! challenges and their inverses, of degree below `2^17`, the same ones for every proof of a key; two different
//! ones agree at a challenge that is a hash of the key with probability below `2^-230`. A key for which the difference is
//! not zero is verified with the real points.

use super::Verifier;
use super::equations::Deferred;
use super::queries::{Rotations, columns, queries, sets};
use super::reading::Record;
use crate::expr::AnyColumn;
use crate::gates::Description;
use crate::{C, F};
use ff::Field;
use halo2_proofs::plonk::verify_proof;
use halo2_proofs::transcript::{
    Blake2bWrite, Challenge255, EncodedChallenge, Transcript, TranscriptRead,
};
use std::io;

/// Which challenge of upstream's verifier is which, in the order in which they are drawn.
const X: usize = 4;
const X_1: usize = 5;
const X_4: usize = 8;
const XI: usize = 9;
const ROUNDS: usize = 11;

/// Where a commitment stands among those that are opened: its set, and how many of that set come behind it.
type Place = (usize, usize);

/// What the coefficients of a proof of one run depend on besides challenges.
#[derive(Debug)]
struct Structure {
    advice: Vec<Option<Place>>,
    instance: Vec<Option<Place>>,
    quotient: Place,
    random: Place,
    /// Number of sets of points at which something is opened.
    sets: usize,
    /// Pieces of the quotient.
    pieces: usize,
    k: usize,
}

/// The terms of a proof that upstream's sum has stand-ins for, or that cancel in it.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// Coefficients of the proof's points, in the order in which they are read.
    pub coefficients: Vec<F>,
    /// The points.
    pub points: Vec<C>,
    /// Commitments to instance columns, with their coefficients.
    pub instance: Vec<(F, C)>,
}

/// Stand-ins for the points of a proof of one run.
#[derive(Debug)]
pub(super) struct StandIns {
    structure: Structure,
    points: Vec<C>,
}

impl StandIns {
    /// `None` where the parameters are too small for them, or the coefficients turn out not to be upstream's.
    pub fn new(verifier: &Verifier) -> Option<StandIns> {
        let pieces = verifier.key.get_domain().get_quotient_poly_degree();
        let k = verifier.params.k() as usize;
        let structure = Structure::new(&verifier.plan.description, pieces, k);
        let (points, others) = generators(verifier, structure.points())?;
        let stand_ins = StandIns { structure, points };
        stand_ins.are_right(verifier, &others).then_some(stand_ins)
    }

    /// The stand-ins, in the order in which points are read.
    pub fn points(&self) -> &[C] {
        &self.points
    }

    /// What a proof's own terms are.
    pub fn own(&self, record: Record) -> Option<Own> {
        let (coefficients, instance) = self.structure.coefficients(&record.challenges)?;
        if coefficients.len() != record.points.len() || instance.len() != record.common.len() {
            return None;
        }
        Some(Own {
            coefficients,
            instance: instance.into_iter().zip(record.common).collect(),
            points: record.points,
        })
    }

    /// Whether the coefficients are upstream's; see the module's documentation.
    fn are_right(&self, verifier: &Verifier, others: &[C]) -> bool {
        let columns = verifier.plan.description.instance;
        // Instance commitments that differ by one Lagrange generator for each column.
        let unit = |row: usize| {
            let mut column = vec![F::ZERO; row];
            column.push(F::ONE);
            column
        };
        let first: Vec<Vec<F>> = (0..columns).map(unit).collect();
        let second = vec![Vec::new(); columns];
        let run = |points: &[C], instance: &[Vec<F>]| {
            let instance: Vec<&[F]> = instance.iter().map(Vec::as_slice).collect();
            let mut rehearsal = Rehearsal::new(points);
            let strategy = Deferred(&verifier.params);
            let (params, key) = (&verifier.params, &verifier.key);
            let (sum, _) =
                verify_proof(params, key, strategy, &[&instance], &mut rehearsal).ok()?;
            Some((sum, self.own(rehearsal.record)?))
        };
        let Some(((mut sum, own), (mut other, other_own))) =
            run(&self.points, &first).zip(run(others, &second))
        else {
            return false;
        };
        other.scale(-F::ONE);
        sum.add_msm(&other);
        let terms = |own: &Own| {
            let points = own.coefficients.iter().copied().zip(own.points.clone());
            let all: Vec<(F, C)> = points.chain(own.instance.clone()).collect();
            all
        };
        for ((s, point), (s_other, other)) in terms(&own).into_iter().zip(terms(&other_own)) {
            if s != s_other {
                return false;
            }
            sum.append_term(-s, point);
            sum.append_term(s, other);
        }
        sum.eval()
    }
}

/// Two lists of generators that occur nowhere else in upstream's sum: the first one does.
fn generators(verifier: &Verifier, count: usize) -> Option<(Vec<C>, Vec<C>)> {
    let all = verifier.params.get_g();
    let (points, rest) = all.get(1..)?.split_at_checked(count)?;
    Some((points.to_vec(), rest.get(..count)?.to_vec()))
}

impl Structure {
    fn new(description: &Description, pieces: usize, k: usize) -> Structure {
        let queries = queries(description);
        let sets = sets(&queries);
        let columns = columns(&queries);
        // The quotient and the random polynomial come last, opened where the current row is.
        let current = Rotations::from([0]);
        let all = columns.iter().map(|(_, rotations)| rotations);
        let all: Vec<&Rotations> = all.chain([&current, &current]).collect();
        let mut behind = vec![0; sets.len()];
        let mut places: Vec<Place> = Vec::new();
        for rotations in all.into_iter().rev() {
            let set = sets.iter().position(|s| s == rotations).unwrap_or(0);
            places.push((set, behind[set]));
            behind[set] += 1;
        }
        places.reverse();
        let place = |column| {
            let at = columns.iter().position(|(c, _)| *c == column)?;
            Some(places[at])
        };
        let last = places.len() - 2;
        Structure {
            advice: (0..description.advice)
                .map(|c| place(AnyColumn::Advice(c)))
                .collect(),
            instance: (0..description.instance)
                .map(|c| place(AnyColumn::Instance(c)))
                .collect(),
            quotient: places[last],
            random: places[last + 1],
            sets: sets.len(),
            pieces,
            k,
        }
    }

    /// Number of points in a proof: advice columns, the random polynomial, pieces of the quotient, the quotient of the
    /// multi-point opening, a blinding commitment, two for each round.
    fn points(&self) -> usize {
        self.advice.len() + 1 + self.pieces + 2 + 2 * self.k
    }

    /// Coefficients of a proof's points in the order in which they are read, and of the instance columns. `None` if there
    /// are too few challenges, or one is zero.
    fn coefficients(&self, challenges: &[F]) -> Option<(Vec<F>, Vec<F>)> {
        let rounds = challenges.get(ROUNDS..ROUNDS + self.k)?;
        let most = self.advice.len() + self.instance.len() + 64;
        let x_1: Vec<F> = powers(challenges[X_1], most + self.sets);
        let x_4: Vec<F> = powers(challenges[X_4], self.sets + 1);
        let at = |(set, behind): Place| {
            let power = x_1.get(behind).copied();
            let power = power.unwrap_or_else(|| challenges[X_1].pow_vartime([behind as u64]));
            power * x_4[self.sets - 1 - set]
        };
        let column = |place: &Option<Place>| place.map_or(F::ZERO, at);
        let mut coefficients: Vec<F> = self.advice.iter().map(column).collect();
        coefficients.push(at(self.random));
        let x_n = (0..self.k).fold(challenges[X], |x, _| x.square());
        let quotient = at(self.quotient);
        coefficients.extend(powers(x_n, self.pieces).into_iter().map(|p| p * quotient));
        coefficients.push(x_4[self.sets]);
        coefficients.push(challenges[XI]);
        for (u, inverse) in rounds.iter().zip(inverses(rounds)?) {
            coefficients.extend([inverse, *u]);
        }
        Some((coefficients, self.instance.iter().map(column).collect()))
    }
}

fn powers(base: F, count: usize) -> Vec<F> {
    std::iter::successors(Some(F::ONE), |p| Some(*p * base))
        .take(count)
        .collect()
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

/// A transcript without a proof: points are the given ones, scalars and challenges follow from the key alone.
struct Rehearsal<'a> {
    points: &'a [C],
    hash: Blake2bWrite<io::Sink, C, Challenge255<C>>,
    record: Record,
}

impl<'a> Rehearsal<'a> {
    fn new(points: &'a [C]) -> Self {
        Rehearsal {
            points,
            hash: Blake2bWrite::init(io::sink()),
            record: Record::default(),
        }
    }
}

impl Transcript<C, Challenge255<C>> for Rehearsal<'_> {
    fn squeeze_challenge(&mut self) -> Challenge255<C> {
        let challenge = self.hash.squeeze_challenge();
        self.record.challenges.push(challenge.get_scalar());
        challenge
    }

    fn common_point(&mut self, point: C) -> io::Result<()> {
        self.record.common.push(point);
        Ok(())
    }

    fn common_scalar(&mut self, scalar: F) -> io::Result<()> {
        self.hash.common_scalar(scalar)
    }
}

impl TranscriptRead<C, Challenge255<C>> for Rehearsal<'_> {
    fn read_point(&mut self) -> io::Result<C> {
        let at = self.record.points.len();
        let point = self.points.get(at).copied();
        let point = point.ok_or_else(|| io::Error::other("more points than expected"))?;
        self.record.points.push(point);
        Ok(point)
    }

    fn read_scalar(&mut self) -> io::Result<F> {
        Ok(self.hash.squeeze_challenge().get_scalar())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Card;
    use crate::verify::Limits;
    use halo2_proofs::poly::commitment::Params;
    use std::sync::Arc;

    fn verifier(name: &str) -> Verifier {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let card = Card::from_bytes(&bytes, bytes.len()).unwrap();
        let params = Arc::new(Params::new(card.k));
        Verifier::new(card, params, &Limits::default()).unwrap()
    }

    /// Batches of both stored models do use stand-ins, and any other coefficient would be noticed.
    #[test]
    fn a_wrong_coefficient_is_noticed() {
        for name in ["digits.card", "cnn.card"] {
            let verifier = verifier(name);
            assert!(StandIns::new(&verifier).is_some(), "{name}");
            let pieces = verifier.key.get_domain().get_quotient_poly_degree();
            let k = verifier.params.k() as usize;
            let right = || Structure::new(&verifier.plan.description, pieces, k);
            let (points, others) = generators(&verifier, right().points()).unwrap();
            let holds = |change: &dyn Fn(&mut Structure)| {
                let mut structure = right();
                change(&mut structure);
                let points = points.clone();
                StandIns { structure, points }.are_right(&verifier, &others)
            };
            assert!(holds(&|_| {}));
            let next = |place: &mut Option<Place>| *place = place.map(|(set, at)| (set, at + 1));
            let other_set =
                |place: &mut Option<Place>| *place = place.map(|(set, at)| (1 - set, at));
            assert_eq!(right().sets, 2);
            for column in [0, right().advice.len() / 2, right().advice.len() - 1] {
                assert!(!holds(&|s| next(&mut s.advice[column])), "{column}");
                assert!(!holds(&|s| other_set(&mut s.advice[column])), "{column}");
                assert!(!holds(&|s| s.advice[column] = None), "{column}");
            }
            for column in 0..right().instance.len() {
                assert!(!holds(&|s| next(&mut s.instance[column])), "{column}");
            }
            assert!(!holds(&|s| std::mem::swap(&mut s.random, &mut s.quotient)));
            assert!(!holds(&|s| s.sets += 1));
            assert!(!holds(&|s| s.pieces -= 1));
        }
    }
}
