//! Receipts that say what the integers of their runs stand for.

use crate::{Interface, InterfaceError, TensorInterface};
use serde::{Deserialize, Serialize};
use zkinfer_circuits::receipt::{Receipt, SideRecord};

/// A receipt with the real numbers of its runs, where the card says what they are.
pub type RealReceipt = Receipt<RealRun>;

/// The real numbers behind a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealRun {
    /// Inputs, in order; not there if they are committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Vec<RealTensor>>,
    /// Outputs, in order; not there if they are committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Vec<RealTensor>>,
}

/// A tensor of real numbers, each rounded to what the card can say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealTensor {
    /// Name of the tensor.
    pub name: String,
    /// The values that its integers stand for.
    pub values: Vec<f32>,
    /// Distance between neighbouring values: one for all elements or one for each. Everything within half a step of a
    /// value has the same integer.
    pub step: Vec<f64>,
}

/// Says in a receipt what its integers stand for, if `interface` does.
pub fn with_reals(receipt: Receipt, interface: Option<&Interface>) -> RealReceipt {
    receipt.with_reals(|run| {
        let interface = interface?;
        Some(RealRun {
            input: side(&run.input, &interface.inputs, |q| {
                interface.dequantize_inputs(q)
            }),
            output: side(&run.output, &interface.outputs, |q| {
                interface.dequantize_outputs(q)
            }),
        })
    })
}

fn side(
    side: &SideRecord,
    tensors: &[TensorInterface],
    reals: impl Fn(&[u16]) -> Result<Vec<Vec<f32>>, InterfaceError>,
) -> Option<Vec<RealTensor>> {
    let SideRecord::Public { values, .. } = side else {
        return None;
    };
    let named = tensors.iter().zip(reals(values).ok()?);
    let real = |(tensor, values): (&TensorInterface, Vec<f32>)| RealTensor {
        name: tensor.name.clone(),
        values,
        step: tensor.steps(),
    };
    Some(named.map(real).collect())
}
