//! The prover engine.
