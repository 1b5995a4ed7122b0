//! Every constraint of every kind of lane, switched off one at a time: a lie that nothing else catches must show each.
//!
//! A lie changes cells of an honest table and makes everything else consistent with them: multiplicities, products, running
//! sums, and, where an accumulator moves, a cell of the folded weights, which no gate constrains but the link (so it
//! stands for weights of the owner's choice). Two questions are asked.
//!
//! * Is every cell bound ([`every_cell_of_every_lane_is_bound`])? The lies follow from the lanes' cells, not from the
//!   constraints, so a constraint that was never written is missed, too.
//! * Is every constraint needed ([`Mutation`])? Each gate, each look-up and each summand of a look-up is taken out of the
//!   description in turn. The honest table must still satisfy what is left, and some lie that the whole description
//!   catches must pass.

mod gathers;
mod models;
mod running;

use super::zoo::{secret_of, violated};
use super::*;
use crate::secret::Secret;
use models::{folds, hints, looked_up, units, widest};
use running::about_sums;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use witness::Phase1;
use zkinfer_circuits::fold::{Challenges, LateChallenges};
use zkinfer_circuits::gates::{Description, describe_with};
use zkinfer_circuits::layout::{BankKind, Lane};
use zkinfer_model::model::QuantizedModel;

/// A model, and an honest run of it under fixed challenges.
struct Table {
    name: &'static str,
    secret: Secret,
    phase1: Phase1,
    challenges: Challenges,
    late: LateChallenges,
    beta: Vec<Vec<F>>,
    /// Columns of phase 2.
    phase2: Vec<Vec<F>>,
    public: Vec<Vec<F>>,
}

/// What a lie changes.
#[derive(Default)]
struct Lie<'a> {
    cells: Option<&'a dyn Fn(&mut Phase1)>,
    multiplicities: Option<&'a dyn Fn(&mut Phase1)>,
    /// Columns of phases 1 and 2, and the public ones.
    columns: Option<&'a dyn Fn(&mut [Vec<F>])>,
    /// All columns.
    sums: Option<&'a dyn Fn(&mut [Vec<F>])>,
    /// Whether a folded weight absorbs what the accumulators lack.
    absorb: bool,
}

impl Table {
    fn new(name: &'static str, model: QuantizedModel, k: u32, input: &[Vec<u32>]) -> Table {
        let secret = secret_of(model, k, 3);
        let run = secret.infer_integers(input).unwrap();
        let plan = secret.plan();
        let layout = &plan.layout;
        // Challenges as a transcript would yield them.
        let mut session = Session::new(&Digest([5; 32]));
        let challenges = session.challenges(layout, &[]).unwrap();
        let eta = session.eta(layout, &[]).unwrap();
        let late = session.late(layout, eta, &[]).unwrap();
        let coefficients = Coefficients::new(&plan.program, &plan.expanded, layout, &challenges);
        let mut phase1 = Phase1::new(plan, &run.traces[0]);
        phase1.count_lookups(plan);
        let mut columns = phase1.columns(plan);
        let phase1_columns = columns.len();
        let keys = Keys::new(engine::Engine::Auto, plan, secret.params()).unwrap();
        let generators = engine::generators(engine::Engine::Auto, secret.params()).unwrap();
        let prover = Prover {
            plan,
            params: secret.params(),
            keys: &keys,
            generators: &generators,
            matrices: secret.matrices(),
            blinds: secret.blinds(),
        };
        columns.extend(prover.folded_weights(&coefficients));
        columns.extend(prover.usable(coefficients.values(&run.traces[0].slots)));
        let gathered = gather::looked_up(plan, &phase1, &columns);
        columns.extend(gathered);
        let free = prover.free(&coefficients, &columns, eta);
        columns.extend(free);
        let (kappa, beta) = coefficients.late_by_enumeration(&late);
        let public = public_columns(layout, &challenges, &late, kappa, beta.clone());
        let public = public.iter().map(|p| p.column(layout.last + 1)).collect();
        let phase2 = columns.split_off(phase1_columns);
        let table = Table {
            name,
            phase1,
            challenges,
            late,
            beta,
            phase2,
            public,
            secret,
        };
        assert_eq!(table.violated(table.plan(), &Lie::default()), [""; 0]);
        table
    }

    fn plan(&self) -> &Plan {
        self.secret.plan()
    }

    /// The plan with other constraints.
    fn weakened(&self, description: Description) -> Plan {
        Plan {
            description: Arc::new(description),
            ..self.plan().clone()
        }
    }

    /// The gates that a lie violates which is told to a description.
    fn violated(&self, plan: &Plan, lie: &Lie<'_>) -> Vec<String> {
        let mut phase1 = self.phase1.clone();
        lie.cells.iter().for_each(|f| f(&mut phase1));
        phase1.count_lookups(plan);
        lie.multiplicities.iter().for_each(|f| f(&mut phase1));
        let mut columns = phase1.columns(plan);
        columns.extend_from_slice(&self.phase2);
        columns.extend_from_slice(&self.public);
        let gathered = gather::looked_up(plan, &phase1, &columns);
        let first = plan.layout.gathered_column(0);
        columns.splice(first..first + gathered.len(), gathered);
        lie.columns.iter().for_each(|f| f(&mut columns));
        let inverses = sums::table_inverses(plan, &self.challenges);
        let fill = |columns: &[Vec<F>]| {
            let late = sums::Late {
                inverses: &inverses,
                challenges: &self.challenges,
                late: &self.late,
            };
            sums::running_sums(plan, &late, &phase1, columns)
        };
        let mut behind = fill(&columns);
        if lie.absorb {
            let gap = self.gap(&columns, &behind);
            if gap != F::ZERO {
                self.absorb(&mut columns, gap);
                behind = fill(&columns);
            }
        }
        columns.extend(behind);
        lie.sums.iter().for_each(|f| f(&mut columns));
        violated(plan, &columns)
    }

    /// What the fold's sums differ by in the last row.
    fn gap(&self, before: &[Vec<F>], behind: &[Vec<F>]) -> F {
        let (sums, last) = (&self.plan().description.sums, self.plan().layout.last);
        let at = |column: usize| behind[column - before.len()][last];
        let second = sums
            .coefficients
            .map_or(F::ZERO, |h| before[sums.e_constants[0]][last] * at(h));
        at(sums.products) - at(sums.accumulators) + second
    }

    /// Moves a folded weight so that the products are less by `gap`.
    fn absorb(&self, columns: &mut [Vec<F>], gap: F) {
        let layout = &self.plan().layout;
        for port in &layout.ports {
            let Some(direct) = port.direct else { continue };
            let factor = |row: usize, x: &F| match port.holds_one && row == 0 {
                true => *x + F::ONE,
                false => *x,
            };
            let rows = columns[port.column][..layout.last].iter().enumerate();
            let mut factors = rows.map(|(row, x)| (row, factor(row, x)));
            if let Some((row, factor)) = factors.find(|(_, f)| *f != F::ZERO) {
                columns[direct][row] -= gap * factor.invert().unwrap();
                return;
            }
        }
        for (i, beta) in self.beta[..layout.columns.table].iter().enumerate() {
            if let Some(row) = beta.iter().position(|b| *b != F::ZERO) {
                columns[layout.table_column(i)][row] += gap * beta[row].invert().unwrap();
                return;
            }
        }
        panic!("{} has no committed weights", self.name);
    }

    /// An unused row of a lane, or its first.
    fn row(&self, lane: &Lane) -> usize {
        let layout = &self.plan().layout;
        let used: BTreeSet<u32> = layout
            .placements
            .iter()
            .flatten()
            .flat_map(|p| p.cells.iter())
            .filter(|c| layout.ports[c.port as usize].lane == self.number(lane))
            .map(|c| c.row)
            .collect();
        (1..layout.last)
            .rfind(|row| !used.contains(&(*row as u32)))
            .unwrap_or(1)
    }

    fn number(&self, lane: &Lane) -> usize {
        let lanes = &self.plan().layout.lanes;
        lanes.iter().position(|l| l.x == lane.x).unwrap()
    }
}

/// What a lie does to the cells of one neuron, input or hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cells {
    /// This cell holds `2^T`: the number of the column in the lane.
    OutOfRange(usize),
    /// This table's result is another one.
    OtherEntry(usize),
    /// `x` and the lower parts are one too large.
    TooLarge,
    /// The same, and this partial product is zero.
    ZeroProduct(usize),
    /// There is an upper part below the top.
    AboveBelowTop,
    /// Row 0 holds something.
    FirstRow,
}

impl Cells {
    /// Name of the lie in the documents.
    fn name(self) -> &'static str {
        match self {
            Cells::OutOfRange(_) => "out of range",
            Cells::OtherEntry(_) => "another entry",
            Cells::TooLarge => "maximum too large",
            Cells::ZeroProduct(_) => "product of zero",
            Cells::AboveBelowTop => "clamped below the top",
            Cells::FirstRow => "first row in use",
        }
    }

    /// All lies about a lane.
    fn about(lane: &Lane) -> Vec<Cells> {
        let BankKind::Unit { unit, .. } = &lane.kind else {
            let first = (lane.kind == BankKind::Input).then_some(Cells::FirstRow);
            return first.into_iter().chain([Cells::OutOfRange(0)]).collect();
        };
        let looked_up = named_cells(lane).len() - lane.products.len() - lane.tables.len();
        let mut lies: Vec<Cells> = (0..looked_up).map(Cells::OutOfRange).collect();
        lies.extend((0..lane.tables.len()).map(Cells::OtherEntry));
        if unit.has_below() {
            lies.push(Cells::TooLarge);
        }
        lies.extend((0..lane.products.len()).map(Cells::ZeroProduct));
        if lane.above.is_some() {
            lies.push(Cells::AboveBelowTop);
        }
        lies
    }

    /// Tells it to a table, where it is not caught by what else there is.
    fn told(self, table: &Table, plan: &Plan, lane: &Lane) -> Vec<String> {
        let layout = &plan.layout;
        let row = match self {
            Cells::FirstRow => 0,
            _ => table.row(lane),
        };
        let top = (1u32 << layout.range_bits) - 1;
        let columns = named_cells(lane);
        let cells = |p: &mut Phase1| {
            for column in columns.values().filter(|&&c| !lane.products.contains(&c)) {
                p.cells[*column][row] = 0;
            }
            match self {
                Cells::OutOfRange(cell) => {
                    let column = *columns.values().nth(cell).unwrap();
                    if Some(column) == lane.above {
                        p.cells[lane.x][row] = top;
                    }
                    p.cells[column][row] = top + 1;
                }
                Cells::TooLarge | Cells::ZeroProduct(_) => {
                    p.cells[lane.x][row] = 1;
                    lane.below.iter().for_each(|&c| p.cells[c][row] = 1);
                }
                Cells::AboveBelowTop => p.cells[lane.above.unwrap()][row] = 1,
                Cells::FirstRow => p.cells[lane.x][row] = 1,
                Cells::OtherEntry(_) => {}
            }
            if let BankKind::Unit { unit, .. } = &lane.kind {
                let x = p.cells[lane.x][row] as usize;
                for (t, &column) in lane.tables.iter().enumerate() {
                    let f = &plan.program.tables[unit.tables[t] as usize];
                    let other = u32::from(self == Cells::OtherEntry(t));
                    let value = f.get(x).copied().unwrap_or(0);
                    p.cells[column][row] = (u32::from(value) + other) & top;
                }
            }
            for w in 0..lane.rem.len() {
                let cell = |column: Option<&usize>| column.map_or(0, |&c| p.cells[c][row] as i64);
                let mut v =
                    cell(Some(&lane.x)) - cell(lane.below.get(w)) + cell(lane.above.as_ref());
                if let Some(middle) = &lane.middle {
                    v = (v << layout.range_bits) + cell(Some(middle));
                }
                let y = (v << layout.range_bits) + cell(lane.rem.get(w));
                p.accumulators[lane.first_candidate + w][row] = y;
            }
        };
        let zero = |columns: &mut [Vec<F>]| {
            if let Cells::ZeroProduct(step) = self {
                // The one that is wrong, and what follows from it.
                let steps = zkinfer_circuits::gates::product_steps(lane);
                for (at, (cell, factors)) in steps.iter().enumerate().skip(step) {
                    let product: F = factors.iter().map(|&c| columns[c][row]).product();
                    columns[*cell][row] = if at == step { F::ZERO } else { product };
                }
            }
        };
        table.violated(
            plan,
            &Lie {
                cells: Some(&cells),
                columns: Some(&zero),
                absorb: true,
                ..Lie::default()
            },
        )
    }
}

/// The cells of a lane by what they are called: looked-up ones first, then tables, then products.
fn named_cells(lane: &Lane) -> BTreeMap<(u8, String), usize> {
    let mut cells = BTreeMap::from([((0, "x".into()), lane.x)]);
    let mut add = |order: u8, name: &str, columns: &[usize]| {
        for (i, &c) in columns.iter().enumerate() {
            cells.insert((order, format!("{name} {i:02}")), c);
        }
    };
    add(0, "rem", &lane.rem);
    add(0, "below", &lane.below);
    add(1, "table", &lane.tables);
    add(2, "product", &lane.products);
    if let Some(above) = lane.above {
        cells.insert((0, "above".into()), above);
    }
    if let Some(middle) = lane.middle {
        cells.insert((0, "middle".into()), middle);
    }
    cells
}

/// A constraint that is switched off.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mutation {
    /// A gate is left out.
    Gate(String),
    /// Of this running sum of look-ups one is left out.
    Lookup(usize, usize),
    /// A look-up's argument lacks one of its summands.
    Summand(usize, usize, usize),
    /// A function's value is not looked up with its argument.
    Value(usize, usize),
    /// What stands beside the keys of this lane is not looked up.
    Key(usize),
    /// The numbers of rows alone are looked up, without their weights.
    KeyWeights,
    /// Numbers and weights are looked up, in whatever table.
    KeyTables,
}

impl Mutation {
    /// All of a description.
    fn of(description: &Description) -> Vec<Mutation> {
        let gates = description.gates.iter().map(|g| g.name.clone());
        let mut all: Vec<Mutation> = gates.map(Mutation::Gate).collect();
        for (i, (_, lookups)) in description.sums.lookups.iter().enumerate() {
            for (j, lookup) in lookups.iter().enumerate() {
                all.push(Mutation::Lookup(i, j));
                if lookup.argument.len() > 1 {
                    let summands = 0..lookup.argument.len();
                    all.extend(summands.map(|s| Mutation::Summand(i, j, s)));
                }
                if lookup.value.is_some() {
                    all.push(Mutation::Value(i, j));
                }
            }
        }
        all.extend((0..description.sums.gathered.len()).map(Mutation::Key));
        if !description.sums.gathered.is_empty() {
            all.extend([Mutation::KeyWeights, Mutation::KeyTables]);
        }
        all
    }

    /// The description without it.
    fn applied(&self, plan: &Plan) -> Description {
        let description = &*plan.description;
        let mut sums = description.sums.clone();
        match self {
            Mutation::Gate(name) => {
                let mut description = description.clone();
                description.gates.retain(|g| g.name != *name);
                return description;
            }
            Mutation::Lookup(i, j) => drop(sums.lookups[*i].1.remove(*j)),
            Mutation::Summand(i, j, s) => drop(sums.lookups[*i].1[*j].argument.remove(*s)),
            Mutation::Value(i, j) => {
                let lookup = &mut sums.lookups[*i].1[*j];
                (lookup.tag, lookup.value) = (0, None);
            }
            Mutation::Key(i) => drop(sums.gathered.remove(*i)),
            Mutation::KeyWeights => {
                sums.gathered.iter_mut().for_each(|(_, l)| l.value = None);
                sums.gathers.iter_mut().for_each(|(_, c)| c.value = None);
            }
            Mutation::KeyTables => {
                sums.gathered
                    .iter_mut()
                    .for_each(|(_, l)| l.is_tagged = false);
                sums.gathers.iter_mut().for_each(|(_, c)| c.tag = None);
            }
        }
        describe_with(&plan.layout, sums)
    }

    /// What is switched off, in words that do not depend on the numbers of lanes and columns.
    fn kind(&self, plan: &Plan) -> String {
        let sums = &plan.description.sums;
        let looked_up = |i: usize, j: usize| {
            let columns = sums.lookups[i].1[j].argument.iter();
            let names: Vec<String> = columns.map(|&c| cell_name(plan, c).1).collect();
            (
                names.join(" + "),
                cell_name(plan, sums.lookups[i].1[j].argument[0]).0,
            )
        };
        match self {
            Mutation::Gate(name) => {
                let digits = |w: &&str| w.starts_with(|c: char| c.is_ascii_digit());
                let words: Vec<&str> = name.split(' ').filter(|w| !digits(w)).collect();
                let words = words.join(" ");
                let step = name.split(' ').find_map(|w| w.split_once('.'));
                let step = step.map_or(String::new(), |(_, step)| format!(" {step}"));
                match lane_of(plan, self) {
                    Some(lane) => format!("{}: gate `{words}{step}`", unit_name(&lane.kind)),
                    None => format!("gate `{words}`"),
                }
            }
            Mutation::Lookup(i, j) => {
                let (names, unit) = looked_up(*i, *j);
                match sums.lookups[*i].1[*j].value {
                    Some(_) => format!("{unit}: pair of `{names}` and a table's result"),
                    None => format!("{unit}: `{names}`"),
                }
            }
            Mutation::Summand(i, j, s) => {
                let (names, unit) = looked_up(*i, *j);
                let summand = cell_name(plan, sums.lookups[*i].1[*j].argument[*s]).1;
                format!("{unit}: `{summand}` of `{names}`")
            }
            Mutation::Value(i, j) => {
                let (names, unit) = looked_up(*i, *j);
                format!("{unit}: a table's result with `{names}`")
            }
            Mutation::Key(_) => "keys: pair of the key and a weight".into(),
            Mutation::KeyWeights => "keys: a weight with the key".into(),
            Mutation::KeyTables => "keys: the table's number with the key".into(),
        }
    }
}

/// Unit and name of a lane's cell.
fn cell_name(plan: &Plan, column: usize) -> (String, String) {
    let lanes = &plan.layout.lanes;
    let has = |lane: &&Lane| named_cells(lane).values().any(|&c| c == column);
    let lane = lanes.iter().find(has).unwrap();
    let name = named_cells(lane).into_iter().find(|(_, c)| *c == column);
    let name = name.map(|((_, name), _)| name).unwrap_or_default();
    (
        unit_name(&lane.kind),
        name.replace(" 0", " ").replace("rem", "remainder"),
    )
}

fn unit_name(kind: &BankKind) -> String {
    let BankKind::Unit { unit, keys, .. } = kind else {
        return if *kind == BankKind::Input {
            "input"
        } else {
            "hint"
        }
        .into();
    };
    if keys.is_some() {
        return "keys".into();
    }
    let clamps = match (unit.low, unit.high) {
        (false, false) => "no clamp",
        (true, false) => "lower clamp",
        (false, true) => "upper clamp",
        (true, true) => "both clamps",
    };
    let clamps = match unit.deep {
        true => format!("deep, {clamps}"),
        false => clamps.to_owned(),
    };
    match (unit.window, unit.tables.len()) {
        (1, 0) => clamps,
        (1, 1) => format!("{clamps}, table"),
        (1, n) => format!("{clamps}, {n} tables"),
        (w, _) if unit.low => format!("maximum of {w} and zero"),
        (w, _) => format!("maximum of {w}"),
    }
}

/// The lie that catches a mutation, and what the whole description says of it. `None`: it survives.
fn caught(table: &Table, mutation: &Mutation) -> Option<&'static str> {
    let weak = table.weakened(mutation.applied(table.plan()));
    let honest = table.violated(&weak, &Lie::default());
    assert!(
        honest.is_empty(),
        "{}: {mutation:?}: {honest:?}",
        table.name
    );
    if let Some(lane) = lane_of(table.plan(), mutation) {
        let mut lies = Cells::about(lane).into_iter();
        let lie = lies.find(|lie| lie.told(table, &weak, lane).is_empty())?;
        let whole = lie.told(table, table.plan(), lane);
        assert!(!whole.is_empty(), "{}: {lie:?} passes", table.name);
        return Some(lie.name());
    }
    let Mutation::Gate(gate) = mutation else {
        let (name, passes, whole) = gathers::about(table, &weak, mutation)?;
        return (passes && whole == ["gather: sums agree"]).then_some(name);
    };
    let (name, passes, whole) = about_sums(table, &weak, gate)?;
    (passes && whole == [gate.clone()]).then_some(name)
}

/// The lane that a mutation is about.
fn lane_of<'a>(plan: &'a Plan, mutation: &Mutation) -> Option<&'a Lane> {
    let column = match mutation {
        Mutation::Lookup(i, j) | Mutation::Summand(i, j, _) | Mutation::Value(i, j) => {
            plan.description.sums.lookups[*i].1[*j].argument[0]
        }
        Mutation::Gate(name) => {
            let about_lanes = ["maximum: ", "clamp: ", "input: "];
            if !about_lanes.iter().any(|prefix| name.starts_with(prefix)) {
                return None;
            }
            let number = name.rsplit(' ').next()?.split('.').next()?;
            return plan.layout.lanes.get(number.parse::<usize>().ok()?);
        }
        Mutation::Key(_) | Mutation::KeyWeights | Mutation::KeyTables => return None,
    };
    let has = |lane: &&Lane| named_cells(lane).values().any(|&c| c == column);
    plan.layout.lanes.iter().find(has)
}

/// Every cell of a lane that is not what it should be violates something, and nothing that is not about look-ups and units.
#[test]
fn every_cell_of_every_lane_is_bound() {
    for table in units().iter().chain([&hints(), &looked_up()]) {
        let plan = table.plan();
        for lane in &plan.layout.lanes {
            if table.name == "softmax" && lane.kind != BankKind::Hint {
                continue; // no committed weights that could stand in for what the lie changes
            }
            for lie in Cells::about(lane) {
                let found = lie.told(table, plan, lane);
                let about = |gate: &String| !gate.starts_with("fold: ");
                let unit = unit_name(&lane.kind);
                assert!(!found.is_empty(), "{unit}: {lie:?} is not noticed");
                assert!(found.iter().all(about), "{unit}: {lie:?}: {found:?}");
            }
        }
    }
}

/// Mutations of which the kind of lane or gate was not seen before, and what catches them.
fn table_of(tables: &[Table], all: bool, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    for table in tables {
        let plan = table.plan();
        for mutation in Mutation::of(&plan.description) {
            let kind = mutation.kind(plan);
            if !all && found.contains_key(&kind) {
                continue;
            }
            if table.name == "softmax"
                && lane_of(plan, &mutation).is_none_or(|l| l.kind != BankKind::Hint)
            {
                continue;
            }
            let lie = caught(table, &mutation);
            assert!(
                lie.is_some(),
                "{}: {kind}: {mutation:?} survives",
                table.name
            );
            found.entry(kind).or_default().extend(lie);
        }
    }
}

/// What catches each kind of mutation; of every kind the first lane, or all.
pub(super) fn mutations(all: bool) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut found = BTreeMap::new();
    table_of(&units(), all, &mut found);
    table_of(&folds(), all, &mut found);
    table_of(&[hints()], all, &mut found);
    if all {
        table_of(&[widest()], all, &mut found);
    }
    found
}
