//! The integer weights of a program.

use serde::{Deserialize, Serialize};

/// The coefficients of one committed term of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightTensor {
    /// Index of the node in [`Program::nodes`](zkinfer_circuits::program::Program::nodes).
    pub node: u32,
    /// Index of the term in that node.
    pub term: u32,
    /// `[groups][outputs][inputs]`, row-major.
    pub data: Vec<i32>,
}
