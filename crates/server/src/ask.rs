//! What is asked: requests as they are sent, and what they mean to the library.

use crate::api::schema;
use crate::cache::Model;
use crate::store::{ContextKey, Keeper};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use group::GroupEncoding;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::marker::PhantomData;
use utoipa::ToSchema;
use zkinfer_circuits::C;
use zkinfer_circuits::statement::{MAX_CONTEXT, Side};
use zkinfer_circuits::transcript::Digest;
use zkinfer_circuits::verify::{Expected, Verifier};
use zkinfer_http::problem::Problem;

/// Is this proof right, for this model, with what I know?
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// Digest of the model's card: the model that the caller asks about, whatever the proof says.
    #[schema(value_type = schema::Digest)]
    pub card: Digest,
    /// The proof file, of one or several runs, in base64.
    #[schema(content_encoding = "base64")]
    pub proof: String,
    /// What the caller knows, one entry for each run; one entry without input and output stands for all. Left out: whatever
    /// the proof claims. The receipt says what that is.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<ExpectedRun>>, nullable = false, max_items = 4096)]
    expected: Option<AtMost<ExpectedRun, 4096>>,
    /// The context (a nonce, a request id) that the proof must be bound to, in hexadecimal digits, for every run that does
    /// not say its own. Left out: none.
    #[serde(default, deserialize_with = "present")]
    #[schema(pattern = "^([0-9a-fA-F]{2})*$", max_length = 8192, nullable = false)]
    context: Option<String>,
    /// The same as text, instead.
    #[serde(default, deserialize_with = "present")]
    #[schema(max_length = 4096, nullable = false)]
    context_text: Option<String>,
    /// Accept this context of this model once: what asks for it again is refused.
    #[serde(default)]
    once: bool,
}

/// What the caller knows of a run.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedRun {
    /// The input.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<schema::ExpectedSide>, nullable = false)]
    input: Option<Stated>,
    /// The output.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<schema::ExpectedSide>, nullable = false)]
    output: Option<Stated>,
    /// The context, in hexadecimal digits.
    #[serde(default, deserialize_with = "present")]
    #[schema(pattern = "^([0-9a-fA-F]{2})*$", max_length = 8192, nullable = false)]
    context: Option<String>,
}

/// Something that is there, and not `null`: that would look as if it were compared.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// An input or an output that the caller knows.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
struct Stated {
    side: Known,
    digest: Option<Digest>,
}

#[derive(Debug)]
enum Known {
    Public(Vec<u16>),
    Committed(Vec<String>),
    Real(Vec<Vec<f32>>, Option<f64>),
}

/// A side as it is written. Not a tagged enum: serde would read that into many times the memory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: Kind,
    #[serde(default, deserialize_with = "present")]
    values: Option<Vec<u16>>,
    #[serde(default, deserialize_with = "present")]
    points: Option<AtMost<String, 4096>>,
    #[serde(default, deserialize_with = "present")]
    tensors: Option<AtMost<Vec<f32>, 1024>>,
    #[serde(default, deserialize_with = "present")]
    tolerance: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    digest: Option<Digest>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Public,
    Committed,
    Real,
}

impl TryFrom<Written> for Stated {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Stated, &'static str> {
        let side = match (
            written.kind,
            written.values,
            written.points,
            written.tensors,
            written.tolerance,
        ) {
            (Kind::Public, Some(values), None, None, None) => Known::Public(values),
            (Kind::Committed, None, Some(AtMost(points)), None, None) => Known::Committed(points),
            (Kind::Real, None, None, Some(AtMost(tensors)), tolerance) => {
                Known::Real(tensors, tolerance)
            }
            _ => {
                return Err(
                    "a side has values if it is public, points if it is committed, tensors if it is real, and a \
                     tolerance only beside these",
                );
            }
        };
        let digest = written.digest;
        Ok(Stated { side, digest })
    }
}

/// Several questions at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// The questions; they may be about different models.
    #[schema(value_type = Vec<VerifyRequest>, min_items = 1, max_items = 4096)]
    pub proofs: AtMost<VerifyRequest, 4096>,
}

/// A list that is refused while it is read if it gets too long: small elements take more memory than text.
#[derive(Debug)]
pub struct AtMost<T, const N: usize>(pub Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<T, N> {
            type Value = AtMost<T, N>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                write!(f, "a list of at most {N} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    if values.len() == N {
                        return Err(A::Error::custom(format!("more than {N} elements")));
                    }
                    values.push(value);
                }
                Ok(AtMost(values))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// A question with its bytes decoded.
#[derive(Debug)]
pub struct Task {
    pub card: Digest,
    pub proof: Vec<u8>,
    pub once: bool,
    runs: Vec<ExpectedRun>,
    context: Vec<u8>,
}

impl Task {
    pub fn new(request: VerifyRequest) -> Result<Task, Problem> {
        let proof = STANDARD
            .decode(&request.proof)
            .map_err(|e| Problem::malformed(format!("proof is not base64: {e}")))?;
        let context = match (request.context, request.context_text) {
            (Some(_), Some(_)) => {
                return Err(Problem::malformed(
                    "give the context as context or as context_text, not both",
                ));
            }
            (Some(hex), None) => context(&hex)?,
            (None, Some(text)) => bounded(text.into_bytes())?,
            (None, None) => Vec::new(),
        };
        let runs = request.expected;
        Ok(Task {
            card: request.card,
            proof,
            once: request.once,
            runs: runs.map_or_else(|| vec![ExpectedRun::default()], |runs| runs.0),
            context,
        })
    }

    /// What the library is to expect; and, if its context is to be accepted once, what that is remembered by.
    pub fn expected(&self, model: &Model) -> Result<(Vec<Expected>, Option<ContextKey>), Problem> {
        let most = model.verifier.limits().runs;
        if self.runs.len() > most {
            return Err(Problem::statement(format!(
                "{} runs are expected, the limit is {most}",
                self.runs.len()
            )));
        }
        let side =
            |side: &Option<Stated>, of: Of| side.as_ref().map(|s| s.resolve(model, of)).transpose();
        let run = |run: &ExpectedRun| -> Result<Expected, Problem> {
            Ok(Expected {
                input: side(&run.input, Of::Input)?,
                output: side(&run.output, Of::Output)?,
                context: match &run.context {
                    Some(hex) => context(hex)?,
                    None => self.context.clone(),
                },
            })
        };
        let expected: Result<Vec<Expected>, Problem> = self.runs.iter().map(run).collect();
        let expected = expected?;
        if !self.once {
            return Ok((expected, None));
        }
        // All runs of a proof that is accepted have the same.
        match expected.first().filter(|first| !first.context.is_empty()) {
            Some(first) => {
                let key = ContextKey::new(&self.card, model.keeper, &first.context);
                Ok((expected, Some(key)))
            }
            None => Err(Problem::malformed(
                "once needs a context: without one, nothing tells two proofs apart",
            )),
        }
    }
}

/// Reads requests about one card: all that is done with a request before its proof is looked at. For the fuzzer.
#[doc(hidden)]
#[derive(Debug)]
pub struct RequestReader(Model);

impl RequestReader {
    pub fn new(verifier: Verifier) -> RequestReader {
        RequestReader(Model::new(verifier, Keeper::Anybody))
    }

    /// What a body asks, or the code of the problem with it.
    pub fn read(&self, body: &[u8]) -> Result<Vec<Expected>, &'static str> {
        let one = serde_json::from_slice::<VerifyRequest>(body).map(|request| vec![request]);
        let all = one.or_else(|_| serde_json::from_slice::<BatchRequest>(body).map(|b| b.proofs.0));
        let mut expected = Vec::new();
        for request in all.map_err(|_| "not a request")? {
            let (mut own, _) = Task::new(request)
                .and_then(|task| task.expected(&self.0))
                .map_err(|problem| problem.code)?;
            expected.append(&mut own);
        }
        Ok(expected)
    }
}

#[derive(Clone, Copy)]
enum Of {
    Input,
    Output,
}

impl Stated {
    fn resolve(&self, model: &Model, of: Of) -> Result<Side, Problem> {
        let side = match &self.side {
            Known::Public(values) => Side::Public(values.clone()),
            Known::Committed(points) => {
                Side::Committed(commitments(points, model.verifier.limits().columns)?)
            }
            Known::Real(tensors, tolerance) => integers(model, tensors, *tolerance, of)?,
        };
        match self.digest {
            Some(digest) if digest != side.digest() => Err(Problem::statement(format!(
                "a side's digest is {}, not {digest}",
                side.digest()
            ))),
            _ => Ok(side),
        }
    }
}

fn commitments(points: &[String], most: usize) -> Result<Vec<C>, Problem> {
    if points.len() > most {
        return Err(Problem::statement(format!(
            "{} commitments are expected, the limit is {most}",
            points.len()
        )));
    }
    let decode = |(i, hex): (usize, &String)| {
        let bytes: Option<[u8; 32]> = unhex(hex).and_then(|b| b.try_into().ok());
        let point: Option<C> = bytes.and_then(|b| C::from_bytes(&b).into());
        point.ok_or_else(|| {
            Problem::statement(format!(
                "commitment {i} is no point of the curve, compressed, in 64 hexadecimal digits"
            ))
        })
    };
    points.iter().enumerate().map(decode).collect()
}

/// The integers that the card's scales give real numbers.
fn integers(
    model: &Model,
    values: &[Vec<f32>],
    tolerance: Option<f64>,
    of: Of,
) -> Result<Side, Problem> {
    let interface = model.interface.as_ref();
    let interface = interface.map_err(|e| Problem::statement(e.clone()))?;
    let bits = model.verifier.card().range_bits();
    let integers = match of {
        Of::Input => interface.state_inputs(values, bits, tolerance),
        Of::Output => interface.state_outputs(values, bits, tolerance),
    };
    integers
        .map(Side::Public)
        .map_err(|e| Problem::statement(e.to_string()))
}

fn context(hex: &str) -> Result<Vec<u8>, Problem> {
    let bytes = unhex(hex);
    bounded(bytes.ok_or_else(|| Problem::malformed("context is not whole bytes in hexadecimal"))?)
}

fn bounded(context: Vec<u8>) -> Result<Vec<u8>, Problem> {
    if context.len() > MAX_CONTEXT {
        return Err(Problem::malformed(format!(
            "the context is longer than {MAX_CONTEXT} bytes"
        )));
    }
    Ok(context)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |d: u8| char::from(d).to_digit(16).map(|d| d as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal() {
        assert_eq!(unhex("00fF"), Some(vec![0, 255]));
        assert_eq!(unhex(""), Some(vec![]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
        assert_eq!(unhex("é1"), None);
    }

    #[test]
    fn lists_are_bounded() {
        let read = serde_json::from_str::<AtMost<u8, 2>>;
        assert_eq!(read("[1,2]").unwrap().0, [1, 2]);
        assert!(read("[1,2,3]").is_err());
        assert!(read("{}").is_err());
    }
}
