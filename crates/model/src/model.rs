//! The quantized model: the public [`Program`], the integer weights, and how reals become integers at its borders.

use serde::{Deserialize, Serialize};
use zkinfer_circuits::program::{Expanded, Node, Program, ValueRef};

pub use crate::weights::WeightTensor;
pub use zkinfer_interface::{InterfaceError, TensorInterface};

use crate::run::{HintSolver, RunError, Trace, run};
use zkinfer_interface::Interface;

/// What quantization did to one layer: one [`Node::Neurons`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Index of the node in [`Program::nodes`].
    pub node: u32,
    /// Name of the operation in the float model.
    pub name: String,
    /// Index of the float node whose values these neurons represent, if they represent one.
    pub graph_node: Option<usize>,
    /// Smallest real step over the channels.
    pub scale_min: f64,
    /// Largest real step over the channels.
    pub scale_max: f64,
    /// Smallest accumulator value (as a real, before the activation) seen in calibration.
    pub low: f64,
    /// Largest accumulator value seen in calibration.
    pub high: f64,
    /// What is clamped although the float model does not.
    #[serde(default, skip_serializing_if = "Saturation::is_none")]
    pub saturates: Saturation,
}

/// At which ends of their range neurons clamp what lies beyond, although the float model does not:
/// [`QuantizeOptions::saturate`](crate::quantize::QuantizeOptions::saturate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saturation {
    /// Below the least integer, zero.
    pub below: bool,
    /// Above the greatest, `2^T − 1`.
    pub above: bool,
}

impl Saturation {
    /// Whether nothing is clamped.
    pub fn is_none(&self) -> bool {
        *self == Saturation::default()
    }
}

/// A real tensor as a combination of program values: `real[i] = offset[i] + Σ_planes scale[i] · value[i]`.
///
/// Scales and offsets have one entry for all elements or one per element.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// Program values and their scales.
    pub planes: Vec<(ValueRef, Vec<f64>)>,
    /// Real offset.
    pub offset: Vec<f64>,
}

/// A model over integers: everything that inference and proving need.
#[derive(Clone, Debug)]
pub struct QuantizedModel {
    /// The public architecture.
    pub program: Program,
    /// The committed weights, in order of node and term.
    pub weights: Vec<WeightTensor>,
    /// How to compute the program's hints, in order of node.
    pub hints: Vec<HintSolver>,
    /// The model's inputs, in order.
    pub inputs: Vec<TensorInterface>,
    /// The model's outputs, in order of [`Program::outputs`].
    pub outputs: Vec<TensorInterface>,
    /// Where the neurons come from, in order of node.
    pub layers: Vec<Layer>,
    /// For reports: real values behind program values, by index into [`layers`](Self::layers).
    pub decodings: Vec<(usize, Decoding)>,
}

impl QuantizedModel {
    /// What the world is told about inputs and outputs.
    pub fn interface(&self, name: impl Into<String>) -> Interface {
        Interface {
            name: name.into(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
        }
    }

    /// Name of the operation that a program node implements, for messages.
    pub fn layer_name(&self, node: u32) -> &str {
        match self.layers.binary_search_by_key(&node, |l| l.node) {
            Ok(i) => &self.layers[i].name,
            Err(_) => "",
        }
    }

    /// Integers for real inputs, `[input][element]`.
    ///
    /// # Errors
    /// See [`TensorInterface::quantize`]; [`InterfaceError::Count`] for a missing or surplus input.
    pub fn quantize_inputs(
        &self,
        inputs: &[Vec<f32>],
        clamp: bool,
    ) -> Result<Vec<Vec<u32>>, InterfaceError> {
        if inputs.len() != self.inputs.len() {
            return Err(InterfaceError::Count {
                which: "input",
                found: inputs.len(),
                wanted: self.inputs.len(),
            });
        }
        self.inputs
            .iter()
            .zip(inputs)
            .map(|(t, x)| t.quantize(x, self.program.range_bits, clamp))
            .collect()
    }

    /// The integer run of the program on integer inputs.
    ///
    /// # Errors
    /// See [`run`].
    pub fn run(&self, expanded: &Expanded, inputs: &[Vec<u32>]) -> Result<Trace, RunError> {
        run(&self.program, expanded, &self.weights, &self.hints, inputs)
    }

    /// What was clamped in a run, for every layer where something was: index into [`layers`](Self::layers) and how many neurons.
    pub fn saturated(&self, trace: &Trace) -> Vec<(usize, usize)> {
        let top = self.program.range() - 1;
        let bits = self.program.range_bits;
        let clamping = self.layers.iter().enumerate();
        let clamping = clamping.filter(|(_, l)| !l.saturates.is_none());
        let count = |layer: &Layer| {
            let Saturation { below, above } = layer.saturates;
            let accumulators = trace.accumulators.get(layer.node as usize);
            let depth = match self.program.nodes.get(layer.node as usize) {
                Some(Node::Neurons(n)) => n.unit.depth(),
                _ => 1,
            };
            let clamped = |y: &&i64| (below && **y < 0) || (above && **y >> (bits * depth) > top);
            accumulators.map_or(0, |y| y.iter().filter(clamped).count())
        };
        let counted = clamping.map(|(index, layer)| (index, count(layer)));
        counted.filter(|c| c.1 > 0).collect()
    }

    /// The real outputs of a run, `[output][element]`.
    ///
    /// # Errors
    /// If the trace is not one of this model.
    pub fn dequantize_outputs(
        &self,
        expanded: &Expanded,
        trace: &Trace,
    ) -> Result<Vec<Vec<f32>>, InterfaceError> {
        let mut out = Vec::with_capacity(self.outputs.len());
        for (tensor, &node) in self.outputs.iter().zip(&self.program.outputs) {
            let first = expanded
                .first_slot
                .get(node as usize)
                .map_or(usize::MAX, |&s| s as usize);
            let range = first..first.saturating_add(tensor.cells());
            let slots = trace.slots.get(range).ok_or(InterfaceError::Length {
                name: tensor.name.clone(),
                found: 0,
                wanted: tensor.cells(),
            })?;
            out.push(tensor.dequantize(slots)?);
        }
        Ok(out)
    }
}
