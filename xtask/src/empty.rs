//! Cards whose weights are all zero, and proofs that show nothing: what costs a verifier as much as anything, and its maker
//! little.

use ff::Field;
use group::GroupEncoding;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zkinfer_circuits::card::{Card, Proof, Segment, SegmentProof};
use zkinfer_circuits::fold::Group;
use zkinfer_circuits::layout::BLINDING_ROWS;
use zkinfer_circuits::link::LinkProof;
use zkinfer_circuits::program::Program;
use zkinfer_circuits::statement::{Claim, segment_digest};
use zkinfer_circuits::support::{self, SupportProof, Witness};
use zkinfer_circuits::verify::{Limits, Plan, Verifier};
use zkinfer_circuits::{C, F};
use zkinfer_engine::AnyGenerators;
use zkinfer_verifier::params;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Weights that are all zero, with their blinds.
struct Zero<'a> {
    blinds: Vec<Vec<F>>,
    generators: &'a AnyGenerators,
}

impl Zero<'_> {
    fn points(&self, groups: &[Group]) -> Vec<C> {
        let of_group = |(group, blinds): (&Group, &Vec<F>)| {
            let weights = vec![0; group.rows.len() * blinds.len()];
            self.generators
                .commit_weights(&group.rows, &weights, blinds)
        };
        groups.iter().zip(&self.blinds).flat_map(of_group).collect()
    }
}

impl Witness for Zero<'_> {
    fn fold(&self, group: usize, coefficients: &[F]) -> (Vec<(u32, F)>, F) {
        let blinds = self.blinds[group].iter().zip(coefficients);
        (Vec::new(), blinds.map(|(b, c)| *b * c).sum())
    }

    fn commit(&self, columns: &[Vec<F>], blinds: &[F]) -> Vec<C> {
        self.generators.commit_columns(columns, blinds)
    }
}

/// A card whose weights are all zero.
pub fn card(program: Program, k: u32, info: Vec<u8>) -> Result<Card, Failure> {
    let plan = Plan::new(program, k, &Limits::default())?;
    let generators = AnyGenerators::load(&*params::load(k)?, false)?;
    let mut rng = ChaCha20Rng::seed_from_u64(info.len() as u64);
    let groups = plan.groups.iter();
    let blinds = groups.map(|g| (0..g.points).map(|_| F::random(&mut rng)).collect());
    let witness = Zero {
        blinds: blinds.collect(),
        generators: &generators,
    };
    let fixed = plan.fixed_columns().flat_map(|values| {
        let mut column: Vec<F> = values.iter().map(|&v| F::from(u64::from(v))).collect();
        column.resize(1 << k, F::ZERO);
        witness.commit(&[column], &[F::ONE])
    });
    let mut card = Card {
        k,
        info,
        segments: vec![Segment {
            program: plan.program.clone(),
            points: witness.points(&plan.groups),
            fixed: fixed.collect(),
            support: SupportProof::default(),
        }],
    };
    let digest = segment_digest(&card.digest(), 0);
    card.segments[0].support = support::prove(k, &digest, &plan.groups, &witness, &mut rng)
        .map_err(|_| "a point is the identity")?;
    Ok(card)
}

/// Bytes of the right length: every 32 of them are a point.
pub fn garbage(len: usize, point: &C) -> Vec<u8> {
    let point = point.to_bytes();
    let bytes: &[u8] = point.as_ref();
    bytes.iter().copied().cycle().take(len).collect()
}

pub fn link(point: &C) -> LinkProof {
    LinkProof {
        commitment: *point,
        rows: [F::ONE; BLINDING_ROWS],
        blind: F::ONE,
    }
}

/// A proof of several runs that shows nothing, of a model of one segment. Where its scalars stand are bytes of a point, too,
/// most of which are no scalars.
pub fn proof(verifier: &Verifier, runs: usize, context: &[u8]) -> Proof {
    let card = verifier.card();
    let point = &card.segments[0].fixed[0];
    let side = |len| Claim::Values(vec![0; len]);
    let run = (side(card.input_len()), side(card.output_len()));
    Proof {
        card: verifier.digest(),
        context: context.to_vec(),
        runs: vec![run; runs],
        segments: vec![SegmentProof {
            boundary: Vec::new(),
            halo2: garbage(verifier.halo2_len(runs), point),
            link: link(point),
        }],
    }
}
