//! Where in the file a node came from, which errors name.

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;

use super::names::{domain, tract_name};
use crate::onnx::ImportError;
use crate::onnx::operators;

/// Where in the file a node came from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub node: String,
    pub op: String,
    pub opset: i64,
}

impl Origin {
    pub fn of(node: &NodeProto, opsets: &HashMap<String, i64>) -> Origin {
        let domain = domain(node);
        let version = if domain.is_empty() {
            opsets.get("").or(opsets.get("ai.onnx"))
        } else {
            opsets.get(domain)
        };
        let op = if domain.is_empty() {
            node.op_type.clone()
        } else {
            format!("{domain}.{}", node.op_type)
        };
        Origin {
            node: tract_name(node),
            op,
            opset: version.copied().unwrap_or(0),
        }
    }

    /// The refusal of an operator, with what to do instead.
    pub fn refused(&self) -> ImportError {
        let (domain, name) = self.op.rsplit_once('.').unwrap_or(("", &self.op));
        self.unsupported(operators::advice(domain, name))
    }

    pub fn unsupported(&self, reason: impl Into<String>) -> ImportError {
        let Origin { node, op, opset } = self.clone();
        ImportError::Unsupported {
            node,
            op,
            opset,
            reason: reason.into(),
        }
    }
}
