//! numpy arrays to the model's tensors and back.
//!
//! A tensor's shape is compared without leading axes of length 1: a model with inputs of shape `(1, 28, 28)` takes
//! `(28, 28)` just as well. Where several samples are given, the first axis counts them.

use crate::errors;
use crate::files::type_name;
use numpy::{IxDyn, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyMapping, PyTuple};
use std::collections::BTreeMap;
use zkinfer::TensorInterface;
use zkinfer::data::Tensors;

/// What a tensor is called and how long its axes are.
#[derive(Clone, Debug)]
pub struct Form {
    pub name: String,
    pub shape: Vec<usize>,
}

impl From<&TensorInterface> for Form {
    fn from(tensor: &TensorInterface) -> Form {
        Form {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
        }
    }
}

/// Forms of tensors.
pub fn forms(tensors: &[TensorInterface]) -> Vec<Form> {
    tensors.iter().map(Form::from).collect()
}

/// Which tensors are meant: for messages and for names such as `x0` in mappings.
#[derive(Clone, Copy)]
pub enum Which {
    Input,
    Output,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Which::Input => "input",
            Which::Output => "output",
        }
    }

    fn letter(self) -> char {
        match self {
            Which::Input => 'x',
            Which::Output => 'y',
        }
    }
}

/// Row-major values and the lengths of the axes.
struct Array {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// One sample: an array, a sequence of one array for each tensor, or a mapping from names.
pub fn sample(object: &Bound<'_, PyAny>, forms: &[Form], which: Which) -> PyResult<Vec<Vec<f32>>> {
    let parts = split(object, forms, which)?;
    if let Ok(mapping) = object.cast::<PyMapping>() {
        surplus(mapping, forms, which)?;
    }
    let fit = |(part, form): (Bound<'_, PyAny>, &Form)| {
        let array = read(&part, form, which)?;
        if core(&array.shape) != core(&form.shape) {
            let message = format!(
                "{} {:?}: expected shape {}, found {}",
                which.name(),
                form.name,
                tuple(&form.shape),
                tuple(&array.shape)
            );
            let (name, py) = (&form.name, object.py());
            return Err(errors::shape(py, name, &form.shape, &array.shape, message));
        }
        Ok(array.values)
    };
    parts.into_iter().zip(forms).map(fit).collect()
}

/// Samples along the first axis of every array; otherwise as [`sample`].
pub fn samples(object: &Bound<'_, PyAny>, forms: &[Form], which: Which) -> PyResult<Tensors> {
    let py = object.py();
    let mut all: Tensors = Vec::new();
    let parts = split(object, forms, which)?;
    for (at, (part, form)) in parts.iter().zip(forms).enumerate() {
        let Array { shape, values } = read(part, form, which)?;
        let fits = shape
            .split_first()
            .filter(|(_, rest)| core(rest) == core(&form.shape));
        let Some((&count, _)) = fits else {
            let message = format!(
                "{} {:?}: expected samples of shape {} along a first axis, found {}",
                which.name(),
                form.name,
                tuple(&form.shape),
                tuple(&shape)
            );
            return Err(errors::shape(py, &form.name, &form.shape, &shape, message));
        };
        if at == 0 {
            all.resize(count, Vec::new());
        }
        if count != all.len() {
            let message = format!(
                "{} {:?} has {count} samples, {:?} has {}",
                which.name(),
                form.name,
                forms[0].name,
                all.len()
            );
            return Err(errors::tensor(py, &form.name, message));
        }
        let len = values.len().checked_div(count).unwrap_or(0);
        for (i, sample) in all.iter_mut().enumerate() {
            sample.push(values[i * len..(i + 1) * len].to_vec());
        }
    }
    Ok(all)
}

/// The shapes of samples, by name or by place, where they can be told: lengths of all axes but the first.
pub fn shapes(object: &Bound<'_, PyAny>) -> PyResult<BTreeMap<String, Vec<usize>>> {
    let py = object.py();
    let shape = PyModule::import(py, "numpy")?.getattr("shape")?;
    let mut shapes = BTreeMap::new();
    let mut add = |name: String, array: &Bound<'_, PyAny>| {
        // What is no array is refused later.
        let lengths = shape
            .call1((array,))
            .and_then(|s| s.extract::<Vec<usize>>());
        if let Ok(Some((_, rest))) = lengths.as_deref().map(<[usize]>::split_first) {
            shapes.insert(name, rest.to_vec());
        }
    };
    if let Ok(mapping) = object.cast::<PyMapping>() {
        for item in mapping.items()?.iter() {
            let (name, array) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            if let Ok(name) = name.extract::<String>() {
                add(name, &array);
            }
        }
        return Ok(shapes);
    }
    if let Ok(list) = object.cast::<PyList>() {
        for (place, array) in list.iter().enumerate() {
            add(format!("x{place}"), &array);
        }
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        for (place, array) in tuple.iter().enumerate() {
            add(format!("x{place}"), &array);
        }
    } else {
        add("x0".into(), object);
    }
    Ok(shapes)
}

/// Refuses keys that nobody reads: misspelt ones, and a tensor that is there by its name and by its place.
fn surplus(mapping: &Bound<'_, PyMapping>, forms: &[Form], which: Which) -> PyResult<()> {
    let py = mapping.py();
    for key in mapping.keys()?.iter() {
        let Ok(key) = key.extract::<String>() else {
            continue;
        };
        let of =
            |(i, form): (usize, &Form)| form.name == key || key == format!("{}{i}", which.letter());
        if !forms.iter().enumerate().any(of) {
            let names: Vec<&str> = forms.iter().map(|f| f.name.as_str()).collect();
            let message = format!(
                "there is no {} {key:?}; the model has {names:?}",
                which.name()
            );
            return Err(errors::input(py, message));
        }
    }
    for (i, form) in forms.iter().enumerate() {
        let place = format!("{}{i}", which.letter());
        if form.name != place && mapping.contains(&form.name)? && mapping.contains(&place)? {
            let message = format!(
                "{:?} and {place:?} are the same {}",
                form.name,
                which.name()
            );
            return Err(errors::tensor(py, &form.name, message));
        }
    }
    Ok(())
}

/// One object for each tensor.
fn split<'py>(
    object: &Bound<'py, PyAny>,
    forms: &[Form],
    which: Which,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let py = object.py();
    if let Ok(mapping) = object.cast::<PyMapping>() {
        let find = |(i, form): (usize, &Form)| {
            for key in [form.name.clone(), format!("{}{i}", which.letter())] {
                if mapping.contains(&key)? {
                    return mapping.get_item(key);
                }
            }
            let keys = mapping.keys()?.repr()?;
            let message = format!(
                "{} {:?} is missing: neither {:?} nor \"{}{i}\" is among {keys}",
                which.name(),
                form.name,
                form.name,
                which.letter()
            );
            Err(errors::tensor(py, &form.name, message))
        };
        return forms.iter().enumerate().map(find).collect();
    }
    if let [_] = forms {
        return Ok(vec![object.clone()]);
    }
    let parts: Vec<Bound<'py, PyAny>> = if let Ok(list) = object.cast::<PyList>() {
        list.iter().collect()
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        tuple.iter().collect()
    } else {
        let names: Vec<&str> = forms.iter().map(|f| f.name.as_str()).collect();
        return Err(PyTypeError::new_err(format!(
            "the model has {} {}s: give a list with an array for each, or a dict with the keys {names:?}; found {}",
            forms.len(),
            which.name(),
            type_name(object)
        )));
    };
    if parts.len() != forms.len() {
        let message = format!(
            "the model has {} {}s, {} given",
            forms.len(),
            which.name(),
            parts.len()
        );
        return Err(errors::input(py, message));
    }
    Ok(parts)
}

/// Anything that numpy makes an array of numbers from.
fn read(object: &Bound<'_, PyAny>, form: &Form, which: Which) -> PyResult<Array> {
    static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static REQUIRE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = object.py();
    let wrong = |reason: String| {
        let message = format!("{} {:?}: {reason}", which.name(), form.name);
        errors::tensor(py, &form.name, message)
    };
    let array = ASARRAY
        .import(py, "numpy", "asarray")?
        .call1((object,))
        .map_err(|e| {
            let error = wrong(format!("not an array of numbers: {}", e.value(py)));
            error.set_cause(py, Some(e));
            error
        })?;
    let dtype = array.getattr("dtype")?;
    let kind: String = dtype.getattr("kind")?.extract()?;
    if !matches!(kind.as_str(), "f" | "i" | "u" | "b") {
        return Err(wrong(format!(
            "expected floats, integers or booleans, found elements of type {dtype}"
        )));
    }
    let shape: Vec<usize> = array.getattr("shape")?.extract()?;
    // What comes out of a buffer of bytes may be anywhere in memory.
    let require = REQUIRE.import(py, "numpy", "require")?;
    let as_type = |name: &str| {
        let arguments = PyDict::new(py);
        arguments.set_item("dtype", name)?;
        arguments.set_item("requirements", ["C", "A"])?;
        require.call((&array,), Some(&arguments))
    };
    let single: String = dtype.getattr("name")?.extract()?;
    let values = if single == "float32" {
        let array = as_type("float32")?;
        let array: PyReadonlyArrayDyn<'_, f32> = array.extract()?;
        let values = array.as_slice()?.to_vec();
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(wrong(not_finite(index, values[index].into(), &shape)));
        }
        values
    } else {
        let array = as_type("float64")?;
        let array: PyReadonlyArrayDyn<'_, f64> = array.extract()?;
        let whole = kind != "f";
        let mut values = Vec::with_capacity(array.len());
        for (index, &value) in array.as_slice()?.iter().enumerate() {
            let short = value as f32;
            if !short.is_finite() {
                return Err(wrong(not_finite(index, value, &shape)));
            }
            if whole && f64::from(short) != value {
                return Err(wrong(format!(
                    "element {} is {value}, an integer that 32-bit floats cannot hold exactly",
                    tuple(&position(index, &shape))
                )));
            }
            values.push(short);
        }
        values
    };
    Ok(Array { shape, values })
}

fn not_finite(index: usize, value: f64, shape: &[usize]) -> String {
    let at = tuple(&position(index, shape));
    if value.is_finite() {
        format!("element {at} is {value}, beyond what 32-bit floats can hold")
    } else {
        format!("element {at} is {value}, expected finite numbers")
    }
}

/// Where a flat index is.
fn position(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for (i, &len) in shape.iter().enumerate().rev() {
        at[i] = index % len.max(1);
        index /= len.max(1);
    }
    at
}

/// A shape without its leading axes of length 1.
fn core(shape: &[usize]) -> &[usize] {
    let first = shape.iter().position(|&n| n != 1).unwrap_or(shape.len());
    &shape[first..]
}

/// A shape as Python writes it.
pub fn tuple(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        many => {
            let many: Vec<String> = many.iter().map(ToString::to_string).collect();
            format!("({})", many.join(", "))
        }
    }
}

/// A new numpy array.
pub fn array<'py>(
    py: Python<'py>,
    values: &[f32],
    shape: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    numpy::PyArray1::from_slice(py, values).reshape(IxDyn(shape))
}

/// New numpy arrays, one for each tensor.
pub fn arrays<'py>(
    py: Python<'py>,
    values: &[Vec<f32>],
    forms: &[Form],
) -> PyResult<Vec<Bound<'py, PyArrayDyn<f32>>>> {
    let each = values.iter().zip(forms);
    each.map(|(v, form)| array(py, v, &form.shape)).collect()
}

/// The only one.
pub fn only<T>(all: Vec<T>, py: Python<'_>, what: &str) -> PyResult<T> {
    let count = all.len();
    match <[T; 1]>::try_from(all) {
        Ok([one]) => Ok(one),
        Err(_) => Err(errors::input(
            py,
            format!("there are {count} {what}s, not one: use .{what}s"),
        )),
    }
}
