//! Columns that are chosen when it is known what they will be checked with, and later runs with columns of their own.
//!
//! A lie that needs challenges which the transcript should not yield yet is told twice: once to learn them, once with
//! columns that are fitted to them.

use super::super::zoo::zoo;
use super::*;
use ff::Field;
use zkinfer_circuits::fold::Challenges;
use zkinfer_circuits::transcript::Transcript;

pub(super) const LIES: &[Told] = &[
    (
        "multiplicity_fitted_to_the_challenges",
        Check::BoundPhase1,
        fitted_multiplicity,
    ),
    (
        "folded_activation_fitted_to_eta",
        Check::BoundFolded,
        || products_with(Absorb::Eta),
    ),
    (
        "looked_up_weight_fitted_to_the_challenges",
        Check::BoundFolded,
        super::super::gathers::fitted_to_the_challenges,
    ),
    (
        "folded_activations_under_one_power",
        Check::EtaPowers,
        || products_with(Absorb::Two),
    ),
    (
        "coefficients_fitted_to_the_challenges",
        Check::BoundFree,
        || fitted_coefficients(1),
    ),
    (
        "later_run_with_coefficients_of_its_own",
        Check::LaterCoefficients,
        || fitted_coefficients(2),
    ),
    (
        "public_columns_fitted_to_mu",
        Check::BoundPublic,
        fitted_public_columns,
    ),
    (
        "later_run_with_public_columns_of_its_own",
        Check::LaterPublic,
        later_public_columns,
    ),
    (
        "later_run_with_weights_of_its_own",
        Check::LaterWeights,
        later_weights,
    ),
];

/// A lie about the columns of one run, with what is known by then.
#[derive(Default)]
pub(in crate::prove::tests) struct Fitted<'a> {
    /// Which run lies, counted from one.
    pub run: usize,
    pub cells: Option<&'a dyn Fn(&Plan, &mut witness::Phase1)>,
    pub columns: Option<&'a dyn Fn(&Plan, u8, &mut [Vec<F>], &Known)>,
    pub known: Known,
    /// Runs seen in each phase.
    pub seen: [usize; 6],
    /// Columns that later runs do not take over from the first.
    pub own: Vec<usize>,
}

/// Challenges: those of this proof and those of the one that was made to learn them.
#[derive(Clone, Default)]
pub(in crate::prove::tests) struct Known {
    pub challenges: Option<Challenges>,
    pub eta: Option<F>,
    pub mu: Option<F>,
    pub public: Vec<Vec<F>>,
    pub before: Vec<Vec<F>>,
}

impl Deviation for Fitted<'_> {
    fn repeated(&mut self, repeated: &mut Vec<bool>) {
        self.own.iter().for_each(|&column| repeated[column] = false);
    }
    fn cells(&mut self, plan: &Plan, phase1: &mut witness::Phase1) {
        self.seen[0] += 1;
        if self.seen[0] == self.run {
            self.cells.iter().for_each(|f| f(plan, phase1));
        }
    }
    fn challenges(&mut self, challenges: &mut Challenges) {
        self.known.challenges = Some(challenges.clone());
    }
    fn eta(&mut self, eta: Option<F>) {
        self.known.eta = eta;
    }
    fn link(&mut self, transcript: &Transcript) {
        self.known.mu = Some(transcript.clone().challenge());
    }
    fn columns(&mut self, plan: &Plan, phase: u8, columns: &mut [Vec<F>]) {
        self.seen[phase as usize] += 1;
        if phase == 4 {
            self.known.public = columns[plan.layout.columns.public()].to_vec();
        }
        if self.seen[phase as usize] == self.run {
            let known = &self.known;
            self.columns
                .iter()
                .for_each(|f| f(plan, phase, columns, known));
        }
    }
}

/// A remainder of `2^T` and more, paid for with a multiplicity that is no count.
fn fitted_multiplicity() -> bool {
    let secret = small();
    let mut run = small_run(&secret);
    run.forge_output(0, -1);
    let range = 1u32 << BITS;
    let cells = |plan: &Plan, p: &mut witness::Phase1| {
        let (lane, row) = output(plan);
        p.cells[lane.x][row] -= 1;
        p.cells[lane.rem[0]][row] += range;
    };
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        let Some(alpha) = known.before.first().map(|c| c[0]) else {
            return;
        };
        let (lane, row) = output(plan);
        let tables = &plan.description.sums.tables;
        let (sum, table) = (tables[0].0, &tables[0].1[0]);
        let fraction = (alpha + columns[lane.rem[0]][row]).invert().unwrap();
        if phase == 1 {
            columns[table.multiplicity][3] += (alpha + F::from(3)) * fraction;
        }
        if phase == 5 {
            columns[sum][4..].iter_mut().for_each(|v| *v += fraction);
        }
    };
    let tell = |before: Vec<Vec<F>>| {
        let mut lie = Fitted {
            run: 1,
            cells: Some(&cells),
            columns: Some(&columns),
            known: Known {
                before,
                ..Known::default()
            },
            ..Fitted::default()
        };
        let proof = prove(&secret, &run, b"", &mut lie);
        (proof, lie.known.public)
    };
    let (_, public) = tell(vec![]);
    let (proof, _) = tell(public);
    verifier(&secret).verify(&expected(b""), &proof).is_ok()
}

/// How folded activations absorb a wrong accumulator.
#[derive(Clone, Copy)]
enum Absorb {
    /// One of them, since what it is weighed with is known.
    Eta,
    /// Two of them, since both are weighed with the same.
    Two,
}

fn products_with(absorb: Absorb) -> bool {
    let secret = secret_of(products(BITS), 7, 3);
    let input: Vec<u32> = (0..12).map(|i| (i * 11 + 3) % 23).collect();
    let mut run = secret.infer_integers(&[input]).unwrap();
    run.forge_output(0, 1);
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        let (Some(challenges), 2) = (&known.challenges, phase) else {
            return;
        };
        let layout = &plan.layout;
        let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, challenges);
        let (table, values) = (layout.table_column(0), layout.value_column(0));
        let free = |u: &[Vec<F>]| coefficients.free(&columns[table..values], u, None);
        let before = free(&columns[values..]);
        // How much Σ x·E moves with a cell of U.
        let by = |row: usize| -> F {
            let mut moved = columns[values..].to_vec();
            moved[0][row] += F::ONE;
            let after = free(&moved);
            let slots = layout.slots(&plan.expanded);
            let moves = slots.map(|(s, cell)| {
                let x = columns[layout.ports[cell.port as usize].column][cell.row as usize];
                x * (after[s as usize] - before[s as usize])
            });
            moves.sum()
        };
        let gap = gap(plan, &coefficients);
        match (absorb, known.before.first()) {
            (Absorb::Eta, Some(eta)) => {
                // The first cell of U is weighed with η itself.
                let share = gap * (by(0) - eta[0]).invert().unwrap();
                columns[values][0] += share;
            }
            (Absorb::Eta, None) => {}
            (Absorb::Two, _) => {
                let share = gap * (by(0) - by(1)).invert().unwrap();
                columns[values][0] += share;
                columns[values][1] -= share;
            }
        }
    };
    let tell = |before: Vec<Vec<F>>| {
        let mut lie = Fitted {
            run: 1,
            cells: Some(&one_more),
            columns: Some(&columns),
            known: Known {
                before,
                ..Known::default()
            },
            ..Fitted::default()
        };
        let proof = prove(&secret, &run, b"", &mut lie);
        (proof, lie.known.eta)
    };
    let (_, eta) = tell(vec![]);
    let (proof, _) = tell(vec![vec![eta.unwrap()]]);
    verifier(&secret).verify(&expected(b""), &proof).is_ok()
}

/// In one of `runs` runs, the last, two free coefficients absorb a wrong accumulator: one beside an activation, and one beside
/// a zero that makes up for it in the identity of the coefficients.
fn fitted_coefficients(runs: usize) -> bool {
    let secret = secret_of(zoo(BITS), 7, 1);
    let image = |i: u32| vec![(0..16).map(|j| (j * 37 + 5 + 11 * i) % 64).collect()];
    let mut all: Vec<Run> = (0..runs as u32)
        .map(|i| secret.infer_integers(&image(i)).unwrap())
        .collect();
    all[runs - 1].forge_output(0, 1);
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        let (Some(challenges), 3, false) = (&known.challenges, phase, known.before.is_empty())
        else {
            return;
        };
        let layout = &plan.layout;
        let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, challenges);
        let weights = layout.e_weights.as_ref().unwrap();
        let from = 1 + usize::from(challenges.theta.is_some()) + challenges.y.len();
        let z: Vec<F> = (from..from + weights.constants)
            .map(|i| known.before[i][0])
            .collect();
        let zeta = |number: usize, row: usize| -> F {
            let powers = z.iter().zip(&weights.exponents[number]);
            let lane: F = powers.map(|(z, &e)| z.pow_vartime([e as u64])).product();
            let rows = weights.step * (layout.last - 1 - row);
            lane * z[0].pow_vartime([rows as u64])
        };
        let input = &layout.ports[0];
        let (column, number) = input.free.unwrap();
        let row = (1..)
            .find(|&r| columns[input.column][r] != F::ZERO)
            .unwrap();
        let share = gap(plan, &coefficients) * columns[input.column][row].invert().unwrap();
        let zero = (1..layout.last).rfind(|&r| columns[input.column][r] == F::ZERO);
        let zero = zero.unwrap();
        columns[column][row] += share;
        columns[column][zero] -= share * zeta(number, row) * zeta(number, zero).invert().unwrap();
    };
    let plan = secret.plan();
    let columns_of_e = plan.layout.ports.iter().filter_map(|p| p.free);
    let mut own: Vec<usize> = columns_of_e.map(|(column, _)| column).collect();
    own.extend(plan.description.sums.coefficients);
    let tell = |before: Vec<Vec<F>>| {
        let mut lie = Fitted {
            run: runs,
            cells: Some(&one_more),
            columns: Some(&columns),
            known: Known {
                before,
                ..Known::default()
            },
            own: own.clone(),
            ..Fitted::default()
        };
        let proof = prove_runs(&secret, &all, &mut lie);
        (proof, lie.known.public)
    };
    let (_, public) = tell(vec![]);
    let (proof, _) = tell(public);
    let expected = vec![expected(b""); runs];
    verifier(&secret).verify_runs(&expected, &proof).is_ok()
}

/// `κ` absorbs a wrong accumulator, and `β` makes up for what the link then lacks.
fn fitted_public_columns() -> bool {
    let secret = secret_of(zoo(BITS), 7, 1);
    let image = vec![(0..16).map(|j| (j * 37 + 5) % 64).collect()];
    let mut run = secret.infer_integers(&image).unwrap();
    run.forge_output(0, 1);
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        let (Some(challenges), 4, Some(mu)) = (&known.challenges, phase, known.before.first())
        else {
            return;
        };
        let layout = &plan.layout;
        let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, challenges);
        let sums = &plan.description.sums;
        let (kappa, beta) = (sums.kappa.unwrap(), sums.beta[0]);
        // β follows κ among the linked columns, and both move in row 0.
        let inverse = mu[0].invert().unwrap();
        let weight = columns[layout.table_column(0)][0];
        let share = gap(plan, &coefficients) * (weight * inverse - F::ONE).invert().unwrap();
        columns[kappa][0] += share;
        columns[beta][0] -= share * inverse;
    };
    let tell = |before: Vec<Vec<F>>| {
        let mut lie = Fitted {
            run: 1,
            cells: Some(&one_more),
            columns: Some(&columns),
            known: Known {
                before,
                ..Known::default()
            },
            ..Fitted::default()
        };
        let proof = prove(&secret, &run, b"", &mut lie);
        (proof, lie.known.mu)
    };
    let (_, mu) = tell(vec![]);
    let (proof, _) = tell(vec![vec![mu.unwrap()]]);
    verifier(&secret).verify(&expected(b""), &proof).is_ok()
}

/// In the second of two runs `κ` absorbs a wrong accumulator; the first run's is linked.
fn later_public_columns() -> bool {
    let secret = secret_of(zoo(BITS), 7, 1);
    let image = |i: u32| vec![(0..16).map(|j| (j * 37 + 5 + 11 * i) % 64).collect()];
    let mut runs: Vec<Run> = (0..2)
        .map(|i| secret.infer_integers(&image(i)).unwrap())
        .collect();
    runs[1].forge_output(0, 1);
    let kappa = secret.plan().description.sums.kappa.unwrap();
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        let (Some(challenges), 4) = (&known.challenges, phase) else {
            return;
        };
        let coefficients =
            Coefficients::new(&plan.program, &plan.expanded, &plan.layout, challenges);
        columns[kappa][0] -= gap(plan, &coefficients);
    };
    let mut lie = Fitted {
        run: 2,
        cells: Some(&one_more),
        columns: Some(&columns),
        own: vec![kappa],
        ..Fitted::default()
    };
    let proof = prove_runs(&secret, &runs, &mut lie);
    let expected = vec![expected(b""); 2];
    verifier(&secret).verify_runs(&expected, &proof).is_ok()
}

/// In the second of two runs a folded weight absorbs a wrong accumulator; the first run's is linked to the model.
fn later_weights() -> bool {
    let secret = small();
    let mut runs = vec![small_run(&secret); 2];
    runs[1].forge_output(0, 1);
    let columns = |plan: &Plan, phase: u8, columns: &mut [Vec<F>], known: &Known| {
        let (Some(challenges), 2) = (&known.challenges, phase) else {
            return;
        };
        let coefficients =
            Coefficients::new(&plan.program, &plan.expanded, &plan.layout, challenges);
        let port = plan
            .layout
            .ports
            .iter()
            .find(|p| p.direct.is_some())
            .unwrap();
        let row = (1..).find(|&r| columns[port.column][r] != F::ZERO).unwrap();
        let share = gap(plan, &coefficients) * columns[port.column][row].invert().unwrap();
        columns[port.direct.unwrap()][row] += share;
    };
    let mut lie = Fitted {
        run: 2,
        cells: Some(&one_more),
        columns: Some(&columns),
        own: secret.plan().fold_columns(),
        ..Fitted::default()
    };
    let proof = prove_runs(&secret, &runs, &mut lie);
    let expected = vec![expected(b""); 2];
    verifier(&secret).verify_runs(&expected, &proof).is_ok()
}
