//! From bytes to the decoded file.

use std::path::Path;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::Framework;

use super::{bfloat, external};
use crate::onnx::guard::{self, guarded};
use crate::onnx::{ImportError, ImportOptions};

/// Decodes a file that is not too large, with the weights that are in other files of its folder, and widens `bfloat16`.
pub fn decode(
    bytes: &[u8],
    folder: Option<&Path>,
    options: &ImportOptions,
) -> Result<ModelProto, ImportError> {
    if bytes.len() > options.max_bytes {
        return Err(ImportError::FileTooLarge {
            bytes: bytes.len(),
            limit: options.max_bytes,
        });
    }
    let decoded = guarded(|| guard::onnx().proto_model_for_read(&mut &*bytes));
    let mut proto = decoded.map_err(|reason| ImportError::Malformed { reason })?;
    external::load(&mut proto, folder, options.max_bytes - bytes.len())?;
    bfloat::widen(&mut proto);
    Ok(proto)
}
