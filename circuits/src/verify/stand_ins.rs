//! Upstream's sum with the points of the proof kept apart.
//!
//! Upstream hands out its sum as one object that can be scaled, added to others and evaluated, and nothing else. Most of its
//! terms are points of the proof, some fifty or many more, and collecting them and summing them up by upstream's means would
//! be a quarter of a single verification and most of one in a batch. So in place of every point of a proof, upstream's
//! verifier reads the identity, while the transcript absorbs the point `P_i`. What it hands out is the rest `R` of the sum
//! `Σ s_i·P_i + R`, as the `s_i` and `R` depend on challenges and scalars alone. [`Structure::coefficients`] computes the
//! `s_i`.
//!
//! # Why this is as sound as upstream
//!
//! All depends on the sum being upstream's. [`Structure::is_right`] makes sure of it for every key and every number `r` of
//! runs: it runs upstream's verifier with points that are hashes, between which and the generators nobody knows a relation;
//! then with identities, on the same challenges and scalars; and lets upstream evaluate the difference, less `Σ s_i·P_i`.
//! If it is zero, then `R` and each `s_i` is right at these challenges and scalars. Upstream's and these are quotients of
//! polynomials in challenges and scalars, of degree below `r·2^21`, the same ones for every proof of a key with `r` runs; two
//! different ones agree where all variables are hashes of the key with probability below `r·2^-230`. Proofs for which the
//! difference is not zero are verified with the real points.

use super::Verifier;
use super::equations::Deferred;
use super::queries::{Rotations, columns, queries, sets};
use super::reading::Record;
use crate::expr::AnyColumn;
use crate::gates::Description;
use crate::parallel;
use crate::{C, F};
use ff::Field;
use group::{Curve, CurveAffine as _};
use halo2_proofs::plonk::verify_proof;
use halo2_proofs::transcript::{
    Blake2bWrite, Challenge255, EncodedChallenge, Transcript, TranscriptRead,
};
use pasta_curves::Eq;
use pasta_curves::arithmetic::CurveExt;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

/// Which challenge of upstream's verifier is which, in the order in which they are drawn.
const X: usize = 4;
const X_1: usize = 5;
const X_4: usize = 8;
const XI: usize = 9;
const ROUNDS: usize = 11;

/// Where a commitment stands among those that are opened: its set, and how many of that set come behind it. Where it is one
/// of a run's: in the last run.
type Place = (usize, usize);

/// What the coefficients of a proof depend on besides challenges.
#[derive(Debug)]
pub(super) struct Structure {
    advice: Vec<Option<Place>>,
    /// Columns of one run in each set.
    each: Vec<usize>,
    quotient: Place,
    random: Place,
    /// Number of sets of points at which something is opened.
    sets: usize,
    /// Pieces of the quotient.
    pieces: usize,
    k: usize,
}

/// A proof's own terms, which are not in what upstream hands out.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// Coefficients of the proof's points, in the order in which they are read.
    pub coefficients: Vec<F>,
    /// The points.
    pub points: Vec<C>,
}

/// Proofs of one card and of as many runs from which on stand-ins are worth making, which takes as long as some
/// verifications.
const MANY: usize = 8;

/// The stand-ins of a card, made when they are needed first.
#[derive(Debug, Default)]
pub(super) struct Made {
    structure: OnceLock<Structure>,
    /// How many proofs of so many runs there were.
    seen: Mutex<BTreeMap<usize, usize>>,
    /// For which numbers of runs it was checked, and what came out.
    right: RwLock<BTreeMap<usize, bool>>,
}

impl Made {
    /// Stand-ins for proofs of so many runs, if they were checked to be right.
    pub fn of(&self, runs: usize) -> Option<&Structure> {
        let right = self.right.read().unwrap_or_else(PoisonError::into_inner);
        let right = right.get(&runs).copied().unwrap_or(false);
        self.structure.get().filter(|_| right)
    }

    /// Takes note of `count` more proofs of so many runs, which have the right length. The first time that there are many,
    /// stand-ins are made and checked for them.
    pub fn expect(&self, verifier: &Verifier, runs: usize, count: usize) {
        if self.count(runs, count) && self.of(runs).is_none() {
            self.make(verifier, runs);
        }
    }

    /// Whether this many more make many.
    fn count(&self, runs: usize, more: usize) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(runs).or_default();
        let before = *seen;
        *seen = before.saturating_add(more);
        before < MANY && *seen >= MANY
    }

    fn make(&self, verifier: &Verifier, runs: usize) {
        // Not within a lock: it uses the thread pool, and a thread that waits there may take up work that comes here, too.
        // Twice the same does no harm.
        if self.structure.get().is_none() {
            let made = Structure::of(verifier);
            self.structure.get_or_init(|| made);
        }
        let made = self.structure.get();
        let right = made.is_some_and(|made| made.is_right(verifier, runs) == Some(true));
        let known = self.right.write();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        known.insert(runs, right);
    }
}

/// Points that occur nowhere else, hashes.
fn hashed(count: usize) -> Vec<C> {
    let numbers: Vec<u64> = (0..count as u64).collect();
    let chunks: Vec<&[u64]> = numbers.chunks(64).collect();
    let points = parallel::map(&chunks, |numbers| {
        let hash = Eq::hash_to_curve("zkinfer stand-ins");
        let points = numbers.iter().map(|i| hash(&i.to_le_bytes()));
        points.collect::<Vec<Eq>>()
    });
    let mut affine = vec![C::identity(); count];
    Eq::batch_normalize(&points.concat(), &mut affine);
    affine
}

impl Structure {
    /// Unchecked.
    fn of(verifier: &Verifier) -> Structure {
        let pieces = verifier.key.get_domain().get_quotient_poly_degree();
        let plan = &verifier.plan;
        Structure::new(&plan.description, pieces, plan.layout.k as usize)
    }

    /// Whether the sum is upstream's for proofs of so many runs.
    fn is_right(&self, verifier: &Verifier, runs: usize) -> Option<bool> {
        let (params, key) = (&verifier.params, &verifier.key);
        let nothing: Vec<&[&[F]]> = vec![&[]; runs];
        let points = hashed(self.points(runs));
        let mut seen = Rehearsal::new(Some(&points));
        let (mut sum, _) = verify_proof(params, key, Deferred(params), &nothing, &mut seen).ok()?;
        let mut apart = Rehearsal::new(None);
        let (mut rest, _) =
            verify_proof(params, key, Deferred(params), &nothing, &mut apart).ok()?;
        let coefficients = self.coefficients(runs, &apart.challenges)?;
        rest.scale(-F::ONE);
        sum.add_msm(&rest);
        for (s, point) in coefficients.iter().zip(&points) {
            sum.append_term(-s, *point);
        }
        // Points that upstream did not ask for would have no coefficient there.
        let all = coefficients.len() == points.len() && seen.read == points.len();
        Some(all && sum.eval())
    }

    /// What a proof's own terms are. `None` if a challenge is zero, which happens to nobody.
    pub fn own(&self, runs: usize, record: Record) -> Option<Own> {
        let coefficients = self.coefficients(runs, &record.challenges)?;
        (coefficients.len() == record.points.len()).then_some(Own {
            coefficients,
            points: record.points,
        })
    }

    fn new(description: &Description, pieces: usize, k: usize) -> Structure {
        let queries = queries(description);
        let sets = sets(&queries);
        let columns = columns(&queries);
        // The quotient and the random polynomial come last, opened where the current row is.
        let current = Rotations::from([0]);
        let all = columns.iter().map(|(_, rotations)| rotations);
        let all: Vec<&Rotations> = all.chain([&current, &current]).collect();
        let mut behind = vec![0; sets.len()];
        let mut each = vec![0; sets.len()];
        for (_, rotations) in columns.iter().filter(|(c, _)| !is_fixed(c)) {
            if let Some(set) = sets.iter().position(|s| s == rotations) {
                each[set] += 1;
            }
        }
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
            each,
            quotient: places[last],
            random: places[last + 1],
            sets: sets.len(),
            pieces,
            k,
        }
    }

    /// Number of points in a proof: advice columns, the random polynomial, pieces of the quotient, the quotient of the
    /// multi-point opening, a blinding commitment, two for each round.
    fn points(&self, runs: usize) -> usize {
        runs * self.advice.len() + 1 + self.pieces + 2 + 2 * self.k
    }

    /// Coefficients of a proof's points in the order in which they are read. `None` if there are too few challenges, or one is zero.
    fn coefficients(&self, runs: usize, challenges: &[F]) -> Option<Vec<F>> {
        let rounds = challenges.get(ROUNDS..ROUNDS + self.k)?;
        let most = runs * self.advice.len() + 64;
        let x_1: Vec<F> = powers(challenges[X_1], most + self.sets);
        let x_4: Vec<F> = powers(challenges[X_4], self.sets + 1);
        let at = |(set, behind): Place| {
            let power = x_1.get(behind).copied();
            let power = power.unwrap_or_else(|| challenges[X_1].pow_vartime([behind as u64]));
            power * x_4[self.sets - 1 - set]
        };
        // Behind a column of one run come those of all later runs.
        let column = |run: usize, place: &Option<Place>| {
            let later = runs - 1 - run;
            place.map_or(F::ZERO, |(set, behind)| {
                at((set, behind + later * self.each[set]))
            })
        };
        let advice = |run| self.advice.iter().map(move |place| column(run, place));
        let mut coefficients: Vec<F> = (0..runs).flat_map(advice).collect();
        coefficients.push(at(self.random));
        let x_n = (0..self.k).fold(challenges[X], |x, _| x.square());
        let quotient = at(self.quotient);
        coefficients.extend(powers(x_n, self.pieces).into_iter().map(|p| p * quotient));
        coefficients.push(x_4[self.sets]);
        coefficients.push(challenges[XI]);
        for (u, inverse) in rounds.iter().zip(inverses(rounds)?) {
            coefficients.extend([inverse, *u]);
        }
        Some(coefficients)
    }
}

fn is_fixed(column: &AnyColumn) -> bool {
    matches!(column, AnyColumn::Fixed(_))
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

/// A transcript without a proof: points are the given ones or the identity, scalars and challenges follow from the key alone.
struct Rehearsal<'a> {
    points: Option<&'a [C]>,
    /// Points that were asked for.
    read: usize,
    hash: Blake2bWrite<io::Sink, C, Challenge255<C>>,
    challenges: Vec<F>,
}

impl<'a> Rehearsal<'a> {
    fn new(points: Option<&'a [C]>) -> Self {
        Rehearsal {
            points,
            read: 0,
            hash: Blake2bWrite::init(io::sink()),
            challenges: Vec::new(),
        }
    }
}

impl Transcript<C, Challenge255<C>> for Rehearsal<'_> {
    fn squeeze_challenge(&mut self) -> Challenge255<C> {
        let challenge = self.hash.squeeze_challenge();
        self.challenges.push(challenge.get_scalar());
        challenge
    }

    fn common_point(&mut self, _: C) -> io::Result<()> {
        Ok(())
    }

    fn common_scalar(&mut self, scalar: F) -> io::Result<()> {
        self.hash.common_scalar(scalar)
    }
}

impl TranscriptRead<C, Challenge255<C>> for Rehearsal<'_> {
    fn read_point(&mut self) -> io::Result<C> {
        let at = self.read;
        self.read += 1;
        let Some(points) = self.points else {
            return Ok(C::identity());
        };
        let point = points.get(at).copied();
        point.ok_or_else(|| io::Error::other("more points than expected"))
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
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let card = Card::from_bytes(&bytes, bytes.len()).unwrap();
        let params = Arc::new(Params::new(card.k));
        Verifier::new(card, params, &Limits::default()).unwrap()
    }

    /// Batches of both stored models do use stand-ins, for any number of runs, and any other coefficient would be noticed.
    #[test]
    fn a_wrong_coefficient_is_noticed() {
        for name in ["digits.card", "cnn.card"] {
            let verifier = verifier(name);
            let right = || Structure::of(&verifier);
            let holds_for = |runs: usize, change: &dyn Fn(&mut Structure)| {
                let mut structure = right();
                change(&mut structure);
                structure.is_right(&verifier, runs) == Some(true)
            };
            for runs in [1, 2, 3, 5] {
                assert!(holds_for(runs, &|_| {}), "{name}, {runs}");
            }
            let holds = |change: &dyn Fn(&mut Structure)| holds_for(1, change);
            let next = |place: &mut Option<Place>| *place = place.map(|(set, at)| (set, at + 1));
            let other_set =
                |place: &mut Option<Place>| *place = place.map(|(set, at)| (1 - set, at));
            assert_eq!(right().sets, 2);
            for column in [0, right().advice.len() / 2, right().advice.len() - 1] {
                assert!(!holds(&|s| next(&mut s.advice[column])), "{column}");
                assert!(!holds(&|s| other_set(&mut s.advice[column])), "{column}");
                assert!(!holds(&|s| s.advice[column] = None), "{column}");
            }
            assert!(!holds(&|s| std::mem::swap(&mut s.random, &mut s.quotient)));
            assert!(!holds(&|s| s.sets += 1));
            assert!(!holds(&|s| s.pieces -= 1));
            // What matters between runs.
            for set in 0..right().each.len() {
                assert!(holds(&|s| s.each[set] += 1));
                assert!(!holds_for(2, &|s| s.each[set] += 1), "{set}");
                assert!(!holds_for(3, &|s| s.each[set] -= 1), "{set}");
            }
            assert!(!holds_for(3, &|s| next(&mut s.advice[0])));
        }
    }

    /// Nor are stand-ins taken for another circuit's.
    #[test]
    fn another_circuit_is_noticed() {
        let (one, other) = (verifier("digits.card"), verifier("cnn.card"));
        assert_ne!(Structure::of(&other).is_right(&one, 1), Some(true));
        let pieces = one.key.get_domain().get_quotient_poly_degree();
        let k = one.params.k() as usize;
        let holds = |change: &dyn Fn(&mut Description)| {
            let mut description = (*one.plan.description).clone();
            change(&mut description);
            Structure::new(&description, pieces, k).is_right(&one, 1) == Some(true)
        };
        assert!(holds(&|_| {}));
        // The order in which columns are met first is that of the gates.
        assert!(!holds(&|d| d.gates.reverse()));
        assert!(!holds(&|d| d.advice -= 1));
    }
}
