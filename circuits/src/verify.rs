//! Verification, and what prover and verifier share around it.

use crate::card::{Card, MultiProof, Proof};
use crate::circuit::PlanCircuit;
use crate::error::{CardError, Rejection};
use crate::fold::{Challenges, Coefficients, Group, LateChallenges, groups};
use crate::gates::{Description, describe, fixed_columns};
use crate::layout::{Cell, Lane, Layout};
use crate::link::{self, LinkProof, Target, commit_rows};
use crate::program::{Expanded, Program, ProgramLimits};
use crate::statement::{Claim, MAX_CONTEXT, Side, statement_digest};
use crate::support;
use crate::transcript::{Digest, IdentityPoint, Transcript};
use crate::{C, F};
use ff::Field;
use group::{Curve, GroupEncoding};
use halo2_proofs::plonk::{SingleVerifier, VerifyingKey, verify_proof};
use halo2_proofs::poly::commitment::Params;
use halo2_proofs::transcript::{Blake2bRead, Challenge255};
use std::sync::Arc;

/// Bounds on what a card or a proof may ask of a verifier.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bounds on the program.
    pub program: ProgramLimits,
    /// Largest `k`.
    pub k: u32,
    /// Most points in a model commitment.
    pub points: usize,
    /// Most advice columns.
    pub columns: usize,
    /// Longest card file in bytes.
    pub card_bytes: usize,
    /// Longest proof file in bytes.
    pub proof_bytes: usize,
    /// Most runs in one proof.
    pub runs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            program: ProgramLimits::default(),
            k: 16,
            points: 1 << 20,
            columns: 2048,
            card_bytes: 1 << 28,
            proof_bytes: 1 << 22,
            runs: 256,
        }
    }
}

/// Everything that follows from a program and `k` alone.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The architecture.
    pub program: Program,
    /// Its wiring.
    pub expanded: Expanded,
    /// Its layout.
    pub layout: Layout,
    /// Columns and gates.
    pub description: Arc<Description>,
    /// Fixed columns.
    pub fixed: Arc<Vec<Vec<u32>>>,
    /// Groups of the model commitment.
    pub groups: Vec<Group>,
}

impl Plan {
    /// Expands and places a program.
    ///
    /// # Errors
    /// A program that is not well formed, or beyond the limits, or that does not fit `k`.
    pub fn new(program: Program, k: u32, limits: &Limits) -> Result<Plan, CardError> {
        if k > limits.k {
            return Err(CardError::Limit {
                what: "k",
                value: k as usize,
                limit: limits.k as usize,
            });
        }
        let expanded = program.expand(&limits.program)?;
        crate::hints::check(&program, &expanded)?;
        let layout = Layout::new(&program, &expanded, k)?;
        if layout.columns.advice() > limits.columns {
            return Err(CardError::Limit {
                what: "columns",
                value: layout.columns.advice(),
                limit: limits.columns,
            });
        }
        let groups = groups(&program, &layout);
        let description = Arc::new(describe(&layout));
        let fixed = Arc::new(fixed_columns(&program, &layout));
        Ok(Plan {
            program,
            expanded,
            layout,
            description,
            fixed,
            groups,
        })
    }

    /// The circuit without witness.
    pub fn circuit(&self) -> PlanCircuit {
        PlanCircuit::new(
            self.description.clone(),
            self.fixed.clone(),
            self.layout.last + 1,
        )
    }

    /// Number of points in the model commitment.
    pub fn points(&self) -> usize {
        self.groups.iter().map(|g| g.points).sum()
    }

    /// Advice columns of inputs, then outputs: linked in every run of a proof.
    pub fn side_lanes(&self) -> Vec<usize> {
        let layout = &self.layout;
        let lanes = layout.input_lanes().chain(layout.output_lanes());
        lanes.map(|l| l.x).collect()
    }

    /// Advice columns of folded weights: linked once in a proof, behind the sides of all runs.
    pub fn fold_columns(&self) -> Vec<usize> {
        let layout = &self.layout;
        let direct = layout.ports.iter().filter_map(|p| p.direct);
        let table = (0..layout.columns.table).map(|i| layout.table_column(i));
        direct.chain(table).collect()
    }

    /// Advice columns whose content follows from weights and challenges alone, so that all runs of a proof hold the same:
    /// folded weights, free coefficients and their running sum, challenges.
    pub fn repeated_columns(&self) -> Vec<bool> {
        let c = &self.layout.columns;
        let same = c.phase1()..c.phase1() + c.phase2() + c.constants;
        let h = self.description.sums.coefficients;
        (0..c.advice())
            .map(|i| same.contains(&i) || h == Some(i))
            .collect()
    }

    /// Whether a commitment to this program's output is a commitment to the same values as `next`'s input: every element
    /// stands in the same lane and row, and the parameters and ranges are the same. Without that a committed output that
    /// is passed on as a committed input is read in another order.
    pub fn feeds(&self, next: &Plan) -> bool {
        let place = |plan: &Plan, cell: Cell, first: Option<&Lane>| {
            let lane = plan.layout.ports[cell.port as usize].lane;
            let first = first.and_then(|f| plan.layout.lanes.iter().position(|l| l.x == f.x));
            (first.map(|first| lane - first), cell.row)
        };
        let outputs = self.layout.output_cells(&self.program);
        let outputs = outputs.map(|c| place(self, c, self.layout.output_lanes().next()));
        let inputs = next.layout.input_cells(&next.program);
        let inputs = inputs.map(|c| place(next, c, next.layout.input_lanes().next()));
        self.layout.k == next.layout.k
            && self.layout.range_bits == next.layout.range_bits
            && outputs.eq(inputs)
    }

    /// Commitments to an input or output, one per lane, with the given blinds.
    pub fn commit_side(
        &self,
        params: &Params<C>,
        cells: Vec<Cell>,
        lanes: &[usize],
        values: &[u16],
        blinds: &[F],
    ) -> Vec<C> {
        let columns = self.side_columns(cells.into_iter(), values);
        let empty = Vec::new();
        let commit = |(lane, blind): (&usize, &F)| {
            let values = columns
                .iter()
                .find(|(c, _)| c == lane)
                .map_or(&empty, |(_, v)| v);
            commit_rows(params, 0, values, *blind).to_affine()
        };
        lanes.iter().zip(blinds).map(commit).collect()
    }

    /// Values of an input or output by lane and row: `(lane's x column, first row of the slice, values)`.
    pub fn side_columns(
        &self,
        cells: impl Iterator<Item = Cell>,
        values: &[u16],
    ) -> Vec<(usize, Vec<F>)> {
        let mut columns: Vec<(usize, Vec<F>)> = Vec::new();
        for (cell, &v) in cells.zip(values) {
            let column = self.layout.ports[cell.port as usize].column;
            let found = columns.iter().position(|(c, _)| *c == column);
            let at = found.unwrap_or_else(|| {
                columns.push((column, vec![F::ZERO; self.layout.rows()]));
                columns.len() - 1
            });
            columns[at].1[cell.row as usize] = F::from(u64::from(v));
        }
        columns
    }
}

/// The Fiat–Shamir side of the two phases; prover and verifier run the same code.
#[derive(Debug)]
pub struct Session {
    transcript: Transcript,
}

impl Session {
    /// Begins with the digest of the statement.
    pub fn new(statement: &Digest) -> Session {
        let mut transcript = Transcript::new("zkinfer proof v1");
        transcript.bytes(&statement.0);
        Session { transcript }
    }

    /// Absorbs the commitments of phase 1 and yields the first challenges.
    ///
    /// # Errors
    /// On an identity point.
    pub fn challenges(
        &mut self,
        layout: &Layout,
        phase1: &[C],
    ) -> Result<Challenges, IdentityPoint> {
        phase1.iter().try_for_each(|p| self.transcript.point(*p))?;
        let alpha = self.transcript.challenge();
        let theta = self.transcript.challenge();
        let y = self.transcript.challenges(layout.y_weights.constants);
        Ok(Challenges {
            alpha,
            theta: (layout.functions > 0).then_some(theta),
            y,
        })
    }

    /// Absorbs the commitments of phase 2 and yields the late challenges.
    ///
    /// # Errors
    /// On an identity point.
    pub fn late(&mut self, layout: &Layout, phase2: &[C]) -> Result<LateChallenges, IdentityPoint> {
        phase2.iter().try_for_each(|p| self.transcript.point(*p))?;
        let e = self
            .transcript
            .challenges(layout.e_weights.as_ref().map_or(0, |w| w.constants));
        Ok(LateChallenges { e })
    }

    /// The transcript that the link proof continues.
    pub fn link(self) -> Transcript {
        self.transcript
    }
}

/// Instance columns: constants, `κ`, `β`.
pub fn instances(
    layout: &Layout,
    challenges: &Challenges,
    late: &LateChallenges,
    kappa: F,
    beta: Vec<Vec<F>>,
) -> Vec<Vec<F>> {
    let constants = [challenges.alpha].into_iter().chain(challenges.theta);
    let constants = constants
        .chain(challenges.y.iter().copied())
        .chain(late.e.iter().copied());
    let mut columns: Vec<Vec<F>> = constants.map(|c| vec![c]).collect();
    if layout.columns.free > 0 {
        columns.push(vec![kappa]);
        columns.extend(beta);
    }
    columns
}

/// What the verifier's caller expects. `None`: whatever the proof claims (and carries); the verdict reports it.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Input.
    pub input: Option<Side>,
    /// Output.
    pub output: Option<Side>,
    /// Context bytes; always compared.
    pub context: Vec<u8>,
}

/// What a valid proof shows: the committed model maps this input to this output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The model.
    pub card: Digest,
    /// The input.
    pub input: Side,
    /// The output.
    pub output: Side,
    /// The context.
    pub context: Vec<u8>,
}

/// A checked card with its verifying key.
#[derive(Debug)]
pub struct Verifier {
    plan: Plan,
    params: Arc<Params<C>>,
    card: Card,
    digest: Digest,
    key: VerifyingKey<C>,
    limits: Limits,
}

impl Verifier {
    /// Checks a card: program, size of the commitment, support proof; derives the verifying key.
    ///
    /// # Errors
    /// [`CardError`] says what is wrong with the card.
    pub fn new(card: Card, params: Arc<Params<C>>, limits: &Limits) -> Result<Verifier, CardError> {
        if params.k() != card.k {
            return Err(CardError::Params {
                card: card.k,
                params: params.k(),
            });
        }
        let plan = Plan::new(card.program.clone(), card.k, limits)?;
        if card.points.len() != plan.points() || card.points.len() > limits.points {
            return Err(CardError::Points {
                found: card.points.len(),
                expected: plan.points(),
                limit: limits.points,
            });
        }
        let digest = card.digest();
        if !support::verify(
            &params,
            &plan.layout,
            &digest,
            &plan.groups,
            &card.points,
            &card.support,
        ) {
            return Err(CardError::Support);
        }
        let key = plan
            .circuit()
            .verifying_key(&params)
            .map_err(|_| CardError::Key)?;
        Ok(Verifier {
            plan,
            params,
            card,
            digest,
            key,
            limits: *limits,
        })
    }

    /// The card's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The card.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// What follows from the card's program.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The verifying key.
    pub fn key(&self) -> &VerifyingKey<C> {
        &self.key
    }

    /// Checks a proof against what the caller expects.
    ///
    /// # Errors
    /// The first reason for which the proof is not accepted. Never panics, whatever the proof.
    pub fn verify(&self, expected: &Expected, proof: &Proof) -> Result<Verdict, Rejection> {
        self.meets(&proof.card, &expected.context, &proof.context)?;
        let run = self.run(
            (expected.input.as_ref(), &proof.input),
            (expected.output.as_ref(), &proof.output),
        )?;
        let runs = [run];
        self.check(&runs, &proof.context, &proof.halo2, &proof.link)?;
        let [(input, output)] = runs;
        Ok(Verdict {
            card: self.digest,
            input,
            output,
            context: proof.context.clone(),
        })
    }

    /// Checks one proof of several runs. `expected` has one entry per run; the context is that of the whole proof and
    /// taken from the first.
    ///
    /// # Errors
    /// As [`Verifier::verify`]; also if the number of runs is another one.
    pub fn verify_runs(
        &self,
        expected: &[Expected],
        proof: &MultiProof,
    ) -> Result<Vec<Verdict>, Rejection> {
        if expected.len() != proof.runs.len() || expected.is_empty() {
            return Err(Rejection::Runs {
                found: proof.runs.len(),
                expected: expected.len(),
            });
        }
        if expected.len() > self.limits.runs {
            return Err(Rejection::Malformed {
                what: "proof has more runs than the limit",
            });
        }
        for expected in expected {
            self.meets(&proof.card, &expected.context, &proof.context)?;
        }
        let runs: Result<Vec<(Side, Side)>, Rejection> = expected
            .iter()
            .zip(&proof.runs)
            .map(|(e, (input, output))| {
                self.run((e.input.as_ref(), input), (e.output.as_ref(), output))
            })
            .collect();
        let runs = runs?;
        self.check(&runs, &proof.context, &proof.halo2, &proof.link)?;
        let verdicts = runs.into_iter().map(|(input, output)| Verdict {
            card: self.digest,
            input,
            output,
            context: proof.context.clone(),
        });
        Ok(verdicts.collect())
    }

    /// Whether a proof is for this card and context.
    fn meets(&self, card: &Digest, expected: &[u8], context: &[u8]) -> Result<(), Rejection> {
        if *card != self.digest {
            return Err(Rejection::Model {
                proof: *card,
                card: self.digest,
            });
        }
        if expected.len() > MAX_CONTEXT || context.len() > MAX_CONTEXT {
            return Err(Rejection::Malformed {
                what: "context is longer than 4096 bytes",
            });
        }
        if context != expected {
            return Err(Rejection::Context);
        }
        Ok(())
    }

    /// Input and output of one run.
    fn run(
        &self,
        input: (Option<&Side>, &Claim),
        output: (Option<&Side>, &Claim),
    ) -> Result<(Side, Side), Rejection> {
        let program = &self.plan.program;
        Ok((
            self.side("input", input.0, input.1, program.input_len())?,
            self.side("output", output.0, output.1, program.output_len())?,
        ))
    }

    /// The side that the proof is checked against.
    fn side(
        &self,
        which: &'static str,
        expected: Option<&Side>,
        claim: &Claim,
        len: usize,
    ) -> Result<Side, Rejection> {
        let side = match (expected, claim) {
            (Some(side), claim) if claim.is(side) => side.clone(),
            (Some(_), _) => return Err(Rejection::Statement { which }),
            (None, Claim::Values(values)) => Side::Public(values.clone()),
            (None, Claim::Committed(points)) => Side::Committed(points.clone()),
            (None, Claim::Digest(_)) => return Err(Rejection::Needed { which }),
        };
        match &side {
            Side::Public(values) => {
                if values.len() != len {
                    return Err(Rejection::Length {
                        which,
                        found: values.len(),
                        expected: len,
                    });
                }
                let range = 1u32 << self.plan.layout.range_bits;
                if let Some(index) = values.iter().position(|&v| u32::from(v) >= range) {
                    return Err(Rejection::Range {
                        which,
                        index,
                        value: values[index],
                        limit: range,
                    });
                }
            }
            Side::Committed(points) => {
                let lanes = if which == "input" {
                    self.plan.layout.input_lanes().count()
                } else {
                    self.plan.layout.output_lanes().count()
                };
                if points.len() != lanes {
                    return Err(Rejection::Length {
                        which,
                        found: points.len(),
                        expected: lanes,
                    });
                }
            }
        }
        Ok(side)
    }

    fn check(
        &self,
        runs: &[(Side, Side)],
        context: &[u8],
        halo2: &[u8],
        link: &LinkProof,
    ) -> Result<(), Rejection> {
        if halo2.len() > self.limits.proof_bytes {
            return Err(Rejection::Malformed {
                what: "proof is longer than the limit",
            });
        }
        let statement = statement_digest(&self.digest, runs, context);
        let layout = &self.plan.layout;
        let columns = &layout.columns;
        let commitments = read_points(halo2, runs.len() * columns.advice())?;
        let of_runs: Vec<&[C]> = commitments.chunks(columns.advice()).collect();
        // Challenges and the link see the folded weights and free coefficients of the first run only.
        let phase2 = columns.phase1()..columns.phase1() + columns.phase2();
        let first = &of_runs[0][phase2.clone()];
        if of_runs.iter().any(|run| run[phase2.clone()] != *first) {
            return Err(Rejection::Malformed {
                what: "runs have different fold columns",
            });
        }
        let identity = |_| Rejection::Malformed {
            what: "commitment is the identity",
        };
        let phase1: Vec<C> = of_runs
            .iter()
            .flat_map(|run| run[..columns.phase1()].iter().copied())
            .collect();
        let mut session = Session::new(&statement);
        let challenges = session.challenges(layout, &phase1).map_err(identity)?;
        let late = session.late(layout, first).map_err(identity)?;
        let coefficients =
            Coefficients::new(&self.plan.program, &self.plan.expanded, layout, &challenges);

        let linked = self.targets(&coefficients, runs, &of_runs);
        if !link::verify(&self.params, &mut session.link(), &linked, link) {
            return Err(Rejection::Link);
        }

        let (kappa, beta) = coefficients.late(&late);
        let instances = instances(layout, &challenges, &late, kappa, beta);
        let instances: Vec<&[F]> = instances.iter().map(Vec::as_slice).collect();
        let instances = vec![instances.as_slice(); runs.len()];
        let mut reader = halo2;
        let mut transcript = Blake2bRead::<_, C, Challenge255<C>>::init(&mut reader);
        let strategy = SingleVerifier::new(&self.params);
        verify_proof(
            &self.params,
            &self.key,
            strategy,
            &instances,
            &mut transcript,
        )
        .map_err(|_| Rejection::Circuit)?;
        // Upstream does not look behind the end of a proof.
        if reader.is_empty() {
            Ok(())
        } else {
            Err(Rejection::Malformed {
                what: "bytes behind the end of the proof",
            })
        }
    }

    /// Commitments and targets of all linked columns: the [sides](Plan::side_lanes) of every run, then the
    /// [folds](Plan::fold_columns).
    fn targets(
        &self,
        coefficients: &Coefficients<'_>,
        runs: &[(Side, Side)],
        commitments: &[&[C]],
    ) -> Vec<(C, Target)> {
        let plan = &self.plan;
        let mut targets = Vec::new();
        for ((input, output), commitments) in runs.iter().zip(commitments) {
            let inputs: Vec<usize> = plan.layout.input_lanes().map(|l| l.x).collect();
            let cells = plan.layout.input_cells(&plan.program).collect();
            self.side_targets(input, &inputs, cells, commitments, &mut targets);
            let outputs: Vec<usize> = plan.layout.output_lanes().map(|l| l.x).collect();
            let cells = plan.layout.output_cells(&plan.program).collect();
            self.side_targets(output, &outputs, cells, commitments, &mut targets);
        }
        let columns = plan.fold_columns();
        let mut folds: Vec<Target> = vec![Target::default(); columns.len()];
        let mut points = self.card.points.as_slice();
        for group in &plan.groups {
            let (own, rest) = points.split_at(group.points);
            points = rest;
            if let Some(i) = columns.iter().position(|c| *c == group.column) {
                let scalars = coefficients.group(group);
                folds[i]
                    .terms
                    .extend(scalars.into_iter().zip(own.iter().copied()));
            }
        }
        targets.extend(columns.iter().map(|&c| commitments[0][c]).zip(folds));
        targets
    }

    /// Commitments and targets of one side of one run.
    fn side_targets(
        &self,
        side: &Side,
        lanes: &[usize],
        cells: Vec<Cell>,
        commitments: &[C],
        targets: &mut Vec<(C, Target)>,
    ) {
        let columns = match side {
            Side::Public(values) => self.plan.side_columns(cells.into_iter(), values),
            Side::Committed(_) => Vec::new(),
        };
        for (i, &lane) in lanes.iter().enumerate() {
            let mut target = Target::default();
            match side {
                Side::Public(_) => {
                    if let Some((_, values)) = columns.iter().find(|(c, _)| *c == lane) {
                        let point = commit_rows(&self.params, 0, values, F::ZERO).to_affine();
                        target.terms.push((F::ONE, point));
                    }
                }
                Side::Committed(points) => target.terms.push((F::ONE, points[i])),
            }
            targets.push((commitments[lane], target));
        }
    }
}

fn read_points(bytes: &[u8], count: usize) -> Result<Vec<C>, Rejection> {
    if bytes.len() < count * 32 {
        return Err(Rejection::Malformed {
            what: "proof is too short",
        });
    }
    bytes
        .chunks_exact(32)
        .take(count)
        .map(|chunk| {
            let mut repr = [0; 32];
            repr.copy_from_slice(chunk);
            Option::from(C::from_bytes(&repr)).ok_or(Rejection::Malformed {
                what: "invalid curve point",
            })
        })
        .collect()
}
