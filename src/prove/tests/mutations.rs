//! Nothing that soundness rests on can be left out: every constraint and every check, switched off alone, lets a lie pass.
//!
//! The tables of `docs/protocol.md`, section 9, are what came out: [`documented`] compares. After a change,
//! `ZKINFER_WRITE=1 cargo xtask mutations` writes them.

use super::{constraints, lies};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use zkinfer_circuits::checks::Check;

/// No lie is accepted. (Which check it is that catches it is found out with the feature `mutations`.)
#[test]
fn no_lie_is_accepted() {
    for lie in lies::all() {
        assert!(!(lie.told)(), "{}", lie.name);
    }
}

/// Every check has a lie.
#[test]
fn every_check_has_a_lie() {
    let told: BTreeSet<Check> = lies::all().iter().map(|lie| lie.check).collect();
    let all: BTreeSet<Check> = Check::ALL.iter().copied().collect();
    assert_eq!(told, all);
    let names: BTreeSet<&str> = lies::all().iter().map(|lie| lie.name).collect();
    assert_eq!(names.len(), lies::all().len());
}

/// Without its check every lie is accepted.
#[cfg(feature = "mutations")]
#[test]
fn every_check_is_needed() {
    for lie in lies::all() {
        let accepted = zkinfer_circuits::checks::without(lie.check, lie.told);
        println!("{:?}: {} {accepted}", lie.check, lie.name);
        assert!(
            accepted,
            "{} is caught without {:?}, too",
            lie.name, lie.check
        );
    }
}

/// One mutation of every kind is caught, and the tables of the document are what was found.
#[test]
fn every_kind_of_constraint_is_needed() {
    documented(
        "constraints",
        &table_of_constraints(&constraints::mutations(false)),
    );
    documented("checks", &table_of_checks());
}

/// Every mutation is caught, not one of each kind only.
#[test]
#[ignore = "takes minutes; cargo xtask mutations runs it"]
fn every_constraint_is_needed() {
    let found = constraints::mutations(true);
    println!("{} kinds of mutations, all caught", found.len());
}

/// One row for each thing that is left out: in which lanes, how many of it, and what catches them.
fn table_of_constraints(found: &BTreeMap<String, BTreeSet<&'static str>>) -> String {
    let mut rows: BTreeMap<String, (BTreeMap<&str, usize>, BTreeSet<&str>)> = BTreeMap::new();
    for (kind, lies) in found {
        let (unit, what) = match kind.split_once(": ") {
            Some((unit, what)) if !unit.starts_with("gate ") => (unit, what),
            _ => ("", kind.as_str()),
        };
        let row = rows.entry(without_numbers(what)).or_default();
        *row.0.entry(unit).or_default() += 1;
        row.1.extend(lies);
    }
    let mut text = String::from("| left out | of lanes with | caught by |\n|---|---|---|\n");
    for (what, (units, lies)) in rows {
        let unit = |(unit, count): (&str, usize)| match count {
            1 => unit.to_string(),
            _ => format!("{unit} (each of {count})"),
        };
        let units: Vec<String> = units.into_iter().map(unit).collect();
        let lies: Vec<&str> = lies.into_iter().collect();
        let _ = writeln!(
            text,
            "| {what} | {} | {} |",
            units.join("; "),
            lies.join(", ")
        );
    }
    text
}

/// Names without the numbers of candidates.
fn without_numbers(what: &str) -> String {
    let mut words = Vec::new();
    for word in what.split(' ') {
        let digits = word.trim_end_matches('`');
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
            words.push(word.to_string());
        } else if let (Some(last), true) = (words.last_mut(), word.ends_with('`')) {
            last.push('`');
        }
    }
    words.join(" ")
}

fn table_of_checks() -> String {
    let mut text = String::from("| left out | caught by |\n|---|---|\n");
    for check in Check::ALL {
        let lies = lies::all().into_iter().filter(|lie| lie.check == *check);
        let lies: Vec<String> = lies.map(|lie| format!("`{}`", lie.name)).collect();
        let _ = writeln!(text, "| `{check:?}` | {} |", lies.join(", "));
    }
    text
}

/// Compares a table with what the document has between its marks; writes it there where the environment says so.
fn documented(name: &str, table: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (open, close) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->\n"),
    );
    let from = text.find(&open).expect("the table's beginning") + open.len();
    let to = text.find(&close).expect("the table's end");
    if std::env::var_os("ZKINFER_WRITE").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &text[..from], &text[to..])).unwrap();
        return;
    }
    assert!(
        text[from..to] == *table,
        "docs/protocol.md is not up to date:\n{table}"
    );
}
