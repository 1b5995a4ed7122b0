//! The prover engine.

pub mod gates;
