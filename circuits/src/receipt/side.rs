//! Sides and expectations as JSON.

use crate::C;
use crate::error::DecodeError;
use crate::statement::{MAX_CONTEXT, Side};
use crate::transcript::Digest;
use crate::verify::Expected;
use group::GroupEncoding;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt::Write;

/// An input or an output of a statement.
///
/// Whoever writes one may leave the digest out; one that is there has to be the right one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    deny_unknown_fields,
    try_from = "Stated"
)]
pub enum SideRecord {
    /// The integers themselves.
    Public {
        /// All tensors concatenated.
        values: Vec<u16>,
        /// [`Side::digest`].
        digest: Digest,
    },
    /// Commitments to them.
    Committed {
        /// Compressed points in hexadecimal digits.
        points: Vec<String>,
        /// [`Side::digest`].
        digest: Digest,
    },
}

/// What is read.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Stated {
    Public {
        values: Vec<u16>,
        #[serde(default, deserialize_with = "present")]
        digest: Option<Digest>,
    },
    Committed {
        points: Vec<String>,
        #[serde(default, deserialize_with = "present")]
        digest: Option<Digest>,
    },
}

impl TryFrom<Stated> for SideRecord {
    type Error = DecodeError;
    fn try_from(stated: Stated) -> Result<SideRecord, DecodeError> {
        let (side, stated) = match stated {
            Stated::Public { values, digest } => (Side::Public(values), digest),
            Stated::Committed { points, digest } => {
                let points: Result<Vec<C>, DecodeError> = points.iter().map(|p| point(p)).collect();
                (Side::Committed(points?), digest)
            }
        };
        let record = SideRecord::from(&side);
        match stated {
            Some(digest) if digest != record.digest() => Err(DecodeError::Invalid {
                what: "digest of a side",
            }),
            _ => Ok(record),
        }
    }
}

impl SideRecord {
    /// [`Side::digest`].
    pub fn digest(&self) -> Digest {
        match self {
            SideRecord::Public { digest, .. } | SideRecord::Committed { digest, .. } => *digest,
        }
    }
}

impl From<&Side> for SideRecord {
    fn from(side: &Side) -> SideRecord {
        let digest = side.digest();
        match side {
            Side::Public(values) => SideRecord::Public {
                values: values.clone(),
                digest,
            },
            Side::Committed(points) => SideRecord::Committed {
                points: points.iter().map(|p| hex(p.to_bytes().as_ref())).collect(),
                digest,
            },
        }
    }
}

/// Fails only for a record that was not read from JSON and has points that are none.
impl TryFrom<&SideRecord> for Side {
    type Error = DecodeError;
    fn try_from(record: &SideRecord) -> Result<Side, DecodeError> {
        Ok(match record {
            SideRecord::Public { values, .. } => Side::Public(values.clone()),
            SideRecord::Committed { points, .. } => {
                let points: Result<Vec<C>, DecodeError> = points.iter().map(|p| point(p)).collect();
                Side::Committed(points?)
            }
        })
    }
}

/// What a checker expects of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedRecord {
    /// The input, if the checker knows it. Left out otherwise: `null` would be taken for something that is compared.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub input: Option<SideRecord>,
    /// The output, if the checker knows it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub output: Option<SideRecord>,
    /// The context, in hexadecimal digits; empty if it is left out.
    #[serde(default)]
    pub context: String,
}

/// Something that is there, and not `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl From<&Expected> for ExpectedRecord {
    fn from(expected: &Expected) -> ExpectedRecord {
        ExpectedRecord {
            input: expected.input.as_ref().map(SideRecord::from),
            output: expected.output.as_ref().map(SideRecord::from),
            context: hex(&expected.context),
        }
    }
}

/// Fails where the context is not an even number of hexadecimal digits, or longer than a context can be.
impl TryFrom<&ExpectedRecord> for Expected {
    type Error = DecodeError;
    fn try_from(record: &ExpectedRecord) -> Result<Expected, DecodeError> {
        let side = |side: &Option<SideRecord>| side.as_ref().map(Side::try_from).transpose();
        if record.context.len() > 2 * MAX_CONTEXT {
            return Err(DecodeError::TooLarge {
                bytes: record.context.len() / 2,
                limit: MAX_CONTEXT,
            });
        }
        Ok(Expected {
            input: side(&record.input)?,
            output: side(&record.output)?,
            context: unhex(&record.context).ok_or(DecodeError::Invalid { what: "context" })?,
        })
    }
}

fn point(text: &str) -> Result<C, DecodeError> {
    let mut repr = [0; 32];
    let bytes = unhex(text).filter(|bytes| bytes.len() == repr.len());
    bytes
        .and_then(|bytes| {
            repr.copy_from_slice(&bytes);
            Option::from(C::from_bytes(&repr))
        })
        .ok_or(DecodeError::Invalid {
            what: "curve point",
        })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Bytes of lower-case hexadecimal digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let value = |d: u8| match d {
        b'0'..=b'9' => Some(d - b'0'),
        b'a'..=b'f' => Some(d - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some(value(high)? << 4 | value(low)?),
        _ => None,
    });
    pairs.collect()
}

/// In 64 hexadecimal digits.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From 64 lower-case hexadecimal digits.
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let error = || D::Error::custom("a digest has 64 lower-case hexadecimal digits");
        if text.len() != 64 {
            return Err(error());
        }
        let bytes = unhex(&text).ok_or_else(error)?;
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes);
        Ok(Digest(digest))
    }
}
