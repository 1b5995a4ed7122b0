//! What several of the tests use.

pub mod conformance;
pub mod corpus;
pub mod onnx;
pub mod proof;
