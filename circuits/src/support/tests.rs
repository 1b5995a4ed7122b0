use super::*;
use crate::fold::Source;
use halo2_proofs::arithmetic::best_multiexp;
use halo2_proofs::poly::EvaluationDomain;
use halo2_proofs::poly::commitment::{Blind, Params};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const K: u32 = 6;
const ROWS: u32 = 1 << K;

/// Entries of points, by group, and their blinds.
struct Weights<'a> {
    params: &'a Params<C>,
    points: Vec<Vec<(Vec<F>, F)>>,
}

impl Weights<'_> {
    fn commitments(&self) -> Vec<C> {
        let points = self.points.iter().flatten();
        points
            .flat_map(|(column, blind)| self.commit(std::slice::from_ref(column), &[*blind]))
            .collect()
    }
}

impl Witness for Weights<'_> {
    fn fold(&self, group: usize, coefficients: &[F]) -> (Vec<(u32, F)>, F) {
        let points = || self.points[group].iter().zip(coefficients);
        let of_row = |row: u32| {
            points()
                .map(|((column, _), c)| column[row as usize] * c)
                .sum()
        };
        let values = (0..ROWS).map(|row| (row, of_row(row)));
        let blind = points().map(|((_, blind), c)| *blind * c).sum();
        (values.filter(|(_, v)| *v != F::ZERO).collect(), blind)
    }

    fn commit(&self, columns: &[Vec<F>], blinds: &[F]) -> Vec<C> {
        let domain = EvaluationDomain::new(1, K);
        let commit = |(column, blind): (&Vec<F>, &F)| {
            let column = domain.lagrange_from_vec(column.clone());
            let point = self.params.commit_lagrange(&column, Blind(*blind));
            point.to_affine()
        };
        columns.iter().zip(blinds).map(commit).collect()
    }
}

/// Groups of one to three points over rows that overlap, are all, or one.
fn groups(count: usize) -> Vec<Group> {
    let rows = |i: usize| -> Vec<u32> {
        let i = i as u32;
        match i % 4 {
            0 => (i..i + 20).collect(),
            1 => (0..ROWS).collect(),
            2 => vec![ROWS - 1],
            _ => (0..ROWS).filter(|r| r % 3 == i % 3).collect(),
        }
    };
    let group = |i| Group {
        node: i,
        source: Source::Block { block: 0 },
        column: 0,
        rows: rows(i),
        points: 1 + i % 3,
    };
    (0..count).map(group).collect()
}

fn weights<'a>(params: &'a Params<C>, groups: &[Group], rng: &mut ChaCha20Rng) -> Weights<'a> {
    let mut point = |group: &Group| {
        let mut column = vec![F::ZERO; ROWS as usize];
        for row in &group.rows {
            column[*row as usize] = F::random(&mut *rng);
        }
        (column, F::random(&mut *rng))
    };
    let mut points = |group: &Group| (0..group.points).map(|_| point(group)).collect();
    Weights {
        params,
        points: groups.iter().map(&mut points).collect(),
    }
}

/// The equation by upstream's sums.
fn holds(params: &Params<C>, groups: &[Group], points: &[C], proof: &SupportProof) -> bool {
    let Some(equation) = equation(K, &digest(points), groups, proof) else {
        return false;
    };
    let domain = EvaluationDomain::new(1, K);
    let rows = domain.lagrange_from_vec(equation.rows);
    let (scalars, bases): (Vec<F>, Vec<C>) = equation.points.into_iter().unzip();
    let sum = params.commit_lagrange(&rows, Blind(equation.w))
        + best_multiexp::<C>(&equation.card, points)
        + best_multiexp::<C>(&scalars, &bases);
    sum == Eq::default()
}

fn digest(points: &[C]) -> Digest {
    use group::GroupEncoding;
    let bytes: Vec<u8> = points.iter().flat_map(|p| p.to_bytes()).collect();
    Digest::of("test", &bytes)
}

#[test]
fn proofs_of_any_number_of_groups() {
    let params = Params::new(K);
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for count in [0, 1, 2, 3, 4, 5, 9] {
        let groups = groups(count);
        let weights = weights(&params, &groups, &mut rng);
        let points = weights.commitments();
        let proof = prove(K, &digest(&points), &groups, &weights, &mut rng).unwrap();
        assert!(holds(&params, &groups, &points, &proof), "{count}");
        assert_eq!(proof.rounds.len(), K as usize);
        let mut w = Writer::default();
        proof.write(&mut w);
        let mut r = Reader::new(&w.bytes);
        assert_eq!(SupportProof::read(&mut r, points.len()).unwrap(), proof);
        r.finish().unwrap();
        if count > 4 {
            // Fewer points than groups cannot be.
            assert!(SupportProof::read(&mut Reader::new(&w.bytes), 4).is_err());
        }
        // What is equal in two proofs of the same is only what is public.
        let other = prove(K, &digest(&points), &groups, &weights, &mut rng).unwrap();
        assert_ne!(other.value, proof.value);
        assert_ne!(other.blind, proof.blind);
        let all = |p: &SupportProof| {
            let pairs = p.halvings.iter().chain(&p.rounds).chain([&p.mask]);
            pairs.flatten().copied().collect::<Vec<C>>()
        };
        assert!(all(&proof).iter().all(|p| !all(&other).contains(p)));
        // Every part of it matters.
        let mut changed = Vec::new();
        let mut change = |f: &dyn Fn(&mut SupportProof)| {
            let mut other = proof.clone();
            f(&mut other);
            changed.push(other);
        };
        for side in 0..2 {
            change(&|p| p.mask[side] = -p.mask[side]);
            (0..proof.rounds.len())
                .for_each(|i| change(&|p| p.rounds[i][side] = -p.rounds[i][side]));
            let halvings = 0..proof.halvings.len();
            halvings.for_each(|i| change(&|p| p.halvings[i][side] = -p.halvings[i][side]));
        }
        change(&|p| p.value += F::ONE);
        change(&|p| p.blind += F::ONE);
        change(&|p| p.rounds.swap(0, 1));
        change(&|p| p.rounds[0].swap(0, 1));
        change(&|p| p.mask[0] = C::default());
        change(&|p| p.rounds.truncate(1));
        change(&|p| p.halvings.push(p.mask));
        for other in changed {
            assert!(!holds(&params, &groups, &points, &other), "{count}");
        }
    }
}

/// Whoever knows an entry elsewhere and proves honestly otherwise: on any row, in any point of any group.
#[test]
fn entries_outside_are_noticed() {
    let params = Params::new(K);
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let groups = groups(5);
    let mut tried = 0;
    for (g, group) in groups.iter().enumerate() {
        let outside = (0..ROWS).filter(|row| !group.rows.contains(row));
        for (i, row) in outside.enumerate() {
            let mut weights = weights(&params, &groups, &mut rng);
            weights.points[g][i % group.points].0[row as usize] = F::ONE;
            let points = weights.commitments();
            let proof = prove(K, &digest(&points), &groups, &weights, &mut rng).unwrap();
            assert!(!holds(&params, &groups, &points, &proof), "{g}, {row}");
            tried += 1;
        }
    }
    assert!(tried > 100);
}

/// Zero-knowledge: whoever may choose the challenges makes proofs of anything without weights, with all but one point and
/// both scalars chosen at random.
#[test]
fn whoever_knows_the_challenges_needs_no_weights() {
    let params = Params::new(K);
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let groups = groups(3);
    // Commitments to nobody knows what.
    let count: usize = groups.iter().map(|g| g.points).sum();
    let hash = Eq::hash_to_curve("test");
    let points: Vec<C> = (0..count as u8).map(|i| hash(&[i]).to_affine()).collect();
    let mut random = || (Eq::hash_to_curve("test")(b"point") * F::random(&mut rng)).to_affine();
    let mut proof = SupportProof {
        halvings: (0..2).map(|_| [random(), random()]).collect(),
        mask: [random(), random()],
        rounds: (0..K).map(|_| [random(), random()]).collect(),
        value: F::ZERO,
        blind: F::ZERO,
    };
    proof.value = F::random(&mut rng);
    proof.blind = F::random(&mut rng);
    let equation = equation(K, &digest(&points), &groups, &proof).unwrap();
    let domain = EvaluationDomain::new(1, K);
    let rows = domain.lagrange_from_vec(equation.rows);
    let (xi, mask) = equation.points[0];
    assert_eq!(mask, proof.mask[0]);
    let (scalars, bases): (Vec<F>, Vec<C>) = equation.points[1..].iter().copied().unzip();
    let rest = params.commit_lagrange(&rows, Blind(equation.w))
        + best_multiexp::<C>(&equation.card, &points)
        + best_multiexp::<C>(&scalars, &bases);
    // With this mask, and the challenges that the other one led to, the equation holds.
    let mask: Eq = rest * -Option::<F>::from(xi.invert()).unwrap();
    assert_eq!(rest + mask * xi, Eq::default());
    // The transcript has other challenges for it.
    proof.mask[0] = mask.to_affine();
    assert!(!holds(&params, &groups, &points, &proof));
}
