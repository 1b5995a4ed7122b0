//! Tensors as the Open Inference Protocol has them: numbers in JSON, or bytes behind it (the binary tensor data
//! extension).

mod answer;
mod reader;

pub use answer::Answer;
pub use reader::RequestReader;

use crate::config::ProofMode;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use zkinfer::TensorInterface;
use zkinfer_http::problem::Problem;
use zkinfer_slip::Context;

/// Most tensors in a request.
const TENSORS: usize = 1 << 10;
/// Largest whole number below which all others are themselves in single precision, too.
const WHOLE: f64 = (1 << 24) as f64;

/// Types of the protocol that numbers can have here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    /// Single precision.
    Fp32,
    /// Whole numbers of so many bytes, with or without a sign.
    Whole { bytes: usize, signed: bool },
    /// Truth values, as 0 and 1.
    Bool,
}

impl Datatype {
    fn of(name: &str) -> Option<Datatype> {
        let whole = |bytes, signed| Some(Datatype::Whole { bytes, signed });
        match name {
            "FP32" => Some(Datatype::Fp32),
            "BOOL" => Some(Datatype::Bool),
            "INT8" => whole(1, true),
            "INT16" => whole(2, true),
            "INT32" => whole(4, true),
            "INT64" => whole(8, true),
            "UINT8" => whole(1, false),
            "UINT16" => whole(2, false),
            "UINT32" => whole(4, false),
            "UINT64" => whole(8, false),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Datatype::Fp32 => 4,
            Datatype::Whole { bytes, .. } => bytes,
            Datatype::Bool => 1,
        }
    }

    /// What a tensor of a model has.
    pub fn name(tensor: &TensorInterface) -> &'static str {
        if tensor.integers { "INT64" } else { "FP32" }
    }
}

/// What a request asks.
#[derive(Debug, Deserialize)]
pub struct Request {
    pub id: Option<String>,
    #[serde(default)]
    pub parameters: Parameters,
    #[serde(deserialize_with = "few")]
    pub inputs: Vec<Input>,
    #[serde(default, deserialize_with = "few")]
    pub outputs: Vec<Output>,
}

/// An input as it is sent.
#[derive(Debug, Deserialize)]
pub struct Input {
    name: String,
    shape: Vec<u64>,
    datatype: String,
    #[serde(default)]
    parameters: Transport,
    #[serde(default)]
    data: Option<Numbers>,
}

/// An output that is wanted.
#[derive(Debug, Deserialize)]
pub struct Output {
    pub name: String,
    #[serde(default)]
    parameters: Transport,
}

/// How a tensor travels. Other parameters are hints.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Transport {
    binary_data: Option<bool>,
    binary_data_size: Option<usize>,
    classification: Option<u64>,
    shared_memory_region: Option<IgnoredAny>,
}

/// Parameters of a request. Others are hints, unless their names say that they are ours.
#[derive(Debug, Default)]
pub struct Parameters {
    binary_data_output: bool,
    pub proof: Option<ProofMode>,
    pub context: Option<Context>,
    pub integers: bool,
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Parameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of parameters")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Parameters, M::Error> {
                let mut parameters = Parameters::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "binary_data_output" => parameters.binary_data_output = map.next_value()?,
                        "zkinfer_proof" => parameters.proof = Some(map.next_value()?),
                        "zkinfer_context" => parameters.context = Some(map.next_value()?),
                        "zkinfer_integers" => parameters.integers = map.next_value()?,
                        ours if ours.starts_with("zkinfer_") => {
                            let known = "zkinfer_proof, zkinfer_context, zkinfer_integers";
                            return Err(M::Error::custom(format!(
                                "there is no parameter {ours:?}: {known}"
                            )));
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(parameters)
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// A list of few elements.
fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Few<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {TENSORS} tensors")
        }

        fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Vec<T>, S::Error> {
            let mut list = Vec::new();
            while let Some(element) = seq.next_element()? {
                if list.len() == TENSORS {
                    return Err(S::Error::invalid_length(TENSORS + 1, &self));
                }
                list.push(element);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(Few(std::marker::PhantomData))
}

/// Numbers in lists of lists, row by row. Truth values are 0 and 1.
#[derive(Debug)]
struct Numbers(Vec<f64>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut numbers = Vec::new();
        Rows(&mut numbers).deserialize(deserializer)?;
        Ok(Numbers(numbers))
    }
}

struct Rows<'a>(&'a mut Vec<f64>);

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, truth values, or lists of them")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        while seq.next_element_seed(Rows(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.push(f64::from(u8::from(value)));
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.push(value);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        // What is rounded here is too large for everything below.
        self.0.push(value as f64);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.push(value as f64);
        Ok(())
    }
}

fn unusable(detail: String) -> Problem {
    Problem::malformed(detail)
}

/// A request out of its body; `header` is the length of the JSON part where bytes follow it.
pub fn read(body: &[u8], header: Option<usize>) -> Result<(Request, &[u8]), Problem> {
    let length = header.unwrap_or(body.len());
    let (json, binary) = body.split_at_checked(length).ok_or_else(|| {
        unusable(format!(
            "Inference-Header-Content-Length is {length}, and the body has {} bytes",
            body.len()
        ))
    })?;
    let request = serde_json::from_slice(json).map_err(|e| Problem::misfit(&e))?;
    Ok((request, binary))
}

impl Request {
    /// The real numbers of the model's inputs, in the model's order.
    pub fn inputs(
        &self,
        tensors: &[TensorInterface],
        mut binary: &[u8],
    ) -> Result<Vec<Vec<f32>>, Problem> {
        let mut values: Vec<Option<Vec<f32>>> = vec![None; tensors.len()];
        for input in &self.inputs {
            let at = tensors.iter().position(|t| t.name == input.name);
            let Some(at) = at else {
                let names: Vec<&str> = tensors.iter().map(|t| t.name.as_str()).take(16).collect();
                let name = &input.name;
                return Err(unusable(format!(
                    "the model has no input {name:?}; its inputs are {names:?}"
                )));
            };
            let numbers = input.numbers(&tensors[at], &mut binary)?;
            if values[at].replace(numbers).is_some() {
                return Err(unusable(format!(
                    "the input {:?} is there twice",
                    input.name
                )));
            }
        }
        if !binary.is_empty() {
            let rest = binary.len();
            return Err(unusable(format!(
                "{rest} bytes at the end of the body belong to no input"
            )));
        }
        let missing = |(tensor, values): (&TensorInterface, Option<Vec<f32>>)| {
            values.ok_or_else(|| unusable(format!("the input {:?} is missing", tensor.name)))
        };
        tensors.iter().zip(values).map(missing).collect()
    }

    /// Which outputs are wanted, each with whether its numbers come as bytes: of a model, and the integers behind them.
    pub fn wanted(
        &self,
        tensors: &[TensorInterface],
    ) -> Result<(Vec<(usize, bool)>, Option<bool>), Problem> {
        let default = self.parameters.binary_data_output;
        let mut integers = self.parameters.integers.then_some(default);
        if self.outputs.is_empty() {
            return Ok((
                (0..tensors.len()).map(|at| (at, default)).collect(),
                integers,
            ));
        }
        let mut wanted = Vec::new();
        for output in &self.outputs {
            let how = &output.parameters;
            let name = &output.name;
            if how.classification.is_some_and(|c| c > 0) || how.shared_memory_region.is_some() {
                let what = "neither classifications nor shared memory";
                return Err(unusable(format!("output {name:?}: this host has {what}")));
            }
            let binary = how.binary_data.unwrap_or(default);
            match tensors.iter().position(|t| t.name == *name) {
                Some(at) if wanted.iter().any(|(known, _)| *known == at) => {
                    return Err(unusable(format!("the output {name:?} is asked for twice")));
                }
                Some(at) => wanted.push((at, binary)),
                None if name == INTEGERS => integers = Some(binary),
                None => {
                    let names: Vec<&str> =
                        tensors.iter().map(|t| t.name.as_str()).take(16).collect();
                    return Err(unusable(format!(
                        "the model has no output {name:?}; its outputs are {names:?}, and {INTEGERS:?}"
                    )));
                }
            }
        }
        Ok((wanted, integers))
    }
}

/// Output with the integers that a slip and a proof are about.
pub const INTEGERS: &str = "zkinfer_integers";

impl Input {
    fn numbers(&self, tensor: &TensorInterface, binary: &mut &[u8]) -> Result<Vec<f32>, Problem> {
        let name = &self.name;
        let fail = |what: String| Err(unusable(format!("input {name:?}: {what}")));
        let Some(datatype) = Datatype::of(&self.datatype) else {
            let (found, wanted) = (&self.datatype, Datatype::name(tensor));
            return fail(format!(
                "{found:?} is none of this host's types; send {wanted}, or whole numbers of up to 64 bits"
            ));
        };
        let significant = |shape: &[u64]| {
            shape
                .iter()
                .copied()
                .filter(|d| *d != 1)
                .collect::<Vec<_>>()
        };
        let shape: Vec<u64> = tensor.shape.iter().map(|d| *d as u64).collect();
        if significant(&self.shape) != significant(&shape) {
            return fail(format!(
                "its shape is {:?}, the model wants {shape:?}; one request is one run",
                self.shape
            ));
        }
        if self.parameters.shared_memory_region.is_some() {
            return fail("this host has no shared memory; send the numbers".to_owned());
        }
        match (&self.data, self.parameters.binary_data_size) {
            (Some(_), Some(_)) => {
                fail("its numbers are there twice, as data and as bytes".to_owned())
            }
            (None, None) => fail("it has neither data nor binary_data_size".to_owned()),
            (Some(Numbers(numbers)), None) => {
                if numbers.len() != tensor.len() {
                    return fail(format!(
                        "it has {} numbers, its shape wants {}",
                        numbers.len(),
                        tensor.len()
                    ));
                }
                let single = |(at, &n): (usize, &f64)| single(n, datatype).ok_or(at);
                numbers
                    .iter()
                    .enumerate()
                    .map(single)
                    .collect::<Result<_, usize>>()
                    .or_else(|at| {
                        fail(format!(
                            "number {at}, {}, is no {} that single precision holds",
                            numbers[at], self.datatype
                        ))
                    })
            }
            (None, Some(size)) => {
                let wanted = tensor.len() * datatype.bytes();
                if size != wanted {
                    return fail(format!(
                        "binary_data_size is {size}, its shape and type want {wanted}"
                    ));
                }
                let Some((own, rest)) = binary.split_at_checked(size) else {
                    return fail(format!(
                        "{} bytes are left of the body, it has {size}",
                        binary.len()
                    ));
                };
                *binary = rest;
                let elements = own.chunks_exact(datatype.bytes()).enumerate();
                let single = |(at, bytes): (usize, &[u8])| element(bytes, datatype).ok_or(at);
                elements
                    .map(single)
                    .collect::<Result<_, usize>>()
                    .or_else(|at| {
                        fail(format!(
                            "number {at} is no {} that single precision holds",
                            self.datatype
                        ))
                    })
            }
        }
    }
}

/// A number in single precision; whole ones only if they are the same there.
fn single(number: f64, datatype: Datatype) -> Option<f32> {
    let single = number as f32;
    match datatype {
        // A number of single precision in JSON has more digits, or fewer.
        Datatype::Fp32 => single.is_finite().then_some(single),
        Datatype::Bool => (number == 0.0 || number == 1.0).then_some(single),
        Datatype::Whole { bytes, signed } => {
            let bits = 8 * bytes as i32 - i32::from(signed);
            let least = if signed { -(2f64.powi(bits)) } else { 0.0 };
            let fits = number.fract() == 0.0 && (least..2f64.powi(bits)).contains(&number);
            (fits && number.abs() <= WHOLE).then_some(single)
        }
    }
}

/// An element out of its bytes, the lowest first.
fn element(bytes: &[u8], datatype: Datatype) -> Option<f32> {
    match datatype {
        // What is not finite is refused by the model, which says which element it is.
        Datatype::Fp32 => Some(f32::from_le_bytes(bytes.try_into().ok()?)),
        Datatype::Bool => single(f64::from(bytes[0]), datatype),
        Datatype::Whole { signed, .. } => {
            let negative = signed && bytes.last().is_some_and(|b| b & 0x80 != 0);
            let mut wide = if negative { [0xff; 8] } else { [0; 8] };
            wide[..bytes.len()].copy_from_slice(bytes);
            let number = if signed {
                i64::from_le_bytes(wide) as f64
            } else {
                u64::from_le_bytes(wide) as f64
            };
            single(number, datatype)
        }
    }
}
