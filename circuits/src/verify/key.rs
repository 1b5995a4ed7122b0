//! What a verifier has to know of a circuit: the verifying key.
//!
//! It is upstream's key in another form. What upstream derives by committing to every fixed column is given by the card and
//! checked, all columns at once and together with the support proof ([`Key::equation`]), so that a key takes no
//! multi-scalar multiplication of its own.

use super::Plan;
use super::queries::{Queries, places, queries};
use crate::card::Segment;
use crate::checks::{Check, drawn};
use crate::circuit::PlanCircuit;
use crate::codec::Writer;
use crate::expr::{AnyColumn, Expr, Query};
use crate::gates::{Description, Gate};
use crate::link::Equation;
use crate::transcript::{Digest, IdentityPoint, Transcript};
use crate::{C, F};
use blake2b_simd::Params as Blake2b;
use ff::{Field, FromUniformBytes, PrimeField};
use halo2_proofs::poly::EvaluationDomain;
use pasta_curves::Fq;
use std::fmt::Debug;

/// A circuit, as the verifier of its proofs sees it.
#[derive(Debug)]
pub(super) struct Key {
    pub k: u32,
    pub domain: EvaluationDomain<F>,
    /// Number of advice columns of a run.
    pub advice: usize,
    /// Number of fixed columns.
    pub fixed: usize,
    /// Constraints. Columns are replaced by places in the list of a proof's evaluations, of a run or of fixed columns.
    pub gates: Vec<Expr>,
    pub queries: Queries,
    /// What upstream's transcript starts with.
    pub repr: F,
}

impl Key {
    /// The key of a plan, of whose fixed columns these are the commitments.
    pub fn new(plan: &Plan, fixed: &[C]) -> Key {
        Key::of_circuit(&plan.circuit(), plan.layout.k, fixed)
    }

    /// The key of a circuit of constraints alone.
    pub fn of_circuit(circuit: &PlanCircuit, k: u32, fixed: &[C]) -> Key {
        let description = circuit.description();
        let domain = EvaluationDomain::new(degree(description) as u32, k);
        let all = queries(description);
        Key {
            k,
            advice: description.advice,
            fixed: description.fixed,
            gates: numbered(description, &all),
            queries: Queries::new(description, &all),
            repr: repr(&domain, circuit, fixed),
            domain,
        }
    }

    /// Pieces of the quotient.
    pub fn pieces(&self) -> usize {
        self.domain.get_quotient_poly_degree()
    }

    /// Number of points at the head of a proof: advice columns, the random polynomial, pieces of the quotient.
    pub fn head(&self, runs: usize) -> usize {
        runs * self.advice + 1 + self.pieces()
    }

    /// Length in bytes of a proof of so many runs: points at its head, evaluations, the multi-point opening with an
    /// evaluation for each set, and the opening argument. See `docs/formats.md`, section 4.
    pub fn proof_len(&self, runs: usize) -> usize {
        let queries = &self.queries;
        let each = self.advice + queries.advice.len();
        let opening = 1 + queries.sets.len() + 2 * self.k as usize + 3;
        let once = 1 + self.pieces() + queries.fixed.len() + 1 + opening;
        32usize.saturating_mul(each.saturating_mul(runs).saturating_add(once))
    }

    /// What has to be zero if a segment's commitments to fixed columns are those of the plan: their differences, weighted by
    /// powers of a challenge that depends on the segment's digest and all else of it, so that [`super::Verifier::new`] adds it to the support
    /// proof's equation.
    ///
    /// # Errors
    /// A commitment that is the identity, which none is: each has the blind one, as upstream's.
    pub fn equation(
        plan: &Plan,
        digest: &Digest,
        card: &Segment,
    ) -> Result<Equation, IdentityPoint> {
        let mut transcript = Transcript::new("zkinfer key v1");
        transcript.bytes(&digest.0);
        let mut support = Writer::default();
        card.support.write(&mut support);
        transcript.bytes(drawn(Check::KeyBound, &support.bytes, &[]));
        for point in drawn(Check::KeyBound, card.fixed.as_slice(), &[]) {
            transcript.point(*point)?;
        }
        let challenge = transcript.challenge();
        let mut equation = Equation {
            rows: vec![F::ZERO; plan.layout.rows()],
            w: F::ZERO,
            card: Vec::new(),
            points: Vec::with_capacity(card.fixed.len()),
        };
        let mut power = drawn(Check::Key, challenge, F::ZERO);
        for (column, point) in plan.fixed_columns().zip(&card.fixed) {
            let rows = equation.rows.iter_mut().zip(column);
            let rows = rows.filter(|(_, v)| **v != 0);
            rows.for_each(|(sum, &v)| *sum += power * F::from(u64::from(v)));
            equation.w += power;
            equation.points.push((-power, *point));
            power *= drawn(Check::KeyPowers, challenge, F::ONE);
        }
        Ok(equation)
    }
}

/// The degree of the constraints, as upstream counts it: at least that of a permutation argument.
fn degree(description: &Description) -> usize {
    let gates = description.gates.iter().map(|gate| gate.poly.degree());
    gates.max().unwrap_or(0).max(3)
}

/// Constraints in terms of evaluations: of each kind of columns, the how manyth in the order of the queries.
fn numbered(description: &Description, queries: &[(AnyColumn, i32)]) -> Vec<Expr> {
    let places = places(queries);
    let place = |kind: fn(usize) -> AnyColumn| {
        let places = &places;
        move |q: Query| Query {
            column: places[&(kind(q.column), q.rotation)],
            rotation: 0,
        }
    };
    let (advice, fixed) = (place(AnyColumn::Advice), place(AnyColumn::Fixed));
    let numbered = |gate: &Gate| {
        gate.poly.evaluate(
            &Expr::Constant,
            &|q| Expr::Advice(advice(q)),
            &|q| Expr::Fixed(fixed(q)),
            &Expr::Instance,
            &|a, b| Expr::Sum(Box::new(a), Box::new(b)),
            &|a, b| Expr::Product(Box::new(a), Box::new(b)),
            &|a, c| Expr::Scaled(Box::new(a), c),
        )
    };
    description.gates.iter().map(numbered).collect()
}

/// Upstream's hash of a key: of how Rust prints it.
fn repr(domain: &EvaluationDomain<F>, circuit: &PlanCircuit, fixed: &[C]) -> F {
    #[derive(Debug)]
    #[allow(dead_code)] // printed
    struct PinnedVerificationKey<'a> {
        base_modulus: &'static str,
        scalar_modulus: &'static str,
        domain: &'a dyn Debug,
        cs: &'a dyn Debug,
        fixed_commitments: &'a [C],
        permutation: VerifyingKey,
    }
    /// Of no columns.
    #[derive(Debug)]
    #[allow(dead_code)] // printed
    struct VerifyingKey {
        commitments: [C; 0],
    }
    let system = circuit.constraint_system();
    let printed = format!(
        "{:?}",
        PinnedVerificationKey {
            base_modulus: Fq::MODULUS,
            scalar_modulus: F::MODULUS,
            domain: &domain.pinned(),
            cs: &system.pinned(),
            fixed_commitments: fixed,
            permutation: VerifyingKey { commitments: [] },
        }
    );
    let hash = Blake2b::new()
        .hash_length(64)
        .personal(b"Halo2-Verify-Key")
        .to_state()
        .update(&(printed.len() as u64).to_le_bytes())
        .update(printed.as_bytes())
        .finalize();
    F::from_uniform_bytes(hash.as_array())
}
