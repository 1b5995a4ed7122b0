//! Verifiable inference.
pub mod error;
pub mod graph;
pub mod model;
pub mod params;
pub(crate) mod prove;
pub mod run;
pub mod secret;
