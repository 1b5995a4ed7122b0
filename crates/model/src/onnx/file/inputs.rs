//! Lengths of the inputs' free dimensions.

use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{GraphProto, type_proto};

use super::bounds::limit;
use crate::onnx::{ImportError, ImportOptions};

/// Gives every free dimension of an input a length.
pub fn fix_inputs(graph: &mut GraphProto, options: &ImportOptions) -> Result<(), ImportError> {
    let weights: Vec<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    let mut batch_symbols: Vec<String> = Vec::new();
    for input in &mut graph.input {
        if weights.contains(&input.name) {
            continue;
        }
        let value = input.r#type.as_mut().and_then(|t| t.value.as_mut());
        let Some(type_proto::Value::TensorType(tensor)) = value else {
            return Err(ImportError::Malformed {
                reason: format!("input \"{}\" is not a tensor", input.name),
            });
        };
        let Some(shape) = tensor.shape.as_mut() else {
            return Err(ImportError::DynamicDimension {
                input: input.name.clone(),
                axis: 0,
                symbol: "no shape".into(),
            });
        };
        let mut elements = 1u64;
        for (axis, dim) in shape.dim.iter_mut().enumerate() {
            let length = length(dim, axis, options, &mut batch_symbols).map_err(|symbol| {
                ImportError::DynamicDimension {
                    input: input.name.clone(),
                    axis,
                    symbol,
                }
            })?;
            elements = elements.saturating_mul(length as u64);
            dim.value = Some(dimension::Value::DimValue(length as i64));
        }
        if elements == 0 {
            return Err(ImportError::Malformed {
                reason: format!("input \"{}\" has no elements", input.name),
            });
        }
        limit(
            &input.name,
            "the number of elements",
            elements,
            options.max_elements,
        )?;
    }
    Ok(())
}

fn length(
    dim: &Dimension,
    axis: usize,
    options: &ImportOptions,
    batch: &mut Vec<String>,
) -> Result<usize, String> {
    match &dim.value {
        Some(dimension::Value::DimValue(v)) if *v > 0 => {
            usize::try_from(*v).map_err(|_| "too large".into())
        }
        Some(dimension::Value::DimParam(name)) => {
            if let Some(&length) = options.symbols.get(name) {
                return Ok(length);
            }
            if axis == 0 && !batch.contains(name) {
                batch.push(name.clone());
            }
            if batch.contains(name) {
                Ok(options.batch)
            } else {
                Err(name.clone())
            }
        }
        // Some exporters write 0 or -1 for a free batch dimension.
        _ if axis == 0 => Ok(options.batch),
        _ => Err("unnamed".into()),
    }
}
