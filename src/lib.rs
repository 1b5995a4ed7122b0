//! Verifiable inference.
pub mod data;
pub mod graph;
pub mod import;
pub mod model;
pub mod quantize;
pub mod run;
