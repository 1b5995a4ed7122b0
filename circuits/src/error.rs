//! Errors, one enum per stage.

use crate::transcript::Digest;
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
    /// More elements of inputs and outputs than the limit on values.
    #[error("program: inputs and outputs have {count} elements, the limit on values is {limit}")]
    Values {
        /// Of all inputs and outputs together.
        count: usize,
        /// How many are allowed.
        limit: usize,
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

/// A program that cannot be laid out at this `k`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// `k` outside the supported range.
    #[error("k = {k} is outside {min}..={max}")]
    K {
        /// What was asked for.
        k: u32,
        /// Smallest supported.
        min: u32,
        /// Largest supported.
        max: u32,
    },
    /// A block of folded weights does not fit a column.
    #[error(
        "node {node} folds {need} weights per output but a column at k = {k} has {rows} rows; use a larger k"
    )]
    TooSmall {
        /// The `k` that was tried.
        k: u32,
        /// Which node.
        node: usize,
        /// Rows that it needs.
        need: usize,
        /// Rows that there are.
        rows: usize,
    },
    /// Positions of a table that is looked up in do not fit a column.
    #[error(
        "node {node} looks up {positions} rows of a table but a column at k = {k} has {rows} rows; use a larger k"
    )]
    Positions {
        /// The `k` that was tried.
        k: u32,
        /// Which node.
        node: usize,
        /// Rows that it looks up.
        positions: usize,
        /// Rows that there are.
        rows: usize,
    },
    /// Layout and gates do not agree on something that soundness rests on: a mistake in this build, whatever the program.
    #[error("the layout breaks a convention that soundness rests on: {what}")]
    Convention {
        /// What should be.
        what: &'static str,
    },
    /// More lanes than one table can carry.
    #[error("{lanes} lanes at k = {k} are more than one table can carry; use a larger k")]
    TooWide {
        /// The `k` that was tried.
        k: u32,
        /// How many lanes would be needed.
        lanes: usize,
    },
    /// More pieces of wiring than the limit.
    #[error("node {node}: its wiring has more pieces than the limit")]
    Pieces {
        /// The node.
        node: usize,
    },
}

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end too early, or a length promises more than there is.
    #[error("truncated: the data end before what they announce")]
    Truncated,
    /// Bytes behind the end.
    #[error("{bytes} bytes behind the end")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A field has a value that it cannot have.
    #[error("invalid {what}")]
    Invalid {
        /// Which field.
        what: &'static str,
    },
    /// Not a file of this project.
    #[error("not a zkinfer file: expected the magic bytes `zkinfer`")]
    Magic,
    /// Another kind of file.
    #[error("expected a {expected} file, found a {found} file")]
    Kind {
        /// What was asked for.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Written by a version with another format.
    #[error("format version {found}, this build reads version {supported}")]
    Version {
        /// In the file.
        found: u16,
        /// Of this build.
        supported: u16,
    },
    /// The checksum does not match.
    #[error("the checksum does not match: the file is damaged")]
    Checksum,
    /// More bytes than the caller's limit.
    #[error("{bytes} bytes are more than the limit of {limit}")]
    TooLarge {
        /// Size.
        bytes: usize,
        /// Limit.
        limit: usize,
    },
}

/// A card that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CardError {
    /// The program is not well formed or beyond the limits.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The program does not fit the card's `k`.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Beyond a limit of the verifier.
    #[error("the card asks for {what} = {value}, the limit is {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much.
        value: usize,
        /// How much is allowed.
        limit: usize,
    },
    /// Parameters of another size.
    #[error("the card needs parameters for k = {card}, these are for k = {params}")]
    Params {
        /// Of the card.
        card: u32,
        /// Of the parameters.
        params: u32,
    },
    /// The model commitment has the wrong number of points.
    #[error("the model commitment has {found} points, the architecture needs {expected}")]
    Points {
        /// In the card.
        found: usize,
        /// From the program.
        expected: usize,
    },
    /// The support proof is wrong.
    #[error("the model commitment does not fit the architecture (its support proof is invalid)")]
    Support,
    /// A segment does not read what the one before it puts out.
    #[error("segment {index} of the card does not read what the one before it puts out: {reason}")]
    Boundary {
        /// Which segment, counted from zero.
        index: usize,
        /// Why.
        reason: crate::verify::Misfit,
    },
    /// The commitments to fixed columns are not those of the program.
    #[error("the card's commitments to tables and selectors are not those of its architecture")]
    Key,
}

/// Why a proof was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Not a proof at all.
    #[error("malformed proof: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// Made for another model.
    #[error("the proof is about model {proof}, not about {card}")]
    Model {
        /// Claimed by the proof.
        proof: Digest,
        /// Of the card.
        card: Digest,
    },
    /// The number of runs is another one.
    #[error("the proof covers {found} runs, not {expected}")]
    Runs {
        /// In the proof.
        found: usize,
        /// Expected by the caller.
        expected: usize,
    },
    /// Made for another context.
    #[error("the proof was made for another context")]
    Context,
    /// The claimed input or output is not the expected one.
    #[error("the proof is about another {which} than the expected one")]
    Statement {
        /// `input` or `output`.
        which: &'static str,
    },
    /// The proof does not carry the values and the caller did not state them.
    #[error("the proof does not carry its {which}: state the expected one")]
    Needed {
        /// `input` or `output`.
        which: &'static str,
    },
    /// Wrong number of values or commitments.
    #[error("the {which} has {found} elements, the model has {expected}")]
    Length {
        /// `input` or `output`.
        which: &'static str,
        /// Found.
        found: usize,
        /// Expected.
        expected: usize,
    },
    /// A value outside the range of the model.
    #[error("{which}[{index}] = {value} is not below {limit}")]
    Range {
        /// `input` or `output`.
        which: &'static str,
        /// Which element.
        index: usize,
        /// Its value.
        value: u16,
        /// `2^T`.
        limit: u32,
    },
    /// The columns do not hold the committed weights, or the stated input or output.
    #[error(
        "invalid proof: it does not use the committed model, the stated input or the stated output"
    )]
    Link,
    /// The circuit is not satisfied.
    #[error("invalid proof: the computation does not check")]
    Circuit,
}
