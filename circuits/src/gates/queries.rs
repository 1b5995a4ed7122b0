//! Which cells the gates read.

use super::Description;
use crate::expr::{AnyColumn, Query};
use std::cell::RefCell;

/// Every cell of a row that some gate reads, once, in the order in which the circuit queries them.
pub(crate) fn queries(description: &Description) -> Vec<(AnyColumn, i32)> {
    let queries: RefCell<Vec<(AnyColumn, i32)>> = RefCell::default();
    let note = |kind: fn(usize) -> AnyColumn| {
        let queries = &queries;
        move |q: Query| queries.borrow_mut().push((kind(q.column), q.rotation))
    };
    for gate in &description.gates {
        gate.poly.evaluate(
            &|_| (),
            &note(AnyColumn::Advice),
            &note(AnyColumn::Fixed),
            &note(AnyColumn::Instance),
            &|(), ()| (),
            &|(), ()| (),
            &|(), _| (),
        );
    }
    let mut seen = std::collections::HashSet::new();
    let mut queries = queries.into_inner();
    queries.retain(|query| seen.insert(*query));
    queries
}
