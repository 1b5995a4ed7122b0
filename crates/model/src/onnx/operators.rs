//! Which operators can be imported, by which route, how they are built, what they cost, and what to do about the others.
//!
//! [`OPERATORS`] is the one list that goes by names of operators. Whoever meets a node looks it up here: the passes, to write
//! it out or to refuse it; the guards around tract, for what tract takes on trust; errors, for advice. `docs/operators.md` is
//! written from it (`cargo xtask operators`).

mod construction;
mod entry;
mod list;
mod page;

#[cfg(test)]
mod tests;

use tract_onnx::pb::NodeProto;

pub use construction::Construction;
pub(in crate::onnx) use entry::Needs;
pub use entry::{Operator, Support};
pub use list::OPERATORS;
pub use page::page;

/// The operator of this name; the domain may be `ai.onnx` for ONNX's own.
pub fn find(domain: &str, name: &str) -> Option<&'static Operator> {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    let at = OPERATORS.binary_search_by_key(&(domain, name), |o| (o.domain, o.name));
    Some(&OPERATORS[at.ok()?])
}

/// The operator of a node. ONNX Runtime writes some of its own as ONNX's.
pub(super) fn of(node: &NodeProto) -> Option<&'static Operator> {
    let (domain, name) = (node.domain.as_str(), node.op_type.as_str());
    let foreign = || find("com.microsoft", name).filter(|o| o.is_built());
    match domain {
        "" | "ai.onnx" => find("", name).or_else(foreign),
        domain => find(domain, name),
    }
}

/// What to do about a node that cannot be imported.
pub(super) fn advice(domain: &str, name: &str) -> String {
    match find(domain, name).map(|o| o.support) {
        Some(Support::Refused { instead }) => format!("not supported: {instead}"),
        Some(Support::Built { limits: "", .. }) => "this use of it is not supported".into(),
        Some(Support::Built { limits, .. }) => {
            format!("this use of it is beyond what is supported: {limits}")
        }
        None => "the operator is not known; express it in operators of ONNX, see docs/operators.md"
            .into(),
    }
}
