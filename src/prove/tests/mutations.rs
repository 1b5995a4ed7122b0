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

fn table_of_constraints(found: &BTreeMap<String, BTreeSet<&'static str>>) -> String {
    let mut text = String::from("| left out | caught by |\n|---|---|\n");
    for (kind, lies) in found {
        let lies: Vec<&str> = lies.iter().copied().collect();
        let _ = writeln!(text, "| {kind} | {} |", lies.join(", "));
    }
    text
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
