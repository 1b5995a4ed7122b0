//! Inputs that have one value in every run: stored tensors instead.

use std::collections::BTreeMap;

use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{GraphProto, TensorProto, ValueInfoProto, type_proto};

use crate::onnx::ImportError;

/// Elements that such an input may have.
const MOST: i64 = 1 << 20;

/// Replaces inputs by stored tensors all of whose elements are a given value.
pub fn store(graph: &mut GraphProto, given: &BTreeMap<String, f64>) -> Result<(), ImportError> {
    for (name, &value) in given {
        let refused = |reason: String| ImportError::Given {
            name: name.clone(),
            value,
            reason,
        };
        let stored = graph.initializer.iter().any(|t| t.name == *name);
        let place = graph.input.iter().position(|i| i.name == *name);
        let Some(place) = place.filter(|_| !stored) else {
            let inputs = graph.input.iter().map(|i| i.name.as_str());
            let known: Vec<&str> = inputs.collect();
            let known = known.join(", ");
            return Err(refused(format!("the model's inputs are {known}")));
        };
        let tensor = tensor(&graph.input[place], value).map_err(refused)?;
        graph.input.remove(place);
        graph.initializer.push(tensor);
    }
    Ok(())
}

/// The tensor, or why there is none.
fn tensor(input: &ValueInfoProto, value: f64) -> Result<TensorProto, String> {
    let of = input.r#type.as_ref().and_then(|t| t.value.as_ref());
    let Some(type_proto::Value::TensorType(of)) = of else {
        return Err("it is not a tensor".into());
    };
    let shape = of.shape.as_ref().ok_or("it has no shape")?;
    let dims = shape.dim.iter().map(|d| match d.value {
        Some(dimension::Value::DimValue(length)) if length > 0 => Ok(length),
        _ => Err("its shape is open".to_owned()),
    });
    let dims: Vec<i64> = dims.collect::<Result<_, _>>()?;
    let elements = dims.iter().try_fold(1i64, |n, d| n.checked_mul(*d));
    let elements = elements.filter(|n| *n <= MOST).ok_or("it is too large")?;
    let elements = usize::try_from(elements).map_err(|e| e.to_string())?;
    let mut tensor = TensorProto {
        name: input.name.clone(),
        data_type: of.elem_type,
        dims,
        ..TensorProto::default()
    };
    let whole = |low: f64, high: f64| match value.fract() == 0.0 && (low..=high).contains(&value) {
        true => Ok(value),
        false => Err(format!("it holds whole numbers from {low} to {high}")),
    };
    let finite = |value: f64| match value.is_finite() {
        true => Ok(value),
        false => Err("it has to be a finite number of its type".to_owned()),
    };
    // Numbers of ONNX's TensorProto.DataType.
    match of.elem_type {
        1 => {
            // Too large a number is infinite in single precision.
            let value = finite(f64::from(value as f32))?;
            tensor.float_data = vec![value as f32; elements];
        }
        11 => tensor.double_data = vec![finite(value)?; elements],
        6 => {
            let value = whole(f64::from(i32::MIN), f64::from(i32::MAX))?;
            tensor.int32_data = vec![value as i32; elements];
        }
        7 => {
            let most = 2f64.powi(53);
            tensor.int64_data = vec![whole(-most, most)? as i64; elements];
        }
        9 => tensor.int32_data = vec![whole(0.0, 1.0)? as i32; elements],
        _ => return Err("only numbers of float, double, int32, int64 and bool can be".into()),
    }
    Ok(tensor)
}
