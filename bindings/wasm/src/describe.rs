//! What files say, as JSON for pages.

use crate::Failure;
use serde::Serialize;
use zkinfer_circuits::card::{Card, FileKind, Proof};
use zkinfer_circuits::receipt::{SideRecord, file_digest};
use zkinfer_circuits::statement::{Claim, Side};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::Limits;
use zkinfer_interface::{Interface, TensorInterface};

/// What a file is and says.
#[derive(Debug, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Description {
    /// A card.
    Card {
        /// The model's identity.
        digest: Digest,
        /// Logarithm of the number of rows.
        k: u32,
        /// How many segments the model consists of.
        segments: usize,
        /// Integers of statements are below `2^range_bits`.
        range_bits: u32,
        /// Points of the model commitment.
        points: usize,
        /// Integers of an input.
        input_length: usize,
        /// Integers of an output.
        output_length: usize,
        /// Names, shapes and scales, if the card has them.
        interface: Option<Tensors>,
        /// Why there are none.
        interface_error: Option<String>,
    },
    /// A proof of one or of several runs.
    Proof {
        /// Digest of the file, as in receipts.
        digest: Digest,
        /// The model that it claims to be about.
        card: Digest,
        /// The context that it claims, in hexadecimal digits.
        context: String,
        /// How many of a model's segments it has parts for.
        segments: usize,
        /// What it claims.
        runs: Vec<Run>,
    },
    /// A model with its weights: secret.
    Model,
    /// Parameters.
    Params,
    /// Another kind of file of this project.
    Other,
}

/// Names, shapes and scales.
#[derive(Debug, Serialize)]
pub struct Tensors {
    name: String,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    length: usize,
    scale: Vec<f64>,
    zero_point: Vec<f64>,
    low_bits: u32,
}

/// A run as it is claimed.
#[derive(Debug, Serialize)]
pub struct Run {
    input: Claimed,
    output: Claimed,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Claimed {
    Side(SideRecord),
    Digest { kind: &'static str, digest: Digest },
}

/// Decodes a file and says what is in it. Nothing is verified.
///
/// # Errors
/// Bytes that cannot be decoded, or are beyond the limits.
pub fn describe(bytes: &[u8], limits: &Limits) -> Result<Description, Failure> {
    Ok(match FileKind::of(bytes)? {
        FileKind::Card => card(&Card::from_bytes_within(bytes, limits)?),
        FileKind::Proof => {
            let proof = Proof::from_bytes(bytes, limits.proof_bytes)?;
            Description::Proof {
                digest: file_digest(bytes),
                card: proof.card,
                context: hex(&proof.context),
                segments: proof.segments.len(),
                runs: proof.runs.iter().map(|(i, o)| run(i, o)).collect(),
            }
        }
        FileKind::Model => Description::Model,
        FileKind::Params | FileKind::Generators => Description::Params,
        _ => Description::Other,
    })
}

fn card(card: &Card) -> Description {
    let (interface, interface_error) = match Interface::from_card(card) {
        Ok(interface) => (Some(tensors(interface)), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Description::Card {
        digest: card.digest(),
        k: card.k,
        segments: card.segments.len(),
        range_bits: card.range_bits(),
        points: card.points(),
        input_length: card.input_len(),
        output_length: card.output_len(),
        interface,
        interface_error,
    }
}

fn tensors(interface: Interface) -> Tensors {
    let tensor = |t: TensorInterface| Tensor {
        length: t.len(),
        name: t.name,
        shape: t.shape,
        scale: t.scale,
        zero_point: t.zero_point,
        low_bits: t.low_bits,
    };
    Tensors {
        name: interface.name,
        inputs: interface.inputs.into_iter().map(tensor).collect(),
        outputs: interface.outputs.into_iter().map(tensor).collect(),
    }
}

fn run(input: &Claim, output: &Claim) -> Run {
    Run {
        input: claimed(input),
        output: claimed(output),
    }
}

fn claimed(claim: &Claim) -> Claimed {
    match claim {
        Claim::Values(values) => Claimed::Side((&Side::Public(values.clone())).into()),
        Claim::Committed(points) => Claimed::Side((&Side::Committed(points.clone())).into()),
        Claim::Digest(digest) => Claimed::Digest {
            kind: "digest",
            digest: *digest,
        },
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
