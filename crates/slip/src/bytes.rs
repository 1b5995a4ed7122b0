//! Bytes of a fixed length that are written as hexadecimal digits.

use crate::slip::MAX_CONTEXT;
use rand_core::Rng;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        text
    })
}

/// Bytes of lower-case hexadecimal digits, at most `most` of them.
pub fn unhex(text: &str, most: usize) -> Option<Vec<u8>> {
    let digit = |d: u8| match d {
        b'0'..=b'9' => Some(d - b'0'),
        b'a'..=b'f' => Some(d - b'a' + 10),
        _ => None,
    };
    if !text.len().is_multiple_of(2) || text.len() / 2 > most {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|p| Some(digit(p[0])? << 4 | digit(p[1])?))
        .collect()
}

/// `N` bytes of hexadecimal digits.
pub fn exactly<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex(text, N)?.try_into().ok()
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A new one, which nobody guesses.
            pub fn random(rng: &mut impl Rng) -> $name {
                let mut bytes = [0; 16];
                rng.fill_bytes(&mut bytes);
                $name(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<$name, Self::Err> {
                exactly(text).map($name).ok_or($what)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

identifier!(
    /// Names a run of a host.
    RunId,
    "a run is named by 32 lower-case hexadecimal digits"
);
identifier!(
    /// Names the numbering of a host's slips: hosts that share a key number their own.
    Series,
    "a series is named by 32 lower-case hexadecimal digits"
);

/// The bytes that an answer and its proof are bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Context(pub Vec<u8>);

impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl FromStr for Context {
    type Err = String;

    fn from_str(text: &str) -> Result<Context, String> {
        let wanted =
            || format!("a context is up to {MAX_CONTEXT} bytes in lower-case hexadecimal digits");
        unhex(text, MAX_CONTEXT).map(Context).ok_or_else(wanted)
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Reads terms and their signature out of one JSON object, in which there is nothing else: nothing looks signed that is
/// not.
macro_rules! read_flat {
    ($signed:ident: $terms:ident { $($field:ident: $type:ty),* $(,)? }) => {
        impl<'de> serde::Deserialize<'de> for $signed {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Flat {
                    $($field: $type,)*
                    #[serde(with = "crate::bytes::digits")]
                    signature: [u8; 64],
                }
                let flat = Flat::deserialize(deserializer)?;
                Ok($signed {
                    terms: $terms { $($field: flat.$field,)* },
                    signature: flat.signature,
                })
            }
        }
    };
}
pub(crate) use read_flat;

/// Signatures in JSON.
pub mod digits {
    use super::{Deserialize, Deserializer, Error, Serializer, exactly, hex};

    pub fn serialize<S: Serializer>(bytes: &[u8; 64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 64], D::Error> {
        let text = String::deserialize(deserializer)?;
        exactly(&text)
            .ok_or_else(|| D::Error::custom("a signature has 128 lower-case hexadecimal digits"))
    }
}
