//! Every constraint of the circuit, by name.
//!
//! [`describe`] turns a [`Layout`] into columns and [`Gate`]s. All gates have degree at most 5.
//!
//! # Who constrains what
//!
//! | cell | constrained by |
//! |---|---|
//! | `x`, `rem`, `middle`, `below`, `above` | range or table lookup (`lookup sum`), product gates, the accumulator sum (`fold: accumulators`) |
//! | table results | lookup of the pair `(x, f(x))` |
//! | products | `maximum: partial product` |
//! | row 0 of inputs | `input: first row is empty` |
//! | multiplicities | `lookup: table sum` and `lookup: sums agree` |
//! | `S`, `T`, `G` | the link to the model commitment ([`crate::link`]), not a gate |
//! | `U` | `fold: products` and `fold: sums agree` |
//! | `V` | look-up of the pair of a key and `V` among the numbers and `G` (`gather: value sum`) |
//! | `E` | `fold: coefficients` and `fold: sums agree` |
//! | challenges, `κ`, `β` | the link to what the verifier computes, not a gate |
//! | running sums | their own gate and `starts at zero` |
//!
//! # The identities
//!
//! With challenges `α, θ` (lookups), `c₀, c₁, …` (accumulators), `z₀, z₁, …` (coefficients, drawn after `E` was
//! committed), `ρ` and `ζ` the coefficients that [`crate::layout::LaneWeights`] describes:
//!
//! ```text
//! lookups        Σ 1/(α + x + θ·f + θ²·tag)  =  Σ m / (α + t)                              (eprint 2022/1530)
//! gathers        the same of keys and `V` among numbers and `G`, with challenges that are drawn behind them
//! linear maps    Σ_ports (x + [row 0])·(S + E)  −  Σ η·U  +  Σ b·V  −  Σ ρ·y  =  0
//! coefficients   Σ ζ·E − Σ β·(T, U) − κ  =  0       β, κ: public, computed by the verifier from the wiring
//! ```
//!
//! The second and third are added, the third multiplied by `z₀`: as a polynomial in the `z`, whose constant part is the
//! second identity, the sum vanishes at random `z` only if both hold. The second is two identities in the same way, by the
//! powers of `η` ([`crate::fold`]).

use crate::expr::{AnyColumn, Expr};
use crate::layout::lookups::{FIXED_TABLES, pack_lookups, pack_tables, zero_test};
use crate::layout::{BankKind, Lane, LaneWeights, Layout};
use crate::program::Program;

mod queries;

pub use crate::layout::lookups::{Lookup, TableColumn, product_steps};
pub(crate) use queries::queries;

/// A named polynomial that must vanish on every row.
#[derive(Clone, Debug)]
pub struct Gate {
    /// What it is for; unique.
    pub name: String,
    /// The polynomial.
    pub poly: Expr,
}

/// Advice indices of the columns behind phase 2.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    /// `α`.
    pub alpha: usize,
    /// `θ`, if there are function tables.
    pub theta: Option<usize>,
    /// `c₀, c₁, …`.
    pub y_constants: Vec<usize>,
    /// `z₀, z₁, …`, if there are free coefficients.
    pub e_constants: Vec<usize>,
    /// The challenges of [`crate::fold::GatherChallenges`], if something is looked up by its number.
    pub gather_constants: Option<[usize; 2]>,
    /// `κ`, if there are free coefficients; in row 0.
    pub kappa: Option<usize>,
    /// `β`, one column for each `T`, then each `U` and each `V` column.
    pub beta: Vec<usize>,
    /// Running sums of looked-up values, and what is looked up in each.
    pub lookups: Vec<(usize, Vec<Lookup>)>,
    /// Running sums of table entries, and which table columns are in each.
    pub tables: Vec<(usize, Vec<TableColumn>)>,
    /// Running sums of what is looked up by keys.
    pub gathered: Vec<(usize, KeyLookup)>,
    /// Running sums of folded weights that are looked up by their numbers.
    pub gathers: Vec<(usize, NumberedColumn)>,
    /// Running sum of accumulators.
    pub accumulators: usize,
    /// Running sum of products and of folded weights.
    pub products: usize,
    /// Running sum of free coefficients.
    pub coefficients: Option<usize>,
}

/// A pair of a key, the accumulator of a lane, and a folded weight, once per row.
#[derive(Clone, Debug, Default)]
pub struct KeyLookup {
    /// Number of the lane.
    pub lane: usize,
    /// Which [`Gather`](crate::layout::Gather).
    pub gather: usize,
    /// Advice column `V`.
    pub value: Option<usize>,
    /// Whether the number of the gather is part of it.
    pub is_tagged: bool,
}

/// Folded weights by their numbers: `last` consecutive rows.
#[derive(Clone, Debug, Default)]
pub struct NumberedColumn {
    /// Advice column of the multiplicities.
    pub multiplicity: usize,
    /// Fixed column of the numbers.
    pub number: usize,
    /// Fixed column of one more than the number of the gather; zero where there is none.
    pub tag: Option<usize>,
    /// Advice column `G`.
    pub value: Option<usize>,
}

/// Columns and gates.
#[derive(Clone, Debug)]
pub struct Description {
    /// Number of advice columns.
    pub advice: usize,
    /// Number of fixed columns.
    pub fixed: usize,
    /// Number of instance columns. The circuits of [`describe`] have none: what is public is linked.
    pub instance: usize,
    /// Running sums and challenges.
    pub sums: Sums,
    /// All constraints.
    pub gates: Vec<Gate>,
    /// Columns whose cells may be copied. The circuits of [`describe`] have none: their wiring is in the fold argument.
    pub equality: Vec<AnyColumn>,
    /// Pairs of cells that are equal. Instance cells may stand second only, behind all other pairs.
    pub copies: Vec<[(AnyColumn, usize); 2]>,
}

/// Fixed column: 1 on active rows.
pub const ACTIVE: usize = 0;
/// Fixed column: 1 on row 0.
pub const FIRST: usize = 1;
/// Fixed column: 1 on row `last`.
pub const LAST: usize = 2;

fn number_sums(layout: &Layout) -> Sums {
    let c = &layout.columns;
    let mut next = c.phase1() + c.phase2();
    let mut column = || {
        next += 1;
        next - 1
    };
    Sums {
        alpha: column(),
        theta: (layout.functions > 0).then(&mut column),
        y_constants: (0..layout.y_weights.constants).map(|_| column()).collect(),
        e_constants: (0..layout.e_weights.as_ref().map_or(0, |w| w.constants))
            .map(|_| column())
            .collect(),
        gather_constants: (!layout.gathers.is_empty()).then(|| [column(), column()]),
        kappa: (c.wiring > 0).then(&mut column),
        beta: (1..c.wiring).map(|_| column()).collect(),
        lookups: pack_lookups(&layout.lanes)
            .into_iter()
            .map(|l| (column(), l))
            .collect(),
        tables: pack_tables(layout.table_columns, layout.functions, c.lanes)
            .into_iter()
            .map(|t| (column(), t))
            .collect(),
        gathered: (layout.gathered.iter().enumerate())
            .map(|(i, gathered)| {
                let lookup = KeyLookup {
                    lane: gathered.lane,
                    gather: gathered.gather,
                    value: Some(layout.gathered_column(i)),
                    is_tagged: true,
                };
                (column(), lookup)
            })
            .collect(),
        gathers: (0..c.gathers)
            .map(|i| {
                let number = FIXED_TABLES + layout.table_columns * (1 + layout.functions) + 2 * i;
                let numbered = NumberedColumn {
                    multiplicity: layout.gather_multiplicity(i),
                    number,
                    tag: Some(number + 1),
                    value: Some(layout.gather_column(i)),
                };
                (column(), numbered)
            })
            .collect(),
        accumulators: column(),
        products: column(),
        coefficients: (c.free > 0).then(&mut column),
    }
}

/// Columns and gates of a layout.
pub fn describe(layout: &Layout) -> Description {
    describe_with(layout, number_sums(layout))
}

/// Columns and gates of a layout with these running sums. Tests leave something out.
#[doc(hidden)]
pub fn describe_with(layout: &Layout, sums: Sums) -> Description {
    let mut gates = Vec::new();
    let first = || Expr::fixed(FIRST);
    let mut gate = |name: String, poly: Expr| gates.push(Gate { name, poly });

    for (i, lane) in layout.lanes.iter().enumerate() {
        if lane.kind == BankKind::Input {
            // The fold argument reads the constant one there; a committed input could otherwise scale the biases.
            gate(
                format!("input: first row is empty {i}"),
                first() * Expr::advice(lane.x),
            );
        }
        unit_gates(layout.range_bits, i, lane, &mut gate);
    }
    lookup_gates(&sums, &mut gate);
    gather_gates(layout, &sums, &mut gate);
    fold_gates(layout, &sums, &mut gate);

    Description {
        advice: layout.columns.advice(),
        fixed: FIXED_TABLES
            + layout.table_columns * (1 + layout.functions)
            + 2 * layout.columns.gathers,
        instance: 0,
        sums,
        gates,
        equality: Vec::new(),
        copies: Vec::new(),
    }
}

fn unit_gates(range_bits: u32, index: usize, lane: &Lane, gate: &mut impl FnMut(String, Expr)) {
    let BankKind::Unit { unit, .. } = &lane.kind else {
        return;
    };
    let active = || Expr::fixed(ACTIVE);
    let steps = product_steps(lane);
    for (step, (cell, factors)) in steps.iter().enumerate() {
        let product = Expr::product(factors.iter().map(|&c| Expr::advice(c)));
        gate(
            format!("maximum: partial product {index}.{step}"),
            active() * (Expr::advice(*cell) - product),
        );
    }
    // What no partial product has taken up, with the last of them.
    let taken: usize = steps.iter().map(|(_, f)| f.len()).sum();
    let all: Vec<usize> = zero_test(lane, unit)
        .into_iter()
        .chain(steps.iter().map(|(cell, _)| *cell))
        .collect();
    if all.len() > taken {
        let rest = Expr::product(all[taken..].iter().map(|&c| Expr::advice(c)));
        gate(format!("maximum: attained {index}"), active() * rest);
    }
    if let Some(above) = lane.above {
        let top = Expr::int((1 << range_bits) - 1);
        gate(
            format!("clamp: above only at the top {index}"),
            active() * Expr::advice(above) * (top - Expr::advice(lane.x)),
        );
    }
}

/// A step of a running sum of fractions, numerators and denominators `d`:
/// `(B' − B)·Π d = Σ numerator_i · Π_{j≠i} d_j`.
fn step(column: usize, terms: Vec<(Expr, Expr)>) -> Expr {
    let difference = Expr::next(column) - Expr::advice(column);
    let all = Expr::product(terms.iter().map(|(_, d)| d.clone()));
    let fractions = terms.iter().enumerate().map(|(i, (numerator, _))| {
        let others = terms
            .iter()
            .enumerate()
            .filter(|(j, _)| *j != i)
            .map(|(_, (_, d))| d.clone());
        others.fold(numerator.clone(), |a, d| a * d)
    });
    Expr::fixed(ACTIVE) * (difference * all - Expr::sum(fractions))
}

/// Look-ups of folded weights by keys.
fn gather_gates(layout: &Layout, sums: &Sums, gate: &mut impl FnMut(String, Expr)) {
    let Some([alpha, theta]) = sums.gather_constants else {
        return;
    };
    let theta = || Expr::advice(theta);
    let denominator = |number: Expr, value: Option<usize>, tag: Option<Expr>| {
        let tagged = match (value.map(Expr::advice), tag.map(|tag| theta() * tag)) {
            (Some(value), Some(tag)) => Some(value + tag),
            (value, tag) => value.or(tag),
        };
        let entry = Expr::advice(alpha) + number;
        match tagged {
            Some(tagged) => entry + theta() * tagged,
            None => entry,
        }
    };
    let sums_of = [sums.gathered.len(), sums.gathers.len()];
    for (i, (column, lookup)) in sums.gathered.iter().enumerate() {
        let lane = &layout.lanes[lookup.lane];
        let key = accumulator(layout, lane, 0);
        let tag = Expr::int(lookup.gather as u64 + 1);
        let tag = lookup.is_tagged.then_some(tag);
        let term = (Expr::int(1), denominator(key, lookup.value, tag));
        gate(format!("gather: value sum {i}"), step(*column, vec![term]));
        gate(
            format!("gather: value sum {i} starts at zero"),
            Expr::fixed(FIRST) * Expr::advice(*column),
        );
    }
    for (i, (column, numbered)) in sums.gathers.iter().enumerate() {
        let entry = denominator(
            Expr::fixed(numbered.number),
            numbered.value,
            numbered.tag.map(Expr::fixed),
        );
        let term = (Expr::advice(numbered.multiplicity), entry);
        gate(format!("gather: table sum {i}"), step(*column, vec![term]));
        gate(
            format!("gather: table sum {i} starts at zero"),
            Expr::fixed(FIRST) * Expr::advice(*column),
        );
    }
    debug_assert!(sums_of.iter().all(|&n| n > 0));
    let values = Expr::sum(sums.gathered.iter().map(|(c, _)| Expr::advice(*c)));
    let tables = Expr::sum(sums.gathers.iter().map(|(c, _)| Expr::advice(*c)));
    gate(
        "gather: sums agree".into(),
        Expr::fixed(LAST) * (values - tables),
    );
}

/// `y` of a candidate of a lane, as its cells say.
fn accumulator(layout: &Layout, lane: &Lane, candidate: usize) -> Expr {
    let mut v = Expr::advice(lane.x);
    if let Some(&below) = lane.below.get(candidate) {
        v = v - Expr::advice(below);
    }
    if let Some(above) = lane.above {
        v = v + Expr::advice(above);
    }
    let v = v.shifted(layout.range_bits);
    let v = match lane.middle {
        Some(middle) => (v + Expr::advice(middle)).shifted(layout.range_bits),
        None => v,
    };
    v + Expr::advice(lane.rem[candidate])
}

fn lookup_gates(sums: &Sums, gate: &mut impl FnMut(String, Expr)) {
    let alpha = || Expr::advice(sums.alpha);
    // θ·(value + θ·tag): the tag needs a power of its own. Nothing bounds a looked-up value before it is known to be in its
    // table, so a tag that were added to the value could be undone by the value.
    let tagged = |theta: usize, value: Expr, tag: usize| {
        Expr::advice(theta)
            * (value + Expr::Scaled(Box::new(Expr::advice(theta)), crate::F::from(tag as u64)))
    };
    for (i, (column, lookups)) in sums.lookups.iter().enumerate() {
        let terms = lookups.iter().map(|l| {
            let argument = Expr::sum(l.argument.iter().map(|&c| Expr::advice(c)));
            let denominator = match (l.value, sums.theta) {
                (Some(value), Some(theta)) => {
                    alpha() + argument + tagged(theta, Expr::advice(value), l.tag)
                }
                _ => alpha() + argument,
            };
            (Expr::int(1), denominator)
        });
        gate(
            format!("lookup: value sum {i}"),
            step(*column, terms.collect()),
        );
        gate(
            format!("lookup: value sum {i} starts at zero"),
            Expr::fixed(FIRST) * Expr::advice(*column),
        );
    }
    for (i, (column, tables)) in sums.tables.iter().enumerate() {
        let terms = tables.iter().map(|t| {
            let denominator = match (t.value, sums.theta) {
                (Some(value), Some(theta)) => {
                    alpha() + Expr::fixed(t.argument) + tagged(theta, Expr::fixed(value), t.tag)
                }
                _ => alpha() + Expr::fixed(t.argument),
            };
            (Expr::advice(t.multiplicity), denominator)
        });
        gate(
            format!("lookup: table sum {i}"),
            step(*column, terms.collect()),
        );
        gate(
            format!("lookup: table sum {i} starts at zero"),
            Expr::fixed(FIRST) * Expr::advice(*column),
        );
    }
    let values = Expr::sum(sums.lookups.iter().map(|(c, _)| Expr::advice(*c)));
    let tables = Expr::sum(sums.tables.iter().map(|(c, _)| Expr::advice(*c)));
    gate(
        "lookup: sums agree".into(),
        Expr::fixed(LAST) * (values - tables),
    );
}

/// The product of constants to the powers of a lane; `None`: one.
fn monomial(constants: &[usize], exponents: &[usize]) -> Option<Expr> {
    let factors = constants.iter().zip(exponents);
    let factors = factors.flat_map(|(&c, &e)| std::iter::repeat_n(c, e));
    factors.map(Expr::advice).reduce(|a, b| a * b)
}

fn weighed(weight: Option<Expr>, value: Expr) -> Expr {
    match weight {
        Some(weight) => weight * value,
        None => value,
    }
}

/// What a Horner sum is multiplied by from row to row.
fn power(constants: &[usize], step: usize) -> Expr {
    Expr::product((0..step).map(|_| Expr::advice(constants[0])))
}

fn fold_gates(layout: &Layout, sums: &Sums, gate: &mut impl FnMut(String, Expr)) {
    accumulator_gates(layout, sums, gate);
    product_gates(layout, sums, gate);
    let mut difference = Expr::advice(sums.products) - Expr::advice(sums.accumulators);
    if let (Some(h), Some(weights)) = (sums.coefficients, &layout.e_weights) {
        coefficient_gates(layout, sums, h, weights, gate);
        difference = difference + Expr::advice(sums.e_constants[0]) * Expr::advice(h);
    }
    gate("fold: sums agree".into(), Expr::fixed(LAST) * difference);
}

fn accumulator_gates(layout: &Layout, sums: &Sums, gate: &mut impl FnMut(String, Expr)) {
    let mut terms = Vec::new();
    for lane in &layout.lanes {
        for w in 0..lane.rem.len() {
            let y = accumulator(layout, lane, w);
            let exponents = &layout.y_weights.exponents[lane.first_candidate + w];
            terms.push(weighed(monomial(&sums.y_constants, exponents), y));
        }
    }
    let c = sums.accumulators;
    let horner =
        power(&sums.y_constants, layout.y_weights.step) * Expr::advice(c) + Expr::sum(terms);
    gate(
        "fold: accumulators".into(),
        Expr::fixed(ACTIVE) * (Expr::next(c) - horner),
    );
    gate(
        "fold: accumulators start at zero".into(),
        Expr::fixed(FIRST) * Expr::advice(c),
    );
}

fn product_gates(layout: &Layout, sums: &Sums, gate: &mut impl FnMut(String, Expr)) {
    let first = || Expr::fixed(FIRST);
    let g = sums.products;
    let mut terms = Vec::new();
    for port in &layout.ports {
        let folds = port
            .direct
            .into_iter()
            .chain(port.free.map(|(c, _)| c))
            .map(Expr::advice)
            .reduce(|a, b| a + b);
        if let Some(fold) = folds {
            let x = Expr::advice(port.column);
            terms.push(if port.holds_one { x + first() } else { x } * fold);
        }
    }
    for (column, &beta) in layout.weighed_columns().zip(&sums.beta) {
        terms.push(-(Expr::advice(column) * Expr::advice(beta)));
    }
    gate(
        "fold: products".into(),
        Expr::fixed(ACTIVE) * (Expr::next(g) - Expr::advice(g) - Expr::sum(terms)),
    );
    let start = match sums.kappa {
        Some(kappa) => Expr::advice(g) + Expr::advice(kappa),
        None => Expr::advice(g),
    };
    gate("fold: products start at -kappa".into(), first() * start);
}

fn coefficient_gates(
    layout: &Layout,
    sums: &Sums,
    h: usize,
    weights: &LaneWeights,
    gate: &mut impl FnMut(String, Expr),
) {
    let free = layout.ports.iter().filter_map(|p| p.free);
    let terms = free.map(|(column, number)| {
        let weight = monomial(&sums.e_constants, &weights.exponents[number]);
        weighed(weight, Expr::advice(column))
    });
    let horner = power(&sums.e_constants, weights.step) * Expr::advice(h) + Expr::sum(terms);
    gate(
        "fold: coefficients".into(),
        Expr::fixed(ACTIVE) * (Expr::next(h) - horner),
    );
    gate(
        "fold: coefficients start at zero".into(),
        Expr::fixed(FIRST) * Expr::advice(h),
    );
}

/// The denominator of the pair `(x, value)` in the lookup argument, looked up in function table number `function`.
pub fn function_entry(
    alpha: crate::F,
    theta: crate::F,
    function: usize,
    x: u64,
    value: u64,
) -> crate::F {
    let tag = crate::F::from(function as u64 + 1);
    alpha + crate::F::from(x) + theta * (crate::F::from(value) + theta * tag)
}

/// Values of all fixed columns, small integers.
pub fn fixed_columns(program: &Program, layout: &Layout) -> Vec<Vec<u32>> {
    let rows = layout.rows();
    let last = layout.last;
    let mut active = vec![0; rows];
    active[..last].fill(1);
    let unit = |row: usize| {
        let mut column = vec![0; rows];
        column[row] = 1;
        column
    };
    let mut columns = vec![active, unit(0), unit(last)];
    let range = 1usize << layout.range_bits;
    // Rows behind the end of a table repeat its first entry.
    let piece = |entry: &dyn Fn(usize) -> u32| {
        (0..layout.table_columns)
            .map(move |p| {
                let mut column = vec![0; rows];
                for (row, cell) in column[..last].iter_mut().enumerate() {
                    let i = p * last + row;
                    *cell = entry(if i < range { i } else { 0 });
                }
                column
            })
            .collect::<Vec<_>>()
    };
    columns.extend(piece(&|i| i as u32));
    for table in &program.tables {
        columns.extend(piece(&|i| u32::from(table[i])));
    }
    let mut numbered = vec![[vec![0; rows], vec![0; rows]]; layout.columns.gathers];
    for (tag, gather) in (1..).zip(&layout.gathers) {
        for piece in &gather.pieces {
            let [numbers, tags] = &mut numbered[piece.column];
            for (row, input) in (piece.row..).zip(piece.inputs.clone()) {
                (numbers[row], tags[row]) = (input as u32, tag);
            }
        }
    }
    columns.extend(numbered.into_iter().flatten());
    columns
}
