//! The halo2 circuit of a [`Description`].
//!
//! `Circuit::configure` has no `self`, so the description reaches it through [`with_description`]: a value that lives in
//! the calling thread for the duration of one call and is removed behind it, also on unwinding. Only the functions of
//! this module enter it.

use crate::expr::{AnyColumn, Expr, Query};
use crate::gates::Description;
use crate::{C, F};
use halo2_proofs::circuit::{Cell, Layouter, Region, SimpleFloorPlanner, Value};
use halo2_proofs::plonk::{
    Advice, Circuit, Column, ConstraintSystem, Error, Expression, Fixed, Instance, VerifyingKey,
    keygen_vk,
};
use halo2_proofs::poly::{Rotation, commitment::Params};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static DESCRIPTION: RefCell<Option<Arc<Description>>> = const { RefCell::new(None) };
}

/// Runs `f` with `description` visible to `configure` on this thread.
pub fn with_description<T>(description: &Arc<Description>, f: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<Description>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DESCRIPTION.with(|d| *d.borrow_mut() = self.0.take());
        }
    }
    let _restore = Restore(DESCRIPTION.with(|d| d.borrow_mut().replace(description.clone())));
    f()
}

/// The circuit: fixed columns, and advice columns where there is a witness.
#[derive(Clone, Debug)]
pub struct PlanCircuit {
    description: Arc<Description>,
    fixed: Arc<Vec<Vec<u32>>>,
    advice: Option<Arc<Vec<Vec<F>>>>,
    rows: usize,
}

/// Columns of a configured circuit.
#[derive(Clone, Debug)]
pub struct PlanConfig {
    advice: Vec<Column<Advice>>,
    fixed: Vec<Column<Fixed>>,
    instance: Vec<Column<Instance>>,
}

impl PlanCircuit {
    /// A circuit without witness. `rows` is the number of usable rows.
    pub fn new(description: Arc<Description>, fixed: Arc<Vec<Vec<u32>>>, rows: usize) -> Self {
        PlanCircuit {
            description,
            fixed,
            advice: None,
            rows,
        }
    }

    /// The same circuit with all advice columns filled (at least `rows` entries each).
    pub fn with_advice(&self, advice: Arc<Vec<Vec<F>>>) -> Self {
        PlanCircuit {
            advice: Some(advice),
            ..self.clone()
        }
    }

    /// Columns and constraints, as upstream has them.
    pub fn constraint_system(&self) -> ConstraintSystem<F> {
        let mut system = ConstraintSystem::default();
        with_description(&self.description, || Self::configure(&mut system));
        system
    }

    /// Upstream's verifying key. Deterministic.
    ///
    /// # Errors
    /// Only if the parameters do not fit the layout.
    pub fn verifying_key(&self, params: &Params<C>) -> Result<VerifyingKey<C>, Error> {
        with_description(&self.description, || keygen_vk(params, self))
    }

    /// The description that the circuit was made from.
    pub fn description(&self) -> &Arc<Description> {
        &self.description
    }
}

/// # Panics
/// `configure` panics outside [`with_description`]; keygen, prover and checks of this project run inside.
impl Circuit<F> for PlanCircuit {
    type Config = PlanConfig;
    type FloorPlanner = SimpleFloorPlanner;

    fn without_witnesses(&self) -> Self {
        PlanCircuit {
            advice: None,
            ..self.clone()
        }
    }

    fn configure(meta: &mut ConstraintSystem<F>) -> PlanConfig {
        let description = DESCRIPTION.with(|d| d.borrow().clone());
        let description = description.expect("configure is only reached through with_description");
        let advice: Vec<_> = (0..description.advice)
            .map(|_| meta.advice_column())
            .collect();
        let fixed: Vec<_> = (0..description.fixed)
            .map(|_| meta.fixed_column())
            .collect();
        let instance: Vec<_> = (0..description.instance)
            .map(|_| meta.instance_column())
            .collect();
        for column in &description.equality {
            match *column {
                AnyColumn::Advice(c) => meta.enable_equality(advice[c]),
                AnyColumn::Fixed(c) => meta.enable_equality(fixed[c]),
                AnyColumn::Instance(c) => meta.enable_equality(instance[c]),
            }
        }
        for gate in &description.gates {
            let name: &'static str = gate_name(&gate.name);
            meta.create_gate(name, |cells| {
                let poly = expression(&gate.poly, cells, &advice, &fixed, &instance);
                vec![poly]
            });
        }
        PlanConfig {
            advice,
            fixed,
            instance,
        }
    }

    fn synthesize(&self, config: PlanConfig, mut layouter: impl Layouter<F>) -> Result<(), Error> {
        let with_instance = layouter.assign_region(
            || "table",
            |mut region| {
                for (column, values) in config.fixed.iter().zip(self.fixed.iter()) {
                    for (row, &v) in values.iter().enumerate().take(self.rows) {
                        if v != 0 {
                            region.assign_fixed(
                                || "",
                                *column,
                                row,
                                || Value::known(F::from(u64::from(v))),
                            )?;
                        }
                    }
                }
                if let Some(advice) = &self.advice {
                    for (column, values) in config.advice.iter().zip(advice.iter()) {
                        for (row, v) in values.iter().enumerate().take(self.rows) {
                            region.assign_advice(|| "", *column, row, || Value::known(*v))?;
                        }
                    }
                }
                self.copy_cells(&config, &mut region)
            },
        )?;
        for (cell, column, row) in with_instance {
            layouter.constrain_instance(cell, column, row)?;
        }
        Ok(())
    }
}

impl PlanCircuit {
    /// Ties copied cells together; returns those that are tied to an instance cell, which only the layouter can do.
    fn copy_cells(
        &self,
        config: &PlanConfig,
        region: &mut Region<'_, F>,
    ) -> Result<Vec<(Cell, Column<Instance>, usize)>, Error> {
        let mut with_instance = Vec::new();
        let mut cell = |(column, row): (AnyColumn, usize)| match column {
            AnyColumn::Advice(c) => {
                let value = self.advice.as_ref().and_then(|a| a[c].get(row).copied());
                let value = value.map_or(Value::unknown(), Value::known);
                let assigned = region.assign_advice(|| "", config.advice[c], row, || value)?;
                Ok(assigned.cell())
            }
            AnyColumn::Fixed(c) => {
                let value = Value::known(F::from(u64::from(self.fixed[c][row])));
                let assigned = region.assign_fixed(|| "", config.fixed[c], row, || value)?;
                Ok(assigned.cell())
            }
            AnyColumn::Instance(_) => Err(Error::Synthesis),
        };
        let mut pairs = Vec::new();
        for [a, b] in &self.description.copies {
            let first = cell(*a)?;
            match b {
                (AnyColumn::Instance(c), row) => {
                    with_instance.push((first, config.instance[*c], *row))
                }
                other => pairs.push((first, cell(*other)?)),
            }
        }
        for (a, b) in pairs {
            region.constrain_equal(a, b)?;
        }
        Ok(with_instance)
    }
}

/// Gate names are static in halo2; ours carry an index, so only the part that names the kind is passed on.
fn gate_name(name: &str) -> &'static str {
    const KINDS: [&str; 14] = [
        "input: first row is empty",
        "maximum: partial product",
        "maximum: attained",
        "clamp: above only at the top",
        "lookup: value sum",
        "lookup: table sum",
        "lookup: sums agree",
        "gather: value sum",
        "gather: table sum",
        "gather: sums agree",
        "fold: accumulators",
        "fold: products",
        "fold: coefficients",
        "fold: sums agree",
    ];
    KINDS
        .into_iter()
        .find(|kind| name.starts_with(kind))
        .unwrap_or("gate")
}

fn expression(
    poly: &Expr,
    cells: &mut halo2_proofs::plonk::VirtualCells<'_, F>,
    advice: &[Column<Advice>],
    fixed: &[Column<Fixed>],
    instance: &[Column<Instance>],
) -> Expression<F> {
    let cells = RefCell::new(cells);
    let rotation = |q: Query| Rotation(q.rotation);
    poly.evaluate(
        &|c| Expression::Constant(c),
        &|q| {
            cells
                .borrow_mut()
                .query_advice(advice[q.column], rotation(q))
        },
        &|q| {
            debug_assert_eq!(
                q.rotation, 0,
                "fixed columns are read in the current row only"
            );
            cells.borrow_mut().query_fixed(fixed[q.column])
        },
        &|q| {
            cells
                .borrow_mut()
                .query_instance(instance[q.column], rotation(q))
        },
        &|a, b| a + b,
        &|a, b| a * b,
        &|a, c| a * c,
    )
}
