//! A file that went through all passes.

use std::collections::HashMap;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{Framework, InferenceModelExt, TypedModel};

use super::origin::Origin;
use super::outputs::{Choice, original};
use crate::onnx::ImportError;
use crate::onnx::guard::{self, guarded};
use crate::onnx::rewrite::texts::Texts;

/// A checked and repaired model.
pub struct Model {
    pub proto: ModelProto,
    /// By the name that tract gives to the node.
    pub origins: HashMap<String, Origin>,
    /// Most elements of a tensor.
    pub most: usize,
    /// Values that stand for texts.
    pub texts: Texts,
    /// The outputs that were chosen.
    pub choice: Choice,
}

impl Model {
    /// The name of an output.
    pub fn output(&self, at: usize) -> Option<&str> {
        let graph = self.proto.graph.as_ref()?;
        Some(original(&graph.output.get(at)?.name))
    }

    /// Shape inference and constant folding.
    pub fn typed(&self) -> Result<TypedModel, ImportError> {
        // Declared intermediate shapes may contradict the lengths chosen for free dimensions.
        let onnx = guard::onnx()
            .with_ignore_value_info(true)
            .with_ignore_output_types(true);
        let mut parsed =
            guarded(|| onnx.model_for_proto_model(&self.proto)).map_err(|e| self.blame(e))?;
        guard::bound(&mut parsed, self.most);
        guarded(|| parsed.into_typed()).map_err(|e| self.blame(e))
    }

    /// The ONNX node that a tract node came from: tract appends `.part` to the names of what it expands.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        let mut name = name;
        loop {
            if let Some(origin) = self.origins.get(name) {
                return Some(origin);
            }
            name = name.rsplit_once('.')?.0;
        }
    }

    /// Ties an error text of tract to the node it talks about.
    fn blame(&self, reason: String) -> ImportError {
        let quoted = reason
            .split('"')
            .skip(1)
            .step_by(2)
            .find_map(|name| self.origins.get(name));
        let building = || {
            let name = reason.split("Building node ").nth(1)?.split(" (").next()?;
            self.origins.get(name)
        };
        let unnamed = || {
            let op = reason.split("Building node  (").nth(1)?.split(')').next()?;
            self.origins.values().find(|o| o.op == op)
        };
        match quoted.or_else(building).or_else(unnamed) {
            Some(origin) => origin.unsupported(shorten(&reason)),
            None => ImportError::Inference {
                reason: shorten(&reason),
            },
        }
    }
}

/// tract's errors can print whole nodes.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(400).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
