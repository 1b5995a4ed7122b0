//! Errors, one enum per stage.

use thiserror::Error;

/// A program that is not well formed, or asks for more than the limits allow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// Something outside the nodes.
    #[error("program: {reason}")]
    Header {
        /// What is wrong.
        reason: &'static str,
    },
    /// A node.
    #[error("program node {node}: {reason}")]
    Node {
        /// Index of the node.
        node: usize,
        /// What is wrong.
        reason: &'static str,
    },
}
