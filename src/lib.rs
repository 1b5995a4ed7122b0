//! Verifiable inference.
pub mod error;
pub mod graph;
pub mod model;
pub(crate) mod prove;
pub mod plan;
pub mod run;
pub mod secret;
