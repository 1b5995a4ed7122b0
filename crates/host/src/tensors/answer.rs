//! Tensors on their way out.

use super::{Datatype, INTEGERS};
use serde::{Serialize, Serializer};
use zkinfer::TensorInterface;

/// An output on its way out.
#[derive(Debug, Serialize)]
pub struct Answer<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Values<'a>>,
}

#[derive(Debug, Serialize)]
struct Size {
    binary_data_size: usize,
}

#[derive(Debug)]
enum Values<'a> {
    Real(&'a [f32]),
    Whole(&'a [f32]),
    Integers(&'a [u16]),
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Values::Real(values) => serializer.collect_seq(values.iter().map(|v| Short(*v))),
            Values::Whole(values) => serializer.collect_seq(values.iter().map(|v| *v as i64)),
            Values::Integers(values) => serializer.collect_seq(*values),
        }
    }
}

/// As short as single precision is, unless whoever reads it in double precision would round it to another number.
struct Short(f32);

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let double = self.0.to_string().parse::<f64>();
        match double {
            Ok(double) if double as f32 == self.0 => serializer.serialize_f32(self.0),
            _ => serializer.serialize_f64(f64::from(self.0)),
        }
    }
}

impl<'a> Answer<'a> {
    /// A tensor of the model; as bytes it goes behind `binary`.
    pub fn real(
        tensor: &'a TensorInterface,
        values: &'a [f32],
        as_bytes: bool,
        binary: &mut Vec<u8>,
    ) -> Answer<'a> {
        let before = binary.len();
        let mut data = None;
        match (as_bytes, tensor.integers) {
            (true, true) => binary.extend(values.iter().flat_map(|v| (*v as i64).to_le_bytes())),
            (true, false) => binary.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            (false, true) => data = Some(Values::Whole(values)),
            (false, false) => data = Some(Values::Real(values)),
        }
        Answer {
            name: &tensor.name,
            datatype: Datatype::name(tensor),
            shape: tensor.shape.clone(),
            parameters: as_bytes.then(|| Size {
                binary_data_size: binary.len() - before,
            }),
            data,
        }
    }

    /// The integers behind all outputs.
    pub fn integers(values: &'a [u16], as_bytes: bool, binary: &mut Vec<u8>) -> Answer<'a> {
        if as_bytes {
            binary.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
        Answer {
            name: INTEGERS,
            datatype: "UINT16",
            shape: vec![values.len()],
            parameters: as_bytes.then_some(Size {
                binary_data_size: 2 * values.len(),
            }),
            data: (!as_bytes).then_some(Values::Integers(values)),
        }
    }
}
