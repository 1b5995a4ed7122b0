//! Upstream's sum with the points of the proof, and those of its instance, kept apart.
//!
//! Upstream hands out its sum as one object that can be scaled, added to others and evaluated, and nothing else. In a batch
//! most of its terms are points of single proofs, some fifty each, and collecting them and summing them up would be most of
//! the work; the rest of it are commitments to instance columns, which upstream makes one by one, doubling for each bit. So in
//! a batch upstream's verifier sees neither:
//!
//! * In place of every point of a proof it reads the identity, while the transcript absorbs the point `P_i`. What it hands
//!   out is the rest `R` of the sum `Σ s_i·P_i + R`, as the `s_i` and `R` depend on challenges and scalars alone.
//! * It verifies a *twin* of the circuit, whose instance columns are its first advice columns. These are queried first, so
//!   that all powers of challenges are the same. The transcript absorbs the key of the circuit, not of the twin, then the
//!   commitments to the instance columns, which are made here ([`super::commitments`]), and everything else in the order in
//!   which the proof holds it: with several runs, a twin asks for instance and advice run by run, while a proof begins with
//!   what is of all instances ([`super::reading`]). In the sum, an instance column `v` is `t·(Σ v_r·L_r + W)`; all runs have
//!   the same.
//!
//! [`Structure::coefficients`] computes the `s_i` and `t`.
//!
//! # Why this is as sound as upstream
//!
//! All depends on the sum being upstream's for the circuit. [`StandIns::are_right`] makes sure of it for every key and every
//! number `r` of runs up to two: it runs upstream's verifier on the circuit with points that are hashes, between which and the
//! generators nobody knows a relation, and with an instance; then the way above, on the same challenges and scalars; and lets upstream evaluate the difference, less
//! `Σ s_i·P_i` and upstream's own commitments to the instance. If it is zero, then `R` and each `s_i` and `t` is right at these challenges and
//! scalars. Upstream's and these are quotients of polynomials in challenges and scalars, of degree below `r·2^17`, the same ones for
//! every proof of a key with `r` runs; two different ones agree where all variables are hashes of the key with probability below
//! `r·2^-230`. Proofs for which the difference is not zero are verified with the real points.
//!
//! For more runs the same is compared with the twin that sees the points and one commitment to the instance for all runs.
//! That this twin's sum is upstream's is what the comparison at two runs shows: what a twin asks for is the same in every
//! run behind the first. It also verifies single proofs of several runs, so that nothing is committed to more than once.

use super::Verifier;
use super::commitments::Commitments;
use super::equations::{Deferred, weight};
use super::queries::{Rotations, columns, queries, sets};
use super::reading::{Evaluations, Head, Record, Shape};
use crate::circuit::PlanCircuit;
use crate::expr::{AnyColumn, Expr, Query};
use crate::gates::Description;
use crate::parallel;
use crate::{C, F};
use ff::Field;
use group::{Curve, CurveAffine as _};
use halo2_proofs::plonk::{VerifyingKey, verify_proof};
use halo2_proofs::poly::commitment::MSM;
use halo2_proofs::transcript::{
    Blake2bWrite, Challenge255, EncodedChallenge, Transcript, TranscriptRead,
};
use pasta_curves::Eq;
use pasta_curves::arithmetic::CurveExt;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// Which challenge of upstream's verifier is which, in the order in which they are drawn.
const X: usize = 4;
const X_1: usize = 5;
const X_4: usize = 8;
const XI: usize = 9;
const ROUNDS: usize = 11;

/// Up to so many runs upstream's verifier of the circuit itself is what is compared with. It commits to the instance for
/// every run, which for hundreds of them takes minutes.
const COMPARED: usize = 2;

/// Where a commitment stands among those that are opened: its set, and how many of that set come behind it. Where it is one
/// of a run's: in the last run.
type Place = (usize, usize);

/// What the coefficients of a proof depend on besides challenges.
#[derive(Debug)]
struct Structure {
    advice: Vec<Option<Place>>,
    instance: Vec<Option<Place>>,
    /// Columns of one run in each set.
    each: Vec<usize>,
    /// Different evaluations of instance and advice columns.
    evaluations: (usize, usize),
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
    /// Coefficients of the Lagrange generators, from the instance.
    pub rows: Vec<(usize, F)>,
    /// Coefficient of `W`, from the instance.
    pub w: F,
}

/// The stand-ins of a card, made when they are needed first.
#[derive(Debug, Default)]
pub(super) struct Made {
    stand_ins: OnceLock<Option<StandIns>>,
    /// For which numbers of runs they were checked, and what came out.
    right: RwLock<BTreeMap<usize, bool>>,
}

impl Made {
    /// Stand-ins for proofs of so many runs, if they were checked to be right.
    pub fn of(&self, runs: usize) -> Option<&StandIns> {
        let right = self.right.read().unwrap_or_else(PoisonError::into_inner);
        let right = right.get(&runs).copied().unwrap_or(false);
        self.stand_ins.get()?.as_ref().filter(|_| right)
    }

    /// The twin, if it was checked to be right, for proofs of several runs whose points are not kept apart; made when it is
    /// asked for first.
    pub fn twin(&self, verifier: &Verifier) -> Option<&StandIns> {
        self.check(verifier, COMPARED);
        self.of(COMPARED)
    }

    /// Has stand-ins made and checked for proofs of so many runs; once.
    pub fn check(&self, verifier: &Verifier, runs: usize) {
        let right = || self.right.read().unwrap_or_else(PoisonError::into_inner);
        if right().contains_key(&runs) {
            return;
        }
        // Not within a lock: it uses the thread pool, and a thread that waits there may take up work that comes here, too.
        // Twice the same does no harm.
        if self.stand_ins.get().is_none() {
            let made = StandIns::new(verifier);
            self.stand_ins.get_or_init(|| made);
        }
        let made = self.stand_ins.get().and_then(Option::as_ref);
        let right = made.is_some_and(|made| made.are_right(verifier, runs));
        let known = self.right.write();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        known.insert(runs, right);
    }
}

/// What stands in for a circuit, and for the points of its proofs.
#[derive(Debug)]
pub(super) struct StandIns {
    structure: Structure,
    twin: VerifyingKey<C>,
    /// What upstream's verifier absorbs of the circuit's key.
    key: F,
    commitments: Commitments,
}

impl StandIns {
    /// Unchecked. `None` if there are none.
    fn new(verifier: &Verifier) -> Option<StandIns> {
        let pieces = verifier.key.get_domain().get_quotient_poly_degree();
        let plan = &verifier.plan;
        let structure = Structure::new(&plan.description, pieces, plan.layout.k as usize);
        StandIns::from_parts(verifier, structure, twin(&plan.description))
    }

    fn from_parts(
        verifier: &Verifier,
        structure: Structure,
        twin: Description,
    ) -> Option<StandIns> {
        let (plan, params) = (&verifier.plan, &verifier.params);
        let usable = plan.layout.last + 1;
        let twin = PlanCircuit::new(Arc::new(twin), plan.fixed.clone(), usable);
        let columns = instance_like(verifier);
        let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
        let mut absorbed = Rehearsal::new(None, None);
        verifier.key.hash_into(&mut absorbed).ok()?;
        Some(StandIns {
            structure,
            twin: twin.verifying_key(params).ok()?,
            key: absorbed.key?,
            commitments: Commitments::new(params, longest)?,
        })
    }

    /// Whether the sum is upstream's for proofs of so many runs.
    fn are_right(&self, verifier: &Verifier, runs: usize) -> bool {
        let compared = self.difference_vanishes(verifier, runs.min(COMPARED));
        let apart = (runs > COMPARED).then(|| self.parts_add_up(verifier, runs));
        compared == Some(true) && apart.is_none_or(|sum| sum == Some(true))
    }

    /// Whether the twin's sum with the points kept apart is the twin's sum.
    fn parts_add_up(&self, verifier: &Verifier, runs: usize) -> Option<bool> {
        let own = self.commitments.of(&instance_like(verifier));
        let points = hashed(self.structure.points(runs));
        let twin = Some((self.key, self.structure.shape(runs)));
        let mut rehearsal = Rehearsal::new(Some(&points), twin);
        rehearsal.instance = &own;
        let nothing: Vec<&[&[F]]> = vec![&[]; runs];
        let (params, strategy) = (&verifier.params, Deferred(&verifier.params));
        let (sum, _) = verify_proof(params, &self.twin, strategy, &nothing, &mut rehearsal).ok()?;
        self.difference(verifier, runs, sum, &points, &own.repeat(runs))
    }

    fn difference_vanishes(&self, verifier: &Verifier, runs: usize) -> Option<bool> {
        let columns = instance_like(verifier);
        let points = hashed(self.structure.points(runs));
        let instance: Vec<&[F]> = columns.iter().map(Vec::as_slice).collect();
        let instances = vec![instance.as_slice(); runs];
        let mut rehearsal = Rehearsal::new(Some(&points), None);
        let (params, strategy) = (&verifier.params, Deferred(&verifier.params));
        let key = &verifier.key;
        let (sum, _) = verify_proof(params, key, strategy, &instances, &mut rehearsal).ok()?;
        let common = rehearsal.common;
        let own = self.commitments.of(&columns).repeat(runs);
        Some(common == own && self.difference(verifier, runs, sum, &points, &own)?)
    }

    /// Whether a sum is the one with the points kept apart, `instance` being the commitments to all instances.
    fn difference<'v>(
        &self,
        verifier: &'v Verifier,
        runs: usize,
        mut sum: MSM<'v, C>,
        points: &[C],
        instance: &[C],
    ) -> Option<bool> {
        let mut rehearsal = Rehearsal::new(None, Some((self.key, self.structure.shape(runs))));
        let nothing: Vec<&[&[F]]> = vec![&[]; runs];
        let (params, strategy) = (&verifier.params, Deferred(&verifier.params));
        let (mut rest, _) =
            verify_proof(params, &self.twin, strategy, &nothing, &mut rehearsal).ok()?;
        let challenges = &rehearsal.record.challenges;
        let (coefficients, columns) = self.structure.coefficients(runs, challenges)?;
        rest.scale(-F::ONE);
        sum.add_msm(&rest);
        let terms = coefficients.into_iter().zip(points);
        for (s, point) in terms.chain(columns.into_iter().zip(instance)) {
            sum.append_term(-s, *point);
        }
        Some(sum.eval())
    }

    /// The twin's key.
    pub fn key(&self) -> &VerifyingKey<C> {
        &self.twin
    }

    /// What a proof's transcript begins with.
    pub fn head(&self, runs: usize, instance: &[Vec<F>], apart: bool) -> Head {
        let shape = self.structure.shape(runs);
        Head::new(shape, self.key, self.commitments.of(instance), apart)
    }

    /// What a proof's own terms are. `None` if a challenge is zero, which happens to nobody.
    pub fn own(&self, runs: usize, record: Record, instance: &[Vec<F>]) -> Option<Own> {
        let (coefficients, columns) = self.structure.coefficients(runs, &record.challenges)?;
        if coefficients.len() != record.points.len() || columns.len() != instance.len() {
            return None;
        }
        let mut rows = Vec::new();
        for (t, column) in columns.iter().zip(instance) {
            rows.extend(column.iter().enumerate().map(|(row, v)| (row, *t * v)));
        }
        Some(Own {
            coefficients,
            points: record.points,
            rows,
            w: columns.iter().sum(),
        })
    }
}

/// The circuit with its instance columns as first advice columns.
fn twin(description: &Description) -> Description {
    let mut twin = description.clone();
    let instances = description.instance;
    twin.advice += instances;
    twin.instance = 0;
    for gate in &mut twin.gates {
        let behind = |q: Query| {
            Expr::Advice(Query {
                column: q.column + instances,
                ..q
            })
        };
        gate.poly = gate.poly.evaluate(
            &Expr::Constant,
            &behind,
            &Expr::Fixed,
            &Expr::Advice,
            &|a, b| a + b,
            &|a, b| a * b,
            &|a, s| Expr::Scaled(Box::new(a), s),
        );
    }
    // The order in which cells are opened is that in which they are queried: those of the instance, before all others.
    let first = queries(description).into_iter().filter_map(|q| match q {
        (AnyColumn::Instance(column), rotation) => Some(Expr::Advice(Query { column, rotation })),
        _ => None,
    });
    let nothing = Expr::Scaled(Box::new(Expr::sum(first)), F::ZERO);
    if let Some(gate) = twin.gates.first_mut() {
        let poly = std::mem::replace(&mut gate.poly, Expr::int(0));
        gate.poly = nothing + poly;
    }
    twin
}

/// Columns of the form that instances have, with values that are hashes of the card.
fn instance_like(verifier: &Verifier) -> Vec<Vec<F>> {
    let layout = &verifier.plan.layout;
    let beta = layout.table_rows.iter().chain(&layout.value_rows).copied();
    let description = &verifier.plan.description;
    let beta: Vec<usize> = if layout.columns.free > 0 {
        beta.collect()
    } else {
        Vec::new()
    };
    let single = description.instance - beta.len();
    let mut number = 0;
    let mut column = |len: usize| {
        let values = (number..number + len).map(|i| weight(&verifier.digest, i));
        number += len;
        values.collect()
    };
    let lens = std::iter::repeat_n(1, single).chain(beta);
    lens.map(&mut column).collect()
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
        let count = |of: fn(&AnyColumn) -> bool| queries.iter().filter(|(c, _)| of(c)).count();
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
            each,
            evaluations: (count(is_instance), count(is_advice)),
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

    fn shape(&self, runs: usize) -> Shape {
        Shape {
            runs,
            instance: (self.instance.len(), self.evaluations.0),
            advice: (self.advice.len(), self.evaluations.1),
        }
    }

    /// Coefficients of a proof's points in the order in which they are read, and of the instance columns, over all runs.
    /// `None` if there are too few challenges, or one is zero.
    fn coefficients(&self, runs: usize, challenges: &[F]) -> Option<(Vec<F>, Vec<F>)> {
        let rounds = challenges.get(ROUNDS..ROUNDS + self.k)?;
        let most = runs * (self.advice.len() + self.instance.len()) + 64;
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
        let over_all = |place| (0..runs).map(|run| column(run, place)).sum();
        Some((coefficients, self.instance.iter().map(over_all).collect()))
    }
}

fn is_instance(column: &AnyColumn) -> bool {
    matches!(column, AnyColumn::Instance(_))
}

fn is_advice(column: &AnyColumn) -> bool {
    matches!(column, AnyColumn::Advice(_))
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
    /// What a twin sees in place of the commitments to instance columns, if it sees points.
    instance: &'a [C],
    asked: usize,
    /// Absorbed in place of the key's digest, or what that was.
    key: Option<F>,
    hash: Blake2bWrite<io::Sink, C, Challenge255<C>>,
    /// Of a twin.
    evaluations: Option<Evaluations>,
    shape: Option<Shape>,
    /// Commitments to instance columns.
    common: Vec<C>,
    record: Record,
}

impl<'a> Rehearsal<'a> {
    /// `twin`: what it absorbs of the key, and what a proof consists of.
    fn new(points: Option<&'a [C]>, twin: Option<(F, Shape)>) -> Self {
        Rehearsal {
            points,
            instance: &[],
            asked: 0,
            shape: twin.map(|(_, shape)| shape),
            key: twin.map(|(key, _)| key),
            evaluations: twin.map(|(_, shape)| Evaluations::new(shape)),
            hash: Blake2bWrite::init(io::sink()),
            common: Vec::new(),
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
        self.common.push(point);
        Ok(())
    }

    fn common_scalar(&mut self, scalar: F) -> io::Result<()> {
        let key = *self.key.get_or_insert(scalar);
        self.hash.common_scalar(key)
    }
}

impl TranscriptRead<C, Challenge255<C>> for Rehearsal<'_> {
    fn read_point(&mut self) -> io::Result<C> {
        let Some(points) = self.points else {
            return Ok(C::identity());
        };
        let column = self.shape.and_then(|s| s.instance_column(self.asked));
        self.asked += 1;
        if let Some(commitment) = column.and_then(|column| self.instance.get(column)) {
            return Ok(*commitment);
        }
        let at = self.record.points.len();
        let point = points.get(at).copied();
        let point = point.ok_or_else(|| io::Error::other("more points than expected"))?;
        self.record.points.push(point);
        Ok(point)
    }

    fn read_scalar(&mut self) -> io::Result<F> {
        let hash = &mut self.hash;
        let mut scalar = || Ok(hash.squeeze_challenge().get_scalar());
        let next = match &mut self.evaluations {
            Some(evaluations) => evaluations.next(&mut scalar)?,
            None => None,
        };
        next.map_or_else(scalar, Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Card;
    use crate::verify::Limits;
    use halo2_proofs::poly::commitment::Params;

    fn verifier(name: &str) -> Verifier {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let card = Card::from_bytes(&bytes, bytes.len()).unwrap();
        let params = Arc::new(Params::new(card.k));
        Verifier::new(card, params, &Limits::default()).unwrap()
    }

    /// Batches of both stored models do use stand-ins, for any number of runs, and any other coefficient or circuit would be
    /// noticed.
    #[test]
    fn a_wrong_coefficient_is_noticed() {
        for name in ["digits.card", "cnn.card"] {
            let verifier = verifier(name);
            let pieces = verifier.key.get_domain().get_quotient_poly_degree();
            let k = verifier.params.k() as usize;
            let description = &verifier.plan.description;
            let right = || Structure::new(description, pieces, k);
            let holds_for = |runs: usize, change: &dyn Fn(&mut Structure)| {
                let mut structure = right();
                change(&mut structure);
                let made = StandIns::from_parts(&verifier, structure, twin(description));
                made.unwrap().are_right(&verifier, runs)
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
            for column in 0..right().instance.len() {
                assert!(!holds(&|s| next(&mut s.instance[column])), "{column}");
            }
            assert!(!holds(&|s| std::mem::swap(&mut s.random, &mut s.quotient)));
            assert!(!holds(&|s| s.sets += 1));
            assert!(!holds(&|s| s.pieces -= 1));
            // What matters between runs.
            let (of_set, evaluations) = (right().each, right().evaluations);
            for set in 0..of_set.len() {
                assert!(holds(&|s| s.each[set] += 1));
                assert!(!holds_for(2, &|s| s.each[set] += 1), "{set}");
                assert!(!holds_for(3, &|s| s.each[set] -= 1), "{set}");
            }
            let fewer = (evaluations.0 - 1, evaluations.1 + 1);
            assert!(holds(&|s| s.evaluations = fewer));
            assert!(!holds_for(2, &|s| s.evaluations = fewer));
            let swapped = (evaluations.1, evaluations.0);
            assert!(!holds_for(2, &|s| s.evaluations = swapped));
            assert!(!holds_for(3, &|s| next(&mut s.advice[0])));
            assert!(!holds_for(3, &|s| next(&mut s.instance[0])));

            let circuit = |change: &dyn Fn(&mut Description)| {
                let mut twin = twin(description);
                change(&mut twin);
                let made = StandIns::from_parts(&verifier, right(), twin);
                [1, 3].map(|runs| made.as_ref().unwrap().are_right(&verifier, runs))
            };
            let circuit = |change: &dyn Fn(&mut Description)| {
                let [one, several] = circuit(change);
                assert_eq!(one, several);
                one
            };
            assert!(circuit(&|_| {}));
            let gates = description.gates.len();
            for gate in [0, 1, gates / 2, gates - 1] {
                let nothing = |d: &mut Description| {
                    d.gates[gate].poly = d.gates[gate].poly.clone() * Expr::int(0)
                };
                assert!(!circuit(&nothing), "{gate}");
            }
            assert!(!circuit(&|d| d.gates.swap(gates - 2, gates - 1)));
            assert!(!circuit(&|d| drop(d.gates.pop())));
            // A twin that is the circuit again: its instance columns have no stand-ins.
            assert!(!circuit(&|d| *d = (**description).clone()));
        }
    }
}
