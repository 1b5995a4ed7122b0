//! From bytes to the decoded file.

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Framework;

use crate::onnx::guard::{self, guarded};
use crate::onnx::{ImportError, ImportOptions};

/// Decodes a file that is not too large.
pub fn decode(bytes: &[u8], options: &ImportOptions) -> Result<ModelProto, ImportError> {
    if bytes.len() > options.max_bytes {
        return Err(ImportError::FileTooLarge {
            bytes: bytes.len(),
            limit: options.max_bytes,
        });
    }
    let decoded = guarded(|| guard::onnx().proto_model_for_read(&mut &*bytes));
    decoded.map_err(|reason| ImportError::Malformed { reason })
}
