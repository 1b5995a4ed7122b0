//! The list against itself and against tract.

use super::entry::Route;
use super::{OPERATORS, Support};

#[test]
fn names_are_sorted_and_unique() {
    let names: Vec<_> = OPERATORS.iter().map(|o| (o.domain, o.name)).collect();
    assert!(names.is_sorted_by(|a, b| a < b));
}

#[test]
fn what_is_built_has_a_route_and_what_is_refused_has_advice() {
    let known = crate::onnx::guard::onnx().op_register.0;
    for o in OPERATORS {
        let reads = known.contains_key(o.name);
        match (o.support, o.route) {
            (Support::Built { .. }, Route::Tract | Route::Prefer(_)) => {
                // Some are written out before tract looks.
                let written = o.repair.is_some();
                assert!(reads || written, "tract does not read {}", o.name);
            }
            (Support::Built { .. }, Route::Rewrite(_) | Route::Inlined) => {}
            (Support::Built { .. }, Route::Never) => panic!("{} has no route", o.name),
            (Support::Refused { instead }, Route::Tract | Route::Never) => {
                assert!(!instead.is_empty(), "{} needs advice", o.name);
            }
            (Support::Refused { .. }, _) => panic!("{} is refused, but has a route", o.name),
        }
    }
}
