//! Proofs of which each one's output is the next one's input, with what the integers stand for.

use thiserror::Error;
use zkinfer_circuits::card::Proof;
use zkinfer_circuits::verify::{self, Expected, Verdict, Verifier};
use zkinfer_interface::{CardInfoError, Interface, TensorInterface};

/// Why a chain was not accepted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A proof was not accepted, or one's output is not the next one's input.
    #[error(transparent)]
    Circuit(#[from] verify::ChainError),
    /// A card does not say what its integers stand for.
    #[error("card {index} of the chain: {reason}")]
    Card {
        /// Which, counted from zero.
        index: usize,
        /// Why.
        reason: CardInfoError,
    },
    /// An element is rounded to a whole number on one side of the boundary, and not on the other.
    #[error(
        "between cards {index} and {} of the chain: element {element} is a whole number on one side only; quantize the \
         second model with the first one's outputs as inputs",
        index + 1
    )]
    Whole {
        /// The card whose output it is, counted from zero.
        index: usize,
        /// Which element, over all tensors.
        element: usize,
    },
    /// The same integer is one number as an output, and another one as the next model's input.
    #[error(
        "between cards {index} and {} of the chain: element {element} is in steps of {output} from {output_zero}, \
         and read in steps of {input} from {input_zero}; quantize the second model with the first one's outputs as inputs",
        index + 1
    )]
    Scale {
        /// The card whose output it is, counted from zero.
        index: usize,
        /// Which element, over all tensors.
        element: usize,
        /// Step of the output.
        output: f64,
        /// Its zero point.
        output_zero: f64,
        /// Step of the input.
        input: f64,
        /// Its zero point.
        input_zero: f64,
    },
}

/// Checks proofs as [`verify::verify_chain`] does, and that both cards at a boundary take its integers for the same real
/// numbers: step and zero point of every element, and whether it is rounded to a whole number. Names and shapes may differ, as between a vector and an image.
///
/// # Errors
/// The first reason for which the chain is not accepted.
pub fn verify_chain(steps: &[(&Verifier, &Expected, &Proof)]) -> Result<Vec<Verdict>, ChainError> {
    let verdicts = verify::verify_chain(steps)?;
    let interface = |(index, step): (usize, &(&Verifier, &Expected, &Proof))| {
        Interface::from_card(step.0.card()).map_err(|reason| ChainError::Card { index, reason })
    };
    let interfaces = steps.iter().enumerate().map(interface);
    let interfaces = interfaces.collect::<Result<Vec<Interface>, ChainError>>()?;
    for (index, pair) in interfaces.windows(2).enumerate() {
        let (outputs, inputs) = (meanings(&pair[0].outputs), meanings(&pair[1].inputs));
        for (element, (output, input)) in outputs.zip(inputs).enumerate() {
            if output.2 != input.2 {
                return Err(ChainError::Whole { index, element });
            }
            if output != input {
                return Err(ChainError::Scale {
                    index,
                    element,
                    output: output.0,
                    output_zero: output.1,
                    input: input.0,
                    input_zero: input.1,
                });
            }
        }
    }
    Ok(verdicts)
}

/// Step and zero point of every cell, whether what they make of an integer is rounded, and which part of how many it is of the
/// integer. Lengths are the architecture's: the boundary was checked to have one.
fn meanings(tensors: &[TensorInterface]) -> impl Iterator<Item = (f64, f64, bool, [usize; 2])> {
    tensors.iter().flat_map(|tensor| {
        let at = |values: &[f64], i: usize| {
            let value = values.get(i).or(values.first());
            value.copied().unwrap_or(f64::NAN)
        };
        let limbs = tensor.cells() / tensor.len().max(1);
        (0..tensor.cells()).map(move |cell| {
            let i = cell / limbs.max(1);
            let (scale, zero) = (at(&tensor.scale, i), at(&tensor.zero_point, i));
            let whole = scale.fract() == 0.0 && (scale * zero).fract() == 0.0;
            // The upper part of an integer counts as many steps as the lower one has values.
            let upper = tensor.low_bits * (cell % limbs.max(1)) as u32;
            let scale = scale * f64::from(upper).exp2();
            let part = [cell % limbs.max(1), limbs];
            (scale, zero, tensor.integers && !whole, part)
        })
    })
}
