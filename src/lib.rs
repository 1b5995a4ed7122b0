//! Verifiable inference.
pub mod data;
pub mod graph;
pub mod import;
