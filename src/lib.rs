//! Verifiable inference.
pub mod graph;
pub mod model;
pub mod quantize;
pub mod run;
