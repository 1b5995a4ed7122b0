//! Verifiable inference.
pub mod graph;
