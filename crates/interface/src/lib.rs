//! The public interface of a model: what its inputs and outputs are called and what their integers stand for.
//!
//! It travels in [`Card::info`] as JSON, so it is part of the card's digest: a verifier turns real numbers into the
//! integers of a statement by what the card says, not by what somebody tells along with a proof.
//!
//! This is all that a verifier has to do with real numbers; nothing here decides what is accepted. Like
//! `zkinfer-circuits` it needs neither files nor threads.

mod reals;
mod tensor;

pub use reals::{RealReceipt, RealRun, RealTensor, with_reals};
pub use tensor::{InterfaceError, TensorInterface};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zkinfer_circuits::card::Card;
use zkinfer_circuits::program::{Node, Program};
use zkinfer_circuits::statement::Side;

/// Names, shapes, scales and zero points of a model's inputs and outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Name of the model, for people.
    pub name: String,
    /// Inputs, in order.
    pub inputs: Vec<TensorInterface>,
    /// Outputs, in order.
    pub outputs: Vec<TensorInterface>,
}

/// A card whose interface cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CardInfoError {
    /// Not the JSON of an [`Interface`].
    #[error("the card does not describe inputs and outputs: {0}")]
    Json(#[from] serde_json::Error),
    /// Another number of tensors than the architecture has.
    #[error("the card describes {found} {which}s, its architecture has {expected}")]
    Count {
        /// `input` or `output`.
        which: &'static str,
        /// Described.
        found: usize,
        /// In the program.
        expected: usize,
    },
    /// A tensor does not have the number of elements that the architecture has.
    #[error(
        "the card describes {which} {name:?} with {found} elements, its architecture has {expected}"
    )]
    Length {
        /// `input` or `output`.
        which: &'static str,
        /// Name of the tensor.
        name: String,
        /// Described.
        found: usize,
        /// In the program.
        expected: usize,
    },
    /// Scales or zero points that cannot be used.
    #[error(transparent)]
    Tensor(#[from] InterfaceError),
}

impl Interface {
    /// What goes into [`Card::info`].
    ///
    /// # Errors
    /// None in practice: there is nothing in it that JSON cannot express.
    pub fn to_info(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads the interface of a card and compares it with the card's architecture.
    ///
    /// # Errors
    /// If it is missing, or does not fit.
    pub fn from_card(card: &Card) -> Result<Interface, CardInfoError> {
        let interface: Interface = serde_json::from_slice(&card.info)?;
        let (Some(first), Some(last)) = (card.segments.first(), card.segments.last()) else {
            // No file is read with none.
            return Err(CardInfoError::Count {
                which: "input",
                found: interface.inputs.len(),
                expected: 0,
            });
        };
        interface.check(&first.program, &last.program)?;
        Ok(interface)
    }

    /// Whether this can be the interface of a model that begins with the program `first` and ends with `last`.
    ///
    /// # Errors
    /// Another number of tensors or elements than the programs have; scales that cannot be used.
    pub fn check(&self, first: &Program, last: &Program) -> Result<(), CardInfoError> {
        let inputs = first.nodes.iter().filter_map(|n| {
            if let Node::Input { len } = n {
                Some(*len as usize)
            } else {
                None
            }
        });
        let bits = first.range_bits;
        check_side("input", &self.inputs, &inputs.collect::<Vec<_>>(), bits)?;
        let outputs = last
            .outputs
            .iter()
            .map(|&o| match last.nodes.get(o as usize) {
                Some(Node::Neurons(n)) => n.len(),
                _ => 0,
            });
        check_side("output", &self.outputs, &outputs.collect::<Vec<_>>(), bits)
    }

    /// Lengths of the inputs.
    pub fn input_lens(&self) -> Vec<usize> {
        self.inputs.iter().map(TensorInterface::len).collect()
    }

    /// Lengths of the outputs.
    pub fn output_lens(&self) -> Vec<usize> {
        self.outputs.iter().map(TensorInterface::len).collect()
    }

    /// The integers that real inputs, one list per tensor, have in a statement. `range_bits` is the program's.
    ///
    /// # Errors
    /// Wrong number or length of tensors, values outside the calibrated range.
    pub fn quantize_inputs(
        &self,
        inputs: &[Vec<f32>],
        range_bits: u32,
    ) -> Result<Vec<u16>, InterfaceError> {
        quantize("input", &self.inputs, inputs, range_bits)
    }

    /// The integers that stand for real outputs, one list per tensor. `range_bits` is the program's.
    ///
    /// # Errors
    /// As [`Interface::quantize_inputs`].
    pub fn quantize_outputs(
        &self,
        outputs: &[Vec<f32>],
        range_bits: u32,
    ) -> Result<Vec<u16>, InterfaceError> {
        quantize("output", &self.outputs, outputs, range_bits)
    }

    /// The integers of real inputs that somebody states, one list per tensor: no farther from them than half a step, and no
    /// step larger than `tolerance`, if there is one.
    ///
    /// # Errors
    /// As [`Interface::quantize_inputs`]; rounding that is too coarse.
    pub fn state_inputs(
        &self,
        inputs: &[Vec<f32>],
        range_bits: u32,
        tolerance: Option<f64>,
    ) -> Result<Vec<u16>, InterfaceError> {
        state("input", &self.inputs, inputs, |t, v| {
            t.state(v, range_bits.min(16), tolerance)
        })
    }

    /// The integers of real outputs that somebody states; see [`Interface::state_inputs`].
    ///
    /// # Errors
    /// As [`Interface::state_inputs`].
    pub fn state_outputs(
        &self,
        outputs: &[Vec<f32>],
        range_bits: u32,
        tolerance: Option<f64>,
    ) -> Result<Vec<u16>, InterfaceError> {
        state("output", &self.outputs, outputs, |t, v| {
            t.state(v, range_bits.min(16), tolerance)
        })
    }

    /// The real inputs, one list per tensor, that the integers of a statement stand for.
    ///
    /// # Errors
    /// Wrong length.
    pub fn dequantize_inputs(&self, integers: &[u16]) -> Result<Vec<Vec<f32>>, InterfaceError> {
        dequantize("(all inputs)", &self.inputs, integers)
    }

    /// The real outputs, one list per tensor, that the integers of a statement stand for.
    ///
    /// # Errors
    /// Wrong length.
    pub fn dequantize_outputs(&self, integers: &[u16]) -> Result<Vec<Vec<f32>>, InterfaceError> {
        dequantize("(all outputs)", &self.outputs, integers)
    }

    /// The integers of a statement's output, one list per tensor.
    ///
    /// # Errors
    /// Wrong length.
    pub fn split_outputs(&self, integers: &[u16]) -> Result<Vec<Vec<u32>>, InterfaceError> {
        split("(all outputs)", &self.outputs, integers)
    }
}

/// Why an expectation cannot be stated in a card's integers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StatementError {
    /// The card's scales cannot be read.
    #[error(transparent)]
    Card(#[from] CardInfoError),
    /// The values do not fit them.
    #[error(transparent)]
    Values(#[from] InterfaceError),
}

/// The statement's form of a real-valued input, one list per tensor.
///
/// # Errors
/// Values of the wrong number or outside the range that the model was calibrated for.
pub fn public_input(card: &Card, inputs: &[Vec<f32>]) -> Result<Side, StatementError> {
    let interface = Interface::from_card(card)?;
    Ok(Side::Public(interface.state_inputs(
        inputs,
        card.range_bits(),
        None,
    )?))
}

/// The real numbers behind a public output; `None` if it is committed.
///
/// # Errors
/// A card whose scales cannot be read.
pub fn public_output(card: &Card, output: &Side) -> Result<Option<Vec<Vec<f32>>>, StatementError> {
    match output {
        Side::Public(values) => Ok(Some(
            Interface::from_card(card)?.dequantize_outputs(values)?,
        )),
        Side::Committed(_) => Ok(None),
    }
}

fn quantize(
    which: &'static str,
    tensors: &[TensorInterface],
    values: &[Vec<f32>],
    range_bits: u32,
) -> Result<Vec<u16>, InterfaceError> {
    // A program has at most 14 bits.
    state(which, tensors, values, |t, v| {
        t.quantize(v, range_bits.min(16), false)
    })
}

/// Integers of at most 16 bits, tensor after tensor.
fn state(
    which: &'static str,
    tensors: &[TensorInterface],
    values: &[Vec<f32>],
    integers: impl Fn(&TensorInterface, &[f32]) -> Result<Vec<u32>, InterfaceError>,
) -> Result<Vec<u16>, InterfaceError> {
    if values.len() != tensors.len() {
        return Err(InterfaceError::Count {
            which,
            found: values.len(),
            wanted: tensors.len(),
        });
    }
    let mut out = Vec::new();
    for (tensor, values) in tensors.iter().zip(values) {
        out.extend(integers(tensor, values)?.into_iter().map(|v| v as u16));
    }
    Ok(out)
}

fn dequantize(
    all: &str,
    tensors: &[TensorInterface],
    integers: &[u16],
) -> Result<Vec<Vec<f32>>, InterfaceError> {
    split(all, tensors, integers)?
        .iter()
        .zip(tensors)
        .map(|(q, t)| t.dequantize(q))
        .collect()
}

fn split(
    all: &str,
    tensors: &[TensorInterface],
    integers: &[u16],
) -> Result<Vec<Vec<u32>>, InterfaceError> {
    let wanted = tensors
        .iter()
        .fold(0usize, |sum, t| sum.saturating_add(t.cells()));
    if integers.len() != wanted {
        return Err(InterfaceError::Length {
            name: all.into(),
            found: integers.len(),
            wanted,
        });
    }
    let mut rest = integers;
    let take = |t: &TensorInterface| {
        let (own, other) = rest.split_at(t.cells());
        rest = other;
        own.iter().map(|&v| u32::from(v)).collect()
    };
    Ok(tensors.iter().map(take).collect())
}

fn check_side(
    which: &'static str,
    tensors: &[TensorInterface],
    lens: &[usize],
    range_bits: u32,
) -> Result<(), CardInfoError> {
    if tensors.len() != lens.len() {
        return Err(CardInfoError::Count {
            which,
            found: tensors.len(),
            expected: lens.len(),
        });
    }
    for (tensor, &expected) in tensors.iter().zip(lens) {
        if tensor.cells() != expected {
            return Err(CardInfoError::Length {
                which,
                name: tensor.name.clone(),
                found: tensor.cells(),
                expected,
            });
        }
        tensor.check(tensor.len())?;
        if tensor.low_bits > 0 && tensor.low_bits != range_bits {
            let name = tensor.name.clone();
            return Err(InterfaceError::Malformed { name }.into());
        }
    }
    Ok(())
}

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
