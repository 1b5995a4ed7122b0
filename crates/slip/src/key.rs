//! Keys of hosts: Ed25519 (RFC 8032), whose signatures are checked strictly.

use crate::bytes::{exactly, hex};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Why something is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 32 bytes in hexadecimal digits.
    #[error("a key has 64 lower-case hexadecimal digits")]
    Form,
    /// No point of the curve, or one that signatures mean nothing of.
    #[error("these digits are no Ed25519 key")]
    Curve,
}

/// A host's public key: what a buyer pins.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostKey([u8; 32]);

impl HostKey {
    /// The key's bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Whether this key signed these bytes.
    pub fn signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        // It was a key when it was read.
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

impl FromStr for HostKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<HostKey, KeyError> {
        let bytes = exactly(text.trim()).ok_or(KeyError::Form)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Curve)?;
        (!key.is_weak())
            .then_some(HostKey(bytes))
            .ok_or(KeyError::Curve)
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.bytes()))
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for HostKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// What a host signs with.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new key.
    pub fn random(rng: &mut impl CryptoRng) -> SecretKey {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        SecretKey(SigningKey::from_bytes(&bytes))
    }

    /// The key in a file: 64 hexadecimal digits.
    ///
    /// # Errors
    /// Anything else.
    pub fn from_text(text: &str) -> Result<SecretKey, KeyError> {
        let bytes = exactly(text.trim()).ok_or(KeyError::Form)?;
        Ok(SecretKey(SigningKey::from_bytes(&bytes)))
    }

    /// What goes into a file that only its owner may read.
    pub fn to_text(&self) -> String {
        format!("{}\n", hex(&self.0.to_bytes()))
    }

    /// What others know of it.
    pub fn public(&self) -> HostKey {
        HostKey(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Says whose key it is.
impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey")
            .field("public", &self.public())
            .finish_non_exhaustive()
    }
}
