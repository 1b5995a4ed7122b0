//! Operators written out in plainer ones before the model is typed: quantized operators in floats, decision trees as
//! comparisons and matrix products, scalers.

pub(super) mod attention;
pub(super) mod branches;
pub(super) mod classes;
pub(super) mod contrib;
mod counters;
pub(super) mod functions;
pub(super) mod grids;
pub(super) mod inline;
pub(super) mod integers;
mod loops;
pub(super) mod ml;
pub(super) mod norms;
pub(super) mod pools;
pub(super) mod recurrent;
pub(super) mod stored;
pub(super) mod texts;
pub(super) mod traversal;
pub(super) mod trees;
pub(super) mod types;
pub(super) mod writer;
