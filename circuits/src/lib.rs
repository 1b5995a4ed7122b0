//! The soundness-critical half of zkinfer.
pub mod error;
pub mod program;
