//! The list as a page.

use std::fmt::Write;

use super::construction::Construction;
use super::entry::{Operator, Support};
use super::list::OPERATORS;

/// What stands before and between the tables.
const HEAD: &str = include_str!("head.md");
const TAIL: &str = include_str!("tail.md");

/// `docs/operators.md`.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n## Constructions\n\n| construction | what is built | neurons | error bound beyond operands' | tolerance |\n|---|---|---|---|---|\n");
    for &by in Construction::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} % |",
            by.name(),
            by.text(),
            by.cost(),
            by.error(),
            f64::from(by.roundings()) / 10.0
        );
    }
    page.push_str(
        "\n## Operators\n\n| operator | since | construction | limits |\n|---|---|---|---|\n",
    );
    let full = |o: &Operator| match o.domain {
        "" => o.name.to_string(),
        domain => format!("{domain}.{}", o.name),
    };
    for o in OPERATORS {
        if let Support::Built { by, limits } = o.support {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {limits} |",
                full(o),
                o.since,
                by.name()
            );
        }
    }
    page.push_str("\n## Not supported\n\n| operator | what to do instead |\n|---|---|\n");
    let mut rows: Vec<(String, &str)> = Vec::new();
    for o in OPERATORS {
        let Support::Refused { instead } = o.support else {
            continue;
        };
        match rows.iter_mut().find(|(_, i)| *i == instead) {
            Some((names, _)) => {
                names.push_str(", ");
                names.push_str(&full(o));
            }
            None => rows.push((full(o), instead)),
        }
    }
    for (names, instead) in rows {
        let _ = writeln!(page, "| {names} | {instead} |");
    }
    page.push_str(TAIL);
    page
}
