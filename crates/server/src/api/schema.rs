//! Descriptions of types that are defined elsewhere. `tests/service/openapi.rs` compares them with what is sent.

#![allow(dead_code, reason = "only described, never made")]

use utoipa::ToSchema;
use zkinfer_http::problem::ClassSchema;

/// 64 lower-case hexadecimal digits.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{64}$", example = "1f6ff84ffe8a35c19ad4a7cf5b4ba9a8ab1bcd2e0be5c5a1b9d4b35a8f5a5c11")]
pub struct Digest(String);

/// A file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Bytes(Vec<u8>);

/// Result of one check. It is a record, not a proof: whoever does not trust its author checks the proof again.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Version of the receipt.
    #[schema(minimum = 1)]
    receipt_version: u16,
    /// Version of the proof format that the service reads.
    #[schema(minimum = 1)]
    format_version: u16,
    /// Digest of the card that the proof was checked against.
    card: Digest,
    /// Digest of the proof file as it was given.
    proof: Digest,
    /// What came out.
    result: Outcome,
}

/// What came out of a check.
#[derive(ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The committed model maps every input to its output.
    Accepted {
        /// Digest of the statement: card, runs, context.
        statement: Digest,
        /// Input and output of every run.
        #[schema(min_items = 1)]
        runs: Vec<RunRecord>,
        /// The context, in hexadecimal digits.
        #[schema(pattern = "^([0-9a-f]{2})*$")]
        context: String,
    },
    /// Nothing was shown.
    Rejected {
        /// Kind of reason.
        class: ClassSchema,
        /// Stable code of the reason.
        #[schema(pattern = "^[a-z][a-z0-9_]*$")]
        code: String,
        /// For people; may change.
        message: String,
    },
}

/// One run of a statement.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// The input.
    input: SideRecord,
    /// The output.
    output: SideRecord,
    /// What the question stated; the rest is what the proof claims.
    stated: Vec<StatedSide>,
    /// What public integers stand for, if the card says it.
    #[schema(nullable = false)]
    reals: Option<RealRun>,
}

/// A side of a run that the question stated.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatedSide {
    /// The input.
    Input,
    /// The output.
    Output,
}

/// Real numbers of a run.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RealRun {
    /// Inputs, in order; not there if they are committed.
    #[schema(nullable = false)]
    input: Option<Vec<RealTensor>>,
    /// Outputs, in order; not there if they are committed.
    #[schema(nullable = false)]
    output: Option<Vec<RealTensor>>,
}

/// A tensor of real numbers, each rounded to what the card can say.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RealTensor {
    /// Name of the tensor.
    name: String,
    /// What its integers stand for.
    values: Vec<f32>,
    /// Distance between neighbouring values, for all elements or for each: everything within half a step of a value has
    /// the same integer.
    step: Vec<f64>,
}

/// An input or an output of a statement.
#[derive(ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SideRecord {
    /// The integers themselves.
    Public {
        /// All tensors concatenated.
        values: Vec<u16>,
        /// Digest of the side.
        digest: Digest,
    },
    /// Commitments to them.
    Committed {
        /// Compressed points in hexadecimal digits.
        points: Vec<String>,
        /// Digest of the side.
        digest: Digest,
    },
}

/// What a model's inputs and outputs are called and what their integers stand for.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Name of the model, for people.
    name: String,
    /// Inputs, in order.
    inputs: Vec<Tensor>,
    /// Outputs, in order.
    outputs: Vec<Tensor>,
}

/// A tensor: `real = scale · (integer − zero_point)`, with one scale and zero point for all or one for each element.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Name of the tensor.
    name: String,
    /// Shape; the product is the number of elements.
    shape: Vec<usize>,
    /// Real value of one integer step.
    scale: Vec<f64>,
    /// The integer that stands for 0.
    zero_point: Vec<f64>,
    /// Whether its values are whole numbers.
    #[serde(default)]
    integers: bool,
    /// What the values 0, 1, … stand for, where they stand for texts.
    #[serde(default)]
    labels: Vec<String>,
    /// Zero, or the bits of the lower of two integers that stand for each element.
    #[serde(default)]
    low_bits: u32,
}

/// An input or an output that the caller knows. A digest may stand beside it, and has to be the right one then.
#[derive(ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ExpectedSide {
    /// The integers of the statement.
    Public {
        /// All tensors concatenated.
        values: Vec<u16>,
        /// Digest of the side.
        #[schema(nullable = false)]
        digest: Option<Digest>,
    },
    /// Commitments to them.
    Committed {
        /// Compressed points in hexadecimal digits.
        #[schema(max_items = 4096)]
        points: Vec<String>,
        /// Digest of the side.
        #[schema(nullable = false)]
        digest: Option<Digest>,
    },
    /// Real numbers: the card says which integers stand for them.
    Real {
        /// One list for each tensor.
        #[schema(max_items = 1024)]
        tensors: Vec<Vec<f32>>,
        /// Largest step between neighbouring values that the caller puts up with. A card that rounds more coarsely is
        /// refused.
        #[schema(nullable = false)]
        tolerance: Option<f64>,
        /// Digest of the side.
        #[schema(nullable = false)]
        digest: Option<Digest>,
    },
}
