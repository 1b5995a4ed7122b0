//! Key lists: how a host goes over from one key to the next.
//!
//! A handover is signed by both keys. Whoever pinned one of a list's keys knows by it which one signs now, and which ones
//! signed before: evidence against an earlier key is evidence against the same host. A stolen key can hand over, too:
//! whoever fears that pins anew, from elsewhere.

use crate::bytes::digits;
use crate::key::{HostKey, SecretKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Version of key lists.
pub const KEY_LIST_VERSION: u16 = 1;
/// Most handovers of a list.
pub const MAX_HANDOVERS: usize = 256;
/// Longest file with a key list.
pub const MAX_KEY_LIST: usize = 1 << 18;
/// What the signed bytes of a handover begin with.
const DOMAIN: &[u8] = b"zkinfer handover\0";

/// One key hands over to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// Who signed until then.
    pub from: HostKey,
    /// Who signs from then on.
    pub to: HostKey,
    /// When, in milliseconds since the beginning of 1970.
    pub time: u64,
    /// Signature by `from`.
    #[serde(with = "digits")]
    pub signature: [u8; 64],
    /// Signature by `to`, so that nobody hands over to a key of somebody else's.
    #[serde(with = "digits")]
    pub accepted: [u8; 64],
}

/// A host's keys, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyList {
    /// Version of the list.
    pub key_list_version: u16,
    /// Each begins with the key that the one before ended with.
    pub handovers: Vec<Handover>,
}

impl Default for KeyList {
    fn default() -> KeyList {
        KeyList {
            key_list_version: KEY_LIST_VERSION,
            handovers: Vec::new(),
        }
    }
}

/// Why a key list is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyListError {
    /// Another version.
    #[error("the key list has version {found}, this build reads version {KEY_LIST_VERSION}")]
    Version {
        /// What it has.
        found: u16,
    },
    /// Too many handovers.
    #[error("the key list has {found} handovers, at most {MAX_HANDOVERS} are read")]
    Long {
        /// How many it has.
        found: usize,
    },
    /// A handover that does not begin where the one before ended, comes back to a key, or goes back in time.
    #[error(
        "handover {number} does not follow the one before: it begins with another key, comes back to one, or goes back in time"
    )]
    Broken {
        /// Which one, counting from 1.
        number: usize,
    },
    /// A handover that one of the two did not sign.
    #[error("handover {number} is not signed by both keys")]
    Signature {
        /// Which one, counting from 1.
        number: usize,
    },
    /// The key that is known is not in it.
    #[error("the key {key} is not in the key list")]
    Unknown {
        /// The key.
        key: HostKey,
    },
    /// It goes on with another key.
    #[error("the key list goes on to {last}, not to {key}")]
    Last {
        /// The newest key of the list.
        last: HostKey,
        /// The key that should be.
        key: HostKey,
    },
}

impl Handover {
    /// The bytes that both sign: fields in order, numbers with the lowest byte first.
    pub fn bytes(from: &HostKey, to: &HostKey, time: u64) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend(KEY_LIST_VERSION.to_le_bytes());
        bytes.extend(from.bytes());
        bytes.extend(to.bytes());
        bytes.extend(time.to_le_bytes());
        bytes
    }

    /// From one key to the next.
    pub fn sign(from: &SecretKey, to: &SecretKey, time: u64) -> Handover {
        let bytes = Handover::bytes(&from.public(), &to.public(), time);
        Handover {
            from: from.public(),
            to: to.public(),
            time,
            signature: from.sign(&bytes),
            accepted: to.sign(&bytes),
        }
    }
}

impl KeyList {
    /// Hands over from the newest key to another one.
    ///
    /// # Errors
    /// If the list would be none then.
    pub fn hand_over(
        &mut self,
        from: &SecretKey,
        to: &SecretKey,
        time: u64,
    ) -> Result<(), KeyListError> {
        let mut new = self.clone();
        let last = new.handovers.last();
        // A clock that went back does not break the list.
        let time = last.map_or(time, |h| time.max(h.time));
        new.handovers.push(Handover::sign(from, to, time));
        new.check()?;
        *self = new;
        Ok(())
    }

    /// Checks every signature: the keys, the oldest first.
    ///
    /// # Errors
    /// If it is none.
    pub fn check(&self) -> Result<Vec<HostKey>, KeyListError> {
        if self.key_list_version != KEY_LIST_VERSION {
            return Err(KeyListError::Version {
                found: self.key_list_version,
            });
        }
        if self.handovers.len() > MAX_HANDOVERS {
            return Err(KeyListError::Long {
                found: self.handovers.len(),
            });
        }
        let mut keys: Vec<HostKey> = self.handovers.iter().take(1).map(|h| h.from).collect();
        let mut time = 0;
        for (number, handover) in (1..).zip(&self.handovers) {
            let Handover { from, to, .. } = handover;
            if keys.last() != Some(from) || keys.contains(to) || handover.time < time {
                return Err(KeyListError::Broken { number });
            }
            let bytes = Handover::bytes(from, to, handover.time);
            let signed = from.signed(&bytes, &handover.signature);
            if !signed || !to.signed(&bytes, &handover.accepted) {
                return Err(KeyListError::Signature { number });
            }
            keys.push(*to);
            time = handover.time;
        }
        Ok(keys)
    }

    /// The keys of the host that has this one, the oldest first.
    ///
    /// # Errors
    /// If the list is none, or the key is not in it.
    pub fn of(&self, known: &HostKey) -> Result<Vec<HostKey>, KeyListError> {
        let mut keys = self.check()?;
        if keys.is_empty() {
            keys.push(*known);
        }
        if !keys.contains(known) {
            return Err(KeyListError::Unknown { key: *known });
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests;
